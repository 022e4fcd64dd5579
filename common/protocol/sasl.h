/*
 * sasl: PLAIN (RFC 4616) and LOGIN exchanges, the server's side.
 *
 * It takes base64 lines as the protocol core reads them and says what to send
 * next; in the end it has a name and a password. It has no
 * storage: base64 shrinks, and so it is decoded where the line stands, in
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
/* A name or password, at most. */
#define SASL_SECRET_MAX WIRE_KEEP_MAX
/* The smallest input buffer that holds a line and a name. */
#define SASL_IN_MIN (SASL_LINE_MAX + SASL_SECRET_MAX)

/* What EHLO and CAPA say. */
#define SASL_MECHANISMS "PLAIN LOGIN"

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
	} state;
};

enum sasl_outcome {
	SASL_CONTINUE,   /* send challenge and take another line */
	SASL_DONE,       /* user and password are there; not checked */
	SASL_CANCELLED,  /* the client sent "*" */
	SASL_BAD_BASE64,
	SASL_BAD_MESSAGE, /* good base64 of something else */
	SASL_NOT_ALLOWED, /* to act for somebody else (RFC 4616) */
	SASL_UNKNOWN,     /* no such mechanism */
};

/*
 * Begins an exchange. initial is the initial response as it stands in the
 * command, base64 or "=" for an empty one, or has NULL data for none; else it
 * is part of a line that was taken from wire, and is overwritten. After
 * SASL_CONTINUE *challenge is the base64 to send, perhaps empty.
 */
enum sasl_outcome sasl_server_start(struct sasl_server *sasl,
    struct wire *wire, struct slice mechanism, struct slice initial,
    struct slice *challenge);

/* Takes the client's next line, which was taken from wire. */
enum sasl_outcome sasl_server_take(struct sasl_server *sasl,
    struct wire *wire, struct slice line, struct slice *challenge);

/* The name of the mechanism that is used, by its registered name; "" for
 * none. */
const char *sasl_server_mechanism(const struct sasl_server *sasl);

/* Ends it and overwrites everything the client sent, in the wire too. */
void sasl_wipe(struct sasl_server *sasl, struct wire *wire);

#endif
