/*
 * test_loopback.c - which addresses are this machine's own.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "system/loopback.h"

static const struct {
	const char *host;
	bool loopback;
} rows[] = {
	{ "127.0.0.1", true }, { "127.255.255.254", true },
	{ "126.255.255.255", false }, { "128.0.0.0", false },
	{ "0.0.0.0", false }, { "192.0.2.127", false },
	{ "::1", true }, { "::", false }, { "::2", false },
	{ "1::1", false }, { "::ffff:127.0.0.1", true },
	{ "::ffff:127.9.9.9", true }, { "::ffff:128.0.0.1", false },
	/* RFC 4291 2.5.5.1: nothing that a socket has. */
	{ "::127.0.0.1", false }, { "fe80::1", false },
};

static void
test_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sockaddr_in in = { .sin_family = AF_INET };
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
		const void *address = &in;

		if (inet_pton(AF_INET, rows[i].host, &in.sin_addr) != 1) {
			assert_int_equal(inet_pton(AF_INET6, rows[i].host,
			    &in6.sin6_addr), 1);
			address = &in6;
		}
		if (loopback_is_sockaddr(address) != rows[i].loopback ||
		    loopback_is_host(rows[i].host) != rows[i].loopback)
			fail_msg("%s", rows[i].host);
	}
}

/* Octets from anywhere, aligned or not; other families are never ours. */
static void
test_octets(void **state)
{
	unsigned char octets[1 + sizeof(struct in6_addr)] = { 0 };

	(void)state;
	octets[16] = 1;
	assert_true(loopback_is_address(AF_INET6, octets + 1));
	octets[1] = 127;
	assert_false(loopback_is_address(AF_INET6, octets + 1));
	assert_true(loopback_is_address(AF_INET, octets + 1));
	assert_false(loopback_is_address(AF_UNIX, octets + 1));
	assert_false(loopback_is_sockaddr(&(struct sockaddr){
	    .sa_family = AF_UNSPEC }));
}

static void
test_names(void **state)
{
	(void)state;
	assert_true(loopback_is_host("localhost"));
	assert_true(loopback_is_host("LocalHost"));
	assert_false(loopback_is_host("localhost."));
	assert_false(loopback_is_host("localhost.example"));
	assert_false(loopback_is_host("127.1"));
	assert_false(loopback_is_host("[::1]"));
	assert_false(loopback_is_host(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("loopback", tests, NULL, NULL);
}
