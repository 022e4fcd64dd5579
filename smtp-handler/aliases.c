/*
 * aliases.c - other names for users, and addresses elsewhere.
 */
#include "aliases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "system/file.h"

/* ---- words ---- */

/* The first of the octet that is in no quotes; NULL where there is none. */
static char *
find_unquoted(char *text, char wanted)
{
	bool quoted = false;

	for (char *at = text; *at != '\0'; at++) {
		if (quoted && *at == '\\' && at[1] != '\0')
			at++;
		else if (*at == '"')
			quoted = !quoted;
		else if (*at == wanted && !quoted)
			return at;
	}
	return NULL;
}

size_t
aliases_unquote(struct slice local, char *out)
{
	size_t n = 0;

	if (local.len == 0 || local.data[0] != '"') {
		memmove(out, local.data, local.len);
		return local.len;
	}
	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.data[i] == '\\' && i + 2 < local.len)
			i++;
		out[n++] = local.data[i];
	}
	return n;
}

/* A local part or an address, and nothing else. */
static bool
parse_mailbox(struct slice text, struct address *address)
{
	if (text.len == 0 || text.data[0] == '<' || text.data[0] == '@')
		return false;
	return address_parse_path(&text, ADDRESS_FORWARD, true, address) ==
	    ADDRESS_OK && text.len == 0;
}

/* ---- a line ---- */

/* What is wrong with it, or NULL. The text is overwritten. */
static const char *
parse_name(const struct aliases *aliases, char *text, struct alias *alias)
{
	struct slice name = slice_trim(slice_from(text));
	struct address address = { .local = slice_from("") };

	if (slice_starts_with(name, SLICE("@"))) {
		address.domain = slice_skip(name, 1);
		if (!address_is_domain(address.domain, true))
			return "what stands after the @ is no domain";
	} else if (!parse_mailbox(name, &address)) {
		return "a name is what stands before the @ of an address, a "
		    "whole address, or @domain";
	}
	if (address.domain.len > 0 &&
	    !domains_have(aliases->domains, address.domain))
		return "its domain is none of ours: --domain says which are";
	char *local = text + (name.data - text);
	alias->domain = address.domain;
	alias->local = (struct slice){ local,
		aliases_unquote(address.local, local) };
	if (address.local.len > 0 && alias->local.len == 0)
		return "its name is empty";
	return NULL;
}

/* Doubles when full: n is a power of two then. NULL: no memory. */
static void *
grow(void *items, size_t n, size_t size)
{
	return (n & (n - 1)) != 0 ? items
	    : realloc(items, (n == 0 ? 1 : n * 2) * size);
}

/* What is wrong with a target, which has at least one octet; or NULL. What
 * is a program or a file to others would be a local part by the grammar. */
static const char *
parse_target(struct slice target, struct address *address)
{
	char first = target.data[0] == '"' && target.len > 1 ? target.data[1]
	                                                     : target.data[0];

	if (first == '|')
		return "a program cannot be a target";
	if (first == '/' || first == ':')
		return "a file cannot be a target";
	if (parse_mailbox(target, address))
		return NULL;
	if (memchr(target.data, '#', target.len) != NULL)
		return "a comment stands on a line of its own";
	return "a target is a user or an address, and a comma stands between "
	    "two of them";
}

/* 0, or -1 for want of memory. */
static int
add_targets(struct aliases *aliases, struct alias *alias, char *text,
    const char **fault)
{
	for (char *next; text != NULL; text = next) {
		next = find_unquoted(text, ',');
		if (next != NULL)
			*next++ = '\0';
		struct slice word = slice_trim(slice_from(text));
		struct address address;

		if (word.len == 0)
			continue;
		const char *why = parse_target(word, &address);
		if (why != NULL) {
			*fault = why;
			continue;
		}
		struct address *grown = grow(aliases->targets,
		    aliases->n_targets, sizeof(*grown));
		if (grown == NULL)
			return -1;
		aliases->targets = grown;
		grown[aliases->n_targets++] = address;
		alias->n++;
	}
	return 0;
}

static void
add_fault(struct aliases *aliases, const char *what, unsigned line,
    unsigned first)
{
	if (aliases->n_faults < ALIASES_FAULTS_MAX)
		aliases->faults[aliases->n_faults++] =
		    (struct aliases_fault){ what, line, first };
}

/* ---- the file ---- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The alias under way is whole. */
static void
end_alias(struct aliases *aliases, struct alias *alias)
{
	if (alias == NULL || alias->n > 0 || alias->broken)
		return;
	add_fault(aliases, "it has no target", alias->line, 0);
	alias->broken = true;
}

/* A line that begins an alias, which is *alias then; NULL where its name is
 * no good. */
