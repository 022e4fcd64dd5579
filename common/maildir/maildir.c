/*
 * maildir.c - a session's maildrop: its messages opened, and removed.
 *
 * A file that is not under its name any more may have been renamed. Or its
 * directory was replaced by another one with the same files, and we still hold
 * a descriptor of the old one. So both are looked for again, and what is not
 * found then is gone.
 */
#include "maildir/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "maildir/maildir_doubles.h"
#include "maildir/maildir_folder.h"
#include "maildir/maildir_measure.h"
#include "maildir/maildir_moved.h"
#include "maildir/maildir_scan.h"
#include "system/clock.h"
#include "system/directory.h"
#include "system/file_system.h"

/* In a maildrop that is shared with other machines. */
#define LOCK_FILE ".pop3-handler.lock"

/* How often other programs may rename a message while we look for it. */
#define TRIES 5
/* And how often QUIT looks for those that are missing. */
#define PASSES 20

/* ---- the beginning ---- */

/* Starts the time limit of what begins now. */
static void
start_clock(struct maildir *maildir)
{
	maildir->index.deadline = maildir->timeout == 0 ? 0
	    : clock_now() + 1000 * (int64_t)maildir->timeout;
}

/* Locks one of the two: the directory, or the file in it. */
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

/* The file that sessions on other machines lock, too. */
static int
open_lock(const struct maildir *maildir)
{
	int fd = -1;

	/* MooseFS says EEXIST where two make it at once. */
	for (int try = 0; try < TRIES && fd < 0; try++) {
		fd = openat(maildir->fd, LOCK_FILE,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST && errno != ESTALE)
			break;
	}
	return fd;
}

/* A lock on the directory leaves no file and goes with the process, but holds
 * on this machine only. */
static int
lock_maildrop(struct maildir *maildir, const char *path, struct error *error)
{
	if (lock(maildir->fd, path, error) < 0)
		return -1;
	if (!maildir->shared)
		return 0;
	maildir->lock_fd = open_lock(maildir);
	if (maildir->lock_fd < 0)
		return error_system(error, errno, "maildrop %.120s/%s", path,
		    LOCK_FILE);
	return lock(maildir->lock_fd, path, error);
}

/* Without a cache everything works as well, but slower. */
static void
read_cache(struct maildir *maildir, const char *path,
    const struct maildir_options *options)
{
	struct error ignored;
	struct stat st;

	if (options->cache_dir == NULL)
		return;
	maildir->cache_is_inside = maildir_cache_is_inside(options->cache_dir,
	    path);
	if (maildir->cache_is_inside || fstat(maildir->fd, &st) != 0 ||
	    maildir_cache_name(path, options->reach, maildir->cache_name,
	    &ignored) < 0)
		return;
	maildir->cache_fd = directory_reach(options->cache_dir, &ignored);
	if (maildir->cache_fd < 0)
		return;
	maildir->key = (struct maildir_cache_key){
		.device = st.st_dev, .inode = st.st_ino,
		.owner = st.st_uid, .reach = options->reach,
	};
	maildir_cache_load(&maildir->index, maildir->cache_fd,
	    maildir->cache_name, &maildir->key);
}

/* Is the directory there in which the first message would make the maildrop? */
static int
find_fixed(const char *path, size_t fixed, struct error *error)
{
	char part[PATH_MAX];
	struct stat st;

	/* Nothing of it is: it begins in the session's own directory. */
	if (fixed == 0)
		return 0;
	if (snprintf(part, sizeof(part), "%.*s", (int)fixed, path) >=
	    (int)sizeof(part))
		return error_system(error, ENAMETOOLONG, "maildrop %.120s",
		    path);
	if (stat(part, &st) != 0)
		return error_system(error, errno, "maildrop %.120s is not "
		    "there, nor is %.120s to make it in", path, part);
	return 0;
}

/* Opening it failed: 0 where it counts as an empty maildrop. */
static int
cannot_open(const char *path, const struct maildir_options *options,
    struct error *error)
{
	int errnum = error->errnum;

	/* There can be nothing under a name that is too long, either. */
	if (options->may_be_missing && errnum == ENAMETOOLONG)
		return 0;
	if (options->may_be_missing && errnum == ENOENT)
		return find_fixed(path, options->fixed, error);
	/* RFC 3206 section 4: that will not pass by itself. */
	if (errnum == EACCES || errnum == EPERM || errnum == ELOOP ||
	    errnum == ENAMETOOLONG)
		error->kind = ERROR_CONFIG;
	return -1;
}

