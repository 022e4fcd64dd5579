/*
 * sasl_client: what a client says to log in: PLAIN (RFC 4616), LOGIN,
 * OAUTHBEARER (RFC 7628), and XOAUTH2, which came before that.
 */
#ifndef SASL_CLIENT_H
#define SASL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Octets of a name, and of a password or token, at most; a response with both
 * is within the line of 12288 octets that RFC 4954 section 4 asks for. */
#define SASL_CLIENT_NAME_MAX 1024
#define SASL_CLIENT_SECRET_MAX 6144

/* Room for any response in base64. */
#define SASL_CLIENT_RESPONSE_MAX 12288

enum sasl_client_mechanism {
	SASL_CLIENT_NONE,
	SASL_CLIENT_PLAIN,
	SASL_CLIENT_LOGIN,
	SASL_CLIENT_XOAUTH2,
	SASL_CLIENT_OAUTHBEARER,
	SASL_CLIENT_MECHANISMS,
};

/* Who wants to log in, and where. */
struct sasl_client {
	struct slice name;
	struct slice secret; /* the password; of the last two the token */
	struct slice host;   /* OAUTHBEARER: the server's; empty: not said */
	struct slice port;
};

/* As it is registered, "PLAIN" and so on; NULL for NONE. */
const char *sasl_client_name(enum sasl_client_mechanism mechanism);

/* By its name, without regard to case; NONE for any other. */
enum sasl_client_mechanism sasl_client_find(struct slice name);

/* May the first response go with the command? LOGIN wants to be asked. */
bool sasl_client_is_first(enum sasl_client_mechanism mechanism);

/*
 * Writes the response to the server's challenge of that step, from 0, in
 * base64 to out, and its length, which may be 0. After an error challenge of
 * the last two mechanisms there is one more, which says nothing (RFC 7628
 * 3.2.3). False where there is no such step, or it is too long.
 */
bool sasl_client_respond(const struct sasl_client *client,
    enum sasl_client_mechanism mechanism, unsigned step, char *out, size_t size,
    size_t *len);

#endif
