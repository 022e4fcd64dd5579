/*
 * test_options.c - the option engine: command line, file, defaults, and
 * what is said of each mistake.
 */
#include "drive.h"

#include <getopt.h>

#include "settings/options.h"
#include "settings/settings.h"

/* ---- a program's table, with one row of each kind ---- */

struct sample {
	const char *config;
	const char *name;
	const char *checked;
	uint64_t number;
	uint64_t huge;
	bool flag;
	bool on;
	bool no_thing;
	int colour;
	struct option_list list;
	struct option_list empty_list;
};

static const char *const colours[] = { "red", "green", "blue", NULL };

static bool
begins_with_p(const char *value, char *why, size_t size)
{
	snprintf(why, size, "must begin with p");
	return value[0] == 'p';
}

#define AT(member) offsetof(struct sample, member)

static const struct option_spec shared_rows[] = {
	{ .name = "config", .type = OPTION_CONFIG, .offset = AT(config),
	    .value_name = "FILE", .help = "read settings from FILE" },
	{ .name = "name", .type = OPTION_STRING, .offset = AT(name),
	    .value_name = "NAME", .help = "a name" },
	{ .name = "help", .type = OPTION_HELP, .help = "print this" },
	{ .name = "version", .type = OPTION_VERSION, .help = "print that" },
};

static const struct option_spec rows[] = {
	{ .name = "checked", .type = OPTION_STRING, .offset = AT(checked),
	    .value_name = "PWORD", .fallback = "pear",
	    .check = begins_with_p, .help = "a word" },
	{ .name = "number", .type = OPTION_NUMBER, .offset = AT(number),
	    .value_name = "N", .fallback = "7", .min = 5, .max = 10,
	    .help = "a number" },
	{ .name = "huge", .type = OPTION_NUMBER, .offset = AT(huge),
	    .value_name = "N", .max = UINT64_MAX, .help = "any number" },
	{ .name = "flag", .type = OPTION_SWITCH, .offset = AT(flag),
	    .help = "a switch that is off" },
	{ .name = "on", .type = OPTION_SWITCH, .offset = AT(on),
	    .fallback = "yes", .help = "a switch that is on" },
	{ .name = "no-thing", .type = OPTION_SWITCH, .offset = AT(no_thing),
	    .help = "a switch whose name says no" },
	{ .name = "colour", .type = OPTION_CHOICE, .offset = AT(colour),
	    .value_name = "COLOUR", .fallback = "green",
	    .choices = colours, .help = "which it is, in words that are so "
	    "many that they take more than one line of this, which is what "
	    "they are for" },
	{ .name = "list", .type = OPTION_LIST, .offset = AT(list),
	    .value_name = "ITEM", .fallback = "first", .help = "a list" },
	{ .name = "empty-list", .type = OPTION_LIST,
	    .offset = AT(empty_list), .value_name = "ITEM",
	    .help = "another one" },
};

static struct option_table table;
static struct sample sample;
static struct error error;
static char *file_text;
static struct directory directory;

static int
set_up(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	table = (struct option_table){
		.program = "sample", .summary = "Shows how.",
	};
	options_add(&table, shared_rows, COUNT(shared_rows));
	options_add(&table, rows, COUNT(rows));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	free(file_text);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

#define WORDS_MAX 24

/* Parses the words, which end with NULL. */
static int
parse(const char *const *words)
{
	static char program[] = "sample";
	static char copies[WORDS_MAX][200];
	char *argv[WORDS_MAX + 2] = { program };
	int argc = 1;

	/* A program parses once; getopt remembers. */
	optind = 0;
	getopt_long(1, argv, "", &(struct option){ .name = NULL }, NULL);
	for (; words[argc - 1] != NULL; argc++) {
		assert_true(argc <= WORDS_MAX);
		snprintf(copies[argc - 1], sizeof(copies[0]), "%s",
		    words[argc - 1]);
		argv[argc] = copies[argc - 1];
	}
	free(file_text);
	memset(&sample, 0, sizeof(sample));
	memset(&error, 0, sizeof(error));
	return options_parse(&table, argc, argv, &sample, &file_text,
	    &error);
}

/* The same with a configuration file of that text. */
static int
parse_with_file(struct slice text, const char *const *words)
{
	const char *all[WORDS_MAX + 3] = { "--config", "conf" };
	size_t n = 2;

	directory_put(&directory, "conf", text);
	while (words != NULL && *words != NULL)
		all[n++] = *words++;
	return parse(all);
}

#define WORDS(...) ((const char *const []){ __VA_ARGS__, NULL })
#define NO_WORDS ((const char *const []){ NULL })

/* ---- good ones ---- */

static void
test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(NO_WORDS), OPTIONS_OK);
	assert_null(sample.config);
	assert_null(sample.name);
	assert_text(sample.checked, "pear");
	assert_int_equal(sample.number, 7);
	assert_int_equal(sample.huge, 0);
	assert_false(sample.flag);
	assert_true(sample.on);
	assert_false(sample.no_thing);
	assert_int_equal(sample.colour, 1);
	assert_int_equal(sample.list.count, 1);
	assert_text(sample.list.items[0], "first");
	assert_int_equal(sample.empty_list.count, 0);
	assert_null(file_text);
}

