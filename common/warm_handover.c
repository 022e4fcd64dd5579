/*
 * warm_handover.c - state as text, from a program to the one that replaces
 * it: "PID COUNTED SESSIONS OWN READ WRITE FD,FD CHILD,CHILD", each child as
 * "PID:SOURCE:TOKEN".
 */
#include "warm_handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"

#define VARIABLE "MAIL_HANDLERS_HANDOVER"
/* A child: a process id, the source's nine octets and the token's sixteen in
 * hexadecimal, two colons, a comma. */
#define CHILD_SIZE 72
/* All that stands before them. */
#define HEAD_SIZE (160 + LISTENER_MAX * 12)

static void
keep_open(int fd, bool keep)
{
	fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void
keep_all_open(const struct warm_handover *handover, bool keep)
{
	for (size_t i = 0; i < handover->listeners->n; i++)
		keep_open(handover->listeners->fds[i], keep);
	keep_open(handover->report_fds[0], keep);
	keep_open(handover->report_fds[1], keep);
}

static size_t
put_octets(char *at, size_t size, const unsigned char *octets, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += (size_t)snprintf(at + n, size - n, "%02x", octets[i]);
	return n;
}

static size_t
put_child(char *at, size_t size, const struct warm_child *child)
{
	const struct source *source = &child->source;
	size_t n = (size_t)snprintf(at, size, "%ld:%u", (long)child->pid,
	    source->family);

	n += put_octets(at + n, size - n, source->octets,
	    sizeof(source->octets));
	n += (size_t)snprintf(at + n, size - n, ":");
	return n + put_octets(at + n, size - n, child->token.octets,
	    sizeof(child->token.octets));
}

/* Tokens are in it, which no child may find in its memory. */
static void
forget_text(void)
{
	char *text = getenv(VARIABLE);

	if (text != NULL)
		explicit_bzero(text, strlen(text));
	unsetenv(VARIABLE);
}

int
warm_handover_give(const struct warm_handover *handover, struct error *error)
{
	const struct warm_table *table = handover->table;
	size_t size = HEAD_SIZE + table->n * CHILD_SIZE;
	char *text = malloc(size);
	size_t n;

	if (text == NULL)
		return error_system(error, ENOMEM, "handing over");
	n = (size_t)snprintf(text, size, "%ld %ju %ju %d %d %d ",
	    (long)getpid(), (uintmax_t)handover->counted,
	    (uintmax_t)handover->sessions, handover->listeners->own,
	    handover->report_fds[0], handover->report_fds[1]);
	for (size_t i = 0; i < handover->listeners->n; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%d",
		    i > 0 ? "," : "", handover->listeners->fds[i]);
	n += (size_t)snprintf(text + n, size - n, " ");
	for (size_t i = 0; i < table->n; i++) {
		n += (size_t)snprintf(text + n, size - n, "%s",
		    i > 0 ? "," : "");
		n += put_child(text + n, size - n, &table->children[i]);
	}
	int set = setenv(VARIABLE, text, 1);
	explicit_bzero(text, size);
	free(text);
	if (set != 0)
		return error_system(error, errno, "handing over");
	keep_all_open(handover, true);
	return 0;
}

void
warm_handover_undo(const struct warm_handover *handover)
{
	forget_text();
	keep_all_open(handover, false);
}

/* ---- in the program that was executed ---- */

static bool
next_number(struct slice *rest, char separator, uint64_t *number)
{
	struct slice word;

	slice_cut(*rest, separator, &word, rest);
	return slice_to_number(word, INT64_MAX, number);
}

static bool
next_fd(struct slice *rest, char separator, int *fd)
{
	uint64_t number;

	if (!next_number(rest, separator, &number) || number > INT32_MAX ||
	    fcntl((int)number, F_GETFD) < 0)
		return false;
	*fd = (int)number;
	keep_open(*fd, false);
	return true;
}

static bool
read_octets(struct slice text, unsigned char *octets, size_t count)
{
	char pair[3] = "";
	char *end;

	if (text.len != 2 * count)
		return false;
	for (size_t i = 0; i < count; i++) {
		memcpy(pair, text.data + 2 * i, 2);
		octets[i] = (unsigned char)strtoul(pair, &end, 16);
		if (end != pair + 2)
			return false;
	}
	return true;
}

static bool
read_source(struct slice text, struct source *source)
{
	*source = (struct source){ .family = 0 };
	if (text.len < 1)
		return false;
	source->family = (unsigned char)(text.data[0] - '0');
	return read_octets(slice_skip(text, 1), source->octets,
	    sizeof(source->octets));
}

static bool
read_child(struct slice text, struct warm_child *child)
{
	struct slice word, rest;
	uint64_t pid;

	slice_cut(text, ':', &word, &rest);
	if (!slice_to_number(word, INT32_MAX, &pid))
		return false;
	child->pid = (pid_t)pid;
	slice_cut(rest, ':', &word, &rest);
	return read_source(word, &child->source) &&
	    read_octets(rest, child->token.octets,
	    sizeof(child->token.octets));
}

static bool
take_children(struct warm_table *table, struct slice rest)
{
	struct warm_child child, *more;
	struct slice word;

	while (rest.len > 0) {
		slice_cut(rest, ',', &word, &rest);
		if (!read_child(word, &child))
			return false;
		/* The limit may be lower than it was. */
		if (table->n == table->max) {
			more = reallocarray(table->children, table->n + 1,
			    sizeof(*more));
			if (more == NULL)
				return false;
			table->children = more;
			table->max++;
		}
		warm_table_add(table, &child);
	}
	return true;
}

static bool
take(struct warm_handover *handover, struct slice rest)
{
	struct listeners *listeners = handover->listeners;
	struct slice fds;
	uint64_t pid, own;

	if (!next_number(&rest, ' ', &pid) || pid != (uint64_t)getpid() ||
	    !next_number(&rest, ' ', &handover->counted) ||
	    !next_number(&rest, ' ', &handover->sessions) ||
	    !next_number(&rest, ' ', &own) ||
	    !next_fd(&rest, ' ', &handover->report_fds[0]) ||
	    !next_fd(&rest, ' ', &handover->report_fds[1]))
		return false;
	listeners->own = own != 0;
	slice_cut(rest, ' ', &fds, &rest);
	while (fds.len > 0 && listeners->n < LISTENER_MAX) {
		if (!next_fd(&fds, ',', &listeners->fds[listeners->n]))
			return false;
		listeners->n++;
	}
	return listeners->n > 0 && take_children(handover->table, rest);
}

bool
warm_handover_take(struct warm_handover *handover)
{
	const char *text = getenv(VARIABLE);

	if (text == NULL)
		return false;
	bool taken = take(handover, slice_from(text));
	forget_text();
	return taken;
}
