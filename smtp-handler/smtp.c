/*
 * smtp.c - the SMTP machine: a table of commands, a table of replies.
 *
 * No command is taken unless out has room for the longest reply. In message
 * text no command is looked for at all: lines there are the dot decoder's.
 * Layer 1.
 */
#include "smtp.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

/* Room for the longest reply: so much text, in so many lines at most. */
#define REPLY_LINES_MAX 64
#define REPLY_MAX (SMTP_REPLY_TEXT_MAX + REPLY_LINES_MAX * 20)
#define LOGINS_MAX 3
#define BAD_COMMANDS_MAX 20

static_assert(REPLY_MAX <= SMTP_OUT_MIN, "out must hold any reply");

/* Masks of enum smtp_state. */
#define IN(state) (1u << (state))
#define GREETED (IN(SMTP_READY) | IN(SMTP_SENDER) | IN(SMTP_RECIPIENTS))
#define ANYWHERE (IN(SMTP_COLD) | GREETED)

/* Every reply this machine makes by itself. RFC 5321 4.2 and 4.3.2 for the
 * codes, RFC 3463 and 5248 for the enhanced ones. */
enum reply_id {
	REPLY_OK,
	REPLY_SENDER_OK,
	REPLY_RECIPIENT_OK,
	REPLY_TEXT_GO,
	REPLY_QUEUED,
	REPLY_LOGGED_IN,
	REPLY_TLS_GO,
	REPLY_BYE,
	REPLY_HELP,
	REPLY_VRFY,
	REPLY_UNKNOWN_COMMAND,
	REPLY_BAD_OCTETS,
	REPLY_BARE_LF,
	REPLY_LINE_TOO_LONG,
	REPLY_HELLO_SYNTAX,
	REPLY_SYNTAX,
	REPLY_MAIL_SYNTAX,
	REPLY_RCPT_SYNTAX,
	REPLY_BAD_SENDER,
	REPLY_BAD_RECIPIENT,
	REPLY_NOT_ASCII,
	REPLY_BAD_PARAMETER,
	REPLY_UNKNOWN_PARAMETER,
	REPLY_NOT_IMPLEMENTED,
	REPLY_HELLO_FIRST,
	REPLY_NESTED_MAIL,
	REPLY_MAIL_FIRST,
	REPLY_RCPT_FIRST,
	REPLY_IN_TRANSACTION,
	REPLY_LOGIN_FIRST,
	REPLY_TOO_BIG,
	REPLY_TOO_MANY_RECIPIENTS,
	REPLY_TEXT_BARE_CR,
	REPLY_TEXT_BARE_LF,
	REPLY_SMUGGLING,
	REPLY_TLS_TWICE,
	REPLY_AUTH_TWICE,
	REPLY_AUTH_NONE,
	REPLY_AUTH_NEEDS_TLS,
	REPLY_AUTH_MECHANISM,
	REPLY_AUTH_CANCELLED,
	REPLY_AUTH_BASE64,
	REPLY_AUTH_MESSAGE,
	REPLY_AUTH_TOO_LONG,
	REPLY_TOO_MANY_BAD,
	REPLY_TIMED_OUT,
	REPLY_STOPPING,
};

