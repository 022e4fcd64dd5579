/*
 * test_auth.c - who may log in, from where, and what is said of others.
 */
#include "drive.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "login/auth.h"
#include "protocol/sasl.h"
#include "system/clock.h"
#include "system/environment.h"
#include "system/process.h"

static struct directory directory;
static struct error error;

static const struct peer local_peer = { .local = true, .name = "local" };
static const struct peer remote_peer = {
	.local = false, .name = "192.0.2.1:7",
	.remote_by = "the socket says 192.0.2.1",
};

static int
set_up(void **state)
{
	(void)state;
	/* As process_init has it: a program need not read what it is given. */
	signal(SIGPIPE, SIG_IGN);
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

/* ---- the setting ---- */

#define MUST_BE "must be one of: any, any-remote, file:PATH, exec:COMMAND"

static void
test_valid(void **state)
{
	static const struct { const char *how, *why; } rows[] = {
		{ "any", NULL }, { "any-remote", NULL },
		{ "file:users", NULL }, { "file:/etc/users", NULL },
		{ "exec:checkpassword true", NULL },
		{ "exec:'a b' c", NULL },
		{ "", MUST_BE }, { "Any", MUST_BE }, { "any ", MUST_BE },
		{ "anyone", MUST_BE }, { "file:", MUST_BE },
		{ "file", MUST_BE }, { "exec:", MUST_BE },
		{ "users", MUST_BE }, { "pam:login", MUST_BE },
		{ "exec: ", "exec: no command" },
		{ "exec:a 'b", "exec: a quote without its end" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char why[160] = "";

		if (auth_is_valid(rows[i].how, why, sizeof(why)) !=
		    (rows[i].why == NULL))
			fail_msg("%s", rows[i].how);
		if (rows[i].why != NULL)
			assert_string_equal(why, rows[i].why);
		else if (strncmp(rows[i].how, "exec:", 5) == 0)
			assert_string_equal(why, "");
	}
}

/* ---- logins ---- */

static void
begin(struct auth *auth, const char *how, unsigned timeout)
{
	if (auth_init(auth, how, timeout, NULL, &error) != 0)
		fail_msg("%s", error.text);
}

static void
check_login(const struct auth *auth, const struct peer *peer,
    struct slice user, struct slice password, enum auth_outcome outcome)
{
	memset(&error, 0, sizeof(error));
	const struct auth_login login = {
		.peer = peer, .user = user, .password = password,
		.mechanism = "PLAIN", .tls = "",
	};
	enum auth_outcome got = auth_check(auth, &login, &error);

	if (got != outcome)
		fail_msg("%.*s: %d, want %d: %s", SLICE_ARG(user), (int)got,
		    (int)outcome, error.text);
	/* It says why, and never the password. */
	assert_true(outcome == AUTH_RIGHT || error.text[0] != '\0');
	assert_null(strstr(error.text, "secret"));
}

#define JOE SLICE("joe")
#define SECRET SLICE("secret")
#define EMPTY SLICE("")

static void
test_any(void **state)
{
	struct auth auth;

	(void)state;
	begin(&auth, NULL, 60);
	assert_int_equal(auth.kind, AUTH_NONE);
	check_login(&auth, &local_peer, JOE, SECRET, AUTH_REFUSED);
	auth_close(&auth);

	begin(&auth, "any", 60);
	assert_int_equal(auth.kind, AUTH_ANY);
	check_login(&auth, &local_peer, JOE, SECRET, AUTH_RIGHT);
	check_login(&auth, &local_peer, SLICE("\xFF"), SLICE("\0"),
	    AUTH_RIGHT);
	/* Every non-empty name and password is right. */
	check_login(&auth, &local_peer, EMPTY, SECRET, AUTH_WRONG);
	check_login(&auth, &local_peer, JOE, EMPTY, AUTH_WRONG);
	/* Not from elsewhere, and the log says which witness says so. */
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_REFUSED);
	assert_text(error.text, "--auth any is for local peers only: the "
	    "socket says 192.0.2.1; --auth file:PATH is for others, "
	    "any-remote for everybody");
	check_login(&auth, &remote_peer, EMPTY, EMPTY, AUTH_REFUSED);
	assert_null(auth_maildir(&auth, JOE));
	auth_close(&auth);

	begin(&auth, "any-remote", 60);
	assert_int_equal(auth.kind, AUTH_ANY_REMOTE);
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_RIGHT);
	check_login(&auth, &remote_peer, EMPTY, SECRET, AUTH_WRONG);
	check_login(&auth, &remote_peer, JOE, EMPTY, AUTH_WRONG);
	auth_close(&auth);
	auth_close(&auth);
}

/* The hash is of "secret". */
#define SHA256 "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoO" \
	"QhiIvoSWX2"

