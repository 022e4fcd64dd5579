/*
 * test_dot.c - message text on the wire, both ways, against models that
 * know nothing of pieces: they look at the whole text, line by line.
 *
 * Every string of up to seven octets over CR, LF, dot and a letter is
 * tried, which is every way in which these can meet, at every seam.
 */
#include "drive.h"

#include "protocol/dot.h"

#define SHORT_MAX 7

static const char alphabet[4] = { '\r', '\n', '.', 'a' };

/* Text that is read, and where it is written: each before a guard page. */
static struct guarded input;
static struct guarded output;

static int
set_up(void **state)
{
	(void)state;
	guarded_new(&input, 1 << 16);
	guarded_new(&output, 1 << 16);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	guarded_free(&input);
	guarded_free(&output);
	return 0;
}

/* The code-th string of that length. */
static struct slice
short_string(char *storage, size_t len, unsigned code)
{
	for (size_t i = 0; i < len; i++)
		storage[i] = alphabet[code >> 2 * i & 3];
	return (struct slice){ storage, len };
}

/* A string by chance, mostly of letters, and of line ends with dots. */
static struct slice
random_string(char *storage, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t kind = chance(seed, 8);

		storage[i] = kind < 4 ? alphabet[kind]
		    : (char)chance(seed, 256);
	}
	return (struct slice){ storage, len };
}

static struct slice
at_edge(struct slice s)
{
	return (struct slice){ guarded_put(&input, s.data, s.len), s.len };
}

/* How long the line end at the front of s is: CRLF 2, CR or LF 1, none 0. */
static size_t
line_end(struct slice s)
{
	if (s.len > 1 && s.data[0] == '\r' && s.data[1] == '\n')
		return 2;
	return s.len > 0 && (s.data[0] == '\r' || s.data[0] == '\n');
}

/* ---- encoding ---- */

/* What a whole text is on the wire, and how many octets of it count. */
struct encoded {
	struct text text;
	uint64_t octets;
};

/* body_lines: so many of the body, or -1 for all. */
static void
model_encode(struct slice text, bool unstuffed, int body_lines,
    struct encoded *encoded)
{
	bool in_body = false;
	uint64_t dots = 0;

	encoded->text.len = 0;
	/* Nothing at all is an empty line. */
	if (text.len == 0)
		text_add(&encoded->text, SLICE("\r\n"));
	while (text.len > 0) {
		size_t len = 0;

		if (in_body && body_lines >= 0 && body_lines-- == 0)
			break;
		while (len < text.len &&
		    line_end(slice_skip(text, len)) == 0)
			len++;
		if (text.data[0] == '.' && !unstuffed) {
			text_add(&encoded->text, SLICE("."));
			dots++;
		}
		text_add(&encoded->text, (struct slice){ text.data, len });
		text_add(&encoded->text, SLICE("\r\n"));
		in_body = in_body || len == 0;
		text = slice_skip(text, len);
		text = slice_skip(text, line_end(text));
	}
	encoded->octets = encoded->text.len - dots;
	if (!unstuffed)
		text_add(&encoded->text, SLICE(".\r\n"));
}

/* One run of the encoder: where the text is cut (a bit for each octet that
 * begins a piece), and how much room there is, turn and turn about. */
struct encoding {
	unsigned cuts;
	size_t rooms[2];
	struct dot_encoder encoder;
};

static void
encode_piece(struct encoding *run, struct slice piece, struct text *made)
{
	struct dot_encoder *encoder = &run->encoder;

	piece = at_edge(piece);
	for (unsigned turn = 0; piece.len > 0 && !encoder->enough; turn++) {
		size_t room = run->rooms[turn % 2];
		size_t before = piece.len;
		char *to = output.data + output.size - room;
		size_t len = dot_encode(encoder, &piece, to, room);

		assert_true(len <= room);
		/* With room for two it always goes on. */
		assert_true(room < 2 || piece.len < before);
		text_add(made, (struct slice){ to, len });
	}
}

