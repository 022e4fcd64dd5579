/*
 * maildir_index.c - what is known of a maildrop: stored, and found again.
 */
#include "maildir/maildir_index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A time that maildir_time never says. */
#define UNSEEN INT64_MIN

void
maildir_index_free(struct maildir_index *index)
{
	free(index->messages);
	free(index->files);
	free(index->folders);
	free(index->by_path);
	free(index->text);
	*index = (struct maildir_index){ .n = 0 };
}

int64_t
maildir_time(const struct timespec *time)
{
	int64_t seconds = (int64_t)time->tv_sec;

	/* 64 bits of nanoseconds reach from 1677 to 2262. */
	if (seconds > INT64_MAX / 1000000000 - 1)
		return INT64_MAX;
	if (seconds < INT64_MIN / 1000000000 + 1)
		return INT64_MIN + 1;
	return seconds * 1000000000 + time->tv_nsec;
}

/* ---- names ---- */

struct slice
maildir_file_name(const struct maildir_index *index, size_t i)
{
	return slice_from(index->text + index->files[i].name);
}

struct slice
maildir_path(const struct maildir_index *index, size_t folder)
{
	return slice_from(index->text + index->folders[folder].path);
}

struct slice
maildir_file_base(const struct maildir_index *index, size_t i)
{
	return maildir_base_name(maildir_file_name(index, i));
}

struct slice
maildir_file_folder(const struct maildir_index *index, size_t i)
{
	return maildir_folder_path(maildir_path(index,
	    index->files[i].folder));
}

bool
maildir_file_is_mail(const struct maildir_index *index, size_t i)
{
	return maildir_holds_mail(maildir_path(index,
	    index->files[i].folder));
}

/* ---- growing ---- */

static int
grow(void *array, size_t *size, size_t need, size_t item, struct error *error)
{
	void **at = array;

	if (need <= *size)
		return 0;
	size_t larger = *size + *size / 2 + 64;
	if (larger < need)
		larger = need;
	void *grown = realloc(*at, larger * item);
	if (grown == NULL)
		return error_system(error, ENOMEM, "maildrop");
	*at = grown;
	*size = larger;
	return 0;
}

/* Room for so many octets more in the text: where it is. */
static int
add_room(struct maildir_index *index, size_t n, uint32_t *at,
    struct error *error)
{
	size_t len = index->text_len + n;

	if (len > UINT32_MAX)
		return error_set(error, ERROR_SYSTEM, "maildrop too large");
	if (grow(&index->text, &index->text_size, len, 1, error) < 0)
		return -1;
	*at = (uint32_t)index->text_len;
	index->text_len = len;
	return 0;
}

int
maildir_index_add_text(struct maildir_index *index, struct slice s,
    uint32_t *at, struct error *error)
{
	if (add_room(index, s.len + 1, at, error) < 0)
		return -1;
	if (s.len > 0)
		memcpy(index->text + *at, s.data, s.len);
	index->text[*at + s.len] = '\0';
	return 0;
}

int
maildir_index_add_folder(struct maildir_index *index, struct slice path,
    uint32_t parent, struct error *error)
{
	struct maildir_folder folder = { .parent = parent };

	if (index->n_folders == MAILDIR_FOLDERS_MAX)
		return error_set(error, ERROR_SYSTEM,
		    "maildrop with too many directories");
	if (maildir_index_add_text(index, path, &folder.path, error) < 0 ||
	    grow(&index->folders, &index->folders_size, index->n_folders + 1,
	    sizeof(folder), error) < 0)
		return -1;
	index->folders[index->n_folders++] = folder;
	return 0;
}

