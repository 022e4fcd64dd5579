/*
 * test_maildir_rescan.c - sessions one after the other with a cache: each
 * finds what one without a cache would find, and reads no directory that is
 * as it was; and what other programs do while directories are read.
 *
 * The calls below stand before the C library's own: time passes as the test
 * says, and something may happen before a directory is read.
 */
#include "drive.h"

#include <dlfcn.h>
#include <time.h>

#include "file_system.h"
#include "maildir/maildir.h"
#include "maildir/maildir_uidl.h"

static struct directory directory, cache;
static struct maildir maildir;
static struct error error;

/* ---- system calls ---- */

static struct {
	time_t later;   /* than it is, the clock goes */
	unsigned reads; /* of directories */
	void (*before_read)(void);
} calls;

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int (*real)(clockid_t, struct timespec *);

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, now);
	if (clock == CLOCK_REALTIME)
		now->tv_sec += calls.later;
	return result;
}

DIR *
fdopendir(int fd)
{
	DIR *(*real)(int);

	*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	calls.reads++;
	if (calls.before_read != NULL)
		calls.before_read();
	return real(fd);
}

/* ---- maildrops ---- */

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	file_system_is_shared = false;
	directory_make(&directory);
	directory_make(&cache);
	directory_mkdir(&directory, "new");
	directory_mkdir(&directory, "cur");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	directory_remove(&directory);
	directory_remove(&cache);
	return 0;
}

/* Messages are ordered by these times. */
static void
put(const char *name, const char *text)
{
	static time_t seconds = 1000;
	const struct timespec times[2] = {
		{ .tv_sec = ++seconds }, { .tv_sec = seconds },
	};

	directory_put(&directory, name, slice_from(text));
	assert_int_equal(utimensat(directory.fd, name, times, 0), 0);
}

static void
move(const char *from, const char *to)
{
	assert_int_equal(renameat(directory.fd, from, directory.fd, to), 0);
}

static struct text
scan(const char *cache_dir, bool *changed)
{
	const struct maildir_options options = { .cache_dir = cache_dir };
	struct text text = { .data = NULL };
	char room[MAILDIR_UIDL_MAX];

	if (maildir_open(&maildir, directory.path, &options, &error) != 0)
		fail_msg("%s", error.text);
	*changed = maildir.cache_is_old;
	text_add(&text, SLICE(""));
	for (size_t i = 0; i < maildir.index.n; i++) {
		struct slice uidl = maildir_uidl(&maildir.index, i, room);

		text_format(&text, "%.*s %ju%s\n", SLICE_ARG(uidl),
		    (uintmax_t)maildir.index.messages[i].octets,
		    maildir.index.messages[i].permanent ? " permanent" : "");
	}
	if (maildir_save_cache(&maildir, &error) != 0)
		fail_msg("%s", error.text);
	maildir_close(&maildir);
	return text;
}

/* A session a while later finds this, and what it was not has changed. */
static void
check_session(struct slice want, bool changes, const char *file, int line)
{
	bool changed, ignored;

	calls.later += 10;
	struct text fresh = scan(NULL, &ignored);
	calls.reads = 0;
	struct text found = scan(cache.path, &changed);
	check_equal(text_slice(&fresh), want, "without a cache", file, line);
	check_equal(text_slice(&found), want, "with a cache", file, line);
	if (changed != changes)
		fail_msg("%s:%d: changed %d", file, line, changed);
	text_free(&fresh);
	text_free(&found);
}

#define assert_changed(literal) \
	check_session(SLICE(literal), true, __FILE__, __LINE__)
/* And then, as nothing happens, no directory is read. */
#define assert_same(literal) \
	do { \
		check_session(SLICE(literal), false, __FILE__, __LINE__); \
		assert_int_equal(calls.reads, 0); \
	} while (0)

/* ---- one session after the other ---- */

