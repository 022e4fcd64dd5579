/*
 * faults_count: which of a fault's matches count, over all sessions.
 *
 * In FILE.state beside the file that orders them, locked while it is looked
 * at. A line that is not counted yet, and a file that is not there, begin at
 * nought: remove it to begin anew. What cannot be read in it is nought too.
 */
#ifndef FAULTS_COUNT_H
#define FAULTS_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "system/faults.h"

/*
 * One more match of the fault, at a time in milliseconds. *due: it is to
 * happen. "over N per S" lets N of them pass, counted from the first of them
 * for S seconds. Errors: ERROR_SYSTEM, and others of error_system.
 */
int fault_count(const struct faults *faults, const struct fault *fault,
    int64_t now, bool *due, struct error *error);

/* Can it be counted, where a line asks for it? For --check-config. */
int faults_count_check(const struct faults *faults, struct error *error);

#endif
