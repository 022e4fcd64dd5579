/*
 * exhaust_smtp.c - every SMTP and LMTP dialogue of up to DEPTH lines, with
 * every answer of the program, against a model that is small enough to be
 * read beside RFC 5321, 2033, 3030, 3207 and 4954.
 */
#include <stdio.h>
#include <string.h>

#include "exhaust.h"
#include "smtp/smtp.h"

#define RECIPIENTS 8
#define TEXT_SIZE ENVELOPE_TEXT_SIZE(RECIPIENTS)

/* ---- what a client may say ---- */

enum kind {
	EHLO, HELO, LHLO, MAIL, MAIL_BAD, MAIL_BIG, RCPT, RCPT_BAD, DATA,
	DATA_ARGUMENT, BDAT, BDAT_LAST, RSET, NOOP, QUIT, QUIT_ARGUMENT, VRFY,
	EXPN, HELP, STARTTLS, AUTH_PLAIN, AUTH_LOGIN, AUTH_UNKNOWN, RESPONSE,
	CANCEL, DOT, TEXT, UNKNOWN, HTTP, END_OF_INPUT, TIME_IS_OVER, STOP,
};

static const struct token {
	enum kind kind;
	const char *line;
} alphabet[] = {
	{ EHLO, "EHLO client.test" },
	{ HELO, "helo client.test" },
	{ LHLO, "LHLO client.test" },
	{ MAIL, "MAIL FROM:<a@b.test>" },
	{ MAIL_BAD, "MAIL FROM:<a@b.test> COLOUR=blue" },
	{ MAIL_BIG, "MAIL FROM:<> SIZE=99999999999" },
	{ RCPT, "RCPT TO:<c@d.test>" },
	{ RCPT_BAD, "RCPT TO:<" },
	{ DATA, "DATA" },
	{ DATA_ARGUMENT, "DATA 5" },
	{ BDAT, "BDAT 6\r\nQUIT" }, /* and its CRLF: six octets */
	{ BDAT_LAST, "BDAT 4 LAST\r\nhi" },
	{ RSET, "RSET" },
	{ NOOP, "NOOP" },
	{ QUIT, "QUIT" },
	{ QUIT_ARGUMENT, "QUIT now" },
	{ VRFY, "VRFY c" },
	{ EXPN, "EXPN list" },
	{ HELP, "HELP" },
	{ STARTTLS, "STARTTLS" },
	{ AUTH_PLAIN, "AUTH PLAIN AGEAYg==" }, /* NUL a NUL b */
	{ AUTH_LOGIN, "AUTH LOGIN" },
	{ AUTH_UNKNOWN, "AUTH KERBEROS_V4" },
	{ RESPONSE, "YQ==" }, /* a */
	{ CANCEL, "*" },
	{ DOT, "." },
	{ TEXT, "..RSET" },
	{ UNKNOWN, "FOO" },
	{ HTTP, "GET / HTTP/1.1" },
	{ END_OF_INPUT, NULL },
	{ TIME_IS_OVER, NULL },
	{ STOP, NULL },
};

static const char *const names_of_ends[] = { "(end of input)",
	"(its time is over)", "(SIGTERM)" };

/* ---- the ways a session can be set up ---- */

static const struct configuration {
	const char *name;
	enum smtp_login login;
	bool required;
	bool starttls;
	bool lmtp;
	enum kind before[4]; /* said already, and accepted; up to a 0, which
	                      * as the first is no line */
} configurations[] = {
	{ "open", SMTP_LOGIN_NONE, false, false, false, { 0 } },
	{ "submission", SMTP_LOGIN_OFFERED, true, false, false, { 0 } },
	{ "starttls", SMTP_LOGIN_NEEDS_TLS, true, true, false, { 0 } },
	{ "optional", SMTP_LOGIN_OFFERED, false, true, false, { 0 } },
	{ "lmtp", SMTP_LOGIN_NONE, false, true, true, { 0 } },
	{ "in-transaction", SMTP_LOGIN_OFFERED, false, true, false,
	    { HELO, MAIL, RCPT } },
	{ "in-lmtp-transaction", SMTP_LOGIN_NONE, false, true, true,
	    { LHLO, MAIL, RCPT, RCPT } },
	{ "logged-in", SMTP_LOGIN_OFFERED, true, true, false,
	    { HELO, AUTH_PLAIN } },
	{ "in-text", SMTP_LOGIN_NONE, false, false, false,
	    { HELO, MAIL, RCPT, DATA } },
};

