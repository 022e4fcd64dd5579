/*
 * warm.c - the parent's loop: accept, fork, reap, and the reasons to end.
 *
 * Whatever a peer does costs one turn of the loop. Nothing here waits but for
 * ppoll(2), where alone signals get in.
 */
#include "warm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/log.h"
#include "system/notify.h"
#include "system/process.h"
#include "warm_handover.h"
#include "warm_private.h"

/* Where accept(2) has no descriptor or no memory, it is tried again after
 * so many ms; the connection stays in the backlog. */
#define PAUSE_MS 1000
/* A turn of the loop accepts so many, then looks at children and signals. */
#define ACCEPTS_A_TURN 16
/* After --exit-after: sessions have so long to end by themselves, in ms. */
#define GRACE_MS 2000
/* How often children that are being ended are looked at, in ms. */
#define ENDING_MS 1000

/* ---- lines of the log: one a second of each kind ---- */

/* May there be such a line now? *unsaid is how many there could have been
 * since the last one. */
static bool
may_say(struct warm_lines *lines, uint64_t *unsaid)
{
	int64_t now = clock_now();

	if (now < lines->next) {
		lines->unsaid++;
		return false;
	}
	*unsaid = lines->unsaid;
	*lines = (struct warm_lines){ .next = now + 1000 };
	/* The limit of lines is one of sessions, and this is none. */
	log_forget_session();
	return true;
}

static void
say_trouble(struct warm_lines *lines, const char *what, int errnum)
{
	uint64_t unsaid;

	if (may_say(lines, &unsaid))
		log_reason(LOG_KIND_TROUBLE, "%s: %s (and %ju times more "
		    "since this was last said)", what, strerror(errnum),
		    (uintmax_t)unsaid);
}

static void
say_too_many(struct warm *warm, const struct source *source)
{
	char name[SOURCE_TEXT_SIZE], reason[160];
	uint64_t unsaid;

	if (!may_say(&warm->too_many, &unsaid))
		return;
	source_name(source, name);
	snprintf(reason, sizeof(reason), "more than %ju connections at once: "
	    "closed (and %ju more since this was last said)",
	    (uintmax_t)warm->settings->max_per_source, (uintmax_t)unsaid);
	log_begin(LOG_KIND_REFUSED);
	log_add(LOG_FIELD_PEER, slice_from(name));
	log_add(LOG_FIELD_REASON, slice_from(reason));
	log_send();
}

/* ---- children ---- */

/* In the child: as clean as one that was executed. */
static void
become_child(struct warm *warm, int fd, const struct source *source)
{
	warm->is_child = true;
	warm->failed = warm_table_failed(&warm->table, source, clock_now());
	/* Behind a proxy the source is known only when its header is. */
	if (!warm->settings->proxy_protocol)
		warm_table_wipe(&warm->table);
	listener_close(&warm->listeners);
	close(warm->report_fds[0]);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	close(fd);
	process_unwatch();
	unsetenv("NOTIFY_SOCKET");
	log_forget_session();
}

/* 1 in the child. */
static int
serve(struct warm *warm, int fd, const struct source *source)
{
	pid_t pid = fork();

	if (pid == 0) {
		become_child(warm, fd, source);
		return 1;
	}
	if (pid < 0)
		say_trouble(&warm->no_fork, "no process for a connection",
		    errno);
	else
		warm_table_add(&warm->table, pid, source);
	close(fd);
	return 0;
}

static bool
is_full(const struct warm *warm)
{
	return warm->table.n >= warm->settings->max_connections;
}

/* A source of its own has its limit; a proxy's is not one. */
static bool
is_too_many(const struct warm *warm, const struct source *source)
{
	return source->family != 0 && !warm->settings->proxy_protocol &&
	    warm_table_count(&warm->table, source) >=
	    warm->settings->max_per_source;
}

/* Everything that waits on one socket, up to a limit. 1 in a child. */
static int
accept_from(struct warm *warm, int listener)
{
	union { struct sockaddr any; struct sockaddr_storage storage; } peer;

	for (int i = 0; i < ACCEPTS_A_TURN && !is_full(warm); i++) {
		socklen_t len = sizeof(peer);
		int fd = accept4(listener, &peer.any, &len, SOCK_CLOEXEC);

		if (fd < 0) {
			/* What is wrong with one connection only (accept(2))
			 * is over with it. */
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM) {
				say_trouble(&warm->no_accept, "a connection "
				    "waits", errno);
				warm->paused_until = clock_now() + PAUSE_MS;
			}
			return 0;
		}
		struct source source = { .family = 0 };
		if (len >= sizeof(peer.any.sa_family))
			source = source_from_socket(&peer.any);
		warm->idle_since = clock_now();
		if (is_too_many(warm, &source)) {
			say_too_many(warm, &source);
			close(fd);
		} else if (serve(warm, fd, &source) != 0) {
			return 1;
		}
	}
	return 0;
}