static void
check_encoding(struct encoding run, struct slice text,
    const struct encoded *want)
{
	static struct text made;
	char *end = output.data + output.size - DOT_END_MAX;
	size_t at = 0;

	made.len = 0;
	while (at < text.len && !run.encoder.enough) {
		size_t len = 1;

		while (at + len < text.len &&
		    (run.cuts >> (at + len) & 1) == 0)
			len++;
		encode_piece(&run, (struct slice){ text.data + at, len },
		    &made);
		at += len;
	}
	size_t len = dot_encode_end(&run.encoder, end);
	assert_true(len <= DOT_END_MAX);
	assert_false(run.encoder.in_line);
	text_add(&made, (struct slice){ end, len });
	if (!slice_equal(text_slice(&made), text_slice(&want->text))) {
		char *shown_text = shown(text);
		print_error("cuts %x, room %zu and %zu, of \"%s\n", run.cuts,
		    run.rooms[0], run.rooms[1], shown_text);
		free(shown_text);
	}
	assert_slices(text_slice(&made), text_slice(&want->text));
	assert_int_equal(run.encoder.octets, want->octets);
}

static const size_t rooms[][2] = {
	{ 2, 2 }, { 3, 3 }, { 4, 4 }, { 7, 7 }, { 64, 64 }, { 1, 2 },
};

static void
check_encodings(struct slice text, bool unstuffed, int body_lines,
    unsigned cuts)
{
	static struct encoded want;
	struct dot_encoder encoder = { .unstuffed = unstuffed };

	if (body_lines >= 0)
		dot_encoder_limit(&encoder, (uint64_t)body_lines);
	model_encode(text, unstuffed, body_lines, &want);
	for (size_t i = 0; i < COUNT(rooms); i++)
		check_encoding((struct encoding){ .cuts = cuts,
		    .rooms = { rooms[i][0], rooms[i][1] },
		    .encoder = encoder }, text, &want);
}

static void
test_encode_every_string(void **state)
{
	char storage[SHORT_MAX];

	(void)state;
	for (size_t len = 0; len <= SHORT_MAX; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++) {
			struct slice text = short_string(storage, len, code);

			/* Whole, in two at every octet, and one by one. */
			for (size_t cut = 0; cut <= len; cut++)
				check_encodings(text, false, -1,
				    cut == len ? ~0u : 1u << cut);
			check_encodings(text, true, -1, 0);
			check_encodings(text, true, -1, ~0u);
		}
}

/* TOP: a header, a blank line and so many lines; then nothing more. */
static void
test_encode_top(void **state)
{
	char storage[SHORT_MAX];

	(void)state;
	for (size_t len = 0; len <= SHORT_MAX - 1; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++)
			for (int lines = 0; lines <= 3; lines++) {
				struct slice text = short_string(storage, len,
				    code);

				check_encodings(text, false, lines, 0);
				check_encodings(text, false, lines, ~0u);
				check_encodings(text, false, lines,
				    1u << len / 2);
			}
}

