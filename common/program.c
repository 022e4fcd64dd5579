/*
 * program.c - the frame around a session: main() of both programs, and what
 * their sessions have in common.
 */
#include "program.h"

#include "check_as.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/log.h"
#include "protocol/pattern.h"
#include "system/process.h"
#include "system/tls_rehearsal.h"
#include "system/tls_server.h"
#include "base/version.h"

/* Room for the lines that a protocol core takes and writes between two waits:
 * all that fits into its buffers, and three octets more for each line, of
 * which the shortest has one octet. */
#define TRANSCRIPT_SIZE 524288
/* Seconds to wait for the peer to read the final reply. */
#define FINAL_REPLY_TIMEOUT 10

static int
fail(const struct error *error)
{
	log_error(error);
	return error_meaning(error->kind)->exit_status;
}

/* The server's certificates and keys, where this program does TLS itself. */
static struct tls_server_options
tls_options(const struct program *program)
{
	const struct common_settings *settings = program->settings;

	return (struct tls_server_options){
		.certs = settings->tls_cert.items,
		.n_certs = settings->tls_cert.count,
		.keys = settings->tls_key.items,
		.n_keys = settings->tls_key.count,
		.protocols = settings->tls_protocols,
		.ciphers = settings->tls_ciphers,
		.alpn = program->kind->alpn,
	};
}

static int
make_tls(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;
	const struct tls_server_options options = tls_options(program);

	if (settings->tls != TLS_MODE_IMPLICIT &&
	    settings->tls != TLS_MODE_STARTTLS)
		return 0;
	program->tls = tls_server_new(&options, error);
	return program->tls == NULL ? -1 : 0;
}

/* Logs the lines of the users file that are wrong, which lock out their user.
 * Were there any? */
static bool
log_user_faults(const struct auth *auth)
{
	struct error error;
	size_t n = 0;

	while (auth_get_fault(auth, n, &error)) {
		log_error(&error);
		n++;
	}
	return n > 0;
}

