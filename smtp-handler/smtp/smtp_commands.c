/*
 * smtp_commands.c - a table of commands and what each one does: RFC 5321 4.1
 * and what extensions add to it. What asks the program becomes an event, all
 * else is answered here.
 */
#include "smtp/smtp_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocol/address.h"
#include "protocol/foreign.h"
#include "protocol/hidden.h"

/* Masks of enum smtp_state. */
#define IN(state) (1u << (state))
#define GREETED (IN(SMTP_READY) | IN(SMTP_SENDER) | IN(SMTP_RECIPIENTS) | \
	IN(SMTP_CHUNKS) | IN(SMTP_FAILED))
#define ANYWHERE (IN(SMTP_COLD) | GREETED)

struct command {
	struct slice verb;
	unsigned states; /* where it may come; else one of these: */
	void (*run)(struct smtp *smtp, struct slice argument);
	struct slice extension; /* without which it is unknown */
};

/* ---- HELO, EHLO ---- */

const struct slice smtp_hideable[] = {
	SLICE("PIPELINING"), SLICE("SIZE"), SLICE("8BITMIME"),
	SLICE("CHUNKING"), SLICE("SMTPUTF8"), SLICE("DSN"), SLICE("STARTTLS"),
	SLICE("REQUIRETLS"), SLICE("AUTH"), SLICE("LIMITS"), SLICE("HELP"),
	SLICE("ENHANCEDSTATUSCODES"), SLICE("EHLO"),
};
const size_t smtp_hideable_count =
    sizeof(smtp_hideable) / sizeof(smtp_hideable[0]);

/* EHLO's reply, of which the last line is held back: it has another form. */
struct hello {
	struct smtp *smtp;
	char held[SMTP_HELO_MAX + 64];
};

static void offer(struct hello *hello, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A keyword, and what belongs to it. */
static void
offer(struct hello *hello, const char *format, ...)
{
	struct smtp *smtp = hello->smtp;
	struct slice keyword, rest;
	va_list args;

	slice_cut(slice_from(format), ' ', &keyword, &rest);
	/* "AUTH=PLAIN" too. */
	slice_cut(keyword, '=', &keyword, &rest);
	if (hidden_has(smtp->options.hidden, keyword))
		return;
	wire_format(&smtp->wire, "250-%s", hello->held);
	va_start(args, format);
	vsnprintf(hello->held, sizeof(hello->held), format, args);
	va_end(args);
}

static void
offer_extensions(struct hello *hello)
{
	const struct smtp *smtp = hello->smtp;
	const struct smtp_options *options = &smtp->options;
	char mechanisms[SASL_LIST_MAX];

	offer(hello, "PIPELINING");
	offer(hello, "SIZE %ju", (uintmax_t)options->max_size);
	offer(hello, "8BITMIME");
	offer(hello, "CHUNKING");
	offer(hello, "SMTPUTF8");
	if (options->dsn)
		offer(hello, "DSN");
	if (options->starttls && !smtp->tls_started)
		offer(hello, "STARTTLS");
	if (smtp_offers_requiretls(smtp))
		offer(hello, "REQUIRETLS");
	if (options->login == SMTP_LOGIN_OFFERED && !smtp->authenticated) {
		sasl_list(options->mechanisms, mechanisms);
		offer(hello, "AUTH %s", mechanisms);
		/* What some old clients look for. */
		offer(hello, "AUTH=%s", mechanisms);
	}
	/* RFC 9422 3: what there is no limit of is not named. */
	if (options->max_recipients > 0)
		offer(hello, "LIMITS RCPTMAX=%ju",
		    (uintmax_t)options->max_recipients);
	offer(hello, "HELP");
	offer(hello, "ENHANCEDSTATUSCODES");
}

void
smtp_put_hello(struct smtp *smtp)
{
	struct hello hello = { .smtp = smtp };

	snprintf(hello.held, sizeof(hello.held), "%s",
	    smtp->options.hostname);
	if (smtp->esmtp)
		offer_extensions(&hello);
	wire_format(&smtp->wire, "250 %s", hello.held);
}

static void
keep_name(struct smtp *smtp, struct slice name)
{
	static const struct slice more = SLICE("...");
	bool fits = name.len <= sizeof(smtp->helo);
	size_t len = fits ? name.len : sizeof(smtp->helo) - more.len;

	memcpy(smtp->helo, name.data, len);
	if (!fits)
		memcpy(smtp->helo + len, more.data, more.len);
	smtp->helo_len = fits ? len : sizeof(smtp->helo);
}

static void
hello(struct smtp *smtp, struct slice name, bool esmtp)
{
	if (name.len == 0) {
		smtp_bad_command(smtp, REPLY_HELLO_SYNTAX);
		return;
	}
	keep_name(smtp, name);
	smtp->esmtp = esmtp;
	if (smtp->in_transaction) {
		/* RFC 5321 4.1.4: as RSET does. */
		smtp_ask_reset(smtp, SMTP_AFTER_HELLO);
		return;
	}
	smtp->state = SMTP_READY;
	smtp_put_hello(smtp);
}

static void
run_helo(struct smtp *smtp, struct slice argument)
{
	hello(smtp, argument, false);
}

static void
run_ehlo(struct smtp *smtp, struct slice argument)
{
	hello(smtp, argument, true);
}

/* RFC 2033 4.1: in place of the other two, which are then unknown. */
static void
run_lhlo(struct smtp *smtp, struct slice argument)
{
	hello(smtp, argument, true);
}

/* ---- STARTTLS, AUTH ---- */

/* RFC 3207 section 4. */
static void
run_starttls(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0)
		smtp_bad_command(smtp, REPLY_SYNTAX);
	else if (smtp->tls_started)
		smtp_bad_command(smtp, REPLY_TLS_TWICE);
	else if (!smtp->options.starttls)
		smtp_bad_command(smtp, REPLY_NOT_IMPLEMENTED);
	else if (smtp->in_transaction)
		smtp_ask_reset(smtp, SMTP_AFTER_STARTTLS);
	else
		smtp->pending = SMTP_STARTTLS;
}

