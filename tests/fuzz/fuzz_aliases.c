/*
 * fuzz_aliases.c - the file of --aliases, against a second reader of it, and
 * whom the addresses in it stand for.
 *
 * The input is the file. The second reader knows no quotes; with quotes in the
 * file only what must hold of any file is looked at: names are found, targets
 * are addresses, and whatever leads to whatever, resolving ends, and gives
 * nothing that is not in the file.
 */
#include "fuzz.h"

#include <regex.h>

#include "aliases.h"
#include "resolve.h"

static const char *const domain_names[] = { "a.test", "B.test" };
static const struct domains domains = { domain_names, COUNT(domain_names) };

#define LOCAL "[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"
#define LABEL "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"

enum rule { TARGET, NAME, RULES };

static const char *const rules[RULES] = {
	[TARGET] = "^" LOCAL "(@" LABEL "(\\." LABEL ")*\\.?)?$",
	[NAME] = "^(" LOCAL "(@(a\\.test|b\\.test)\\.?)?|"
	    "@(a\\.test|b\\.test))$",
};

static bool
matches(enum rule rule, struct slice text)
{
	static regex_t compiled[RULES];
	static bool done;
	char *copy = strndup(text.len > 0 ? text.data : "", text.len);

	CHECK(copy != NULL);
	for (size_t i = 0; i < RULES && !done; i++)
		CHECK(regcomp(&compiled[i], rules[i], REG_EXTENDED |
		    REG_ICASE | REG_NOSUB) == 0);
	done = true;
	bool found = regexec(&compiled[rule], copy, 0, NULL, 0) == 0;
	free(copy);
	return found;
}

/* ---- the second reader ---- */

/* Is a target good, where it has no quotes and is ASCII? */
static bool
is_target(struct slice word)
{
	return word.data[0] != '|' && word.data[0] != '/' &&
	    matches(TARGET, word);
}

static bool
is_name(struct slice word)
{
	return matches(NAME, word);
}

/* What the file should have: "name" with n targets, perhaps broken. */
static void
check_alias(const struct aliases *aliases, struct slice name,
    struct slice targets)
{
	struct slice local = name, domain = slice_from(""), word;
	size_t n = 0;
	bool broken = false, more;

	if (!slice_cut(name, '@', &local, &domain))
		domain = slice_from("");
	if (slice_ends_with(domain, SLICE(".")))
		domain.len--;
	const struct alias *alias = aliases_find(aliases, local, domain);
	CHECK(alias != NULL);
	/* Of several with one name the first counts. */
	if (aliases->n_faults > 0)
		return;
	do {
		more = slice_cut(targets, ',', &word, &targets);
		word = slice_trim(word);
		if (word.len == 0)
			continue;
		if (is_target(word))
			n++;
		else
			broken = true;
	} while (more);
	CHECK(alias->broken == (broken || n == 0));
	CHECK(alias->n == n);
}

/* Each alias, up to the first that goes on in another line. */
static void
check_file(const struct aliases *aliases, struct slice text)
{
	struct slice line, name, targets;
	bool more;

	do {
		more = slice_cut(text, '\n', &line, &text);
		if (more && text.len > 0 && strchr(" \t#\n\r",
		    text.data[0]) != NULL)
			return;
		if (line.len == 0 || strchr(" \t#\r", line.data[0]) != NULL ||
		    !slice_cut(line, ':', &name, &targets) ||
		    memchr(line.data, '\r', line.len) != NULL ||
		    !is_name(slice_trim(name)))
			continue;
		check_alias(aliases, slice_trim(name), targets);
	} while (more);
}

/* ---- what holds of any file ---- */

struct world {
	const struct aliases *aliases;
	struct slice asked;
	size_t taken;
};

static int
take(void *arg, enum resolve_step step, const struct resolve_name *name,
    struct error *error)
{
	struct world *world = arg;
	bool known = slice_equal(name->written.local, world->asked);
	struct text want = { .data = NULL };
	char whole[RESOLVE_NAME_MAX];

	(void)error;
	text_add(&want, name->local);
	text_add(&want, name->domain.len > 0 ? SLICE("@") : SLICE(""));
	text_add(&want, name->domain);
	CHECK_SAME(((struct slice){ whole, resolve_put_name(name, whole) }),
	    text_slice(&want));
	text_free(&want);
	CHECK(name->local.len <= RESOLVE_LOCAL_MAX);
	for (size_t i = 0; i < world->aliases->n_targets && !known; i++)
		known = slice_equal(world->aliases->targets[i].local,
		    name->written.local);
	CHECK(known);
	CHECK(name->by_alias || slice_equal(name->written.local,
	    world->asked));
	/* Some have a mailbox. */
	bool has = step == RESOLVE_MAILBOX ? name->local.len % 2 == 0
	    : !name->at_home;
	world->taken += has;
	return has;
}

static void
check_resolving(const struct aliases *aliases, struct slice local,
    struct slice domain)
{
	struct world world = { .aliases = aliases, .asked = local };
	const struct resolver resolver = { &domains, aliases, "+", take,
		&world };
	const struct address address = { local, domain };
	struct resolve_result result;
	struct error error;

	if (resolve_address(&resolver, &address, &result, &error) < 0)
		return;
	CHECK(result.taken == world.taken);
	CHECK(result.taken + result.nobody <= RESOLVE_MOST);
	CHECK(result.taken <= aliases->n_targets + 1);
}

static void
check_any(const struct aliases *aliases)
{
	struct error error;

	CHECK(aliases->n_faults <= ALIASES_FAULTS_MAX);
	for (size_t i = 0; i < aliases->n_faults; i++) {
		aliases_get_fault(aliases, i, &error);
		CHECK(error.kind == ERROR_CONFIG && error.text[0] != '\0');
	}
	for (size_t i = 0; i < aliases->n; i++) {
		const struct alias *alias = &aliases->items[i];

		CHECK(aliases_find(aliases, alias->local, alias->domain) ==
		    alias);
		CHECK(alias->domain.len == 0 ||
		    domains_have(&domains, alias->domain));
		CHECK(alias->local.len > 0 || alias->domain.len > 0);
		CHECK(alias->n > 0 || alias->broken);
		CHECK(alias->first + alias->n <= aliases->n_targets);
		check_resolving(aliases, alias->local, alias->domain.len > 0
		    ? alias->domain : SLICE("b.test"));
	}
	check_resolving(aliases, SLICE("x+y"), SLICE("a.test"));
	check_resolving(aliases, SLICE("postmaster"), SLICE(""));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct slice input = fuzz_slice(data, size);
	struct aliases aliases;
	struct error error;

	fuzz_file_put(&file, input);
	int result = aliases_read(&aliases, file.path, &domains, &error);
	/* What file_read takes for no file of text. */
	CHECK((result < 0) == (input.len > 0 &&
	    memchr(input.data, '\0', input.len) != NULL));
	if (result < 0)
		return 0;
	check_any(&aliases);
	if (slice_is_ascii(input) && (input.len == 0 ||
	    memchr(input.data, '"', input.len) == NULL))
		check_file(&aliases, input);
	aliases_free(&aliases);
	return 0;
}
