/* maildir_cache: what is written is read; nothing else is believed. */
#include "drive.h"

#include <sys/mman.h>
#include <time.h>

#include "maildir/maildir_cache.h"
#include "maildir/maildir_sort.h"
#include "maildir/maildir_uidl.h"

static const struct maildir_cache_key key = {
	.device = 1, .inode = 2, .owner = 3, .reach = 0,
};

/* A small maildrop: three directories, messages of every kind of id. */
static void
make_index(struct maildir_index *index)
{
	static const char *const names[] = {
		"1.a.h:2,S", "2.b.h:2,", "with space", ":2,",
	};
	struct error error;
	struct stat st = { .st_size = 10, .st_ino = 77 };

	*index = (struct maildir_index){ .n = 0 };
	maildir_index_add_folder(index, SLICE(""), 0, &error);
	maildir_index_add_folder(index, SLICE("cur"), 0, &error);
	maildir_index_add_folder(index, SLICE(".A"), 0, &error);
	maildir_index_add_folder(index, SLICE(".A/cur"), 2, &error);
	for (size_t i = 0; i < 2 * COUNT(names); i++) {
		st.st_mtim.tv_sec = (time_t)i;
		maildir_index_add_file(index, i % 2 == 0 ? 1 : 3,
		    names[i / 2], &error);
		maildir_index_describe_file(index, i, &st);
		maildir_index_set_octets(index, i, 100 + i);
	}
	/* One of a pair with the same name. */
	assert_int_equal(maildir_index_set_digest(index, 0,
	    (const unsigned char *)"0123456789abcdef", &error), 0);
	index->files[0].twin = 1;
	maildir_sort(index);
}

static int
written(const struct maildir_index *index)
{
	struct error error;
	int fd = memfd_create("cache", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(maildir_cache_write(index, fd, &key, &error), 0);
	return fd;
}

static void
assert_same(const struct maildir_index *a, const struct maildir_index *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->n_folders, b->n_folders);
	for (size_t i = 0; i < a->n_folders; i++)
		assert_slices(maildir_path(a, i), maildir_path(b, i));
	for (size_t i = 0; i < a->n; i++) {
		const struct message *m = &a->messages[i];
		const struct message *o = &b->messages[i];
		char one[MAILDIR_UIDL_MAX], other[MAILDIR_UIDL_MAX];

		assert_slices(maildir_file_name(a, i),
		    maildir_file_name(b, i));
		assert_true(m->octets == o->octets);
		assert_slices(maildir_uidl(a, i, one),
		    maildir_uidl(b, i, other));
		assert_int_equal(a->files[i].digested, b->files[i].digested);
		assert_int_equal(a->files[i].folder, b->files[i].folder);
		assert_true(a->files[i].mtime == b->files[i].mtime);
		assert_int_equal(a->files[i].size, b->files[i].size);
		assert_int_equal(a->files[i].inode, b->files[i].inode);
		assert_false(b->messages[i].deleted);
		assert_int_equal(b->files[i].seen, 0);
	}
}

static void
test_round_trip(void **state)
{
	struct maildir_index index, again;

	(void)state;
	make_index(&index);
	index.messages[3].deleted = 1;
	int fd = written(&index);
	assert_true(maildir_cache_read(&again, fd, &key));
	assert_same(&index, &again);
	maildir_index_free(&again);
	close(fd);
	maildir_index_free(&index);
}

/* Names that nobody has any more do not stay for ever. */
static void
test_old_text_is_dropped(void **state)
{
	struct maildir_index index, again;
	struct error error;
	struct stat before, after;

	(void)state;
	make_index(&index);
	int fd = written(&index);
	fstat(fd, &before);
	close(fd);
	for (int i = 0; i < 100; i++)
		assert_int_equal(maildir_index_rename(&index, 0,
		    index.files[0].folder, SLICE("1.a.h:2,S"), &error), 0);
	fd = written(&index);
	fstat(fd, &after);
	assert_int_equal(before.st_size, after.st_size);
	assert_true(maildir_cache_read(&again, fd, &key));
	assert_same(&index, &again);
	maildir_index_free(&again);
	close(fd);
	maildir_index_free(&index);
}

