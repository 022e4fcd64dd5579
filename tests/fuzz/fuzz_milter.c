/*
 * fuzz_milter.c - what a filter sends, what its changes do to a header, and
 * what is sent to it.
 *
 * The first octet chooses the step that is answered; with its highest bit the
 * next one is the length of a header, which follows. The rest is what the
 * filter sends. Its answers are the same in whatever pieces they come; a
 * header that is changed is one whose fields are still fields, and nothing
 * but them. The same octets, cut into words, are sent to a filter: each packet
 * is what a second encoder makes.
 */
#include "fuzz.h"

#include "header_edit.h"
#include "protocol/milter.h"

#define HEADER "Received: ours\n\tid x\nSubject: s\nX: 1\nx: 2\n\ty\n"

static char in[MILTER_IN_MIN], out[MILTER_OUT_MIN];

static void
change(struct header_edit *edit, const struct milter *milter,
    enum milter_answer answer)
{
	bool blank = milter->leading_blank, changed = true;

	if (answer == MILTER_ADD)
		changed = header_edit_add(edit, milter->name, milter->value,
		    blank);
	else if (answer == MILTER_INSERT)
		changed = header_edit_insert(edit, milter->index,
		    milter->name, milter->value, blank);
	else if (answer == MILTER_CHANGE)
		changed = header_edit_change(edit, milter->index,
		    milter->name, milter->value, blank);
	/* There is an end to them, and then nothing is changed. */
	CHECK(changed || edit->changes > HEADER_EDIT_CHANGES_MAX ||
	    edit->octets > HEADER_EDIT_OCTETS_MAX);
}

static void
note(struct text *answers, const struct milter *milter,
    enum milter_answer answer)
{
	text_format(answers, "%d ", (int)answer);
	if (answer == MILTER_REPLY) {
		CHECK(milter->reply.code >= 400 && milter->reply.code < 600);
		CHECK((unsigned)(milter->reply.enhanced[0] - '0') ==
		    milter->reply.code / 100);
		CHECK(milter->reply.text.len <= SMTP_REPLY_TEXT_MAX);
		text_format(answers, "%u %s ", milter->reply.code,
		    milter->reply.enhanced);
		text_add(answers, milter->reply.text);
	} else if (answer >= MILTER_ADD && answer <= MILTER_CHANGE) {
		CHECK(milter->name.len > 0);
		text_format(answers, "%u ", milter->index);
		text_add(answers, milter->name);
		text_add(answers, milter->value);
	} else if (answer >= MILTER_UNOFFERED) {
		text_add(answers, slice_from(milter->what));
	}
	text_add_octet(answers, '\n');
}

/* What it asked for, by libmilter's mfdef.h: SMFIP_NO... and SMFIP_NR_... */
static void
check_wishes(const struct milter *milter)
{
	static const uint32_t flags[MILTER_STEPS][2] = {
		[MILTER_CONNECT] = { 1u << 0, 1u << 12 },
		[MILTER_HELO] = { 1u << 1, 1u << 13 },
		[MILTER_MAIL] = { 1u << 2, 1u << 14 },
		[MILTER_RCPT] = { 1u << 3, 1u << 15 },
		[MILTER_BODY] = { 1u << 4, 1u << 19 },
		[MILTER_HEADER] = { 1u << 5, 1u << 7 },
		[MILTER_END_OF_HEADER] = { 1u << 6, 1u << 18 },
		[MILTER_DATA] = { 1u << 9, 1u << 16 },
	};

	for (size_t i = 0; i < MILTER_STEPS; i++) {
		CHECK(milter_wants(milter, (enum milter_step)i) ==
		    ((milter->protocol & flags[i][0]) == 0));
		CHECK(milter_answers(milter, (enum milter_step)i) ==
		    ((milter->protocol & flags[i][1]) == 0));
	}
}

static void
hold(struct slice input, unsigned next, enum fuzz_deal deal,
    struct text *answers, struct header_edit *edit)
{
	static struct milter milter;
	struct fuzz_dealer dealer = fuzz_dealer(deal, input);
	enum milter_step step = MILTER_NEGOTIATION;

