/*
 * address.c - the grammar of paths, octet by octet.
 *
 * Each function takes what it recognises from the front of the text.
 */
#include "protocol/address.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_digit(c) || (slice_lower(c) >= 'a' && slice_lower(c) <= 'z');
}

/* RFC 6531 3.3: UTF-8 may stand where letters may. Whether it is UTF-8 is
 * looked at once, over the whole text. */
static bool
is_high(char c)
{
	return (unsigned char)c >= 0x80;
}

static bool
is_atext(char c)
{
	return is_alnum(c) || is_high(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
take(struct slice *text, char c)
{
	if (text->len == 0 || text->data[0] != c)
		return false;
	*text = slice_skip(*text, 1);
	return true;
}

/* Dot-string = Atom *("." Atom); but telephones have addresses such as
 * "a..b@x" and "a.@x", and what is meant is clear. */
static bool
take_dot_string(struct slice *text)
{
	size_t n = 0;

	while (n < text->len && (is_atext(text->data[n]) ||
	    text->data[n] == '.'))
		n++;
	*text = slice_skip(*text, n);
	return n > 0;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE: printable, and a backslash
 * before anything printable. */
static bool
take_quoted_string(struct slice *text)
{
	if (!take(text, '"'))
		return false;
	while (text->len > 0) {
		unsigned char c = (unsigned char)text->data[0];

		*text = slice_skip(*text, 1);
		if (c == '"')
			return true;
		if (c == '\\') {
			if (text->len == 0)
				return false;
			c = (unsigned char)text->data[0];
			if (c >= 0x7F)
				return false;
			*text = slice_skip(*text, 1);
		}
		if (c < 0x20 || c == 0x7F)
			return false;
	}
	return false;
}

/* sub-domain: letters, digits and hyphens, but no hyphen at its ends; and
 * "_", which machines in local networks have in their names. */
static bool
take_sub_domain(struct slice *text)
{
	size_t n = 0;

	while (n < text->len && (is_alnum(text->data[n]) ||
	    text->data[n] == '-' || text->data[n] == '_' ||
	    is_high(text->data[n])))
		n++;
	if (n == 0 || text->data[0] == '-' || text->data[n - 1] == '-')
		return false;
	*text = slice_skip(*text, n);
	return true;
}

/* Domain = sub-domain *("." sub-domain); a dot at its end is left. */
static bool
take_domain_name(struct slice *text)
{
	struct slice rest;

	if (!take_sub_domain(text))
		return false;
	for (rest = *text; take(&rest, '.') && take_sub_domain(&rest);)
		*text = rest;
	return true;
}

static bool
is_ipv4(struct slice text)
{
	int parts = 0;
	bool more;

	do {
		struct slice part;
		uint64_t number;

		more = slice_cut(text, '.', &part, &text);
		if (part.len > 3 || !slice_to_number(part, 255, &number))
			return false;
		parts++;
	} while (more);
	return parts == 4;
}

static bool
is_hex_group(struct slice group)
{
	if (group.len < 1 || group.len > 4)
		return false;
	for (size_t i = 0; i < group.len; i++) {
		char c = slice_lower(group.data[i]);
		if (!is_digit(c) && (c < 'a' || c > 'f'))
			return false;
	}
	return true;
}

/* Counts the 16-bit groups of "1:2:3", the last of which may be an IPv4
 * address (two groups) where that is allowed; -1 where it is none. */
static int
count_groups(struct slice text, bool may_end_in_ipv4)
{
	int groups = 0;

	if (text.len == 0)
		return 0;
	for (;;) {
		struct slice group;
		bool more = slice_cut(text, ':', &group, &text);

		if (!more && may_end_in_ipv4 && is_ipv4(group))
			return groups + 2;
		if (!is_hex_group(group))
			return -1;
		groups++;
		if (!more)
			return groups;
	}
}

/* RFC 4291 2.2, as RFC 5321 4.1.3 has it: eight groups, or "::" for some. */
static bool
is_ipv6(struct slice text)
{
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.data[i] != ':' || text.data[i + 1] != ':')
			continue;
		int before = count_groups((struct slice){ text.data, i },
		    false);
		int after = count_groups(slice_skip(text, i + 2), true);
		return before >= 0 && after >= 0 && before + after <= 7;
	}
	return count_groups(text, true) == 8;
}

/* address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]"; no other kind of
 * literal was ever registered. */
static bool
take_literal(struct slice *text)
{
	static const struct slice tag = SLICE("IPv6:");
	struct slice literal, rest;

	if (!take(text, '[') || !slice_cut(*text, ']', &literal, &rest))
		return false;
	*text = rest;
	if (slice_starts_with_nocase(literal, tag))
		return is_ipv6(slice_skip(literal, tag.len));
	return is_ipv4(literal);
}

static bool
take_domain(struct slice *text)
{
	size_t before = text->len;
	bool taken = text->len > 0 && text->data[0] == '['
	    ? take_literal(text) : take_domain_name(text);

	return taken && before - text->len <= ADDRESS_DOMAIN_MAX;
}

static bool
take_local_part(struct slice *text)
{
	return text->len > 0 && text->data[0] == '"'
	    ? take_quoted_string(text) : take_dot_string(text);
}

/* A-d-l ":", to be accepted and ignored (RFC 5321 4.1.1.3, appendix C). */
static bool
take_source_route(struct slice *text)
{
	if (text->len == 0 || text->data[0] != '@')
		return true;
	do {
		if (!take(text, '@') || !take_domain(text))
			return false;
	} while (take(text, ','));
	return take(text, ':');
}

static struct slice
taken_since(struct slice before, struct slice now)
{
	return (struct slice){ before.data, before.len - now.len };
}

static enum address_outcome
take_mailbox(struct slice *text, struct address *address)
{
	struct slice start = *text;

	if (!take_local_part(text))
		return ADDRESS_BAD_LOCAL;
	address->local = taken_since(start, *text);
	if (!take(text, '@'))
		return ADDRESS_OK;
	struct slice domain = *text;
	if (!take_domain(text))
		return ADDRESS_BAD_DOMAIN;
	address->domain = taken_since(domain, *text);
	/* The root's dot, as some write it at the end. */
	if (domain.data[0] != '[')
		take(text, '.');
	return ADDRESS_OK;
}

static enum address_outcome
check_charset(struct slice text, bool utf8)
{
	if (slice_is_ascii(text))
		return ADDRESS_OK;
	if (!utf8)
		return ADDRESS_NOT_ASCII;
	return slice_is_utf8(text) ? ADDRESS_OK : ADDRESS_SYNTAX;
}

static void
take_blanks(struct slice *text)
{
	while (take(text, ' '))
		;
}

static bool
take_bracket(struct slice *text)
{
	take_blanks(text);
	return take(text, '>');
}

/* After a mailbox without brackets; "Joe <a@b>" is none. */
static bool
ends_bare(struct slice text)
{
	if (text.len > 0 && text.data[0] != ' ')
		return false;
	text = slice_trim(text);
	return text.len == 0 || text.data[0] != '<';
}

enum address_outcome
address_parse_path(struct slice *text, enum address_kind kind, bool utf8,
    struct address *address)
{
	*address = (struct address){ .local = slice_from("") };
	/* "MAIL FROM: <a@b>": not in the grammar, but often on the wire. */
	take_blanks(text);
	bool brackets = take(text, '<');
	if (brackets)
		take_blanks(text);
	if (brackets && kind == ADDRESS_REVERSE && take(text, '>'))
		return ADDRESS_OK;
	struct slice path = *text;
	if (!take_source_route(text))
		return ADDRESS_SYNTAX;
	enum address_outcome outcome = take_mailbox(text, address);
	if (outcome != ADDRESS_OK)
		return outcome;
	/* The source route is ignored, but must have no other characters. */
	struct slice said = taken_since(path, *text);
	if (!(brackets ? take_bracket(text) : ends_bare(*text)))
		return ADDRESS_BAD_DOMAIN;
	return check_charset(said, utf8);
}

enum address_outcome
address_parse_mailbox(struct slice text, bool utf8, struct address *address)
{
	struct slice rest = text;

	*address = (struct address){ .local = slice_from("") };
	enum address_outcome outcome = take_mailbox(&rest, address);
	if (outcome != ADDRESS_OK)
		return outcome;
	return rest.len > 0 || address->domain.len == 0 ? ADDRESS_BAD_DOMAIN
	    : check_charset(text, utf8);
}

bool
address_is_domain(struct slice text, bool utf8)
{
	return (utf8 ? slice_is_utf8(text) : slice_is_ascii(text)) &&
	    take_domain(&text) && text.len == 0;
}
