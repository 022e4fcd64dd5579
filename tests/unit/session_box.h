/*
 * session_box: a session of the library (level 1) with its storage, which ends
 * where no memory is, and a client that says something to it.
 */
#ifndef UNIT_SESSION_BOX_H
#define UNIT_SESSION_BOX_H

#include "drive.h"

#include "library/mailhandlers.h"

struct box {
	struct mh_options options;
	struct mh_session *session;
	char *core, *buffers; /* these end where no memory is */
	struct guarded storage;
	size_t core_size, buffers_size;
	struct text said;
};

static inline void
box_open(struct box *box, enum mh_protocol protocol, unsigned flags)
{
	box->options = (struct mh_options){ .size = sizeof(box->options),
		.protocol = protocol, .flags = flags, .hostname = "h" };
	box->core_size = mh_core_size(&box->options);
	box->buffers_size = mh_buffers_size(&box->options);
	box->core = malloc(box->core_size);
	assert_non_null(box->core);
	/* Where anything may begin */
	guarded_new(&box->storage, (box->buffers_size + 15) / 16 * 16);
	box->buffers = box->storage.data;
	/* What was there before is of no account. */
	memset(box->core, 0xA5, box->core_size);
	memset(box->buffers, 0xA5, box->buffers_size);
	box->session = mh_open(box->core, box->buffers, &box->options);
	assert_ptr_equal(box->session, box->core);
	box->said = (struct text){ .data = NULL };
}

static inline void
box_close(struct box *box)
{
	free(box->core);
	guarded_free(&box->storage);
	text_free(&box->said);
}

static inline void
drain(struct box *box)
{
	size_t len;
	const char *out = mh_output(box->session, &len);

	text_add(&box->said, (struct slice){ out, len });
	mh_went(box->session, len);
}

/* Says something, and runs the session until it asks. */
static inline enum mh_event_type
say(struct box *box, const char *text)
{
	struct slice rest = slice_from(text);
	const struct mh_event *event;

	while ((event = mh_next(box->session))->type == MH_IO) {
		size_t room;

		drain(box);
		if (rest.len == 0 && mh_next(box->session)->type == MH_IO)
			return MH_IO;
		char *at = mh_room(box->session, &room);
		if (at == NULL)
			continue;
		size_t n = rest.len < room ? rest.len : room;
		memcpy(at, rest.data, n);
		mh_came(box->session, n);
		rest = slice_skip(rest, n);
	}
	assert_ptr_equal(event->session, box->session);
	return event->type;
}

/* What it said since the last time. */
#define assert_said(box, literal) do { \
	drain(box); \
	assert_slice(text_slice(&(box)->said), literal); \
	(box)->said.len = 0; \
} while (0)

static inline void
accept(struct box *box)
{
	assert_int_equal(mh_accept(box->session), 0);
}

/* Through a session's beginning up to a question, all others accepted. */
static inline void
until(struct box *box, const char *text, enum mh_event_type type)
{
	enum mh_event_type got = say(box, text);

	while (got != type) {
		assert_int_not_equal(got, MH_IO);
		assert_int_not_equal(got, MH_CLOSED);
		if (got == MH_UIDL)
			assert_int_equal(mh_uidl(box->session, "u1"), 0);
		else
			accept(box);
		got = say(box, "");
	}
}

/* A fact of it, as a slice. */
#define FACT(fact) ((struct slice){ mh_get(box.session, fact).data, \
	mh_get(box.session, fact).len })

#endif
