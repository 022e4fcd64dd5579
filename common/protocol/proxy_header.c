/*
 * proxy_header.c - reading a PROXY header octet-exactly.
 *
 * Written after "The PROXY protocol", versions 1 and 2, sections 2.1 and
 * 2.2 (haproxy's doc/proxy-protocol.txt).
 */
#include "protocol/proxy_header.h"

#include <assert.h>
#include <string.h>

/* Both versions have at least so many octets, and by then differ. */
#define PREFIX_LEN 12
#define V2_FIXED_LEN 16

static const struct slice v1_prefix = SLICE("PROXY ");
static const char v2_signature[PREFIX_LEN] =
    "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A";

static bool
is_v2(const struct proxy_header *header)
{
	return header->len > 0 && header->octets[0] == v2_signature[0];
}

size_t
proxy_header_want(const struct proxy_header *header)
{
	if (header->len < PREFIX_LEN)
		return PREFIX_LEN - header->len;
	if (!is_v2(header))
		/* Its end is CRLF: an octet that is not the CR is followed
		 * by two more at least. */
		return header->octets[header->len - 1] == '\r' ||
		    header->len + 2 > PROXY_HEADER_V1_MAX ? 1 : 2;
	if (header->len < V2_FIXED_LEN)
		return V2_FIXED_LEN - header->len;
	return header->remaining;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 4711 995\r\n" ---- */

static bool
take_port(struct slice text, uint16_t *port)
{
	uint64_t number;

	/* No leading zeros (section 2.1). */
	if (text.len > 5 || !slice_to_number(text, 65535, &number) ||
	    (text.len > 1 && text.data[0] == '0'))
		return false;
	*port = (uint16_t)number;
	return true;
}

static enum proxy_outcome
finish_v1(struct proxy_header *header)
{
	struct slice rest = { header->octets + v1_prefix.len,
		header->len - v1_prefix.len - 2 };
	struct slice protocol, source_port, destination_port;
	uint16_t ignored;

	slice_cut(rest, ' ', &protocol, &rest);
	if (slice_equal(protocol, SLICE("UNKNOWN"))) {
		/* What follows is to be ignored. */
		header->source = PROXY_SOURCE_UNKNOWN;
		return PROXY_DONE;
	}
	if (slice_has_control(rest))
		return PROXY_BAD;
	if (slice_equal(protocol, SLICE("TCP4")))
		header->source = PROXY_SOURCE_IPV4;
	else if (slice_equal(protocol, SLICE("TCP6")))
		header->source = PROXY_SOURCE_IPV6;
	else
		return PROXY_BAD;
	if (!slice_cut(rest, ' ', &header->address_text, &rest) ||
	    !slice_cut(rest, ' ', &header->destination_text, &rest) ||
	    !slice_cut(rest, ' ', &source_port, &destination_port) ||
	    !take_port(source_port, &header->port) ||
	    !take_port(destination_port, &ignored))
		return PROXY_BAD;
	return PROXY_DONE;
}

static enum proxy_outcome
take_v1(struct proxy_header *header)
{
	const char *octets = header->octets;
	size_t len = header->len;

	if (len < PREFIX_LEN)
		return PROXY_MORE;
	/* A line has one end, wherever it was cut on its way. */
	const char *lf = memchr(octets, '\n', len);
	if (lf != NULL && lf != octets + len - 1)
		return PROXY_BAD;
	if (octets[len - 1] == '\n')
		return octets[len - 2] == '\r' ? finish_v1(header) : PROXY_BAD;
	/* A CR that no LF follows, or one line too long. */
	if (len >= PROXY_HEADER_V1_MAX || octets[len - 2] == '\r')
		return PROXY_BAD;
	return PROXY_MORE;
}

/* ---- version 2 ---- */

static uint16_t
get_uint16(const char *octets)
{
	return (uint16_t)((unsigned char)octets[0] << 8 |
	    (unsigned char)octets[1]);
}

/* Addresses by family: where they and the port are, and how long all is. */
struct family {
	unsigned char code;
	enum proxy_source source;
	size_t len;
	size_t address_len;
	size_t port_at;
};

static const struct family families[] = {
	{ 0x00, PROXY_SOURCE_UNKNOWN, 0, 0, 0 },
	{ 0x11, PROXY_SOURCE_IPV4, 12, 4, 8 },
	{ 0x21, PROXY_SOURCE_IPV6, 36, 16, 32 },
	{ 0x31, PROXY_SOURCE_UNIX, 216, 0, 0 },
};

static const struct family *
find_family(const struct proxy_header *header)
{
	unsigned char code = (unsigned char)header->octets[13];

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (families[i].code == code)
			return &families[i];
	return NULL; /* datagrams, and what was never defined */
}

static enum proxy_outcome
finish_v2(struct proxy_header *header)
{
	const struct family *family = find_family(header);
	const char *at = header->octets + V2_FIXED_LEN;

	/* LOCAL: health checks and the like; addresses are ignored. */
	if (header->octets[12] == 0x20) {
		header->source = PROXY_SOURCE_NONE;
		return PROXY_DONE;
	}
	assert(family != NULL); /* others are PROXY_BAD */
	header->source = family->source;
	memcpy(header->address, at, family->address_len);
	if (family->port_at > 0)
		header->port = get_uint16(at + family->port_at);
	return PROXY_DONE;
}

/* The fixed part is there: is it one that we can serve? */
static enum proxy_outcome
check_v2(struct proxy_header *header)
{
	unsigned char version_command = (unsigned char)header->octets[12];
	const struct family *family = find_family(header);

	header->remaining = get_uint16(header->octets + 14);
	if (version_command == 0x21) {
		if (family == NULL || header->remaining < family->len)
			return PROXY_BAD;
	} else if (version_command != 0x20) {
		return PROXY_BAD;
	}
	return header->remaining == 0 ? finish_v2(header) : PROXY_MORE;
}

/* ---- both ---- */

/* Is what came so far the beginning of a header? */
static bool
prefix_is_good(const struct proxy_header *header)
{
	size_t len = header->len;

	if (is_v2(header))
		return memcmp(header->octets, v2_signature,
		    len < PREFIX_LEN ? len : PREFIX_LEN) == 0;
	return memcmp(header->octets, v1_prefix.data,
	    len < v1_prefix.len ? len : v1_prefix.len) == 0;
}

enum proxy_outcome
proxy_header_take(struct proxy_header *header, struct slice octets)
{
	bool in_rest = is_v2(header) && header->len >= V2_FIXED_LEN;
	size_t kept = octets.len;

	if (kept > sizeof(header->octets) - header->len)
		kept = sizeof(header->octets) - header->len;
	if (kept > 0)
		memcpy(header->octets + header->len, octets.data, kept);
	header->len += kept;
	if (!prefix_is_good(header))
		return PROXY_BAD;
	if (!is_v2(header))
		return take_v1(header);
	if (in_rest) {
		header->remaining -= octets.len;
		return header->remaining == 0 ? finish_v2(header)
		                              : PROXY_MORE;
	}
	return header->len < V2_FIXED_LEN ? PROXY_MORE : check_v2(header);
}
