/*
 * directory.c - a path walked component by component, and whom each belongs
 * to.
 */
#include "system/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a directory cannot be opened for its name alone, by reading it. */
#ifndef O_PATH
#define O_PATH O_RDONLY
#endif

static bool
is_ours(uid_t owner)
{
	return owner == 0 || owner == geteuid();
}

bool
directory_may_hold(uid_t above, uid_t owner)
{
	return is_ours(above) || is_ours(owner) || above == owner;
}

/* The next component of a path after its first *len octets, but for ".":
 * *len is its end then. Its length, 0 where there is none. */
static size_t
next_component(const char *path, size_t *len)
{
	size_t n;

	do {
		*len += strspn(path + *len, "/");
		n = strcspn(path + *len, "/");
		*len += n;
	} while (n == 1 && path[*len - 1] == '.');
	return n;
}

static bool
is_last(const char *path, size_t len)
{
	return next_component(path, &len) == 0;
}

/* Is the directory such that nobody else can replace a link of ours in it? */
static bool
only_we_turn(const struct stat *above)
{
	return is_ours(above->st_uid) && ((above->st_mode & S_ISVTX) != 0 ||
	    (above->st_mode & (S_IWGRP | S_IWOTH)) == 0);
}

static int
refuse_link(const char *path, struct error *error)
{
	error_system(error, ELOOP, "%.200s: a symbolic link that its owner "
	    "could turn to something else is not followed", path);
	error->kind = ERROR_CONFIG;
	return -1;
}

/* On the way: a directory, or a link to one where that may be. */
static int
open_above(int fd, const char *name, const char *path, struct error *error)
{
	struct stat above, st;

	if (fstat(fd, &above) != 0 ||
	    fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return error_system(error, errno, "%.200s", path);
	bool link = S_ISLNK(st.st_mode);
	if (link && (!is_ours(st.st_uid) || !only_we_turn(&above)))
		return refuse_link(path, error);
	/* O_NOFOLLOW: a directory may have become a link since fstatat(2). */
	int below = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC |
	    (link ? 0 : O_NOFOLLOW));
	return below >= 0 ? below
	    : error_system(error, errno, "%.200s", path);
}

int
directory_open_in(int fd, const char *name, const char *path,
    struct error *error)
{
	struct stat above, st;
	int below = openat(fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int errnum = errno;

	if (below < 0) {
		if ((errnum == ENOTDIR || errnum == ELOOP) && fstatat(fd, name,
		    &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
			return refuse_link(path, error);
		return error_system(error, errnum, "%.200s", path);
	}
	if (fstat(fd, &above) != 0 || fstat(below, &st) != 0) {
		error_system(error, errno, "%.200s", path);
		close(below);
		return -1;
	}
	if (directory_may_hold(above.st_uid, st.st_uid))
		return below;
	close(below);
	error_system(error, EPERM, "%.200s: its owner, user %lu, is not the "
	    "one of the directory it is in, user %lu", path,
	    (unsigned long)st.st_uid, (unsigned long)above.st_uid);
	error->kind = ERROR_CONFIG;
	return -1;
}

static int
make(int fd, const char *name, const char *path, struct error *error)
{
	if (mkdirat(fd, name, 0700) == 0 || errno == EEXIST)
		return 0;
	return error_system(error, errno, "cannot make %.200s", path);
}

typedef int opener(int fd, const char *name, const char *path,
    struct error *error);

static int
walk(const char *path, size_t fixed, opener *open_last, struct error *error)
{
	size_t end = 0, n;
	bool root = path[0] == '/';
	int fd = open(root ? "/" : ".", is_last(path, 0)
	    ? O_RDONLY | O_DIRECTORY | O_CLOEXEC
	    : O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_system(error, errno, "%.200s", path);
	while (fd >= 0 && (n = next_component(path, &end)) > 0) {
		char name[NAME_MAX + 1];
		opener *open_one = is_last(path, end) ? open_last : open_above;
		int below = -1;

		if (n >= sizeof(name)) {
			error_system(error, ENAMETOOLONG, "%.200s", path);
		} else {
			memcpy(name, path + end - n, n);
			name[n] = '\0';
			below = open_one(fd, name, path, error);
			if (below < 0 && error->errnum == ENOENT &&
			    end > fixed && make(fd, name, path, error) == 0)
				below = open_one(fd, name, path, error);
		}
		close(fd);
		fd = below;
	}
	return fd;
}

int
directory_open(const char *path, size_t fixed, struct error *error)
{
	return walk(path, fixed, directory_open_in, error);
}

int
directory_reach(const char *path, struct error *error)
{
	return walk(path, DIRECTORY_MAKE_NOTHING, open_above, error);
}
