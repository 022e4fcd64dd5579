/*
 * test_smtp_extensions.c - what EHLO offers, and what comes of it: SMTPUTF8
 * (RFC 6531), DSN (RFC 3461), LIMITS (RFC 9422), LMTP (RFC 2033), and BDAT
 * (RFC 3030) among all the other commands. What chunks do with text is in
 * test_smtp_bdat.c.
 */
#include "smtp_drive.h"

#define GREETING "220 h ESMTP ready\r\n"
#define EHLO_HEAD "250-h\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" \
	"250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
#define EHLO_TAIL "250-HELP\r\n250 ENHANCEDSTATUSCODES\r\n"
#define EHLO_OK EHLO_HEAD EHLO_TAIL
#define OK "250 2.0.0 Ok\r\n"
#define SENDER_OK "250 2.1.0 Ok\r\n"
#define RCPT_OK "250 2.1.5 Ok\r\n"
#define KEPT "250 2.0.0 Ok, kept\r\n"
#define TAKEN "250 2.0.0 Ok, go on\r\n"
#define GO_ON "354 End data with <CR><LF>.<CR><LF>\r\n"
#define BYE "221 2.0.0 Bye\r\n"
#define VRFY_OK "252 2.5.0 Cannot verify, send mail and see\r\n"
#define UNKNOWN "500 5.5.1 Unknown command\r\n"
#define TOO_LONG "500 5.5.2 Line too long\r\n"
#define BAD_OCTETS "500 5.5.2 Control characters in a command\r\n"
#define HELLO_SYNTAX "501 A host name is needed\r\n"
#define ARGUMENTS "501 5.5.4 Wrong arguments\r\n"
#define PARAMETER "501 5.5.4 Wrong parameter\r\n"
#define UNKNOWN_PARAMETER "555 5.5.4 Unknown parameter\r\n"
#define BAD_SENDER "501 5.1.7 Not an address: <name@domain> is expected, or " \
	"<>\r\n"
#define BAD_RCPT "501 5.1.3 Not an address: <name@domain> is expected\r\n"
#define NOT_ASCII "553 5.6.7 This address would need SMTPUTF8\r\n"
#define NOT_IMPLEMENTED "502 5.5.1 Not implemented\r\n"
#define HELLO_FIRST "503 5.5.1 EHLO comes first\r\n"
#define NESTED "503 5.5.1 There is a sender already\r\n"
#define MAIL_FIRST "503 5.5.1 MAIL comes first\r\n"
#define RCPT_FIRST "503 5.5.1 No recipient yet\r\n"
#define RSET_FIRST "503 5.5.1 Not after BDAT, RSET comes first\r\n"
#define TOO_BIG "552 5.3.4 Message too big\r\n"
#define TOO_MANY "452 4.5.3 Too many recipients, send the rest in another " \
	"message\r\n"
#define TIMED_OUT "421 4.4.2 Took too long, closing\r\n"
#define STOPPING "421 4.3.2 Shutting down\r\n"
#define CHUNK_SYNTAX "501 5.5.4 Syntax: BDAT octets [LAST]\r\n"

#define EHLO "EHLO x\r\n"
#define MAIL "MAIL FROM:<a@b>\r\n"
#define RCPT "RCPT TO:<c@d>\r\n"
#define ENVELOPE MAIL RCPT
#define ENVELOPE_OK SENDER_OK RCPT_OK
#define ENVELOPE_EVENTS "mail a@b\nrcpt c@d\n"

static const struct smtp_options usual = {
	.hostname = "h", .max_size = 1000,
};

/* The whole dialogue, greeting and all. */
static void
check_end(struct smtp_drive *d, struct slice input, struct slice output,
    struct slice events, enum drive_end end, bool closes)
{
	const struct drive_core core = {
		.in_min = SMTP_IN_MIN, .out_min = SMTP_OUT_MIN, .arg = d,
		.start = smtp_drive_start, .run = smtp_drive_run,
	};

	drive_replay_edges(&core, &(struct drive_dialogue){
	    .name = "extension", .input = input, .output = output,
	    .events = events, .end = end, .closes = closes },
	    input.len > 4096 ? 16 : SIZE_MAX);
}

static void
check(struct smtp_drive *d, const char *input, const char *output,
    const char *events, bool closes)
{
	check_end(d, slice_from(input), slice_from(output),
	    slice_from(events), DRIVE_EOF, closes);
}

/* ---- EHLO ---- */

/* It lists what works now, and nothing else. */
static void
test_ehlo(void **state)
{
	struct smtp_drive d = { .options = usual };

	(void)state;
	check(&d, EHLO, GREETING EHLO_OK, "", false);
	d.options.dsn = true;
	check(&d, EHLO, GREETING EHLO_HEAD "250-DSN\r\n" EHLO_TAIL, "",
	    false);
	d.options.starttls = true;
	d.options.max_recipients = 1;
	check(&d, EHLO, GREETING EHLO_HEAD "250-DSN\r\n250-STARTTLS\r\n"
	    "250-LIMITS RCPTMAX=1\r\n" EHLO_TAIL, "", false);
	d.options.login = SMTP_LOGIN_NEEDS_TLS;
	check(&d, EHLO, GREETING EHLO_HEAD "250-DSN\r\n250-STARTTLS\r\n"
	    "250-LIMITS RCPTMAX=1\r\n" EHLO_TAIL, "", false);
	d.options.login = SMTP_LOGIN_OFFERED;
	d.options.max_recipients = UINT64_MAX;
	check(&d, EHLO, GREETING EHLO_HEAD "250-DSN\r\n250-STARTTLS\r\n"
	    "250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n"
	    "250-LIMITS RCPTMAX=18446744073709551615\r\n" EHLO_TAIL, "",
	    false);
	/* HELO knows none of it. */
	check(&d, "HELO x\r\n", GREETING "250 h\r\n", "", false);
	d.options = usual;
	d.options.max_size = UINT64_MAX;
	check(&d, EHLO, GREETING "250-h\r\n250-PIPELINING\r\n"
	    "250-SIZE 18446744073709551615\r\n250-8BITMIME\r\n"
	    "250-CHUNKING\r\n250-SMTPUTF8\r\n" EHLO_TAIL, "", false);
}

/* ---- SMTPUTF8 ---- */

#define JOE "j\xC3\xB6@b\xC3\xBC" "ro.test"

