/*
 * options: one table of options drives the command line, the configuration
 * file, the defaults and --help.
 *
 * A program has a settings structure and a table of rows that say where in
 * it each option goes. The command line beats the file, the file beats the
 * default; a list given on the command line replaces the file's.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Rows in one table, and entries in one list. */
#define OPTIONS_MAX 64
#define OPTION_LIST_MAX 16
/* A configuration file's size. */
#define OPTIONS_FILE_MAX 65536

enum option_type {
	OPTION_STRING,  /* const char * */
	OPTION_NUMBER,  /* uint64_t, from min to max */
	OPTION_SWITCH,  /* bool */
	OPTION_CHOICE,  /* int: the index in choices */
	OPTION_LIST,    /* struct option_list: may be repeated */
	OPTION_CONFIG,  /* const char *: the configuration file itself */
	OPTION_HELP,    /* options_parse returns OPTIONS_HELP */
	OPTION_VERSION, /* options_parse returns OPTIONS_VERSION */
};

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct option_spec {
	const char *name; /* without -- */
	enum option_type type;
	size_t offset;    /* in the settings */
	const char *value_name; /* in --help, NULL for switches */
	const char *fallback; /* the default, or NULL for none */
	const char *help;
	uint64_t min; /* numbers */
	uint64_t max;
	const char *const *choices; /* NULL-terminated */
	/* Strings and lists: says in *why what is wrong with a value, as in
	 * "must be ...", or returns true. */
	bool (*check)(const char *value, char *why, size_t size);
};

/* A program's table: the shared rows and its own. */
struct option_table {
	const char *program;
	const char *summary; /* one line for --help */
	const struct option_spec *specs[OPTIONS_MAX];
	size_t count;
};

void options_add(struct option_table *table, const struct option_spec *specs,
    size_t n);

enum options_outcome {
	OPTIONS_OK = 0,
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

/*
 * Fills settings from defaults, the configuration file and the command
 * line. Values point into argv, the table, or *file_text, which is what was
 * read from the file: free it after the settings' last use. Errors:
 * ERROR_USAGE for the command line, ERROR_CONFIG for the file; the text
 * names file, line and option, and what is allowed.
 */
int options_parse(const struct option_table *table, int argc, char **argv,
    void *settings, char **file_text, struct error *error);

/* What --help prints, to standard output. */
void options_print_help(const struct option_table *table);

#endif
