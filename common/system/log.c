/*
 * log.c - where events go.
 *
 * There is one log, and so its state is static. libsystemd is loaded only when
 * the journal is really wanted, for linking it would cost every session a
 * tenth of its time.
 */
#include "system/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <dlfcn.h>
#include <systemd/sd-journal.h>
#endif

#include "system/descriptors.h"

/* So much of one event is kept; longer values are cut, visibly. */
#define TEXT_MAX 2048
#define VALUE_MAX 512
#define FIELDS_MAX 24
/* Values of log_add_each, and octets of all of them together. */
#define EACH_MAX 64
#define EACH_TEXT_MAX 8192
/* Lines that one session may log of kinds that a peer can cause without end,
 * and lines of its transcript. Other kinds have no limit. */
#define LINES_MAX 500
#define TRANSCRIPT_LINES_MAX 4000

struct kind {
	const char *name;
	int priority;
	const char *message_id; /* SD_ID128, see units/mail-handlers.catalog */
	bool endless; /* a peer can cause any number of them, to fill the log */
};

static const struct kind kinds[] = {
	[LOG_KIND_CONNECT] = { "connect", LOG_INFO,
	    "37818043fe564534a59843d602ac92d1", false },
	[LOG_KIND_TLS] = { "tls", LOG_DEBUG,
	    "9e6a19e60e51402aa30f8ef19bc91b0b", false },
	[LOG_KIND_TLS_FAILED] = { "tls-failed", LOG_INFO,
	    "be17c0b8ce6946c887b210a878b588fb", false },
	[LOG_KIND_LOGIN] = { "login", LOG_INFO,
	    "a259e2c1531e4282a320f4c7b81adf56", false },
	[LOG_KIND_LOGIN_FAILED] = { "login-failed", LOG_NOTICE,
	    "f2b3f99cbfd64f61a8ea40aa19ca40aa", false },
	[LOG_KIND_ACCEPTED] = { "accepted", LOG_INFO,
	    "f16c69864b344e19a3fd55e7c340a138", false },
	[LOG_KIND_REFUSED] = { "refused", LOG_NOTICE,
	    "1dbd0144511e45399d98af7adc7de1e1", true },
	[LOG_KIND_DELIVERED] = { "delivered", LOG_INFO,
	    "1dc2a8343b2649d291d1d4421f727597", false },
	[LOG_KIND_RELAYED] = { "relayed", LOG_INFO,
	    "6082479282c340b2a7d6edcddb821cbe", false },
	[LOG_KIND_MAILDROP] = { "maildrop", LOG_INFO,
	    "80fd50c4605445f393e37b8b283fcb23", false },
	[LOG_KIND_REMOVED] = { "removed", LOG_INFO,
	    "c9139fb3244a4470973f59a6f6e5ac5a", false },
	[LOG_KIND_END] = { "end", LOG_INFO,
	    "fa784256f9ce4141b2eeecf97e7c0508", false },
	[LOG_KIND_TROUBLE] = { "trouble", LOG_ERR,
	    "41b0fb1467a7400d91e82552d139b133", true },
	[LOG_KIND_CONFIG] = { "config", LOG_ERR,
	    "a7cb8ec417a345a29334b25dc4a30d35", false },
	[LOG_KIND_HOOK] = { "hook", LOG_INFO,
	    "f33283a893fa4957816045b28d998f4b", true },
	[LOG_KIND_HOOK_FAILED] = { "hook-failed", LOG_WARNING,
	    "5ede85e303514608b88556990226e9c5", true },
	[LOG_KIND_MILTER_FAILED] = { "milter-failed", LOG_WARNING,
	    "3dd24ea76a644f1a8b6ace7c718ce685", true },
	[LOG_KIND_FAULT] = { "fault", LOG_INFO,
	    "3605c120ade041eeb1972f1c19868301", true },
	[LOG_KIND_NOTICE] = { "notice", LOG_WARNING,
	    "8c27f03088e94a94ac0e3d2f72e40e4b", true },
	[LOG_KIND_TRANSCRIPT] = { "transcript", LOG_INFO,
	    "e3f989467bda467dbcb44a11962cc683", false },
	[LOG_KIND_LISTENING] = { "listening", LOG_INFO,
	    "02ca8c362d6147bbb75d6b53705fc7e7", false },
	[LOG_KIND_STOPPED] = { "stopped", LOG_INFO,
	    "b73b269fdf7c4fa29fd8c7203ddb9ded", false },
};

struct field {
	const char *name;
	const char *journal_name;
};

