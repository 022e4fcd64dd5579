/*
 * program_check.c - --check-config: the faults of the settings and of the
 * files that they name.
 */
#include "program_private.h"

#include "check_as.h"
#include "protocol/pattern.h"
#include "system/log.h"
#include "system/tls_server.h"

/* Logs the lines of the users file that are wrong, which lock out their user.
 * Were there any? */
bool
program_log_user_faults(const struct auth *auth)
{
	struct error error;
	size_t n = 0;

	while (auth_get_fault(auth, n, &error)) {
		log_error(&error);
		n++;
	}
	return n > 0;
}

/* --check-config: the faults of the shared settings and of the program's. */
int
program_check_config(struct program *program)
{
	struct common_settings *settings = program->settings;
	struct error error;
	struct auth auth;
	int result = 0;

	const struct tls_server_options tls = program_tls_options(program);
	if (program_make_tls(program, &error) < 0 || (program->tls != NULL &&
	    tls_server_check_dates(&tls, &error) < 0)) {
		log_error(&error);
		result = -1;
	}
	tls_free(program->tls);
	if (auth_init(&auth, settings->auth, (unsigned)settings->timeout,
	    &settings->domains, &error) < 0 ||
	    auth_check_config(&auth, settings->maildir != NULL &&
	    pattern_has_name(settings->maildir), &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (program_log_user_faults(&auth))
		result = -1;
	auth_close(&auth);
	if (warm_check_settings(settings, &error) < 0 ||
	    settings_check(settings, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (settings->faults != NULL && faulty_check(settings->faults) < 0)
		result = -1;
	if (program->kind->check_config(program) < 0)
		result = -1;
	if (settings->check_as != NULL &&
	    check_as(program, settings->check_as) < 0)
		result = -1;
	return result == 0 ? 0 : error_meaning(ERROR_CONFIG)->exit_status;
}
