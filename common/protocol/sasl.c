/*
 * sasl.c - names, passwords and tokens.
 */
#include "protocol/sasl.h"

#include <string.h>

#include "base/base64.h"

/* ---- mechanisms ---- */

struct mechanism {
	const char *name;
	enum sasl_state begins_in;
	struct slice challenge; /* the first one, in base64 */
};

static const struct mechanism known[] = {
	[SASL_MECHANISM_PLAIN] = { "PLAIN", SASL_PLAIN, SLICE("") },
	[SASL_MECHANISM_LOGIN] = { "LOGIN", SASL_LOGIN_USER,
	    SLICE("VXNlcm5hbWU6") }, /* "Username:" */
	[SASL_MECHANISM_OAUTHBEARER] = { "OAUTHBEARER", SASL_OAUTHBEARER,
	    SLICE("") },
	[SASL_MECHANISM_XOAUTH2] = { "XOAUTH2", SASL_XOAUTH2, SLICE("") },
};

const char *
sasl_next_mechanism(unsigned mechanisms, unsigned *number)
{
	while (*number < SASL_MECHANISMS_N)
		if ((mechanisms & 1u << (*number)++) != 0)
			return known[*number - 1].name;
	return NULL;
}

/* Of those of the set; NULL where there is none of that name. */
static const struct mechanism *
find_mechanism(unsigned mechanisms, struct slice name, unsigned *bit)
{
	for (unsigned i = 0; i < SASL_MECHANISMS_N; i++) {
		*bit = 1u << i;
		if ((mechanisms & *bit) != 0 &&
		    slice_equal_nocase(slice_from(known[i].name), name))
			return &known[i];
	}
	return NULL;
}

bool
sasl_parse_mechanisms(struct slice list, unsigned *mechanisms)
{
	struct slice word;
	unsigned bit;
	bool more;

	*mechanisms = 0;
	do {
		more = slice_cut(list, ',', &word, &list);
		if (find_mechanism(~0u, slice_trim(word), &bit) == NULL)
			return false;
		*mechanisms |= bit;
	} while (more);
	return true;
}

const char *
sasl_list(unsigned mechanisms, char out[SASL_LIST_MAX])
{
	unsigned number = 0;
	const char *name;
	size_t len = 0;

	while ((name = sasl_next_mechanism(mechanisms, &number)) != NULL) {
		if (len > 0)
			out[len++] = ' ';
		memcpy(out + len, name, strlen(name));
		len += strlen(name);
	}
	out[len] = '\0';
	return out;
}

/* ---- messages ---- */

/* RFC 4616: [authzid] NUL authcid NUL passwd. */
static enum sasl_outcome
take_plain(struct sasl_server *sasl, struct slice message)
{
	struct slice identity, rest;

	if (!slice_cut(message, '\0', &identity, &rest) ||
	    !slice_cut(rest, '\0', &sasl->user, &sasl->password) ||
	    memchr(sasl->password.data, '\0', sasl->password.len) != NULL)
		return SASL_BAD_MESSAGE;
	if (sasl->user.len > SASL_SECRET_MAX ||
	    sasl->password.len > SASL_SECRET_MAX)
		return SASL_TOO_LONG;
	return identity.len > 0 && !slice_equal(identity, sasl->user)
	    ? SASL_NOT_ALLOWED : SASL_DONE;
}

/* RFC 5801 4: "=2C" and "=3D" stand for what separates. In place; false where
 * it is no such name. */
static bool
decode_name(char *text, size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < *len; i++) {
		char c = text[i];

		if (c == '=') {
			struct slice code = { text + i, *len - i };

			c = slice_starts_with_nocase(code, SLICE("=2C"))
			    ? ',' : '=';
			if (c == '=' &&
			    !slice_starts_with_nocase(code, SLICE("=3D")))
				return false;
			i += 2;
		}
		text[n++] = c;
	}
	*len = n;
	return true;
}

/* The token of "auth=Bearer TOKEN", among pairs with ^A after each and one
 * more at the end. */
static enum sasl_outcome
take_pairs(struct sasl_server *sasl, struct slice pairs)
{
	static const struct slice auth = SLICE("auth=Bearer ");
	struct slice pair;
	bool whole;

	while ((whole = slice_cut(pairs, '\1', &pair, &pairs)) &&
	    pair.len > 0)
		if (slice_starts_with_nocase(pair, auth))
			sasl->password = slice_trim(slice_skip(pair,
			    auth.len));
	if (!whole || pairs.len > 0 || sasl->password.len == 0 ||
	    slice_has_control(sasl->password))
		return SASL_BAD_MESSAGE;
	return sasl->user.len > SASL_SECRET_MAX ||
	    sasl->password.len > SASL_TOKEN_MAX ? SASL_TOO_LONG : SASL_DONE;
}

/* RFC 7628 3.1: "n,a=NAME,^Aauth=Bearer TOKEN^A^A". Who it is must be said:
 * nobody here reads it from a token. */
