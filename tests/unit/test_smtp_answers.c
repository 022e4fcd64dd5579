/*
 * test_smtp_answers.c - what the program's answers do to the session, one by
 * one: which codes are a yes, whose fault what follows is, and that nothing
 * of a login or a transaction is left behind.
 */
#include "drive.h"

#include "smtp/smtp.h"

static char in[SMTP_IN_MIN], out[SMTP_OUT_MIN], seen[8192], text[4096];
static struct smtp smtp;
static struct buf transcript;
static struct envelope_recipient recipients[4];

static const struct smtp_options usual = {
	.hostname = "mx.test", .max_size = 1000, .dsn = true,
	.login = SMTP_LOGIN_OFFERED,
	.mechanisms = SASL_USUAL | SASL_TOKENS,
};

#define assert_replies(literal) assert_output(&smtp.wire, SLICE(literal))

static enum smtp_event
say(const char *line)
{
	assert_true(buf_append(&smtp.wire.in, slice_from(line)));
	assert_true(buf_append(&smtp.wire.in, SLICE("\r\n")));
	enum smtp_event event = smtp_next(&smtp);
	if (event != SMTP_REFUSED)
		return event;
	/* A path that the machine refused, for the log. */
	smtp_accept(&smtp);
	return smtp_next(&smtp);
}

static void
answer(unsigned code, const char *words)
{
	smtp_reply(&smtp, &(struct smtp_reply){ .code = code,
	    .text = slice_from(words) });
}

/* Up to READY. */
static void
greet(const struct smtp_options *options)
{
	smtp_init(&smtp, options, in, sizeof(in), out, sizeof(out));
	envelope_init(&smtp.envelope, recipients, COUNT(recipients), text,
	    sizeof(text));
	buf_init(&transcript, seen, sizeof(seen));
	assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
	assert_int_equal(say(options->lmtp ? "LHLO c" : "EHLO c"),
	    SMTP_WANT_IO);
	buf_consume(&smtp.wire.out, buf_contents(&smtp.wire.out).len);
}

/* Up to 354, with n recipients. */
static void
begin_text(const struct smtp_options *options, unsigned n)
{
	greet(options);
	assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
	smtp_accept(&smtp);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(say("RCPT TO:<c@d>"), SMTP_RCPT);
		smtp_accept(&smtp);
	}
	assert_int_equal(say("DATA"), SMTP_DATA_BEGIN);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
	buf_consume(&smtp.wire.out, buf_contents(&smtp.wire.out).len);
}

/* ---- commands ---- */

/* Instead of a greeting it is the last that is said (RFC 5321 3.1). */
static void
test_refused_session(void **state)
{
	(void)state;
	smtp_init(&smtp, &usual, in, sizeof(in), out, sizeof(out));
	smtp_refuse_session(&smtp, &(struct smtp_reply){ 554, "5.3.2",
	    SLICE("Not today") });
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
	assert_replies("554 5.3.2 Not today\r\n");
}

/* RFC 5321 4.1.4: nobody is refused for the name, whatever is in it, by which
 * greeting ever. */
static void
test_odd_names(void **state)
{
	static const struct { bool lmtp; const char *line; } rows[] = {
		{ false, "HELO a\x01" }, { false, "EHLO a\x01" },
		{ true, "LHLO a\x01" },
	};
	struct smtp_options options = usual;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		options.lmtp = rows[i].lmtp;
		greet(&options);
		assert_int_equal(say(rows[i].line), SMTP_WANT_IO);
		assert_true(slice_starts_with(buf_contents(&smtp.wire.out),
		    SLICE("250")));
		assert_int_equal(smtp.helo_len, 2);
	}
}

/* Does a line of the reply begin with the word, behind its code? */
static bool
is_offered(struct slice reply, struct slice word)
{
	struct slice line;

	while (slice_cut(reply, '\n', &line, &reply))
		if (slice_starts_with(slice_skip(line, 4), word))
			return true;
	return false;
}

/* What is hidden is offered in no form, "AUTH=" of old neither; all else is
 * still there. */
