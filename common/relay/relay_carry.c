/*
 * relay_carry.c - what the client asked for that a next hop cannot do.
 */
#include "relay/relay_private.h"

static bool
cannot_carry(unsigned code, const char *enhanced, const char *text,
    struct smtp_reply *verdict)
{
	*verdict = (struct smtp_reply){ code, enhanced, slice_from(text) };
	return false;
}

/* Is there anything in it that goes with SMTPUTF8 only (RFC 6531 3.5)? Some
 * clients say it with all mail where it is offered to them. */
static bool
has_utf8(const struct envelope *envelope, size_t i, bool dsn)
{
	const struct envelope_recipient *recipient = &envelope->recipients[i];

	return !slice_is_ascii(envelope->reverse_path) ||
	    !slice_is_ascii(recipient->path) ||
	    (dsn && !slice_is_ascii(recipient->dsn.orcpt));
}

bool
relay_can_carry(const struct relay *relay, const struct envelope *envelope,
    size_t i, struct smtp_reply *verdict)
{
	const struct smtp_extensions *offered = &relay->client.extensions;

	if (!offered->utf8 && has_utf8(envelope, i, offered->dsn))
		return cannot_carry(550, "5.6.7",
		    "The next hop takes no SMTPUTF8 mail", verdict);
	/* RFC 8689 4.2.1 */
	if (envelope->require_tls && !offered->requiretls)
		return cannot_carry(550, "5.7.30",
		    "The next hop does not offer REQUIRETLS", verdict);
	/* RFC 3461 5.2.2: it would be for us to notify the sender, and we
	 * make no messages. */
	if ((envelope->recipients[i].dsn.notify & ENVELOPE_NOTIFY_SUCCESS) !=
	    0 && !offered->dsn)
		return cannot_carry(550, "5.3.3",
		    "The next hop sends no delivery notifications", verdict);
	return true;
}

bool
relay_may_carry(const struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict)
{
	const struct next_hop *hop = &account->hop;

	if (envelope->require_tls && !(next_hop_has_tls(hop) && hop->verify))
		return cannot_carry(550, "5.7.30", "REQUIRETLS, and the next "
		    "hop is not under TLS with a verified certificate",
		    verdict);
	/* RFC 2033 4.2: each recipient gets a reply of its own after the
	 * text, and our client gets one for all. The client sends the rest
	 * in a transaction after this one (RFC 5321 4.5.3.1.10). Those that
	 * an alias stands for cannot be parted so. */
	if (next_hop_is_lmtp(hop) && relay->accepted &&
	    !envelope->recipients[i].joined)
		return cannot_carry(452, "4.5.3",
		    "One recipient at a time, please", verdict);
	return true;
}
