/*
 * relay: one envelope to one next hop, a verdict for each recipient.
 *
 * The next hop is opened at the first recipient and each one is put to it
 * at once, so that the client hears the next hop's own words. There is no
 * queue: what cannot be handed on now is told as a 4xx, and the client keeps
 * the message.
 *
 * What it opens is opened when it is needed, after our client's login: the
 * accounts file and files with passwords (account_secret.h), CA files, what a
 * resolver reads; it runs the commands of exec:, and asks for names in a
 * thread.
 */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "relay/account.h"
#include "system/conn.h"
#include "protocol/envelope.h"
#include "base/error.h"
#include "protocol/smtp_client.h"

/*
 * Limits in seconds. Each is for a whole reply, however many lines it has
 * (RFC 5321 4.5.3.2); all of the opening, from connecting to the login, has
 * one of its own, for the client waits for the reply to its RCPT meanwhile.
 */
struct relay_limits {
	unsigned connect;
	unsigned opening;
	unsigned command;
	unsigned reset; /* shorter: the client waits, and said no RSET */
	unsigned final; /* the reply to the text */
	unsigned text;  /* to take it, and a second more for each
	                 * RELAY_TEXT_RATE octets */
};
#define RELAY_LIMITS { 30, 300, 300, 30, 600, 600 }
/* A next hop that reads more slowly than a modem would hold the session, and
 * our client, for hours. */
#define RELAY_TEXT_RATE 8192

struct relay {
	const struct account *account; /* of the open connection, or NULL */
	const char *hostname;          /* for EHLO */

	/* Set by the caller after relay_init: where the dialogue with the
	 * next hop is added to a transcript (wire.h), each line with "hop"
	 * before its mark. NULL: nowhere. */
	struct buf *transcript;

	/* And the mark that ends the greeting of every session of this server
	 * that may relay: a next hop that greets with it is this server, and
	 * mail would go in a loop. NULL: none. */
	const char *mark;

	/* The 2xx by which the next hop took the text of the last
	 * relay_message, for one recipient at least, and whatever became of
	 * it then; code 0: none. Lives as long as the verdict. */
	struct smtp_reply taken;

	/* relay's own. */
	struct sockaddr_storage here; /* that our client came to, if known */
	struct relay_limits limits;
	int64_t open_by; /* ms, clock_now(), while opening; else 0 */
	int64_t text_by; /* until when the hop is to have the text */
	struct conn conn;
	struct smtp_client client;
	bool mail_sent;  /* a transaction is open there */
	bool accepted;   /* and recipients in it */
	bool refused;    /* MAIL was, or the hop is out of reach: kept is for
	                  * each recipient of the transaction */
	const struct account *lost; /* its hop left with recipients in the
	                  * transaction, or one was taken back: they are to
	                  * be told to it again */
	unsigned resumed; /* so often they were */
	bool broken;     /* they are lost for good */
	bool reset_due;  /* RSET before the next transaction */
	char *storage;
	struct buf dialogue;
	struct smtp_reply kept; /* a verdict, in: */
	char kept_text[SMTP_REPLY_TEXT_MAX];
	char kept_enhanced[12];
};

/* relay must be zeroed. */
void relay_init(struct relay *relay, const char *hostname);

/* The client's connection: a next hop at the address that it came to is this
 * server itself. */
void relay_set_client(struct relay *relay, int fd);

/*
 * Puts recipient i of the envelope to the account's next hop. *verdict is
 * what to tell the client: the next hop's reply, or for trouble that is not
 * the client's a 451, and then the result is -1 and *error says why (else its
 * kind is ERROR_NONE); a 421 where it was SIGTERM. It lives until the next
 * call. Whether the next hop accepted the recipient is also noted in the
 * envelope.
 */
int relay_recipient(struct relay *relay, const struct account *account,
    struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error);

/*
 * Only the first n recipients of the envelope stay in the transaction: the
 * next hop is told so before it is told anything else. Those after them are
 * not to be in the envelope any more.
 */
void relay_take_back(struct relay *relay, size_t n);

/*
 * Was the connection lost with recipients that the next hop had accepted? Then
 * no text can be sent in this transaction. Where it only closed the connection
 * this is false: it is opened again when it is needed, and told the envelope
 * once more.
 */
bool relay_is_broken(const struct relay *relay);

/* A message that is whole, in a file, with LF line ends. */
struct relay_text {
	int fd;
	off_t offset;    /* where it begins, up to the end of the file */
	uint64_t octets; /* with CRLF line ends, as SIZE counts */
	bool has_8bit;   /* it has octets above 0x7F */
	bool header_8bit; /* in its header, too */
};

/*
 * Sends the message to the recipients accepted so far, which the envelope
 * still has in their places. *verdict and result as above; where the next hop
 * has a reply for each of them (RFC 2033 4.2), a 4xx if there is one, else a
 * 5xx if there is one. Whatever the verdict, the transaction is over.
 */
int relay_message(struct relay *relay, const struct envelope *envelope,
    const struct relay_text *text, struct smtp_reply *verdict,
    struct error *error);

/* Gives up the transaction, if one is open; the connection stays, and
 * nothing is said or waited for. Call it whenever the client's transaction
 * ends without relay_message. */
void relay_reset(struct relay *relay);

/* QUIT and close. Harmless when not open. */
void relay_close(struct relay *relay);

/* Can the account's TLS be set up (its CA file read)? For --check-config. */
int relay_check_account(const struct account *account, struct error *error);

#endif
