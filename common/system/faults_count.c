/*
 * faults_count.c - FILE.state: a line for each fault that counts, "KEY COUNT
 * SINCE", the last in milliseconds.
 */
#include "system/faults_count.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "system/file.h"

/* Of the state: a line is shorter than this. */
#define LINE_MAX_LEN 64
#define STATE_MAX (FAULTS_MAX * LINE_MAX_LEN)

struct count {
	uint64_t key;
	uint64_t n;
	int64_t since;
};

struct state {
	int fd;
	size_t n;
	struct count counts[FAULTS_MAX];
};

static int
open_state(const struct faults *faults, struct error *error)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s.state", faults->path) >=
	    (int)sizeof(path))
		return error_system(error, ENAMETOOLONG, "%s.state",
		    error_tail(faults->path, 120));
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_system(error, errno, "%s",
		    error_tail(path, 120));
	return fd;
}

static int
lock(int fd)
{
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

static void
read_counts(struct state *state)
{
	char text[STATE_MAX + 1];
	ssize_t len = pread(state->fd, text, STATE_MAX, 0);
	char *at = text;

	state->n = 0;
	if (len <= 0)
		return;
	text[len] = '\0';
	for (; state->n < FAULTS_MAX && *at != '\0';) {
		struct count *count = &state->counts[state->n];

		if (sscanf(at, "%" SCNx64 " %" SCNu64 " %" SCNd64,
		    &count->key, &count->n, &count->since) == 3)
			state->n++;
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
}

/* The count of a key; one that is new begins at nought. */
static struct count *
find_count(struct state *state, uint64_t key)
{
	for (size_t i = 0; i < state->n; i++)
		if (state->counts[i].key == key)
			return &state->counts[i];
	/* Full of counts, most of lines that are gone: the oldest goes. */
	if (state->n == FAULTS_MAX)
		memmove(&state->counts[0], &state->counts[1],
		    --state->n * sizeof(state->counts[0]));
	struct count *count = &state->counts[state->n++];
	*count = (struct count){ .key = key };
	return count;
}

static int
write_counts(const struct state *state)
{
	char text[STATE_MAX + 1];
	size_t len = 0;

	for (size_t i = 0; i < state->n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "%016" PRIx64 " %" PRIu64 " %" PRId64 "\n",
		    state->counts[i].key, state->counts[i].n,
		    state->counts[i].since);
	if (lseek(state->fd, 0, SEEK_SET) != 0 ||
	    ftruncate(state->fd, 0) != 0)
		return -1;
	return file_write(state->fd, (struct slice){ text, len });
}

static bool
is_due(const struct fault *fault, struct count *count, int64_t now)
{
	if (fault->when == FAULT_OVER && (now < count->since ||
	    now - count->since >= (int64_t)fault->seconds * 1000)) {
		count->since = now;
		count->n = 0;
	}
	if (count->n < UINT64_MAX)
		count->n++;
	switch (fault->when) {
	case FAULT_FIRST:
		return count->n <= fault->n;
	case FAULT_EACH:
		return count->n % fault->n == 0;
	case FAULT_OVER:
		return count->n > fault->n;
	case FAULT_ALWAYS:
		break;
	}
	return true;
}

int
fault_count(const struct faults *faults, const struct fault *fault,
    int64_t now, bool *due, struct error *error)
{
	struct state state = { .n = 0 };

	*due = fault->when == FAULT_ALWAYS;
	if (*due)
		return 0;
	state.fd = open_state(faults, error);
	if (state.fd < 0)
		return -1;
	int result = lock(state.fd);
	if (result == 0) {
		read_counts(&state);
		*due = is_due(fault, find_count(&state, fault->key), now);
		result = write_counts(&state);
	}
	if (result != 0)
		error_system(error, errno, "%s.state",
		    error_tail(faults->path, 120));
	close(state.fd);
	return result;
}

int
faults_count_check(const struct faults *faults, struct error *error)
{
	for (size_t i = 0; i < faults->n; i++) {
		if (faults->items[i].when == FAULT_ALWAYS)
			continue;
		int fd = open_state(faults, error);
		if (fd < 0) {
			error->kind = ERROR_CONFIG;
			return -1;
		}
		close(fd);
		return 0;
	}
	return 0;
}
