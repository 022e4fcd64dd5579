/*
 * test_command.c - splitting a command's words, and finding its program.
 */
#include "drive.h"

#include "system/command.h"

static struct error error;

/* ---- words ---- */

static void
test_words(void **state)
{
	static const struct {
		const char *text;
		const char *words[5];
	} rows[] = {
		{ "true", { "true" } },
		{ "a b c", { "a", "b", "c" } },
		{ "  a \t b  ", { "a", "b" } },
		{ "a 'b c' d", { "a", "b c", "d" } },
		{ "a \"b c\" d", { "a", "b c", "d" } },
		{ "a''b \"\"c", { "ab", "c" } },
		{ "'' a \"\"", { "", "a", "" } },
		{ "a'b'\"c\"d", { "abcd" } },
		{ "a\\ b c\\\\d", { "a b", "c\\d" } },
		{ "\\'a\\\" b", { "'a\"", "b" } },
		/* In single quotes a backslash is one. */
		{ "'a\\b' '\\'", { "a\\b", "\\" } },
		/* In double quotes only before what it could protect. */
		{ "\"a\\\"b\" \"\\\\\" \"\\n\" \"\\$x\\`\"",
		    { "a\"b", "\\", "\\n", "$x`" } },
		{ "'a\"b' \"c'd\"", { "a\"b", "c'd" } },
		/* Nothing is expanded. */
		{ "$HOME * ~ `x`", { "$HOME", "*", "~", "`x`" } },
		{ "a;b|c>d #e", { "a;b|c>d", "#e" } },
		{ "a\nb", { "a\nb" } },
		{ "a\\", { "a\\" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct command_line line;
		size_t n = 0;

		if (command_line_parse(&line, rows[i].text, "--x",
		    &error) != 0)
			fail_msg("%s: %s", rows[i].text, error.text);
		for (; n < 5 && rows[i].words[n] != NULL; n++) {
			assert_non_null(line.words[n]);
			assert_string_equal(line.words[n],
			    rows[i].words[n]);
		}
		assert_null(line.words[n]);
		command_line_free(&line);
		command_line_free(&line);
	}
}

static void
test_bad_words(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "", "--x: no command" },
		{ " \t ", "--x: no command" },
		{ "a 'b", "--x: a quote without its end" },
		{ "a \"b", "--x: a quote without its end" },
		{ "a \"b\\\"", "--x: a quote without its end" },
		{ "'", "--x: a quote without its end" },
	};
	struct command_line line;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(command_line_parse(&line, rows[i].text,
		    "--x", &error), -1);
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(error.kind, ERROR_CONFIG);
	}
	for (size_t n = COMMAND_WORDS_MAX - 1; n <= COMMAND_WORDS_MAX + 1;
	    n++) {
		struct text text = { .data = NULL };
		bool fits = n <= COMMAND_WORDS_MAX;

		for (size_t i = 0; i < n; i++)
			text_add(&text, SLICE("a "));
		assert_int_equal(command_line_parse(&line, text.data, "--x",
		    &error), fits ? 0 : -1);
		if (fits) {
			assert_non_null(line.words[n - 1]);
			assert_null(line.words[n]);
			command_line_free(&line);
		} else {
			assert_text(error.text, "--x: more than 64 words");
		}
		text_free(&text);
	}
}

/* Any text at all, for the sanitizers: the words never outgrow it. */
static void
test_random_words(void **state)
{
	static const char alphabet[] = "ab '\"\\\t";
	uint64_t seed = 9;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char text[24];
		struct command_line line;
		size_t len = chance(&seed, sizeof(text));

		for (size_t k = 0; k < len; k++)
			text[k] = alphabet[chance(&seed,
			    sizeof(alphabet) - 1)];
		text[len] = '\0';
		if (command_line_parse(&line, text, "--x", &error) == 0) {
			size_t octets = 0;

			for (size_t k = 0; line.words[k] != NULL; k++)
				octets += strlen(line.words[k]);
			assert_true(octets <= len);
		}
		command_line_free(&line);
	}
}

static void
check_program(const char *text, const char *why)
{
	struct command_line line;

	assert_int_equal(command_line_parse(&line, text, "--x", &error), 0);
	int checked = command_line_check(&line, "--x", &error);
	command_line_free(&line);
	assert_int_equal(checked, why == NULL ? 0 : -1);
	if (why == NULL)
		return;
	assert_string_equal(error.text, why);
	assert_int_equal(error.kind, ERROR_CONFIG);
}

static void
test_check(void **state)
{
	struct directory directory;

	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	directory_put(&directory, "plain", SLICE("#!/bin/sh\n"));
	directory_mkdir(&directory, "folder");
	setenv("PATH", "/nonexistent:/bin:/usr/bin", 1);
	check_program("sh -c x", NULL);
	check_program("/bin/sh", NULL);
	check_program("no-such-program-here x",
	    "--x: no-such-program-here: not found in PATH");
	check_program("/no/such/program",
	    "--x: /no/such/program: No such file or directory");
	check_program("./folder", "--x: ./folder: Permission denied");
	check_program("./plain", "--x: ./plain: Permission denied");
	/* A directory in PATH is no program either. */
	setenv("PATH", directory.path, 1);
	check_program("folder", "--x: folder: not found in PATH");
	check_program("plain", "--x: plain: not found in PATH");
	assert_int_equal(chmod("plain", 0755), 0);
	check_program("plain", NULL);
	check_program("./plain", NULL);
	setenv("PATH", "/bin:/usr/bin", 1);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_random_words),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
