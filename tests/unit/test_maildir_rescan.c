/*
 * test_maildir_rescan.c - sessions one after the other with a cache: each
 * finds what one without a cache would find, and reads no directory that is
 * as it was.
 */
#include "maildrop.h"

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

/* A maildrop that is one directory, and no maildir. */
static void
test_one_folder(void **state)
{
	(void)state;
	remove_tree(directory.fd, "new");
	remove_tree(directory.fd, "cur");
	put("a", "1\n");
	assert_changed("a 3 permanent\n");
	assert_same("a 3 permanent\n");
	put("b", "22\n");
	assert_changed("a 3 permanent\nb 4 permanent\n");
	assert_int_equal(calls.opened, 1);
}

/* What is known is not opened again, in whichever directory something
 * changed. */
static void
test_known_are_not_opened(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("cur/c", "333\n");
	put("new/d", "4444\n");
	assert_changed("a 3\nb 4\nc 5\nd 6\n");
	assert_int_equal(calls.opened, 4);
	put("new/e", "1\n");
	assert_changed("a 3\nb 4\nc 5\nd 6\ne 3\n");
	assert_int_equal(calls.opened, 1);
	move("new/e", "cur/e:2,S");
	assert_changed("a 3\nb 4\nc 5\nd 6\ne 3\n");
	assert_int_equal(calls.opened, 0);
}

/* A folder goes that stood before another. */
static void
test_first_folder_goes(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	directory_mkdir(&directory, ".B");
	directory_mkdir(&directory, ".B/cur");
	put(".B/cur/b", "1\n");
	put(".A/cur/a", "22\n");
	put("new/n", "333\n");
	assert_changed("b/.B 3\na/.A 4\nn 5\n");
	remove_tree(directory.fd, ".A");
	assert_changed("b/.B 3\nn 5\n");
	assert_same("b/.B 3\nn 5\n");
}

/* Messages that are there twice. */
static void
test_doubles(void **state)
{
	(void)state;
	put("new/a", "1\n");
	assert_changed("a 3\n");
	assert_int_equal(linkat(directory.fd, "new/a", directory.fd,
	    "cur/a:2,S", 0), 0);
	assert_changed("a 3 doubled\n");
	put("new/b", "1\n");
	assert_changed("a 3 doubled\nb 3\n");
	/* The one that was served is gone, the other is not. */
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	assert_changed("a 3\nb 3\n");
	assert_int_equal(unlinkat(directory.fd, "cur/a:2,S", 0), 0);
	assert_changed("b 3\n");
	/* The one that was not. */
	assert_int_equal(linkat(directory.fd, "new/b", directory.fd,
	    "cur/b:2,S", 0), 0);
	assert_changed("b 3 doubled\n");
	assert_int_equal(unlinkat(directory.fd, "cur/b:2,S", 0), 0);
	assert_changed("b 3\n");
	/* By one of its names it cannot be read. */
	put("new/c", "1\n\n\n");
	assert_int_equal(linkat(directory.fd, "new/c", directory.fd,
	    "cur/c:2,S", 0), 0);
	calls.closed = "c";
	calls.closed_errno = EACCES;
	assert_changed("b 3\nc 7 doubled\n");
}

/* Different ones of one name, until one of them goes. */
static void
test_twins(void **state)
{
	bool changed;

	(void)state;
	put("new/z", "1\n");
	put("new/a", "22\n");
	assert_changed("z 3\na 4\n");
	put("cur/a:2,S", "333\n");
	calls.later += 10;
	struct text fresh = scan(NULL, &changed);
	struct text found = scan(cache.path, &changed);
	assert_slices(text_slice(&found), text_slice(&fresh));
	assert_null(strstr(found.data, "\na "));
	text_free(&fresh);
	text_free(&found);
	assert_int_equal(unlinkat(directory.fd, "cur/a:2,S", 0), 0);
	assert_changed("z 3\na 4\n");
	assert_same("z 3\na 4\n");
}

/* Two of one name, and the first of them twice, in whatever order they are
 * seen: none of the two has the name to itself. */
