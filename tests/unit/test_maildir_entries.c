/*
 * test_maildir_entries.c - one directory after the other, name by name: what
 * is looked at, what is read and in which order, and what fails there.
 */
#include "maildrop.h"
#include "no_memory.h"

#include <limits.h>

/* One whose name tells its octets, so that it is looked at, not opened. */
#define TOLD "1.M1P1_1.h,S=2,W=3"

#define assert_found(want) \
	check_scan(NULL, slice_from(want), __FILE__, __LINE__)

static void
assert_no_session(int errnum, enum error_kind kind, const char *text)
{
	const struct maildir_options options = { .timeout = 100 };

	error = (struct error){ .errnum = 0 };
	assert_int_equal(maildir_open(&maildir, directory.path, &options,
	    &error), -1);
	assert_int_equal(error.errnum, errnum);
	assert_int_equal(error.kind, kind);
	if (!slice_starts_with(slice_from(error.text), slice_from(text)))
		fail_msg("%s", error.text);
	maildir_close(&maildir);
	assert_int_equal(descriptors_open(), descriptors);
}

/* ---- what it costs ---- */

/* What must be opened is not looked at before that, and what need not be is
 * not opened. */
static void
test_looks(void **state)
{
	unsigned before;

	(void)state;
	assert_found("");
	before = calls.looks;
	calls.looks = 0;
	assert_found("");
	assert_int_equal(calls.looks, before);
	put("new/a", "1\n");
	put("new/b", "22\n");
	put("cur/c:2,S", "333\n");
	calls.looks = calls.opened = 0;
	assert_found("a 3\nb 4\nc 5\n");
	assert_int_equal(calls.looks, before);
	assert_int_equal(calls.opened, 3);
	put("new/" TOLD, "1\n");
	calls.looks = calls.opened = 0;
	assert_found("a 3\nb 4\nc 5\n" TOLD " 3\n");
	assert_int_equal(calls.looks, before + 1);
	assert_int_equal(calls.opened, 3);
}

/* Some file systems do not say what an entry is. */
static struct dirent *
of_no_type(DIR *dir)
{
	struct dirent *entry = real_readdir(dir);

	if (entry != NULL)
		entry->d_type = DT_UNKNOWN;
	return entry;
}

static void
test_no_types(void **state)
{
	(void)state;
	directory_mkdir(&directory, ".F");
	directory_mkdir(&directory, ".F/cur");
	put("new/a", "1\n");
	put("cur/" TOLD ":2,S", "1\n");
	put(".F/cur/f", "333\n");
	put(".F/none", "333\n");
	directory_mkdir(&directory, "cur/none");
	assert_int_equal(symlinkat("a", directory.fd, "new/link"), 0);
	assert_int_equal(mkfifoat(directory.fd, "new/fifo", 0600), 0);
	calls.next_entry = of_no_type;
	assert_changed("a 3\n" TOLD " 3\nf/.F 5\n");
	assert_same("a 3\n" TOLD " 3\nf/.F 5\n");
	move("new/a", "cur/a:2,S");
	assert_changed("a 3\n" TOLD " 3\nf/.F 5\n");
}

/* ---- order ---- */

static struct text order; /* of the directories that are read */

static void
note_name(int fd)
{
	char link[32], path[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path));
	assert_true(n > 0);
	struct slice slash = { path, (size_t)n };
	while (slice_cut(slash, '/', &(struct slice){ NULL, 0 }, &slash) &&
	    memchr(slash.data, '/', slash.len) != NULL)
		;
	text_add(&order, slash);
	text_add(&order, SLICE(" "));
}

/* Whatever order the file system has them in, two or many. */
static void
test_order_of_folders(void **state)
{
	struct text want = { .data = NULL };

	(void)state;
	for (char above = 'z'; above >= 'a'; above--) {
		char path[8] = { '.', above, '\0' };

		directory_mkdir(&directory, path);
		for (int i = 0; i < 2; i++) {
			snprintf(path, sizeof(path), ".%c/%c%d", above, above,
			    above % 2 == 0 ? i : 1 - i);
			directory_mkdir(&directory, path);
		}
	}
	for (char above = 'a'; above <= 'z'; above++)
		text_format(&want, ".%c ", above);
	text_add(&want, SLICE("new "));
	for (char above = 'a'; above <= 'z'; above++)
		text_format(&want, "%c0 %c1 ", above, above);
	text_add(&want, SLICE("cur "));
	calls.before_read = note_name;
	assert_found("");
	/* The first is the maildrop. */
	assert_non_null(strchr(order.data, ' '));
	assert_slices(slice_from(strchr(order.data, ' ') + 1),
	    text_slice(&want));
	text_free(&want);
	text_free(&order);
}

