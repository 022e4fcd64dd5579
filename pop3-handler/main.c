/*
 * pop3-handler - serves one POP3 connection from a maildir.
 *
 * The loop is the whole program: the protocol core says what it wants, and
 * this file does it with the maildir, the login and the connection.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system/directory.h"
#include "system/file.h"
#include "system/log.h"
#include "maildir/maildir.h"
#include "maildir/maildir_uidl.h"
#include "protocol/pattern.h"
#include "pop3/pop3.h"
#include "pop3_faults.h"
#include "pop3_settings.h"
#include "program.h"
#include "base/version.h"

#define IN_SIZE 16384
#define OUT_SIZE 65536
#define READ_SIZE 65536

struct pop3_program {
	struct program program;
	struct pop3_settings settings;
	struct pop3 pop3;
	struct pop3_faults faults;
	struct maildir maildir;
	char path[4096]; /* of the maildrop */
	char cache_dir[4096];
	bool cache_waits; /* to be written, when there is time */
	char uidl[MAILDIR_UIDL_MAX];
	char in[IN_SIZE];
	char out[OUT_SIZE];
	char file[READ_SIZE];
};

static int
check_settings(struct program *program, struct error *error)
{
	if (program->settings->maildir == NULL)
		return error_set(error, ERROR_CONFIG, "nothing to serve: "
		    "--maildir is needed");
	if (program->settings->auth == NULL)
		return error_set(error, ERROR_CONFIG, "nobody could log in: "
		    "--auth is needed");
	return 0;
}

/* --cache-dir, else $CACHE_DIRECTORY: where systemd.exec(5) names several,
 * the first. NULL for none. */
static const char *
cache_dir(const struct pop3_settings *settings, char *dir, size_t size)
{
	struct slice given = slice_from(settings->cache_dir != NULL
	    ? settings->cache_dir : getenv("CACHE_DIRECTORY"));
	struct slice rest;

	if (settings->cache_dir == NULL)
		slice_cut(given, ':', &given, &rest);
	int len = snprintf(dir, size, "%.*s", SLICE_ARG(given));
	return len > 0 && (size_t)len < size ? dir : NULL;
}

static int
check_directory(const char *option, const char *path, int mode,
    struct error *error)
{
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (access(path, mode) == 0)
		return 0;
	error_system(error, errno, "%s %.120s", option, path);
	error->kind = ERROR_CONFIG;
	return -1;
}

/* What all users' maildirs have in common. Where that is missing, each login
 * is refused, for mail could not come either. */
static int
check_common_part(const char *maildir, struct error *error)
{
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%.*s",
	    (int)pattern_fixed(maildir), maildir);

	return len <= 0 || (size_t)len >= sizeof(path) ? 0
	    : check_directory("the directory of --maildir", path, X_OK,
	        error);
}

/* The directories that the settings name. */
static int
check_directories(const struct pop3_settings *settings, struct error *error)
{
	const char *maildir = settings->common.maildir;
	bool fixed = !pattern_has_name(maildir);
	char path[4096];
	const char *cache = cache_dir(settings, path, sizeof(path));

	if (!fixed && check_common_part(maildir, error) < 0)
		return -1;
	if (fixed && check_directory("--maildir", maildir, R_OK | X_OK,
	    error) < 0)
		return -1;
	if (fixed) {
		int fd = directory_open(maildir, DIRECTORY_MAKE_NOTHING,
		    error);
		if (fd < 0)
			return -1;
		close(fd);
	}
	if (cache == NULL)
		return 0;
	if (check_directory("--cache-dir", cache, R_OK | W_OK | X_OK,
	    error) < 0)
		return -1;
	if (fixed && maildir_cache_is_inside(cache, maildir))
		return error_set(error, ERROR_CONFIG, "--cache-dir %.120s is "
		    "in the maildir: it would not be used", cache);
	return 0;
}

static int
check_access(struct program *program)
{
	struct pop3_program *p = (struct pop3_program *)program;
	struct error error;

	if (check_directories(&p->settings, &error) == 0)
		return 0;
	log_error(&error);
	return -1;
}

static int
check_config(struct program *program)
{
	struct pop3_program *p = (struct pop3_program *)program;
	struct error error;

	if (check_settings(program, &error) == 0 &&
	    check_directories(&p->settings, &error) == 0)
		return 0;
	log_error(&error);
	return -1;
}

/* ---- what the protocol core asks for ---- */

/* The path of the user's maildrop. ERROR_PEER: there can be none for such a
 * name. */
