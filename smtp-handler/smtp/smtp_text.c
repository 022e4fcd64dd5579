/*
 * smtp_text.c - message text, by DATA and by BDAT.
 *
 * What is text here is text: no command is looked for in it. A refusal is
 * kept until the text is over, since the client is still sending.
 */
#include "smtp/smtp_private.h"

#include <assert.h>

void
smtp_refuse_text(struct smtp *smtp, const struct smtp_reply *reply)
{
	smtp->refused = true;
	smtp->refusal = *reply;
}

void
smtp_begin_text(struct smtp *smtp)
{
	smtp->state = smtp->chunked ? SMTP_CHUNK : SMTP_TEXT;
	smtp->wire.text = true;
	smtp->text_ended = false;
	dot_decoder_init(&smtp->decoder, smtp->options.bare_lf);
	smtp->decoder.unstuffed = smtp->chunked;
}

/*
 * What is wrong with the text so far, or NULL. In this order, and before
 * any refusal of the program's: the reply must not depend on how the text
 * was cut on its way.
 */
static const struct smtp_reply *
find_fault(struct smtp *smtp)
{
	const struct dot_decoder *decoder = &smtp->decoder;

	smtp->size = decoder->size;
	smtp->octets = decoder->octets + decoder->lines;
	if (decoder->bare_cr)
		return &smtp_replies[REPLY_TEXT_BARE_CR];
	if (decoder->bare_lf && smtp->options.bare_lf == DOT_BARE_LF_REJECT)
		return &smtp_replies[REPLY_TEXT_BARE_LF];
	if (smtp->size > smtp->options.max_size)
		return &smtp_replies[REPLY_TOO_BIG];
	return NULL;
}

/* The text, or a chunk of it, is over: what is to be said of it? */
static void
judge_text(struct smtp *smtp)
{
	const struct smtp_reply *fault = find_fault(smtp);

	if (fault != NULL)
		smtp_refuse_text(smtp, fault);
}

static void
hand_on(struct smtp *smtp, struct slice text)
{
	if (find_fault(smtp) != NULL || text.len == 0 || smtp->refused)
		return;
	smtp->text = text;
	smtp->pending = SMTP_DATA;
}

/* ---- DATA (RFC 5321 4.1.1.4) ---- */

static void
end_text(struct smtp *smtp)
{
	judge_text(smtp);
	smtp->wire.text = false;
	if (smtp->refused) {
		smtp_ask_reset(smtp, SMTP_AFTER_REFUSAL);
	} else {
		smtp->pending = SMTP_DATA_END;
	}
}

bool
smtp_take_text(struct smtp *smtp)
{
	struct buf *in = &smtp->wire.in;
	size_t taken, made;

	if (smtp->text_ended) {
		end_text(smtp);
		return true;
	}
	if (in->start == in->end)
		return false;
	char *data = in->data + in->start;
	enum dot_outcome outcome = dot_decode(&smtp->decoder, data,
	    in->end - in->start, &taken, &made);
	buf_consume(in, taken);
	if (outcome == DOT_SMUGGLED) {
		/* Whoever sends this hopes that what follows will be taken
		 * for commands by somebody: nothing of it is looked at. */
		smtp_refuse_text(smtp, &smtp_replies[REPLY_SMUGGLING]);
		smtp->wire.text = false;
		smtp_say(smtp, REPLY_SMUGGLING);
		return true;
	}
	smtp->text_ended = outcome == DOT_END;
	hand_on(smtp, (struct slice){ data, made });
	return true;
}

/* ---- BDAT (RFC 3030) ---- */

/* Why no chunk may come now, or REPLY_NONE. */
static enum smtp_reply_id
out_of_order(const struct smtp *smtp)
{
	switch (smtp->state) {
	case SMTP_COLD:
		return smtp->options.lmtp ? REPLY_LHLO_FIRST
		                          : REPLY_HELLO_FIRST;
	case SMTP_READY:
		return REPLY_MAIL_FIRST;
	case SMTP_SENDER:
		return REPLY_RCPT_FIRST;
	case SMTP_FAILED:
		return REPLY_RSET_FIRST;
	default:
		return REPLY_NONE;
	}
}

/* The chunk's size, if it can be read at all: whatever else is wrong with the
 * line, so many octets follow. False where it has more than 64 bits. */
static bool
take_chunk_size(struct smtp *smtp, struct slice argument,
    enum smtp_reply_id *wrong)
{
	struct slice size, last;
	uint64_t digits = 0;

