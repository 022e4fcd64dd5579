/*
 * fuzz_pop3.c - whole POP3 sessions.
 *
 * The input is a dialogue (dialogue.h). Each is held three times, dealt out
 * whole, octet by octet and by chance, with buffers of other sizes: not one
 * octet of what the core says, and not one event, may differ. Then what was
 * said is read as a client would read it, and compared with the maildrop:
 * every line has one reply, every body is the message's, every number adds
 * up, and nothing is possible that the state forbids.
 */
#include "dialogue.h"

#include "pop3/pop3.h"

#define MESSAGES_MAX 60
#define LOGINS_MAX 3

/* Of dialogue->options. */
#define OPTION_ALLOW_LOGIN 0x01
#define OPTION_INSECURE 0x02
#define OPTION_STLS 0x04
#define OPTION_END(options) ((options) >> 3 & 3)
#define OPTION_DELETE 0x20
#define OPTION_MAILDROP(options) ((options) >> 8 & 3)

/* ---- maildrops ---- */

struct maildrop {
	struct slice contents[MESSAGES_MAX];
	struct message messages[MESSAGES_MAX];
	size_t n;
	char uidls[MESSAGES_MAX][70];
	size_t uidl_lens[MESSAGES_MAX];
};

static const struct slice few[] = {
	SLICE("Subject: one\n\nline\n.\n..two\nno end"),
	SLICE("Subject: two\r\n\r\n.\r\n\r\n...\rlone\r\r\n"),
	SLICE(""),
	SLICE("\n\n.\n\0\n"),
	SLICE("From: header only\n"),
};

static void
add_message(struct maildrop *maildrop, struct slice contents,
    size_t uidl_len)
{
	struct dot_encoder encoder = { .in_line = false };
	struct message *message = &maildrop->messages[maildrop->n];
	char *uidl = maildrop->uidls[maildrop->n];
	char name[32];

	message->deleted = 0;
	message->permanent = maildrop->n % 5 == 2;
	dot_measure(&encoder, contents);
	message->octets = dot_measure_end(&encoder) & MESSAGE_OCTETS_MAX;
	maildrop->uidl_lens[maildrop->n] = uidl_len;
	/* The longest there may be, of the outermost octets allowed. */
	memset(uidl, maildrop->n % 2 == 0 ? '!' : '~', uidl_len);
	snprintf(name, sizeof(name), "%zu", maildrop->n);
	memcpy(uidl, name, strlen(name));
	maildrop->contents[maildrop->n++] = contents;
}

static void
make_maildrop(struct maildrop *maildrop, unsigned which)
{
	static char large[6000];

	maildrop->n = 0;
	if (which == 1)
		for (size_t i = 0; i < COUNT(few); i++)
			add_message(maildrop, few[i], 1 + i * 15);
	if (which == 2)
		while (maildrop->n < MESSAGES_MAX)
			add_message(maildrop, few[maildrop->n % COUNT(few)],
			    70);
	if (which == 3) {
		for (size_t i = 0; i < sizeof(large); i++)
			large[i] = i % 100 == 99 ? '\n' : i % 100 == 0 ||
			    i > 5500 ? '.' : 'x';
		add_message(maildrop, (struct slice){ large, sizeof(large) },
		    3);
	}
}

static struct slice
uidl_of(const struct maildrop *maildrop, size_t i)
{
	return (struct slice){ maildrop->uidls[i], maildrop->uidl_lens[i] };
}

/* ---- the program's side ---- */

struct session {
	struct dialogue dialogue;
	struct maildrop maildrop;
	struct pop3 pop3;
	unsigned failed_logins;
};

static void
note(struct session *session, const char *what, struct slice a,
    struct slice b)
{
	struct text *events = &session->dialogue.events;

	text_format(events, "%s ", what);
	text_add(events, a);
	text_add_octet(events, ' ');
	text_add(events, b);
	text_add_octet(events, '\n');
}

