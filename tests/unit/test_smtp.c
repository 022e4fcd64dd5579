/*
 * test_smtp.c - whole SMTP dialogues with exact replies, in every state,
 * replayed in every piece (drive.h).
 *
 * The adapter below stands for the program: it accepts everything but what
 * a test's answers say otherwise, and notes each event and each message.
 */
#include "drive.h"

#include "smtp/smtp.h"

/* ---- the adapter ---- */

/* What the program says to an event, where that is not yes. */
struct answer {
	enum smtp_event event;
	const char *to; /* the path or user name asked for; NULL: any */
	struct smtp_reply reply;
};

#define ANSWERS_MAX 4
#define RECIPIENTS_MAX 8

struct server {
	struct smtp smtp;
	struct smtp_options options;
	const struct answer *answers; /* ends with a code of 0 */
	size_t max_recipients;
	size_t envelope_size;
	struct envelope_recipient recipients[RECIPIENTS_MAX];
	char paths[4096];
	struct text text;  /* of the message under way */
	bool end_noted;
	size_t senders; /* accepted */
	size_t ends;    /* of a transaction */
};

static struct wire *
server_start(void *arg, char *in, size_t in_size, char *out, size_t out_size)
{
	struct server *server = arg;

	server->text.len = 0;
	server->end_noted = false;
	server->senders = server->ends = 0;
	smtp_init(&server->smtp, &server->options, in, in_size, out,
	    out_size);
	envelope_init(&server->smtp.envelope, server->recipients,
	    server->max_recipients, server->paths, server->envelope_size);
	return &server->smtp.wire;
}

static void
answer(struct server *server, enum smtp_event event, struct slice to)
{
	for (const struct answer *at = server->answers;
	    at != NULL && at->reply.code != 0; at++)
		if (at->event == event && (at->to == NULL ||
		    slice_equal(slice_from(at->to), to))) {
			smtp_reply(&server->smtp, &at->reply);
			return;
		}
	smtp_accept(&server->smtp);
}

static void
answer_login(struct server *server, struct text *events)
{
	const struct smtp *smtp = &server->smtp;
	static const struct smtp_reply wrong = { 535, "5.7.8",
		SLICE("Wrong name or password") };

	text_format(events, "auth %.*s %.*s\n", SLICE_ARG(smtp->user),
	    SLICE_ARG(smtp->password));
	if (server->answers == NULL &&
	    !slice_equal(smtp->password, SLICE("secret")))
		smtp_reply(&server->smtp, &wrong);
	else
		answer(server, SMTP_AUTH, smtp->user);
}

static void
answer_mail(struct server *server, struct text *events)
{
	const struct envelope *envelope = &server->smtp.envelope;

	text_format(events, "mail <%.*s>", SLICE_ARG(envelope->reverse_path));
	if (envelope->size > 0)
		text_format(events, " size %ju", (uintmax_t)envelope->size);
	text_format(events, "%s\n", envelope->eight_bit ? " 8bit" : "");
	assert_int_equal(envelope->n, 0);
	answer(server, SMTP_MAIL, envelope->reverse_path);
}

static void
answer_rcpt(struct server *server, struct text *events)
{
	const struct envelope *envelope = &server->smtp.envelope;
	const struct envelope_recipient *recipient =
	    &envelope->recipients[envelope->n - 1];

	text_format(events, "rcpt %zu <%.*s> %.*s|%.*s\n", envelope->n,
	    SLICE_ARG(recipient->path), SLICE_ARG(recipient->local),
	    SLICE_ARG(recipient->domain));
	answer(server, SMTP_RCPT, recipient->path);
}

/* The whole message, and for whom it is. */
static void
answer_data_end(struct server *server, struct text *events)
{
	const struct smtp *smtp = &server->smtp;

	text_format(events, "message %s ", smtp->esmtp ? "ehlo" : "helo");
	text_add(events, (struct slice){ smtp->helo, smtp->helo_len });
	text_format(events, " <%.*s>",
	    SLICE_ARG(smtp->envelope.reverse_path));
	for (size_t i = 0; i < smtp->envelope.n; i++)
		text_format(events, " <%.*s>",
		    SLICE_ARG(smtp->envelope.recipients[i].path));
	text_format(events, " %ju:", (uintmax_t)smtp->size);
	text_add(events, text_slice(&server->text));
	text_format(events, "\n");
	server->text.len = 0;
	answer(server, SMTP_DATA_END, slice_from(NULL));
}

static bool
server_run(void *arg, struct drive *drive)
{
	struct server *server = arg;
	struct smtp *smtp = &server->smtp;
	struct text *events = &drive->events;

	for (;;) {
		enum smtp_event event = smtp_next(smtp);

		/* It is repeated until it is answered. */
		assert_int_equal(smtp_next(smtp), event);
		switch (event) {
		case SMTP_WANT_IO:
			return false;
		case SMTP_STARTTLS:
			text_format(events, "starttls\n");
			answer(server, SMTP_STARTTLS, slice_from(NULL));
			break;
		case SMTP_AUTH:
			answer_login(server, events);
			break;
		case SMTP_MAIL:
			answer_mail(server, events);
			server->senders += smtp->in_transaction;
			break;
		case SMTP_RCPT:
			answer_rcpt(server, events);
			break;
		case SMTP_REFUSED:
			smtp_accept(smtp);
			break;
		case SMTP_DATA_BEGIN:
			text_format(events, "data\n");
			server->text.len = 0;
			answer(server, SMTP_DATA_BEGIN, slice_from(NULL));
			break;
		case SMTP_DATA:
			assert_true(smtp->text.len > 0);
			text_add(&server->text, smtp->text);
			answer(server, SMTP_DATA, slice_from(NULL));
			break;
		case SMTP_DATA_END:
			answer_data_end(server, events);
			server->ends++;
			break;
		case SMTP_RESET:
			/* At the session's end it is only counted. */
			if (!smtp->ended)
				text_format(events, "reset\n");
			smtp_accept(smtp);
			server->ends++;
			break;
		case SMTP_CLOSED:
			/* Each sender gets one end. */
			assert_int_equal(server->ends, server->senders);
			if (!server->end_noted)
				text_format(events, "end%s\n",
				    smtp->quit ? " quit" : "");
			server->end_noted = true;
			return true;
		}
	}
}

static struct server server;

static const struct smtp_options usual = {
	.hostname = "mail.test", .max_size = 1000,
	.login = SMTP_LOGIN_OFFERED, .bare_lf = DOT_BARE_LF_REJECT,
};

static const struct drive_core core = {
	.in_min = SMTP_IN_MIN, .out_min = SMTP_OUT_MIN, .arg = &server,
	.start = server_start, .run = server_run,
};

/* Every test begins with this. */
static void
usual_server(void)
{
	server.options = usual;
	server.answers = NULL;
	server.max_recipients = RECIPIENTS_MAX;
	server.envelope_size = sizeof(server.paths);
}

static int
tear_down(void **state)
{
	(void)state;
	text_free(&server.text);
	return 0;
}

/* ---- dialogues ---- */

#define GREETING "220 mail.test ESMTP ready\r\n"
#define HELO_OK "250 mail.test\r\n"
#define EHLO_HEAD "250-mail.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" \
	"250-8BITMIME\r\n" \
	"250-CHUNKING\r\n250-SMTPUTF8\r\n"
#define EHLO_AUTH "250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n"
#define EHLO_TAIL "250-HELP\r\n250 ENHANCEDSTATUSCODES\r\n"
#define EHLO_OK EHLO_HEAD EHLO_AUTH EHLO_TAIL
#define EHLO_NO_AUTH EHLO_HEAD EHLO_TAIL
#define OK "250 2.0.0 Ok\r\n"
#define SENDER_OK "250 2.1.0 Ok\r\n"
#define RCPT_OK "250 2.1.5 Ok\r\n"
#define GO_ON "354 End data with <CR><LF>.<CR><LF>\r\n"
#define KEPT "250 2.0.0 Ok, kept\r\n"
#define BYE "221 2.0.0 Bye\r\n"
#define HELP_OK "214-2.0.0 Commands: EHLO HELO STARTTLS AUTH MAIL RCPT " \
	"DATA BDAT RSET NOOP VRFY EXPN HELP QUIT\r\n214 2.0.0 See RFC 5321\r\n"
#define VRFY_OK "252 2.5.0 Cannot verify, send mail and see\r\n"
#define LOGGED_IN "235 2.7.0 Logged in\r\n"
#define WRONG "535 5.7.8 Wrong name or password\r\n"

#define UNKNOWN "500 5.5.1 Unknown command\r\n"
#define FOREIGN "521 5.7.0 This is a mail server, and that was no mail " \
	"command\r\n"
#define BAD_OCTETS "500 5.5.2 Control characters in a command\r\n"
#define BARE_LF "500 5.5.2 A command ends in CRLF, not in LF alone\r\n"
#define TOO_LONG "500 5.5.2 Line too long\r\n"
#define AUTH_TOO_LONG "500 5.5.6 Response too long\r\n"
#define HELLO_SYNTAX "501 A host name is needed\r\n"
#define ARGUMENTS "501 5.5.4 Wrong arguments\r\n"
#define MAIL_SYNTAX "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]\r\n"
#define RCPT_SYNTAX "501 5.5.4 Syntax: RCPT TO:<address> [parameters]\r\n"
#define BAD_SENDER "501 5.1.7 Not an address: <name@domain> is expected, or " \
	"<>\r\n"
#define BAD_RCPT "501 5.1.3 Not an address: <name@domain> is expected\r\n"
#define PARAMETER "501 5.5.4 Wrong parameter\r\n"
#define UNKNOWN_PARAMETER "555 5.5.4 Unknown parameter\r\n"
#define NOT_IMPLEMENTED "502 5.5.1 Not implemented\r\n"
#define HELLO_FIRST "503 5.5.1 EHLO comes first\r\n"
#define NESTED "503 5.5.1 There is a sender already\r\n"
#define MAIL_FIRST "503 5.5.1 MAIL comes first\r\n"
#define RCPT_FIRST "503 5.5.1 No recipient yet\r\n"
#define IN_MAIL "503 5.5.1 AUTH comes before MAIL\r\n"
#define LOGIN_FIRST "530 5.7.0 Log in first\r\n"
#define TOO_BIG "552 5.3.4 Message too big\r\n"
#define TOO_MANY "452 4.5.3 Too many recipients, send the rest in another " \
	"message\r\n"
#define BARE_CR_TEXT "550 5.6.0 A CR without LF in the message\r\n"
#define BARE_LF_TEXT "550 5.6.0 An LF without CR in the message\r\n"
#define SMUGGLING "521 5.5.2 A lone dot between line ends that are not " \
	"CRLF\r\n"
#define AUTH_TWICE "503 5.5.1 Logged in already\r\n"
#define CANCELLED "501 5.7.0 Cancelled\r\n"
#define BASE64 "501 5.5.2 Not base64\r\n"
#define RESPONSE "501 5.5.2 Malformed response\r\n"
#define MECHANISM "504 5.5.4 No such mechanism, EHLO lists them\r\n"
#define TIMED_OUT "421 4.4.2 Took too long, closing\r\n"
#define STOPPING "421 4.3.2 Shutting down\r\n"
#define TOO_MANY_BAD "421 4.7.0 Too many bad commands\r\n"

#define EHLO "EHLO me\r\n"
#define MAIL "MAIL FROM:<a@b>\r\n"
#define RCPT "RCPT TO:<c@d>\r\n"
#define DATA "DATA\r\n"
#define MAIL_EVENT "mail <a@b>\n"
#define RCPT_EVENT "rcpt 1 <c@d> c|d\n"
#define START EHLO MAIL RCPT DATA
#define START_OK GREETING EHLO_OK SENDER_OK RCPT_OK GO_ON
#define START_EVENTS MAIL_EVENT RCPT_EVENT "data\n"
#define MESSAGE "message ehlo me <a@b> <c@d> "

/* The end of a list of answers. */
#define NO_MORE { SMTP_CLOSED, NULL, { 0, NULL, { NULL, 0 } } }

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

