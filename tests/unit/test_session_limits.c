/*
 * test_session_limits.c - level 1 of the library: the largest that options and
 * facts may be, storage to its last octet, the time that a peer has, and what
 * is forgotten.
 */
#include "drive.h"

#include <limits.h>

#include "library/session.h"
#include "session_box.h"

/* ---- options, facts ---- */

static void
test_options(void **state)
{
	char name[258];
	struct mh_options options = { .size = sizeof(options) };
	static const struct {
		size_t name;
		unsigned recipients, timeout;
		bool may;
	} rows[] = {
		{ 1, 0, 0, true }, { 255, 0, 0, true }, { 256, 0, 0, false },
		{ 257, 0, 0, false }, { 1, 1000000, 0, true },
		{ 1, 1000001, 0, false }, { 1, 0, INT_MAX / 1000, true },
		{ 1, 0, INT_MAX / 1000 + 1, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int protocol = MH_SMTP; protocol <= MH_POP3; protocol++) {
			memset(name, 'h', sizeof(name));
			name[rows[i].name] = '\0';
			options.hostname = name;
			options.protocol = (enum mh_protocol)protocol;
			options.max_recipients = rows[i].recipients;
			options.timeout = rows[i].timeout;
			assert_int_equal(mh_core_size(&options) != 0,
			    rows[i].may);
			assert_int_equal(mh_buffers_size(&options) != 0,
			    rows[i].may);
		}
}

/* The longest there is: an IPv6 address that ends as an IPv4 one. */
#define LONGEST "0000:0000:0000:0000:0000:ffff:192.168.100.200"

static void
test_peer(void **state)
{
	struct guarded guarded;
	struct box box;

	(void)state;
	assert_int_equal(sizeof(LONGEST), SESSION_PEER_MAX);
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(mh_set_peer(box.session, LONGEST), 0);
	assert_slice(FACT(MH_PEER), LONGEST);
	assert_int_equal(mh_set_peer(box.session,
	    "1" LONGEST), -1);
	assert_int_equal(mh_set_peer(box.session, NULL), -1);
	assert_slice(FACT(MH_PEER), LONGEST);
	/* Nothing behind it is read. */
	guarded_new(&guarded, sizeof(LONGEST));
	assert_int_equal(mh_set_peer(box.session,
	    guarded_put(&guarded, "::1", 4)), 0);
	guarded_free(&guarded);
	assert_slice(FACT(MH_PEER), "::1");
	box_close(&box);
}

/* What level 2 knows of TLS; and what a client is told goes by it. */
static void
test_secure(void **state)
{
	char out[1024];
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_TLS | MH_OFFER_CLEAR_LOGIN);
	until(&box, "EHLO x.example\r\nAUTH PLAIN AGpvZQBi\r\nSTARTTLS\r\n",
	    MH_TLS);
	assert_slice(FACT(MH_USER), "joe");
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	box.session->tls_version = "TLSv1.3";
	box.session->tls_cipher = "CIPHER";
	assert_int_equal(mh_tls_started(box.session), 0);
	assert_slice(FACT(MH_TLS_VERSION), "TLSv1.3");
	assert_slice(FACT(MH_TLS_CIPHER), "CIPHER");
	assert_slice(FACT(MH_PROTOCOL), "SMTP");
	/* RFC 3207 4.2: whoever it was before is forgotten. */
	assert_slice(FACT(MH_USER), "");
	assert_int_equal(say(&box, "EHLO x.example\r\n"), MH_IO);
	size_t len = mh_received(box.session, "i", 0, out, sizeof(out));
	assert_slice(((struct slice){ out, len }),
	    "Received: from x.example\n"
	    "\tby h with ESMTPS (TLSv1.3 CIPHER)\n\tid i;\n"
	    "\tThu, 01 Jan 1970 00:00:00 +0000\n");
	box_close(&box);
	/* Whoever is not there, or has gone, starts none. */
	assert_int_equal(mh_tls_started(NULL), -1);
	box_open(&box, MH_SMTP, MH_OFFER_TLS);
	until(&box, "EHLO x\r\nSTARTTLS\r\n", MH_TLS);
	accept(&box);
	mh_drop(box.session);
	assert_int_equal(mh_tls_started(box.session), -1);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	box_close(&box);
}

/* ---- storage ---- */

/* All of it is room, and there is no more. */
static void
test_room(void **state)
{
	struct box box;
	size_t room, more;

	(void)state;
	for (int protocol = MH_SMTP; protocol <= MH_POP3; protocol++) {
		box_open(&box, (enum mh_protocol)protocol, 0);
		assert_int_equal(say(&box, ""), MH_IO);
		char *at = mh_room(box.session, &room);
		assert_non_null(at);
		assert_true(room > 1);
		memset(at, 'x', room - 1);
		mh_came(box.session, room - 1);
		/* More than there is room for has not come. */
		mh_came(box.session, 2);
		assert_ptr_equal(mh_room(box.session, &more), at + room - 1);
		assert_int_equal(more, 1);
		mh_came(box.session, 1);
		assert_null(mh_room(box.session, &more));
		assert_int_equal(more, 0);
		/* Nobody's line is so long: there is room again. */
		assert_int_equal(mh_next(box.session)->type, MH_IO);
		drain(&box);
		assert_non_null(mh_room(box.session, &more));
		assert_int_equal(more, room);
		box_close(&box);
	}
}