static void
serve_login(struct session *session)
{
	static const enum pop3_login_failure failures[] = {
		POP3_LOGIN_WRONG, POP3_LOGIN_REFUSED, POP3_LOGIN_TEMPORARY,
		POP3_LOGIN_NO_MAILDROP, POP3_LOGIN_IN_USE,
		POP3_LOGIN_NO_ACCESS,
	};
	struct pop3 *pop3 = &session->pop3;
	struct maildrop *maildrop = &session->maildrop;
	unsigned answer = dialogue_answer(&session->dialogue) % 8;

	CHECK(pop3->user.len > 0 && pop3->user.len <= SASL_SECRET_MAX);
	CHECK(!slice_has_control(pop3->user));
	CHECK(pop3->password.len <= SASL_TOKEN_MAX);
	CHECK(pop3->password.len == 0 || memchr(pop3->password.data, '\0',
	    pop3->password.len) == NULL);
	/* RFC 6856 section 2.2. */
	CHECK(slice_is_utf8(pop3->user) && slice_is_utf8(pop3->password));
	/* It logs in once, with the means it has, and not for ever. */
	CHECK((session->dialogue.options & OPTION_ALLOW_LOGIN) != 0);
	CHECK(pop3->options.secure && session->failed_logins < LOGINS_MAX);
	note(session, "login", pop3->user, pop3->password);
	if (answer < COUNT(failures)) {
		session->failed_logins++;
		pop3_login_failed(pop3, failures[answer]);
	} else {
		pop3_logged_in(pop3, maildrop->messages, maildrop->n);
	}
	CHECK(pop3->user.len == 0 && pop3->password.len == 0);
	dialogue_check_forgotten(&session->dialogue);
}

/* As much of the message as there is, piece by piece. */
static void
send_contents(struct session *session, struct slice rest)
{
	struct dialogue *dialogue = &session->dialogue;
	struct pop3 *pop3 = &session->pop3;

	while (rest.len > 0 && !pop3_message_enough(pop3)) {
		struct slice piece = { rest.data,
			fuzz_piece(&dialogue->dealer, rest.len) };
		size_t taken = pop3_message_data(pop3, piece);

		CHECK(taken <= piece.len);
		CHECK(pop3_next(pop3) == POP3_MESSAGE);
		if (taken == 0) {
			CHECK(buf_contents(&dialogue->wire->out).len > 0);
			dialogue_drain(dialogue);
		}
		rest = slice_skip(rest, taken);
	}
}

static void
serve_message(struct session *session)
{
	const struct error error = { .kind = ERROR_SYSTEM };
	struct pop3 *pop3 = &session->pop3;
	unsigned answer = dialogue_answer(&session->dialogue) % 8;

	CHECK(pop3->message < session->maildrop.n);
	const struct message *message =
	    &session->maildrop.messages[pop3->message];
	struct slice contents = session->maildrop.contents[pop3->message];
	CHECK(!message->deleted);
	text_format(&session->dialogue.events, "message %zu\n",
	    pop3->message);
	switch (answer) {
	case 4: /* it cannot be opened */
		pop3_message_failed(pop3, &error);
		return;
	case 5: /* the number was wrong, or it ends early */
		pop3_message_begin(pop3, message->octets + 1);
		send_contents(session, contents);
		pop3_message_end(pop3, pop3->message % 2 == 0);
		return;
	case 6: /* it breaks off */
		pop3_message_begin(pop3, message->octets);
		contents.len /= 2;
		send_contents(session, contents);
		pop3_message_failed(pop3, &error);
		return;
	case 7:
		pop3_message_begin(pop3, message->octets);
		contents.len /= 2;
		send_contents(session, contents);
		pop3_message_end(pop3, false);
		return;
	default:
		pop3_message_begin(pop3, message->octets);
		send_contents(session, contents);
	}
	pop3_message_end(pop3, true);
}

static void
serve_update(struct session *session)
{
	size_t deleted = 0;

	for (size_t i = 0; i < session->maildrop.n; i++) {
		if (!session->maildrop.messages[i].deleted)
			continue;
		deleted++;
		text_format(&session->dialogue.events, "remove %zu\n", i);
	}
	CHECK(deleted > 0 && session->pop3.quit);
	pop3_updated(&session->pop3,
	    dialogue_answer(&session->dialogue) % 2 == 0);
}

static void
serve(struct session *session, enum pop3_event event)
{
	struct dialogue *dialogue = &session->dialogue;

	switch (event) {
	case POP3_WANT_IO:
		dialogue_pump(dialogue, OPTION_END(dialogue->options));
		break;
	case POP3_COMMAND:
		pop3_go_on(&session->pop3);
		break;
	case POP3_STLS:
		text_format(&dialogue->events, "stls\n");
		dialogue->fed = dialogue_taken(dialogue);
		pop3_accept_stls(&session->pop3);
		dialogue_start_tls(dialogue);
		CHECK(pop3_next(&session->pop3) == POP3_WANT_IO);
		pop3_tls_started(&session->pop3);
		dialogue_check_tls(dialogue);
		break;
	case POP3_LOGIN:
		serve_login(session);
		break;
	case POP3_MESSAGE:
		serve_message(session);
		break;
	case POP3_UIDL:
		CHECK(session->pop3.message < session->maildrop.n);
		pop3_uidl(&session->pop3, uidl_of(&session->maildrop,
		    session->pop3.message));
		break;
	case POP3_UPDATE:
		serve_update(session);
		break;
	case POP3_CLOSED:
		break;
	}
}

