/*
 * maildrop: sessions with a maildrop and its cache, for unit tests. Time passes
 * as the test says, something may happen before or after a directory is read,
 * and what is to fail fails: the calls below stand before the C library's own.
 */
#ifndef MAILDROP_H
#define MAILDROP_H

#include "drive.h"

#include <dlfcn.h>
#include <sys/file.h>
#include <time.h>

#include "file_system.h"
#include "maildir/maildir.h"
#include "maildir/maildir_uidl.h"

static struct directory directory, cache;
static struct maildir maildir;
static struct error error;
static unsigned descriptors; /* that are open without a session */

/* ---- system calls ---- */

static struct {
	time_t later;   /* than it is, the clocks go */
	unsigned reads; /* of directories */
	void (*before_read)(int fd); /* and what is done before, and after */
	void (*after_read)(void);
	unsigned failing_read; /* counted from 1, with EIO; 0: none */
	unsigned opened; /* messages */
	const char *closed; /* a name that is not opened, */
	int closed_errno;   /* for this reason, */
	bool hidden;        /* nor even looked at */
	const char *kept; /* a name that is not removed, */
	int kept_errno;   /* for this reason */
	unsigned rests; /* that were taken: they take no time */
	bool no_entries;  /* can be read from directories, with EIO */
	struct dirent *(*next_entry)(DIR *dir); /* in place of readdir(3) */
	unsigned looks; /* at files and directories, by name */
	int read_errno;   /* of messages' files; 0: none */
	unsigned refused; /* opens, for that closed name */
	time_t slow;      /* seconds that each read takes */
	int lock_errno;   /* of the next lock; 0: none */
} calls;

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int (*real)(clockid_t, struct timespec *);

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, now);
	now->tv_sec += calls.later;
	return result;
}

/* Until what changes now has another time than what has changed: some kernels
 * count it in steps of milliseconds. */
static inline void
let_time_pass(void)
{
	struct stat before, st;

	assert_int_equal(fchmod(cache.fd, 0700), 0);
	assert_int_equal(fstat(cache.fd, &before), 0);
	do {
		assert_int_equal(fchmod(cache.fd, 0700), 0);
		assert_int_equal(fstat(cache.fd, &st), 0);
	} while (st.st_ctim.tv_sec == before.st_ctim.tv_sec &&
	    st.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
}

int
nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)left;
	let_time_pass();
	calls.rests++;
	/* The clock goes on, for it takes at least that long. */
	calls.later += 1 + time->tv_sec;
	return 0;
}

DIR *
fdopendir(int fd)
{
	DIR *(*real)(int);

	*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	calls.reads++;
	if (calls.before_read != NULL)
		calls.before_read(fd);
	errno = EIO;
	return calls.reads == calls.failing_read ? NULL : real(fd);
}

static struct dirent *
real_readdir(DIR *dir)
{
	struct dirent *(*real)(DIR *);

	*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	return real(dir);
}

struct dirent *
readdir(DIR *dir)
{
	if (calls.next_entry != NULL)
		return calls.next_entry(dir);
	if (!calls.no_entries)
		return real_readdir(dir);
	errno = EIO;
	return NULL;
}

ssize_t
read(int fd, void *data, size_t size)
{
	ssize_t (*real)(int, void *, size_t);

	*(void **)&real = dlsym(RTLD_NEXT, "read");
	calls.later += calls.slow;
	errno = calls.read_errno;
	return calls.read_errno != 0 ? -1 : real(fd, data, size);
}

int
flock(int fd, int operation)
{
	int (*real)(int, int);

	*(void **)&real = dlsym(RTLD_NEXT, "flock");
	errno = calls.lock_errno;
	return calls.lock_errno != 0 ? -1 : real(fd, operation);
}

int
closedir(DIR *dir)
{
	int (*real)(DIR *);

	*(void **)&real = dlsym(RTLD_NEXT, "closedir");
	int result = real(dir);
	if (calls.after_read != NULL)
		calls.after_read();
	return result;
}

/* Is it, or what a path ends with, closed to us? Says why in errno. */
static bool
is_closed(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (calls.closed == NULL || (strcmp(path, calls.closed) != 0 &&
	    (slash == NULL || strcmp(slash + 1, calls.closed) != 0)))
		return false;
	errno = calls.closed_errno;
	return true;
}

int
openat(int dir, const char *path, int flags, ...)
{
	int (*real)(int, const char *, int, ...);

	*(void **)&real = dlsym(RTLD_NEXT, "openat");
	/* Nothing else is opened in this way. */
	calls.opened += (flags & O_NOCTTY) != 0;
	if (!is_closed(path))
		return real(dir, path, flags, 0600);
	calls.refused++;
	return -1;
}

