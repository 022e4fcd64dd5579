/*
 * test_maildir_folder.c - directories of a maildrop: which are opened, and
 * when one is as it was.
 */
#include "drive.h"

#include <dlfcn.h>
#include <limits.h>
#include <time.h>

#include "maildir/maildir_folder.h"

static struct directory directory;
static unsigned descriptors;

/* ---- whose directories are ---- */

/* Each in turn, as fstat(2) says; and then the program's own. */
static struct {
	uid_t owners[4];
	size_t n;
	size_t failing; /* the one that says nothing, counted from 1; 0: none */
	size_t calls;
} said;

int
fstat(int fd, struct stat *st)
{
	int (*real)(int, struct stat *);

	*(void **)&real = dlsym(RTLD_NEXT, "fstat");
	int result = real(fd, st);
	if (said.calls < said.n)
		st->st_uid = said.owners[said.calls];
	if (++said.calls != said.failing)
		return result;
	/* What is there is not to be used. */
	st->st_uid = 0;
	errno = ESTALE;
	return -1;
}

static int
set_up(void **state)
{
	(void)state;
	memset(&said, 0, sizeof(said));
	directory_make(&directory);
	directory_mkdir(&directory, "a");
	directory_mkdir(&directory, "a/b");
	directory_mkdir(&directory, "a/b/cur");
	descriptors = descriptors_open();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(descriptors_open(), descriptors);
	directory_remove(&directory);
	return 0;
}

/* 0, or why it is not opened. */
static int
errno_of(const char *path)
{
	said.calls = 0;
	errno = 0;
	int fd = maildir_folder_open(directory.fd, slice_from(path));
	int errnum = errno;

	if (fd >= 0) {
		assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fd);
		return 0;
	}
	assert_int_not_equal(errnum, 0);
	return errnum;
}

/* Whoever owns a directory may have a directory of root's or of ours in it,
 * and nobody else's; root may have anybody's. */
static void
test_owners(void **state)
{
	static const struct { uid_t owners[4]; int errnum; } rows[] = {
		{ { 5000, 5000, 5000, 5000 }, 0 },
		{ { 0, 5000, 5000, 5000 }, 0 },
		{ { 5000, 0, 5001, 5001 }, 0 },
		{ { 5000, 0, 0, 0 }, 0 },
		{ { 5000, 5001, 5001, 5001 }, EPERM },
		{ { 5000, 5000, 5001, 5001 }, EPERM },
		{ { 5000, 5000, 5000, 5001 }, EPERM },
		{ { 0, 5000, 5001, 5000 }, EPERM },
		{ { 1, 5000, 5000, 5000 }, EPERM },
	};

	(void)state;
	said.n = 4;
	for (size_t i = 0; i < COUNT(rows); i++) {
		memcpy(said.owners, rows[i].owners, sizeof(said.owners));
		int errnum = errno_of("a/b/cur");
		if (errnum != rows[i].errnum)
			fail_msg("row %zu: %s", i, strerror(errnum));
		assert_int_equal(descriptors_open(), descriptors);
	}
}

/* Nobody's that cannot be told is opened. */
static void
test_unknown_owner(void **state)
{
	(void)state;
	for (said.failing = 1; said.failing <= 4; said.failing++) {
		assert_int_equal(errno_of("a/b/cur"), ESTALE);
		assert_int_equal(said.calls, said.failing);
		assert_int_equal(descriptors_open(), descriptors);
	}
	assert_int_equal(errno_of("a/b/cur"), 0);
}

/* ---- which one it is ---- */

static void
test_paths(void **state)
{
	static const struct { const char *path; int errnum; } rows[] = {
		{ "", 0 }, { "a", 0 }, { "a/b", 0 }, { "a/b/cur", 0 },
		{ "x", ENOENT }, { "a/x", ENOENT }, { "x/b/cur", ENOENT },
		{ "link", ENOTDIR }, { "link/cur", ENOTDIR },
		{ "file", ENOTDIR }, { "a/file/cur", ENOTDIR },
	};
	char longest[NAME_MAX + 1];
	struct stat want, got;

	(void)state;
	assert_int_equal(symlinkat("a/b", directory.fd, "link"), 0);
	directory_put(&directory, "file", SLICE(""));
	directory_put(&directory, "a/file", SLICE(""));
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *path = rows[i].path;

		if (errno_of(path) != rows[i].errnum)
			fail_msg("%s: %s", path, strerror(errno_of(path)));
		if (rows[i].errnum != 0)
			continue;
		int fd = maildir_folder_open(directory.fd, slice_from(path));
		assert_int_equal(fstat(fd, &got), 0);
		close(fd);
		assert_int_equal(fstatat(directory.fd, path[0] == '\0' ? "."
		    : path, &want, 0), 0);
		assert_true(got.st_ino == want.st_ino);
	}
	memset(longest, 'n', NAME_MAX);
	longest[NAME_MAX] = '\0';
	directory_mkdir(&directory, longest);
	assert_int_equal(errno_of(longest), 0);
	int fd = maildir_folder_open(-1, SLICE("a"));
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EBADF);
}

