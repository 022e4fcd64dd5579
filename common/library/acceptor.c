/*
 * acceptor.c - connections that have come are taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/server.h"

/* Connections that are taken before others have a turn. */
#define ACCEPT_MAX 64
/* After so many ms it is tried again to find a descriptor free. */
#define ACCEPT_PAUSE 1000

static int
accept_one(int fd)
{
#ifdef SOCK_CLOEXEC
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
	int accepted = accept(fd, NULL, NULL);

	if (accepted >= 0) {
		fcntl(accepted, F_SETFD, FD_CLOEXEC);
		fcntl(accepted, F_SETFL, O_NONBLOCK);
	}
	return accepted;
#endif
}

/* Errors of one connection, which is gone: the next one is tried (accept(2),
 * "Error handling"). Linux hands out there what the network said of it. */
static bool
is_of_one(int errnum)
{
	static const int errors[] = {
		EINTR, ECONNABORTED, EPERM, EPROTO, ETIMEDOUT, ENETDOWN,
		ENOPROTOOPT, EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
#ifdef ENONET
		ENONET,
#endif
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errnum == errors[i])
			return true;
	return false;
}

void
acceptor_serve(struct origin *origin)
{
	struct mh_server *server = origin->server;

	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd = origin->fd < 0 ? -1 : accept_one(origin->fd);

		if (fd >= 0) {
			if (channel_new(origin, fd) < 0)
				close(fd);
			continue;
		}
		if (origin->fd >= 0 && is_of_one(errno))
			continue;
		if (origin->fd >= 0 && (errno == EMFILE || errno == ENFILE ||
		    errno == ENOBUFS || errno == ENOMEM))
			/* Waits until a session ends, or after a pause: others
			 * may have closed some. The socket stays readable. */
			server->accept_again = server->now + ACCEPT_PAUSE;
		else
			origin->source.readable = false;
		return;
	}
	queue_add(server, &origin->source);
}
