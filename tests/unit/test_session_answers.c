/*
 * test_session_answers.c - level 1 of the library: what each answer of the
 * program's makes the client hear, and what it may say at all.
 */
#include "drive.h"

#include "base/base64.h"
#include "library/session.h"
#include "protocol/message.h"
#include "session_box.h"

/* What the session says to an answer, without what was said before. */
static void
hush(struct box *box)
{
	drain(box);
	box->said.len = 0;
}

/* ---- whoever comes ---- */

static void
test_not_let_in(void **state)
{
	static const struct {
		enum mh_protocol protocol;
		const char *never, *later; /* status */
		const char *greeting;
	} rows[] = {
		{ MH_SMTP, "554 5.7.1", "421 4.3.2", "220 h ESMTP ready" },
		{ MH_LMTP, "554 5.7.1", "421 4.3.2", "220 h LMTP ready" },
		{ MH_POP3, "-ERR [SYS/PERM]", "-ERR [SYS/TEMP]",
		    "+OK h POP3 ready" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (unsigned n = 0; n < 2 * (MH_LATER + 1); n++) {
			enum mh_why why = (enum mh_why)(n / 2);
			bool never = why <= MH_FORBIDDEN;
			const char *text = n % 2 == 0 ? "not\ryou" : NULL;
			struct text want = { .data = NULL };
			struct box box;

			box_open(&box, rows[i].protocol, 0);
			session_ask_connect(box.session);
			assert_int_equal(mh_next(box.session)->type,
			    MH_CONNECT);
			assert_int_equal(mh_refuse(box.session, why, text),
			    0);
			assert_int_equal(say(&box, "QUIT\r\n"), MH_CLOSED);
			text_format(&want, "%s %s\r\n",
			    never ? rows[i].never : rows[i].later,
			    text != NULL ? "not you" : never
			    ? "No service for this host"
			    : "Too busy, try again later");
			drain(&box);
			assert_slices(text_slice(&box.said), text_slice(&want));
			text_free(&want);
			box_close(&box);
		}
	/* Whoever is let in hears the greeting, in our own words. */
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int reply = 0; reply < 2; reply++) {
			struct box box;

			box_open(&box, rows[i].protocol, 0);
			session_ask_connect(box.session);
			if (reply && rows[i].protocol != MH_POP3)
				assert_int_equal(mh_reply(box.session, 220,
				    NULL, "hello"), 0);
			else
				accept(&box);
			assert_int_equal(say(&box, ""), MH_IO);
			assert_true(slice_starts_with(text_slice(&box.said),
			    slice_from(rows[i].greeting)));
			assert_int_equal(say(&box, "QUIT\r\n"), MH_CLOSED);
			box_close(&box);
		}
}

/* ---- SMTP ---- */

/* RFC 5321 4.2: codes; RFC 3463 2: up to three digits each, and the class is
 * the code's own. */
static void
test_codes(void **state)
{
	static const struct {
		unsigned code;
		const char *enhanced;
		bool may;
	} rows[] = {
		{ 199, NULL, false }, { 200, NULL, true },
		{ 200, "2.0.0", true }, { 500, "5.0.0", true },
		{ 299, NULL, true }, { 300, NULL, false },
		{ 399, NULL, false }, { 400, NULL, true },
		{ 599, NULL, true }, { 600, NULL, false },
		{ 550, "", true }, { 550, "5.0.0", true },
		{ 550, "5.999.1", true }, { 550, "5.1.999", true },
		{ 550, "5.1000.1", false }, { 550, "5.1.1000", false },
		{ 550, "5.0001.1", false }, { 550, "5.1.0001", false },
		{ 550, "5.1.", false }, { 550, "5..1", false },
		{ 550, "4.1.1", false }, { 550, "05.1.1", false },
		{ 451, "4.1.1", true }, { 250, "2.1.1", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct box box;

		box_open(&box, MH_SMTP, 0);
		until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER);
		if (mh_reply(box.session, rows[i].code, rows[i].enhanced,
		    "x") != (rows[i].may ? 0 : -1))
			fail_msg("%u %s", rows[i].code, rows[i].enhanced);
		box_close(&box);
	}
}

/* 2xx accepts whatever was asked. */
static void
test_accepting_replies(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN | MH_OFFER_TLS);
	until(&box, "EHLO x\r\nAUTH PLAIN AGpvZQBi\r\n", MH_LOGIN);
	hush(&box);
	assert_slice(FACT(MH_USER), "");
	assert_int_equal(mh_reply(box.session, 235, "2.7.0", "welcome"), 0);
	assert_slice(FACT(MH_USER), "joe");
	until(&box, "MAIL FROM:<a@b>\r\n", MH_SENDER);
	assert_int_equal(mh_reply(box.session, 200, NULL, "yes"), 0);
	until(&box, "RCPT TO:<c@d>\r\n", MH_RECIPIENT);
	assert_int_equal(mh_reply(box.session, 299, NULL, "yes"), 0);
	until(&box, "RCPT TO:<second@d>\r\n", MH_RECIPIENT);
	const struct mh_event *event = mh_next(box.session);
	assert_int_equal(event->index, 1);
	assert_slice(((struct slice){ event->address.data,
	    event->address.len }), "second@d");
	accept(&box);
	/* Here the protocol has replies of its own, or none. */
	until(&box, "DATA\r\n", MH_BEGIN);
	assert_int_equal(mh_reply(box.session, 250, "2.0.0", "x"), 0);
	until(&box, "text\r\n", MH_DATA);
	assert_int_equal(mh_reply(box.session, 250, "2.0.0", "x"), 0);
	until(&box, ".\r\n", MH_MESSAGE);
	assert_int_equal(mh_reply(box.session, 250, "2.6.0", "kept"), 0);
	until(&box, "STARTTLS\r\n", MH_TLS);
	assert_int_equal(mh_reply(box.session, 250, "2.0.0", "x"), 0);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_said(&box, "235 2.7.0 welcome\r\n200 yes\r\n299 yes\r\n"
	    "250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
	    "250 2.6.0 kept\r\n220 2.0.0 Go ahead\r\n");
	assert_int_equal(mh_tls_started(box.session), 0);
	box_close(&box);
}

