/*
 * test_proxy_header.c - the PROXY protocol, octet by octet, and not one
 * octet more than is the header's.
 */
#include "drive.h"

#include "protocol/proxy_header.h"

static struct guarded storage;

static int
set_up(void **state)
{
	(void)state;
	guarded_new(&storage, 1 << 17);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	guarded_free(&storage);
	return 0;
}

/* Reads input as a reader must: never more than is wanted, at most so much
 * at a time. What was taken, and the outcome. */
static enum proxy_outcome
read_header(struct proxy_header *header, struct slice input, size_t most,
    size_t *taken)
{
	enum proxy_outcome outcome = PROXY_MORE;

	*header = (struct proxy_header){ .source = PROXY_SOURCE_NONE };
	*taken = 0;
	while (outcome == PROXY_MORE && *taken < input.len) {
		size_t len = proxy_header_want(header);

		assert_true(len >= 1);
		if (len > most)
			len = most;
		if (len > input.len - *taken)
			len = input.len - *taken;
		struct slice piece = { guarded_put(&storage,
		    input.data + *taken, len), len };
		outcome = proxy_header_take(header, piece);
		*taken += len;
	}
	return outcome;
}

static const size_t sizes[] = { 1, 2, 3, 5, 7, 12, 13, 100, SIZE_MAX };

/* A header that is good, with more after it, which is not touched. */
static void
check_good(struct slice input, enum proxy_source source, struct slice address,
    struct slice address_text, struct slice destination_text, uint16_t port)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct proxy_header header;
		struct text more = { .data = NULL };
		size_t taken;

		text_add(&more, input);
		text_add(&more, SLICE("\x16\x03\x01QUIT\r\n"));
		if (read_header(&header, text_slice(&more), sizes[i],
		    &taken) != PROXY_DONE) {
			char *text = shown(input);
			fail_msg("not done: \"%s", text);
		}
		assert_int_equal(taken, input.len);
		assert_int_equal(header.source, source);
		assert_int_equal(header.port, port);
		assert_slices(header.address_text, address_text);
		assert_slices(header.destination_text, destination_text);
		if (address.len > 0)
			assert_memory_equal(header.address, address.data,
			    address.len);
		text_free(&more);
		/* Cut short it is not done, and nothing else either. */
		for (size_t len = 0; len < input.len && i == 0; len++)
			assert_int_equal(read_header(&header,
			    (struct slice){ input.data, len }, SIZE_MAX,
			    &taken), PROXY_MORE);
	}
}

/* It is bad, however it comes. */
static void
check_bad(struct slice input)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct proxy_header header;
		size_t taken;

		if (read_header(&header, input, sizes[i], &taken) !=
		    PROXY_BAD) {
			char *text = shown(input);
			fail_msg("pieces of %zu: \"%s", sizes[i], text);
		}
	}
}

static const struct slice none = { NULL, 0 };

/* ---- version 1 ---- */

