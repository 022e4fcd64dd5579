/*
 * maildir_doubles.c - finds files that are one message, and makes them one.
 *
 * In a maildir no name is used twice, but people and programs copy files
 * about. What is listed as one message is removed as one, so two files with
 * different contents must not become one: contents are compared, by a digest
 * that is part of twins' unique-ids as well. There are few of them.
 */
/* SHA256_Init and so on, as in maildir_uidl.c. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "maildir/maildir_doubles.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <string.h>
#include <unistd.h>

#include "maildir/maildir_folder.h"
#include "maildir/maildir_measure.h"
#include "maildir/maildir_uidl.h"

static bool
add_contents(SHA256_CTX *context, const struct maildir_index *index, int dir,
    const char *name)
{
	char buffer[65536];
	ssize_t n = -1;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC |
	    O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return false;
	while (!maildir_must_stop(index) &&
	    (n = read(fd, buffer, sizeof(buffer))) > 0)
		SHA256_Update(context, buffer, (size_t)n);
	close(fd);
	return n == 0;
}

/* A digest of message i's id and of the contents of a file. False where these
 * cannot be read. */
static bool
make_digest(const struct maildir_index *index, size_t i, int dir,
    const char *name, unsigned char *digest)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];
	char id[MAILDIR_ID_MAX];
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, id, maildir_whole_id(index, i, id));
	SHA256_Update(&context, "", 1);
	bool whole = dir >= 0 && add_contents(&context, index, dir, name);
	/* Unreadable: by its name it differs from every other file. */
	if (!whole)
		SHA256_Update(&context, name, strlen(name) + 1);
	SHA256_Final(hash, &context);
	memcpy(digest, hash, MAILDIR_DIGEST_SIZE);
	return whole;
}

static int
need_digest(struct maildir_index *index, size_t i, int fd,
    struct error *error)
{
	unsigned char digest[MAILDIR_DIGEST_SIZE];

	if (index->files[i].digested)
		return 0;
	int dir = maildir_folder_open(fd,
	    maildir_path(index, index->files[i].folder));
	make_digest(index, i, dir, maildir_file_name(index, i).data, digest);
	if (dir >= 0)
		close(dir);
	/* The digest may be of half of the contents, and useless. */
	if (maildir_must_stop(index))
		return maildir_stopped(error);
	return maildir_index_set_digest(index, i, digest, error);
}

bool
maildir_is_same_message(const struct maildir_index *index, size_t i, int dir,
    const char *name, ino_t inode)
{
	const struct maildir_file *file = &index->files[i];
	unsigned char digest[MAILDIR_DIGEST_SIZE];
	struct stat st;

	if (inode != 0 &&
	    ((uint32_t)inode & MAILDIR_INODE_MASK) == file->inode)
		return true;
	/* readdir(3) does not always tell the inode that stat(2) does. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode))
		return false;
	if (((uint32_t)st.st_ino & MAILDIR_INODE_MASK) == file->inode)
		return true;
	bool like = ((uint64_t)st.st_size & MAILDIR_SIZE_MASK) == file->size;
	if (!file->digested)
		return like && maildir_time(&st.st_mtim) == file->mtime;
	return like && make_digest(index, i, dir, name, digest) &&
	    memcmp(digest, maildir_index_digest(index, i),
	    sizeof(digest)) == 0;
}

/* ---- one message for each ---- */

/* Are these two the same? -1 for an error. */
static int
are_same(struct maildir_index *index, size_t a, size_t b, int fd,
    struct error *error)
{
	const struct maildir_file *first = &index->files[a];
	const struct maildir_file *second = &index->files[b];

	if (first->inode == second->inode && first->size == second->size &&
	    first->mtime == second->mtime)
		return 1;
	if (need_digest(index, a, fd, error) < 0 ||
	    need_digest(index, b, fd, error) < 0)
		return -1;
	return memcmp(maildir_index_digest(index, a),
	    maildir_index_digest(index, b), MAILDIR_DIGEST_SIZE) == 0;
}

/* File i and the earlier one are one message, which is where it was seen
 * last: at i. */
static int
merge(struct maildir_index *index, size_t before, size_t i, int fd,
    struct error *error)
{
	bool twin = index->files[before].twin || index->files[i].twin;

	/* When one of the two names goes, the other's directory does not
	 * change: both are read again in the next session. */
	index->folders[index->files[before].folder].trusted = 0;
	index->folders[index->files[i].folder].trusted = 0;
	index->files[before] = index->files[i];
	index->messages[before] = index->messages[i];
	index->files[before].doubled = 1;
	index->files[before].twin = twin;
	return twin ? need_digest(index, before, fd, error) : 0;
}

/* Is file i the same message as an earlier file? 1 where it is, and the two
 * were merged; 0 where not; -1 for an error. */
static int
find_same(struct maildir_index *index, const struct maildir_table *table,
    size_t i, int fd, struct error *error)
{
	size_t at = 0;
	size_t before;

	for (;;) {
		/* The text moves where a digest is added. */
		before = maildir_table_next(table, index,
		    maildir_file_base(index, i),
		    maildir_file_folder(index, i), &at);
		if (before == SIZE_MAX)
			return 0;
		int same = are_same(index, before, i, fd, error);
		if (same < 0)
			return -1;
		if (same > 0)
			return merge(index, before, i, fd, error) < 0 ? -1
			    : 1;
		index->files[before].twin = index->files[i].twin = 1;
	}
}

int
maildir_merge_doubles(struct maildir_index *index, int fd,
    struct error *error)
{
	struct maildir_table table;
	size_t n = index->n;
	size_t kept = 0;
	int found = 0;

	if (maildir_table_init(&table, n, n, error) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		index->files[i].twin = index->files[i].doubled = 0;
	for (size_t i = 0; i < n && found >= 0; i++) {
		found = find_same(index, &table, i, fd, error);
		if (found != 0)
			continue;
		index->files[kept] = index->files[i];
		index->messages[kept] = index->messages[i];
		maildir_table_put(&table, index, kept++);
	}
	index->n = kept;
	maildir_table_free(&table);
	return found < 0 ? -1 : 0;
}
