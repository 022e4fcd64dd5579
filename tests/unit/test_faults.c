/*
 * test_faults.c - the lines of --faults: what they mean, what they match, and
 * which matches count.
 */
#include "drive.h"

#include <sys/wait.h>

#include "system/faults.h"
#include "system/faults_count.h"

static struct error error;
static struct faults faults;
static char text[FAULTS_FILE_MAX];

static int
parse(const char *lines)
{
	snprintf(text, sizeof(text), "%s", lines);
	memset(&error, 0, sizeof(error));
	return faults_parse(&faults, "f", text, strlen(text), NULL, &error);
}

static const char *const whens[] = { "", "first", "every", "over" };
static const char *const actions[] = { "nothing", "reply", "drop", "slow",
	"lose-reply" };

/* What a line means, in words. */
static void
describe(const struct fault *fault, char *out, size_t size)
{
	size_t len = (size_t)snprintf(out, size, "%s %s:",
	    fault_event_name(fault->event), fault->pattern);

	if (fault->when != FAULT_ALWAYS)
		len += (size_t)snprintf(out + len, size - len, " %s %ju/%ju",
		    whens[fault->when], (uintmax_t)fault->n,
		    (uintmax_t)fault->seconds);
	if (fault->delay > 0)
		len += (size_t)snprintf(out + len, size - len, " delay %ju",
		    (uintmax_t)fault->delay);
	len += (size_t)snprintf(out + len, size - len, " %s",
	    actions[fault->action]);
	if (fault->has_octets || fault->action == FAULT_SLOW)
		len += (size_t)snprintf(out + len, size - len, " %ju",
		    (uintmax_t)fault->octets);
	if (fault->action == FAULT_REPLY)
		snprintf(out + len, size - len, " %u|%s|%.*s",
		    fault->reply.code, fault->reply.enhanced != NULL
		    ? fault->reply.enhanced : "",
		    SLICE_ARG(fault->reply.text));
}

static void
test_lines(void **state)
{
	static const struct { const char *line, *want; } rows[] = {
		{ "rcpt soft*@example.org  451 4.7.1 Greylisted, come back",
		    "rcpt soft*@example.org: reply 451|4.7.1|"
		    "Greylisted, come back" },
		{ "rcpt\t*\tfirst 2  452 4.2.2 Mailbox is full ",
		    "rcpt *: first 2/0 reply 452|4.2.2|Mailbox is full" },
		{ "mail *@slow.example delay 30",
		    "mail *@slow.example: delay 30000 nothing" },
		{ "login locked 535 5.7.8",
		    "login locked: reply 535|5.7.8|" },
		{ "data * drop            # where 354 should be",
		    "data *: drop" },
		{ "message big@* 552 5.3.4 # after the text",
		    "message big@*: reply 552|5.3.4|" },
		{ "retr 2 drop 1000 # after so many",
		    "retr 2: drop 1000" },
		{ "connect * 421 4.3.2 Maintenance",
		    "connect *: reply 421|4.3.2|Maintenance" },
		{ "starttls * 454 No\r", "starttls *: reply 454||No" },
		{ "quit * lose-reply", "quit *: lose-reply" },
		{ "quit * drop 0", "quit *: drop 0" },
		{ "rcpt a#b 550 #1 x", "rcpt a#b: reply 550||" },
		{ "rcpt a 550 a#b", "rcpt a: reply 550||a#b" },
		{ "rcpt a 550 5.7 x", "rcpt a: reply 550||5.7 x" },
		{ "rcpt a 550 4.7.1 x", "rcpt a: reply 550||4.7.1 x" },
		{ "mail a over 10 per 60 421 4.7.0 Slow down",
		    "mail a: over 10/60 reply 421|4.7.0|Slow down" },
		{ "mail a over 0 per 1 drop", "mail a: over 0/1 drop" },
		{ "list * every 3 drop", "list *: every 3/0 drop" },
		{ "retr * slow 100", "retr *: slow 100" },
		{ "retr * delay 0.25 then slow 100",
		    "retr *: delay 250 slow 100" },
		{ "retr * first 1 delay 2.5 lose-reply",
		    "retr *: first 1/0 delay 2500 lose-reply" },
		{ "stat * -ERR [SYS/TEMP] Later",
		    "stat *: reply 0||[SYS/TEMP] Later" },
		{ "stat * [SYS/TEMP] Later",
		    "stat *: reply 0||[SYS/TEMP] Later" },
		{ "stat * Later please", "stat *: reply 0||Later please" },
		{ "uidl * -ERR later", "uidl *: reply 0||later" },
		{ "top * 550 No", "top *: reply 550||No" },
		{ "dele * -ERR", "dele *: reply 0||" },
	};
	char got[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (parse(rows[i].line) != 0)
			fail_msg("%s: %s", rows[i].line, error.text);
		assert_int_equal(faults.n, 1);
		describe(&faults.items[0], got, sizeof(got));
		assert_string_equal(got, rows[i].want);
		faults_free(&faults);
	}
}

