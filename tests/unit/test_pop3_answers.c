/*
 * test_pop3_answers.c - what a command is, one by one, and answers in the
 * caller's own words: texts that have to fit a line, refusals, and that
 * nothing of a login is left behind.
 */
#include "drive.h"

#include "pop3/pop3.h"

static char in[POP3_IN_MIN], out[POP3_OUT_MIN], seen[8192];
static struct pop3 pop3;
static struct buf transcript;
static struct message messages[2];

static const struct pop3_options usual = {
	.hostname = "mail.test", .implementation = "test-1",
	.allow_login = true, .secure = true, .allow_delete = true,
	.mechanisms = SASL_USUAL | SASL_TOKENS,
};

static void
begin(const struct pop3_options *options)
{
	pop3_init(&pop3, options, in, sizeof(in), out, sizeof(out));
	buf_init(&transcript, seen, sizeof(seen));
}

#define assert_replies(literal) assert_output(&pop3.wire, SLICE(literal))

static enum pop3_event
say(struct slice line)
{
	assert_true(buf_append(&pop3.wire.in, line));
	assert_true(buf_append(&pop3.wire.in, SLICE("\r\n")));
	return pop3_next(&pop3);
}

static void
greet(const struct pop3_options *options)
{
	begin(options);
	assert_int_equal(pop3_next(&pop3), POP3_WANT_IO);
	assert_replies("+OK mail.test POP3 ready\r\n");
}

static void
give_password(void)
{
	assert_int_equal(say(SLICE("USER joe")), POP3_WANT_IO);
	assert_replies("+OK Send the password\r\n");
	assert_int_equal(say(SLICE("PASS secret")), POP3_LOGIN);
}

static void
log_in(void)
{
	give_password();
	for (size_t i = 0; i < COUNT(messages); i++)
		messages[i] = (struct message){ .octets = 10 };
	pop3_logged_in(&pop3, messages, COUNT(messages));
	assert_replies("+OK 2 messages (20 octets)\r\n");
}

/* ---- commands ---- */

#define CAPABILITIES "+OK Capabilities:\r\nUSER\r\n" \
	"SASL PLAIN LOGIN OAUTHBEARER XOAUTH2\r\nTOP\r\nUIDL\r\n" \
	"PIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nUTF8 USER\r\n" \
	"LANG\r\nEXPIRE NEVER\r\nIMPLEMENTATION test-1\r\n.\r\n"

/* Of each: is the program asked first, what does the transcript show, and is
 * a blank behind it one too many? */
static void
test_every_command(void **state)
{
	static const struct {
		struct slice line;
		bool logged_in;
		bool asked;
		struct slice shown;
		struct slice reply;
	} rows[] = {
		{ SLICE("CAPA "), false, false, SLICE("> CAPA \n"),
		    SLICE(CAPABILITIES) },
		{ SLICE("CAPA "), true, false, SLICE("> CAPA \n"),
		    SLICE(CAPABILITIES) },
		{ SLICE("stls "), false, true, SLICE("> stls \n"),
		    SLICE("-ERR There is no STLS here\r\n") },
		{ SLICE("USER joe "), false, false, SLICE("> USER joe \n"),
		    SLICE("+OK Send the password\r\n") },
		{ SLICE("PASS x "), false, false, SLICE("> PASS\n"),
		    SLICE("-ERR USER comes first\r\n") },
		{ SLICE("AUTH X "), false, false, SLICE("> AUTH\n"),
		    SLICE("-ERR No such mechanism, CAPA lists them\r\n") },
		{ SLICE("UTF8 "), false, false, SLICE("> UTF8 \n"),
		    SLICE("+OK UTF-8 it is\r\n") },
		{ SLICE("LANG de "), false, false, SLICE("> LANG de \n"),
		    SLICE("+OK de Texte sind jetzt deutsch\r\n") },
		{ SLICE("LANG en "), true, false, SLICE("> LANG en \n"),
		    SLICE("+OK en Texts are in English now\r\n") },
		{ SLICE("STAT "), true, true, SLICE("> STAT \n"),
		    SLICE("+OK 2 20\r\n") },
		{ SLICE("LIST 1 "), true, true, SLICE("> LIST 1 \n"),
		    SLICE("+OK 1 10\r\n") },
		{ SLICE("UIDL 3 "), true, true, SLICE("> UIDL 3 \n"),
		    SLICE("-ERR No such message\r\n") },
		{ SLICE("RETR 3 "), true, true, SLICE("> RETR 3 \n"),
		    SLICE("-ERR No such message\r\n") },
		{ SLICE("TOP 3 0 "), true, true, SLICE("> TOP 3 0 \n"),
		    SLICE("-ERR No such message\r\n") },
		{ SLICE("DELE 2 "), true, true, SLICE("> DELE 2 \n"),
		    SLICE("+OK Marked to be deleted\r\n") },
		{ SLICE("NOOP "), true, false, SLICE("> NOOP \n"),
		    SLICE("+OK\r\n") },
		{ SLICE("RSET "), true, false, SLICE("> RSET \n"),
		    SLICE("+OK\r\n") },
		{ SLICE("QUIT "), false, true, SLICE("> QUIT \n"),
		    SLICE("+OK Bye\r\n") },
		{ SLICE("QUIT "), true, true, SLICE("> QUIT \n"),
		    SLICE("+OK Bye\r\n") },
	};
	struct pop3_options options = usual;

	(void)state;
	options.ask = true;
	for (size_t i = 0; i < COUNT(rows); i++) {
		greet(&options);
		if (rows[i].logged_in)
			log_in();
		pop3.wire.transcript = &transcript;
		enum pop3_event event = say(rows[i].line);
		assert_int_equal(event == POP3_COMMAND, rows[i].asked);
		/* A reply may stand behind it. */
		assert_true(slice_starts_with(buf_contents(&transcript),
		    rows[i].shown));
		if (rows[i].asked)
			pop3_go_on(&pop3);
		assert_output(&pop3.wire, rows[i].reply);
	}
}

