/*
 * program_peer.c - the peer of a session before its protocol begins: who it
 * is, and TLS.
 */
#include "program_private.h"

#include <stdio.h>

#include "system/clock.h"
#include "system/log.h"
#include "system/tls_server.h"

/* The server's certificates and keys, where this program does TLS itself. */
struct tls_server_options
program_tls_options(const struct program *program)
{
	const struct common_settings *settings = program->settings;

	return (struct tls_server_options){
		.certs = settings->tls_cert.items,
		.n_certs = settings->tls_cert.count,
		.keys = settings->tls_key.items,
		.n_keys = settings->tls_key.count,
		.protocols = settings->tls_protocols,
		.ciphers = settings->tls_ciphers,
		.alpn = program->kind->alpn,
	};
}

int
program_make_tls(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;
	const struct tls_server_options options = program_tls_options(program);

	if (settings->tls != TLS_MODE_IMPLICIT &&
	    settings->tls != TLS_MODE_STARTTLS)
		return 0;
	program->tls = tls_server_new(&options, error);
	return program->tls == NULL ? -1 : 0;
}

static void
log_connect(const struct program *program)
{
	log_begin(LOG_KIND_CONNECT);
	log_add(LOG_FIELD_LOCAL, program->peer.local ? SLICE("yes")
	                                             : SLICE("no"));
	log_send();
}

void
program_tls_name(const struct program *program, char name[PROGRAM_TLS_MAX])
{
	struct tls *tls = program->conn.transport.tls;

	name[0] = '\0';
	if (tls != NULL)
		snprintf(name, PROGRAM_TLS_MAX, "%s %s",
		    tls_conn_version(tls), tls_conn_cipher(tls));
}

static void
log_tls(const struct program *program)
{
	char text[PROGRAM_TLS_MAX];

	program_tls_name(program, text);
	log_remember(LOG_FIELD_TLS, slice_from(text));
	log_begin(LOG_KIND_TLS);
	log_add(LOG_FIELD_TLS, slice_from(text));
	log_send();
}

int
program_shake_hands(struct program *program, struct error *error)
{
	if (conn_start_tls(&program->conn, program->tls, error) < 0) {
		log_reason(LOG_KIND_TLS_FAILED, "%s", error->text);
		return -1;
	}
	/* There is one handshake in a session: the context, with the keys of
	 * all server names, is not needed any more. */
	tls_free(program->tls);
	program->tls = NULL;
	program->secure = true;
	log_tls(program);
	return 0;
}

/* The PROXY header may take as long as a TLS handshake. */
static int
take_proxy_header(struct program *program, struct error *error)
{
	struct proxy_header header = { .len = 0 };
	enum proxy_outcome outcome = PROXY_MORE;
	int64_t limit = (int64_t)program->settings->timeout;
	int64_t deadline = clock_now() + 1000 *
	    (limit < CONN_HANDSHAKE_TIMEOUT ? limit : CONN_HANDSHAKE_TIMEOUT);
	char octets[512];

	while (outcome == PROXY_MORE) {
		size_t want = proxy_header_want(&header);
		ssize_t n = conn_read_plain(&program->conn, octets,
		    want < sizeof(octets) ? want : sizeof(octets), deadline,
		    error);
		if (n < 0)
			return -1;
		if (n == 0)
			return error_set(error, ERROR_PEER,
			    "closed within the PROXY header");
		outcome = proxy_header_take(&header,
		    (struct slice){ octets, (size_t)n });
	}
	if (outcome == PROXY_BAD)
		return error_set(error, ERROR_PEER, "no valid PROXY header "
		    "from %s: does what passes connections on send one?",
		    program->peer.name);
	return peer_apply_proxy_header(&program->peer, &header, error);
}

/* What the peer does before the protocol begins. */
int
program_hear_peer(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;

	if (settings->proxy_protocol &&
	    take_proxy_header(program, error) < 0) {
		log_set_session(slice_from(program->peer.name));
		log_reason(LOG_KIND_REFUSED, "PROXY header: %s", error->text);
		return -1;
	}
	log_set_session(slice_from(program->peer.name));
	log_connect(program);
	program->failed_before = warm_tell_source(&program->warm,
	    program->peer.address);
	/* RFC 8314 3: a password in clear text only from this machine. */
	program->secure = program->peer.local ||
	    settings->tls == TLS_MODE_OUTER;
	if (settings->tls == TLS_MODE_IMPLICIT &&
	    program_shake_hands(program, error) < 0)
		return -1;
	if (program->auth.kind == AUTH_ANY_REMOTE && !program->peer.local)
		log_reason(LOG_KIND_NOTICE, "--auth any-remote: anyone may "
		    "log in from %s", program->peer.name);
	return 0;
}
