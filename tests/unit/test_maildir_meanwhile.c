/*
 * test_maildir_meanwhile.c - what other programs do while a maildrop's
 * directories are read, and what then cannot be read.
 */
#include "maildrop.h"
#include "no_memory.h"

/* ---- what moves ---- */

/* When cur is about to be read, a message goes from there to new, which was
 * read already. */
static void
to_new_once(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, "cur/m", F_OK, 0) == 0 &&
	    calls.reads == 3)
		move("cur/m", "new/m");
}

static void
test_moved_meanwhile(void **state)
{
	(void)state;
	put("cur/m", "1\n");
	put("cur/n", "22\n");
	calls.later = 10;
	calls.before_read = to_new_once;
	assert_scan(cache.path, "m 3\nn 4\n");
	assert_int_equal(faccessat(directory.fd, "new/m", F_OK, 0), 0);
	calls.before_read = NULL;
	calls.later += 10;
	assert_scan(cache.path, "m 3\nn 4\n");
}

/* The same, with a cache: what is as it was is looked at again, too. */
static void
to_new_at_once(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, "cur/m", F_OK, 0) == 0)
		move("cur/m", "new/m");
}

static void
test_moved_to_what_was_known(void **state)
{
	(void)state;
	put("cur/m", "1\n");
	put("new/n", "22\n");
	assert_changed("m 3\nn 4\n");
	put("cur/o", "333\n");
	calls.later += 10;
	calls.before_read = to_new_at_once;
	assert_scan(cache.path, "m 3\nn 4\no 5\n");
	assert_int_equal(faccessat(directory.fd, "new/m", F_OK, 0), 0);
}

/* And the other gives new its old time back: ctime shows it. */
static void
to_new_unseen(int fd)
{
	const struct timespec omit = { .tv_nsec = UTIME_OMIT };
	struct stat st;

	(void)fd;
	if (calls.reads != 3 ||
	    faccessat(directory.fd, "cur/m", F_OK, 0) != 0)
		return;
	assert_int_equal(fstatat(directory.fd, "new", &st, 0), 0);
	move("cur/m", "new/m");
	const struct timespec times[2] = { omit, st.st_mtim };
	assert_int_equal(utimensat(directory.fd, "new", times, 0), 0);
}

static void
test_moved_and_time_put_back(void **state)
{
	(void)state;
	put("cur/m", "1\n");
	calls.later = 10;
	calls.before_read = to_new_unseen;
	assert_scan(NULL, "m 3\n");
	assert_int_equal(faccessat(directory.fd, "new/m", F_OK, 0), 0);
}

/* A folder gets another name when its own directory was read already. */
static void
rename_folder(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, ".A", F_OK, 0) == 0 && calls.reads == 2)
		move(".A", ".B");
}

static void
test_renamed_folder(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/m", "1\n");
	put("new/n", "22\n");
	calls.before_read = rename_folder;
	assert_scan(NULL, "m/.B 3\nn 4\n");
}

/* A folder goes before it is opened. */
static void
remove_folder(void)
{
	calls.after_read = NULL;
	remove_tree(directory.fd, ".A");
}

static void
test_folder_goes(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/m", "1\n");
	put("new/n", "22\n");
	calls.after_read = remove_folder;
	assert_scan(NULL, "n 4\n");
	assert_int_equal(faccessat(directory.fd, ".A", F_OK, 0), -1);
}

/* What is read by others moves from new to cur: so cur is read later, in every
 * folder. */
static struct {
	ino_t inodes[16];
	size_t n;
} order;

static void
note_order(int fd)
{
	struct stat st;

	assert_true(order.n < COUNT(order.inodes));
	assert_int_equal(fstat(fd, &st), 0);
	order.inodes[order.n++] = st.st_ino;
}

static size_t
place_of(const char *path)
{
	struct stat st;
	size_t i = 0;

	assert_int_equal(fstatat(directory.fd, path, &st, 0), 0);
	while (i < order.n && order.inodes[i] != st.st_ino)
		i++;
	assert_true(i < order.n);
	return i;
}

