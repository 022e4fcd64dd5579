/*
 * program: what both programs do around a session: settings, connection,
 * log, end. Layer 3, like their main.c: it may log.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "login/auth.h"
#include "system/conn.h"
#include "base/error.h"
#include "settings/options.h"
#include "system/peer.h"
#include "settings/settings.h"
#include "protocol/wire.h"

struct program {
	const struct common_settings *settings;
	struct peer peer;
	struct conn conn;
	struct auth auth;
	bool secure;           /* a password may cross this connection */
	unsigned failed_logins;

	/* program.c's own. */
	struct tls *tls;
	struct buf trace;
	int64_t started;       /* ms, conn_now() */
};

/*
 * Parses options and applies the shared ones. 0, or -1 where the program is
 * to end with *exit_status: after --help or --version, or after an error,
 * which is logged already. file_text is options_parse's.
 */
int program_configure(const struct option_table *table, int argc,
    char **argv, struct common_settings *settings, char **file_text,
    int *exit_status);

/* For --check-config: everything of the shared settings that can be wrong.
 * Logs each fault; -1 if there was one. */
int program_check(const struct common_settings *settings);

/* Logs the error and returns its exit status. */
int program_fail(const struct error *error);

/*
 * program must be zeroed. Takes the connection over, up to and including an
 * implicit TLS handshake.
 * 0, or -1 where the program is to end with *exit_status.
 */
int program_start(struct program *program,
    const struct common_settings *settings, int *exit_status);

/*
 * TLS in mid-session, for STARTTLS and STLS: drains wire->out, forgets all
 * input that came before the handshake, and does it. -1: the connection is
 * of no use any more.
 */
int program_start_tls(struct program *program, struct wire *wire,
    struct error *error);

/* Gathers a transcript of wire, if one is wanted. */
void program_trace(struct program *program, struct wire *wire);

/* conn_pump and conn_flush, with the transcript so far logged first. */
int program_pump(struct program *program, struct wire *wire,
    struct error *error);
int program_flush(struct program *program, struct wire *wire,
    struct error *error);

/*
 * Checks a login and logs the outcome. A wrong one costs its delay. The
 * output so far is flushed first; -1 where that fails.
 */
int program_login(struct program *program, struct wire *wire,
    struct slice user, struct slice password, enum auth_outcome *outcome,
    struct error *error);

/* The same for one that cannot be right, whatever the password. */
int program_refuse_login(struct program *program, struct wire *wire,
    struct slice user, const char *why, struct error *error);

/* Drains wire->out (unless broken says why that is pointless) and closes. */
void program_end(struct program *program, struct wire *wire,
    const struct error *broken, bool linger);

/* Milliseconds since the session began. */
int64_t program_age(const struct program *program);

#endif
