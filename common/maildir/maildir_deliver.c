/*
 * maildir_deliver.c - "accepting means keeping", as far as the file system
 * goes: file, fsync, link, fsync of the directory, in that order.
 */
#include "maildir/maildir_deliver.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "system/directory.h"
#include "system/file.h"
#include "system/file_system.h"
#include "system/process.h"

/* A crashed delivery's file under tmp may go after this many seconds: the
 * 36 hours of the maildir(5) convention. */
#define STALE_AFTER (36 * 60 * 60)
/* Entries of tmp that one delivery looks at, to stay cheap. */
#define STALE_LOOKS 100

/* Directories older than this many seconds are on disk. */
#define YOUNG 60

/* Octets copied at a time. */
#define COPY_SIZE 65536

/* Octets of a long message after which the disk is set to work, while more of
 * it comes: the client waits less for its 250. */
#define WRITEBACK_SIZE 4194304

static const char *const parts[] = { "tmp", "new", "cur" };
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

/* Some file systems cannot sync a directory, and have no need to. */
static int
sync_open_directory(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : -1;
}

static int
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int result = sync_open_directory(fd);
	int saved = errno;
	close(fd);
	errno = saved;
	return result;
}

/* So many octets of path as a path of its own; "." for none. None that is
 * begun is as long as PATH_MAX. */
static void
path_prefix(const char *path, size_t len, char copy[PATH_MAX])
{
	assert(len < PATH_MAX);
	if (len == 0) {
		path = ".";
		len = 1;
	}
	memcpy(copy, path, len);
	copy[len] = '\0';
}

/* A directory's entry lives in its parent: that too must be on disk before
 * mail in it counts as kept. */
static int
sync_parent(const char *path, size_t len)
{
	char parent[PATH_MAX];

	len = file_parent_len(path, len);
	path_prefix(path, len, parent);
	return sync_directory(parent);
}

/* The end of the path's next component after so many octets of it; 0 where
 * there is none. */
static size_t
next_component(const char *path, size_t len)
{
	size_t start = len + strspn(path + len, "/");
	size_t n = strcspn(path + start, "/");

	return n > 0 ? start + n : 0;
}

/* The maildir: for the caller to let go by drop_maildir. When parked, opened
 * once more. */
static int
hold_maildir(const struct maildir_deliver *deliver, struct error *error)
{
	return deliver->maildir_fd >= 0 ? deliver->maildir_fd
	    : directory_open(deliver->path, DIRECTORY_MAKE_NOTHING, error);
}

static void
drop_maildir(const struct maildir_deliver *deliver, int fd)
{
	if (fd >= 0 && fd != deliver->maildir_fd)
		close(fd);
}

/* Its tmp or its new, for the caller to close. */
static int
open_part(const struct maildir_deliver *deliver, const char *part,
    struct error *error)
{
	char path[PATH_MAX];
	int maildir = hold_maildir(deliver, error);

