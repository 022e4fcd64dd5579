/*
 * process: signals and memory of a program that serves one connection.
 *
 * SIGTERM is unblocked only in ppoll(2), while the program waits for a peer,
 * so that it never interrupts a delivery half way; the protocol core decides
 * what it then means.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Ignores SIGPIPE and SIGXFSZ, blocks SIGTERM and notes its arrival; no core
 * dumps and no debugger of the same user, for there are passwords in
 * memory. */
void process_init(void);

/* Has SIGTERM come, while the program waited? */
bool process_stop_requested(void);

/* Has SIGTERM come, or is it pending, blocked until the next wait? For work
 * that takes long, between two parts of it; any thread may ask. */
bool process_stop_pending(void);

/* The mask to wait under, for ppoll(2). */
const sigset_t *process_wait_mask(void);

/* Lets the end of a child be noticed; once, before the first fork. */
void process_catch_children(void);

/* Waits until a signal comes (SIGTERM, the end of a child) or the time (ms)
 * is over. */
void process_wait(int64_t milliseconds);

/*
 * For a program that accepts connections, after process_init: SIGINT is
 * heeded as SIGTERM is, SIGHUP is noted, the end of a child ends a wait.
 */
void process_watch(void);

/* Has SIGHUP come since this was last asked? */
bool process_take_reload(void);

/* In its children, which a terminal sends SIGINT and SIGHUP too: they ignore
 * both, and the parent tells them to end. */
void process_unwatch(void);

#endif