static void
test_smtputf8(void **state)
{
	static const struct { const char *lines, *replies, *events; }
	rows[] = {
		{ "MAIL FROM:<" JOE "> SMTPUTF8\r\nRCPT TO:<" JOE ">\r\n",
		    SENDER_OK RCPT_OK,
		    "mail " JOE " utf8\nrcpt " JOE "\n" },
		{ "MAIL FROM:<a@b> smtputf8 BODY=8BITMIME\r\n"
		    "RCPT TO:<" JOE ">\r\n" RCPT, SENDER_OK RCPT_OK RCPT_OK,
		    "mail a@b utf8\nrcpt " JOE "\nrcpt c@d\n" },
		{ "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<\"\xE2\x82\xAC\"@d>"
		    "\r\n", SENDER_OK RCPT_OK,
		    "mail  utf8\nrcpt \"\xE2\x82\xAC\"@d\n" },
		/* It must be asked for, in this transaction. */
		{ "MAIL FROM:<" JOE ">\r\n" MAIL "RCPT TO:<" JOE ">\r\n"
		    RCPT, NOT_ASCII SENDER_OK NOT_ASCII RCPT_OK,
		    ENVELOPE_EVENTS },
		{ "MAIL FROM:<" JOE "> SMTPUTF8\r\nRSET\r\nMAIL FROM:<" JOE
		    ">\r\n" MAIL "RCPT TO:<" JOE ">\r\n",
		    SENDER_OK OK NOT_ASCII SENDER_OK NOT_ASCII,
		    "mail " JOE " utf8\nreset\nmail a@b\n" },
		{ "MAIL FROM:<a@b> SMTPUTF8 X=1\r\n" MAIL
		    "RCPT TO:<" JOE ">\r\n",
		    UNKNOWN_PARAMETER SENDER_OK NOT_ASCII, "mail a@b\n" },
		{ "MAIL FROM:<a@b> SMTPUTF8=1\r\n"
		    "MAIL FROM:<a@b> SMTPUTF8=\r\n"
		    "MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8\r\n"
		    "MAIL FROM:<a@b>SMTPUTF8\r\n",
		    PARAMETER PARAMETER PARAMETER PARAMETER, "" },
		{ MAIL "RCPT TO:<c@d> SMTPUTF8\r\n",
		    SENDER_OK UNKNOWN_PARAMETER, "mail a@b\n" },
		/* What is no UTF-8 is no address either way. */
		{ "MAIL FROM:<j\xF6@b> SMTPUTF8\r\nMAIL FROM:<j\xF6@b>\r\n"
		    "MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<\xC0\xAE@b>\r\n",
		    BAD_SENDER BAD_SENDER SENDER_OK BAD_RCPT,
		    "mail a@b utf8\n" },
		/* The source route was said too, though it is ignored. */
		{ "MAIL FROM:<@\xC3\xA4:a@b>\r\n"
		    "MAIL FROM:<@\xC3\xA4:a@b> SMTPUTF8\r\n"
		    "RCPT TO:<@\xC3\xA4:c@d>\r\n",
		    NOT_ASCII SENDER_OK RCPT_OK,
		    "mail a@b utf8\nrcpt c@d\n" },
		/* RFC 6531 3.7.4.2. */
		{ "VRFY " JOE "\r\nVRFY " JOE " SMTPUTF8\r\n"
		    "VRFY joe smtputf8 \r\nVRFY SMTPUTF8\r\n"
		    "VRFY \xF6 SMTPUTF8\r\nVRFY xSMTPUTF8\r\nVRFY\r\n"
		    "VRFY " JOE " SMTPUTF7\r\n",
		    NOT_ASCII VRFY_OK VRFY_OK VRFY_OK ARGUMENTS VRFY_OK
		    ARGUMENTS NOT_ASCII, "" },
	};
	struct smtp_drive d = { .options = usual };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };

		text_format(&input, EHLO "%s", rows[i].lines);
		text_format(&output, GREETING EHLO_OK "%s", rows[i].replies);
		check(&d, input.data, output.data, rows[i].events, false);
		text_free(&input);
		text_free(&output);
	}
}

/* ---- DSN ---- */

/* One line after "MAIL FROM:<a@b>" or "RCPT TO:<c@d>", and what came. */
struct parameters {
	const char *parameters;
	const char *reply;
	const char *event; /* NULL: none */
};

static const struct parameters mail_rows[] = {
	{ "", SENDER_OK, "" },
	{ " RET=FULL", SENDER_OK, " ret full" },
	{ " ret=hdrs", SENDER_OK, " ret hdrs" },
	{ " RET=HDR", PARAMETER, NULL },
	{ " RET=", PARAMETER, NULL },
	{ " RET", PARAMETER, NULL },
	{ " RET=FULL RET=FULL", PARAMETER, NULL },
	{ " ENVID=QQ314159", SENDER_OK, " envid QQ314159" },
	/* It is kept as it was, encoded. */
	{ " ENVID=a+2Bb+3Dc RET=HDRS", SENDER_OK,
	    " ret hdrs envid a+2Bb+3Dc" },
	{ " ENVID=", PARAMETER, NULL },
	{ " ENVID", PARAMETER, NULL },
	{ " ENVID=a=b", PARAMETER, NULL },
	{ " ENVID=a+b", PARAMETER, NULL },
	{ " ENVID=a+2b", PARAMETER, NULL },
	{ " ENVID=+", PARAMETER, NULL },
	{ " ENVID=\xC3\xA4", PARAMETER, NULL },
	/* nodemailer's smtp-server; RFC 3461 4.4: printable when decoded. */
	{ " ENVID=ab+0D+0Acd", PARAMETER, NULL },
	{ " ENVID=+00", PARAMETER, NULL },
	{ " ENVID=+1F", PARAMETER, NULL },
	{ " ENVID=a+20b+7E", SENDER_OK, " envid a+20b+7E" },
	{ " ENVID=+7F", PARAMETER, NULL },
	{ " ENVID=+C3+A4", PARAMETER, NULL },
	{ " ENVID=a ENVID=a", PARAMETER, NULL },
	{ " NOTIFY=NEVER", UNKNOWN_PARAMETER, NULL },
};