static int
find_maildrop(struct pop3_program *p, struct slice user, struct error *error)
{
	const struct auth *auth = &p->program.auth;
	const char *pattern = p->settings.common.maildir;
	const char *own = auth_maildir(auth, user);

	if (own == NULL && pattern_has_name(pattern) &&
	    auth_shares_maildir(auth, user))
		return error_set(error, ERROR_CONFIG, "another user, whose "
		    "name differs by case alone, has the same maildir");
	if (own == NULL)
		return pattern_expand(pattern, auth_name(auth, user),
		    p->settings.common.hostname, p->path, sizeof(p->path),
		    error);
	if (snprintf(p->path, sizeof(p->path), "%s", own) >=
	    (int)sizeof(p->path))
		return error_set(error, ERROR_CONFIG, "the user's maildir "
		    "has too long a name");
	return 0;
}

static int
open_maildrop(struct pop3_program *p, struct slice user, struct error *error)
{
	const char *pattern = p->settings.common.maildir;
	bool own = auth_maildir(&p->program.auth, user) != NULL;
	struct maildir_options options = {
		.reach = (enum maildir_reach)p->settings.scan,
		/* Where smtp-handler would make it (--create-maildirs). */
		.may_be_missing = own || pattern_has_name(pattern),
		.fixed = own ? file_parent_len(p->path, strlen(p->path))
		    : pattern_fixed(pattern),
		.timeout = (unsigned)p->settings.common.timeout,
		.lock = p->settings.allow_delete,
		.cache_dir = cache_dir(&p->settings, p->cache_dir,
		    sizeof(p->cache_dir)),
	};

	return maildir_open(&p->maildir, p->path, &options, error);
}

static void
log_maildrop(const struct pop3_program *p)
{
	uint64_t octets = 0;

	for (size_t i = 0; i < p->maildir.index.n; i++)
		octets += p->maildir.index.messages[i].octets;
	log_begin(LOG_KIND_MAILDROP);
	log_add(LOG_FIELD_MAILDIR, slice_from(p->path));
	log_add_number(LOG_FIELD_MESSAGES, p->maildir.index.n);
	log_add_number(LOG_FIELD_SIZE, octets);
	log_send();
	if (maildir_is_too_deep(&p->maildir))
		log_reason(LOG_KIND_NOTICE, "folders more than %d levels deep "
		    "in %.120s are not served", MAILDIR_DEPTH_MAX, p->path);
	size_t n;
	const char *left_out = maildir_left_out(&p->maildir, &n);
	if (left_out != NULL)
		log_reason(LOG_KIND_NOTICE, "%zu folder%s of %.120s cannot be "
		    "read and %s left out: %.120s%s", n, n == 1 ? "" : "s",
		    p->path, n == 1 ? "is" : "are", left_out,
		    n == 1 ? "" : " and others");
	if (p->maildir.cache_is_inside)
		log_reason(LOG_KIND_NOTICE, "--cache-dir %.120s is in the "
		    "maildir, so there is no cache", p->cache_dir);
}

static void
save_cache(struct pop3_program *p)
{
	struct error why;

	p->cache_waits = false;
	if (maildir_save_cache(&p->maildir, &why) < 0)
		log_reason(LOG_KIND_NOTICE, "%s", why.text);
}

/* The reply to a login whose maildrop cannot be opened. */
static enum pop3_login_failure
failure_of(enum error_kind kind)
{
	switch (kind) {
	case ERROR_SYSTEM:
	case ERROR_FULL:
		return POP3_LOGIN_TEMPORARY;
	case ERROR_BUSY:
		return POP3_LOGIN_IN_USE;
	case ERROR_MISSING:
		return POP3_LOGIN_NO_MAILDROP;
	default:
		return POP3_LOGIN_NO_ACCESS;
	}
}

static void
serve_maildrop(struct pop3_program *p, const struct error *not_found)
{
	struct error why;

	if (not_found != NULL)
		why = *not_found;
	else if (open_maildrop(p, p->pop3.user, &why) == 0) {
		log_maildrop(p);
		p->cache_waits = true;
		program_admit(&p->program);
		pop3_logged_in(&p->pop3, p->maildir.index.messages,
		    p->maildir.index.n);
		return;
	}
	log_error(&why);
	pop3_login_failed(&p->pop3, failure_of(why.kind));
}

