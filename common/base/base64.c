/*
 * base64.c - groups of three octets as four letters.
 */
#include "base/base64.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
base64_decode(struct slice text, char *out, size_t *len)
{
	size_t n = 0;

	if (text.len % 4 != 0)
		return false;
	for (size_t i = 0; i < text.len; i += 4) {
		unsigned long group = 0;
		size_t digits = 0;

		while (digits < 4) {
			int value = digit_value(text.data[i + digits]);
			if (value < 0)
				break;
			group = group << 6 | (unsigned long)value;
			digits++;
		}
		if (digits < 2 || (digits < 4 && i + 4 < text.len))
			return false;
		for (size_t k = digits; k < 4; k++) {
			if (text.data[i + k] != '=')
				return false;
			group <<= 6;
		}
		out[n++] = (char)(group >> 16 & 0xFF);
		if (digits > 2)
			out[n++] = (char)(group >> 8 & 0xFF);
		if (digits > 3)
			out[n++] = (char)(group & 0xFF);
	}
	*len = n;
	return true;
}

size_t
base64_encode(struct slice data, char *out, size_t size)
{
	size_t n = 0;

	if ((data.len + 2) / 3 * 4 > size)
		return 0;
	while (data.len > 0) {
		unsigned long group = 0;
		size_t octets = data.len < 3 ? data.len : 3;

		for (size_t i = 0; i < 3; i++)
			group = group << 8 | (i < octets
			    ? (unsigned char)data.data[i] : 0);
		for (size_t i = 0; i < 4; i++)
			out[n++] = i <= octets
			    ? alphabet[group >> (18 - 6 * i) & 63] : '=';
		data = slice_skip(data, octets);
	}
	return n;
}
