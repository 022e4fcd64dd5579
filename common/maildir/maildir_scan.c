/*
 * maildir_scan.c - reading a maildrop's directories into its index.
 *
 * The index's folders are the list of what is still to be read: a directory
 * that was read appends its own. Where there was a cache they are there
 * already, and one that has not changed is not read at all.
 *
 * A file costs one stat where its name says how many octets RETR sends, else
 * it is opened and counted (maildir_measure.c); one that is known already
 * costs nothing.
 * Layer 2.
 */
#include "maildir/maildir_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "maildir/maildir_doubles.h"
#include "maildir/maildir_folder.h"
#include "maildir/maildir_measure.h"
#include "maildir/maildir_name.h"
#include "maildir/maildir_sort.h"

/* Entries read between two looks at the time. */
#define LOOK_EACH 256
/* How often a directory is read again that changes while it is read. */
#define PASSES 10

/* What is known of a directory in the course of a scan. */
enum state {
	UNSEEN,    /* in the cache: is it still there? */
	UNCHANGED, /* in the cache, and was the same a moment ago */
	WANTED,    /* is there and to be read */
	WANTED_UNCHANGED, /* is there, and was the same a moment ago */
	KEPT,      /* is there and holds what the cache says */
	READ,
	GONE,
};

struct scan {
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

/* ---- files ---- */

/* The cache's file of just that name: it needs no look. */
static bool
is_known(struct scan *scan, size_t folder, struct slice name, ino_t inode)
{
	struct maildir_index *index = scan->index;
	struct slice base = maildir_base_name(name);
	struct slice path = maildir_folder_path(maildir_path(index, folder));
	size_t at = 0;
	size_t i;

	while ((i = maildir_table_next(&scan->known, index, base, path,
	    &at)) != SIZE_MAX) {
		struct maildir_file *file = &index->files[i];

		/* Where it is shared, readdir(3) may know no inodes. */
		if (file->folder == folder && !file->uncounted &&
		    (index->shared || file->inode ==
		    ((uint32_t)inode & MAILDIR_INODE_MASK)) &&
		    slice_equal(maildir_file_name(index, i), name)) {
			file->seen = 1;
			return true;
		}
	}
	return false;
}

/* The cache's file that has this name now, with other flags or in cur and no
 * longer in new; SIZE_MAX for none. Its octets are known. */
static size_t
find_renamed(struct scan *scan, size_t folder, struct slice name,
    const struct stat *st)
{
	struct maildir_index *index = scan->index;
	struct slice path = maildir_folder_path(maildir_path(index, folder));
	size_t at = 0;
	size_t i;

	while ((i = maildir_table_next(&scan->known, index,
	    maildir_base_name(name), path, &at)) != SIZE_MAX) {
		const struct maildir_file *file = &index->files[i];

		if ((!file->seen || scan->again) && !file->uncounted &&
		    file->inode ==
		        ((uint32_t)st->st_ino & MAILDIR_INODE_MASK) &&
		    file->size ==
		        ((uint64_t)st->st_size & MAILDIR_SIZE_MASK) &&
		    file->mtime == maildir_time(&st->st_mtim))
			return i;
	}
	return SIZE_MAX;
}

/* A name that is not known as it is, of a file that is there. Where it does
 * not tell its octets they are counted when the directory is read. */
static int
add_file(struct scan *scan, size_t folder, const char *name,
    const struct stat *st)
{
	struct maildir_index *index = scan->index;
	struct slice base = maildir_base_name(slice_from(name));
	size_t i = find_renamed(scan, folder, slice_from(name), st);
	uint64_t size, octets;

	if (i != SIZE_MAX) {
		index->files[i].seen = 1;
		scan->moved = true;
		return maildir_index_rename(index, i, folder,
		    slice_from(name), scan->error);
	}
	if (maildir_index_add_file(index, folder, name, scan->error) < 0)
		return -1;
	if (maildir_name_sizes(base, &size, &octets) &&
	    size == (uint64_t)st->st_size) {
		maildir_index_describe_file(index, index->n - 1, st);
		maildir_index_set_octets(index, index->n - 1, octets);
	}
	return 0;
}

/* Names of directories within one, to be read after it. */
struct names {
	char **items;
	size_t n;
};

static void
names_free(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}

static int
names_add(struct names *names, const char *name, struct error *error)
{
	if (names->n == MAILDIR_FOLDERS_MAX)
		return error_set(error, ERROR_SYSTEM,
		    "maildrop with too many directories");
	if ((names->n & (names->n - 1)) == 0) {
		size_t size = names->n == 0 ? 1 : 2 * names->n;
		void *grown = realloc(names->items, size * sizeof(char *));
		if (grown == NULL)
			return error_system(error, ENOMEM, "maildrop");
		names->items = grown;
	}
	char *copy = strdup(name);
	if (copy == NULL)
		return error_system(error, ENOMEM, "maildrop");
	names->items[names->n++] = copy;
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* ---- what is mail ---- */

/* Is there such a directory? A link in its place makes no maildir that we
 * could read, but whoever made it uses the folder as one. */
static bool
has_directory(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode));
}

