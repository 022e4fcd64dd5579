/*
 * transport.c - descriptors and libtls.
 */
#include "system/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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
transport_open(struct transport *transport, int in_fd, int out_fd)
{
	const int on = 1;

	/* Member by member: to write to the large buffers would cost pages. */
	transport->in_fd = in_fd;
	transport->out_fd = out_fd;
	transport->tls = NULL;
	transport->eof = transport->muted = transport->is_tcp = false;
	transport->error = 0;
	transport->cipher_taken = 0;
	transport->in_flags = transport->out_flags = -1;
	buf_init(&transport->cipher_in, transport->cipher_in_storage,
	    sizeof(transport->cipher_in_storage));
	buf_init(&transport->cipher_out, transport->cipher_out_storage,
	    sizeof(transport->cipher_out_storage));
	transport->in_is_socket = is_socket(in_fd);
	transport->out_is_socket = out_fd == in_fd
	    ? transport->in_is_socket : is_socket(out_fd);
	if (!transport->in_is_socket)
		transport->in_flags = set_nonblocking(in_fd);
	if (!transport->out_is_socket)
		transport->out_flags = set_nonblocking(out_fd);
	else
		/* Without it a TLS 1.3 session loses 40 ms to delayed ACK.
		 * A UNIX socket knows no such thing and says so. */
		transport->is_tcp = setsockopt(out_fd, IPPROTO_TCP,
		    TCP_NODELAY, &on, sizeof(on)) == 0;
}

bool
transport_is_socket(const struct transport *transport)
{
	return transport->in_is_socket;
}

