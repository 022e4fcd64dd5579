/*
 * smtp_log.c - the events of a session, as log lines.
 */
#include "smtp_program.h"

#include <stdio.h>
#include <string.h>

#include "system/clock.h"

/* An entry of the journal has a field for each of so many recipients. */
#define JOURNAL_RECIPIENTS 64

static void
add_reply(const struct smtp_reply *reply)
{
	char text[256];

	if (reply->code == 0)
		return;
	snprintf(text, sizeof(text), "%u %s %.*s", reply->code,
	    reply->enhanced != NULL ? reply->enhanced : "",
	    SLICE_ARG(reply->text));
	log_add(LOG_FIELD_REPLY, slice_from(text));
}

/* As many of them as a log line holds. */
static void
add_recipients(const struct envelope *envelope)
{
	char text[512];
	size_t len = 0;

	for (size_t i = 0; i < envelope->n && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "%s%.*s", i > 0 ? "," : "",
		    SLICE_ARG(envelope->recipients[i].path));
	if (len >= sizeof(text)) {
		len = sizeof(text) - 1;
		memcpy(text + len - 3, "...", 3);
	}
	log_add(LOG_FIELD_RECIPIENTS, (struct slice){ text, len });
}

/* Each by itself, so that the journal finds one of many; in paths, which is to
 * live until the line is sent. */
static void
add_each_recipient(const struct envelope *envelope,
    struct slice paths[JOURNAL_RECIPIENTS])
{
	size_t n = 0;

	for (; n < envelope->n && n < JOURNAL_RECIPIENTS; n++)
		paths[n] = envelope->recipients[n].path;
	log_add_each(LOG_FIELD_RECIPIENT, paths, n);
}

/* Whatever it is: the log shows octets that are no text escaped. */
static void
add_helo(const struct smtp *smtp)
{
	log_add(LOG_FIELD_HELO, (struct slice){ smtp->helo, smtp->helo_len });
}

void
smtp_log_message(struct smtp_program *p, enum log_kind kind,
    const struct smtp_reply *reply, const char *reason)
{
	struct slice paths[JOURNAL_RECIPIENTS];

	log_begin(kind);
	log_add(LOG_FIELD_ID, slice_from(p->id));
	log_add(LOG_FIELD_SENDER, p->smtp.envelope.reverse_path);
	add_recipients(&p->smtp.envelope);
	add_each_recipient(&p->smtp.envelope, paths);
	if (p->user_len > 0)
		log_add(LOG_FIELD_USER,
		    (struct slice){ p->user, p->user_len });
	add_helo(&p->smtp);
	log_add_number(LOG_FIELD_SIZE, p->smtp.size);
	if (p->account != NULL)
		log_add(LOG_FIELD_NEXT_HOP, slice_from(p->account->hop.host));
	add_reply(reply);
	/* Where nothing else is known, what the client was told is why. */
	if (reason[0] != '\0')
		log_add(LOG_FIELD_REASON, slice_from(reason));
	else if (kind == LOG_KIND_REFUSED)
		log_add(LOG_FIELD_REASON, reply->text);
	log_add_duration(clock_now() - p->began);
	log_send();
}

void
smtp_log_refused_recipient(struct smtp_program *p,
    const struct smtp_reply *reply, const char *reason)
{
	const struct envelope *envelope = &p->smtp.envelope;

	log_begin(LOG_KIND_REFUSED);
	log_add(LOG_FIELD_SENDER, envelope->reverse_path);
	log_add(LOG_FIELD_RECIPIENT,
	    envelope->recipients[envelope->n - 1].path);
	add_helo(&p->smtp);
	if (p->account != NULL)
		log_add(LOG_FIELD_NEXT_HOP, slice_from(p->account->hop.host));
	add_reply(reply);
	log_add(LOG_FIELD_REASON, reason[0] != '\0' ? slice_from(reason)
	                                           : reply->text);
	log_send();
}

void
smtp_log_refused_sender(const struct smtp_program *p,
    const struct smtp_reply *reply)
{
	log_begin(LOG_KIND_REFUSED);
	log_add(LOG_FIELD_SENDER, p->smtp.envelope.reverse_path);
	log_add(LOG_FIELD_USER, (struct slice){ p->user, p->user_len });
	add_reply(reply);
	log_add(LOG_FIELD_REASON, reply->text);
	log_send();
}

void
smtp_log_refused_line(const struct smtp *smtp)
{
	log_begin(LOG_KIND_REFUSED);
	log_add(LOG_FIELD_LINE, smtp->refused_line);
	add_reply(smtp->refused_with);
	log_add(LOG_FIELD_REASON, smtp->refused_with->text);
	log_send();
}

void
smtp_log_delivered(const struct smtp_program *p,
    const struct maildir_deliver *deliver)
{
	char file[sizeof(deliver->name) + 8];

	snprintf(file, sizeof(file), "new/%s", deliver->name);
	log_begin(LOG_KIND_DELIVERED);
	log_add(LOG_FIELD_ID, slice_from(p->id));
	log_add(LOG_FIELD_MAILDIR, slice_from(deliver->path));
	log_add(LOG_FIELD_FILE, slice_from(file));
	log_send();
}

void
smtp_log_reset(struct smtp_program *p)
{
	static const struct smtp_reply none = { 0, NULL, SLICE("") };
	/* RFC 5321 4.1.1.5: what was not ended was not accepted. */
	bool broken_off = p->smtp.ended && p->delivery.open;

	if (p->smtp.refused)
		smtp_log_message(p, LOG_KIND_REFUSED, &p->smtp.refusal, "");
	else if (broken_off)
		smtp_log_message(p, LOG_KIND_REFUSED, &none, "broken off");
	p->refused += p->smtp.refused || broken_off;
}

void
smtp_log_end(const struct smtp_program *p, const struct error *broken)
{
	log_begin(LOG_KIND_END);
	log_add(LOG_FIELD_REASON, program_end_reason(&p->program,
	    &p->smtp.wire, broken, p->smtp.quit, p->smtp.closed_with != NULL
	    ? p->smtp.closed_with->text : SLICE("")));
	log_add_number(LOG_FIELD_ACCEPTED, p->accepted);
	log_add_number(LOG_FIELD_REFUSED, p->refused);
	log_add_duration(program_age(&p->program));
	log_send();
}
