/*
 * hidden: extensions that a tester wants to be without (--hide), as a list of
 * keywords with commas between them.
 */
#ifndef HIDDEN_H
#define HIDDEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Is the keyword in the list (NULL: none), whatever its case? An empty one is
 * not. */
bool hidden_has(const char *list, struct slice keyword);

/* Are all of the list among the n that are known? If not, *why says which are,
 * as in "must be ...". */
bool hidden_check(const char *list, const struct slice *known, size_t n,
    char *why, size_t size);

#endif
