/*
 * maildir: a maildrop as a session sees it, scanned once.
 *
 * The messages of a maildir are the files in its new and cur, oldest first;
 * in a folder that is none, and has none above it, every file is one, which
 * cannot be deleted: see the man page pop3-handler(8), The maildrop. Symbolic
 * links below the maildrop are never followed.
 */
#ifndef MAILDIR_H
#define MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "maildir/maildir_cache.h"
#include "maildir/maildir_index.h"

/* --scan */
enum maildir_reach {
	MAILDIR_ALL,   /* every folder */
	MAILDIR_INBOX, /* the maildrop's own new and cur */
};

struct maildir_options {
	enum maildir_reach reach;
	bool may_be_missing;   /* a missing one counts as empty, if the first
	                        * fixed octets of its path are there: the first
	                        * message would make the rest */
	size_t fixed;
	bool lock;             /* nobody else who locks may have it */
	const char *cache_dir; /* NULL: no cache */
	unsigned timeout;      /* seconds for reading it, and for a message that
	                        * must be counted anew; 0: no limit */
};

struct maildir {
	/* The messages: maildir_uidl.h has their unique-ids. */
	struct maildir_index index;
	bool cache_is_inside; /* the cache's directory is in the maildrop:
	                       * there is no cache */

	/* maildir's own. */
	int fd;           /* the maildrop, -1 for an empty one */
	int lock_fd;      /* of the lock in it, -1 for none */
	int folder_fd;    /* the directory opened last, or -1 */
	size_t folder;    /* which one that is */
	struct maildir_table names; /* to find those renamed meanwhile */
	int cache_fd;     /* its directory, -1 for no cache */
	char cache_name[MAILDIR_CACHE_NAME_SIZE];
	struct maildir_cache_key key;
	unsigned timeout;
	bool shared;         /* with other machines */
	bool cache_is_old;   /* it does not say what the index does */
	bool index_is_stale; /* it must not be written to a cache any more */
};

/*
 * Reads the maildrop at path. ERROR_MISSING where there is none and there may
 * not be an empty one instead,
 * ERROR_CONFIG where it may not be opened, ERROR_BUSY where somebody else has
 * locked it, ERROR_SYSTEM where it cannot be read. On failure there is
 * nothing to close.
 */
int maildir_open(struct maildir *maildir, const char *path,
    const struct maildir_options *options, struct error *error);

/* Are there folders that are not served, for they are too deep? */
bool maildir_is_too_deep(const struct maildir *maildir);

/* The first of n folders that are left out, for they cannot be read; NULL
 * where there is none. */
const char *maildir_left_out(const struct maildir *maildir, size_t *n);

/*
 * Puts into the cache what was learned since it was written, if there is a
 * cache and anything to put there. Nothing but speed depends on it.
 */
int maildir_save_cache(struct maildir *maildir, struct error *error);

/*
 * Opens message i for reading: a descriptor, to be closed by the caller. Its
 * octets are told anew where the file has changed since. A message that
 * another program renamed meanwhile (new to cur, other flags) is found
 * again. ERROR_SYSTEM where it is gone or unreadable.
 */
int maildir_open_message(struct maildir *maildir, size_t i,
    struct error *error);

/* Message i was sent whole and had so many octets, whatever was believed:
 * later sessions shall know. */
void maildir_correct_octets(struct maildir *maildir, size_t i,
    uint64_t octets);

/*
 * Removes all messages that are marked as deleted, under whatever names they
 * have now. One that is gone already counts as removed. -1 with the first
 * error where some had to be kept.
 */
int maildir_remove_marked(struct maildir *maildir, size_t *removed,
    size_t *kept, struct error *error);

void maildir_close(struct maildir *maildir);

#endif
