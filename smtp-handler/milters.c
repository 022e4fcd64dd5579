/*
 * milters.c - each step of a session up to the message, told to each filter
 * that wants it; and what comes of an answer.
 */
#include "milters_private.h"

#include <stdio.h>

#include "system/log.h"

const struct smtp_reply milters_later = { 451, "4.7.1",
	SLICE("Try again later") };
static const struct smtp_reply refused = { 550, "5.7.1", SLICE("Refused") };

void
milters_init(struct milters *milters, const struct option_list *list,
    bool accept)
{
	/* Of the room for all that there may be, only this is touched. */
	milters->n = list->count;
	milters->accept = accept;
	for (size_t i = 0; i < list->count; i++)
		milters->links[i] = (struct milter_link){
		    .address = list->items[i] };
}

/* ---- what comes of an answer ---- */

void
milters_go_on(struct hook_reply *made)
{
	hook_reply_make(made, 0, slice_from(""), "");
}

void
milters_refuse(struct hook_reply *made, const struct smtp_reply *reply)
{
	made->decision = HOOK_REFUSE;
	made->reply = *reply;
}

/* The filter is of no use now: what --milter-default says. */
void
milters_give_up(struct milters *milters, struct milter_link *link,
    const struct error *why, struct hook_reply *made)
{
	log_begin(LOG_KIND_MILTER_FAILED);
	log_add(LOG_FIELD_COMMAND, slice_from(link->address));
	log_add(LOG_FIELD_REASON, slice_from(why->text));
	log_send();
	milter_link_close(link);
	if (milters->accept)
		link->accepted = true;
	else
		milters_refuse(made, &milters_later);
}

/* An answer that is neither to go on, nor a change that was made. */
void
milters_take_answer(struct milters *milters, struct milter_link *link,
    enum milter_step step, enum milter_answer answer, struct hook_reply *made)
{
	struct error why;

	switch (answer) {
	case MILTER_ACCEPT:
		link->accepted = true;
		link->indifferent = step <= MILTER_HELO;
		break;
	case MILTER_REJECT:
		milters_refuse(made, &refused);
		break;
	case MILTER_TEMPFAIL:
		milters_refuse(made, &milters_later);
		break;
	case MILTER_REPLY:
		milters_refuse(made, &link->milter.reply);
		break;
	case MILTER_DISCARD:
		/* It answers nothing more about that message. */
		link->accepted = true;
		made->decision = HOOK_DROP;
		made->reply = (struct smtp_reply){ 250, step == MILTER_RCPT
		    ? "2.1.5" : "2.0.0", slice_from("") };
		break;
	case MILTER_UNOFFERED:
		error_set(&why, ERROR_SYSTEM, "it wants %s, which is not "
		    "done", link->milter.what);
		milters_give_up(milters, link, &why, made);
		/* Not what it wanted, and so not as if it had been done. */
		milters_refuse(made, &milters_later);
		break;
	default:
		break;
	}
}

bool
milters_make_room(struct milters *milters, struct milter_link *link,
    struct hook_reply *made)
{
	struct error why;

	if (buf_contents(&link->milter.wire.out).len == 0 ||
	    milter_link_flush(link, &why) == 0)
		return true;
	milters_give_up(milters, link, &why, made);
	return false;
}

/* The step was put: its answer, if there is one. */
void
milters_ask(struct milters *milters, struct milter_link *link,
    enum milter_step step, struct hook_reply *made)
{
	enum milter_answer answer;
	struct error why;

	if (!milter_answers(&link->milter, step))
		return;
	if (milter_link_ask(link, step, &answer, &why) < 0)
		milters_give_up(milters, link, &why, made);
	else
		milters_take_answer(milters, link, step, answer, made);
}

/* Does the filter want to be told more about this message? */
bool
milters_goes_on(const struct milter_link *link, const struct hook_reply *made)
{
	return made->decision == HOOK_GO_ON && link->is_open &&
	    !link->accepted && !link->indifferent;
}

/* ---- macros ---- */

/* sendmail(8)'s names for what is known; "_" is the peer. */
void
milters_put_macros(struct milter_link *link, const struct milters_facts *facts,
    enum milter_step step)
{
	const struct trace *trace = facts->trace;
	const struct envelope *envelope = facts->envelope;
	struct slice address = slice_from(trace->address);
	char peer[128];

