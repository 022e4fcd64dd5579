/*
 * directory: opening a directory that belongs to somebody, by a path of which
 * others may own a part.
 *
 * Who owns a directory may put a symbolic link into it that leads to somebody
 * else's mail. So links are followed only where root or the program's own user
 * has made them, in a directory of theirs; and the last component is never
 * one.
 */
#ifndef DIRECTORY_H
#define DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* For directory_open: nothing is made. */
#define DIRECTORY_MAKE_NOTHING ((size_t)-1)

/*
 * Opens the directory at path for reading: a descriptor for the caller to
 * close, or -1. What is missing of the path behind its first fixed octets is
 * made, for nobody else. Its owner must be root, this program's user, or,
 * where that is another user, the owner of the directory it is in. Errors:
 * ERROR_CONFIG for a link or an owner, else as error_system.
 */
int directory_open(const char *path, size_t fixed, struct error *error);

/*
 * Opens one of our own, to reach the files in it: its last component may be a
 * link where the others may (systemd makes such). The descriptor is not for
 * reading.
 */
int directory_reach(const char *path, struct error *error);

/* The same as directory_open for a name in a directory that is open; path is
 * for the error's text. */
int directory_open_in(int fd, const char *name, const char *path,
    struct error *error);

/* May what a directory of that owner holds belong to this one? */
bool directory_may_hold(uid_t above, uid_t owner);

#endif
