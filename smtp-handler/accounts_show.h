/*
 * accounts_show: tells a person which mail each account of --relay FILE
 * takes.
 */
#ifndef ACCOUNTS_SHOW_H
#define ACCOUNTS_SHOW_H

#include <stdio.h>

#include "relay/account.h"

/* A line for each, without passwords. */
void accounts_show(const struct accounts *accounts, const char *path,
    FILE *out);

#endif
