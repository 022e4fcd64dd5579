/*
 * test_maildir_deliver.c - one message into one maildir: its names, what
 * is there at each step, and what is left of one that is given up.
 */
#include "drive.h"

#include <limits.h>
#include <signal.h>
#include <time.h>

#include "maildir/maildir.h"
#include "maildir/maildir_deliver.h"
#include "system/file.h"

static struct directory directory;
static struct maildir_deliver deliver;
static struct error error;
static char box[100]; /* the maildir: directory/box */
static unsigned descriptors; /* that are open without any delivery */

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	snprintf(box, sizeof(box), "%s/box", directory.path);
	memset(&deliver, 0, sizeof(deliver));
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

#define OK(call) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s", #call, error.text); \
	} while (0)

/* How many entries a directory has, and the name of one of them. */
static size_t
count_entries(const char *path, char *name, size_t size)
{
	int fd = openat(directory.fd, path, O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	size_t n = 0;

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	DIR *dir = fdopendir(fd);
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		n++;
		if (name != NULL)
			snprintf(name, size, "%s", entry->d_name);
	}
	closedir(dir);
	return n;
}

static size_t
count_in(const char *path)
{
	return count_entries(path, NULL, 0);
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(directory.fd, path, &st,
	    AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode;
}

/* Only the maildir's last component may be made. */
static int
begin_at(struct maildir_deliver *at, const char *path)
{
	return maildir_deliver_begin(at, path,
	    file_parent_len(path, strlen(path)), "host.test", &error);
}

static void
begin(void)
{
	OK(begin_at(&deliver, box));
}

static void
write_text(const char *text)
{
	OK(maildir_deliver_write(&deliver, slice_from(text), &error));
}

/* ---- one delivery ---- */

/* What can be seen at each step. */
static void
test_steps(void **state)
{
	char name[NAME_MAX + 1], path[512], got[64];

	(void)state;
	begin();
	assert_int_equal(count_in("box/tmp"), 1);
	assert_int_equal(count_in("box/new"), 0);
	assert_int_equal(count_in("box/cur"), 0);
	write_text("one\n");
	write_text("");
	write_text("two");
	write_text("\n\nthree\n");
	OK(maildir_deliver_sync(&deliver, &error));
	assert_int_equal(count_in("box/new"), 0);
	/* A session need not read in maildirs. */
	ssize_t n = pread(deliver.fd, got, sizeof(got), 0);
	assert_int_equal(n, -1);
	assert_int_equal(errno, EBADF);

	OK(maildir_deliver_link(&deliver, &error));
	assert_int_equal(count_entries("box/new", name, sizeof(name)), 1);
	OK(maildir_deliver_settle(&deliver, &error));
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	assert_int_equal(count_in("box/new"), 1);
	assert_int_equal(count_in("box/cur"), 0);

	snprintf(path, sizeof(path), "%s/new/%s", box, name);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	n = read(fd, got, sizeof(got));
	close(fd);
	assert_slices(((struct slice){ got, (size_t)n }),
	    SLICE("one\ntwo\n\nthree\n"));
	/* Harmless when done already. */
	maildir_deliver_close(&deliver);
}

/* seconds.MmicrosPpid_random.host,S=octets,W=octets on the wire. */
static void
test_name(void **state)
{
	char name[NAME_MAX + 1], host[256];
	long long seconds;
	long micros, pid;
	unsigned random;
	unsigned long size, octets;
	time_t before = time(NULL);

	(void)state;
	begin();
	write_text("one\ntwo\n");
	OK(maildir_deliver_link(&deliver, &error));
	assert_int_equal(count_entries("box/new", name, sizeof(name)), 1);
	assert_int_equal(sscanf(name, "%lld.M%06ldP%ld_%08x.%255[^,],S=%lu,"
	    "W=%lu", &seconds, &micros, &pid, &random, host, &size, &octets),
	    7);
	assert_true(seconds >= before && seconds <= time(NULL));
	assert_in_range(micros, 0, 999999);
	assert_int_equal(pid, getpid());
	assert_text(host, "host.test");
	assert_int_equal(size, 8);
	assert_int_equal(octets, 10);
	/* The same again from these: it has no other parts. */
	char again[512];
	snprintf(again, sizeof(again), "%lld.M%06ldP%ld_%08x.%s,S=8,W=10",
	    seconds, micros, pid, random, host);
	assert_string_equal(name, again);
	/* Its name under tmp is what identifies it. */
	assert_true(slice_starts_with(slice_from(name),
	    slice_from(deliver.unique)));
}

/* S and W are the truth: the POP3 side believes them. */
static void
test_octets(void **state)
{
	static const struct { struct slice text; unsigned size, octets; }
	rows[] = {
		{ SLICE(""), 0, 2 },
		{ SLICE("\n"), 1, 2 },
		{ SLICE("a\n"), 2, 3 },
		{ SLICE("a\n\n\nb\n"), 6, 10 },
		{ SLICE(".\n..\n"), 5, 7 },
		{ SLICE("\0\xFF\n"), 3, 4 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t piece = 1; piece < 4; piece++) {
			char name[NAME_MAX + 1], want[64];
			struct slice rest = rows[i].text;
			struct maildir maildir;

			begin();
			while (rest.len > 0) {
				size_t len = rest.len < piece ? rest.len
				    : piece;
				OK(maildir_deliver_write(&deliver,
				    (struct slice){ rest.data, len },
				    &error));
				rest = slice_skip(rest, len);
			}
			OK(maildir_deliver_link(&deliver, &error));
			maildir_deliver_close(&deliver);
			assert_int_equal(count_entries("box/new", name,
			    sizeof(name)), 1);
			snprintf(want, sizeof(want), ".host.test,S=%u,W=%u",
			    rows[i].size, rows[i].octets);
			assert_true(slice_ends_with(slice_from(name),
			    slice_from(want)));

			/* And under a name of another form it counts just
			 * so many. */
			char from[512], to[512];
			snprintf(from, sizeof(from), "%s/new/%s", box, name);
			snprintf(to, sizeof(to), "%s/new/m", box);
			assert_int_equal(rename(from, to), 0);
			assert_int_equal(maildir_open(&maildir, box,
			    &(struct maildir_options){ .reach =
			    MAILDIR_ALL }, &error), 0);
			assert_int_equal(maildir.index.messages[0].octets,
			    rows[i].octets);
			maildir_close(&maildir);
			assert_int_equal(unlink(to), 0);
		}
}

static void
test_modes(void **state)
{
	char name[NAME_MAX + 1], path[512];
	mode_t umask_before = umask(0);

	(void)state;
	begin();
	OK(maildir_deliver_link(&deliver, &error));
	umask(umask_before);
	assert_int_equal(mode_of("box"), S_IFDIR | 0700);
	assert_int_equal(mode_of("box/new"), S_IFDIR | 0700);
	assert_int_equal(mode_of("box/cur"), S_IFDIR | 0700);
	assert_int_equal(mode_of("box/tmp"), S_IFDIR | 0700);
	count_entries("box/new", name, sizeof(name));
	snprintf(path, sizeof(path), "box/new/%s", name);
	assert_int_equal(mode_of(path), S_IFREG | 0600);
	assert_true((fcntl(deliver.fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* Two of one process in one moment do not meet. */
static void
test_unique(void **state)
{
	enum { MANY = 200 };
	static char names[MANY][sizeof(deliver.unique)];

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		begin();
		snprintf(names[i], sizeof(names[i]), "%s", deliver.unique);
		OK(maildir_deliver_link(&deliver, &error));
		maildir_deliver_close(&deliver);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[i], names[k]);
	}
	assert_int_equal(count_in("box/new"), MANY);
	assert_int_equal(count_in("box/tmp"), 0);
}

/* ---- given up ---- */

static void
test_abandoned(void **state)
{
	(void)state;
	/* Before it is linked: nothing remains. */
	begin();
	write_text("half");
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	assert_int_equal(count_in("box/new"), 0);
	/* Undone before that, too. */
	begin();
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	/* After it: undo takes it out of new again, close does not. */
	begin();
	write_text("whole\n");
	OK(maildir_deliver_link(&deliver, &error));
	assert_int_equal(count_in("box/new"), 1);
	maildir_deliver_undo(&deliver);
	assert_int_equal(count_in("box/new"), 0);
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	/* One that was zeroed holds nothing, and descriptor 0 is not its. */
	struct maildir_deliver zero = { .fd = 0 };
	maildir_deliver_undo(&zero);
	maildir_deliver_close(&zero);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
}

/* Of two maildirs that have it, each undoes its own. */
static void
test_undo_of_several(void **state)
{
	struct maildir_deliver other;
	char path[100];

	(void)state;
	snprintf(path, sizeof(path), "%s/box2", directory.path);
	begin();
	OK(begin_at(&other, path));
	OK(maildir_deliver_link(&deliver, &error));
	OK(maildir_deliver_link(&other, &error));
	maildir_deliver_undo(&deliver);
	assert_int_equal(count_in("box/new"), 0);
	assert_int_equal(count_in("box2/new"), 1);
	maildir_deliver_close(&other);
	assert_int_equal(count_in("box2/new"), 1);
	assert_int_equal(count_in("box2/tmp"), 0);
}

/* Removes files in tmp that are older than 36 hours, and nothing else. */
static void
test_stale(void **state)
{
	static const struct { const char *name; long age; bool stays; }
	rows[] = {
		{ "box/tmp/old", 36 * 3600 + 60, false },
		{ "box/tmp/older", 400 * 86400L, false },
		{ "box/tmp/young", 36 * 3600 - 60, true },
		{ "box/tmp/now", 0, true },
		{ "box/tmp/.old", 400 * 86400L, true },
		{ "box/new/old", 400 * 86400L, true },
		{ "box/cur/old", 400 * 86400L, true },
	};
	time_t now = time(NULL);
	struct stat st;

	(void)state;
	directory_mkdir(&directory, "box/tmp/directory");
	directory_mkdir(&directory, "box/new");
	directory_mkdir(&directory, "box/cur");
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct timespec times[2] = {
			{ .tv_sec = now - rows[i].age },
			{ .tv_sec = now - rows[i].age },
		};

		directory_put(&directory, rows[i].name, SLICE("x"));
		assert_int_equal(utimensat(directory.fd, rows[i].name, times,
		    0), 0);
	}
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	assert_int_equal(utimensat(directory.fd, "box/tmp/directory", times,
	    0), 0);
	/* Changed long ago, read today: somebody has it. */
	directory_put(&directory, "box/tmp/read", SLICE("x"));
	const struct timespec read_now[2] = {
		{ .tv_sec = now }, { .tv_sec = 1 },
	};
	assert_int_equal(utimensat(directory.fd, "box/tmp/read", read_now,
	    0), 0);

	/* Written today, though nobody has read it for long. */
	directory_put(&directory, "box/tmp/written", SLICE("x"));
	const struct timespec written_now[2] = {
		{ .tv_sec = 1 }, { .tv_sec = now },
	};
	assert_int_equal(utimensat(directory.fd, "box/tmp/written",
	    written_now, 0), 0);
	/* No delivery makes links. */
	assert_int_equal(symlinkat("x", directory.fd, "box/tmp/link"), 0);
	assert_int_equal(utimensat(directory.fd, "box/tmp/link", times,
	    AT_SYMLINK_NOFOLLOW), 0);

	begin();
	maildir_deliver_sweep(&deliver);
	for (size_t i = 0; i < COUNT(rows); i++)
		if ((fstatat(directory.fd, rows[i].name, &st, 0) == 0) !=
		    rows[i].stays)
			fail_msg("%s", rows[i].name);
	assert_int_equal(fstatat(directory.fd, "box/tmp/directory", &st, 0),
	    0);
	assert_int_equal(fstatat(directory.fd, "box/tmp/read", &st, 0), 0);
	assert_int_equal(fstatat(directory.fd, "box/tmp/written", &st, 0), 0);
	assert_int_equal(fstatat(directory.fd, "box/tmp/link", &st,
	    AT_SYMLINK_NOFOLLOW), 0);
}

/* A delivery does not wait for thousands of them to be looked at. */
static void
test_many_stale(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	char name[64];

	(void)state;
	directory_mkdir(&directory, "box/tmp");
	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "box/tmp/%d", i);
		directory_put(&directory, name, SLICE("x"));
		assert_int_equal(utimensat(directory.fd, name, times, 0), 0);
	}
	begin();
	maildir_deliver_sweep(&deliver);
	assert_true(count_in("box/tmp") >= 1 + 50);
	maildir_deliver_sweep(&deliver);
	assert_int_equal(count_in("box/tmp"), 1);
}

/* ---- several places ---- */

/* The one file of box/new, and its name. */
static void
read_message(const char *new, char *name, size_t size, struct text *text)
{
	char path[512], piece[4096];
	ssize_t n;

	assert_int_equal(count_entries(new, name, size), 1);
	snprintf(path, sizeof(path), "%s/%s", new, name);
	int fd = openat(directory.fd, path, O_RDONLY);
	assert_true(fd >= 0);
	text->len = 0;
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		text_add(text, (struct slice){ piece, (size_t)n });
	close(fd);
}

/* What was written so far, to be read. */
static int
open_text(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/tmp/%s", box, deliver.unique);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* SIGTERM does not wait for copies to a thousand maildirs. */
static void
test_copy_stopped(void **state)
{
	struct maildir_deliver other;
	char path[512];
	sigset_t stop, before;

	(void)state;
	snprintf(path, sizeof(path), "%s/box2", directory.path);
	begin();
	write_text("text\n");
	const struct maildir_text text = { open_text(), 0, deliver.octets, 1 };
	OK(begin_at(&other, path));
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &stop, &before), 0);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	int copied = maildir_deliver_copy(&other, &text, &error);
	assert_int_equal(sigtimedwait(&stop, NULL,
	    &(struct timespec){ .tv_sec = 1 }), SIGTERM);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	assert_int_equal(copied, -1);
	assert_string_equal(error.text, "stopped while copying a message");
	maildir_deliver_close(&other);
	maildir_deliver_close(&deliver);
	close(text.fd);
}

