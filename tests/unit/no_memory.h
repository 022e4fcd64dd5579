/*
 * no_memory: memory that runs out when a unit test says so. The test is linked
 * with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc (Makefile).
 */
#ifndef NO_MEMORY_H
#define NO_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static struct {
	unsigned failing; /* the one that fails, counted from 1; 0: none */
	unsigned n;       /* counted so far, where one is to fail */
} allocations;

static bool
allocation_fails(void)
{
	if (allocations.failing == 0 || ++allocations.n != allocations.failing)
		return false;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : __real_realloc(old, size);
}

#endif
