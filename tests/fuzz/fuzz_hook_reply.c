/*
 * fuzz_hook_reply.c - a hook's exit status and the first line of its output.
 *
 * Whatever it says, the reply is of the status' class, and one line of
 * printable text.
 */
#include "fuzz.h"

#include "protocol/hook_reply.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice line = fuzz_slice(data, size);
	int status = (int)fuzz_octet(&line);
	struct hook_reply made, plain, copy;

	hook_reply_make(&made, status, line, "2.1.5");
	hook_reply_make(&plain, status, SLICE(""), "2.1.5");
	CHECK(made.decision == plain.decision);
	CHECK(made.expected == plain.expected);
	CHECK(made.reply.code / 100 == plain.reply.code / 100);
	CHECK(made.reply.code >= 200 && made.reply.code < 600);
	CHECK((unsigned)(made.reply.enhanced[0] - '0') ==
	    made.reply.code / 100);
	CHECK(strlen(made.reply.enhanced) >= 5 &&
	    strlen(made.reply.enhanced) <= 9);
	CHECK(made.reply.text.len <= HOOK_REPLY_TEXT_MAX);
	for (size_t i = 0; i < made.reply.text.len; i++)
		CHECK(made.reply.text.data[i] >= ' ' &&
		    made.reply.text.data[i] <= '~');
	if (made.contradicts)
		CHECK_SAME(made.reply.text, plain.reply.text);
	hook_reply_copy(&copy, &made);
	memset(&made, 'x', sizeof(made));
	CHECK(strspn(copy.reply.enhanced, "0123456789.") ==
	    strlen(copy.reply.enhanced));
	return 0;
}
