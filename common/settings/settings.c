/*
 * settings.c - the shared rows of the option table.
 */
#include "settings/settings.h"

#include <stdio.h>
#include <string.h>
#include <tls.h>
#include <unistd.h>

#include "login/auth.h"
#include "protocol/pattern.h"
#include "protocol/sasl.h"
#include "base/slice.h"
#include "system/listener.h"

/* The default of --idle-exit, where --listen does not say otherwise. */
#define IDLE_EXIT_SECONDS 60
#define IDLE_EXIT_UNSAID UINT64_MAX

static const char *const tls_modes[] = {
	"implicit", "starttls", "off", "outer", NULL
};
static const char *const log_targets[] = {
	"auto", "journal", "syslog", "stderr", NULL
};
/* In the order of their syslog priorities, from LOG_ERR on. */
static const char *const log_levels[] = {
	"error", "warning", "notice", "info", "debug", NULL
};

/* It stands in greetings, Received lines and file names. */
static bool
is_host_name(struct slice name)
{
	struct slice label;
	bool more;

	if (name.len > 255)
		return false;
	do {
		more = slice_cut(name, '.', &label, &name);
		if (label.len == 0 || label.data[0] == '-' ||
		    label.data[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++) {
			char c = slice_lower(label.data[i]);
			if (!(c >= 'a' && c <= 'z') &&
			    !(c >= '0' && c <= '9') && c != '-' && c != '_')
				return false;
		}
	} while (more);
	return true;
}

static bool
check_hostname(const char *value, char *why, size_t size)
{
	snprintf(why, size, "must be a host name: letters, digits, '-' and "
	    "'_' between single dots");
	return is_host_name(slice_from(value));
}

static bool
check_auth(const char *value, char *why, size_t size)
{
	return auth_is_valid(value, why, size);
}

static bool
check_mechanisms(const char *value, char *why, size_t size)
{
	unsigned mechanisms;

	snprintf(why, size, "must be some of plain, login, oauthbearer, "
	    "xoauth2, with commas between them");
	return sasl_parse_mechanisms(slice_from(value), &mechanisms);
}

static bool
check_maildir(const char *value, char *why, size_t size)
{
	snprintf(why, size, "must have u, l, n, d or another %% after each %%");
	return pattern_is_valid(value);
}

static bool
check_protocols(const char *value, char *why, size_t size)
{
	uint32_t protocols;

	snprintf(why, size, "must be a list such as secure, or "
	    "tlsv1.2,tlsv1.3");
	return tls_config_parse_protocols(&protocols, value) == 0;
}

static bool
check_listen(const char *value, char *why, size_t size)
{
	return listener_is_valid(value, why, size);
}

#define AT(member) offsetof(struct common_settings, member)

const struct option_spec settings_rows[] = {
	{ .name = "config", .type = OPTION_CONFIG, .offset = AT(config),
	    .value_name = "FILE", .help = "read settings from FILE" },
	{ .name = "check-config", .type = OPTION_SWITCH,
	    .offset = AT(check_config),
	    .help = "check settings and the files they name, then exit" },
	{ .name = "check-as", .type = OPTION_STRING, .offset = AT(check_as),
	    .value_name = "USER",
	    .help = "with --check-config, by root: has USER access?" },
	{ .name = "tls", .type = OPTION_CHOICE, .offset = AT(tls),
	    .value_name = "MODE", .fallback = "implicit",
	    .choices = tls_modes, .help = "implicit: from the first octet; "
	    "starttls; off; outer: a proxy in front terminates TLS" },
	{ .name = "tls-cert", .type = OPTION_LIST, .offset = AT(tls_cert),
	    .value_name = "FILE", .fallback = "tls.crt",
	    .help = "certificate chain, PEM; may be repeated" },
	{ .name = "tls-key", .type = OPTION_LIST, .offset = AT(tls_key),
	    .value_name = "FILE", .fallback = "tls.key",
	    .help = "its private key, PEM; one for each certificate" },
	{ .name = "tls-protocols", .type = OPTION_STRING,
	    .offset = AT(tls_protocols), .value_name = "LIST",
	    .fallback = "secure", .check = check_protocols,
	    .help = "as in tls_config_parse_protocols(3)" },
	{ .name = "tls-ciphers", .type = OPTION_STRING,
	    .offset = AT(tls_ciphers), .value_name = "LIST",
	    .help = "as in tls_config_set_ciphers(3), for old clients" },
	{ .name = "hostname", .type = OPTION_STRING, .offset = AT(hostname),
	    .value_name = "NAME", .check = check_hostname,
	    .help = "name to greet with, default is the machine's" },
	{ .name = "domain", .type = OPTION_LIST, .offset = AT(domain),
	    .value_name = "NAME", .check = check_hostname,
	    .help = "a mail domain that is ours, default is --hostname; may "
	    "be repeated" },
	{ .name = "auth", .type = OPTION_STRING, .offset = AT(auth),
	    .value_name = "HOW", .check = check_auth,
	    .help = "who may log in: any (every name, local peers only), "
	    "any-remote, file:PATH, exec:COMMAND" },
	{ .name = "auth-mechanisms", .type = OPTION_STRING,
	    .offset = AT(auth_mechanisms), .value_name = "LIST",
	    .fallback = "plain,login", .check = check_mechanisms,
	    .help = "of plain, login, oauthbearer, xoauth2" },
	{ .name = "maildir", .type = OPTION_STRING, .offset = AT(maildir),
	    .value_name = "PATTERN", .check = check_maildir,
	    .help = "where the mail is" },
	{ .name = "accept", .type = OPTION_SWITCH, .offset = AT(accept),
	    .help = "the descriptor is a listening socket: accept there, a "
	    "process for each connection" },
	{ .name = "listen", .type = OPTION_LIST, .offset = AT(listen),
	    .value_name = "[ADDRESS:]PORT", .check = check_listen,
	    .help = "open that socket and accept there; may be repeated" },
	{ .name = "port-file", .type = OPTION_STRING, .offset = AT(port_file),
	    .value_name = "FILE",
	    .help = "holds the port, once connections are accepted" },
	{ .name = "idle-exit", .type = OPTION_NUMBER, .offset = AT(idle_exit),
	    .value_name = "SECONDS", .max = 31536000,
	    .help = "stop accepting after so long without a connection, 0: "
	    "never, which is the default with --listen; else it is 60" },
	{ .name = "exit-after", .type = OPTION_NUMBER,
	    .offset = AT(exit_after), .value_name = "N",
	    .max = INT64_MAX, .help = "stop accepting after N sessions (POP3) "
	    "or N accepted messages (SMTP)" },
	{ .name = "max-connections", .type = OPTION_NUMBER,
	    .offset = AT(max_connections), .value_name = "N",
	    .fallback = "64", .min = 1, .max = 2048,
	    .help = "served at once; more wait" },
	{ .name = "max-per-source", .type = OPTION_NUMBER,
	    .offset = AT(max_per_source), .value_name = "N",
	    .fallback = "16", .min = 1, .max = 2048,
	    .help = "of them from one address; more are closed" },
	{ .name = "login-timeout", .type = OPTION_NUMBER,
	    .offset = AT(login_timeout), .value_name = "SECONDS",
	    .fallback = "120", .min = 1, .max = 86400,
	    .help = "limit for all that comes before a login" },
	{ .name = "proxy-protocol", .type = OPTION_SWITCH,
	    .offset = AT(proxy_protocol),
	    .help = "a PROXY header, version 1 or 2, comes first" },
	{ .name = "log", .type = OPTION_CHOICE, .offset = AT(log),
	    .value_name = "TARGET", .fallback = "auto",
	    .choices = log_targets,
	    .help = "auto, journal, syslog or stderr" },
	{ .name = "log-level", .type = OPTION_CHOICE,
	    .offset = AT(log_level), .value_name = "LEVEL",
	    .fallback = "info", .choices = log_levels,
	    .help = "error, warning, notice, info or debug" },
	{ .name = "faults", .type = OPTION_STRING, .offset = AT(faults),
	    .value_name = "FILE",
	    .help = "fail as FILE orders, for testing clients" },
	{ .name = "transcript", .type = OPTION_SWITCH,
	    .offset = AT(transcript),
	    .help = "log every protocol line, without secrets and text" },
	{ .name = "help", .type = OPTION_HELP, .help = "print this" },
	{ .name = "version", .type = OPTION_VERSION,
	    .help = "print the version" },
};

const size_t settings_rows_count =
    sizeof(settings_rows) / sizeof(settings_rows[0]);

void
settings_init(struct common_settings *settings)
{
	settings->idle_exit = IDLE_EXIT_UNSAID;
}

void
settings_complete(struct common_settings *settings)
{
	bool listens = settings->listen.count > 0;

	settings->accept |= listens;
	if (settings->idle_exit == IDLE_EXIT_UNSAID)
		settings->idle_exit = listens ? 0 : IDLE_EXIT_SECONDS;
}

void
settings_set_names(struct common_settings *settings)
{
	if (settings->hostname == NULL) {
		gethostname(settings->machine_name,
		    sizeof(settings->machine_name) - 1);
		settings->hostname = settings->machine_name;
		if (!is_host_name(slice_from(settings->hostname)))
			settings->hostname = "localhost";
	}
	if (settings->domain.count == 0)
		settings->domain.items[settings->domain.count++] =
		    settings->hostname;
	settings->domains = (struct domains){ settings->domain.items,
	    settings->domain.count };
}

int
settings_check(struct common_settings *settings, struct error *error)
{
	sasl_parse_mechanisms(slice_from(settings->auth_mechanisms),
	    &settings->mechanisms);
	if ((settings->mechanisms & SASL_TOKENS) != 0 &&
	    settings->auth != NULL &&
	    strncmp(settings->auth, "file:", 5) == 0)
		return error_set(error, ERROR_CONFIG, "--auth-mechanisms "
		    "oauthbearer and xoauth2 are for --auth any and exec:"
		    "COMMAND: with file: nobody knows which tokens are right");
	/* A proxy on this machine that terminates TLS makes every peer look
	 * local. */
	if (settings->tls == TLS_MODE_OUTER && !settings->proxy_protocol &&
	    settings->auth != NULL && strcmp(settings->auth, "any") == 0)
		return error_set(error, ERROR_CONFIG, "--tls outer with --auth "
		    "any would let everybody in: the proxy that terminates "
		    "TLS makes every peer look local; --proxy-protocol tells "
		    "who it is, or use --auth file:PATH");
	return 0;
}
