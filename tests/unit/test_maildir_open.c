/*
 * test_maildir_open.c - which maildrops are opened, by whom, and where the
 * cache may be.
 */
#include "maildrop.h"

#include <limits.h>

#define LOCK_FILE ".pop3-handler.lock"

static const struct maildir_options plain = { .timeout = 0 };
static const struct maildir_options locked = { .lock = true };

static int
open_at(const char *path, const struct maildir_options *options)
{
	error = (struct error){ .errnum = 0 };
	return maildir_open(&maildir, path, options, &error);
}

static void
assert_opened(const char *path, const struct maildir_options *options)
{
	if (open_at(path, options) != 0)
		fail_msg("%s", error.text);
	maildir_close(&maildir);
}

/* ---- locks ---- */

static void
test_one_session(void **state)
{
	struct maildir first;

	(void)state;
	put("new/a", "1\n");
	assert_int_equal(maildir_open(&first, directory.path, &locked,
	    &error), 0);
	assert_int_equal(open_at(directory.path, &locked), -1);
	assert_int_equal(error.kind, ERROR_BUSY);
	assert_true(slice_ends_with(slice_from(error.text),
	    SLICE(": another session has it")));
	/* Who does not lock does not care. */
	assert_opened(directory.path, &plain);
	maildir_close(&first);
	assert_opened(directory.path, &locked);
	assert_int_equal(faccessat(directory.fd, LOCK_FILE, F_OK, 0), -1);
}

/* Where other machines may have it a file in it is locked, too. */
static void
test_shared(void **state)
{
	struct maildir first;

	(void)state;
	file_system_is_shared = true;
	put("new/a", "1\n");
	assert_int_equal(maildir_open(&first, directory.path, &locked,
	    &error), 0);
	assert_int_equal(first.index.n, 1);
	assert_int_equal(open_at(directory.path, &locked), -1);
	assert_int_equal(error.kind, ERROR_BUSY);
	int fd = openat(directory.fd, LOCK_FILE, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	maildir_close(&first);
	/* Another machine's. */
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(open_at(directory.path, &locked), -1);
	assert_int_equal(error.kind, ERROR_BUSY);
	close(fd);
	assert_opened(directory.path, &locked);
	assert_opened(directory.path, &plain);
}

static void
test_no_lock(void **state)
{
	static const struct { int errnum; unsigned tries; } rows[] = {
		{ EEXIST, 5 }, { ESTALE, 5 }, { EACCES, 1 }, { EROFS, 1 },
	};

	(void)state;
	calls.lock_errno = ENOLCK;
	assert_int_equal(open_at(directory.path, &locked), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	assert_int_equal(error.errnum, ENOLCK);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("maildrop ")));
	calls.lock_errno = 0;
	/* Two that make the file at once hinder each other for a moment. */
	file_system_is_shared = true;
	calls.closed = LOCK_FILE;
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.closed_errno = rows[i].errnum;
		calls.refused = 0;
		assert_int_equal(open_at(directory.path, &locked), -1);
		assert_int_equal(error.errnum, rows[i].errnum);
		assert_non_null(strstr(error.text, LOCK_FILE));
		assert_int_equal(calls.refused, rows[i].tries);
	}
}

/* ---- no maildrop ---- */

/* Which errors will not pass by themselves (RFC 3206 section 4). */
static void
test_closed(void **state)
{
	static const struct { int errnum; enum error_kind kind; } rows[] = {
		{ EACCES, ERROR_CONFIG }, { EPERM, ERROR_CONFIG },
		{ ELOOP, ERROR_CONFIG }, { ENAMETOOLONG, ERROR_CONFIG },
		{ EIO, ERROR_SYSTEM }, { ENFILE, ERROR_SYSTEM },
		{ ENOENT, ERROR_MISSING },
	};

	(void)state;
	directory_mkdir(&directory, "box");
	calls.closed = "box";
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.closed_errno = rows[i].errnum;
		assert_int_equal(open_at(directory_path(&directory, "box"),
		    &plain), -1);
		assert_int_equal(error.errnum, rows[i].errnum);
		assert_int_equal(error.kind, rows[i].kind);
	}
}

