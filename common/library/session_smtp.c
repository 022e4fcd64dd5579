/*
 * session_smtp.c - SMTP and LMTP behind a session.
 */
#include "library/session.h"

#include <stdalign.h>
#include <string.h>

#include "protocol/trace.h"
#include "smtp/smtp.h"

/* More than the smallest: a system call brings more, and a large message
 * takes fewer. */
#define IN_SIZE 16384
#define OUT_SIZE SMTP_OUT_MIN
/* For each recipient where DSN is offered: ORCPT. */
#define DSN_TEXT 512

struct session_of_smtp {
	struct mh_session session;
	struct smtp smtp;
	size_t max_recipients;
};

static struct session_of_smtp *
of(struct mh_session *session)
{
	return (struct session_of_smtp *)session;
}

static const struct smtp *
smtp_of(const struct mh_session *session)
{
	return session == NULL || session->kind != &session_smtp ? NULL
	    : &((const struct session_of_smtp *)session)->smtp;
}

/* ---- storage ---- */

static size_t
text_size(size_t recipients, bool dsn)
{
	return ENVELOPE_TEXT_SIZE(recipients) +
	    (dsn ? recipients * DSN_TEXT : 0);
}

static size_t
buffers_size(const struct mh_options *options)
{
	size_t n = options->max_recipients;

	return n * sizeof(struct envelope_recipient) + IN_SIZE + OUT_SIZE +
	    text_size(n, (options->flags & MH_OFFER_DSN) != 0);
}

static void
open_core(struct mh_session *session, const struct mh_options *options)
{
	unsigned flags = options->flags;
	const struct smtp_options own = {
		.hostname = options->hostname,
		.max_size = options->max_size,
		.login = (flags & MH_OFFER_CLEAR_LOGIN) != 0 ||
		    ((flags & MH_OFFER_LOGIN) != 0 && session->secure)
		    ? SMTP_LOGIN_OFFERED : (flags & MH_OFFER_LOGIN) != 0
		    ? SMTP_LOGIN_NEEDS_TLS : SMTP_LOGIN_NONE,
		.login_required = (flags & MH_REQUIRE_LOGIN) != 0,
		.starttls = (flags & MH_OFFER_TLS) != 0 && !session->secure,
		.bare_lf = (flags & MH_LF_ACCEPT) != 0 ? DOT_BARE_LF_ACCEPT
		    : (flags & MH_LF_NORMALIZE) != 0 ? DOT_BARE_LF_NORMALIZE
		    : DOT_BARE_LF_REJECT,
		.max_recipients = options->max_recipients,
		.dsn = (flags & MH_OFFER_DSN) != 0,
		.lmtp = options->protocol == MH_LMTP,
		.mechanisms = SASL_USUAL |
		    ((flags & MH_OFFER_TOKENS) != 0 ? SASL_TOKENS : 0),
	};

	of(session)->max_recipients = options->max_recipients;
	smtp_init(&of(session)->smtp, &own, NULL, 0, NULL, 0);
	session->wire = &of(session)->smtp.wire;
}

static void
lend(struct mh_session *session, char *buffers)
{
	struct smtp *smtp = &of(session)->smtp;
	size_t n = of(session)->max_recipients;
	struct envelope_recipient *recipients = (void *)buffers;
	char *in = buffers + n * sizeof(*recipients);
	char *out = in + IN_SIZE;

	smtp_lend(smtp, in, IN_SIZE, out, OUT_SIZE);
	envelope_init(&smtp->envelope, recipients, n, out + OUT_SIZE,
	    text_size(n, smtp->options.dsn));
}

static bool
is_idle(const struct mh_session *session)
{
	const struct smtp *smtp = smtp_of(session);

	return smtp != NULL && smtp->pending == SMTP_WANT_IO &&
	    smtp->state != SMTP_START && smtp->state != SMTP_ENDED &&
	    !smtp->in_transaction && !smtp->in_sasl && smtp->verdicts == 0 &&
	    wire_is_idle(&smtp->wire);
}

static bool
in_handshake(const struct mh_session *session)
{
	const struct smtp *smtp = smtp_of(session);

	return smtp != NULL && smtp->state == SMTP_HANDSHAKE;
}

/* ---- events ---- */

/* Takes care of a name that cannot be remembered; else it is a question. */
static bool
ask_login(struct mh_session *session)
{
	static const struct smtp_reply too_long = { 535, "5.7.8",
		SLICE("User name too long") };
	struct smtp *smtp = &of(session)->smtp;

	if (smtp->user.len > SESSION_USER_MAX) {
		smtp_reply(smtp, &too_long);
		return false;
	}
	session->mechanism = sasl_server_mechanism(&smtp->sasl);
	session->event.type = MH_LOGIN;
	session->event.user = session_text(smtp->user);
	session->event.password = session_text(smtp->password);
	return true;
}