/* How much of the file TOP reads, and the tables of its words. */
static void
test_encode_top_by_hand(void **state)
{
	static const struct slice message = SLICE("Subject: x\n\n.one\ntwo\n"
	    "\nfour");
	static const struct {
		uint64_t lines;
		struct slice text;
		bool enough;
	} rows[] = {
		{ 0, SLICE("Subject: x\r\n\r\n.\r\n"), true },
		{ 1, SLICE("Subject: x\r\n\r\n..one\r\n.\r\n"), true },
		{ 2, SLICE("Subject: x\r\n\r\n..one\r\ntwo\r\n.\r\n"), true },
		{ 3, SLICE("Subject: x\r\n\r\n..one\r\ntwo\r\n\r\n.\r\n"),
		    true },
		{ 4, SLICE("Subject: x\r\n\r\n..one\r\ntwo\r\n\r\nfour\r\n"
		    ".\r\n"), false },
		{ UINT64_MAX, SLICE("Subject: x\r\n\r\n..one\r\ntwo\r\n\r\n"
		    "four\r\n.\r\n"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct dot_encoder encoder = { .in_line = false };
		struct slice text = at_edge(message);
		char made[128];

		dot_encoder_limit(&encoder, rows[i].lines);
		size_t n = dot_encode(&encoder, &text, made, 100);
		assert_int_equal(encoder.enough, rows[i].enough);
		/* Enough is enough: nothing more is taken. */
		struct slice more = at_edge(SLICE("\n\nmore\n"));
		if (rows[i].enough) {
			assert_int_equal(dot_encode(&encoder, &more, made + n,
			    20), 0);
			assert_int_equal(more.len, 7);
		}
		n += dot_encode_end(&encoder, made + n);
		assert_slices(((struct slice){ made, n }), rows[i].text);
	}
}

static void
test_encode_random(void **state)
{
	static const size_t sizes[][2] = {
		{ 2, 3 }, { 5, 1 }, { 100, 7 }, { 4096, 4096 },
	};
	static struct encoded want;
	static char storage[3000];
	uint64_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct slice text = random_string(storage,
		    chance(&seed, sizeof(storage)), &seed);

		for (size_t k = 0; k < COUNT(sizes); k++) {
			struct encoding run = {
				.rooms = { sizes[k][0], sizes[k][1] },
			};
			struct text made = { .data = NULL };
			struct slice rest = text;
			char end[DOT_END_MAX];

			while (rest.len > 0) {
				size_t len = chance(&seed, 300) + 1;
				if (len > rest.len)
					len = rest.len;
				encode_piece(&run, (struct slice){ rest.data,
				    len }, &made);
				rest = slice_skip(rest, len);
			}
			text_add(&made, (struct slice){ end,
			    dot_encode_end(&run.encoder, end) });
			model_encode(text, false, -1, &want);
			assert_slices(text_slice(&made),
			    text_slice(&want.text));
			assert_int_equal(run.encoder.octets, want.octets);
			text_free(&made);
		}
	}
	text_free(&want.text);
}

/* ---- measuring ---- */

static uint64_t
measure(struct slice text, size_t piece)
{
	struct dot_encoder encoder = { .unstuffed = true };

	while (text.len > 0) {
		size_t len = text.len < piece ? text.len : piece;

		dot_measure(&encoder, at_edge((struct slice){ text.data,
		    len }));
		dot_measure(&encoder, slice_from(NULL));
		text = slice_skip(text, len);
	}
	uint64_t octets = dot_measure_end(&encoder);
	/* The end is the end, however often it is said. */
	assert_int_equal(dot_measure_end(&encoder), octets);
	return octets;
}

static void
test_measure_every_string(void **state)
{
	static struct encoded want;
	char storage[SHORT_MAX];

	(void)state;
	for (size_t len = 0; len <= SHORT_MAX; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++) {
			struct slice text = short_string(storage, len, code);

			model_encode(text, true, -1, &want);
			for (size_t piece = 1; piece <= len + 1; piece++)
				assert_int_equal(measure(text, piece),
				    want.octets);
		}
	text_free(&want.text);
}

/* Long enough for whatever does many octets at a time, at every
 * alignment. */
static void
test_measure_long(void **state)
{
	static struct encoded want;
	static char storage[5000];
	uint64_t seed = 11;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		size_t len = i < 200 ? i : chance(&seed, sizeof(storage));
		struct slice text = random_string(storage, len, &seed);

		model_encode(text, true, -1, &want);
		for (size_t piece = 1; piece < 70; piece += 4)
			assert_int_equal(measure(text, piece), want.octets);
		assert_int_equal(measure(text, SIZE_MAX), want.octets);
	}
	/* Nothing but one kind of octet: counters that are too narrow. */
	for (size_t i = 0; i < COUNT(alphabet); i++) {
		static char same[60000];

		memset(same, alphabet[i], sizeof(same));
		struct slice text = { same, sizeof(same) };
		assert_int_equal(measure(text, SIZE_MAX),
		    i < 2 ? 120000 : 60002);
		assert_int_equal(measure(text, 4096), i < 2 ? 120000 : 60002);
	}
	text_free(&want.text);
}

/* ---- decoding ---- */

/* What a whole input is: the outcome, how much of it was taken, the text. */
struct decoded {
	enum dot_outcome outcome;
	size_t taken;
	bool bare_cr, bare_lf;
	uint64_t lines;
	struct text text;
};

