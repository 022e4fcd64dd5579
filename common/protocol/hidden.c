/*
 * hidden.c - lists of extensions.
 */
#include "protocol/hidden.h"

#include <stdio.h>

bool
hidden_has(const char *list, struct slice keyword)
{
	struct slice rest = slice_from(list), word;

	while (rest.len > 0 && keyword.len > 0) {
		slice_cut(rest, ',', &word, &rest);
		if (slice_equal_nocase(slice_trim(word), keyword))
			return true;
	}
	return false;
}

static bool
is_known(struct slice word, const struct slice *known, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_equal_nocase(word, known[i]))
			return true;
	return false;
}

bool
hidden_check(const char *list, const struct slice *known, size_t n, char *why,
    size_t size)
{
	struct slice rest = slice_from(list), word;
	size_t len;

	do {
		slice_cut(rest, ',', &word, &rest);
		if (!is_known(slice_trim(word), known, n))
			goto unknown;
	} while (rest.len > 0);
	return true;
unknown:
	len = (size_t)snprintf(why, size, "must be of");
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(why + len, size - len, " %.*s",
		    SLICE_ARG(known[i]));
	return false;
}
