/*
 * conn.c - the connection pump: waiting, and for how long.
 */
#include "system/conn.h"

#include <poll.h>

#include "system/clock.h"
#include "system/process.h"

/* How long a peer may take to close after us, and to take close_notify; and
 * how much of what it still sends is read meanwhile. */
#define LINGER_MS 2000
#define LINGER_MAX 16777216
/* SIGTERM: how long output already begun may go on. */
#define STOP_MS 10000
/* SIGTERM is unblocked only in ppoll(2). Where a peer always has something to
 * read or write there is no wait, or one that is over at once, and lets no
 * signal in: then one without time comes after so many reads and writes. */
#define UNWAITED_MAX 64

void
conn_open(struct conn *conn, int in_fd, int out_fd, unsigned timeout)
{
	transport_open(&conn->transport, in_fd, out_fd);
	conn->finish = conn->heed_input = conn->input_came = false;
	conn->hard_deadline = 0;
	conn->unwaited = 0;
	conn->stop_deadline = 0;
	conn->cipher_taken = 0;
	conn_set_timeout(conn, timeout);
}

void
conn_set_timeout(struct conn *conn, unsigned timeout)
{
	deadline_init(&conn->deadline, timeout);
}

/*
 * libtls may ask for more input before it has taken all the ciphertext that
 * came, after a session ticket for one: then it is called again without a
 * wait. But where it has taken nothing since the last time, it needs more, and
 * to call it again would be to spin.
 */
static bool
has_more_for_tls(struct conn *conn)
{
	uint64_t taken = conn->transport.cipher_taken;
	bool moves = taken != conn->cipher_taken;

	conn->cipher_taken = taken;
	return moves && transport_pending(&conn->transport) > 0;
}

/*
 * Waits for one direction, after sending what TLS has made so far. False
 * when the deadline has passed; a signal ends it early. A transport that
 * breaks here says so again at the next read or write.
 */
static bool
wait_for(struct conn *conn, ssize_t want, int64_t deadline)
{
	const struct transport *transport = &conn->transport;

	conn->input_came = false;
	if (transport_push(&conn->transport) == TRANSPORT_WANT_OUT)
		want = TRANSPORT_WANT_OUT;
	else if (want == TRANSPORT_WANT_IN && has_more_for_tls(conn))
		return true;
	if (conn->hard_deadline != 0 && conn->hard_deadline < deadline)
		deadline = conn->hard_deadline;
	int64_t left = deadline - clock_now();
	struct pollfd pollfd = {
		.fd = want == TRANSPORT_WANT_IN ? transport->in_fd
		                                : transport->out_fd,
		.events = want == TRANSPORT_WANT_IN ? POLLIN : POLLOUT,
	};

	/* Where input is heeded, it comes on the same socket. */
	if (conn->heed_input)
		pollfd.events |= POLLIN;
	if (left <= 0)
		return false;
	const struct timespec timeout = {
		.tv_sec = left / 1000,
		.tv_nsec = left % 1000 * 1000000,
	};
	if (want == TRANSPORT_WANT_IN)
		transport_acknowledge(&conn->transport);
	int n = ppoll(&pollfd, 1, &timeout, process_wait_mask());
	/* Where it was ready at once no signal got in. */
	if (n <= 0)
		conn->unwaited = 0;
	conn->input_came = n > 0 && (pollfd.revents & POLLIN) != 0;
	return n != 0;
}

static bool
stop_requested(const struct conn *conn)
{
	return process_stop_requested() && !conn->finish;
}

/* Unblocks a pending SIGTERM, though there was no need to wait. */
static void
look_for_signals(struct conn *conn)
{
	static const struct timespec at_once = { 0 };

	conn->unwaited = 0;
	ppoll(NULL, 0, &at_once, process_wait_mask());
}

/* Until when output may take. */
static int64_t
write_deadline(struct conn *conn)
{
	int64_t now = clock_now();
	int64_t deadline = deadline_write(&conn->deadline, now);

	if (!stop_requested(conn))
		return deadline;
	if (conn->stop_deadline == 0)
		conn->stop_deadline = now + STOP_MS;
	return deadline < conn->stop_deadline ? deadline
	                                      : conn->stop_deadline;
}

/* Hands all of wire->out over, to the transport or to TLS. 1: there is input
 * to heed first. */
