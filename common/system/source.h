/*
 * source: who counts as one peer where connections are limited: an IPv4
 * address, or an IPv6 network of 64 bits, which is the least that a site is
 * given (RFC 6177) and so what one machine has to choose from.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdbool.h>
#include <sys/socket.h>

struct source {
	unsigned char family; /* 4, 6, or 0: nobody who can be counted */
	unsigned char octets[8];
};

/* The text of a source, the terminating NUL included. */
#define SOURCE_TEXT_SIZE 32

/* Of an accepted connection; IPv4-mapped addresses are IPv4 (RFC 4291
 * 2.5.5.2). A UNIX socket's peer is nobody who can be counted. */
struct source source_from_socket(const struct sockaddr *address);

/* Of a numeric address without brackets; nobody, where it is none. */
struct source source_from_text(const char *text);

/* Both can be counted, and are the same. */
bool source_equal(const struct source *a, const struct source *b);

/* "192.0.2.1", "2001:db8:1:2::/64" or "local". */
void source_name(const struct source *source, char text[SOURCE_TEXT_SIZE]);

#endif
