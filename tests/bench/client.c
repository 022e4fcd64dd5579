/*
 * The benchmarks' client: sessions with one or more servers on 127.0.0.1, in
 * turn, and what each of them took.
 *
 *	client ROUNDS PORT:DIALOGUE[:OCTETS]...
 *
 * In every second round the servers come in reverse order, so that none of
 * them always works in another's wake. A line for each session:
 *
 *	SERVER GREETING SESSION BULK
 *
 * SERVER counts from 0 in the order of the command line. The rest are
 * microseconds: from connect(2) to the end of the greeting; from connect(2)
 * till TCP has ended, which is when the server's process has; and what the
 * bulk of the dialogue took.
 *
 *	quit	greeting, QUIT
 *	stat	greeting, USER, PASS, STAT, QUIT
 *	drain	greeting, one line, then OCTETS octets come
 *	retr	greeting, USER, PASS, RETR 1 (OCTETS octets at least), QUIT
 *	fill	greeting, one line, then OCTETS octets go
 *	data	SMTP: AUTH, MAIL, RCPT, DATA of OCTETS octets, QUIT
 *	bdat	the same with BDAT, in chunks of 1 MB
 *	small	SMTP: AUTH, then OCTETS messages of 4 KB, QUIT
 */
#include <sys/socket.h>

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tls.h>
#include <unistd.h>

#define RECORD 16384
#define LINE 78   /* text of a line of the messages sent */
#define LIMIT 120 /* seconds, after which a session hangs */

struct session {
	struct tls *tls;
	int fd;
	size_t have; /* octets of input not yet looked at */
	char in[RECORD];
	uint64_t bulk;
};

struct target {
	uint16_t port;
	void (*dialogue)(struct session *, size_t);
	size_t octets;
};

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
send_all(struct session *s, const char *data, size_t size)
{
	ssize_t n;

	while (size > 0) {
		n = tls_write(s->tls, data, size);
		if (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT)
			continue;
		if (n < 0)
			errx(1, "tls_write: %s", tls_error(s->tls));
		data += n;
		size -= (size_t)n;
	}
}

/* More input, behind what there is; false at the end of it. */
static int
fill(struct session *s)
{
	ssize_t n;

	do
		n = tls_read(s->tls, s->in + s->have, sizeof(s->in) - s->have);
	while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
	if (n < 0)
		errx(1, "tls_read: %s", tls_error(s->tls));
	s->have += (size_t)n;
	return n > 0;
}

/* One line; a multi-line SMTP reply counts as one. */
static void
expect(struct session *s, const char *start)
{
	char *end;
	size_t length;
	int more;

	do {
		while ((end = memchr(s->in, '\n', s->have)) == NULL)
			if (s->have == sizeof(s->in) || !fill(s))
				errx(1, "no whole line, \"%s\" expected",
				    start);
		length = (size_t)(end - s->in) + 1;
		if (strncmp(s->in, start, strlen(start)) != 0)
			errx(1, "\"%s\" expected: %.*s", start, (int)length,
			    s->in);
		more = length > 4 && start[0] != '+' && s->in[3] == '-';
		s->have -= length;
		memmove(s->in, end + 1, s->have);
	} while (more);
}

static void
command(struct session *s, const char *line, const char *reply)
{
	send_all(s, line, strlen(line));
	expect(s, reply);
}

static void
login(struct session *s)
{
	command(s, "USER tester\r\n", "+OK");
	command(s, "PASS secret\r\n", "+OK");
}

static void
dialogue_quit(struct session *s, size_t octets)
{
	(void)octets;
	command(s, "QUIT\r\n", "+OK");
}

static void
dialogue_stat(struct session *s, size_t octets)
{
	login(s);
	command(s, "STAT\r\n", "+OK");
	dialogue_quit(s, octets);
}

/* So many octets at least. */
static void
take(struct session *s, size_t octets)
{
	size_t got = s->have;

	while (got < octets) {
		s->have = 0;
		if (!fill(s))
			errx(1, "%zu octets missing", octets - got);
		got += s->have;
	}
	s->have = 0;
}

static void
dialogue_drain(struct session *s, size_t octets)
{
	uint64_t start = now();

	send_all(s, "GO\r\n", 4);
	take(s, octets);
	s->bulk = now() - start;
}

static void
dialogue_retr(struct session *s, size_t octets)
{
	static const char end[] = "\r\n.\r\n";
	char tail[sizeof(end) - 1] = "";
	uint64_t start;
	size_t got = 0, n;

	login(s);
	start = now();
	command(s, "RETR 1\r\n", "+OK");
	while (memcmp(tail, end, sizeof(tail)) != 0) {
		if (s->have == 0 && !fill(s))
			errx(1, "no end of message after %zu octets", got);
		got += s->have;
		n = s->have < sizeof(tail) ? s->have : sizeof(tail);
		memmove(tail, tail + n, sizeof(tail) - n);
		memcpy(tail + sizeof(tail) - n, s->in + s->have - n, n);
		s->have = 0;
	}
	s->bulk = now() - start;
	if (got < octets)
		errx(1, "a message of %zu octets only", got);
	dialogue_quit(s, 0);
}

/* Lines of text, 16 KiB at a time; they begin with a header, as a message
 * does. */
static void
give(struct session *s, size_t octets)
{
	static const char header[] = "Subject: a message\r\n\r\n";
	static char text[RECORD / (LINE + 2) * (LINE + 2)];
	size_t i, n;

	for (i = 0; i < sizeof(text); i += LINE + 2) {
		memset(text + i, 'x', LINE);
		memcpy(text + i + LINE, "\r\n", 2);
	}
	memcpy(text, header, sizeof(header) - 1);
	for (; octets > 0; octets -= n) {
		n = octets < sizeof(text) ? octets : sizeof(text);
		send_all(s, text, n);
	}
}

