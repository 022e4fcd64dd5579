/*
 * test_hook_reply.c - what a hook's exit status and first line of output mean.
 */
#include "drive.h"

#include "protocol/hook_reply.h"

static const char *const decisions[] = { "go on", "drop", "refuse" };

static void
check(int status, struct slice line, const char *want)
{
	static struct hook_reply made;
	char got[HOOK_REPLY_TEXT_MAX + 100];

	hook_reply_make(&made, status, line, "2.1.5");
	snprintf(got, sizeof(got), "%s: %u %s %.*s%s",
	    decisions[made.decision], made.reply.code, made.reply.enhanced,
	    SLICE_ARG(made.reply.text), made.contradicts ? " [ignored]" : "");
	if (strcmp(got, want) != 0)
		fail_msg("%d '%.*s': got '%s', want '%s'", status,
		    SLICE_ARG(line), got, want);
}

/* Every status there can be, and none. */
static void
test_statuses(void **state)
{
	(void)state;
	for (int status = -1; status <= 255; status++) {
		struct hook_reply made;
		const char *want =
		    status == 0 ? "go on: 250 2.1.5 "
		    : status == 99 ? "drop: 250 2.1.5 "
		    : status == 100 ? "refuse: 550 5.7.1 Refused"
		    : status == 77 ? "refuse: 550 5.7.1 Not permitted"
		    : status == 65 ? "refuse: 550 5.6.0 "
		          "Not acceptable as it is"
		    : status == 67 ? "refuse: 550 5.1.1 "
		          "There is no such mailbox here"
		    : status == 69 ? "refuse: 550 5.3.0 Not available"
		    : "refuse: 451 4.7.1 Try again later";
		bool expected = status == 0 || status == 99 ||
		    status == 100 || status == 77 || status == 65 ||
		    status == 67 || status == 69 || status == 75 ||
		    status == 111;

		check(status, SLICE(""), want);
		hook_reply_make(&made, status, SLICE(""), "2.1.5");
		assert_int_equal(made.expected, expected);
	}
}

static void
test_lines(void **state)
{
	static const struct {
		int status;
		const char *line;
		const char *want;
	} rows[] = {
		{ 77, "No", "refuse: 550 5.7.1 No" },
		{ 77, " No such luck  ", "refuse: 550 5.7.1 No such luck" },
		{ 77, "No\r", "refuse: 550 5.7.1 No" },
		{ 77, "554 No", "refuse: 554 5.7.1 No" },
		{ 77, "554 5.7.13 No", "refuse: 554 5.7.13 No" },
		{ 77, "5.2.2 Full", "refuse: 550 5.2.2 Full" },
		{ 77, "5.123.123 Full", "refuse: 550 5.123.123 Full" },
		{ 77, "554  5.2.2  Full", "refuse: 554 5.2.2 Full" },
		{ 77, "554", "refuse: 554 5.7.1 Not permitted" },
		{ 77, "5.2.2", "refuse: 550 5.2.2 Not permitted" },
		{ 77, "554 5.2.2", "refuse: 554 5.2.2 Not permitted" },
		{ 75, "452 4.2.2 Full", "refuse: 452 4.2.2 Full" },
		{ 75, "421 4.3.2 Bye", "refuse: 421 4.3.2 Bye" },
		{ 1, "450 Later", "refuse: 450 4.7.1 Later" },
		{ -1, "450 Later", "refuse: 450 4.7.1 Later" },
		{ 0, "251 2.1.5 Moved", "go on: 251 2.1.5 Moved" },
		{ 0, "Queued as 7", "go on: 250 2.1.5 Queued as 7" },
		{ 99, "Thanks", "drop: 250 2.1.5 Thanks" },
		/* Of another class: ignored. */
		{ 77, "250 Fine",
		    "refuse: 550 5.7.1 Not permitted [ignored]" },
		{ 77, "451 4.7.1 Later",
		    "refuse: 550 5.7.1 Not permitted [ignored]" },
		{ 77, "4.7.1 Later",
		    "refuse: 550 5.7.1 Not permitted [ignored]" },
		{ 77, "550 2.0.0 No",
		    "refuse: 550 5.7.1 Not permitted [ignored]" },
		{ 0, "550 5.7.1 No", "go on: 250 2.1.5  [ignored]" },
		{ 0, "354 Go", "go on: 250 2.1.5  [ignored]" },
		{ 99, "4.0.0 No", "drop: 250 2.1.5  [ignored]" },
		{ 1, "550 No", "refuse: 451 4.7.1 Try again later [ignored]" },
		{ 1, "100 No", "refuse: 451 4.7.1 Try again later [ignored]" },
		/* No codes: text. */
		{ 77, "5500 No", "refuse: 550 5.7.1 5500 No" },
		{ 77, "000 No", "refuse: 550 5.7.1 000 No" },
		{ 77, "55 No", "refuse: 550 5.7.1 55 No" },
		{ 77, "550-No", "refuse: 550 5.7.1 550-No" },
		{ 77, "5.7 No", "refuse: 550 5.7.1 5.7 No" },
		{ 77, "5.7.1. No", "refuse: 550 5.7.1 5.7.1. No" },
		{ 77, "5..1 No", "refuse: 550 5.7.1 5..1 No" },
		{ 77, "5.7. No", "refuse: 550 5.7.1 5.7. No" },
		{ 77, "55.7.1 No", "refuse: 550 5.7.1 55.7.1 No" },
		{ 77, "5.7777.1 No", "refuse: 550 5.7.1 5.7777.1 No" },
		{ 77, "5.7.1.1 No", "refuse: 550 5.7.1 5.7.1.1 No" },
		/* Nothing that could be more than a line's text. */
		{ 77, "a\tb\rc\x7f\xc3\xbc\x1b[0m d",
		    "refuse: 550 5.7.1 a?b?c????[0m d" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check(rows[i].status, slice_from(rows[i].line),
		    rows[i].want);
	check(77, (struct slice){ "a\0b", 3 }, "refuse: 550 5.7.1 a?b");
}

static void
test_length(void **state)
{
	struct text line = { .data = NULL }, want = { .data = NULL };

	(void)state;
	text_add(&line, SLICE("554 5.7.1 "));
	text_add(&want, SLICE("refuse: 554 5.7.1 "));
	text_repeat(&line, 'x', HOOK_REPLY_TEXT_MAX);
	text_repeat(&want, 'x', HOOK_REPLY_TEXT_MAX);
	check(77, text_slice(&line), want.data);
	text_add(&line, SLICE("yz"));
	check(77, text_slice(&line), want.data);
	text_free(&line);
	text_free(&want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests_name("hook_reply", tests, NULL, NULL);
}
