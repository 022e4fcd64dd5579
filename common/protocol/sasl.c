/*
 * sasl.c - PLAIN and LOGIN.
 * Layer 1.
 */
#include "protocol/sasl.h"

#include <string.h>

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * RFC 4648 section 4, strictly: whole groups of four, padding only at the
 * end. False for anything else. out has room for 3 octets a group, and may
 * be where the text is: no octet is written before its group was read.
 */
static bool
decode_base64(struct slice text, char *out, size_t *len)
{
	size_t n = 0;

	if (text.len % 4 != 0)
		return false;
	for (size_t i = 0; i < text.len; i += 4) {
		unsigned long group = 0;
		size_t digits = 0;

		while (digits < 4) {
			int value = digit_value(text.data[i + digits]);
			if (value < 0)
				break;
			group = group << 6 | (unsigned long)value;
			digits++;
		}
		if (digits < 2 || (digits < 4 && i + 4 < text.len))
			return false;
		for (size_t k = digits; k < 4; k++) {
			if (text.data[i + k] != '=')
				return false;
			group <<= 6;
		}
		out[n++] = (char)(group >> 16 & 0xFF);
		if (digits > 2)
			out[n++] = (char)(group >> 8 & 0xFF);
		if (digits > 3)
			out[n++] = (char)(group & 0xFF);
	}
	*len = n;
	return true;
}

static size_t
encode_base64(struct slice data, char *out, size_t size)
{
	size_t n = 0;

	if ((data.len + 2) / 3 * 4 > size)
		return 0;
	while (data.len > 0) {
		unsigned long group = 0;
		size_t octets = data.len < 3 ? data.len : 3;

		for (size_t i = 0; i < 3; i++)
			group = group << 8 | (i < octets
			    ? (unsigned char)data.data[i] : 0);
		for (size_t i = 0; i < 4; i++)
			out[n++] = i <= octets
			    ? alphabet[group >> (18 - 6 * i) & 63] : '=';
		data = slice_skip(data, octets);
	}
	return n;
}

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

		if (!decode_base64(text, at, &message.len))
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

size_t
sasl_client_plain(struct slice user, struct slice password, char *out,
    size_t size)
{
	char message[2 * SASL_SECRET_MAX + 2];
	size_t len = 0;

	if (user.len > SASL_SECRET_MAX || password.len > SASL_SECRET_MAX)
		return 0;
	message[len++] = '\0';
	memcpy(message + len, user.data, user.len);
	len += user.len;
	message[len++] = '\0';
	memcpy(message + len, password.data, password.len);
	len += password.len;
	size_t n = encode_base64((struct slice){ message, len }, out, size);
	explicit_bzero(message, sizeof(message));
	return n;
}

size_t
sasl_client_login(struct slice name_or_password, char *out, size_t size)
{
	return encode_base64(name_or_password, out, size);
}
