/*
 * test_relay_dialogue.c - what is said to a next hop, line by line, and what
 * the client hears of its answers. The hop is a process of its own
 * (relay_hop.h).
 */
#include "drive.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "relay_hop.h"
#include "system/process.h"

static struct account other;

/* ---- a transaction ---- */

static void
test_usual(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A RCPT_B DATA "= a|..b|..|c|\n"
	    "< 250 2.0.0 queued\n"
	    MAIL RCPT_A DATA "= |\n< 550 no\n" QUIT);
	A_OK();
	recipient(1, 0, OK_RCPT);
	message("a\n.b\n.\nc", 0, "250 2.0.0 queued");
	A_OK();
	message("\n", 0, "550 5.0.0 no");
	end();
}

static void
test_pipelining(void **state)
{
	(void)state;
	play(OFFERS("< 250 PIPELINING\n")
	    "> MAIL FROM:<s@x>\n> RCPT TO:<a@b>\n< 250 ok\n< 250 good\n"
	    RCPT_B DATA "= x|\n< 250 2.0.0 in\n" QUIT);
	recipient(0, 0, "250 2.0.0 good");
	recipient(1, 0, OK_RCPT);
	message("x\n", 0, "250 2.0.0 in");
	end();
}

static void
test_refused_mail(void **state)
{
	(void)state;
	/* One by one, and together with the RCPT, whose reply says nothing;
	 * RSET before the next MAIL. */
	play(HELLO "> MAIL FROM:<s@x>\n< 553 5.1.8 not\n"
	    "> RSET\n< 250 ok\n" MAIL RCPT_A QUIT);
	recipient(0, 0, "553 5.1.8 not");
	recipient(1, 0, "553 5.1.8 not");
	relay_reset(&relay);
	A_OK();
	end();
	play(OFFERS("< 250 PIPELINING\n")
	    "> MAIL FROM:<s@x>\n> RCPT TO:<a@b>\n< 452 4.3.1 full\n"
	    "< 503 5.5.1 what\n> RSET\n< 250 ok\n"
	    "> MAIL FROM:<s@x>\n> RCPT TO:<a@b>\n< 250 ok\n"
	    "< 250 2.1.5 ok\n" QUIT);
	recipient(0, 0, "452 4.3.1 full");
	recipient(1, 0, "452 4.3.1 full");
	relay_reset(&relay);
	A_OK();
	end();
	/* Whatever the refusal of the RCPT. */
	play(OFFERS("< 250 PIPELINING\n")
	    "> MAIL FROM:<s@x>\n> RCPT TO:<a@b>\n< 550 5.7.1 no\n"
	    "< 450 4.5.0 what\n> RSET\n< 250 ok\n" QUIT);
	recipient(0, 0, "550 5.7.1 no");
	relay_reset(&relay);
	envelope.require_tls = true;
	account.hop.scheme = NEXT_HOP_SMTPS;
	account.hop.verify = true;
	recipient(0, 0, "550 5.7.30 The next hop does not offer REQUIRETLS");
	end();
	/* It takes the recipient of no sender: nobody knows what it means. */
	play(OFFERS("< 250 PIPELINING\n")
	    "> MAIL FROM:<s@x>\n> RCPT TO:<a@b>\n< 550 5.7.1 no\n"
	    "< 250 2.1.5 ok\n@\n" HELLO MAIL RCPT_A QUIT);
	recipient(0, 0, "550 5.7.1 no");
	relay_reset(&relay);
	A_OK();
	end();
}

static void
test_recipients(void **state)
{
	(void)state;
	play(HELLO MAIL "> RCPT TO:<a@b>\n< 550-5.1.1 no\n< 550 5.1.1 such\n"
	    "> RCPT TO:<b@b>\n< 450 grey\n"
	    "> RCPT TO:<c@b>\n< 251 forwards\n" DATA "= x|\n< 250 ok\n" QUIT);
	recipient(0, 0, "550 5.1.1 no\nsuch");
	recipient(1, 0, "450 4.0.0 grey");
	recipient(2, 0, "251 2.0.0 forwards");
	message("x\n", 0, "250 2.0.0 ok");
	end();
	/* RFC 5321 4.2.1: it is the first digit that says what it means. */
	play(HELLO "> MAIL FROM:<s@x>\n< 200 x\n> RCPT TO:<a@b>\n< 200 ok\n"
	    "> RCPT TO:<b@b>\n< 400 later\n> RCPT TO:<c@b>\n< 299 good\n"
	    DATA "= x|\n< 200 in\n" MAIL "> RCPT TO:<a@b>\n< 500 no\n"
	    QUIT);
	recipient(0, 0, "200 2.0.0 ok");
	recipient(1, 0, "400 4.0.0 later");
	recipient(2, 0, "299 2.0.0 good");
	message("x\n", 0, "200 2.0.0 in");
	recipient(0, 0, "500 5.0.0 no");
	end();
}

