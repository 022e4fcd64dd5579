/*
 * trace.c - Return-Path and Received.
 */
#include "protocol/trace.h"

#include <stdio.h>
#include <string.h>

#include "protocol/address.h"

/* A path longer than this is left out of "for": RFC 5322 2.1.1 allows lines
 * of 998 octets. */
#define FOR_MAX 256

/* RFC 3848, RFC 6531 4.3; HELO is plain SMTP whatever else is known. */
const char *
trace_protocol(const struct trace *trace)
{
	static const char *const names[2][2][4] = {
		{ { "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA" },
		  { "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA" } },
		{ { "LMTP", "LMTPA", "LMTPS", "LMTPSA" },
		  { "UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA" } },
	};

	if (!trace->esmtp)
		return "SMTP";
	return names[trace->lmtp][trace->utf8]
	    [(trace->secure ? 2 : 0) + (trace->authenticated ? 1 : 0)];
}

void
trace_count(struct trace_counter *counter, struct slice text)
{
	static const struct slice name = SLICE("received:");
	struct slice header = text;

	while (text.len > 0 && !counter->in_body) {
		const char *end;

		if (text.data[0] == '\n') {
			/* An empty line ends the header. */
			counter->in_body = counter->column == 0;
			counter->column = 0;
			counter->differs = false;
			text = slice_skip(text, 1);
			continue;
		}
		/* "Received : x" is the same field (RFC 5322 4.5.8). */
		if (counter->column == name.len - 1 && !counter->differs &&
		    (text.data[0] == ' ' || text.data[0] == '\t')) {
			text = slice_skip(text, 1);
			continue;
		}
		if (counter->differs || counter->column == name.len) {
			end = memchr(text.data, '\n', text.len);
			text = slice_skip(text, end == NULL ? text.len
			    : (size_t)(end - text.data));
			continue;
		}
		counter->differs = slice_lower(text.data[0]) !=
		    name.data[counter->column];
		counter->column++;
		if (!counter->differs && counter->column == name.len)
			counter->received++;
		text = slice_skip(text, 1);
	}
	header.len -= text.len;
	counter->has_8bit |= !slice_is_ascii(header);
}

size_t
trace_return_path(struct slice reverse_path, char *out, size_t size)
{
	return (size_t)snprintf(out, size, "Return-Path: <%.*s>\n",
	    SLICE_ARG(reverse_path));
}

size_t
trace_recipient(const char *field, struct slice path, char *out, size_t size)
{
	return (size_t)snprintf(out, size, "%s: %.*s\n", field,
	    SLICE_ARG(path));
}

/*
 * RFC 5322 3.3, in UTC. By hand: gmtime(3) would read a time zone file first,
 * and strftime(3) would speak the language of whoever set a locale.
 */
static void
put_date(int64_t time, char *out, size_t size)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu",
		"Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30,
		31, 30, 31 };
	/* Before 1970 and after 9999 no mail is received. */
	int64_t second = time < 0 ? 0 : time > 253402300799 ? 253402300799
	    : time;
	int64_t day = second / 86400;
	int64_t year = 1970, length;
	int month = 0;
	bool leap;

	second %= 86400;
	const char *name = days[(day + 4) % 7];
	for (;; year++) {
		leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
		if (day < 365 + leap)
			break;
		day -= 365 + leap;
	}
	for (;; month++) {
		length = lengths[month] + (month == 1 && leap);
		if (day < length)
			break;
		day -= length;
	}
	snprintf(out, size, "%s, %02d %s %04d %02d:%02d:%02d +0000", name,
	    (int)day + 1, months[month], (int)year, (int)(second / 3600),
	    (int)(second / 60 % 60), (int)(second % 60));
}

size_t
trace_received(const struct trace *trace, char *out, size_t size)
{
	char date[128];
	char tls[128] = "";
	char address[80] = "";
	char recipient[FOR_MAX + 16] = "";
	/* A HELO name that the grammar does not allow becomes "unknown". */
	struct slice helo = address_is_domain(trace->helo,
	    trace->utf8)
	    ? trace->helo : SLICE("unknown");

	put_date(trace->time, date, sizeof(date));
	if (trace->address[0] != '\0')
		snprintf(address, sizeof(address), " ([%s%s])",
		    trace->address_is_ipv6 ? "IPv6:" : "", trace->address);
	if (trace->tls_version != NULL)
		snprintf(tls, sizeof(tls), " (%s %s)", trace->tls_version,
		    trace->tls_cipher);
	if (trace->recipient.len > 0 && trace->recipient.len <= FOR_MAX)
		snprintf(recipient, sizeof(recipient), "\n\tfor <%.*s>",
		    SLICE_ARG(trace->recipient));
	return (size_t)snprintf(out, size,
	    "Received: from %.*s%s\n\tby %s with %s%s\n\tid %s%s;\n\t%s\n",
	    SLICE_ARG(helo), address, trace->hostname, trace_protocol(trace),
	    tls,
	    trace->id, recipient, date);
}
