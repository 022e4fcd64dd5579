/*
 * maildir_scan.c - reading a maildrop's directories into its index.
 *
 * The index's folders are the list of what is still to be read: a directory
 * that was read appends its own. Where there was a cache they are there
 * already, and one that has not changed is not read at all.
 */
#include "maildir/maildir_scan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "maildir/maildir_doubles.h"
#include "maildir/maildir_entries.h"
#include "maildir/maildir_folder.h"
#include "maildir/maildir_measure.h"
#include "maildir/maildir_sort.h"

/* How often a directory is read again that changes while it is read. */
#define PASSES 10

/* The maildrop, and its own new and cur: without one of them what is served
 * would look like all there is. */
static bool
is_indispensable(const struct maildir_scan *scan, size_t folder)
{
	struct slice path = maildir_path(scan->index, folder);

	return path.len == 0 || slice_equal(path, SLICE("new")) ||
	    slice_equal(path, SLICE("cur"));
}

/* It cannot be opened, for the reason in errno: is it gone, or left out? */
static int
skip(struct maildir_scan *scan, size_t folder)
{
	struct maildir_folder *at = &scan->index->folders[folder];
	int errnum = errno;
	struct stat st;

	at->state = FOLDER_GONE;
	if (folder != 0 && maildir_folder_is_gone(errnum))
		return 0;
	if ((errnum != EACCES && errnum != EPERM) ||
	    is_indispensable(scan, folder))
		return maildir_entries_error(scan, folder, errnum);
	/* Where what is above it may not be entered it is looked for again in
	 * each session. */
	at->trusted = 0;
	if (fstatat(scan->fd, maildir_path(scan->index, folder).data, &st,
	    AT_SYMLINK_NOFOLLOW) == 0)
		maildir_folder_describe(at, &st, scan->now,
		    scan->index->shared);
	at->state = FOLDER_READ;
	at->unreadable = 1;
	at->maildir = at->deep = 0;
	return 0;
}

/* Reads the directory, unless it still is what the cache knew. */
static int
visit(struct maildir_scan *scan, size_t folder)
{
	struct maildir_folder *at = &scan->index->folders[folder];
	const struct maildir_folder *above = &scan->index->folders[at->parent];
	bool inside = folder != 0 && (above->maildir || above->inside);
	int fd = maildir_folder_open(scan->fd, maildir_path(scan->index,
	    folder));
	struct stat st;

	/* fstatat of "." also finds out whether it may be entered. */
	if (fd < 0 || fstatat(fd, ".", &st, 0) != 0) {
		int result = skip(scan, folder);

		if (fd >= 0)
			close(fd);
		return result;
	}
	if ((at->state == FOLDER_UNCHANGED ||
	    at->state == FOLDER_WANTED_UNCHANGED) && inside == at->inside &&
	    maildir_folder_is_unchanged(at, &st)) {
		at->state = FOLDER_KEPT;
		close(fd);
		return 0;
	}
	at->inside = inside;
	maildir_folder_describe(at, &st, scan->now, scan->index->shared);
	return maildir_read_entries(scan, fd, folder);
}

static bool
to_be_visited(const struct maildir_scan *scan, size_t folder)
{
	const struct maildir_folder *at = &scan->index->folders[folder];
	const struct maildir_folder *parent =
	    &scan->index->folders[at->parent];

	return at->state == FOLDER_WANTED ||
	    at->state == FOLDER_WANTED_UNCHANGED ||
	    ((at->state == FOLDER_UNCHANGED || at->state == FOLDER_UNSEEN) &&
	    (folder == 0 || parent->state == FOLDER_KEPT));
}

static bool
is_cur(const struct maildir_scan *scan, size_t folder)
{
	struct slice path = maildir_path(scan->index, folder);

	return slice_equal(path, SLICE("cur")) ||
	    slice_ends_with(path, SLICE("/cur"));
}

/*
 * Every cur after every new: a message that is moved meanwhile is seen
 * twice, never not at all.
 */
static int
visit_all(struct maildir_scan *scan)
{
	bool again = true;

	while (again) {
		again = false;
		for (int cur = 0; cur <= 1; cur++)
			for (size_t i = 0; i < scan->index->n_folders; i++) {
				if (is_cur(scan, i) != (cur == 1) ||
				    !to_be_visited(scan, i))
					continue;
				if (maildir_must_stop(scan->index))
					return maildir_stopped(scan->error);
				if (visit(scan, i) < 0)
					return -1;
				again = true;
			}
	}
	return 0;
}

/* Wants what has changed since it was read, or was found to be as it was: a
 * message may have gone from the one to the other. */