void
smtp_sasl_step(struct smtp *smtp, enum sasl_outcome outcome,
    struct slice challenge)
{
	smtp->in_sasl = outcome == SASL_CONTINUE;
	switch (outcome) {
	case SASL_CONTINUE:
		wire_format(&smtp->wire, "334 %.*s", SLICE_ARG(challenge));
		return;
	case SASL_DONE:
		smtp->user = smtp->sasl.user;
		smtp->password = smtp->sasl.password;
		if (smtp->user.len > 0 && !slice_has_control(smtp->user)) {
			smtp->pending = SMTP_AUTH;
			return;
		}
		smtp_bad_command(smtp, REPLY_AUTH_MESSAGE);
		break;
	case SASL_CANCELLED:
		smtp_bad_command(smtp, REPLY_AUTH_CANCELLED);
		break;
	case SASL_BAD_BASE64:
		smtp_bad_command(smtp, REPLY_AUTH_BASE64);
		break;
	case SASL_BAD_MESSAGE:
		smtp_bad_command(smtp, REPLY_AUTH_MESSAGE);
		break;
	case SASL_TOO_LONG:
		smtp_bad_command(smtp, REPLY_AUTH_TOO_LONG);
		break;
	case SASL_NOT_ALLOWED:
		smtp_bad_command(smtp, REPLY_AUTH_IDENTITY);
		break;
	case SASL_REFUSED:
		smtp_put_reply(smtp, &smtp->refusal);
		smtp_end_login(smtp);
		return;
	case SASL_UNKNOWN:
		smtp_bad_command(smtp, REPLY_AUTH_MECHANISM);
		break;
	}
	sasl_wipe(&smtp->sasl, &smtp->wire);
}

/* RFC 4954 section 4. */
static void
run_auth(struct smtp *smtp, struct slice argument)
{
	struct slice mechanism, initial, challenge;

	if (smtp->options.login == SMTP_LOGIN_NONE) {
		smtp_bad_command(smtp, REPLY_AUTH_NONE);
	} else if (smtp->options.login == SMTP_LOGIN_NEEDS_TLS) {
		smtp_bad_command(smtp, REPLY_AUTH_NEEDS_TLS);
	} else if (smtp->authenticated) {
		smtp_bad_command(smtp, REPLY_AUTH_TWICE);
	} else if (argument.len == 0) {
		smtp_bad_command(smtp, REPLY_SYNTAX);
	} else {
		if (slice_cut(argument, ' ', &mechanism, &initial))
			initial = slice_trim(initial);
		else
			initial = slice_from(NULL);
		enum sasl_outcome outcome = sasl_server_start(&smtp->sasl,
		    &smtp->wire, smtp->options.mechanisms, mechanism,
		    initial, &challenge);
		smtp_sasl_step(smtp, outcome, challenge);
	}
}