/* One text, under each place's own lines, and with their own numbers. */
static void
test_copy(void **state)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 200000 };
	struct text text = { .data = NULL }, got = { .data = NULL };
	struct maildir_deliver other;
	char path[100], name[NAME_MAX + 1], want[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/box2", directory.path);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		uint64_t lines = 0;

		text.len = 0;
		text_add(&text, SLICE("To: own\n"));
		text_repeat(&text, 'x', sizes[i]);
		for (size_t at = 8; at < text.len; at += 70) {
			text.data[at] = '\n';
			lines++;
		}
		begin();
		write_text(text.data);
		struct maildir_text part = { open_text(), 8, deliver.octets,
			lines + 1 };
		OK(begin_at(&other, path));
		OK(maildir_deliver_write(&other, SLICE("A: 1\nB: 2\n"),
		    &error));
		/* The number of lines is told, and must be true. */
		assert_int_equal(maildir_deliver_copy(&other, &part, &error),
		    -1);
		part.lines = lines;
		maildir_deliver_close(&other);
		OK(begin_at(&other, path));
		OK(maildir_deliver_write(&other, SLICE("A: 1\nB: 2\n"),
		    &error));
		OK(maildir_deliver_copy(&other, &part, &error));
		close(part.fd);
		OK(maildir_deliver_link(&other, &error));
		maildir_deliver_close(&other);
		maildir_deliver_close(&deliver);

		read_message("box2/new", name, sizeof(name), &got);
		assert_true(slice_starts_with(text_slice(&got),
		    SLICE("A: 1\nB: 2\n")));
		assert_slices(slice_skip(text_slice(&got), 10),
		    slice_skip(text_slice(&text), 8));
		snprintf(want, sizeof(want), ".host.test,S=%zu,W=%zu",
		    sizes[i] + 10, sizes[i] + 10 + 2 + (size_t)lines);
		assert_true(slice_ends_with(slice_from(name),
		    slice_from(want)));
		remove_tree(directory.fd, "box2");
	}
	text_free(&text);
	text_free(&got);
}

