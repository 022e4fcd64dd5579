/*
 * relay.c - the next hop's connection and the order of things on it.
 *
 * The same pump as the client's connection, over smtp_client's wire. A
 * connection on which anything went wrong is closed, never reused: the next
 * recipient opens a new one.
 * Layer 2.
 */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

#define READ_SIZE 65536
#define OUT_SIZE 65536

void
relay_init(struct relay *relay, const char *hostname)
{
	relay->hostname = hostname;
}

/* ---- verdicts ---- */

/* Trouble of ours, or between the next hop and us: 451, so that the client
 * keeps the message and tries again. */
static int
trouble(const char *enhanced, const char *text, struct smtp_reply *verdict)
{
	*verdict = (struct smtp_reply){ 451, enhanced, slice_from(text) };
	return -1;
}

static void
close_connection(struct relay *relay, struct wire *last_words)
{
	conn_close(&relay->conn, last_words, false);
	free(relay->storage);
	relay->storage = NULL;
	relay->account = NULL;
	relay->mail_sent = false;
	/* Recipients that the client was told are accepted are not there any
	 * more: nothing but the end of the transaction mends that. */
	relay->broken |= relay->accepted > 0;
	relay->accepted = 0;
	relay->reset_due = false;
}

static void
drop_connection(struct relay *relay)
{
	close_connection(relay, NULL);
}

/* A connection that is of no use any more. */
static int
lost(struct relay *relay, struct smtp_reply *verdict)
{
	drop_connection(relay);
	return trouble("4.4.2", "The next hop cannot be reached now, "
	    "try again later", verdict);
}

/*
 * The next hop's reply as the client is to hear it: code and text as they
 * are. Some replies are about our session there and not about this mail.
 */
static int
pass_on(struct relay *relay, struct smtp_reply *verdict, struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;
	static const char *const classes[] = { "2.0.0", "4.0.0", "5.0.0" };

	*verdict = *reply;
	switch (reply->code) {
	case 421: /* closing */
	case 503: /* out of step */
	case 530: /* wants a login */
	case 535:
		error_set(error, ERROR_SYSTEM, "%s answered %u %s %.*s",
		    relay->account->host, reply->code, reply->enhanced,
		    SLICE_ARG(reply->text));
		drop_connection(relay);
		return trouble(reply->code == 421 ? "4.4.2"
		    : reply->code == 503 ? "4.4.0" : "4.7.0",
		    "The next hop does not take mail from here now, try again "
		    "later", verdict);
	default:
		break;
	}
	if (reply->code < 400 && reply->code > 299) {
		error_set(error, ERROR_SYSTEM, "%s answered %u out of place",
		    relay->account->host, reply->code);
		return lost(relay, verdict);
	}
	if (reply->enhanced[0] == '\0')
		verdict->enhanced = classes[reply->code / 100 == 2 ? 0
		    : reply->code / 100 == 4 ? 1 : 2];
	return 0;
}

/* ---- one exchange ---- */

/*
 * Is there anything from the next hop that nobody asked for? It may be the
 * end, or a 421 before it; it may also be a reply to what was not said yet,
 * and then nobody knows any more which reply is to which command.
 */
static bool
out_of_step(const struct relay *relay)
{
	return wire_mid_line(&relay->client.wire) ||
	    conn_readable(&relay->conn);
}

/* To be asked before whatever a verdict depends on is sent. */
static int
check_step(const struct relay *relay, struct error *error)
{
	if (!out_of_step(relay))
		return 0;
	return error_set(error, ERROR_SYSTEM,
	    "%s said something before its turn", relay->account->host);
}

/* Waits for the next reply. -1: none will come. */
static int
await_reply(struct relay *relay, struct error *error)
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

