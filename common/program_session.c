/*
 * program_session.c - what the sessions of both programs have in common, from
 * the greeting to the end.
 */
#include "program_private.h"

#include <stdlib.h>

#include "system/clock.h"
#include "system/log.h"

/* Room for the lines that a protocol core takes and writes between two waits:
 * all that fits into its buffers, and three octets more for each line, of
 * which the shortest has one octet. */
#define TRANSCRIPT_SIZE 524288
/* Seconds to wait for the peer to read the final reply. */
#define FINAL_REPLY_TIMEOUT 10

int
program_start_tls(struct program *program, struct wire *wire,
    struct error *error)
{
	if (program_flush(program, wire, error) < 0)
		return -1;
	return program_shake_hands(program, error);
}

void
program_transcript(struct program *program, struct wire *wire)
{
	char *storage;

	if (!program->settings->transcript)
		return;
	storage = malloc(TRANSCRIPT_SIZE);
	if (storage == NULL)
		return;
	buf_init(&program->transcript, storage, TRANSCRIPT_SIZE);
	wire->transcript = &program->transcript;
}

static void
log_lines(struct program *program)
{
	struct slice lines = buf_contents(&program->transcript);
	log_transcript(lines);
	buf_consume(&program->transcript, lines.len);
}

int
program_pump(struct program *program, struct wire *wire, struct error *error)
{
	log_lines(program);
	return faulty_pump(&program->faulty, &program->conn, wire, error);
}

int
program_flush(struct program *program, struct wire *wire,
    struct error *error)
{
	log_lines(program);
	return faulty_flush(&program->faulty, &program->conn, wire, error);
}

int
program_fault(struct program *program, struct wire *wire,
    enum fault_event event, const struct slice *subjects, size_t n,
    const struct fault **refusal, struct error *error)
{
	*refusal = NULL;
	if (program->faulty.faults.n == 0)
		return 0;
	if (program_flush(program, wire, error) < 0)
		return -1;
	return faulty_meet(&program->faulty, event, subjects, n, refusal,
	    error);
}

int
program_after_answer(struct program *program, struct wire *wire,
    struct error *error)
{
	return faulty_is_limited(&program->faulty)
	    ? program_flush(program, wire, error) : 0;
}

static void
log_login(enum auth_outcome outcome, struct slice user, const char *why)
{
	/* A login that could not be checked is no failed one: fail2ban is not
	 * to count it. */
	log_begin(outcome == AUTH_RIGHT ? LOG_KIND_LOGIN
	    : outcome == AUTH_TEMPORARY ? LOG_KIND_TROUBLE
	    : LOG_KIND_LOGIN_FAILED);
	log_add(LOG_FIELD_USER, user);
	if (outcome != AUTH_RIGHT)
		log_add(LOG_FIELD_REASON, slice_from(why));
	log_send();
}

/* A failed login of a local peer does not count for other connections: one
 * program on this machine is not to slow down the others. */
static void
punish(struct program *program)
{
	if (!program->peer.local)
		warm_tell_failed_login(&program->warm);
	auth_delay(++program->failed_logins + program->failed_before);
}

int
program_refuse_login(struct program *program, struct wire *wire,
    struct slice user, const char *why, struct error *error)
{
	if (program_flush(program, wire, error) < 0)
		return -1;
	log_login(AUTH_REFUSED, user, why);
	punish(program);
	return 0;
}

int
program_login(struct program *program, struct wire *wire,
    const struct program_credentials *credentials,
    enum auth_outcome *outcome, struct error *error)
{
	struct error why = { .kind = ERROR_NONE };
	char tls[PROGRAM_TLS_MAX];
	const struct auth_login login = {
		.peer = &program->peer,
		.user = credentials->user,
		.password = credentials->password,
		.mechanism = credentials->mechanism != NULL
		    ? credentials->mechanism : "USER",
		.tls = tls,
	};

	/* The check may take long: what was said before goes first. */
	if (program_flush(program, wire, error) < 0)
		return -1;
	program_tls_name(program, tls);
	*outcome = auth_check(&program->auth, &login, &why);
	log_login(*outcome, login.user, why.text);
	program->logged_in |= *outcome == AUTH_RIGHT;
	if (*outcome == AUTH_RIGHT)
		log_remember(LOG_FIELD_USER, login.user);
	else
		punish(program);
	return 0;
}

/* The final reply, where --faults makes it slow, or drops it. */
static int
flush_faulty(struct program *program, struct wire *wire,
    struct error *error)
{
	return program->faulty.faults.n == 0 ? 0
	    : program_flush(program, wire, error);
}

void
program_end(struct program *program, struct wire *wire,
    const struct error *broken, bool linger)
{
	unsigned timeout = (unsigned)program->settings->timeout;
	struct error cut_off;

	if (broken == NULL && flush_faulty(program, wire,
	    &cut_off) < 0)
		broken = &cut_off;
	log_lines(program);
	/* Before a login the final reply and close_notify share one limit. */
	if (!program->admitted)
		program->conn.hard_deadline = clock_now() +
		    FINAL_REPLY_TIMEOUT * 1000;
	conn_set_timeout(&program->conn, timeout < FINAL_REPLY_TIMEOUT
	    ? timeout : FINAL_REPLY_TIMEOUT);
	conn_close(&program->conn, broken == NULL ? wire : NULL,
	    linger && broken == NULL);
	free(program->transcript.data);
}

struct slice
program_end_reason(const struct program *program, const struct wire *wire,
    const struct error *broken, bool quit, struct slice said)
{
	return broken != NULL ? slice_from(broken->text)
	    : quit ? SLICE("quit")
	    : wire->timed_out && !program->admitted &&
	    program_age(program) >=
	    (int64_t)program->settings->login_timeout * 1000
	    ? SLICE("no login in time")
	    : wire->timed_out ? SLICE("timed out")
	    : wire->stopping ? SLICE("stopped")
	    : said.len > 0 ? said
	    : wire->eof ? SLICE("closed by peer")
	    : program->failed_logins > 0 ? SLICE("too many failed logins")
	    : SLICE("closed");
}

void
program_admit(struct program *program)
{
	if (program->admitted)
		return;
	program->admitted = true;
	program->conn.hard_deadline = 0;
	program_confine_files(program);
}

void
program_accepted(struct program *program)
{
	warm_tell_accepted(&program->warm);
}

int64_t
program_age(const struct program *program)
{
	return clock_now() - program->started;
}
