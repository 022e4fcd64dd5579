/*
 * places: where the mail of each recipient goes.
 *
 * A recipient stands for one or several names (resolve.h). Each may have a
 * maildir of its own: a user's in --auth file:, or --maildir with % signs,
 * expanded over the address. Else there may be one for all. An address that
 * is elsewhere is for the next hop, too.
 */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "aliases.h"
#include "login/auth.h"
#include "protocol/address.h"
#include "protocol/envelope.h"
#include "base/error.h"

#define PLACES_PATTERN_MAX 4096
/* What the recipients of a message stand for by aliases, at most. */
#define PLACES_MOST 20000

struct place {
	char *maildir;
	size_t fixed;  /* so much of it must be there already */
	bool own;      /* it is the recipient's, and not for all */
	size_t who;    /* the recipient, in the envelope */
};

/* An address elsewhere. */
struct places_elsewhere {
	struct address address;
	bool by_alias; /* the client said another one */
};

struct places {
	/* The settings, which must outlive it. */
	const char *setting; /* --maildir, or NULL */
	const char *hostname;
	const struct domains *domains; /* ours */
	const struct auth *auth;
	bool create;         /* --create-maildirs */
	const struct aliases *aliases; /* or NULL */
	const char *delimiters;        /* --recipient-delimiter, or NULL */

	/* Of all recipients so far. */
	struct place *items;
	size_t n;

	/* Of the recipient that was looked for last. */
	struct places_elsewhere *elsewhere;
	size_t n_elsewhere;
	size_t nobody; /* names that an alias has and nobody is */

	/* places.c's own. */
	const char *pattern; /* the setting, with the login in it; or NULL */
	char with_login[PLACES_PATTERN_MAX];
	size_t size;
	size_t elsewhere_size;
};

/* To be called once the settings are there, and again with each login (the
 * user's own name) and when it is forgotten (""): --maildir may have %l. */
void places_set_login(struct places *places, struct slice login);

/*
 * Finds the places of the envelope's last recipient, whose number is i, which
 * are added to items; there may be none. Errors: ERROR_SYSTEM or ERROR_CONFIG,
 * where that cannot be told now, and then none is added.
 */
int places_find(struct places *places, const struct envelope_recipient *who,
    size_t i, struct error *error);

/* Takes away what places_find added for recipient i, the last one: it is
 * refused, or gets nothing. */
void places_drop(struct places *places, size_t i);

/* Forgets them all. */
void places_reset(struct places *places);
void places_free(struct places *places);

/* Can mail be kept by these settings at all? */
bool places_exist(const struct places *places);

/* For --check-config: makes nothing. */
int places_check(const struct places *places, struct error *error);

#endif
