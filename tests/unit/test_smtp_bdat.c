/*
 * test_smtp_bdat.c - CHUNKING (RFC 3030): the machine stays in step with the
 * octets of chunks, whatever is wrong with them, however they are cut.
 */
#include "smtp_drive.h"

#define ENVELOPE "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define ENVELOPE_OK "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
#define ENVELOPE_EVENTS "mail a@b\nrcpt c@d\n"
#define TAKEN "250 2.0.0 Ok, go on\r\n"
#define KEPT "250 2.0.0 Ok, kept\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define RSET_FIRST "503 5.5.1 Not after BDAT, RSET comes first\r\n"
#define BARE_LF "550 5.6.0 An LF without CR in the message\r\n"
#define BARE_CR "550 5.6.0 A CR without LF in the message\r\n"
#define SYNTAX "501 5.5.4 Syntax: BDAT octets [LAST]\r\n"
#define TOO_BIG "552 5.3.4 Message too big\r\n"

struct row {
	const char *name;
	const char *input;
	const char *output;
	const char *events;
};

static void
replay(const struct row *rows, size_t n, struct smtp_drive d)
{
	for (size_t i = 0; i < n; i++)
		smtp_drive_replay(&d, rows[i].name, rows[i].input,
		    rows[i].output, rows[i].events, false);
}

static void
test_good(void **state)
{
	static const struct row rows[] = {
		{ "one chunk",
		    ENVELOPE "BDAT 5 LAST\r\nabc\r\nNOOP\r\n",
		    ENVELOPE_OK KEPT OK,
		    ENVELOPE_EVENTS "begin\nabc\n|\nend 5\n" },
		{ "several, the pair of CRLF in two",
		    ENVELOPE "BDAT 4\r\nabc\rbdat 3 last\r\n\nde",
		    ENVELOPE_OK TAKEN KEPT,
		    ENVELOPE_EVENTS "begin\nabc\nde\n|\nend 7\n" },
		{ "commands and dots are text",
		    ENVELOPE "BDAT 25\r\nQUIT\r\n.\r\n..\r\n.x\r\nRSET\r\n\r\n"
		    "BDAT 0 LAST\r\nNOOP\r\n",
		    ENVELOPE_OK TAKEN KEPT OK,
		    ENVELOPE_EVENTS
		    "begin\nQUIT\n.\n..\n.x\nRSET\n\n|\nend 25\n" },
		{ "nothing at all",
		    ENVELOPE "BDAT 0 LAST\r\n" ENVELOPE "BDAT 0\r\n"
		    "BDAT 000  LAST \r\n",
		    ENVELOPE_OK KEPT ENVELOPE_OK TAKEN KEPT,
		    ENVELOPE_EVENTS "begin\nend 0\n"
		    ENVELOPE_EVENTS "begin\nend 0\n" },
		{ "a line end alone, added",
		    ENVELOPE "BDAT 1 LAST\r\na", ENVELOPE_OK KEPT,
		    ENVELOPE_EVENTS "begin\na\n|\nend 1\n" },
		{ "NOOP and VRFY between chunks",
		    ENVELOPE "BDAT 2\r\nabNOOP\r\nVRFY x\r\n"
		    "BDAT 2 LAST\r\n\r\n",
		    ENVELOPE_OK TAKEN OK
		    "252 2.5.0 Cannot verify, send mail and see\r\n" KEPT,
		    ENVELOPE_EVENTS "begin\nab\n|\nend 4\n" },
		{ "given up in the middle",
		    ENVELOPE "BDAT 2\r\nabRSET\r\n" ENVELOPE
		    "DATA\r\n.\r\n",
		    ENVELOPE_OK TAKEN OK ENVELOPE_OK
		    "354 End data with <CR><LF>.<CR><LF>\r\n" KEPT,
		    ENVELOPE_EVENTS "begin\nreset\n" ENVELOPE_EVENTS
		    "begin\nend 0\n" },
		{ "the end in the middle of a chunk",
		    ENVELOPE "BDAT 9 LAST\r\nabc\r\n", ENVELOPE_OK,
		    ENVELOPE_EVENTS "begin\nabc\n|\n" },
	};

	(void)state;
	replay(rows, COUNT(rows), (struct smtp_drive){
	    .options.max_size = 1000 });
}

