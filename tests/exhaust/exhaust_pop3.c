/*
 * exhaust_pop3.c - every POP3 dialogue of up to DEPTH lines, with every answer
 * of the program, against a model that is small enough to be read beside
 * RFC 1939, 2449, 2595 and 5034. The model knows what a maildrop has, so that
 * listings and texts are compared whole.
 */
#include <stdio.h>
#include <string.h>

#include "exhaust.h"
#include "pop3/pop3.h"

#define MESSAGES 3

/* As they lie in files; what they are on the wire is wire_text's to say. */
static const struct slice files[MESSAGES] = {
	SLICE("Subject: one\n\nQUIT\nDELE 2\n"),
	SLICE(".dot: two\n\n.\n..three"), /* no last line end */
	SLICE(""),
};
static const char *const uidls[MESSAGES] = { "one", "two", "{three}" };

/* ---- what a client may say ---- */

enum kind {
	CAPA, STLS, USER, USER_NONE, PASS, PASS_NONE, AUTH_LIST, AUTH_PLAIN,
	AUTH_LOGIN, AUTH_UNKNOWN, RESPONSE, CANCEL, STAT, STAT_ARGUMENT, LIST,
	LIST_1, LIST_4, UIDL, UIDL_2, RETR_1, RETR_2, RETR_3, RETR_BAD, TOP_1_0,
	TOP_2_1, TOP_BAD, DELE_1, DELE_2, DELE_NONE, RSET, NOOP, UTF8, LANG,
	LANG_DE, QUIT, UNKNOWN, HTTP, END_OF_INPUT, TIME_IS_OVER, STOP,
};

static const struct token {
	enum kind kind;
	const char *line;
} alphabet[] = {
	{ CAPA, "CAPA" }, { STLS, "STLS" }, { USER, "USER a" },
	{ USER_NONE, "USER" }, { PASS, "PASS b" }, { PASS_NONE, "pass" },
	{ AUTH_LIST, "AUTH" }, { AUTH_PLAIN, "AUTH PLAIN AGEAYg==" },
	{ AUTH_LOGIN, "AUTH LOGIN" }, { AUTH_UNKNOWN, "AUTH KERBEROS_V4" },
	{ RESPONSE, "YQ==" }, { CANCEL, "*" }, { STAT, "STAT" },
	{ STAT_ARGUMENT, "STAT 1" }, { LIST, "LIST" }, { LIST_1, "LIST 1" },
	{ LIST_4, "LIST 4" }, { UIDL, "UIDL" }, { UIDL_2, "UIDL 02" },
	{ RETR_1, "RETR 1" }, { RETR_2, "RETR 2" }, { RETR_3, "RETR 3" },
	{ RETR_BAD, "RETR 1x" }, { TOP_1_0, "TOP 1 0" },
	{ TOP_2_1, "TOP 2 1" }, { TOP_BAD, "TOP 1" }, { DELE_1, "DELE 1" },
	{ DELE_2, "DELE 2" }, { DELE_NONE, "DELE" }, { RSET, "RSET" },
	{ NOOP, "NOOP" }, { UTF8, "UTF8" }, { LANG, "LANG" },
	{ LANG_DE, "LANG de" }, { QUIT, "QUIT" }, { UNKNOWN, "FOO" },
	{ HTTP, "GET / HTTP/1.1" }, { END_OF_INPUT, NULL },
	{ TIME_IS_OVER, NULL }, { STOP, NULL },
};

static const char *const names_of_ends[] = { "(end of input)",
	"(its time is over)", "(SIGTERM)" };

/* ---- the ways a session can be set up ---- */

static const struct configuration {
	const char *name;
	bool secure;
	bool stls;
	bool may_delete;
	bool logged_in; /* the dialogue begins there */
} configurations[] = {
	{ "implicit", true, false, true, false },
	{ "stls", false, true, false, false },
	{ "maildrop", true, false, true, true },
	{ "read-only", true, true, false, true },
};

static const struct configuration *conf;
/* ---- the model ---- */

enum phase { AUTHORIZATION, IN_LOGIN_NAME, IN_LOGIN_PASSWORD, TRANSACTION,
	OVER };

struct model {
	enum phase phase;
	bool named; /* by USER */
	bool name_is_bad;
	bool tls;
	unsigned failed;
	bool deleted[MESSAGES];
};