/* Parked it needs no descriptor, and can do all that is left to do. */
static void
test_park(void **state)
{
	enum { MANY = 40 };
	static struct maildir_deliver parked[MANY];
	struct text got = { .data = NULL };
	char name[NAME_MAX + 1];
	int before = dup(directory.fd);

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		OK(begin_at(&parked[i], box));
		OK(maildir_deliver_write(&parked[i], SLICE("one\n"),
		    &error));
		OK(maildir_deliver_sync(&parked[i], &error));
		maildir_deliver_park(&parked[i]);
	}
	int after = dup(directory.fd);
	assert_int_equal(after, before + 1);
	close(before);
	close(after);
	assert_int_equal(count_in("box/tmp"), MANY);
	for (size_t i = 0; i < MANY; i++) {
		/* new may vanish meanwhile. */
		if (i == 1)
			remove_tree(directory.fd, "box/new");
		OK(maildir_deliver_link(&parked[i], &error));
		OK(maildir_deliver_settle(&parked[i], &error));
	}
	assert_int_equal(count_in("box/new"), MANY - 1);
	for (size_t i = 1; i < MANY; i++)
		if (i != 7)
			maildir_deliver_undo(&parked[i]);
	read_message("box/new", name, sizeof(name), &got);
	assert_slices(text_slice(&got), SLICE("one\n"));
	assert_true(slice_starts_with(slice_from(name),
	    slice_from(parked[7].unique)));
	for (size_t i = 0; i < MANY; i++)
		maildir_deliver_close(&parked[i]);
	assert_int_equal(count_in("box/tmp"), 0);
	assert_int_equal(count_in("box/new"), 1);

	/* Given up while parked. */
	begin();
	maildir_deliver_park(&deliver);
	assert_int_equal(count_in("box/tmp"), 1);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	maildir_deliver_close(&deliver);
	text_free(&got);
}