	snprintf(peer, sizeof(peer), address.len > 0 ? "[%s%s]" : "localhost",
	    trace->address_is_ipv6 ? "IPv6:" : "", trace->address);
	const struct milter_macro connect[] = {
		{ "j", slice_from(trace->hostname) },
		{ "_", slice_from(peer) }, { "{client_addr}", address },
	};
	const struct milter_macro helo[] = {
		{ "{tls_version}", slice_from(trace->tls_version) },
		{ "{cipher}", slice_from(trace->tls_cipher) },
	};
	const struct milter_macro mail[] = {
		{ "i", slice_from(trace->id) },
		{ "{auth_type}", slice_from(facts->mechanism) },
		{ "{auth_authen}", facts->user },
		{ "{mail_addr}", envelope->reverse_path },
	};
	const struct milter_macro recipient[] = {
		{ "{rcpt_addr}", envelope->n > 0
		    ? envelope->recipients[envelope->n - 1].path
		    : slice_from("") },
	};

	if (step == MILTER_CONNECT)
		milter_put_macros(&link->milter, step, connect, 3);
	else if (step == MILTER_HELO)
		milter_put_macros(&link->milter, step, helo, 2);
	else if (step == MILTER_RCPT)
		milter_put_macros(&link->milter, step, recipient, 1);
	else
		milter_put_macros(&link->milter, step, mail,
		    step == MILTER_MAIL ? 4 : 1);
}

/* ---- MAIL and RCPT ---- */

/* Who the client is. */
static void
greet(struct milters *milters, struct milter_link *link,
    const struct milters_facts *facts, struct hook_reply *made)
{
	const struct trace *trace = facts->trace;
	struct slice address = slice_from(trace->address);
	char name[80];

	snprintf(name, sizeof(name), address.len > 0 ? "[%s]" : "localhost",
	    trace->address);
	link->greeted = true;
	if (milter_wants(&link->milter, MILTER_CONNECT)) {
		milters_put_macros(link, facts, MILTER_CONNECT);
		milter_put_connect(&link->milter, slice_from(name), address,
		    trace->address_is_ipv6, facts->port);
		milters_ask(milters, link, MILTER_CONNECT, made);
	}
	if (!milters_goes_on(link, made) ||
	    !milter_wants(&link->milter, MILTER_HELO))
		return;
	milters_put_macros(link, facts, MILTER_HELO);
	milter_put_helo(&link->milter, trace->helo);
	milters_ask(milters, link, MILTER_HELO, made);
}

static void
mail_one(struct milters *milters, struct milter_link *link,
    const struct milters_facts *facts, struct hook_reply *made)
{
	struct error why;

	link->accepted = link->indifferent;
	if (link->accepted)
		return;
	if (!link->is_open && milter_link_open(link, &why) < 0) {
		milters_give_up(milters, link, &why, made);
		return;
	}
	if (!link->greeted)
		greet(milters, link, facts, made);
	if (!milters_goes_on(link, made)) {
		/* It refused the client: it is asked anew with each MAIL. */
		if (made->decision != HOOK_GO_ON)
			milter_link_close(link);
		return;
	}
	link->in_message = true;
	milters_put_macros(link, facts, MILTER_MAIL);
	if (!milter_wants(&link->milter, MILTER_MAIL))
		return;
	milter_put_path(&link->milter, MILTER_MAIL,
	    facts->envelope->reverse_path);
	milters_ask(milters, link, MILTER_MAIL, made);
}

void
milters_mail(struct milters *milters, const struct milters_facts *facts,
    struct hook_reply *made, const char **by)
{
	*by = NULL;
	milters_go_on(made);
	milters_abort(milters);
	for (size_t i = 0; i < milters->n; i++) {
		mail_one(milters, &milters->links[i], facts, made);
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = milters->links[i].address;
		return;
	}
}

void
milters_recipient(struct milters *milters, const struct milters_facts *facts,
    struct hook_reply *made, const char **by)
{
	const struct envelope *envelope = facts->envelope;

	*by = NULL;
	milters_go_on(made);
	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		if (!milters_goes_on(link, made) ||
		    !milter_wants(&link->milter, MILTER_RCPT))
			continue;
		if (milters_make_room(milters, link, made)) {
			milters_put_macros(link, facts, MILTER_RCPT);
			milter_put_path(&link->milter, MILTER_RCPT,
			    envelope->recipients[envelope->n - 1].path);
			milters_ask(milters, link, MILTER_RCPT, made);
		}
		if (made->decision == HOOK_GO_ON)
			continue;
		*by = link->address;
		return;
	}
}

/* ---- the end ---- */

void
milters_abort(struct milters *milters)
{
	struct error why;

	for (size_t i = 0; i < milters->n; i++) {
		struct milter_link *link = &milters->links[i];

		if (!link->is_open || !link->in_message)
			continue;
		link->in_message = false;
		if (!MILTERS_PUT(link, milter_put_abort(&link->milter), &why) ||
		    milter_link_flush(link, &why) < 0)
			milter_link_close(link);
	}
}

void
milters_close(struct milters *milters)
{
	for (size_t i = 0; i < milters->n; i++)
		milter_link_close(&milters->links[i]);
}
