/*
 * descriptors: what stands on which number.
 *
 * 0 to 2 are the standard descriptors, and one or all of them may be the
 * connection; 3 is where systemd passes it (sd_listen_fds(3)). What a program
 * keeps is moved above these.
 */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdbool.h>

#include "base/error.h"

/* The first descriptor that systemd passes. */
#define DESCRIPTORS_PASSED 3

/*
 * How many descriptors systemd passed to this process, from 3 on: LISTEN_FDS,
 * where LISTEN_PID is this process. ERROR_CONFIG where these are no numbers.
 */
int descriptors_passed(struct error *error);

/* Removes these variables, which are not for programs that we start. */
void descriptors_forget_passed(void);

/* A close-on-exec copy of fd above 3. -1: ERROR_SYSTEM. */
int descriptors_move_up(int fd, struct error *error);

/* fd becomes /dev/null: a stray printf or a child's output must never meet
 * the peer, and what is opened next must not be taken for it. */
int descriptors_cover(int fd, struct error *error);

/* Are both the same socket or the same pipe? False for files and terminals,
 * which may well be the connection and the log at once. */
bool descriptors_are_same(int a, int b);

/* Marks all from this one on to be closed at exec: what our starter left open
 * is not for programs that we start. */
void descriptors_close_at_exec(int first);

/* Closes all from this one on. */
void descriptors_close_from(int first);

#endif
