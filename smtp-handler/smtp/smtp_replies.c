/*
 * smtp_replies.c - every reply, and how one becomes lines.
 *
 * RFC 5321 4.2 and 4.3.2 for the codes, RFC 3463 and 5248 for the enhanced
 * ones.
 */
#include "smtp/smtp_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "protocol/hidden.h"

#define LOGINS_MAX 3
#define BAD_COMMANDS_MAX 20

/* Ten thousand idle sessions of the library take ten megabytes. */
static_assert(sizeof(struct smtp) <= 1024, "a session is small");
static_assert(SMTP_REPLY_MAX + SMTP_REPLY_TEXT_MAX <= SMTP_OUT_MIN,
    "out must hold any reply, and a text for later");

const struct smtp_reply smtp_replies[] = {
	[REPLY_OK] = { 250, "2.0.0", SLICE("Ok") },
	[REPLY_SENDER_OK] = { 250, "2.1.0", SLICE("Ok") },
	[REPLY_RECIPIENT_OK] = { 250, "2.1.5", SLICE("Ok") },
	/* RFC 5321 4.2.5: no enhanced code with 3yz (RFC 2034 4). */
	[REPLY_TEXT_GO] = { 354, NULL,
	    SLICE("End data with <CR><LF>.<CR><LF>") },
	[REPLY_QUEUED] = { 250, "2.0.0", SLICE("Ok, kept") },
	[REPLY_LOGGED_IN] = { 235, "2.7.0", SLICE("Logged in") },
	[REPLY_TLS_GO] = { 220, "2.0.0", SLICE("Go ahead") },
	[REPLY_BYE] = { 221, "2.0.0", SLICE("Bye") },
	[REPLY_HELP] = { 214, "2.0.0",
	    SLICE("Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET "
	    "NOOP VRFY EXPN HELP QUIT\nSee RFC 5321") },
	[REPLY_HELP_LMTP] = { 214, "2.0.0",
	    SLICE("Commands: LHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP "
	    "VRFY EXPN HELP QUIT\nSee RFC 2033") },
	/* RFC 3030 2: a chunk, and more are to come. */
	[REPLY_CHUNK_TAKEN] = { 250, "2.0.0", SLICE("Ok, go on") },
	/* RFC 5321 3.5.3: cannot tell, but will take the mail and try. */
	[REPLY_VRFY] = { 252, "2.5.0",
	    SLICE("Cannot verify, send mail and see") },
	[REPLY_UNKNOWN_COMMAND] = { 500, "5.5.1", SLICE("Unknown command") },
	/* The rest may be what a web page had a browser send. */
	[REPLY_FOREIGN] = { 521, "5.7.0",
	    SLICE("This is a mail server, and that was no mail command") },
	[REPLY_BAD_OCTETS] = { 500, "5.5.2",
	    SLICE("Control characters in a command") },
	[REPLY_BARE_LF] = { 500, "5.5.2",
	    SLICE("A command ends in CRLF, not in LF alone") },
	[REPLY_LINE_TOO_LONG] = { 500, "5.5.2", SLICE("Line too long") },
	/* The answers to HELO and EHLO carry no enhanced code. */
	[REPLY_HELLO_SYNTAX] = { 501, NULL, SLICE("A host name is needed") },
	[REPLY_SYNTAX] = { 501, "5.5.4", SLICE("Wrong arguments") },
	[REPLY_MAIL_SYNTAX] = { 501, "5.5.4",
	    SLICE("Syntax: MAIL FROM:<address> [parameters]") },
	[REPLY_RCPT_SYNTAX] = { 501, "5.5.4",
	    SLICE("Syntax: RCPT TO:<address> [parameters]") },
	[REPLY_BAD_SENDER] = { 501, "5.1.7",
	    SLICE("Not an address: <name@domain> is expected, or <>") },
	[REPLY_BAD_RECIPIENT] = { 501, "5.1.3",
	    SLICE("Not an address: <name@domain> is expected") },
	[REPLY_NOT_ASCII] = { 553, "5.6.7",
	    SLICE("This address would need SMTPUTF8") },
	[REPLY_BAD_PARAMETER] = { 501, "5.5.4", SLICE("Wrong parameter") },
	[REPLY_UNKNOWN_PARAMETER] = { 555, "5.5.4",
	    SLICE("Unknown parameter") },
	[REPLY_NOT_IMPLEMENTED] = { 502, "5.5.1", SLICE("Not implemented") },
	[REPLY_HELLO_FIRST] = { 503, "5.5.1", SLICE("EHLO comes first") },
	[REPLY_LHLO_FIRST] = { 503, "5.5.1", SLICE("LHLO comes first") },
	[REPLY_NESTED_MAIL] = { 503, "5.5.1",
	    SLICE("There is a sender already") },
	[REPLY_MAIL_FIRST] = { 503, "5.5.1", SLICE("MAIL comes first") },
	[REPLY_RCPT_FIRST] = { 503, "5.5.1", SLICE("No recipient yet") },
	[REPLY_IN_TRANSACTION] = { 503, "5.5.1",
	    SLICE("AUTH comes before MAIL") },
	/* RFC 3030 2: DATA and BDAT do not mix, and after a chunk that
	 * failed nothing but RSET helps. */
	[REPLY_RSET_FIRST] = { 503, "5.5.1",
	    SLICE("Not after BDAT, RSET comes first") },
	[REPLY_LOGIN_FIRST] = { 530, "5.7.0", SLICE("Log in first") },
	[REPLY_TOO_BIG] = { 552, "5.3.4", SLICE("Message too big") },
	[REPLY_TOO_MANY_RECIPIENTS] = { 452, "4.5.3",
	    SLICE("Too many recipients, send the rest in another message") },
	[REPLY_TEXT_BARE_CR] = { 550, "5.6.0",
	    SLICE("A CR without LF in the message") },
	[REPLY_TEXT_BARE_LF] = { 550, "5.6.0",
	    SLICE("An LF without CR in the message") },
	[REPLY_SMUGGLING] = { 521, "5.5.2",
	    SLICE("A lone dot between line ends that are not CRLF") },
	[REPLY_CHUNK_SYNTAX] = { 501, "5.5.4",
	    SLICE("Syntax: BDAT octets [LAST]") },
	/* The octets of a chunk follow, and its size cannot be read. */
	[REPLY_CHUNK_ENDLESS] = { 521, "5.5.4",
	    SLICE("Invalid chunk size, closing") },
	/* A refused chunk is read to its end, unless it is too large. */
	[REPLY_CHUNK_TOO_LONG] = { 521, "5.3.4",
	    SLICE("No message may be that large, closing") },
	[REPLY_TLS_TWICE] = { 503, "5.5.1", SLICE("This is TLS already") },
	[REPLY_AUTH_TWICE] = { 503, "5.5.1", SLICE("Logged in already") },
	[REPLY_AUTH_NONE] = { 502, "5.5.1", SLICE("No logins here") },
	[REPLY_AUTH_NEEDS_TLS] = { 538, "5.7.11",
	    SLICE("Logins need TLS here") },
	[REPLY_AUTH_MECHANISM] = { 504, "5.5.4",
	    SLICE("No such mechanism, EHLO lists them") },
	[REPLY_AUTH_CANCELLED] = { 501, "5.7.0", SLICE("Cancelled") },
	[REPLY_AUTH_BASE64] = { 501, "5.5.2", SLICE("Not base64") },
	[REPLY_AUTH_MESSAGE] = { 501, "5.5.2", SLICE("Malformed response") },
	[REPLY_AUTH_IDENTITY] = { 535, "5.7.8",
	    SLICE("Authorization identity not permitted") },
	[REPLY_AUTH_TOO_LONG] = { 500, "5.5.6", SLICE("Response too long") },
	[REPLY_TOO_MANY_BAD] = { 421, "4.7.0",
	    SLICE("Too many bad commands") },
	[REPLY_TIMED_OUT] = { 421, "4.4.2", SLICE("Took too long, closing") },
	[REPLY_STOPPING] = { 421, "4.3.2", SLICE("Shutting down") },
};

