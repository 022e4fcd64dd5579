/*
 * faults.c - the lines of --faults.
 */
#include "system/faults.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/file.h"

/* What a pattern is matched against, at most: longer subjects match "*"
 * alone. */
#define SUBJECT_MAX 2048

static const char *const events[FAULT_EVENTS] = {
	[FAULT_CONNECT] = "connect", [FAULT_STARTTLS] = "starttls",
	[FAULT_LOGIN] = "login", [FAULT_QUIT] = "quit",
	[FAULT_MAIL] = "mail", [FAULT_RCPT] = "rcpt",
	[FAULT_DATA] = "data", [FAULT_MESSAGE] = "message",
	[FAULT_STAT] = "stat", [FAULT_LIST] = "list",
	[FAULT_UIDL] = "uidl", [FAULT_RETR] = "retr",
	[FAULT_TOP] = "top", [FAULT_DELE] = "dele",
};

const char *
fault_event_name(enum fault_event event)
{
	return events[event];
}

static bool
is_smtp_only(enum fault_event event)
{
	return event >= FAULT_MAIL && event <= FAULT_MESSAGE;
}

/* ---- words ---- */

/* The rest of a line, which words are taken from. */
struct words {
	char *rest;
};

/* The next word; it ends with a NUL then. NULL: there is none. */
static char *
next_word(struct words *words)
{
	char *word = words->rest + strspn(words->rest, " \t");
	char *end = word + strcspn(word, " \t");

	words->rest = *end != '\0' ? end + 1 : end;
	*end = '\0';
	return *word != '\0' ? word : NULL;
}

/* The next word without taking it. */
static struct slice
peek(const struct words *words)
{
	const char *word = words->rest + strspn(words->rest, " \t");

	return (struct slice){ word, strcspn(word, " \t") };
}

static bool
take_if(struct words *words, const char *keyword)
{
	if (!slice_equal(peek(words), slice_from(keyword)))
		return false;
	next_word(words);
	return true;
}

/* What is wrong with the line, or NULL. */
static const char *
take_number(struct words *words, uint64_t min, uint64_t max,
    uint64_t *number)
{
	const char *word = next_word(words);

	if (word == NULL || !slice_to_number(slice_from(word), max, number) ||
	    *number < min)
		return "a number is missing, or out of range";
	return NULL;
}

/* Seconds with up to three decimals, as milliseconds. */
static const char *
take_seconds(struct words *words, uint64_t *milliseconds)
{
	static const char wrong[] = "delay takes seconds, as 2 or 0.5";
	struct slice whole, decimals;
	const char *word = next_word(words);
	uint64_t seconds, fraction = 0;

	if (word == NULL)
		return wrong;
	bool dot = slice_cut(slice_from(word), '.', &whole, &decimals);
	if (!slice_to_number(whole, FAULTS_SECONDS_MAX, &seconds) ||
	    (dot && (decimals.len > 3 ||
	    !slice_to_number(decimals, 999, &fraction))))
		return wrong;
	for (size_t i = decimals.len; i < 3; i++)
		fraction *= 10;
	*milliseconds = seconds * 1000 + fraction;
	return NULL;
}

/* ---- what ---- */

static bool
is_digits(struct slice word, size_t n)
{
	uint64_t number;

	return word.len == n && slice_to_number(word, UINT64_MAX, &number);
}

/* The text of a reply: all that is left, without blanks at its ends. */
static struct slice
take_text(struct words *words)
{
	struct slice text = slice_trim(slice_from(words->rest));

	words->rest += strlen(words->rest);
	return text;
}

/* "452 4.2.2 Mailbox is full": only the code must be there. */
static const char *
take_smtp_reply(struct words *words, struct fault *fault)
{
	uint64_t code;

	slice_to_number(slice_from(next_word(words)), 999, &code);
	/* After a 2xx the client would take the command for carried out. */
	if (code < 400 || code > 599)
		return "a reply is 400 to 599";
	fault->reply.code = (unsigned)code;
	if (smtp_reply_enhanced_len(peek(words), fault->reply.code) > 0)
		fault->reply.enhanced = next_word(words);
	fault->reply.text = take_text(words);
	return NULL;
}

