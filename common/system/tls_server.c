/*
 * tls_server.c - certificates, keys and protocols for libtls.
 *
 * Start-up is paid by every connection: nothing here that a handshake does
 * not need.
 * Layer 2.
 */
#include "system/tls_server.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static int
set_options(struct tls_config *config,
    const struct common_settings *settings, struct error *error)
{
	uint32_t protocols;

	if (tls_config_parse_protocols(&protocols,
	    settings->tls_protocols) != 0 ||
	    tls_config_set_protocols(config, protocols) != 0)
		return error_set(error, ERROR_CONFIG, "--tls-protocols '%.80s'"
		    ": %s", settings->tls_protocols,
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
    const struct common_settings *settings, size_t i, bool first,
    struct error *error)
{
	char cert_buffer[PATH_MAX], key_buffer[PATH_MAX];
	const char *cert = options_path(settings->tls_cert.items[i],
	    cert_buffer, sizeof(cert_buffer), error);
	const char *key = options_path(settings->tls_key.items[i],
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
		    "--tls-cert %.120s: %s", cert, strerror(errno));
	if (access(key, R_OK) != 0)
		return error_set(error, ERROR_CONFIG,
		    "--tls-key %.120s: %s", key, strerror(errno));
	return error_set(error, ERROR_CONFIG, "--tls-cert %.120s, "
	    "--tls-key %.120s: %s", cert, key, tls_config_error(config));
}

static int
configure(struct tls *tls, struct tls_config *config,
    const struct common_settings *settings, struct error *error)
{
	if (settings->tls_cert.count != settings->tls_key.count)
		return error_set(error, ERROR_CONFIG, "%zu --tls-cert and %zu "
		    "--tls-key: each certificate needs its key",
		    settings->tls_cert.count, settings->tls_key.count);
	if (set_options(config, settings, error) < 0)
		return -1;
	for (size_t i = 0; i < settings->tls_cert.count; i++)
		if (add_keypair(config, settings, i, i == 0, error) < 0)
			return -1;
	if (tls_configure(tls, config) != 0)
		return error_set(error, ERROR_CONFIG, "TLS: %s",
		    tls_error(tls));
	return 0;
}

/*
 * libtls looks into keys only when it has all of them, and then does not
 * say which pair is wrong: try each alone.
 */
static void
find_wrong_pair(const struct common_settings *settings, struct error *error)
{
	struct error ignored;

	for (size_t i = 0; i < settings->tls_cert.count &&
	    i < settings->tls_key.count; i++) {
		struct tls_config *config = tls_config_new();
		struct tls *tls = tls_server();

		if (config != NULL && tls != NULL &&
		    add_keypair(config, settings, i, true, &ignored) == 0 &&
		    tls_configure(tls, config) != 0) {
			error_set(error, ERROR_CONFIG, "--tls-cert %.120s, "
			    "--tls-key %.120s: %s",
			    settings->tls_cert.items[i],
			    settings->tls_key.items[i], tls_error(tls));
			i = settings->tls_cert.count;
		}
		tls_config_free(config);
		tls_free(tls);
	}
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
	if (error->kind == ERROR_CONFIG)
		find_wrong_pair(settings, error);
	return NULL;
}