/* ---- the model ---- */

enum phase { COLD, READY, SENDER, RECIPIENTS_GIVEN, CHUNKS, FAILED, IN_TEXT,
	IN_LOGIN_NAME, IN_LOGIN_PASSWORD, OVER };

struct model {
	enum phase phase;
	bool esmtp;
	bool tls;
	bool logged_in;
	bool name_is_bad; /* of AUTH LOGIN: it has control characters */
	bool refused;   /* the text: what the program said first */
	unsigned refusal;
	unsigned recipients;
	unsigned wrong_logins;
	unsigned open;  /* accepted senders without an end */
};

/* What one line leads to: replies by their codes, and whether it was the
 * last. */
struct expected {
	unsigned codes[8];
	unsigned n;
	bool closes;
};

static const struct configuration *conf;

static void
say(struct expected *expected, unsigned code)
{
	expected->codes[expected->n++] = code;
}

/* A 421 of the program's own ends the session, whatever was asked. */
static void
over(struct model *m, struct expected *expected)
{
	m->phase = OVER;
	expected->closes = true;
}

/* The program's answer to a question: 0 yes, 1 no for now, 2 421. */
static const unsigned answers[] = { 0, 450, 421 };
#define ANSWERS 3

/*
 * The answers in the order the machine asked: the model asks for them in the
 * order in which the RFCs say the questions arise, and so disagrees with a
 * machine that asks others.
 */
struct given {
	unsigned at;
	const struct choices *choices;
};

static unsigned
take_answer(struct given *given)
{
	if (given->at >= given->choices->at)
		return 0; /* the machine did not ask: the event check says so */
	return answers[given->choices->taken[given->at++]];
}

static void
end_transaction(struct model *m)
{
	m->phase = READY;
	m->recipients = 0;
	m->open = 0;
	m->refused = false;
}

static void
model_hello(struct model *m, bool esmtp, struct expected *expected)
{
	if (m->open > 0)
		end_transaction(m);
	m->phase = READY;
	m->esmtp = esmtp;
	say(expected, 250);
}

static void
model_login(struct model *m, struct given *given, struct expected *expected)
{
	unsigned answer = take_answer(given);

	m->phase = READY;
	if (answer == 0) {
		m->logged_in = true;
		say(expected, 235);
		return;
	}
	say(expected, answer);
	if (answer == 421 || ++m->wrong_logins == 3)
		over(m, expected);
}

static void
model_auth(struct model *m, const struct token *token, struct given *given,
    struct expected *expected)
{
	bool clear = conf->login == SMTP_LOGIN_NEEDS_TLS && !m->tls;

	if (m->phase == COLD || m->phase != READY)
		say(expected, 503);
	else if (conf->login == SMTP_LOGIN_NONE)
		say(expected, 502);
	else if (clear)
		say(expected, 538);
	else if (m->logged_in)
		say(expected, 503);
	else if (token->kind == AUTH_UNKNOWN)
		say(expected, 504);
	else if (token->kind == AUTH_PLAIN)
		model_login(m, given, expected);
	else {
		m->phase = IN_LOGIN_NAME;
		say(expected, 334);
	}
}

/* RFC 2033 4.2: after the text a reply for each recipient; in SMTP one. */
static void
model_verdicts(struct model *m, struct given *given,
    struct expected *expected)
{
	unsigned n = conf->lmtp ? m->recipients : 1;

	for (unsigned i = 0; i < n; i++) {
		unsigned answer = take_answer(given);

		say(expected, answer == 0 ? 250 : answer);
		if (answer == 421) {
			end_transaction(m);
			over(m, expected);
			return;
		}
	}
	end_transaction(m);
}

