/*
 * pop3.c - the POP3 machine: a table of commands, each a function that
 * replies or raises an event.
 *
 * No command is taken unless out has room for its whole reply; the replies
 * without a limit (LIST, UIDL, a message) go on from a cursor whenever there
 * is room again. That is all the flow control there is.
 * Layer 1.
 */
#include "pop3.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The longest reply that is made in one go: CAPA, or a line. */
#define REPLY_MAX 1024
/* A login's tries, and bad commands before one. */
#define LOGINS_MAX 3
#define BAD_COMMANDS_MAX 20

/* Masks of enum pop3_state. */
#define IN_AUTHORIZATION (1u << POP3_AUTHORIZATION)
#define IN_TRANSACTION (1u << POP3_TRANSACTION)

struct command {
	struct slice verb;
	unsigned states;
	bool secret; /* its argument is never shown */
	void (*run)(struct pop3 *pop3, struct slice argument);
};

static const struct slice ok = SLICE("+OK");

static void
reply(struct pop3 *pop3, struct slice line)
{
	wire_put_line(&pop3->wire, line);
}

/* A whole reply of the table, in the session's language. */
static void
say(struct pop3 *pop3, enum pop3_text text)
{
	wire_format(&pop3->wire, "%s %s", pop3_text_status(text),
	    pop3_text(text, pop3->language));
}

/* Refuses what stands behind a command that takes nothing. */
static bool
no_argument(struct pop3 *pop3, struct slice argument)
{
	if (argument.len == 0)
		return true;
	say(pop3, POP3_TEXT_NO_ARGUMENT);
	return false;
}

/* ---- what the messages are ---- */

/* A message number (RFC 1939 section 3), as an index. Deleted ones and such
 * as never were are refused alike. */
static bool
find_message(struct pop3 *pop3, struct slice argument, size_t *index)
{
	uint64_t number;

	if (!slice_to_number(argument, pop3->n, &number) || number == 0 ||
	    pop3->messages[number - 1].deleted)
		return false;
	*index = (size_t)number - 1;
	return true;
}

static void
count_messages(const struct pop3 *pop3, uint64_t *n, uint64_t *octets)
{
	*n = *octets = 0;
	for (size_t i = 0; i < pop3->n; i++)
		if (!pop3->messages[i].deleted) {
			(*n)++;
			*octets += pop3->messages[i].octets;
		}
}

static void
say_maildrop(struct pop3 *pop3)
{
	uint64_t n, octets;

	count_messages(pop3, &n, &octets);
	wire_format(&pop3->wire, "+OK %ju %s (%ju %s)", (uintmax_t)n,
	    pop3_text(POP3_TEXT_MESSAGES, pop3->language), (uintmax_t)octets,
	    pop3_text(POP3_TEXT_OCTETS, pop3->language));
}

static struct slice
uidl_of(const struct pop3 *pop3, size_t i)
{
	return (struct slice){ *pop3->uidls + pop3->messages[i].uidl,
		pop3->messages[i].uidl_len };
}

/* "42 " and so on, backwards from end; returns where it begins. */
static char *
put_number(char *end, uint64_t number)
{
	do
		*--end = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return end;
}

/* One line of a listing. Listings may have a million of them, and printf
 * is what would take the time. */
static void
put_entry(struct pop3 *pop3, const char *before, size_t i,
    enum pop3_listing listing)
{
	char line[160];
	char number[24];
	char *end = number + sizeof(number);
	size_t len = strlen(before);

	memcpy(line, before, len);
	char *at = put_number(end, (uint64_t)i + 1);
	memcpy(line + len, at, (size_t)(end - at));
	len += (size_t)(end - at);
	line[len++] = ' ';
	if (listing == POP3_UIDL) {
		struct slice uidl = uidl_of(pop3, i);
		memcpy(line + len, uidl.data, uidl.len);
		len += uidl.len;
	} else {
		at = put_number(end, pop3->messages[i].octets);
		memcpy(line + len, at, (size_t)(end - at));
		len += (size_t)(end - at);
	}
	reply(pop3, (struct slice){ line, len });
}

/* ---- commands of both states ---- */

static bool
login_possible(const struct pop3 *pop3)
{
	return pop3->options.allow_login && pop3->options.secure;
}

