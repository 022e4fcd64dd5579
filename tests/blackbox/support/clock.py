"""A clock for handlers that a test sets: what must happen in time is tried
without waiting for it, and without a limit that a busy machine breaks."""

import mmap
import os
import struct
import threading
import time

from frontdoor import FrontDoor, preload, taken
from mailtest import wait_for

# CLOCK_MONOTONIC and ppoll(2), the only ones that sessions wait with, by the
# time in the file CLOCK: how late it was when it was set, by the kernel's
# clock and by this one, and how fast it has gone since.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
/* The test may set the clock at any time: nobody sleeps longer at a stretch. */
#define STRETCH (SECOND / 100)

static struct set {
	volatile uint64_t odd_while_written;
	volatile int64_t kernels, ours, speed;
} *set;

__attribute__((constructor)) static void
begin(void)
{
	int fd = open(getenv("CLOCK"), O_RDONLY | O_CLOEXEC);
	void *map = mmap(NULL, sizeof(*set), PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || map == MAP_FAILED)
		abort();
	set = map;
	close(fd);
}

static int
kernels_time(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);

	if (real == NULL)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	return real(clock, now);
}

static int64_t
now(int64_t *speed)
{
	struct timespec at;
	int64_t kernels, ours;
	uint64_t before;

	do {
		before = set->odd_while_written;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		kernels = set->kernels;
		ours = set->ours;
		*speed = set->speed;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (before % 2 != 0 || before != set->odd_while_written);
	kernels_time(CLOCK_MONOTONIC, &at);
	return ours + (at.tv_sec * SECOND + at.tv_nsec - kernels) * *speed;
}

int
clock_gettime(clockid_t clock, struct timespec *at)
{
	int64_t speed, ns;

	if (clock != CLOCK_MONOTONIC || set == NULL)
		return kernels_time(clock, at);
	ns = now(&speed);
	*at = (struct timespec){ ns / SECOND, ns % SECOND };
	return 0;
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	int (*real)(struct pollfd *, nfds_t, const struct timespec *,
	    const sigset_t *) = dlsym(RTLD_NEXT, "ppoll");
	int64_t speed, end;

	if (timeout == NULL)
		return real(fds, n, NULL, mask);
	end = now(&speed) + timeout->tv_sec * SECOND + timeout->tv_nsec;
	for (;;) {
		int64_t left = end - now(&speed);
		int64_t wait = speed > 0 ? (left + speed - 1) / speed : STRETCH;
		struct timespec stretch = { 0 };

		if (left > 0)
			stretch.tv_nsec = wait < STRETCH ? wait : STRETCH;
		int found = real(fds, n, &stretch, mask);
		if (found != 0 || left <= 0)
			return found;
	}
}

int
__ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask, size_t size)
{
	(void)size;
	return ppoll(fds, n, timeout, mask);
}
"""
NS = 10**9


class Clock:
    """The time of the handlers that are started with env.  It stands still
    until it is told to go."""

    def __init__(self, test, speed=0):
        path = test.fresh_path("clock")
        path.write_bytes(bytes(32))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 32)
        test.addCleanup(self.map.close)
        self.env = {**preload("clock_shim", SHIM), "CLOCK": path}
        self.lock = threading.Lock()
        self.changes = 0
        self.kernels = time.monotonic_ns()
        self.ours, self.speed = self.kernels, 0
        self.go(speed)

    def ns(self, kernels):
        return self.ours + (kernels - self.kernels) * self.speed

    def set(self, speed, more=0):
        with self.lock:
            kernels = time.monotonic_ns()
            self.kernels, self.ours = kernels, self.ns(kernels) + more
            self.speed = speed
            self.changes += 2
            for at, value in ((0, self.changes - 1), (8, self.kernels),
                              (16, self.ours), (24, speed),
                              (0, self.changes)):
                struct.pack_into("q", self.map, at, value)

    def now(self):
        """Seconds, by this clock."""
        with self.lock:
            return self.ns(time.monotonic_ns()) / NS

    def go(self, speed=1):
        """So many times as fast as time goes by; the time when it began."""
        self.set(speed)
        return self.now()

    def hold(self):
        self.set(0)

    def advance(self, seconds):
        """On by so much, at once."""
        self.set(self.speed, int(seconds * NS))


def until_it_waits(peer):
    """The handler has read all that was sent to it and waits for more, or for
    somebody else: each limit that it set itself stands."""
    taken(peer)
    until_process_waits(peer.process.pid)


def until_process_waits(pid):
    folder = f"/proc/{pid}"
    if os.geteuid() != 0:
        time.sleep(0.2)     # others may not see what it does
        return

    def waits():
        with open(f"{folder}/wchan") as wchan, \
                open(f"{folder}/syscall") as syscall:
            # Where it has no name: poll and ppoll of x86-64
            return ("poll" in wchan.read()
                    or syscall.read().split()[0] in ("7", "271"))
    wait_for(waits, "the handler to wait")


class Timed(FrontDoor):
    """Each handler has a clock of its own, peer.clock, which stands still
    until the test lets it go."""

    def door(self, program, *options, env=None, **kwargs):
        clock = Clock(self)
        peer = super().door(program, *options, env={**clock.env,
                                                    **(env or {})}, **kwargs)
        peer.clock = clock
        return peer
