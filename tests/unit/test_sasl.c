/*
 * test_sasl.c - names, passwords and tokens, the server's side, and base64 to
 * the letter.
 */
#include "drive.h"

#include "base/base64.h"
#include "protocol/sasl.h"

/* Before a guard page, as the storage in a wire may be. */
static struct guarded storage;
static struct wire wire;
static struct sasl_server sasl;

static int
set_up(void **state)
{
	(void)state;
	guarded_new(&storage, SASL_IN_MIN);
	wire_init(&wire, storage.data, storage.size, NULL, 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	guarded_free(&storage);
	return 0;
}

/* A line that was taken from the wire, as far back in it as it fits. */
static struct slice
taken(struct slice s)
{
	struct buf *in = &wire.in;

	if (s.data == NULL)
		return s;
	assert_true(s.len <= in->size);
	in->start = in->end = in->size;
	char *at = in->data + in->size - s.len;
	if (s.len > 0)
		memcpy(at, s.data, s.len);
	return (struct slice){ at, s.len };
}

static enum sasl_outcome
start(struct slice mechanism, struct slice initial, struct slice *challenge)
{
	return sasl_server_start(&sasl, &wire, ~0u, mechanism,
	    taken(initial), challenge);
}

static enum sasl_outcome
take(struct slice line, struct slice *challenge)
{
	return sasl_server_take(&sasl, &wire, taken(line), challenge);
}

/* Base64 by the bit: a model that shares nothing with the real one. */
static struct slice
model_base64(struct slice data)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	static char out[2 * SASL_LINE_MAX];
	size_t n = 0;

	for (size_t bit = 0; bit < data.len * 8; bit += 6) {
		unsigned value = 0;

		for (size_t i = bit; i < bit + 6; i++) {
			unsigned octet = i / 8 < data.len
			    ? (unsigned char)data.data[i / 8] : 0;
			value = value << 1 | (octet >> (7 - i % 8) & 1);
		}
		out[n++] = digits[value];
	}
	while (n % 4 != 0)
		out[n++] = '=';
	return (struct slice){ out, n };
}

/* ---- the server's side ---- */

/* No octets at all: in a table, and elsewhere. */
#define NONE { NULL, 0 }
static const struct slice none = NONE;

