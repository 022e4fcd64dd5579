/* maildir_index: names, the table, order, doubles and unique-ids. */
#include "drive.h"

#include "maildir/maildir_index.h"
#include "maildir/maildir_sort.h"
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


static void
test_names(void **state)
{
	(void)state;
	assert_slice(maildir_base_name(SLICE("1.x.h")), "1.x.h");
	assert_slice(maildir_base_name(SLICE("1.x.h:2,")), "1.x.h");
	assert_slice(maildir_base_name(SLICE("1.x.h:2,FRS")), "1.x.h");
	assert_slice(maildir_base_name(SLICE("a:b:2,S:2,F")), "a:b");
	assert_slice(maildir_base_name(SLICE(":2,S")), "");
	assert_slice(maildir_base_name(SLICE("a:2")), "a:2");
	assert_slice(maildir_base_name(SLICE("a:1,x")), "a:1,x");
	assert_slice(maildir_base_name(SLICE("a::2,x")), "a:");
	assert_slice(maildir_base_name(SLICE("")), "");
	assert_slice(maildir_folder_path(SLICE("cur")), "");
	assert_slice(maildir_folder_path(SLICE("")), "");
	assert_slice(maildir_folder_path(SLICE(".Sent/new")), ".Sent");
	assert_slice(maildir_folder_path(SLICE("a/cur/b")), "a/cur/b");
	assert_slice(maildir_folder_path(SLICE("a/curx")), "a/curx");
	assert_true(maildir_holds_mail(SLICE("a/new")));
	assert_false(maildir_holds_mail(SLICE("a/newer")));
	assert_false(maildir_holds_mail(SLICE("")));
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

static void
test_times(void **state)
{
	(void)state;
	assert_true(maildir_time(&(struct timespec){ 1, 5 }) == 1000000005);
	assert_true(maildir_time(&(struct timespec){ -1, 5 }) == -999999995);
	assert_true(maildir_time(&(struct timespec){ INT64_MAX, 0 }) ==
	    INT64_MAX);
	assert_true(maildir_time(&(struct timespec){ INT64_MIN, 0 }) <
	    -INT64_C(9000000000000000000));
}

/* Oldest first, then by name, then by folder; by every way to sort. */
static void
test_order(void **state)
{
	static const uint32_t spans[] = { 1, 2, 7, 1000, 1u << 30 };
	uint64_t seed = 1;

	(void)state;
	for (size_t span = 0; span < COUNT(spans); span++)
		for (size_t n = 0; n < 3000; n += n < 40 ? 1 : 977) {
			struct maildir_index index = { .n = 0 };
			char name[32];

			add_folder(&index, "");
			add_folder(&index, "cur");
			for (size_t i = 0; i < n; i++) {
				snprintf(name, sizeof(name), "%u.%zu",
				    chance(&seed, 5), i);
				add_file(&index, 1, name,
				    chance(&seed, spans[span]));
			}
			maildir_sort(&index);
			assert_int_equal(index.n, n);
			for (size_t i = 1; i < n; i++) {
				const struct maildir_file *a =
				    &index.files[i - 1];
				const struct maildir_file *b =
				    &index.files[i];
				assert_true(a->mtime <= b->mtime);
				if (a->mtime == b->mtime)
					assert_true(strcmp(index.text +
					    a->name, index.text + b->name) <
					    0);
			}
			maildir_index_free(&index);
		}
}

/* Already in order, all alike, in reverse: quicksort's bad days. */
static void
test_order_of_the_sorted(void **state)
{
	(void)state;
	for (int way = 0; way < 4; way++) {
		struct maildir_index index = { .n = 0 };
		char name[32];

		add_folder(&index, "cur");
		for (int i = 0; i < 20000; i++) {
			snprintf(name, sizeof(name), "%d", i);
			add_file(&index, 0, name, way == 0 ? i
			    : way == 1 ? -i : way == 2 ? 7
			    : i < 10000 ? i : 20000 - i);
		}
		maildir_sort(&index);
		for (size_t i = 1; i < index.n; i++)
			assert_true(index.files[i - 1].mtime <=
			    index.files[i].mtime);
		maildir_index_free(&index);
	}
}

static void
test_table(void **state)
{
	struct maildir_index index = { .n = 0 };
	struct maildir_table table;
	struct error error;
	char name[32];

	(void)state;
	add_folder(&index, "new");
	add_folder(&index, "cur");
	add_folder(&index, "a/cur");
	for (int i = 0; i < 1000; i++)
		for (size_t folder = 0; folder < 3; folder++) {
			snprintf(name, sizeof(name), "%d%s", i,
			    folder == 1 ? ":2,S" : "");
			add_file(&index, folder, name, i);
		}
	assert_int_equal(maildir_table_init(&table, index.n, index.n, &error),
	    0);
	for (size_t i = 0; i < index.n; i++)
		maildir_table_put(&table, &index, i);
	for (int i = 0; i < 1001; i++) {
		size_t at = 0, a, b;

		snprintf(name, sizeof(name), "%d", i);
		a = maildir_table_next(&table, &index, slice_from(name),
		    SLICE(""), &at);
		if (i == 1000) {
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
	maildir_table_free(&table);
	maildir_index_free(&index);
}

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
		{ "cur", "0123456789012345678901234567890123456789012345678"
		    "901234567890123456789", "0123456789012345678901234567890"
		    "123456789012345678901234567890123456789" },
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
	add_file(&index, 0, "a:2,S", 1);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_most_folders),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_of_the_sorted),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_uidl),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
