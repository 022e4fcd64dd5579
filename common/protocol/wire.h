/*
 * wire: what stands between a protocol core and its connection.
 *
 * Two queues and two facts. The pump (conn.h) puts what it read into in and
 * drains out; the core takes lines and writes replies, and never sees a
 * descriptor or a clock. One core owns one wire.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* So much of an over-long line is kept: a command's verb and a blank. */
#define WIRE_HEAD 5
/* And so much can be kept of what was taken. */
#define WIRE_KEEP_MAX 1024

struct wire {
	struct buf in;
	struct buf out;

	/* Set by the pump, read by the core. */
	bool eof;       /* no more input will come */
	bool timed_out; /* the peer's time is over */
	bool stopping;  /* the program was told to stop (SIGTERM) */

	/* Set by the core, read by the pump. */
	bool text;      /* the input is message text: octets earn time */
	unsigned lines; /* lines taken so far: each one ends a command's time */

	/* Where a transcript is gathered, or NULL. Whoever set it empties it
	 * in time: what does not fit is lost. */
	struct buf *transcript;

	/* wire.c's own. */
	size_t scanned; /* octets of in that are known to hold no LF */
	bool overlong;  /* in the middle of a line that is too long already */
	char head[WIRE_HEAD]; /* how it began */
};

enum wire_line {
	WIRE_MORE,     /* no whole line yet */
	WIRE_LINE,     /* a line that ended in CRLF */
	WIRE_TOO_LONG, /* a line over the limit went by: *line is how it began,
	                * the rest is not kept */
	WIRE_BARE_LF,  /* a line that ended in LF alone */
};

void wire_init(struct wire *wire, char *in, size_t in_size, char *out,
    size_t out_size);

/* Nothing is in either queue or kept: another storage would do as well. */
bool wire_is_idle(const struct wire *wire);
/* Gives it another storage, while it is idle; or a first one. */
void wire_lend(struct wire *wire, char *in, size_t in_size, char *out,
    size_t out_size);

/*
 * Takes the next line from in; *line is it without its end and lives until
 * the next read. limit counts the line end too (RFC 5321 4.5.3.1.4) and is
 * at most the size of in.
 */
enum wire_line wire_line(struct wire *wire, size_t limit, struct slice *line);

/* Overwrites all of in but what was not taken yet: there were secrets in
 * it. */
void wire_wipe_taken(struct wire *wire);

/*
 * Octets that were taken from in, at most WIRE_KEEP_MAX of them, live on as
 * the slice returned until another call, wire_forget or wire_discard_input:
 * a name, until its password comes.
 */
struct slice wire_keep(struct wire *wire, struct slice taken);
void wire_forget(struct wire *wire);

/* Is there the beginning of a line that has not ended yet? */
bool wire_mid_line(const struct wire *wire);

/* Forgets all input that was not taken yet (STARTTLS: CVE-2011-0411). */
void wire_discard_input(struct wire *wire);

/*
 * Appends a line to out and its CRLF. There must be room: a core looks at
 * buf_room(&wire->out) before it takes a command.
 */
void wire_put_line(struct wire *wire, struct slice line);
void wire_format(struct wire *wire, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Adds a line of the peer's to the transcript. The core decides what may be
 * shown: never credentials, never message text.
 */
void wire_show_input(struct wire *wire, struct slice shown);

#endif
