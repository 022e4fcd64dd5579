/*
 * peer: whose connection this is, and on which descriptors.
 *
 * The differences between super-servers end here: systemd (Accept=yes, with
 * the socket on descriptors 0 and 1 or passed as 3), inetd, ucspi-tcp,
 * a pipe, a socketpair, a terminal.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "protocol/proxy_header.h"

struct peer {
	int in_fd;  /* the connection: close-on-exec, above 3; */
	int out_fd; /* may be the same as in_fd */
	char address[64]; /* numeric, IPv4-mapped shown as IPv4; "" for none */
	bool is_ipv6;
	uint16_t port;  /* 0: unknown */
	bool local;     /* no address or a loopback one, by every witness */
	char remote_by[120]; /* which witness says it is not local */
	char name[80];  /* for the log: "192.0.2.1:4711", "[2001:db8::1]:25",
	                 * "local" */
};

/*
 * Finds the connection, moves it away from the standard descriptors (which
 * become /dev/null) and finds out who the peer is. Errors: ERROR_CONFIG
 * where what was passed is not one accepted connection.
 */
int peer_take(struct peer *peer, struct error *error);

/*
 * Lets a PROXY header that was read say who the peer really is. It is one
 * more witness of its being local. ERROR_PEER where an address in it is
 * none.
 */
int peer_apply_proxy_header(struct peer *peer,
    const struct proxy_header *header, struct error *error);

#endif
