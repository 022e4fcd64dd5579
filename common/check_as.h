/*
 * check_as: --check-config as another user. Root may read everything, and so
 * would not notice what that user has no access to.
 */
#ifndef CHECK_AS_H
#define CHECK_AS_H

#include <stdbool.h>

#include "program.h"

/*
 * Looks as that user, in a process of its own: at the files that the settings
 * name by an absolute path (those without one are handed in by the unit, or
 * lie where root looks), and by the program's check_access at directories.
 * Logs each fault; -1 if there was one, or it cannot become that user.
 */
int check_as(struct program *program, const char *user);

/* For check_access: can the user of this process read the file (NULL: none)?
 * Logs it and returns false if not. */
bool check_as_readable(const char *option, const char *path);

#endif
