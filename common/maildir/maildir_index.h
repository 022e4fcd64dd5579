/*
 * maildir_index: what is known of a maildrop's directories and files, and
 * the messages they make. No I/O: maildir.h fills it, maildir_cache.h keeps
 * it.
 *
 * There may be a million messages, so everything is small: 32 octets and the
 * file's name for each.
 */
#ifndef MAILDIR_INDEX_H
#define MAILDIR_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "maildir/maildir_name.h"
#include "protocol/message.h"
#include "base/slice.h"

/* Folders within folders, at most. What is deeper is not served. */
#define MAILDIR_DEPTH_MAX 32
/* Directories and messages in one maildrop: more is an error. */
#define MAILDIR_FOLDERS_MAX 65535
#define MAILDIR_MESSAGES_MAX (UINT32_MAX / 4)
/* 128 bits of a hash. */
#define MAILDIR_DIGEST_SIZE 16
#define MAILDIR_SIZE_MASK ((UINT64_C(1) << 48) - 1)
#define MAILDIR_INODE_MASK 0x07FFFFFFu

struct maildir_file {
	uint64_t size : 48;   /* octets in the file */
	uint64_t folder : 16; /* its directory, an index in folders */
	int64_t mtime;        /* nanoseconds */
	uint32_t name;        /* where its name begins in text */
	uint32_t inode : 27;  /* the low bits of its number */
	uint32_t uncounted : 1;   /* its message's octets are a guess */
	uint32_t digested : 1;    /* a digest stands behind its name */
	uint32_t twin : 1;        /* another message of its folder has its
	                           * base name */
	uint32_t doubled : 1;     /* it is there under several names */
	uint32_t seen : 1;        /* by the last look: a scan's, or a pass's in
	                           * search of what was renamed */
};

struct maildir_folder {
	uint32_t path;   /* where it begins in text, "" for the maildrop */
	uint32_t parent; /* its directory's; the first one's own is 0 */
	uint64_t device; /* from here to owner: the directory when its names */
	uint64_t inode;  /* were read, to see whether it has changed */
	int64_t mtime;
	int64_t ctime;
	uint32_t owner;
	uint8_t trusted : 1; /* the times were old enough then to show any
	                      * later change */
	uint8_t deep : 1;    /* directories in it are too deep to be served */
	uint8_t unsettled : 1; /* it had just changed when it was read */
	uint8_t maildir : 1; /* it has a new or a cur */
	uint8_t inside : 1;  /* a folder above it has */
	uint8_t unreadable : 1; /* so that it is left out */
	uint8_t state; /* maildir_scan.c's */
	uint8_t pass;  /* maildir_moved.h: in which it was read last */
};

struct maildir_index {
	int64_t deadline; /* clock_now(): no work on files after it; 0: none */
	bool shared;      /* with other machines (file_system.h) */
	struct message *messages;   /* n of them, oldest first */
	struct maildir_file *files; /* beside messages */
	size_t n;
	size_t size;
	struct maildir_folder *folders; /* parents before their children */
	size_t n_folders;
	size_t folders_size;
	uint32_t *by_path; /* the first n_by_path folders, in that order */
	size_t n_by_path;
	char *text; /* names, digests and paths; NUL after all but digests */
	size_t text_len;
	size_t text_size;
};

void maildir_index_free(struct maildir_index *index);

/* Times in nanoseconds; such as do not fit become the nearest that does. */
int64_t maildir_time(const struct timespec *time);

/* A file's name, and its base name; a directory's path. */
struct slice maildir_file_name(const struct maildir_index *index, size_t i);
struct slice maildir_file_base(const struct maildir_index *index, size_t i);
struct slice maildir_path(const struct maildir_index *index, size_t folder);

/* The folder a file is in, without new or cur; is it in one of these two? */
struct slice maildir_file_folder(const struct maildir_index *index, size_t i);
bool maildir_file_is_mail(const struct maildir_index *index, size_t i);

/*
 * Adds one at the end. A new file is uncounted and unseen until it is
 * described. Errors: ERROR_SYSTEM.
 */
int maildir_index_add_text(struct maildir_index *index, struct slice s,
    uint32_t *at, struct error *error);
int maildir_index_add_folder(struct maildir_index *index, struct slice path,
    uint32_t parent, struct error *error);
int maildir_index_add_file(struct maildir_index *index, size_t folder,
    const char *name, struct error *error);

/* File i has that name now, in that directory; name is not of the index. */
int maildir_index_rename(struct maildir_index *index, size_t i,
    size_t folder, struct slice name, struct error *error);

/* The digest that is kept with file i's name, where it is digested. */
const unsigned char *maildir_index_digest(const struct maildir_index *index,
    size_t i);
int maildir_index_set_digest(struct maildir_index *index, size_t i,
    const unsigned char *digest, struct error *error);

/* The directory of that path, of those that were there when they were
 * ordered last; SIZE_MAX for none. */
int maildir_index_order_folders(struct maildir_index *index,
    struct error *error);
size_t maildir_index_find_folder(const struct maildir_index *index,
    struct slice path);

/* What file i is; until its octets are set they are a guess, the least they
 * can be. */
void maildir_index_describe_file(struct maildir_index *index, size_t i,
    const struct stat *st);
void maildir_index_set_octets(struct maildir_index *index, size_t i,
    uint64_t octets);

/* Files from number first on that nobody has described are not there. */
bool maildir_index_is_unseen(const struct maildir_index *index, size_t i);
void maildir_index_drop_unseen(struct maildir_index *index, size_t first);

/*
 * Finding files by folder path and base name: a hash table of their numbers.
 * What bits a slot has to spare hold a piece of the hash, so that few names
 * are compared that would never match.
 */
struct maildir_table {
	uint32_t *slots;
	size_t n;
	unsigned number_bits;
};

/* For so many files, all of which have numbers below end. */
int maildir_table_init(struct maildir_table *table, size_t files, size_t end,
    struct error *error);
void maildir_table_free(struct maildir_table *table);
void maildir_table_put(struct maildir_table *table,
    const struct maildir_index *index, size_t i);
/*
 * The next file with that base name in that folder; *after is 0 for the first
 * call, and not the caller's. SIZE_MAX where there is no more.
 */
size_t maildir_table_next(const struct maildir_table *table,
    const struct maildir_index *index, struct slice base,
    struct slice folder_path, size_t *after);

/* A hash of s and of all that made seed: not cryptographic. */
uint64_t maildir_hash(uint64_t seed, struct slice s);

#endif