static void
hold(struct session *session, enum fuzz_deal deal, size_t more)
{
	struct dialogue *dialogue = &session->dialogue;
	unsigned options = dialogue->options;
	const struct pop3_options pop3_options = {
		.hostname = "mx.example",
		.implementation = "fuzz",
		.allow_login = (options & OPTION_ALLOW_LOGIN) != 0,
		.secure = (options & OPTION_INSECURE) == 0,
		.mechanisms = SASL_USUAL | SASL_TOKENS,
		.stls = (options & OPTION_STLS) != 0,
		.allow_delete = (options & OPTION_DELETE) != 0,
		/* To be asked, and to go on, changes nothing. */
		.ask = deal == DEAL_OCTETS,
	};
	enum pop3_event event;

	make_maildrop(&session->maildrop, OPTION_MAILDROP(options));
	dialogue_begin(dialogue, deal, POP3_IN_MIN + more,
	    POP3_OUT_MIN + more);
	pop3_init(&session->pop3, &pop3_options, dialogue->in,
	    dialogue->in_size, dialogue->out, dialogue->out_size);
	dialogue_connect(dialogue, &session->pop3.wire);
	while ((event = pop3_next(&session->pop3)) != POP3_CLOSED) {
		/* It is the same event until it is answered. */
		CHECK(pop3_next(&session->pop3) == event);
		serve(session, event);
	}
	dialogue_flush(dialogue);
	CHECK(pop3_next(&session->pop3) == POP3_CLOSED);
}

/* ---- what a client makes of it ---- */

struct reader {
	struct slice client; /* what was not answered yet */
	struct slice sent;
	const struct maildrop *maildrop;
	bool stls;
	bool allow_delete;
	bool logged_in;
	bool in_sasl;
	bool closed; /* there can be nothing more */
	bool deleted[MESSAGES_MAX];
	struct text capabilities;
	uint64_t retrieved;
	unsigned lines;
};

static bool
to_number(struct slice s, uint64_t *number)
{
	*number = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9' ||
		    *number > (UINT64_MAX - 9) / 10)
			return false;
		*number = *number * 10 + (uint64_t)(s.data[i] - '0');
	}
	return s.len > 0;
}

/* A message number of the client's: its index, or MESSAGES_MAX. */
static size_t
find_message(const struct reader *reader, struct slice argument)
{
	uint64_t number;

	return !to_number(argument, &number) || number == 0 ||
	    number > reader->maildrop->n || reader->deleted[number - 1]
	    ? MESSAGES_MAX : (size_t)number - 1;
}

/* A stored message on the wire, as far as TOP wants it. */
static void
make_wire(struct slice contents, bool top, uint64_t lines, struct text *wire)
{
	bool in_body = false;

	if (contents.len == 0)
		contents = SLICE("\n");
	while (contents.len > 0 && !(top && in_body && lines == 0)) {
		size_t len = 0;

		while (len < contents.len && contents.data[len] != '\n' &&
		    contents.data[len] != '\r')
			len++;
		struct slice line = { contents.data, len };
		bool pair = len + 1 < contents.len &&
		    memcmp(contents.data + len, "\r\n", 2) == 0;
		contents = slice_skip(contents, len + (pair ? 2 : 1));
		if (slice_starts_with(line, SLICE(".")))
			text_add_octet(wire, '.');
		text_add(wire, line);
		text_add(wire, SLICE("\r\n"));
		if (in_body)
			lines--;
		else
			in_body = line.len == 0;
	}
}

