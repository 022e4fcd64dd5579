/*
 * maildir_moved: messages that another program renamed during the session.
 */
#ifndef MAILDIR_MOVED_H
#define MAILDIR_MOVED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

enum maildir_whereabouts {
	MAILDIR_FOUND,
	MAILDIR_GONE,
	MAILDIR_UNSETTLED, /* not found, but names change while we look */
};

/* After so many milliseconds without a change a directory is at rest: its
 * times would show the next one. */
#define MAILDIR_REST 20

/* A directory was read again: the index has its new times, but none of the
 * messages that have come to it, and must not be cached. */
#define MAILDIR_STALE 1

/*
 * Message i is not where it was: looks below fd, the maildrop, where it and
 * all others of its folder are now. names, which is filled where it is empty,
 * finds them. What was read in this pass, a number above 0, is not read
 * again; 0 is none. 0 or MAILDIR_STALE. Errors: ERROR_SYSTEM.
 */
int maildir_find_moved(struct maildir_index *index, int fd,
    struct maildir_table *names, size_t i, unsigned pass,
    enum maildir_whereabouts *where, struct error *error);

#endif
