/*
 * test_users.c - the file of --auth file:PATH, and the passwords in it.
 *
 * The hashes are of "secret" by the methods of crypt(5), as cheap as each
 * allows.
 */
#include "drive.h"

#include "protocol/sasl.h"
#include "login/users.h"

#define SHA512 "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2" \
	"SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/"
#define SHA256 "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoO" \
	"QhiIvoSWX2"
#define BCRYPT "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8W" \
	"IrW"
#define YESCRYPT "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/HAmA1BpMnBsYHMWB4NZN4$HDtJ" \
	"cZhEDN4lYyPsFs6qifx7sabk8w1.1PAkGR8ixD6"

static struct directory directory;
static struct users users;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
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

static int
read_text(struct slice text)
{
	directory_put(&directory, "users", text);
	return users_read(&users, "users", &error);
}

static void
read_good(struct slice text)
{
	if (read_text(text) != 0)
		fail_msg("%s", error.text);
}

static void
check_user(size_t i, const char *name, const char *hash, const char *maildir)
{
	assert_true(i < users.n);
	assert_string_equal(users.items[i].name, name);
	assert_string_equal(users.items[i].hash, hash);
	assert_slices(slice_from(users.items[i].maildir),
	    slice_from(maildir));
	assert_int_equal(users.items[i].maildir != NULL, maildir != NULL);
}

static void
test_lines(void **state)
{
	(void)state;
	read_good(SLICE("# users\n\njoe:" SHA512 "\r\n"
	    "ann@example.org:" BCRYPT ":/var/mail/ann\n"
	    "#none:x\n \xC3\xB6 b :" YESCRYPT ":/a:b c\n"
	    "last:" SHA256));
	assert_int_equal(users.n, 4);
	check_user(0, "joe", SHA512, NULL);
	check_user(1, "ann@example.org", BCRYPT, "/var/mail/ann");
	check_user(2, " \xC3\xB6 b ", YESCRYPT, "/a:b c");
	check_user(3, "last", SHA256, NULL);
	users_free(&users);
	users_free(&users);

	/* Nobody may log in: that is no mistake. */
	read_good(SLICE(""));
	assert_int_equal(users.n, 0);
	users_free(&users);
	read_good(SLICE("# none\n\n"));
	assert_int_equal(users.n, 0);
	users_free(&users);
}

#define HASH "the hash is none that crypt(3) knows; make one with " \
	"mkpasswd(1) or openssl passwd -6"
#define NAME "a user's name has 1 to 255 octets and no control characters"

static void
test_errors(void **state)
{
	static const struct { struct slice text; const char *why; } rows[] = {
		{ SLICE("joe\n"), "users:1: a user is NAME:HASH[:MAILDIR]" },
		{ SLICE("#\n\n  joe\n"),
		    "users:3: a user is NAME:HASH[:MAILDIR]" },
		{ SLICE(":" SHA256 "\n"), "users:1: " NAME },
		{ SLICE("a\tb:" SHA256 "\n"), "users:1: " NAME },
		{ SLICE("a:" SHA256 ":mail\n"),
		    "users:1: a user's maildir must be an absolute path" },
		{ SLICE("a:" SHA256 ":\n"),
		    "users:1: a user's maildir must be an absolute path" },
		/* Passwords in clear text, and they are not shown. */
		{ SLICE("joe:secret\n"), "users:1: " HASH },
		{ SLICE("joe:\n"), "users:1: " HASH },
		{ SLICE("joe:thirteen.long\n"), NULL }, /* may be DES */
		{ SLICE("joe:fourteen..long\n"), "users:1: " HASH },
		{ SLICE("joe:!" SHA256 "\n"), "users:1: " HASH },
		{ SLICE("joe:*\n"), "users:1: " HASH },
		{ SLICE("joe:x\n"), "users:1: " HASH },
		{ SLICE("joe:$6$salt\n"), "users:1: " HASH },
		{ SLICE("joe:$6$salt$\n"), "users:1: " HASH },
		{ SLICE("joe:" SHA512 "x\n"), "users:1: " HASH },
		{ SLICE("joe:" SHA256 " \n"), "users:1: " HASH },
		{ SLICE("joe: " SHA256 "\n"), "users:1: " HASH },
		{ SLICE("joe:$9$x$abc\n"), "users:1: " HASH },
		{ SLICE("joe:{SHA512-CRYPT}" SHA512 "\n"),
		    "users:1: " HASH },
		{ SLICE("joe:" SHA256 "\nann:" SHA256 "\nbob\n"),
		    "users:3: a user is NAME:HASH[:MAILDIR]" },
		{ SLICE("joe:" SHA256 "\0\n"), "users: has NUL bytes" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].why == NULL) {
			read_good(rows[i].text);
			users_free(&users);
			continue;
		}
		if (read_text(rows[i].text) == 0)
			fail_msg("%.*s", SLICE_ARG(rows[i].text));
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_null(users.items);
	}
}

static void
test_name_length(void **state)
{
	(void)state;
	for (size_t len = 254; len <= 257; len++) {
		struct text text = { .data = NULL };

		text_repeat(&text, 'n', len);
		text_add(&text, SLICE(":" SHA256 "\n"));
		assert_int_equal(read_text(text_slice(&text)),
		    len <= 255 ? 0 : -1);
		if (len <= 255)
			users_free(&users);
		text_free(&text);
	}
}