static ssize_t
raw_read(struct transport *transport, void *data, size_t size)
{
	ssize_t n;

	do
		n = transport->in_is_socket
		    ? recv(transport->in_fd, data, size, MSG_DONTWAIT)
		    : read(transport->in_fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		transport->eof = true;
	if (n < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return TRANSPORT_WANT_IN;
		transport->error = errno;
	}
	return n;
}

static ssize_t
raw_write(struct transport *transport, const void *data, size_t size)
{
	ssize_t n;

	do
		n = transport->out_is_socket
		    ? send(transport->out_fd, data, size,
		          MSG_DONTWAIT | MSG_NOSIGNAL)
		    : write(transport->out_fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return TRANSPORT_WANT_OUT;
		transport->error = errno;
	}
	return n;
}

ssize_t
transport_push(struct transport *transport)
{
	struct buf *buf = &transport->cipher_out;

	if (transport->muted)
		buf->start = buf->end = 0;
	while (buf->end > buf->start) {
		struct slice out = buf_contents(buf);
		ssize_t n = raw_write(transport, out.data, out.len);

		if (n < 0)
			return n;
		buf_consume(buf, (size_t)n);
	}
	buf->start = buf->end = 0;
	return 0;
}

size_t
transport_pending(const struct transport *transport)
{
	return transport->cipher_in.end - transport->cipher_in.start;
}

/* libtls takes ciphertext in small bites; the transport gives it in large
 * ones. */
static ssize_t
tls_read_callback(struct tls *tls, void *data, size_t size, void *arg)
{
	struct transport *transport = arg;
	struct buf *buf = &transport->cipher_in;

	(void)tls;
	if (transport_pending(transport) == 0) {
		size_t room;

		buf->start = buf->end = 0;
		char *at = buf_reserve(buf, &room);
		ssize_t n = raw_read(transport, at, room);
		if (n == TRANSPORT_WANT_IN)
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
	transport->cipher_taken += in.len;
	return (ssize_t)in.len;
}

static ssize_t
tls_write_callback(struct tls *tls, const void *data, size_t size, void *arg)
{
	struct transport *transport = arg;
	struct buf *buf = &transport->cipher_out;

	(void)tls;
	if (buf->size - buf->end < size) {
		ssize_t n = transport_push(transport);

		if (n < 0)
			return n == TRANSPORT_WANT_OUT ? TLS_WANT_POLLOUT : n;
	}
	if (size > buf_room(buf))
		size = buf_room(buf);
	buf_append(buf, (struct slice){ data, size });
	return (ssize_t)size;
}

static ssize_t
from_tls(ssize_t n)
{
	return n == TLS_WANT_POLLIN ? TRANSPORT_WANT_IN
	    : n == TLS_WANT_POLLOUT ? TRANSPORT_WANT_OUT : n;
}

ssize_t
transport_read(struct transport *transport, void *data, size_t size)
{
	if (transport->tls == NULL)
		return raw_read(transport, data, size);
	ssize_t n = from_tls(tls_read(transport->tls, data, size));
	/* An input that ended without close_notify: the end all the same.
	 * Only the protocol knows if something is missing. */
	if (n == -1 && transport->eof)
		return 0;
	return n;
}

ssize_t
transport_write(struct transport *transport, const void *data, size_t size)
{
	if (transport->tls == NULL)
		return raw_write(transport, data, size);
	return from_tls(tls_write(transport->tls, data, size));
}

/*
 * A client with Nagle's algorithm on that sends in small pieces waits for
 * our ACK before the next one, and the kernel may hold that back for 40 ms
 * (GnuTLS clients do so right after the handshake). The flag does not last.
 */
void
transport_acknowledge(const struct transport *transport)
{
#ifdef TCP_QUICKACK
	const int on = 1;

	if (transport->is_tcp)
		setsockopt(transport->in_fd, IPPROTO_TCP, TCP_QUICKACK, &on,
		    sizeof(on));
#else
	(void)transport;
#endif
}

int
transport_accept_tls(struct transport *transport, struct tls *tls_server,
    struct error *error)
{
	if (tls_accept_cbs(tls_server, &transport->tls, tls_read_callback,
	    tls_write_callback, transport) == 0)
		return 0;
	return error_set(error, ERROR_SYSTEM, "TLS: %s",
	    tls_error(tls_server));
}

int
transport_connect_tls(struct transport *transport, struct tls *tls_client,
    const char *name, struct error *error)
{
	transport->tls = tls_client;
	if (tls_connect_cbs(tls_client, tls_read_callback,
	    tls_write_callback, transport, name) == 0)
		return 0;
	return error_set(error, ERROR_SYSTEM, "TLS: %s",
	    tls_error(tls_client));
}

ssize_t
transport_handshake(struct transport *transport)
{
	return from_tls(tls_handshake(transport->tls));
}

ssize_t
transport_close_tls(struct transport *transport)
{
	return from_tls(tls_close(transport->tls));
}

void
transport_drop_tls(struct transport *transport)
{
	tls_free(transport->tls);
	transport->tls = NULL;
	/* What came under TLS is not read any more. */
	transport->cipher_in.start = transport->cipher_in.end = 0;
	transport->cipher_out.start = transport->cipher_out.end = 0;
}

void
transport_shutdown(struct transport *transport)
{
	if (transport->out_is_socket)
		shutdown(transport->out_fd, SHUT_WR);
}

int
transport_fault(const struct transport *transport, const char *what,
    struct error *error)
{
	const char *why = transport->tls != NULL
	    ? tls_error(transport->tls) : NULL;

	if (transport->error != 0)
		why = strerror(transport->error);
	else if (transport->eof)
		why = "connection closed by peer";
	return error_set(error, ERROR_PEER, "%s: %s", what,
	    why != NULL ? why : "unknown error");
}

void
transport_close(struct transport *transport)
{
	if (transport->in_flags >= 0)
		fcntl(transport->in_fd, F_SETFL, transport->in_flags);
	if (transport->out_flags >= 0)
		fcntl(transport->out_fd, F_SETFL, transport->out_flags);
	if (transport->out_fd != transport->in_fd)
		close(transport->out_fd);
	close(transport->in_fd);
	transport->in_fd = transport->out_fd = -1;
}
