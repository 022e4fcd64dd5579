/*
 * next_hop: where an account's mail goes, by the grammar of its URL.
 *
 *     SCHEME://HOST[:PORT][?PARAMETER[&PARAMETER...]]
 *     lmtp+unix:/PATH[?PARAMETER...]
 */
#ifndef NEXT_HOP_H
#define NEXT_HOP_H

#include <stdbool.h>

#include "protocol/sasl_client.h"

enum next_hop_scheme {
	NEXT_HOP_SMTPS,      /* TLS from the first octet (RFC 8314) */
	NEXT_HOP_SMTP,       /* STARTTLS, and nothing without it (RFC 3207) */
	NEXT_HOP_SMTP_PLAIN, /* in the clear */
	NEXT_HOP_LMTP,       /* RFC 2033, in the clear */
	NEXT_HOP_LMTP_UNIX,  /* the same over a UNIX socket */
};

struct next_hop {
	enum next_hop_scheme scheme;
	const char *host;    /* of NEXT_HOP_LMTP_UNIX: the socket's path */
	const char *port;    /* and then "" */
	const char *ca_file; /* NULL: the system's */
	bool verify;         /* the certificate and its name */
	enum sasl_client_mechanism auth; /* the only one that is tried; NONE:
	                      * PLAIN and LOGIN, as they are offered */
};

/*
 * Reads a URL, which is cut into the hop's strings in place. NULL, or what is
 * wrong with it: a text that shows nothing of the URL, for there may be a
 * password in it that should not be.
 */
const char *next_hop_parse(struct next_hop *hop, char *url);

/* Does what is said to it stay under TLS? */
bool next_hop_has_tls(const struct next_hop *hop);
bool next_hop_is_lmtp(const struct next_hop *hop);

/* Is it this machine by what its name says, before any resolver is asked? */
bool next_hop_is_this_machine(const struct next_hop *hop);

/* "smtps" and so on. */
const char *next_hop_scheme_name(enum next_hop_scheme scheme);

#endif
