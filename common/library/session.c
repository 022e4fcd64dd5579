/*
 * session.c - level 1: what all protocols have in common.
 *
 * Each function here can be called at any time: it looks at what the session
 * is doing before it calls a machine, which would assert that it is in order.
 */
#include "library/session.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#define DEFAULT_MAX_SIZE 35882577
#define DEFAULT_RECIPIENTS 100
#define DEFAULT_TIMEOUT 300
#define DEFAULT_TIMEOUT_POP3 600

uint32_t
mh_version(void)
{
	return MH_VERSION;
}

/* ---- options ---- */

/* It stands in lines of the protocol. */
static bool
is_hostname(const char *hostname)
{
	struct slice name = slice_from(hostname);

	return name.len > 0 && name.len <= 255 && !slice_has_control(name) &&
	    memchr(name.data, ' ', name.len) == NULL;
}

const struct session_kind *
session_options(const struct mh_options *options, struct mh_options *full)
{
	if (options == NULL || options->size < sizeof(*options))
		return NULL;
	*full = *options;
	if (full->max_size == 0)
		full->max_size = DEFAULT_MAX_SIZE;
	if (full->max_recipients == 0)
		full->max_recipients = DEFAULT_RECIPIENTS;
	if (full->timeout == 0)
		full->timeout = full->protocol == MH_POP3
		    ? DEFAULT_TIMEOUT_POP3 : DEFAULT_TIMEOUT;
	if (!is_hostname(full->hostname) ||
	    full->max_recipients > SESSION_RECIPIENTS_MAX ||
	    full->timeout > INT_MAX / 1000)
		return NULL;
	switch (full->protocol) {
	case MH_SMTP:
	case MH_LMTP:
		return &session_smtp;
	case MH_POP3:
		return &session_pop3;
	}
	return NULL;
}

size_t
mh_core_size(const struct mh_options *options)
{
	struct mh_options full;
	const struct session_kind *kind = session_options(options, &full);

	return kind == NULL ? 0 : kind->core_size;
}

size_t
mh_buffers_size(const struct mh_options *options)
{
	struct mh_options full;
	const struct session_kind *kind = session_options(options, &full);

	return kind == NULL ? 0 : kind->buffers_size(&full);
}

/* ---- storage ---- */

struct mh_session *
mh_open(void *core, void *buffers, const struct mh_options *options)
{
	struct mh_session *session = core;
	struct mh_options full;
	const struct session_kind *kind = session_options(options, &full);

	if (core == NULL || kind == NULL)
		return NULL;
	memset(core, 0, kind->core_size);
	session->kind = kind;
	session->flags = full.flags;
	session->secure = (full.flags & MH_IMPLICIT_TLS) != 0;
	session->event = (struct mh_event){ MH_IO, .session = session };
	deadline_init(&session->deadline, full.timeout);
	kind->open(session, &full);
	mh_lend(session, buffers);
	return session;
}

bool
mh_idle(const struct mh_session *session)
{
	if (session == NULL || session->asked)
		return false;
	return !session->lent || session->kind->is_idle(session);
}

void
mh_lend(struct mh_session *session, void *buffers)
{
	if (session == NULL)
		return;
	if (buffers == NULL) {
		session->lent = session->lent && !mh_idle(session);
	} else if (!session->lent) {
		session->kind->lend(session, buffers);
		session->lent = true;
	}
}

/* ---- events ---- */

const struct mh_event *
mh_next(struct mh_session *session)
{
	struct wire *wire;

	if (session == NULL)
		return NULL;
	if (session->asked || session->event.type == MH_CLOSED)
		return &session->event;
	wire = session->wire;
	session->event = (struct mh_event){ MH_IO, .session = session };
	/* Without buffers there is no room for a final reply. */
	if (!session->lent && (wire->eof || wire->timed_out ||
	    wire->stopping))
		session->kind->drop(session);
	else if (!session->lent && !session->dropped)
		return &session->event;
	session->kind->next(session);
	session->asked = session->event.type != MH_IO &&
	    session->event.type != MH_CLOSED;
	/* There may be half a password. */
	if (session->event.type == MH_CLOSED && session->lent)
		buf_wipe(&session->wire->in);
	return &session->event;
}

void
session_ask_connect(struct mh_session *session)
{
	session->event.type = MH_CONNECT;
	session->asked = true;
}

int
mh_accept(struct mh_session *session)
{
	if (session == NULL)
		return -1;
	if (!session->asked)
		return session->event.type == MH_CLOSED ? 0 : -1;
	if (session->event.type == MH_CONNECT)
		return session_answered(session);
	if (session->kind->accept(session) < 0)
		return -1;
	return session_answered(session);
}

