/*
 * pop3: the server's side of POP3 as a machine without I/O.
 *
 * RFC 1939 with RFC 2449 (CAPA, response codes), RFC 3206 (AUTH codes),
 * RFC 2595 (STLS), RFC 5034 (AUTH) and RFC 6856 (UTF8, LANG). The caller
 * pumps octets between pop3->wire and the peer, calls pop3_next, does what
 * the event says and answers it:
 *
 *	while ((event = pop3_next(&pop3)) != POP3_CLOSED)
 *		...
 *
 * An event is repeated until it is answered; what it points to lives until
 * then. No clock, no descriptor, no allocation. Names and passwords are
 * overwritten as soon as the login is answered.
 */
#ifndef POP3_H
#define POP3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/dot.h"
#include "base/error.h"
#include "protocol/message.h"
#include "pop3/pop3_text.h"
#include "protocol/sasl.h"
#include "protocol/wire.h"

/*
 * A command with its CRLF, at most: RFC 2449 section 4 asks for 255 octets;
 * AUTH is longer.
 */
#define POP3_LINE_MAX 2048
#define POP3_IN_MIN SASL_IN_MIN
/* out must hold the longest reply whole. */
#define POP3_OUT_MIN 4096

enum pop3_event {
	POP3_WANT_IO, /* pump pop3->wire */
	POP3_STLS,    /* pop3_accept_stls; then drain out, shake hands, and
	               * pop3_tls_started, before which nothing that comes is
	               * taken */
	POP3_COMMAND, /* with options.ask: pop3->verb is about to be carried
	               * out, with pop3->argument: pop3_go_on, or
	               * pop3_refuse_with */
	POP3_LOGIN,   /* pop3->user and pop3->password are to be checked:
	               * pop3_logged_in, pop3_login_failed */
	POP3_MESSAGE, /* message pop3->message is wanted:
	               * pop3_message_begin, then pop3_message_data and
	               * pop3_message_end; or pop3_message_failed */
	POP3_UIDL,    /* message pop3->message's unique-id: pop3_uidl */
	POP3_UPDATE,  /* QUIT: remove what is marked: pop3_updated */
	POP3_CLOSED,  /* drain out and close */
};

enum pop3_login_failure {
	POP3_LOGIN_WRONG,     /* name or password: [AUTH] */
	POP3_LOGIN_REFUSED,   /* this peer may not log in: [AUTH] */
	POP3_LOGIN_TEMPORARY, /* cannot check now: [SYS/TEMP] */
	POP3_LOGIN_NO_MAILDROP, /* [SYS/PERM] */
	POP3_LOGIN_NO_ACCESS, /* it may not be opened: [SYS/PERM] */
	POP3_LOGIN_IN_USE,    /* [IN-USE] */
};

struct pop3_options {
	const char *hostname;
	const char *implementation; /* for CAPA */
	bool allow_login; /* there are logins at all */
	bool secure;      /* and they are possible on this connection as it
	                   * is, not only after STLS */
	unsigned mechanisms; /* of SASL, a set; 0: SASL_USUAL */
	bool stls;        /* STLS is offered */
	bool allow_delete; /* DELE marks messages to be removed */
	bool ask;     /* before STLS, STAT, LIST, UIDL, RETR, TOP, DELE and
	               * QUIT: POP3_COMMAND */
	const char *hidden; /* capabilities that are left out and refused,
	               * with commas between them; or NULL */
};

struct pop3 {
	struct wire wire;
	struct pop3_options options;

	/* With POP3_COMMAND; the verb as it is spelled here. */
	struct slice verb;
	struct slice argument;

	/* With POP3_LOGIN. */
	struct slice user;
	struct slice password;

	/* With POP3_MESSAGE and POP3_UIDL: an index. */
	size_t message;

	/* Counts, for a log. */
	uint64_t retrieved;
	uint64_t octets_sent; /* of messages, without added dots */
	bool quit; /* the client said QUIT */

