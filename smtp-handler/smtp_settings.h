/*
 * smtp_settings: the options of smtp-handler.
 */
#ifndef SMTP_SETTINGS_H
#define SMTP_SETTINGS_H

#include "settings/settings.h"

struct smtp_settings {
	struct common_settings common; /* first */
	uint64_t max_size;       /* octets */
	uint64_t max_recipients;
	bool create_maildirs;    /* for recipients who have none */
	const char *relay;       /* accounts file, NULL: no relay */
	struct option_list on_recipient; /* commands */
	struct option_list on_message;
	uint64_t hook_timeout;   /* seconds */
	struct option_list milter; /* addresses of filters */
	int milter_default;      /* 0: tempfail, 1: accept */
	const char *aliases;     /* file, NULL: none */
	const char *recipient_delimiter; /* characters, NULL: none */
	bool any_sender;         /* a login need not own its sender */
	bool lmtp;
	bool no_auth_required;
	int bare_lf;             /* enum dot_bare_lf */
};

/* All rows, the shared ones too. */
void smtp_settings_table(struct option_table *table);

#endif
