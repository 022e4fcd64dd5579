/*
 * relay_resolve.c - getaddrinfo(3) in a thread.
 *
 * It waits for name servers as long as resolv.conf(5) says, which may be
 * minutes, and neither our deadline nor SIGTERM ends that. A thread can be
 * left to it: it touches nothing but its question, which the last one of the
 * two frees.
 */
#include "relay/relay_resolve.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "system/connect.h"
#include "system/loopback.h"

struct question {
	char *host;
	char *port;
	struct addrinfo *addresses;
	int failure;
	int ends[2]; /* a pipe, whose end tells that there is an answer */
	atomic_int holders;
};

/* Without AI_ADDRCONFIG, which knows nothing of loopback: where there is no
 * other address of a family, its loopback one would not be found. */
static int
ask(const char *host, const char *port, int flags,
    struct addrinfo **addresses)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};

	*addresses = NULL;
	return getaddrinfo(host, port, &hints, addresses);
}

static void
let_go(struct question *question)
{
	if (question == NULL || atomic_fetch_sub(&question->holders, 1) > 1)
		return;
	if (question->addresses != NULL)
		freeaddrinfo(question->addresses);
	free(question->host);
	free(question->port);
	free(question);
}

static void *
run(void *arg)
{
	struct question *question = arg;
	int end = question->ends[1];

	question->failure = ask(question->host, question->port, 0,
	    &question->addresses);
	let_go(question);
	close(end);
	return NULL;
}

/* Both hold it; -1 where there is no thread to be had. */
static int
start(struct question *question)
{
	pthread_attr_t attributes;
	pthread_t thread;

	atomic_store(&question->holders, 2);
	if (question->host == NULL || question->port == NULL ||
	    pipe2(question->ends, O_CLOEXEC) != 0)
		return -1;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	int wrong = pthread_create(&thread, &attributes, run, question);
	pthread_attr_destroy(&attributes);
	if (wrong == 0)
		return 0;
	close(question->ends[0]);
	close(question->ends[1]);
	return -1;
}

int
relay_resolve(const char *host, const char *port, int64_t deadline,
    struct addrinfo **addresses, struct error *error)
{
	int failure = ask(host, port, AI_NUMERICHOST, addresses);

	if (failure == 0)
		return 0;
	struct question *question = loopback_is_host(host) ? NULL
	    : calloc(1, sizeof(*question));
	if (question != NULL) {
		question->host = strdup(host);
		question->port = strdup(port);
	}
	if (question != NULL && start(question) == 0) {
		/* With one holder left, the thread has written its answer. */
		bool answered = connect_wait_for(question->ends[0], POLLIN,
		    deadline) && atomic_load(&question->holders) == 1;

		close(question->ends[0]);
		if (answered) {
			failure = question->failure;
			*addresses = question->addresses;
			question->addresses = NULL;
		}
		let_go(question);
		if (!answered)
			return error_set(error, ERROR_TIMEOUT,
			    "its addresses cannot be found now: no answer "
			    "from a name server");
	} else {
		/* "localhost", which is in /etc/hosts; or no thread: then a
		 * name server may take longer than the deadline. */
		if (question != NULL)
			atomic_store(&question->holders, 1);
		let_go(question);
		failure = ask(host, port, 0, addresses);
	}
	return failure == 0 ? 0 : error_set(error, ERROR_SYSTEM, "%s",
	    gai_strerror(failure));
}
