/*
 * maildir_measure: how many octets messages make on the wire.
 *
 * A message must be read for that, and so the first login to a large maildrop
 * reads all of it once. Where there are many messages, several threads share
 * the work: most of it is done in the kernel, for each file by itself.
 */
#ifndef MAILDIR_MEASURE_H
#define MAILDIR_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

/*
 * Is the index's deadline over, or has SIGTERM come? To be asked between two
 * parts of what may take long, for whoever owns a maildrop can make that
 * endless: a sparse file of terabytes, millions of folders. Any thread may
 * ask. And -1 with an error that says so.
 */
bool maildir_must_stop(const struct maildir_index *index);
int maildir_stopped(struct error *error);

/* Counts what a file of that size makes on the wire, from its
 * beginning, where fd stands. False with errno where it cannot be read, EINTR
 * where it must stop. Not for several threads. */
bool maildir_count_octets(const struct maildir_index *index, int fd,
    off_t size, uint64_t *octets);

/*
 * Looks at the index's files from number first on that were added by name
 * alone; all of them are in the directory dir, which stays open. A file that
 * cannot be read stays uncounted, and its octets are the least they can be;
 * what is gone or no regular file is taken out. Errors: ERROR_SYSTEM.
 */
int maildir_measure(struct maildir_index *index, size_t first, int dir,
    struct error *error);

#endif