static void
test_messages(void **state)
{
	(void)state;
	assert_changed("");
	assert_same("");
	put("new/a", "1\n");
	assert_changed("a 3\n");
	/* Of the three directories one. */
	assert_int_equal(calls.reads, 1);
	assert_same("a 3\n");
	put("cur/b:2,S", "22\n");
	assert_changed("a 3\nb 4\n");
	/* Read by somebody: the same message under another name. */
	move("new/a", "cur/a:2,");
	assert_changed("a 3\nb 4\n");
	assert_int_equal(calls.reads, 2);
	move("cur/a:2,", "cur/a:2,S");
	assert_changed("a 3\nb 4\n");
	assert_int_equal(calls.reads, 1);
	assert_same("a 3\nb 4\n");
	/* Gone, and another one in its place. */
	assert_int_equal(unlinkat(directory.fd, "cur/a:2,S", 0), 0);
	assert_changed("b 4\n");
	put("cur/a:2,S", "333\n");
	assert_changed("b 4\na 5\n");
	assert_int_equal(unlinkat(directory.fd, "cur/b:2,S", 0), 0);
	assert_int_equal(unlinkat(directory.fd, "cur/a:2,S", 0), 0);
	assert_changed("");
	assert_same("");
}

static void
test_folders(void **state)
{
	(void)state;
	put("cur/a", "1\n");
	assert_changed("a 3\n");
	directory_mkdir(&directory, ".Sent");
	directory_mkdir(&directory, ".Sent/cur");
	directory_mkdir(&directory, ".Sent/new");
	put(".Sent/cur/s", "22\n");
	assert_changed("a 3\ns/.Sent 4\n");
	assert_same("a 3\ns/.Sent 4\n");
	put(".Sent/new/t", "333\n");
	assert_changed("a 3\ns/.Sent 4\nt/.Sent 5\n");
	assert_int_equal(calls.reads, 1);
	/* Another name for the folder is another id for its messages. */
	move(".Sent", ".Old");
	assert_changed("a 3\ns/.Old 4\nt/.Old 5\n");
	put("new/z", "4444\n");
	move(".Old/new/t", ".Old/cur/t:2,S");
	assert_changed("a 3\ns/.Old 4\nt/.Old 5\nz 6\n");
	remove_tree(directory.fd, ".Old");
	assert_changed("a 3\nz 6\n");
	assert_same("a 3\nz 6\n");
}

static void
test_folders_within(void **state)
{
	(void)state;
	/* No maildir, for in one files of folders are no messages. */
	remove_tree(directory.fd, "new");
	remove_tree(directory.fd, "cur");
	directory_mkdir(&directory, "x");
	directory_mkdir(&directory, "x/y");
	directory_mkdir(&directory, "x/y/cur");
	put("x/y/cur/m", "1\n");
	put("x/f", "22\n");
	assert_changed("m/x/y 3\nf/x 4 permanent\n");
	assert_same("m/x/y 3\nf/x 4 permanent\n");
	/* Below what is as it was, something is not. */
	put("x/y/cur/n", "333\n");
	assert_changed("m/x/y 3\nf/x 4 permanent\nn/x/y 5\n");
	assert_int_equal(calls.reads, 1);
	directory_mkdir(&directory, "x/y/z");
	directory_mkdir(&directory, "x/y/z/new");
	put("x/y/z/new/o", "4444\n");
	assert_changed("m/x/y 3\nf/x 4 permanent\nn/x/y 5\no/x/y/z 6\n");
	/* Its files are no messages any more once it is a maildir. */
	directory_mkdir(&directory, "x/cur");
	assert_changed("m/x/y 3\nn/x/y 5\no/x/y/z 6\n");
	assert_same("m/x/y 3\nn/x/y 5\no/x/y/z 6\n");
	assert_int_equal(unlinkat(directory.fd, "x/cur", AT_REMOVEDIR), 0);
	assert_changed("m/x/y 3\nf/x 4 permanent\nn/x/y 5\no/x/y/z 6\n");
	/* A file takes a folder's place. */
	remove_tree(directory.fd, "x/y/z");
	put("x/y/z", "");
	remove_tree(directory.fd, "x/f");
	assert_changed("m/x/y 3\nn/x/y 5\n");
}

/* Messages that are there twice, and different ones of one name. */
static void
test_doubles(void **state)
{
	(void)state;
	put("new/a", "1\n");
	assert_changed("a 3\n");
	assert_int_equal(linkat(directory.fd, "new/a", directory.fd,
	    "cur/a:2,S", 0), 0);
	assert_changed("a 3\n");
	put("new/b", "1\n");
	assert_changed("a 3\nb 3\n");
	/* The one that was served is gone, the other is not. */
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	assert_changed("a 3\nb 3\n");
	assert_int_equal(unlinkat(directory.fd, "cur/a:2,S", 0), 0);
	assert_changed("b 3\n");
}

