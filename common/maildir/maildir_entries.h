/*
 * maildir_entries: one directory of a maildrop, name by name, into the index;
 * for maildir_scan.c.
 */
#ifndef MAILDIR_ENTRIES_H
#define MAILDIR_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "maildir/maildir_index.h"

/* What is known of a directory in the course of a scan. */
enum maildir_state {
	FOLDER_UNSEEN,    /* in the cache: is it still there? */
	FOLDER_UNCHANGED, /* in the cache, and was the same a moment ago */
	FOLDER_WANTED,    /* is there and to be read */
	FOLDER_WANTED_UNCHANGED, /* is there, and was the same a moment ago */
	FOLDER_KEPT,      /* is there and holds what the cache says */
	FOLDER_READ,
	FOLDER_GONE,
};

struct maildir_scan {
	struct maildir_index *index;
	struct error *error;
	int fd;
	bool inbox;
	int64_t now;      /* when it began */
	struct maildir_table known; /* the cache's files that may have gone */
	size_t added;     /* files */
	unsigned entries; /* of directories, so far */
	bool again;       /* known holds what this scan found, too */
	bool moved;       /* somebody is renaming messages just now */
};

/*
 * Reads the directory that is open as fd, which it takes over: its files are
 * added to the index or found in it, directories in it are wanted. Errors:
 * ERROR_SYSTEM, ERROR_CONFIG.
 */
int maildir_read_entries(struct maildir_scan *scan, int fd, size_t folder);

/* A directory that cannot be read: -1, with the reason. */
int maildir_entries_error(struct maildir_scan *scan, size_t folder,
    int errnum);

#endif
