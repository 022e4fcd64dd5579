/*
 * command: the words of a command that a setting names; command_run.h runs it.
 *
 * No shell: the setting's words are split as a shell would split them, and
 * nothing is expanded.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "base/error.h"

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

#endif
