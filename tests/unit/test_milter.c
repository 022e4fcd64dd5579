/*
 * test_milter.c - the milter protocol: packets in both directions, an answer
 * at every split; and what its changes do to a header.
 */
#include "drive.h"

#include "protocol/milter.h"

#include "header_edit.h"

static char in[MILTER_IN_MIN], out[2 * MILTER_OUT_MIN];
static struct milter milter;

static void
begin_milter(void)
{
	milter_init(&milter, in, sizeof(in), out, sizeof(out));
}

static void
feed(struct slice octets)
{
	assert_true(buf_append(&milter.wire.in, octets));
}

/* What was put is this. */
static void
check_out(struct slice want)
{
	struct slice got = buf_contents(&milter.wire.out);

	assert_slices(got, want);
	buf_consume(&milter.wire.out, got.len);
}

#define PACKET(literal) SLICE(literal)

static void
test_put(void **state)
{
	static const struct milter_macro macros[] = {
		{ "j", SLICE("mx") }, { "i", { "", 0 } },
		{ "{mail_addr}", SLICE("a@b") },
	};

	(void)state;
	begin_milter();
	assert_true(milter_put_negotiation(&milter));
	check_out(PACKET("\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\x1f\xf7\xff"));
	assert_true(milter_put_macros(&milter, MILTER_MAIL, macros, 3));
	check_out(PACKET("\0\0\0\x17" "DMj\0mx\0{mail_addr}\0a@b\0"));
	assert_true(milter_put_connect(&milter, SLICE("x"), SLICE("192.0.2.1"),
	    false, 0x1234));
	check_out(PACKET("\0\0\0\x10" "Cx\0" "4\x12\x34" "192.0.2.1\0"));
	assert_true(milter_put_connect(&milter, SLICE("x"), SLICE("::1"), true,
	    25));
	check_out(PACKET("\0\0\0\x0a" "Cx\0" "6\0\x19::1\0"));
	assert_true(milter_put_connect(&milter, SLICE("local"), SLICE(""),
	    false, 0));
	check_out(PACKET("\0\0\0\x08" "Clocal\0U"));
	assert_true(milter_put_helo(&milter, SLICE("me")));
	check_out(PACKET("\0\0\0\x04Hme\0"));
	assert_true(milter_put_path(&milter, MILTER_MAIL, SLICE("a@b")));
	check_out(PACKET("\0\0\0\x07M<a@b>\0"));
	assert_true(milter_put_path(&milter, MILTER_RCPT, SLICE("")));
	check_out(PACKET("\0\0\0\x04R<>\0"));
	assert_true(milter_put_step(&milter, MILTER_DATA));
	check_out(PACKET("\0\0\0\x01T"));
	assert_true(milter_put_header(&milter, SLICE("A"), SLICE("b\n c")));
	check_out(PACKET("\0\0\0\x08LA\0b\n c\0"));
	/* A NUL is the end of a string. */
	assert_true(milter_put_header(&milter, SLICE("A"),
	    ((struct slice){ "b\0c", 3 })));
	check_out(PACKET("\0\0\0\x05LA\0b\0"));
	assert_true(milter_put_step(&milter, MILTER_END_OF_HEADER));
	assert_true(milter_put_body(&milter, SLICE("x\r\n\0")));
	assert_true(milter_put_step(&milter, MILTER_END));
	assert_true(milter_put_abort(&milter));
	assert_true(milter_put_quit(&milter));
	check_out(PACKET("\0\0\0\x01N\0\0\0\x05" "Bx\r\n\0\0\0\0\x01" "E"
	    "\0\0\0\x01" "A\0\0\0\x01Q"));
}

