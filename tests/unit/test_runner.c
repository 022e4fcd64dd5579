/*
 * test_runner.c - commands that another process runs: what they are given, what
 * is told of them, and each end of the two. Each case is a process of its own,
 * for there is one runner in each.
 */
#include "drive.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "system/process.h"
#include "system/runner.h"

static struct error error;
static struct command_run run;
static struct command_line line;
static char *const nothing[] = { NULL };
static char secret[64];

static int
in_child(int (*test)(void))
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		process_init();
		_exit(test());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The line that is wrong is the process's status. */
#define NEED(condition) \
	do { \
		if (!(condition)) { \
			dprintf(2, "%d: %s (%s)\n", __LINE__, #condition, \
			    error.text); \
			return 1; \
		} \
	} while (0)

/* The first command is the one that is run; both are allowed. */
static bool
start(const char *first, const char *second)
{
	static struct command_line other;

	if (command_line_parse(&other, second, "x", &error) < 0 ||
	    command_line_parse(&line, first, "x", &error) < 0 ||
	    runner_allow(&other, &error) < 0 ||
	    runner_allow(&line, &error) < 0)
		return false;
	run = (struct command_run){ .line = &line, .environment = nothing,
		.input = -1, .extra = -1, .timeout = 20, .capture = true };
	switch (runner_fork(&error)) {
	case 0:
		return true;
	case 1:
		runner_serve();
	default:
		return false;
	}
}

static bool
said(const char *output)
{
	return strlen(output) == run.output_len &&
	    memcmp(output, run.output, run.output_len) == 0;
}

static int
run_what_is_told(void)
{
	NEED(start("sh -c 'echo $PPID; echo one >&2; echo two >&2; exit 7'",
	    "true"));
	NEED(runner_run(&run, &error) == 7);
	NEED(run.output_len > 0 && run.errors_len == 8);
	NEED(memcmp(run.errors, "one\ntwo\n", 8) == 0);
	/* It was somebody else's child. */
	run.output[run.output_len] = '\0';
	NEED(atol(run.output) != (long)getpid() && atol(run.output) > 1);
	/* Once more, by the same process. */
	long by = atol(run.output);
	NEED(runner_run(&run, &error) == 7);
	run.output[run.output_len] = '\0';
	NEED(atol(run.output) == by);
	return 0;
}

static int
run_ends(void)
{
	NEED(start("sh -c 'kill -USR1 $$'", "true"));
	NEED(runner_run(&run, &error) == -1);
	NEED(error.kind == ERROR_SYSTEM && run.signal == SIGUSR1);
	NEED(command_line_parse(&line, "true", "x", &error) == 0);
	NEED(runner_run(&run, &error) == 0);
	NEED(run.signal == 0 && run.output_len == 0);
	return 0;
}

static int
run_too_long(void)
{
	NEED(start("sleep 30", "true"));
	run.timeout = 1;
	NEED(runner_run(&run, &error) == -1);
	NEED(error.kind == ERROR_TIMEOUT && run.took >= 1000);
	return 0;
}

/* Only variables of ours are handed on, and no program but those allowed. */
static int
run_not_allowed(void)
{
	char *const variables[] = { "MAIL_A=x y", "LD_PRELOAD=/none", "PATH=/",
		"MAIL_B=", NULL };

	setenv("PATH", "/usr/bin:/bin", 1);
	NEED(start("sh -c 'echo \"$MAIL_A|${MAIL_B-unset}|$LD_PRELOAD|$PATH\"'",
	    "echo a"));
	run.environment = variables;
	NEED(runner_run(&run, &error) == 0);
	NEED(said("x y|||/usr/bin:/bin"));
	static const char *const others[] = { "echo", "echo b", "echo a a",
		"echo 'a '", "sh -c 'echo x'", "sh" };
	for (size_t i = 0; i < COUNT(others); i++) {
		NEED(command_line_parse(&line, others[i], "x", &error) == 0);
		NEED(runner_run(&run, &error) == -1);
		NEED(error.kind == ERROR_SYSTEM);
	}
	NEED(command_line_parse(&line, "echo a", "x", &error) == 0);
	NEED(runner_run(&run, &error) == 0 && said("a"));
	char *const wrong[] = { "MAIL_A", NULL };
	run.environment = wrong;
	NEED(runner_run(&run, &error) == -1);
	run.environment = nothing;
	NEED(runner_run(&run, &error) == 0);
	return 0;
}