static void
test_hidden(void **state)
{
	struct smtp_options options = usual;

	(void)state;
	options.starttls = true;
	options.max_recipients = 5;
	for (size_t i = 0; i < smtp_hideable_count; i++) {
		options.hidden = smtp_hideable[i].data;
		smtp_init(&smtp, &options, in, sizeof(in), out, sizeof(out));
		assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
		assert_replies("220 mx.test ESMTP ready\r\n");
		assert_int_equal(say("EHLO c"), SMTP_WANT_IO);
		struct slice reply = buf_contents(&smtp.wire.out);
		if (slice_equal(smtp_hideable[i], SLICE("EHLO"))) {
			assert_replies("500 5.5.1 Unknown command\r\n");
			continue;
		}
		for (size_t k = 0; k < smtp_hideable_count; k++)
			assert_int_equal(is_offered(reply, smtp_hideable[k]),
			    k != i &&
			    /* It needs TLS; and is no keyword. */
			    !slice_equal(smtp_hideable[k],
			    SLICE("REQUIRETLS")) &&
			    !slice_equal(smtp_hideable[k], SLICE("EHLO")));
	}
}

/* ---- codes ---- */

static void
test_codes(void **state)
{
	static const struct { unsigned code; bool yes; } rows[] = {
		{ 199, false }, { 200, true }, { 250, true }, { 299, true },
		{ 300, false }, { 450, false }, { 550, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		greet(&usual);
		assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
		answer(rows[i].code, "Words");
		assert_int_equal(smtp.in_transaction, rows[i].yes);
		/* RCPT is asked about only where there is a sender. */
		assert_int_equal(say("RCPT TO:<c@d>"),
		    rows[i].yes ? SMTP_RCPT : SMTP_WANT_IO);
	}
}

/* RFC 2920 3.1: what was sent behind a refused path in the same batch is no
 * mistake; what has no such excuse is. */
static void
test_whose_fault(void **state)
{
	(void)state;
	greet(&usual);
	assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
	answer(550, "No");
	assert_int_equal(say("RCPT TO:<c@d>"), SMTP_WANT_IO);
	assert_int_equal(say("DATA"), SMTP_WANT_IO);
	assert_int_equal(smtp.bad_commands, 0);
	/* RSET begins anew. */
	assert_int_equal(say("RSET"), SMTP_WANT_IO);
	assert_int_equal(say("RCPT TO:<c@d>"), SMTP_WANT_IO);
	assert_int_equal(smtp.bad_commands, 1);

	greet(&usual);
	assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
	smtp_accept(&smtp);
	assert_int_equal(say("DATA"), SMTP_WANT_IO);
	assert_int_equal(smtp.bad_commands, 1);
	assert_int_equal(say("RCPT TO:<c@d>"), SMTP_RCPT);
	answer(550, "No");
	assert_int_equal(say("DATA"), SMTP_WANT_IO);
	assert_int_equal(smtp.bad_commands, 1);
}

/* Twenty commands that are wrong end a session, but a message that is taken
 * makes up for all that were before it. */
static void
test_forgiven(void **state)
{
	(void)state;
	begin_text(&usual, 1);
	assert_int_equal(say("."), SMTP_DATA_END);
	smtp.bad_commands = 19;
	smtp_accept(&smtp);
	for (unsigned i = 1; i < 20; i++) {
		assert_int_equal(say("X"), SMTP_WANT_IO);
		buf_consume(&smtp.wire.out,
		    buf_contents(&smtp.wire.out).len);
	}
	assert_int_equal(say("X"), SMTP_CLOSED);
	assert_replies("421 4.7.0 Too many bad commands\r\n");
}

#define TOO_MANY "452 4.5.3 Too many recipients, send the rest in another " \
	"message\r\n"

/* Recipients beyond what the envelope holds, and one whose parameters it does
 * not hold: 452, and the others stay. */
static void
test_full_envelope(void **state)
{
	char line[256];

	(void)state;
	greet(&usual);
	envelope_init(&smtp.envelope, recipients, COUNT(recipients), text,
	    48);
	assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
	smtp_accept(&smtp);
	assert_replies("250 2.1.0 Ok\r\n");
	snprintf(line, sizeof(line), "RCPT TO:<c@d> ORCPT=rfc822;%0100d", 0);
	assert_int_equal(say(line), SMTP_WANT_IO);
	assert_replies(TOO_MANY);
	assert_int_equal(smtp.envelope.n, 0);
	for (unsigned i = 0; i < COUNT(recipients); i++) {
		assert_int_equal(say("RCPT TO:<c@d>"), SMTP_RCPT);
		smtp_accept(&smtp);
		assert_replies("250 2.1.5 Ok\r\n");
	}
	assert_int_equal(say("RCPT TO:<c@d>"), SMTP_WANT_IO);
	assert_replies(TOO_MANY);
	assert_int_equal(smtp.envelope.n, COUNT(recipients));
}

/* ---- texts ---- */

/* That a text was refused, and how long it was, is known when it is over; the
 * next transaction knows nothing of it. */
static void
test_refusal_is_over(void **state)
{
	(void)state;
	for (unsigned given_up = 0; given_up < 2; given_up++) {
		begin_text(&usual, 1);
		assert_int_equal(say("text"), SMTP_DATA);
		answer(550, "No");
		assert_int_equal(say("."), SMTP_RESET);
		assert_true(smtp.refused);
		assert_int_equal(smtp.refusal.code, 550);
		assert_slice(smtp.refusal.text, "No");
		assert_int_equal(smtp.size, 6);
		assert_int_equal(smtp.octets, 6);
		smtp_accept(&smtp);
		assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
		assert_replies("550 No\r\n");
		/* Its text was kept, and is not any more. */
		assert_true(wire_is_idle(&smtp.wire));

		assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
		smtp_accept(&smtp);
		assert_int_equal(say("RCPT TO:<c@d>"), SMTP_RCPT);
		smtp_accept(&smtp);
		if (given_up)
			assert_int_equal(say("RSET"), SMTP_RESET);
		else
			assert_int_equal(say("DATA"), SMTP_DATA_BEGIN);
		assert_false(smtp.refused);
		assert_int_equal(smtp.size, 0);
		assert_int_equal(smtp.octets, 0);
	}
}

/* A text that is to smuggle commands is refused, for whoever logs it; and the
 * session is over. */
static void
test_smuggled(void **state)
{
	(void)state;
	begin_text(&usual, 1);
	assert_true(buf_append(&smtp.wire.in, SLICE("a\n.\r\nQUIT\r\n")));
	assert_int_equal(smtp_next(&smtp), SMTP_RESET);
	assert_true(smtp.ended);
	assert_true(smtp.refused);
	assert_int_equal(smtp.refusal.code, 521);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
	assert_false(smtp.quit);
}

/* Of a chunk that its size says is one too many nothing is handed on. */
static void
test_announced_too_big(void **state)
{
	struct smtp_options options = usual;

	(void)state;
	options.max_size = 20;
	greet(&options);
	assert_int_equal(say("MAIL FROM:<a@b>"), SMTP_MAIL);
	smtp_accept(&smtp);
	assert_int_equal(say("RCPT TO:<c@d>"), SMTP_RCPT);
	smtp_accept(&smtp);
	assert_int_equal(say("BDAT 15"), SMTP_DATA_BEGIN);
	smtp_accept(&smtp);
	assert_int_equal(say("1234567890123"), SMTP_DATA);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
	assert_replies("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
	    "250 2.0.0 Ok, go on\r\n");
	assert_int_equal(say("BDAT 6 LAST"), SMTP_WANT_IO);
	assert_int_equal(say("1"), SMTP_WANT_IO);
	assert_replies("");
	assert_int_equal(say("4"), SMTP_RESET);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
	assert_replies("552 5.3.4 Message too big\r\n");
}

/* ---- ends ---- */

/* LMTP: a refusal is said for each recipient, but 421 once, for it ends the
 * session. */
static void
test_lmtp_verdicts(void **state)
{
	static const struct { unsigned code; struct slice replies; bool ends; }
	rows[] = {
		{ 422, SLICE("422 No\r\n422 No\r\n"), false },
		{ 421, SLICE("421 No\r\n"), true },
		{ 420, SLICE("420 No\r\n420 No\r\n"), false },
	};
	struct smtp_options options = usual;

	(void)state;
	options.lmtp = true;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin_text(&options, 2);
		assert_int_equal(say("text"), SMTP_DATA);
		answer(rows[i].code, "No");
		assert_int_equal(say("."), SMTP_RESET);
		assert_replies("");
		smtp_accept(&smtp);
		assert_int_equal(smtp_next(&smtp), rows[i].ends
		    ? SMTP_CLOSED : SMTP_WANT_IO);
		assert_output(&smtp.wire, rows[i].replies);
	}
}