/* RFC 2449 section 5. The same before and after the login. */
static void
run_capa(struct pop3 *pop3, struct slice argument)
{
	if (!no_argument(pop3, argument))
		return;
	say(pop3, POP3_TEXT_CAPABILITIES);
	if (pop3->options.stls && pop3->state == POP3_AUTHORIZATION)
		reply(pop3, SLICE("STLS"));
	if (login_possible(pop3)) {
		reply(pop3, SLICE("USER"));
		reply(pop3, SLICE("SASL " SASL_MECHANISMS));
	}
	reply(pop3, SLICE("TOP"));
	reply(pop3, SLICE("UIDL"));
	reply(pop3, SLICE("PIPELINING"));
	reply(pop3, SLICE("RESP-CODES"));
	reply(pop3, SLICE("AUTH-RESP-CODE"));
	reply(pop3, login_possible(pop3) ? SLICE("UTF8 USER")
	                                 : SLICE("UTF8"));
	reply(pop3, SLICE("LANG"));
	/* RFC 2449 6.7: nothing goes but what a client deletes itself. */
	reply(pop3, SLICE("EXPIRE NEVER"));
	wire_format(&pop3->wire, "IMPLEMENTATION %s",
	    pop3->options.implementation);
	reply(pop3, SLICE("."));
}

/* RFC 6856 section 3: a listing, or another language. */
static void
run_lang(struct pop3 *pop3, struct slice range)
{
	if (range.len == 0) {
		say(pop3, POP3_TEXT_LANGUAGES);
		for (size_t i = 0; i < pop3_languages_count; i++)
			wire_format(&pop3->wire, "%s %s",
			    pop3_languages[i].tag, pop3_languages[i].name);
		reply(pop3, SLICE("."));
		return;
	}
	const struct pop3_language_row *row = pop3_find_language(range);
	if (row == NULL) {
		wire_format(&pop3->wire, "-ERR %s",
		    pop3_text(POP3_TEXT_NO_LANGUAGE, pop3->language));
		return;
	}
	pop3->language = row->language;
	wire_format(&pop3->wire, "+OK %s %s", row->tag,
	    pop3_text(POP3_TEXT_CHANGED, pop3->language));
}

static void
close_session(struct pop3 *pop3)
{
	pop3->state = POP3_ENDED;
}

static void
run_quit(struct pop3 *pop3, struct slice argument)
{
	if (!no_argument(pop3, argument))
		return;
	pop3->quit = true;
	for (size_t i = 0; i < pop3->n; i++)
		if (pop3->messages[i].deleted) {
			pop3->pending = POP3_UPDATE;
			return;
		}
	say(pop3, POP3_TEXT_BYE);
	close_session(pop3);
}

/* ---- AUTHORIZATION ---- */

static bool
login_offered(struct pop3 *pop3)
{
	if (login_possible(pop3))
		return true;
	say(pop3, pop3->options.stls ? POP3_TEXT_NEEDS_STLS
	                             : POP3_TEXT_NO_LOGIN);
	return false;
}

static void
run_user(struct pop3 *pop3, struct slice name)
{
	if (!login_offered(pop3))
		return;
	if (name.len == 0 || name.len > sizeof(pop3->user_name) ||
	    slice_has_control(name)) {
		say(pop3, POP3_TEXT_BAD_NAME);
		return;
	}
	/* RFC 6856 section 2.2. */
	if (!slice_is_utf8(name)) {
		say(pop3, POP3_TEXT_NOT_UTF8);
		return;
	}
	memcpy(pop3->user_name, name.data, name.len);
	pop3->user_len = name.len;
	/* The same for every name: who exists is nobody's business. */
	say(pop3, POP3_TEXT_SEND_PASSWORD);
}

static void
run_pass(struct pop3 *pop3, struct slice password)
{
	if (!login_offered(pop3))
		return;
	if (pop3->user_len == 0) {
		say(pop3, POP3_TEXT_USER_FIRST);
		return;
	}
	if (password.len > SASL_SECRET_MAX ||
	    (password.len > 0 &&
	    memchr(password.data, '\0', password.len) != NULL)) {
		say(pop3, POP3_TEXT_BAD_PASSWORD);
		return;
	}
	if (!slice_is_utf8(password)) {
		say(pop3, POP3_TEXT_NOT_UTF8);
		return;
	}
	pop3->user = (struct slice){ pop3->user_name, pop3->user_len };
	pop3->password = password;
	pop3->pending = POP3_LOGIN;
}

