/*
 * command: running another program, with input and a time limit.
 *
 * No shell: the setting's words are split as a shell would split them, and
 * nothing is expanded.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "base/error.h"
#include "base/slice.h"

/* Words of one command, at most. */
#define COMMAND_WORDS_MAX 64

struct command_line {
	char *words[COMMAND_WORDS_MAX + 1]; /* NULL-terminated, for exec */

	char *storage; /* command.c's own */
};

/*
 * Splits text into words at blanks; quotes '...' and "...", and backslashes
 * keep them together. name is the option's, for errors: ERROR_CONFIG. What
 * it makes is freed with command_line_free.
 */
int command_line_parse(struct command_line *line, const char *text,
    const char *name, struct error *error);
void command_line_free(struct command_line *line);

/* ERROR_CONFIG where there is no such program. For --check-config. */
int command_line_check(const struct command_line *line, const char *name,
    struct error *error);

/*
 * Runs it with input on descriptor input_fd (at most 4096 octets, so that
 * writing never waits), standard input and output as ours (/dev/null
 * after peer_take, but for what systemd passed as descriptor 3), and waits at
 * most so many seconds; then it is killed with its children. Returns its
 * exit status, or -1 where it could not be run, was killed or took too long:
 * ERROR_SYSTEM, ERROR_TIMEOUT. SIGTERM to us ends it too.
 */
int command_run(const struct command_line *line, int input_fd,
    struct slice input, unsigned timeout, struct error *error);

#endif