static void
test_plain(void **state)
{
	static const struct {
		struct slice message; /* before base64 */
		enum sasl_outcome outcome;
		struct slice user, password;
	} rows[] = {
		{ SLICE("\0joe\0secret"), SASL_DONE, SLICE("joe"),
		    SLICE("secret") },
		{ SLICE("joe\0joe\0secret"), SASL_DONE, SLICE("joe"),
		    SLICE("secret") },
		{ SLICE("\0joe\0"), SASL_DONE, SLICE("joe"), SLICE("") },
		/* Whether an empty name will do is not SASL's business. */
		{ SLICE("\0\0secret"), SASL_DONE, SLICE(""),
		    SLICE("secret") },
		{ SLICE("\0\0"), SASL_DONE, SLICE(""), SLICE("") },
		{ SLICE("\0j\xC3\xB6\0p\xC3\xA4ss"), SASL_DONE,
		    SLICE("j\xC3\xB6"), SLICE("p\xC3\xA4ss") },
		{ SLICE("\0joe@example.org\0s p\r\n"), SASL_DONE,
		    SLICE("joe@example.org"), SLICE("s p\r\n") },
		/* Nobody acts for somebody else. */
		{ SLICE("root\0joe\0secret"), SASL_NOT_ALLOWED, NONE, NONE },
		{ SLICE("JOE\0joe\0secret"), SASL_NOT_ALLOWED, NONE, NONE },
		{ SLICE("jo\0joe\0secret"), SASL_NOT_ALLOWED, NONE, NONE },
		{ SLICE("j\0joe\0secret"), SASL_NOT_ALLOWED, NONE, NONE },
		/* Too few NULs, too many. */
		{ SLICE(""), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("joe"), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("\0"), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("\0joe"), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("joe\0secret"), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("\0joe\0sec\0ret"), SASL_BAD_MESSAGE, NONE, NONE },
		{ SLICE("\0joe\0secret\0"), SASL_BAD_MESSAGE, NONE, NONE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice line = model_base64(rows[i].message);
		struct slice challenge;

		/* In the command. */
		if (line.len > 0)
			assert_int_equal(start(SLICE("PLAIN"), line,
			    &challenge),
			    rows[i].outcome);
		if (line.len > 0 && rows[i].outcome == SASL_DONE) {
			assert_slices(sasl.user, rows[i].user);
			assert_slices(sasl.password, rows[i].password);
		}
		/* On a line of its own, after an empty challenge. */
		assert_int_equal(start(SLICE("plain"),
		    none, &challenge), SASL_CONTINUE);
		assert_slice(challenge, "");
		assert_int_equal(take(line,
		    &challenge), rows[i].outcome);
		if (rows[i].outcome == SASL_DONE) {
			assert_slices(sasl.user, rows[i].user);
			assert_slices(sasl.password, rows[i].password);
		}
	}
}

static void
test_login(void **state)
{
	struct slice challenge;

	(void)state;
	assert_int_equal(start(SLICE("LOGIN"), none,
	    &challenge), SASL_CONTINUE);
	assert_slice(challenge, "VXNlcm5hbWU6"); /* Username: */
	assert_int_equal(take(SLICE("am9l"),
	    &challenge), SASL_CONTINUE);
	assert_slice(challenge, "UGFzc3dvcmQ6"); /* Password: */
	assert_int_equal(take(SLICE("c2VjcmV0"), &challenge), SASL_DONE);
	assert_slice(sasl.user, "joe");
	assert_slice(sasl.password, "secret");

	/* The name in the command, as some clients have it. */
	assert_int_equal(start(SLICE("login"), SLICE("am9l"), &challenge),
	    SASL_CONTINUE);
	assert_slice(challenge, "UGFzc3dvcmQ6");
	assert_int_equal(take(SLICE(""), &challenge),
	    SASL_DONE);
	assert_slice(sasl.user, "joe");
	assert_slice(sasl.password, "");

	/* "=" in the command is a response of no octets (RFC 4954 4); as a
	 * line of its own it is not base64. */
	assert_int_equal(start(SLICE("LOGIN"),
	    SLICE("="), &challenge), SASL_CONTINUE);
	assert_slice(challenge, "UGFzc3dvcmQ6");
	assert_int_equal(take(SLICE("="), &challenge),
	    SASL_BAD_BASE64);

	/* NULs would end a password for crypt(3). */
	assert_int_equal(start(SLICE("LOGIN"),
	    SLICE("am9l"), &challenge), SASL_CONTINUE);
	assert_int_equal(take(SLICE("AAA="), &challenge),
	    SASL_BAD_MESSAGE);
	assert_int_equal(start(SLICE("LOGIN"),
	    SLICE("AAA="), &challenge), SASL_BAD_MESSAGE);
	assert_int_equal(start(SLICE("LOGIN"),
	    SLICE("AA=="), &challenge), SASL_BAD_MESSAGE);
}

static void
test_cancel_and_unknown(void **state)
{
	static const struct slice unknown[] = {
		SLICE(""), SLICE("CRAM-MD5"), SLICE("PLAI"), SLICE("PLAINX"),
		SLICE("PLAIN\0"), SLICE("LOGI"), SLICE("*"),
	};
	struct slice challenge;

	(void)state;
	for (size_t i = 0; i < COUNT(unknown); i++)
		assert_int_equal(start(unknown[i], none,
		    &challenge), SASL_UNKNOWN);

	start(SLICE("PLAIN"), none, &challenge);
	assert_int_equal(take(SLICE("*"), &challenge),
	    SASL_CANCELLED);
	start(SLICE("LOGIN"), none, &challenge);
	assert_int_equal(take(SLICE("*"), &challenge),
	    SASL_CANCELLED);
	start(SLICE("LOGIN"), none, &challenge);
	assert_int_equal(take(SLICE("am9l"), &challenge),
	    SASL_CONTINUE);
	assert_int_equal(take(SLICE("*"), &challenge),
	    SASL_CANCELLED);
	/* Whoever begins again has said nothing yet: "n,a=joe,^A^A" has no
	 * token, whatever was said before. */
	assert_int_equal(start(SLICE("PLAIN"), SLICE("AGpvZQBzZWNyZXQ="),
	    &challenge), SASL_DONE);
	assert_int_equal(start(SLICE("OAUTHBEARER"),
	    SLICE("bixhPWpvZSwBAQ=="), &challenge), SASL_BAD_MESSAGE);
	/* Only "*" itself is that. */
	start(SLICE("PLAIN"), none, &challenge);
	assert_int_equal(take(SLICE("**"), &challenge),
	    SASL_BAD_BASE64);
}

/* ---- base64 ---- */

/* What LOGIN takes for a name; bad: NULL data. */
static struct slice
decoded(struct slice line)
{
	struct slice challenge;

	assert_int_equal(start(SLICE("LOGIN"), none,
	    &challenge), SASL_CONTINUE);
	switch (take(line, &challenge)) {
	case SASL_CONTINUE:
		return sasl.user;
	case SASL_BAD_BASE64:
		return none;
	default:
		fail();
		return none;
	}
}

static void
test_base64_bad(void **state)
{
	static const struct slice bad[] = {
		SLICE("a"), SLICE("am"), SLICE("am9"), SLICE("am9lZ"),
		SLICE("="), SLICE("=="), SLICE("==="), SLICE("===="),
		SLICE("a==="), SLICE("=m9l"), SLICE("a=9l"), SLICE("am=l"),
		SLICE("am==am9l"), SLICE("am9=am9l"), SLICE("am9lam="),
		SLICE("am9l="), SLICE("am9l===="), SLICE("am9l\r"),
		SLICE(" am9l"), SLICE("am9l "), SLICE("am 9"),
		SLICE("am-l"), SLICE("am_l"), SLICE("am9\0"), SLICE("\0\0\0\0"),
		SLICE("am9\xFF"), SLICE("am9\x80"), SLICE("@m9l"),
		SLICE("[m9l"), SLICE("`m9l"), SLICE("{m9l"), SLICE("/:9l"),
		SLICE("am9.,"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (decoded(bad[i]).data != NULL)
			fail_msg("'%.*s'", SLICE_ARG(bad[i]));
	/* RFC 4648 section 10. */
	assert_slice(decoded(SLICE("Zg==")), "f");
	assert_slice(decoded(SLICE("Zm8=")), "fo");
	assert_slice(decoded(SLICE("Zm9v")), "foo");
	assert_slice(decoded(SLICE("Zm9vYg==")), "foob");
	assert_slice(decoded(SLICE("Zm9vYmE=")), "fooba");
	assert_slice(decoded(SLICE("Zm9vYmFy")), "foobar");
	assert_slice(decoded(SLICE("+/+/")), "\xFB\xFF\xBF");
	assert_slice(decoded(SLICE("")), "");
}

/* Every octet at every place of a group, and much by chance; but no NUL,
 * which LOGIN does not take. */
static void
test_base64_round_trip(void **state)
{
	uint64_t seed = 3;
	char data[256], out[512];

	(void)state;
	for (int c = 1; c < 256; c++)
		for (size_t len = 1; len <= 4; len++) {
			memset(data, c, len);
			struct slice plain = { data, len };
			struct slice text = model_base64(plain);

			assert_slices(decoded(text), plain);
			size_t n = base64_encode(plain, out, sizeof(out));
			assert_slices(((struct slice){ out, n }), text);
		}
	for (unsigned i = 0; i < 3000; i++) {
		struct slice plain = { data, chance(&seed, sizeof(data)) };

		for (size_t k = 0; k < plain.len; k++)
			data[k] = (char)(1 + chance(&seed, 255));
		struct slice text = model_base64(plain);
		assert_slices(decoded(text), plain);
		size_t n = base64_encode(plain, out, sizeof(out));
		assert_slices(((struct slice){ out, n }), text);
	}
}

/* ---- tokens ---- */

struct token_row {
	struct slice message; /* before base64 */
	enum sasl_outcome outcome;
	struct slice user, token;
};

static void
check_tokens(struct slice mechanism, const struct token_row *rows, size_t n)
{
	struct slice challenge;

	for (size_t i = 0; i < n; i++) {
		enum sasl_outcome outcome = start(mechanism,
		    model_base64(rows[i].message), &challenge);

		if (outcome != rows[i].outcome)
			fail_msg("row %zu: %d", i, (int)outcome);
		if (outcome != SASL_DONE)
			continue;
		assert_slices(sasl.user, rows[i].user);
		assert_slices(sasl.password, rows[i].token);
	}
}

/* RFC 7628 3.1, 4.1. */
static void
test_oauthbearer(void **state)
{
#define BEARER_BAD(message) \
	{ SLICE(message), SASL_BAD_MESSAGE, NONE, NONE }
	static const struct token_row rows[] = {
		{ SLICE("n,a=user@example.com,\1host=server.example.com\1"
		    "port=143\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEu"
		    "Y29tCg==\1\1"), SASL_DONE, SLICE("user@example.com"),
		    SLICE("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==") },
		{ SLICE("y,a=j=2Co=3De,\1AUTH=bearer t\1\1"), SASL_DONE,
		    SLICE("j,o=e"), SLICE("t") },
		{ SLICE("n,a=joe,\1x=\1auth=Bearer t\1y=z\1\1"),
		    SASL_DONE, SLICE("joe"), SLICE("t") },
		{ SLICE("n,a=joe,\1x\1auth=Bearer t\1\1"), SASL_DONE,
		    SLICE("joe"), SLICE("t") },
		{ SLICE("n,a=,\1auth=Bearer t\1\1"), SASL_DONE, SLICE(""),
		    SLICE("t") },
		BEARER_BAD(""),
		BEARER_BAD("\1"),
		BEARER_BAD("n,,\1auth=Bearer t\1\1"),
		BEARER_BAD("p=tls-unique,a=joe,\1auth=Bearer t\1\1"),
		BEARER_BAD("n,a=joe\1auth=Bearer t\1\1"),
		BEARER_BAD("n,a=jo,e,\1auth=Bearer t\1\1"),
		BEARER_BAD("n,a=jo=e,\1auth=Bearer t\1\1"),
		BEARER_BAD("n,a=jo=,\1auth=Bearer t\1\1"),
		BEARER_BAD("n,a=joe,auth=Bearer t\1\1"),
		BEARER_BAD("n,a=joe,\1auth=Bearer t\1"),
		BEARER_BAD("n,a=joe,\1auth=Bearer t"),
		BEARER_BAD("n,a=joe,\1auth=Bearer t\1\1x"),
		BEARER_BAD("n,a=joe,\1auth=Bearer \1\1"),
		BEARER_BAD("n,a=joe,\1auth=Basic t\1\1"),
		BEARER_BAD("n,a=joe,\1host=h\1\1"),
		BEARER_BAD("n,a=joe,\1auth=Bearer t\nu\1\1"),
		BEARER_BAD("n,a=joe,\1auth=Bearer t\0u\1\1"),
	};

	(void)state;
	check_tokens(SLICE("oauthbearer"), rows, COUNT(rows));
}

static void
test_xoauth2(void **state)
{
	static const struct token_row rows[] = {
		{ SLICE("user=joe@b.test\1auth=Bearer t.u-v_w\1\1"),
		    SASL_DONE, SLICE("joe@b.test"), SLICE("t.u-v_w") },
		{ SLICE("User=\1Auth=Bearer  t\1\1"), SASL_DONE, SLICE(""),
		    SLICE("t") },
		BEARER_BAD(""),
		BEARER_BAD("user=joe"),
		BEARER_BAD("auth=Bearer t\1user=joe\1\1"),
		BEARER_BAD("user=joe\1auth=Bearer t\1"),
		BEARER_BAD("user=joe\1\1"),
	};

	(void)state;
	check_tokens(SLICE("XOAUTH2"), rows, COUNT(rows));
}

/* RFC 7628 3.2.2: a refused token is told by a challenge, and what the client
 * says to that does not matter. */
static void
test_refused_tokens(void **state)
{
	static const struct slice dummies[] = { SLICE("AQ=="), SLICE(""),
		SLICE("*"), SLICE("!") };
	struct slice challenge;

	(void)state;
	for (size_t i = 0; i < COUNT(dummies); i++) {
		assert_int_equal(start(SLICE("XOAUTH2"), model_base64(
		    SLICE("user=joe\1auth=Bearer zyx\1\1")), &challenge),
		    SASL_DONE);
		assert_true(sasl_server_refuse(&sasl, &wire, &challenge));
		assert_slice(challenge, "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoi"
		    "YmVhcmVyIn0=");
		assert_null(memmem(storage.data, storage.size, "zyx", 3));
		assert_int_equal(take(dummies[i], &challenge), SASL_REFUSED);
		sasl_wipe(&sasl, &wire);
	}
	start(SLICE("OAUTHBEARER"), model_base64(
	    SLICE("n,a=joe,\1auth=Bearer t\1\1")), &challenge);
	assert_true(sasl_server_refuse(&sasl, &wire, &challenge));
	assert_slice(challenge, "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NoZW1l"
	    "cyI6ImJlYXJlciJ9");
	/* A password is not. */
	start(SLICE("PLAIN"), SLICE("AGpvZQBzZWNyZXQ="), &challenge);
	assert_false(sasl_server_refuse(&sasl, &wire, &challenge));
}

static void
test_mechanisms(void **state)
{
	static const struct { const char *list; unsigned set; } rows[] = {
		{ "plain", 1u << SASL_MECHANISM_PLAIN },
		{ "plain,LOGIN", SASL_USUAL },
		{ "xoauth2, oauthbearer", SASL_TOKENS },
		{ "login,login", 1u << SASL_MECHANISM_LOGIN },
		{ "", 0 }, { "plain,", 0 }, { "cram-md5", 0 },
		{ "plain login", 0 },
	};
	char list[SASL_LIST_MAX];
	struct slice challenge;
	unsigned set;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (sasl_parse_mechanisms(slice_from(rows[i].list), &set) !=
		    (rows[i].set != 0) || (rows[i].set != 0 &&
		    set != rows[i].set))
			fail_msg("%s", rows[i].list);
	assert_string_equal(sasl_list(SASL_USUAL, list), "PLAIN LOGIN");
	assert_string_equal(sasl_list(SASL_USUAL | SASL_TOKENS, list),
	    "PLAIN LOGIN OAUTHBEARER XOAUTH2");
	assert_string_equal(sasl_list(0, list), "");
	/* What is not in the set is not known. */
	assert_int_equal(sasl_server_start(&sasl, &wire, SASL_USUAL,
	    SLICE("XOAUTH2"), none, &challenge), SASL_UNKNOWN);
	assert_int_equal(sasl_server_start(&sasl, &wire, SASL_TOKENS,
	    SLICE("PLAIN"), none, &challenge), SASL_UNKNOWN);
	assert_int_equal(sasl_server_start(&sasl, &wire, SASL_TOKENS,
	    SLICE("xoauth2"), none, &challenge), SASL_CONTINUE);
	assert_slice(challenge, "");
	assert_string_equal(sasl_server_mechanism(&sasl), "XOAUTH2");
}

/* ---- limits ---- */

/* A name and a password of so many octets, by PLAIN. */
static enum sasl_outcome
plain_of(size_t user, size_t password)
{
	struct text message = { .data = NULL };
	struct slice challenge;

	text_repeat(&message, '\0', 1);
	text_repeat(&message, 'u', user);
	text_repeat(&message, '\0', 1);
	text_repeat(&message, 'p', password);
	enum sasl_outcome outcome = start(SLICE("PLAIN"),
	    model_base64(text_slice(&message)), &challenge);
	text_free(&message);
	if (outcome == SASL_DONE) {
		assert_int_equal(sasl.user.len, user);
		assert_int_equal(sasl.password.len, password);
	}
	return outcome;
}

static enum sasl_outcome
login_of(size_t user, size_t password)
{
	struct text word = { .data = NULL };
	struct slice challenge;

	text_repeat(&word, 'u', user);
	enum sasl_outcome outcome = start(SLICE("LOGIN"),
	    model_base64(text_slice(&word)), &challenge);
	if (outcome == SASL_CONTINUE) {
		word.len = 0;
		text_repeat(&word, 'p', password);
		outcome = take(model_base64(text_slice(&word)), &challenge);
	}
	text_free(&word);
	if (outcome == SASL_DONE) {
		assert_int_equal(sasl.user.len, user);
		assert_int_equal(sasl.password.len, password);
		assert_int_equal(sasl.user.data[user - 1], 'u');
		assert_int_equal(sasl.password.data[password - 1], 'p');
	}
	return outcome;
}

static enum sasl_outcome
token_of(size_t user, size_t token)
{
	struct text message = { .data = NULL };
	struct slice challenge;

	text_add(&message, SLICE("user="));
	text_repeat(&message, 'u', user);
	text_add(&message, SLICE("\1auth=Bearer "));
	text_repeat(&message, 't', token);
	text_add(&message, SLICE("\1\1"));
	enum sasl_outcome outcome = start(SLICE("XOAUTH2"),
	    model_base64(text_slice(&message)), &challenge);
	text_free(&message);
	if (outcome == SASL_DONE) {
		assert_int_equal(sasl.user.len, user);
		assert_int_equal(sasl.password.len, token);
	}
	return outcome;
}

static void
test_limits(void **state)
{
	const size_t max = SASL_SECRET_MAX;
	struct text line = { .data = NULL };
	struct slice challenge;

	(void)state;
	assert_int_equal(plain_of(max, max), SASL_DONE);
	assert_int_equal(plain_of(max + 1, 1), SASL_TOO_LONG);
	assert_int_equal(plain_of(1, max + 1), SASL_TOO_LONG);
	assert_int_equal(login_of(max, max), SASL_DONE);
	assert_int_equal(login_of(max + 1, 1), SASL_TOO_LONG);
	assert_int_equal(login_of(1, max + 1), SASL_TOO_LONG);
	assert_int_equal(token_of(max, SASL_TOKEN_MAX - 64), SASL_DONE);
	assert_int_equal(token_of(1, SASL_TOKEN_MAX), SASL_DONE);
	assert_int_equal(token_of(max + 1, 1), SASL_TOO_LONG);
	assert_int_equal(token_of(1, SASL_TOKEN_MAX + 1), SASL_TOO_LONG);

	/* The longest line, and a longer one, which is refused before it is
	 * looked at. */
	text_repeat(&line, 'A', SASL_LINE_MAX);
	assert_int_equal(start(SLICE("PLAIN"), text_slice(&line), &challenge),
	    SASL_BAD_MESSAGE);
	text_repeat(&line, 'A', 4);
	assert_int_equal(start(SLICE("PLAIN"), text_slice(&line), &challenge),
	    SASL_TOO_LONG);
	text_free(&line);
}

static void
test_wipe(void **state)
{
	static const struct sasl_server zero;
	struct slice challenge;

	(void)state;
	start(SLICE("LOGIN"), SLICE("am9l"), &challenge);
	take(SLICE("c2VjcmV0"), &challenge);
	assert_non_null(memmem(storage.data, storage.size, "secret", 6));
	assert_non_null(memmem(storage.data, storage.size, "joe", 3));
	sasl_wipe(&sasl, &wire);
	assert_memory_equal(&sasl, &zero, sizeof(sasl));
	for (size_t i = 0; i < storage.size; i++)
		assert_int_equal(storage.data[i], 0);
	assert_int_equal(wire.in.size, storage.size);
}

/* Nothing is written past the end of out. */
static void
test_base64_room(void **state)
{
	char *out = guarded_put(&storage, "....", 4);

	(void)state;
	assert_int_equal(base64_encode(SLICE("joe"), out, 4), 4);
	assert_memory_equal(out, "am9l", 4);
	assert_int_equal(base64_encode(SLICE("joe"), out + 1, 3), 0);
	assert_int_equal(base64_encode(SLICE(""), out + 4, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_oauthbearer),
		cmocka_unit_test(test_xoauth2),
		cmocka_unit_test(test_refused_tokens),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_cancel_and_unknown),
		cmocka_unit_test(test_base64_bad),
		cmocka_unit_test(test_base64_round_trip),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_base64_room),
	};

	return cmocka_run_group_tests_name("sasl", tests, set_up, tear_down);
}