static const struct smtp_reply replies[] = {
	[REPLY_OK] = { 250, "2.0.0", SLICE("Ok") },
	[REPLY_SENDER_OK] = { 250, "2.1.0", SLICE("Ok") },
	[REPLY_RECIPIENT_OK] = { 250, "2.1.5", SLICE("Ok") },
	/* RFC 5321 4.2.5: no enhanced code with 3yz (RFC 2034 4). */
	[REPLY_TEXT_GO] = { 354, NULL,
	    SLICE("End data with <CR><LF>.<CR><LF>") },
	[REPLY_QUEUED] = { 250, "2.0.0", SLICE("Ok, kept") },
	[REPLY_LOGGED_IN] = { 235, "2.7.0", SLICE("Logged in") },
	[REPLY_TLS_GO] = { 220, "2.0.0", SLICE("Go ahead") },
	[REPLY_BYE] = { 221, "2.0.0", SLICE("Bye") },
	[REPLY_HELP] = { 214, "2.0.0",
	    SLICE("Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP "
	    "VRFY EXPN HELP QUIT\nSee RFC 5321") },
	/* RFC 5321 3.5.3: cannot tell, but will take the mail and try. */
	[REPLY_VRFY] = { 252, "2.5.0",
	    SLICE("Cannot verify, send mail and see") },
	[REPLY_UNKNOWN_COMMAND] = { 500, "5.5.1", SLICE("Unknown command") },
	[REPLY_BAD_OCTETS] = { 500, "5.5.2",
	    SLICE("Control characters in a command") },
	[REPLY_BARE_LF] = { 500, "5.5.2",
	    SLICE("A command ends in CRLF, not in LF alone") },
	[REPLY_LINE_TOO_LONG] = { 500, "5.5.2", SLICE("Line too long") },
	/* The answers to HELO and EHLO carry no enhanced code. */
	[REPLY_HELLO_SYNTAX] = { 501, NULL, SLICE("A host name is needed") },
	[REPLY_SYNTAX] = { 501, "5.5.4", SLICE("Wrong arguments") },
	[REPLY_MAIL_SYNTAX] = { 501, "5.5.4",
	    SLICE("Syntax: MAIL FROM:<address> [parameters]") },
	[REPLY_RCPT_SYNTAX] = { 501, "5.5.4",
	    SLICE("Syntax: RCPT TO:<address> [parameters]") },
	[REPLY_BAD_SENDER] = { 501, "5.1.7", SLICE("Not an address") },
	[REPLY_BAD_RECIPIENT] = { 501, "5.1.3", SLICE("Not an address") },
	[REPLY_NOT_ASCII] = { 553, "5.6.7",
	    SLICE("This address would need SMTPUTF8") },
	[REPLY_BAD_PARAMETER] = { 501, "5.5.4", SLICE("Wrong parameter") },
	[REPLY_UNKNOWN_PARAMETER] = { 555, "5.5.4",
	    SLICE("Unknown parameter") },
	[REPLY_NOT_IMPLEMENTED] = { 502, "5.5.1", SLICE("Not implemented") },
	[REPLY_HELLO_FIRST] = { 503, "5.5.1", SLICE("EHLO comes first") },
	[REPLY_NESTED_MAIL] = { 503, "5.5.1",
	    SLICE("There is a sender already") },
	[REPLY_MAIL_FIRST] = { 503, "5.5.1", SLICE("MAIL comes first") },
	[REPLY_RCPT_FIRST] = { 503, "5.5.1", SLICE("No recipient yet") },
	[REPLY_IN_TRANSACTION] = { 503, "5.5.1",
	    SLICE("Not in a mail transaction") },
	[REPLY_LOGIN_FIRST] = { 530, "5.7.0", SLICE("Log in first") },
	[REPLY_TOO_BIG] = { 552, "5.3.4", SLICE("Message too big") },
	[REPLY_TOO_MANY_RECIPIENTS] = { 452, "4.5.3",
	    SLICE("Too many recipients, send the rest in another message") },
	[REPLY_TEXT_BARE_CR] = { 550, "5.6.0",
	    SLICE("A CR without LF in the message") },
	[REPLY_TEXT_BARE_LF] = { 550, "5.6.0",
	    SLICE("An LF without CR in the message") },
	[REPLY_SMUGGLING] = { 521, "5.5.2",
	    SLICE("A lone dot between line ends that are not CRLF") },
	[REPLY_TLS_TWICE] = { 503, "5.5.1", SLICE("This is TLS already") },
	[REPLY_AUTH_TWICE] = { 503, "5.5.1", SLICE("Logged in already") },
	[REPLY_AUTH_NONE] = { 502, "5.5.1", SLICE("No logins here") },
	[REPLY_AUTH_NEEDS_TLS] = { 538, "5.7.11",
	    SLICE("Logins need TLS here") },
	[REPLY_AUTH_MECHANISM] = { 504, "5.5.4",
	    SLICE("No such mechanism, EHLO lists them") },
	[REPLY_AUTH_CANCELLED] = { 501, "5.7.0", SLICE("Cancelled") },
	[REPLY_AUTH_BASE64] = { 501, "5.5.2", SLICE("Not base64") },
	[REPLY_AUTH_MESSAGE] = { 501, "5.5.2", SLICE("Malformed response") },
	[REPLY_AUTH_TOO_LONG] = { 500, "5.5.6", SLICE("Response too long") },
	[REPLY_TOO_MANY_BAD] = { 421, "4.7.0",
	    SLICE("Too many bad commands") },
	[REPLY_TIMED_OUT] = { 421, "4.4.2", SLICE("Took too long, closing") },
	[REPLY_STOPPING] = { 421, "4.3.2", SLICE("Shutting down") },
};

struct command {
	struct slice verb;
	unsigned states; /* where it may come; else one of these: */
	void (*run)(struct smtp *smtp, struct slice argument);
};

/* ---- replies ---- */

static void
close_session(struct smtp *smtp)
{
	smtp->state = SMTP_ENDED;
}