int
maildir_index_add_file(struct maildir_index *index, size_t folder,
    const char *name, struct error *error)
{
	struct maildir_file file = {
		.folder = folder & UINT16_MAX,
		.mtime = UNSEEN,
		.uncounted = 1,
		.seen = 1,
	};
	size_t size = index->size;

	if (index->n == MAILDIR_MESSAGES_MAX)
		return error_set(error, ERROR_SYSTEM, "maildrop too large");
	if (maildir_index_add_text(index, slice_from(name), &file.name,
	    error) < 0 ||
	    grow(&index->messages, &size, index->n + 1,
	    sizeof(*index->messages), error) < 0 ||
	    grow(&index->files, &index->size, index->n + 1, sizeof(file),
	    error) < 0)
		return -1;
	/* Files outside new and cur may be in use by other programs: they
	 * cannot be deleted. */
	index->messages[index->n] = (struct message){
		.permanent = !maildir_holds_mail(maildir_path(index, folder)),
	};
	index->files[index->n++] = file;
	return 0;
}

const unsigned char *
maildir_index_digest(const struct maildir_index *index, size_t i)
{
	struct slice name = maildir_file_name(index, i);

	return (const unsigned char *)name.data + name.len + 1;
}

int
maildir_index_set_digest(struct maildir_index *index, size_t i,
    const unsigned char *digest, struct error *error)
{
	size_t len = maildir_file_name(index, i).len + 1;
	uint32_t at = 0;

	if (add_room(index, len + MAILDIR_DIGEST_SIZE, &at, error) < 0)
		return -1;
	memcpy(index->text + at, index->text + index->files[i].name, len);
	memcpy(index->text + at + len, digest, MAILDIR_DIGEST_SIZE);
	index->files[i].name = at;
	index->files[i].digested = 1;
	return 0;
}

int
maildir_index_rename(struct maildir_index *index, size_t i, size_t folder,
    struct slice name, struct error *error)
{
	unsigned char digest[MAILDIR_DIGEST_SIZE];
	struct maildir_file *file = &index->files[i];
	bool digested = file->digested;
	uint32_t at = 0;

	if (digested)
		memcpy(digest, maildir_index_digest(index, i),
		    sizeof(digest));
	if (maildir_index_add_text(index, name, &at, error) < 0)
		return -1;
	file->name = at;
	file->folder = folder & UINT16_MAX;
	file->digested = 0;
	return digested ? maildir_index_set_digest(index, i, digest, error)
	    : 0;
}

void
maildir_index_describe_file(struct maildir_index *index, size_t i,
    const struct stat *st)
{
	struct maildir_file *file = &index->files[i];

	file->size = (uint64_t)st->st_size & MAILDIR_SIZE_MASK;
	file->mtime = maildir_time(&st->st_mtim);
	file->inode = (uint32_t)st->st_ino & MAILDIR_INODE_MASK;
	/* An empty file is an empty line. */
	index->messages[i].octets = st->st_size < 2 ? 2
	    : (uint64_t)st->st_size & MESSAGE_OCTETS_MAX;
}

void
maildir_index_set_octets(struct maildir_index *index, size_t i,
    uint64_t octets)
{
	index->messages[i].octets = octets & MESSAGE_OCTETS_MAX;
	index->files[i].uncounted = 0;
}

bool
maildir_index_is_unseen(const struct maildir_index *index, size_t i)
{
	return index->files[i].mtime == UNSEEN;
}

void
maildir_index_drop_unseen(struct maildir_index *index, size_t first)
{
	size_t n = first;

	for (size_t i = first; i < index->n; i++) {
		if (maildir_index_is_unseen(index, i))
			continue;
		index->files[n] = index->files[i];
		index->messages[n++] = index->messages[i];
	}
	index->n = n;
}

/* ---- finding ---- */

struct folder_path {
	const char *path;
	uint32_t folder;
};

static int
compare_paths(const void *a, const void *b)
{
	const struct folder_path *first = a;
	const struct folder_path *second = b;

	return strcmp(first->path, second->path);
}

int
maildir_index_order_folders(struct maildir_index *index, struct error *error)
{
	size_t n = index->n_folders;

	if (index->n_by_path == n)
		return 0;
	void *larger = realloc(index->by_path, n * sizeof(*index->by_path));
	if (larger == NULL)
		return error_system(error, ENOMEM, "maildrop");
	index->by_path = larger;
	struct folder_path *paths = calloc(n, sizeof(*paths));
	if (paths == NULL)
		return error_system(error, ENOMEM, "maildrop");
	for (size_t i = 0; i < n; i++)
		paths[i] = (struct folder_path){
			index->text + index->folders[i].path, (uint32_t)i };
	qsort(paths, n, sizeof(*paths), compare_paths);
	for (size_t i = 0; i < n; i++)
		index->by_path[i] = paths[i].folder;
	free(paths);
	index->n_by_path = n;
	return 0;
}

