/*
 * delivery.c - keep, relay, or both, in the order that loses nothing.
 */
#include "delivery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
is_kept(const struct delivery *delivery)
{
	return delivery->n_copies > 0;
}

static int
put(struct delivery *delivery, struct slice text, struct error *error)
{
	return delivery->spool.fd < 0
	    ? maildir_deliver_write(&delivery->copies[0].deliver, text, error)
	    : spool_write(&delivery->spool, text, error);
}

/* The message as the client sent it, with our Received line: in the spool,
 * where it is read again. */
static struct maildir_text
text_of(const struct delivery *delivery)
{
	const struct spool *spool = &delivery->spool;

	return (struct maildir_text){
		.fd = spool->fd,
		.offset = delivery->text_offset,
		.end = spool->octets,
		.lines = spool->lines - delivery->text_line,
	};
}

/* ---- which maildirs, and for whom ---- */

static int
compare_maildirs(const struct delivery_target *a,
    const struct delivery_target *b)
{
	return strcmp(a->place->maildir, b->place->maildir);
}

/* By maildir, then in the order they were named. */
static int
compare(const void *a, const void *b)
{
	const struct delivery_target *left = a, *right = b;
	int order = compare_maildirs(left, right);

	return order != 0 ? order : left->place->who < right->place->who ? -1
	    : left->place->who > right->place->who;
}

/* By maildir, then by address. */
static int
compare_addresses(const void *a, const void *b)
{
	const struct delivery_target *left = a, *right = b;
	int order = compare_maildirs(left, right);

	if (order == 0)
		order = slice_compare(left->path, right->path);
	return order != 0 ? order : compare(a, b);
}

/* Drops targets that have both address and maildir in common with another:
 * recipients that were named twice, or lead to one maildir twice. */
static size_t
drop_repeated(struct delivery_target *targets, size_t n)
{
	size_t kept = 0;

	qsort(targets, n, sizeof(*targets), compare_addresses);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 ||
		    compare_maildirs(&targets[kept - 1], &targets[i]) != 0 ||
		    !slice_equal(targets[kept - 1].path, targets[i].path))
			targets[kept++] = targets[i];
	return kept;
}

/* Is it another maildir than the one before? */
static bool
is_another(const struct delivery_target *targets, size_t i)
{
	return i == 0 || strcmp(targets[i].place->maildir,
	    targets[i - 1].place->maildir) != 0;
}

/* Recipients with the same maildir share one file in it. Sorted, for there
 * may be many of them. */
static int
sort_places(struct delivery *delivery, struct error *error)
{
	struct delivery_target *targets;
	size_t n = 0, copies = 0;

	if (delivery->n_places == 0)
		return 0;
	targets = delivery->targets = calloc(delivery->n_places,
	    sizeof(*targets));
	if (targets == NULL)
		return error_system(error, ENOMEM, "delivery");
	for (; n < delivery->n_places; n++) {
		const struct place *place = &delivery->places[n];

		targets[n] = (struct delivery_target){ place,
			delivery->envelope->recipients[place->who].path };
	}
	n = drop_repeated(targets, n);
	qsort(targets, n, sizeof(*targets), compare);
	for (size_t i = 0; i < n; i++)
		copies += is_another(targets, i);
	delivery->copies = calloc(copies > 0 ? copies : 1,
	    sizeof(*delivery->copies));
	if (delivery->copies == NULL)
		return error_system(error, ENOMEM, "delivery");
	for (size_t i = 0; i < n; i++) {
		if (is_another(targets, i))
			delivery->copies[delivery->n_copies++].first = i;
		delivery->copies[delivery->n_copies - 1].n++;
	}
	return 0;
}

/* ---- the beginning of each file ---- */

/*
 * RFC 5321 4.4: Return-Path is for final delivery, and on top. Delivered-To
 * names those, and only those, whose maildir it is: so no two maildirs have
 * the same file, and there is nothing to link from one to another. In a
 * maildir for all X-Envelope-To names those who are in no header field: who
 * tests a program looks for its Bcc there.
 */
static int
write_head(struct delivery *delivery, struct delivery_copy *copy,
    struct error *error)
{
	struct maildir_deliver *deliver = &copy->deliver;
	char line[TRACE_MAX];
	size_t len = trace_return_path(delivery->envelope->reverse_path, line,
	    sizeof(line));

	if (maildir_deliver_write(deliver, (struct slice){ line, len },
	    error) < 0)
		return -1;
	for (size_t i = copy->first; i < copy->first + copy->n; i++) {
		const struct delivery_target *target = &delivery->targets[i];

		len = trace_recipient(target->place->own ? "Delivered-To"
		    : "X-Envelope-To", target->path, line, sizeof(line));
		if (maildir_deliver_write(deliver,
		    (struct slice){ line, len }, error) < 0)
			return -1;
	}
	return 0;
}

