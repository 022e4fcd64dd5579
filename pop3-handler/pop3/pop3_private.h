/*
 * pop3_private: what the files of the POP3 machine share among themselves:
 * pop3.c the commands, pop3_login.c names and passwords, pop3_messages.c
 * what the maildrop has, pop3_replies.c replies, pop3_text.c every text. For
 * nobody else.
 */
#ifndef POP3_PRIVATE_H
#define POP3_PRIVATE_H

#include "pop3/pop3.h"

/* The longest reply that is made in one go: CAPA, or a line. */
#define POP3_REPLY_MAX 1024

/* pop3_replies.c: a line as it is, and a whole reply of the table, in the
 * session's language. */
void pop3_reply(struct pop3 *pop3, struct slice line);
void pop3_say(struct pop3 *pop3, enum pop3_text text);
/* An -ERR for a command that was no good: before a login there may not be
 * many of them. */
void pop3_refuse(struct pop3 *pop3, enum pop3_text text);
/* Refuses what stands behind a command that takes nothing. */
bool pop3_no_argument(struct pop3 *pop3, struct slice argument);
void pop3_close_session(struct pop3 *pop3);
/* Whatever was said of a login so far. */
void pop3_forget_name(struct pop3 *pop3);
/* The client has heard that a login is wrong: the third time it is the
 * end. */
void pop3_end_login(struct pop3 *pop3);
/* A question about a login is answered, or will not be. */
void pop3_forget_login(struct pop3 *pop3);

/* pop3_login.c: can names and passwords be given now? A step of AUTH's
 * dialogue; and commands. */
bool pop3_login_possible(const struct pop3 *pop3);
void pop3_take_sasl(struct pop3 *pop3, enum sasl_outcome outcome,
    struct slice challenge);
void pop3_run_user(struct pop3 *pop3, struct slice name);
void pop3_run_pass(struct pop3 *pop3, struct slice password);
void pop3_run_auth(struct pop3 *pop3, struct slice argument);

/* pop3_messages.c: "+OK 2 messages (100 octets)"; what a listing has room
 * for now; and commands. */
void pop3_put_maildrop(struct pop3 *pop3);
void pop3_continue_listing(struct pop3 *pop3);
void pop3_run_stat(struct pop3 *pop3, struct slice argument);
void pop3_run_list(struct pop3 *pop3, struct slice argument);
void pop3_run_uidl(struct pop3 *pop3, struct slice argument);
void pop3_run_retr(struct pop3 *pop3, struct slice argument);
void pop3_run_top(struct pop3 *pop3, struct slice argument);
void pop3_run_dele(struct pop3 *pop3, struct slice argument);
void pop3_run_rset(struct pop3 *pop3, struct slice argument);

#endif
