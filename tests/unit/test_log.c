/*
 * test_log.c - what a line of the log looks like, and where it goes.
 *
 * The log is one for a process, so each test is a process of its own whose
 * standard error is read.
 */
#include "drive.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "system/log.h"

/* ---- chance ---- */

static enum { BY_CHANCE, ALWAYS_THE_SAME, NONE_LEFT } entropy;

/* Stands before the C library's own. */
int
getentropy(void *random, size_t size)
{
	ssize_t n = (ssize_t)size;

	if (entropy == ALWAYS_THE_SAME)
		memset(random, 0x5A, size);
	else if (entropy == BY_CHANCE)
		n = getrandom(random, size, 0);
	return entropy == NONE_LEFT || n != (ssize_t)size ? -1 : 0;
}

/* ---- a process and its standard error ---- */

static void
null_at(int fd)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || (null != fd && dup2(null, fd) < 0))
		_exit(99);
	if (null != fd)
		close(null);
}

/* Runs that in a child; what it wrote, with "[PID]" for its pid. */
static void
run_child(void (*run)(void), struct text *text)
{
	struct text raw = { .data = NULL };
	char pid_text[32];
	int pipe_fds[2];
	int status;

	assert_int_equal(pipe(pipe_fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		null_at(STDIN_FILENO);
		null_at(STDOUT_FILENO);
		unsetenv("JOURNAL_STREAM");
		unsetenv("LISTEN_PID");
		if (dup2(pipe_fds[1], STDERR_FILENO) < 0)
			_exit(99);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		run();
		_exit(0);
	}
	close(pipe_fds[1]);
	read_all(pipe_fds[0], &raw);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	int len = snprintf(pid_text, sizeof(pid_text), "[%ld]", (long)pid);
	struct slice rest = text_slice(&raw);
	text_add(text, SLICE(""));
	while (rest.len > 0) {
		if (slice_starts_with(rest, (struct slice){ pid_text,
		    (size_t)len })) {
			text_add(text, SLICE("[PID]"));
			rest = slice_skip(rest, (size_t)len);
		} else {
			text_add(text, (struct slice){ rest.data, 1 });
			rest = slice_skip(rest, 1);
		}
	}
	text_free(&raw);
}

static void
check_output(void (*run)(void), const char *want)
{
	struct text text = { .data = NULL };

	run_child(run, &text);
	assert_slices(text_slice(&text), slice_from(want));
	text_free(&text);
}

/* ---- lines ---- */

static void
log_some(void)
{
	log_open("test");
	log_begin(LOG_KIND_CONNECT);
	log_add(LOG_FIELD_PEER, SLICE("192.0.2.1:25"));
	log_add(LOG_FIELD_LOCAL, SLICE("no"));
	log_send();
	log_begin(LOG_KIND_ACCEPTED);
	log_add(LOG_FIELD_SENDER, SLICE(""));
	log_add(LOG_FIELD_RECIPIENT, SLICE("a@b"));
	log_add_number(LOG_FIELD_SIZE, UINT64_MAX);
	log_add_number(LOG_FIELD_MESSAGES, 0);
	log_add_duration(0);
	log_add_duration(42);
	log_add_duration(61007);
	log_send();
	/* Once sent, an event is over. */
	log_add(LOG_FIELD_USER, SLICE("nobody"));
	log_send();
	log_begin(LOG_KIND_END);
	log_send();
}

static void
test_lines(void **state)
{
	(void)state;
	check_output(log_some,
	    "test[PID]: connect: peer=192.0.2.1:25 local=no\n"
	    "test[PID]: accepted: sender=\"\" recipient=a@b "
	    "size=18446744073709551615 messages=0 seconds=0.000 "
	    "seconds=0.042 seconds=61.007\n"
	    "test[PID]: end:\n");
}

/* A peer's octets can neither end the line nor forge a field in it. */
static const struct { struct slice value; const char *shown; } values[] = {
	{ SLICE("plain"), "plain" },
	{ SLICE("a@b.c-d_e/f:g,h;i"), "a@b.c-d_e/f:g,h;i" },
	{ SLICE("a b"), "\"a b\"" },
	{ SLICE("a=b"), "\"a=b\"" },
	{ SLICE("x user=root"), "\"x user=root\"" },
	{ SLICE("\""), "\"\\\"\"" },
	{ SLICE("\" user=root"), "\"\\\" user=root\"" },
	{ SLICE("\\"), "\"\\\\\"" },
	{ SLICE("a\nb"), "\"a\\x0ab\"" },
	{ SLICE("a\r\ntest[1]: login: user=root"),
	    "\"a\\x0d\\x0atest[1]: login: user=root\"" },
	{ SLICE("a\0b"), "\"a\\x00b\"" },
	{ SLICE("\x1B[31m"), "\"\\x1b[31m\"" },
	{ SLICE("\x7F"), "\"\\x7f\"" },
	{ SLICE("\t"), "\"\\x09\"" },
	{ SLICE("j\xC3\xB6"), "\"j\\xc3\\xb6\"" },
	{ SLICE("\xFF"), "\"\\xff\"" },
	{ SLICE("%s%n"), "%s%n" },
};

static void
log_values(void)
{
	log_open("test");
	for (size_t i = 0; i < COUNT(values); i++) {
		log_begin(LOG_KIND_LOGIN);
		log_add(LOG_FIELD_USER, values[i].value);
		log_add(LOG_FIELD_PEER, SLICE("local"));
		log_send();
	}
}

static void
test_escaping(void **state)
{
	struct text want = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++)
		text_format(&want, "test[PID]: login: user=%s peer=local\n",
		    values[i].shown);
	check_output(log_values, want.data);
	text_free(&want);
}

