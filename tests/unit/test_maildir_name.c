/*
 * test_maildir_name.c - what names of files and paths of directories tell.
 */
#include "drive.h"

#include "maildir/maildir_name.h"

/* Nothing stands behind it. */
static struct slice
guarded_slice(struct guarded *guarded, const char *text)
{
	return (struct slice){ guarded_put(guarded, text, strlen(text)),
		strlen(text) };
}

static void
test_base_names(void **state)
{
	static const struct { const char *name, *base; } rows[] = {
		{ "1.x.h", "1.x.h" }, { "1.x.h:2,", "1.x.h" },
		{ "1.x.h:2,FRS", "1.x.h" }, { "a:b:2,S:2,F", "a:b" },
		{ ":2,S", "" }, { "a:2", "a:2" }, { "a:", "a:" },
		{ "a:1,x", "a:1,x" }, { "a:2;x", "a:2;x" },
		{ "a2,x", "a2,x" }, { "a::2,x", "a:" }, { "", "" },
		{ ":", ":" },
		/* mbsync's. */
		{ "a,U=7", "a" }, { "a,U=7:2,S", "a" }, { "a,U=0", "a" },
		{ "a,U=1234567890:2,", "a" }, { ",U=9", "" },
		{ "a,U=1,U=2", "a,U=1" },
		{ "a,U=:2,S", "a,U=" }, { "a,U=", "a,U=" },
		{ "a,U=7x", "a,U=7x" }, { "a,U=/", "a,U=/" },
		{ "a,U=:", "a,U=:" }, { "a,u=7", "a,u=7" },
		{ "aU=7", "aU=7" }, { "7", "7" }, { "77:2,S", "77" },
		{ "a,S=7", "a,S=7" },
	};

	struct guarded guarded;

	(void)state;
	guarded_new(&guarded, 64);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_slices(maildir_base_name(guarded_slice(&guarded,
		    rows[i].name)), slice_from(rows[i].base));
	guarded_free(&guarded);
	/* Flags that are cut off are none. */
	assert_slice(maildir_base_name((struct slice){ "a:2,S", 3 }), "a:2");
	assert_slice(maildir_base_name((struct slice){ "a:2,S", 2 }), "a:");
	assert_slice(maildir_base_name((struct slice){ "a:2,S", 4 }), "a");
}

