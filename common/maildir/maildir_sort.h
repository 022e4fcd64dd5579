/*
 * maildir_sort: the order of a maildrop's messages.
 */
#ifndef MAILDIR_SORT_H
#define MAILDIR_SORT_H

#include "maildir/maildir_index.h"

/* Oldest first; those of one time by what stays when flags change. */
void maildir_sort(struct maildir_index *index);

#endif
