/*
 * test_maildir_cache_file.c - the cache's file where the file system does
 * less than it is asked to, where its contents lie, and where it lies itself.
 *
 * The calls below stand before the C library's own.
 */
#include "drive.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/mman.h>

#include "cache_file.h"
#include "maildir/maildir_cache.h"

static const struct maildir_cache_key key = {
	.device = 1, .inode = 2, .owner = 3, .reach = 0,
};
static struct error error;
static unsigned descriptors; /* that are open between two tests */

/* ---- system calls ---- */

static struct {
	size_t piece; /* of a read, at most; 0: all */
	bool interrupted; /* every other read is */
	bool tired;
	unsigned reads;
	unsigned failing_read; /* counted from 1; 0: none */
	int read_errno; /* of it; -1: the file's end */
	bool short_write;
	int write_errno; /* of each write; 0: none */
	const char *another; /* made after a file was renamed */
} calls;

ssize_t
pread(int fd, void *data, size_t size, off_t at)
{
	ssize_t (*real)(int, void *, size_t, off_t);

	*(void **)&real = dlsym(RTLD_NEXT, "pread");
	calls.tired = calls.interrupted && !calls.tired;
	errno = EINTR;
	if (calls.tired)
		return -1;
	/* What fails may have done its work all the same. */
	ssize_t n = real(fd, data, calls.piece > 0 && calls.piece < size
	    ? calls.piece : size, at);
	if (++calls.reads != calls.failing_read)
		return n;
	errno = calls.read_errno < 0 ? EINTR : calls.read_errno;
	return calls.read_errno < 0 ? 0 : -1;
}

ssize_t
write(int fd, const void *data, size_t size)
{
	ssize_t (*real)(int, const void *, size_t);

	*(void **)&real = dlsym(RTLD_NEXT, "write");
	errno = calls.write_errno;
	return calls.write_errno != 0 ? -1 : real(fd, data, size);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
	ssize_t (*real)(int, const void *, size_t, off_t);

	*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	return real(fd, data, calls.short_write ? size - 1 : size, at);
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int (*real)(int, const char *, int, const char *);

	*(void **)&real = dlsym(RTLD_NEXT, "renameat");
	int result = real(from_dir, from, to_dir, to);
	if (calls.another != NULL)
		close(openat(from_dir, calls.another, O_WRONLY | O_CREAT,
		    0600));
	return result;
}

/* ---- maildrops ---- */

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	descriptors = descriptors_open();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(descriptors_open(), descriptors);
	return 0;
}

static void
add_message(struct maildir_index *index, size_t folder, const char *name)
{
	const struct stat st = { .st_size = 10, .st_ino = 77 };

	assert_int_equal(maildir_index_add_file(index, folder, name, &error),
	    0);
	maildir_index_describe_file(index, index->n - 1, &st);
}

/* One message, which has no digest. */
static void
make_index(struct maildir_index *index, const char *name)
{
	*index = (struct maildir_index){ .n = 0 };
	maildir_index_add_folder(index, SLICE(""), 0, &error);
	maildir_index_add_folder(index, SLICE("cur"), 0, &error);
	add_message(index, 1, name);
}

