/*
 * test_maildir_disk.c - a delivery and the disk: what is synced before a
 * message counts as kept, and what becomes of it where a system call fails.
 *
 * The calls below stand before the C library's own; they fail when they are
 * told to.
 */
#include "drive.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/random.h>
#include <time.h>

#include "file_system.h"
#include "maildir/maildir_deliver.h"

#define OK(call) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s", #call, error.text); \
	} while (0)

#define SYNCS_MAX 32

static struct directory directory;
static struct maildir_deliver deliver;
static struct error error;
static char box[100]; /* the maildir: directory/x/box */
static unsigned descriptors; /* that are open without any delivery */

/* ---- system calls ---- */

static struct {
	ino_t synced[SYNCS_MAX]; /* what fsync was called for, in order */
	unsigned n_synced;
	unsigned failing_sync; /* counted from 1; 0: none */
	int sync_errno;
	unsigned opens;
	unsigned failing_open; /* counted from 1, with EIO; 0: none */
	unsigned writebacks;
	bool no_list; /* fdopendir fails */
	const char *unmade; /* a directory that cannot be made */
	int link_errno;
	int read_errno; /* of the first read; -1: the file's end */
	bool no_entropy;
} calls;

int
fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true(calls.n_synced < SYNCS_MAX);
	calls.synced[calls.n_synced++] = st.st_ino;
	errno = calls.sync_errno;
	return calls.n_synced == calls.failing_sync ? -1 : 0;
}

int
linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	int (*real)(int, const char *, int, const char *, int);

	*(void **)&real = dlsym(RTLD_NEXT, "linkat");
	errno = calls.link_errno;
	return calls.link_errno != 0 ? -1
	    : real(from_dir, from, to_dir, to, flags);
}

/* The C library's own, unless it is this one that is to fail. */
static int
open_or_fail(int dir, const char *path, int flags, mode_t mode)
{
	int (*real)(int, const char *, int, ...);

	*(void **)&real = dlsym(RTLD_NEXT, "openat");
	errno = EIO;
	return ++calls.opens == calls.failing_open ? -1
	    : real(dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
	return open_or_fail(AT_FDCWD, path, flags, 0600);
}

int
openat(int dir, const char *path, int flags, ...)
{
	return open_or_fail(dir, path, flags, 0600);
}

int
mkdirat(int dir, const char *path, mode_t mode)
{
	int (*real)(int, const char *, mode_t);

	*(void **)&real = dlsym(RTLD_NEXT, "mkdirat");
	errno = EROFS;
	return calls.unmade != NULL && strcmp(path, calls.unmade) == 0 ? -1
	    : real(dir, path, mode);
}

DIR *
fdopendir(int fd)
{
	DIR *(*real)(int);

	*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	errno = ENOMEM;
	return calls.no_list ? NULL : real(fd);
}

#ifdef __linux__
int
sync_file_range(int fd, off_t from, off_t n, unsigned flags)
{
	(void)fd, (void)from, (void)n, (void)flags;
	calls.writebacks++;
	return 0;
}
#endif

ssize_t
pread(int fd, void *data, size_t size, off_t at)
{
	ssize_t (*real)(int, void *, size_t, off_t);
	int failure = calls.read_errno;

	*(void **)&real = dlsym(RTLD_NEXT, "pread");
	calls.read_errno = 0;
	/* At a file's end errno says nothing, whatever it is. */
	errno = failure < 0 ? EINTR : failure;
	return failure == 0 ? real(fd, data, size, at)
	    : failure < 0 ? 0 : -1;
}

int
getentropy(void *random, size_t size)
{
	memset(random, 0x5A, calls.no_entropy ? 0 : size);
	return calls.no_entropy ? -1 : 0;
}

/* ---- one maildir ---- */

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	file_system_is_shared = false;
	memset(&deliver, 0, sizeof(deliver));
	directory_make(&directory);
	snprintf(box, sizeof(box), "%s/x/box", directory.path);
	descriptors = descriptors_open();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	maildir_deliver_close(&deliver);
	assert_int_equal(descriptors_open(), descriptors);
	directory_remove(&directory);
	return 0;
}

static ino_t
inode_of(const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(directory.fd, path, &st, 0), 0);
	return st.st_ino;
}

/* As if it had been made so many seconds ago. */
static void
age(const char *path, time_t seconds)
{
	const struct timespec times[2] = {
		{ .tv_sec = time(NULL) - seconds },
		{ .tv_sec = time(NULL) - seconds },
	};

	assert_int_equal(utimensat(directory.fd, path, times, 0), 0);
}

static void
make_maildir(void)
{
	static const char *const paths[] = {
		"x", "x/box", "x/box/tmp", "x/box/new", "x/box/cur",
	};

	for (size_t i = 0; i < COUNT(paths); i++)
		directory_mkdir(&directory, paths[i]);
}

