/*
 * maildir_folder: one directory of a maildrop, opened, and recognised by its
 * times.
 */
#ifndef MAILDIR_FOLDER_H
#define MAILDIR_FOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/slice.h"
#include "maildir/maildir_index.h"

/* A directory whose times are younger than this when it is read may change
 * again and still have the same times; nanoseconds. */
#define MAILDIR_TRUST_AGE INT64_C(2000000000)

/* Nanoseconds of CLOCK_REALTIME, which files' times are by. */
int64_t maildir_folder_clock(void);

/* The directory at that path below fd: a new descriptor, or -1 with errno.
 * Symbolic links on the way are refused, and, with EPERM, directories of
 * owners that should have none there (directory_may_hold). */
int maildir_folder_open(int fd, struct slice path);

/* Does this errno of a directory's or a file's mean that it is not there any
 * more? */
bool maildir_folder_is_gone(int errnum);

/* Notes a directory's inode, owner and times before it is read, and whether
 * its times will show the next change: not where it has just changed, nor on a
 * shared file system. And are these still the same? */
void maildir_folder_describe(struct maildir_folder *folder,
    const struct stat *st, int64_t now, bool shared);
bool maildir_folder_is_unchanged(const struct maildir_folder *folder,
    const struct stat *st);

#endif
