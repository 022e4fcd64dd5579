/*
 * test_directory.c - paths of which somebody else owns a part.
 */
#include "drive.h"

#include <errno.h>
#include <sys/stat.h>

#include "system/directory.h"

#define OTHER 65533
#define THIRD 65532

static struct directory directory;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	assert_int_equal(fchmod(directory.fd, 0755), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	directory_remove(&directory);
	return 0;
}

/* 0, or the errno. */
static int
open_at(const char *path, size_t fixed)
{
	memset(&error, 0, sizeof(error));
	int fd = directory_open(directory_path(&directory, path), fixed,
	    &error);

	if (fd < 0)
		return error.errnum;
	close(fd);
	return 0;
}

static int
open_path(const char *path)
{
	return open_at(path, DIRECTORY_MAKE_NOTHING);
}

static void
give(const char *path, uid_t owner)
{
	assert_int_equal(fchownat(directory.fd, path, owner, owner,
	    AT_SYMLINK_NOFOLLOW), 0);
}

static void
put_link(const char *target, const char *path)
{
	assert_int_equal(symlinkat(target, directory.fd, path), 0);
}

static void
test_open(void **state)
{
	(void)state;
	directory_mkdir(&directory, "a/b");
	directory_put(&directory, "file", SLICE("x"));
	assert_int_equal(open_path("a"), 0);
	assert_int_equal(open_path("a/b"), 0);
	assert_int_equal(open_path("a//./b/."), 0);
	assert_int_equal(open_path("a/b/"), 0);
	assert_int_equal(open_path("a/../a"), 0);
	assert_int_equal(open_path("none"), ENOENT);
	assert_int_equal(error.kind, ERROR_MISSING);
	assert_int_equal(open_path("a/none/b"), ENOENT);
	assert_int_equal(open_path("file"), ENOTDIR);
	assert_int_equal(open_path("file/x"), ENOTDIR);
	int fd = directory_open("/", DIRECTORY_MAKE_NOTHING, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fchdir(directory.fd), 0);
	fd = directory_open(".", DIRECTORY_MAKE_NOTHING, &error);
	assert_true(fd >= 0);
	close(fd);
	fd = directory_open("a/b", DIRECTORY_MAKE_NOTHING, &error);
	assert_true(fd >= 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
	assert_int_equal(chdir("/"), 0);
}

static void
test_make(void **state)
{
	size_t fixed = strlen(directory.path) + strlen("/a");
	struct stat st;

	(void)state;
	assert_int_equal(open_at("a/b", fixed), ENOENT);
	directory_mkdir(&directory, "a");
	assert_int_equal(open_at("a/b/c", fixed), 0);
	assert_int_equal(fstatat(directory.fd, "a/b", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	put_link("nowhere", "a/l");
	assert_int_equal(open_at("a/l", fixed), ELOOP);
	assert_int_equal(open_at("a/l/x", fixed), ENOENT);
	assert_int_equal(fstatat(directory.fd, "a/nowhere", &st, 0), -1);
}

/* Links of our own are followed, but for the last. */
static void
test_links(void **state)
{
	(void)state;
	directory_mkdir(&directory, "a/b");
	put_link("a", "l");
	assert_int_equal(open_path("l/b"), 0);
	assert_int_equal(open_path("l"), ELOOP);
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_non_null(strstr(error.text, "symbolic link"));
	assert_int_equal(open_path("l/"), ELOOP);
	assert_int_equal(open_path("l/."), ELOOP);
	/* But where others may put one in its place. */
	assert_int_equal(fchmod(directory.fd, 0775), 0);
	assert_int_equal(open_path("l/b"), ELOOP);
	assert_int_equal(fchmod(directory.fd, 01777), 0);
	assert_int_equal(open_path("l/b"), 0);
	/* As a place of our own it may be one. */
	int fd = directory_reach(directory_path(&directory, "l"), &error);
	assert_true(fd >= 0);
	close(fd);
}

static void
test_others(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root to be another user\n");
		skip();
	}
	directory_mkdir(&directory, "joe/real/mail");
	directory_mkdir(&directory, "anna/mail");
	give("joe", OTHER);
	give("joe/real", OTHER);
	give("joe/real/mail", OTHER);
	give("anna", THIRD);
	give("anna/mail", THIRD);
	assert_int_equal(open_path("joe/real/mail"), 0);
	/* Whoever's: in a directory of joe's he could turn it. */
	put_link("real", "joe/own");
	assert_int_equal(open_path("joe/own/mail"), ELOOP);
	give("joe/own", OTHER);
	assert_int_equal(open_path("joe/own/mail"), ELOOP);
	put_link("../anna", "joe/hers");
	assert_int_equal(open_path("joe/hers/mail"), ELOOP);
	assert_int_equal(directory_reach(directory_path(&directory,
	    "joe/hers"), &error), -1);
	/* In a directory of ours, but made by him. */
	put_link("anna", "l");
	give("l", OTHER);
	assert_int_equal(open_path("l/mail"), ELOOP);
	/* Owners: his, ours, another's. */
	give("joe/real/mail", 0);
	assert_int_equal(open_path("joe/real/mail"), 0);
	give("joe/real/mail", THIRD);
	assert_int_equal(open_path("joe/real/mail"), EPERM);
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_non_null(strstr(error.text, "owner"));
	/* Below root's each may have one, as in /var/mail. */
	assert_int_equal(open_path("anna"), 0);
	assert_true(directory_may_hold(0, THIRD));
	assert_true(directory_may_hold(OTHER, OTHER));
	assert_false(directory_may_hold(OTHER, THIRD));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_make, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_links, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_others, set_up,
		    tear_down),
	};

	return cmocka_run_group_tests_name("directory", tests, NULL, NULL);
}
