/*
 * transport: two descriptors (often the same), and TLS over them.
 *
 * Nothing here waits: sockets are used with MSG_DONTWAIT, anything else with
 * O_NONBLOCK (restored by transport_close). What it would have to wait for
 * is the result, and conn.h waits. TLS goes through libtls with read and
 * write callbacks of our own: ciphertext passes two buffers, so that one
 * system call serves several TLS records, and the end of the input is seen
 * here, which libtls reports as a bare -1.
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <tls.h>

#include "base/buf.h"
#include "base/error.h"

/* Ciphertext: four records and what TLS adds to them. */
#define TRANSPORT_CIPHER_SIZE (4 * (16384 + 256))

/* Results beside a number of octets, 0 for the end or for done, and -1. */
#define TRANSPORT_WANT_IN (-2)
#define TRANSPORT_WANT_OUT (-3)

struct transport {
	int in_fd;
	int out_fd;
	struct tls *tls; /* NULL while plain */
	bool eof;        /* the input has ended */
	int error;       /* errno of what broke, or 0 */
	uint64_t cipher_taken; /* octets of input that TLS has taken */
	bool muted;      /* set by the caller: nothing more is sent, not even
	                    what TLS has made already */

	/* transport.c's own. */
	bool is_tcp;
	bool in_is_socket;
	bool out_is_socket;
	int in_flags; /* to be restored, or -1 */
	int out_flags;
	struct buf cipher_in; /* only ever touched under TLS */
	struct buf cipher_out;
	char cipher_in_storage[TRANSPORT_CIPHER_SIZE];
	char cipher_out_storage[TRANSPORT_CIPHER_SIZE];
};

/* Takes over two open descriptors, which may be the same. TCP_NODELAY is set
 * where it exists. */
void transport_open(struct transport *transport, int in_fd, int out_fd);

/* The input is a socket: there is a peer that could close, too. */
bool transport_is_socket(const struct transport *transport);

/*
 * Reads and writes at most size octets, through TLS where it has begun. How
 * many, 0 at the end of input, TRANSPORT_WANT_IN or _OUT, or -1:
 * transport_fault says why.
 */
ssize_t transport_read(struct transport *transport, void *data, size_t size);
ssize_t transport_write(struct transport *transport, const void *data,
    size_t size);

/*
 * Ciphertext that is still to be sent: 0 when there is none left,
 * TRANSPORT_WANT_OUT, or -1. To be called before any wait.
 */
ssize_t transport_push(struct transport *transport);

/* How many octets came that TLS has not taken yet. */
size_t transport_pending(const struct transport *transport);

/*
 * TLS begins, as a server with the keys of tls_server (a context of
 * tls_server(3), which stays the caller's), or as a client that expects the
 * peer's certificate to be for name (tls_client becomes the transport's and
 * must be configured). Then transport_handshake until it is 0.
 */
int transport_accept_tls(struct transport *transport, struct tls *tls_server,
    struct error *error);
int transport_connect_tls(struct transport *transport, struct tls *tls_client,
    const char *name, struct error *error);
ssize_t transport_handshake(struct transport *transport);

/* close_notify: 0, TRANSPORT_WANT_OUT, or -1. */
ssize_t transport_close_tls(struct transport *transport);

/* Forgets TLS and what came for it: from here on it is plain. */
void transport_drop_tls(struct transport *transport);

/* Acknowledges what has come, which TCP would delay; for one wait. */
void transport_acknowledge(const struct transport *transport);

/* No more is sent: the peer sees the end. */
void transport_shutdown(struct transport *transport);

/* Fills *error with what broke: ERROR_PEER, "WHAT: why". Returns -1. */
int transport_fault(const struct transport *transport, const char *what,
    struct error *error);

void transport_close(struct transport *transport);

#endif