static const struct field fields[] = {
	[LOG_FIELD_PEER] = { "peer", "MAIL_PEER" },
	[LOG_FIELD_LOCAL] = { "local", "MAIL_LOCAL" },
	[LOG_FIELD_TLS] = { "tls", "MAIL_TLS" },
	[LOG_FIELD_USER] = { "user", "MAIL_USER" },
	[LOG_FIELD_HELO] = { "helo", "MAIL_HELO" },
	[LOG_FIELD_SENDER] = { "sender", "MAIL_SENDER" },
	[LOG_FIELD_RECIPIENT] = { "recipient", "MAIL_RECIPIENT" },
	[LOG_FIELD_RECIPIENTS] = { "recipients", "MAIL_RECIPIENTS" },
	[LOG_FIELD_ID] = { "id", "MAIL_ID" },
	[LOG_FIELD_SIZE] = { "size", "MAIL_SIZE" },
	[LOG_FIELD_MESSAGES] = { "messages", "MAIL_MESSAGES" },
	[LOG_FIELD_REPLY] = { "reply", "MAIL_REPLY" },
	[LOG_FIELD_NEXT_HOP] = { "next-hop", "MAIL_NEXT_HOP" },
	[LOG_FIELD_MAILDIR] = { "maildir", "MAIL_MAILDIR" },
	[LOG_FIELD_SECONDS] = { "seconds", "MAIL_SECONDS" },
	[LOG_FIELD_RETRIEVED] = { "retrieved", "MAIL_RETRIEVED" },
	[LOG_FIELD_REMOVED] = { "removed", "MAIL_REMOVED" },
	[LOG_FIELD_SENT] = { "sent", "MAIL_SENT" },
	[LOG_FIELD_ACCEPTED] = { "accepted", "MAIL_ACCEPTED" },
	[LOG_FIELD_REFUSED] = { "refused", "MAIL_REFUSED" },
	[LOG_FIELD_FILE] = { "file", "MAIL_FILE" },
	[LOG_FIELD_REASON] = { "reason", "MAIL_REASON" },
	[LOG_FIELD_LINE] = { "line", "MAIL_LINE" },
	[LOG_FIELD_ADDRESS] = { "address", "MAIL_ADDRESS" },
	[LOG_FIELD_SESSIONS] = { "sessions", "MAIL_SESSIONS" },
	[LOG_FIELD_COMMAND] = { "command", "MAIL_COMMAND" },
};

/* What log_remember keeps. */
static const enum log_field rememberable[] = {
	LOG_FIELD_PEER, LOG_FIELD_USER, LOG_FIELD_TLS,
};
#define REMEMBERED_PEER 0
#define N_REMEMBERED (sizeof(rememberable) / sizeof(rememberable[0]))

typedef int journal_sendv_fn(const struct iovec *iov, int n);

static struct {
	const char *program;
	enum log_target target; /* never auto */
	enum log_target automatic; /* what auto means here */
	int level;
	bool syslog_open;
	journal_sendv_fn *journal_sendv;
	char session[17];
	char remembered[N_REMEMBERED][256];
	unsigned lines;
	unsigned transcript_lines;

	/* The event being made. */
	bool active;
	enum log_kind kind;
	size_t text_len;
	bool text_cut;
	char text[TEXT_MAX];
	size_t n_values;
	size_t values_len;
	struct value { enum log_field field; size_t at, len; }
	    values[FIELDS_MAX];
	char values_text[FIELDS_MAX * VALUE_MAX];
	enum log_field each; /* of log_add_each */
	const struct slice *each_values;
	size_t n_each;
} log_state = {
	.program = "mail-handler",
	.target = LOG_TARGET_STDERR,
	.automatic = LOG_TARGET_STDERR,
	.level = LOG_INFO,
};

/* Where systemd passes the connection as descriptor 3, the others may well
 * be one and the same journal stream. */
static bool
is_passed(void)
{
	struct error ignored;

	return descriptors_passed(&ignored) > 0;
}

/* A pipe that is descriptor 1 as well may be a shell's "2>&1": whether it is
 * a peer's turns out when we serve (log_serve). */
static bool
stderr_is_connection(const struct stat *st2)
{
	if (is_passed())
		return descriptors_are_same(STDERR_FILENO,
		    DESCRIPTORS_PASSED);
	return descriptors_are_same(STDERR_FILENO, STDIN_FILENO) ||
	    (S_ISSOCK(st2->st_mode) &&
	    descriptors_are_same(STDERR_FILENO, STDOUT_FILENO));
}

