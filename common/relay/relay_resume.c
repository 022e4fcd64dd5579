/*
 * relay_resume.c - a next hop that left before it had any of the text.
 *
 * Next hops send away who is silent for some minutes, and an upload may take
 * longer than that: without this such mail would fail at each attempt.
 */
#include "relay/relay_private.h"

/* In one transaction. Whoever leaves as often does not want it. */
#define RESUMES_MAX 3

static int
tell(struct relay *relay, const char *what, struct error *error)
{
	if (relay_await_reply(relay, error) < 0)
		return -1;
	return relay_reply_class(relay) == 2 ? 0
	    : relay_unexpected(relay, what, error);
}

static int
tell_envelope(struct relay *relay, const struct envelope *envelope, size_t n,
    struct error *error)
{
	struct smtp_client *client = &relay->client;
	struct smtp_reply verdict;

	smtp_client_mail(client, envelope);
	if (tell(relay, "the second MAIL", error) < 0)
		return -1;
	relay->mail_sent = true;
	for (size_t i = 0; i < n; i++) {
		if (!envelope->recipients[i].relayed)
			continue;
		if (!relay_can_carry(relay, envelope, i, &verdict))
			return error_set(error, ERROR_SYSTEM,
			    "%s does not offer any more what it did",
			    relay->account->hop.host);
		smtp_client_rcpt(client, &envelope->recipients[i]);
		if (tell(relay, "the second RCPT", error) < 0)
			return -1;
	}
	return 0;
}

int
relay_resume(struct relay *relay, const struct envelope *envelope, size_t n,
    struct error *error)
{
	const struct account *account = relay->lost;
	enum relay_stage stage;

	relay->lost = NULL;
	if (relay->resumed++ == RESUMES_MAX)
		error_set(error, ERROR_SYSTEM, "%s leaves again and again",
		    account->hop.host);
	else if (relay_open_connection(relay, account, &stage, error) == 0 &&
	    tell_envelope(relay, envelope, n, error) == 0)
		return 0;
	relay_drop(relay, NULL);
	relay->lost = NULL;
	relay->broken = true;
	return -1;
}