static const char *
take_reply(struct words *words, struct fault *fault)
{
	struct slice first = peek(words);
	bool text = first.len > 0 && (first.data[0] == '[' ||
	    (first.data[0] >= 'A' && first.data[0] <= 'Z'));

	fault->action = FAULT_REPLY;
	if (is_digits(first, 3))
		return take_smtp_reply(words, fault);
	if (is_smtp_only(fault->event))
		return "neither a reply, which begins with its code, nor one "
		    "of: first, every, over, delay, drop, slow, lose-reply";
	if (take_if(words, "-ERR"))
		text = true;
	if (!text)
		return "neither a reply, which begins with a code of SMTP, "
		    "-ERR, [ or a capital letter, nor one of: first, every, "
		    "over, delay, drop, slow, lose-reply";
	fault->reply.text = take_text(words);
	return NULL;
}

/* How many of its matches count. */
static const char *
take_when(struct words *words, struct fault *fault)
{
	const char *why;

	if (take_if(words, "first")) {
		fault->when = FAULT_FIRST;
	} else if (take_if(words, "every")) {
		fault->when = FAULT_EACH;
	} else if (take_if(words, "over")) {
		fault->when = FAULT_OVER;
		why = take_number(words, 0, UINT32_MAX, &fault->n);
		if (why != NULL)
			return why;
		if (!take_if(words, "per"))
			return "it is: over N per SECONDS";
		return take_number(words, 1, FAULTS_SECONDS_MAX,
		    &fault->seconds);
	} else {
		return NULL;
	}
	return take_number(words, 1, UINT32_MAX, &fault->n);
}

static const char *
take_action(struct words *words, struct fault *fault)
{
	if (take_if(words, "drop")) {
		fault->action = FAULT_DROP;
		fault->has_octets = peek(words).len > 0;
		return fault->has_octets ? take_number(words, 0, INT64_MAX,
		    &fault->octets) : NULL;
	}
	if (take_if(words, "slow")) {
		fault->action = FAULT_SLOW;
		return take_number(words, 1, INT64_MAX, &fault->octets);
	}
	if (take_if(words, "lose-reply")) {
		fault->action = FAULT_LOSE_REPLY;
		return NULL;
	}
	return take_reply(words, fault);
}

/* [first N|every N|over N per S] [delay S [then]] [ACTION] */
static const char *
take_what(struct words *words, struct fault *fault)
{
	const char *why = take_when(words, fault);

	if (why != NULL)
		return why;
	if (take_if(words, "delay")) {
		why = take_seconds(words, &fault->delay);
		if (why != NULL)
			return why;
		bool then = take_if(words, "then");
		if (!then && peek(words).len == 0)
			return NULL;
	}
	if (peek(words).len == 0)
		return "what is to happen is missing";
	why = take_action(words, fault);
	if (why == NULL && peek(words).len > 0)
		return "something stands behind it";
	return why;
}

static const char *
take_event(struct words *words, struct fault *fault)
{
	const char *word = next_word(words);

	for (int i = 0; word != NULL && i < FAULT_EVENTS; i++)
		if (strcmp(word, events[i]) == 0) {
			fault->event = (enum fault_event)i;
			return NULL;
		}
	return "no event: they are connect, starttls, login, mail, rcpt, "
	    "data, message, stat, list, uidl, retr, top, dele and quit";
}

/* ---- lines ---- */

/* FNV-1a, 64 bits: a line is counted by its text, so that lines before it
 * may come and go. */
static uint64_t
hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return hash;
}

/* What stands behind a # at the beginning or after a blank is a comment. */
static void
cut_comment(char *line)
{
	for (char *at = line; (at = strchr(at, '#')) != NULL; at++)
		if (at == line || at[-1] == ' ' || at[-1] == '\t') {
			*at = '\0';
			return;
		}
}

/* line is cut into words; copy has the same text, and fault->what points into
 * it. */