static void
test_empty(void **state)
{
	struct maildir_index index = { .n = 0 }, again;
	struct error error;

	(void)state;
	/* Not even the maildrop: no scan leaves that. */
	int fd = written(&index);
	assert_false(maildir_cache_read(&again, fd, &key));
	close(fd);
	maildir_index_add_folder(&index, SLICE(""), 0, &error);
	fd = written(&index);
	assert_true(maildir_cache_read(&again, fd, &key));
	assert_int_equal(again.n, 0);
	maildir_index_free(&again);
	close(fd);
	maildir_index_free(&index);
}

static void
test_larger_than_a_block(void **state)
{
	struct maildir_index index = { .n = 0 }, again;
	struct error error;
	struct stat st = { .st_size = 5 };
	char name[64];

	(void)state;
	maildir_index_add_folder(&index, SLICE(""), 0, &error);
	maildir_index_add_folder(&index, SLICE("a"), 0, &error);
	for (int i = 0; i < 20000; i++) {
		st.st_mtim.tv_sec = i;
		snprintf(name, sizeof(name), "%d.%d.host", i, i * 7);
		maildir_index_add_file(&index, (size_t)i % 2, name, &error);
		maildir_index_describe_file(&index, (size_t)i, &st);
	}
	maildir_sort(&index);
	int fd = written(&index);
	assert_true(maildir_cache_read(&again, fd, &key));
	assert_same(&index, &again);
	maildir_index_free(&again);
	close(fd);
	maildir_index_free(&index);
}

static void
test_another_key(void **state)
{
	struct maildir_index index, again;
	struct maildir_cache_key other;

	(void)state;
	make_index(&index);
	int fd = written(&index);
	for (int i = 0; i < 4; i++) {
		other = key;
		other.device += i == 0;
		other.inode += i == 1;
		other.owner += i == 2;
		other.reach += i == 3;
		assert_false(maildir_cache_read(&again, fd, &other));
		assert_null(again.messages);
	}
	close(fd);
	maildir_index_free(&index);
}

static void
test_every_damage(void **state)
{
	struct maildir_index index, again;
	struct stat st;
	char octet;

	(void)state;
	make_index(&index);
	int fd = written(&index);
	fstat(fd, &st);
	for (off_t at = 0; at < st.st_size; at++)
		for (int bit = 0; bit < 8; bit++) {
			assert_int_equal(pread(fd, &octet, 1, at), 1);
			octet = (char)(octet ^ 1 << bit);
			assert_int_equal(pwrite(fd, &octet, 1, at), 1);
			assert_false(maildir_cache_read(&again, fd, &key));
			assert_int_equal(again.n, 0);
			octet = (char)(octet ^ 1 << bit);
			assert_int_equal(pwrite(fd, &octet, 1, at), 1);
		}
	for (off_t size = st.st_size - 1; size >= 0; size--) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_false(maildir_cache_read(&again, fd, &key));
		assert_int_equal(again.n, 0);
	}
	close(fd);
	maildir_index_free(&index);
}

/* As many directories as there may be in a maildrop, and one more. */
static void
test_most_folders(void **state)
{
	struct maildir_index index = { .n = 0 }, again;
	struct error error;
	char path[16];

	(void)state;
	maildir_index_add_folder(&index, SLICE(""), 0, &error);
	for (int i = 1; i < MAILDIR_FOLDERS_MAX; i++) {
		snprintf(path, sizeof(path), "d%d", i);
		assert_int_equal(maildir_index_add_folder(&index,
		    slice_from(path), 0, &error), 0);
	}
	int fd = written(&index);
	assert_true(maildir_cache_read(&again, fd, &key));
	assert_int_equal(again.n_folders, MAILDIR_FOLDERS_MAX);
	maildir_index_free(&again);
	close(fd);
	assert_int_equal(maildir_index_add_folder(&index, SLICE("x"), 0,
	    &error), -1);
	maildir_index_free(&index);
}

/* A file whose checksum is right and whose contents lie. */
static void
assert_refused(struct maildir_index *index)
{
	struct maildir_index again;
	int fd = written(index);

	assert_false(maildir_cache_read(&again, fd, &key));
	close(fd);
	maildir_index_free(index);
}

