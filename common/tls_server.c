/*
 * tls_server.c - certificates, keys and protocols for libtls.
 *
 * Start-up is paid by every connection: nothing here that a handshake does
 * not need.
 * Layer 2.
 */
#include "tls_server.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/*
 * libtls says what was wrong, but "failed to open certificate file" and the
 * like leave out why; the system knows.
 */
static int
keypair_error(struct tls_config *config, const char *cert, const char *key,
    struct error *error)
{
	if (access(cert, R_OK) != 0)
		return error_set(error, ERROR_CONFIG,
		    "--tls-cert %.120s: %s", cert, strerror(errno));
	if (access(key, R_OK) != 0)
		return error_set(error, ERROR_CONFIG,
		    "--tls-key %.120s: %s", key, strerror(errno));
	return error_set(error, ERROR_CONFIG, "--tls-cert %.60s, "
	    "--tls-key %.60s: %s", cert, key, tls_config_error(config));
}

static int
add_keypairs(struct tls_config *config,
    const struct common_settings *settings, struct error *error)
{
	char cert_buffer[PATH_MAX], key_buffer[PATH_MAX];

	if (settings->tls_cert.count != settings->tls_key.count)
		return error_set(error, ERROR_CONFIG, "%zu --tls-cert and %zu "
		    "--tls-key: each certificate needs its key",
		    settings->tls_cert.count, settings->tls_key.count);
	for (size_t i = 0; i < settings->tls_cert.count; i++) {
		const char *cert = options_path(settings->tls_cert.items[i],
		    cert_buffer, sizeof(cert_buffer), error);
		const char *key = options_path(settings->tls_key.items[i],
		    key_buffer, sizeof(key_buffer), error);
		if (cert == NULL || key == NULL)
			return -1;
		int added = i == 0
		    ? tls_config_set_keypair_file(config, cert, key)
		    : tls_config_add_keypair_file(config, cert, key);
		if (added != 0)
			return keypair_error(config, cert, key, error);
	}
	return 0;
}

static int
configure(struct tls *tls, struct tls_config *config,
    const struct common_settings *settings, struct error *error)
{
	uint32_t protocols;

	if (tls_config_parse_protocols(&protocols,
	    settings->tls_protocols) != 0 ||
	    tls_config_set_protocols(config, protocols) != 0)
		return error_set(error, ERROR_CONFIG, "--tls-protocols: "
		    "'%.80s' is no list of protocols such as 'secure' or "
		    "'tlsv1.2,tlsv1.3'", settings->tls_protocols);
	if (add_keypairs(config, settings, error) < 0)
		return -1;
	/* A process serves one session and could never resume another: with
	 * a lifetime set, libtls' ticket callback declines and no TLS 1.3
	 * tickets go out, which nobody could use. */
	tls_config_set_session_lifetime(config, 7200);
	if (tls_configure(tls, config) != 0)
		return error_set(error, ERROR_CONFIG, "--tls-cert %.80s: %s",
		    settings->tls_cert.items[0], tls_error(tls));
	return 0;
}

struct tls *
tls_server_new(const struct common_settings *settings, struct error *error)
{
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_server();

	if (config == NULL || tls == NULL) {
		error_set(error, ERROR_SYSTEM, "TLS: out of memory");
	} else if (configure(tls, config, settings, error) == 0) {
		tls_config_free(config);
		return tls;
	}
	tls_config_free(config);
	tls_free(tls);
	return NULL;
}
