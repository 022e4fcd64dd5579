/*
 * test_accounts_show.c - the accounts in words, and which are never reached.
 */
#include "drive.h"

#include "accounts_show.h"

static struct directory directory;
static struct accounts accounts;
static struct error error;

/* What is shown of such a file. */
static void
check(struct slice file, const char *wanted)
{
	char *shown = NULL;
	size_t len;

	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	directory_put(&directory, "relay", file);
	if (accounts_read(&accounts, "relay", &error) != 0)
		fail_msg("%s", error.text);
	FILE *out = open_memstream(&shown, &len);
	accounts_show(&accounts, "relay", out);
	fclose(out);
	assert_string_equal(shown, wanted);
	free(shown);
	accounts_free(&accounts);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
}

static void
test_accounts(void **state)
{
	(void)state;
	check(SLICE("# first\nJoe@x.test smtps://h joe hush for=joe\n"
	    "x.test smtp://h:26?verify=no me exec:true x\n"
	    "y.test. smtp+plain://[::1]:26\n"
	    "z.test smtps://h?auth=oauthbearer me file:pw\n"
	    "* lmtp+unix:/run/lmtp\n"),
	    "relay:2: mail from <Joe@x.test> by the login joe goes to "
	    "smtps://h:465 as joe\n"
	    "relay:3: mail from any address at x.test by any login goes to "
	    "smtp://h:26 as me, whatever its certificate\n"
	    "relay:4: mail from any address at y.test by any login goes to "
	    "smtp+plain://[::1]:26, in the clear\n"
	    "relay:5: mail from any address at z.test by any login goes to "
	    "smtps://h:465 as me by OAUTHBEARER\n"
	    "relay:6: mail from any sender (and <>) by any login goes to "
	    "lmtp+unix:/run/lmtp, in the clear\n");
}

#define GOES " by any login goes to lmtp://h:24, in the clear"
#define NEVER "; but never, for line 1 comes first"

static void
test_hidden(void **state)
{
	(void)state;
	check(SLICE("x.test lmtp://h\na@X.test lmtp://h\nb@y.test lmtp://h\n"
	    "x.test lmtp://h\n* lmtp://h\n"),
	    "relay:1: mail from any address at x.test" GOES "\n"
	    "relay:2: mail from <a@X.test>" GOES NEVER "\n"
	    "relay:3: mail from <b@y.test>" GOES "\n"
	    "relay:4: mail from any address at x.test" GOES NEVER "\n"
	    "relay:5: mail from any sender (and <>)" GOES "\n");
	/* Who may use the first one only counts for those. */
	check(SLICE("* lmtp://h for=joe\n* lmtp://h\n* lmtp://h for=joe\n"),
	    "relay:1: mail from any sender (and <>) by the login joe goes to "
	    "lmtp://h:24, in the clear\n"
	    "relay:2: mail from any sender (and <>)" GOES "\n"
	    "relay:3: mail from any sender (and <>) by the login joe goes to "
	    "lmtp://h:24, in the clear" NEVER "\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_hidden),
	};

	return cmocka_run_group_tests_name("accounts_show", tests, NULL,
	    NULL);
}
