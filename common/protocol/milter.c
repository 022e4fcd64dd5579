/*
 * milter.c - packets: a length of four octets, a command, and what belongs to
 * it.
 */
#include "protocol/milter.h"

#include <assert.h>
#include <string.h>

#define VERSION 6
/* Older versions have fewer flags, but all that is needed here. */
#define VERSION_MIN 2

/* Changes a filter may ask for (SMFIF_*): of headers alone. But clamav-milter
 * leaves where quarantine is not offered, even if it is set to refuse. */
#define ADD_HEADERS 0x01u
#define CHANGE_HEADERS 0x10u
#define QUARANTINE 0x20u
#define ACTIONS (ADD_HEADERS | CHANGE_HEADERS | QUARANTINE)

/* What a filter may ask of the protocol (SMFIP_*). */
#define SKIP 0x400u
#define LEADING_BLANK 0x100000u

/* Per step: its command, the flag by which a filter does not want it, and
 * that by which it does not answer it. */
static const struct {
	char command;
	uint32_t unwanted;
	uint32_t unanswered;
} steps[MILTER_STEPS] = {
	[MILTER_NEGOTIATION] = { 'O', 0, 0 },
	[MILTER_CONNECT] = { 'C', 0x1, 0x1000 },
	[MILTER_HELO] = { 'H', 0x2, 0x2000 },
	[MILTER_MAIL] = { 'M', 0x4, 0x4000 },
	[MILTER_RCPT] = { 'R', 0x8, 0x8000 },
	[MILTER_DATA] = { 'T', 0x200, 0x10000 },
	[MILTER_HEADER] = { 'L', 0x20, 0x80 },
	[MILTER_END_OF_HEADER] = { 'N', 0x40, 0x40000 },
	[MILTER_BODY] = { 'B', 0x10, 0x80000 },
	[MILTER_END] = { 'E', 0, 0 },
};

/* Commands without a step of ours. */
#define UNWANTED_UNKNOWN 0x100u
#define UNANSWERED_UNKNOWN 0x20000u

static uint32_t
offered_protocol(void)
{
	uint32_t flags = SKIP | LEADING_BLANK | UNWANTED_UNKNOWN |
	    UNANSWERED_UNKNOWN;

	for (size_t i = 0; i < MILTER_STEPS; i++)
		flags |= steps[i].unwanted | steps[i].unanswered;
	return flags;
}

void
milter_init(struct milter *milter, char *in, size_t in_size, char *out,
    size_t out_size)
{
	assert(in_size >= MILTER_IN_MIN && out_size >= MILTER_OUT_MIN);
	*milter = (struct milter){ .packet = 0 };
	wire_init(&milter->wire, in, in_size, out, out_size);
}

bool
milter_wants(const struct milter *milter, enum milter_step step)
{
	return (milter->protocol & steps[step].unwanted) == 0;
}

bool
milter_answers(const struct milter *milter, enum milter_step step)
{
	return (milter->protocol & steps[step].unanswered) == 0;
}

/* ---- packets that go out ---- */

static void
encode(uint32_t number, char octets[4])
{
	for (int i = 0; i < 4; i++)
		octets[i] = (char)(number >> (24 - 8 * i) & 0xFF);
}

/* A packet being made, in place. */
struct packet {
	char *data; /* NULL: no room */
	size_t len;
};

static struct packet
begin(struct milter *milter, char command)
{
	size_t room;
	struct packet packet = {
		.data = buf_reserve(&milter->wire.out, &room), .len = 5 };

	/* Any packet fits into as much as this. */
	if (room < MILTER_OUT_MIN) {
		packet.data = NULL;
		return packet;
	}
	packet.data[4] = command;
	return packet;
}

/* What does not fit is cut. */
static void
add(struct packet *packet, struct slice octets)
{
	size_t room = MILTER_OUT_MIN - packet->len;
	size_t len = octets.len < room ? octets.len : room;

	if (packet->data == NULL || len == 0)
		return;
	memcpy(packet->data + packet->len, octets.data, len);
	packet->len += len;
}

/* With its NUL, for which there is always room; a NUL within is its end. */
static void
add_string(struct packet *packet, struct slice string)
{
	const char *nul = string.len > 0
	    ? memchr(string.data, '\0', string.len) : NULL;
	/* The NULs of two strings. */
	size_t room = packet->len + 2 < MILTER_OUT_MIN
	    ? MILTER_OUT_MIN - packet->len - 2 : 0;

	if (nul != NULL)
		string.len = (size_t)(nul - string.data);
	if (string.len > room)
		string.len = room;
	add(packet, string);
	add(packet, (struct slice){ "", 1 });
}

static bool
end(struct milter *milter, struct packet *packet)
{
	if (packet->data == NULL)
		return false;
	encode((uint32_t)packet->len - 4, packet->data);
	buf_commit(&milter->wire.out, packet->len);
	return true;
}