/* All that one line leads to, in octets; '?' stands for what is left of a
 * line, whose words are the machine's own. */
struct expected {
	char text[4096];
	size_t len;
	bool closes;
};

static void
say(struct expected *e, const char *line)
{
	e->len += (size_t)snprintf(e->text + e->len, sizeof(e->text) - e->len,
	    "%s\r\n", line);
}

static void
over(struct model *m, struct expected *e)
{
	m->phase = OVER;
	e->closes = true;
}

/* RFC 1939 3: CRLF, a dot before a dot; the header and so many lines, or
 * all. Returns the octets without the added dots. */
static uint64_t
wire_text(struct slice file, bool all, unsigned lines, char *out, size_t *len)
{
	bool body = false;
	uint64_t octets = 0;
	size_t n = 0;

	do {
		struct slice line;

		slice_cut(file, '\n', &line, &file);
		if (body && !all && lines-- == 0)
			break;
		if (line.len > 0 && line.data[0] == '.')
			out[n++] = '.';
		memcpy(out + n, line.data, line.len);
		n += line.len;
		memcpy(out + n, "\r\n", 2);
		n += 2;
		octets += line.len + 2;
		body |= line.len == 0;
	} while (file.len > 0);
	*len = n;
	return octets;
}

static uint64_t
octets_of(size_t i)
{
	char text[256];
	size_t len;

	return wire_text(files[i], true, 0, text, &len);
}

static unsigned
take_answer(unsigned *at, const struct choices *choices)
{
	return *at < choices->at ? choices->taken[(*at)++] : 0;
}

struct step {
	struct model *m;
	struct expected *e;
	const struct choices *choices;
	unsigned at;
};

static unsigned
answer_of(struct step *s)
{
	return take_answer(&s->at, s->choices);
}

static void
say_maildrop(struct step *s, bool with_words)
{
	char line[64];
	uint64_t octets = 0;
	unsigned n = 0;

	for (size_t i = 0; i < MESSAGES; i++)
		if (!s->m->deleted[i]) {
			n++;
			octets += octets_of(i);
		}
	if (with_words)
		snprintf(line, sizeof(line), "+OK %u ? (%u ?)", n,
		    (unsigned)octets);
	else
		snprintf(line, sizeof(line), "+OK %u %u", n,
		    (unsigned)octets);
	say(s->e, line);
}

/* 0: the login is right. */
static void
model_login(struct step *s)
{
	unsigned answer = answer_of(s);

	s->m->named = false;
	s->m->phase = AUTHORIZATION;
	if (answer == 0) {
		s->m->phase = TRANSACTION;
		memset(s->m->deleted, 0, sizeof(s->m->deleted));
		say_maildrop(s, true);
		return;
	}
	say(s->e, answer == 1 ? "-ERR [AUTH] ?" : "-ERR [SYS/TEMP] ?");
	if (++s->m->failed == 3)
		over(s->m, s->e);
}

static void
model_list(struct step *s, bool uidl)
{
	char line[64];

	say_maildrop(s, true);
	for (size_t i = 0; i < MESSAGES; i++) {
		if (s->m->deleted[i])
			continue;
		if (uidl)
			snprintf(line, sizeof(line), "%zu %s", i + 1,
			    uidls[i]);
		else
			snprintf(line, sizeof(line), "%zu %u", i + 1,
			    (unsigned)octets_of(i));
		say(s->e, line);
	}
	say(s->e, ".");
}

static void
model_one(struct step *s, size_t i, bool uidl)
{
	char line[64];

	if (i >= MESSAGES || s->m->deleted[i]) {
		say(s->e, "-ERR ?");
		return;
	}
	if (uidl)
		snprintf(line, sizeof(line), "+OK %zu %s", i + 1, uidls[i]);
	else
		snprintf(line, sizeof(line), "+OK %zu %u", i + 1,
		    (unsigned)octets_of(i));
	say(s->e, line);
}

/* Answers: 0 the text is whole, 1 it cannot be read, 2 it breaks off. */
static void
model_text(struct step *s, size_t i, bool all, unsigned lines)
{
	struct expected *e = s->e;
	char line[64];
	size_t len;

	if (i >= MESSAGES || s->m->deleted[i]) {
		say(e, "-ERR ?");
		return;
	}
	unsigned answer = answer_of(s);
	if (answer == 1) {
		say(e, "-ERR [SYS/TEMP] ?");
		return;
	}
	snprintf(line, sizeof(line), "+OK %u ?", (unsigned)octets_of(i));
	say(e, all ? line : "+OK ?");
	if (answer == 2) {
		over(s->m, e); /* and no dot: it is not the whole message */
		return;
	}
	wire_text(files[i], all, lines, e->text + e->len, &len);
	e->len += len;
	say(e, ".");
}