static const char *
parse_line(char *line, char *copy, struct fault *fault)
{
	struct words words = { line };
	const char *why = take_event(&words, fault);

	if (why != NULL)
		return why;
	fault->pattern = next_word(&words);
	if (fault->pattern == NULL)
		return "a pattern is missing";
	fault->what = copy + (words.rest - line);
	fault->what += strspn(fault->what, " \t");
	return take_what(&words, fault);
}

static int
add_line(struct faults *faults, char *line, unsigned number,
    struct error *error)
{
	struct fault *fault = &faults->items[faults->n];
	size_t len;

	cut_comment(line);
	for (len = strlen(line); len > 0 && strchr(" \t\r", line[len - 1]) !=
	    NULL;)
		line[--len] = '\0';
	if (line[strspn(line, " \t")] == '\0')
		return 0;
	if (faults->n == FAULTS_MAX)
		return error_set(error, ERROR_CONFIG, "%s:%u: more than %d "
		    "lines", error_tail(faults->path, 120), number,
		    FAULTS_MAX);
	/* Taking words overwrites blanks. */
	char *copy = strdup(line);
	if (copy == NULL)
		return error_system(error, ENOMEM, "%s",
		    error_tail(faults->path, 120));
	*fault = (struct fault){ .line = number, .key = hash_of(line) };
	const char *why = parse_line(copy, line, fault);
	if (why == NULL) {
		faults->n++;
		fault->storage = copy;
		return 0;
	}
	free(copy);
	return error_set(error, ERROR_CONFIG, "%s:%u: %s",
	    error_tail(faults->path, 120), number, why);
}

int
faults_parse(struct faults *faults, const char *path, char *text,
    size_t len, void (*wrong)(const struct error *error),
    struct error *error)
{
	char *end = text + len;
	struct error one;
	int result = 0;

	*faults = (struct faults){ .path = path };
	faults->items = calloc(FAULTS_MAX + 1, sizeof(*faults->items));
	if (faults->items == NULL)
		return error_system(error, ENOMEM, "%s",
		    error_tail(path, 120));
	for (unsigned number = 1; text < end; number++) {
		char *eol = memchr(text, '\n', (size_t)(end - text));

		if (eol == NULL)
			eol = end;
		*eol = '\0';
		if (add_line(faults, text, number, &one) < 0) {
			if (result == 0)
				*error = one;
			result = -1;
			if (wrong != NULL)
				wrong(&one);
		}
		text = eol + 1;
	}
	return result;
}

int
faults_read(struct faults *faults, const char *path,
    void (*wrong)(const struct error *error), struct error *error)
{
	char *text = NULL;
	size_t len;

	*faults = (struct faults){ .path = path };
	if (file_read(path, FAULTS_FILE_MAX, false, &text, &len, error) < 0) {
		if (wrong != NULL)
			wrong(error);
		return -1;
	}
	int result = faults_parse(faults, path, text, len, wrong, error);
	faults->text = text;
	return result;
}

void
faults_free(struct faults *faults)
{
	for (size_t i = 0; i < faults->n; i++)
		free(faults->items[i].storage);
	free(faults->items);
	free(faults->text);
	*faults = (struct faults){ .n = 0 };
}

/* ---- matching ---- */

static bool
matches_one(const char *pattern, struct slice subject)
{
	char text[SUBJECT_MAX + 1];

	if (strcmp(pattern, "*") == 0)
		return true;
	/* fnmatch(3) would take a NUL for the end, and match the beginning. */
	if (subject.len > SUBJECT_MAX || (subject.len > 0 &&
	    memchr(subject.data, '\0', subject.len) != NULL))
		return false;
	if (subject.len > 0)
		memcpy(text, subject.data, subject.len);
	text[subject.len] = '\0';
	return fnmatch(pattern, text, FNM_CASEFOLD) == 0;
}

bool
fault_matches(const struct fault *fault, enum fault_event event,
    const struct slice *subjects, size_t n)
{
	if (fault->event != event)
		return false;
	for (size_t i = 0; i < n; i++)
		if (matches_one(fault->pattern, subjects[i]))
			return true;
	return false;
}