static void
test_file(void **state)
{
	struct auth auth;

	(void)state;
	directory_put(&directory, "users", SLICE("joe:" SHA256 ":/joe\n"
	    "ann:" SHA256 "\n"));
	begin(&auth, "file:users", 60);
	assert_int_equal(auth.kind, AUTH_FILE);
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_RIGHT);
	check_login(&auth, &local_peer, SLICE("ann"), SECRET, AUTH_RIGHT);
	check_login(&auth, &local_peer, JOE, SLICE("wrong"), AUTH_WRONG);
	check_login(&auth, &local_peer, SLICE("bob"), SECRET, AUTH_WRONG);
	check_login(&auth, &local_peer, JOE, EMPTY, AUTH_WRONG);
	check_login(&auth, &local_peer, EMPTY, SECRET, AUTH_WRONG);
	assert_text(auth_maildir(&auth, JOE), "/joe");
	assert_null(auth_maildir(&auth, SLICE("ann")));
	assert_null(auth_maildir(&auth, SLICE("bob")));
	assert_slice(auth_name(&auth, SLICE("JOE")), "joe");
	assert_slice(auth_name(&auth, SLICE("BOB")), "BOB");
	auth_close(&auth);

	/* In the credentials, where there are any. */
	directory_mkdir(&directory, "credentials");
	directory_put(&directory, "credentials/users",
	    SLICE("bob:" SHA256 "\n"));
	setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
	begin(&auth, "file:users", 60);
	check_login(&auth, &local_peer, SLICE("bob"), SECRET, AUTH_RIGHT);
	check_login(&auth, &local_peer, JOE, SECRET, AUTH_WRONG);
	auth_close(&auth);
	unsetenv("CREDENTIALS_DIRECTORY");

	assert_int_equal(auth_init(&auth, "file:none", 60, NULL, &error), -1);
	assert_text(error.text, "none: No such file or directory");
	assert_int_equal(error.kind, ERROR_CONFIG);
	auth_close(&auth);

	/* A name that does not fit with the credentials' folder before it. */
	char how[5000];
	memset(how, 'a', sizeof(how));
	memcpy(how, "file:", 5);
	how[sizeof(how) - 1] = '\0';
	setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
	assert_int_equal(auth_init(&auth, how, 60, NULL, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	unsetenv("CREDENTIALS_DIRECTORY");
	auth_close(&auth);
}

/* What --check-config says of the names in the file, and of its lines. */
static void
test_file_faults(void **state)
{
	struct auth auth;

	(void)state;
	directory_put(&directory, "users", SLICE("joe:*\nnobody\n"
	    "Joe:*\nann:*:/ann\nANN:*\njoe:*\n"));
	begin(&auth, "file:users", 60);
	assert_true(auth_get_fault(&auth, 0, &error));
	assert_non_null(strstr(error.text, "users:2: "));
	assert_false(auth_get_fault(&auth, 1, &error));
	assert_false(auth_shares_maildir(&auth, JOE));
	assert_true(auth_shares_maildir(&auth, SLICE("Joe")));
	assert_false(auth_shares_maildir(&auth, SLICE("ANN")));
	assert_false(auth_shares_maildir(&auth, SLICE("bob")));

	/* A name that is there twice, and two that differ by case alone. */
	assert_int_equal(auth_check_config(&auth, true, &error), 0);
	assert_true(auth_get_fault(&auth, 2, &error));
	assert_false(auth_get_fault(&auth, 3, &error));
	auth_close(&auth);
	begin(&auth, "file:users", 60);
	assert_int_equal(auth_check_config(&auth, false, &error), 0);
	assert_true(auth_get_fault(&auth, 1, &error));
	assert_non_null(strstr(error.text, "users:6: "));
	assert_false(auth_get_fault(&auth, 2, &error));
	auth_close(&auth);

	/* Where there is no file, names are what was typed. */
	begin(&auth, "any", 60);
	assert_int_equal(auth_check_config(&auth, true, &error), 0);
	assert_false(auth_get_fault(&auth, 0, &error));
	assert_false(auth_shares_maildir(&auth, JOE));
	assert_slice(auth_name(&auth, SLICE("JOE")), "JOE");
	auth_close(&auth);
}

static void
test_exec(void **state)
{
	static const struct { const char *how; enum auth_outcome outcome; }
	rows[] = {
		{ "exec:true", AUTH_RIGHT },
		{ "exec:false", AUTH_WRONG },
		{ "exec:sh -c 'exit 2'", AUTH_TEMPORARY },
		{ "exec:sh -c 'exit 111'", AUTH_TEMPORARY },
		{ "exec:sh -c 'kill -9 $$'", AUTH_TEMPORARY },
		{ "exec:no-such-program-here", AUTH_TEMPORARY },
		/* The checkpassword interface: name, password, time. */
		{ "exec:sh -c 'tr \"\\000\" \" \" <&3 | "
		    "grep -qE \"^joe secret [0-9]{10,} $\"'", AUTH_RIGHT },
		/* Beside it, who asks and how. */
		{ "exec:sh -c 'test \"$MAIL_EVENT $MAIL_PEER $MAIL_MECHANISM "
		    "${MAIL_TLS-unset}. $TZ\" = "
		    "\"login 192.0.2.1:7 PLAIN . UTC\"'",
		    AUTH_RIGHT },
		{ "exec:sleep 20", AUTH_TEMPORARY },
	};
	struct auth auth;

	(void)state;
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		/* Time is short for the one that takes too long. */
		begin(&auth, rows[i].how, i + 1 == COUNT(rows) ? 1 : 60);
		assert_int_equal(auth.kind, AUTH_EXEC);
		check_login(&auth, &remote_peer, JOE, SECRET,
		    rows[i].outcome);
		assert_null(auth_maildir(&auth, JOE));
		auth_close(&auth);
	}
	begin(&auth, "exec:sh -c 'exit 2'", 60);
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_TEMPORARY);
	assert_text(error.text, "sh: exit status 2");
	auth_close(&auth);
	begin(&auth, "exec:true", 60);
	assert_int_equal(auth_check_config(&auth, true, &error), 0);
	/* NULs would end a field. */
	check_login(&auth, &local_peer, SLICE("j\0e"), SECRET, AUTH_WRONG);
	check_login(&auth, &local_peer, JOE, SLICE("se\0cret"), AUTH_WRONG);
	check_login(&auth, &local_peer, EMPTY, SECRET, AUTH_WRONG);
	check_login(&auth, &local_peer, JOE, EMPTY, AUTH_WRONG);
	auth_close(&auth);
	begin(&auth, "exec:no-such-program-here", 60);
	assert_int_equal(auth_check_config(&auth, true, &error), -1);
	assert_text(error.text, "--auth exec: no-such-program-here: not "
	    "found in PATH");
	auth_close(&auth);
}

