/*
 * test_session.c - level 1 of the library: sessions without I/O, by the calls
 * that an embedder has, and by those that it should not have made.
 */
#include "drive.h"

#include <dirent.h>
#include <sys/mman.h>

#include "library/mailhandlers.h"
#include "pop3/pop3.h"
#include "session_box.h"
#include "smtp/smtp.h"

/* ---- STARTTLS and STLS ---- */

#define EHLO_TLS "250-h\r\n250-PIPELINING\r\n250-SIZE 35882577\r\n" \
	"250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250-STARTTLS\r\n" \
	"250-LIMITS RCPTMAX=100\r\n250-HELP\r\n250 ENHANCEDSTATUSCODES\r\n"

/* CVE-2011-0411: what is injected before the handshake is nobody's. */
static void
test_injection_before_starttls(void **state)
{
	struct box box;
	size_t room;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_TLS);
	assert_int_equal(say(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n"),
	    MH_SENDER);
	accept(&box);
	/* The sender is void before the question comes. */
	assert_int_equal(say(&box, "STARTTLS\r\nMAIL FROM:<evil@x>\r\n"),
	    MH_RESET);
	assert_slice(((struct slice){ mh_get(box.session,
	    MH_REVERSE_PATH).data, mh_get(box.session,
	    MH_REVERSE_PATH).len }), "a@b");
	accept(&box);
	assert_int_equal(say(&box, ""), MH_TLS);
	assert_int_equal(mh_tls_started(box.session), -1);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_null(mh_room(box.session, &room));
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	assert_said(&box, "220 h ESMTP ready\r\n" EHLO_TLS
	    "250 2.1.0 Ok\r\n220 2.0.0 Go ahead\r\n");
	assert_int_equal(mh_tls_started(box.session), 0);
	assert_int_equal(mh_tls_started(box.session), -1);
	assert_int_equal(say(&box, "DATA\r\nSTARTTLS\r\n"), MH_IO);
	assert_said(&box, "503 5.5.1 EHLO comes first\r\n"
	    "503 5.5.1 EHLO comes first\r\n");
	box_close(&box);
}

static void
test_injection_before_stls(void **state)
{
	struct box box;
	size_t room;

	(void)state;
	box_open(&box, MH_POP3, MH_OFFER_TLS | MH_OFFER_LOGIN);
	assert_int_equal(say(&box, "STLS\r\nUSER evil\r\nPASS x\r\n"),
	    MH_TLS);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_null(mh_room(box.session, &room));
	assert_said(&box, "+OK h POP3 ready\r\n+OK Go ahead\r\n");
	assert_int_equal(mh_tls_started(box.session), 0);
	assert_int_equal(say(&box, "PASS x\r\n"), MH_IO);
	assert_said(&box, "-ERR USER comes first\r\n");
	box_close(&box);
}

static void
test_tls_refused(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_TLS);
	until(&box, "EHLO x\r\nSTARTTLS\r\nNOOP\r\n", MH_TLS);
	box.said.len = 0;
	assert_int_equal(mh_refuse(box.session, MH_LATER, NULL), 0);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_true(slice_ends_with(text_slice(&box.said),
	    SLICE("454 4.7.0 TLS not available\r\n250 2.0.0 Ok\r\n")));
	box_close(&box);
	box_open(&box, MH_POP3, MH_OFFER_TLS);
	until(&box, "STLS\r\nQUIT\r\n", MH_TLS);
	assert_int_equal(mh_refuse(box.session, MH_LATER, "Not\r\nnow"), 0);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "+OK h POP3 ready\r\n-ERR Not  now\r\n+OK Bye\r\n");
	box_close(&box);
}

/* ---- answers ---- */

static void
test_lmtp_yes_and_no(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_LMTP, 0);
	until(&box, "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<yes@d>\r\n"
	    "RCPT TO:<no@d>\r\nDATA\r\nx\r\n.\r\n", MH_MESSAGE);
	drain(&box);
	box.said.len = 0;
	assert_int_equal(mh_next(box.session)->index, 0);
	assert_int_equal(mh_next(box.session)->address.len, 5);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_MESSAGE);
	assert_int_equal(mh_next(box.session)->index, 1);
	assert_int_equal(mh_recipients(box.session), 2);
	assert_int_equal(mh_refuse(box.session, MH_FULL, NULL), 0);
	assert_int_equal(say(&box, "QUIT\r\n"), MH_CLOSED);
	assert_said(&box, "250 2.0.0 Ok, kept\r\n452 4.2.2 Mailbox full\r\n"
	    "221 2.0.0 Bye\r\n");
	box_close(&box);
}