static void
check_synced(const ino_t *want, size_t n)
{
	assert_int_equal(calls.n_synced, n);
	for (size_t i = 0; i < n; i++)
		assert_true(calls.synced[i] == want[i]);
}

/* The message's entries in a part of the maildir. */
static unsigned
count_in(const char *path)
{
	int fd = openat(directory.fd, path, O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	unsigned n = 0;

	if (fd < 0)
		return 0;
	DIR *dir = fdopendir(fd);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static int
begin(void)
{
	return maildir_deliver_begin(&deliver, box, strlen(directory.path),
	    "host.test", &error);
}

/* All of a delivery; ends at what fails. */
static int
deliver_all(void)
{
	if (begin() != 0 ||
	    maildir_deliver_write(&deliver, SLICE("one\n"), &error) != 0 ||
	    maildir_deliver_sync(&deliver, &error) != 0 ||
	    maildir_deliver_link(&deliver, &error) != 0)
		return -1;
	return maildir_deliver_settle(&deliver, &error);
}

/* ---- what is on disk when a message counts as kept ---- */

static void
test_all_is_synced(void **state)
{
	(void)state;
	OK(deliver_all());
	const ino_t new = inode_of("x/box/new");
	const ino_t root = inode_of("."), x = inode_of("x"),
	    maildir = inode_of("x/box");
	struct stat st;

	assert_int_equal(fstat(deliver.fd, &st), 0);
	/* The maildir for its three; what is young, each with the directory
	 * that has its entry; the message; and new, which has its name. */
	const ino_t want[] = { maildir, x, root, maildir, x, st.st_ino, new };
	check_synced(want, COUNT(want));
}

/* What is a minute old is on disk, but the message is not. */
static void
test_old_is_not_synced(void **state)
{
	struct stat st;

	(void)state;
	make_maildir();
	age("x", 1000);
	age("x/box", 70);
	OK(deliver_all());
	assert_int_equal(fstat(deliver.fd, &st), 0);
	const ino_t new = inode_of("x/box/new");
	const ino_t want[] = { st.st_ino, new };
	check_synced(want, COUNT(want));
	maildir_deliver_close(&deliver);

	calls.n_synced = 0;
	age("x/box", 50);
	OK(begin());
	const ino_t young[] = { inode_of("x/box"), inode_of("x") };
	check_synced(young, COUNT(young));
}

/* A relative path begins where the session is. */
static void
test_relative_is_synced(void **state)
{
	const ino_t root = inode_of(".");

	(void)state;
	assert_int_equal(chdir(directory.path), 0);
	OK(maildir_deliver_begin(&deliver, "b", 0, "host.test", &error));
	assert_int_equal(chdir("/"), 0);
	const ino_t box_itself = inode_of("b");
	const ino_t want[] = { box_itself, box_itself, root };
	check_synced(want, COUNT(want));
	deliver.path = directory_path(&directory, "b");
}

/* The disk is set to work while more of a long message comes. */
static void
test_writeback(void **state)
{
	enum { PIECE = 1 << 20, PIECES = 17 };
	char *piece = calloc(1, PIECE);

	(void)state;
	assert_non_null(piece);
	OK(begin());
	for (int i = 0; i < PIECES; i++)
		OK(maildir_deliver_write(&deliver,
		    (struct slice){ piece, PIECE }, &error));
#ifdef __linux__
	assert_int_equal(calls.writebacks, PIECES / 4);
#endif
	free(piece);
}

/* Whatever cannot be opened, the message is not kept, and nothing of it is
 * left: neither a file nor a descriptor. */
static void
test_each_open_fails(void **state)
{
	unsigned n = 0;

	(void)state;
	file_system_is_shared = true;
	do {
		calls.n_synced = 0;
		calls.opens = 0;
		calls.failing_open = ++n;
		int result = deliver_all();
		bool failed = calls.opens >= n;
		calls.failing_open = 0;
		if (result != (failed ? -1 : 0))
			fail_msg("the one no. %u", n);
		if (!failed)
			break;
		assert_int_equal(error.errnum, EIO);
		assert_non_null(strstr(error.text, "/x"));
		maildir_deliver_undo(&deliver);
		maildir_deliver_close(&deliver);
		assert_int_equal(count_in("x/box/new"), 0);
		assert_int_equal(count_in("x/box/tmp"), 0);
		assert_int_equal(descriptors_open(), descriptors);
		remove_tree(directory.fd, "x");
	} while (true);
	assert_true(n > 10);
}

/* What was not begun need not be closed. */
static void
test_not_begun(void **state)
{
	(void)state;
	make_maildir();
	for (unsigned n = 1; n <= 2; n++) {
		calls.n_synced = 0;
		calls.failing_sync = n;
		calls.sync_errno = EIO;
		assert_int_equal(begin(), -1);
		assert_int_equal(count_in("x/box/tmp"), 0);
		assert_int_equal(descriptors_open(), descriptors);
	}
	/* Nor where a part of the maildir cannot be made. */
	remove_tree(directory.fd, "x/box/tmp");
	calls.unmade = "tmp";
	assert_int_equal(begin(), -1);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("cannot make ")));
	assert_int_equal(descriptors_open(), descriptors);
	calls.unmade = NULL;
	directory_mkdir(&directory, "x/box/tmp");
	/* Nor where there is no place for the file. */
	remove_tree(directory.fd, "x/box/tmp");
	directory_put(&directory, "x/box/tmp", SLICE(""));
	assert_int_equal(begin(), -1);
	assert_true(slice_ends_with(slice_from(error.text),
	    SLICE("/x/box/tmp: Not a directory")));
	assert_int_equal(descriptors_open(), descriptors);
}

