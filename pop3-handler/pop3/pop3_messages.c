/*
 * pop3_messages.c - the maildrop's messages: counted, listed, sent, marked.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "pop3/pop3_private.h"

/* A message number (RFC 1939 section 3), as an index. Deleted ones and such
 * as never were are refused alike. */
static bool
find_message(struct pop3 *pop3, struct slice argument, size_t *index)
{
	uint64_t number;

	if (!slice_to_number(argument, pop3->n, &number) || number == 0 ||
	    pop3->messages[number - 1].deleted)
		return false;
	*index = (size_t)number - 1;
	return true;
}

static void
count_messages(const struct pop3 *pop3, uint64_t *n, uint64_t *octets)
{
	*n = *octets = 0;
	for (size_t i = 0; i < pop3->n; i++)
		if (!pop3->messages[i].deleted) {
			(*n)++;
			*octets += pop3->messages[i].octets;
		}
}

void
pop3_put_maildrop(struct pop3 *pop3)
{
	uint64_t n, octets;

	count_messages(pop3, &n, &octets);
	wire_format(&pop3->wire, "+OK %ju %s (%ju %s)", (uintmax_t)n,
	    pop3_text(POP3_TEXT_MESSAGES, pop3->language), (uintmax_t)octets,
	    pop3_text(POP3_TEXT_OCTETS, pop3->language));
}

/* "42 " and so on, backwards from end; returns where it begins. */
static char *
put_number(char *end, uint64_t number)
{
	do
		*--end = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return end;
}

/* One line of a listing. Listings may have a million of them, and printf
 * is what would take the time. */
static void
put_entry(struct pop3 *pop3, size_t i, struct slice entry)
{
	struct slice before = pop3->listing == POP3_NO_LISTING
	    ? SLICE("+OK ") : SLICE("");
	char line[160];
	char number[24];
	char *end = number + sizeof(number);
	char *at = put_number(end, (uint64_t)i + 1);
	size_t len = before.len;

	memcpy(line, before.data, before.len);
	memcpy(line + len, at, (size_t)(end - at));
	len += (size_t)(end - at);
	line[len++] = ' ';
	memcpy(line + len, entry.data, entry.len);
	pop3_reply(pop3, (struct slice){ line, len + entry.len });
}

static void
put_octets(struct pop3 *pop3, size_t i)
{
	char number[24];
	char *end = number + sizeof(number);
	char *at = put_number(end, pop3->messages[i].octets);

	put_entry(pop3, i, (struct slice){ at, (size_t)(end - at) });
}

/* The caller knows it. */
static void
want_uidl(struct pop3 *pop3, size_t i)
{
	pop3->message = i;
	pop3->pending = POP3_UIDL;
}

void
pop3_uidl(struct pop3 *pop3, struct slice uidl)
{
	assert(pop3->pending == POP3_UIDL);
	assert(uidl.len >= 1 && uidl.len <= 70);
	pop3->pending = POP3_WANT_IO;
	put_entry(pop3, pop3->message, uidl);
}

void
pop3_run_stat(struct pop3 *pop3, struct slice argument)
{
	uint64_t n, octets;

	if (!pop3_no_argument(pop3, argument))
		return;
	count_messages(pop3, &n, &octets);
	wire_format(&pop3->wire, "+OK %ju %ju", (uintmax_t)n,
	    (uintmax_t)octets);
}

static void
start_listing(struct pop3 *pop3, struct slice argument,
    enum pop3_listing listing)
{
	size_t i;

