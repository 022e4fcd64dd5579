/*
 * relay: one envelope to one next hop, a verdict for each recipient.
 *
 * The next hop is opened at the first recipient and each one is put to it
 * at once, so that the client hears the next hop's own words. There is no
 * queue: what cannot be handed on now is told as a 4xx, and the client keeps
 * the message.
 */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "account.h"
#include "conn.h"
#include "envelope.h"
#include "error.h"
#include "smtp_client.h"

/* Limits in seconds (RFC 5321 4.5.3.2). */
#define RELAY_CONNECT_TIMEOUT 30
#define RELAY_COMMAND_TIMEOUT 300
#define RELAY_FINAL_TIMEOUT 600

struct relay {
	const struct account *account; /* of the open connection, or NULL */
	const char *hostname;          /* for EHLO */

	/* relay.c's own. */
	struct conn conn;
	struct smtp_client client;
	struct tls *tls;
	bool mail_sent;  /* a transaction is open there */
	size_t accepted; /* recipients in it */
	bool broken;     /* the connection was lost with recipients in it */
	bool reset_due;  /* RSET before the next transaction */
	bool chunking;   /* the text goes by BDAT */
	char *storage;
	char verdict[SMTP_REPLY_TEXT_MAX]; /* one that is kept */
	char verdict_enhanced[12];
};

/* relay must be zeroed. */
void relay_init(struct relay *relay, const char *hostname);

/*
 * Puts recipient i of the envelope to the account's next hop. *verdict is
 * what to tell the client: the next hop's reply, or for trouble that is not
 * the client's a 451, and then the result is -1 and *error says why. It
 * lives until the next call.
 */
int relay_recipient(struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error);

/* A message that is whole, in a file, with LF line ends. */
struct relay_text {
	int fd;
	off_t offset;    /* where it begins, up to the end of the file */
	uint64_t octets; /* with CRLF line ends, as BDAT counts */
	bool has_8bit;   /* it has octets above 0x7F */
};

/*
 * Sends the message to the recipients accepted so far. *verdict and result
 * as above. Whatever the verdict, the transaction is over.
 */
int relay_message(struct relay *relay, const struct relay_text *text,
    struct smtp_reply *verdict, struct error *error);

/* Gives up the transaction, if one is open; the connection stays. Call it
 * whenever the client's transaction ends without relay_message. */
void relay_reset(struct relay *relay);

/* QUIT and close. Harmless when not open. */
void relay_close(struct relay *relay);

/* Can the account's TLS be set up (its CA file read)? For --check-config. */
int relay_check_account(const struct account *account, struct error *error);

#endif