/* Does a line of the reply begin with the word? */
static bool
is_offered(struct slice reply, struct slice word)
{
	struct slice line;

	while (slice_cut(reply, '\n', &line, &reply))
		if (slice_starts_with(line, word))
			return true;
	return false;
}

/* What is hidden is not offered, and all else is. */
static void
test_hidden(void **state)
{
	struct pop3_options options = usual;

	(void)state;
	options.stls = true;
	for (size_t i = 0; i < pop3_hideable_count; i++) {
		options.hidden = pop3_hideable[i].data;
		greet(&options);
		assert_int_equal(say(SLICE("CAPA")), POP3_WANT_IO);
		struct slice reply = buf_contents(&pop3.wire.out);
		if (slice_equal(pop3_hideable[i], SLICE("CAPA"))) {
			assert_replies("-ERR Unknown command\r\n");
			continue;
		}
		for (size_t k = 0; k < pop3_hideable_count; k++)
			assert_int_equal(is_offered(reply, pop3_hideable[k]),
			    k != i &&
			    !slice_equal(pop3_hideable[k], SLICE("CAPA")));
	}
}

/* RSET unmarks the maildrop's messages, and looks at no other. */
static void
test_rset(void **state)
{
	(void)state;
	greet(&usual);
	give_password();
	messages[0] = messages[1] = (struct message){ .deleted = 1 };
	pop3_logged_in(&pop3, messages, 1);
	assert_replies("+OK 0 messages (0 octets)\r\n");
	assert_int_equal(say(SLICE("RSET")), POP3_WANT_IO);
	assert_replies("+OK\r\n");
	assert_int_equal(messages[0].deleted, 0);
	assert_int_equal(messages[1].deleted, 1);
}

static void
test_quit_removes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(messages); i++) {
		greet(&usual);
		log_in();
		messages[i].deleted = 1;
		assert_int_equal(say(SLICE("QUIT")), POP3_UPDATE);
		pop3_updated(&pop3, true);
		assert_replies("+OK Bye\r\n");
		assert_int_equal(pop3_next(&pop3), POP3_CLOSED);
	}
}

/* A line that has no end in sight is shown as such, and what it was part of
 * is over. */
static void
test_too_long(void **state)
{
	static char line[SASL_LINE_MAX];

	(void)state;
	memset(line, 'x', sizeof(line));
	greet(&usual);
	assert_int_equal(say(SLICE("USER joe")), POP3_WANT_IO);
	assert_replies("+OK Send the password\r\n");
	pop3.wire.transcript = &transcript;
	assert_true(buf_append(&pop3.wire.in,
	    (struct slice){ line, sizeof(line) }));
	assert_int_equal(pop3_next(&pop3), POP3_WANT_IO);
	assert_replies("");
	assert_int_equal(say(SLICE("")), POP3_WANT_IO);
	assert_replies("-ERR Line too long\r\n");
	assert_slice(buf_contents(&transcript),
	    "> (too long)\n< -ERR Line too long\n");
	assert_true(wire_is_idle(&pop3.wire));
	assert_int_equal(say(SLICE("PASS secret")), POP3_WANT_IO);
	assert_replies("-ERR USER comes first\r\n");
}