/* Are the files in it messages? Beside new and cur, and in plain folders below
 * a maildir, there are other programs' files. */
static bool
holds_messages(const struct scan *scan, size_t folder)
{
	const struct maildir_folder *at = &scan->index->folders[folder];

	return maildir_holds_mail(maildir_path(scan->index, folder)) ||
	    (!scan->inbox && !at->maildir && !at->inside);
}

/* Are there, or could there be, messages in this directory of the folder? */
static bool
is_wanted(const struct scan *scan, size_t folder, const char *name)
{
	struct slice last = slice_from(name);

	if (scan->inbox)
		return folder == 0 && maildir_holds_mail(last);
	/* Deliveries under way. */
	return !scan->index->folders[folder].maildir ||
	    strcmp(name, "tmp") != 0;
}

static int
scan_entry(struct scan *scan, int dir, size_t folder,
    const struct dirent *entry, struct names *directories)
{
	const char *name = entry->d_name;
	struct slice path = maildir_path(scan->index, folder);
	unsigned char type = entry->d_type;
	bool counts = name[0] != '.' && holds_messages(scan, folder);
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    (!maildir_holds_mail(path) &&
	    maildir_name_is_foreign(slice_from(name))))
		return 0;
	if (type == DT_REG && !counts)
		return 0;
	if (type == DT_REG && scan->known.n > 0 &&
	    is_known(scan, folder, slice_from(name), entry->d_ino))
		return 0;
	/* A file whose name tells nothing is opened anyway. */
	uint64_t size, octets;
	if (type == DT_REG && scan->known.n == 0 && !maildir_name_sizes(
	    maildir_base_name(slice_from(name)), &size, &octets))
		return maildir_index_add_file(scan->index, folder, name,
		    scan->error);
	if (type == DT_REG || type == DT_UNKNOWN) {
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			scan->moved = true;
			return maildir_folder_is_gone(errno) ? 0
			    : error_system(scan->error, errno,
			    "maildrop: %.80s", name);
		}
		type = S_ISREG(st.st_mode) ? DT_REG
		    : S_ISDIR(st.st_mode) ? DT_DIR : DT_CHR;
	}
	if (type == DT_REG && counts)
		return add_file(scan, folder, name, &st);
	if (type != DT_DIR || !is_wanted(scan, folder, name))
		return 0;
	return names_add(directories, name, scan->error);
}

/* ---- directories ---- */

static size_t
depth_of(struct slice path)
{
	size_t depth = path.len > 0;

	for (size_t i = 0; i < path.len; i++)
		depth += path.data[i] == '/';
	return depth;
}

static int
want_folder(struct scan *scan, size_t parent, const char *name)
{
	struct maildir_index *index = scan->index;
	struct slice above = maildir_path(index, parent);
	char path[PATH_MAX];
	size_t len = above.len + (above.len > 0) + strlen(name);
	if (depth_of(above) >= MAILDIR_DEPTH_MAX || len >= sizeof(path)) {
		index->folders[parent].deep = 1;
		return 0;
	}
	if (above.len > 0) {
		memcpy(path, above.data, above.len);
		path[above.len] = '/';
	}
	memcpy(path + above.len + (above.len > 0), name, strlen(name) + 1);
	size_t folder = maildir_index_find_folder(index,
	    (struct slice){ path, len });
	if (folder == SIZE_MAX) {
		folder = index->n_folders;
		if (maildir_index_add_folder(index, (struct slice){ path,
		    len }, (uint32_t)parent, scan->error) < 0)
			return -1;
	}
	struct maildir_folder *found = &index->folders[folder];
	if (found->state == UNCHANGED)
		found->state = WANTED_UNCHANGED;
	else if (found->state == UNSEEN || found->state == GONE)
		found->state = WANTED;
	return 0;
}

