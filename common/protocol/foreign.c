/*
 * foreign.c - HTTP, RTSP and SIP, as far as their first lines go.
 */
#include "protocol/foreign.h"

#include <string.h>

/* RFC 9110 9, RFC 5789, RFC 9113 3.4 (the preface of HTTP/2), RFC 4918 9;
 * then what RFC 3261 and RFC 7826 add. */
static const struct slice methods[] = {
	SLICE("GET"), SLICE("HEAD"), SLICE("POST"), SLICE("PUT"),
	SLICE("DELETE"), SLICE("CONNECT"), SLICE("OPTIONS"), SLICE("TRACE"),
	SLICE("PATCH"), SLICE("PRI"), SLICE("PROPFIND"), SLICE("MKCOL"),
	SLICE("INVITE"), SLICE("REGISTER"), SLICE("DESCRIBE"),
};

static bool
is_method(struct slice word)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (slice_equal_nocase(word, methods[i]))
			return true;
	return false;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
ends_with_nocase(struct slice line, struct slice end)
{
	return line.len >= end.len && slice_equal_nocase(slice_skip(line,
	    line.len - end.len), end);
}

/* "HTTP/1.1", "RTSP/2.0", "SIP/2.0": the last word of a request. RFC 3261 7.1
 * has it in either case. */
static bool
ends_in_version(struct slice line)
{
	size_t n = line.len;

	if (n < 5 || !is_digit(line.data[n - 1]) || line.data[n - 2] != '.' ||
	    !is_digit(line.data[n - 3]) || line.data[n - 4] != '/')
		return false;
	line.len = n - 4;
	return ends_with_nocase(line, SLICE(" HTTP")) ||
	    ends_with_nocase(line, SLICE(" RTSP")) ||
	    ends_with_nocase(line, SLICE(" SIP"));
}

/* RFC 9110 5.1: a token, then a colon with no blank before it. But a person
 * who types "MAILFROM:<a@b>" speaks SMTP. */
static bool
is_field(struct slice line)
{
	size_t n = 0;

	while (n < line.len && line.data[n] > 0x20 && line.data[n] < 0x7F &&
	    strchr("\"(),/:;<=>?@[\\]{}", line.data[n]) == NULL)
		n++;
	return n > 0 && n < line.len && line.data[n] == ':' &&
	    (n + 1 == line.len || line.data[n + 1] != '<');
}

bool
foreign_is_request(struct slice line)
{
	struct slice word, rest;

	slice_cut(line, ' ', &word, &rest);
	return is_method(word) || ends_in_version(slice_trim(line)) ||
	    is_field(line);
}
