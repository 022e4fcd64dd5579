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

#include "slice.h"

struct envelope_recipient {
	struct slice path;   /* the mailbox, without brackets */
	struct slice local;  /* within path */
	struct slice domain; /* within path; empty for <postmaster> */
};

struct envelope {
	struct slice reverse_path; /* without brackets; empty for <> */
	uint64_t size;   /* SIZE= (RFC 1870), 0 if not said */
	bool eight_bit;  /* BODY=8BITMIME (RFC 6152) */

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
	((size_t)4096 + (size_t)(max_recipients) * 320)

/* recipients has room for max of them, text for text_size octets. */
void envelope_init(struct envelope *envelope,
    struct envelope_recipient *recipients, size_t max, char *text,
    size_t text_size);

void envelope_reset(struct envelope *envelope);

/* Copies. False where it does not fit. */
bool envelope_set_reverse_path(struct envelope *envelope,
    struct slice path);
bool envelope_add_recipient(struct envelope *envelope, struct slice path,
    struct slice local, struct slice domain);

/* Takes the last recipient out again. */
void envelope_drop_recipient(struct envelope *envelope);

#endif
