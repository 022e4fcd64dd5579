/*
 * sasl_client.c - a table of mechanisms, and how each one's messages are made.
 */
#include "protocol/sasl_client.h"

#include <string.h>

#include "base/base64.h"
#include "base/buf.h"

/* The longest message: a name whose every octet is escaped, and a token, with
 * some words around them. */
#define MESSAGE_MAX (SASL_CLIENT_RESPONSE_MAX / 4 * 3)

/* [authzid] NUL authcid NUL passwd (RFC 4616 2). */
static bool
make_plain(const struct sasl_client *client, unsigned step, struct buf *out)
{
	return step == 0 && buf_append(out, SLICE("\0")) &&
	    buf_append(out, client->name) && buf_append(out, SLICE("\0")) &&
	    buf_append(out, client->secret);
}

/* "Username:", "Password:" */
static bool
make_login(const struct sasl_client *client, unsigned step, struct buf *out)
{
	return step < 2 &&
	    buf_append(out, step == 0 ? client->name : client->secret);
}

/* "user=NAME" ^A "auth=Bearer TOKEN" ^A ^A; after an error, nothing. */
static bool
make_xoauth2(const struct sasl_client *client, unsigned step, struct buf *out)
{
	if (step > 0)
		return step == 1;
	return buf_append(out, SLICE("user=")) &&
	    buf_append(out, client->name) &&
	    buf_append(out, SLICE("\1auth=Bearer ")) &&
	    buf_append(out, client->secret) && buf_append(out, SLICE("\1\1"));
}

/* RFC 5801 4: "=" and "," are written otherwise. */
static bool
append_escaped(struct buf *out, struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];

		if (!buf_append(out, c == '=' ? SLICE("=3D") : c == ','
		    ? SLICE("=2C") : (struct slice){ &name.data[i], 1 }))
			return false;
	}
	return true;
}

static bool
append_pair(struct buf *out, struct slice key, struct slice value)
{
	return value.len == 0 || (buf_append(out, key) &&
	    buf_append(out, value) && buf_append(out, SLICE("\1")));
}

/* RFC 7628 3.1: "n,a=NAME," ^A, pairs of key and value, ^A. */
static bool
make_oauthbearer(const struct sasl_client *client, unsigned step,
    struct buf *out)
{
	if (step > 0)
		return step == 1 && buf_append(out, SLICE("\1"));
	return buf_append(out, SLICE("n,a=")) &&
	    append_escaped(out, client->name) &&
	    buf_append(out, SLICE(",\1")) &&
	    append_pair(out, SLICE("host="), client->host) &&
	    append_pair(out, SLICE("port="), client->port) &&
	    append_pair(out, SLICE("auth=Bearer "), client->secret) &&
	    buf_append(out, SLICE("\1"));
}

static const struct {
	const char *name;
	bool first;
	bool (*make)(const struct sasl_client *client, unsigned step,
	    struct buf *out);
} mechanisms[SASL_CLIENT_MECHANISMS] = {
	[SASL_CLIENT_PLAIN] = { "PLAIN", true, make_plain },
	[SASL_CLIENT_LOGIN] = { "LOGIN", false, make_login },
	[SASL_CLIENT_XOAUTH2] = { "XOAUTH2", true, make_xoauth2 },
	[SASL_CLIENT_OAUTHBEARER] = { "OAUTHBEARER", true,
	    make_oauthbearer },
};

const char *
sasl_client_name(enum sasl_client_mechanism mechanism)
{
	return mechanisms[mechanism].name;
}

enum sasl_client_mechanism
sasl_client_find(struct slice name)
{
	for (size_t i = SASL_CLIENT_PLAIN; i < SASL_CLIENT_MECHANISMS; i++)
		if (slice_equal_nocase(name, slice_from(mechanisms[i].name)))
			return (enum sasl_client_mechanism)i;
	return SASL_CLIENT_NONE;
}

bool
sasl_client_is_first(enum sasl_client_mechanism mechanism)
{
	return mechanisms[mechanism].first;
}

bool
sasl_client_respond(const struct sasl_client *client,
    enum sasl_client_mechanism mechanism, unsigned step, char *out, size_t size,
    size_t *len)
{
	char storage[MESSAGE_MAX];
	struct buf message;
	bool made = false;

	*len = 0;
	buf_init(&message, storage, sizeof(storage));
	if (client->name.len <= SASL_CLIENT_NAME_MAX &&
	    client->secret.len <= SASL_CLIENT_SECRET_MAX &&
	    mechanisms[mechanism].make(client, step, &message)) {
		struct slice text = buf_contents(&message);

		*len = base64_encode(text, out, size);
		made = *len > 0 || text.len == 0;
	}
	buf_wipe(&message);
	return made;
}
