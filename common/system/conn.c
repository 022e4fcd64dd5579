/*
 * conn.c - the connection pump.
 *
 * TLS goes through libtls with our own read and write callbacks: they use
 * MSG_DONTWAIT and see the end of the transport themselves, which libtls
 * reports as a bare -1.
 * Layer 2.
 */
#include "system/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/process.h"

/* How long a peer may take to close after us, and to take close_notify. */
#define LINGER_MS 2000
/* SIGTERM: how long output already begun may go on. */
#define STOP_MS 10000
/* Signals get in while we wait; a peer that keeps us busy makes us look at
 * least every so many reads and writes. */
#define UNWAITED_MAX 64

/* What the transport or TLS says when it is neither data nor the end. */
#define IO_WANT_IN (-2)
#define IO_WANT_OUT (-3)

static bool
is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Returns the flags to restore, -1 where there is nothing to restore. */
static int
set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_NONBLOCK) != 0)
		return -1;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? flags : -1;
}

void
conn_open(struct conn *conn, int in_fd, int out_fd, unsigned timeout)
{
	const int on = 1;

	/* Member by member: the large ones are not to be touched. */
	conn->in_fd = in_fd;
	conn->out_fd = out_fd;
	conn->tls = NULL;
	conn->eof = conn->finish = conn->is_tcp = false;
	conn->heed_input = conn->input_came = conn->muted = false;
	conn->until = 0;
	conn->transport_errno = 0;
	conn->in_flags = conn->out_flags = -1;
	conn->lines = conn->unwaited = 0;
	conn->stop_deadline = 0;
	conn->read_credit = conn->write_credit = 0;
	buf_init(&conn->cipher_in, conn->cipher_in_storage,
	    sizeof(conn->cipher_in_storage));
	buf_init(&conn->cipher_out, conn->cipher_out_storage,
	    sizeof(conn->cipher_out_storage));
	conn_set_timeout(conn, timeout);
	conn->in_is_socket = is_socket(in_fd);
	conn->out_is_socket = out_fd == in_fd ? conn->in_is_socket
	                                      : is_socket(out_fd);
	if (!conn->in_is_socket)
		conn->in_flags = set_nonblocking(in_fd);
	if (!conn->out_is_socket)
		conn->out_flags = set_nonblocking(out_fd);
	else
		/* Without it a TLS 1.3 session loses 40 ms to delayed ACK.
		 * A UNIX socket knows no such thing and says so. */
		conn->is_tcp = setsockopt(out_fd, IPPROTO_TCP, TCP_NODELAY,
		    &on, sizeof(on)) == 0;
}

void
conn_set_timeout(struct conn *conn, unsigned timeout)
{
	conn->timeout = (int64_t)timeout * 1000;
	conn->in_command = conn->in_text = conn->writing = false;
	conn->read_deadline = 0;
}

