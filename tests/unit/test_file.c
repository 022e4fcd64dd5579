/*
 * test_file.c - where a file is, what is read, and what is refused.
 */
#include "drive.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/file.h"

static struct directory directory;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

static void
check_error(int outcome, const char *text)
{
	assert_int_equal(outcome, -1);
	assert_string_equal(error.text, text);
	assert_int_equal(error.kind, ERROR_CONFIG);
}

static void
test_path(void **state)
{
	char path[16];

	(void)state;
	assert_text(file_path("file", path, sizeof(path), &error),
	    "file");
	setenv("CREDENTIALS_DIRECTORY", "", 1);
	assert_text(file_path("file", path, sizeof(path), &error),
	    "file");
	setenv("CREDENTIALS_DIRECTORY", "/run/c", 1);
	assert_text(file_path("/etc/file", path, sizeof(path), &error),
	    "/etc/file");
	assert_text(file_path("file", path, sizeof(path), &error),
	    "/run/c/file");
	/* To the octet: "/run/c/" and 8 more and NUL. */
	assert_text(file_path("12345678", path, sizeof(path), &error),
	    "/run/c/12345678");
	assert_null(file_path("123456789", path, sizeof(path), &error));
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_text(error.text, "123456789: name too long");
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void
test_read(void **state)
{
	char *text = NULL;
	size_t len = 0;

	(void)state;
	directory_put(&directory, "secret", SLICE("12345"));
	assert_int_equal(file_read("secret", 5, true, &text, &len,
	    &error), 0);
	assert_int_equal(len, 5);
	assert_text(text, "12345");
	free(text);
	check_error(file_read("secret", 4, true, &text, &len,
	    &error), "secret: larger than 4 bytes");
	/* Group may read it, others may not. */
	assert_int_equal(chmod("secret", 0640), 0);
	assert_int_equal(file_read("secret", 5, true, &text, &len,
	    &error), 0);
	free(text);
	assert_int_equal(chmod("secret", 0604), 0);
	check_error(file_read("secret", 5, true, &text, &len,
	    &error),
	    "secret: anyone may read it; chmod o-r it");
	assert_int_equal(file_read("secret", 5, false, &text, &len,
	    &error), 0);
	free(text);
	/* An empty file is a text of no octets. */
	directory_put(&directory, "secret", SLICE(""));
	assert_int_equal(file_read("secret", 5, false, &text, &len,
	    &error), 0);
	assert_int_equal(len, 0);
	assert_text(text, "");
	free(text);
}

static void
test_parent(void **state)
{
	static const struct { const char *path; size_t len; } rows[] = {
		{ "/a/b", 2 }, { "/a/b/", 2 }, { "/a/b//", 2 },
		{ "/b", 1 }, { "//b", 1 }, { "b", 0 }, { "b/", 0 },
		{ "a/b", 1 }, { "a//b//", 1 }, { "../a/b/c", 6 },
		{ "/", 0 }, { "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(file_parent_len(rows[i].path,
		    strlen(rows[i].path)), rows[i].len);
	/* Of a part of a path. */
	assert_int_equal(file_parent_len("/a/b/c", strlen("/a/b")), 2);
}

/* Among credentials: what the unit lacks is said. */
static void
test_no_credential(void **state)
{
	struct text path = { .data = NULL }, want = { .data = NULL };
	char *text;
	size_t len;

	(void)state;
	text_format(&path, "%s/joe.pw", directory.path);
	text_format(&want, "%s: No such file or directory: the unit has no "
	    "LoadCredential=joe.pw:FILE", path.data);
	setenv("CREDENTIALS_DIRECTORY", directory.path, 1);
	check_error(file_read(path.data, 10, false, &text, &len, &error),
	    want.data);
	check_error(file_read("joe.pw", 10, false, &text, &len, &error),
	    "joe.pw: No such file or directory");
	unsetenv("CREDENTIALS_DIRECTORY");
	path.len = want.len = 0;
	text_format(&path, "%s/joe.pw", directory.path);
	text_format(&want, "%s: No such file or directory", path.data);
	check_error(file_read(path.data, 10, false, &text, &len, &error),
	    want.data);
	text_free(&path);
	text_free(&want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_credential),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_parent),
	};

	return cmocka_run_group_tests_name("file", tests, set_up,
	    tear_down);
}
