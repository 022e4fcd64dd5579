/*
 * server_calls: system calls that a server of the library makes, in place of
 * the C library's own: the clock goes on only where somebody sleeps, and what
 * fails is what the test says. Linux only.
 */
#ifndef UNIT_SERVER_CALLS_H
#define UNIT_SERVER_CALLS_H

#include "drive.h"

#include <dlfcn.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "keypair.h"
#include "server_host.h"

static struct {
	int64_t now;       /* ms */
	int64_t alarm;     /* ms from when it was set; 0: none */
	unsigned sleeps;
	int accept_errno;  /* of each accept4(2), 0: none */
	void (*nap)(void); /* called where there is nothing to wait for but
	                    * peers */

	/* Of the server's end of one connection. */
	int fd;            /* 0: of none */
	int recv_errno, send_errno;
	bool once;         /* the errors above come once */
	bool flood;        /* there is always something to receive */
	size_t recvs;
	size_t sends;      /* so many are made before one fails */
	size_t sent;       /* so many were made, */
	size_t sent_first; /* and so many before another connection had one */
	size_t send_max;   /* so much is taken at once; 0: all */
} calls;

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ .tv_sec = 1000 + calls.now / 1000,
		.tv_nsec = calls.now % 1000 * 1000000 };
	return 0;
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *new,
    struct itimerspec *old)
{
	(void)fd;
	(void)flags;
	assert_null(old);
	calls.alarm = new->it_value.tv_sec * 1000 +
	    new->it_value.tv_nsec / 1000000;
	return 0;
}

int
epoll_wait(int fd, struct epoll_event *events, int size, int ms)
{
	int (*real)(int, struct epoll_event *, int, int);

	*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	int n = real(fd, events, size, 0);
	if (n == 0 && ms < 0 && calls.nap != NULL) {
		calls.nap();
		n = real(fd, events, size, 0);
	}
	assert_true(n > 0 || ms >= 0);
	if (n == 0 && ms > 0) {
		calls.now += ms;
		calls.sleeps++;
	}
	return n;
}

int
accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	int (*real)(int, struct sockaddr *, socklen_t *, int);

	*(void **)&real = dlsym(RTLD_NEXT, "accept4");
	errno = calls.accept_errno;
	return errno != 0 ? -1 : real(fd, address, len, flags);
}

static bool
call_fails(int fd, int *errnum)
{
	if (fd != calls.fd || *errnum == 0)
		return false;
	errno = *errnum;
	if (calls.once)
		*errnum = 0;
	return true;
}

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	ssize_t (*real)(int, void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "recv");
	if (call_fails(fd, &calls.recv_errno))
		return -1;
	calls.recvs += fd == calls.fd;
	if (fd != calls.fd || !calls.flood)
		return real(fd, data, size, flags);
	memset(data, 'x', size);
	return (ssize_t)size;
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "send");
	calls.sent += fd == calls.fd;
	if (fd != calls.fd && calls.sent_first == 0)
		calls.sent_first = calls.sent;
	if (fd == calls.fd && calls.sends > 0)
		calls.sends--;
	else if (call_fails(fd, &calls.send_errno))
		return -1;
	return real(fd, data, fd == calls.fd && calls.send_max > 0 &&
	    calls.send_max < size ? calls.send_max : size, flags);
}

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	return 0;
}

static int watched; /* -1: not yet */

/* As a program does that asks for the descriptor once. */
static bool
has_work(const struct host *host)
{
	if (watched < 0)
		watched = mh_server_fd(host->server);
	struct pollfd pollfd = { .fd = watched, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

static void
open_host(struct host *host, const struct mh_options *options)
{
	watched = -1;
	assert_int_equal(host_open(host, options), 0);
}

/* A connection over a socketpair whose calls may fail; the peer's end. */
static inline int
adopted(struct host *host, const struct mh_options *options, struct tls *tls)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(mh_server_adopt(host->server, pair[1], options, tls),
	    0);
	calls.fd = pair[1];
	return pair[0];
}

/* The server has closed its end, not only its side. */
static inline bool
has_closed(int fd)
{
	return send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    errno == EPIPE;
}

static inline void
assert_hears(int fd, const char *want)
{
	struct text said = { .data = NULL };

	peer_read(fd, &said);
	if (!slice_equal(text_slice(&said), slice_from(want)))
		fail_msg("%s", said.data);
	text_free(&said);
}

#define GREETING "220 h ESMTP ready\r\n"

static inline void
say_and_pump(struct host *host, int fd, const char *text)
{
	peer_say(fd, slice_from(text));
	pump(host);
}

/* A group's, for tests under TLS. */
static struct directory directory;
static struct tls *context;

static inline int
make_keypair(void **state)
{
	(void)state;
	context = keypair_set_up(&directory, "h");
	return 0;
}

static inline int
remove_keypair(void **state)
{
	(void)state;
	keypair_tear_down(&directory, context);
	return 0;
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

#endif