static void
log_long_values(void)
{
	static char value[1000];

	log_open("test");
	memset(value, 'x', sizeof(value));
	for (size_t len = 511; len <= 513; len++) {
		log_begin(LOG_KIND_LOGIN);
		log_add(LOG_FIELD_USER, (struct slice){ value, len });
		log_add(LOG_FIELD_PEER, SLICE("local"));
		log_send();
	}
	value[0] = ' ';
	log_begin(LOG_KIND_LOGIN);
	log_add(LOG_FIELD_USER, (struct slice){ value, 1000 });
	log_add(LOG_FIELD_PEER, SLICE("local"));
	log_send();
}

/* What is longer is cut, visibly. */
static void
test_long_values(void **state)
{
	char xs[513];
	struct text want = { .data = NULL };

	(void)state;
	memset(xs, 'x', 512);
	xs[512] = '\0';
	text_format(&want, "test[PID]: login: user=%s peer=local\n", xs + 1);
	text_format(&want, "test[PID]: login: user=%s peer=local\n", xs);
	text_format(&want, "test[PID]: login: user=%s... peer=local\n", xs);
	text_format(&want, "test[PID]: login: user=\" %s\"... peer=local\n",
	    xs + 1);
	check_output(log_long_values, want.data);
	text_free(&want);
}

static void
log_long_line(void)
{
	static char value[512];

	log_open("test");
	memset(value, '\n', sizeof(value));
	log_begin(LOG_KIND_LOGIN);
	for (int i = 0; i < 3; i++)
		log_add(LOG_FIELD_USER, (struct slice){ value,
		    sizeof(value) });
	log_add(LOG_FIELD_PEER, SLICE("local"));
	log_send();
	log_begin(LOG_KIND_END);
	log_send();
}

/* However many octets escaping makes of it, it is one line, its length has
 * a limit, and the next line begins as it should. */
static void
test_long_line(void **state)
{
	struct text text = { .data = NULL };
	struct slice first, rest;

	(void)state;
	run_child(log_long_line, &text);
	assert_true(slice_cut(text_slice(&text), '\n', &first, &rest));
	assert_slice(rest, "test[PID]: end:\n");
	assert_true(first.len <= 4096);
	assert_false(slice_has_control(first));
	assert_true(slice_starts_with(first,
	    SLICE("test[PID]: login: user=\"\\x0a\\x0a")));
	text_free(&text);
}

/* Such a line says that something is missing, too. */
static void
test_long_line_shows_cut(void **state)
{
	struct text text = { .data = NULL };
	struct slice first, rest;

	(void)state;
	run_child(log_long_line, &text);
	slice_cut(text_slice(&text), '\n', &first, &rest);
	assert_true(slice_ends_with(first, SLICE("...")));
	text_free(&text);
}