/* What is about our session there is not the client's affair. */
static void
test_session_replies(void **state)
{
	static const struct { const char *reply, *verdict; bool data; }
	rows[] = {
		{ "421 bye", "451 4.4.2 " NOT_NOW, false },
		{ "503 5.5.1 order", "451 4.4.0 " NOT_NOW, true },
		{ "530 5.7.0 login", "451 4.7.0 " NOT_NOW, true },
		{ "534 5.7.9 weak", "451 4.7.0 " NOT_NOW, true },
		{ "535 5.7.8 wrong", "451 4.7.0 " NOT_NOW, true },
		{ "538 5.7.11 tls", "451 4.7.0 " NOT_NOW, true },
		{ "432 4.7.12 new", "451 4.7.0 " NOT_NOW, true },
		{ "454 4.7.1 relay", "451 4.7.0 " NOT_NOW, true },
		{ "300 x", "451 4.4.2 " LATER, true },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		/* The connection is of no use any more. */
		script.len = 0;
		text_format(&script, "%s> MAIL FROM:<s@x>\n< %s\n!\n%s", HELLO,
		    rows[i].reply, HELLO MAIL RCPT_A QUIT);
		play(script.data);
		recipient(0, -1, rows[i].verdict);
		relay_reset(&relay);
		A_OK();
		end();
		script.len = 0;
		text_format(&script, "%s> RCPT TO:<a@b>\n< %s\n!\n", HELLO MAIL,
		    rows[i].reply);
		play(script.data);
		recipient(0, -1, rows[i].verdict);
		assert_false(relay_is_broken(&relay));
		end();
		if (!rows[i].data)
			continue;
		script.len = 0;
		text_format(&script, "%s> DATA\n< %s\n", HELLO MAIL RCPT_A,
		    rows[i].reply);
		/* Of these two one recipient of several may be meant, and the
		 * connection stays. */
		text_format(&script, "%s", rows[i].reply[0] == '4'
		    ? QUIT : "!\n");
		play(script.data);
		A_OK();
		message("x\n", -1, rows[i].verdict);
		end();
	}
	text_free(&script);
}

/* About one of several recipients, perhaps. */
static void
test_one_of_several(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A "> RCPT TO:<b@b>\n< 454 4.7.1 not you\n"
	    DATA "= x|\n< 250 ok\n" QUIT);
	A_OK();
	recipient(1, -1, "451 4.7.0 " NOT_NOW);
	message("x\n", 0, "250 2.0.0 ok");
	end();
}

/* ---- what a hop cannot do ---- */

static void
test_carry(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A QUIT);
	envelope.utf8 = true;
	envelope.reverse_path = SLICE("\xC3\xA4@x");
	recipient(0, 0, "550 5.6.7 The next hop takes no SMTPUTF8 mail");
	envelope.reverse_path = SLICE("s@x");
	recipients[1].path = SLICE("\xC3\xA4@b");
	recipient(1, 0, "550 5.6.7 The next hop takes no SMTPUTF8 mail");
	recipients[2].dsn.notify = ENVELOPE_NOTIFY_SUCCESS;
	recipient(2, 0,
	    "550 5.3.3 The next hop sends no delivery notifications");
	/* ORCPT goes to those who offer DSN only. */
	recipients[0].dsn.orcpt = SLICE("utf-8;\xC3\xA4@b");
	A_OK();
	end();
	play(OFFERS("< 250-DSN\n< 250 SMTPUTF8\n")
	    "> MAIL FROM:<\xC3\xA4@x> SMTPUTF8\n< 250 ok\n"
	    "> RCPT TO:<a@b> NOTIFY=SUCCESS ORCPT=utf-8;\xC3\xA4@b\n"
	    "< 250 2.1.5 ok\n" QUIT);
	envelope.utf8 = true;
	envelope.reverse_path = SLICE("\xC3\xA4@x");
	recipients[0].dsn = (struct envelope_notify){ ENVELOPE_NOTIFY_SUCCESS,
		SLICE("utf-8;\xC3\xA4@b") };
	A_OK();
	end();
	play(OFFERS("< 250 DSN\n") QUIT);
	envelope.utf8 = true;
	recipients[0].dsn.orcpt = SLICE("utf-8;\xC3\xA4@b");
	recipient(0, 0, "550 5.6.7 The next hop takes no SMTPUTF8 mail");
	end();
}

