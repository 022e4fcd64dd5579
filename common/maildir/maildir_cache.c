/*
 * maildir_cache.c - the cache file: a header, then the arrays of struct
 * maildir_index as they are in memory, then the text.
 *
 * What it holds is only ever a copy: no fsync, and whatever looks wrong in
 * it is ignored. The file is not mapped, for somebody might cut it short
 * while it is.
 */
#include "maildir/maildir_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "system/file.h"

#define CACHE_MAGIC "mailpop3"
#define CACHE_VERSION 3
/* Differs with the machine's octet order and the compiler's structures. */
#define CACHE_LAYOUT (UINT32_C(0x01020304) + \
    (uint32_t)(sizeof(struct message) << 16 | \
    sizeof(struct maildir_file) << 8 | sizeof(struct maildir_folder)))
/* Checksums are made, and files written, by so much. */
#define BLOCK 65536
/* Whatever writes longer than this has died, in seconds. */
#define STALE 60

struct cache_header {
	char magic[8];
	uint32_t version;
	uint32_t layout;
	uint64_t checksum; /* of all that follows */
	uint64_t n;
	uint64_t n_folders;
	uint64_t text_len;
	struct maildir_cache_key key;
};

#define HEADER_UNSUMMED offsetof(struct cache_header, n)

int
maildir_cache_name(const char *maildrop, unsigned reach,
    char name[MAILDIR_CACHE_NAME_SIZE], struct error *error)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];
	char digits[2 * 16 + 1];
	char *real = realpath(maildrop, NULL);

	if (real == NULL)
		return error_system(error, errno, "%.120s", maildrop);
	SHA256((unsigned char *)real, strlen(real), hash);
	free(real);
	for (size_t i = 0; i < 16; i++)
		snprintf(digits + 2 * i, 3, "%02x", hash[i]);
	snprintf(name, MAILDIR_CACHE_NAME_SIZE, "pop3-%s-%u", digits, reach);
	return 0;
}

bool
maildir_cache_is_inside(const char *dir, const char *maildrop)
{
	char *cache = realpath(dir, NULL);
	char *real = realpath(maildrop, NULL);
	bool inside = false;

	if (cache != NULL && real != NULL) {
		size_t len = strlen(real);

		/* "/" is the one real path that ends in a slash. */
		if (real[len - 1] == '/')
			len--;
		inside = strncmp(cache, real, len) == 0 &&
		    (cache[len] == '/' || cache[len] == '\0');
	}
	free(cache);
	free(real);
	return inside;
}

static uint64_t
sum_header(const struct cache_header *header)
{
	return maildir_hash(CACHE_VERSION, (struct slice){
	    (const char *)header + HEADER_UNSUMMED,
	    sizeof(*header) - HEADER_UNSUMMED });
}

/* ---- is it sound? ---- */

/* The NUL-terminated string at that place in the text, of at most max octets;
 * NULL data where there is none. */
static struct slice
string_at(const struct maildir_index *index, uint32_t at, size_t max)
{
	size_t rest = at < index->text_len ? index->text_len - at : 0;

	if (rest == 0)
		return slice_from(NULL);
	const char *start = index->text + at;
	size_t limit = rest <= max ? rest : max + 1;
	const char *end = memchr(start, '\0', limit);
	if (end == NULL)
		return slice_from(NULL);
	return (struct slice){ start, (size_t)(end - start) };
}

/* Can it be the name of a file in a directory? */
static bool
is_entry_name(struct slice name)
{
	return name.len > 0 && name.len <= NAME_MAX &&
	    memchr(name.data, '/', name.len) == NULL &&
	    !slice_equal(name, SLICE(".")) &&
	    !slice_equal(name, SLICE(".."));
}

static bool
folder_is_sound(const struct maildir_index *index, size_t i)
{
	const struct maildir_folder *folder = &index->folders[i];
	struct slice path = string_at(index, folder->path, PATH_MAX - 1);
	unsigned depth = 0;

	if (path.data == NULL)
		return false;
	if (i == 0)
		return path.len == 0 && folder->parent == 0;
	if (folder->parent >= i)
		return false;
	/* Its path is its parent's and one name more. */
	struct slice parent = maildir_path(index, folder->parent);
	if (parent.len > 0) {
		if (!slice_starts_with(path, parent) ||
		    path.len == parent.len || path.data[parent.len] != '/')
			return false;
		for (size_t k = 0; k < parent.len; k++)
			depth += parent.data[k] == '/';
		path = slice_skip(path, parent.len + 1);
		depth++;
	}
	return depth < MAILDIR_DEPTH_MAX && is_entry_name(path);
}