/* One line of a reply: "250-2.1.0 text". */
static void
put_reply_line(struct smtp *smtp, const struct smtp_reply *reply,
    struct slice text, bool last)
{
	char line[SMTP_REPLY_TEXT_MAX + 20];
	size_t len = (size_t)snprintf(line, 20, "%03u%c%.10s%s",
	    reply->code, last ? ' ' : '-',
	    reply->enhanced != NULL ? reply->enhanced : "",
	    reply->enhanced != NULL && reply->enhanced[0] != '\0' ? " " : "");

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];
		/* A next hop's text, or a hook's, is not to end the line. */
		line[len++] = c < 0x20 || c == 0x7F ? ' ' : (char)c;
	}
	wire_put_line(&smtp->wire, (struct slice){ line, len });
}

static void
put_reply(struct smtp *smtp, const struct smtp_reply *reply)
{
	struct slice rest = reply->text;
	bool more;

	if (rest.len > SMTP_REPLY_TEXT_MAX)
		rest.len = SMTP_REPLY_TEXT_MAX;
	for (int lines = 1;; lines++) {
		struct slice line;

		more = slice_cut(rest, '\n', &line, &rest) &&
		    lines < REPLY_LINES_MAX;
		put_reply_line(smtp, reply, line, !more);
		if (!more)
			break;
	}
	/* RFC 5321 3.8: after 421 the server closes. */
	if (reply->code == 421 || reply->code == 521)
		close_session(smtp);
}

static void
say(struct smtp *smtp, enum reply_id id)
{
	put_reply(smtp, &replies[id]);
}

/* A command that is wrong in itself. The 20th one ends the session. */
static void
bad_command(struct smtp *smtp, enum reply_id id)
{
	if (++smtp->bad_commands >= BAD_COMMANDS_MAX)
		id = REPLY_TOO_MANY_BAD;
	say(smtp, id);
}

/* ---- HELO, EHLO ---- */

static void
put_hello(struct smtp *smtp)
{
	struct wire *wire = &smtp->wire;
	const char *hostname = smtp->options.hostname;

	if (!smtp->esmtp) {
		wire_format(wire, "250 %s", hostname);
		return;
	}
	wire_format(wire, "250-%s", hostname);
	wire_put_line(wire, SLICE("250-PIPELINING"));
	wire_format(wire, "250-SIZE %ju", (uintmax_t)smtp->options.max_size);
	wire_put_line(wire, SLICE("250-8BITMIME"));
	if (smtp->options.starttls && !smtp->tls_started)
		wire_put_line(wire, SLICE("250-STARTTLS"));
	if (smtp->options.login == SMTP_LOGIN_OFFERED) {
		wire_put_line(wire, SLICE("250-AUTH " SASL_MECHANISMS));
		/* What some old clients look for. */
		wire_put_line(wire, SLICE("250-AUTH=" SASL_MECHANISMS));
	}
	wire_put_line(wire, SLICE("250-HELP"));
	wire_put_line(wire, SLICE("250 ENHANCEDSTATUSCODES"));
}

static void
hello(struct smtp *smtp, struct slice name, bool esmtp)
{
	bool in_transaction = smtp->state > SMTP_READY;

	/* RFC 5321 4.1.4: the name need not be right, nor even be one; but
	 * it will stand in a header. */
	if (name.len == 0 || name.len >= sizeof(smtp->helo) ||
	    memchr(name.data, ' ', name.len) != NULL ||
	    !slice_is_utf8(name)) {
		bad_command(smtp, REPLY_HELLO_SYNTAX);
		return;
	}
	memcpy(smtp->helo, name.data, name.len);
	smtp->helo[name.len] = '\0';
	smtp->esmtp = esmtp;
	if (in_transaction) {
		/* RFC 5321 4.1.4: as RSET does. */
		smtp->pending = SMTP_RESET;
		smtp->after_reset = SMTP_AFTER_HELLO;
		return;
	}
	smtp->state = SMTP_READY;
	put_hello(smtp);
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

/* ---- STARTTLS, AUTH ---- */

/* RFC 3207 section 4. */
static void
run_starttls(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0)
		bad_command(smtp, REPLY_SYNTAX);
	else if (smtp->tls_started)
		bad_command(smtp, REPLY_TLS_TWICE);
	else if (!smtp->options.starttls)
		bad_command(smtp, REPLY_NOT_IMPLEMENTED);
	else
		smtp->pending = SMTP_STARTTLS;
}

