/*
 * command.c - a command's words, and whether its program is there.
 */
#include "system/command.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

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
	/* This is enough: each word's NUL takes the place of the blank
	 * behind it, or of the NUL at the end. */
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
