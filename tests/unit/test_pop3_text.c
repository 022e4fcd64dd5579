/* The texts of pop3: complete, well-formed, and the same for programs. */
#include "drive.h"

#include "pop3/pop3_text.h"

static void
test_every_text_in_every_language(void **state)
{
	(void)state;
	for (int i = 0; i <= POP3_TEXT_READY; i++) {
		const char *status = pop3_text_status((enum pop3_text)i);

		assert_non_null(status);
		assert_true(status[0] == '\0' || strcmp(status, "+OK") == 0 ||
		    strncmp(status, "-ERR", 4) == 0);
		for (int k = 0; k < POP3_LANGUAGES; k++) {
			struct slice text = slice_from(pop3_text(
			    (enum pop3_text)i, (enum pop3_language)k));
			assert_true(text.len > 0 && text.len < 100);
			assert_true(slice_is_utf8(text));
			assert_false(slice_has_control(text));
			/* A response code is not for a translator. */
			assert_true(text.data[0] != '[');
			if (k == POP3_ENGLISH)
				assert_true(slice_is_ascii(text));
		}
	}
}

static void
assert_found(const char *range, const char *tag)
{
	const struct pop3_language_row *row =
	    pop3_find_language(slice_from(range));

	if (tag == NULL) {
		assert_null(row);
		return;
	}
	assert_non_null(row);
	assert_string_equal(row->tag, tag);
}

static void
test_language_ranges(void **state)
{
	(void)state;
	assert_found("*", "i-default");
	assert_found("en", "en");
	assert_found("EN-gb", "en");
	assert_found("de-Latn-CH-1996", "de");
	assert_found("i-default", "i-default");
	assert_found("", NULL);
	assert_found("-", NULL);
	assert_found("--", NULL);
	assert_found("e", NULL);
	assert_found("fr", NULL);
	assert_found("deutsch", NULL);
	assert_found("de-1", "de");
	assert_found("de-0", "de");
	assert_found("de-9z", "de");
	assert_found("de-12345678", "de");
	/* No ranges at all (RFC 4647 section 2.1). */
	assert_found("de-123456789", NULL);
	assert_found("de-", NULL);
	assert_found("-de", NULL);
	assert_found("de--AT", NULL);
	assert_found("de-AT foo bar", NULL);
	assert_found("de-\x01", NULL);
	assert_found("de-A\x01", NULL);
	assert_found("de-\xC3\xA4", NULL);
	assert_found("de-*", NULL);
	assert_found("*-de", NULL);
	assert_found("d3-AT", NULL);
	assert_found("\"de\"", NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_text_in_every_language),
		cmocka_unit_test(test_language_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