static void
test_command_line(void **state)
{
	(void)state;
	assert_int_equal(parse(WORDS("--name", "x y", "--checked=plum",
	    "--number", "5", "--huge=18446744073709551615", "--flag",
	    "--no-on", "--no-thing", "--colour", "blue", "--list", "a",
	    "--list=b", "--empty-list", "c")), OPTIONS_OK);
	assert_text(sample.name, "x y");
	assert_text(sample.checked, "plum");
	assert_int_equal(sample.number, 5);
	assert_int_equal(sample.huge, UINT64_MAX);
	assert_true(sample.flag);
	assert_false(sample.on);
	assert_true(sample.no_thing);
	assert_int_equal(sample.colour, 2);
	assert_int_equal(sample.list.count, 2);
	assert_text(sample.list.items[0], "a");
	assert_text(sample.list.items[1], "b");
	assert_int_equal(sample.empty_list.count, 1);
	assert_text(sample.empty_list.items[0], "c");

	/* The last one counts. */
	assert_int_equal(parse(WORDS("--flag", "--no-flag", "--no-on",
	    "--on", "--number=6", "--number=10", "--name=a", "--name=b")),
	    OPTIONS_OK);
	assert_false(sample.flag);
	assert_true(sample.on);
	assert_int_equal(sample.number, 10);
	assert_text(sample.name, "b");

	/* A value may look like an option; "--" ends them. */
	assert_int_equal(parse(WORDS("--name", "--flag", "--")),
	    OPTIONS_OK);
	assert_text(sample.name, "--flag");
	assert_false(sample.flag);
}

static void
test_help_and_version(void **state)
{
	(void)state;
	assert_int_equal(parse(WORDS("--help")), OPTIONS_HELP);
	assert_int_equal(parse(WORDS("--version")), OPTIONS_VERSION);
	assert_int_equal(parse(WORDS("--flag", "--help", "--nonsense")),
	    OPTIONS_HELP);
	/* Not for a file that cannot be read. */
	assert_int_equal(parse(WORDS("--config", "nowhere", "--help")),
	    OPTIONS_HELP);
}

static void
test_file(void **state)
{
	static const struct slice text = SLICE(
	    "# a comment\n"
	    "\n"
	    "name = x y z \n"
	    "  \t number=\t8\t\n"
	    "flag = yes\n"
	    "on= no\r\n"
	    "no-thing =yes\n"
	    "colour = blue\n"
	    "list = a = b#c\n"
	    "list = d\n"
	    "   # another = comment\n"
	    "   \t\n"
	    "checked = p=\tq\303\204");

	(void)state;
	assert_int_equal(parse_with_file(text, NULL), OPTIONS_OK);
	assert_text(sample.config, "conf");
	assert_text(sample.name, "x y z");
	assert_int_equal(sample.number, 8);
	assert_true(sample.flag);
	assert_false(sample.on);
	assert_true(sample.no_thing);
	assert_int_equal(sample.colour, 2);
	assert_int_equal(sample.list.count, 2);
	/* A # is a comment only at the start of a line. */
	assert_text(sample.list.items[0], "a = b#c");
	assert_text(sample.list.items[1], "d");
	assert_text(sample.checked, "p=\tq\303\204");
	assert_int_equal(sample.empty_list.count, 0);

	assert_int_equal(parse_with_file(SLICE(""), NULL), OPTIONS_OK);
	assert_int_equal(sample.number, 7);
	/* The last line of a kind counts here too. */
	assert_int_equal(parse_with_file(SLICE("number=5\nnumber=6\n"),
	    NULL), OPTIONS_OK);
	assert_int_equal(sample.number, 6);
}

/* Command line beats file beats default, wherever --config stands; a list
 * is replaced, not added to. */
