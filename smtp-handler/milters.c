/*
 * milters.c - each step of a session, told to each filter that wants it.
 * Layer 6.
 */
#include "milters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "header_edit.h"
#include "system/log.h"

/* Octets read at a time: with CRs added they fit into a packet. */
#define READ_SIZE (MILTER_BODY_MAX / 2)

static const struct smtp_reply later = { 451, "4.7.1",
	SLICE("Try again later") };
static const struct smtp_reply refused = { 550, "5.7.1", SLICE("Refused") };

void
milters_init(struct milters *milters, const struct option_list *list,
    bool accept)
{
	*milters = (struct milters){ .n = list->count, .accept = accept };
	for (size_t i = 0; i < list->count; i++)
		milters->links[i].address = list->items[i];
}

/* ---- what comes of an answer ---- */

static void
go_on(struct hook_reply *made)
{
	hook_reply_make(made, 0, slice_from(""), "");
}

static void
refuse(struct hook_reply *made, const struct smtp_reply *reply)
{
	made->decision = HOOK_REFUSE;
	made->reply = *reply;
}

/* The filter is of no use now: what --milter-default says. */
static void
give_up(struct milters *milters, struct milter_link *link,
    const struct error *why, struct hook_reply *made)
{
	log_begin(LOG_KIND_MILTER_FAILED);
	log_add(LOG_FIELD_COMMAND, slice_from(link->address));
	log_add(LOG_FIELD_REASON, slice_from(why->text));
	log_send();
	milter_link_close(link);
	if (milters->accept)
		link->accepted = true;
	else
		refuse(made, &later);
}

/* An answer that is neither to go on, nor a change that was made. */
static void
take_answer(struct milters *milters, struct milter_link *link,
    enum milter_step step, enum milter_answer answer, struct hook_reply *made)
{
	struct error why;

	switch (answer) {
	case MILTER_ACCEPT:
		link->accepted = true;
		link->indifferent = step <= MILTER_HELO;
		break;
	case MILTER_REJECT:
		refuse(made, &refused);
		break;
	case MILTER_TEMPFAIL:
		refuse(made, &later);
		break;
	case MILTER_REPLY:
		refuse(made, &link->milter.reply);
		break;
	case MILTER_DISCARD:
		/* It answers nothing more about that message. */
		link->accepted = true;
		made->decision = HOOK_DROP;
		made->reply = (struct smtp_reply){ 250, step == MILTER_RCPT
		    ? "2.1.5" : "2.0.0", slice_from("") };
		break;
	case MILTER_UNOFFERED:
		error_set(&why, ERROR_SYSTEM, "it wants %s, which was not "
		    "offered", link->milter.what);
		give_up(milters, link, &why, made);
		/* Not what it wanted, and so not as if it had been done. */
		refuse(made, &later);
		break;
	default:
		break;
	}
}

/* The step was put: its answer, if there is one. */
static void
ask(struct milters *milters, struct milter_link *link, enum milter_step step,
    struct hook_reply *made)
{
	enum milter_answer answer;
	struct error why;

	if (!milter_answers(&link->milter, step))
		return;
	if (milter_link_ask(link, step, &answer, &why) < 0)
		give_up(milters, link, &why, made);
	else
		take_answer(milters, link, step, answer, made);
}

/* Is there more to be said to it about this message? */
static bool
goes_on(const struct milter_link *link, const struct hook_reply *made)
{
	return made->decision == HOOK_GO_ON && link->is_open &&
	    !link->accepted && !link->indifferent;
}

/* ---- macros ---- */

/* sendmail(8)'s names for what is known; "_" is the peer. */
static void
put_macros(struct milter_link *link, const struct milters_facts *facts,
    enum milter_step step)
{
	const struct trace *trace = facts->trace;
	const struct envelope *envelope = facts->envelope;
	struct slice address = slice_from(trace->address);
	char peer[128];

