/*
 * log: one line per event worth having, to the journal, syslog or stderr.
 *
 * A line is an event with named fields. The journal gets the fields one by
 * one (MAIL_EVENT, MAIL_SESSION, MAIL_PEER, ...) and a MESSAGE_ID per kind of
 * event; syslog and stderr get "SESSION event: name=value ...". Whatever a
 * peer made is escaped. The number of lines a session may cause is limited.
 * Never hand it a password, a token, a SASL response or message text.
 *
 * Only programs log: library code returns errors.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "base/error.h"
#include "base/slice.h"

enum log_target {
	LOG_TARGET_AUTO,
	LOG_TARGET_JOURNAL,
	LOG_TARGET_SYSLOG,
	LOG_TARGET_STDERR,
};

enum log_kind {
	LOG_KIND_CONNECT,      /* a session begins */
	LOG_KIND_TLS,          /* a handshake succeeded */
	LOG_KIND_TLS_FAILED,
	LOG_KIND_LOGIN,
	LOG_KIND_LOGIN_FAILED,
	LOG_KIND_ACCEPTED,     /* a message, and the 250 is on its way */
	LOG_KIND_REFUSED,      /* a message, a sender or a recipient */
	LOG_KIND_DELIVERED,    /* a message, into one maildir */
	LOG_KIND_RELAYED,      /* a next hop's verdict */
	LOG_KIND_MAILDROP,     /* opened: messages and octets */
	LOG_KIND_REMOVED,      /* messages, at QUIT */
	LOG_KIND_END,          /* a session ends, with its counts */
	LOG_KIND_TROUBLE,      /* an error of ours */
	LOG_KIND_CONFIG,       /* a wrong setting */
	LOG_KIND_HOOK,         /* what a hook wrote on standard error */
	LOG_KIND_HOOK_FAILED,
	LOG_KIND_MILTER_FAILED,
	LOG_KIND_FAULT,        /* a failure that --faults orders */
	LOG_KIND_NOTICE,       /* something the operator should know */
	LOG_KIND_TRANSCRIPT,
	LOG_KIND_LISTENING,    /* connections are accepted from here on */
	LOG_KIND_STOPPED,      /* and no more */
};

enum log_field {
	LOG_FIELD_PEER,
	LOG_FIELD_LOCAL,
	LOG_FIELD_TLS,
	LOG_FIELD_USER,
	LOG_FIELD_HELO,
	LOG_FIELD_SENDER,
	LOG_FIELD_RECIPIENT,
	LOG_FIELD_RECIPIENTS,
	LOG_FIELD_ID,
	LOG_FIELD_SIZE,
	LOG_FIELD_MESSAGES,
	LOG_FIELD_REPLY,
	LOG_FIELD_NEXT_HOP,
	LOG_FIELD_MAILDIR,
	LOG_FIELD_SECONDS,
	LOG_FIELD_RETRIEVED,
	LOG_FIELD_REMOVED,
	LOG_FIELD_SENT,
	LOG_FIELD_ACCEPTED,
	LOG_FIELD_REFUSED,
	LOG_FIELD_FILE,
	LOG_FIELD_REASON,
	LOG_FIELD_LINE,
	LOG_FIELD_ADDRESS,
	LOG_FIELD_SESSIONS,
	LOG_FIELD_COMMAND,
};

/*
 * Call this first, before anything can fail: it sees to it that descriptors
 * 0 to 2 are open, and that nothing but protocol ever reaches the peer by
 * way of descriptor 2 (classic inetd makes it the connection). Settings may
 * change the target and the level later; until then auto and info hold.
 * Stderr means syslog where descriptor 2 was the connection or closed.
 */
void log_open(const char *program);

/* A connection is served from here on. Where descriptors 1 and 2 are the same
 * pipe, the log goes to syslog now; until here "2>&1" in a shell shows what is
 * wrong with the settings. */
void log_serve(void);

void log_set_target(enum log_target target);
void log_set_level(int priority);

/* Names the session (a short random id is made) and its peer in every later
 * line: "SESSION event: peer=PEER ...". */
void log_set_session(struct slice peer);

/* Forgets the session: its name, its facts, and how many lines it had. For a
 * parent of sessions and, with log_set_session, its children. */
void log_forget_session(void);

/* Opens what the target needs, before it is needed: children that are forked
 * find it open. */
void log_prepare(void);

/* Puts a fact of the session (its user or TLS) into every later entry
 * of the journal, where each must tell by itself; a line of text has it
 * where it is new. */
void log_remember(enum log_field field, struct slice value);
const char *log_session(void);

/* One event: begin, add fields, send. Adding to an event that the level or
 * the limit suppresses costs nothing. */
void log_begin(enum log_kind kind);
void log_add(enum log_field field, struct slice value);
/* A field of the journal alone, once for each value, as many as an entry has
 * room for. The values are the caller's until log_send. */
void log_add_each(enum log_field field, const struct slice *values,
    size_t n);
void log_add_number(enum log_field field, uint64_t value);
/* LOG_FIELD_SECONDS, "0.042". */
void log_add_duration(int64_t milliseconds);
void log_send(void);

/* The common short forms. */
void log_reason(enum log_kind kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_error(const struct error *error);

/* A gathered transcript (wire.h), one line each. */
void log_transcript(struct slice lines);

#endif
