/*
 * smtp_check.c - what can be wrong with the settings, before anything is
 * served.
 */
#include "smtp_program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "accounts_show.h"
#include "check_as.h"
#include "protocol/pattern.h"
#include "recipients_show.h"
#include "relay/account_secret.h"
#include "system/file.h"

void
smtp_init_places(struct smtp_program *p, const struct auth *auth)
{
	p->places = (struct places){
		.setting = p->settings.common.maildir,
		.hostname = p->settings.common.hostname,
		.domains = &p->settings.common.domains,
		.auth = auth,
		.create = p->settings.create_maildirs,
		.aliases = p->settings.aliases != NULL ? &p->aliases : NULL,
		.delimiters = p->settings.recipient_delimiter,
	};
	places_set_login(&p->places, slice_from(""));
}

/* Is there a maildir, be it one that a user of --auth file: has? */
static int
check_places(struct smtp_program *p, struct error *error)
{
	const struct common_settings *common = &p->settings.common;
	struct error why;
	struct auth auth;
	const struct places places = { .auth = &auth };

	if (common->maildir != NULL || p->settings.relay != NULL ||
	    p->settings.on_message.count > 0)
		return 0;
	if (auth_init(&auth, common->auth, (unsigned)common->timeout,
	    &common->domains, &why) < 0)
		return error_set(error, ERROR_CONFIG, "mail has nowhere to "
		    "go: --maildir or --relay is needed, or users with "
		    "maildirs (%.300s)", why.text);
	bool exist = places_exist(&places);
	auth_close(&auth);
	if (exist)
		return 0;
	return error_set(error, ERROR_CONFIG, "mail has nowhere to go: "
	    "--maildir, --relay or --on-message is needed");
}

static int
check_milters(const struct smtp_settings *settings, struct error *error)
{
	char why[160];

	for (size_t i = 0; i < settings->milter.count; i++)
		if (!milter_link_is_address(settings->milter.items[i], why,
		    sizeof(why)))
			return error_set(error, ERROR_CONFIG, "--milter %s, "
			    "not '%.100s'", why, settings->milter.items[i]);
	return 0;
}

int
smtp_check_settings(struct program *program, struct error *error)
{
	struct smtp_program *p = (struct smtp_program *)program;
	const struct smtp_settings *settings = &p->settings;
	const struct common_settings *common = &settings->common;

	if (check_milters(settings, error) < 0)
		return -1;
	milters_init(&p->milters, &settings->milter,
	    settings->milter_default == 1);
	if (hooks_init(&p->hooks, &settings->on_recipient,
	    &settings->on_message, (unsigned)settings->hook_timeout,
	    error) < 0)
		return -1;
	if (check_places(p, error) < 0)
		return -1;
	if (common->auth == NULL && !settings->no_auth_required)
		return error_set(error, ERROR_CONFIG, "nobody could send "
		    "mail: --auth or --no-auth-required is needed");
	/* Each name that somebody thinks of would be a directory. A hook may
	 * know who is whom. */
	if (settings->no_auth_required && settings->create_maildirs &&
	    common->maildir != NULL && pattern_has_name(common->maildir) &&
	    (common->auth == NULL || strncmp(common->auth, "file:", 5) != 0) &&
	    settings->on_recipient.count == 0)
		return error_set(error, ERROR_CONFIG, "--no-auth-required and "
		    "--create-maildirs would let strangers make maildirs of "
		    "any name: --auth file:PATH says who is at home here, or "
		    "use a --maildir without %%u and %%n");
	if (settings->bare_lf == DOT_BARE_LF_ACCEPT && settings->relay != NULL)
		return error_set(error, ERROR_CONFIG, "--bare-lf accept and "
		    "--relay together would let messages be smuggled: use "
		    "normalize");
	if (common->auth == NULL && common->maildir == NULL &&
	    settings->on_message.count == 0)
		return error_set(error, ERROR_CONFIG, "only mail of those who "
		    "logged in is relayed: --auth is needed");
	return 0;
}

static int
read_accounts(struct smtp_program *p, struct error *error)
{
	char buffer[4096];

	if (p->settings.relay == NULL)
		return 0;
	const char *path = file_path(p->settings.relay, buffer,
	    sizeof(buffer), error);
	if (path == NULL || accounts_read(&p->accounts, path, error) < 0)
		return -1;
	/* A password that cannot be read is found here, and not with the first
	 * message. What is read is overwritten at once. */
	for (size_t i = 0; i < p->accounts.n; i++)
		if (account_secret_check(&p->accounts.items[i], error) < 0) {
			accounts_free(&p->accounts);
			return -1;
		}
	return 0;
}

