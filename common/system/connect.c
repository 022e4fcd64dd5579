/*
 * connect.c - connect(2) without blocking, so that SIGTERM is heard meanwhile.
 */
#include "system/connect.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/process.h"

/* How long to wait for room among those that wait to be accepted. */
#define RETRY_MS 50

bool
connect_wait_for(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd pollfd = { .fd = fd, .events = events };
		int64_t left = deadline - clock_now();
		const struct timespec timeout = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};

		if (left <= 0 || process_stop_requested())
			return false;
		if (ppoll(&pollfd, 1, &timeout, process_wait_mask()) == 1)
			return true;
	}
}

/* Of a connection that is being made: 0, or why it was not. */
static int
await_connection(int fd, int64_t deadline)
{
	int failure;
	socklen_t len = sizeof(failure);

	if (!connect_wait_for(fd, POLLOUT, deadline))
		return ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0
	    ? failure : errno;
}

int
connect_by(int64_t deadline, const struct sockaddr *address, socklen_t len,
    struct error *error)
{
	int fd = socket(address->sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int failure;

	if (fd < 0)
		return error_system(error, errno, "socket");
	for (;;) {
		failure = connect(fd, address, len) == 0 ? 0 : errno;
		if (failure == EINPROGRESS)
			failure = await_connection(fd, deadline);
		/* A UNIX socket does not wait where many are waiting to be
		 * accepted; a server with work for all of them is not
		 * down. */
		if (failure != EAGAIN || clock_now() >= deadline ||
		    process_stop_requested())
			break;
		process_wait(RETRY_MS);
	}
	if (failure == 0)
		return fd;
	close(fd);
	if ((failure == EAGAIN || failure == ETIMEDOUT) &&
	    process_stop_requested())
		return error_set(error, ERROR_SYSTEM, "connect: stopped");
	return error_system(error, failure, "connect");
}