static void
test_each_sync_fails(void **state)
{
	(void)state;
	/* The last one is after the link: the caller takes it out again. */
	for (unsigned n = 1; n <= 7; n++) {
		calls.n_synced = 0;
		calls.failing_sync = n;
		calls.sync_errno = EIO;
		assert_int_equal(deliver_all(), -1);
		assert_int_equal(calls.n_synced, n);
		assert_true(slice_starts_with(slice_from(error.text),
		    SLICE("fsync ")));
		assert_int_equal(error.errnum, EIO);
		assert_int_equal(count_in("x/box/new"), n == 7);
		maildir_deliver_undo(&deliver);
		maildir_deliver_close(&deliver);
		assert_int_equal(count_in("x/box/new"), 0);
		assert_int_equal(count_in("x/box/tmp"), 0);
		remove_tree(directory.fd, "x");
	}
}

/* File systems that cannot sync a directory have no need to; a file they
 * can. */
static void
test_directories_that_cannot(void **state)
{
	static const int errnos[] = { EINVAL, ENOTSUP };

	(void)state;
	for (size_t i = 0; i < COUNT(errnos); i++)
		for (unsigned n = 1; n <= 7; n++) {
			calls.n_synced = 0;
			calls.failing_sync = n;
			calls.sync_errno = errnos[i];
			assert_int_equal(deliver_all(), n == 6 ? -1 : 0);
			maildir_deliver_close(&deliver);
			remove_tree(directory.fd, "x");
		}
}

/* GlusterFS never syncs a directory: one more fsync of the file does it. */
static void
test_shared(void **state)
{
	char path[1024];
	struct stat st;

	(void)state;
	make_maildir();
	age("x", 1000);
	age("x/box", 1000);
	file_system_is_shared = true;
	OK(deliver_all());
	assert_int_equal(fstat(deliver.fd, &st), 0);
	const ino_t want[] = { st.st_ino, inode_of("x/box/new"), st.st_ino };
	check_synced(want, COUNT(want));

	/* That may fail, too. */
	calls.failing_sync = 5;
	calls.sync_errno = EIO;
	assert_int_equal(maildir_deliver_settle(&deliver, &error), -1);
	assert_int_equal(error.errnum, EIO);

	/* Fetched and removed in the meantime: it was there. */
	snprintf(path, sizeof(path), "x/box/new/%s", deliver.name);
	assert_int_equal(unlinkat(directory.fd, path, 0), 0);
	OK(maildir_deliver_settle(&deliver, &error));
	/* Something else has its name. */
	assert_int_equal(symlinkat("nothing", directory.fd, path), 0);
	assert_int_equal(maildir_deliver_settle(&deliver, &error), -1);
	assert_int_equal(error.errnum, ELOOP);
}

/* ---- other calls that fail ---- */

static void
test_link_fails(void **state)
{
	static const struct { int errnum; bool renamed; } rows[] = {
		{ EPERM, true }, { ENOTSUP, true }, { ENOSYS, true },
		{ EMLINK, true }, { EIO, false }, { EEXIST, false },
		{ EACCES, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.link_errno = 0;
		calls.n_synced = 0;
		OK(begin());
		calls.link_errno = rows[i].errnum;
		assert_int_equal(maildir_deliver_link(&deliver, &error),
		    rows[i].renamed ? 0 : -1);
		assert_int_equal(count_in("x/box/new"), rows[i].renamed);
		assert_int_equal(count_in("x/box/tmp"), !rows[i].renamed);
		if (!rows[i].renamed) {
			assert_int_equal(error.errnum, rows[i].errnum);
			assert_true(slice_starts_with(slice_from(error.text),
			    SLICE("cannot link ")));
		}
		maildir_deliver_close(&deliver);
		assert_int_equal(count_in("x/box/tmp"), 0);
		assert_int_equal(count_in("x/box/new"), rows[i].renamed);
		remove_tree(directory.fd, "x");
	}
}

static void
test_reading_back_fails(void **state)
{
	static const struct { int failure, result, errnum; } rows[] = {
		{ 0, 0, 0 }, { EINTR, 0, 0 }, { EIO, -1, EIO },
		{ ESTALE, -1, ESTALE }, { -1, -1, EIO },
	};
	struct maildir_text text = { .end = 8, .lines = 2 };

	(void)state;
	directory_put(&directory, "text", SLICE("one\ntwo\n"));
	text.fd = openat(directory.fd, "text", O_RDONLY);
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.n_synced = 0;
		OK(begin());
		calls.read_errno = rows[i].failure;
		error.errnum = 0;
		assert_int_equal(maildir_deliver_copy(&deliver, &text,
		    &error), rows[i].result);
		assert_int_equal(error.errnum, rows[i].errnum);
		assert_true(rows[i].result != 0 || deliver.octets == 8);
		maildir_deliver_close(&deliver);
	}
	close(text.fd);
}