static int
path_error(struct scan *scan, size_t folder, int errnum)
{
	error_system(scan->error, errnum, "maildrop: %.80s",
	    folder == 0 ? "." : maildir_path(scan->index, folder).data);
	/* RFC 3206 section 4: that will not pass by itself. */
	if (errnum == EACCES || errnum == EPERM)
		scan->error->kind = ERROR_CONFIG;
	return -1;
}

/* Takes fd over. */
static int
read_directory(struct scan *scan, int fd, size_t folder)
{
	struct names directories = { .n = 0 };
	DIR *dir = fdopendir(fd);
	size_t before = scan->index->n;
	int result = 0;

	if (dir == NULL) {
		result = path_error(scan, folder, errno);
		close(fd);
		return result;
	}
	struct maildir_folder *at = &scan->index->folders[folder];
	at->state = READ;
	at->deep = at->unreadable = 0;
	at->maildir = !maildir_holds_mail(maildir_path(scan->index, folder)) &&
	    (has_directory(fd, "new") || has_directory(fd, "cur"));
	while (result == 0) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (entry == NULL) {
			if (errno != 0)
				result = path_error(scan, folder, errno);
			break;
		}
		result = ++scan->entries % LOOK_EACH == 0 &&
		    maildir_must_stop(scan->index)
		    ? maildir_stopped(scan->error)
		    : scan_entry(scan, fd, folder, entry, &directories);
	}
	if (directories.n > 1)
		qsort(directories.items, directories.n, sizeof(char *),
		    compare_names);
	for (size_t i = 0; i < directories.n && result == 0; i++)
		result = want_folder(scan, folder, directories.items[i]);
	names_free(&directories);
	size_t named = scan->index->n;
	if (result == 0 && named > before)
		result = maildir_measure(scan->index, before, fd,
		    scan->error);
	/* Some were gone when they were opened. */
	scan->moved = scan->moved || scan->index->n < named;
	scan->added += scan->index->n - before;
	closedir(dir);
	return result;
}

/* The maildrop, and its own new and cur: without one of them what is served
 * would look like all there is. */
static bool
is_indispensable(const struct scan *scan, size_t folder)
{
	struct slice path = maildir_path(scan->index, folder);

	return path.len == 0 || slice_equal(path, SLICE("new")) ||
	    slice_equal(path, SLICE("cur"));
}

/* It cannot be opened, for the reason in errno: is it gone, or left out? */
static int
skip(struct scan *scan, size_t folder)
{
	struct maildir_folder *at = &scan->index->folders[folder];
	int errnum = errno;
	struct stat st;

	at->state = GONE;
	if (folder != 0 && maildir_folder_is_gone(errnum))
		return 0;
	if ((errnum != EACCES && errnum != EPERM) ||
	    is_indispensable(scan, folder))
		return path_error(scan, folder, errnum);
	/* Where what is above it may not be entered it is looked for again in
	 * each session. */
	at->trusted = 0;
	if (fstatat(scan->fd, maildir_path(scan->index, folder).data, &st,
	    AT_SYMLINK_NOFOLLOW) == 0)
		maildir_folder_describe(at, &st, scan->now,
		    scan->index->shared);
	at->state = READ;
	at->unreadable = 1;
	at->maildir = at->deep = 0;
	return 0;
}

/* Reads the directory, unless it still is what the cache knew. */
static int
visit(struct scan *scan, size_t folder)
{
	struct maildir_folder *at = &scan->index->folders[folder];
	const struct maildir_folder *above = &scan->index->folders[at->parent];
	bool inside = folder != 0 && (above->maildir || above->inside);
	int fd = maildir_folder_open(scan->fd, maildir_path(scan->index,
	    folder));
	struct stat st;

	/* By its name "." it must be one that may be entered, too. */
	if (fd < 0 || fstatat(fd, ".", &st, 0) != 0) {
		int result = skip(scan, folder);

		if (fd >= 0)
			close(fd);
		return result;
	}
	if ((at->state == UNCHANGED || at->state == WANTED_UNCHANGED) &&
	    inside == at->inside && maildir_folder_is_unchanged(at, &st)) {
		at->state = KEPT;
		close(fd);
		return 0;
	}
	at->inside = inside;
	maildir_folder_describe(at, &st, scan->now, scan->index->shared);
	return read_directory(scan, fd, folder);
}

