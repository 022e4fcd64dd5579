/*
 * relay_open.c - from an account to a next hop that waits for MAIL.
 *
 * TLS, greeting, EHLO and STARTTLS. Nothing of a message, and no
 * password, is sent before the next hop is known to be who the account
 * says.
 */
#include "relay/relay_private.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/file.h"

#define OUT_SIZE 65536
/* Where there is a transcript. */
#define DIALOGUE_SIZE 65536

/* ---- TLS ---- */

/* Are there names that are hashes (openssl-rehash(1)) in it? */
static bool
is_hashed(const char *directory)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	bool found = false;

	while (dir != NULL && !found && (entry = readdir(dir)) != NULL)
		found = strspn(entry->d_name, "0123456789abcdef") == 8 &&
		    strcmp(entry->d_name + 8, ".0") == 0;
	if (dir != NULL)
		closedir(dir);
	return found;
}

/*
 * Where the system keeps its CAs. Of a directory that is hashed only the one
 * is read that is needed; to read a bundle of all the world's takes 20 ms.
 * libtls has one bundle compiled in, which not every system fills.
 */
static void
use_system_cas(struct tls_config *config)
{
	static const char directory[] = "/etc/ssl/certs";
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
	};

	if (is_hashed(directory)) {
		tls_config_set_ca_path(config, directory);
		return;
	}
	if (access(tls_default_ca_cert_file(), R_OK) == 0)
		return;
	for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
		if (access(bundles[i], R_OK) == 0) {
			tls_config_set_ca_file(config, bundles[i]);
			return;
		}
}

static struct tls *
new_tls(const struct account *account, struct error *error)
{
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_client();
	const char *ca_file = account->hop.ca_file;
	char path[4096];

	if (config == NULL || tls == NULL) {
		error_set(error, ERROR_SYSTEM, "TLS: out of memory");
		goto fail;
	}
	if (ca_file != NULL) {
		ca_file = file_path(ca_file, path, sizeof(path), error);
		if (ca_file == NULL)
			goto fail;
	}
	if (ca_file == NULL && account->hop.verify) {
		use_system_cas(config);
	} else if (!account->hop.verify) {
		tls_config_insecure_noverifycert(config);
		tls_config_insecure_noverifyname(config);
		tls_config_insecure_noverifytime(config);
	} else if (tls_config_set_ca_file(config, ca_file) != 0) {
		error_set(error, ERROR_CONFIG, "CA file %.120s: %s", ca_file,
		    tls_config_error(config));
		goto fail;
	}
	if (tls_configure(tls, config) != 0) {
		error_set(error, ERROR_CONFIG, "TLS for %s: %s",
		    account->hop.host, tls_error(tls));
		goto fail;
	}
	tls_config_free(config);
	return tls;
fail:
	tls_config_free(config);
	tls_free(tls);
	return NULL;
}

static ssize_t
no_read(struct tls *tls, void *data, size_t size, void *arg)
{
	(void)tls, (void)data, (void)size, (void)arg;
	return -1;
}

static ssize_t
no_write(struct tls *tls, const void *data, size_t size, void *arg)
{
	(void)tls, (void)data, (void)size, (void)arg;
	return -1;
}

int
relay_check_account(const struct account *account, struct error *error)
{
	if (!next_hop_has_tls(&account->hop))
		return 0;
	struct tls *tls = new_tls(account, error);
	if (tls == NULL)
		return -1;
	/* libtls looks into the CA file when it is about to connect; nothing
	 * is sent before the handshake. */
	int result = tls_connect_cbs(tls, no_read, no_write, NULL,
	    account->hop.host) == 0 ? 0
	    : error_set(error, ERROR_CONFIG, "TLS for %s%s%.120s: %s",
	          account->hop.host,
	          account->hop.ca_file != NULL ? " with CA file " : "",
	          account->hop.ca_file != NULL ? account->hop.ca_file : "",
	          tls_error(tls));
	tls_free(tls);
	return result;
}

static void
add_hint(struct error *error, const char *hint)
{
	struct error why = *error;

	error_set(error, why.kind, "%.300s; %s", why.text, hint);
}

/* It was not TLS that came, as OpenSSL says it. */
static bool
is_in_the_clear(const struct error *error)
{
	return strstr(error->text, "wrong version number") != NULL ||
	    strstr(error->text, "packet length too long") != NULL ||
	    strstr(error->text, "record layer failure") != NULL;
}

static int
start_tls(struct relay *relay, const struct account *account,
    struct error *error)
{
	struct tls *tls = new_tls(account, error);
	struct error why;

	if (tls == NULL)
		return -1;
	relay->conn.hard_deadline = relay->open_by;
	int result = conn_start_tls_client(&relay->conn, tls, account->hop.host,
	    &why);
	relay->conn.hard_deadline = 0;
	if (result == 0)
		return 0;
	error_set(error, ERROR_SYSTEM, "%s: %.180s", account->hop.host,
	    why.text);
	if (account->hop.scheme == NEXT_HOP_SMTPS && is_in_the_clear(error))
		add_hint(error, "where TLS begins with STARTTLS it is "
		    "smtp://");
	return -1;
}

/* ---- opening: greeting, EHLO, STARTTLS ---- */