static void
model_decode(struct slice data, enum dot_bare_lf mode,
    struct decoded *decoded)
{
	const struct slice start = data;
	bool after_crlf = true; /* the 354's own line end */

	*decoded = (struct decoded){ .text = { decoded->text.data, 0,
	    decoded->text.size } };
	while (data.len > 0) {
		struct slice line, rest;
		bool whole = slice_cut(data, '\n', &line, &rest);
		bool crlf = whole && line.len > 0 &&
		    line.data[line.len - 1] == '\r';
		bool bare = whole && !crlf;

		/* A CR at the end of what has come may yet get its LF. */
		if (crlf || (!whole && line.data[line.len - 1] == '\r'))
			line.len--;
		decoded->bare_lf |= bare;
		bool dot = line.len > 0 && line.data[0] == '.';
		bool as_crlf = after_crlf || mode == DOT_BARE_LF_ACCEPT;
		bool ends = dot && line.len == 1 && whole;

		decoded->taken = (size_t)(rest.data - start.data);
		if (ends && as_crlf && (crlf || mode == DOT_BARE_LF_ACCEPT)) {
			decoded->outcome = DOT_END;
			return;
		}
		if (ends && mode == DOT_BARE_LF_REJECT) {
			decoded->outcome = DOT_SMUGGLED;
			return;
		}
		if (dot && as_crlf)
			line = slice_skip(line, 1);
		if (line.len > 0 && memchr(line.data, '\r', line.len) != NULL)
			decoded->bare_cr = true;
		text_add(&decoded->text, line);
		if (whole) {
			text_add(&decoded->text, SLICE("\n"));
			decoded->lines++;
		}
		after_crlf = crlf;
		data = rest;
	}
}

/* Decodes in pieces that end where the bits of cuts say, and compares. */
static void
check_decoding(struct slice data, enum dot_bare_lf mode, unsigned cuts,
    const struct decoded *want)
{
	static struct text made;
	struct dot_decoder decoder;
	enum dot_outcome outcome = DOT_MORE;
	size_t at = 0;

	made.len = 0;
	dot_decoder_init(&decoder, mode);
	while (at < data.len && outcome == DOT_MORE) {
		size_t len = 1;
		size_t taken, n;

		while (at + len < data.len && (cuts >> (at + len) & 1) == 0)
			len++;
		char *piece = guarded_put(&input, data.data + at, len);
		outcome = dot_decode(&decoder, piece, len, &taken, &n);
		assert_true(n <= taken && taken <= len);
		assert_true(taken == len || outcome != DOT_MORE);
		text_add(&made, (struct slice){ piece, n });
		at += taken;
	}
	if (outcome != want->outcome || at != want->taken ||
	    decoder.bare_cr != want->bare_cr ||
	    decoder.bare_lf != want->bare_lf) {
		char *shown_data = shown(data);
		print_error("mode %d, cuts %x: outcome %d, want %d; taken "
		    "%zu, want %zu; bare CR %d, want %d; bare LF %d, want "
		    "%d: \"%s\n", (int)mode, cuts, (int)outcome,
		    (int)want->outcome, at, want->taken, decoder.bare_cr,
		    want->bare_cr, decoder.bare_lf, want->bare_lf,
		    shown_data);
		free(shown_data);
		fail();
	}
	assert_int_equal(decoder.octets, made.len);
	if (want->bare_cr || outcome == DOT_SMUGGLED)
		return; /* good for nothing */
	assert_slices(text_slice(&made), text_slice(&want->text));
	assert_int_equal(decoder.lines, want->lines);
}

static const enum dot_bare_lf modes[] = {
	DOT_BARE_LF_REJECT, DOT_BARE_LF_NORMALIZE, DOT_BARE_LF_ACCEPT,
};