static void
check(const char *input, const char *output, const char *events, bool closes)
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
		{ SLICE(""), SLICE(GREETING), SLICE("end\n"), DRIVE_EOF,
		    false },
		{ SLICE("QUIT\r\n"), SLICE(GREETING BYE),
		    SLICE("end quit\n"), DRIVE_EOF, true },
		{ SLICE("QUIT\r\nNOOP\r\n"), SLICE(GREETING BYE),
		    SLICE("end quit\n"), DRIVE_EOF, true },
		{ SLICE("HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
		    "DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"),
		    SLICE(GREETING HELO_OK SENDER_OK RCPT_OK GO_ON KEPT BYE),
		    SLICE(START_EVENTS "message helo me <a@b> <c@d> 20:"
		    "Subject: x\n\n.dot\n\nend quit\n"), DRIVE_EOF, true },
		/* All pipelined, two messages, two recipients, a null
		 * sender. */
		{ SLICE(EHLO MAIL RCPT "RCPT TO:<e@f>\r\n" DATA
		    "one\r\n.\r\nMAIL FROM:<>\r\n" RCPT DATA
		    ".\r\nQUIT\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK RCPT_OK GO_ON
		    KEPT SENDER_OK RCPT_OK GO_ON KEPT BYE),
		    SLICE(MAIL_EVENT RCPT_EVENT "rcpt 2 <e@f> e|f\ndata\n"
		    "message ehlo me <a@b> <c@d> <e@f> 5:one\n\n"
		    "mail <>\n" RCPT_EVENT "data\n"
		    "message ehlo me <> <c@d> 0:\nend quit\n"), DRIVE_EOF,
		    true },
		/* Commands in text are text. */
		{ SLICE(START "RSET\r\nQUIT\r\nMAIL FROM:<x@y>\r\n"
		    "BDAT 0 LAST\r\n\r\n.\r\nNOOP\r\n"),
		    SLICE(START_OK KEPT OK),
		    SLICE(START_EVENTS MESSAGE "44:RSET\nQUIT\n"
		    "MAIL FROM:<x@y>\nBDAT 0 LAST\n\n\nend\n"), DRIVE_EOF,
		    false },
		/* Any octets, and lines of any length. */
		{ SLICE(START "\0\xFF\x7F\t \r\n.\r\n"), SLICE(START_OK KEPT),
		    SLICE(START_EVENTS MESSAGE "7:\0\xFF\x7F\t \n\nend\n"),
		    DRIVE_EOF, false },
		/* Small letters and blanks. */
		{ SLICE("ehlo  me \r\nmail from: <a@b> \r\n"
		    "rcpt to:  <c@d>\r\ndata \r\n.\r\nquit \r\n"),
		    SLICE(START_OK KEPT BYE),
		    SLICE(START_EVENTS MESSAGE "0:\nend quit\n"), DRIVE_EOF,
		    true },
		/* What is not whole at the end was not said. */
		{ SLICE(EHLO "QUIT"), SLICE(GREETING EHLO_OK),
		    SLICE("end\n"), DRIVE_EOF, false },
		{ SLICE(START "text\r\n."), SLICE(START_OK),
		    SLICE(START_EVENTS "end\n"), DRIVE_EOF, false },
		{ SLICE(START "text\r\n.\r"), SLICE(START_OK),
		    SLICE(START_EVENTS "end\n"), DRIVE_EOF, false },
	};

	(void)state;
	usual_server();
	check_rows(rows, COUNT(rows));
}

