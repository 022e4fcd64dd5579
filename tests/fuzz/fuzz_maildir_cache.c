/*
 * The cache reader: whatever is in the file, the index that comes out is
 * safe to use, or none comes out. The checksum would keep a fuzzer out of
 * all that, so it is put right first.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "maildir/maildir_cache.h"
#include "maildir/maildir_sort.h"
#include "maildir/maildir_uidl.h"

/* As in maildir_cache.c: where the header's fields are, and how much is
 * summed at a time. */
#define CHECKSUM_AT 16
#define SUMMED_AT 24
#define HEADER_SIZE 72
#define BLOCK 65536

static const struct maildir_cache_key key = {
	.device = 1, .inode = 2, .owner = 3, .reach = 0,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
field(const uint8_t *data, size_t at)
{
	uint64_t value;

	memcpy(&value, data + at, sizeof(value));
	return value;
}

static uint64_t
sum_part(uint64_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i += BLOCK)
		sum = maildir_hash(sum, (struct slice){
		    (const char *)data + i,
		    len - i < BLOCK ? len - i : BLOCK });
	return sum;
}

static void
put_checksum_right(int fd, const uint8_t *data, size_t size)
{
	if (size < HEADER_SIZE)
		return;
	size_t lens[4] = {
		field(data, 24) * sizeof(struct message),
		field(data, 24) * sizeof(struct maildir_file),
		field(data, 32) * sizeof(struct maildir_folder),
		field(data, 40),
	};
	uint64_t sum = maildir_hash(2, (struct slice){
	    (const char *)data + SUMMED_AT, HEADER_SIZE - SUMMED_AT });
	size_t at = HEADER_SIZE;

	for (size_t i = 0; i < 4; i++) {
		if (field(data, 24) > size || field(data, 32) > size ||
		    lens[i] > size - at)
			return;
		sum = sum_part(sum, data + at, lens[i]);
		at += lens[i];
	}
	(void)!pwrite(fd, &sum, sizeof(sum), CHECKSUM_AT);
}

/* What maildir.c and the protocol do with it. */
static void
use(struct maildir_index *index)
{
	struct error error;
	char text[MAILDIR_UIDL_MAX];
	size_t octets = 0;

	for (size_t i = 0; i < index->n_folders; i++)
		octets += maildir_path(index, i).len;
	for (size_t i = 0; i < index->n; i++) {
		struct slice name = maildir_file_name(index, i);

		octets += maildir_base_name(name).len;
		octets += maildir_path(index, index->files[i].folder).len;
		assert(memchr(name.data, '/', name.len) == NULL);
		struct slice uidl = maildir_uidl(index, i, text);
		assert(uidl.len >= 1 && uidl.len <= sizeof(text));
		for (size_t k = 0; k < uidl.len; k++)
			assert(uidl.data[k] >= 0x21 && uidl.data[k] <= 0x7E);
	}
	assert(octets < SIZE_MAX);
	maildir_sort(index);
	int fd = memfd_create("again", MFD_CLOEXEC);
	if (fd >= 0) {
		struct maildir_index again;

		assert(maildir_cache_write(index, fd, &key, &error) == 0);
		assert(maildir_cache_read(&again, fd, &key));
		assert(again.n == index->n);
		maildir_index_free(&again);
		close(fd);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maildir_index index;
	int fd = memfd_create("cache", MFD_CLOEXEC);

	if (fd < 0)
		return 0;
	if (write(fd, data, size) == (ssize_t)size) {
		put_checksum_right(fd, data, size);
		if (maildir_cache_read(&index, fd, &key))
			use(&index);
		maildir_index_free(&index);
	}
	close(fd);
	return 0;
}
