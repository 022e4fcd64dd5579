/*
 * warm_start.c - sockets before the loop, and SIGHUP, which begins it anew.
 */
#include "warm_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "system/log.h"
#include "system/notify.h"
#include "warm_handover.h"

/* Connections that warm_turn_away closes at most. */
#define TURNED_AWAY_MAX 4096

_Static_assert((int)WARM_CONNECTIONS_MAX <= (int)WARM_CHILDREN_MAX,
    "a handover has room for all children");

int
warm_check_settings(const struct common_settings *settings,
    struct error *error)
{
	if (settings->accept)
		return 0;
	if (settings->exit_after > 0)
		return error_set(error, ERROR_CONFIG, "--exit-after is for "
		    "--accept and --listen: without them a process serves "
		    "one connection");
	return 0;
}

/* Datagrams: half a report, or two in one, can mix up no others. */
static int
open_reports(int fds[2], struct error *error)
{
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    fds) != 0)
		return error_system(error, errno, "a socket for reports");
	return 0;
}

static int
open_all(struct warm *warm, struct listeners *inherited, struct error *error)
{
	const struct option_list *list = &warm->settings->listen;

	if (list->count == 0 && inherited->n > 0) {
		warm->listeners = *inherited;
		return 0;
	}
	if (list->count == 0)
		return listener_adopt(&warm->listeners, error);
	for (size_t i = 0; i < list->count; i++)
		if (listener_open(&warm->listeners, inherited, list->items[i],
		    error) < 0)
			return -1;
	/* No longer wanted */
	listener_close(inherited);
	return 0;
}

int
warm_open(struct warm *warm, struct error *error)
{
	struct listeners inherited = { .n = 0 };
	struct warm_handover handover = {
		.listeners = &inherited, .table = &warm->table,
	};

	if (warm_table_init(&warm->table,
	    (size_t)warm->settings->max_connections, error) < 0)
		return -1;
	if (warm_handover_take(&handover)) {
		memcpy(warm->report_fds, handover.report_fds,
		    sizeof(warm->report_fds));
		warm->counted = handover.counted;
		warm->sessions = handover.sessions;
	} else {
		/* The file of an earlier run is not to be taken for ours. */
		warm_forget_port(warm);
		if (open_reports(warm->report_fds, error) < 0)
			return -1;
	}
	return open_all(warm, &inherited, error);
}

void
warm_turn_away(struct warm *warm)
{
	if (warm->listeners.own)
		return;
	for (size_t i = 0; i < warm->listeners.n; i++)
		for (int n = 0; n < TURNED_AWAY_MAX; n++) {
			int fd = accept4(warm->listeners.fds[i], NULL, NULL,
			    SOCK_CLOEXEC);

			if (fd < 0)
				break;
			close(fd);
		}
}

void
warm_turn_away_passed(void)
{
	struct warm warm = { .listeners = { .n = 0 } };
	struct error error;

	if (listener_adopt(&warm.listeners, &error) == 0)
		warm_turn_away(&warm);
	listener_close(&warm.listeners);
}

/* ---- where connections are accepted ---- */

/* A port a line; the two addresses of one --listen have it in common. */
static size_t
list_ports(const struct warm *warm, char *text, size_t size)
{
	uint16_t before = 0;
	size_t n = 0;

	for (size_t i = 0; i < warm->listeners.n; i++) {
		uint16_t port = listener_port(warm->listeners.fds[i]);

		if (port != before)
			n += (size_t)snprintf(text + n, size - n, "%u\n",
			    port);
		before = port;
	}
	return n;
}

/* Whoever waits for the file finds it whole. */
static int
write_port_file(const struct warm *warm, struct error *error)
{
	const char *path = warm->settings->port_file;
	char text[LISTENER_MAX * 8], fresh[4096];
	size_t len = list_ports(warm, text, sizeof(text));

	if (snprintf(fresh, sizeof(fresh), "%s.new", path) >=
	    (int)sizeof(fresh))
		return error_system(error, ENAMETOOLONG, "--port-file");
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
	    O_NOFOLLOW, 0644);
	if (fd < 0)
		return error_system(error, errno, "--port-file %.200s",
		    error_tail(path, 200));
	bool written = write(fd, text, len) == (ssize_t)len;
	if (close(fd) != 0 || !written || rename(fresh, path) != 0)
		return error_system(error, errno, "--port-file %.200s",
		    error_tail(path, 200));
	return 0;
}

void
warm_say_ready(struct warm *warm)
{
	char names[512] = "", name[LISTENER_NAME_SIZE];
	struct error error;
	size_t n = 0;

	for (size_t i = 0; i < warm->listeners.n &&
	    n + sizeof(name) + 1 < sizeof(names); i++) {
		listener_name(warm->listeners.fds[i], name);
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
		    i > 0 ? " " : "", name);
	}
	if (warm->settings->port_file != NULL &&
	    write_port_file(warm, &error) < 0)
		log_error(&error);
	log_begin(LOG_KIND_LISTENING);
	log_add(LOG_FIELD_ADDRESS, slice_from(names));
	log_send();
	notify_send("READY=1");
}

void
warm_forget_port(struct warm *warm)
{
	if (warm->settings->port_file != NULL)
		unlink(warm->settings->port_file);
}

/* ---- SIGHUP ---- */

/* What to execute: what was executed, or what has that name now. */
static const char *
program_path(const struct warm *warm, char *path, size_t size)
{
	assert(warm->argv[0] != NULL);
	if (strchr(warm->argv[0], '/') != NULL)
		return warm->argv[0];
#ifdef __linux__
	ssize_t len = readlink("/proc/self/exe", path, size - 1);
	if (len > 0) {
		struct slice link = { path, (size_t)len };

		/* proc(5): replaced since */
		if (slice_ends_with(link, SLICE(" (deleted)")))
			link.len -= strlen(" (deleted)");
		path[link.len] = '\0';
		return path;
	}
#else
	(void)path;
	(void)size;
#endif
	return warm->argv[0];
}

void
warm_reload(struct warm *warm)
{
	char path[4096];
	size_t n = 0;

	while (warm->argv[n] != NULL)
		n++;
	char **argv = calloc(n + 2, sizeof(*argv));
	if (argv == NULL)
		return;
	memcpy(argv, warm->argv, n * sizeof(*argv));
	argv[n] = "--check-config";
	warm->checking = fork();
	if (warm->checking == 0) {
		/* Nobody would hear of the next SIGHUP while this one waits for
		 * a file that does not come; execve(2) keeps the alarm. */
		alarm(WARM_CHECK_SECONDS);
		execvp(program_path(warm, path, sizeof(path)), argv);
		_exit(127);
	}
	free(argv);
	if (warm->checking < 0) {
		warm->checking = 0;
		log_forget_session();
		log_reason(LOG_KIND_TROUBLE, "SIGHUP: no process: %s",
		    strerror(errno));
	}
}

void
warm_execute(struct warm *warm)
{
	const struct warm_handover handover = {
		.listeners = &warm->listeners,
		.table = &warm->table,
		.report_fds = { warm->report_fds[0], warm->report_fds[1] },
		.counted = warm->counted,
		.sessions = warm->sessions,
	};
	struct error error;
	char path[4096];

	if (warm_handover_give(&handover, &error) == 0) {
		/* Signals that are blocked stay blocked across execve(2), and
		 * one that comes meanwhile stays pending. */
		execvp(program_path(warm, path, sizeof(path)), warm->argv);
		error_system(&error, errno, "SIGHUP: %.200s", warm->argv[0]);
		warm_handover_undo(&handover);
	}
	log_error(&error);
}