	milter_init(&milter, in, sizeof(in), out, sizeof(out));
	for (;;) {
		enum milter_answer answer = milter_take(&milter, step);

		if (answer == MILTER_MORE && input.len > 0) {
			size_t room = buf_room(&milter.wire.in);
			size_t len = fuzz_piece(&dealer, input.len);

			CHECK(room > 0);
			len = len < room ? len : room;
			CHECK(buf_append(&milter.wire.in, (struct slice){
				input.data, len }));
			input = slice_skip(input, len);
			continue;
		}
		if (answer == MILTER_MORE) {
			if (milter.wire.eof)
				break;
			milter.wire.eof = true;
			continue;
		}
		note(answers, &milter, answer);
		change(edit, &milter, answer);
		if (answer == MILTER_BROKEN)
			break;
		check_wishes(&milter);
		step = step == MILTER_NEGOTIATION
		    ? (enum milter_step)(1 + next % (MILTER_STEPS - 1)) : step;
	}
}

/* Name, colon and value are the field, with the blank or without it. */
static void
check_value(const struct header_field *field)
{
	struct slice with = header_edit_value(field, true);
	struct slice without = header_edit_value(field, false);
	struct slice text = field->text;
	bool blank = with.len > 0 && (with.data[0] == ' ' ||
	    with.data[0] == '\t');

	CHECK(slice_starts_with(text, field->name));
	text = slice_skip(text, field->name.len);
	while (text.len > 0 && text.data[0] != ':') {
		CHECK(text.data[0] == ' ' || text.data[0] == '\t');
		text = slice_skip(text, 1);
	}
	CHECK(text.len > 0 && text.data[text.len - 1] == '\n');
	text.len--;
	CHECK_SAME(with, slice_skip(text, 1));
	CHECK_SAME(without, slice_skip(with, blank));
}

static void
check_header(const struct header_edit *edit)
{
	struct text text = { .data = NULL };
	struct header_edit again;

	for (size_t i = 0; i < edit->n; i++)
		text_add(&text, edit->fields[i].text);
	CHECK(header_edit_read(&again, text_slice(&text)));
	CHECK(again.length == text.len);
	CHECK(again.n == edit->n);
	for (size_t i = 0; i < edit->n; i++) {
		CHECK_SAME(again.fields[i].name, edit->fields[i].name);
		CHECK_SAME(again.fields[i].text, edit->fields[i].text);
		check_value(&again.fields[i]);
	}
	header_edit_free(&again);
	text_free(&text);
}

/* ---- what is sent ---- */

static void
add_string(struct text *want, struct slice s)
{
	struct slice string, rest;

	slice_cut(s, '\0', &string, &rest);
	text_add(want, string);
	text_add_octet(want, '\0');
}

/* One packet: its length, and what it is; want is empty again. */
static void
check_sent(struct milter *milter, struct text *want)
{
	struct slice got = buf_contents(&milter->wire.out);
	size_t len = 0;

	CHECK(got.len > 4 && got.len <= 4 + MILTER_PACKET_MAX);
	for (int i = 0; i < 4; i++)
		len = len << 8 | (unsigned char)got.data[i];
	got = slice_skip(got, 4);
	CHECK(got.len == len);
	/* What does not fit is cut. */
	if (want->len <= MILTER_PACKET_MAX)
		CHECK_SAME(got, text_slice(want));
	else
		CHECK(got.data[0] == want->data[0]);
	buf_consume(&milter->wire.out, got.len + 4);
	want->len = 0;
}

static void
send_connect(struct milter *milter, struct slice name, struct slice address,
    struct text *want)
{
	CHECK(milter_put_connect(milter, name, address, name.len % 2 == 0,
	    0x1234));
	text_add_octet(want, 'C');
	add_string(want, name);
	if (address.len > 0) {
		text_add(want, name.len % 2 == 0 ? SLICE("6\x12\x34")
		    : SLICE("4\x12\x34"));
		add_string(want, address);
	} else {
		text_add_octet(want, 'U');
	}
	check_sent(milter, want);
}

