/*
 * maildir_moved: messages that another program renamed during the session,
 * for maildir.c.
 */
#ifndef MAILDIR_MOVED_H
#define MAILDIR_MOVED_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "maildir.h"

/*
 * Message i is not where it was: looks where it and all others of its folder
 * are now, and tells whether it was found. What was read in this pass, a
 * number above 0, is not read again; 0 is none. Errors: ERROR_SYSTEM.
 */
int maildir_find_moved(struct maildir *maildir, size_t i, unsigned pass,
    bool *found, struct error *error);

#endif
