/*
 * session: what the files of the library share about one session. session.c
 * has what all protocols have in common, session_smtp.c and session_pop3.c
 * are the machines' adapters: a table of functions each, so that the two
 * never meet; session_state.c is for all three.
 */
#ifndef SESSION_H
#define SESSION_H

#include "base/slice.h"
#include "library/mailhandlers.h"
#include "protocol/deadline.h"
#include "protocol/wire.h"

/* A longer name of a user cannot be remembered, and does not log in. */
#define SESSION_USER_MAX 255
/* A numeric address with its NUL. */
#define SESSION_PEER_MAX 46

/* The most recipients that options may ask for. */
#define SESSION_RECIPIENTS_MAX 1000000

struct session_kind {
	size_t core_size;
	size_t (*buffers_size)(const struct mh_options *options);
	void (*open)(struct mh_session *session,
	    const struct mh_options *options);
	void (*lend)(struct mh_session *session, char *buffers);
	bool (*is_idle)(const struct mh_session *session);
	bool (*in_handshake)(const struct mh_session *session);
	/* What comes next, into session->event: a question where it is not
	 * MH_IO or MH_CLOSED. */
	void (*next)(struct mh_session *session);
	/* Answers to session->event; -1 where it has no such answer. */
	int (*accept)(struct mh_session *session);
	int (*refuse)(struct mh_session *session, enum mh_why why,
	    const char *text);
	void (*tls_started)(struct mh_session *session);
	void (*drop)(struct mh_session *session);
};

extern const struct session_kind session_smtp;
extern const struct session_kind session_pop3;

struct mh_session {
	const struct session_kind *kind;
	struct wire *wire; /* of the machine behind */
	struct mh_event event;
	void *data;

	/* Level 2: whom to tell that a question was answered. */
	void (*answered)(void *owner);
	void *owner;
	const char *tls_version;
	const char *tls_cipher;

	struct deadline deadline;
	int64_t asked_since; /* mh_due, while a question was open; or 0 */
	uint32_t came; /* octets since the last mh_due */
	uint32_t went;

	unsigned flags;
	bool asked;  /* the event is a question that is not answered yet */
	bool lent;   /* there are buffers */
	bool dropped;
	bool secure; /* under TLS */
	const char *mechanism; /* of the last login that was asked for */
	uint8_t user_len;
	char user[SESSION_USER_MAX];
	char peer[SESSION_PEER_MAX]; /* "" where it is not known */
};

/* A complete set of options out of the caller's, which have fewer members
 * where it was compiled with an older header; NULL where they are wrong. */
const struct session_kind *session_options(const struct mh_options *options,
    struct mh_options *full);

/* Is this question open? */
bool session_asks(const struct mh_session *session, enum mh_event_type type);

/* The open question is answered. Always 0. */
int session_answered(struct mh_session *session);

/* Level 2: asks MH_CONNECT before anything else. */
void session_ask_connect(struct mh_session *session);

/* A login was accepted, or whoever it was is forgotten. */
void session_remember_user(struct mh_session *session, struct slice user);

static inline struct mh_text
session_text(struct slice s)
{
	return (struct mh_text){ s.data, s.len };
}

#endif