/* What came and what is to go is not in the way of what is known. */
static void
test_transaction_is_kept(void **state)
{
	struct text noops = { .data = NULL };
	struct box box;

	(void)state;
	for (int i = 0; i < 10000; i++)
		text_add(&noops, SLICE("NOOP\r\n"));
	box_open(&box, MH_SMTP, MH_OFFER_DSN);
	until(&box, "EHLO x\r\nMAIL FROM:<sender@one.test> ENVID=e1\r\n"
	    "RCPT TO:<recipient@two.test>\r\n", MH_RECIPIENT);
	accept(&box);
	assert_int_equal(say(&box, noops.data), MH_IO);
	assert_slice(FACT(MH_REVERSE_PATH), "sender@one.test");
	assert_slice(FACT(MH_ENVID), "e1");
	struct mh_text path = mh_recipient(box.session, 0);
	assert_slice(((struct slice){ path.data, path.len }),
	    "recipient@two.test");
	text_free(&noops);
	box_close(&box);
}

/* POP3 needs none between two commands. */
static void
test_pop3_idle(void **state)
{
	static uint64_t octets[5000];
	struct box box;

	(void)state;
	assert_false(mh_idle(NULL));
	box_open(&box, MH_POP3, MH_OFFER_CLEAR_LOGIN);
	assert_false(mh_idle(box.session)); /* the greeting is to come */
	assert_int_equal(say(&box, ""), MH_IO);
	assert_true(mh_idle(box.session));
	assert_int_equal(say(&box, "AUTH LOGIN\r\n"), MH_IO);
	assert_false(mh_idle(box.session)); /* half a login */
	assert_int_equal(say(&box, "*\r\nUSER a\r\n"), MH_IO);
	assert_false(mh_idle(box.session)); /* again */
	assert_int_equal(say(&box, "PASS b\r\n"), MH_LOGIN);
	assert_false(mh_idle(box.session));
	assert_int_equal(mh_maildrop(box.session, octets, COUNT(octets)), 0);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_true(mh_idle(box.session));
	mh_lend(box.session, NULL);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_lend(box.session, box.buffers);
	/* In the middle of a listing, though all so far has been sent. */
	size_t room;
	memcpy(mh_room(box.session, &room), "LIST\r\n", 6);
	mh_came(box.session, 6);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	drain(&box);
	assert_false(mh_idle(box.session));
	for (int i = 0; i < 100 && !mh_idle(box.session); i++)
		assert_int_equal(say(&box, ""), MH_IO);
	assert_true(slice_ends_with(text_slice(&box.said),
	    SLICE("\r\n5000 0\r\n.\r\n")));
	assert_int_equal(say(&box, "QUIT\r\n"), MH_CLOSED);
	drain(&box);
	assert_false(mh_idle(box.session));
	box_close(&box);
}

static void
test_password_is_wiped(void **state)
{
	struct box box;

	(void)state;
	box_open(&box, MH_SMTP, MH_OFFER_CLEAR_LOGIN);
	assert_int_equal(say(&box, "EHLO x\r\nAUTH PLAIN AGpvZQBzZWNy"),
	    MH_IO);
	assert_non_null(memmem(box.buffers, box.buffers_size, "AGpvZQ", 6));
	mh_ended(box.session, MH_EOF);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	assert_null(memmem(box.buffers, box.buffers_size, "AGpvZQ", 6));
	box_close(&box);
}

/* ---- the end ---- */