/* The body of RETR or TOP: whole, or cut off where the session is. */
static void
read_message(struct reader *reader, struct slice status, size_t i, bool top,
    uint64_t lines)
{
	struct text want = { .data = NULL };
	uint64_t octets = reader->maildrop->messages[i].octets;
	char ok[64], wrong[64];

	make_wire(reader->maildrop->contents[i], top, lines, &want);
	struct slice text = text_slice(&want);
	if (slice_starts_with(reader->sent, text) && slice_starts_with(
	    slice_skip(reader->sent, want.len), SLICE(".\r\n"))) {
		/* See serve_message: some were told wrong. */
		snprintf(ok, sizeof(ok), "+OK %ju ", (uintmax_t)octets);
		snprintf(wrong, sizeof(wrong), "+OK %ju ",
		    (uintmax_t)octets + 1);
		CHECK(top || slice_starts_with(status, slice_from(ok)) ||
		    slice_starts_with(status, slice_from(wrong)));
		reader->sent = slice_skip(reader->sent, want.len + 3);
		reader->retrieved += !top;
	} else {
		/* Half a message, and no dot that would make it whole. */
		CHECK(slice_starts_with(text, reader->sent));
		reader->sent.len = 0;
		reader->closed = true;
	}
	text_free(&want);
}

/* LIST and UIDL, one entry. */
static void
check_entry(const struct reader *reader, struct slice line, size_t i,
    bool uidl)
{
	const struct message *message = &reader->maildrop->messages[i];
	char want[128];

	if (uidl)
		snprintf(want, sizeof(want), "%zu %.*s", i + 1,
		    SLICE_ARG(uidl_of(reader->maildrop, i)));
	else
		snprintf(want, sizeof(want), "%zu %ju", i + 1,
		    (uintmax_t)message->octets);
	CHECK_SAME(line, slice_from(want));
}

static void
read_listing(struct reader *reader, bool uidl)
{
	for (size_t i = 0; i < reader->maildrop->n; i++)
		if (!reader->deleted[i])
			check_entry(reader, dialogue_reply_line(
			    &reader->sent), i, uidl);
	CHECK_SAME(dialogue_reply_line(&reader->sent), SLICE("."));
}

static void
check_stat(const struct reader *reader, struct slice status)
{
	uint64_t n = 0, octets = 0;
	char want[64];

	for (size_t i = 0; i < reader->maildrop->n; i++)
		if (!reader->deleted[i]) {
			n++;
			octets += reader->maildrop->messages[i].octets;
		}
	snprintf(want, sizeof(want), "+OK %ju %ju", (uintmax_t)n,
	    (uintmax_t)octets);
	CHECK_SAME(status, slice_from(want));
}

/* Lines up to the dot. CAPA says the same in both states, but for STLS. */
static void
read_lines(struct reader *reader, bool capa)
{
	struct text lines = { .data = NULL };
	struct slice line;

	while (line = dialogue_reply_line(&reader->sent),
	    !slice_equal(line, SLICE("."))) {
		CHECK(line.len > 0 && line.data[0] != '.');
		text_add(&lines, line);
		text_add_octet(&lines, '\n');
	}
	if (capa && !reader->stls) {
		if (reader->capabilities.len == 0)
			text_add(&reader->capabilities, text_slice(&lines));
		CHECK_SAME(text_slice(&lines),
		    text_slice(&reader->capabilities));
	}
	text_free(&lines);
}

static bool
is(struct slice verb, const char *name)
{
	return slice_equal_nocase(verb, slice_from(name));
}

static void
read_transaction(struct reader *reader, struct slice status,
    struct slice verb, struct slice argument)
{
	size_t i = find_message(reader, argument);
	struct slice number, rest;
	uint64_t lines = 0;

	if (is(verb, "STAT")) {
		CHECK(argument.len == 0);
		check_stat(reader, status);
	} else if (is(verb, "LIST") || is(verb, "UIDL")) {
		if (argument.len == 0) {
			read_listing(reader, is(verb, "UIDL"));
			return;
		}
		CHECK(i < MESSAGES_MAX);
		CHECK(slice_starts_with(status, SLICE("+OK ")));
		check_entry(reader, slice_skip(status, 4), i,
		    is(verb, "UIDL"));
	} else if (is(verb, "RETR")) {
		CHECK(i < MESSAGES_MAX);
		read_message(reader, status, i, false, 0);
	} else if (is(verb, "TOP")) {
		slice_cut(argument, ' ', &number, &rest);
		i = find_message(reader, number);
		rest = slice_trim(rest);
		CHECK(i < MESSAGES_MAX && rest.len > 0);
		/* More lines than 64 bits count: all of them. */
		if (!to_number(rest, &lines))
			lines = UINT64_MAX;
		read_message(reader, status, i, true, lines);
	} else if (is(verb, "DELE")) {
		CHECK(i < MESSAGES_MAX && reader->allow_delete &&
		    !reader->maildrop->messages[i].permanent);
		reader->deleted[i] = true;
	} else if (is(verb, "RSET")) {
		CHECK(argument.len == 0);
		memset(reader->deleted, 0, sizeof(reader->deleted));
	} else {
		CHECK(is(verb, "NOOP") || is(verb, "CAPA") ||
		    is(verb, "UTF8") || is(verb, "LANG") || is(verb, "QUIT"));
	}
}