static void
model_dele(struct step *s, size_t i)
{
	if (s->m->deleted[i] || !conf->may_delete) {
		say(s->e, "-ERR ?");
		return;
	}
	s->m->deleted[i] = true;
	say(s->e, "+OK ?");
}

static void
model_quit(struct step *s)
{
	bool update = false;

	for (size_t i = 0; i < MESSAGES; i++)
		update |= s->m->phase == TRANSACTION && s->m->deleted[i];
	if (update && answer_of(s) != 0)
		say(s->e, "-ERR [SYS/TEMP] ?");
	else
		say(s->e, "+OK ?");
	over(s->m, s->e);
}

static void
model_capa(struct step *s)
{
	struct model *m = s->m;
	bool login = conf->secure || m->tls;

	say(s->e, "+OK ?");
	if (conf->stls && !m->tls && m->phase == AUTHORIZATION)
		say(s->e, "STLS");
	if (login) {
		say(s->e, "USER");
		say(s->e, "SASL PLAIN LOGIN");
	}
	say(s->e, "TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE");
	say(s->e, login ? "UTF8 USER" : "UTF8");
	say(s->e, "LANG\r\nEXPIRE NEVER\r\nIMPLEMENTATION test\r\n.");
}

static void
model_authorization(struct step *s, enum kind kind)
{
	struct model *m = s->m;
	bool login = conf->secure || m->tls;

	switch (kind) {
	case STLS:
		if (!conf->stls || m->tls) {
			say(s->e, "-ERR ?");
			return;
		}
		say(s->e, "+OK ?");
		m->tls = true;
		m->named = false; /* RFC 2595 4 */
		return;
	case USER:
		m->named |= login;
		say(s->e, login ? "+OK ?" : "-ERR ?");
		return;
	case PASS:
	case PASS_NONE:
		if (login && m->named)
			model_login(s);
		else
			say(s->e, "-ERR ?");
		return;
	case AUTH_LIST:
		say(s->e, login ? "+OK ?\r\nPLAIN\r\nLOGIN\r\n." : "-ERR ?");
		return;
	case AUTH_PLAIN:
	case AUTH_LOGIN:
	case AUTH_UNKNOWN:
		m->named &= !login;
		if (!login || kind == AUTH_UNKNOWN) {
			say(s->e, "-ERR ?");
		} else if (kind == AUTH_PLAIN) {
			model_login(s);
		} else {
			m->phase = IN_LOGIN_NAME;
			say(s->e, "+ VXNlcm5hbWU6");
		}
		return;
	case UTF8:
		say(s->e, "+OK ?");
		return;
	default:
		say(s->e, "-ERR ?");
	}
}

static void
model_transaction(struct step *s, enum kind kind)
{
	switch (kind) {
	case STAT:
		say_maildrop(s, false);
		return;
	case LIST:
	case UIDL:
		model_list(s, kind == UIDL);
		return;
	case LIST_1:
		model_one(s, 0, false);
		return;
	case UIDL_2:
		model_one(s, 1, true);
		return;
	case RETR_1:
	case RETR_2:
	case RETR_3:
		model_text(s, (size_t)(kind - RETR_1), true, 0);
		return;
	case TOP_1_0:
		model_text(s, 0, false, 0);
		return;
	case TOP_2_1:
		model_text(s, 1, false, 1);
		return;
	case DELE_1:
		model_dele(s, 0);
		return;
	case DELE_2:
		model_dele(s, 1);
		return;
	case RSET:
		memset(s->m->deleted, 0, sizeof(s->m->deleted));
		say(s->e, "+OK");
		return;
	case NOOP:
		say(s->e, "+OK");
		return;
	default:
		say(s->e, "-ERR ?");
	}
}