static void
ask_recipient(struct mh_event *event, const struct envelope *envelope,
    size_t i)
{
	event->index = i;
	event->address = session_text(envelope->recipients[i].path);
}

static void
next(struct mh_session *session)
{
	struct smtp *smtp = &of(session)->smtp;
	struct mh_event *event = &session->event;

	for (;;)
		switch (smtp_next(smtp)) {
		case SMTP_WANT_IO:
			return;
		case SMTP_STARTTLS:
			event->type = MH_TLS;
			return;
		case SMTP_AUTH:
			if (ask_login(session))
				return;
			break;
		case SMTP_MAIL:
			event->type = MH_SENDER;
			event->address = session_text(
			    smtp->envelope.reverse_path);
			return;
		case SMTP_RCPT:
			event->type = MH_RECIPIENT;
			ask_recipient(event, &smtp->envelope,
			    smtp->envelope.n - 1);
			return;
		case SMTP_REFUSED:
			event->type = MH_NOTE;
			event->text = session_text(smtp->refused_line);
			event->index = smtp->refused_with->code;
			return;
		case SMTP_DATA_BEGIN:
			event->type = MH_BEGIN;
			return;
		case SMTP_DATA:
			event->type = MH_DATA;
			event->text = session_text(smtp->text);
			return;
		case SMTP_DATA_END:
			event->type = MH_MESSAGE;
			if (smtp->options.lmtp)
				ask_recipient(event, &smtp->envelope,
				    smtp->recipient);
			return;
		case SMTP_RESET:
			event->type = MH_RESET;
			return;
		case SMTP_CLOSED:
			event->type = MH_CLOSED;
			return;
		}
}

/* ---- answers ---- */

static int
accept_event(struct mh_session *session)
{
	struct smtp *smtp = &of(session)->smtp;

	if (smtp->pending == SMTP_AUTH)
		session_remember_user(session, smtp->user);
	smtp_accept(smtp);
	return 0;
}

/* Answers with a reply whose code and enhanced code were checked. */
static int
answer(struct mh_session *session, const struct smtp_reply *reply)
{
	struct smtp *smtp = &of(session)->smtp;
	bool accepts = reply->code < 300;

	switch (session->event.type) {
	case MH_RESET:
	case MH_NOTE:
		return -1;
	case MH_CONNECT:
		if (!accepts)
			smtp_refuse_session(smtp, reply);
		return 0;
	case MH_TLS:
	case MH_BEGIN:
	case MH_DATA:
		/* The protocol has a reply of its own here (220, 354). */
		if (accepts)
			return accept_event(session);
		break;
	case MH_LOGIN:
		if (accepts)
			session_remember_user(session, smtp->user);
		break;
	default:
		break;
	}
	smtp_reply(smtp, reply);
	return 0;
}

/* RFC 3463 2: class "." subject "." detail, of the code's own class. */
static bool
is_enhanced(const char *enhanced, unsigned code)
{
	struct slice class, subject, detail;
	uint64_t number;

	if (enhanced == NULL || enhanced[0] == '\0')
		return true;
	slice_cut(slice_from(enhanced), '.', &class, &subject);
	slice_cut(subject, '.', &subject, &detail);
	return class.len == 1 && class.data[0] == (char)('0' + code / 100) &&
	    subject.len <= 3 && slice_to_number(subject, 999, &number) &&
	    detail.len <= 3 && slice_to_number(detail, 999, &number);
}

int
mh_reply(struct mh_session *session, unsigned code, const char *enhanced,
    const char *text)
{
	const struct smtp_reply reply = { code, enhanced, slice_from(text) };

	if (smtp_of(session) == NULL || !session->asked || code < 200 ||
	    code > 599 || code / 100 == 3 || !is_enhanced(enhanced, code) ||
	    answer(session, &reply) < 0)
		return -1;
	return session_answered(session);
}