static ssize_t
transport_read(struct conn *conn, void *data, size_t size)
{
	ssize_t n;

	do
		n = conn->in_is_socket
		    ? recv(conn->in_fd, data, size, MSG_DONTWAIT)
		    : read(conn->in_fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		conn->eof = true;
	if (n < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return IO_WANT_IN;
		conn->transport_errno = errno;
	}
	return n;
}

static ssize_t
transport_write(struct conn *conn, const void *data, size_t size)
{
	ssize_t n;

	do
		n = conn->out_is_socket
		    ? send(conn->out_fd, data, size,
		          MSG_DONTWAIT | MSG_NOSIGNAL)
		    : write(conn->out_fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return IO_WANT_OUT;
		conn->transport_errno = errno;
	}
	return n;
}

/*
 * Sends ciphertext: 0 when there is none left, IO_WANT_OUT, or -1. To be
 * called before any wait, and whenever TLS has no room for more.
 */
static ssize_t
push_ciphertext(struct conn *conn)
{
	struct buf *buf = &conn->cipher_out;

	if (conn->muted)
		buf->start = buf->end = 0;
	while (buf->end > buf->start) {
		struct slice out = buf_contents(buf);
		ssize_t n = transport_write(conn, out.data, out.len);

		if (n < 0)
			return n;
		buf_consume(buf, (size_t)n);
	}
	buf->start = buf->end = 0;
	return 0;
}

static bool
has_ciphertext(const struct conn *conn)
{
	return conn->cipher_in.end > conn->cipher_in.start;
}

/* libtls takes ciphertext in small bites; the transport gives it in large
 * ones. */
static ssize_t
tls_read_callback(struct tls *tls, void *data, size_t size, void *arg)
{
	struct conn *conn = arg;
	struct buf *buf = &conn->cipher_in;

	(void)tls;
	if (!has_ciphertext(conn)) {
		size_t room;

		buf->start = buf->end = 0;
		char *at = buf_reserve(buf, &room);
		ssize_t n = transport_read(conn, at, room);
		if (n == IO_WANT_IN)
			return TLS_WANT_POLLIN;
		if (n <= 0)
			return n;
		buf_commit(buf, (size_t)n);
	}
	struct slice in = buf_contents(buf);
	if (in.len > size)
		in.len = size;
	memcpy(data, in.data, in.len);
	buf_consume(buf, in.len);
	return (ssize_t)in.len;
}

static ssize_t
tls_write_callback(struct tls *tls, const void *data, size_t size, void *arg)
{
	struct conn *conn = arg;
	struct buf *buf = &conn->cipher_out;

	(void)tls;
	if (buf->size - buf->end < size) {
		ssize_t n = push_ciphertext(conn);

		if (n < 0)
			return n == IO_WANT_OUT ? TLS_WANT_POLLOUT : n;
	}
	if (size > buf_room(buf))
		size = buf_room(buf);
	buf_append(buf, (struct slice){ data, size });
	return (ssize_t)size;
}

static ssize_t
from_tls(ssize_t n)
{
	return n == TLS_WANT_POLLIN ? IO_WANT_IN
	    : n == TLS_WANT_POLLOUT ? IO_WANT_OUT : n;
}

static ssize_t
conn_read(struct conn *conn, void *data, size_t size)
{
	if (conn->tls == NULL)
		return transport_read(conn, data, size);
	ssize_t n = from_tls(tls_read(conn->tls, data, size));
	/* A transport that ended without close_notify: the end all the same.
	 * Only the protocol knows if something is missing. */
	if (n == -1 && conn->eof)
		return 0;
	return n;
}

static ssize_t
conn_write(struct conn *conn, const void *data, size_t size)
{
	if (conn->tls == NULL)
		return transport_write(conn, data, size);
	return from_tls(tls_write(conn->tls, data, size));
}

static int
peer_error(struct conn *conn, const char *what, struct error *error)
{
	const char *why = conn->tls != NULL ? tls_error(conn->tls) : NULL;

	if (conn->transport_errno != 0)
		why = strerror(conn->transport_errno);
	else if (conn->eof)
		why = "connection closed by peer";
	return error_set(error, ERROR_PEER, "%s: %s", what,
	    why != NULL ? why : "unknown error");
}

/*
 * A client with Nagle's algorithm on that sends in small pieces waits for
 * our ACK before the next one, and the kernel may hold that back for 40 ms
 * (GnuTLS clients do so right after the handshake). The flag does not last.
 */
static void
acknowledge_now(const struct conn *conn)
{
#ifdef TCP_QUICKACK
	const int on = 1;

	if (conn->is_tcp)
		setsockopt(conn->in_fd, IPPROTO_TCP, TCP_QUICKACK, &on,
		    sizeof(on));
#else
	(void)conn;
#endif
}

/*
 * Waits for one direction, after sending what TLS has made so far. False
 * when the deadline has passed; a signal ends it early. A transport that
 * breaks here says so again at the next read or write.
 */
static bool
wait_for(struct conn *conn, ssize_t want, int64_t deadline)
{
	if (push_ciphertext(conn) == IO_WANT_OUT)
		want = IO_WANT_OUT;
	else if (want == IO_WANT_IN && has_ciphertext(conn))
		/* libtls may want to be called again though it has not seen
		 * all: after a ticket, for one. */
		return true;
	if (conn->until != 0 && conn->until < deadline)
		deadline = conn->until;
	int64_t left = deadline - clock_now();
	struct pollfd pollfd = {
		.fd = want == IO_WANT_IN ? conn->in_fd : conn->out_fd,
		.events = want == IO_WANT_IN ? POLLIN : POLLOUT,
	};

	/* Where input is heeded, it comes on the same socket. */
	if (conn->heed_input)
		pollfd.events |= POLLIN;
	conn->input_came = false;
	if (left <= 0)
		return false;
	const struct timespec timeout = {
		.tv_sec = left / 1000,
		.tv_nsec = left % 1000 * 1000000,
	};
	conn->unwaited = 0;
	if (want == IO_WANT_IN)
		acknowledge_now(conn);
	int n = ppoll(&pollfd, 1, &timeout, process_wait_mask());
	conn->input_came = n > 0 && (pollfd.revents & POLLIN) != 0;
	return n != 0;
}

static bool
stop_requested(const struct conn *conn)
{
	return process_stop_requested() && !conn->finish;
}

/* Lets a pending SIGTERM in, though there was no need to wait. */
static void
look_for_signals(struct conn *conn)
{
	static const struct timespec at_once = { 0 };

	conn->unwaited = 0;
	ppoll(NULL, 0, &at_once, process_wait_mask());
}

/* Each KiB earns a second; octets that come one by one earn it too. */
static int64_t
earn(int64_t deadline, uint64_t *credit, size_t octets, int64_t most)
{
	uint64_t milliseconds;

	*credit += octets;
	milliseconds = *credit * 1000 / 1024;
	*credit -= milliseconds * 1024 / 1000;
	deadline += (int64_t)milliseconds;
	return deadline < most ? deadline : most;
}

/* The budget of time for output. */
static void
set_write_deadline(struct conn *conn)
{
	int64_t now = clock_now();

	if (!conn->writing) {
		conn->writing = true;
		conn->write_deadline = now + conn->timeout;
	}
	if (!stop_requested(conn))
		return;
	if (conn->stop_deadline == 0)
		conn->stop_deadline = now + STOP_MS;
	if (conn->write_deadline > conn->stop_deadline)
		conn->write_deadline = conn->stop_deadline;
}

/* Hands all of wire->out over, to the transport or to TLS. 1: there is input
 * to heed first. */
static int
drain(struct conn *conn, struct wire *wire, struct error *error)
{
	struct slice out = buf_contents(&wire->out);

	/* The program was elsewhere meanwhile; that is not the peer's
	 * time. */
	if (conn->writing && clock_now() > conn->write_deadline)
		conn->writing = false;
	while (out.len > 0) {
		set_write_deadline(conn);
		if (++conn->unwaited > UNWAITED_MAX)
			look_for_signals(conn);
		ssize_t n = conn_write(conn, out.data, out.len);
		if (n == IO_WANT_IN || n == IO_WANT_OUT) {
			if (!wait_for(conn, n, conn->write_deadline))
				return error_set(error, ERROR_TIMEOUT,
				    "the peer does not read");
			if (conn->heed_input && conn->input_came)
				return 1;
			continue;
		}
		if (n < 0)
			return peer_error(conn, "write", error);
		conn->write_deadline = earn(conn->write_deadline,
		    &conn->write_credit, (size_t)n,
		    clock_now() + conn->timeout);
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

	while ((n = push_ciphertext(conn)) == IO_WANT_OUT) {
		set_write_deadline(conn);
		if (!wait_for(conn, n, conn->write_deadline))
			return error_set(error, ERROR_TIMEOUT,
			    "the peer does not read");
		if (conn->heed_input && conn->input_came)
			return 1;
	}
	return n < 0 ? peer_error(conn, "write", error) : 0;
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
	conn->muted = true;
}

ssize_t
conn_read_plain(struct conn *conn, char *data, size_t size, int64_t deadline,
    struct error *error)
{
	for (;;) {
		ssize_t n = transport_read(conn, data, size);

		if (n >= 0)
			return n;
		if (n != IO_WANT_IN)
			return peer_error(conn, "read", error);
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
	/* Not by asking poll(2): TLS may hold something, and what has come
	 * may be a ticket that says nothing; behind which there may be
	 * something that does. */
	ssize_t n;
	size_t before;
	do {
		before = conn->cipher_in.end - conn->cipher_in.start;
		n = conn_read(conn, at, room);
	} while (n == IO_WANT_IN && has_ciphertext(conn) &&
	    before != conn->cipher_in.end - conn->cipher_in.start);
	if (n == IO_WANT_IN || n == IO_WANT_OUT)
		return 0;
	if (n < 0)
		return peer_error(conn, "read", error);
	if (n == 0)
		wire->eof = true;
	else
		buf_commit(&wire->in, (size_t)n);
	return 0;
}

static void
set_read_deadline(struct conn *conn, const struct wire *wire)
{
	bool mid_line = !wire->text && wire_mid_line(wire);
	bool fresh = conn->read_deadline == 0 ||
	    wire->lines != conn->lines || wire->text != conn->in_text;

	/* Idle, or a first octet that has just come: the time begins. */
	if (!wire->text && (!mid_line || !conn->in_command))
		fresh = true;
	if (fresh)
		conn->read_deadline = clock_now() + conn->timeout;
	conn->lines = wire->lines;
	conn->in_text = wire->text;
	conn->in_command = mid_line;
}

static int
pump_in(struct conn *conn, struct wire *wire, struct error *error)
{
	size_t room;
	char *at = buf_reserve(&wire->in, &room);

	if (room == 0)
		return error_set(error, ERROR_SYSTEM, "no room for input");
	conn->writing = false;
	set_read_deadline(conn, wire);
	if (++conn->unwaited > UNWAITED_MAX)
		look_for_signals(conn);
	for (;;) {
		if (stop_requested(conn)) {
			wire->stopping = true;
			return 0;
		}
		ssize_t n = conn_read(conn, at, room);
		if (n == IO_WANT_IN || n == IO_WANT_OUT) {
			if (!wait_for(conn, n, conn->read_deadline)) {
				wire->timed_out = true;
				return 0;
			}
			continue;
		}
		if (n < 0)
			return peer_error(conn, "read", error);
		if (n == 0) {
			wire->eof = true;
			return 0;
		}
		size_t got = (size_t)n;
		/* What libtls holds in small records comes along now: a
		 * client may have made one of each line. */
		while (has_ciphertext(conn) && got < room &&
		    (n = conn_read(conn, at + got, room - got)) > 0)
			got += (size_t)n;
		buf_commit(&wire->in, got);
		if (wire->text)
			conn->read_deadline = earn(conn->read_deadline,
			    &conn->read_credit, got,
			    clock_now() + conn->timeout);
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

	if (conn->timeout < CONN_HANDSHAKE_TIMEOUT * 1000)
		deadline = clock_now() + conn->timeout;
	conn->read_deadline = 0;
	for (;;) {
		ssize_t n = from_tls(tls_handshake(conn->tls));

		if (n == 0)
			return 0;
		if (n != IO_WANT_IN && n != IO_WANT_OUT)
			return peer_error(conn, "TLS handshake", error);
		if (stop_requested(conn) || !wait_for(conn, n, deadline))
			return error_set(error, ERROR_TIMEOUT,
			    "TLS handshake: %s", stop_requested(conn)
			    ? "stopped" : "took too long");
	}
}

int
conn_start_tls(struct conn *conn, struct tls *tls_server, struct error *error)
{
	if (tls_accept_cbs(tls_server, &conn->tls, tls_read_callback,
	    tls_write_callback, conn) != 0)
		return error_set(error, ERROR_SYSTEM, "TLS: %s",
		    tls_error(tls_server));
	return handshake(conn, error);
}

int
conn_start_tls_client(struct conn *conn, struct tls *tls_client,
    const char *name, struct error *error)
{
	conn->tls = tls_client;
	if (tls_connect_cbs(tls_client, tls_read_callback,
	    tls_write_callback, conn, name) != 0)
		return error_set(error, ERROR_SYSTEM, "TLS: %s",
		    tls_error(tls_client));
	return handshake(conn, error);
}

/* close_notify, in one piece with what was said last. Only a peer that may
 * still want to hear it is given time to take it. */
static void
close_tls(struct conn *conn, bool wait)
{
	int64_t deadline = clock_now() + LINGER_MS;
	struct error ignored;

	while (!conn->eof && conn->transport_errno == 0) {
		ssize_t n = from_tls(tls_close(conn->tls));

		if (n != IO_WANT_OUT || !wait ||
		    !wait_for(conn, n, deadline))
			break;
	}
	if (conn->transport_errno == 0 && wait)
		drain_ciphertext(conn, &ignored);
	else if (conn->transport_errno == 0)
		push_ciphertext(conn);
	tls_free(conn->tls);
	conn->tls = NULL;
}

static void
linger_for_peer(struct conn *conn)
{
	int64_t deadline = clock_now() + LINGER_MS;
	char waste[4096];

	while (!conn->eof && conn->transport_errno == 0) {
		ssize_t n = transport_read(conn, waste, sizeof(waste));

		if (n == IO_WANT_IN && !wait_for(conn, n, deadline))
			break;
		if (clock_now() >= deadline)
			break;
	}
}

void
conn_close(struct conn *conn, struct wire *last_words, bool linger)
{
	struct error ignored;

	if (conn->in_fd <= 0)
		return;
	/* A peer that does not take them leaves as it likes. */
	if (last_words != NULL)
		drain(conn, last_words, &ignored);
	if (conn->tls != NULL)
		close_tls(conn, last_words != NULL);
	if (conn->out_is_socket)
		shutdown(conn->out_fd, SHUT_WR);
	if (linger && conn->in_is_socket)
		linger_for_peer(conn);
	if (conn->in_flags >= 0)
		fcntl(conn->in_fd, F_SETFL, conn->in_flags);
	if (conn->out_flags >= 0)
		fcntl(conn->out_fd, F_SETFL, conn->out_flags);
	if (conn->out_fd != conn->in_fd)
		close(conn->out_fd);
	close(conn->in_fd);
	conn->in_fd = conn->out_fd = -1;
}
