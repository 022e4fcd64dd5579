/*
 * poller.c - epoll(7) or kqueue(2).
 */
#include "library/poller.h"

#include <errno.h>
#include <unistd.h>

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

/* Adds the bell or the alarm: no source, they only make the poller's own
 * descriptor readable. */
static int
add_internal(struct poller *poller, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

	return fd < 0 ? -1 : epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
}

int
poller_open(struct poller *poller)
{
	*poller = (struct poller){ .bell = -1, .alarm = -1,
		.alarm_at = INT64_MAX };
	poller->fd = epoll_create1(EPOLL_CLOEXEC);
	if (poller->fd < 0)
		return -1;
	poller->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	poller->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC |
	    TFD_NONBLOCK);
	if (add_internal(poller, poller->bell) == 0 &&
	    add_internal(poller, poller->alarm) == 0)
		return 0;
	int saved = errno;
	poller_close(poller);
	errno = saved;
	return -1;
}

void
poller_close(struct poller *poller)
{
	if (poller->bell >= 0)
		close(poller->bell);
	if (poller->alarm >= 0)
		close(poller->alarm);
	if (poller->fd >= 0)
		close(poller->fd);
	poller->fd = -1;
}

int
poller_add(struct poller *poller, int fd, void *source)
{
	struct epoll_event event = { .data.ptr = source,
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };

	return epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
}

void
poller_remove(struct poller *poller, int fd)
{
	struct epoll_event ignored = { .events = 0 };

	epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &ignored);
}

int
poller_wait(struct poller *poller, struct poller_event *events, int ms)
{
	struct epoll_event got[POLLER_EVENTS_MAX];
	int n = epoll_wait(poller->fd, got, POLLER_EVENTS_MAX, ms);
	int count = 0;

	for (int i = 0; i < n; i++) {
		const unsigned in = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
		const unsigned out = EPOLLOUT | EPOLLHUP | EPOLLERR;
		const unsigned end = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

		if (got[i].data.ptr != NULL)
			events[count++] = (struct poller_event){
				.source = got[i].data.ptr,
				.readable = (got[i].events & in) != 0,
				.writable = (got[i].events & out) != 0,
				.hung_up = (got[i].events & end) != 0,
			};
	}
	return n < 0 ? -1 : count;
}

void
poller_ring(struct poller *poller)
{
	const uint64_t one = 1;

	/* It cannot overflow: it rings once. */
	if (!poller->rung)
		poller->rung = write(poller->bell, &one, sizeof(one)) ==
		    sizeof(one);
}

void
poller_silence(struct poller *poller)
{
	uint64_t count;

	if (poller->rung)
		poller->rung = read(poller->bell, &count, sizeof(count)) !=
		    sizeof(count);
}

void
poller_set_alarm(struct poller *poller, int64_t at, int64_t now)
{
	int64_t left = at - now < 1 ? 1 : at - now;
	struct itimerspec spec = { .it_value = { 0 } };

	if (at == poller->alarm_at)
		return;
	if (at != INT64_MAX) {
		spec.it_value.tv_sec = left / 1000;
		spec.it_value.tv_nsec = left % 1000 * 1000000;
	}
	/* Set anew, it is no longer readable for what it was set to. */
	if (timerfd_settime(poller->alarm, 0, &spec, NULL) == 0)
		poller->alarm_at = at;
}

#else

#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

#define BELL 1
#define ALARM 2

static int
change(struct poller *poller, uintptr_t ident, int filter, int flags,
    unsigned fflags, int64_t data, void *source)
{
	struct kevent event;

	EV_SET(&event, ident, filter, flags, fflags, data, source);
	return kevent(poller->fd, &event, 1, NULL, 0, NULL);
}

int
poller_open(struct poller *poller)
{
	*poller = (struct poller){ .alarm_at = INT64_MAX };
	poller->fd = kqueue();
	if (poller->fd < 0)
		return -1;
#ifdef EVFILT_USER
	return change(poller, BELL, EVFILT_USER, EV_ADD, 0, 0, NULL);
#else
	return 0;
#endif
}

void
poller_close(struct poller *poller)
{
	if (poller->fd >= 0)
		close(poller->fd);
}

int
poller_add(struct poller *poller, int fd, void *source)
{
	if (change(poller, (uintptr_t)fd, EVFILT_READ, EV_ADD | EV_CLEAR, 0,
	    0, source) < 0)
		return -1;
	/* On a listening socket this fails, and is not needed. */
	change(poller, (uintptr_t)fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0,
	    source);
	return 0;
}

/* kqueue(2) knows descriptors, and closing one is enough. */
void
poller_remove(struct poller *poller, int fd)
{
	(void)poller;
	(void)fd;
}

int
poller_wait(struct poller *poller, struct poller_event *events, int ms)
{
	const struct timespec timeout = { ms / 1000, ms % 1000 * 1000000L };
	struct kevent got[POLLER_EVENTS_MAX];
	int n = kevent(poller->fd, NULL, 0, got, POLLER_EVENTS_MAX,
	    ms < 0 ? NULL : &timeout);
	int count = 0;

	for (int i = 0; i < n; i++)
		if (got[i].udata != NULL)
			events[count++] = (struct poller_event){
				.source = got[i].udata,
				.readable = got[i].filter == EVFILT_READ,
				.writable = got[i].filter == EVFILT_WRITE,
				.hung_up = (got[i].flags & EV_EOF) != 0,
			};
	return n < 0 ? -1 : count;
}

/* Where there is no EVFILT_USER (OpenBSD), a timer that is over at once. */
void
poller_ring(struct poller *poller)
{
	if (poller->rung)
		return;
#ifdef EVFILT_USER
	poller->rung = change(poller, BELL, EVFILT_USER, 0, NOTE_TRIGGER, 0,
	    NULL) == 0;
#else
	poller->rung = change(poller, BELL, EVFILT_TIMER, EV_ADD, 0, 1,
	    NULL) == 0;
#endif
}

void
poller_silence(struct poller *poller)
{
	if (!poller->rung)
		return;
#ifdef EVFILT_USER
	poller->rung = change(poller, BELL, EVFILT_USER, EV_ADD | EV_CLEAR, 0,
	    0, NULL) != 0;
#else
	poller->rung = change(poller, BELL, EVFILT_TIMER, EV_DELETE, 0, 0,
	    NULL) != 0;
#endif
}

void
poller_set_alarm(struct poller *poller, int64_t at, int64_t now)
{
	if (at == poller->alarm_at)
		return;
	if (poller->alarm_at != INT64_MAX)
		change(poller, ALARM, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
	poller->alarm_at = INT64_MAX;
	if (at != INT64_MAX && change(poller, ALARM, EVFILT_TIMER, EV_ADD |
	    EV_ONESHOT, 0, at - now < 1 ? 1 : at - now, NULL) == 0)
		poller->alarm_at = at;
}

#endif
