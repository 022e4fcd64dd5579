/*
 * aliases: the file of --aliases FILE, in the form of aliases(5), with neither
 * programs nor files as targets.
 *
 *	name: target, target
 *
 * A name is a local part, an address at one of our domains, or @domain, which
 * is for all addresses there that are nobody's. A target is a user, or an
 * address anywhere. Lines that begin with a blank go on with the line before;
 * "#" begins a comment line.
 */
#ifndef ALIASES_H
#define ALIASES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"
#include "protocol/address.h"
#include "protocol/domains.h"

#define ALIASES_FILE_MAX 16777216
/* So many faults are remembered, to be told. */
#define ALIASES_FAULTS_MAX 16

struct alias {
	struct slice local;  /* without quotes; empty for @domain */
	struct slice domain; /* empty: at each of ours */
	size_t first;        /* its targets in aliases->targets */
	size_t n;
	unsigned line;
	bool broken; /* a target is wrong: for whom it is cannot be told */
};

struct aliases_fault {
	const char *what;
	unsigned line;
	unsigned first; /* the line that has the name already, or 0 */
};

struct aliases {
	struct alias *items; /* by name */
	size_t n;
	struct address *targets; /* as they are written, with their quotes */
	size_t n_targets;
	struct aliases_fault faults[ALIASES_FAULTS_MAX];
	size_t n_faults;

	/* aliases.c's own. */
	const struct domains *domains;
	char *path;
	char *text;
};

/*
 * Reads a file. A line that is no good is a fault, and the others count;
 * domains, which must outlive it, are ours. Errors: ERROR_CONFIG where the
 * file cannot be read; on failure there is nothing to free.
 */
int aliases_read(struct aliases *aliases, const char *path,
    const struct domains *domains, struct error *error);

/* Says in *error what is wrong with a line, with the file's name and the
 * line's number. */
void aliases_get_fault(const struct aliases *aliases, size_t i,
    struct error *error);

/* The alias of that very name, without regard to case; NULL where there is
 * none. local has no quotes. */
const struct alias *aliases_find(const struct aliases *aliases,
    struct slice local, struct slice domain);

/* A local part without its quotes (RFC 5321 4.1.2: "joe"@x is joe@x), at most
 * as long as it was, to out, which may be the same storage; its length. */
size_t aliases_unquote(struct slice local, char *out);

/* Harmless when all zero. */
void aliases_free(struct aliases *aliases);

#endif