/* A maildrop that the first message will make is empty until then, if it is
 * made in a directory that is there. */
static void
test_may_be_missing(void **state)
{
	struct maildir_options options = { .may_be_missing = true };
	char path[PATH_MAX];
	struct text longer = { .data = NULL };
	char name[NAME_MAX + 2];

	(void)state;
	snprintf(path, sizeof(path), "%s/none/box", directory.path);
	options.fixed = strlen(directory.path);
	assert_opened(path, &options);
	options.fixed = strlen(directory.path) + strlen("/none");
	assert_int_equal(open_at(path, &options), -1);
	assert_int_equal(error.errnum, ENOENT);
	assert_non_null(strstr(error.text, "/none to make it in"));
	/* All of it is made. */
	options.fixed = 0;
	assert_opened("no/such/box", &options);
	assert_opened("/no/such/box", &options);
	options.fixed = 1;
	assert_opened("/no/such/box", &options);
	assert_int_equal(open_at("n/o", &options), -1);
	assert_int_equal(error.errnum, ENOENT);

	/* There can be nothing under a name that is too long. */
	memset(name, 'n', sizeof(name));
	name[NAME_MAX + 1] = '\0';
	assert_opened(name, &options);
	/* Nor can we look whether a longer path than that is there. */
	text_add(&longer, SLICE("/none"));
	for (int i = 0; i < PATH_MAX / 2; i++)
		text_add(&longer, SLICE("/n"));
	options.fixed = longer.len;
	assert_int_equal(open_at(longer.data, &options), -1);
	assert_int_equal(error.errnum, ENAMETOOLONG);
	options.fixed = PATH_MAX;
	assert_int_equal(open_at(longer.data, &options), -1);
	assert_int_equal(error.errnum, ENAMETOOLONG);
	options.fixed = PATH_MAX - 1;
	assert_int_equal(open_at(longer.data, &options), -1);
	assert_int_equal(error.errnum, ENOENT);
	text_free(&longer);
}

/* ---- the cache ---- */

/* In the maildrop it would be taken for mail. */
static void
test_cache_inside(void **state)
{
	const struct maildir_options options = { .cache_dir =
	    directory.path };
	char name[MAILDIR_CACHE_NAME_SIZE];

	(void)state;
	put("new/a", "1\n");
	assert_int_equal(open_at(directory.path, &options), 0);
	assert_true(maildir.cache_is_inside);
	assert_int_equal(maildir_save_cache(&maildir, &error), 0);
	maildir_close(&maildir);
	assert_int_equal(maildir_cache_name(directory.path, 0, name, &error),
	    0);
	assert_int_equal(faccessat(directory.fd, name, F_OK, 0), -1);
	/* Nor is there one where it cannot be: all is found as well. */
	const struct maildir_options nowhere = { .cache_dir = "/none/such" };
	assert_int_equal(open_at(directory.path, &nowhere), 0);
	assert_false(maildir.cache_is_inside);
	assert_int_equal(maildir_save_cache(&maildir, &error), 0);
	maildir_close(&maildir);
}

/* What is in it already is not written again. */
static void
test_saved_once(void **state)
{
	const struct maildir_options options = { .cache_dir = cache.path };
	struct stat first, second;

	(void)state;
	put("new/a", "1\n");
	calls.later = 10;
	assert_int_equal(open_at(directory.path, &options), 0);
	assert_int_equal(maildir_save_cache(&maildir, &error), 0);
	assert_int_equal(fstatat(cache.fd, maildir.cache_name, &first, 0), 0);
	assert_int_equal(maildir_save_cache(&maildir, &error), 0);
	assert_int_equal(fstatat(cache.fd, maildir.cache_name, &second, 0),
	    0);
	assert_true(first.st_ino == second.st_ino);
	maildir_close(&maildir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_session),
#ifdef __linux__
		TEST(test_shared),
		TEST(test_no_lock),
#endif
		TEST(test_closed),
		TEST(test_may_be_missing),
		TEST(test_cache_inside),
		TEST(test_saved_once),
	};

	return cmocka_run_group_tests_name("maildir_open", tests, NULL, NULL);
}
