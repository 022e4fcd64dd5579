/*
 * descriptors.c - moving, covering and closing them.
 */
#include "system/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

/* Where descriptors cannot be marked all at once: so many are looked at. */
#define LOOKED_AT 4096

int
descriptors_passed(struct error *error)
{
	const char *pid_text = getenv("LISTEN_PID");
	const char *n_text = getenv("LISTEN_FDS");
	uint64_t pid, n;

	if (pid_text == NULL || n_text == NULL)
		return 0;
	if (!slice_to_number(slice_from(pid_text), INT32_MAX, &pid) ||
	    !slice_to_number(slice_from(n_text), INT32_MAX, &n))
		return error_set(error, ERROR_CONFIG, "LISTEN_FDS or "
		    "LISTEN_PID is broken");
	/* With another pid they were for a process that started us. */
	return pid == (uint64_t)getpid() ? (int)n : 0;
}

void
descriptors_forget_passed(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int
descriptors_move_up(int fd, struct error *error)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTORS_PASSED + 1);

	if (moved < 0)
		return error_system(error, errno, "descriptor %d", fd);
	return moved;
}

int
descriptors_cover(int fd, struct error *error)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0)
		return error_system(error, errno, "/dev/null");
	/* Where fd was closed, open(2) may have returned that very number. */
	if (null != fd) {
		dup2(null, fd);
		close(null);
	}
	return 0;
}

bool
descriptors_are_same(int a, int b)
{
	struct stat st_a, st_b;

	return fstat(a, &st_a) == 0 && fstat(b, &st_b) == 0 &&
	    (S_ISSOCK(st_a.st_mode) || S_ISFIFO(st_a.st_mode)) &&
	    st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* As many as are looked at from this one on. */
static int
end_of_range(void)
{
	long n = sysconf(_SC_OPEN_MAX);

	return n < 0 || n > LOOKED_AT ? LOOKED_AT : (int)n;
}

void
descriptors_close_at_exec(int first)
{
#ifdef CLOSE_RANGE_CLOEXEC
	if (close_range((unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		return;
#endif
	for (int fd = first; fd < end_of_range(); fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void
descriptors_close_from(int first)
{
#ifdef CLOSE_RANGE_CLOEXEC
	if (close_range((unsigned)first, ~0u, 0) == 0)
		return;
#endif
	for (int fd = first; fd < end_of_range(); fd++)
		close(fd);
}
