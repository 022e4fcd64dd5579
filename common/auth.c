/*
 * auth.c - who may log in.
 * Layer 2.
 */
#include "auth.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "options.h"
#include "process.h"
#include "sasl.h"

static int
init_file(struct auth *auth, const char *name, struct error *error)
{
	char buffer[4096];
	const char *path = options_path(name, buffer, sizeof(buffer), error);

	auth->kind = AUTH_FILE;
	return path == NULL ? -1 : users_read(&auth->users, path, error);
}

int
auth_init(struct auth *auth, const char *how, unsigned timeout,
    struct error *error)
{
	static const char file[] = "file:";
	static const char exec[] = "exec:";

	*auth = (struct auth){ .kind = AUTH_NONE,
		.timeout = timeout < AUTH_TIMEOUT ? timeout : AUTH_TIMEOUT };
	if (how == NULL)
		return 0;
	if (strcmp(how, "any") == 0) {
		auth->kind = AUTH_ANY;
		return 0;
	}
	if (strcmp(how, "any-remote") == 0) {
		auth->kind = AUTH_ANY_REMOTE;
		return 0;
	}
	if (strncmp(how, file, sizeof(file) - 1) == 0 &&
	    how[sizeof(file) - 1] != '\0')
		return init_file(auth, how + sizeof(file) - 1, error);
	if (strncmp(how, exec, sizeof(exec) - 1) == 0) {
		auth->kind = AUTH_EXEC;
		return command_line_parse(&auth->command,
		    how + sizeof(exec) - 1, "--auth exec:", error);
	}
	return error_set(error, ERROR_CONFIG, "--auth must be one of: any, "
	    "any-remote, file:PATH, exec:COMMAND, not '%.60s'", how);
}

int
auth_check_config(const struct auth *auth, struct error *error)
{
	return auth->kind == AUTH_EXEC ? command_line_check(&auth->command,
	    "--auth exec:", error) : 0;
}

/*
 * The checkpassword interface (cr.yp.to/checkpwd/interface.html): name,
 * password and timestamp, each with a NUL, on descriptor 3; 0 is right, 1 is
 * wrong, all else means to try later.
 */
static enum auth_outcome
run_command(const struct auth *auth, struct slice user,
    struct slice password, struct error *error)
{
	char input[2 * SASL_SECRET_MAX + 32];
	size_t len = 0;

	if (user.len > SASL_SECRET_MAX || password.len > SASL_SECRET_MAX ||
	    memchr(user.data, '\0', user.len) != NULL ||
	    memchr(password.data, '\0', password.len) != NULL) {
		error_set(error, ERROR_PEER, "not a name and password");
		return AUTH_WRONG;
	}
	memcpy(input, user.data, user.len);
	len += user.len;
	input[len++] = '\0';
	memcpy(input + len, password.data, password.len);
	len += password.len;
	input[len++] = '\0';
	len += (size_t)snprintf(input + len, sizeof(input) - len, "%lld",
	    (long long)time(NULL)) + 1;
	int status = command_run(&auth->command, 3,
	    (struct slice){ input, len }, auth->timeout, error);
	explicit_bzero(input, sizeof(input));
	if (status == 0)
		return AUTH_RIGHT;
	if (status == 1) {
		error_set(error, ERROR_PEER, "wrong name or password");
		return AUTH_WRONG;
	}
	if (status > 1)
		error_set(error, ERROR_SYSTEM, "%.100s: exit status %d",
		    auth->command.words[0], status);
	return AUTH_TEMPORARY;
}

static enum auth_outcome
check_file(const struct auth *auth, struct slice user, struct slice password,
    struct error *error)
{
	switch (users_check(&auth->users, user, password, error)) {
	case USERS_RIGHT:
		return AUTH_RIGHT;
	case USERS_WRONG:
		return AUTH_WRONG;
	case USERS_TROUBLE:
		break;
	}
	return AUTH_TEMPORARY;
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
	if (auth->kind == AUTH_FILE)
		return check_file(auth, user, password, error);
	if (auth->kind == AUTH_EXEC)
		return run_command(auth, user, password, error);
	return AUTH_RIGHT;
}

const char *
auth_maildir(const struct auth *auth, struct slice user)
{
	const struct user *found = auth->kind == AUTH_FILE
	    ? users_find(&auth->users, user) : NULL;

	return found != NULL ? found->maildir : NULL;
}

void
auth_delay(unsigned n)
{
	const struct timespec delay = { .tv_sec = n < 3 ? (time_t)n : 4 };

	if (n > 0 && !process_stop_requested())
		ppoll(NULL, 0, &delay, process_wait_mask());
}

void
auth_close(struct auth *auth)
{
	users_free(&auth->users);
	command_line_free(&auth->command);
}