static void
test_lies(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "a/b", "/etc/passwd", "../../x",
	};
	static const char *const paths[] = {
		"", "..", ".A/..", "x", ".A", ".A/", ".A/a/b", "/.A/x",
		".A/cur/x", ".Ab/cur",
	};
	struct maildir_index index;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		make_index(&index);
		maildir_index_add_text(&index, slice_from(names[i]),
		    &index.files[2].name, &error);
		assert_refused(&index);
	}
	for (size_t i = 0; i < COUNT(paths); i++) {
		make_index(&index);
		maildir_index_add_text(&index, slice_from(paths[i]),
		    &index.folders[3].path, &error);
		assert_refused(&index);
	}
	make_index(&index);
	index.folders[1].parent = 1;
	assert_refused(&index);
	make_index(&index);
	index.folders[1].parent = 7;
	assert_refused(&index);
	make_index(&index);
	index.files[5].folder = 4;
	assert_refused(&index);
	/* Digests that are not there. */
	make_index(&index);
	index.files[1].twin = 1;
	assert_refused(&index);
}

static void
test_saved_and_loaded(void **state)
{
	struct directory directory;
	struct maildir_index index, again;
	struct error error;
	char name[MAILDIR_CACHE_NAME_SIZE], same[MAILDIR_CACHE_NAME_SIZE];

	(void)state;
	directory_make(&directory);
	make_index(&index);
	assert_int_equal(maildir_cache_name("/", 0, name, &error), 0);
	assert_int_equal(maildir_cache_name("/./", 0, same, &error), 0);
	assert_string_equal(name, same);
	assert_int_equal(maildir_cache_name("/", 1, same, &error), 0);
	assert_string_not_equal(name, same);
	assert_int_equal(maildir_cache_name("/none/such", 0, same, &error),
	    -1);
	assert_false(maildir_cache_load(&again, directory.fd, name, &key));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(maildir_cache_save(&index, directory.fd,
		    name, &key, &error), 0);
		assert_true(maildir_cache_load(&again, directory.fd, name,
		    &key));
		assert_same(&index, &again);
		maildir_index_free(&again);
	}
	/* Others could have written it. */
	assert_int_equal(fchmodat(directory.fd, name, 0620, 0), 0);
	assert_false(maildir_cache_load(&again, directory.fd, name, &key));
	assert_int_equal(fchmodat(directory.fd, name, 0600, 0), 0);
	/* Our own name for it is of this form, and fits. */
	assert_int_equal(strlen(name), strlen("pop3-") + 32 + strlen("-0"));
	/* No link is followed. */
	assert_int_equal(symlinkat(name, directory.fd, "link"), 0);
	assert_false(maildir_cache_load(&again, directory.fd, "link", &key));
	maildir_index_free(&index);
	directory_remove(&directory);
}

/* Another session may be writing one, or have died over it. */
static void
test_saved_at_once(void **state)
{
	static const struct { time_t age; bool replaced; } rows[] = {
		{ 0, false }, { 20, false }, { 80, true }, { 4000, true },
		{ -4000, true },
	};
	struct directory directory;
	struct maildir_index index, again;
	struct error error;
	char fresh[MAILDIR_CACHE_NAME_SIZE + 4];

	(void)state;
	make_index(&index);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct timespec then = {
			.tv_sec = time(NULL) - rows[i].age };
		const struct timespec times[2] = { then, then };

		directory_make(&directory);
		snprintf(fresh, sizeof(fresh), "%s.new", "name");
		directory_put(&directory, fresh, SLICE("half"));
		assert_int_equal(utimensat(directory.fd, fresh, times, 0), 0);
		assert_int_equal(maildir_cache_save(&index, directory.fd,
		    "name", &key, &error), 0);
		assert_int_equal(maildir_cache_load(&again, directory.fd,
		    "name", &key), rows[i].replaced);
		maildir_index_free(&again);
		assert_int_equal(faccessat(directory.fd, fresh, F_OK, 0),
		    rows[i].replaced ? -1 : 0);
		directory_remove(&directory);
	}
	/* It cannot be put in place: nothing is left of it. */
	directory_make(&directory);
	directory_mkdir(&directory, "name");
	assert_int_equal(maildir_cache_save(&index, directory.fd, "name",
	    &key, &error), -1);
	assert_int_equal(error.errnum, EISDIR);
	assert_int_equal(faccessat(directory.fd, fresh, F_OK, 0), -1);
	directory_remove(&directory);
	maildir_index_free(&index);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_old_text_is_dropped),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_larger_than_a_block),
		cmocka_unit_test(test_another_key),
		cmocka_unit_test(test_every_damage),
		cmocka_unit_test(test_most_folders),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_saved_and_loaded),
		cmocka_unit_test(test_saved_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