/* A directory that has just changed may change again without showing it: it is
 * read again until its times are old enough. */
static void
test_young(void **state)
{
	bool changed;

	(void)state;
	put("new/a", "1\n");
	for (int i = 0; i < 2; i++) {
		calls.reads = 0;
		struct text found = scan(cache.path, &changed);
		assert_slice(text_slice(&found), "a 3\n");
		assert_true(changed);
		assert_true(calls.reads >= 3);
		text_free(&found);
	}
	assert_changed("a 3\n");
	assert_same("a 3\n");
}

/* Where times show nothing, all is read each time, and the cache is written
 * where messages changed. */
static void
test_shared(void **state)
{
	(void)state;
	file_system_is_shared = true;
	put("new/a", "1\n");
	assert_changed("a 3\n");
	for (int i = 0; i < 2; i++) {
		check_session(SLICE("a 3\n"), false, __FILE__, __LINE__);
		assert_true(calls.reads >= 3);
	}
	put("new/b", "1\n");
	assert_changed("a 3\nb 3\n");
	move("new/b", "cur/b:2,S");
	assert_changed("a 3\nb 3\n");
	directory_mkdir(&directory, ".F");
	assert_changed("a 3\nb 3\n");
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	assert_changed("b 3\n");
	check_session(SLICE("b 3\n"), false, __FILE__, __LINE__);
}

/* ---- meanwhile ---- */

/* When cur is about to be read, a message goes from there to new, which was
 * read already. */
static void
to_new_once(void)
{
	if (faccessat(directory.fd, "cur/m", F_OK, 0) == 0 &&
	    calls.reads == 3)
		move("cur/m", "new/m");
}

static void
test_moved_meanwhile(void **state)
{
	bool changed;

	(void)state;
	put("cur/m", "1\n");
	put("cur/n", "22\n");
	calls.later = 10;
	calls.before_read = to_new_once;
	struct text found = scan(cache.path, &changed);
	assert_int_equal(faccessat(directory.fd, "new/m", F_OK, 0), 0);
	assert_slice(text_slice(&found), "m 3\nn 4\n");
	text_free(&found);
	calls.before_read = NULL;
	calls.later += 10;
	found = scan(cache.path, &changed);
	assert_slice(text_slice(&found), "m 3\nn 4\n");
	text_free(&found);
}

/* From the one to the other, whenever one of them is read. */
static void
to_and_fro(void)
{
	if (faccessat(directory.fd, "cur/m", F_OK, 0) == 0)
		move("cur/m", "new/m");
	else
		move("new/m", "cur/m");
}

static void
mark_and_unmark(void)
{
	if (faccessat(directory.fd, "cur/k:2,", F_OK, 0) == 0)
		move("cur/k:2,", "cur/k:2,S");
	else
		move("cur/k:2,S", "cur/k:2,");
}

/* Somebody who never stops does not keep a session from beginning. */
static void
test_never_at_rest(void **state)
{
	bool changed;

	(void)state;
	put("cur/m", "1\n");
	put("cur/n", "22\n");
	calls.later = 10;
	calls.before_read = to_and_fro;
	struct text found = scan(cache.path, &changed);
	assert_true(slice_ends_with(text_slice(&found), SLICE("n 4\n")));
	/* A dozen times it is tried. */
	assert_true(calls.reads > 3 && calls.reads < 100);
	text_free(&found);
	calls.before_read = NULL;
	assert_changed("m 3\nn 4\n");
	/* Also where the message is there each time, by another name. */
	put("cur/k:2,", "333\n");
	calls.later += 10;
	calls.reads = 0;
	calls.before_read = mark_and_unmark;
	found = scan(cache.path, &changed);
	assert_slice(text_slice(&found), "m 3\nn 4\nk 5\n");
	assert_true(calls.reads > 3 && calls.reads < 100);
	text_free(&found);
	calls.before_read = NULL;
	assert_changed("m 3\nn 4\nk 5\n");
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages),
		TEST(test_folders),
		TEST(test_folders_within),
		TEST(test_doubles),
		TEST(test_young),
#ifdef __linux__
		TEST(test_shared),
#endif
		TEST(test_moved_meanwhile),
		TEST(test_never_at_rest),
	};

	return cmocka_run_group_tests_name("maildir_rescan", tests, NULL,
	    NULL);
}