/* Each way to say no, in the protocol's words. */
static void
test_refusals(void **state)
{
	static const struct {
		const char *input;
		enum mh_event_type type;
		const char *said[MH_LATER + 1];
	} rows[] = {
		{ "EHLO x\r\nAUTH PLAIN AGEAYg==\r\n", MH_LOGIN,
		    { "535 5.7.8", "535 5.7.8", "535 5.7.8", "454 4.7.0",
		      "454 4.7.0", "454 4.7.0" } },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER,
		    { "550 5.0.0", "550 5.1.8", "550 5.7.1", "452 4.2.2",
		      "451 4.3.2", "451 4.3.0" } },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
		    MH_RECIPIENT,
		    { "550 5.0.0", "550 5.1.1", "550 5.7.1", "452 4.2.2",
		      "451 4.3.2", "451 4.3.0" } },
		{ "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
		    MH_BEGIN,
		    { "550 5.0.0", "550 5.1.1", "550 5.7.1", "452 4.2.2",
		      "451 4.3.2", "451 4.3.0" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (unsigned why = MH_WRONG; why <= MH_LATER; why++) {
			struct box box;
			char want[64];

			box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
			until(&box, rows[i].input, rows[i].type);
			drain(&box);
			box.said.len = 0;
			assert_int_equal(mh_refuse(box.session,
			    (enum mh_why)why, "so\tthere"), 0);
			assert_int_equal(say(&box, ""), MH_IO);
			snprintf(want, sizeof(want), "%s so there\r\n",
			    rows[i].said[why]);
			assert_slices(text_slice(&box.said),
			    slice_from(want));
			box_close(&box);
		}
}

static void
test_pop3_refusals(void **state)
{
	static const char *const said[] = {
		"-ERR [AUTH] Wrong name or password\r\n",
		"-ERR [AUTH] Wrong name or password\r\n",
		"-ERR [SYS/PERM] The maildrop cannot be opened\r\n",
		"-ERR [SYS/TEMP] Cannot log you in now\r\n",
		"-ERR [IN-USE] Another session has the maildrop\r\n",
		"-ERR [SYS/TEMP] Cannot log you in now\r\n",
	};

	(void)state;
	for (unsigned why = MH_WRONG; why <= MH_LATER; why++) {
		struct box box;

		box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
		until(&box, "USER a\r\nPASS b\r\n", MH_LOGIN);
		drain(&box);
		box.said.len = 0;
		assert_int_equal(mh_refuse(box.session, (enum mh_why)why,
		    NULL), 0);
		assert_int_equal(say(&box, ""), MH_IO);
		assert_slices(text_slice(&box.said), slice_from(said[why]));
		box_close(&box);
	}
}

static void
test_reply(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, 0);
	until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER);
	drain(&box);
	box.said.len = 0;
	static const struct { unsigned code; const char *enhanced; } bad[] = {
		{ 199, NULL }, { 600, NULL }, { 354, NULL }, { 0, NULL },
		{ 300, NULL }, { 399, NULL },
		{ 250, "5.7.1" }, { 550, "5.7" }, { 550, "5.7.1234" },
		{ 550, "5..1" }, { 550, "x" }, { 550, "5.7.1\r\n" },
		{ 550, "55.7.1" },
	};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(mh_reply(box.session, bad[i].code,
		    bad[i].enhanced, "x"), -1);
	assert_int_equal(mh_reply(box.session, 250, "2.1.0", "two\nlines"),
	    0);
	assert_int_equal(mh_reply(box.session, 250, "2.1.0", "again"), -1);
	until(&box, "RCPT TO:<c@d>\r\n", MH_RECIPIENT);
	/* 421 ends the session, and the transaction first. */
	assert_int_equal(mh_reply(box.session, 421, "4.3.2", "Enough"), 0);
	assert_int_equal(say(&box, ""), MH_RESET);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "250-2.1.0 two\r\n250 2.1.0 lines\r\n"
	    "421 4.3.2 Enough\r\n");
	box_close(&box);
}

static void
test_facts(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN | MH_OFFER_DSN);
	assert_int_equal(mh_set_peer(box.session, "x"), -1);
	assert_int_equal(mh_set_peer(box.session, ""), -1);
	assert_int_equal(mh_set_peer(box.session, "192.0.2.x"), -1);
	assert_int_equal(mh_set_peer(box.session, "::1\n"), -1);
	assert_int_equal(mh_set_peer(box.session, "192.0.2.1"), 0);
	until(&box, "EHLO me.example\r\nAUTH PLAIN AGpvZQBi\r\n"
	    "MAIL FROM:<a@b> ENVID=e1\r\nRCPT TO:<c@d>\r\nDATA\r\n",
	    MH_BEGIN);
	assert_slice(FACT(MH_HELO), "me.example");
	assert_slice(FACT(MH_USER), "joe");
	assert_slice(FACT(MH_MECHANISM), "PLAIN");
	assert_slice(FACT(MH_REVERSE_PATH), "a@b");
	assert_slice(FACT(MH_ENVID), "e1");
	assert_slice(FACT(MH_PEER), "192.0.2.1");
	assert_slice(FACT(MH_TLS_VERSION), "");
	assert_slice(FACT((enum mh_fact)99), "");
	assert_int_equal(mh_recipients(box.session), 1);
	assert_int_equal(mh_recipient(box.session, 0).len, 3);
	assert_int_equal(mh_recipient(box.session, 1).len, 0);
	/* Once it is over it has no sender. */
	accept(&box);
	assert_int_equal(say(&box, ".\r\n"), MH_MESSAGE);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_slice(FACT(MH_REVERSE_PATH), "");
	assert_slice(FACT(MH_ENVID), "");
	assert_slice(FACT(MH_USER), "joe");
	box_close(&box);

	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
	assert_slice(FACT(MH_REVERSE_PATH), "");
	assert_slice(FACT(MH_ENVID), "");
	assert_slice(FACT(MH_USER), "");
	until(&box, "AUTH PLAIN AGoAYg==\r\n", MH_LOGIN);
	assert_int_equal(mh_maildrop(box.session, NULL, 0), 0);
	assert_slice(FACT(MH_USER), "j");
	box_close(&box);
}

