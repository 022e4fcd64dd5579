/*
 * pattern: --maildir PATTERN and the names that go into it.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

/* Does the maildir depend on a name (%u, %n, %d)? */
bool pattern_has_name(const char *pattern);

/* Are all its % signs followed by u, l, n, d or %? */
bool pattern_is_valid(const char *pattern);

/*
 * The path for a name: %u the name, %n what stands before its last @, %d
 * what stands after it (else hostname), all lower-cased, %% a %; %l is the
 * login's name, and is the same as %u where pattern_set_login did not make
 * it another. What
 * becomes part of the path must be 1 to 255 octets without '/', NUL and
 * control characters and not begin with '.': ERROR_PEER if not.
 */
int pattern_expand(const char *pattern, struct slice name,
    const char *hostname, char *path, size_t size, struct error *error);

/* Is there a %l in it? */
bool pattern_has_login(const char *pattern);

/*
 * Writes the pattern of one session to out: each %l is login, in lower case,
 * which may be what %u may be: ERROR_PEER if not, ERROR_CONFIG where it does
 * not fit. The rest is as it was.
 */
int pattern_set_login(const char *pattern, struct slice login, char *out,
    size_t size, struct error *error);

/* How much of any such path is the same for all names: up to the slash before
 * what depends on one, or 0. */
size_t pattern_fixed(const char *pattern);

#endif