int
maildir_open(struct maildir *maildir, const char *path,
    const struct maildir_options *options, struct error *error)
{
	*maildir = (struct maildir){ .fd = -1, .lock_fd = -1, .folder_fd = -1,
	    .cache_fd = -1 };
	maildir->fd = directory_open(path, DIRECTORY_MAKE_NOTHING, error);
	if (maildir->fd < 0)
		return cannot_open(path, options, error);
	maildir->shared = file_system_is_shared(maildir->fd);
	if (!options->lock || lock_maildrop(maildir, path, error) == 0) {
		maildir->timeout = options->timeout;
		read_cache(maildir, path, options);
		start_clock(maildir);
		maildir->index.shared = maildir->shared;
		if (maildir_scan(&maildir->index, maildir->fd,
		    options->reach == MAILDIR_INBOX,
		    &maildir->cache_is_old, error) == 0)
			return 0;
	}
	maildir_close(maildir);
	return -1;
}

bool
maildir_is_too_deep(const struct maildir *maildir)
{
	for (size_t i = 0; i < maildir->index.n_folders; i++)
		if (maildir->index.folders[i].deep)
			return true;
	return false;
}

const char *
maildir_left_out(const struct maildir *maildir, size_t *n)
{
	const struct maildir_index *index = &maildir->index;
	const char *first = NULL;

	*n = 0;
	for (size_t i = index->n_folders; i-- > 0;)
		if (index->folders[i].unreadable) {
			first = maildir_path(index, i).data;
			(*n)++;
		}
	return first;
}

int
maildir_save_cache(struct maildir *maildir, struct error *error)
{
	if (maildir->cache_fd < 0 || !maildir->cache_is_old ||
	    maildir->index_is_stale)
		return 0;
	maildir->cache_is_old = false;
	return maildir_cache_save(&maildir->index, maildir->cache_fd,
	    maildir->cache_name, &maildir->key, error);
}

/* ---- files ---- */

static const char *
name_of(const struct maildir *maildir, size_t i)
{
	return maildir->index.text + maildir->index.files[i].name;
}

static void
close_folder(struct maildir *maildir)
{
	if (maildir->folder_fd >= 0)
		close(maildir->folder_fd);
	maildir->folder_fd = -1;
}

static int
open_folder(struct maildir *maildir, size_t folder)
{
	if (maildir->folder_fd >= 0 && maildir->folder == folder)
		return maildir->folder_fd;
	close_folder(maildir);
	maildir->folder_fd = maildir_folder_open(maildir->fd,
	    maildir_path(&maildir->index, folder));
	maildir->folder = folder;
	return maildir->folder_fd;
}

/* What is done with a message's file: a descriptor or 0, or -1 with errno. */
typedef int file_call(int dir, const char *name);

/* Does it in message i's directory, which is opened unless it is open. Twins
 * may have swapped their names: ENOENT where the name is another message's. */
static int
try_call(struct maildir *maildir, size_t i, file_call *call)
{
	const char *name = name_of(maildir, i);
	int dir = open_folder(maildir, maildir->index.files[i].folder);

	if (dir < 0) {
		if (maildir_folder_is_gone(errno))
			errno = ENOENT;
		return -1;
	}
	if (maildir->index.files[i].twin &&
	    !maildir_is_same_message(&maildir->index, i, dir, name, 0)) {
		errno = ENOENT;
		return -1;
	}
	int result = call(dir, name);
	if (result < 0 && errno == ESTALE)
		errno = ENOENT;
	return result;
}

static int
call_open(int dir, const char *name)
{
	return openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC |
	    O_NONBLOCK | O_NOCTTY);
}

static int
call_unlink(int dir, const char *name)
{
	return unlinkat(dir, name, 0);
}

/* Does it in the directory as it is now, and says what went wrong; *gone where
 * there is no such name, and then nothing is said. */
static int
call_on_file(struct maildir *maildir, size_t i, file_call *call, bool *gone,
    struct error *error)
{
	size_t folder = maildir->index.files[i].folder;
	bool old = maildir->folder_fd >= 0 && maildir->folder == folder;
	int result = try_call(maildir, i, call);

	if (result < 0 && errno == ENOENT && old) {
		/* The directory that is open may have been replaced. */
		close_folder(maildir);
		result = try_call(maildir, i, call);
	}
	*gone = result < 0 && errno == ENOENT;
	if (result < 0 && !*gone)
		return error_system(error, errno, "message %.80s",
		    name_of(maildir, i));
	return result;
}

/* ---- messages ---- */

/* Looks where message i is now. */
static int
find_moved(struct maildir *maildir, size_t i, unsigned pass,
    enum maildir_whereabouts *where, struct error *error)
{
	int found = maildir_find_moved(&maildir->index, maildir->fd,
	    &maildir->names, i, pass, where, error);