static void
test_received(void **state)
{
	struct box box;
	char out[4096];

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
	assert_int_equal(mh_set_peer(box.session, "192.0.2.1"), 0);
	until(&box, "EHLO me.example\r\nAUTH PLAIN AGpvZQBi\r\n"
	    "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", MH_BEGIN);
	size_t len = mh_received(box.session, "i1", 0, out, sizeof(out));
	assert_slice(((struct slice){ out, len }),
	    "Received: from me.example ([192.0.2.1])\n"
	    "\tby h with ESMTPA\n\tid i1\n"
	    "\tfor <c@d>;\n\tThu, 01 Jan 1970 00:00:00 +0000\n");
	/* As snprintf counts: so much would be needed. */
	assert_int_equal(mh_received(box.session, "i1", 0, out, 10), len);
	assert_int_equal(strlen(out), 9);
	box_close(&box);
}

/* Who may log in, and where: by the flags. */
static void
test_login_offers(void **state)
{
	static const struct { unsigned flags; const char *reply; } rows[] = {
		{ 0, "502 " }, { MH_OFFER_LOGIN, "538 " },
		{ MH_OFFER_CLEAR_LOGIN, "334 " },
		{ MH_OFFER_LOGIN | MH_OFFER_CLEAR_LOGIN, "334 " },
		{ MH_IMPLICIT_TLS, "502 " },
		{ MH_IMPLICIT_TLS | MH_OFFER_LOGIN, "334 " },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct box box;

		box_open(&box, MH_SMTP, rows[i].flags);
		assert_int_equal(mh_recipients(box.session), 0);
		assert_int_equal(say(&box, "EHLO x\r\n"), MH_IO);
		box.said.len = 0;
		/* What is refused is noted: the line, and the reply's code. */
		if (say(&box, "AUTH PLAIN\r\n") == MH_NOTE) {
			const struct mh_event *event =
			    mh_next(box.session);

			assert_slices(((struct slice){ event->text.data,
			    event->text.len }), SLICE("AUTH"));
			assert_int_equal(event->index,
			    strtoul(rows[i].reply, NULL, 10));
			accept(&box);
		}
		assert_int_equal(say(&box, ""), MH_IO);
		drain(&box);
		if (!slice_starts_with(text_slice(&box.said),
		    slice_from(rows[i].reply)))
			fail_msg("%x: %s", rows[i].flags, box.said.data);
		box_close(&box);
	}
}

/* RFC 7628: a token in place of a password, and how one is refused. */
static void
test_tokens(void **state)
{
	static const enum mh_protocol protocols[] = { MH_SMTP, MH_POP3 };
	struct box box;

	(void)state;
	for (size_t i = 0; i < COUNT(protocols); i++) {
		bool pop3 = protocols[i] == MH_POP3;

		box_open(&box, protocols[i], MH_OFFER_CLEAR_LOGIN |
		    MH_OFFER_TOKENS);
		until(&box, pop3 ? "AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFy"
		    "ZXIgdG9rAQE=\r\n" : "EHLO x\r\nAUTH OAUTHBEARER "
		    "bixhPWpvZSwBYXV0aD1CZWFyZXIgdG9rAQE=\r\n", MH_LOGIN);
		const struct mh_event *event = mh_next(box.session);
		assert_slice(((struct slice){ event->user.data,
		    event->user.len }), "joe");
		assert_slice(((struct slice){ event->password.data,
		    event->password.len }), "tok");
		assert_slice(FACT(MH_MECHANISM), "OAUTHBEARER");
		drain(&box);
		box.said.len = 0;
		assert_int_equal(mh_refuse(box.session, MH_WRONG, NULL), 0);
		assert_int_equal(say(&box, ""), MH_IO);
		/* The client hears why, says something, and then it fails. */
		assert_true(slice_starts_with(text_slice(&box.said),
		    pop3 ? SLICE("+ ") : SLICE("334 ")));
		assert_false(mh_idle(box.session));
		box.said.len = 0;
		assert_int_equal(say(&box, "AQ==\r\n"), MH_IO);
		assert_true(slice_starts_with(text_slice(&box.said), pop3
		    ? SLICE("-ERR [AUTH]") : SLICE("535 5.7.8")));
		box_close(&box);
	}
	/* Where nobody knows now, nothing is said against the token. */
	for (size_t i = 0; i < COUNT(protocols); i++) {
		bool pop3 = protocols[i] == MH_POP3;

		box_open(&box, protocols[i], MH_OFFER_CLEAR_LOGIN |
		    MH_OFFER_TOKENS);
		until(&box, pop3 ? "AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIg"
		    "c2VjcmV0AQE=\r\n" : "EHLO x\r\nAUTH XOAUTH2 "
		    "dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n",
		    MH_LOGIN);
		drain(&box);
		box.said.len = 0;
		assert_int_equal(mh_refuse(box.session, MH_LATER, NULL), 0);
		assert_int_equal(say(&box, ""), MH_IO);
		assert_true(slice_starts_with(text_slice(&box.said), pop3
		    ? SLICE("-ERR [SYS/TEMP]") : SLICE("454 4.7.0")));
		box_close(&box);
	}
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
	assert_int_equal(say(&box, "EHLO x\r\nAUTH XOAUTH2\r\n"), MH_IO);
	drain(&box);
	assert_true(slice_ends_with(text_slice(&box.said),
	    SLICE("504 5.5.4 No such mechanism, EHLO lists them\r\n")));
	box_close(&box);
}

