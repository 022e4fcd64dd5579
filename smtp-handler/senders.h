/*
 * senders: may a login send as this address?
 */
#ifndef SENDERS_H
#define SENDERS_H

#include "base/error.h"
#include "base/slice.h"
#include "places.h"

/*
 * 1 where the reverse path is at one of our domains and is not the address of
 * that login, be it by an alias: it is somebody else's, or nobody's. 0: it is
 * theirs, elsewhere or <>, or --auth file: does not know the users. -1 with
 * *error: that cannot be told now.
 */
int senders_is_foreign(const struct places *places, struct slice login,
    struct slice reverse_path, struct error *error);

#endif