static const struct parameters rcpt_rows[] = {
	{ "", RCPT_OK, "" },
	{ " NOTIFY=NEVER", RCPT_OK, " never" },
	{ " NOTIFY=SUCCESS", RCPT_OK, " success" },
	{ " notify=failure,Delay", RCPT_OK, " failure delay" },
	{ " NOTIFY=DELAY,SUCCESS,FAILURE", RCPT_OK,
	    " success failure delay" },
	{ " NOTIFY=SUCCESS,SUCCESS", RCPT_OK, " success" },
	{ " NOTIFY=NEVER,SUCCESS", PARAMETER, NULL },
	{ " NOTIFY=SUCCESS,NEVER", PARAMETER, NULL },
	{ " NOTIFY=", PARAMETER, NULL },
	{ " NOTIFY", PARAMETER, NULL },
	{ " NOTIFY=,", PARAMETER, NULL },
	{ " NOTIFY=SUCCESS,", PARAMETER, NULL },
	{ " NOTIFY=,SUCCESS", PARAMETER, NULL },
	{ " NOTIFY=SUCCES", PARAMETER, NULL },
	{ " NOTIFY=SUCCESS;DELAY", PARAMETER, NULL },
	{ " NOTIFY=DELAY NOTIFY=DELAY", PARAMETER, NULL },
	{ " ORCPT=rfc822;Joe@X.test", RCPT_OK,
	    " orcpt rfc822;Joe@X.test" },
	{ " ORCPT=x.400;a", PARAMETER, NULL }, /* a dot is in no atom */
	{ " ORCPT=X-!#;a+2Bb NOTIFY=NEVER", RCPT_OK,
	    " never orcpt X-!#;a+2Bb" },
	{ " ORCPT=!~;a", RCPT_OK, " orcpt !~;a" },
	{ " ORCPT=(a;b", PARAMETER, NULL },
	{ " ORCPT=\xC3\xA4;a", PARAMETER, NULL },
	{ " ORCPT=rfc822;", PARAMETER, NULL },
	{ " ORCPT=;a", PARAMETER, NULL },
	{ " ORCPT=a", PARAMETER, NULL },
	{ " ORCPT=", PARAMETER, NULL },
	{ " ORCPT=a@b;c", PARAMETER, NULL },
	{ " ORCPT=rfc822;a+b", PARAMETER, NULL },
	{ " ORCPT=rfc822;a=b", PARAMETER, NULL },
	{ " ORCPT=rfc822;a+0D+0ABcc:+20x@y", PARAMETER, NULL },
	{ " ORCPT=rfc822;a+20b@c", RCPT_OK, " orcpt rfc822;a+20b@c" },
	{ " ORCPT=rfc822;a+E4@b", PARAMETER, NULL },
	{ " ORCPT=utf-8;a+0D@b", PARAMETER, NULL },
	{ " ORCPT=utf-8;a+00@b", PARAMETER, NULL },
	/* What is no xtext hides nothing. */
	{ " ORCPT=utf-8;a@b+", RCPT_OK, " orcpt utf-8;a@b+" },
	{ " ORCPT=utf-8;a+b@c", RCPT_OK, " orcpt utf-8;a+b@c" },
	{ " ORCPT=utf-8;a\\x{D}\\x{A}@b", PARAMETER, NULL },
	{ " ORCPT=utf-8;a\\X{0000a}@b", PARAMETER, NULL },
	{ " ORCPT=utf-8;a\\x{7f}@b", PARAMETER, NULL },
	{ " ORCPT=utf-8;\\x{4a}\\x{4F}@b", RCPT_OK,
	    " orcpt utf-8;\\x{4a}\\x{4F}@b" },
	{ " ORCPT=utf-8;a\\x{", PARAMETER, NULL },
	{ " ORCPT=utf-8;a\\x{100000000000D}@b", RCPT_OK,
	    " orcpt utf-8;a\\x{100000000000D}@b" },
	{ " ORCPT=rfc822;a;b", RCPT_OK, " orcpt rfc822;a;b" },
	{ " ORCPT=rfc822;\xC3\xA4", PARAMETER, NULL },
	{ " ORCPT=utf-8;a\\x{E4}@b", RCPT_OK,
	    " orcpt utf-8;a\\x{E4}@b" },
	{ " ORCPT=utf-8;\xC3\xA4@b", PARAMETER, NULL },
	{ " ORCPT=a;b ORCPT=a;b", PARAMETER, NULL },
	{ " RET=FULL", UNKNOWN_PARAMETER, NULL },
};

static void
check_parameters(const struct parameters *row, bool rcpt, bool dsn)
{
	struct smtp_drive d = { .options = usual };
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };
	const char *reply = row->reply;
	const char *event = row->event;

	/* Where it is not offered nothing of it is known. */
	d.options.dsn = dsn;
	if (!dsn && row->parameters[0] != '\0') {
		reply = UNKNOWN_PARAMETER;
		event = NULL;
	}
	text_format(&input, EHLO "%s%s%s\r\n", rcpt ? MAIL : "", rcpt
	    ? "RCPT TO:<c@d>" : "MAIL FROM:<a@b>", row->parameters);
	text_format(&output, GREETING EHLO_HEAD "%s" EHLO_TAIL "%s%s",
	    dsn ? "250-DSN\r\n" : "", rcpt ? SENDER_OK : "", reply);
	text_format(&events, "%s", rcpt ? "mail a@b\n" : "");
	if (event != NULL)
		text_format(&events, "%s%s\n", rcpt ? "rcpt c@d" : "mail a@b",
		    event);
	check(&d, input.data, output.data, events.len > 0 ? events.data : "",
	    false);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

static void
test_dsn(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mail_rows); i++) {
		check_parameters(&mail_rows[i], false, true);
		check_parameters(&mail_rows[i], false, false);
	}
	for (size_t i = 0; i < COUNT(rcpt_rows); i++) {
		check_parameters(&rcpt_rows[i], true, true);
		check_parameters(&rcpt_rows[i], true, false);
	}
}

/* 100 octets of ENVID, 500 of ORCPT (RFC 3461 4.4, 4.2). */
static void
test_dsn_lengths(void **state)
{
	(void)state;
	for (size_t len = 99; len <= 102; len++) {
		struct text parameter = { .data = NULL };
		struct text event = { .data = NULL };

		text_add(&parameter, SLICE(" ENVID="));
		text_repeat(&parameter, 'x', len);
		text_add(&event, SLICE(" envid "));
		text_repeat(&event, 'x', len);
		check_parameters(&(struct parameters){ parameter.data,
		    len <= 100 ? SENDER_OK : PARAMETER,
		    len <= 100 ? event.data : NULL }, false, true);
		text_free(&parameter);
		text_free(&event);
	}
	for (size_t len = 499; len <= 502; len++) {
		struct text parameter = { .data = NULL };
		struct text event = { .data = NULL };

		text_add(&parameter, SLICE(" ORCPT=rfc822;"));
		text_repeat(&parameter, 'x', len - 7);
		text_add(&event, SLICE(" orcpt rfc822;"));
		text_repeat(&event, 'x', len - 7);
		check_parameters(&(struct parameters){ parameter.data,
		    len <= 500 ? RCPT_OK : PARAMETER,
		    len <= 500 ? event.data : NULL }, true, true);
		text_free(&parameter);
		text_free(&event);
	}
}

