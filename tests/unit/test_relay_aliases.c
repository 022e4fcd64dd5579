/*
 * test_relay_aliases.c - recipients that an alias stands for: one of them is
 * taken back where another one cannot be had, and a hop that has a word for
 * each of them makes one verdict. And the transcript of all that.
 */
#include "drive.h"

#include "relay_hop.h"

#define RSET "> RSET\n< 250 ok\n"
#define LHELLO GREETING "> LHLO me.test\n< 250 x\n"
#define FOR_SOME "Taken for some of those an alias stands for"

/* ---- taken back ---- */

/* The hop is told only those that stay, before it is told anything else. */
static void
test_take_back(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A RCPT_B RSET MAIL RCPT_A DATA "= x|\n"
	    "< 250 2.0.0 in\n" QUIT);
	A_OK();
	recipient(1, 0, OK_RCPT);
	relay_take_back(&relay, 1);
	envelope.n = 1;
	message("x\n", 0, "250 2.0.0 in");
	end();
	/* Before the next recipient, too. */
	play(HELLO MAIL RCPT_A RCPT_B RSET MAIL RCPT_A
	    "> RCPT TO:<c@b>\n< 250 2.1.5 ok\n" QUIT);
	A_OK();
	recipient(1, 0, OK_RCPT);
	relay_take_back(&relay, 1);
	envelope.n = 1;
	recipients[1] = recipients[2];
	recipient(1, 0, OK_RCPT);
	end();
}

/* None is left: that is another transaction. */
static void
test_take_back_all(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A RSET MAIL RCPT_B DATA "= x|\n"
	    "< 250 2.0.0 in\n" QUIT);
	A_OK();
	relay_take_back(&relay, 0);
	assert_false(relay_is_broken(&relay));
	recipients[0] = recipients[1];
	A_OK();
	message("x\n", 0, "250 2.0.0 in");
	end();
	/* A hop that was out of step with them is not missed. */
	play(HELLO MAIL RCPT_A "> RCPT TO:<b@b>\n< what\n@\n"
	    HELLO MAIL RCPT_A QUIT);
	A_OK();
	recipient(1, -1, "451 4.4.2 " LATER);
	assert_true(relay_is_broken(&relay));
	relay_take_back(&relay, 0);
	assert_false(relay_is_broken(&relay));
	A_OK();
	end();
	/* Nor is one that left. */
	play(HELLO MAIL RCPT_A "!\n" HELLO MAIL RCPT_A QUIT);
	A_OK();
	relay_take_back(&relay, 0);
	A_OK();
	end();
	/* Where there was none there is nothing to be said. */
	play(HELLO MAIL "> RCPT TO:<a@b>\n< 550 5.1.1 no\n" RSET MAIL RCPT_B
	    QUIT);
	recipient(0, 0, "550 5.1.1 no");
	relay_take_back(&relay, 0);
	recipients[0] = recipients[1];
	A_OK();
	end();
}

