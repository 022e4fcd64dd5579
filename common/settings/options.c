/*
 * options.c - the option engine: one table, read in four ways.
 */
#include "settings/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/slice.h"
#include "system/file.h"

/* Where a value came from; a higher source is never overruled. */
enum source { FROM_NOWHERE, FROM_DEFAULT, FROM_FILE, FROM_COMMAND_LINE };

struct parse {
	const struct option_table *table;
	char *settings;
	enum source sources[OPTIONS_MAX];
	struct error *error;
};

/* For getopt_long: an option's row, and rows of the --no- forms above. */
#define VALUE_BASE 256
#define NEGATED_BASE (VALUE_BASE + OPTIONS_MAX)

void
options_add(struct option_table *table, const struct option_spec *specs,
    size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert(table->count < OPTIONS_MAX);
		table->specs[table->count++] = &specs[i];
	}
}

static void
list_choices(const struct option_spec *spec, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; spec->choices[i] != NULL; i++) {
		snprintf(text + len, size - len, "%s%s", i > 0 ? ", " : "",
		    spec->choices[i]);
		len = strlen(text);
	}
}

/* Says what is wrong with a value, in *why, or stores it. */
static bool
store_value(const struct option_spec *spec, char *at, const char *value,
    char *why, size_t why_size)
{
	switch (spec->type) {
	case OPTION_STRING:
	case OPTION_CONFIG:
		if (value[0] == '\0') {
			snprintf(why, why_size, "must not be empty");
			return false;
		}
		if (spec->check != NULL && !spec->check(value, why, why_size))
			return false;
		*(const char **)(void *)at = value;
		return true;
	case OPTION_NUMBER:
		if (slice_to_number(slice_from(value), spec->max,
		    (uint64_t *)(void *)at) &&
		    *(uint64_t *)(void *)at >= spec->min)
			return true;
		snprintf(why, why_size, "must be a number from %ju to %ju",
		    (uintmax_t)spec->min, (uintmax_t)spec->max);
		return false;
	case OPTION_SWITCH:
		if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) {
			*(bool *)(void *)at = value[0] == 'y';
			return true;
		}
		snprintf(why, why_size, "must be yes or no");
		return false;
	case OPTION_CHOICE:
		for (int i = 0; spec->choices[i] != NULL; i++)
			if (strcmp(value, spec->choices[i]) == 0) {
				*(int *)(void *)at = i;
				return true;
			}
		snprintf(why, why_size, "must be one of: ");
		list_choices(spec, why + strlen(why), why_size - strlen(why));
		return false;
	case OPTION_LIST: {
		struct option_list *list = (void *)at;
		if (value[0] == '\0' || list->count == OPTION_LIST_MAX) {
			snprintf(why, why_size, value[0] == '\0'
			    ? "must not be empty"
			    : "is there too often, at most %d times",
			    OPTION_LIST_MAX);
			return false;
		}
		if (spec->check != NULL && !spec->check(value, why, why_size))
			return false;
		list->items[list->count++] = value;
		return true;
	}
	case OPTION_HELP:
	case OPTION_VERSION:
		break;
	}
	snprintf(why, why_size, "is for the command line only");
	return false;
}

/*
 * One setting from one source. where is "" or "FILE:LINE: ", dashes what
 * the user wrote before the name.
 */
static int
set(struct parse *parse, size_t row, const char *value, enum source source,
    const char *where, const char *dashes)
{
	const struct option_spec *spec = parse->table->specs[row];
	char *at = parse->settings + spec->offset;
	char why[160];

	if (parse->sources[row] > source)
		return 0;
	if (parse->sources[row] < source && spec->type == OPTION_LIST)
		*(struct option_list *)(void *)at = (struct option_list){
			.count = 0 };
	parse->sources[row] = source;
	if (store_value(spec, at, value, why, sizeof(why)))
		return 0;
	return error_set(parse->error, source == FROM_COMMAND_LINE
	    ? ERROR_USAGE : ERROR_CONFIG, "%s%s%s %s%s%.60s%s", where, dashes,
	    spec->name, why, value[0] != '\0' ? ", not '" : "", value,
	    value[0] != '\0' ? "'" : "");
}

static int
set_defaults(struct parse *parse)
{
	for (size_t row = 0; row < parse->table->count; row++) {
		const char *value = parse->table->specs[row]->fallback;

		if (value != NULL &&
		    set(parse, row, value, FROM_DEFAULT, "default of ", "") < 0)
			return -1;
	}
	return 0;
}

