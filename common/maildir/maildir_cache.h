/*
 * maildir_cache: a maildrop's index in a file, so that the next session
 * need not look at messages it knows.
 *
 * The cache says what was there at a time; whoever uses it compares the
 * directories' times (maildir_scan.c does). A file that is damaged, of
 * another version, another machine's or another maildrop's is as good as
 * none.
 */
#ifndef MAILDIR_CACHE_H
#define MAILDIR_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

/* Which maildrop, and which way to read it. */
struct maildir_cache_key {
	uint64_t device;
	uint64_t inode;
	uint32_t owner;
	uint32_t reach; /* enum maildir_reach */
};

#define MAILDIR_CACHE_NAME_SIZE 64

/*
 * The file's name for the maildrop at path (its real path is what counts).
 * ERROR_SYSTEM where the path cannot be resolved.
 */
int maildir_cache_name(const char *maildrop, unsigned reach,
    char name[MAILDIR_CACHE_NAME_SIZE], struct error *error);

/* Would what is written to that directory be taken for mail? */
bool maildir_cache_is_inside(const char *dir, const char *maildrop);

/*
 * Reads the index. True when it is whole and sound: every offset and name in
 * it is safe to use. Otherwise *index is empty. fd stays the caller's.
 */
bool maildir_cache_read(struct maildir_index *index, int fd,
    const struct maildir_cache_key *key);

/* The same from a file in the directory dir, which must be our own and no
 * link. */
bool maildir_cache_load(struct maildir_index *index, int dir,
    const char *name, const struct maildir_cache_key *key);

/*
 * Writes the index to fd, from its beginning. Errors: ERROR_SYSTEM,
 * ERROR_FULL.
 */
int maildir_cache_write(const struct maildir_index *index, int fd,
    const struct maildir_cache_key *key, struct error *error);

/*
 * Replaces that file by one with this index. Where another session is
 * doing the same at this moment it does nothing.
 */
int maildir_cache_save(const struct maildir_index *index, int dir,
    const char *name, const struct maildir_cache_key *key,
    struct error *error);

#endif
