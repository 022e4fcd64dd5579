/*
 * test_auth.c - who may log in, from where, and what is said of others.
 */
#include "drive.h"

#include <signal.h>

#include "login/auth.h"

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
		{ "exec:sleep 20", AUTH_TEMPORARY },
	};
	struct auth auth;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&auth, rows[i].how, 1);
		assert_int_equal(auth.kind, AUTH_EXEC);
		check_login(&auth, &remote_peer, JOE, SECRET,
		    rows[i].outcome);
		assert_null(auth_maildir(&auth, JOE));
		auth_close(&auth);
	}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_exec),
	};

	return cmocka_run_group_tests_name("auth", tests, set_up, tear_down);
}