static bool
may_be_negated(const struct option_spec *spec)
{
	return spec->type == OPTION_SWITCH &&
	    strncmp(spec->name, "no-", 3) != 0;
}

static bool
takes_value(const struct option_spec *spec)
{
	return spec->type != OPTION_SWITCH && spec->type != OPTION_HELP &&
	    spec->type != OPTION_VERSION;
}

/* "--NAME" or "--NAME=value" */
static bool
is_whole_name(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, "--", 2) == 0 &&
	    strncmp(word + 2, name, len) == 0 &&
	    (word[2 + len] == '\0' || word[2 + len] == '=');
}

static int
parse_command_line(struct parse *parse, int argc, char **argv)
{
	static const char hint[] = "; --help lists the options";
	struct option longs[2 * OPTIONS_MAX + 1] = { { .name = NULL } };
	char negated[OPTIONS_MAX][40];
	size_t n = 0;
	int found, at;

	for (size_t row = 0; row < parse->table->count; row++) {
		const struct option_spec *spec = parse->table->specs[row];

		longs[n++] = (struct option){ spec->name,
			takes_value(spec) ? required_argument : no_argument,
			NULL, VALUE_BASE + (int)row };
		if (!may_be_negated(spec))
			continue;
		snprintf(negated[row], sizeof(negated[row]), "no-%s",
		    spec->name);
		longs[n++] = (struct option){ negated[row], no_argument,
			NULL, NEGATED_BASE + (int)row };
	}
	optind = 1;
	opterr = 0;
	/* "+" stops at the first word that is no option, so argv is not
	 * reordered, and the word of this option is at the optind of before. */
	while (at = optind,
	    (found = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		const char *word = argv[at];

		if (found == '?')
			return error_set(parse->error, ERROR_USAGE,
			    "unknown option or unwanted value: %.80s%s", word,
			    hint);
		if (found == ':')
			return error_set(parse->error, ERROR_USAGE,
			    "%.80s needs a value%s", word, hint);
		bool no = found >= NEGATED_BASE;
		size_t row = (size_t)(found - (no ? NEGATED_BASE : VALUE_BASE));
		const struct option_spec *spec = parse->table->specs[row];
		/* getopt_long takes abbreviations, the file does not; and
		 * --no-auth is not to mean --no-auth-required. */
		if (!is_whole_name(word, no ? negated[row] : spec->name))
			return error_set(parse->error, ERROR_USAGE,
			    "unknown option: %.80s%s", word, hint);
		if (spec->type == OPTION_HELP)
			return OPTIONS_HELP;
		if (spec->type == OPTION_VERSION)
			return OPTIONS_VERSION;
		const char *value = takes_value(spec) ? optarg
		    : no ? "no" : "yes";
		if (set(parse, row, value, FROM_COMMAND_LINE, "", "--") < 0)
			return -1;
	}
	if (optind < argc)
		return error_set(parse->error, ERROR_USAGE,
		    "unexpected argument: %.80s%s", argv[optind], hint);
	return OPTIONS_OK;
}

static int
find_row(const struct option_table *table, struct slice name)
{
	for (size_t row = 0; row < table->count; row++)
		if (slice_equal(slice_from(table->specs[row]->name), name))
			return (int)row;
	return -1;
}

/* "value  # note": to take it whole would deliver to "anna  # note". Within
 * quotes, in a command, it is no comment. */
static bool
has_comment(struct slice value)
{
	for (size_t i = 1; i < value.len; i++) {
		char before = value.data[i - 1];

		if (before == '"' || before == '\'')
			return false;
		if (value.data[i] == '#' && (before == ' ' || before == '\t'))
			return true;
	}
	return false;
}

/* The first control character that is no tab, or 0: no value has one, but a
 * line that ends in CR CR LF does, and a file whose lines end in CR alone. */
static unsigned char
find_control(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		struct slice octet = { value.data + i, 1 };

		if (value.data[i] != '\t' && slice_has_control(octet))
			return (unsigned char)value.data[i];
	}
	return 0;
}

/* One line of the file: "name = value". The value becomes a string within
 * the file's text: its end is overwritten. */