static int
read_aliases(struct smtp_program *p, struct error *error)
{
	char buffer[4096];

	if (p->settings.aliases == NULL)
		return 0;
	const char *path = file_path(p->settings.aliases, buffer,
	    sizeof(buffer), error);
	return path == NULL ? -1 : aliases_read(&p->aliases, path,
	    &p->settings.common.domains, error);
}

int
smtp_read_files(struct program *program, struct error *error)
{
	struct smtp_program *p = (struct smtp_program *)program;

	return read_accounts(p, error) < 0 || read_aliases(p, error) < 0 ? -1
	                                                                 : 0;
}

bool
smtp_log_alias_faults(const struct smtp_program *p)
{
	struct error error;

	for (size_t i = 0; i < p->aliases.n_faults; i++) {
		aliases_get_fault(&p->aliases, i, &error);
		log_error(&error);
	}
	return p->aliases.n_faults > 0;
}

bool
smtp_may_spool(const struct smtp_program *p, const struct auth *auth)
{
	const char *maildir = p->settings.common.maildir;
	bool one_for_all = maildir != NULL && !pattern_has_name(maildir);

	for (size_t i = 0; one_for_all && i < auth->users.n; i++)
		one_for_all = auth->users.items[i].maildir == NULL;
	return !one_for_all || p->settings.relay != NULL ||
	    p->settings.on_message.count > 0 || p->settings.milter.count > 0;
}

/* No fault, for it may be meant so. */
static void
warn_of_one_for_all(const struct smtp_program *p, const struct auth *auth)
{
	const char *maildir = p->settings.common.maildir;

	if (maildir != NULL && !pattern_has_name(maildir) &&
	    auth->kind == AUTH_FILE && auth->users.n > 1)
		log_reason(LOG_KIND_NOTICE, "--maildir %.120s is one maildir "
		    "for all %zu users; with %%u in it each has their own",
		    maildir, auth->users.n);
}

int
smtp_check_config(struct program *program)
{
	struct smtp_program *p = (struct smtp_program *)program;
	const struct common_settings *common = &p->settings.common;
	struct error error;
	struct auth auth;
	int result = 0;

	/* program.c has logged what is wrong with it. */
	auth_init(&auth, common->auth, (unsigned)common->timeout,
	    &common->domains, &error);
	smtp_init_places(p, &auth);
	if (smtp_check_settings(program, &error) < 0 ||
	    places_check(&p->places, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	warn_of_one_for_all(p, &auth);
	/* Each of them, whatever becomes of the other. */
	if (read_accounts(p, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (read_aliases(p, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (smtp_log_alias_faults(p))
		result = -1;
	if (recipients_check(&p->places, p->settings.aliases,
	    p->settings.relay != NULL, log_error) < 0)
		result = -1;
	if (hooks_check(&p->hooks) < 0)
		result = -1;
	if (smtp_may_spool(p, &auth) && delivery_check(&error) < 0) {
		log_error(&error);
		result = -1;
	}
	for (size_t i = 0; i < p->accounts.n; i++) {
		const struct account *account = &p->accounts.items[i];
		struct error why;

		if (relay_check_account(account, &why) == 0)
			continue;
		error_set(&error, ERROR_CONFIG, "%.120s:%u: %.300s",
		    p->settings.relay, account->line, why.text);
		log_error(&error);
		result = -1;
	}
	/* For a person; a script wants the exit status. */
	if (isatty(1)) {
		recipients_show(&p->places, p->settings.aliases,
		    p->settings.relay != NULL, stdout);
		accounts_show(&p->accounts, p->settings.relay, stdout);
	}
	places_free(&p->places);
	accounts_free(&p->accounts);
	aliases_free(&p->aliases);
	auth_close(&auth);
	return result;
}

int
smtp_check_access(struct program *program)
{
	struct smtp_program *p = (struct smtp_program *)program;
	bool good = check_as_readable("--relay", p->settings.relay);
	struct error error;

	good = check_as_readable("--aliases", p->settings.aliases) && good;
	smtp_init_places(p, &program->auth);
	if (places_check(&p->places, &error) < 0 ||
	    (smtp_may_spool(p, &program->auth) &&
	    delivery_check(&error) < 0)) {
		log_error(&error);
		good = false;
	}
	return good ? 0 : -1;
}
