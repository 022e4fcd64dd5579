/*
 * smtp_drive: the SMTP machine behind drive.h's replays. Every event is
 * noted as a line, text as it is, and answered as the options say.
 */
#ifndef SMTP_DRIVE_H
#define SMTP_DRIVE_H

#include "drive.h"

#include "smtp/smtp.h"

struct smtp_drive {
	struct smtp_options options;
	/* What to answer at these events; code 0: yes. */
	struct smtp_reply rcpt_reply;
	struct smtp_reply begin_reply;
	struct smtp_reply data_reply;
	struct smtp_reply end_reply;
	const struct smtp_reply *end_replies; /* LMTP: of each recipient */

	struct smtp smtp;
	struct envelope_recipient recipients[8];
	char text[8192];
	bool notes_refusals; /* SMTP_REFUSED too */
	bool notes_ends; /* SMTP_RESET for want of a session, too */

	size_t senders; /* accepted ones, */
	size_t ends;    /* each of which gets one end */
	bool in_text; /* the last event was text: pieces are one */
	size_t text_start; /* of a message, in the events */
};

static inline struct wire *
smtp_drive_start(void *arg, char *in, size_t in_size, char *out,
    size_t out_size)
{
	struct smtp_drive *d = arg;

	d->in_text = false;
	d->senders = d->ends = 0;
	smtp_init(&d->smtp, &d->options, in, in_size, out, out_size);
	envelope_init(&d->smtp.envelope, d->recipients,
	    COUNT(d->recipients), d->text, sizeof(d->text));
	return &d->smtp.wire;
}