static int
parse_file_line(struct parse *parse, char *line, const char *where)
{
	struct slice text = slice_trim(slice_from(line));
	struct slice name, value;

	if (text.len == 0 || text.data[0] == '#')
		return 0;
	if (!slice_cut(text, '=', &name, &value))
		return error_set(parse->error, ERROR_CONFIG,
		    "%s'%.60s': a line is name = value", where, text.data);
	name = slice_trim(name);
	value = slice_trim(value);
	int row = find_row(parse->table, name);
	if (row < 0)
		return error_set(parse->error, ERROR_CONFIG,
		    "%sunknown option '%.*s'; %s --help lists them", where,
		    name.len > 60 ? 60 : (int)name.len, name.data,
		    parse->table->program);
	if (parse->table->specs[row]->type == OPTION_CONFIG)
		return error_set(parse->error, ERROR_CONFIG,
		    "%sa configuration file cannot name another", where);
	if (has_comment(value))
		return error_set(parse->error, ERROR_CONFIG, "%s%s: a comment "
		    "stands on a line of its own", where,
		    parse->table->specs[row]->name);
	unsigned char control = find_control(value);
	if (control != 0)
		return error_set(parse->error, ERROR_CONFIG, "%s%s: octet %02x "
		    "is a control character, which no value may have", where,
		    parse->table->specs[row]->name, control);
	char *end = line + (value.data - line) + value.len;
	*end = '\0';
	return set(parse, (size_t)row, value.data, FROM_FILE, where, "");
}

static int
parse_file(struct parse *parse, const char *path, char *text)
{
	struct lines lines = { .next = text };
	char where[200];
	char *line;

	while ((line = lines_next(&lines)) != NULL) {
		snprintf(where, sizeof(where), "%.160s:%u: ", path,
		    lines.number);
		if (parse_file_line(parse, line, where) < 0)
			return -1;
	}
	return 0;
}

static const char *
config_file(const struct parse *parse)
{
	for (size_t row = 0; row < parse->table->count; row++) {
		const struct option_spec *spec = parse->table->specs[row];
		if (spec->type == OPTION_CONFIG)
			return *(const char **)(void *)(parse->settings +
			    spec->offset);
	}
	return NULL;
}

int
options_parse(const struct option_table *table, int argc, char **argv,
    void *settings, char **file_text, struct error *error)
{
	struct parse parse = {
		.table = table, .settings = settings, .error = error,
	};
	char buffer[4096];
	size_t len;

	*file_text = NULL;
	if (set_defaults(&parse) < 0)
		return -1;
	int outcome = parse_command_line(&parse, argc, argv);
	if (outcome != OPTIONS_OK)
		return outcome;
	const char *path = config_file(&parse);
	if (path == NULL)
		return OPTIONS_OK;
	path = file_path(path, buffer, sizeof(buffer), error);
	if (path == NULL || file_read(path, OPTIONS_FILE_MAX, false,
	    file_text, &len, error) < 0)
		return -1;
	return parse_file(&parse, path, *file_text);
}

/* One option's entry; the text is folded at about 79 columns. */
static void
print_option(const struct option_spec *spec)
{
	const int indent = 26;
	char text[512];
	int column = printf("  --%s%s%s", spec->name,
	    spec->value_name != NULL ? " " : "",
	    spec->value_name != NULL ? spec->value_name : "");

	snprintf(text, sizeof(text), "%s%s%s%s", spec->help,
	    spec->fallback != NULL && takes_value(spec) ? " (" : "",
	    spec->fallback != NULL && takes_value(spec) ? spec->fallback : "",
	    spec->fallback != NULL && takes_value(spec) ? ")" : "");
	if (column > indent - 2) {
		printf("\n");
		column = 0;
	}
	column += printf("%*s", indent - column, "");
	struct slice rest = slice_from(text), word;
	bool first = true;
	while (rest.len > 0) {
		slice_cut(rest, ' ', &word, &rest);
		if (!first && column + 1 + (int)word.len > 79) {
			column = printf("\n%*s", indent, "") - 1;
			first = true;
		}
		column += printf("%s%.*s", first ? "" : " ", SLICE_ARG(word));
		first = false;
	}
	printf("\n");
}

void
options_print_help(const struct option_table *table)
{
	printf("Usage: %s [OPTION]...\n%s\n\n", table->program,
	    table->summary);
	for (size_t row = 0; row < table->count; row++)
		print_option(table->specs[row]);
	printf("\nA file given by --config has lines 'name = value' with the "
	    "same names.\nSee %s(8).\n", table->program);
}