static void
sasl_step(struct pop3 *pop3, enum sasl_outcome outcome,
    struct slice challenge)
{
	pop3->in_sasl = outcome == SASL_CONTINUE;
	switch (outcome) {
	case SASL_CONTINUE:
		wire_format(&pop3->wire, "+ %.*s", SLICE_ARG(challenge));
		return;
	case SASL_DONE:
		pop3->user = pop3->sasl.user;
		pop3->password = pop3->sasl.password;
		if (pop3->user.len == 0 || slice_has_control(pop3->user)) {
			say(pop3, POP3_TEXT_BAD_NAME);
		} else if (!slice_is_utf8(pop3->user) ||
		    !slice_is_utf8(pop3->password)) {
			say(pop3, POP3_TEXT_NOT_UTF8);
		} else {
			pop3->pending = POP3_LOGIN;
			return;
		}
		break;
	case SASL_CANCELLED:
		say(pop3, POP3_TEXT_CANCELLED);
		break;
	case SASL_BAD_BASE64:
	case SASL_BAD_MESSAGE:
		say(pop3, POP3_TEXT_MALFORMED);
		break;
	case SASL_UNKNOWN:
		say(pop3, POP3_TEXT_NO_MECHANISM);
		break;
	}
	sasl_wipe(&pop3->sasl);
	wire_wipe_taken(&pop3->wire);
}

/* RFC 2595 section 4. */
static void
run_stls(struct pop3 *pop3, struct slice argument)
{
	if (!no_argument(pop3, argument))
		return;
	if (!pop3->options.stls)
		say(pop3, POP3_TEXT_NO_STLS);
	else
		pop3->pending = POP3_STLS;
}

/* RFC 6856 section 2.1. Text is octets here, and names are UTF-8 always, so
 * that it changes nothing: messages with UTF-8 headers are served to
 * everybody, for refusing them would make clients stumble for ever. */
static void
run_utf8(struct pop3 *pop3, struct slice argument)
{
	if (no_argument(pop3, argument))
		say(pop3, POP3_TEXT_UTF8);
}

/* RFC 5034 section 4. */
static void
run_auth(struct pop3 *pop3, struct slice argument)
{
	struct slice mechanism, initial, challenge;

	if (!login_offered(pop3))
		return;
	if (argument.len == 0) {
		/* Of no RFC, but old clients ask, and Dovecot answers. */
		say(pop3, POP3_TEXT_MECHANISMS);
		reply(pop3, SLICE("PLAIN"));
		reply(pop3, SLICE("LOGIN"));
		reply(pop3, SLICE("."));
		return;
	}
	if (!slice_cut(argument, ' ', &mechanism, &initial))
		initial = slice_from(NULL);
	enum sasl_outcome outcome = sasl_server_start(&pop3->sasl, mechanism,
	    initial, &challenge);
	sasl_step(pop3, outcome, challenge);
}

/* ---- TRANSACTION ---- */

static void
run_stat(struct pop3 *pop3, struct slice argument)
{
	uint64_t n, octets;

	if (!no_argument(pop3, argument))
		return;
	count_messages(pop3, &n, &octets);
	wire_format(&pop3->wire, "+OK %ju %ju", (uintmax_t)n,
	    (uintmax_t)octets);
}

static void
start_listing(struct pop3 *pop3, struct slice argument,
    enum pop3_listing listing)
{
	size_t i;

