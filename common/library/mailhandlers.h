/*
 * mailhandlers: the server's side of SMTP, LMTP and POP3, to be embedded.
 *
 * Level 1, a session: a protocol machine without I/O, clock or allocation.
 * Level 2, a server: many sessions over sockets and libtls, in a loop of
 * yours or its own. Both ask questions, one event at a time; a session whose
 * question is open takes nothing and waits, as long as you like, for
 * mh_accept, mh_refuse or mh_reply. What an event points to lives until
 * then. No callbacks, no threads, no globals: different sessions and servers
 * may be used by different threads at once, one of them by one at a time.
 * Nothing here ends your process: a call at the wrong time returns -1 (NULL,
 * 0) and changes nothing.
 *
 * mailhandlers(3), mh_session(3), mh_pop3(3).
 */
#ifndef MAILHANDLERS_H
#define MAILHANDLERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define MH_VERSION 0x000100 /* 0.1.0. An incompatible one has a new soname */
uint32_t mh_version(void);  /* of the library that was loaded */

struct mh_session;
struct mh_server;
struct tls; /* tls.h */
struct mh_text {
	const char *data; /* octets; no NUL at the end */
	size_t len;
};

enum mh_protocol { MH_SMTP, MH_LMTP, MH_POP3 };

enum mh_flag {
	MH_OFFER_TLS = 1,         /* STARTTLS, STLS */
	MH_IMPLICIT_TLS = 2,      /* it is TLS from the first octet */
	MH_OFFER_LOGIN = 4,       /* under TLS */
	MH_OFFER_CLEAR_LOGIN = 8, /* and without */
	MH_REQUIRE_LOGIN = 16,    /* MAIL only after one */
	MH_OFFER_DELETE = 32,     /* POP3: DELE */
	MH_OFFER_DSN = 64,        /* RFC 3461 */
	MH_STREAM = 128,          /* level 2: MH_DATA in pieces, not one whole
	                           * text; level 1 has no other way */
	MH_LF_NORMALIZE = 256,    /* a bare LF is a line end in a message, */
	MH_LF_ACCEPT = 512,       /* everywhere; else it is refused */
	MH_OFFER_TOKENS = 1024,   /* logins by OAUTHBEARER and XOAUTH2, too */
};

struct mh_options {
	size_t size;             /* sizeof(struct mh_options): it will grow */
	enum mh_protocol protocol;
	unsigned flags;
	const char *hostname;    /* must outlive the session */
	uint64_t max_size;       /* octets of a message; 0: 35882577 */
	unsigned max_recipients; /* 0: 100 */
	unsigned timeout;        /* seconds; 0: 300, of POP3 600 */
};

enum mh_event_type {
	MH_CLOSED,    /* it is over. Level 1: write what is left, then close */
	MH_IO,        /* level 1: write if there is output, else read */
	MH_TLS,       /* level 1: mh_accept, write, shake hands,
	               * mh_tls_started */
	MH_CONNECT,   /* level 2: a peer, before it hears a word */
	MH_LOGIN,     /* user, password or token; of POP3 mh_maildrop accepts */
	MH_SENDER,    /* address: MAIL's, empty for <> */
	MH_RECIPIENT, /* address: the one in question */
	MH_BEGIN,     /* MH_STREAM: is there a place for a message? */
	MH_DATA,      /* MH_STREAM: text: a piece of it, with LF line ends */
	MH_MESSAGE,   /* it is whole: text (unless MH_STREAM); accepted is kept.
	               * LMTP: asked for each recipient: index, address */
	MH_RESET,     /* it is void. To each MH_SENDER accepted there comes one
	               * MH_MESSAGE that you answer or one MH_RESET, whatever
	               * happens */
	MH_NOTE,      /* text: what was refused by the machine itself, for a
	               * log; index: the reply's code */
	MH_UIDL,      /* POP3: mh_uidl for message index */
	MH_RETRIEVE,  /* POP3: mh_send of message index, then mh_sent */
	MH_UPDATE,    /* POP3, QUIT: remove those that mh_is_deleted */
};

struct mh_event { /* the library's, so that members can be added */
	enum mh_event_type type;
	struct mh_session *session;
	struct mh_text address, user, password, text;
	size_t index;
};

/* The usual answer to any event but MH_UIDL, and so the "default:" of your
 * switch. */
int mh_accept(struct mh_session *session);

enum mh_why { MH_WRONG, MH_UNKNOWN, MH_FORBIDDEN, MH_FULL, MH_BUSY, MH_LATER };
/* No, in the protocol's words: 535, 550 5.1.1, 550 5.7.1, 452, 451; [AUTH],
 * [SYS/PERM], [IN-USE], [SYS/TEMP]. text: NULL for the usual one. */
