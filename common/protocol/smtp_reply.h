/*
 * smtp_reply: an SMTP reply (RFC 5321 4.2), ours or a next hop's.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base/slice.h"

/* A reply's text, at most, over all its lines. */
#define SMTP_REPLY_TEXT_MAX 4096

struct smtp_reply {
	unsigned code;        /* 200 to 599 */
	const char *enhanced; /* RFC 3463, "2.1.0"; NULL or "" for none */
	struct slice text;    /* LF between lines */
};

#endif
