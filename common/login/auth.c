/*
 * auth.c - who may log in.
 */
#include "login/auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/environment.h"
#include "system/file.h"
#include "system/process.h"
#include "system/runner.h"
#include "protocol/sasl.h"

static const char file_prefix[] = "file:";
static const char exec_prefix[] = "exec:";

/* What stands after the prefix, or NULL where there is another or nothing. */
static const char *
after(const char *how, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(how, prefix, len) == 0 && how[len] != '\0' ? how + len
	                                                          : NULL;
}

bool
auth_is_valid(const char *how, char *why, size_t size)
{
	struct command_line command;
	struct error error;

	if (after(how, exec_prefix) != NULL) {
		int parsed = command_line_parse(&command,
		    after(how, exec_prefix), "exec", &error);
		command_line_free(&command);
		if (parsed < 0)
			snprintf(why, size, "%s", error.text);
		return parsed == 0;
	}
	snprintf(why, size, "must be one of: any, any-remote, file:PATH, "
	    "exec:COMMAND");
	return strcmp(how, "any") == 0 || strcmp(how, "any-remote") == 0 ||
	    after(how, file_prefix) != NULL;
}

static int
init_file(struct auth *auth, const char *name, const struct domains *domains,
    struct error *error)
{
	char buffer[4096];
	const char *path = file_path(name, buffer, sizeof(buffer), error);

	auth->kind = AUTH_FILE;
	return path == NULL ? -1 : users_read(&auth->users, path, domains,
	    error);
}

int
auth_init(struct auth *auth, const char *how, unsigned timeout,
    const struct domains *domains, struct error *error)
{
	*auth = (struct auth){ .kind = AUTH_NONE,
		.timeout = timeout < AUTH_TIMEOUT ? timeout : AUTH_TIMEOUT };
	if (how == NULL)
		return 0;
	if (after(how, file_prefix) != NULL)
		return init_file(auth, after(how, file_prefix), domains,
		    error);
	if (after(how, exec_prefix) != NULL) {
		auth->kind = AUTH_EXEC;
		return command_line_parse(&auth->command,
		    after(how, exec_prefix), "--auth exec", error);
	}
	auth->kind = strcmp(how, "any") == 0 ? AUTH_ANY : AUTH_ANY_REMOTE;
	return 0;
}

int
auth_check_config(struct auth *auth, bool by_name, struct error *error)
{
	if (auth->kind == AUTH_FILE)
		return users_check_names(&auth->users, by_name, error);
	return auth->kind == AUTH_EXEC ? command_line_check(&auth->command,
	    "--auth exec", error) : 0;
}

bool
auth_get_fault(const struct auth *auth, size_t i, struct error *error)
{
	if (i >= auth->users.n_faults)
		return false;
	users_get_fault(&auth->users, i, error);
	return true;
}

/* What a program of --auth exec: finds in its environment beside the usual:
 * who asks, and how. */
static int
make_environment(struct environment *environment,
    const struct auth_login *login, struct error *error)
{
	environment_init(environment);
	environment_add(environment, "MAIL_EVENT", SLICE("login"));
	environment_add(environment, "MAIL_PEER",
	    slice_from(login->peer->name));
	environment_add(environment, "MAIL_TLS", slice_from(login->tls));
	environment_add(environment, "MAIL_MECHANISM",
	    slice_from(login->mechanism));
	if (environment_is_whole(environment))
		return 0;
	environment_free(environment);
	return error_system(error, ENOMEM, "environment");
}

/* With name, password and timestamp, each with a NUL, on descriptor 3. */
static int
run_with(const struct auth *auth, const struct auth_login *login,
    struct error *error)
{
	char input[SASL_SECRET_MAX + SASL_TOKEN_MAX + 32];
	struct environment environment;
	struct slice user = login->user, password = login->password;
	size_t len = 0;

	memcpy(input, user.data, user.len);
	len += user.len;
	input[len++] = '\0';
	memcpy(input + len, password.data, password.len);
	len += password.len;
	input[len++] = '\0';
	len += (size_t)snprintf(input + len, sizeof(input) - len, "%lld",
	    (long long)time(NULL)) + 1;
	int fd = command_pipe((struct slice){ input, len }, error);
	explicit_bzero(input, sizeof(input));
	if (fd < 0)
		return -1;
	int status = make_environment(&environment, login, error);
	if (status == 0) {
		struct command_run run = {
			.line = &auth->command,
			.environment = environment.items,
			.input = -1,
			.extra = fd,
			.timeout = auth->timeout,
		};

		status = runner_run(&run, error);
		environment_free(&environment);
	}
	close(fd);
	return status;
}

/*
 * The checkpassword interface (cr.yp.to/checkpwd/interface.html): 0 is right,
 * 1 is wrong, all else means to try later.
 */
static enum auth_outcome
run_command(const struct auth *auth, const struct auth_login *login,
    struct error *error)
{
	struct slice user = login->user, password = login->password;

	if (user.len > SASL_SECRET_MAX || password.len > SASL_TOKEN_MAX ||
	    memchr(user.data, '\0', user.len) != NULL ||
	    memchr(password.data, '\0', password.len) != NULL) {
		error_set(error, ERROR_PEER, "not a name and password");
		return AUTH_WRONG;
	}
	int status = run_with(auth, login, error);
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
auth_check(const struct auth *auth, const struct auth_login *login,
    struct error *error)
{
	const struct peer *peer = login->peer;

	if (auth->kind == AUTH_NONE) {
		error_set(error, ERROR_CONFIG, "there is no --auth");
		return AUTH_REFUSED;
	}
	if (auth->kind == AUTH_ANY && !peer->local) {
		error_set(error, ERROR_CONFIG, "--auth any is for local peers "
		    "only: %s; --auth file:PATH is for others, any-remote "
		    "for everybody", peer->remote_by);
		return AUTH_REFUSED;
	}
	if (login->user.len == 0 || login->password.len == 0) {
		error_set(error, ERROR_PEER, "empty name or password");
		return AUTH_WRONG;
	}
	if (auth->kind == AUTH_FILE)
		return check_file(auth, login->user, login->password,
		    error);
	if (auth->kind == AUTH_EXEC)
		return run_command(auth, login, error);
	return AUTH_RIGHT;
}

struct slice
auth_name(const struct auth *auth, struct slice user)
{
	const struct user *found = auth->kind == AUTH_FILE
	    ? users_find(&auth->users, user) : NULL;

	return found != NULL ? slice_from(found->name) : user;
}

const char *
auth_maildir(const struct auth *auth, struct slice user)
{
	const struct user *found = auth->kind == AUTH_FILE
	    ? users_find(&auth->users, user) : NULL;

	return found != NULL ? found->maildir : NULL;
}

bool
auth_shares_maildir(const struct auth *auth, struct slice user)
{
	const struct user *found = auth->kind == AUTH_FILE
	    ? users_find(&auth->users, user) : NULL;

	return found != NULL && users_shares_maildir(&auth->users, found);
}

unsigned
auth_penalty(unsigned n)
{
	return 1000u << (n < 5 ? n - 1 : 4);
}

void
auth_delay(unsigned n)
{
	int64_t deadline = clock_now() + auth_penalty(n);
	int64_t left;

	/* Any signal ends a wait, a child's late SIGCHLD too. */
	while ((left = deadline - clock_now()) > 0 && !process_stop_requested())
		process_wait(left);
}

void
auth_close(struct auth *auth)
{
	users_free(&auth->users);
	command_line_free(&auth->command);
}