static void
test_precedence(void **state)
{
	static const struct slice text = SLICE("name=file\nnumber=8\n"
	    "flag=yes\non=no\ncolour=blue\nlist=f1\nlist=f2\n"
	    "empty-list=f3\n");

	(void)state;
	assert_int_equal(parse_with_file(text, NULL), OPTIONS_OK);
	assert_int_equal(sample.list.count, 2);
	assert_text(sample.list.items[0], "f1");
	assert_text(sample.list.items[1], "f2");
	assert_int_equal(sample.empty_list.count, 1);

	assert_int_equal(parse_with_file(text, WORDS("--name=line",
	    "--no-flag", "--on", "--list=c1", "--colour", "red")),
	    OPTIONS_OK);
	assert_text(sample.name, "line");
	assert_int_equal(sample.number, 8);
	assert_false(sample.flag);
	assert_true(sample.on);
	assert_int_equal(sample.colour, 0);
	assert_int_equal(sample.list.count, 1);
	assert_text(sample.list.items[0], "c1");
	assert_int_equal(sample.empty_list.count, 1);

	assert_int_equal(parse(WORDS("--list=c1", "--number=9", "--config",
	    "conf", "--list=c2")), OPTIONS_OK);
	assert_int_equal(sample.number, 9);
	assert_int_equal(sample.list.count, 2);
	assert_text(sample.list.items[0], "c1");
	assert_text(sample.list.items[1], "c2");
}

/* ---- mistakes ---- */

static void
check_error(int outcome, enum error_kind kind, const char *text)
{
	assert_int_equal(outcome, -1);
	assert_string_equal(error.text, text);
	assert_int_equal(error.kind, kind);
}

static void
test_command_line_errors(void **state)
{
	static const struct { const char *words[3]; const char *text; }
	rows_of_errors[] = {
		{ { "--number", "4" },
		    "--number must be a number from 5 to 10, not '4'" },
		{ { "--number", "11" },
		    "--number must be a number from 5 to 10, not '11'" },
		{ { "--number", "7x" },
		    "--number must be a number from 5 to 10, not '7x'" },
		{ { "--number=-7" },
		    "--number must be a number from 5 to 10, not '-7'" },
		{ { "--number=" }, "--number must be a number from 5 to 10" },
		{ { "--huge", "18446744073709551616" },
		    "--huge must be a number from 0 to 18446744073709551615, "
		    "not '18446744073709551616'" },
		{ { "--colour", "pink" }, "--colour must be one of: red, "
		    "green, blue, not 'pink'" },
		{ { "--colour", "Red" }, "--colour must be one of: red, "
		    "green, blue, not 'Red'" },
		{ { "--colour=" },
		    "--colour must be one of: red, green, blue" },
		{ { "--name=" }, "--name must not be empty" },
		{ { "--list", "" }, "--list must not be empty" },
		{ { "--config", "" }, "--config must not be empty" },
		{ { "--checked", "apple" },
		    "--checked must begin with p, not 'apple'" },
		{ { "--name" },
		    "--name needs a value; --help lists the options" },
		{ { "--flag", "--name" },
		    "--name needs a value; --help lists the options" },
		{ { "--nonsense" }, "unknown option or unwanted value: "
		    "--nonsense; --help lists the options" },
		{ { "--nonsense=1", "--flag" }, "unknown option or unwanted "
		    "value: --nonsense=1; --help lists the options" },
		{ { "--flag=yes" }, "unknown option or unwanted value: "
		    "--flag=yes; --help lists the options" },
		{ { "--no-flag=1" }, "unknown option or unwanted value: "
		    "--no-flag=1; --help lists the options" },
		{ { "--help=1" }, "unknown option or unwanted value: "
		    "--help=1; --help lists the options" },
		/* Only switches have a no, and not those that say it. */
		{ { "--no-name" }, "unknown option or unwanted value: "
		    "--no-name; --help lists the options" },
		{ { "--no-no-thing" }, "unknown option or unwanted value: "
		    "--no-no-thing; --help lists the options" },
		{ { "-x" }, "unknown option or unwanted value: -x; --help "
		    "lists the options" },
		{ { "-xyz" }, "unknown option or unwanted value: -xyz; "
		    "--help lists the options" },
		{ { "--flag", "-xyz" }, "unknown option or unwanted value: "
		    "-xyz; --help lists the options" },
		{ { "word" },
		    "unexpected argument: word; --help lists the options" },
		{ { "--flag", "--", "--flag" },
		    "unexpected argument: --flag; --help lists the options" },
		{ { "-" },
		    "unexpected argument: -; --help lists the options" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows_of_errors); i++) {
		const char *words[4] = { NULL };

		memcpy(words, rows_of_errors[i].words,
		    sizeof(rows_of_errors[i].words));
		check_error(parse(words), ERROR_USAGE,
		    rows_of_errors[i].text);
	}
}