/* Nothing of one recipient, or transaction, comes to the next. */
static void
test_dsn_forgotten(void **state)
{
	struct smtp_drive d = { .options = usual };

	(void)state;
	d.options.dsn = true;
	check(&d, EHLO
	    "MAIL FROM:<a@b> RET=HDRS ENVID=1\r\n"
	    "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=a;b\r\nRCPT TO:<e@f>\r\n"
	    "RSET\r\n" MAIL RCPT
	    "RSET\r\nMAIL FROM:<a@b> ENVID=1 X=1\r\n" MAIL
	    "RCPT TO:<c@d> NOTIFY=DELAY X=1\r\n" RCPT,
	    GREETING EHLO_HEAD "250-DSN\r\n" EHLO_TAIL
	    SENDER_OK RCPT_OK RCPT_OK OK SENDER_OK RCPT_OK OK
	    UNKNOWN_PARAMETER SENDER_OK UNKNOWN_PARAMETER RCPT_OK,
	    "mail a@b ret hdrs envid 1\nrcpt c@d never orcpt a;b\n"
	    "rcpt e@f\nreset\n" ENVELOPE_EVENTS "reset\n" ENVELOPE_EVENTS,
	    false);
	/* With SMTPUTF8 an original recipient may be UTF-8. */
	check(&d, EHLO "MAIL FROM:<a@b> SMTPUTF8\r\n"
	    "RCPT TO:<c@d> ORCPT=utf-8;\xC3\xA4@b\r\n"
	    "RCPT TO:<c@d> ORCPT=utf-8;\xC3@b\r\n"
	    "RCPT TO:<c@d> ORCPT=utf-8;a=b\r\n",
	    GREETING EHLO_HEAD "250-DSN\r\n" EHLO_TAIL
	    SENDER_OK RCPT_OK PARAMETER PARAMETER,
	    "mail a@b utf8\nrcpt c@d orcpt utf-8;\xC3\xA4@b\n", false);
	/* A refused recipient leaves no octet of ORCPT behind: the room for
	 * them does not get less. */
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };
	text_add(&input, SLICE(EHLO MAIL));
	text_add(&output, SLICE(GREETING EHLO_HEAD "250-DSN\r\n" EHLO_TAIL
	    SENDER_OK));
	text_add(&events, SLICE("mail a@b\n"));
	for (int i = 0; i < 40; i++) {
		text_add(&input, SLICE("RCPT TO:<c@d> ORCPT=a;"));
		text_repeat(&input, 'x', 400);
		text_add(&input, SLICE("\r\n"));
		text_add(&output, SLICE("550 5.1.1 No\r\n"));
		text_add(&events, SLICE("rcpt c@d orcpt a;"));
		text_repeat(&events, 'x', 400);
		text_add(&events, SLICE("\n"));
	}
	d.rcpt_reply = (struct smtp_reply){ 550, "5.1.1", SLICE("No") };
	check(&d, input.data, output.data, events.data, false);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* No room for what was said of a recipient: no recipient. */
static void
test_dsn_no_room(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };
	size_t used = 3; /* of sizeof(d.text), by the sender */

	(void)state;
	d.options.dsn = true;
	text_add(&input, SLICE(EHLO MAIL));
	text_add(&output, SLICE(GREETING EHLO_HEAD "250-DSN\r\n" EHLO_TAIL
	    SENDER_OK));
	text_add(&events, SLICE("mail a@b\n"));
	for (int i = 0; i < 5; i++) {
		/* A path of 1400 and an original recipient of 400. */
		bool fits = used + 1802 <= sizeof(d.text);

		text_add(&input, SLICE("RCPT TO:<"));
		text_repeat(&input, 'l', 1400);
		text_add(&input, SLICE("@d> ORCPT=a;"));
		text_repeat(&input, 'x', 398);
		text_add(&input, SLICE("\r\n"));
		text_format(&output, "%s", fits ? RCPT_OK : TOO_MANY);
		if (!fits)
			continue;
		used += 1802;
		text_add(&events, SLICE("rcpt "));
		text_repeat(&events, 'l', 1400);
		text_add(&events, SLICE("@d orcpt a;"));
		text_repeat(&events, 'x', 398);
		text_add(&events, SLICE("\n"));
	}
	check_end(&d, text_slice(&input), text_slice(&output),
	    text_slice(&events), DRIVE_EOF, false);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* ---- BDAT among the others ---- */

#define BDAT "BDAT 1\r\nx"
#define FAIL "BDAT 1\r\n\n"
#define BARE_LF_TEXT "550 5.6.0 An LF without CR in the message\r\n"

