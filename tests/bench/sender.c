/*
 * sender - clients that send small messages: sender PORT CLIENTS SESSIONS
 * MESSAGES. So many processes hold so many sessions each, one after the
 * other, of so many messages of 1 KB each; with PIPELINING (RFC 2920), as most
 * mail systems do, where that is offered. Prints the seconds it took.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE "A line of the usual length, so that a message has a few dozen\r\n"

static char text[2048];

static void
fail(const char *what)
{
	perror(what);
	_exit(1);
}

static void
say(int fd, const char *octets, size_t len)
{
	if (send(fd, octets, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("send");
}

static char reply[8192];

/* So many replies, of which the last one's code must begin so. */
static void
hear(int fd, int count, char code)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, reply + len, sizeof(reply) - len - 1, 0);
		const char *line = reply, *end;
		int ended = 0;

		if (n <= 0)
			fail("recv");
		len += (size_t)n;
		reply[len] = '\0';
		for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
			ended += end - line > 3 && line[3] == ' ';
			if (ended < count)
				continue;
			if (line[0] != code)
				fail(reply);
			return;
		}
	}
}

static void
step(int fd, const char *line, char code)
{
	say(fd, line, strlen(line));
	hear(fd, 1, code);
}

#define MAIL "MAIL FROM:<a@client.example>\r\n"
#define RCPT "RCPT TO:<b@mail.example>\r\n"

static void
message(int fd, int pipelining)
{
	if (pipelining) {
		say(fd, MAIL RCPT "DATA\r\n",
		    sizeof(MAIL RCPT "DATA\r\n") - 1);
		hear(fd, 3, '3');
	} else {
		step(fd, MAIL, '2');
		step(fd, RCPT, '2');
		step(fd, "DATA\r\n", '3');
	}
	step(fd, text, '2');
}

static void
session(const struct sockaddr_in *at, int messages)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) != 0)
		fail("connect");
	hear(fd, 1, '2');
	step(fd, "EHLO client.example\r\n", '2');
	int pipelining = strstr(reply, "PIPELINING") != NULL;
	for (int i = 0; i < messages; i++)
		message(fd, pipelining);
	step(fd, "QUIT\r\n", '2');
	close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timespec begin, end;
	int status, result = 0;

	if (argc != 5)
		return 64;
	at.sin_port = htons((unsigned short)atoi(argv[1]));
	size_t len = (size_t)snprintf(text, sizeof(text),
	    "Subject: small\r\n\r\n");
	while (len + sizeof(LINE) < 1024)
		len += (size_t)snprintf(text + len, sizeof(text) - len, LINE);
	snprintf(text + len, sizeof(text) - len, ".\r\n");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < atoi(argv[2]); i++)
		if (fork() == 0) {
			for (int k = 0; k < atoi(argv[3]); k++)
				session(&at, atoi(argv[4]));
			_exit(0);
		}
	while (wait(&status) > 0)
		result |= status;
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%f\n", (double)(end.tv_sec - begin.tv_sec) +
	    (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	return result == 0 ? 0 : 1;
}
