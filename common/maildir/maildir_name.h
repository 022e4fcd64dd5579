/*
 * maildir_name: names of files and paths of directories in a maildir, and
 * what they tell without a look at the disk.
 */
#ifndef MAILDIR_NAME_H
#define MAILDIR_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* A file's name without ":2,flags", and without the ",U=digits" before them
 * that mbsync(1) adds. */
struct slice maildir_base_name(struct slice name);

/* A directory's path without its new or cur; is this path a new or a cur? */
struct slice maildir_folder_path(struct slice path);
bool maildir_holds_mail(struct slice path);

/* Beside new and cur: is it what other mail programs keep there? */
bool maildir_name_is_foreign(struct slice name);

/*
 * The size and the octets on the wire that smtp-handler wrote into a base
 * name. Only its own form is believed
 * (seconds.MmicrosPpid_random.host,S=size,W=octets), and the caller is to
 * believe it only where S is the file's size: Dovecot's W counts a lone CR
 * and a missing last line end in another way. What cannot be is refused: a
 * message has as many octets as its file at least, and twice as many and a
 * line end at most.
 */
bool maildir_name_sizes(struct slice base, uint64_t *size,
    uint64_t *octets);

#endif
