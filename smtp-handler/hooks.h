/*
 * hooks: programs of the operator that act on mail.
 *
 * --on-recipient is asked about each recipient, --on-message is shown each
 * whole message before it is linked into new or sent on. Several are asked in
 * their order; the first that does not exit with 0 decides.
 */
#ifndef HOOKS_H
#define HOOKS_H

#include <stdint.h>

#include "base/error.h"
#include "places.h"
#include "protocol/envelope.h"
#include "protocol/hook_reply.h"
#include "protocol/trace.h"
#include "settings/options.h"
#include "system/command.h"

struct hook_list {
	struct command_line commands[OPTION_LIST_MAX];
	size_t n;
};

struct hooks {
	struct hook_list recipient;
	struct hook_list message;
	unsigned timeout; /* seconds for each */
};

/* What a hook is told. */
struct hook_event {
	const char *name; /* "recipient", "message" */
	const struct trace *trace;
	const char *peer; /* as in the log */
	const char *tls;  /* version and cipher, or "" */
	struct slice user; /* the login, or empty */
	const struct envelope *envelope;
	size_t first;     /* the recipients it is about: from this one on */
	uint64_t size;    /* of the message, or what SIZE= says; 0: not known */
	int message;      /* an open file, or -1 */
};

/* Splits the commands into words, for as long as the program lives.
 * ERROR_CONFIG. */
int hooks_init(struct hooks *hooks, const struct option_list *recipient,
    const struct option_list *message, unsigned timeout,
    struct error *error);

/* For --check-config: are the programs there? Logs each that is not; -1 if
 * there was one. */
int hooks_check(const struct hooks *hooks);

/*
 * Runs them, and logs what they say on standard error and which of them
 * failed. *made is what the client is to be told, and *by the program that
 * decided, or NULL where it goes on.
 */
void hooks_run(const struct hooks *hooks, const struct hook_list *list,
    const struct hook_event *event, struct hook_reply *made,
    const char **by);

#endif
