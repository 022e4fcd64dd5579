/*
 * envelope.c - keeping paths while a mail transaction lasts.
 * Layer 1.
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

bool
envelope_set_reverse_path(struct envelope *envelope, struct slice path)
{
	return keep(envelope, path, &envelope->reverse_path);
}

/* The piece of kept that part was of whole. */
static struct slice
same_part(struct slice kept, struct slice whole, struct slice part)
{
	if (part.len == 0)
		return slice_skip(kept, kept.len);
	return (struct slice){ kept.data + (part.data - whole.data),
		part.len };
}

bool
envelope_add_recipient(struct envelope *envelope, struct slice path,
    struct slice local, struct slice domain)
{
	struct envelope_recipient *recipient =
	    &envelope->recipients[envelope->n];

	if (envelope->n == envelope->max ||
	    !keep(envelope, path, &recipient->path))
		return false;
	recipient->local = same_part(recipient->path, path, local);
	recipient->domain = same_part(recipient->path, path, domain);
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

void
envelope_drop_recipient(struct envelope *envelope)
{
	assert(envelope->n > 0);
	envelope->n--;
	envelope->text_len -= envelope->recipients[envelope->n].path.len +
	    envelope->recipients[envelope->n].dsn.orcpt.len;
}
