/*
 * cache_file: a maildrop's cache file as octets, and its checksum as another
 * than its module makes it, for tests that change an octet and put the
 * checksum right.
 */
#ifndef CACHE_FILE_H
#define CACHE_FILE_H

#include <stddef.h>
#include <string.h>

#include "maildir/maildir_cache.h"
#include "protocol/message.h"

struct cache_file_header {
	char magic[8];
	uint32_t version;
	uint32_t layout;
	uint64_t checksum;
	uint64_t n;
	uint64_t n_folders;
	uint64_t text_len;
	struct maildir_cache_key key;
};

#define CACHE_FILE_SUMMED offsetof(struct cache_file_header, n)
/* How much is summed at a time. */
#define CACHE_FILE_BLOCK 65536

/* What the checksum is to be; 0 where not all is there that the header says. */
static inline uint64_t
cache_file_sum(const char *octets, size_t len)
{
	struct cache_file_header header;

	if (len < sizeof(header))
		return 0;
	memcpy(&header, octets, sizeof(header));
	if (header.n > len || header.n_folders > len)
		return 0;
	const uint64_t lens[] = {
		header.n * sizeof(struct message),
		header.n * sizeof(struct maildir_file),
		header.n_folders * sizeof(struct maildir_folder),
		header.text_len,
	};
	uint64_t sum = maildir_hash(header.version, (struct slice){
	    octets + CACHE_FILE_SUMMED, sizeof(header) - CACHE_FILE_SUMMED });
	size_t at = sizeof(header);

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		if (lens[i] > len - at)
			return 0;
		for (size_t done = 0; done < lens[i];
		    done += CACHE_FILE_BLOCK)
			sum = maildir_hash(sum, (struct slice){
			    octets + at + done,
			    lens[i] - done < CACHE_FILE_BLOCK
			    ? lens[i] - done : CACHE_FILE_BLOCK });
		at += lens[i];
	}
	return sum;
}

/* Puts it right. */
static inline void
cache_file_seal(char *octets, size_t len)
{
	uint64_t sum = cache_file_sum(octets, len);

	if (len >= sizeof(struct cache_file_header))
		memcpy(octets + offsetof(struct cache_file_header, checksum),
		    &sum, sizeof(sum));
}

#endif