/* --check-config: the faults of the shared settings and of the program's. */
static int
check_config(struct program *program)
{
	struct common_settings *settings = program->settings;
	struct error error;
	struct auth auth;
	int result = 0;

	const struct tls_server_options tls = tls_options(program);
	if (make_tls(program, &error) < 0 || (program->tls != NULL &&
	    tls_server_check_dates(&tls, &error) < 0)) {
		log_error(&error);
		result = -1;
	}
	tls_free(program->tls);
	if (auth_init(&auth, settings->auth, (unsigned)settings->timeout,
	    &settings->domains, &error) < 0 ||
	    auth_check_config(&auth, settings->maildir != NULL &&
	    pattern_has_name(settings->maildir), &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (log_user_faults(&auth))
		result = -1;
	auth_close(&auth);
	if (warm_check_settings(settings, &error) < 0 ||
	    settings_check(settings, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	if (settings->faults != NULL && faulty_check(settings->faults) < 0)
		result = -1;
	if (program->kind->check_config(program) < 0)
		result = -1;
	if (settings->check_as != NULL &&
	    check_as(program, settings->check_as) < 0)
		result = -1;
	return result == 0 ? 0 : error_meaning(ERROR_CONFIG)->exit_status;
}

static void
log_connect(const struct program *program)
{
	log_begin(LOG_KIND_CONNECT);
	log_add(LOG_FIELD_LOCAL, program->peer.local ? SLICE("yes")
	                                             : SLICE("no"));
	log_send();
}

void
program_tls_name(const struct program *program, char name[PROGRAM_TLS_MAX])
{
	struct tls *tls = program->conn.transport.tls;

	name[0] = '\0';
	if (tls != NULL)
		snprintf(name, PROGRAM_TLS_MAX, "%s %s",
		    tls_conn_version(tls), tls_conn_cipher(tls));
}

static void
log_tls(const struct program *program)
{
	char text[PROGRAM_TLS_MAX];

	program_tls_name(program, text);
	log_remember(LOG_FIELD_TLS, slice_from(text));
	log_begin(LOG_KIND_TLS);
	log_add(LOG_FIELD_TLS, slice_from(text));
	log_send();
}

static int
start_tls(struct program *program, struct error *error)
{
	if (conn_start_tls(&program->conn, program->tls, error) < 0) {
		log_reason(LOG_KIND_TLS_FAILED, "%s", error->text);
		return -1;
	}
	/* There is one handshake in a session: the context, with the keys of
	 * all server names, is not needed any more. */
	tls_free(program->tls);
	program->tls = NULL;
	program->secure = true;
	log_tls(program);
	return 0;
}

/* The PROXY header may take as long as a TLS handshake. */
static int
take_proxy_header(struct program *program, struct error *error)
{
	struct proxy_header header = { .len = 0 };
	enum proxy_outcome outcome = PROXY_MORE;
	int64_t limit = (int64_t)program->settings->timeout;
	int64_t deadline = clock_now() + 1000 *
	    (limit < CONN_HANDSHAKE_TIMEOUT ? limit : CONN_HANDSHAKE_TIMEOUT);
	char octets[512];

	while (outcome == PROXY_MORE) {
		size_t want = proxy_header_want(&header);
		ssize_t n = conn_read_plain(&program->conn, octets,
		    want < sizeof(octets) ? want : sizeof(octets), deadline,
		    error);
		if (n < 0)
			return -1;
		if (n == 0)
			return error_set(error, ERROR_PEER,
			    "closed within the PROXY header");
		outcome = proxy_header_take(&header,
		    (struct slice){ octets, (size_t)n });
	}
	if (outcome == PROXY_BAD)
		return error_set(error, ERROR_PEER, "no valid PROXY header "
		    "from %s: does what passes connections on send one?",
		    program->peer.name);
	return peer_apply_proxy_header(&program->peer, &header, error);
}

/* What the peer does before the protocol begins. */
static int
hear_peer(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;

	if (settings->proxy_protocol &&
	    take_proxy_header(program, error) < 0) {
		log_set_session(slice_from(program->peer.name));
		log_reason(LOG_KIND_REFUSED, "PROXY header: %s", error->text);
		return -1;
	}
	log_set_session(slice_from(program->peer.name));
	log_connect(program);
	program->failed_before = warm_tell_source(&program->warm,
	    program->peer.address);
	/* RFC 8314 3: a password in clear text only from this machine. */
	program->secure = program->peer.local ||
	    settings->tls == TLS_MODE_OUTER;
	if (settings->tls == TLS_MODE_IMPLICIT &&
	    start_tls(program, error) < 0)
		return -1;
	if (program->auth.kind == AUTH_ANY_REMOTE && !program->peer.local)
		log_reason(LOG_KIND_NOTICE, "--auth any-remote: anyone may "
		    "log in from %s", program->peer.name);
	return 0;
}

int
program_start_tls(struct program *program, struct wire *wire,
    struct error *error)
{
	if (program_flush(program, wire, error) < 0)
		return -1;
	return start_tls(program, error);
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

/* --faults is for tests: it must not make the mail of others fail. */
static int
check_faults_allowed(const struct program *program, struct error *error)
{
	if (program->settings->faults == NULL || program->peer.local ||
	    program->auth.kind == AUTH_ANY)
		return 0;
	return error_set(error, ERROR_CONFIG, "--faults is for local peers, "
	    "or for --auth any: %s", program->peer.remote_by);
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

/* All that must be read before the peer is looked at. */
static int
prepare_session(struct program *program, struct error *error)
{
	const struct common_settings *settings = program->settings;
	const struct program_kind *kind = program->kind;

	program->started = clock_now();
	if (auth_init(&program->auth, settings->auth,
	    (unsigned)settings->timeout, &settings->domains, error) < 0)
		return -1;
	log_user_faults(&program->auth);
	if (faulty_init(&program->faulty, settings->faults, error) < 0)
		return -1;
	if (kind->read_files != NULL && kind->read_files(program, error) < 0)
		return -1;
	return peer_take(&program->peer, error);
}

/* One session, on the connection that the descriptors are. */
static int
run_session(struct program *program)
{
	struct error error;
	int exit_status = 0;

	if (prepare_session(program, &error) < 0) {
		exit_status = fail(&error);
	} else {
		conn_open(&program->conn, program->peer.in_fd,
		    program->peer.out_fd,
		    (unsigned)program->settings->timeout);
		program->conn.hard_deadline = program->started +
		    (int64_t)program->settings->login_timeout * 1000;
		program_confine_calls(program);
		/* Whatever the peer did, the status is 0: it must not leave a
		 * failed unit behind. */
		if (hear_peer(program, &error) < 0) {
			conn_close(&program->conn, NULL, true);
		} else if (check_faults_allowed(program, &error) < 0) {
			conn_close(&program->conn, NULL, true);
			exit_status = fail(&error);
		} else if (program->kind->serve(program, &error) < 0) {
			exit_status = fail(&error);
		}
	}
	auth_close(&program->auth);
	faulty_close(&program->faulty);
	return exit_status;
}

static int
check_settings(struct program *program, struct error *error)
{
	if (warm_check_settings(program->settings, error) < 0 ||
	    settings_check(program->settings, error) < 0)
		return -1;
	return program->kind->check_settings(program, error);
}

/* Loads once, in the parent, what otherwise each child would load. */
static int
prepare_sessions(struct program *program, struct error *error)
{
	if (check_settings(program, error) < 0 ||
	    make_tls(program, error) < 0)
		return -1;
	if (program->tls != NULL)
		tls_rehearsal(program->tls);
	log_prepare();
	return 0;
}

/* Ends a child without exit handlers: they would free what it shares with the
 * parent, and copy its pages for that, a fifth of a session's time. */
static void
leave(int exit_status)
{
#ifdef __SANITIZE_ADDRESS__
	exit(exit_status); /* its handler looks for leaks */
#else
	_exit(exit_status);
#endif
}

/* Many sessions, each in a child. */
static int
accept_sessions(struct program *program, char **argv)
{
	struct warm *warm = &program->warm;
	struct error error;
	int exit_status;

	warm->settings = program->settings;
	warm->counts = program->kind->counts;
	warm->argv = argv;
	process_init();
	process_watch();
	if (warm_open(warm, &error) < 0)
		return fail(&error);
	if (prepare_sessions(program, &error) < 0) {
		warm_turn_away(warm);
		return fail(&error);
	}
	if (warm_accept(warm, &exit_status)) {
		exit_status = run_session(program);
		leave(exit_status);
	}
	tls_free(program->tls);
	return exit_status;
}

static int
run(struct program *program, char **argv)
{
	struct error error;

	if (program->settings->check_config)
		return check_config(program);
	if (program->settings->accept)
		return accept_sessions(program, argv);
	if (check_settings(program, &error) < 0)
		return fail(&error);
	log_serve();
	process_init();
	if (make_tls(program, &error) < 0)
		return fail(&error);
	/* All that connections can share is ready here. */
	int exit_status = run_session(program);
	tls_free(program->tls);
	return exit_status;
}

static void
apply_settings(struct common_settings *settings)
{
	log_set_target((enum log_target)settings->log);
	log_set_level(LOG_ERR + settings->log_level);
	settings_complete(settings);
	settings_set_names(settings);
}

int
program_main(struct program *program, int argc, char **argv)
{
	struct option_table table;
	struct error error;
	char *file_text;
	int exit_status = 0;

	log_open(program->kind->name);
	program->kind->fill_table(&table);
	settings_init(program->settings);
	switch (options_parse(&table, argc, argv, program->settings,
	    &file_text, &error)) {
	case OPTIONS_OK:
		apply_settings(program->settings);
		exit_status = run(program, argv);
		break;
	case OPTIONS_HELP:
		options_print_help(&table);
		break;
	case OPTIONS_VERSION:
		printf("%s %s\n", table.program, MAIL_HANDLERS_VERSION);
		break;
	default:
		exit_status = fail(&error);
		warm_turn_away_passed();
		break;
	}
	free(file_text);
	return exit_status;
}
