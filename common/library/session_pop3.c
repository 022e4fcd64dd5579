/*
 * session_pop3.c - POP3 behind a session.
 */
#include "library/session.h"

#include <string.h>

#include "base/version.h"
#include "pop3/pop3.h"

#define IN_SIZE POP3_IN_MIN
/* A message passes it: large, so that it takes few system calls. */
#define OUT_SIZE 16384

struct session_of_pop3 {
	struct mh_session session;
	struct pop3 pop3;
	bool begun; /* the reply to RETR was said; if the message has no end
	             * then, the session has */
	bool full;  /* out has no room for more of the message */
};

static struct session_of_pop3 *
of(struct mh_session *session)
{
	return (struct session_of_pop3 *)session;
}

static const struct pop3 *
pop3_of(const struct mh_session *session)
{
	return session == NULL || session->kind != &session_pop3 ? NULL
	    : &((const struct session_of_pop3 *)session)->pop3;
}

/* ---- storage ---- */

static size_t
buffers_size(const struct mh_options *options)
{
	(void)options;
	return IN_SIZE + OUT_SIZE;
}

static void
open_core(struct mh_session *session, const struct mh_options *options)
{
	unsigned flags = options->flags;
	const struct pop3_options own = {
		.hostname = options->hostname,
		.implementation = "mailhandlers-" MAIL_HANDLERS_VERSION,
		.allow_login = (flags & (MH_OFFER_LOGIN |
		    MH_OFFER_CLEAR_LOGIN)) != 0,
		.secure = (flags & MH_OFFER_CLEAR_LOGIN) != 0 ||
		    session->secure,
		.stls = (flags & MH_OFFER_TLS) != 0 && !session->secure,
		.allow_delete = (flags & MH_OFFER_DELETE) != 0,
		.mechanisms = SASL_USUAL |
		    ((flags & MH_OFFER_TOKENS) != 0 ? SASL_TOKENS : 0),
	};

	pop3_init(&of(session)->pop3, &own, NULL, 0, NULL, 0);
	session->wire = &of(session)->pop3.wire;
}

static void
lend(struct mh_session *session, char *buffers)
{
	pop3_lend(&of(session)->pop3, buffers, IN_SIZE, buffers + IN_SIZE,
	    OUT_SIZE);
}

static bool
is_idle(const struct mh_session *session)
{
	const struct pop3 *pop3 = pop3_of(session);

	return pop3 != NULL && pop3->pending == POP3_WANT_IO &&
	    pop3->state != POP3_GREETING && pop3->state != POP3_ENDED &&
	    pop3->listing == POP3_NO_LISTING && !pop3->in_sasl &&
	    wire_is_idle(&pop3->wire);
}

static bool
in_handshake(const struct mh_session *session)
{
	const struct pop3 *pop3 = pop3_of(session);

	return pop3 != NULL && pop3->state == POP3_HANDSHAKE;
}

/* ---- events ---- */

static bool
ask_login(struct mh_session *session)
{
	struct pop3 *pop3 = &of(session)->pop3;

	if (pop3->user.len > SESSION_USER_MAX) {
		pop3_refused(pop3, "-ERR [AUTH]", SLICE("User name too long"));
		return false;
	}
	session->mechanism = sasl_server_mechanism(&pop3->sasl);
	session->event.type = MH_LOGIN;
	session->event.user = session_text(pop3->user);
	session->event.password = session_text(pop3->password);
	return true;
}

/* Asks for the message; or again, for its next piece, once the octets that
 * filled the buffer have been sent. */
static void
ask_message(struct mh_session *session)
{
	struct session_of_pop3 *own = of(session);

	if (own->full && buf_contents(&own->pop3.wire.out).len > 0)
		return;
	own->full = false;
	session->event.type = MH_RETRIEVE;
	session->event.index = own->pop3.message;
}

static void
next(struct mh_session *session)
{
	struct pop3 *pop3 = &of(session)->pop3;
	struct mh_event *event = &session->event;

	for (;;)
		switch (pop3_next(pop3)) {
		case POP3_WANT_IO:
			return;
		case POP3_COMMAND: /* not asked for in the options */
			pop3_go_on(pop3);
			break;
		case POP3_STLS:
			event->type = MH_TLS;
			return;
		case POP3_LOGIN:
			if (ask_login(session))
				return;
			break;
		case POP3_MESSAGE:
			ask_message(session);
			return;
		case POP3_UIDL:
			event->type = MH_UIDL;
			event->index = pop3->message;
			return;
		case POP3_UPDATE:
			event->type = MH_UPDATE;
			return;
		case POP3_CLOSED:
			event->type = MH_CLOSED;
			return;
		}
}

/* ---- answers ---- */

static void
log_in(struct mh_session *session, struct message *messages, size_t n)
{
	struct pop3 *pop3 = &of(session)->pop3;

	session_remember_user(session, pop3->user);
	pop3_logged_in(pop3, messages, n);
}

static void
begin_message(struct session_of_pop3 *own)
{
	if (!own->begun)
		pop3_message_begin(&own->pop3,
		    own->pop3.messages[own->pop3.message].octets);
	own->begun = true;
}

static void
end_message(struct mh_session *session, bool whole)
{
	begin_message(of(session));
	pop3_message_end(&of(session)->pop3, whole);
	of(session)->begun = false;
}