/* Descriptors 0 and 3, each alone and both. */
static int
run_descriptors(void)
{
	int ends[2];
	char octet;

	NEED(pipe(ends) == 0);
	for (int given = 0; given < 4; given++) {
		char want[8] = "";

		if (given == 0)
			NEED(start("sh -c 'cat; cat <&3 2>/dev/null; echo'",
			    "true"));
		run.input = (given & 1) != 0 ? command_pipe(SLICE("in"),
		    &error) : -1;
		run.extra = (given & 2) != 0 ? command_pipe(SLICE("ex"),
		    &error) : -1;
		NEED(runner_run(&run, &error) == 0);
		snprintf(want, sizeof(want), "%s%s", (given & 1) != 0 ? "in"
		    : "", (given & 2) != 0 ? "ex" : "");
		NEED(said(want));
		/* They stay ours, and the other process has let them go. */
		if (run.input >= 0)
			NEED(close(run.input) == 0);
		if (run.extra >= 0)
			NEED(close(run.extra) == 0);
	}
	/* Nothing else is open there: of a pipe that we hold, the end comes. */
	run.input = run.extra = -1;
	NEED(runner_run(&run, &error) == 0);
	close(ends[1]);
	NEED(read(ends[0], &octet, 1) == 0);
	return 0;
}

static int
run_secret(void)
{
	NEED(start("sh -c 'echo token; echo more'", "true"));
	run.secret = secret;
	run.secret_max = sizeof(secret) - 1;
	NEED(runner_run(&run, &error) == 0);
	NEED(run.output_len == 5 && memcmp(secret, "token", 5) == 0);
	NEED(run.output[0] == '\0');
	return 0;
}

static int
run_large(void)
{
	static char recipients[70000] = "MAIL_RECIPIENTS=";
	char *const variables[] = { recipients, NULL };

	memset(recipients + 16, 'r', sizeof(recipients) - 17);
	NEED(start("sh -c 'echo ${#MAIL_RECIPIENTS}; yes >&2'", "true"));
	run.environment = variables;
	run.timeout = 1;
	NEED(runner_run(&run, &error) == -1);
	NEED(said("69983"));
	NEED(run.errors_len == 2 * COMMAND_ERROR_LINES_MAX);
	return 0;
}

/* SIGTERM to us ends a command, unless it is to finish. */
static int
run_stopped(void)
{
	NEED(start("sh -c 'kill -TERM $MAIL_PID; sleep 1; echo done'",
	    "sleep 30"));
	char pid[32];
	char *const variables[] = { pid, NULL };
	snprintf(pid, sizeof(pid), "MAIL_PID=%ld", (long)getpid());
	run.environment = variables;
	run.finish = true;
	NEED(runner_run(&run, &error) == 0 && said("done"));
	NEED(process_stop_pending());
	NEED(command_line_parse(&line, "sleep 30", "x", &error) == 0);
	run.finish = false;
	NEED(runner_run(&run, &error) == -1);
	NEED(error.kind == ERROR_TIMEOUT && run.took < 20000);
	/* What was said of that is not taken for something else. */
	run.finish = true;
	NEED(command_line_parse(&line, "sh -c 'kill -TERM $MAIL_PID; "
	    "sleep 1; echo done'", "x", &error) == 0);
	NEED(runner_run(&run, &error) == 0 && said("done"));
	return 0;
}

/* It is killed: each command fails then, and nobody waits. */
static int
run_killed(void)
{
	NEED(start("sh -c 'kill -KILL $PPID; sleep 1'", "true"));
	for (int i = 0; i < 2; i++) {
		NEED(runner_run(&run, &error) == -1);
		NEED(error.kind == ERROR_SYSTEM && run.output_len == 0);
	}
	return 0;
}

/* The session goes while a command runs: that is ended, and the other process
 * ends. Whoever holds the pipe's other end would keep it from its end. */
static int
run_alone(void)
{
	int ends[2];
	char octet;

	NEED(pipe(ends) == 0);
	pid_t pid = fork();
	NEED(pid >= 0);
	if (pid == 0) {
		if (!start("sh -c 'echo x >&0; exec sleep 30 >/dev/null 2>&1'",
		    "true"))
			_exit(1);
		run.input = ends[1];
		runner_run(&run, &error);
		_exit(0);
	}
	close(ends[1]);
	NEED(read(ends[0], &octet, 1) == 1);
	NEED(kill(pid, SIGKILL) == 0);
	NEED(waitpid(pid, NULL, 0) == pid);
	while (read(ends[0], &octet, 1) == 1)
		;
	return 0;
}

/* Where no command is allowed there is no other process. */
static int
run_none(void)
{
	NEED(runner_fork(&error) == 0);
	NEED(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
	NEED(command_line_parse(&line, "true", "x", &error) == 0);
	run = (struct command_run){ .line = &line, .environment = nothing,
		.input = -1, .extra = -1, .timeout = 20 };
	NEED(runner_run(&run, &error) == 0);
	return 0;
}

#define TEST(name) \
	static void \
	test_##name(void **state) \
	{ \
		(void)state; \
		assert_int_equal(in_child(run_##name), 0); \
	}
TEST(what_is_told)
TEST(ends)
TEST(too_long)
TEST(not_allowed)
TEST(descriptors)
TEST(secret)
TEST(large)
TEST(stopped)
TEST(killed)
TEST(alone)
TEST(none)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_told),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_not_allowed),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests_name("runner", tests, NULL, NULL);
}
