/*
 * fuzz_smtp.c - whole SMTP sessions.
 *
 * The input is a dialogue (dialogue.h). Each is held three times, dealt out
 * whole, octet by octet and by chance, with buffers of other sizes: not one
 * octet of what the core says, not one event and not one octet of a message
 * may differ. Then the dialogue is read once more, by a reader that knows
 * nothing of the core but what it said: it finds the commands and the
 * messages' texts by itself, so that nothing can be smuggled past both, and
 * every command has the one reply that it may have.
 */
#include "dialogue.h"

#include "smtp.h"

#define RECIPIENTS_MAX 3
#define LOGINS_MAX 3
#define MESSAGES_MAX 1024

/* Of dialogue->options. */
#define OPTION_LOGIN(options) ((options) & 3)
#define OPTION_LOGIN_REQUIRED 0x04
#define OPTION_STARTTLS 0x08
#define OPTION_SMALL 0x10
#define OPTION_BARE_LF(options) ((options) >> 8 & 3)
#define OPTION_END(options) ((options) >> 10 & 3)

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
	/* Of each text: after so many octets it is refused; 0: never. */
	size_t refuse_at[MESSAGES_MAX];
	size_t n_texts;
	struct text message;
	/* All that were kept, one after the other. */
	struct text kept;
	size_t kept_lens[MESSAGES_MAX];
	size_t n_kept;
	struct text scripted; /* where such replies begin, a size_t each */
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
	return replies[answer % COUNT(replies)];
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

	CHECK(!slice_has_control(path));
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

static void
serve_auth(struct session *session)
{
	struct smtp *smtp = &session->smtp;

	CHECK(smtp->user.len > 0 && smtp->user.len <= SASL_SECRET_MAX);
	CHECK(!slice_has_control(smtp->user));
	CHECK(smtp->password.len <= SASL_SECRET_MAX);
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

	CHECK(!session->in_transaction && smtp->helo[0] != '\0');
	CHECK((session->dialogue.options & OPTION_LOGIN_REQUIRED) == 0 ||
	    smtp->authenticated);
	CHECK(smtp->envelope.n == 0);
	CHECK(smtp->envelope.size <= smtp->options.max_size);
	check_path(smtp->envelope.reverse_path);
	note(session, "mail", smtp->envelope.reverse_path);
	text_format(&session->dialogue.events, "size %ju %d\n",
	    (uintmax_t)smtp->envelope.size, smtp->envelope.eight_bit);
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
	note(session, "rcpt", recipient->path);
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
	session->in_text = answer(session);
	session->message.len = 0;
	if (!session->in_text)
		return;
	CHECK(session->n_texts < MESSAGES_MAX);
	session->refuse_at[session->n_texts++] =
	    dialogue_answer(&session->dialogue) % 64;
}

/* The disk is full after so many octets, wherever a piece ends. */
static void
serve_data(struct session *session)
{
	struct smtp *smtp = &session->smtp;
	struct slice text = smtp->text;
	size_t before = session->message.len;

	CHECK(session->in_text && text.len > 0);
	size_t refuse_at = session->refuse_at[session->n_texts - 1];
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
	CHECK(smtp->size == size && size <= smtp->options.max_size);
	/* Text is whole lines, with LF ends and no CR. */
	CHECK(message.len == 0 || (message.data[message.len - 1] == '\n' &&
	    memchr(message.data, '\r', message.len) == NULL));
	note(session, "end", message);
	CHECK(session->n_kept < MESSAGES_MAX);
	text_add(&session->kept, message);
	session->kept_lens[session->n_kept++] = message.len;
	answer(session);
	session->in_transaction = session->in_text = false;
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
		smtp_accept(&session->smtp);
		dialogue_start_tls(dialogue);
		smtp_tls_started(&session->smtp);
		session->in_transaction = false;
		CHECK(session->smtp.envelope.n == 0);
		CHECK(session->smtp.helo[0] == '\0');
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
		.login_required = (options & OPTION_LOGIN_REQUIRED) != 0,
		.starttls = (options & OPTION_STARTTLS) != 0,
		.bare_lf = bare_lf_of(dialogue),
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
}

/* ---- the dialogue, read once more ---- */

struct reader {
	const struct session *session;
	struct slice client; /* what was not answered yet */
	struct slice sent;
	enum dot_bare_lf bare_lf;
	size_t texts;     /* read so far */
	size_t kept;      /* of them kept */
	size_t kept_at;   /* octets of those */
	unsigned lines;
	bool in_sasl;
	bool closed;      /* there can be nothing more */
};

struct reply {
	unsigned code;
	bool enhanced; /* all of its lines have such a code */
	bool scripted; /* the program's: it may be anything */
};