static void
test_version_1(void **state)
{
	static const struct {
		struct slice input;
		enum proxy_source source;
		struct slice address, destination;
		uint16_t port;
	} rows[] = {
		{ SLICE("PROXY TCP4 192.0.2.1 192.0.2.2 4711 995\r\n"),
		    PROXY_SOURCE_IPV4, SLICE("192.0.2.1"),
		    SLICE("192.0.2.2"), 4711 },
		{ SLICE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 "
		    "65535\r\n"), PROXY_SOURCE_IPV4,
		    SLICE("255.255.255.255"), SLICE("255.255.255.255"),
		    65535 },
		{ SLICE("PROXY TCP6 2001:db8::1 ::1 0 1\r\n"),
		    PROXY_SOURCE_IPV6, SLICE("2001:db8::1"), SLICE("::1"),
		    0 },
		{ SLICE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535"
		    "\r\n"), PROXY_SOURCE_IPV6,
		    SLICE("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
		    SLICE("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
		    65535 },
		/* What follows UNKNOWN is to be ignored. */
		{ SLICE("PROXY UNKNOWN\r\n"), PROXY_SOURCE_UNKNOWN,
		    SLICE(""), SLICE(""), 0 },
		{ SLICE("PROXY UNKNOWN \r\n"), PROXY_SOURCE_UNKNOWN,
		    SLICE(""), SLICE(""), 0 },
		{ SLICE("PROXY UNKNOWN ffff::1 what ever 1\r\n"),
		    PROXY_SOURCE_UNKNOWN, SLICE(""), SLICE(""), 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_good(rows[i].input, rows[i].source, none,
		    rows[i].address, rows[i].destination, rows[i].port);
}

static void
test_version_1_bad(void **state)
{
	static const struct slice rows[] = {
		SLICE("\n"), SLICE("\r\nx"), SLICE("QUIT\r\n"), SLICE("P\r\n"),
		SLICE("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
		SLICE("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
		SLICE("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
		SLICE("PROXY TCP4\r\n  "),
		SLICE("PROXY TCP4 1.2.3.4\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4  1 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 x 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 000001 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"),
		SLICE("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"),
		SLICE("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"),
		SLICE("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
		/* A NUL would end the address for whoever reads it. */
		SLICE("PROXY TCP4 1.2.3.4\0x 1.2.3.4 1 2\r\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4\0x 1 2\r\n"),
		SLICE("PROXY UNKNOWNX\r\n"), SLICE("PROXY UNKNOW\r\n"),
		/* Line ends: CRLF and nothing else. */
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx"),
		SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n"),
		SLICE("PROXY UNKNOWN\rx\r\n"), SLICE("PROXY UNKNOWN x\n"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_bad(rows[i]);
}

/* 107 octets with the CRLF, in whatever pieces. */
static void
test_version_1_length(void **state)
{
	(void)state;
	for (size_t len = 100; len <= 112; len++) {
		struct text input = { .data = NULL };

		text_add(&input, SLICE("PROXY UNKNOWN "));
		text_repeat(&input, 'x', len - input.len - 2);
		text_add(&input, SLICE("\r\n"));
		assert_int_equal(input.len, len);
		if (len <= PROXY_HEADER_V1_MAX)
			check_good(text_slice(&input), PROXY_SOURCE_UNKNOWN,
			    none, SLICE(""), SLICE(""), 0);
		else
			check_bad(text_slice(&input));
		text_free(&input);
	}
	/* One that never ends is not read for ever. */
	struct text endless = { .data = NULL };
	text_add(&endless, SLICE("PROXY UNKNOWN "));
	text_repeat(&endless, 'x', 1000);
	check_bad(text_slice(&endless));
	text_free(&endless);
}

/* ---- version 2 ---- */

#define SIGNATURE "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A"

/* A header: command and family, addresses, and so many octets of TLVs. */
static void
make_v2(struct text *text, unsigned char version_command,
    unsigned char family, struct slice addresses, size_t more)
{
	size_t len = addresses.len + more;
	const char fixed[4] = { (char)version_command, (char)family,
		(char)(len >> 8), (char)len };

	text->len = 0;
	text_add(text, SLICE(SIGNATURE));
	text_add(text, (struct slice){ fixed, 4 });
	text_add(text, addresses);
	text_repeat(text, 'T', more);
}

#define V4 SLICE("\xC0\x00\x02\x01\xC0\x00\x02\x02\x12\x67\x03\xE3")
#define V6 SLICE("\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01" \
	"\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02" "\xFF\xFF\x00\x01")

static void
test_version_2(void **state)
{
	static const size_t more[] = { 0, 1, 3, 100, 231, 232, 233, 60000 };
	struct text text = { .data = NULL };
	struct text unix_names = { .data = NULL };

	(void)state;
	text_repeat(&unix_names, '/', 216);
	for (size_t i = 0; i < COUNT(more); i++) {
		make_v2(&text, 0x21, 0x11, V4, more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_IPV4,
		    SLICE("\xC0\x00\x02\x01"), none, none, 4711);
		make_v2(&text, 0x21, 0x21, V6, more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_IPV6,
		    SLICE("\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01"),
		    none, none, 65535);
		make_v2(&text, 0x21, 0x31, text_slice(&unix_names), more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_UNIX, none, none,
		    none, 0);
		make_v2(&text, 0x21, 0x00, SLICE(""), more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_UNKNOWN, none,
		    none, none, 0);
		/* LOCAL: whatever the rest says, known or not. */
		make_v2(&text, 0x20, 0x00, SLICE(""), more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_NONE, none, none,
		    none, 0);
		make_v2(&text, 0x20, 0x11, V4, more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_NONE, none, none,
		    none, 0);
		make_v2(&text, 0x20, 0x77, SLICE(""), more[i]);
		check_good(text_slice(&text), PROXY_SOURCE_NONE, none, none,
		    none, 0);
	}
	/* As long as it can be. */
	make_v2(&text, 0x21, 0x11, V4, 65535 - 12);
	check_good(text_slice(&text), PROXY_SOURCE_IPV4,
	    SLICE("\xC0\x00\x02\x01"), none, none, 4711);
	text_free(&text);
	text_free(&unix_names);
}

static void
test_version_2_bad(void **state)
{
	static const unsigned char families[] = {
		0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x32, 0x41, 0x13,
		0xFF,
	};
	static const unsigned char commands[] = {
		0x00, 0x01, 0x10, 0x11, 0x12, 0x22, 0x2F, 0x30, 0x31, 0xFF,
	};
	struct text text = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(families); i++) {
		make_v2(&text, 0x21, families[i], V6, 200);
		check_bad(text_slice(&text));
	}
	for (size_t i = 0; i < COUNT(commands); i++) {
		make_v2(&text, commands[i], 0x11, V4, 0);
		check_bad(text_slice(&text));
	}
	/* Too short for its family. */
	make_v2(&text, 0x21, 0x11, (struct slice){ V4.data, 11 }, 0);
	check_bad(text_slice(&text));
	make_v2(&text, 0x21, 0x21, (struct slice){ V6.data, 35 }, 0);
	check_bad(text_slice(&text));
	make_v2(&text, 0x21, 0x31, SLICE(""), 215);
	check_bad(text_slice(&text));
	make_v2(&text, 0x21, 0x11, SLICE(""), 0);
	check_bad(text_slice(&text));
	/* Every octet of the signature counts. */
	for (size_t i = 0; i < 12; i++) {
		make_v2(&text, 0x21, 0x11, V4, 0);
		text.data[i] = (char)(text.data[i] ^ 1);
		check_bad(text_slice(&text));
	}
	text_free(&text);
}

/* Anything at all, in any pieces: one outcome, and no octet too many. */
static void
test_random(void **state)
{
	uint64_t seed = 2;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct text text = { .data = NULL };
		struct proxy_header header;
		enum proxy_outcome outcome = PROXY_MORE;
		size_t taken_first = 0;

		switch (chance(&seed, 3)) {
		case 0:
			text_add(&text, SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 "
			    "1 2\r\n"));
			break;
		case 1:
			text_add(&text, SLICE("PROXY UNKNOWN\r\n"));
			break;
		default:
			make_v2(&text, 0x21, 0x11, V4, chance(&seed, 300));
		}
		for (unsigned n = chance(&seed, 3); n > 0; n--)
			text.data[chance(&seed, (uint32_t)text.len)] =
			    (char)chance(&seed, 256);
		for (size_t k = 0; k < COUNT(sizes); k++) {
			size_t taken;
			enum proxy_outcome now = read_header(&header,
			    text_slice(&text), sizes[k], &taken);

			if (k == 0) {
				outcome = now;
				taken_first = taken;
			}
			if (now != outcome || (now == PROXY_DONE &&
			    taken != taken_first)) {
				char *input = shown(text_slice(&text));
				fail_msg("pieces of %zu: %d after %zu, not "
				    "%d after %zu: \"%s", sizes[k], (int)now,
				    taken, (int)outcome, taken_first, input);
			}
		}
		text_free(&text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_1),
		cmocka_unit_test(test_version_1_bad),
		cmocka_unit_test(test_version_1_length),
		cmocka_unit_test(test_version_2),
		cmocka_unit_test(test_version_2_bad),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("proxy_header", tests, set_up,
	    tear_down);
}