/* RFC 8689: asked for nothing where it cannot be had. */
static void
test_require_tls(void **state)
{
	static const char refusal[] = "550 5.7.30 REQUIRETLS, and the next hop "
	    "is not under TLS with a verified certificate";

	(void)state;
	play(HELLO MAIL RCPT_A QUIT);
	envelope.require_tls = true;
	recipient(0, 0, refusal);
	account.hop.scheme = NEXT_HOP_SMTPS;
	recipient(0, 0, refusal);
	account.hop.scheme = NEXT_HOP_SMTP_PLAIN;
	account.hop.verify = true;
	recipient(0, 0, refusal);
	envelope.require_tls = false;
	A_OK();
	end();
}

static void
test_lmtp(void **state)
{
	(void)state;
	play(GREETING "> LHLO me.test\n< 250 x\n" MAIL RCPT_A
	    DATA "= x|\n< 250 ok\n" MAIL RCPT_B QUIT);
	account.hop.scheme = NEXT_HOP_LMTP;
	A_OK();
	recipient(1, 0, "452 4.5.3 One recipient at a time, please");
	message("x\n", 0, "250 2.0.0 ok");
	recipient(1, 0, OK_RCPT);
	end();
	play(GREETING "> LHLO me.test\n< 250 x\n" MAIL
	    "> RCPT TO:<a@b>\n< 200 2.1.5 ok\n" QUIT);
	account.hop.scheme = NEXT_HOP_LMTP;
	recipient(0, 0, "200 2.1.5 ok");
	recipient(1, 0, "452 4.5.3 One recipient at a time, please");
	end();
}

static void
test_send(void **state)
{
	static const struct {
		struct relay_text text; const char *offers; bool seven, utf8;
		const char *verdict;
	} rows[] = {
		{ { .octets = 101 }, "SIZE 100", false, false, "552 5.3.4 The "
		    "message is larger than the next hop takes" },
		{ { .octets = 2 }, "SIZE 1", false, false, "552 5.3.4 The "
		    "message is larger than the next hop takes" },
		{ { .has_8bit = true }, "HELP", false, false,
		    "554 5.6.3 The next hop takes no 8-bit text" },
		{ { .has_8bit = true }, "8BITMIME", true, false,
		    "554 5.6.3 8-bit text, though MAIL said BODY=7BIT" },
		{ { .has_8bit = true, .header_8bit = true }, "8BITMIME", false,
		    true, "550 5.6.7 The next hop takes no SMTPUTF8 mail, "
		    "and the header has UTF-8" },
		{ { .octets = 100 }, "SIZE 100", false, false, NULL },
		{ { .octets = 100 }, "SIZE", false, false, NULL },
		{ { .octets = 100 }, "SIZE 0", false, false, NULL },
		{ { .has_8bit = true }, "8BITMIME", false, true, NULL },
		/* Nobody said that it is UTF-8. */
		{ { .has_8bit = true, .header_8bit = true }, "8BITMIME", false,
		    false, NULL },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		bool eight = strcmp(rows[i].offers, "8BITMIME") == 0 &&
		    !rows[i].seven;

		script.len = 0;
		text_format(&script, "%s< 250 %s\n"
		    "> MAIL FROM:<s@x>%s\n< 250 ok\n%s%s", OFFERS(""),
		    rows[i].offers, eight ? " BODY=8BITMIME" : "", RCPT_A,
		    rows[i].verdict == NULL ? DATA "= x|\n< 250 2.0.0 in\n"
		    QUIT : "> RSET\n< 250 ok\n");
		if (rows[i].verdict != NULL)
			text_format(&script, "> MAIL FROM:<s@x>%s\n< 250 ok\n"
			    "%s", eight ? " BODY=8BITMIME" : "",
			    RCPT_A QUIT);
		play(script.data);
		envelope.seven_bit = rows[i].seven;
		envelope.utf8 = rows[i].utf8;
		A_OK();
		message_of(rows[i].text, "x\n", 0, rows[i].verdict != NULL
		    ? rows[i].verdict : "250 2.0.0 in");
		if (rows[i].verdict != NULL)
			A_OK();
		end();
	}
	text_free(&script);
}

/* ---- opening ---- */