/* "2.1.5 ", of the class of the code (RFC 2034 section 4). */
static bool
has_enhanced(struct slice text, char class)
{
	struct slice word, rest;
	size_t dots = 0;

	slice_cut(text, ' ', &word, &rest);
	if (word.len < 5 || word.data[0] != class || word.data[1] != '.' ||
	    word.data[word.len - 1] == '.')
		return false;
	for (size_t i = 0; i < word.len; i++) {
		dots += word.data[i] == '.';
		if (word.data[i] != '.' &&
		    (word.data[i] < '0' || word.data[i] > '9'))
			return false;
	}
	return dots == 2;
}

static bool
is_scripted(const struct session *session, size_t at)
{
	struct slice offsets = text_slice(&session->scripted);

	for (; offsets.len > 0; offsets = slice_skip(offsets, sizeof(at)))
		if (memcmp(offsets.data, &at, sizeof(at)) == 0)
			return true;
	return false;
}

/* RFC 5321 4.2: every line has the code, and the last one a blank after
 * it. */
static struct reply
read_reply(struct reader *reader)
{
	struct reply reply = { .code = 0, .enhanced = true };
	size_t at = reader->session->dialogue.sent.len - reader->sent.len;
	struct slice line;

	reply.scripted = is_scripted(reader->session, at);
	do {
		line = dialogue_reply_line(&reader->sent);
		CHECK(line.len >= 4);
		CHECK(line.data[0] >= '2' && line.data[0] <= '5');
		CHECK(line.data[1] >= '0' && line.data[1] <= '9');
		CHECK(line.data[2] >= '0' && line.data[2] <= '9');
		CHECK(line.data[3] == '-' || line.data[3] == ' ');
		unsigned code = (unsigned)(100 * (line.data[0] - '0') +
		    10 * (line.data[1] - '0') + line.data[2] - '0');
		CHECK(reply.code == 0 || reply.code == code);
		reply.code = code;
		reply.enhanced = reply.enhanced &&
		    has_enhanced(slice_skip(line, 4), line.data[0]);
	} while (line.data[3] == '-');
	reader->closed = reply.code == 421 || reply.code == 521;
	return reply;
}

/* ---- message text, found once more ---- */

enum ending { TEXT_UNENDED, TEXT_ENDED, TEXT_SMUGGLED };

struct found {
	enum ending ending;
	struct text text;
	bool bare_cr;
	bool bare_lf;
	uint64_t size;
};

/* Is this line, which stands between these two line ends, the end? */
static enum ending
ends_text(struct slice line, bool after_crlf, bool crlf,
    enum dot_bare_lf bare_lf)
{
	if (!slice_equal(line, SLICE(".")))
		return TEXT_UNENDED;
	if ((after_crlf && crlf) || bare_lf == DOT_BARE_LF_ACCEPT)
		return TEXT_ENDED;
	return bare_lf == DOT_BARE_LF_REJECT ? TEXT_SMUGGLED : TEXT_UNENDED;
}

static void
find_text(struct reader *reader, struct found *found)
{
	bool after_crlf = true;
	struct slice line, rest;

	while (found->ending == TEXT_UNENDED &&
	    slice_cut(reader->client, '\n', &line, &rest)) {
		bool crlf = line.len > 0 && line.data[line.len - 1] == '\r';

		reader->client = rest;
		line.len -= crlf;
		found->bare_lf |= !crlf;
		found->bare_cr |= line.len > 0 &&
		    memchr(line.data, '\r', line.len) != NULL;
		found->ending = ends_text(line, after_crlf, crlf,
		    reader->bare_lf);
		if (found->ending != TEXT_UNENDED)
			break;
		if (slice_starts_with(line, SLICE(".")) && (after_crlf ||
		    reader->bare_lf == DOT_BARE_LF_ACCEPT))
			line = slice_skip(line, 1);
		text_add(&found->text, line);
		text_add_octet(&found->text, '\n');
		found->size += line.len + 2;
		after_crlf = crlf;
	}
}

/* The message that the core gave out must be the one that is there; and
 * whatever is wrong with one must have kept it back. */
static void
check_text(struct reader *reader, const struct found *found,
    struct reply reply)
{
	const struct session *session = reader->session;
	bool bad = found->bare_cr ||
	    (found->bare_lf && reader->bare_lf == DOT_BARE_LF_REJECT);
	bool too_big = found->size > session->smtp.options.max_size;

