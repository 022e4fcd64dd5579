/*
 * maildir_uidl: the unique-ids of a maildrop's messages (RFC 1939 section
 * 7), made when they are asked for: a text of its own for each of a million
 * messages would take more memory than all the rest.
 */
#ifndef MAILDIR_UIDL_H
#define MAILDIR_UIDL_H

#include <limits.h>
#include <stddef.h>

#include "maildir/maildir_index.h"
#include "base/slice.h"

/* RFC 1939 section 7: a unique-id has 1 to 70 characters. */
#define MAILDIR_UIDL_MAX 70

/* What a unique-id stands for, however long: base name, "/", folder path.
 * Returns its length. */
#define MAILDIR_ID_MAX (NAME_MAX + 1 + PATH_MAX)
size_t maildir_whole_id(const struct maildir_index *index, size_t i,
    char id[MAILDIR_ID_MAX]);

/* Message i's, in text. */
struct slice maildir_uidl(const struct maildir_index *index, size_t i,
    char text[MAILDIR_UIDL_MAX]);

#endif
