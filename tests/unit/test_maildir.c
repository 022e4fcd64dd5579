/*
 * test_maildir.c - scanning maildrops and opening their messages, on a
 * directory of its own for each test.
 */
#include "drive.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#include "maildir/maildir.h"
#include "maildir/maildir_uidl.h"

static struct directory directory;
static struct maildir maildir;
static struct error error;
static unsigned descriptors; /* that are open without a session */

static int
set_up(void **state)
{
	(void)state;
	directory_make(&directory);
	descriptors = descriptors_open();
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(descriptors_open(), descriptors);
	directory_remove(&directory);
	return 0;
}

/* ---- maildrops ---- */

static void
set_mtime(const char *name, time_t seconds, long nanoseconds)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = seconds, .tv_nsec = nanoseconds },
	};

	assert_int_equal(utimensat(directory.fd, name, times, 0), 0);
}

/* A file, and the directories above it, changed last at that time. */
static void
put_octets(const char *name, struct slice octets, time_t seconds)
{
	const char *slash = strrchr(name, '/');

	if (slash != NULL) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%.*s", (int)(slash - name),
		    name);
		directory_mkdir(&directory, path);
	}
	directory_put(&directory, name, octets);
	set_mtime(name, seconds, 0);
}

static void
put(const char *name, const char *text, time_t seconds)
{
	put_octets(name, slice_from(text), seconds);
}

static int
scan_at(const char *path, enum maildir_reach mode, bool may_be_missing)
{
	const struct maildir_options options = {
		.reach = mode, .may_be_missing = may_be_missing,
	};

	return maildir_open(&maildir, path, &options, &error);
}

/* What the scan found: "uidl octets" for each message, in order. */
static struct text
listing(void)
{
	struct text text = { .data = NULL };
	char room[MAILDIR_UIDL_MAX];

	text_add(&text, SLICE(""));
	for (size_t i = 0; i < maildir.index.n; i++) {
		const struct message *message = &maildir.index.messages[i];

		assert_false(message->deleted);
		struct slice uidl = maildir_uidl(&maildir.index, i, room);
		assert_true(uidl.len >= 1 && uidl.len <= 70);
		text_format(&text, "%.*s %ju\n", SLICE_ARG(uidl),
		    (uintmax_t)message->octets);
	}
	return text;
}

static void
check_listing(struct slice want, const char *file, int line)
{
	struct text text = listing();

	check_equal(text_slice(&text), want, "the maildrop", file, line);
	text_free(&text);
}

static void
check_scan(enum maildir_reach mode, struct slice want, const char *file,
    int line)
{
	if (scan_at(directory.path, mode, false) != 0)
		fail_msg("%s", error.text);
	check_listing(want, file, line);
	maildir_close(&maildir);
}

#define assert_maildrop(literal) \
	check_scan(MAILDIR_ALL, SLICE(literal), __FILE__, __LINE__)
#define assert_inbox(literal) \
	check_scan(MAILDIR_INBOX, SLICE(literal), __FILE__, __LINE__)

static void
scan_all(void)
{
	if (scan_at(directory.path, MAILDIR_ALL, false) != 0)
		fail_msg("%s", error.text);
}

/* ---- which files, in which order ---- */