/* Every command between two chunks, and after one that failed. */
static void
test_chunk_states(void **state)
{
	static const struct {
		const char *command;
		const char *between, *between_event;
		const char *after, *after_event; /* NULL: the same */
		bool closes;
	} rows[] = {
		{ "EHLO x", EHLO_OK, "reset\n", NULL, "", false },
		{ "HELO x", "250 h\r\n", "reset\n", NULL, "", false },
		{ "EHLO", HELLO_SYNTAX, "", NULL, NULL, false },
		{ "LHLO x", UNKNOWN, "", NULL, NULL, false },
		{ "STARTTLS", NOT_IMPLEMENTED, "", NULL, NULL, false },
		{ "AUTH PLAIN", RSET_FIRST, "", NULL, NULL, false },
		{ "MAIL FROM:<e@f>", NESTED, "", RSET_FIRST, "", false },
		{ "RCPT TO:<e@f>", RSET_FIRST, "", NULL, NULL, false },
		{ "DATA", RSET_FIRST, "", NULL, NULL, false },
		{ "RSET", OK, "reset\n", NULL, "", false },
		{ "RSET x", ARGUMENTS, "", NULL, NULL, false },
		{ "NOOP", OK, "", NULL, NULL, false },
		{ "VRFY x", VRFY_OK, "", NULL, NULL, false },
		{ "EXPN x", NOT_IMPLEMENTED, "", NULL, NULL, false },
		{ "QUIT", BYE, "", NULL, NULL, true },
		{ "XYZZY", UNKNOWN, "", NULL, NULL, false },
		{ "NOOP \x01", BAD_OCTETS, "", NULL, NULL, false },
		{ "BDAT 0", TAKEN, "", RSET_FIRST, "", false },
		{ "BDAT 0 LAST", KEPT, "\n|\nend 1\n", RSET_FIRST, "",
		    false },
		{ "BDAT 4\r\nQUIT", TAKEN, "", RSET_FIRST, "", false },
		{ "BDAT x", CHUNK_SYNTAX, "reset\n", RSET_FIRST, "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct smtp_drive d = { .options = usual };
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };
		struct text events = { .data = NULL };
		const char *event = rows[i].between_event;
		const char *line_end =
		    strchr(rows[i].command, '\n') != NULL ? "" : "\r\n";

		text_format(&input, EHLO ENVELOPE BDAT "%s%s",
		    rows[i].command, line_end);
		text_format(&output, GREETING EHLO_OK ENVELOPE_OK TAKEN "%s",
		    rows[i].between);
		/* A reset takes back what was noted of the text; what was
		 * not reset has a bar after it at the end. */
		text_format(&events, ENVELOPE_EVENTS "begin\n%s%s%s",
		    strncmp(event, "reset", 5) == 0 ? "" :
		    strchr(rows[i].command, 'Q') != NULL &&
		    line_end[0] == '\0' ? "xQUIT" : "x",
		    event[0] == '\0' ? "|\n" : "",
		    event[0] == '\n' ? "\n|\nend 1\n" : event);
		check(&d, input.data, output.data, events.data,
		    rows[i].closes);

		input.len = output.len = events.len = 0;
		text_format(&input, EHLO ENVELOPE FAIL "%s%s",
		    rows[i].command, line_end);
		text_format(&output, GREETING EHLO_OK ENVELOPE_OK
		    BARE_LF_TEXT "%s", rows[i].after != NULL ? rows[i].after
		    : rows[i].between);
		text_format(&events, ENVELOPE_EVENTS "begin\nreset\n%s",
		    rows[i].after_event != NULL ? rows[i].after_event
		    : rows[i].between_event);
		check(&d, input.data, output.data, events.data,
		    rows[i].closes);
		text_free(&input);
		text_free(&output);
		text_free(&events);
	}
}

/* Where no chunk may come its octets are no commands all the same. */
static void
test_unwanted_chunks(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct text input = { .data = NULL };

	(void)state;
	check(&d, "BDAT 6 LAST\r\nQUIT\r\n" EHLO "BDAT 6 LAST\r\nQUIT\r\n"
	    MAIL "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
	    GREETING HELLO_FIRST EHLO_OK MAIL_FIRST SENDER_OK RCPT_FIRST
	    OK, "mail a@b\n", false);
	/* A message that has lost a piece is not mended by a recipient. */
	check(&d, EHLO MAIL "RCPT TO:<@>\r\nBDAT 5\r\naaaaa" RCPT
	    "BDAT 5 LAST\r\nbbbbbRSET\r\n" ENVELOPE BDAT "BDAT 0 LAST\r\n",
	    GREETING EHLO_OK SENDER_OK BAD_RCPT RCPT_FIRST RSET_FIRST
	    RSET_FIRST OK ENVELOPE_OK TAKEN KEPT,
	    "mail a@b\nreset\n" ENVELOPE_EVENTS "begin\nx\n|\nend 1\n",
	    false);
	/* In LMTP another greeting is missed. */
	d.options.lmtp = true;
	check(&d, "BDAT 6 LAST\r\nQUIT\r\n", "220 h LMTP ready\r\n"
	    "503 5.5.1 LHLO comes first\r\n", "", false);
	d.options.lmtp = false;
	/* A line that is too long, or has a control character. */
	text_add(&input, SLICE(EHLO ENVELOPE "BDAT 6"));
	text_repeat(&input, ' ', SMTP_LINE_MAX);
	text_add(&input, SLICE("\r\nQUIT\r\nRSET\r\n" ENVELOPE
	    "BDAT 6 \x01\r\nQUIT\r\nRSET\r\n"
	    "MAIL\tFROM:<a@b>\t \r\nRCPT \tTO:<c@d>\r\n"
	    "BDAT\t6 \r\nQUIT\r\nRSET\t\r\n"));
	check(&d, input.data, GREETING EHLO_OK ENVELOPE_OK TOO_LONG OK
	    ENVELOPE_OK BAD_OCTETS OK ENVELOPE_OK TAKEN OK,
	    ENVELOPE_EVENTS "reset\n"
	    ENVELOPE_EVENTS "reset\n"
	    ENVELOPE_EVENTS "begin\nreset\n", false);
	/* So long that nobody knows any more how many octets follow. */
	input.len = 0;
	text_add(&input, SLICE(EHLO ENVELOPE BDAT "BDAT"));
	text_repeat(&input, ' ', SASL_LINE_MAX);
	text_add(&input, SLICE("6\r\nNOOP\r\nBDAT 5 LAST\r\nbbbbb"));
	check(&d, input.data, GREETING EHLO_OK ENVELOPE_OK TAKEN
	    "521 5.5.4 Invalid chunk size, closing\r\n",
	    ENVELOPE_EVENTS "begin\nx|\n", true);
	text_free(&input);
}

/* Nonsense that calls itself a chunk is a bad command as any other. */
static void
test_bad_chunks(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };

	(void)state;
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 1; i <= 20; i++) {
		text_add(&input, SLICE(ENVELOPE "BDAT x\r\nRSET\r\n"));
		text_format(&output, ENVELOPE_OK "%s", i < 20
		    ? CHUNK_SYNTAX OK : "421 4.7.0 Too many bad commands\r\n");
		text_add(&events, SLICE(ENVELOPE_EVENTS "reset\n"));
	}
	check(&d, input.data, output.data, events.data, true);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* RFC 2920 3.1: a whole transaction in one go. What is behind a sender or
 * recipients that were refused is no fault of its own. */
