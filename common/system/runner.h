/*
 * runner: a second process that runs commands for one that gives up that right.
 *
 * A session that is confined (confine.h) cannot start programs; what it started
 * would be confined as well. So where settings name programs a process is
 * forked before the peer is heard, which has nothing of the connection. It runs
 * a command when it is asked to, as command_run does, if that is one of those
 * that were allowed before, word by word; of the environment only what begins
 * with MAIL_ comes from who asks. It ends when the session does.
 *
 * There is one for a process: who runs commands need not know of it.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include <stdbool.h>

#include "system/command_run.h"

/* Before the fork: this command may be asked for. -1: ERROR_SYSTEM. */
int runner_allow(const struct command_line *line, struct error *error);

/* 0 in the session; 1 in the other process, which is to call runner_serve. 0
 * too where no command was allowed: then there is none. -1: ERROR_SYSTEM. */
int runner_fork(struct error *error);
_Noreturn void runner_serve(void);

/* As command_run; by the other process where there is one. */
int runner_run(struct command_run *run, struct error *error);

#endif
