/*
 * pop3.c - the POP3 machine: a table of commands, each a function that
 * replies or raises an event.
 *
 * No command is taken unless out has room for its whole reply; the replies
 * without a limit (LIST, UIDL, a message) go on from a cursor whenever there
 * is room again. That is all the flow control there is.
 */
#include <assert.h>
#include <string.h>

#include "protocol/hidden.h"

#include "pop3/pop3_private.h"
#include "protocol/foreign.h"

/* Masks of enum pop3_state. */
#define IN_AUTHORIZATION (1u << POP3_AUTHORIZATION)
#define IN_TRANSACTION (1u << POP3_TRANSACTION)
#define IN_BOTH (IN_AUTHORIZATION | IN_TRANSACTION)

struct command {
	struct slice verb;
	unsigned states;
	bool secret; /* its argument is never shown */
	bool asked;  /* about, with options.ask */
	struct slice capability; /* without which it is unknown */
	void (*run)(struct pop3 *pop3, struct slice argument);
};

/* ---- commands of both states ---- */

const struct slice pop3_hideable[] = {
	SLICE("STLS"), SLICE("USER"), SLICE("SASL"), SLICE("TOP"),
	SLICE("UIDL"), SLICE("PIPELINING"), SLICE("RESP-CODES"),
	SLICE("AUTH-RESP-CODE"), SLICE("UTF8"), SLICE("LANG"),
	SLICE("EXPIRE"), SLICE("IMPLEMENTATION"), SLICE("CAPA"),
};
const size_t pop3_hideable_count =
    sizeof(pop3_hideable) / sizeof(pop3_hideable[0]);

/* A line of CAPA's reply: a keyword, and what belongs to it. */
static void
offer(struct pop3 *pop3, struct slice line)
{
	struct slice keyword, rest;

	slice_cut(line, ' ', &keyword, &rest);
	if (!hidden_has(pop3->options.hidden, keyword))
		pop3_reply(pop3, line);
}

/* RFC 2449 section 5. The same before and after the login. */
static void
run_capa(struct pop3 *pop3, struct slice argument)
{
	char mechanisms[SASL_LIST_MAX];

	if (!pop3_no_argument(pop3, argument))
		return;
	pop3_say(pop3, POP3_TEXT_CAPABILITIES);
	if (pop3->options.stls && pop3->state == POP3_AUTHORIZATION)
		offer(pop3, SLICE("STLS"));
	if (pop3_login_possible(pop3)) {
		offer(pop3, SLICE("USER"));
		if (!hidden_has(pop3->options.hidden, SLICE("SASL")))
			wire_format(&pop3->wire, "SASL %s", sasl_list(
			    pop3->options.mechanisms, mechanisms));
	}
	offer(pop3, SLICE("TOP"));
	offer(pop3, SLICE("UIDL"));
	offer(pop3, SLICE("PIPELINING"));
	offer(pop3, SLICE("RESP-CODES"));
	offer(pop3, SLICE("AUTH-RESP-CODE"));
	offer(pop3, pop3_login_possible(pop3) ? SLICE("UTF8 USER")
	                                      : SLICE("UTF8"));
	offer(pop3, SLICE("LANG"));
	/* RFC 2449 6.7: nothing goes but what a client deletes itself. */
	offer(pop3, SLICE("EXPIRE NEVER"));
	if (!hidden_has(pop3->options.hidden, SLICE("IMPLEMENTATION")))
		wire_format(&pop3->wire, "IMPLEMENTATION %s",
		    pop3->options.implementation);
	pop3_reply(pop3, SLICE("."));
}

/* RFC 6856 section 3: a listing, or another language. */
static void
run_lang(struct pop3 *pop3, struct slice range)
{
	if (range.len == 0) {
		pop3_say(pop3, POP3_TEXT_LANGUAGES);
		for (size_t i = 0; i < pop3_languages_count; i++)
			wire_format(&pop3->wire, "%s %s",
			    pop3_languages[i].tag, pop3_languages[i].name);
		pop3_reply(pop3, SLICE("."));
		return;
	}
	const struct pop3_language_row *row = pop3_find_language(range);
	if (row == NULL) {
		pop3_refuse(pop3, POP3_TEXT_NO_LANGUAGE);
		return;
	}
	pop3->language = row->language;
	wire_format(&pop3->wire, "+OK %s %s", row->tag,
	    pop3_text(POP3_TEXT_CHANGED, pop3->language));
}

