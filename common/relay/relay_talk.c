/*
 * relay_talk.c - replies of the next hop, and what the client is told.
 *
 * Whatever goes wrong here costs the connection: one that is out of step, or
 * about to go, is never used again.
 */
#include "relay/relay_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/clock.h"
#include "system/process.h"

/* ---- replies ---- */

/* What the next hop said and nobody asked for is often why it left. Not where
 * a secret may be in it. */
static void
add_farewell(struct relay *relay, struct error *error)
{
	struct slice line, rest;
	size_t len = strlen(error->text);

	slice_cut(buf_contents(&relay->client.wire.in), '\n', &line, &rest);
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (line.len > 0 && !relay->client.secret)
		snprintf(error->text + len, sizeof(error->text) - len,
		    ": %.*s", SLICE_ARG(line));
}

int
relay_expect_silence(struct relay *relay, struct error *error)
{
	struct wire *wire = &relay->client.wire;
	const char *host = relay->account->hop.host;
	struct error why;

	if (conn_read_ready(&relay->conn, wire, &why) < 0)
		error_set(error, ERROR_SYSTEM, "%s: %.200s", host, why.text);
	else if (wire_mid_line(wire))
		error_set(error, ERROR_SYSTEM, "%s said something before its "
		    "turn", host);
	else if (wire->eof)
		error_set(error, ERROR_SYSTEM, "%s closed the connection",
		    host);
	else
		return 0;
	add_farewell(relay, error);
	return -1;
}

static int
await(struct relay *relay, struct error *error)
{
	struct smtp_client *client = &relay->client;
	const char *host = relay->account->hop.host;
	struct error why;

	/* What is there already is no reply to what goes out now, whoever
	 * said it; and nothing may stay in out to be said later, perhaps
	 * under TLS. */
	if (client->wire.out.end > client->wire.out.start &&
	    relay_expect_silence(relay, error) < 0)
		return -1;
	for (;;) {
		switch (smtp_client_next(client)) {
		case SMTP_CLIENT_REPLY:
			return 0;
		case SMTP_CLIENT_WANT_IO:
			if (conn_pump(&relay->conn, &client->wire, &why) == 0)
				break;
			error_set(error, ERROR_SYSTEM, "%s: %.200s", host,
			    why.text);
			conn_read_ready(&relay->conn, &client->wire, &why);
			add_farewell(relay, error);
			return -1;
		case SMTP_CLIENT_BROKEN:
			error_set(error, ERROR_SYSTEM, "%s: %s", host,
			    client->why);
			add_farewell(relay, error);
			return -1;
		}
	}
}

int
relay_await_within(struct relay *relay, unsigned seconds, struct error *error)
{
	struct conn *conn = &relay->conn;

	conn_set_timeout(conn, seconds);
	conn->hard_deadline = clock_now() + (int64_t)seconds * 1000;
	if (relay->open_by != 0 && relay->open_by < conn->hard_deadline)
		conn->hard_deadline = relay->open_by;
	int result = await(relay, error);
	conn->hard_deadline = 0;
	return result;
}

int
relay_await_reply(struct relay *relay, struct error *error)
{
	return relay_await_within(relay, relay->limits.command, error);
}

unsigned
relay_reply_class(const struct relay *relay)
{
	return relay->client.reply.code / 100;
}

int
relay_unexpected(struct relay *relay, const char *what, struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;

	return error_set(error, ERROR_SYSTEM, "%s answered %s with %u %s %.*s",
	    relay->account->hop.host, what, reply->code, reply->enhanced,
	    SLICE_ARG(reply->text));
}

/* ---- verdicts ---- */

int
relay_trouble(const char *enhanced, const char *text,
    struct smtp_reply *verdict)
{
	*verdict = (struct smtp_reply){ 451, enhanced, slice_from(text) };
	/* It is not the next hop that ends this. */
	if (process_stop_requested())
		*verdict = (struct smtp_reply){ 421, "4.3.2",
			SLICE("Shutting down") };
	return -1;
}

