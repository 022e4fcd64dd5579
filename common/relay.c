/*
 * relay.c - the next hop's connection and the order of things on it.
 *
 * The same pump as the client's connection, over smtp_client's wire. A
 * connection on which anything went wrong is closed, never reused: the next
 * recipient opens a new one.
 * Layer 2.
 */
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay_private.h"

#define READ_SIZE 65536
/* Seconds for the rest of a reply that began before its time. */
#define EARLY_TIMEOUT 5

void
relay_init(struct relay *relay, const char *hostname)
{
	relay->hostname = hostname;
}

/* ---- verdicts ---- */

/* Trouble of ours, or between the next hop and us: 451, so that the client
 * keeps the message and tries again. */
static int
trouble(const char *enhanced, const char *text, struct smtp_reply *verdict)
{
	*verdict = (struct smtp_reply){ 451, enhanced, slice_from(text) };
	return -1;
}

static void
close_connection(struct relay *relay, struct wire *last_words)
{
	conn_close(&relay->conn, last_words, false);
	free(relay->storage);
	relay->storage = NULL;
	relay->account = NULL;
	relay->mail_sent = false;
	/* Recipients that the client was told are accepted are not there any
	 * more: nothing but the end of the transaction mends that. */
	relay->broken |= relay->accepted > 0;
	relay->accepted = 0;
	relay->reset_due = false;
}

static void
drop_connection(struct relay *relay)
{
	close_connection(relay, NULL);
}

/* A connection that is of no use any more. */
static int
lost(struct relay *relay, struct smtp_reply *verdict)
{
	drop_connection(relay);
	return trouble("4.4.2", "The next hop cannot be reached now, "
	    "try again later", verdict);
}

/*
 * The next hop's reply as the client is to hear it: code and text as they
 * are. Some replies are about our session there and not about this mail.
 */
static int
pass_on(struct relay *relay, struct smtp_reply *verdict, struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;
	static const char *const classes[] = { "2.0.0", "4.0.0", "5.0.0" };

	*verdict = *reply;
	switch (reply->code) {
	case 421: /* closing */
	case 503: /* out of step */
	case 530: /* wants a login */
	case 535:
		error_set(error, ERROR_SYSTEM, "%s answered %u %s %.*s",
		    relay->account->host, reply->code, reply->enhanced,
		    SLICE_ARG(reply->text));
		drop_connection(relay);
		return trouble(reply->code == 421 ? "4.4.2"
		    : reply->code == 503 ? "4.4.0" : "4.7.0",
		    "The next hop does not take mail from here now, try again "
		    "later", verdict);
	default:
		break;
	}
	if (reply->code < 400 && reply->code > 299) {
		error_set(error, ERROR_SYSTEM, "%s answered %u out of place",
		    relay->account->host, reply->code);
		return lost(relay, verdict);
	}
	if (reply->enhanced[0] == '\0')
		verdict->enhanced = classes[reply->code / 100 == 2 ? 0
		    : reply->code / 100 == 4 ? 1 : 2];
	return 0;
}

/* Copies what is said in it: another reply is to be read before it is. */
static void
keep_verdict(struct relay *relay, struct smtp_reply *verdict)
{
	memcpy(relay->verdict, verdict->text.data, verdict->text.len);
	verdict->text.data = relay->verdict;
	snprintf(relay->verdict_enhanced, sizeof(relay->verdict_enhanced),
	    "%s", verdict->enhanced);
	verdict->enhanced = relay->verdict_enhanced;
}

/* ---- one exchange ---- */

/*
 * Is there anything from the next hop that nobody asked for? It may be the
 * end, or a 421 before it; it may also be a reply to what was not said yet,
 * and then nobody knows any more which reply is to which command.
 */
static bool
out_of_step(struct relay *relay)
{
	struct wire *wire = &relay->client.wire;
	struct error ignored;

	return conn_read_ready(&relay->conn, wire, &ignored) < 0 ||
	    wire->eof || wire_mid_line(wire);
}

