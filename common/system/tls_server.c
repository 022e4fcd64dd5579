/*
 * tls_server.c - certificates, keys and protocols for libtls.
 *
 * Start-up is paid by every connection: nothing here that a handshake does
 * not need.
 */
#include "system/tls_server.h"

#include <errno.h>
#include <limits.h>
#include <openssl/opensslv.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "system/file.h"
#include "system/tls_keypair.h"

/* Newer libtls have no TLS 1.0 and 1.1, and take their names for TLS 1.2. */
#define OLD_PROTOCOLS ((TLS_PROTOCOL_TLSv1_0 | TLS_PROTOCOL_TLSv1_1) & \
	~(TLS_PROTOCOL_TLSv1_2 | TLS_PROTOCOL_TLSv1_3))

/* Whoever asks for TLS 1.0 or 1.1 has a client that needs it, and is not to
 * find out by trial that this library does not speak it. */
static int
check_old_versions(const struct tls_server_options *options,
    uint32_t protocols, struct error *error)
{
	if (OLD_PROTOCOLS == 0 &&
	    (strcasestr(options->protocols, "tlsv1.0") != NULL ||
	    strcasestr(options->protocols, "tlsv1.1") != NULL))
		return error_set(error, ERROR_CONFIG, "--tls-protocols "
		    "'%.80s': this libtls has no TLS 1.0 and 1.1",
		    options->protocols);
#if !defined(LIBRESSL_VERSION_NUMBER) && OPENSSL_VERSION_NUMBER >= 0x30000000L
	/* At its security level 0 only; at another it says nothing. */
	if ((protocols & OLD_PROTOCOLS) != 0 && (options->ciphers == NULL ||
	    strstr(options->ciphers, "@SECLEVEL=0") == NULL))
		return error_set(error, ERROR_CONFIG, "--tls-protocols "
		    "'%.80s': TLS 1.0 and 1.1 need --tls-ciphers "
		    "DEFAULT@SECLEVEL=0 with this OpenSSL",
		    options->protocols);
#else
	(void)protocols;
#endif
	return 0;
}

static int
set_options(struct tls_config *config,
    const struct tls_server_options *options, struct error *error)
{
	uint32_t protocols;

	if (tls_config_parse_protocols(&protocols,
	    options->protocols) != 0 ||
	    tls_config_set_protocols(config, protocols) != 0)
		return error_set(error, ERROR_CONFIG, "--tls-protocols '%.80s'"
		    ": %s", options->protocols,
		    tls_config_error(config));
	if (options->ciphers != NULL &&
	    tls_config_set_ciphers(config, options->ciphers) != 0)
		return error_set(error, ERROR_CONFIG, "--tls-ciphers '%.80s'"
		    ": %s", options->ciphers, tls_config_error(config));
	if (check_old_versions(options, protocols, error) < 0)
		return -1;
	if (options->alpn != NULL &&
	    tls_config_set_alpn(config, options->alpn) != 0)
		return error_set(error, ERROR_SYSTEM, "ALPN: %s",
		    tls_config_error(config));
	/* A process serves one session and could never resume another: with
	 * a lifetime set, libtls' ticket callback declines and no TLS 1.3
	 * tickets go out, which nobody could use. */
	tls_config_set_session_lifetime(config, 7200);
	return 0;
}

/* One certificate and its key; the first one is for clients that name no
 * server, and for names that no certificate has. */
static int
add_keypair(struct tls_config *config,
    const struct tls_server_options *options, size_t i, bool first,
    struct error *error)
{
	char cert_buffer[PATH_MAX], key_buffer[PATH_MAX];
	const char *cert = file_path(options->certs[i],
	    cert_buffer, sizeof(cert_buffer), error);
	const char *key = file_path(options->keys[i],
	    key_buffer, sizeof(key_buffer), error);

	if (cert == NULL || key == NULL)
		return -1;
	int added = first ? tls_config_set_keypair_file(config, cert, key)
	                  : tls_config_add_keypair_file(config, cert, key);
	if (added == 0)
		return 0;
	/* libtls says "failed to open" without why; the system knows. */
	if (access(cert, R_OK) != 0)
		return error_set(error, ERROR_CONFIG,
		    "--tls-cert %.120s: %s%s", cert, strerror(errno),
		    errno == ENOENT ? "; without TLS it is --tls off" : "");
	if (access(key, R_OK) != 0)
		return error_set(error, ERROR_CONFIG,
		    "--tls-key %.120s: %s", key, strerror(errno));
	return error_set(error, ERROR_CONFIG, "--tls-cert %.120s, "
	    "--tls-key %.120s: %s", cert, key, tls_config_error(config));
}

static int
configure(struct tls *tls, struct tls_config *config,
    const struct tls_server_options *options, struct error *error)
{
	if (options->n_certs != options->n_keys)
		return error_set(error, ERROR_CONFIG, "%zu --tls-cert and %zu "
		    "--tls-key: each certificate needs its key",
		    options->n_certs, options->n_keys);
	if (set_options(config, options, error) < 0)
		return -1;
	for (size_t i = 0; i < options->n_certs; i++)
		if (add_keypair(config, options, i, i == 0, error) < 0)
			return -1;
	if (tls_configure(tls, config) != 0)
		return error_set(error, ERROR_CONFIG, "TLS: %s",
		    tls_error(tls));
	/* libcrypto has them now; the files' text is not needed. */
	tls_config_clear_keys(config);
	return 0;
}

/* What is wrong with which pair: libtls does not say. */
static void
find_wrong_pair(const struct tls_server_options *options, struct error *error)
{
	char cert_buffer[PATH_MAX], key_buffer[PATH_MAX];
	struct error ignored;

	for (size_t i = 0; i < options->n_certs && i < options->n_keys; i++) {
		const char *cert = file_path(options->certs[i], cert_buffer,
		    sizeof(cert_buffer), &ignored);
		const char *key = file_path(options->keys[i], key_buffer,
		    sizeof(key_buffer), &ignored);

		if (cert != NULL && key != NULL &&
		    tls_keypair_explain(cert, key, error) < 0)
			return;
	}
}

int
tls_server_check_dates(const struct tls_server_options *options,
    struct error *error)
{
	char buffer[PATH_MAX];

	for (size_t i = 0; i < options->n_certs; i++) {
		const char *cert = file_path(options->certs[i], buffer,
		    sizeof(buffer), error);

		if (cert == NULL || tls_keypair_check_dates(cert, error) < 0)
			return -1;
	}
	return 0;
}

struct tls *
tls_server_new(const struct tls_server_options *options, struct error *error)
{
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_server();

	if (config == NULL || tls == NULL) {
		error_set(error, ERROR_SYSTEM, "TLS: out of memory");
	} else if (configure(tls, config, options, error) == 0) {
		tls_config_free(config);
		return tls;
	}
	tls_config_free(config);
	tls_free(tls);
	if (error->kind == ERROR_CONFIG)
		find_wrong_pair(options, error);
	return NULL;
}