/* ---- what goes wrong ---- */

/* Each error names the directory, and whether it will pass. */
static void
test_errors(void **state)
{
	static const char *const texts[] = {
		"maildrop: .: ", "maildrop: new: ", "maildrop: cur: ",
	};
	static const struct {
		int errnum;
		const char *text; /* NULL: it is gone */
	} looks[] = {
		{ ENOENT, NULL }, { ESTALE, NULL },
		{ EIO, "maildrop: " TOLD ":2,S: " },
		{ EACCES, "maildrop: " TOLD ":2,S: " },
	};

	(void)state;
	put("cur/a", "22\n");
	put("cur/b", "22\n");
	put("cur/" TOLD ":2,S", "1\n");
	put("cur/c", "22\n");
	put("cur/d", "22\n");
	for (unsigned i = 0; i < COUNT(texts); i++) {
		calls.reads = 0;
		calls.failing_read = i + 1;
		assert_no_session(EIO, ERROR_SYSTEM, texts[i]);
	}
	calls.failing_read = 0;
	/* Those beside it are there all the same. */
	calls.closed = TOLD ":2,S";
	calls.hidden = true;
	for (size_t i = 0; i < COUNT(looks); i++) {
		calls.closed_errno = looks[i].errnum;
		if (looks[i].text != NULL)
			assert_no_session(looks[i].errnum, ERROR_SYSTEM,
			    looks[i].text);
		else
			assert_found("a 4\nb 4\nc 4\nd 4\n");
	}
}

/* The entry that cannot be read is the one whose turn it is. */
static unsigned entries_left;

static struct dirent *
until_it_fails(DIR *dir)
{
	if (entries_left-- > 0)
		return real_readdir(dir);
	errno = EIO;
	return NULL;
}

static struct dirent *
with_old_errno(DIR *dir)
{
	struct dirent *entry = real_readdir(dir);

	/* So that it is of before the next call. */
	if (entry != NULL)
		errno = EIO;
	return entry;
}

static void
test_each_entry_fails(void **state)
{
	unsigned n = 0;

	(void)state;
	put("new/a", "1\n");
	put("cur/" TOLD, "1\n");
	calls.next_entry = until_it_fails;
	/* Four and ".." and "." thrice, and the end of each. */
	for (; n < 4 + 6 + 3; n++) {
		entries_left = n;
		assert_no_session(EIO, ERROR_SYSTEM, "maildrop: ");
	}
	entries_left = n;
	assert_found("a 3\n" TOLD " 3\n");
	calls.next_entry = with_old_errno;
	assert_found("a 3\n" TOLD " 3\n");
}

/* The clock is asked now and then: neither for each name, nor too late. */
static unsigned entries;

static struct dirent *
that_takes_long(DIR *dir)
{
	static struct dirent entry = { .d_type = DT_FIFO, .d_name = "x" };

	(void)dir;
	if (entries++ == 0)
		calls.later += 1000;
	return entries > 100000 ? NULL : &entry;
}

static void
test_too_long(void **state)
{
	(void)state;
	calls.next_entry = that_takes_long;
	assert_no_session(0, ERROR_SYSTEM,
	    "maildrop: reading it took too long");
	assert_int_equal(entries, 256);
}

/* Directories in it without end take neither memory nor time without end. */
static struct dirent *
one_more(DIR *dir)
{
	static struct dirent entry = { .d_type = DT_DIR };

	(void)dir;
	snprintf(entry.d_name, sizeof(entry.d_name), ".%u", entries++);
	return entries > 1000000 ? NULL : &entry;
}

static void
test_too_many(void **state)
{
	(void)state;
	calls.next_entry = one_more;
	entries = 0;
	assert_no_session(0, ERROR_SYSTEM,
	    "maildrop with too many directories");
	assert_int_equal(entries, MAILDIR_FOLDERS_MAX + 1);
}

/* A path that is too long for any call is too deep, and is not cut. */
static void
test_longest_path(void **state)
{
	static const struct { size_t lens[2]; bool deep; } rows[] = {
		{ { 100, 154 }, false }, { { 100, 155 }, true },
		{ { 99, 155 }, false }, { { 155, 155 }, true },
	};
	char name[NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text want = { .data = NULL };
		int at = dup(directory.fd);
		bool changed;

		for (size_t k = 0; k < 17; k++) {
			size_t len = k < 15 ? 255 : rows[i].lens[k - 15];

			memset(name, 'n', len);
			name[len] = '\0';
			assert_int_equal(mkdirat(at, name, 0700), 0);
			int below = openat(at, name, O_RDONLY | O_DIRECTORY);
			assert_true(below >= 0);
			close(at);
			at = below;
		}
		/* The last one is read, or left out. */
		calls.reads = 0;
		text_add(&want, rows[i].deep ? SLICE("too deep\n")
		    : SLICE(""));
		struct text found = scan(NULL, &changed);
		assert_slices(text_slice(&found), text_slice(&want));
		assert_int_equal(calls.reads, 3 + 17 - rows[i].deep);
		text_free(&found);
		text_free(&want);
		close(at);
		memset(name, 'n', 255);
		name[255] = '\0';
		remove_tree(directory.fd, name);
	}
}