static void
test_wrong_lines(void **state)
{
	static const struct { const char *line, *why; } rows[] = {
		{ "noop * 550", "no event" },
		{ "RCPT * 550", "no event" },
		{ "rcpt", "a pattern is missing" },
		{ "rcpt *", "what is to happen is missing" },
		{ "rcpt * first 2", "what is to happen is missing" },
		{ "rcpt * explode", "neither a reply" },
		{ "rcpt * Explode", "neither a reply" },
		{ "rcpt * -ERR no", "neither a reply" },
		{ "retr * explode", "neither a reply" },
		{ "rcpt * 55 x", "neither a reply" },
		{ "rcpt * 250 2.0.0 Ok", "a reply is 400 to 599" },
		{ "rcpt * 600", "a reply is 400 to 599" },
		{ "rcpt * first", "a number" },
		{ "rcpt * first 0 550", "a number" },
		{ "rcpt * first x 550", "a number" },
		{ "rcpt * every -1 550", "a number" },
		{ "rcpt * over 3 60 550", "it is: over N per SECONDS" },
		{ "rcpt * over 3 per 0 550", "a number" },
		{ "rcpt * over 3 per 100000 550", "a number" },
		{ "rcpt * delay", "delay takes seconds" },
		{ "rcpt * delay x", "delay takes seconds" },
		{ "rcpt * delay 1.2345", "delay takes seconds" },
		{ "rcpt * delay 1. drop", "delay takes seconds" },
		{ "rcpt * delay 3 then", "what is to happen is missing" },
		{ "rcpt * delay 3 then first 2 550", "neither a reply" },
		{ "rcpt * drop x", "a number" },
		{ "rcpt * drop 1 2", "something stands behind it" },
		{ "rcpt * slow", "a number" },
		{ "rcpt * slow 0", "a number" },
		{ "rcpt * lose-reply 5", "something stands behind it" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char lines[200], begins[200];

		snprintf(lines, sizeof(lines), "\n# x\nquit * drop\n%s\n",
		    rows[i].line);
		if (parse(lines) == 0)
			fail_msg("%s is taken", rows[i].line);
		snprintf(begins, sizeof(begins), "f:4: %s", rows[i].why);
		if (strncmp(error.text, begins, strlen(begins)) != 0)
			fail_msg("%s: %s", rows[i].line, error.text);
		assert_int_equal(error.kind, ERROR_CONFIG);
		/* The right ones are there all the same. */
		assert_int_equal(faults.n, 1);
		faults_free(&faults);
	}
}

static unsigned wrong_lines;

static void
count_wrong(const struct error *one)
{
	assert_non_null(strstr(one->text, "f:"));
	wrong_lines++;
}

static void
test_every_wrong_line(void **state)
{
	struct text many = { .data = NULL };

	(void)state;
	snprintf(text, sizeof(text), "x\nquit * drop\ny * z\nrcpt * q");
	wrong_lines = 0;
	assert_int_equal(faults_parse(&faults, "f", text, strlen(text),
	    count_wrong, &error), -1);
	assert_int_equal(wrong_lines, 3);
	assert_int_equal(strncmp(error.text, "f:1: ", 5), 0);
	faults_free(&faults);
	for (int i = 0; i < FAULTS_MAX; i++)
		text_add(&many, SLICE("rcpt * drop\n"));
	assert_int_equal(parse(many.data), 0);
	assert_int_equal(faults.n, FAULTS_MAX);
	faults_free(&faults);
	text_add(&many, SLICE("rcpt * drop\n"));
	assert_int_equal(parse(many.data), -1);
	assert_string_equal(error.text, "f:257: more than 256 lines");
	faults_free(&faults);
	text_free(&many);
	assert_int_equal(parse(""), 0);
	faults_free(&faults);
}

static void
test_patterns(void **state)
{
	static const struct {
		const char *line;
		enum fault_event event;
		const char *subjects[2];
		bool want;
	} rows[] = {
		{ "rcpt * drop", FAULT_RCPT, { "a@x" }, true },
		{ "rcpt * drop", FAULT_RCPT, { "" }, true },
		{ "rcpt * drop", FAULT_MAIL, { "a@x" }, false },
		{ "rcpt a@* drop", FAULT_RCPT, { "a@x" }, true },
		{ "rcpt a@* drop", FAULT_RCPT, { "A@X" }, true },
		{ "rcpt a@* drop", FAULT_RCPT, { "ba@x" }, false },
		{ "rcpt a?@x drop", FAULT_RCPT, { "ab@x" }, true },
		{ "rcpt [ab]@x drop", FAULT_RCPT, { "b@x" }, true },
		{ "rcpt [!ab]@x drop", FAULT_RCPT, { "b@x" }, false },
		{ "rcpt a*z drop", FAULT_RCPT, { "a/b/z" }, true },
		{ "rcpt .* drop", FAULT_RCPT, { ".a" }, true },
		{ "message b@* drop", FAULT_MESSAGE, { "a@x", "b@x" }, true },
		{ "retr 2 drop", FAULT_RETR, { "2" }, true },
		{ "retr 2 drop", FAULT_RETR, { "22" }, false },
		{ "retr [2-4] drop", FAULT_RETR, { "3" }, true },
	};
	static char longer[4000];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice subjects[2] = {
			slice_from(rows[i].subjects[0]),
			slice_from(rows[i].subjects[1]),
		};

		assert_int_equal(parse(rows[i].line), 0);
		if (fault_matches(&faults.items[0], rows[i].event, subjects,
		    rows[i].subjects[1] != NULL ? 2 : 1) != rows[i].want)
			fail_msg("%s: %s", rows[i].line, rows[i].subjects[0]);
		faults_free(&faults);
	}
	memset(longer, 'a', sizeof(longer));
	struct slice subject = { longer, sizeof(longer) };
	assert_int_equal(parse("rcpt a* drop\nrcpt * drop\nrcpt a drop"), 0);
	assert_false(fault_matches(&faults.items[0], FAULT_RCPT, &subject, 1));
	assert_true(fault_matches(&faults.items[1], FAULT_RCPT, &subject, 1));
	subject = (struct slice){ "a\0b", 3 };
	assert_false(fault_matches(&faults.items[2], FAULT_RCPT, &subject, 1));
	faults_free(&faults);
}

