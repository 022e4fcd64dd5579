/*
 * smtp: the server's side of SMTP as a machine without I/O.
 *
 * RFC 5321 with RFC 1870 (SIZE), 2034 (enhanced status codes), 2920
 * (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH),
 * 6152 (8BITMIME), 6531 (SMTPUTF8), 8689 (REQUIRETLS) and 9422 (LIMITS), and
 * LMTP (RFC 2033).
 * The caller pumps octets between smtp->wire and the peer, calls smtp_next,
 * does what the event says and answers it with smtp_accept or smtp_reply:
 *
 *	while ((event = smtp_next(&smtp)) != SMTP_CLOSED)
 *		...
 *
 * An event is repeated until it is answered; what it points to lives until
 * then. No clock, no descriptor, no allocation.
 */
#ifndef SMTP_H
#define SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/dot.h"
#include "protocol/envelope.h"
#include "protocol/sasl.h"
#include "protocol/smtp_reply.h"
#include "protocol/wire.h"

/* A command with its CRLF, at most (RFC 5321 4.5.3.1.4 asks for 512 and
 * room for parameters); in AUTH SASL_LINE_MAX. */
#define SMTP_LINE_MAX 2048
#define SMTP_HELO_MAX 255
/* The smallest buffers that will do. */
#define SMTP_IN_MIN SASL_IN_MIN
#define SMTP_OUT_MIN 10240

enum smtp_event {
	SMTP_WANT_IO,    /* pump smtp->wire */
	SMTP_STARTTLS,   /* accept: the go-ahead; then drain out, shake hands,
	                  * and smtp_tls_started, before which nothing that
	                  * comes is taken */
	SMTP_AUTH,       /* check smtp->user and smtp->password */
	SMTP_MAIL,       /* a transaction begins: envelope.reverse_path */
	SMTP_RCPT,       /* the last recipient in the envelope, not yet
	                  * accepted; refused, it is taken out again */
	SMTP_REFUSED,    /* a MAIL or RCPT was wrong in itself, or a login came
	                  * without TLS, and the client has heard so:
	                  * smtp->refused_line (of AUTH the verb alone),
	                  * refused_with. For the log; accept it */
	SMTP_DATA_BEGIN, /* is there a place for a message? By DATA or by
	                  * BDAT is all the same */
	SMTP_DATA,       /* smtp->text: a piece of it, with LF line ends.
	                  * Refused, the rest is read and dropped, and the
	                  * reply comes at the end */
	SMTP_DATA_END,   /* the message is whole: keep it, then accept. In
	                  * LMTP asked for each recipient, smtp->recipient */
	SMTP_RESET,      /* the transaction is void: nothing of it may remain.
	                  * Each accepted SMTP_MAIL is followed by one
	                  * SMTP_DATA_END that is answered (in LMTP as many as
	                  * recipients, but after 421 no more) or else by one
	                  * SMTP_RESET, before SMTP_STARTTLS and SMTP_CLOSED
	                  * at the latest */
	SMTP_CLOSED,     /* drain out and close */
};

enum smtp_login {
	SMTP_LOGIN_NONE,      /* nobody can log in */
	SMTP_LOGIN_OFFERED,
	SMTP_LOGIN_NEEDS_TLS, /* not over this connection: 538 */
};

struct smtp_options {
	const char *hostname;
	const char *mark;       /* the greeting ends with it; NULL: nothing */
	const char *domain;     /* of addresses that have none; NULL: the
	                         * hostname */
	uint64_t max_size;      /* octets of a message, as RFC 1870 counts */
	enum smtp_login login;
	unsigned mechanisms;    /* of SASL, a set; 0: SASL_USUAL */
	bool login_required;    /* MAIL only after AUTH */
	bool starttls;          /* STARTTLS is offered */
	enum dot_bare_lf bare_lf;
	uint64_t max_recipients; /* what LIMITS says; 0: nothing */
	bool dsn;               /* DSN is offered, and its parameters kept */
	bool requiretls;        /* REQUIRETLS is offered under TLS: where
	                         * STARTTLS is not, it is TLS from the first
	                         * octet */
	bool lmtp;              /* LMTP in place of SMTP */
	const char *hidden;     /* extensions that are left out and refused,
	                         * with commas between them; or NULL */
};

struct smtp {
	struct wire wire;
	struct smtp_options options;
	struct envelope envelope;

	/* What the client said, for Received lines and logs. The name that it
	 * gave itself may be any octets; of one that is too long to be a
	 * domain (RFC 5321 4.5.3.1.2) the beginning, and "...". */
	char helo[SMTP_HELO_MAX];
	size_t helo_len;
	bool esmtp;         /* by EHLO */
	bool tls_started;   /* by STARTTLS */
	bool authenticated;