/* A name that cannot be remembered whole is nobody's. */
static void
test_long_user(void **state)
{
	struct text word = { .data = NULL };
	struct box box;

	(void)state;
	text_add(&word, SLICE("USER "));
	text_repeat(&word, 'u', 255);
	text_add(&word, SLICE("\r\nPASS x\r\n"));
	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
	assert_int_equal(say(&box, word.data), MH_LOGIN);
	box_close(&box);

	word.len = 0;
	text_add(&word, SLICE("USER "));
	text_repeat(&word, 'u', 256);
	text_add(&word, SLICE("\r\nPASS x\r\n"));
	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
	assert_int_equal(say(&box, word.data), MH_IO);
	assert_said(&box, "+OK h POP3 ready\r\n+OK Send the password\r\n"
	    "-ERR [AUTH] User name too long\r\n");
	text_free(&word);
	box_close(&box);
}

/* ---- POP3 ---- */

static void
test_maildrop(void **state)
{
	static const char text[] = "Subject: x\n\n.\nbody\n";
	uint64_t octets[3] = { 0, 0, 1 };
	struct text large = { .data = NULL };
	struct box box;

	(void)state;
	text_add(&large, SLICE("S: l\n\n"));
	for (int i = 0; i < 20000; i++)
		text_add(&large, SLICE(".dot\n"));
	octets[0] = mh_measure(text, sizeof(text) - 1);
	octets[1] = mh_measure(large.data, large.len);
	assert_int_equal(octets[0], sizeof(text) - 1 + 4);
	/* A line end is added, and nothing is one. */
	assert_int_equal(mh_measure("a", 1), 3);
	assert_int_equal(mh_measure("", 0), 2);
	assert_int_equal(mh_measure("\n", 1), 2);
	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN | MH_OFFER_DELETE);
	until(&box, "USER joe\r\nPASS x\r\n", MH_LOGIN);
	drain(&box);
	box.said.len = 0;
	octets[2] = UINT64_MAX;
	assert_int_equal(mh_maildrop(box.session, octets, 3), -1);
	octets[2] = 1;
	assert_int_equal(mh_maildrop(box.session, octets, 3), 0);
	assert_int_equal(say(&box, "LIST\r\nUIDL 3\r\n"), MH_UIDL);
	assert_int_equal(mh_next(box.session)->index, 2);
	assert_int_equal(mh_uidl(box.session, ""), -1);
	assert_int_equal(mh_uidl(box.session, "a b"), -1);
	assert_int_equal(mh_uidl(box.session, " b"), -1);
	assert_int_equal(mh_uidl(box.session, "b\x7F"), -1);
	assert_int_equal(mh_accept(box.session), -1);
	assert_int_equal(mh_uidl(box.session, "id3"), 0);
	assert_int_equal(say(&box, "RETR 1\r\n"), MH_RETRIEVE);
	assert_int_equal(mh_send(box.session, text, sizeof(text) - 1),
	    sizeof(text) - 1);
	assert_int_equal(mh_sent(box.session, true), 0);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_said(&box, "+OK 3 messages (120032 octets)\r\n"
	    "+OK 3 messages (120032 octets)\r\n1 23\r\n2 120008\r\n3 1\r\n"
	    ".\r\n+OK 3 id3\r\n+OK 23 octets\r\nSubject: x\r\n\r\n..\r\n"
	    "body\r\n.\r\n");

	/* A large one: as there is room, and asked for again. */
	size_t sent = 0, asked = 0;
	box.said.len = 0;
	enum mh_event_type type = say(&box, "RETR 2\r\nNOOP\r\n");
	while (type == MH_RETRIEVE) {
		asked++;
		sent += mh_send(box.session, large.data + sent,
		    large.len - sent);
		if (sent == large.len) {
			assert_int_equal(mh_sent(box.session, true), 0);
			sent = 0;
		}
		type = say(&box, "");
	}
	assert_true(asked > 3);
	assert_int_equal(box.said.len, 19 + 120008 + 20000 + 3 + 5);
	assert_true(slice_ends_with(text_slice(&box.said),
	    SLICE("..dot\r\n.\r\n+OK\r\n")));

	/* TOP takes what it wants and counts the rest as taken. */
	box.said.len = 0;
	assert_int_equal(say(&box, "TOP 2 1\r\n"), MH_RETRIEVE);
	assert_int_equal(mh_send(box.session, large.data, large.len),
	    large.len);
	assert_int_equal(mh_sent(box.session, true), 0);
	assert_int_equal(say(&box, "DELE 3\r\nQUIT\r\n"), MH_UPDATE);
	assert_said(&box, "+OK Top of message follows\r\nS: l\r\n\r\n..dot\r\n"
	    ".\r\n+OK Marked to be deleted\r\n");
	assert_false(mh_is_deleted(box.session, 1));
	assert_true(mh_is_deleted(box.session, 2));
	assert_false(mh_is_deleted(box.session, 3));
	accept(&box);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "+OK Bye\r\n");
	text_free(&large);
	box_close(&box);
}

