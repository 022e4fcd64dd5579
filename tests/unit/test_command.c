/*
 * test_command.c - splitting a command's words, and running it.
 *
 * Each run is in a process of its own: what command_run does about signals
 * lasts.
 */
#include "drive.h"

#include <signal.h>
#include <sys/wait.h>

#include "system/clock.h"
#include "system/command.h"
#include "system/process.h"

static struct error error;

/* ---- words ---- */

static void
test_words(void **state)
{
	static const struct {
		const char *text;
		const char *words[5];
	} rows[] = {
		{ "true", { "true" } },
		{ "a b c", { "a", "b", "c" } },
		{ "  a \t b  ", { "a", "b" } },
		{ "a 'b c' d", { "a", "b c", "d" } },
		{ "a \"b c\" d", { "a", "b c", "d" } },
		{ "a''b \"\"c", { "ab", "c" } },
		{ "'' a \"\"", { "", "a", "" } },
		{ "a'b'\"c\"d", { "abcd" } },
		{ "a\\ b c\\\\d", { "a b", "c\\d" } },
		{ "\\'a\\\" b", { "'a\"", "b" } },
		/* In single quotes a backslash is one. */
		{ "'a\\b' '\\'", { "a\\b", "\\" } },
		/* In double quotes only before what it could protect. */
		{ "\"a\\\"b\" \"\\\\\" \"\\n\" \"\\$x\\`\"",
		    { "a\"b", "\\", "\\n", "$x`" } },
		{ "'a\"b' \"c'd\"", { "a\"b", "c'd" } },
		/* Nothing is expanded. */
		{ "$HOME * ~ `x`", { "$HOME", "*", "~", "`x`" } },
		{ "a;b|c>d #e", { "a;b|c>d", "#e" } },
		{ "a\nb", { "a\nb" } },
		{ "a\\", { "a\\" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct command_line line;
		size_t n = 0;

		if (command_line_parse(&line, rows[i].text, "--x",
		    &error) != 0)
			fail_msg("%s: %s", rows[i].text, error.text);
		for (; n < 5 && rows[i].words[n] != NULL; n++) {
			assert_non_null(line.words[n]);
			assert_string_equal(line.words[n],
			    rows[i].words[n]);
		}
		assert_null(line.words[n]);
		command_line_free(&line);
		command_line_free(&line);
	}
}

static void
test_bad_words(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "", "--x: no command" },
		{ " \t ", "--x: no command" },
		{ "a 'b", "--x: a quote without its end" },
		{ "a \"b", "--x: a quote without its end" },
		{ "a \"b\\\"", "--x: a quote without its end" },
		{ "'", "--x: a quote without its end" },
	};
	struct command_line line;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(command_line_parse(&line, rows[i].text,
		    "--x", &error), -1);
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(error.kind, ERROR_CONFIG);
	}
	for (size_t n = COMMAND_WORDS_MAX - 1; n <= COMMAND_WORDS_MAX + 1;
	    n++) {
		struct text text = { .data = NULL };
		bool fits = n <= COMMAND_WORDS_MAX;

		for (size_t i = 0; i < n; i++)
			text_add(&text, SLICE("a "));
		assert_int_equal(command_line_parse(&line, text.data, "--x",
		    &error), fits ? 0 : -1);
		if (fits) {
			assert_non_null(line.words[n - 1]);
			assert_null(line.words[n]);
			command_line_free(&line);
		} else {
			assert_text(error.text, "--x: more than 64 words");
		}
		text_free(&text);
	}
}

/* Any text at all, for the sanitizers: the words never outgrow it. */
static void
test_random_words(void **state)
{
	static const char alphabet[] = "ab '\"\\\t";
	uint64_t seed = 9;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char text[24];
		struct command_line line;
		size_t len = chance(&seed, sizeof(text));

		for (size_t k = 0; k < len; k++)
			text[k] = alphabet[chance(&seed,
			    sizeof(alphabet) - 1)];
		text[len] = '\0';
		if (command_line_parse(&line, text, "--x", &error) == 0) {
			size_t octets = 0;

			for (size_t k = 0; line.words[k] != NULL; k++)
				octets += strlen(line.words[k]);
			assert_true(octets <= len);
		}
		command_line_free(&line);
	}
}

static void
check_program(const char *text, const char *why)
{
	struct command_line line;

	assert_int_equal(command_line_parse(&line, text, "--x", &error), 0);
	int checked = command_line_check(&line, "--x", &error);
	command_line_free(&line);
	assert_int_equal(checked, why == NULL ? 0 : -1);
	if (why == NULL)
		return;
	assert_string_equal(error.text, why);
	assert_int_equal(error.kind, ERROR_CONFIG);
}