	/* With SMTP_AUTH. */
	struct slice user;
	struct slice password;

	/* With SMTP_REFUSED. */
	struct slice refused_line;
	const struct smtp_reply *refused_with;

	/* With SMTP_DATA. */
	struct slice text;

	/* With SMTP_DATA_END, of the whole message, and with SMTP_RESET, of
	 * what came of it: as RFC 1870 counts, and what it makes with CRLF
	 * line ends. */
	uint64_t size;
	uint64_t octets;

	/* With SMTP_RESET: the text was refused, and what is said of it. */
	bool refused;
	struct smtp_reply refusal; /* the program's text is kept in out */

	size_t recipient; /* LMTP: an index into the envelope */

	/* With SMTP_RESET and SMTP_CLOSED. */
	bool ended; /* the session is over */
	bool quit; /* the client said QUIT */
	const struct smtp_reply *closed_with; /* the machine had enough, and
	                                       * said so; or NULL */

	/* smtp.c's own. */
	enum smtp_state {
		SMTP_START,  /* the greeting is to come */
		SMTP_COLD,   /* before HELO and EHLO */
		SMTP_READY,  /* no transaction */
		SMTP_SENDER, /* MAIL accepted */
		SMTP_RECIPIENTS, /* a RCPT accepted */
		SMTP_CHUNKS, /* between two chunks */
		SMTP_FAILED, /* a chunk failed, RSET is to come */
		SMTP_TEXT,   /* after 354 */
		SMTP_CHUNK,  /* in a chunk */
		SMTP_SKIP,   /* in a chunk that nobody wants */
		SMTP_HANDSHAKE, /* from the go-ahead to smtp_tls_started */
		SMTP_ENDED,
	} state;
	enum smtp_event pending; /* WANT_IO: nothing is to be answered */
	bool in_transaction; /* a MAIL was accepted and has no end yet */
	bool in_sasl;
	bool path_refused; /* a sender or recipient: what was sent behind it
	                    * in the same batch is no fault of its own */
	struct dot_decoder decoder;
	bool text_ended;
	char refusal_enhanced[12];
	size_t verdicts;  /* so often it is still to be said */
	bool chunked;     /* the transaction's text comes by BDAT */
	bool chunk_last;
	uint64_t chunk_left; /* octets of the chunk still to come */
	unsigned skip_reply; /* what is said after a chunk nobody wants */
	enum smtp_state after_skip;
	enum smtp_after_reset {
		SMTP_AFTER_RSET,
		SMTP_AFTER_HELLO,
		SMTP_AFTER_STARTTLS,
		SMTP_AFTER_REFUSAL,
		SMTP_AFTER_CHUNK,
		SMTP_AFTER_END,
	} after_reset;
	struct sasl_server sasl;
	unsigned failed_logins;
	unsigned bad_commands; /* since the last accepted message */
};

/*
 * Storage for the wire is the caller's: at least SMTP_IN_MIN and
 * SMTP_OUT_MIN, more is faster. Then the caller makes the envelope
 * (envelope_init). options' strings must outlive it.
 */
void smtp_init(struct smtp *smtp, const struct smtp_options *options,
    char *in, size_t in_size, char *out, size_t out_size);

/* Other storage, while wire_is_idle and there is no transaction; whoever
 * calls smtp_init without any gives it so. */
void smtp_lend(struct smtp *smtp, char *in, size_t in_size, char *out,
    size_t out_size);

/* What can be hidden. */
extern const struct slice smtp_hideable[];
extern const size_t smtp_hideable_count;

enum smtp_event smtp_next(struct smtp *smtp);

/* Before the first smtp_next: the peer hears this and no greeting (RFC 5321
 * 3.1: 554), and the session is over. */
void smtp_refuse_session(struct smtp *smtp, const struct smtp_reply *reply);

/* The connection is TLS now; everything said before is forgotten, and all
 * input that came before with it (RFC 3207 4.2). */
void smtp_tls_started(struct smtp *smtp);

/* The connection is of no use any more: whatever was asked is asked no
 * longer, and what comes is the end of the transaction and SMTP_CLOSED. */
void smtp_drop(struct smtp *smtp);

/* Answers an event positively, in the usual words. */
void smtp_accept(struct smtp *smtp);

/*
 * Answers an event with a reply: a code of 2xx accepts, any other refuses.
 * After 421 the session is over (RFC 5321 4.2.1). SMTP_DATA_BEGIN can only
 * be refused this way, and SMTP_REFUSED and SMTP_RESET not be answered at
 * all. The text is copied; over SMTP_REPLY_TEXT_MAX octets of it are left
 * out. An LF in it begins another line of the reply, other control
 * characters become blanks.
 */
void smtp_reply(struct smtp *smtp, const struct smtp_reply *reply);

#endif
