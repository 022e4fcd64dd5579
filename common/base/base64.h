/* base64: RFC 4648 section 4. */
#ifndef BASE64_H
#define BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* What n octets make. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/*
 * Strictly: whole groups of four, padding only at the end. False for anything
 * else. out has room for 3 octets a group, and may be where the text is: no
 * octet is written before its group was read.
 */
bool base64_decode(struct slice text, char *out, size_t *len);

/* The length of what was written to out; 0 where it does not fit. */
size_t base64_encode(struct slice data, char *out, size_t size);

#endif
