/*
 * file.c - small files, read whole.
 */
#include "system/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

/* As much of a path as a line of the log is worth. */
static const char *
tail(const char *path)
{
	return error_tail(path, 200);
}

const char *
file_path(const char *name, char *path, size_t size, struct error *error)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");

	if (name[0] == '/' || directory == NULL || directory[0] == '\0')
		return name;
	int len = snprintf(path, size, "%s/%s", directory, name);
	if (len < 0 || (size_t)len >= size) {
		error_set(error, ERROR_CONFIG, "%s: name too long",
		    tail(name));
		return NULL;
	}
	return path;
}

/* A file that is missing in $CREDENTIALS_DIRECTORY is missing in the unit's
 * LoadCredential=: the error says so. */
static void
cannot_open(const char *path, int errnum, struct error *error)
{
	struct slice directory = slice_from(getenv("CREDENTIALS_DIRECTORY"));
	struct slice name = slice_skip(slice_from(path), directory.len + 1);

	error_system(error, errnum, "%s", tail(path));
	if (errnum == ENOENT && directory.len > 0 && name.len > 0 &&
	    slice_starts_with(slice_from(path), directory) &&
	    path[directory.len] == '/')
		error_set(error, ERROR_CONFIG, "%s: %s: the unit has no "
		    "LoadCredential=%.*s:FILE", tail(path), strerror(errnum),
		    SLICE_ARG(name));
}

static unsigned
line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

int
file_read(const char *path, size_t max, bool secret, char **text,
    size_t *len, struct error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *buffer = NULL;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) != 0) {
		cannot_open(path, errno, error);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(error, ERROR_CONFIG, "%s: not a regular file",
		    tail(path));
		goto fail;
	}
	if (secret && (st.st_mode & (S_IROTH | S_IWOTH)) != 0) {
		error_set(error, ERROR_CONFIG, "%s: anyone may %s it; "
		    "chmod o-%s it", tail(path),
		    (st.st_mode & S_IROTH) != 0 ? "read" : "write",
		    (st.st_mode & S_IROTH) != 0 ? "r" : "w");
		goto fail;
	}
	buffer = malloc(max + 1);
	if (buffer == NULL) {
		error_system(error, ENOMEM, "%s", tail(path));
		goto fail;
	}
	while (n <= max) {
		ssize_t got = read(fd, buffer + n, max + 1 - n);
		if (got < 0) {
			error_system(error, errno, "%s", tail(path));
			goto fail;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > max) {
		error_set(error, ERROR_CONFIG, "%s: larger than %zu bytes",
		    tail(path), max);
		goto fail;
	}
	const char *nul = memchr(buffer, '\0', n);
	if (nul != NULL) {
		error_set(error, ERROR_CONFIG, "%s:%u: a NUL octet, which no "
		    "text has: nothing of the file counts until it is mended",
		    tail(path), line_of(buffer, nul));
		goto fail;
	}
	buffer[n] = '\0';
	close(fd);
	*text = buffer;
	*len = n;
	return 0;
fail:
	error->kind = ERROR_CONFIG;
	if (buffer != NULL)
		explicit_bzero(buffer, n);
	free(buffer);
	if (fd >= 0)
		close(fd);
	return -1;
}

int
file_write(int fd, struct slice text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.data, text.len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			text = slice_skip(text, (size_t)n);
	}
	return 0;
}

void
file_start_writeback(int fd)
{
#ifdef SYNC_FILE_RANGE_WRITE
	/* What fails here fails at fsync(2) again: this takes no error away. */
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#else
	(void)fd;
#endif
}

size_t
file_parent_len(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}
