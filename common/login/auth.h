/*
 * auth: is this name and password right, and may this peer ask?
 */
#ifndef AUTH_H
#define AUTH_H

#include <stdbool.h>

#include "system/command.h"
#include "base/error.h"
#include "system/peer.h"
#include "base/slice.h"
#include "login/users.h"

/* How long --auth exec:COMMAND may take, in seconds. */
#define AUTH_TIMEOUT 30

enum auth_kind {
	AUTH_NONE,       /* nobody may log in */
	AUTH_ANY,        /* everybody, from this machine */
	AUTH_ANY_REMOTE, /* everybody, from anywhere */
	AUTH_FILE,       /* those in a file */
	AUTH_EXEC,       /* those a checkpassword program lets in */
};

struct auth {
	enum auth_kind kind;

	/* auth.c's own. */
	struct users users;
	struct command_line command;
	unsigned timeout;
};

enum auth_outcome {
	AUTH_RIGHT,
	AUTH_WRONG,
	AUTH_REFUSED,   /* not from this peer */
	AUTH_TEMPORARY, /* cannot tell now */
};

/* Is it a way to log in: any, any-remote, file:PATH, exec:COMMAND? If not,
 * *why says what it must be. */
bool auth_is_valid(const char *how, char *why, size_t size);

/*
 * Reads --auth (NULL: nobody) and the file it names. timeout is --timeout
 * in seconds, another limit for a check. how is one that
 * auth_is_valid. domains are ours, and must outlive it. Errors:
 * ERROR_CONFIG.
 */
int auth_init(struct auth *auth, const char *how, unsigned timeout,
    const struct domains *domains, struct error *error);

/* What can be checked beyond auth_init: is the program there? Are names
 * there twice, or, where maildirs are by_name, would two users share one? */
int auth_check_config(struct auth *auth, bool by_name, struct error *error);

/*
 * Lines of the users file that were left out: *error says what is wrong with
 * the ith of them. False where there is none.
 */
bool auth_get_fault(const struct auth *auth, size_t i, struct error *error);

/* A login, and what a checkpassword program is told of it. */
struct auth_login {
	const struct peer *peer;
	struct slice user;
	struct slice password;
	const char *mechanism; /* SASL's name, or "USER" for POP3's own */
	const char *tls;       /* version and cipher; "" for none */
};

/* *error says why for everything but AUTH_RIGHT. */
enum auth_outcome auth_check(const struct auth *auth,
    const struct auth_login *login, struct error *error);

/* The name that a login has in the users file, which may be written in
 * another way; elsewhere names are what was typed. */
struct slice auth_name(const struct auth *auth, struct slice user);

/* The user's own maildir, or NULL: then --maildir says where it is. */
const char *auth_maildir(const struct auth *auth, struct slice user);

/* Has another user the same maildir, where --maildir depends on the name? See
 * users_shares_maildir. */
bool auth_shares_maildir(const struct auth *auth, struct slice user);

/* The penalty for the nth failed login (n from 1 on), in milliseconds: 1, 2,
 * 4, 8, and then always 16 s. */
unsigned auth_penalty(unsigned n);

/* Waits for so long, before the failure is told; ends early on SIGTERM. */
void auth_delay(unsigned n);

void auth_close(struct auth *auth);

#endif