static void
test_missing(void **state)
{
	(void)state;
	assert_int_equal(scan_at(directory_path(&directory, "none"),
	    MAILDIR_ALL, false), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	assert_int_equal(scan_at(directory_path(&directory, "none"),
	    MAILDIR_ALL, true), 0);
	assert_int_equal(maildir.index.n, 0);
	maildir_close(&maildir);
	maildir_close(&maildir);

	put("file", "x\n", 1);
	assert_int_equal(scan_at(directory_path(&directory, "file"),
	    MAILDIR_ALL, true), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
}

static void
test_empty(void **state)
{
	(void)state;
	assert_maildrop("");
	assert_inbox("");
	directory_mkdir(&directory, "new");
	directory_mkdir(&directory, "cur");
	directory_mkdir(&directory, "tmp");
	directory_mkdir(&directory, ".Sent/cur");
	assert_maildrop("");
	assert_inbox("");
}

/* Oldest first, to the nanosecond; equal times by name, then by folder. */
static void
test_order(void **state)
{
	(void)state;
	put("new/c", "1\n", 100);
	put("new/b", "12\n", 200);
	put("cur/a:2,S", "123\n", 300);
	put("cur/z:2,", "1234\n", 50);
	put("new/y", "12345\n", -7);
	put("new/n1", "1\n", 400);
	put("new/n2", "1\n", 400);
	set_mtime("new/n1", 400, 2);
	set_mtime("new/n2", 400, 1);
	assert_maildrop("y 7\nz 6\nc 3\nb 4\na 5\nn2 3\nn1 3\n");

	/* All at one time: by what stays when flags change. */
	put("new/c", "1\n", 9);
	put("new/b", "12\n", 9);
	put("cur/a:2,S", "123\n", 9);
	put("cur/z:2,", "1234\n", 9);
	put("new/y", "12345\n", 9);
	put("new/n1", "1\n", 9);
	put("new/n2", "1\n", 9);
	put(".F/cur/b:2,S", "1\n", 9);
	put("b1", "1\n", 9); /* no message */
	put(".E/new/b", "1\n", 9);
	assert_maildrop("a 5\nb 4\nb/.E 3\nb/.F 3\nc 3\nn1 3\nn2 3\n"
	    "y 7\nz 6\n");

	/* As numbers do not change when flags do. */
	assert_int_equal(renameat(directory.fd, "new/b", directory.fd,
	    "cur/b:2,ST"), 0);
	assert_int_equal(renameat(directory.fd, "cur/a:2,S", directory.fd,
	    "cur/a:2,FRS"), 0);
	assert_maildrop("a 5\nb 4\nb/.E 3\nb/.F 3\nc 3\nn1 3\nn2 3\n"
	    "y 7\nz 6\n");
}

/* Times that no clock ever showed. */
static void
test_strange_times(void **state)
{
	(void)state;
	put("new/b", "1\n", (time_t)1 << 33);
	put("new/a", "1\n", 0);
	put("new/c", "1\n", -1);
	assert_maildrop("c 3\na 3\nb 3\n");
}

/* Each file is a message of one octet more than the one before; those that are
 * none are left out. */
struct candidate {
	const char *name;
	bool message;
};

static void
check_candidates(const struct candidate *files, size_t n)
{
	struct text want = { .data = NULL };
	struct text got = { .data = NULL };
	struct text contents = { .data = NULL };

	for (size_t i = 0; i < n; i++) {
		text_add(&contents, SLICE("\n"));
		put(files[i].name, contents.data, (time_t)i);
		if (files[i].message)
			text_format(&want, "%zu\n", 2 * (i + 1));
	}
	scan_all();
	/* By their sizes: what the unique-ids are is tried below. */
	for (size_t i = 0; i < maildir.index.n; i++)
		text_format(&got, "%ju\n",
		    (uintmax_t)maildir.index.messages[i].octets);
	assert_slices(text_slice(&got), text_slice(&want));
	for (size_t i = 0; i < maildir.index.n; i++)
		assert_int_equal(maildir.index.messages[i].permanent,
		    !maildir_file_is_mail(&maildir.index, i));
	maildir_close(&maildir);
	text_free(&want);
	text_free(&got);
	text_free(&contents);
}

/* In a maildir messages are in new and cur; what else lies there is other
 * programs'. */
static void
test_maildir(void **state)
{
	static const struct candidate files[] = {
		{ "new/m1", true },
		{ "cur/m2:2,", true },
		/* Deliveries under way. */
		{ "tmp/m3", false },
		{ "tmp/deeper/new/m3", false },
		{ ".Sent/cur/m4:2,S", true },
		{ ".Sent/tmp/m5", false },
		/* Beside new alone, and cur alone. */
		{ "half1/new/m9", true },
		{ "half1/tmp/m10", false },
		{ "half1/m10", false },
		{ "half2/cur/m11", true },
		{ "half2/tmp/m12", false },
		{ "half2/file", false },
		/* Folders in plain folders; and a tmp that is none. */
		{ "plain/m6", false },
		{ "plain/tmp/new/m7", true },
		{ "a/b/c/d", false },
		{ "a/b/new/e", true },
		{ "a/b/e", false },
		/* Directories in new and cur are no messages. */
		{ "cur/sub/m7", false },
		{ "new/.sub/m14", false },
		{ "cur/deep/new/m16", true },
		/* Names that begin with a dot. */
		{ ".hidden", false },
		{ "new/.hidden", false },
		{ "cur/.m13:2,S", false },
		{ ".Folder/file", false },
		{ ".Folder/.file", false },
		{ ".Folder/cur/m13", true },
		/* What other programs keep. */
		{ "dovecot.index", false },
		{ "dovecotx/new/m15", false },
		{ "courierimapkeywords/new/file", false },
		{ ".Sent/maildirfolder", false },
		{ ".git/HEAD", false },
		{ ".dovecot.sieve", false },
		{ "sieve/rules.sieve", false },
		{ "mbox", false },
		{ ".Trash", false },
		/* In new and cur those are mail. */
		{ "new/dovecot.x", true },
		{ "cur/courier.x:2,S", true },
		{ "new/maildirsize", true },
		{ ".Sent/new/subscriptions", true },
		{ "newer/f", false },
		{ "newest/new/g", true },
	};

	(void)state;
	check_candidates(files, COUNT(files));
}

static void
test_inbox(void **state)
{
	(void)state;
	put("new/m1", "\n", 1);
	put("cur/m2:2,S", "\n", 2);
	put("new/sub/new/x", "\n", 3);
	put("new/sub/x", "\n", 3);
	put("tmp/m3", "\n", 3);
	put("file", "\n", 3);
	put(".Sent/new/m4", "\n", 4);
	assert_inbox("m1 2\nm2 2\n");
	assert_int_equal(renameat(directory.fd, "new", directory.fd, "old"),
	    0);
	assert_inbox("m2 2\n");
	assert_int_equal(renameat(directory.fd, "cur", directory.fd, "o"),
	    0);
	/* A plain folder has none. */
	assert_inbox("");
}

/* A folder without new and cur, and none above: every file is a message. */
static void
test_plain_folder(void **state)
{
	static const struct candidate files[] = {
		{ "file", true },
		{ "a/b/c/d", true },
		{ "plain/tmp/m6", true },
		{ "tmp/m7", true },
		{ ".hidden", false },
		{ ".Folder/file", true },
		{ ".Folder/.file", false },
		{ "dovecot.index", false },
		{ "dovecot-uidlist", false },
		{ "dovecot", false },
		{ "dovecotx/m15", false },
		{ "courierimapuiddb", false },
		{ "courierimapkeywords/file", false },
		{ "maildirsize", false },
		{ "maildirsize2", true },
		{ "subscriptions", false },
		{ "subscriptions.x", true },
		{ ".Folder/maildirfolder", false },
		{ "Dovecot", true },
		{ "xdovecot", true },
		/* A maildir in it, and what is below that. */
		{ "m/cur/m1:2,", true },
		{ "m/file", false },
		{ "m/sub/file", false },
		{ "m/sub/new/m2", true },
		{ "m/tmp/m3", false },
	};

	(void)state;
	check_candidates(files, COUNT(files));
}

/* What was a plain folder when the cache was written. */
static void
test_becomes_maildir(void **state)
{
	char cache[PATH_MAX];
	struct maildir_options options = { .reach = MAILDIR_ALL };

	(void)state;
	put("mail/file", "1\n", 1);
	put("mail/a/b/c", "12\n", 2);
	put("mail/x/new/d", "123\n", 3);
	directory_mkdir(&directory, "cache");
	snprintf(cache, sizeof(cache), "%s/cache", directory.path);
	options.cache_dir = cache;
	for (int change = 0; change <= 2; change++) {
		if (change == 1)
			directory_mkdir(&directory, "mail/new");
		if (change == 2)
			assert_int_equal(unlinkat(directory.fd, "mail/new",
			    AT_REMOVEDIR), 0);
		assert_int_equal(maildir_open(&maildir,
		    directory_path(&directory, "mail"), &options, &error), 0);
		check_listing(change == 1 ? SLICE("d/x 5\n")
		    : SLICE("file 3\nc/a/b 4\nd/x 5\n"), __FILE__, __LINE__);
		/* As if they had been read long after their times. */
		for (size_t i = 0; i < maildir.index.n_folders; i++)
			maildir.index.folders[i].trusted = 1;
		assert_int_equal(maildir_save_cache(&maildir, &error), 0);
		maildir_close(&maildir);
	}
}

/* Not everything with a name is a file. */
static void
test_not_files(void **state)
{
	(void)state;
	put("new/a", "1\n", 1);
	put("outside", "12\n", 2);
	put("box/new/b", "123\n", 3);
	directory_mkdir(&directory, "cur");
	assert_int_equal(mkfifoat(directory.fd, "new/fifo", 0600), 0);
	assert_int_equal(mkdirat(directory.fd, "new/directory", 0700), 0);
	/* Links to a file, a directory, nothing, out of it, itself. */
	assert_int_equal(symlinkat("a", directory.fd, "new/link"), 0);
	assert_int_equal(symlinkat("../box", directory.fd, "box/loop"), 0);
	assert_int_equal(symlinkat("box", directory.fd, "box2"), 0);
	assert_int_equal(symlinkat("/etc/passwd", directory.fd, "cur/pw"),
	    0);
	assert_int_equal(symlinkat("/etc", directory.fd, ".etc"), 0);
	assert_int_equal(symlinkat("nothing", directory.fd, "cur/none"), 0);
	assert_int_equal(symlinkat("self", directory.fd, "self"), 0);
	assert_maildrop("a 3\nb/box 5\n");
	assert_inbox("a 3\n");

	/* Its new being a link is no better, nor is the maildrop itself. */
	static const char *const links[] = { "box2", "box2/", "box2//./" };
	assert_int_equal(symlinkat("../box/new", directory.fd, "box/cur"),
	    0);
	for (size_t i = 0; i < COUNT(links); i++) {
		assert_int_equal(scan_at(directory_path(&directory, links[i]),
		    MAILDIR_ALL, true), -1);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_int_equal(error.errnum, ELOOP);
	}
	/* On the way there it may be one that we have made. */
	assert_int_equal(symlinkat(".", directory.fd, "here"), 0);
	assert_int_equal(scan_at(directory_path(&directory, "here/box"),
	    MAILDIR_ALL, false), 0);
	check_listing(SLICE("b 5\n"), __FILE__, __LINE__);
	maildir_close(&maildir);
}

static void
test_depth(void **state)
{
	char path[PATH_MAX] = "";
	size_t len = 0;

	(void)state;
	for (unsigned depth = 1; depth <= MAILDIR_DEPTH_MAX + 2; depth++) {
		len += (size_t)snprintf(path + len, sizeof(path) - len,
		    "%sd", depth > 1 ? "/" : "");
		if (depth < MAILDIR_DEPTH_MAX)
			continue;
		char file[PATH_MAX + 2];
		snprintf(file, sizeof(file), "%s/f", path);
		put(file, "x\n", depth);
	}
	scan_all();
	/* In the directory of the deepest level, not in those below. */
	assert_int_equal(maildir.index.n, 1);
	assert_int_equal(maildir.index.messages[0].octets, 3);
	assert_true(maildir_is_too_deep(&maildir));
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	maildir_close(&maildir);
}

/* As somebody who may not read everything. */
static int
scan_as_nobody(enum maildir_reach reach)
{
	bool root = geteuid() == 0;

	if (root)
		assert_int_equal(seteuid(65534), 0);
	int result = scan_at(directory.path, reach, false);
	if (root)
		assert_int_equal(seteuid(0), 0);
	return result;
}

/* A subfolder is left out; the maildrop's own new and cur are not. */
static void
test_unreadable_folder(void **state)
{
	/* Neither read nor entered, entered, read. */
	static const mode_t modes[] = { 0000, 0111, 0444 };
	size_t n;

	(void)state;
	put("new/a", "x\n", 1);
	put(".Secret/new/b", "x\n", 2);
	put(".Secret/sub/new/b", "x\n", 2);
	put(".Other/new/c", "x\n", 3);
	assert_int_equal(chmod(directory.path, 0755), 0);
	static const char *const open[] = { "new", "new/a", ".Other",
		".Other/new", ".Other/new/c", ".Secret/new",
		".Secret/sub", ".Secret/sub/new", ".Secret/sub/new/b" };
	for (size_t i = 0; i < COUNT(open); i++)
		assert_int_equal(fchmodat(directory.fd, open[i], 0755, 0), 0);
	for (size_t i = 0; i < COUNT(modes); i++) {
		assert_int_equal(fchmodat(directory.fd, ".Secret", modes[i],
		    0), 0);
		if (scan_as_nobody(MAILDIR_ALL) != 0)
			fail_msg("%o: %s", modes[i], error.text);
		check_listing(SLICE("a 3\nc/.Other 3\n"), __FILE__,
		    __LINE__);
		assert_text(maildir_left_out(&maildir, &n), ".Secret");
		assert_int_equal(n, 1);
		maildir_close(&maildir);
		/* The inbox does not go there. */
		assert_int_equal(scan_as_nobody(MAILDIR_INBOX), 0);
		check_listing(SLICE("a 3\n"), __FILE__, __LINE__);
		assert_null(maildir_left_out(&maildir, &n));
		maildir_close(&maildir);
	}
	assert_int_equal(fchmodat(directory.fd, ".Secret", 0755, 0), 0);
	assert_int_equal(fchmodat(directory.fd, ".Secret/new", 0, 0), 0);
	assert_int_equal(scan_as_nobody(MAILDIR_ALL), 0);
	check_listing(SLICE("a 3\nb/.Secret/sub 3\nc/.Other 3\n"), __FILE__,
	    __LINE__);
	assert_text(maildir_left_out(&maildir, &n), ".Secret/new");
	maildir_close(&maildir);
	for (size_t i = 0; i < COUNT(modes); i++) {
		assert_int_equal(fchmodat(directory.fd, "new", modes[i], 0),
		    0);
		assert_int_equal(scan_as_nobody(MAILDIR_ALL), -1);
		assert_int_equal(error.errnum, EACCES);
		assert_int_equal(error.kind, ERROR_CONFIG);
	}
	assert_int_equal(fchmodat(directory.fd, "new", 0700, 0), 0);
}

/* ---- unique-ids ---- */

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10

static void
test_uidls(void **state)
{
	(void)state;
	put("new/1700000000.M1P2.host", "x\n", 1);
	put("cur/1700000001.M1P2.host,S=5:2,FRS", "x\n", 2);
	put("cur/plain", "x\n", 3);
	put("new/colon:name", "x\n", 4);
	put("new/two:2,S:2,R", "x\n", 5);
	put("plain/cur/~!weird#$%&()", "x\n", 6);
	put(".Sent/cur/s1:2,S", "x\n", 7);
	put(".Sent.Old/new/s2", "x\n", 8);
	put("a/cur/s3", "x\n", 9);
	put("a/b/new/s4", "x\n", 10);
	/* 70 octets, whole and with a folder. */
	put("new/" X60 X10, "x\n", 12);
	put(".F/new/" X60 "1234567", "x\n", 13);
	assert_maildrop("1700000000.M1P2.host 3\n"
	    "1700000001.M1P2.host,S=5 3\nplain 3\ncolon:name 3\ntwo 3\n"
	    "~!weird#$%&()/plain 3\ns1/.Sent 3\ns2/.Sent.Old 3\ns3/a 3\n"
	    "s4/a/b 3\n" X60 X10 " 3\n"
	    X60 "1234567/.F 3\n");
}

/* mbsync(1) renames every file on its first run. */
static void
test_uidl_mbsync(void **state)
{
	(void)state;
	put("new/1", "x\n", 1);
	put("cur/2:2,S", "x\n", 2);
	put("cur/3,U=:2,S", "x\n", 3);
	put("cur/4,U=x:2,S", "x\n", 4);
	put("cur/5,U=7,X=1:2,S", "x\n", 5);
	put("cur/6,U=1,U=2:2,S", "x\n", 6);
	put("new/,U=8", "x\n", 7);
	put(".F/new/9", "x\n", 8);
#define REST "3,U= 3\n4,U=x 3\n5,U=7,X=1 3\n6,U=1 3\n" \
	"/e3b0c44298fc1c149afbf4c8996fb924 3\n9/.F 3\n"
	assert_maildrop("1 3\n2 3\n" REST);
	assert_int_equal(renameat(directory.fd, "new/1", directory.fd,
	    "cur/1,U=10:2,"), 0);
	assert_int_equal(renameat(directory.fd, "cur/2:2,S", directory.fd,
	    "cur/2,U=11:2,S"), 0);
	assert_int_equal(renameat(directory.fd, ".F/new/9", directory.fd,
	    ".F/new/9,U=1"), 0);
	assert_maildrop("1 3\n2 3\n" REST);
}

/* What cannot stand there becomes a slash and the first 128 bits of its
 * SHA-256, in hexadecimal: fixed, for clients remember it for years. */
static void
test_uidl_hashes(void **state)
{
	struct text name = { .data = NULL };

	(void)state;
	/* 71 octets; a blank; UTF-8; DEL; nothing left before ":2,". */
	text_format(&name, "new/");
	text_repeat(&name, 'a', 71);
	put(name.data, "x\n", 1);
	put("new/x y:2,S", "x\n", 2);
	put("new/\xC3\xA4", "x\n", 3);
	put("cur/m\x7F:2,", "x\n", 4);
	put("cur/:2,S", "x\n", 5);
	put(".F/cur/:2,S", "x\n", 6);
	/* 69 and a folder of one: 71 in all. */
	name.len = 0;
	text_format(&name, "s/new/");
	text_repeat(&name, 'a', 69);
	put(name.data, "x\n", 7);
	assert_maildrop("/eefa4cfbea79400c2f4239e1f702e02e 3\n"
	    "/887fcea6a80333c6c02ae7e79735f0ed 3\n"
	    "/33e6d73fee82904c8d7afb78de1154d1 3\n"
	    "/a71966299a873b71c1b460ce5170768f 3\n"
	    "/e3b0c44298fc1c149afbf4c8996fb924 3\n"
	    "/1323f5e1085d47d2780e6feead61d647 3\n"
	    "/00a29e003ee60de5b59929bf838f218f 3\n");
	/* It hangs on the message alone: others come and go, flags
	 * change. */
	assert_int_equal(renameat(directory.fd, "new/x y:2,S", directory.fd,
	    "cur/x y:2,RS"), 0);
	assert_int_equal(unlinkat(directory.fd, "new/\xC3\xA4", 0), 0);
	put("new/0", "x\n", 0);
	assert_maildrop("0 3\n"
	    "/eefa4cfbea79400c2f4239e1f702e02e 3\n"
	    "/887fcea6a80333c6c02ae7e79735f0ed 3\n"
	    "/a71966299a873b71c1b460ce5170768f 3\n"
	    "/e3b0c44298fc1c149afbf4c8996fb924 3\n"
	    "/1323f5e1085d47d2780e6feead61d647 3\n"
	    "/00a29e003ee60de5b59929bf838f218f 3\n");
	text_free(&name);
}

static void
put_link(const char *from, const char *to)
{
	assert_int_equal(linkat(directory.fd, from, directory.fd, to, 0), 0);
}

/* The same file, and a copy of it, is one message, caught in a rename. */
static void
test_doubles(void **state)
{
	(void)state;
	put("new/same", "1\n", 1);
	put("cur/same:2,S", "1\n", 2);
	put(".F/new/same", "12\n", 3);
	directory_mkdir(&directory, ".F/cur");
	put_link(".F/new/same", ".F/cur/same:2,");
	put("cur/other:2,S", "123\n", 5);
	assert_maildrop("same 3\nsame/.F 4\nother 5\n");
	assert_inbox("same 3\nother 5\n");
	/* It is where it was seen last. */
	scan_all();
	assert_int_equal(unlinkat(directory.fd, "new/same", 0), 0);
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	maildir_close(&maildir);
}

/* Other files of the same name are other messages. What tells them apart is
 * a hash of their unique-id, NUL and their contents. */
#define TWIN_1 "/bce80f6102eb415413fd910db90cc7ca"
#define TWIN_12 "/219078739f6ea0bbf6abe44d8dba7d62"

static void
test_twins(void **state)
{
	(void)state;
	put("new/same", "1\n", 1);
	put("cur/same:2,S", "12\n", 2);
	put("cur/other:2,S", "123\n", 5);
	assert_maildrop(TWIN_1 " 3\n" TWIN_12 " 4\nother 5\n");
	/* In one directory; and a third name for the first of them. */
	assert_int_equal(renameat(directory.fd, "new/same", directory.fd,
	    "cur/same:2,FR"), 0);
	put("new/same", "1\n", 1);
	assert_maildrop(TWIN_1 " 3\n" TWIN_12 " 4\nother 5\n");
	/* One alone has its name for itself. */
	assert_int_equal(unlinkat(directory.fd, "cur/same:2,S", 0), 0);
	assert_maildrop("same 3\nother 5\n");
}

/* Each is found again as itself, and none as the other. */
static void
test_twins_moved(void **state)
{
	(void)state;
	put("new/same", "1\n", 1);
	put("cur/same:2,S", "12\n", 2);
	scan_all();
	assert_int_equal(renameat(directory.fd, "cur/same:2,S", directory.fd,
	    "cur/same:2,"), 0);
	assert_int_equal(renameat(directory.fd, "new/same", directory.fd,
	    "cur/same:2,S"), 0);
	/* Under its old name there is another file now, as there may be in
	 * no maildir. */
	int fd = maildir_open_message(&maildir, 0, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_text(maildir.index.text + maildir.index.files[0].name,
	    "same:2,S");
	fd = maildir_open_message(&maildir, 1, &error);
	assert_true(fd >= 0);
	close(fd);
	assert_text(maildir.index.text + maildir.index.files[1].name,
	    "same:2,");
	assert_int_equal(unlinkat(directory.fd, "cur/same:2,S", 0), 0);
	assert_int_equal(maildir_open_message(&maildir, 0, &error), -1);
	maildir_close(&maildir);
}

/* Many, for whatever table finds them. */
static void
test_many(void **state)
{
	const unsigned n = 1000;
	struct text want = { .data = NULL };
	char name[64];

	(void)state;
	directory_mkdir(&directory, "new");
	directory_mkdir(&directory, "cur");
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/m%04u%s",
		    i % 2 == 0 ? "new" : "cur", i, i % 3 == 0 ? ":2,S" : "");
		put(name, "", 7);
		text_format(&want, "m%04u 2\n", i);
		/* Every fifth one is there twice. */
		snprintf(name, sizeof(name), "%s/m%04u:2,T",
		    i % 2 == 0 ? "cur" : "new", i);
		if (i % 5 == 0)
			put(name, "", 7);
	}
	scan_all();
	check_listing(text_slice(&want), __FILE__, __LINE__);
	maildir_close(&maildir);
	text_free(&want);
}

/* ---- sizes ---- */

/* The octets that RETR sends, before dot-stuffing. */
static void
test_octets(void **state)
{
	static const struct { struct slice text; unsigned octets; } rows[] = {
		{ SLICE(""), 2 }, { SLICE("\n"), 2 }, { SLICE("\r"), 2 },
		{ SLICE("\r\n"), 2 }, { SLICE("\n\r"), 4 },
		{ SLICE("\r\r\n"), 4 }, { SLICE("a"), 3 },
		{ SLICE("a\n"), 3 }, { SLICE("a\r\n"), 3 },
		{ SLICE("a\rb"), 6 }, { SLICE("a\n\n\n"), 7 },
		{ SLICE(".\n..\n"), 7 }, { SLICE("\0\0\n"), 4 },
		{ SLICE("a\nb\r\nc\rd"), 12 }, { SLICE("\xFF\xFE"), 4 },
	};
	char name[32];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(name, sizeof(name), "new/m%02zu", i);
		put_octets(name, rows[i].text, (time_t)i);
	}
	scan_all();
	assert_int_equal(maildir.index.n, COUNT(rows));
	for (size_t i = 0; i < COUNT(rows); i++)
		if (maildir.index.messages[i].octets != rows[i].octets)
			fail_msg("row %zu: %ju", i,
			    (uintmax_t)maildir.index.messages[i].octets);
	maildir_close(&maildir);
}