static bool
file_is_sound(const struct maildir_index *index,
    const struct maildir_file *file)
{
	if (file->folder >= index->n_folders ||
	    (file->twin && !file->digested))
		return false;
	struct slice name = string_at(index, file->name, NAME_MAX);
	return is_entry_name(name) && (!file->digested ||
	    index->text_len - file->name > name.len + MAILDIR_DIGEST_SIZE);
}

/* Nothing in it can lead out of its arrays, or out of the maildrop. */
static bool
index_is_sound(struct maildir_index *index)
{
	if (index->n_folders == 0)
		return false;
	for (size_t i = 0; i < index->n_folders; i++) {
		if (!folder_is_sound(index, i))
			return false;
		index->folders[i].pass = 0;
	}
	for (size_t i = 0; i < index->n; i++) {
		struct maildir_file *file = &index->files[i];
		if (!file_is_sound(index, file))
			return false;
		file->seen = 0;
		index->messages[i].deleted = 0;
		index->messages[i].permanent =
		    !maildir_file_is_mail(index, i);
	}
	return true;
}

/* ---- reading ---- */

static bool
read_whole(int fd, void *data, size_t len, off_t at)
{
	char *to = data;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* An array of so many octets from *at on, with its checksum. */
static void *
read_array(int fd, size_t len, off_t *at, uint64_t *sum)
{
	char *data = malloc(len > 0 ? len : 1);

	if (data == NULL)
		return NULL;
	if (!read_whole(fd, data, len, *at)) {
		free(data);
		return NULL;
	}
	*at += (off_t)len;
	for (size_t i = 0; i < len; i += BLOCK)
		*sum = maildir_hash(*sum, (struct slice){ data + i,
		    len - i < BLOCK ? len - i : BLOCK });
	return data;
}

static bool
header_fits(const struct cache_header *header, uint64_t file_size,
    const struct maildir_cache_key *key)
{
	const uint64_t each = sizeof(struct message) +
	    sizeof(struct maildir_file);

	return memcmp(header->magic, CACHE_MAGIC, sizeof(header->magic)) == 0 &&
	    header->version == CACHE_VERSION &&
	    header->layout == CACHE_LAYOUT &&
	    memcmp(&header->key, key, sizeof(*key)) == 0 &&
	    header->n <= MAILDIR_MESSAGES_MAX &&
	    header->n_folders <= MAILDIR_FOLDERS_MAX &&
	    header->text_len <= UINT32_MAX &&
	    file_size == sizeof(*header) + header->n * each +
	    header->n_folders * sizeof(struct maildir_folder) +
	    header->text_len;
}

bool
maildir_cache_read(struct maildir_index *index, int fd,
    const struct maildir_cache_key *key)
{
	struct cache_header header;
	struct stat st;
	off_t at = sizeof(header);

	*index = (struct maildir_index){ .n = 0 };
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    !read_whole(fd, &header, sizeof(header), 0) ||
	    !header_fits(&header, (uint64_t)st.st_size, key))
		return false;
	uint64_t sum = sum_header(&header);
	index->n = index->size = (size_t)header.n;
	index->n_folders = index->folders_size = (size_t)header.n_folders;
	index->text_len = index->text_size = (size_t)header.text_len;
	index->messages = read_array(fd, index->n * sizeof(struct message),
	    &at, &sum);
	index->files = index->messages == NULL ? NULL : read_array(fd,
	    index->n * sizeof(struct maildir_file), &at, &sum);
	index->folders = index->files == NULL ? NULL : read_array(fd,
	    index->n_folders * sizeof(struct maildir_folder), &at, &sum);
	index->text = index->folders == NULL ? NULL : read_array(fd,
	    index->text_len, &at, &sum);
	if (index->text != NULL && sum == header.checksum &&
	    index_is_sound(index))
		return true;
	maildir_index_free(index);
	return false;
}