static void
log_session_lines(void)
{
	log_open("test");
	log_begin(LOG_KIND_CONFIG);
	log_send();
	log_set_session(SLICE("local"));
	if (strlen(log_session()) != 12 ||
	    strspn(log_session(), "0123456789ABCDEF") != 12)
		_exit(1);
	log_begin(LOG_KIND_CONNECT);
	log_send();
	log_reason(LOG_KIND_NOTICE, "%d of %s", 7, "them");
	/* Its own words, for the test to compare. */
	dprintf(STDERR_FILENO, "%s\n", log_session());
}

static void
log_session_names(void)
{
	char want[16];
	const pid_t pid = getpid();
	const unsigned char *octets = (const void *)&pid;

	entropy = ALWAYS_THE_SAME;
	log_set_session(SLICE("local"));
	dprintf(STDERR_FILENO, "%s\n", log_session());
	/* Without randomness the process makes the difference. */
	entropy = NONE_LEFT;
	log_set_session(SLICE("local"));
	snprintf(want, sizeof(want), "%02X%02X%02X%02X0000", octets[0],
	    octets[1], octets[2], octets[3]);
	dprintf(STDERR_FILENO, "%s\n", strcmp(log_session(), want) == 0
	    ? "the pid" : log_session());
}

static void
test_session_names(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	run_child(log_session_names, &text);
	assert_slice(text_slice(&text), "5A5A5A5A5A5A\nthe pid\n");
	text_free(&text);
}

/* Every line of a session begins with its name. */
static void
test_session(void **state)
{
	struct text text = { .data = NULL }, want = { .data = NULL };

	(void)state;
	run_child(log_session_lines, &text);
	assert_true(text.len > 13);
	const char *id = text.data + text.len - 13;
	text_format(&want, "test[PID]: config:\n"
	    "test[PID]: %.12s connect: peer=local\n"
	    "test[PID]: %.12s notice: peer=local reason=\"7 of them\"\n%s",
	    id, id, id);
	assert_slices(text_slice(&text), text_slice(&want));
	text_free(&text);
	text_free(&want);
}

/* ---- levels ---- */

/* From the least to the most that is said. */
static const struct { int level; const char *lines; } levels[] = {
	{ LOG_ERR, "trouble: config: " },
	{ LOG_WARNING, "trouble: config: notice: " },
	{ LOG_NOTICE, "trouble: config: notice: refused: login-failed: " },
	{ LOG_INFO, "trouble: config: notice: refused: login-failed: "
	    "login: end: " },
	{ LOG_DEBUG, "trouble: config: notice: refused: login-failed: "
	    "login: end: tls: " },
};

static void
log_levels(void)
{
	static const enum log_kind kinds[] = {
		LOG_KIND_TROUBLE, LOG_KIND_CONFIG, LOG_KIND_NOTICE,
		LOG_KIND_REFUSED, LOG_KIND_LOGIN_FAILED, LOG_KIND_LOGIN,
		LOG_KIND_END, LOG_KIND_TLS,
	};

	log_open("t");
	for (size_t i = 0; i < COUNT(levels); i++) {
		log_set_level(levels[i].level);
		for (size_t k = 0; k < COUNT(kinds); k++) {
			log_begin(kinds[k]);
			log_add(LOG_FIELD_USER, SLICE("x"));
			log_send();
		}
	}
}

static void
test_levels(void **state)
{
	struct text want = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(levels); i++) {
		struct slice rest = slice_from(levels[i].lines), word;

		while (slice_cut(rest, ' ', &word, &rest))
			text_format(&want, "t[PID]: %.*s user=x\n",
			    SLICE_ARG(word));
	}
	check_output(log_levels, want.data);
	text_free(&want);
}

static void
log_errors(void)
{
	struct error error;

	log_open("t");
	log_set_level(LOG_DEBUG);
	for (int kind = ERROR_USAGE; kind <= ERROR_TIMEOUT; kind++) {
		error_set(&error, (enum error_kind)kind, "e%d", kind);
		log_error(&error);
	}
}

static void
test_errors(void **state)
{
	(void)state;
	check_output(log_errors,
	    "t[PID]: config: reason=e1\nt[PID]: config: reason=e2\n"
	    "t[PID]: trouble: reason=e3\nt[PID]: trouble: reason=e4\n"
	    "t[PID]: trouble: reason=e5\nt[PID]: notice: reason=e6\n"
	    "t[PID]: notice: reason=e7\nt[PID]: notice: reason=e8\n");
}