static void
test_twins_and_doubles(void **state)
{
	char name[32];
	bool changed;

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "new/m%d", i);
		put(name, "1\n");
		snprintf(name, sizeof(name), "cur/m%d:2,%c", i,
		    i % 2 == 0 ? 'S' : 'T');
		put(name, i % 2 == 0 ? "1\n" : "22\n");
		snprintf(name, sizeof(name), "cur/m%d:2,%c", i,
		    i % 2 == 0 ? 'T' : 'S');
		put(name, i % 2 == 0 ? "22\n" : "1\n");
	}
	struct text found = scan(NULL, &changed);
	size_t lines = 0;
	for (size_t i = 0; i < found.len; i++)
		lines += found.data[i] == '\n';
	assert_int_equal(lines, 20);
	assert_null(strchr(found.data, 'm'));
	text_free(&found);
}

/* ---- what cannot be read ---- */

/* A message that nobody may read yet has a guess for its octets, until it can
 * be counted: its directory does not change then. */
static void
test_unreadable_message(void **state)
{
	(void)state;
	put("cur/x", "1\n");
	put("new/a", "1\n\n\n");
	calls.closed = "a";
	calls.closed_errno = EACCES;
	assert_changed("x 3\na 4\n");
	assert_changed("x 3\na 4\n");
	calls.closed = NULL;
	assert_changed("x 3\na 7\n");
	assert_int_equal(calls.opened, 1);
	assert_same("x 3\na 7\n");
}

/* A folder that may not be read is left out, and not read again and again. */
static void
test_unreadable_folder(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/a", "1\n");
	put("new/n", "22\n");
	calls.closed = ".A";
	calls.closed_errno = EACCES;
	assert_changed("n 4\nleft out\n");
	assert_same("n 4\nleft out\n");
	/* Its mode has changed, and so its time. */
	calls.closed = NULL;
	assert_int_equal(fchmodat(directory.fd, ".A", 0755, 0), 0);
	assert_changed("a/.A 3\nn 4\n");
	/* It was read, and is not now. */
	assert_int_equal(fchmodat(directory.fd, ".A", 0700, 0), 0);
	calls.closed = ".A";
	assert_changed("n 4\nleft out\n");
}

/* What is too deep is told of only while what it is in is served. */
static void
test_too_deep(void **state)
{
	char path[2 * MAILDIR_DEPTH_MAX + 4] = "";
	size_t len = 0;

	(void)state;
	put("new/n", "22\n");
	for (unsigned depth = 1; depth <= MAILDIR_DEPTH_MAX; depth++) {
		len += (size_t)snprintf(path + len, sizeof(path) - len,
		    "%s%c", depth > 1 ? "/" : "",
		    depth < MAILDIR_DEPTH_MAX ? 'd' : 'e');
		directory_mkdir(&directory, path);
	}
	assert_changed("n 4\n");
	snprintf(path + len, sizeof(path) - len, "/x");
	directory_mkdir(&directory, path);
	assert_changed("n 4\ntoo deep\n");
	path[len] = '\0';
	calls.closed = "e";
	calls.closed_errno = EACCES;
	assert_int_equal(fchmodat(directory.fd, path, 0700, 0), 0);
	assert_int_equal(fchmodat(directory.fd, path, 0755, 0), 0);
	assert_changed("n 4\nleft out\n");
}

/* Nor can it be seen whether it is as it was: so it is read once it can be,
 * even if nothing has changed in it. */
static void
test_hidden_folder(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/a", "1\n");
	put("new/n", "22\n");
	assert_changed("a/.A 3\nn 4\n");
	calls.closed = ".A";
	calls.closed_errno = EACCES;
	calls.hidden = true;
	assert_changed("n 4\nleft out\n");
	calls.closed = NULL;
	assert_changed("a/.A 3\nn 4\n");
	assert_same("a/.A 3\nn 4\n");
}

/* A directory that has just changed may change again without showing it: it is
 * read again until its times are old enough. */
static void
test_young(void **state)
{
	bool changed;

	(void)state;
	put("new/a", "1\n");
	/* However long this machine takes. */
	calls.later = -5;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages),
		TEST(test_folders),
		TEST(test_folders_within),
		TEST(test_one_folder),
		TEST(test_known_are_not_opened),
		TEST(test_first_folder_goes),
		TEST(test_doubles),
		TEST(test_twins),
		TEST(test_twins_and_doubles),
		TEST(test_unreadable_message),
		TEST(test_unreadable_folder),
		TEST(test_hidden_folder),
		TEST(test_too_deep),
		TEST(test_young),
#ifdef __linux__
		TEST(test_shared),
#endif
	};

	return cmocka_run_group_tests_name("maildir_rescan", tests, NULL,
	    NULL);
}
