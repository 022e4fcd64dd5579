/*
 * envelope.c - keeping paths while a mail transaction lasts.
 */
#include "protocol/envelope.h"

#include <assert.h>
#include <string.h>

void
envelope_init(struct envelope *envelope,
    struct envelope_recipient *recipients, size_t max, char *text,
    size_t text_size)
{
	*envelope = (struct envelope){
		.recipients = recipients, .max = max,
		.text = text, .text_size = text_size,
	};
	envelope_reset(envelope);
}

void
envelope_reset(struct envelope *envelope)
{
	envelope->reverse_path = slice_from("");
	envelope->size = 0;
	envelope->eight_bit = envelope->seven_bit = false;
	envelope->utf8 = envelope->require_tls = false;
	envelope->ret = ENVELOPE_RET_NONE;
	envelope->envid = slice_from("");
	envelope->n = 0;
	envelope->text_len = 0;
}

static bool
keep(struct envelope *envelope, struct slice s, struct slice *kept)
{
	if (s.len > envelope->text_size - envelope->text_len)
		return false;
	*kept = (struct slice){ envelope->text + envelope->text_len, s.len };
	if (s.len > 0)
		memcpy(envelope->text + envelope->text_len, s.data, s.len);
	envelope->text_len += s.len;
	return true;
}

/* local@domain in one piece; nothing of it where it does not fit. */
static bool
keep_mailbox(struct envelope *envelope, struct slice local,
    struct slice domain, struct slice *kept)
{
	size_t before = envelope->text_len;
	struct slice at = domain.len > 0 ? SLICE("@") : SLICE("");
	struct slice start, piece;

	if (!keep(envelope, local, &start) || !keep(envelope, at, &piece) ||
	    !keep(envelope, domain, &piece)) {
		envelope->text_len = before;
		return false;
	}
	*kept = (struct slice){ start.data, envelope->text_len - before };
	return true;
}

bool
envelope_set_reverse_path(struct envelope *envelope, struct slice local,
    struct slice domain)
{
	return keep_mailbox(envelope, local, domain, &envelope->reverse_path);
}

bool
envelope_add_recipient(struct envelope *envelope, struct slice local,
    struct slice domain)
{
	struct envelope_recipient *recipient =
	    &envelope->recipients[envelope->n];

	if (envelope->n == envelope->max ||
	    !keep_mailbox(envelope, local, domain, &recipient->path))
		return false;
	recipient->local = (struct slice){ recipient->path.data, local.len };
	recipient->domain = slice_skip(recipient->path,
	    recipient->path.len - domain.len);
	recipient->relayed = recipient->dropped = recipient->joined = false;
	recipient->dsn = (struct envelope_notify){ .notify = 0 };
	envelope->n++;
	return true;
}

bool
envelope_set_envid(struct envelope *envelope, struct slice envid)
{
	return keep(envelope, envid, &envelope->envid);
}

bool
envelope_set_notify(struct envelope *envelope,
    const struct envelope_notify *dsn)
{
	struct envelope_notify *kept;

	assert(envelope->n > 0);
	kept = &envelope->recipients[envelope->n - 1].dsn;
	kept->notify = dsn->notify;
	return keep(envelope, dsn->orcpt, &kept->orcpt);
}

bool
envelope_copy_sender(struct envelope *to, const struct envelope *from)
{
	struct envelope copy = *from;

	copy.recipients = to->recipients;
	copy.max = to->max;
	copy.text = to->text;
	copy.text_size = to->text_size;
	copy.n = copy.text_len = 0;
	*to = copy;
	return keep(to, from->reverse_path, &to->reverse_path) &&
	    keep(to, from->envid, &to->envid);
}

void
envelope_drop_recipient(struct envelope *envelope)
{
	assert(envelope->n > 0);
	envelope->n--;
	envelope->text_len -= envelope->recipients[envelope->n].path.len +
	    envelope->recipients[envelope->n].dsn.orcpt.len;
}
