/*
 * clock: the time that deadlines and durations are measured in.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC, which nobody sets. */
int64_t clock_now(void);

#endif
