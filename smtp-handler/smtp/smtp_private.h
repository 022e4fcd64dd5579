/*
 * smtp_private: what the files of the SMTP machine share among themselves:
 * smtp.c lines, events and answers, smtp_commands.c the commands,
 * smtp_parameters.c what stands after a path, smtp_text.c message text,
 * smtp_replies.c every reply. For nobody else.
 */
#ifndef SMTP_PRIVATE_H
#define SMTP_PRIVATE_H

#include "smtp/smtp.h"

/* Room for the longest reply: so much text, in so many lines at most. */
#define SMTP_REPLY_LINES_MAX 64
#define SMTP_REPLY_MAX (SMTP_REPLY_TEXT_MAX + SMTP_REPLY_LINES_MAX * 20)

/* Every reply this machine makes by itself. */
enum smtp_reply_id {
	REPLY_NONE, /* nothing is wrong, or nothing to say yet */
	REPLY_OK,
	REPLY_SENDER_OK,
	REPLY_RECIPIENT_OK,
	REPLY_TEXT_GO,
	REPLY_QUEUED,
	REPLY_LOGGED_IN,
	REPLY_TLS_GO,
	REPLY_BYE,
	REPLY_HELP,
	REPLY_HELP_LMTP,
	REPLY_CHUNK_TAKEN,
	REPLY_VRFY,
	REPLY_UNKNOWN_COMMAND,
	REPLY_FOREIGN,
	REPLY_BAD_OCTETS,
	REPLY_BARE_LF,
	REPLY_LINE_TOO_LONG,
	REPLY_HELLO_SYNTAX,
	REPLY_SYNTAX,
	REPLY_MAIL_SYNTAX,
	REPLY_RCPT_SYNTAX,
	REPLY_BAD_SENDER,
	REPLY_BAD_RECIPIENT,
	REPLY_NOT_ASCII,
	REPLY_BAD_PARAMETER,
	REPLY_UNKNOWN_PARAMETER,
	REPLY_NOT_IMPLEMENTED,
	REPLY_HELLO_FIRST,
	REPLY_LHLO_FIRST,
	REPLY_NESTED_MAIL,
	REPLY_MAIL_FIRST,
	REPLY_RCPT_FIRST,
	REPLY_IN_TRANSACTION,
	REPLY_RSET_FIRST,
	REPLY_LOGIN_FIRST,
	REPLY_TOO_BIG,
	REPLY_TOO_MANY_RECIPIENTS,
	REPLY_TEXT_BARE_CR,
	REPLY_TEXT_BARE_LF,
	REPLY_SMUGGLING,
	REPLY_CHUNK_SYNTAX,
	REPLY_CHUNK_ENDLESS,
	REPLY_CHUNK_TOO_LONG,
	REPLY_TLS_TWICE,
	REPLY_AUTH_TWICE,
	REPLY_AUTH_NONE,
	REPLY_AUTH_NEEDS_TLS,
	REPLY_AUTH_MECHANISM,
	REPLY_AUTH_CANCELLED,
	REPLY_AUTH_BASE64,
	REPLY_AUTH_MESSAGE,
	REPLY_AUTH_IDENTITY,
	REPLY_AUTH_TOO_LONG,
	REPLY_TOO_MANY_BAD,
	REPLY_TIMED_OUT,
	REPLY_STOPPING,
};

/* ---- smtp_replies.c ---- */

extern const struct smtp_reply smtp_replies[];

void smtp_put_reply(struct smtp *smtp, const struct smtp_reply *reply);
void smtp_say(struct smtp *smtp, enum smtp_reply_id id);

/* For a command that is wrong in itself. The 20th one ends the session: then
 * another reply is to be said, which smtp_bad_command does at once. */
enum smtp_reply_id smtp_count_bad(struct smtp *smtp, enum smtp_reply_id id);
void smtp_bad_command(struct smtp *smtp, enum smtp_reply_id id);
/* Refuses a command that may not come now. Behind a sender or recipients that
 * were refused that is no fault of its own. */
void smtp_refuse_order(struct smtp *smtp, enum smtp_reply_id id);

/* A copy of a reply of the program's, until it can be said. */
struct smtp_reply smtp_keep_reply(struct smtp *smtp,
    const struct smtp_reply *reply);

/* Says the refusal of a text, if it is due: once, or in LMTP once for each
 * recipient (RFC 2033 4.2). */
bool smtp_put_next_verdict(struct smtp *smtp);

/* The transaction is to end without a message; then what says why. */
void smtp_ask_reset(struct smtp *smtp, enum smtp_after_reset then);

/* All was said about a login: nothing of it is known any more, and after three
 * that were wrong the session is over. */
void smtp_end_login(struct smtp *smtp);

/* ---- smtp_commands.c ---- */

/* Takes a line that is a command. wrong: what is wrong with the line as such,
 * or REPLY_NONE. */
void smtp_take_command(struct smtp *smtp, struct slice line,
    enum smtp_reply_id wrong);

/* What a SASL response led to. */
void smtp_sasl_step(struct smtp *smtp, enum sasl_outcome outcome,
    struct slice challenge);

/* The reply to HELO, EHLO or LHLO. */
void smtp_put_hello(struct smtp *smtp);

/* ---- smtp_parameters.c ---- */

/* RFC 8689 2: only under TLS. */
bool smtp_offers_requiretls(const struct smtp *smtp);

/* Takes what stands after the path of MAIL, or of RCPT, whose own
 * parameters go to *recipient. REPLY_NONE, or the reply. */
enum smtp_reply_id smtp_take_mail_parameters(struct smtp *smtp,
    struct slice text);
enum smtp_reply_id smtp_take_rcpt_parameters(struct smtp *smtp,
    struct slice text, struct envelope_notify *recipient);

/* ---- smtp_text.c ---- */

/* After 354, or a first chunk that the program has a place for. */
void smtp_begin_text(struct smtp *smtp);

/* Notes a refusal: what remains is dropped, and then this is said. Its text
 * lives as long as that takes. */
void smtp_refuse_text(struct smtp *smtp, const struct smtp_reply *reply);

/* Decodes what has come of the text, of a chunk, or of a chunk nobody
 * wants. False where that is nothing. */
bool smtp_take_text(struct smtp *smtp);
bool smtp_take_chunk(struct smtp *smtp);
bool smtp_skip_chunk(struct smtp *smtp);

/* BDAT (RFC 3030), with what was wrong with its line already, or
 * REPLY_NONE: the octets of a chunk are never taken for commands. */
void smtp_begin_chunk(struct smtp *smtp, struct slice argument,
    enum smtp_reply_id wrong);

#endif
