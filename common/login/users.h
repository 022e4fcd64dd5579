/*
 * users: the file of --auth file:PATH.
 *
 * Lines "name:hash[:maildir]", "#" comments; hash is anything crypt(3)
 * knows. The file must not be readable for others.
 */
#ifndef USERS_H
#define USERS_H

#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

#define USERS_FILE_MAX 16777216

struct user {
	const char *name;
	const char *hash;
	const char *maildir; /* NULL: by --maildir */
};

struct users {
	struct user *items;
	size_t n;

	/* users.c's own. */
	char *text;
	size_t text_len;
};

/* A file without users is one where nobody may log in. Errors: ERROR_CONFIG
 * with file and line. On failure there is nothing to free. */
int users_read(struct users *users, const char *path, struct error *error);

/* The first line with this name, octet by octet; NULL where there is none. */
const struct user *users_find(const struct users *users, struct slice name);

/* The same without regard to case, as the parts of an address are compared. */
const struct user *users_find_nocase(const struct users *users,
    struct slice name);

enum users_outcome {
	USERS_RIGHT,
	USERS_WRONG,
	USERS_TROUBLE, /* crypt(3) failed: *error says how */
};

/*
 * Is it the user's password? One call of crypt(3), whether there is such a
 * user or not: an unknown name costs what some user of this file costs, and
 * always the same one for the same name.
 */
enum users_outcome users_check(const struct users *users, struct slice name,
    struct slice password, struct error *error);

void users_free(struct users *users);

#endif
