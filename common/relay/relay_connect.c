/*
 * relay_connect.c - a descriptor for an account.
 */
#include "relay/relay_private.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "relay/relay_resolve.h"
#include "system/clock.h"
#include "system/connect.h"
#include "system/loopback.h"

static int
connect_one(const struct relay *relay, const struct addrinfo *address,
    int64_t deadline, struct error *error)
{
	if (relay_is_here(relay, address->ai_addr)) {
		error_set(error, ERROR_SYSTEM, "that is this server itself");
		return RELAY_CONNECT_OURSELVES;
	}
	return connect_by(deadline, address->ai_addr, address->ai_addrlen,
	    error);
}

/* A password in the clear stays on this machine, whatever the resolver says
 * about the name (accounts_read has only seen that). */
static bool
may_connect(const struct account *account, const struct addrinfo *address)
{
	if (next_hop_has_tls(&account->hop) || account->login == NULL)
		return true;
	return loopback_is_sockaddr(address->ai_addr);
}

static int
connect_host(const struct relay *relay, const struct account *account,
    int64_t deadline, struct error *error)
{
	struct addrinfo *addresses;
	struct error why;
	size_t left = 0;
	int fd = -1;

	if (relay_resolve(account->hop.host, account->hop.port, deadline,
	    &addresses, &why) < 0)
		return error_set(error, ERROR_SYSTEM, "%s: %.150s",
		    account->hop.host, why.text);
	error_set(&why, ERROR_SYSTEM, "not on this machine, and there is a "
	    "password");
	for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next)
		left += may_connect(account, a);
	/* A share of the time for each address: one that swallows everything,
	 * as broken IPv6 does, must not use up that of the others. */
	for (const struct addrinfo *a = addresses; a != NULL && fd == -1;
	    a = a->ai_next)
		if (may_connect(account, a)) {
			int64_t now = clock_now();
			int64_t share = (deadline - now) / (int64_t)left--;

			fd = connect_one(relay, a, now + share, &why);
		}
	freeaddrinfo(addresses);
	if (fd < 0)
		error_set(error, ERROR_SYSTEM, "%s port %s: %.150s",
		    account->hop.host, account->hop.port, why.text);
	return fd;
}

static int
connect_path(const struct relay *relay, const struct account *account,
    int64_t deadline, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct addrinfo info = {
		.ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)(void *)&address,
		.ai_addrlen = sizeof(address),
	};
	struct error why;

	/* It fits: account.c has looked. */
	memcpy(address.sun_path, account->hop.host, strlen(account->hop.host));
	int fd = connect_one(relay, &info, deadline, &why);
	if (fd < 0)
		error_set(error, ERROR_SYSTEM, "%s: %.150s", account->hop.host,
		    why.text);
	return fd;
}

int
relay_connect(const struct relay *relay, const struct account *account,
    int64_t deadline, struct error *error)
{
	return account->hop.scheme == NEXT_HOP_LMTP_UNIX
	    ? connect_path(relay, account, deadline, error)
	    : connect_host(relay, account, deadline, error);
}
