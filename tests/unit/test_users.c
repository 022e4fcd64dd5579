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
	return users_read(&users, "users", NULL, &error);
}

static void
read_good(struct slice text)
{
	if (read_text(text) != 0)
		fail_msg("%s", error.text);
}

static void
check_user(size_t i, const char *name, const char *maildir)
{
	assert_true(i < users.n);
	assert_string_equal(users.items[i].name, name);
	assert_null(users.items[i].hash);
	assert_slices(slice_from(users.items[i].maildir),
	    slice_from(maildir));
	assert_int_equal(users.items[i].maildir != NULL, maildir != NULL);
}

/* No hash stays in memory, not of lines that are none either. */
static void
check_no_hash(void)
{
	for (size_t i = 0; i < users.text_len; i++)
		assert_true(users.text[i] != '$');
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
	check_no_hash();
	check_user(0, "joe", NULL);
	check_user(1, "ann@example.org", "/var/mail/ann");
	check_user(2, " \xC3\xB6 b ", "/a:b c");
	check_user(3, "last", NULL);
	users_free(&users);
	users_free(&users);
	read_good(SLICE("# joe:" SHA512 "\n$5$joe" SHA256 "\n"
	    "ann:x" BCRYPT "\n" "bob:" SHA256 ":relative\n"));
	assert_int_equal(users.n, 0);
	assert_int_equal(users.n_faults, 3);
	check_no_hash();
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

/* A line that cannot be read locks out one user, and is told. */
static void
test_faults(void **state)
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
		{ SLICE("joe:fourteen..long\n"), "users:1: " HASH },
		{ SLICE("joe:**\n"), "users:1: " HASH },
		{ SLICE("joe:*!\n"), "users:1: " HASH },
		{ SLICE("joe:x\n"), "users:1: " HASH },
		{ SLICE("joe:$6$salt\n"), "users:1: " HASH },
		{ SLICE("joe:$6$salt$\n"), "users:1: " HASH },
		{ SLICE("joe:" SHA512 "x\n"), "users:1: " HASH },
		{ SLICE("joe:" SHA256 " \n"), "users:1: " HASH },
		{ SLICE("joe: " SHA256 "\n"), "users:1: " HASH },
		{ SLICE("joe:$9$x$abc\n"), "users:1: " HASH },
		{ SLICE("joe:{SHA512-CRYPT}" SHA512 "\n"),
		    "users:1: " HASH },
	};
	struct text text = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		text_add(&text, rows[i].text);
		text_add(&text, SLICE("ann:" SHA256 ":/ann\n"));
		read_good(text_slice(&text));
		text_free(&text);
		if (users.n_faults != 1)
			fail_msg("%.*s", SLICE_ARG(rows[i].text));
		users_get_fault(&users, 0, &error);
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_int_equal(users.n, 1);
		check_user(0, "ann", "/ann");
		users_free(&users);
	}
	/* May be DES. */
	read_good(SLICE("joe:thirteen.long\n"));
	assert_int_equal(users.n, 1);
	assert_int_equal(users.n_faults, 0);
	users_free(&users);
	/* So many are told. */
	text_repeat(&text, '\n', 2);
	for (size_t i = 0; i < USERS_FAULTS_MAX + 4; i++)
		text_add(&text, SLICE("joe\n"));
	read_good(text_slice(&text));
	assert_int_equal(users.n_faults, USERS_FAULTS_MAX);
	users_get_fault(&users, 1, &error);
	assert_string_equal(error.text,
	    "users:4: a user is NAME:HASH[:MAILDIR]");
	users_free(&users);
	text_free(&text);
	/* What is no text is no file of users. */
	assert_int_equal(read_text(SLICE("# c\nann:" SHA256 "\njoe:" SHA256
	    "\0\n")), -1);
	assert_string_equal(error.text, "users:3: a NUL octet, which no text "
	    "has: nothing of the file counts until it is mended");
	assert_null(users.items);
}

static void
test_names_twice(void **state)
{
	static const char twice[] = "users:4: the same name is on line 1, "
	    "which counts";
	static const char shared[] = "users:3: but for the case, and so with "
	    "one maildir for both, the same name is on line 1, which counts";
	const char *want[] = { twice, shared };

	(void)state;
	read_good(SLICE("joe:" SHA256 "\nann:" SHA256 "\nJoe:*\n"
	    "joe:" SHA256 ":/joe\nJOE:" SHA256 ":/JOE\n"));
	for (int by_name = 1; by_name >= 0; by_name--) {
		users.n_faults = 0;
		assert_int_equal(users_check_names(&users, by_name, &error),
		    0);
		assert_int_equal(users.n_faults, 1 + by_name);
		/* In the order of lines. */
		users_get_fault(&users, (size_t)by_name, &error);
		assert_string_equal(error.text, want[0]);
		if (by_name) {
			users_get_fault(&users, 0, &error);
			assert_string_equal(error.text, want[1]);
		}
	}
	assert_false(users_shares_maildir(&users, &users.items[0]));
	assert_false(users_shares_maildir(&users, &users.items[1]));
	assert_true(users_shares_maildir(&users, &users.items[2]));
	assert_false(users_shares_maildir(&users, &users.items[3]));
	assert_false(users_shares_maildir(&users, &users.items[4]));
	users_free(&users);
}

