/*
 * smtp.c - the SMTP machine: lines and text in, events out, answers.
 *
 * No command is taken unless out has room for the longest reply. What a line
 * says is smtp_commands.c's; in message text, which is smtp_text.c's, no
 * command is looked for at all.
 */
#include "smtp/smtp_private.h"

#include <assert.h>
#include <string.h>

#include "protocol/foreign.h"

void
smtp_init(struct smtp *smtp, const struct smtp_options *options,
    char *in, size_t in_size, char *out, size_t out_size)
{
	*smtp = (struct smtp){ .options = *options, .state = SMTP_START };
	if (smtp->options.mechanisms == 0)
		smtp->options.mechanisms = SASL_USUAL;
	if (in != NULL)
		smtp_lend(smtp, in, in_size, out, out_size);
}

void
smtp_lend(struct smtp *smtp, char *in, size_t in_size, char *out,
    size_t out_size)
{
	assert(in_size >= SMTP_IN_MIN && out_size >= SMTP_OUT_MIN);
	wire_lend(&smtp->wire, in, in_size, out, out_size);
}

void
smtp_refuse_session(struct smtp *smtp, const struct smtp_reply *reply)
{
	assert(smtp->state == SMTP_START);
	smtp_put_reply(smtp, reply);
	smtp->state = SMTP_ENDED;
}

/* ---- what comes in ---- */

static bool
begins_with_verb(struct slice head, struct slice verb)
{
	return slice_starts_with_nocase(head, verb) &&
	    (head.data[verb.len] == ' ' || head.data[verb.len] == '\t');
}

/* A line over the limit, which began so. */
static enum smtp_reply_id
too_long(const struct smtp *smtp, struct slice head)
{
	if (smtp->in_sasl || begins_with_verb(head, SLICE("AUTH")))
		return REPLY_AUTH_TOO_LONG;
	if (foreign_is_request(head))
		return REPLY_FOREIGN;
	return begins_with_verb(head, SLICE("BDAT")) ? REPLY_CHUNK_ENDLESS
	                                             : REPLY_LINE_TOO_LONG;
}

static void
bad_line(struct smtp *smtp, enum smtp_reply_id id)
{
	wire_show_input(&smtp->wire, SLICE("(malformed line)"));
	smtp_bad_command(smtp, id);
	/* Half a SASL response, perhaps: the login is over, and overwritten. */
	smtp_end_login(smtp);
}

/* Takes one line, if there is a whole one. */
static bool
take_line(struct smtp *smtp)
{
	struct slice line, challenge;
	enum smtp_reply_id wrong = REPLY_NONE;

	switch (wire_line(&smtp->wire, SASL_LINE_MAX, &line)) {
	case WIRE_MORE:
		return false;
	case WIRE_TOO_LONG:
		bad_line(smtp, too_long(smtp, line));
		return true;
	case WIRE_BARE_LF:
		if (smtp->options.bare_lf == DOT_BARE_LF_REJECT)
			wrong = REPLY_BARE_LF;
		break;
	case WIRE_LINE:
		break;
	}
	if (smtp->in_sasl && wrong != REPLY_NONE) {
		bad_line(smtp, wrong);
	} else if (smtp->in_sasl) {
		wire_show_input(&smtp->wire, SLICE("(SASL response)"));
		enum sasl_outcome outcome = sasl_server_take(&smtp->sasl,
		    &smtp->wire, line, &challenge);
		smtp_sasl_step(smtp, outcome, challenge);
	} else {
		smtp_take_command(smtp, line, wrong);
	}
	return true;
}

static void
take_end(struct smtp *smtp)
{
	if (smtp->state == SMTP_HANDSHAKE)
		; /* the peer expects no word in clear text */
	else if (smtp->wire.timed_out)
		smtp_say(smtp, REPLY_TIMED_OUT);
	else if (smtp->wire.stopping)
		smtp_say(smtp, REPLY_STOPPING);
	/* RFC 5321 4.1.1.5: what was not ended was not accepted. */
	smtp->state = SMTP_ENDED;
}

static bool
take_input(struct smtp *smtp)
{
	switch (smtp->state) {
	case SMTP_TEXT:
		return smtp_take_text(smtp);
	case SMTP_CHUNK:
		return smtp_take_chunk(smtp);
	case SMTP_SKIP:
		return smtp_skip_chunk(smtp);
	case SMTP_HANDSHAKE:
		/* RFC 3207 4.2: what somebody puts between the two in clear
		 * text is not to be taken for the peer's (CVE-2011-0411). */
		return false;
	default:
		return take_line(smtp);
	}
}

