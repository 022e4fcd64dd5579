/*
 * test_maildir_remove.c - what QUIT removes, and what is left, while other
 * programs rename messages, hold them fast or take them away.
 */
#include "maildrop.h"
#include "no_memory.h"

/* ---- one session ---- */

static void
begin_with(const struct maildir_options *options)
{
	let_time_pass();
	if (maildir_open(&maildir, directory.path, options, &error) != 0)
		fail_msg("%s", error.text);
}

static void
begin(void)
{
	begin_with(&(const struct maildir_options){ .timeout = 0 });
}

/* Marks the message that has these octets. */
static void
mark(uint64_t octets)
{
	for (size_t i = 0; i < maildir.index.n; i++)
		if (maildir.index.messages[i].octets == octets) {
			maildir.index.messages[i].deleted = 1;
			return;
		}
	fail_msg("no message of %ju octets", (uintmax_t)octets);
}

/* So many are removed, and so many of the others are not; for a reason, where
 * there are any. */
static void
check_removed(size_t want_removed, size_t want_kept, const char *file,
    int line)
{
	size_t removed = 99, kept = 99;

	error = (struct error){ .errnum = 0 };
	int result = maildir_remove_marked(&maildir, &removed, &kept, &error);
	if (removed != want_removed || kept != want_kept ||
	    result != (want_kept == 0 ? 0 : -1) ||
	    (want_kept > 0) != (error.text[0] != '\0'))
		fail_msg("%s:%d: %d, %zu removed, %zu kept, \"%s\"", file,
		    line, result, removed, kept, error.text);
}

#define assert_removed(removed, kept) \
	check_removed(removed, kept, __FILE__, __LINE__)

/* The octets of all messages that the next session finds. */
static void
check_left(const char *want, const char *file, int line)
{
	struct text text = { .data = NULL };

	maildir_close(&maildir);
	calls.closed = calls.kept = NULL;
	calls.before_read = NULL;
	calls.after_read = NULL;
	calls.failing_read = 0;
	begin();
	text_add(&text, SLICE(""));
	for (size_t i = 0; i < maildir.index.n; i++)
		text_format(&text, " %ju",
		    (uintmax_t)maildir.index.messages[i].octets);
	check_equal(text_slice(&text), slice_from(want), "what is left",
	    file, line);
	text_free(&text);
	maildir_close(&maildir);
}

#define assert_left(want) check_left(want, __FILE__, __LINE__)

/* Messages of 3, 4, 5 and 6 octets, in three directories. */
static void
put_four(void)
{
	directory_mkdir(&directory, ".F");
	directory_mkdir(&directory, ".F/new");
	directory_mkdir(&directory, ".F/cur");
	put("new/a", "1\n");
	put("cur/b:2,S", "22\n");
	put(".F/new/c", "333\n");
	put("new/d", "4444\n");
}

/* ---- what is marked goes ---- */

static void
test_marked_alone(void **state)
{
	(void)state;
	put_four();
	begin();
	assert_removed(0, 0);
	mark(3);
	mark(5);
	assert_removed(2, 0);
	assert_int_equal(calls.rests, 0);
	assert_left(" 4 6");
}

static void
test_gone_counts_as_removed(void **state)
{
	(void)state;
	put_four();
	begin();
	mark(3);
	mark(4);
	mark(5);
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	remove_tree(directory.fd, ".F");
	/* What has just changed, however long ago this machine did that, may
	 * have changed once more, unseen. */
	calls.later = -5;
	assert_removed(3, 0);
	assert_true(calls.rests > 0);
	assert_left(" 6");
	/* A file is where its folder was. */
	directory_mkdir(&directory, ".G");
	directory_mkdir(&directory, ".G/cur");
	put(".G/cur/g", "7777777\n");
	begin();
	mark(9);
	remove_tree(directory.fd, ".G");
	directory_put(&directory, ".G", SLICE(""));
	assert_removed(1, 0);
	assert_left(" 6");
}

