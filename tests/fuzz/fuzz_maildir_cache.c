/*
 * fuzz_maildir_cache.c - the cache file: whatever is in it, the index that
 * comes out is safe to use, or none comes out.
 *
 * The input is lines, each a part of a maildrop, which the module itself
 * writes to a file: so no input depends on the machine or the file's version.
 *
 *	f PARENT PATH		a directory
 *	m FOLDER FLAGS NAME	a message
 *	x HIGH LOW OCTET	changes that octet of the file
 *	c OCTETS		cuts the file short
 *
 * All but paths and names are an octet each, with nothing between them. What
 * is written is read where it is a maildrop, and nothing else; where the file
 * was changed, its checksum is put right, which would keep a fuzzer out.
 */
#include "fuzz.h"

#include <limits.h>

#include "../unit/cache_file.h"
#include "maildir/maildir_sort.h"
#include "maildir/maildir_uidl.h"

#define FILE_MAX 65536

static const struct maildir_cache_key key = {
	.device = 1, .inode = 2, .owner = 3, .reach = 0,
};
static const unsigned char digest[MAILDIR_DIGEST_SIZE] = "0123456789abcde";

enum flag { DIGESTED = 1, TWIN = 2, UNCOUNTED = 4, DOUBLED = 8,
	DELETED = 16, EMPTY = 32 };

/* ---- what the lines say ---- */

static bool
is_entry(const char *name, size_t len)
{
	return len > 0 && len <= NAME_MAX && memchr(name, '/', len) == NULL &&
	    !(len == 1 && name[0] == '.') &&
	    !(len == 2 && memcmp(name, "..", 2) == 0);
}

/* Right below its parent's path, which is above it in the list. */
static bool
folder_is_right(const struct maildir_index *index, size_t i)
{
	struct slice path = maildir_path(index, i);
	uint32_t parent = index->folders[i].parent;
	unsigned depth = 1;

	if (i == 0)
		return path.len == 0 && parent == 0;
	const char *slash = strrchr(path.data, '/');
	struct slice above = { path.data, slash == NULL ? 0
		: (size_t)(slash - path.data) };
	for (size_t k = 0; k < path.len; k++)
		depth += path.data[k] == '/';
	return parent < i && path.len < PATH_MAX &&
	    depth <= MAILDIR_DEPTH_MAX &&
	    (slash == NULL || slash > path.data) &&
	    slice_equal(above, maildir_path(index, parent)) &&
	    (slash == NULL ? is_entry(path.data, path.len)
	    : is_entry(slash + 1, path.len - above.len - 1));
}

static bool
is_maildrop(const struct maildir_index *index)
{
	for (size_t i = 0; i < index->n_folders; i++)
		if (!folder_is_right(index, i))
			return false;
	for (size_t i = 0; i < index->n; i++) {
		const struct maildir_file *file = &index->files[i];
		struct slice name = maildir_file_name(index, i);

		if (file->folder >= index->n_folders ||
		    !is_entry(name.data, name.len) ||
		    (file->twin && !file->digested))
			return false;
	}
	return index->n_folders > 0;
}

static void
add_message(struct maildir_index *index, struct slice line)
{
	unsigned folder = (fuzz_octet(&line) - '0') & 0xFF;
	unsigned flags = (fuzz_octet(&line) - '0') & 0xFF;
	size_t i = index->n;
	const struct stat st = {
		.st_size = (flags & EMPTY) != 0 ? 0 : 10 + (off_t)i,
		.st_ino = 77 + i, .st_mtim = { .tv_sec = (time_t)(i % 3) },
	};
	struct error error;

	if (index->n_folders == 0)
		return;
	char *name = strndup(line.len > 0 ? line.data : "", line.len);
	CHECK(name != NULL);
	CHECK(maildir_index_add_file(index, 0, name, &error) == 0);
	free(name);
	index->files[i].folder = (uint16_t)folder;
	maildir_index_describe_file(index, i, &st);
	if ((flags & UNCOUNTED) == 0)
		maildir_index_set_octets(index, i, 100 + i);
	if ((flags & DIGESTED) != 0)
		CHECK(maildir_index_set_digest(index, i, digest, &error) == 0);
	index->files[i].twin = (flags & TWIN) != 0;
	index->files[i].doubled = (flags & DOUBLED) != 0;
	index->files[i].seen = 1;
	index->messages[i].deleted = (flags & DELETED) != 0;
}

static void
add_folder(struct maildir_index *index, struct slice line)
{
	uint32_t parent = (fuzz_octet(&line) - '0') & 0xFF;
	struct error error;

	CHECK(maildir_index_add_folder(index, line, parent, &error) == 0);
	index->folders[index->n_folders - 1].pass = 1;
}

/* ---- the file ---- */

struct file {
	int fd;
	char octets[FILE_MAX];
	size_t len;
	bool changed;
};

