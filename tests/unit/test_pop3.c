/*
 * test_pop3.c - whole POP3 dialogues with exact replies, in every state,
 * replayed in every piece (drive.h).
 *
 * The adapter below stands for the program: it knows some users, their
 * maildrops, and messages that cannot be read, and notes each event.
 */
#include "drive.h"

#include "pop3/pop3.h"

/* ---- maildrops ---- */

enum fault {
	WHOLE,
	GONE,       /* cannot be opened */
	NOT_THERE,  /* the same, for good */
	GROWN,      /* more octets than at the login, and it is known */
	CUT_SHORT,  /* the file ended early */
	BELIEVED,   /* all of it comes, but more or fewer octets were said */
	BROKEN_OFF, /* half of it can be read */
};

struct stored {
	struct slice text;   /* as it is in the file */
	uint64_t octets;     /* on the wire, without dots */
	struct slice uidl;
	enum fault fault;
	bool deleted;        /* marked from the start */
};

#define UIDL_70 "1234567890123456789012345678901234567890" \
	"123456789012345678901234567890"

static const struct stored joes[] = {
	{ SLICE("Subject: one\n\nbody\n"), 22, SLICE("u1"), WHOLE, false },
	{ SLICE(".dots\n..\n\n.\nend"), 21, SLICE(UIDL_70), WHOLE, false },
	{ SLICE(""), 2, SLICE("!"), WHOLE, false },
	{ SLICE("X: \0\r\n\r\na\rb\n\n\n"), 18, SLICE("~u/.4"), WHOLE, false },
};

static const struct stored faults[] = {
	{ SLICE("gone\n"), 6, SLICE("g"), GONE, false },
	{ SLICE("gone\n"), 6, SLICE("n"), NOT_THERE, false },
	{ SLICE("ab\ncd\n"), 8, SLICE("w"), GROWN, false },
	{ SLICE("ab\ncd\n"), 8, SLICE("s"), CUT_SHORT, false },
	{ SLICE("Subject: x\n\nab\ncd\n"), 22, SLICE("b"), BROKEN_OFF,
	    false },
	{ SLICE("ab\ncd"), 8, SLICE("v"), BELIEVED, false },
};

static const struct stored marked[] = {
	{ SLICE("ab\n"), 4, SLICE("k1"), WHOLE, false },
	{ SLICE("abc\n"), 5, SLICE("m2"), WHOLE, true },
	{ SLICE("abcd\n"), 6, SLICE("k3"), WHOLE, false },
	{ SLICE("abcde\n"), 7, SLICE("m4"), WHOLE, true },
};

/* More than out can hold at once, in listings and in one message. */
#define MANY 500
static struct stored many[MANY];
static struct text large;

static int
set_up(void **state)
{
	(void)state;
	for (int i = 0; i < 900; i++)
		text_format(&large, "%s%d\n", i % 3 == 0 ? "." : "line ", i);
	for (size_t i = 0; i < MANY; i++)
		many[i] = (struct stored){
			.octets = i * 1000, .uidl = SLICE("same"),
			.deleted = i % 7 == 3,
		};
	many[0].text = text_slice(&large);
	many[0].octets = large.len + 900;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	text_free(&large);
	return 0;
}

/* ---- the adapter ---- */

struct server {
	struct pop3 pop3;
	struct pop3_options options;
	const struct stored *stored;
	struct message messages[MANY];
	bool all_removed;
	bool end_noted;
};

static struct wire *
server_start(void *arg, char *in, size_t in_size, char *out, size_t out_size)
{
	struct server *server = arg;

	server->stored = NULL;
	server->end_noted = false;
	server->all_removed = true;
	pop3_init(&server->pop3, &server->options, in, in_size, out,
	    out_size);
	return &server->pop3.wire;
}

static void
open_maildrop(struct server *server, const struct stored *stored, size_t n)
{
	server->stored = stored;
	for (size_t i = 0; i < n; i++)
		server->messages[i] = (struct message){
			.octets = stored[i].octets & MESSAGE_OCTETS_MAX,
			.deleted = stored[i].deleted,
		};
	pop3_logged_in(&server->pop3, server->messages, n);
}

static void
log_in(struct server *server)
{
	static const struct {
		struct slice name;
		enum pop3_login_failure failure;
	} failures[] = {
		{ SLICE("refused"), POP3_LOGIN_REFUSED },
		{ SLICE("temporary"), POP3_LOGIN_TEMPORARY },
		{ SLICE("missing"), POP3_LOGIN_NO_MAILDROP },
		{ SLICE("closed"), POP3_LOGIN_NO_ACCESS },
		{ SLICE("busy"), POP3_LOGIN_IN_USE },
	};
	struct pop3 *pop3 = &server->pop3;
	struct slice user = pop3->user;

	for (size_t i = 0; i < COUNT(failures); i++)
		if (slice_equal(user, failures[i].name)) {
			pop3_login_failed(pop3, failures[i].failure);
			return;
		}
	if (!slice_equal(pop3->password, SLICE("secret")))
		pop3_login_failed(pop3, POP3_LOGIN_WRONG);
	else if (slice_equal(user, SLICE("faults")))
		open_maildrop(server, faults, COUNT(faults));
	else if (slice_equal(user, SLICE("many")))
		open_maildrop(server, many, MANY);
	else if (slice_equal(user, SLICE("empty")))
		open_maildrop(server, NULL, 0);
	else if (slice_starts_with(user, SLICE("marked"))) {
		server->all_removed = user.len == 6;
		open_maildrop(server, marked, COUNT(marked));
	} else
		open_maildrop(server, joes, COUNT(joes));
}

/* The file's octets through the core, in pieces of the plan's size. */
static void
send_message(struct server *server, struct drive *drive,
    const struct stored *stored)
{
	struct pop3 *pop3 = &server->pop3;
	struct slice rest = stored->text;

	if (stored->fault == BROKEN_OFF)
		rest.len /= 2;
	while (rest.len > 0 && !pop3_message_enough(pop3)) {
		struct slice piece = rest;

		if (drive->plan.piece > 0 && piece.len > drive->plan.piece)
			piece.len = drive->plan.piece;
		size_t taken = pop3_message_data(pop3, piece);
		if (taken == 0 && !drive_drain(drive))
			fail_msg("no octet taken, none sent");
		rest = slice_skip(rest, taken);
	}
}

static void
serve_message(struct server *server, struct drive *drive)
{
	struct pop3 *pop3 = &server->pop3;
	const struct stored *stored = &server->stored[pop3->message];
	uint64_t octets = stored->octets;
	struct error error;

	switch (stored->fault) {
	case GONE:
		error_set(&error, ERROR_SYSTEM, "gone");
		pop3_message_failed(pop3, &error);
		return;
	case NOT_THERE:
		error_set(&error, ERROR_MISSING, "gone");
		pop3_message_failed(pop3, &error);
		return;
	case CUT_SHORT:
	case BELIEVED:
		octets += 100;
		break;
	case GROWN:
	case WHOLE:
	case BROKEN_OFF:
		break;
	}
	pop3_message_begin(pop3, octets);
	send_message(server, drive, stored);
	if (stored->fault == BROKEN_OFF && !pop3_message_enough(pop3)) {
		error_set(&error, ERROR_SYSTEM, "read error");
		pop3_message_failed(pop3, &error);
	} else {
		pop3_message_end(pop3, stored->fault != CUT_SHORT);
	}
}

static void
note_end(struct server *server, struct drive *drive)
{
	const struct pop3 *pop3 = &server->pop3;

	if (server->end_noted)
		return;
	server->end_noted = true;
	text_format(&drive->events, "end%s %ju %ju\n",
	    pop3->quit ? " quit" : "", (uintmax_t)pop3->retrieved,
	    (uintmax_t)pop3->octets_sent);
}

static bool
server_run(void *arg, struct drive *drive)
{
	struct server *server = arg;
	struct pop3 *pop3 = &server->pop3;

	for (;;) {
		enum pop3_event event = pop3_next(pop3);

		/* It is repeated until it is answered. */
		assert_int_equal(pop3_next(pop3), event);
		switch (event) {
		case POP3_WANT_IO:
			return false;
		case POP3_STLS:
			text_format(&drive->events, "stls\n");
			pop3_accept_stls(pop3);
			while (drive_drain(drive))
				;
			pop3_tls_started(pop3);
			break;
		case POP3_COMMAND:
			text_format(&drive->events, "ask %.*s '%.*s'\n",
			    SLICE_ARG(pop3->verb), SLICE_ARG(pop3->argument));
			if (slice_equal(pop3->argument, SLICE("2")))
				pop3_refuse_with(pop3, SLICE("[SYS/TEMP] No"));
			else
				pop3_go_on(pop3);
			break;
		case POP3_LOGIN:
			text_format(&drive->events, "login %.*s %.*s\n",
			    SLICE_ARG(pop3->user), SLICE_ARG(pop3->password));
			log_in(server);
			break;
		case POP3_MESSAGE:
			text_format(&drive->events, "message %zu\n",
			    pop3->message + 1);
			serve_message(server, drive);
			break;
		case POP3_UIDL:
			pop3_uidl(pop3, server->stored[pop3->message].uidl);
			break;
		case POP3_UPDATE:
			text_format(&drive->events, "update");
			for (size_t i = 0; i < pop3->n; i++)
				if (pop3->messages[i].deleted)
					text_format(&drive->events, " %zu",
					    i + 1);
			text_format(&drive->events, "\n");
			pop3_updated(pop3, server->all_removed);
			break;
		case POP3_CLOSED:
			note_end(server, drive);
			return true;
		}
	}
}