static void
test_out_of_order(void **state)
{
	static const struct row rows[] = {
		{ "without a transaction", "BDAT 6\r\nRSET\r\nNOOP\r\n",
		    "503 5.5.1 MAIL comes first\r\n" OK, "" },
		{ "without a recipient",
		    "MAIL FROM:<a@b>\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n",
		    "250 2.1.0 Ok\r\n503 5.5.1 No recipient yet\r\n" OK,
		    "mail a@b\n" },
		{ "DATA, RCPT and MAIL after BDAT",
		    ENVELOPE "BDAT 2\r\nabDATA\r\nRCPT TO:<e@f>\r\n"
		    "MAIL FROM:<e@f>\r\nBDAT 2 LAST\r\n\r\n",
		    ENVELOPE_OK TAKEN RSET_FIRST RSET_FIRST
		    "503 5.5.1 There is a sender already\r\n" KEPT,
		    ENVELOPE_EVENTS "begin\nab\n|\nend 4\n" },
		{ "after the last",
		    ENVELOPE "BDAT 0 LAST\r\nBDAT 4 LAST\r\nabcdNOOP\r\n",
		    ENVELOPE_OK KEPT "503 5.5.1 MAIL comes first\r\n" OK,
		    ENVELOPE_EVENTS "begin\nend 0\n" },
	};

	(void)state;
	replay(rows, COUNT(rows), (struct smtp_drive){
	    .options.max_size = 1000 });
}

