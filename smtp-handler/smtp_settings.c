/*
 * smtp_settings.c - smtp-handler's rows of the option table.
 */
#include "smtp_settings.h"

#include <stdio.h>
#include <string.h>
#include "protocol/hidden.h"
#include "smtp/smtp.h"

/* In the order of enum dot_bare_lf. */
static const char *const bare_lf_modes[] = {
	"reject", "normalize", "accept", NULL
};

static bool
check_delimiter(const char *value, char *why, size_t size)
{
	snprintf(why, size, "must be some of + - = _ . # ~ ! and no letter, "
	    "as in +");
	return value[0] != '\0' &&
	    value[strspn(value, "+-=_.#~!")] == '\0';
}

static const char *const milter_defaults[] = { "tempfail", "accept", NULL };

#define AT(member) offsetof(struct smtp_settings, member)

static bool
check_hide(const char *list, char *why, size_t size)
{
	return hidden_check(list, smtp_hideable, smtp_hideable_count, why,
	    size);
}

static const struct option_spec rows[] = {
	{ .name = "hide", .type = OPTION_STRING, .offset = AT(common.hide),
	    .value_name = "LIST", .check = check_hide,
	    .help = "do not offer these extensions, for testing clients" },
	{ .name = "timeout", .type = OPTION_NUMBER,
	    .offset = AT(common.timeout), .value_name = "SECONDS",
	    .fallback = "300", .min = 1, .max = 86400,
	    .help = "limit for a command and for waiting" },
	{ .name = "max-size", .type = OPTION_NUMBER, .offset = AT(max_size),
	    .value_name = "BYTES", .fallback = "35882577",
	    .min = 1024, .max = INT64_MAX,
	    .help = "largest message" },
	{ .name = "max-recipients", .type = OPTION_NUMBER,
	    .offset = AT(max_recipients), .value_name = "N",
	    .fallback = "1000", .min = 1, .max = 1000000,
	    .help = "recipients of one message" },
	{ .name = "create-maildirs", .type = OPTION_SWITCH,
	    .offset = AT(create_maildirs),
	    .help = "make the maildirs of recipients who have none" },
	{ .name = "relay", .type = OPTION_STRING, .offset = AT(relay),
	    .value_name = "FILE",
	    .help = "accounts of next hops to send mail on to" },
	{ .name = "aliases", .type = OPTION_STRING, .offset = AT(aliases),
	    .value_name = "FILE",
	    .help = "other names for users, and addresses elsewhere" },
	{ .name = "recipient-delimiter", .type = OPTION_STRING,
	    .offset = AT(recipient_delimiter), .value_name = "CHARS",
	    .check = check_delimiter,
	    .help = "what stands behind one of these is no part of a user's "
	    "name" },
	{ .name = "any-sender", .type = OPTION_SWITCH,
	    .offset = AT(any_sender),
	    .help = "a login may send as any address at our domains" },
	{ .name = "no-auth-required", .type = OPTION_SWITCH,
	    .offset = AT(no_auth_required),
	    .help = "take mail without login; it is never relayed" },
	{ .name = "bare-lf", .type = OPTION_CHOICE, .offset = AT(bare_lf),
	    .value_name = "HOW", .fallback = "reject",
	    .choices = bare_lf_modes,
	    .help = "lines that end in LF alone: reject, normalize or "
	    "accept" },
	{ .name = "on-recipient", .type = OPTION_LIST,
	    .offset = AT(on_recipient), .value_name = "COMMAND",
	    .help = "ask a program about each recipient; may be repeated" },
	{ .name = "on-message", .type = OPTION_LIST,
	    .offset = AT(on_message), .value_name = "COMMAND",
	    .help = "show each message to a program before it is kept or sent "
	    "on; may be repeated" },
	{ .name = "hook-timeout", .type = OPTION_NUMBER,
	    .offset = AT(hook_timeout), .value_name = "SECONDS",
	    .fallback = "60", .min = 1, .max = 3600,
	    .help = "limit for a program of --on-recipient or --on-message" },
	{ .name = "milter", .type = OPTION_LIST, .offset = AT(milter),
	    .value_name = "ADDRESS",
	    .help = "a filter to ask, unix:/PATH or inet:PORT@HOST; may be "
	    "repeated" },
	{ .name = "milter-default", .type = OPTION_CHOICE,
	    .offset = AT(milter_default), .value_name = "HOW",
	    .fallback = "tempfail", .choices = milter_defaults,
	    .help = "mail whose filter cannot be asked: tempfail or accept" },
	{ .name = "lmtp", .type = OPTION_SWITCH, .offset = AT(lmtp),
	    .help = "speak LMTP: one reply for each recipient" },
};

void
smtp_settings_table(struct option_table *table)
{
	*table = (struct option_table){
		.program = "smtp-handler",
		.summary = "Serves one SMTP connection on standard input and "
		    "output: keeps mail in a maildir, relays it, or both.",
	};
	options_add(table, settings_rows, settings_rows_count);
	options_add(table, rows, sizeof(rows) / sizeof(rows[0]));
}
