/*
 * places: where the mail of each recipient goes.
 *
 * A recipient may have a maildir of its own: a user's in --auth file:, or
 * --maildir with % signs, expanded over the address. Else there may be one
 * for all. Who has none is for the relay, or for nobody.
 */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "login/auth.h"
#include "protocol/envelope.h"
#include "base/error.h"

struct place {
	char *maildir; /* NULL: none */
	size_t fixed;  /* so much of it must be there already */
	bool own;      /* it is the recipient's, and not for all */
	bool dropped;  /* the recipient was accepted, and gets nothing */
};

struct places {
	/* The settings, which must outlive it. */
	const char *pattern; /* --maildir, or NULL */
	const char *hostname;
	const struct domains *domains; /* ours */
	const struct auth *auth;
	bool create;         /* --create-maildirs */

	/* Of the envelope's recipients, in their order. */
	struct place *items;

	/* places.c's own. */
	size_t n;
	size_t size;
};

/*
 * Finds the place of the envelope's last recipient, whose number is i; its
 * maildir is NULL where there is none. A place found for i before is
 * forgotten. Errors: ERROR_SYSTEM, where that cannot be told now.
 */
int places_find(struct places *places, const struct envelope_recipient *who,
    size_t i, struct error *error);

/* The same for one who gets nothing. */
int places_drop(struct places *places, size_t i, struct error *error);

/* Forgets them all. */
void places_reset(struct places *places);
void places_free(struct places *places);

/* Can mail be kept by these settings at all? */
bool places_exist(const struct places *places);

/* For --check-config: makes nothing. */
int places_check(const struct places *places, struct error *error);

#endif