/* ---- maildirs that are not whole ---- */

/* What comes after the fixed part of the path is made, and no more. */
static void
test_makes_path(void **state)
{
	char path[100];

	(void)state;
	snprintf(path, sizeof(path), "%s/x//y/box/", directory.path);
	OK(maildir_deliver_begin(&deliver, path, strlen(directory.path),
	    "host.test", &error));
	OK(maildir_deliver_link(&deliver, &error));
	maildir_deliver_close(&deliver);
	assert_int_equal(mode_of("x"), S_IFDIR | 0700);
	assert_int_equal(mode_of("x/y"), S_IFDIR | 0700);
	assert_int_equal(count_in("x/y/box/new"), 1);
	/* It is there by now. */
	OK(maildir_deliver_begin(&deliver, path, strlen(directory.path),
	    "host.test", &error));
	maildir_deliver_close(&deliver);

	/* Its parent must be there. */
	snprintf(path, sizeof(path), "%s/z/y/box", directory.path);
	assert_int_equal(begin_at(&deliver, path), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	/* Nothing of it may be made: all is fixed. */
	assert_int_equal(maildir_deliver_begin(&deliver, box, strlen(box),
	    "host.test", &error), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	assert_int_equal(count_in("."), 1);
	/* cur, new and tmp are made in any case. */
	directory_mkdir(&directory, "box");
	OK(maildir_deliver_begin(&deliver, box, strlen(box), "host.test",
	    &error));
	OK(maildir_deliver_link(&deliver, &error));
	assert_int_equal(count_in("box/new"), 1);
}

/* By names that are relative, too. */
static void
test_relative_path(void **state)
{
	(void)state;
	assert_int_equal(chdir(directory.path), 0);
	OK(maildir_deliver_begin(&deliver, "x/box", 0, "host.test", &error));
	OK(maildir_deliver_sync(&deliver, &error));
	maildir_deliver_park(&deliver);
	OK(maildir_deliver_link(&deliver, &error));
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("x/box/new"), 1);
	assert_int_equal(count_in("x/box/tmp"), 0);
	assert_int_equal(chdir("/"), 0);
}

static void
test_long_path(void **state)
{
	struct text path = { .data = NULL };

	(void)state;
	text_repeat(&path, '/', PATH_MAX - 100);
	assert_int_equal(maildir_deliver_begin(&deliver, path.data, 0,
	    "host.test", &error), -1);
	assert_int_equal(error.errnum, ENAMETOOLONG);
	/* With its files' names it must be shorter than PATH_MAX. */
	path.len = 0;
	for (size_t len; (len = PATH_MAX - sizeof(deliver.name) - path.len)
	    > 0;) {
		text_add(&path, SLICE("/"));
		text_repeat(&path, 'x', len > 200 ? 200 : len - 1);
	}
	assert_int_equal(maildir_deliver_begin(&deliver, path.data, 0,
	    "host.test", &error), -1);
	assert_int_equal(error.errnum, ENAMETOOLONG);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("maildir ")));
	path.data[path.len - 1] = '\0';
	assert_int_equal(maildir_deliver_begin(&deliver, path.data,
	    path.len, "host.test", &error), -1);
	assert_int_equal(error.errnum, ENOENT);
	text_free(&path);
}