/* A name of 255 octets can be remembered, one octet more cannot. */
static void
test_long_user(void **state)
{
	(void)state;
	for (size_t len = 255; len <= 256; len++) {
		char plain[300] = "", code[500];
		struct text line = { .data = NULL };
		struct box box;

		/* RFC 4616 2: NUL, name, NUL, password */
		memset(plain + 1, 'u', len);
		plain[1 + len] = '\0';
		plain[2 + len] = 'p';
		size_t n = base64_encode((struct slice){ plain, len + 3 },
		    code, sizeof(code));
		text_format(&line, "EHLO x\r\nAUTH PLAIN %.*s\r\n", (int)n,
		    code);
		box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
		enum mh_event_type type = say(&box, line.data);
		if (len == 255) {
			assert_int_equal(type, MH_LOGIN);
			accept(&box);
			assert_int_equal(FACT(MH_USER).len, 255);
			assert_memory_equal(FACT(MH_USER).data, plain + 1,
			    255);
		} else {
			assert_int_equal(type, MH_IO);
			assert_true(slice_ends_with(text_slice(&box.said),
			    SLICE("535 5.7.8 User name too long\r\n")));
			assert_slice(FACT(MH_USER), "");
		}
		text_free(&line);
		box_close(&box);
	}
}

/* ---- POP3: logins ---- */

static void
until_logged_in(struct box *box, unsigned flags, uint64_t *octets, size_t n)
{
	box_open(box, MH_POP3, MH_OFFER_CLEAR_LOGIN | flags);
	until(box, "USER a\r\nPASS b\r\n", MH_LOGIN);
	assert_int_equal(mh_maildrop(box->session, octets, n), 0);
	assert_int_equal(say(box, ""), MH_IO);
	hush(box);
}

