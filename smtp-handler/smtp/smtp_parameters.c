/*
 * smtp_parameters.c - what stands after the path of MAIL and RCPT.
 *
 * A parameter is a row: keyword, whether it has a value, and a function
 * that checks and keeps it. What is not offered is not known.
 */
#include "smtp/smtp_private.h"

#include <string.h>

#include "protocol/hidden.h"

/* Longest values (RFC 3461 4.2, 4.4). */
#define ENVID_MAX 100
#define ORCPT_MAX 500

/* Where a parameter's value goes. */
struct taking {
	const struct smtp_options *options;
	struct envelope *envelope;
	struct envelope_notify *recipient; /* RCPT */
	bool requiretls; /* MAIL: offered now */
};

struct parameter {
	struct slice keyword;
	bool needs_value;
	bool dsn; /* known where DSN is offered */
	struct slice extension; /* without which it is unknown */
	enum smtp_reply_id (*take)(struct taking *taking, struct slice value);
};

/* SIZE=n (RFC 1870 section 6). */
static enum smtp_reply_id
take_size(struct taking *taking, struct slice value)
{
	uint64_t *size = &taking->envelope->size;

	if (value.len == 0 || value.len > 20)
		return REPLY_BAD_PARAMETER;
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] < '0' || value.data[i] > '9')
			return REPLY_BAD_PARAMETER;
	/* Twenty digits may say more than 64 bits hold: too big, too. */
	return !slice_to_number(value, UINT64_MAX, size) ||
	    *size > taking->options->max_size ? REPLY_TOO_BIG
	    : REPLY_NONE;
}

/* BODY= (RFC 6152). BINARYMIME (RFC 3030 3) would be text that has no
 * lines; it is not offered. */
static enum smtp_reply_id
take_body(struct taking *taking, struct slice value)
{
	if (slice_equal_nocase(value, SLICE("BINARYMIME")))
		return REPLY_UNKNOWN_PARAMETER;
	taking->envelope->eight_bit = slice_equal_nocase(value,
	    SLICE("8BITMIME"));
	taking->envelope->seven_bit = slice_equal_nocase(value,
	    SLICE("7BIT"));
	return taking->envelope->eight_bit || taking->envelope->seven_bit
	    ? REPLY_NONE : REPLY_BAD_PARAMETER;
}

/* SMTPUTF8 (RFC 6531 3.4). */
static enum smtp_reply_id
take_smtputf8(struct taking *taking, struct slice value)
{
	(void)value;
	taking->envelope->utf8 = true;
	return REPLY_NONE;
}

/* REQUIRETLS (RFC 8689 2). */
static enum smtp_reply_id
take_requiretls(struct taking *taking, struct slice value)
{
	(void)value;
	taking->envelope->require_tls = taking->requiretls;
	return taking->requiretls ? REPLY_NONE : REPLY_UNKNOWN_PARAMETER;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The octet that two upper-case hexadecimal digits stand for, or -1. */
static int
hex_octet(struct slice text)
{
	if (text.len < 2)
		return -1;
	int high = hex_digit(text.data[0]);
	int low = hex_digit(text.data[1]);
	return high >= 0 && low >= 0 ? 16 * high + low : -1;
}

static bool
is_control(int octet)
{
	return octet < 0x20 || octet == 0x7F;
}

/* xtext (RFC 3461 section 4): printable, with "+" before two upper-case
 * hexadecimal digits only, and no "=", which no value has. What they stand for
 * is no control character, and at most last: somebody will decode it, in a
 * header perhaps. */
static bool
is_xtext(struct slice text, int last)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];

		if (c < 0x21 || c > 0x7E)
			return false;
		if (c != '+')
			continue;
		int octet = hex_octet(slice_skip(text, i + 1));
		if (is_control(octet) || octet > last)
			return false;
	}
	return text.len > 0;
}

/* AUTH= (RFC 4954 section 5): checked, and not trusted. The mailbox may be
 * one beyond ASCII. */
static enum smtp_reply_id
take_auth(struct taking *taking, struct slice value)
{
	if (taking->options->login == SMTP_LOGIN_NONE)
		return REPLY_UNKNOWN_PARAMETER;
	return is_xtext(value, 0xFF) ? REPLY_NONE : REPLY_BAD_PARAMETER;
}