bool
milter_put_negotiation(struct milter *milter)
{
	struct packet packet = begin(milter, 'O');
	const uint32_t numbers[] = { VERSION, ACTIONS, offered_protocol() };
	char octets[4];

	for (size_t i = 0; i < 3; i++) {
		encode(numbers[i], octets);
		add(&packet, (struct slice){ octets, sizeof(octets) });
	}
	return end(milter, &packet);
}

bool
milter_put_macros(struct milter *milter, enum milter_step step,
    const struct milter_macro *macros, size_t n)
{
	struct packet packet = begin(milter, 'D');

	add(&packet, (struct slice){ &steps[step].command, 1 });
	for (size_t i = 0; i < n; i++) {
		if (macros[i].value.len == 0)
			continue;
		add_string(&packet, slice_from(macros[i].name));
		add_string(&packet, macros[i].value);
	}
	return end(milter, &packet);
}

bool
milter_put_connect(struct milter *milter, struct slice name,
    struct slice address, bool is_ipv6, uint16_t port)
{
	struct packet packet = begin(milter, 'C');
	const char port_octets[] = { (char)(port >> 8), (char)(port & 0xFF) };

	add_string(&packet, name);
	if (address.len == 0) {
		add(&packet, SLICE("U"));
		return end(milter, &packet);
	}
	add(&packet, is_ipv6 ? SLICE("6") : SLICE("4"));
	add(&packet, (struct slice){ port_octets, 2 });
	add_string(&packet, address);
	return end(milter, &packet);
}

bool
milter_put_helo(struct milter *milter, struct slice name)
{
	struct packet packet = begin(milter, 'H');

	add_string(&packet, name);
	return end(milter, &packet);
}

bool
milter_put_path(struct milter *milter, enum milter_step step,
    struct slice path)
{
	struct packet packet = begin(milter, steps[step].command);

	add(&packet, SLICE("<"));
	add(&packet, path);
	add_string(&packet, SLICE(">"));
	return end(milter, &packet);
}

bool
milter_put_step(struct milter *milter, enum milter_step step)
{
	struct packet packet = begin(milter, steps[step].command);

	return end(milter, &packet);
}

bool
milter_put_header(struct milter *milter, struct slice name,
    struct slice value)
{
	struct packet packet = begin(milter, 'L');

	add_string(&packet, name);
	add_string(&packet, value);
	return end(milter, &packet);
}

bool
milter_put_body(struct milter *milter, struct slice body)
{
	struct packet packet = begin(milter, 'B');

	assert(body.len <= MILTER_BODY_MAX);
	add(&packet, body);
	return end(milter, &packet);
}

bool
milter_put_abort(struct milter *milter)
{
	struct packet packet = begin(milter, 'A');

	return end(milter, &packet);
}

bool
milter_put_quit(struct milter *milter)
{
	struct packet packet = begin(milter, 'Q');

	return end(milter, &packet);
}

/* ---- packets that come in ---- */

static uint32_t
decode(struct slice octets)
{
	uint32_t number = 0;

	for (int i = 0; i < 4; i++)
		number = number << 8 | (unsigned char)octets.data[i];
	return number;
}

static enum milter_answer
broken(struct milter *milter, const char *what)
{
	milter->what = what;
	return MILTER_BROKEN;
}

static enum milter_answer
take_negotiation(struct milter *milter, struct slice data)
{
	if (data.len < 12)
		return broken(milter, "a short negotiation");
	uint32_t version = decode(data);
	uint32_t protocol = decode(slice_skip(data, 8));

	if (version < VERSION_MIN || version > VERSION)
		return broken(milter, "another version of the protocol");
	if ((protocol & ~offered_protocol()) != 0)
		return broken(milter, "a protocol that was not offered");
	/* Changes that were not offered are another matter: rspamd asks for
	 * all it knows, and does not use them where it must not. */
	milter->protocol = protocol;
	milter->leading_blank = (protocol & LEADING_BLANK) != 0;
	return MILTER_CONTINUE;
}

/* A string that ends in NUL; false where it does not. */
static bool
take_string(struct slice *data, struct slice *string)
{
	const char *nul = data->len > 0
	    ? memchr(data->data, '\0', data->len) : NULL;

	if (nul == NULL)
		return false;
	string->data = data->data;
	string->len = (size_t)(nul - data->data);
	*data = slice_skip(*data, string->len + 1);
	return true;
}

/* RFC 5322 2.2: printable ASCII but for the colon. */
static bool
is_field_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] > '~' ||
		    name.data[i] == ':')
			return false;
	return name.len > 0;
}

