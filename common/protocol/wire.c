/*
 * wire.c - lines in, lines out, and the transcript of both.
 */
#include "protocol/wire.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
wire_init(struct wire *wire, char *in, size_t in_size, char *out,
    size_t out_size)
{
	*wire = (struct wire){ .eof = false };
	wire_lend(wire, in, in_size, out, out_size);
}

static bool
is_empty(const struct buf *buf)
{
	return buf->start == buf->end && buf->kept == 0;
}

bool
wire_is_idle(const struct wire *wire)
{
	return is_empty(&wire->in) && is_empty(&wire->out);
}

void
wire_lend(struct wire *wire, char *in, size_t in_size, char *out,
    size_t out_size)
{
	assert(wire_is_idle(wire));
	buf_init(&wire->in, in, in_size);
	buf_init(&wire->out, out, out_size);
}

static void
keep_head(struct wire *wire, struct slice line)
{
	memset(wire->head, 0, sizeof(wire->head));
	memcpy(wire->head, line.data,
	    line.len < WIRE_HEAD ? line.len : WIRE_HEAD);
}

enum wire_line
wire_line(struct wire *wire, size_t limit, struct slice *line)
{
	struct slice in = buf_contents(&wire->in);
	struct slice fresh = slice_skip(in, wire->scanned);
	const char *lf = fresh.len > 0 ? memchr(fresh.data, '\n', fresh.len)
	                               : NULL;

	assert(limit <= wire->in.size);
	if (lf == NULL) {
		wire->scanned = in.len;
		if (in.len >= limit) {
			/* Its end is still to come: drop what is here, so
			 * that the memory a line takes has a limit. */
			if (!wire->overlong)
				keep_head(wire, in);
			buf_consume(&wire->in, in.len);
			wire->scanned = 0;
			wire->overlong = true;
		}
		return WIRE_MORE;
	}

	size_t len = (size_t)(lf - in.data) + 1;
	bool too_long = wire->overlong || len > limit;
	if (too_long && !wire->overlong)
		keep_head(wire, in);
	buf_consume(&wire->in, len);
	wire->scanned = 0;
	wire->overlong = false;
	wire->lines++;
	if (too_long) {
		*line = (struct slice){ wire->head, WIRE_HEAD };
		return WIRE_TOO_LONG;
	}
	if (len >= 2 && in.data[len - 2] == '\r') {
		*line = (struct slice){ in.data, len - 2 };
		return WIRE_LINE;
	}
	*line = (struct slice){ in.data, len - 1 };
	return WIRE_BARE_LF;
}

void
wire_wipe_taken(struct wire *wire)
{
	struct buf *in = &wire->in;

	/* Behind the contents there may be a copy of what was moved to the
	 * front when it was half a line. */
	explicit_bzero(in->data, in->start);
	explicit_bzero(in->data + in->end, in->size - in->end);
	explicit_bzero(wire->head, sizeof(wire->head));
}

struct slice
wire_keep(struct wire *wire, struct slice taken)
{
	char copy[WIRE_KEEP_MAX];

	assert(taken.len <= sizeof(copy));
	if (taken.len > 0)
		memcpy(copy, taken.data, taken.len);
	/* It fits: it was in there itself, and nothing has come since. */
	const char *kept = buf_keep(&wire->in,
	    (struct slice){ copy, taken.len });
	assert(kept != NULL);
	explicit_bzero(copy, taken.len);
	return (struct slice){ kept, taken.len };
}

void
wire_forget(struct wire *wire)
{
	buf_forget(&wire->in);
}

bool
wire_mid_line(const struct wire *wire)
{
	return wire->overlong || wire->in.end > wire->in.start;
}

void
wire_discard_input(struct wire *wire)
{
	buf_wipe(&wire->in);
	wire->scanned = 0;
	wire->overlong = false;
}

static void
add_to_transcript(struct wire *wire, char direction, struct slice line)
{
	const char head[2] = { direction, ' ' };

	/* A transcript is for people: it may lose a line, never half of one. */
	if (wire->transcript == NULL ||
	    buf_room(wire->transcript) < line.len + 3)
		return;
	buf_append(wire->transcript, (struct slice){ head, 2 });
	buf_append(wire->transcript, line);
	buf_append(wire->transcript, SLICE("\n"));
}

void
wire_show_input(struct wire *wire, struct slice shown)
{
	add_to_transcript(wire, '>', shown);
}

void
wire_put_line(struct wire *wire, struct slice line)
{
	bool fits = buf_append(&wire->out, line) &&
	    buf_append(&wire->out, SLICE("\r\n"));

	assert(fits);
	(void)fits;
	add_to_transcript(wire, '<', line);
}

void
wire_format(struct wire *wire, const char *format, ...)
{
	va_list args;
	size_t room;
	char *at = buf_reserve(&wire->out, &room);

	va_start(args, format);
	int len = vsnprintf(at, room, format, args);
	va_end(args);
	/* vsnprintf's NUL goes where the CRLF comes: both need room. */
	assert(len >= 0 && (size_t)len + 2 <= room);
	buf_commit(&wire->out, (size_t)len);
	buf_append(&wire->out, SLICE("\r\n"));
	add_to_transcript(wire, '<', (struct slice){ at, (size_t)len });
}
