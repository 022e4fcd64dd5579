/*
 * test_error.c - what went wrong, and what everybody is told about it.
 */
#include "drive.h"

#include <syslog.h>

#include "base/error.h"

static void
test_meanings(void **state)
{
	static const struct {
		enum error_kind kind;
		unsigned smtp_code;
		const char *smtp_enhanced;
		const char *pop3_code;
		int exit_status;
		int log_priority;
	} rows[] = {
		{ ERROR_NONE, 250, "2.0.0", "", 0, LOG_DEBUG },
		{ ERROR_USAGE, 451, "4.3.5", "[SYS/TEMP]", 64, LOG_ERR },
		{ ERROR_CONFIG, 451, "4.3.5", "[SYS/PERM]", 78, LOG_ERR },
		{ ERROR_SYSTEM, 451, "4.3.0", "[SYS/TEMP]", 75, LOG_ERR },
		{ ERROR_FULL, 452, "4.3.1", "[SYS/TEMP]", 75, LOG_ERR },
		{ ERROR_MISSING, 451, "4.3.0", "[SYS/PERM]", 75, LOG_ERR },
		{ ERROR_BUSY, 451, "4.3.0", "[IN-USE]", 75, LOG_NOTICE },
		{ ERROR_PEER, 421, "4.4.2", "", 0, LOG_INFO },
		{ ERROR_TIMEOUT, 421, "4.4.2", "", 0, LOG_INFO },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct error_meaning *meaning =
		    error_meaning(rows[i].kind);

		assert_int_equal(meaning->smtp_code, rows[i].smtp_code);
		assert_string_equal(meaning->smtp_enhanced,
		    rows[i].smtp_enhanced);
		assert_string_equal(meaning->pop3_code, rows[i].pop3_code);
		assert_int_equal(meaning->exit_status, rows[i].exit_status);
		assert_int_equal(meaning->log_priority,
		    rows[i].log_priority);
		/* It becomes the text of a reply: there is one, of one
		 * line. */
		assert_true(strlen(meaning->smtp_text) > 0);
		assert_false(slice_has_control(slice_from(
		    meaning->smtp_text)));
	}
}

static void
test_set(void **state)
{
	struct error error = { .errnum = 5 };

	(void)state;
	assert_int_equal(error_set(&error, ERROR_CONFIG, "%s:%d: no", "f",
	    7), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_int_equal(error.errnum, 0);
	assert_text(error.text, "f:7: no");
}

/* The text is cut where it must be, and ends in NUL. */
static void
test_long(void **state)
{
	const size_t most = sizeof(((struct error *)NULL)->text) - 1;
	struct text text = { .data = NULL };
	struct error error;

	(void)state;
	assert_true(most >= 255);
	for (size_t len = most - 2; len < most + 300; len++) {
		size_t kept = len < most ? len : most;

		text.len = 0;
		text_repeat(&text, 'x', len);
		memset(&error, '?', sizeof(error));
		assert_int_equal(error_set(&error, ERROR_PEER, "%s",
		    text.data), -1);
		assert_int_equal(strlen(error.text), kept);

		/* With no room left for the system's words. */
		memset(&error, '?', sizeof(error));
		assert_int_equal(error_system(&error, EIO, "%s", text.data),
		    -1);
		assert_int_equal(strlen(error.text), most);
		assert_int_equal(error.errnum, EIO);
		assert_memory_equal(error.text, text.data, kept);
	}
	text_free(&text);
}

static void
test_system(void **state)
{
	static const struct {
		int errnum;
		enum error_kind kind;
		const char *text;
	} rows[] = {
		{ ENOSPC, ERROR_FULL, "x y: No space left on device" },
		{ EDQUOT, ERROR_FULL, "x y: Disk quota exceeded" },
		{ EFBIG, ERROR_FULL, "x y: File too large" },
		{ ENOENT, ERROR_MISSING, "x y: No such file or directory" },
		{ ENOTDIR, ERROR_MISSING, "x y: Not a directory" },
		{ EIO, ERROR_SYSTEM, "x y: Input/output error" },
		{ EMFILE, ERROR_SYSTEM, "x y: Too many open files" },
		{ EACCES, ERROR_SYSTEM, "x y: Permission denied" },
		{ ENOMEM, ERROR_SYSTEM, "x y: Cannot allocate memory" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct error error;

		assert_int_equal(error_system(&error, rows[i].errnum, "x %s",
		    "y"), -1);
		assert_int_equal(error.kind, rows[i].kind);
		assert_int_equal(error.errnum, rows[i].errnum);
		assert_string_equal(error.text, rows[i].text);
	}
}

static void
test_tail(void **state)
{
	static const char path[] = "/var/mail/joe";

	(void)state;
	assert_string_equal(error_tail(path, 3), "joe");
	assert_string_equal(error_tail(path, 1), "e");
	assert_string_equal(error_tail(path, 0), "");
	assert_string_equal(error_tail(path, strlen(path) - 1), path + 1);
	assert_ptr_equal(error_tail(path, strlen(path)), path);
	assert_ptr_equal(error_tail(path, 1000), path);
	assert_string_equal(error_tail("", 3), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meanings),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_tail),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
