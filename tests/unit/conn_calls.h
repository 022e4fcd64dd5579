/*
 * conn_calls: a transport, a poll(2) and a clock in place of the real ones,
 * for tests of the pump alone. What they do is in fake, and no wait takes any
 * time.
 */
#ifndef UNIT_CONN_CALLS_H
#define UNIT_CONN_CALLS_H

#include "drive.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include "system/conn.h"
#include "system/process.h"

#define IN TRANSPORT_WANT_IN
#define OUT TRANSPORT_WANT_OUT
#define BROKEN (-1)

enum { IN_FD = 1000, OUT_FD };

/* What calls return: each of these, and the last one for ever. */
struct results {
	ssize_t list[8];
	size_t n;
	size_t calls;
};

#define RETURNS(call, ...) (fake.call = (struct results){ { __VA_ARGS__ }, \
	COUNT(((ssize_t[]){ __VA_ARGS__ })), 0 })

static struct {
	int64_t now;
	struct results read, write, push, handshake, close, begin;

	/* Ciphertext: how much has come, and how much of it a read takes. */
	size_t pending, takes;
	size_t enough; /* it takes no more after so many; 0: always */
	int64_t read_takes; /* ms */
	char octet; /* what is read next */

	/* What ends a wait, each after so long; then nothing does. */
	struct { int64_t after; short events; bool stop; } ends[8];
	size_t n_ends, waits;
	short waited_for; /* last */
	int waited_on;
	bool pushed, acknowledged; /* since the last wait */
	bool prompt; /* waits are over at once */

	bool signal; /* is pending, and comes where it is let in */
	bool stop;
	size_t looks; /* waits for nothing but that */
	bool is_socket;
	struct text order; /* of what ends it */
} fake;

static sigset_t wait_mask;
static struct conn conn;
static struct wire wire;
static struct error error;
static char in_storage[4096], out_storage[4096];

static inline ssize_t
next_of(struct results *results)
{
	size_t i = results->calls++;

	assert_true(results->n > 0 && results->calls < 100000);
	return results->list[i < results->n ? i : results->n - 1];
}

/* ---- in place of process.c and the C library ---- */

bool
process_stop_requested(void)
{
	return fake.stop;
}

const sigset_t *
process_wait_mask(void)
{
	return &wait_mask;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ .tv_sec = fake.now / 1000,
		.tv_nsec = fake.now % 1000 * 1000000 };
	return 0;
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	int64_t ms = timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000;

	assert_ptr_equal(mask, &wait_mask);
	assert_int_equal(timeout->tv_nsec % 1000000, 0);
	assert_in_range(timeout->tv_nsec, 0, 999999999);
	if (n == 0) {
		assert_int_equal(ms, 0);
		fake.looks++;
		fake.stop |= fake.signal;
		return 0;
	}
	assert_int_equal(n, 1);
	assert_true(ms > 0);
	/* What TLS has made is on its way, and what came acknowledged. */
	assert_true(fake.pushed);
	fake.waited_for = fds->events;
	fake.waited_on = fds->fd;
	assert_int_equal(fake.acknowledged, fds->fd == IN_FD);
	fake.pushed = fake.acknowledged = false;
	size_t i = fake.waits++;
	fds->revents = fake.prompt ? fds->events : 0;
	if (fake.prompt)
		return 1;
	if (i >= fake.n_ends || fake.ends[i].after > ms) {
		fake.now += ms;
		return 0;
	}
	fake.now += fake.ends[i].after;
	fake.stop |= fake.ends[i].stop;
	fds->revents = (short)(fake.ends[i].events & fds->events);
	if (fds->revents != 0)
		return 1;
	errno = EINTR;
	return -1;
}

/* ---- in place of transport.c ---- */

void
transport_open(struct transport *transport, int in_fd, int out_fd)
{
	transport->in_fd = in_fd;
	transport->out_fd = out_fd;
	transport->tls = NULL;
	transport->eof = transport->muted = false;
	transport->error = 0;
	transport->cipher_taken = 0;
}

bool
transport_is_socket(const struct transport *transport)
{
	(void)transport;
	return fake.is_socket;
}

