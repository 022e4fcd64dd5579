/*
 * smtp_reader: an SMTP or LMTP dialogue read once more, by somebody who
 * knows what both sides said and nothing of the core.
 *
 * It follows the client's octets with the replies as its guide: where a
 * command ends, where a text does, what the text is. What the core gave to
 * its program must be the same, or something was smuggled past one of them;
 * and each command must have the one reply that it may have.
 */
#ifndef SMTP_READER_H
#define SMTP_READER_H

#include "dialogue.h"

#include <regex.h>

#include "smtp/smtp.h" /* for its limits */

/* What the program did about one text, in the order they came. */
struct text_verdict {
	unsigned begin_code; /* refused before it came; 0: not */
	size_t refuse_at;    /* refused after so many octets; 0: never */
};

struct smtp_reader {
	/* Set by the caller. */
	const struct dialogue *dialogue;
	enum dot_bare_lf bare_lf;
	uint64_t max_size;
	bool lmtp;
	const struct text_verdict *verdicts;
	size_t n_verdicts;
	struct slice kept;       /* all messages that the program was given */
	const size_t *kept_lens; /* and where each of them ends in there */
	size_t n_kept;
	struct slice scripted;   /* where replies of the program's begin: a
	                          * size_t each */

	/* The reader's own. */
	struct slice client; /* what was not answered yet */
	struct slice sent;
	enum { OUTSIDE, SENDER, RECIPIENTS, CHUNKS, FAILED } transaction;
	size_t recipients;
	struct text chunks;  /* of the transaction so far */
	bool refused;        /* by the program, in a chunk */
	unsigned refusal;
	size_t texts;
	size_t messages;
	unsigned lines;
	bool in_sasl;
	bool told; /* that a token is refused: the program's reply is next */
	bool closed; /* there can be nothing more */
};

/* ---- replies ---- */

struct smtp_said {
	unsigned code;
	bool enhanced; /* all of its lines have such a code */
	bool scripted; /* the program's: it may be anything */
};

/* "2.1.5 ", of the class of the code (RFC 2034 section 4). */
static inline bool
reader_has_enhanced(struct slice text, char class)
{
	struct slice word, rest;
	size_t dots = 0;

	slice_cut(text, ' ', &word, &rest);
	if (word.len < 5 || word.data[0] != class || word.data[1] != '.' ||
	    word.data[word.len - 1] == '.')
		return false;
	for (size_t i = 0; i < word.len; i++) {
		dots += word.data[i] == '.';
		if (word.data[i] != '.' &&
		    (word.data[i] < '0' || word.data[i] > '9'))
			return false;
	}
	return dots == 2;
}

static inline bool
reader_is_scripted(const struct smtp_reader *reader, size_t at)
{
	struct slice offsets = reader->scripted;

	for (; offsets.len > 0; offsets = slice_skip(offsets, sizeof(at)))
		if (memcmp(offsets.data, &at, sizeof(at)) == 0)
			return true;
	return false;
}

/* RFC 5321 4.2: every line has the code, and the last one a blank after
 * it. */
static inline struct smtp_said
reader_take_reply(struct smtp_reader *reader)
{
	struct smtp_said said = { .code = 0, .enhanced = true };
	struct slice line;

	said.scripted = reader->told || reader_is_scripted(reader,
	    reader->dialogue->sent.len - reader->sent.len);
	do {
		line = dialogue_reply_line(&reader->sent);
		CHECK(line.len >= 4);
		CHECK(line.data[0] >= '2' && line.data[0] <= '5');
		CHECK(line.data[1] >= '0' && line.data[1] <= '9');
		CHECK(line.data[2] >= '0' && line.data[2] <= '9');
		CHECK(line.data[3] == '-' || line.data[3] == ' ');
		unsigned code = (unsigned)(100 * (line.data[0] - '0') +
		    10 * (line.data[1] - '0') + line.data[2] - '0');
		CHECK(said.code == 0 || said.code == code);
		said.code = code;
		said.enhanced = said.enhanced &&
		    reader_has_enhanced(slice_skip(line, 4), line.data[0]);
	} while (line.data[3] == '-');
	/* 521 from somewhere else is no end. */
	reader->closed = said.code == 421 ||
	    (said.code == 521 && !said.scripted);
	return said;
}

