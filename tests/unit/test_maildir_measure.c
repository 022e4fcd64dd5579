/*
 * test_maildir_measure.c - looking at many files at once: each gets what is
 * its own, however many threads there are, and what is no message goes.
 */
#include "drive.h"
#include "no_memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "maildir/maildir_measure.h"
#include "system/clock.h"

/* Enough for several threads, and not a multiple of what they take. */
#define MANY 4003

static struct directory directory;
static struct maildir_index at;
static struct error error;
static unsigned descriptors;

/* ---- threads and files ---- */

/* Stand before the C library's own. */
static struct {
	long processors; /* 0: as many as there are */
	unsigned asked;  /* for them */
	bool steered;   /* threads run when they are started, or never: */
	unsigned runs;  /* this one does, counted from 1; 0: none */
	unsigned fails; /* this one cannot be started; 0: none */
	unsigned started, joined;
	int read_errno;
	atomic_uint reads, opened;
} calls;

long
sysconf(int name)
{
	long (*real)(int);

	*(void **)&real = dlsym(RTLD_NEXT, "sysconf");
	if (name != _SC_NPROCESSORS_ONLN)
		return real(name);
	calls.asked++;
	return calls.processors == 0 ? real(name) : calls.processors;
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
	    void *);

	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	if (!calls.steered)
		return real(thread, attributes, run, arg);
	if (calls.started + 1 == calls.fails)
		return EAGAIN;
	if (++calls.started == calls.runs)
		run(arg);
	*thread = pthread_self();
	return 0;
}

int
pthread_join(pthread_t thread, void **result)
{
	int (*real)(pthread_t, void **);

	*(void **)&real = dlsym(RTLD_NEXT, "pthread_join");
	if (!calls.steered)
		return real(thread, result);
	assert_true(pthread_equal(thread, pthread_self()));
	calls.joined++;
	return 0;
}

ssize_t
read(int fd, void *data, size_t size)
{
	ssize_t (*real)(int, void *, size_t);

	*(void **)&real = dlsym(RTLD_NEXT, "read");
	calls.reads++;
	errno = calls.read_errno;
	return calls.read_errno != 0 ? -1 : real(fd, data, size);
}

int
openat(int dir, const char *path, int flags, ...)
{
	int (*real)(int, const char *, int, ...);

	*(void **)&real = dlsym(RTLD_NEXT, "openat");
	calls.opened++;
	return real(dir, path, flags, 0600);
}

/* ---- files to look at ---- */

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	directory_make(&directory);
	descriptors = descriptors_open();
	at = (struct maildir_index){ .n = 0 };
	assert_int_equal(maildir_index_add_folder(&at, SLICE(""), 0, &error),
	    0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(descriptors_open(), descriptors);
	maildir_index_free(&at);
	directory_remove(&directory);
	return 0;
}

static void
add(const char *name)
{
	assert_int_equal(maildir_index_add_file(&at, 0, name, &error), 0);
}

/* A message of its own for each number: n lines, some of them CRLF, and the
 * last one without an end. */
static uint64_t
put_numbered(unsigned n)
{
	struct text text = { .data = NULL };
	uint64_t octets = 2;
	char name[32];

	snprintf(name, sizeof(name), "%u", n);
	for (unsigned i = 0; i < n % 50; i++) {
		text_format(&text, "line %u%s\n", i, i % 3 == 0 ? "\r" : "");
		octets += i < 10 ? 8 : 9;
	}
	text_add(&text, SLICE("x"));
	directory_put(&directory, name, text_slice(&text));
	text_free(&text);
	add(name);
	return octets + 1;
}

static void
test_many(void **state)
{
	static uint64_t wanted[MANY];

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		wanted[i] = put_numbered(i);
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), 0);
	assert_int_equal(at.n, MANY);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(at.messages[i].octets, wanted[i]);
		assert_false(at.files[i].uncounted);
		assert_false(maildir_index_is_unseen(&at, i));
	}
}

/* All in one directory, seen before: only what is not described is looked
 * at, and only from the first one on. */
static void
test_what_is_known(void **state)
{
	struct stat st = { .st_size = 77 };

	(void)state;
	directory_put(&directory, "before", SLICE("1\n"));
	directory_put(&directory, "described", SLICE("1\n"));
	add("before");
	add("described");
	maildir_index_describe_file(&at, 1, &st);
	maildir_index_set_octets(&at, 1, 99);
	put_numbered(3);
	assert_int_equal(maildir_measure(&at, 1, directory.fd, &error), 0);
	assert_int_equal(at.n, 3);
	assert_true(maildir_index_is_unseen(&at, 0));
	assert_int_equal(at.messages[1].octets, 99);
	assert_int_equal(at.messages[2].octets, 27);
}

