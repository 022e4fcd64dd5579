/*
 * file: the files that settings name, and their paths.
 */
#ifndef FILE_H
#define FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

/*
 * Where a file named in a setting is: absolute names as they are, others in
 * $CREDENTIALS_DIRECTORY where that is set, else relative to the working
 * directory. Returns name or path. ERROR_CONFIG (NULL) where it does not
 * fit.
 */
const char *file_path(const char *name, char *path, size_t size,
    struct error *error);

/*
 * Reads a whole small file of at most max octets into *text, NUL-terminated,
 * to be freed by the caller, and its length. With secret it must be
 * neither readable nor writable for others. Errors: ERROR_CONFIG.
 */
int file_read(const char *path, size_t max, bool secret, char **text,
    size_t *len, struct error *error);

/* Writes all of it, whatever signals come. -1 with errno: some of it may be
 * written. */
int file_write(int fd, struct slice text);

/* Begins to put on disk what the file has got so far, without waiting, so that
 * fsync(2) has less to wait for. Only that tells whether it is there: this
 * promises nothing, and does nothing where the system has no such call. */
void file_start_writeback(int fd);

/* The first len octets of path are a path, too: how many of them are its
 * parent directory, without the slash behind it? 1 for "/x", 0 for "x",
 * whose parent is ".". */
size_t file_parent_len(const char *path, size_t len);

#endif