	snprintf(peer, sizeof(peer), address.len > 0 ? "[%s%s]" : "localhost",
	    trace->address_is_ipv6 ? "IPv6:" : "", trace->address);
	const struct milter_macro connect[] = {
		{ "j", slice_from(trace->hostname) },
		{ "_", slice_from(peer) }, { "{client_addr}", address },
	};
	const struct milter_macro helo[] = {
		{ "{tls_version}", slice_from(trace->tls_version) },
		{ "{cipher}", slice_from(trace->tls_cipher) },
	};
	const struct milter_macro mail[] = {
		{ "i", slice_from(trace->id) },
		{ "{auth_type}", slice_from(facts->mechanism) },
		{ "{auth_authen}", facts->user },
		{ "{mail_addr}", envelope->reverse_path },
	};
	const struct milter_macro recipient[] = {
		{ "{rcpt_addr}", envelope->n > 0
		    ? envelope->recipients[envelope->n - 1].path
		    : slice_from("") },
	};

	if (step == MILTER_CONNECT)
		milter_put_macros(&link->milter, step, connect, 3);
	else if (step == MILTER_HELO)
		milter_put_macros(&link->milter, step, helo, 2);
	else if (step == MILTER_RCPT)
		milter_put_macros(&link->milter, step, recipient, 1);
	else
		milter_put_macros(&link->milter, step, mail,
		    step == MILTER_MAIL ? 4 : 1);
}

/* ---- MAIL and RCPT ---- */

/* Who the client is. */
static void
greet(struct milters *milters, struct milter_link *link,
    const struct milters_facts *facts, struct hook_reply *made)
{
	const struct trace *trace = facts->trace;
	struct slice address = slice_from(trace->address);
	char name[80];

	snprintf(name, sizeof(name), address.len > 0 ? "[%s]" : "localhost",
	    trace->address);
	link->greeted = true;
	if (milter_wants(&link->milter, MILTER_CONNECT)) {
		put_macros(link, facts, MILTER_CONNECT);
		milter_put_connect(&link->milter, slice_from(name), address,
		    trace->address_is_ipv6, facts->port);
		ask(milters, link, MILTER_CONNECT, made);
	}
	if (!goes_on(link, made) || !milter_wants(&link->milter, MILTER_HELO))
		return;
	put_macros(link, facts, MILTER_HELO);
	milter_put_helo(&link->milter, trace->helo);
	ask(milters, link, MILTER_HELO, made);
}

static void
mail_one(struct milters *milters, struct milter_link *link,
    const struct milters_facts *facts, struct hook_reply *made)
{
	struct error why;

	link->accepted = link->indifferent;
	if (link->accepted)
		return;
	if (!link->is_open && milter_link_open(link, &why) < 0) {
		give_up(milters, link, &why, made);
		return;
	}
	if (!link->greeted)
		greet(milters, link, facts, made);
	if (!goes_on(link, made)) {
		/* Of a client that it refused it is to say so each time. */
		if (made->decision != HOOK_GO_ON)
			milter_link_close(link);
		return;
	}
	link->in_message = true;
	put_macros(link, facts, MILTER_MAIL);
	if (!milter_wants(&link->milter, MILTER_MAIL))
		return;
	milter_put_path(&link->milter, MILTER_MAIL,
	    facts->envelope->reverse_path);
	ask(milters, link, MILTER_MAIL, made);
}

void
milters_mail(struct milters *milters, const struct milters_facts *facts,
    struct hook_reply *made, const char **by)
{
	*by = NULL;
	go_on(made);
	milters_abort(milters);
	for (size_t i = 0; i < milters->n; i++) {
		mail_one(milters, &milters->links[i], facts, made);
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = milters->links[i].address;
		return;
	}
}

void
milters_recipient(struct milters *milters, const struct milters_facts *facts,
    struct hook_reply *made, const char **by)
{
	const struct envelope *envelope = facts->envelope;

