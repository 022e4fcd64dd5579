/*
 * milter_link.c - a socket to a filter, and how long it may take.
 */
#include "milter_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/connect.h"
#include "system/loopback.h"

/* Seconds to connect and to negotiate, for a step, and for the end of a
 * message, which is when a filter works; each word of progress and each change
 * begins the last anew, but not for longer than a client waits (RFC 5321
 * 4.5.3.2.6), who would send it again. */
#define CONNECT_SECONDS 10
#define STEP_SECONDS 30
#define END_SECONDS 300

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
};

/* ---- addresses ---- */

/* PORT@HOST, with IPv6 in brackets or without. 0: it is none. */
static socklen_t
parse_inet(struct slice text, union address *address)
{
	char host[64];
	struct slice port, name;
	uint64_t number;

	if (!slice_cut(text, '@', &port, &name) ||
	    !slice_to_number(port, 65535, &number) || number == 0)
		return 0;
	if (name.len > 1 && name.data[0] == '[' &&
	    name.data[name.len - 1] == ']')
		name = (struct slice){ name.data + 1, name.len - 2 };
	snprintf(host, sizeof(host), "%.*s", name.len < sizeof(host)
	    ? (int)name.len : 0, name.data);
	if (!loopback_is_host(host))
		return 0;
	in_port_t in_port = htons((uint16_t)number);
	if (inet_pton(AF_INET6, host, &address->ipv6.sin6_addr) == 1) {
		address->ipv6.sin6_family = AF_INET6;
		address->ipv6.sin6_port = in_port;
		return sizeof(address->ipv6);
	}
	address->ipv4.sin_family = AF_INET;
	address->ipv4.sin_port = in_port;
	/* "localhost" */
	if (inet_pton(AF_INET, host, &address->ipv4.sin_addr) != 1)
		address->ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(address->ipv4);
}

bool
milter_link_is_inet(const char *address)
{
	return slice_starts_with(slice_from(address), SLICE("inet:"));
}

static socklen_t
parse_address(const char *text, union address *address)
{
	static const struct slice local = SLICE("unix:/");
	struct slice whole = slice_from(text);

	memset(address, 0, sizeof(*address));
	if (milter_link_is_inet(text))
		return parse_inet(slice_skip(whole, 5), address);
	if (!slice_starts_with(whole, local) || whole.len - 5 >=
	    sizeof(address->local.sun_path))
		return 0;
	address->local.sun_family = AF_UNIX;
	memcpy(address->local.sun_path, text + 5, whole.len - 5);
	return sizeof(address->local);
}

bool
milter_link_is_address(const char *text, char *why, size_t size)
{
	union address address;

	snprintf(why, size, "must be unix:/PATH or inet:PORT@HOST, with this "
	    "machine's loopback as HOST");
	return parse_address(text, &address) > 0;
}

/* ---- the connection ---- */

static int
connect_to(const char *text, struct error *error)
{
	union address address;
	socklen_t len = parse_address(text, &address);

	return connect_by(clock_now() + CONNECT_SECONDS * 1000, &address.any,
	    len, error);
}

static int
negotiate(struct milter_link *link, struct error *error)
{
	enum milter_answer answer;

	milter_put_negotiation(&link->milter);
	return milter_link_ask(link, MILTER_NEGOTIATION, &answer, error);
}

int
milter_link_open(struct milter_link *link, struct error *error)
{
	/* Two packets of any length. */
	static const size_t out_size = 2 * MILTER_OUT_MIN;
	int fd = connect_to(link->address, error);

	if (fd < 0)
		return -1;
	link->conn = calloc(1, sizeof(*link->conn));
	link->storage = malloc(MILTER_IN_MIN + out_size);
	if (link->conn == NULL || link->storage == NULL) {
		free(link->conn);
		free(link->storage);
		close(fd);
		return error_system(error, ENOMEM, "no memory");
	}
	milter_init(&link->milter, link->storage, MILTER_IN_MIN,
	    link->storage + MILTER_IN_MIN, out_size);
	conn_open(link->conn, fd, fd, END_SECONDS);
	link->is_open = true;
	link->greeted = link->in_message = false;
	if (negotiate(link, error) == 0)
		return 0;
	milter_link_close(link);
	return -1;
}

/* No wait goes on for longer. */
static void
limit(struct milter_link *link, int64_t seconds)
{
	link->conn->hard_deadline = clock_now() + seconds * 1000;
}

static void
limit_answer(struct milter_link *link, enum milter_step step)
{
	limit(link, step == MILTER_END ? END_SECONDS
	    : step == MILTER_NEGOTIATION ? CONNECT_SECONDS : STEP_SECONDS);
	if (step == MILTER_END && link->end_by < link->conn->hard_deadline)
		link->conn->hard_deadline = link->end_by;
}

int
milter_link_flush(struct milter_link *link, struct error *error)
{
	limit(link, STEP_SECONDS);
	return conn_flush(link->conn, &link->milter.wire, error);
}

static int
fail(enum milter_step step, const char *what, struct error *error)
{
	static const char *const names[MILTER_STEPS] = {
		"the negotiation", "connect", "HELO", "MAIL", "RCPT", "DATA",
		"a header", "the end of the header", "the body",
		"the end of the message",
	};

	return error_set(error, ERROR_SYSTEM, "%s at %s", what, names[step]);
}

int
milter_link_ask(struct milter_link *link, enum milter_step step,
    enum milter_answer *answer, struct error *error)
{
	struct milter *milter = &link->milter;

	/* From DATA on SIGTERM does not end the wait: the message is whole,
	 * and is to be finished. */
	link->conn->finish = step >= MILTER_DATA;
	limit_answer(link, step);
	for (;;) {
		*answer = milter_take(milter, step);
		if (*answer == MILTER_BROKEN)
			return fail(step, milter->what, error);
		if (*answer == MILTER_PROGRESS) {
			if (step == MILTER_END)
				limit_answer(link, step);
			continue;
		}
		if (*answer != MILTER_MORE)
			return 0;
		if (milter->wire.timed_out || milter->wire.stopping)
			return fail(step, milter->wire.timed_out
			    ? "no answer in time" : "stopped", error);
		if (conn_pump(link->conn, &milter->wire, error) < 0)
			return -1;
	}
}

void
milter_link_close(struct milter_link *link)
{
	if (!link->is_open)
		return;
	link->is_open = link->greeted = link->in_message = false;
	buf_wipe(&link->milter.wire.out);
	milter_put_quit(&link->milter);
	limit(link, 1);
	conn_close(link->conn, &link->milter.wire, false);
	free(link->conn);
	free(link->storage);
	link->conn = NULL;
	link->storage = NULL;
}