static void
test_pipelined_behind_a_refusal(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };

	(void)state;
	text_add(&input, SLICE(EHLO));
	text_add(&output, SLICE(GREETING EHLO_OK));
	for (unsigned i = 0; i < 5; i++) {
		text_add(&input, SLICE("MAIL FROM:<a@b> SIZE=9999\r\n"));
		text_add(&output, SLICE(TOO_BIG));
		for (unsigned k = 0; k < 10; k++) {
			text_add(&input, SLICE(RCPT));
			text_add(&output, SLICE(MAIL_FIRST));
		}
		text_add(&input, SLICE("DATA\r\nBDAT 1\r\nxBDAT 0 LAST\r\n"));
		text_add(&output, SLICE(MAIL_FIRST MAIL_FIRST MAIL_FIRST));
	}
	text_add(&input, SLICE(ENVELOPE "RSET\r\n"));
	text_add(&output, SLICE(ENVELOPE_OK OK));
	/* And out of the blue it is one. */
	for (unsigned i = 1; i <= 20; i++) {
		text_add(&input, SLICE("DATA\r\n"));
		text_format(&output, "%s", i < 20 ? MAIL_FIRST
		    : "421 4.7.0 Too many bad commands\r\n");
	}
	check(&d, input.data, output.data, ENVELOPE_EVENTS "reset\n", true);
	text_free(&input);
	text_free(&output);
}

/* The end comes in a chunk, between two, in one nobody wants. */
static void
test_chunk_ends(void **state)
{
	static const struct { const char *input, *output, *events; }
	rows[] = {
		{ EHLO ENVELOPE "BDAT 9\r\nabc",
		    GREETING EHLO_OK ENVELOPE_OK,
		    ENVELOPE_EVENTS "begin\nabc|\n" },
		{ EHLO ENVELOPE "BDAT 9\r\n", GREETING EHLO_OK ENVELOPE_OK,
		    ENVELOPE_EVENTS "begin\n" },
		{ EHLO ENVELOPE "BDAT 3\r\nabc",
		    GREETING EHLO_OK ENVELOPE_OK TAKEN,
		    ENVELOPE_EVENTS "begin\nabc|\n" },
		{ EHLO "BDAT 9\r\nabc", GREETING EHLO_OK, "" },
		{ EHLO ENVELOPE FAIL, GREETING EHLO_OK ENVELOPE_OK
		    BARE_LF_TEXT, ENVELOPE_EVENTS "begin\nreset\n" },
	};
	static const struct { enum drive_end end; const char *last; }
	ends[] = {
		{ DRIVE_EOF, "" }, { DRIVE_TIMEOUT, TIMED_OUT },
		{ DRIVE_STOPPING, STOPPING },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = 0; k < COUNT(ends); k++) {
			struct smtp_drive d = { .options = usual };
			struct text output = { .data = NULL };

			text_format(&output, "%s%s", rows[i].output,
			    ends[k].last);
			check_end(&d, slice_from(rows[i].input),
			    text_slice(&output), slice_from(rows[i].events),
			    ends[k].end, false);
			text_free(&output);
		}
}

/* A chunk's octets are text, for whoever counts the time. */
static void
test_chunk_tells_the_pump(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct drive drive = { .plan = { .drain = 0 } };
	struct guarded in, out;
	static const struct { const char *input; bool text; } rows[] = {
		{ EHLO ENVELOPE, false }, { "BDAT 3\r\n", true },
		{ "ab", true }, { "c", false }, { "BDAT 1\r\n", true },
		{ "\n", false }, { "BDAT 2\r\n", true }, { "x", true },
		{ "x", false }, { "RSET\r\n", false },
		{ ENVELOPE "BDAT 0\r\n", false },
		{ "BDAT 0 LAST\r\n", false },
	};

	(void)state;
	guarded_new(&in, SMTP_IN_MIN);
	guarded_new(&out, SMTP_OUT_MIN);
	drive.wire = smtp_drive_start(&d, in.data, in.size, out.data,
	    out.size);
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(buf_append(&drive.wire->in,
		    slice_from(rows[i].input)));
		do
			smtp_drive_run(&d, &drive);
		while (drive_drain(&drive));
		if (drive.wire->text != rows[i].text)
			fail_msg("row %zu", i);
	}
	text_free(&drive.sent);
	text_free(&drive.events);
	guarded_free(&in);
	guarded_free(&out);
}

/* ---- REQUIRETLS ---- */

static void
test_requiretls(void **state)
{
	struct smtp_drive d = { .options = usual };

	(void)state;
	check(&d, EHLO "MAIL FROM:<a@b> REQUIRETLS\r\n" RCPT, GREETING
	    EHLO_OK UNKNOWN_PARAMETER MAIL_FIRST, "", false);
	d.options.requiretls = true;
	check(&d, EHLO "MAIL FROM:<a@b> RequireTLS SIZE=9\r\nRCPT TO:<c@d> "
	    "REQUIRETLS\r\n" RCPT "RSET\r\n" MAIL "RSET\r\n"
	    "MAIL FROM:<> REQUIRETLS=\r\nMAIL FROM:<> REQUIRETLS "
	    "REQUIRETLS\r\n", GREETING EHLO_HEAD "250-REQUIRETLS\r\n"
	    EHLO_TAIL SENDER_OK UNKNOWN_PARAMETER RCPT_OK OK SENDER_OK OK
	    PARAMETER PARAMETER,
	    "mail a@b requiretls\nrcpt c@d\nreset\nmail a@b\nreset\n",
	    false);
	/* RFC 8689 2: not before TLS. */
	d.options.starttls = true;
	check(&d, EHLO "MAIL FROM:<a@b> REQUIRETLS\r\n", GREETING EHLO_HEAD
	    "250-STARTTLS\r\n" EHLO_TAIL UNKNOWN_PARAMETER, "", false);
}

/* ---- LMTP ---- */

#define LGREETING "220 h LMTP ready\r\n"
#define LHLO "LHLO x\r\n"

static void
test_lmtp_commands(void **state)
{
	struct smtp_drive d = { .options = usual };

	(void)state;
	check(&d, "LHLO x\r\nNOOP\r\n", GREETING UNKNOWN OK, "", false);
	d.options.lmtp = true;
	check(&d, MAIL "EHLO x\r\nHELO x\r\nLHLO\r\nlhlo x\r\nHELP\r\n" MAIL
	    LHLO MAIL, LGREETING "503 5.5.1 LHLO comes first\r\n" UNKNOWN
	    UNKNOWN HELLO_SYNTAX EHLO_OK
	    "214-2.0.0 Commands: LHLO STARTTLS AUTH MAIL RCPT DATA BDAT "
	    "RSET NOOP VRFY EXPN HELP QUIT\r\n214 2.0.0 See RFC 2033\r\n"
	    SENDER_OK EHLO_OK SENDER_OK,
	    "mail a@b\nreset\nmail a@b\n", false);
}