/* ---- what moves ---- */

/* A directory that has changed has another time than before, however coarse
 * the file system's clock is. */
static void
touch(const char *name)
{
	static time_t seconds = 1000;

	seconds++;
	const struct timespec times[2] = {
		{ .tv_sec = seconds }, { .tv_sec = seconds },
	};
	assert_int_equal(utimensat(directory.fd, name, times, 0), 0);
}

static void
move_message(const char *from, const char *to)
{
	move(from, to);
	touch("new");
	touch("cur");
}

/* From new to cur and back, so that no look sees it, but for the one before it
 * goes once more. */
static void
hide(int fd)
{
	(void)fd;
	if (calls.reads == 2 || calls.reads == 4)
		move_message("new/m", "cur/m");
	else if (calls.reads == 3)
		move_message("cur/m", "new/m");
}

static struct dirent *
that_goes(DIR *dir)
{
	struct dirent *entry = real_readdir(dir);

	if (calls.reads == 5 && entry != NULL && strcmp(entry->d_name, "m") ==
	    0)
		move_message("cur/m", "new/m");
	return entry;
}

static void
test_seen_and_gone(void **state)
{
	(void)state;
	put("new/m", "1\n");
	put("cur/n", "22\n");
	calls.later = 10;
	calls.before_read = hide;
	calls.next_entry = that_goes;
	assert_found("m 3\nn 4\n");
	assert_true(calls.reads > 5);
	assert_int_equal(faccessat(directory.fd, "new/m", F_OK, 0), 0);
}

/* A folder that was gone when it was to be read is there once more. */
static void
take_folder(void)
{
	if (calls.reads != 1)
		return;
	move(".A", ".B");
	touch(".");
}

static void
bring_folder(int fd)
{
	(void)fd;
	if (calls.reads != 2)
		return;
	move(".B", ".A");
	touch(".");
}

static void
test_folder_comes_back(void **state)
{
	bool changed;

	(void)state;
	directory_mkdir(&directory, ".A");
	directory_mkdir(&directory, ".A/cur");
	put(".A/cur/a", "1\n");
	put("new/n", "22\n");
	calls.after_read = take_folder;
	calls.before_read = bring_folder;
	struct text found = scan(NULL, &changed);
	assert_slice(text_slice(&found), "a/.A 3\nn 4\n");
	text_free(&found);
}

/* ---- no memory ---- */

/* Names so long that there is hardly ever room for one more. */
static void
long_name(char *path, const char *before, char n, const char *after)
{
	char name[201];

	memset(name, n, 200);
	name[200] = '\0';
	snprintf(path, PATH_MAX, "%s%s%s", before, name, after);
}

static void
test_no_memory(void **state)
{
	const struct maildir_options options = { .timeout = 0 };
	unsigned failed = 0;
	char path[PATH_MAX];

	(void)state;
	for (char n = 'a'; n <= 'd'; n++) {
		long_name(path, ".", n, "");
		directory_mkdir(&directory, path);
		long_name(path, ".", n, "/cur");
		directory_mkdir(&directory, path);
		long_name(path, "new/", n, "");
		put(path, "1\n");
		long_name(path, "cur/1.M1P1_1.", n, ",S=2,W=3");
		put(path, "1\n");
	}
	/* Until there are fewer than that. */
	for (unsigned n = 1; n == 1 || allocations.n >= n - 1; n++) {
		allocations.n = 0;
		allocations.failing = n;
		int result = maildir_open(&maildir, directory.path, &options,
		    &error);
		allocations.failing = 0;
		if (result == 0) {
			assert_int_equal(maildir.index.n, 8);
			assert_int_equal(maildir.index.n_folders, 3 + 8);
		} else
			assert_int_equal(error.errnum, ENOMEM);
		failed += result != 0;
		maildir_close(&maildir);
	}
	assert_true(failed > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_looks),
		TEST(test_no_types),
#ifdef __linux__
		TEST(test_order_of_folders),
#endif
		TEST(test_errors),
		TEST(test_each_entry_fails),
		TEST(test_too_long),
		TEST(test_too_many),
		TEST(test_longest_path),
		TEST(test_seen_and_gone),
		TEST(test_folder_comes_back),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests_name("maildir_entries", tests, NULL,
	    NULL);
}