/* A chunk that fails is taken in, then answered, then 503 until RSET. */
static void
test_failing(void **state)
{
	static const struct row rows[] = {
		{ "a bare LF",
		    ENVELOPE "BDAT 3\r\na\nbBDAT 4\r\nRSETBDAT 2 LAST\r\nxy"
		    "MAIL FROM:<e@f>\r\nRCPT TO:<e@f>\r\nDATA\r\nNOOP\r\n"
		    "RSET\r\n" ENVELOPE "BDAT 0 LAST\r\n",
		    ENVELOPE_OK BARE_LF RSET_FIRST RSET_FIRST RSET_FIRST
		    RSET_FIRST RSET_FIRST OK OK ENVELOPE_OK KEPT,
		    ENVELOPE_EVENTS "begin\nreset\n"
		    ENVELOPE_EVENTS "begin\nend 0\n" },
		{ "a fault of the message before",
		    ENVELOPE "BDAT 3 LAST\r\na\nbRSET\r\n"
		    ENVELOPE "BDAT 3 x\r\nabc",
		    ENVELOPE_OK BARE_LF OK ENVELOPE_OK SYNTAX,
		    ENVELOPE_EVENTS "begin\nreset\n"
		    ENVELOPE_EVENTS "reset\n" },
		{ "a bare CR over the seam",
		    ENVELOPE "BDAT 2\r\na\rBDAT 1 LAST\r\nbNOOP\r\n",
		    ENVELOPE_OK TAKEN BARE_CR OK,
		    ENVELOPE_EVENTS "begin\nreset\n" },
		{ "a bare CR at the very end",
		    ENVELOPE "BDAT 2 LAST\r\na\rRSET\r\n",
		    ENVELOPE_OK BARE_CR OK,
		    ENVELOPE_EVENTS "begin\nreset\n" },
		{ "sizes that are none",
		    ENVELOPE "BDAT\r\nRSET\r\n" ENVELOPE "BDAT x\r\nRSET\r\n"
		    ENVELOPE "BDAT -1\r\nBDAT 3 x\r\nabc",
		    ENVELOPE_OK SYNTAX OK ENVELOPE_OK SYNTAX OK
		    ENVELOPE_OK SYNTAX RSET_FIRST,
		    ENVELOPE_EVENTS "reset\n"
		    ENVELOPE_EVENTS "reset\n"
		    ENVELOPE_EVENTS "reset\n" },
		{ "a wrong line with a size: its octets are no commands",
		    ENVELOPE "BDAT 6 LOST\r\nRSET\r\nNOOP\r\nRSET\r\n"
		    ENVELOPE "BDAT 6x\r\nRSET\r\nRSET\r\n"
		    ENVELOPE "BDAT 6\nRSET\r\nRSET\r\n",
		    ENVELOPE_OK SYNTAX OK OK ENVELOPE_OK SYNTAX OK
		    ENVELOPE_OK
		    "500 5.5.2 A command ends in CRLF, not in LF alone\r\n" OK,
		    ENVELOPE_EVENTS "reset\n"
		    ENVELOPE_EVENTS "reset\n"
		    ENVELOPE_EVENTS "reset\n" },
		{ "too big at once",
		    ENVELOPE "BDAT 21 LAST\r\n123456789012345678901NOOP\r\n",
		    ENVELOPE_OK TOO_BIG OK, ENVELOPE_EVENTS "reset\n" },
		{ "too big over all",
		    ENVELOPE "BDAT 15\r\n1234567890123\r\nBDAT 6\r\n123456"
		    "EHLO\r\nRSET\r\n",
		    ENVELOPE_OK TAKEN TOO_BIG
		    "501 A host name is needed\r\n" OK,
		    ENVELOPE_EVENTS "begin\nreset\n" },
		{ "as big as may be, and then nothing",
		    ENVELOPE "BDAT 20\r\n123456789012345678\r\nBDAT 0 LAST\r\n",
		    ENVELOPE_OK TAKEN KEPT,
		    ENVELOPE_EVENTS "begin\n123456789012345678\n|\nend 20\n" },
		{ "not too big by the line end that is added",
		    ENVELOPE "BDAT 20 LAST\r\n12345678901234567890NOOP\r\n",
		    ENVELOPE_OK KEPT OK,
		    ENVELOPE_EVENTS
		    "begin\n12345678901234567890\n|\nend 20\n" },
	};

	(void)state;
	replay(rows, COUNT(rows), (struct smtp_drive){
	    .options.max_size = 20 });
}

static void
test_endless(void **state)
{
	struct smtp_drive d = { .options.max_size = 1000 };

	(void)state;
	smtp_drive_replay(&d, "more than can be counted",
	    ENVELOPE "BDAT 18446744073709551616\r\nRSET\r\nNOOP\r\n",
	    ENVELOPE_OK "521 5.5.4 Invalid chunk size, closing\r\n",
	    ENVELOPE_EVENTS, true);
	smtp_drive_replay(&d, "as much as can be counted",
	    ENVELOPE "BDAT 18446744073709551615 LAST\r\nRSET\r\nNOOP\r\n",
	    ENVELOPE_OK, ENVELOPE_EVENTS, false);
	/* One that has no place is read to its end only where it could be a
	 * message's. */
	smtp_drive_replay(&d, "too large to be skipped",
	    "BDAT 1001\r\nNOOP\r\n",
	    "521 5.3.4 No message may be that large, closing\r\n", "", true);
	smtp_drive_replay(&d, "as large as a message",
	    "BDAT 1000\r\nNOOP\r\n", "", "", false);
}

