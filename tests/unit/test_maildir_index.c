/* maildir_index: what is stored, tables and unique-ids. */
#include "drive.h"
#include "no_memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "maildir/maildir_index.h"
#include "maildir/maildir_uidl.h"

static void
add_folder(struct maildir_index *index, const char *path)
{
	struct error error;

	assert_int_equal(maildir_index_add_folder(index, slice_from(path), 0,
	    &error), 0);
}

static void
add_file(struct maildir_index *index, size_t folder, const char *name,
    int64_t mtime)
{
	struct error error;
	struct stat st = {
		.st_size = 1, .st_mtim = { mtime / 1000000000,
		mtime % 1000000000 },
	};

	assert_int_equal(maildir_index_add_file(index, folder, name, &error),
	    0);
	maildir_index_describe_file(index, index->n - 1, &st);
	/* To be told apart after sorting. */
	maildir_index_set_octets(index, index->n - 1, index->n);
}

/* As many directories as a file's number of its own can tell apart. */
static void
test_most_folders(void **state)
{
	struct maildir_index index = { .n = 0 };
	struct error error;
	char path[16];

	(void)state;
	add_folder(&index, "");
	for (unsigned i = 1; i < MAILDIR_FOLDERS_MAX; i++) {
		snprintf(path, sizeof(path), ".%u/cur", i);
		add_folder(&index, path);
	}
	add_file(&index, MAILDIR_FOLDERS_MAX - 1, "1.x.h", 1);
	assert_int_equal(index.files[0].folder, MAILDIR_FOLDERS_MAX - 1);
	assert_int_equal(maildir_index_add_folder(&index, SLICE("more"), 0,
	    &error), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	assert_string_equal(error.text, "maildrop with too many directories");
	assert_int_equal(index.n_folders, MAILDIR_FOLDERS_MAX);
	maildir_index_free(&index);
}

/* 64 bits of nanoseconds, and what is beyond them. */
static void
test_times(void **state)
{
	static const struct { int64_t seconds; long more; int64_t want; }
	rows[] = {
		{ 0, 0, 0 },
		{ 1, 5, 1000000005 },
		{ -1, 5, -999999995 },
		{ 9223372035, 999999999, 9223372035999999999 },
		{ 9223372036, 0, INT64_MAX },
		{ 9223372037, 0, INT64_MAX },
		{ INT64_MAX, 999999999, INT64_MAX },
		{ -9223372035, 1, -9223372034999999999 },
		{ -9223372036, 0, INT64_MIN + 1 },
		{ -9223372037, 999999999, INT64_MIN + 1 },
		{ INT64_MIN, 0, INT64_MIN + 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_time(&(struct timespec){ rows[i].seconds,
		    rows[i].more }) != rows[i].want)
			fail_msg("row %zu", i);
}

/* ---- what is stored ---- */

/* A new one; what stat(2) says, of which not every bit is kept; and what was
 * counted. */
static void
test_files(void **state)
{
	static const struct { off_t size; uint64_t octets; } rows[] = {
		{ 0, 2 }, { 1, 2 }, { 2, 2 }, { 3, 3 }, { 1000, 1000 },
	};
	struct maildir_index index = { .n = 0 };
	struct error error;

	(void)state;
	add_folder(&index, "x");
	add_folder(&index, "x/cur");
	assert_int_equal(maildir_index_add_file(&index, 1, "a:2,S", &error),
	    0);
	assert_int_equal(maildir_index_add_file(&index, 0, "b", &error), 0);
	assert_int_equal(index.n, 2);
	/* Outside new and cur it may be another program's. */
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(index.messages[i].permanent, i == 1);
		assert_int_equal(maildir_file_is_mail(&index, i), i == 0);
		assert_slice(maildir_file_folder(&index, i), "x");
		assert_int_equal(index.messages[i].deleted, 0);
		assert_true(maildir_index_is_unseen(&index, i));
		assert_int_equal(index.files[i].seen, 1);
		assert_int_equal(index.files[i].uncounted, 1);
		assert_int_equal(index.files[i].digested, 0);
	}
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct stat st = {
			.st_size = rows[i].size, .st_ino = 0xF1234567,
			.st_mtim = { 3, 4 },
		};

		maildir_index_describe_file(&index, 0, &st);
		assert_int_equal(index.messages[0].octets, rows[i].octets);
		assert_int_equal(index.files[0].size, rows[i].size);
		assert_int_equal(index.files[0].inode, 0x01234567);
		assert_true(index.files[0].mtime == 3000000004);
		assert_int_equal(index.files[0].uncounted, 1);
		assert_false(maildir_index_is_unseen(&index, 0));
	}
	maildir_index_set_octets(&index, 0, 77);
	assert_int_equal(index.messages[0].octets, 77);
	assert_int_equal(index.files[0].uncounted, 0);
	assert_true(maildir_index_is_unseen(&index, 1));
	maildir_index_free(&index);
	assert_int_equal(index.n, 0);
	assert_null(index.messages);
	maildir_index_free(&index);
}