static void
test_gone(void **state)
{
	static const struct { int errnum; bool gone; } rows[] = {
		{ ENOENT, true }, { ENOTDIR, true }, { ELOOP, true },
		{ ESTALE, true }, { 0, false }, { EACCES, false },
		{ EPERM, false }, { EIO, false }, { EMFILE, false },
		{ ENAMETOOLONG, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_folder_is_gone(rows[i].errnum) != rows[i].gone)
			fail_msg("%s", strerror(rows[i].errnum));
}

/* ---- as it was ---- */

static void
test_clock(void **state)
{
	(void)state;
	int64_t before = (int64_t)time(NULL) * 1000000000;
	int64_t now = maildir_folder_clock();
	assert_true(now >= before);
	assert_true(now <= before + INT64_C(3600) * 1000000000);
}

/* It is trusted where both times are older than what may change unseen. */
static void
test_trusted(void **state)
{
	const int64_t now = INT64_C(1000) * 1000000000;
	static const struct {
		int64_t mtime_age, ctime_age;
		bool shared, trusted;
	} rows[] = {
		{ MAILDIR_TRUST_AGE + 1, MAILDIR_TRUST_AGE + 1, false, true },
		{ MAILDIR_TRUST_AGE + 1, MAILDIR_TRUST_AGE + 1, true, false },
		{ MAILDIR_TRUST_AGE, MAILDIR_TRUST_AGE + 1, false, false },
		{ MAILDIR_TRUST_AGE + 1, MAILDIR_TRUST_AGE, false, false },
		{ 0, INT64_C(99000000000), false, false },
		{ INT64_C(99000000000), 0, false, false },
		/* Of a clock that goes ahead of ours. */
		{ -MAILDIR_TRUST_AGE, INT64_C(99000000000), false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct maildir_folder folder = { .trusted = 1 };
		const int64_t mtime = now - rows[i].mtime_age;
		const int64_t ctime = now - rows[i].ctime_age;
		const struct stat st = {
			.st_dev = 1, .st_ino = 2, .st_uid = 3,
			.st_mtim = { mtime / 1000000000, mtime % 1000000000 },
			.st_ctim = { ctime / 1000000000, ctime % 1000000000 },
		};

		maildir_folder_describe(&folder, &st, now, rows[i].shared);
		if (folder.trusted != rows[i].trusted)
			fail_msg("row %zu", i);
		assert_int_equal(folder.device, 1);
		assert_int_equal(folder.inode, 2);
		assert_int_equal(folder.owner, 3);
		assert_true(folder.mtime == mtime && folder.ctime == ctime);
	}
}

/* Any one thing that is another makes it another, and nothing that is the same
 * makes up for it. */
static void
test_unchanged(void **state)
{
	const struct stat was = {
		.st_mode = S_IFDIR | 0700, .st_dev = 1, .st_ino = 2,
		.st_uid = 3, .st_mtim = { 4, 5 }, .st_ctim = { 6, 7 },
	};
	struct maildir_folder folder = { .path = 0 };
	struct stat rows[8];

	(void)state;
	maildir_folder_describe(&folder, &was, INT64_MAX, false);
	assert_true(maildir_folder_is_unchanged(&folder, &was));
	for (size_t i = 0; i < COUNT(rows); i++)
		rows[i] = was;
	rows[0].st_mode = S_IFREG | 0700;
	rows[1].st_dev = 8;
	rows[2].st_ino = 8;
	rows[3].st_uid = 8;
	rows[4].st_mtim.tv_sec = 8;
	rows[5].st_mtim.tv_nsec = 8;
	rows[6].st_ctim.tv_sec = 8;
	rows[7].st_ctim.tv_nsec = 8;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_folder_is_unchanged(&folder, &rows[i]))
			fail_msg("row %zu", i);
	/* Other rights alone are no other names in it. */
	struct stat st = was;
	st.st_mode = S_IFDIR;
	assert_true(maildir_folder_is_unchanged(&folder, &st));
	folder.trusted = 0;
	assert_false(maildir_folder_is_unchanged(&folder, &was));
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_owners),
		TEST(test_unknown_owner),
		TEST(test_paths),
		TEST(test_gone),
		TEST(test_clock),
		TEST(test_trusted),
		TEST(test_unchanged),
	};

	return cmocka_run_group_tests_name("maildir_folder", tests, NULL,
	    NULL);
}
