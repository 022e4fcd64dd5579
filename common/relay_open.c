/*
 * relay_open.c - from an account to a next hop that waits for MAIL.
 *
 * Connecting, TLS, greeting, EHLO, STARTTLS and login. Nothing of a message,
 * and no password, is sent before the next hop is known to be who the
 * account says.
 * Layer 2.
 */
#include "relay_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "options.h"
#include "process.h"

#define OUT_SIZE 65536

/* ---- replies ---- */

int
relay_await_reply(struct relay *relay, struct error *error)
{
	for (;;) {
		switch (smtp_client_next(&relay->client)) {
		case SMTP_CLIENT_REPLY:
			return 0;
		case SMTP_CLIENT_WANT_IO:
			if (conn_pump(&relay->conn, &relay->client.wire,
			    error) < 0)
				return -1;
			break;
		case SMTP_CLIENT_BROKEN:
			return error_set(error, ERROR_SYSTEM, "%s: %s",
			    relay->account->host, relay->client.why);
		}
	}
}

unsigned
relay_reply_class(const struct relay *relay)
{
	return relay->client.reply.code / 100;
}

int
relay_unexpected(struct relay *relay, const char *what, struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;

	return error_set(error, ERROR_SYSTEM, "%s answered %s with %u %s %.*s",
	    relay->account->host, what, reply->code, reply->enhanced,
	    SLICE_ARG(reply->text));
}

/* ---- connecting ---- */

static int
connect_one(const struct addrinfo *address, int64_t deadline,
    struct error *error)
{
	int fd = socket(address->ai_family,
	    address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    address->ai_protocol);
	int failure = 0;
	socklen_t len = sizeof(failure);

	if (fd < 0)
		return error_system(error, errno, "socket");
	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return fd;
	failure = errno;
	while (failure == EINPROGRESS) {
		struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
		int64_t left = deadline - conn_now();
		const struct timespec timeout = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};

		if (left <= 0 || process_stop_requested())
			failure = ETIMEDOUT;
		else if (ppoll(&pollfd, 1, &timeout,
		    process_wait_mask()) == 1 &&
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure,
		    &len) != 0)
			failure = errno;
	}
	if (failure == 0)
		return fd;
	close(fd);
	return error_system(error, failure, "connect");
}

/* A password in the clear stays on this machine, whatever the resolver says
 * about the name (accounts_read has only seen that). */
static bool
may_connect(const struct account *account, const struct addrinfo *address)
{
	if (account_has_tls(account) || account->login == NULL)
		return true;
	if (address->ai_family == AF_INET) {
		const struct sockaddr_in *in =
		    (const struct sockaddr_in *)(void *)address->ai_addr;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)(void *)address->ai_addr;
	return address->ai_family == AF_INET6 &&
	    (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
	    (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) &&
	    in6->sin6_addr.s6_addr[12] == 127));
}

static int
connect_host(const struct account *account, struct error *error)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV,
	};
	struct addrinfo *addresses;
	int64_t deadline = conn_now() + RELAY_CONNECT_TIMEOUT * 1000;
	struct error why;
	size_t left = 0;
	int fd = -1;

	/* The resolver has limits of its own (resolv.conf(5)). */
	int failure = getaddrinfo(account->host, account->port, &hints,
	    &addresses);
	if (failure != 0)
		return error_set(error, ERROR_SYSTEM, "%s: %s", account->host,
		    gai_strerror(failure));
	error_set(&why, ERROR_SYSTEM, "not on this machine, and there is a "
	    "password");
	for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next)
		left += may_connect(account, a);
	/* A share of the time for each address: one that swallows everything,
	 * as broken IPv6 does, must not use up that of the others. */
	for (const struct addrinfo *a = addresses; a != NULL && fd < 0;
	    a = a->ai_next)
		if (may_connect(account, a)) {
			int64_t now = conn_now();
			int64_t share = (deadline - now) / (int64_t)left--;

			fd = connect_one(a, now + share, &why);
		}
	freeaddrinfo(addresses);
	if (fd < 0)
		return error_set(error, ERROR_SYSTEM, "%s port %s: %.150s",
		    account->host, account->port, why.text);
	return fd;
}

static int
connect_path(const struct account *account, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct addrinfo info = {
		.ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)(void *)&address,
		.ai_addrlen = sizeof(address),
	};
	struct error why;

	/* It fits: account.c has looked. */
	memcpy(address.sun_path, account->host, strlen(account->host));
	int fd = connect_one(&info, conn_now() + RELAY_CONNECT_TIMEOUT * 1000,
	    &why);
	if (fd < 0)
		return error_set(error, ERROR_SYSTEM, "%s: %.150s",
		    account->host, why.text);
	return fd;
}

/* ---- TLS ---- */

