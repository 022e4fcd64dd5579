/*
 * relay_resume.c - a next hop is told the envelope again: one that left before
 * it had any of the text, or has a recipient that was taken back.
 *
 * Next hops send away who is silent for some minutes, and an upload may take
 * longer than that: without this such mail would fail at each attempt. And
 * SMTP has no command to take back one recipient (RFC 5321 4.1.1.5).
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

/* One that was opened again may offer less. */
static int
expect_carrying(const struct relay *relay, const struct envelope *envelope,
    size_t n, struct error *error)
{
	struct smtp_reply verdict;

	for (size_t i = 0; i < n; i++)
		if (envelope->recipients[i].relayed &&
		    !relay_can_carry(relay, envelope, i, &verdict))
			return error_set(error, ERROR_SYSTEM,
			    "%s does not offer any more what it did",
			    relay->account->hop.host);
	return 0;
}

static int
tell_envelope(struct relay *relay, const struct envelope *envelope, size_t n,
    struct error *error)
{
	struct smtp_client *client = &relay->client;

	/* Before MAIL, which says some of it (RFC 6531 3.5). */
	if (expect_carrying(relay, envelope, n, error) < 0)
		return -1;
	smtp_client_mail(client, envelope);
	if (tell(relay, "the second MAIL", error) < 0)
		return -1;
	relay->mail_sent = true;
	for (size_t i = 0; i < n; i++) {
		if (!envelope->recipients[i].relayed)
			continue;
		smtp_client_rcpt(client, &envelope->recipients[i]);
		if (tell(relay, "the second RCPT", error) < 0)
			return -1;
	}
	return 0;
}

/* 0: it waits for MAIL. */
static int
begin_again(struct relay *relay, const struct account *account,
    struct error *error)
{
	enum relay_stage stage;

	if (relay->account != NULL) {
		smtp_client_rset(&relay->client);
		if (tell(relay, "RSET", error) == 0)
			return 0;
		relay_drop(relay, NULL);
		relay->lost = NULL;
		relay->broken = false;
	}
	if (relay->resumed++ == RESUMES_MAX)
		return error_set(error, ERROR_SYSTEM,
		    "%s leaves again and again", account->hop.host);
	return relay_open_connection(relay, account, &stage, error);
}

int
relay_resume(struct relay *relay, const struct envelope *envelope, size_t n,
    struct error *error)
{
	const struct account *account = relay->lost;

	relay->lost = NULL;
	if (begin_again(relay, account, error) == 0 &&
	    tell_envelope(relay, envelope, n, error) == 0)
		return 0;
	relay_drop(relay, NULL);
	relay->lost = NULL;
	relay->broken = true;
	return -1;
}