static void
test_new_before_cur(void **state)
{
	static const char *const news[] = { "new", ".A/new", ".B/new" };
	static const char *const curs[] = { "cur", ".A/cur", ".B/cur" };
	static const char *const others[] = { ".A", ".B" };
	bool changed;

	(void)state;
	for (size_t i = 0; i < COUNT(others); i++)
		directory_mkdir(&directory, others[i]);
	for (size_t i = 1; i < COUNT(news); i++) {
		directory_mkdir(&directory, news[i]);
		directory_mkdir(&directory, curs[i]);
	}
	calls.before_read = note_order;
	/* All of it; and then, with what the cache knows, these alone. */
	for (int session = 0; session < 2; session++) {
		order.n = 0;
		calls.later += 10;
		struct text found = scan(cache.path, &changed);
		text_free(&found);
		for (size_t i = 0; i < COUNT(news); i++)
			for (size_t k = 0; k < COUNT(curs); k++)
				assert_true(place_of(news[i]) <
				    place_of(curs[k]));
		for (size_t i = 0; i < COUNT(news); i++) {
			char name[32];

			snprintf(name, sizeof(name), "%s/1", news[i]);
			put(name, "1\n");
			snprintf(name, sizeof(name), "%s/2", curs[i]);
			put(name, "1\n");
		}
	}
	assert_int_equal(order.n, COUNT(news) + COUNT(curs));
}

/* What is delivered all the while can wait for the next session. */
static void
deliver_another(int fd)
{
	char name[32];

	(void)fd;
	snprintf(name, sizeof(name), "new/d%u", calls.reads);
	directory_put(&directory, name, SLICE("1\n"));
	/* Each time at another time, however fast all is. */
	const struct timespec times[2] = {
		{ .tv_sec = calls.reads }, { .tv_sec = calls.reads },
	};
	assert_int_equal(utimensat(directory.fd, "new", times, 0), 0);
}

static void
test_delivered_meanwhile(void **state)
{
	bool changed;

	(void)state;
	put("new/m", "1\n");
	calls.before_read = deliver_another;
	struct text found = scan(NULL, &changed);
	assert_true(slice_starts_with(text_slice(&found), SLICE("m 3\n")));
	/* The three directories, and what had changed once more. */
	assert_true(calls.reads > 3 && calls.reads <= 6);
	text_free(&found);
}

/* Also where something moved before. */
static void
move_and_deliver(int fd)
{
	/* When new is read again. */
	if (calls.reads == 4)
		move("cur/m", "new/m");
	deliver_another(fd);
}

static void
test_moved_and_delivered_meanwhile(void **state)
{
	bool changed;

	(void)state;
	put("cur/m", "1\n");
	calls.before_read = move_and_deliver;
	struct text found = scan(NULL, &changed);
	assert_true(slice_starts_with(text_slice(&found), SLICE("m 3\n")));
	assert_true(calls.reads > 4 && calls.reads <= 8);
	text_free(&found);
}

/* From the one to the other, whenever one of them is read. */
static void
to_and_fro(int fd)
{
	(void)fd;
	if (faccessat(directory.fd, "cur/m", F_OK, 0) == 0)
		move("cur/m", "new/m");
	else
		move("new/m", "cur/m");
}

static void
mark_and_unmark(int fd)
{
	(void)fd;
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
	assert_scan(cache.path, "m 3\nn 4\nk 5\n");
	assert_true(calls.reads > 3 && calls.reads < 100);
	calls.before_read = NULL;
	assert_changed("m 3\nn 4\nk 5\n");
}

/* ---- what cannot be read ---- */

/* A session that fails says so, and is not one with half of the mail. */
static void
assert_no_session(int errnum, enum error_kind kind)
{
	const struct maildir_options options = { .timeout = 0 };

	error.errnum = 0;
	assert_int_equal(maildir_open(&maildir, directory.path, &options,
	    &error), -1);
	assert_int_equal(error.errnum, errnum);
	assert_int_equal(error.kind, kind);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("maildrop")));
	maildir_close(&maildir);
	assert_int_equal(descriptors_open(), descriptors);
}

static void
test_each_directory_fails(void **state)
{
	(void)state;
	put("cur/m", "1\n");
	/* The fourth is new once more, for m has moved there. */
	for (unsigned n = 1; n <= 4; n++) {
		calls.reads = 0;
		calls.failing_read = n;
		calls.before_read = to_new_once;
		assert_no_session(EIO, ERROR_SYSTEM);
		assert_int_equal(calls.reads, n);
		if (n >= 3)
			move("new/m", "cur/m");
	}
	calls.before_read = NULL;
	calls.failing_read = 0;
	assert_changed("m 3\n");
}

/* A folder that may not be read is left out; new and cur are not. */
static void
test_closed_directories(void **state)
{
	static const struct {
		const char *name;
		int errnum;
		bool left_out;
		enum error_kind kind;
	} rows[] = {
		{ ".A", EACCES, true, 0 },
		{ ".A", EPERM, true, 0 },
		{ ".A", EIO, false, ERROR_SYSTEM },
		{ ".A", EMFILE, false, ERROR_SYSTEM },
		{ "new", EACCES, false, ERROR_CONFIG },
		{ "cur", EPERM, false, ERROR_CONFIG },
		{ "cur", EIO, false, ERROR_SYSTEM },
		{ ".", EACCES, false, ERROR_CONFIG },
	};

	(void)state;
	directory_mkdir(&directory, ".A");
	put(".A/m", "1\n");
	put("cur/n", "22\n");
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.closed = rows[i].name;
		calls.closed_errno = rows[i].errnum;
		if (!rows[i].left_out) {
			assert_no_session(rows[i].errnum, rows[i].kind);
			continue;
		}
		assert_scan(NULL, "n 4\nleft out\n");
	}
}

