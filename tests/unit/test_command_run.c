/*
 * test_command_run.c - running programs under limits: what they are given,
 * what of theirs is kept, and how each of their ends is told.
 *
 * Each run is in a process of its own: what command_run does about signals
 * lasts.
 */
#include "drive.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "system/command_run.h"
#include "system/clock.h"
#include "system/environment.h"
#include "system/process.h"

static struct error error;

/* What one row does, and what is to come of it. */
struct row {
	const char *command;
	struct slice input;  /* for descriptor 3; NULL data: none */
	unsigned timeout;    /* 0: 10 s */
	bool quiet;          /* nothing is captured */
	bool floods;         /* has always written more before we wait */
	const char *want;    /* "STATUS" or "error KIND: TEXT" */
	const char *output;  /* its first line; NULL: not looked at */
	const char *errors;
};

static const char *const few[] = { "PATH=/usr/bin:/bin", "A=1", NULL };

static bool floods;

/* In place of the library's. Where a program writes without end there is
 * something to read at each wait, and no signal gets in: here that does not
 * depend on whose turn it is. */
int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	struct timespec left = *timeout;
	int ready = floods && n > 0 ? poll(fds, n, 5000) : 0;

	return ready > 0 ? ready
	    : (int)syscall(SYS_ppoll, fds, n, &left, mask, _NSIG / 8);
}

static void
run_and_report(const struct row *row, int report)
{
	static struct command_run run;
	struct command_line line;

	process_init();
	floods = row->floods;
	if (command_line_parse(&line, row->command, "--x", &error) != 0)
		_exit(1);
	run = (struct command_run){
		.line = &line,
		.environment = (char *const *)(uintptr_t)few,
		.input = -1,
		.extra = -1,
		.timeout = row->timeout > 0 ? row->timeout : 10,
		.capture = !row->quiet,
	};
	if (row->input.data != NULL)
		run.extra = command_pipe(row->input, &error);
	if (row->input.data != NULL && run.extra < 0) {
		dprintf(report, "error %d: %s", (int)error.kind, error.text);
		return;
	}
	int status = command_run(&run, &error);
	command_line_free(&line);
	if (status < 0)
		dprintf(report, "error %d: %s", (int)error.kind, error.text);
	else
		dprintf(report, "%d", status);
	if (row->output != NULL)
		dprintf(report, "|%.*s", (int)run.output_len, run.output);
	if (row->errors != NULL)
		dprintf(report, "|%.*s", (int)run.errors_len, run.errors);
}

/* What comes of it, in a process of its own. The report's pipe is inherited
 * by nobody, but where inherited says that the program tries to. */
static void
check_row(const struct row *row, bool inherited)
{
	struct text got = { .data = NULL }, want = { .data = NULL };
	char buffer[4096];
	ssize_t n;
	int fds[2];
	int status;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(30);
		int report = fcntl(fds[1], inherited ? F_DUPFD
		    : F_DUPFD_CLOEXEC, 100);
		close(fds[0]);
		close(fds[1]);
		run_and_report(row, report);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], buffer, sizeof(buffer))) > 0)
		text_add(&got, (struct slice){ buffer, (size_t)n });
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	text_format(&want, "%s%s%s%s%s", row->want,
	    row->output != NULL ? "|" : "",
	    row->output != NULL ? row->output : "",
	    row->errors != NULL ? "|" : "",
	    row->errors != NULL ? row->errors : "");
	if (!slice_equal(text_slice(&got), text_slice(&want)))
		fail_msg("%s: got %.*s, want %.*s", row->command,
		    SLICE_ARG(text_slice(&got)),
		    SLICE_ARG(text_slice(&want)));
	text_free(&got);
	text_free(&want);
}

static void
check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_row(&rows[i], false);
}

/* ---- its end ---- */

static void
test_every_status(void **state)
{
	(void)state;
	for (int status = 0; status <= 255; status++) {
		char command[40], want[8];

		snprintf(command, sizeof(command), "sh -c 'exit %d'", status);
		snprintf(want, sizeof(want), "%d", status);
		check_row(&(struct row){ .command = command, .want = want },
		    false);
	}
}

