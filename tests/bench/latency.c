/*
 * How long a message takes through a server to its next hop: client and next
 * hop in one program, so that there is one clock. One message is under way at
 * a time.
 *
 *	latency CERT KEY SINK TLSSINK ROUNDS MESSAGES PORT...
 *
 * The next hop takes any message on the ports SINK (clear text) and TLSSINK
 * (TLS from the start; any login is right), a thread for each connection.
 * In each round, every server that answers at a PORT of 127.0.0.1 is given
 * one session in clear text of so many MESSAGES of 4 KB, the servers in
 * reverse order in every second round. A line for each message:
 *
 *	SERVER NTH ACCEPTED ARRIVED
 *
 * SERVER counts from 0 in the order of the command line, NTH is the message's
 * place in its session. ACCEPTED are the microseconds to the client's final
 * reply and ARRIVED those to the final dot at the next hop: of the first
 * message from before connect(2), of later ones from before MAIL.
 */
#include <sys/socket.h>

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tls.h>
#include <unistd.h>

#define BUFFER 16384
#define LINES 50  /* of 80 octets in a message */
#define LIMIT 600 /* seconds, after which all of it hangs */

/* One end of a connection; tls is NULL in clear text. */
struct peer {
	int fd;
	struct tls *tls;
	size_t have; /* octets of input not yet looked at */
	char in[BUFFER];
};

struct sink {
	int listener;
	struct tls *server;
};

struct visit {
	int fd;
	struct tls *server;
};

/* What the next hop has seen. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t arrived;
static unsigned long arrivals;

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* -1 when the other end is gone. */
static int
say(struct peer *p, const char *text)
{
	size_t size = strlen(text);
	ssize_t n;

	for (; size > 0; text += n, size -= (size_t)n) {
		do
			n = p->tls == NULL ? send(p->fd, text, size, 0) :
					     tls_write(p->tls, text, size);
		while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
		if (n <= 0)
			return -1;
	}
	return 0;
}

/* The next line without its end, or -1. */
static int
next_line(struct peer *p, char *line, size_t size)
{
	char *end;
	size_t length;
	ssize_t n;

	while ((end = memchr(p->in, '\n', p->have)) == NULL) {
		if (p->have == sizeof(p->in))
			return -1;
		do
			n = p->tls == NULL ?
			    recv(p->fd, p->in + p->have,
				sizeof(p->in) - p->have, 0) :
			    tls_read(p->tls, p->in + p->have,
				sizeof(p->in) - p->have);
		while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
		if (n <= 0)
			return -1;
		p->have += (size_t)n;
	}
	length = (size_t)(end - p->in);
	snprintf(line, size, "%.*s", (int)length, p->in);
	line[strcspn(line, "\r")] = '\0';
	p->have -= length + 1;
	memmove(p->in, end + 1, p->have);
	return 0;
}

static void
no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* The next hop */

static int
take_text(struct peer *p)
{
	char line[BUFFER];

	do
		if (next_line(p, line, sizeof(line)) < 0)
			return -1;
	while (strcmp(line, ".") != 0);
	pthread_mutex_lock(&lock);
	arrived = now();
	arrivals++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return say(p, "250 2.0.0 Ok\r\n");
}

static int
take_command(struct peer *p, const char *line)
{
	if (strncasecmp(line, "EHLO", 4) == 0)
		return say(p,
		    "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
		    "250-SIZE 100000000\r\n250-ENHANCEDSTATUSCODES\r\n"
		    "250 AUTH PLAIN\r\n");
	if (strncasecmp(line, "AUTH", 4) == 0)
		return say(p, "235 2.7.0 Ok\r\n");
	if (strncasecmp(line, "QUIT", 4) == 0) {
		say(p, "221 2.0.0 Bye\r\n");
		return -1;
	}
	if (strncasecmp(line, "DATA", 4) != 0)
		return say(p, "250 2.0.0 Ok\r\n");
	if (say(p, "354 Go\r\n") < 0)
		return -1;
	return take_text(p);
}

static void *
visit_run(void *argument)
{
	struct visit *visit = argument;
	struct peer *p = calloc(1, sizeof(*p));
	char line[BUFFER];

	if (p == NULL)
		err(1, "calloc");
	p->fd = visit->fd;
	no_delay(p->fd);
	if (visit->server == NULL ||
	    tls_accept_socket(visit->server, &p->tls, p->fd) == 0) {
		if (say(p, "220 sink ESMTP\r\n") == 0)
			while (next_line(p, line, sizeof(line)) == 0 &&
			    take_command(p, line) == 0)
				continue;
	}
	if (p->tls != NULL)
		tls_close(p->tls);
	tls_free(p->tls);
	close(p->fd);
	free(p);
	free(visit);
	return NULL;
}

