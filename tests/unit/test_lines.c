/*
 * test_lines.c - a text cut into lines, and addresses at our own domains.
 */
#include "drive.h"

#include "base/lines.h"
#include "protocol/domains.h"

static void
check_lines(const char *text, size_t n, const char *const *want)
{
	char copy[64];
	struct lines lines = { .next = copy };
	char *line;

	snprintf(copy, sizeof(copy), "%s", text);
	for (size_t i = 0; i < n; i++) {
		line = lines_next(&lines);
		assert_non_null(line);
		assert_string_equal(line, want[i]);
		assert_int_equal(lines.number, i + 1);
	}
	assert_null(lines_next(&lines));
	assert_null(lines_next(&lines));
	assert_int_equal(lines.number, n);
}

#define CHECK_LINES(text, ...) do { \
	static const char *const want[] = { __VA_ARGS__ }; \
	check_lines(text, COUNT(want), want); \
} while (0)

static void
test_lines(void **state)
{
	(void)state;
	CHECK_LINES("", "");
	CHECK_LINES("\n", "", "");
	CHECK_LINES("a", "a");
	CHECK_LINES("a\nb", "a", "b");
	CHECK_LINES("a\r\n\r\n\nb \r\n", "a", "", "", "b ", "");
	/* One CR belongs to the line's end, others to the line. */
	CHECK_LINES("a\r\r\n\rb\r", "a\r", "\rb");
}

static void
test_domains(void **state)
{
	static const char *const names[] = { "mail.test", "Example.ORG" };
	const struct domains domains = { names, COUNT(names) };
	const struct domains none = { .n = 0 };
	static const struct { struct slice address, local; } rows[] = {
		{ SLICE("anna@mail.test"), SLICE("anna") },
		{ SLICE("Anna@MAIL.test"), SLICE("Anna") },
		{ SLICE("a@b@example.org"), SLICE("a@b") },
		{ SLICE("@mail.test"), SLICE("") },
		{ SLICE("anna@mail.test."), SLICE("") },
		{ SLICE("anna@x.mail.test"), SLICE("") },
		{ SLICE("mail.test"), SLICE("") },
		{ SLICE("anna@"), SLICE("") },
		{ SLICE(""), SLICE("") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_slices(domains_local_part(&domains, rows[i].address),
		    rows[i].local);
		assert_slices(domains_local_part(&none, rows[i].address),
		    SLICE(""));
	}
	assert_true(domains_have(&domains, SLICE("EXAMPLE.org")));
	assert_false(domains_have(&domains, SLICE("example.or")));
	assert_false(domains_have(&none, SLICE("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_domains),
	};

	return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
