/*
 * fuzz_address.c - paths, against the grammar of RFC 5321 and what is taken
 * beyond it, written down a second time, as regular expressions.
 *
 * The first octet chooses the kind of path and whether UTF-8 may be in it;
 * the rest is what follows "MAIL FROM:". What is accepted must be what the
 * grammar accepts, be the same when read again, and have nothing in it that
 * could be taken for something else where it is sent on.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <regex.h>

#include "protocol/address.h"

/* ---- the grammar, section 4.1.2 ---- */

enum rule { DOT_STRING, QUOTED_STRING, DOMAIN, IPV4, RULES };

/* In the C locale: octets, no characters. */
static const char *const rules[RULES] = {
	[DOT_STRING] = "^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+",
	[QUOTED_STRING] = "^\"([ !#-Z^-~]|\\[|]|\\\\[ -~])*\"",
	[DOMAIN] = ("^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
	    "(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"),
	[IPV4] = "^[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}$",
};

/* How many octets at the front are of the rule; 0: none. */
static size_t
match(enum rule rule, const char *text)
{
	static regex_t compiled[RULES];
	static bool done;
	regmatch_t at;

	if (!done)
		for (size_t i = 0; i < RULES; i++)
			CHECK(regcomp(&compiled[i], rules[i],
			    REG_EXTENDED) == 0);
	done = true;
	return regexec(&compiled[rule], text, 1, &at, 0) == 0
	    ? (size_t)at.rm_eo : 0;
}

static bool
is_ipv4(const char *text)
{
	unsigned a, b, c, d;

	return match(IPV4, text) > 0 &&
	    sscanf(text, "%u.%u.%u.%u", &a, &b, &c, &d) == 4 && a < 256 &&
	    b < 256 && c < 256 && d < 256;
}

/* inet_pton's opinion; an IPv4 part, whose leading zeros it does not like
 * and the RFC does, is looked at before. */
static bool
is_ipv6(char *text)
{
	unsigned char address[16];
	char *tail = strrchr(text, ':');

	if (tail != NULL && strchr(tail, '.') != NULL) {
		if (!is_ipv4(tail + 1))
			return false;
		memcpy(tail + 1, "0:0", 4); /* at least "0.0.0.0" was there */
	}
	return inet_pton(AF_INET6, text, address) == 1;
}

/* A domain or an address literal at the front of text. */
static size_t
model_domain(const char *text)
{
	size_t len = text[0] == '[' ? strcspn(text, "]") + 1
	    : match(DOMAIN, text);
	char literal[ADDRESS_DOMAIN_MAX + 1];

	if (len < 1 || len > ADDRESS_DOMAIN_MAX || text[0] != '[')
		return len > ADDRESS_DOMAIN_MAX ? 0 : len;
	if (text[len - 1] != ']')
		return 0;
	memcpy(literal, text + 1, len - 2);
	literal[len - 2] = '\0';
	return strncasecmp(literal, "IPv6:", 5) == 0
	    ? (is_ipv6(literal + 5) ? len : 0) : is_ipv4(literal) ? len : 0;
}

/* local@domain, or local; *at is where the @ stands or would, *domain the
 * length of the domain, after which a dot may come. */
static size_t
model_mailbox(const char *text, size_t *at, size_t *domain)
{
	*domain = 0;
	*at = match(text[0] == '"' ? QUOTED_STRING : DOT_STRING, text);
	if (*at == 0 || text[*at] != '@')
		return *at;
	*domain = model_domain(text + *at + 1);
	if (*domain == 0)
		return 0;
	size_t len = *at + 1 + *domain;
	return len + (text[len] == '.' && text[len - 1] != ']');
}

/* "@one,@two:" */
static bool
model_route(const char **text)
{
	if ((*text)[0] != '@')
		return true;
	do {
		size_t len = (*text)[0] == '@' ? model_domain(*text + 1) : 0;

		if (len == 0)
			return false;
		*text += 1 + len;
	} while (*(*text)++ == ',');
	return (*text)[-1] == ':';
}

/* A path: its octets, where in it the mailbox begins, how long its local part
 * and its domain are; 0: none. A NUL ends it, with no meaning of its own. */
static size_t
model_path(const char *text, size_t whole, enum address_kind kind,
    size_t *mailbox, size_t *local, size_t *domain)
{
	const char *start = text;

	*mailbox = *local = *domain = 0;
	text += strspn(text, " ");
	bool brackets = *text == '<';
	if (brackets)
		text += 1 + strspn(text + 1, " ");
	if (brackets && kind == ADDRESS_REVERSE && *text == '>')
		return (size_t)(text - start) + 1;
	if (!model_route(&text))
		return 0;
	size_t len = model_mailbox(text, local, domain);
	if (len == 0)
		return 0;
	*mailbox = (size_t)(text - start);
	text += len;
	if (!brackets) {
		bool alone = (size_t)(text - start) == whole;

		if (!alone && *text != ' ')
			return 0;
		return text[strspn(text, " \t")] != '<'
		    ? (size_t)(text - start) : 0;
	}
	text += strspn(text, " ");
	return *text == '>' ? (size_t)(text - start) + 1 : 0;
}

/* ---- RFC 6531: UTF-8 where letters may be ---- */