static void *
sink_run(void *argument)
{
	struct sink *sink = argument;
	struct visit *visit;
	pthread_t thread;

	for (;;) {
		visit = malloc(sizeof(*visit));
		if (visit == NULL)
			err(1, "malloc");
		visit->server = sink->server;
		visit->fd = accept(sink->listener, NULL, NULL);
		if (visit->fd < 0)
			err(1, "accept");
		if (pthread_create(&thread, NULL, visit_run, visit) != 0)
			errx(1, "no thread");
		pthread_detach(thread);
	}
}

static struct sockaddr_in
loopback(const char *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return address;
}

static void
sink_start(struct sink *sink, const char *port, struct tls *server)
{
	struct sockaddr_in address = loopback(port);
	pthread_t thread;
	int on = 1;

	sink->server = server;
	sink->listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(sink->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(sink->listener, (struct sockaddr *)&address,
		sizeof(address)) < 0 ||
	    listen(sink->listener, 64) < 0)
		err(1, "port %s", port);
	if (pthread_create(&thread, NULL, sink_run, sink) != 0)
		errx(1, "no thread");
}

static struct tls *
tls_of(const char *cert, const char *key)
{
	struct tls_config *config = tls_config_new();
	struct tls *server = tls_server();

	if (config == NULL || server == NULL ||
	    tls_config_set_keypair_file(config, cert, key) < 0 ||
	    tls_config_set_session_lifetime(config, 3600) < 0 ||
	    tls_configure(server, config) < 0)
		errx(1, "TLS for the next hop");
	return server;
}

/* The client */

/* A whole reply that begins so. */
static void
expect(struct peer *p, const char *start)
{
	char line[BUFFER];

	do {
		if (next_line(p, line, sizeof(line)) < 0)
			errx(1, "\"%s\" expected: the end", start);
		if (strncmp(line, start, strlen(start)) != 0)
			errx(1, "\"%s\" expected: %s", start, line);
	} while (line[3] == '-');
}

static void
command(struct peer *p, const char *line, const char *reply)
{
	if (say(p, line) < 0)
		errx(1, "%s: nobody hears", line);
	expect(p, reply);
}

static void
wait_for_arrival(unsigned long number)
{
	pthread_mutex_lock(&lock);
	while (arrivals < number)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void
message(struct peer *p, size_t server, unsigned long nth, uint64_t start)
{
	static char text[LINES * 80 + 4];
	unsigned long before = arrivals;
	uint64_t accepted;
	size_t i;

	for (i = 0; i < LINES; i++) {
		memset(text + i * 80, 'x', 78);
		memcpy(text + i * 80 + 78, "\r\n", 2);
	}
	memcpy(text + i * 80, ".\r\n", 4);
	command(p, "MAIL FROM:<a@example.com>\r\n", "250");
	command(p, "RCPT TO:<b@example.com>\r\n", "250");
	command(p, "DATA\r\n", "354");
	command(p, text, "250");
	accepted = now();
	wait_for_arrival(before + 1);
	printf("%zu %lu %lu %lu\n", server, nth,
	    (unsigned long)(accepted - start),
	    (unsigned long)(arrived - start));
}

static void
session(size_t server, const char *port, unsigned long messages)
{
	static struct peer p;
	struct sockaddr_in address = loopback(port);
	uint64_t start = now();
	unsigned long nth;

	memset(&p, 0, sizeof(p));
	p.fd = socket(AF_INET, SOCK_STREAM, 0);
	no_delay(p.fd);
	if (connect(p.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "connect to %s", port);
	expect(&p, "220");
	command(&p, "EHLO client\r\n", "250");
	command(&p, "AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=\r\n", "");
	for (nth = 0; nth < messages; nth++) {
		message(&p, server, nth, start);
		start = now();
	}
	command(&p, "QUIT\r\n", "221");
	while (recv(p.fd, p.in, sizeof(p.in), 0) > 0)
		continue;
	close(p.fd);
}

int
main(int argc, char **argv)
{
	static struct sink plain, secure;
	unsigned long round, rounds, messages;
	size_t i, at, n;

	if (argc < 8)
		errx(64, "usage: latency CERT KEY SINK TLSSINK ROUNDS "
			 "MESSAGES PORT...");
	alarm(LIMIT);
	signal(SIGPIPE, SIG_IGN);
	sink_start(&plain, argv[3], NULL);
	sink_start(&secure, argv[4], tls_of(argv[1], argv[2]));
	rounds = strtoul(argv[5], NULL, 10);
	messages = strtoul(argv[6], NULL, 10);
	n = (size_t)argc - 7;
	for (round = 0; round < rounds; round++)
		for (i = 0; i < n; i++) {
			at = round % 2 ? n - 1 - i : i;
			session(at, argv[7 + at], messages);
		}
	return 0;
}