static struct smtp_reply
usual_refusal(enum mh_event_type type, enum mh_why why)
{
	static const struct smtp_reply others[] = {
		[MH_WRONG] = { 550, "5.0.0", SLICE("Not accepted") },
		[MH_UNKNOWN] = { 550, "5.1.1", SLICE("No such mailbox here") },
		[MH_FORBIDDEN] = { 550, "5.7.1", SLICE("Not allowed") },
		[MH_FULL] = { 452, "4.2.2", SLICE("Mailbox full") },
		[MH_BUSY] = { 451, "4.3.2", SLICE("Busy, try again later") },
		[MH_LATER] = { 451, "4.3.0", SLICE("Try again later") },
	};
	static const struct smtp_reply
	    wrong = { 535, "5.7.8", SLICE("Wrong name or password") },
	    refused = { 535, "5.7.8", SLICE("Logins are refused here") },
	    later = { 454, "4.7.0", SLICE("Cannot log you in now") },
	    no_tls = { 454, "4.7.0", SLICE("TLS not available") },
	    go_away = { 554, "5.7.1", SLICE("No service for this host") },
	    too_busy = { 421, "4.3.2", SLICE("Too busy, try again later") },
	    no_sender = { 550, "5.1.8", SLICE("No such sender") };

	switch (type) {
	case MH_CONNECT:
		return why <= MH_FORBIDDEN ? go_away : too_busy;
	case MH_TLS:
		return no_tls;
	case MH_LOGIN:
		return why <= MH_UNKNOWN ? wrong
		    : why == MH_FORBIDDEN ? refused : later;
	case MH_SENDER:
		return why == MH_UNKNOWN ? no_sender : others[why];
	default:
		return others[why];
	}
}

static int
refuse(struct mh_session *session, enum mh_why why, const char *text)
{
	struct smtp_reply reply = usual_refusal(session->event.type, why);

	if (text != NULL)
		reply.text = slice_from(text);
	return answer(session, &reply);
}

static void
tls_started(struct mh_session *session)
{
	smtp_tls_started(&of(session)->smtp);
}

static void
drop(struct mh_session *session)
{
	smtp_drop(&of(session)->smtp);
}

const struct session_kind session_smtp = {
	.core_size = sizeof(struct session_of_smtp),
	.buffers_size = buffers_size, .open = open_core, .lend = lend,
	.is_idle = is_idle, .in_handshake = in_handshake, .next = next,
	.accept = accept_event, .refuse = refuse, .tls_started = tls_started,
	.drop = drop,
};

/* ---- facts ---- */

struct mh_text
mh_get(const struct mh_session *session, enum mh_fact fact)
{
	const struct smtp *smtp = smtp_of(session);
	struct slice s = slice_from("");

	if (session == NULL)
		return session_text(s);
	switch (fact) {
	case MH_HELO:
		if (smtp != NULL)
			s = (struct slice){ smtp->helo, smtp->helo_len };
		break;
	case MH_REVERSE_PATH:
		if (smtp != NULL && smtp->in_transaction)
			s = smtp->envelope.reverse_path;
		break;
	case MH_ENVID:
		if (smtp != NULL && smtp->in_transaction)
			s = smtp->envelope.envid;
		break;
	case MH_USER:
		s = (struct slice){ session->user, session->user_len };
		break;
	case MH_MECHANISM:
		s = slice_from(session->mechanism);
		break;
	case MH_PEER:
		s = slice_from(session->peer);
		break;
	case MH_TLS_VERSION:
		s = slice_from(session->tls_version);
		break;
	case MH_TLS_CIPHER:
		s = slice_from(session->tls_cipher);
		break;
	case MH_PROTOCOL:
		s = slice_from(smtp == NULL ? "POP3"
		    : smtp->options.lmtp ? "LMTP" : "SMTP");
		break;
	}
	return session_text(s);
}

size_t
mh_recipients(const struct mh_session *session)
{
	const struct smtp *smtp = smtp_of(session);

	return smtp == NULL || !smtp->in_transaction ? 0 : smtp->envelope.n;
}

struct mh_text
mh_recipient(const struct mh_session *session, size_t i)
{
	return i >= mh_recipients(session) ? session_text(slice_from(""))
	    : session_text(smtp_of(session)->envelope.recipients[i].path);
}

size_t
mh_received(const struct mh_session *session, const char *id, int64_t time,
    char *out, size_t size)
{
	const struct smtp *smtp = smtp_of(session);

	if (smtp == NULL)
		return 0;
	const struct trace trace = {
		.helo = { smtp->helo, smtp->helo_len },
		.address = session->peer,
		.address_is_ipv6 = strchr(session->peer, ':') != NULL,
		.hostname = smtp->options.hostname,
		.esmtp = smtp->esmtp,
		.utf8 = smtp->envelope.utf8,
		.lmtp = smtp->options.lmtp,
		.authenticated = smtp->authenticated,
		.secure = session->secure,
		.tls_version = session->tls_version,
		.tls_cipher = session->tls_cipher,
		.id = id == NULL ? "unknown" : id,
		.recipient = mh_recipients(session) == 1
		    ? smtp->envelope.recipients[0].path : slice_from(""),
		.time = time,
	};
	return trace_received(&trace, out, size);
}
