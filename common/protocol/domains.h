/*
 * domains: the mail domains that are ours (--domain). A user anna has the
 * mail for anna@ each of them, and may log in so.
 */
#ifndef DOMAINS_H
#define DOMAINS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct domains {
	const char *const *names;
	size_t n;
};

/* Is it one of them? Without regard to case (RFC 5321 section 2.4). */
bool domains_have(const struct domains *domains, struct slice domain);

/* What stands before the last @ of an address at one of them; empty where it
 * is no such address. */
struct slice domains_local_part(const struct domains *domains,
    struct slice address);

#endif
