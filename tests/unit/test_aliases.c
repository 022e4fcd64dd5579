/*
 * test_aliases.c - the file of --aliases FILE, and whom an address stands for
 * by it.
 */
#include "drive.h"

#include "aliases.h"
#include "resolve.h"

static const char *const domain_names[] = { "a.test", "B.test" };
static const struct domains domains = { domain_names, COUNT(domain_names) };

static struct directory directory;
static struct aliases aliases;
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

static void
read_text(const char *text)
{
	directory_put(&directory, "aliases", slice_from(text));
	if (aliases_read(&aliases, "aliases", &domains, &error) != 0)
		fail_msg("%s", error.text);
}

/* ---- the file ---- */

/* "local@domain: target, target", as it was read. */
static void
check_alias(const char *local, const char *domain, const char *targets)
{
	const struct alias *alias = aliases_find(&aliases, slice_from(local),
	    slice_from(domain));
	struct text got = { .data = NULL };

	if (alias == NULL)
		fail_msg("no alias %s@%s", local, domain);
	for (size_t i = 0; i < alias->n; i++) {
		const struct address *target =
		    &aliases.targets[alias->first + i];
		text_format(&got, "%s%.*s%s%.*s", i > 0 ? ", " : "",
		    SLICE_ARG(target->local),
		    target->domain.len > 0 ? "@" : "",
		    SLICE_ARG(target->domain));
	}
	assert_slices(text_slice(&got), slice_from(targets));
	text_free(&got);
}

static void
test_lines(void **state)
{
	(void)state;
	read_text("# comment\n\nsales: anna, bob\r\n"
	    "  \t,carl@else.test,\n# another\n\n\tdora\n"
	    "Info@A.test :joe.\n@b.test:  \"x y\"@else.test \n"
	    "\"a:b, c\\\"d\": \"e,f\"\nlast:x");
	assert_int_equal(aliases.n_faults, 0);
	assert_int_equal(aliases.n, 5);
	check_alias("SALES", "", "anna, bob, carl@else.test, dora");
	check_alias("info", "a.TEST", "joe.");
	check_alias("", "b.test", "\"x y\"@else.test");
	check_alias("a:b, c\"d", "", "\"e,f\"");
	check_alias("last", "", "x");
	assert_null(aliases_find(&aliases, SLICE("info"), SLICE("")));
	assert_null(aliases_find(&aliases, SLICE("info"), SLICE("b.test")));
	assert_null(aliases_find(&aliases, SLICE(""), SLICE("a.test")));
	assert_null(aliases_find(&aliases, SLICE("sale"), SLICE("")));
	assert_null(aliases_find(&aliases, SLICE("saless"), SLICE("")));
	aliases_free(&aliases);
	read_text("");
	assert_null(aliases_find(&aliases, SLICE("x"), SLICE("")));
	aliases_free(&aliases);
}

/* What is wrong is said with its line, and whose mail it would be cannot be
 * told. */
