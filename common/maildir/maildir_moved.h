/*
 * maildir_moved: messages that another program renamed during the session,
 * for maildir.c.
 */
#ifndef MAILDIR_MOVED_H
#define MAILDIR_MOVED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "maildir/maildir.h"

enum maildir_whereabouts {
	MAILDIR_FOUND,
	MAILDIR_GONE,
	MAILDIR_UNSETTLED, /* not found, but names change while we look */
};

/* After so many milliseconds without a change a directory is at rest: its
 * times would show the next one. */
#define MAILDIR_REST 20

/*
 * Message i is not where it was: looks where it and all others of its folder
 * are now. What was read in this pass, a number above 0, is not read again; 0
 * is none. Errors: ERROR_SYSTEM.
 */
int maildir_find_moved(struct maildir *maildir, size_t i, unsigned pass,
    enum maildir_whereabouts *where, struct error *error);

#endif