/* The last things that happen: SMTP_RESET where it is due. */
static enum smtp_event
end_session(struct smtp *smtp)
{
	smtp->ended = true;
	if (!smtp->in_transaction)
		return SMTP_CLOSED;
	smtp_ask_reset(smtp, SMTP_AFTER_END);
	return SMTP_RESET;
}

enum smtp_event
smtp_next(struct smtp *smtp)
{
	if (smtp->state == SMTP_START) {
		const char *mark = smtp->options.mark;

		wire_format(&smtp->wire, "220 %s %s ready%s%s",
		    smtp->options.hostname,
		    smtp->options.lmtp ? "LMTP" : "ESMTP",
		    mark != NULL ? " " : "", mark != NULL ? mark : "");
		smtp->state = SMTP_COLD;
	}
	for (;;) {
		if (smtp->pending != SMTP_WANT_IO)
			return smtp->pending;
		if (smtp->state == SMTP_ENDED)
			return end_session(smtp);
		if (buf_room(&smtp->wire.out) < SMTP_REPLY_MAX)
			return SMTP_WANT_IO;
		if (smtp_put_next_verdict(smtp) || take_input(smtp))
			continue;
		if (smtp->wire.out.end > smtp->wire.out.start)
			return SMTP_WANT_IO;
		if (!smtp->wire.eof && !smtp->wire.timed_out &&
		    !smtp->wire.stopping)
			return SMTP_WANT_IO;
		take_end(smtp);
	}
}

/* ---- answers ---- */

static void
end_transaction(struct smtp *smtp)
{
	smtp->state = SMTP_READY;
	smtp->in_transaction = false;
	smtp->chunked = smtp->path_refused = smtp->refused = false;
	smtp->size = smtp->octets = 0;
	smtp->recipient = 0;
	envelope_reset(&smtp->envelope);
}

static void
answer_end(struct smtp *smtp)
{
	/* RFC 2033 4.2: of the recipients one is asked about after the other,
	 * as there is room for the replies: the text has ended, and its end
	 * is met again. */
	if (smtp->options.lmtp && smtp->state != SMTP_ENDED &&
	    smtp->recipient + 1 < smtp->envelope.n)
		smtp->recipient++;
	else
		end_transaction(smtp);
}

static void
answer_auth(struct smtp *smtp, bool accepted)
{
	smtp->authenticated = accepted;
	smtp->failed_logins += !accepted;
	smtp_end_login(smtp);
}

/*
 * RFC 7628 3.2.2: a token is refused by a challenge first, and the reply comes
 * when the client has answered that. False: it was a password; or nobody knows
 * now (4xx), and a client that heard of a bad token would throw away a good
 * one.
 */
static bool
refuse_token(struct smtp *smtp, const struct smtp_reply *reply)
{
	struct slice challenge;

	if (reply->code / 100 == 4 ||
	    !sasl_server_refuse(&smtp->sasl, &smtp->wire, &challenge))
		return false;
	smtp->user = smtp->password = slice_from(NULL);
	smtp->failed_logins++;
	smtp->refusal = smtp_keep_reply(smtp, reply);
	smtp->pending = SMTP_WANT_IO;
	smtp->in_sasl = true;
	wire_format(&smtp->wire, "334 %.*s", SLICE_ARG(challenge));
	return true;
}

static void
answer_reset(struct smtp *smtp)
{
	size_t recipients = smtp->envelope.n;
	bool ended = smtp->state == SMTP_ENDED;

	end_transaction(smtp);
	switch (smtp->after_reset) {
	case SMTP_AFTER_RSET:
		smtp_say(smtp, REPLY_OK);
		break;
	case SMTP_AFTER_HELLO:
		smtp_put_hello(smtp);
		break;
	case SMTP_AFTER_STARTTLS:
		smtp->pending = SMTP_STARTTLS;
		break;
	case SMTP_AFTER_CHUNK:
		/* RFC 3030 2: the client has yet to say RSET; and only the
		 * end of the last chunk ends a message. */
		smtp->state = SMTP_FAILED;
		if (!smtp->chunk_last)
			recipients = 1;
		/* fallthrough */
	case SMTP_AFTER_REFUSAL:
		/* 421 is about the session, not about a recipient. */
		smtp->verdicts = smtp->options.lmtp &&
		    smtp->refusal.code != 421 ? recipients : 1;
		break;
	case SMTP_AFTER_END:
		break;
	}
	if (ended)
		smtp->state = SMTP_ENDED;
}

