/*
 * hook_reply: what the end of a hook means for the client: its exit status,
 * and the first line of its output, which may say it in other words.
 *
 *	exit status			reply
 *	0				none: go on
 *	99				250: accepted, and dropped
 *	100, 77 (EX_NOPERM)		550 5.7.1
 *	65 (EX_DATAERR)			550 5.6.0
 *	67 (EX_NOUSER)			550 5.1.1
 *	69 (EX_UNAVAILABLE)		550 5.3.0
 *	75 (EX_TEMPFAIL), 111, others	451 4.7.1
 *
 * 99, 100 and 111 are qmail-command(8)'s, the others sysexits(3)'.
 */
#ifndef HOOK_REPLY_H
#define HOOK_REPLY_H

#include <stdbool.h>

#include "base/slice.h"
#include "protocol/smtp_reply.h"

/* Octets of a reply's text that are taken of the line. */
#define HOOK_REPLY_TEXT_MAX 400

/* For a status: the hook could not be run, was killed, or took too long. */
#define HOOK_REPLY_NO_STATUS (-1)

enum hook_decision {
	HOOK_GO_ON,
	HOOK_DROP,   /* accept, and keep it nowhere */
	HOOK_REFUSE, /* for good or for now, as the reply says */
};

struct hook_reply {
	enum hook_decision decision;
	struct smtp_reply reply; /* text may be empty where it goes on: the
	                          * usual words */
	bool contradicts; /* the line was of another class than the status,
	                   * and was ignored */
	bool expected;    /* the status is one that hooks are to use */

	/* hook_reply.c's own: what reply points to. */
	char enhanced[12];
	char text[HOOK_REPLY_TEXT_MAX];
};

/*
 * line is "[NNN ][X.Y.Z ]text": a reply code, an enhanced status code (RFC
 * 3463), both of the class that the status has, and text, in which '?' stands
 * for what is not printable ASCII. What is not there is as in the table.
 * accepted is the enhanced code of a positive reply: "2.1.5" for a recipient.
 */
void hook_reply_make(struct hook_reply *made, int status, struct slice line,
    const char *accepted);

/* It points into itself: no plain assignment. */
void hook_reply_copy(struct hook_reply *to, const struct hook_reply *from);

#endif
