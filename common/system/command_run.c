/*
 * command_run.c - posix_spawn(3), and waiting with a limit.
 *
 * posix_spawn, not fork: a session may have much memory, and between fork and
 * exec nothing but async-signal-safe functions may be called, which execvp(3)
 * is not.
 */
#include "system/command_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/descriptors.h"
#include "system/process.h"

/* How often a group that got SIGTERM is looked at, in milliseconds. */
#define LOOK_EVERY 20
#define READ_SIZE 4096

/* What is kept of an output, and what remains of it to be kept. */
struct capture {
	int fd; /* -1: ended */
	char *text;
	size_t len;
	size_t line_len;  /* of the line so far */
	size_t line_max;
	size_t lines_left;
};

int
command_pipe(struct slice input, struct error *error)
{
	int ends[2];

	if (input.len > COMMAND_PIPE_MAX)
		return error_set(error, ERROR_SYSTEM, "too much input");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_system(error, errno, "pipe");
	/* It fits into the pipe, and we hold its other end; where it does
	 * not, nobody would read, and this must not wait. */
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	ssize_t n = write(ends[1], input.data, input.len);
	close(ends[1]);
	if (n == (ssize_t)input.len)
		return ends[0];
	close(ends[0]);
	return error_set(error, ERROR_SYSTEM, "pipe: not all was taken");
}

/* ---- starting it ---- */

/* Descriptors 0 to 2 are always open in our own process, so all that are given
 * are above them. One of them may be 3: that is copied before extra is put
 * there. */
static int
set_files(posix_spawn_file_actions_t *actions, const struct command_run *run,
    int output, int errors)
{
	int wrong = run->input < 0
	    ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null",
	        O_RDWR, 0)
	    : posix_spawn_file_actions_adddup2(actions, run->input, 0);

	if (wrong == 0 && run->capture)
		wrong = posix_spawn_file_actions_adddup2(actions, output, 1);
	if (wrong == 0 && run->capture)
		wrong = posix_spawn_file_actions_adddup2(actions, errors, 2);
	if (wrong == 0 && run->extra >= 0)
		wrong = posix_spawn_file_actions_adddup2(actions, run->extra,
		    3);
	return wrong;
}

/* A group of its own, and the signals as a program expects them. */
static int
set_attributes(posix_spawnattr_t *attributes)
{
	static const int changed[] = {
		SIGPIPE, SIGXFSZ, SIGTERM, SIGCHLD, SIGINT, SIGHUP,
	};
	sigset_t none, defaults;

	sigemptyset(&none);
	sigemptyset(&defaults);
	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		sigaddset(&defaults, changed[i]);
	int wrong = posix_spawnattr_setflags(attributes,
	    POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
	    POSIX_SPAWN_SETSIGDEF);
	if (wrong == 0)
		wrong = posix_spawnattr_setpgroup(attributes, 0);
	if (wrong == 0)
		wrong = posix_spawnattr_setsigmask(attributes, &none);
	if (wrong == 0)
		wrong = posix_spawnattr_setsigdefault(attributes, &defaults);
	return wrong;
}

