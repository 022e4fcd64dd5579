/*
 * exhaust: every dialogue up to a depth, and every answer of the program to
 * every question in it.
 *
 * The machines have no I/O and their state is plain memory, so a dialogue is a
 * path in a tree: a node is a copy of the state, an edge is one line of the
 * client together with the answers given to the questions it led to. The
 * answers to one line are enumerated like the digits of a counter whose length
 * shows only as it runs.
 */
#ifndef EXHAUST_H
#define EXHAUST_H

#include <stdbool.h>
#include <stddef.h>

#define EXHAUST_DEPTH_MAX 8
#define CHOICES_MAX 24

struct choices {
	unsigned taken[CHOICES_MAX];
	unsigned of[CHOICES_MAX];
	unsigned n;  /* known so far */
	unsigned at; /* made in this run */
};

/* One of n: the next one of this run. */
unsigned choose(struct choices *choices, unsigned n);

/* A machine and its model, as exhaust_smtp.c and exhaust_pop3.c fill it in.
 * Lines and configurations are counted from 0. */
struct exhaust {
	const char *name;
	size_t lines;
	const char *(*line)(size_t line);
	size_t configurations;
	const char *(*configuration)(size_t configuration);

	/* Another session, up to where the dialogues begin. */
	void (*begin)(size_t configuration);
	/* One line in, and all that follows from it, held against the model.
	 * True where it was the last. */
	bool (*step)(size_t line, struct choices *choices);

	/* Its state: all of it, and the buffers, which are empty between two
	 * lines but where holds_buffers says that something is kept there. */
	void *state;
	size_t state_size;
	char *in, *out;
	size_t in_size, out_size;
	bool (*holds_buffers)(void);
};

extern const struct exhaust exhaust;

/* An invariant does not hold: prints the dialogue and ends the program. */
_Noreturn void fail(const char *invariant);

/* RFC 4648 4: what a line is in base64, of those that have no padding, and
 * "YQ==". How many octets; 0 where it is not base64, or too long. */
#define DECODED_MAX 6
size_t decode_letters(const char *line, unsigned char octets[DECODED_MAX]);

/* Are all of them between least and '~'? */
bool octets_between(const unsigned char *octets, size_t n, unsigned least);

#endif