static int
written(const struct maildir_index *index)
{
	int fd = memfd_create("cache", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (maildir_cache_write(index, fd, &key, &error) != 0)
		fail_msg("%s", error.text);
	return fd;
}

static bool
can_be_read(int fd)
{
	struct maildir_index again;
	bool good = maildir_cache_read(&again, fd, &key);

	if (!good)
		assert_int_equal(again.n_folders, 0);
	maildir_index_free(&again);
	return good;
}

static off_t
size_of(const struct maildir_index *index)
{
	struct stat st;
	int fd = written(index);

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_size;
}

/* ---- the file system ---- */

/* An octet at a time, and interrupted before each. */
static void
test_short_reads(void **state)
{
	struct maildir_index index;

	(void)state;
	make_index(&index, "1.a.h:2,S");
	int fd = written(&index);
	calls.piece = 1;
	calls.interrupted = true;
	assert_true(can_be_read(fd));
	close(fd);
	maildir_index_free(&index);
}

static void
test_each_read_fails(void **state)
{
	static const int errnos[] = { EIO, -1 };
	struct maildir_index index;

	(void)state;
	make_index(&index, "1.a.h:2,S");
	int fd = written(&index);
	assert_true(can_be_read(fd));
	unsigned reads = calls.reads;
	assert_true(reads >= 5);
	for (size_t i = 0; i < COUNT(errnos); i++)
		for (unsigned n = 1; n <= reads; n++) {
			calls.reads = 0;
			calls.failing_read = n;
			calls.read_errno = errnos[i];
			assert_false(can_be_read(fd));
			assert_int_equal(calls.reads, n);
		}
	close(fd);
	maildir_index_free(&index);
}

static void
test_short_write(void **state)
{
	struct maildir_index index;
	int fd = memfd_create("cache", MFD_CLOEXEC);

	(void)state;
	make_index(&index, "1.a.h:2,S");
	calls.short_write = true;
	assert_int_equal(maildir_cache_write(&index, fd, &key, &error), -1);
	assert_int_equal(error.errnum, EIO);
	calls.short_write = false;
	calls.write_errno = ENOSPC;
	assert_int_equal(maildir_cache_write(&index, fd, &key, &error), -1);
	assert_int_equal(error.errnum, ENOSPC);
	calls.write_errno = 0;
	close(fd);
	/* Nor is a pipe a place for it. */
	int pipe_fds[2];
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(maildir_cache_write(&index, pipe_fds[1], &key,
	    &error), -1);
	assert_int_equal(error.errnum, ESPIPE);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	maildir_index_free(&index);
}

/* Another session begins a new file as soon as this one's is in its place. */
static void
test_another_begins(void **state)
{
	struct directory directory;
	struct maildir_index index;

	(void)state;
	make_index(&index, "1.a.h:2,S");
	directory_make(&directory);
	calls.another = "name.new";
	assert_int_equal(maildir_cache_save(&index, directory.fd, "name",
	    &key, &error), 0);
	assert_int_equal(faccessat(directory.fd, "name.new", F_OK, 0), 0);
	directory_remove(&directory);
	maildir_index_free(&index);
}

/* No descriptor is kept, whatever comes of it. */
static void
test_descriptors(void **state)
{
	struct directory directory;
	struct maildir_index index, again;

	(void)state;
	make_index(&index, "1.a.h:2,S");
	directory_make(&directory);
	/* What went wrong before is not what goes wrong now. */
	errno = EEXIST;
	assert_int_equal(maildir_cache_save(&index, directory.fd, "name",
	    &key, &error), 0);
	assert_true(maildir_cache_load(&again, directory.fd, "name", &key));
	maildir_index_free(&again);
	directory_put(&directory, "name", SLICE("nothing good"));
	assert_false(maildir_cache_load(&again, directory.fd, "name", &key));
	directory_remove(&directory);
	maildir_index_free(&index);
}

/* ---- what is in it ---- */

/* A message costs two entries and its name: nothing that is not needed, and
 * nothing that lies behind its name in memory. */
static void
test_size(void **state)
{
	struct maildir_index index;

	(void)state;
	make_index(&index, "1.a.h:2,S");
	off_t before = size_of(&index);
	add_message(&index, 1, "abc");
	off_t entry = (off_t)(sizeof(struct message) +
	    sizeof(struct maildir_file));
	assert_int_equal(size_of(&index), before + entry + 4);
	assert_int_equal(maildir_index_set_digest(&index, 1,
	    (const unsigned char *)"0123456789abcdef", &error), 0);
	assert_int_equal(size_of(&index), before + entry + 4 +
	    MAILDIR_DIGEST_SIZE);
	maildir_index_free(&index);
}

static void
test_long_names(void **state)
{
	struct maildir_index index;
	char name[NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[NAME_MAX] = '\0';
	make_index(&index, name);
	int fd = written(&index);
	assert_true(can_be_read(fd));
	close(fd);
	maildir_index_free(&index);

	name[NAME_MAX] = 'n';
	name[NAME_MAX + 1] = '\0';
	make_index(&index, name);
	fd = written(&index);
	assert_false(can_be_read(fd));
	close(fd);
	maildir_index_free(&index);
}

/* Folders in folders, whose names are so long: can that be read? */
static bool
can_be_nested(const size_t *lens, size_t n)
{
	struct maildir_index index = { .n = 0 };
	char path[2 * PATH_MAX];
	size_t len = 0;

	maildir_index_add_folder(&index, SLICE(""), 0, &error);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			path[len++] = '/';
		memset(path + len, 'f', lens[i]);
		len += lens[i];
		assert_int_equal(maildir_index_add_folder(&index,
		    (struct slice){ path, len }, (uint32_t)i, &error), 0);
	}
	int fd = written(&index);
	bool good = can_be_read(fd);
	close(fd);
	maildir_index_free(&index);
	return good;
}

static void
test_long_paths(void **state)
{
	size_t lens[17];

	(void)state;
	for (size_t i = 0; i < 16; i++)
		lens[i] = 239;
	lens[16] = PATH_MAX - 1 - 16 * 240;
	assert_true(can_be_nested(lens, 17));
	/* As a string it would be longer than PATH_MAX. */
	lens[15]++;
	assert_false(can_be_nested(lens, 17));
}

/* ---- lies ---- */

struct file {
	int fd;
	char octets[1024];
	size_t len;
};

/* A maildrop's file, to be changed. */
static void
make_file(struct file *file, const char *name)
{
	struct maildir_index index;

	make_index(&index, name);
	file->fd = written(&index);
	maildir_index_free(&index);
	ssize_t n = pread(file->fd, file->octets, sizeof(file->octets), 0);
	assert_true(n > 0 && (size_t)n < sizeof(file->octets));
	file->len = (size_t)n;
	assert_int_equal(lseek(file->fd, 0, SEEK_SET), 0);
}

/* Writes it as it is now, with the checksum that it should have. */
static bool
is_believed(struct file *file)
{
	cache_file_seal(file->octets, file->len);
	assert_int_equal(ftruncate(file->fd, 0), 0);
	assert_int_equal(pwrite(file->fd, file->octets, file->len, 0),
	    (ssize_t)file->len);
	bool good = can_be_read(file->fd);
	close(file->fd);
	return good;
}

/* The last name has no end. */
static void
test_endless_name(void **state)
{
	struct file file;

	(void)state;
	make_file(&file, "a");
	assert_true(is_believed(&file));
	make_file(&file, "a");
	file.octets[file.len - 1] = 'b';
	assert_false(is_believed(&file));
}

/* A digest is said to stand where so many octets are left of the text. */
static bool
digest_is_believed(size_t left)
{
	struct cache_file_header header;
	struct maildir_file entry;
	struct file file;

	make_file(&file, "a");
	memcpy(&header, file.octets, sizeof(header));
	char *at = file.octets + sizeof(header) + sizeof(struct message);
	memcpy(&entry, at, sizeof(entry));
	entry.digested = 1;
	memcpy(at, &entry, sizeof(entry));
	header.text_len += left;
	memcpy(file.octets, &header, sizeof(header));
	memset(file.octets + file.len, 'd', left);
	file.len += left;
	return is_believed(&file);
}

static void
test_half_a_digest(void **state)
{
	(void)state;
	assert_true(digest_is_believed(MAILDIR_DIGEST_SIZE));
	for (size_t left = 0; left < MAILDIR_DIGEST_SIZE; left++)
		assert_false(digest_is_believed(left));
}

/* ---- where it is ---- */

static void
test_is_inside(void **state)
{
	static const struct { const char *cache, *maildrop; bool inside; }
	rows[] = {
		{ "box", "box", true },
		{ "box/cache", "box", true },
		{ "box/cache/../cache/", "./box/", true },
		{ "link", "box", true },
		{ "box", "box/cache", false },
		{ "boxes", "box", false },
		{ "bo", "box", false },
		{ "other", "box", false },
		{ "none", "box", false },
		{ "box", "none", false },
		{ "none", "none", false },
		{ "box", "/", true },
		{ "/", "/", true },
		{ "/", "box", false },
	};
	static const char *const made[] = {
		"box", "box/cache", "boxes", "bo", "other",
	};
	struct directory directory;

	(void)state;
	directory_make(&directory);
	for (size_t i = 0; i < COUNT(made); i++)
		directory_mkdir(&directory, made[i]);
	assert_int_equal(symlinkat("box/cache", directory.fd, "link"), 0);
	assert_int_equal(chdir(directory.path), 0);
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_cache_is_inside(rows[i].cache, rows[i].maildrop)
		    != rows[i].inside)
			fail_msg("%s in %s", rows[i].cache,
			    rows[i].maildrop);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_short_reads),
		TEST(test_each_read_fails),
		TEST(test_short_write),
		TEST(test_another_begins),
		TEST(test_descriptors),
		TEST(test_size),
		TEST(test_long_names),
		TEST(test_long_paths),
		TEST(test_endless_name),
		TEST(test_half_a_digest),
		TEST(test_is_inside),
	};

	return cmocka_run_group_tests_name("maildir_cache_file", tests, NULL,
	    NULL);
}
