/*
 * maildir_index.c - names, order and unique-ids of a maildrop's messages.
 * Layer 2.
 */
#include "maildir_index.h"

#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 1939 section 7: a unique-id has 1 to 70 characters. */
#define UIDL_MAX 70

/* A time that maildir_time never says. */
#define UNSEEN INT64_MIN

void
maildir_index_free(struct maildir_index *index)
{
	free(index->messages);
	free(index->files);
	free(index->folders);
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

static struct slice
base_of(const struct maildir_index *index, size_t i)
{
	return maildir_base_name(maildir_file_name(index, i));
}

static struct slice
folder_of(const struct maildir_index *index, size_t i)
{
	return maildir_folder_path(maildir_path(index,
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

int
maildir_index_add_text(struct maildir_index *index, struct slice s,
    uint32_t *at, struct error *error)
{
	size_t len = index->text_len + s.len + 1;

	if (len > UINT32_MAX)
		return error_set(error, ERROR_SYSTEM, "maildrop too large");
	if (grow(&index->text, &index->text_size, len, 1, error) < 0)
		return -1;
	*at = (uint32_t)index->text_len;
	if (s.len > 0)
		memcpy(index->text + index->text_len, s.data, s.len);
	index->text[len - 1] = '\0';
	index->text_len = len;
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
	index->messages[index->n] = (struct message){ .octets = 0 };
	index->files[index->n++] = file;
	return 0;
}

void
maildir_index_describe_file(struct maildir_index *index, size_t i,
    const struct stat *st)
{
	struct maildir_file *file = &index->files[i];

	file->size = (uint64_t)st->st_size & MAILDIR_SIZE_MASK;
	file->mtime = maildir_time(&st->st_mtim);
	file->inode = (uint32_t)st->st_ino & MAILDIR_INODE_MASK;
	index->messages[i].octets = (uint64_t)st->st_size;
}

void
maildir_index_set_octets(struct maildir_index *index, size_t i,
    uint64_t octets)
{
	index->messages[i].octets = octets;
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
maildir_table_init(struct maildir_table *table, size_t files, size_t last,
    struct error *error)
{
	/* Slots to spare make chains short; there is not memory for many. */
	table->n = files + files / 4 + 16;
	table->number_bits = 1;
	while (table->number_bits < 32 &&
	    UINT64_C(1) << table->number_bits <= last)
		table->number_bits++;
	table->slots = calloc(table->n, sizeof(*table->slots));
	return table->slots != NULL ? 0
	    : error_system(error, ENOMEM, "maildrop");
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
	uint64_t hash = hash_key(base_of(index, i), folder_of(index, i));
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
		    slice_equal(base_of(index, i), base) &&
		    slice_equal(folder_of(index, i), folder_path)) {
			*after = at + 1;
			return i;
		}
	}
	return SIZE_MAX;
}

/* ---- one message for each name ---- */

static void
distrust(struct maildir_index *index, size_t i)
{
	index->folders[index->files[i].folder].trusted = 0;
}

/*
 * The file at i has the name of one before it. In new and in cur it is one
 * message that was renamed while they were read, and is where it was seen
 * last. A file beside new and cur is another message, and needs another
 * unique-id. True where i is to go.
 */
static bool
merge_double(struct maildir_index *index, size_t before, size_t i)
{
	struct maildir_file *first = &index->files[before];
	struct maildir_file *second = &index->files[i];
	bool first_plain = !maildir_holds_mail(maildir_path(index,
	    first->folder));
	bool second_plain = !maildir_holds_mail(maildir_path(index,
	    second->folder));

	if (first_plain != second_plain) {
		(first_plain ? first : second)->aliased = 1;
		return false;
	}
	/* One of the two may go without a trace in the other's directory. */
	distrust(index, before);
	distrust(index, i);
	second->doubled = 1;
	*first = *second;
	index->messages[before] = index->messages[i];
	return true;
}

static int
drop_doubles(struct maildir_index *index, struct error *error)
{
	struct maildir_table table;
	size_t kept = 0;

	if (maildir_table_init(&table, index->n, index->n, error) < 0)
		return -1;
	for (size_t i = 0; i < index->n; i++) {
		struct slice base = base_of(index, i);
		struct slice folder = folder_of(index, i);
		size_t at = 0;
		bool drop = false;
		size_t before;

		index->files[i].aliased = index->files[i].doubled = 0;
		while (!drop && (before = maildir_table_next(&table, index,
		    base, folder, &at)) != SIZE_MAX)
			drop = merge_double(index, before, i);
		if (drop)
			continue;
		index->files[kept] = index->files[i];
		index->messages[kept] = index->messages[i];
		maildir_table_put(&table, index, kept++);
	}
	index->n = kept;
	maildir_table_free(&table);
	return 0;
}

/* ---- order ---- */

static int
compare_slices(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static bool
comes_before(const struct maildir_index *index, size_t a, size_t b)
{
	int64_t time_a = index->files[a].mtime;
	int64_t time_b = index->files[b].mtime;

	if (time_a != time_b)
		return time_a < time_b;
	/* By what stays when flags change, so that numbers do too. */
	int order = compare_slices(base_of(index, a), base_of(index, b));
	if (order == 0)
		order = compare_slices(folder_of(index, a),
		    folder_of(index, b));
	if (order == 0)
		order = index->files[a].aliased - index->files[b].aliased;
	return order < 0;
}

static void
swap(struct maildir_index *index, size_t a, size_t b)
{
	struct maildir_file file = index->files[a];
	struct message message = index->messages[a];

	index->files[a] = index->files[b];
	index->messages[a] = index->messages[b];
	index->files[b] = file;
	index->messages[b] = message;
}

static void
sift_down(struct maildir_index *index, size_t low, size_t root, size_t n)
{
	for (;;) {
		size_t child = 2 * root + 1;

		if (child >= n)
			return;
		if (child + 1 < n &&
		    comes_before(index, low + child, low + child + 1))
			child++;
		if (!comes_before(index, low + root, low + child))
			return;
		swap(index, low + root, low + child);
		root = child;
	}
}

static void
sort_heap(struct maildir_index *index, size_t low, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(index, low, i, n);
	for (size_t i = n; i-- > 1;) {
		swap(index, low, low + i);
		sift_down(index, low, 0, i);
	}
}

/*
 * In place: qsort_r(3) takes 24 octets a message more, and keeps one array,
 * not two, in step. Quicksort, and heapsort where it goes wrong.
 */
static void
sort(struct maildir_index *index, size_t low, size_t n, unsigned depth)
{
	while (n > 16) {
		if (depth-- == 0) {
			sort_heap(index, low, n);
			return;
		}
		/* The median of three as pivot, put at low. */
		size_t middle = low + n / 2;
		size_t last = low + n - 1;
		if (comes_before(index, middle, low))
			swap(index, middle, low);
		if (comes_before(index, last, middle)) {
			swap(index, last, middle);
			if (comes_before(index, middle, low))
				swap(index, middle, low);
		}
		swap(index, low, middle);
		size_t left = low;
		size_t right = low + n;
		for (;;) {
			do
				left++;
			while (left < last && comes_before(index, left, low));
			do
				right--;
			while (comes_before(index, low, right));
			if (left >= right)
				break;
			swap(index, left, right);
		}
		swap(index, low, right);
		/* The smaller part by recursion: depth stays small. */
		size_t smaller = right - low;
		size_t larger = last - right;
		if (smaller < larger) {
			sort(index, low, smaller, depth);
			low = right + 1;
			n = larger;
		} else {
			sort(index, right + 1, larger, depth);
			n = smaller;
		}
	}
	for (size_t i = low + 1; i < low + n; i++)
		for (size_t k = i; k > low && comes_before(index, k, k - 1);
		    k--)
			swap(index, k, k - 1);
}

static bool
is_sorted(const struct maildir_index *index)
{
	for (size_t i = 1; i < index->n; i++)
		if (comes_before(index, i, i - 1))
			return false;
	return true;
}

/* ---- unique-ids ---- */

/*
 * The unique-id depends on the message alone: its base name, and its folder
 * where it is not the maildrop's own. What cannot stand in a UIDL line
 * becomes a hash, 128 bits of SHA-256.
 */
static int
set_uidl(struct maildir_index *index, size_t i, struct error *error)
{
	struct maildir_file *file = &index->files[i];
	struct slice base = base_of(index, i);
	struct slice folder = folder_of(index, i);
	struct message *message = &index->messages[i];
	char whole[NAME_MAX + 1 + PATH_MAX + 2];
	size_t len = base.len;
	bool fits = true;

	file->was_aliased = file->aliased;
	memcpy(whole, base.data, base.len);
	if (folder.len > 0) {
		whole[len++] = '/';
		memcpy(whole + len, folder.data, folder.len);
		len += folder.len;
	}
	for (size_t k = 0; k < len && fits; k++)
		fits = whole[k] >= 0x21 && whole[k] <= 0x7E;
	if (file->aliased)
		whole[len++] = '/';
	if (base.len > 0 && fits && len <= UIDL_MAX && !file->aliased) {
		message->uidl_len = (uint8_t)len;
		if (folder.len == 0) {
			message->uidl = file->name;
			return 0;
		}
	} else {
		unsigned char hash[SHA256_DIGEST_LENGTH];

		SHA256((unsigned char *)whole, len, hash);
		for (size_t k = 0; k < 16; k++)
			snprintf(whole + 2 * k, 3, "%02x", hash[k]);
		len = message->uidl_len = 32;
	}
	return maildir_index_add_text(index, (struct slice){ whole, len },
	    &message->uidl, error);
}

int
maildir_index_finish(struct maildir_index *index, size_t added,
    struct error *error)
{
	unsigned depth = 0;

	bool doubles = added > 0;

	for (size_t i = 0; i < index->n && !doubles; i++)
		doubles = index->files[i].aliased || index->files[i].doubled;
	if (doubles && drop_doubles(index, error) < 0)
		return -1;
	for (size_t n = index->n; n > 0; n /= 2)
		depth += 2;
	if (!is_sorted(index))
		sort(index, 0, index->n, depth);
	for (size_t i = 0; i < index->n; i++)
		if ((index->messages[i].uidl_len == 0 ||
		    index->files[i].aliased != index->files[i].was_aliased) &&
		    set_uidl(index, i, error) < 0)
			return -1;
	return 0;
}
