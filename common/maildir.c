/*
 * maildir.c - a session's maildrop: its messages opened, and removed.
 * Layer 2.
 */
#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "maildir_measure.h"
#include "maildir_name.h"
#include "maildir_scan.h"

/* How often other programs may rename a message while we look for it. */
#define TRIES 5

/* ---- the beginning ---- */

static int
lock(int fd, const char *path, struct error *error)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(error, ERROR_BUSY,
		    "maildrop %.120s: another session has it", path);
	return error_system(error, errno, "maildrop %.120s: lock", path);
}

/* Without a cache everything works as well, but slower. */
static void
read_cache(struct maildir *maildir, const char *path,
    const struct maildir_options *options)
{
	char name[PATH_MAX];
	struct error ignored;
	struct stat st;

	if (options->cache_dir == NULL || fstat(maildir->fd, &st) != 0 ||
	    maildir_cache_path(options->cache_dir, path, options->scan, name,
	    sizeof(name), &ignored) < 0)
		return;
	maildir->cache_path = strdup(name);
	if (maildir->cache_path == NULL)
		return;
	maildir->key = (struct maildir_cache_key){
		.device = st.st_dev, .inode = st.st_ino,
		.owner = st.st_uid, .scan = options->scan,
	};
	maildir_cache_load(&maildir->index, maildir->cache_path,
	    &maildir->key);
}

int
maildir_scan(struct maildir *maildir, const char *path,
    const struct maildir_options *options, struct error *error)
{
	*maildir = (struct maildir){ .fd = -1, .folder_fd = -1 };
	maildir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (maildir->fd < 0) {
		if (errno == ENOENT && options->may_be_missing)
			return 0;
		return error_system(error, errno, "maildrop %.120s", path);
	}
	if (!options->lock || lock(maildir->fd, path, error) == 0) {
		read_cache(maildir, path, options);
		if (maildir_update(&maildir->index, maildir->fd,
		    options->scan == MAILDIR_SCAN_INBOX,
		    &maildir->cache_is_old, error) == 0)
			return 0;
	}
	maildir_close(maildir);
	return -1;
}

int
maildir_save_cache(struct maildir *maildir, struct error *error)
{
	if (maildir->cache_path == NULL || !maildir->cache_is_old)
		return 0;
	maildir->cache_is_old = false;
	return maildir_cache_save(&maildir->index, maildir->cache_path,
	    &maildir->key, error);
}

/* ---- messages that were renamed meanwhile ---- */

static int
open_folder(struct maildir *maildir, size_t folder)
{
	if (maildir->folder_fd >= 0 && maildir->folder == folder)
		return maildir->folder_fd;
	int fd = maildir_open_path(maildir->fd,
	    maildir_path(&maildir->index, folder));
	if (fd < 0)
		return -1;
	if (maildir->folder_fd >= 0)
		close(maildir->folder_fd);
	maildir->folder_fd = fd;
	maildir->folder = folder;
	return fd;
}

/* A name that is there now: does it belong to a message of ours? */
static int
take_name(struct maildir *maildir, size_t folder, const char *name,
    struct error *error)
{
	struct maildir_index *index = &maildir->index;
	struct slice base = maildir_base_name(slice_from(name));
	struct slice path = maildir_folder_path(maildir_path(index, folder));
	bool mail = maildir_holds_mail(maildir_path(index, folder));
	size_t at = 0;
	uint32_t text;
	size_t i;

	do
		i = maildir_table_next(&maildir->names, index, base, path,
		    &at);
	while (i != SIZE_MAX && maildir_holds_mail(maildir_path(index,
	    index->files[i].folder)) != mail);
	if (i == SIZE_MAX)
		return 0;
	if (index->files[i].folder == folder &&
	    slice_equal(maildir_file_name(index, i), slice_from(name)))
		return 0;
	if (maildir_index_add_text(index, slice_from(name), &text, error) < 0)
		return -1;
	index->files[i].name = text;
	index->files[i].folder = folder & UINT16_MAX;
	return 0;
}

/* Takes all names from the directory, if it has changed since it was last
 * read: other messages of it will have been renamed as well. */
static int
reread_folder(struct maildir *maildir, size_t folder, struct error *error)
{
	struct maildir_folder *at = &maildir->index.folders[folder];
	int64_t now = maildir_clock();
	struct stat st;
	int result = 0;
	int fd = maildir_open_path(maildir->fd,
	    maildir_path(&maildir->index, folder));

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
		    ? 0 : error_system(error, errno, "maildrop");
	if (fstat(fd, &st) == 0 && maildir_describes(at, &st)) {
		close(fd);
		return 0;
	}
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		result = error_system(error, errno, "maildrop");
		close(fd);
		return result;
	}
	/* From here on the directories' times do not stand for all that is
	 * in the index: it is not for the cache any more. */
	free(maildir->cache_path);
	maildir->cache_path = NULL;
	maildir_describe(at, &st, now);
	const struct dirent *entry;
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		result = take_name(maildir, folder, entry->d_name, error);
	if (result == 0 && errno != 0)
		result = error_system(error, errno, "maildrop");
	closedir(dir);
	return result;
}

