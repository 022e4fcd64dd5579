/*
 * smtp_paths.c - MAIL and RCPT: who may send as whom, and where the mail of
 * each recipient goes.
 */
#include "smtp_program.h"

#include <stdio.h>
#include <string.h>

#include "senders.h"
#include "system/clock.h"

struct smtp_reply
smtp_error_reply(const struct error *why)
{
	const struct error_meaning *meaning = error_meaning(why->kind);

	return (struct smtp_reply){ meaning->smtp_code,
		meaning->smtp_enhanced, slice_from(meaning->smtp_text) };
}

void
smtp_forget_transaction(struct smtp_program *p)
{
	places_reset(&p->places);
	p->account = NULL;
	p->relayed = 0;
	p->discards = false;
}

/* ---- MAIL ---- */

/* May the login send as this sender? If not, it is refused. */
static bool
check_sender(struct smtp_program *p)
{
	static const struct smtp_reply foreign = { 553, "5.7.1",
		SLICE("This is not your address, log in as its owner") };
	const struct envelope *envelope = &p->smtp.envelope;
	struct smtp_reply reply = foreign;
	struct error why;

	if (!p->smtp.authenticated || p->settings.any_sender)
		return true;
	int outcome = senders_is_foreign(&p->places,
	    (struct slice){ p->user, p->user_len }, envelope->reverse_path,
	    &why);
	if (outcome == 0)
		return true;
	if (outcome < 0) {
		log_error(&why);
		reply = smtp_error_reply(&why);
	}
	smtp_log_refused_sender(p, &reply);
	smtp_reply(&p->smtp, &reply);
	return false;
}

/* A filter refuses the sender. */
static void
refuse_sender(struct smtp_program *p)
{
	smtp_log_refused_sender(p, &p->hooked.reply);
	smtp_reply(&p->smtp, &p->hooked.reply);
}

/* A transaction begins: with a login it is for the relay too. */
int
smtp_serve_mail(struct smtp_program *p, struct error *error)
{
	const struct envelope *envelope = &p->smtp.envelope;

	smtp_forget_transaction(p);
	p->began = clock_now();
	snprintf(p->id, sizeof(p->id), "%s.%u", log_session(),
	    ++p->transactions);
	if (!check_sender(p))
		return 0;
	if (p->milters.n > 0) {
		if (program_flush(&p->program, &p->smtp.wire, error) < 0)
			return -1;
		if (smtp_milters_mail(p) == HOOK_REFUSE) {
			refuse_sender(p);
			return 0;
		}
		p->discards = p->hooked.decision == HOOK_DROP;
	}
	if (p->settings.relay != NULL && p->smtp.authenticated) {
		p->account = accounts_find(&p->accounts,
		    envelope->reverse_path,
		    (struct slice){ p->user, p->user_len });
		envelope_copy_sender(&p->relayed_on, envelope);
	}
	smtp_accept(&p->smtp);
	return 0;
}

/* ---- RCPT ---- */

/* Refuses the last recipient, and forgets its places. */
static void
refuse(struct smtp_program *p, const struct smtp_reply *reply,
    const char *reason)
{
	places_drop(&p->places, p->smtp.envelope.n - 1);
	smtp_log_refused_recipient(p, reply, reason);
	smtp_reply(&p->smtp, reply);
}

static void
accept_recipient(struct smtp_program *p)
{
	if (p->hooked.reply.text.len > 0)
		smtp_reply(&p->smtp, &p->hooked.reply);
	else
		smtp_accept(&p->smtp);
}

/* The hooks have decided about the last recipient. */
static void
answer_as_hooked(struct smtp_program *p)
{
	struct envelope *envelope = &p->smtp.envelope;
	char text[512];

	if (p->hooked.decision == HOOK_REFUSE) {
		refuse(p, &p->hooked.reply,
		    smtp_hooks_reason(p, text, sizeof(text)));
		return;
	}
	envelope->recipients[envelope->n - 1].dropped = true;
	accept_recipient(p);
}

/* Is it among those that the next hop has taken in this transaction? */
static bool
is_relayed(const struct envelope *relayed_on, const struct address *address)
{
	for (size_t i = 0; i < relayed_on->n; i++)
		if (slice_equal(relayed_on->recipients[i].local,
		    address->local) && slice_equal_nocase(
		    relayed_on->recipients[i].domain, address->domain))
			return true;
	return false;
}

/* Puts an address to the next hop, with what was said of the recipient.
 * joined: an alias stands for it and for the one before. */
static void
relay_address(struct smtp_program *p, const struct address *address,
    bool joined, struct smtp_reply *verdict, struct error *why)
{
	static const struct smtp_reply no_account = { 550, "5.7.1",
		SLICE("No relay account takes mail from this sender") };
	static const struct smtp_reply too_many = { 452, "4.5.3",
		SLICE("Too many recipients, send the rest in another "
		"message") };
	static const struct smtp_reply needs_utf8 = { 553, "5.6.7",
		SLICE("An alias stands for an address that needs SMTPUTF8") };
	const struct envelope *envelope = &p->smtp.envelope;
	struct envelope *relayed_on = &p->relayed_on;

	if (p->account == NULL) {
		*verdict = no_account;
		return;
	}
	if (!envelope->utf8 && (!slice_is_ascii(address->local) ||
	    !slice_is_ascii(address->domain))) {
		*verdict = needs_utf8;
		return;
	}
	if (!envelope_add_recipient(relayed_on, address->local,
	    address->domain)) {
		*verdict = too_many;
		return;
	}
	relayed_on->recipients[relayed_on->n - 1].joined = joined;
	if (envelope_set_notify(relayed_on,
	    &envelope->recipients[envelope->n - 1].dsn))
		relay_recipient(&p->relay, p->account, relayed_on,
		    relayed_on->n - 1, verdict, why);
	else
		*verdict = too_many;
	if (verdict->code / 100 == 2)
		p->relayed++;
	else
		envelope_drop_recipient(relayed_on);
}

