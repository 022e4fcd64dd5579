/*
 * fuzz_config.c - the configuration file, against a second reader of it.
 *
 * The first octet says which options stand on the command line; the rest is
 * the file. A table with a row of every type; the values, and the line at
 * which a bad file is refused, must be the second reader's.
 */
#include "fuzz.h"

#include "settings/options.h"

struct settings {
	const char *config;
	const char *name;
	uint64_t number;
	bool flag;
	bool no_check;
	int choice;
	struct option_list list;
};

enum row { CONFIG, NAME, NUMBER, FLAG, NO_CHECK, CHOICE, LIST, HELP, VERSION,
	ROWS };

#define AT(member) offsetof(struct settings, member)
#define NUMBER_MIN 3
#define NUMBER_MAX 70000

static const char *const choices[] = { "implicit", "off", "x", NULL };

static bool
check_name(const char *value, char *why, size_t size)
{
	if (value[0] != '!')
		return true;
	snprintf(why, size, "must not begin so");
	return false;
}

static const struct option_spec specs[ROWS] = {
	[CONFIG] = { .name = "config", .type = OPTION_CONFIG,
	    .offset = AT(config) },
	[NAME] = { .name = "name", .type = OPTION_STRING, .offset = AT(name),
	    .fallback = "nobody", .check = check_name },
	[NUMBER] = { .name = "number", .type = OPTION_NUMBER,
	    .offset = AT(number), .fallback = "600", .min = NUMBER_MIN,
	    .max = NUMBER_MAX },
	[FLAG] = { .name = "flag", .type = OPTION_SWITCH,
	    .offset = AT(flag) },
	[NO_CHECK] = { .name = "no-check", .type = OPTION_SWITCH,
	    .offset = AT(no_check) },
	[CHOICE] = { .name = "choice", .type = OPTION_CHOICE,
	    .offset = AT(choice), .fallback = "off", .choices = choices },
	[LIST] = { .name = "list", .type = OPTION_LIST, .offset = AT(list),
	    .fallback = "first" },
	[HELP] = { .name = "help", .type = OPTION_HELP },
	[VERSION] = { .name = "version", .type = OPTION_VERSION },
};

/* What may stand on the command line. */
static const struct {
	const char *word;
	enum row row;
} words[] = {
	{ "--name=me", NAME },
	{ "--number=77", NUMBER },
	{ "--flag", FLAG },
	{ "--no-flag", FLAG },
	{ "--no-check", NO_CHECK },
	{ "--choice=x", CHOICE },
	{ "--list=a", LIST },
	{ "--list=b", LIST },
};

/* ---- the second reader ---- */

struct model {
	struct slice name;
	uint64_t number;
	bool flag;
	bool no_check;
	int choice;
	struct slice list[OPTION_LIST_MAX];
	size_t count;
	bool fixed[ROWS]; /* by the command line */
	bool list_from_file;
};