/* Half a message is not to look like a whole one. */
static void
test_not_whole(void **state)
{
	uint64_t octets[1] = { 10 };
	struct box box;

	(void)state;
	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
	until(&box, "USER joe\r\nPASS x\r\n", MH_LOGIN);
	assert_int_equal(mh_maildrop(box.session, octets, 1), 0);
	assert_int_equal(say(&box, "RETR 1\r\nNOOP\r\n"), MH_RETRIEVE);
	drain(&box);
	box.said.len = 0;
	assert_int_equal(mh_send(box.session, "half", 4), 4);
	assert_int_equal(mh_sent(box.session, false), 0);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "+OK 10 octets\r\nhalf");
	box_close(&box);
}

/* ---- storage ---- */

static void
test_idle(void **state)
{
	struct box box;
	size_t room;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
	assert_false(mh_idle(box.session)); /* the greeting is to come */
	mh_lend(box.session, NULL);
	assert_int_equal(say(&box, "EHLO x\r\n"), MH_IO);
	assert_true(mh_idle(box.session));
	mh_lend(box.session, NULL);
	memset(box.buffers, 0x5A, box.buffers_size);
	assert_null(mh_room(box.session, &room));
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	assert_true(mh_idle(box.session));
	/* It is lent other storage. */
	char *other = malloc(box.buffers_size);
	assert_non_null(other);
	mh_lend(box.session, other);
	box.said.len = 0;
	until(&box, "MAIL FROM:<a@b>\r\n", MH_SENDER);
	assert_false(mh_idle(box.session));
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_false(mh_idle(box.session)); /* a transaction */
	mh_lend(box.session, NULL);
	assert_int_equal(say(&box, "RSET\r\n"), MH_RESET);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_true(mh_idle(box.session));
	/* Half a line, half a login. */
	assert_int_equal(say(&box, "NO"), MH_IO);
	assert_false(mh_idle(box.session));
	assert_int_equal(say(&box, "OP\r\nAUTH LOGIN\r\n"), MH_IO);
	assert_false(mh_idle(box.session));
	assert_said(&box, "250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
	    "334 VXNlcm5hbWU6\r\n");
	free(other);
	box_close(&box);
}

/* Ten thousand of them are to be a few megabytes. */
static void
test_sizes(void **state)
{
	struct mh_options options = { .size = sizeof(options),
		.hostname = "h" };

	(void)state;
	for (int i = MH_SMTP; i <= MH_POP3; i++) {
		options.protocol = (enum mh_protocol)i;
		assert_in_range(mh_core_size(&options), 1, 1700);
		assert_in_range(mh_buffers_size(&options), 1, 100000);
	}
	/* Wrong options are no session. */
	static const struct mh_options wrong[] = {
		{ .size = 0, .hostname = "h" },
		{ .size = sizeof(options), .hostname = NULL },
		{ .size = sizeof(options), .hostname = "" },
		{ .size = sizeof(options), .hostname = "a b" },
		{ .size = sizeof(options), .hostname = "a\r\n" },
		{ .size = sizeof(options), .hostname = "h",
		    .protocol = (enum mh_protocol)3 },
		{ .size = sizeof(options), .hostname = "h",
		    .max_recipients = 1000001 },
		{ .size = sizeof(options), .hostname = "h",
		    .timeout = 4000000000 },
	};
	static char core[4096];
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(mh_core_size(&wrong[i]), 0);
		assert_int_equal(mh_buffers_size(&wrong[i]), 0);
		assert_null(mh_open(core, NULL, &wrong[i]));
	}
	assert_null(mh_open(NULL, NULL, &options));
	assert_null(mh_open(core, NULL, NULL));
}

/* ---- the end ---- */

static void
test_ends(void **state)
{
	static const struct {
		enum mh_end end;
		const char *said;
	} rows[] = {
		{ MH_EOF, "" },
		{ MH_TIMED_OUT, "421 4.4.2 Took too long, closing\r\n" },
		{ MH_STOPPING, "421 4.3.2 Shutting down\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct box box;

		/* In a transaction, each way to its own end. */
		box_open(&box, MH_SMTP, 0);
		until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER);
		accept(&box);
		say(&box, "RCP");
		drain(&box);
		box.said.len = 0;
		mh_ended(box.session, rows[i].end);
		assert_int_equal(say(&box, ""), MH_RESET);
		accept(&box);
		assert_int_equal(say(&box, ""), MH_CLOSED);
		assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
		drain(&box);
		assert_slices(text_slice(&box.said),
		    slice_from(rows[i].said));
		box_close(&box);

		/* Idle and without buffers, it ends without a word. */
		box_open(&box, MH_SMTP, 0);
		say(&box, "EHLO x\r\n");
		mh_lend(box.session, NULL);
		mh_ended(box.session, rows[i].end);
		assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
		box_close(&box);
	}
}

/* What the library asks for is enough, for few recipients, too: far behind it
 * there is nothing. */
