/*
 * delivery: one message on its way to the places it must go.
 *
 * Accepting means keeping: delivery_finish reports success only after every
 * place has the message for good. In order: the files are on disk under
 * tmp, the caller has shown it to whom it wants, the next hop has answered
 * 2xx, the message is linked into new everywhere, and the directories are on
 * disk. All places have it, or none.
 */
#ifndef DELIVERY_H
#define DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/envelope.h"
#include "base/error.h"
#include "header_edit.h"
#include "maildir/maildir_deliver.h"
#include "places.h"
#include "relay/relay.h"
#include "protocol/smtp_reply.h"
#include "protocol/trace.h"
#include "spool.h"

/* A recipient who has a maildir. */
struct delivery_target {
	const struct place *place;
	struct slice path; /* of the recipient */
};

/* One of the maildirs. */
struct delivery_copy {
	struct maildir_deliver deliver;
	size_t first; /* its recipients in delivery->targets */
	size_t n;
};

struct delivery {
	/* Set by the caller, and must outlive it. */
	struct relay *relay;  /* NULL: not relayed */
	const struct envelope *envelope;
	const struct envelope *relayed; /* what the next hop was told */
	const struct place *places; /* of the recipients */
	size_t n_places;
	const char *hostname;
	bool header_8bit; /* before delivery_finish: its header has octets
	                   * above 0x7F */
	bool shown; /* to programs, by delivery_show */
	bool sweep; /* remove old files of crashed deliveries under tmp */

	/* Distinct maildirs. Where there is one alone the text is written to
	 * it, else copied to each when it is whole. */
	struct delivery_copy *copies;
	size_t n_copies;

	/* delivery.c's own. */
	bool open;
	size_t n_begun;
	struct delivery_target *targets; /* by maildir */
	struct spool spool; /* where the message is read again: for several
	                     * maildirs, a next hop, programs */
	uint64_t text_offset;  /* in the spool: the Received line */
	uint64_t text_line;    /* lines before it */
	uint64_t octets;       /* on the wire: of Received and the text */
	bool has_text;
	bool has_8bit;
};

/*
 * Opens the message's first file and writes its trace lines. There is a
 * relay, or a recipient with a maildir.
 */
int delivery_begin(struct delivery *delivery, const struct trace *trace,
    struct error *error);

/* Text with LF line ends. */
int delivery_write(struct delivery *delivery, struct slice text,
    struct error *error);

/*
 * Where it is to be shown, before delivery_store: octets of the message, from
 * our Received line on, which is offset 0; at most size of them. 0 at its end,
 * -1 with *error.
 */
ssize_t delivery_read(const struct delivery *delivery, uint64_t offset,
    char *data, size_t size, struct error *error);

/* Another header in place of the first edit->length octets of that. */
int delivery_rewrite(struct delivery *delivery,
    const struct header_edit *edit, struct error *error);

/*
 * The message is whole: it goes to the disk, under tmp of every maildir.
 * octets is what the text makes with CRLF line ends. -1 with *error: nothing
 * but delivery_abort is to follow.
 */
int delivery_store(struct delivery *delivery, uint64_t octets,
    struct error *error);

/* After delivery_store, where it is to be shown: an open file, at its
 * beginning, which can only be read. It is the delivery's. */
int delivery_show(struct delivery *delivery);

/*
 * Keeps what was stored. 0: verdict->code is 250, and it is kept; or it is the
 * next hop's 4xx or 5xx, and the message is nowhere. -1 with *error and
 * *verdict for trouble of ours; where the next hop had taken it before,
 * relay->taken says so. Whatever the result, the delivery is over; its copies
 * can be looked at until delivery_abort.
 */
int delivery_finish(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error);

/* Can a message be kept while it is sent on, where no maildir keeps it? For
 * --check-config. */
int delivery_check(struct error *error);

/* Leaves nothing of it. Harmless when nothing was begun. */
void delivery_abort(struct delivery *delivery);

#endif