static void
sasl_step(struct smtp *smtp, enum sasl_outcome outcome,
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
		bad_command(smtp, REPLY_AUTH_MESSAGE);
		break;
	case SASL_CANCELLED:
		bad_command(smtp, REPLY_AUTH_CANCELLED);
		break;
	case SASL_BAD_BASE64:
		bad_command(smtp, REPLY_AUTH_BASE64);
		break;
	case SASL_BAD_MESSAGE:
		bad_command(smtp, REPLY_AUTH_MESSAGE);
		break;
	case SASL_UNKNOWN:
		bad_command(smtp, REPLY_AUTH_MECHANISM);
		break;
	}
	sasl_wipe(&smtp->sasl);
	wire_wipe_taken(&smtp->wire);
}

/* RFC 4954 section 4. */
static void
run_auth(struct smtp *smtp, struct slice argument)
{
	struct slice mechanism, initial, challenge;

	if (smtp->options.login == SMTP_LOGIN_NONE) {
		bad_command(smtp, REPLY_AUTH_NONE);
	} else if (smtp->options.login == SMTP_LOGIN_NEEDS_TLS) {
		bad_command(smtp, REPLY_AUTH_NEEDS_TLS);
	} else if (smtp->authenticated) {
		bad_command(smtp, REPLY_AUTH_TWICE);
	} else if (argument.len == 0) {
		bad_command(smtp, REPLY_SYNTAX);
	} else {
		if (!slice_cut(argument, ' ', &mechanism, &initial))
			initial = slice_from(NULL);
		enum sasl_outcome outcome = sasl_server_start(&smtp->sasl,
		    mechanism, initial, &challenge);
		sasl_step(smtp, outcome, challenge);
	}
}

/* ---- MAIL, RCPT and their parameters ---- */

static const int parameter_ok = -1;

/* SIZE=n (RFC 1870 section 6). */
static int
take_size(struct smtp *smtp, struct slice value)
{
	if (value.len > 20 || !slice_to_number(value, UINT64_MAX,
	    &smtp->envelope.size))
		return REPLY_BAD_PARAMETER;
	return smtp->envelope.size > smtp->options.max_size ? REPLY_TOO_BIG
	    : parameter_ok;
}

/* BODY= (RFC 6152). BINARYMIME would need RFC 3030, which is not offered. */
static int
take_body(struct smtp *smtp, struct slice value)
{
	if (slice_equal_nocase(value, SLICE("BINARYMIME")))
		return REPLY_UNKNOWN_PARAMETER;
	smtp->envelope.eight_bit = slice_equal_nocase(value,
	    SLICE("8BITMIME"));
	return smtp->envelope.eight_bit ||
	    slice_equal_nocase(value, SLICE("7BIT")) ? parameter_ok
	    : REPLY_BAD_PARAMETER;
}

/* xtext (RFC 3461 section 4): printable, with "+" before two upper-case
 * hexadecimal digits only, and no "=". */
static bool
is_xtext(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];

		if (c < 0x21 || c > 0x7E || c == '=')
			return false;
		if (c != '+')
			continue;
		if (i + 2 >= text.len)
			return false;
		for (size_t k = 1; k <= 2; k++)
			if (strchr("0123456789ABCDEF", text.data[i + k]) ==
			    NULL)
				return false;
		i += 2;
	}
	return text.len > 0;
}

/* AUTH= (RFC 4954 section 5): checked, and not trusted. */
static int
take_auth(struct smtp *smtp, struct slice value)
{
	if (smtp->options.login == SMTP_LOGIN_NONE)
		return REPLY_UNKNOWN_PARAMETER;
	return is_xtext(value) ? parameter_ok : REPLY_BAD_PARAMETER;
}

struct parameter {
	struct slice keyword;
	bool needs_value;
	int (*take)(struct smtp *smtp, struct slice value);
};

static const struct parameter mail_parameters[] = {
	{ SLICE("SIZE"), true, take_size },
	{ SLICE("BODY"), true, take_body },
	{ SLICE("AUTH"), true, take_auth },
};
#define N_MAIL_PARAMETERS \
	(sizeof(mail_parameters) / sizeof(mail_parameters[0]))

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool
is_keyword(struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		char c = slice_lower(word.data[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (c != '-' || i == 0))
			return false;
	}
	return word.len > 0;
}