/* ---- MAIL, RCPT and their parameters ---- */

/* A SIZE= that is too big does not count as a bad command. */
static void
refuse_parameter(struct smtp *smtp, enum smtp_reply_id reply)
{
	if (reply == REPLY_TOO_BIG)
		smtp_say(smtp, REPLY_TOO_BIG);
	else
		smtp_bad_command(smtp, reply);
}

/*
 * RFC 6531 3.3: a path with other characters than ASCII needs SMTPUTF8 with
 * MAIL. The path is what before has more than rest, with its source route.
 */
static bool
may_stand(struct smtp *smtp, struct slice before, struct slice rest)
{
	before.len -= rest.len;
	if (smtp->envelope.utf8 || slice_is_ascii(before))
		return true;
	smtp_bad_command(smtp, REPLY_NOT_ASCII);
	return false;
}

/* RFC 6409 8.1: an address without a domain is at ours. RFC 5321 4.1.1.3:
 * the recipient <postmaster> needs none. */
static struct slice
domain_of(const struct smtp *smtp, const struct address *address)
{
	const struct smtp_options *options = &smtp->options;

	if (address->domain.len > 0 || address->local.len == 0)
		return address->domain;
	return slice_from(options->domain != NULL ? options->domain
	                                          : options->hostname);
}

static struct slice
recipient_domain(const struct smtp *smtp, const struct address *address)
{
	return slice_equal_nocase(address->local, SLICE("postmaster"))
	    ? address->domain : domain_of(smtp, address);
}

static void
run_mail(struct smtp *smtp, struct slice argument)
{
	static const struct slice from = SLICE("FROM:");
	struct address address;

	if (smtp->options.login_required && !smtp->authenticated) {
		smtp_bad_command(smtp, REPLY_LOGIN_FIRST);
		return;
	}
	if (!slice_starts_with_nocase(argument, from)) {
		smtp_bad_command(smtp, REPLY_MAIL_SYNTAX);
		return;
	}
	argument = slice_skip(argument, from.len);
	struct slice before = argument;
	if (address_parse_path(&argument, ADDRESS_REVERSE, true, &address) !=
	    ADDRESS_OK) {
		smtp_bad_command(smtp, REPLY_BAD_SENDER);
		return;
	}
	envelope_reset(&smtp->envelope);
	enum smtp_reply_id reply = smtp_take_mail_parameters(smtp, argument);
	if (reply != REPLY_NONE) {
		refuse_parameter(smtp, reply);
		return;
	}
	if (!may_stand(smtp, before, argument))
		return;
	bool kept = envelope_set_reverse_path(&smtp->envelope, address.local,
	    domain_of(smtp, &address));
	assert(kept);
	(void)kept;
	smtp->pending = SMTP_MAIL;
}

static void
run_rcpt(struct smtp *smtp, struct slice argument)
{
	static const struct slice to = SLICE("TO:");
	struct envelope_notify dsn;
	struct address address;

	if (!slice_starts_with_nocase(argument, to)) {
		smtp_bad_command(smtp, REPLY_RCPT_SYNTAX);
		return;
	}
	argument = slice_skip(argument, to.len);
	struct slice before = argument;
	if (address_parse_path(&argument, ADDRESS_FORWARD, true, &address) !=
	    ADDRESS_OK) {
		smtp_bad_command(smtp, REPLY_BAD_RECIPIENT);
		return;
	}
	enum smtp_reply_id reply = smtp_take_rcpt_parameters(smtp, argument,
	    &dsn);
	if (reply != REPLY_NONE) {
		refuse_parameter(smtp, reply);
		return;
	}
	if (!may_stand(smtp, before, argument))
		return;
	if (!envelope_add_recipient(&smtp->envelope, address.local,
	    recipient_domain(smtp, &address))) {
		smtp_say(smtp, REPLY_TOO_MANY_RECIPIENTS);
	} else if (!envelope_set_notify(&smtp->envelope, &dsn)) {
		envelope_drop_recipient(&smtp->envelope);
		smtp_say(smtp, REPLY_TOO_MANY_RECIPIENTS);
	} else {
		smtp->pending = SMTP_RCPT;
	}
}