	if (argument.len > 0) {
		if (find_message(pop3, argument, &i))
			put_entry(pop3, "+OK ", i, listing);
		else
			say(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
		return;
	}
	say_maildrop(pop3);
	pop3->listing = listing;
	pop3->cursor = 0;
}

static void
run_list(struct pop3 *pop3, struct slice argument)
{
	start_listing(pop3, argument, POP3_LIST);
}

static void
run_uidl(struct pop3 *pop3, struct slice argument)
{
	start_listing(pop3, argument, POP3_UIDL);
}

static void
run_retr(struct pop3 *pop3, struct slice argument)
{
	if (!find_message(pop3, argument, &pop3->message)) {
		say(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
		return;
	}
	pop3->top = false;
	pop3->pending = POP3_MESSAGE;
}

static void
run_top(struct pop3 *pop3, struct slice argument)
{
	struct slice number, lines;

	slice_cut(argument, ' ', &number, &lines);
	if (!slice_to_number(slice_trim(lines), UINT64_MAX,
	    &pop3->top_lines)) {
		say(pop3, POP3_TEXT_TOP_TAKES);
		return;
	}
	if (!find_message(pop3, number, &pop3->message)) {
		say(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
		return;
	}
	pop3->top = true;
	pop3->pending = POP3_MESSAGE;
}

static void
run_dele(struct pop3 *pop3, struct slice argument)
{
	size_t i;

	if (!find_message(pop3, argument, &i)) {
		say(pop3, POP3_TEXT_NO_SUCH_MESSAGE);
	} else if (!pop3->options.allow_delete) {
		say(pop3, POP3_TEXT_CANNOT_DELETE);
	} else {
		pop3->messages[i].deleted = true;
		say(pop3, POP3_TEXT_MARKED);
	}
}

static void
run_noop(struct pop3 *pop3, struct slice argument)
{
	if (no_argument(pop3, argument))
		reply(pop3, ok);
}

static void
run_rset(struct pop3 *pop3, struct slice argument)
{
	if (!no_argument(pop3, argument))
		return;
	for (size_t i = 0; i < pop3->n; i++)
		pop3->messages[i].deleted = false;
	reply(pop3, ok);
}

static const struct command commands[] = {
	{ SLICE("CAPA"), IN_AUTHORIZATION | IN_TRANSACTION, false, run_capa },
	{ SLICE("STLS"), IN_AUTHORIZATION, false, run_stls },
	{ SLICE("USER"), IN_AUTHORIZATION, false, run_user },
	{ SLICE("PASS"), IN_AUTHORIZATION, true, run_pass },
	{ SLICE("AUTH"), IN_AUTHORIZATION, true, run_auth },
	{ SLICE("STAT"), IN_TRANSACTION, false, run_stat },
	{ SLICE("LIST"), IN_TRANSACTION, false, run_list },
	{ SLICE("UIDL"), IN_TRANSACTION, false, run_uidl },
	{ SLICE("RETR"), IN_TRANSACTION, false, run_retr },
	{ SLICE("TOP"), IN_TRANSACTION, false, run_top },
	{ SLICE("DELE"), IN_TRANSACTION, false, run_dele },
	{ SLICE("NOOP"), IN_TRANSACTION, false, run_noop },
	{ SLICE("RSET"), IN_TRANSACTION, false, run_rset },
	{ SLICE("UTF8"), IN_AUTHORIZATION, false, run_utf8 },
	{ SLICE("LANG"), IN_AUTHORIZATION | IN_TRANSACTION, false, run_lang },
	{ SLICE("QUIT"), IN_AUTHORIZATION | IN_TRANSACTION, false, run_quit },
};

/* ---- the machine ---- */

void
pop3_init(struct pop3 *pop3, const struct pop3_options *options,
    char *in, size_t in_size, char *out, size_t out_size)
{
	assert(in_size >= POP3_IN_MIN && out_size >= POP3_OUT_MIN);
	*pop3 = (struct pop3){ .options = *options, .state = POP3_GREETING };
	wire_init(&pop3->wire, in, in_size, out, out_size);
}

static const struct command *
find_command(struct slice verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (slice_equal_nocase(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}

static void
bad_command(struct pop3 *pop3, enum pop3_text text)
{
	say(pop3, text);
	/* Something that speaks another protocol at us. */
	if (pop3->state == POP3_AUTHORIZATION &&
	    ++pop3->bad_commands >= BAD_COMMANDS_MAX)
		close_session(pop3);
}

static void
take_command(struct pop3 *pop3, struct slice line)
{
	struct slice verb, argument;

	slice_cut(line, ' ', &verb, &argument);
	const struct command *command = find_command(verb);
	if (command == NULL) {
		/* It might be a password that lost its command. */
		wire_trace_input(&pop3->wire, SLICE("(unknown command)"));
		bad_command(pop3, POP3_TEXT_UNKNOWN);
		return;
	}
	wire_trace_input(&pop3->wire,
	    command->secret ? command->verb : line);
	if (line.len + 2 > POP3_LINE_MAX && command->run != run_auth)
		bad_command(pop3, POP3_TEXT_TOO_LONG);
	else if ((command->states & 1u << pop3->state) == 0)
		bad_command(pop3, pop3->state == POP3_AUTHORIZATION
		    ? POP3_TEXT_LOG_IN_FIRST : POP3_TEXT_LOGGED_IN);
	else
		/* Blanks at the end are typed by people, but may be a
		 * password's. */
		command->run(pop3, command->secret ? argument
		    : slice_trim(argument));
	if (command->secret && pop3->pending == POP3_WANT_IO)
		wire_wipe_taken(&pop3->wire);
}

/* Takes one line, if there is a whole one. */
static bool
take_line(struct pop3 *pop3)
{
	struct slice line, challenge;

	switch (wire_line(&pop3->wire, SASL_LINE_MAX, &line)) {
	case WIRE_MORE:
		return false;
	case WIRE_TOO_LONG:
		wire_trace_input(&pop3->wire, SLICE("(too long)"));
		pop3->in_sasl = false;
		sasl_wipe(&pop3->sasl);
		wire_wipe_taken(&pop3->wire);
		bad_command(pop3, POP3_TEXT_TOO_LONG);
		return true;
	case WIRE_LINE:
	case WIRE_BARE_LF: /* people type it, and nothing can be smuggled */
		break;
	}
	if (pop3->in_sasl) {
		wire_trace_input(&pop3->wire, SLICE("(SASL response)"));
		enum sasl_outcome outcome = sasl_server_take(&pop3->sasl,
		    line, &challenge);
		sasl_step(pop3, outcome, challenge);
	} else {
		take_command(pop3, line);
	}
	return true;
}

/* Puts out what there is room for. */
static void
continue_listing(struct pop3 *pop3)
{
	while (pop3->cursor < pop3->n) {
		if (buf_room(&pop3->wire.out) < REPLY_MAX)
			return;
		if (!pop3->messages[pop3->cursor].deleted)
			put_entry(pop3, "", pop3->cursor, pop3->listing);
		pop3->cursor++;
	}
	if (buf_room(&pop3->wire.out) < REPLY_MAX)
		return;
	reply(pop3, SLICE("."));
	pop3->listing = POP3_NO_LISTING;
}

enum pop3_event
pop3_next(struct pop3 *pop3)
{
	if (pop3->state == POP3_GREETING) {
		wire_format(&pop3->wire, "+OK %s %s", pop3->options.hostname,
		    pop3_text(POP3_TEXT_READY, pop3->language));
		pop3->state = POP3_AUTHORIZATION;
	}
	for (;;) {
		if (pop3->pending != POP3_WANT_IO)
			return pop3->pending;
		if (pop3->state == POP3_ENDED)
			return POP3_CLOSED;
		if (buf_room(&pop3->wire.out) < REPLY_MAX)
			return POP3_WANT_IO;
		if (pop3->listing != POP3_NO_LISTING) {
			continue_listing(pop3);
			continue;
		}
		if (take_line(pop3))
			continue;
		if (pop3->wire.out.end == pop3->wire.out.start &&
		    (pop3->wire.eof || pop3->wire.timed_out ||
		    pop3->wire.stopping)) {
			/* RFC 1939 section 3: without a word. */
			close_session(pop3);
			continue;
		}
		return POP3_WANT_IO;
	}
}

static void
forget_login(struct pop3 *pop3)
{
	pop3->pending = POP3_WANT_IO;
	pop3->user = pop3->password = slice_from(NULL);
	pop3->user_len = 0;
	explicit_bzero(pop3->user_name, sizeof(pop3->user_name));
	sasl_wipe(&pop3->sasl);
	wire_wipe_taken(&pop3->wire);
}

void
pop3_accept_stls(struct pop3 *pop3)
{
	assert(pop3->pending == POP3_STLS);
	pop3->pending = POP3_WANT_IO;
	say(pop3, POP3_TEXT_GO_AHEAD);
}

void
pop3_tls_started(struct pop3 *pop3)
{
	/* What was said in clear text is forgotten (RFC 2595 section 4). */
	pop3->user_len = 0;
	pop3->language = POP3_ENGLISH;
	pop3->options.stls = false;
	pop3->options.secure = true;
}

void
pop3_logged_in(struct pop3 *pop3, struct message *messages, size_t n,
    const char *const *uidls)
{
	assert(pop3->pending == POP3_LOGIN);
	forget_login(pop3);
	pop3->state = POP3_TRANSACTION;
	pop3->messages = messages;
	pop3->n = n;
	pop3->uidls = uidls;
	say_maildrop(pop3);
}

void
pop3_login_failed(struct pop3 *pop3, enum pop3_login_failure failure)
{
	static const enum pop3_text texts[] = {
		[POP3_LOGIN_WRONG] = POP3_TEXT_WRONG,
		[POP3_LOGIN_REFUSED] = POP3_TEXT_REFUSED,
		[POP3_LOGIN_TEMPORARY] = POP3_TEXT_TEMPORARY,
		[POP3_LOGIN_NO_MAILDROP] = POP3_TEXT_NO_MAILDROP,
		[POP3_LOGIN_IN_USE] = POP3_TEXT_IN_USE,
	};

	assert(pop3->pending == POP3_LOGIN);
	forget_login(pop3);
	say(pop3, texts[failure]);
	if (++pop3->failed_logins >= LOGINS_MAX)
		close_session(pop3);
}

void
pop3_message_begin(struct pop3 *pop3, uint64_t octets)
{
	assert(pop3->pending == POP3_MESSAGE && !pop3->sending);
	pop3->sending = true;
	pop3->encoder = (struct dot_encoder){ .in_line = false };
	if (pop3->top) {
		dot_encoder_limit(&pop3->encoder, pop3->top_lines);
		say(pop3, POP3_TEXT_TOP_FOLLOWS);
	} else {
		wire_format(&pop3->wire, "+OK %ju %s", (uintmax_t)octets,
		    pop3_text(POP3_TEXT_OCTETS, pop3->language));
	}
}

size_t
pop3_message_data(struct pop3 *pop3, struct slice data)
{
	size_t room;
	size_t len = data.len;
	char *at = buf_reserve(&pop3->wire.out, &room);

	assert(pop3->sending);
	if (room < 2 + DOT_END_MAX)
		return 0;
	buf_commit(&pop3->wire.out, dot_encode(&pop3->encoder, &data, at,
	    room - DOT_END_MAX));
	return len - data.len;
}

bool
pop3_message_enough(const struct pop3 *pop3)
{
	return pop3->encoder.enough;
}

void
pop3_message_end(struct pop3 *pop3, bool whole)
{
	size_t room;
	char *at = buf_reserve(&pop3->wire.out, &room);

	assert(pop3->sending && room >= DOT_END_MAX);
	pop3->sending = false;
	pop3->pending = POP3_WANT_IO;
	if (!whole && !pop3->encoder.enough) {
		close_session(pop3);
		return;
	}
	buf_commit(&pop3->wire.out, dot_encode_end(&pop3->encoder, at));
	pop3->retrieved += !pop3->top;
	pop3->octets_sent += pop3->encoder.octets;
}

void
pop3_message_failed(struct pop3 *pop3, const struct error *error)
{
	assert(pop3->pending == POP3_MESSAGE);
	pop3->pending = POP3_WANT_IO;
	if (pop3->sending) {
		pop3->sending = false;
		close_session(pop3);
		return;
	}
	wire_format(&pop3->wire, "-ERR %s %s",
	    error_meaning(error->kind)->pop3_code,
	    pop3_text(POP3_TEXT_CANNOT_READ, pop3->language));
}

void
pop3_updated(struct pop3 *pop3, bool all_removed)
{
	assert(pop3->pending == POP3_UPDATE);
	pop3->pending = POP3_WANT_IO;
	say(pop3, all_removed ? POP3_TEXT_BYE : POP3_TEXT_NOT_REMOVED);
	close_session(pop3);
}