/* Every command in every state. */
static void
test_states(void **state)
{
	/* How to get there, and what is said and noted on the way. */
	static const struct { const char *input, *output, *events; }
	states[] = {
		{ "", GREETING, "" },
		{ EHLO, GREETING EHLO_OK, "" },
		{ EHLO MAIL, GREETING EHLO_OK SENDER_OK, MAIL_EVENT },
		{ EHLO MAIL RCPT, GREETING EHLO_OK SENDER_OK RCPT_OK,
		    MAIL_EVENT RCPT_EVENT },
		{ START ".\r\n", START_OK KEPT,
		    START_EVENTS MESSAGE "0:\n" },
	};
	enum { COLD, READY, SENDER, RECIPIENTS, AFTER };
	static const struct {
		const char *command;
		const char *replies[4]; /* AFTER is READY again */
		const char *events[4];
		bool closes;
	} rows[] = {
		{ "EHLO x", { EHLO_OK, EHLO_OK, EHLO_OK, EHLO_OK },
		    { "", "", "reset\n", "reset\n" }, false },
		{ "HELO x", { HELO_OK, HELO_OK, HELO_OK, HELO_OK },
		    { "", "", "reset\n", "reset\n" }, false },
		{ "EHLO", { HELLO_SYNTAX, HELLO_SYNTAX, HELLO_SYNTAX,
		    HELLO_SYNTAX }, { "", "", "", "" }, false },
		{ "AUTH PLAIN AGpvZQBzZWNyZXQ=", { HELLO_FIRST, LOGGED_IN,
		    IN_MAIL, IN_MAIL }, { "", "auth joe secret\n", "", "" },
		    false },
		{ "STARTTLS", { HELLO_FIRST, NOT_IMPLEMENTED,
		    NOT_IMPLEMENTED, NOT_IMPLEMENTED },
		    { "", "", "", "" }, false },
		{ "MAIL FROM:<e@f>", { HELLO_FIRST, SENDER_OK, NESTED,
		    NESTED }, { "", "mail <e@f>\n", "", "" }, false },
		{ "MAIL", { HELLO_FIRST, MAIL_SYNTAX, NESTED, NESTED },
		    { "", "", "", "" }, false },
		{ "RCPT TO:<e@f>", { HELLO_FIRST, MAIL_FIRST, RCPT_OK,
		    RCPT_OK }, { "", "", "rcpt 1 <e@f> e|f\n",
		    "rcpt 2 <e@f> e|f\n" }, false },
		{ "RCPT", { HELLO_FIRST, MAIL_FIRST, RCPT_SYNTAX,
		    RCPT_SYNTAX }, { "", "", "", "" }, false },
		{ "DATA", { HELLO_FIRST, MAIL_FIRST, RCPT_FIRST, GO_ON },
		    { "", "", "", "data\n" }, false },
		{ "DATA x", { HELLO_FIRST, MAIL_FIRST, RCPT_FIRST,
		    ARGUMENTS }, { "", "", "", "" }, false },
		{ "RSET", { OK, OK, OK, OK },
		    { "", "", "reset\n", "reset\n" }, false },
		{ "RSET x", { ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS },
		    { "", "", "", "" }, false },
		{ "NOOP", { OK, OK, OK, OK }, { "", "", "", "" }, false },
		{ "NOOP what ever", { OK, OK, OK, OK }, { "", "", "", "" },
		    false },
		{ "VRFY joe", { VRFY_OK, VRFY_OK, VRFY_OK, VRFY_OK },
		    { "", "", "", "" }, false },
		{ "VRFY", { ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS },
		    { "", "", "", "" }, false },
		{ "EXPN list", { NOT_IMPLEMENTED, NOT_IMPLEMENTED,
		    NOT_IMPLEMENTED, NOT_IMPLEMENTED },
		    { "", "", "", "" }, false },
		{ "HELP", { HELP_OK, HELP_OK, HELP_OK, HELP_OK },
		    { "", "", "", "" }, false },
		{ "HELP MAIL", { HELP_OK, HELP_OK, HELP_OK, HELP_OK },
		    { "", "", "", "" }, false },
		{ "QUIT", { BYE, BYE, BYE, BYE }, { "", "", "", "" }, true },
		{ "QUIT x", { ARGUMENTS, ARGUMENTS, ARGUMENTS, ARGUMENTS },
		    { "", "", "", "" }, false },
		{ "XYZZY", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
		{ "", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
		{ " QUIT", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
		{ "QUITX", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
		{ "QUI", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
		{ "QUIT\x1F", { BAD_OCTETS, BAD_OCTETS, BAD_OCTETS,
		    BAD_OCTETS }, { "", "", "", "" }, false },
		{ "NOOP \x7F", { BAD_OCTETS, BAD_OCTETS, BAD_OCTETS,
		    BAD_OCTETS }, { "", "", "", "" }, false },
		{ "GETS", { UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN },
		    { "", "", "", "" }, false },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = COLD; k <= AFTER; k++) {
			size_t as = k == AFTER ? (size_t)READY : k;
			struct text input = { .data = NULL };
			struct text output = { .data = NULL };
			struct text events = { .data = NULL };

			text_format(&input, "%s%s\r\n", states[k].input,
			    rows[i].command);
			text_format(&output, "%s%s", states[k].output,
			    rows[i].replies[as]);
			text_format(&events, "%s%send%s\n",
			    states[k].events, rows[i].events[as],
			    rows[i].closes ? " quit" : "");
			check(input.data, output.data, events.data,
			    rows[i].closes);
			text_free(&input);
			text_free(&output);
			text_free(&events);
		}
}

/* OpenSMTPD #740, Postfix's smtpd_forbidden_commands: a web page must not
 * make a browser send mail. Nothing after the first word is looked at. */
static void
test_other_protocols(void **state)
{
	static const struct slice first[] = {
		SLICE("POST / HTTP/1.1"), SLICE("GET /x"), SLICE("get"),
		SLICE("HEAD / HTTP/1.0"), SLICE("PUT / HTTP/1.1"),
		SLICE("OPTIONS * HTTP/1.1"), SLICE("CONNECT a:25 HTTP/1.1"),
		SLICE("DELETE / HTTP/1.1"), SLICE("PRI * HTTP/2.0"),
		SLICE("ANYTHING / HTTP/1.1"), SLICE("SETUP rtsp://x RTSP/1.0"),
		SLICE("INVITE sip:a@b SIP/2.0"), SLICE("Host: localhost"),
		SLICE("message sip:a@b sip/2.0"),
		SLICE("content-type:text/plain"), SLICE("X: \x01\xFF"),
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(first); i++) {
		struct text input = { .data = NULL };

		text_add(&input, first[i]);
		text_add(&input, SLICE("\r\n" START "x\r\n.\r\n"));
		check(input.data, GREETING FOREIGN, "end\n", true);
		input.len = 0;
		text_add(&input, SLICE(EHLO MAIL));
		text_add(&input, first[i]);
		text_add(&input, SLICE("\n" RCPT DATA "x\r\n.\r\n"));
		check(input.data, GREETING EHLO_OK SENDER_OK FOREIGN,
		    MAIL_EVENT "end\n", true);
		text_free(&input);
	}
	struct text input = { .data = NULL };

	text_add(&input, SLICE("GET /"));
	text_repeat(&input, 'x', 2 * SMTP_IN_MIN);
	text_add(&input, SLICE("\r\n" START ".\r\n"));
	check(input.data, GREETING FOREIGN, "end\n", true);
	text_free(&input);
	/* In message text it is text. */
	check(START "GET / HTTP/1.1\r\nHost: x\r\n.\r\nNOOP\r\n",
	    START_OK KEPT OK, START_EVENTS MESSAGE
	    "25:GET / HTTP/1.1\nHost: x\n\nend\n", false);
}

/* What a reset forgets, and what not. */
static void
test_resets(void **state)
{
	static const struct row rows[] = {
		{ SLICE(EHLO MAIL RCPT "RSET\r\n" DATA RCPT MAIL DATA
		    "RCPT TO:<e@f>\r\n" DATA ".\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK OK MAIL_FIRST
		    MAIL_FIRST SENDER_OK RCPT_FIRST RCPT_OK GO_ON KEPT),
		    SLICE(MAIL_EVENT RCPT_EVENT "reset\n" MAIL_EVENT
		    "rcpt 1 <e@f> e|f\ndata\n"
		    "message ehlo me <a@b> <e@f> 0:\nend\n"), DRIVE_EOF,
		    false },
		/* EHLO and HELO do as RSET does, and change what is known
		 * of the client. */
		{ SLICE(EHLO MAIL RCPT "HELO you\r\n" DATA MAIL RCPT DATA
		    "x\r\n.\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK HELO_OK
		    MAIL_FIRST SENDER_OK RCPT_OK GO_ON KEPT),
		    SLICE(MAIL_EVENT RCPT_EVENT "reset\n" START_EVENTS
		    "message helo you <a@b> <c@d> 3:x\n\nend\n"), DRIVE_EOF,
		    false },
		/* An EHLO that is none changes nothing. */
		{ SLICE(EHLO MAIL RCPT "EHLO\r\n" DATA ".\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK HELLO_SYNTAX
		    GO_ON KEPT), SLICE(START_EVENTS MESSAGE "0:\nend\n"),
		    DRIVE_EOF, false },
		/* The login stays. */
		{ SLICE(EHLO "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nRSET\r\n" EHLO
		    "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"),
		    SLICE(GREETING EHLO_OK LOGGED_IN OK EHLO_NO_AUTH
		    AUTH_TWICE),
		    SLICE("auth joe secret\nend\n"), DRIVE_EOF, false },
		/* SIZE and BODY are the transaction's. */
		{ SLICE(EHLO "MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME\r\n"
		    "RSET\r\n" MAIL "RSET\r\n"
		    "MAIL FROM:<a@b> SIZE=9 X=1\r\n" MAIL),
		    SLICE(GREETING EHLO_OK SENDER_OK OK SENDER_OK OK
		    UNKNOWN_PARAMETER SENDER_OK),
		    SLICE("mail <a@b> size 7 8bit\nreset\n" MAIL_EVENT
		    "reset\n" MAIL_EVENT "end\n"), DRIVE_EOF, false },
	};

	(void)state;
	usual_server();
	check_rows(rows, COUNT(rows));
}

static void
test_hello(void **state)
{
	static const struct { struct slice name; bool good; } rows[] = {
		{ SLICE("me"), true },
		{ SLICE("[192.0.2.1]"), true },
		{ SLICE("[IPv6:2001:db8::1]"), true },
		/* RFC 5321 4.1.4: nobody is refused for his name. */
		{ SLICE("no_name"), true },
		{ SLICE("x.y."), true },
		{ SLICE("<me>"), true },
		{ SLICE("b\xC3\xBC" "cher.de"), true },
		/* vmime #160, curl #999: a Windows machine's own name. */
		{ SLICE("M\xFCller-PC"), true },
		{ SLICE("me too"), true },
		{ SLICE("\xFF"), true },
		{ SLICE("a\0b\x01\x7F\r"), true },
		{ SLICE(""), false },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text events = { .data = NULL };

		text_add(&input, SLICE("EHLO "));
		text_add(&input, rows[i].name);
		text_add(&input, SLICE("\r\n"));
		if (rows[i].good) {
			text_add(&input, SLICE(MAIL RCPT DATA ".\r\n"));
			text_add(&events, SLICE(START_EVENTS "message ehlo "));
			text_add(&events, rows[i].name);
			text_add(&events, SLICE(" <a@b> <c@d> 0:\nend\n"));
			const struct row row = { text_slice(&input),
				SLICE(START_OK KEPT), text_slice(&events),
				DRIVE_EOF, false };
			check_rows(&row, 1);
		} else {
			check(input.data, GREETING HELLO_SYNTAX, "end\n",
			    false);
		}
		text_free(&input);
		text_free(&events);
	}
	for (size_t len = 254; len <= 257; len++) {
		struct text input = { .data = NULL };
		struct text events = { .data = NULL };

		text_add(&input, SLICE("HELO "));
		text_repeat(&input, 'x', len);
		text_add(&input, SLICE("\r\n" MAIL RCPT DATA ".\r\n"));
		text_add(&events, SLICE(START_EVENTS "message helo "));
		text_repeat(&events, 'x', len <= 255 ? len : 252);
		text_format(&events, "%s <a@b> <c@d> 0:\nend\n",
		    len <= 255 ? "" : "...");
		check(input.data, GREETING HELO_OK SENDER_OK RCPT_OK GO_ON
		    KEPT, events.data, false);
		text_free(&input);
		text_free(&events);
	}
}

/* ---- MAIL and RCPT ---- */

static void
test_mail(void **state)
{
	static const struct { const char *line, *reply, *event; } rows[] = {
		{ "FROM:<>", SENDER_OK, "mail <>\n" },
		{ "from:<A@B>", SENDER_OK, "mail <A@B>\n" },
		{ "FROM: <a@b>", SENDER_OK, MAIL_EVENT },
		{ "FROM:<@x,@y:a@b>", SENDER_OK, MAIL_EVENT },
		{ "FROM:<\"a b\\\"\"@[1.2.3.4]>", SENDER_OK,
		    "mail <\"a b\\\"\"@[1.2.3.4]>\n" },
		{ "FROM:<postmaster@b>", SENDER_OK,
		    "mail <postmaster@b>\n" },
		{ "", MAIL_SYNTAX, "" },
		{ "FROM", MAIL_SYNTAX, "" },
		{ "FROM <a@b>", MAIL_SYNTAX, "" },
		{ "FROM :<a@b>", MAIL_SYNTAX, "" },
		{ "TO:<a@b>", MAIL_SYNTAX, "" },
		{ "<a@b>", MAIL_SYNTAX, "" },
		/* SmtpServer #219, Papercut #183, maildev #212. */
		{ "FROM:a@b", SENDER_OK, MAIL_EVENT },
		{ "FROM: a@b SIZE=7", SENDER_OK, "mail <a@b> size 7\n" },
		{ "FROM:<a>", SENDER_OK, "mail <a@mail.test>\n" },
		{ "FROM:root", SENDER_OK, "mail <root@mail.test>\n" },
		{ "FROM:<postmaster>", SENDER_OK,
		    "mail <postmaster@mail.test>\n" },
		{ "FROM:<a..@b_c.>", SENDER_OK, "mail <a..@b_c>\n" },
		{ "FROM:", BAD_SENDER, "" },
		{ "FROM:<a@b", BAD_SENDER, "" },
		{ "FROM:<a@b@c>", BAD_SENDER, "" },
		{ "FROM:Joe <a@b>", BAD_SENDER, "" },
		{ "FROM:<a@b>x", PARAMETER, "" },
		{ "FROM:<a@b>SIZE=1", PARAMETER, "" },
		{ "FROM:<a\xC3\xA4@b>",
		    "553 5.6.7 This address would need SMTPUTF8\r\n", "" },
		/* Parameters: each known, each once, each with a value. */
		{ "FROM:<a@b> SIZE=0", SENDER_OK, MAIL_EVENT },
		{ "FROM:<a@b> SIZE=1000", SENDER_OK,
		    "mail <a@b> size 1000\n" },
		{ "FROM:<a@b> size=00000000000000000999", SENDER_OK,
		    "mail <a@b> size 999\n" },
		{ "FROM:<a@b> SIZE=1001", TOO_BIG, "" },
		{ "FROM:<a@b> SIZE=18446744073709551615", TOO_BIG, "" },
		{ "FROM:<a@b> SIZE=18446744073709551616", TOO_BIG, "" },
		{ "FROM:<a@b> SIZE=000000000000000000001", PARAMETER, "" },
		{ "FROM:<a@b> SIZE", PARAMETER, "" },
		{ "FROM:<a@b> SIZE=", PARAMETER, "" },
		{ "FROM:<a@b> SIZE=-1", PARAMETER, "" },
		{ "FROM:<a@b> SIZE=1k", PARAMETER, "" },
		{ "FROM:<a@b> SIZE=1 SIZE=1", PARAMETER, "" },
		{ "FROM:<a@b> SIZE=1 size=2", PARAMETER, "" },
		{ "FROM:<a@b> BODY=7BIT", SENDER_OK, MAIL_EVENT },
		{ "FROM:<a@b> BODY=8BITMIME", SENDER_OK,
		    "mail <a@b> 8bit\n" },
		{ "FROM:<a@b> body=8bitmime", SENDER_OK,
		    "mail <a@b> 8bit\n" },
		{ "FROM:<a@b> BODY=BINARYMIME", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> BODY=9BIT", PARAMETER, "" },
		{ "FROM:<a@b> BODY=", PARAMETER, "" },
		{ "FROM:<a@b> BODY", PARAMETER, "" },
		{ "FROM:<a@b>  SIZE=5   BODY=8BITMIME  ", SENDER_OK,
		    "mail <a@b> size 5 8bit\n" },
		/* AUTH= (RFC 4954 5) is xtext, or <>. */
		{ "FROM:<a@b> AUTH=<>", SENDER_OK, MAIL_EVENT },
		{ "FROM:<a@b> AUTH=e+3Dmc2@example.com", SENDER_OK,
		    MAIL_EVENT },
		{ "FROM:<a@b> AUTH=!+A0+FF+99~", SENDER_OK, MAIL_EVENT },
		{ "FROM:<a@b> AUTH=a+41+0D", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=a+2", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=a+", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=a+2g", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=a+3d", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=a=b", PARAMETER, "" },
		{ "FROM:<a@b> AUTH==", PARAMETER, "" },
		{ "FROM:<a@b> AUTH=", PARAMETER, "" },
		{ "FROM:<a@b> X", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> X-Y=1", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> Z0-9A=1", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> SIZES=1", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> SIZ=1", UNKNOWN_PARAMETER, "" },
		{ "FROM:<a@b> =1", PARAMETER, "" },
		{ "FROM:<a@b> -X=1", PARAMETER, "" },
		{ "FROM:<a@b> X_Y=1", PARAMETER, "" },
		{ "FROM:<a@b> \xC3\xA4=1", PARAMETER, "" },
		{ "FROM:<> SIZE=1", SENDER_OK, "mail <> size 1\n" },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };
		struct text events = { .data = NULL };

		/* A refused MAIL begins nothing: RCPT may not come. */
		text_format(&input, EHLO "MAIL %s\r\nDATA\r\n",
		    rows[i].line);
		text_format(&output, GREETING EHLO_OK "%s%s", rows[i].reply,
		    rows[i].event[0] == '\0' ? MAIL_FIRST : RCPT_FIRST);
		text_format(&events, "%send\n", rows[i].event);
		check(input.data, output.data, events.data, false);
		text_free(&input);
		text_free(&output);
		text_free(&events);
	}
}

static void
test_rcpt(void **state)
{
	static const struct { const char *line, *reply, *event; } rows[] = {
		{ "TO:<c@d>", RCPT_OK, RCPT_EVENT },
		{ "to: <c@d>", RCPT_OK, RCPT_EVENT },
		{ "TO:<@x:c@d>", RCPT_OK, RCPT_EVENT },
		{ "TO:<postmaster>", RCPT_OK,
		    "rcpt 1 <postmaster> postmaster|\n" },
		{ "TO:<Postmaster@D>", RCPT_OK,
		    "rcpt 1 <Postmaster@D> Postmaster|D\n" },
		{ "TO:<\"a@b\"@[IPv6:::1]>", RCPT_OK,
		    "rcpt 1 <\"a@b\"@[IPv6:::1]> \"a@b\"|[IPv6:::1]\n" },
		{ "TO:<>", BAD_RCPT, "" },
		{ "", RCPT_SYNTAX, "" },
		{ "TO", RCPT_SYNTAX, "" },
		{ "FROM:<c@d>", RCPT_SYNTAX, "" },
		{ "TO:", BAD_RCPT, "" },
		{ "TO:c@d", RCPT_OK, RCPT_EVENT },
		{ "TO:<c>", RCPT_OK, "rcpt 1 <c@mail.test> c|mail.test\n" },
		{ "TO:postmaster", RCPT_OK,
		    "rcpt 1 <postmaster> postmaster|\n" },
		{ "TO:<.c@d_e.>", RCPT_OK, "rcpt 1 <.c@d_e> .c|d_e\n" },
		{ "TO:c@d@e", BAD_RCPT, "" },
		{ "TO:<c@d>x", PARAMETER, "" },
		{ "TO:<c@d> X=1", UNKNOWN_PARAMETER, "" },
		{ "TO:<c@d> SIZE=1", UNKNOWN_PARAMETER, "" },
		{ "TO:<c@d> =", PARAMETER, "" },
		{ "TO:<c@\xC3\xA4>",
		    "553 5.6.7 This address would need SMTPUTF8\r\n", "" },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };
		struct text events = { .data = NULL };

		text_format(&input, EHLO MAIL "RCPT %s\r\nDATA x\r\n",
		    rows[i].line);
		text_format(&output, GREETING EHLO_OK SENDER_OK "%s%s",
		    rows[i].reply, rows[i].event[0] == '\0' ? RCPT_FIRST
		    : ARGUMENTS);
		text_format(&events, MAIL_EVENT "%send\n", rows[i].event);
		check(input.data, output.data, events.data, false);
		text_free(&input);
		text_free(&output);
		text_free(&events);
	}
}

static void
test_too_many_recipients(void **state)
{
	(void)state;
	usual_server();
	server.max_recipients = 2;
	check(EHLO MAIL RCPT "RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n"
	    "RCPT TO:<i@j>\r\n" DATA ".\r\n" MAIL "RCPT TO:<g@h>\r\n",
	    GREETING EHLO_OK SENDER_OK RCPT_OK RCPT_OK TOO_MANY TOO_MANY
	    GO_ON KEPT SENDER_OK RCPT_OK,
	    MAIL_EVENT RCPT_EVENT "rcpt 2 <e@f> e|f\ndata\n"
	    "message ehlo me <a@b> <c@d> <e@f> 0:\n" MAIL_EVENT
	    "rcpt 1 <g@h> g|h\nend\n", false);
	/* So many octets of paths: a@b, c@d and e@f. */
	server.max_recipients = RECIPIENTS_MAX;
	server.envelope_size = 9;
	check(EHLO MAIL RCPT "RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n" DATA
	    ".\r\n",
	    GREETING EHLO_OK SENDER_OK RCPT_OK RCPT_OK TOO_MANY GO_ON KEPT,
	    MAIL_EVENT RCPT_EVENT "rcpt 2 <e@f> e|f\ndata\n"
	    "message ehlo me <a@b> <c@d> <e@f> 0:\nend\n", false);
}

/* ---- logins ---- */

/* "\0joe\0secret", "\0joe\0wrong", "joe", "secret" */
#define PLAIN_JOE "AGpvZQBzZWNyZXQ="
#define PLAIN_WRONG "AGpvZQB3cm9uZw=="
#define B64_JOE "am9l"
#define B64_SECRET "c2VjcmV0"
#define ASK_NAME "334 VXNlcm5hbWU6\r\n"
#define ASK_PASSWORD "334 UGFzc3dvcmQ6\r\n"
#define JOE "auth joe secret\n"
#define JOE_WRONG "auth joe wrong\n"

static void
test_auth(void **state)
{
	static const struct row rows[] = {
		{ SLICE(EHLO "AUTH PLAIN " PLAIN_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK LOGGED_IN OK), SLICE(JOE "end\n"),
		    DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH PLAIN\r\n" PLAIN_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK "334 \r\n" LOGGED_IN OK),
		    SLICE(JOE "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "auth login\r\n" B64_JOE "\r\n" B64_SECRET
		    "\r\n"), SLICE(GREETING EHLO_OK ASK_NAME ASK_PASSWORD
		    LOGGED_IN), SLICE(JOE "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH LOGIN " B64_JOE "\r\n" B64_SECRET "\r\n"),
		    SLICE(GREETING EHLO_OK ASK_PASSWORD LOGGED_IN),
		    SLICE(JOE "end\n"), DRIVE_EOF, false },
		/* After HELO too: some clients do not know better. */
		{ SLICE("HELO x\r\nAUTH PLAIN " PLAIN_JOE "\r\n"),
		    SLICE(GREETING HELO_OK LOGGED_IN), SLICE(JOE "end\n"),
		    DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH PLAIN " PLAIN_JOE "\r\nAUTH LOGIN\r\n"
		    MAIL),
		    SLICE(GREETING EHLO_OK LOGGED_IN AUTH_TWICE SENDER_OK),
		    SLICE(JOE MAIL_EVENT "end\n"), DRIVE_EOF, false },
		/* Commands are responses here. */
		{ SLICE(EHLO "AUTH LOGIN\r\nQUIT\r\nNOOP\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK ASK_NAME ASK_PASSWORD RESPONSE
		    OK), SLICE("end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH PLAIN\r\n*\r\nAUTH LOGIN\r\n*\r\n"
		    "AUTH LOGIN\r\n" B64_JOE "\r\n*\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK "334 \r\n" CANCELLED ASK_NAME
		    CANCELLED ASK_NAME ASK_PASSWORD CANCELLED OK),
		    SLICE("end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH\r\nAUTH \r\nAUTH X\r\nAUTH PLAINX "
		    PLAIN_JOE "\r\nAUTH CRAM-MD5\r\n"),
		    SLICE(GREETING EHLO_OK ARGUMENTS ARGUMENTS MECHANISM
		    MECHANISM MECHANISM), SLICE("end\n"), DRIVE_EOF,
		    false },
		/* The seed let these in. */
		{ SLICE(EHLO "AUTH PLAIN *\r\nAUTH PLAIN junk!\r\n"
		    "AUTH PLAIN =\r\nAUTH PLAIN " B64_JOE "\r\n"
		    "AUTH PLAIN\r\n\r\nAUTH PLAIN " PLAIN_JOE " x\r\n"
		    "AUTH PLAIN " PLAIN_JOE "=\r\n"),
		    SLICE(GREETING EHLO_OK BASE64 BASE64 RESPONSE RESPONSE
		    "334 \r\n" RESPONSE BASE64 BASE64), SLICE("end\n"),
		    DRIVE_EOF, false },
		/* People type more blanks than one. */
		{ SLICE(EHLO "AUTH  PLAIN   " PLAIN_JOE " \r\n"),
		    SLICE(GREETING EHLO_OK LOGGED_IN), SLICE(JOE "end\n"),
		    DRIVE_EOF, false },
		/* To act for somebody else. */
		{ SLICE(EHLO "AUTH PLAIN eABqb2UAc2VjcmV0\r\n"),
		    SLICE(GREETING EHLO_OK "535 5.7.8 Authorization "
		    "identity not permitted\r\n"), SLICE("end\n"),
		    DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH LOGIN\r\n\r\n" B64_SECRET "\r\n"
		    "AUTH LOGIN " B64_JOE "\r\n\r\n"),
		    SLICE(GREETING EHLO_OK ASK_NAME ASK_PASSWORD RESPONSE
		    ASK_PASSWORD WRONG), SLICE("auth joe \nend\n"),
		    DRIVE_EOF, false },
		/* Three wrong ones are enough; two are not. */
		{ SLICE(EHLO "AUTH PLAIN " PLAIN_WRONG "\r\nAUTH PLAIN\r\n"
		    PLAIN_WRONG "\r\nAUTH PLAIN " PLAIN_WRONG "\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\n"),
		    SLICE(GREETING EHLO_OK WRONG "334 \r\n" WRONG WRONG),
		    SLICE(JOE_WRONG JOE_WRONG JOE_WRONG "end\n"), DRIVE_EOF,
		    true },
		{ SLICE(EHLO "AUTH PLAIN " PLAIN_WRONG "\r\n"
		    "AUTH PLAIN " PLAIN_WRONG "\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\n" MAIL),
		    SLICE(GREETING EHLO_OK WRONG WRONG LOGGED_IN SENDER_OK),
		    SLICE(JOE_WRONG JOE_WRONG JOE MAIL_EVENT "end\n"),
		    DRIVE_EOF, false },
		/* The end comes where a response should. */
		{ SLICE(EHLO "AUTH PLAIN\r\n"),
		    SLICE(GREETING EHLO_OK "334 \r\n"), SLICE("end\n"),
		    DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH PLAIN\r\n"),
		    SLICE(GREETING EHLO_OK "334 \r\n" TIMED_OUT),
		    SLICE("end\n"), DRIVE_TIMEOUT, false },
		/* LF alone ends no response either. */
		{ SLICE(EHLO "AUTH PLAIN\r\n" PLAIN_JOE "\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK "334 \r\n" BARE_LF OK),
		    SLICE("end\n"), DRIVE_EOF, false },
	};

	(void)state;
	usual_server();
	check_rows(rows, COUNT(rows));
}

#define XOAUTH2_JOE \
	"dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE="
#define XOAUTH2_WRONG \
	"dXNlcj1qb2UBYXV0aD1CZWFyZXIgd3JvbmcBAQ=="
#define BEARER_JOE "bixhPWpvZSwBaG9zdD1oAXBvcnQ9NTg3AWF1dGg9" \
	"QmVhcmVyIHNlY3JldAEB"
#define BEARER_WRONG "bixhPWpvZSwBYXV0aD1CZWFyZXIgd3JvbmcBAQ=="
#define NO_TOKEN "334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NoZW1l" \
	"cyI6ImJlYXJlciJ9\r\n"
#define NO_TOKEN_XOAUTH2 \
	"334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=\r\n"
#define EHLO_TOKENS EHLO_HEAD "250-AUTH LOGIN OAUTHBEARER XOAUTH2\r\n" \
	"250-AUTH=LOGIN OAUTHBEARER XOAUTH2\r\n" EHLO_TAIL

/* RFC 7628: a token is refused by a challenge, and the reply comes when the
 * client has answered that. Microsoft's client asks first, and says it on a
 * line of its own. */
static void
test_tokens(void **state)
{
	static const struct row rows[] = {
		{ SLICE(EHLO "AUTH XOAUTH2 " XOAUTH2_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_TOKENS LOGGED_IN OK),
		    SLICE(JOE "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH XOAUTH2\r\n" XOAUTH2_JOE "\r\n"),
		    SLICE(GREETING EHLO_TOKENS "334 \r\n" LOGGED_IN),
		    SLICE(JOE "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "auth oauthbearer " BEARER_JOE "\r\n"),
		    SLICE(GREETING EHLO_TOKENS LOGGED_IN),
		    SLICE(JOE "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH OAUTHBEARER " BEARER_WRONG "\r\nAQ==\r\n"
		    "AUTH XOAUTH2 " XOAUTH2_WRONG "\r\n\r\nNOOP\r\n"
		    "AUTH XOAUTH2 " XOAUTH2_WRONG "\r\n*\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_TOKENS NO_TOKEN WRONG
		    NO_TOKEN_XOAUTH2 WRONG OK NO_TOKEN_XOAUTH2 WRONG),
		    SLICE(JOE_WRONG JOE_WRONG JOE_WRONG "end\n"), DRIVE_EOF,
		    true },
		{ SLICE(EHLO "AUTH OAUTHBEARER " BEARER_WRONG "\r\nAQ==\r\n"
		    "AUTH LOGIN " B64_JOE "\r\n" B64_SECRET "\r\n" MAIL),
		    SLICE(GREETING EHLO_TOKENS NO_TOKEN WRONG ASK_PASSWORD
		    LOGGED_IN SENDER_OK),
		    SLICE(JOE_WRONG JOE MAIL_EVENT "end\n"), DRIVE_EOF,
		    false },
		/* The client leaves, or is silent, where it is to answer. */
		{ SLICE(EHLO "AUTH OAUTHBEARER " BEARER_WRONG "\r\n"),
		    SLICE(GREETING EHLO_TOKENS NO_TOKEN),
		    SLICE(JOE_WRONG "end\n"), DRIVE_EOF, false },
		{ SLICE(EHLO "AUTH OAUTHBEARER " BEARER_WRONG "\r\n"),
		    SLICE(GREETING EHLO_TOKENS NO_TOKEN TIMED_OUT),
		    SLICE(JOE_WRONG "end\n"), DRIVE_TIMEOUT, false },
		{ SLICE(EHLO "AUTH XOAUTH2 " BEARER_JOE "\r\nAUTH PLAIN "
		    PLAIN_JOE "\r\n"),
		    SLICE(GREETING EHLO_TOKENS RESPONSE MECHANISM),
		    SLICE("end\n"), DRIVE_EOF, false },
	};

	/* Nobody knows now whether it is right: no word against the token. */
	static const struct answer later[] = {
		{ SMTP_AUTH, NULL, { 454, "4.7.0", SLICE("Later") } },
		NO_MORE };
	static const struct row without[] = {
		{ SLICE(EHLO "AUTH OAUTHBEARER " BEARER_JOE "\r\n"
		    "AUTH XOAUTH2\r\n" XOAUTH2_JOE "\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_TOKENS "454 4.7.0 Later\r\n334 \r\n"
		    "454 4.7.0 Later\r\n" OK), SLICE(JOE JOE "end\n"),
		    DRIVE_EOF, false },
	};

	(void)state;
	usual_server();
	server.options.mechanisms = SASL_TOKENS |
	    1u << SASL_MECHANISM_LOGIN;
	check_rows(rows, COUNT(rows));
	server.answers = later;
	check_rows(without, COUNT(without));
}

static void
test_login_policy(void **state)
{
	(void)state;
	/* Not offered at all. */
	usual_server();
	server.options.login = SMTP_LOGIN_NONE;
	check(EHLO "AUTH PLAIN " PLAIN_JOE "\r\nAUTH LOGIN\r\n"
	    "MAIL FROM:<a@b> AUTH=<>\r\n" MAIL,
	    GREETING EHLO_HEAD EHLO_TAIL "502 5.5.1 No logins here\r\n"
	    "502 5.5.1 No logins here\r\n" UNKNOWN_PARAMETER SENDER_OK,
	    MAIL_EVENT "end\n", false);
	/* Not over this connection. */
	server.options.login = SMTP_LOGIN_NEEDS_TLS;
	check(EHLO "AUTH PLAIN " PLAIN_JOE "\r\nAUTH LOGIN\r\n",
	    GREETING EHLO_HEAD EHLO_TAIL
	    "538 5.7.11 Logins need TLS here\r\n"
	    "538 5.7.11 Logins need TLS here\r\n", "end\n", false);
	/* Needed, and the only thing that is: RSET, VRFY, QUIT go. */
	server.options.login = SMTP_LOGIN_OFFERED;
	server.options.login_required = true;
	check(EHLO MAIL "MAIL nonsense\r\nRSET\r\nVRFY x\r\nAUTH PLAIN "
	    PLAIN_JOE "\r\n" MAIL RCPT "QUIT\r\n",
	    GREETING EHLO_OK LOGIN_FIRST LOGIN_FIRST OK VRFY_OK LOGGED_IN
	    SENDER_OK RCPT_OK BYE, JOE MAIL_EVENT RCPT_EVENT "end quit\n",
	    true);
	check("HELO x\r\n" MAIL, GREETING HELO_OK LOGIN_FIRST, "end\n",
	    false);
	/* Not for ever: each is a line of the log. */
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 0; i < 30; i++) {
		text_add(&input, SLICE(MAIL));
		if (i < 19)
			text_add(&output, SLICE(LOGIN_FIRST));
	}
	text_add(&output, SLICE(TOO_MANY_BAD));
	check(input.data, output.data, "end\n", true);
	text_free(&input);
	text_free(&output);
}

/* ---- STARTTLS ---- */

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

/*
 * The go-ahead, after which all that was said is forgotten, what was sent
 * along with it first of all, and what comes before the handshake is over
 * (CVE-2011-0411): by the machine itself, whatever the program does.
 */
static void
step_starttls(struct drive *drive, struct slice input)
{
	static const struct slice injected = SLICE("EHLO evil\r\n"
	    "MAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nQUIT\r\n");
	struct smtp *smtp = &server.smtp;

	drive->sent.len = 0;
	assert_true(buf_append(&drive->wire->in, input));
	if (smtp->in_transaction) {
		assert_int_equal(smtp_next(smtp), SMTP_RESET);
		smtp_accept(smtp);
		server.ends++;
	}
	assert_int_equal(smtp_next(smtp), SMTP_STARTTLS);
	smtp_accept(smtp);
	assert_int_equal(smtp_next(smtp), SMTP_WANT_IO);
	assert_true(buf_append(&drive->wire->in, injected));
	assert_int_equal(smtp_next(smtp), SMTP_WANT_IO);
	while (drive_drain(drive))
		assert_int_equal(smtp_next(smtp), SMTP_WANT_IO);
	assert_slice(text_slice(&drive->sent), "220 2.0.0 Go ahead\r\n");
	smtp_tls_started(smtp);
	assert_int_equal(buf_contents(&drive->wire->in).len, 0);
}

/* Between the go-ahead and the handshake nothing is said in clear text. */
static void
test_starttls_ended(void **state)
{
	static const enum drive_end ends[] = { DRIVE_EOF, DRIVE_TIMEOUT,
		DRIVE_STOPPING };

	(void)state;
	usual_server();
	server.options.starttls = true;
	for (size_t i = 0; i < COUNT(ends); i++) {
		const struct drive_dialogue dialogue = {
			.name = "starttls ended", .end = ends[i],
			.input = SLICE(EHLO MAIL "STARTTLS\r\n" RCPT),
			.output = SLICE(GREETING EHLO_HEAD
			    "250-STARTTLS\r\n" EHLO_AUTH EHLO_TAIL SENDER_OK
			    "220 2.0.0 Go ahead\r\n"),
			.events = SLICE(MAIL_EVENT "reset\nstarttls\nend\n"),
		};
		drive_replay(&core, &dialogue);
	}
}

static void
test_starttls(void **state)
{
	struct drive drive = { .plan = { .drain = 5 } };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, SMTP_IN_MIN);
	guarded_new(&out, SMTP_OUT_MIN);
	usual_server();
	server.options.starttls = true;
	server.options.login = SMTP_LOGIN_NEEDS_TLS;
	drive.wire = server_start(&server, in.data, in.size, out.data,
	    out.size);
	step(&drive, SLICE("STARTTLS\r\n" EHLO "STARTTLS x\r\nAUTH LOGIN\r\n"
	    MAIL RCPT), SLICE(GREETING HELLO_FIRST EHLO_HEAD
	    "250-STARTTLS\r\n" EHLO_TAIL ARGUMENTS
	    "538 5.7.11 Logins need TLS here\r\n" SENDER_OK RCPT_OK));
	step_starttls(&drive, SLICE("STARTTLS\r\nRCPT TO:<evil@x>\r\n"
	    "DATA\r\nno"));
	/* No EHLO, no sender, no recipient; logins now; TLS no more. */
	step(&drive, SLICE(DATA MAIL "STARTTLS\r\n" EHLO DATA
	    "STARTTLS\r\nAUTH PLAIN " PLAIN_JOE "\r\n" MAIL RCPT DATA
	    "x\r\n.\r\n"),
	    SLICE(HELLO_FIRST HELLO_FIRST HELLO_FIRST EHLO_OK MAIL_FIRST
	    "503 5.5.1 This is TLS already\r\n" LOGGED_IN SENDER_OK RCPT_OK
	    GO_ON KEPT));
	assert_slices(text_slice(&drive.events), SLICE(MAIL_EVENT RCPT_EVENT
	    JOE START_EVENTS MESSAGE "3:x\n\n"));

	/* A login in clear text, where that was allowed, is forgotten. */
	drive.events.len = 0;
	server.options.login = SMTP_LOGIN_OFFERED;
	server.options.login_required = true;
	drive.wire = server_start(&server, in.data, in.size, out.data,
	    out.size);
	step(&drive, SLICE(EHLO "AUTH PLAIN " PLAIN_JOE "\r\n"),
	    SLICE(GREETING EHLO_HEAD "250-STARTTLS\r\n" EHLO_AUTH EHLO_TAIL
	    LOGGED_IN));
	step_starttls(&drive, SLICE("STARTTLS\r\n"));
	step(&drive, SLICE("HELO x\r\n" MAIL), SLICE(HELO_OK LOGIN_FIRST));
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* Where the program cannot, the session goes on; but the transaction is void,
 * as it would be after a handshake. */
static void
test_starttls_refused(void **state)
{
	static const struct answer answers[] = {
		{ SMTP_STARTTLS, NULL, { 454, "4.7.0",
		    SLICE("TLS not available") } },
		NO_MORE,
	};

	(void)state;
	usual_server();
	server.options.starttls = true;
	server.answers = answers;
	check(EHLO MAIL "STARTTLS\r\n" RCPT,
	    GREETING EHLO_HEAD "250-STARTTLS\r\n" EHLO_AUTH EHLO_TAIL
	    SENDER_OK "454 4.7.0 TLS not available\r\n" MAIL_FIRST,
	    MAIL_EVENT "reset\nstarttls\nend\n", false);
}

static void
test_secrets_wiped(void **state)
{
	static const struct slice inputs[] = {
		SLICE(EHLO "AUTH PLAIN AGpvZQBodW50ZXIyMg==\r\n"),
		SLICE(EHLO "AUTH PLAIN\r\nAGpvZQBodW50ZXIyMg==\r\n"),
		SLICE(EHLO "AUTH LOGIN\r\nam9l\r\naHVudGVyMjI=\r\n"),
		/* Where it was of no use. */
		SLICE("AUTH PLAIN aHVudGVyMjI=\r\n"),
		SLICE(EHLO MAIL "AUTH PLAIN aHVudGVyMjI=\r\n"),
		SLICE(EHLO "AUTH X aHVudGVyMjI=\r\n"),
		SLICE(EHLO "AUTH PLAIN\r\naHVudGVyMjI=\n"),
		SLICE(EHLO "AUTH LOGIN\r\naHVudGVyMjI=\r\n*\r\n"),
		SLICE(EHLO "AUTH PLAIN aHVudGVyMjI=\r\n"),
		SLICE(EHLO "AUTH PLAIN\r\naHVudGVyMjI=\r\n"),
		SLICE(EHLO "AUTH LOGIN\r\n\r\naHVudGVyMjI=\r\n"),
	};
	static const size_t pieces[] = { 0, 1, 7, 20 };
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, SMTP_IN_MIN);
	guarded_new(&out, SMTP_OUT_MIN);
	usual_server();
	for (size_t i = 0; i < COUNT(inputs) * COUNT(pieces); i++) {
		struct slice input = inputs[i / COUNT(pieces)];
		size_t at = 0;

		memset(in.data, 0, in.size);
		memset(&server.smtp, 0, sizeof(server.smtp));
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
		assert_null(memmem(&server.smtp, sizeof(server.smtp),
		    "hunter22", 8));
	}
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* ---- message text ---- */

/* Exactly so large, and not an octet more; the rest is read and dropped,
 * and the session goes on. */
static void
test_max_size(void **state)
{
	(void)state;
	usual_server();
	server.options.max_size = 64;
	for (size_t size = 60; size < 70; size++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };
		struct text events = { .data = NULL };
		bool fits = size <= 64;

		/* The added dot does not count, CRLF does. */
		text_format(&input, START ".");
		text_repeat(&input, '.', size - 4);
		text_add(&input, SLICE("\r\n\r\n.\r\n" MAIL));
		text_format(&output, GREETING);
		text_add(&output, SLICE("250-mail.test\r\n250-PIPELINING\r\n"
		    "250-SIZE 64\r\n250-8BITMIME\r\n"
		    "250-CHUNKING\r\n250-SMTPUTF8\r\n" EHLO_AUTH EHLO_TAIL
		    SENDER_OK RCPT_OK GO_ON));
		text_format(&output, "%s" SENDER_OK, fits ? KEPT : TOO_BIG);
		text_format(&events, START_EVENTS);
		if (fits) {
			text_format(&events, MESSAGE "%zu:", size);
			text_repeat(&events, '.', size - 4);
			text_format(&events, "\n\n\n");
		} else {
			text_format(&events, "reset\n");
		}
		text_format(&events, MAIL_EVENT "end\n");
		check(input.data, output.data, events.data, false);
		text_free(&input);
		text_free(&output);
		text_free(&events);
	}
}

static void
test_bare_line_ends(void **state)
{
	static const struct {
		struct slice text;
		const char *replies[3]; /* reject, normalize, accept */
		struct slice kept[3];
	} rows[] = {
		{ SLICE("a\nb\r\n"), { BARE_LF_TEXT, KEPT, KEPT },
		    { SLICE(""), SLICE("6:a\nb\n"), SLICE("6:a\nb\n") } },
		{ SLICE("a\n..b\r\n"), { BARE_LF_TEXT, KEPT, KEPT },
		    { SLICE(""), SLICE("8:a\n..b\n"), SLICE("7:a\n.b\n") } },
		{ SLICE("a\rb\r\n"), { BARE_CR_TEXT, BARE_CR_TEXT,
		    BARE_CR_TEXT }, { SLICE(""), SLICE(""), SLICE("") } },
		{ SLICE("a\r\r\n"), { BARE_CR_TEXT, BARE_CR_TEXT,
		    BARE_CR_TEXT }, { SLICE(""), SLICE(""), SLICE("") } },
		{ SLICE("a\r\n.\r\r\nb\r\n"), { BARE_CR_TEXT, BARE_CR_TEXT,
		    BARE_CR_TEXT }, { SLICE(""), SLICE(""), SLICE("") } },
	};
	static const char *const event[] = { "reset\n", MESSAGE };

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int mode = 0; mode < 3; mode++) {
			struct text input = { .data = NULL };
			struct text output = { .data = NULL };
			struct text events = { .data = NULL };
			bool kept = rows[i].kept[mode].len > 0;

			server.options.bare_lf = (enum dot_bare_lf)mode;
			text_format(&input, START);
			text_add(&input, rows[i].text);
			text_format(&input, ".\r\nNOOP\r\n");
			text_format(&output, START_OK "%s" OK,
			    rows[i].replies[mode]);
			text_format(&events, START_EVENTS "%s",
			    event[kept]);
			text_add(&events, rows[i].kept[mode]);
			text_format(&events, "%send\n", kept ? "\n" : "");
			drive_replay(&core, &(struct drive_dialogue){
			    .name = "bare", .input = text_slice(&input),
			    .output = text_slice(&output),
			    .events = text_slice(&events) });
			text_free(&input);
			text_free(&output);
			text_free(&events);
		}
}

/* CVE-2023-51764 and kin: a second message hidden in the first. */
static void
test_smuggling(void **state)
{
	static const struct slice variants[] = {
		SLICE("\n.\n"), SLICE("\n.\r\n"), SLICE("\r\n.\n"),
	};
	static const struct row accepted = {
		SLICE(START "x\n.\nMAIL FROM:<e@f>\n"),
		SLICE(START_OK KEPT SENDER_OK),
		SLICE(START_EVENTS MESSAGE "3:x\n\nmail <e@f>\nend\n"),
		DRIVE_EOF, false,
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct text input = { .data = NULL };
		struct text events = { .data = NULL };

		text_format(&input, START "x%.*sMAIL FROM:<evil@x>\r\n"
		    "RCPT TO:<victim@y>\r\nDATA\r\nhidden\r\n.\r\n",
		    SLICE_ARG(variants[i]));
		server.options.bare_lf = DOT_BARE_LF_REJECT;
		check(input.data, START_OK SMUGGLING, START_EVENTS "end\n",
		    true);

		/* Normalized it is one message, and the second one's lines
		 * are text of it. A dot that a true line end came before is
		 * gone, as every such dot is. */
		server.options.bare_lf = DOT_BARE_LF_NORMALIZE;
		text_format(&events, START_EVENTS MESSAGE "%d:x\n%s\n"
		    "MAIL FROM:<evil@x>\nRCPT TO:<victim@y>\nDATA\nhidden\n"
		    "\nend\n", i == 2 ? 59 : 60, i == 2 ? "" : ".");
		check(input.data, START_OK KEPT, events.data, false);
		text_free(&input);
		text_free(&events);
	}
	/* A person at openssl s_client without -crlf. */
	server.options.bare_lf = DOT_BARE_LF_ACCEPT;
	check_rows(&accepted, 1);
}

/*
 * Text may be refused for more than one reason. Which one is told must not
 * hang on how the text was cut on its way.
 */
static void
test_many_reasons(void **state)
{
	static const struct slice texts[] = {
		SLICE("0123456789012345678901234567890123456789\r\na\rb\r\n"),
		SLICE("a\rb\r\n0123456789012345678901234567890123456789\r\n"),
		SLICE("0123456789012345678901234567890123456789\r\na\nb\r\n"),
		SLICE("a\nb\r\nc\rd\r\n"), SLICE("a\rb\r\nc\nd\r\n"),
	};
	static const struct answer full[] = {
		{ SMTP_DATA, NULL, { 452, "4.3.1", SLICE("Full") } },
		NO_MORE,
	};

	(void)state;
	usual_server();
	server.options.max_size = 30;
	for (size_t i = 0; i < COUNT(texts); i++)
		for (int k = 0; k < 2; k++) {
			struct text input = { .data = NULL };

			server.answers = k == 0 ? NULL : full;
			text_format(&input, START "%.*s.\r\n",
			    SLICE_ARG(texts[i]));
			drive_agree(&core, (struct drive_dialogue){
			    .name = "many reasons",
			    .input = text_slice(&input) }, NULL);
			text_free(&input);
		}
}

/* A bare LF in commands, by mode. */
static void
test_bare_lf_commands(void **state)
{
	static const char input[] = "EHLO me\nMAIL FROM:<a@b>\n"
	    "RCPT TO:<c@d>\r\nNOOP\n";

	(void)state;
	usual_server();
	check(input, GREETING BARE_LF BARE_LF HELLO_FIRST BARE_LF, "end\n",
	    false);
	server.options.bare_lf = DOT_BARE_LF_NORMALIZE;
	check(input, GREETING EHLO_OK SENDER_OK RCPT_OK OK,
	    MAIL_EVENT RCPT_EVENT "end\n", false);
	server.options.bare_lf = DOT_BARE_LF_ACCEPT;
	check(input, GREETING EHLO_OK SENDER_OK RCPT_OK OK,
	    MAIL_EVENT RCPT_EVENT "end\n", false);
}

/* ---- what the program may answer ---- */

static void
test_answers(void **state)
{
	static const struct {
		struct answer answers[ANSWERS_MAX];
		struct row row;
	} rows[] = {
		{ { { SMTP_MAIL, "a@b", { 550, "5.7.1", SLICE("No") } },
		    NO_MORE },
		    { SLICE(EHLO MAIL RCPT "MAIL FROM:<x@y>\r\n"),
		    SLICE(GREETING EHLO_OK "550 5.7.1 No\r\n" MAIL_FIRST
		    SENDER_OK), SLICE(MAIL_EVENT "mail <x@y>\nend\n"),
		    DRIVE_EOF, false } },
		{ { { SMTP_MAIL, NULL, { 250, "2.1.0", SLICE("Well") } },
		    NO_MORE },
		    { SLICE(EHLO MAIL RCPT),
		    SLICE(GREETING EHLO_OK "250 2.1.0 Well\r\n" RCPT_OK),
		    SLICE(MAIL_EVENT RCPT_EVENT "end\n"), DRIVE_EOF,
		    false } },
		/* A refused recipient is none: the last one, the only one,
		 * one in the middle. */
		{ { { SMTP_RCPT, "no@x", { 550, "5.1.1",
		    SLICE("Nobody here") } }, NO_MORE },
		    { SLICE(EHLO MAIL "RCPT TO:<no@x>\r\n" DATA RCPT
		    "RCPT TO:<no@x>\r\nRCPT TO:<e@f>\r\n" DATA ".\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK
		    "550 5.1.1 Nobody here\r\n" RCPT_FIRST RCPT_OK
		    "550 5.1.1 Nobody here\r\n" RCPT_OK GO_ON KEPT),
		    SLICE(MAIL_EVENT "rcpt 1 <no@x> no|x\n" RCPT_EVENT
		    "rcpt 2 <no@x> no|x\nrcpt 2 <e@f> e|f\ndata\n"
		    "message ehlo me <a@b> <c@d> <e@f> 0:\nend\n"),
		    DRIVE_EOF, false } },
		/* DATA refused: the transaction goes on (RFC 5321 4.1.4 says
		 * nothing of its end), and no text is read. */
		{ { { SMTP_DATA_BEGIN, NULL, { 451, "4.3.0",
		    SLICE("Not now") } }, NO_MORE },
		    { SLICE(EHLO MAIL RCPT DATA "NOOP\r\n" DATA),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK
		    "451 4.3.0 Not now\r\n" OK "451 4.3.0 Not now\r\n"),
		    SLICE(START_EVENTS "data\nend\n"), DRIVE_EOF, false } },
		/* Text refused: it is read to its end, then that is said. */
		{ { { SMTP_DATA, NULL, { 452, "4.3.1", SLICE("Full") } },
		    NO_MORE },
		    { SLICE(START "text\r\nQUIT\r\n.\r\nNOOP\r\n" DATA MAIL),
		    SLICE(START_OK "452 4.3.1 Full\r\n" OK MAIL_FIRST
		    SENDER_OK),
		    SLICE(START_EVENTS "reset\n" MAIL_EVENT "end\n"),
		    DRIVE_EOF, false } },
		/* Nothing to refuse in an empty one. */
		{ { { SMTP_DATA, NULL, { 452, "4.3.1", SLICE("Full") } },
		    NO_MORE },
		    { SLICE(START ".\r\n"), SLICE(START_OK KEPT),
		    SLICE(START_EVENTS MESSAGE "0:\nend\n"), DRIVE_EOF,
		    false } },
		{ { { SMTP_DATA, NULL, { 250, NULL, SLICE("go on") } },
		    NO_MORE },
		    { SLICE(START "text\r\n.\r\n"), SLICE(START_OK KEPT),
		    SLICE(START_EVENTS MESSAGE "6:text\n\nend\n"), DRIVE_EOF,
		    false } },
		/* The whole message refused, with a next hop's many lines. */
		{ { { SMTP_DATA_END, NULL, { 554, "5.7.1",
		    SLICE("Spam\nsee https://example.org/\n\nsorry") } },
		    NO_MORE },
		    { SLICE(START "x\r\n.\r\n" DATA MAIL),
		    SLICE(START_OK "554-5.7.1 Spam\r\n"
		    "554-5.7.1 see https://example.org/\r\n554-5.7.1 \r\n"
		    "554 5.7.1 sorry\r\n" MAIL_FIRST SENDER_OK),
		    SLICE(START_EVENTS MESSAGE "3:x\n\n" MAIL_EVENT
		    "end\n"), DRIVE_EOF, false } },
		{ { { SMTP_DATA_END, NULL, { 250, "2.6.0",
		    SLICE("queued as 4711\nbye") } }, NO_MORE },
		    { SLICE(START "x\r\n.\r\n"),
		    SLICE(START_OK "250-2.6.0 queued as 4711\r\n"
		    "250 2.6.0 bye\r\n"),
		    SLICE(START_EVENTS MESSAGE "3:x\n\nend\n"), DRIVE_EOF,
		    false } },
		/* Without an enhanced code, and without a text. */
		{ { { SMTP_DATA_END, NULL, { 450, NULL, SLICE("Hm") } },
		    NO_MORE },
		    { SLICE(START ".\r\n"), SLICE(START_OK "450 Hm\r\n"),
		    SLICE(START_EVENTS MESSAGE "0:\nend\n"), DRIVE_EOF,
		    false } },
		{ { { SMTP_DATA_END, NULL, { 450, "", SLICE("Hm\nHm") } },
		    NO_MORE },
		    { SLICE(START ".\r\n"),
		    SLICE(START_OK "450-Hm\r\n450 Hm\r\n"),
		    SLICE(START_EVENTS MESSAGE "0:\nend\n"), DRIVE_EOF,
		    false } },
		{ { { SMTP_DATA_END, NULL, { 550, "5.0.0", SLICE("") } },
		    NO_MORE },
		    { SLICE(START ".\r\n"), SLICE(START_OK "550 5.0.0 \r\n"),
		    SLICE(START_EVENTS MESSAGE "0:\nend\n"), DRIVE_EOF,
		    false } },
		/* Whatever its octets, it stays a reply. */
		{ { { SMTP_DATA_END, NULL, { 550, "5.0.0",
		    SLICE("a\r\nb\0c\x7F\t\x1B[1m\xFF") } }, NO_MORE },
		    { SLICE(START ".\r\n"), SLICE(START_OK
		    "550-5.0.0 a \r\n550 5.0.0 b c   [1m\xFF\r\n"),
		    SLICE(START_EVENTS MESSAGE "0:\nend\n"), DRIVE_EOF,
		    false } },
		/* Trouble with the login is not the password's fault, but
		 * it counts. */
		{ { { SMTP_AUTH, NULL, { 454, "4.7.0", SLICE("Later") } },
		    NO_MORE },
		    { SLICE(EHLO "AUTH PLAIN " PLAIN_JOE "\r\nAUTH PLAIN "
		    PLAIN_JOE "\r\nNOOP\r\nAUTH PLAIN " PLAIN_JOE
		    "\r\nNOOP\r\n"),
		    SLICE(GREETING EHLO_OK "454 4.7.0 Later\r\n"
		    "454 4.7.0 Later\r\n" OK "454 4.7.0 Later\r\n"),
		    SLICE(JOE JOE JOE "end\n"), DRIVE_EOF, true } },
		{ { { SMTP_AUTH, NULL, { 235, "2.7.0", SLICE("Hi") } },
		    NO_MORE },
		    { SLICE(EHLO "AUTH PLAIN " PLAIN_WRONG "\r\n"
		    "AUTH PLAIN " PLAIN_JOE "\r\n"),
		    SLICE(GREETING EHLO_OK "235 2.7.0 Hi\r\n" AUTH_TWICE),
		    SLICE(JOE_WRONG "end\n"), DRIVE_EOF, false } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		usual_server();
		server.answers = rows[i].answers;
		check_rows(&rows[i].row, 1);
	}
}

/* RFC 5321 3.8: 421 at any point is the last word. */
static void
test_421_anywhere(void **state)
{
#define CLOSING "421 4.3.2 Going\r\n"
	static const struct {
		enum smtp_event event;
		struct row row;
	} rows[] = {
		{ SMTP_AUTH, { SLICE(EHLO "AUTH PLAIN " PLAIN_JOE "\r\n"
		    "NOOP\r\n"), SLICE(GREETING EHLO_OK CLOSING),
		    SLICE(JOE "end\n"), DRIVE_EOF, true } },
		{ SMTP_MAIL, { SLICE(EHLO MAIL RCPT),
		    SLICE(GREETING EHLO_OK CLOSING),
		    SLICE(MAIL_EVENT "end\n"), DRIVE_EOF, true } },
		{ SMTP_RCPT, { SLICE(EHLO MAIL RCPT DATA),
		    SLICE(GREETING EHLO_OK SENDER_OK CLOSING),
		    SLICE(MAIL_EVENT RCPT_EVENT "end\n"), DRIVE_EOF,
		    true } },
		{ SMTP_DATA_BEGIN, { SLICE(START "NOOP\r\n"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK CLOSING),
		    SLICE(START_EVENTS "end\n"), DRIVE_EOF, true } },
		{ SMTP_DATA, { SLICE(START "x\r\n.\r\nNOOP\r\n"),
		    SLICE(START_OK CLOSING),
		    SLICE(START_EVENTS "reset\nend\n"), DRIVE_EOF, true } },
		{ SMTP_DATA_END, { SLICE(START "x\r\n.\r\nNOOP\r\n"),
		    SLICE(START_OK CLOSING),
		    SLICE(START_EVENTS MESSAGE "3:x\n\nend\n"), DRIVE_EOF,
		    true } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer answers[] = {
			{ rows[i].event, NULL, { 421, "4.3.2",
			    SLICE("Going") } },
			NO_MORE,
		};

		usual_server();
		server.answers = answers;
		check_rows(&rows[i].row, 1);
	}
}

/* A reply of any length: 4096 octets of text in 64 lines at most. */
static void
test_long_answers(void **state)
{
	struct answer answers[] = {
		{ SMTP_DATA_END, NULL, { 550, "5.999.999", { NULL, 0 } } },
		NO_MORE,
	};

	(void)state;
	usual_server();
	server.answers = answers;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct text text = { .data = NULL };
		struct text output = { .data = NULL };
		size_t lines = kind == 0 ? 1 : kind == 1 ? 64 : kind == 2
		    ? 65 : 5000;

		if (kind == 0)
			text_repeat(&text, 'x', SMTP_REPLY_TEXT_MAX + 100);
		else
			for (size_t i = 0; i < lines; i++)
				text_format(&text, "%s%zu", i > 0 ? "\n" : "",
				    i % 10);
		answers[0].reply.text = text_slice(&text);
		text_add(&output, SLICE(START_OK));
		if (kind == 0) {
			text_add(&output, SLICE("550 5.999.999 "));
			text_repeat(&output, 'x', SMTP_REPLY_TEXT_MAX);
			text_add(&output, SLICE("\r\n"));
		} else {
			for (size_t i = 0; i < 64; i++)
				text_format(&output,
				    "550%s5.999.999 %zu\r\n",
				    i == 63 ? " " : "-", i % 10);
		}
		text_add(&output, SLICE(OK));
		drive_replay(&core, &(struct drive_dialogue){
		    .name = "long answer",
		    .input = SLICE(START ".\r\nNOOP\r\n"),
		    .output = text_slice(&output),
		    .events = SLICE(START_EVENTS MESSAGE "0:\nend\n") });
		text_free(&text);
		text_free(&output);
	}

	/* The refusal of text is kept meanwhile, and cut where it must. */
	struct text text = { .data = NULL };
	struct text output = { .data = NULL };
	answers[0].event = SMTP_DATA;
	text_repeat(&text, 'y', 2 * SMTP_REPLY_TEXT_MAX);
	answers[0].reply.text = text_slice(&text);
	text_add(&output, SLICE(START_OK "550 5.999.999 "));
	text_repeat(&output, 'y', SMTP_REPLY_TEXT_MAX);
	text_add(&output, SLICE("\r\n"));
	drive_replay(&core, &(struct drive_dialogue){
	    .name = "long refusal", .input = SLICE(START "x\r\n.\r\n"),
	    .output = text_slice(&output),
	    .events = SLICE(START_EVENTS "reset\nend\n") });
	text_free(&text);
	text_free(&output);
}

/* ---- limits ---- */

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
		{ "NOOP ", SMTP_LINE_MAX - 1, OK },
		{ "NOOP ", SMTP_LINE_MAX, OK },
		{ "NOOP ", SMTP_LINE_MAX + 1, TOO_LONG },
		{ "", SMTP_LINE_MAX + 1, TOO_LONG },
		{ "AUTH PLAIN !", SMTP_LINE_MAX + 1, BASE64 },
		{ "AUTH PLAIN !", SASL_LINE_MAX - 1, BASE64 },
		{ "AUTH PLAIN !", SASL_LINE_MAX, BASE64 },
		{ "AUTH PLAIN !", SASL_LINE_MAX + 1, AUTH_TOO_LONG },
		{ "auth\t", 3 * SASL_LINE_MAX, AUTH_TOO_LONG },
		{ "AUTHOR ", SASL_LINE_MAX + 1, TOO_LONG },
		{ "NOOP ", SASL_LINE_MAX - 1, TOO_LONG },
		{ "NOOP ", SASL_LINE_MAX, TOO_LONG },
		{ "NOOP ", SASL_LINE_MAX + 1, TOO_LONG },
		{ "NOOP ", 3 * SASL_LINE_MAX, TOO_LONG },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };

		text_add(&input, SLICE(EHLO));
		add_line(&input, rows[i].begin, rows[i].len, "\r\n");
		text_add(&input, SLICE("QUIT\r\n"));
		text_format(&output, GREETING EHLO_OK "%s" BYE,
		    rows[i].reply);
		drive_replay_edges(&core, &(struct drive_dialogue){
		    .name = "long line", .closes = true,
		    .input = text_slice(&input),
		    .output = text_slice(&output),
		    .events = SLICE("end quit\n") },
		    rows[i].len > 4096 ? 16 : SIZE_MAX);
		text_free(&input);
		text_free(&output);
	}
}