static int
begin_copy(struct delivery *delivery, struct delivery_copy *copy,
    struct error *error)
{
	const struct place *place = delivery->targets[copy->first].place;

	if (maildir_deliver_begin(&copy->deliver, place->maildir,
	    place->fixed, delivery->hostname, error) < 0)
		return -1;
	delivery->n_begun++;
	if (delivery->sweep)
		maildir_deliver_sweep(&copy->deliver);
	return write_head(delivery, copy, error);
}

/* For one maildir alone it is written straight to its file there. What is read
 * again is not: a session may not read in maildirs (smtp_confine.c). */
static bool
is_written_once(const struct delivery *delivery)
{
	return delivery->n_copies == 1 && delivery->relay == NULL &&
	    !delivery->shown;
}

/* The spool. Programs that are shown the message find its sender on top. */
static int
begin_in_spool(struct delivery *delivery, struct error *error)
{
	char line[TRACE_MAX];

	if (spool_open(&delivery->spool, delivery->shown, error) < 0)
		return -1;
	if (!delivery->shown)
		return 0;
	size_t len = trace_return_path(delivery->envelope->reverse_path, line,
	    sizeof(line));
	if (spool_write(&delivery->spool, (struct slice){ line, len },
	    error) < 0)
		return -1;
	delivery->text_offset = delivery->spool.octets;
	delivery->text_line = delivery->spool.lines;
	return 0;
}

static int
begin(struct delivery *delivery, const struct trace *trace,
    struct error *error)
{
	char received[TRACE_MAX];

	if (sort_places(delivery, error) < 0)
		return -1;
	if ((is_written_once(delivery)
	    ? begin_copy(delivery, &delivery->copies[0], error)
	    : begin_in_spool(delivery, error)) < 0)
		return -1;
	size_t len = trace_received(trace, received, sizeof(received));
	/* The client's HELO name may have octets above 0x7F. */
	delivery->header_8bit = !slice_is_ascii((struct slice){ received,
	    len });
	/* Each LF is a CRLF on the wire. */
	delivery->octets = len;
	for (size_t i = 0; i < len; i++)
		delivery->octets += received[i] == '\n';
	return put(delivery, (struct slice){ received, len }, error);
}

int
delivery_begin(struct delivery *delivery, const struct trace *trace,
    struct error *error)
{
	delivery->open = true;
	delivery->spool = (struct spool){ .fd = -1, .reader = -1 };
	delivery->copies = NULL;
	delivery->targets = NULL;
	delivery->n_copies = delivery->n_begun = 0;
	delivery->text_offset = delivery->text_line = 0;
	delivery->has_8bit = delivery->has_text = false;
	if (begin(delivery, trace, error) == 0)
		return 0;
	delivery_abort(delivery);
	return -1;
}

int
delivery_write(struct delivery *delivery, struct slice text,
    struct error *error)
{
	/* If the text began with a blank, its first line would continue our
	 * Received line. */
	if (!delivery->has_text && text.len > 0 &&
	    (text.data[0] == ' ' || text.data[0] == '\t')) {
		delivery->octets += 2;
		if (put(delivery, SLICE("\n"), error) < 0)
			return -1;
	}
	delivery->has_text = true;
	if (delivery->relay != NULL && !delivery->has_8bit)
		delivery->has_8bit = !slice_is_ascii(text);
	return put(delivery, text, error);
}

/* ---- the end ---- */

ssize_t
delivery_read(const struct delivery *delivery, uint64_t offset, char *data,
    size_t size, struct error *error)
{
	ssize_t n;

	do
		n = pread(delivery->spool.fd, data, size,
		    (off_t)(delivery->text_offset + offset));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		error_system(error, errno, "reading the spool");
	return n;
}

/* Writes what stands above the header, and the fields as they are now. */
static int
write_fields(const struct delivery *delivery, const struct header_edit *edit,
    struct spool *spool, struct error *error)
{
	char line[TRACE_MAX];
	size_t len = trace_return_path(delivery->envelope->reverse_path, line,
	    sizeof(line));

	if (spool_write(spool, (struct slice){ line, len }, error) < 0)
		return -1;
	for (size_t i = 0; i < edit->n; i++)
		if (spool_write(spool, edit->fields[i].text, error) < 0)
			return -1;
	return 0;
}

int
delivery_rewrite(struct delivery *delivery, const struct header_edit *edit,
    struct error *error)
{
	struct spool *old = &delivery->spool, fresh;
	uint64_t before = old->octets + old->lines;

