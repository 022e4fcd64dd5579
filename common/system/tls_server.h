/*
 * tls_server: the server's side of TLS, made of the settings.
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include <tls.h>

#include "base/error.h"
#include "settings/settings.h"

/*
 * A context with the certificates and keys of the settings, to be freed
 * with tls_free(3); NULL with ERROR_CONFIG and a text that names the file.
 */
struct tls *tls_server_new(const struct common_settings *settings,
    struct error *error);

#endif
