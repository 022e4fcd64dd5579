/*
 * test_smtp_client.c - the client machine against what servers say, good
 * and bad, in every piece.
 */
#include "drive.h"

#include "protocol/smtp_client.h"

/* ---- the adapter ---- */

/* Asks for so many replies, one command after each. */
struct asker {
	struct smtp_client client;
	unsigned replies;
	unsigned wanted;
	bool broken;
};

static struct wire *
asker_start(void *arg, char *in, size_t in_size, char *out, size_t out_size)
{
	struct asker *asker = arg;

	smtp_client_init(&asker->client, in, in_size, out, out_size);
	asker->replies = 0;
	asker->broken = false;
	return &asker->client.wire;
}

static bool
asker_run(void *arg, struct drive *drive)
{
	struct asker *asker = arg;
	struct smtp_client *client = &asker->client;
	const struct smtp_reply *reply = &client->reply;

	while (asker->replies < asker->wanted && !asker->broken)
		switch (smtp_client_next(client)) {
		case SMTP_CLIENT_WANT_IO:
			return false;
		case SMTP_CLIENT_REPLY:
			text_format(&drive->events, "%u [%s] ", reply->code,
			    reply->enhanced);
			text_add(&drive->events, reply->text);
			text_format(&drive->events, "|\n");
			asker->replies++;
			smtp_client_rset(client);
			break;
		case SMTP_CLIENT_BROKEN:
			text_format(&drive->events, "broken: %s\n",
			    client->why);
			asker->broken = true;
			break;
		}
	return true;
}

static struct asker asker;

static const struct drive_core core = {
	.in_min = SMTP_CLIENT_IN_MIN, .out_min = SMTP_CLIENT_OUT_MIN,
	.arg = &asker, .start = asker_start, .run = asker_run,
};

/* What is read from input where one more reply is wanted than there are. */
static void
say_rcpt(struct smtp_client *client, struct slice path)
{
	const struct envelope_recipient recipient = { .path = path };

	smtp_client_rcpt(client, &recipient);
}

static void
check_edges(struct slice input, unsigned replies, struct slice events,
    enum drive_end end, bool closes, size_t edge)
{
	struct text output = { .data = NULL };

	asker.wanted = replies + 1;
	for (unsigned i = 0; i < replies; i++)
		text_add(&output, SLICE("RSET\r\n"));
	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "replies", .input = input, .output = text_slice(&output),
	    .events = events, .end = end, .closes = closes }, edge);
	text_free(&output);
}

static void
check_ending(struct slice input, unsigned replies, struct slice events,
    enum drive_end end, bool closes)
{
	check_edges(input, replies, events, end, closes,
	    input.len > 3000 ? 16 : SIZE_MAX);
}

static void
check(struct slice input, unsigned replies, struct slice events)
{
	check_ending(input, replies, events, DRIVE_STAY, false);
}

#define MALFORMED "broken: malformed reply\n"

/* ---- replies ---- */

