/*
 * tls_rehearsal: a handshake with oneself, for what TLS libraries make only
 * when it is first needed: tables, and algorithms that are looked up by name.
 */
#ifndef TLS_REHEARSAL_H
#define TLS_REHEARSAL_H

#include <tls.h>

/*
 * Does a handshake with the server's context (tls_server_new) in memory, and
 * sends an octet each way. Processes that are forked afterwards have theirs
 * in a fraction of the time. Where it fails, nothing but time is lost.
 */
void tls_rehearsal(struct tls *server);

#endif