/* Values are shown, but not without end. */
static void
test_long_values(void **state)
{
	struct text value = { .data = NULL };
	struct text want = { .data = NULL };

	(void)state;
	text_repeat(&value, '9', 100);
	text_format(&want, "--number must be a number from 5 to 10, not "
	    "'%.60s'", value.data);
	check_error(parse(WORDS("--number", value.data)), ERROR_USAGE,
	    want.data);
	text_free(&value);
	text_free(&want);
}

static void
test_list_too_long(void **state)
{
	const char *words[OPTION_LIST_MAX + 2] = { NULL };

	(void)state;
	for (size_t i = 0; i < OPTION_LIST_MAX; i++)
		words[i] = "--list=x";
	assert_int_equal(parse(words), OPTIONS_OK);
	assert_int_equal(sample.list.count, OPTION_LIST_MAX);
	words[OPTION_LIST_MAX] = "--list=y";
	check_error(parse(words), ERROR_USAGE, "--list is there too often, "
	    "at most 16 times, not 'y'");
}

static void
test_file_errors(void **state)
{
	static const struct { struct slice text; const char *why; }
	rows_of_errors[] = {
		{ SLICE("number = 4\n"), "conf:1: number must be a number "
		    "from 5 to 10, not '4'" },
		{ SLICE("# x\n\nflag = yes\nnumber = no\n"), "conf:4: number "
		    "must be a number from 5 to 10, not 'no'" },
		{ SLICE("flag = on\n"),
		    "conf:1: flag must be yes or no, not 'on'" },
		{ SLICE("flag = Yes\n"),
		    "conf:1: flag must be yes or no, not 'Yes'" },
		{ SLICE("flag =\n"), "conf:1: flag must be yes or no" },
		{ SLICE("name =\n"), "conf:1: name must not be empty" },
		{ SLICE("checked = x"),
		    "conf:1: checked must begin with p, not 'x'" },
		{ SLICE("flag\n"),
		    "conf:1: 'flag': a line is name = value" },
		{ SLICE("\n  flag yes \n"),
		    "conf:2: 'flag yes ': a line is name = value" },
		{ SLICE("--flag = yes\n"), "conf:1: unknown option '--flag'; "
		    "sample --help lists them" },
		{ SLICE("Flag = yes\n"), "conf:1: unknown option 'Flag'; "
		    "sample --help lists them" },
		{ SLICE("no-flag = yes\n"), "conf:1: unknown option "
		    "'no-flag'; sample --help lists them" },
		{ SLICE("fla = yes\n"), "conf:1: unknown option 'fla'; "
		    "sample --help lists them" },
		{ SLICE("[section]\n"),
		    "conf:1: '[section]': a line is name = value" },
		{ SLICE("= 1\n"), "conf:1: unknown option ''; sample --help "
		    "lists them" },
		{ SLICE("config = conf\n"), "conf:1: a configuration file "
		    "cannot name another" },
		{ SLICE("help = yes\n"), "conf:1: help is for the command "
		    "line only, not 'yes'" },
		{ SLICE("flag = yes\nflag = yes\0\n"),
		    "conf:2: a NUL octet, which no text has: nothing of "
		    "the file counts until it is mended" },
		{ SLICE("name = a\r\t\n"), "conf:1: name: octet 0d is a "
		    "control character, which no value may have" },
		{ SLICE("on = no\nname = a\rnumber = 8\r"), "conf:2: name: "
		    "octet 0d is a control character, which no value may "
		    "have" },
		{ SLICE("list = a\x7F" "b\n"), "conf:1: list: octet 7f is a "
		    "control character, which no value may have" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows_of_errors); i++)
		check_error(parse_with_file(rows_of_errors[i].text, NULL),
		    ERROR_CONFIG, rows_of_errors[i].why);
	/* Lines of both kinds of end are counted. */
	check_error(parse_with_file(SLICE("\r\n\n\r\nx\r\n"), NULL),
	    ERROR_CONFIG, "conf:4: 'x': a line is name = value");
}

