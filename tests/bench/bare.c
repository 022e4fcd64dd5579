/*
 * The yardstick of the benchmarks: the least that a program started for one
 * connection must do to speak TLS with libtls. Reads certificate and key,
 * shakes hands on descriptors 0 and 1, sends a POP3 greeting, waits for a
 * line and answers it.
 *
 *	bare CERT KEY			the answer ends the session
 *	bare CERT KEY send OCTETS	then sends so many octets from memory
 *	bare CERT KEY receive FILE	then writes to FILE until the peer ends
 *	bare CERT KEY keep FILE		the same, and fsync
 *	bare CERT KEY fork		listens on 127.0.0.1, prints the port,
 *					and forks for each connection
 *
 * No limits, no log, no options: nothing that costs.
 */
#include <sys/socket.h>

#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tls.h>
#include <unistd.h>

#define RECORD 16384

static char block[RECORD];

static void
send_all(struct tls *tls, const char *data, size_t size)
{
	ssize_t n;

	while (size > 0) {
		n = tls_write(tls, data, size);
		if (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT)
			continue;
		if (n < 0)
			errx(1, "tls_write: %s", tls_error(tls));
		data += n;
		size -= (size_t)n;
	}
}

static size_t
receive(struct tls *tls, char *data, size_t size)
{
	ssize_t n;

	do
		n = tls_read(tls, data, size);
	while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
	if (n < 0)
		errx(1, "tls_read: %s", tls_error(tls));
	return (size_t)n;
}

static void
receive_line(struct tls *tls)
{
	size_t n, length = 0;

	do {
		n = receive(tls, block + length, sizeof(block) - length);
		if (n == 0)
			errx(1, "end of input");
		length += n;
	} while (memchr(block, '\n', length) == NULL);
}

static void
send_octets(struct tls *tls, size_t octets)
{
	size_t n;

	memset(block, 'x', sizeof(block));
	for (; octets > 0; octets -= n) {
		n = octets < sizeof(block) ? octets : sizeof(block);
		send_all(tls, block, n);
	}
}

static void
receive_file(struct tls *tls, const char *name, int keep)
{
	size_t n;
	int fd;

	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		err(1, "%s", name);
	while ((n = receive(tls, block, sizeof(block))) > 0)
		if (write(fd, block, n) != (ssize_t)n)
			err(1, "%s", name);
	if (keep && fsync(fd) < 0)
		err(1, "%s", name);
}

/* Returns in a child, for each connection, which is its descriptors 0 and 1. */
static void
fork_for_each(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	const int on = 1;
	int listener, fd;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&address, length) < 0 ||
	    listen(listener, 128) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		err(1, "listening");
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
			    sizeof(on));
			dup2(fd, 0);
			dup2(fd, 1);
			close(fd);
			close(listener);
			return;
		}
		close(fd);
	}
	err(1, "accept");
}

int
main(int argc, char **argv)
{
	struct tls_config *config;
	struct tls *server, *tls;

	if (argc < 3 || argc > 5)
		errx(64,
		    "usage: bare CERT KEY [send OCTETS | receive FILE | "
		    "keep FILE | fork]");
	config = tls_config_new();
	server = tls_server();
	if (config == NULL || server == NULL)
		errx(1, "out of memory");
	/* A lifetime keeps LibreTLS from sending TLS 1.3 tickets. */
	if (tls_config_set_keypair_file(config, argv[1], argv[2]) < 0 ||
	    tls_config_set_session_lifetime(config, 3600) < 0)
		errx(1, "%s", tls_config_error(config));
	if (tls_configure(server, config) < 0)
		errx(1, "%s", tls_error(server));
	if (argc == 4)
		fork_for_each();
	if (tls_accept_fds(server, &tls, 0, 1) < 0)
		errx(1, "%s", tls_error(server));
	send_all(tls, "+OK ready\r\n", 11);
	receive_line(tls);
	if (argc == 5 && strcmp(argv[3], "send") == 0)
		send_octets(tls, strtoul(argv[4], NULL, 10));
	else if (argc == 5)
		receive_file(tls, argv[4], strcmp(argv[3], "keep") == 0);
	send_all(tls, "+OK bye\r\n", 9);
	tls_close(tls);
	return 0;
}