/* To a message's end: one, or in LMTP one for each recipient. */
static inline struct smtp_said
reader_take_verdict(struct smtp_reader *reader)
{
	struct smtp_said first = reader_take_reply(reader);
	struct smtp_said said = first;

	for (size_t i = 1; reader->lmtp && i < reader->recipients &&
	    said.code != 421; i++) {
		said = reader_take_reply(reader);
		/* The program may answer for each as it likes. */
		CHECK(said.code == first.code || said.scripted ||
		    first.scripted);
		reader->closed = said.code == 421;
	}
	return first;
}

/* Between command and reply the session was over, perhaps with a word on
 * it. */
static inline void
reader_take_end(struct smtp_reader *reader)
{
	if (reader->sent.len > 0)
		CHECK(reader_take_reply(reader).code == 421);
	reader->closed = true;
}

/* ---- texts ---- */

struct found {
	enum { TEXT_UNENDED, TEXT_ENDED, TEXT_SMUGGLED } ending;
	struct text text; /* with LF line ends */
	bool bare_cr;
	bool bare_lf;
	uint64_t size;    /* RFC 1870: with CRLF line ends, those that came */
};

static inline struct text_verdict
reader_next_verdict(struct smtp_reader *reader)
{
	CHECK(reader->texts < reader->n_verdicts);
	return reader->verdicts[reader->texts++];
}

/* What must be said of it: 0 where nothing is wrong. */
static inline unsigned
reader_judge(const struct smtp_reader *reader, const struct found *found,
    bool too_big, bool refused, unsigned refusal)
{
	if (found->bare_cr ||
	    (found->bare_lf && reader->bare_lf == DOT_BARE_LF_REJECT))
		return 550;
	if (too_big || found->size > reader->max_size)
		return 552;
	return refused ? refusal : 0;
}

/* It was given to the program, as it is. */
static inline void
reader_check_message(struct smtp_reader *reader, struct slice text)
{
	CHECK(reader->messages < reader->n_kept);
	size_t start = reader->messages == 0 ? 0
	    : reader->kept_lens[reader->messages - 1];
	size_t end = reader->kept_lens[reader->messages++];
	struct slice message = slice_skip(reader->kept, start);

	message.len = end - start;
	CHECK_SAME(message, text);
}

/* ---- DATA ---- */

/* Is this line, which stands between these two line ends, the end? */
static inline bool
reader_ends_text(struct slice line, bool after_crlf, bool crlf,
    enum dot_bare_lf bare_lf)
{
	return slice_equal(line, SLICE(".")) && ((after_crlf && crlf) ||
	    bare_lf != DOT_BARE_LF_NORMALIZE);
}

static inline void
reader_find_text(struct smtp_reader *reader, struct found *found)
{
	bool after_crlf = true;
	struct slice line, rest;

	while (slice_cut(reader->client, '\n', &line, &rest)) {
		bool crlf = line.len > 0 && line.data[line.len - 1] == '\r';

		reader->client = rest;
		line.len -= crlf;
		found->bare_lf |= !crlf;
		found->bare_cr |= line.len > 0 &&
		    memchr(line.data, '\r', line.len) != NULL;
		if (reader_ends_text(line, after_crlf, crlf,
		    reader->bare_lf)) {
			found->ending = (after_crlf && crlf) ||
			    reader->bare_lf == DOT_BARE_LF_ACCEPT
			    ? TEXT_ENDED : TEXT_SMUGGLED;
			return;
		}
		if (slice_starts_with(line, SLICE(".")) && (after_crlf ||
		    reader->bare_lf == DOT_BARE_LF_ACCEPT))
			line = slice_skip(line, 1);
		text_add(&found->text, line);
		text_add_octet(&found->text, '\n');
		found->size += line.len + 2;
		after_crlf = crlf;
	}
}

/* After the 354. */
static inline void
reader_take_text(struct smtp_reader *reader, struct text_verdict verdict)
{
	struct found found = { .ending = TEXT_UNENDED };

	reader_find_text(reader, &found);
	switch (found.ending) {
	case TEXT_UNENDED:
		reader_take_end(reader);
		break;
	case TEXT_SMUGGLED:
		CHECK(reader_take_reply(reader).code == 521);
		break;
	case TEXT_ENDED: {
		unsigned code = reader_judge(reader, &found, false,
		    verdict.refuse_at > 0 &&
		    found.text.len >= verdict.refuse_at, 452);
		struct smtp_said said = reader_take_verdict(reader);
		if (code == 0) {
			CHECK(said.code == 250 || said.scripted);
			reader_check_message(reader,
			    text_slice(&found.text));
		} else {
			CHECK(said.code == code);
		}
	}
	}
	reader->transaction = OUTSIDE;
	text_free(&found.text);
}

