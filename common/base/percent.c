/*
 * percent.c - undoing %XX.
 */
#include "base/percent.h"

#include <string.h>

#include "base/slice.h"

static int
hex_value(char c)
{
	c = slice_lower(c);
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
percent_decode(char *word)
{
	char *out = word;

	for (const char *in = word; (in = strchr(in, '%')) != NULL; in += 3) {
		int high = hex_value(in[1]);
		if (high < 0 || hex_value(in[2]) < 0 ||
		    (high == 0 && hex_value(in[2]) == 0))
			return false;
	}
	for (const char *in = word; *in != '\0'; in++) {
		if (*in == '%') {
			*out++ = (char)(hex_value(in[1]) * 16 +
			    hex_value(in[2]));
			in += 2;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
	return true;
}
