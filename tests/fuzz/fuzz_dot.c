/*
 * fuzz_dot.c - message text to the wire and back.
 *
 * The first octet chooses how many lines TOP wants; the rest is text. Both
 * directions are done a second time here, line by line and octet by octet,
 * and must come out the same whatever the pieces are. What the encoder makes
 * the decoder must undo, with every meaning of a bare LF, for what is
 * encoded has none.
 */
#include "fuzz.h"

#include "protocol/dot.h"

static const enum fuzz_deal deals[] = { DEAL_WHOLE, DEAL_OCTETS,
	DEAL_CHANCE };
static const enum dot_bare_lf modes[] = { DOT_BARE_LF_REJECT,
	DOT_BARE_LF_NORMALIZE, DOT_BARE_LF_ACCEPT };

/* ---- encoding ---- */

/* A message as its lines, each ended by one LF. */
static void
make_canonical(struct slice message, struct text *lines)
{
	for (size_t i = 0; i < message.len; i++) {
		char c = message.data[i];

		if (c == '\r' && i + 1 < message.len &&
		    message.data[i + 1] == '\n')
			continue;
		text_add_octet(lines, c == '\r' ? '\n' : c);
	}
	/* Nothing at all is an empty line. */
	if (lines->len == 0 || lines->data[lines->len - 1] != '\n')
		text_add_octet(lines, '\n');
}

/* The first lines of it: the header, the empty line and n more. */
static size_t
top_length(struct slice lines, uint64_t n)
{
	size_t at = 0;
	bool in_body = false;

	while (at < lines.len && !(in_body && n == 0)) {
		struct slice line, rest;

		slice_cut(slice_skip(lines, at), '\n', &line, &rest);
		at += line.len + 1;
		if (in_body)
			n--;
		else
			in_body = line.len == 0;
	}
	return at;
}

static void
make_wire(struct slice lines, bool stuffed, struct text *wire)
{
	while (lines.len > 0) {
		struct slice line;

		slice_cut(lines, '\n', &line, &lines);
		if (stuffed && slice_starts_with(line, SLICE(".")))
			text_add_octet(wire, '.');
		text_add(wire, line);
		text_add(wire, SLICE("\r\n"));
	}
	if (stuffed)
		text_add(wire, SLICE(".\r\n"));
}

static void
encode(struct dot_encoder *encoder, struct slice message, struct text *wire,
    struct fuzz_dealer dealer)
{
	char end[DOT_END_MAX];

	while (message.len > 0 && !encoder->enough) {
		size_t piece = fuzz_piece(&dealer, message.len);
		char *copy = fuzz_copy((struct slice){ message.data, piece });
		struct slice text = { copy, piece };

		while (text.len > 0 && !encoder->enough) {
			size_t left = text.len;
			size_t size = 2 + fuzz_piece(&dealer,
			    DOT_ENCODED_MAX(left)) - 1;
			char *out = malloc(size);
			CHECK(out != NULL);
			size_t n = dot_encode(encoder, &text, out, size);
			CHECK(n <= size);
			/* It always goes on. */
			CHECK(n > 0 || text.len < left);
			text_add(wire, (struct slice){ out, n });
			free(out);
		}
		free(copy);
		message = slice_skip(message, piece);
	}
	size_t n = dot_encode_end(encoder, end);
	CHECK(n <= sizeof(end));
	text_add(wire, (struct slice){ end, n });
}

static void
check_encoding(struct slice message, struct slice lines, bool limited,
    bool stuffed, uint64_t top, struct text *wire)
{
	struct text got = { .data = NULL };
	uint64_t octets = 0;

	if (limited)
		lines.len = top_length(lines, top);
	for (size_t i = 0; i < lines.len; i++)
		octets += lines.data[i] == '\n' ? 2 : 1;
	make_wire(lines, stuffed, wire);
	for (size_t i = 0; i < COUNT(deals); i++) {
		struct dot_encoder encoder = { .unstuffed = !stuffed };

		if (limited)
			dot_encoder_limit(&encoder, top);
		got.len = 0;
		encode(&encoder, message, &got,
		    fuzz_dealer(deals[i], message));
		CHECK_SAME(text_slice(&got), text_slice(wire));
		CHECK(encoder.octets == octets);
	}
	text_free(&got);
}