/* It has just changed, though its time was put back: ctime tells. */
static void
test_gone_and_time_put_back(void **state)
{
	const struct timespec times[2] = {
		{ .tv_sec = 1000 }, { .tv_sec = 1000 },
	};

	(void)state;
	put_four();
	/* Nothing else is in motion. */
	calls.later = 10;
	begin();
	/* However long this machine takes, it has just changed. */
	calls.later = -5;
	mark(3);
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	assert_int_equal(utimensat(directory.fd, "new", times, 0), 0);
	assert_removed(1, 0);
	assert_true(calls.rests > 0);
	assert_left(" 4 5 6");
}

/* Read, marked, moved back by another client before QUIT. */
static void
test_renamed(void **state)
{
	static const char *const names[] = {
		"cur/a:2,", "cur/a:2,S", "new/a:2,RS", "cur/a",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		put("new/a", "1\n");
		put("new/ab", "22\n");
		put("cur/x", "333\n");
		begin();
		mark(3);
		mark(5);
		move("new/a", names[i]);
		assert_removed(2, 0);
		assert_int_equal(calls.rests, 0);
		assert_left(" 4");
		assert_int_equal(unlinkat(directory.fd, "new/ab", 0), 0);
	}
}

/* Many in one directory: it is read once, and one that is as it was is not. */
static void
test_all_renamed(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("new/c", "333\n");
	put("cur/x", "4444\n");
	calls.later = 10;
	begin();
	mark(3);
	mark(4);
	mark(5);
	move("new/a", "new/a:2,S");
	move("new/b", "new/b:2,S");
	move("new/c", "new/c:2,S");
	calls.reads = 0;
	assert_removed(3, 0);
	assert_int_equal(calls.reads, 1);
	assert_left(" 6");
}

/* Another QUIT, so to speak: what was read for the first is read again. */
static void
test_removed_twice(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	begin();
	mark(3);
	move("new/a", "new/a:2,S");
	assert_removed(1, 0);
	maildir.index.messages[0].deleted = 0;
	mark(4);
	move("new/b", "new/b:2,S");
	assert_removed(1, 0);
	assert_int_equal(calls.rests, 0);
	assert_left("");
}

/* In a folder that is no maildir the name may change, too. */
static void
test_plain_folder(void **state)
{
	(void)state;
	remove_tree(directory.fd, "new");
	remove_tree(directory.fd, "cur");
	directory_mkdir(&directory, "f");
	put("f/a", "1\n");
	put("f/b", "22\n");
	begin();
	move("f/a", "f/a:2,S");
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unlinkat(directory.fd, "f/b", 0), 0);
	assert_int_equal(maildir_open_message(&maildir, 1, &error), -1);
	maildir_close(&maildir);
}

/* A message goes with all its names: a hard link, a copy, and names that came
 * during the session. */
static void
test_doubles(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("cur/b:2,S", "22\n");
	put("new/c", "333\n");
	assert_int_equal(linkat(directory.fd, "new/a", directory.fd,
	    "cur/a:2,S", 0), 0);
	begin();
	assert_int_equal(maildir.index.n, 3);
	mark(3);
	mark(4);
	assert_int_equal(linkat(directory.fd, "new/a", directory.fd,
	    "new/a:2,T", 0), 0);
	assert_removed(2, 0);
	assert_left(" 5");
}

/* Messages of one name: the one that is marked goes, whoever has its name. */
static void
test_twins(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("cur/a:2,S", "22\n");
	begin();
	mark(3);
	move("cur/a:2,S", "x");
	move("new/a", "cur/a:2,S");
	move("x", "new/a");
	assert_removed(1, 0);
	assert_left(" 4");
}

/* New mail by the name of what is gone is not what was marked. */
static void
test_another_by_that_name(void **state)
{
	(void)state;
	put("new/a", "1\n");
	begin();
	mark(3);
	move("new/a", "cur/x");
	put("cur/a:2,", "another\n");
	assert_removed(1, 0);
	assert_left(" 3 9");
}

