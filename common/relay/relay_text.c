/*
 * relay_text.c - the text to the next hop, and its word on it.
 *
 * What the next hop says before it can have the whole text is a refusal, or
 * nothing that counts. Once it can have it the message may be its own,
 * whatever becomes of us and of the connection.
 */
#include "relay/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/relay_private.h"
#include "system/clock.h"

#define READ_SIZE 65536
/* Seconds for the rest of a reply that began before its time. */
#define EARLY_TIMEOUT 5

/* ---- sending ---- */

/* Sends what is in out: -1 where not all of it went, also because the next hop
 * sent something in place of reading. */
static int
flush_heeding(struct relay *relay, struct error *error)
{
	int result;

	relay->conn.heed_input = true;
	relay->conn.hard_deadline = relay->text_by;
	do
		result = conn_flush(&relay->conn, &relay->client.wire, error);
	while (result == 1 && relay_expect_silence(relay, error) == 0);
	relay->conn.heed_input = false;
	relay->conn.hard_deadline = 0;
	return result == 0 ? 0 : -1;
}

/* -1 also when the next hop has sent a reply, for that ends the text. */
static int
flush_text(struct relay *relay, struct error *error)
{
	return flush_heeding(relay, error) < 0 ? -1
	    : relay_expect_silence(relay, error);
}

/* What goes wrong with the text. */
enum sending {
	SENT,
	NOT_READ,  /* our own trouble */
	NOT_TAKEN, /* the next hop left, or spoke before it was all there */
};

static enum sending
send_piece(struct relay *relay, struct slice piece, struct error *error)
{
	while (piece.len > 0) {
		size_t taken = smtp_client_text(&relay->client, piece);

		if (taken == 0 && flush_text(relay, error) < 0)
			return NOT_TAKEN;
		piece = slice_skip(piece, taken);
	}
	return SENT;
}

/* The text after 354, all but its end. */
static enum sending
send_text(struct relay *relay, const struct relay_text *text,
    struct error *error)
{
	char *buffer = malloc(READ_SIZE);
	enum sending result = SENT;
	off_t offset = text->offset;
	ssize_t n = 1;

	if (buffer == NULL) {
		error_system(error, ENOMEM, "relay");
		return NOT_READ;
	}
	while (result == SENT && n > 0) {
		n = pread(text->fd, buffer, READ_SIZE, offset);
		if (n < 0) {
			error_system(error, errno, "spool");
			result = NOT_READ;
		} else if (n > 0) {
			offset += n;
			result = send_piece(relay, (struct slice){ buffer,
			    (size_t)n }, error);
		}
	}
	free(buffer);
	if (result == SENT && offset == text->offset) {
		error_set(error, ERROR_SYSTEM, "the spool is empty");
		return NOT_READ;
	}
	/* A refusal before the final dot counts, for the next hop cannot have
	 * the message then. */
	return result == SENT && flush_text(relay, error) < 0 ? NOT_TAKEN
	    : result;
}

/* ---- verdicts ---- */

/*
 * The text cannot go on: the next hop left, or replied before it had all of
 * it. If that reply is a refusal it is the verdict, and stays true, for the
 * next hop never gets the end of the text. *error says already what happened.
 */
static int
early_verdict(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	struct buf *out = &relay->client.wire.out;
	struct error ignored;

	buf_consume(out, out->end - out->start);
	conn_mute(&relay->conn);
	if (relay_await_within(relay, EARLY_TIMEOUT, &ignored) < 0 ||
	    relay_reply_class(relay) < 4)
		return relay_lost(relay, verdict);
	int result = relay_pass_on(relay, true, verdict, error);
	if (result == 0)
		relay_drop(relay, NULL);
	return result;
}

/* RFC 1047: nobody knows. *error says what happened. */
static int
perhaps_taken(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	struct error why = *error;

	error_set(error, ERROR_SYSTEM, "%.300s; it had the whole message, and "
	    "may have taken it", why.text);
	relay_drop(relay, NULL);
	*verdict = (struct smtp_reply){ 451, "4.4.2",
		SLICE("The next hop was lost after it had the whole message, "
		    "and may have taken it; try again later") };
	return -1;
}

/* ---- the message ---- */

/* Refuses what the reply to EHLO says the next hop cannot take. */
static bool
can_send(const struct relay *relay, const struct envelope *envelope,
    const struct relay_text *text, struct smtp_reply *verdict)
{
	const struct smtp_extensions *offered = &relay->client.extensions;

	/* RFC 6531 3.5. What came without SMTPUTF8 being said goes on so. */
	if (text->header_8bit && envelope->utf8 && !offered->utf8) {
		*verdict = (struct smtp_reply){ 550, "5.6.7",
			SLICE("The next hop takes no SMTPUTF8 mail, and the "
			    "header has UTF-8") };
		return false;
	}
	/* RFC 6152 3: not to be sent, and converting is not our business. */
	if (text->has_8bit && (!offered->eight_bit || envelope->seven_bit)) {
		*verdict = (struct smtp_reply){ 554, "5.6.3",
			envelope->seven_bit
			? SLICE("8-bit text, though MAIL said BODY=7BIT")
			: SLICE("The next hop takes no 8-bit text") };
		return false;
	}
	/* RFC 1870 6.1: it has said so already. */
	if (offered->size_max > 0 && text->octets > offered->size_max) {
		*verdict = (struct smtp_reply){ 552, "5.3.4",
			SLICE("The message is larger than the next hop "
			    "takes") };
		return false;
	}
	return true;
}

