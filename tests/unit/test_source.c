/*
 * test_source.c - who counts as one peer.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "system/source.h"

static const char *
name_of(struct source source)
{
	static char text[SOURCE_TEXT_SIZE];

	source_name(&source, text);
	return text;
}

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(name_of(source_from_text("192.0.2.1")),
	    "192.0.2.1");
	assert_string_equal(name_of(source_from_text("2001:db8:1:2:3:4:5:6")),
	    "2001:db8:1:2::/64");
	assert_string_equal(name_of(source_from_text("::ffff:192.0.2.1")),
	    "192.0.2.1");
	assert_string_equal(name_of(source_from_text(
	    "2001:db88:1111:2222:3333::1")), "2001:db88:1111:2222::/64");
	assert_string_equal(name_of(source_from_text("")), "local");
	assert_string_equal(name_of(source_from_text("mail.test")), "local");
}

static void
test_equal(void **state)
{
	struct source v4 = source_from_text("127.0.0.1");
	struct source mapped = source_from_text("::ffff:127.0.0.1");
	struct source near = source_from_text("127.0.0.2");
	struct source a = source_from_text("2001:db8::1");
	struct source b = source_from_text("2001:db8::ffff:1");
	struct source c = source_from_text("2001:db8:0:1::1");
	struct source loopback = source_from_text("::1");
	struct source nobody = source_from_text("");

	(void)state;
	assert_true(source_equal(&v4, &mapped));
	assert_false(source_equal(&v4, &near));
	assert_true(source_equal(&a, &b));
	assert_false(source_equal(&a, &c));
	/* Of zeros, and somebody all the same. */
	assert_true(source_equal(&loopback, &loopback));
	assert_false(source_equal(&nobody, &nobody));
	assert_false(source_equal(&loopback, &v4));
}

static void
test_from_socket(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = 7 };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	inet_pton(AF_INET, "192.0.2.9", &in.sin_addr);
	assert_string_equal(name_of(source_from_socket(
	    (struct sockaddr *)&in)), "192.0.2.9");
	inet_pton(AF_INET6, "::ffff:192.0.2.9", &in6.sin6_addr);
	assert_string_equal(name_of(source_from_socket(
	    (struct sockaddr *)&in6)), "192.0.2.9");
	inet_pton(AF_INET6, "2001:db8::9", &in6.sin6_addr);
	assert_string_equal(name_of(source_from_socket(
	    (struct sockaddr *)&in6)), "2001:db8::/64");
	assert_string_equal(name_of(source_from_socket(
	    (struct sockaddr *)&un)), "local");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_from_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
