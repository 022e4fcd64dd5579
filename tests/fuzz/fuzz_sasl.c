/*
 * fuzz_sasl.c - the server's exchanges, against a second base64 decoder and a
 * second reader of their messages, and against our own client.
 *
 * The input is lines: the mechanism, then what the client answers. A line
 * that begins with 0x01 is raw: its other octets are put into base64 first,
 * which an invented line would never be. A mechanism's line with a blank has
 * an initial response after it.
 */
#include "fuzz.h"

#include <regex.h>

#include "base/base64.h"
#include "protocol/sasl.h"
#include "protocol/sasl_client.h"

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 section 4, bit by bit. */
static void
encode(struct slice s, struct text *out)
{
	unsigned bits = 0;
	unsigned n = 0;

	for (size_t i = 0; i < s.len; i++) {
		bits = (bits << 8 | (unsigned char)s.data[i]) & 0xFFFF;
		for (n += 8; n >= 6; n -= 6)
			text_add_octet(out, digits[bits >> (n - 6) & 63]);
	}
	if (n > 0)
		text_add_octet(out, digits[bits << (6 - n) & 63]);
	while (out->len % 4 != 0)
		text_add_octet(out, '=');
}

static bool
decode(struct slice s, struct text *out)
{
	unsigned bits = 0;
	unsigned n = 0;
	size_t padding = 0;

	if (s.len % 4 != 0)
		return false;
	while (padding < 2 && s.len > 0 && s.data[s.len - 1] == '=') {
		s.len--;
		padding++;
	}
	for (size_t i = 0; i < s.len; i++) {
		const char *digit = s.data[i] == '\0' ? NULL
		    : strchr(digits, s.data[i]);
		if (digit == NULL)
			return false;
		bits = (bits << 6 | (unsigned)(digit - digits)) & 0xFFFF;
		n += 6;
		if (n >= 8) {
			n -= 8;
			text_add_octet(out, (char)(bits >> n & 0xFF));
		}
	}
	return true;
}

/* ---- what the server should make of it ---- */

static bool
has_nul(struct slice s)
{
	return s.len > 0 && memchr(s.data, '\0', s.len) != NULL;
}

struct model {
	enum sasl_state state;
	struct text message;
	struct slice user;
	struct slice password;
	struct text name; /* of LOGIN */
};

static enum sasl_outcome
model_plain(struct model *model)
{
	struct slice parts[4];
	struct slice message = text_slice(&model->message);
	size_t n = 0;

	parts[0] = (struct slice){ message.data, 0 };
	for (size_t i = 0; i < message.len && n < 3; i++)
		if (message.data[i] != '\0')
			parts[n].len++;
		else
			parts[++n] = (struct slice){ message.data + i + 1, 0 };
	if (n != 2)
		return SASL_BAD_MESSAGE;
	if (parts[1].len > SASL_SECRET_MAX || parts[2].len > SASL_SECRET_MAX)
		return SASL_TOO_LONG;
	if (parts[0].len > 0 && !slice_equal(parts[0], parts[1]))
		return SASL_NOT_ALLOWED;
	model->user = parts[1];
	model->password = parts[2];
	return SASL_DONE;
}

/* As a regular expression (RFC 7628 3.1): where name and token are. */
static bool
match_token(struct model *model, regmatch_t at[3])
{
	static regex_t patterns[2];
	static bool compiled;
	bool bearer = model->state == SASL_OAUTHBEARER;

	if (!compiled) {
		CHECK(regcomp(&patterns[0], "^user=([^\1]*)\1"
		    "([^\1]+\1)*\1$", REG_EXTENDED | REG_ICASE) == 0);
		CHECK(regcomp(&patterns[1], "^[ny],a=(([^\1,=]|=2[cC]|=3[dD])*)"
		    ",\1([^\1]+\1)*\1$", REG_EXTENDED) == 0);
	}
	compiled = true;
	text_add_octet(&model->message, '\0');
	return regexec(&patterns[bearer], model->message.data, 3, at, 0) ==
	    0;
}

static enum sasl_outcome
model_token(struct model *model)
{
	regmatch_t at[3];

	/* Its last octet, a NUL, is not the client's. */
	if (!match_token(model, at))
		return SASL_BAD_MESSAGE;
	for (regoff_t i = at[1].rm_so; i < at[1].rm_eo; i++) {
		char c = model->message.data[i];

		if (c == '=' && model->state == SASL_OAUTHBEARER) {
			c = model->message.data[i + 1] == '2' ? ',' : '=';
			i += 2;
		}
		text_add_octet(&model->name, c);
	}
	model->user = text_slice(&model->name);
	struct slice rest = slice_from(model->message.data + at[1].rm_eo);
	struct slice pair;
	while (slice_cut(rest, '\1', &pair, &rest))
		if (slice_starts_with_nocase(pair, SLICE("auth=Bearer ")))
			model->password = slice_trim(slice_skip(pair, 12));
	for (size_t i = 0; i < model->password.len; i++)
		if ((unsigned char)model->password.data[i] < 0x20 ||
		    model->password.data[i] == 0x7F)
			return SASL_BAD_MESSAGE;
	if (model->password.len == 0)
		return SASL_BAD_MESSAGE;
	return model->user.len > SASL_SECRET_MAX ||
	    model->password.len > SASL_TOKEN_MAX ? SASL_TOO_LONG : SASL_DONE;
}