static void
test_replies(void **state)
{
	static const struct {
		struct slice input;
		unsigned replies;
		struct slice events;
	} rows[] = {
		{ SLICE("220 mail.test ESMTP\r\n"), 1,
		    SLICE("220 [] mail.test ESMTP|\n") },
		{ SLICE("250\r\n"), 1, SLICE("250 [] |\n") },
		{ SLICE("250 \r\n"), 1, SLICE("250 [] |\n") },
		{ SLICE("354 go on\n"), 1, SLICE("354 [] go on|\n") },
		{ SLICE("599 x\r\n200 y\r\n"), 2,
		    SLICE("599 [] x|\n200 [] y|\n") },
		/* Many lines. */
		{ SLICE("250-one\r\n250-\r\n250-three\r\n250 four\r\n"), 1,
		    SLICE("250 [] one\n\nthree\nfour|\n") },
		{ SLICE("250-one\r\n250\r\n"), 1, SLICE("250 [] one\n|\n") },
		{ SLICE("250-a\n250-b\r\n250 c\n"), 1,
		    SLICE("250 [] a\nb\nc|\n") },
		/* One after the other, at once: they are not mixed up. */
		{ SLICE("250-a\r\n250 b\r\n550 c\r\n221-d\r\n221 e\r\n"), 3,
		    SLICE("250 [] a\nb|\n550 [] c|\n221 [] d\ne|\n") },
		{ SLICE("421 4.3.2 Bye\r\n"), 1,
		    SLICE("421 [4.3.2] Bye|\n") },
		/* Any octets in a text; what is made of them is its
		 * user's affair. */
		{ SLICE("250 a\0b\r\xFF\r\n"), 1,
		    SLICE("250 [] a\0b\r\xFF|\n") },
		/* No whole one yet. */
		{ SLICE(""), 0, SLICE("") },
		{ SLICE("250 Ok"), 0, SLICE("") },
		{ SLICE("250 Ok\r"), 0, SLICE("") },
		{ SLICE("250-Ok\r\n"), 0, SLICE("") },
		{ SLICE("250-Ok\r\n250"), 0, SLICE("") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check(rows[i].input, rows[i].replies, rows[i].events);
}

static void
test_enhanced_codes(void **state)
{
	static const struct { struct slice input, events; } rows[] = {
		{ SLICE("250 2.1.5 Ok\r\n"), SLICE("250 [2.1.5] Ok|\n") },
		{ SLICE("250 2.1.5\r\n"), SLICE("250 [2.1.5] |\n") },
		{ SLICE("250 2.1.5 \r\n"), SLICE("250 [2.1.5] |\n") },
		{ SLICE("550 5.999.999 x\r\n"),
		    SLICE("550 [5.999.999] x|\n") },
		{ SLICE("450 4.0.0 x y\r\n"), SLICE("450 [4.0.0] x y|\n") },
		{ SLICE("550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n"),
		    SLICE("550 [5.1.1] a\nb\nc|\n") },
		/* Not of the reply's class, or no code at all. */
		{ SLICE("550 4.1.1 x\r\n"), SLICE("550 [] 4.1.1 x|\n") },
		{ SLICE("250 5.1.1 x\r\n"), SLICE("250 [] 5.1.1 x|\n") },
		{ SLICE("250 2.1 x\r\n"), SLICE("250 [] 2.1 x|\n") },
		{ SLICE("250 2.1.\r\n"), SLICE("250 [] 2.1.|\n") },
		{ SLICE("250 2..1 x\r\n"), SLICE("250 [] 2..1 x|\n") },
		{ SLICE("250 2.1.5.7 x\r\n"), SLICE("250 [] 2.1.5.7 x|\n") },
		{ SLICE("250 2.1.5x\r\n"), SLICE("250 [] 2.1.5x|\n") },
		{ SLICE("250 2.1234.5 x\r\n"),
		    SLICE("250 [] 2.1234.5 x|\n") },
		{ SLICE("250 2.1.1234 x\r\n"),
		    SLICE("250 [] 2.1.1234 x|\n") },
		{ SLICE("250 22.1.1 x\r\n"), SLICE("250 [] 22.1.1 x|\n") },
		{ SLICE("250  2.1.1 x\r\n"), SLICE("250 []  2.1.1 x|\n") },
		{ SLICE("250 2\r\n"), SLICE("250 [] 2|\n") },
		/* Of one reply nothing comes into the next. */
		{ SLICE("250 2.1.5 a\r\n250 b\r\n"),
		    SLICE("250 [2.1.5] a|\n250 [] b|\n") },
		{ SLICE("550-5.1.1 a\r\n550 5.1.1 b\r\n550 c\r\n"),
		    SLICE("550 [5.1.1] a\nb|\n550 [] c|\n") },
		{ SLICE("550 5.123.456 a\r\n550 5.1.1 b\r\n"),
		    SLICE("550 [5.123.456] a|\n550 [5.1.1] b|\n") },
		/* Some lines have none (smtp_client.h). */
		{ SLICE("550-5.1.1 a\r\n550 b\r\n"),
		    SLICE("550 [5.1.1] a\nb|\n") },
		{ SLICE("550-a\r\n550 5.1.1 b\r\n"),
		    SLICE("550 [5.1.1] a\nb|\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned replies = 0;

		for (size_t k = 0; k + 1 < rows[i].events.len; k++)
			replies += rows[i].events.data[k] == '|';
		check(rows[i].input, replies, rows[i].events);
	}
}

/* smtp_client.h: a code is taken out of the text only where it is the same
 * in every line that has one. */
static void
test_different_enhanced_codes(void **state)
{
	(void)state;
	check(SLICE("550-5.1.1 a\r\n550 5.7.1 b\r\n"), 1,
	    SLICE("550 [] 5.1.1 a\n5.7.1 b|\n"));
}

/* What is no reply makes the connection useless. */
static void
test_garbage(void **state)
{
	static const struct slice rows[] = {
		SLICE("\r\n"), SLICE("\n"), SLICE("2\r\n"), SLICE("25\r\n"),
		SLICE("25 \r\n"), SLICE("25x x\r\n"), SLICE("250x\r\n"),
		SLICE("250\tx\r\n"), SLICE("250_x\r\n"), SLICE("2500 x\r\n"),
		SLICE("+OK\r\n"), SLICE("* OK\r\n"), SLICE(" 250 x\r\n"),
		SLICE("-25 x\r\n"), SLICE("+25 x\r\n"), SLICE("0x2 x\r\n"),
		SLICE("000 x\r\n"), SLICE("100 x\r\n"), SLICE("199 x\r\n"),
		SLICE("600 x\r\n"), SLICE("999 x\r\n"), SLICE("250\0x\r\n"),
		SLICE("SSH-2.0-x\r\n"), SLICE("250\r\r\n"),
		SLICE("\x16\x03\x01\n"),
		/* Lines that do not belong together. */
		SLICE("250-a\r\n251 b\r\n"), SLICE("250-a\r\n550 b\r\n"),
		SLICE("250-a\r\nb\r\n"), SLICE("250-a\r\n250x\r\n"),
		SLICE("250-a\r\n\r\n"), SLICE("250-a\r\n250-b\r\n.\r\n"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_ending(rows[i], 0, SLICE(MALFORMED), DRIVE_STAY, true);
	/* After a good one, too. */
	check_ending(SLICE("220 x\r\nx\r\n"), 1,
	    SLICE("220 [] x|\n" MALFORMED), DRIVE_STAY, true);
}

static void
test_early_end(void **state)
{
	static const struct { struct slice input; unsigned replies;
	    struct slice events; } rows[] = {
		{ SLICE(""), 0, SLICE("") },
		{ SLICE("220"), 0, SLICE("") },
		{ SLICE("220-x\r\n220-y\r\n"), 0, SLICE("") },
		{ SLICE("220 x\r\n250-y\r\n25"), 1, SLICE("220 [] x|\n") },
	};
	static const struct { enum drive_end end; const char *why; }
	ends[] = {
		{ DRIVE_EOF, "the next hop closed the connection" },
		{ DRIVE_TIMEOUT, "the next hop took too long" },
		{ DRIVE_STOPPING, "told to stop" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = 0; k < COUNT(ends); k++) {
			struct text events = { .data = NULL };

			text_add(&events, rows[i].events);
			text_format(&events, "broken: %s\n", ends[k].why);
			check_ending(rows[i].input, rows[i].replies,
			    text_slice(&events), ends[k].end, false);
			text_free(&events);
		}
}

/* The last reply counts though the end came with it. */
static void
test_reply_then_end(void **state)
{
	(void)state;
	asker.wanted = 1;
	drive_replay(&core, &(struct drive_dialogue){
	    .name = "last words", .input = SLICE("221 Bye\r\n"),
	    .output = SLICE("RSET\r\n"), .events = SLICE("221 [] Bye|\n"),
	    .end = DRIVE_EOF, .closes = true });
}

static void
test_long_lines(void **state)
{
	(void)state;
	for (size_t len = SMTP_CLIENT_IN_MIN - 2; len <= SMTP_CLIENT_IN_MIN +
	    2; len++) {
		struct text input = { .data = NULL };
		struct text events = { .data = NULL };
		bool fits = len <= SMTP_CLIENT_IN_MIN;

		text_add(&input, SLICE("220 "));
		text_repeat(&input, 'x', len - 6);
		text_add(&input, SLICE("\r\n250 y\r\n"));
		if (fits) {
			text_add(&events, SLICE("220 [] "));
			text_repeat(&events, 'x', len - 6);
			text_add(&events, SLICE("|\n250 [] y|\n"));
			check_ending(text_slice(&input), 2,
			    text_slice(&events), DRIVE_STAY, false);
		} else {
			check_ending(text_slice(&input), 0,
			    SLICE("broken: over-long reply\n"), DRIVE_STAY,
			    true);
		}
		text_free(&input);
		text_free(&events);
	}
}

/* Nobody waits for its end. */
static void
test_endless_line(void **state)
{
	struct text input = { .data = NULL };

	(void)state;
	text_add(&input, SLICE("220 "));
	text_repeat(&input, 'x', SMTP_CLIENT_IN_MIN - 4);
	check_ending(text_slice(&input), 0,
	    SLICE("broken: over-long reply\n"), DRIVE_STAY, true);
	text_free(&input);
}

/* A thousand lines are a reply, one more is not; of its text so much is
 * kept. */
static void
check_lines(unsigned first)
{
	for (unsigned lines = SMTP_CLIENT_LINES_MAX - 1;
	    lines <= SMTP_CLIENT_LINES_MAX + 1; lines++) {
		struct text input = { .data = NULL };
		struct text text = { .data = NULL };
		struct text events = { .data = NULL };

		for (unsigned i = 0; i < lines; i++) {
			text_format(&input, "250%s%u\r\n",
			    i + 1 == lines ? " " : "-", i + first);
			text_format(&text, "%s%u", i > 0 ? "\n" : "",
			    i + first);
		}
		if (text.len > SMTP_REPLY_TEXT_MAX)
			text.len = SMTP_REPLY_TEXT_MAX;
		text_format(&events, "250 [] %.*s|\n", (int)text.len,
		    text.data);
		if (lines <= SMTP_CLIENT_LINES_MAX)
			check_edges(text_slice(&input), 1,
			    text_slice(&events), DRIVE_STAY, false, 0);
		else
			check_edges(text_slice(&input), 0, SLICE(MALFORMED),
			    DRIVE_STAY, true, 0);
		text_free(&input);
		text_free(&text);
		text_free(&events);
	}
}

static void
test_many_lines(void **state)
{
	(void)state;
	check_lines(1000);
	/* The last octet that is kept is a line end. */
	assert_int_equal(SMTP_REPLY_TEXT_MAX % 8, 0);
	check_lines(1000000);
}

/* ---- commands ---- */

static struct smtp_client client;
static struct guarded in, out;

static int
set_up(void **state)
{
	(void)state;
	guarded_new(&in, SMTP_CLIENT_IN_MIN);
	guarded_new(&out, SMTP_CLIENT_OUT_MIN);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	guarded_free(&in);
	guarded_free(&out);
	return 0;
}

static void
begin(void)
{
	smtp_client_init(&client, in.data, in.size, out.data, out.size);
}

static struct slice
written(void)
{
	struct slice contents = buf_contents(&client.wire.out);

	buf_consume(&client.wire.out, contents.len);
	return contents;
}

static void
test_commands(void **state)
{
	(void)state;
	begin();
	smtp_client_ehlo(&client, "me.test");
	assert_slice(written(), "EHLO me.test\r\n");
	smtp_client_helo(&client, "me.test");
	assert_slice(written(), "HELO me.test\r\n");
	smtp_client_lhlo(&client, "me.test");
	assert_slice(written(), "LHLO me.test\r\n");
	smtp_client_starttls(&client);
	assert_slice(written(), "STARTTLS\r\n");
	say_rcpt(&client, SLICE("a@b"));
	assert_slice(written(), "RCPT TO:<a@b>\r\n");
	smtp_client_data(&client);
	assert_slice(written(), "DATA\r\n");
	smtp_client_rset(&client);
	assert_slice(written(), "RSET\r\n");
	smtp_client_quit(&client);
	assert_slice(written(), "QUIT\r\n");
	/* In a batch. */
	say_rcpt(&client, SLICE("\"a b\"@[1.2.3.4]"));
	say_rcpt(&client, SLICE("postmaster"));
	smtp_client_data(&client);
	assert_slice(written(), "RCPT TO:<\"a b\"@[1.2.3.4]>\r\n"
	    "RCPT TO:<postmaster>\r\nDATA\r\n");
}

static void
say_auth(enum sasl_client_mechanism mechanism, struct slice name,
    struct slice secret, unsigned want_step)
{
	const struct sasl_client who = { .name = name, .secret = secret };
	unsigned step;

	smtp_client_auth(&client, mechanism, &who, &step);
	assert_int_equal(step, want_step);
}

static bool
say_response(enum sasl_client_mechanism mechanism, struct slice name,
    struct slice secret, unsigned step)
{
	const struct sasl_client who = { .name = name, .secret = secret };

	return smtp_client_auth_respond(&client, mechanism, &who, step);
}

static void
test_auth(void **state)
{
	static const struct slice joe = SLICE("joe"), secret = SLICE("secret");

	(void)state;
	begin();
	say_auth(SASL_CLIENT_PLAIN, joe, secret, 1);
	assert_slice(written(), "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n");
	assert_false(say_response(SASL_CLIENT_PLAIN, joe, secret, 1));
	assert_slice(written(), "");
	say_auth(SASL_CLIENT_LOGIN, joe, secret, 0);
	assert_slice(written(), "AUTH LOGIN\r\n");
	assert_true(say_response(SASL_CLIENT_LOGIN, joe, secret, 0));
	assert_slice(written(), "am9l\r\n");
	assert_true(say_response(SASL_CLIENT_LOGIN, joe, SLICE(""), 1));
	assert_slice(written(), "\r\n");
	say_auth(SASL_CLIENT_XOAUTH2, joe, secret, 1);
	assert_slice(written(), "AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2Vj"
	    "cmV0AQE=\r\n");
	/* After an error challenge nothing is left to say. */
	assert_true(say_response(SASL_CLIENT_XOAUTH2, joe, secret, 1));
	assert_slice(written(), "\r\n");
	say_auth(SASL_CLIENT_OAUTHBEARER, joe, secret, 1);
	assert_slice(written(), "AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIg"
	    "c2VjcmV0AQE=\r\n");
	assert_true(say_response(SASL_CLIENT_OAUTHBEARER, joe, secret, 1));
	assert_slice(written(), "AQ==\r\n");
}

/* RFC 4954 4: a line of more than 512 octets has no response in it. */
static void
test_long_auth(void **state)
{
	struct text word = { .data = NULL };
	/* "AUTH PLAIN ", 496 of base64, CRLF: 509; 500 would be 513. */
	const size_t most = 496 / 4 * 3 - 5;

	(void)state;
	begin();
	text_repeat(&word, 'x', most);
	say_auth(SASL_CLIENT_PLAIN, SLICE("joe"), text_slice(&word), 1);
	assert_int_equal(written().len, 509);
	text_repeat(&word, 'x', 1);
	say_auth(SASL_CLIENT_PLAIN, SLICE("joe"), text_slice(&word), 0);
	assert_slice(written(), "AUTH PLAIN\r\n");
	assert_true(say_response(SASL_CLIENT_PLAIN, SLICE("joe"),
	    text_slice(&word), 0));
	assert_int_equal(written().len, 500 + 2);
	say_auth(SASL_CLIENT_OAUTHBEARER, SLICE("joe"), text_slice(&word), 0);
	assert_slice(written(), "AUTH OAUTHBEARER\r\n");
	text_free(&word);
}

/* Parameters only where they are offered, and needed. */
static void
test_mail(void **state)
{
	static const struct {
		bool size, eight_bit;       /* offered */
		uint64_t said_size;
		bool said_seven_bit;
		struct slice line;
	} rows[] = {
		{ false, false, 0, false, SLICE("MAIL FROM:<a@b>\r\n") },
		{ false, false, 7, true, SLICE("MAIL FROM:<a@b>\r\n") },
		{ true, false, 7, false, SLICE("MAIL FROM:<a@b> SIZE=7\r\n") },
		{ true, false, 1, false, SLICE("MAIL FROM:<a@b> SIZE=1\r\n") },
		{ true, true, 0, false,
		    SLICE("MAIL FROM:<a@b> BODY=8BITMIME\r\n") },
		{ true, true, 0, true, SLICE("MAIL FROM:<a@b>\r\n") },
		{ true, true, UINT64_MAX, false, SLICE("MAIL FROM:<a@b> "
		    "SIZE=18446744073709551615 BODY=8BITMIME\r\n") },
	};

	(void)state;
	begin();
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct envelope envelope = {
			.reverse_path = SLICE("a@b"),
			.size = rows[i].said_size,
			.seven_bit = rows[i].said_seven_bit,
		};

		client.extensions = (struct smtp_extensions){
			.size = rows[i].size, .eight_bit = rows[i].eight_bit,
		};
		smtp_client_mail(&client, &envelope);
		assert_slices(written(), rows[i].line);
	}
	client.extensions.eight_bit = false;
	smtp_client_mail(&client, &(struct envelope){
	    .reverse_path = SLICE("") });
	assert_slice(written(), "MAIL FROM:<>\r\n");
}

/* What RFC 6531 and RFC 3461 add, only where it is offered. */
static void
test_utf8_and_dsn(void **state)
{
	static const struct {
		struct envelope envelope;
		bool utf8, dsn; /* offered */
		struct slice line;
	} mails[] = {
		{ { .utf8 = true, .ret = ENVELOPE_RET_FULL,
		    .envid = SLICE("id+2B") }, false, false,
		    SLICE("MAIL FROM:<>\r\n") },
		{ { .utf8 = true, .ret = ENVELOPE_RET_FULL,
		    .envid = SLICE("id+2B") }, true, false,
		    SLICE("MAIL FROM:<> SMTPUTF8\r\n") },
		{ { .utf8 = true, .ret = ENVELOPE_RET_FULL,
		    .envid = SLICE("id+2B") }, true, true,
		    SLICE("MAIL FROM:<> SMTPUTF8 RET=FULL ENVID=id+2B\r\n") },
		{ { .ret = ENVELOPE_RET_HDRS }, true, true,
		    SLICE("MAIL FROM:<> RET=HDRS\r\n") },
		{ { .envid = SLICE("x") }, true, true,
		    SLICE("MAIL FROM:<> ENVID=x\r\n") },
		{ { .size = 0 }, true, true, SLICE("MAIL FROM:<>\r\n") },
	};
	static const struct {
		struct envelope_notify dsn;
		struct slice line;
	} rcpts[] = {
		{ { 0, { NULL, 0 } }, SLICE("RCPT TO:<a@b>\r\n") },
		{ { ENVELOPE_NOTIFY_NEVER, { NULL, 0 } },
		    SLICE("RCPT TO:<a@b> NOTIFY=NEVER\r\n") },
		{ { ENVELOPE_NOTIFY_SUCCESS, SLICE("rfc822;x@y") },
		    SLICE("RCPT TO:<a@b> NOTIFY=SUCCESS "
		    "ORCPT=rfc822;x@y\r\n") },
		{ { ENVELOPE_NOTIFY_FAILURE | ENVELOPE_NOTIFY_DELAY,
		    { NULL, 0 } },
		    SLICE("RCPT TO:<a@b> NOTIFY=FAILURE,DELAY\r\n") },
		{ { ENVELOPE_NOTIFY_SUCCESS | ENVELOPE_NOTIFY_DELAY,
		    { NULL, 0 } },
		    SLICE("RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY\r\n") },
		{ { ENVELOPE_NOTIFY_SUCCESS | ENVELOPE_NOTIFY_FAILURE |
		    ENVELOPE_NOTIFY_DELAY, { NULL, 0 } }, SLICE("RCPT "
		    "TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY\r\n") },
		{ { 0, SLICE("a;b") },
		    SLICE("RCPT TO:<a@b> ORCPT=a;b\r\n") },
	};

	(void)state;
	begin();
	for (size_t i = 0; i < COUNT(mails); i++) {
		client.extensions = (struct smtp_extensions){
			.utf8 = mails[i].utf8, .dsn = mails[i].dsn,
		};
		smtp_client_mail(&client, &mails[i].envelope);
		assert_slices(written(), mails[i].line);
	}
	for (size_t i = 0; i < COUNT(rcpts); i++) {
		const struct envelope_recipient recipient = {
			.path = SLICE("a@b"), .dsn = rcpts[i].dsn,
		};

		client.extensions.dsn = true;
		smtp_client_rcpt(&client, &recipient);
		assert_slices(written(), rcpts[i].line);
		client.extensions.dsn = false;
		smtp_client_rcpt(&client, &recipient);
		assert_slice(written(), "RCPT TO:<a@b>\r\n");
	}
}

static void
test_extensions(void **state)
{
	enum { PIPELINING = 1, SIZE = 2, EIGHT_BIT = 4, STARTTLS = 8,
	    PLAIN = 16, LOGIN = 32, UTF8 = 64, DSN = 128,
	    XOAUTH2 = 256, BEARER = 512, REQUIRETLS = 1024 };
	static const struct { struct slice input; int offered; } rows[] = {
		{ SLICE("250 mail.test\r\n"), 0 },
		/* The first line is a name, whatever it says. */
		{ SLICE("250 PIPELINING\r\n"), 0 },
		{ SLICE("250-STARTTLS\r\n250 HELP\r\n"), 0 },
		{ SLICE("250-x\r\n250-PIPELINING\r\n250-SIZE 35882577\r\n"
		    "250-8BITMIME\r\n250-STARTTLS\r\n"
		    "250 AUTH PLAIN LOGIN\r\n"),
		    PIPELINING | SIZE | EIGHT_BIT | STARTTLS | PLAIN |
		    LOGIN },
		{ SLICE("250-x\r\n250-pipelining\r\n250-Size\r\n"
		    "250-8bitmime\r\n250-starttls\r\n250 auth login\r\n"),
		    PIPELINING | SIZE | EIGHT_BIT | STARTTLS | LOGIN },
		{ SLICE("250-x\r\n250 AUTH CRAM-MD5 PLAIN\r\n"), PLAIN },
		{ SLICE("250-x\r\n250-AUTH PLAIN\r\n250 AUTH LOGIN\r\n"),
		    PLAIN | LOGIN },
		{ SLICE("250-x\r\n250 AUTH  PLAIN  LOGIN\r\n"),
		    PLAIN | LOGIN },
		{ SLICE("250-x\r\n250 AUTH XPLAIN LOGINX PLAI\r\n"), 0 },
		{ SLICE("250-x\r\n250-RequireTLS\r\n"
		    "250 AUTH oauthbearer XOAuth2\r\n"),
		    XOAUTH2 | BEARER | REQUIRETLS },
		{ SLICE("250-x\r\n250 AUTH\r\n"), 0 },
		{ SLICE("250-x\r\n250-SIZEX\r\n250-XSIZE\r\n250-PIPELININ\r\n"
		    "250 STARTTLS-X\r\n"), 0 },
		{ SLICE("250-x\r\n250-SIZE \r\n250  8BITMIME\r\n"),
		    SIZE | EIGHT_BIT },
		{ SLICE("250-x\r\n250-\r\n250-SIZE\r\n250 \r\n"), SIZE },
		{ SLICE("250-x\r\n250-SMTPUTF8\r\n250 dsn\r\n"), UTF8 | DSN },
		{ SLICE("250-x\r\n250-SMTPUTF\r\n250 DSNX\r\n"), 0 },
		/* As before RFC 2554, and with tabs. */
		{ SLICE("250-x\r\n250-AUTH=PLAIN LOGIN\r\n250 DSN=x\r\n"),
		    PLAIN | LOGIN | DSN },
		{ SLICE("250-x\r\n250-SIZE\t100\r\n250 AUTH\tLOGIN\tPLAIN"
		    "\r\n"), SIZE | PLAIN | LOGIN },
		/* A NUL is an octet like any other. */
		{ SLICE("250-x\r\n250 DSN\0x\r\n"), 0 },
		{ SLICE("200-x\r\n200 DSN\r\n"), DSN },
		/* A refusal offers nothing. */
		{ SLICE("550-x\r\n550 SIZE\r\n"), 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct smtp_extensions *got = &client.extensions;

		begin();
		/* A second EHLO, after STARTTLS, forgets the first. */
		memset(&client.extensions, 1, sizeof(client.extensions));
		smtp_client_ehlo(&client, "me.test");
		assert_slice(written(), "EHLO me.test\r\n");
		buf_append(&client.wire.in, rows[i].input);
		assert_int_equal(smtp_client_next(&client),
		    SMTP_CLIENT_REPLY);
		int offered = (got->pipelining ? PIPELINING : 0) |
		    (got->size ? SIZE : 0) |
		    (got->eight_bit ? EIGHT_BIT : 0) |
		    (got->starttls ? STARTTLS : 0) |
		    ((got->auth & 1u << SASL_CLIENT_PLAIN) != 0 ? PLAIN : 0) |
		    ((got->auth & 1u << SASL_CLIENT_LOGIN) != 0 ? LOGIN : 0) |
		    ((got->auth & 1u << SASL_CLIENT_XOAUTH2) != 0
		    ? XOAUTH2 : 0) |
		    ((got->auth & 1u << SASL_CLIENT_OAUTHBEARER) != 0
		    ? BEARER : 0) | (got->requiretls ? REQUIRETLS : 0) |
		    (got->utf8 ? UTF8 : 0) | (got->dsn ? DSN : 0);
		if (offered != rows[i].offered)
			fail_msg("row %zu: %x", i, (unsigned)offered);
	}
}

/* Keywords count however far behind they come. */
static void
test_many_extensions(void **state)
{
	(void)state;
	begin();
	smtp_client_ehlo(&client, "me.test");
	written();
	for (unsigned i = 0; i < 200; i++) {
		struct text line = { .data = NULL };

		text_format(&line, "250-X-%u %060u\r\n", i, i);
		buf_append(&client.wire.in, text_slice(&line));
		assert_int_equal(smtp_client_next(&client),
		    SMTP_CLIENT_WANT_IO);
		text_free(&line);
	}
	buf_append(&client.wire.in, SLICE("250 STARTTLS\r\n"));
	assert_int_equal(smtp_client_next(&client), SMTP_CLIENT_REPLY);
	assert_true(client.extensions.starttls);
	/* Of that reply, and no other. */
	buf_append(&client.wire.in, SLICE("250-x\r\n250 DSN\r\n"));
	assert_int_equal(smtp_client_next(&client), SMTP_CLIENT_REPLY);
	assert_false(client.extensions.dsn);
	smtp_client_helo(&client, "me.test");
	assert_false(client.extensions.starttls);
}

static void
test_size_max(void **state)
{
	static const struct { struct slice input; uint64_t max; } rows[] = {
		{ SLICE("250-x\r\n250 SIZE 1000\r\n"), 1000 },
		{ SLICE("250-x\r\n250 SIZE=1000 \r\n"), 1000 },
		{ SLICE("250-x\r\n250 SIZE 0\r\n"), 0 },
		{ SLICE("250-x\r\n250 SIZE\r\n"), 0 },
		{ SLICE("250-x\r\n250 SIZE x\r\n"), 0 },
		{ SLICE("250-x\r\n250 SIZE 99999999999999999999\r\n"), 0 },
		/* Said twice: the last counts, a number or not. */
		{ SLICE("250-x\r\n250-SIZE 5\r\n250 SIZE 7\r\n"), 7 },
		{ SLICE("250-x\r\n250-SIZE 5\r\n250 SIZE x\r\n"), 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin();
		smtp_client_ehlo(&client, "me.test");
		buf_append(&client.wire.in, rows[i].input);
		assert_int_equal(smtp_client_next(&client),
		    SMTP_CLIENT_REPLY);
		assert_true(client.extensions.size);
		assert_int_equal(client.extensions.size_max, rows[i].max);
	}
}

/* ---- the transcript ---- */

static void
hear(struct slice replies)
{
	written();
	buf_append(&client.wire.in, replies);
	while (smtp_client_next(&client) == SMTP_CLIENT_REPLY)
		;
}

static void
test_trace(void **state)
{
	char storage[4096];
	struct buf trace;

	(void)state;
	begin();
	buf_init(&trace, storage, sizeof(storage));
	client.wire.transcript = &trace;
	hear(SLICE("220 hi\r\n"));
	smtp_client_ehlo(&client, "me.test");
	hear(SLICE("250-x\r\n250 AUTH PLAIN\r\n"));
	say_auth(SASL_CLIENT_PLAIN, SLICE("joe"), SLICE("secret"), 1);
	hear(SLICE("535-5.7.8 no AGpvZQBzZWNyZXQ=\r\n535 for secret\r\n"));
	say_auth(SASL_CLIENT_LOGIN, SLICE("joe"), SLICE("secret"), 0);
	hear(SLICE("334 VXNlcm5hbWU6\r\n"));
	say_response(SASL_CLIENT_LOGIN, SLICE("joe"), SLICE("secret"), 0);
	hear(SLICE("334 UGFzc3dvcmQ6\r\n"));
	say_response(SASL_CLIENT_LOGIN, SLICE("joe"), SLICE("secret"), 1);
	hear(SLICE("235 secret\r\n290 secret\r\nsecret\r\n"));
	hear(SLICE("2359 secret\r\n"));
	smtp_client_mail(&client, &(struct envelope){
	    .reverse_path = SLICE("a@b") });
	hear(SLICE("250 fine\r\n"));
	smtp_client_data(&client);
	hear(SLICE("354 go\r\n"));
	smtp_client_text(&client, SLICE("text\n"));
	smtp_client_text_end(&client);
	hear(SLICE("what?\r\n"));
	assert_slice(buf_contents(&trace), "> 220 hi\n< EHLO me.test\n"
	    "> 250-x\n> 250 AUTH PLAIN\n< AUTH PLAIN (SASL response)\n"
	    "> 535 (not shown)\n> 535 (not shown)\n< AUTH LOGIN\n"
	    "> 334 (not shown)\n< (SASL response)\n> 334 (not shown)\n"
	    "< (SASL response)\n> 235 (not shown)\n> 290 (not shown)\n"
	    "> xxx (not shown)\n> 235 (not shown)\n< MAIL FROM:<a@b>\n"
	    "> 250 fine\n< DATA\n> 354 go\n> what?\n");
}

/* A line that stands for a secret is shown whole or not at all. */
static void
test_trace_full(void **state)
{
	static const char shown[] = "< AUTH PLAIN (SASL response)\n";
	char storage[sizeof(shown) - 1];

	(void)state;
	for (size_t size = sizeof(storage) - 1; size <= sizeof(storage);
	    size++) {
		struct buf trace;

		begin();
		buf_init(&trace, storage, size);
		client.wire.transcript = &trace;
		say_auth(SASL_CLIENT_PLAIN, SLICE("joe"), SLICE("secret"), 1);
		if (size == sizeof(storage))
			assert_slices(buf_contents(&trace),
			    slice_from(shown));
		else
			assert_slice(buf_contents(&trace), "");
	}
}

/* What LHLO's reply offers counts as EHLO's does, HELO's offers nothing. */
static void
test_lhlo_offers(void **state)
{
	(void)state;
	begin();
	smtp_client_lhlo(&client, "me.test");
	hear(SLICE("250-x\r\n250 DSN\r\n"));
	assert_true(client.extensions.dsn);
	smtp_client_helo(&client, "me.test");
	hear(SLICE("250-x\r\n250 DSN\r\n"));
	assert_false(client.extensions.dsn);
}

/* Nothing of a login is in memory when it is over; only what was said too
 * early is kept, for who says it is not to be spoken to. */
static void
test_wipe(void **state)
{
	(void)state;
	for (int early = 0; early < 2; early++) {
		begin();
		say_auth(SASL_CLIENT_PLAIN, SLICE("joe"), SLICE("secret"), 1);
		written();
		buf_append(&client.wire.in,
		    SLICE("235 2.7.0 AGpvZQBzZWNyZXQ=\r\n"));
		assert_int_equal(smtp_client_next(&client),
		    SMTP_CLIENT_REPLY);
		if (early)
			buf_append(&client.wire.in, SLICE("421 bye\r\n"));
		smtp_client_wipe(&client);
		assert_null(memmem(out.data, out.size, "AGpv", 4));
		assert_null(memmem(client.text, sizeof(client.text), "AGpv",
		    4));
		if (early)
			assert_slice(buf_contents(&client.wire.in),
			    "421 bye\r\n");
		else
			assert_null(memmem(in.data, in.size, "AGpv", 4));
	}
}

/* RFC 8689 4.1: where it is asked for and offered. */
static void
test_requiretls(void **state)
{
	(void)state;
	begin();
	for (int i = 0; i < 4; i++) {
		const struct envelope envelope = { .require_tls = i & 1 };

		client.extensions.requiretls = i & 2;
		smtp_client_mail(&client, &envelope);
		assert_slices(written(), i == 3
		    ? SLICE("MAIL FROM:<> REQUIRETLS\r\n")
		    : SLICE("MAIL FROM:<>\r\n"));
	}
}

/* Every digit may stand in a code. */
static void
test_digits(void **state)
{
	(void)state;
	begin();
	for (unsigned code = 200; code < 600; code++) {
		char reply[16];

		snprintf(reply, sizeof(reply), "%u x\r\n", code);
		buf_append(&client.wire.in, slice_from(reply));
		assert_int_equal(smtp_client_next(&client),
		    SMTP_CLIENT_REPLY);
		assert_int_equal(client.reply.code, code);
	}
	/* Nothing of it is left behind a login. */
	smtp_client_wipe(&client);
	for (size_t i = 0; i < sizeof(client.text); i++)
		assert_int_equal(client.text[i], 0);
	assert_int_equal(client.reply.text.len, 0);
}

/* ---- message text ---- */

/* The text through an out that is drained by so many octets at a time, in
 * pieces; what the server gets. */
static void
send_text(struct slice text, size_t piece, size_t drain, struct text *got)
{
	begin();
	smtp_client_data(&client);
	written();
	while (text.len > 0) {
		struct slice part = { text.data,
			text.len < piece ? text.len : piece };
		size_t taken = smtp_client_text(&client, part);

		assert_true(taken <= part.len);
		text = slice_skip(text, taken);
		struct slice out_text = buf_contents(&client.wire.out);
		/* Nothing is taken only where there is something to drain. */
		assert_true(taken > 0 || out_text.len > drain);
		if (taken == 0 || text.len % 3 == 0) {
			if (out_text.len > drain)
				out_text.len = drain;
			text_add(got, out_text);
			buf_consume(&client.wire.out, out_text.len);
		}
	}
	smtp_client_text_end(&client);
	text_add(got, buf_contents(&client.wire.out));
}

static void
test_text(void **state)
{
	static const struct { struct slice text, wire; } rows[] = {
		{ SLICE(""), SLICE("\r\n.\r\n") },
		{ SLICE("a\n"), SLICE("a\r\n.\r\n") },
		{ SLICE("a"), SLICE("a\r\n.\r\n") },
		{ SLICE("."), SLICE("..\r\n.\r\n") },
		{ SLICE(".\n..\na.\n"), SLICE("..\r\n...\r\na.\r\n.\r\n") },
		{ SLICE("\n\n"), SLICE("\r\n\r\n.\r\n") },
		{ SLICE("a\r\nb\0\xFF\n"), SLICE("a\r\nb\0\xFF\r\n.\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t piece = 1; piece < 9; piece++) {
			struct text got = { .data = NULL };

			send_text(rows[i].text, piece, 1, &got);
			assert_slices(text_slice(&got), rows[i].wire);
			text_free(&got);
		}
}

/* More than out holds. */
static void
test_long_text(void **state)
{
	static const size_t pieces[] = { 1, 77, 4096, 1 << 20 };
	static const size_t drains[] = { 1, 7, 1000, 1 << 20 };
	struct text text = { .data = NULL };
	struct text want = { .data = NULL };

	(void)state;
	for (unsigned i = 0; i < 4000; i++) {
		text_format(&text, "%s%u\n", i % 2 == 0 ? "." : "", i);
		text_format(&want, "%s%u\r\n", i % 2 == 0 ? ".." : "", i);
	}
	text_add(&want, SLICE(".\r\n"));
	for (size_t i = 0; i < COUNT(pieces); i++)
		for (size_t k = 0; k < COUNT(drains); k++) {
			struct text got = { .data = NULL };

			send_text(text_slice(&text), pieces[i], drains[k],
			    &got);
			assert_slices(text_slice(&got), text_slice(&want));
			text_free(&got);
		}
	text_free(&text);
	text_free(&want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_enhanced_codes),
		cmocka_unit_test(test_different_enhanced_codes),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_early_end),
		cmocka_unit_test(test_reply_then_end),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_many_lines),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_long_auth),
		cmocka_unit_test(test_mail),
		cmocka_unit_test(test_utf8_and_dsn),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_many_extensions),
		cmocka_unit_test(test_size_max),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_trace_full),
		cmocka_unit_test(test_lhlo_offers),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_requiretls),
		cmocka_unit_test(test_digits),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_long_text),
	};

	return cmocka_run_group_tests_name("smtp_client", tests, set_up,
	    tear_down);
}