/* ---- counting ---- */

static struct directory directory;
static char path[300];

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	snprintf(path, sizeof(path), "%s/f", directory.path);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	directory_remove(&directory);
	return 0;
}

static void
parse_here(const char *lines)
{
	assert_int_equal(parse(lines), 0);
	faults.path = path;
}

/* "1" for each match that is due. */
static void
check_counts(size_t i, int64_t now, int64_t step, const char *want)
{
	char got[64] = "";

	for (size_t k = 0; k < strlen(want); k++) {
		bool due;

		if (fault_count(&faults, &faults.items[i],
		    now + step * (int64_t)k, &due, &error) != 0)
			fail_msg("%s", error.text);
		got[k] = due ? '1' : '0';
	}
	assert_string_equal(got, want);
}

static void
test_counts(void **state)
{
	(void)state;
	parse_here("rcpt * first 2 550\nrcpt * every 3 550\nrcpt * 550\n"
	    "rcpt * over 3 per 10 450");
	check_counts(2, 0, 0, "1111");
	check_counts(0, 0, 0, "11000");
	check_counts(1, 0, 0, "0010010");
	check_counts(0, 0, 0, "00");
	check_counts(1, 0, 0, "01");
	/* Three pass, until 10 s after the first of them. */
	check_counts(3, 1000000, 1000, "0001111111000111111100011111");
	/* A clock that was put back. */
	check_counts(3, 500000, 1, "0001");
	faults_free(&faults);
	/* Other lines, other places: the text is what counts. */
	parse_here("mail * drop\n\n  quit * first 1 drop\nrcpt * first 2 550");
	check_counts(2, 0, 0, "00");
	check_counts(1, 0, 0, "10");
	char state_file[400];
	snprintf(state_file, sizeof(state_file), "%s.state", path);
	assert_int_equal(unlink(state_file), 0);
	check_counts(2, 0, 0, "110");
	faults_free(&faults);
}

/* What is no state begins anew, and is one then. */
static void
test_broken_state(void **state)
{
	static const char *const broken[] = { "", "\n\n\n", "x", "1 2\n3",
		"zz zz zz\n", "ffffffffffffffffffffffff 1 1" };

	(void)state;
	for (size_t i = 0; i < COUNT(broken); i++) {
		directory_put(&directory, "f.state", slice_from(broken[i]));
		parse_here("rcpt * first 1 550");
		check_counts(0, 0, 0, "10");
		faults_free(&faults);
	}
}

static void
test_no_state(void **state)
{
	bool due;

	(void)state;
	parse_here("rcpt * 550\nrcpt * first 1 550");
	faults.path = "/nonexistent/f";
	assert_int_equal(fault_count(&faults, &faults.items[0], 0, &due,
	    &error), 0);
	assert_int_equal(fault_count(&faults, &faults.items[1], 0, &due,
	    &error), -1);
	assert_int_equal(faults_count_check(&faults, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	faults.path = path;
	assert_int_equal(faults_count_check(&faults, &error), 0);
	faults_free(&faults);
}

/* Several sessions at once lose no count. */
static void
test_sessions_at_once(void **state)
{
	enum { SESSIONS = 8, EACH = 50 };
	int due_in_all = 0;

	(void)state;
	parse_here("rcpt * first 100 550");
	fflush(NULL);
	for (int i = 0; i < SESSIONS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		int n = 0;
		for (int k = 0; k < EACH; k++) {
			bool due = false;

			if (fault_count(&faults, &faults.items[0], 0, &due,
			    &error) != 0)
				_exit(255);
			n += due;
		}
		_exit(n);
	}
	for (int i = 0; i < SESSIONS; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
		due_in_all += WEXITSTATUS(status);
	}
	assert_int_equal(due_in_all, 100);
	faults_free(&faults);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_wrong_lines),
		cmocka_unit_test(test_every_wrong_line),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test_setup_teardown(test_counts, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_broken_state, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_no_state, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_sessions_at_once, set_up,
		    tear_down),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