static void
run_quit(struct pop3 *pop3, struct slice argument)
{
	if (!pop3_no_argument(pop3, argument))
		return;
	pop3->quit = true;
	for (size_t i = 0; i < pop3->n; i++)
		if (pop3->messages[i].deleted) {
			pop3->pending = POP3_UPDATE;
			return;
		}
	pop3_say(pop3, POP3_TEXT_BYE);
	pop3_close_session(pop3);
}

/* RFC 2595 section 4. */
static void
run_stls(struct pop3 *pop3, struct slice argument)
{
	if (!pop3_no_argument(pop3, argument))
		return;
	if (!pop3->options.stls)
		pop3_refuse(pop3, POP3_TEXT_NO_STLS);
	else
		pop3->pending = POP3_STLS;
}

/* RFC 6856 section 2.1. Text is octets here, and names are UTF-8 always, so
 * that it changes nothing: messages with UTF-8 headers are served to
 * everybody, for refusing them would make clients stumble for ever. */
static void
run_utf8(struct pop3 *pop3, struct slice argument)
{
	if (pop3_no_argument(pop3, argument))
		pop3_say(pop3, POP3_TEXT_UTF8);
}

static void
run_noop(struct pop3 *pop3, struct slice argument)
{
	if (pop3_no_argument(pop3, argument))
		pop3_reply(pop3, SLICE("+OK"));
}

/* It belongs to no capability. */
#define NOTHING { "", 0 }

static const struct command commands[] = {
	{ SLICE("CAPA"), IN_BOTH, false, false, SLICE("CAPA"), run_capa },
	{ SLICE("STLS"), IN_AUTHORIZATION, false, true, SLICE("STLS"),
	    run_stls },
	{ SLICE("USER"), IN_AUTHORIZATION, false, false, SLICE("USER"),
	    pop3_run_user },
	{ SLICE("PASS"), IN_AUTHORIZATION, true, false, SLICE("USER"),
	    pop3_run_pass },
	{ SLICE("AUTH"), IN_AUTHORIZATION, true, false, SLICE("SASL"),
	    pop3_run_auth },
	{ SLICE("STAT"), IN_TRANSACTION, false, true, NOTHING, pop3_run_stat },
	{ SLICE("LIST"), IN_TRANSACTION, false, true, NOTHING, pop3_run_list },
	{ SLICE("UIDL"), IN_TRANSACTION, false, true, SLICE("UIDL"),
	    pop3_run_uidl },
	{ SLICE("RETR"), IN_TRANSACTION, false, true, NOTHING, pop3_run_retr },
	{ SLICE("TOP"), IN_TRANSACTION, false, true, SLICE("TOP"),
	    pop3_run_top },
	{ SLICE("DELE"), IN_TRANSACTION, false, true, NOTHING, pop3_run_dele },
	{ SLICE("NOOP"), IN_TRANSACTION, false, false, NOTHING, run_noop },
	{ SLICE("RSET"), IN_TRANSACTION, false, false, NOTHING, pop3_run_rset },
	{ SLICE("UTF8"), IN_AUTHORIZATION, false, false, SLICE("UTF8"),
	    run_utf8 },
	{ SLICE("LANG"), IN_BOTH, false, false, SLICE("LANG"), run_lang },
	{ SLICE("QUIT"), IN_BOTH, false, true, NOTHING, run_quit },
};

/* ---- the machine ---- */

void
pop3_init(struct pop3 *pop3, const struct pop3_options *options,
    char *in, size_t in_size, char *out, size_t out_size)
{
	*pop3 = (struct pop3){ .options = *options, .state = POP3_GREETING };
	if (pop3->options.mechanisms == 0)
		pop3->options.mechanisms = SASL_USUAL;
	if (in != NULL)
		pop3_lend(pop3, in, in_size, out, out_size);
}

void
pop3_lend(struct pop3 *pop3, char *in, size_t in_size, char *out,
    size_t out_size)
{
	assert(in_size >= POP3_IN_MIN && out_size >= POP3_OUT_MIN);
	wire_lend(&pop3->wire, in, in_size, out, out_size);
}

