/* relay_resolve: the addresses of a next hop, within a limit. */
#ifndef RELAY_RESOLVE_H
#define RELAY_RESOLVE_H

#include <netdb.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Addresses for TCP, to be freed with freeaddrinfo(3). A resolver that does
 * not answer by the deadline (clock_now), or until SIGTERM, is left alone.
 * Errors: ERROR_SYSTEM, ERROR_TIMEOUT, without the host's name.
 */
int relay_resolve(const char *host, const char *port, int64_t deadline,
    struct addrinfo **addresses, struct error *error);

#endif
