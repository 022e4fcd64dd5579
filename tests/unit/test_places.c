/*
 * test_places.c - from recipients to maildirs and addresses elsewhere, and
 * whose address a sender's is.
 */
#include "drive.h"

#include <sys/stat.h>

#include "places.h"
#include "senders.h"

/* Nobody logs in here. */
#define HASH "*"

static const char *const domain_names[] = { "a.test", "b.test" };
static const struct domains domains = { domain_names, COUNT(domain_names) };

static struct directory directory;
static struct auth auth;
static struct aliases aliases;
static struct places places;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	assert_int_equal(mkdir("m", 0755), 0);
	assert_int_equal(mkdir("m/anna", 0755), 0);
	assert_int_equal(mkdir("m/ann@else.test", 0755), 0);
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

static void
begin(const char *pattern, enum auth_kind kind, bool create)
{
	auth = (struct auth){ .kind = kind };
	if (kind == AUTH_FILE) {
		directory_put(&directory, "users", SLICE("anna:" HASH "\n"
		    "bob:" HASH "\n"));
		assert_int_equal(users_read(&auth.users, "users", &domains,
		    &error), 0);
	}
	places = (struct places){ .setting = pattern, .hostname = "h.test",
		.domains = &domains, .auth = &auth, .create = create };
	places_set_login(&places, SLICE(""));
}

static void
end(void)
{
	places_free(&places);
	aliases_free(&aliases);
	if (auth.kind == AUTH_FILE)
		users_free(&auth.users);
}

/* "maildir, maildir -> address", as recipient i was found. */
static void
check(const char *path, size_t i, const char *want)
{
	const char *at = strrchr(path, '@');
	struct envelope_recipient who = { .path = slice_from(path) };
	struct text got = { .data = NULL };

	who.local = (struct slice){ path, at == NULL ? strlen(path)
	    : (size_t)(at - path) };
	who.domain = slice_from(at == NULL ? "" : at + 1);
	if (places_find(&places, &who, i, &error) < 0)
		fail_msg("%s: %s", path, error.text);
	for (size_t k = 0; k < places.n; k++)
		if (places.items[k].who == i)
			text_format(&got, "%s%s %s %zu", got.len > 0 ? ", "
			    : "", places.items[k].own ? "own" : "all",
			    places.items[k].maildir, places.items[k].fixed);
	for (size_t k = 0; k < places.n_elsewhere; k++)
		text_format(&got, " -> %.*s@%.*s",
		    SLICE_ARG(places.elsewhere[k].address.local),
		    SLICE_ARG(places.elsewhere[k].address.domain));
	if (!slice_equal(text_slice(&got), slice_from(want)))
		fail_msg("%s: %.*s, want %s", path,
		    SLICE_ARG(text_slice(&got)), want);
	text_free(&got);
}

static void
test_by_pattern(void **state)
{
	(void)state;
	begin("m/%u", AUTH_ANY, false);
	check("ann@else.test", 0, "own m/ann@else.test 15");
	check("dora@else.test", 1, " -> dora@else.test");
	/* At a domain of ours nobody else has it. */
	check("dora@a.test", 2, "");
	check("../x@a.test", 3, "");
	assert_int_equal(places.n, 1);
	end();
	/* So much of the path must be there. */
	begin("m/%d/%n", AUTH_ANY, true);
	check("dora@a.test", 0, "own m/a.test/dora 1");
	end();
}

static void
test_users(void **state)
{
	(void)state;
	begin("m/%u", AUTH_FILE, true);
	check("anna@a.test", 0, "own m/anna 1");
	check("ANNA@b.test", 1, "own m/anna 1");
	check("bob@a.test", 2, "own m/bob 1");
	check("carl@a.test", 3, "");
	check("postmaster", 4, "own m/anna 1");
	end();
}

static void
test_one_for_all(void **state)
{
	(void)state;
	begin("m/all", AUTH_ANY, false);
	check("x@a.test", 0, "all m/all 1");
	check("y@else.test", 1, "all m/all 1 -> y@else.test");
	end();
	/* Or for all that one login sends. */
	begin("m/%l", AUTH_ANY, false);
	check("x@a.test", 0, "");
	assert_null(places.pattern);
	places_set_login(&places, SLICE("Joe"));
	check("x@a.test", 0, "all m/joe 1");
	places_set_login(&places, SLICE("../joe"));
	places_reset(&places);
	check("x@a.test", 0, "");
	end();
}

/* Where no mail is kept at all, the next hop has our domains too. */
static void
test_nowhere(void **state)
{
	(void)state;
	begin(NULL, AUTH_ANY, false);
	assert_false(places_exist(&places));
	check("x@a.test", 0, " -> x@a.test");
	end();
}

static void
test_aliases(void **state)
{
	(void)state;
	begin("m/%u", AUTH_FILE, true);
	directory_put(&directory, "aliases", SLICE("all: anna, bob, "
	    "dora@else.test, nobody\nwrong: |x\n"));
	assert_int_equal(aliases_read(&aliases, "aliases", &domains, &error),
	    0);
	places.aliases = &aliases;
	check("all@a.test", 0,
	    "own m/anna 1, own m/bob 1 -> dora@else.test");
	assert_true(places.elsewhere[0].by_alias);
	assert_int_equal(places.nobody, 1);
	check("bob@a.test", 1, "own m/bob 1");
	assert_int_equal(places.nobody, 0);
	assert_int_equal(places.n, 3);
	/* Only what the last one added goes with it. */
	places_drop(&places, 1);
	assert_int_equal(places.n, 2);
	const struct envelope_recipient wrong = { .local = SLICE("wrong"),
		.domain = SLICE("a.test") };
	assert_int_equal(places_find(&places, &wrong, 1, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_int_equal(places.n, 2);
	end();
}

static void
test_senders(void **state)
{
	static const struct { const char *login, *sender; int foreign; }
	rows[] = {
		{ "anna", "anna@a.test", 0 },
		{ "Anna@b.test", "ANNA@a.test", 0 },
		{ "anna", "bob@a.test", 1 }, { "anna", "nobody@b.test", 1 },
		{ "anna", "sales@a.test", 0 }, { "bob", "sales@a.test", 1 },
		{ "anna", "", 0 }, { "anna", "bob@else.test", 0 },
		{ "anna", "postmaster@a.test", 0 },
		{ "bob", "postmaster@a.test", 1 },
		{ "bob", "any@b.test", 0 }, { "anna", "any@b.test", 1 },
		{ "anna", "wrong@a.test", -1 },
	};

	(void)state;
	begin("m/%u", AUTH_FILE, true);
	directory_put(&directory, "aliases", SLICE("sales: anna\n"
	    "@b.test: bob\nwrong: |x\n"));
	assert_int_equal(aliases_read(&aliases, "aliases", &domains, &error),
	    0);
	places.aliases = &aliases;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (senders_is_foreign(&places, slice_from(rows[i].login),
		    slice_from(rows[i].sender), &error) != rows[i].foreign)
			fail_msg("%s as %s", rows[i].login, rows[i].sender);
	end();
	/* Who the users are is not known. */
	begin("m/%u", AUTH_ANY, true);
	assert_int_equal(senders_is_foreign(&places, SLICE("anna"),
	    SLICE("bob@a.test"), &error), 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_by_pattern, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_users, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_one_for_all, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_nowhere, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_aliases, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_senders, set_up,
		    tear_down),
	};

	return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