/* RFC 2595 4: what was said in clear text is forgotten, the language too. */
static void
test_stls_forgets(void **state)
{
	struct pop3_options options = usual;

	(void)state;
	options.stls = true;
	greet(&options);
	assert_int_equal(say(SLICE("LANG de")), POP3_WANT_IO);
	assert_replies("+OK de Texte sind jetzt deutsch\r\n");
	assert_int_equal(say(SLICE("USER joe")), POP3_WANT_IO);
	assert_replies("+OK Bitte das Passwort\r\n");
	assert_int_equal(say(SLICE("STLS")), POP3_STLS);
	pop3_accept_stls(&pop3);
	assert_replies("+OK Nur zu\r\n");
	pop3_tls_started(&pop3);
	assert_int_equal(say(SLICE("PASS secret")), POP3_WANT_IO);
	assert_replies("-ERR USER comes first\r\n");
}

/* A connection that is of no use any more: whatever is asked, the session is
 * over, and without a word. */
static void
test_drop(void **state)
{
	static const struct { struct slice line; enum pop3_event event; }
	rows[] = {
		{ SLICE("NOOP"), POP3_WANT_IO },
		{ SLICE("UIDL"), POP3_UIDL },
		{ SLICE("RETR 1"), POP3_MESSAGE },
		{ SLICE("QUIT"), POP3_UPDATE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		greet(&usual);
		log_in();
		messages[1].deleted = 1;
		assert_int_equal(say(rows[i].line), rows[i].event);
		if (rows[i].event == POP3_MESSAGE)
			pop3_message_begin(&pop3, 10);
		buf_consume(&pop3.wire.out, buf_contents(&pop3.wire.out).len);
		pop3_drop(&pop3);
		assert_int_equal(pop3_next(&pop3), POP3_CLOSED);
		assert_replies("");
	}
}

/* ---- logins ---- */

/* "n,a=joe,\1auth=Bearer t\1\1" */
#define TOKEN "AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgdAEB"

/* Whoever was told that a token is wrong, and says too much to that, has
 * failed to log in all the same: nothing of it is kept, and the third time it
 * is the end. */
static void
test_token_too_long(void **state)
{
	static char line[SASL_LINE_MAX];

	(void)state;
	memset(line, 'x', sizeof(line));
	greet(&usual);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(say(SLICE(TOKEN)), POP3_LOGIN);
		pop3_login_failed(&pop3, POP3_LOGIN_WRONG);
		struct slice said = buf_contents(&pop3.wire.out);
		assert_true(slice_starts_with(said, SLICE("+ ")));
		buf_consume(&pop3.wire.out, said.len);
		assert_int_equal(pop3_next(&pop3), POP3_WANT_IO);
		assert_true(buf_append(&pop3.wire.in,
		    (struct slice){ line, sizeof(line) }));
		assert_int_equal(pop3_next(&pop3), POP3_WANT_IO);
		assert_int_equal(say(SLICE("")),
		    i < 3 ? POP3_WANT_IO : POP3_CLOSED);
		assert_replies("-ERR Line too long\r\n");
		assert_true(wire_is_idle(&pop3.wire));
	}
}

static void
test_passwords(void **state)
{
	static char line[5 + SASL_SECRET_MAX + 1] = "PASS ";

	(void)state;
	memset(line + 5, 'x', sizeof(line) - 5);
	greet(&usual);
	assert_int_equal(say(SLICE("USER joe")), POP3_WANT_IO);
	assert_replies("+OK Send the password\r\n");
	assert_int_equal(say(SLICE("PASS \0")), POP3_WANT_IO);
	assert_replies("-ERR [AUTH] Not a password\r\n");
	assert_int_equal(say((struct slice){ line, sizeof(line) }),
	    POP3_WANT_IO);
	assert_replies("-ERR [AUTH] Not a password\r\n");
	assert_int_equal(say((struct slice){ line, sizeof(line) - 1 }),
	    POP3_LOGIN);
	assert_int_equal(pop3.password.len, SASL_SECRET_MAX);
	pop3_drop(&pop3);
	assert_int_equal(pop3.password.len, 0);

	/* Blanks around a mechanism and its response belong to nothing. */
	greet(&usual);
	assert_int_equal(say(SLICE("AUTH  PLAIN  AGpvZQBzZWNyZXQ= ")),
	    POP3_LOGIN);
	assert_slice(pop3.password, "secret");
}