/* A path as long as a line allows is kept whole. */
static void
test_long_path(void **state)
{
	struct text path = { .data = NULL };
	struct text input = { .data = NULL };
	struct text events = { .data = NULL };

	(void)state;
	usual_server();
	text_repeat(&path, 'l', SMTP_LINE_MAX - sizeof("MAIL FROM:<@b>\r\n") +
	    1);
	text_format(&input, EHLO "MAIL FROM:<%s@b>\r\nRCPT TO:<%s@b>\r\n",
	    path.data, path.data);
	text_format(&events, "mail <%s@b>\nrcpt 1 <%s@b> %s|b\nend\n",
	    path.data, path.data, path.data);
	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "long path", .input = text_slice(&input),
	    .output = SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK),
	    .events = text_slice(&events) }, 64);
	text_free(&path);
	text_free(&input);
	text_free(&events);
}

/* RFC 4954 4: 500 5.5.6, and the exchange is over. */
static void
test_long_response(void **state)
{
	struct text input = { .data = NULL };

	(void)state;
	usual_server();
	text_add(&input, SLICE(EHLO "AUTH PLAIN\r\n"));
	add_line(&input, "", SASL_LINE_MAX + 1, "\r\n");
	text_add(&input, SLICE("NOOP\r\nAUTH LOGIN\r\n"));
	add_line(&input, "", SASL_LINE_MAX, "\r\n");
	text_add(&input, SLICE("NOOP\r\n"));
	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "long response", .input = text_slice(&input),
	    .output = SLICE(GREETING EHLO_OK "334 \r\n"
	    "500 5.5.6 Response too long\r\n" OK ASK_NAME BASE64 OK),
	    .events = SLICE("end\n") }, 16);
	text_free(&input);
}