/* To be asked before whatever a verdict depends on is sent. */
static int
check_step(struct relay *relay, struct error *error)
{
	if (!out_of_step(relay))
		return 0;
	return error_set(error, ERROR_SYSTEM,
	    "%s said something before its turn", relay->account->host);
}

/* ---- the transaction ---- */

static int
reset_if_due(struct relay *relay)
{
	struct error error;

	if (!relay->reset_due)
		return 0;
	relay->reset_due = false;
	smtp_client_rset(&relay->client);
	return relay_await_reply(relay, &error) < 0 || relay_reply_class(relay) != 2
	    ? -1 : 0;
}

static int
begin(struct relay *relay, const struct account *account,
    struct smtp_reply *verdict, struct error *error)
{
	const char *stage;

	if (relay->account == account)
		return 0;
	relay_close(relay);
	if (relay_open_connection(relay, account, &stage, error) == 0)
		return 0;
	drop_connection(relay);
	return trouble(stage, stage[2] == '7'
	    ? "Cannot log in to the next hop, try again later"
	    : "The next hop cannot be reached now, try again later", verdict);
}

/* What the client asked for and the next hop cannot do. */
static bool
can_carry(const struct relay *relay, const struct envelope *envelope,
    size_t i, struct smtp_reply *verdict)
{
	const struct smtp_extensions *offered = &relay->client.extensions;

	/* RFC 6531 3.5. */
	if (envelope->utf8 && !offered->utf8) {
		*verdict = (struct smtp_reply){ 550, "5.6.7",
			SLICE("The next hop takes no SMTPUTF8 mail") };
		return false;
	}
	/* RFC 3461 5.2.2: it would be for us to notify the sender, and we
	 * make no messages. */
	if ((envelope->recipients[i].dsn.notify & ENVELOPE_NOTIFY_SUCCESS) !=
	    0 && !offered->dsn) {
		*verdict = (struct smtp_reply){ 550, "5.3.3",
			SLICE("The next hop sends no delivery notifications")
			};
		return false;
	}
	return true;
}

/* The reply to MAIL: relay->mail_sent where it is a 2xx. */
static int
await_mail(struct relay *relay, struct error *error)
{
	if (relay_await_reply(relay, error) < 0)
		return -1;
	relay->mail_sent = relay_reply_class(relay) == 2;
	return 0;
}

/*
 * A refused sender is the verdict on every recipient. The RCPT that went
 * together with it (RFC 2920 3.1) has a reply too, which says nothing; were
 * it a 2xx, the next hop would be in a transaction that we are not.
 * RSET comes before the next MAIL: until then Postfix holds what it refused,
 * a SIZE for one, against messages that are not like that.
 */
static int
refused_mail(struct relay *relay, bool together, struct smtp_reply *verdict,
    struct error *error)
{
	struct error ignored;

	if (pass_on(relay, verdict, error) < 0)
		return -1;
	relay->reset_due = true;
	if (!together)
		return 0;
	keep_verdict(relay, verdict);
	if (relay_await_reply(relay, &ignored) < 0 ||
	    relay_reply_class(relay) < 4)
		drop_connection(relay);
	return 0;
}