bool
maildir_cache_load(struct maildir_index *index, int dir, const char *name,
    const struct maildir_cache_key *key)
{
	struct stat st;
	bool good = false;
	int fd = openat(dir, name,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	*index = (struct maildir_index){ .n = 0 };
	if (fd < 0)
		return false;
	/* What others could have written is not to be believed. */
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		good = maildir_cache_read(index, fd, key);
	close(fd);
	return good;
}

/* ---- writing ---- */

/* Text is written anew, without the names that nobody has any more; where
 * each piece will stand is counted along with it. */
struct writer {
	int fd;
	int errnum;
	uint64_t sum;
	size_t fill;
	char block[BLOCK];
};

static void
end_array(struct writer *writer)
{
	struct slice block = { writer->block, writer->fill };

	if (block.len == 0)
		return;
	writer->sum = maildir_hash(writer->sum, block);
	if (writer->errnum == 0 && file_write(writer->fd, block) != 0)
		writer->errnum = errno;
	writer->fill = 0;
}

static void
put(struct writer *writer, const void *data, size_t len)
{
	const char *from = data;

	while (len > 0) {
		size_t n = sizeof(writer->block) - writer->fill;

		if (n > len)
			n = len;
		memcpy(writer->block + writer->fill, from, n);
		writer->fill += n;
		from += n;
		len -= n;
		if (writer->fill == sizeof(writer->block))
			end_array(writer);
	}
}

/* A message's name with its NUL, and its digest. */
static size_t
text_len(const struct maildir_index *index, size_t i)
{
	return maildir_file_name(index, i).len + 1 +
	    (index->files[i].digested ? MAILDIR_DIGEST_SIZE : 0);
}

static void
put_arrays(struct writer *writer, const struct maildir_index *index,
    size_t files_text)
{
	size_t at = files_text;

	put(writer, index->messages, index->n * sizeof(struct message));
	end_array(writer);
	for (size_t i = 0; i < index->n; i++) {
		struct maildir_file file = index->files[i];

		file.name = (uint32_t)at;
		put(writer, &file, sizeof(file));
		at += text_len(index, i);
	}
	end_array(writer);
	at = 0;
	for (size_t i = 0; i < index->n_folders; i++) {
		struct maildir_folder folder = index->folders[i];

		folder.path = (uint32_t)at;
		put(writer, &folder, sizeof(folder));
		at += maildir_path(index, i).len + 1;
	}
	end_array(writer);
}

static void
put_text(struct writer *writer, const struct maildir_index *index)
{
	for (size_t i = 0; i < index->n_folders; i++)
		put(writer, maildir_path(index, i).data,
		    maildir_path(index, i).len + 1);
	for (size_t i = 0; i < index->n; i++)
		put(writer, maildir_file_name(index, i).data,
		    text_len(index, i));
	end_array(writer);
}

int
maildir_cache_write(const struct maildir_index *index, int fd,
    const struct maildir_cache_key *key, struct error *error)
{
	struct cache_header header = {
		.magic = { 'm', 'a', 'i', 'l', 'p', 'o', 'p', '3' },
		.version = CACHE_VERSION, .layout = CACHE_LAYOUT,
		.n = index->n, .n_folders = index->n_folders, .key = *key,
	};
	struct writer *writer = calloc(1, sizeof(*writer));
	size_t files_text = 0;

	if (writer == NULL)
		return error_system(error, ENOMEM, "cache");
	writer->fd = fd;
	for (size_t i = 0; i < index->n_folders; i++)
		files_text += maildir_path(index, i).len + 1;
	header.text_len = files_text;
	for (size_t i = 0; i < index->n; i++)
		header.text_len += text_len(index, i);
	writer->sum = sum_header(&header);
	if (lseek(fd, sizeof(header), SEEK_SET) < 0)
		writer->errnum = errno;
	put_arrays(writer, index, files_text);
	put_text(writer, index);
	header.checksum = writer->sum;
	int errnum = writer->errnum;
	free(writer);
	if (errnum == 0 &&
	    pwrite(fd, &header, sizeof(header), 0) != sizeof(header))
		errnum = EIO;
	return errnum == 0 ? 0 : error_system(error, errnum, "cache");
}

/* A new file beside the cache; EEXIST where another session has made one. */
static int
open_new(int dir, const char *name)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	struct stat st;
	int fd = openat(dir, name, flags, 0600);

	if (fd >= 0 || errno != EEXIST)
		return fd;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_mtime <= time(NULL) && time(NULL) - st.st_mtime < STALE) {
		errno = EEXIST;
		return -1;
	}
	/* Two sessions may do this at once. Then one of them may put the
	 * other's half of a file into place: its checksum says so. */
	unlinkat(dir, name, 0);
	return openat(dir, name, flags, 0600);
}

int
maildir_cache_save(const struct maildir_index *index, int dir,
    const char *name, const struct maildir_cache_key *key,
    struct error *error)
{
	char fresh[MAILDIR_CACHE_NAME_SIZE + 4];
	int result;

	snprintf(fresh, sizeof(fresh), "%s.new", name);
	int fd = open_new(dir, fresh);
	if (fd < 0)
		return errno == EEXIST ? 0
		    : error_system(error, errno, "cache %s", fresh);
	result = maildir_cache_write(index, fd, key, error);
	close(fd);
	if (result == 0 && renameat(dir, fresh, dir, name) != 0)
		result = error_system(error, errno, "cache %s", name);
	if (result != 0)
		unlinkat(dir, fresh, 0);
	return result;
}
