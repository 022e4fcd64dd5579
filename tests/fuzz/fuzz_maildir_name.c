/*
 * fuzz_maildir_name.c - what file names do to a maildrop.
 *
 * First octet: how to scan, and how large the files are. Then lines, each
 * the name of a file in a maildrop: one letter for its directory, and the
 * name. Every unique-id must be one that UIDL can say, each must be another
 * one, and none may change when flags do.
 */
#include "fuzz.h"

#include <errno.h>
#include <limits.h>

#include "maildir/maildir.h"
#include "maildir/maildir_uidl.h"

#define FILES_MAX 6

static const struct {
	const char *path;
	const char *folder; /* new and cur left out */
	bool in_maildir;
} places[] = {
	{ "new", "", true },
	{ "cur", "", true },
	{ ".", "", false },
	{ ".Sent/cur", ".Sent", true },
	{ ".Sent/new", ".Sent", true },
	{ "box", "box", false },
	{ ".a folder with a name that makes the unique-id longer than it may "
	    "be/cur", ".a folder", true },
};

struct file {
	size_t place;
	char name[NAME_MAX + 1];
	size_t base_len;
	bool there;
};

/* ---- the maildrop, made once ---- */

static char root[64];

static void
remove_maildrop(void)
{
	char command[sizeof(root) + 16];

	if (root[0] == '\0')
		return;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	if (system(command) != 0)
		fprintf(stderr, "left behind: %s\n", root);
}

static int
open_place(size_t place)
{
	static int descriptors[COUNT(places)];
	char path[512];

	if (root[0] == '\0') {
		const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm"
		    : "/tmp";
		snprintf(root, sizeof(root), "%s/fuzz-XXXXXX", base);
		CHECK(mkdtemp(root) != NULL);
		atexit(remove_maildrop);
	}
	if (descriptors[place] > 0)
		return descriptors[place];
	snprintf(path, sizeof(path), "%s/%s", root, places[place].path);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
	*slash = '/';
	CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
	descriptors[place] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(descriptors[place] > 0);
	return descriptors[place];
}

/* ---- names ---- */

/* Before ":2,", and before the ",U=7" that mbsync adds. */
static size_t
base_length(const char *name)
{
	const char *flags = strstr(name, ":2,");
	size_t len = flags == NULL ? strlen(name) : (size_t)(flags - name);

	for (size_t at = len; at-- > 0 && name[at] >= '0' &&
	    name[at] <= '9';)
		if (at >= 3 && memcmp(name + at - 3, ",U=", 3) == 0)
			return at - 3;
	return len;
}

static bool
read_file(struct slice line, struct file *file)
{
	struct slice name = line;

	*file = (struct file){ .place = fuzz_octet(&name) % COUNT(places) };
	if (name.len == 0 || name.len > NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		file->name[i] = name.data[i] == '/' || name.data[i] == '\0'
		    ? '_' : name.data[i];
	/* The directories of the maildrop have names already. */
	static const char *const taken[] = { ".", "..", "new", "cur", "tmp",
		"box", ".Sent" };
	for (size_t i = 0; i < COUNT(taken); i++)
		if (strcmp(file->name, taken[i]) == 0)
			return false;
	file->base_len = base_length(file->name);
	return true;
}

/* One message in a folder's new and cur may be seen twice, in a rename. */
static bool
same_message(const struct file *a, const struct file *b)
{
	return strcmp(places[a->place].folder, places[b->place].folder) == 0
	    && a->base_len == b->base_len &&
	    memcmp(a->name, b->name, a->base_len) == 0;
}

/* Beside new and cur, and in a plain folder below them, files are not mail. */
static bool
is_served(const struct file *file, enum maildir_reach scan)
{
	return file->there && file->name[0] != '.' &&
	    places[file->place].in_maildir &&
	    (scan == MAILDIR_ALL || file->place <= 1);
}

static size_t
count_served(const struct file *files, size_t n, enum maildir_reach scan)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		bool counts = is_served(&files[i], scan);
		for (size_t k = 0; k < i && counts; k++)
			counts = !is_served(&files[k], scan) ||
			    !same_message(&files[i], &files[k]);
		count += counts;
	}
	return count;
}

/* ---- the files ---- */