static void
test_bad_commands(void **state)
{
	static const struct { const char *line, *reply; } kinds[] = {
		{ "X\r\n", UNKNOWN }, { "DATA x\r\n", MAIL_FIRST },
		{ "HELP\x01\r\n", BAD_OCTETS },
		{ "NOOP\n", BARE_LF }, { "EXPN\r\n", NOT_IMPLEMENTED },
		{ "AUTH X\r\n", MECHANISM }, { "EHLO\r\n", HELLO_SYNTAX },
		{ "\0\r\n", BAD_OCTETS },
	};
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };

	(void)state;
	usual_server();
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 1; i <= 20; i++) {
		size_t kind = i % COUNT(kinds);

		/* Good ones between them do not help. */
		text_add(&input, SLICE("NOOP\r\n"));
		text_add(&output, SLICE(OK));
		text_add(&input, kind == 7 ? SLICE("\0\r\n")
		    : slice_from(kinds[kind].line));
		text_format(&output, "%s", i == 20 ? TOO_MANY_BAD
		    : kinds[kind].reply);
		if (i == 19)
			drive_replay(&core, &(struct drive_dialogue){
			    .name = "19 bad commands",
			    .input = text_slice(&input),
			    .output = text_slice(&output),
			    .events = SLICE("end\n") });
	}
	text_add(&input, SLICE("NOOP\r\n"));
	drive_replay(&core, &(struct drive_dialogue){
	    .name = "20 bad commands", .closes = true,
	    .input = text_slice(&input), .output = text_slice(&output),
	    .events = SLICE("end\n") });
	text_free(&input);
	text_free(&output);
}