static inline void
smtp_drive_note(struct smtp_drive *d, struct drive *drive, bool text,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

static inline void
smtp_drive_note(struct smtp_drive *d, struct drive *drive, bool text,
    const char *format, ...)
{
	char line[4096];
	va_list args;

	if (d->in_text && !text)
		text_add(&drive->events, SLICE("|\n"));
	d->in_text = text;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	text_add(&drive->events, slice_from(line));
}

static inline void
smtp_drive_answer(struct smtp *smtp, const struct smtp_reply *reply)
{
	if (reply->code == 0)
		smtp_accept(smtp);
	else
		smtp_reply(smtp, reply);
}

/* What was said with a path is noted after it, where something was. */
static inline void
smtp_drive_note_mail(struct smtp_drive *d, struct drive *drive)
{
	static const char *const rets[] = { "", " ret full", " ret hdrs" };
	const struct envelope *envelope = &d->smtp.envelope;
	bool envid = envelope->envid.len > 0;

	smtp_drive_note(d, drive, false, "mail %.*s%s%s%s%s%.*s\n",
	    SLICE_ARG(envelope->reverse_path),
	    envelope->utf8 ? " utf8" : "",
	    envelope->require_tls ? " requiretls" : "", rets[envelope->ret],
	    envid ? " envid " : "", SLICE_ARG(envelope->envid));
}

static inline void
smtp_drive_note_rcpt(struct smtp_drive *d, struct drive *drive)
{
	const struct envelope *envelope = &d->smtp.envelope;
	const struct envelope_recipient *last =
	    &envelope->recipients[envelope->n - 1];
	unsigned notify = last->dsn.notify;
	bool orcpt = last->dsn.orcpt.len > 0;

	smtp_drive_note(d, drive, false, "rcpt %.*s%s%s%s%s%s%.*s\n",
	    SLICE_ARG(last->path),
	    notify & ENVELOPE_NOTIFY_NEVER ? " never" : "",
	    notify & ENVELOPE_NOTIFY_SUCCESS ? " success" : "",
	    notify & ENVELOPE_NOTIFY_FAILURE ? " failure" : "",
	    notify & ENVELOPE_NOTIFY_DELAY ? " delay" : "",
	    orcpt ? " orcpt " : "", SLICE_ARG(last->dsn.orcpt));
}

static inline bool
smtp_drive_run(void *arg, struct drive *drive)
{
	struct smtp_drive *d = arg;
	struct smtp *smtp = &d->smtp;
	enum smtp_event event;

	while ((event = smtp_next(smtp)) != SMTP_WANT_IO) {
		/* It must be repeated until it is answered. */
		assert_int_equal(smtp_next(smtp), event);
		switch (event) {
		case SMTP_CLOSED:
			assert_int_equal(d->ends, d->senders);
			smtp_drive_note(d, drive, false, "%s", "");
			return true;
		case SMTP_MAIL:
			smtp_drive_note_mail(d, drive);
			d->senders++;
			smtp_accept(smtp);
			break;
		case SMTP_RCPT:
			smtp_drive_note_rcpt(d, drive);
			smtp_drive_answer(smtp, &d->rcpt_reply);
			break;
		case SMTP_REFUSED:
			if (d->notes_refusals)
				smtp_drive_note(d, drive, false,
				    "refused %u %.*s\n",
				    smtp->refused_with->code,
				    SLICE_ARG(smtp->refused_line));
			smtp_accept(smtp);
			break;
		case SMTP_DATA_BEGIN:
			smtp_drive_note(d, drive, false, "begin\n");
			d->text_start = drive->events.len;
			smtp_drive_answer(smtp, &d->begin_reply);
			break;
		case SMTP_DATA:
			smtp_drive_note(d, drive, true, "%.*s",
			    SLICE_ARG(smtp->text));
			smtp_drive_answer(smtp, &d->data_reply);
			break;
		case SMTP_DATA_END:
			/* In LMTP the first question is the end. */
			d->ends += smtp->recipient == 0;
			if (smtp->recipient == 0)
				smtp_drive_note(d, drive, false, "end %ju\n",
				    (uintmax_t)smtp->size);
			smtp_drive_answer(smtp, d->end_replies != NULL
			    ? &d->end_replies[smtp->recipient]
			    : &d->end_reply);
			break;
		case SMTP_RESET:
			d->ends++;
			/* At the session's end it is only counted. */
			if (smtp->ended && !d->notes_ends) {
				smtp_accept(smtp);
				break;
			}
			/* How much is seen of a text before what is wrong
			 * in it depends on how it comes. */
			if (d->in_text)
				drive->events.len = d->text_start;
			d->in_text = false;
			smtp_drive_note(d, drive, false, "reset\n");
			smtp_accept(smtp);
			break;
		case SMTP_AUTH:
		case SMTP_STARTTLS:
		case SMTP_WANT_IO:
			fail_msg("event %d", event);
		}
	}
	return false;
}

/* Replays a dialogue that begins after the EHLO; octets with NULs would
 * need more than string literals. */
static inline void
smtp_drive_replay(struct smtp_drive *d, const char *name, const char *input,
    const char *output, const char *events, bool closes)
{
	const struct drive_core core = {
		.in_min = SMTP_IN_MIN, .out_min = SMTP_OUT_MIN, .arg = d,
		.start = smtp_drive_start, .run = smtp_drive_run,
	};
	struct text in = { .data = NULL }, out = { .data = NULL };

	if (d->options.hostname == NULL)
		d->options.hostname = "h";
	if (d->options.max_size == 0)
		d->options.max_size = 1000;
	if (d->options.lmtp)
		text_format(&in, "LHLO x\r\n%s", input);
	else
		text_format(&in, "HELO x\r\n%s", input);
	if (d->options.lmtp)
		text_format(&out, "220 h LMTP ready\r\n250-h\r\n"
		    "250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n"
		    "250-CHUNKING\r\n250-SMTPUTF8\r\n250-HELP\r\n"
		    "250 ENHANCEDSTATUSCODES\r\n%s", output);
	else
		text_format(&out, "220 h ESMTP ready\r\n250 h\r\n%s", output);
	const struct drive_dialogue dialogue = {
		.name = name, .input = text_slice(&in),
		.output = text_slice(&out), .events = slice_from(events),
		.end = DRIVE_EOF, .closes = closes,
	};
	drive_replay(&core, &dialogue);
	text_free(&in);
	text_free(&out);
}

#endif