/* Its directory was opened, and is another one now. */
static void
test_replaced_directory(void **state)
{
	(void)state;
	put_four();
	begin();
	for (int i = 0; i < 2; i++) {
		int fd = maildir_open_message(&maildir, 2, &error);
		assert_true(fd >= 0);
		close(fd);
		move(".F", "old");
		directory_mkdir(&directory, ".F");
		directory_mkdir(&directory, ".F/new");
		directory_mkdir(&directory, ".F/cur");
		move("old/new/c", ".F/new/c");
		remove_tree(directory.fd, "old");
	}
	mark(5);
	assert_removed(1, 0);
	assert_left(" 3 4 6");
}

/* ---- what cannot be removed ---- */

static void
test_kept(void **state)
{
	static const int errnos[] = { EACCES, EROFS, EIO, EBUSY };

	(void)state;
	put_four();
	for (size_t i = 0; i < COUNT(errnos); i++) {
		put("new/a", "1\n");
		put(".F/new/c", "333\n");
		begin();
		mark(3);
		mark(4);
		mark(5);
		calls.kept = "b:2,S";
		calls.kept_errno = errnos[i];
		assert_removed(2, 1);
		assert_int_equal(error.errnum, errnos[i]);
		assert_true(slice_starts_with(slice_from(error.text),
		    SLICE("message b:2,S: ")));
		assert_left(" 4 6");
	}
}

/* The first reason is told. */
static void
test_first_reason(void **state)
{
	(void)state;
	put_four();
	begin();
	for (uint64_t octets = 3; octets <= 6; octets++)
		mark(octets);
	/* All of one directory, and one that is gone from another that cannot
	 * be read. */
	calls.closed = "cur";
	calls.closed_errno = EIO;
	calls.kept = "d";
	calls.kept_errno = EACCES;
	assert_int_equal(unlinkat(directory.fd, ".F/new/c", 0), 0);
	assert_removed(1, 3);
	assert_int_equal(error.errnum, EIO);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("message b:2,S: ")));
	assert_left(" 4 6");
}

/* A shared file system may have lost track of the file, which may be there all
 * the same. */
static void
test_stale(void **state)
{
	(void)state;
	file_system_is_shared = true;
	put_four();
	begin();
	mark(6);
	calls.kept = "d";
	calls.kept_errno = ESTALE;
	assert_removed(0, 1);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("messages are renamed faster ")));
	assert_left(" 3 4 5 6");
}

/* Where it may be cannot be read: it may be there. */
static void
test_each_directory_fails(void **state)
{
	(void)state;
	put_four();
	for (unsigned n = 1; n <= 2; n++) {
		begin();
		mark(3);
		move("new/a", "cur/a:2,S");
		calls.reads = 0;
		calls.failing_read = n;
		assert_removed(0, 1);
		assert_int_equal(error.errnum, EIO);
		assert_left(" 3 4 5 6");
		move("cur/a:2,S", "new/a");
	}
	begin();
	mark(3);
	move("new/a", "cur/a:2,S");
	calls.closed = "cur";
	calls.closed_errno = EACCES;
	assert_removed(0, 1);
	assert_int_equal(error.errnum, EACCES);
	assert_left(" 3 4 5 6");
	begin();
	mark(3);
	move("cur/a:2,S", "new/a:2,S");
	calls.no_entries = true;
	assert_removed(0, 1);
	assert_int_equal(error.errnum, EIO);
	calls.no_entries = false;
	assert_left(" 3 4 5 6");
}

/* ---- what moves meanwhile ---- */

static unsigned renames; /* that are still to come */

/* From the one to the other, whenever a directory is read. */
static void
rename_again(int fd)
{
	(void)fd;
	if (renames == 0)
		return;
	renames--;
	if (faccessat(directory.fd, "cur/a:2,S", F_OK, 0) == 0)
		move("cur/a:2,S", "new/a:2,S");
	else
		move("new/a:2,S", "cur/a:2,S");
}