static void
test_no_messages(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		char name[32];

		if (i % 1000 == 1) {
			put_numbered(i);
			continue;
		}
		snprintf(name, sizeof(name), "gone-%u", i);
		add(name);
	}
	directory_mkdir(&directory, "folder");
	add("folder");
	assert_int_equal(symlinkat("1", directory.fd, "link"), 0);
	add("link");
	assert_int_equal(mkfifoat(directory.fd, "fifo", 0600), 0);
	add("fifo");
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), 0);
	assert_int_equal(at.n, 5);
	for (size_t i = 0; i < at.n; i++)
		assert_int_equal(atoi(at.text + at.files[i].name),
		    i * 1000 + 1);
}

/* Nobody may read it, but it is there. Root may read everything. */
static void
unreadable(void)
{
	put_numbered(5);
	assert_int_equal(fchmodat(directory.fd, "5", 0, 0), 0);
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), 0);
	assert_int_equal(at.n, 1);
	assert_true(at.files[0].uncounted);
	assert_int_equal(at.messages[0].octets, at.files[0].size);
}

static void
test_unreadable(void **state)
{
	int status;

	(void)state;
	assert_int_equal(fchmod(directory.fd, 0777), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		unreadable();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Nor can it be read; that is no reason to have no session. */
static void
test_read_error(void **state)
{
	uint64_t octets = 0;

	(void)state;
	put_numbered(5);
	calls.read_errno = EIO;
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), 0);
	assert_int_equal(at.n, 1);
	assert_true(at.files[0].uncounted);
	assert_int_equal(at.messages[0].octets, at.files[0].size);
	int fd = openat(directory.fd, "5", O_RDONLY);
	assert_true(fd >= 0);
	assert_false(maildir_count_octets(&at, fd, 6, &octets));
	assert_int_equal(errno, EIO);
	close(fd);
}

/* What is written after the size was taken is another session's; and it may
 * have become shorter. Nothing is read to learn that it ends. */
static void
test_octets(void **state)
{
	static const struct {
		off_t size;
		uint64_t octets;
		unsigned reads;
	} rows[] = {
		{ 6, 8, 1 }, { 11, 14, 1 }, { 0, 2, 0 }, { 1, 3, 1 },
		{ 2, 4, 1 }, { 12, 14, 2 }, { 1000000, 14, 2 },
	};

	(void)state;
	directory_put(&directory, "grown", SLICE(".b\n..\nefgh\n"));
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t octets = 0;
		int fd = openat(directory.fd, "grown", O_RDONLY);

		assert_true(fd >= 0);
		calls.reads = 0;
		assert_true(maildir_count_octets(&at, fd, rows[i].size,
		    &octets));
		if (octets != rows[i].octets || calls.reads != rows[i].reads)
			fail_msg("row %zu: %ju, %u", i, (uintmax_t)octets,
			    calls.reads);
		close(fd);
	}
}

/* ---- threads ---- */

/* Such as are not there cost next to nothing. */
static void
add_gone(size_t n)
{
	for (size_t i = 0; i < n; i++)
		add("gone");
}

/* One more for each 500 files that are to be looked at, up to three, if there
 * are processors for them. */
static void
test_threads(void **state)
{
	static const struct {
		size_t known, files;
		long processors;
		unsigned asked, started;
	} rows[] = {
		{ 0, 0, 8, 0, 0 }, { 0, 499, 8, 0, 0 }, { 0, 500, 8, 1, 1 },
		{ 0, 999, 8, 1, 1 }, { 0, 1000, 8, 1, 2 },
		{ 0, 1500, 8, 1, 3 }, { 0, 4000, 8, 1, 3 },
		{ 0, 4000, -1, 1, 0 }, { 0, 4000, 1, 1, 0 },
		{ 0, 4000, 2, 1, 1 }, { 0, 4000, 3, 1, 2 },
		{ 0, 4000, 4, 1, 3 }, { 0, 4000, 5, 1, 3 },
		{ 0, 600, 2, 1, 1 }, { 3000, 499, 8, 0, 0 },
		{ 3000, 500, 8, 1, 1 },
	};

	(void)state;
	calls.steered = true;
	for (size_t i = 0; i < COUNT(rows); i++) {
		at.n = 0;
		calls.processors = rows[i].processors;
		calls.asked = calls.started = calls.joined = 0;
		add_gone(rows[i].known + rows[i].files);
		assert_int_equal(maildir_measure(&at, rows[i].known,
		    directory.fd, &error), 0);
		assert_int_equal(at.n, rows[i].known);
		assert_int_equal(calls.asked, rows[i].asked);
		if (calls.started != rows[i].started)
			fail_msg("row %zu: %u", i, calls.started);
		assert_int_equal(calls.joined, calls.started);
	}
}