	if (argument.len == 0) {
		pop3_put_maildrop(pop3);
		pop3->listing = listing;
		pop3->cursor = 0;
	} else if (!find_message(pop3, argument, &i)) {
		pop3_refuse(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
	} else if (listing == POP3_LIST_OCTETS) {
		put_octets(pop3, i);
	} else {
		want_uidl(pop3, i);
	}
}

void
pop3_run_list(struct pop3 *pop3, struct slice argument)
{
	start_listing(pop3, argument, POP3_LIST_OCTETS);
}

void
pop3_run_uidl(struct pop3 *pop3, struct slice argument)
{
	start_listing(pop3, argument, POP3_LIST_UIDLS);
}

void
pop3_run_retr(struct pop3 *pop3, struct slice argument)
{
	if (!find_message(pop3, argument, &pop3->message)) {
		pop3_refuse(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
		return;
	}
	pop3->top = false;
	pop3->pending = POP3_MESSAGE;
}

void
pop3_run_top(struct pop3 *pop3, struct slice argument)
{
	struct slice number, lines;

	slice_cut(argument, ' ', &number, &lines);
	if (!slice_to_number(slice_trim(lines), UINT64_MAX,
	    &pop3->top_lines)) {
		pop3_refuse(pop3, POP3_TEXT_TOP_TAKES);
		return;
	}
	if (!find_message(pop3, number, &pop3->message)) {
		pop3_refuse(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
		return;
	}
	pop3->top = true;
	pop3->pending = POP3_MESSAGE;
}

void
pop3_run_dele(struct pop3 *pop3, struct slice argument)
{
	size_t i;

	if (!find_message(pop3, argument, &i)) {
		pop3_refuse(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
	} else if (!pop3->options.allow_delete) {
		pop3_refuse(pop3, POP3_TEXT_CANNOT_DELETE);
	} else if (pop3->messages[i].permanent) {
		pop3_refuse(pop3, POP3_TEXT_PERMANENT);
	} else {
		pop3->messages[i].deleted = 1;
		pop3_say(pop3, POP3_TEXT_MARKED);
	}
}

void
pop3_run_rset(struct pop3 *pop3, struct slice argument)
{
	if (!pop3_no_argument(pop3, argument))
		return;
	for (size_t i = 0; i < pop3->n; i++)
		pop3->messages[i].deleted = 0;
	pop3_reply(pop3, SLICE("+OK"));
}

/* Puts out what there is room for. */
void
pop3_continue_listing(struct pop3 *pop3)
{
	while (pop3->cursor < pop3->n) {
		if (buf_room(&pop3->wire.out) < POP3_REPLY_MAX)
			return;
		size_t i = pop3->cursor++;
		if (pop3->messages[i].deleted)
			continue;
		if (pop3->listing == POP3_LIST_UIDLS) {
			want_uidl(pop3, i);
			return;
		}
		put_octets(pop3, i);
	}
	if (buf_room(&pop3->wire.out) < POP3_REPLY_MAX)
		return;
	pop3_reply(pop3, SLICE("."));
	pop3->listing = POP3_NO_LISTING;
}

void
pop3_message_begin(struct pop3 *pop3, uint64_t octets)
{
	assert(pop3->pending == POP3_MESSAGE && !pop3->sending);
	pop3->sending = true;
	pop3->encoder = (struct dot_encoder){ .in_line = false };
	if (pop3->top) {
		dot_encoder_limit(&pop3->encoder, pop3->top_lines);
		pop3_say(pop3, POP3_TEXT_TOP_FOLLOWS);
	} else {
		wire_format(&pop3->wire, "+OK %ju %s", (uintmax_t)octets,
		    pop3_text(POP3_TEXT_OCTETS, pop3->language));
	}
}

size_t
pop3_message_data(struct pop3 *pop3, struct slice data)
{
	size_t room;
	size_t len = data.len;
	char *at = buf_reserve(&pop3->wire.out, &room);

	assert(pop3->sending);
	if (room < 2 + DOT_END_MAX)
		return 0;
	buf_commit(&pop3->wire.out, dot_encode(&pop3->encoder, &data, at,
	    room - DOT_END_MAX));
	return len - data.len;
}

bool
pop3_message_enough(const struct pop3 *pop3)
{
	return pop3->encoder.enough;
}

void
pop3_message_end(struct pop3 *pop3, bool whole)
{
	size_t room;
	char *at = buf_reserve(&pop3->wire.out, &room);

	assert(pop3->sending && room >= DOT_END_MAX);
	pop3->sending = false;
	pop3->pending = POP3_WANT_IO;
	if (!whole && !pop3->encoder.enough) {
		pop3_close_session(pop3);
		return;
	}
	buf_commit(&pop3->wire.out, dot_encode_end(&pop3->encoder, at));
	pop3->retrieved += !pop3->top;
	pop3->octets_sent += pop3->encoder.octets;
}

void
pop3_message_failed(struct pop3 *pop3, const struct error *error)
{
	char status[32];

	assert(pop3->pending == POP3_MESSAGE);
	snprintf(status, sizeof(status), "-ERR %s",
	    error_meaning(error->kind)->pop3_code);
	pop3_refused(pop3, status,
	    slice_from(pop3_text(POP3_TEXT_CANNOT_READ, pop3->language)));
}