static void
test_renamed_while_it_is_looked_for(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= 6; n++) {
		put("new/a", "1\n");
		put("new/b", "22\n");
		begin();
		mark(3);
		move("new/a", "new/a:2,S");
		renames = n;
		calls.before_read = rename_again;
		assert_removed(1, 0);
		assert_int_equal(renames, 0);
		assert_left(" 4");
	}
}

/* Whoever never stops is told about. */
static void
test_renamed_for_ever(void **state)
{
	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("new/c", "333\n");
	begin();
	mark(3);
	mark(4);
	move("new/a", "new/a:2,S");
	renames = 1000;
	calls.before_read = rename_again;
	assert_removed(1, 1);
	assert_string_equal(error.text, "messages are renamed faster than "
	    "they can be removed");
	/* It was waited for a while, but not for ever. */
	assert_int_equal(calls.rests, 19);
	assert_left(" 3 5");
}

/* In the middle of it a folder is made that was not there, and the message goes
 * there. */
static void
make_cur(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, "cur", F_OK, 0) == 0)
		return;
	directory_mkdir(&directory, "cur");
	move("new/a:2,S", "cur/a:2,S");
}

static void
test_folder_is_made(void **state)
{
	(void)state;
	remove_tree(directory.fd, "cur");
	put("new/a", "1\n");
	put("new/b", "22\n");
	begin();
	mark(3);
	move("new/a", "new/a:2,S");
	calls.before_read = make_cur;
	assert_removed(1, 0);
	assert_left(" 4");
}

/* The other way round: the last directory that is read tells of no change. */
static void
make_new(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, "new", F_OK, 0) == 0)
		return;
	directory_mkdir(&directory, "new");
	move("cur/a:2,S", "new/a:2,S");
}

static void
test_first_folder_is_made(void **state)
{
	(void)state;
	remove_tree(directory.fd, "new");
	put("cur/a:2,", "1\n");
	put("cur/b:2,", "22\n");
	begin();
	mark(3);
	move("cur/a:2,", "cur/a:2,S");
	calls.before_read = make_new;
	assert_removed(1, 0);
	assert_left(" 4");
}

/* It was elsewhere while both were read, and comes back to the one or to the
 * other, each of which had been at rest. */
static const char *back;

static void
bring_back(void)
{
	if (faccessat(directory.fd, "x", F_OK, 0) != 0)
		return;
	if (faccessat(directory.fd, "new", F_OK, 0) == 0 && calls.reads < 2)
		return;
	directory_mkdir(&directory, "new");
	move("x", back);
}

static void
test_comes_back(void **state)
{
	/* The last one is not there until then. */
	static const char *const places[] = { "new/a", "cur/a:2,S", "new/a" };

	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		put("new/a", "1\n");
		put("cur/b", "22\n");
		if (i == 2) {
			move("new/a", "cur/a");
			remove_tree(directory.fd, "new");
		}
		calls.later = 10;
		begin();
		mark(3);
		move(i == 2 ? "cur/a" : "new/a", "x");
		put("cur/c", "333\n");
		back = places[i];
		calls.reads = 0;
		calls.later = 20;
		calls.after_read = bring_back;
		assert_removed(1, 0);
		assert_int_equal(faccessat(directory.fd, "x", F_OK, 0), -1);
		assert_left(" 4 5");
		remove_tree(directory.fd, "cur");
		directory_mkdir(&directory, "cur");
	}
}

/* ---- opening ---- */

/* Whoever renames a message for ever keeps it from being opened, not the
 * session from going on. */
