/*
 * program_confine.c - what a session gives up, and when.
 *
 * System calls before the peer is heard; files when the session is admitted,
 * for until then the login needs them.
 */
#include "program.h"

#include <time.h>

#include "system/file.h"
#include "system/log.h"

/* Where a recipient admitted the session, a login may still come; and after
 * STARTTLS there may be a second login. */
static bool
may_log_in_again(const struct program *program)
{
	return !program->logged_in ||
	    (program->settings->tls == TLS_MODE_STARTTLS &&
	    program->conn.transport.tls == NULL);
}

static void
add_users_file(const struct program *program, struct confine *confine)
{
	const char *path = program->auth.users.path;

	if (path != NULL)
		confine_add(confine, slice_from(path), CONFINE_READ);
}

static void
gather(struct program *program, struct confine *confine, bool admitted)
{
	confine->network = confine->too_many = false;
	confine->n = confine->text_len = 0;
	confine->nothing = CONFINE_OFF;
	/* --faults counts in files beside its own; it is for tests. */
	if (program->faulty.faults.n > 0)
		confine->too_many = true;
	if (admitted && may_log_in_again(program))
		add_users_file(program, confine);
	program->kind->needs(program, confine);
}

/* Logs that the session goes on unconfined, once a session. */
static void
note(struct program *program, int outcome, const char *what,
    const struct error *error)
{
	if (outcome == CONFINE_DONE || program->told_missing)
		return;
	program->told_missing = true;
	log_reason(LOG_KIND_NOTICE, "%s does not confine this session: %s",
	    what, outcome == CONFINE_MISSING ? "this system has none"
	                                     : error->text);
}

void
program_confine_calls(struct program *program)
{
	struct confine confine;
	struct error error;

	/* The log opens its files and sockets before that is forbidden. */
	log_prepare();
	tzset();
	gather(program, &confine, false);
	note(program, confine_calls(&confine, &error), "seccomp", &error);
}

void
program_confine_files(struct program *program)
{
	struct confine confine;
	struct error error;

	gather(program, &confine, true);
	note(program, confine_files(&confine, &error), "Landlock", &error);
}
