/*
 * account: the next hops of --relay FILE, and which mail each one takes.
 *
 * One account a line: sender, next hop URL, optionally login and password,
 * optionally for=NAME; see mail-handlers.conf(5).
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"
#include "relay/next_hop.h"

#define ACCOUNTS_FILE_MAX 262144

struct account {
	unsigned line;         /* in the file */
	struct slice sender;   /* an address, a domain, or "*" */
	struct next_hop hop;
	const char *login;     /* NULL: none */
	char *password;
	struct slice only_for; /* this login here; empty: any */
};

struct accounts {
	struct account *items;
	size_t n;

	/* account.c's own. */
	char *text;
	size_t text_len;
};

/*
 * Reads the file, which must not be readable for others. Login and password
 * have at most SASL_SECRET_MAX octets, and at least one. Errors: ERROR_CONFIG
 * with file and line, and nothing in it of what the line says. On failure
 * there is nothing to free.
 */
int accounts_read(struct accounts *accounts, const char *path,
    struct error *error);

/* The first account for mail from sender (empty for <>, which only "*"
 * matches) by this login; NULL where there is none. */
const struct account *accounts_find(const struct accounts *accounts,
    struct slice sender, struct slice login);

/* Overwrites the passwords. */
void accounts_free(struct accounts *accounts);

#endif
