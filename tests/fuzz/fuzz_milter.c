/*
 * fuzz_milter.c - what a filter sends, and what its changes do to a header.
 *
 * The answers are the same in whatever pieces they come; a header that is
 * changed is one whose fields are still fields, and nothing but them.
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

static void
hold(struct slice input, enum fuzz_deal deal, struct text *answers,
    struct header_edit *edit)
{
	static struct milter milter;
	struct fuzz_dealer dealer = fuzz_dealer(deal, input);
	enum milter_step step = MILTER_NEGOTIATION;
	unsigned next = fuzz_octet(&input);

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
		step = step == MILTER_NEGOTIATION
		    ? (enum milter_step)(1 + next % (MILTER_STEPS - 1)) : step;
	}
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
	}
	header_edit_free(&again);
	text_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text texts[3] = { { .data = NULL } };

	for (int i = 0; i < 3; i++) {
		struct header_edit edit;

		CHECK(header_edit_read(&edit, SLICE(HEADER)));
		CHECK(edit.n == 4);
		hold(fuzz_slice(data, size), (enum fuzz_deal)i, &texts[i],
		    &edit);
		check_header(&edit);
		header_edit_free(&edit);
		CHECK_SAME(text_slice(&texts[i]), text_slice(&texts[0]));
	}
	for (int i = 0; i < 3; i++)
		text_free(&texts[i]);
	return 0;
}