/* RET=FULL or RET=HDRS (RFC 3461 4.3). */
static enum smtp_reply_id
take_ret(struct taking *taking, struct slice value)
{
	enum envelope_ret *ret = &taking->envelope->ret;

	*ret = slice_equal_nocase(value, SLICE("FULL")) ? ENVELOPE_RET_FULL
	    : slice_equal_nocase(value, SLICE("HDRS")) ? ENVELOPE_RET_HDRS
	    : ENVELOPE_RET_NONE;
	return *ret != ENVELOPE_RET_NONE ? REPLY_NONE
	    : REPLY_BAD_PARAMETER;
}

/* ENVID= (RFC 3461 4.4): printable US-ASCII, when decoded. */
static enum smtp_reply_id
take_envid(struct taking *taking, struct slice value)
{
	return is_xtext(value, 0x7E) && value.len <= ENVID_MAX &&
	    envelope_set_envid(taking->envelope, value) ? REPLY_NONE
	    : REPLY_BAD_PARAMETER;
}

/* NOTIFY=NEVER, or some of SUCCESS, FAILURE and DELAY (RFC 3461 4.1). */
static enum smtp_reply_id
take_notify(struct taking *taking, struct slice value)
{
	unsigned *notify = &taking->recipient->notify;
	struct slice word;
	bool more;

	if (slice_equal_nocase(value, SLICE("NEVER"))) {
		*notify = ENVELOPE_NOTIFY_NEVER;
		return REPLY_NONE;
	}
	do {
		more = slice_cut(value, ',', &word, &value);
		if (slice_equal_nocase(word, SLICE("SUCCESS")))
			*notify |= ENVELOPE_NOTIFY_SUCCESS;
		else if (slice_equal_nocase(word, SLICE("FAILURE")))
			*notify |= ENVELOPE_NOTIFY_FAILURE;
		else if (slice_equal_nocase(word, SLICE("DELAY")))
			*notify |= ENVELOPE_NOTIFY_DELAY;
		else
			return REPLY_BAD_PARAMETER;
	} while (more);
	return REPLY_NONE;
}

/* An atom of RFC 822, as the type of an address is. */
static bool
is_atom(struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		char c = word.data[i];
		if (c < 0x21 || c > 0x7E ||
		    strchr("()<>@,;:\\\".[]", c) != NULL)
			return false;
	}
	return word.len > 0;
}

/* The digits of "\x{D}" (RFC 6533 3), as far as they go. */
static int
embedded_code(struct slice digits)
{
	int code = 0;

	for (size_t i = 0; i < digits.len && code <= 0xFFFF; i++) {
		char c = slice_lower(digits.data[i]);
		int digit = hex_digit(c >= 'a' && c <= 'f'
		    ? (char)(c - 'a' + 'A') : c);

		if (digit < 0)
			break;
		code = 16 * code + digit;
	}
	return code;
}

/* Is a control character written as "\x{D}", or as "+0D" by somebody who
 * takes it for xtext? */
static bool
hides_control(struct slice text)
{
	static const struct slice embedded = SLICE("\\x{");

	for (; text.len > 0; text = slice_skip(text, 1)) {
		int octet = text.data[0] == '+'
		    ? hex_octet(slice_skip(text, 1)) : -1;

		if (octet >= 0 && is_control(octet))
			return true;
		if (slice_starts_with_nocase(text, embedded) &&
		    is_control(embedded_code(slice_skip(text,
		    embedded.len))))
			return true;
	}
	return false;
}

/* utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 3), loosely: what else is
 * in it is the affair of those who read the notification. */
static bool
is_utf8_address(struct slice text, bool utf8)
{
	if (slice_has_control(text) || hides_control(text))
		return false;
	return utf8 ? slice_is_utf8(text) : slice_is_ascii(text);
}

