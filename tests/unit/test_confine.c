/*
 * test_confine.c - which paths are in the set, and what a process that is
 * confined by it can do. Each case is a process of its own.
 */
#include "drive.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "system/confine.h"

static struct directory directory;
static struct confine confine;
static struct error error;

static void
test_add(void **state)
{
	char longer[CONFINE_TEXT_MAX];

	(void)state;
	confine = (struct confine){ .n = 0 };
	confine_add(&confine, SLICE("/a"), CONFINE_READ);
	confine_add(&confine, SLICE("/b"), CONFINE_READ);
	confine_add(&confine, SLICE("/a"), CONFINE_WRITE);
	confine_add(&confine, SLICE(""), CONFINE_LIST);
	assert_int_equal(confine.n, 3);
	assert_int_equal(confine.paths[0].access,
	    CONFINE_READ | CONFINE_WRITE);
	assert_text(confine.text + confine.paths[1].at, "/b");
	assert_text(confine.text + confine.paths[2].at, ".");
	assert_false(confine.too_many);
	/* Rather everything than half of it. */
	memset(longer, 'x', sizeof(longer));
	confine_add(&confine, (struct slice){ longer, sizeof(longer) },
	    CONFINE_READ);
	assert_true(confine.too_many);
	assert_int_equal(confine.n, 3);
	confine = (struct confine){ .n = 0 };
	for (size_t i = 0; i < CONFINE_PATHS_MAX + 1; i++) {
		assert_false(confine.too_many);
		confine_add(&confine, (struct slice){ longer, i + 1 },
		    CONFINE_READ);
	}
	assert_true(confine.too_many);
}

/* Runs that in a child: what it returned, 77 where this system cannot. */
static int
in_child(int (*run)(void))
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	return WEXITSTATUS(status);
}

#define NEED(condition) \
	do { \
		if (!(condition)) \
			return __LINE__ % 256 == 77 ? 78 : __LINE__ % 256; \
	} while (0)

static bool
can_open(const char *name, int flags)
{
	int fd = open(name, flags, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int
run_files(void)
{
	confine = (struct confine){ .n = 0 };
	confine_add(&confine, SLICE("read"), CONFINE_READ);
	confine_add(&confine, SLICE("write"), CONFINE_READ | CONFINE_WRITE);
	confine_add(&confine, SLICE("list"), CONFINE_LIST);
	confine_add(&confine, SLICE("one"), CONFINE_READ);
	confine_add(&confine, SLICE("not there"), CONFINE_READ);
	int outcome = confine_files(&confine, &error);
	if (outcome == CONFINE_MISSING)
		return 77;
	NEED(outcome == CONFINE_DONE);
	NEED(can_open("read/file", O_RDONLY));
	NEED(!can_open("read/file", O_WRONLY));
	NEED(!can_open("read/new", O_WRONLY | O_CREAT));
	NEED(unlink("read/file") != 0);
	NEED(can_open("write/file", O_RDWR));
	NEED(can_open("write/tmp/new", O_WRONLY | O_CREAT));
	/* As a delivery does. */
	NEED(link("write/tmp/new", "write/new") == 0);
	NEED(rename("write/new", "write/tmp/other") == 0);
	NEED(unlink("write/tmp/new") == 0);
	NEED(link("read/file", "write/stolen") != 0);
	NEED(can_open("list", O_RDONLY | O_DIRECTORY));
	NEED(!can_open("list/file", O_RDONLY));
	NEED(can_open("one", O_RDONLY));
	NEED(!can_open("other", O_RDONLY));
	NEED(!can_open("/", O_RDONLY | O_DIRECTORY));
	NEED(!can_open("/etc/passwd", O_RDONLY));
	/* What is open stays so, and nothing is below what it is not. */
	NEED(!can_open("write/../other", O_RDONLY));
	return 0;
}

static void
test_files(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_files), 0);
}

static void *
run_thread(void *arg)
{
	*(bool *)arg = true;
	return NULL;
}

static int
run_calls(void)
{
	char *const argv[] = { NULL };
	pthread_t thread;
	struct rlimit limit;
	bool ran = false;
#ifdef SYS_pidfd_open
	int parent = (int)syscall(SYS_pidfd_open, getppid(), 0);
#else
	int parent = -1;
#endif

	confine = (struct confine){ .n = 0 };
	int outcome = confine_calls(&confine, &error);
	if (outcome == CONFINE_MISSING)
		return 77;
	NEED(outcome == CONFINE_DONE);
	NEED(execv("/bin/true", argv) != 0 && errno == EPERM);
	NEED(kill(getppid(), 0) != 0 && errno == EPERM);
	/* Nor by other ways; to itself, as abort(3) does. */
	NEED(syscall(SYS_tgkill, getppid(), getppid(), 0) != 0 &&
	    errno == EPERM);
	NEED(syscall(SYS_rt_tgsigqueueinfo, getppid(), getppid(), SIGUSR1,
	    NULL) != 0 && errno == EPERM);
#ifdef SYS_pidfd_send_signal
	NEED(syscall(SYS_pidfd_send_signal, parent, 0, NULL, 0) != 0 &&
	    errno == EPERM);
#endif
	NEED(syscall(SYS_tgkill, getpid(), getpid(), 0) == 0);
	NEED(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL,
	    &limit) != 0 && errno == EPERM);
	NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	NEED(syscall(SYS_prlimit64, getpid(), RLIMIT_NOFILE, NULL,
	    &limit) == 0);
	NEED(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	NEED(socket(AF_INET6, SOCK_DGRAM, 0) < 0 && errno == EPERM);
	NEED(socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EPERM);
	NEED(socket(AF_UNIX, SOCK_DGRAM, 0) >= 0);
	NEED(can_open("other", O_RDONLY));
	/* A thread is no process. */
	NEED(pthread_create(&thread, NULL, run_thread, &ran) == 0);
	NEED(pthread_join(thread, NULL) == 0 && ran);
#ifndef __SANITIZE_ADDRESS__
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	NEED(child < 0 && errno == EPERM);
#endif
	return 0;
}

static int
run_calls_with_network(void)
{
	confine = (struct confine){ .network = true };
	if (confine_calls(&confine, &error) == CONFINE_MISSING)
		return 77;
	NEED(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	NEED(kill(getppid(), 0) != 0 && errno == EPERM);
	return 0;
}

static void
test_calls(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_calls), 0);
	assert_int_equal(in_child(run_calls_with_network), 0);
}

static int
run_nothing(void)
{
	confine = (struct confine){ .nothing = true };
	NEED(confine_files(&confine, &error) == CONFINE_DONE);
	NEED(confine_calls(&confine, &error) == CONFINE_DONE);
	NEED(can_open("other", O_RDONLY));
	NEED(kill(getppid(), 0) == 0);
	return 0;
}

static void
test_nothing(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_nothing), 0);
}

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	directory_mkdir(&directory, "write/tmp");
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = { "read", "write", "list" };
		char name[16];

		directory_mkdir(&directory, names[i]);
		snprintf(name, sizeof(name), "%s/file", names[i]);
		directory_put(&directory, name, SLICE("x"));
	}
	directory_put(&directory, "one", SLICE("x"));
	directory_put(&directory, "other", SLICE("x"));
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests_name("confine", tests, set_up,
	    tear_down);
}