static int
say_hello(struct relay *relay, struct error *error)
{
	struct smtp_client *client = &relay->client;
	bool lmtp = next_hop_is_lmtp(&relay->account->hop);

	if (lmtp)
		smtp_client_lhlo(client, relay->hostname);
	else
		smtp_client_ehlo(client, relay->hostname);
	if (relay_await_reply(relay, error) < 0)
		return -1;
	if (relay_reply_class(relay) == 2)
		return 0;
	/* RFC 5321 3.2: an old server, which has no extensions at all. */
	if (relay_reply_class(relay) == 5 && !lmtp) {
		smtp_client_helo(client, relay->hostname);
		if (relay_await_reply(relay, error) < 0)
			return -1;
		if (relay_reply_class(relay) == 2)
			return 0;
	}
	return relay_unexpected(relay, lmtp ? "LHLO" : "EHLO", error);
}

/*
 * RFC 3207: nothing goes on without it, for who is between us and the next
 * hop can make it look as if it were not offered.
 */
static int
say_starttls(struct relay *relay, struct error *error)
{
	struct smtp_client *client = &relay->client;

	if (!client->extensions.starttls)
		return error_set(error, ERROR_SYSTEM,
		    "%s offers no STARTTLS", relay->account->hop.host);
	smtp_client_starttls(client);
	if (relay_await_reply(relay, error) < 0)
		return -1;
	if (client->reply.code != 220)
		return relay_unexpected(relay, "STARTTLS", error);
	/* Nothing that was sent in clear text, by either side, may be taken
	 * for a part of the TLS session (CVE-2011-0411). More than the 220
	 * comes from an attacker in between, or from a broken server. */
	assert(client->wire.out.end == client->wire.out.start);
	if (relay_expect_silence(relay, error) < 0)
		return -1;
	if (start_tls(relay, relay->account, error) < 0)
		return -1;
	return say_hello(relay, error);
}

static int
begin_connection(struct relay *relay, const struct account *account,
    enum relay_stage *stage, struct error *error)
{
	int64_t deadline = clock_now() +
	    (int64_t)relay->limits.connect * 1000;
	size_t dialogue_size = relay->transcript != NULL ? DIALOGUE_SIZE : 0;
	int fd = relay_connect(relay, account, deadline < relay->open_by
	    ? deadline : relay->open_by, error);

	*stage = fd == RELAY_CONNECT_OURSELVES ? RELAY_AT_OURSELVES
	    : RELAY_AT_CONNECTING;
	if (fd < 0)
		return -1;
	conn_open(&relay->conn, fd, fd, relay->limits.command);
	relay->storage = malloc(SMTP_CLIENT_IN_MIN + OUT_SIZE + dialogue_size);
	if (relay->storage == NULL)
		return error_system(error, ENOMEM, "relay");
	char *out = relay->storage + SMTP_CLIENT_IN_MIN;
	smtp_client_init(&relay->client, relay->storage, SMTP_CLIENT_IN_MIN,
	    out, OUT_SIZE);
	buf_init(&relay->dialogue, out + OUT_SIZE, dialogue_size);
	relay->client.wire.transcript = &relay->dialogue;
	return account->hop.scheme == NEXT_HOP_SMTPS
	    ? start_tls(relay, account, error) : 0;
}

/* Reads the greeting, which must not be that of this server. */
static int
await_greeting(struct relay *relay, enum relay_stage *stage,
    struct error *error)
{
	const struct next_hop *hop = &relay->account->hop;

	if (relay_await_reply(relay, error) < 0) {
		/* A server that expects TLS at once waits for us to begin, as
		 * we wait for its greeting. */
		if (relay->client.wire.lines == 0 &&
		    (hop->scheme == NEXT_HOP_SMTP ||
		    hop->scheme == NEXT_HOP_SMTP_PLAIN))
			add_hint(error, "there was no greeting; where TLS "
			    "begins at once it is smtps://");
		return -1;
	}
	if (relay->client.reply.code != 220)
		return relay_unexpected(relay, "the connection", error);
	if (!relay_is_greeted_by_us(relay))
		return 0;
	*stage = RELAY_AT_OURSELVES;
	return error_set(error, ERROR_SYSTEM, "%s port %s greets as this "
	    "server does, and is it", hop->host, hop->port);
}

static int
open_session(struct relay *relay, const struct account *account,
    enum relay_stage *stage, struct error *error)
{
	if (begin_connection(relay, account, stage, error) < 0)
		return -1;
	*stage = RELAY_AT_HELLO;
	if (await_greeting(relay, stage, error) < 0 ||
	    say_hello(relay, error) < 0)
		return -1;
	if (account->hop.scheme == NEXT_HOP_SMTP &&
	    say_starttls(relay, error) < 0)
		return -1;
	*stage = RELAY_AT_LOGIN;
	return relay_log_in(relay, error);
}

int
relay_open_connection(struct relay *relay, const struct account *account,
    enum relay_stage *stage, struct error *error)
{
	relay->account = account;
	relay->open_by = clock_now() + (int64_t)relay->limits.opening * 1000;
	int result = open_session(relay, account, stage, error);
	relay->open_by = 0;
	return result;
}