/* The longest there may be; longer values are cut, and are strings yet. */
static void
test_long(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	begin_milter();
	text_repeat(&text, 'x', 100000);
	assert_true(milter_put_header(&milter, SLICE("A"),
	    text_slice(&text)));
	struct slice got = buf_contents(&milter.wire.out);
	assert_true(got.len <= MILTER_PACKET_MAX + 4);
	assert_int_equal(got.data[got.len - 1], '\0');
	assert_int_equal(got.data[got.len - 2], 'x');
	assert_int_equal((unsigned char)got.data[2] << 8 |
	    (unsigned char)got.data[3], got.len - 4);
	/* Then there is no room for another one of that length. */
	assert_true(milter_put_body(&milter, (struct slice){ text.data,
	    MILTER_BODY_MAX }));
	assert_false(milter_put_quit(&milter));
	buf_consume(&milter.wire.out, buf_contents(&milter.wire.out).len);
	assert_true(milter_put_quit(&milter));
	text_free(&text);
}

static void
negotiate(const char protocol[4])
{
	begin_milter();
	feed(SLICE("\0\0\0\x0dO\0\0\0\x06\0\0\0\x11"));
	feed((struct slice){ protocol, 4 });
	assert_int_equal(milter_take(&milter, MILTER_NEGOTIATION),
	    MILTER_CONTINUE);
}

static void
test_negotiation(void **state)
{
	static const struct {
		struct slice octets;
		const char *what;
	} wrong[] = {
		{ SLICE("\0\0\0\x0cO\0\0\0\x06\0\0\0\x11\0\0\0"),
		    "a short negotiation" },
		{ SLICE("\0\0\0\x0dO\0\0\0\x07\0\0\0\x11\0\0\0\0"),
		    "another version of the protocol" },
		{ SLICE("\0\0\0\x0dO\0\0\0\x01\0\0\0\x11\0\0\0\0"),
		    "another version of the protocol" },
		{ SLICE("\0\0\0\x0dO\0\0\0\x06\0\0\0\x11\x80\0\0\0"),
		    "a protocol that was not offered" },
		{ SLICE("\0\0\0\x0dO\0\0\0\x06\0\0\0\x11\0\0\x08\0"),
		    "a protocol that was not offered" },
		{ SLICE("\0\0\0\x01" "c"), "no negotiation" },
		{ SLICE("\0\0\0\0O"), "a packet of no such length" },
		{ SLICE("\0\1\0\0O"), "a packet of no such length" },
	};

	(void)state;
	negotiate("\0\0\0\0");
	for (int step = MILTER_CONNECT; step < MILTER_STEPS; step++) {
		assert_true(milter_wants(&milter, (enum milter_step)step));
		assert_true(milter_answers(&milter, (enum milter_step)step));
	}
	assert_false(milter.leading_blank);
	/* opendkim's: no reply but at the end. */
	negotiate("\0\x1f\xf0\x80");
	for (int step = MILTER_CONNECT; step < MILTER_END; step++) {
		assert_true(milter_wants(&milter, (enum milter_step)step));
		assert_false(milter_answers(&milter, (enum milter_step)step));
	}
	assert_true(milter_answers(&milter, MILTER_END));
	assert_true(milter.leading_blank);
	negotiate("\0\0\x02\x11");
	assert_false(milter_wants(&milter, MILTER_CONNECT));
	assert_false(milter_wants(&milter, MILTER_BODY));
	assert_false(milter_wants(&milter, MILTER_DATA));
	assert_true(milter_wants(&milter, MILTER_HELO));
	/* Changes that were not offered, and macros it would like. */
	begin_milter();
	feed(SLICE("\0\0\0\x15O\0\0\0\x06\0\0\1\xff\0\0\0\0\0\0\0\1i j\0"));
	assert_int_equal(milter_take(&milter, MILTER_NEGOTIATION),
	    MILTER_CONTINUE);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		begin_milter();
		feed(wrong[i].octets);
		assert_int_equal(milter_take(&milter, MILTER_NEGOTIATION),
		    MILTER_BROKEN);
		assert_string_equal(milter.what, wrong[i].what);
	}
}

