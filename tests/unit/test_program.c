/*
 * test_program.c - the frame around a session: what is called when, and with
 * which exit status it ends. Each case is a process of its own, with the
 * connection on descriptors 0 and 1.
 */
#include "drive.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include "keypair.h"
#include "program.h"

/* Where the child writes what was called. */
#define REPORT_FD 100

static struct directory directory;

/* ---- a program of few words ---- */

struct sample {
	struct program program;
	struct common_settings settings;
	struct wire wire;
	char in[1024];
	char out[1024];
};

static struct sample sample;
static enum error_kind fault[4]; /* of each function below, if any */

static int
report(const char *what, size_t i, struct error *error)
{
	dprintf(REPORT_FD, "%s ", what);
	return fault[i] == ERROR_NONE ? 0
	    : error_set(error, fault[i], "%s failed", what);
}

static int
check_settings(struct program *program, struct error *error)
{
	(void)program;
	return report("settings", 0, error);
}

static int
check_config(struct program *program)
{
	struct error error;

	(void)program;
	return report("config", 1, &error);
}

/* The connection is not taken before its files are read. */
static int
read_files(struct program *program, struct error *error)
{
	assert_int_equal(program->peer.in_fd, 0);
	return report("files", 2, error);
}

/* Says hello, hears one line and says that. */
static int
serve(struct program *program, struct error *error)
{
	struct error broken = { .kind = ERROR_NONE };
	struct slice line = { NULL, 0 };

	if (report("serve", 3, error) < 0)
		return -1;
	assert_true(program->peer.in_fd > 3);
	wire_init(&sample.wire, sample.in, sizeof(sample.in), sample.out,
	    sizeof(sample.out));
	wire_put_line(&sample.wire, SLICE("hello"));
	while (wire_line(&sample.wire, sizeof(sample.in), &line) !=
	    WIRE_LINE && !sample.wire.eof && broken.kind == ERROR_NONE)
		program_pump(program, &sample.wire, &broken);
	wire_put_line(&sample.wire, line);
	program_end(program, &sample.wire, NULL, false);
	return 0;
}

static void
fill_table(struct option_table *table)
{
	static const struct option_spec row = { .name = "timeout",
		.type = OPTION_NUMBER, .fallback = "5", .min = 1, .max = 10,
		.offset = offsetof(struct common_settings, timeout),
		.help = "limit" };

	*table = (struct option_table){ .program = "sample" };
	options_add(table, settings_rows, settings_rows_count);
	options_add(table, &row, 1);
}

static void
needs(struct program *program, struct confine *confine)
{
	(void)program, (void)confine;
}

static const struct program_kind kind = {
	.name = "sample", .fill_table = fill_table, .needs = needs,
	.check_settings = check_settings, .check_config = check_config,
	.read_files = read_files, .serve = serve,
};

/* ---- running it ---- */

/* What became of it. */
static struct {
	int status;
	struct text report;
	struct text output; /* what its peer got */
} outcome;

#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void
run_child(const char *const *words, int connection, int report_fd)
{
	static char name[] = "sample";
	char *argv[16] = { name };
	int argc = 1;

	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = strdup(words[argc - 1]);
	dup2(report_fd, REPORT_FD);
	int log = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(log, STDERR_FILENO);
	dup2(connection, STDIN_FILENO);
	dup2(connection, STDOUT_FILENO);
	close(connection);
	close(report_fd);
	close(log);
	unsetenv("JOURNAL_STREAM");
	sample.program.kind = &kind;
	sample.program.settings = &sample.settings;
	exit(program_main(&sample.program, argc, argv));
}

/* Its peer says that, and no more. */
static void
run(struct slice input, const char *const *words)
{
	int connection[2], report_ends[2];
	int status;

	text_free(&outcome.report);
	text_free(&outcome.output);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    connection), 0);
	assert_int_equal(pipe(report_ends), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(connection[0]);
		close(report_ends[0]);
		run_child(words, connection[1], report_ends[1]);
	}
	close(connection[1]);
	close(report_ends[1]);
	/* Nothing to a peer that may have ended already: that is EPIPE. */
	if (input.len > 0)
		assert_int_equal(send(connection[0], input.data, input.len,
		    MSG_NOSIGNAL), input.len);
	shutdown(connection[0], SHUT_WR);
	read_all(connection[0], &outcome.output);
	read_all(report_ends[0], &outcome.report);
	close(connection[0]);
	close(report_ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	outcome.status = WEXITSTATUS(status);
}