/* ---- BDAT (RFC 3030) ---- */

struct chunk {
	uint64_t size;
	bool endless; /* more than 64 bits can say */
	bool good;    /* its line is as it should be */
	bool last;
};

/* "BDAT size [LAST]": where it begins with digits, so many octets follow,
 * whatever else is wrong with it. */
static inline struct chunk
reader_read_chunk(struct slice argument)
{
	struct chunk chunk = { .size = 0 };
	struct slice size, last;
	size_t digits = 0;

	slice_cut(slice_trim(argument), ' ', &size, &last);
	for (; digits < size.len && size.data[digits] >= '0' &&
	    size.data[digits] <= '9'; digits++) {
		uint64_t digit = (uint64_t)(size.data[digits] - '0');

		chunk.endless |= chunk.size > (UINT64_MAX - digit) / 10;
		chunk.size = chunk.size * 10 + digit;
	}
	last = slice_trim(last);
	chunk.last = slice_equal_nocase(last, SLICE("LAST"));
	chunk.good = digits > 0 && digits == size.len &&
	    (last.len == 0 || chunk.last);
	return chunk;
}

/* All chunks so far. What the end of the text makes of its end is not
 * looked at before. */
static inline void
reader_decode_chunks(const struct smtp_reader *reader, bool ended,
    struct found *found)
{
	struct slice raw = text_slice(&reader->chunks);

	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.data[i];
		bool after_cr = i > 0 && raw.data[i - 1] == '\r';

		found->bare_cr |= after_cr && c != '\n';
		found->bare_lf |= c == '\n' && !after_cr;
		found->size += c == '\n' ? 2 : c == '\r' ? 0 : 1;
		if (c != '\r')
			text_add_octet(&found->text, c);
	}
	if (!ended || raw.len == 0 || raw.data[raw.len - 1] == '\n')
		return;
	found->bare_cr |= raw.data[raw.len - 1] == '\r';
	text_add_octet(&found->text, '\n');
}

static inline uint64_t
reader_chunks_size(const struct smtp_reader *reader)
{
	struct found found = { .size = 0 };

	reader_decode_chunks(reader, false, &found);
	text_free(&found.text);
	return found.size;
}

static inline void
reader_end_chunks(struct smtp_reader *reader)
{
	reader->chunks.len = 0;
	reader->refused = false;
}

/* The octets of a chunk that has its place are there. */
static inline void
reader_judge_chunk(struct smtp_reader *reader, struct chunk chunk,
    bool too_big, size_t refuse_at, struct smtp_said *said)
{
	struct found found = { .size = 0 };

	reader_decode_chunks(reader, chunk.last, &found);
	if (refuse_at > 0 && found.text.len >= refuse_at &&
	    !reader->refused) {
		reader->refused = true;
		reader->refusal = 452;
	}
	unsigned code = reader_judge(reader, &found, too_big,
	    reader->refused, reader->refusal);
	*said = chunk.last ? reader_take_verdict(reader)
	                   : reader_take_reply(reader);
	if (code != 0) {
		CHECK(said->code == code);
		reader->transaction = FAILED;
	} else if (chunk.last) {
		CHECK(said->code == 250 || said->scripted);
		reader_check_message(reader, text_slice(&found.text));
		reader->transaction = OUTSIDE;
	} else {
		CHECK(said->code == 250);
		reader->transaction = CHUNKS;
	}
	text_free(&found.text);
}

/* wrong: the line itself is. */
static inline void
reader_take_chunk(struct smtp_reader *reader, struct slice argument,
    bool wrong)
{
	struct chunk chunk = reader_read_chunk(argument);
	bool first = reader->transaction == RECIPIENTS;
	bool placed = first || reader->transaction == CHUNKS;
	struct smtp_said said;

	if (chunk.endless || (!placed && chunk.size > reader->max_size)) {
		CHECK(reader_take_reply(reader).code == 521);
		return;
	}
	wrong |= !chunk.good;
	bool too_big = !wrong && placed && (chunk.size > reader->max_size ||
	    reader_chunks_size(reader) > reader->max_size - chunk.size);
	if (first && !wrong && !too_big) {
		struct text_verdict verdict = reader_next_verdict(reader);
		reader->refused = verdict.begin_code != 0;
		reader->refusal = verdict.begin_code;
	}
	if (chunk.size > reader->client.len) {
		reader_take_end(reader);
		return;
	}
	struct slice octets = { reader->client.data, (size_t)chunk.size };
	reader->client = slice_skip(reader->client, octets.len);
	if (!placed || wrong) {
		said = reader_take_reply(reader);
		CHECK(said.code >= 400);
		if (placed && chunk.last && !reader->closed)
			for (size_t i = 1; reader->lmtp &&
			    i < reader->recipients; i++)
				CHECK(reader_take_reply(reader).code ==
				    said.code);
		/* The message lacks a piece now, for good. */
		if (placed || reader->transaction == SENDER)
			reader->transaction = FAILED;
	} else {
		text_add(&reader->chunks, octets);
		reader_judge_chunk(reader, chunk, too_big,
		    reader->texts == 0 ? 0
		    : reader->verdicts[reader->texts - 1].refuse_at, &said);
	}
	if (reader->transaction != CHUNKS)
		reader_end_chunks(reader);
}