/* One line of a reply: "250-2.1.0 text". */
static void
put_reply_line(struct smtp *smtp, const struct smtp_reply *reply,
    struct slice text, bool last)
{
	char line[SMTP_REPLY_TEXT_MAX + 20];
	const char *enhanced = reply->enhanced == NULL ||
	    hidden_has(smtp->options.hidden, SLICE("ENHANCEDSTATUSCODES"))
	    ? "" : reply->enhanced;
	size_t len = (size_t)snprintf(line, sizeof(line), "%03u%c%.10s%s",
	    reply->code, last ? ' ' : '-', enhanced,
	    enhanced[0] != '\0' ? " " : "");

	assert(len + text.len <= sizeof(line));
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];
		/* A next hop's text, or a hook's, is not to end the line. */
		line[len++] = c < 0x20 || c == 0x7F ? ' ' : (char)c;
	}
	wire_put_line(&smtp->wire, (struct slice){ line, len });
}

void
smtp_put_reply(struct smtp *smtp, const struct smtp_reply *reply)
{
	struct slice rest = reply->text;
	bool more;

	if (rest.len > SMTP_REPLY_TEXT_MAX)
		rest.len = SMTP_REPLY_TEXT_MAX;
	for (int lines = 1;; lines++) {
		struct slice line;

		more = slice_cut(rest, '\n', &line, &rest) &&
		    lines < SMTP_REPLY_LINES_MAX;
		put_reply_line(smtp, reply, line, !more);
		if (!more)
			break;
	}
	/* RFC 5321 3.8: after 421 the server closes. A 521 that is not our
	 * own may be about one recipient only. */
	if (reply->code == 421)
		smtp->state = SMTP_ENDED;
}