static void
dialogue_fill(struct session *s, size_t octets)
{
	uint64_t start = now();

	send_all(s, "GO\r\n", 4);
	give(s, octets);
	tls_close(s->tls);
	shutdown(s->fd, SHUT_WR);
	expect(s, "+OK");
	s->bulk = now() - start;
}

static void
log_in_smtp(struct session *s)
{
	command(s, "EHLO client\r\n", "250");
	command(s, "AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=\r\n", "235");
}

static void
envelope(struct session *s)
{
	command(s, "MAIL FROM:<a@example.com>\r\n", "250");
	command(s, "RCPT TO:<b@example.com>\r\n", "250");
}

static void
dialogue_data(struct session *s, size_t octets)
{
	uint64_t start;

	log_in_smtp(s);
	envelope(s);
	start = now();
	command(s, "DATA\r\n", "354");
	give(s, octets / (LINE + 2) * (LINE + 2));
	command(s, ".\r\n", "250");
	s->bulk = now() - start;
	command(s, "QUIT\r\n", "221");
}

static void
dialogue_bdat(struct session *s, size_t octets)
{
	const size_t most = 1000000 / (LINE + 2) * (LINE + 2);
	char line[64];
	uint64_t start;

	log_in_smtp(s);
	envelope(s);
	start = now();
	for (octets = octets / (LINE + 2) * (LINE + 2); octets > 0;) {
		size_t n = octets < most ? octets : most;

		octets -= n;
		snprintf(line, sizeof(line), "BDAT %zu%s\r\n", n,
		    octets > 0 ? "" : " LAST");
		send_all(s, line, strlen(line));
		give(s, n);
		expect(s, "250");
	}
	s->bulk = now() - start;
	command(s, "QUIT\r\n", "221");
}

static void
dialogue_small(struct session *s, size_t messages)
{
	uint64_t start;

	log_in_smtp(s);
	start = now();
	for (; messages > 0; messages--) {
		envelope(s);
		command(s, "DATA\r\n", "354");
		give(s, 4000);
		command(s, ".\r\n", "250");
	}
	s->bulk = now() - start;
	command(s, "QUIT\r\n", "221");
}

static const struct {
	const char *name;
	void (*dialogue)(struct session *, size_t);
} dialogues[] = {
	{ "quit", dialogue_quit },
	{ "stat", dialogue_stat },
	{ "drain", dialogue_drain },
	{ "retr", dialogue_retr },
	{ "fill", dialogue_fill },
	{ "data", dialogue_data },
	{ "bdat", dialogue_bdat },
	{ "small", dialogue_small },
};

static struct target
parse_target(char *argument)
{
	struct target target = { 0 };
	const char *port = strsep(&argument, ":");
	const char *name = strsep(&argument, ":");
	size_t i;

	target.port = (uint16_t)strtoul(port, NULL, 10);
	if (argument != NULL)
		target.octets = strtoul(argument, NULL, 10);
	for (i = 0; name != NULL && i < sizeof(dialogues) / sizeof(*dialogues);
	     i++)
		if (strcmp(name, dialogues[i].name) == 0)
			target.dialogue = dialogues[i].dialogue;
	if (target.port == 0 || target.dialogue == NULL)
		errx(64, "PORT:DIALOGUE[:OCTETS] expected");
	return target;
}

static void
run(const struct target *target, size_t number, struct tls_config *config)
{
	static struct session s;
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(target->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	uint64_t start, greeting;
	int on = 1;

	alarm(LIMIT);

	/* What the client alone has to do is no part of the time. */
	memset(&s, 0, sizeof(s));
	s.tls = tls_client();
	s.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (s.tls == NULL || s.fd < 0)
		err(1, "socket");
	if (tls_configure(s.tls, config) < 0)
		errx(1, "%s", tls_error(s.tls));
	setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

	start = now();
	if (connect(s.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "connect");
	if (tls_connect_socket(s.tls, s.fd, "localhost") < 0 ||
	    tls_handshake(s.tls) < 0)
		errx(1, "%s", tls_error(s.tls));
	expect(&s, "");
	greeting = now() - start;
	target->dialogue(&s, target->octets);
	do
		s.have = 0;
	while (fill(&s));
	tls_close(s.tls);
	while (read(s.fd, s.in, sizeof(s.in)) > 0)
		continue;
	printf("%zu %lu %lu %lu\n", number, (unsigned long)greeting,
	    (unsigned long)(now() - start), (unsigned long)s.bulk);
	tls_free(s.tls);
	close(s.fd);
}

int
main(int argc, char **argv)
{
	struct target targets[32];
	struct tls_config *config;
	size_t n = 0, i, round, rounds;

	if (argc < 3 || argc > 2 + (int)(sizeof(targets) / sizeof(*targets)))
		errx(64, "usage: client ROUNDS PORT:DIALOGUE[:OCTETS]...");
	rounds = strtoul(argv[1], NULL, 10);
	for (argv += 2; *argv != NULL; argv++)
		targets[n++] = parse_target(*argv);
	/* A server's process is gone before it hears our close_notify. */
	signal(SIGPIPE, SIG_IGN);
	config = tls_config_new();
	if (config == NULL)
		errx(1, "out of memory");
	tls_config_insecure_noverifycert(config);
	tls_config_insecure_noverifyname(config);
	for (round = 0; round < rounds; round++)
		for (i = 0; i < n; i++)
			run(&targets[round % 2 ? n - 1 - i : i],
			    round % 2 ? n - 1 - i : i, config);
	return 0;
}