static void
model_response(struct step *s, const struct token *token)
{
	struct model *m = s->m;
	unsigned char octets[DECODED_MAX];
	size_t n = decode_letters(token->line, octets);

	if (n == 0 || memchr(octets, '\0', n) != NULL) {
		m->phase = AUTHORIZATION;
		say(s->e, "-ERR ?");
	} else if (m->phase == IN_LOGIN_NAME) {
		m->name_is_bad = !octets_between(octets, n, ' ');
		m->phase = IN_LOGIN_PASSWORD;
		say(s->e, "+ UGFzc3dvcmQ6");
	} else if (m->name_is_bad || !octets_between(octets, n, 1)) {
		/* None of these lines is UTF-8 without being ASCII. */
		m->phase = AUTHORIZATION;
		say(s->e, "-ERR ?");
	} else {
		model_login(s);
	}
}

static void
model_step(struct step *s, const struct token *token)
{
	struct model *m = s->m;
	enum kind kind = token->kind;

	if (kind == END_OF_INPUT || kind == TIME_IS_OVER || kind == STOP) {
		over(m, s->e);
	} else if (m->phase == IN_LOGIN_NAME ||
	    m->phase == IN_LOGIN_PASSWORD) {
		model_response(s, token);
	} else if (kind == CAPA) {
		model_capa(s);
	} else if (kind == LANG) {
		say(s->e, "+OK ?\r\ni-default ?\r\nen ?\r\nde ?\r\n.");
	} else if (kind == LANG_DE) {
		say(s->e, "+OK de ?");
	} else if (kind == QUIT) {
		model_quit(s);
	} else if (kind == HTTP) {
		say(s->e, "-ERR ?");
		over(m, s->e);
	} else if (m->phase == AUTHORIZATION) {
		model_authorization(s, kind);
	} else {
		model_transaction(s, kind);
	}
}

/* ---- the machine ---- */

static struct world {
	struct pop3 pop3;
	struct message messages[MESSAGES];
	struct model model;
	bool closed;
} world;

static char in[POP3_IN_MIN], out[POP3_OUT_MIN];

struct heard {
	char text[4096];
	size_t len;
};

static void
hear(struct heard *heard)
{
	struct slice said = buf_contents(&world.pop3.wire.out);

	if (heard->len + said.len > sizeof(heard->text))
		fail("more was said than a model can say");
	memcpy(heard->text + heard->len, said.data, said.len);
	heard->len += said.len;
	buf_consume(&world.pop3.wire.out, said.len);
}

static void
give_text(struct choices *choices)
{
	static const struct error gone = { .kind = ERROR_SYSTEM };
	struct pop3 *pop3 = &world.pop3;
	struct slice file = files[pop3->message];
	unsigned choice = choose(choices, 3);

	if (world.messages[pop3->message].deleted)
		fail("a deleted message is asked for");
	if (choice == 1) {
		pop3_message_failed(pop3, &gone);
		return;
	}
	pop3_message_begin(pop3, octets_of(pop3->message));
	if (choice == 2) {
		pop3_message_end(pop3, false);
		return;
	}
	while (file.len > 0 && !pop3_message_enough(pop3)) {
		size_t n = pop3_message_data(pop3, file);

		if (n == 0)
			fail("no room for a short message");
		file = slice_skip(file, n);
	}
	pop3_message_end(pop3, true);
}

static void
serve(enum pop3_event event, struct choices *choices)
{
	struct pop3 *pop3 = &world.pop3;

	switch (event) {
	case POP3_STLS:
		pop3_accept_stls(pop3);
		break;
	case POP3_LOGIN:
		if (!conf->secure && !world.model.tls)
			fail("a login in the clear");
		if (pop3->user.len == 0)
			fail("a login without a name");
		switch (choose(choices, 3)) {
		case 0:
			for (size_t i = 0; i < MESSAGES; i++)
				world.messages[i] = (struct message){
				    .octets = octets_of(i) & 0xFFFF };
			pop3_logged_in(pop3, world.messages, MESSAGES);
			break;
		case 1:
			pop3_login_failed(pop3, POP3_LOGIN_WRONG);
			break;
		default:
			pop3_login_failed(pop3, POP3_LOGIN_TEMPORARY);
		}
		break;
	case POP3_UIDL:
		pop3_uidl(pop3, slice_from(uidls[pop3->message]));
		break;
	case POP3_MESSAGE:
		give_text(choices);
		break;
	case POP3_UPDATE:
		if (!conf->may_delete || !pop3->quit)
			fail("an update without QUIT");
		pop3_updated(pop3, choose(choices, 2) == 0);
		break;
	default:
		fail("an event that nobody knows");
	}
}