	CHECK(reader->texts < session->n_texts);
	size_t refuse_at = session->refuse_at[reader->texts++];
	bool full = refuse_at > 0 && found->text.len >= refuse_at;
	if (bad || too_big || full) {
		CHECK(reply.code == (bad ? 550 : too_big ? 552 : 452));
		return;
	}
	CHECK(reader->kept < session->n_kept);
	CHECK(reply.code == 250 || reply.scripted);
	size_t len = session->kept_lens[reader->kept++];
	struct slice kept = slice_skip(text_slice(&session->kept),
	    reader->kept_at);
	kept.len = len;
	CHECK_SAME(kept, text_slice(&found->text));
	reader->kept_at += len;
}

static void
read_text(struct reader *reader)
{
	struct found found = { .ending = TEXT_UNENDED };

	find_text(reader, &found);
	if (found.ending == TEXT_UNENDED) {
		/* The end of the session, perhaps with a word on it. */
		if (reader->sent.len > 0)
			CHECK(read_reply(reader).code == 421);
		reader->closed = true;
	} else if (found.ending == TEXT_SMUGGLED) {
		CHECK(read_reply(reader).code == 521);
	} else {
		check_text(reader, &found, read_reply(reader));
	}
	text_free(&found.text);
}

/* ---- commands ---- */

static bool
is(struct slice verb, const char *name)
{
	return slice_equal_nocase(verb, slice_from(name));
}

/* May a command have this reply? */
static void
check_reply(const struct reader *reader, struct slice verb,
    struct reply reply)
{
	bool hello = is(verb, "EHLO") || is(verb, "HELO") || is(verb, "LHLO");

	switch (reply.code) {
	case 220:
		CHECK(is(verb, "STARTTLS"));
		break;
	case 221:
		CHECK(is(verb, "QUIT"));
		break;
	case 235:
		CHECK(is(verb, "AUTH") || reader->in_sasl);
		break;
	case 250:
		CHECK(hello || is(verb, "MAIL") || is(verb, "RCPT") ||
		    is(verb, "RSET") || is(verb, "NOOP") ||
		    is(verb, "AUTH") || reader->in_sasl);
		break;
	case 334:
		CHECK(is(verb, "AUTH") || reader->in_sasl);
		break;
	case 354:
		CHECK(is(verb, "DATA"));
		break;
	}
	CHECK(!reader->in_sasl || reply.code != 354);
}

static void
read_command(struct reader *reader, struct slice line)
{
	struct slice verb, rest;
	bool crlf = line.len > 0 && line.data[line.len - 1] == '\r';

	line.len -= crlf;
	slice_cut(line, ' ', &verb, &rest);
	struct reply reply = read_reply(reader);
	check_reply(reader, verb, reply);
	/* A bare LF ends no command. */
	if (!crlf && reader->bare_lf == DOT_BARE_LF_REJECT)
		CHECK(reply.code == 500 || reply.code == 421);
	/* RFC 2034 section 4. */
	if (reply.code != 334 && reply.code != 354 && !reply.scripted &&
	    !is(verb, "EHLO") && !is(verb, "HELO") && !is(verb, "LHLO"))
		CHECK(reply.enhanced);
	reader->in_sasl = reply.code == 334;
	reader->closed |= reply.code == 221;
	if (reply.code == 354)
		read_text(reader);
}

/* Every line that was taken has its reply, and there is no other. */
static void
read_session(struct reader *reader)
{
	CHECK(read_reply(reader).code == 220);
	while (reader->sent.len > 0) {
		struct slice line, rest;

		CHECK(!reader->closed);
		if (!slice_cut(reader->client, '\n', &line, &rest)) {
			/* The time is over, or the program. */
			CHECK(read_reply(reader).code == 421);
			CHECK(reader->sent.len == 0);
			return;
		}
		reader->client = rest;
		reader->lines++;
		read_command(reader, line);
	}
}

static void
check_session(const struct session *session)
{
	const struct dialogue *dialogue = &session->dialogue;
	struct reader reader = {
		.session = session,
		.client = dialogue->client,
		.sent = text_slice(&dialogue->sent),
		.bare_lf = bare_lf_of(dialogue),
	};

	read_session(&reader);
	CHECK(reader.lines == session->smtp.wire.lines);
	/* As many messages as there are texts, each its own. */
	CHECK(reader.kept == session->n_kept);
	dialogue_check_transcript(dialogue,
	    (const struct slice[]){ SLICE("AUTH") }, 1);
}

static void
session_begin(struct session *session, const struct dialogue *read)
{
	session->dialogue = *read;
	session->failed_logins = 0;
	session->in_transaction = session->in_text = false;
	session->message = session->kept = session->scripted =
	    (struct text){ .data = NULL };
	session->n_texts = session->n_kept = 0;
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