static void
test_few_recipients(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), far = 1 << 20;
	struct box box;

	(void)state;
	for (unsigned dsn = 0; dsn <= MH_OFFER_DSN; dsn += MH_OFFER_DSN) {
		box_open(&box, MH_SMTP, dsn);
		box.options.max_recipients = 1;
		size_t size = (mh_buffers_size(&box.options) + 15) / 16 * 16;
		size_t pages = (size + page - 1) / page * page;
		char *map = mmap(NULL, pages + far, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(map != MAP_FAILED);
		assert_int_equal(mprotect(map, pages, PROT_READ | PROT_WRITE),
		    0);
		box.session = mh_open(box.core, map + pages - size,
		    &box.options);
		until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n"
		    "RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nx\r\n.\r\n",
		    MH_MESSAGE);
		assert_int_equal(mh_recipients(box.session), 1);
		munmap(map, pages + far);
		box_close(&box);
	}
}

/* Whatever it was doing: nothing is said, and its sender has an end. */
static void
test_drop(void **state)
{
	struct box box;
	size_t len;

	(void)state;
	box_open(&box, MH_SMTP, 0);
	until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	    "DATA\r\nx\r\n.\r\n", MH_MESSAGE);
	mh_drop(box.session);
	assert_null(mh_output(box.session, &len));
	assert_int_equal(mh_next(box.session)->type, MH_RESET);
	accept(&box);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	mh_drop(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	assert_null(mh_output(box.session, &len));
	box_close(&box);
}

/* A peer that does not read is given up when its time is over. */
static void
test_due(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	/* Output, the greeting: five minutes. */
	assert_int_equal(mh_due(box.session, 1000), 301000);
	assert_int_equal(mh_due(box.session, 2000), 301000);
	drain(&box);
	assert_int_equal(mh_due(box.session, 3000), 303000);
	assert_int_equal(mh_due(box.session, 4000), 303000);
	/* A command has as long as the wait for it, from its first octet. */
	assert_int_equal(say(&box, "EH"), MH_IO);
	assert_int_equal(mh_due(box.session, 5000), 305000);
	assert_int_equal(say(&box, "LO"), MH_IO);
	assert_int_equal(mh_due(box.session, 9000), 305000);
	/* While a question is open there is no limit, and the time that its
	 * answer took is not the peer's. */
	assert_int_equal(say(&box, " x\r\nMAIL FROM:<a@b>\r\n"), MH_SENDER);
	assert_int_equal(mh_due(box.session, 10000), INT64_MAX);
	assert_int_equal(mh_due(box.session, 9999999), INT64_MAX);
	accept(&box);
	until(&box, "RCPT TO:<c@d>\r\nDATA\r\n", MH_BEGIN);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	drain(&box);
	int64_t now = 10000000;
	int64_t due = mh_due(box.session, now);
	assert_int_equal(due, now + 300000);
	/* Text: octets earn time, up to the limit. */
	assert_int_equal(say(&box, "x"), MH_DATA);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_in_range(mh_due(box.session, now + 1000), due, due + 1);
	/* Its output not taken: dropped, for nothing can be said. */
	assert_int_equal(say(&box, "\r\n"), MH_DATA);
	accept(&box);
	until(&box, ".\r\n", MH_MESSAGE);
	accept(&box);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_ended(box.session, MH_TIMED_OUT);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	box_close(&box);
}

/* ---- every call in every wrong state ---- */

/* A session in each state that there is. */
static const struct {
	enum mh_protocol protocol;
	const char *input;
	enum mh_event_type type;
} states[] = {
	{ MH_SMTP, "", MH_IO },
	{ MH_SMTP, "EHLO x\r\nAUTH PLAIN AGEAYg==\r\n", MH_LOGIN },
	{ MH_SMTP, "EHLO x\r\nSTARTTLS\r\n", MH_TLS },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
	    MH_RECIPIENT },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
	    MH_BEGIN },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
	    "x\r\n", MH_DATA },
	{ MH_LMTP, "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
	    "x\r\n.\r\n", MH_MESSAGE },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a@b>\r\nRSET\r\n", MH_RESET },
	{ MH_SMTP, "EHLO x\r\nMAIL FROM:<a\r\n", MH_NOTE },
	{ MH_SMTP, "QUIT\r\n", MH_CLOSED },
	{ MH_POP3, "", MH_IO },
	{ MH_POP3, "STLS\r\n", MH_TLS },
	{ MH_POP3, "USER a\r\nPASS b\r\n", MH_LOGIN },
	{ MH_POP3, "USER a\r\nPASS b\r\nUIDL\r\n", MH_UIDL },
	{ MH_POP3, "USER a\r\nPASS b\r\nRETR 1\r\n", MH_RETRIEVE },
	{ MH_POP3, "USER a\r\nPASS b\r\nDELE 1\r\nQUIT\r\n", MH_UPDATE },
	{ MH_POP3, "QUIT\r\n", MH_CLOSED },
};

static uint64_t one_message[1];

static void
box_reach(struct box *box, size_t i)
{
	box_open(box, states[i].protocol, MH_OFFER_CLEAR_LOGIN |
	    MH_OFFER_TLS | MH_OFFER_DELETE);
	enum mh_event_type type = say(box, states[i].input);
	while (type != states[i].type) {
		one_message[0] = 100;
		if (mh_maildrop(box->session, one_message, 1) < 0)
			accept(box);
		type = say(box, "");
	}
	drain(box);
}

