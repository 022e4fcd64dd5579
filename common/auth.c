/*
 * auth.c - who may log in.
 * Layer 2.
 */
#include "auth.h"

#include <poll.h>
#include <string.h>
#include <time.h>

#include "process.h"

int
auth_init(struct auth *auth, const char *how, struct error *error)
{
	*auth = (struct auth){ .kind = AUTH_NONE };
	if (how == NULL)
		return 0;
	if (strcmp(how, "any") == 0)
		auth->kind = AUTH_ANY;
	else if (strcmp(how, "any-remote") == 0)
		auth->kind = AUTH_ANY_REMOTE;
	else
		return error_set(error, ERROR_CONFIG, "--auth must be one of: "
		    "any, any-remote, not '%.60s'", how);
	return 0;
}

enum auth_outcome
auth_check(const struct auth *auth, const struct peer *peer,
    struct slice user, struct slice password, struct error *error)
{
	if (auth->kind == AUTH_NONE) {
		error_set(error, ERROR_CONFIG, "there is no --auth");
		return AUTH_REFUSED;
	}
	if (auth->kind == AUTH_ANY && !peer->local) {
		error_set(error, ERROR_CONFIG, "--auth any is for local peers "
		    "only, and %s is none; --auth any-remote lifts that",
		    peer->name);
		return AUTH_REFUSED;
	}
	if (user.len == 0 || password.len == 0) {
		error_set(error, ERROR_PEER, "empty name or password");
		return AUTH_WRONG;
	}
	return AUTH_RIGHT;
}

void
auth_delay(unsigned n)
{
	const struct timespec delay = { .tv_sec = n < 3 ? (time_t)n : 4 };

	if (n > 0 && !process_stop_requested())
		ppoll(NULL, 0, &delay, process_wait_mask());
}