static enum milter_answer
take_change(struct milter *milter, struct slice data, bool indexed,
    enum milter_answer answer)
{
	milter->index = 0;
	if (indexed) {
		if (data.len < 4)
			return broken(milter, "a short change");
		milter->index = decode(data);
		data = slice_skip(data, 4);
	}
	if (!take_string(&data, &milter->name) ||
	    !take_string(&data, &milter->value) || data.len > 0)
		return broken(milter, "a change that is cut off");
	if (!is_field_name(milter->name))
		return broken(milter, "a header with such a name");
	return answer;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * "550 5.7.1 text", over several lines "550-5.7.1 one\r\n550 5.7.1 two". A
 * percent sign is doubled: sendmail formats it.
 */
static enum milter_answer
take_reply(struct milter *milter, struct slice data)
{
	struct slice string, line;
	size_t len = 0;

	if (!take_string(&data, &string) || string.len < 3 ||
	    (string.data[0] != '4' && string.data[0] != '5') ||
	    !is_digit(string.data[1]) || !is_digit(string.data[2]))
		return broken(milter, "a reply without a code of 4xx or 5xx");
	char class = string.data[0];
	milter->reply.code = (unsigned)(class - '0') * 100 +
	    (unsigned)(string.data[1] - '0') * 10 +
	    (unsigned)(string.data[2] - '0');
	memcpy(milter->enhanced, class == '4' ? "4.7.1" : "5.7.1", 6);
	for (bool first = true; string.len > 0; first = false) {
		slice_cut(string, '\n', &line, &string);
		line = slice_skip(line, 4);
		size_t skip = smtp_reply_enhanced_len(line,
		    milter->reply.code);
		if (first && skip > 0) {
			memcpy(milter->enhanced, line.data, skip);
			milter->enhanced[skip] = '\0';
		}
		line = slice_skip(line, skip > 0 ? skip + 1 : 0);
		if (!first && len < sizeof(milter->text))
			milter->text[len++] = '\n';
		for (size_t i = 0; i < line.len &&
		    len < sizeof(milter->text); i++) {
			if (line.data[i] == '%' && i + 1 < line.len &&
			    line.data[i + 1] == '%')
				i++;
			if (line.data[i] != '\r')
				milter->text[len++] = line.data[i];
		}
	}
	milter->reply.enhanced = milter->enhanced;
	milter->reply.text = (struct slice){ milter->text, len };
	if (len == 0)
		milter->reply.text = SLICE("Refused");
	return MILTER_REPLY;
}

/* Changes of the message itself, and of its envelope. */
static enum milter_answer
unoffered(struct milter *milter, char command)
{
	static const struct { char command; const char *what; } rows[] = {
		{ '+', "another recipient" }, { '2', "another recipient" },
		{ '-', "a recipient less" }, { 'b', "another body" },
		{ 'e', "another sender" }, { 'q', "quarantine" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].command == command) {
			milter->what = rows[i].what;
			return MILTER_UNOFFERED;
		}
	return broken(milter, "an answer that there is not");
}

static enum milter_answer
take_end(struct milter *milter, char command, struct slice data)
{
	switch (command) {
	case 'p':
		return MILTER_PROGRESS;
	case 'h':
		return take_change(milter, data, false, MILTER_ADD);
	case 'i':
		return take_change(milter, data, true, MILTER_INSERT);
	case 'm':
		return take_change(milter, data, true, MILTER_CHANGE);
	default:
		return unoffered(milter, command);
	}
}

static enum milter_answer
take_answer(struct milter *milter, enum milter_step step, char command,
    struct slice data)
{
	switch (command) {
	case 'c':
		return MILTER_CONTINUE;
	case 'a':
		return MILTER_ACCEPT;
	case 'r':
		return MILTER_REJECT;
	case 't':
	case 'f': /* sendmail's "connection failed" */
	case '4': /* "shutdown": 421 */
		return MILTER_TEMPFAIL;
	case 'y':
		return take_reply(milter, data);
	case 'd':
		return step >= MILTER_MAIL ? MILTER_DISCARD
		    : broken(milter, "a message to discard before there is "
		          "one");
	case 's':
		return step == MILTER_BODY ? MILTER_SKIP
		    : broken(milter, "a body to skip where there is none");
	case 'p':
		/* libmilter sends it at the end alone; it harms nowhere. */
		return MILTER_PROGRESS;
	default:
		return step == MILTER_END ? take_end(milter, command, data)
		    : broken(milter, "an answer that does not belong here");
	}
}

enum milter_answer
milter_take(struct milter *milter, enum milter_step step)
{
	struct buf *in = &milter->wire.in;

	/* What the last answer pointed to. */
	buf_consume(in, milter->packet);
	milter->packet = 0;
	struct slice got = buf_contents(in);
	if (got.len < 4)
		return milter->wire.eof ? broken(milter, "it left")
		                        : MILTER_MORE;
	uint32_t len = decode(got);
	if (len == 0 || len > MILTER_PACKET_MAX)
		return broken(milter, "a packet of no such length");
	if (got.len < 4 + (size_t)len)
		return milter->wire.eof ? broken(milter, "it left")
		                        : MILTER_MORE;
	milter->packet = 4 + len;
	char command = got.data[4];
	struct slice data = { got.data + 5, len - 1 };
	if (step != MILTER_NEGOTIATION)
		return take_answer(milter, step, command, data);
	return command == 'O' ? take_negotiation(milter, data)
	    : broken(milter, "no negotiation");
}
