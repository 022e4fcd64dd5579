/*
 * server: what the files of level 2 share.
 *
 *	server.c    the public face: who is served next, and waiting
 *	acceptor.c  connections are taken
 *	channel.c   one of them: its octets, TLS, its end
 *	origin.c    where they come from, and what they share
 *	queue.c     who has work
 *	timers.c    who is due
 *	poller.c    epoll or kqueue
 *
 * Whatever has work stands in one queue and is served in turn, a little each
 * time: no peer keeps another one waiting for long.
 */
#ifndef SERVER_H
#define SERVER_H

#include <tls.h>

#include "library/poller.h"
#include "library/session.h"
#include "library/timers.h"

/* Who can stand in the queue; the first member of what it is. */
struct source {
	struct source *next;
	bool queued;
	bool is_origin;
	bool readable; /* the poller said so, and no call failed since */
	bool writable;
	bool hung_up;  /* the poller has seen the end of the input */
};

/* Where sessions come from: a listening socket, or what was adopted. */
struct origin {
	struct source source;
	struct mh_server *server;
	struct origin *next;
	int fd; /* -1: no more come */
	struct mh_options options;
	struct tls *tls;
	size_t core_size;
	size_t buffers_size;
	size_t channels; /* of it; freed at 0, when fd is -1 */
	void *spare; /* buffers that nobody has now, each beginning with the
	              * address of the next */
	size_t spares;
};

enum phase {
	PHASE_SESSION,   /* it asks, or octets pass */
	PHASE_HANDSHAKE,
	PHASE_FLUSH,     /* it is over, and the final reply is to be sent */
	PHASE_NOTIFY,    /* close_notify */
	PHASE_LINGER,    /* the peer is to close, too */
	PHASE_GONE,
};

struct channel {
	struct source source;
	struct timer timer;
	struct origin *origin;
	struct channel *next; /* of the server's */
	struct channel **link;
	struct mh_session *session; /* right behind this */
	int fd;
	struct tls *tls;
	void *buffers;

	enum phase phase;
	bool asks_connect; /* before anything else */
	bool serving;   /* within channel_serve: no answer need wake it */
	bool eof;
	bool broken;    /* nothing can be said any more */
	bool stopped;   /* and the session knows it */
	bool timed_out; /* the timer said so */
	size_t lingered; /* octets */

	/* A message, where whole texts are wanted. */
	char *text;
	size_t text_len;
	size_t text_size;
};

struct mh_server {
	struct poller *poller;
	struct timers timers;
	struct origin *origins;
	struct channel *channels;
	struct source *queue;
	struct source **queue_end;
	size_t queued;
	size_t round; /* so many have a turn before the kernel is asked who
	               * else is ready */
	struct channel *told; /* whose MH_CLOSED was handed out last */
	int64_t now;
	int64_t stop_at;      /* when those who linger are cut off; 0: none */
	int64_t accept_again; /* descriptors were too few; or 0 */
	bool waiting;         /* within mh_server_wait */
};

/* ---- queue.c ---- */

/* Puts it at the end of the queue: it has work. */
void queue_add(struct mh_server *server, struct source *source);
/* Takes the first out of the queue; NULL: it is empty. */
struct source *queue_take(struct mh_server *server);

/* ---- origin.c ---- */

/* NULL with errno. */
struct origin *origin_new(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls);
/* Closes its socket: no more sessions come of it. */
void origin_close(struct origin *origin);
/* Frees it, if it is closed, has no channels and is not queued. */
void origin_release(struct origin *origin);
/* Buffers for a session, NULL with errno; and back again. */
void *origin_lend(struct origin *origin);
void origin_take_back(struct origin *origin, void *buffers);

/* ---- acceptor.c ---- */

/* Takes connections that have come, some of them. */
void acceptor_serve(struct origin *origin);

/* ---- channel.c ---- */

/* fd is the channel's unless -1 comes, with errno. */
int channel_new(struct origin *origin, int fd);
/* Goes on with it until it asks something, which is the result, or until
 * there is nothing to do or others are to have a turn: NULL. It may be
 * PHASE_GONE then, to be freed. */
const struct mh_event *channel_serve(struct channel *channel);
void channel_free(struct channel *channel);

#endif
