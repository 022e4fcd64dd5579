/*
 * test_sasl_client.c - what a client says to log in, and that a server of ours
 * understands it.
 */
#include "drive.h"

#include "base/base64.h"
#include "protocol/sasl.h"
#include "protocol/sasl_client.h"

static char out[SASL_CLIENT_RESPONSE_MAX];

/* The response without its base64. */
static struct slice
respond(const struct sasl_client *client,
    enum sasl_client_mechanism mechanism, unsigned step)
{
	static char message[SASL_CLIENT_RESPONSE_MAX];
	struct slice text = { message, 0 };
	size_t len = 1;

	assert_true(sasl_client_respond(client, mechanism, step, out,
	    sizeof(out), &len));
	assert_true(base64_decode((struct slice){ out, len }, message,
	    &text.len));
	return text;
}

static void
assert_no_step(const struct sasl_client *client,
    enum sasl_client_mechanism mechanism, unsigned step)
{
	size_t len = 1;

	assert_false(sasl_client_respond(client, mechanism, step, out,
	    sizeof(out), &len));
	assert_int_equal(len, 0);
}

/* RFC 4616 4, RFC 7628 4.1 and 4.3, and Google's page on XOAUTH2. */
static void
test_messages(void **state)
{
	const struct sasl_client joe = { SLICE("joe"), SLICE("secret"),
		SLICE(""), SLICE("") };
	const struct sasl_client user = { SLICE("user@example.com"),
		SLICE("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
		SLICE("server.example.com"), SLICE("587") };
	const struct sasl_client odd = { SLICE("a,b=c"), SLICE("t"),
		SLICE(""), SLICE("465") };

	(void)state;
	assert_slice(respond(&joe, SASL_CLIENT_PLAIN, 0), "\0joe\0secret");
	assert_no_step(&joe, SASL_CLIENT_PLAIN, 1);
	assert_slice(respond(&joe, SASL_CLIENT_LOGIN, 0), "joe");
	assert_slice(respond(&joe, SASL_CLIENT_LOGIN, 1), "secret");
	assert_no_step(&joe, SASL_CLIENT_LOGIN, 2);
	assert_slice(respond(&user, SASL_CLIENT_OAUTHBEARER, 0),
	    "n,a=user@example.com,\1host=server.example.com\1port=587\1"
	    "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1");
	assert_slice(respond(&odd, SASL_CLIENT_OAUTHBEARER, 0),
	    "n,a=a=2Cb=3Dc,\1port=465\1auth=Bearer t\1\1");
	assert_slice(respond(&user, SASL_CLIENT_OAUTHBEARER, 1), "\1");
	assert_no_step(&user, SASL_CLIENT_OAUTHBEARER, 2);
	assert_slice(respond(&user, SASL_CLIENT_XOAUTH2, 0),
	    "user=user@example.com\1auth=Bearer "
	    "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1");
	assert_slice(respond(&user, SASL_CLIENT_XOAUTH2, 1), "");
	assert_no_step(&user, SASL_CLIENT_XOAUTH2, 2);
}

static void
test_names(void **state)
{
	static const struct { const char *name; bool first; } rows[] = {
		[SASL_CLIENT_PLAIN] = { "PLAIN", true },
		[SASL_CLIENT_LOGIN] = { "LOGIN", false },
		[SASL_CLIENT_XOAUTH2] = { "XOAUTH2", true },
		[SASL_CLIENT_OAUTHBEARER] = { "OAUTHBEARER", true },
	};

	(void)state;
	assert_int_equal(COUNT(rows), SASL_CLIENT_MECHANISMS);
	for (size_t i = 1; i < COUNT(rows); i++) {
		enum sasl_client_mechanism mechanism =
		    (enum sasl_client_mechanism)i;

		assert_string_equal(sasl_client_name(mechanism),
		    rows[i].name);
		assert_int_equal(sasl_client_find(slice_from(rows[i].name)),
		    i);
		assert_int_equal(sasl_client_is_first(mechanism),
		    rows[i].first);
	}
	assert_int_equal(sasl_client_find(SLICE("oAuthBearer")),
	    SASL_CLIENT_OAUTHBEARER);
	assert_int_equal(sasl_client_find(SLICE("")), SASL_CLIENT_NONE);
	assert_int_equal(sasl_client_find(SLICE("PLAINER")),
	    SASL_CLIENT_NONE);
}

/* The longest of all fit; what is longer is not sent at all, nor what does
 * not fit into out. */
static void
test_lengths(void **state)
{
	struct text name = { .data = NULL }, secret = { .data = NULL };
	struct guarded small;
	size_t len;

	(void)state;
	text_repeat(&name, 'x', SASL_CLIENT_NAME_MAX);
	text_repeat(&secret, 'y', SASL_CLIENT_SECRET_MAX);
	struct sasl_client client = { .name = text_slice(&name),
		.secret = text_slice(&secret) };
	for (int i = 1; i < SASL_CLIENT_MECHANISMS; i++)
		assert_true(respond(&client, (enum sasl_client_mechanism)i,
		    0).len >= SASL_CLIENT_NAME_MAX);
	text_repeat(&name, 'x', 1);
	client.name = text_slice(&name);
	assert_no_step(&client, SASL_CLIENT_LOGIN, 0);
	client.name = SLICE("joe");
	text_repeat(&secret, 'y', 1);
	client.secret = text_slice(&secret);
	assert_no_step(&client, SASL_CLIENT_LOGIN, 0);

	/* "\0joe\0secret" is 11 octets: 16 of base64, to the octet. */
	client.secret = SLICE("secret");
	guarded_new(&small, 16);
	assert_true(sasl_client_respond(&client, SASL_CLIENT_PLAIN, 0,
	    small.data, 16, &len));
	assert_memory_equal(small.data, "AGpvZQBzZWNyZXQ=", 16);
	assert_false(sasl_client_respond(&client, SASL_CLIENT_PLAIN, 0,
	    small.data, 15, &len));
	guarded_free(&small);
	text_free(&name);
	text_free(&secret);
}

/* What one side says the other understands. */
static void
test_both_sides(void **state)
{
	static const struct slice words[] = {
		SLICE("joe"), SLICE("secret"), SLICE(""), SLICE("\xC3\xA4 \t"),
	};
	static char in[SASL_IN_MIN];
	struct slice challenge;
	struct sasl_server sasl;
	struct wire wire;

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++)
		for (size_t k = 0; k < COUNT(words); k++) {
			const struct sasl_client client = { .name = words[i],
				.secret = words[k] };
			size_t len;

			assert_true(sasl_client_respond(&client,
			    SASL_CLIENT_PLAIN, 0, out, sizeof(out), &len));
			wire_init(&wire, in, sizeof(in), NULL, 0);
			wire.in.start = wire.in.end = len;
			memcpy(in, out, len);
			assert_int_equal(sasl_server_start(&sasl, &wire,
			    SASL_USUAL, SLICE("PLAIN"),
			    (struct slice){ in, len },
			    &challenge), SASL_DONE);
			assert_slices(sasl.user, words[i]);
			assert_slices(sasl.password, words[k]);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_both_sides),
	};

	return cmocka_run_group_tests_name("sasl_client", tests, NULL, NULL);
}