static bool
want_changed(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;
	bool changed = false;
	struct stat st;

	for (size_t i = 0; i < index->n_folders; i++) {
		struct maildir_folder *folder = &index->folders[i];

		if ((folder->state != FOLDER_READ &&
		    folder->state != FOLDER_KEPT) ||
		    fstatat(scan->fd, index->text + folder->path, &st,
		    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 ||
		    (folder->mtime == maildir_time(&st.st_mtim) &&
		    folder->ctime == maildir_time(&st.st_ctim)))
			continue;
		folder->state = FOLDER_WANTED;
		changed = true;
	}
	return changed;
}

/*
 * Where other programs were renaming messages while a directory was read,
 * readdir(3) may have shown neither the old name nor the new one, or only one
 * that was gone when it was opened: mail must not look as if it were gone. So
 * it is read again, for names that were not there before, until nobody
 * renames any more. What is delivered all the while can wait for the next
 * session.
 */
static int
visit_changed(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;

	for (int pass = 0; pass < PASSES && want_changed(scan); pass++) {
		maildir_table_free(&scan->known);
		if (maildir_table_init(&scan->known, index->n, index->n,
		    scan->error) < 0 ||
		    maildir_index_order_folders(index, scan->error) < 0)
			return -1;
		for (size_t i = 0; i < index->n; i++)
			maildir_table_put(&scan->known, index, i);
		scan->again = true;
		scan->moved = false;
		if (visit_all(scan) < 0)
			return -1;
		if (!scan->moved)
			return 0;
	}
	return 0;
}

/* ---- what was, and what is ---- */

/* Looks at the cache's directories. Is all as it was? */
static bool
compare_folders(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;
	bool same = index->n_folders > 0;
	struct stat st;

	for (size_t i = 0; i < index->n_folders; i++) {
		struct maildir_folder *folder = &index->folders[i];
		const char *path = index->text + folder->path;

		folder->state = FOLDER_UNSEEN;
		if (folder->trusted && fstatat(scan->fd, path, &st,
		    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 &&
		    maildir_folder_is_unchanged(folder, &st))
			folder->state = FOLDER_UNCHANGED;
		else
			same = false;
	}
	return same;
}

static bool
is_unseen(const struct maildir_index *index, size_t i)
{
	return index->folders[index->files[i].folder].state == FOLDER_UNSEEN;
}

/* Only what changed directories hold may be gone or have another name. */
static int
gather_known(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;
	size_t n = 0;

	for (size_t i = 0; i < index->n; i++)
		n += is_unseen(index, i);
	if (n == 0)
		return 0;
	if (maildir_table_init(&scan->known, n, index->n, scan->error) < 0)
		return -1;
	for (size_t i = 0; i < index->n; i++)
		if (is_unseen(index, i))
			maildir_table_put(&scan->known, index, i);
	return 0;
}

/* Drops what is gone. Folders get new numbers. */
static int
drop_gone(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;
	size_t n = 0;
	/* The first folder is the maildrop itself. */
	assert(index->n_folders > 0);
	uint32_t *numbers = calloc(index->n_folders, sizeof(*numbers));

	if (numbers == NULL)
		return error_system(scan->error, ENOMEM, "maildrop");
	for (size_t i = 0; i < index->n; i++) {
		const struct maildir_file *file = &index->files[i];
		enum maildir_state state = index->folders[file->folder].state;

		/* A file that was seen is gone all the same where its
		 * directory went after that. */
		if (state != FOLDER_KEPT &&
		    (state != FOLDER_READ || !file->seen))
			continue;
		if (file->uncounted)
			index->folders[file->folder].trusted = 0;
		index->messages[n] = index->messages[i];
		index->files[n++] = *file;
	}
	index->n = n;
	n = 0;
	for (size_t i = 0; i < index->n_folders; i++) {
		enum maildir_state state = index->folders[i].state;

		if (state != FOLDER_KEPT && state != FOLDER_READ)
			continue;
		index->folders[n] = index->folders[i];
		index->folders[n].parent = numbers[index->folders[i].parent];
		numbers[i] = (uint32_t)n++;
	}
	index->n_folders = n;
	index->n_by_path = 0;
	for (size_t i = 0; i < index->n; i++)
		index->files[i].folder =
		    numbers[index->files[i].folder] & UINT16_MAX;
	free(numbers);
	return 0;
}

/* Merges files that are one message, and sorts. */
static int
finish(struct maildir_scan *scan)
{
	struct maildir_index *index = scan->index;
	bool doubles = scan->added > 0;

	for (size_t i = 0; i < index->n && !doubles; i++)
		doubles = index->files[i].twin || index->files[i].doubled;
	if (doubles &&
	    maildir_merge_doubles(index, scan->fd, scan->error) < 0)
		return -1;
	maildir_sort(index);
	return 0;
}

int
maildir_scan(struct maildir_index *index, int fd, bool inbox,
    bool *changed, struct error *error)
{
	struct maildir_scan scan = {
		.index = index, .error = error, .fd = fd, .inbox = inbox,
		.now = maildir_folder_clock(),
	};
	int result = -1;

	size_t files = index->n;
	size_t folders = index->n_folders;

	*changed = !compare_folders(&scan);
	if (!*changed)
		return 0;
	if (index->n_folders == 0 &&
	    maildir_index_add_folder(index, slice_from(""), 0, error) < 0)
		return -1;
	if (maildir_index_order_folders(index, error) == 0 &&
	    gather_known(&scan) == 0 && visit_all(&scan) == 0 &&
	    visit_changed(&scan) == 0 && drop_gone(&scan) == 0)
		result = 0;
	maildir_table_free(&scan.known);
	if (result == 0)
		result = finish(&scan);
	/* Where times of directories show nothing, the files that were found
	 * tell whether anything changed. */
	if (index->shared && folders == index->n_folders &&
	    files == index->n && scan.added == 0 && !scan.moved)
		*changed = false;
	return result;
}
