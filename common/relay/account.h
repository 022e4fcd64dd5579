/*
 * account: the next hops of --relay FILE, and which mail each one takes.
 *
 * One account a line: sender, next hop URL, optionally login and password,
 * optionally for=NAME; see mail-handlers.conf(5).
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

#define ACCOUNTS_FILE_MAX 262144

enum account_scheme {
	ACCOUNT_SMTPS,      /* TLS from the first octet (RFC 8314) */
	ACCOUNT_SMTP,       /* STARTTLS, and nothing without it (RFC 3207) */
	ACCOUNT_SMTP_PLAIN, /* in the clear */
	ACCOUNT_LMTP,       /* RFC 2033, in the clear */
	ACCOUNT_LMTP_UNIX,  /* the same over a UNIX socket */
};

struct account {
	unsigned line;         /* in the file */
	struct slice sender;   /* an address, a domain, or "*" */
	enum account_scheme scheme;
	const char *host;      /* of ACCOUNT_LMTP_UNIX: the socket's path */
	const char *port;      /* and then "" */
	const char *ca_file;   /* NULL: the system's */
	bool verify;           /* the certificate and its name */
	const char *login;     /* NULL: none */
	const char *password;
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

/* Does what is said to the next hop stay under TLS? If not, no password may
 * leave this machine: accounts_read sees to the name in the URL, and whoever
 * connects to the address that it turns out to be. */
bool account_has_tls(const struct account *account);
bool account_is_lmtp(const struct account *account);

/* "smtps" and so on. */
const char *account_scheme_name(enum account_scheme scheme);

/* Overwrites the passwords. */
void accounts_free(struct accounts *accounts);

#endif
