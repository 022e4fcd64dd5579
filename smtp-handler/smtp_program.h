/*
 * smtp_program: one connection of smtp-handler, for the files it is made of.
 * main.c does what the protocol core asks for, smtp_paths.c answers MAIL and
 * RCPT; the sections below say what the others do.
 */
#ifndef SMTP_PROGRAM_H
#define SMTP_PROGRAM_H

#include "relay/account.h"
#include "delivery.h"
#include "base/error.h"
#include "hooks.h"
#include "milters.h"
#include "system/log.h"
#include "maildir/maildir_deliver.h"
#include "places.h"
#include "program.h"
#include "relay/relay.h"
#include "protocol/sasl.h"
#include "smtp/smtp.h"
#include "smtp_settings.h"
#include "protocol/trace.h"

#define IN_SIZE 65536
#define OUT_SIZE 16384
/* One of so many transactions removes old files under tmp (delivery.h). */
#define SWEEP_EVERY 16
/* The recipients of a message stand for so many addresses elsewhere, beside
 * those that the client named itself. */
#define SMTP_ELSEWHERE_MAX 10000

struct smtp_program {
	struct program program;
	struct smtp_settings settings;
	struct smtp smtp;
	struct accounts accounts;
	struct aliases aliases;
	struct relay relay;
	char mark[24];  /* in the greeting; "" without a relay */
	struct places places;
	struct delivery delivery;
	struct hooks hooks;
	struct milters milters;
	bool discards;   /* a filter: the message is accepted, and dropped */
	bool only_shown; /* mail goes nowhere but to --on-message */

	/* What the hooks or filters that were asked last have decided, and
	 * which of them; NULL: to go on. */
	struct hook_reply hooked;
	const char *hooked_by;

	/* --faults: how the message's end is to be answered, or NULL. */
	const struct fault *refusal;

	/* The login, once there is one. */
	char user[SASL_SECRET_MAX];
	size_t user_len;
	const char *mechanism; /* SASL's name, or NULL */

	/* The mail transaction. */
	const struct account *account; /* where it is relayed, or NULL */
	size_t relayed; /* recipients that the next hop took */
	struct envelope relayed_on; /* what it is told: what aliases stand for
	                             * in place of what the client said */
	char id[32];
	unsigned transactions;
	int64_t began;
	struct trace_counter counter;

	/* Counts, for the log. */
	uint64_t accepted;
	uint64_t refused;

	char in[IN_SIZE];
	char out[OUT_SIZE];
};

/* ---- smtp_confine.c ---- */

void smtp_needs(struct program *program, struct confine *confine);

/* Hooks, and what writes a relay's password. */
int smtp_allow_programs(struct program *program, struct error *error);

/* ---- smtp_check.c ---- */

/* What program.h asks of a program. Do the settings go together, and has
 * mail a place to go to? */
int smtp_check_settings(struct program *program, struct error *error);
int smtp_read_files(struct program *program, struct error *error);
int smtp_check_config(struct program *program);
int smtp_check_access(struct program *program);

/* May a message be read again before it is kept, for several maildirs, a next
 * hop, filters or hooks? Then it waits in a spool. */
bool smtp_may_spool(const struct smtp_program *p, const struct auth *auth);

void smtp_init_places(struct smtp_program *p, const struct auth *auth);

/* The lines of --aliases FILE that are no good; were there some? */
bool smtp_log_alias_faults(const struct smtp_program *p);

/* ---- smtp_hooks.c ---- */

/* What is known of the session and the transaction. */
struct trace smtp_trace(const struct smtp_program *p);

/* Runs the hooks, about the last recipient or the whole message;
 * p->hooked.reply is what the client is to be told. */
enum hook_decision smtp_hooks_recipient(struct smtp_program *p);
enum hook_decision smtp_hooks_message(struct smtp_program *p);

/* The same for filters; about MAIL, too. */
enum hook_decision smtp_milters_mail(struct smtp_program *p);
enum hook_decision smtp_milters_recipient(struct smtp_program *p);
enum hook_decision smtp_milters_message(struct smtp_program *p);

/* Which of them decided, and how it is told, for the log; in text. */
const char *smtp_hooks_reason(const struct smtp_program *p, char *text,
    size_t size);

/* ---- smtp_faults.c: where --faults meets a session ---- */

/* Before the greeting. *over: the session is over, and the final reply is in
 * out. -1: it is over without one. */
int smtp_faults_connect(struct smtp_program *p, bool *over,
    struct error *error);

/* Before an event is answered. *done: it was answered here. -1: the session
 * is to end. */
int smtp_faults_event(struct smtp_program *p, enum smtp_event event,
    bool *done, struct error *error);

/* After QUIT, whose reply is the last line in out. */
int smtp_faults_quit(struct smtp_program *p, struct error *error);

/* ---- smtp_paths.c ---- */

/* MAIL, and the last recipient: answers them. -1: the connection is of no use
 * any more. */
int smtp_serve_mail(struct smtp_program *p, struct error *error);
int smtp_serve_recipient(struct smtp_program *p, struct error *error);

/* Forgets what is known of the sender and the recipients so far. */
void smtp_forget_transaction(struct smtp_program *p);

/* The reply for an error of ours. */
struct smtp_reply smtp_error_reply(const struct error *why);

/* ---- smtp_log.c ---- */

/* A message: accepted, refused, or taken by the next hop. Where no reason is
 * given, what the client was told is why it was refused. */
void smtp_log_message(struct smtp_program *p, enum log_kind kind,
    const struct smtp_reply *reply, const char *reason);

/* The last recipient, who is refused by the next hop or for want of one. */
void smtp_log_refused_recipient(struct smtp_program *p,
    const struct smtp_reply *reply, const char *reason);

/* The sender, who is not the login's own. */
void smtp_log_refused_sender(const struct smtp_program *p,
    const struct smtp_reply *reply);

/* A command that was wrong in itself: its line tells the sender or the
 * recipient, if it had one. */
void smtp_log_refused_line(const struct smtp *smtp);

/* SMTP_RESET: a message that was refused while it came, if it was; or one
 * that the session ended in. */
void smtp_log_reset(struct smtp_program *p);

void smtp_log_delivered(const struct smtp_program *p,
    const struct maildir_deliver *deliver);
void smtp_log_end(const struct smtp_program *p, const struct error *broken);

#endif
