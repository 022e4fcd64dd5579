/*
 * loopback: what tests with a peer of their own over TCP share.
 */
#ifndef UNIT_LOOPBACK_H
#define UNIT_LOOPBACK_H

#include "drive.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>

/* Listens for one connection at a free port of this machine; *address is
 * where. */
static int
listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
	};
	assert_int_equal(bind(listener, (struct sockaddr *)address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)address,
	    &len), 0);
	return listener;
}

static inline void
pause_ms(long milliseconds)
{
	const struct timespec pause = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000,
	};

	nanosleep(&pause, NULL);
}

#endif