	if (spool_open(&fresh, true, error) < 0)
		return -1;
	if (write_fields(delivery, edit, &fresh, error) < 0 ||
	    spool_copy(&fresh, old, delivery->text_offset + edit->length,
	    error) < 0) {
		spool_close(&fresh);
		return -1;
	}
	spool_close(old);
	*old = fresh;
	/* Each LF is a CRLF on the wire; modulo 2^64 it may become less. */
	delivery->octets += fresh.octets + fresh.lines - before;
	for (size_t i = 0; i < edit->n; i++)
		delivery->header_8bit |= !slice_is_ascii(edit->fields[i].text);
	delivery->has_8bit |= delivery->header_8bit;
	return 0;
}

int
delivery_store(struct delivery *delivery, uint64_t octets,
    struct error *error)
{
	const struct maildir_text text = text_of(delivery);

	delivery->octets += octets;
	/* Without a spool the first maildir's file has the text already. */
	if (delivery->n_begun > 0 && maildir_deliver_sync(
	    &delivery->copies[0].deliver, error) < 0)
		return -1;
	for (size_t i = delivery->n_begun; i < delivery->n_copies; i++) {
		struct delivery_copy *copy = &delivery->copies[i];

		if (begin_copy(delivery, copy, error) < 0 ||
		    maildir_deliver_copy(&copy->deliver, &text, error) < 0 ||
		    maildir_deliver_sync(&copy->deliver, error) < 0)
			return -1;
		maildir_deliver_park(&copy->deliver);
	}
	return 0;
}

int
delivery_show(struct delivery *delivery)
{
	lseek(delivery->spool.reader, 0, SEEK_SET);
	return delivery->spool.reader;
}

static int
relay_it(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	const struct maildir_text whole = text_of(delivery);
	const struct relay_text text = {
		.fd = whole.fd,
		.offset = (off_t)whole.offset,
		.octets = delivery->octets,
		.has_8bit = delivery->has_8bit,
		.header_8bit = delivery->header_8bit,
	};

	return relay_message(delivery->relay, delivery->relayed, &text,
	    verdict, error);
}

/* Visible everywhere, and lasting; or nowhere. */
static int
link_copies(struct delivery *delivery, struct error *error)
{
	struct error ignored;
	size_t i;

	for (i = 0; i < delivery->n_copies; i++)
		if (maildir_deliver_link(&delivery->copies[i].deliver,
		    error) < 0)
			goto undo;
	for (i = 0; i < delivery->n_copies; i++)
		if (maildir_deliver_settle(&delivery->copies[i].deliver,
		    error) < 0)
			goto undo;
	return 0;
undo:
	for (i = 0; i < delivery->n_copies; i++)
		maildir_deliver_undo(&delivery->copies[i].deliver);
	/* Syncs the removal: a crash would bring the message back, and the
	 * client sends it again. */
	for (i = 0; i < delivery->n_copies; i++)
		maildir_deliver_settle(&delivery->copies[i].deliver,
		    &ignored);
	return -1;
}

/* 0 where the message is kept, or the next hop refused it. */
static int
pass_through(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	error->kind = ERROR_NONE;
	if (delivery->relay != NULL &&
	    (relay_it(delivery, verdict, error) < 0 ||
	    verdict->code / 100 != 2))
		return error->kind == ERROR_NONE ? 0 : -1;
	return is_kept(delivery) ? link_copies(delivery, error) : 0;
}

static void
close_files(struct delivery *delivery)
{
	/* Only those that were begun: one more may have failed to. */
	for (size_t i = 0; i < delivery->n_begun; i++)
		maildir_deliver_close(&delivery->copies[i].deliver);
	delivery->n_begun = 0;
	spool_close(&delivery->spool);
}

int
delivery_finish(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	*verdict = (struct smtp_reply){ .code = 0 };
	int result = pass_through(delivery, verdict, error);
	/* Where we could not keep it, the client is to send it again, though
	 * the next hop has accepted it: it gets the message twice (RFC 1047),
	 * which is better than not at all. */
	if (result < 0 && verdict->code / 100 != 4) {
		const struct error_meaning *meaning =
		    error_meaning(error->kind);

		*verdict = (struct smtp_reply){ meaning->smtp_code,
			meaning->smtp_enhanced,
			slice_from(meaning->smtp_text) };
	} else if (verdict->code == 0) {
		*verdict = (struct smtp_reply){ 250, "2.0.0",
			SLICE("Ok, kept") };
	}
	close_files(delivery);
	return result;
}

int
delivery_check(struct error *error)
{
	struct spool spool;

	if (spool_open(&spool, false, error) < 0)
		return -1;
	spool_close(&spool);
	return 0;
}

void
delivery_abort(struct delivery *delivery)
{
	if (!delivery->open)
		return;
	delivery->open = false;
	close_files(delivery);
	free(delivery->copies);
	free(delivery->targets);
	delivery->copies = NULL;
	delivery->targets = NULL;
	delivery->n_copies = 0;
}