	*by = NULL;
	go_on(made);
	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		if (!goes_on(link, made) ||
		    !milter_wants(&link->milter, MILTER_RCPT))
			continue;
		put_macros(link, facts, MILTER_RCPT);
		milter_put_path(&link->milter, MILTER_RCPT,
		    envelope->recipients[envelope->n - 1].path);
		ask(milters, link, MILTER_RCPT, made);
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = link->address;
		return;
	}
}

/* ---- the message ---- */

struct message {
	struct delivery *delivery;
	char *text; /* of the header, and perhaps more */
	struct header_edit edit;
	char raw[READ_SIZE];
	char wire[MILTER_BODY_MAX];
};

/* A packet with a limit of its own may find no room: then that which is there
 * goes first. */
#define PUT(link, put, why) \
	((put) || (milter_link_flush(link, why) == 0 && (put)))

static bool
send_header(struct milter_link *link, const struct header_edit *edit,
    struct milters *milters, struct hook_reply *made)
{
	bool blank = link->milter.leading_blank;
	struct error why;

	for (size_t i = 0; i < edit->n && goes_on(link, made); i++) {
		const struct header_field *field = &edit->fields[i];

		if (i == edit->ours)
			continue;
		if (!PUT(link, milter_put_header(&link->milter, field->name,
		    header_edit_value(field, blank)), &why)) {
			give_up(milters, link, &why, made);
			return false;
		}
		ask(milters, link, MILTER_HEADER, made);
	}
	return goes_on(link, made);
}

/* The next octets of the body with CRLF line ends; their length, 0 at the end.
 * -1 with *error. */
static ssize_t
read_body(struct message *message, uint64_t *at, struct error *error)
{
	ssize_t n = delivery_read(message->delivery, *at, message->raw,
	    sizeof(message->raw), error);
	size_t len = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (message->raw[i] == '\n')
			message->wire[len++] = '\r';
		message->wire[len++] = message->raw[i];
	}
	if (n > 0)
		*at += (uint64_t)n;
	return n < 0 ? -1 : (ssize_t)len;
}

static bool
send_body(struct milter_link *link, struct message *message,
    struct milters *milters, struct hook_reply *made)
{
	uint64_t at = message->edit.length;
	enum milter_answer answer = MILTER_CONTINUE;
	struct error why;
	ssize_t n;

	/* The empty line belongs to neither. */
	if (delivery_read(message->delivery, at, message->raw, 1, &why) == 1)
		at += message->raw[0] == '\n';
	while ((n = read_body(message, &at, &why)) > 0) {
		const struct slice body = { message->wire, (size_t)n };

		if (!PUT(link, milter_put_body(&link->milter, body), &why))
			break;
		if (!milter_answers(&link->milter, MILTER_BODY))
			continue;
		if (milter_link_ask(link, MILTER_BODY, &answer, &why) < 0)
			break;
		if (answer == MILTER_SKIP)
			return true;
		take_answer(milters, link, MILTER_BODY, answer, made);
		if (!goes_on(link, made))
			return false;
	}
	if (n == 0)
		return true;
	give_up(milters, link, &why, made);
	return false;
}

/* A change of the header; false: no memory. */
static bool
change(struct header_edit *edit, const struct milter *milter,
    enum milter_answer answer)
{
	bool blank = milter->leading_blank;

	switch (answer) {
	case MILTER_ADD:
		return header_edit_add(edit, milter->name, milter->value,
		    blank);
	case MILTER_INSERT:
		return header_edit_insert(edit, milter->index, milter->name,
		    milter->value, blank);
	default:
		return header_edit_change(edit, milter->index, milter->name,
		    milter->value, blank);
	}
}

/* Changes, and then what it decides. */
static void
end_message(struct milters *milters, struct milter_link *link,
    struct header_edit *edit, struct hook_reply *made)
{
	enum milter_answer answer;
	struct error why;