/* Decodes, and looks whether that would be encoded so. */
static size_t
utf8_sequence(struct slice s)
{
	unsigned char c = (unsigned char)s.data[0];
	size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
	unsigned long code = c & (0xFFu >> (len + 1));
	static const unsigned long least[] = { 0x80, 0x800, 0x10000 };

	if (c < 0xC0 || c > 0xF7 || s.len < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s.data[i] & 0xC0) != 0x80)
			return 0;
		code = code << 6 | ((unsigned char)s.data[i] & 0x3F);
	}
	return code >= least[len - 2] && code <= 0x10FFFF &&
	    (code < 0xD800 || code > 0xDFFF) ? len : 0;
}

/* Whether the octet at is one half of a quoted-pairSMTP, which RFC 6531 3.3
 * leaves to ASCII. */
static bool
is_quoted_pair(struct slice text, size_t at)
{
	size_t backslashes = 0;

	while (backslashes < at && text.data[at - 1 - backslashes] == '\\')
		backslashes++;
	return backslashes % 2 == 1;
}

/* Makes a letter, no digit of any kind, of each octet above 0x7F, or what no
 * rule has where a letter may be and UTF-8 may not. False where there are
 * such and they are not allowed, or are not UTF-8. */
static bool
to_letters(struct slice text, bool utf8, char *letters)
{
	bool good = true;

	for (size_t i = 0; i < text.len;) {
		size_t len = 1;

		letters[i] = text.data[i];
		if ((unsigned char)text.data[i] >= 0x80) {
			len = utf8_sequence(slice_skip(text, i));
			good = good && utf8 && len > 0;
			len = len > 0 ? len : 1;
			memset(letters + i, is_quoted_pair(text, i) ? '\x01'
			    : 'z', len);
		}
		i += len;
	}
	letters[text.len] = '\0';
	return good;
}

/* ---- what is accepted ---- */

/* Nothing that ends a line, a path or a word, outside quotes; no control
 * characters anywhere. */
static void
check_harmless(struct slice mailbox)
{
	bool quoted = false;

	for (size_t i = 0; i < mailbox.len; i++) {
		char c = mailbox.data[i];

		CHECK((unsigned char)c >= 0x20 && c != 0x7F);
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else
			CHECK(quoted || (c != '<' && c != '>' && c != ' '));
	}
	CHECK(!quoted);
}

static void
check_again(const struct address *address, enum address_kind kind, bool utf8)
{
	struct text path = { .data = NULL };
	struct address again;

	text_format(&path, "<%.*s%s%.*s> more", SLICE_ARG(address->local),
	    address->domain.len > 0 ? "@" : "", SLICE_ARG(address->domain));
	struct slice text = text_slice(&path);
	struct slice mailbox = { path.data + 1, path.len - 7 };
	CHECK(address_parse_path(&text, kind, utf8, &again) == ADDRESS_OK);
	CHECK_SAME(text, SLICE(" more"));
	CHECK_SAME(again.local, address->local);
	CHECK_SAME(again.domain, address->domain);
	check_harmless(mailbox);
	bool whole = address->domain.len > 0;
	CHECK((address_parse_mailbox(mailbox, utf8, &again) == ADDRESS_OK) ==
	    whole);
	if (whole) {
		CHECK_SAME(again.local, address->local);
		CHECK_SAME(again.domain, address->domain);
		CHECK(address_is_domain(address->domain, utf8));
	}
	text_free(&path);
}

static void
check_path(struct slice input, enum address_kind kind, bool utf8)
{
	char *copy = fuzz_copy(input);
	char *letters = malloc(input.len + 1);
	struct slice text = { copy, input.len };
	struct address address;
	size_t mailbox, local, domain;

	CHECK(letters != NULL);
	enum address_outcome outcome = address_parse_path(&text, kind, utf8,
	    &address);
	/* The grammar's octets, then those octets' own. */
	to_letters(input, true, letters);
	size_t len = model_path(letters, input.len, kind, &mailbox, &local,
	    &domain);
	bool good = len > 0 && to_letters((struct slice){ copy, len }, utf8,
	    letters);
	CHECK((outcome == ADDRESS_OK) == good);
	if (good) {
		CHECK(input.len - text.len == len);
		CHECK_SAME(address.local, ((struct slice){ copy + mailbox,
		    local }));
		CHECK_SAME(address.domain, ((struct slice){ copy + mailbox +
		    local + 1, domain }));
		check_again(&address, kind, utf8);
	}
	free(letters);
	free(copy);
}

static void
check_whole(struct slice input, bool utf8)
{
	char *copy = fuzz_copy(input);
	char *letters = malloc(input.len + 1);
	struct slice text = { copy, input.len };
	struct address address;
	size_t at, domain;

	CHECK(letters != NULL);
	bool good = to_letters(input, utf8, letters);
	bool mailbox = good && input.len > 0 &&
	    model_mailbox(letters, &at, &domain) == input.len && domain > 0;
	CHECK((address_parse_mailbox(text, utf8, &address) == ADDRESS_OK) ==
	    mailbox);
	CHECK(address_is_domain(text, utf8) == (good && input.len > 0 &&
	    model_domain(letters) == input.len));
	free(letters);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = fuzz_slice(data, size);
	unsigned flags = fuzz_octet(&input);

	check_path(input, (flags & 1) != 0 ? ADDRESS_FORWARD
	    : ADDRESS_REVERSE, (flags & 2) != 0);
	check_whole(input, (flags & 2) != 0);
	return 0;
}