void
smtp_say(struct smtp *smtp, enum smtp_reply_id id)
{
	smtp->refused_with = &smtp_replies[id]; /* if it is a refusal */
	smtp_put_reply(smtp, &smtp_replies[id]);
	if (id == REPLY_SMUGGLING || id == REPLY_CHUNK_ENDLESS ||
	    id == REPLY_CHUNK_TOO_LONG || id == REPLY_FOREIGN)
		smtp->state = SMTP_ENDED;
	if (smtp->state == SMTP_ENDED && smtp_replies[id].code >= 400)
		smtp->closed_with = &smtp_replies[id];
}

enum smtp_reply_id
smtp_count_bad(struct smtp *smtp, enum smtp_reply_id id)
{
	return ++smtp->bad_commands >= BAD_COMMANDS_MAX ? REPLY_TOO_MANY_BAD
	                                                : id;
}

void
smtp_bad_command(struct smtp *smtp, enum smtp_reply_id id)
{
	smtp_say(smtp, smtp_count_bad(smtp, id));
}

/* RFC 2920 3.1: a client may send a whole transaction in one go. */
void
smtp_refuse_order(struct smtp *smtp, enum smtp_reply_id id)
{
	if (smtp->path_refused &&
	    (id == REPLY_MAIL_FIRST || id == REPLY_RCPT_FIRST))
		smtp_say(smtp, id);
	else
		smtp_bad_command(smtp, id);
}

struct smtp_reply
smtp_keep_reply(struct smtp *smtp, const struct smtp_reply *reply)
{
	struct slice text = reply->text;

	if (text.len > SMTP_REPLY_TEXT_MAX)
		text.len = SMTP_REPLY_TEXT_MAX;
	snprintf(smtp->refusal_enhanced, sizeof(smtp->refusal_enhanced),
	    "%s", reply->enhanced != NULL ? reply->enhanced : "");
	/* There is room: no text is taken without it for a reply. */
	const char *kept = buf_keep(&smtp->wire.out, text);
	assert(kept != NULL);
	return (struct smtp_reply){ reply->code, smtp->refusal_enhanced,
		{ kept, text.len } };
}

bool
smtp_put_next_verdict(struct smtp *smtp)
{
	if (smtp->verdicts == 0)
		return false;
	smtp->verdicts--;
	smtp_put_reply(smtp, &smtp->refusal);
	if (smtp->verdicts == 0)
		buf_forget(&smtp->wire.out);
	return true;
}

void
smtp_ask_reset(struct smtp *smtp, enum smtp_after_reset then)
{
	smtp->pending = SMTP_RESET;
	smtp->after_reset = then;
}

static void
forget_login(struct smtp *smtp)
{
	smtp->user = smtp->password = slice_from(NULL);
	sasl_wipe(&smtp->sasl, &smtp->wire);
}

void
smtp_end_login(struct smtp *smtp)
{
	smtp->in_sasl = false;
	buf_forget(&smtp->wire.out);
	forget_login(smtp);
	if (smtp->failed_logins >= LOGINS_MAX)
		smtp->state = SMTP_ENDED;
}