static void
make_file(struct file *file, size_t size)
{
	int fd = openat(open_place(file->place), file->name,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	/* Two lines may name the same file; some name cannot be had. */
	if (fd < 0)
		return;
	/* Lines of one octet: on the wire they are half as long again. */
	CHECK(write(fd, "a\nb\nc\nd\ne\nf\n", size) == (ssize_t)size);
	close(fd);
	file->there = true;
}

static void
drop_files(const struct file *files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (files[i].there)
			unlinkat(open_place(files[i].place), files[i].name,
			    0);
}

/* ---- what must hold ---- */

struct uidl {
	char text[MAILDIR_UIDL_MAX];
	size_t len;
};

static struct uidl
uidl(const struct maildir *maildir, size_t i)
{
	struct uidl uidl;

	uidl.len = maildir_uidl(&maildir->index, i, uidl.text).len;
	return uidl;
}

static bool
same_uidl(struct uidl a, struct uidl b)
{
	return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

/* smtp-handler's own names are believed, where S agrees. */
static bool
may_be_believed(const struct file *files, size_t n, size_t size)
{
	char claim[32];

	snprintf(claim, sizeof(claim), ",S=%zu,W=", size);
	for (size_t i = 0; i < n; i++)
		if (strstr(files[i].name, claim) != NULL ||
		    strstr(files[i].name, ",S=0") != NULL)
			return true;
	return false;
}

static void
check_maildrop(const struct maildir *maildir, size_t size, bool believed)
{
	for (size_t i = 0; i < maildir->index.n; i++) {
		struct uidl id = uidl(maildir, i);

		/* RFC 1939 section 7. */
		CHECK(id.len >= 1 && id.len <= 70);
		for (size_t k = 0; k < id.len; k++)
			CHECK(id.text[k] >= 0x21 && id.text[k] <= 0x7E);
		for (size_t k = 0; k < i; k++)
			CHECK(!same_uidl(uidl(maildir, k), id));
		/* Whatever else its name claims. */
		CHECK(believed || maildir->index.messages[i].octets ==
		    (size == 0 ? 2 : (size + 1) / 2 * 3));
		CHECK(!maildir->index.messages[i].deleted);
	}
}

/* Opening says the same as scanning did. */
static void
check_open(struct maildir *maildir, size_t size)
{
	struct error error;
	struct stat st;

	for (size_t i = 0; i < maildir->index.n; i++) {
		uint64_t octets = maildir->index.messages[i].octets;
		int fd = maildir_open_message(maildir, i, &error);

		CHECK(fd >= 0 && fstat(fd, &st) == 0);
		CHECK(st.st_size == (off_t)size);
		CHECK(maildir->index.messages[i].octets == octets);
		close(fd);
	}
}

/* Where the only message gets other flags, or a first ",U=7", it keeps its
 * unique-id. */
static void
check_flags(struct file *file, struct uidl id, enum maildir_reach scan)
{
	struct maildir maildir;
	struct error error;
	struct file renamed = *file;
	const char *flags = strstr(file->name, ":2,");
	size_t len = flags == NULL ? strlen(file->name)
	    : (size_t)(flags - file->name);

	if (!places[file->place].in_maildir || len + 10 > NAME_MAX)
		return;
	snprintf(renamed.name + len, sizeof(renamed.name) - len, "%s:2,FS",
	    len == file->base_len ? ",U=77" : "");
	/* What ends in ":2" would have flags too early. */
	if (base_length(renamed.name) != file->base_len)
		return;
	CHECK(renameat(open_place(file->place), file->name,
	    open_place(file->place), renamed.name) == 0);
	*file = renamed;
	CHECK(maildir_open(&maildir, root,
	    &(struct maildir_options){ .reach = scan }, &error) == 0);
	CHECK(maildir.index.n == 1);
	CHECK(same_uidl(uidl(&maildir, 0), id));
	maildir_close(&maildir);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = fuzz_slice(data, size);
	unsigned flags = fuzz_octet(&input);
	enum maildir_reach scan = (flags & 1) != 0 ? MAILDIR_INBOX
	    : MAILDIR_ALL;
	size_t octets = flags / 2 % 13;
	struct file files[FILES_MAX];
	struct maildir maildir;
	struct error error;
	size_t n = 0;

	for (size_t i = 0; i < COUNT(places); i++)
		open_place(i);
	while (input.len > 0 && n < FILES_MAX) {
		struct slice line;

		slice_cut(input, '\n', &line, &input);
		if (!read_file(line, &files[n]))
			continue;
		bool doubled = false;
		for (size_t i = 0; i < n && !doubled; i++)
			doubled = strcmp(places[files[i].place].path,
			    places[files[n].place].path) == 0 &&
			    strcmp(files[i].name, files[n].name) == 0;
		if (!doubled)
			make_file(&files[n++], octets);
	}
	CHECK(maildir_open(&maildir, root,
	    &(struct maildir_options){ .reach = scan }, &error) == 0);
	check_maildrop(&maildir, octets, may_be_believed(files, n, octets));
	CHECK(maildir.index.n == count_served(files, n, scan));
	check_open(&maildir, octets);
	if (n == 1 && maildir.index.n == 1)
		check_flags(&files[0], uidl(&maildir, 0), scan);
	maildir_close(&maildir);
	drop_files(files, n);
	return 0;
}