int
mh_refuse(struct mh_session *session, enum mh_why why, const char *text)
{
	if (session == NULL || !session->asked || (unsigned)why > MH_LATER ||
	    session->kind->refuse(session, why, text) < 0)
		return -1;
	return session_answered(session);
}

void
mh_drop(struct mh_session *session)
{
	if (session == NULL || session->dropped ||
	    session->event.type == MH_CLOSED)
		return;
	session->dropped = true;
	session->kind->drop(session);
	if (session->lent)
		session->wire->out.start = session->wire->out.end = 0;
	session_answered(session);
}

/* ---- facts ---- */

static bool
is_address(const char *address)
{
	struct slice s = slice_from(address);

	if (s.len == 0 || s.len >= SESSION_PEER_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (strchr("0123456789abcdefABCDEF.:", s.data[i]) == NULL)
			return false;
	return true;
}

int
mh_set_peer(struct mh_session *session, const char *address)
{
	if (session == NULL || !is_address(address))
		return -1;
	memcpy(session->peer, address, strlen(address) + 1);
	return 0;
}

void
mh_set_data(struct mh_session *session, void *data)
{
	if (session != NULL)
		session->data = data;
}

void *
mh_data(const struct mh_session *session)
{
	return session == NULL ? NULL : session->data;
}

/* ---- octets ---- */

static bool
may_read(const struct mh_session *session)
{
	return session != NULL && session->event.type == MH_IO &&
	    session->lent && !session->dropped &&
	    !session->kind->in_handshake(session);
}

char *
mh_room(struct mh_session *session, size_t *len)
{
	*len = 0;
	if (!may_read(session))
		return NULL;
	char *at = buf_reserve(&session->wire->in, len);
	return *len == 0 ? NULL : at;
}

void
mh_came(struct mh_session *session, size_t n)
{
	if (!may_read(session))
		return;
	struct buf *in = &session->wire->in;
	if (n > in->size - in->end)
		return;
	buf_commit(in, n);
	session->came += (uint32_t)n;
}

void
mh_ended(struct mh_session *session, enum mh_end why)
{
	size_t len;

	if (session == NULL || session->event.type == MH_CLOSED)
		return;
	mh_output(session, &len);
	/* The peer does not read: a final reply would not reach it. */
	if (why == MH_TIMED_OUT && len > 0)
		mh_drop(session);
	session->wire->eof |= why == MH_EOF;
	session->wire->timed_out |= why == MH_TIMED_OUT;
	session->wire->stopping |= why == MH_STOPPING;
}

const char *
mh_output(const struct mh_session *session, size_t *len)
{
	*len = 0;
	if (session == NULL || !session->lent)
		return NULL;
	struct slice out = buf_contents(&session->wire->out);
	*len = out.len;
	return out.len == 0 ? NULL : out.data;
}

void
mh_went(struct mh_session *session, size_t n)
{
	size_t len;

	mh_output(session, &len);
	if (n > len || n == 0)
		return;
	buf_consume(&session->wire->out, n);
	session->went += (uint32_t)n;
}

int
mh_tls_started(struct mh_session *session)
{
	if (session == NULL || !session->kind->in_handshake(session))
		return -1;
	assert(!session->asked && !session->dropped);
	session->kind->tls_started(session);
	session->secure = true;
	session_remember_user(session, slice_from(""));
	return 0;
}

/* Since the peer's time was looked at last, has it done anything for which it
 * would get time anew? */
static bool
stands_still(const struct mh_session *session)
{
	const struct deadline *deadline = &session->deadline;
	const struct wire *wire = session->wire;

	return deadline->read != 0 && !deadline->writing &&
	    session->came == 0 && wire->lines == deadline->lines &&
	    wire->text == deadline->in_text;
}

int64_t
mh_due(struct mh_session *session, int64_t now)
{
	struct deadline *deadline;
	bool still;
	size_t len;

	if (session == NULL || session->event.type == MH_CLOSED)
		return INT64_MAX;
	if (session->asked) {
		if (session->asked_since == 0)
			session->asked_since = now;
		return INT64_MAX;
	}
	deadline = &session->deadline;
	/* The time that an answer took is not the peer's. */
	if (session->asked_since != 0) {
		int64_t took = now - session->asked_since;

		deadline->read += deadline->read != 0 ? took : 0;
		deadline->write += took;
		session->asked_since = 0;
	}
	still = stands_still(session);
	deadline_came(deadline, session->wire, session->came, now);
	if (deadline->writing)
		deadline_went(deadline, session->went, now);
	session->came = session->went = 0;
	mh_output(session, &len);
	if (len > 0)
		return deadline_write(deadline, now);
	return still ? deadline->read
	    : deadline_read(deadline, session->wire, now);
}