/* The parameters after a path (RFC 5321 4.1.2), each known and once. */
static int
take_parameters(struct smtp *smtp, struct slice text,
    const struct parameter *parameters, size_t n)
{
	unsigned seen = 0;

	if (text.len > 0 && text.data[0] != ' ')
		return REPLY_BAD_PARAMETER;
	while ((text = slice_trim(text)).len > 0) {
		struct slice word, keyword, value;
		size_t i = 0;

		slice_cut(text, ' ', &word, &text);
		bool has_value = slice_cut(word, '=', &keyword, &value);
		if (!is_keyword(keyword))
			return REPLY_BAD_PARAMETER;
		while (i < n && !slice_equal_nocase(keyword,
		    parameters[i].keyword))
			i++;
		if (i == n)
			return REPLY_UNKNOWN_PARAMETER;
		if ((seen & 1u << i) != 0 ||
		    has_value != parameters[i].needs_value)
			return REPLY_BAD_PARAMETER;
		seen |= 1u << i;
		int reply = parameters[i].take(smtp, value);
		if (reply != parameter_ok)
			return reply;
	}
	return parameter_ok;
}

/* Too big is no fault of the command's form. */
static void
refuse_parameter(struct smtp *smtp, int reply)
{
	if (reply == REPLY_TOO_BIG)
		say(smtp, REPLY_TOO_BIG);
	else
		bad_command(smtp, (enum reply_id)reply);
}

static void
run_mail(struct smtp *smtp, struct slice argument)
{
	static const struct slice from = SLICE("FROM:");
	struct address address;

	if (smtp->options.login_required && !smtp->authenticated) {
		say(smtp, REPLY_LOGIN_FIRST);
		return;
	}
	if (!slice_starts_with_nocase(argument, from)) {
		bad_command(smtp, REPLY_MAIL_SYNTAX);
		return;
	}
	argument = slice_skip(argument, from.len);
	switch (address_parse_path(&argument, ADDRESS_REVERSE, false,
	    &address)) {
	case ADDRESS_OK:
		break;
	case ADDRESS_NOT_ASCII:
		bad_command(smtp, REPLY_NOT_ASCII);
		return;
	default:
		bad_command(smtp, REPLY_BAD_SENDER);
		return;
	}
	envelope_reset(&smtp->envelope);
	int reply = take_parameters(smtp, argument, mail_parameters,
	    N_MAIL_PARAMETERS);
	if (reply != parameter_ok) {
		refuse_parameter(smtp, reply);
		return;
	}
	bool kept = envelope_set_reverse_path(&smtp->envelope,
	    address.mailbox);
	assert(kept);
	(void)kept;
	smtp->pending = SMTP_MAIL;
}

static void
run_rcpt(struct smtp *smtp, struct slice argument)
{
	static const struct slice to = SLICE("TO:");
	struct address address;

	if (!slice_starts_with_nocase(argument, to)) {
		bad_command(smtp, REPLY_RCPT_SYNTAX);
		return;
	}
	argument = slice_skip(argument, to.len);
	switch (address_parse_path(&argument, ADDRESS_FORWARD, false,
	    &address)) {
	case ADDRESS_OK:
		break;
	case ADDRESS_NOT_ASCII:
		bad_command(smtp, REPLY_NOT_ASCII);
		return;
	default:
		bad_command(smtp, REPLY_BAD_RECIPIENT);
		return;
	}
	int reply = take_parameters(smtp, argument, NULL, 0);
	if (reply != parameter_ok)
		refuse_parameter(smtp, reply);
	else if (envelope_add_recipient(&smtp->envelope, address.mailbox,
	    address.local, address.domain))
		smtp->pending = SMTP_RCPT;
	else
		say(smtp, REPLY_TOO_MANY_RECIPIENTS);
}

/* ---- the other commands ---- */

static void
run_data(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0)
		bad_command(smtp, REPLY_SYNTAX);
	else
		smtp->pending = SMTP_DATA_BEGIN;
}

static void
run_rset(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0) {
		bad_command(smtp, REPLY_SYNTAX);
	} else if (smtp->state > SMTP_READY) {
		smtp->pending = SMTP_RESET;
		smtp->after_reset = SMTP_AFTER_RSET;
	} else {
		say(smtp, REPLY_OK);
	}
}

static void
run_noop(struct smtp *smtp, struct slice argument)
{
	(void)argument; /* RFC 5321 4.1.1.9: a string, to be ignored */
	say(smtp, REPLY_OK);
}

static void
run_vrfy(struct smtp *smtp, struct slice argument)
{
	if (argument.len == 0)
		bad_command(smtp, REPLY_SYNTAX);
	else
		say(smtp, REPLY_VRFY);
}

static void
run_expn(struct smtp *smtp, struct slice argument)
{
	(void)argument;
	bad_command(smtp, REPLY_NOT_IMPLEMENTED);
}