/* 0, or the number of the error. */
static int
spawn(const struct command_run *run, int output, int errors, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int wrong = posix_spawn_file_actions_init(&actions);

	if (wrong != 0)
		return wrong;
	wrong = posix_spawnattr_init(&attributes);
	if (wrong == 0) {
		wrong = set_attributes(&attributes);
		if (wrong == 0)
			wrong = set_files(&actions, run, output, errors);
		descriptors_close_at_exec(3);
		if (wrong == 0)
			wrong = posix_spawnp(pid, run->line->words[0],
			    &actions, &attributes, run->line->words,
			    run->environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return wrong;
}

/* ---- what it writes ---- */

static void
keep(struct capture *capture, struct slice text)
{
	for (size_t i = 0; i < text.len && capture->lines_left > 0; i++) {
		if (text.data[i] == '\n') {
			capture->line_len = 0;
			capture->lines_left--;
			capture->text[capture->len++] = '\n';
		} else if (capture->line_len < capture->line_max) {
			capture->text[capture->len++] = text.data[i];
			capture->line_len++;
		}
	}
}

/* All that is there: the descriptor does not block. */
static void
take(struct capture *capture)
{
	char buffer[READ_SIZE];

	while (capture->fd >= 0) {
		ssize_t n = read(capture->fd, buffer, sizeof(buffer));

		if (n > 0) {
			keep(capture, (struct slice){ buffer, (size_t)n });
			explicit_bzero(buffer, (size_t)n);
			/* A program may write without end: only so much at a
			 * time, or its deadline would never be looked at. */
			return;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		close(capture->fd);
		capture->fd = -1;
	}
}

/* ---- its end ---- */

enum waited { STILL_RUNS, HAS_ENDED, CANNOT_TELL };

static enum waited
look(pid_t pid, int *status)
{
	pid_t ended = waitpid(pid, status, WNOHANG);

	if (ended == pid)
		return HAS_ENDED;
	return ended < 0 && errno != EINTR ? CANNOT_TELL : STILL_RUNS;
}

/* Takes in what it writes until it ends, or until the time is over. */
static enum waited
watch(const struct command_run *run, pid_t pid, struct capture captures[2],
    int64_t deadline, int *status)
{
	for (;;) {
		enum waited waited = look(pid, status);
		int64_t left = deadline - clock_now();
		/* poll(2) leaves out descriptors below 0. */
		struct pollfd fds[3] = {
			{ .fd = captures[0].fd, .events = POLLIN },
			{ .fd = captures[1].fd, .events = POLLIN },
			{ .fd = run->stop_fd > 0 && !run->finish
			    ? run->stop_fd : -1, .events = POLLIN },
		};

		if (waited != STILL_RUNS || left <= 0 ||
		    (!run->finish && process_stop_requested()))
			return waited;
		const struct timespec timeout = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};
		if (ppoll(fds, 3, &timeout, process_wait_mask()) <= 0)
			continue;
		take(&captures[0]);
		take(&captures[1]);
		/* Where something is ready ppoll(2) lets no signal in: a
		 * program that writes without end would keep SIGTERM from
		 * being heard. */
		process_wait(0);
		if (fds[2].revents != 0)
			return look(pid, status);
	}
}

/* What it wrote before it ended may still be in the pipes, and is read. Its
 * children may hold them open: only as much as a pipe holds is read, and
 * nothing is waited for. */
static void
drain(struct capture *capture)
{
	for (int i = 0; i < 65536 / READ_SIZE && capture->fd >= 0; i++)
		take(capture);
	if (capture->fd >= 0)
		close(capture->fd);
	capture->fd = -1;
}

/* SIGTERM to all of the group; to what remains of it 2 s later SIGKILL. */
static void
end_group(pid_t pid, struct capture captures[2], int *status)
{
	int64_t deadline = clock_now() + COMMAND_GRACE;
	enum waited waited = STILL_RUNS;

	kill(-pid, SIGTERM);
	while (clock_now() < deadline) {
		if (waited == STILL_RUNS)
			waited = look(pid, status);
		/* Nobody is left in it: ESRCH. */
		if (waited != STILL_RUNS && kill(-pid, 0) != 0)
			return;
		take(&captures[0]);
		take(&captures[1]);
		poll(NULL, 0, LOOK_EVERY);
	}
	kill(-pid, SIGKILL);
	while (waited == STILL_RUNS && waitpid(pid, status, 0) < 0 &&
	    errno == EINTR)
		;
}

static int
wait_for_end(struct command_run *run, pid_t pid, struct capture captures[2],
    struct error *error)
{
	int64_t began = clock_now();
	int status = 0;
	enum waited waited = watch(run, pid, captures,
	    began + (int64_t)run->timeout * 1000, &status);
	bool ended_by_us = waited == STILL_RUNS;
	bool late = clock_now() - began >= (int64_t)run->timeout * 1000;

	if (ended_by_us)
		end_group(pid, captures, &status);
	drain(&captures[0]);
	drain(&captures[1]);
	run->took = clock_now() - began;
	if (waited == CANNOT_TELL)
		return error_system(error, errno, "waitpid");
	if (ended_by_us)
		return error_set(error, ERROR_TIMEOUT, late
		    ? "%.100s: took over %u s" : "%.100s: stopped within %u s",
		    run->line->words[0], run->timeout);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	run->signal = WTERMSIG(status);
	return error_set(error, ERROR_SYSTEM, "%.100s: killed by signal %d",
	    run->line->words[0], run->signal);
}

/* The pipes for its output and its errors; -1 in place of both ends where
 * they are not wanted. */
static int
make_pipes(const struct command_run *run, int output[2], int errors[2],
    struct error *error)
{
	output[0] = output[1] = errors[0] = errors[1] = -1;
	if (!run->capture)
		return 0;
	if (pipe2(output, O_CLOEXEC) != 0)
		return error_system(error, errno, "pipe");
	if (pipe2(errors, O_CLOEXEC) != 0) {
		error_system(error, errno, "pipe");
		close(output[0]);
		close(output[1]);
		return -1;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(errors[0], F_SETFL, O_NONBLOCK);
	return 0;
}

int
command_run(struct command_run *run, struct error *error)
{
	int output[2], errors[2];
	pid_t pid;

	run->took = run->signal = 0;
	run->output_len = run->errors_len = 0;
	if (make_pipes(run, output, errors, error) < 0)
		return -1;
	process_catch_children();
	int wrong = spawn(run, output[1], errors[1], &pid);
	struct capture captures[2] = {
		{ .fd = output[0], .lines_left = 1,
		    .text = run->secret != NULL ? run->secret : run->output,
		    .line_max = run->secret != NULL ? run->secret_max
		    : COMMAND_OUTPUT_MAX },
		{ .fd = errors[0], .text = run->errors,
		    .lines_left = COMMAND_ERROR_LINES_MAX,
		    .line_max = COMMAND_ERROR_LINE_MAX },
	};
	int result;

	if (run->capture) {
		close(output[1]);
		close(errors[1]);
	}
	if (wrong == 0) {
		result = wait_for_end(run, pid, captures, error);
	} else {
		result = error_set(error, ERROR_SYSTEM,
		    "%.100s: cannot be run: %s", run->line->words[0],
		    strerror(wrong));
		drain(&captures[0]);
		drain(&captures[1]);
	}
	run->output_len = captures[0].len - (captures[0].lines_left == 0);
	run->errors_len = captures[1].len;
	return result;
}