/*
 * 1: the next hop waits for the text. 0 and *verdict: it does not take it;
 * -1: nor anything else any more.
 */
static int
say_data(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	smtp_client_data(&relay->client);
	if (relay_await_reply(relay, error) < 0)
		return relay_lost(relay, verdict);
	if (relay->client.reply.code == 354)
		return 1;
	int result = relay_pass_on(relay, false, verdict, error);
	if (result == 0 && relay_reply_class(relay) == 2) {
		relay_unexpected(relay, "DATA", error);
		return relay_lost(relay, verdict);
	}
	return result;
}

/* The same, to a next hop that may have left meanwhile. */
static int
begin_text(struct relay *relay, const struct envelope *envelope,
    const struct relay_text *text, struct smtp_reply *verdict,
    struct error *error)
{
	int result;

	do {
		if (relay->lost != NULL && relay_resume(relay, envelope,
		    envelope->n, error) < 0)
			return relay_lost(relay, verdict);
		if (!can_send(relay, envelope, text, verdict))
			return 0;
		result = say_data(relay, verdict, error);
	} while (result < 0 && relay->lost != NULL);
	return result;
}

/* How many replies come after the text: RFC 2033 4.2. */
static size_t
count_verdicts(const struct relay *relay, const struct envelope *envelope)
{
	size_t n = 0;

	if (!next_hop_is_lmtp(&relay->account->hop))
		return 1;
	for (size_t i = 0; i < envelope->n; i++)
		n += envelope->recipients[i].relayed;
	return n;
}

/* Which of two verdicts is that on all of an alias: where one of its
 * recipients may get the message later, it is to come again, for who gets it
 * twice is better off than who never does. */
static bool
is_worse(const struct smtp_reply *one, const struct smtp_reply *other)
{
	static const int ranks[6] = { [2] = 1, [5] = 2, [4] = 3 };

	return ranks[one->code / 100] > ranks[other->code / 100];
}

/* The next hop's word on the text it has; all of its words. */
static int
await_verdict(struct relay *relay, size_t n, struct smtp_reply *verdict,
    struct error *error)
{
	static const struct smtp_reply for_some = { 250, "2.0.0",
		SLICE("Taken for some of those an alias stands for") };
	int64_t by = clock_now() + (int64_t)relay->limits.final * 1000;
	struct smtp_reply one;

	for (size_t i = 0; i < n; i++) {
		int64_t left = by - clock_now();

		if (relay_await_within(relay, left > 1000
		    ? (unsigned)(left / 1000) : 1, error) < 0)
			return perhaps_taken(relay, verdict, error);
		if (relay_pass_on(relay, true, &one, error) < 0) {
			*verdict = one;
			return -1;
		}
		if (one.code / 100 == 2)
			relay->taken = for_some;
		if (i > 0 && !is_worse(&one, verdict))
			continue;
		*verdict = one;
		if (n > 1)
			relay_keep_verdict(relay, verdict);
	}
	if (verdict->code / 100 == 2)
		relay->taken = *verdict;
	return 0;
}

/* The end of the text, and what the next hop says to it. */
static int
finish_text(struct relay *relay, const struct envelope *envelope,
    struct smtp_reply *verdict, struct error *error)
{
	size_t n = count_verdicts(relay, envelope);

	smtp_client_text_end(&relay->client);
	if (flush_heeding(relay, error) < 0)
		return early_verdict(relay, verdict, error);
	return await_verdict(relay, n, verdict, error);
}

/* After 354. */
static int
send_message(struct relay *relay, const struct envelope *envelope,
    const struct relay_text *text, struct smtp_reply *verdict,
    struct error *error)
{
	int result;

	relay->text_by = clock_now() + 1000 * (int64_t)(relay->limits.text +
	    text->octets / RELAY_TEXT_RATE);
	switch (send_text(relay, text, error)) {
	case SENT:
		/* From here on the message may be the next hop's: SIGTERM
		 * does not end the wait for its word (RFC 1047). */
		relay->conn.finish = true;
		result = finish_text(relay, envelope, verdict, error);
		relay->conn.finish = false;
		return result;
	case NOT_TAKEN:
		return early_verdict(relay, verdict, error);
	case NOT_READ:
		break;
	}
	/* Half a message, without its end: it is none. */
	relay_drop(relay, NULL);
	return relay_trouble("4.3.0", "Cannot read the message back, try "
	    "again later", verdict);
}

int
relay_message(struct relay *relay, const struct envelope *envelope,
    const struct relay_text *text, struct smtp_reply *verdict,
    struct error *error)
{
	int result;

	relay->taken.code = 0;
	if (relay->broken || (relay->account == NULL && relay->lost == NULL)) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		result = relay_lost(relay, verdict);
	} else {
		result = begin_text(relay, envelope, text, verdict, error);
	}
	/* The transaction is over, but at a next hop that refused DATA. */
	relay->reset_due = result != 1 && relay->account != NULL;
	relay->mail_sent = relay->broken = false;
	relay->accepted = false;
	if (result == 1)
		result = send_message(relay, envelope, text, verdict, error);
	/* What was overcome on the way is no reason of the verdict. */
	if (result == 0)
		error->kind = ERROR_NONE;
	relay_show(relay);
	return result;
}
