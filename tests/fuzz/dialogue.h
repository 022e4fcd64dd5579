/*
 * dialogue: the client's side of a session with a protocol core, and the
 * connection between them, for the fuzzers of the cores.
 *
 * The input's first line is a script: its first two octets choose options,
 * the others are the answers to the core's events, one each, in turn (0
 * where they are used up). The rest is what the client says. The pump deals
 * it out in pieces, drains the core's output in pieces, and notes all of it.
 */
#ifndef DIALOGUE_H
#define DIALOGUE_H

#include "fuzz.h"
#include "protocol/wire.h"

/* What the client may say, after fuzz_expand. */
#define DIALOGUE_MAX 20000

/* Never full: then a line would be lost. */
static char dialogue_trace[4 * DIALOGUE_MAX];

struct dialogue {
	struct slice client;
	struct slice script;
	unsigned options;
	bool may_hold_text; /* not every line of the client's is a command */

	struct wire *wire;
	size_t fed;               /* octets of client */
	unsigned lines;           /* wire->lines at the last pump */
	struct fuzz_dealer dealer;
	struct text sent;         /* what the core said */
	struct text events;       /* what it asked for, and other notes */
	struct text transcript;
	char *in;
	size_t in_size;
	char *out;
	size_t out_size;
	struct buf trace;
};

/* Cuts the input into script and client, whose octets go to *expanded. */
static inline void
dialogue_read(struct dialogue *dialogue, struct slice input,
    struct text *expanded)
{
	*dialogue = (struct dialogue){ .fed = 0 };
	slice_cut(input, '\n', &dialogue->script, &input);
	dialogue->options = fuzz_octet(&dialogue->script);
	dialogue->options |= fuzz_octet(&dialogue->script) << 8;
	fuzz_expand(input, DIALOGUE_MAX, expanded);
	dialogue->client = text_slice(expanded);
}

static inline unsigned
dialogue_answer(struct dialogue *dialogue)
{
	return fuzz_octet(&dialogue->script);
}

/* The same, and it stays the next one. */
static inline unsigned
dialogue_next_answer(const struct dialogue *dialogue)
{
	struct slice script = dialogue->script;

	return fuzz_octet(&script);
}

/* Storage of exactly these sizes. */
static inline void
dialogue_begin(struct dialogue *dialogue, enum fuzz_deal deal,
    size_t in_size, size_t out_size)
{
	dialogue->dealer = fuzz_dealer(deal, dialogue->client);
	dialogue->in_size = in_size;
	dialogue->out_size = out_size;
	dialogue->in = calloc(1, in_size);
	dialogue->out = calloc(1, out_size);
	CHECK(dialogue->in != NULL && dialogue->out != NULL);
	buf_init(&dialogue->trace, dialogue_trace, sizeof(dialogue_trace));
}

/* After the core's init. */
static inline void
dialogue_connect(struct dialogue *dialogue, struct wire *wire)
{
	dialogue->wire = wire;
	wire->transcript = &dialogue->trace;
}

static inline void
dialogue_end(struct dialogue *dialogue)
{
	free(dialogue->in);
	free(dialogue->out);
	text_free(&dialogue->sent);
	text_free(&dialogue->events);
	text_free(&dialogue->transcript);
}

/* Before there is too much of it, for then lines are lost. */
static inline void
dialogue_note_transcript(struct dialogue *dialogue)
{
	struct slice trace = buf_contents(&dialogue->trace);

	text_add(&dialogue->transcript, trace);
	buf_consume(&dialogue->trace, trace.len);
}

static inline void
dialogue_drain(struct dialogue *dialogue)
{
	struct buf *out = &dialogue->wire->out;
	struct slice contents = buf_contents(out);
	size_t n = fuzz_piece(&dialogue->dealer, contents.len);

	dialogue_note_transcript(dialogue);
	text_add(&dialogue->sent, (struct slice){ contents.data, n });
	buf_consume(out, n);
}

static inline void
dialogue_flush(struct dialogue *dialogue)
{
	while (buf_contents(&dialogue->wire->out).len > 0)
		dialogue_drain(dialogue);
	dialogue_note_transcript(dialogue);
}

/* How many octets the core has said so far, drained or not. */
static inline size_t
dialogue_said(const struct dialogue *dialogue)
{
	return dialogue->sent.len +
	    buf_contents(&dialogue->wire->out).len;
}

/* Octets of the client's that the core has taken. */
static inline size_t
dialogue_taken(const struct dialogue *dialogue)
{
	return dialogue->fed - buf_contents(&dialogue->wire->in).len;
}

/* The line that the core took last, without its end. */
static inline struct slice
dialogue_last_line(const struct dialogue *dialogue)
{
	struct slice said = { dialogue->client.data,
		dialogue_taken(dialogue) };

	if (said.len > 0 && said.data[said.len - 1] == '\n')
		said.len--;
	if (said.len > 0 && said.data[said.len - 1] == '\r')
		said.len--;
	const char *start = said.len == 0 ? NULL
	    : memrchr(said.data, '\n', said.len);
	return start == NULL ? said
	    : slice_skip(said, (size_t)(start - said.data) + 1);
}