static void
test_faults(void **state)
{
	static const struct { const char *text, *why; bool broken; } rows[] = {
		{ "x y\n", "aliases:1: an alias is NAME: TARGET, TARGET",
		    false },
		{ "\nx:\n", "aliases:2: it has no target", true },
		{ "x: ,\n , \n", "aliases:1: it has no target", true },
		{ "  y\nx: z\n", "aliases:1: a line that begins with a blank "
		    "goes on with the one before it", false },
		{ "x: y, |cat\n", "aliases:1: a program cannot be a target",
		    true },
		{ "x: \"|cat /x\"\n", "aliases:1: a program cannot be a "
		    "target", true },
		{ "x: y,\n /var/mail/x\n", "aliases:2: a file cannot be a "
		    "target", true },
		{ "x: :include:/x\n", "aliases:1: a file cannot be a target",
		    true },
		{ "x: y # me\n", "aliases:1: a comment stands on a line of its "
		    "own", true },
		{ "x: y z\n", "aliases:1: a target is a user or an address, "
		    "and a comma stands between two of them", true },
		{ "x: y@\n", "aliases:1: a target is a user or an address, "
		    "and a comma stands between two of them", true },
		{ "x: <y@z>\n", "aliases:1: a target is a user or an address, "
		    "and a comma stands between two of them", true },
		{ "x@else.test: y\n", "aliases:1: its domain is none of ours: "
		    "--domain says which are", false },
		{ "@else.test: y\n", "aliases:1: its domain is none of ours: "
		    "--domain says which are", false },
		{ "@: y\n", "aliases:1: what stands after the @ is no domain",
		    false },
		{ "<x>: y\n", "aliases:1: a name is what stands before the @ "
		    "of an address, a whole address, or @domain", false },
		{ "\"\": y\n", "aliases:1: its name is empty", false },
		{ "\"\"@a.test: y\n", "aliases:1: its name is empty", false },
		{ "x: y\nz: y\nX: w\n", "aliases:3: the same name is on line "
		    "1, which counts", false },
		/* A line that goes on with one that is skipped. */
		{ "x y\n  z\n", "aliases:1: an alias is NAME: TARGET, TARGET",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		read_text(rows[i].text);
		if (aliases.n_faults != 1)
			fail_msg("%s: %zu faults", rows[i].text,
			    aliases.n_faults);
		aliases_get_fault(&aliases, 0, &error);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_string_equal(error.text, rows[i].why);
		const struct alias *x = aliases_find(&aliases, SLICE("x"),
		    SLICE(""));
		assert_int_equal(x != NULL && x->broken, rows[i].broken);
		aliases_free(&aliases);
	}
	/* The first of two counts. */
	read_text("x: y\nX: w\n");
	check_alias("x", "", "y");
	aliases_free(&aliases);
	/* However many: some are told. */
	struct text many = { .data = NULL };
	for (size_t i = 0; i < 1000; i++)
		text_add(&many, SLICE("x\n"));
	text_add(&many, SLICE("a: b\n"));
	text_add(&many, SLICE("\0"));
	read_text(many.data);
	assert_int_equal(aliases.n_faults, ALIASES_FAULTS_MAX);
	check_alias("a", "", "b");
	aliases_free(&aliases);
	text_free(&many);
}

static void
test_no_file(void **state)
{
	(void)state;
	assert_int_equal(aliases_read(&aliases, "missing", &domains, &error),
	    -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	directory_put(&directory, "aliases", SLICE("a: b\0"));
	assert_int_equal(aliases_read(&aliases, "aliases", &domains, &error),
	    -1);
}

/* ---- what an address stands for ---- */

/* Those who have a mailbox, with and without "rest" a place for all others. */
struct world {
	const char *const *users;
	bool rest;
	struct text taken;
};

static int
take(void *arg, enum resolve_step step, const struct resolve_name *name,
    struct error *why)
{
	struct world *world = arg;
	const char *mark = "";

	if (step == RESOLVE_REST) {
		if (!name->at_home)
			mark = "-> ";
		else if (world->rest)
			mark = "rest ";
		else
			return 0;
	} else {
		size_t i = 0;

		while (world->users[i] != NULL && (!name->at_home ||
		    !slice_equal_nocase(slice_from(world->users[i]),
		    name->local)))
			i++;
		if (world->users[i] == NULL)
			return 0;
		if (strcmp(world->users[i], "sick") == 0)
			return error_set(why, ERROR_SYSTEM, "no disk");
	}
	text_format(&world->taken, "%s%s%.*s@%.*s",
	    world->taken.len > 0 ? ", " : "", mark, SLICE_ARG(name->local),
	    SLICE_ARG(name->domain));
	return 1;
}

/* Whom "local@domain" stands for, or NULL for an error. */
static void
check_behind(const char *asked, bool rest, const char *taken, size_t nobody)
{
	static const char *const users[] = { "anna", "bob", "c+d", "sick",
		NULL };
	struct world world = { users, rest, { .data = NULL } };
	const struct resolver resolver = { &domains, &aliases, "+-", take,
		&world };
	struct address address = { .local = slice_from("") };
	struct resolve_result result;
	const char *at = strrchr(asked, '@');

	address.local = (struct slice){ asked, at == NULL ? strlen(asked)
	    : (size_t)(at - asked) };
	address.domain = slice_from(at == NULL ? "" : at + 1);
	int outcome = resolve_address(&resolver, &address, &result, &error);
	if (taken == NULL) {
		assert_int_equal(outcome, -1);
	} else {
		assert_int_equal(outcome, 0);
		if (!slice_equal(text_slice(&world.taken), slice_from(taken)))
			fail_msg("%s: %.*s, want %s", asked,
			    SLICE_ARG(text_slice(&world.taken)), taken);
		assert_int_equal(result.nobody, nobody);
		assert_int_equal(result.taken > 0, taken[0] != '\0');
	}
	text_free(&world.taken);
}

static void
test_behind(void **state)
{
	(void)state;
	read_text("sales: anna, bob, carl@else.test\n"
	    "Info@a.test: anna\ninfo: bob\n"
	    "@b.test: anna\n"
	    "postmaster: bob\n"
	    "all: sales, info@A.test, dora, bob\n"
	    "anna: anna, x@else.test\n"
	    "loop: pool\npool: loop\nself@a.test: self@a.test\nself: bob\n"
	    "ring: pool, anna\n"
	    "team+x: bob\nteam: anna\n"
	    "broken: bob, |x\nuses: broken\n"
	    "bob+away: x@else.test\nboth: bob+away, bob+away\n"
	    "ill: sick, bob\n"
	    "\"x y\": bob\n");
	assert_int_equal(aliases.n_faults, 1);
	/* Who is nobody's alias. */
	check_behind("bob@a.test", false, "bob@a.test", 0);
	check_behind("BOB@B.TEST", false, "BOB@B.TEST", 0);
	check_behind("bob@else.test", false, "-> bob@else.test", 0);
	check_behind("dora@a.test", false, "", 0);
	check_behind("dora@a.test", true, "rest dora@a.test", 0);
	/* Aliases; what is written without a domain is at our first. */
	check_behind("sales@b.test", false, "bob@a.test, -> carl@else.test, "
	    "anna@a.test, -> x@else.test", 0);
	/* The whole address before the local part, and both before @domain,
	 * which comes after a mailbox. */
	check_behind("info@a.test", false, "anna@a.test, -> x@else.test", 0);
	check_behind("info@b.test", false, "bob@a.test", 0);
	check_behind("dora@b.test", true, "anna@a.test, -> x@else.test", 0);
	check_behind("bob@b.test", false, "bob@b.test", 0);
	check_behind("postmaster", false, "bob@a.test", 0);
	check_behind("PostMaster@B.test", false, "bob@a.test", 0);
	/* A user whom two name comes twice, and one maildir is one copy; an
	 * alias that is named twice counts once. Who is nobody is counted. */
	check_behind("all@a.test", false, "bob@a.test, bob@a.test, "
	    "-> carl@else.test, anna@a.test, -> x@else.test", 1);
	check_behind("both@a.test", false, "-> x@else.test", 0);
	/* Circles end, at a mailbox where there is one. */
	check_behind("anna@a.test", false, "anna@a.test, -> x@else.test", 0);
	check_behind("loop@a.test", false, "", 1);
	check_behind("loop@a.test", true, "rest loop@a.test", 0);
	check_behind("self@a.test", false, "", 1);
	check_behind("ring@a.test", false, "anna@a.test, -> x@else.test", 1);
	/* Behind a delimiter, where it is nobody itself. */
	check_behind("bob+shop-1@b.test", false, "bob@b.test", 0);
	check_behind("bob-x+y@a.test", false, "bob@a.test", 0);
	check_behind("team+x@a.test", false, "bob@a.test", 0);
	check_behind("team+y@a.test", false, "anna@a.test, -> x@else.test",
	    0);
	check_behind("c+d@a.test", false, "c+d@a.test", 0);
	check_behind("+bob@a.test", false, "", 0);
	check_behind("dora+x@b.test", false, "anna@a.test, -> x@else.test",
	    0);
	check_behind("bob+x@else.test", false, "-> bob+x@else.test", 0);
	check_behind("dora+x@a.test", true, "rest dora+x@a.test", 0);
	/* Quotes are no part of a name (RFC 5321 4.1.2). */
	check_behind("\"x y\"@a.test", false, "bob@a.test", 0);
	check_behind("\"bo\\b\"@a.test", false, "bob@a.test", 0);
	/* For whom it is cannot be told. */
	check_behind("broken@a.test", false, NULL, 0);
	assert_int_equal(error.kind, ERROR_CONFIG);
	check_behind("uses@a.test", false, NULL, 0);
	check_behind("ill@a.test", false, NULL, 0);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	aliases_free(&aliases);
}

/* An address may stand for so many, and no more. */
static void
test_many(void **state)
{
	struct text text = { .data = NULL };
	struct text want = { .data = NULL };

	(void)state;
	text_add(&text, SLICE("all: bob"));
	text_add(&want, SLICE("bob@a.test"));
	/* Beside the one that was asked for. */
	for (size_t i = 2; i < RESOLVE_MOST; i++) {
		text_add(&text, SLICE(",bob"));
		text_add(&want, SLICE(", bob@a.test"));
	}
	text_add(&text, SLICE("\nmore: all, bob\n"));
	text_add(&text, SLICE("\0"));
	text_add(&want, SLICE("\0"));
	read_text(text.data);
	check_behind("all@a.test", false, want.data, 0);
	check_behind("more@a.test", false, NULL, 0);
	aliases_free(&aliases);
	text_free(&text);
	text_free(&want);
	/* Longer than any name of ours. */
	read_text("");
	text_repeat(&text, 'x', RESOLVE_LOCAL_MAX + 1);
	text_add(&text, SLICE("@a.test\0"));
	check_behind(text.data, false, "", 0);
	aliases_free(&aliases);
	text_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("aliases", tests, set_up,
	    tear_down);
}
