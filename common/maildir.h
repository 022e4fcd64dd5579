/*
 * maildir: a maildrop as a session sees it, scanned once.
 *
 * Every regular file below the maildrop is a message, oldest first, but for
 * what other programs keep there; BEHAVIOUR in the man page pop3-handler(8).
 * Symbolic links below the maildrop are never followed.
 */
#ifndef MAILDIR_H
#define MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "message.h"

/* Folders within folders, at most. What is deeper is not served. */
#define MAILDIR_DEPTH_MAX 32

enum maildir_scan {
	MAILDIR_SCAN_ALL,   /* every folder */
	MAILDIR_SCAN_INBOX, /* the maildrop's own new and cur */
};

struct maildir_file {
	uint64_t size;    /* octets in the file */
	int64_t mtime;    /* nanoseconds */
	uint32_t name;    /* where its name begins in text */
	uint32_t folder : 31; /* its directory, an index in folders */
	uint32_t aliased : 1; /* new or cur beside it has its unique-id */
};

struct maildir {
	struct message *messages; /* n of them, oldest first */
	size_t n;
	char *text;       /* names and unique-ids, NUL after each name */

	/* maildir.c's own. */
	struct maildir_file *files; /* beside messages */
	size_t files_size;
	size_t text_len;
	size_t text_size;
	uint32_t *folders; /* where each directory's path begins in text */
	size_t n_folders;
	size_t folders_size;
	int fd;           /* the maildrop, -1 for an empty one */
	int folder_fd;    /* the directory opened last, or -1 */
	uint32_t folder;  /* which one that is */
};

/*
 * Reads the maildrop at path. ERROR_MISSING where there is none (with
 * may_be_missing that is an empty one), ERROR_SYSTEM where it cannot be
 * read. On failure there is nothing to close.
 */
int maildir_scan(struct maildir *maildir, const char *path,
    enum maildir_scan scan, bool may_be_missing, struct error *error);

/*
 * Opens message i for reading: a descriptor, to be closed by the caller.
 * messages[i].octets is told anew where the file has changed since. A
 * message that another program renamed meanwhile (new to cur, other flags)
 * is found again. ERROR_SYSTEM where it is gone or unreadable.
 */
int maildir_open_message(struct maildir *maildir, size_t i,
    struct error *error);

void maildir_close(struct maildir *maildir);

#endif