/* An answer in words. */
static void
describe(enum milter_answer answer, struct text *text)
{
	static const char *const words[] = { "more", "continue", "accept",
		"reject", "tempfail", "reply", "discard", "skip", "progress",
		"add", "insert", "change", "unoffered", "broken" };

	text_format(text, "%s", words[answer]);
	if (answer == MILTER_REPLY)
		text_format(text, " %u|%s|%.*s", milter.reply.code,
		    milter.reply.enhanced, SLICE_ARG(milter.reply.text));
	if (answer >= MILTER_ADD && answer <= MILTER_CHANGE)
		text_format(text, " %u|%.*s|%.*s", milter.index,
		    SLICE_ARG(milter.name), SLICE_ARG(milter.value));
	if (answer >= MILTER_UNOFFERED)
		text_format(text, " %s", milter.what);
}

/* Cut in two at every octet: nothing comes before it is whole, and then the
 * same. Two answers at once are two. */
static void
check_answer(enum milter_step step, struct slice octets, const char *want)
{
	for (size_t cut = 0; cut <= octets.len; cut++) {
		struct text got = { .data = NULL };
		bool whole = cut == octets.len;

		begin_milter();
		feed((struct slice){ octets.data, cut });
		enum milter_answer answer = milter_take(&milter, step);
		if (!whole && answer == MILTER_BROKEN)
			whole = true; /* by its length already */
		if (!whole) {
			assert_int_equal(answer, MILTER_MORE);
			feed(slice_skip(octets, cut));
			answer = milter_take(&milter, step);
		}
		describe(answer, &got);
		assert_slices(text_slice(&got), slice_from(want));
		text_free(&got);
	}
	begin_milter();
	feed(octets);
	feed(SLICE("\0\0\0\1c"));
	if (milter_take(&milter, step) != MILTER_BROKEN)
		assert_int_equal(milter_take(&milter, step), MILTER_CONTINUE);
}