#ifdef HAVE_SYSTEMD
/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the journal's end. */
static bool
stderr_is_journal(const struct stat *st2)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char expected[64];

	if (stream == NULL)
		return false;
	snprintf(expected, sizeof(expected), "%ju:%ju",
	    (uintmax_t)st2->st_dev, (uintmax_t)st2->st_ino);
	return strcmp(stream, expected) == 0;
}
#else
static bool
stderr_is_journal(const struct stat *st2)
{
	(void)st2;
	return false;
}
#endif

void
log_open(const char *program)
{
	struct error ignored;
	struct stat st2;

	log_state.program = program;
	/* A descriptor below 3 that is closed would be the next one opened:
	 * some file of ours would be the connection or the log. */
	for (int fd = 0; fd <= 1; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			descriptors_cover(fd, &ignored);
	/* Of the journal first: its socket is descriptor 1 as well, where
	 * systemd was not told otherwise. */
	bool open = fstat(STDERR_FILENO, &st2) == 0;
	if (open && stderr_is_journal(&st2)) {
		log_state.automatic = LOG_TARGET_JOURNAL;
	} else if (!open || stderr_is_connection(&st2)) {
		descriptors_cover(STDERR_FILENO, &ignored);
		log_state.automatic = LOG_TARGET_SYSLOG;
	}
	log_set_target(LOG_TARGET_AUTO);
}

void
log_serve(void)
{
	struct error ignored;

	if (is_passed() ||
	    !descriptors_are_same(STDERR_FILENO, STDOUT_FILENO))
		return;
	descriptors_cover(STDERR_FILENO, &ignored);
	log_state.automatic = LOG_TARGET_SYSLOG;
	if (log_state.target == LOG_TARGET_STDERR)
		log_state.target = LOG_TARGET_SYSLOG;
}

void
log_set_target(enum log_target target)
{
	bool no_stderr = log_state.automatic == LOG_TARGET_SYSLOG;

	log_state.target = target == LOG_TARGET_AUTO ||
	    (target == LOG_TARGET_STDERR && no_stderr)
	    ? log_state.automatic : target;
}

void
log_set_level(int priority)
{
	log_state.level = priority;
}

void
log_set_session(struct slice peer)
{
	unsigned char random[6] = { 0 };
	size_t n = 0;

	if (getentropy(random, sizeof(random)) != 0) {
		const pid_t pid = getpid();
		memcpy(random, &pid, sizeof(pid));
	}
	for (size_t i = 0; i < sizeof(random); i++)
		n += (size_t)snprintf(log_state.session + n,
		    sizeof(log_state.session) - n, "%02X", random[i]);
	log_remember(LOG_FIELD_PEER, peer);
}

void
log_forget_session(void)
{
	log_state.session[0] = '\0';
	for (size_t i = 0; i < N_REMEMBERED; i++)
		log_state.remembered[i][0] = '\0';
	log_state.lines = log_state.transcript_lines = 0;
}

void
log_remember(enum log_field field, struct slice value)
{
	for (size_t i = 0; i < N_REMEMBERED; i++)
		if (rememberable[i] == field)
			snprintf(log_state.remembered[i],
			    sizeof(log_state.remembered[i]), "%.*s",
			    SLICE_ARG(value));
}

const char *
log_session(void)
{
	return log_state.session;
}

static void
put_text(struct slice s)
{
	size_t room = sizeof(log_state.text) - 1 - log_state.text_len;

	log_state.text_cut |= s.len > room;
	if (s.len > room)
		s.len = room;
	if (s.len > 0)
		memcpy(log_state.text + log_state.text_len, s.data, s.len);
	log_state.text_len += s.len;
	log_state.text[log_state.text_len] = '\0';
}

static bool
is_plain(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];
		if (c <= 0x20 || c >= 0x7F || c == '"' || c == '\\' ||
		    c == '=')
			return false;
	}
	return s.len > 0;
}

/*
 * A peer's octets can neither end the line nor forge a field in it; nor a
 * "peer=", which a program that searches the whole line (fail2ban) would take
 * for an address to ban.
 */
static void
put_quoted(struct slice s)
{
	static const struct slice name = SLICE("peer");
	char escaped[8];

	put_text(SLICE("\""));
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];
		if (c == '=' && i >= name.len && slice_equal_nocase(
		    (struct slice){ s.data + i - name.len, name.len }, name))
			snprintf(escaped, sizeof(escaped), "\\x3d");
		else if (c == '"' || c == '\\')
			snprintf(escaped, sizeof(escaped), "\\%c", c);
		else if (c < 0x20 || c >= 0x7F)
			snprintf(escaped, sizeof(escaped), "\\x%02x", c);
		else
			snprintf(escaped, sizeof(escaped), "%c", c);
		put_text(slice_from(escaped));
	}
	put_text(SLICE("\""));
}

