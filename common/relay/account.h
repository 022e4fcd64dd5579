/*
 * account: the next hops of --relay FILE, and which mail each one takes.
 *
 * One account a line: sender, next hop URL, optionally login and password,
 * optionally for=NAME; see mail-handlers.conf(5).
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "relay/next_hop.h"

#define ACCOUNTS_FILE_MAX 262144

/* Of an error's path, so much of its end is shown. */
#define ACCOUNT_FILE_SHOWN 180

/* Where the password is; account_secret.h reads it. */
enum account_password_kind {
	ACCOUNT_PASSWORD_NONE,
	ACCOUNT_PASSWORD_LINE,    /* in the account's line */
	ACCOUNT_PASSWORD_FILE,    /* the first line of a file */
	ACCOUNT_PASSWORD_COMMAND, /* the first line that a command writes */
};

struct account {
	const char *file;
	unsigned line;         /* in it */
	struct slice sender;   /* an address, a domain, or "*" */
	struct next_hop hop;
	const char *login;     /* NULL: none */
	enum account_password_kind password_kind;
	const char *password;  /* the file's name, or the command */
	size_t password_at;    /* in its line: where in the file it stands */
	size_t password_len;
	uint64_t digest;       /* and the file's, accounts_digest */
	struct slice only_for; /* this login here; empty: any */
};

struct accounts {
	struct account *items;
	size_t n;

	/* account.c's own. */
	char *path;
	char *text;
	size_t text_len;
};

/*
 * Reads the file, which must not be readable for others. Passwords are looked
 * at and not kept: they are overwritten before this returns. Errors:
 * ERROR_CONFIG with file and line, and nothing in it of what the line says. On
 * failure there is nothing to free.
 */
int accounts_read(struct accounts *accounts, const char *path,
    struct error *error);

/* Tells the file's text from any other that stood there since. */
uint64_t accounts_digest(struct slice text);

/* The first account for mail from sender (empty for <>, which only "*"
 * matches) by this login; NULL where there is none. */
const struct account *accounts_find(const struct accounts *accounts,
    struct slice sender, struct slice login);

void accounts_free(struct accounts *accounts);

#endif
