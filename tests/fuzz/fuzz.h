/*
 * fuzz: what the fuzzers share.
 *
 * A fuzzer is one function that takes any octets at all and ends the process
 * where something does not hold. libFuzzer calls it with what it invents
 * (make fuzz), replay.c with the files of a corpus (make check). What holds
 * is said with CHECK: that nothing crashes is the least of it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what must hold ---- */

#define CHECK(truth) \
	((truth) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #truth))
#define CHECK_SAME(got, want) \
	fuzz_same(got, want, __FILE__, __LINE__, #got)

static inline _Noreturn void
fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

static inline void
fuzz_show(const char *what, struct slice s)
{
	fprintf(stderr, "%s \"", what);
	for (size_t i = 0; i < s.len && i < 4000; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\')
			fputc(c, stderr);
		else
			fprintf(stderr, c == '\n' ? "\\n" : c == '\r' ? "\\r"
			    : "\\x%02x", c);
	}
	fprintf(stderr, "\" (%zu octets)\n", s.len);
}

static inline void
fuzz_same(struct slice got, struct slice want, const char *file, int line,
    const char *what)
{
	size_t i = 0;

	if (slice_equal(got, want))
		return;
	while (i < got.len && i < want.len && got.data[i] == want.data[i])
		i++;
	fprintf(stderr, "%s:%d: %s differs at octet %zu\n", file, line, what,
	    i);
	fuzz_show("got: ", got);
	fuzz_show("want:", want);
	abort();
}

/* ---- taking the input apart ---- */

static inline struct slice
fuzz_slice(const uint8_t *data, size_t size)
{
	return (struct slice){ (const char *)data, size };
}

/* The first octet, or 0 where there is none. */
static inline unsigned
fuzz_octet(struct slice *input)
{
	if (input->len == 0)
		return 0;
	unsigned octet = (unsigned char)input->data[0];
	*input = slice_skip(*input, 1);
	return octet;
}

/* A copy that ends where its storage does, for the sanitizer to see an
 * octet too many. To be freed. */
static inline char *
fuzz_copy(struct slice s)
{
	char *copy = malloc(s.len);

	CHECK(copy != NULL || s.len == 0);
	if (s.len > 0)
		memcpy(copy, s.data, s.len);
	return copy;
}

/* ---- dealing octets out in pieces ---- */

enum fuzz_deal { DEAL_WHOLE, DEAL_OCTETS, DEAL_CHANCE };

/* Chance comes from the input itself: the same input, the same pieces. */
struct fuzz_dealer {
	enum fuzz_deal deal;
	uint64_t seed;
	uint32_t most; /* of one piece by chance */
};

static inline uint32_t
fuzz_chance(uint64_t *seed, uint32_t below)
{
	/* Knuth's MMIX constants; the high bits are the good ones. */
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % below;
}

static inline struct fuzz_dealer
fuzz_dealer(enum fuzz_deal deal, struct slice input)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < input.len; i++)
		hash = (hash ^ (unsigned char)input.data[i]) *
		    1099511628211u;
	return (struct fuzz_dealer){ deal, hash,
		1 + (uint32_t)(hash >> 58) };
}

/* The next piece of so many octets: at least one. */
static inline size_t
fuzz_piece(struct fuzz_dealer *dealer, size_t len)
{
	size_t piece = dealer->deal == DEAL_OCTETS ? 1
	    : dealer->deal == DEAL_WHOLE ? len
	    : 1 + fuzz_chance(&dealer->seed, dealer->most);

	return piece < len ? piece : len;
}

/* ---- text that grows ---- */

struct text {
	char *data;
	size_t len;
	size_t size;
};

static inline void
text_add(struct text *text, struct slice s)
{
	if (s.len == 0)
		return;
	if (s.len > text->size - text->len) {
		text->size = (text->len + s.len) * 2;
		text->data = realloc(text->data, text->size);
		CHECK(text->data != NULL);
	}
	memcpy(text->data + text->len, s.data, s.len);
	text->len += s.len;
}

static inline void
text_add_octet(struct text *text, char c)
{
	text_add(text, (struct slice){ &c, 1 });
}

static inline void text_format(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void
text_format(struct text *text, const char *format, ...)
{
	char *made = NULL;
	va_list args;

	va_start(args, format);
	int len = vasprintf(&made, format, args);
	va_end(args);
	CHECK(len >= 0);
	text_add(text, (struct slice){ made, (size_t)len });
	free(made);
}

static inline struct slice
text_slice(const struct text *text)
{
	return (struct slice){ text->data, text->len };
}

static inline void
text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){ .data = NULL };
}

/* ---- finding ---- */

/* Where it begins, or haystack.len. */
static inline size_t
fuzz_find(struct slice haystack, struct slice needle)
{
	const char *at = haystack.len == 0 ? NULL : memmem(haystack.data,
	    haystack.len, needle.data, needle.len);

	return at == NULL ? haystack.len : (size_t)(at - haystack.data);
}

/*
 * A dialogue's octets: 0x7F, a number n and an octet stand for 64 * n times
 * that octet, so that what is over a limit need not be invented octet by
 * octet; 0x7F and 0 stand for 0x7F.
 */
static inline void
fuzz_expand(struct slice input, size_t max, struct text *text)
{
	while (input.len > 0 && text->len < max) {
		char c = (char)fuzz_octet(&input);

		if (c != '\x7F') {
			text_add_octet(text, c);
			continue;
		}
		size_t n = 64 * (size_t)fuzz_octet(&input);
		if (n == 0)
			text_add_octet(text, c);
		else
			c = (char)fuzz_octet(&input);
		for (size_t i = 0; i < n && text->len < max; i++)
			text_add_octet(text, c);
	}
}

/* ---- files that are nowhere ---- */

struct fuzz_file {
	int fd;
	char path[32];
};

/* Makes it hold these octets, for its owner alone. One file serves all
 * inputs: a static one, all zero at first. */
static inline void
fuzz_file_put(struct fuzz_file *file, struct slice octets)
{
	if (file->path[0] == '\0') {
		file->fd = memfd_create("fuzz", MFD_CLOEXEC);
		CHECK(file->fd >= 0 && fchmod(file->fd, 0600) == 0);
		snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d",
		    file->fd);
	}
	CHECK(ftruncate(file->fd, 0) == 0);
	CHECK(pwrite(file->fd, octets.data, octets.len, 0) ==
	    (ssize_t)octets.len);
}

#endif
