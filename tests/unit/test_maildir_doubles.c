/*
 * test_maildir_doubles.c - files of one base name in one folder: what is one
 * message and what are several, and which of them a file is.
 */
#include "maildrop.h"

#include "maildir/maildir_doubles.h"

static struct maildir_index at;

/* Those that a test's messages are in. */
enum { NEW, CUR, OTHER };

static int
set_up_index(void **state)
{
	static const char *const paths[] = { "new", "cur", ".F/cur" };

	set_up(state);
	directory_mkdir(&directory, ".F");
	directory_mkdir(&directory, ".F/cur");
	at = (struct maildir_index){ .n = 0 };
	for (size_t i = 0; i < COUNT(paths); i++) {
		assert_int_equal(maildir_index_add_folder(&at,
		    slice_from(paths[i]), 0, &error), 0);
		at.folders[i].trusted = 1;
	}
	return 0;
}

static int
tear_down_index(void **state)
{
	maildir_index_free(&at);
	return tear_down(state);
}

/* What a scan would find at that place. */
static void
add(const char *name)
{
	struct slice path = slice_from(name);
	struct slice folder;
	struct stat st;

	assert_int_equal(fstatat(directory.fd, name, &st, 0), 0);
	slice_cut(path, '/', &folder, &path);
	assert_int_equal(maildir_index_add_file(&at, slice_equal(folder,
	    SLICE("new")) ? NEW : slice_equal(folder, SLICE("cur")) ? CUR
	    : OTHER, strrchr(name, '/') + 1, &error), 0);
	maildir_index_describe_file(&at, at.n - 1, &st);
	maildir_index_set_octets(&at, at.n - 1, (uint64_t)st.st_size + 1);
}

static void
put_and_add(const char *name, const char *text)
{
	put(name, text);
	add(name);
}

static void
link_and_add(const char *from, const char *to)
{
	assert_int_equal(linkat(directory.fd, from, directory.fd, to, 0), 0);
	add(to);
}

/* Each message that is left: its directory, name, octets, and what is said of
 * it. */
static void
check_merged(const char *want, const char *file, int line)
{
	struct text text = { .data = NULL };

	error.text[0] = '\0';
	if (maildir_merge_doubles(&at, directory.fd, &error) != 0)
		fail_msg("%s:%d: %s", file, line, error.text);
	text_add(&text, SLICE(""));
	for (size_t i = 0; i < at.n; i++)
		text_format(&text, "%s/%s %ju%s%s%s\n",
		    maildir_path(&at, at.files[i].folder).data,
		    maildir_file_name(&at, i).data,
		    (uintmax_t)at.messages[i].octets,
		    at.files[i].twin ? " twin" : "",
		    at.files[i].doubled ? " doubled" : "",
		    at.files[i].digested ? " digested" : "");
	check_equal(text_slice(&text), slice_from(want), "what is merged",
	    file, line);
	text_free(&text);
}

#define assert_merged(want) check_merged(want, __FILE__, __LINE__)

/* ---- one message ---- */

/* It is where it was seen last. Nothing need be read. */
static void
test_one_file(void **state)
{
	(void)state;
	put_and_add("new/a", "1\n");
	put_and_add("new/b", "22\n");
	link_and_add("new/a", "cur/a:2,S");
	put_and_add(".F/cur/a", "1\n");
	assert_merged("cur/a:2,S 3 doubled\nnew/b 4\n.F/cur/a 3\n");
	assert_int_equal(calls.opened, 0);
	/* Which of its names goes next, no time of the other's directory will
	 * show. */
	assert_false(at.folders[NEW].trusted);
	assert_false(at.folders[CUR].trusted);
	assert_true(at.folders[OTHER].trusted);
	/* What is alone is neither twin nor doubled any more. */
	for (size_t i = 0; i < at.n; i++)
		at.files[i].twin = at.files[i].doubled = 1;
	assert_merged("cur/a:2,S 3\nnew/b 4\n.F/cur/a 3\n");
}

/* However many octets it has; one is left over where blocks are full. */
static void
test_copies(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 65535, 65536, 65537, 200000 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct text text = { .data = NULL };

		text_add(&text, SLICE(""));
		text_repeat(&text, 'x', sizes[i]);
		at.n = 0;
		put_and_add("cur/a:2,S", text.data);
		put_and_add("cur/a:2,T", text.data);
		put_and_add("new/a", text.data);
		assert_int_equal(maildir_merge_doubles(&at, directory.fd,
		    &error), 0);
		assert_int_equal(at.n, 1);
		assert_slice(maildir_file_name(&at, 0), "a");
		assert_true(at.files[0].doubled);
		assert_false(at.files[0].twin);
		text_free(&text);
	}
}

