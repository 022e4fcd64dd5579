/*
 * smtp_confine.c - what a session of smtp-handler needs once it is admitted:
 * the maildirs that mail may go to, and what a next hop takes.
 *
 * Recipients are named after that, so it is all maildirs, by the directory
 * that they have in common: to put mail there, but not to read any.
 */
#include "smtp_program.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/pattern.h"
#include "spool.h"
#include "system/file.h"
#include "system/runner.h"

#define READ_WRITE (CONFINE_READ | CONFINE_WRITE)
/* Directories are opened, to be synced. */
#define PUT (CONFINE_LIST | CONFINE_WRITE)

/* So much of path as must be there, where the rest may be to be made. */
static struct slice
prefix(const char *path, size_t len)
{
	return len > 0 ? (struct slice){ path, len }
	    : path[0] == '/' ? SLICE("/") : SLICE(".");
}

/* One for all: it is made with the first message, and then its parent must
 * be synced. */
static void
add_common(struct confine *confine, const char *path)
{
	struct slice parent = prefix(path, file_parent_len(path,
	    strlen(path)));

	if (access(path, F_OK) != 0) {
		confine_add(confine, parent, PUT);
		return;
	}
	confine_add(confine, slice_from(path), PUT);
	confine_add(confine, parent, CONFINE_LIST);
}

/* The maildirs of --maildir, and those in lines of the users file. */
static void
add_maildirs(struct smtp_program *p, struct confine *confine)
{
	const char *pattern = p->settings.common.maildir;
	const struct users *users = &p->program.auth.users;

	if (pattern != NULL && pattern_has_name(pattern))
		confine_add(confine, prefix(pattern, pattern_fixed(pattern)),
		    PUT);
	else if (pattern != NULL)
		add_common(confine, pattern);
	for (size_t i = 0; i < users->n; i++) {
		const char *own = users->items[i].maildir;

		if (own != NULL)
			confine_add(confine, prefix(own,
			    file_parent_len(own, strlen(own))), PUT);
	}
}

static void
add_setting(struct confine *confine, const char *name)
{
	char buffer[4096];
	struct error ignored;
	const char *path = file_path(name, buffer, sizeof(buffer), &ignored);

	if (path != NULL)
		confine_add(confine, slice_from(path), CONFINE_READ);
}

/* What the resolver, its modules and libtls read when they are used. */
static void
add_network(struct confine *confine)
{
	static const char *const paths[] = {
		"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf",
		"/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
		"/etc/protocols", "/etc/ld.so.cache", "/etc/localtime",
		"/etc/ssl", "/etc/pki", "/etc/ca-certificates",
		"/usr", "/lib", "/lib64", "/run/systemd/resolve",
	};

	confine->network = true;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		confine_add(confine, slice_from(paths[i]), CONFINE_READ);
	/* openssl(1): where an operator has put others. */
	if (getenv("SSL_CERT_DIR") != NULL)
		confine_add(confine, slice_from(getenv("SSL_CERT_DIR")),
		    CONFINE_READ);
	if (getenv("SSL_CERT_FILE") != NULL)
		confine_add(confine, slice_from(getenv("SSL_CERT_FILE")),
		    CONFINE_READ);
}

static void
add_relay(struct smtp_program *p, struct confine *confine)
{
	add_network(confine);
	add_setting(confine, p->settings.relay);
	for (size_t i = 0; i < p->accounts.n; i++) {
		const struct account *account = &p->accounts.items[i];

		if (account->hop.ca_file != NULL)
			add_setting(confine, account->hop.ca_file);
		if (account->password_kind == ACCOUNT_PASSWORD_FILE)
			add_setting(confine, account->password);
	}
}

static int
allow_list(const struct hook_list *list, struct error *error)
{
	for (size_t i = 0; i < list->n; i++)
		if (runner_allow(&list->commands[i], error) < 0)
			return -1;
	return 0;
}

int
smtp_allow_programs(struct program *program, struct error *error)
{
	struct smtp_program *p = (struct smtp_program *)program;
	struct command_line line;

	if (allow_list(&p->hooks.recipient, error) < 0 ||
	    allow_list(&p->hooks.message, error) < 0)
		return -1;
	for (size_t i = 0; i < p->accounts.n; i++) {
		const struct account *account = &p->accounts.items[i];

		if (account->password_kind != ACCOUNT_PASSWORD_COMMAND)
			continue;
		if (command_line_parse(&line, account->password, "exec",
		    error) < 0)
			return -1;
		int allowed = runner_allow(&line, error);
		command_line_free(&line);
		if (allowed < 0)
			return -1;
	}
	return 0;
}

void
smtp_needs(struct program *program, struct confine *confine)
{
	struct smtp_program *p = (struct smtp_program *)program;

	add_maildirs(p, confine);
	/* A filter's socket in the file system needs no right. */
	for (size_t i = 0; i < p->milters.n; i++)
		if (milter_link_is_inet(p->milters.links[i].address))
			confine->network = true;
	if (smtp_may_spool(p, &p->program.auth))
		confine_add(confine, slice_from(spool_directory()),
		    READ_WRITE);
	if (p->settings.relay != NULL)
		add_relay(p, confine);
}