/* False where it is larger than need be tried. */
static bool
write_file(struct file *file, const struct maildir_index *index)
{
	struct cache_file_header header;
	struct error error;
	struct stat st;

	CHECK(maildir_cache_write(index, file->fd, &key, &error) == 0);
	CHECK(fstat(file->fd, &st) == 0);
	file->len = (size_t)st.st_size;
	if (file->len > FILE_MAX)
		return false;
	CHECK(pread(file->fd, file->octets, file->len, 0) == st.st_size);
	memcpy(&header, file->octets, sizeof(header));
	CHECK(header.n == index->n && header.n_folders == index->n_folders);
	CHECK(header.checksum == cache_file_sum(file->octets, file->len));
	return true;
}

static void
change(struct file *file, struct slice line)
{
	size_t at = fuzz_octet(&line) << 8;

	at += fuzz_octet(&line);
	if (at >= file->len)
		return;
	file->octets[at] = (char)(file->octets[at] ^ (char)fuzz_octet(&line));
	file->changed = true;
}

static void
cut(struct file *file, struct slice line)
{
	size_t n = fuzz_octet(&line);

	file->len -= n < file->len ? n : file->len;
	file->changed |= n > 0;
}

static void
write_changed(struct file *file)
{
	cache_file_seal(file->octets, file->len);
	CHECK(ftruncate(file->fd, 0) == 0);
	CHECK(pwrite(file->fd, file->octets, file->len, 0) ==
	    (ssize_t)file->len);
}

/* ---- what comes out ---- */

static void
check_same(const struct maildir_index *got, const struct maildir_index *want)
{
	CHECK(got->n == want->n && got->n_folders == want->n_folders);
	for (size_t i = 0; i < got->n_folders; i++) {
		CHECK_SAME(maildir_path(got, i), maildir_path(want, i));
		CHECK(got->folders[i].parent == want->folders[i].parent);
		CHECK(got->folders[i].pass == 0);
	}
	for (size_t i = 0; i < got->n; i++) {
		const struct maildir_file *a = &got->files[i];
		const struct maildir_file *b = &want->files[i];

		CHECK_SAME(maildir_file_name(got, i),
		    maildir_file_name(want, i));
		CHECK(got->messages[i].octets == want->messages[i].octets);
		CHECK(!got->messages[i].deleted && !a->seen);
		CHECK(a->folder == b->folder && a->size == b->size &&
		    a->mtime == b->mtime && a->inode == b->inode &&
		    a->uncounted == b->uncounted && a->twin == b->twin &&
		    a->digested == b->digested && a->doubled == b->doubled);
		if (a->digested)
			CHECK(memcmp(maildir_index_digest(got, i), digest,
			    sizeof(digest)) == 0);
	}
}

/* What maildir.c and the protocol do with it. */
static void
use(struct maildir_index *index)
{
	static struct fuzz_file again_file;
	struct maildir_index again;
	struct error error;
	char text[MAILDIR_UIDL_MAX];

	for (size_t i = 0; i < index->n; i++) {
		struct slice name = maildir_file_name(index, i);
		struct slice uidl = maildir_uidl(index, i, text);

		CHECK(is_entry(name.data, name.len));
		CHECK(index->messages[i].permanent ==
		    !maildir_file_is_mail(index, i));
		CHECK(uidl.len >= 1 && uidl.len <= sizeof(text));
		for (size_t k = 0; k < uidl.len; k++)
			CHECK(uidl.data[k] >= 0x21 && uidl.data[k] <= 0x7E);
	}
	maildir_sort(index);
	fuzz_file_put(&again_file, SLICE(""));
	CHECK(maildir_cache_write(index, again_file.fd, &key, &error) == 0);
	CHECK(maildir_cache_read(&again, again_file.fd, &key));
	CHECK(again.n == index->n && again.n_folders == index->n_folders);
	maildir_index_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file memory;
	static struct file file;
	struct maildir_index index = { .n = 0 }, read;
	struct slice input = fuzz_slice(data, size);
	struct slice line, rest;

	for (rest = input; rest.len > 0;) {
		slice_cut(rest, '\n', &line, &rest);
		unsigned kind = fuzz_octet(&line);
		if (line.len > 0 && memchr(line.data, '\0', line.len) != NULL)
			continue;
		if (kind == 'f')
			add_folder(&index, line);
		else if (kind == 'm')
			add_message(&index, line);
	}
	fuzz_file_put(&memory, SLICE(""));
	file.fd = memory.fd;
	file.changed = false;
	if (write_file(&file, &index)) {
		for (rest = input; rest.len > 0;) {
			slice_cut(rest, '\n', &line, &rest);
			unsigned kind = fuzz_octet(&line);
			if (kind == 'x')
				change(&file, line);
			else if (kind == 'c')
				cut(&file, line);
		}
		if (file.changed)
			write_changed(&file);
		bool good = maildir_cache_read(&read, file.fd, &key);
		if (!file.changed) {
			CHECK(good == is_maildrop(&index));
			if (good)
				check_same(&read, &index);
		}
		if (good)
			use(&read);
		maildir_index_free(&read);
	}
	maildir_index_free(&index);
	return 0;
}
