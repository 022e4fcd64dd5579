/*
 * exhaust.c - walks the tree of dialogues.
 *
 *	exhaust_smtp|exhaust_pop3 [DEPTH [CONFIGURATION...]]
 */
#include "exhaust.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The dialogue so far. */
static struct {
	size_t lines[EXHAUST_DEPTH_MAX];
	struct choices choices[EXHAUST_DEPTH_MAX];
	unsigned depth;
	size_t configuration;
} path;

static uint64_t lines_tried, dialogues;

static struct saved {
	char *state, *in, *out;
	bool with_buffers;
} saved[EXHAUST_DEPTH_MAX + 1];

unsigned
choose(struct choices *choices, unsigned n)
{
	if (choices->at == CHOICES_MAX)
		fail("more questions than one line can lead to");
	if (choices->at == choices->n) {
		choices->taken[choices->n] = 0;
		choices->of[choices->n++] = n;
	}
	return choices->taken[choices->at++];
}

/* To the next answers; false where all were tried. */
static bool
next_choices(struct choices *choices)
{
	choices->at = 0;
	while (choices->n > 0) {
		unsigned last = choices->n - 1;

		if (++choices->taken[last] < choices->of[last])
			return true;
		choices->n--;
	}
	return false;
}

_Noreturn void
fail(const char *invariant)
{
	fprintf(stderr, "%s: %s\nin %s:\n", exhaust.name, invariant,
	    exhaust.configuration(path.configuration));
	for (unsigned i = 0; i < path.depth; i++) {
		fprintf(stderr, "  C: %s", exhaust.line(path.lines[i]));
		for (unsigned k = 0; k < path.choices[i].at; k++)
			fprintf(stderr, " [answer %u]",
			    path.choices[i].taken[k]);
		fputc('\n', stderr);
	}
	exit(1);
}

size_t
decode_letters(const char *line, unsigned char octets[DECODED_MAX])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(line), n = 0;

	if (strcmp(line, "YQ==") == 0) {
		octets[0] = 'a';
		return 1;
	}
	if (len % 4 != 0 || len / 4 * 3 > DECODED_MAX)
		return 0;
	while (*line != '\0') {
		unsigned long group = 0;

		for (size_t i = 0; i < 4; i++) {
			const char *digit = strchr(digits, *line++);

			if (digit == NULL)
				return 0;
			group = group << 6 | (unsigned long)(digit - digits);
		}
		for (int shift = 16; shift >= 0; shift -= 8)
			octets[n++] = (unsigned char)(group >> shift);
	}
	return n;
}

bool
octets_between(const unsigned char *octets, size_t n, unsigned least)
{
	for (size_t i = 0; i < n; i++)
		if (octets[i] < least || octets[i] > '~')
			return false;
	return true;
}

static void
save(struct saved *to)
{
	memcpy(to->state, exhaust.state, exhaust.state_size);
	to->with_buffers = exhaust.holds_buffers();
	if (to->with_buffers) {
		memcpy(to->in, exhaust.in, exhaust.in_size);
		memcpy(to->out, exhaust.out, exhaust.out_size);
	}
}

static void
restore(const struct saved *from)
{
	memcpy(exhaust.state, from->state, exhaust.state_size);
	if (from->with_buffers) {
		memcpy(exhaust.in, from->in, exhaust.in_size);
		memcpy(exhaust.out, from->out, exhaust.out_size);
	}
}

static void
explore(unsigned depth)
{
	save(&saved[depth]);
	for (size_t i = 0; i < exhaust.lines; i++) {
		struct choices *choices = &path.choices[path.depth];

		*choices = (struct choices){ .n = 0 };
		path.lines[path.depth++] = i;
		do {
			bool closed = exhaust.step(i, choices);

			lines_tried++;
			if (depth > 1 && !closed)
				explore(depth - 1);
			else
				dialogues++;
			restore(&saved[depth]);
		} while (next_choices(choices));
		path.depth--;
	}
}

static bool
is_wanted(int argc, char **argv, size_t configuration)
{
	bool wanted = argc < 3;

	for (int i = 2; i < argc; i++)
		wanted |= strcmp(argv[i],
		    exhaust.configuration(configuration)) == 0;
	return wanted;
}

int
main(int argc, char **argv)
{
	unsigned long depth = argc > 1 ? strtoul(argv[1], NULL, 10) : 4;
	bool found = false;

	if (depth < 1 || depth > EXHAUST_DEPTH_MAX) {
		fprintf(stderr, "usage: %s [1 to %d [CONFIGURATION...]]\n",
		    argv[0], EXHAUST_DEPTH_MAX);
		return 64;
	}
	for (size_t i = 0; i <= depth; i++) {
		saved[i].state = malloc(exhaust.state_size);
		saved[i].in = malloc(exhaust.in_size);
		saved[i].out = malloc(exhaust.out_size);
		if (saved[i].state == NULL || saved[i].in == NULL ||
		    saved[i].out == NULL) {
			perror(argv[0]);
			return 75;
		}
	}
	for (size_t i = 0; i < exhaust.configurations; i++) {
		if (!is_wanted(argc, argv, i))
			continue;
		found = true;
		path.configuration = i;
		lines_tried = dialogues = 0;
		exhaust.begin(i);
		explore((unsigned)depth);
		printf("%s, %s: %ju dialogues of up to %lu lines\n",
		    exhaust.name, exhaust.configuration(i),
		    (uintmax_t)dialogues, depth);
		fflush(stdout);
	}
	if (!found)
		fprintf(stderr, "%s: no such configuration\n", argv[0]);
	return found ? 0 : 64;
}