/* Who may log in, and what is offered, by the flags. */
static void
test_pop3_offers(void **state)
{
	static const struct {
		unsigned flags;
		const char *user; /* the reply to USER */
		bool stls;
	} rows[] = {
		{ 0, "-ERR Logins are not", false },
		{ MH_OFFER_TLS, "-ERR Logins need STLS", true },
		{ MH_OFFER_LOGIN, "-ERR Logins are not", false },
		{ MH_OFFER_LOGIN | MH_OFFER_TLS, "-ERR Logins need STLS",
		    true },
		{ MH_OFFER_CLEAR_LOGIN, "+OK", false },
		{ MH_OFFER_CLEAR_LOGIN | MH_OFFER_TLS, "+OK", true },
		{ MH_IMPLICIT_TLS, "-ERR Logins are not", false },
		{ MH_IMPLICIT_TLS | MH_OFFER_LOGIN | MH_OFFER_TLS, "+OK",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct box box;

		box_open(&box, MH_POP3, rows[i].flags);
		assert_int_equal(say(&box, "CAPA\r\n"), MH_IO);
		assert_int_equal(strstr(box.said.data, "STLS\r\n") != NULL,
		    rows[i].stls);
		assert_int_equal(strstr(box.said.data, "\r\nUSER\r\n") != NULL,
		    rows[i].user[0] == '+');
		hush(&box);
		assert_int_equal(say(&box, "USER a\r\n"), MH_IO);
		if (!slice_starts_with(text_slice(&box.said),
		    slice_from(rows[i].user)))
			fail_msg("%x: %s", rows[i].flags, box.said.data);
		box_close(&box);
	}
	for (unsigned flags = 0; flags <= MH_OFFER_DELETE;
	    flags += MH_OFFER_DELETE) {
		uint64_t octets[1] = { 5 };
		struct box box;

		until_logged_in(&box, flags, octets, 1);
		assert_int_equal(say(&box, "DELE 1\r\n"), MH_IO);
		assert_true(slice_starts_with(text_slice(&box.said),
		    flags != 0 ? SLICE("+OK") : SLICE("-ERR")));
		assert_int_equal(mh_is_deleted(box.session, 0), flags != 0);
		box_close(&box);
	}
}

/* ---- POP3: refusals ---- */

static void
test_pop3_refusals(void **state)
{
#define PERM "-ERR [SYS/PERM]"
#define TEMP "-ERR [SYS/TEMP]"
#define AUTH "-ERR [AUTH]"
	static const struct {
		const char *input;
		enum mh_event_type type;
		const char *status[MH_LATER + 1];
		const char *usual; /* text; NULL: another test's */
		bool ends;
	} rows[] = {
		{ "STLS\r\n", MH_TLS,
		    { "-ERR", "-ERR", "-ERR", "-ERR", "-ERR", "-ERR" },
		    "TLS not available", false },
		{ "USER a\r\nPASS b\r\n", MH_LOGIN,
		    { AUTH, AUTH, PERM, TEMP, "-ERR [IN-USE]", TEMP },
		    NULL, false },
		{ "USER a\r\nPASS b\r\nRETR 1\r\n", MH_RETRIEVE,
		    { PERM, PERM, PERM, TEMP, TEMP, TEMP },
		    "Cannot read that message", false },
		{ "USER a\r\nPASS b\r\nDELE 1\r\nQUIT\r\n", MH_UPDATE,
		    { PERM, PERM, PERM, TEMP, TEMP, TEMP }, NULL, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (unsigned n = 0; n < 2 * (MH_LATER + 1); n++) {
			enum mh_why why = (enum mh_why)(n / 2);
			const char *text = n % 2 == 0 ? "so\tthere" : NULL;
			struct text want = { .data = NULL };
			uint64_t octets[1] = { 5 };
			enum mh_event_type type;
			struct box box;

			if (text == NULL && rows[i].usual == NULL)
				continue;
			box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN |
			    MH_OFFER_TLS | MH_OFFER_DELETE);
			while ((type = say(&box, box.said.len > 0 ? ""
			    : rows[i].input)) != rows[i].type) {
				assert_int_equal(type, MH_LOGIN);
				assert_int_equal(mh_maildrop(box.session,
				    octets, 1), 0);
			}
			hush(&box);
			assert_int_equal(mh_refuse(box.session, why, text),
			    0);
			assert_int_equal(say(&box, ""), rows[i].ends
			    ? MH_CLOSED : MH_IO);
			text_format(&want, "%s %s\r\n", rows[i].status[why],
			    text != NULL ? "so there" : rows[i].usual);
			drain(&box);
			assert_slices(text_slice(&box.said), text_slice(&want));
			text_free(&want);
			box_close(&box);
		}
}

/* There is no way to say no in a listing; and what is removed is removed or
 * not. */
static void
test_pop3_refused_ends(void **state)
{
	uint64_t octets[1] = { 5 };
	struct box box;

	(void)state;
	until_logged_in(&box, 0, octets, 1);
	assert_int_equal(say(&box, "UIDL\r\n"), MH_UIDL);
	assert_said(&box, "+OK 1 messages (5 octets)\r\n");
	assert_int_equal(mh_refuse(box.session, MH_LATER, "no"), 0);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "");
	box_close(&box);

	until_logged_in(&box, MH_OFFER_DELETE, octets, 1);
	assert_int_equal(say(&box, "DELE 1\r\nQUIT\r\n"), MH_UPDATE);
	hush(&box);
	assert_int_equal(mh_refuse(box.session, MH_LATER, NULL), 0);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "-ERR [SYS/TEMP] Some messages were not removed\r\n");
	box_close(&box);
}

/* A message that cannot be read is no obstacle to another one; half of one is
 * the end. */
