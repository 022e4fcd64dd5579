/*
 * loopback: which addresses are this machine's own and no other's.
 *
 * Passwords go in clear text to and from these only: one place says which
 * they are. IPv4: all of 127/8 (RFC 1122 3.2.1.3); IPv6: ::1, and 127/8
 * mapped (RFC 4291 2.5.3, 2.5.5.2).
 */
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* address is a struct in_addr or in6_addr, by family; false for others. */
bool loopback_is_address(int family, const void *address);

bool loopback_is_sockaddr(const struct sockaddr *address);

/* Of a host's name: a numeric loopback address without brackets, or
 * "localhost" (RFC 6761 6.3). */
bool loopback_is_host(const char *host);

#endif