/* Calls what is wrong with this event; how many of them did not say so. */
static int
wrong_calls(struct mh_session *session, enum mh_protocol protocol,
    enum mh_event_type type)
{
	bool pop3 = protocol == MH_POP3;
	bool asks = type != MH_IO && type != MH_CLOSED;
	uint64_t octets[1] = { 5 };
	size_t room;
	int right = 0;

	if (!asks && type != MH_CLOSED)
		right += mh_accept(session) != -1;
	if (type == MH_UIDL)
		right += mh_accept(session) != -1;
	if (!asks || type == MH_RESET || type == MH_NOTE)
		right += mh_refuse(session, MH_WRONG, NULL) != -1;
	right += mh_refuse(session, (enum mh_why)6, NULL) != -1;
	if (pop3 || !asks || type == MH_RESET || type == MH_NOTE)
		right += mh_reply(session, 250, NULL, "x") != -1;
	right += mh_reply(session, 1000, NULL, "x") != -1;
	if (!pop3 || type != MH_LOGIN)
		right += mh_maildrop(session, octets, 1) != -1;
	right += mh_maildrop(session, NULL, 1) != -1;
	if (!pop3 || type != MH_UIDL)
		right += mh_uidl(session, "x") != -1;
	right += mh_uidl(session, NULL) != -1;
	if (!pop3 || type != MH_RETRIEVE) {
		right += mh_send(session, "x", 1) != 0;
		right += mh_sent(session, true) != -1;
	}
	right += mh_tls_started(session) != -1;
	right += mh_set_peer(session, "no address") != -1;
	if (type != MH_IO) {
		right += mh_room(session, &room) != NULL || room != 0;
		mh_came(session, 10);
	}
	mh_went(session, 10);
	mh_came(session, 1000000);
	right += mh_is_deleted(session, 5);
	right += mh_recipient(session, 1000).len != 0;
	if (type != MH_IO)
		mh_lend(session, NULL);
	right += octets[0] != 5;
	return right;
}

static void
test_wrong_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(states); i++) {
		struct box box;

		box_reach(&box, i);
		char *core = malloc(box.core_size);
		char *buffers = malloc(box.buffers_size);
		assert_true(core != NULL && buffers != NULL);
		memcpy(core, box.core, box.core_size);
		memcpy(buffers, box.buffers, box.buffers_size);
		int right = wrong_calls(box.session, states[i].protocol,
		    states[i].type);
		if (right != 0)
			fail_msg("state %zu: %d calls did not say no", i,
			    right);
		if (memcmp(core, box.core, box.core_size) != 0 ||
		    memcmp(buffers, box.buffers, box.buffers_size) != 0)
			fail_msg("state %zu: something has changed", i);
		assert_int_equal(mh_next(box.session)->type, states[i].type);
		free(core);
		free(buffers);
		box_close(&box);
	}
	/* No session at all. */
	assert_int_equal(wrong_calls(NULL, MH_SMTP, MH_DATA), 0);
	assert_int_equal(mh_accept(NULL), -1);
	assert_int_equal(mh_reply(NULL, 250, NULL, NULL), -1);
	assert_int_equal(mh_sent(NULL, true), -1);
	assert_null(mh_next(NULL));
	assert_null(mh_data(NULL));
	assert_int_equal(mh_due(NULL, 1), INT64_MAX);
	assert_int_equal(mh_received(NULL, "x", 0, NULL, 0), 0);
	mh_ended(NULL, MH_EOF);
	mh_drop(NULL);
}

/* ---- the machines' own transcripts ---- */

/* What the machine alone says to a client whose questions are all accepted:
 * by its own functions. */
static void
smtp_alone(struct slice input, bool lmtp, struct text *said)
{
	static struct smtp smtp;
	static struct envelope_recipient recipients[100];
	static char in[65536], out[65536], text[65536];
	const struct smtp_options options = { .hostname = "h",
		.max_size = 35882577, .login = SMTP_LOGIN_OFFERED,
		.max_recipients = 100, .dsn = true, .lmtp = lmtp };
	enum smtp_event event;

	smtp_init(&smtp, &options, in, sizeof(in), out, sizeof(out));
	envelope_init(&smtp.envelope, recipients, 100, text, sizeof(text));
	while ((event = smtp_next(&smtp)) != SMTP_CLOSED) {
		if (event != SMTP_WANT_IO) {
			smtp_accept(&smtp);
			continue;
		}
		struct slice contents = buf_contents(&smtp.wire.out);
		text_add(said, contents);
		buf_consume(&smtp.wire.out, contents.len);
		if (contents.len > 0)
			continue;
		if (input.len == 0)
			smtp.wire.eof = true;
		size_t n = input.len < 30000 ? input.len : 30000;
		buf_append(&smtp.wire.in, (struct slice){ input.data, n });
		input = slice_skip(input, n);
	}
	text_add(said, buf_contents(&smtp.wire.out));
}

