/*
 * maildir_moved.c - directories read again in mid-session, because a message
 * is not under the name it had. Whoever renamed one will have renamed more:
 * all that is found is noted.
 */
#include "maildir/maildir_moved.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "maildir/maildir_doubles.h"
#include "maildir/maildir_folder.h"
#include "maildir/maildir_name.h"

/* What the functions below have in common. */
struct search {
	struct maildir_index *index;
	int fd; /* the maildrop */
	const struct maildir_table *names;
	unsigned pass;
	bool stale;
	struct error *error;
};

/* A name that is there now: does it belong to a message of ours? That one is
 * marked as seen. */
static int
take_name(struct search *search, size_t folder, int dir,
    const struct dirent *entry)
{
	struct maildir_index *index = search->index;
	struct slice name = slice_from(entry->d_name);
	struct slice base = maildir_base_name(name);
	struct slice path = maildir_folder_path(maildir_path(index, folder));
	size_t at = 0;
	size_t i;

	do
		i = maildir_table_next(search->names, index, base, path, &at);
	while (i != SIZE_MAX && !maildir_is_same_message(index, i, dir,
	    entry->d_name, entry->d_ino));
	if (i == SIZE_MAX)
		return 0;
	index->files[i].seen = 1;
	if (index->files[i].folder == folder &&
	    slice_equal(maildir_file_name(index, i), name))
		return 0;
	return maildir_index_rename(index, i, folder, name, search->error);
}

/* Takes fd over. */
static int
take_names(struct search *search, size_t folder, int fd)
{
	const struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int result = 0;

	if (dir == NULL) {
		result = error_system(search->error, errno, "maildrop");
		close(fd);
		return result;
	}
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		result = take_name(search, folder, fd, entry);
	if (result == 0 && errno != 0)
		result = error_system(search->error, errno, "maildrop");
	closedir(dir);
	return result;
}

/* Takes all names from the directory, if it has changed since it was last
 * read; it may have been made since the scan. */
static int
reread(struct search *search, struct slice path)
{
	struct maildir_index *index = search->index;
	int64_t now = maildir_folder_clock();
	struct stat st;

	if (maildir_index_order_folders(index, search->error) < 0)
		return -1;
	size_t folder = maildir_index_find_folder(index, path);
	if (search->pass > 0 && folder != SIZE_MAX &&
	    index->folders[folder].pass == search->pass)
		return 0;
	int fd = maildir_folder_open(search->fd, path);
	if (fd < 0)
		return maildir_folder_is_gone(errno) ? 0
		    : error_system(search->error, errno, "maildrop");
	if (folder == SIZE_MAX) {
		folder = index->n_folders;
		if (maildir_index_add_folder(index, path, 0,
		    search->error) < 0) {
			close(fd);
			return -1;
		}
	}
	struct maildir_folder *at = &index->folders[folder];
	at->pass = (uint8_t)search->pass;
	/* What is as it was, though it is looked at by its times alone, was at
	 * rest when it was read. */
	if (fstat(fd, &st) != 0 || maildir_folder_is_unchanged(at, &st)) {
		close(fd);
		return 0;
	}
	search->stale = true;
	maildir_folder_describe(at, &st, now, index->shared);
	at->unsettled = now - at->mtime < MAILDIR_REST * INT64_C(1000000) ||
	    now - at->ctime < MAILDIR_REST * INT64_C(1000000);
	return take_names(search, folder, fd);
}

static int
know_names(struct maildir_table *names, const struct maildir_index *index,
    struct error *error)
{
	size_t n = index->n;

	if (names->n > 0)
		return 0;
	if (maildir_table_init(names, n, n, error) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		maildir_table_put(names, index, i);
	return 0;
}

/*
 * May there be a name in it that was not seen? readdir(3) may show neither
 * the old name nor the new one of a file that is renamed meanwhile, nor one
 * that goes to where it has been already.
 */
static bool
is_unsettled(const struct search *search, const char *path)
{
	const struct maildir_index *index = search->index;
	size_t folder = maildir_index_find_folder(index, slice_from(path));
	/* Opened, for fstatat(2) would follow links on the way there. */
	int fd = maildir_folder_open(search->fd, slice_from(path));
	struct stat st;

	if (fd < 0)
		return !maildir_folder_is_gone(errno);
	int result = fstat(fd, &st);
	close(fd);
	if (result != 0 || folder == SIZE_MAX)
		return true;
	const struct maildir_folder *at = &index->folders[folder];
	return at->unsettled || at->inode != st.st_ino ||
	    at->mtime != maildir_time(&st.st_mtim) ||
	    at->ctime != maildir_time(&st.st_ctim);
}

int
maildir_find_moved(struct maildir_index *index, int fd,
    struct maildir_table *names, size_t i, unsigned pass,
    enum maildir_whereabouts *where, struct error *error)
{
	static const char *const parts[] = { "/new", "/cur" };
	struct search search = {
		.index = index, .fd = fd, .names = names, .pass = pass,
		.error = error,
	};
	size_t n = maildir_file_is_mail(index, i) ? 2 : 1;
	char paths[2][PATH_MAX + 4];
	bool unsettled = false;

	if (know_names(names, index, error) < 0)
		return -1;
	/* Copied: the text may move. */
	for (size_t k = 0; k < n; k++) {
		struct slice folder = maildir_file_folder(index, i);

		snprintf(paths[k], sizeof(paths[k]), "%.*s%s",
		    SLICE_ARG(folder), n == 1 ? ""
		    : parts[k] + (folder.len == 0));
	}
	if (pass == 0)
		index->files[i].seen = 0;
	for (size_t k = 0; k < n; k++)
		if (reread(&search, slice_from(paths[k])) < 0)
			return -1;
	for (size_t k = 0; k < n && !index->files[i].seen; k++)
		unsettled |= is_unsettled(&search, paths[k]);
	*where = index->files[i].seen ? MAILDIR_FOUND
	    : unsettled ? MAILDIR_UNSETTLED : MAILDIR_GONE;
	return search.stale ? MAILDIR_STALE : 0;
}
