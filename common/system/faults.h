/*
 * faults: failures that a tester orders, line by line in a file.
 *
 *	# event     pattern            what
 *	rcpt        soft*@example.org  451 4.7.1 Come back in a minute
 *	rcpt        *                  first 2 452 4.2.2 Mailbox is full
 *	retr        2                  drop 1000
 *
 * One file serves both programs: each looks at the events that it has. The
 * first line whose event and pattern match, and whose count is due, decides.
 * This module reads the lines; faults_count.h counts, and faulty.h carries out.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "protocol/smtp_reply.h"

/* A file's octets and lines, at most. */
#define FAULTS_FILE_MAX 65536
#define FAULTS_MAX 256
/* Of a delay, and of the time that a rate is counted over: seconds. */
#define FAULTS_SECONDS_MAX 86400

enum fault_event {
	FAULT_CONNECT,
	FAULT_STARTTLS,
	FAULT_LOGIN,
	FAULT_QUIT,
	/* SMTP's */
	FAULT_MAIL,
	FAULT_RCPT,
	FAULT_DATA,
	FAULT_MESSAGE,
	/* POP3's */
	FAULT_STAT,
	FAULT_LIST,
	FAULT_UIDL,
	FAULT_RETR,
	FAULT_TOP,
	FAULT_DELE,
	FAULT_EVENTS
};

enum fault_when {
	FAULT_ALWAYS,
	FAULT_FIRST, /* the first n matches */
	FAULT_EACH,  /* each nth match: "every" */
	FAULT_OVER,  /* matches beyond n in so many seconds */
};

enum fault_action {
	FAULT_NOTHING,    /* but a delay */
	FAULT_REPLY,
	FAULT_DROP,       /* close: at once, or after octets */
	FAULT_SLOW,       /* so many octets a second */
	FAULT_LOSE_REPLY, /* do it, say nothing, close */
};

struct fault {
	unsigned line;          /* in the file */
	uint64_t key;           /* of its text: what it is counted by */
	enum fault_event event;
	const char *pattern;    /* for fnmatch(3) */
	enum fault_when when;
	uint64_t n;
	uint64_t seconds;       /* FAULT_OVER */
	uint64_t delay;         /* milliseconds */
	enum fault_action action;
	bool has_octets;        /* FAULT_DROP */
	uint64_t octets;        /* FAULT_DROP, FAULT_SLOW */
	/* FAULT_REPLY: code 0 where only a text for POP3 is given. */
	struct smtp_reply reply;
	const char *what;       /* all of it, as it was written */

	char *storage; /* faults.c's own */
};

struct faults {
	struct fault *items;
	size_t n;
	const char *path; /* the caller's */

	/* faults.c's own. */
	char *text;
};

/*
 * Reads the file at path, which must outlive it. wrong is called for each
 * line that is wrong, if it is not NULL. -1 with *error for the first of
 * them, "PATH:LINE: ...", or where the file cannot be read: ERROR_CONFIG.
 * faults_free is to follow in either case.
 */
int faults_read(struct faults *faults, const char *path,
    void (*wrong)(const struct error *error), struct error *error);

/* The same from text of len octets with a NUL behind it, which is changed and
 * must outlive it. */
int faults_parse(struct faults *faults, const char *path, char *text,
    size_t len, void (*wrong)(const struct error *error),
    struct error *error);

void faults_free(struct faults *faults);

/* Is one of these subjects, of n, what the fault is about? Case does not
 * matter, and '*' stands for '/' too. */
bool fault_matches(const struct fault *fault, enum fault_event event,
    const struct slice *subjects, size_t n);

const char *fault_event_name(enum fault_event event);

#endif
