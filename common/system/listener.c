/*
 * listener.c - sockets that listen: their names, their opening, and their
 * being passed.
 */
#include "system/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/slice.h"
#include "system/descriptors.h"

/* Port 0: how many free ports are tried, until one is free at both loopback
 * addresses. */
#define PORT_TRIES 16

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

/* What [ADDRESS:]PORT means. */
struct where {
	union address addresses[2];
	size_t n;
	uint16_t port;
};

static socklen_t
address_size(const union address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->in)
	                                         : sizeof(address->in6);
}

static void
set_port(union address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET)
		address->in.sin_port = htons(port);
	else
		address->in6.sin6_port = htons(port);
}

static void
parse_loopback(struct where *where)
{
	where->n = 2;
	where->addresses[0].in = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
	};
	where->addresses[1].in6 = (struct sockaddr_in6){
		.sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
}

static bool
parse_address(struct slice text, struct where *where)
{
	union address *address = &where->addresses[0];
	char copy[INET6_ADDRSTRLEN];
	bool bracketed = text.len > 2 && text.data[0] == '[' &&
	    text.data[text.len - 1] == ']';

	if (slice_equal_nocase(text, SLICE("localhost"))) {
		parse_loopback(where);
		return true;
	}
	if (bracketed)
		text = (struct slice){ text.data + 1, text.len - 2 };
	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	where->n = 1;
	if (bracketed) {
		address->in6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6 };
		return inet_pton(AF_INET6, copy,
		    &address->in6.sin6_addr) == 1;
	}
	address->in = (struct sockaddr_in){ .sin_family = AF_INET };
	return inet_pton(AF_INET, copy, &address->in.sin_addr) == 1;
}

static bool
parse(const char *text, struct where *where)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (colon == NULL)
		parse_loopback(where);
	else if (!parse_address((struct slice){ text,
	    (size_t)(colon - text) }, where))
		return false;
	if (!slice_to_number(slice_from(colon != NULL ? colon + 1 : text),
	    UINT16_MAX, &port))
		return false;
	where->port = (uint16_t)port;
	return true;
}

bool
listener_is_valid(const char *text, char *why, size_t size)
{
	struct where where;

	snprintf(why, size, "must be a port from 0 to 65535, or an address "
	    "and a port: [::1]:1025, localhost:1025, 0.0.0.0:1025 for all");
	return parse(text, &where);
}

static bool
get_name(int fd, union address *address)
{
	socklen_t len = sizeof(*address);

	memset(address, 0, sizeof(*address));
	return getsockname(fd, &address->any, &len) == 0;
}

void
listener_name(int fd, char name[LISTENER_NAME_SIZE])
{
	union address address;
	char text[INET6_ADDRSTRLEN] = "";

	snprintf(name, LISTENER_NAME_SIZE, "a socket");
	if (!get_name(fd, &address))
		return;
	switch (address.any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &address.in.sin_addr, text, sizeof(text));
		snprintf(name, LISTENER_NAME_SIZE, "%s:%u", text,
		    ntohs(address.in.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &address.in6.sin6_addr, text,
		    sizeof(text));
		snprintf(name, LISTENER_NAME_SIZE, "[%s]:%u", text,
		    ntohs(address.in6.sin6_port));
		break;
	case AF_UNIX:
		if (address.un.sun_path[0] == '/')
			snprintf(name, LISTENER_NAME_SIZE, "%s",
			    error_tail(address.un.sun_path,
			    LISTENER_NAME_SIZE - 1));
		break;
	default:
		break;
	}
}

uint16_t
listener_port(int fd)
{
	union address address;

	if (!get_name(fd, &address))
		return 0;
	switch (address.any.sa_family) {
	case AF_INET:
		return ntohs(address.in.sin_port);
	case AF_INET6:
		return ntohs(address.in6.sin6_port);
	default:
		return 0;
	}
}

/* Is it bound to that address? A wanted port of 0 is any. */
static bool
is_bound_to(int fd, const union address *wanted)
{
	union address is;

	if (!get_name(fd, &is) || is.any.sa_family != wanted->any.sa_family)
		return false;
	if (is.any.sa_family == AF_INET)
		return is.in.sin_addr.s_addr == wanted->in.sin_addr.s_addr &&
		    (wanted->in.sin_port == 0 ||
		    is.in.sin_port == wanted->in.sin_port);
	return IN6_ARE_ADDR_EQUAL(&is.in6.sin6_addr,
	    &wanted->in6.sin6_addr) && (wanted->in6.sin6_port == 0 ||
	    is.in6.sin6_port == wanted->in6.sin6_port);
}

/* Takes the socket out of the inherited ones; -1 where none fits. */
static int
take_inherited(struct listeners *inherited, const union address *wanted)
{
	for (size_t i = 0; i < inherited->n; i++) {
		int fd = inherited->fds[i];

		if (!is_bound_to(fd, wanted))
			continue;
		inherited->fds[i] = inherited->fds[--inherited->n];
		return fd;
	}
	return -1;
}

/* Moves fd out of the way of what is opened and passed. */
static int
move_up(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTORS_PASSED + 1);
	int saved = errno;

	close(fd);
	errno = saved;
	return moved;
}

