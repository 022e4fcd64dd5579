/*
 * faulty: a session that fails as --faults says (system/faults.h).
 *
 * The programs ask faulty_meet before they do what a client wants; output and
 * input pass through faulty_flush and faulty_pump, which make them slow, or
 * end them after so many octets. Without --faults that costs a comparison.
 */
#ifndef FAULTY_H
#define FAULTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "protocol/smtp_reply.h"
#include "protocol/wire.h"
#include "system/conn.h"
#include "system/faults.h"

/* Room for a reply's text for POP3, with its NUL. */
#define FAULTY_TEXT_MAX 512

struct faulty {
	struct faults faults;
	char path[4096]; /* of a file in $CREDENTIALS_DIRECTORY */

	/* faulty.c's own: which limits apply now, and until when. */
	enum faulty_scope {
		FAULTY_REPLY,   /* until the reply is out */
		FAULTY_TEXT,    /* until the message's text is in */
		FAULTY_SESSION,
	} scope;
	uint64_t rate;      /* octets a second; 0: as fast as they go */
	bool limited;       /* only so much output may still go: */
	uint64_t left;
	bool after_line;    /* counted from the end of the next line on */
	bool text_limited;  /* only so much message text is still taken: */
	uint64_t text_left;
};

/* Reads the file; NULL: none. ERROR_CONFIG. */
int faulty_init(struct faulty *faulty, const char *file,
    struct error *error);
void faulty_close(struct faulty *faulty);

/* For --check-config: logs each line that is wrong; -1 if there was one. */
int faulty_check(const char *file);

/*
 * A command, known by n subjects (sender, recipients, ...), is about to be
 * carried out; where there are faults, output must have been flushed. 0: go
 * on, or, where *refusal is not NULL, answer with its reply in place of doing
 * it. -1: the session is to end. Logs what it does, and waits for a delay.
 */
int faulty_meet(struct faulty *faulty, enum fault_event event,
    const struct slice *subjects, size_t n, const struct fault **refusal,
    struct error *error);

/* So much more of a message's text came. -1: the session is to end. */
int faulty_take_text(struct faulty *faulty, size_t octets,
    struct error *error);
/* The text is complete. */
void faulty_end_text(struct faulty *faulty);

/* As conn_flush and conn_pump; -1 also once as many octets have passed as the
 * fault allows. */
int faulty_flush(struct faulty *faulty, struct conn *conn, struct wire *wire,
    struct error *error);
int faulty_pump(struct faulty *faulty, struct conn *conn, struct wire *wire,
    struct error *error);

/* Must it be flushed before anything else is done? */
bool faulty_is_limited(const struct faulty *faulty);

/* A refusal in the words of either protocol. */
struct smtp_reply faulty_smtp_reply(const struct fault *fault);
const char *faulty_pop3_text(const struct fault *fault,
    char text[FAULTY_TEXT_MAX]);

#endif