static void
test_pop3_message_refused(void **state)
{
	uint64_t octets[2] = { 5, 6 };
	struct box box;

	(void)state;
	until_logged_in(&box, 0, octets, 2);
	assert_int_equal(say(&box, "RETR 1\r\nRETR 2\r\n"), MH_RETRIEVE);
	assert_int_equal(mh_refuse(box.session, MH_LATER, "gone"), 0);
	assert_int_equal(say(&box, ""), MH_RETRIEVE);
	assert_int_equal(mh_next(box.session)->index, 1);
	assert_int_equal(mh_send(box.session, "text\n", 5), 5);
	accept(&box);
	/* To accept it without a word is an empty message. */
	assert_int_equal(say(&box, "RETR 1\r\n"), MH_RETRIEVE);
	accept(&box);
	assert_int_equal(say(&box, "NOOP\r\nRETR 2\r\nNOOP\r\n"),
	    MH_RETRIEVE);
	assert_said(&box, "-ERR [SYS/TEMP] gone\r\n"
	    "+OK 6 octets\r\ntext\r\n.\r\n+OK 5 octets\r\n\r\n.\r\n"
	    "+OK\r\n");
	assert_int_equal(mh_send(box.session, "half", 4), 4);
	assert_int_equal(mh_refuse(box.session, MH_LATER, "gone"), 0);
	assert_int_equal(say(&box, ""), MH_CLOSED);
	assert_said(&box, "+OK 6 octets\r\nhalf");
	box_close(&box);
}

/* ---- POP3: answers at their limits ---- */

static void
test_uidl_limits(void **state)
{
	static const struct { char c; size_t len; bool may; } rows[] = {
		{ 'x', 0, false }, { '!', 1, true }, { '~', 1, true },
		{ ' ', 1, false }, { '\x7F', 1, false }, { 'x', 70, true },
		{ 'x', 71, false }, { '\xE4', 2, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t octets[1] = { 5 };
		char id[80] = "";
		struct box box;

		memset(id, rows[i].c, rows[i].len);
		until_logged_in(&box, 0, octets, 1);
		assert_int_equal(say(&box, "UIDL 1\r\n"), MH_UIDL);
		if (mh_uidl(box.session, id) != (rows[i].may ? 0 : -1))
			fail_msg("%zu of %02x", rows[i].len,
			    (unsigned char)rows[i].c);
		box_close(&box);
	}
}

/* The highest bits are marks of ours: no size reaches them, and nothing
 * beyond the last message is looked at. */
static void
test_maildrop_limits(void **state)
{
	uint64_t octets[3];
	struct box box;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		octets[0] = octets[1] = MESSAGE_OCTETS_MAX;
		octets[i]++;
		box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
		until(&box, "USER a\r\nPASS b\r\n", MH_LOGIN);
		assert_int_equal(mh_maildrop(box.session, octets, 2), -1);
		octets[i]--;
		octets[2] = UINT64_MAX;
		assert_int_equal(mh_maildrop(box.session, octets, 2), 0);
		assert_int_equal(say(&box, ""), MH_IO);
		hush(&box);
		assert_int_equal(say(&box, "LIST 1\r\nLIST 2\r\nLIST 3\r\n"),
		    MH_IO);
		assert_said(&box, "+OK 1 4611686018427387903\r\n"
		    "+OK 2 4611686018427387903\r\n-ERR No such message\r\n");
		assert_false(mh_is_deleted(box.session, 0));
		assert_false(mh_is_deleted(box.session, 2));
		assert_int_equal(octets[2], UINT64_MAX);
		box_close(&box);
	}
}

/* Octet by octet; and no more is asked for while any of what filled the
 * buffer is still to be sent. */
static void
test_pieces(void **state)
{
	static const char text[] = ".\nx\n";
	static char much[100000];
	uint64_t octets[1] = { 5 };
	struct box box;
	size_t len;

	(void)state;
	until_logged_in(&box, 0, octets, 1);
	assert_int_equal(say(&box, "RETR 1\r\n"), MH_RETRIEVE);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(mh_send(box.session, text + i, 1), 1);
	assert_int_equal(mh_sent(box.session, true), 0);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_said(&box, "+OK 5 octets\r\n..\r\nx\r\n.\r\n");

	memset(much, 'x', sizeof(much));
	assert_int_equal(say(&box, "RETR 1\r\n"), MH_RETRIEVE);
	size_t taken = mh_send(box.session, much, sizeof(much));
	assert_true(taken < sizeof(much));
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_output(box.session, &len);
	mh_went(box.session, len - 1);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_went(box.session, 1);
	assert_int_equal(mh_next(box.session)->type, MH_RETRIEVE);
	box_close(&box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_let_in),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_accepting_replies),
		cmocka_unit_test(test_long_user),
		cmocka_unit_test(test_pop3_offers),
		cmocka_unit_test(test_pop3_refusals),
		cmocka_unit_test(test_pop3_refused_ends),
		cmocka_unit_test(test_pop3_message_refused),
		cmocka_unit_test(test_uidl_limits),
		cmocka_unit_test(test_maildrop_limits),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests_name("session_answers", tests, NULL,
	    NULL);
}