static bool
to_be_visited(const struct scan *scan, size_t folder)
{
	const struct maildir_folder *at = &scan->index->folders[folder];
	const struct maildir_folder *parent =
	    &scan->index->folders[at->parent];

	return at->state == WANTED || at->state == WANTED_UNCHANGED ||
	    ((at->state == UNCHANGED || at->state == UNSEEN) &&
	    (folder == 0 || parent->state == KEPT));
}

static bool
is_cur(const struct scan *scan, size_t folder)
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
visit_all(struct scan *scan)
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
want_changed(struct scan *scan)
{
	struct maildir_index *index = scan->index;
	bool changed = false;
	struct stat st;

	for (size_t i = 0; i < index->n_folders; i++) {
		struct maildir_folder *folder = &index->folders[i];

		if ((folder->state != READ && folder->state != KEPT) ||
		    fstatat(scan->fd, index->text + folder->path, &st,
		    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 ||
		    (folder->mtime == maildir_time(&st.st_mtim) &&
		    folder->ctime == maildir_time(&st.st_ctim)))
			continue;
		folder->state = WANTED;
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
visit_changed(struct scan *scan)
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
compare_folders(struct scan *scan)
{
	struct maildir_index *index = scan->index;
	bool same = index->n_folders > 0;
	struct stat st;

	for (size_t i = 0; i < index->n_folders; i++) {
		struct maildir_folder *folder = &index->folders[i];
		const char *path = index->text + folder->path;

		folder->state = UNSEEN;
		if (folder->trusted && fstatat(scan->fd, path, &st,
		    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 &&
		    maildir_folder_is_unchanged(folder, &st))
			folder->state = UNCHANGED;
		else
			same = false;
	}
	return same;
}

/* Only what changed directories hold may be gone or have another name. */
static int
gather_known(struct scan *scan)
{
	struct maildir_index *index = scan->index;
	size_t n = 0;

	for (size_t i = 0; i < index->n; i++)
		n += index->folders[index->files[i].folder].state == UNSEEN;
	if (n == 0)
		return 0;
	if (maildir_table_init(&scan->known, n, index->n, scan->error) < 0)
		return -1;
	for (size_t i = 0; i < index->n; i++)
		if (index->folders[index->files[i].folder].state == UNSEEN)
			maildir_table_put(&scan->known, index, i);
	return 0;
}

/* Drops what is gone. Folders get new numbers. */
static int
drop_gone(struct scan *scan)
{
	struct maildir_index *index = scan->index;
	size_t n = 0;
	uint32_t *numbers = calloc(index->n_folders, sizeof(*numbers));

	if (numbers == NULL)
		return error_system(scan->error, ENOMEM, "maildrop");
	for (size_t i = 0; i < index->n; i++) {
		const struct maildir_file *file = &index->files[i];
		enum state state = index->folders[file->folder].state;

		/* Seen, perhaps, in a directory that went after that. */
		if (state != KEPT && (state != READ || !file->seen))
			continue;
		if (file->uncounted)
			index->folders[file->folder].trusted = 0;
		index->messages[n] = index->messages[i];
		index->files[n++] = *file;
	}
	index->n = n;
	n = 0;
	for (size_t i = 0; i < index->n_folders; i++) {
		enum state state = index->folders[i].state;

		if (state != KEPT && state != READ)
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

/* One message for each, in their order. */
static int
finish(struct scan *scan)
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
	struct scan scan = {
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
	    visit_changed(&scan) == 0 && drop_gone(&scan) == 0) {
		maildir_table_free(&scan.known);
		result = finish(&scan);
	}
	maildir_table_free(&scan.known);
	/* Where no time is believed, what was found is what counts. */
	if (index->shared && folders == index->n_folders &&
	    files == index->n && scan.added == 0 && !scan.moved)
		*changed = false;
	return result;
}
