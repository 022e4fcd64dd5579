/*
 * listener: listening sockets, opened here (--listen) or handed over by
 * whoever started the program (systemd's Accept=no, inetd's wait).
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* As many as --listen may name, each for two address families. */
#define LISTENER_MAX 32
/* The text of an address and port, the terminating NUL included. */
#define LISTENER_NAME_SIZE 64

struct listeners {
	int fds[LISTENER_MAX]; /* close-on-exec, non-blocking, above 3 */
	size_t n;
	bool own; /* opened here: they end with us */
};

/*
 * Is it [ADDRESS:]PORT? ADDRESS is IPv4, IPv6 in brackets, or "localhost",
 * and the same without an address, for 127.0.0.1 and ::1. If not, *why says
 * what it must be.
 */
bool listener_is_valid(const char *where, char *why, size_t size);

/*
 * Opens what one --listen names and adds it to listeners. Port 0 takes a
 * free one, which both loopback addresses then have in common. A family
 * that this machine does not have is left out where the other one is there.
 * inherited holds sockets of the program that this one replaces (it may be
 * empty): what fits is moved over from there, with its backlog. Errors:
 * ERROR_CONFIG, with the port.
 */
int listener_open(struct listeners *listeners, struct listeners *inherited,
    const char *where, struct error *error);

/*
 * Takes the listening socket that was passed: as descriptor 3 by systemd
 * (sd_listen_fds(3)), else as descriptor 0, which becomes /dev/null, and 1
 * and 2 with it where they are that socket too. Errors: ERROR_CONFIG where
 * what was passed is not one listening stream socket.
 */
int listener_adopt(struct listeners *listeners, struct error *error);

/* "127.0.0.1:1025", "[::1]:1025", or the path of a UNIX socket. */
void listener_name(int fd, char name[LISTENER_NAME_SIZE]);

/* 0 where there is none. */
uint16_t listener_port(int fd);

/* Does a connection wait on one of them? */
bool listener_is_ready(const struct listeners *listeners);

void listener_close(struct listeners *listeners);

#endif