static void
test_decode_every_string(void **state)
{
	static struct decoded want;
	char storage[SHORT_MAX];

	(void)state;
	for (size_t len = 0; len <= SHORT_MAX; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++)
			for (size_t mode = 0; mode < COUNT(modes); mode++) {
				struct slice data = short_string(storage, len,
				    code);

				model_decode(data, modes[mode], &want);
				check_decoding(data, modes[mode], 0, &want);
				check_decoding(data, modes[mode], ~0u, &want);
				for (size_t cut = 1; cut < len; cut++)
					check_decoding(data, modes[mode],
					    1u << cut, &want);
			}
	text_free(&want.text);
}

/* After text, as in life: what is before the seam matters. */
static void
test_decode_random(void **state)
{
	static struct decoded want;
	char storage[30];
	uint64_t seed = 23;

	(void)state;
	for (unsigned i = 0; i < 60000; i++) {
		struct slice data = random_string(storage,
		    chance(&seed, sizeof(storage)), &seed);
		enum dot_bare_lf mode = modes[i % COUNT(modes)];

		model_decode(data, mode, &want);
		check_decoding(data, mode, chance(&seed, UINT32_MAX), &want);
		check_decoding(data, mode, 0, &want);
	}
	text_free(&want.text);
}

/* BDAT: dots mean nothing, the end is where the chunks end. */
static void
test_decode_unstuffed(void **state)
{
	static struct text want, made;
	char storage[SHORT_MAX], last[1];

	(void)state;
	for (size_t len = 0; len <= SHORT_MAX; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++)
			for (size_t cut = 0; cut <= len; cut++) {
				struct slice data = short_string(storage,
				    len, code);
				struct slice pieces[2] = {
					{ data.data, cut },
					slice_skip(data, cut),
				};
				struct dot_decoder decoder;
				bool bare_cr = false, bare_lf = false;
				uint64_t lines = 0;

				want.len = made.len = 0;
				for (size_t i = 0; i < len; i++) {
					bool lf = data.data[i] == '\n';
					bool cr = data.data[i] == '\r';
					bool pair = cr && i + 1 < len &&
					    data.data[i + 1] == '\n';

					bare_cr |= cr && !pair;
					bare_lf |= lf && (i == 0 ||
					    data.data[i - 1] != '\r');
					lines += lf;
					if (!cr)
						text_add(&want, slice_skip(
						    (struct slice){
						    data.data, i + 1 }, i));
				}
				if (len > 0 && data.data[len - 1] != '\n') {
					text_add(&want, SLICE("\n"));
					lines++;
				}
				dot_decoder_init(&decoder,
				    DOT_BARE_LF_REJECT);
				decoder.unstuffed = true;
				for (size_t i = 0; i < 2; i++) {
					size_t taken, n;
					char *at = guarded_put(&input,
					    pieces[i].data, pieces[i].len);

					assert_int_equal(dot_decode(&decoder,
					    at, pieces[i].len, &taken, &n),
					    DOT_MORE);
					assert_int_equal(taken,
					    pieces[i].len);
					text_add(&made,
					    (struct slice){ at, n });
				}
				text_add(&made, (struct slice){ last,
				    dot_decode_end(&decoder, last) });
				assert_int_equal(decoder.bare_cr, bare_cr);
				assert_int_equal(decoder.bare_lf, bare_lf);
				assert_int_equal(decoder.octets, made.len);
				if (bare_cr)
					continue; /* good for nothing */
				assert_slices(text_slice(&made),
				    text_slice(&want));
				assert_int_equal(decoder.lines, lines);
			}
	text_free(&want);
	text_free(&made);
}

