/*
 * relay_self.c - next hops that are this server itself.
 *
 * An account that names our own port would have each session open another
 * one, which opens another one. Two things tell: the address that our client
 * came to, before anybody is called; and the greeting, for a port may be
 * forwarded and an address have several names.
 */
#include "relay/relay_private.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

void
relay_set_client(struct relay *relay, int fd)
{
	socklen_t len = sizeof(relay->here);

	/* Where the kernel says nothing, nothing is here. */
	relay->here = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
	getsockname(fd, (struct sockaddr *)&relay->here, &len);
}

/* An address of IPv4 as IPv6 maps it, and one for all the names of loopback:
 * whoever connects to a wildcard address comes there. False for none of IP. */
static bool
normalize(const struct sockaddr *address, struct in6_addr *in6,
    in_port_t *port)
{
	static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF };
	static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->sa_family == AF_INET) {
		memcpy(in6->s6_addr, mapped, sizeof(mapped));
		memcpy(in6->s6_addr + sizeof(mapped), &v4->sin_addr, 4);
		*port = v4->sin_port;
	} else if (address->sa_family == AF_INET6) {
		*in6 = v6->sin6_addr;
		*port = v6->sin6_port;
	} else {
		return false;
	}
	uint32_t last;
	memcpy(&last, in6->s6_addr + sizeof(mapped), sizeof(last));
	if (IN6_IS_ADDR_UNSPECIFIED(in6) || (IN6_IS_ADDR_V4MAPPED(in6) &&
	    (last == htonl(INADDR_ANY) || last == htonl(INADDR_LOOPBACK))))
		*in6 = loopback;
	return true;
}

bool
relay_is_here(const struct relay *relay, const struct sockaddr *address)
{
	const struct sockaddr *here = (const void *)&relay->here;
	const struct sockaddr_un *path = (const void *)address;
	const struct sockaddr_un *our_path = (const void *)here;
	struct in6_addr in6, our_in6;
	in_port_t port, our_port;

	if (here->sa_family == AF_UNIX && address->sa_family == AF_UNIX)
		return our_path->sun_path[0] != '\0' &&
		    strcmp(path->sun_path, our_path->sun_path) == 0;
	return normalize(address, &in6, &port) &&
	    normalize(here, &our_in6, &our_port) && port == our_port &&
	    IN6_ARE_ADDR_EQUAL(&in6, &our_in6);
}

bool
relay_is_greeted_by_us(const struct relay *relay)
{
	return relay->mark != NULL && slice_ends_with(
	    relay->client.reply.text, slice_from(relay->mark));
}
