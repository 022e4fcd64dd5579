/*
 * relay_private: what the parts of relay share, and nobody else uses.
 *
 *     relay.c          the order of things: connection, transaction
 *     relay_carry.c    what the next hop cannot do
 *     relay_resume.c   a next hop that left is told the envelope again
 *     relay_text.c     the text and the verdict on it
 *     relay_talk.c     replies, and what the client is told of them
 *     relay_open.c     TLS, greeting, EHLO, STARTTLS
 *     relay_login.c    AUTH
 *     relay_connect.c  a descriptor for an account
 *     relay_resolve.c  a name's addresses
 *     relay_self.c     is it this server itself?
 */
#ifndef RELAY_PRIVATE_H
#define RELAY_PRIVATE_H

#include "relay/account.h"
#include "base/error.h"
#include "relay/relay.h"

/* ---- relay_connect.c ---- */

#define RELAY_CONNECT_OURSELVES (-2)

/* Connects by the deadline (clock_now): the descriptor, -1, or
 * RELAY_CONNECT_OURSELVES, where nobody was called. */
int relay_connect(const struct relay *relay, const struct account *account,
    int64_t deadline, struct error *error);

/* ---- relay_self.c ---- */

/* Is this the address that our client came to? */
bool relay_is_here(const struct relay *relay,
    const struct sockaddr *address);

/* Was the greeting, which is the client's last reply, one of ours? */
bool relay_is_greeted_by_us(const struct relay *relay);

/* ---- relay_carry.c ---- */

/* Can the next hop do what the client asked for, for recipient i? If not,
 * *verdict says so. */
bool relay_can_carry(const struct relay *relay,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict);

/* The same as far as it is known before anybody is asked. */
bool relay_may_carry(const struct relay *relay,
    const struct account *account, const struct envelope *envelope,
    size_t i, struct smtp_reply *verdict);

/* ---- relay_resume.c ---- */

/*
 * Opens the next hop of relay->lost again, if it left, and tells it the
 * sender and those of the first n recipients that it had accepted. 0: it took
 * them all, as before. -1: it did not, and never will in this transaction.
 */
int relay_resume(struct relay *relay, const struct envelope *envelope,
    size_t n, struct error *error);

/* ---- relay_open.c ---- */

/* How far it came. */
enum relay_stage {
	RELAY_AT_CONNECTING,
	RELAY_AT_HELLO,
	RELAY_AT_LOGIN,
	RELAY_AT_OURSELVES,
};

/*
 * Connects to the account's next hop, up to where it waits for MAIL. -1,
 * and in *stage where that ended. Whatever was opened is relay->conn and
 * relay->storage.
 */
int relay_open_connection(struct relay *relay, const struct account *account,
    enum relay_stage *stage, struct error *error);

/* ---- relay_login.c ---- */

/* Logs in, if the account has a login. */
int relay_log_in(struct relay *relay, struct error *error);

/* ---- relay_talk.c ---- */

/*
 * Sends what is to be sent and waits for the next reply, which is
 * relay->client.reply. -1: none will come; so too where the next hop said
 * something before it was asked, which is then in *error. The limit is that
 * of a command, or the caller's in seconds.
 */
int relay_await_reply(struct relay *relay, struct error *error);
int relay_await_within(struct relay *relay, unsigned seconds,
    struct error *error);

/*
 * -1 where there is anything from the next hop that nobody asked for. It may
 * be the end, or a 421 before it, and then *error says what it was; it may
 * also be a reply to what was not said yet, and then nobody knows any more
 * which reply is to which command. To be asked before whatever a verdict
 * depends on is sent.
 */
int relay_expect_silence(struct relay *relay, struct error *error);

/* The first digit of the reply's code. */
unsigned relay_reply_class(const struct relay *relay);

/* Fills *error with a reply that is not the one to go on with: -1. */
int relay_unexpected(struct relay *relay, const char *what,
    struct error *error);

/* Trouble of ours, or between the next hop and us: 451, so that the client
 * keeps the message and tries again. -1. */
int relay_trouble(const char *enhanced, const char *text,
    struct smtp_reply *verdict);

/* A connection that is of no use any more is closed; -1 and a 451. */
int relay_lost(struct relay *relay, struct smtp_reply *verdict);

/*
 * The next hop's reply as the client is to hear it: code and text as they
 * are. Some are about our session there and not about this mail: -1, and the
 * connection is closed. to_text: it is the one to the whole text.
 */
int relay_pass_on(struct relay *relay, bool to_text,
    struct smtp_reply *verdict, struct error *error);

/* Copies what is said in it to relay->kept, for another reply is to be read
 * before it is. */
void relay_keep_verdict(struct relay *relay, struct smtp_reply *verdict);

/* Closes, with QUIT or not at all. */
void relay_drop(struct relay *relay, struct wire *final_command);

/* Hands the dialogue so far over to relay->transcript. */
void relay_show(struct relay *relay);

#endif