static void
test_unreadable_file(void **state)
{
	(void)state;
	check_error(parse(WORDS("--config", "nowhere")), ERROR_CONFIG,
	    "nowhere: No such file or directory");
	check_error(parse(WORDS("--config", ".")), ERROR_CONFIG,
	    ".: not a regular file");
	/* A FIFO nobody writes to is not waited for. */
	assert_int_equal(mkfifoat(directory.fd, "fifo", 0600), 0);
	check_error(parse(WORDS("--config", "fifo")), ERROR_CONFIG,
	    "fifo: not a regular file");
}

static void
test_file_size(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	text_add(&text, SLICE("flag = yes\n#"));
	text_repeat(&text, 'x', OPTIONS_FILE_MAX - text.len);
	assert_int_equal(parse_with_file(text_slice(&text), NULL),
	    OPTIONS_OK);
	assert_true(sample.flag);
	text_repeat(&text, 'x', 1);
	check_error(parse_with_file(text_slice(&text), NULL), ERROR_CONFIG,
	    "conf: larger than 65536 bytes");
	text_free(&text);
}

/* The configuration file itself is looked for there too. */
static void
test_config_in_credentials(void **state)
{
	(void)state;
	directory_mkdir(&directory, "credentials");
	directory_put(&directory, "credentials/conf2", SLICE("number=9\n"));
	setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
	assert_int_equal(parse(WORDS("--config", "conf2")), OPTIONS_OK);
	assert_int_equal(sample.number, 9);
	directory_put(&directory, "credentials/conf2", SLICE("number=x\n"));
	check_error(parse(WORDS("--config", "conf2")), ERROR_CONFIG,
	    "credentials/conf2:1: number must be a number from 5 to 10, not "
	    "'x'");
	unsetenv("CREDENTIALS_DIRECTORY");
}

/* ---- --help ---- */

static void
test_print_help(void **state)
{
	static const char want[] =
	    "Usage: sample [OPTION]...\n"
	    "Shows how.\n"
	    "\n"
	    "  --config FILE           read settings from FILE\n"
	    "  --name NAME             a name\n"
	    "  --help                  print this\n"
	    "  --version               print that\n"
	    "  --checked PWORD         a word (pear)\n"
	    "  --number N              a number (7)\n"
	    "  --huge N                any number\n"
	    "  --flag                  a switch that is off\n"
	    "  --on                    a switch that is on\n"
	    "  --no-thing              a switch whose name says no\n"
	    "  --colour COLOUR         which it is, in words that are so many "
	    "that they take\n"
	    "                          more than one line of this, which is "
	    "what they are\n"
	    "                          for (green)\n"
	    "  --list ITEM             a list (first)\n"
	    "  --empty-list ITEM       another one\n"
	    "\n"
	    "A file given by --config has lines 'name = value' with the same "
	    "names.\n"
	    "See sample(8).\n";
	char got[4096];

	(void)state;
	fflush(stdout);
	int saved = dup(STDOUT_FILENO);
	int fd = open("help", O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, STDOUT_FILENO);
	options_print_help(&table);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	ssize_t n = pread(fd, got, sizeof(got), 0);
	close(fd);
	assert_true(n >= 0);
	assert_slices(((struct slice){ got, (size_t)n }), slice_from(want));
}

/* ---- the rows that both programs have ---- */

/* Every default is one that its own row allows. */
static void
test_shared_settings(void **state)
{
	struct option_table shared = { .program = "p" };
	struct common_settings settings = { .config = NULL };
	char program[] = "p";
	char *argv[] = { program, NULL };
	char *text;

	(void)state;
	options_add(&shared, settings_rows, settings_rows_count);
	optind = 0;
	if (options_parse(&shared, 1, argv, &settings, &text, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(settings.tls, TLS_MODE_IMPLICIT);
	assert_int_equal(settings.tls_cert.count, 1);
	assert_text(settings.tls_cert.items[0], "tls.crt");
	assert_int_equal(settings.tls_key.count, 1);
	assert_text(settings.tls_key.items[0], "tls.key");
	assert_text(settings.tls_protocols, "secure");
	assert_null(settings.hostname);
	assert_null(settings.auth);
	assert_null(settings.maildir);
	assert_false(settings.transcript);
	assert_false(settings.check_config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_help_and_version),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_command_line_errors),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_list_too_long),
		cmocka_unit_test(test_file_errors),
		cmocka_unit_test(test_unreadable_file),
		cmocka_unit_test(test_file_size),
		cmocka_unit_test(test_config_in_credentials),
		cmocka_unit_test(test_print_help),
		cmocka_unit_test(test_shared_settings),
	};

	return cmocka_run_group_tests_name("options", tests, set_up,
	    tear_down);
}