static void
say_crash(pid_t pid, const struct source *source, int status)
{
	char name[SOURCE_TEXT_SIZE];

	log_forget_session();
	source_name(source, name);
	if (WIFSIGNALED(status))
		log_reason(LOG_KIND_TROUBLE, "the process %ld for %s ended by "
		    "signal %d (%s)", (long)pid, name, WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
}

static void
end_check(struct warm *warm, int status)
{
	warm->checking = 0;
	log_forget_session();
	if (status == 0)
		warm_execute(warm);
	else
		log_reason(LOG_KIND_CONFIG, "SIGHUP: the settings are wrong, "
		    "those from before stay");
}

static void
reap(struct warm *warm)
{
	struct source source;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == warm->checking) {
			end_check(warm, status);
			continue;
		}
		if (!warm_table_remove(&warm->table, pid, &source))
			continue;
		warm->idle_since = clock_now();
		warm->sessions++;
		if (warm->counts == WARM_COUNTS_SESSIONS)
			warm->counted++;
		say_crash(pid, &source, status);
	}
}

/* A child told whom it serves, which may be one too many. */
static void
set_source(struct warm *warm, struct warm_child *child,
    const struct source *source)
{
	if (source->family != 0 && warm_table_count(&warm->table, source) >=
	    warm->settings->max_per_source) {
		say_too_many(warm, source);
		kill(child->pid, SIGTERM);
	}
	child->source = *source;
}

static void
hear_reports(struct warm *warm)
{
	struct warm_report report;

	while (read(warm->report_fds[0], &report, sizeof(report)) ==
	    (ssize_t)sizeof(report)) {
		struct warm_child *child = warm_table_find(&warm->table,
		    report.pid);

		switch (report.kind) {
		case WARM_REPORT_SOURCE:
			if (child != NULL)
				set_source(warm, child, &report.source);
			break;
		case WARM_REPORT_FAILED_LOGIN:
			if (child != NULL)
				warm_table_fail(&warm->table, &child->source,
				    clock_now());
			break;
		case WARM_REPORT_ACCEPTED:
			if (warm->counts == WARM_COUNTS_MESSAGES)
				warm->counted++;
			break;
		}
	}
}

/* ---- the loop ---- */

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

/* Nobody has come for long; and still nobody waits? */
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
	/* Interrupted: it says nothing about the descriptors. */
	if (found < 0)
		for (size_t i = 0; i < n; i++)
			pollfds[i].revents = 0;
}

/* One turn. 1 in a child. */
static int
turn(struct warm *warm)
{
	struct pollfd pollfds[1 + LISTENER_MAX];
	int64_t deadline = idle_deadline(warm);
	bool paused = clock_now() < warm->paused_until;
	size_t n = 0;

	pollfds[n++] = (struct pollfd){
		.fd = warm->report_fds[0], .events = POLLIN };
	if (paused && warm->paused_until < deadline)
		deadline = warm->paused_until;
	if (!paused && !is_full(warm))
		for (size_t i = 0; i < warm->listeners.n; i++)
			pollfds[n++] = (struct pollfd){
				.fd = warm->listeners.fds[i],
				.events = POLLIN,
			};
	wait_until(deadline, pollfds, n);
	hear_reports(warm);
	reap(warm);
	/* A message that was counted just now may have been the last. */
	for (size_t i = 1; i < n && !has_enough(warm) &&
	    !process_stop_requested(); i++)
		if (pollfds[i].revents != 0 &&
		    accept_from(warm, pollfds[i].fd) != 0)
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
		hear_reports(warm);
		reap(warm);
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

/* SIGHUP: new settings; or the end, where the terminal is gone that it was
 * started at, which nobody could stop it from any more. */
static bool
must_end(struct warm *warm)
{
	if (!process_take_reload())
		return false;
	if (warm->has_terminal && !has_terminal())
		return true;
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