	if (maildir < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", deliver->path, part);
	int fd = directory_open_in(maildir, part, path, error);
	drop_maildir(deliver, maildir);
	return fd;
}

static int
make_parts(const struct maildir_deliver *deliver, struct error *error)
{
	int maildir = hold_maildir(deliver, error);
	int result = 0;

	if (maildir < 0)
		return -1;
	for (size_t i = 0; i < N_PARTS && result == 0; i++)
		if (mkdirat(maildir, parts[i], 0700) != 0 && errno != EEXIST)
			result = error_system(error, errno, "cannot make "
			    "%.120s/%s", deliver->path, parts[i]);
	if (result == 0 && sync_open_directory(maildir) != 0)
		result = error_system(error, errno, "fsync of %.120s",
		    deliver->path);
	drop_maildir(deliver, maildir);
	return result;
}

/*
 * A maildir that was made a moment ago may not be on disk yet, nor the
 * directories above it that were made with it: the session that made them may
 * have died before it synced them.
 */
static int
sync_if_young(const struct maildir_deliver *deliver, struct error *error)
{
	const char *path = deliver->path;
	char part[PATH_MAX];
	struct stat st;

	for (size_t len = deliver->fixed;
	    (len = next_component(path, len)) > 0;) {
		path_prefix(path, len, part);
		if (stat(part, &st) != 0 || time(NULL) - st.st_mtime > YOUNG)
			continue;
		if (sync_directory(part) != 0 ||
		    sync_parent(path, len) != 0)
			return error_system(error, errno, "fsync of %.120s",
			    path);
	}
	return 0;
}

static void
make_unique(struct maildir_deliver *deliver, const char *host_name)
{
	struct timespec now;
	uint32_t random;

	clock_gettime(CLOCK_REALTIME, &now);
	/* Without randomness the pid and the time still differ. */
	if (getentropy(&random, sizeof(random)) != 0)
		random = (uint32_t)now.tv_nsec;
	/* So much of the host's name that ",S=..,W=..:2,.." still fits into
	 * the 255 octets that a file's name may have. */
	snprintf(deliver->unique, sizeof(deliver->unique),
	    "%lld.M%06ldP%ld_%08x.%.128s", (long long)now.tv_sec,
	    now.tv_nsec / 1000, (long)getpid(), random, host_name);
}

/* ERROR_MISSING where there is no tmp. */
static int
create_file(struct maildir_deliver *deliver, struct error *error)
{
	int tmp = open_part(deliver, "tmp", error);

	if (tmp < 0)
		return -1;
	/* Not to be read: no session that keeps mail has the right to. */
	deliver->fd = openat(tmp, deliver->unique,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int errnum = errno;
	close(tmp);
	return deliver->fd >= 0 ? 0 : error_system(error, errnum,
	    "cannot create a file in %.120s/tmp", deliver->path);
}

void
maildir_deliver_sweep(const struct maildir_deliver *deliver)
{
	struct error ignored;
	int fd = open_part(deliver, "tmp", &ignored);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	time_t now = time(NULL);
	struct stat st;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (int looks = 0; looks < STALE_LOOKS &&
	    (entry = readdir(dir)) != NULL; looks++) {
		if (entry->d_name[0] == '.' || fstatat(fd, entry->d_name, &st,
		    AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (now - st.st_mtime > STALE_AFTER &&
		    now - st.st_atime > STALE_AFTER)
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
}

int
maildir_deliver_begin(struct maildir_deliver *deliver, const char *path,
    size_t fixed, const char *host_name, struct error *error)
{
	*deliver = (struct maildir_deliver){
		.fd = -1, .maildir_fd = -1, .path = path, .fixed = fixed,
	};
	/* When parked it must be a name still. */
	if (strlen(path) + sizeof(deliver->name) >= PATH_MAX)
		return error_system(error, ENAMETOOLONG, "maildir %.120s",
		    path);
	deliver->maildir_fd = directory_open(path, fixed, error);
	if (deliver->maildir_fd < 0)
		return -1;
	deliver->shared = file_system_is_shared(deliver->maildir_fd);
	make_unique(deliver, host_name);
	int created = create_file(deliver, error);
	if (created != 0 && error->errnum == ENOENT &&
	    make_parts(deliver, error) == 0)
		created = create_file(deliver, error);
	if (created != 0) {
		maildir_deliver_close(deliver);
		return -1;
	}
	deliver->in_tmp = true;
	if (sync_if_young(deliver, error) != 0) {
		maildir_deliver_close(deliver);
		return -1;
	}
	return 0;
}

int
maildir_deliver_write(struct maildir_deliver *deliver, struct slice text,
    struct error *error)
{
	const char *at = text.data;
	const char *end = text.data + text.len;

	if (file_write(deliver->fd, text) != 0)
		return error_system(error, errno, "writing in %.120s/tmp",
		    deliver->path);
	uint64_t written = deliver->octets;
	deliver->octets += text.len;
	if (deliver->octets / WRITEBACK_SIZE != written / WRITEBACK_SIZE)
		file_start_writeback(deliver->fd);
	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) !=
	    NULL) {
		deliver->lines++;
		at++;
	}
	return 0;
}

int
maildir_deliver_copy(struct maildir_deliver *deliver,
    const struct maildir_text *text, struct error *error)
{
	char *buffer = malloc(COPY_SIZE);
	uint64_t before = deliver->lines;
	uint64_t at = text->offset;
	int result = 0;

	if (buffer == NULL)
		return error_system(error, ENOMEM, "copying a message");
	while (result == 0 && at < text->end) {
		uint64_t left = text->end - at;
		ssize_t n = pread(text->fd, buffer, left < COPY_SIZE
		    ? (size_t)left : COPY_SIZE, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		/* Copies for many may take long, and until the first is
		 * linked nothing is lost. */
		if (process_stop_pending())
			result = error_set(error, ERROR_SYSTEM,
			    "stopped while copying a message");
		/* Nobody else writes that file: it cannot be shorter. */
		else if (n <= 0)
			result = error_system(error, n < 0 ? errno : EIO,
			    "reading back a message");
		else
			result = maildir_deliver_write(deliver,
			    (struct slice){ buffer, (size_t)n }, error);
		if (n > 0)
			at += (uint64_t)n;
	}
	free(buffer);
	if (result == 0 && deliver->lines - before != text->lines)
		return error_system(error, EIO, "reading back a message");
	return result;
}

int
maildir_deliver_sync(struct maildir_deliver *deliver, struct error *error)
{
	if (fsync(deliver->fd) != 0)
		return error_system(error, errno, "fsync in %.120s/tmp",
		    deliver->path);
	return 0;
}

void
maildir_deliver_park(struct maildir_deliver *deliver)
{
	close(deliver->fd);
	close(deliver->maildir_fd);
	deliver->fd = deliver->maildir_fd = -1;
}

static int
link_file(struct maildir_deliver *deliver, int tmp, int new)
{
	const char *from = deliver->unique;
	const char *to = deliver->name;

	if (linkat(tmp, from, new, to, 0) == 0)
		return 0;
#ifdef RENAME_NOREPLACE
	/* File systems without hard links. */
	if ((errno == EPERM || errno == ENOTSUP || errno == ENOSYS ||
	    errno == EMLINK) &&
	    renameat2(tmp, from, new, to, RENAME_NOREPLACE) == 0) {
		deliver->in_tmp = false;
		return 0;
	}
#endif
	return -1;
}

static int
link_into_new(struct maildir_deliver *deliver, struct error *error)
{
	int new = open_part(deliver, "new", error);
	int tmp = new < 0 ? -1 : open_part(deliver, "tmp", error);
	int result = -1;

	if (tmp >= 0) {
		result = link_file(deliver, tmp, new);
		if (result != 0)
			error_system(error, errno, "cannot link %.100s into "
			    "%.120s/new", deliver->unique, deliver->path);
		close(tmp);
	}
	if (new >= 0)
		close(new);
	return result;
}

int
maildir_deliver_link(struct maildir_deliver *deliver, struct error *error)
{
	uint64_t octets = deliver->octets + deliver->lines;

	/* Each LF is a CRLF on the wire; the last line always has its end, and
	 * nothing is an empty line. */
	snprintf(deliver->name, sizeof(deliver->name), "%s,S=%ju,W=%ju",
	    deliver->unique, (uintmax_t)deliver->octets,
	    (uintmax_t)(octets > 0 ? octets : 2));
	int linked = link_into_new(deliver, error);
	/* new is not there; if tmp is not either, this fails too. */
	if (linked != 0 && error->errnum == ENOENT &&
	    make_parts(deliver, error) == 0)
		linked = link_into_new(deliver, error);
	if (linked != 0)
		return -1;
	deliver->in_new = true;
	return 0;
}

static int
sync_linked(const struct maildir_deliver *deliver, int new)
{
	int fd = openat(new, deliver->name,
	    O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		/* Fetched, moved or removed already: it was there. */
		return errno == ENOENT || errno == ESTALE ? 0 : -1;
	int result = fsync(fd);
	int saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int
maildir_deliver_settle(struct maildir_deliver *deliver, struct error *error)
{
	int new = open_part(deliver, "new", error);

	if (new < 0)
		return -1;
	int result = sync_open_directory(new);
	/* GlusterFS never syncs a directory: what makes a name lasting there
	 * is one more fsync of the file. */
	if (result == 0 && deliver->shared)
		result = sync_linked(deliver, new);
	if (result != 0)
		error_system(error, errno, "fsync of %.120s/new",
		    deliver->path);
	close(new);
	return result;
}

static void
remove_file(const struct maildir_deliver *deliver, const char *part,
    const char *name)
{
	struct error ignored;
	int fd = open_part(deliver, part, &ignored);

	if (fd < 0)
		return;
	unlinkat(fd, name, 0);
	close(fd);
}

void
maildir_deliver_undo(struct maildir_deliver *deliver)
{
	if (deliver->in_new)
		remove_file(deliver, "new", deliver->name);
	deliver->in_new = false;
}

void
maildir_deliver_close(struct maildir_deliver *deliver)
{
	if (deliver->in_tmp)
		remove_file(deliver, "tmp", deliver->unique);
	deliver->in_tmp = false;
	if (deliver->fd > 0)
		close(deliver->fd);
	if (deliver->maildir_fd > 0)
		close(deliver->maildir_fd);
	deliver->fd = deliver->maildir_fd = -1;
}

int
maildir_deliver_check(const char *path, struct error *error)
{
	char copy[PATH_MAX];
	int fd = directory_open(path, DIRECTORY_MAKE_NOTHING, error);

	if (fd >= 0) {
		close(fd);
		if (access(path, R_OK | W_OK | X_OK) == 0)
			return 0;
	} else if (error->kind == ERROR_CONFIG) {
		return -1;
	} else if ((errno = error->errnum) == ENOTDIR) {
		return error_set(error, ERROR_CONFIG,
		    "--maildir %.120s: not a directory", path);
	} else if (errno == ENOENT) {
		if (snprintf(copy, sizeof(copy), "%s", path) <
		    (int)sizeof(copy) &&
		    access(dirname(copy), W_OK | X_OK) == 0)
			return 0;
	}
	return error_set(error, ERROR_CONFIG, "--maildir %.120s: %s", path,
	    strerror(errno));
}