static void
send_macros(struct milter *milter, struct slice a, struct slice b,
    struct text *want)
{
	const struct milter_macro macros[] = { { "i", a }, { "{mail}", b } };

	CHECK(milter_put_macros(milter, MILTER_MAIL, macros, 2));
	text_add(want, SLICE("DM"));
	for (size_t i = 0; i < 2; i++)
		if (macros[i].value.len > 0) {
			add_string(want, slice_from(macros[i].name));
			add_string(want, macros[i].value);
		}
	check_sent(milter, want);
}

static void
send_path(struct milter *milter, struct slice path, struct text *want)
{
	CHECK(milter_put_path(milter, MILTER_RCPT, path));
	text_add(want, SLICE("R<"));
	text_add(want, path);
	text_add(want, SLICE(">\0"));
	check_sent(milter, want);
}

static void
check_sending(struct slice input)
{
	static struct milter milter;
	struct text want = { .data = NULL };
	struct slice a, b;

	milter_init(&milter, in, sizeof(in), out, sizeof(out));
	CHECK(milter_put_negotiation(&milter));
	/* Nothing is offered but changes of headers (SMFIF_*). */
	text_add(&want, SLICE("O\0\0\0\x06\0\0\0\x31\0\x1F\xF7\xFF"));
	check_sent(&milter, &want);
	slice_cut(input, '\n', &a, &input);
	slice_cut(input, '\n', &b, &input);
	send_connect(&milter, a, b, &want);
	send_macros(&milter, a, b, &want);
	send_path(&milter, a, &want);
	CHECK(milter_put_helo(&milter, a));
	text_add_octet(&want, 'H');
	add_string(&want, a);
	check_sent(&milter, &want);
	CHECK(milter_put_header(&milter, a, b));
	text_add_octet(&want, 'L');
	add_string(&want, a);
	add_string(&want, b);
	check_sent(&milter, &want);
	if (input.len > MILTER_BODY_MAX)
		input.len = MILTER_BODY_MAX;
	CHECK(milter_put_body(&milter, input));
	/* There is no room for another before this one is gone. */
	CHECK(!milter_put_abort(&milter));
	text_add_octet(&want, 'B');
	text_add(&want, input);
	check_sent(&milter, &want);
	CHECK(milter_put_step(&milter, MILTER_END));
	text_add_octet(&want, 'E');
	check_sent(&milter, &want);
	CHECK(milter_put_quit(&milter));
	text_add_octet(&want, 'Q');
	check_sent(&milter, &want);
	text_free(&want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text texts[3] = { { .data = NULL } };
	struct slice input = fuzz_slice(data, size);
	unsigned next = fuzz_octet(&input);
	struct text header = { .data = NULL };

	if ((next & 0x80) != 0) {
		struct slice own = { NULL, fuzz_octet(&input) };

		own.len = own.len < input.len ? own.len : input.len;
		own.data = input.data;
		text_add(&header, own);
		text_add_octet(&header, '\n');
		input = slice_skip(input, own.len);
	} else {
		text_add(&header, SLICE(HEADER));
	}
	for (int i = 0; i < 3; i++) {
		struct header_edit edit, copy;

		CHECK(header_edit_read(&edit, text_slice(&header)));
		CHECK((next & 0x80) != 0 || edit.n == 4);
		CHECK(edit.length <= header.len);
		hold(input, next & 0x7F, (enum fuzz_deal)i, &texts[i], &edit);
		check_header(&edit);
		CHECK(header_edit_copy(&copy, &edit));
		header_edit_free(&edit);
		check_header(&copy);
		header_edit_free(&copy);
		CHECK_SAME(text_slice(&texts[i]), text_slice(&texts[0]));
	}
	for (int i = 0; i < 3; i++)
		text_free(&texts[i]);
	text_free(&header);
	check_sending(input);
	return 0;
}