static void
test_refused_by_the_program(void **state)
{
	const struct smtp_reply full = { 452, "4.3.1", SLICE("full") };
	struct smtp_drive d = { .begin_reply = full };

	(void)state;
	smtp_drive_replay(&d, "no place", ENVELOPE
	    "BDAT 4\r\nRSETBDAT 4\r\nNOOPRSET\r\n",
	    ENVELOPE_OK "452 4.3.1 full\r\n" RSET_FIRST OK,
	    ENVELOPE_EVENTS "begin\nreset\n", false);
	d = (struct smtp_drive){ .data_reply = full };
	smtp_drive_replay(&d, "no more place", ENVELOPE
	    "BDAT 0\r\nBDAT 4\r\nRSETBDAT 0 LAST\r\nRSET\r\n",
	    ENVELOPE_OK TAKEN "452 4.3.1 full\r\n" RSET_FIRST OK,
	    ENVELOPE_EVENTS "begin\nreset\n", false);
}

static void
test_bare_lf_modes(void **state)
{
	static const enum dot_bare_lf modes[] = {
		DOT_BARE_LF_NORMALIZE, DOT_BARE_LF_ACCEPT };

	(void)state;
	for (size_t i = 0; i < COUNT(modes); i++) {
		struct smtp_drive d = { .options.bare_lf = modes[i] };

		smtp_drive_replay(&d, "a bare LF is a line end",
		    ENVELOPE "BDAT 7 LAST\r\na\n.\n.b\n" ENVELOPE
		    "BDAT 2 LAST\r\n\rxRSET\r\n",
		    ENVELOPE_OK KEPT ENVELOPE_OK BARE_CR OK,
		    ENVELOPE_EVENTS "begin\na\n.\n.b\n|\nend 10\n"
		    ENVELOPE_EVENTS "begin\nreset\n", false);
	}
}

/* RFC 2033 4.2: a reply for each recipient, but only at the end. */
static void
test_lmtp(void **state)
{
	struct smtp_drive d = { .options.lmtp = true };

#define TWO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
#define TWO_OK "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n"
#define TWO_EVENTS "mail a@b\nrcpt c@d\nrcpt e@f\n"
#define GO "354 End data with <CR><LF>.<CR><LF>\r\n"
	(void)state;
	smtp_drive_replay(&d, "DATA", TWO "DATA\r\nx\r\n.\r\nDATA\r\n"
	    TWO "DATA\r\nx\ny\r\n.\r\n",
	    TWO_OK GO KEPT KEPT "503 5.5.1 MAIL comes first\r\n"
	    TWO_OK GO BARE_LF BARE_LF,
	    TWO_EVENTS "begin\nx\n|\nend 3\n" TWO_EVENTS "begin\nreset\n",
	    false);
	smtp_drive_replay(&d, "BDAT",
	    TWO "BDAT 1\r\nxBDAT 0 LAST\r\n" TWO "BDAT 1\r\n\nRSET\r\n"
	    TWO "BDAT 1 LAST\r\n\nRSET\r\n",
	    TWO_OK TAKEN KEPT KEPT TWO_OK BARE_LF OK
	    TWO_OK BARE_LF BARE_LF OK,
	    TWO_EVENTS "begin\nx\n|\nend 1\n"
	    TWO_EVENTS "begin\nreset\n"
	    TWO_EVENTS "begin\nreset\n", false);
	smtp_drive_replay(&d, "other greetings",
	    "EHLO x\r\nHELO x\r\nDATA\r\n",
	    "500 5.5.1 Unknown command\r\n500 5.5.1 Unknown command\r\n"
	    "503 5.5.1 MAIL comes first\r\n", "", false);
	d.end_reply = (struct smtp_reply){ 451, "4.3.0", SLICE("later") };
	smtp_drive_replay(&d, "refused by the program",
	    TWO "DATA\r\n.\r\nNOOP\r\n",
	    TWO_OK GO "451 4.3.0 later\r\n451 4.3.0 later\r\n" OK,
	    TWO_EVENTS "begin\nend 0\n", false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_failing),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_refused_by_the_program),
		cmocka_unit_test(test_bare_lf_modes),
		cmocka_unit_test(test_lmtp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
