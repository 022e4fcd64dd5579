/*
 * deadline.c - which octets give a peer more time, and which do not.
 */
#include "protocol/deadline.h"

void
deadline_init(struct deadline *deadline, unsigned timeout)
{
	*deadline = (struct deadline){ .timeout = (int64_t)timeout * 1000 };
}

/* Each KiB earns a second; octets that come one by one earn it too. */
static int64_t
earn(int64_t until, uint32_t *credit, size_t octets, int64_t most)
{
	uint64_t sum = *credit + (uint64_t)octets;
	uint64_t milliseconds = sum * 1000 / 1024;

	*credit = (uint32_t)(sum - milliseconds * 1024 / 1000);
	until += (int64_t)milliseconds;
	return until < most ? until : most;
}

int64_t
deadline_read(struct deadline *deadline, const struct wire *wire, int64_t now)
{
	bool mid_line = !wire->text && wire_mid_line(wire);
	bool fresh = deadline->read == 0 || wire->lines != deadline->lines ||
	    wire->text != deadline->in_text;

	deadline->writing = false;
	/* Idle, or a first octet that has just come: the time begins. */
	if (!wire->text && (!mid_line || !deadline->in_command))
		fresh = true;
	if (fresh)
		deadline->read = now + deadline->timeout;
	deadline->lines = wire->lines;
	deadline->in_text = wire->text;
	deadline->in_command = mid_line;
	return deadline->read;
}

void
deadline_came(struct deadline *deadline, const struct wire *wire,
    size_t octets, int64_t now)
{
	if (wire->text)
		deadline->read = earn(deadline->read, &deadline->read_credit,
		    octets, now + deadline->timeout);
}

int64_t
deadline_write(struct deadline *deadline, int64_t now)
{
	if (!deadline->writing) {
		deadline->writing = true;
		deadline->write = now + deadline->timeout;
	}
	return deadline->write;
}

void
deadline_went(struct deadline *deadline, size_t octets, int64_t now)
{
	deadline->write = earn(deadline->write, &deadline->write_credit,
	    octets, now + deadline->timeout);
}

void
deadline_resume(struct deadline *deadline, int64_t now)
{
	if (now > deadline->write)
		deadline->writing = false;
}
