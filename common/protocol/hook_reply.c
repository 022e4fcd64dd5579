/*
 * hook_reply.c - one table from exit status to reply.
 */
#include "protocol/hook_reply.h"

#include <string.h>

struct row {
	int status;
	struct smtp_reply reply;
};

static const struct row rows[] = {
	{ 100, { 550, "5.7.1", SLICE("Refused") } },
	{ 77, { 550, "5.7.1", SLICE("Not permitted") } },
	{ 65, { 550, "5.6.0", SLICE("Not acceptable as it is") } },
	{ 67, { 550, "5.1.1", SLICE("There is no such mailbox here") } },
	{ 69, { 550, "5.3.0", SLICE("Not available") } },
	/* Temporary. So is any other status, but these are what a hook that
	 * means it should use (expected). */
	{ 75, { 451, "4.7.1", SLICE("Try again later") } },
	{ 111, { 451, "4.7.1", SLICE("Try again later") } },
};

static const struct smtp_reply later = { 451, "4.7.1",
	SLICE("Try again later") };

static void
take_status(struct hook_reply *made, int status, const char *accepted)
{
	made->expected = true;
	if (status == 0 || status == 99) {
		made->decision = status == 0 ? HOOK_GO_ON : HOOK_DROP;
		made->reply = (struct smtp_reply){ 250, accepted,
			slice_from("") };
		return;
	}
	made->decision = HOOK_REFUSE;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].status == status) {
			made->reply = rows[i].reply;
			return;
		}
	made->expected = false;
	made->reply = later;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A word of three digits that begins with no 0; else 0. */
static unsigned
code_of(struct slice word)
{
	if (word.len != 3 || !is_digit(word.data[0]) ||
	    word.data[0] == '0' || !is_digit(word.data[1]) ||
	    !is_digit(word.data[2]))
		return 0;
	return (unsigned)(word.data[0] - '0') * 100 +
	    (unsigned)(word.data[1] - '0') * 10 +
	    (unsigned)(word.data[2] - '0');
}

static void
take_text(struct hook_reply *made, struct slice text)
{
	size_t len = text.len < sizeof(made->text) ? text.len
	                                           : sizeof(made->text);

	if (len == 0)
		return;
	for (size_t i = 0; i < len; i++)
		made->text[i] = text.data[i] >= ' ' && text.data[i] <= '~'
		    ? text.data[i] : '?';
	made->reply.text = (struct slice){ made->text, len };
}

void
hook_reply_make(struct hook_reply *made, int status, struct slice line,
    const char *accepted)
{
	struct slice rest, word, after;
	char class;

	*made = (struct hook_reply){ .contradicts = false };
	take_status(made, status, accepted);
	class = (char)('0' + made->reply.code / 100);
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	rest = slice_trim(line);
	slice_cut(rest, ' ', &word, &after);
	unsigned code = code_of(word);
	if (code != 0) {
		rest = slice_trim(after);
		slice_cut(rest, ' ', &word, &after);
	}
	/* Taken off the text in any case, whatever its class. */
	bool enhanced = word.len > 0 && smtp_reply_enhanced_len(word,
	    (unsigned)(word.data[0] - '0') * 100) == word.len;
	if ((code != 0 && code / 100 != made->reply.code / 100) ||
	    (enhanced && word.data[0] != class)) {
		made->contradicts = true;
		return;
	}
	if (code != 0)
		made->reply.code = code;
	if (enhanced) {
		memcpy(made->enhanced, word.data, word.len);
		made->enhanced[word.len] = '\0';
		made->reply.enhanced = made->enhanced;
		rest = slice_trim(after);
	}
	take_text(made, rest);
}

void
hook_reply_copy(struct hook_reply *to, const struct hook_reply *from)
{
	*to = *from;
	if (from->reply.enhanced == from->enhanced)
		to->reply.enhanced = to->enhanced;
	if (from->reply.text.data == from->text)
		to->reply.text.data = to->text;
}
