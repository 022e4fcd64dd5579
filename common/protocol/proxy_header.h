/*
 * proxy_header: the PROXY protocol, versions 1 and 2, receiving side.
 *
 * The header comes before everything else, TLS too, so not one octet more
 * than it may be read: the reader asks proxy_header_want how many octets are
 * certainly the header's, reads at most those, and hands them over.
 */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* "The worst case" of version 1, with its CRLF. */
#define PROXY_HEADER_V1_MAX 107
/* What is kept of version 2: its fixed part and the longest addresses. TLVs
 * after them (up to 65535 octets in all) are taken and dropped. */
#define PROXY_HEADER_V2_KEPT (16 + 216)

enum proxy_source {
	PROXY_SOURCE_NONE,    /* LOCAL: the connecting peer speaks for itself */
	PROXY_SOURCE_UNKNOWN, /* UNKNOWN, UNSPEC */
	PROXY_SOURCE_IPV4,
	PROXY_SOURCE_IPV6,
	PROXY_SOURCE_UNIX,
};

struct proxy_header {
	/* After PROXY_DONE. */
	enum proxy_source source;
	unsigned char address[16]; /* of version 2, network order */
	struct slice address_text; /* of version 1 instead, not yet checked;
	                            * lives as long as this object */
	struct slice destination_text; /* likewise */
	uint16_t port;

	/* proxy_header.c's own. */
	size_t len;       /* octets kept */
	size_t remaining; /* of version 2, octets still to come */
	char octets[PROXY_HEADER_V2_KEPT];
};

enum proxy_outcome {
	PROXY_MORE,
	PROXY_DONE,
	PROXY_BAD, /* not the protocol, or a form of it that is not allowed */
};

/* All zero is the starting state. How many octets may be read next; at
 * least 1 until the outcome is not PROXY_MORE any more. */
size_t proxy_header_want(const struct proxy_header *header);

/* Takes octets, at most as many as were wanted. */
enum proxy_outcome proxy_header_take(struct proxy_header *header,
    struct slice octets);

#endif