static struct tls *
new_tls(const struct account *account, struct error *error)
{
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_client();
	/* Where the system keeps its CAs: libtls has one place compiled in,
	 * which not every system fills. */
	static const char *const system_cas[] = {
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
	};
	const char *ca_file = account->ca_file;
	char path[4096];

	if (config == NULL || tls == NULL) {
		error_set(error, ERROR_SYSTEM, "TLS: out of memory");
		goto fail;
	}
	if (ca_file != NULL) {
		ca_file = options_path(ca_file, path, sizeof(path), error);
		if (ca_file == NULL)
			goto fail;
	}
	if (ca_file == NULL && account->verify &&
	    access(tls_default_ca_cert_file(), R_OK) != 0)
		for (size_t i = 0; i < 2 && ca_file == NULL; i++)
			if (access(system_cas[i], R_OK) == 0)
				ca_file = system_cas[i];
	if (!account->verify) {
		tls_config_insecure_noverifycert(config);
		tls_config_insecure_noverifyname(config);
		tls_config_insecure_noverifytime(config);
	} else if (ca_file != NULL &&
	    tls_config_set_ca_file(config, ca_file) != 0) {
		error_set(error, ERROR_CONFIG, "CA file %.120s: %s", ca_file,
		    tls_config_error(config));
		goto fail;
	}
	if (tls_configure(tls, config) != 0) {
		error_set(error, ERROR_CONFIG, "TLS for %s: %s",
		    account->host, tls_error(tls));
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
	if (!account_has_tls(account))
		return 0;
	struct tls *tls = new_tls(account, error);
	if (tls == NULL)
		return -1;
	/* libtls looks into the CA file when it is about to connect; nothing
	 * is sent before the handshake. */
	int result = tls_connect_cbs(tls, no_read, no_write, NULL,
	    account->host) == 0 ? 0
	    : error_set(error, ERROR_CONFIG, "TLS for %s%s%.120s: %s",
	          account->host, account->ca_file != NULL ? " with CA file "
	          : "", account->ca_file != NULL ? account->ca_file : "",
	          tls_error(tls));
	tls_free(tls);
	return result;
}

static int
start_tls(struct relay *relay, const struct account *account,
    struct error *error)
{
	struct tls *tls = new_tls(account, error);
	struct error why;

	if (tls == NULL)
		return -1;
	if (conn_start_tls_client(&relay->conn, tls, account->host,
	    &why) == 0)
		return 0;
	return error_set(error, ERROR_SYSTEM, "%s: %.180s", account->host,
	    why.text);
}

/* ---- opening: greeting, EHLO, AUTH ---- */

static int
say_hello(struct relay *relay, struct error *error)
{
	struct smtp_client *client = &relay->client;
	bool lmtp = account_is_lmtp(relay->account);

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
	return relay_unexpected(relay, lmtp ? "LHLO" : "EHLO",
	    error);
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
		    "%s offers no STARTTLS", relay->account->host);
	smtp_client_starttls(client);
	if (relay_await_reply(relay, error) < 0)
		return -1;
	if (client->reply.code != 220)
		return relay_unexpected(relay, "STARTTLS", error);
	/* Whoever said it, it was not under TLS (CVE-2011-0411). */
	wire_discard_input(&client->wire);
	if (start_tls(relay, relay->account, error) < 0)
		return -1;
	return say_hello(relay, error);
}

/* LOGIN has two challenges, "Username:" and "Password:". */
static int
log_in_by_login(struct relay *relay, struct error *error)
{
	const char *const answers[] = { relay->account->login,
		relay->account->password };

	smtp_client_auth_login(&relay->client);
	for (size_t i = 0; i < 2; i++) {
		if (relay_await_reply(relay, error) < 0)
			return -1;
		if (relay->client.reply.code != 334)
			return 0;
		if (!smtp_client_auth_response(&relay->client,
		    slice_from(answers[i])))
			return error_set(error, ERROR_CONFIG,
			    "login or password is too long");
	}
	return relay_await_reply(relay, error);
}

static int
log_in(struct relay *relay, struct error *error)
{
	const struct account *account = relay->account;
	const struct smtp_extensions *extensions = &relay->client.extensions;
	int result;

	if (account->login == NULL)
		return 0;
	if (extensions->auth_plain) {
		if (!smtp_client_auth_plain(&relay->client,
		    slice_from(account->login),
		    slice_from(account->password)))
			return error_set(error, ERROR_CONFIG,
			    "login or password is too long");
		result = relay_await_reply(relay, error);
	} else if (extensions->auth_login) {
		result = log_in_by_login(relay, error);
	} else {
		return error_set(error, ERROR_SYSTEM,
		    "%s offers neither AUTH PLAIN nor LOGIN", account->host);
	}
	buf_wipe(&relay->client.wire.out);
	if (result == 0 && relay->client.reply.code != 235)
		/* Without its text: servers do quote what they were sent. */
		return error_set(error, ERROR_SYSTEM,
		    "%s answered AUTH with %u %s", account->host,
		    relay->client.reply.code, relay->client.reply.enhanced);
	return result;
}

static int
connect_next_hop(struct relay *relay, const struct account *account,
    struct error *error)
{
	int fd = account->scheme == ACCOUNT_LMTP_UNIX
	    ? connect_path(account, error) : connect_host(account, error);

	if (fd < 0)
		return -1;
	conn_open(&relay->conn, fd, fd, RELAY_COMMAND_TIMEOUT);
	relay->storage = malloc(SMTP_CLIENT_IN_MIN + OUT_SIZE);
	if (relay->storage == NULL)
		return error_system(error, ENOMEM, "relay");
	smtp_client_init(&relay->client, relay->storage, SMTP_CLIENT_IN_MIN,
	    relay->storage + SMTP_CLIENT_IN_MIN, OUT_SIZE);
	return account->scheme == ACCOUNT_SMTPS
	    ? start_tls(relay, account, error) : 0;
}

int
relay_open_connection(struct relay *relay, const struct account *account,
    const char **enhanced, struct error *error)
{
	*enhanced = "4.4.1"; /* RFC 3463: no answer from host */
	relay->account = account;
	if (connect_next_hop(relay, account, error) < 0)
		return -1;
	*enhanced = "4.4.2"; /* bad connection */
	if (relay_await_reply(relay, error) < 0)
		return -1;
	if (relay->client.reply.code != 220)
		return relay_unexpected(relay, "the connection", error);
	if (say_hello(relay, error) < 0)
		return -1;
	if (account->scheme == ACCOUNT_SMTP && say_starttls(relay, error) < 0)
		return -1;
	*enhanced = "4.7.0";
	return log_in(relay, error);
}
