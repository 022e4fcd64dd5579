/*
 * recipients_show: tells a person who gets whose mail.
 */
#ifndef RECIPIENTS_SHOW_H
#define RECIPIENTS_SHOW_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "places.h"

/*
 * Looks whether each alias leads somewhere; relays: there is a next hop. Calls
 * tell with what is wrong, as often as something is. -1 where something was.
 */
int recipients_check(struct places *places, const char *path, bool relays,
    void (*tell)(const struct error *error));

/* A line for each alias and each user, and what becomes of all other mail. */
void recipients_show(struct places *places, const char *path, bool relays,
    FILE *out);

#endif