/* What the decoder does, in words: so that no model can be wrong with it. */
static void
test_decode_by_hand(void **state)
{
	static const struct {
		struct slice data;
		struct slice text;
		enum dot_outcome outcome;
		size_t left;
	} rows[] = {
		{ SLICE(""), SLICE(""), DOT_MORE, 0 },
		{ SLICE(".\r\n"), SLICE(""), DOT_END, 0 },
		{ SLICE(".\r\nQUIT\r\n"), SLICE(""), DOT_END, 6 },
		{ SLICE("a\r\n.\r\nx"), SLICE("a\n"), DOT_END, 1 },
		{ SLICE("..\r\n.\r\n"), SLICE(".\n"), DOT_END, 0 },
		{ SLICE("...\r\n.\r\n"), SLICE("..\n"), DOT_END, 0 },
		/* RFC 5321 4.5.2: the first dot goes, whatever follows. */
		{ SLICE(".a\r\n.\r\n"), SLICE("a\n"), DOT_END, 0 },
		{ SLICE("a.\r\n.\r\n"), SLICE("a.\n"), DOT_END, 0 },
		{ SLICE("\r\n\r\n.\r\n"), SLICE("\n\n"), DOT_END, 0 },
		{ SLICE("a\0b\xFF\r\n.\r\n"), SLICE("a\0b\xFF\n"), DOT_END,
		    0 },
		{ SLICE("RSET\r\nQUIT\r\n.\r\n"), SLICE("RSET\nQUIT\n"),
		    DOT_END, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t mode = 0; mode < COUNT(modes); mode++) {
			struct dot_decoder decoder;
			char data[64];
			size_t taken, made;

			memcpy(data, rows[i].data.data, rows[i].data.len);
			dot_decoder_init(&decoder, modes[mode]);
			assert_int_equal(dot_decode(&decoder, data,
			    rows[i].data.len, &taken, &made),
			    rows[i].outcome);
			assert_slices(((struct slice){ data, made }),
			    rows[i].text);
			assert_int_equal(rows[i].data.len - taken,
			    rows[i].left);
			assert_false(decoder.bare_cr);
			assert_false(decoder.bare_lf);
			/* RFC 1870: what was sent, without the dots added. */
			assert_int_equal(decoder.octets, rows[i].text.len);
			uint64_t lines = 0;
			for (size_t k = 0; k < rows[i].text.len; k++)
				lines += rows[i].text.data[k] == '\n';
			assert_int_equal(decoder.lines, lines);
		}
}

/* The variants of CVE-2023-51764, 51765, 51766 and their kin: "a", the
 * variant, then a command, then a true end. */
static void
test_smuggling(void **state)
{
	enum { END, GOES_ON, SMUGGLED };
	static const struct {
		struct slice variant;
		int outcomes[3]; /* by mode: reject, normalize, accept */
		bool bare_cr;
	} rows[] = {
		{ SLICE("\r\n.\r\n"), { END, END, END }, false },
		{ SLICE("\n.\n"), { SMUGGLED, GOES_ON, END }, false },
		{ SLICE("\n.\r\n"), { SMUGGLED, GOES_ON, END }, false },
		{ SLICE("\r\n.\n"), { SMUGGLED, GOES_ON, END }, false },
		{ SLICE("\r.\r"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\r.\r\n"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\r\n.\r"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\n.\r"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\r.\n"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\r\n.\r\r\n"), { GOES_ON, GOES_ON, GOES_ON }, true },
		{ SLICE("\r\r\n.\r\r\n"), { GOES_ON, GOES_ON, GOES_ON },
		    true },
		{ SLICE("\n.\r\r\n"), { GOES_ON, GOES_ON, GOES_ON }, true },
		/* The dot is alone after a true CRLF: that is the end, and
		 * the CR before it makes the message bad. */
		{ SLICE("\r\r\n.\r\n"), { END, END, END }, true },
		{ SLICE("\r\n\0.\r\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
		{ SLICE("\r\n.\0\r\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
		{ SLICE("\r\n .\r\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
		{ SLICE("\r\n. \r\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
		{ SLICE("\r\n..\r\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
		{ SLICE("\n..\n"), { GOES_ON, GOES_ON, GOES_ON }, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t mode = 0; mode < COUNT(modes); mode++) {
			int want = rows[i].outcomes[mode];
			struct text data = { .data = NULL };
			struct dot_decoder decoder;
			size_t taken, made;

			text_add(&data, SLICE("a"));
			text_add(&data, rows[i].variant);
			size_t end = data.len;
			text_add(&data, SLICE("MAIL FROM:<x@y>\r\n.\r\n"));
			if (want == GOES_ON)
				end = data.len;
			dot_decoder_init(&decoder, modes[mode]);
			enum dot_outcome outcome = dot_decode(&decoder,
			    data.data, data.len, &taken, &made);
			if (outcome != (want == SMUGGLED ? DOT_SMUGGLED
			    : DOT_END) || taken != end)
				fail_msg("row %zu, mode %zu: outcome %d, "
				    "taken %zu", i, mode, (int)outcome,
				    taken);
			assert_int_equal(decoder.bare_cr, rows[i].bare_cr);
			text_free(&data);
		}
}

/* A bare LF neither ends the data nor undoes a dot, but ends a line. */
static void
test_bare_lf_text(void **state)
{
	static const struct {
		struct slice data;
		struct slice text[2]; /* normalize, accept */
	} rows[] = {
		{ SLICE("a\nb\r\n.\r\n"), { SLICE("a\nb\n"),
		    SLICE("a\nb\n") } },
		{ SLICE("a\n..b\r\n.\r\n"), { SLICE("a\n..b\n"),
		    SLICE("a\n.b\n") } },
		{ SLICE("a\n.b\r\n.\r\n"), { SLICE("a\n.b\n"),
		    SLICE("a\nb\n") } },
		{ SLICE("\n\n\r\n.\r\n"), { SLICE("\n\n\n"),
		    SLICE("\n\n\n") } },
		{ SLICE("a\n.\nb\r\n.\r\n"), { SLICE("a\n.\nb\n"),
		    SLICE("a\n") } },
		{ SLICE("..\n..\n.\r\n\r\n.\r\n"), { SLICE(".\n..\n.\n\n"),
		    SLICE(".\n.\n") } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t mode = 1; mode < COUNT(modes); mode++) {
			struct dot_decoder decoder;
			char data[64];
			size_t taken, made;

			memcpy(data, rows[i].data.data, rows[i].data.len);
			dot_decoder_init(&decoder, modes[mode]);
			assert_int_equal(dot_decode(&decoder, data,
			    rows[i].data.len, &taken, &made), DOT_END);
			assert_slices(((struct slice){ data, made }),
			    rows[i].text[mode - 1]);
			assert_true(decoder.bare_lf);
		}
}

/* What was encoded is decoded again: the text with LF line ends. */
static void
test_round_trip(void **state)
{
	static char storage[2000];
	static char wire[2 * sizeof(storage) + DOT_END_MAX];
	uint64_t seed = 5;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		struct slice text = random_string(storage,
		    chance(&seed, sizeof(storage) - 1), &seed);
		size_t taken, made;

		/* As a stored message is: no CR, whole last line. */
		for (size_t k = 0; k < text.len; k++)
			if (storage[k] == '\r')
				storage[k] = '.';
		if (text.len > 0)
			storage[text.len - 1] = '\n';
		for (size_t mode = 0; mode < COUNT(modes); mode++) {
			struct dot_encoder encoder = { .in_line = false };
			struct dot_decoder decoder;
			struct slice rest = text;
			size_t n = dot_encode(&encoder, &rest, wire,
			    DOT_ENCODED_MAX(text.len));

			assert_int_equal(rest.len, 0);
			n += dot_encode_end(&encoder, wire + n);
			dot_decoder_init(&decoder, modes[mode]);
			assert_int_equal(dot_decode(&decoder, wire, n, &taken,
			    &made), DOT_END);
			assert_int_equal(taken, n);
			assert_slices(((struct slice){ wire, made }),
			    text.len > 0 ? text : SLICE("\n"));
			assert_false(decoder.bare_cr);
			assert_false(decoder.bare_lf);
			assert_int_equal(decoder.octets + decoder.lines,
			    encoder.octets);
			assert_int_equal(decoder.size, encoder.octets);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode_every_string),
		cmocka_unit_test(test_encode_top),
		cmocka_unit_test(test_encode_top_by_hand),
		cmocka_unit_test(test_encode_random),
		cmocka_unit_test(test_measure_every_string),
		cmocka_unit_test(test_measure_long),
		cmocka_unit_test(test_decode_every_string),
		cmocka_unit_test(test_decode_random),
		cmocka_unit_test(test_decode_unstuffed),
		cmocka_unit_test(test_decode_by_hand),
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_bare_lf_text),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests_name("dot", tests, set_up, tear_down);
}
