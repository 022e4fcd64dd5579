/*
 * maildir_folder.c - directories of a maildrop.
 */
#include "maildir/maildir_folder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "system/directory.h"

int64_t
maildir_folder_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return maildir_time(&now);
}

void
maildir_folder_describe(struct maildir_folder *folder,
    const struct stat *st, int64_t now, bool shared)
{
	folder->device = st->st_dev;
	folder->inode = st->st_ino;
	folder->owner = st->st_uid;
	folder->mtime = maildir_time(&st->st_mtim);
	folder->ctime = maildir_time(&st->st_ctim);
	folder->trusted = !shared && folder->mtime < now - MAILDIR_TRUST_AGE &&
	    folder->ctime < now - MAILDIR_TRUST_AGE;
}

bool
maildir_folder_is_unchanged(const struct maildir_folder *folder,
    const struct stat *st)
{
	return folder->trusted && S_ISDIR(st->st_mode) &&
	    folder->device == st->st_dev && folder->inode == st->st_ino &&
	    folder->owner == st->st_uid &&
	    folder->mtime == maildir_time(&st->st_mtim) &&
	    folder->ctime == maildir_time(&st->st_ctim);
}

bool
maildir_folder_is_gone(int errnum)
{
	/* A link or a file may have taken its place; on a shared file system
	 * another machine may have moved it. */
	return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP ||
	    errnum == ESTALE;
}

/* One component; its owner must be one that the owner of those above may have
 * there, and is noted. */
static int
open_below(int at, const char *name, uid_t *owner)
{
	int fd = openat(at, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	int errnum = fstat(fd, &st) != 0 ? errno
	    : directory_may_hold(*owner, st.st_uid) ? 0 : EPERM;
	if (errnum == 0) {
		*owner = st.st_uid;
		return fd;
	}
	close(fd);
	errno = errnum;
	return -1;
}

int
maildir_folder_open(int fd, struct slice path)
{
	uid_t owner = 0; /* may have anything: it is the maildrop */
	int at = open_below(fd, ".", &owner);
	char name[NAME_MAX + 1];

	while (at >= 0 && path.len > 0) {
		struct slice component;

		slice_cut(path, '/', &component, &path);
		assert(component.len < sizeof(name));
		memcpy(name, component.data, component.len);
		name[component.len] = '\0';
		int below = open_below(at, name, &owner);
		int errnum = errno;
		close(at);
		errno = errnum;
		at = below;
	}
	return at;
}
