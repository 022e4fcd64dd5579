/*
 * settings: the options that both programs have, and what follows from them.
 *
 * struct common_settings is the first member of each program's settings, so
 * that one set of rows (options.h) serves both.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/domains.h"
#include "settings/options.h"

enum tls_mode {
	TLS_MODE_IMPLICIT, /* from the first octet (RFC 8314) */
	TLS_MODE_STARTTLS, /* after STARTTLS or STLS */
	TLS_MODE_OFF,
	TLS_MODE_OUTER,    /* a proxy in front terminates it */
};

struct common_settings {
	const char *config;
	bool check_config;
	const char *check_as; /* a user; NULL: as it is */
	int tls; /* enum tls_mode */
	struct option_list tls_cert;
	struct option_list tls_key;
	const char *tls_protocols;
	const char *tls_ciphers; /* NULL: libtls's */
	const char *hostname;
	struct option_list domain;
	const char *auth_mechanisms; /* as it was written */
	const char *auth; /* NULL: no logins */
	const char *maildir; /* NULL: none */
	bool proxy_protocol;
	uint64_t timeout; /* seconds */
	uint64_t login_timeout; /* seconds */
	int log; /* enum log_target */
	int log_level; /* syslog priority - LOG_ERR */
	bool transcript;
	const char *faults; /* NULL: none */
	const char *hide;   /* extensions, with commas; NULL: none */

	/* Where the program accepts connections itself. */
	bool accept;
	struct option_list listen;
	const char *port_file;    /* NULL: none */
	uint64_t idle_exit;       /* seconds, 0: never */
	uint64_t exit_after;      /* 0: never */
	uint64_t max_connections;
	uint64_t max_per_source;

	/* By settings_check. */
	unsigned mechanisms;     /* of SASL, a set */

	/* By settings_set_names. */
	struct domains domains;  /* --domain, else the host name */
	char machine_name[256]; /* where hostname points by default */
};

/* The shared rows, without --timeout, whose default differs. */
extern const struct option_spec settings_rows[];
extern const size_t settings_rows_count;

/* Before the options are read: values for what none of them says. */
void settings_init(struct common_settings *settings);

/* And after that: what --listen changes in other settings. */
void settings_complete(struct common_settings *settings);

/*
 * Where --hostname was not given, the machine's name, or "localhost" where
 * that is no host name; where --domain was not, that name. settings must stay
 * where they are.
 */
void settings_set_names(struct common_settings *settings);

/* Do the settings go together? ERROR_CONFIG where not. */
int settings_check(struct common_settings *settings,
    struct error *error);

#endif