int
fstatat(int dir, const char *path, struct stat *st, int flags)
{
	int (*real)(int, const char *, struct stat *, int);

	*(void **)&real = dlsym(RTLD_NEXT, "fstatat");
	calls.looks++;
	return calls.hidden && is_closed(path) ? -1
	    : real(dir, path, st, flags);
}

int
unlinkat(int dir, const char *path, int flags)
{
	int (*real)(int, const char *, int);

	*(void **)&real = dlsym(RTLD_NEXT, "unlinkat");
	errno = calls.kept_errno;
	return calls.kept != NULL && strcmp(path, calls.kept) == 0 ? -1
	    : real(dir, path, flags);
}

/* ---- maildrops ---- */

static inline int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	file_system_is_shared = false;
	directory_make(&directory);
	directory_make(&cache);
	directory_mkdir(&directory, "new");
	directory_mkdir(&directory, "cur");
	descriptors = descriptors_open();
	return 0;
}

static inline int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(descriptors_open(), descriptors);
	memset(&calls, 0, sizeof(calls));
	directory_remove(&directory);
	directory_remove(&cache);
	return 0;
}

/* Messages are ordered by these times. */
static inline void
put(const char *name, const char *text)
{
	static time_t seconds = 1000;

	seconds++;
	const struct timespec times[2] = {
		{ .tv_sec = seconds }, { .tv_sec = seconds },
	};

	directory_put(&directory, name, slice_from(text));
	assert_int_equal(utimensat(directory.fd, name, times, 0), 0);
}

static inline void
move(const char *from, const char *to)
{
	assert_int_equal(renameat(directory.fd, from, directory.fd, to), 0);
}

static inline struct text
scan(const char *cache_dir, bool *changed)
{
	const struct maildir_options options = { .cache_dir = cache_dir };
	struct text text = { .data = NULL };
	char room[MAILDIR_UIDL_MAX];

	let_time_pass();
	if (maildir_open(&maildir, directory.path, &options, &error) != 0)
		fail_msg("%s", error.text);
	*changed = maildir.cache_is_old;
	text_add(&text, SLICE(""));
	for (size_t i = 0; i < maildir.index.n; i++) {
		struct slice uidl = maildir_uidl(&maildir.index, i, room);

		text_format(&text, "%.*s %ju%s%s\n", SLICE_ARG(uidl),
		    (uintmax_t)maildir.index.messages[i].octets,
		    maildir.index.messages[i].permanent ? " permanent" : "",
		    maildir.index.files[i].doubled ? " doubled" : "");
	}
	if (maildir_is_too_deep(&maildir))
		text_add(&text, SLICE("too deep\n"));
	size_t left_out;
	if (maildir_left_out(&maildir, &left_out) != NULL)
		text_add(&text, SLICE("left out\n"));
	if (maildir_save_cache(&maildir, &error) != 0)
		fail_msg("%s", error.text);
	maildir_close(&maildir);
	return text;
}

/* A session a while later finds this, and what it was not has changed. */
static inline void
check_session(struct slice want, bool changes, const char *file, int line)
{
	bool changed, ignored;

	calls.later += 10;
	struct text fresh = scan(NULL, &ignored);
	calls.reads = calls.opened = 0;
	struct text found = scan(cache.path, &changed);
	check_equal(text_slice(&fresh), want, "without a cache", file, line);
	check_equal(text_slice(&found), want, "with a cache", file, line);
	if (changed != changes)
		fail_msg("%s:%d: changed %d", file, line, changed);
	text_free(&fresh);
	text_free(&found);
}

/* A session now, with that cache or with none, finds this. */
static inline void
check_scan(const char *cache_dir, struct slice want, const char *file,
    int line)
{
	bool changed;
	struct text found = scan(cache_dir, &changed);

	check_equal(text_slice(&found), want, "the maildrop", file, line);
	text_free(&found);
}

#define assert_scan(cache_dir, literal) \
	check_scan(cache_dir, SLICE(literal), __FILE__, __LINE__)
#define assert_changed(literal) \
	check_session(SLICE(literal), true, __FILE__, __LINE__)
/* And then, as nothing happens, no directory is read. */
#define assert_same(literal) \
	do { \
		check_session(SLICE(literal), false, __FILE__, __LINE__); \
		assert_int_equal(calls.reads, 0); \
	} while (0)

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
