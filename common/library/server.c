/*
 * server.c - level 2: who is served next, and waiting for anybody.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/server.h"
#include "system/clock.h"

/* After mh_server_stop: how long, in ms, peers may take to read their final
 * reply. */
#define STOP_MS 10000
/* Turns of a round: some, though only a few are in the queue, for asking the
 * kernel is a system call. */
#define ROUND_MIN 64

struct mh_server *
mh_server_new(void)
{
	struct mh_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->poller = malloc(sizeof(*server->poller));
	if (server->poller == NULL || poller_open(server->poller) < 0) {
		int saved = errno;

		free(server->poller);
		free(server);
		errno = saved;
		return NULL;
	}
	server->queue_end = &server->queue;
	server->now = clock_now();
	return server;
}

/* ---- where sessions come from ---- */

int
mh_server_listen(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls)
{
	struct origin *origin;
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (server == NULL || server->stop_at != 0 || fd < 0 ||
	    (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 &&
	    listens == 0)) {
		errno = EINVAL;
		return -1;
	}
	int flags = fcntl(fd, F_GETFL);
	/* A connection may be gone before it is taken. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    (origin = origin_new(server, fd, options, tls)) == NULL)
		return -1;
	if (poller_add(server->poller, fd, origin) == 0) {
		queue_add(server, &origin->source);
		return 0;
	}
	int saved = errno;
	origin->fd = -1;
	origin_release(origin);
	errno = saved;
	return -1;
}

int
mh_server_adopt(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls)
{
	struct origin *origin;

	if (server == NULL || server->stop_at != 0 || fd < 0) {
		errno = EINVAL;
		return -1;
	}
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    (origin = origin_new(server, -1, options, tls)) == NULL)
		return -1;
	if (channel_new(origin, fd) == 0)
		return 0;
	int saved = errno;
	origin_release(origin);
	errno = saved;
	return -1;
}

/* ---- the queue ---- */

/* Tries listening sockets again, which were left alone when descriptors ran
 * out. */
static void
accept_again(struct mh_server *server)
{
	server->accept_again = 0;
	for (struct origin *origin = server->origins; origin != NULL;
	    origin = origin->next)
		if (origin->fd >= 0)
			queue_add(server, &origin->source);
}

static void
free_channel(struct mh_server *server, struct channel *channel)
{
	channel_free(channel);
	if (server->accept_again != 0)
		accept_again(server);
}

static const struct mh_event *
serve(struct mh_server *server, struct source *source)
{
	if (source->is_origin) {
		struct origin *origin = (struct origin *)source;

		if (origin->fd >= 0)
			acceptor_serve(origin);
		else
			origin_release(origin);
		return NULL;
	}
	struct channel *channel = (struct channel *)source;
	const struct mh_event *event = channel_serve(channel);
	if (channel->phase == PHASE_GONE)
		free_channel(server, channel);
	return event;
}

/* ---- waiting ---- */

static void
take_expired(struct mh_server *server)
{
	struct timer *timer;

	server->now = clock_now();
	if (server->accept_again != 0 && server->accept_again <= server->now)
		accept_again(server);
	while ((timer = timers_take(&server->timers, server->now)) != NULL) {
		struct channel *channel = (struct channel *)(void *)
		    ((char *)timer - offsetof(struct channel, timer));

		channel->timed_out = true;
		queue_add(server, &channel->source);
	}
}

/* When there is work at the latest, without any descriptor being ready. */
static int64_t
next_time(const struct mh_server *server)
{
	int64_t at = timers_next(&server->timers);

	return server->accept_again != 0 && server->accept_again < at
	    ? server->accept_again : at;
}

/* Waits until then at most, and queues what is ready. */
static int
wait_for_peers(struct mh_server *server, int64_t until)
{
	struct poller_event events[POLLER_EVENTS_MAX];
	int64_t at = next_time(server);
	int ms = 0;

	at = at < until ? at : until;
	if (at == INT64_MAX)
		ms = -1;
	else if (at > server->now)
		ms = at - server->now > INT_MAX ? INT_MAX
		    : (int)(at - server->now);
	int n = poller_wait(server->poller, events, ms);
	for (int i = 0; i < n; i++) {
		struct source *source = events[i].source;

		source->readable |= events[i].readable;
		source->writable |= events[i].writable;
		source->hung_up |= events[i].hung_up;
		queue_add(server, source);
	}
	return n;
}

static const struct mh_event *
serve_round(struct mh_server *server)
{
	const struct mh_event *event = NULL;
	struct source *source;

	while (event == NULL && server->round > 0 &&
	    (source = queue_take(server)) != NULL) {
		server->round--;
		event = serve(server, source);
	}
	return event;
}

/* Serves until there is an event, or the time is over. After each round the
 * kernel and the clock are asked: peers that always have work must keep
 * neither the others waiting nor the program from its own loop. */
static const struct mh_event *
find_event(struct mh_server *server, int64_t until)
{
	bool looked = false;

	for (;;) {
		const struct mh_event *event = serve_round(server);

		if (event != NULL)
			return event;
		if (server->stop_at != 0 && server->channels == NULL) {
			errno = 0;
			return NULL;
		}
		take_expired(server);
		if (looked && server->now >= until) {
			errno = EAGAIN;
			return NULL;
		}
		if (wait_for_peers(server, server->queue != NULL
		    ? server->now : until) < 0)
			return NULL;
		looked = true;
		server->now = clock_now();
		server->round = server->queued > ROUND_MIN ? server->queued
		    : ROUND_MIN;
	}
}

const struct mh_event *
mh_server_wait(struct mh_server *server, int ms)
{
	const struct mh_event *event;

	if (server == NULL || server->waiting) {
		errno = EINVAL;
		return NULL;
	}
	server->waiting = true;
	server->now = clock_now();
	/* Ends the session whose MH_CLOSED was returned last before anything
	 * else, so that its buffers serve another one. */
	struct channel *told = server->told;
	server->told = NULL;
	if (told != NULL && !told->source.queued)
		serve(server, &told->source);
	event = find_event(server, ms < 0 ? INT64_MAX : server->now + ms);
	if (event != NULL && event->type == MH_CLOSED)
		server->told = event->session->owner;
	server->waiting = false;
	if (server->poller->watched) {
		int saved = errno;

		if (server->queue != NULL || server->told != NULL)
			poller_ring(server->poller);
		else
			poller_silence(server->poller);
		poller_set_alarm(server->poller, next_time(server),
		    server->now);
		errno = saved;
	}
	return event;
}

int
mh_server_fd(const struct mh_server *server)
{
	if (server == NULL)
		return -1;
	server->poller->watched = true;
	if (server->queue != NULL || server->told != NULL)
		poller_ring(server->poller);
	poller_set_alarm(server->poller, next_time(server), server->now);
	return server->poller->fd;
}

/* ---- the end ---- */

void
mh_server_stop(struct mh_server *server)
{
	if (server == NULL || server->stop_at != 0)
		return;
	server->now = clock_now();
	server->stop_at = server->now + STOP_MS;
	server->accept_again = 0;
	for (struct origin *origin = server->origins; origin != NULL;
	    origin = origin->next) {
		origin_close(origin);
		queue_add(server, &origin->source);
	}
	for (struct channel *channel = server->channels; channel != NULL;
	    channel = channel->next)
		if (channel != server->told)
			queue_add(server, &channel->source);
}

void
mh_server_free(struct mh_server *server)
{
	struct origin *origin, *next;

	if (server == NULL)
		return;
	while (queue_take(server) != NULL)
		;
	/* First: a process that was forked has the same epoll set, and would
	 * never hear again of what is taken out of it here. */
	poller_close(server->poller);
	while (server->channels != NULL)
		channel_free(server->channels);
	for (origin = server->origins; origin != NULL; origin = next) {
		next = origin->next;
		origin_close(origin);
		origin_release(origin);
	}
	timers_free(&server->timers);
	free(server->poller);
	free(server);
}
