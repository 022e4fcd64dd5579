/*
 * environment: what a program that we start finds in its environment.
 *
 * It is made anew: PATH, LANG, LC_*, TZ, HOME and TMPDIR as we have them, and
 * what is added. Nothing else of ours is handed on: CREDENTIALS_DIRECTORY
 * would lead to keys and passwords, LISTEN_FDS, NOTIFY_SOCKET and
 * JOURNAL_STREAM to descriptors that are not the program's.
 */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Variables, at most. */
#define ENVIRONMENT_MAX 63

struct environment {
	char *items[ENVIRONMENT_MAX + 1]; /* NULL-terminated, for exec */

	/* environment.c's own. */
	size_t n;
	bool failed; /* no memory for one of them */
};

/* Begins with what of our own is handed on. */
void environment_init(struct environment *environment);

/* "name=value". A NUL in the value becomes '?', as nothing can stand for it.
 */
void environment_add(struct environment *environment, const char *name,
    struct slice value);
void environment_add_number(struct environment *environment,
    const char *name, uint64_t value);

/* Has it all that was added? */
bool environment_is_whole(const struct environment *environment);

void environment_free(struct environment *environment);

#endif