/* MailKit #1196: a long session with a typo in every second message was cut.
 * A message that is accepted ends the count, one that is not does not. */
static void
test_bad_commands_forgiven(void **state)
{
	static const struct answer answers[] = {
		{ SMTP_DATA_END, NULL, { 451, "4.3.0", SLICE("no") } },
		NO_MORE,
	};
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };

	(void)state;
	usual_server();
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 0; i < 22; i++) {
		text_add(&input, SLICE("X\r\n" MAIL RCPT DATA ".\r\n"));
		text_add(&output, SLICE(UNKNOWN SENDER_OK RCPT_OK GO_ON
		    KEPT));
		text_add(&events, SLICE(START_EVENTS MESSAGE "0:\n"));
	}
	text_add(&events, SLICE("end\n"));
	check(input.data, output.data, events.data, false);
	input.len = output.len = events.len = 0;
	server.answers = answers;
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 1; i <= 20; i++) {
		text_add(&input, SLICE("X\r\n" MAIL RCPT DATA ".\r\n"));
		text_add(&output, i < 20 ? SLICE(UNKNOWN SENDER_OK RCPT_OK
		    GO_ON "451 4.3.0 no\r\n") : SLICE(TOO_MANY_BAD));
		if (i < 20)
			text_add(&events, SLICE(START_EVENTS MESSAGE "0:\n"));
	}
	text_add(&events, SLICE("end\n"));
	check(input.data, output.data, events.data, true);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* ---- how it ends ---- */

