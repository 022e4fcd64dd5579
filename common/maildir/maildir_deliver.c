/*
 * maildir_deliver.c - "accepting means keeping", as far as the file system
 * goes: file, fsync, link, fsync of the directory, in that order.
 * Layer 2.
 */
#include "maildir/maildir_deliver.h"

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

#include "system/file.h"

/* A crashed delivery's file under tmp may go after this many seconds: the
 * 36 hours of the maildir(5) convention. */
#define STALE_AFTER (36 * 60 * 60)
/* Entries of tmp that one delivery looks at, to stay cheap. */
#define STALE_LOOKS 100

/* Directories older than this many seconds are on disk. */
#define YOUNG 60

/* Octets copied at a time. */
#define COPY_SIZE 65536

static const char *const parts[] = { "tmp", "new", "cur" };
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

static int
sync_directory(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? -1 : fsync(fd);

	/* Some file systems cannot sync a directory, and have no need to. */
	if (result != 0 && fd >= 0 && (errno == EINVAL || errno == ENOTSUP))
		result = 0;
	if (fd >= 0) {
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return result;
}

/* So many octets of path as a path of its own; "." for none. */
static int
path_prefix(const char *path, size_t len, char *copy, size_t size)
{
	if (len >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(copy, path, len);
	copy[len] = '\0';
	if (len == 0)
		memcpy(copy, path[0] == '/' ? "/" : ".", 2);
	return 0;
}

/* A directory's entry lives in its parent: that too must be on disk before
 * mail in it counts as kept. */
static int
sync_parent(const char *path, size_t len)
{
	char parent[PATH_MAX];

	len = file_parent_len(path, len);
	if (path_prefix(path, len, parent, sizeof(parent)) != 0)
		return -1;
	return sync_directory(AT_FDCWD, parent);
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

static int
make_path(const char *path, size_t fixed, struct error *error)
{
	char part[PATH_MAX];

	for (size_t len = fixed; (len = next_component(path, len)) > 0;)
		if (path_prefix(path, len, part, sizeof(part)) != 0 ||
		    (mkdir(part, 0700) != 0 && errno != EEXIST))
			return error_system(error, errno,
			    "cannot make maildir %.120s", path);
	return 0;
}

static int
open_maildir(const char *path, size_t fixed, struct error *error)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && next_component(path, fixed) > 0) {
		if (make_path(path, fixed, error) < 0)
			return -1;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return error_system(error, errno, "maildir %.120s", path);
	return fd;
}

/* A name in one of the maildir's parts, by its open directory or, when
 * parked, by its whole path. */
static const char *
name_in(const struct maildir_deliver *deliver, const char *part,
    const char *name, char *buffer, size_t size)
{
	bool parked = deliver->maildir_fd == AT_FDCWD;

	snprintf(buffer, size, "%s%s%s%s%s", parked ? deliver->path : "",
	    parked ? "/" : "", part, name[0] != '\0' ? "/" : "", name);
	return buffer;
}

static int
make_parts(const struct maildir_deliver *deliver, struct error *error)
{
	char name[PATH_MAX];

	for (size_t i = 0; i < N_PARTS; i++)
		if (mkdirat(deliver->maildir_fd, name_in(deliver, parts[i],
		    "", name, sizeof(name)), 0700) != 0 && errno != EEXIST)
			return error_system(error, errno, "cannot make "
			    "%.120s/%s", deliver->path, parts[i]);
	if (sync_directory(deliver->maildir_fd, name_in(deliver, ".", "",
	    name, sizeof(name))) != 0)
		return error_system(error, errno, "fsync of %.120s",
		    deliver->path);
	return 0;
}

/*
 * A maildir that was made a moment ago, by a session that may have died
 * before it could see to this, is not on disk yet for certain, and no
 * directory on the way to it that was made with it.
 */
static int
sync_if_young(const struct maildir_deliver *deliver, struct error *error)
{
	const char *path = deliver->path;
	char part[PATH_MAX];
	struct stat st;

	for (size_t len = deliver->fixed;
	    (len = next_component(path, len)) > 0;) {
		if (path_prefix(path, len, part, sizeof(part)) != 0)
			return error_system(error, errno, "%.120s", path);
		if (stat(part, &st) != 0 || time(NULL) - st.st_mtime > YOUNG)
			continue;
		if (sync_directory(AT_FDCWD, part) != 0 ||
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
	uint32_t random = 0;

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

static int
create_file(struct maildir_deliver *deliver)
{
	char path[sizeof(deliver->unique) + 8];

	snprintf(path, sizeof(path), "tmp/%s", deliver->unique);
	/* Read back too: the relay and hooks are given this very file. */
	deliver->fd = openat(deliver->maildir_fd, path,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return deliver->fd < 0 ? -1 : 0;
}

void
maildir_deliver_sweep(const struct maildir_deliver *deliver)
{
	int fd = openat(deliver->maildir_fd, "tmp",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
	deliver->maildir_fd = open_maildir(path, fixed, error);
	if (deliver->maildir_fd < 0)
		return -1;
	make_unique(deliver, host_name);
	int created = create_file(deliver);
	if (created != 0 && errno == ENOENT) {
		if (make_parts(deliver, error) != 0) {
			maildir_deliver_close(deliver);
			return -1;
		}
		created = create_file(deliver);
	}
	if (created != 0) {
		error_system(error, errno, "cannot create a file in %.120s/tmp",
		    path);
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
	deliver->octets += text.len;
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
		/* Nobody else writes that file: it cannot be shorter. */
		if (n <= 0)
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
	deliver->fd = -1;
	deliver->maildir_fd = AT_FDCWD;
}

static int
link_into_new(struct maildir_deliver *deliver, const char *from,
    const char *to)
{
	int fd = deliver->maildir_fd;

	if (linkat(fd, from, fd, to, 0) == 0)
		return 0;
#ifdef RENAME_NOREPLACE
	/* File systems without hard links. */
	if ((errno == EPERM || errno == ENOTSUP || errno == ENOSYS ||
	    errno == EMLINK) &&
	    renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0) {
		deliver->in_tmp = false;
		return 0;
	}
#endif
	return -1;
}

int
maildir_deliver_link(struct maildir_deliver *deliver, struct error *error)
{
	char from[PATH_MAX], to[PATH_MAX];

	uint64_t octets = deliver->octets + deliver->lines;

	/* Each LF is a CRLF on the wire; the last line always has its end, and
	 * nothing is an empty line. */
	snprintf(deliver->name, sizeof(deliver->name), "%s,S=%ju,W=%ju",
	    deliver->unique, (uintmax_t)deliver->octets,
	    (uintmax_t)(octets > 0 ? octets : 2));
	name_in(deliver, "tmp", deliver->unique, from, sizeof(from));
	name_in(deliver, "new", deliver->name, to, sizeof(to));
	int linked = link_into_new(deliver, from, to);
	if (linked != 0 && errno == ENOENT) {
		/* new is not there; if tmp is not either, this fails too. */
		if (make_parts(deliver, error) != 0)
			return -1;
		linked = link_into_new(deliver, from, to);
	}
	if (linked != 0)
		return error_system(error, errno, "cannot link %.100s into "
		    "%.120s/new", deliver->unique, deliver->path);
	deliver->in_new = true;
	return 0;
}

int
maildir_deliver_settle(struct maildir_deliver *deliver, struct error *error)
{
	char name[PATH_MAX];

	if (sync_directory(deliver->maildir_fd, name_in(deliver, "new", "",
	    name, sizeof(name))) != 0)
		return error_system(error, errno, "fsync of %.120s/new",
		    deliver->path);
	return 0;
}

void
maildir_deliver_undo(struct maildir_deliver *deliver)
{
	char name[PATH_MAX];

	if (deliver->in_new)
		unlinkat(deliver->maildir_fd, name_in(deliver, "new",
		    deliver->name, name, sizeof(name)), 0);
	deliver->in_new = false;
}

void
maildir_deliver_close(struct maildir_deliver *deliver)
{
	char name[PATH_MAX];

	if (deliver->in_tmp) {
		unlinkat(deliver->maildir_fd, name_in(deliver, "tmp",
		    deliver->unique, name, sizeof(name)), 0);
		deliver->in_tmp = false;
	}
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
	struct stat st;

	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			return error_set(error, ERROR_CONFIG,
			    "--maildir %.120s: not a directory", path);
		if (access(path, R_OK | W_OK | X_OK) == 0)
			return 0;
	} else if (errno == ENOENT) {
		if (snprintf(copy, sizeof(copy), "%s", path) <
		    (int)sizeof(copy) &&
		    access(dirname(copy), W_OK | X_OK) == 0)
			return 0;
	}
	return error_set(error, ERROR_CONFIG, "--maildir %.120s: %s", path,
	    strerror(errno));
}
