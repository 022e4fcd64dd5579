/*
 * relay.c - the next hop's connection and the order of things on it.
 *
 * The same pump as the client's connection, over smtp_client's wire. A
 * connection on which anything went wrong is closed, never reused: the next
 * recipient opens a new one.
 */
#include "relay/relay.h"

#include <string.h>

#include "relay/relay_private.h"

/* For QUIT to be taken. */
#define CLOSE_TIMEOUT 5

void
relay_init(struct relay *relay, const char *hostname)
{
	relay->hostname = hostname;
	relay->limits = (struct relay_limits)RELAY_LIMITS;
}

/* ---- the connection ---- */

/* A connection between two transactions: is it ready for the next one? The
 * next hop may have closed it at any time. */
static int
catch_up(struct relay *relay, struct error *error)
{
	if (relay_expect_silence(relay, error) < 0)
		return -1;
	if (!relay->reset_due)
		return 0;
	relay->reset_due = false;
	smtp_client_rset(&relay->client);
	return relay_await_within(relay, relay->limits.reset, error) < 0 ||
	    relay_reply_class(relay) != 2 ? -1 : 0;
}

static int
begin(struct relay *relay, const struct account *account,
    struct smtp_reply *verdict, struct error *error)
{
	static const char *const enhanced[] = {
		[RELAY_AT_CONNECTING] = "4.4.1", /* no answer from host */
		[RELAY_AT_HELLO] = "4.4.2",      /* bad connection */
		[RELAY_AT_LOGIN] = "4.7.0",
	};
	enum relay_stage stage;
	struct error ignored;

	if (relay->account == account && !relay->mail_sent &&
	    catch_up(relay, &ignored) < 0)
		relay_drop(relay, NULL);
	if (relay->account == account)
		return 0;
	relay_close(relay);
	if (relay_open_connection(relay, account, &stage, error) == 0)
		return 0;
	relay_drop(relay, NULL);
	if (stage == RELAY_AT_OURSELVES)
		*verdict = (struct smtp_reply){ 554, "5.4.6",
			SLICE("The next hop is this server itself: a mail "
			    "loop") };
	else
		relay_trouble(enhanced[stage], stage == RELAY_AT_LOGIN
		    ? "Cannot log in to the next hop, try again later"
		    : "The next hop cannot be reached now, try again later",
		    verdict);
	/* Further recipients get the same verdict: to try again for each would
	 * take long, and too many wrong logins lock the account. */
	relay_keep_verdict(relay, verdict);
	relay->refused = true;
	return -1;
}

/* ---- the transaction ---- */

/*
 * The reply to a refused MAIL is the verdict on every recipient of the
 * transaction. A RCPT that was sent with it (RFC 2920 3.1) has a reply too,
 * which is dropped; but a 2xx would mean that the next hop has begun a
 * transaction, and then the connection is closed. RSET comes before the next
 * MAIL: without it Postfix keeps parameters of the refused one, such as SIZE.
 */
static int
refused_mail(struct relay *relay, bool together, struct smtp_reply *verdict,
    struct error *error)
{
	struct error ignored;

	if (relay_pass_on(relay, false, verdict, error) < 0)
		return -1;
	relay_keep_verdict(relay, verdict);
	relay->refused = relay->reset_due = true;
	if (together && (relay_await_reply(relay, &ignored) < 0 ||
	    relay_reply_class(relay) < 4))
		relay_drop(relay, NULL);
	return 0;
}

static int
recipient_verdict(struct relay *relay, struct smtp_reply *verdict,
    struct error *error)
{
	if (relay_await_reply(relay, error) < 0)
		return relay_lost(relay, verdict);
	if (relay_pass_on(relay, false, verdict, error) < 0)
		return -1;
	relay->accepted |= verdict->code / 100 == 2;
	return 0;
}

/* MAIL and the first RCPT, in one go where that is possible. */
static int
open_transaction(struct relay *relay, const struct envelope *envelope,
    size_t i, struct smtp_reply *verdict, struct error *error)
{
	struct smtp_client *client = &relay->client;
	bool together = client->extensions.pipelining;

	smtp_client_mail(client, envelope);
	if (together)
		smtp_client_rcpt(client, &envelope->recipients[i]);
	if (relay_await_reply(relay, error) < 0)
		return relay_lost(relay, verdict);
	if (relay_reply_class(relay) != 2)
		return refused_mail(relay, together, verdict, error);
	relay->mail_sent = true;
	if (!together)
		smtp_client_rcpt(client, &envelope->recipients[i]);
	return recipient_verdict(relay, verdict, error);
}

/* A next hop that is ready for a RCPT, or for MAIL. */
static int
make_ready(struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error)
{
	if (!relay->accepted)
		return begin(relay, account, verdict, error);
	if (relay->lost != NULL &&
	    relay_resume(relay, envelope, i, error) < 0)
		return relay_lost(relay, verdict);
	return 0;
}

static int
put_recipient(struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error)
{
	if (make_ready(relay, account, envelope, i, verdict, error) < 0)
		return -1;
	if (!relay_can_carry(relay, envelope, i, verdict))
		return 0;
	if (!relay->mail_sent)
		return open_transaction(relay, envelope, i, verdict, error);
	smtp_client_rcpt(&relay->client, &envelope->recipients[i]);
	return recipient_verdict(relay, verdict, error);
}

int
relay_recipient(struct relay *relay, const struct account *account,
    struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error)
{
	int result = 0;

	relay->taken.code = 0;
	if (relay->broken) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		result = relay_lost(relay, verdict);
	} else if (relay->refused) {
		*verdict = relay->kept;
	} else if (relay_may_carry(relay, account, envelope, i,
	    verdict)) {
		do
			result = put_recipient(relay, account, envelope, i,
			    verdict, error);
		while (result < 0 && relay->lost != NULL);
	}
	/* What was overcome on the way is no reason of the verdict. */
	if (result == 0)
		error->kind = ERROR_NONE;
	envelope->recipients[i].relayed = verdict->code / 100 == 2;
	relay_show(relay);
	return result;
}

bool
relay_is_broken(const struct relay *relay)
{
	return relay->broken;
}

void
relay_take_back(struct relay *relay, size_t n)
{
	if (n == 0) {
		relay->reset_due |= relay->mail_sent;
		relay->accepted = relay->mail_sent = relay->broken = false;
		relay->lost = NULL;
	} else if (relay->account != NULL) {
		relay->lost = relay->account;
	}
}

void
relay_reset(struct relay *relay)
{
	relay->taken.code = 0;
	relay->refused = relay->broken = false;
	relay->lost = NULL;
	relay->resumed = 0;
	relay->accepted = false;
	relay->reset_due |= relay->mail_sent;
	relay->mail_sent = false;
}

void
relay_close(struct relay *relay)
{
	if (relay->account == NULL)
		return;
	/* RFC 5321 4.1.1.10, but nobody waits for the 221: everything that
	 * matters was answered. */
	smtp_client_quit(&relay->client);
	conn_set_timeout(&relay->conn, CLOSE_TIMEOUT);
	relay_drop(relay, &relay->client.wire);
}