static void
test_open_is_given_up(void **state)
{
	(void)state;
	put("new/a", "1\n");
	begin();
	move("new/a", "new/a:2,S");
	renames = 1000;
	calls.before_read = rename_again;
	calls.reads = 0;
	/* Each time it is found, and gone when it is opened. */
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	assert_true(slice_ends_with(slice_from(error.text),
	    SLICE(" is gone")));
	assert_true(calls.reads > 2 && calls.reads <= 10);
	calls.before_read = NULL;
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	/* It cannot be opened: whatever the reason, that is not a maildrop
	 * that is missing. */
	calls.closed = maildir.index.text + maildir.index.files[0].name;
	calls.closed_errno = ENOTDIR;
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	calls.closed = NULL;
	/* Where it may be cannot be read. */
	calls.no_entries = true;
	move(faccessat(directory.fd, "cur/a:2,S", F_OK, 0) == 0 ? "cur/a:2,S"
	    : "new/a:2,S", "new/a:2,F");
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	assert_int_equal(error.errnum, EIO);
	calls.no_entries = false;
	maildir_close(&maildir);
}

/* What went wrong before is not what goes wrong now. */
static void
test_old_errno(void **state)
{
	(void)state;
	put("new/a", "1\n");
	begin();
	for (int i = 0; i < 2; i++) {
		errno = ENOENT;
		int fd = maildir_open_message(&maildir, 0, &error);
		assert_true(fd >= 0);
		close(fd);
	}
	maildir_close(&maildir);
}

/* What has changed is counted anew, in a time of its own. */
static void
test_open_changed(void **state)
{
	const struct maildir_options options = { .timeout = 100 };
	struct text long_text = { .data = NULL };

	(void)state;
	text_repeat(&long_text, '\n', 2 << 20);
	put("new/a", "1\n");
	begin_with(&options);
	put("new/a", long_text.data);
	calls.later += 1000;
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(maildir.index.messages[0].octets, 4 << 20);
	/* Once. */
	calls.read_errno = EIO;
	fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	calls.read_errno = 0;
	put("new/a", long_text.data);
	calls.slow = 10;
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	assert_string_equal(error.text,
	    "maildrop: reading it took too long");
	calls.slow = 0;
	calls.read_errno = EIO;
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	assert_int_equal(error.errnum, EIO);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("message a: ")));
	calls.read_errno = 0;
	maildir_close(&maildir);
	text_free(&long_text);
}

/* ---- no memory ---- */

static void
test_no_memory(void **state)
{
	unsigned failed = 0;
	size_t removed, kept;

	(void)state;
	put("new/a", "1\n");
	begin();
	mark(3);
	allocations.n = 0;
	allocations.failing = 1;
	assert_int_equal(maildir_remove_marked(&maildir, &removed, &kept,
	    &error), -1);
	assert_int_equal(removed, 0);
	assert_int_equal(kept, 1);
	assert_int_equal(error.errnum, ENOMEM);
	maildir_close(&maildir);
	allocations.failing = 0;
	for (unsigned n = 1; n <= allocations.n + 1; n++) {

		put("new/a", "1\n");
		put("new/b", "22\n");
		put("cur/b:2,S", "22\n");
		put("new/c", "333\n");
		put("cur/t", "1\n");
		put("new/t", "22\n");
		directory_mkdir(&directory, ".F");
		directory_mkdir(&directory, ".F/new");
		put(".F/new/f", "55555\n");
		begin();
		mark(3);
		mark(4);
		mark(7);
		move("new/a", "cur/a:2,a-name-so-long-that-text-must-grow");
		directory_mkdir(&directory, ".F/cur");
		move(".F/new/f", ".F/cur/f:2,S");
		allocations.n = 0;
		allocations.failing = n;
		int result = maildir_remove_marked(&maildir, &removed, &kept,
		    &error);
		allocations.failing = 0;
		assert_int_equal(removed + kept, 3);
		assert_int_equal(result, kept == 0 ? 0 : -1);
		if (kept > 0)
			assert_int_equal(error.errnum, ENOMEM);
		failed += kept > 0;
		maildir_close(&maildir);
		begin();
		/* What is said to be removed is gone; of the others it was not
		 * found out whether they have another name. */
		assert_true(maildir.index.n <= 6 - removed);
		assert_true(maildir.index.n >= 3);
		maildir_close(&maildir);
		remove_tree(directory.fd, "new");
		remove_tree(directory.fd, "cur");
		remove_tree(directory.fd, ".F");
		directory_mkdir(&directory, "new");
		directory_mkdir(&directory, "cur");
	}
	assert_true(failed >= 2);
}

