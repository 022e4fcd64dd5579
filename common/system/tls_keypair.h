/*
 * tls_keypair: what is wrong with a certificate and a key, in words that help.
 */
#ifndef TLS_KEYPAIR_H
#define TLS_KEYPAIR_H

#include "base/error.h"

/*
 * Looks at two files in PEM form, which can be read. -1 with *error
 * (ERROR_CONFIG), which names option and file and says what to do: one is no
 * certificate or no key, they are exchanged, the key has a passphrase, it is
 * another certificate's. 0: nothing of that.
 */
int tls_keypair_explain(const char *cert, const char *key,
    struct error *error);

/* -1 with *error where the certificate does not hold any more, or not yet. */
int tls_keypair_check_dates(const char *cert, struct error *error);

#endif
