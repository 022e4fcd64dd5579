/*
 * smtp_client.c - commands out, replies in.
 *
 * A server may send what it likes: replies of any number of lines within a
 * limit, with and without enhanced codes. What is not a reply at all makes
 * the connection useless, for nobody knows any more what belongs to what.
 */
#include "protocol/smtp_client.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A command with its CRLF (RFC 5321 4.5.3.1.4). */
#define AUTH_LINE_MAX 512

void
smtp_client_init(struct smtp_client *client, char *in, size_t in_size,
    char *out, size_t out_size)
{
	assert(in_size >= SMTP_CLIENT_IN_MIN &&
	    out_size >= SMTP_CLIENT_OUT_MIN);
	*client = (struct smtp_client){ .why = "" };
	wire_init(&client->wire, in, in_size, out, out_size);
}

/* ---- replies ---- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
add_text(struct smtp_client *client, struct slice text)
{
	size_t room = sizeof(client->text) - client->text_len;

	/* Of a reply longer than any person reads, the rest is dropped. */
	if (client->lines > 1 && room > 0) {
		client->text[client->text_len++] = '\n';
		room--;
	}
	if (text.len > room)
		text.len = room;
	if (text.len > 0)
		memcpy(client->text + client->text_len, text.data, text.len);
	client->text_len += text.len;
}

enum line_outcome { LINE_MORE, LINE_LAST, LINE_BROKEN };

/* A word, up to a blank or a tab; "=" is what early drafts of AUTH had. */
static struct slice
cut_word(struct slice *rest)
{
	struct slice word = { rest->data, 0 };

	while (word.len < rest->len &&
	    memchr(" \t=", rest->data[word.len], 3) == NULL)
		word.len++;
	*rest = slice_skip(*rest, word.len + 1);
	return word;
}