static int
begin_alias(struct aliases *aliases, char *line, unsigned number,
    struct alias **alias, char **rest)
{
	struct alias begun = { .first = aliases->n_targets, .line = number };
	char *colon = find_unquoted(line, ':');
	const char *fault = "an alias is NAME: TARGET, TARGET";

	*alias = NULL;
	if (colon != NULL) {
		*colon = '\0';
		fault = parse_name(aliases, line, &begun);
	}
	if (fault != NULL) {
		add_fault(aliases, fault, number, 0);
		return 0;
	}
	struct alias *grown = grow(aliases->items, aliases->n,
	    sizeof(*grown));
	if (grown == NULL)
		return -1;
	aliases->items = grown;
	*alias = &grown[aliases->n++];
	**alias = begun;
	*rest = colon + 1;
	return 0;
}

static int
read_lines(struct aliases *aliases)
{
	struct lines lines = { .next = aliases->text };
	struct alias *alias = NULL;
	bool skipped = false; /* an alias whose name is no good */
	char *line;

	while ((line = lines_next(&lines)) != NULL) {
		const char *fault = NULL;
		char *text = line + strspn(line, " \t");

		if (*text == '\0' || *text == '#')
			continue;
		if (!is_blank(line[0])) {
			end_alias(aliases, alias);
			if (begin_alias(aliases, line, lines.number, &alias,
			    &text) < 0)
				return -1;
			skipped = alias == NULL;
		} else if (alias == NULL && !skipped) {
			add_fault(aliases, "a line that begins with a blank "
			    "goes on with the one before it", lines.number, 0);
		}
		if (alias == NULL)
			continue;
		if (add_targets(aliases, alias, text, &fault) < 0)
			return -1;
		if (fault != NULL) {
			add_fault(aliases, fault, lines.number, 0);
			alias->broken = true;
		}
	}
	end_alias(aliases, alias);
	return 0;
}

/* ---- names ---- */

static int
compare_nocase(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < len; i++) {
		int order = (unsigned char)slice_lower(a.data[i]) -
		    (unsigned char)slice_lower(b.data[i]);
		if (order != 0)
			return order;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static int
compare_names(const struct alias *a, const struct alias *b)
{
	int order = compare_nocase(a->local, b->local);

	return order != 0 ? order : compare_nocase(a->domain, b->domain);
}

static int
compare(const void *a, const void *b)
{
	const struct alias *left = a, *right = b;
	int order = compare_names(left, right);

	return order != 0 ? order
	    : left->line < right->line ? -1 : left->line > right->line;
}

static int
compare_key(const void *key, const void *item)
{
	return compare_names(key, item);
}

/* Sorts them; of several with the same name the first counts. */
static void
sort_names(struct aliases *aliases)
{
	size_t n = 0;

	if (aliases->n > 0)
		qsort(aliases->items, aliases->n, sizeof(*aliases->items),
		    compare);
	for (size_t i = 0; i < aliases->n; i++) {
		const struct alias *alias = &aliases->items[i];

		if (n > 0 && compare_names(&aliases->items[n - 1], alias) == 0)
			add_fault(aliases, "the same name is on", alias->line,
			    aliases->items[n - 1].line);
		else
			aliases->items[n++] = *alias;
	}
	aliases->n = n;
}

int
aliases_read(struct aliases *aliases, const char *path,
    const struct domains *domains, struct error *error)
{
	size_t len;

	*aliases = (struct aliases){ .domains = domains };
	if (file_read(path, ALIASES_FILE_MAX, false, &aliases->text, &len,
	    error) < 0)
		return -1;
	aliases->path = strdup(path);
	if (aliases->path == NULL || read_lines(aliases) < 0) {
		aliases_free(aliases);
		return error_system(error, ENOMEM, "aliases");
	}
	sort_names(aliases);
	return 0;
}

void
aliases_get_fault(const struct aliases *aliases, size_t i,
    struct error *error)
{
	const struct aliases_fault *fault = &aliases->faults[i];
	const char *path = error_tail(aliases->path, 120);

	if (fault->first > 0)
		error_set(error, ERROR_CONFIG, "%s:%u: %s line %u, which "
		    "counts", path, fault->line, fault->what, fault->first);
	else
		error_set(error, ERROR_CONFIG, "%s:%u: %s", path, fault->line,
		    fault->what);
}

const struct alias *
aliases_find(const struct aliases *aliases, struct slice local,
    struct slice domain)
{
	const struct alias key = { .local = local, .domain = domain };

	return aliases->n == 0 ? NULL : bsearch(&key, aliases->items,
	    aliases->n, sizeof(key), compare_key);
}

void
aliases_free(struct aliases *aliases)
{
	free(aliases->items);
	free(aliases->targets);
	free(aliases->path);
	free(aliases->text);
	*aliases = (struct aliases){ .n = 0 };
}