static void
model_refusal(struct model *m, struct expected *expected)
{
	unsigned code = m->refusal;
	unsigned n = conf->lmtp && code != 421 ? m->recipients : 1;

	for (unsigned i = 0; i < n; i++)
		say(expected, code);
	end_transaction(m);
	if (code == 421)
		over(m, expected);
}

/* The program is asked about each piece of text, until it says no. */
static void
model_piece(struct model *m, struct given *given)
{
	if (m->refused)
		return;
	unsigned answer = take_answer(given);
	if (answer != 0) {
		m->refused = true;
		m->refusal = answer;
	}
}

static void
model_chunk(struct model *m, bool last, struct given *given,
    struct expected *expected)
{
	if (m->phase == SENDER) {
		say(expected, 503);
		m->phase = FAILED;
		return;
	}
	if (m->phase != RECIPIENTS_GIVEN && m->phase != CHUNKS) {
		say(expected, 503);
		return;
	}
	if (m->phase == RECIPIENTS_GIVEN)
		model_piece(m, given); /* is there a place for a message? */
	model_piece(m, given);
	m->phase = CHUNKS;
	if (m->refused) {
		unsigned code = m->refusal;
		unsigned n = conf->lmtp && last && code != 421
		    ? m->recipients : 1;

		for (unsigned i = 0; i < n; i++)
			say(expected, code);
		end_transaction(m);
		m->phase = FAILED;
		if (code == 421)
			over(m, expected);
	} else if (last) {
		model_verdicts(m, given, expected);
	} else {
		say(expected, 250);
	}
}

static void
model_path(struct model *m, const struct token *token, struct given *given,
    struct expected *expected)
{
	bool mail = token->kind == MAIL || token->kind == MAIL_BAD ||
	    token->kind == MAIL_BIG;
	enum phase wanted = mail ? READY : SENDER;

	if (m->phase != wanted &&
	    (mail || m->phase != RECIPIENTS_GIVEN)) {
		say(expected, 503);
		return;
	}
	if (mail && conf->required && !m->logged_in) {
		say(expected, 530);
		return;
	}
	switch (token->kind) {
	case MAIL_BAD:
		say(expected, 555);
		return;
	case MAIL_BIG:
		say(expected, 552);
		return;
	case RCPT_BAD:
		say(expected, 501);
		return;
	default:
		break;
	}
	unsigned answer = take_answer(given);
	if (answer != 0) {
		say(expected, answer);
		if (answer == 421)
			over(m, expected);
		return;
	}
	say(expected, 250);
	if (mail) {
		m->phase = SENDER;
		m->open = 1;
	} else {
		m->phase = RECIPIENTS_GIVEN;
		m->recipients++;
	}
}

static bool
is_end(const struct token *token)
{
	return token->line == NULL;
}

/* In message text, and in a login, what looks like a command is none. */
static void
model_text(struct model *m, const struct token *token, struct given *given,
    struct expected *expected)
{
	if (token->kind != DOT) {
		model_piece(m, given);
		return;
	}
	if (m->refused)
		model_refusal(m, expected);
	else
		model_verdicts(m, given, expected);
}

static bool
has_control(const unsigned char *octets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (octets[i] < ' ' || octets[i] == 0x7F)
			return true;
	return false;
}

static void
model_response(struct model *m, const struct token *token,
    struct given *given, struct expected *expected)
{
	unsigned char octets[DECODED_MAX];
	size_t n = decode_letters(token->line, octets);

	if (n > 0) {
		if (m->phase == IN_LOGIN_NAME) {
			m->name_is_bad = has_control(octets, n);
			m->phase = IN_LOGIN_PASSWORD;
			say(expected, 334);
		} else if (m->name_is_bad) {
			m->phase = READY;
			say(expected, 501);
		} else {
			model_login(m, given, expected);
		}
		return;
	}
	m->phase = READY;
	say(expected, 501);
	/* The octets of what would be a chunk are a line here. */
	if (token->kind == BDAT) {
		say(expected, 221);
		over(m, expected);
	} else if (token->kind == BDAT_LAST) {
		say(expected, 500);
	}
}