static int
serve_login(struct pop3_program *p, struct error *error)
{
	static const enum pop3_login_failure failures[] = {
		[AUTH_WRONG] = POP3_LOGIN_WRONG,
		[AUTH_REFUSED] = POP3_LOGIN_REFUSED,
		[AUTH_TEMPORARY] = POP3_LOGIN_TEMPORARY,
	};
	struct pop3 *pop3 = &p->pop3;
	const struct program_credentials credentials = {
		pop3->user, pop3->password, pop3->sasl.mechanism,
	};
	enum auth_outcome outcome;
	struct error why;
	bool found = find_maildrop(p, pop3->user, &why) == 0;

	if (!found && why.kind == ERROR_PEER) {
		if (program_refuse_login(&p->program, &pop3->wire, pop3->user,
		    why.text, error) < 0)
			return -1;
		pop3_login_failed(pop3, POP3_LOGIN_WRONG);
		return 0;
	}
	if (program_login(&p->program, &pop3->wire, &credentials, &outcome,
	    error) < 0)
		return -1;
	if (outcome != AUTH_RIGHT) {
		pop3_login_failed(pop3, failures[outcome]);
		return 0;
	}
	/* To read a large maildrop may take long: replies go first. */
	if (program_flush(&p->program, &pop3->wire, error) < 0)
		return -1;
	serve_maildrop(p, found ? NULL : &why);
	return 0;
}

/* All of the message's octets were counted on their way out: were they as
 * many as was said? */
static void
check_octets(struct pop3_program *p, uint64_t octets)
{
	size_t i = p->pop3.message;

	if (octets == p->maildir.index.messages[i].octets)
		return;
	log_reason(LOG_KIND_NOTICE, "message %.80s has %ju octets, and %ju "
	    "were announced", maildir_file_name(&p->maildir.index, i).data,
	    (uintmax_t)octets,
	    (uintmax_t)p->maildir.index.messages[i].octets);
	maildir_correct_octets(&p->maildir, i, octets);
}

/* So many octets of the open file, through the core, to the connection. What
 * was written to it since it was looked at is not of the message that was
 * announced. */
static int
send_file(struct pop3_program *p, int fd, uint64_t left, struct error *error)
{
	struct pop3 *pop3 = &p->pop3;
	uint64_t sent_before = pop3->octets_sent;

	while (left > 0 && !pop3_message_enough(pop3)) {
		ssize_t n = read(fd, p->file, left < sizeof(p->file)
		    ? (size_t)left : sizeof(p->file));
		if (n < 0) {
			struct error why;

			error_system(&why, errno, "reading a message");
			log_error(&why);
			pop3_message_failed(pop3, &why);
			return 0;
		}
		struct slice rest = { p->file, (size_t)n };
		while (rest.len > 0 && !pop3_message_enough(pop3)) {
			size_t taken = pop3_message_data(pop3, rest);
			if (taken == 0 && program_flush(&p->program,
			    &pop3->wire, error) < 0)
				return -1;
			rest = slice_skip(rest, taken);
		}
		if (n == 0)
			break;
		left -= (uint64_t)n;
	}
	bool enough = pop3_message_enough(pop3);
	if (left > 0 && !enough)
		log_reason(LOG_KIND_NOTICE, "message %.80s ended early",
		    maildir_file_name(&p->maildir.index, pop3->message).data);
	pop3_message_end(pop3, left == 0);
	if (left == 0 && !enough)
		check_octets(p, pop3->octets_sent - sent_before);
	return 0;
}

static int
serve_message(struct pop3_program *p, struct error *error)
{
	struct pop3 *pop3 = &p->pop3;
	struct error why;
	int fd = maildir_open_message(&p->maildir, pop3->message, &why);

	if (fd < 0) {
		log_error(&why);
		pop3_message_failed(pop3, &why);
		return 0;
	}
	pop3_message_begin(pop3,
	    p->maildir.index.messages[pop3->message].octets);
	int result = send_file(p, fd,
	    p->maildir.index.files[pop3->message].size, error);
	close(fd);
	return result;
}

static int
serve_stls(struct pop3_program *p, struct error *error)
{
	pop3_accept_stls(&p->pop3);
	if (program_start_tls(&p->program, &p->pop3.wire, error) < 0)
		return -1;
	pop3_tls_started(&p->pop3);
	return 0;
}

/* QUIT: what the client marked goes, and nothing else. */
static void
serve_update(struct pop3_program *p)
{
	size_t removed, kept;
	struct error why;

	if (maildir_remove_marked(&p->maildir, &removed, &kept, &why) < 0)
		log_error(&why);
	log_begin(LOG_KIND_REMOVED);
	log_add_number(LOG_FIELD_REMOVED, removed);
	if (kept > 0)
		log_add(LOG_FIELD_REASON, SLICE("some could not be removed"));
	log_send();
	pop3_updated(&p->pop3, kept == 0);
}