/* Longer than one read, with a CRLF over every likely seam. */
static void
test_octets_long(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	text_repeat(&text, 'x', 300000);
	for (size_t at = 4096; at < text.len; at += 4096) {
		text.data[at - 1] = '\r';
		text.data[at] = '\n';
	}
	put_octets("new/a", text_slice(&text), 1);
	text.data[8191] = 'x'; /* a bare LF */
	text.data[65536] = 'x'; /* a bare CR */
	put_octets("new/b", text_slice(&text), 2);
	assert_maildrop("a 300002\nb 300004\n");
	text_free(&text);
}

/* ",W=" is believed in names of smtp-handler's own form whose ",S=" is the
 * file's size, and in no other. */
static void
test_octets_in_names(void **state)
{
	static const struct { const char *name; unsigned octets; } rows[] = {
		/* The file has 6 octets, 8 on the wire. */
		{ "1700000000.M000001P42_0123abcd.host,S=6,W=14", 14 },
		{ "1700000000.M000002P42_0123abcd.host,S=6,W=14:2,S", 14 },
		{ "1.M3P4_5.h,S=6,W=6", 6 },
		{ "1.M4P4_f.a.b-c_d,S=6,W=00000014", 14 },
		{ "1.M5P4_5.h,S=6,W=18446744073709551615", 8 },
		/* S does not agree. */
		{ "2.M1P4_5.h,S=5,W=14", 8 },
		{ "2.M2P4_5.h,S=7,W=14", 8 },
		{ "2.M3P4_5.h,S=,W=14", 8 },
		{ "2.M4P4_5.h,S=6", 8 },
		{ "2.M5P4_5.h,W=14", 8 },
		{ "2.M6P4_5.h,W=14,S=6", 8 },
		{ "2.M7P4_5.h,S=6,W=", 8 },
		{ "2.M8P4_5.h,S=6,W=14,", 8 },
		{ "2.M9P4_5.h,S=6,W=14,X=1", 8 },
		{ "2.M10P4_5.h,S=6,W=14x", 8 },
		{ "2.M11P4_5.h,S=6,W=99999999999999999999", 8 },
		{ "2.M12P4_5.h,S=6,W=-14", 8 },
		/* Fewer octets than the file has cannot be, nor more than
		 * two for each and a line end. */
		{ "2.M13P4_5.h,S=6,W=5", 8 },
		{ "2.M14P4_5.h,S=6,W=15", 8 },
		/* Dovecot's and others' forms. */
		{ "3.M1P4.h,S=6,W=14", 8 },
		{ "3.M2P4Q5.h,S=6,W=14", 8 },
		{ "3.M3P4V5I6_0.h,S=6,W=14", 8 },
		{ "3.M4P4_5,S=6,W=14", 8 },
		{ "3.M5P4_5.,S=6,W=14", 8 },
		{ "3.M6P4_.h,S=6,W=14", 8 },
		{ "3.M7P4_5g.h,S=6,W=14", 8 },
		{ "3.M8P4_5A.h,S=6,W=14", 8 },
		{ "3.M9P_5.h,S=6,W=14", 8 },
		{ "3.MP4_10.h,S=6,W=14", 8 },
		{ ".M11P4_5.h,S=6,W=14", 8 },
		{ "x3.M12P4_5.h,S=6,W=14", 8 },
		{ "3.P4_13.h,S=6,W=14", 8 },
		{ "3.4_14.h,S=6,W=14", 8 },
		{ "3.M15P4_5.h,,S=6,W=14", 8 },
		{ "3.M16P4_5.h,S=6,W=14!2,S", 8 },
		{ "msg,S=6,W=14", 8 },
	};
	char name[128];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(name, sizeof(name), "new/%s", rows[i].name);
		/* A name that begins with a dot is none: elsewhere. */
		if (rows[i].name[0] != '.')
			put(name, "ab\ncd\n", (time_t)i);
	}
	scan_all();
	size_t at = 0;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].name[0] == '.')
			continue;
		if (maildir.index.messages[at].octets != rows[i].octets)
			fail_msg("%s: %ju", rows[i].name,
			    (uintmax_t)maildir.index.messages[at].octets);
		at++;
	}
	assert_int_equal(at, maildir.index.n);
	maildir_close(&maildir);
}