/* The folder's new or cur; it may have been made since the scan. */
static int
reread_part(struct maildir *maildir, struct slice folder_path,
    const char *part, struct error *error)
{
	struct maildir_index *index = &maildir->index;
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%.*s%s%s",
	    SLICE_ARG(folder_path), folder_path.len > 0 ? "/" : "", part);
	size_t i = 0;

	if (len < 0 || (size_t)len >= sizeof(path))
		return 0;
	while (i < index->n_folders && !slice_equal(maildir_path(index, i),
	    (struct slice){ path, (size_t)len }))
		i++;
	if (i == index->n_folders && maildir_index_add_folder(index,
	    (struct slice){ path, (size_t)len }, 0, error) < 0)
		return -1;
	return reread_folder(maildir, i, error);
}

/* Looks where message i is now, and all others of its folder. */
static int
find_again(struct maildir *maildir, size_t i, struct error *error)
{
	struct maildir_index *index = &maildir->index;
	size_t directory = index->files[i].folder;
	struct slice path = maildir_path(index, directory);
	char folder_path[PATH_MAX];

	if (maildir->names.n == 0) {
		if (maildir_table_init(&maildir->names, index->n, index->n,
		    error) < 0)
			return -1;
		for (size_t k = 0; k < index->n; k++)
			maildir_table_put(&maildir->names, index, k);
	}
	if (!maildir_holds_mail(path))
		return reread_folder(maildir, directory, error);
	/* The text may move. */
	struct slice folder = maildir_folder_path(path);
	memcpy(folder_path, folder.data, folder.len);
	folder.data = folder_path;
	return reread_part(maildir, folder, "new", error) < 0 ? -1
	    : reread_part(maildir, folder, "cur", error);
}

/* ---- messages ---- */

static const char *
name_of(const struct maildir *maildir, size_t i)
{
	return maildir->index.text + maildir->index.files[i].name;
}

static int
open_file(struct maildir *maildir, size_t i)
{
	int directory = open_folder(maildir,
	    maildir->index.files[i].folder);

	if (directory < 0)
		return -1;
	return openat(directory, name_of(maildir, i), O_RDONLY | O_NOFOLLOW |
	    O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static int
open_wherever(struct maildir *maildir, size_t i, struct error *error)
{
	for (int try = 0; try < TRIES; try++) {
		int fd = open_file(maildir, i);

		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			return error_system(error, errno, "message %.80s",
			    name_of(maildir, i));
		if (find_again(maildir, i, error) < 0)
			return -1;
	}
	return error_set(error, ERROR_SYSTEM, "message %.80s is gone",
	    name_of(maildir, i));
}

void
maildir_correct_octets(struct maildir *maildir, size_t i, uint64_t octets)
{
	struct maildir_file *file = &maildir->index.files[i];

	maildir_index_set_octets(&maildir->index, i, octets);
	/* Its directory is read again, to look for more of that. */
	maildir->index.folders[file->folder].trusted = 0;
	maildir->cache_is_old = true;
}

/* What the file is now; its octets are counted where it is not what it
 * was. */
static int
look_again(struct maildir *maildir, size_t i, int fd, struct error *error)
{
	struct maildir_file *file = &maildir->index.files[i];
	const char *name = name_of(maildir, i);
	uint64_t octets;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return error_system(error, errno, "message %.80s", name);
	if (!S_ISREG(st.st_mode))
		return error_set(error, ERROR_SYSTEM,
		    "message %.80s is no regular file any more", name);
	uint64_t size = (uint64_t)st.st_size & MAILDIR_SIZE_MASK;
	if (!file->uncounted && maildir_time(&st.st_mtim) == file->mtime &&
	    size == file->size)
		return 0;
	if (!maildir_count_octets(fd, st.st_size, &octets) ||
	    lseek(fd, 0, SEEK_SET) != 0)
		return error_system(error, errno, "message %.80s", name);
	file->mtime = maildir_time(&st.st_mtim);
	file->size = size & MAILDIR_SIZE_MASK;
	maildir_correct_octets(maildir, i, octets);
	return 0;
}

int
maildir_open_message(struct maildir *maildir, size_t i, struct error *error)
{
	int fd = open_wherever(maildir, i, error);

	if (fd >= 0 && look_again(maildir, i, fd, error) == 0)
		return fd;
	error->kind = ERROR_SYSTEM;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
remove_once(struct maildir *maildir, size_t i, struct error *error)
{
	for (int try = 0; try < TRIES; try++) {
		int directory = open_folder(maildir,
		    maildir->index.files[i].folder);

		if (directory >= 0 &&
		    unlinkat(directory, name_of(maildir, i), 0) == 0)
			return 0;
		if (errno != ENOENT)
			return error_system(error, errno, "message %.80s",
			    name_of(maildir, i));
		if (find_again(maildir, i, error) < 0)
			return -1;
	}
	return 0;
}

int
maildir_remove(struct maildir *maildir, size_t i, struct error *error)
{
	int result = remove_once(maildir, i, error);

	/* In new and in cur: neither shall come back as a message. */
	if (result == 0 && maildir->index.files[i].doubled) {
		maildir->index.folders[maildir->index.files[i].folder]
		    .trusted = 0;
		result = find_again(maildir, i, error);
		if (result == 0)
			result = remove_once(maildir, i, error);
	}
	if (result < 0)
		error->kind = ERROR_SYSTEM;
	return result;
}

void
maildir_close(struct maildir *maildir)
{
	maildir_index_free(&maildir->index);
	maildir_table_free(&maildir->names);
	free(maildir->cache_path);
	if (maildir->folder_fd >= 0)
		close(maildir->folder_fd);
	if (maildir->fd >= 0)
		close(maildir->fd);
	*maildir = (struct maildir){ .fd = -1, .folder_fd = -1 };
}