static void
test_paths(void **state)
{
	static const struct {
		const char *path, *folder;
		bool mail;
	} rows[] = {
		{ "", "", false }, { "cur", "", true }, { "new", "", true },
		{ "tmp", "tmp", false }, { "curx", "curx", false },
		{ "xcur", "xcur", false }, { "ne", "ne", false },
		{ ".Sent/new", ".Sent", true }, { ".Sent/cur", ".Sent", true },
		{ "a/b/cur", "a/b", true }, { "x/cur", "x", true },
		{ "a/cur/b", "a/cur/b", false }, { "cur/new", "cur", true },
		{ "a/newer", "a/newer", false }, { "a/", "a/", false },
		{ "Cur", "Cur", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice path = slice_from(rows[i].path);

		assert_slices(maildir_folder_path(path),
		    slice_from(rows[i].folder));
		if (maildir_holds_mail(path) != rows[i].mail)
			fail_msg("%s", rows[i].path);
	}
	assert_slice(maildir_folder_path((struct slice){ NULL, 0 }), "");
}

static void
test_foreign(void **state)
{
	static const struct { const char *name; bool foreign; } rows[] = {
		{ "dovecot", true }, { "dovecot.index.log", true },
		{ "dovecot-uidlist", true }, { "courierimapuiddb", true },
		{ "maildirsize", true }, { "maildirfolder", true },
		{ "subscriptions", true }, { "", false }, { "dove", false },
		{ "maildirsizes", false }, { "maildir", false },
		{ "my-subscriptions", false }, { "xdovecot", false },
		{ "1.x.h", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir_name_is_foreign(slice_from(rows[i].name)) !=
		    rows[i].foreign)
			fail_msg("%s", rows[i].name);
}

/* What is smtp-handler's own form and can be, and no more than that. */
static void
test_sizes(void **state)
{
	static const struct {
		const char *base;
		uint64_t size, octets; /* 0: refused */
	} rows[] = {
		{ "1700000000.M000001P42_0123abcd.host,S=6,W=14", 6, 14 },
		{ "0.M0P0_0.h,S=0,W=2", 0, 2 },
		{ "9.M9P9_9.h,S=9,W=9", 9, 9 },
		{ "1.M4P4_f.a.b-c_d,S=6,W=00000014", 6, 14 },
		{ "1.M1P1_a.h,S=2,W=2", 2, 2 },
		{ "1.M1P1_a.h,S=1,W=2", 1, 2 },
		{ "1.M1P1_a.h,S=1,W=4", 1, 4 },
		{ "1.M1P1_a.h,S=4611686018427387902,W=4611686018427387902",
		    4611686018427387902, 4611686018427387902 },
		/* No message has so few or so many. */
		{ "1.M1P1_a.h,S=0,W=0", 0, 0 },
		{ "1.M1P1_a.h,S=0,W=1", 0, 0 },
		{ "1.M1P1_a.h,S=0,W=3", 0, 0 },
		{ "1.M1P1_a.h,S=1,W=1", 0, 0 },
		{ "1.M1P1_a.h,S=3,W=2", 0, 0 },
		{ "1.M1P1_a.h,S=1,W=5", 0, 0 },
		{ "1.M1P1_a.h,S=4611686018427387903,W=4611686018427387903",
		    0, 0 },
		{ "1.M1P1_a.h,S=9223372036854775807,W=9223372036854775807",
		    0, 0 },
		{ "1.M1P1_a.h,S=99999999999999999999,W=9", 0, 0 },
		/* Each part is needed. */
		{ ".M1P1_a.h,S=6,W=14", 0, 0 },
		{ "x.M1P1_a.h,S=6,W=14", 0, 0 },
		{ "1M1P1_a.h,S=6,W=14", 0, 0 },
		{ "1.1P1_a.h,S=6,W=14", 0, 0 },
		{ "1.MP1_a.h,S=6,W=14", 0, 0 },
		{ "1.M11_a.h,S=6,W=14", 0, 0 },
		{ "1.M1P_a.h,S=6,W=14", 0, 0 },
		{ "1.M1P1a.h,S=6,W=14", 0, 0 },
		{ "1.M1P1_.h,S=6,W=14", 0, 0 },
		{ "1.M1P1_g.h,S=6,W=14", 0, 0 },
		{ "1.M1P1_A.h,S=6,W=14", 0, 0 },
		{ "1.M1P1_ah,S=6,W=14", 0, 0 },
		{ "1.M1P1_a.,S=6,W=14", 0, 0 },
		{ "1.M1P1_a,S=6,W=14", 0, 0 },
		{ "1.M1P1_a.h", 0, 0 },
		{ "1.M1P1_a.hS=6,W=14", 0, 0 },
		{ "1.M1P1_a.h,,S=6,W=14", 0, 0 },
		{ "1.M1P1_a.h,6,W=14", 0, 0 },
		{ "1.M1P1_a.h,S=,W=14", 0, 0 },
		{ "1.M1P1_a.h,S=6", 0, 0 },
		{ "1.M1P1_a.h,S=6W=14", 0, 0 },
		{ "1.M1P1_a.h,S=6,14", 0, 0 },
		{ "1.M1P1_a.h,S=6,W=", 0, 0 },
		{ "1.M1P1_a.h,S=6,W=14x", 0, 0 },
		{ "1.M1P1_a.h,S=6,W=14,", 0, 0 },
		{ "1.M1P1_a.h,S=6,W=/", 0, 0 },
		{ "1.M1P1_a.h,S=6,W=:", 0, 0 },
		{ "", 0, 0 }, { "1", 0, 0 }, { "1.M1P1_a", 0, 0 },
	};

	struct guarded guarded;

	(void)state;
	guarded_new(&guarded, 64);
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t size = 0, octets = 0;
		bool told = maildir_name_sizes(guarded_slice(&guarded,
		    rows[i].base), &size, &octets);

		if (told != (rows[i].octets > 0) || (told &&
		    (size != rows[i].size || octets != rows[i].octets)))
			fail_msg("%s: %d, %ju, %ju", rows[i].base, told,
			    (uintmax_t)size, (uintmax_t)octets);
	}
	guarded_free(&guarded);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base_names),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests_name("maildir_name", tests, NULL, NULL);
}
