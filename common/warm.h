/*
 * warm: a parent that accepts connections and forks a child for each, with
 * everything ready that connections can share (--accept, --listen).
 *
 * The parent never reads or writes a connection. It knows of each child only
 * whom it serves, and children know nothing of each other. They report to it:
 * who the peer is behind a proxy, a failed login, a message that was accepted.
 * One socket is for the reports of all, since one for each would cost the
 * parent a descriptor a connection; a report shows a token that only its child
 * knows, and so no child can speak for another one.
 */
#ifndef WARM_H
#define WARM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "settings/settings.h"
#include "system/listener.h"
#include "warm_table.h"

/* The most --max-connections can be. */
#define WARM_CONNECTIONS_MAX 2048

/* What --exit-after counts. */
enum warm_counts { WARM_COUNTS_SESSIONS, WARM_COUNTS_MESSAGES };

struct warm {
	/* Set by the program. */
	const struct common_settings *settings;
	enum warm_counts counts;
	char **argv; /* to be executed again at SIGHUP */

	/* warm.c's own. */
	bool is_child;
	bool has_terminal;   /* when it began */
	struct listeners listeners;
	struct warm_table table;
	int report_fds[2];   /* the parent's end, and the children's */
	struct warm_token token; /* of this child, or of the latest one */
	uint64_t counted;
	uint64_t sessions;
	pid_t checking;      /* --check-config before SIGHUP is heeded, or 0 */
	bool check_again;    /* SIGHUP came meanwhile */
	int64_t idle_since;
	int64_t paused_until; /* accept(2) had no descriptor */
	struct warm_lines { int64_t next; uint64_t unsaid; }
	    too_many, no_fork, no_accept, no_child;
	unsigned failed;     /* logins of this child's source, of late */
};

/* Do --accept and what belongs to it go together? */
int warm_check_settings(const struct common_settings *settings,
    struct error *error);

/*
 * Takes or opens the listening sockets. Call it as early as there are
 * settings: where something else is wrong, warm_turn_away needs them.
 */
int warm_open(struct warm *warm, struct error *error);

/*
 * Accepts connections until there is a reason to end. Returns true in each
 * child, with the connection on descriptors 0 and 1, and false in the parent
 * when all is over, with its exit status.
 */
bool warm_accept(struct warm *warm, int *exit_status);

/*
 * Nothing can be served: closes the connections that wait on sockets held by
 * systemd or inetd, which would start this program for them again at once.
 */
void warm_turn_away(struct warm *warm);

/* The same before there are settings, where a listening socket was passed. */
void warm_turn_away_passed(void);

/* ---- in a child; elsewhere they do nothing ---- */

/* The peer is really at this address (PROXY). Returns how many logins failed
 * from there of late, on other connections. */
unsigned warm_tell_source(struct warm *warm, const char *address);

/* A login failed here. */
void warm_tell_failed_login(struct warm *warm);

/* So many more messages were accepted. */
void warm_tell_accepted(struct warm *warm);

#endif
