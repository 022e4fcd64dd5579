/*
 * maildir_deliver: one message into one maildir, whole or not at all.
 *
 * begin makes a file under tmp, write fills it, sync puts it on the disk,
 * link makes it visible under new, and settle makes that lasting. Until
 * link has returned 0 nobody can see the message; after settle has returned
 * 0 it survives a crash. The caller may delete it again with undo until it
 * has told somebody that the message was accepted.
 *
 * The file's name is "seconds.MmicrosPpid_random.host", and at link
 * ",S=octets of the file,W=octets on the wire" is added.
 */
#ifndef MAILDIR_DELIVER_H
#define MAILDIR_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct maildir_deliver {
	int fd;          /* of the file under tmp, for reading it back too;
	                  * -1 when parked */
	char unique[320]; /* its name there; identifies the message */

	/* maildir_deliver.c's own. */
	int maildir_fd;   /* -1 when parked */
	const char *path; /* the caller's */
	size_t fixed;
	bool shared;      /* with other machines (file_system.h) */
	bool in_tmp;
	bool in_new;
	uint64_t octets; /* written */
	uint64_t lines;  /* LFs among them */
	char name[400];  /* under new */
};

/*
 * Opens the maildir at path and a file under its tmp. The first fixed octets
 * of path must be there; what is missing of the rest is made, and cur, new
 * and tmp are made in any case. None of these may be a symbolic link, nor
 * belong to somebody else than what they are in (directory.h). host_name
 * becomes part of the name and has no '/' and no ':'. path must live as long
 * as the maildir_deliver, which needs no other initialisation.
 */
int maildir_deliver_begin(struct maildir_deliver *deliver, const char *path,
    size_t fixed, const char *host_name, struct error *error);

/* After begin: removes what deliveries that crashed long ago have left under
 * tmp, in passing. */
void maildir_deliver_sweep(const struct maildir_deliver *deliver);

/* Text with LF line ends. */
int maildir_deliver_write(struct maildir_deliver *deliver,
    struct slice text, struct error *error);

/* Part of an open file: octets from offset to end, and LFs among them. */
struct maildir_text {
	int fd;
	uint64_t offset;
	uint64_t end;
	uint64_t lines;
};

/* Text that lies in a file. */
int maildir_deliver_copy(struct maildir_deliver *deliver,
    const struct maildir_text *text, struct error *error);

int maildir_deliver_sync(struct maildir_deliver *deliver,
    struct error *error);

/* After sync: lets its descriptors go, so that any number of deliveries can
 * wait for their links at once. */
void maildir_deliver_park(struct maildir_deliver *deliver);

int maildir_deliver_link(struct maildir_deliver *deliver,
    struct error *error);
int maildir_deliver_settle(struct maildir_deliver *deliver,
    struct error *error);

/* Takes it out of new again. */
void maildir_deliver_undo(struct maildir_deliver *deliver);

/* Removes what is under tmp and closes everything; harmless when done
 * already, or on one that was zeroed. */
void maildir_deliver_close(struct maildir_deliver *deliver);

/* Can mail be kept at path? For --check-config: makes nothing. */
int maildir_deliver_check(const char *path, struct error *error);

#endif
