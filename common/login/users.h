/*
 * users: the file of --auth file:PATH.
 *
 * Lines "name:hash[:maildir]", "#" comments; hash is anything crypt(3)
 * knows, or "*" or "!..." for a user who cannot log in but has mail. The
 * file must not be readable for others. A line that cannot be read is left
 * out: it locks out one user, not all of them.
 */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"
#include "protocol/domains.h"

#define USERS_FILE_MAX 16777216
/* Of the lines that are no good, so many are told one by one. */
#define USERS_FAULTS_MAX 16

struct user {
	const char *name;
	const char *maildir; /* NULL: by --maildir */
	unsigned line;

	const char *hash; /* users.c's own: NULL but while it checks one */
};

struct users_fault {
	const char *what;
	unsigned line;
	unsigned first; /* the line that has the name already, or 0 */
};

struct users {
	struct user *items;
	size_t n;
	size_t n_faults; /* lines that are no good, USERS_FAULTS_MAX at most */

	/* users.c's own. */
	struct users_fault faults[USERS_FAULTS_MAX];
	const struct domains *domains;
	char *path;
	char *text;
	size_t text_len;
};

/*
 * Names and maildirs; the hashes are overwritten as soon as each line was
 * looked at, and read again for each password that is checked. A file
 * without users is one where nobody may log in. domains, the caller's
 * for as long as users is used, are those that are ours; NULL for none.
 * Errors: ERROR_CONFIG. On failure there is nothing to free.
 */
int users_read(struct users *users, const char *path,
    const struct domains *domains, struct error *error);

/*
 * Adds further faults, for --check-config: names that stand there twice (the
 * first line counts), and with by_name, where --maildir depends on the name,
 * users of whom users_shares_maildir is true. Errors: ERROR_SYSTEM.
 */
int users_check_names(struct users *users, bool by_name,
    struct error *error);

/* Says in *error what is wrong with a line, with the file's name and the
 * line's number. */
void users_get_fault(const struct users *users, size_t i,
    struct error *error);

/*
 * The user of that name: as it is written, else without regard to case
 * (ASCII), else without "@" and one of our domains. NULL where there is none.
 * Of several lines the first counts.
 */
const struct user *users_find(const struct users *users, struct slice name);

/*
 * Is there a user before this one whose name differs by case alone, and have
 * both no maildir in their lines? Where --maildir depends on the name, in
 * lower case, both would have the same one.
 */
bool users_shares_maildir(const struct users *users,
    const struct user *user);

enum users_outcome {
	USERS_RIGHT,
	USERS_WRONG,
	USERS_TROUBLE, /* crypt(3) failed, or the file cannot be read any more:
	                * *error says how */
};

/*
 * Is it the user's password, by what the file says now? One call of crypt(3),
 * whether there is such a user or not: an unknown name costs what some user of
 * this file costs, and always the same one for the same name.
 */
enum users_outcome users_check(const struct users *users, struct slice name,
    struct slice password, struct error *error);

void users_free(struct users *users);

#endif