static int
drain(struct conn *conn, struct wire *wire, struct error *error)
{
	struct slice out = buf_contents(&wire->out);

	deadline_resume(&conn->deadline, clock_now());
	while (out.len > 0) {
		int64_t until = write_deadline(conn);
		if (++conn->unwaited > UNWAITED_MAX)
			look_for_signals(conn);
		ssize_t n = transport_write(&conn->transport, out.data,
		    out.len);
		if (n == TRANSPORT_WANT_IN || n == TRANSPORT_WANT_OUT) {
			if (!wait_for(conn, n, until))
				return error_set(error, ERROR_TIMEOUT,
				    "the peer does not read");
			if (conn->heed_input && conn->input_came)
				return 1;
			continue;
		}
		if (n < 0)
			return transport_fault(&conn->transport, "write",
			    error);
		deadline_went(&conn->deadline, (size_t)n, clock_now());
		buf_consume(&wire->out, (size_t)n);
		out = buf_contents(&wire->out);
	}
	return 0;
}

/* Waits until the transport has all ciphertext; results as above. */
static int
drain_ciphertext(struct conn *conn, struct error *error)
{
	ssize_t n;

	while ((n = transport_push(&conn->transport)) == TRANSPORT_WANT_OUT) {
		if (!wait_for(conn, n, write_deadline(conn)))
			return error_set(error, ERROR_TIMEOUT,
			    "the peer does not read");
		if (conn->heed_input && conn->input_came)
			return 1;
	}
	return n < 0 ? transport_fault(&conn->transport, "write", error) : 0;
}

int
conn_flush(struct conn *conn, struct wire *wire, struct error *error)
{
	int result = drain(conn, wire, error);

	return result != 0 ? result : drain_ciphertext(conn, error);
}

void
conn_mute(struct conn *conn)
{
	conn->transport.muted = true;
}

ssize_t
conn_read_plain(struct conn *conn, char *data, size_t size, int64_t deadline,
    struct error *error)
{
	for (;;) {
		ssize_t n = transport_read(&conn->transport, data, size);

		if (n >= 0)
			return n;
		if (n != TRANSPORT_WANT_IN)
			return transport_fault(&conn->transport, "read", error);
		if (stop_requested(conn) || !wait_for(conn, n, deadline))
			return error_set(error, ERROR_TIMEOUT, "%s",
			    stop_requested(conn) ? "stopped"
			    : "took too long");
	}
}

int
conn_read_ready(struct conn *conn, struct wire *wire, struct error *error)
{
	size_t room;
	char *at = buf_reserve(&wire->in, &room);

	if (room == 0)
		return 0;
	/* poll(2) cannot tell: libtls may hold text already, and what has come
	 * may be a session ticket without text, perhaps with text behind it.
	 * Tickets without end are nothing that has come. */
	ssize_t n;
	size_t before;
	unsigned tries = 0;
	do {
		before = transport_pending(&conn->transport);
		n = transport_read(&conn->transport, at, room);
	} while (n == TRANSPORT_WANT_IN && ++tries < UNWAITED_MAX &&
	    transport_pending(&conn->transport) > 0 &&
	    before != transport_pending(&conn->transport));
	if (n == TRANSPORT_WANT_IN || n == TRANSPORT_WANT_OUT)
		return 0;
	if (n < 0)
		return transport_fault(&conn->transport, "read", error);
	if (n == 0)
		wire->eof = true;
	else
		buf_commit(&wire->in, (size_t)n);
	return 0;
}