/* A message of which nothing can be told: which one, the error says. */
static void
test_broken_message(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	(void)state;
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("new/c", "333\n");
	calls.closed_errno = EIO;
	calls.hidden = true;
	for (size_t i = 0; i < COUNT(names); i++) {
		char start[16];

		calls.closed = names[i];
		assert_no_session(EIO, ERROR_SYSTEM);
		snprintf(start, sizeof(start), "maildrop: %s: ", names[i]);
		assert_true(slice_starts_with(slice_from(error.text),
		    slice_from(start)));
	}
}

/* It takes too long: at any directory. */
static unsigned slow_read;

static void
take_long(int fd)
{
	(void)fd;
	calls.later += calls.reads == slow_read ? 1000 : 0;
}

static void
test_too_long(void **state)
{
	const struct maildir_options options = { .timeout = 100 };

	(void)state;
	put("cur/m", "1\n");
	calls.before_read = take_long;
	for (slow_read = 1; slow_read <= 2; slow_read++) {
		calls.reads = 0;
		assert_int_equal(maildir_open(&maildir, directory.path,
		    &options, &error), -1);
		assert_string_equal(error.text,
		    "maildrop: reading it took too long");
		assert_int_equal(calls.reads, slow_read);
		maildir_close(&maildir);
	}
}

/* ---- no memory ---- */

/* Is there a session without the allocation no. N? If so, with all mail. */
static bool
opens_without(unsigned n, const char *cache_dir, struct slice want)
{
	const struct maildir_options options = { .cache_dir = cache_dir };
	struct text text = { .data = NULL };
	char room[MAILDIR_UIDL_MAX];

	allocations.n = 0;
	allocations.failing = n;
	int result = maildir_open(&maildir, directory.path, &options, &error);
	allocations.failing = 0;
	if (result != 0) {
		assert_int_equal(error.kind, ERROR_SYSTEM);
		assert_int_equal(error.errnum, ENOMEM);
	}
	for (size_t i = 0; result == 0 && i < maildir.index.n; i++)
		text_format(&text, "%.*s\n", SLICE_ARG(maildir_uidl(
		    &maildir.index, i, room)));
	if (result == 0)
		assert_slices(text_slice(&text), want);
	text_free(&text);
	maildir_close(&maildir);
	assert_int_equal(descriptors_open(), descriptors);
	return result == 0;
}

/* Whichever allocation fails, all mail is there or no session is; what is known
 * and what has changed, messages that are there twice, and one that moves. */
static void
test_no_memory(void **state)
{
	unsigned failed = 0, most = 1;

	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/a", "1\n");
	put("new/b", "22\n");
	put("cur/m", "333\n");
	calls.later += 10;
	bool changed;
	struct text found = scan(cache.path, &changed);
	text_free(&found);
	put("new/c", "22\n");
	assert_int_equal(linkat(directory.fd, "new/b", directory.fd,
	    "cur/b:2,S", 0), 0);
	for (unsigned n = 1; n <= most; n++) {
		static const char *const dirs[] = { NULL, cache.path };

		for (size_t i = 0; i < COUNT(dirs); i++) {
			calls.later += 10;
			calls.before_read = to_new_at_once;
			failed += !opens_without(n, dirs[i],
			    SLICE("a/.A\nb\nm\nc\n"));
			if (allocations.n > most)
				most = allocations.n;
			calls.before_read = NULL;
			if (faccessat(directory.fd, "new/m", F_OK, 0) == 0)
				move("new/m", "cur/m");
		}
	}
	assert_true(failed > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_moved_meanwhile),
		TEST(test_moved_to_what_was_known),
		TEST(test_moved_and_time_put_back),
		TEST(test_renamed_folder),
		TEST(test_folder_goes),
		TEST(test_new_before_cur),
		TEST(test_delivered_meanwhile),
		TEST(test_moved_and_delivered_meanwhile),
		TEST(test_never_at_rest),
		TEST(test_each_directory_fails),
		TEST(test_closed_directories),
		TEST(test_broken_message),
		TEST(test_too_long),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests_name("maildir_meanwhile", tests, NULL,
	    NULL);
}