int
relay_lost(struct relay *relay, struct smtp_reply *verdict)
{
	relay_drop(relay, NULL);
	return relay_trouble("4.4.2", "The next hop cannot be reached now, "
	    "try again later", verdict);
}

/* The enhanced code where a reply is about our session there; else NULL. */
static const char *
about_session(unsigned code, bool to_text)
{
	switch (code) {
	case 421: /* closing */
		return "4.4.2";
	case 503: /* out of step */
		return "4.4.0";
	case 530: /* wants a login */
	case 534: /* or another one (RFC 4954 6) */
	case 535:
	case 538: /* or TLS before it */
		return "4.7.0";
	case 432: /* the same for now; Postfix says 454 to who may not relay */
	case 454:
		return to_text ? NULL : "4.7.0";
	default:
		return NULL;
	}
}

int
relay_pass_on(struct relay *relay, bool to_text, struct smtp_reply *verdict,
    struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;
	static const char *const classes[] = { "2.0.0", "4.0.0", "5.0.0" };
	const char *enhanced = about_session(reply->code, to_text);

	*verdict = *reply;
	if (enhanced != NULL) {
		error_set(error, ERROR_SYSTEM, "%s answered %u %s %.*s",
		    relay->account->hop.host, reply->code, reply->enhanced,
		    SLICE_ARG(reply->text));
		/* About one recipient of several, perhaps: the others have
		 * been accepted. */
		if (!relay->accepted ||
		    (reply->code != 432 && reply->code != 454))
			relay_drop(relay, NULL);
		return relay_trouble(enhanced, "The next hop does not take "
		    "mail from here now, try again later", verdict);
	}
	if (reply->code < 400 && reply->code > 299) {
		error_set(error, ERROR_SYSTEM, "%s answered %u out of place",
		    relay->account->hop.host, reply->code);
		return relay_lost(relay, verdict);
	}
	if (reply->enhanced[0] == '\0')
		verdict->enhanced = classes[reply->code / 100 == 2 ? 0
		    : reply->code / 100 == 4 ? 1 : 2];
	return 0;
}

void
relay_keep_verdict(struct relay *relay, struct smtp_reply *verdict)
{
	memcpy(relay->kept_text, verdict->text.data, verdict->text.len);
	snprintf(relay->kept_enhanced, sizeof(relay->kept_enhanced), "%s",
	    verdict->enhanced);
	verdict->text.data = relay->kept_text;
	verdict->enhanced = relay->kept_enhanced;
	relay->kept = *verdict;
}

/* ---- the end ---- */

/* Did the next hop end the connection, or say that it does? */
static bool
has_left(const struct relay *relay)
{
	const struct smtp_client *client = &relay->client;

	return client->wire.eof || relay->conn.transport.error != 0 ||
	    client->reply.code == 421 ||
	    slice_starts_with(buf_contents(&client->wire.in), SLICE("421"));
}

void
relay_drop(struct relay *relay, struct wire *final_command)
{
	bool left = relay->storage != NULL && has_left(relay);

	relay_show(relay);
	conn_close(&relay->conn, final_command, false);
	free(relay->storage);
	relay->storage = NULL;
	buf_init(&relay->dialogue, NULL, 0);
	/* The client was told that these recipients are accepted. A next hop
	 * that closed the connection, as many do when it is idle, may be told
	 * them again (relay_resume.c); one that is out of step or silent would
	 * be so again. */
	if (relay->account != NULL && relay->accepted) {
		relay->lost = left ? relay->account : NULL;
		relay->broken = !left;
	}
	relay->account = NULL;
	relay->mail_sent = false;
	relay->reset_due = false;
}

void
relay_show(struct relay *relay)
{
	struct slice lines = buf_contents(&relay->dialogue);
	struct slice line, rest = lines;

	while (relay->transcript != NULL && rest.len > 0) {
		slice_cut(rest, '\n', &line, &rest);
		if (buf_room(relay->transcript) < line.len + 4)
			break;
		buf_append(relay->transcript, SLICE("hop"));
		buf_append(relay->transcript, line);
		buf_append(relay->transcript, SLICE("\n"));
	}
	buf_consume(&relay->dialogue, lines.len);
}
