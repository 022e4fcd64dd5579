/*
 * program: what both programs do around a session: settings, connection,
 * log, end. Like their main.c, it may log.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "login/auth.h"
#include "system/confine.h"
#include "system/conn.h"
#include "base/error.h"
#include "faulty.h"
#include "settings/options.h"
#include "system/peer.h"
#include "settings/settings.h"
#include "protocol/wire.h"
#include "warm.h"

struct program;

/* What makes one of the two programs: what is in it begins with a struct
 * program. */
struct program_kind {
	const char *name;
	void (*fill_table)(struct option_table *table);
	enum warm_counts counts; /* what --exit-after counts */
	const char *alpn; /* RFC 7301: its protocol's registered name, or
	                   * NULL: it has none */

	/* Do the settings go together? */
	int (*check_settings)(struct program *program, struct error *error);

	/* --check-config: what can be wrong with the program's own settings
	 * and files. Logs each fault; -1 if there was one. */
	int (*check_config)(struct program *program);

	/* --check-as: the same of directories, and of files of its own, as
	 * the user of this process. */
	int (*check_access)(struct program *program);

	/* Reads what each session reads for itself, beside the users of
	 * --auth: an account that was changed counts at once. Or NULL. */
	int (*read_files)(struct program *program, struct error *error);

	/* Programs that a session may start, beside that of --auth exec:, by
	 * runner_allow. Or NULL. */
	int (*allow_programs)(struct program *program, struct error *error);

	/* What a session needs once it is admitted: paths, network.
	 * Called before anything is read from the peer, too, when no user
	 * name is known yet. */
	void (*needs)(struct program *program, struct confine *confine);

	/* The session, from the greeting to program_end. -1: it could not
	 * begin. */
	int (*serve)(struct program *program, struct error *error);
};

struct program {
	/* Set by the program. */
	const struct program_kind *kind;
	struct common_settings *settings;

	struct peer peer;
	struct conn conn;
	struct auth auth;
	bool told_missing;     /* program_confine.c's */
	bool logged_in;
	bool admitted;         /* see program_admit */
	bool secure;           /* a password may cross this connection */
	unsigned failed_logins;
	struct faulty faulty;  /* --faults */

	/* Of program.c and what goes with it alone. */
	struct warm warm;
	unsigned failed_before; /* logins from there, on other connections */
	struct tls *tls;
	struct buf transcript;
	int64_t started;       /* ms, clock_now() */
};

/*
 * The whole of main(): options, --check-config, the files that the settings
 * name, the connection and one session on it. program is zeroed but for what
 * the program sets. Returns the exit status.
 */
int program_main(struct program *program, int argc, char **argv);

/*
 * TLS in mid-session, for STARTTLS and STLS: drains wire->out and shakes
 * hands. -1: the connection is of no use any more.
 */
int program_start_tls(struct program *program, struct wire *wire,
    struct error *error);

/* As faulty_meet, after a flush of the output so far. */
int program_fault(struct program *program, struct wire *wire,
    enum fault_event event, const struct slice *subjects, size_t n,
    const struct fault **refusal, struct error *error);

/* After an answer: where --faults cuts the reply, sends as much of it as the
 * client is to have, before anything else is done. */
int program_after_answer(struct program *program, struct wire *wire,
    struct error *error);

/* program_confine.c: gives up what no session of these settings needs, before
 * the peer is heard; and what this one does not, once it is admitted. */
void program_confine_calls(struct program *program);
void program_confine_files(struct program *program);

/* Gathers a transcript of wire, if one is wanted. */
void program_transcript(struct program *program, struct wire *wire);

/* conn_pump and conn_flush, with the transcript so far logged first. */
int program_pump(struct program *program, struct wire *wire,
    struct error *error);
int program_flush(struct program *program, struct wire *wire,
    struct error *error);

/* What a client logs in with. */
struct program_credentials {
	struct slice user;
	struct slice password;
	const char *mechanism; /* SASL's name; NULL: POP3's USER and PASS */
};

/*
 * Checks a login and logs the outcome. A wrong one costs its delay. The
 * output so far is flushed first; -1 where that fails.
 */
int program_login(struct program *program, struct wire *wire,
    const struct program_credentials *credentials,
    enum auth_outcome *outcome, struct error *error);

/* The same for one that cannot be right, whatever the password. */
int program_refuse_login(struct program *program, struct wire *wire,
    struct slice user, const char *why, struct error *error);

/* The peer is one that may be here, by its login or by a recipient of its
 * that was accepted: --login-timeout does not count any more, and what the
 * session does not need is given up (kind->needs). */
void program_admit(struct program *program);

/* A message was accepted: for --exit-after. */
void program_accepted(struct program *program);

/* Drains wire->out (unless broken says why that is pointless) and closes. */
void program_end(struct program *program, struct wire *wire,
    const struct error *broken, bool linger);

/* Version and cipher, "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" without TLS, or
 * where a proxy terminates it. */
#define PROGRAM_TLS_MAX 128
void program_tls_name(const struct program *program,
    char name[PROGRAM_TLS_MAX]);

/* Why the session ended, for the log: said is what the program closed it
 * with, or "". */
struct slice program_end_reason(const struct program *program,
    const struct wire *wire, const struct error *broken, bool quit,
    struct slice said);

/* Milliseconds since the session began. */
int64_t program_age(const struct program *program);

#endif