/* As many long replies as there are recipients, through an out that holds
 * only one of them. */
static void
test_lmtp_long_replies(void **state)
{
	struct smtp_drive d = { .options = usual };
	struct text reply = { .data = NULL };
	struct text input = { .data = NULL };
	struct text output = { .data = NULL };
	struct text events = { .data = NULL };

	(void)state;
	d.options.lmtp = true;
	text_repeat(&reply, 'x', 2000);
	text_add(&reply, SLICE("\n"));
	text_repeat(&reply, 'y', 2000);
	d.end_reply = (struct smtp_reply){ 452, "4.2.2",
		text_slice(&reply) };
	text_add(&input, SLICE(LHLO MAIL));
	text_add(&output, SLICE(LGREETING EHLO_OK SENDER_OK));
	text_add(&events, SLICE("mail a@b\n"));
	for (int i = 0; i < 8; i++) {
		text_format(&input, "RCPT TO:<r%d@d>\r\n", i);
		text_add(&output, SLICE(RCPT_OK));
		text_format(&events, "rcpt r%d@d\n", i);
	}
	text_add(&input, SLICE("DATA\r\n.\r\nNOOP\r\n"));
	text_add(&output, SLICE(GO_ON));
	for (int i = 0; i < 8; i++)
		text_format(&output, "452-4.2.2 %.2000s\r\n452 4.2.2 %s\r\n",
		    reply.data, reply.data + 2001);
	text_add(&output, SLICE(OK));
	text_add(&events, SLICE("begin\nend 0\n"));
	check(&d, input.data, output.data, events.data, false);
	text_free(&reply);
	text_free(&input);
	text_free(&output);
	text_free(&events);
}

/* Each recipient's own, asked in turn, by DATA and by BDAT. */
static void
test_lmtp_verdicts(void **state)
{
	static const struct smtp_reply verdicts[] = {
		{ .code = 0 }, { 552, "5.2.2", SLICE("Mailbox full") },
		{ 250, "2.1.5", SLICE("Kept twice") },
	};
	struct smtp_drive d = { .options = usual, .end_replies = verdicts };
	struct smtp_drive gone = d;

	(void)state;
	d.options.lmtp = true;
	check(&d, LHLO ENVELOPE RCPT RCPT "DATA\r\nx\r\n.\r\n"
	    ENVELOPE RCPT "BDAT 0 LAST\r\nNOOP\r\n",
	    LGREETING EHLO_OK ENVELOPE_OK RCPT_OK RCPT_OK GO_ON KEPT
	    "552 5.2.2 Mailbox full\r\n250 2.1.5 Kept twice\r\n"
	    ENVELOPE_OK RCPT_OK KEPT "552 5.2.2 Mailbox full\r\n" OK,
	    ENVELOPE_EVENTS "rcpt c@d\nrcpt c@d\nbegin\nx\n|\nend 3\n"
	    ENVELOPE_EVENTS "rcpt c@d\nbegin\nend 0\n", false);
	/* One who says 421 ends it for those behind, too. */
	static const struct smtp_reply going[] = {
		{ .code = 0 }, { 421, "4.3.2", SLICE("Going") },
	};
	gone.options.lmtp = true;
	gone.end_replies = going;
	check(&gone, LHLO ENVELOPE RCPT RCPT "DATA\r\n.\r\nNOOP\r\n",
	    LGREETING EHLO_OK ENVELOPE_OK RCPT_OK RCPT_OK GO_ON KEPT
	    "421 4.3.2 Going\r\n",
	    ENVELOPE_EVENTS "rcpt c@d\nrcpt c@d\nbegin\nend 0\n", true);
}