static void
test_opening(void **state)
{
	static const struct { const char *script, *verdict; } rows[] = {
		{ "< 554 no\n!\n", "451 4.4.2 " LATER },
		{ "< 250 x\n!\n", "451 4.4.2 " LATER },
		{ "!\n", "451 4.4.2 " LATER },
		{ "< nonsense\n!\n", "451 4.4.2 " LATER },
		{ GREETING EHLO "< 450 x\n!\n", "451 4.4.2 " LATER },
		{ GREETING EHLO "< 500 x\n> HELO me.test\n< 500 x\n!\n",
		    "451 4.4.2 " LATER },
		{ GREETING EHLO "< 500 x\n> HELO me.test\n!\n",
		    "451 4.4.2 " LATER },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		script.len = 0;
		text_format(&script, "%s%s", rows[i].script,
		    GREETING EHLO "< 500 what\n> HELO me.test\n< 250 x\n"
		    MAIL RCPT_A QUIT);
		play(script.data);
		recipient(0, -1, rows[i].verdict);
		/* Not again for each recipient. */
		recipient(1, 0, rows[i].verdict);
		relay_reset(&relay);
		A_OK();
		end();
	}
	text_free(&script);
}

static void
test_unreachable(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(address);

	(void)state;
	play("");
	hop_end();
	/* A port that is taken, so that no other test comes to it, where
	 * nobody listens. */
	int taken = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(taken, (struct sockaddr *)&address, len), 0);
	getsockname(taken, (struct sockaddr *)&address, &len);
	snprintf(hop_port, sizeof(hop_port), "%u", ntohs(address.sin_port));
	recipient(0, -1, "451 4.4.1 " LATER);
	assert_non_null(strstr(error.text, "127.0.0.1 port "));
	recipient(1, 0, "451 4.4.1 " LATER);
	assert_int_equal(relay_message(&relay, &envelope,
	    &(struct relay_text){ .fd = -1 }, &verdict, &error), -1);
	check_verdict("451 4.4.2 " LATER);
	relay_close(&relay);
	close(taken);
}

static void
test_another_account(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A DATA "= x|\n< 250 ok\n" QUIT
	    HELLO MAIL RCPT_A QUIT);
	other = account;
	A_OK();
	message("x\n", 0, "250 2.0.0 ok");
	assert_int_equal(relay_recipient(&relay, &other, &envelope, 0,
	    &verdict, &error), 0);
	check_verdict(OK_RCPT);
	end();
}

static void
test_ourselves(void **state)
{
	static const char loop[] =
	    "554 5.4.6 The next hop is this server itself: a mail loop";
	struct sockaddr_in address;

	(void)state;
	/* It hears nothing of us. */
	play("< 220 me.test ESMTP ready (relay 1)\n@\n"
	    "< 220 me.test ESMTP ready (relay 1) \n!\n");
	relay.mark = "(relay 1)";
	recipient(0, -1, loop);
	recipient(1, 0, loop);
	relay_reset(&relay);
	recipient(0, -1, "451 4.4.2 " LATER);
	end();

	/* Nobody is called. */
	play("");
	int listener = listen_on_loopback(&address);
	snprintf(hop_port, sizeof(hop_port), "%u", ntohs(address.sin_port));
	relay_set_client(&relay, listener);
	static const char *const hosts[] = { "127.0.0.1", "::1", "0.0.0.0",
		"::", "::ffff:127.0.0.1", "localhost" };
	for (size_t i = 0; i < COUNT(hosts); i++) {
		account.hop.host = hosts[i];
		recipient(0, -1, loop);
		relay_reset(&relay);
	}
	fcntl(listener, F_SETFL, O_NONBLOCK);
	assert_int_equal(accept(listener, NULL, NULL), -1);
	close(listener);
	account.hop.host = "127.0.0.2";
	recipient(0, -1, "451 4.4.1 " LATER);
	end();

	/* Nor by a path; another one is somebody else's. */
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char folder[] = "/tmp/test_relay.XXXXXX";
	play("");
	assert_non_null(mkdtemp(folder));
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/lmtp", folder);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&name,
	    sizeof(name)), 0);
	relay_set_client(&relay, listener);
	account.hop = (struct next_hop){ NEXT_HOP_LMTP_UNIX,
		.host = name.sun_path, .port = "" };
	recipient(0, -1, loop);
	relay_reset(&relay);
	account.hop.host = "/nowhere/lmtp";
	recipient(0, -1, "451 4.4.1 " LATER);
	close(listener);
	unlink(name.sun_path);
	rmdir(folder);
	end();
}

/* ---- the login ---- */