/*
 * The next hop refused one of those an alias stands for, and has accepted the
 * others so far, from number start on: they are taken back. Where there were
 * too many of them, and no others, it would be so at each attempt.
 */
static void
refuse_alias(struct smtp_program *p, size_t start, struct smtp_reply *verdict,
    const char *reason)
{
	static const struct smtp_reply never = { 554, "5.5.3",
		SLICE("An alias stands for more addresses than the next hop "
		"takes in one message") };
	struct envelope *relayed_on = &p->relayed_on;
	bool some = relayed_on->n > start;

	if (some && start == 0 && verdict->code == 452 &&
	    strcmp(verdict->enhanced, "4.5.3") == 0)
		*verdict = never;
	while (relayed_on->n > start)
		envelope_drop_recipient(relayed_on);
	if (some)
		relay_take_back(&p->relay, start);
	p->relayed = start;
	refuse(p, verdict, reason);
}

/* Puts the last recipient's addresses elsewhere to the next hop, up to one
 * that it refuses: then the recipient is refused. */
static int
relay_elsewhere(struct smtp_program *p, struct error *error)
{
	const struct places *places = &p->places;
	size_t start = p->relayed_on.n;
	struct smtp_reply verdict = { .code = 0 };
	struct error why = { .kind = ERROR_NONE };

	if (program_flush(&p->program, &p->smtp.wire, error) < 0)
		return -1;
	for (size_t i = 0; i < places->n_elsewhere; i++) {
		const struct places_elsewhere *one = &places->elsewhere[i];

		if (one->by_alias &&
		    is_relayed(&p->relayed_on, &one->address))
			continue;
		relay_address(p, &one->address, p->relayed_on.n > start,
		    &verdict, &why);
		if (verdict.code / 100 != 2) {
			refuse_alias(p, start, &verdict,
			    why.kind != ERROR_NONE ? why.text : "");
			return 0;
		}
	}
	/* The client hears the next hop's own words of the address that it
	 * said itself. */
	if (places->elsewhere[0].by_alias)
		accept_recipient(p);
	else
		smtp_reply(&p->smtp, &verdict);
	return 0;
}

/* Is a part of the last recipient's mail for somebody elsewhere, and by an
 * alias, so that a copy here does not do? */
static bool
must_be_relayed(const struct places *places)
{
	for (size_t i = 0; i < places->n_elsewhere; i++)
		if (places->elsewhere[i].by_alias)
			return true;
	return false;
}

/* Why nobody gets the last recipient's mail. */
static const struct smtp_reply *
refusal(const struct smtp_program *p)
{
	static const struct smtp_reply no_relay = { 550, "5.7.1",
		SLICE("Relaying needs a login") };
	static const struct smtp_reply no_login = { 550, "5.7.1",
		SLICE("Mail is kept for those who log in") };
	static const struct smtp_reply forwarded = { 550, "5.7.1",
		SLICE("Mail for this address is sent on, which needs a "
		"login") };
	static const struct smtp_reply unknown = { 550, "5.1.1",
		SLICE("There is no such mailbox here") };
	const struct places *places = &p->places;

	if (must_be_relayed(places))
		return &forwarded;
	if (places->setting != NULL && places->pattern == NULL)
		return &no_login;
	return places_exist(places) ? &unknown : &no_relay;
}

/* Its places are found. Who has a maildir of their own is at home here; one
 * for all keeps a copy of what is relayed. */
static int
answer_as_placed(struct smtp_program *p, struct error *error)
{
	const struct places *places = &p->places;
	bool relays = p->settings.relay != NULL && p->smtp.authenticated;
	bool kept = places->n > 0 &&
	    places->items[places->n - 1].who == p->smtp.envelope.n - 1;

	if (places->nobody > 0)
		log_reason(LOG_KIND_NOTICE, "an alias of %.*s has a target "
		    "who is nobody here, --check-config says which",
		    SLICE_ARG(p->smtp.envelope.recipients[
		    p->smtp.envelope.n - 1].path));
	if (relays && places->n_elsewhere > 0)
		return relay_elsewhere(p, error);
	if ((kept || p->only_shown) && !must_be_relayed(places))
		accept_recipient(p);
	else
		refuse(p, refusal(p), "");
	return 0;
}

int
smtp_serve_recipient(struct smtp_program *p, struct error *error)
{
	struct smtp *smtp = &p->smtp;
	size_t i = smtp->envelope.n - 1;
	struct error why;

	p->hooked.reply.text = slice_from("");
	if (p->milters.n > 0 && !p->discards) {
		if (program_flush(&p->program, &smtp->wire, error) < 0)
			return -1;
		if (smtp_milters_recipient(p) == HOOK_REFUSE) {
			answer_as_hooked(p);
			return 0;
		}
		/* One recipient's filter discards all of the message. */
		p->discards |= p->hooked.decision == HOOK_DROP;
	}
	if (p->hooks.recipient.n > 0) {
		if (program_flush(&p->program, &smtp->wire, error) < 0)
			return -1;
		if (smtp_hooks_recipient(p) != HOOK_GO_ON) {
			answer_as_hooked(p);
			return 0;
		}
	}
	if (places_find(&p->places, &smtp->envelope.recipients[i], i,
	    &why) == 0)
		return answer_as_placed(p, error);
	/* Its places cannot be found now: refuses it for now. */
	const struct smtp_reply reply = smtp_error_reply(&why);
	log_error(&why);
	refuse(p, &reply, why.text);
	return 0;
}
