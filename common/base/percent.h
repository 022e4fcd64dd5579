/* percent: octets written as %XX (RFC 3986 2.1). */
#ifndef PERCENT_H
#define PERCENT_H

#include <stdbool.h>

/* What is wrong where percent_decode says so, after the name of what it was. */
#define PERCENT_FAULT " has a '%' that is no %XX (write %25)"

/* Decodes a string in place. False, and nothing changed, for a % that is no
 * %XX and for one that would be NUL. */
bool percent_decode(char *word);

#endif