/* What was only named goes, of those behind the first ones. */
static void
test_drop_unseen(void **state)
{
	static const struct { size_t first; const char *left; } rows[] = {
		{ 0, "2 4 5 " }, { 1, "1 2 4 5 " }, { 3, "1 2 3 4 5 " },
		{ 6, "1 2 3 4 5 6 " },
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct maildir_index index = { .n = 0 };
		struct text left = { .data = NULL };

		add_folder(&index, "cur");
		for (unsigned n = 1; n <= 6; n++) {
			char name[2] = { (char)('0' + n), '\0' };

			if (n == 2 || n == 4 || n == 5)
				add_file(&index, 0, name, n);
			else
				assert_int_equal(maildir_index_add_file(
				    &index, 0, name, &error), 0);
			index.messages[n - 1].octets = n;
		}
		maildir_index_drop_unseen(&index, rows[i].first);
		for (size_t k = 0; k < index.n; k++) {
			text_format(&left, "%s ",
			    maildir_file_name(&index, k).data);
			assert_int_equal(index.messages[k].octets,
			    atoi(maildir_file_name(&index, k).data));
		}
		assert_slices(text_slice(&left), slice_from(rows[i].left));
		text_free(&left);
		maildir_index_free(&index);
	}
}

/* A name takes its octets and one more, however long it is. */
static void
test_text(void **state)
{
	struct maildir_index index = { .n = 0 };
	struct text longer = { .data = NULL };
	struct error error;
	uint32_t at;

	(void)state;
	text_repeat(&longer, 'x', 1000000);
	assert_int_equal(maildir_index_add_text(&index, SLICE(""), &at,
	    &error), 0);
	assert_int_equal(at, 0);
	assert_int_equal(index.text_len, 1);
	assert_int_equal(maildir_index_add_text(&index, text_slice(&longer),
	    &at, &error), 0);
	assert_int_equal(at, 1);
	assert_int_equal(index.text_len, 1000002);
	assert_int_equal(maildir_index_add_text(&index, SLICE("abc"), &at,
	    &error), 0);
	assert_int_equal(at, 1000002);
	assert_int_equal(index.text_len, 1000006);
	assert_text(index.text, "");
	assert_slices(slice_from(index.text + 1), text_slice(&longer));
	assert_text(index.text + at, "abc");
	text_free(&longer);
	maildir_index_free(&index);
}

/* Messages and files are two arrays, and both have room for all. */
static void
test_room(void **state)
{
	struct maildir_index index = { .n = 0 };

	(void)state;
	add_folder(&index, "cur");
	for (unsigned i = 1; i <= 3000; i++) {
		add_file(&index, 0, "name", 1);
		assert_int_equal(index.n, i);
		assert_true(index.size >= i);
#ifdef __GLIBC__
		assert_true(malloc_usable_size(index.files) >= i *
		    sizeof(*index.files));
		assert_true(malloc_usable_size(index.messages) >= i *
		    sizeof(*index.messages));
		assert_true(malloc_usable_size(index.text) >=
		    index.text_len);
#endif
	}
	maildir_index_free(&index);
}

static void
assert_too_large(const struct error *error)
{
	assert_int_equal(error->kind, ERROR_SYSTEM);
	assert_string_equal(error->text, "maildrop too large");
}

