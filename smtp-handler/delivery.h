/*
 * delivery: one message on its way to the places it must go.
 *
 * Accepting means keeping: delivery_finish reports success only after every
 * place has the message for good. In order: the file is on disk under tmp,
 * the next hop has answered 2xx, the message is linked into new, and the
 * directory is on disk.
 */
#ifndef DELIVERY_H
#define DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "error.h"
#include "maildir_deliver.h"
#include "relay.h"
#include "smtp_reply.h"
#include "trace.h"

struct delivery {
	const char *maildir;  /* NULL: not kept here */
	struct relay *relay;  /* NULL: not relayed */

	/* delivery.c's own. */
	bool open;
	struct maildir_deliver deliver;
	int spool_fd;       /* where there is no maildir, else -1 */
	off_t relay_offset; /* what comes before is not relayed */
	bool has_8bit;
};

/*
 * Opens the message's file or files and writes its trace lines. maildir and
 * relay are set by the caller, at least one of them.
 */
int delivery_begin(struct delivery *delivery, struct slice reverse_path,
    const struct trace *trace, struct error *error);

/* Text with LF line ends. */
int delivery_write(struct delivery *delivery, struct slice text,
    struct error *error);

/*
 * Keeps it. 0: it is kept, and verdict->code is 250, or the next hop's
 * reply of 4xx or 5xx, and then it is nowhere. -1 with *error and *verdict
 * for trouble of ours. Whatever the result, the delivery is over.
 */
int delivery_finish(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error);

/* Leaves nothing of it. Harmless when nothing was begun. */
void delivery_abort(struct delivery *delivery);

/* Its name in the maildir, for the log; "" where there is none. */
const char *delivery_file(const struct delivery *delivery);

#endif