static void
test_answers(void **state)
{
	static const struct {
		enum milter_step step;
		struct slice octets;
		const char *want;
	} rows[] = {
		{ MILTER_MAIL, SLICE("\0\0\0\1c"), "continue" },
		{ MILTER_CONNECT, SLICE("\0\0\0\1a"), "accept" },
		{ MILTER_RCPT, SLICE("\0\0\0\1r"), "reject" },
		{ MILTER_RCPT, SLICE("\0\0\0\1t"), "tempfail" },
		{ MILTER_END, SLICE("\0\0\0\1d"), "discard" },
		{ MILTER_BODY, SLICE("\0\0\0\1s"), "skip" },
		{ MILTER_END, SLICE("\0\0\0\1p"), "progress" },
		{ MILTER_HELO, SLICE("\0\0\0\1d"),
		    "broken a message to discard before there is one" },
		{ MILTER_END, SLICE("\0\0\0\1s"),
		    "broken a body to skip where there is none" },
		{ MILTER_MAIL, SLICE("\0\0\0\x06hA\0b\0\0"),
		    "broken an answer that does not belong here" },
		{ MILTER_END, SLICE("\0\0\0\1z"),
		    "broken an answer that there is not" },
		{ MILTER_END, SLICE("\0\0\0\2qx"), "unoffered quarantine" },
		{ MILTER_END, SLICE("\0\0\0\2b\n"), "unoffered another body" },
		{ MILTER_END, SLICE("\0\0\0\6+<a>\0\0"),
		    "unoffered another recipient" },
		/* Replies */
		{ MILTER_MAIL, SLICE("\0\0\0\x0fy550 5.7.13 No\0"),
		    "reply 550|5.7.13|No" },
		{ MILTER_MAIL, SLICE("\0\0\0\x08y451 No\0"),
		    "reply 451|4.7.1|No" },
		{ MILTER_MAIL, SLICE("\0\0\0\5y550\0"),
		    "reply 550|5.7.1|Refused" },
		{ MILTER_MAIL, SLICE("\0\0\0\x14y550 5.7.1 100%% 5%\0"),
		    "reply 550|5.7.1|100% 5%" },
		{ MILTER_MAIL,
		    SLICE("\0\0\0\x1ey550-5.7.2 one\r\n550 5.7.2 two\0"),
		    "reply 550|5.7.2|one\ntwo" },
		{ MILTER_MAIL, SLICE("\0\0\0\x0ey550 4.7.1 No\0"),
		    "reply 550|5.7.1|4.7.1 No" },
		{ MILTER_MAIL, SLICE("\0\0\0\x08y250 Ok\0"),
		    "broken a reply without a code of 4xx or 5xx" },
		{ MILTER_MAIL, SLICE("\0\0\0\7y550 No"),
		    "broken a reply without a code of 4xx or 5xx" },
		/* Changes */
		{ MILTER_END, SLICE("\0\0\0\5hA\0b\0"), "add 0|A|b" },
		{ MILTER_END, SLICE("\0\0\0\x09i\0\0\0\1A\0b\0"),
		    "insert 1|A|b" },
		{ MILTER_END, SLICE("\0\0\0\x09m\0\0\1\0A\0b\0"),
		    "change 256|A|b" },
		{ MILTER_END, SLICE("\0\0\0\x08m\0\0\0\1A\0\0"),
		    "change 1|A|" },
		{ MILTER_END, SLICE("\0\0\0\3i\0\0"), "broken a short change" },
		{ MILTER_END, SLICE("\0\0\0\4hA\0b"),
		    "broken a change that is cut off" },
		{ MILTER_END, SLICE("\0\0\0\6hA\0b\0x"),
		    "broken a change that is cut off" },
		{ MILTER_END, SLICE("\0\0\0\7hA B\0b\0"),
		    "broken a header with such a name" },
		{ MILTER_END, SLICE("\0\0\0\x08hA\nB:\0b\0"),
		    "broken a header with such a name" },
		{ MILTER_END, SLICE("\0\0\0\4h\0b\0"),
		    "broken a header with such a name" },
		{ MILTER_END, SLICE("\0\0\0\0"),
		    "broken a packet of no such length" },
		{ MILTER_END, SLICE("\xff\xff\xff\xff"),
		    "broken a packet of no such length" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_answer(rows[i].step, rows[i].octets, rows[i].want);
	/* The end of input. */
	begin_milter();
	feed(SLICE("\0\0\0\1"));
	milter.wire.eof = true;
	assert_int_equal(milter_take(&milter, MILTER_END), MILTER_BROKEN);
	assert_string_equal(milter.what, "it left");
}

/* ---- headers ---- */

#define OURS "Received: x\n\tid y\n"

static struct header_edit edit;

static void
read_header(const char *text)
{
	assert_true(header_edit_read(&edit, slice_from(text)));
}

static void
check_header(const char *want)
{
	struct text got = { .data = NULL };

	for (size_t i = 0; i < edit.n; i++)
		text_add(&got, edit.fields[i].text);
	assert_slices(text_slice(&got), slice_from(want));
	text_free(&got);
	header_edit_free(&edit);
}

static void
test_read_header(void **state)
{
	static const struct { const char *text; size_t n, length; } rows[] = {
		{ "A: b\nC: d\n\nbody: x\n", 2, 10 },
		{ "A: b\n c\n\td\nC:\n\n", 2, 14 },
		{ "A: b\n", 1, 5 }, { "A: b", 1, 4 }, { "", 0, 0 },
		{ "\nA: b\n", 0, 0 }, { "no field\nA: b\n", 0, 0 },
		{ "A: b\nno field\nC: d\n", 1, 5 }, { "A : b\n", 1, 6 },
		{ ": b\n", 0, 0 }, { " A: b\n", 0, 0 },
		{ "A\xc3: b\n", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		read_header(rows[i].text);
		if (edit.n != rows[i].n || edit.length != rows[i].length)
			fail_msg("%s: %zu fields, %zu octets", rows[i].text,
			    edit.n, edit.length);
		header_edit_free(&edit);
	}
	read_header("A: b\n c\nB:d\nC : e\nD:  f\n");
	static const struct { const char *with, *without; } values[] = {
		{ " b\n c", "b\n c" }, { "d", "d" }, { " e", "e" },
		{ "  f", " f" },
	};
	for (size_t i = 0; i < COUNT(values); i++) {
		assert_slices(header_edit_value(&edit.fields[i], true),
		    slice_from(values[i].with));
		assert_slices(header_edit_value(&edit.fields[i], false),
		    slice_from(values[i].without));
	}
	header_edit_free(&edit);
}

static void
test_changes(void **state)
{
	(void)state;
	read_header(OURS "A: b\na: c\n");
	assert_false(edit.changed);
	assert_true(header_edit_add(&edit, SLICE("X"), SLICE("y"), false));
	assert_true(header_edit_add(&edit, SLICE("Z"), SLICE(" 1\n\t2"), true));
	assert_true(edit.changed);
	check_header(OURS "A: b\na: c\nX: y\nZ: 1\n\t2\n");

	/* Above ours, below it, before the second, beyond the end. */
	read_header(OURS "A: b\na: c\n");
	assert_true(header_edit_insert(&edit, 99, SLICE("W"), SLICE("9"),
	    false));
	assert_true(header_edit_insert(&edit, 2, SLICE("X"), SLICE("2"),
	    false));
	assert_true(header_edit_insert(&edit, 1, SLICE("Y"), SLICE("1"),
	    false));
	assert_true(header_edit_insert(&edit, 0, SLICE("Z"), SLICE("0"),
	    false));
	check_header("Z: 0\n" OURS "Y: 1\nA: b\nX: 2\na: c\nW: 9\n");

	/* By number among those of that name; ours is not among them. */
	read_header(OURS "A: b\nReceived: z\na: c\nA: d\n");
	assert_true(header_edit_change(&edit, 2, SLICE("A"), SLICE("C"),
	    false));
	assert_true(header_edit_change(&edit, 1, SLICE("received"), SLICE(""),
	    false));
	assert_true(header_edit_change(&edit, 1, SLICE("A"), SLICE(""), false));
	/* Now the second is another. */
	assert_true(header_edit_change(&edit, 2, SLICE("a"), SLICE("D"),
	    false));
	assert_true(header_edit_change(&edit, 5, SLICE("A"), SLICE(""), false));
	assert_true(header_edit_change(&edit, 5, SLICE("N"), SLICE("new"),
	    false));
	check_header(OURS "A: C\na: D\nN: new\n");

	/* What was put above ours is the filter's, too. */
	read_header(OURS "A: b\n");
	assert_true(header_edit_insert(&edit, 0, SLICE("A"), SLICE("1"),
	    false));
	assert_true(header_edit_change(&edit, 2, SLICE("A"), SLICE("2"),
	    false));
	assert_true(header_edit_change(&edit, 1, SLICE("A"), SLICE(""), false));
	assert_true(header_edit_insert(&edit, 1, SLICE("B"), SLICE("3"),
	    false));
	assert_int_equal(edit.ours, 0);
	check_header(OURS "B: 3\nA: 2\n");

	/* No value makes two fields of one, or ends the header. */
	read_header(OURS);
	assert_true(header_edit_add(&edit, SLICE("X"),
	    SLICE("1\nEvil: 2\r\n\n\nbody\n"), false));
	check_header(OURS "X: 1\n\tEvil: 2\n\t\n\t\n\tbody\n");
}

/* A filter that never ends to change. */
static void
test_too_many_changes(void **state)
{
	static char value[65000];
	size_t n = 0;

	(void)state;
	memset(value, 'v', sizeof(value));
	read_header(OURS "A: 1\n");
	while (header_edit_change(&edit, 1, SLICE("A"), SLICE("2"), false))
		n++;
	assert_int_equal(n, HEADER_EDIT_CHANGES_MAX);
	check_header(OURS "A: 2\n");
	read_header(OURS);
	n = 0;
	while (header_edit_insert(&edit, 0, SLICE("X"), (struct slice){ value,
	    sizeof(value) }, false))
		n++;
	assert_int_equal(n, HEADER_EDIT_OCTETS_MAX / (sizeof(value) + 1));
	assert_int_equal(edit.ours, n);
	header_edit_free(&edit);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_too_many_changes),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_read_header),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests_name("milter", tests, NULL, NULL);
}
