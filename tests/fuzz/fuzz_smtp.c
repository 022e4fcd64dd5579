/*
 * fuzz_smtp.c - whole SMTP sessions.
 *
 * The input is a dialogue (dialogue.h). Each is held three times, dealt out
 * whole, octet by octet and by chance, with buffers of other sizes: not one
 * octet of what the core says, not one event and not one octet of a message
 * may differ. Then the dialogue is read once more, by a reader that knows
 * nothing of the core but what it said (smtp_reader.h).
 */
#include "dialogue.h"
#include "smtp_reader.h"

#define RECIPIENTS_MAX 3
#define LOGINS_MAX 3
#define MESSAGES_MAX 1024

/* Of dialogue->options. */
#define OPTION_LOGIN(options) ((options) & 3)
#define OPTION_LOGIN_REQUIRED 0x04
#define OPTION_STARTTLS 0x08
#define OPTION_SMALL 0x10
#define OPTION_LMTP 0x20
#define OPTION_BARE_LF(options) ((options) >> 8 & 3)
#define OPTION_END(options) ((options) >> 10 & 3)
#define OPTION_DSN 0x1000
#define OPTION_REQUIRETLS 0x2000

#define SMALL 40

static enum dot_bare_lf
bare_lf_of(const struct dialogue *dialogue)
{
	static const enum dot_bare_lf modes[] = { DOT_BARE_LF_REJECT,
		DOT_BARE_LF_NORMALIZE, DOT_BARE_LF_ACCEPT,
		DOT_BARE_LF_REJECT };

	return modes[OPTION_BARE_LF(dialogue->options)];
}

/* ---- the program's side ---- */

struct session {
	struct dialogue dialogue;
	struct smtp smtp;
	struct envelope_recipient recipients[RECIPIENTS_MAX];
	char text[ENVELOPE_TEXT_SIZE(RECIPIENTS_MAX)];
	unsigned failed_logins;

	bool in_transaction;
	bool in_text;
	struct text_verdict verdicts[MESSAGES_MAX];
	size_t n_verdicts;
	struct text message;
	/* For the reader. */
	struct text kept;
	size_t kept_lens[MESSAGES_MAX];
	size_t n_kept;
	struct text scripted;
};

static void
note(struct session *session, const char *what, struct slice a)
{
	struct text *events = &session->dialogue.events;

	text_format(events, "%s ", what);
	text_add(events, a);
	text_add_octet(events, '\n');
}

/* A reply of the program's, a hook's or a next hop's: it may hold anything.
 * 0 stands for an accepting answer in the usual words. */
static struct smtp_reply
make_reply(unsigned answer)
{
	static char lines[3 * SMTP_REPLY_TEXT_MAX];
	static const struct smtp_reply replies[] = {
		{ .code = 0 },
		{ 250, "2.1.5", SLICE("as you\nlike it") },
		{ 550, "5.7.1", SLICE("a\rb\tc\0d\x7F\n\r\n") },
		{ 451, NULL, SLICE("") },
		{ 421, "4.3.2", SLICE("gone") },
		{ 535, "5.7.8", SLICE("5.7.8 \xC3\xA4") },
		{ 452, "", { lines, sizeof(lines) } },
		{ 552, "5.2.2", { lines + 1, SMTP_REPLY_TEXT_MAX } },
	};

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = i % 3 == 0 ? '\n' : 'x';
	/* One line as long as all of them together may be. */
	if ((answer & 8) != 0)
		memset(lines, 'y', sizeof(lines));
	struct smtp_reply reply = replies[answer % COUNT(replies)];
	/* What ends the session where we say it ourselves. */
	if ((answer & 16) != 0 && reply.code >= 500)
		reply.code = 521;
	return reply;
}

/* Answers, and says whether that was a yes. */
static bool
answer(struct session *session)
{
	struct smtp_reply reply = make_reply(
	    dialogue_answer(&session->dialogue));
	bool kind = session->smtp.pending == SMTP_DATA_BEGIN;

	if (reply.code == 0 || (kind && reply.code == 250)) {
		smtp_accept(&session->smtp);
		return true;
	}
	size_t at = dialogue_said(&session->dialogue);
	text_add(&session->scripted, (struct slice){ (char *)&at,
	    sizeof(at) });
	smtp_reply(&session->smtp, &reply);
	return reply.code == 250;
}