/* Whoever refuses a login in words of their own leaves nothing of it. */
static void
test_refused_login(void **state)
{
	(void)state;
	greet(&usual);
	give_password();
	pop3_refuse_with(&pop3, SLICE("[AUTH] Not today"));
	assert_replies("-ERR [AUTH] Not today\r\n");
	assert_int_equal(pop3.user.len, 0);
	assert_int_equal(pop3.password.len, 0);
	assert_true(wire_is_idle(&pop3.wire));
	assert_int_equal(say(SLICE("PASS secret")), POP3_WANT_IO);
	assert_replies("-ERR USER comes first\r\n");

	/* A command that is refused does not end what the login began. */
	struct pop3_options options = usual;
	options.ask = true;
	greet(&options);
	assert_int_equal(say(SLICE("USER joe")), POP3_WANT_IO);
	assert_replies("+OK Send the password\r\n");
	assert_int_equal(say(SLICE("STLS")), POP3_COMMAND);
	pop3_refuse_with(&pop3, SLICE("[SYS/TEMP] No"));
	assert_replies("-ERR [SYS/TEMP] No\r\n");
	assert_int_equal(say(SLICE("PASS secret")), POP3_LOGIN);
}

/* ---- texts of the caller's ---- */

#define REFUSAL_MAX 480

static void
test_texts(void **state)
{
	static const struct { struct slice text, line; } rows[] = {
		{ SLICE(""), SLICE("-ERR [X] \r\n") },
		{ SLICE("No more"), SLICE("-ERR [X] No more\r\n") },
		/* It cannot end the line, nor look like another. */
		{ SLICE("a\r\n+OK b\tc\x7F\x1F\0d"),
		    SLICE("-ERR [X] a  +OK b c   d\r\n") },
		{ SLICE("\xC3\xA4!~"), SLICE("-ERR [X] \xC3\xA4!~\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		greet(&usual);
		give_password();
		pop3_refused(&pop3, "-ERR [X]", rows[i].text);
		assert_output(&pop3.wire, rows[i].line);
		/* Instead of a greeting it is the last that is said. */
		begin(&usual);
		pop3_refused(&pop3, "-ERR [X]", rows[i].text);
		assert_output(&pop3.wire, rows[i].line);
		assert_int_equal(pop3_next(&pop3), POP3_CLOSED);
	}
}

/* What does not fit a reply's line is cut; of a token's refusal, too, which
 * is said after the client heard the challenge. */
static void
test_long_texts(void **state)
{
	static const char status[] = "-ERR [AUTH]";
	char xs[REFUSAL_MAX + 1];
	struct guarded storage;

	(void)state;
	guarded_new(&storage, sizeof(xs));
	memset(xs, 'x', sizeof(xs));
	for (size_t len = REFUSAL_MAX - 1; len <= REFUSAL_MAX + 1; len++) {
		size_t n = len < REFUSAL_MAX ? len : REFUSAL_MAX;
		struct text line = { .data = NULL };
		/* No octet behind it is looked at. */
		const char *text = guarded_put(&storage, xs, len);

		text_format(&line, "%s %.*s\r\n", status, (int)n, text);
		greet(&usual);
		give_password();
		pop3_refused(&pop3, status, (struct slice){ text, len });
		assert_output(&pop3.wire, text_slice(&line));

		assert_int_equal(say(SLICE(TOKEN)), POP3_LOGIN);
		pop3_refused(&pop3, status, (struct slice){ text, len });
		struct slice said = buf_contents(&pop3.wire.out);
		assert_true(slice_starts_with(said, SLICE("+ ")));
		buf_consume(&pop3.wire.out, said.len);
		assert_int_equal(say(SLICE("AQ==")), POP3_WANT_IO);
		assert_output(&pop3.wire, text_slice(&line));
		assert_true(wire_is_idle(&pop3.wire));
		text_free(&line);
	}
	guarded_free(&storage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_command),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_rset),
		cmocka_unit_test(test_quit_removes),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_stls_forgets),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_token_too_long),
		cmocka_unit_test(test_passwords),
		cmocka_unit_test(test_refused_login),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_long_texts),
	};

	return cmocka_run_group_tests_name("pop3_answers", tests, NULL, NULL);
}