static void
model_end(struct model *m, const struct token *token,
    struct expected *expected)
{
	if (token->kind != END_OF_INPUT)
		say(expected, 421);
	over(m, expected);
}

static void
model_command(struct model *m, const struct token *token,
    struct given *given, struct expected *expected)
{
	switch (token->kind) {
	case EHLO:
	case HELO:
		if (conf->lmtp)
			say(expected, 500);
		else
			model_hello(m, token->kind == EHLO, expected);
		break;
	case LHLO:
		if (conf->lmtp)
			model_hello(m, true, expected);
		else
			say(expected, 500);
		break;
	case MAIL:
	case MAIL_BAD:
	case MAIL_BIG:
	case RCPT:
	case RCPT_BAD:
		model_path(m, token, given, expected);
		break;
	case DATA:
		if (m->phase != RECIPIENTS_GIVEN) {
			say(expected, 503);
			break;
		}
		switch (take_answer(given)) {
		case 0:
			m->phase = IN_TEXT;
			say(expected, 354);
			break;
		case 421:
			say(expected, 421);
			over(m, expected);
			break;
		default:
			say(expected, 450);
		}
		break;
	case DATA_ARGUMENT:
		say(expected, m->phase == RECIPIENTS_GIVEN ? 501 : 503);
		break;
	case BDAT:
	case BDAT_LAST:
		model_chunk(m, token->kind == BDAT_LAST, given, expected);
		break;
	case RSET:
		if (m->phase != COLD)
			end_transaction(m);
		say(expected, 250);
		break;
	case NOOP:
		say(expected, 250);
		break;
	case QUIT:
		say(expected, 221);
		over(m, expected);
		break;
	case QUIT_ARGUMENT:
		say(expected, 501);
		break;
	case VRFY:
		say(expected, 252);
		break;
	case EXPN:
		say(expected, 502);
		break;
	case HELP:
		say(expected, 214);
		break;
	case STARTTLS:
		if (m->phase == COLD || m->tls) {
			say(expected, 503);
		} else if (!conf->starttls) {
			say(expected, 502);
		} else {
			/* RFC 3207 4.2: all that was said is forgotten. */
			bool tls = true;

			say(expected, 220);
			*m = (struct model){ .phase = COLD, .tls = tls,
			    .wrong_logins = m->wrong_logins };
		}
		break;
	case AUTH_PLAIN:
	case AUTH_LOGIN:
	case AUTH_UNKNOWN:
		model_auth(m, token, given, expected);
		break;
	case HTTP:
		say(expected, 521);
		over(m, expected);
		break;
	default:
		say(expected, 500);
	}
}

static void
model_step(struct model *m, const struct token *token, struct given *given,
    struct expected *expected)
{
	if (is_end(token))
		model_end(m, token, expected);
	else if (m->phase == IN_TEXT)
		model_text(m, token, given, expected);
	else if (m->phase == IN_LOGIN_NAME || m->phase == IN_LOGIN_PASSWORD)
		model_response(m, token, given, expected);
	else
		model_command(m, token, given, expected);
}

/* ---- the machine, and what is watched while it runs ---- */

struct world {
	struct smtp smtp;
	struct envelope_recipient recipients[RECIPIENTS];
	struct model model;
	unsigned senders; /* accepted */
	unsigned ends;    /* of them: DATA_END answered for all, or RESET */
	bool closed;
	char text[TEXT_SIZE];
};

static char in[SMTP_IN_MIN], out[SMTP_OUT_MIN];
/* Replies in out, by their codes; each is whole. */
struct heard {
	unsigned codes[8];
	unsigned n;
};