static void
check_measure(struct slice message, uint64_t octets)
{
	for (size_t i = 0; i < COUNT(deals); i++) {
		struct dot_encoder encoder = { .in_line = false };
		struct fuzz_dealer dealer = fuzz_dealer(deals[i], message);
		struct slice rest = message;

		while (rest.len > 0) {
			size_t piece = fuzz_piece(&dealer, rest.len);
			char *copy = fuzz_copy((struct slice){ rest.data,
			    piece });
			dot_measure(&encoder, (struct slice){ copy, piece });
			free(copy);
			rest = slice_skip(rest, piece);
		}
		CHECK(dot_measure_end(&encoder) == octets);
	}
}

/* ---- decoding ---- */

struct result {
	enum dot_outcome outcome;
	size_t taken;
	struct text text;
	bool bare_cr;
	bool bare_lf;
	uint64_t octets;
	uint64_t lines;
};

static void
decode(struct result *result, struct slice data, enum dot_bare_lf mode,
    struct fuzz_dealer dealer)
{
	struct dot_decoder decoder;

	*result = (struct result){ .outcome = DOT_MORE };
	dot_decoder_init(&decoder, mode);
	while (result->outcome == DOT_MORE && result->taken < data.len) {
		struct slice rest = slice_skip(data, result->taken);
		size_t piece = fuzz_piece(&dealer, rest.len);
		char *copy = fuzz_copy((struct slice){ rest.data, piece });
		size_t taken, made;

		result->outcome = dot_decode(&decoder, copy, piece, &taken,
		    &made);
		CHECK(taken <= piece && made <= taken);
		CHECK(result->outcome != DOT_MORE || taken == piece);
		text_add(&result->text, (struct slice){ copy, made });
		/* What was not taken was not touched. */
		CHECK(memcmp(copy + taken, rest.data + taken,
		    piece - taken) == 0);
		free(copy);
		result->taken += taken;
	}
	result->bare_cr = decoder.bare_cr;
	result->bare_lf = decoder.bare_lf;
	result->octets = decoder.octets;
	result->lines = decoder.lines;
}

/* Line by line. The octets of the last one, which has no end yet, count as
 * text as far as they must be text whatever follows. */
static void
decode_again(struct result *result, struct slice data, enum dot_bare_lf mode)
{
	bool after_bare = false;

	*result = (struct result){ .outcome = DOT_MORE };
	while (result->taken < data.len) {
		struct slice line, rest;
		bool ended = slice_cut(slice_skip(data, result->taken), '\n',
		    &line, &rest);
		bool crlf = line.len > 0 && line.data[line.len - 1] == '\r';
		bool undo = !after_bare || mode == DOT_BARE_LF_ACCEPT;

		result->taken += line.len + (ended ? 1 : 0);
		line.len -= crlf ? 1 : 0;
		if (line.len > 0 &&
		    memchr(line.data, '\r', line.len) != NULL)
			result->bare_cr = true;
		result->bare_lf |= ended && !crlf;
		if (ended && slice_equal(line, SLICE("."))) {
			bool clean = crlf && !after_bare;
			if (clean || mode == DOT_BARE_LF_ACCEPT) {
				result->outcome = DOT_END;
				return;
			}
			if (mode == DOT_BARE_LF_REJECT) {
				result->outcome = DOT_SMUGGLED;
				return;
			}
		}
		if (undo && slice_starts_with(line, SLICE(".")))
			line = slice_skip(line, 1);
		text_add(&result->text, line);
		if (ended) {
			text_add_octet(&result->text, '\n');
			result->lines++;
		}
		after_bare = ended && !crlf;
	}
}