/* Places in the text have 32 bits: as much as they reach, and no octet more. */
static void
test_most_text(void **state)
{
	const size_t size = (size_t)UINT32_MAX + 1;
	const unsigned char digest[MAILDIR_DIGEST_SIZE] = { 0 };
	struct maildir_index index = { .n = 0 };
	struct error error;
	uint32_t at;

	(void)state;
	/* Nothing but what is written takes memory. */
	char *text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (text == MAP_FAILED)
		skip();
	index.text = text;
	index.text_size = size;
	add_folder(&index, "cur");
	add_file(&index, 0, "name", 1);
	index.text_len = UINT32_MAX - 4;
	assert_int_equal(maildir_index_add_text(&index, SLICE("four"), &at,
	    &error), -1);
	assert_too_large(&error);
	error.text[0] = '\0';
	assert_int_equal(maildir_index_set_digest(&index, 0, digest, &error),
	    -1);
	assert_too_large(&error);
	assert_false(index.files[0].digested);
	error.text[0] = '\0';
	assert_int_equal(maildir_index_rename(&index, 0, 0, SLICE("four"),
	    &error), -1);
	assert_too_large(&error);
	assert_slice(maildir_file_name(&index, 0), "name");
	assert_int_equal(maildir_index_add_folder(&index, SLICE("four"), 0,
	    &error), -1);
	assert_int_equal(index.n_folders, 1);
	assert_int_equal(maildir_index_add_file(&index, 0, "four", &error),
	    -1);
	assert_int_equal(index.n, 1);
	assert_int_equal(maildir_index_add_text(&index, SLICE("333"), &at,
	    &error), 0);
	assert_int_equal(at, UINT32_MAX - 4);
	assert_text(index.text + at, "333");
	index.text = NULL;
	munmap(text, size);
	maildir_index_free(&index);
}

static void
test_most_messages(void **state)
{
	struct maildir_index index = { .n = 0 };
	struct error error;

	(void)state;
	add_folder(&index, "cur");
	index.n = MAILDIR_MESSAGES_MAX;
	assert_int_equal(maildir_index_add_file(&index, 0, "a", &error), -1);
	assert_too_large(&error);
	assert_int_equal(index.n, MAILDIR_MESSAGES_MAX);
	maildir_index_free(&index);
}

/* All that takes memory, in turn. Returns how much of it was done; the next
 * has failed, and said so. */
static unsigned
do_all(struct maildir_index *index, struct error *error)
{
	static const unsigned char digest[MAILDIR_DIGEST_SIZE] = { 1 };
	static const char name[] = "a name so long that there must be room "
	    "made for it and for its digest, twice";
	struct maildir_table table = { .n = 0 };
	unsigned done = 0;

	if (maildir_index_add_folder(index, SLICE("cur"), 0, error) == 0 &&
	    ++done && maildir_index_add_file(index, 0, name, error) == 0 &&
	    ++done && maildir_index_set_digest(index, 0, digest, error) == 0 &&
	    ++done && maildir_index_rename(index, 0, 0, SLICE("b"), error) ==
	    0 && ++done && maildir_index_rename(index, 0, 0,
	    slice_from(name), error) == 0 && ++done &&
	    maildir_index_order_folders(index, error) == 0 && ++done &&
	    maildir_table_init(&table, 1, 1, error) == 0)
		done++;
	assert_int_equal(table.n > 0, done == 7);
	maildir_table_free(&table);
	return done;
}

static void
test_no_memory(void **state)
{
	unsigned before = 0, failed = 0;

	(void)state;
	for (unsigned n = 1; before < 7; n++) {
		struct maildir_index index = { .n = 0 };
		struct error error = { .errnum = 0 };

		allocations.n = 0;
		allocations.failing = n;
		unsigned done = do_all(&index, &error);
		allocations.failing = 0;
		/* The later it fails, the more was done. */
		assert_true(done >= before);
		assert_int_equal(error.errnum, done < 7 ? ENOMEM : 0);
		assert_int_equal(index.n_folders, done > 0);
		assert_int_equal(index.n, done > 1);
		assert_int_equal(index.n_by_path, done > 5);
		failed += done < 7;
		before = done;
		maildir_index_free(&index);
	}
	assert_true(failed >= 9);
}

/* ---- tables ---- */

/* The files of "1", "2" and so on, in new and cur and in another folder; and
 * what is found of each, if their numbers are below end. */
