/*
 * maildir_doubles: files of one base name in one folder. One message under
 * several names, or several messages?
 */
#ifndef MAILDIR_DOUBLES_H
#define MAILDIR_DOUBLES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

/*
 * One file under two names (caught in a rename, or a hard link) and a copy
 * with the same contents are one message, which is where it was seen last;
 * files with other contents are messages of their own, twins, each with a
 * digest of its contents. fd is the maildrop. Errors: ERROR_SYSTEM.
 */
int maildir_merge_doubles(struct maildir_index *index, int fd,
    struct error *error);

/*
 * Is what stands in the directory dir under that name message i? By inode,
 * by size and time, or, where it has copies or twins, by its contents. inode
 * is what readdir(3) says, or 0.
 */
bool maildir_is_same_message(const struct maildir_index *index, size_t i,
    int dir, const char *name, ino_t inode);

#endif
