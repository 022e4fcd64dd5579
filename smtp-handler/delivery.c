/*
 * delivery.c - keep, relay, or both, in the order that loses nothing.
 * Layer 3.
 */
#include "delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An unnamed file: whatever becomes of this process, it leaves nothing. */
static int
open_spool(struct error *error)
{
	const char *directory = getenv("TMPDIR");
	char path[4096];
	int fd;

	if (directory == NULL || directory[0] != '/')
		directory = "/var/tmp";
#ifdef O_TMPFILE
	fd = open(directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
#endif
	/* Not every file system has unnamed files. */
	if (snprintf(path, sizeof(path), "%s/smtp-handler.XXXXXXXX",
	    directory) >= (int)sizeof(path))
		return error_system(error, ENAMETOOLONG, "spool in %.100s",
		    directory);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return error_system(error, errno, "spool in %.100s",
		    directory);
	unlink(path);
	return fd;
}

static int
write_all(int fd, struct slice text, struct error *error)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.data, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_system(error, errno, "writing the spool");
		text = slice_skip(text, (size_t)n);
	}
	return 0;
}

static int
put(struct delivery *delivery, struct slice text, struct error *error)
{
	return delivery->maildir != NULL
	    ? maildir_deliver_write(&delivery->deliver, text, error)
	    : write_all(delivery->spool_fd, text, error);
}

static int
write_trace(struct delivery *delivery, struct slice reverse_path,
    const struct trace *trace, struct error *error)
{
	char lines[2 * TRACE_MAX];
	size_t len = 0;

	/* RFC 5321 4.4: Return-Path is for final delivery, and on top. */
	if (delivery->maildir != NULL)
		len = trace_return_path(reverse_path, lines, TRACE_MAX);
	delivery->relay_offset = (off_t)len;
	len += trace_received(trace, lines + len, TRACE_MAX);
	return put(delivery, (struct slice){ lines, len }, error);
}

int
delivery_begin(struct delivery *delivery, struct slice reverse_path,
    const struct trace *trace, struct error *error)
{
	delivery->spool_fd = -1;
	delivery->has_8bit = false;
	if (delivery->maildir != NULL) {
		if (maildir_deliver_begin(&delivery->deliver,
		    delivery->maildir, trace->hostname, error) < 0)
			return -1;
	} else {
		delivery->spool_fd = open_spool(error);
		if (delivery->spool_fd < 0)
			return -1;
	}
	delivery->open = true;
	if (write_trace(delivery, reverse_path, trace, error) == 0)
		return 0;
	delivery_abort(delivery);
	return -1;
}

int
delivery_write(struct delivery *delivery, struct slice text,
    struct error *error)
{
	if (delivery->relay != NULL && !delivery->has_8bit)
		delivery->has_8bit = !slice_is_ascii(text);
	return put(delivery, text, error);
}

static int
relay_it(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	int fd = delivery->maildir != NULL ? delivery->deliver.fd
	                                   : delivery->spool_fd;

	return relay_message(delivery->relay, fd, delivery->relay_offset,
	    delivery->has_8bit, verdict, error);
}

/* Visible, and lasting. */
static int
link_it(struct delivery *delivery, struct error *error)
{
	struct maildir_deliver *deliver = &delivery->deliver;

	if (maildir_deliver_link(deliver, error) < 0)
		return -1;
	if (maildir_deliver_settle(deliver, error) == 0)
		return 0;
	maildir_deliver_undo(deliver);
	return -1;
}

/* True where the message is to be kept: nothing refused it. */
static int
pass_through(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	bool keep = delivery->maildir != NULL;

	error->kind = ERROR_NONE;
	if (keep && maildir_deliver_sync(&delivery->deliver, error) < 0)
		return -1;
	if (delivery->relay != NULL &&
	    (relay_it(delivery, verdict, error) < 0 ||
	    verdict->code / 100 != 2))
		return error->kind == ERROR_NONE ? 0 : -1;
	return keep ? link_it(delivery, error) : 0;
}

int
delivery_finish(struct delivery *delivery, struct smtp_reply *verdict,
    struct error *error)
{
	*verdict = (struct smtp_reply){ .code = 0 };
	int result = pass_through(delivery, verdict, error);
	/* A 2xx of the next hop does not help where we could not keep it;
	 * it will come twice there (RFC 1047), which beats not at all. */
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
	delivery_abort(delivery);
	return result;
}

void
delivery_abort(struct delivery *delivery)
{
	if (!delivery->open)
		return;
	delivery->open = false;
	if (delivery->maildir != NULL)
		maildir_deliver_close(&delivery->deliver);
	if (delivery->spool_fd >= 0)
		close(delivery->spool_fd);
	delivery->spool_fd = -1;
}

const char *
delivery_file(const struct delivery *delivery)
{
	return delivery->maildir != NULL ? delivery->deliver.name : "";
}