	for (;;) {
		if (milter_link_ask(link, MILTER_END, &answer, &why) < 0)
			break;
		if (answer < MILTER_ADD || answer > MILTER_CHANGE) {
			link->in_message = false;
			take_answer(milters, link, MILTER_END, answer, made);
			return;
		}
		if (!change(edit, &link->milter, answer)) {
			error_system(&why, ENOMEM, "changing the header");
			break;
		}
	}
	give_up(milters, link, &why, made);
}

/* A step without anything to it. */
static bool
put_step(struct milters *milters, struct milter_link *link,
    enum milter_step step, struct hook_reply *made)
{
	struct error why;

	if (!milter_wants(&link->milter, step))
		return true;
	if (!PUT(link, milter_put_step(&link->milter, step), &why)) {
		give_up(milters, link, &why, made);
		return false;
	}
	if (step != MILTER_END)
		ask(milters, link, step, made);
	return goes_on(link, made);
}

static void
message_one(struct milters *milters, struct milter_link *link,
    const struct milters_facts *facts, struct message *message,
    struct hook_reply *made)
{
	struct header_edit *edit = &message->edit;

	if (!put_step(milters, link, MILTER_DATA, made))
		return;
	if (milter_wants(&link->milter, MILTER_HEADER) &&
	    !send_header(link, edit, milters, made))
		return;
	if (!put_step(milters, link, MILTER_END_OF_HEADER, made))
		return;
	if (milter_wants(&link->milter, MILTER_BODY) &&
	    !send_body(link, message, milters, made))
		return;
	put_macros(link, facts, MILTER_END);
	if (put_step(milters, link, MILTER_END, made))
		end_message(milters, link, edit, made);
}

static int
read_header(struct message *message, struct error *error)
{
	size_t size = MILTERS_HEADER_MAX + 1, len = 0;
	ssize_t n;

	message->text = malloc(size);
	if (message->text == NULL)
		return error_system(error, ENOMEM, "header");
	while (len < size && (n = delivery_read(message->delivery, len,
	    message->text + len, size - len, error)) != 0) {
		if (n < 0)
			return -1;
		len += (size_t)n;
	}
	if (!header_edit_read(&message->edit, (struct slice){
	    message->text, len }))
		return error_system(error, ENOMEM, "header");
	return 0;
}

static void
show_message(struct milters *milters, const struct milters_facts *facts,
    struct message *message, struct hook_reply *made, const char **by)
{
	static const struct smtp_reply too_large = { 552, "5.3.4",
		SLICE("The header is too large") };
	struct error why;

	if (read_header(message, &why) < 0) {
		log_error(&why);
		refuse(made, &later);
		*by = "milter";
		return;
	}
	if (message->edit.length > MILTERS_HEADER_MAX) {
		refuse(made, &too_large);
		*by = "milter";
		return;
	}
	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		if (goes_on(link, made))
			message_one(milters, link, facts, message, made);
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = link->address;
		return;
	}
	if (message->edit.changed && delivery_rewrite(message->delivery,
	    &message->edit, &why) < 0) {
		log_error(&why);
		refuse(made, &later);
		*by = "milter";
	}
}

void
milters_message(struct milters *milters, const struct milters_facts *facts,
    struct delivery *delivery, struct hook_reply *made, const char **by)
{
	struct message *message = calloc(1, sizeof(*message));

	*by = NULL;
	go_on(made);
	if (message == NULL) {
		refuse(made, &later);
		*by = "milter";
		return;
	}
	message->delivery = delivery;
	show_message(milters, facts, message, made, by);
	header_edit_free(&message->edit);
	free(message->text);
	free(message);
}

/* ---- the end ---- */

void
milters_abort(struct milters *milters)
{
	struct error why;

	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		if (!link->is_open || !link->in_message)
			continue;
		link->in_message = false;
		if (!PUT(link, milter_put_abort(&link->milter), &why) ||
		    milter_link_flush(link, &why) < 0)
			milter_link_close(link);
	}
}

void
milters_close(struct milters *milters)
{
	for (size_t i = 0; i < milters->n; i++)
		milter_link_close(&milters->links[i]);
}
