/*
 * relay_login.c - the login at a next hop, by the mechanisms it offers.
 *
 * The password is read here and nowhere else, and overwritten when the next
 * hop has answered. What the next hop says meanwhile is told with its code
 * only: servers do quote what they were sent.
 */
#include "relay/relay_private.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "relay/account_secret.h"
#include "system/clock.h"

/* Seconds for a command to write a password. */
#define COMMAND_TIMEOUT 30

/* "status" of an error challenge (RFC 7628 3.2.2): a word that says why, as
 * invalid_token; where there is none *status stays as it is. */
static void
read_status(struct slice challenge, char *status, size_t size)
{
	static const char key[] = "\"status\"";
	char text[SMTP_REPLY_TEXT_MAX];
	size_t len, n = 0;

	assert(challenge.len <= sizeof(text));
	if (!base64_decode(challenge, text, &len))
		return;
	const char *at = memmem(text, len, key, sizeof(key) - 1);
	const char *end = text + len;
	for (at = at != NULL ? at + sizeof(key) - 1 : end; at < end &&
	    strchr(" :\"", *at) != NULL && *at != '\0'; at++)
		;
	while (at < end && n + 1 < size &&
	    (isalnum((unsigned char)*at) || *at == '_' || *at == '-'))
		status[n++] = *at++;
	status[n] = '\0';
}

/* One mechanism; the next hop's last word on it is client.reply. */
static int
try_mechanism(struct relay *relay, enum sasl_client_mechanism mechanism,
    const struct sasl_client *who, char *status, size_t size,
    struct error *error)
{
	struct smtp_client *client = &relay->client;
	unsigned step;

	status[0] = '\0';
	smtp_client_auth(client, mechanism, who, &step);
	for (;;) {
		if (relay_await_reply(relay, error) < 0)
			return -1;
		if (client->reply.code != 334)
			return 0;
		if (step > 0)
			read_status(client->reply.text, status, size);
		if (!smtp_client_auth_respond(client, mechanism, who, step))
			return error_set(error, ERROR_SYSTEM,
			    "%s asks for more than AUTH %s has",
			    relay->account->hop.host,
			    sasl_client_name(mechanism));
		step++;
	}
}

static int
cannot_try(const struct relay *relay, struct error *error)
{
	const struct next_hop *hop = &relay->account->hop;
	const unsigned tokens = 1u << SASL_CLIENT_XOAUTH2 |
	    1u << SASL_CLIENT_OAUTHBEARER;

	if (hop->auth != SASL_CLIENT_NONE)
		return error_set(error, ERROR_SYSTEM,
		    "%s does not offer AUTH %s", hop->host,
		    sasl_client_name(hop->auth));
	return error_set(error, ERROR_SYSTEM,
	    "%s offers neither AUTH PLAIN nor LOGIN%s", hop->host,
	    (relay->client.extensions.auth & tokens) == 0 ? ""
	    : "; where the password is a token, the URL needs "
	    "?auth=xoauth2 or ?auth=oauthbearer");
}

/* The next hop refuses the mechanism, not name and password: RFC 4954 4, 6. */
static bool
wants_another(const struct smtp_client *client)
{
	return client->reply.code == 504 || client->reply.code == 534;
}

static int
log_in_as(struct relay *relay, const struct sasl_client *who,
    struct error *error)
{
	/* Mechanisms for tokens are tried only with ?auth=: a password must
	 * not be sent where a token is expected, nor the other way round. */
	static const enum sasl_client_mechanism usual[] = {
		SASL_CLIENT_PLAIN, SASL_CLIENT_LOGIN };
	struct smtp_client *client = &relay->client;
	const struct next_hop *hop = &relay->account->hop;
	bool chosen = hop->auth != SASL_CLIENT_NONE;
	int result = cannot_try(relay, error);
	char status[40];

	for (size_t i = 0; i < (chosen ? 1 : 2); i++) {
		enum sasl_client_mechanism mechanism = chosen ? hop->auth
		    : usual[i];

		if ((client->extensions.auth & 1u << mechanism) == 0)
			continue;
		result = try_mechanism(relay, mechanism, who, status,
		    sizeof(status), error);
		if (result < 0 || client->reply.code == 235)
			return result;
		result = error_set(error, ERROR_SYSTEM,
		    "%s answered AUTH with %u %s (%s%s%s)", hop->host,
		    client->reply.code, client->reply.enhanced,
		    sasl_client_name(mechanism),
		    status[0] != '\0' ? ", status " : "", status);
		if (!wants_another(client))
			break;
	}
	return result;
}

int
relay_log_in(struct relay *relay, struct error *error)
{
	const struct account *account = relay->account;
	struct smtp_client *client = &relay->client;
	struct account_secret secret;

	if (account->login == NULL)
		return 0;
	int64_t left = (relay->open_by - clock_now()) / 1000;
	int result = account_secret_read(&secret, account,
	    left < 1 ? 1 : left > COMMAND_TIMEOUT ? COMMAND_TIMEOUT
	    : (unsigned)left, error);
	const struct sasl_client who = {
		.name = slice_from(account->login),
		.secret = { secret.text, secret.len },
		.host = slice_from(account->hop.scheme == NEXT_HOP_LMTP_UNIX
		    ? NULL : account->hop.host),
		.port = slice_from(account->hop.port),
	};
	if (result == 0)
		result = log_in_as(relay, &who, error);
	account_secret_wipe(&secret);
	smtp_client_wipe(client);
	return result;
}
