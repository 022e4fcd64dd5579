/*
 * timers: who is due next, of many.
 *
 * A heap. Most times are only ever put off, with each command of a peer's:
 * that costs nothing here, for an entry may stand earlier than its owner is
 * due, and is put where it belongs when its turn comes.
 */
#ifndef TIMERS_H
#define TIMERS_H

#include <stddef.h>
#include <stdint.h>

/* What each owner has; zeroed at first. */
struct timer {
	int64_t due;  /* its own time */
	int64_t key;  /* where it stands in the heap: not later */
	size_t place; /* in the heap, counted from 1; 0: not in it */
};

struct timers {
	struct timer **heap;
	size_t n;
	size_t size;
};

/* 0, or -1 with errno: no memory. */
int timers_add(struct timers *timers, struct timer *timer, int64_t due);
void timers_remove(struct timers *timers, struct timer *timer);
void timers_set(struct timers *timers, struct timer *timer, int64_t due);

/* One that is due by now, whose due becomes INT64_MAX; or NULL. */
struct timer *timers_take(struct timers *timers, int64_t now);
/* When to look again, at the latest; INT64_MAX: never. */
int64_t timers_next(const struct timers *timers);

void timers_free(struct timers *timers);

#endif
