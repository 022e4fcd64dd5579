/*
 * warm_handover: what a parent of sessions hands over to the program that it
 * executes in its place (SIGHUP): sockets, children, counts. It crosses in
 * one variable of the environment, which names the process it is for.
 */
#ifndef WARM_HANDOVER_H
#define WARM_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "system/listener.h"
#include "warm_table.h"

/* More children than these do not fit in a variable of the environment. */
#define WARM_CHILDREN_MAX 2048

struct warm_handover {
	struct listeners *listeners;
	struct warm_table *table;
	int report_fds[2]; /* the pipe on which children report */
	uint64_t counted;  /* towards --exit-after */
	uint64_t sessions;
};

/* Before execve(2): sets the variable, and the descriptors survive. Errors:
 * ERROR_SYSTEM. */
int warm_handover_give(const struct warm_handover *handover,
    struct error *error);

/* Where the execution failed: as before. */
void warm_handover_undo(const struct warm_handover *handover);

/*
 * At the start: true where there is something for this process. table has
 * room for as many as are to be served; children beyond that are kept, too.
 */
bool warm_handover_take(struct warm_handover *handover);

#endif