static void
test_permissions(void **state)
{
	(void)state;
	directory_put(&directory, "users", SLICE("a:" SHA256 "\n"));
	assert_int_equal(chmod("users", 0644), 0);
	assert_int_equal(users_read(&users, "users", &error), -1);
	assert_text(error.text, "users: anyone may read it; chmod o-r it");
	assert_int_equal(chmod("users", 0640), 0);
	assert_int_equal(users_read(&users, "users", &error), 0);
	users_free(&users);
	assert_int_equal(users_read(&users, "none", &error), -1);
	assert_text(error.text, "none: No such file or directory");
	assert_int_equal(error.kind, ERROR_CONFIG);
}

/* Octet by octet, and the first line of a name. */
static void
test_find(void **state)
{
	struct text text = { .data = NULL };
	char name[16];

	(void)state;
	read_good(SLICE("joe:" SHA256 ":/1\nJoe:" SHA256 ":/2\n"
	    "joe:" SHA256 ":/3\n"));
	assert_string_equal(users_find(&users, SLICE("joe"))->maildir, "/1");
	assert_string_equal(users_find(&users, SLICE("Joe"))->maildir, "/2");
	assert_null(users_find(&users, SLICE("JOE")));
	assert_null(users_find(&users, SLICE("jo")));
	assert_null(users_find(&users, SLICE("joe ")));
	assert_null(users_find(&users, SLICE("joe\0")));
	assert_null(users_find(&users, SLICE("")));
	/* As the parts of an address are compared. */
	assert_string_equal(users_find_nocase(&users, SLICE("JOE"))->maildir,
	    "/1");
	assert_null(users_find_nocase(&users, SLICE("jo")));
	assert_null(users_find_nocase(&users, SLICE("")));
	users_free(&users);

	/* Each of many. */
	for (int i = 0; i < 1000; i++)
		text_format(&text, "user%d:" SHA256 ":/%d\n", i, i);
	read_good(text_slice(&text));
	assert_int_equal(users.n, 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		const struct user *user = users_find(&users,
		    slice_from(name));
		assert_non_null(user);
		snprintf(name, sizeof(name), "/%d", i);
		assert_string_equal(user->maildir, name);
	}
	users_free(&users);
	text_free(&text);
}

static void
test_check(void **state)
{
	static const struct {
		struct slice name, password;
		enum users_outcome outcome;
	} rows[] = {
		{ SLICE("sha512"), SLICE("secret"), USERS_RIGHT },
		{ SLICE("sha256"), SLICE("secret"), USERS_RIGHT },
		{ SLICE("bcrypt"), SLICE("secret"), USERS_RIGHT },
		{ SLICE("yescrypt"), SLICE("secret"), USERS_RIGHT },
		{ SLICE("sha512"), SLICE("Secret"), USERS_WRONG },
		{ SLICE("sha256"), SLICE("secre"), USERS_WRONG },
		{ SLICE("bcrypt"), SLICE("secret "), USERS_WRONG },
		{ SLICE("yescrypt"), SLICE(""), USERS_WRONG },
		/* The hash is no password. */
		{ SLICE("sha256"), SLICE(SHA256), USERS_WRONG },
		/* Right for everybody that there is, and for nobody else. */
		{ SLICE("nobody"), SLICE("secret"), USERS_WRONG },
		{ SLICE("SHA512"), SLICE("secret"), USERS_WRONG },
		{ SLICE(""), SLICE("secret"), USERS_WRONG },
	};

	(void)state;
	read_good(SLICE("sha512:" SHA512 "\nsha256:" SHA256 "\n"
	    "bcrypt:" BCRYPT "\nyescrypt:" YESCRYPT "\n"));
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (users_check(&users, rows[i].name, rows[i].password,
		    &error) != rows[i].outcome)
			fail_msg("%.*s, %.*s", SLICE_ARG(rows[i].name),
			    SLICE_ARG(rows[i].password));
		if (rows[i].outcome == USERS_WRONG)
			assert_int_equal(error.kind, ERROR_PEER);
	}
	users_free(&users);
	/* Of no users nobody is right. */
	read_good(SLICE(""));
	assert_int_equal(users_check(&users, SLICE("joe"), SLICE("secret"),
	    &error), USERS_WRONG);
	users_free(&users);
}

/* crypt(3) reads up to a NUL; a password goes on after it. */
static void
test_nul_in_password(void **state)
{
	(void)state;
	read_good(SLICE("joe:" SHA256 "\n"));
	assert_int_equal(users_check(&users, SLICE("joe"),
	    SLICE("secret\0"), &error), USERS_WRONG);
	assert_int_equal(users_check(&users, SLICE("joe"),
	    SLICE("secret\0more"), &error), USERS_WRONG);
	users_free(&users);
}

static void
test_long_password(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	read_good(SLICE("joe:" SHA256 "\n"));
	text_repeat(&text, 'x', SASL_SECRET_MAX);
	assert_int_equal(users_check(&users, SLICE("joe"),
	    text_slice(&text), &error), USERS_WRONG);
	text_repeat(&text, 'x', 1);
	assert_int_equal(users_check(&users, SLICE("joe"),
	    text_slice(&text), &error), USERS_WRONG);
	users_free(&users);
	text_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_nul_in_password),
		cmocka_unit_test(test_long_password),
	};

	return cmocka_run_group_tests_name("users", tests, set_up,
	    tear_down);
}