static void
run_step(const struct token *token, struct choices *choices,
    struct heard *heard)
{
	struct pop3 *pop3 = &world.pop3;
	enum pop3_event event;

	pop3->wire.eof |= token->kind == END_OF_INPUT;
	pop3->wire.timed_out |= token->kind == TIME_IS_OVER;
	pop3->wire.stopping |= token->kind == STOP;
	if (token->line != NULL) {
		buf_append(&pop3->wire.in, slice_from(token->line));
		buf_append(&pop3->wire.in, SLICE("\r\n"));
	}
	while ((event = pop3_next(pop3)) != POP3_CLOSED) {
		if (event != POP3_WANT_IO) {
			serve(event, choices);
			continue;
		}
		bool said = buf_contents(&pop3->wire.out).len > 0;

		hear(heard);
		if (pop3->state == POP3_HANDSHAKE)
			pop3_tls_started(pop3);
		else if (!said && token->line != NULL)
			break;
		else if (!said)
			fail("no end after the end");
	}
	hear(heard);
	world.closed = event == POP3_CLOSED;
}

/* '?' in what is expected is all that stands up to the next octet of it. */
static bool
matches(const struct heard *heard, const struct expected *e)
{
	size_t h = 0;

	for (size_t i = 0; i < e->len; i++) {
		if (e->text[i] != '?') {
			if (h == heard->len || heard->text[h++] != e->text[i])
				return false;
			continue;
		}
		while (h < heard->len && heard->text[h] != '\r' &&
		    heard->text[h] != e->text[i + 1])
			h++;
	}
	return h == heard->len;
}

static void
compare(const struct token *token, const struct choices *choices,
    const struct heard *heard)
{
	static struct expected expected;
	struct step step = { &world.model, &expected, choices, 0 };

	expected.len = 0;
	expected.closes = false;
	model_step(&step, token);
	if (step.at != choices->at)
		fail("another number of questions than the model's");
	if (!matches(heard, &expected)) {
		fprintf(stderr, "heard:\n%.*s", (int)heard->len, heard->text);
		fprintf(stderr, "model:\n%.*s", (int)expected.len,
		    expected.text);
		fail("other replies than the model's");
	}
	if (world.closed != expected.closes)
		fail(world.closed ? "closed too early" : "not closed");
	for (size_t i = 0; i < MESSAGES && !world.closed &&
	    world.model.phase == TRANSACTION; i++)
		if (world.messages[i].deleted != world.model.deleted[i])
			fail("other marks than the model's");
	if (buf_contents(&world.pop3.wire.in).len > 0 && !world.closed)
		fail("input is left");
}

static void
stay_closed(void)
{
	buf_append(&world.pop3.wire.in, SLICE("NOOP\r\n"));
	if (pop3_next(&world.pop3) != POP3_CLOSED ||
	    buf_contents(&world.pop3.wire.out).len > 0)
		fail("a word after the end");
}

static bool
step(size_t line, struct choices *choices)
{
	static struct heard heard;

	heard.len = 0;
	run_step(&alphabet[line], choices, &heard);
	compare(&alphabet[line], choices, &heard);
	if (world.closed)
		stay_closed();
	return world.closed;
}

static void
begin(size_t configuration)
{
	conf = &configurations[configuration];
	const struct pop3_options options = {
		.hostname = "mail.test",
		.implementation = "test",
		.allow_login = true,
		.secure = conf->secure,
		.stls = conf->stls,
		.allow_delete = conf->may_delete,
	};
	struct choices choices = { .n = 0 };
	struct heard heard = { .len = 0 };

	world = (struct world){ .closed = false };
	pop3_init(&world.pop3, &options, in, sizeof(in), out, sizeof(out));
	if (pop3_next(&world.pop3) != POP3_WANT_IO)
		fail("no greeting");
	hear(&heard);
	if (heard.len < 5 || memcmp(heard.text, "+OK ", 4) != 0)
		fail("no greeting");
	for (size_t i = 0; conf->logged_in && i <= AUTH_PLAIN; i++)
		if (alphabet[i].kind == AUTH_PLAIN)
			step(i, &choices);
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

/* What a login gathers. */
static bool
holds_buffers(void)
{
	return world.pop3.in_sasl || world.pop3.name.len > 0;
}

const struct exhaust exhaust = {
	.name = "exhaust_pop3",
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