static void
test_check(void **state)
{
	struct directory directory;

	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	directory_put(&directory, "plain", SLICE("#!/bin/sh\n"));
	directory_mkdir(&directory, "folder");
	setenv("PATH", "/nonexistent:/bin:/usr/bin", 1);
	check_program("sh -c x", NULL);
	check_program("/bin/sh", NULL);
	check_program("no-such-program-here x",
	    "--x: no-such-program-here: not found in PATH");
	check_program("/no/such/program",
	    "--x: /no/such/program: No such file or directory");
	check_program("./folder", "--x: ./folder: Permission denied");
	check_program("./plain", "--x: ./plain: Permission denied");
	/* A directory in PATH is no program either. */
	setenv("PATH", directory.path, 1);
	check_program("folder", "--x: folder: not found in PATH");
	check_program("plain", "--x: plain: not found in PATH");
	assert_int_equal(chmod("plain", 0755), 0);
	check_program("plain", NULL);
	check_program("./plain", NULL);
	setenv("PATH", "/bin:/usr/bin", 1);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
}

/* ---- running ---- */

static const char *run_text;
static struct slice run_input;
static unsigned run_timeout;
static int report_fd;
static bool inherited; /* does what is run hold the report's pipe, too? */

static void
run_and_report(void)
{
	struct command_line line;

	signal(SIGPIPE, SIG_IGN);
	if (command_line_parse(&line, run_text, "--x", &error) != 0)
		_exit(1);
	int status = command_run(&line, 3, run_input, run_timeout, &error);
	command_line_free(&line);
	if (status < 0)
		dprintf(report_fd, "error %d: %s", (int)error.kind,
		    error.text);
	else
		dprintf(report_fd, "%d", status);
}

/* What command_run says to it, in a process of its own. */
static void
check_run(const char *text, struct slice input, const char *want)
{
	char got[512];
	size_t len = 0;
	ssize_t n;
	int fds[2];
	int status;

	run_text = text;
	run_input = input;
	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(20);
		report_fd = fcntl(fds[1], inherited ? F_DUPFD
		    : F_DUPFD_CLOEXEC, 100);
		close(fds[0]);
		close(fds[1]);
		run_and_report();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], got + len, sizeof(got) - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_slices(((struct slice){ got, len }), slice_from(want));
}

static void
test_status(void **state)
{
	(void)state;
	run_timeout = 10;
	check_run("true", SLICE(""), "0");
	check_run("false", SLICE(""), "1");
	check_run("sh -c 'exit 111'", SLICE(""), "111");
	check_run("sh -c 'exit 255'", SLICE(""), "255");
	assert_int_equal(ERROR_SYSTEM, 3);
	check_run("no-such-program-here", SLICE(""),
	    "error 3: no-such-program-here: cannot be run");
	check_run("/", SLICE(""), "error 3: /: cannot be run");
	check_run("sh -c 'kill -9 $$'", SLICE(""),
	    "error 3: sh: killed by signal 9");
	/* Words are words: no shell came between. */
	check_run("test 'a  b' = 'a  b'", SLICE(""), "0");
	check_run("test $HOME = x", SLICE(""), "1");
	check_run("test * = '*'", SLICE(""), "0");
}

/* What we ignore, or block, the program does not. */
static void
test_signals(void **state)
{
	(void)state;
	run_timeout = 10;
	check_run("sh -c 'kill -PIPE $$; exit 1'", SLICE(""),
	    "error 3: sh: killed by signal 13");
	check_run("sh -c 'kill -TERM $$; exit 1'", SLICE(""),
	    "error 3: sh: killed by signal 15");
	check_run("sh -c 'kill -CHLD $$; exit 1'", SLICE(""), "1");
}

/* On descriptor 3, octet by octet, with an end. */
static void
test_input(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	run_timeout = 10;
	check_run("sh -c 'test \"$(tr \"\\\\000\" . <&3)\" = joe.pw.0.'",
	    SLICE("joe\0pw\0" "0\0"), "0");
	check_run("sh -c 'test \"$(wc -c <&3)\" -eq 0'", SLICE(""), "0");
	text_repeat(&text, 'x', 4096);
	check_run("sh -c 'test \"$(wc -c <&3)\" -eq 4096'",
	    text_slice(&text), "0");
	text_repeat(&text, 'x', 1);
	check_run("true", text_slice(&text), "error 3: too much input");
	text_free(&text);
	/* Whoever does not read it harms nobody. */
	check_run("true", SLICE("joe\0pw\0" "0\0"), "0");
	check_run("sh -c 'exec 3<&-; exit 7'", SLICE("joe"), "7");
}

/* Over its time it is killed, and with it what it started: else the report
 * would have no end for as long as that sleeps. */
static void
test_timeout(void **state)
{
	int64_t began = clock_now();

	(void)state;
	run_timeout = 1;
	inherited = true;
	assert_int_equal(ERROR_TIMEOUT, 8);
	check_run("sh -c 'sleep 30 & sleep 30'", SLICE(""),
	    "error 8: sh: took over 1 s");
	inherited = false;
	assert_true(clock_now() - began >= 1000);
	assert_true(clock_now() - began < 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_random_words),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_timeout),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