static void
check_decoding(struct slice data, enum dot_bare_lf mode)
{
	struct result want, got;

	decode_again(&want, data, mode);
	for (size_t i = 0; i < COUNT(deals); i++) {
		decode(&got, data, mode, fuzz_dealer(deals[i], data));
		CHECK(got.outcome == want.outcome);
		CHECK(got.taken == want.taken);
		CHECK(got.bare_cr == want.bare_cr);
		CHECK(got.bare_lf == want.bare_lf);
		if (!want.bare_cr && want.outcome != DOT_SMUGGLED) {
			CHECK_SAME(text_slice(&got.text),
			    text_slice(&want.text));
			CHECK(got.octets == want.text.len);
			CHECK(got.lines == want.lines);
		}
		text_free(&got.text);
	}
	text_free(&want.text);
}

/* As in BDAT: no dot means anything, and the end is told. */
static void
check_unstuffed(struct slice data, enum dot_bare_lf mode)
{
	struct text want = { .data = NULL };
	struct text got = { .data = NULL };
	bool bare_cr = false, bare_lf = false;

	for (size_t i = 0; i < data.len; i++) {
		bool after_cr = i > 0 && data.data[i - 1] == '\r';

		bare_cr |= after_cr && data.data[i] != '\n';
		bare_lf |= !after_cr && data.data[i] == '\n';
		if (data.data[i] != '\r')
			text_add_octet(&want, data.data[i]);
	}
	bare_cr |= data.len > 0 && data.data[data.len - 1] == '\r';
	if (data.len > 0 && data.data[data.len - 1] != '\n')
		text_add_octet(&want, '\n');
	for (size_t i = 0; i < COUNT(deals); i++) {
		struct dot_decoder decoder;
		struct fuzz_dealer dealer = fuzz_dealer(deals[i], data);
		struct slice rest = data;
		char end;

		got.len = 0;
		dot_decoder_init(&decoder, mode);
		decoder.unstuffed = true;
		while (rest.len > 0) {
			size_t piece = fuzz_piece(&dealer, rest.len);
			char *copy = fuzz_copy((struct slice){ rest.data,
			    piece });
			size_t taken, made;

			CHECK(dot_decode(&decoder, copy, piece, &taken,
			    &made) == DOT_MORE && taken == piece);
			text_add(&got, (struct slice){ copy, made });
			free(copy);
			rest = slice_skip(rest, piece);
		}
		text_add(&got, (struct slice){ &end,
		    dot_decode_end(&decoder, &end) });
		CHECK(decoder.bare_cr == bare_cr);
		CHECK(decoder.bare_lf == bare_lf);
		if (!bare_cr) {
			CHECK_SAME(text_slice(&got), text_slice(&want));
			CHECK(decoder.octets == want.len);
		}
	}
	text_free(&want);
	text_free(&got);
}

/* There and back. */
static void
check_round_trip(struct slice wire, struct slice lines, enum dot_bare_lf mode)
{
	struct result result;

	decode(&result, wire, mode, fuzz_dealer(DEAL_CHANCE, lines));
	CHECK(result.outcome == DOT_END && result.taken == wire.len);
	CHECK(!result.bare_cr && !result.bare_lf);
	CHECK_SAME(text_slice(&result.text), lines);
	text_free(&result.text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice message = fuzz_slice(data, size);
	uint64_t top = fuzz_octet(&message) % 8;
	struct text lines = { .data = NULL };
	struct text wire = { .data = NULL };

	make_canonical(message, &lines);
	check_encoding(message, text_slice(&lines), true, true, top, &wire);
	wire.len = 0;
	check_encoding(message, text_slice(&lines), false, false, 0, &wire);
	check_measure(message, wire.len);
	wire.len = 0;
	check_encoding(message, text_slice(&lines), false, true, 0, &wire);
	for (size_t i = 0; i < COUNT(modes); i++) {
		check_decoding(message, modes[i]);
		check_unstuffed(message, modes[i]);
		check_round_trip(text_slice(&wire), text_slice(&lines),
		    modes[i]);
	}
	text_free(&lines);
	text_free(&wire);
	return 0;
}