/* Whatever ends a session ends its transaction first, once. */
static void
test_one_end(void **state)
{
	static const struct {
		const char *input, *output, *events;
		bool closes;
	} rows[] = {
		{ "QUIT\r\n", BYE, "", true },
		{ MAIL "QUIT\r\n", SENDER_OK BYE, "mail a@b\nreset\n", true },
		{ MAIL, SENDER_OK, "mail a@b\nreset\n", false },
		{ ENVELOPE "DATA\r\nx", ENVELOPE_OK GO_ON,
		    ENVELOPE_EVENTS "begin\nreset\n", false },
		{ ENVELOPE "BDAT 1\r\nx", ENVELOPE_OK TAKEN,
		    ENVELOPE_EVENTS "begin\nreset\n", false },
		/* A chunk that failed was the end. */
		{ ENVELOPE "BDAT 1\r\n\nRSET\r\nQUIT\r\n",
		    ENVELOPE_OK BARE_LF_TEXT OK BYE,
		    ENVELOPE_EVENTS "begin\nreset\n", true },
		{ ENVELOPE "DATA\r\n.\r\nQUIT\r\n",
		    ENVELOPE_OK GO_ON KEPT BYE,
		    ENVELOPE_EVENTS "begin\nend 0\n", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct smtp_drive d = { .options = usual, .notes_ends = true };
		struct text input = { .data = NULL };
		struct text output = { .data = NULL };

		text_format(&input, EHLO "%s", rows[i].input);
		text_format(&output, GREETING EHLO_OK "%s", rows[i].output);
		check(&d, input.data, output.data, rows[i].events,
		    rows[i].closes);
		text_free(&input);
		text_free(&output);
	}
}

/* 421 is about the session: said once. */
static void
test_lmtp_421(void **state)
{
	struct smtp_drive d = { .options = usual };

	(void)state;
	d.options.lmtp = true;
	d.end_reply = (struct smtp_reply){ 421, "4.3.2", SLICE("Going") };
	check(&d, LHLO ENVELOPE RCPT "DATA\r\n.\r\nNOOP\r\n",
	    LGREETING EHLO_OK ENVELOPE_OK RCPT_OK GO_ON
	    "421 4.3.2 Going\r\n",
	    ENVELOPE_EVENTS "rcpt c@d\nbegin\nend 0\n", true);
	d.end_reply.code = 0;
	d.data_reply = (struct smtp_reply){ 421, "4.3.2", SLICE("Going") };
	check(&d, LHLO ENVELOPE RCPT "BDAT 1 LAST\r\nxNOOP\r\n",
	    LGREETING EHLO_OK ENVELOPE_OK RCPT_OK "421 4.3.2 Going\r\n",
	    ENVELOPE_EVENTS "rcpt c@d\nbegin\nreset\n", true);
	check(&d, LHLO ENVELOPE RCPT "BDAT 1\r\nxNOOP\r\n",
	    LGREETING EHLO_OK ENVELOPE_OK RCPT_OK "421 4.3.2 Going\r\n",
	    ENVELOPE_EVENTS "rcpt c@d\nbegin\nreset\n", true);
}

/* ---- by chance ---- */

static void
add_random_line(struct text *input, uint64_t *seed)
{
	static const char *const lines[] = {
		"EHLO me\r\n", "LHLO me\r\n", MAIL, MAIL, RCPT, RCPT,
		"MAIL FROM:<" JOE "> SMTPUTF8\r\n", "RCPT TO:<" JOE ">\r\n",
		"MAIL FROM:<a@b> RET=HDRS ENVID=1\r\n",
		"RCPT TO:<c@d> NOTIFY=DELAY ORCPT=a;b\r\n",
		"DATA\r\ntext\r\n.\r\n", "RSET\r\n", "RSET\r\n", "NOOP\r\n",
		"BDAT 0 LAST\r\n", "BDAT x\r\n", "VRFY x SMTPUTF8\r\n",
		"HELP\r\n", "XYZZY\r\n", "NOOP\n",
	};

	if (chance(seed, 3) != 0) {
		text_add(input, slice_from(lines[chance(seed,
		    COUNT(lines))]));
		return;
	}
	uint32_t n = chance(seed, 12);
	text_format(input, "BDAT %u%s\r\n", n,
	    chance(seed, 3) == 0 ? " LAST" : "");
	for (; n > 0; n--)
		text_repeat(input, "ab.\r\n\n\r."[chance(seed, 8)], 1);
}

static void
test_random(void **state)
{
	uint64_t seed = 3030;

	(void)state;
	for (unsigned i = 0; i < 120; i++) {
		struct smtp_drive d = { .options = usual };
		const struct drive_core core = {
			.in_min = SMTP_IN_MIN, .out_min = SMTP_OUT_MIN,
			.arg = &d, .start = smtp_drive_start,
			.run = smtp_drive_run,
		};
		struct text input = { .data = NULL };
		struct text said = { .data = NULL };

		d.options.lmtp = chance(&seed, 2) == 0;
		d.options.dsn = chance(&seed, 2) == 0;
		d.options.bare_lf = (enum dot_bare_lf)chance(&seed, 3);
		d.options.max_size = chance(&seed, 40) + 1;
		if (chance(&seed, 6) == 0)
			d.data_reply = (struct smtp_reply){ 452, "4.3.1",
				SLICE("full\nup") };
		if (chance(&seed, 6) == 0)
			d.end_reply = (struct smtp_reply){ 550, "5.7.1",
				SLICE("no") };
		text_format(&input, "%s", d.options.lmtp ? LHLO : EHLO);
		text_add(&input, SLICE(ENVELOPE RCPT));
		for (unsigned n = chance(&seed, 16); n > 0; n--)
			add_random_line(&input, &seed);
		drive_agree(&core, (struct drive_dialogue){
		    .name = "by chance", .input = text_slice(&input),
		    .end = (enum drive_end)chance(&seed, 3) }, &said);
		assert_true(slice_starts_with(text_slice(&said),
		    d.options.lmtp ? SLICE(LGREETING) : SLICE(GREETING)));
		text_free(&said);
		text_free(&input);
	}
}

/* What the machine refuses of a sender or a recipient by itself, the program
 * hears of, in order, and of nothing else. */
static void
test_refusals_are_told(void **state)
{
	struct smtp_drive d = { .options = usual, .notes_refusals = true };

	(void)state;
	d.options.login = SMTP_LOGIN_OFFERED;
	check(&d, EHLO "MAIL FROM:<a@b> SIZE=1001\r\n" "RCPT TO:<c@d>\r\n"
	    "DATA\r\nFOO\r\n" MAIL "mail from:<x>\r\n" "RCPT TO:<>\r\n"
	    "RCPT TO:<c@d> X\r\n" RCPT "QUIT\r\n",
	    GREETING EHLO_HEAD "250-AUTH PLAIN LOGIN\r\n"
	    "250-AUTH=PLAIN LOGIN\r\n" EHLO_TAIL TOO_BIG MAIL_FIRST
	    MAIL_FIRST UNKNOWN SENDER_OK NESTED BAD_RCPT UNKNOWN_PARAMETER
	    RCPT_OK BYE,
	    "refused 552 MAIL FROM:<a@b> SIZE=1001\n"
	    "refused 503 RCPT TO:<c@d>\nmail a@b\n"
	    "refused 503 mail from:<x>\nrefused 501 RCPT TO:<>\n"
	    "refused 555 RCPT TO:<c@d> X\nrcpt c@d\n", true);

	d.options.login = SMTP_LOGIN_NEEDS_TLS;
	check(&d, EHLO "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nQUIT\r\n",
	    GREETING EHLO_OK "538 5.7.11 Logins need TLS here\r\n" BYE,
	    "refused 538 AUTH\n", true);
	d.options.login = SMTP_LOGIN_OFFERED;

	d.options.login_required = true;
	check(&d, EHLO MAIL "QUIT\r\n",
	    GREETING EHLO_HEAD "250-AUTH PLAIN LOGIN\r\n"
	    "250-AUTH=PLAIN LOGIN\r\n" EHLO_TAIL
	    "530 5.7.0 Log in first\r\n" BYE,
	    "refused 530 MAIL FROM:<a@b>\n", true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_requiretls),
		cmocka_unit_test(test_smtputf8),
		cmocka_unit_test(test_dsn),
		cmocka_unit_test(test_dsn_lengths),
		cmocka_unit_test(test_dsn_forgotten),
		cmocka_unit_test(test_dsn_no_room),
		cmocka_unit_test(test_chunk_states),
		cmocka_unit_test(test_unwanted_chunks),
		cmocka_unit_test(test_bad_chunks),
		cmocka_unit_test(test_pipelined_behind_a_refusal),
		cmocka_unit_test(test_chunk_ends),
		cmocka_unit_test(test_chunk_tells_the_pump),
		cmocka_unit_test(test_lmtp_commands),
		cmocka_unit_test(test_lmtp_long_replies),
		cmocka_unit_test(test_lmtp_verdicts),
		cmocka_unit_test(test_one_end),
		cmocka_unit_test(test_lmtp_421),
		cmocka_unit_test(test_refusals_are_told),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("smtp_extensions", tests, NULL,
	    NULL);
}
