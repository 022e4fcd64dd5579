/*
 * milters_message.c - a whole message, shown to filters, and what they change
 * of its header.
 */
#include "milters_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "header_edit.h"
#include "system/clock.h"
#include "system/log.h"

/* Octets read at a time: with CRs added they fit into a packet. */
#define READ_SIZE (MILTER_BODY_MAX / 2)

struct message {
	struct delivery *delivery;
	char *text; /* of the header, and perhaps more */
	struct header_edit edit;
	char raw[READ_SIZE];
	char wire[MILTER_BODY_MAX];
};

static bool
send_header(struct milter_link *link, const struct header_edit *edit,
    struct milters *milters, struct hook_reply *made)
{
	bool blank = link->milter.leading_blank;
	struct error why;

	for (size_t i = 0; i < edit->n && milters_goes_on(link, made); i++) {
		const struct header_field *field = &edit->fields[i];

		if (i == edit->ours)
			continue;
		if (!MILTERS_PUT(link, milter_put_header(&link->milter,
		    field->name, header_edit_value(field, blank)), &why)) {
			milters_give_up(milters, link, &why, made);
			return false;
		}
		milters_ask(milters, link, MILTER_HEADER, made);
	}
	return milters_goes_on(link, made);
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

		if (!MILTERS_PUT(link, milter_put_body(&link->milter, body),
		    &why))
			break;
		if (!milter_answers(&link->milter, MILTER_BODY))
			continue;
		if (milter_link_ask(link, MILTER_BODY, &answer, &why) < 0)
			break;
		if (answer == MILTER_SKIP)
			return true;
		milters_take_answer(milters, link, MILTER_BODY, answer, made);
		if (!milters_goes_on(link, made))
			return false;
	}
	if (n == 0)
		return true;
	milters_give_up(milters, link, &why, made);
	return false;
}

/* A change of the header; false: no room for it. */
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

/* Changes, up to the answer that ends them. */
static int
take_changes(struct milter_link *link, struct header_edit *edit,
    enum milter_answer *answer, struct error *why)
{
	for (;;) {
		if (milter_link_ask(link, MILTER_END, answer, why) < 0)
			return -1;
		if (*answer < MILTER_ADD || *answer > MILTER_CHANGE)
			return 0;
		if (!change(edit, &link->milter, *answer))
			return error_set(why, ERROR_SYSTEM, "it changes more "
			    "of the header than there is room for");
	}
}

/*
 * Changes, and then what it decides. A filter that breaks in the midst of them
 * has changed nothing: half of them may say what it never meant, as a result
 * without the field that takes an old one away.
 */
static void
end_message(struct milters *milters, struct milter_link *link,
    struct header_edit *edit, struct hook_reply *made)
{
	struct header_edit changed;
	enum milter_answer answer;
	struct error why;

	if (!header_edit_copy(&changed, edit)) {
		error_system(&why, ENOMEM, "header");
		milters_give_up(milters, link, &why, made);
		return;
	}
	if (take_changes(link, &changed, &answer, &why) < 0) {
		header_edit_free(&changed);
		milters_give_up(milters, link, &why, made);
		return;
	}
	header_edit_free(edit);
	*edit = changed;
	link->in_message = false;
	milters_take_answer(milters, link, MILTER_END, answer, made);
}

/* A step without anything to it. */
static bool
put_step(struct milters *milters, struct milter_link *link,
    enum milter_step step, struct hook_reply *made)
{
	struct error why;

	if (!milter_wants(&link->milter, step))
		return true;
	if (!MILTERS_PUT(link, milter_put_step(&link->milter, step), &why)) {
		milters_give_up(milters, link, &why, made);
		return false;
	}
	if (step != MILTER_END)
		milters_ask(milters, link, step, made);
	return milters_goes_on(link, made);
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
	if (!milters_make_room(milters, link, made))
		return;
	milters_put_macros(link, facts, MILTER_END);
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
		milters_refuse(made, &milters_later);
		*by = "milter";
		return;
	}
	if (message->edit.length > MILTERS_HEADER_MAX) {
		milters_refuse(made, &too_large);
		*by = "milter";
		return;
	}
	int64_t end_by = clock_now() + MILTERS_END_SECONDS * 1000;
	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		link->end_by = end_by;
		if (milters_goes_on(link, made))
			message_one(milters, link, facts, message, made);
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = link->address;
		return;
	}
	if (message->edit.changed && delivery_rewrite(message->delivery,
	    &message->edit, &why) < 0) {
		log_error(&why);
		milters_refuse(made, &milters_later);
		*by = "milter";
	}
}

void
milters_message(struct milters *milters, const struct milters_facts *facts,
    struct delivery *delivery, struct hook_reply *made, const char **by)
{
	struct message *message = calloc(1, sizeof(*message));

	*by = NULL;
	milters_go_on(made);
	if (message == NULL) {
		milters_refuse(made, &milters_later);
		*by = "milter";
		return;
	}
	message->delivery = delivery;
	show_message(milters, facts, message, made, by);
	header_edit_free(&message->edit);
	free(message->text);
	free(message);
}
