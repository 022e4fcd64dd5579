/*
 * timers.c - a binary heap of pointers.
 */
#include "library/timers.h"

#include <stdlib.h>

#define FIRST_SIZE 64

static void
put(struct timers *timers, size_t place, struct timer *timer)
{
	timers->heap[place - 1] = timer;
	timer->place = place;
}

/* Moves it to where its key belongs. */
static void
settle(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;

	while (place > 1 && timers->heap[place / 2 - 1]->key > timer->key) {
		put(timers, place, timers->heap[place / 2 - 1]);
		place /= 2;
	}
	for (;;) {
		size_t child = 2 * place;

		if (child < timers->n && timers->heap[child]->key <
		    timers->heap[child - 1]->key)
			child++;
		if (child > timers->n ||
		    timers->heap[child - 1]->key >= timer->key)
			break;
		put(timers, place, timers->heap[child - 1]);
		place = child;
	}
	put(timers, place, timer);
}

int
timers_add(struct timers *timers, struct timer *timer, int64_t due)
{
	if (timers->n == timers->size) {
		size_t size = timers->size == 0 ? FIRST_SIZE
		    : 2 * timers->size;
		struct timer **heap = realloc(timers->heap,
		    size * sizeof(*heap));

		if (heap == NULL)
			return -1;
		timers->heap = heap;
		timers->size = size;
	}
	*timer = (struct timer){ .due = due, .key = due };
	put(timers, ++timers->n, timer);
	settle(timers, timer);
	return 0;
}

void
timers_remove(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;
	struct timer *last;

	if (place == 0)
		return;
	timer->place = 0;
	last = timers->heap[--timers->n];
	if (last == timer)
		return;
	put(timers, place, last);
	settle(timers, last);
}

void
timers_set(struct timers *timers, struct timer *timer, int64_t due)
{
	timer->due = due;
	if (due >= timer->key || timer->place == 0)
		return;
	timer->key = due;
	settle(timers, timer);
}

struct timer *
timers_take(struct timers *timers, int64_t now)
{
	while (timers->n > 0 && timers->heap[0]->key <= now) {
		struct timer *timer = timers->heap[0];
		int64_t due = timer->due;

		if (due <= now)
			timer->due = INT64_MAX;
		timer->key = timer->due;
		settle(timers, timer);
		if (due <= now)
			return timer;
	}
	return NULL;
}

int64_t
timers_next(const struct timers *timers)
{
	return timers->n == 0 ? INT64_MAX : timers->heap[0]->key;
}

void
timers_free(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){ .heap = NULL };
}
