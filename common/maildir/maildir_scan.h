/*
 * maildir_scan: reading a maildrop's directories, for maildir.c.
 */
#ifndef MAILDIR_SCAN_H
#define MAILDIR_SCAN_H

#include <stdbool.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

/*
 * Brings the index up to what is there. What a cache knew is looked at only
 * where its directory's times have changed, and then only under names that
 * it did not know. inbox: the maildrop's own new and cur alone. *changed is
 * set where the index is not what it was. Errors: ERROR_SYSTEM.
 */
int maildir_scan(struct maildir_index *index, int fd, bool inbox,
    bool *changed, struct error *error);

#endif
