/*
 * smtp_client: the client's side of SMTP as a machine without I/O.
 *
 * Each smtp_client_* command writes its line; smtp_client_next then reads
 * the replies, one for each command in their order, so that commands may
 * also be sent in a batch where the server offers PIPELINING (RFC 2920).
 * The greeting is the first reply of all. Which command comes when is the
 * caller's business (relay.c).
 *
 * A transcript of the wire (wire.h) has no credentials: from AUTH to MAIL
 * only the codes of the replies are in it, for servers do quote what they
 * were sent.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/dot.h"
#include "protocol/envelope.h"
#include "protocol/sasl_client.h"
#include "protocol/smtp_reply.h"
#include "protocol/wire.h"

/* The smallest buffers that will do; out must hold two commands. */
#define SMTP_CLIENT_IN_MIN 4096
#define SMTP_CLIENT_OUT_MIN 16384
/* Lines of one reply, at most: a server that sends more is broken. */
#define SMTP_CLIENT_LINES_MAX 1000

enum smtp_client_event {
	SMTP_CLIENT_WANT_IO, /* pump client->wire */
	SMTP_CLIENT_REPLY,   /* client->reply is the next command's */
	SMTP_CLIENT_BROKEN,  /* no reply will come; client->why says why */
};

/* What EHLO said (RFC 5321 4.1.1.1). */
struct smtp_extensions {
	bool pipelining;
	bool size;
	bool eight_bit;
	bool utf8;
	bool dsn;
	bool starttls;
	bool requiretls;
	unsigned auth; /* a bit for each mechanism: 1u << SASL_CLIENT_PLAIN */
	uint64_t size_max; /* of SIZE (RFC 1870 4); 0: not said */
};

struct smtp_client {
	struct wire wire;
	/* Lives until the next smtp_client_next. An enhanced code is taken
	 * out of the text only where it is the same in every line that has
	 * one, as it must be (RFC 2034 4). */
	struct smtp_reply reply;
	struct smtp_extensions extensions; /* of the last EHLO or LHLO */
	const char *why;
	bool secret; /* after AUTH, before MAIL: what comes is not shown */

	/* smtp_client.c's own. */
	unsigned lines; /* of the reply being read */
	bool hello;     /* it is the one to EHLO or LHLO */
	char enhanced[12];
	size_t text_len;
	char text[SMTP_REPLY_TEXT_MAX];
	struct dot_encoder encoder;
};

/* Storage for the wire is the caller's. */
void smtp_client_init(struct smtp_client *client, char *in, size_t in_size,
    char *out, size_t out_size);

/* Goes on until a reply is whole. Call it again for the next one only when
 * another is expected. */
enum smtp_client_event smtp_client_next(struct smtp_client *client);

void smtp_client_ehlo(struct smtp_client *client, const char *hostname);
void smtp_client_helo(struct smtp_client *client, const char *hostname);
/* EHLO's in LMTP (RFC 2033 4.1). */
void smtp_client_lhlo(struct smtp_client *client, const char *hostname);

void smtp_client_starttls(struct smtp_client *client);
/*
 * AUTH, and with it the mechanism's first response where it has one and the
 * line has at most 512 octets (RFC 4954 4): then *step is 1, else 0. And the
 * response to the 334 after that: false where it knows of none. When that is
 * over, smtp_client_wipe.
 */
void smtp_client_auth(struct smtp_client *client,
    enum sasl_client_mechanism mechanism, const struct sasl_client *who,
    unsigned *step);
bool smtp_client_auth_respond(struct smtp_client *client,
    enum sasl_client_mechanism mechanism, const struct sasl_client *who,
    unsigned step);

/* Overwrites what was said and heard so far, the reply too: servers quote what
 * they were sent. Only what they said before its time is left. */
void smtp_client_wipe(struct smtp_client *client);

/*
 * With the parameters of the envelope that the server offers. MAIL is said
 * before there is any text, and whoever has 8-bit text need not have said so:
 * BODY=8BITMIME goes to all who know it (RFC 6152 3 lets 7-bit text have
 * it), but where BODY=7BIT was said.
 */
void smtp_client_mail(struct smtp_client *client,
    const struct envelope *envelope);
void smtp_client_rcpt(struct smtp_client *client,
    const struct envelope_recipient *recipient);
void smtp_client_data(struct smtp_client *client);
void smtp_client_rset(struct smtp_client *client);
void smtp_client_quit(struct smtp_client *client);

/*
 * Message text after the 354, dot-stuffed into out: how many octets of it
 * were taken; 0 means pump first. Then its end, the final dot, for which
 * smtp_client_text leaves room.
 */
size_t smtp_client_text(struct smtp_client *client, struct slice text);
void smtp_client_text_end(struct smtp_client *client);

#endif
