/*
 * loopback.c - addresses of this machine alone.
 */
#include "system/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

bool
loopback_is_address(int family, const void *address)
{
	const unsigned char *octets = address;
	struct in6_addr v6;

	if (family == AF_INET)
		return octets[0] == 127;
	if (family != AF_INET6)
		return false;
	/* Where it comes from it may not be aligned. */
	memcpy(&v6, address, sizeof(v6));
	return IN6_IS_ADDR_LOOPBACK(&v6) ||
	    (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool
loopback_is_sockaddr(const struct sockaddr *address)
{
	const struct sockaddr_in *in = (const void *)address;
	const struct sockaddr_in6 *in6 = (const void *)address;

	return loopback_is_address(address->sa_family,
	    address->sa_family == AF_INET6 ? (const void *)&in6->sin6_addr
	                                   : (const void *)&in->sin_addr);
}

bool
loopback_is_host(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return loopback_is_address(AF_INET, &v4);
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return loopback_is_address(AF_INET6, &v6);
	return strcasecmp(host, "localhost") == 0;
}
