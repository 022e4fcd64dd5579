/*
 * origin.c - listening sockets, and the buffers of their sessions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/server.h"

/* Connections that are taken before others have a turn. */
#define ACCEPT_MAX 64
/* Buffers kept for the next session. */
#define SPARES_MAX 64
/* After so many ms it is tried again to find a descriptor free. */
#define ACCEPT_PAUSE 1000

struct origin *
origin_new(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls)
{
	struct mh_options full;
	const struct session_kind *kind = session_options(options, &full);
	const unsigned wants_tls = MH_OFFER_TLS | MH_IMPLICIT_TLS;
	struct origin *origin;

	if (kind == NULL || ((full.flags & wants_tls) != 0 && tls == NULL)) {
		errno = EINVAL;
		return NULL;
	}
	origin = calloc(1, sizeof(*origin));
	if (origin == NULL)
		return NULL;
	origin->source.is_origin = true;
	origin->server = server;
	origin->fd = fd;
	origin->options = full;
	origin->tls = tls;
	origin->core_size = kind->core_size;
	origin->buffers_size = kind->buffers_size(&full);
	origin->next = server->origins;
	server->origins = origin;
	return origin;
}

void
origin_close(struct origin *origin)
{
	if (origin->fd >= 0)
		close(origin->fd);
	origin->fd = -1;
}

void
origin_release(struct origin *origin)
{
	struct origin **at = &origin->server->origins;

	if (origin->fd >= 0 || origin->channels > 0 || origin->source.queued)
		return;
	while (*at != origin)
		at = &(*at)->next;
	*at = origin->next;
	while (origin->spare != NULL) {
		void *next = *(void **)origin->spare;

		free(origin->spare);
		origin->spare = next;
	}
	free(origin);
}

static int
accept_one(int fd)
{
#ifdef SOCK_CLOEXEC
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
	int accepted = accept(fd, NULL, NULL);

	if (accepted >= 0) {
		fcntl(accepted, F_SETFD, FD_CLOEXEC);
		fcntl(accepted, F_SETFL, O_NONBLOCK);
	}
	return accepted;
#endif
}

void
origin_serve(struct origin *origin)
{
	struct mh_server *server = origin->server;

	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd = origin->fd < 0 ? -1 : accept_one(origin->fd);

		if (fd >= 0) {
			if (channel_new(origin, fd) < 0)
				close(fd);
			continue;
		}
		if (origin->fd >= 0 && (errno == EINTR ||
		    errno == ECONNABORTED))
			continue;
		if (origin->fd >= 0 && (errno == EMFILE || errno == ENFILE ||
		    errno == ENOBUFS || errno == ENOMEM))
			/* Until a session ends, or somebody else gives one
			 * back. It stays readable. */
			server->accept_again = server->now + ACCEPT_PAUSE;
		else
			origin->source.readable = false;
		return;
	}
	server_queue(server, &origin->source);
}

void *
origin_lend(struct origin *origin)
{
	void *buffers = origin->spare;

	if (buffers == NULL)
		return malloc(origin->buffers_size);
	origin->spare = *(void **)buffers;
	origin->spares--;
	return buffers;
}

void
origin_take_back(struct origin *origin, void *buffers)
{
	if (buffers == NULL)
		return;
	if (origin->spares == SPARES_MAX) {
		free(buffers);
		return;
	}
	*(void **)buffers = origin->spare;
	origin->spare = buffers;
	origin->spares++;
}