/* A connection that is of no use any more ends a transaction by SMTP_RESET;
 * but in LMTP not where some recipients have had their reply. */
static void
test_drop(void **state)
{
	struct smtp_options options = usual;

	(void)state;
	begin_text(&options, 2);
	smtp_drop(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_RESET);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);

	options.lmtp = true;
	begin_text(&options, 2);
	assert_int_equal(say("."), SMTP_DATA_END);
	assert_int_equal(smtp.recipient, 0);
	smtp_accept(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_DATA_END);
	assert_int_equal(smtp.recipient, 1);
	smtp_drop(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
}

/* Why a session was ended is known where the machine did it, and is not where
 * the client left. */
static void
test_closed_with(void **state)
{
	(void)state;
	greet(&usual);
	assert_int_equal(say("NONSENSE"), SMTP_WANT_IO);
	assert_null(smtp.closed_with);
	assert_int_equal(say("QUIT"), SMTP_CLOSED);
	assert_null(smtp.closed_with);

	greet(&usual);
	for (unsigned i = 0; i < 40 && smtp.closed_with == NULL; i++) {
		buf_consume(&smtp.wire.out,
		    buf_contents(&smtp.wire.out).len);
		say("NONSENSE");
	}
	assert_non_null(smtp.closed_with);
	assert_int_equal(smtp.closed_with->code, 421);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
}

