/*
 * buf: a queue of octets over storage that the caller owns, of fixed size.
 *
 * Octets go in at the end and come out at the start. Nothing moves but
 * when octets are put in (buf_reserve, buf_append), so slices of the
 * contents stay good until then.
 */
#ifndef BUF_H
#define BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct buf {
	char *data;
	size_t size;
	size_t start; /* of the contents */
	size_t end;
	size_t kept; /* octets behind size: buf_keep */
};

void buf_init(struct buf *buf, char *storage, size_t size);

struct slice buf_contents(const struct buf *buf);

/* Drops the first n octets; there must be as many. Moves nothing. */
void buf_consume(struct buf *buf, size_t n);

/* How many octets can still be appended. */
size_t buf_room(const struct buf *buf);

/*
 * All free room in one piece: where to write, and in *room how much. Moves
 * the contents to the front of the storage where that is needed. What was
 * written there is then added with buf_commit.
 */
char *buf_reserve(struct buf *buf, size_t *room);
void buf_commit(struct buf *buf, size_t n);

/* All of s, or nothing and false where it does not fit. */
bool buf_append(struct buf *buf, struct slice s);

/*
 * Copies s, which is not in the storage, to the end of the storage, where it
 * stays until buf_forget; the queue has so much less room meanwhile. Takes
 * the place of what was kept before. NULL where it does not fit.
 */
char *buf_keep(struct buf *buf, struct slice s);
/* Overwrites what was kept and gives its room back. */
void buf_forget(struct buf *buf);

/* Empties it, forgets what was kept and overwrites its whole storage: there
 * were secrets in it. */
void buf_wipe(struct buf *buf);

#endif
