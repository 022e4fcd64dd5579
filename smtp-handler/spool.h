/*
 * spool: a message, or what belongs to one, in a file that has no name.
 *
 * In $TMPDIR, else in /var/tmp. Whatever becomes of this process, nothing of
 * it is left.
 */
#ifndef SPOOL_H
#define SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct spool {
	int fd;          /* -1: not open */
	int reader;      /* the same file, for reading alone; -1: none */
	uint64_t octets; /* written */
	uint64_t lines;  /* LFs among them */
};

/* With a reader it can be handed to a program that shall not change it; for
 * that it has a name for a moment. */
int spool_open(struct spool *spool, bool with_reader, struct error *error);

int spool_write(struct spool *spool, struct slice text, struct error *error);

/* The rest of another one, from offset. */
int spool_copy(struct spool *spool, const struct spool *from, uint64_t offset,
    struct error *error);

/* Harmless on one that is closed; one that is zeroed is not. */
void spool_close(struct spool *spool);

/* Where spools are: $TMPDIR, else /var/tmp. */
const char *spool_directory(void);

#endif