/* Each does the work that the others do not come to, file by file, and tells
 * what went wrong, if nothing did elsewhere. */
static void
test_each_thread(void **state)
{
	char too_long[300];

	(void)state;
	memset(too_long, 'n', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	calls.steered = true;
	calls.processors = 8;
	for (unsigned runs = 0; runs <= 3; runs++)
		for (int fails = 0; fails < 2; fails++) {
			at.n = 0;
			add(fails ? too_long : "gone");
			add_gone(2000);
			uint64_t octets = put_numbered(7);
			calls.runs = runs;
			calls.started = 0;
			calls.opened = 0;
			int result = maildir_measure(&at, 0, directory.fd,
			    &error);
			assert_int_equal(calls.started, 3);
			assert_int_equal(result, fails ? -1 : 0);
			if (fails) {
				assert_int_equal(error.errnum, ENAMETOOLONG);
				assert_true(slice_starts_with(slice_from(
				    error.text), SLICE("maildrop: nnn")));
				continue;
			}
			assert_int_equal(calls.opened, 2002);
			assert_int_equal(at.n, 1);
			assert_int_equal(at.messages[0].octets, octets);
		}
}

/* One that cannot be started is done without, and so are those after it. */
static void
test_no_threads(void **state)
{
	(void)state;
	calls.steered = true;
	calls.processors = 8;
	for (unsigned nth = 1; nth <= 3; nth++)
		for (int memory = 0; memory < 2; memory++) {
			at.n = 0;
			add_gone(2000);
			uint64_t octets = put_numbered(7);
			calls.fails = memory ? 0 : nth;
			calls.started = calls.joined = 0;
			allocations.n = 0;
			allocations.failing = memory ? nth : 0;
			int result = maildir_measure(&at, 0, directory.fd,
			    &error);
			allocations.failing = 0;
			assert_int_equal(result, 0);
			assert_int_equal(calls.started, nth - 1);
			assert_int_equal(calls.joined, nth - 1);
			assert_int_equal(at.n, 1);
			assert_int_equal(at.messages[0].octets, octets);
		}
}

/* ---- what has no end ---- */

/* A sparse file of a terabyte, and names without end, have one. */
static void
test_stop(void **state)
{
	uint64_t octets = 0;
	sigset_t stop, before;

	(void)state;
	directory_put(&directory, "sparse", SLICE("x"));
	int fd = openat(directory.fd, "sparse", O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	add("sparse");
	at.deadline = clock_now() - 1;
	assert_true(maildir_must_stop(&at));
	/* A look at the time for each megabyte. */
	calls.reads = 0;
	assert_false(maildir_count_octets(&at, fd, (off_t)1 << 40, &octets));
	assert_int_equal(errno, EINTR);
	assert_int_equal(calls.reads, 16);
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), -1);
	assert_text(error.text, "maildrop: reading it took too long");
	assert_int_equal(error.kind, ERROR_SYSTEM);
	/* In the middle of the file. */
	at.deadline = clock_now() + 50;
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), -1);
	assert_text(error.text, "maildrop: reading it took too long");
	at.deadline = 0;

	/* Without one it is read to its end. */
	assert_true(maildir_count_octets(&at, fd, (off_t)3 << 20, &octets));
	assert_int_equal(octets, (3 << 20) + 2);

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &stop, &before), 0);
	assert_false(maildir_must_stop(&at));
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	assert_true(maildir_must_stop(&at));
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), -1);
	assert_text(error.text, "maildrop: stopped while it was read");
	assert_int_equal(sigtimedwait(&stop, NULL,
	    &(struct timespec){ .tv_sec = 1 }), SIGTERM);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	close(fd);
}

static void
test_nothing_to_look_at(void **state)
{
	(void)state;
	assert_int_equal(maildir_measure(&at, 0, -1, &error), 0);
	assert_int_equal(at.n, 0);
}

/* A directory that cannot be looked into is told, with the file. */
static void
test_failure(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		put_numbered(i);
	assert_int_equal(maildir_measure(&at, 0, -1, &error), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	assert_non_null(strstr(error.text, "maildrop: "));
	assert_non_null(strstr(error.text, strerror(EBADF)));
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many),
		TEST(test_what_is_known),
		TEST(test_no_messages),
		TEST(test_unreadable),
		TEST(test_read_error),
		TEST(test_octets),
		TEST(test_threads),
		TEST(test_each_thread),
		TEST(test_no_threads),
		TEST(test_stop),
		TEST(test_nothing_to_look_at),
		TEST(test_failure),
	};

	return cmocka_run_group_tests_name("maildir_measure", tests, NULL,
	    NULL);
}
