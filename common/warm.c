/*
 * warm.c - the parent's loop, and the reasons to end it. It waits only in
 * ppoll(2), and signals are unblocked only there.
 */
#include "warm.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/log.h"
#include "system/notify.h"
#include "system/process.h"
#include "warm_private.h"

/* After --exit-after: sessions have so long to end by themselves, in ms. */
#define GRACE_MS 2000
/* How often children that are being ended are looked at, in ms. */
#define ENDING_MS 1000

static bool
has_enough(const struct warm *warm)
{
	return warm->settings->exit_after > 0 &&
	    warm->counted >= warm->settings->exit_after;
}

/* When --idle-exit is due: clock_now, or INT64_MAX for never. */
static int64_t
idle_deadline(const struct warm *warm)
{
	if (warm->settings->idle_exit == 0 || warm->table.n > 0 ||
	    warm->checking != 0)
		return INT64_MAX;
	return warm->idle_since + 1000 * (int64_t)warm->settings->idle_exit;
}

/* Is --idle-exit over, and does no connection wait to be accepted? */
static bool
is_idle(const struct warm *warm)
{
	return clock_now() >= idle_deadline(warm) &&
	    !listener_is_ready(&warm->listeners);
}

static void
wait_until(const int64_t deadline, struct pollfd *pollfds, size_t n)
{
	int64_t left = deadline - clock_now();
	const struct timespec timeout = {
		.tv_sec = left > 0 ? left / 1000 : 0,
		.tv_nsec = left > 0 ? left % 1000 * 1000000 : 0,
	};

	int found = ppoll(pollfds, (nfds_t)n,
	    deadline == INT64_MAX ? NULL : &timeout, process_wait_mask());
	/* Where something is ready ppoll(2) lets no signal in: whoever keeps
	 * us busy would keep SIGTERM from being heard. */
	if (found > 0)
		process_wait(0);
	/* Interrupted: it says nothing about the descriptors. */
	if (found < 0)
		for (size_t i = 0; i < n; i++)
			pollfds[i].revents = 0;
}

/* One turn of the loop. Returns 1 in a child. */
static int
turn(struct warm *warm)
{
	struct pollfd pollfds[1 + LISTENER_MAX];
	int64_t deadline = idle_deadline(warm);
	bool paused = clock_now() < warm->paused_until;
	size_t n = 0;

	pollfds[n++] = (struct pollfd){
		.fd = warm->report_fds[0], .events = POLLIN };
	if (paused)
		deadline = warm->paused_until;
	if (!paused && !warm_is_full(warm))
		for (size_t i = 0; i < warm->listeners.n; i++)
			pollfds[n++] = (struct pollfd){
				.fd = warm->listeners.fds[i],
				.events = POLLIN,
			};
	wait_until(deadline, pollfds, n);
	warm_hear_reports(warm);
	warm_reap(warm);
	/* A message that was counted just now may have been the last. */
	for (size_t i = 1; i < n && !has_enough(warm) &&
	    !process_stop_requested(); i++)
		if (pollfds[i].revents != 0 &&
		    warm_accept_from(warm, pollfds[i].fd) != 0)
			return 1;
	return 0;
}

static void
log_stopped(const struct warm *warm, const char *reason)
{
	log_forget_session();
	log_begin(LOG_KIND_STOPPED);
	log_add(LOG_FIELD_REASON, slice_from(reason));
	log_add_number(LOG_FIELD_SESSIONS, warm->sessions);
	log_send();
}

static void
stop_children(const struct warm *warm)
{
	for (size_t i = 0; i < warm->table.n; i++) {
		kill(warm->table.children[i].pid, SIGTERM);
		kill(warm->table.children[i].pid, SIGCONT);
	}
}

/* No more is accepted. Sessions get until the deadline to end by themselves,
 * then SIGTERM, which they heed in their own time. */
static void
end(struct warm *warm, const char *reason, int64_t deadline)
{
	bool told = false;

	/* New settings that are still being checked do not matter any more. */
	warm->checking = 0;
	notify_send("STOPPING=1");
	if (warm->listeners.own)
		listener_close(&warm->listeners);
	while (warm->table.n > 0) {
		struct pollfd pollfd = {
			.fd = warm->report_fds[0], .events = POLLIN };

		if (!told && (clock_now() >= deadline ||
		    process_stop_requested())) {
			stop_children(warm);
			told = true;
		}
		wait_until(told ? clock_now() + ENDING_MS : deadline, &pollfd,
		    1);
		warm_hear_reports(warm);
		warm_reap(warm);
	}
	warm_forget_port(warm);
	log_stopped(warm, reason);
	listener_close(&warm->listeners);
	warm_table_wipe(&warm->table);
}

static bool
has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* SIGHUP means new settings. But where the program was started at a terminal
 * that is gone now it must end: nobody could press Ctrl-C any more. */
static bool
must_end(struct warm *warm)
{
	if (!process_take_reload())
		return false;
	if (warm->has_terminal && !has_terminal())
		return true;
	/* What is looked at now may be what was there before. */
	warm->check_again = warm->checking != 0;
	if (warm->checking == 0)
		warm_reload(warm);
	return false;
}

bool
warm_accept(struct warm *warm, int *exit_status)
{
	const uint64_t wanted = warm->settings->exit_after;

	*exit_status = 0;
	warm->has_terminal = has_terminal();
	warm->idle_since = clock_now();
	warm_say_ready(warm);
	for (;;) {
		if (process_stop_requested()) {
			end(warm, "SIGTERM", 0);
			return false;
		}
		if (has_enough(warm)) {
			end(warm, "--exit-after", clock_now() + GRACE_MS);
			return false;
		}
		if (is_idle(warm)) {
			*exit_status = wanted > 0;
			end(warm, wanted > 0 ? "--idle-exit before "
			    "--exit-after" : "--idle-exit", 0);
			return false;
		}
		if (must_end(warm)) {
			end(warm, "its terminal is gone", 0);
			return false;
		}
		if (turn(warm) != 0)
			return true;
	}
}