static struct server server;

static const struct pop3_options usual = {
	.hostname = "mail.test", .implementation = "test-1",
	.allow_login = true, .secure = true,
};

static const struct drive_core core = {
	.in_min = POP3_IN_MIN, .out_min = POP3_OUT_MIN, .arg = &server,
	.start = server_start, .run = server_run,
};

/* ---- dialogues ---- */

#define GREETING "+OK mail.test POP3 ready\r\n"
#define USER_OK "+OK Send the password\r\n"
#define LOGIN "USER joe\r\nPASS secret\r\n"
#define LOGIN_OK USER_OK "+OK 4 messages (63 octets)\r\n"
#define JOE "login joe secret\n"
#define BYE "+OK Bye\r\n"
#define QUIT_END "end quit 0 0\n"
#define LOG_IN_FIRST "-ERR Log in first\r\n"
#define LOGGED_IN_ALREADY "-ERR Logged in already\r\n"
#define NO_ARGUMENT "-ERR No argument expected\r\n"
#define NO_SUCH "-ERR No such message\r\n"
#define FOREIGN "-ERR This is POP3, closing\r\n"
#define UNKNOWN "-ERR Unknown command\r\n"
#define WRONG "-ERR [AUTH] Wrong name or password\r\n"
#define NO_NAME "-ERR Not a user name\r\n"
#define MALFORMED "-ERR Malformed response\r\n"

#define CAPA_HEAD "+OK Capabilities:\r\n"
#define CAPA_LOGIN "USER\r\nSASL PLAIN LOGIN\r\n"
#define CAPA_TAIL_WITH(utf8) "TOP\r\nUIDL\r\nPIPELINING\r\n" \
	"RESP-CODES\r\nAUTH-RESP-CODE\r\n" utf8 "LANG\r\n" \
	"EXPIRE NEVER\r\nIMPLEMENTATION test-1\r\n.\r\n"
#define CAPA_TAIL CAPA_TAIL_WITH("UTF8 USER\r\n")
/* Names cannot be given now, in UTF-8 or otherwise. */
#define CAPA_TAIL_BARE CAPA_TAIL_WITH("UTF8\r\n")
#define CAPA CAPA_HEAD CAPA_LOGIN CAPA_TAIL

#define LANGUAGES "+OK Languages:\r\ni-default Default language\r\n" \
	"en English\r\nde Deutsch\r\n.\r\n"
#define ENGLISH "+OK en Texts are in English now\r\n"
#define NO_LANGUAGE "-ERR No such language, LANG lists them\r\n"
#define NOT_UTF8 "-ERR [UTF8] Names and passwords are UTF-8\r\n"

struct row {
	struct slice input, output, events;
	enum drive_end end;
	bool closes;
};

static void
check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char name[32];
		struct drive_dialogue dialogue = {
			.name = name,
			.input = rows[i].input, .output = rows[i].output,
			.events = rows[i].events, .end = rows[i].end,
			.closes = rows[i].closes,
		};

		snprintf(name, sizeof(name), "row %zu", i);
		drive_replay(&core, &dialogue);
	}
}

/* A dialogue in texts of its own, without replay's pieces being rows. */
static void
check(const char *input, const char *output, const char *events,
    bool closes)
{
	const struct row row = {
		slice_from(input), slice_from(output), slice_from(events),
		DRIVE_EOF, closes,
	};

	check_rows(&row, 1);
}