/* ---- several messages ---- */

/* No two of inode, size and time make up for the third, not even if the others
 * are alike by accident: it is read. */
static void
test_alike(void **state)
{
	(void)state;
	for (int differs = 0; differs < 4; differs++) {
		struct maildir_file *files;

		at.n = 0;
		put_and_add("cur/a:2,S", "1\n");
		put_and_add("cur/a:2,T", "2\n");
		files = at.files;
		if (differs != 0)
			files[1].inode = files[0].inode;
		if (differs == 1)
			files[1].size = 7;
		if (differs != 2)
			files[1].mtime = files[0].mtime;
		if (differs != 3) {
			assert_merged("cur/a:2,S 3 twin digested\n"
			    "cur/a:2,T 3 twin digested\n");
			continue;
		}
		/* All three are. */
		assert_merged("cur/a:2,T 3 doubled\n");
	}
}

static void
test_twins(void **state)
{
	(void)state;
	put_and_add("cur/a:2,A", "1\n");
	put_and_add("cur/a:2,B", "22\n");
	put_and_add("cur/z", "333\n");
	assert_merged("cur/a:2,A 3 twin digested\ncur/a:2,B 4 twin digested\n"
	    "cur/z 5\n");
	assert_true(at.folders[CUR].trusted);
	/* Each is read once, whatever there is besides. */
	assert_int_equal(calls.opened, 2);
	/* A copy of the one, another name of the other. */
	put_and_add("new/a", "1\n");
	link_and_add("cur/a:2,B", "cur/a:2,C");
	assert_merged("new/a 3 twin doubled digested\n"
	    "cur/a:2,C 4 twin doubled digested\ncur/z 5\n");
	assert_int_equal(calls.opened, 4);
	/* And a third. */
	put_and_add("cur/a", "4444\n");
	assert_merged("new/a 3 twin digested\ncur/a:2,C 4 twin digested\n"
	    "cur/z 5\ncur/a 6 twin digested\n");
}

/* What cannot be read is like nothing else, and is told by its name: the first
 * half of SHA-256 of unique-id, NUL, name, NUL. */
static void
test_unreadable(void **state)
{
	/* printf 'a\0a:2,A\0' | sha256sum */
	static const unsigned char digest[MAILDIR_DIGEST_SIZE] = {
		0x4d, 0xae, 0x44, 0x26, 0x4f, 0x6a, 0x6d, 0xa7,
		0x1e, 0x2d, 0xf1, 0x4b, 0x0e, 0xc5, 0xb5, 0x87,
	};

	(void)state;
	for (int way = 0; way < 3; way++) {
		at.n = 0;
		put_and_add("cur/a:2,A", "1\n");
		put_and_add("cur/a:2,B", "1\n");
		if (way == 0)
			calls.read_errno = EIO;
		calls.closed_errno = EACCES;
		calls.closed = way == 1 ? "a:2,A" : way == 2 ? "cur" : NULL;
		assert_merged("cur/a:2,A 3 twin digested\n"
		    "cur/a:2,B 3 twin digested\n");
		assert_memory_equal(maildir_index_digest(&at, 0), digest,
		    sizeof(digest));
		/* So that nothing is it that has its digest alone. */
		at.files[0].inode ^= 1;
		assert_false(maildir_is_same_message(&at, 0, directory.fd,
		    "cur/a:2,A", 0));
		calls.closed = NULL;
		calls.read_errno = 0;
	}
}

/* ---- what goes wrong ---- */

static void
test_too_long(void **state)
{
	(void)state;
	put_and_add("cur/a:2,A", "1\n");
	put_and_add("cur/a:2,B", "1\n");
	at.deadline = 1;
	assert_int_equal(maildir_merge_doubles(&at, directory.fd, &error),
	    -1);
	assert_string_equal(error.text,
	    "maildrop: reading it took too long");
}

/* There is room for so many digests: three are needed here, the last one where
 * a file has another name. */