ssize_t
transport_read(struct transport *transport, void *data, size_t size)
{
	ssize_t n = next_of(&fake.read);
	size_t took = fake.takes < fake.pending ? fake.takes : fake.pending;
	char *octets = data;

	assert_true(size > 0);
	if (fake.enough > 0 && transport->cipher_taken >= fake.enough)
		took = 0;
	fake.now += fake.read_takes;
	fake.pending -= took;
	transport->cipher_taken += took;
	if (n == 0)
		transport->eof = true;
	if (n == BROKEN)
		transport->error = ECONNRESET;
	if (n > (ssize_t)size)
		n = (ssize_t)size;
	for (ssize_t i = 0; i < n; i++) {
		octets[i] = (char)('a' + fake.octet);
		fake.octet = (char)((fake.octet + 1) % 26);
	}
	return n;
}

ssize_t
transport_write(struct transport *transport, const void *data, size_t size)
{
	ssize_t n = next_of(&fake.write);

	(void)data;
	assert_true(size > 0);
	fake.pushed = false;
	if (n == BROKEN)
		transport->error = EPIPE;
	return n > (ssize_t)size ? (ssize_t)size : n;
}

ssize_t
transport_push(struct transport *transport)
{
	(void)transport;
	fake.pushed = true;
	return next_of(&fake.push);
}

size_t
transport_pending(const struct transport *transport)
{
	(void)transport;
	return fake.pending;
}

void
transport_acknowledge(const struct transport *transport)
{
	(void)transport;
	fake.acknowledged = true;
}

int
transport_accept_tls(struct transport *transport, struct tls *tls_server,
    struct error *why)
{
	(void)transport;
	(void)tls_server;
	(void)why;
	return (int)next_of(&fake.begin);
}

int
transport_connect_tls(struct transport *transport, struct tls *tls_client,
    const char *name, struct error *why)
{
	(void)name;
	return transport_accept_tls(transport, tls_client, why);
}

ssize_t
transport_handshake(struct transport *transport)
{
	(void)transport;
	return next_of(&fake.handshake);
}

ssize_t
transport_close_tls(struct transport *transport)
{
	(void)transport;
	text_add(&fake.order, SLICE("notify "));
	return next_of(&fake.close);
}

void
transport_drop_tls(struct transport *transport)
{
	transport->tls = NULL;
	text_add(&fake.order, SLICE("drop "));
}

void
transport_shutdown(struct transport *transport)
{
	(void)transport;
	text_add(&fake.order, SLICE("shutdown "));
}

int
transport_fault(const struct transport *transport, const char *what,
    struct error *why)
{
	(void)transport;
	return error_set(why, ERROR_PEER, "%s: broken", what);
}

void
transport_close(struct transport *transport)
{
	transport->in_fd = transport->out_fd = -1;
	text_add(&fake.order, SLICE("close"));
}

/* ---- a connection ---- */

#define MINUTE 60000

static inline void
begin_with(unsigned timeout)
{
	text_free(&fake.order);
	memset(&fake, 0, sizeof(fake));
	fake.now = 1000000;
	RETURNS(read, IN);
	RETURNS(write, OUT);
	RETURNS(push, 0);
	RETURNS(handshake, IN);
	RETURNS(close, 0);
	RETURNS(begin, 0);
	/* What was there before is of no account. */
	memset(&conn, 0xA5, sizeof(conn));
	conn_open(&conn, IN_FD, OUT_FD, timeout);
	wire_init(&wire, in_storage, sizeof(in_storage), out_storage,
	    sizeof(out_storage));
	memset(&error, 0, sizeof(error));
}

static inline void
begin(void)
{
	begin_with(60);
}

/* The next wait to be ended so. */
static inline void
end_after(int64_t after, short events, bool stop)
{
	fake.ends[fake.n_ends].after = after;
	fake.ends[fake.n_ends].events = events;
	fake.ends[fake.n_ends++].stop = stop;
}

static inline int64_t
took(void)
{
	return fake.now - 1000000;
}

static inline void
put_out(size_t n)
{
	static const char octets[4096];

	assert_true(buf_append(&wire.out, (struct slice){ octets, n }));
}

static inline int
tear_down(void **state)
{
	(void)state;
	text_free(&fake.order);
	return 0;
}

#endif
