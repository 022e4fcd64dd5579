/*
 * fuzz_command.c - splitting a hook's command into words.
 *
 * A second splitter, state by state, must find the same words; and words put
 * in quotes in every way must come back as they were.
 */
#include "fuzz.h"

#include "system/command.h"

#define WORDS_MAX (COMMAND_WORDS_MAX + 1)

struct words {
	struct text items[WORDS_MAX];
	size_t n;
};

static void
words_free(struct words *words)
{
	for (size_t i = 0; i < words->n; i++)
		text_free(&words->items[i]);
}

/* As the shell does (XCU 2.2). False: an open quote, no word, or too
 * many. */
static bool
split(struct words *words, struct slice line)
{
	enum { BETWEEN, BARE, SINGLE, DOUBLE } state = BETWEEN;
	struct text *word = NULL;

	for (size_t i = 0; i < line.len; i++) {
		char c = line.data[i];
		bool last = i + 1 == line.len;
		bool blank = c == ' ' || c == '\t';

		if (state == BETWEEN && !blank) {
			if (words->n == COMMAND_WORDS_MAX)
				return false;
			word = &words->items[words->n++];
			state = BARE;
		}
		switch (state) {
		case BETWEEN:
			break;
		case BARE:
			if (blank)
				state = BETWEEN;
			else if (c == '\'')
				state = SINGLE;
			else if (c == '"')
				state = DOUBLE;
			else if (c == '\\' && !last)
				text_add_octet(word, line.data[++i]);
			else
				text_add_octet(word, c);
			break;
		case SINGLE:
			if (c == '\'')
				state = BARE;
			else
				text_add_octet(word, c);
			break;
		case DOUBLE:
			if (c == '"') {
				state = BARE;
				break;
			}
			if (c == '\\' && !last &&
			    strchr("$`\"\\", line.data[i + 1]) != NULL)
				c = line.data[++i];
			text_add_octet(word, c);
			break;
		}
	}
	return words->n > 0 && (state == BETWEEN || state == BARE);
}

static void
compare(const struct command_line *line, const struct words *words)
{
	for (size_t i = 0; i < words->n; i++) {
		CHECK(line->words[i] != NULL);
		CHECK_SAME(slice_from(line->words[i]),
		    text_slice(&words->items[i]));
	}
	CHECK(line->words[words->n] == NULL);
}

static int
parse(struct command_line *line, struct slice text, struct error *error)
{
	char *copy = malloc(text.len + 1);

	CHECK(copy != NULL);
	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	*error = (struct error){ .kind = ERROR_NONE };
	int result = command_line_parse(line, copy, "--hook", error);
	free(copy);
	return result;
}

/* One word in quotes: in single ones, in double ones, or by backslashes. */
static void
quote(struct text *out, struct slice word, unsigned way)
{
	text_add(out, way == 0 ? SLICE("'") : way == 1 ? SLICE("\"")
	    : word.len == 0 ? SLICE("''") : SLICE(""));
	for (size_t i = 0; i < word.len; i++) {
		char c = word.data[i];

		if (way == 0 && c == '\'') {
			text_add(out, SLICE("'\\''"));
			continue;
		}
		if (way > 1 || (way == 1 && strchr("$`\"\\", c) != NULL))
			text_add_octet(out, '\\');
		text_add_octet(out, c);
	}
	text_add(out, way == 0 ? SLICE("'") : way == 1 ? SLICE("\"")
	    : SLICE(""));
}

static void
check_quoting(const struct words *words, unsigned ways)
{
	struct command_line line;
	struct text text = { .data = NULL };
	struct error error;

	for (size_t i = 0; i < words->n; i++) {
		quote(&text, text_slice(&words->items[i]), ways++ % 3);
		text_add(&text, i % 2 == 0 ? SLICE(" \t ") : SLICE(" "));
	}
	CHECK(parse(&line, text_slice(&text), &error) == 0);
	compare(&line, words);
	command_line_free(&line);
	text_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = fuzz_slice(data, size);
	unsigned ways = fuzz_octet(&input);
	static struct words words;
	struct command_line line;
	struct error error;
	struct slice ignored;

	slice_cut(input, '\0', &input, &ignored);
	words = (struct words){ .n = 0 };
	bool good = split(&words, input);
	CHECK((parse(&line, input, &error) == 0) == good);
	if (good) {
		compare(&line, &words);
		command_line_free(&line);
		check_quoting(&words, ways);
	} else {
		CHECK(error.kind == ERROR_CONFIG);
		CHECK(line.words[0] == NULL && line.storage == NULL);
	}
	words_free(&words);
	return 0;
}