void
log_begin(enum log_kind kind)
{
	log_state.active = kinds[kind].priority <= log_state.level;
	if (!log_state.active)
		return;
	bool last = false;
	if (kinds[kind].endless || kind == LOG_KIND_TRANSCRIPT) {
		unsigned *lines = kind == LOG_KIND_TRANSCRIPT
		    ? &log_state.transcript_lines : &log_state.lines;
		unsigned most = kind == LOG_KIND_TRANSCRIPT
		    ? TRANSCRIPT_LINES_MAX : LINES_MAX;

		/* The line after the last one says that there are no more. */
		last = *lines == most;
		if (*lines > most) {
			log_state.active = false;
			return;
		}
		(*lines)++;
	}
	log_state.kind = kind;
	log_state.text_len = 0;
	log_state.text_cut = false;
	log_state.n_values = 0;
	log_state.n_each = 0;
	log_state.values_len = 0;
	if (log_state.session[0] != '\0') {
		put_text(slice_from(log_state.session));
		put_text(SLICE(" "));
	}
	put_text(slice_from(kinds[kind].name));
	put_text(SLICE(":"));
	if (last)
		put_text(SLICE(" (no more such lines of this session)"));
	/* First, where nothing that a peer made comes before it. */
	const char *peer = log_state.remembered[REMEMBERED_PEER];
	if (peer[0] != '\0')
		log_add(LOG_FIELD_PEER, slice_from(peer));
}

void
log_add(enum log_field field, struct slice value)
{
	if (!log_state.active)
		return;
	bool cut = value.len > VALUE_MAX;
	if (cut)
		value.len = VALUE_MAX;
	put_text(SLICE(" "));
	put_text(slice_from(fields[field].name));
	put_text(SLICE("="));
	if (is_plain(value))
		put_text(value);
	else
		put_quoted(value);
	if (cut)
		put_text(SLICE("..."));

	if (log_state.target != LOG_TARGET_JOURNAL ||
	    log_state.n_values == FIELDS_MAX)
		return;
	size_t i = log_state.n_values++;
	log_state.values[i].field = field;
	log_state.values[i].at = log_state.values_len;
	log_state.values[i].len = value.len;
	if (value.len > 0)
		memcpy(log_state.values_text + log_state.values_len,
		    value.data, value.len);
	log_state.values_len += value.len;
}

void
log_add_each(enum log_field field, const struct slice *values, size_t n)
{
	if (!log_state.active || log_state.target != LOG_TARGET_JOURNAL)
		return;
	log_state.each = field;
	log_state.each_values = values;
	log_state.n_each = n < EACH_MAX ? n : EACH_MAX;
}

void
log_add_number(enum log_field field, uint64_t value)
{
	char number[24];

	snprintf(number, sizeof(number), "%ju", (uintmax_t)value);
	log_add(field, slice_from(number));
}

void
log_add_duration(int64_t milliseconds)
{
	char seconds[32];

	snprintf(seconds, sizeof(seconds), "%lld.%03lld",
	    (long long)milliseconds / 1000, (long long)milliseconds % 1000);
	log_add(LOG_FIELD_SECONDS, slice_from(seconds));
}

#ifdef HAVE_SYSTEMD
static bool
load_journal(void)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	void *symbol = library != NULL ? dlsym(library, "sd_journal_sendv")
	                               : NULL;

	/* POSIX wants a function pointer to pass through dlsym's object
	 * pointer; ISO C has no cast for it. */
	memcpy(&log_state.journal_sendv, &symbol, sizeof(symbol));
	return symbol != NULL;
}
#else
static bool
load_journal(void)
{
	return false;
}
#endif

static void
open_syslog(void)
{
	if (!log_state.syslog_open)
		openlog(log_state.program, LOG_PID | LOG_NDELAY, LOG_MAIL);
	log_state.syslog_open = true;
}

void
log_prepare(void)
{
	if (log_state.target == LOG_TARGET_JOURNAL)
		load_journal();
	else if (log_state.target == LOG_TARGET_SYSLOG)
		open_syslog();
}

struct journal_entry {
	struct iovec iov[FIELDS_MAX + EACH_MAX + 6 + N_REMEMBERED];
	int n;
	size_t used;
	char text[FIELDS_MAX * (VALUE_MAX + 24) + EACH_TEXT_MAX + TEXT_MAX +
	    2048];
};