static void
run_help(struct smtp *smtp, struct slice argument)
{
	(void)argument;
	say(smtp, REPLY_HELP);
}

static void
run_quit(struct smtp *smtp, struct slice argument)
{
	if (argument.len > 0) {
		bad_command(smtp, REPLY_SYNTAX);
		return;
	}
	smtp->quit = true;
	say(smtp, REPLY_BYE);
	close_session(smtp);
}

static const struct command commands[] = {
	{ SLICE("EHLO"), ANYWHERE, run_ehlo },
	{ SLICE("HELO"), ANYWHERE, run_helo },
	{ SLICE("STARTTLS"), GREETED, run_starttls },
	{ SLICE("AUTH"), IN(SMTP_READY), run_auth },
	{ SLICE("MAIL"), IN(SMTP_READY), run_mail },
	{ SLICE("RCPT"), IN(SMTP_SENDER) | IN(SMTP_RECIPIENTS), run_rcpt },
	{ SLICE("DATA"), IN(SMTP_RECIPIENTS), run_data },
	{ SLICE("RSET"), ANYWHERE, run_rset },
	{ SLICE("NOOP"), ANYWHERE, run_noop },
	{ SLICE("VRFY"), ANYWHERE, run_vrfy },
	{ SLICE("EXPN"), ANYWHERE, run_expn },
	{ SLICE("HELP"), ANYWHERE, run_help },
	{ SLICE("QUIT"), ANYWHERE, run_quit },
};

/* Why a command may not come now. */
static enum reply_id
out_of_order(const struct smtp *smtp, const struct command *command)
{
	if (smtp->state == SMTP_COLD)
		return REPLY_HELLO_FIRST;
	if (command->run == run_mail)
		return REPLY_NESTED_MAIL;
	if (command->run == run_auth)
		return REPLY_IN_TRANSACTION;
	if (command->run == run_data && smtp->state == SMTP_SENDER)
		return REPLY_RCPT_FIRST;
	return REPLY_MAIL_FIRST;
}

/* ---- the machine ---- */