static void
test_drop(void **state)
{
	struct box box;
	size_t len;

	(void)state;
	/* Twice is once: the sender's end is still to be heard of. */
	box_open(&box, MH_SMTP, 0);
	until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\n", MH_SENDER);
	accept(&box);
	mh_drop(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_RESET);
	mh_drop(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_RESET);
	accept(&box);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	box_close(&box);
	/* One without buffers is over, too. */
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(say(&box, "EHLO x\r\n"), MH_IO);
	mh_lend(box.session, NULL);
	mh_drop(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	box_close(&box);
	/* What is over already has its last word. */
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(say(&box, "QUIT\r\n"), MH_CLOSED);
	mh_drop(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	assert_non_null(mh_output(box.session, &len));
	assert_said(&box, "220 h ESMTP ready\r\n221 2.0.0 Bye\r\n");
	box_close(&box);
}

/* A peer that did not take the last octet in time hears nothing more. */
static void
test_one_octet_left(void **state)
{
	struct box box;
	size_t len;

	(void)state;
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	assert_int_equal(mh_due(box.session, 1000), 301000);
	mh_output(box.session, &len);
	mh_went(box.session, len - 1);
	/* It has no more time than what it took has earned. */
	assert_in_range(mh_due(box.session, 2000), 301000, 301020);
	mh_went(box.session, 2);
	mh_output(box.session, &len);
	assert_int_equal(len, 1);
	mh_ended(box.session, MH_TIMED_OUT);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	assert_null(mh_output(box.session, &len));
	box_close(&box);
	/* And one that took it does. */
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_output(box.session, &len);
	mh_went(box.session, len - 1);
	mh_went(box.session, 1);
	mh_ended(box.session, MH_TIMED_OUT);
	assert_int_equal(mh_next(box.session)->type, MH_CLOSED);
	assert_said(&box, "421 4.4.2 Took too long, closing\r\n");
	box_close(&box);
}

/* ---- time ---- */

/* deadline.h: each KiB earns a second, up to the limit. */
static void
test_earned(void **state)
{
	struct text text = { .data = NULL };
	struct box box;
	size_t len;

	(void)state;
	box_open(&box, MH_SMTP, 0);
	until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
	    MH_BEGIN);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_int_equal(mh_due(box.session, 1000), 301000);
	/* Text. */
	text_repeat(&text, 'x', 2046);
	text_add(&text, SLICE("\r\n"));
	assert_int_equal(say(&box, text.data), MH_DATA);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_int_equal(mh_due(box.session, 51000), 303000);
	assert_int_equal(mh_due(box.session, 52000), 303000);
	assert_int_equal(say(&box, ".\r\n"), MH_MESSAGE);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	text_free(&text);
	/* Output: that of many commands, taken in two pieces. */
	text_add(&text, SLICE("HELP\r\n"));
	for (int i = 0; i < 6; i++)
		text_add(&text, SLICE("HELP\r\nHELP\r\nHELP\r\nHELP\r\n"));
	char *at = mh_room(box.session, &len);
	memcpy(at, text.data, text.len);
	mh_came(box.session, text.len);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	mh_output(box.session, &len);
	assert_true(len > 2048);
	assert_int_equal(mh_due(box.session, 100000), 400000);
	mh_went(box.session, 2000);
	mh_went(box.session, 48);
	assert_int_equal(mh_due(box.session, 150000), 402000);
	assert_int_equal(mh_due(box.session, 151000), 402000);
	text_free(&text);
	box_close(&box);
}

/* The time that an answer takes is not the peer's: a minute here. */
static void
test_answers_take_time(void **state)
{
	struct box box;
	size_t len;

	(void)state;
	/* Before anything else: then all of the peer's time begins. */
	box_open(&box, MH_SMTP, 0);
	session_ask_connect(box.session);
	assert_int_equal(mh_next(box.session)->type, MH_CONNECT);
	assert_int_equal(mh_due(box.session, 1000), INT64_MAX);
	assert_int_equal(mh_due(box.session, 31000), INT64_MAX);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_int_equal(mh_due(box.session, 61000), 361000);
	box_close(&box);

	/* In the middle of a text. */
	box_open(&box, MH_SMTP, 0);
	until(&box, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
	    MH_BEGIN);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_int_equal(mh_due(box.session, 1000), 301000);
	assert_int_equal(say(&box, "x\r\n"), MH_DATA);
	assert_int_equal(mh_due(box.session, 20000), INT64_MAX);
	assert_int_equal(mh_due(box.session, 50000), INT64_MAX);
	accept(&box);
	assert_int_equal(say(&box, ""), MH_IO);
	assert_in_range(mh_due(box.session, 80000), 361000, 361010);
	box_close(&box);

	/* While there is output that the peer has not taken yet. */
	box_open(&box, MH_SMTP, 0);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	assert_int_equal(mh_due(box.session, 1000), 301000);
	char *at = mh_room(box.session, &len);
	memcpy(at, "EHLO x\r\nMAIL FROM:<a@b>\r\n", 25);
	mh_came(box.session, 25);
	assert_int_equal(mh_next(box.session)->type, MH_SENDER);
	assert_int_equal(mh_due(box.session, 2000), INT64_MAX);
	accept(&box);
	assert_int_equal(mh_next(box.session)->type, MH_IO);
	assert_int_equal(mh_due(box.session, 62000), 361000);
	box_close(&box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_transaction_is_kept),
		cmocka_unit_test(test_pop3_idle),
		cmocka_unit_test(test_password_is_wiped),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_one_octet_left),
		cmocka_unit_test(test_earned),
		cmocka_unit_test(test_answers_take_time),
	};

	return cmocka_run_group_tests_name("session_limits", tests, NULL,
	    NULL);
}
