/*
 * sasl.c - PLAIN and LOGIN.
 * Layer 1.
 */
#include "protocol/sasl.h"

#include <string.h>

#include "base/base64.h"

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
		return SASL_BAD_MESSAGE;
	return identity.len > 0 && !slice_equal(identity, sasl->user)
	    ? SASL_NOT_ALLOWED : SASL_DONE;
}

static enum sasl_outcome
take_response(struct sasl_server *sasl, struct wire *wire,
    struct slice text, struct slice *challenge)
{
	struct slice message = slice_from("");

	if (text.len > SASL_LINE_MAX)
		return SASL_BAD_BASE64;
	if (text.len > 0) {
		char *at = wire->in.data + (text.data - wire->in.data);

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
			return SASL_BAD_MESSAGE;
		sasl->user = wire_keep(wire, message);
		sasl->state = SASL_LOGIN_PASSWORD;
		*challenge = SLICE("UGFzc3dvcmQ6"); /* "Password:" */
		return SASL_CONTINUE;
	case SASL_LOGIN_PASSWORD:
		if (message.len > SASL_SECRET_MAX)
			return SASL_BAD_MESSAGE;
		sasl->password = message;
		return SASL_DONE;
	case SASL_IDLE:
		break;
	}
	return SASL_BAD_MESSAGE;
}

enum sasl_outcome
sasl_server_take(struct sasl_server *sasl, struct wire *wire,
    struct slice line, struct slice *challenge)
{
	/* RFC 4954 section 4, RFC 5034 section 4. */
	if (slice_equal(line, SLICE("*")))
		return SASL_CANCELLED;
	return take_response(sasl, wire, line, challenge);
}

enum sasl_outcome
sasl_server_start(struct sasl_server *sasl, struct wire *wire,
    struct slice mechanism, struct slice initial, struct slice *challenge)
{
	sasl->user = sasl->password = slice_from(NULL);
	*challenge = slice_from("");
	if (slice_equal_nocase(mechanism, SLICE("PLAIN"))) {
		sasl->state = SASL_PLAIN;
		sasl->mechanism = "PLAIN";
	} else if (slice_equal_nocase(mechanism, SLICE("LOGIN"))) {
		sasl->mechanism = "LOGIN";
		sasl->state = SASL_LOGIN_USER;
		*challenge = SLICE("VXNlcm5hbWU6"); /* "Username:" */
	} else {
		return SASL_UNKNOWN;
	}
	if (initial.data == NULL)
		return SASL_CONTINUE;
	/* "=" is a response of no octets (RFC 4954 section 4). */
	if (slice_equal(initial, SLICE("=")))
		initial.len = 0;
	return take_response(sasl, wire, initial, challenge);
}

const char *
sasl_server_mechanism(const struct sasl_server *sasl)
{
	switch (sasl->state) {
	case SASL_PLAIN:
		return "PLAIN";
	case SASL_LOGIN_USER:
	case SASL_LOGIN_PASSWORD:
		return "LOGIN";
	case SASL_IDLE:
		break;
	}
	return "";
}

void
sasl_wipe(struct sasl_server *sasl, struct wire *wire)
{
	*sasl = (struct sasl_server){ .state = SASL_IDLE };
	wire_forget(wire);
	wire_wipe_taken(wire);
}