/* ---- logins ---- */

/* "n,a=joe,\1auth=Bearer t\1\1" */
#define TOKEN "AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgdAEB"

/* Only who is sure that a token is wrong says so by a challenge (RFC 7628
 * 3.2.2): a client throws it away then. */
static void
test_token_codes(void **state)
{
	static const struct { unsigned code; bool sure; } rows[] = {
		{ 400, false }, { 454, false }, { 499, false },
		{ 500, true }, { 535, true }, { 599, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		greet(&usual);
		assert_int_equal(say(TOKEN), SMTP_AUTH);
		answer(rows[i].code, "No");
		assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
		assert_int_equal(slice_starts_with(
		    buf_contents(&smtp.wire.out), SLICE("334 ")),
		    rows[i].sure);
		assert_int_equal(smtp.failed_logins, 1);
	}
}

/* A connection that breaks while a password is checked leaves nothing of it;
 * who had logged in before is not forgotten, for the log. */
static void
test_drop_login(void **state)
{
	(void)state;
	greet(&usual);
	assert_int_equal(say("AUTH PLAIN AGpvZQBzZWNyZXQ="), SMTP_AUTH);
	assert_slice(smtp.password, "secret");
	smtp_drop(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
	assert_false(smtp.authenticated);
	assert_int_equal(smtp.user.len, 0);
	assert_int_equal(smtp.password.len, 0);
	assert_null(memmem(in, sizeof(in), "secret", 6));

	greet(&usual);
	assert_int_equal(say("AUTH PLAIN AGpvZQBzZWNyZXQ="), SMTP_AUTH);
	smtp_accept(&smtp);
	smtp_drop(&smtp);
	assert_int_equal(smtp_next(&smtp), SMTP_CLOSED);
	assert_true(smtp.authenticated);
	assert_int_equal(smtp.failed_logins, 0);
}

/* A token's refusal is said once the client has heard the challenge, and then
 * nothing is kept. */
static void
test_token_forgotten(void **state)
{
	(void)state;
	greet(&usual);
	assert_int_equal(say(TOKEN), SMTP_AUTH);
	answer(535, "Not you");
	struct slice said = buf_contents(&smtp.wire.out);
	assert_true(slice_starts_with(said, SLICE("334 ")));
	buf_consume(&smtp.wire.out, said.len);
	assert_int_equal(say("AQ=="), SMTP_WANT_IO);
	assert_replies("535 Not you\r\n");
	assert_true(wire_is_idle(&smtp.wire));
}

/* A line that cannot be a response is shown as such: who knows what was on
 * it. */
static void
test_malformed_shown(void **state)
{
	(void)state;
	greet(&usual);
	assert_int_equal(say("AUTH LOGIN"), SMTP_WANT_IO);
	assert_replies("334 VXNlcm5hbWU6\r\n");
	smtp.wire.transcript = &transcript;
	buf_append(&smtp.wire.in, SLICE("am9l\n"));
	assert_int_equal(smtp_next(&smtp), SMTP_WANT_IO);
	assert_true(slice_starts_with(buf_contents(&transcript),
	    SLICE("> (malformed line)\n< 5")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_session),
		cmocka_unit_test(test_odd_names),
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_whose_fault),
		cmocka_unit_test(test_forgiven),
		cmocka_unit_test(test_full_envelope),
		cmocka_unit_test(test_refusal_is_over),
		cmocka_unit_test(test_smuggled),
		cmocka_unit_test(test_announced_too_big),
		cmocka_unit_test(test_lmtp_verdicts),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_closed_with),
		cmocka_unit_test(test_token_codes),
		cmocka_unit_test(test_drop_login),
		cmocka_unit_test(test_token_forgotten),
		cmocka_unit_test(test_malformed_shown),
	};

	return cmocka_run_group_tests_name("smtp_answers", tests, NULL, NULL);
}