/* ---- commands ---- */

/* At the first blank. */
static inline void
reader_cut(struct slice line, struct slice *verb, struct slice *argument)
{
	size_t n = 0;

	while (n < line.len && line.data[n] != ' ' && line.data[n] != '\t')
		n++;
	*argument = slice_skip(line, n < line.len ? n + 1 : n);
	*verb = (struct slice){ line.data, n };
}

static inline bool
reader_is(struct slice verb, const char *name)
{
	return slice_equal_nocase(verb, slice_from(name));
}

static inline bool
reader_is_hello(const struct smtp_reader *reader, struct slice verb)
{
	return reader->lmtp ? reader_is(verb, "LHLO")
	    : reader_is(verb, "EHLO") || reader_is(verb, "HELO");
}

/* A line of another protocol where no command of ours is. */
static inline bool
reader_is_foreign(const struct smtp_reader *reader, struct slice verb,
    struct slice line)
{
	static const char *const ours[] = { "STARTTLS", "AUTH", "MAIL",
		"RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN",
		"HELP", "QUIT" };
	static regex_t pattern;
	static bool compiled;
	regmatch_t at = { 0, (regoff_t)line.len };

	if (reader->in_sasl || reader_is_hello(reader, verb))
		return false;
	for (size_t i = 0; i < COUNT(ours); i++)
		if (reader_is(verb, ours[i]))
			return false;
	if (!compiled)
		CHECK(regcomp(&pattern, "^(GET|HEAD|POST|PUT|DELETE|CONNECT|"
		    "OPTIONS|TRACE|PATCH|PRI|PROPFIND|MKCOL|INVITE|REGISTER|"
		    "DESCRIBE)( |$)|^[!#$%&'*+.^_`|~A-Za-z0-9-]+:([^<]|$)|"
		    "[^ \t][^\n]* (HTTP|RTSP|SIP)/[0-9][.][0-9][ \t]*$",
		    REG_EXTENDED | REG_ICASE) == 0);
	compiled = true;
	/* The sanitizers look for a NUL behind it. */
	struct text copy = { .data = NULL };
	text_add(&copy, line);
	text_add_octet(&copy, '\0');
	bool found = regexec(&pattern, copy.data, 1, &at, REG_STARTEND) == 0;
	text_free(&copy);
	return found;
}

/* May a command have this reply? */
static inline void
reader_check_reply(const struct smtp_reader *reader, struct slice verb,
    struct smtp_said said)
{
	bool auth = reader_is(verb, "AUTH") || reader->in_sasl;

	switch (said.code) {
	case 220:
		CHECK(reader_is(verb, "STARTTLS"));
		break;
	case 221:
		CHECK(reader_is(verb, "QUIT"));
		break;
	case 235:
	case 334:
		CHECK(auth && reader->transaction == OUTSIDE);
		break;
	case 250:
		CHECK(reader_is_hello(reader, verb) ||
		    reader_is(verb, "RSET") || reader_is(verb, "NOOP") ||
		    (reader_is(verb, "MAIL") &&
		    reader->transaction == OUTSIDE) ||
		    (reader_is(verb, "RCPT") &&
		    (reader->transaction == SENDER ||
		    reader->transaction == RECIPIENTS)) ||
		    (auth && said.scripted));
		break;
	case 354:
		CHECK(reader_is(verb, "DATA") && !reader->in_sasl &&
		    reader->transaction == RECIPIENTS);
		break;
	}
	/* RFC 2034 section 4: all but the answers to EHLO and its like, and
	 * 3yz, have an enhanced code. */
	CHECK(said.code / 100 == 3 || said.scripted ||
	    reader_is(verb, "EHLO") || reader_is(verb, "HELO") ||
	    reader_is(verb, "LHLO") || said.enhanced);
}