/* ---- limits ---- */

static void
log_much(void)
{
	log_open("t");
	for (int i = 0; i < 100000; i++)
		log_reason(LOG_KIND_NOTICE, "x");
	log_begin(LOG_KIND_ACCEPTED);
	log_add(LOG_FIELD_ID, SLICE("1"));
	log_send();
	static const enum log_kind done[] = { LOG_KIND_DELIVERED,
		LOG_KIND_LOGIN, LOG_KIND_LOGIN_FAILED, LOG_KIND_RELAYED,
		LOG_KIND_END };
	for (size_t i = 0; i < COUNT(done); i++) {
		log_begin(done[i]);
		log_send();
	}
	log_reason(LOG_KIND_NOTICE, "y");
}

/* A session fills no disk; how it ended is told all the same. */
static void
test_cap(void **state)
{
	struct text text = { .data = NULL };
	struct slice rest, line;
	size_t lines = 0;

	(void)state;
	run_child(log_much, &text);
	rest = text_slice(&text);
	while (slice_cut(rest, '\n', &line, &rest) &&
	    slice_equal(line, SLICE("t[PID]: notice: reason=x")))
		lines++;
	assert_in_range(lines, 100, 10000);
	assert_slices(line, SLICE("t[PID]: notice: (no more such lines of this "
	    "session) reason=x"));
	/* What was done is always told. */
	assert_slice(rest, "t[PID]: accepted: id=1\nt[PID]: delivered:\n"
	    "t[PID]: login:\nt[PID]: login-failed:\nt[PID]: relayed:\n"
	    "t[PID]: end:\n");
	text_free(&text);
}

static void
log_much_transcript(void)
{
	log_open("t");
	for (int i = 0; i < 20000; i++)
		log_transcript(SLICE("> NOOP\n< 250 2.0.0 Ok\n"));
	log_reason(LOG_KIND_NOTICE, "x");
	log_begin(LOG_KIND_END);
	log_send();
}

/* A transcript has a limit of its own, and leaves the other lines theirs. */
static void
test_transcript(void **state)
{
	struct text text = { .data = NULL };
	struct slice rest, line;
	size_t lines = 0;

	(void)state;
	run_child(log_much_transcript, &text);
	rest = text_slice(&text);
	while (slice_cut(rest, '\n', &line, &rest) &&
	    slice_equal(line, lines % 2 == 0
	    ? SLICE("t[PID]: transcript: line=\"> NOOP\"")
	    : SLICE("t[PID]: transcript: line=\"< 250 2.0.0 Ok\"")))
		lines++;
	assert_in_range(lines, 1000, 39999);
	assert_true(slice_starts_with(line, SLICE("t[PID]: transcript: (no "
	    "more such lines of this session)")));
	assert_slice(rest, "t[PID]: notice: reason=x\nt[PID]: end:\n");
	text_free(&text);
}

/* ---- where it goes ---- */

static void
log_one(void)
{
	log_reason(LOG_KIND_NOTICE, "hello");
}

/* So as classic inetd starts it: 0, 1 and 2 are all the connection. With
 * 1 and 2 alone it is no better. */
static void
log_over_connection(int fd, bool with_stdin)
{
	if (with_stdin)
		dup2(fd, STDIN_FILENO);
	else
		null_at(STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	log_open("t");
	log_serve();
	log_one();
	/* Not even where the settings say so, nor by a stray printf. */
	log_set_target(LOG_TARGET_STDERR);
	log_one();
	fprintf(stderr, "stray\n");
	_exit(0);
}

static void
test_stderr_is_connection(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct text text = { .data = NULL };
		int fds[2];
		int status;

		if (kind < 2)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
			    fds), 0);
		else
			assert_int_equal(pipe(fds), 0);
		fflush(NULL);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(fds[0]);
			unsetenv("JOURNAL_STREAM");
			unsetenv("LISTEN_PID");
			log_over_connection(fds[1], kind % 2 == 0);
		}
		close(fds[1]);
		read_all(fds[0], &text);
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(text.len, 0);
		text_free(&text);
	}
}

/* "2>&1 | less" shows what is wrong with the settings; but once we serve,
 * the pipe is a peer's. */