int
relay_recipient(struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error)
{
	if (relay->broken) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		return lost(relay, verdict);
	}
	if (relay->account != NULL && !relay->mail_sent &&
	    (out_of_step(relay) || reset_if_due(relay) < 0))
		drop_connection(relay);
	if (begin(relay, account, verdict, error) < 0)
		return -1;
	/* RFC 2033 4.2: each recipient gets a reply of its own after the
	 * text, and our client gets one for all. The client sends the rest
	 * in a transaction after this one (RFC 5321 4.5.3.1.10). */
	if (account_is_lmtp(account) && relay->accepted > 0) {
		*verdict = (struct smtp_reply){ 452, "4.5.3",
			SLICE("One recipient at a time, please") };
		return 0;
	}
	if (!can_carry(relay, envelope, i, verdict))
		return 0;
	/* Nothing is said that a reply is there to already. */
	if (check_step(relay, error) < 0)
		return lost(relay, verdict);
	bool first = !relay->mail_sent;
	bool together = first && relay->client.extensions.pipelining;
	if (first)
		smtp_client_mail(&relay->client, envelope);
	if (first && !together && await_mail(relay, error) < 0)
		return lost(relay, verdict);
	if (first && !together && !relay->mail_sent)
		return refused_mail(relay, false, verdict, error);
	smtp_client_rcpt(&relay->client, &envelope->recipients[i]);
	if (together && await_mail(relay, error) < 0)
		return lost(relay, verdict);
	if (together && !relay->mail_sent)
		return refused_mail(relay, true, verdict, error);
	if (relay_await_reply(relay, error) < 0)
		return lost(relay, verdict);
	if (pass_on(relay, verdict, error) < 0)
		return -1;
	relay->accepted += verdict->code / 100 == 2;
	return 0;
}

/* To be called when there is no room. -1 also when the next hop has said
 * something: it takes no more. */
static int
flush_text(struct relay *relay, struct error *error)
{
	relay->conn.heed_input = true;
	int result = conn_flush(&relay->conn, &relay->client.wire, error);
	relay->conn.heed_input = false;
	return result < 0 ? -1 : check_step(relay, error);
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
	struct smtp_client *client = &relay->client;

	while (piece.len > 0) {
		size_t taken = smtp_client_text(client, piece);

		if (relay->chunking && smtp_client_chunk_left(client) < 0) {
			error_set(error, ERROR_SYSTEM, "the spool grew");
			return NOT_READ;
		}
		if (taken == 0 && flush_text(relay, error) < 0)
			return NOT_TAKEN;
		piece = slice_skip(piece, taken);
	}
	return SENT;
}

/* The text after 354 or BDAT, all but its end. */
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
	if (result != SENT)
		return result;
	if (relay->chunking && smtp_client_chunk_left(&relay->client) != 0) {
		error_set(error, ERROR_SYSTEM, "the spool shrank");
		return NOT_READ;
	}
	return check_step(relay, error) < 0 ? NOT_TAKEN : SENT;
}

/*
 * The text cannot go on: the next hop left, or spoke before it was all
 * there. What it said, if it is a refusal, is the verdict, and true whatever
 * it says later, for it never sees the end of the text. *error says what
 * happened already.
 */
static int
early_verdict(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	struct buf *out = &relay->client.wire.out;
	struct error ignored;

	buf_consume(out, out->end - out->start);
	conn_set_timeout(&relay->conn, EARLY_TIMEOUT);
	if (relay_await_reply(relay, &ignored) < 0 ||
	    relay_reply_class(relay) < 4)
		return lost(relay, verdict);
	error->kind = ERROR_NONE;
	int result = pass_on(relay, verdict, error);
	if (result == 0)
		drop_connection(relay);
	return result;
}

/*
 * 1: the next hop waits for the text. 0 and *verdict: it does not take it;
 * -1: nor anything else any more.
 */
static int
begin_text(struct relay *relay, const struct relay_text *text,
    struct smtp_reply *verdict, struct error *error)
{
	struct smtp_client *client = &relay->client;

	if (check_step(relay, error) < 0)
		return lost(relay, verdict);
	/* RFC 3030 4.2: a round trip less, and no dot means anything. */
	relay->chunking = client->extensions.chunking &&
	    client->extensions.pipelining;
	if (relay->chunking) {
		smtp_client_bdat(client, text->octets);
		return 1;
	}
	smtp_client_data(client);
	if (relay_await_reply(relay, error) < 0)
		return lost(relay, verdict);
	if (client->reply.code == 354)
		return 1;
	int result = pass_on(relay, verdict, error);
	if (result == 0 && relay_reply_class(relay) == 2) {
		relay_unexpected(relay, "DATA", error);
		return lost(relay, verdict);
	}
	/* It refused, and so its transaction may still be open; the verdict
	 * is in the buffer that the answer to RSET takes. */
	relay->reset_due = relay->account != NULL;
	return result;
}

