/*
 * sasl: PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628) and XOAUTH2 exchanges,
 * the server's side.
 *
 * It takes base64 lines as the protocol core reads them and says what to send
 * next; in the end it has a name and a password, or a name and a token. It has
 * no storage: base64 shrinks, and so it is decoded where the line stands, in
 * the wire's input; a name that came on a line before is kept there, too.
 */
#ifndef SASL_H
#define SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "protocol/wire.h"

/* A line of base64, at most: RFC 4954 section 4 asks for 12288 octets with
 * the CRLF. */
#define SASL_LINE_MAX 12288
/* A name or password, at most; and a token: those that are signed are
 * long. */
#define SASL_SECRET_MAX WIRE_KEEP_MAX
#define SASL_TOKEN_MAX 8192
/* The smallest input buffer that holds a line and a name. */
#define SASL_IN_MIN (SASL_LINE_MAX + SASL_SECRET_MAX)

/* A set of mechanisms: 1u << enum sasl_mechanism, of each. */
enum sasl_mechanism {
	SASL_MECHANISM_PLAIN,
	SASL_MECHANISM_LOGIN,
	SASL_MECHANISM_OAUTHBEARER,
	SASL_MECHANISM_XOAUTH2,
	SASL_MECHANISMS_N,
};
#define SASL_USUAL \
	(1u << SASL_MECHANISM_PLAIN | 1u << SASL_MECHANISM_LOGIN)
#define SASL_TOKENS \
	(1u << SASL_MECHANISM_OAUTHBEARER | 1u << SASL_MECHANISM_XOAUTH2)

/* "plain,login", without regard to case, as a set; false where a word is no
 * mechanism, or there is none. */
bool sasl_parse_mechanisms(struct slice list, unsigned *mechanisms);

/* The registered name; NULL after the last one. Begin with number 0, and take
 * only those of the set. */
const char *sasl_next_mechanism(unsigned mechanisms, unsigned *number);

/* "PLAIN LOGIN", as EHLO and CAPA say it. */
#define SASL_LIST_MAX 40
const char *sasl_list(unsigned mechanisms, char out[SASL_LIST_MAX]);

struct sasl_server {
	/* Valid after SASL_DONE, until the next read or sasl_wipe. */
	struct slice user;
	struct slice password;
	const char *mechanism; /* its registered name; NULL before a start */

	enum sasl_state {
		SASL_IDLE,
		SASL_PLAIN,
		SASL_LOGIN_USER,
		SASL_LOGIN_PASSWORD,
		SASL_OAUTHBEARER,
		SASL_XOAUTH2,
		SASL_TOLD, /* that the token is refused; the client is to say
		            * something once more */
	} state;
};

enum sasl_outcome {
	SASL_CONTINUE,   /* send challenge and take another line */
	SASL_DONE,       /* user and password are there; not checked */
	SASL_CANCELLED,  /* the client sent "*" */
	SASL_BAD_BASE64,
	SASL_BAD_MESSAGE, /* good base64 of something else */
	SASL_TOO_LONG,    /* a name, a password or a token is */
	SASL_NOT_ALLOWED, /* to act for somebody else (RFC 4616) */
	SASL_REFUSED,     /* after sasl_server_refuse: now the login fails */
	SASL_UNKNOWN,     /* no such mechanism */
};

/*
 * Begins an exchange, by one of a set of mechanisms. initial is the initial
 * response as it stands in the command, base64 or "=" for an empty one, or has
 * NULL data for none; else it is part of a line that was taken from wire, and
 * is overwritten. After SASL_CONTINUE *challenge is the base64 to send,
 * perhaps empty.
 */
enum sasl_outcome sasl_server_start(struct sasl_server *sasl,
    struct wire *wire, unsigned mechanisms, struct slice mechanism,
    struct slice initial, struct slice *challenge);

/* Takes the client's next line, which was taken from wire. */
enum sasl_outcome sasl_server_take(struct sasl_server *sasl,
    struct wire *wire, struct slice line, struct slice *challenge);

/*
 * After SASL_DONE: name and password are wrong, or name and token. A token is
 * refused by a challenge that says so (RFC 7628 3.2.2), and the client's next
 * line, whatever it is, makes SASL_REFUSED; everything it sent is overwritten.
 * False for a password: the login fails at once.
 */
bool sasl_server_refuse(struct sasl_server *sasl, struct wire *wire,
    struct slice *challenge);

/* The registered name of the mechanism in use; "" for none. */
const char *sasl_server_mechanism(const struct sasl_server *sasl);

/* Ends it and overwrites everything the client sent, in the wire too. */
void sasl_wipe(struct sasl_server *sasl, struct wire *wire);

#endif