/* Those that end a program by default; a status would be told otherwise. */
static void
test_every_signal(void **state)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP,
		SIGTTIN, SIGTTOU, SIGURG, SIGWINCH };

	(void)state;
	assert_int_equal(ERROR_SYSTEM, 3);
	for (int number = 1; number <= 31; number++) {
		char command[60], want[60];
		bool ends = true;

		for (size_t i = 0; i < COUNT(harmless); i++)
			ends = ends && number != harmless[i];
		if (!ends)
			continue;
		snprintf(command, sizeof(command),
		    "sh -c 'ulimit -c 0; kill -%d $$; exit 1'", number);
		snprintf(want, sizeof(want),
		    "error 3: sh: killed by signal %d", number);
		check_row(&(struct row){ .command = command, .want = want },
		    false);
	}
}

static void
test_cannot_be_run(void **state)
{
	static const struct row rows[] = {
		{ .command = "no-such-program-here", .want = "error 3: "
		    "no-such-program-here: cannot be run: "
		    "No such file or directory" },
		{ .command = "/", .want =
		    "error 3: /: cannot be run: Permission denied" },
		{ .command = "/etc/passwd", .want =
		    "error 3: /etc/passwd: cannot be run: Permission denied" },
		{ .command = "/no/such/file", .quiet = true, .want = "error 3: "
		    "/no/such/file: cannot be run: "
		    "No such file or directory" },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

/* ---- what it is given ---- */

static void
test_words_and_environment(void **state)
{
	static const struct row rows[] = {
		/* Words are words: no shell came between. */
		{ .command = "test 'a  b' = 'a  b'", .want = "0" },
		{ .command = "test * = '*'", .want = "0" },
		{ .command = "sh -c 'set | grep -c ^HOME='", .want = "1",
		    .output = "0" },
		{ .command = "env", .want = "0",
		    .output = "PATH=/usr/bin:/bin" },
		{ .command = "sh -c 'env | sort | tr \"\\n\" \" \"'",
		    .want = "0", .output = "A=1 PATH=/usr/bin:/bin PWD=/ " },
	};

	(void)state;
	assert_int_equal(chdir("/"), 0);
	check_rows(rows, COUNT(rows));
}

/* On descriptor 3, octet by octet, with an end. */
static void
test_input(void **state)
{
	struct text text = { .data = NULL };
	static const struct row rows[] = {
		{ .command = "sh -c 'tr \"\\\\000\" . <&3'",
		    .input = { "joe\0pw\0" "0\0", 9 }, .want = "0",
		    .output = "joe.pw.0." },
		{ .command = "sh -c 'wc -c <&3'", .input = { "", 0 },
		    .want = "0", .output = "0" },
		{ .command = "sh -c 'wc -c'", .want = "0", .output = "0" },
		/* Whoever does not read it harms nobody. */
		{ .command = "true", .input = { "joe", 3 }, .want = "0" },
		{ .command = "sh -c 'exec 3<&-; exit 7'",
		    .input = { "joe", 3 }, .want = "7" },
		{ .command = "sh -c 'exec 0<&- 1>&- 2>&- 3<&-; exit 7'",
		    .input = { "joe", 3 }, .want = "7" },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
	/* As a token may be. */
	text_repeat(&text, 'x', COMMAND_PIPE_MAX);
	check_row(&(struct row){ .command = "sh -c 'wc -c <&3'",
	    .input = text_slice(&text), .want = "0", .output = "16384" },
	    false);
	text_repeat(&text, 'x', 1);
	check_row(&(struct row){ .command = "true",
	    .input = text_slice(&text),
	    .want = "error 3: too much input" }, false);
	text_free(&text);
}

/* Its own four descriptors and none of ours, be it marked or not; one more is
 * the directory that the shell reads. */
static void
test_descriptors(void **state)
{
	static const struct row rows[] = {
		{ .command = "sh -c 'cd /proc/self/fd && echo *'",
		    .input = { "x", 1 }, .want = "0",
		    .output = "0 1 2 3 4" },
		{ .command = "sh -c 'cd /proc/self/fd && echo *'",
		    .want = "0", .output = "0 1 2 3" },
		{ .command = "sh -c 'test -e /proc/self/fd/100'", .quiet = true,
		    .want = "1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_row(&rows[i], true);
}

/* What we ignore, or block, the program does not. */
static void
test_signals(void **state)
{
	static const struct row rows[] = {
		{ .command = "sh -c 'kill -CHLD $$; exit 1'", .want = "1" },
		{ .command = "sh -c 'grep SigBlk /proc/self/status'",
		    .want = "0", .output = "SigBlk:\t0000000000000000" },
		{ .command = "sh -c 'test $(ps -o pgid= -p $$) = $$'",
		    .want = "0" },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

/* ---- what it says ---- */

static void
test_output(void **state)
{
	struct text line = { .data = NULL };
	static const struct row rows[] = {
		{ .command = "true", .want = "0", .output = "" },
		{ .command = "echo one", .want = "0", .output = "one" },
		{ .command = "printf one", .want = "0", .output = "one" },
		{ .command = "printf 'one\\ntwo\\n'", .want = "0",
		    .output = "one" },
		{ .command = "printf '\\ntwo\\n'", .want = "0",
		    .output = "" },
		{ .command = "sh -c 'echo one; sleep 0.1; echo two; exit 3'",
		    .want = "3", .output = "one", .errors = "" },
		{ .command = "sh -c 'echo one >&2; echo two; echo three >&2'",
		    .want = "0", .output = "two", .errors = "one\nthree\n" },
		/* Killed, it has spoken all the same. */
		{ .command = "sh -c 'echo one; echo e >&2; kill -9 $$'",
		    .want = "error 3: sh: killed by signal 9",
		    .output = "one", .errors = "e\n" },
		/* Without end, on both. */
		{ .command = "sh -c 'yes | head -c 10000000; "
		    "yes e | head -c 10000000 >&2'", .want = "0",
		    .output = "y", .errors = "e\ne\ne\ne\ne\ne\ne\ne\ne\ne\n"
		    "e\ne\ne\ne\ne\ne\ne\ne\ne\ne\n" },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
	text_repeat(&line, 'x', COMMAND_OUTPUT_MAX);
	check_row(&(struct row){ .want = "0", .output = line.data,
	    .command = "sh -c 'head -c 10000000 /dev/zero | tr \"\\\\0\" x'" },
	    false);
	text_repeat(&line, 'x', COMMAND_ERROR_LINE_MAX - COMMAND_OUTPUT_MAX);
	text_add(&line, SLICE("\nend"));
	check_row(&(struct row){ .want = "0", .errors = line.data,
	    .command = "sh -c 'head -c 1000 /dev/zero | tr \"\\\\0\" x >&2; "
	    "printf \"\\nend\" >&2'" }, false);
	text_free(&line);
}

/* ---- its time ---- */

/* Over its time it is ended, and with it what it started: else the report
 * would have no end for as long as that sleeps. */
static void
test_timeout(void **state)
{
	static const struct row rows[] = {
		{ .command = "sh -c 'sleep 30 & sleep 30'", .timeout = 1,
		    .want = "error 8: sh: took over 1 s" },
		{ .command = "sh -c 'echo no >&2; exec sleep 30'",
		    .timeout = 1, .want = "error 8: sh: took over 1 s",
		    .errors = "no\n" },
		{ .command = "yes", .timeout = 1,
		    .want = "error 8: yes: took over 1 s", .output = "y" },
		/* Those that ignore SIGTERM get SIGKILL. */
		{ .command = "sh -c 'trap \"\" TERM; sleep 30 & "
		    "while :; do sleep 30; done'", .timeout = 1,
		    .want = "error 8: sh: took over 1 s" },
		{ .command = "sh -c '(trap \"\" TERM; sleep 30) & sleep 30'",
		    .timeout = 1, .want = "error 8: sh: took over 1 s" },
		/* What tidies up has the time to. */
		{ .command = "sh -c 'trap \"echo bye >&2; exit\" TERM; "
		    "sleep 30 & wait'", .timeout = 1,
		    .want = "error 8: sh: took over 1 s", .errors = "bye\n" },
	};

	(void)state;
	assert_int_equal(ERROR_TIMEOUT, 8);
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t began = clock_now();

		check_row(&rows[i], false);
		assert_in_range(clock_now() - began, 1000, 15000);
	}
}

/* SIGTERM to us ends it, however fast it writes: its output is always ready to
 * be read. */
static void
test_stop(void **state)
{
	static const struct row rows[] = {
		{ .command = "sh -c 'kill -TERM $PPID; sleep 60'",
		    .timeout = 60,
		    .want = "error 8: sh: stopped within 60 s" },
		{ .command = "sh -c 'kill -TERM $PPID; yes'", .timeout = 20,
		    .floods = true,
		    .want = "error 8: sh: stopped within 20 s" },
		{ .command = "sh -c 'kill -TERM $PPID; yes >&2'",
		    .timeout = 20, .floods = true,
		    .want = "error 8: sh: stopped within 20 s" },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

/* What it leaves running is not waited for, whatever that holds open. */
static void
test_what_it_leaves(void **state)
{
	static const struct row rows[] = {
		{ .command = "sh -c 'sleep 20 & echo one'", .want = "0",
		    .output = "one" },
		{ .command = "sh -c '(yes & yes >&2) & echo one; exit 2'",
		    .want = "2" },
	};
	int64_t began = clock_now();

	(void)state;
	check_rows(rows, COUNT(rows));
	assert_true(clock_now() - began < 15000);
}

/* ---- the environment that is made for it ---- */

static void
check_has(const struct environment *environment, const char *item, bool want)
{
	bool found = false;

	for (size_t i = 0; environment->items[i] != NULL; i++)
		found = found || strcmp(environment->items[i], item) == 0;
	if (found != want)
		fail_msg("%s: %d", item, found);
}

static void
test_environment(void **state)
{
	static const char *const kept[] = { "PATH", "LANG", "LC_ALL",
		"LC_TIME", "TZ", "HOME", "TMPDIR" };
	static const char *const dropped[] = { "CREDENTIALS_DIRECTORY",
		"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
		"JOURNAL_STREAM", "PATHS", "PAT", "LC", "TZDIR", "HOMES",
		"REMOTE_ADDR", "LD_PRELOAD" };
	struct environment environment;
	char item[80];

	char *nothing[] = { NULL };
	char **ours = environ;

	(void)state;
	environ = nothing;
	environment_init(&environment);
	assert_null(environment.items[0]);
	environment_free(&environment);
	for (size_t i = 0; i < COUNT(kept); i++)
		setenv(kept[i], "v=1 2", 1);
	for (size_t i = 0; i < COUNT(dropped); i++)
		setenv(dropped[i], "v", 1);
	environment_init(&environment);
	for (size_t i = 0; i < COUNT(kept); i++) {
		snprintf(item, sizeof(item), "%s=v=1 2", kept[i]);
		check_has(&environment, item, true);
	}
	for (size_t i = 0; i < COUNT(dropped); i++) {
		snprintf(item, sizeof(item), "%s=v", dropped[i]);
		check_has(&environment, item, false);
	}
	assert_null(environment.items[COUNT(kept)]);
	environ = ours;
	environment_add(&environment, "MAIL_A", SLICE("x\ny"));
	environment_add(&environment, "MAIL_B", ((struct slice){ "x\0y", 3 }));
	environment_add(&environment, "MAIL_C", SLICE(""));
	environment_add_number(&environment, "MAIL_D", UINT64_MAX);
	check_has(&environment, "MAIL_A=x\ny", true);
	check_has(&environment, "MAIL_B=x?y", true);
	check_has(&environment, "MAIL_C=", true);
	check_has(&environment, "MAIL_D=18446744073709551615", true);
	assert_true(environment_is_whole(&environment));
	/* As many as there is room for; beyond that it says so. */
	for (size_t i = COUNT(kept) + 4; i < ENVIRONMENT_MAX; i++)
		environment_add(&environment, "X", SLICE("y"));
	assert_true(environment_is_whole(&environment));
	assert_null(environment.items[ENVIRONMENT_MAX]);
	environment_add(&environment, "X", SLICE("y"));
	assert_false(environment_is_whole(&environment));
	environment_free(&environment);
	environment_free(&environment);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_status),
		cmocka_unit_test(test_every_signal),
		cmocka_unit_test(test_cannot_be_run),
		cmocka_unit_test(test_words_and_environment),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_what_it_leaves),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests_name("command_run", tests, NULL, NULL);
}