static int
do_what_is_asked(struct pop3_program *p, enum pop3_event event,
    struct error *error)
{
	switch (event) {
	case POP3_WANT_IO:
		if (p->cache_waits && buf_contents(&p->pop3.wire.out).len == 0)
			save_cache(p);
		return program_pump(&p->program, &p->pop3.wire, error);
	case POP3_COMMAND: /* pop3_faults.c has let it go on */
		break;
	case POP3_STLS:
		return serve_stls(p, error);
	case POP3_LOGIN:
		return serve_login(p, error);
	case POP3_MESSAGE:
		return serve_message(p, error);
	case POP3_UIDL:
		pop3_uidl(&p->pop3, maildir_uidl(&p->maildir.index,
		    p->pop3.message, p->uidl));
		return 0;
	case POP3_UPDATE:
		serve_update(p);
		return 0;
	case POP3_CLOSED:
		break;
	}
	return 0;
}

static int
answer(struct pop3_program *p, enum pop3_event event, struct error *error)
{
	bool done = false;

	if (p->program.faulty.faults.n > 0 &&
	    pop3_faults_event(&p->faults, &p->program, &p->pop3, event,
	    &done, error) < 0)
		return -1;
	if (!done && do_what_is_asked(p, event, error) < 0)
		return -1;
	return program_after_answer(&p->program, &p->pop3.wire, error);
}

/* ---- the session ---- */

static void
log_end(const struct pop3_program *p, const struct error *broken)
{
	log_begin(LOG_KIND_END);
	log_add(LOG_FIELD_REASON, program_end_reason(&p->program,
	    &p->pop3.wire, broken, p->pop3.quit, SLICE("")));
	log_add_number(LOG_FIELD_RETRIEVED, p->pop3.retrieved);
	log_add_number(LOG_FIELD_SENT, p->pop3.octets_sent);
	log_add_duration(program_age(&p->program));
	log_send();
}

/* The maildrop and its cache. */
static void
needs(struct program *program, struct confine *confine)
{
	struct pop3_program *p = (struct pop3_program *)program;
	const char *cache = cache_dir(&p->settings, p->cache_dir,
	    sizeof(p->cache_dir));

	if (p->path[0] == '\0')
		return;
	confine_add(confine, slice_from(p->path), p->settings.allow_delete
	    ? CONFINE_READ | CONFINE_WRITE : CONFINE_READ);
	if (cache != NULL)
		confine_add(confine, slice_from(cache),
		    CONFINE_READ | CONFINE_WRITE);
}

static int
serve(struct program *program, struct error *never)
{
	struct pop3_program *p = (struct pop3_program *)program;
	const struct pop3_options options = {
		.hostname = p->settings.common.hostname,
		.implementation = "pop3-handler-" MAIL_HANDLERS_VERSION,
		.allow_login = p->program.auth.kind != AUTH_NONE,
		.mechanisms = p->settings.common.mechanisms,
		.secure = p->program.secure,
		.stls = p->settings.common.tls == TLS_MODE_STARTTLS,
		.allow_delete = p->settings.allow_delete,
		.ask = p->program.faulty.faults.n > 0,
		.hidden = p->settings.common.hide,
	};
	struct error error = { .kind = ERROR_NONE };
	enum pop3_event event;
	bool over;

	(void)never;
	pop3_init(&p->pop3, &options, p->in, sizeof(p->in), p->out,
	    sizeof(p->out));
	program_transcript(&p->program, &p->pop3.wire);
	if (pop3_faults_connect(&p->program, &p->pop3, &over, &error) < 0)
		over = true;
	while (!over && (event = pop3_next(&p->pop3)) != POP3_CLOSED)
		if (answer(p, event, &error) < 0)
			break;
	const struct error *broken = error.kind != ERROR_NONE ? &error : NULL;
	/* Before the client hears "Bye": it may come back at once, and must
	 * not find the maildrop locked. */
	save_cache(p);
	maildir_close(&p->maildir);
	program_end(&p->program, &p->pop3.wire, broken, !p->pop3.quit);
	log_end(p, broken);
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct program_kind kind = {
		.name = "pop3-handler",
		.fill_table = pop3_settings_table,
		.alpn = "pop3",
		.counts = WARM_COUNTS_SESSIONS,
		.check_settings = check_settings,
		.check_config = check_config,
		.check_access = check_access,
		.needs = needs,
		.serve = serve,
	};
	/* Filled in here: an initializer would put all of it, buffers too,
	 * into the file, to be read and copied page by page. */
	static struct pop3_program p;

	p.program.kind = &kind;
	p.program.settings = &p.settings.common;
	p.maildir = (struct maildir){ .fd = -1, .lock_fd = -1,
		.folder_fd = -1, .cache_fd = -1 };
	return program_main(&p.program, argc, argv);
}
