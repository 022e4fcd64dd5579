/*
 * process: signals and memory of a program that serves one connection.
 *
 * SIGTERM gets in only while the program waits for a peer (conn.c's poll),
 * so that it never interrupts a delivery half way; what it then means is
 * the protocol core's to say.
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

/* Has SIGTERM come? */
bool process_stop_requested(void);

/* The mask to wait under, for ppoll(2). */
const sigset_t *process_wait_mask(void);

/* Lets the end of a child be noticed; once, before the first fork. */
void process_catch_children(void);

/* Waits until a signal comes (SIGTERM, the end of a child) or the time (ms)
 * is over. */
void process_wait(int64_t milliseconds);

#endif
