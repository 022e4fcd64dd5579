/*
 * conn: a connection (transport.h), and the waiting for its peer.
 *
 * Nothing here blocks past a deadline, and poll(2) does all the waiting.
 *
 * How long the peer may take is deadline.h's to say.
 */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tls.h>

#include "base/error.h"
#include "protocol/deadline.h"
#include "protocol/wire.h"
#include "system/transport.h"

/* A TLS handshake's own limit, in seconds. */
#define CONN_HANDSHAKE_TIMEOUT 30

struct conn {
	struct transport transport;

	/* Set by the caller. */
	bool finish;           /* go on in spite of SIGTERM */
	bool heed_input;       /* see conn_flush */
	int64_t hard_deadline; /* clock_now(): no wait goes on past it,
	                          whatever else holds; 0: none */

	/* conn.c's own. All times are milliseconds (clock_now). */
	struct deadline deadline;
	int64_t stop_deadline; /* of output, once SIGTERM was seen; or 0 */
	bool input_came;   /* seen while waiting for room */
	uint64_t cipher_taken; /* transport's, when a wait was asked for */
	unsigned unwaited; /* reads and writes since signals were unblocked */
};

/*
 * Takes over two open descriptors, which may be the same, and closes them
 * in conn_close. timeout in seconds. TCP_NODELAY is set where it exists.
 */
void conn_open(struct conn *conn, int in_fd, int out_fd, unsigned timeout);

/* Another limit from the next wait on. */
void conn_set_timeout(struct conn *conn, unsigned timeout);

/*
 * Makes it TLS, as a server with the keys of tls_server (a context of
 * tls_server(3), which stays the caller's), or as a client that expects
 * the peer's certificate to be for name (tls_client becomes the conn's and
 * must be configured). Both do the handshake at once. Errors: ERROR_PEER,
 * ERROR_TIMEOUT.
 */
int conn_start_tls(struct conn *conn, struct tls *tls_server,
    struct error *error);
int conn_start_tls_client(struct conn *conn, struct tls *tls_client,
    const char *name, struct error *error);

/*
 * Before anything else, and before any TLS: reads at most size octets into
 * data, waiting until the deadline (clock_now). Returns how many, 0 at the
 * end of input. Errors: ERROR_PEER, ERROR_TIMEOUT.
 */
ssize_t conn_read_plain(struct conn *conn, char *data, size_t size,
    int64_t deadline, struct error *error);

/*
 * For a core that wants I/O: drains wire->out if there is anything in it,
 * else waits for input and reads once, straight into wire->in, or sets
 * wire->eof, wire->timed_out or wire->stopping. -1: output cannot be
 * delivered (ERROR_PEER, ERROR_TIMEOUT) or input is broken (ERROR_PEER).
 */
int conn_pump(struct conn *conn, struct wire *wire, struct error *error);

/* Reads what has come already, if anything: never waits, sends nothing. The
 * end of input sets wire->eof. */
int conn_read_ready(struct conn *conn, struct wire *wire,
    struct error *error);

/*
 * Drains wire->out, for when the program is about to wait elsewhere. With
 * heed_input the result is 1, and not all is gone, when the peer says
 * something while it is not reading: conn_read_ready takes it.
 */
int conn_flush(struct conn *conn, struct wire *wire, struct error *error);

/* Nothing more is sent, not even what TLS has made already: the peer is not
 * to have the rest of what it got. It can still be heard. */
void conn_mute(struct conn *conn);

/*
 * Ends it in order: drains final_reply->out (NULL: there is none), then
 * close_notify, shutdown, close. With linger it then waits shortly for the
 * peer to close too, so that unread input does not make the kernel reset the
 * connection and destroy the final reply on the way. Takes a conn that was
 * never opened or is closed already, if it was zeroed. Without a final reply
 * nothing is waited for but what linger says.
 */
void conn_close(struct conn *conn, struct wire *final_reply, bool linger);

#endif