static void
check(int status, struct slice called)
{
	assert_int_equal(outcome.status, status);
	assert_slices(text_slice(&outcome.report), called);
}

static bool
log_has(const char *text)
{
	char log[8192];
	int fd = open("log", O_RDONLY);
	ssize_t n = read(fd, log, sizeof(log) - 1);

	close(fd);
	log[n < 0 ? 0 : n] = '\0';
	return strstr(log, text) != NULL;
}

/* ---- tests ---- */

static void
test_session(void **state)
{
	(void)state;
	run(SLICE("well\r\n"), WORDS("--tls", "off", "--log", "stderr"));
	check(0, SLICE("settings files serve "));
	assert_slices(text_slice(&outcome.output),
	    SLICE("hello\r\nwell\r\n"));
	assert_true(log_has("connect: "));
}

static void
test_command_line(void **state)
{
	(void)state;
	run(SLICE(""), WORDS("--version"));
	check(0, SLICE(""));
	assert_true(slice_starts_with(text_slice(&outcome.output),
	    SLICE("sample ")));
	run(SLICE(""), WORDS("--help"));
	check(0, SLICE(""));
	assert_true(slice_starts_with(text_slice(&outcome.output),
	    SLICE("Usage: sample ")));
	/* EX_USAGE: nothing else is looked at. */
	run(SLICE(""), WORDS("--no-such-thing"));
	check(64, SLICE(""));
	assert_int_equal(outcome.output.len, 0);
	assert_true(log_has("--no-such-thing; --help lists the options"));
}

static void
test_check_config(void **state)
{
	(void)state;
	run(SLICE(""), WORDS("--check-config", "--tls", "off"));
	check(0, SLICE("config "));
	assert_int_equal(outcome.output.len, 0);
	fault[1] = ERROR_CONFIG;
	run(SLICE(""), WORDS("--check-config", "--tls", "off"));
	check(78, SLICE("config "));
	fault[1] = ERROR_NONE;
	/* Its own faults, and the program's are looked for all the same. */
	run(SLICE(""), WORDS("--check-config", "--tls-cert", "none"));
	check(78, SLICE("config "));
	assert_true(log_has("--tls-cert none: No such file"));
	run(SLICE(""), WORDS("--check-config", "--tls", "off", "--auth",
	    "file:none"));
	check(78, SLICE("config "));
	assert_true(log_has("none: No such file"));
}

/* What fails before the session: its status, and the peer hears nothing. */
static void
test_failures(void **state)
{
	static const struct {
		size_t i;
		enum error_kind kind;
		int status;
		struct slice called;
	} rows[] = {
		{ 0, ERROR_CONFIG, 78, SLICE("settings ") },
		{ 2, ERROR_CONFIG, 78, SLICE("settings files ") },
		{ 2, ERROR_SYSTEM, 75, SLICE("settings files ") },
		{ 3, ERROR_SYSTEM, 75, SLICE("settings files serve ") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		fault[rows[i].i] = rows[i].kind;
		run(SLICE(""), WORDS("--tls", "off"));
		check(rows[i].status, rows[i].called);
		assert_int_equal(outcome.output.len, 0);
		assert_true(log_has(" failed"));
		fault[rows[i].i] = ERROR_NONE;
	}
	run(SLICE(""), WORDS("--tls-key", "none", "--tls-cert",
	    "one.test.crt"));
	check(78, SLICE("settings "));
}

/* Whatever the peer did is no failure of ours, and no session either. */
static void
test_peers(void **state)
{
	(void)state;
	run(SLICE("GET / HTTP/1.0\r\n\r\n"), WORDS("--tls-cert",
	    "one.test.crt", "--tls-key", "one.test.key"));
	check(0, SLICE("settings files "));
	assert_true(log_has("tls-failed: "));
	run(SLICE("no header\r\n"), WORDS("--tls", "off",
	    "--proxy-protocol"));
	check(0, SLICE("settings files "));
	assert_true(log_has("PROXY header"));
	run(SLICE(""), WORDS("--tls", "off"));
	check(0, SLICE("settings files serve "));
}

static int
set_up(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	keypair_make("one.test");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	text_free(&outcome.report);
	text_free(&outcome.output);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_check_config),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_peers),
	};

	return cmocka_run_group_tests_name("program", tests, set_up,
	    tear_down);
}