/* ---- the cache ---- */

/* A directory that was read again is not the cache's any more. */
static void
test_cache_after_a_search(void **state)
{
	const struct maildir_options options = { .cache_dir = cache.path };

	(void)state;
	put("new/a", "1\n");
	assert_changed("a 3\n");
	put("new/b", "22\n");
	begin_with(&options);
	put("cur/c", "333\n");
	move("new/a", "cur/a:2,S");
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	if (maildir_save_cache(&maildir, &error) != 0)
		fail_msg("%s", error.text);
	maildir_close(&maildir);
	assert_changed("a 3\nb 4\nc 5\n");
	assert_same("a 3\nb 4\nc 5\n");
}

/* One folder went, and another came: both are known by their numbers, and found
 * by their paths. */
static void
test_folder_in_place_of_another(void **state)
{
	const struct maildir_options options = { .cache_dir = cache.path };

	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/a", "1\n");
	put("new/n", "22\n");
	assert_changed("a/.A 3\nn 4\n");
	move(".A", ".Z");
	calls.later += 10;
	begin_with(&options);
	size_t folders = maildir.index.n_folders;
	move(".Z/cur/a", ".Z/cur/a:2,S");
	move("new/n", "new/n:2,S");
	for (size_t i = 0; i < 2; i++) {
		int fd = maildir_open_message(&maildir, i, &error);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(maildir.index.n_folders, folders);
	maildir_close(&maildir);
}

/* What a message's octets were found to be when it was sent, later sessions
 * know, and they read its directory. */
static void
test_corrected_octets(void **state)
{
	const struct maildir_options options = { .cache_dir = cache.path };

	(void)state;
	put("new/1.M1P1_1.h,S=2,W=4", "1\n");
	put("cur/b", "22\n");
	assert_changed("1.M1P1_1.h,S=2,W=4 4\nb 4\n");
	assert_same("1.M1P1_1.h,S=2,W=4 4\nb 4\n");
	begin_with(&options);
	maildir_correct_octets(&maildir, 0, 3);
	assert_int_equal(maildir_save_cache(&maildir, &error), 0);
	maildir_close(&maildir);
	calls.later += 10;
	calls.reads = 0;
	assert_scan(cache.path, "1.M1P1_1.h,S=2,W=4 3\nb 4\n");
	assert_int_equal(calls.reads, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_marked_alone),
		TEST(test_gone_counts_as_removed),
		TEST(test_gone_and_time_put_back),
		TEST(test_renamed),
		TEST(test_all_renamed),
		TEST(test_removed_twice),
		TEST(test_plain_folder),
		TEST(test_doubles),
		TEST(test_twins),
		TEST(test_another_by_that_name),
		TEST(test_replaced_directory),
		TEST(test_kept),
		TEST(test_first_reason),
		TEST(test_stale),
		TEST(test_each_directory_fails),
		TEST(test_renamed_while_it_is_looked_for),
		TEST(test_renamed_for_ever),
		TEST(test_folder_is_made),
		TEST(test_first_folder_is_made),
		TEST(test_comes_back),
		TEST(test_open_is_given_up),
		TEST(test_old_errno),
		TEST(test_open_changed),
		TEST(test_no_memory),
		TEST(test_cache_after_a_search),
		TEST(test_folder_in_place_of_another),
		TEST(test_corrected_octets),
	};

	return cmocka_run_group_tests_name("maildir_remove", tests, NULL,
	    NULL);
}