	if (found == MAILDIR_STALE)
		maildir->index_is_stale = true;
	return found < 0 ? -1 : 0;
}

static int
open_wherever(struct maildir *maildir, size_t i, struct error *error)
{
	enum maildir_whereabouts where = MAILDIR_FOUND;
	bool gone;

	for (int try = 0; try < TRIES && where != MAILDIR_GONE; try++) {
		int fd = call_on_file(maildir, i, call_open, &gone, error);

		if (!gone)
			return fd;
		if (find_moved(maildir, i, 0, &where, error) < 0)
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
	/* The next session reads its directory again: other files in it may
	 * have been changed, too. */
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
	start_clock(maildir);
	if (!maildir_count_octets(&maildir->index, fd, st.st_size, &octets) ||
	    lseek(fd, 0, SEEK_SET) != 0)
		return errno == EINTR ? maildir_stopped(error)
		    : error_system(error, errno, "message %.80s", name);
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

/* ---- removing ---- */

/* What is still to be done of QUIT. */
struct removal {
	uint32_t *missing; /* messages that are to be looked for */
	size_t n;
	size_t kept;
	struct error *first; /* of those that were kept */
};

/* Removes message i's file; where it is gone, or has other names besides, it
 * is missing. */
static void
remove_file(struct maildir *maildir, size_t i, struct removal *removal)
{
	struct error ignored;
	bool gone;

	if (call_on_file(maildir, i, call_unlink, &gone, removal->kept == 0
	    ? removal->first : &ignored) < 0 && !gone)
		removal->kept++;
	else if (gone || maildir->index.files[i].doubled) {
		maildir->index.files[i].seen = 0;
		removal->missing[removal->n++] = (uint32_t)i;
	}
}

/* Looks for all that are missing at once, and removes those that are found.
 * The others are gone, or are still to be looked for. */
static void
remove_missing(struct maildir *maildir, unsigned pass,
    struct removal *removal)
{
	size_t n = removal->n;
	struct error error;

	removal->n = 0;
	for (size_t k = 0; k < n; k++) {
		size_t i = removal->missing[k];
		enum maildir_whereabouts where;

		if (find_moved(maildir, i, pass, &where, &error) < 0) {
			if (removal->kept++ == 0)
				*removal->first = error;
		} else if (where == MAILDIR_FOUND) {
			remove_file(maildir, i, removal);
		} else if (where == MAILDIR_UNSETTLED) {
			removal->missing[removal->n++] = (uint32_t)i;
		}
	}
}

int
maildir_remove_marked(struct maildir *maildir, size_t *removed, size_t *kept,
    struct error *error)
{
	struct maildir_index *index = &maildir->index;
	struct removal removal = { .first = error };
	size_t marked = 0;

	for (size_t i = 0; i < index->n; i++)
		marked += index->messages[i].deleted;
	*removed = 0;
	*kept = marked;
	removal.missing = calloc(marked, sizeof(*removal.missing));
	if (removal.missing == NULL)
		return marked == 0 ? 0
		    : error_system(error, ENOMEM, "maildrop");
	for (size_t i = 0; i < index->n_folders; i++)
		index->folders[i].pass = 0;
	for (size_t i = 0; i < index->n; i++)
		if (index->messages[i].deleted)
			remove_file(maildir, i, &removal);
	for (unsigned pass = 1; pass <= PASSES && removal.n > 0; pass++) {
		/* Our own removals have changed the directories' times: wait
		 * until these would show a change by others. */
		if (pass > 1)
			nanosleep(&(struct timespec){
			    .tv_nsec = MAILDIR_REST * 1000000L }, NULL);
		remove_missing(maildir, pass, &removal);
	}
	free(removal.missing);
	/* Each time they were looked for, they had been renamed again. */
	if (removal.n > 0 && removal.kept == 0)
		error_set(error, ERROR_SYSTEM, "messages are renamed faster "
		    "than they can be removed");
	removal.kept += removal.n;
	*kept = removal.kept;
	*removed = marked - removal.kept;
	return removal.kept == 0 ? 0 : -1;
}

void
maildir_close(struct maildir *maildir)
{
	maildir_index_free(&maildir->index);
	maildir_table_free(&maildir->names);
	if (maildir->cache_fd >= 0)
		close(maildir->cache_fd);
	if (maildir->lock_fd >= 0) {
		/* Closing alone lets some file systems keep it for a while. */
		flock(maildir->lock_fd, LOCK_UN);
		close(maildir->lock_fd);
	}
	close_folder(maildir);
	if (maildir->fd >= 0)
		close(maildir->fd);
	*maildir = (struct maildir){ .fd = -1, .lock_fd = -1, .folder_fd = -1,
	    .cache_fd = -1 };
}