void
smtp_tls_started(struct smtp *smtp)
{
	wire_discard_input(&smtp->wire);
	smtp->tls_started = true;
	smtp->state = SMTP_COLD;
	smtp->helo_len = 0;
	smtp->esmtp = smtp->authenticated = smtp->path_refused = false;
	if (smtp->options.login == SMTP_LOGIN_NEEDS_TLS)
		smtp->options.login = SMTP_LOGIN_OFFERED;
}

void
smtp_drop(struct smtp *smtp)
{
	if (smtp->pending == SMTP_AUTH)
		answer_auth(smtp, false);
	/* LMTP: some recipients have had their reply, so this is no reset. */
	if (smtp->recipient > 0)
		end_transaction(smtp);
	smtp->pending = SMTP_WANT_IO;
	smtp->state = SMTP_ENDED;
}

/* What an answer to an event changes, beside what is said. */
static void
answered(struct smtp *smtp, enum smtp_event event, bool accepted)
{
	smtp->pending = SMTP_WANT_IO;
	switch (event) {
	case SMTP_AUTH:
		answer_auth(smtp, accepted);
		break;
	case SMTP_MAIL:
		smtp->path_refused = !accepted;
		smtp->in_transaction = accepted;
		if (accepted)
			smtp->state = SMTP_SENDER;
		break;
	case SMTP_RCPT:
		smtp->path_refused |= !accepted;
		if (accepted)
			smtp->state = SMTP_RECIPIENTS;
		else
			envelope_drop_recipient(&smtp->envelope);
		break;
	case SMTP_DATA_BEGIN:
		if (accepted)
			smtp_begin_text(smtp);
		break;
	case SMTP_DATA_END:
		answer_end(smtp);
		/* A client that sends mail may make 20 more mistakes. */
		if (accepted)
			smtp->bad_commands = 0;
		break;
	case SMTP_WANT_IO:
	case SMTP_STARTTLS:
	case SMTP_REFUSED:
	case SMTP_DATA:
	case SMTP_RESET:
	case SMTP_CLOSED:
		break;
	}
}

void
smtp_accept(struct smtp *smtp)
{
	enum smtp_event event = smtp->pending;

	answered(smtp, event, true);
	switch (event) {
	case SMTP_STARTTLS:
		smtp_say(smtp, REPLY_TLS_GO);
		smtp->state = SMTP_HANDSHAKE;
		wire_discard_input(&smtp->wire);
		break;
	case SMTP_AUTH:
		smtp_say(smtp, REPLY_LOGGED_IN);
		break;
	case SMTP_MAIL:
		smtp_say(smtp, REPLY_SENDER_OK);
		break;
	case SMTP_RCPT:
		smtp_say(smtp, REPLY_RECIPIENT_OK);
		break;
	case SMTP_DATA_BEGIN:
		if (!smtp->chunked)
			smtp_say(smtp, REPLY_TEXT_GO);
		break;
	case SMTP_DATA_END:
		smtp_say(smtp, REPLY_QUEUED);
		break;
	case SMTP_RESET:
		answer_reset(smtp);
		break;
	case SMTP_WANT_IO:
	case SMTP_REFUSED:
	case SMTP_DATA:
	case SMTP_CLOSED:
		break;
	}
}

/* The client is still sending: it hears this at the end. */
static void
reply_to_text(struct smtp *smtp, const struct smtp_reply *reply,
    bool accepted)
{
	if (smtp->pending == SMTP_DATA_BEGIN)
		smtp_begin_text(smtp);
	smtp->pending = SMTP_WANT_IO;
	if (!accepted) {
		const struct smtp_reply kept = smtp_keep_reply(smtp, reply);

		smtp_refuse_text(smtp, &kept);
	}
}

void
smtp_reply(struct smtp *smtp, const struct smtp_reply *reply)
{
	enum smtp_event event = smtp->pending;
	bool accepted = reply->code >= 200 && reply->code <= 299;

	assert(event != SMTP_WANT_IO && event != SMTP_RESET &&
	    event != SMTP_REFUSED);
	assert(!accepted || event != SMTP_DATA_BEGIN);
	if (event == SMTP_DATA ||
	    (event == SMTP_DATA_BEGIN && smtp->chunked)) {
		reply_to_text(smtp, reply, accepted);
		return;
	}
	if (event == SMTP_AUTH && !accepted && refuse_token(smtp, reply))
		return;
	smtp_put_reply(smtp, reply);
	/* In this order: the reply may have ended the session. */
	enum smtp_state state = smtp->state;
	answered(smtp, event, accepted);
	if (state == SMTP_ENDED)
		smtp->state = SMTP_ENDED;
}
