/*
 * envelope: what a mail transaction has beside the message: reverse path,
 * forward paths, and what was said about them (RFC 5321 3.3).
 *
 * Its storage is the caller's and has a fixed size; what does not fit is
 * refused. Slices in it live until envelope_reset.
 */
#ifndef ENVELOPE_H
#define ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* What is to be notified to the sender, and about whom (RFC 3461). */
struct envelope_notify {
	unsigned notify; /* ENVELOPE_NOTIFY_*; 0: nothing was said */
	struct slice orcpt; /* ORCPT= as it was; empty: nothing was said */
};

#define ENVELOPE_NOTIFY_NEVER 1u
#define ENVELOPE_NOTIFY_SUCCESS 2u
#define ENVELOPE_NOTIFY_FAILURE 4u
#define ENVELOPE_NOTIFY_DELAY 8u

/* RET= (RFC 3461 4.3): what of the message a notification shall have. */
enum envelope_ret {
	ENVELOPE_RET_NONE, /* nothing was said */
	ENVELOPE_RET_FULL,
	ENVELOPE_RET_HDRS,
};

struct envelope_recipient {
	struct slice path;   /* the mailbox, without brackets */
	struct slice local;  /* within path */
	struct slice domain; /* within path; empty for <postmaster> */
	bool relayed;        /* a next hop has accepted it */
	bool dropped;        /* it was accepted, and gets nothing */
	bool joined;         /* it and the one before share their verdicts:
	                      * the client named an alias of both */
	struct envelope_notify dsn;
};

struct envelope {
	struct slice reverse_path; /* without brackets; empty for <> */
	uint64_t size;   /* SIZE= (RFC 1870), 0 if not said */
	bool eight_bit;  /* BODY=8BITMIME (RFC 6152) */
	bool seven_bit;  /* BODY=7BIT */
	bool utf8;       /* SMTPUTF8 (RFC 6531) */
	bool require_tls; /* REQUIRETLS (RFC 8689) */
	enum envelope_ret ret;
	struct slice envid; /* ENVID= (RFC 3461 4.4); empty: not said */

	struct envelope_recipient *recipients;
	size_t n;

	/* envelope.c's own. */
	size_t max;
	char *text;
	size_t text_size;
	size_t text_len;
};

/* How many octets of text to give for so many recipients: generous for
 * usual addresses, and one of any length always fits. */
#define ENVELOPE_TEXT_SIZE(max_recipients) \
	((size_t)4608 + (size_t)(max_recipients) * 320)

/* recipients has room for max of them, text for text_size octets. */
void envelope_init(struct envelope *envelope,
    struct envelope_recipient *recipients, size_t max, char *text,
    size_t text_size);

void envelope_reset(struct envelope *envelope);

/* Copies local@domain, or local alone where domain is empty. False where it
 * does not fit. */
bool envelope_set_reverse_path(struct envelope *envelope,
    struct slice local, struct slice domain);
bool envelope_add_recipient(struct envelope *envelope, struct slice local,
    struct slice domain);

bool envelope_set_envid(struct envelope *envelope, struct slice envid);
/* For the recipient added last. */
bool envelope_set_notify(struct envelope *envelope,
    const struct envelope_notify *dsn);

/* to is reset, and has all that from has but its recipients. False where that
 * does not fit. */
bool envelope_copy_sender(struct envelope *to, const struct envelope *from);

/* Takes the last recipient out again. */
void envelope_drop_recipient(struct envelope *envelope);

#endif