	/* The machine's own. */
	enum pop3_state {
		POP3_GREETING,
		POP3_AUTHORIZATION,
		POP3_HANDSHAKE, /* from the go-ahead to pop3_tls_started */
		POP3_TRANSACTION,
		POP3_ENDED,
	} state;
	enum pop3_event pending; /* WANT_IO: nothing is to be answered */
	bool sending;            /* a message is going out */
	bool in_sasl;
	enum pop3_language language; /* of texts (LANG) */
	enum pop3_listing {
		POP3_NO_LISTING,
		POP3_LIST_OCTETS,
		POP3_LIST_UIDLS,
	} listing;
	size_t cursor;           /* of the listing */
	struct message *messages;
	size_t n;
	bool top;                /* the message is for TOP, so many lines: */
	uint64_t top_lines;
	struct dot_encoder encoder;
	struct sasl_server sasl;
	unsigned failed_logins;
	unsigned bad_commands;   /* before the login, and no logins */
	struct slice name;       /* USER's; empty: none yet */
	struct slice refusal;    /* of a token, kept in out: it is said when
	                          * the client has heard the challenge */
};

/*
 * Storage for the wire is the caller's: at least POP3_IN_MIN and
 * POP3_OUT_MIN, more is faster. options' strings must outlive it.
 */
void pop3_init(struct pop3 *pop3, const struct pop3_options *options,
    char *in, size_t in_size, char *out, size_t out_size);

/* Other storage, while wire_is_idle; whoever calls pop3_init without any
 * gives it so. */
void pop3_lend(struct pop3 *pop3, char *in, size_t in_size, char *out,
    size_t out_size);

/* What can be hidden. */
extern const struct slice pop3_hideable[];
extern const size_t pop3_hideable_count;

enum pop3_event pop3_next(struct pop3 *pop3);

/*
 * Answers POP3_STLS, POP3_LOGIN, POP3_MESSAGE or POP3_UPDATE with a status
 * ("-ERR", "-ERR [AUTH]") and a text in words of the caller's. Or, before the
 * first pop3_next: the peer hears this and no greeting, and the session is
 * over. Of a text that is too long for a line the beginning is said.
 */
void pop3_refused(struct pop3 *pop3, const char *status, struct slice text);

/* For POP3_COMMAND: it is carried out. */
void pop3_go_on(struct pop3 *pop3);
/* For POP3_COMMAND and POP3_LOGIN: "-ERR " and this text, at most
 * POP3_REFUSAL_MAX octets. */
#define POP3_REFUSAL_MAX 512
void pop3_refuse_with(struct pop3 *pop3, struct slice text);

/* The go-ahead for STLS; and the connection is TLS now, and all that came
 * before is forgotten (RFC 2595 4). */
void pop3_accept_stls(struct pop3 *pop3);
void pop3_tls_started(struct pop3 *pop3);

/*
 * The login is right; these n messages are the maildrop, in this order. They
 * must live as long as the session.
 */
void pop3_logged_in(struct pop3 *pop3, struct message *messages, size_t n);
void pop3_login_failed(struct pop3 *pop3, enum pop3_login_failure failure);

/* 1 to 70 octets of 0x21 to 0x7E (RFC 1939 section 7). */
void pop3_uidl(struct pop3 *pop3, struct slice uidl);

/* The message is there and has so many octets (struct message). */
void pop3_message_begin(struct pop3 *pop3, uint64_t octets);
/* Takes octets of its file: how many, as long as there is room in out; 0
 * means pump first. */
size_t pop3_message_data(struct pop3 *pop3, struct slice data);
/* Is the rest of the file of no interest (TOP)? */
bool pop3_message_enough(const struct pop3 *pop3);
/* No more octets come. whole: they were the file's, all of them. Then the
 * message is complete, even where it had not the octets announced (see
 * octets_sent); else the connection is closed without the final dot, for a
 * client must not take half a message for a whole one. */
void pop3_message_end(struct pop3 *pop3, bool whole);
/* It cannot be opened: -ERR. After pop3_message_begin: closes at once. */
void pop3_message_failed(struct pop3 *pop3, const struct error *error);

/* For POP3_UPDATE: the answer to QUIT, after what was marked was removed. */
void pop3_updated(struct pop3 *pop3, bool all_removed);

/* The connection is of no use any more: whatever was asked is asked no
 * longer, and what comes is POP3_CLOSED. */
void pop3_drop(struct pop3 *pop3);

#endif