static void
test_sessions(void **state)
{
	static const struct row rows[] = {
		{ SLICE(""), SLICE(GREETING), SLICE("end 0 0\n"), DRIVE_EOF,
		    false },
		{ SLICE("QUIT\r\n"), SLICE(GREETING BYE), SLICE(QUIT_END),
		    DRIVE_EOF, true },
		/* After QUIT nothing is looked at. */
		{ SLICE("QUIT\r\n" LOGIN), SLICE(GREETING BYE),
		    SLICE(QUIT_END), DRIVE_EOF, true },
		{ SLICE(LOGIN "STAT\r\nQUIT\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 4 63\r\n" BYE),
		    SLICE(JOE QUIT_END), DRIVE_EOF, true },
		/* All at once (PIPELINING), without QUIT. */
		{ SLICE(LOGIN "STAT\r\nLIST\r\nUIDL\r\nNOOP\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 4 63\r\n"
		    "+OK 4 messages (63 octets)\r\n"
		    "1 22\r\n2 21\r\n3 2\r\n4 18\r\n.\r\n"
		    "+OK 4 messages (63 octets)\r\n"
		    "1 u1\r\n2 " UIDL_70 "\r\n3 !\r\n4 ~u/.4\r\n.\r\n"
		    "+OK\r\n"), SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE(LOGIN "LIST 1\r\nLIST 4\r\nUIDL 2\r\nUIDL 3\r\n"
		    "list 0002\r\nuidl 1 \r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 1 22\r\n+OK 4 18\r\n"
		    "+OK 2 " UIDL_70 "\r\n+OK 3 !\r\n+OK 2 21\r\n"
		    "+OK 1 u1\r\n"), SLICE(JOE "end 0 0\n"), DRIVE_EOF,
		    false },
		/* A maildrop without messages. */
		{ SLICE("USER empty\r\nPASS secret\r\nSTAT\r\nLIST\r\n"
		    "UIDL\r\nLIST 1\r\nRETR 1\r\nQUIT\r\n"),
		    SLICE(GREETING USER_OK "+OK 0 messages (0 octets)\r\n"
		    "+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n"
		    "+OK 0 messages (0 octets)\r\n.\r\n" NO_SUCH NO_SUCH BYE),
		    SLICE("login empty secret\n" QUIT_END), DRIVE_EOF, true },
		/* Not POP3: nothing that follows is read. */
		{ SLICE("GET / HTTP/1.1\r\n" LOGIN "STAT\r\n"),
		    SLICE(GREETING FOREIGN), SLICE("end 0 0\n"), DRIVE_EOF,
		    true },
		{ SLICE(LOGIN "Host: mail.test\r\nSTAT\r\n"),
		    SLICE(GREETING LOGIN_OK FOREIGN), SLICE(JOE "end 0 0\n"),
		    DRIVE_EOF, true },
		/* A last line without its end is no command. */
		{ SLICE(LOGIN "STAT"), SLICE(GREETING LOGIN_OK),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE(LOGIN "QUIT\r"), SLICE(GREETING LOGIN_OK),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* People who type, and old programs: LF alone, small
		 * letters, blanks at the end. */
		{ SLICE("user joe\npass secret\nStat  \nquit\t\n"),
		    SLICE(GREETING LOGIN_OK "+OK 4 63\r\n" UNKNOWN),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("user joe\npass secret\nSTAT \t \nQUIT \n"),
		    SLICE(GREETING LOGIN_OK "+OK 4 63\r\n" BYE),
		    SLICE(JOE QUIT_END), DRIVE_EOF, true },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

static void
test_messages(void **state)
{
	static const struct row rows[] = {
		{ SLICE(LOGIN "RETR 1\r\nQUIT\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 22 octets\r\n"
		    "Subject: one\r\n\r\nbody\r\n.\r\n" BYE),
		    SLICE(JOE "message 1\nend quit 1 22\n"), DRIVE_EOF,
		    true },
		/* Dots, a missing last line end. */
		{ SLICE(LOGIN "RETR 2\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 21 octets\r\n"
		    "..dots\r\n...\r\n\r\n..\r\nend\r\n.\r\n"),
		    SLICE(JOE "message 2\nend 1 21\n"), DRIVE_EOF, false },
		/* Nothing at all is an empty line. */
		{ SLICE(LOGIN "RETR 3\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 2 octets\r\n\r\n.\r\n"),
		    SLICE(JOE "message 3\nend 1 2\n"), DRIVE_EOF, false },
		/* NUL, CRLF, a lone CR, empty lines at the end. */
		{ SLICE(LOGIN "RETR 4\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 18 octets\r\n"
		    "X: \0\r\n\r\na\r\nb\r\n\r\n\r\n.\r\n"),
		    SLICE(JOE "message 4\nend 1 18\n"), DRIVE_EOF, false },
		{ SLICE(LOGIN "RETR 3\r\nRETR 1\r\nRETR 3\r\nNOOP\r\n"),
		    SLICE(GREETING LOGIN_OK "+OK 2 octets\r\n\r\n.\r\n"
		    "+OK 22 octets\r\nSubject: one\r\n\r\nbody\r\n.\r\n"
		    "+OK 2 octets\r\n\r\n.\r\n+OK\r\n"),
		    SLICE(JOE "message 3\nmessage 1\nmessage 3\n"
		    "end 3 26\n"), DRIVE_EOF, false },
		/* TOP: header, blank line, so many lines. */
		{ SLICE(LOGIN "TOP 1 0\r\nTOP 1 1\r\nTOP 1 99\r\n"),
		    SLICE(GREETING LOGIN_OK
		    "+OK Top of message follows\r\n"
		    "Subject: one\r\n\r\n.\r\n"
		    "+OK Top of message follows\r\n"
		    "Subject: one\r\n\r\nbody\r\n.\r\n"
		    "+OK Top of message follows\r\n"
		    "Subject: one\r\n\r\nbody\r\n.\r\n"),
		    SLICE(JOE "message 1\nmessage 1\nmessage 1\n"
		    "end 0 60\n"), DRIVE_EOF, false },
		{ SLICE(LOGIN "TOP 2 1\r\nTOP 2 2 \r\nTOP 3 5\r\n"
		    "TOP 04 001\r\n"),
		    SLICE(GREETING LOGIN_OK
		    "+OK Top of message follows\r\n"
		    "..dots\r\n...\r\n\r\n..\r\n.\r\n"
		    "+OK Top of message follows\r\n"
		    "..dots\r\n...\r\n\r\n..\r\nend\r\n.\r\n"
		    "+OK Top of message follows\r\n\r\n.\r\n"
		    "+OK Top of message follows\r\n"
		    "X: \0\r\n\r\na\r\n.\r\n"),
		    SLICE(JOE "message 2\nmessage 2\nmessage 3\nmessage 4\n"
		    "end 0 50\n"), DRIVE_EOF, false },
		{ SLICE(LOGIN "TOP 1 18446744073709551615\r\n"),
		    SLICE(GREETING LOGIN_OK
		    "+OK Top of message follows\r\n"
		    "Subject: one\r\n\r\nbody\r\n.\r\n"),
		    SLICE(JOE "message 1\nend 0 22\n"), DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

#define FAULTS "USER faults\r\nPASS secret\r\n"
#define FAULTS_OK USER_OK "+OK 6 messages (58 octets)\r\n"
#define FAULTS_IN "login faults secret\n"

/* Never an empty, a short or half a message. */
static void
test_message_faults(void **state)
{
	static const struct row rows[] = {
		{ SLICE(FAULTS "RETR 1\r\nTOP 1 0\r\nRETR 2\r\nNOOP\r\n"),
		    SLICE(GREETING FAULTS_OK
		    "-ERR [SYS/TEMP] Cannot read that message\r\n"
		    "-ERR [SYS/TEMP] Cannot read that message\r\n"
		    "-ERR [SYS/PERM] Cannot read that message\r\n+OK\r\n"),
		    SLICE(FAULTS_IN "message 1\nmessage 1\nmessage 2\n"
		    "end 0 0\n"), DRIVE_EOF, false },
		/* The +OK line tells what comes now, not what was counted
		 * at the login. */
		{ SLICE(FAULTS "RETR 3\r\n"),
		    SLICE(GREETING FAULTS_OK
		    "+OK 8 octets\r\nab\r\ncd\r\n.\r\n"),
		    SLICE(FAULTS_IN "message 3\nend 1 8\n"), DRIVE_EOF,
		    false },
		{ SLICE(FAULTS "RETR 4\r\nNOOP\r\n"),
		    SLICE(GREETING FAULTS_OK "+OK 108 octets\r\nab\r\ncd\r\n"),
		    SLICE(FAULTS_IN "message 4\nend 0 0\n"), DRIVE_EOF,
		    true },
		{ SLICE(FAULTS "RETR 5\r\nNOOP\r\n"),
		    SLICE(GREETING FAULTS_OK "+OK 22 octets\r\nSubject: "),
		    SLICE(FAULTS_IN "message 5\nend 0 0\n"), DRIVE_EOF,
		    true },
		/* A number that somebody got wrong is no reason to keep a
		 * whole message from a client for ever. */
		{ SLICE(FAULTS "RETR 6\r\nTOP 6 9\r\nNOOP\r\n"),
		    SLICE(GREETING FAULTS_OK "+OK 108 octets\r\nab\r\ncd\r\n"
		    ".\r\n+OK Top of message follows\r\nab\r\ncd\r\n.\r\n"
		    "+OK\r\n"),
		    SLICE(FAULTS_IN "message 6\nmessage 6\nend 1 16\n"),
		    DRIVE_EOF, false },
		{ SLICE(FAULTS "TOP 5 1\r\nNOOP\r\n"),
		    SLICE(GREETING FAULTS_OK "+OK Top of message follows\r\n"
		    "Subject: "),
		    SLICE(FAULTS_IN "message 5\nend 0 0\n"), DRIVE_EOF,
		    true },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

/* Arguments are checked strictly. */
static void
test_arguments(void **state)
{
	static const char *const bad_numbers[] = {
		"0", "5", "-1", "+1", "1x", "x", "1.0", "0x1", "1 1", " 1 2",
		"99999999999999999999", "18446744073709551617", "one", "*",
		"1,2", "4294967297",
	};
	static const char *const bad_tops[] = {
		"TOP", "TOP 1", "TOP 1 ", "TOP 1 x", "TOP 1 -1", "TOP 1 1x",
		"TOP 1 1 1", "TOP  1", "TOP 1 99999999999999999999",
		"TOP 1\t1",
	};
	static const char *const no_arguments[] = {
		"CAPA", "STAT", "NOOP", "RSET", "QUIT",
	};
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };

	(void)state;
	server.options = usual;
	for (size_t i = 0; i < COUNT(bad_numbers); i++) {
		input.len = output.len = 0;
		text_format(&input, LOGIN "RETR %s\r\nLIST %s\r\nUIDL %s\r\n"
		    "DELE %s\r\nTOP %s 1\r\n", bad_numbers[i], bad_numbers[i],
		    bad_numbers[i], bad_numbers[i], bad_numbers[i]);
		text_format(&output, GREETING LOGIN_OK NO_SUCH NO_SUCH
		    NO_SUCH NO_SUCH "%s",
		    strchr(bad_numbers[i], ' ') != NULL
		    ? "-ERR TOP takes a message number and a number of "
		    "lines\r\n" : NO_SUCH);
		check(input.data, output.data, JOE "end 0 0\n", false);
	}
	for (size_t i = 0; i < COUNT(bad_tops); i++) {
		input.len = output.len = 0;
		text_format(&input, LOGIN "%s\r\n", bad_tops[i]);
		text_format(&output, GREETING LOGIN_OK "-ERR TOP takes a "
		    "message number and a number of lines\r\n");
		check(input.data, output.data, JOE "end 0 0\n", false);
	}
	for (size_t i = 0; i < COUNT(no_arguments); i++) {
		input.len = 0;
		text_format(&input, LOGIN "%s 1\r\n%s x\r\n",
		    no_arguments[i], no_arguments[i]);
		check(input.data, GREETING LOGIN_OK NO_ARGUMENT NO_ARGUMENT,
		    JOE "end 0 0\n", false);
	}
	/* RETR and DELE must have one. */
	check(LOGIN "RETR\r\nDELE\r\nRETR \r\n",
	    GREETING LOGIN_OK NO_SUCH NO_SUCH NO_SUCH, JOE "end 0 0\n",
	    false);
	text_free(&input);
	text_free(&output);
}

/* Every command, before the login and after it. */
static void
test_states(void **state)
{
	static const struct {
		const char *command;
		const char *before;
		const char *after;
		const char *event_after;
		bool closes;
	} rows[] = {
		{ "CAPA", CAPA, CAPA, "", false },
		{ "capa", CAPA, CAPA, "", false },
		{ "STLS", "-ERR There is no STLS here\r\n",
		    LOGGED_IN_ALREADY, "", false },
		{ "USER joe", USER_OK, LOGGED_IN_ALREADY, "", false },
		{ "PASS secret", "-ERR USER comes first\r\n",
		    LOGGED_IN_ALREADY, "", false },
		{ "AUTH", "+OK Mechanisms:\r\nPLAIN\r\nLOGIN\r\n.\r\n",
		    LOGGED_IN_ALREADY, "", false },
		{ "AUTH X", "-ERR No such mechanism, CAPA lists them\r\n",
		    LOGGED_IN_ALREADY, "", false },
		{ "STAT", LOG_IN_FIRST, "+OK 4 63\r\n", "", false },
		{ "LIST", LOG_IN_FIRST, "+OK 4 messages (63 octets)\r\n"
		    "1 22\r\n2 21\r\n3 2\r\n4 18\r\n.\r\n", "", false },
		{ "LIST 3", LOG_IN_FIRST, "+OK 3 2\r\n", "", false },
		{ "UIDL 1", LOG_IN_FIRST, "+OK 1 u1\r\n", "", false },
		{ "RETR 3", LOG_IN_FIRST, "+OK 2 octets\r\n\r\n.\r\n",
		    "message 3\n", false },
		{ "TOP 3 1", LOG_IN_FIRST,
		    "+OK Top of message follows\r\n\r\n.\r\n", "message 3\n",
		    false },
		{ "DELE 1", LOG_IN_FIRST,
		    "-ERR Messages cannot be deleted here\r\n", "", false },
		{ "NOOP", LOG_IN_FIRST, "+OK\r\n", "", false },
		{ "RSET", LOG_IN_FIRST, "+OK\r\n", "", false },
		{ "QUIT", BYE, BYE, "", true },
		{ "UTF8", "+OK UTF-8 it is\r\n", LOGGED_IN_ALREADY, "", false },
		{ "UTF8 x", NO_ARGUMENT, LOGGED_IN_ALREADY, "", false },
		{ "LANG", LANGUAGES, LANGUAGES, "", false },
		{ "LANG en-GB", ENGLISH, ENGLISH, "", false },
		{ "LANG fr", NO_LANGUAGE, NO_LANGUAGE, "", false },
		/* APOP needs passwords in clear text; the rest is no POP3. */
		{ "APOP joe 0", UNKNOWN, UNKNOWN, "", false },
		{ "XTND", UNKNOWN, UNKNOWN, "", false },
		{ "", UNKNOWN, UNKNOWN, "", false },
		{ " STAT", UNKNOWN, UNKNOWN, "", false },
		{ "STATX", UNKNOWN, UNKNOWN, "", false },
		{ "STA", UNKNOWN, UNKNOWN, "", false },
		{ "STAT\t", UNKNOWN, UNKNOWN, "", false },
		{ "EHLO x", UNKNOWN, UNKNOWN, "", false },
	};
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };

	(void)state;
	server.options = usual;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *quit = rows[i].closes ? " quit" : "";
		bool retrieved = strncmp(rows[i].command, "RETR", 4) == 0;

		input.len = output.len = events.len = 0;
		text_format(&input, "%s\r\n", rows[i].command);
		text_format(&output, GREETING "%s", rows[i].before);
		text_format(&events, "end%s 0 0\n", quit);
		check(input.data, output.data, events.data, rows[i].closes);

		input.len = output.len = events.len = 0;
		text_format(&input, LOGIN "%s\r\n", rows[i].command);
		text_format(&output, GREETING LOGIN_OK "%s", rows[i].after);
		/* Message 3 is an empty line. */
		text_format(&events, JOE "%send%s %d %d\n",
		    rows[i].event_after, quit, retrieved,
		    rows[i].event_after[0] != '\0' ? 2 : 0);
		check(input.data, output.data, events.data, rows[i].closes);
	}
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* ---- logins ---- */

/* "\0joe\0secret", "\0joe\0wrong", "joe", "secret" */
#define PLAIN_JOE "AGpvZQBzZWNyZXQ="
#define PLAIN_WRONG "AGpvZQB3cm9uZw=="
#define B64_JOE "am9l"
#define B64_SECRET "c2VjcmV0"
#define ASK_NAME "+ VXNlcm5hbWU6\r\n"
#define ASK_PASSWORD "+ UGFzc3dvcmQ6\r\n"
#define WELCOME "+OK 4 messages (63 octets)\r\n"

static void
test_user_pass(void **state)
{
	static const struct row rows[] = {
		{ SLICE("USER joe\r\nPASS wrong\r\nUSER joe\r\n"
		    "PASS secret\r\n"), SLICE(GREETING USER_OK WRONG USER_OK
		    WELCOME), SLICE("login joe wrong\n" JOE "end 0 0\n"),
		    DRIVE_EOF, false },
		/* The name is good for one try. */
		{ SLICE("USER joe\r\nPASS wrong\r\nPASS secret\r\n"),
		    SLICE(GREETING USER_OK WRONG "-ERR USER comes first\r\n"),
		    SLICE("login joe wrong\nend 0 0\n"), DRIVE_EOF, false },
		/* The last USER counts. */
		{ SLICE("USER x\r\nUSER joe\r\nPASS secret\r\n"),
		    SLICE(GREETING USER_OK USER_OK WELCOME),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* Other commands do not lose it. */
		{ SLICE("USER joe\r\nCAPA\r\nSTAT\r\nPASS secret\r\n"),
		    SLICE(GREETING USER_OK CAPA LOG_IN_FIRST WELCOME),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* Blanks are a password's own, and a name's inner ones. */
		{ SLICE("USER joe x \r\nPASS  secret \r\n"),
		    SLICE(GREETING USER_OK WRONG),
		    SLICE("login joe x  secret \nend 0 0\n"), DRIVE_EOF,
		    false },
		{ SLICE("USER joe\r\nPASS\r\nUSER joe\r\nPASS \r\n"),
		    SLICE(GREETING USER_OK WRONG USER_OK WRONG),
		    SLICE("login joe \nlogin joe \nend 0 0\n"), DRIVE_EOF,
		    false },
		{ SLICE("USER j\xC3\xB6\r\nPASS \xC3\xBF\r\n"),
		    SLICE(GREETING USER_OK WRONG),
		    SLICE("login j\xC3\xB6 \xC3\xBF\nend 0 0\n"), DRIVE_EOF,
		    false },
		{ SLICE("USER\r\nUSER \r\nUSER a\0b\r\nUSER \x7F\r\n"
		    "PASS secret\r\n"),
		    SLICE(GREETING NO_NAME NO_NAME NO_NAME NO_NAME
		    "-ERR USER comes first\r\n"), SLICE("end 0 0\n"),
		    DRIVE_EOF, false },
		{ SLICE("USER joe\r\nPASS se\0cret\r\nPASS secret\r\n"),
		    SLICE(GREETING USER_OK "-ERR [AUTH] Not a password\r\n"
		    WELCOME), SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* Every failure and its code, and three of any are enough. */
		{ SLICE("USER refused\r\nPASS x\r\nUSER temporary\r\n"
		    "PASS x\r\nUSER missing\r\nPASS x\r\nQUIT\r\n"),
		    SLICE(GREETING
		    USER_OK "-ERR [AUTH] Logins are refused here\r\n"
		    USER_OK "-ERR [SYS/TEMP] Cannot log you in now\r\n"
		    USER_OK "-ERR [SYS/PERM] There is no maildrop\r\n"),
		    SLICE("login refused x\nlogin temporary x\n"
		    "login missing x\nend 0 0\n"), DRIVE_EOF, true },
		{ SLICE("USER closed\r\nPASS x\r\nQUIT\r\n"),
		    SLICE(GREETING USER_OK
		    "-ERR [SYS/PERM] The maildrop cannot be opened\r\n" BYE),
		    SLICE("login closed x\n" QUIT_END), DRIVE_EOF, true },
		{ SLICE("USER busy\r\nPASS x\r\nUSER joe\r\nPASS x\r\n"
		    "USER joe\r\nPASS x\r\nUSER joe\r\nPASS secret\r\n"),
		    SLICE(GREETING
		    USER_OK "-ERR [IN-USE] Another session has the "
		    "maildrop\r\n" USER_OK WRONG USER_OK WRONG),
		    SLICE("login busy x\nlogin joe x\nlogin joe x\n"
		    "end 0 0\n"), DRIVE_EOF, true },
		{ SLICE("USER a\r\nPASS x\r\nUSER a\r\nPASS x\r\n" LOGIN
		    "NOOP\r\n"), SLICE(GREETING USER_OK WRONG USER_OK WRONG
		    LOGIN_OK "+OK\r\n"),
		    SLICE("login a x\nlogin a x\n" JOE "end 0 0\n"),
		    DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

static void
test_auth(void **state)
{
	static const struct row rows[] = {
		{ SLICE("AUTH PLAIN " PLAIN_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING WELCOME "+OK\r\n"),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH PLAIN\r\n" PLAIN_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING "+ \r\n" WELCOME "+OK\r\n"),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("auth login\r\n" B64_JOE "\r\n" B64_SECRET "\r\n"),
		    SLICE(GREETING ASK_NAME ASK_PASSWORD WELCOME),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH LOGIN " B64_JOE "\r\n" B64_SECRET "\r\n"),
		    SLICE(GREETING ASK_PASSWORD WELCOME),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* A line that looks like a command is a response. */
		{ SLICE("AUTH LOGIN\r\nQUIT\r\nSTAT\r\nQUIT\r\n"),
		    SLICE(GREETING ASK_NAME ASK_PASSWORD NO_NAME BYE),
		    SLICE(QUIT_END), DRIVE_EOF, true },
		{ SLICE("AUTH PLAIN\r\n*\r\nAUTH LOGIN\r\n*\r\n"
		    "AUTH LOGIN\r\n" B64_JOE "\r\n*\r\n" LOGIN),
		    SLICE(GREETING "+ \r\n-ERR Cancelled\r\n"
		    ASK_NAME "-ERR Cancelled\r\n"
		    ASK_NAME ASK_PASSWORD "-ERR Cancelled\r\n" LOGIN_OK),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH PLAIN *\r\nAUTH PLAIN =\r\nAUTH PLAIN x\r\n"
		    "AUTH PLAIN\r\nxxx\r\nAUTH PLAIN\r\n\r\n"),
		    SLICE(GREETING MALFORMED MALFORMED MALFORMED
		    "+ \r\n" MALFORMED "+ \r\n" MALFORMED),
		    SLICE("end 0 0\n"), DRIVE_EOF, false },
		/* An empty name is none; an empty password is asked for. */
		{ SLICE("AUTH LOGIN\r\n\r\n" B64_SECRET "\r\n"
		    "AUTH LOGIN =\r\n" B64_SECRET "\r\n"
		    "AUTH LOGIN " B64_JOE "\r\n\r\n"),
		    SLICE(GREETING ASK_NAME ASK_PASSWORD NO_NAME
		    ASK_PASSWORD NO_NAME ASK_PASSWORD WRONG),
		    SLICE("login joe \nend 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH PLAIN " PLAIN_WRONG "\r\nAUTH PLAIN\r\n"
		    PLAIN_WRONG "\r\nAUTH PLAIN " PLAIN_WRONG "\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\n"),
		    SLICE(GREETING WRONG "+ \r\n" WRONG WRONG),
		    SLICE("login joe wrong\nlogin joe wrong\n"
		    "login joe wrong\nend 0 0\n"), DRIVE_EOF, true },
		{ SLICE("AUTH CRAM-MD5\r\nAUTH PLAINX " PLAIN_JOE "\r\n"),
		    SLICE(GREETING
		    "-ERR No such mechanism, CAPA lists them\r\n"
		    "-ERR No such mechanism, CAPA lists them\r\n"),
		    SLICE("end 0 0\n"), DRIVE_EOF, false },
		/* The end comes while a response is awaited. */
		{ SLICE("AUTH PLAIN\r\n"), SLICE(GREETING "+ \r\n"),
		    SLICE("end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH PLAIN\r\n"), SLICE(GREETING "+ \r\n"),
		    SLICE("end 0 0\n"), DRIVE_TIMEOUT, false },
		{ SLICE("AUTH PLAIN\r\n" PLAIN_JOE),
		    SLICE(GREETING "+ \r\n"), SLICE("end 0 0\n"),
		    DRIVE_STOPPING, false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

#define XOAUTH2_JOE \
	"dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE="
#define XOAUTH2_WRONG \
	"dXNlcj1qb2UBYXV0aD1CZWFyZXIgd3JvbmcBAQ=="
#define BEARER_JOE "bixhPWpvZSwBaG9zdD1oAXBvcnQ9NTg3AWF1dGg9" \
	"QmVhcmVyIHNlY3JldAEB"
#define BEARER_WRONG "bixhPWpvZSwBYXV0aD1CZWFyZXIgd3JvbmcBAQ=="
#define NO_TOKEN "+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NoZW1l" \
	"cyI6ImJlYXJlciJ9\r\n"
#define NO_TOKEN_XOAUTH2 \
	"+ eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=\r\n"
#define JOE_WRONG "login joe wrong\n"

/* RFC 7628: a token is refused by a challenge, and the reply comes when the
 * client has answered that. Microsoft's client asks first, and says it on a
 * line of its own. */
static void
test_tokens(void **state)
{
	static const struct row rows[] = {
		{ SLICE("AUTH\r\nCAPA\r\n"), SLICE(GREETING "+OK Mechanisms:"
		    "\r\nLOGIN\r\nOAUTHBEARER\r\nXOAUTH2\r\n.\r\n" CAPA_HEAD
		    "USER\r\nSASL LOGIN OAUTHBEARER XOAUTH2\r\n" CAPA_TAIL),
		    SLICE("end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH XOAUTH2\r\n" XOAUTH2_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING "+ \r\n" WELCOME "+OK\r\n"),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH OAUTHBEARER " BEARER_JOE "\r\n"),
		    SLICE(GREETING WELCOME), SLICE(JOE "end 0 0\n"),
		    DRIVE_EOF, false },
		{ SLICE("AUTH OAUTHBEARER " BEARER_WRONG "\r\nAQ==\r\n"
		    "AUTH XOAUTH2 " XOAUTH2_WRONG "\r\n\r\nNOOP\r\n"
		    "AUTH XOAUTH2 " XOAUTH2_WRONG "\r\n*\r\nNOOP\r\n"),
		    SLICE(GREETING NO_TOKEN WRONG NO_TOKEN_XOAUTH2 WRONG
		    LOG_IN_FIRST NO_TOKEN_XOAUTH2 WRONG),
		    SLICE(JOE_WRONG JOE_WRONG JOE_WRONG "end 0 0\n"),
		    DRIVE_EOF, true },
		{ SLICE("AUTH OAUTHBEARER " BEARER_WRONG "\r\nAQ==\r\n"
		    LOGIN), SLICE(GREETING NO_TOKEN WRONG LOGIN_OK),
		    SLICE(JOE_WRONG JOE "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE("AUTH OAUTHBEARER " BEARER_WRONG "\r\n"),
		    SLICE(GREETING NO_TOKEN), SLICE(JOE_WRONG "end 0 0\n"),
		    DRIVE_EOF, false },
		/* "temporary" and "busy": no word against the token. */
		{ SLICE("AUTH OAUTHBEARER bixhPXRlbXBvcmFyeSwBYXV0aD1CZWFyZXI"
		    "geAEB\r\nNOOP\r\n"
		    "AUTH XOAUTH2\r\ndXNlcj1idXN5AWF1dGg9QmVhcmVyIHgBAQ=="
		    "\r\nNOOP\r\n"),
		    SLICE(GREETING "-ERR [SYS/TEMP] Cannot log you in now\r\n"
		    LOG_IN_FIRST "+ \r\n-ERR [IN-USE] Another session has "
		    "the maildrop\r\n" LOG_IN_FIRST),
		    SLICE("login temporary x\nlogin busy x\nend 0 0\n"),
		    DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	server.options.mechanisms = SASL_TOKENS |
	    1u << SASL_MECHANISM_LOGIN;
	check_rows(rows, COUNT(rows));
}

static void
test_no_login(void **state)
{
	static const struct row none[] = {
		{ SLICE("USER joe\r\nPASS secret\r\nAUTH\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\nCAPA\r\nQUIT\r\n"),
		    SLICE(GREETING
		    "-ERR Logins are not possible on this connection\r\n"
		    "-ERR Logins are not possible on this connection\r\n"
		    "-ERR Logins are not possible on this connection\r\n"
		    "-ERR Logins are not possible on this connection\r\n"
		    CAPA_HEAD CAPA_TAIL_BARE BYE), SLICE(QUIT_END), DRIVE_EOF,
		    true },
	};
	static const struct row needs_tls[] = {
		{ SLICE("USER joe\r\nPASS secret\r\nAUTH\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\nCAPA\r\nSTLS x\r\nQUIT\r\n"),
		    SLICE(GREETING
		    "-ERR Logins need STLS first\r\n"
		    "-ERR Logins need STLS first\r\n"
		    "-ERR Logins need STLS first\r\n"
		    "-ERR Logins need STLS first\r\n"
		    CAPA_HEAD "STLS\r\n" CAPA_TAIL_BARE NO_ARGUMENT BYE),
		    SLICE(QUIT_END), DRIVE_EOF, true },
	};
	/* A local peer: STLS is offered and not needed. */
	static const struct row offers_tls[] = {
		{ SLICE("CAPA\r\n" LOGIN "CAPA\r\n"),
		    SLICE(GREETING CAPA_HEAD "STLS\r\n" CAPA_LOGIN CAPA_TAIL
		    LOGIN_OK CAPA), SLICE(JOE "end 0 0\n"), DRIVE_EOF,
		    false },
	};

	(void)state;
	server.options = usual;
	server.options.secure = false;
	check_rows(none, COUNT(none));
	server.options.secure = true;
	server.options.allow_login = false;
	check_rows(none, COUNT(none));
	server.options = usual;
	server.options.secure = false;
	server.options.stls = true;
	check_rows(needs_tls, COUNT(needs_tls));
	server.options.secure = true;
	check_rows(offers_tls, COUNT(offers_tls));
}

/* One step of a dialogue that is not replayed: what is said to input. */
static void
step(struct drive *drive, struct slice input, struct slice output)
{
	drive->sent.len = 0;
	assert_true(buf_append(&drive->wire->in, input));
	server_run(&server, drive);
	while (drive_drain(drive))
		server_run(&server, drive);
	assert_slices(text_slice(&drive->sent), output);
}

/* Between the go-ahead and the handshake nothing is said in clear text. */
static void
test_stls_ended(void **state)
{
	static const bool timeouts[] = { false, true };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, POP3_IN_MIN);
	guarded_new(&out, POP3_OUT_MIN);
	server.options = usual;
	server.options.stls = true;
	for (size_t i = 0; i < COUNT(timeouts); i++) {
		struct wire *wire = server_start(&server, in.data, in.size,
		    out.data, out.size);

		assert_true(buf_append(&wire->in, SLICE("STLS\r\n")));
		assert_int_equal(pop3_next(&server.pop3), POP3_STLS);
		pop3_accept_stls(&server.pop3);
		buf_consume(&wire->out, buf_contents(&wire->out).len);
		assert_int_equal(pop3_next(&server.pop3), POP3_WANT_IO);
		wire->timed_out = timeouts[i];
		wire->eof = !timeouts[i];
		assert_int_equal(pop3_next(&server.pop3), POP3_CLOSED);
		assert_int_equal(buf_contents(&wire->out).len, 0);
	}
	guarded_free(&in);
	guarded_free(&out);
}

/* RFC 2595 4: what came before TLS is forgotten, pipelined commands above
 * all (CVE-2011-0411). */
static void
test_stls(void **state)
{
	struct drive drive = { .plan = { .drain = 5 } };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, POP3_IN_MIN);
	guarded_new(&out, POP3_OUT_MIN);
	server.options = usual;
	server.options.secure = false;
	server.options.stls = true;
	drive.wire = server_start(&server, in.data, in.size, out.data,
	    out.size);
	step(&drive, SLICE("CAPA\r\nUSER joe\r\n"),
	    SLICE(GREETING CAPA_HEAD "STLS\r\n" CAPA_TAIL_BARE
	    "-ERR Logins need STLS first\r\n"));
	/* By itself, whatever the program does: what came along with STLS,
	 * and what comes before the handshake is over. */
	drive.sent.len = 0;
	assert_true(buf_append(&drive.wire->in,
	    SLICE("STLS\r\nUSER evil\r\nPASS secret\r\nQUI")));
	assert_int_equal(pop3_next(&server.pop3), POP3_STLS);
	pop3_accept_stls(&server.pop3);
	assert_int_equal(pop3_next(&server.pop3), POP3_WANT_IO);
	assert_true(buf_append(&drive.wire->in,
	    SLICE("USER evil\r\nPASS secret\r\nQUI")));
	while (drive_drain(&drive))
		assert_int_equal(pop3_next(&server.pop3), POP3_WANT_IO);
	assert_slice(text_slice(&drive.sent), "+OK Go ahead\r\n");
	pop3_tls_started(&server.pop3);
	text_add(&drive.events, SLICE("stls\n"));
	step(&drive, SLICE("PASS secret\r\nCAPA\r\nSTLS\r\n"),
	    SLICE("-ERR USER comes first\r\n" CAPA
	    "-ERR There is no STLS here\r\n"));
	step(&drive, SLICE(LOGIN "STLS\r\n"),
	    SLICE(LOGIN_OK LOGGED_IN_ALREADY));
	assert_slices(text_slice(&drive.events), SLICE("stls\n" JOE));

	/* A name in clear text, where that was allowed, counts no more. */
	drive.events.len = 0;
	server.options.secure = true;
	drive.wire = server_start(&server, in.data, in.size, out.data,
	    out.size);
	step(&drive, SLICE("USER joe\r\nSTLS\r\n"),
	    SLICE(GREETING USER_OK "+OK Go ahead\r\n"));
	step(&drive, SLICE("PASS secret\r\n"),
	    SLICE("-ERR USER comes first\r\n"));
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* Names and passwords are overwritten once the login is answered. */
static void
test_secrets_wiped(void **state)
{
	static const struct slice inputs[] = {
		SLICE("USER joe\r\nPASS hunter22\r\n"),
		SLICE("AUTH PLAIN AGpvZQBodW50ZXIyMg==\r\n"),
		SLICE("AUTH PLAIN\r\nAGpvZQBodW50ZXIyMg==\r\n"),
		SLICE("AUTH LOGIN\r\nam9l\r\naHVudGVyMjI=\r\n"),
		/* Where it was of no use. */
		SLICE("PASS hunter22\r\n"), SLICE(LOGIN "PASS hunter22\r\n"),
		SLICE("USER joe\r\nPASS hunter22\0\r\n"),
		SLICE(LOGIN "AUTH PLAIN aHVudGVyMjI=\r\n"),
		SLICE("AUTH X aHVudGVyMjI=\r\n"),
		/* Cancelled, malformed, an empty name. */
		SLICE("AUTH LOGIN\r\naHVudGVyMjI=\r\n*\r\n"),
		SLICE("AUTH PLAIN aHVudGVyMjI=\r\n"),
		SLICE("AUTH PLAIN\r\naHVudGVyMjI=\r\n"),
		SLICE("AUTH LOGIN\r\n\r\naHVudGVyMjI=\r\n"),
	};
	static const size_t pieces[] = { 0, 1, 7, 20 };
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, POP3_IN_MIN);
	guarded_new(&out, POP3_OUT_MIN);
	server.options = usual;
	for (size_t i = 0; i < COUNT(inputs) * COUNT(pieces); i++) {
		struct slice input = inputs[i / COUNT(pieces)];
		size_t at = 0;

		memset(in.data, 0, in.size);
		memset(&server.pop3, 0, sizeof(server.pop3));
		drive.wire = server_start(&server, in.data, in.size,
		    out.data, out.size);
		server_run(&server, &drive);
		/* Half a line is moved to the front, and leaves a copy. */
		drive.plan.piece = pieces[i % COUNT(pieces)];
		while (at < input.len) {
			drive_feed(&drive, input, &at);
			server_run(&server, &drive);
		}
		assert_null(memmem(in.data, in.size, "hunter22", 8));
		assert_null(memmem(in.data, in.size, "aHVudGVy", 8));
		assert_null(memmem(in.data, in.size, "BodW50ZX", 8));
		assert_null(memmem(&server.pop3, sizeof(server.pop3),
		    "hunter22", 8));
	}
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* ---- marks ---- */

#define MARKED "USER marked\r\nPASS secret\r\n"
#define MARKED_OK USER_OK "+OK 2 messages (10 octets)\r\n"
#define MARKED_IN "login marked secret\n"

/* Marked messages are there no more, but keep their numbers; only QUIT
 * removes them. */
static void
test_marked(void **state)
{
	static const struct row rows[] = {
		{ SLICE(MARKED "STAT\r\nLIST\r\nUIDL\r\nLIST 2\r\nUIDL 4\r\n"
		    "RETR 2\r\nTOP 4 0\r\nDELE 2\r\nLIST 3\r\nRETR 3\r\n"),
		    SLICE(GREETING MARKED_OK "+OK 2 10\r\n"
		    "+OK 2 messages (10 octets)\r\n1 4\r\n3 6\r\n.\r\n"
		    "+OK 2 messages (10 octets)\r\n1 k1\r\n3 k3\r\n.\r\n"
		    NO_SUCH NO_SUCH NO_SUCH NO_SUCH NO_SUCH "+OK 3 6\r\n"
		    "+OK 6 octets\r\nabcd\r\n.\r\n"),
		    SLICE(MARKED_IN "message 3\nend 1 6\n"), DRIVE_EOF,
		    false },
		{ SLICE(MARKED "RSET\r\nSTAT\r\nLIST\r\nQUIT\r\n"),
		    SLICE(GREETING MARKED_OK "+OK\r\n+OK 4 22\r\n"
		    "+OK 4 messages (22 octets)\r\n"
		    "1 4\r\n2 5\r\n3 6\r\n4 7\r\n.\r\n" BYE),
		    SLICE(MARKED_IN QUIT_END), DRIVE_EOF, true },
		{ SLICE(MARKED "QUIT\r\nSTAT\r\n"),
		    SLICE(GREETING MARKED_OK BYE),
		    SLICE(MARKED_IN "update 2 4\n" QUIT_END), DRIVE_EOF,
		    true },
		{ SLICE("USER marked-bad\r\nPASS secret\r\nQUIT\r\n"),
		    SLICE(GREETING MARKED_OK
		    "-ERR [SYS/TEMP] Some messages were not removed\r\n"),
		    SLICE("login marked-bad secret\nupdate 2 4\n" QUIT_END),
		    DRIVE_EOF, true },
		/* Anything but QUIT removes nothing. */
		{ SLICE(MARKED), SLICE(GREETING MARKED_OK),
		    SLICE(MARKED_IN "end 0 0\n"), DRIVE_EOF, false },
		{ SLICE(MARKED), SLICE(GREETING MARKED_OK),
		    SLICE(MARKED_IN "end 0 0\n"), DRIVE_TIMEOUT, false },
		{ SLICE(MARKED "QUIT"), SLICE(GREETING MARKED_OK),
		    SLICE(MARKED_IN "end 0 0\n"), DRIVE_STOPPING, false },
		{ SLICE(MARKED "QUIT now\r\n"),
		    SLICE(GREETING MARKED_OK NO_ARGUMENT),
		    SLICE(MARKED_IN "end 0 0\n"), DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

#define MARK "+OK Marked to be deleted\r\n"

#define REFUSED_SO "-ERR [SYS/TEMP] No\r\n"

static void
test_asked(void **state)
{
	server.options = usual;
	server.options.ask = true;
	server.options.allow_delete = true;
	(void)state;
	/* All of them, and no other command; the verb as it is spelled, the
	 * argument without blanks at its ends. */
	check(LOGIN "NOOP\r\nstat\r\nLIST 3 \r\nLIST 2\r\nRETR 2\r\n"
	    "Dele 1\r\n"
	    "DELE 2\r\nTOP 2\r\nUIDL 2\r\nRSET\r\nQUIT\r\n",
	    GREETING LOGIN_OK "+OK\r\n+OK 4 63\r\n" "+OK 3 2\r\n"
	    REFUSED_SO REFUSED_SO MARK REFUSED_SO REFUSED_SO REFUSED_SO
	    "+OK\r\n" BYE,
	    JOE "ask STAT ''\nask LIST '3'\nask LIST '2'\nask RETR '2'\n"
	    "ask DELE '1'\nask DELE '2'\nask TOP '2'\nask UIDL '2'\n"
	    "ask QUIT ''\n" QUIT_END, true);
	/* A command that may not come now is not asked about. */
	check("STAT\r\nQUIT x\r\nQUIT\r\n", GREETING LOG_IN_FIRST
	    NO_ARGUMENT BYE, "ask QUIT 'x'\nask QUIT ''\n" QUIT_END, true);
	server.options = usual;
}

/* DELE, where it is allowed, marks; RSET takes the marks back. */
static void
test_delete(void **state)
{
	static const struct row rows[] = {
		{ SLICE(LOGIN "DELE 1\r\nDELE 3\r\nSTAT\r\nLIST\r\n"
		    "UIDL 3\r\nRETR 1\r\nTOP 1 0\r\nDELE 1\r\nDELE 5\r\n"
		    "DELE\r\nDELE x\r\nDELE 0\r\nLIST 2\r\nQUIT\r\n"),
		    SLICE(GREETING LOGIN_OK MARK MARK "+OK 2 39\r\n"
		    "+OK 2 messages (39 octets)\r\n2 21\r\n4 18\r\n.\r\n"
		    NO_SUCH NO_SUCH NO_SUCH NO_SUCH NO_SUCH NO_SUCH NO_SUCH
		    NO_SUCH "+OK 2 21\r\n" BYE),
		    SLICE(JOE "update 1 3\n" QUIT_END), DRIVE_EOF, true },
		{ SLICE(LOGIN "DELE 1\r\nDELE 2\r\nDELE 3\r\nDELE 4\r\n"
		    "STAT\r\nUIDL\r\nRSET\r\nSTAT\r\nDELE 4\r\n"
		    "QUIT\r\n"),
		    SLICE(GREETING LOGIN_OK MARK MARK MARK MARK "+OK 0 0\r\n"
		    "+OK 0 messages (0 octets)\r\n.\r\n+OK\r\n"
		    "+OK 4 63\r\n" MARK BYE),
		    SLICE(JOE "update 4\n" QUIT_END), DRIVE_EOF, true },
		{ SLICE(LOGIN "DELE 1\r\nRSET\r\nQUIT\r\n"),
		    SLICE(GREETING LOGIN_OK MARK "+OK\r\n" BYE),
		    SLICE(JOE QUIT_END), DRIVE_EOF, true },
		/* A dropped connection removes nothing. */
		{ SLICE(LOGIN "DELE 1\r\n"),
		    SLICE(GREETING LOGIN_OK MARK), SLICE(JOE "end 0 0\n"),
		    DRIVE_EOF, false },
		{ SLICE(LOGIN "DELE 1\r\nQUI"),
		    SLICE(GREETING LOGIN_OK MARK), SLICE(JOE "end 0 0\n"),
		    DRIVE_TIMEOUT, false },
		{ SLICE("DELE 1\r\n" LOGIN "STAT\r\n"),
		    SLICE(GREETING LOG_IN_FIRST LOGIN_OK "+OK 4 63\r\n"),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	server.options.allow_delete = true;
	check_rows(rows, COUNT(rows));
}

/* ---- languages ---- */

/* RFC 6856: texts change, what programs read does not. */
static void
test_languages(void **state)
{
	static const struct row rows[] = {
		{ SLICE("LANG de\r\nUSER joe\r\nPASS wrong\r\nLANG\r\n"
		    "USER joe\r\nPASS secret\r\nSTAT\r\nLIST 2\r\n"
		    "RETR 3\r\nTOP 3 1\r\nDELE 1\r\nRETR 9\r\n"
		    "CAPA x\r\nLANG fr\r\nQUIT\r\n"),
		    SLICE(GREETING "+OK de Texte sind jetzt deutsch\r\n"
		    "+OK Bitte das Passwort\r\n"
		    "-ERR [AUTH] Name oder Passwort falsch\r\n"
		    "+OK Sprachen:\r\ni-default Default language\r\n"
		    "en English\r\nde Deutsch\r\n.\r\n"
		    "+OK Bitte das Passwort\r\n"
		    "+OK 4 Nachrichten (63 Oktette)\r\n+OK 4 63\r\n"
		    "+OK 2 21\r\n+OK 2 Oktette\r\n\r\n.\r\n"
		    "+OK Es folgt der Anfang der Nachricht\r\n\r\n.\r\n"
		    "-ERR Nachrichten k\xC3\xB6nnen hier nicht "
		    "gel\xC3\xB6scht werden\r\n"
		    "-ERR Diese Nachricht gibt es nicht\r\n"
		    "-ERR Kein Argument erwartet\r\n"
		    "-ERR Unbekannte Sprache, LANG nennt sie\r\n"
		    "+OK Auf Wiedersehen\r\n"),
		    SLICE("login joe wrong\n" JOE "message 3\nmessage 3\n"
		    "end quit 1 4\n"), DRIVE_EOF, true },
		/* Back again; a language that is not there changes
		 * nothing. */
		{ SLICE("LANG DE-at\r\nNOOP\r\nLANG x-klingon\r\nNOOP\r\n"
		    "LANG *\r\nNOOP\r\nlang en\r\nNOOP\r\nLANG  de\r\n"
		    "LANG de en\r\n"),
		    SLICE(GREETING "+OK de Texte sind jetzt deutsch\r\n"
		    "-ERR Erst anmelden\r\n"
		    "-ERR Unbekannte Sprache, LANG nennt sie\r\n"
		    "-ERR Erst anmelden\r\n"
		    "+OK i-default Texts are in English now\r\n"
		    LOG_IN_FIRST ENGLISH LOG_IN_FIRST
		    "+OK de Texte sind jetzt deutsch\r\n"
		    "-ERR Unbekannte Sprache, LANG nennt sie\r\n"),
		    SLICE("end 0 0\n"), DRIVE_EOF, false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

/* Names and passwords are UTF-8, asked for or not. */
static void
test_not_utf8(void **state)
{
	static const struct row rows[] = {
		{ SLICE("USER j\xF6\r\nPASS secret\r\nUSER joe\r\n"
		    "PASS \xFF\r\nPASS secret\r\n"),
		    SLICE(GREETING NOT_UTF8 "-ERR USER comes first\r\n"
		    USER_OK NOT_UTF8 WELCOME),
		    SLICE(JOE "end 0 0\n"), DRIVE_EOF, false },
		/* "\0j\xF6\0x", "\0joe\0\xFF", and by LOGIN. */
		{ SLICE("AUTH PLAIN AGr2AHg=\r\nAUTH PLAIN AGpvZQD/\r\n"
		    "AUTH LOGIN\r\navY=\r\n" B64_SECRET "\r\n" LOGIN),
		    SLICE(GREETING NOT_UTF8 NOT_UTF8 ASK_NAME ASK_PASSWORD
		    NOT_UTF8 LOGIN_OK), SLICE(JOE "end 0 0\n"), DRIVE_EOF,
		    false },
	};

	(void)state;
	server.options = usual;
	check_rows(rows, COUNT(rows));
}

/* ---- limits ---- */

/* The octets that come before the line end of a line of len in all. */
static void
add_line(struct text *text, const char *begin, size_t len, const char *end)
{
	size_t start = text->len;

	text_add(text, slice_from(begin));
	text_repeat(text, 'x', len - strlen(end) - (text->len - start));
	text_add(text, slice_from(end));
}

static void
test_long_lines(void **state)
{
	static const struct {
		const char *begin;
		size_t len;
		const char *reply;
	} rows[] = {
		{ "STAT ", POP3_LINE_MAX - 1, LOG_IN_FIRST },
		{ "STAT ", POP3_LINE_MAX, LOG_IN_FIRST },
		{ "STAT ", POP3_LINE_MAX + 1, "-ERR Line too long\r\n" },
		{ "USER ", SASL_SECRET_MAX + 7, USER_OK },
		{ "USER ", SASL_SECRET_MAX + 8, NO_NAME },
		/* AUTH may be longer: the length is no fault of it. */
		{ "AUTH PLAIN ", POP3_LINE_MAX + 1, MALFORMED },
		{ "AUTH PLAIN ", SASL_LINE_MAX - 1, MALFORMED },
		{ "AUTH PLAIN ", SASL_LINE_MAX, MALFORMED },
		{ "AUTH PLAIN ", SASL_LINE_MAX + 1,
		    "-ERR Line too long\r\n" },
		{ "STAT ", SASL_LINE_MAX, "-ERR Line too long\r\n" },
		{ "STAT ", SASL_LINE_MAX + 1, "-ERR Line too long\r\n" },
		{ "STAT ", 3 * SASL_LINE_MAX, "-ERR Line too long\r\n" },
		{ "", SASL_LINE_MAX, UNKNOWN },
	};

	(void)state;
	server.options = usual;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };

		add_line(&input, rows[i].begin, rows[i].len, "\r\n");
		text_add(&input, SLICE("QUIT\r\n"));
		text_format(&output, GREETING "%s" BYE, rows[i].reply);
		if (rows[i].len < SASL_LINE_MAX - 1)
			check(input.data, output.data, QUIT_END, true);
		else
			drive_replay_edges(&core, &(struct drive_dialogue){
			    .name = "long line", .closes = true,
			    .input = text_slice(&input),
			    .output = text_slice(&output),
			    .events = SLICE(QUIT_END) }, 16);
		text_free(&input);
		text_free(&output);
	}
}

/* An over-long response ends the exchange: what follows is a command. */
static void
test_long_response(void **state)
{
	struct text input = { .data = NULL };

	(void)state;
	server.options = usual;
	text_add(&input, SLICE("AUTH PLAIN\r\n"));
	add_line(&input, "", SASL_LINE_MAX + 1, "\r\n");
	text_add(&input, SLICE("QUIT\r\n"));
	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "long response", .closes = true,
	    .input = text_slice(&input),
	    .output = SLICE(GREETING "+ \r\n-ERR Line too long\r\n" BYE),
	    .events = SLICE(QUIT_END) }, 16);
	text_free(&input);
}

/* What speaks another protocol at us is heard 20 times. */
static void
test_bad_commands(void **state)
{
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };

	(void)state;
	server.options = usual;
	text_add(&output, SLICE(GREETING));
	for (unsigned i = 1; i <= 20; i++) {
		text_format(&input, i % 2 == 0 ? "X\r\n" : "STAT\r\n");
		text_format(&output, i % 2 == 0 ? UNKNOWN : LOG_IN_FIRST);
		if (i == 19)
			check(input.data, output.data, "end 0 0\n", false);
	}
	text_add(&input, SLICE(LOGIN));
	check(input.data, output.data, "end 0 0\n", true);

	/* Commands that exist are no better where what they say is none. */
	static const struct { const char *input, *output; } bad[] = {
		{ "USER\r\n", NO_NAME },
		{ "PASS x\r\n", "-ERR USER comes first\r\n" },
		{ "AUTH PLAIN x\r\n", MALFORMED },
		{ "LANG fr\r\n", NO_LANGUAGE },
		{ "CAPA x\r\n", NO_ARGUMENT },
	};
	input.len = output.len = 0;
	text_add(&output, SLICE(GREETING));
	for (unsigned i = 0; i < 20; i++) {
		text_format(&input, "%s", bad[i % COUNT(bad)].input);
		text_format(&output, "%s", bad[i % COUNT(bad)].output);
	}
	text_add(&input, SLICE(LOGIN));
	check(input.data, output.data, "end 0 0\n", true);

	/* After the login it is a person's client that is wrong. */
	input.len = output.len = 0;
	text_add(&input, SLICE(LOGIN));
	text_add(&output, SLICE(GREETING LOGIN_OK));
	for (unsigned i = 0; i < 25; i++) {
		text_add(&input, SLICE("X\r\n"));
		text_add(&output, SLICE(UNKNOWN));
	}
	check(input.data, output.data, JOE "end 0 0\n", false);
	text_free(&input);
	text_free(&output);
}

/* Replies of any length through an out of 4096 octets. */
static void
test_long_replies(void **state)
{
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };
	size_t n = 0;
	uint64_t octets = 0;

	(void)state;
	server.options = usual;
	for (size_t i = 0; i < MANY; i++)
		if (!many[i].deleted) {
			n++;
			octets += many[i].octets;
		}
	text_add(&input, SLICE("USER many\r\nPASS secret\r\nLIST\r\nUIDL\r\n"
	    "RETR 1\r\nTOP 1 3\r\nNOOP\r\n"));
	text_format(&output, GREETING USER_OK "+OK %zu messages (%ju "
	    "octets)\r\n", n, (uintmax_t)octets);
	for (int listing = 0; listing < 2; listing++) {
		text_format(&output, "+OK %zu messages (%ju octets)\r\n", n,
		    (uintmax_t)octets);
		for (size_t i = 0; i < MANY; i++) {
			if (many[i].deleted)
				continue;
			if (listing == 0)
				text_format(&output, "%zu %ju\r\n", i + 1,
				    (uintmax_t)many[i].octets);
			else
				text_format(&output, "%zu same\r\n", i + 1);
		}
		text_add(&output, SLICE(".\r\n"));
	}
	text_format(&output, "+OK %ju octets\r\n",
	    (uintmax_t)many[0].octets);
	/* It has no blank line: TOP takes all for the header. */
	for (int copy = 0; copy < 2; copy++) {
		if (copy == 1)
			text_format(&output, "+OK Top of message "
			    "follows\r\n");
		for (int i = 0; i < 900; i++)
			text_format(&output, "%s%d\r\n",
			    i % 3 == 0 ? ".." : "line ", i);
		text_add(&output, SLICE(".\r\n"));
	}
	text_add(&output, SLICE("+OK\r\n"));
	text_format(&events, "login many secret\nmessage 1\nmessage 1\n"
	    "end 1 %ju\n", (uintmax_t)many[0].octets * 2);
	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "long replies", .input = text_slice(&input),
	    .output = text_slice(&output), .events = text_slice(&events) },
	    2);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* RFC 1939 section 3: silence. */
static void
test_ends(void **state)
{
	static const struct slice inputs[] = {
		SLICE(""), SLICE("CAPA"), SLICE("USER joe\r\n"),
		SLICE("X\r\n"), SLICE("AUTH LOGIN\r\n"),
	};
	static const struct slice outputs[] = {
		SLICE(GREETING), SLICE(GREETING), SLICE(GREETING USER_OK),
		SLICE(GREETING UNKNOWN), SLICE(GREETING ASK_NAME),
	};
	static const enum drive_end ends[] = {
		DRIVE_EOF, DRIVE_TIMEOUT, DRIVE_STOPPING,
	};

	(void)state;
	server.options = usual;
	for (size_t i = 0; i < COUNT(inputs); i++)
		for (size_t k = 0; k < COUNT(ends); k++) {
			const struct row row = { inputs[i], outputs[i],
				SLICE("end 0 0\n"), ends[k], false };
			check_rows(&row, 1);
		}
	/* And while nothing of that kind happens, it waits. */
	for (size_t i = 0; i < COUNT(inputs); i++) {
		const struct row row = { inputs[i], outputs[i], SLICE(""),
			DRIVE_STAY, false };
		check_rows(&row, 1);
	}
}

/* What goes into the transcript: never a secret, never message text. */
static void
test_transcript(void **state)
{
	static const struct { struct slice input, trace; } rows[] = {
		{ SLICE(LOGIN "RETR 1\r\nSTAT \r\nhunter22 x\r\n"),
		    SLICE("< +OK mail.test POP3 ready\n> USER joe\n"
		    "< +OK Send the password\n> PASS\n"
		    "< +OK 4 messages (63 octets)\n> RETR 1\n"
		    "< +OK 22 octets\n> STAT \n< +OK 4 63\n"
		    "> (unknown command)\n< -ERR Unknown command\n") },
		{ SLICE("AUTH PLAIN " PLAIN_WRONG "\r\nauth login\r\n"
		    B64_JOE "\r\n" B64_SECRET "\r\n"),
		    SLICE("< +OK mail.test POP3 ready\n> AUTH\n"
		    "< -ERR [AUTH] Wrong name or password\n> AUTH\n"
		    "< + VXNlcm5hbWU6\n> (SASL response)\n"
		    "< + UGFzc3dvcmQ6\n> (SASL response)\n"
		    "< +OK 4 messages (63 octets)\n") },
	};
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out, storage;

	(void)state;
	guarded_new(&in, POP3_IN_MIN);
	guarded_new(&out, POP3_OUT_MIN);
	guarded_new(&storage, 4096);
	server.options = usual;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf trace;

		buf_init(&trace, storage.data, storage.size);
		drive.wire = server_start(&server, in.data, in.size,
		    out.data, out.size);
		drive.wire->transcript = &trace;
		buf_append(&drive.wire->in, rows[i].input);
		server_run(&server, &drive);
		assert_slices(buf_contents(&trace), rows[i].trace);
	}
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
	guarded_free(&storage);
}

/* ---- by chance ---- */

static void
add_random_command(struct text *input, uint64_t *seed)
{
	static const char *const commands[] = {
		"CAPA", "STLS", "USER joe", "USER many", "USER faults",
		"USER marked", "USER busy", "PASS secret", "PASS wrong",
		("AUTH PLAIN " PLAIN_JOE), "AUTH PLAIN", "AUTH LOGIN",
		PLAIN_JOE, B64_JOE, B64_SECRET, "*", "=", "STAT", "LIST",
		"LIST 2", "UIDL", "UIDL 1", "RETR 1", "RETR 2", "RETR 3",
		"RETR 4", "TOP 1 1", "TOP 2 0", "DELE 1", "DELE 2", "NOOP",
		"RSET", "QUIT", "LIST 9", "TOP 1", "XYZZY", "", "LANG de",
		"LANG", "UTF8", "DELE 3",
	};
	static const char *const line_ends[] = {
		"\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n", " \r\n",
	};
	/* QUIT comes seldom. */
	size_t i = chance(seed, COUNT(commands));

	if (strcmp(commands[i], "QUIT") == 0 && chance(seed, 4) != 0)
		i = 0;
	size_t start = input->len;
	text_add(input, slice_from(commands[i]));
	if (chance(seed, 4) == 0)
		for (; start < input->len; start++)
			input->data[start] = slice_lower(input->data[start]);
	if (chance(seed, 12) == 0)
		text_repeat(input, (char)chance(seed, 256),
		    chance(seed, 40));
	text_add(input, slice_from(line_ends[chance(seed,
	    COUNT(line_ends))]));
}

static void
test_random(void **state)
{
	uint64_t seed = 1939;

	(void)state;
	server.options = usual;
	server.options.allow_delete = true;
	for (unsigned i = 0; i < 50; i++) {
		struct drive_dialogue dialogue = {
			.name = "by chance",
			.end = (enum drive_end)chance(&seed, 3),
		};
		struct text input = { .data = NULL };
		struct text said = { .data = NULL };
		struct slice rest, line;

		/* Most of them get in. */
		if (chance(&seed, 4) != 0)
			text_add(&input, SLICE(LOGIN));
		for (unsigned n = chance(&seed, 25); n > 0; n--)
			add_random_command(&input, &seed);
		dialogue.input = text_slice(&input);
		drive_agree(&core, dialogue, &said);
		rest = text_slice(&said);
		assert_true(slice_starts_with(rest, SLICE(GREETING)));
		/* It never ends a line but with CRLF. */
		while (slice_cut(rest, '\n', &line, &rest))
			assert_true(slice_ends_with(line, SLICE("\r")));
		text_free(&said);
		text_free(&input);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_message_faults),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_user_pass),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_no_login),
		cmocka_unit_test(test_stls),
		cmocka_unit_test(test_stls_ended),
		cmocka_unit_test(test_secrets_wiped),
		cmocka_unit_test(test_marked),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_languages),
		cmocka_unit_test(test_not_utf8),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_long_response),
		cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_long_replies),
		cmocka_unit_test(test_asked),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_transcript),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("pop3", tests, set_up, tear_down);
}