static struct slice
trim(struct slice s)
{
	while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
		s = slice_skip(s, 1);
	while (s.len > 0 && (s.data[s.len - 1] == ' ' ||
	    s.data[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static bool
model_number(struct model *model, struct slice value)
{
	uint64_t number = 0;

	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(value.data[i] - '0');
		if (number > NUMBER_MAX)
			return false;
	}
	model->number = number;
	return value.len > 0 && number >= NUMBER_MIN;
}

static bool
model_choice(struct model *model, struct slice value)
{
	for (int i = 0; choices[i] != NULL; i++)
		if (slice_equal(value, slice_from(choices[i]))) {
			model->choice = i;
			return true;
		}
	return false;
}

static bool
model_list(struct model *model, struct slice value)
{
	if (!model->list_from_file)
		model->count = 0; /* the file's list replaces the default */
	model->list_from_file = true;
	if (value.len == 0 || model->count == OPTION_LIST_MAX)
		return false;
	model->list[model->count++] = value;
	return true;
}

static bool
model_set(struct model *model, enum row row, struct slice value)
{
	bool yes = slice_equal(value, SLICE("yes"));

	switch (row) {
	case NAME:
		model->name = value;
		return value.len > 0 && value.data[0] != '!';
	case NUMBER:
		return model_number(model, value);
	case FLAG:
	case NO_CHECK:
		*(row == FLAG ? &model->flag : &model->no_check) = yes;
		return yes || slice_equal(value, SLICE("no"));
	case CHOICE:
		return model_choice(model, value);
	case LIST:
		return model_list(model, value);
	default:
		return false;
	}
}

/* A blank and "#" after it, before any quote. */
static bool
has_comment(struct slice value)
{
	char *text = fuzz_copy(value);
	size_t len = 0;

	while (len < value.len && text[len] != '"' && text[len] != '\'')
		len++;
	struct slice plain = { text, len };
	bool found = len > 0 && (memmem(text, len, " #", 2) != NULL ||
	    memmem(plain.data, len, "\t#", 2) != NULL);
	free(text);
	return found;
}

/* NUL is in no file that is read. */
static bool
has_control(struct slice value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] == 0x7F || (value.data[i] > 0 &&
		    value.data[i] < ' ' && value.data[i] != '\t'))
			return true;
	return false;
}

static bool
model_line(struct model *model, struct slice line)
{
	struct slice name, value;

	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	line = trim(line);
	if (line.len == 0 || line.data[0] == '#')
		return true;
	if (!slice_cut(line, '=', &name, &value))
		return false;
	name = trim(name);
	for (enum row row = 0; row < ROWS; row++)
		if (slice_equal(name, slice_from(specs[row].name)))
			return row != CONFIG && !has_comment(trim(value)) &&
			    !has_control(value) && (model->fixed[row] ||
			    model_set(model, row, trim(value)));
	return false;
}

/* 0, or the number of the first bad line. */
static unsigned
model_file(struct model *model, struct slice rest)
{
	unsigned number = 0;

	while (rest.len > 0) {
		struct slice line;

		number++;
		slice_cut(rest, '\n', &line, &rest);
		if (!model_line(model, line))
			return number;
	}
	return 0;
}

static void
model_command_line(struct model *model, unsigned flags)
{
	*model = (struct model){ .name = SLICE("nobody"), .number = 600,
		.choice = 1, .list = { SLICE("first") }, .count = 1 };
	for (size_t i = 0; i < COUNT(words); i++) {
		if ((flags & 1u << i) == 0)
			continue;
		if (words[i].row == LIST && !model->fixed[LIST])
			model->count = 0;
		model->fixed[words[i].row] = true;
		switch (words[i].row) {
		case NAME:
			model->name = SLICE("me");
			break;
		case NUMBER:
			model->number = 77;
			break;
		case FLAG:
			model->flag = words[i].word[2] == 'f';
			break;
		case NO_CHECK:
			model->no_check = true;
			break;
		case CHOICE:
			model->choice = 2;
			break;
		default:
			model->list[model->count++] =
			    slice_from(words[i].word + 7);
		}
	}
}

static void
compare(const struct settings *settings, const struct model *model)
{
	CHECK_SAME(slice_from(settings->name), model->name);
	CHECK(settings->number == model->number);
	CHECK(settings->flag == model->flag);
	CHECK(settings->no_check == model->no_check);
	CHECK(settings->choice == model->choice);
	CHECK(settings->list.count == model->count);
	for (size_t i = 0; i < model->count; i++)
		CHECK_SAME(slice_from(settings->list.items[i]),
		    model->list[i]);
}

static void
check_error(const struct error *error, const char *path, unsigned line)
{
	char where[64];

	CHECK(error->kind == ERROR_CONFIG);
	CHECK(memchr(error->text, '\0', sizeof(error->text)) != NULL);
	CHECK(strchr(error->text, '\n') == NULL);
	snprintf(where, sizeof(where), "%s:%u: ", path, line);
	CHECK(strncmp(error->text, where, strlen(where)) == 0);
	/* It says something, too. */
	CHECK(strlen(error->text) > strlen(where));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct slice input = fuzz_slice(data, size);
	unsigned flags = fuzz_octet(&input);
	struct option_table table = { .program = "fuzz" };
	struct settings settings = { .config = NULL };
	struct error error = { .kind = ERROR_NONE };
	struct model model;
	char *text = NULL;
	char option[64];
	char *argv[COUNT(words) + 3];
	int argc = 0;

	if (input.len > OPTIONS_FILE_MAX)
		return 0;
	fuzz_file_put(&file, input);
	snprintf(option, sizeof(option), "--config=%s", file.path);
	argv[argc++] = (char *)(uintptr_t)"fuzz";
	argv[argc++] = option;
	for (size_t i = 0; i < COUNT(words); i++)
		if ((flags & 1u << i) != 0)
			argv[argc++] = (char *)(uintptr_t)words[i].word;
	argv[argc] = NULL;
	options_add(&table, specs, ROWS);
	int outcome = options_parse(&table, argc, argv, &settings, &text,
	    &error);
	model_command_line(&model, flags);
	if (input.len > 0 && memchr(input.data, '\0', input.len) != NULL) {
		CHECK(outcome == -1 && error.kind == ERROR_CONFIG);
	} else {
		unsigned line = model_file(&model, input);
		CHECK(outcome == (line == 0 ? OPTIONS_OK : -1));
		if (line == 0)
			compare(&settings, &model);
		else
			check_error(&error, file.path, line);
	}
	free(text);
	return 0;
}