/* ORCPT=type;address (RFC 3461 4.2): as ENVID, but for "utf-8". */
static enum smtp_reply_id
take_orcpt(struct taking *taking, struct slice value)
{
	struct slice type, address;

	if (value.len > ORCPT_MAX ||
	    !slice_cut(value, ';', &type, &address) || !is_atom(type) ||
	    address.len == 0)
		return REPLY_BAD_PARAMETER;
	if (slice_equal_nocase(type, SLICE("utf-8"))
	    ? !is_utf8_address(address, taking->envelope->utf8)
	    : !is_xtext(address, 0x7E))
		return REPLY_BAD_PARAMETER;
	taking->recipient->orcpt = value;
	return REPLY_NONE;
}

static const struct parameter mail_parameters[] = {
	{ SLICE("SIZE"), true, false, SLICE("SIZE"), take_size },
	{ SLICE("BODY"), true, false, SLICE("8BITMIME"), take_body },
	{ SLICE("SMTPUTF8"), false, false, SLICE("SMTPUTF8"), take_smtputf8 },
	{ SLICE("REQUIRETLS"), false, false, SLICE("REQUIRETLS"),
	    take_requiretls },
	{ SLICE("AUTH"), true, false, SLICE("AUTH"), take_auth },
	{ SLICE("RET"), true, true, SLICE("DSN"), take_ret },
	{ SLICE("ENVID"), true, true, SLICE("DSN"), take_envid },
};
#define N_MAIL_PARAMETERS \
	(sizeof(mail_parameters) / sizeof(mail_parameters[0]))

static const struct parameter rcpt_parameters[] = {
	{ SLICE("NOTIFY"), true, true, SLICE("DSN"), take_notify },
	{ SLICE("ORCPT"), true, true, SLICE("DSN"), take_orcpt },
};
#define N_RCPT_PARAMETERS \
	(sizeof(rcpt_parameters) / sizeof(rcpt_parameters[0]))

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool
is_keyword(struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		char c = slice_lower(word.data[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (c != '-' || i == 0))
			return false;
	}
	return word.len > 0;
}

/* The parameters after a path (RFC 5321 4.1.2), each known and once. */
static enum smtp_reply_id
take_parameters(struct taking *taking, struct slice text,
    const struct parameter *parameters, size_t n)
{
	unsigned seen = 0;

	if (text.len > 0 && text.data[0] != ' ')
		return REPLY_BAD_PARAMETER;
	while ((text = slice_trim(text)).len > 0) {
		struct slice word, keyword, value;
		size_t i = 0;

		slice_cut(text, ' ', &word, &text);
		bool has_value = slice_cut(word, '=', &keyword, &value);
		if (!is_keyword(keyword))
			return REPLY_BAD_PARAMETER;
		while (i < n && !slice_equal_nocase(keyword,
		    parameters[i].keyword))
			i++;
		if (i == n || (parameters[i].dsn && !taking->options->dsn) ||
		    hidden_has(taking->options->hidden,
		    parameters[i].extension))
			return REPLY_UNKNOWN_PARAMETER;
		/* esmtp-value = 1*(%d33-60 / %d62-126), or UTF-8 */
		if ((seen & 1u << i) != 0 ||
		    has_value != parameters[i].needs_value || (value.len > 0 &&
		    memchr(value.data, '=', value.len) != NULL))
			return REPLY_BAD_PARAMETER;
		seen |= 1u << i;
		enum smtp_reply_id reply = parameters[i].take(taking, value);
		if (reply != REPLY_NONE)
			return reply;
	}
	return REPLY_NONE;
}

bool
smtp_offers_requiretls(const struct smtp *smtp)
{
	return smtp->options.requiretls &&
	    (smtp->tls_started || !smtp->options.starttls);
}

enum smtp_reply_id
smtp_take_mail_parameters(struct smtp *smtp, struct slice text)
{
	struct taking taking = { &smtp->options, &smtp->envelope, NULL,
		smtp_offers_requiretls(smtp) };

	return take_parameters(&taking, text, mail_parameters,
	    N_MAIL_PARAMETERS);
}

enum smtp_reply_id
smtp_take_rcpt_parameters(struct smtp *smtp, struct slice text,
    struct envelope_notify *recipient)
{
	struct taking taking = { .options = &smtp->options,
		.envelope = &smtp->envelope, .recipient = recipient };

	*recipient = (struct envelope_notify){ .notify = 0 };
	return take_parameters(&taking, text, rcpt_parameters,
	    N_RCPT_PARAMETERS);
}
