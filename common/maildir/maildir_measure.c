/*
 * maildir_measure.c - files opened, looked at, read and closed: the costly
 * part of a scan.
 *
 * The threads take files off one counter and write to what is theirs alone,
 * the entries of those files; the index does not grow meanwhile. Signals are
 * blocked in them as they are in the program (process.h).
 */
#include "maildir/maildir_measure.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/dot.h"
#include "system/clock.h"
#include "system/process.h"

#define READ_SIZE 65536
/* Blocks of it read between two looks at the time. */
#define LOOK_EACH 16
/* Threads beside the first one, and files to make one worth its start. */
#define HELPERS_MAX 3
#define FILES_PER_THREAD 500
/* Files taken at a time. */
#define SHARE 32

/* What the threads have in common. */
struct work {
	struct maildir_index *index;
	int dir;
	atomic_size_t next;
};

/* The first thread's. */
static char first_buffer[READ_SIZE];

struct worker {
	struct work *work;
	char *buffer; /* of READ_SIZE */
	pthread_t thread;
	int errnum;    /* what went wrong, 0 for nothing, */
	size_t failed; /* and with which file */
};

bool
maildir_must_stop(const struct maildir_index *index)
{
	return process_stop_pending() || (index->deadline != 0 &&
	    clock_now() >= index->deadline);
}

int
maildir_stopped(struct error *error)
{
	return error_set(error, ERROR_SYSTEM, process_stop_pending()
	    ? "maildrop: stopped while it was read"
	    : "maildrop: reading it took too long");
}

static bool
count(const struct maildir_index *index, int fd, off_t size, char *buffer,
    uint64_t *octets)
{
	struct dot_encoder encoder = { .octets = 0 };
	unsigned blocks = 0;

	/* The size saves the read that would say "the end"; and what is
	 * written meanwhile is not of the message of that size. */
	while (size > 0) {
		ssize_t n = read(fd, buffer, size < READ_SIZE ? (size_t)size
		    : READ_SIZE);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		if (++blocks % LOOK_EACH == 0 && maildir_must_stop(index)) {
			errno = EINTR;
			return false;
		}
		dot_measure(&encoder, (struct slice){ buffer, (size_t)n });
		size -= n;
	}
	*octets = dot_measure_end(&encoder);
	return true;
}

bool
maildir_count_octets(const struct maildir_index *index, int fd, off_t size,
    uint64_t *octets)
{
	return count(index, fd, size, first_buffer, octets);
}

/* 0, or errno; a file that is not there any more is left as it is. */
static int
measure_file(const struct work *work, size_t i, char *buffer)
{
	struct maildir_index *index = work->index;
	const char *name = index->text + index->files[i].name;
	uint64_t octets;
	struct stat st;
	int fd = openat(work->dir, name,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	/* Unreadable, but a message all the same. */
	int result = fd >= 0 ? fstat(fd, &st)
	    : fstatat(work->dir, name, &st, AT_SYMLINK_NOFOLLOW);
	int errnum = result == 0 || (fd < 0 && (errno == ENOENT ||
	    errno == ESTALE)) ? 0 : errno;

	if (result == 0 && S_ISREG(st.st_mode)) {
		maildir_index_describe_file(index, i, &st);
		if (fd >= 0 && count(index, fd, st.st_size, buffer, &octets))
			maildir_index_set_octets(index, i, octets);
		else if (fd >= 0 && errno == EINTR)
			errnum = EINTR;
	}
	if (fd >= 0)
		close(fd);
	return errnum;
}

static void *
run(void *arg)
{
	struct worker *worker = arg;
	struct work *work = worker->work;
	size_t n = work->index->n;
	size_t i;

	while (worker->errnum == 0 &&
	    (i = atomic_fetch_add(&work->next, SHARE)) < n) {
		if (maildir_must_stop(work->index))
			worker->errnum = EINTR;
		for (size_t end = i + SHARE < n ? i + SHARE : n;
		    i < end && worker->errnum == 0; i++) {
			if (!maildir_index_is_unseen(work->index, i))
				continue;
			worker->errnum = measure_file(work, i,
			    worker->buffer);
			worker->failed = i;
		}
	}
	return NULL;
}

/* How many threads more there are to be for so many files. */
static size_t
helpers_for(size_t files)
{
	size_t n = files / FILES_PER_THREAD;

	/* To ask for the processors is not for nothing. */
	if (n == 0)
		return 0;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t most = processors > HELPERS_MAX ? HELPERS_MAX
	    : processors > 1 ? (size_t)processors - 1 : 0;
	return n < most ? n : most;
}

/* One that does not start, for want of memory or of a right, is none. */
static void
run_all(struct worker *workers, size_t helpers)
{
	size_t started = 0;

	for (size_t i = 1; i <= helpers; i++) {
		workers[i].work = workers[0].work;
		workers[i].buffer = malloc(READ_SIZE);
		if (workers[i].buffer == NULL)
			break;
		if (pthread_create(&workers[i].thread, NULL, run,
		    &workers[i]) != 0) {
			free(workers[i].buffer);
			break;
		}
		started = i;
	}
	run(&workers[0]);
	for (size_t i = 1; i <= started; i++) {
		pthread_join(workers[i].thread, NULL);
		free(workers[i].buffer);
	}
}

int
maildir_measure(struct maildir_index *index, size_t first, int dir,
    struct error *error)
{
	struct work work = { .index = index, .dir = dir };
	struct worker workers[1 + HELPERS_MAX] = {
		{ .work = &work, .buffer = first_buffer },
	};

	atomic_init(&work.next, first);
	run_all(workers, helpers_for(index->n - first));
	for (size_t i = 0; i <= HELPERS_MAX; i++)
		if (workers[i].errnum == EINTR)
			return maildir_stopped(error);
		else if (workers[i].errnum != 0)
			return error_system(error, workers[i].errnum,
			    "maildrop: %.80s", index->text +
			    index->files[workers[i].failed].name);
	maildir_index_drop_unseen(index, first);
	return 0;
}
