/*
 * maildir_scan: reading a maildrop's directories, for maildir.c.
 */
#ifndef MAILDIR_SCAN_H
#define MAILDIR_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "maildir/maildir_index.h"
#include "base/slice.h"

/* A directory whose times are younger than this when it is read may change
 * again and still have the same times; nanoseconds. */
#define MAILDIR_TRUST_AGE INT64_C(2000000000)

int64_t maildir_clock(void);

/* Notes what a directory was before it was read, and whether its times can
 * tell when it changes; and is it still that? */
void maildir_describe(struct maildir_folder *folder, const struct stat *st,
    int64_t now);
bool maildir_describes(const struct maildir_folder *folder,
    const struct stat *st);

/* The directory at that path below fd: a new descriptor, or -1 with errno.
 * Symbolic links on the way are refused. */
int maildir_open_path(int fd, struct slice path);

/*
 * Brings the index up to what is there. What a cache knew is looked at only
 * where its directory's times have changed, and then only under names that
 * it did not know. inbox: the maildrop's own new and cur alone. *changed is
 * set where the index is not what it was. Errors: ERROR_SYSTEM.
 */
int maildir_update(struct maildir_index *index, int fd, bool inbox,
    bool *changed, struct error *error);

#endif