static enum sasl_outcome
model_take(struct model *model, struct slice line)
{
	model->message.len = 0;
	if (line.len > SASL_LINE_MAX)
		return SASL_TOO_LONG;
	if (!decode(line, &model->message))
		return SASL_BAD_BASE64;
	if (model->state == SASL_PLAIN)
		return model_plain(model);
	if (has_nul(text_slice(&model->message)))
		return SASL_BAD_MESSAGE;
	if (model->state == SASL_OAUTHBEARER || model->state == SASL_XOAUTH2)
		return model_token(model);
	if (model->message.len > SASL_SECRET_MAX)
		return SASL_TOO_LONG;
	if (model->state == SASL_LOGIN_USER) {
		text_add(&model->name, text_slice(&model->message));
		model->state = SASL_LOGIN_PASSWORD;
		return SASL_CONTINUE;
	}
	model->user = text_slice(&model->name);
	model->password = text_slice(&model->message);
	return SASL_DONE;
}

static enum sasl_outcome
model_start(struct model *model, struct slice mechanism, bool has_initial,
    struct slice initial)
{
	if (slice_equal_nocase(mechanism, SLICE("PLAIN")))
		model->state = SASL_PLAIN;
	else if (slice_equal_nocase(mechanism, SLICE("LOGIN")))
		model->state = SASL_LOGIN_USER;
	else if (slice_equal_nocase(mechanism, SLICE("OAUTHBEARER")))
		model->state = SASL_OAUTHBEARER;
	else if (slice_equal_nocase(mechanism, SLICE("XOAUTH2")))
		model->state = SASL_XOAUTH2;
	else
		return SASL_UNKNOWN;
	if (!has_initial)
		return SASL_CONTINUE;
	if (slice_equal(initial, SLICE("=")))
		initial.len = 0;
	return model_take(model, initial);
}

static const struct slice names_of[] = {
	[SASL_PLAIN] = SLICE("PLAIN"),
	[SASL_LOGIN_USER] = SLICE("LOGIN"),
	[SASL_LOGIN_PASSWORD] = SLICE("LOGIN"),
	[SASL_OAUTHBEARER] = SLICE("OAUTHBEARER"),
	[SASL_XOAUTH2] = SLICE("XOAUTH2"),
};

static void
compare(const struct sasl_server *sasl, const struct model *model,
    enum sasl_outcome got, enum sasl_outcome want, struct slice challenge)
{
	CHECK(got == want);
	CHECK_SAME(slice_from(sasl_server_mechanism(sasl)),
	    got == SASL_UNKNOWN ? SLICE("") : names_of[model->state]);
	if (got == SASL_CONTINUE)
		CHECK_SAME(challenge, model->state == SASL_LOGIN_USER
		    ? SLICE("VXNlcm5hbWU6")
		    : model->state == SASL_LOGIN_PASSWORD
		    ? SLICE("UGFzc3dvcmQ6") : SLICE(""));
	if (got != SASL_DONE)
		return;
	CHECK_SAME(sasl->user, model->user);
	CHECK_SAME(sasl->password, model->password);
}

/* ---- the wire that lines are taken from ---- */

static char storage[SASL_IN_MIN];
static struct wire wire;

static struct slice
taken(struct slice s)
{
	struct buf *in = &wire.in;

	if (s.data == NULL)
		return s;
	CHECK(s.len <= in->size);
	in->start = in->end = in->size;
	if (s.len > 0)
		memmove(in->data + in->size - s.len, s.data, s.len);
	return (struct slice){ in->data + in->size - s.len, s.len };
}

static void
check_wiped(struct sasl_server *sasl)
{
	const unsigned char *octets = (const unsigned char *)sasl;

	sasl_wipe(sasl, &wire);
	for (size_t i = 0; i < sizeof(*sasl); i++)
		CHECK(octets[i] == 0);
	for (size_t i = 0; i < sizeof(storage); i++)
		CHECK(storage[i] == 0);
	CHECK(wire.in.size == sizeof(storage));
}

/* ---- our own client, at our own server ---- */

