/*
 * deadline: how long a peer may take, as rules without a clock.
 *
 * A command must be whole within the timeout of its first octet, and waiting
 * for that octet has the same limit. Message text (wire->text) and output
 * have a budget instead, the timeout at first, and each KiB that passes earns
 * a second, up to the timeout: so a byte a minute holds no session, and any
 * useful line speed may take as long as it needs.
 *
 * All times are milliseconds of one clock of the caller's.
 */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/wire.h"

struct deadline {
	int64_t timeout;
	int64_t read;  /* as deadline_read left it */
	int64_t write; /* as deadline_write left it */

	/* deadline.c's own. */
	uint32_t read_credit; /* octets that have not earned time yet */
	uint32_t write_credit;
	unsigned lines;   /* wire->lines when read was set */
	bool in_command;  /* read counts from a first octet */
	bool in_text;
	bool writing;
};

/* Begins anew, with so many seconds. */
void deadline_init(struct deadline *deadline, unsigned timeout);

/* Before a wait for input: until when. */
int64_t deadline_read(struct deadline *deadline, const struct wire *wire,
    int64_t now);
/* So many octets came. */
void deadline_came(struct deadline *deadline, const struct wire *wire,
    size_t octets, int64_t now);

/* Before a wait for the peer to take output: until when. Output is over with
 * the next deadline_read. */
int64_t deadline_write(struct deadline *deadline, int64_t now);
/* So many octets were taken. */
void deadline_went(struct deadline *deadline, size_t octets, int64_t now);
/* Output goes on after we were elsewhere: that is not the peer's time. */
void deadline_resume(struct deadline *deadline, int64_t now);

#endif