/* As long as SASL lets them be, and no longer. */
static void
test_exec_lengths(void **state)
{
	static char text[SASL_TOKEN_MAX + 1];
	const struct slice name = { text, SASL_SECRET_MAX };
	const struct slice password = { text, SASL_TOKEN_MAX };
	struct auth auth;
	unsigned before = descriptors_open();

	(void)state;
	memset(text, 'x', sizeof(text));
	begin(&auth, "exec:sh -c 'test $(tr -d \"\\000\" <&3 | wc -c) -gt "
	    "9220'", 60);
	check_login(&auth, &remote_peer, name, password, AUTH_RIGHT);
	check_login(&auth, &remote_peer,
	    (struct slice){ text, SASL_SECRET_MAX + 1 }, password,
	    AUTH_WRONG);
	check_login(&auth, &remote_peer, name,
	    (struct slice){ text, SASL_TOKEN_MAX + 1 }, AUTH_WRONG);
	auth_close(&auth);
	/* What the program got is closed again. */
	assert_int_equal(descriptors_open(), before);
}

/* Where the program cannot be asked nobody is let in, nor told that the
 * password is wrong. */
static void
test_exec_trouble(void **state)
{
	struct rlimit limit, none;
	struct auth auth;

	(void)state;
	begin(&auth, "exec:true", 60);
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_TEMPORARY);
	setrlimit(RLIMIT_NOFILE, &limit);
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_RIGHT);

	/* More variables than are handed on. */
	for (int i = 0; i < ENVIRONMENT_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "LC_%d", i);
		setenv(name, "x", 1);
	}
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_TEMPORARY);
	for (int i = 0; i < ENVIRONMENT_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "LC_%d", i);
		unsetenv(name);
	}
	check_login(&auth, &remote_peer, JOE, SECRET, AUTH_RIGHT);
	auth_close(&auth);
}

/* A check has as long as --timeout says, and half a minute at most. */
static void
test_timeout(void **state)
{
	struct auth auth;

	(void)state;
	begin(&auth, "exec:true", AUTH_TIMEOUT - 1);
	assert_int_equal(auth.timeout, AUTH_TIMEOUT - 1);
	auth_close(&auth);
	begin(&auth, "exec:true", AUTH_TIMEOUT + 1);
	assert_int_equal(auth.timeout, AUTH_TIMEOUT);
	auth_close(&auth);
}

/* ---- penalties ---- */

static void
test_penalty(void **state)
{
	static const unsigned seconds[] = { 1, 2, 4, 8, 16, 16, 16 };

	(void)state;
	for (unsigned n = 1; n <= COUNT(seconds); n++)
		assert_int_equal(auth_penalty(n), 1000 * seconds[n - 1]);
	assert_int_equal(auth_penalty(1000000), 16000);

	/* It is waited for, whole. */
	int64_t began = clock_now();
	auth_delay(1);
	assert_true(clock_now() - began >= 1000);
}

/* SIGTERM, pending since before, ends the longest wait. In a process of its
 * own, for it stays requested. */
static void
test_penalty_ends(void **state)
{
	int status;

	(void)state;
	pid_t child = fork();
	if (child == 0) {
		int64_t began = clock_now();

		process_init();
		raise(SIGTERM);
		auth_delay(5);
		_exit(clock_now() - began < 16000 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_faults),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_lengths),
		cmocka_unit_test(test_exec_trouble),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_penalty),
		cmocka_unit_test(test_penalty_ends),
	};

	return cmocka_run_group_tests_name("auth", tests, set_up, tear_down);
}
