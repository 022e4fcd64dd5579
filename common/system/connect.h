/* connect: making a connection, and other waits, within a limit. */
#ifndef CONNECT_H
#define CONNECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

/*
 * A connected stream socket, which does not block. -1: there is none by the
 * deadline (clock_now), or SIGTERM came; *error says what failed.
 */
int connect_by(int64_t deadline, const struct sockaddr *address,
    socklen_t len, struct error *error);

/* Waits for events of poll(2): false at the deadline, or at SIGTERM. */
bool connect_wait_for(int fd, short events, int64_t deadline);

#endif