static void
test_ends(void **state)
{
	static const struct { struct slice input, output, events; }
	rows[] = {
		{ SLICE(""), SLICE(GREETING), SLICE("") },
		{ SLICE("EHL"), SLICE(GREETING), SLICE("") },
		{ SLICE(EHLO), SLICE(GREETING EHLO_OK), SLICE("") },
		{ SLICE(EHLO MAIL), SLICE(GREETING EHLO_OK SENDER_OK),
		    SLICE(MAIL_EVENT) },
		{ SLICE(EHLO MAIL RCPT "DAT"),
		    SLICE(GREETING EHLO_OK SENDER_OK RCPT_OK),
		    SLICE(MAIL_EVENT RCPT_EVENT) },
		{ SLICE(START), SLICE(START_OK), SLICE(START_EVENTS) },
		{ SLICE(START "half a mess"), SLICE(START_OK),
		    SLICE(START_EVENTS) },
		{ SLICE(START "half\r\n."), SLICE(START_OK),
		    SLICE(START_EVENTS) },
		{ SLICE(EHLO "AUTH LOGIN\r\n"),
		    SLICE(GREETING EHLO_OK ASK_NAME), SLICE("") },
	};
	static const struct { enum drive_end end; const char *last; }
	ends[] = {
		/* RFC 5321 4.1.1.5: what was not ended was not accepted. */
		{ DRIVE_EOF, "" },
		{ DRIVE_TIMEOUT, TIMED_OUT },
		{ DRIVE_STOPPING, STOPPING },
	};

	(void)state;
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t k = 0; k < COUNT(ends); k++) {
			struct text output = { .data = NULL };
			struct text events = { .data = NULL };

			text_add(&output, rows[i].output);
			text_format(&output, "%s", ends[k].last);
			text_add(&events, rows[i].events);
			text_format(&events, "end\n");
			drive_replay(&core, &(struct drive_dialogue){
			    .name = "end", .end = ends[k].end,
			    .input = rows[i].input,
			    .output = text_slice(&output),
			    .events = text_slice(&events) });
			text_free(&output);
			text_free(&events);
		}
		drive_replay(&core, &(struct drive_dialogue){
		    .name = "stays", .end = DRIVE_STAY,
		    .input = rows[i].input, .output = rows[i].output,
		    .events = rows[i].events });
	}
}