/* A socket that listens at that address, or -1 with errno. */
static int
open_one(const union address *address)
{
	const int on = 1;
	int fd = socket(address->any.sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		fd = move_up(fd);
	if (fd < 0)
		return -1;
	/* Old connections in TIME_WAIT must not keep the port taken. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* [::] is IPv6 alone, beside which 0.0.0.0 has room. */
	if (address->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &address->any, address_size(address)) == 0 &&
	    listen(fd, SOMAXCONN) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* This machine has no such family, or no loopback address of it. */
static bool
is_absent(int errnum)
{
	return errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL;
}

/*
 * All addresses of one --listen, at a common port. 0 with their descriptors
 * (-1 for an absent family), or errno with at the one that failed.
 */
static int
open_all(struct where *where, struct listeners *inherited, int fds[2],
    size_t *at)
{
	uint16_t port = where->port;
	int errnum = 0;

	fds[0] = fds[1] = -1;
	for (*at = 0; *at < where->n; ++*at) {
		union address *address = &where->addresses[*at];

		set_port(address, port);
		fds[*at] = take_inherited(inherited, address);
		if (fds[*at] < 0)
			fds[*at] = open_one(address);
		if (fds[*at] >= 0) {
			port = listener_port(fds[*at]);
			continue;
		}
		errnum = errno;
		if (where->n == 1 || !is_absent(errnum))
			goto fail;
	}
	if (fds[0] >= 0 || fds[1] >= 0)
		return 0;
	*at = 0;
fail:
	if (fds[0] >= 0)
		close(fds[0]);
	return errnum;
}

static int
add(struct listeners *listeners, int fd, struct error *error)
{
	if (listeners->n < LISTENER_MAX) {
		listeners->fds[listeners->n++] = fd;
		return 0;
	}
	close(fd);
	return error_set(error, ERROR_CONFIG, "more than %d listening "
	    "sockets", LISTENER_MAX);
}

int
listener_open(struct listeners *listeners, struct listeners *inherited,
    const char *text, struct error *error)
{
	struct where where;
	char why[128], name[INET6_ADDRSTRLEN] = "";
	int fds[2], errnum, tries = 0;
	size_t at;

	if (!parse(text, &where)) {
		listener_is_valid(text, why, sizeof(why));
		return error_set(error, ERROR_CONFIG, "--listen %.80s: %s",
		    text, why);
	}
	do
		errnum = open_all(&where, inherited, fds, &at);
	while (errnum == EADDRINUSE && where.port == 0 &&
	    ++tries < PORT_TRIES);
	if (errnum == 0) {
		listeners->own = true;
		for (at = 0; at < where.n; at++)
			if (fds[at] >= 0 &&
			    add(listeners, fds[at], error) < 0)
				return -1;
		return 0;
	}
	const union address *address = &where.addresses[at];
	inet_ntop(address->any.sa_family, address->any.sa_family == AF_INET
	    ? (const void *)&address->in.sin_addr
	    : (const void *)&address->in6.sin6_addr, name, sizeof(name));
	return error_set(error, ERROR_CONFIG, "--listen %.80s: port %u at %s"
	    "%s%s", text, where.port, name, errnum == EADDRINUSE
	    ? " is in use by another program" : ": ", errnum == EADDRINUSE
	    ? "" : strerror(errnum));
}

/* ---- sockets that were passed ---- */

static int
check_listening(int fd, struct error *error)
{
	int type = 0, listening = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
		return error_set(error, ERROR_CONFIG, "--accept needs a "
		    "listening socket, and descriptor %d is none: %s", fd,
		    strerror(errno));
	if (type != SOCK_STREAM)
		return error_set(error, ERROR_CONFIG, "descriptor %d is not a "
		    "stream socket: use ListenStream=, or socket_type = "
		    "stream", fd);
	len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening,
	    &len) != 0 || listening == 0)
		return error_set(error, ERROR_CONFIG, "descriptor %d is a "
		    "connection, and --accept needs a listening socket: set "
		    "Accept=no in the .socket unit, wait in inetd, or leave "
		    "--accept out", fd);
	return 0;
}

int
listener_adopt(struct listeners *listeners, struct error *error)
{
	int passed = descriptors_passed(error);
	int fd = passed == 0 ? STDIN_FILENO : DESCRIPTORS_PASSED;

	if (passed < 0)
		return -1;
	if (passed > 1)
		return error_set(error, ERROR_CONFIG, "%d descriptors were "
		    "passed, and one is served: one ListenStream= in the "
		    ".socket unit", passed);
	if (check_listening(fd, error) < 0)
		return -1;
	int moved = descriptors_move_up(fd, error);
	if (moved < 0)
		return -1;
	/* accept(2) must not wait for a connection that was reset since
	 * poll(2) told of it. */
	fcntl(moved, F_SETFL, fcntl(moved, F_GETFL) | O_NONBLOCK);
	descriptors_forget_passed();
	if (fd == DESCRIPTORS_PASSED)
		close(fd);
	for (int at = STDIN_FILENO; at <= STDERR_FILENO; at++)
		if (descriptors_are_same(at, moved) &&
		    descriptors_cover(at, error) < 0) {
			close(moved);
			return -1;
		}
	return add(listeners, moved, error);
}

bool
listener_is_ready(const struct listeners *listeners)
{
	struct pollfd pollfds[LISTENER_MAX];

	for (size_t i = 0; i < listeners->n; i++)
		pollfds[i] = (struct pollfd){
			.fd = listeners->fds[i], .events = POLLIN };
	return poll(pollfds, (nfds_t)listeners->n, 0) > 0;
}

void
listener_close(struct listeners *listeners)
{
	while (listeners->n > 0)
		close(listeners->fds[--listeners->n]);
}