static unsigned
reply_class(const struct relay *relay)
{
	return relay->client.reply.code / 100;
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

static int
connect_host(const struct account *account, struct error *error)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV,
	};
	struct addrinfo *addresses;
	int64_t deadline = conn_now() + RELAY_CONNECT_TIMEOUT * 1000;
	struct error why = { .kind = ERROR_NONE };
	int fd = -1;

	/* The resolver has limits of its own (resolv.conf(5)). */
	int failure = getaddrinfo(account->host, account->port, &hints,
	    &addresses);
	if (failure != 0)
		return error_set(error, ERROR_SYSTEM, "%s: %s", account->host,
		    gai_strerror(failure));
	for (const struct addrinfo *a = addresses; a != NULL && fd < 0;
	    a = a->ai_next)
		fd = connect_one(a, deadline, &why);
	freeaddrinfo(addresses);
	if (fd < 0)
		return error_set(error, ERROR_SYSTEM, "%s port %s: %.150s",
		    account->host, account->port, why.text);
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

	if (config == NULL || tls == NULL) {
		error_set(error, ERROR_SYSTEM, "TLS: out of memory");
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

int
relay_check_account(const struct account *account, struct error *error)
{
	struct tls *tls = new_tls(account, error);

	if (tls == NULL)
		return -1;
	tls_free(tls);
	return 0;
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
unexpected(struct relay *relay, const char *what, struct error *error)
{
	const struct smtp_reply *reply = &relay->client.reply;

	return error_set(error, ERROR_SYSTEM, "%s answered %s with %u %s %.*s",
	    relay->account->host, what, reply->code, reply->enhanced,
	    SLICE_ARG(reply->text));
}

static int
say_hello(struct relay *relay, struct error *error)
{
	struct smtp_client *client = &relay->client;

	smtp_client_ehlo(client, relay->hostname);
	if (await_reply(relay, error) < 0)
		return -1;
	if (reply_class(relay) == 2) {
		smtp_client_take_extensions(client);
		return 0;
	}
	/* RFC 5321 3.2: an old server, which has no extensions at all. */
	if (reply_class(relay) == 5) {
		smtp_client_helo(client, relay->hostname);
		if (await_reply(relay, error) < 0)
			return -1;
		if (reply_class(relay) == 2)
			return 0;
	}
	return unexpected(relay, "EHLO", error);
}

/* LOGIN has two challenges, "Username:" and "Password:". */
static int
log_in_by_login(struct relay *relay, struct error *error)
{
	const char *const answers[] = { relay->account->login,
		relay->account->password };

	smtp_client_auth_login(&relay->client);
	for (size_t i = 0; i < 2; i++) {
		if (await_reply(relay, error) < 0)
			return -1;
		if (relay->client.reply.code != 334)
			return 0;
		if (!smtp_client_auth_response(&relay->client,
		    slice_from(answers[i])))
			return error_set(error, ERROR_CONFIG,
			    "login or password is too long");
	}
	return await_reply(relay, error);
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
		result = await_reply(relay, error);
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

/* 0, or -1 and in *stage "4.4.x" or "4.7.0". */
static int
open_connection(struct relay *relay, const struct account *account,
    const char **stage, struct error *error)
{
	*stage = "4.4.1"; /* RFC 3463: no answer from host */
	relay->account = account;
	int fd = connect_host(account, error);
	if (fd < 0)
		return -1;
	conn_open(&relay->conn, fd, fd, RELAY_COMMAND_TIMEOUT);
	relay->storage = malloc(SMTP_CLIENT_IN_MIN + OUT_SIZE);
	if (relay->storage == NULL)
		return error_system(error, ENOMEM, "relay");
	smtp_client_init(&relay->client, relay->storage, SMTP_CLIENT_IN_MIN,
	    relay->storage + SMTP_CLIENT_IN_MIN, OUT_SIZE);
	if (start_tls(relay, account, error) < 0)
		return -1;
	*stage = "4.4.2"; /* bad connection */
	if (await_reply(relay, error) < 0)
		return -1;
	if (relay->client.reply.code != 220)
		return unexpected(relay, "the connection", error);
	if (say_hello(relay, error) < 0)
		return -1;
	*stage = "4.7.0";
	return log_in(relay, error);
}

/* ---- the transaction ---- */

static int
reset_if_due(struct relay *relay)
{
	struct error error;

	if (!relay->reset_due)
		return 0;
	relay->reset_due = false;
	smtp_client_rset(&relay->client);
	return await_reply(relay, &error) < 0 || reply_class(relay) != 2
	    ? -1 : 0;
}

static int
begin(struct relay *relay, const struct account *account,
    struct smtp_reply *verdict, struct error *error)
{
	const char *stage;

	if (relay->account == account)
		return 0;
	relay_close(relay);
	if (open_connection(relay, account, &stage, error) == 0)
		return 0;
	drop_connection(relay);
	return trouble(stage, stage[2] == '7'
	    ? "Cannot log in to the next hop, try again later"
	    : "The next hop cannot be reached now, try again later", verdict);
}

/* What the client asked for and the next hop cannot do. */
static bool
can_carry(const struct relay *relay, const struct envelope *envelope,
    size_t i, struct smtp_reply *verdict)
{
	const struct smtp_extensions *offered = &relay->client.extensions;

	/* RFC 6531 3.5. */
	if (envelope->utf8 && !offered->utf8) {
		*verdict = (struct smtp_reply){ 550, "5.6.7",
			SLICE("The next hop takes no SMTPUTF8 mail") };
		return false;
	}
	/* RFC 3461 5.2.2: it would be for us to notify the sender, and we
	 * make no messages. */
	if ((envelope->recipients[i].dsn.notify & ENVELOPE_NOTIFY_SUCCESS) !=
	    0 && !offered->dsn) {
		*verdict = (struct smtp_reply){ 550, "5.3.3",
			SLICE("The next hop sends no delivery notifications")
			};
		return false;
	}
	return true;
}

int
relay_recipient(struct relay *relay, const struct account *account,
    const struct envelope *envelope, size_t i, struct smtp_reply *verdict,
    struct error *error)
{
	if (relay->broken) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		return lost(relay, verdict);
	}
	if (relay->account != NULL && !relay->mail_sent &&
	    (out_of_step(relay) || reset_if_due(relay) < 0))
		drop_connection(relay);
	if (begin(relay, account, verdict, error) < 0)
		return -1;
	if (!can_carry(relay, envelope, i, verdict))
		return 0;
	if (!relay->mail_sent) {
		smtp_client_mail(&relay->client, envelope);
		if (await_reply(relay, error) < 0)
			return lost(relay, verdict);
		/* A refused sender is the verdict on every recipient. */
		if (reply_class(relay) != 2)
			return pass_on(relay, verdict, error);
		relay->mail_sent = true;
	}
	if (check_step(relay, error) < 0)
		return lost(relay, verdict);
	smtp_client_rcpt(&relay->client, &envelope->recipients[i]);
	if (await_reply(relay, error) < 0)
		return lost(relay, verdict);
	if (pass_on(relay, verdict, error) < 0)
		return -1;
	relay->accepted += verdict->code / 100 == 2;
	return 0;
}

/* The text between 354 and the final dot. */
static int
send_text(struct relay *relay, int fd, off_t offset, struct error *error)
{
	struct smtp_client *client = &relay->client;
	char *buffer = malloc(READ_SIZE);
	int result = 0;
	ssize_t n;

	if (buffer == NULL)
		return error_system(error, ENOMEM, "relay");
	while (result == 0 && (n = pread(fd, buffer, READ_SIZE, offset)) != 0) {
		if (n < 0) {
			result = error_system(error, errno, "spool");
			break;
		}
		offset += n;
		struct slice rest = { buffer, (size_t)n };
		while (rest.len > 0 && result == 0) {
			size_t taken = smtp_client_text(client, rest);
			if (taken == 0)
				result = conn_flush(&relay->conn,
				    &client->wire, error);
			rest = slice_skip(rest, taken);
		}
	}
	free(buffer);
	if (result < 0)
		return -1;
	if (buf_room(&client->wire.out) < DOT_END_MAX &&
	    conn_flush(&relay->conn, &client->wire, error) < 0)
		return -1;
	return 0;
}

int
relay_message(struct relay *relay, int fd, off_t offset, bool has_8bit,
    struct smtp_reply *verdict, struct error *error)
{
	struct smtp_client *client = &relay->client;

	if (relay->broken || relay->account == NULL) {
		error_set(error, ERROR_SYSTEM, "the next hop left");
		drop_connection(relay);
		relay->broken = false;
		return lost(relay, verdict);
	}
	relay->accepted = 0;
	if (has_8bit && !client->extensions.eight_bit) {
		/* RFC 6152 3: not to be sent, and converting is not our
		 * business. */
		relay_reset(relay);
		*verdict = (struct smtp_reply){ 554, "5.6.3",
			SLICE("The next hop takes no 8-bit text") };
		return 0;
	}
	relay->mail_sent = false;
	if (check_step(relay, error) < 0)
		return lost(relay, verdict);
	smtp_client_data(client);
	if (await_reply(relay, error) < 0)
		return lost(relay, verdict);
	if (client->reply.code != 354) {
		int result = pass_on(relay, verdict, error);
		if (result == 0 && reply_class(relay) == 2) {
			unexpected(relay, "DATA", error);
			return lost(relay, verdict);
		}
		/* It refused, and so its transaction may still be open; the
		 * verdict is in the buffer that the answer to RSET takes. */
		relay->reset_due = true;
		return result;
	}
	if (send_text(relay, fd, offset, error) < 0 ||
	    check_step(relay, error) < 0)
		return lost(relay, verdict);
	/* From here on the message may be the next hop's: SIGTERM does not
	 * end the wait for its word (RFC 1047). */
	relay->conn.finish = true;
	conn_set_timeout(&relay->conn, RELAY_FINAL_TIMEOUT);
	smtp_client_text_end(client);
	if (await_reply(relay, error) < 0)
		return lost(relay, verdict);
	relay->conn.finish = false;
	conn_set_timeout(&relay->conn, RELAY_COMMAND_TIMEOUT);
	return pass_on(relay, verdict, error);
}

void
relay_reset(struct relay *relay)
{
	relay->broken = false;
	relay->accepted = 0;
	if (relay->account == NULL || !relay->mail_sent)
		return;
	relay->mail_sent = false;
	relay->reset_due = true;
	if (reset_if_due(relay) < 0)
		drop_connection(relay);
}

void
relay_close(struct relay *relay)
{
	if (relay->account == NULL)
		return;
	/* RFC 5321 4.1.1.10, but nobody waits for the 221: everything that
	 * matters was answered. */
	smtp_client_quit(&relay->client);
	conn_set_timeout(&relay->conn, 5);
	close_connection(relay, &relay->client.wire);
}
