/*
 * maildir_moved.c - directories read again in mid-session, because a message
 * is not under the name it had. Whoever renamed one will have renamed more:
 * all that is found is noted.
 * Layer 2.
 */
#include "maildir_moved.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "maildir_doubles.h"
#include "maildir_name.h"
#include "maildir_scan.h"

/* A name that is there now: does it belong to a message of ours? That one is
 * marked as seen. */
static int
take_name(struct maildir *maildir, size_t folder, int dir,
    const struct dirent *entry, struct error *error)
{
	struct maildir_index *index = &maildir->index;
	struct slice name = slice_from(entry->d_name);
	struct slice base = maildir_base_name(name);
	struct slice path = maildir_folder_path(maildir_path(index, folder));
	bool mail = maildir_holds_mail(maildir_path(index, folder));
	size_t at = 0;
	size_t i;

	do
		i = maildir_table_next(&maildir->names, index, base, path,
		    &at);
	while (i != SIZE_MAX && (maildir_holds_mail(maildir_path(index,
	    index->files[i].folder)) != mail || !maildir_is_same_message(
	    index, i, dir, entry->d_name, entry->d_ino)));
	if (i == SIZE_MAX || (index->files[i].folder == folder &&
	    slice_equal(maildir_file_name(index, i), name)))
		return 0;
	index->files[i].seen = 1;
	return maildir_index_rename(index, i, folder, name, error);
}

/* Takes fd over. */
static int
take_names(struct maildir *maildir, size_t folder, int fd,
    struct error *error)
{
	const struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int result = 0;

	if (dir == NULL) {
		result = error_system(error, errno, "maildrop");
		close(fd);
		return result;
	}
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		result = take_name(maildir, folder, fd, entry, error);
	if (result == 0 && errno != 0)
		result = error_system(error, errno, "maildrop");
	closedir(dir);
	return result;
}

/* Takes all names from the directory, if it has changed since it was last
 * read; it may have been made since the scan. */
static int
reread(struct maildir *maildir, struct slice path, unsigned pass,
    struct error *error)
{
	struct maildir_index *index = &maildir->index;
	int64_t now = maildir_clock();
	struct stat st;

	if (maildir_index_order_folders(index, error) < 0)
		return -1;
	size_t folder = maildir_index_find_folder(index, path);
	if (pass > 0 && folder != SIZE_MAX &&
	    index->folders[folder].state == pass)
		return 0;
	int fd = maildir_open_path(maildir->fd, path);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
		    ? 0 : error_system(error, errno, "maildrop");
	if (folder == SIZE_MAX) {
		folder = index->n_folders;
		if (maildir_index_add_folder(index, path, 0, error) < 0) {
			close(fd);
			return -1;
		}
	}
	struct maildir_folder *at = &index->folders[folder];
	if (fstat(fd, &st) != 0 || maildir_describes(at, &st)) {
		at->state = (uint8_t)pass;
		close(fd);
		return 0;
	}
	/* From here on the directories' times do not stand for all that is
	 * in the index: it is not for the cache any more. */
	free(maildir->cache_path);
	maildir->cache_path = NULL;
	maildir_describe(at, &st, now);
	at->state = (uint8_t)pass;
	return take_names(maildir, folder, fd, error);
}

static int
know_names(struct maildir *maildir, struct error *error)
{
	size_t n = maildir->index.n;

	if (maildir->names.n > 0)
		return 0;
	if (maildir_table_init(&maildir->names, n, n, error) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		maildir_table_put(&maildir->names, &maildir->index, i);
	return 0;
}

int
maildir_find_moved(struct maildir *maildir, size_t i, unsigned pass,
    bool *found, struct error *error)
{
	static const char *const parts[] = { "new", "cur" };
	const struct maildir_file *file = &maildir->index.files[i];
	struct slice path = maildir_path(&maildir->index, file->folder);
	uint32_t name = file->name;
	char folder[PATH_MAX];
	char part[PATH_MAX + 4];

	if (know_names(maildir, error) < 0)
		return -1;
	/* The text may move. */
	bool mail = maildir_holds_mail(path);
	snprintf(folder, sizeof(folder), "%.*s",
	    SLICE_ARG(maildir_folder_path(path)));
	if (!mail && reread(maildir, slice_from(folder), pass, error) < 0)
		return -1;
	for (size_t k = 0; mail && k < 2; k++) {
		snprintf(part, sizeof(part), "%s%s%s", folder,
		    folder[0] != '\0' ? "/" : "", parts[k]);
		if (reread(maildir, slice_from(part), pass, error) < 0)
			return -1;
	}
	*found = maildir->index.files[i].name != name;
	return 0;
}
