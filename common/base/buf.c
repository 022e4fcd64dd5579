/*
 * buf.c - the byte queue between a connection and a protocol core.
 */
#include "base/buf.h"

#include <assert.h>
#include <string.h>

void
buf_init(struct buf *buf, char *storage, size_t size)
{
	*buf = (struct buf){ .data = storage, .size = size };
}

struct slice
buf_contents(const struct buf *buf)
{
	return (struct slice){ buf->data + buf->start, buf->end - buf->start };
}

void
buf_consume(struct buf *buf, size_t n)
{
	assert(n <= buf->end - buf->start);
	buf->start += n;
}

size_t
buf_room(const struct buf *buf)
{
	return buf->size - (buf->end - buf->start);
}

char *
buf_reserve(struct buf *buf, size_t *room)
{
	if (buf->start > 0) {
		memmove(buf->data, buf->data + buf->start,
		    buf->end - buf->start);
		buf->end -= buf->start;
		buf->start = 0;
	}
	*room = buf->size - buf->end;
	return buf->data + buf->end;
}

void
buf_commit(struct buf *buf, size_t n)
{
	assert(n <= buf->size - buf->end);
	buf->end += n;
}

bool
buf_append(struct buf *buf, struct slice s)
{
	if (s.len > buf->size - buf->end) {
		size_t room;

		if (s.len > buf_room(buf))
			return false;
		buf_reserve(buf, &room);
	}
	if (s.len > 0)
		memcpy(buf->data + buf->end, s.data, s.len);
	buf->end += s.len;
	return true;
}

char *
buf_keep(struct buf *buf, struct slice s)
{
	size_t room;

	buf_forget(buf);
	if (s.len > buf_room(buf))
		return NULL;
	if (s.len > buf->size - buf->end)
		buf_reserve(buf, &room);
	buf->size -= s.len;
	buf->kept = s.len;
	if (s.len > 0)
		memcpy(buf->data + buf->size, s.data, s.len);
	return buf->data + buf->size;
}

void
buf_forget(struct buf *buf)
{
	if (buf->kept == 0)
		return;
	explicit_bzero(buf->data + buf->size, buf->kept);
	buf->size += buf->kept;
	buf->kept = 0;
}

void
buf_wipe(struct buf *buf)
{
	buf_forget(buf);
	explicit_bzero(buf->data, buf->size);
	buf->start = buf->end = 0;
}
