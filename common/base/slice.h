/*
 * slice: octets somewhere else, a pointer and a length.
 *
 * Strings from the network are slices: they may hold any octet, NUL
 * included, and end where their length says. A slice owns nothing; whoever
 * hands one out says how long its octets live. Comparisons without case are
 * those of ASCII, whatever the locale.
 */
#ifndef SLICE_H
#define SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *data;
	size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

/* Printf arguments for "%.*s". */
#define SLICE_ARG(s) ((int)(s).len), ((s).len > 0 ? (s).data : "")

/* The octets of a NUL-terminated string; NULL gives the empty slice. */
struct slice slice_from(const char *string);

bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b);
/* Less than 0, 0 or more: octet by octet, as strcmp does. */
int slice_compare(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_starts_with_nocase(struct slice s, struct slice prefix);
bool slice_ends_with(struct slice s, struct slice suffix);

/* What is left of s without its first n octets (n may be more than it has). */
struct slice slice_skip(struct slice s, size_t n);

/*
 * Splits s at the first separator: what stands before it and after it.
 * Without one, everything is before, after is empty, and the result is
 * false. before and after may be the same object as the one s came from.
 */
bool slice_cut(struct slice s, char separator, struct slice *before,
    struct slice *after);

/* s without blanks and tabs at both ends. */
struct slice slice_trim(struct slice s);

/*
 * A decimal number, digits only, leading zeros allowed. False where s is
 * empty, has any other octet, or says more than max.
 */
bool slice_to_number(struct slice s, uint64_t max, uint64_t *number);

/* One octet in lower case, by ASCII. */
char slice_lower(char c);

/* Has s a control character (below 0x20, or 0x7F)? */
bool slice_has_control(struct slice s);

/* Are all octets of s below 0x80? */
bool slice_is_ascii(struct slice s);

/* Is s well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)? */
bool slice_is_utf8(struct slice s);

#endif