/* Its last word. */
static inline struct slice
dialogue_last_word(const struct dialogue *dialogue)
{
	struct slice line = dialogue_last_line(dialogue);
	const char *blank = line.len == 0 ? NULL
	    : memrchr(line.data, ' ', line.len);

	return blank == NULL ? line
	    : slice_skip(line, (size_t)(blank - line.data) + 1);
}

#define SECRET_PART 6

/*
 * After a secret was said, whatever became of it: nothing of it is left in
 * the wire's storage, but for what the client says next. Parts of it are
 * looked for, for it may have come in pieces; what the client said elsewhere
 * too proves nothing.
 */
static inline void
dialogue_check_forgotten(const struct dialogue *dialogue)
{
	struct slice secret = dialogue_last_word(dialogue);
	const struct buf *in = &dialogue->wire->in;
	struct slice before = { in->data, in->start };
	struct slice after = { in->data + in->end, in->size - in->end };

	if (secret.len > 3 * SECRET_PART)
		secret = slice_skip(secret, secret.len - 3 * SECRET_PART);
	for (; secret.len >= SECRET_PART; secret = slice_skip(secret, 1)) {
		struct slice part = { secret.data, SECRET_PART };
		struct slice rest = slice_skip(dialogue->client,
		    fuzz_find(dialogue->client, part) + 1);

		/* Zeros are what it was overwritten with. */
		if (fuzz_find(rest, part) < rest.len ||
		    memchr(part.data, '\0', part.len) != NULL)
			continue;
		CHECK(fuzz_find(before, part) == before.len);
		CHECK(fuzz_find(after, part) == after.len);
	}
}

/*
 * What conn_pump does: output first, else input, else the end, of which
 * there are three kinds. A core that wants more after that would hang.
 */
static inline void
dialogue_pump(struct dialogue *dialogue, unsigned end)
{
	struct wire *wire = dialogue->wire;
	struct slice rest = slice_skip(dialogue->client, dialogue->fed);
	size_t room;

	dialogue_note_transcript(dialogue);
	/* Of an over-long line the end may be still to come. */
	if (wire->lines != dialogue->lines && !wire->text &&
	    !wire->overlong && !dialogue->may_hold_text) {
		struct slice line = dialogue_last_line(dialogue);

		dialogue->lines = wire->lines;
		if (slice_starts_with_nocase(line, SLICE("PASS ")) ||
		    slice_starts_with_nocase(line, SLICE("AUTH ")))
			dialogue_check_forgotten(dialogue);
	}
	if (buf_contents(&wire->out).len > 0) {
		dialogue_drain(dialogue);
		return;
	}
	if (rest.len == 0) {
		CHECK(!wire->eof && !wire->timed_out && !wire->stopping);
		*(end % 3 == 0 ? &wire->eof : end % 3 == 1
		    ? &wire->timed_out : &wire->stopping) = true;
		return;
	}
	char *at = buf_reserve(&wire->in, &room);
	CHECK(room > 0); /* or nothing would ever go on */
	size_t n = fuzz_piece(&dialogue->dealer,
	    rest.len < room ? rest.len : room);
	memcpy(at, rest.data, n);
	buf_commit(&wire->in, n);
	dialogue->fed += n;
}

/*
 * For TLS, at the go-ahead: an honest client waits for it with what it says
 * next. So what came too early is forgotten, as it must be, and said again.
 */
static inline void
dialogue_start_tls(struct dialogue *dialogue)
{
	dialogue_flush(dialogue);
	/* Somebody between the peer and us says something in clear text. */
	CHECK(buf_append(&dialogue->wire->in, SLICE("QUIT\r\nQUI")));
}

/* The core has forgotten it, by itself. */
static inline void
dialogue_check_tls(const struct dialogue *dialogue)
{
	CHECK(!wire_mid_line(dialogue->wire));
	for (size_t i = 0; i < dialogue->in_size; i++)
		CHECK(dialogue->in[i] == '\0');
}

/* Lines "> command" and "< reply": no secrets of these verbs. */
static inline void
dialogue_check_transcript(const struct dialogue *dialogue,
    const struct slice *secret_verbs, size_t n)
{
	struct slice rest = text_slice(&dialogue->transcript), line;

	while (rest.len > 0) {
		CHECK(slice_cut(rest, '\n', &line, &rest));
		for (size_t i = 0; i < n; i++)
			if (slice_starts_with(line, SLICE("> ")) &&
			    slice_starts_with_nocase(slice_skip(line, 2),
			    secret_verbs[i]))
				CHECK(line.len == 2 + secret_verbs[i].len);
	}
}

/* ---- replies ---- */

/* The next line of what the core said: ended by CRLF, with nothing in it
 * that a terminal or a client could take for something else. */
static inline struct slice
dialogue_reply_line(struct slice *sent)
{
	struct slice line;

	CHECK(slice_cut(*sent, '\n', &line, sent));
	CHECK(line.len > 0 && line.data[line.len - 1] == '\r');
	line.len--;
	CHECK(!slice_has_control(line));
	return line;
}

#endif