void
smtp_init(struct smtp *smtp, const struct smtp_options *options,
    char *in, size_t in_size, char *out, size_t out_size)
{
	assert(in_size >= SMTP_IN_MIN && out_size >= SMTP_OUT_MIN);
	*smtp = (struct smtp){ .options = *options, .state = SMTP_START };
	wire_init(&smtp->wire, in, in_size, out, out_size);
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
take_command(struct smtp *smtp, struct slice line)
{
	struct slice verb, argument;

	slice_cut(line, ' ', &verb, &argument);
	const struct command *command = find_command(verb);
	bool is_auth = command != NULL && command->run == run_auth;
	/* An unknown line might be a password that lost its command. */
	wire_trace_input(&smtp->wire, command == NULL
	    ? SLICE("(unknown command)") : is_auth ? verb : line);
	if (line.len + 2 > SMTP_LINE_MAX && !is_auth)
		bad_command(smtp, REPLY_LINE_TOO_LONG);
	else if (slice_has_control(line))
		bad_command(smtp, REPLY_BAD_OCTETS);
	else if (command == NULL)
		bad_command(smtp, REPLY_UNKNOWN_COMMAND);
	else if ((command->states & IN(smtp->state)) == 0)
		bad_command(smtp, out_of_order(smtp, command));
	else
		/* Blanks at the end are typed by people (RFC 5321 4.1.1). */
		command->run(smtp, slice_trim(argument));
	if (is_auth && smtp->pending == SMTP_WANT_IO)
		wire_wipe_taken(&smtp->wire);
}

static void
bad_line(struct smtp *smtp, enum reply_id id)
{
	if (smtp->in_sasl) {
		smtp->in_sasl = false;
		sasl_wipe(&smtp->sasl);
		wire_wipe_taken(&smtp->wire);
		if (id == REPLY_LINE_TOO_LONG)
			id = REPLY_AUTH_TOO_LONG;
	}
	wire_trace_input(&smtp->wire, SLICE("(malformed line)"));
	bad_command(smtp, id);
}

/* Takes one line, if there is a whole one. */
static bool
take_line(struct smtp *smtp)
{
	struct slice line, challenge;

	switch (wire_line(&smtp->wire, SASL_LINE_MAX, &line)) {
	case WIRE_MORE:
		return false;
	case WIRE_TOO_LONG:
		bad_line(smtp, REPLY_LINE_TOO_LONG);
		return true;
	case WIRE_BARE_LF:
		if (smtp->options.bare_lf == DOT_BARE_LF_REJECT) {
			bad_line(smtp, REPLY_BARE_LF);
			return true;
		}
		break;
	case WIRE_LINE:
		break;
	}
	if (smtp->in_sasl) {
		wire_trace_input(&smtp->wire, SLICE("(SASL response)"));
		enum sasl_outcome outcome = sasl_server_take(&smtp->sasl,
		    line, &challenge);
		sasl_step(smtp, outcome, challenge);
	} else {
		take_command(smtp, line);
	}
	return true;
}

/* ---- message text ---- */

static void
refuse_text(struct smtp *smtp, const struct smtp_reply *reply)
{
	size_t len = reply->text.len;

	if (len > sizeof(smtp->refusal.text))
		len = sizeof(smtp->refusal.text);
	smtp->refused = true;
	smtp->refusal.code = reply->code;
	snprintf(smtp->refusal.enhanced, sizeof(smtp->refusal.enhanced),
	    "%s", reply->enhanced != NULL ? reply->enhanced : "");
	if (len > 0)
		memcpy(smtp->refusal.text, reply->text.data, len);
	smtp->refusal.len = len;
}

/*
 * What is wrong with the text so far, or NULL. In this order, and before
 * any refusal of the program's: the reply must not depend on how the text
 * was cut on its way.
 */
static const struct smtp_reply *
find_fault(struct smtp *smtp)
{
	const struct dot_decoder *decoder = &smtp->decoder;

	smtp->size = decoder->octets + decoder->lines;
	if (decoder->bare_cr)
		return &replies[REPLY_TEXT_BARE_CR];
	if (decoder->bare_lf && smtp->options.bare_lf == DOT_BARE_LF_REJECT)
		return &replies[REPLY_TEXT_BARE_LF];
	if (smtp->size > smtp->options.max_size)
		return &replies[REPLY_TOO_BIG];
	return NULL;
}

static void
end_text(struct smtp *smtp)
{
	const struct smtp_reply *fault = find_fault(smtp);

	if (fault != NULL)
		refuse_text(smtp, fault);
	smtp->wire.text = false;
	if (smtp->refused) {
		smtp->pending = SMTP_RESET;
		smtp->after_reset = SMTP_AFTER_REFUSAL;
	} else {
		smtp->pending = SMTP_DATA_END;
	}
}

/* Decodes what has come of the text. False where that is nothing. */
static bool
take_text(struct smtp *smtp)
{
	struct buf *in = &smtp->wire.in;
	size_t taken, made;

	if (smtp->text_ended) {
		end_text(smtp);
		return true;
	}
	if (in->start == in->end)
		return false;
	char *data = in->data + in->start;
	enum dot_outcome outcome = dot_decode(&smtp->decoder, data,
	    in->end - in->start, &taken, &made);
	buf_consume(in, taken);
	if (outcome == DOT_SMUGGLED) {
		/* Whoever sends this hopes that what follows will be taken
		 * for commands by somebody: nothing of it is looked at. */
		smtp->wire.text = false;
		say(smtp, REPLY_SMUGGLING);
		return true;
	}
	smtp->text_ended = outcome == DOT_END;
	if (find_fault(smtp) == NULL && made > 0 && !smtp->refused) {
		smtp->text = (struct slice){ data, made };
		smtp->pending = SMTP_DATA;
	}
	return true;
}

static void
take_end(struct smtp *smtp)
{
	if (smtp->wire.timed_out)
		say(smtp, REPLY_TIMED_OUT);
	else if (smtp->wire.stopping)
		say(smtp, REPLY_STOPPING);
	/* RFC 5321 4.1.1.5: what was not ended was not accepted. */
	close_session(smtp);
}

enum smtp_event
smtp_next(struct smtp *smtp)
{
	if (smtp->state == SMTP_START) {
		wire_format(&smtp->wire, "220 %s ESMTP ready",
		    smtp->options.hostname);
		smtp->state = SMTP_COLD;
	}
	for (;;) {
		if (smtp->pending != SMTP_WANT_IO)
			return smtp->pending;
		if (smtp->state == SMTP_ENDED)
			return SMTP_CLOSED;
		if (buf_room(&smtp->wire.out) < REPLY_MAX)
			return SMTP_WANT_IO;
		if (smtp->state == SMTP_TEXT ? take_text(smtp)
		                             : take_line(smtp))
			continue;
		if (smtp->wire.out.end > smtp->wire.out.start)
			return SMTP_WANT_IO;
		if (!smtp->wire.eof && !smtp->wire.timed_out &&
		    !smtp->wire.stopping)
			return SMTP_WANT_IO;
		take_end(smtp);
	}
}

/* ---- answers ---- */

static void
begin_text(struct smtp *smtp)
{
	smtp->state = SMTP_TEXT;
	smtp->wire.text = true;
	smtp->text_ended = smtp->refused = false;
	smtp->size = 0;
	dot_decoder_init(&smtp->decoder, smtp->options.bare_lf);
}

static void
end_transaction(struct smtp *smtp)
{
	smtp->state = SMTP_READY;
	envelope_reset(&smtp->envelope);
}

static void
answer_auth(struct smtp *smtp, bool accepted)
{
	smtp->user = smtp->password = slice_from(NULL);
	sasl_wipe(&smtp->sasl);
	wire_wipe_taken(&smtp->wire);
	smtp->authenticated = accepted;
	if (!accepted && ++smtp->failed_logins >= LOGINS_MAX)
		close_session(smtp);
}

static void
answer_reset(struct smtp *smtp)
{
	const struct smtp_reply refusal = {
		.code = smtp->refusal.code,
		.enhanced = smtp->refusal.enhanced,
		.text = { smtp->refusal.text, smtp->refusal.len },
	};

	end_transaction(smtp);
	smtp->refused = false;
	switch (smtp->after_reset) {
	case SMTP_AFTER_RSET:
		say(smtp, REPLY_OK);
		break;
	case SMTP_AFTER_HELLO:
		put_hello(smtp);
		break;
	case SMTP_AFTER_REFUSAL:
		put_reply(smtp, &refusal);
		break;
	}
}

void
smtp_tls_started(struct smtp *smtp)
{
	smtp->tls_started = true;
	smtp->state = SMTP_COLD;
	smtp->helo[0] = '\0';
	smtp->esmtp = smtp->authenticated = false;
	envelope_reset(&smtp->envelope);
	if (smtp->options.login == SMTP_LOGIN_NEEDS_TLS)
		smtp->options.login = SMTP_LOGIN_OFFERED;
}

/* What an answer to an event changes, beside what is said. */
static void
answered(struct smtp *smtp, enum smtp_event event, bool accepted)
{
	smtp->pending = SMTP_WANT_IO;
	switch (event) {
	case SMTP_AUTH:
		answer_auth(smtp, accepted);
		break;
	case SMTP_MAIL:
		if (accepted)
			smtp->state = SMTP_SENDER;
		break;
	case SMTP_RCPT:
		if (accepted)
			smtp->state = SMTP_RECIPIENTS;
		else
			envelope_drop_recipient(&smtp->envelope);
		break;
	case SMTP_DATA_BEGIN:
		if (accepted)
			begin_text(smtp);
		break;
	case SMTP_DATA_END:
		end_transaction(smtp);
		break;
	case SMTP_WANT_IO:
	case SMTP_STARTTLS:
	case SMTP_DATA:
	case SMTP_RESET:
	case SMTP_CLOSED:
		break;
	}
}

void
smtp_accept(struct smtp *smtp)
{
	enum smtp_event event = smtp->pending;

	answered(smtp, event, true);
	switch (event) {
	case SMTP_STARTTLS:
		say(smtp, REPLY_TLS_GO);
		break;
	case SMTP_AUTH:
		say(smtp, REPLY_LOGGED_IN);
		break;
	case SMTP_MAIL:
		say(smtp, REPLY_SENDER_OK);
		break;
	case SMTP_RCPT:
		say(smtp, REPLY_RECIPIENT_OK);
		break;
	case SMTP_DATA_BEGIN:
		say(smtp, REPLY_TEXT_GO);
		break;
	case SMTP_DATA_END:
		say(smtp, REPLY_QUEUED);
		break;
	case SMTP_RESET:
		answer_reset(smtp);
		break;
	case SMTP_WANT_IO:
	case SMTP_DATA:
	case SMTP_CLOSED:
		break;
	}
}

void
smtp_reply(struct smtp *smtp, const struct smtp_reply *reply)
{
	enum smtp_event event = smtp->pending;
	bool accepted = reply->code >= 200 && reply->code <= 299;

	assert(event != SMTP_WANT_IO && event != SMTP_RESET);
	assert(!accepted || event != SMTP_DATA_BEGIN);
	if (event == SMTP_DATA) {
		/* The client is still sending: it hears this at the end. */
		smtp->pending = SMTP_WANT_IO;
		if (!accepted)
			refuse_text(smtp, reply);
		return;
	}
	put_reply(smtp, reply);
	/* In this order: put_reply may have ended the session. */
	enum smtp_state state = smtp->state;
	answered(smtp, event, accepted);
	if (state == SMTP_ENDED)
		smtp->state = SMTP_ENDED;
}