static void
test_stderr_in_a_pipe(void **state)
{
	struct text text = { .data = NULL };
	int fds[2];
	int status;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		null_at(STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		unsetenv("JOURNAL_STREAM");
		unsetenv("LISTEN_PID");
		log_open("t");
		log_set_target(LOG_TARGET_STDERR);
		log_reason(LOG_KIND_CONFIG, "before");
		log_serve();
		log_reason(LOG_KIND_CONFIG, "after");
		_exit(0);
	}
	close(fds[1]);
	read_all(fds[0], &text);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text.data, "config: reason=before\n"));
	assert_null(strstr(text.data, "after"));
	text_free(&text);
}

/* A file or a terminal may be both: whoever runs us by hand wants to see
 * the log. */
static void
test_stderr_is_file(void **state)
{
	struct directory directory;
	struct text text = { .data = NULL };
	int status;

	(void)state;
	directory_make(&directory);
	int file = openat(directory.fd, "out", O_RDWR | O_CREAT | O_APPEND,
	    0600);
	assert_true(file >= 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		unsetenv("JOURNAL_STREAM");
		dup2(file, STDOUT_FILENO);
		dup2(file, STDERR_FILENO);
		log_open("t");
		log_one();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	lseek(file, 0, SEEK_SET);
	read_all(file, &text);
	close(file);
	assert_true(slice_ends_with(text_slice(&text),
	    SLICE("]: notice: reason=hello\n")));
	text_free(&text);
	directory_remove(&directory);
}

/* As systemd passes the connection on descriptor 3: the others may be one
 * and the same stream of the journal's, and that is the log's. */
static void
log_where_passed(int connection, int stream)
{
	char pid[24];

	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	unsetenv("JOURNAL_STREAM");
	int high = fcntl(connection, F_DUPFD, 50);
	int high_stream = fcntl(stream, F_DUPFD, 50);
	null_at(STDIN_FILENO);
	dup2(high_stream, STDOUT_FILENO);
	dup2(high_stream, STDERR_FILENO);
	dup2(high, STDERR_FILENO + 1);
	closefrom(STDERR_FILENO + 2);
	log_open("t");
	log_one();
	_exit(0);
}

static void
test_stderr_where_passed(void **state)
{
	(void)state;
	for (int same = 0; same < 2; same++) {
		struct text text = { .data = NULL };
		int stream[2], connection[2];
		int status;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream),
		    0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
		    connection), 0);
		fflush(NULL);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			log_where_passed(same ? stream[1] : connection[1],
			    stream[1]);
		close(stream[1]);
		close(connection[1]);
		read_all(stream[0], &text);
		close(stream[0]);
		close(connection[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		/* Where it is the connection after all, nothing gets there. */
		if (same)
			assert_int_equal(text.len, 0);
		else
			assert_true(slice_ends_with(text_slice(&text),
			    SLICE("]: notice: reason=hello\n")));
		text_free(&text);
	}
}

/* A standard descriptor that is closed would be the next one opened. */
static void
close_and_open(void)
{
	int status = 0;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	log_open("t");
	log_one();
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			status = 1;
	if (open("/dev/null", O_RDONLY) <= STDERR_FILENO)
		status = 2;
	_exit(status);
}

static void
close_all_and_open(void)
{
	close(STDERR_FILENO);
	log_open("t");
	log_one();
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		_exit(1);
	_exit(0);
}

static void
test_closed_descriptors(void **state)
{
	(void)state;
	check_output(close_and_open, "t[PID]: notice: reason=hello\n");
	check_output(close_all_and_open, "");
}

/* Nobody reads it: that is nobody's fault but the reader's. */
static void
log_into_full_pipe(void)
{
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	if (pipe(fds) != 0)
		_exit(99);
	int saved = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[0]);
	log_open("t");
	log_one();
	dup2(saved, STDERR_FILENO);
	log_one();
}

static void
test_unwritable(void **state)
{
	(void)state;
	check_output(log_into_full_pipe, "t[PID]: notice: reason=hello\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_long_line_shows_cut),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_session_names),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_transcript),
		cmocka_unit_test(test_stderr_is_connection),
		cmocka_unit_test(test_stderr_in_a_pipe),
		cmocka_unit_test(test_stderr_where_passed),
		cmocka_unit_test(test_stderr_is_file),
		cmocka_unit_test(test_closed_descriptors),
		cmocka_unit_test(test_unwritable),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
