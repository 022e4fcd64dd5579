/*
 * queue.c - who has work, in turn.
 */
#include "library/server.h"

void
queue_add(struct mh_server *server, struct source *source)
{
	if (!source->queued) {
		source->queued = true;
		server->queued++;
		source->next = NULL;
		*server->queue_end = source;
		server->queue_end = &source->next;
	}
	/* Makes mh_server_fd readable, for the program's own loop. */
	if (!server->waiting && server->poller->watched)
		poller_ring(server->poller);
}

struct source *
queue_take(struct mh_server *server)
{
	struct source *source = server->queue;

	if (source == NULL)
		return NULL;
	server->queue = source->next;
	if (server->queue == NULL)
		server->queue_end = &server->queue;
	source->queued = false;
	server->queued--;
	return source;
}
