/*
 * fuzz_proxy_header.c - PROXY headers, octet-exactly.
 *
 * The input is what a peer sends. It is given as the reader gives it (as
 * much as is wanted), octet by octet, and in pieces by chance: the outcome
 * must be the same. A second reading of the specification says where the
 * header ends and what is in it.
 */
#include "fuzz.h"

#include "protocol/proxy_header.h"

struct run {
	struct proxy_header header;
	enum proxy_outcome outcome;
	size_t taken;
};

static void
give(struct run *run, struct slice stream, struct fuzz_dealer dealer)
{
	*run = (struct run){ .outcome = PROXY_MORE };
	while (run->outcome == PROXY_MORE) {
		size_t want = proxy_header_want(&run->header);
		size_t left = stream.len - run->taken;

		CHECK(want > 0);
		if (left == 0)
			break;
		size_t n = fuzz_piece(&dealer, want < left ? want : left);
		char *copy = fuzz_copy(
		    (struct slice){ stream.data + run->taken, n });
		run->outcome = proxy_header_take(&run->header,
		    (struct slice){ copy, n });
		free(copy);
		run->taken += n;
	}
}

/* ---- the specification, read again ---- */

struct model {
	size_t len; /* of the header; 0: none, or none yet */
	enum proxy_source source;
	struct slice source_text; /* of version 1 */
	struct slice destination_text;
	const char *address; /* of version 2 */
	size_t address_len;
	unsigned port;
};

static bool
is_port(struct slice text)
{
	unsigned long value = 0;

	if (text.len < 1 || text.len > 5 ||
	    (text.len > 1 && text.data[0] == '0'))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		value = value * 10 + (unsigned long)(text.data[i] - '0');
	}
	return value <= 65535;
}

/* Section 2.1: one line of at most 107 octets with its CRLF, words with one
 * blank between them, and neither CR nor LF within. */
static void
read_v1(struct model *model, struct slice stream)
{
	struct slice words[6];
	size_t n = 0;
	size_t end = fuzz_find(stream, SLICE("\r\n"));

	if (end == stream.len || end + 2 > 107)
		return;
	struct slice line = { stream.data, end };
	if (memchr(line.data, '\r', end) != NULL ||
	    memchr(line.data, '\n', end) != NULL)
		return;
	if (slice_equal(line, SLICE("PROXY UNKNOWN")) ||
	    slice_starts_with(line, SLICE("PROXY UNKNOWN "))) {
		model->source = PROXY_SOURCE_UNKNOWN;
		model->len = end + 2;
		return;
	}
	words[0] = (struct slice){ line.data, 0 };
	for (size_t i = 0; i < end; i++)
		if (line.data[i] != ' ')
			words[n].len++;
		else if (++n == COUNT(words))
			return;
		else
			words[n] = (struct slice){ line.data + i + 1, 0 };
	bool tcp4 = n == 5 && slice_equal(words[1], SLICE("TCP4"));
	bool tcp6 = n == 5 && slice_equal(words[1], SLICE("TCP6"));
	if (!slice_equal(words[0], SLICE("PROXY")) || (!tcp4 && !tcp6) ||
	    slice_has_control(line) || !is_port(words[4]) ||
	    !is_port(words[5]))
		return;
	model->source = tcp4 ? PROXY_SOURCE_IPV4 : PROXY_SOURCE_IPV6;
	model->source_text = words[2];
	model->destination_text = words[3];
	for (size_t i = 0; i < words[4].len; i++)
		model->port = model->port * 10 +
		    (unsigned)(words[4].data[i] - '0');
	model->len = end + 2;
}

static unsigned
octet(struct slice stream, size_t i)
{
	return (unsigned char)stream.data[i];
}

/* Section 2.2. */
static void
read_v2(struct model *model, struct slice stream)
{
	if (stream.len < 16 || memcmp(stream.data,
	    "\r\n\r\n\0\r\nQUIT\n", 12) != 0)
		return;
	unsigned command = octet(stream, 12);
	unsigned family = octet(stream, 13);
	size_t len = octet(stream, 14) * 256 + octet(stream, 15);
	size_t least = 0;

	if (command == 0x20) {
		model->source = PROXY_SOURCE_NONE;
	} else if (command == 0x21 && family == 0x00) {
		model->source = PROXY_SOURCE_UNKNOWN;
	} else if (command == 0x21 && family == 0x11) {
		model->source = PROXY_SOURCE_IPV4;
		model->address_len = 4;
		least = 12;
	} else if (command == 0x21 && family == 0x21) {
		model->source = PROXY_SOURCE_IPV6;
		model->address_len = 16;
		least = 36;
	} else if (command == 0x21 && family == 0x31) {
		model->source = PROXY_SOURCE_UNIX;
		least = 216;
	} else {
		return;
	}
	if (len < least || stream.len - 16 < len)
		return;
	model->address = stream.data + 16;
	if (model->address_len > 0) {
		size_t at = 16 + 2 * model->address_len;
		model->port = octet(stream, at) * 256 + octet(stream, at + 1);
	}
	model->len = 16 + len;
}

static void
compare(const struct run *run, const struct model *model)
{
	const struct proxy_header *header = &run->header;

	CHECK((run->outcome == PROXY_DONE) == (model->len > 0));
	if (run->outcome != PROXY_DONE)
		return;
	/* One octet more would be the client's first. */
	CHECK(run->taken == model->len);
	CHECK(header->source == model->source);
	if (header->source != PROXY_SOURCE_IPV4 &&
	    header->source != PROXY_SOURCE_IPV6)
		return;
	CHECK(header->port == model->port);
	if (model->address_len > 0) {
		CHECK(memcmp(header->address, model->address,
		    model->address_len) == 0);
		return;
	}
	CHECK_SAME(header->address_text, model->source_text);
	CHECK_SAME(header->destination_text, model->destination_text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum fuzz_deal deals[] = { DEAL_WHOLE, DEAL_OCTETS,
		DEAL_CHANCE };
	static struct run runs[COUNT(deals)];
	struct slice stream = fuzz_slice(data, size);
	struct model model = { .len = 0 };

	read_v1(&model, stream);
	read_v2(&model, stream);
	for (size_t i = 0; i < COUNT(deals); i++) {
		give(&runs[i], stream, fuzz_dealer(deals[i], stream));
		CHECK(runs[i].outcome == runs[0].outcome);
		compare(&runs[i], &model);
	}
	return 0;
}