static void
pop3_alone(struct slice input, struct text *said)
{
	static struct pop3 pop3;
	static char in[65536], out[65536];
	const struct pop3_options options = { .hostname = "h",
		.implementation = "x", .allow_login = true, .secure = true };
	enum pop3_event event;

	pop3_init(&pop3, &options, in, sizeof(in), out, sizeof(out));
	while ((event = pop3_next(&pop3)) != POP3_CLOSED) {
		if (event == POP3_LOGIN)
			pop3_logged_in(&pop3, NULL, 0);
		if (event != POP3_WANT_IO)
			continue;
		struct slice contents = buf_contents(&pop3.wire.out);
		text_add(said, contents);
		buf_consume(&pop3.wire.out, contents.len);
		if (contents.len > 0)
			continue;
		if (input.len == 0)
			pop3.wire.eof = true;
		size_t n = input.len < 30000 ? input.len : 30000;
		buf_append(&pop3.wire.in, (struct slice){ input.data, n });
		input = slice_skip(input, n);
	}
	text_add(said, buf_contents(&pop3.wire.out));
}

/* The same through mh_*, in pieces of so many octets; buffers are taken away
 * whenever that is allowed. */
static void
through_session(enum mh_protocol protocol, struct slice input, size_t piece,
    struct text *said)
{
	struct box box;
	const struct mh_event *event;
	size_t senders = 0, ends = 0;

	box_open(&box, protocol, MH_OFFER_CLEAR_LOGIN |
	    (protocol == MH_POP3 ? 0 : MH_OFFER_DSN));
	while ((event = mh_next(box.session))->type != MH_CLOSED) {
		size_t room;

		if (event->type != MH_IO) {
			senders += event->type == MH_SENDER;
			ends += event->type == MH_RESET ||
			    (event->type == MH_MESSAGE && event->index == 0);
			accept(&box);
			continue;
		}
		drain(&box);
		if (mh_idle(box.session)) {
			mh_lend(box.session, NULL);
			memset(box.buffers, 0x77, box.buffers_size);
			mh_lend(box.session, box.buffers);
		}
		if (mh_next(box.session)->type != MH_IO)
			continue;
		if (input.len == 0)
			mh_ended(box.session, MH_EOF);
		char *at = mh_room(box.session, &room);
		if (at == NULL)
			continue;
		size_t n = input.len < piece ? input.len : piece;
		n = n < room ? n : room;
		memcpy(at, input.data, n);
		mh_came(box.session, n);
		input = slice_skip(input, n);
	}
	drain(&box);
	assert_int_equal(senders, ends);
	text_add(said, text_slice(&box.said));
	box_close(&box);
}

static void
mask_implementation(struct text *said)
{
	char *at = said->len == 0 ? NULL : strstr(said->data,
	    "IMPLEMENTATION ");

	if (at == NULL)
		return;
	char *end = strchr(at, '\r');
	memmove(at, end, strlen(end) + 1);
	said->len = strlen(said->data);
	mask_implementation(said);
}

static void
compare(enum mh_protocol protocol, const char *name, struct slice input)
{
	static const size_t pieces[] = { 1, 2, 3, 5, 7, 11, 19, 31, 39, 4096 };
	struct text want = { .data = NULL };

	if (protocol == MH_POP3)
		pop3_alone(input, &want);
	else
		smtp_alone(input, protocol == MH_LMTP, &want);
	mask_implementation(&want);
	for (size_t i = 0; i < COUNT(pieces); i++) {
		struct text said = { .data = NULL };

		through_session(protocol, input, pieces[i], &said);
		mask_implementation(&said);
		if (!slice_equal(text_slice(&said), text_slice(&want)))
			fail_msg("%s in pieces of %zu: got %s, want %s", name,
			    pieces[i], shown(text_slice(&said)),
			    shown(text_slice(&want)));
		text_free(&said);
	}
	text_free(&want);
}

/* Dialogues that others wrote: the corpora of the machines' fuzzers. */
static void
compare_corpus(const char *folder, enum mh_protocol protocol)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	size_t n = 0;

	if (dir == NULL)
		fail_msg("%s: run this from the top directory", folder);
	while ((entry = readdir(dir)) != NULL) {
		char path[512];
		static char octets[200000];

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		FILE *file = entry->d_name[0] == '.' ? NULL
		    : fopen(path, "r");
		if (file == NULL)
			continue;
		struct slice input = { octets, fread(octets, 1,
			sizeof(octets), file) };
		struct slice script;
		fclose(file);
		slice_cut(input, '\n', &script, &input);
		compare(protocol, entry->d_name, input);
		n++;
	}
	closedir(dir);
	assert_true(n > 20);
}

static void
test_transcripts(void **state)
{
	(void)state;
	compare_corpus("tests/fuzz/corpus/smtp", MH_SMTP);
	compare_corpus("tests/fuzz/corpus/smtp", MH_LMTP);
	compare_corpus("tests/fuzz/corpus/pop3", MH_POP3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_injection_before_starttls),
		cmocka_unit_test(test_injection_before_stls),
		cmocka_unit_test(test_tls_refused),
		cmocka_unit_test(test_lmtp_yes_and_no),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_pop3_refusals),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_received),
		cmocka_unit_test(test_login_offers),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_long_user),
		cmocka_unit_test(test_maildrop),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_few_recipients),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_wrong_calls),
		cmocka_unit_test(test_transcripts),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