/* ---- the other commands ---- */

static void
run_data(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0)
		smtp_bad_command(smtp, REPLY_SYNTAX);
	else
		smtp->pending = SMTP_DATA_BEGIN;
}

static void
run_bdat(struct smtp *smtp, struct slice argument)
{
	smtp_begin_chunk(smtp, argument, REPLY_NONE);
}

static void
run_rset(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0) {
		smtp_bad_command(smtp, REPLY_SYNTAX);
	} else if (smtp->in_transaction) {
		smtp_ask_reset(smtp, SMTP_AFTER_RSET);
	} else {
		if (smtp->state == SMTP_FAILED)
			smtp->state = SMTP_READY;
		smtp->path_refused = false;
		smtp_say(smtp, REPLY_OK);
	}
}

static void
run_noop(struct smtp *smtp, struct slice argument)
{
	(void)argument; /* RFC 5321 4.1.1.9: a string, to be ignored */
	smtp_say(smtp, REPLY_OK);
}

/* RFC 6531 3.7.4.2: "VRFY name SMTPUTF8". */
static bool
ends_in_smtputf8(struct slice argument)
{
	static const struct slice keyword = SLICE("SMTPUTF8");
	size_t before = argument.len - keyword.len;

	return argument.len > keyword.len &&
	    argument.data[before - 1] == ' ' &&
	    slice_equal_nocase(slice_skip(argument, before), keyword);
}

static void
run_vrfy(struct smtp *smtp, struct slice argument)
{
	if (argument.len == 0 || !slice_is_utf8(argument))
		smtp_bad_command(smtp, REPLY_SYNTAX);
	else if (!slice_is_ascii(argument) && !ends_in_smtputf8(argument))
		smtp_bad_command(smtp, REPLY_NOT_ASCII);
	else
		smtp_say(smtp, REPLY_VRFY);
}

static void
run_expn(struct smtp *smtp, struct slice argument)
{
	(void)argument;
	smtp_bad_command(smtp, REPLY_NOT_IMPLEMENTED);
}

static void
run_help(struct smtp *smtp, struct slice argument)
{
	(void)argument;
	smtp_say(smtp, smtp->options.lmtp ? REPLY_HELP_LMTP : REPLY_HELP);
}

static void
run_quit(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0) {
		smtp_bad_command(smtp, REPLY_SYNTAX);
		return;
	}
	smtp->quit = true;
	smtp_say(smtp, REPLY_BYE);
	smtp->state = SMTP_ENDED;
}

/* It belongs to no extension. */
#define NOTHING { "", 0 }

static const struct command commands[] = {
	{ SLICE("EHLO"), ANYWHERE, run_ehlo, SLICE("EHLO") },
	{ SLICE("HELO"), ANYWHERE, run_helo, NOTHING },
	{ SLICE("LHLO"), ANYWHERE, run_lhlo, NOTHING },
	{ SLICE("STARTTLS"), GREETED, run_starttls, SLICE("STARTTLS") },
	{ SLICE("AUTH"), IN(SMTP_READY), run_auth, SLICE("AUTH") },
	{ SLICE("MAIL"), IN(SMTP_READY), run_mail, NOTHING },
	{ SLICE("RCPT"), IN(SMTP_SENDER) | IN(SMTP_RECIPIENTS), run_rcpt,
	    NOTHING },
	{ SLICE("DATA"), IN(SMTP_RECIPIENTS), run_data, NOTHING },
	{ SLICE("BDAT"), ANYWHERE, run_bdat, SLICE("CHUNKING") },
	{ SLICE("RSET"), ANYWHERE, run_rset, NOTHING },
	{ SLICE("NOOP"), ANYWHERE, run_noop, NOTHING },
	{ SLICE("VRFY"), ANYWHERE, run_vrfy, NOTHING },
	{ SLICE("EXPN"), ANYWHERE, run_expn, NOTHING },
	{ SLICE("HELP"), ANYWHERE, run_help, SLICE("HELP") },
	{ SLICE("QUIT"), ANYWHERE, run_quit, NOTHING },
};