static enum sasl_outcome
take_oauthbearer(struct sasl_server *sasl, char *text, size_t len)
{
	struct slice message = { text, len }, header, pairs, binding, name;

	if (!slice_cut(message, '\1', &header, &pairs) ||
	    !slice_cut(header, ',', &binding, &name) ||
	    !slice_ends_with(name, SLICE(",")) ||
	    !(slice_equal(binding, SLICE("n")) ||
	    slice_equal(binding, SLICE("y"))) ||
	    !slice_starts_with(name, SLICE("a=")))
		return SASL_BAD_MESSAGE;
	name = slice_skip(name, 2);
	name.len--;
	if (memchr(name.data, ',', name.len) != NULL ||
	    !decode_name(text + (name.data - text), &name.len))
		return SASL_BAD_MESSAGE;
	sasl->user = name;
	return take_pairs(sasl, pairs);
}

/* "user=NAME^Aauth=Bearer TOKEN^A^A": Google's and Microsoft's. */
static enum sasl_outcome
take_xoauth2(struct sasl_server *sasl, struct slice message)
{
	static const struct slice user = SLICE("user=");
	struct slice pairs;

	if (!slice_starts_with_nocase(message, user) ||
	    !slice_cut(slice_skip(message, user.len), '\1', &sasl->user,
	    &pairs))
		return SASL_BAD_MESSAGE;
	return take_pairs(sasl, pairs);
}

static enum sasl_outcome
take_response(struct sasl_server *sasl, struct wire *wire,
    struct slice text, struct slice *challenge)
{
	struct slice message = slice_from("");
	char *at = wire->in.data;

	if (text.len > SASL_LINE_MAX)
		return SASL_TOO_LONG;
	if (text.len > 0) {
		at += text.data - wire->in.data;
		if (!base64_decode(text, at, &message.len))
			return SASL_BAD_BASE64;
		message.data = at;
	}
	if (sasl->state != SASL_PLAIN && message.len > 0 &&
	    memchr(message.data, '\0', message.len) != NULL)
		return SASL_BAD_MESSAGE;
	switch (sasl->state) {
	case SASL_PLAIN:
		return take_plain(sasl, message);
	case SASL_LOGIN_USER:
		if (message.len > SASL_SECRET_MAX)
			return SASL_TOO_LONG;
		sasl->user = wire_keep(wire, message);
		sasl->state = SASL_LOGIN_PASSWORD;
		*challenge = SLICE("UGFzc3dvcmQ6"); /* "Password:" */
		return SASL_CONTINUE;
	case SASL_LOGIN_PASSWORD:
		if (message.len > SASL_SECRET_MAX)
			return SASL_TOO_LONG;
		sasl->password = message;
		return SASL_DONE;
	case SASL_OAUTHBEARER:
		return take_oauthbearer(sasl, at, message.len);
	case SASL_XOAUTH2:
		return take_xoauth2(sasl, message);
	case SASL_TOLD:
	case SASL_IDLE:
		break;
	}
	return SASL_BAD_MESSAGE;
}

enum sasl_outcome
sasl_server_take(struct sasl_server *sasl, struct wire *wire,
    struct slice line, struct slice *challenge)
{
	/* RFC 7628 3.2.3: ^A, or nothing; the login has failed anyhow. */
	if (sasl->state == SASL_TOLD)
		return SASL_REFUSED;
	/* RFC 4954 section 4, RFC 5034 section 4. */
	if (slice_equal(line, SLICE("*")))
		return SASL_CANCELLED;
	return take_response(sasl, wire, line, challenge);
}

enum sasl_outcome
sasl_server_start(struct sasl_server *sasl, struct wire *wire,
    unsigned mechanisms, struct slice mechanism, struct slice initial,
    struct slice *challenge)
{
	unsigned bit;
	const struct mechanism *chosen = find_mechanism(mechanisms, mechanism,
	    &bit);

	sasl->user = sasl->password = slice_from(NULL);
	*challenge = slice_from("");
	if (chosen == NULL)
		return SASL_UNKNOWN;
	sasl->mechanism = chosen->name;
	sasl->state = chosen->begins_in;
	*challenge = chosen->challenge;
	if (initial.data == NULL)
		return SASL_CONTINUE;
	/* "=" is a response of no octets (RFC 4954 section 4). */
	if (slice_equal(initial, SLICE("=")))
		initial.len = 0;
	return take_response(sasl, wire, initial, challenge);
}

bool
sasl_server_refuse(struct sasl_server *sasl, struct wire *wire,
    struct slice *challenge)
{
	bool bearer = sasl->state == SASL_OAUTHBEARER;

	if (!bearer && sasl->state != SASL_XOAUTH2)
		return false;
	sasl_wipe(sasl, wire);
	sasl->state = SASL_TOLD;
	/* {"status":"invalid_token","schemes":"bearer"}, and what Google
	 * says: {"status":"401","schemes":"bearer"} */
	*challenge = bearer ? SLICE("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2No"
	    "ZW1lcyI6ImJlYXJlciJ9") : SLICE("eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWV"
	    "zIjoiYmVhcmVyIn0=");
	return true;
}

const char *
sasl_server_mechanism(const struct sasl_server *sasl)
{
	return sasl->mechanism != NULL ? sasl->mechanism : "";
}

void
sasl_wipe(struct sasl_server *sasl, struct wire *wire)
{
	*sasl = (struct sasl_server){ .state = SASL_IDLE };
	wire_forget(wire);
	wire_wipe_taken(wire);
}
