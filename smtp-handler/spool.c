/*
 * spool.c - unnamed files.
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system/file.h"

/* Octets copied at a time. */
#define COPY_SIZE 65536

const char *
spool_directory(void)
{
	const char *directory = getenv("TMPDIR");

	return directory != NULL && directory[0] == '/' ? directory
	                                                : "/var/tmp";
}

/* A descriptor cannot be opened a second time without a name: what is under
 * /proc/self/fd is root's in a process that is not dumpable. */
static int
open_named(struct spool *spool, bool with_reader, struct error *error)
{
	const char *directory = spool_directory();
	char path[4096];

	if (snprintf(path, sizeof(path), "%s/smtp-handler.XXXXXXXX",
	    directory) >= (int)sizeof(path))
		return error_system(error, ENAMETOOLONG, "spool in %.100s",
		    directory);
	spool->fd = mkostemp(path, O_CLOEXEC);
	if (spool->fd < 0)
		return error_system(error, errno, "spool in %.100s",
		    directory);
	if (with_reader)
		spool->reader = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int saved = errno;
	unlink(path);
	if (!with_reader || spool->reader >= 0)
		return 0;
	spool_close(spool);
	return error_system(error, saved, "spool in %.100s", directory);
}

int
spool_open(struct spool *spool, bool with_reader, struct error *error)
{
	*spool = (struct spool){ .fd = -1, .reader = -1 };
#ifdef O_TMPFILE
	if (!with_reader)
		spool->fd = open(spool_directory(),
		    O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (spool->fd >= 0)
		return 0;
#endif
	/* Not every file system has unnamed files. */
	return open_named(spool, with_reader, error);
}

int
spool_write(struct spool *spool, struct slice text, struct error *error)
{
	const char *at = text.data;
	const char *end = text.data + text.len;

	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) !=
	    NULL) {
		spool->lines++;
		at++;
	}
	spool->octets += text.len;
	if (file_write(spool->fd, text) != 0)
		return error_system(error, errno, "writing the spool");
	return 0;
}

int
spool_copy(struct spool *spool, const struct spool *from, uint64_t offset,
    struct error *error)
{
	char *buffer = malloc(COPY_SIZE);
	int result = 0;

	if (buffer == NULL)
		return error_system(error, ENOMEM, "copying the spool");
	while (result == 0 && offset < from->octets) {
		ssize_t n = pread(from->fd, buffer, COPY_SIZE, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			result = error_system(error, n < 0 ? errno : EIO,
			    "reading the spool");
			break;
		}
		result = spool_write(spool, (struct slice){ buffer,
			(size_t)n }, error);
		offset += (uint64_t)n;
	}
	free(buffer);
	return result;
}

void
spool_close(struct spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
	if (spool->reader >= 0)
		close(spool->reader);
	spool->fd = spool->reader = -1;
}
