/*
 * milter: the MTA's side of sendmail's milter protocol, version 6, as a
 * machine without I/O.
 *
 * The caller pumps octets between milter->wire and the filter. A step is put
 * into wire->out by one of the milter_put functions, if milter_wants it; then,
 * if milter_answers, milter_take says what the filter answered. Where there is
 * no room in out, putting fails, and is to be done again after a flush.
 *
 * There is no RFC: libmilter's mfdef.h and its documentation are the
 * description.
 */
#ifndef MILTER_H
#define MILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/smtp_reply.h"
#include "protocol/wire.h"

/* Octets of one packet behind its length, at most: libmilter takes and sends
 * no longer ones. Values are cut to fit. */
#define MILTER_PACKET_MAX 65535
/* What the wire's storage must have. */
#define MILTER_IN_MIN (MILTER_PACKET_MAX + 4)
#define MILTER_OUT_MIN (MILTER_PACKET_MAX + 4)
/* Octets of a body in one packet. */
#define MILTER_BODY_MAX 65534

enum milter_step {
	MILTER_NEGOTIATION,
	MILTER_CONNECT,
	MILTER_HELO,
	MILTER_MAIL,
	MILTER_RCPT,
	MILTER_DATA,
	MILTER_HEADER,
	MILTER_END_OF_HEADER,
	MILTER_BODY,
	MILTER_END,  /* of the message */
	MILTER_STEPS
};

enum milter_answer {
	MILTER_MORE,      /* pump first */
	MILTER_CONTINUE,
	MILTER_ACCEPT,    /* without further questions: the message, or with
	                   * CONNECT and HELO the session */
	MILTER_REJECT,
	MILTER_TEMPFAIL,
	MILTER_REPLY,     /* refuse with milter->reply */
	MILTER_DISCARD,   /* accept, and keep it nowhere */
	MILTER_SKIP,      /* BODY: no more of it */
	MILTER_PROGRESS,  /* END: wait on */
	MILTER_ADD,       /* END: milter->name and value at the end */
	MILTER_INSERT,    /* ... before header number milter->index */
	MILTER_CHANGE,    /* ... for the index-th of that name, from 1; an
	                   * empty value deletes it */
	MILTER_UNOFFERED, /* a change that is not done: milter->what */
	MILTER_BROKEN,    /* no protocol: milter->what */
};

struct milter {
	struct wire wire;

	/* With the answers above; they live until the next call. */
	struct smtp_reply reply;
	struct slice name;
	struct slice value;
	uint32_t index;
	const char *what;

	/* After the negotiation: the filter wants header values with the blank
	 * behind the colon. */
	bool leading_blank;

	/* milter.c's own. */
	uint32_t protocol; /* what it asked for */
	uint32_t packet;   /* octets to be dropped before the next: its own */
	char enhanced[12];
	char text[SMTP_REPLY_TEXT_MAX];
};

/* Storage as for wire_init, of at least MILTER_IN_MIN and MILTER_OUT_MIN. */
void milter_init(struct milter *milter, char *in, size_t in_size, char *out,
    size_t out_size);

/* Does the filter want to hear of the step, and will it answer? */
bool milter_wants(const struct milter *milter, enum milter_step step);
bool milter_answers(const struct milter *milter, enum milter_step step);

/* A macro, as "{mail_addr}"; an empty value is not sent. */
struct milter_macro {
	const char *name;
	struct slice value;
};

/* All of these: false where there is no room in out now. */
bool milter_put_negotiation(struct milter *milter);
/* For the step that comes next. */
bool milter_put_macros(struct milter *milter, enum milter_step step,
    const struct milter_macro *macros, size_t n);
/* address is numeric, or empty where there is none. */
bool milter_put_connect(struct milter *milter, struct slice name,
    struct slice address, bool is_ipv6, uint16_t port);
bool milter_put_helo(struct milter *milter, struct slice name);
/* MAIL or RCPT: the path without its brackets. */
bool milter_put_path(struct milter *milter, enum milter_step step,
    struct slice path);
/* DATA, end of header, end of message. */
bool milter_put_step(struct milter *milter, enum milter_step step);
bool milter_put_header(struct milter *milter, struct slice name,
    struct slice value);
/* At most MILTER_BODY_MAX octets, with CRLF line ends. */
bool milter_put_body(struct milter *milter, struct slice body);
/* The message is over before its end; the session is over. */
bool milter_put_abort(struct milter *milter);
bool milter_put_quit(struct milter *milter);

/* The answer to the step. For the negotiation MILTER_CONTINUE: it is done. */
enum milter_answer milter_take(struct milter *milter, enum milter_step step);

#endif
