/*
 * pop3_faults: where --faults meets a POP3 session.
 */
#ifndef POP3_FAULTS_H
#define POP3_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "pop3/pop3.h"
#include "program.h"

struct pop3_faults {
	/* pop3_faults.c's own: who logged in, as far as a pattern goes. */
	size_t user_len;
	char user[256];
};

/* Before the greeting. *done: the session is over, and the final reply is in
 * out. -1: it is over without one. */
int pop3_faults_connect(struct program *program, struct pop3 *pop3,
    bool *done, struct error *error);

/* Before an event is answered. *done: it was answered here. -1: the session
 * is to end. */
int pop3_faults_event(struct pop3_faults *faults, struct program *program,
    struct pop3 *pop3, enum pop3_event event, bool *done,
    struct error *error);

#endif
