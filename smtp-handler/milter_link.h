/*
 * milter_link: the connection to one filter (protocol/milter.h), for one
 * session.
 *
 * Opened when it is first needed, and negotiated. Each step has its time. A
 * filter that does not answer in it, leaves, or does not keep to the protocol
 * is broken: the link is closed, and opened again for the next message.
 */
#ifndef MILTER_LINK_H
#define MILTER_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "protocol/milter.h"
#include "system/conn.h"

struct milter_link {
	const char *address; /* of --milter */
	bool is_open;
	bool greeted;     /* it knows who the client is */
	bool in_message;  /* and of a message that has not ended */
	bool accepted;    /* the message: no more questions about it */
	bool indifferent; /* or the whole session */
	struct milter milter;

	int64_t end_by;   /* ms, clock_now(): whatever it says, the end of the
	                   * message is over */

	/* milter_link.c's own. */
	struct conn *conn;
	char *storage;
};

/* "unix:/PATH" or "inet:PORT@HOST", HOST being this machine's own loopback.
 * For a setting: says in *why what it must be. */
bool milter_link_is_address(const char *address, char *why, size_t size);

/* Is it "inet:", which needs the network? */
bool milter_link_is_inet(const char *address);

/* Connects and negotiates. -1: it cannot be had, with *error. */
int milter_link_open(struct milter_link *link, struct error *error);

/* Hands on what was put; -1: broken. */
int milter_link_flush(struct milter_link *link, struct error *error);

/*
 * The answer to a step, which was put before: never MORE and never BROKEN,
 * for which the result is -1 with *error. PROGRESS is waited through.
 */
int milter_link_ask(struct milter_link *link, enum milter_step step,
    enum milter_answer *answer, struct error *error);

/* Sends the filter a QUIT and closes, if it is open. */
void milter_link_close(struct milter_link *link);

#endif
