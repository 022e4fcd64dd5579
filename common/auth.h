/*
 * auth: is this name and password right, and may this peer ask?
 */
#ifndef AUTH_H
#define AUTH_H

#include <stdbool.h>

#include "error.h"
#include "peer.h"
#include "slice.h"

enum auth_kind {
	AUTH_NONE,       /* nobody may log in */
	AUTH_ANY,        /* everybody, from this machine */
	AUTH_ANY_REMOTE, /* everybody, from anywhere */
};

struct auth {
	enum auth_kind kind;
};

enum auth_outcome {
	AUTH_RIGHT,
	AUTH_WRONG,
	AUTH_REFUSED,   /* not from this peer */
	AUTH_TEMPORARY, /* cannot tell now */
};

/* Reads --auth (NULL: nobody). Errors: ERROR_CONFIG. */
int auth_init(struct auth *auth, const char *how, struct error *error);

/* *error says why for everything but AUTH_RIGHT. */
enum auth_outcome auth_check(const struct auth *auth,
    const struct peer *peer, struct slice user, struct slice password,
    struct error *error);

/*
 * The penalty for the nth failed login of a session, before it is told: 1,
 * 2, then 4 s. Ends early on SIGTERM.
 */
void auth_delay(unsigned n);

#endif