/* The core says when input is text, and how many lines it took: what the
 * pump counts time by. */
static void
test_tells_the_pump(void **state)
{
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out;

	(void)state;
	guarded_new(&in, SMTP_IN_MIN);
	guarded_new(&out, SMTP_OUT_MIN);
	usual_server();
	drive.wire = server_start(&server, in.data, in.size, out.data,
	    out.size);
	step(&drive, SLICE(EHLO MAIL RCPT), SLICE(GREETING EHLO_OK SENDER_OK
	    RCPT_OK));
	assert_false(drive.wire->text);
	assert_int_equal(drive.wire->lines, 3);
	step(&drive, SLICE(DATA), SLICE(GO_ON));
	assert_true(drive.wire->text);
	assert_int_equal(drive.wire->lines, 4);
	step(&drive, SLICE("x\r\ny\r\n."), SLICE(""));
	assert_true(drive.wire->text);
	step(&drive, SLICE("\r\n"), SLICE(KEPT));
	assert_false(drive.wire->text);
	/* Refused text, and text that smuggles, is over too. */
	step(&drive, SLICE(MAIL RCPT DATA "\r.\r\n"),
	    SLICE(SENDER_OK RCPT_OK GO_ON));
	assert_true(drive.wire->text);
	step(&drive, SLICE(".\r\n"), SLICE(BARE_CR_TEXT));
	assert_false(drive.wire->text);
	step(&drive, SLICE(MAIL RCPT DATA "\n.\n"),
	    SLICE(SENDER_OK RCPT_OK GO_ON SMUGGLING));
	assert_false(drive.wire->text);
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* What goes into the transcript: never a secret, never message text. */
static void
test_transcript(void **state)
{
	static const struct { struct slice input, trace; } rows[] = {
		{ SLICE("EHLO me \r\nAUTH PLAIN " PLAIN_WRONG "\r\n"
		    "auth login\r\n" B64_JOE "\r\n" B64_SECRET "\r\n"
		    "hunter22 x\r\nNOOP\nNOOP \x01\r\n"),
		    SLICE("< 220 mail.test ESMTP ready\n> EHLO me \n"
		    "< 250-mail.test\n< 250-PIPELINING\n< 250-SIZE 1000\n"
		    "< 250-8BITMIME\n< 250-CHUNKING\n< 250-SMTPUTF8\n"
		    "< 250-AUTH PLAIN LOGIN\n"
		    "< 250-AUTH=PLAIN LOGIN\n< 250-HELP\n"
		    "< 250 ENHANCEDSTATUSCODES\n> AUTH\n"
		    "< 535 5.7.8 Wrong name or password\n> auth\n"
		    "< 334 VXNlcm5hbWU6\n> (SASL response)\n"
		    "< 334 UGFzc3dvcmQ6\n> (SASL response)\n"
		    "< 235 2.7.0 Logged in\n> (unknown command)\n"
		    "< 500 5.5.1 Unknown command\n> NOOP\n"
		    "< 500 5.5.2 A command ends in CRLF, not in LF alone\n"
		    "> NOOP \x01\n"
		    "< 500 5.5.2 Control characters in a command\n") },
		{ SLICE("HELO me\r\n" MAIL RCPT DATA "secret text\r\n.\r\n"
		    "RSET\r\n"),
		    SLICE("< 220 mail.test ESMTP ready\n> HELO me\n"
		    "< 250 mail.test\n> MAIL FROM:<a@b>\n"
		    "< 250 2.1.0 Ok\n> RCPT TO:<c@d>\n< 250 2.1.5 Ok\n"
		    "> DATA\n< 354 End data with <CR><LF>.<CR><LF>\n"
		    "< 250 2.0.0 Ok, kept\n> RSET\n< 250 2.0.0 Ok\n") },
	};
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out, storage;

	(void)state;
	guarded_new(&in, SMTP_IN_MIN);
	guarded_new(&out, SMTP_OUT_MIN);
	guarded_new(&storage, 4096);
	usual_server();
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf trace;

		buf_init(&trace, storage.data, storage.size);
		drive.wire = server_start(&server, in.data, in.size,
		    out.data, out.size);
		drive.wire->transcript = &trace;
		buf_append(&drive.wire->in, rows[i].input);
		while (!server_run(&server, &drive) && drive_drain(&drive))
			;
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
add_random_line(struct text *input, uint64_t *seed)
{
	static const char *const lines[] = {
		"EHLO me", "HELO me", "EHLO", "AUTH PLAIN " PLAIN_JOE,
		"AUTH PLAIN " PLAIN_WRONG, "AUTH LOGIN", B64_JOE, B64_SECRET,
		"*", "MAIL FROM:<a@b>", "MAIL FROM:<a@b> SIZE=5", "MAIL FROM:",
		"MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<c@d>",
		"RCPT TO:<postmaster>", "RCPT TO:<no@x>", "RCPT TO:<x",
		"DATA", "DATA", "DATA", "Subject: x", "", ".", ".", "..", "..x",
		"RSET", "NOOP", "VRFY x", "EXPN x", "HELP", "QUIT",
		"STARTTLS", "XYZZY",
	};
	static const char *const line_ends[] = {
		"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n",
		"\r\n", "\r\n", "\n", "\r\r\n", " \r\n", "\r",
	};
	size_t i = chance(seed, COUNT(lines));

	if (strcmp(lines[i], "QUIT") == 0 && chance(seed, 4) != 0)
		i = 0;
	size_t start = input->len;
	text_add(input, slice_from(lines[i]));
	if (chance(seed, 4) == 0)
		for (; start < input->len; start++)
			input->data[start] = slice_lower(input->data[start]);
	if (chance(seed, 15) == 0)
		text_repeat(input, (char)chance(seed, 256),
		    chance(seed, 40));
	text_add(input, slice_from(line_ends[chance(seed,
	    COUNT(line_ends))]));
}

/* Is the line one of a greeting or of an answer to EHLO or HELO? */
static bool
is_hello(struct slice line)
{
	static const char hello[] = "\n" GREETING HELO_OK EHLO_OK
	    HELLO_SYNTAX;
	char *at = memmem(hello, sizeof(hello) - 1, line.data, line.len);

	return (at != NULL && at[-1] == '\n') ||
	    slice_starts_with(line, SLICE("250-SIZE "));
}

/* RFC 2034: every 2xx, 4xx and 5xx reply has an enhanced code of its class;
 * and every line ends in CRLF. */
static void
check_replies(struct slice said)
{
	while (said.len > 0) {
		struct slice line;

		assert_true(slice_cut(said, '\n', &line, &said));
		assert_true(slice_ends_with(line, SLICE("\r")));
		assert_true(line.len > 4);
		assert_true(line.data[3] == ' ' || line.data[3] == '-');
		if (line.data[0] == '3' || is_hello(line))
			continue;
		if (line.data[4] != line.data[0] || line.data[5] != '.')
			fail_msg("%.*s", SLICE_ARG(line));
	}
}

static void
test_random(void **state)
{
	static const struct answer answers[] = {
		{ SMTP_RCPT, "no@x", { 550, "5.1.1", SLICE("Nobody\nhere") } },
		NO_MORE,
	};
	uint64_t seed = 5321;

	(void)state;
	for (unsigned i = 0; i < 90; i++) {
		struct drive_dialogue dialogue = {
			.name = "by chance",
			.end = (enum drive_end)chance(&seed, 3),
		};
		struct text input = { .data = NULL };
		struct text said = { .data = NULL };

		usual_server();
		server.options.bare_lf = (enum dot_bare_lf)(i % 3);
		server.options.max_size = chance(&seed, 60) + 1;
		server.options.login_required = chance(&seed, 3) == 0;
		server.answers = i % 2 == 0 ? answers : NULL;
		if (chance(&seed, 4) != 0)
			text_add(&input, SLICE("HELO me\r\n"));
		if (chance(&seed, 2) != 0)
			text_add(&input, SLICE("AUTH PLAIN " PLAIN_JOE
			    "\r\n" MAIL RCPT));
		for (unsigned n = chance(&seed, 25); n > 0; n--)
			add_random_line(&input, &seed);
		dialogue.input = text_slice(&input);
		drive_agree(&core, dialogue, &said);
		check_replies(text_slice(&said));
		text_free(&said);
		text_free(&input);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_mail),
		cmocka_unit_test(test_rcpt),
		cmocka_unit_test(test_too_many_recipients),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_login_policy),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_starttls_refused),
		cmocka_unit_test(test_starttls_ended),
		cmocka_unit_test(test_secrets_wiped),
		cmocka_unit_test(test_max_size),
		cmocka_unit_test(test_bare_line_ends),
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_many_reasons),
		cmocka_unit_test(test_bare_lf_commands),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_421_anywhere),
		cmocka_unit_test(test_long_answers),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_long_response),
		cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_bad_commands_forgiven),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_tells_the_pump),
		cmocka_unit_test(test_transcript),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("smtp", tests, NULL, tear_down);
}
