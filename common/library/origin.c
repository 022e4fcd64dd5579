/*
 * origin.c - where sessions come from, and what they share.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "library/server.h"

/* Buffers kept for the next session. */
#define SPARES_MAX 64

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
	if (origin->fd < 0)
		return;
	poller_remove(origin->server->poller, origin->fd);
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