static void
test_login(void **state)
{
	static const struct { const char *script, *verdict, *why; } rows[] = {
		{ OFFERS("< 250 AUTH LOGIN PLAIN\n")
		    "> AUTH PLAIN AGpvZQA=\n< 235 in\n" MAIL RCPT_A QUIT,
		    OK_RCPT, "" },
		{ OFFERS("< 250 AUTH PLAIN LOGIN\n") "> AUTH PLAIN AGpvZQA=\n"
		    "< 504 no\n> AUTH LOGIN\n< 334 VQ==\n> am9l\n< 334 UA==\n"
		    "> \n< 235 in\n" MAIL RCPT_A QUIT, OK_RCPT, "" },
		{ OFFERS("< 250 AUTH PLAIN LOGIN\n") "> AUTH PLAIN AGpvZQA=\n"
		    "< 535 5.7.8 no\n!\n", NULL,
		    "answered AUTH with 535 5.7.8 (PLAIN)" },
		{ OFFERS("< 250 AUTH LOGIN\n") "> AUTH LOGIN\n< 534 5.7.9 x\n"
		    "!\n", NULL, "answered AUTH with 534 5.7.9 (LOGIN)" },
		/* Before anything was said it is no error challenge. */
		{ OFFERS("< 250 AUTH LOGIN\n") "> AUTH LOGIN\n"
		    "< 334 eyJzdGF0dXMiOiJ4In0=\n> am9l\n< 535 5.7.8 x\n!\n",
		    NULL, "answered AUTH with 535 5.7.8 (LOGIN)" },
		{ OFFERS("< 250 AUTH PLAIN\n") "> AUTH PLAIN AGpvZQA=\n"
		    "< 334 eA==\n!\n", NULL,
		    "asks for more than AUTH PLAIN has" },
		{ OFFERS("< 250 AUTH CRAM-MD5\n") "!\n", NULL,
		    "offers neither AUTH PLAIN nor LOGIN\n" },
		{ OFFERS("< 250 AUTH XOAUTH2\n") "!\n", NULL,
		    "offers neither AUTH PLAIN nor LOGIN; where the password "
		    "is a token, the URL needs ?auth=xoauth2 or "
		    "?auth=oauthbearer\n" },
		{ OFFERS("< 250 AUTH OAUTHBEARER\n") "!\n", NULL,
		    "LOGIN; where the password is a token" },
		{ OFFERS("< 250 AUTH PLAIN\n") "> AUTH PLAIN AGpvZQA=\n!\n",
		    NULL, "closed the connection" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		play(rows[i].script);
		account.login = "joe";
		if (rows[i].verdict != NULL)
			recipient(0, 0, rows[i].verdict);
		else
			recipient(0, -1, "451 4.7.0 Cannot log in to the next "
			    "hop, try again later");
		/* To the end of it, where a line end is asked for. */
		strncat(error.text, "\n", sizeof(error.text) - 1 -
		    strlen(error.text));
		if (strstr(error.text, rows[i].why) == NULL)
			fail_msg("%zu: %s", i, error.text);
		end();
	}
}

/* What an error challenge says is told as far as it is a word. Who has chosen
 * the mechanism tries no other one, nor the same again. */
static void
test_challenges(void **state)
{
	static const struct { const char *challenge, *status; } rows[] = {
		/* {"status":"a_B-9"} and so on. */
		{ "eyJzdGF0dXMiOiJhX0ItOSJ9", ", status a_B-9)" },
		{ "eyAic3RhdHVzIiA6ICI0MDEgYiIgfQ==", ", status 401)" },
		{ "eyJzdGF0dXMiOiJ4PHkifQ==", ", status x)" },
		{ "eyJzdGF0dXMiOjQwMX0=", ", status 401)" },
		/* As much as a word may have. */
		{ "eyJzdGF0dXMiOiIwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAx"
		    "MjM0NTY3ODkwMTIzNDU2LTh4eXoifQ==",
		    ", status 0123456789012345678901234567890123456-8)" },
		{ "eyJzdGF0dXN4IjoieSJ9", "(XOAUTH2)" },
		{ "InN0YXR1cyI=", "(XOAUTH2)" }, { "", "(XOAUTH2)" },
		{ "eyJzdGF0ZSI6IngifQ==", "(XOAUTH2)" },
		{ "not base64", "(XOAUTH2)" },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		script.len = 0;
		text_format(&script, "%s> AUTH XOAUTH2 "
		    "dXNlcj1qb2UBYXV0aD1CZWFyZXIgAQE=\n< 334 %s\n> \n"
		    "< 534 5.7.9 no\n@\n", OFFERS("< 250 AUTH XOAUTH2\n"),
		    rows[i].challenge);
		play(script.data);
		account.login = "joe";
		account.hop.auth = SASL_CLIENT_XOAUTH2;
		recipient(0, -1, "451 4.7.0 Cannot log in to the next hop, "
		    "try again later");
		if (strstr(error.text, rows[i].status) == NULL)
			fail_msg("%zu: %s", i, error.text);
		end();
	}
	text_free(&script);
}

/* ---- a hop that leaves ---- */

#define LEFT "< 421 4.4.2 idle\n!\n"

static void
test_resume(void **state)
{
	(void)state;
	/* Before DATA, at DATA, and with 421. */
	static const char *const scripts[] = {
		HELLO MAIL RCPT_A LEFT,
		HELLO MAIL RCPT_A "!\n",
		HELLO MAIL RCPT_A "> DATA\n!\n",
		HELLO MAIL RCPT_A "> DATA\n" LEFT,
	};
	struct text script = { .data = NULL };

	for (size_t i = 0; i < COUNT(scripts); i++) {
		script.len = 0;
		text_format(&script, "%s%s", scripts[i], HELLO MAIL RCPT_A
		    DATA "= x|\n< 250 2.0.0 in\n" QUIT);
		play(script.data);
		A_OK();
		message("x\n", 0, "250 2.0.0 in");
		end();
	}
	text_free(&script);
	/* Those whom it had accepted, and no others. */
	play(HELLO MAIL "> RCPT TO:<a@b>\n< 550 5.1.1 no\n" RCPT_B "!\n"
	    HELLO MAIL RCPT_B "> RCPT TO:<c@b>\n!\n"
	    HELLO MAIL RCPT_B "> RCPT TO:<c@b>\n< 250 2.1.5 ok\n"
	    DATA "= x|\n< 250 2.0.0 in\n" QUIT);
	recipient(0, 0, "550 5.1.1 no");
	recipient(1, 0, OK_RCPT);
	recipient(2, 0, OK_RCPT);
	message("x\n", 0, "250 2.0.0 in");
	end();
}

/* Three times in each transaction. */
static void
test_resume_often(void **state)
{
	static const char again[] = HELLO MAIL RCPT_A "> DATA\n!\n";
	struct text script = { .data = NULL };

	(void)state;
	text_add(&script, SLICE(HELLO));
	for (int i = 0; i < 2; i++)
		text_format(&script, "%s%s%s%s", MAIL RCPT_A "!\n", again,
		    again, HELLO MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n");
	text_format(&script, "%s", QUIT);
	play(script.data);
	for (int i = 0; i < 2; i++) {
		A_OK();
		message("x\n", 0, "250 2.0.0 in");
	}
	end();
	text_free(&script);
}

static void
test_no_resume(void **state)
{
	static const char *const scripts[] = {
		HELLO "> MAIL FROM:<s@x>\n< 550 5.7.1 no\n!\n",
		HELLO MAIL "> RCPT TO:<a@b>\n< 450 4.2.1 grey\n!\n",
		HELLO MAIL "> RCPT TO:<a@b>\n!\n",
		"< 554 no\n!\n",
		/* At a third time it is not called again. */
		HELLO MAIL RCPT_A "> DATA\n!\n"
		HELLO MAIL RCPT_A "> DATA\n!\n"
		HELLO MAIL RCPT_A "> DATA\n!\n",
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(scripts); i++) {
		script.len = 0;
		text_format(&script, "%s%s%s", HELLO MAIL RCPT_A "!\n",
		    scripts[i], HELLO MAIL RCPT_A QUIT);
		play(script.data);
		A_OK();
		message("x\n", -1, "451 4.4.2 " LATER);
		assert_false(relay_is_broken(&relay));
		A_OK();
		end();
	}
	/* It comes back, and cannot do what it could. */
	play(OFFERS("< 250 SMTPUTF8\n") "> MAIL FROM:<s@x> SMTPUTF8\n< 250 ok\n"
	    RCPT_A "> RCPT TO:<\xC3\xA4@b>\n< 250 2.1.5 ok\n!\n" HELLO "@\n");
	envelope.utf8 = true;
	recipients[1].path = SLICE("\xC3\xA4@b");
	A_OK();
	recipient(1, 0, OK_RCPT);
	message("x\n", -1, "451 4.4.2 " LATER);
	assert_text(error.text,
	    "127.0.0.1 does not offer any more what it did");
	end();
	/* The next recipient hears of it, and so does who asks. */
	play(HELLO MAIL RCPT_A "!\n" "< 554 no\n!\n" HELLO MAIL RCPT_A QUIT);
	A_OK();
	recipient(1, -1, "451 4.4.2 " LATER);
	assert_true(relay_is_broken(&relay));
	recipient(2, -1, "451 4.4.2 " LATER);
	message("x\n", -1, "451 4.4.2 " LATER);
	assert_text(error.text, "the next hop left");
	A_OK();
	end();
	/* Where it left at the first recipient, the next one's transaction
	 * begins with MAIL. */
	play(HELLO MAIL "> RCPT TO:<a@b>\n!\n" HELLO MAIL RCPT_B QUIT);
	recipient(0, -1, "451 4.4.2 " LATER);
	recipient(1, 0, OK_RCPT);
	end();
	/* One that left again while it was told is not called a third time. */
	play(HELLO MAIL RCPT_A "!\n" HELLO "> MAIL FROM:<s@x>\n< 421 bye\n!\n"
	    HELLO MAIL RCPT_A QUIT);
	A_OK();
	recipient(1, -1, "451 4.4.2 " LATER);
	assert_true(relay_is_broken(&relay));
	relay_reset(&relay);
	A_OK();
	end();
	text_free(&script);
}

/* Out of step is worse than gone: it would be so again. */
static void
test_out_of_step(void **state)
{
	(void)state;
	play(HELLO MAIL "> RCPT TO:<a@b>\n< 250 2.1.5 ok|250 2.1.5 stray\n"
	    "@\n" HELLO MAIL RCPT_A QUIT);
	A_OK();
	recipient(1, -1, "451 4.4.2 " LATER);
	assert_text(error.text, "127.0.0.1 said something before its turn: "
	    "250 2.1.5 stray");
	assert_true(relay_is_broken(&relay));
	relay_reset(&relay);
	A_OK();
	end();
	play(HELLO MAIL RCPT_A "> DATA\n< what\n!\n");
	A_OK();
	message("x\n", -1, "451 4.4.2 " LATER);
	end();
}

/* Between two transactions that is nobody's loss. */
static void
test_left_between(void **state)
{
	static const char *const scripts[] = { "!\n", LEFT,
		"> RSET\n!\n", "> RSET\n< 500 what\n!\n" };
	const size_t unasked = 2; /* of these */
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(scripts); i++) {
		script.len = 0;
		text_format(&script, "%s%s%s", HELLO MAIL RCPT_A, scripts[i],
		    HELLO MAIL RCPT_A QUIT);
		play(script.data);
		A_OK();
		relay_reset(&relay);
		if (i < unasked)
			await_input();
		A_OK();
		end();
	}
	text_free(&script);
	/* One RSET will do, whatever comes of what follows, and none on another
	 * connection. */
	for (int taken = 0; taken < 2; taken++) {
		play(taken ? HELLO MAIL RCPT_A "> RSET\n< 250 ok\n"
		    MAIL RCPT_A QUIT : HELLO MAIL RCPT_A "> RSET\n< 500 x\n@\n"
		    HELLO MAIL RCPT_A QUIT);
		A_OK();
		relay_reset(&relay);
		recipients[1].dsn.notify = ENVELOPE_NOTIFY_SUCCESS;
		recipient(1, 0,
		    "550 5.3.3 The next hop sends no delivery notifications");
		relay_reset(&relay);
		A_OK();
		end();
	}
}

/* ---- the text and the word on it ---- */

static void
test_final(void **state)
{
	static const char perhaps[] = "451 4.4.2 The next hop was lost after "
	    "it had the whole message, and may have taken it; try again later";
	static const struct {
		const char *said, *verdict; int result; const char *why;
	} rows[] = {
		{ "< 250-2.0.0 queued\n< 250 2.0.0 as 7\n",
		    "250 2.0.0 queued\nas 7", 0, NULL },
		{ "< 552 5.2.2 full\n", "552 5.2.2 full", 0, NULL },
		/* Of the text these two are verdicts. */
		{ "< 454 4.7.1 later\n", "454 4.7.1 later", 0, NULL },
		{ "< 432 4.7.12 x\n", "432 4.7.12 x", 0, NULL },
		{ "< 421 4.3.2 bye\n!\n", "451 4.4.2 " NOT_NOW, -1, "421" },
		{ "< 354 more\n!\n", "451 4.4.2 " LATER, -1, "out of place" },
		{ "!\n", perhaps, -1, "it had the whole message" },
		{ "< what\n!\n", perhaps, -1, "it had the whole message" },
		{ "< what\n@\n", perhaps, -1, "it had the whole message" },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		script.len = 0;
		bool same = rows[i].result == 0;

		/* One that is lost is not spoken to again. */
		text_format(&script, "%s= x|\n%s%s%s", HELLO MAIL RCPT_A DATA,
		    rows[i].said, same ? "" : HELLO, MAIL RCPT_A QUIT);
		play(script.data);
		A_OK();
		message("x\n", rows[i].result, rows[i].verdict);
		if (rows[i].why != NULL &&
		    strstr(error.text, rows[i].why) == NULL)
			fail_msg("%s", error.text);
		A_OK();
		end();
	}
	text_free(&script);
}

static void
test_data_refused(void **state)
{
	(void)state;
	play(HELLO MAIL RCPT_A "> DATA\n< 550 5.7.1 no\n> RSET\n< 250 ok\n"
	    MAIL RCPT_A "> DATA\n< 250 what\n!\n" HELLO MAIL RCPT_A QUIT);
	A_OK();
	message("x\n", 0, "550 5.7.1 no");
	A_OK();
	message("x\n", -1, "451 4.4.2 " LATER);
	assert_text(error.text, "127.0.0.1 answered DATA with 250  what");
	A_OK();
	end();
}

/* A file that cannot be read is no message: its end is never sent. */
static void
test_not_read(void **state)
{
	(void)state;
	for (int empty = 0; empty < 2; empty++) {
		int fd = open(empty ? "/dev/null" : "/", O_RDONLY);

		play(HELLO MAIL RCPT_A DATA);
		A_OK();
		assert_int_equal(relay_message(&relay, &envelope,
		    &(struct relay_text){ .fd = fd }, &verdict, &error), -1);
		check_verdict("451 4.3.0 Cannot read the message back, try "
		    "again later");
		assert_non_null(strstr(error.text, "spool"));
		close(fd);
		end();
	}
}

/* More than any buffer holds, of which the hop has heard enough. */
static void
test_large(void **state)
{
	static char large[16 << 20];
	struct text script = { .data = NULL };

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	for (size_t i = 60; i < sizeof(large); i += 60)
		large[i] = '\n';
	text_format(&script, "%s< 552 5.3.4 too big\n!\n",
	    HELLO MAIL RCPT_A DATA);
	text_format(&script, "%s", HELLO MAIL RCPT_A QUIT);
	play(script.data);
	A_OK();
	message(large, 0, "552 5.3.4 too big");
	A_OK();
	end();
	text_free(&script);
	/* To one that reads on it goes, however often we wait for it. */
	play(HELLO MAIL RCPT_A DATA "%\n< 250 2.0.0 in\n" QUIT);
	A_OK();
	message(large, 0, "250 2.0.0 in");
	end();
}

/* ---- SIGTERM ---- */

/* In a process of its own, for it stays requested. */
static bool
verdict_is(int result, int wanted_result, const char *wanted)
{
	char got[256];

	snprintf(got, sizeof(got), "%u %s %.*s", verdict.code,
	    verdict.enhanced, SLICE_ARG(verdict.text));
	if (result == wanted_result && strcmp(got, wanted) == 0)
		return true;
	fprintf(stderr, "%d, %s, %s\n", result, got, error.text);
	return false;
}

static int
stop(void)
{
	static const char shutting_down[] = "421 4.3.2 Shutting down";
	struct relay_text text = { .fd = memfd_create("x", 0), .octets = 3 };
	int status;

	process_init();
	/* It is not the hop that ends this. */
	play(HELLO MAIL "> RCPT TO:<a@b>\n< 250 2.1.5 ok\n" DATA "= x|\n^\n"
	    "< 250 2.0.0 in\n> MAIL FROM:<s@x>\n@\n");
	if (!verdict_is(relay_recipient(&relay, &account, &envelope, 0,
	    &verdict, &error), 0, OK_RCPT) || write(text.fd, "x\n", 2) != 2)
		return 1;
	/* A hop that has the message says what became of it (RFC 1047). */
	if (!verdict_is(relay_message(&relay, &envelope, &text, &verdict,
	    &error), 0, "250 2.0.0 in"))
		return 2;
	relay_reset(&relay);
	/* The signal is there, whoever looked first. */
	while (!process_stop_requested())
		ppoll(NULL, 0, NULL, process_wait_mask());
	if (!verdict_is(relay_recipient(&relay, &account, &envelope, 0,
	    &verdict, &error), -1, shutting_down))
		return 3;
	relay_close(&relay);
	if (waitpid(hop_pid, &status, 0) != hop_pid || status != 0)
		return 4;
	return 0;
}

static void
test_stopped(void **state)
{
	(void)state;
	check_apart(stop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_refused_mail),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_session_replies),
		cmocka_unit_test(test_one_of_several),
		cmocka_unit_test(test_carry),
		cmocka_unit_test(test_require_tls),
		cmocka_unit_test(test_lmtp),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_another_account),
		cmocka_unit_test(test_ourselves),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_challenges),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_resume_often),
		cmocka_unit_test(test_no_resume),
		cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_left_between),
		cmocka_unit_test(test_final),
		cmocka_unit_test(test_data_refused),
		cmocka_unit_test(test_not_read),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_stopped),
	};

	/* Ours is to close a connection that has ended. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("relay_dialogue", tests, NULL,
	    NULL);
}