static void
test_no_room(void **state)
{
	const size_t size = (size_t)UINT32_MAX + 1;
	char *text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct stat st;

	(void)state;
	if (text == MAP_FAILED)
		skip();
	put_and_add("cur/a:2,A", "1\n");
	put_and_add("cur/a:2,B", "22\n");
	link_and_add("cur/a:2,A", "cur/a:2,C");
	assert_int_equal(fstatat(directory.fd, "cur/a:2,A", &st, 0), 0);
	memcpy(text, at.text, at.text_len);
	free(at.text);
	for (size_t n = 0; n <= 3; n++) {
		at.text = text;
		at.text_size = size;
		at.text_len = UINT32_MAX - n * (strlen("a:2,A") + 1 +
		    MAILDIR_DIGEST_SIZE);
		error.text[0] = '\0';
		struct maildir_index copy = at;
		struct maildir_file files[3];
		struct message messages[3];
		memcpy(files, at.files, sizeof(files));
		memcpy(messages, at.messages, sizeof(messages));
		copy.files = files;
		copy.messages = messages;
		int result = maildir_merge_doubles(&copy, directory.fd,
		    &error);
		assert_int_equal(result, n < 3 ? -1 : 0);
		assert_string_equal(error.text, n < 3 ? "maildrop too large"
		    : "");
	}
	at.text = NULL;
	munmap(text, size);
}

/* ---- is it this one? ---- */

/* Message 0 is "cur/a:2,S", of three octets; it is now looked at under other
 * names. */
static void
test_is_same(void **state)
{
	ino_t inode;

	(void)state;
	put_and_add("cur/a:2,S", "1\n\n");
	struct maildir_file was = at.files[0];
	inode = was.inode;
	/* By what readdir(3) says, without a look; */
	assert_true(maildir_is_same_message(&at, 0, directory.fd, "none",
	    inode));
	assert_true(maildir_is_same_message(&at, 0, directory.fd, "none",
	    inode + MAILDIR_INODE_MASK + 1));
	/* by what stat(2) does; */
	assert_true(maildir_is_same_message(&at, 0, directory.fd,
	    "cur/a:2,S", 0));
	assert_true(maildir_is_same_message(&at, 0, directory.fd,
	    "cur/a:2,S", inode ^ 1));
	assert_false(maildir_is_same_message(&at, 0, directory.fd, "none",
	    0));
	assert_false(maildir_is_same_message(&at, 0, directory.fd, "none",
	    inode ^ 1));
	/* and 0 is no inode. */
	at.files[0].inode = 0;
	assert_false(maildir_is_same_message(&at, 0, directory.fd, "none",
	    0));
	at.files[0] = was;

	/* Or it was copied, with its time. */
	static const struct { const char *text; bool same_time, is, digested; }
	rows[] = {
		{ "1\n\n", true, true, true },
		{ "1\n\n", false, false, true },
		{ "2\n\n", true, true, false },
		{ "2\n\n", false, false, false },
		{ "1\n\n\n", true, false, false },
		{ "1\n\n\n", false, false, false },
		{ "1\n", true, false, false },
	};
	const struct timespec time = { was.mtime / 1000000000,
		was.mtime % 1000000000 };
	const struct timespec times[2] = { time, time };
	for (int digested = 0; digested < 2; digested++) {
		if (digested) {
			/* It had a twin: contents tell. */
			put_and_add("cur/a:2,T", "9\n");
			assert_int_equal(maildir_merge_doubles(&at,
			    directory.fd, &error), 0);
			assert_true(at.files[0].digested);
		}
		for (size_t i = 0; i < COUNT(rows); i++) {
			put("new/x", rows[i].text);
			if (rows[i].same_time)
				assert_int_equal(utimensat(directory.fd,
				    "new/x", times, 0), 0);
			if (maildir_is_same_message(&at, 0, directory.fd,
			    "new/x", 0) != (digested ? rows[i].digested
			    : rows[i].is))
				fail_msg("row %zu, %d", i, digested);
		}
	}

	/* What is no file is none, if it is like it in all. */
	at.files[0] = was;
	assert_int_equal(symlinkat("x!x", directory.fd, "new/link"), 0);
	assert_int_equal(utimensat(directory.fd, "new/link", times,
	    AT_SYMLINK_NOFOLLOW), 0);
	assert_false(maildir_is_same_message(&at, 0, directory.fd, "new/link",
	    0));
}

#undef TEST
#define TEST(function) cmocka_unit_test_setup_teardown(function, \
	    set_up_index, tear_down_index)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_file),
		TEST(test_copies),
		TEST(test_alike),
		TEST(test_twins),
		TEST(test_unreadable),
		TEST(test_too_long),
		TEST(test_no_room),
		TEST(test_is_same),
	};

	return cmocka_run_group_tests_name("maildir_doubles", tests, NULL,
	    NULL);
}