	slice_cut(argument, ' ', &size, &last);
	last = slice_trim(last);
	assert(smtp->chunk_left == 0); /* a chunk is always read to its end */
	smtp->chunk_last = slice_equal_nocase(last, SLICE("LAST"));
	while (digits < size.len && size.data[digits] >= '0' &&
	    size.data[digits] <= '9')
		digits++;
	if (digits > 0 && !slice_to_number((struct slice){ size.data, digits },
	    UINT64_MAX, &smtp->chunk_left))
		return false;
	if (*wrong == REPLY_NONE && (digits == 0 ||
	    digits < size.len || (last.len > 0 && !smtp->chunk_last)))
		*wrong = REPLY_CHUNK_SYNTAX;
	return true;
}

void
smtp_begin_chunk(struct smtp *smtp, struct slice argument,
    enum smtp_reply_id wrong)
{
	bool first = smtp->state == SMTP_RECIPIENTS;

	if (wrong == REPLY_NONE)
		wrong = out_of_order(smtp);
	if (!take_chunk_size(smtp, argument, &wrong)) {
		smtp_say(smtp, REPLY_CHUNK_ENDLESS);
		return;
	}
	bool placed = first || smtp->state == SMTP_CHUNKS;
	if (!placed && smtp->chunk_left > smtp->options.max_size) {
		smtp_say(smtp, REPLY_CHUNK_TOO_LONG);
		return;
	}
	smtp->wire.text = true;
	if (!placed) {
		smtp->skip_reply = wrong;
		/* RFC 3030 2: what the message lacks now cannot be mended by
		 * a recipient and another chunk. */
		smtp->after_skip = smtp->state == SMTP_SENDER ? SMTP_FAILED
		                                              : smtp->state;
		smtp->state = SMTP_SKIP;
		return;
	}
	/* RFC 3030 2: a failure is told after the chunk. */
	uint64_t before = first ? 0 : smtp->size;
	if (wrong == REPLY_NONE && (before > smtp->options.max_size ||
	    smtp->chunk_left > smtp->options.max_size - before))
		wrong = REPLY_TOO_BIG;
	smtp->chunked = true;
	if (wrong != REPLY_NONE) {
		if (first)
			smtp_begin_text(smtp);
		if (wrong != REPLY_TOO_BIG)
			wrong = smtp_count_bad(smtp, wrong);
		smtp_refuse_text(smtp, &smtp_replies[wrong]);
	} else if (first) {
		smtp->pending = SMTP_DATA_BEGIN;
		return;
	}
	smtp->state = SMTP_CHUNK;
}

static bool
end_chunk(struct smtp *smtp)
{
	char line_end;

	if (smtp->chunk_last && !smtp->text_ended) {
		smtp->text_ended = true;
		/* Also of what is refused: it may end in a bare CR. */
		size_t made = dot_decode_end(&smtp->decoder, &line_end);
		hand_on(smtp, made > 0 ? SLICE("\n") : SLICE(""));
		return true;
	}
	judge_text(smtp);
	smtp->wire.text = false;
	if (smtp->refused) {
		smtp_ask_reset(smtp, SMTP_AFTER_CHUNK);
	} else if (smtp->chunk_last) {
		smtp->pending = SMTP_DATA_END;
	} else {
		smtp->state = SMTP_CHUNKS;
		smtp_say(smtp, REPLY_CHUNK_TAKEN);
	}
	return true;
}

/* Octets of the chunk that are there, taken out of in. */
static size_t
take_octets(struct smtp *smtp, char **data)
{
	struct buf *in = &smtp->wire.in;
	size_t len = in->end - in->start;

	if (len > smtp->chunk_left)
		len = (size_t)smtp->chunk_left;
	*data = in->data + in->start;
	buf_consume(in, len);
	smtp->chunk_left -= len;
	return len;
}

bool
smtp_take_chunk(struct smtp *smtp)
{
	size_t taken, made;
	char *data;

	if (smtp->chunk_left == 0)
		return end_chunk(smtp);
	size_t len = take_octets(smtp, &data);
	if (len == 0)
		return false;
	dot_decode(&smtp->decoder, data, len, &taken, &made);
	hand_on(smtp, (struct slice){ data, made });
	return true;
}

bool
smtp_skip_chunk(struct smtp *smtp)
{
	char *data;

	if (smtp->chunk_left > 0)
		return take_octets(smtp, &data) > 0;
	smtp->wire.text = false;
	smtp->state = smtp->after_skip;
	/* RFC 3030 4.2: what was in the pipeline behind a failed chunk is no
	 * fault of its own. */
	if (smtp->skip_reply == REPLY_RSET_FIRST)
		smtp_say(smtp, REPLY_RSET_FIRST);
	else
		smtp_refuse_order(smtp, smtp->skip_reply);
	return true;
}