/* RFC 5321 4.1.1.1: a line of the reply to EHLO. */
static void
take_keyword(struct smtp_extensions *extensions, struct slice line)
{
	struct slice rest = slice_trim(line);
	struct slice keyword = cut_word(&rest);
	const struct {
		struct slice name;
		bool *offered;
	} plain[] = {
		{ SLICE("PIPELINING"), &extensions->pipelining },
		{ SLICE("SIZE"), &extensions->size },
		{ SLICE("8BITMIME"), &extensions->eight_bit },
		{ SLICE("SMTPUTF8"), &extensions->utf8 },
		{ SLICE("DSN"), &extensions->dsn },
		{ SLICE("STARTTLS"), &extensions->starttls },
		{ SLICE("REQUIRETLS"), &extensions->requiretls },
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (slice_equal_nocase(keyword, plain[i].name))
			*plain[i].offered = true;
	if (slice_equal_nocase(keyword, SLICE("SIZE")) && !slice_to_number(
	    slice_trim(rest), UINT64_MAX, &extensions->size_max))
		extensions->size_max = 0;
	if (slice_equal_nocase(keyword, SLICE("AUTH")))
		while (rest.len > 0)
			extensions->auth |= 1u <<
			    sasl_client_find(cut_word(&rest));
	extensions->auth &= ~(1u << SASL_CLIENT_NONE);
}

static void
trace_reply(struct smtp_client *client, struct slice line)
{
	char code[] = "xxx (not shown)";

	if (client->secret) {
		for (size_t i = 0; i < 3 && i < line.len &&
		    is_digit(line.data[i]); i++)
			code[i] = line.data[i];
		line = slice_from(code);
	}
	wire_show_input(&client->wire, line);
}

/* One line of a reply: code, "-" or blank, perhaps an enhanced code. */
static enum line_outcome
take_reply_line(struct smtp_client *client, struct slice line)
{
	bool last = line.len == 3 || (line.len > 3 && line.data[3] == ' ');
	uint64_t code;

	trace_reply(client, line);
	if (line.len < 3 || !slice_to_number((struct slice){ line.data, 3 },
	    599, &code) || code < 200 || (!last && line.data[3] != '-'))
		return LINE_BROKEN;
	if (client->lines++ == 0) {
		client->reply.code = (unsigned)code;
		client->enhanced[0] = '\0';
		client->text_len = 0;
	} else if (client->reply.code != code ||
	    client->lines > SMTP_CLIENT_LINES_MAX) {
		return LINE_BROKEN;
	}
	add_text(client, slice_skip(line, 4));
	/* The first line has its name and a greeting. */
	if (client->hello && client->lines > 1 && code / 100 == 2)
		take_keyword(&client->extensions, slice_skip(line, 4));
	return last ? LINE_LAST : LINE_MORE;
}

/* The enhanced code, where all lines that have one have the same. */
static struct slice
common_enhanced_code(const struct smtp_client *client)
{
	struct slice rest = { client->text, client->text_len };
	struct slice common = { client->text, 0 };

	while (rest.len > 0) {
		struct slice line;

		slice_cut(rest, '\n', &line, &rest);
		line.len = smtp_reply_enhanced_len(line, client->reply.code);
		if (line.len == 0)
			continue;
		if (common.len > 0 && !slice_equal(common, line))
			return slice_from("");
		common = line;
	}
	return common;
}

/* Takes it out of the text. */
static void
split_enhanced_code(struct smtp_client *client)
{
	struct slice code = common_enhanced_code(client);
	struct slice rest = { client->text, client->text_len };
	char *out = client->text;
	bool more = true;

	if (code.len == 0 || code.len >= sizeof(client->enhanced))
		return;
	memcpy(client->enhanced, code.data, code.len);
	client->enhanced[code.len] = '\0';
	while (more) {
		struct slice line;

		more = slice_cut(rest, '\n', &line, &rest);
		if (smtp_reply_enhanced_len(line, client->reply.code) > 0)
			line = slice_skip(line, code.len + 1);
		memmove(out, line.data, line.len);
		out += line.len;
		if (more)
			*out++ = '\n';
	}
	client->text_len = (size_t)(out - client->text);
}

static enum smtp_client_event
broken(struct smtp_client *client, const char *why)
{
	client->why = why;
	return SMTP_CLIENT_BROKEN;
}

enum smtp_client_event
smtp_client_next(struct smtp_client *client)
{
	struct wire *wire = &client->wire;
	struct slice line;

	for (;;) {
		switch (wire_line(wire, SMTP_CLIENT_IN_MIN, &line)) {
		case WIRE_MORE:
			/* Not waiting for its end, which may never come. */
			if (wire->overlong)
				return broken(client, "over-long reply");
			if (wire->out.end > wire->out.start)
				return SMTP_CLIENT_WANT_IO;
			if (wire->eof)
				return broken(client,
				    "the next hop closed the connection");
			if (wire->timed_out)
				return broken(client,
				    "the next hop took too long");
			if (wire->stopping)
				return broken(client, "told to stop");
			return SMTP_CLIENT_WANT_IO;
		case WIRE_TOO_LONG:
			return broken(client, "over-long reply");
		case WIRE_LINE:
		case WIRE_BARE_LF:
			break;
		}
		switch (take_reply_line(client, line)) {
		case LINE_BROKEN:
			return broken(client, "malformed reply");
		case LINE_MORE:
			continue;
		case LINE_LAST:
			break;
		}
		client->lines = 0;
		client->hello = false;
		split_enhanced_code(client);
		client->reply.enhanced = client->enhanced;
		client->reply.text = (struct slice){ client->text,
			client->text_len };
		return SMTP_CLIENT_REPLY;
	}
}

/* ---- commands ---- */

/* Forgets what the reply to an earlier EHLO offered (RFC 3207 4.2). */
static void
forget_extensions(struct smtp_client *client, bool hello)
{
	client->extensions = (struct smtp_extensions){ .size = false };
	client->hello = hello;
}

void
smtp_client_ehlo(struct smtp_client *client, const char *hostname)
{
	forget_extensions(client, true);
	wire_format(&client->wire, "EHLO %s", hostname);
}

void
smtp_client_helo(struct smtp_client *client, const char *hostname)
{
	forget_extensions(client, false);
	wire_format(&client->wire, "HELO %s", hostname);
}

void
smtp_client_lhlo(struct smtp_client *client, const char *hostname)
{
	forget_extensions(client, true);
	wire_format(&client->wire, "LHLO %s", hostname);
}

void
smtp_client_starttls(struct smtp_client *client)
{
	wire_put_line(&client->wire, SLICE("STARTTLS"));
}

/* Sends a line with a secret; the transcript has shown in its place. */
static void
put_secret(struct smtp_client *client, struct slice line, const char *shown)
{
	struct wire *wire = &client->wire;
	struct buf *transcript = wire->transcript;

	client->secret = true;
	wire->transcript = NULL;
	wire_put_line(wire, line);
	wire->transcript = transcript;
	if (transcript == NULL ||
	    buf_room(transcript) < strlen(shown) + 3)
		return;
	buf_append(transcript, SLICE("< "));
	buf_append(transcript, slice_from(shown));
	buf_append(transcript, SLICE("\n"));
}

void
smtp_client_auth(struct smtp_client *client,
    enum sasl_client_mechanism mechanism, const struct sasl_client *who,
    unsigned *step)
{
	char line[AUTH_LINE_MAX + 1];
	char shown[64];
	size_t n = (size_t)snprintf(line, sizeof(line), "AUTH %s ",
	    sasl_client_name(mechanism));
	size_t len;

	/* An empty initial response would have to be sent as "=": it is left
	 * for the server's challenge. */
	*step = sasl_client_is_first(mechanism) && sasl_client_respond(who,
	    mechanism, 0, line + n, AUTH_LINE_MAX - 2 - n, &len) && len > 0;
	snprintf(shown, sizeof(shown), "%.*s%s", (int)n - 1, line,
	    *step == 1 ? " (SASL response)" : "");
	put_secret(client, (struct slice){ line, *step == 1 ? n + len
	    : n - 1 }, shown);
	explicit_bzero(line, sizeof(line));
}

bool
smtp_client_auth_respond(struct smtp_client *client,
    enum sasl_client_mechanism mechanism, const struct sasl_client *who,
    unsigned step)
{
	char response[SASL_CLIENT_RESPONSE_MAX];
	size_t len;
	bool made = sasl_client_respond(who, mechanism, step, response,
	    sizeof(response), &len);

	if (made)
		put_secret(client, (struct slice){ response, len },
		    "(SASL response)");
	explicit_bzero(response, sizeof(response));
	return made;
}

void
smtp_client_wipe(struct smtp_client *client)
{
	buf_wipe(&client->wire.out);
	if (!wire_mid_line(&client->wire))
		buf_wipe(&client->wire.in);
	explicit_bzero(client->text, sizeof(client->text));
	client->reply.text.len = 0;
}

void
smtp_client_mail(struct smtp_client *client, const struct envelope *envelope)
{
	const struct smtp_extensions *offered = &client->extensions;
	static const char *const rets[] = { "", " RET=FULL", " RET=HDRS" };
	char size[32] = "";
	bool envid = offered->dsn && envelope->envid.len > 0;

	client->secret = false;
	/* RFC 1870 6: what the client said; the header line we add is
	 * within what servers allow for. */
	if (offered->size && envelope->size > 0)
		snprintf(size, sizeof(size), " SIZE=%ju",
		    (uintmax_t)envelope->size);
	wire_format(&client->wire, "MAIL FROM:<%.*s>%s%s%s%s%s%s%.*s",
	    SLICE_ARG(envelope->reverse_path), size,
	    offered->eight_bit && !envelope->seven_bit ? " BODY=8BITMIME" : "",
	    offered->utf8 && envelope->utf8 ? " SMTPUTF8" : "",
	    offered->requiretls && envelope->require_tls ? " REQUIRETLS" : "",
	    offered->dsn ? rets[envelope->ret] : "", envid ? " ENVID=" : "",
	    envid ? (int)envelope->envid.len : 0, envelope->envid.data);
}

/* NOTIFY= (RFC 3461 4.1), "" where nothing was said. */
static void
format_notify(unsigned notify, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s%s%s%s%s",
	    notify != 0 ? " NOTIFY=" : "",
	    notify & ENVELOPE_NOTIFY_NEVER ? "NEVER" : "",
	    notify & ENVELOPE_NOTIFY_SUCCESS ? "SUCCESS" : "",
	    notify & ENVELOPE_NOTIFY_SUCCESS &&
	    notify & (ENVELOPE_NOTIFY_FAILURE | ENVELOPE_NOTIFY_DELAY)
	    ? "," : "",
	    notify & ENVELOPE_NOTIFY_FAILURE ? "FAILURE" : "",
	    notify & ENVELOPE_NOTIFY_FAILURE &&
	    notify & ENVELOPE_NOTIFY_DELAY ? "," : "",
	    notify & ENVELOPE_NOTIFY_DELAY ? "DELAY" : "");
}