size_t
maildir_index_find_folder(const struct maildir_index *index,
    struct slice path)
{
	size_t low = 0;
	size_t high = index->n_by_path;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t i = index->by_path[middle];
		int order = slice_compare(path, maildir_path(index, i));

		if (order == 0)
			return i;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return SIZE_MAX;
}

uint64_t
maildir_hash(uint64_t seed, struct slice s)
{
	const uint64_t factor = UINT64_C(0x9E3779B97F4A7C15);
	uint64_t hash = seed ^ s.len * factor;
	uint64_t word;

	for (; s.len >= sizeof(word); s = slice_skip(s, sizeof(word))) {
		memcpy(&word, s.data, sizeof(word));
		hash = (hash ^ word) * factor;
		hash ^= hash >> 29;
	}
	word = 0;
	if (s.len > 0)
		memcpy(&word, s.data, s.len);
	hash = (hash ^ word) * factor;
	return hash ^ hash >> 32;
}

static uint64_t
hash_key(struct slice base, struct slice folder_path)
{
	return maildir_hash(maildir_hash(0, folder_path), base);
}

int
maildir_table_init(struct maildir_table *table, size_t files, size_t end,
    struct error *error)
{
	/* Slots to spare make chains short; there is not memory for many. */
	const size_t n = files + files / 4 + 16;

	assert(end <= MAILDIR_MESSAGES_MAX);
	*table = (struct maildir_table){ .number_bits = 1 };
	while (UINT64_C(1) << table->number_bits <= end)
		table->number_bits++;
	table->slots = calloc(n, sizeof(*table->slots));
	if (table->slots == NULL)
		return error_system(error, ENOMEM, "maildrop");
	table->n = n;
	return 0;
}

void
maildir_table_free(struct maildir_table *table)
{
	free(table->slots);
	*table = (struct maildir_table){ .n = 0 };
}

/* 32 bits of hash, scaled to the table's size. */
static size_t
first_slot(const struct maildir_table *table, uint64_t hash)
{
	return (size_t)((hash >> 32) * table->n >> 32);
}

/* A slot for file i: its number plus 1, and above it a piece of its hash. */
static uint32_t
slot_for(const struct maildir_table *table, size_t i, uint64_t hash)
{
	return (uint32_t)(hash << table->number_bits | (i + 1));
}

void
maildir_table_put(struct maildir_table *table,
    const struct maildir_index *index, size_t i)
{
	uint64_t hash = hash_key(maildir_file_base(index, i),
	    maildir_file_folder(index, i));
	size_t at = first_slot(table, hash);

	while (table->slots[at] != 0)
		at = at + 1 == table->n ? 0 : at + 1;
	table->slots[at] = slot_for(table, i, hash);
}

size_t
maildir_table_next(const struct maildir_table *table,
    const struct maildir_index *index, struct slice base,
    struct slice folder_path, size_t *after)
{
	if (table->n == 0)
		return SIZE_MAX;
	uint64_t hash = hash_key(base, folder_path);
	uint32_t mask = (uint32_t)((UINT64_C(1) << table->number_bits) - 1);
	size_t at = *after != 0 ? *after - 1 : first_slot(table, hash);

	while (table->slots[at] != 0) {
		uint32_t slot = table->slots[at];
		size_t i = (slot & mask) - 1;

		at = at + 1 == table->n ? 0 : at + 1;
		if (slot == slot_for(table, i, hash) &&
		    slice_equal(maildir_file_base(index, i), base) &&
		    slice_equal(maildir_file_folder(index, i), folder_path)) {
			*after = at + 1;
			return i;
		}
	}
	return SIZE_MAX;
}
