/*
 * test_pattern.c - from names that peers send to paths.
 */
#include "drive.h"

#include "protocol/pattern.h"

static void
test_kinds(void **state)
{
	static const struct { const char *pattern; bool has_name, valid; }
	rows[] = {
		{ "", false, true },
		{ "/var/mail", false, true },
		{ "/var/mail/%u", true, true },
		{ "%n", true, true },
		{ "%l", true, true },
		{ "%%l", false, true },
		{ "%d/%n", true, true },
		{ "/a%%b", false, true },
		/* A percent sign, and the letter u. */
		{ "/a%%u", false, true },
		{ "/a%%%u", true, true },
		{ "%%%%", false, true },
		{ "/a%", false, false },
		{ "/a%%%", false, false },
		{ "/a%x", false, false },
		{ "/%U", false, false },
		{ "/%u%", true, false },
		{ "/% u", false, false },
		{ "/%s%n", true, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		/* To its last octet, and not beyond. */
		struct guarded storage;
		size_t len = strlen(rows[i].pattern) + 1;

		guarded_new(&storage, len);
		memcpy(storage.data, rows[i].pattern, len);
		if (pattern_has_name(storage.data) != rows[i].has_name)
			fail_msg("has name: %s", rows[i].pattern);
		if (pattern_is_valid(storage.data) != rows[i].valid)
			fail_msg("valid: %s", rows[i].pattern);
		guarded_free(&storage);
	}
}

static void
test_fixed(void **state)
{
	static const struct { const char *pattern; size_t len; } rows[] = {
		{ "/m/%u", 2 }, { "/m/x-%u", 2 }, { "/m/%d/%n", 2 },
		{ "/%u", 0 }, { "%u", 0 }, { "m/%u", 1 }, { "x%u/y", 0 },
		{ "/a%%b/%u", 4 }, { "/a%%/b%%%u", 3 }, { "/a%%u/%n/x", 4 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (pattern_fixed(rows[i].pattern) != rows[i].len)
			fail_msg("%s: %zu", rows[i].pattern,
			    pattern_fixed(rows[i].pattern));
}

static void
test_expand(void **state)
{
	static const struct {
		const char *pattern;
		struct slice name;
		const char *path;
	} rows[] = {
		{ "/m/%u", SLICE("joe"), "/m/joe" },
		{ "/m/%l", SLICE("Joe"), "/m/joe" },
		{ "/m/%u", SLICE("Joe@Example.ORG"), "/m/joe@example.org" },
		{ "/M/%d/%n/X", SLICE("Joe@Example.ORG"),
		    "/M/example.org/joe/X" },
		{ "/m/%d/%n", SLICE("JOE"), "/m/mail.test/joe" },
		/* The last @ is the one between name and domain. */
		{ "%n|%d", SLICE("\"a@b\"@c"), "\"a@b\"|c" },
		{ "%u%%%u%%", SLICE("a"), "a%a%" },
		{ "/fixed", SLICE("joe"), "/fixed" },
		{ "", SLICE("joe"), "" },
		{ "%u", SLICE("a..b"), "a..b" },
		{ "%u", SLICE("%u"), "%u" },
		{ "%u", SLICE("a b~\\"), "a b~\\" },
		/* Only ASCII has a lower case here. */
		{ "%u", SLICE("\xC3\x84Z"), "\xC3\x84z" },
		{ "%u", SLICE("a@b."), "a@b." },
		/* No C1 controls: U+00A0, and octets that are no UTF-8. */
		{ "%u", SLICE("a\xC2\xA0"), "a\xC2\xA0" },
		{ "%u", SLICE("\xC2" "b\x9B\xC2"), "\xC2" "b\x9B\xC2" },
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct guarded storage;
		size_t size = strlen(rows[i].path) + 1;

		/* It fits to the octet; with one less it does not. */
		guarded_new(&storage, size);
		if (pattern_expand(rows[i].pattern, rows[i].name,
		    "mail.Test", storage.data, size, &error) != 0)
			fail_msg("%s: %s", rows[i].path, error.text);
		assert_string_equal(storage.data, rows[i].path);
		guarded_free(&storage);
		if (size == 1)
			continue;
		guarded_new(&storage, size - 1);
		assert_int_equal(pattern_expand(rows[i].pattern,
		    rows[i].name, "mail.Test", storage.data, size - 1,
		    &error), -1);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_text(error.text, "--maildir: path too long");
		guarded_free(&storage);
	}
}

/* pop3-handler(8), --maildir: 1 to 255 octets without '/', NUL and control
 * characters, and no '.' at the start; of each part. */
static void
test_unsafe(void **state)
{
	static const struct slice bad[] = {
		SLICE(""), SLICE("."), SLICE(".."), SLICE("../joe"),
		SLICE(".joe"), SLICE("/"), SLICE("/joe"), SLICE("joe/"),
		SLICE("a/b"), SLICE("a/../b"), SLICE("a\0b"), SLICE("\0"),
		SLICE("a\nb"), SLICE("a\t"), SLICE("\x7F"), SLICE("a\x1F"),
		SLICE(".a@b"), SLICE("a@b/c"), SLICE("a/c@b"),
		SLICE("a@b\0"), SLICE("..@.."),
		/* C1 controls. */
		SLICE("a\xC2\x80"), SLICE("\xC2\x9B" "31m"),
		SLICE("\xC2\x9F"),
	};
	/* Good as a whole, but not in this part. */
	static const struct { const char *pattern; struct slice name; }
	bad_parts[] = {
		{ "/m/%n", SLICE("@") }, { "/m/%n", SLICE("@b") },
		{ "/m/%d", SLICE("a@") }, { "/m/%d", SLICE("a@.b") },
		{ "/m/%d", SLICE("a@..") }, { "/m/%d", SLICE("a@b@") },
	};
	char path[1024];
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (pattern_expand("/m/%u", bad[i], "mail.test", path,
		    sizeof(path), &error) != -1)
			fail_msg("%.*s", SLICE_ARG(bad[i]));
		assert_int_equal(error.kind, ERROR_PEER);
		/* Where no part of it is used, any name will do. */
		assert_int_equal(pattern_expand("/m", bad[i], "mail.test",
		    path, sizeof(path), &error), 0);
	}
	for (size_t i = 0; i < COUNT(bad_parts); i++)
		if (pattern_expand(bad_parts[i].pattern, bad_parts[i].name,
		    "mail.test", path, sizeof(path), &error) != -1)
			fail_msg("%s %.*s", bad_parts[i].pattern,
			    SLICE_ARG(bad_parts[i].name));
	assert_int_equal(pattern_expand("/m/%u", slice_from(NULL),
	    "mail.test", path, sizeof(path), &error), -1);
}

static void
test_length(void **state)
{
	char path[1024];
	struct error error;

	(void)state;
	for (size_t len = 253; len <= 258; len++) {
		struct text name = { .data = NULL };

		text_repeat(&name, 'x', len);
		assert_int_equal(pattern_expand("/m/%u", text_slice(&name),
		    "mail.test", path, sizeof(path), &error),
		    len <= 255 ? 0 : -1);
		if (len <= 255)
			assert_int_equal(strlen(path), len + 3);
		else
			assert_int_equal(error.kind, ERROR_PEER);
		text_free(&name);
	}
}

/* smtp-handler(8): %l is the login, whoever the recipient is. */
static void
test_login(void **state)
{
	static const struct {
		const char *pattern;
		struct slice login;
		const char *set; /* NULL: it cannot be part of a path */
	} rows[] = {
		{ "/m/%l", SLICE("Joe"), "/m/joe" },
		{ "/m/%l/%u", SLICE("joe@x"), "/m/joe@x/%u" },
		{ "%l%%%l", SLICE("a"), "a%%a" },
		{ "/m/%%l/%n", SLICE("../x"), "/m/%%l/%n" },
		{ "/m/%l", SLICE("100%u"), "/m/100%%u" },
		{ "/m/%l", SLICE(""), NULL },
		{ "/m/%l", SLICE("../x"), NULL },
		{ "/m/%l", SLICE(".x"), NULL },
	};
	struct error error;
	char out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int result = pattern_set_login(rows[i].pattern,
		    rows[i].login, out, sizeof(out), &error);

		if (result != (rows[i].set != NULL ? 0 : -1))
			fail_msg("%s", rows[i].pattern);
		if (rows[i].set == NULL) {
			assert_int_equal(error.kind, ERROR_PEER);
			continue;
		}
		assert_string_equal(out, rows[i].set);
		size_t len = strlen(rows[i].set) + 1;
		for (size_t size = 0; size <= len; size++) {
			struct guarded storage;

			guarded_new(&storage, size);
			assert_int_equal(pattern_set_login(rows[i].pattern,
			    rows[i].login, storage.data, size, &error),
			    size < len ? -1 : 0);
			guarded_free(&storage);
		}
	}
	assert_true(pattern_has_login("/%u/%l"));
	assert_false(pattern_has_login("/%u/%%l"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_unsafe),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_login),
	};

	return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
