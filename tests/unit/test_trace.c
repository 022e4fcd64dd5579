/*
 * test_trace.c - the header lines on top of a message.
 */
#include "drive.h"

#include <time.h>

#include "protocol/trace.h"

static struct trace usual = {
	.helo = SLICE("client.example"), .address = "192.0.2.1",
	.hostname = "mx.example", .esmtp = true, .id = "7",
	.time = 1000000000,
};

#define HEAD "Received: from client.example ([192.0.2.1])\n" \
	"\tby mx.example with ESMTP\n\tid 7;\n\t"

/* The date is what the C library says in the C locale, on any day. */
static void
test_dates(void **state)
{
	uint64_t seed = 5;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct trace trace = usual;
		char out[TRACE_MAX], want[TRACE_MAX];
		struct tm tm;
		time_t at = i < 2 ? (time_t)i * 86399
		    : (time_t)chance(&seed, 150000) * 86400 +
		    (time_t)chance(&seed, 86400);

		trace.time = at;
		size_t len = trace_received(&trace, out, sizeof(out));
		gmtime_r(&at, &tm);
		size_t n = (size_t)snprintf(want, sizeof(want), "%s", HEAD);
		n += strftime(want + n, sizeof(want) - n,
		    "%a, %d %b %Y %H:%M:%S +0000\n", &tm);
		assert_slices(((struct slice){ out, len }),
		    ((struct slice){ want, n }));
	}
}

static void
test_date_limits(void **state)
{
	static const struct { int64_t time; const char *date; } rows[] = {
		{ INT64_MIN, "Thu, 01 Jan 1970 00:00:00 +0000\n" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 +0000\n" },
		{ 4107542399, "Sun, 28 Feb 2100 23:59:59 +0000\n" },
		{ 4107542400, "Mon, 01 Mar 2100 00:00:00 +0000\n" },
		{ INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct trace trace = usual;
		char out[TRACE_MAX];

		trace.time = rows[i].time;
		size_t len = trace_received(&trace, out, sizeof(out));
		assert_true(slice_ends_with((struct slice){ out, len },
		    slice_from(rows[i].date)));
	}
}

/* RFC 3848, RFC 6531 4.3: the protocol's name says what was used. */
static void
test_protocols(void **state)
{
	static const struct {
		bool esmtp, utf8, lmtp, secure, authenticated;
		const char *name;
	} rows[] = {
		{ false, false, false, true, true, " with SMTP\n" },
		{ true, false, false, false, false, " with ESMTP\n" },
		{ true, false, false, false, true, " with ESMTPA\n" },
		{ true, false, false, true, false, " with ESMTPS\n" },
		{ true, false, false, true, true, " with ESMTPSA\n" },
		{ true, true, false, true, true, " with UTF8SMTPSA\n" },
		{ true, false, true, true, false, " with LMTPS\n" },
		{ true, true, true, false, false, " with UTF8LMTP\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct trace trace = usual;
		char out[TRACE_MAX];

		trace.esmtp = rows[i].esmtp;
		trace.utf8 = rows[i].utf8;
		trace.lmtp = rows[i].lmtp;
		trace.secure = rows[i].secure;
		trace.authenticated = rows[i].authenticated;
		size_t len = trace_received(&trace, out, sizeof(out));
		out[len] = '\0';
		if (strstr(out, rows[i].name) == NULL)
			fail_msg("%s: no %s", out, rows[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_date_limits),
		cmocka_unit_test(test_protocols),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
