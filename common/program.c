/*
 * program.c - the frame around a session: main() of both programs.
 */
#include "program_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/version.h"
#include "system/clock.h"
#include "system/log.h"
#include "system/process.h"
#include "system/runner.h"
#include "system/tls_rehearsal.h"

static int
fail(const struct error *error)
{
	log_error(error);
	return error_meaning(error->kind)->exit_status;
}

/* --faults is for tests: it must not make the mail of others fail. */
static int
check_faults_allowed(const struct program *program, struct error *error)
{
	if (program->settings->faults == NULL || program->peer.local ||
	    program->auth.kind == AUTH_ANY)
		return 0;
	return error_set(error, ERROR_CONFIG, "--faults is for local peers, "
	    "or for --auth any: %s", program->peer.remote_by);
}

/* All that must be read before the peer is looked at. */
static int
prepare_session(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;
	const struct program_kind *kind = program->kind;

	program->started = clock_now();
	if (auth_init(&program->auth, settings->auth,
	    (unsigned)settings->timeout, &settings->domains, error) < 0)
		return -1;
	program_log_user_faults(&program->auth);
	if (faulty_init(&program->faulty, settings->faults, error) < 0)
		return -1;
	if (kind->read_files != NULL && kind->read_files(program, error) < 0)
		return -1;
	return peer_take(&program->peer, error);
}

static int
allow_programs(struct program *program, struct error *error)
{
	const struct program_kind *kind = program->kind;

	if (program->auth.kind == AUTH_EXEC &&
	    runner_allow(&program->auth.command, error) < 0)
		return -1;
	return kind->allow_programs == NULL ? 0
	    : kind->allow_programs(program, error);
}

/* Where programs are started, another process does it (runner.h). Without one
 * each of them fails, and what it would decide is to be tried later. */
static void
start_runner(struct program *program)
{
	struct error error;
	int forked = allow_programs(program, &error) < 0 ? -1
	    : runner_fork(&error);

	if (forked < 0)
		log_error(&error);
	if (forked <= 0)
		return;
	/* It has no use for keys. */
	tls_free(program->tls);
	auth_close(&program->auth);
	runner_serve();
}

/* One session, on the connection that the descriptors are. */
static int
run_session(struct program *program)
{
	struct error error;
	int exit_status = 0;

	if (prepare_session(program, &error) < 0) {
		exit_status = fail(&error);
	} else {
		start_runner(program);
		conn_open(&program->conn, program->peer.in_fd,
		    program->peer.out_fd,
		    (unsigned)program->settings->timeout);
		program->conn.hard_deadline = program->started +
		    (int64_t)program->settings->login_timeout * 1000;
		program_confine_calls(program);
		/* Whatever the peer did, the status is 0: it must not leave a
		 * failed unit behind. */
		if (program_hear_peer(program, &error) < 0) {
			conn_close(&program->conn, NULL, true);
		} else if (check_faults_allowed(program, &error) < 0) {
			conn_close(&program->conn, NULL, true);
			exit_status = fail(&error);
		} else if (program->kind->serve(program, &error) < 0) {
			exit_status = fail(&error);
		}
	}
	auth_close(&program->auth);
	faulty_close(&program->faulty);
	return exit_status;
}

static int
check_settings(struct program *program, struct error *error)
{
	if (warm_check_settings(program->settings, error) < 0 ||
	    settings_check(program->settings, error) < 0)
		return -1;
	return program->kind->check_settings(program, error);
}

/* Loads once, in the parent, what otherwise each child would load. */
static int
prepare_sessions(struct program *program, struct error *error)
{
	if (check_settings(program, error) < 0 ||
	    program_make_tls(program, error) < 0)
		return -1;
	if (program->tls != NULL)
		tls_rehearsal(program->tls);
	log_prepare();
	tzset();
	return 0;
}

/* Ends a child without exit handlers: they would free what it shares with the
 * parent, and copy its pages for that, a fifth of a session's time. */
static void
leave(int exit_status)
{
#ifdef __SANITIZE_ADDRESS__
	exit(exit_status); /* its handler looks for leaks */
#else
	_exit(exit_status);
#endif
}

/* Many sessions, each in a child. */
static int
accept_sessions(struct program *program, char **argv)
{
	struct warm *warm = &program->warm;
	struct error error;
	int exit_status;

	warm->settings = program->settings;
	warm->counts = program->kind->counts;
	warm->argv = argv;
	process_init();
	process_watch();
	if (warm_open(warm, &error) < 0)
		return fail(&error);
	if (prepare_sessions(program, &error) < 0) {
		warm_turn_away(warm);
		return fail(&error);
	}
	if (warm_accept(warm, &exit_status)) {
		exit_status = run_session(program);
		leave(exit_status);
	}
	tls_free(program->tls);
	return exit_status;
}

static int
run(struct program *program, char **argv)
{
	struct error error;

	if (program->settings->check_config)
		return program_check_config(program);
	if (program->settings->accept)
		return accept_sessions(program, argv);
	if (check_settings(program, &error) < 0)
		return fail(&error);
	log_serve();
	process_init();
	if (program_make_tls(program, &error) < 0)
		return fail(&error);
	/* All that connections can share is ready here. */
	int exit_status = run_session(program);
	tls_free(program->tls);
	return exit_status;
}

static void
apply_settings(struct common_settings *settings)
{
	log_set_target((enum log_target)settings->log);
	log_set_level(LOG_ERR + settings->log_level);
	settings_complete(settings);
	settings_set_names(settings);
}

int
program_main(struct program *program, int argc, char **argv)
{
	struct option_table table;
	struct error error;
	char *file_text;
	int exit_status = 0;

	log_open(program->kind->name);
	program->kind->fill_table(&table);
	settings_init(program->settings);
	switch (options_parse(&table, argc, argv, program->settings,
	    &file_text, &error)) {
	case OPTIONS_OK:
		apply_settings(program->settings);
		exit_status = run(program, argv);
		break;
	case OPTIONS_HELP:
		options_print_help(&table);
		break;
	case OPTIONS_VERSION:
		printf("%s %s\n", table.program, MAIL_HANDLERS_VERSION);
		break;
	default:
		exit_status = fail(&error);
		warm_turn_away_passed();
		break;
	}
	free(file_text);
	return exit_status;
}