/* ---- opening messages ---- */

static void
check_message(size_t i, struct slice want, uint64_t octets)
{
	char got[256];
	int fd = maildir_open_message(&maildir, i, &error);

	if (fd < 0)
		fail_msg("%s", error.text);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	ssize_t n = read(fd, got, sizeof(got));
	assert_true(n >= 0);
	assert_slices(((struct slice){ got, (size_t)n }), want);
	close(fd);
	assert_int_equal(maildir.index.messages[i].octets, octets);
}

static void
test_open(void **state)
{
	(void)state;
	put("new/a", "one\n", 1);
	put("cur/b:2,S", "two\n", 2);
	put("cur/root", "three\n", 3);
	put(".F/G/new/c", "four\n", 4);
	put(".F/G/new/d", "", 5);
	scan_all();
	/* In any order, again and again. */
	for (int i = 0; i < 3; i++) {
		check_message(3, SLICE("four\n"), 6);
		check_message(0, SLICE("one\n"), 5);
		check_message(4, SLICE(""), 2);
		check_message(2, SLICE("three\n"), 7);
		check_message(1, SLICE("two\n"), 5);
	}
	maildir_close(&maildir);
}

/* Another client renames: new to cur, other flags, back again. */
static void
test_open_renamed(void **state)
{
	static const char *const names[] = {
		"cur/a:2,", "cur/a:2,S", "cur/a:2,RS", "new/a", "new/a:2,S",
		"cur/a",
	};
	const char *now = "new/a";

	(void)state;
	put(now, "text\n", 1);
	put("new/ab", "other\n", 2);
	put(".F/cur/a:2,S", "folder\n", 3);
	directory_mkdir(&directory, "cur");
	scan_all();
	for (size_t i = 0; i < COUNT(names); i++) {
		assert_int_equal(renameat(directory.fd, now, directory.fd,
		    names[i]), 0);
		now = names[i];
		check_message(0, SLICE("text\n"), 6);
		check_message(1, SLICE("other\n"), 7);
		check_message(2, SLICE("folder\n"), 8);
	}
	assert_int_equal(renameat(directory.fd, ".F/cur/a:2,S", directory.fd,
	    ".F/cur/a:2,"), 0);
	check_message(2, SLICE("folder\n"), 8);
	maildir_close(&maildir);
}

