/*
 * tls_server: the server's side of TLS.
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include <stddef.h>
#include <tls.h>

#include "base/error.h"

struct tls_server_options {
	const char *const *certs; /* PEM files, as file_path takes them: */
	const char *const *keys;  /* a key for each certificate */
	size_t n_certs;
	size_t n_keys;
	const char *protocols; /* as tls_config_parse_protocols(3) */
	const char *ciphers;   /* as tls_config_set_ciphers(3); or NULL */
	const char *alpn;      /* or NULL */
};

/*
 * A context with these certificates and keys, to be freed with tls_free(3);
 * NULL with ERROR_CONFIG and a text that names the option and the file.
 */
struct tls *tls_server_new(const struct tls_server_options *options,
    struct error *error);

/* For --check-config: does each certificate hold now? */
int tls_server_check_dates(const struct tls_server_options *options,
    struct error *error);

#endif