static void
check_table(int n, size_t end)
{
	struct maildir_index index = { .n = 0 };
	struct maildir_table table = { .n = 0 };
	struct error error;
	size_t at = 0, run = 0, longest = 0;
	char name[32];

	add_folder(&index, "new");
	add_folder(&index, "cur");
	add_folder(&index, "a/cur");
	for (int i = 0; i < n; i++)
		for (size_t folder = 0; folder < 3; folder++) {
			snprintf(name, sizeof(name), "%d%s", i,
			    folder == 1 ? ":2,S" : "");
			add_file(&index, folder, name, i);
		}
	/* One that was not made yet has nothing. */
	assert_true(maildir_table_next(&table, &index, SLICE("0"), SLICE(""),
	    &at) == SIZE_MAX);
	if (end == 0)
		end = index.n;
	assert_int_equal(maildir_table_init(&table, index.n, end, &error), 0);
	/* As many bits as the last number plus 1 needs, and one at least. */
	assert_true(UINT64_C(1) << table.number_bits > end);
	assert_true(table.number_bits == 1 ||
	    UINT64_C(1) << (table.number_bits - 1) <= end);
	for (size_t i = 0; i < index.n; i++)
		maildir_table_put(&table, &index, i);
	for (int i = 0; i <= n; i++) {
		size_t a, b;

		at = 0;
		snprintf(name, sizeof(name), "%d", i);
		a = maildir_table_next(&table, &index, slice_from(name),
		    SLICE(""), &at);
		if (i == n) {
			assert_true(a == SIZE_MAX);
			break;
		}
		b = maildir_table_next(&table, &index, slice_from(name),
		    SLICE(""), &at);
		assert_int_equal(a + b, 6 * i + 1);
		assert_true(maildir_table_next(&table, &index,
		    slice_from(name), SLICE(""), &at) == SIZE_MAX);
		at = 0;
		assert_int_equal(maildir_table_next(&table, &index,
		    slice_from(name), SLICE("a"), &at), 3 * i + 2);
		at = 0;
		assert_true(maildir_table_next(&table, &index,
		    slice_from(name), SLICE("b"), &at) == SIZE_MAX);
	}
	/* All of it is used, so that nothing is looked for for long. */
	for (size_t i = 0; i < table.n; i++) {
		run = table.slots[i] != 0 ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	assert_true(longest <= 20 + index.n / 10);
	maildir_table_free(&table);
	assert_int_equal(table.n, 0);
	assert_null(table.slots);
	maildir_index_free(&index);
}

static void
test_table(void **state)
{
	(void)state;
	for (int n = 0; n < 90; n++)
		check_table(n, 0);
	check_table(1000, 0);
	/* Next to no bits to spare for pieces of the hash. */
	check_table(1000, MAILDIR_MESSAGES_MAX);
	check_table(1, 4);
}

/* ---- unique-ids ---- */

/* Hashes are the first 128 bits of SHA-256 of what they stand for. */
static void
test_uidl(void **state)
{
	static const struct {
		const char *folder, *name, *uidl;
	} cases[] = {
		{ "cur", "a:2,S", "a" },
		{ ".Sent/cur", "a:2,S", "a/.Sent" },
		{ "x", "a", "a/x" },
		/* printf 'with space' | sha256sum */
		{ "cur", "with space", "/b8b8f25a5fc711caea1cfebfe02359e3" },
		{ "cur", "a\x7f", "/c5791af439fe7995107aba250c140cfd" },
		{ "cur", "a ", "/6583dcd6056fd32aadd0d2d0be920de9" },
		{ "cur", " ", "/36a9e7f1c95b82ffb99743e0c5c4ce95" },
		{ "cur", "!a~", "!a~" },
		{ "cur", "0123456789012345678901234567890123456789012345678"
		    "901234567890123456789", "0123456789012345678901234567890"
		    "123456789012345678901234567890123456789" },
		{ "cur", "0123456789012345678901234567890123456789012345678"
		    "9012345678901234567890",
		    "/01aa46a7df1c7040d75ec1d75c338c85" },
		/* Without a base name: nothing at all, and "/x". */
		{ "cur", ":2,S", "/e3b0c44298fc1c149afbf4c8996fb924" },
		{ "x/cur", ":2,S", "/b3d1db318671a024a7e4b433389f8820" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct maildir_index index = { .n = 0 };
		char text[MAILDIR_UIDL_MAX];

		add_folder(&index, cases[i].folder);
		add_file(&index, 0, cases[i].name, 1);
		assert_slices(maildir_uidl(&index, 0, text),
		    slice_from(cases[i].uidl));
		maildir_index_free(&index);
	}
}

static void
test_folders(void **state)
{
	struct maildir_index index = { .n = 0 };
	struct error error;
	char path[32];

	(void)state;
	assert_int_equal(maildir_index_order_folders(&index, &error), 0);
	assert_true(maildir_index_find_folder(&index, SLICE("")) == SIZE_MAX);
	assert_null(index.by_path);
	add_folder(&index, "");
	for (size_t i = 1; i <= 1000; i++) {
		snprintf(path, sizeof(path), "%zu/cur", i * 7919 % 1009);
		add_folder(&index, path);
	}
	/* Those that came later are not in the order yet. */
	assert_true(maildir_index_find_folder(&index, SLICE("")) == SIZE_MAX);
	assert_int_equal(maildir_index_order_folders(&index, &error), 0);
	assert_int_equal(maildir_index_find_folder(&index, SLICE("")), 0);
	for (size_t i = 1; i <= 1000; i++) {
		snprintf(path, sizeof(path), "%zu/cur", i * 7919 % 1009);
		assert_int_equal(maildir_index_find_folder(&index,
		    slice_from(path)), i);
	}
	assert_true(maildir_index_find_folder(&index, SLICE("x")) ==
	    SIZE_MAX);
	assert_true(maildir_index_find_folder(&index, SLICE("1/cu")) ==
	    SIZE_MAX);
	maildir_index_free(&index);
}

/* A digest goes with its file, whatever that is called. */
static void
test_digests(void **state)
{
	const unsigned char *digest = (const unsigned char *)
	    "0123456789abcde\0";
	struct maildir_index index = { .n = 0 };
	struct error error;

	(void)state;
	add_folder(&index, "cur");
	add_file(&index, 0, "a", 1);
	assert_int_equal(maildir_index_rename(&index, 0, 0, SLICE("a:2,S"),
	    &error), 0);
	assert_slice(maildir_file_name(&index, 0), "a:2,S");
	assert_false(index.files[0].digested);
	assert_int_equal(maildir_index_set_digest(&index, 0, digest, &error),
	    0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(maildir_index_rename(&index, 0, 0,
		    i % 2 == 0 ? SLICE("a:2,RS") : SLICE("a"), &error), 0);
	assert_slice(maildir_file_name(&index, 0), "a");
	assert_true(index.files[0].digested);
	assert_memory_equal(maildir_index_digest(&index, 0), digest,
	    MAILDIR_DIGEST_SIZE);
	maildir_index_free(&index);
}

static void
test_hash(void **state)
{
	char octets[64] = { 0 };
	uint64_t seen[65];

	(void)state;
	/* Length counts, zeros or not; so does each bit. */
	for (size_t len = 0; len <= 64; len++) {
		seen[len] = maildir_hash(0, (struct slice){ octets, len });
		for (size_t i = 0; i < len; i++)
			assert_true(seen[i] != seen[len]);
	}
	for (size_t i = 0; i < 64 * 8; i++) {
		octets[i / 8] = (char)(1 << i % 8);
		assert_true(maildir_hash(0, (struct slice){ octets, 64 }) !=
		    seen[64]);
		octets[i / 8] = 0;
	}
}

/* The first of them is not the one that was added first. */
static void
test_few_folders(void **state)
{
	static const char *const paths[] = { "c", "a", "d", "b" };
	struct error error;

	(void)state;
	for (size_t n = 1; n <= COUNT(paths); n++) {
		struct maildir_index index = { .n = 0 };

		/* What stood in its memory is of no account. */
		memset(index.by_path = malloc(64), 0xFF, 64);
		for (size_t i = 0; i < n; i++)
			add_folder(&index, paths[i]);
		assert_int_equal(maildir_index_order_folders(&index, &error),
		    0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(maildir_index_find_folder(&index,
			    slice_from(paths[i])), i);
		maildir_index_free(&index);
	}
}

/* Caches are found and believed by these: where they change, CACHE_VERSION in
 * maildir_cache.c does. */
static void
test_known_hashes(void **state)
{
	static const struct { uint64_t seed; struct slice s; uint64_t hash; }
	rows[] = {
		{ 0, SLICE(""), 0 },
		{ 1, SLICE(""), 0x9E3779B9E17D05AC },
		{ 0, SLICE("a"), 0x95DA58F99F363D7D },
		{ 7, SLICE("1234567"), 0xE87C89AF400F8E26 },
		{ 7, SLICE("12345678"), 0x6ACB9921E67BA517 },
		{ 7, SLICE("123456789"), 0x82D25D65047BB659 },
		{ 7, SLICE("1234567812345678"), 0xC20499BAAFC536BD },
	};

	(void)state;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_hash(rows[i].seed, rows[i].s) != rows[i].hash)
			fail_msg("row %zu", i);
#else
	(void)rows;
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_most_folders),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_drop_unseen),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_most_text),
		cmocka_unit_test(test_most_messages),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_uidl),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_few_folders),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_known_hashes),
	};

	return cmocka_run_group_tests_name("maildir_index", tests, NULL,
	    NULL);
}
