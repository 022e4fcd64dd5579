/*
 * check_as.c - what the service's user may read and write.
 */
#include "check_as.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/log.h"

bool
check_as_readable(const char *option, const char *path)
{
	struct error error;

	if (path == NULL || path[0] != '/' || access(path, R_OK) == 0)
		return true;
	error_set(&error, ERROR_CONFIG, "%s %s: %s for the user of "
	    "--check-as, who must be able to read it; or name it without a "
	    "path, and its unit hands it in by LoadCredential=", option,
	    error_tail(path, 160), strerror(errno));
	log_error(&error);
	return false;
}

static bool
check_list(const char *option, const struct option_list *list)
{
	bool good = true;

	for (size_t i = 0; i < list->count; i++)
		good = check_as_readable(option, list->items[i]) && good;
	return good;
}

static int
become(const struct passwd *user, struct error *error)
{
	if (initgroups(user->pw_name, user->pw_gid) == 0 &&
	    setgid(user->pw_gid) == 0 && setuid(user->pw_uid) == 0)
		return 0;
	error_system(error, errno, "--check-as %.80s", user->pw_name);
	error->kind = ERROR_CONFIG;
	return -1;
}

/* In a process of its own, which becomes that user. The users file is read
 * before that: it may be readable for root alone, and be handed in by the
 * unit. */
static bool
look(struct program *program, const struct passwd *user)
{
	const struct common_settings *settings = program->settings;
	struct error error;
	bool good = true;

	/* --check-config has logged its faults already. */
	auth_init(&program->auth, settings->auth,
	    (unsigned)settings->timeout, &settings->domains, &error);
	if (become(user, &error) < 0) {
		log_error(&error);
		return false;
	}
	if (settings->tls == TLS_MODE_IMPLICIT ||
	    settings->tls == TLS_MODE_STARTTLS) {
		good = check_list("--tls-cert", &settings->tls_cert);
		good = check_list("--tls-key", &settings->tls_key) && good;
	}
	if (settings->auth != NULL &&
	    strncmp(settings->auth, "file:", 5) == 0)
		good = check_as_readable("--auth file:", settings->auth + 5) &&
		    good;
	good = check_as_readable("--config", settings->config) && good;
	good = check_as_readable("--faults", settings->faults) && good;
	return program->kind->check_access(program) == 0 && good;
}

int
check_as(struct program *program, const char *name)
{
	struct error error;
	int status = 0;

	errno = 0;
	const struct passwd *user = getpwnam(name);
	if (user == NULL)
		error_set(&error, ERROR_CONFIG, "--check-as %.80s: there is "
		    "no such user", name);
	else if (geteuid() != 0)
		error_set(&error, ERROR_CONFIG, "--check-as %.80s: only root "
		    "can look as another user", name);
	if (user == NULL || geteuid() != 0) {
		log_error(&error);
		return -1;
	}
	pid_t child = fork();
	if (child == 0)
		_exit(look(program, user) ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		error_system(&error, errno, "--check-as");
		log_error(&error);
		return -1;
	}
	return status == 0 ? 0 : -1;
}
