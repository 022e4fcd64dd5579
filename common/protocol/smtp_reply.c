/*
 * smtp_reply.c - what stands at the front of a reply's text.
 */
#include "protocol/smtp_reply.h"

#include <stdbool.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

size_t
smtp_reply_enhanced_len(struct slice text, unsigned code)
{
	size_t n = 1;

	if (text.len < 5 || text.data[0] != (char)('0' + code / 100))
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (n >= text.len || text.data[n++] != '.')
			return 0;
		while (n < text.len && digits < 3 && is_digit(text.data[n])) {
			n++;
			digits++;
		}
		if (digits == 0)
			return 0;
	}
	return n == text.len || text.data[n] == ' ' ? n : 0;
}
