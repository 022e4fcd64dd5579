/*
 * faulty: a session in which failures are ordered (--faults, system/faults.h).
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

/* A reply's text for POP3, with its NUL. */
#define FAULTY_TEXT_MAX 512

struct faulty {
	struct faults faults;
	char path[4096]; /* where a credential's is made */

	/* faulty.c's own: what holds now, and how long. */
	enum faulty_scope {
		FAULTY_REPLY,   /* until the reply is out */
		FAULTY_TEXT,    /* until the message's text is in */
		FAULTY_SESSION,
	} scope;
	uint64_t rate;      /* octets a second; 0: as fast as they go */
	bool limited;       /* of output only so much is left: */
	uint64_t left;
	bool after_line;    /* counted behind the next line of it */
	bool text_limited;  /* of the message's text only so much is taken: */
	uint64_t text_left;
};

/* Reads the file; NULL: none. ERROR_CONFIG. */
int faulty_init(struct faulty *faulty, const char *file,
    struct error *error);
void faulty_close(struct faulty *faulty);

/* For --check-config: logs each line that is wrong; -1 if there was one. */
int faulty_check(const char *file);

/*
 * Something is about to be done, for one of n subjects. What was said before
 * is to be flushed first where there are faults. 0: go on; *refusal is not
 * NULL where that is to be answered by its reply in place of what was asked
 * for. -1: the session is to end. Logs what it does, and waits where a delay
 * is ordered.
 */
int faulty_meet(struct faulty *faulty, enum fault_event event,
    const struct slice *subjects, size_t n, const struct fault **refusal,
    struct error *error);

/* So much more of a message's text came. -1: the session is to end. */
int faulty_take_text(struct faulty *faulty, size_t octets,
    struct error *error);
/* And that was all of it. */
void faulty_end_text(struct faulty *faulty);

/* conn_flush and conn_pump. -1 too where so much was said as was to be. */
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
