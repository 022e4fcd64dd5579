/*
 * account_secret.c - passwords out of lines, files and commands.
 *
 * What a command or a file says is a secret from its first octet on; only
 * what is wrong with it gets into an error.
 */
#include "relay/account_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/percent.h"
#include "system/command.h"
#include "system/environment.h"
#include "system/file.h"
#include "system/runner.h"

#define PASSWORD_FILE_MAX 16384

static int
wrong(const struct account *account, const struct error *why,
    struct error *error)
{
	struct error copy = *why;

	return error_set(error, copy.kind, "%s:%u: %.250s",
	    error_tail(account->file, ACCOUNT_FILE_SHOWN), account->line,
	    copy.text);
}

static int
take(struct account_secret *secret, const char *text, size_t len,
    struct error *error)
{
	if (len == 0)
		return error_set(error, ERROR_CONFIG, "the password is empty");
	if (len > SASL_CLIENT_SECRET_MAX)
		return error_set(error, ERROR_CONFIG,
		    "the password has more than %d octets",
		    SASL_CLIENT_SECRET_MAX);
	memmove(secret->text, text, len);
	secret->text[len] = '\0';
	secret->len = len;
	return 0;
}

/* From its line, if the accounts file is still the one that was read. */
static int
read_line(struct account_secret *secret, const struct account *account,
    struct error *error)
{
	char *text;
	size_t len;

	if (file_read(account->file, ACCOUNTS_FILE_MAX, true, &text, &len,
	    error) < 0)
		return -1;
	char *word = text + account->password_at;
	int result = -1;
	if (accounts_digest((struct slice){ text, len }) != account->digest) {
		error_set(error, ERROR_SYSTEM, "the file has changed");
	} else {
		word[account->password_len] = '\0';
		percent_decode(word);
		result = take(secret, word, strlen(word), error);
	}
	explicit_bzero(text, len);
	free(text);
	return result;
}

static int
read_file(struct account_secret *secret, const struct account *account,
    struct error *error)
{
	char path[4096];
	char *text;
	size_t len;
	const char *where = file_path(account->password, path, sizeof(path),
	    error);

	if (where == NULL || file_read(where, PASSWORD_FILE_MAX, true, &text,
	    &len, error) < 0)
		return -1;
	/* There may be more than the line that is the password. */
	int result = take(secret, text, strcspn(text, "\r\n"), error);
	explicit_bzero(text, len);
	free(text);
	return result;
}

/* What is worth telling of a command that gave no password. */
static void
add_first_error(const struct command_run *run, struct error *error)
{
	size_t len = strlen(error->text);
	struct slice line, rest;

	slice_cut((struct slice){ run->errors, run->errors_len }, '\n', &line,
	    &rest);
	if (line.len > 0)
		snprintf(error->text + len, sizeof(error->text) - len,
		    ": %.*s", SLICE_ARG(line));
}

static int
run_command(struct account_secret *secret, const struct command_line *line,
    unsigned timeout, struct error *error)
{
	struct environment environment;
	struct command_run run = {
		.line = line, .input = -1, .extra = -1, .timeout = timeout,
		.capture = true, .secret = secret->text,
		.secret_max = SASL_CLIENT_SECRET_MAX + 1,
	};

	environment_init(&environment);
	run.environment = environment.items;
	int status = environment_is_whole(&environment)
	    ? runner_run(&run, error)
	    : error_set(error, ERROR_SYSTEM, "out of memory");
	environment_free(&environment);
	if (status > 0)
		error_set(error, ERROR_SYSTEM, "%.100s: exit status %d",
		    line->words[0], status);
	if (status != 0) {
		add_first_error(&run, error);
		return -1;
	}
	size_t len = run.output_len;
	if (len > 0 && secret->text[len - 1] == '\r')
		len--;
	return take(secret, secret->text, len, error);
}

static int
read_command(struct account_secret *secret, const struct account *account,
    unsigned timeout, struct error *error)
{
	struct command_line line;

	if (command_line_parse(&line, account->password, "exec", error) < 0)
		return -1;
	int result = run_command(secret, &line, timeout, error);
	command_line_free(&line);
	return result;
}

int
account_secret_read(struct account_secret *secret,
    const struct account *account, unsigned timeout, struct error *error)
{
	struct error why;
	int result = -1;

	secret->len = 0;
	switch (account->password_kind) {
	case ACCOUNT_PASSWORD_NONE:
		return 0;
	case ACCOUNT_PASSWORD_LINE:
		result = read_line(secret, account, &why);
		break;
	case ACCOUNT_PASSWORD_FILE:
		result = read_file(secret, account, &why);
		break;
	case ACCOUNT_PASSWORD_COMMAND:
		result = read_command(secret, account, timeout, &why);
		break;
	}
	return result == 0 ? 0 : wrong(account, &why, error);
}

void
account_secret_wipe(struct account_secret *secret)
{
	explicit_bzero(secret, sizeof(*secret));
}

int
account_secret_check(const struct account *account, struct error *error)
{
	struct account_secret secret;
	struct command_line line;
	struct error why;

	if (account->password_kind != ACCOUNT_PASSWORD_COMMAND) {
		int result = account_secret_read(&secret, account, 0, error);
		account_secret_wipe(&secret);
		return result;
	}
	if (command_line_parse(&line, account->password, "exec", &why) < 0)
		return wrong(account, &why, error);
	int result = command_line_check(&line, "exec", &why);
	command_line_free(&line);
	return result == 0 ? 0 : wrong(account, &why, error);
}