static void
hear(struct smtp *smtp, struct heard *heard)
{
	struct slice rest = buf_contents(&smtp->wire.out);

	while (rest.len > 0) {
		struct slice line;
		unsigned code = 0;

		if (!slice_cut(rest, '\n', &line, &rest) || line.len < 5 ||
		    line.data[line.len - 1] != '\r')
			fail("a reply is not whole lines");
		for (unsigned i = 0; i < 3; i++)
			code = code * 10 + (unsigned)(line.data[i] - '0');
		if (code < 200 || code > 559)
			fail("a reply has no code");
		/* RFC 2034 3: the classes agree. */
		if (line.len > 6 && line.data[5] == '.' &&
		    line.data[4] != line.data[0])
			fail("an enhanced code of another class");
		if (line.data[3] == '-')
			continue;
		if (heard->n == 8)
			fail("too many replies to one line");
		heard->codes[heard->n++] = code;
	}
	buf_consume(&smtp->wire.out, buf_contents(&smtp->wire.out).len);
}

static void
answer(struct world *w, unsigned choice)
{
	static const struct smtp_reply later = { 450, "4.7.1",
		SLICE("Not now") };
	static const struct smtp_reply gone = { 421, "4.3.2",
		SLICE("Going away") };

	if (choice > 0)
		smtp_reply(&w->smtp, choice == 1 ? &later : &gone);
	else
		smtp_accept(&w->smtp);
}

/* A question of the machine's, and what may be asked. */
static void
serve(struct world *w, enum smtp_event event, struct choices *choices)
{
	struct smtp *smtp = &w->smtp;
	size_t n = smtp->envelope.n;

	switch (event) {
	case SMTP_AUTH:
		if (conf->login == SMTP_LOGIN_NONE ||
		    (conf->login == SMTP_LOGIN_NEEDS_TLS && !w->model.tls))
			fail("a login where there is none");
		break;
	case SMTP_MAIL:
		if (conf->required && !smtp->authenticated)
			fail("a sender before the login");
		if (w->senders != w->ends)
			fail("a sender within a transaction");
		break;
	case SMTP_DATA_BEGIN:
		if (n == 0)
			fail("a message without a recipient");
		break;
	case SMTP_DATA:
		if (smtp->text.len == 0)
			fail("a piece of no text");
		break;
	case SMTP_RESET:
		if (w->ends + 1 != w->senders)
			fail("an end that has no sender");
		w->ends++;
		smtp_accept(smtp);
		return;
	case SMTP_REFUSED:
		smtp_accept(smtp);
		return;
	case SMTP_STARTTLS:
		if (w->senders != w->ends)
			fail("STARTTLS within a transaction");
		smtp_accept(smtp);
		return;
	default:
		break;
	}
	unsigned choice = choose(choices, ANSWERS);
	bool last = event == SMTP_DATA_END && (choice == 2 ||
	    !conf->lmtp || smtp->recipient + 1 == n);
	answer(w, choice);
	w->senders += event == SMTP_MAIL && choice == 0;
	w->ends += last;
}

/* One line in, all that follows from it. */
static void
run_step(struct world *w, const struct token *token, struct choices *choices,
    struct heard *heard)
{
	struct smtp *smtp = &w->smtp;
	enum smtp_event event;

	if (token->kind == END_OF_INPUT) {
		smtp->wire.eof = true;
	} else if (token->kind == TIME_IS_OVER) {
		smtp->wire.timed_out = true;
	} else if (token->kind == STOP) {
		smtp->wire.stopping = true;
	} else {
		buf_append(&smtp->wire.in, slice_from(token->line));
		buf_append(&smtp->wire.in, SLICE("\r\n"));
	}
	while ((event = smtp_next(smtp)) != SMTP_CLOSED) {
		if (event != SMTP_WANT_IO) {
			serve(w, event, choices);
			continue;
		}
		bool said = buf_contents(&smtp->wire.out).len > 0;

		hear(smtp, heard);
		if (smtp->state == SMTP_HANDSHAKE)
			smtp_tls_started(smtp);
		else if (!said && (token->line != NULL || smtp->wire.eof))
			break;
		else if (!said)
			fail("no end after the end");
	}
	hear(smtp, heard);
	w->closed = event == SMTP_CLOSED;
}

