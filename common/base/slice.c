/*
 * slice.c - comparing, cutting and reading octets that are not ours.
 * No I/O, no allocation, no locale.
 */
#include "base/slice.h"

#include <string.h>

struct slice
slice_from(const char *string)
{
	return (struct slice){ string, string != NULL ? strlen(string) : 0 };
}

bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len &&
	    (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

char
slice_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

int
slice_compare(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool
slice_equal_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && slice_starts_with_nocase(a, b);
}

bool
slice_starts_with(struct slice s, struct slice prefix)
{
	if (s.len < prefix.len)
		return false;
	s.len = prefix.len;
	return slice_equal(s, prefix);
}

bool
slice_starts_with_nocase(struct slice s, struct slice prefix)
{
	if (s.len < prefix.len)
		return false;
	for (size_t i = 0; i < prefix.len; i++)
		if (slice_lower(s.data[i]) != slice_lower(prefix.data[i]))
			return false;
	return true;
}

bool
slice_ends_with(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len &&
	    slice_equal(slice_skip(s, s.len - suffix.len), suffix);
}

struct slice
slice_skip(struct slice s, size_t n)
{
	if (n == 0)
		return s;
	if (n > s.len)
		n = s.len;
	return (struct slice){ s.len > 0 ? s.data + n : s.data, s.len - n };
}

bool
slice_cut(struct slice s, char separator, struct slice *before,
    struct slice *after)
{
	const char *at = s.len > 0 ? memchr(s.data, separator, s.len) : NULL;

	if (at == NULL) {
		*before = s;
		*after = slice_skip(s, s.len);
		return false;
	}
	size_t len = (size_t)(at - s.data);
	*before = (struct slice){ s.data, len };
	*after = slice_skip(s, len + 1);
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct slice
slice_trim(struct slice s)
{
	while (s.len > 0 && is_blank(s.data[0]))
		s = slice_skip(s, 1);
	while (s.len > 0 && is_blank(s.data[s.len - 1]))
		s.len--;
	return s;
}

bool
slice_to_number(struct slice s, uint64_t max, uint64_t *number)
{
	uint64_t value = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.data[i] - '0');
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*number = value;
	return true;
}

bool
slice_has_control(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];
		if (c < 0x20 || c == 0x7F)
			return true;
	}
	return false;
}

bool
slice_is_ascii(struct slice s)
{
	const uint64_t high_bits = UINT64_C(0x8080808080808080);
	uint64_t words[4];
	unsigned char high = 0;
	size_t i = 0;

	/* Whole messages come through here: 32 octets at a time. */
	for (; s.len - i >= sizeof(words); i += sizeof(words)) {
		memcpy(words, s.data + i, sizeof(words));
		if (((words[0] | words[1] | words[2] | words[3]) &
		    high_bits) != 0)
			return false;
	}
	for (; i < s.len; i++)
		high |= (unsigned char)s.data[i];
	return high < 0x80;
}

/*
 * The length of the UTF-8 sequence that s begins with, 0 where it is none.
 * RFC 3629 section 4, row by row.
 */
static size_t
utf8_sequence(struct slice s)
{
	unsigned char c = (unsigned char)s.data[0];
	unsigned char low = 0x80, high = 0xBF;
	size_t len;

	if (c < 0x80)
		return 1;
	if (c >= 0xC2 && c <= 0xDF) {
		len = 2;
	} else if (c >= 0xE0 && c <= 0xEF) {
		len = 3;
		if (c == 0xE0)
			low = 0xA0;
		else if (c == 0xED)
			high = 0x9F;
	} else if (c >= 0xF0 && c <= 0xF4) {
		len = 4;
		if (c == 0xF0)
			low = 0x90;
		else if (c == 0xF4)
			high = 0x8F;
	} else {
		return 0;
	}
	if (s.len < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		c = (unsigned char)s.data[i];
		if (c < low || c > high)
			return 0;
		low = 0x80;
		high = 0xBF;
	}
	return len;
}

bool
slice_is_utf8(struct slice s)
{
	while (s.len > 0) {
		size_t len = utf8_sequence(s);
		if (len == 0)
			return false;
		s = slice_skip(s, len);
	}
	return true;
}