static void
test_makes_parts(void **state)
{
	static const char *const missing[] = {
		"box/tmp", "box/new", "box/cur",
	};

	(void)state;
	/* Whichever is missing at the beginning ... */
	for (size_t i = 0; i < COUNT(missing); i++) {
		begin();
		maildir_deliver_close(&deliver);
		remove_tree(directory.fd, missing[i]);
		begin();
		OK(maildir_deliver_link(&deliver, &error));
		OK(maildir_deliver_settle(&deliver, &error));
		maildir_deliver_close(&deliver);
		assert_int_equal(count_in("box/tmp"), 0);
		assert_int_equal(count_in("box/new"), 1);
		remove_tree(directory.fd, "box");
	}
	/* ... and new, where it vanishes in between. */
	begin();
	write_text("x\n");
	remove_tree(directory.fd, "box/new");
	OK(maildir_deliver_link(&deliver, &error));
	assert_int_equal(count_in("box/new"), 1);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
}

/* The file under tmp is gone: no message, and no 250. */
static void
test_lost_tmp(void **state)
{
	(void)state;
	begin();
	write_text("x\n");
	remove_tree(directory.fd, "box/tmp");
	assert_int_equal(maildir_deliver_link(&deliver, &error), -1);
	assert_int_equal(count_in("box/new"), 0);
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/new"), 0);
}

