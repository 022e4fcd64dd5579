/*
 * dot.c - dot-stuffing and line ends, both ways.
 *
 * Both directions run line by line on memchr and memcpy; what happens at
 * the seams (a CR, a dot or an LF that begins the next piece) is state.
 */
#include "protocol/dot.h"

#include <assert.h>
#include <string.h>

void
dot_encoder_limit(struct dot_encoder *encoder, uint64_t n)
{
	encoder->limited = true;
	encoder->lines = n;
}

/* A line was ended: for TOP, was it the last one wanted? */
static void
line_ended(struct dot_encoder *encoder, bool empty)
{
	if (!encoder->limited)
		return;
	if (encoder->in_body)
		encoder->lines--;
	else if (empty)
		encoder->in_body = true;
	encoder->enough = encoder->in_body && encoder->lines == 0;
}

/* Where encoding stands. */
struct encoding {
	const char *in;
	const char *in_end;
	char *at;
	char *out_end;
	/* The next CR, looked for once: most stored mail has none. */
	const char *cr;
	size_t dots; /* that were added */
};

/* Copies the rest of the line, or as much as there is room for; returns the LF
 * or CR that ends it, NULL where that was not reached. */
static const char *
encode_line(struct dot_encoder *encoder, struct encoding *e)
{
	size_t len = (size_t)(e->in_end - e->in);

	if (len > (size_t)(e->out_end - e->at))
		len = (size_t)(e->out_end - e->at);
	const char *end = memchr(e->in, '\n', len);
	if (end != NULL)
		len = (size_t)(end - e->in);
	if (e->cr != NULL && e->cr < e->in)
		e->cr = memchr(e->in, '\r', (size_t)(e->in_end - e->in));
	if (e->cr != NULL && (size_t)(e->cr - e->in) < len) {
		end = e->cr;
		len = (size_t)(e->cr - e->in);
	}
	memcpy(e->at, e->in, len);
	e->at += len;
	e->in += len;
	encoder->in_line = encoder->in_line || len > 0;
	return end;
}

/* A line, or as much of it as there is; false where there is no room for
 * more. */
static bool
encode_some(struct dot_encoder *encoder, struct encoding *e)
{
	bool at_start = !encoder->in_line;

	if (encoder->after_cr) {
		encoder->after_cr = false;
		if (*e->in == '\n') {
			e->in++;
			return true;
		}
	}
	if (at_start && *e->in == '.' && !encoder->unstuffed) {
		if (e->out_end - e->at < 2)
			return false;
		*e->at++ = '.';
		e->dots++;
	}
	const char *end = encode_line(encoder, e);
	if (end == NULL)
		return true;
	if (e->out_end - e->at < 2)
		return false;
	*e->at++ = '\r';
	*e->at++ = '\n';
	e->in++;
	bool empty = at_start && !encoder->in_line;
	encoder->after_cr = *end == '\r';
	encoder->in_line = false;
	line_ended(encoder, empty);
	return true;
}

size_t
dot_encode(struct dot_encoder *encoder, struct slice *text, char *out,
    size_t size)
{
	/* Octets beyond what fits in size are another call's. */
	size_t len = text->len < size ? text->len : size;
	struct encoding e = {
		.in = text->data, .in_end = text->data + len,
		.at = out, .out_end = out + size,
		.cr = len > 0 ? memchr(text->data, '\r', len) : NULL,
	};

	while (e.in < e.in_end && e.at < e.out_end && !encoder->enough &&
	    encode_some(encoder, &e))
		;
	size_t made = (size_t)(e.at - out);
	encoder->octets += made - e.dots;
	*text = slice_skip(*text, (size_t)(e.in - text->data));
	return made;
}

/* Is a line end missing? Nothing at all becomes an empty line: clients were
 * seen to wait for ever where a message has no octets. */
static bool
lacks_end(const struct dot_encoder *encoder)
{
	return encoder->in_line || encoder->octets == 0;
}

size_t
dot_encode_end(struct dot_encoder *encoder, char *out)
{
	size_t n = 0;

	if (lacks_end(encoder)) {
		memcpy(out, "\r\n", 2);
		n = 2;
		encoder->octets += 2;
		encoder->in_line = false;
	}
	if (!encoder->unstuffed) {
		memcpy(out + n, ".\r\n", 3);
		n += 3;
	}
	return n;
}

/* How often c is in s. */
static size_t
count(struct slice s, char c)
{
	const char *end = s.data + s.len;
	size_t n = 0;

	for (const char *at = s.data; at < end &&
	    (at = memchr(at, c, (size_t)(end - at))) != NULL; at++)
		n++;
	return n;
}