static void
test_name_length(void **state)
{
	(void)state;
	for (size_t len = 254; len <= 257; len++) {
		struct text text = { .data = NULL };

		text_repeat(&text, 'n', len);
		text_add(&text, SLICE(":" SHA256 "\n"));
		read_good(text_slice(&text));
		assert_int_equal(users.n, len <= 255);
		assert_int_equal(users.n_faults, len > 255);
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
	assert_int_equal(users_read(&users, "users", NULL, &error), -1);
	assert_text(error.text, "users: anyone may read it; chmod o-r it");
	assert_int_equal(chmod("users", 0640), 0);
	assert_int_equal(users_read(&users, "users", NULL, &error), 0);
	users_free(&users);
	assert_int_equal(users_read(&users, "none", NULL, &error), -1);
	assert_text(error.text, "none: No such file or directory");
	assert_int_equal(error.kind, ERROR_CONFIG);
}

/* As written, else without regard to case, else without our domain; and the
 * first line of a name. */
static void
test_find(void **state)
{
	static const char *const names[] = { "Mail.Test", "example.org" };
	const struct domains domains = { names, COUNT(names) };
	static const struct { struct slice name; const char *maildir; }
	rows[] = {
		{ SLICE("joe"), "/1" }, { SLICE("Joe"), "/2" },
		{ SLICE("JOE"), "/1" }, { SLICE("ANN@b.test"), "/5" },
		{ SLICE("joe@mail.test"), "/1" },
		{ SLICE("Joe@EXAMPLE.ORG"), "/2" },
		{ SLICE("jOE@mail.test"), "/1" },
		{ SLICE("bob@mail.test"), "/4" }, { SLICE("bob"), NULL },
		{ SLICE("ann"), NULL }, { SLICE("ann@mail.test"), NULL },
		{ SLICE("joe@b.test"), NULL }, { SLICE("joe@"), NULL },
		{ SLICE("joe@mail.test."), NULL },
		{ SLICE("@mail.test"), NULL },
		{ SLICE("joe@x@mail.test"), NULL },
		{ SLICE("jo"), NULL }, { SLICE("joe "), NULL },
		{ SLICE("joe\0"), NULL }, { SLICE(""), NULL },
	};
	struct text text = { .data = NULL };
	char name[16];

	(void)state;
	directory_put(&directory, "users", SLICE("joe:" SHA256 ":/1\n"
	    "Joe:" SHA256 ":/2\njoe:" SHA256 ":/3\n"
	    "bob@Mail.test:" SHA256 ":/4\nann@b.test:" SHA256 ":/5\n"));
	assert_int_equal(users_read(&users, "users", &domains, &error), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct user *user = users_find(&users, rows[i].name);

		if ((user != NULL) != (rows[i].maildir != NULL))
			fail_msg("%.*s", SLICE_ARG(rows[i].name));
		if (user != NULL)
			assert_string_equal(user->maildir, rows[i].maildir);
	}
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
		{ SLICE("SHA512"), SLICE("secret"), USERS_RIGHT },
		/* They cannot log in. */
		{ SLICE("locked"), SLICE("secret"), USERS_WRONG },
		{ SLICE("locked"), SLICE("*"), USERS_WRONG },
		{ SLICE("off"), SLICE("secret"), USERS_WRONG },
		{ SLICE("off"), SLICE("!" SHA256), USERS_WRONG },
		{ SLICE(""), SLICE("secret"), USERS_WRONG },
	};

	(void)state;
	read_good(SLICE("sha512:" SHA512 "\nsha256:" SHA256 "\n"
	    "bcrypt:" BCRYPT "\nyescrypt:" YESCRYPT "\nlocked:*\n"
	    "off:!" SHA256 "\n"));
	assert_int_equal(users.n_faults, 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (users_check(&users, rows[i].name, rows[i].password,
		    &error) != rows[i].outcome)
			fail_msg("%.*s, %.*s", SLICE_ARG(rows[i].name),
			    SLICE_ARG(rows[i].password));
		if (rows[i].outcome == USERS_WRONG)
			assert_int_equal(error.kind, ERROR_PEER);
	}
	users_free(&users);
	/* Of no users nobody is right, nor where none can log in. */
	read_good(SLICE("joe:*\n"));
	assert_int_equal(users_check(&users, SLICE("joe"), SLICE("*"),
	    &error), USERS_WRONG);
	users_free(&users);
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
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_names_twice),
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