/* What it wanted is not asked for any more. */
static void
test_take_back_utf8(void **state)
{
	(void)state;
	play(OFFERS("< 250 SMTPUTF8\n") "> MAIL FROM:<s@x> SMTPUTF8\n< 250 ok\n"
	    RCPT_A "> RCPT TO:<\xC3\xA4@b>\n< 250 2.1.5 ok\n> RSET\n!\n"
	    HELLO MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n" QUIT);
	envelope.utf8 = true;
	recipients[1].path = SLICE("\xC3\xA4@b");
	A_OK();
	recipient(1, 0, OK_RCPT);
	relay_take_back(&relay, 1);
	envelope.n = 1;
	message("x\n", 0, "250 2.0.0 in");
	end();
}

/* What was to be told anew is not: all of it was taken back, or given up. */
static void
test_take_back_for_nothing(void **state)
{
	(void)state;
	for (int reset = 0; reset < 2; reset++) {
		play(HELLO MAIL RCPT_A RCPT_B RSET MAIL RCPT_A DATA "= x|\n"
		    "< 250 2.0.0 in\n" QUIT);
		A_OK();
		recipient(1, 0, OK_RCPT);
		relay_take_back(&relay, 1);
		if (reset)
			relay_reset(&relay);
		else
			relay_take_back(&relay, 0);
		envelope.n = 1;
		A_OK();
		message("x\n", 0, "250 2.0.0 in");
		end();
	}
}

/* What a hop may answer to it. */
static void
test_take_back_refused(void **state)
{
	static const char *const answers[] = {
		/* No RSET: it is called again. */
		"> RSET\n< 500 5.5.1 what\n@\n" HELLO MAIL RCPT_A,
		"> RSET\n!\n" HELLO MAIL RCPT_A,
		"> RSET\n< 421 4.3.2 bye\n!\n" HELLO MAIL RCPT_A,
	};
	static const char *const refusals[] = {
		RSET "> MAIL FROM:<s@x>\n< 450 4.7.1 no\n@\n",
		RSET MAIL "> RCPT TO:<a@b>\n< 450 4.2.1 grey\n@\n",
		"> RSET\n< 500 5.5.1 what\n@\n" "< 554 no\n@\n",
		/* It does not offer any more what was asked for. */
		"> RSET\n!\n" HELLO "@\n",
	};
	char script[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		snprintf(script, sizeof(script), "%s%s%s", HELLO MAIL RCPT_A
		    RCPT_B, answers[i], RCPT_B "> RCPT TO:<c@b>\n"
		    "< 250 2.1.5 ok\n" DATA "= x|\n< 250 2.0.0 in\n" QUIT);
		play(script);
		A_OK();
		recipient(1, 0, OK_RCPT);
		relay_take_back(&relay, 1);
		envelope.n = 1;
		recipient(1, 0, OK_RCPT);
		assert_false(relay_is_broken(&relay));
		recipient(2, 0, OK_RCPT);
		message("x\n", 0, "250 2.0.0 in");
		end();
	}
	for (size_t i = 0; i < COUNT(refusals); i++) {
		bool utf8 = i + 1 == COUNT(refusals);

		snprintf(script, sizeof(script), "%s%s%s%s", utf8
		    ? OFFERS("< 250 SMTPUTF8\n")
		    "> MAIL FROM:<\xC3\xA4@x> SMTPUTF8\n< 250 ok\n"
		    : HELLO MAIL, RCPT_A RCPT_B, refusals[i],
		    HELLO MAIL RCPT_A QUIT);
		/* The second time it is told the same, as far as it goes. */
		if (utf8)
			snprintf(script, sizeof(script), "%s%s%s",
			    OFFERS("< 250 SMTPUTF8\n")
			    "> MAIL FROM:<\xC3\xA4@x> SMTPUTF8\n< 250 ok\n"
			    RCPT_A RCPT_B "> RSET\n!\n", HELLO "@\n",
			    HELLO MAIL RCPT_A QUIT);
		play(script);
		envelope.utf8 = utf8;
		if (utf8)
			envelope.reverse_path = SLICE("\xC3\xA4@x");
		A_OK();
		recipient(1, 0, OK_RCPT);
		relay_take_back(&relay, 1);
		envelope.n = 1;
		message("x\n", -1, "451 4.4.2 " LATER);
		envelope.utf8 = false;
		envelope.reverse_path = SLICE("s@x");
		A_OK();
		end();
	}
}

/* ---- LMTP ---- */

static void
test_joined(void **state)
{
	static const struct {
		const char *said, *verdict; const char *taken; int result;
	} rows[] = {
		{ "< 250 2.0.0 one\n< 250 2.0.0 two\n", "250 2.0.0 one",
		    "one", 0 },
		/* Where one of them may get it later it comes again. */
		{ "< 250 2.0.0 one\n< 450 4.2.2 full\n", "450 4.2.2 full",
		    FOR_SOME, 0 },
		{ "< 452 4.2.2 full\n< 250 2.0.0 two\n", "452 4.2.2 full",
		    FOR_SOME, 0 },
		{ "< 452 4.2.2 full\n< 552 5.2.2 no\n", "452 4.2.2 full",
		    NULL, 0 },
		{ "< 552 5.2.2 no\n< 452 4.2.2 full\n", "452 4.2.2 full",
		    NULL, 0 },
		{ "< 200 2.0.0 one\n< 400 4.2.2 full\n", "400 4.2.2 full",
		    FOR_SOME, 0 },
		{ "< 400 4.2.2 full\n< 500 5.2.2 no\n", "400 4.2.2 full",
		    NULL, 0 },
		{ "< 500 5.2.2 no\n< 200 2.0.0 two\n", "500 5.2.2 no",
		    FOR_SOME, 0 },
		{ "< 552 5.2.2 no\n< 250 2.0.0 two\n", "552 5.2.2 no",
		    FOR_SOME, 0 },
		{ "< 250 2.0.0 one\n< 552 no\n", "552 5.0.0 no", FOR_SOME, 0 },
		{ "< 250 2.0.0 one\n!\n", "451 4.4.2 The next hop was lost "
		    "after it had the whole message, and may have taken it; "
		    "try again later", FOR_SOME, -1 },
		{ "< 250 2.0.0 one\n< 421 4.3.2 bye\n!\n",
		    "451 4.4.2 " NOT_NOW, FOR_SOME, -1 },
	};
	char script[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char name[] = "/tmp/test_relay.XXXXXX";
		struct relay_text text = { .octets = 3 };

		snprintf(script, sizeof(script), "%s%s%s", LHELLO MAIL RCPT_A
		    "> RCPT TO:<b@b>\n< 550 5.1.1 no\n"
		    "> RCPT TO:<c@b>\n< 250 2.1.5 ok\n" DATA "= x|\n",
		    rows[i].said, rows[i].result == 0 ? MAIL RCPT_A QUIT
		    : "");
		play(script);
		account.hop.scheme = NEXT_HOP_LMTP;
		for (size_t k = 0; k < 3; k++)
			recipients[k].joined = true;
		A_OK();
		recipient(1, 0, "550 5.1.1 no");
		recipient(2, 0, OK_RCPT);
		text.fd = mkstemp(name);
		unlink(name);
		assert_int_equal(write(text.fd, "x\n", 2), 2);
		assert_int_equal(relay_message(&relay, &envelope, &text,
		    &verdict, &error), rows[i].result);
		close(text.fd);
		check_verdict(rows[i].verdict);
		assert_int_equal(relay.taken.code, rows[i].taken != NULL
		    ? 250 : 0);
		if (rows[i].taken != NULL)
			assert_slices(relay.taken.text,
			    slice_from(rows[i].taken));
		/* That is the end of the transaction. */
		if (rows[i].result == 0) {
			recipients[0].joined = false;
			A_OK();
		}
		end();
	}
}

/* ---- the transcript ---- */

static void
test_transcript(void **state)
{
	static const char want[] =
	    "hop> 220 x\n"
	    "hop< EHLO me.test\n"
	    "hop> 250 x\n"
	    "hop< MAIL FROM:<s@x>\n"
	    "hop> 250 2.1.0 ok\n"
	    "hop< RCPT TO:<a@b>\n"
	    "hop> 250 2.1.5 ok\n";
	char storage[2 * sizeof(want)];
	struct buf transcript;

	(void)state;
	/* In as much room as there is: whole lines only. */
	for (size_t size = 0; size <= sizeof(storage); size++) {
		struct slice whole = { want, size < sizeof(want)
		    ? size : sizeof(want) - 1 };

		while (whole.len > 0 && whole.data[whole.len - 1] != '\n')
			whole.len--;
		play(HELLO MAIL RCPT_A QUIT);
		buf_init(&transcript, storage, size);
		relay.transcript = &transcript;
		A_OK();
		assert_slices(buf_contents(&transcript), whole);
		end();
		if (size > 30 && size + 30 < sizeof(want))
			size = sizeof(want) - 30;
		if (size == sizeof(want))
			size = sizeof(storage) - 1;
	}
}

/* It is there when there is a verdict, and not only when another follows; and
 * shows lines, not their ends alone. */
static void
test_transcript_of_text(void **state)
{
	static const char want[] =
	    "hop< DATA\n"
	    "hop> 354 go\n"
	    "hop> 250 2.0.0 in\n";
	char storage[4096];
	struct buf transcript;

	(void)state;
	play(HELLO MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n" QUIT);
	buf_init(&transcript, storage, sizeof(storage));
	relay.transcript = &transcript;
	A_OK();
	buf_consume(&transcript, buf_contents(&transcript).len);
	message("x\n", 0, "250 2.0.0 in");
	assert_slices(buf_contents(&transcript), slice_from(want));
	end();
}

/* Nor is it in memory any more when the login is over. */
static void
test_secret_is_wiped(void **state)
{
	static const char secret[] = "AGpvZS1qb2Utam9lLWpvZS1qb2UA";

	(void)state;
	play(OFFERS("< 250 AUTH PLAIN\n") "> AUTH PLAIN "
	    "AGpvZS1qb2Utam9lLWpvZS1qb2UA\n< 235 AGpvZS1qb2Utam9lLWpvZS1qb2UA"
	    "\n" MAIL RCPT_A QUIT);
	account.login = "joe-joe-joe-joe-joe";
	A_OK();
	/* What came after it is shorter. */
	assert_null(memmem(relay.storage, SMTP_CLIENT_IN_MIN +
	    SMTP_CLIENT_OUT_MIN, secret + sizeof(secret) - 9, 8));
	assert_null(memmem(relay.client.text, sizeof(relay.client.text),
	    secret + sizeof(secret) - 9, 8));
	end();
}

/* A login is in no transcript, and in no error, whatever the hop says. */
static void
test_secret(void **state)
{
	char storage[4096];
	struct buf transcript;

	(void)state;
	play(OFFERS("< 250 AUTH PLAIN\n") "> AUTH PLAIN AGpvZQA=\n"
	    "< AGpvZQA= is what you said\n@\n");
	buf_init(&transcript, storage, sizeof(storage));
	relay.transcript = &transcript;
	account.login = "joe";
	recipient(0, -1, "451 4.7.0 Cannot log in to the next hop, try again "
	    "later");
	assert_null(strstr(error.text, "AGpvZQA="));
	struct slice shown = buf_contents(&transcript);
	assert_non_null(memmem(shown.data, shown.len, "hop< AUTH PLAIN", 15));
	assert_null(memmem(shown.data, shown.len, "AGpvZQA=", 8));
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_back),
		cmocka_unit_test(test_take_back_all),
		cmocka_unit_test(test_take_back_utf8),
		cmocka_unit_test(test_take_back_for_nothing),
		cmocka_unit_test(test_take_back_refused),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_transcript),
		cmocka_unit_test(test_transcript_of_text),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_secret_is_wiped),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("relay_aliases", tests, NULL,
	    NULL);
}