/* A file of that name is in new already: it is not overwritten. */
static void
test_no_overwriting(void **state)
{
	char name[600], got[16];

	(void)state;
	begin();
	write_text("mine\n");
	snprintf(name, sizeof(name), "box/new/%s,S=5,W=6", deliver.unique);
	directory_put(&directory, name, SLICE("theirs"));
	assert_int_equal(maildir_deliver_link(&deliver, &error), -1);
	assert_int_equal(error.errnum, EEXIST);
	/* And it is not ours to take out again. */
	maildir_deliver_undo(&deliver);
	maildir_deliver_close(&deliver);
	int fd = openat(directory.fd, name, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, got, sizeof(got)), 6);
	assert_memory_equal(got, "theirs", 6);
	close(fd);
}

static void
test_bad_places(void **state)
{
	char path[100];

	(void)state;
	/* Its last component is made, no others. */
	snprintf(path, sizeof(path), "%s/none/box", directory.path);
	assert_int_equal(begin_at(&deliver, path), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	directory_put(&directory, "file", SLICE("x"));
	snprintf(path, sizeof(path), "%s/file", directory.path);
	assert_int_equal(begin_at(&deliver, path), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	snprintf(path, sizeof(path), "%s/file/box", directory.path);
	assert_int_equal(begin_at(&deliver, path), -1);
	/* Where tmp is a file there is no place for one. */
	directory_mkdir(&directory, "box");
	directory_put(&directory, "box/tmp", SLICE("x"));
	assert_int_equal(begin_at(&deliver, box), -1);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box"), 1);
}

/* A write that fails says so, and leaves nothing. */
static void
test_write_error(void **state)
{
	(void)state;
	begin();
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	assert_true(full >= 0);
	dup2(full, deliver.fd);
	close(full);
	assert_int_equal(maildir_deliver_write(&deliver, SLICE("text\n"),
	    &error), -1);
	assert_int_equal(error.kind, ERROR_FULL);
	assert_int_equal(error.errnum, ENOSPC);
	maildir_deliver_close(&deliver);
	assert_int_equal(count_in("box/tmp"), 0);
	assert_int_equal(count_in("box/new"), 0);
}

/* For --check-config: looks, and makes nothing. */
static void
test_check(void **state)
{
	char path[100];

	(void)state;
	OK(maildir_deliver_check(box, &error));
	assert_int_equal(count_in("."), 0);
	directory_mkdir(&directory, "box");
	OK(maildir_deliver_check(box, &error));
	assert_int_equal(count_in("box"), 0);
	snprintf(path, sizeof(path), "%s/none/box", directory.path);
	assert_int_equal(maildir_deliver_check(path, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	directory_put(&directory, "file", SLICE("x"));
	snprintf(path, sizeof(path), "%s/file", directory.path);
	assert_int_equal(maildir_deliver_check(path, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_true(slice_ends_with(slice_from(error.text),
	    SLICE("/file: not a directory")));
	/* Whose owner may not have a maildir there: the error says who. */
	if (geteuid() == 0) {
		assert_int_equal(fchownat(directory.fd, "box", 65534, 65534,
		    0), 0);
		assert_int_equal(fchown(directory.fd, 65533, 65533), 0);
		assert_int_equal(maildir_deliver_check(box, &error), -1);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_non_null(strstr(error.text, "its owner, user 65534,"));
	}
	assert_int_equal(descriptors_open(), descriptors);
}

static void
test_descriptors(void **state)
{
	int before = dup(directory.fd);

	(void)state;
	for (int i = 0; i < 5; i++) {
		begin();
		OK(maildir_deliver_link(&deliver, &error));
		maildir_deliver_close(&deliver);
	}
	directory_put(&directory, "file", SLICE("x"));
	assert_int_equal(begin_at(&deliver,
	    directory_path(&directory, "file")), -1);
	maildir_deliver_close(&deliver);
	int after = dup(directory.fd);
	assert_int_equal(after, before + 1);
	close(before);
	close(after);
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_steps),
		TEST(test_name),
		TEST(test_octets),
		TEST(test_modes),
		TEST(test_unique),
		TEST(test_abandoned),
		TEST(test_undo_of_several),
		TEST(test_stale),
		TEST(test_many_stale),
		TEST(test_copy_stopped),
		TEST(test_copy),
		TEST(test_park),
		TEST(test_makes_path),
		TEST(test_relative_path),
		TEST(test_long_path),
		TEST(test_makes_parts),
		TEST(test_lost_tmp),
		TEST(test_no_overwriting),
		TEST(test_bad_places),
		TEST(test_write_error),
		TEST(test_check),
		TEST(test_descriptors),
	};

	return cmocka_run_group_tests_name("maildir_deliver", tests, NULL,
	    NULL);
}
