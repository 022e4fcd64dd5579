/*
 * resolve: from an address to those behind it: aliases, what stands behind
 * --recipient-delimiter, loops. Who has a mailbox, and what an address
 * elsewhere means, is the caller's to say.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "aliases.h"
#include "base/error.h"
#include "base/slice.h"
#include "protocol/address.h"
#include "protocol/domains.h"

/* A local part, without its quotes, at most. */
#define RESOLVE_LOCAL_MAX 512
/* The same with @ and a domain. */
#define RESOLVE_NAME_MAX (RESOLVE_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX)
/* What one address may stand for, at most. */
#define RESOLVE_MOST 10000

enum resolve_step {
	RESOLVE_MAILBOX, /* has this name a mailbox of its own? */
	RESOLVE_REST,    /* nobody has, and no alias is left: is there a
	                  * mailbox for all, a next hop? */
};

struct resolve_name {
	struct slice local;  /* without quotes */
	struct slice domain; /* empty for <postmaster> */
	struct address written; /* the whole address, as it is written */
	bool at_home;  /* it is at one of our domains, or has none */
	bool by_alias; /* it is not the one that was asked for */
};

struct resolver {
	const struct domains *domains;
	const struct aliases *aliases; /* NULL: none */
	const char *delimiters;        /* NULL: none */

	/* 1: taken. 0: it is nobody. -1 with *error ends it all. name lives
	 * for the call; written, and the strings it points to, as long as the
	 * aliases and the address that was asked for. */
	int (*take)(void *arg, enum resolve_step step,
	    const struct resolve_name *name, struct error *error);
	void *arg;
};

struct resolve_result {
	size_t taken;
	size_t nobody; /* names that an alias has and nobody is */
};

/*
 * All that an address stands for, each once. An alias of the whole address
 * comes before one of the local part, both before a mailbox; then the same
 * without what stands behind the first delimiter; then the alias @domain.
 * Where an alias leads back to itself it is passed over, so that "joe: joe,
 * ann" keeps joe's own mailbox. Errors: those of take; ERROR_CONFIG where an
 * alias is broken, ERROR_SYSTEM.
 */
int resolve_address(const struct resolver *resolver,
    const struct address *address, struct resolve_result *result,
    struct error *error);

/* Writes local@domain, as names in users files and patterns are, or the local
 * part alone where there is no domain; the length. */
size_t resolve_put_name(const struct resolve_name *name,
    char out[RESOLVE_NAME_MAX]);

#endif
