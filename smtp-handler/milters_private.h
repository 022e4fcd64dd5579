/*
 * milters_private: what the files of milters share among themselves. For
 * nobody else.
 */
#ifndef MILTERS_PRIVATE_H
#define MILTERS_PRIVATE_H

#include "milters.h"

/* "Try again later" */
extern const struct smtp_reply milters_later;

/* Puts a packet; where there is no room, sends what is in out first. False,
 * with *why, where that fails. */
#define MILTERS_PUT(link, put, why) \
	((put) || (milter_link_flush(link, why) == 0 && (put)))

/* Macros and a step that nobody answers may be many, as RCPT is: what is there
 * goes first, so that there is room for both. False where it cannot go. */
bool milters_make_room(struct milters *milters, struct milter_link *link,
    struct hook_reply *made);

/* What the client is to be told so far. */
void milters_go_on(struct hook_reply *made);
void milters_refuse(struct hook_reply *made, const struct smtp_reply *reply);

/* The filter is of no use now: what --milter-default says. */
void milters_give_up(struct milters *milters, struct milter_link *link,
    const struct error *why, struct hook_reply *made);

/* An answer that is neither to go on, nor a change that was made. */
void milters_take_answer(struct milters *milters, struct milter_link *link,
    enum milter_step step, enum milter_answer answer,
    struct hook_reply *made);

/* The step was put: its answer, if there is one. */
void milters_ask(struct milters *milters, struct milter_link *link,
    enum milter_step step, struct hook_reply *made);

/* Does the filter want to be told more about this message? */
bool milters_goes_on(const struct milter_link *link,
    const struct hook_reply *made);

void milters_put_macros(struct milter_link *link,
    const struct milters_facts *facts, enum milter_step step);

#endif