static int
pump_in(struct conn *conn, struct wire *wire, struct error *error)
{
	size_t room;
	char *at = buf_reserve(&wire->in, &room);

	if (room == 0)
		return error_set(error, ERROR_SYSTEM, "no room for input");
	int64_t now = clock_now();
	int64_t until = deadline_read(&conn->deadline, wire, now);
	/* Where input never ends there is no wait that would see this. */
	if (conn->hard_deadline != 0 && now >= conn->hard_deadline) {
		wire->timed_out = true;
		return 0;
	}
	if (++conn->unwaited > UNWAITED_MAX)
		look_for_signals(conn);
	for (;;) {
		if (stop_requested(conn)) {
			wire->stopping = true;
			return 0;
		}
		ssize_t n = transport_read(&conn->transport, at, room);
		if (n == TRANSPORT_WANT_IN || n == TRANSPORT_WANT_OUT) {
			if (!wait_for(conn, n, until)) {
				wire->timed_out = true;
				return 0;
			}
			continue;
		}
		if (n < 0)
			return transport_fault(&conn->transport, "read", error);
		if (n == 0) {
			wire->eof = true;
			return 0;
		}
		size_t got = (size_t)n;
		/* Takes what else has come, too: a client may have sent each
		 * line in a TLS record of its own. */
		while (transport_pending(&conn->transport) > 0 && got < room &&
		    (n = transport_read(&conn->transport, at + got,
		    room - got)) > 0)
			got += (size_t)n;
		buf_commit(&wire->in, got);
		deadline_came(&conn->deadline, wire, got, clock_now());
		return 0;
	}
}

int
conn_pump(struct conn *conn, struct wire *wire, struct error *error)
{
	if (wire->out.end > wire->out.start)
		return conn_flush(conn, wire, error);
	return pump_in(conn, wire, error);
}

static int
handshake(struct conn *conn, struct error *error)
{
	int64_t deadline = clock_now() + CONN_HANDSHAKE_TIMEOUT * 1000;

	if (conn->deadline.timeout < CONN_HANDSHAKE_TIMEOUT * 1000)
		deadline = clock_now() + conn->deadline.timeout;
	conn->deadline.read = 0;
	for (;;) {
		ssize_t n = transport_handshake(&conn->transport);

		if (n == 0)
			return 0;
		if (n != TRANSPORT_WANT_IN && n != TRANSPORT_WANT_OUT)
			return transport_fault(&conn->transport,
			    "TLS handshake", error);
		if (stop_requested(conn) || !wait_for(conn, n, deadline))
			return error_set(error, ERROR_TIMEOUT,
			    "TLS handshake: %s", stop_requested(conn)
			    ? "stopped" : "took too long");
	}
}

int
conn_start_tls(struct conn *conn, struct tls *tls_server, struct error *error)
{
	if (transport_accept_tls(&conn->transport, tls_server, error) < 0)
		return -1;
	return handshake(conn, error);
}

int
conn_start_tls_client(struct conn *conn, struct tls *tls_client,
    const char *name, struct error *error)
{
	if (transport_connect_tls(&conn->transport, tls_client, name,
	    error) < 0)
		return -1;
	return handshake(conn, error);
}

/* close_notify, in one write with the final reply. With wait the peer is given
 * time to read both. */
static void
close_tls(struct conn *conn, bool wait)
{
	int64_t deadline = clock_now() + LINGER_MS;
	struct error ignored;

	while (!conn->transport.eof && conn->transport.error == 0) {
		ssize_t n = transport_close_tls(&conn->transport);

		if (n != TRANSPORT_WANT_OUT || !wait ||
		    !wait_for(conn, n, deadline))
			break;
	}
	if (conn->transport.error == 0 && wait)
		drain_ciphertext(conn, &ignored);
	else if (conn->transport.error == 0)
		transport_push(&conn->transport);
}

static void
linger_for_peer(struct conn *conn)
{
	int64_t deadline = clock_now() + LINGER_MS;
	size_t octets = 0;
	char waste[16384];

	while (!conn->transport.eof && conn->transport.error == 0) {
		ssize_t n = transport_read(&conn->transport, waste,
		    sizeof(waste));

		if (n == TRANSPORT_WANT_IN && !wait_for(conn, n, deadline))
			break;
		if (n > 0)
			octets += (size_t)n;
		if (octets > LINGER_MAX || clock_now() >= deadline)
			break;
	}
}

void
conn_close(struct conn *conn, struct wire *final_reply, bool linger)
{
	struct error ignored;

	if (conn->transport.in_fd <= 0)
		return;
	/* A peer that does not read it does without. */
	if (final_reply != NULL)
		drain(conn, final_reply, &ignored);
	if (conn->transport.tls != NULL)
		close_tls(conn, final_reply != NULL);
	transport_shutdown(&conn->transport);
	/* Only now: there is much to free, and the peer waits for the end. */
	transport_drop_tls(&conn->transport);
	if (linger && transport_is_socket(&conn->transport))
		linger_for_peer(conn);
	transport_close(&conn->transport);
}