static int
accept_event(struct mh_session *session)
{
	struct pop3 *pop3 = &of(session)->pop3;

	switch (session->event.type) {
	case MH_TLS:
		pop3_accept_stls(pop3);
		return 0;
	case MH_LOGIN:
		log_in(session, NULL, 0);
		return 0;
	case MH_RETRIEVE:
		end_message(session, true);
		return 0;
	case MH_UPDATE:
		pop3_updated(pop3, true);
		return 0;
	default:
		return -1;
	}
}

static enum pop3_login_failure
login_failure(enum mh_why why)
{
	static const enum pop3_login_failure failures[] = {
		[MH_WRONG] = POP3_LOGIN_WRONG,
		[MH_UNKNOWN] = POP3_LOGIN_WRONG,
		[MH_FORBIDDEN] = POP3_LOGIN_NO_ACCESS,
		[MH_FULL] = POP3_LOGIN_TEMPORARY,
		[MH_BUSY] = POP3_LOGIN_IN_USE,
		[MH_LATER] = POP3_LOGIN_TEMPORARY,
	};

	return failures[why];
}

/* The status before a text, be it ours or the program's. */
static const char *
status_of(enum mh_event_type type, enum mh_why why)
{
	if (type == MH_TLS)
		return "-ERR";
	if (type == MH_LOGIN && why <= MH_UNKNOWN)
		return "-ERR [AUTH]";
	if (type == MH_LOGIN && why == MH_BUSY)
		return "-ERR [IN-USE]";
	return why <= MH_FORBIDDEN ? "-ERR [SYS/PERM]" : "-ERR [SYS/TEMP]";
}

static int
refuse(struct mh_session *session, enum mh_why why, const char *text)
{
	struct pop3 *pop3 = &of(session)->pop3;
	enum mh_event_type type = session->event.type;

	if (type == MH_UIDL) {
		/* There is no way to say no in the middle of a listing. */
		pop3_drop(pop3);
	} else if (text == NULL && type == MH_LOGIN) {
		pop3_login_failed(pop3, login_failure(why));
	} else if (text == NULL && type == MH_UPDATE) {
		pop3_updated(pop3, false);
	} else {
		pop3_refused(pop3, status_of(type, why),
		    text != NULL ? slice_from(text)
		    : type == MH_RETRIEVE ? SLICE("Cannot read that message")
		    : type == MH_TLS ? SLICE("TLS not available")
		    : why <= MH_FORBIDDEN ? SLICE("No service for this host")
		    : SLICE("Too busy, try again later"));
	}
	return 0;
}

static void
tls_started(struct mh_session *session)
{
	pop3_tls_started(&of(session)->pop3);
}

static void
drop(struct mh_session *session)
{
	pop3_drop(&of(session)->pop3);
}

const struct session_kind session_pop3 = {
	.core_size = sizeof(struct session_of_pop3),
	.buffers_size = buffers_size, .open = open_core, .lend = lend,
	.is_idle = is_idle, .in_handshake = in_handshake, .next = next,
	.accept = accept_event, .refuse = refuse, .tls_started = tls_started,
	.drop = drop,
};

/* ---- the maildrop ---- */

int
mh_maildrop(struct mh_session *session, uint64_t *octets, size_t n)
{
	if (pop3_of(session) == NULL || !session_asks(session, MH_LOGIN) ||
	    (octets == NULL && n > 0))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (octets[i] > MESSAGE_OCTETS_MAX)
			return -1;
	/* Where in the octets bit-fields lie is for the compiler to say. */
	for (size_t i = 0; i < n; i++) {
		const struct message message = { .octets = octets[i] &
			MESSAGE_OCTETS_MAX };

		memcpy(&octets[i], &message, sizeof(message));
	}
	log_in(session, (struct message *)octets, n);
	return session_answered(session);
}

uint64_t
mh_measure(const char *text, size_t len)
{
	struct dot_encoder encoder = { .in_line = false };

	dot_measure(&encoder, (struct slice){ text, len });
	return dot_measure_end(&encoder);
}

int
mh_uidl(struct mh_session *session, const char *id)
{
	struct slice uidl = slice_from(id);

	if (pop3_of(session) == NULL || !session_asks(session, MH_UIDL) ||
	    uidl.len < 1 || uidl.len > 70)
		return -1;
	for (size_t i = 0; i < uidl.len; i++)
		if (uidl.data[i] < '!' || uidl.data[i] > '~')
			return -1;
	pop3_uidl(&of(session)->pop3, uidl);
	return session_answered(session);
}

size_t
mh_send(struct mh_session *session, const char *text, size_t len)
{
	struct slice rest = { text, len };

	if (pop3_of(session) == NULL || !session_asks(session, MH_RETRIEVE) ||
	    text == NULL)
		return 0;
	struct session_of_pop3 *own = of(session);
	begin_message(own);
	while (rest.len > 0 && !pop3_message_enough(&own->pop3)) {
		size_t taken = pop3_message_data(&own->pop3, rest);

		if (taken == 0) {
			own->full = true;
			session_answered(session);
			return len - rest.len;
		}
		rest = slice_skip(rest, taken);
	}
	return len; /* what TOP does not want counts as taken */
}

int
mh_sent(struct mh_session *session, bool whole)
{
	if (pop3_of(session) == NULL || !session_asks(session, MH_RETRIEVE))
		return -1;
	end_message(session, whole);
	return session_answered(session);
}

bool
mh_is_deleted(const struct mh_session *session, size_t i)
{
	const struct pop3 *pop3 = pop3_of(session);

	return pop3 != NULL && i < pop3->n && pop3->messages[i].deleted;
}