int mh_refuse(struct mh_session *session, enum mh_why why, const char *text);
/* SMTP: any reply; 2xx accepts, 421 ends the session. enhanced: "5.7.1" or
 * NULL. LF begins another line; other control characters become blanks. */
int mh_reply(struct mh_session *session, unsigned code, const char *enhanced,
    const char *text);

void mh_drop(struct mh_session *session); /* closes, without a word */

enum mh_fact {
	MH_HELO, MH_USER, MH_MECHANISM, MH_REVERSE_PATH, MH_ENVID, MH_PEER,
	MH_TLS_VERSION, MH_TLS_CIPHER,
	MH_PROTOCOL /* "SMTP", "LMTP", "POP3" */
};
/* Empty where it is not known. It lives until the next event. */
struct mh_text mh_get(const struct mh_session *session, enum mh_fact fact);
size_t mh_recipients(const struct mh_session *session);
struct mh_text mh_recipient(const struct mh_session *session, size_t i);
/* "Received: ...\n" (RFC 5321 4.4) at a time in seconds since 1970; its length,
 * as snprintf(3) counts it. */
size_t mh_received(const struct mh_session *session, const char *id,
    int64_t time, char *out, size_t size);
void mh_set_data(struct mh_session *session, void *data); /* yours */
void *mh_data(const struct mh_session *session);

/* ---- POP3 ---- */

/* Answers MH_LOGIN: n messages of so many octets each, as mh_measure counts.
 * The array must outlive the session; its highest bits are marks of ours. */
int mh_maildrop(struct mh_session *session, uint64_t *octets, size_t n);
uint64_t mh_measure(const char *text, size_t len);
/* 1 to 70 of '!'..'~' */
int mh_uidl(struct mh_session *session, const char *id);
/* Octets taken. Fewer than len: MH_RETRIEVE comes again when there is room. */
size_t mh_send(struct mh_session *session, const char *text, size_t len);
/* No more come; not whole: the session is cut off. */
int mh_sent(struct mh_session *session, bool whole);
bool mh_is_deleted(const struct mh_session *session, size_t i);

/* ---- level 1: octets in and out ---- */

/* Storage is yours, aligned as malloc does: core for the session's life,
 * buffers only while it is not mh_idle, so that a thousand idle sessions need
 * none (mh_lend with NULL takes them away). Wipe buffers before you free
 * them. 0, NULL: the options are wrong. */
size_t mh_core_size(const struct mh_options *options);
size_t mh_buffers_size(const struct mh_options *options);
struct mh_session *mh_open(void *core, void *buffers,
    const struct mh_options *options);
bool mh_idle(const struct mh_session *session);
void mh_lend(struct mh_session *session, void *buffers);
/* Who the peer is, an IPv4 or IPv6 address, for MH_PEER and mh_received. */
int mh_set_peer(struct mh_session *session, const char *address);
const struct mh_event *mh_next(struct mh_session *session);
/* With MH_IO: where to read to; never 0 octets unless there is output. */
char *mh_room(struct mh_session *session, size_t *len);
void mh_came(struct mh_session *session, size_t n);
enum mh_end { MH_EOF, MH_TIMED_OUT, MH_STOPPING };
/* No more will come. */
void mh_ended(struct mh_session *session, enum mh_end why);
const char *mh_output(const struct mh_session *session, size_t *len);
void mh_went(struct mh_session *session, size_t n);
/* Forgets all that came before. */
int mh_tls_started(struct mh_session *session);
/* When it is MH_TIMED_OUT, by the clock that now is of, in ms; to be asked
 * before each wait. INT64_MAX while a question is open. */
int64_t mh_due(struct mh_session *session, int64_t now);

/* ---- level 2: a server ---- */

struct mh_server *mh_server_new(void); /* NULL: errno, as -1 below */
/* fd: a listening socket (or one connection, for adopt), from now on ours,
 * unless the call fails. tls: of tls_server(3), configured, stays yours; or
 * NULL. */
int mh_server_listen(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls);
int mh_server_adopt(struct mh_server *server, int fd,
    const struct mh_options *options, struct tls *tls);
/* A listening socket at the first address that a name has, NULL being all
 * addresses; -1: errno. */
int mh_listen(const char *address, const char *port);
/* The next event within ms (-1: whenever, 0: now). NULL: none, or errno (0:
 * none will come any more, for all is stopped). */
const struct mh_event *mh_server_wait(struct mh_server *server, int ms);
/* For your own loop: readable while mh_server_wait(server, 0) has work. */
int mh_server_fd(const struct mh_server *server);
void mh_server_stop(struct mh_server *server); /* 421; MH_CLOSED for each */
void mh_server_free(struct mh_server *server);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
