/*
 * pop3_settings.c - pop3-handler's rows of the option table.
 */
#include "pop3_settings.h"

#include "protocol/hidden.h"
#include "pop3/pop3.h"

static const char *const scans[] = { "all", "inbox", NULL };

static bool
check_hide(const char *list, char *why, size_t size)
{
	return hidden_check(list, pop3_hideable, pop3_hideable_count, why,
	    size);
}

static const struct option_spec rows[] = {
	{ .name = "hide", .type = OPTION_STRING,
	    .offset = offsetof(struct pop3_settings, common.hide),
	    .value_name = "LIST", .check = check_hide,
	    .help = "do not offer these extensions, for testing clients" },
	{ .name = "timeout", .type = OPTION_NUMBER,
	    .offset = offsetof(struct pop3_settings, common.timeout),
	    .value_name = "SECONDS", .fallback = "600",
	    .min = 1, .max = 86400,
	    .help = "limit for a command and for waiting" },
	{ .name = "scan", .type = OPTION_CHOICE,
	    .offset = offsetof(struct pop3_settings, scan),
	    .value_name = "WHAT", .fallback = "all", .choices = scans,
	    .help = "all: the maildir and its folders; inbox: its own new "
	    "and cur" },
	{ .name = "allow-delete", .type = OPTION_SWITCH,
	    .offset = offsetof(struct pop3_settings, allow_delete),
	    .help = "clients may delete messages" },
	{ .name = "cache-dir", .type = OPTION_STRING,
	    .offset = offsetof(struct pop3_settings, cache_dir),
	    .value_name = "DIR",
	    .help = "remember messages there; default is $CACHE_DIRECTORY" },
};

void
pop3_settings_table(struct option_table *table)
{
	*table = (struct option_table){
		.program = "pop3-handler",
		.summary = "Serves one POP3 connection on standard input and "
		    "output from a maildir.",
	};
	options_add(table, settings_rows, settings_rows_count);
	options_add(table, rows, sizeof(rows) / sizeof(rows[0]));
}
