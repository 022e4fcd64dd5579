/*
 * resolve.c - a list of addresses that grows by what aliases say, each alias
 * once, until all of it was looked at.
 */
#include "resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct address address;
	size_t parent; /* whose alias has it as a target */
	const struct alias *alias; /* what it stands for; NULL: itself */
};

struct state {
	const struct resolver *resolver;
	struct item *items; /* [0] is the one that was asked for, */
	size_t at;          /* and this the one that is looked at */
	size_t n;
	size_t size;
	bool *used; /* aliases that were looked at */
	struct resolve_result *result;
	struct error *error;
};

static int
add(struct state *state, const struct address *address)
{
	if (state->n == RESOLVE_MOST)
		return error_set(state->error, ERROR_CONFIG, "<%.*s@%.*s> "
		    "stands for more than %d addresses",
		    SLICE_ARG(state->items[0].address.local),
		    SLICE_ARG(state->items[0].address.domain), RESOLVE_MOST);
	if (state->n == state->size) {
		size_t size = state->size == 0 ? 8 : 2 * state->size;
		struct item *grown = realloc(state->items,
		    size * sizeof(*grown));

		if (grown == NULL)
			return error_system(state->error, ENOMEM, "aliases");
		state->items = grown;
		state->size = size;
	}
	state->items[state->n++] = (struct item){ *address, state->at, NULL };
	return 0;
}

/* Is the address a target of the alias, perhaps by way of others? */
static bool
comes_from(const struct state *state, const struct alias *alias)
{
	for (size_t i = state->at; i > 0;) {
		i = state->items[i].parent;
		if (state->items[i].alias == alias)
			return true;
	}
	return false;
}

enum { NO_ALIAS, TAKEN, CIRCLE };

/* Adds the targets of the alias of that name, once; -1 where that fails. */
static int
use_alias(struct state *state, struct slice local, struct slice domain)
{
	const struct aliases *aliases = state->resolver->aliases;
	const struct alias *alias = aliases == NULL ? NULL
	    : aliases_find(aliases, local, domain);

	if (alias == NULL)
		return NO_ALIAS;
	if (state->used == NULL)
		state->used = calloc(aliases->n, sizeof(*state->used));
	if (state->used == NULL)
		return error_system(state->error, ENOMEM, "aliases");
	bool *used = &state->used[alias - aliases->items];
	if (*used)
		return comes_from(state, alias) ? CIRCLE : TAKEN;
	*used = true;
	state->items[state->at].alias = alias;
	if (alias->broken)
		return error_set(state->error, ERROR_CONFIG, "the alias on "
		    "line %u is wrong, see --check-config", alias->line);
	for (size_t i = 0; i < alias->n; i++)
		if (add(state, &aliases->targets[alias->first + i]) < 0)
			return -1;
	return TAKEN;
}

static int
take(const struct state *state, enum resolve_step step,
    const struct resolve_name *name)
{
	const struct resolver *resolver = state->resolver;

	return resolver->take(resolver->arg, step, name, state->error);
}

/* Is it an alias, or has it a mailbox? 1, 0 or -1. */
static int
find(struct state *state, const struct resolve_name *name)
{
	const struct domains *domains = state->resolver->domains;
	/* <postmaster> is the one at our first domain, too. */
	struct slice domain = name->domain.len > 0 || domains->n == 0
	    ? name->domain : slice_from(domains->names[0]);
	int found = NO_ALIAS;

	if (name->local.len > 0 && domain.len > 0)
		found = use_alias(state, name->local, domain);
	if (found == NO_ALIAS && name->local.len > 0)
		found = use_alias(state, name->local, slice_from(""));
	if (found == TAKEN || found < 0)
		return found;
	found = take(state, RESOLVE_MAILBOX, name);
	state->result->taken += found > 0;
	return found;
}

/* What stands before the first delimiter, which is not at the beginning; all
 * of it where there is none. */
static struct slice
without_extension(const struct resolver *resolver, struct slice local)
{
	for (size_t i = 1; resolver->delimiters != NULL && i < local.len; i++)
		if (strchr(resolver->delimiters, local.data[i]) != NULL &&
		    local.data[i] != '\0')
			return (struct slice){ local.data, i };
	return local;
}

static int
find_at_home(struct state *state, const struct resolve_name *name)
{
	struct resolve_name base = *name;
	int found = find(state, name);

	base.local = without_extension(state->resolver, name->local);
	if (found == 0 && base.local.len < name->local.len)
		found = find(state, &base);
	if (found != 0 || name->domain.len == 0)
		return found;
	found = use_alias(state, slice_from(""), name->domain);
	return found == CIRCLE ? 0 : found;
}

/* 0, or -1. */
static int
look_at(struct state *state)
{
	const struct domains *domains = state->resolver->domains;
	char local[RESOLVE_LOCAL_MAX];
	struct resolve_name name = {
		.written = state->items[state->at].address,
		.domain = state->items[state->at].address.domain,
		.by_alias = state->at > 0,
	};
	int found = 0;

	/* A target without a domain is a user of ours. */
	if (name.by_alias && name.domain.len == 0 && domains->n > 0)
		name.written.domain = name.domain =
		    slice_from(domains->names[0]);
	name.at_home = name.domain.len == 0 ||
	    domains_have(domains, name.domain);
	/* A longer one has neither alias nor mailbox. */
	if (name.written.local.len <= sizeof(local)) {
		name.local = (struct slice){ local,
			aliases_unquote(name.written.local, local) };
		if (name.at_home) {
			found = find_at_home(state, &name);
		} else {
			found = take(state, RESOLVE_MAILBOX, &name);
			state->result->taken += found > 0;
		}
	}
	if (found == 0) {
		found = take(state, RESOLVE_REST, &name);
		state->result->taken += found > 0;
		state->result->nobody += found == 0 && name.by_alias;
	}
	return found < 0 ? -1 : 0;
}

int
resolve_address(const struct resolver *resolver,
    const struct address *address, struct resolve_result *result,
    struct error *error)
{
	struct state state = { .resolver = resolver, .result = result,
		.error = error };
	int outcome = add(&state, address);

	*result = (struct resolve_result){ .taken = 0 };
	for (; outcome == 0 && state.at < state.n; state.at++)
		outcome = look_at(&state);
	free(state.items);
	free(state.used);
	return outcome;
}

size_t
resolve_put_name(const struct resolve_name *name, char out[RESOLVE_NAME_MAX])
{
	size_t len = name->local.len;

	if (len > 0)
		memcpy(out, name->local.data, len);
	if (name->domain.len > 0) {
		out[len++] = '@';
		memcpy(out + len, name->domain.data, name->domain.len);
		len += name->domain.len;
	}
	return len;
}