/* Of a text in the middle of a file, not an octet more. */
static void
test_middle_of_a_file(void **state)
{
	struct maildir_text text = { .offset = 4, .end = 8, .lines = 1 };

	(void)state;
	directory_put(&directory, "text", SLICE("one\ntwo\nthree\n"));
	text.fd = openat(directory.fd, "text", O_RDONLY);
	OK(begin());
	OK(maildir_deliver_copy(&deliver, &text, &error));
	assert_int_equal(deliver.octets, 4);
	close(text.fd);
}

/* The maildir went while the message waited for others'. */
static void
test_parked_and_lost(void **state)
{
	(void)state;
	OK(begin());
	maildir_deliver_park(&deliver);
	remove_tree(directory.fd, "x");
	assert_int_equal(maildir_deliver_link(&deliver, &error), -1);
	assert_int_equal(error.errnum, ENOENT);
	assert_int_equal(maildir_deliver_settle(&deliver, &error), -1);
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	assert_int_equal(descriptors_open(), descriptors);
}

/* Once taken away, another's file by that name is another's. */
static void
test_nothing_goes_twice(void **state)
{
	char in_new[sizeof(deliver.name) + 16];
	char in_tmp[sizeof(deliver.unique) + 16];

	(void)state;
	calls.link_errno = EPERM; /* renamed instead, out of tmp */
	OK(deliver_all());
	snprintf(in_new, sizeof(in_new), "x/box/new/%s", deliver.name);
	snprintf(in_tmp, sizeof(in_tmp), "x/box/tmp/%s", deliver.unique);
	directory_put(&directory, in_tmp, SLICE(""));
	maildir_deliver_undo(&deliver);
	directory_put(&directory, in_new, SLICE(""));
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("x/box/new"), 1);
	assert_int_equal(count_in("x/box/tmp"), 1);

	calls.n_synced = 0;
	OK(begin());
	snprintf(in_tmp, sizeof(in_tmp), "x/box/tmp/%s", deliver.unique);
	maildir_deliver_close(&deliver);
	directory_put(&directory, in_tmp, SLICE(""));
	int fd = dup(directory.fd), other = dup(directory.fd);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("x/box/tmp"), 2);
	/* Nor is what has the descriptors' numbers now closed. */
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(other), 0);
}

/* Sweeping is done for others: where it cannot be done, nothing happens. */
static void
test_no_sweep(void **state)
{
	(void)state;
	OK(begin());
	calls.no_list = true;
	maildir_deliver_sweep(&deliver);
	calls.no_list = false;
	calls.failing_open = calls.opens + 1;
	maildir_deliver_sweep(&deliver);
}

/* Names differ by chance; without any, by the time. */
static void
test_no_entropy(void **state)
{
	(void)state;
	OK(begin());
	assert_non_null(strstr(deliver.unique, "_5a5a5a5a."));
	maildir_deliver_close(&deliver);
	calls.no_entropy = true;
	calls.n_synced = 0;
	OK(begin());
	assert_null(strstr(deliver.unique, "_5a5a5a5a."));
	assert_null(strstr(deliver.unique, "_00000000."));
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_is_synced),
		TEST(test_old_is_not_synced),
		TEST(test_relative_is_synced),
		TEST(test_writeback),
		TEST(test_each_open_fails),
		TEST(test_not_begun),
		TEST(test_each_sync_fails),
		TEST(test_directories_that_cannot),
#ifdef __linux__
		TEST(test_shared),
#endif
		TEST(test_link_fails),
		TEST(test_reading_back_fails),
		TEST(test_middle_of_a_file),
		TEST(test_parked_and_lost),
		TEST(test_nothing_goes_twice),
		TEST(test_no_sweep),
		TEST(test_no_entropy),
	};

	return cmocka_run_group_tests_name("maildir_disk", tests, NULL, NULL);
}
