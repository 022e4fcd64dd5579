/*
 * source.c - addresses, cut to what is counted.
 */
#include "system/source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct source
from_ipv4(const void *octets)
{
	struct source source = { .family = 4 };

	memcpy(source.octets, octets, 4);
	return source;
}

static struct source
from_ipv6(const struct in6_addr *address)
{
	struct source source = { .family = 6 };

	if (IN6_IS_ADDR_V4MAPPED(address))
		return from_ipv4(&address->s6_addr[12]);
	memcpy(source.octets, address->s6_addr, sizeof(source.octets));
	return source;
}

struct source
source_from_socket(const struct sockaddr *address)
{
	const struct sockaddr_in *in = (const void *)address;
	const struct sockaddr_in6 *in6 = (const void *)address;

	switch (address->sa_family) {
	case AF_INET:
		return from_ipv4(&in->sin_addr);
	case AF_INET6:
		return from_ipv6(&in6->sin6_addr);
	default:
		return (struct source){ .family = 0 };
	}
}

struct source
source_from_text(const char *text)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		return from_ipv4(&v4);
	if (inet_pton(AF_INET6, text, &v6) == 1)
		return from_ipv6(&v6);
	return (struct source){ .family = 0 };
}

bool
source_equal(const struct source *a, const struct source *b)
{
	return a->family != 0 && a->family == b->family &&
	    memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

void
source_name(const struct source *source, char text[SOURCE_TEXT_SIZE])
{
	struct in6_addr v6 = { .s6_addr = { 0 } };
	char address[INET6_ADDRSTRLEN];

	switch (source->family) {
	case 4:
		inet_ntop(AF_INET, source->octets, text, SOURCE_TEXT_SIZE);
		break;
	case 6:
		memcpy(v6.s6_addr, source->octets, sizeof(source->octets));
		inet_ntop(AF_INET6, &v6, address, sizeof(address));
		snprintf(text, SOURCE_TEXT_SIZE, "%.27s/64", address);
		break;
	default:
		snprintf(text, SOURCE_TEXT_SIZE, "local");
		break;
	}
}
