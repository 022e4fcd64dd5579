/*
 * warm_children.c - the parent's dealings with children: a connection becomes
 * one, it reports, it ends.
 *
 * Whatever a peer does costs one turn of the loop and, of each kind, a line a
 * second.
 */
#include "warm_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/log.h"
#include "system/process.h"

/* Where accept(2) has no descriptor or no memory, it is tried again after
 * so many ms; the connection stays in the backlog. */
#define PAUSE_MS 1000
/* A turn of the loop accepts so many, then looks at children and signals. */
#define ACCEPTS_A_TURN 16
/* And it hears so many reports, more than wait at a time: a child that keeps
 * talking does not keep its parent. */
#define REPORTS_A_TURN 4096

/* ---- lines of the log: one a second of each kind ---- */

/* May such a line be logged now? *unsaid is how many were suppressed since the
 * last one. */
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
	/* log.c limits the lines of a session, and the parent is none. */
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

/* In the child: closes and forgets what is the parent's. */
static void
become_child(struct warm *warm, int fd, const struct source *source)
{
	warm->is_child = true;
	warm->failed = warm_table_failed(&warm->table, source, clock_now());
	/* Behind a proxy the source is known only after the PROXY header: the
	 * failed logins are looked up then. */
	if (warm->settings->proxy_protocol)
		warm_table_wipe_children(&warm->table);
	else
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

static pid_t
fork_child(struct warm *warm)
{
	if (getentropy(&warm->token, sizeof(warm->token)) != 0)
		return -1;
	return fork();
}

/* 1 in the child. */
static int
serve(struct warm *warm, int fd, const struct source *source)
{
	pid_t pid = fork_child(warm);

	if (pid == 0) {
		become_child(warm, fd, source);
		return 1;
	}
	if (pid < 0)
		say_trouble(&warm->no_fork, "no process for a connection",
		    errno);
	else
		warm_table_add(&warm->table, &(struct warm_child){
			.pid = pid, .token = warm->token, .source = *source });
	close(fd);
	return 0;
}

bool
warm_is_full(const struct warm *warm)
{
	return warm->table.n >= warm->settings->max_connections;
}

static bool
is_too_many(const struct warm *warm, const struct source *source)
{
	return source->family != 0 &&
	    warm_table_count(&warm->table, source) >=
	    warm->settings->max_per_source;
}

/* Is it the same at the next try? No descriptor, no memory; or the socket does
 * not listen any more, by shutdown(2) of somebody who has it too. */
static bool
is_lasting(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS ||
	    errnum == ENOMEM || errnum == EINVAL || errnum == EBADF;
}

int
warm_accept_from(struct warm *warm, int listener)
{
	union { struct sockaddr any; struct sockaddr_storage storage; } peer;

	for (int i = 0; i < ACCEPTS_A_TURN && !warm_is_full(warm); i++) {
		socklen_t len = sizeof(peer);
		int fd = accept4(listener, &peer.any, &len, SOCK_CLOEXEC);

		if (fd < 0) {
			/* Any other error is of one connection (accept(2)),
			 * which is gone. */
			if (is_lasting(errno)) {
				say_trouble(&warm->no_accept, errno == EINVAL
				    ? "nothing can be accepted"
				    : "a connection waits", errno);
				warm->paused_until = clock_now() + PAUSE_MS;
			}
			return 0;
		}
		struct source source = { .family = 0 };
		/* Behind a proxy the child tells it (set_source). */
		if (len >= sizeof(peer.any.sa_family) &&
		    !warm->settings->proxy_protocol)
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

/* A child has read the peer's source from the PROXY header, which it does
 * once: that source may have too many connections now. */
static void
set_source(struct warm *warm, struct warm_child *child,
    const struct source *source)
{
	if (child->source.family != 0)
		return;
	if (is_too_many(warm, source)) {
		say_too_many(warm, source);
		kill(child->pid, SIGTERM);
	}
	child->source = *source;
}

static void
heed(struct warm *warm, struct warm_child *child,
    const struct warm_report *report)
{
	switch (report->kind) {
	case WARM_REPORT_SOURCE:
		set_source(warm, child, &report->source);
		break;
	case WARM_REPORT_FAILED_LOGIN:
		warm_table_fail(&warm->table, &child->source, clock_now());
		break;
	case WARM_REPORT_ACCEPTED:
		if (warm->counts == WARM_COUNTS_MESSAGES)
			warm->counted++;
		break;
	}
}

void
warm_hear_reports(struct warm *warm)
{
	struct warm_report report[2]; /* one that is too long is seen to be */

	for (int i = 0; i < REPORTS_A_TURN; i++) {
		struct warm_child *child = NULL;
		ssize_t n = read(warm->report_fds[0], report, sizeof(report));

		if (n < 0)
			return;
		if (n == (ssize_t)sizeof(report[0]))
			child = warm_table_find(&warm->table,
			    &report[0].token);
		if (child != NULL)
			heed(warm, child, &report[0]);
		else
			say_trouble(&warm->no_child, "a report that is none "
			    "of a child", EPERM);
	}
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
	/* A status of sysexits.h: the child has logged why. */
	else if (status != 0 && WEXITSTATUS(status) < EX__BASE)
		log_reason(LOG_KIND_TROUBLE, "the process %ld for %s ended "
		    "with status %d", (long)pid, name, WEXITSTATUS(status));
}

static void
end_check(struct warm *warm, int status)
{
	warm->checking = 0;
	log_forget_session();
	if (status == 0) {
		warm_execute(warm);
		return;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		log_reason(LOG_KIND_TROUBLE, "SIGHUP: looking at the settings "
		    "took more than %d seconds, those from before stay",
		    WARM_CHECK_SECONDS);
	else
		log_reason(LOG_KIND_CONFIG, "SIGHUP: the settings are wrong, "
		    "those from before stay");
	if (warm->check_again)
		warm_reload(warm);
	warm->check_again = false;
}

void
warm_reap(struct warm *warm)
{
	struct source source;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == warm->checking) {
			end_check(warm, status);
			continue;
		}
		/* What it told before its end */
		warm_hear_reports(warm);
		if (!warm_table_remove(&warm->table, pid, &source))
			continue;
		warm->idle_since = clock_now();
		warm->sessions++;
		if (warm->counts == WARM_COUNTS_SESSIONS)
			warm->counted++;
		say_crash(pid, &source, status);
	}
}