/* By PLAIN; what is longer than the client says is said by nobody. */
static void
check_plain(struct slice user, struct slice password)
{
	static struct sasl_server sasl;
	static char out[SASL_CLIENT_RESPONSE_MAX];
	const struct sasl_client client = { .name = user,
		.secret = password };
	struct text message = { .data = NULL };
	struct text want = { .data = NULL };
	struct slice challenge;
	size_t len;

	text_add_octet(&message, '\0');
	text_add(&message, user);
	text_add_octet(&message, '\0');
	text_add(&message, password);
	encode(text_slice(&message), &want);
	bool fits = user.len <= SASL_CLIENT_NAME_MAX &&
	    password.len <= SASL_CLIENT_SECRET_MAX;
	CHECK(sasl_client_respond(&client, SASL_CLIENT_PLAIN, 0, out,
	    sizeof(out), &len) == fits);
	if (fits) {
		CHECK_SAME(((struct slice){ out, len }), text_slice(&want));
		CHECK(!sasl_client_respond(&client, SASL_CLIENT_PLAIN, 0, out,
		    want.len - 1, &len));
		enum sasl_outcome outcome = sasl_server_start(&sasl,
		    &wire, SASL_USUAL, SLICE("plain"), taken(text_slice(&want)),
		    &challenge);
		bool bad = has_nul(user) || has_nul(password);
		bool fits_server = password.len <= SASL_SECRET_MAX;
		CHECK(outcome == (bad ? SASL_BAD_MESSAGE : !fits_server
		    ? SASL_TOO_LONG : SASL_DONE));
		if (outcome == SASL_DONE) {
			CHECK_SAME(sasl.user, user);
			CHECK_SAME(sasl.password, password);
		}
		check_wiped(&sasl);
	}
	text_free(&message);
	text_free(&want);
}

/* Pairs of key and value between ^A (RFC 7628 3.1), in which a name cannot
 * forge another. */
static void
check_bearer(struct slice user, struct slice token)
{
	static char out[SASL_CLIENT_RESPONSE_MAX];
	static char message[SASL_CLIENT_RESPONSE_MAX];
	const struct sasl_client client = { .name = user, .secret = token };
	struct slice text = { message, 0 }, gs2, rest;
	size_t len;

	if (!sasl_client_respond(&client, SASL_CLIENT_OAUTHBEARER, 0, out,
	    sizeof(out), &len))
		return;
	CHECK(base64_decode((struct slice){ out, len }, message, &text.len));
	CHECK(slice_starts_with(text, SLICE("n,a=")));
	CHECK(slice_ends_with(text, SLICE("\1")));
	text = slice_skip(text, 4);
	CHECK(slice_cut(text, ',', &gs2, &rest));
	for (size_t i = 0, k = 0; i < user.len; i++) {
		char c = gs2.data[k++];

		if (c == '=') {
			c = gs2.data[k] == '2' ? ',' : '=';
			k += 2;
		}
		CHECK(k <= gs2.len && c == user.data[i]);
	}
}

static void
check_response(const struct sasl_client *client,
    enum sasl_client_mechanism mechanism, unsigned step, struct slice message)
{
	static char out[SASL_CLIENT_RESPONSE_MAX];
	struct text want = { .data = NULL };
	size_t len;

	encode(message, &want);
	bool fits = client->name.len <= SASL_CLIENT_NAME_MAX &&
	    client->secret.len <= SASL_CLIENT_SECRET_MAX;
	CHECK(sasl_client_respond(client, mechanism, step, out, sizeof(out),
	    &len) == fits);
	if (fits)
		CHECK_SAME(((struct slice){ out, len }), text_slice(&want));
	text_free(&want);
}

/* LOGIN and XOAUTH2, whose messages are put together here once more, and what
 * is answered to a refused token; nothing more is said after that. */
static void
check_others(struct slice user, struct slice secret)
{
	const struct sasl_client client = { .name = user, .secret = secret };
	struct text want = { .data = NULL };
	char out[4];
	size_t len;

	check_response(&client, SASL_CLIENT_LOGIN, 0, user);
	check_response(&client, SASL_CLIENT_LOGIN, 1, secret);
	text_add(&want, SLICE("user="));
	text_add(&want, user);
	text_add(&want, SLICE("\1auth=Bearer "));
	text_add(&want, secret);
	text_add(&want, SLICE("\1\1"));
	check_response(&client, SASL_CLIENT_XOAUTH2, 0, text_slice(&want));
	check_response(&client, SASL_CLIENT_XOAUTH2, 1, SLICE(""));
	check_response(&client, SASL_CLIENT_OAUTHBEARER, 1, SLICE("\1"));
	for (int i = SASL_CLIENT_PLAIN; i < SASL_CLIENT_MECHANISMS; i++)
		CHECK(!sasl_client_respond(&client,
		    (enum sasl_client_mechanism)i, i == SASL_CLIENT_PLAIN
		    ? 1 : 2, out, sizeof(out), &len));
	text_free(&want);
}

/* ---- names ---- */