static void
check_gone(size_t i)
{
	assert_int_equal(maildir_open_message(&maildir, i, &error), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
}

static void
test_open_gone(void **state)
{
	(void)state;
	put("new/a", "x\n", 1);
	put("cur/b:2,S", "x\n", 2);
	put("dir/new/c", "x\n", 3);
	put("new/d", "x\n", 4);
	put("new/e", "x\n", 5);
	put("new/f", "x\n", 6);
	scan_all();
	assert_int_equal(unlinkat(directory.fd, "new/a", 0), 0);
	check_gone(0);
	assert_text(error.text, "message a is gone");
	/* A longer name is another message. */
	put("cur/a1:2,S", "x\n", 1);
	check_gone(0);
	/* So is the same one in another folder. */
	put(".F/new/a", "x\n", 1);
	check_gone(0);

	/* Its whole directory. */
	remove_tree(directory.fd, "cur");
	check_gone(1);
	remove_tree(directory.fd, "dir");
	check_gone(2);

	/* In its place something else: a directory, a link, a FIFO. */
	assert_int_equal(unlinkat(directory.fd, "new/d", 0), 0);
	assert_int_equal(mkdirat(directory.fd, "new/d", 0700), 0);
	check_gone(3);
	assert_int_equal(unlinkat(directory.fd, "new/e", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", directory.fd, "new/e"), 0);
	check_gone(4);
	assert_int_equal(unlinkat(directory.fd, "new/f", 0), 0);
	assert_int_equal(mkfifoat(directory.fd, "new/f", 0600), 0);
	check_gone(5);
	maildir_close(&maildir);
}

/* A directory on the way that became a link is not gone through. */
static void
test_open_through_link(void **state)
{
	(void)state;
	put("box/new/m", "x\n", 1);
	put("new/last", "x\n", 2);
	put("evil/new/m", "evil\n", 3);
	scan_all();
	/* So that box is not the one that is open. */
	check_message(1, SLICE("x\n"), 3);
	assert_int_equal(renameat(directory.fd, "box", directory.fd,
	    "box2"), 0);
	assert_int_equal(symlinkat("evil", directory.fd, "box"), 0);
	check_gone(0);
	check_message(2, SLICE("evil\n"), 6);
	maildir_close(&maildir);
}

/* A file that changed since the scan is counted anew. */
static void
test_open_changed(void **state)
{
	(void)state;
	put("new/a", "one\n", 1);
	put("new/1.M1P1_1.h,S=4,W=9", "one\n", 2);
	put("new/c", "one\n", 3);
	scan_all();
	check_message(0, SLICE("one\n"), 5);
	put("new/a", "longer\nby far\n", 1);
	check_message(0, SLICE("longer\nby far\n"), 16);
	put("new/a", "", 10);
	check_message(0, SLICE(""), 2);
	/* As large as it was, at another time. */
	check_message(1, SLICE("one\n"), 9);
	put("new/1.M1P1_1.h,S=4,W=9", "a\n\n\n", 4);
	check_message(1, SLICE("a\n\n\n"), 7);
	/* Untouched it is not counted: the number stays what it was. */
	maildir.index.messages[2].octets = 4711;
	check_message(2, SLICE("one\n"), 4711);
	maildir_close(&maildir);
}

/* Nothing is left open, whatever was done. */
static void
test_descriptors(void **state)
{
	int before = dup(directory.fd);

	(void)state;
	put("new/a", "x\n", 1);
	put(".F/new/b", "x\n", 2);
	put(".F/new/c", "x\n", 2);
	for (int i = 0; i < 10; i++) {
		scan_all();
		close(maildir_open_message(&maildir, 0, &error));
		close(maildir_open_message(&maildir, 1, &error));
		assert_int_equal(unlinkat(directory.fd, ".F/new/c", 0), 0);
		check_gone(2);
		put(".F/new/c", "x\n", 2);
		maildir_close(&maildir);
		assert_int_equal(scan_at(directory_path(&directory,
		    "none"), MAILDIR_ALL, false), -1);
		maildir_close(&maildir);
	}
	int after = dup(directory.fd);
	assert_int_equal(after, before + 1);
	close(before);
	close(after);
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_missing),
		TEST(test_empty),
		TEST(test_order),
		TEST(test_strange_times),
		TEST(test_maildir),
		TEST(test_inbox),
		TEST(test_plain_folder),
		TEST(test_becomes_maildir),
		TEST(test_not_files),
		TEST(test_depth),
		TEST(test_unreadable_folder),
		TEST(test_uidls),
		TEST(test_uidl_mbsync),
		TEST(test_uidl_hashes),
		TEST(test_doubles),
		TEST(test_twins),
		TEST(test_twins_moved),
		TEST(test_many),
		TEST(test_octets),
		TEST(test_octets_long),
		TEST(test_octets_in_names),
		TEST(test_open),
		TEST(test_open_renamed),
		TEST(test_open_gone),
		TEST(test_open_through_link),
		TEST(test_open_changed),
		TEST(test_descriptors),
	};

	return cmocka_run_group_tests_name("maildir", tests, NULL, NULL);
}