/* "+OK" to a command: could it be, and what comes with it? */
static void
read_ok(struct reader *reader, struct slice status, struct slice verb,
    struct slice argument)
{
	struct slice trimmed = slice_trim(argument);
	bool login = is(verb, "PASS") || (is(verb, "AUTH") &&
	    trimmed.len > 0);

	if (is(verb, "CAPA") ||
	    ((is(verb, "LANG") || is(verb, "AUTH")) && trimmed.len == 0))
		read_lines(reader, is(verb, "CAPA"));
	if (is(verb, "QUIT") && trimmed.len == 0)
		reader->closed = true;
	if (reader->logged_in)
		read_transaction(reader, status, verb, trimmed);
	else
		CHECK(login || is(verb, "CAPA") || is(verb, "STLS") ||
		    is(verb, "USER") || is(verb, "AUTH") ||
		    is(verb, "UTF8") || is(verb, "LANG") || is(verb, "QUIT"));
	reader->logged_in |= login;
}

static bool
may_be_deleted(const struct reader *reader, struct slice argument)
{
	size_t i = find_message(reader, argument);

	return i < MESSAGES_MAX && !reader->maildrop->messages[i].permanent;
}

static void
read_reply(struct reader *reader, struct slice line)
{
	struct slice verb, argument;
	bool too_long = line.len + 1 > SASL_LINE_MAX;

	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	slice_cut(line, ' ', &verb, &argument);
	too_long |= line.len + 2 > POP3_LINE_MAX && !is(verb, "AUTH") &&
	    !reader->in_sasl;
	struct slice status = dialogue_reply_line(&reader->sent);
	CHECK(status.len + 2 <= 512); /* RFC 2449 section 4 */
	bool ok = slice_starts_with(status, SLICE("+OK"));
	bool challenge = slice_starts_with(status, SLICE("+ "));
	CHECK(ok || challenge || slice_starts_with(status, SLICE("-ERR")));
	CHECK(!too_long || (!ok && !challenge));
	/* HTTP: nothing that follows has a reply. */
	if (slice_equal(status, SLICE("-ERR This is POP3, closing")))
		reader->closed = true;
	if (challenge)
		CHECK(!reader->logged_in && (reader->in_sasl ||
		    is(verb, "AUTH")));
	else if (ok && reader->in_sasl)
		reader->logged_in = true;
	else if (ok)
		read_ok(reader, status, verb, argument);
	else if (is(verb, "QUIT") && !reader->in_sasl)
		/* Something was not removed. */
		reader->closed = slice_starts_with(status,
		    SLICE("-ERR [SYS/"));
	else if (is(verb, "DELE") && reader->logged_in && !too_long)
		CHECK(!reader->allow_delete || !may_be_deleted(reader,
		    slice_trim(argument)));
	reader->in_sasl = challenge;
}

/* Every line that was taken has its reply, and there is no other. */
static void
read_session(struct reader *reader)
{
	struct slice line, rest;

	CHECK(slice_starts_with(dialogue_reply_line(&reader->sent),
	    SLICE("+OK ")));
	while (reader->sent.len > 0) {
		CHECK(!reader->closed);
		CHECK(slice_cut(reader->client, '\n', &line, &rest));
		reader->client = rest;
		reader->lines++;
		read_reply(reader, line);
	}
}

static void
check_session(const struct session *session)
{
	const struct dialogue *dialogue = &session->dialogue;
	static struct reader reader;

	reader = (struct reader){
		.client = dialogue->client,
		.sent = text_slice(&dialogue->sent),
		.maildrop = &session->maildrop,
		.stls = (dialogue->options & OPTION_STLS) != 0,
		.allow_delete = (dialogue->options & OPTION_DELETE) != 0,
	};
	read_session(&reader);
	CHECK(reader.lines == session->pop3.wire.lines);
	CHECK(reader.retrieved == session->pop3.retrieved);
	text_free(&reader.capabilities);
	dialogue_check_transcript(dialogue,
	    (const struct slice[]){ SLICE("PASS"), SLICE("AUTH") }, 2);
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

		*dialogue = read;
		sessions[i].failed_logins = 0;
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
		dialogue_end(&sessions[i].dialogue);
	text_free(&client);
	return 0;
}