static void
compare(struct world *w, const struct token *token,
    const struct choices *choices, const struct heard *heard)
{
	struct expected expected = { .n = 0 };
	struct given given = { 0, choices };

	model_step(&w->model, token, &given, &expected);
	if (given.at != choices->at)
		fail("another number of questions than the model's");
	if (heard->n != expected.n || memcmp(heard->codes, expected.codes,
	    expected.n * sizeof(expected.codes[0])) != 0) {
		for (unsigned i = 0; i < heard->n; i++)
			fprintf(stderr, "  S: %u\n", heard->codes[i]);
		for (unsigned i = 0; i < expected.n; i++)
			fprintf(stderr, "  model: %u\n", expected.codes[i]);
		fail("other replies than the model's");
	}
	if (w->closed != expected.closes)
		fail(w->closed ? "closed too early" : "not closed");
	if (w->smtp.authenticated != w->model.logged_in && !w->closed)
		fail("logged in, or not, against the model");
	if (w->closed && w->senders != w->ends)
		fail("closed without the end of a transaction");
	if (!w->closed && w->senders - w->ends != w->model.open)
		fail("a transaction open, or not, against the model");
	if (buf_contents(&w->smtp.wire.in).len > 0 && !w->closed)
		fail("input is left");
}

/* After the end: nothing more is asked or said. */
static void
stay_closed(struct world *w)
{
	buf_append(&w->smtp.wire.in, SLICE("NOOP\r\n"));
	if (smtp_next(&w->smtp) != SMTP_CLOSED ||
	    buf_contents(&w->smtp.wire.out).len > 0)
		fail("a word after the end");
}

static struct world world;

static bool
step(size_t line, struct choices *choices)
{
	struct heard heard = { .n = 0 };

	run_step(&world, &alphabet[line], choices, &heard);
	compare(&world, &alphabet[line], choices, &heard);
	if (world.closed)
		stay_closed(&world);
	return world.closed;
}

/* A line of the beginning, which is as good as any other. */
static void
begin_with(enum kind kind)
{
	struct choices choices = { .n = 0 };
	size_t line = 0;

	while (alphabet[line].kind != kind)
		line++;
	step(line, &choices);
}

static void
begin(size_t configuration)
{
	conf = &configurations[configuration];
	const struct smtp_options options = {
		.hostname = "mail.test",
		.max_size = 100000,
		.login = conf->login,
		.login_required = conf->required,
		.starttls = conf->starttls,
		.bare_lf = DOT_BARE_LF_REJECT,
		.max_recipients = RECIPIENTS,
		.lmtp = conf->lmtp,
	};
	struct heard heard = { .n = 0 };

	world = (struct world){ .closed = false };
	smtp_init(&world.smtp, &options, in, sizeof(in), out, sizeof(out));
	envelope_init(&world.smtp.envelope, world.recipients, RECIPIENTS,
	    world.text, sizeof(world.text));
	if (smtp_next(&world.smtp) != SMTP_WANT_IO)
		fail("no greeting");
	hear(&world.smtp, &heard);
	if (heard.n != 1 || heard.codes[0] != 220)
		fail("no greeting");
	for (size_t i = 0; i < 4 && conf->before[i] != 0; i++)
		begin_with(conf->before[i]);
}

static const char *
line_name(size_t line)
{
	return alphabet[line].line != NULL ? alphabet[line].line
	    : names_of_ends[alphabet[line].kind - END_OF_INPUT];
}

static const char *
configuration_name(size_t configuration)
{
	return configurations[configuration].name;
}

/* What a login gathers, and a refusal kept for the end of the text. */
static bool
holds_buffers(void)
{
	return world.smtp.in_sasl || world.smtp.refused;
}

const struct exhaust exhaust = {
	.name = "exhaust_smtp",
	.lines = sizeof(alphabet) / sizeof(alphabet[0]),
	.line = line_name,
	.configurations = sizeof(configurations) / sizeof(configurations[0]),
	.configuration = configuration_name,
	.begin = begin,
	.step = step,
	.state = &world,
	.state_size = sizeof(world),
	.in = in,
	.out = out,
	.in_size = sizeof(in),
	.out_size = sizeof(out),
	.holds_buffers = holds_buffers,
};
