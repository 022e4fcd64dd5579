/*
 * maildir_entries.c - what the names in a directory are.
 *
 * A file costs one stat where its name says how many octets RETR sends, else
 * it is opened and counted (maildir_measure.c); one that is known already
 * costs nothing.
 */
#include "maildir/maildir_entries.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/maildir_folder.h"
#include "maildir/maildir_measure.h"
#include "maildir/maildir_name.h"

/* Entries read between two looks at the time. */
#define LOOK_EACH 256

/* ---- files ---- */

/* The cache's file of just that name: it needs no look. */
static bool
is_known(struct maildir_scan *scan, size_t folder, struct slice name,
    ino_t inode)
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
find_renamed(struct maildir_scan *scan, size_t folder, struct slice name,
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
add_file(struct maildir_scan *scan, size_t folder, const char *name,
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
		size_t size = 2 * names->n + 1;
		void *grown = realloc(names->items, size * sizeof(char *));
		if (grown == NULL)
			return error_system(error, ENOMEM, "maildrop");
		names->items = grown;
	}
	names->items[names->n] = strdup(name);
	if (names->items[names->n] == NULL)
		return error_system(error, ENOMEM, "maildrop");
	names->n++;
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
holds_messages(const struct maildir_scan *scan, size_t folder)
{
	const struct maildir_folder *at = &scan->index->folders[folder];

	return maildir_holds_mail(maildir_path(scan->index, folder)) ||
	    (!scan->inbox && !at->maildir && !at->inside);
}

/* Are there, or could there be, messages in this directory of the folder? */
static bool
is_wanted(const struct maildir_scan *scan, size_t folder, const char *name)
{
	struct slice last = slice_from(name);

	if (scan->inbox)
		return folder == 0 && maildir_holds_mail(last);
	/* Deliveries under way. */
	return !scan->index->folders[folder].maildir ||
	    strcmp(name, "tmp") != 0;
}

static int
scan_entry(struct maildir_scan *scan, int dir, size_t folder,
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
want_folder(struct maildir_scan *scan, size_t parent, const char *name)
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
	if (found->state == FOLDER_UNCHANGED)
		found->state = FOLDER_WANTED_UNCHANGED;
	else if (found->state == FOLDER_UNSEEN || found->state == FOLDER_GONE)
		found->state = FOLDER_WANTED;
	return 0;
}

int
maildir_entries_error(struct maildir_scan *scan, size_t folder, int errnum)
{
	error_system(scan->error, errnum, "maildrop: %.80s",
	    folder == 0 ? "." : maildir_path(scan->index, folder).data);
	/* RFC 3206 section 4: that will not pass by itself. */
	if (errnum == EACCES || errnum == EPERM)
		scan->error->kind = ERROR_CONFIG;
	return -1;
}

int
maildir_read_entries(struct maildir_scan *scan, int fd, size_t folder)
{
	struct names directories = { .n = 0 };
	DIR *dir = fdopendir(fd);
	size_t before = scan->index->n;
	int result = 0;

	if (dir == NULL) {
		result = maildir_entries_error(scan, folder, errno);
		close(fd);
		return result;
	}
	struct maildir_folder *at = &scan->index->folders[folder];
	at->state = FOLDER_READ;
	at->deep = at->unreadable = 0;
	at->maildir = !maildir_holds_mail(maildir_path(scan->index, folder)) &&
	    (has_directory(fd, "new") || has_directory(fd, "cur"));
	while (result == 0) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (entry == NULL) {
			if (errno != 0)
				result = maildir_entries_error(scan, folder,
				    errno);
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