void
smtp_client_rcpt(struct smtp_client *client,
    const struct envelope_recipient *recipient)
{
	bool dsn = client->extensions.dsn;
	bool orcpt = dsn && recipient->dsn.orcpt.len > 0;
	char notify[48];

	format_notify(dsn ? recipient->dsn.notify : 0, notify,
	    sizeof(notify));
	wire_format(&client->wire, "RCPT TO:<%.*s>%s%s%.*s",
	    SLICE_ARG(recipient->path), notify, orcpt ? " ORCPT=" : "",
	    orcpt ? (int)recipient->dsn.orcpt.len : 0,
	    recipient->dsn.orcpt.data);
}

void
smtp_client_data(struct smtp_client *client)
{
	wire_put_line(&client->wire, SLICE("DATA"));
	client->encoder = (struct dot_encoder){ .in_line = false };
}

void
smtp_client_rset(struct smtp_client *client)
{
	wire_put_line(&client->wire, SLICE("RSET"));
}

void
smtp_client_quit(struct smtp_client *client)
{
	wire_put_line(&client->wire, SLICE("QUIT"));
}

size_t
smtp_client_text(struct smtp_client *client, struct slice text)
{
	size_t room;
	size_t len = text.len;
	char *at = buf_reserve(&client->wire.out, &room);

	if (room < 2 + DOT_END_MAX)
		return 0;
	buf_commit(&client->wire.out, dot_encode(&client->encoder, &text, at,
	    room - DOT_END_MAX));
	return len - text.len;
}

void
smtp_client_text_end(struct smtp_client *client)
{
	size_t room;
	char *at = buf_reserve(&client->wire.out, &room);

	assert(room >= DOT_END_MAX);
	buf_commit(&client->wire.out, dot_encode_end(&client->encoder, at));
}
