/*
 * test_maildir_measure.c - looking at many files at once: each gets what is
 * its own, however many threads there are, and what is no message goes.
 */
#include "drive.h"

#include <errno.h>
#include <signal.h>
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

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	at = (struct maildir_index){ .n = 0 };
	assert_int_equal(maildir_index_add_folder(&at, SLICE(""), 0, &error),
	    0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
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
	add("not-there");
	add("not-there-either");
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

/* What is written after the size was taken is another session's. */
static void
test_no_more_than_the_size(void **state)
{
	uint64_t octets = 0;

	(void)state;
	directory_put(&directory, "grown", SLICE("ab\ncd\nefgh\n"));
	int fd = openat(directory.fd, "grown", O_RDONLY);
	assert_true(fd >= 0);
	assert_true(maildir_count_octets(&at, fd, 6, &octets));
	assert_int_equal(octets, 8);
	close(fd);
}

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
	assert_false(maildir_count_octets(&at, fd, (off_t)1 << 40, &octets));
	assert_int_equal(errno, EINTR);
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), -1);
	assert_text(error.text, "maildrop: reading it took too long");
	assert_int_equal(error.kind, ERROR_SYSTEM);
	/* In the middle of the file. */
	at.deadline = clock_now() + 50;
	assert_int_equal(maildir_measure(&at, 0, directory.fd, &error), -1);
	assert_text(error.text, "maildrop: reading it took too long");
	at.deadline = 0;

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_known, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_no_messages, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_unreadable, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_no_more_than_the_size,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_to_look_at,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failure, set_up,
		    tear_down),
	};

	return cmocka_run_group_tests_name("maildir_measure", tests, NULL,
	    NULL);
}
