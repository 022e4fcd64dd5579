/*
 * command_run: running another program, under limits.
 *
 * No shell. The program has a process group of its own, so that all of it can
 * be ended; the environment it is given and none of ours; of our descriptors
 * the four that are meant for it; the signals as a program expects them.
 * What it writes is read with bounds, and thrown away beyond them: a program
 * that writes without end does not wait for us, nor we for it.
 */
#ifndef COMMAND_RUN_H
#define COMMAND_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "system/command.h"

/* Octets of its output's first line, and lines of its errors with octets of
 * each, that are kept. */
#define COMMAND_OUTPUT_MAX 400
#define COMMAND_ERROR_LINES_MAX 20
#define COMMAND_ERROR_LINE_MAX 500

/* Octets that command_pipe takes: a token's, and more; and so many that any
 * pipe has room for them (pipe(7): it may be one page). */
#define COMMAND_PIPE_MAX 16384
#define COMMAND_PIPE_SURE 4096

/* From SIGTERM, when its time is over, to SIGKILL: milliseconds. */
#define COMMAND_GRACE 2000

struct command_run {
	/* Set by the caller. */
	const struct command_line *line;
	char *const *environment; /* NULL-terminated */
	int input;        /* its descriptor 0; -1: /dev/null */
	int extra;        /* its descriptor 3; -1: none */
	unsigned timeout; /* seconds */
	bool finish;      /* a SIGTERM to us does not end it */
	bool capture;     /* keep what it writes; else its descriptors 1 and 2
	                   * are ours, which are no peer's */
	char *secret;     /* its first line goes here, and only here, in place
	                   * of output; NULL: it is no secret */
	size_t secret_max; /* so much of it, and there is room for one more */
	int stop_fd;       /* above 0: where something can be read there, it is
	                    * ended, unless it is to finish */

	/* What came of it. */
	int64_t took;     /* milliseconds */
	int signal;       /* that ended it, or 0 */
	size_t output_len; /* its first line, without LF */
	size_t errors_len; /* lines, each with its LF */
	char output[COMMAND_OUTPUT_MAX + 1];
	char errors[COMMAND_ERROR_LINES_MAX * (COMMAND_ERROR_LINE_MAX + 1)];
};

/*
 * Runs it and waits for its end, at most for the time given; then the whole
 * group gets SIGTERM, and 2 s later SIGKILL. What it leaves running when it
 * ends by itself goes on, and is not waited for. The descriptors stay the
 * caller's. Returns its exit status, or -1 where it could not be run, was
 * killed or took too long: ERROR_SYSTEM, ERROR_TIMEOUT. Output and errors are
 * there in either case.
 */
int command_run(struct command_run *run, struct error *error);

/* The read end of a pipe that has this in it and then ends: for extra. At
 * most COMMAND_PIPE_MAX octets. Nobody waits for room: where there is none
 * beyond COMMAND_PIPE_SURE it fails. */
int command_pipe(struct slice input, struct error *error);

#endif