/* Nothing that ends a line or a path where it is sent on. */
static void
check_path(struct slice path)
{
	bool quoted = false;

	CHECK(!slice_has_control(path) && slice_is_utf8(path));
	for (size_t i = 0; i < path.len; i++) {
		char c = path.data[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else
			CHECK(quoted || (c != '<' && c != '>' && c != ' '));
	}
	CHECK(!quoted);
}

/* A parameter's value, which is sent on as it is. */
static void
check_value(struct slice value)
{
	for (size_t i = 0; i < value.len; i++)
		CHECK((unsigned char)value.data[i] > 0x20 &&
		    value.data[i] != 0x7F && value.data[i] != '=');
}

static void
serve_auth(struct session *session)
{
	struct smtp *smtp = &session->smtp;

	CHECK(smtp->user.len > 0 && smtp->user.len <= SASL_SECRET_MAX);
	CHECK(!slice_has_control(smtp->user));
	CHECK(smtp->password.len <= SASL_TOKEN_MAX);
	CHECK(!session->in_transaction && !smtp->authenticated);
	CHECK(smtp->options.login == SMTP_LOGIN_OFFERED);
	CHECK(session->failed_logins < LOGINS_MAX);
	note(session, "user", smtp->user);
	note(session, "password", smtp->password);
	session->failed_logins += !answer(session);
	CHECK(smtp->user.len == 0 && smtp->password.len == 0);
	dialogue_check_forgotten(&session->dialogue);
}

static void
serve_mail(struct session *session)
{
	const struct smtp *smtp = &session->smtp;

	CHECK(!session->in_transaction && smtp->helo_len > 0);
	CHECK((session->dialogue.options & OPTION_LOGIN_REQUIRED) == 0 ||
	    smtp->authenticated);
	CHECK(smtp->envelope.n == 0);
	CHECK(smtp->envelope.size <= smtp->options.max_size);
	check_path(smtp->envelope.reverse_path);
	CHECK(smtp->envelope.utf8 ||
	    slice_is_ascii(smtp->envelope.reverse_path));
	check_value(smtp->envelope.envid);
	note(session, "mail", smtp->envelope.reverse_path);
	note(session, "envid", smtp->envelope.envid);
	text_format(&session->dialogue.events, "size %ju %d %d %d\n",
	    (uintmax_t)smtp->envelope.size, smtp->envelope.eight_bit,
	    smtp->envelope.utf8, smtp->envelope.ret);
	session->in_transaction = answer(session);
}

static void
serve_rcpt(struct session *session)
{
	const struct envelope *envelope = &session->smtp.envelope;
	size_t before = envelope->n;

	CHECK(session->in_transaction && !session->in_text);
	CHECK(before >= 1 && before <= RECIPIENTS_MAX);
	const struct envelope_recipient *recipient =
	    &envelope->recipients[before - 1];
	CHECK(recipient->path.len > 0);
	check_path(recipient->path);
	CHECK(envelope->utf8 || slice_is_ascii(recipient->path));
	check_value(recipient->dsn.orcpt);
	CHECK((recipient->dsn.notify & ENVELOPE_NOTIFY_NEVER) == 0 ||
	    recipient->dsn.notify == ENVELOPE_NOTIFY_NEVER);
	note(session, "rcpt", recipient->path);
	note(session, "orcpt", recipient->dsn.orcpt);
	text_format(&session->dialogue.events, "notify %u\n",
	    recipient->dsn.notify);
	note(session, "local", recipient->local);
	note(session, "domain", recipient->domain);
	bool accepted = answer(session);
	CHECK(envelope->n == (accepted ? before : before - 1));
}

static void
serve_data_begin(struct session *session)
{
	CHECK(session->in_transaction && !session->in_text);
	CHECK(session->smtp.envelope.n > 0);
	note(session, "data for", session->smtp.envelope.reverse_path);
	for (size_t i = 0; i < session->smtp.envelope.n; i++)
		note(session, "and",
		    session->smtp.envelope.recipients[i].path);
	struct text_verdict *verdict =
	    &session->verdicts[session->n_verdicts++];
	CHECK(session->n_verdicts < MESSAGES_MAX);
	unsigned code = make_reply(dialogue_next_answer(
	    &session->dialogue)).code;
	session->message.len = 0;
	session->in_text = answer(session);
	*verdict = (struct text_verdict){
		.begin_code = session->in_text ? 0 : code,
		.refuse_at = session->in_text
		    ? dialogue_answer(&session->dialogue) % 64 : 0,
	};
}

/* The disk is full after so many octets, wherever a piece ends. */
static void
serve_data(struct session *session)
{
	struct smtp *smtp = &session->smtp;
	struct slice text = smtp->text;
	size_t before = session->message.len;

	CHECK(session->in_text && text.len > 0);
	size_t refuse_at =
	    session->verdicts[session->n_verdicts - 1].refuse_at;
	text_add(&session->message, text);
	/* Of a message that was refused nothing comes any more. */
	CHECK(refuse_at == 0 || before < refuse_at);
	if (refuse_at == 0 || session->message.len < refuse_at) {
		smtp_accept(smtp);
		return;
	}
	const struct smtp_reply full = { 452, "4.3.1",
		SLICE("no room\r\n") };
	smtp_reply(smtp, &full);
}

static void
serve_data_end(struct session *session)
{
	const struct smtp *smtp = &session->smtp;
	struct slice message = text_slice(&session->message);
	uint64_t size = message.len;

	CHECK(session->in_text);
	for (size_t i = 0; i < message.len; i++)
		size += message.data[i] == '\n';
	CHECK(smtp->octets == size);
	CHECK(smtp->size <= size && smtp->size <= smtp->options.max_size);
	/* Text is whole lines, with LF ends and no CR. */
	CHECK(message.len == 0 || (message.data[message.len - 1] == '\n' &&
	    memchr(message.data, '\r', message.len) == NULL));
	CHECK(smtp->recipient < smtp->envelope.n);
	note(session, "end", message);
	if (smtp->recipient == 0) {
		CHECK(session->n_kept < MESSAGES_MAX);
		text_add(&session->kept, message);
		session->kept_lens[session->n_kept++] = session->kept.len;
	}
	answer(session);
	session->in_transaction = session->in_text = smtp->recipient > 0;
}

static void
serve_reset(struct session *session)
{
	CHECK(session->in_transaction);
	note(session, "reset", SLICE(""));
	smtp_accept(&session->smtp);
	CHECK(session->smtp.envelope.n == 0);
	session->in_transaction = session->in_text = false;
}

static void
serve(struct session *session, enum smtp_event event)
{
	struct dialogue *dialogue = &session->dialogue;

	switch (event) {
	case SMTP_WANT_IO:
		dialogue_pump(dialogue, OPTION_END(dialogue->options));
		break;
	case SMTP_STARTTLS:
		note(session, "starttls", SLICE(""));
		CHECK(!session->in_transaction);
		dialogue->fed = dialogue_taken(dialogue);
		smtp_accept(&session->smtp);
		dialogue_start_tls(dialogue);
		CHECK(smtp_next(&session->smtp) == SMTP_WANT_IO);
		smtp_tls_started(&session->smtp);
		dialogue_check_tls(dialogue);
		CHECK(session->smtp.envelope.n == 0);
		CHECK(session->smtp.helo_len == 0);
		break;
	case SMTP_AUTH:
		serve_auth(session);
		break;
	case SMTP_MAIL:
		serve_mail(session);
		break;
	case SMTP_RCPT:
		serve_rcpt(session);
		break;
	case SMTP_REFUSED:
		CHECK(session->smtp.refused_with->code >= 400);
		note(session, "refused", session->smtp.refused_line);
		smtp_accept(&session->smtp);
		break;
	case SMTP_DATA_BEGIN:
		serve_data_begin(session);
		break;
	case SMTP_DATA:
		serve_data(session);
		break;
	case SMTP_DATA_END:
		serve_data_end(session);
		break;
	case SMTP_RESET:
		serve_reset(session);
		break;
	case SMTP_CLOSED:
		break;
	}
}

static void
hold(struct session *session, enum fuzz_deal deal, size_t more)
{
	static const enum smtp_login logins[] = { SMTP_LOGIN_OFFERED,
		SMTP_LOGIN_NONE, SMTP_LOGIN_NEEDS_TLS, SMTP_LOGIN_OFFERED };
	struct dialogue *dialogue = &session->dialogue;
	unsigned options = dialogue->options;
	const struct smtp_options smtp_options = {
		.hostname = "mx.example",
		.max_size = (options & OPTION_SMALL) != 0 ? SMALL : 35882577,
		.login = logins[OPTION_LOGIN(options)],
		.mechanisms = SASL_USUAL | SASL_TOKENS,
		.login_required = (options & OPTION_LOGIN_REQUIRED) != 0,
		.starttls = (options & OPTION_STARTTLS) != 0,
		.bare_lf = bare_lf_of(dialogue),
		.max_recipients = 3,
		.dsn = (options & OPTION_DSN) != 0,
		.requiretls = (options & OPTION_REQUIRETLS) != 0,
		.lmtp = (options & OPTION_LMTP) != 0,
	};
	enum smtp_event event;

	dialogue_begin(dialogue, deal, SMTP_IN_MIN + more,
	    SMTP_OUT_MIN + more);
	smtp_init(&session->smtp, &smtp_options, dialogue->in,
	    dialogue->in_size, dialogue->out, dialogue->out_size);
	envelope_init(&session->smtp.envelope, session->recipients,
	    (options & OPTION_SMALL) != 0 ? 1 : RECIPIENTS_MAX,
	    session->text, sizeof(session->text));
	dialogue_connect(dialogue, &session->smtp.wire);
	while ((event = smtp_next(&session->smtp)) != SMTP_CLOSED) {
		/* It is the same event until it is answered. */
		CHECK(smtp_next(&session->smtp) == event);
		serve(session, event);
	}
	dialogue_flush(dialogue);
	CHECK(smtp_next(&session->smtp) == SMTP_CLOSED);
	CHECK(!session->in_transaction);
}

/* ---- the dialogue, read once more ---- */

static void
check_session(const struct session *session)
{
	struct smtp_reader reader = {
		.dialogue = &session->dialogue,
		.bare_lf = bare_lf_of(&session->dialogue),
		.max_size = session->smtp.options.max_size,
		.lmtp = session->smtp.options.lmtp,
		.verdicts = session->verdicts,
		.n_verdicts = session->n_verdicts,
		.kept = text_slice(&session->kept),
		.kept_lens = session->kept_lens,
		.n_kept = session->n_kept,
		.scripted = text_slice(&session->scripted),
	};

	reader_read(&reader);
	CHECK(reader.lines == session->smtp.wire.lines);
	dialogue_check_transcript(&session->dialogue,
	    (const struct slice[]){ SLICE("AUTH") }, 1);
}

static bool
holds_chunk(struct slice client)
{
	for (; client.len > 0; client = slice_skip(client, 1))
		if (slice_starts_with_nocase(client, SLICE("BDAT")))
			return true;
	return false;
}

static void
session_begin(struct session *session, const struct dialogue *read)
{
	session->dialogue = *read;
	session->failed_logins = 0;
	session->in_transaction = session->in_text = false;
	session->message = session->kept = session->scripted =
	    (struct text){ .data = NULL };
	session->n_verdicts = session->n_kept = 0;
}

static void
session_end(struct session *session)
{
	dialogue_end(&session->dialogue);
	text_free(&session->message);
	text_free(&session->kept);
	text_free(&session->scripted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum fuzz_deal deals[] = { DEAL_WHOLE, DEAL_OCTETS,
		DEAL_CHANCE };
	static struct session sessions[COUNT(deals)];
	struct text client = { .data = NULL };
	struct dialogue read;

	dialogue_read(&read, fuzz_slice(data, size), &client);
	/* In a chunk a line may look like a login and be none. */
	read.may_hold_text = holds_chunk(read.client);
	for (size_t i = 0; i < COUNT(deals); i++) {
		struct dialogue *first = &sessions[0].dialogue;
		struct dialogue *dialogue = &sessions[i].dialogue;

		session_begin(&sessions[i], &read);
		hold(&sessions[i], deals[i], i == 0 ? DIALOGUE_MAX : i - 1);
		CHECK_SAME(text_slice(&dialogue->sent),
		    text_slice(&first->sent));
		CHECK_SAME(text_slice(&dialogue->events),
		    text_slice(&first->events));
		CHECK_SAME(text_slice(&dialogue->transcript),
		    text_slice(&first->transcript));
	}
	check_session(&sessions[0]);
	for (size_t i = 0; i < COUNT(deals); i++)
		session_end(&sessions[i]);
	text_free(&client);
	return 0;
}
