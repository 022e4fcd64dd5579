/*
 * poller: one descriptor that tells which of many are ready, when a time has
 * come, and when somebody rang: epoll(7), or kqueue(2) where that is not.
 *
 * Edges, not levels: who is told that something is readable is not told again
 * before it has been read to the end. So nothing is said to the kernel but
 * once for each descriptor, and who does not want to read now is not woken.
 */
#ifndef POLLER_H
#define POLLER_H

#include <stdbool.h>
#include <stdint.h>

#define POLLER_EVENTS_MAX 256

struct poller {
	int fd;
	int bell;      /* epoll's: eventfd(2), timerfd_create(2) */
	int alarm;
	bool rung;
	bool watched;  /* somebody else waits for fd, too */
	int64_t alarm_at; /* INT64_MAX: never */
};

struct poller_event {
	void *source; /* as poller_add had it */
	bool readable;
	bool writable;
	bool hung_up; /* the end of the input is among what can be read */
};

/* 0, or -1 with errno. */
int poller_open(struct poller *poller);
/* Nothing needs to be removed after that. */
void poller_close(struct poller *poller);

/* Both directions. To be removed before it is closed: where a process that
 * was forked has it too, it is not closed by that (epoll(7)). */
int poller_add(struct poller *poller, int fd, void *source);
void poller_remove(struct poller *poller, int fd);

/* At most POLLER_EVENTS_MAX of them within ms (-1: whenever): how many, or -1
 * with errno. The bell and the alarm are no events. */
int poller_wait(struct poller *poller, struct poller_event *events, int ms);

/* For whoever watches fd: it stays readable until the bell is silent again;
 * and becomes readable at a time (ms of clock_now). */
void poller_ring(struct poller *poller);
void poller_silence(struct poller *poller);
void poller_set_alarm(struct poller *poller, int64_t at, int64_t now);

#endif