void
dot_measure(struct dot_encoder *encoder, struct slice text)
{
	const char *end = text.data + text.len;
	size_t lfs = 0;
	size_t pairs = 0;

	if (text.len == 0)
		return;
	for (const char *at = text.data; at < end &&
	    (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
		lfs++;
		pairs += at > text.data ? at[-1] == '\r'
		                        : encoder->after_cr;
	}
	/* Each LF and each CR makes two octets, and so does a pair of them,
	 * also where the seam is between its two. */
	encoder->octets += text.len + lfs + count(text, '\r');
	encoder->octets -= 2 * pairs;
	encoder->after_cr = end[-1] == '\r';
	encoder->in_line = end[-1] != '\r' && end[-1] != '\n';
}

uint64_t
dot_measure_end(struct dot_encoder *encoder)
{
	if (lacks_end(encoder))
		encoder->octets += 2;
	encoder->in_line = false;
	return encoder->octets;
}

void
dot_decoder_init(struct dot_decoder *decoder, enum dot_bare_lf mode)
{
	*decoder = (struct dot_decoder){
		.mode = mode,
		.state = DOT_LINE_START,
	};
}

/* Where decoding stands: octets to come, and text made of those before. */
struct cursor {
	const char *in;
	const char *end;
	char *out;
};

/* The rest of a line up to its LF, if that is there, in one piece. It begins
 * with another octet than LF. */
static void
take_line(struct dot_decoder *decoder, struct cursor *at)
{
	size_t len = (size_t)(at->end - at->in);
	const char *lf = memchr(at->in, '\n', len);

	if (lf != NULL)
		len = (size_t)(lf - at->in);
	/* Leave a CR before the LF, or at the very end, to the state. */
	bool cr = at->in[len - 1] == '\r';
	size_t text = cr ? len - 1 : len;
	if (memchr(at->in, '\r', text) != NULL)
		decoder->bare_cr = true;
	memmove(at->out, at->in, text);
	at->out += text;
	at->in += len;
	decoder->state = cr ? DOT_CR : DOT_IN_LINE;
}

static void
end_line(struct dot_decoder *decoder, struct cursor *at, bool bare)
{
	*at->out++ = '\n';
	decoder->lines++;
	decoder->size++;
	decoder->state = bare && decoder->mode != DOT_BARE_LF_ACCEPT
	    ? DOT_BARE_START : DOT_LINE_START;
}

/* What an LF means in each state; DOT_MORE where it does not end it all. */
static enum dot_outcome
take_lf(struct dot_decoder *decoder, struct cursor *at)
{
	enum dot_state state = decoder->state;
	bool reject = decoder->mode == DOT_BARE_LF_REJECT;
	bool bare = state != DOT_CR && state != DOT_DOT_CR &&
	    state != DOT_BARE_DOT_CR;

	at->in++;
	decoder->bare_lf |= bare;
	/* RFC 5321 4.1.1.4: CRLF.CRLF ends the data, and nothing else. */
	if (state == DOT_DOT_CR)
		return DOT_END;
	if (state == DOT_DOT && decoder->mode == DOT_BARE_LF_ACCEPT)
		return DOT_END;
	/* A lone dot that some other mail program would take for the end
	 * (CVE-2023-51764 and its kin). */
	if (reject && (state == DOT_DOT || state == DOT_BARE_DOT ||
	    state == DOT_BARE_DOT_CR))
		return DOT_SMUGGLED;
	end_line(decoder, at, bare);
	return DOT_MORE;
}

static enum dot_outcome
take_octet(struct dot_decoder *decoder, struct cursor *at)
{
	char c = *at->in;

	if (c == '\n')
		return take_lf(decoder, at);
	switch (decoder->state) {
	case DOT_LINE_START:
		if (c != '.' || decoder->unstuffed)
			break;
		/* RFC 5321 4.5.2: the dot goes, whatever follows. */
		at->in++;
		decoder->state = DOT_DOT;
		return DOT_MORE;
	case DOT_BARE_START:
		if (c != '.' || decoder->unstuffed)
			break;
		*at->out++ = '.';
		at->in++;
		decoder->state = DOT_BARE_DOT;
		return DOT_MORE;
	case DOT_DOT:
	case DOT_BARE_DOT:
		if (c != '\r')
			break;
		at->in++;
		decoder->state = decoder->state == DOT_DOT
		    ? DOT_DOT_CR : DOT_BARE_DOT_CR;
		return DOT_MORE;
	case DOT_CR:
	case DOT_DOT_CR:
	case DOT_BARE_DOT_CR:
		/* Not an LF: that CR was bare. */
		decoder->bare_cr = true;
		break;
	case DOT_IN_LINE:
		break;
	}
	take_line(decoder, at);
	return DOT_MORE;
}

enum dot_outcome
dot_decode(struct dot_decoder *decoder, char *data, size_t len,
    size_t *taken, size_t *made)
{
	struct cursor at = { data, data + len, data };
	enum dot_outcome outcome = DOT_MORE;

	while (at.in < at.end && outcome == DOT_MORE)
		outcome = take_octet(decoder, &at);
	*taken = (size_t)(at.in - data);
	*made = (size_t)(at.out - data);
	decoder->octets += *made;
	decoder->size += *made;
	return outcome;
}

size_t
dot_decode_end(struct dot_decoder *decoder, char *out)
{
	switch (decoder->state) {
	case DOT_LINE_START:
	case DOT_BARE_START:
		return 0;
	case DOT_CR:
		decoder->bare_cr = true;
		break;
	default:
		break;
	}
	decoder->lines++;
	decoder->octets++;
	*out = '\n';
	return 1;
}
