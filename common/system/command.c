/*
 * command.c - fork, exec, and waiting with a limit.
 * Layer 2.
 */
#include "system/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/process.h"

/* exec failed: what a shell says, too. */
#define EXIT_NOT_RUN 127

/* Takes one word at *in and writes it at *out, which never overtakes *in.
 * False for a quote without its end. */
static bool
take_word(const char **in, char **out)
{
	char quote = '\0';

	for (; **in != '\0'; (*in)++) {
		char c = **in;

		if (quote == '\0' && (c == ' ' || c == '\t'))
			break;
		if (c == quote) {
			quote = '\0';
		} else if (quote == '\0' && (c == '\'' || c == '"')) {
			quote = c;
		} else {
			/* In double quotes a backslash stands for itself but
			 * before what it could protect. */
			if (c == '\\' && quote != '\'' && (*in)[1] != '\0' &&
			    (quote == '\0' || strchr("\"\\$`", (*in)[1]) !=
			    NULL))
				c = *++*in;
			*(*out)++ = c;
		}
	}
	*(*out)++ = '\0';
	return quote == '\0';
}

int
command_line_parse(struct command_line *line, const char *text,
    const char *name, struct error *error)
{
	size_t n = 0;

	*line = (struct command_line){ .storage = NULL };
	/* Every word loses a blank or the string's end, and gets a NUL. */
	line->storage = malloc(strlen(text) + 2);
	if (line->storage == NULL)
		return error_system(error, ENOMEM, "%s", name);
	char *out = line->storage;
	for (;;) {
		text += strspn(text, " \t");
		if (*text == '\0')
			break;
		if (n == COMMAND_WORDS_MAX) {
			command_line_free(line);
			return error_set(error, ERROR_CONFIG,
			    "%s: more than %d words", name,
			    COMMAND_WORDS_MAX);
		}
		line->words[n++] = out;
		if (!take_word(&text, &out)) {
			command_line_free(line);
			return error_set(error, ERROR_CONFIG,
			    "%s: a quote without its end", name);
		}
	}
	if (n > 0)
		return 0;
	command_line_free(line);
	return error_set(error, ERROR_CONFIG, "%s: no command", name);
}

void
command_line_free(struct command_line *line)
{
	free(line->storage);
	*line = (struct command_line){ .storage = NULL };
}

/* access(2) alone would let a directory pass. */
static bool
is_program(const char *file)
{
	struct stat st;

	if (access(file, X_OK) != 0 || stat(file, &st) != 0)
		return false;
	errno = EACCES;
	return S_ISREG(st.st_mode);
}

int
command_line_check(const struct command_line *line, const char *name,
    struct error *error)
{
	const char *program = line->words[0];
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (strchr(program, '/') != NULL) {
		if (is_program(program))
			return 0;
		return error_set(error, ERROR_CONFIG, "%s: %.120s: %s", name,
		    program, strerror(errno));
	}
	for (struct slice rest = slice_from(path), one; rest.len > 0;) {
		slice_cut(rest, ':', &one, &rest);
		if (snprintf(file, sizeof(file), "%.*s/%s", SLICE_ARG(one),
		    program) < (int)sizeof(file) && is_program(file))
			return 0;
	}
	return error_set(error, ERROR_CONFIG, "%s: %.120s: not found in PATH",
	    name, program);
}

/* In the child. Nothing but async-signal-safe calls. */
static void
exec_child(const struct command_line *line, int input, int input_fd)
{
	setpgid(0, 0); /* so that all of it can be killed */
	process_reset();
	/* dup2 onto itself would keep close-on-exec. */
	if (input == input_fd)
		fcntl(input, F_SETFD, 0);
	else
		dup2(input, input_fd);
	execvp(line->words[0], line->words);
	_exit(EXIT_NOT_RUN);
}

static int
wait_for_child(pid_t pid, unsigned timeout, struct error *error)
{
	int64_t deadline = clock_now() + (int64_t)timeout * 1000;
	int status;

	for (;;) {
		pid_t ended = waitpid(pid, &status, WNOHANG);
		if (ended == pid)
			break;
		if (ended < 0 && errno != EINTR)
			return error_system(error, errno, "waitpid");
		int64_t left = deadline - clock_now();
		if (left <= 0 || process_stop_requested()) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return error_set(error, ERROR_TIMEOUT, left <= 0
			    ? "took over %u s" : "stopped within %u s",
			    timeout);
		}
		process_wait(left);
	}
	if (!WIFEXITED(status))
		return error_set(error, ERROR_SYSTEM, "killed by signal %d",
		    WTERMSIG(status));
	if (WEXITSTATUS(status) == EXIT_NOT_RUN)
		return error_set(error, ERROR_SYSTEM, "cannot be run");
	return WEXITSTATUS(status);
}

int
command_run(const struct command_line *line, int input_fd,
    struct slice input, unsigned timeout, struct error *error)
{
	struct error why;
	int ends[2];

	if (input.len > PIPE_BUF)
		return error_set(error, ERROR_SYSTEM, "too much input");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_system(error, errno, "pipe");
	process_catch_children();
	pid_t pid = fork();
	if (pid == 0)
		exec_child(line, ends[0], input_fd);
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return error_system(error, errno, "fork");
	}
	/* It fits into the pipe. Whoever does not read it will not be let
	 * in for that. */
	ssize_t n = write(ends[1], input.data, input.len);
	(void)n;
	close(ends[1]);
	int status = wait_for_child(pid, timeout, &why);
	if (status < 0)
		return error_set(error, why.kind, "%.100s: %s",
		    line->words[0], why.text);
	return status;
}