static const struct command *
find_command(struct slice verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (slice_equal_nocase(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}

static bool
is_hidden(const struct pop3 *pop3, const struct command *command)
{
	return hidden_has(pop3->options.hidden, command->capability);
}

static void
begin_command(struct pop3 *pop3, const struct command *command,
    struct slice argument)
{
	/* Blanks at the end are typed by people, but may be a password's. */
	if (!command->secret)
		argument = slice_trim(argument);
	if (!pop3->options.ask || !command->asked) {
		command->run(pop3, argument);
		return;
	}
	pop3->verb = command->verb;
	pop3->argument = argument;
	pop3->pending = POP3_COMMAND;
}

void
pop3_go_on(struct pop3 *pop3)
{
	assert(pop3->pending == POP3_COMMAND);
	pop3->pending = POP3_WANT_IO;
	const struct command *command = find_command(pop3->verb);
	assert(command != NULL);
	command->run(pop3, pop3->argument);
}

void
pop3_refuse_with(struct pop3 *pop3, struct slice text)
{
	assert(pop3->pending == POP3_COMMAND || pop3->pending == POP3_LOGIN);
	assert(text.len <= POP3_REFUSAL_MAX);
	if (pop3->pending == POP3_LOGIN)
		pop3_forget_login(pop3);
	pop3->pending = POP3_WANT_IO;
	wire_format(&pop3->wire, "-ERR %.*s", SLICE_ARG(text));
}

/* A web page can make a browser send commands to this port: nothing that
 * follows is read. */
static void
end_foreign(struct pop3 *pop3)
{
	pop3_say(pop3, POP3_TEXT_FOREIGN);
	pop3_close_session(pop3);
}

static void
take_command(struct pop3 *pop3, struct slice line)
{
	struct slice verb, argument;

	slice_cut(line, ' ', &verb, &argument);
	const struct command *command = find_command(verb);
	if (command == NULL || is_hidden(pop3, command)) {
		/* It might be a password that lost its command. */
		wire_show_input(&pop3->wire, SLICE("(unknown command)"));
		if (foreign_is_request(line))
			end_foreign(pop3);
		else
			pop3_refuse(pop3, POP3_TEXT_UNKNOWN);
		return;
	}
	wire_show_input(&pop3->wire,
	    command->secret ? command->verb : line);
	if (line.len + 2 > POP3_LINE_MAX && command->run != pop3_run_auth)
		pop3_refuse(pop3, POP3_TEXT_TOO_LONG);
	else if ((command->states & 1u << pop3->state) == 0)
		pop3_refuse(pop3, pop3->state == POP3_AUTHORIZATION
		    ? POP3_TEXT_LOG_IN_FIRST : POP3_TEXT_LOGGED_IN);
	else
		begin_command(pop3, command, argument);
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
		wire_show_input(&pop3->wire, SLICE("(too long)"));
		if (foreign_is_request(line))
			end_foreign(pop3);
		else
			pop3_refuse(pop3, POP3_TEXT_TOO_LONG);
		pop3->in_sasl = false;
		pop3_forget_name(pop3);
		pop3_end_login(pop3);
		return true;
	case WIRE_LINE:
	case WIRE_BARE_LF: /* people type it, and nothing can be smuggled */
		break;
	}
	if (pop3->in_sasl) {
		wire_show_input(&pop3->wire, SLICE("(SASL response)"));
		enum sasl_outcome outcome = sasl_server_take(&pop3->sasl,
		    &pop3->wire, line, &challenge);
		pop3_take_sasl(pop3, outcome, challenge);
	} else {
		take_command(pop3, line);
	}
	return true;
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
		if (buf_room(&pop3->wire.out) < POP3_REPLY_MAX)
			return POP3_WANT_IO;
		if (pop3->listing != POP3_NO_LISTING) {
			pop3_continue_listing(pop3);
			continue;
		}
		/* RFC 2595 4: what somebody puts between the go-ahead and the
		 * handshake in clear text is not to be taken for the peer's
		 * (CVE-2011-0411). */
		if (pop3->state != POP3_HANDSHAKE && take_line(pop3))
			continue;
		if (pop3->wire.out.end == pop3->wire.out.start &&
		    (pop3->wire.eof || pop3->wire.timed_out ||
		    pop3->wire.stopping)) {
			/* RFC 1939 section 3: without a word. */
			pop3_close_session(pop3);
			continue;
		}
		return POP3_WANT_IO;
	}
}

void
pop3_updated(struct pop3 *pop3, bool all_removed)
{
	assert(pop3->pending == POP3_UPDATE);
	pop3->pending = POP3_WANT_IO;
	pop3_say(pop3, all_removed ? POP3_TEXT_BYE : POP3_TEXT_NOT_REMOVED);
	pop3_close_session(pop3);
}

void
pop3_drop(struct pop3 *pop3)
{
	if (pop3->pending == POP3_LOGIN)
		pop3_forget_login(pop3);
	pop3->pending = POP3_WANT_IO;
	pop3_close_session(pop3);
}
