/*
 * address: paths and mailboxes by the grammar of RFC 5321 section 4.1.2, and
 * what else has one meaning only: a mailbox without brackets or without a
 * domain, dots anywhere in a local part, "_" in a domain and a dot at its
 * end, blanks that people type.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>

#include "base/slice.h"

/* RFC 5321 4.5.3.1.2. Local parts have no limit of ours but the line's:
 * the RFC asks for none where that can be had. */
#define ADDRESS_DOMAIN_MAX 255

struct address {
	struct slice local;  /* before the @, quotes and all; empty for <> */
	struct slice domain; /* after it, without a dot at its end; empty where
	                      * none was said */
};

enum address_outcome {
	ADDRESS_OK,
	ADDRESS_SYNTAX,     /* not a path */
	ADDRESS_BAD_LOCAL,  /* wrong before the @ */
	ADDRESS_BAD_DOMAIN, /* wrong after it */
	ADDRESS_NOT_ASCII,  /* needs SMTPUTF8 (RFC 6531) */
};

/* Is <> allowed (RFC 5321 4.5.5)? */
enum address_kind {
	ADDRESS_REVERSE, /* it is */
	ADDRESS_FORWARD,
};

/*
 * Reads a path, with its angle brackets or without, skipping blanks before it
 * and a source route in it ("@a,@b:"), and leaves *text after it. The
 * address's slices point into text. utf8: octets above 0x7F are allowed, as
 * UTF-8.
 */
enum address_outcome address_parse_path(struct slice *text,
    enum address_kind kind, bool utf8, struct address *address);

/* A whole mailbox without brackets: local@domain and nothing else. */
enum address_outcome address_parse_mailbox(struct slice text, bool utf8,
    struct address *address);

/* A domain name with no dot at its end, or an address literal, and nothing
 * else. */
bool address_is_domain(struct slice text, bool utf8);

#endif
