/*
 * test_slice.c - comparing, cutting and reading octets.
 *
 * The slices stand before a guard page: whoever reads one octet more than
 * the length says does not come back.
 */
#include "drive.h"

static struct guarded storage;

static int
set_up(void **state)
{
	(void)state;
	guarded_new(&storage, 4096);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	guarded_free(&storage);
	return 0;
}

/* The literal's octets at the end of the page, without its NUL. */
static struct slice
at_edge(struct slice s)
{
	return (struct slice){ guarded_put(&storage, s.data, s.len), s.len };
}

static void
test_from(void **state)
{
	const char *text = "abc";

	(void)state;
	assert_int_equal(slice_from(NULL).len, 0);
	assert_int_equal(slice_from("").len, 0);
	assert_int_equal(slice_from(text).len, 3);
	assert_ptr_equal(slice_from(text).data, text);
	assert_int_equal(SLICE("a\0b").len, 3);
	assert_int_equal(SLICE("").len, 0);
}

static void
test_equal(void **state)
{
	static const struct {
		struct slice a, b;
		bool equal, equal_nocase;
	} rows[] = {
		{ SLICE(""), SLICE(""), true, true },
		{ { NULL, 0 }, SLICE(""), true, true },
		{ { NULL, 0 }, { NULL, 0 }, true, true },
		{ SLICE("a"), SLICE(""), false, false },
		{ SLICE(""), SLICE("a"), false, false },
		{ SLICE("quit"), SLICE("quit"), true, true },
		{ SLICE("quit"), SLICE("QuIt"), false, true },
		{ SLICE("quit"), SLICE("quiz"), false, false },
		{ SLICE("quit"), SLICE("qui"), false, false },
		{ SLICE("quit"), SLICE("quits"), false, false },
		{ SLICE("a\0b"), SLICE("a\0b"), true, true },
		{ SLICE("a\0b"), SLICE("a\0c"), false, false },
		{ SLICE("a\0b"), SLICE("A\0B"), false, true },
		/* Neighbours of the letters are none. */
		{ SLICE("@"), SLICE("`"), false, false },
		{ SLICE("["), SLICE("{"), false, false },
		{ SLICE("Z"), SLICE("z"), false, true },
		{ SLICE("A"), SLICE("a"), false, true },
		/* Latin 1's letters have no case here. */
		{ SLICE("\xC4"), SLICE("\xE4"), false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(slice_equal(rows[i].a, rows[i].b),
		    rows[i].equal);
		assert_int_equal(slice_equal(rows[i].b, at_edge(rows[i].a)),
		    rows[i].equal);
		assert_int_equal(slice_equal_nocase(rows[i].a, rows[i].b),
		    rows[i].equal_nocase);
		assert_int_equal(slice_equal_nocase(rows[i].b,
		    at_edge(rows[i].a)), rows[i].equal_nocase);
	}
}

static void
test_compare(void **state)
{
	/* In their order. */
	static const struct slice rows[] = {
		SLICE(""), SLICE("\0"), SLICE("."), SLICE("/"), SLICE("A"),
		SLICE("a"), SLICE("a\0"), SLICE("a\0b"), SLICE("ab"),
		SLICE("b"), SLICE("\x7F"), SLICE("\x80"), SLICE("\xFF"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = 0; k < COUNT(rows); k++) {
			int order = slice_compare(rows[i], at_edge(rows[k]));

			assert_int_equal((order > 0) - (order < 0),
			    (i > k) - (i < k));
		}
	assert_int_equal(slice_compare(slice_from(NULL), SLICE("")), 0);
}

static void
test_starts_ends(void **state)
{
	static const struct {
		struct slice s, part;
		bool starts, starts_nocase, ends;
	} rows[] = {
		{ SLICE(""), SLICE(""), true, true, true },
		{ { NULL, 0 }, { NULL, 0 }, true, true, true },
		{ SLICE("abc"), SLICE(""), true, true, true },
		{ SLICE(""), SLICE("a"), false, false, false },
		{ SLICE("abc"), SLICE("a"), true, true, false },
		{ SLICE("abc"), SLICE("AB"), false, true, false },
		{ SLICE("abc"), SLICE("abc"), true, true, true },
		{ SLICE("abc"), SLICE("abcd"), false, false, false },
		{ SLICE("abc"), SLICE("bc"), false, false, true },
		{ SLICE("abc"), SLICE("BC"), false, false, false },
		{ SLICE("abc"), SLICE("c"), false, false, true },
		{ SLICE("abc"), SLICE("zabc"), false, false, false },
		{ SLICE("\0\0"), SLICE("\0"), true, true, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice s = at_edge(rows[i].s);

		assert_int_equal(slice_starts_with(s, rows[i].part),
		    rows[i].starts);
		assert_int_equal(slice_starts_with_nocase(s, rows[i].part),
		    rows[i].starts_nocase);
		assert_int_equal(slice_ends_with(s, rows[i].part),
		    rows[i].ends);
	}
}

static void
test_skip(void **state)
{
	struct slice s = at_edge(SLICE("abc"));

	(void)state;
	assert_slice(slice_skip(s, 0), "abc");
	assert_slice(slice_skip(s, 1), "bc");
	assert_slice(slice_skip(s, 3), "");
	assert_ptr_equal(slice_skip(s, 3).data, s.data + 3);
	assert_slice(slice_skip(s, 4), "");
	assert_ptr_equal(slice_skip(s, SIZE_MAX).data, s.data + 3);
	assert_int_equal(slice_skip(slice_from(NULL), 7).len, 0);
	assert_null(slice_skip(slice_from(NULL), 7).data);
}

static void
test_cut(void **state)
{
	static const struct {
		struct slice s;
		char separator;
		bool found;
		struct slice before, after;
	} rows[] = {
		{ SLICE(""), ' ', false, SLICE(""), SLICE("") },
		{ { NULL, 0 }, ' ', false, SLICE(""), SLICE("") },
		{ SLICE("QUIT"), ' ', false, SLICE("QUIT"), SLICE("") },
		{ SLICE("RETR 1"), ' ', true, SLICE("RETR"), SLICE("1") },
		{ SLICE("TOP 1 2"), ' ', true, SLICE("TOP"), SLICE("1 2") },
		{ SLICE(" 1"), ' ', true, SLICE(""), SLICE("1") },
		{ SLICE("TOP "), ' ', true, SLICE("TOP"), SLICE("") },
		{ SLICE(" "), ' ', true, SLICE(""), SLICE("") },
		{ SLICE("a\0b\0c"), '\0', true, SLICE("a"), SLICE("b\0c") },
		{ SLICE("a\xFFz"), '\xFF', true, SLICE("a"), SLICE("z") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice s = at_edge(rows[i].s);
		struct slice before, after;

		assert_int_equal(slice_cut(s, rows[i].separator, &before,
		    &after), rows[i].found);
		assert_slices(before, rows[i].before);
		assert_slices(after, rows[i].after);
		/* What comes after stands where it stood. */
		assert_ptr_equal(after.data + after.len, s.data + s.len);

		/* Into itself, both ways round. */
		before = s;
		slice_cut(before, rows[i].separator, &before, &after);
		assert_slices(before, rows[i].before);
		assert_slices(after, rows[i].after);
		after = s;
		slice_cut(after, rows[i].separator, &before, &after);
		assert_slices(before, rows[i].before);
		assert_slices(after, rows[i].after);
	}
}

static void
test_trim(void **state)
{
	static const struct { struct slice s, trimmed; } rows[] = {
		{ SLICE(""), SLICE("") },
		{ { NULL, 0 }, SLICE("") },
		{ SLICE(" "), SLICE("") },
		{ SLICE(" \t \t"), SLICE("") },
		{ SLICE("a"), SLICE("a") },
		{ SLICE("  a b\t "), SLICE("a b") },
		{ SLICE("\r\n"), SLICE("\r\n") },
		{ SLICE(" \v "), SLICE("\v") },
		{ SLICE(" \0 "), SLICE("\0") },
		{ SLICE("\xA0x\xA0"), SLICE("\xA0x\xA0") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_slices(slice_trim(at_edge(rows[i].s)),
		    rows[i].trimmed);
}

static void
test_to_number(void **state)
{
	static const struct {
		struct slice s;
		uint64_t max;
		bool good;
		uint64_t number;
	} rows[] = {
		{ SLICE("0"), 0, true, 0 },
		{ SLICE("1"), 0, false, 0 },
		{ SLICE("000"), 0, true, 0 },
		{ SLICE("7"), 7, true, 7 },
		{ SLICE("8"), 7, false, 0 },
		{ SLICE("10"), 7, false, 0 },
		{ SLICE("07"), 7, true, 7 },
		{ SLICE("0000000000000000000000000000000000001"), 1, true, 1 },
		{ SLICE("65535"), 65535, true, 65535 },
		{ SLICE("65536"), 65535, false, 0 },
		{ SLICE("18446744073709551615"), UINT64_MAX, true,
		    UINT64_MAX },
		{ SLICE("18446744073709551616"), UINT64_MAX, false, 0 },
		{ SLICE("18446744073709551620"), UINT64_MAX, false, 0 },
		{ SLICE("99999999999999999999"), UINT64_MAX, false, 0 },
		{ SLICE("184467440737095516150"), UINT64_MAX, false, 0 },
		{ SLICE("18446744073709551614"), UINT64_MAX - 1, true,
		    UINT64_MAX - 1 },
		{ SLICE("18446744073709551615"), UINT64_MAX - 1, false, 0 },
		{ SLICE(""), UINT64_MAX, false, 0 },
		{ { NULL, 0 }, UINT64_MAX, false, 0 },
		{ SLICE("1x"), UINT64_MAX, false, 0 },
		{ SLICE("x1"), UINT64_MAX, false, 0 },
		{ SLICE(" 1"), UINT64_MAX, false, 0 },
		{ SLICE("1 "), UINT64_MAX, false, 0 },
		{ SLICE("+1"), UINT64_MAX, false, 0 },
		{ SLICE("-1"), UINT64_MAX, false, 0 },
		{ SLICE("0x10"), UINT64_MAX, false, 0 },
		{ SLICE("1\0"), UINT64_MAX, false, 0 },
		{ SLICE("/"), UINT64_MAX, false, 0 },
		{ SLICE(":"), UINT64_MAX, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t number = 4711;

		if (slice_to_number(at_edge(rows[i].s), rows[i].max,
		    &number) != rows[i].good)
			fail_msg("'%.*s'", SLICE_ARG(rows[i].s));
		assert_int_equal(number,
		    rows[i].good ? rows[i].number : 4711);
	}
	/* Every number against every limit, near the edges of a digit. */
	for (uint64_t max = 0; max < 130; max++)
		for (uint64_t want = 0; want < 1300; want++) {
			char text[8];
			uint64_t number = 0;

			snprintf(text, sizeof(text), "%ju", (uintmax_t)want);
			assert_int_equal(slice_to_number(slice_from(text),
			    max, &number), want <= max);
			if (want <= max)
				assert_int_equal(number, want);
		}
}

static void
test_octets(void **state)
{
	(void)state;
	for (int i = 0; i < 256; i++) {
		const char c = (char)i;
		const struct slice s = at_edge((struct slice){ &c, 1 });
		bool control = i < 32 || i == 127;

		assert_int_equal(slice_lower(c),
		    i >= 'A' && i <= 'Z' ? (char)(i + 32) : c);
		assert_int_equal(slice_has_control(s), control);
		assert_int_equal(slice_is_ascii(s), i < 128);
		assert_int_equal(slice_is_utf8(s), i < 128);
	}
	assert_false(slice_has_control(SLICE("")));
	assert_true(slice_has_control(SLICE("ab\0")));
	assert_true(slice_has_control(SLICE("\tab")));
	assert_true(slice_is_ascii(SLICE("")));
	assert_false(slice_is_ascii(SLICE("ab\x80")));
	assert_true(slice_is_utf8(slice_from(NULL)));
}

/* Looked at many octets at a time: one among them at each place. */
static void
test_ascii_in_long_text(void **state)
{
	char text[100];

	(void)state;
	for (size_t len = 0; len <= sizeof(text); len++) {
		memset(text, 0x7f, sizeof(text));
		assert_true(slice_is_ascii(
		    at_edge((struct slice){ text, len })));
		for (size_t i = 0; i < len; i++) {
			text[i] = (char)0x80;
			assert_false(slice_is_ascii(
			    at_edge((struct slice){ text, len })));
			text[i] = 0x7f;
		}
	}
}

/* A code point by RFC 3629 section 3, for the model below. */
static size_t
encode_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

/* Every code point, whole and without its last octet. */
static void
test_utf8_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x1FFFFF; c++) {
		char text[4];
		size_t len = encode_utf8(c, text);
		bool good = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
		char *at = guarded_put(&storage, text, len);

		if (slice_is_utf8((struct slice){ at, len }) != good)
			fail_msg("U+%04X", c);
		at = guarded_put(&storage, text, len - 1);
		if (slice_is_utf8((struct slice){ at, len - 1 }) !=
		    (len == 1))
			fail_msg("U+%04X cut short", c);
	}
}

static void
test_utf8_wrong_forms(void **state)
{
	static const struct slice bad[] = {
		SLICE("\x80"), SLICE("\xBF"), SLICE("a\x80"),
		/* Overlong: '/', NUL, U+07FF, U+FFFF. */
		SLICE("\xC0\xAF"), SLICE("\xC0\x80"), SLICE("\xC1\xBF"),
		SLICE("\xE0\x80\xAF"), SLICE("\xE0\x9F\xBF"),
		SLICE("\xF0\x80\x80\xAF"), SLICE("\xF0\x8F\xBF\xBF"),
		/* Surrogates, too high, five octets. */
		SLICE("\xED\xA0\x80"), SLICE("\xED\xBF\xBF"),
		SLICE("\xF4\x90\x80\x80"), SLICE("\xF5\x80\x80\x80"),
		SLICE("\xF8\x88\x80\x80\x80"), SLICE("\xFE"), SLICE("\xFF"),
		/* A sequence broken off by another octet. */
		SLICE("\xC3" "a"), SLICE("\xE2\x82" "a"),
		SLICE("\xF0\x9F\x98" "a"), SLICE("\xC3\xC3\xA4"),
		SLICE("\xE2\x82\xC0"), SLICE("\xE2\xC0\xAC"),
	};
	static const struct slice good[] = {
		SLICE("a\xC3\xA4z"), SLICE("\xE2\x82\xAC\xF0\x9F\x98\x80"),
		SLICE("\xED\x9F\xBF\xEE\x80\x80"), SLICE("\0"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (slice_is_utf8(at_edge(bad[i])))
			fail_msg("row %zu", i);
	for (size_t i = 0; i < COUNT(good); i++)
		if (!slice_is_utf8(at_edge(good[i])))
			fail_msg("row %zu", i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_starts_ends),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_to_number),
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_ascii_in_long_text),
		cmocka_unit_test(test_utf8_every_code_point),
		cmocka_unit_test(test_utf8_wrong_forms),
	};

	return cmocka_run_group_tests_name("slice", tests, set_up, tear_down);
}
