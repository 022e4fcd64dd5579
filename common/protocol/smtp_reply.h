/*
 * smtp_reply: an SMTP reply (RFC 5321 4.2), ours or a next hop's.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stddef.h>

#include "base/slice.h"

/* A reply's text, at most, over all its lines. */
#define SMTP_REPLY_TEXT_MAX 4096

struct smtp_reply {
	unsigned code;        /* 200 to 599 */
	const char *enhanced; /* RFC 3463, "2.1.0"; NULL or "" for none */
	struct slice text;    /* LF between lines */
};

/* The enhanced status code ("2.1.5", RFC 3463) at the front of text, of the
 * class of this reply code (RFC 2034 4) and alone or before a blank: its
 * length, or 0. */
size_t smtp_reply_enhanced_len(struct slice text, unsigned code);

#endif