/* Why a command may not come now. */
static enum smtp_reply_id
out_of_order(const struct smtp *smtp, const struct command *command)
{
	if (smtp->state == SMTP_COLD)
		return smtp->options.lmtp ? REPLY_LHLO_FIRST
		                          : REPLY_HELLO_FIRST;
	if (smtp->state == SMTP_FAILED ||
	    (smtp->state == SMTP_CHUNKS && command->run != run_mail))
		return REPLY_RSET_FIRST;
	if (command->run == run_mail)
		return REPLY_NESTED_MAIL;
	if (command->run == run_auth)
		return REPLY_IN_TRANSACTION;
	if (command->run == run_data && smtp->state == SMTP_SENDER)
		return REPLY_RCPT_FIRST;
	return REPLY_MAIL_FIRST;
}

/* ---- a line that is a command ---- */

static const struct command *
find_command(const struct smtp *smtp, struct slice verb)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = &commands[i];

		if (!slice_equal_nocase(verb, command->verb))
			continue;
		if (smtp->options.lmtp ? command->run == run_ehlo ||
		    command->run == run_helo : command->run == run_lhlo)
			return NULL;
		if (hidden_has(smtp->options.hidden, command->extension))
			return NULL;
		return command;
	}
	return NULL;
}

static bool
is_hello(const struct command *command)
{
	return command != NULL && (command->run == run_ehlo ||
	    command->run == run_helo || command->run == run_lhlo);
}

/* Up to the first blank, of which people type tabs too. */
static void
cut_verb(struct slice line, struct slice *verb, struct slice *argument)
{
	size_t n = 0;

	while (n < line.len && line.data[n] != ' ' && line.data[n] != '\t')
		n++;
	*verb = (struct slice){ line.data, n };
	/* Blanks at the end are typed by people, too (RFC 5321 4.1.1). */
	*argument = slice_trim(slice_skip(line, n));
}

void
smtp_take_command(struct smtp *smtp, struct slice line,
    enum smtp_reply_id wrong)
{
	struct slice verb, argument;

	cut_verb(line, &verb, &argument);
	const struct command *command = find_command(smtp, verb);
	bool is_auth = command != NULL && command->run == run_auth;
	/* An unknown line might be a password that lost its command. */
	wire_show_input(&smtp->wire, command == NULL
	    ? SLICE("(unknown command)") : is_auth ? verb : line);
	if (wrong == REPLY_NONE && line.len + 2 > SMTP_LINE_MAX &&
	    !is_auth)
		wrong = REPLY_LINE_TOO_LONG;
	/* RFC 5321 4.1.4: nobody is refused for the name given in EHLO. Of
	 * the blanks around the argument a tab may be one. */
	if (wrong == REPLY_NONE && (slice_has_control(verb) ||
	    (slice_has_control(argument) && !is_hello(command))))
		wrong = REPLY_BAD_OCTETS;
	/* RFC 3030: whatever is wrong, the octets of a chunk follow. */
	if (wrong != REPLY_NONE && command != NULL &&
	    command->run == run_bdat)
		smtp_begin_chunk(smtp, argument, wrong);
	else if (command == NULL && foreign_is_request(line))
		smtp_say(smtp, REPLY_FOREIGN);
	else if (wrong != REPLY_NONE)
		smtp_bad_command(smtp, wrong);
	else if (command == NULL)
		smtp_bad_command(smtp, REPLY_UNKNOWN_COMMAND);
	else if ((command->states & IN(smtp->state)) == 0)
		smtp_refuse_order(smtp, out_of_order(smtp, command));
	else
		command->run(smtp, argument);
	if (command != NULL && smtp->pending == SMTP_WANT_IO &&
	    (command->run == run_mail || command->run == run_rcpt)) {
		/* Nothing is asked of the program, so it was refused here. */
		smtp->path_refused = true;
		smtp->refused_line = line;
		smtp->pending = SMTP_REFUSED;
	} else if (is_auth && smtp->pending == SMTP_WANT_IO &&
	    smtp->options.login == SMTP_LOGIN_NEEDS_TLS) {
		/* Never its argument: that may hold a password. */
		smtp->refused_line = SLICE("AUTH");
		smtp->pending = SMTP_REFUSED;
	}
	if (is_auth && (smtp->pending == SMTP_WANT_IO ||
	    smtp->pending == SMTP_REFUSED))
		wire_wipe_taken(&smtp->wire);
}
