/*
 * listen.c - a listening socket, for programs that have none yet.
 */
#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/mailhandlers.h"

static int
listen_at(const struct addrinfo *at)
{
	const int on = 1;
	int fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);

	if (fd < 0)
		return -1;
	/* Old connections in TIME_WAIT must not keep the port taken. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
	    listen(fd, SOMAXCONN) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int
mh_listen(const char *address, const char *port)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int fd = -1;
	int result = getaddrinfo(address, port, &hints, &list);

	if (result != 0) {
		errno = result == EAI_MEMORY ? ENOMEM : result == EAI_SYSTEM
		    ? errno : EADDRNOTAVAIL;
		return -1;
	}
	for (const struct addrinfo *at = list; at != NULL && fd < 0;
	    at = at->ai_next)
		fd = listen_at(at);
	int saved = errno;
	freeaddrinfo(list);
	errno = saved;
	return fd;
}