static const struct slice names[SASL_MECHANISMS_N] = {
	[SASL_MECHANISM_PLAIN] = SLICE("PLAIN"),
	[SASL_MECHANISM_LOGIN] = SLICE("LOGIN"),
	[SASL_MECHANISM_OAUTHBEARER] = SLICE("OAUTHBEARER"),
	[SASL_MECHANISM_XOAUTH2] = SLICE("XOAUTH2"),
};

/* A set, as EHLO says it: each name once, in that order. */
static void
check_set(unsigned set)
{
	char list[SASL_LIST_MAX];
	struct slice rest = slice_from(sasl_list(set, list)), name;
	unsigned number = 0;
	const char *next;

	for (unsigned i = 0; i < SASL_MECHANISMS_N; i++) {
		if ((set & 1u << i) == 0)
			continue;
		slice_cut(rest, ' ', &name, &rest);
		CHECK_SAME(name, names[i]);
		next = sasl_next_mechanism(set, &number);
		CHECK(next != NULL);
		CHECK_SAME(slice_from(next), names[i]);
		/* Our client knows it too. */
		CHECK_SAME(slice_from(sasl_client_name(
		    sasl_client_find(name))), name);
		CHECK(sasl_client_is_first(sasl_client_find(name)) ==
		    (i != SASL_MECHANISM_LOGIN));
	}
	CHECK(rest.len == 0);
	CHECK(sasl_next_mechanism(set, &number) == NULL);
}

/* "plain, login": the setting. */
static void
check_names(struct slice list)
{
	unsigned set = 0, got;
	bool good = true, more = true;
	struct slice rest = list, word;

	while (more) {
		unsigned found = 0;

		more = slice_cut(rest, ',', &word, &rest);
		for (unsigned i = 0; i < SASL_MECHANISMS_N; i++)
			if (slice_equal_nocase(slice_trim(word), names[i]))
				found = 1u << i;
		good = good && found != 0;
		set |= found;
	}
	CHECK(sasl_parse_mechanisms(list, &got) == good);
	if (good) {
		CHECK(got == set);
		check_set(set);
	}
	if (sasl_client_find(list) == SASL_CLIENT_NONE)
		CHECK(!good || slice_cut(list, ',', &word, &rest) ||
		    slice_trim(list).len < list.len);
}

/* ---- the exchange ---- */

static void
add_line(struct text *out, struct slice line)
{
	if (slice_starts_with(line, SLICE("\x01")))
		encode(slice_skip(line, 1), out);
	else
		text_add(out, line);
	/* A wire has no longer ones, or hardly. */
	if (out->len > SASL_LINE_MAX + 4)
		out->len = SASL_LINE_MAX + 4;
}

static void
exchange(struct slice rest)
{
	static struct sasl_server sasl;
	struct slice line, mechanism, initial, challenge;
	struct model model = { .state = SASL_IDLE };
	struct text text = { .data = NULL };
	enum sasl_outcome got, want;

	slice_cut(rest, '\n', &line, &rest);
	bool has_initial = slice_cut(line, ' ', &mechanism, &initial);
	add_line(&text, initial);
	got = sasl_server_start(&sasl, &wire, ~0u, mechanism, !has_initial
	    ? slice_from(NULL) : taken(text.len > 0 ? text_slice(&text)
	    : SLICE("")), &challenge);
	want = model_start(&model, mechanism, has_initial,
	    text_slice(&text));
	compare(&sasl, &model, got, want, challenge);
	while (got == SASL_CONTINUE && rest.len > 0) {
		slice_cut(rest, '\n', &line, &rest);
		text.len = 0;
		add_line(&text, line);
		got = sasl_server_take(&sasl, &wire,
		    taken(text_slice(&text)), &challenge);
		want = slice_equal(text_slice(&text), SLICE("*"))
		    ? SASL_CANCELLED : model_take(&model, text_slice(&text));
		compare(&sasl, &model, got, want, challenge);
	}
	/* A token is refused by a challenge, whatever is said to that. */
	if (got == SASL_DONE && sasl_server_refuse(&sasl, &wire, &challenge)) {
		CHECK(model.state == SASL_OAUTHBEARER ||
		    model.state == SASL_XOAUTH2);
		CHECK(sasl_server_take(&sasl, &wire, taken(rest.len < 100
		    ? rest : SLICE("*")), &challenge) == SASL_REFUSED);
	}
	check_wiped(&sasl);
	text_free(&text);
	text_free(&model.message);
	text_free(&model.name);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = fuzz_slice(data, size);
	struct slice user, password;

	wire_init(&wire, storage, sizeof(storage), NULL, 0);
	exchange(input);
	slice_cut(input, '\n', &user, &password);
	check_plain(user, password);
	check_bearer(user, password);
	check_others(user, password);
	check_names(user);
	return 0;
}