static void
put_entry(struct journal_entry *entry, const char *name, struct slice value)
{
	size_t name_len = strlen(name);
	char *at = entry->text + entry->used;

	if (value.len == 0 ||
	    entry->used + name_len + 1 + value.len > sizeof(entry->text))
		return;
	memcpy(at, name, name_len);
	at[name_len] = '=';
	memcpy(at + name_len + 1, value.data, value.len);
	entry->iov[entry->n++] = (struct iovec){
		at, name_len + 1 + value.len };
	entry->used += name_len + 1 + value.len;
}

static bool
event_has(enum log_field field)
{
	for (size_t i = 0; i < log_state.n_values; i++)
		if (log_state.values[i].field == field)
			return true;
	return false;
}

static bool
send_to_journal(const struct kind *kind)
{
	struct journal_entry entry;
	const char priority[2] = { (char)('0' + kind->priority), '\0' };

	if (log_state.journal_sendv == NULL && !load_journal())
		return false;
	entry.n = 0;
	entry.used = 0;
	put_entry(&entry, "MESSAGE",
	    (struct slice){ log_state.text, log_state.text_len });
	put_entry(&entry, "MESSAGE_ID", slice_from(kind->message_id));
	put_entry(&entry, "PRIORITY", slice_from(priority));
	put_entry(&entry, "SYSLOG_IDENTIFIER", slice_from(log_state.program));
	put_entry(&entry, "MAIL_EVENT", slice_from(kind->name));
	put_entry(&entry, "MAIL_SESSION", slice_from(log_state.session));
	for (size_t i = 0; i < log_state.n_values; i++) {
		const struct value *value = &log_state.values[i];

		put_entry(&entry, fields[value->field].journal_name,
		    (struct slice){ log_state.values_text + value->at,
		        value->len });
	}
	for (size_t i = 0; i < N_REMEMBERED; i++)
		if (!event_has(rememberable[i]))
			put_entry(&entry,
			    fields[rememberable[i]].journal_name,
			    slice_from(log_state.remembered[i]));
	for (size_t i = 0; i < log_state.n_each; i++)
		put_entry(&entry, fields[log_state.each].journal_name,
		    log_state.each_values[i]);
	return log_state.journal_sendv(entry.iov, entry.n) >= 0;
}

static void
send_to_stderr(void)
{
	char line[TEXT_MAX + 128];
	int len = snprintf(line, sizeof(line), "%s[%ld]: %s\n",
	    log_state.program, (long)getpid(), log_state.text);

	if (len < 0)
		return;
	if ((size_t)len >= sizeof(line))
		len = sizeof(line) - 1;
	/* One write a line, so that lines of many processes do not mix. Where
	 * it fails the line is lost: there is nowhere else to say so. */
	ssize_t written = write(STDERR_FILENO, line, (size_t)len);
	(void)written;
}

static void
send_to_syslog(int priority)
{
	open_syslog();
	syslog(priority, "%s", log_state.text);
}

void
log_send(void)
{
	if (!log_state.active)
		return;
	log_state.active = false;
	if (log_state.text_cut)
		memcpy(log_state.text + sizeof(log_state.text) - 4, "...", 4);
	const struct kind *kind = &kinds[log_state.kind];
	if (log_state.target == LOG_TARGET_JOURNAL && send_to_journal(kind))
		return;
	if (log_state.target == LOG_TARGET_SYSLOG)
		send_to_syslog(kind->priority);
	else
		send_to_stderr();
}

void
log_reason(enum log_kind kind, const char *format, ...)
{
	char reason[VALUE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	log_begin(kind);
	log_add(LOG_FIELD_REASON, slice_from(reason));
	log_send();
}

void
log_error(const struct error *error)
{
	bool wrong_setting = error->kind == ERROR_CONFIG ||
	    error->kind == ERROR_USAGE;

	log_reason(wrong_setting ? LOG_KIND_CONFIG
	    : error_meaning(error->kind)->log_priority <= LOG_ERR
	    ? LOG_KIND_TROUBLE : LOG_KIND_NOTICE, "%s", error->text);
}

void
log_transcript(struct slice lines)
{
	struct slice line;

	while (lines.len > 0) {
		slice_cut(lines, '\n', &line, &lines);
		log_begin(LOG_KIND_TRANSCRIPT);
		log_add(LOG_FIELD_LINE, line);
		log_send();
	}
}