/* Where it leaves the transaction. */
static inline void
reader_follow(struct smtp_reader *reader, struct slice verb, unsigned code)
{
	if (reader->in_sasl || (code != 250 && code != 220))
		return;
	if (reader_is(verb, "MAIL")) {
		reader->transaction = SENDER;
		reader->recipients = 0;
	} else if (reader_is(verb, "RCPT")) {
		reader->transaction = RECIPIENTS;
		reader->recipients++;
	} else if (reader_is(verb, "RSET") || reader_is(verb, "STARTTLS") ||
	    reader_is_hello(reader, verb)) {
		reader->transaction = OUTSIDE;
		reader_end_chunks(reader);
	}
}

static inline void
reader_take_command(struct smtp_reader *reader, struct slice line)
{
	struct slice verb, argument;
	size_t whole = line.len + 1;
	bool crlf = line.len > 0 && line.data[line.len - 1] == '\r';
	bool bare = !crlf && reader->bare_lf == DOT_BARE_LF_REJECT;

	line.len -= crlf;
	reader_cut(line, &verb, &argument);
	if (reader_is(verb, "BDAT") && !reader->in_sasl &&
	    whole <= SASL_LINE_MAX) {
		reader_take_chunk(reader, argument, bare ||
		    line.len + 2 > SMTP_LINE_MAX ||
		    slice_has_control(slice_trim(argument)));
		return;
	}
	struct smtp_said said = reader_take_reply(reader);
	reader_check_reply(reader, verb, said);
	/* A bare LF ends no command; nor can anything be made of a BDAT that
	 * is too long to be read. */
	struct slice head = line;
	if (whole > SASL_LINE_MAX)
		head.len = WIRE_HEAD;
	bool foreign = reader_is_foreign(reader, verb, head);
	CHECK(!foreign || said.code == 521 || said.code == 421);
	CHECK(foreign || said.code != 521 || said.scripted ||
	    reader_is(verb, "BDAT"));
	CHECK(!bare || foreign || said.code == 500 || said.code == 421 ||
	    (said.code == 521 && reader_is(verb, "BDAT") &&
	    whole > SASL_LINE_MAX));
	/* The program was asked, and said yes or no. */
	bool data = reader_is(verb, "DATA") && !reader->in_sasl &&
	    (said.code == 354 || said.scripted);
	reader_follow(reader, verb, said.code);
	reader->in_sasl = said.code == 334;
	reader->told = reader->in_sasl && said.scripted;
	reader->closed |= said.code == 221;
	if (!data)
		return;
	struct text_verdict verdict = reader_next_verdict(reader);
	CHECK((said.code == 354) == (verdict.begin_code == 0));
	if (said.code == 354)
		reader_take_text(reader, verdict);
}

/* The session ended in a chunk, which so has no reply. */
static inline bool
reader_is_in_chunk(const struct smtp_reader *reader)
{
	struct slice line, rest, verb, argument;

	if (reader->closed || reader->in_sasl ||
	    !slice_cut(reader->client, '\n', &line, &rest))
		return false;
	reader_cut(line, &verb, &argument);
	if (argument.len > 0 && argument.data[argument.len - 1] == '\r')
		argument.len--;
	return reader_is(verb, "BDAT") && line.len < SASL_LINE_MAX &&
	    reader_read_chunk(argument).size > rest.len;
}

/* Every line that was taken has its reply, and there is no other. */
static inline void
reader_read(struct smtp_reader *reader)
{
	reader->client = reader->dialogue->client;
	reader->sent = text_slice(&reader->dialogue->sent);
	CHECK(reader_take_reply(reader).code == 220);
	while (reader->sent.len > 0 || reader_is_in_chunk(reader)) {
		struct slice line, rest;

		CHECK(!reader->closed);
		if (!slice_cut(reader->client, '\n', &line, &rest)) {
			/* The time is over, or the program. */
			CHECK(reader_take_reply(reader).code == 421);
			CHECK(reader->sent.len == 0);
			break;
		}
		reader->client = rest;
		reader->lines++;
		reader_take_command(reader, line);
	}
	/* As many messages as there are texts, each its own. */
	CHECK(reader->messages == reader->n_kept);
	text_free(&reader->chunks);
}

#endif
