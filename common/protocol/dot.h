/*
 * dot: message text on the wire (RFC 5321 4.5.2, RFC 1939 section 3).
 *
 * dot_encode makes wire text of a stored message: line ends become CRLF, a
 * line that begins with a dot gets another. dot_decode undoes that, finds
 * the end of the data, and says what was wrong with the line ends. Both take
 * the text in pieces of any size, at memchr's speed.
 */
#ifndef DOT_H
#define DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* The most that dot_encode makes of n octets: ".": "..", LF: CRLF. */
#define DOT_ENCODED_MAX(n) (2 * (n))
/* What dot_encode_end may add: a line end, the dot, its line end. */
#define DOT_END_MAX 5

/*
 * LF becomes CRLF, CRLF stays, a lone CR becomes CRLF, everything else
 * passes unchanged. All zero is its starting state.
 */
struct dot_encoder {
	bool in_line;    /* not at the start of a line */
	bool after_cr;   /* a CR went out as CRLF: an LF now belongs to it */
	bool limited;    /* TOP: only so many lines of the body */
	bool in_body;    /* limited: the header is over */
	bool enough;     /* limited: everything wanted is out */
	bool unstuffed;  /* leave dots alone: for BDAT, and for counting */
	uint64_t lines;  /* limited: lines of the body still wanted */
	uint64_t octets; /* made so far, without the dots that were added */
};

/* Makes it stop after the header, the blank line and n lines (TOP). */
void dot_encoder_limit(struct dot_encoder *encoder, uint64_t n);

/*
 * Takes octets from the front of *text and writes what they become to out,
 * as much as fits in size; returns how many octets it wrote. It stops only
 * where text or room ends; with size of 2 or more it always goes on. Where
 * encoder->enough is set, the rest of the text is not wanted.
 */
size_t dot_encode(struct dot_encoder *encoder, struct slice *text, char *out,
    size_t size);

/*
 * The end: a line end where the last one is missing or where there was no
 * text at all, then ".\r\n" unless unstuffed. Returns the octets written; out
 * has room for DOT_END_MAX.
 */
size_t dot_encode_end(struct dot_encoder *encoder, char *out);

/*
 * How many octets the text makes, for a STAT: call with each piece in turn,
 * then dot_measure_end. Faster than encoding, and always the same number as
 * encoder->octets after dot_encode_end.
 */
void dot_measure(struct dot_encoder *encoder, struct slice text);
uint64_t dot_measure_end(struct dot_encoder *encoder);

enum dot_outcome {
	DOT_MORE,    /* all taken, the data goes on */
	DOT_END,     /* the dot was there; what follows it was not touched */
	DOT_SMUGGLED /* reject: a dot between line ends, one of them bare */
};

/* What a bare LF is in message text. */
enum dot_bare_lf {
	DOT_BARE_LF_REJECT,    /* a fault; the data ends at CRLF.CRLF alone */
	DOT_BARE_LF_NORMALIZE, /* a line end that neither ends the data nor
	                        * undoes a dot */
	DOT_BARE_LF_ACCEPT,    /* as good as CRLF */
};

/*
 * Decoded text has LF line ends. Init it, then read the faults and counts at
 * any time; the state is its own.
 */
struct dot_decoder {
	bool bare_cr;    /* a CR without LF was seen */
	bool bare_lf;    /* an LF without CR was seen */
	uint64_t octets; /* of text so far, as it is after decoding */
	uint64_t lines;  /* line ends so far: octets + lines is what the text
	                  * makes with CRLF line ends */
	uint64_t size;   /* the same without a last line end that did not
	                  * come: what RFC 1870 counts */
	enum dot_bare_lf mode;
	bool unstuffed;  /* set after init: dots mean nothing, as in BDAT */
	enum dot_state {
		DOT_LINE_START,
		DOT_BARE_START,  /* at the start of a line, by a bare LF */
		DOT_IN_LINE,
		DOT_CR,          /* in a line, the last octet was CR */
		DOT_DOT,         /* the line's first octet was a dot */
		DOT_DOT_CR,
		DOT_BARE_DOT,    /* the same where a bare LF began the line */
		DOT_BARE_DOT_CR,
	} state;
};

void dot_decoder_init(struct dot_decoder *decoder, enum dot_bare_lf mode);

/*
 * Decodes data in place: *taken octets of it were used, and the first *made
 * octets at data are now text. *made is never more than *taken. After a
 * bare CR the text is not what was sent, and good for nothing.
 */
enum dot_outcome dot_decode(struct dot_decoder *decoder, char *data,
    size_t len, size_t *taken, size_t *made);

/*
 * Unstuffed: there is no more (BDAT LAST). Adds the last line end where it
 * is missing: how many octets that is, 0 or 1, to *out. A CR as the very
 * last octet is a bare one.
 */
size_t dot_decode_end(struct dot_decoder *decoder, char *out);

#endif