/*
 * The reply to the RSET that went with a chunk, which has two purposes. After
 * a chunk that failed only RSET helps (RFC 3030 2). And no 354 has shown that
 * replies and commands are in step: were the verdict one reply too many, that
 * came before its time, then this is the verdict. What it says against a 2xx
 * is believed; a next hop that leaves without another word has said it.
 */
static int
confirm_verdict(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	struct error why;

	keep_verdict(relay, verdict);
	if (relay_await_reply(relay, &why) == 0 &&
	    relay_reply_class(relay) == 2)
		return 0;
	bool gone = !wire_mid_line(&relay->client.wire) &&
	    (relay->client.wire.eof || relay->conn.transport_errno != 0);
	if (gone || verdict->code / 100 != 2) {
		drop_connection(relay);
		return 0;
	}
	error_set(error, ERROR_SYSTEM, "%s took it, and then said something "
	    "else", relay->account->host);
	return lost(relay, verdict);
}

/* The end of the text, and the next hop's word on it. */
static int
finish_text(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	/* From here on the message may be the next hop's: SIGTERM does not
	 * end the wait for its word (RFC 1047). */
	relay->conn.finish = true;
	conn_set_timeout(&relay->conn, RELAY_FINAL_TIMEOUT);
	smtp_client_text_end(&relay->client);
	if (relay->chunking)
		smtp_client_rset(&relay->client);
	if (relay_await_reply(relay, error) < 0)
		return lost(relay, verdict);
	conn_set_timeout(&relay->conn, RELAY_COMMAND_TIMEOUT);
	int result = pass_on(relay, verdict, error);
	if (result == 0 && relay->chunking)
		result = confirm_verdict(relay, verdict, error);
	relay->conn.finish = false;
	return result;
}

int
relay_message(struct relay *relay, const struct relay_text *text,
    struct smtp_reply *verdict, struct error *error)
{
	if (relay->broken || relay->account == NULL) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		drop_connection(relay);
		relay->broken = false;
		return lost(relay, verdict);
	}
	relay->accepted = 0;
	if (text->has_8bit && !relay->client.extensions.eight_bit) {
		/* RFC 6152 3: not to be sent, and converting is not our
		 * business. */
		relay_reset(relay);
		*verdict = (struct smtp_reply){ 554, "5.6.3",
			SLICE("The next hop takes no 8-bit text") };
		return 0;
	}
	relay->mail_sent = false;
	int result = begin_text(relay, text, verdict, error);
	if (result <= 0)
		return result;
	switch (send_text(relay, text, error)) {
	case SENT:
		return finish_text(relay, verdict, error);
	case NOT_TAKEN:
		return early_verdict(relay, verdict, error);
	case NOT_READ:
		break;
	}
	/* Half a message, without its end: it is none. */
	drop_connection(relay);
	return trouble("4.3.0", "Cannot read the message back, try again "
	    "later", verdict);
}

void
relay_reset(struct relay *relay)
{
	relay->broken = false;
	relay->accepted = 0;
	if (relay->account == NULL || !relay->mail_sent)
		return;
	relay->mail_sent = false;
	relay->reset_due = true;
	if (reset_if_due(relay) < 0)
		drop_connection(relay);
}

void
relay_close(struct relay *relay)
{
	if (relay->account == NULL)
		return;
	/* RFC 5321 4.1.1.10, but nobody waits for the 221: everything that
	 * matters was answered. */
	smtp_client_quit(&relay->client);
	conn_set_timeout(&relay->conn, 5);
	close_connection(relay, &relay->client.wire);
}
