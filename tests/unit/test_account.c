/*
 * test_account.c - the accounts file: what it may say, what is said of its
 * mistakes, and which account mail goes by.
 */
#include "drive.h"

#include <sys/un.h>

#include "relay/account.h"
#include "relay/account_secret.h"

static struct directory directory;
static struct accounts accounts;
static struct account_secret secret;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

static int
read_text(struct slice text)
{
	directory_put(&directory, "relay", text);
	memset(&error, 0, sizeof(error));
	return accounts_read(&accounts, "relay", &error);
}

/* Reads a good file. */
static void
read_good(struct slice text)
{
	if (read_text(text) != 0)
		fail_msg("%s", error.text);
}

/* NULL: it has none. */
static void
check_secret(const struct account *account, const char *password)
{
	/* Whatever was there before. */
	secret.len = 99;
	if (account_secret_read(&secret, account, 10, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(secret.len, slice_from(password).len);
	if (password != NULL)
		assert_string_equal(secret.text, password);
	account_secret_wipe(&secret);
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(((const char *)&secret)[i], 0);
}

/* Of the first account. */
static void
check_no_secret(const char *why)
{
	assert_int_equal(account_secret_read(&secret, &accounts.items[0], 10,
	    &error), -1);
	assert_string_equal(error.text, why);
}

static void
check_account(size_t i, unsigned line, const char *sender, const char *host,
    const char *port, const char *login, const char *password,
    const char *only_for)
{
	const struct account *account = &accounts.items[i];

	assert_true(i < accounts.n);
	assert_int_equal(account->line, line);
	assert_slices(account->sender, slice_from(sender));
	assert_string_equal(account->hop.host, host);
	assert_string_equal(account->hop.port, port);
	assert_slices(slice_from(account->login), slice_from(login));
	assert_int_equal(account->login != NULL, login != NULL);
	assert_int_equal(account->password_kind != ACCOUNT_PASSWORD_NONE,
	    password != NULL);
	check_secret(account, password);
	assert_slices(account->only_for, slice_from(only_for));
}

/* ---- good files ---- */

static void
test_forms(void **state)
{
	(void)state;
	read_good(SLICE("# sender  next hop\n"
	    "\n"
	    "joe@example.com smtps://smtp.example.com joe s3cret for=joe\n"
	    "\texample.org \t smtps://mail.example.org:4650  relay  pw \r\n"
	    "  # indented comment\n"
	    "x.test smtps://[2001:db8::1]\n"
	    "y.test SMTPS://[::1]:26/ For=a%40%62\n"
	    "* smtps://192.0.2.1:65535"));
	assert_int_equal(accounts.n, 5);
	/* No password is kept. */
	assert_null(memmem(accounts.text, accounts.text_len, "s3cret", 6));
	check_account(0, 3, "joe@example.com", "smtp.example.com", "465",
	    "joe", "s3cret", "joe");
	check_account(1, 4, "example.org", "mail.example.org", "4650",
	    "relay", "pw", NULL);
	check_account(2, 6, "x.test", "2001:db8::1", "465", NULL, NULL,
	    NULL);
	check_account(3, 7, "y.test", "::1", "26", NULL, NULL, "a@b");
	check_account(4, 8, "*", "192.0.2.1", "65535", NULL, NULL, NULL);
	for (size_t i = 0; i < accounts.n; i++) {
		assert_int_equal(accounts.items[i].hop.scheme, NEXT_HOP_SMTPS);
		assert_true(accounts.items[i].hop.verify);
		assert_null(accounts.items[i].hop.ca_file);
	}
	accounts_free(&accounts);
	assert_int_equal(accounts.n, 0);
	accounts_free(&accounts);
}

static void
test_senders_and_hosts(void **state)
{
	static const char *const senders[] = { "*", "a", "a_b.c-d.test", "x.",
		"a..b@x", "joe@x.",
		"[127.0.0.1]", "joe@[IPv6:::1]", "a.b+c*d@x", "\"a,b@c\"@d",
		"\xC3\xA4@\xC3\xB6.test", "JOE@X.TEST" };
	static const char *const hosts[] = { "h", "h.", "a_b-c.d", "1.2.3.4",
		"[fe80::1%eth0]", "[fe80::1%2]", "[::1]", "[::ffff:1.2.3.4]",
		"XN--x.y", "abcdefghijklmnopqrstuvwxyz-_0123456789.AZ" };
	struct text text = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(senders); i++)
		text_format(&text, "%s smtps://h\n", senders[i]);
	for (size_t i = 0; i < COUNT(hosts); i++)
		text_format(&text, "* smtps://%s\n", hosts[i]);
	read_good(text_slice(&text));
	assert_int_equal(accounts.n, COUNT(senders) + COUNT(hosts));
	accounts_free(&accounts);
	text_free(&text);
}

static void
test_percent_encoding(void **state)
{
	(void)state;
	read_good(SLICE("* smtps://h j%6Fe%40x%20y s3cret%20word%25%3d\n"
	    "* smtps://h %6a %23%3A%ff\n"
	    "* smtps://h file%3Ax file%3Apw\n"));
	check_account(0, 1, "*", "h", "465", "joe@x y", "s3cret word%=",
	    NULL);
	check_account(1, 2, "*", "h", "465", "j", "#:\xFF", NULL);
	/* A password that looks like a file's name. */
	check_account(2, 3, "*", "h", "465", "file:x", "file:pw", NULL);
	accounts_free(&accounts);
}

static void
test_queries(void **state)
{
	(void)state;
	read_good(SLICE("* smtps://h?verify=no\n* smtps://h:1?verify=yes\n"
	    "* smtps://h/?ca=/etc/x%20y.pem\n"
	    "* smtps://[::1]:2?ca=a&verify=no\n"
	    "* smtps://h?verify=no&ca=b&verify=yes\n"
	    "* smtps://h?CA=a@b&Verify=NO\n"));
	assert_int_equal(accounts.n, 6);
	assert_false(accounts.items[5].hop.verify);
	assert_false(accounts.items[0].hop.verify);
	assert_null(accounts.items[0].hop.ca_file);
	assert_true(accounts.items[1].hop.verify);
	assert_text(accounts.items[2].hop.ca_file, "/etc/x y.pem");
	assert_text(accounts.items[2].hop.host, "h");
	assert_true(accounts.items[2].hop.verify);
	assert_text(accounts.items[3].hop.ca_file, "a");
	assert_false(accounts.items[3].hop.verify);
	assert_text(accounts.items[3].hop.host, "::1");
	assert_text(accounts.items[3].hop.port, "2");
	assert_text(accounts.items[4].hop.ca_file, "b");
	assert_true(accounts.items[4].hop.verify);
	assert_text(accounts.items[5].hop.ca_file, "a@b");
	accounts_free(&accounts);
}

static void
test_password_files(void **state)
{
	(void)state;
	directory_put(&directory, "pw1", SLICE("hunter22\nand more\n"));
	directory_put(&directory, "pw2", SLICE("a b%20\r\n"));
	directory_put(&directory, "pw3", SLICE(" x \n\n"));
	read_good(SLICE("* smtps://h joe file:pw1\n"
	    "* smtps://h joe file:pw2\n* smtps://h joe file:pw3\n"));
	/* The first line as it stands there. */
	check_account(0, 1, "*", "h", "465", "joe", "hunter22", NULL);
	check_account(1, 2, "*", "h", "465", "joe", "a b%20", NULL);
	check_account(2, 3, "*", "h", "465", "joe", " x ", NULL);
	accounts_free(&accounts);

	/* In the credentials, where there are any. */
	directory_mkdir(&directory, "credentials");
	directory_put(&directory, "credentials/pw1", SLICE("other"));
	setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
	read_good(SLICE("* smtps://h joe file:pw1\n"));
	check_account(0, 1, "*", "h", "465", "joe", "other", NULL);
	accounts_free(&accounts);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void
test_schemes(void **state)
{
	static const struct {
		enum next_hop_scheme scheme;
		const char *host, *port;
		bool tls, lmtp;
	} rows[] = {
		{ NEXT_HOP_SMTP, "h", "587", true, false },
		{ NEXT_HOP_SMTP, "::1", "2525", true, false },
		{ NEXT_HOP_SMTP_PLAIN, "h", "25", false, false },
		{ NEXT_HOP_SMTP_PLAIN, "127.0.0.1", "2525", false, false },
		{ NEXT_HOP_SMTP_PLAIN, "::1", "25", false, false },
		{ NEXT_HOP_SMTP_PLAIN, "LocalHost", "25", false, false },
		{ NEXT_HOP_LMTP, "mail.example.org", "24", false, true },
		{ NEXT_HOP_LMTP, "::ffff:127.9.9.9", "26", false, true },
		{ NEXT_HOP_LMTP_UNIX, "/run/dovecot/lmtp", "", false, true },
		{ NEXT_HOP_LMTP_UNIX, "/a b@c", "", false, true },
	};

	(void)state;
	read_good(SLICE("* smtp://h\n* smtp://[::1]:2525?ca=x&verify=no\n"
	    "* smtp+plain://h/\n"
	    "* smtp+plain://127.0.0.1:2525 joe pw\n"
	    "* smtp+plain://[::1] joe pw\n"
	    "* smtp+plain://LocalHost joe pw\n"
	    "* lmtp://mail.example.org for=joe\n"
	    "* lmtp://[::ffff:127.9.9.9]:26 joe pw\n"
	    "* lmtp+unix:/run/dovecot/lmtp\n"
	    "* lmtp+unix:/a%20b%40c joe pw for=x\n"));
	assert_int_equal(accounts.n, COUNT(rows));
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct account *account = &accounts.items[i];

		assert_int_equal(account->hop.scheme, rows[i].scheme);
		assert_string_equal(account->hop.host, rows[i].host);
		assert_string_equal(account->hop.port, rows[i].port);
		assert_int_equal(next_hop_has_tls(&account->hop), rows[i].tls);
		assert_int_equal(next_hop_is_lmtp(&account->hop), rows[i].lmtp);
	}
	assert_false(accounts.items[1].hop.verify);
	accounts_free(&accounts);
}

/* ---- mistakes ---- */

#define USAGE "an account is SENDER URL [LOGIN PASSWORD] [for=NAME]; a " \
	"blank in one of them is written %20"
#define PORT "the next hop's port is not a number from 1 to 65535"
#define QUERY "allowed after ? in a URL are ca=FILE, verify=yes, verify=no " \
	"and auth=MECHANISM"
#define HOST "the next hop's host name has something else than letters, " \
	"digits, - and _ between single dots"
#define IN_BRACKETS "what the next hop has in brackets is no IPv6 address"
#define PERCENT " has a '%' that is no %XX (write %25)"
#define URL "the second word is no next hop: that is smtps://HOST[:PORT], " \
	"smtp://, smtp+plain:// or lmtp:// with the same, or lmtp+unix:/PATH"
#define LOGIN "login and password are words of their own after the URL, " \
	"not part of it"
#define CLEAR "a password leaves this machine only under TLS, with smtps " \
	"or smtp"
#define NO_TLS "ca= and verify= are for smtps and smtp: there is no TLS in " \
	"the others, which know auth= only"
#define IMPLICIT "port 465 is TLS from the first octet: that is smtps://"
#define STARTTLS "ports 587 and 25 begin in the clear, with STARTTLS: that " \
	"is smtp://"
#define AUTH "auth= in a URL is plain, login, xoauth2 or oauthbearer"
#define SENDER "a sender is an address, a domain, or * for any: "
#define COMMENT "comments stand on lines of their own"
#define LONG "0123456789012345678901234567890123456789"

static void
test_errors(void **state)
{
	static const struct { struct slice text; const char *why; }
	rows[] = {
		{ SLICE(""), "relay: no account in it" },
		{ SLICE("# only\n\n  \t\n"), "relay: no account in it" },
		{ SLICE("*\n"), "relay:1: " USAGE },
		{ SLICE("* smtps://h joe\n"), "relay:1: " USAGE },
		{ SLICE("* smtps://h joe for=x\n"), "relay:1: " USAGE },
		{ SLICE("* smtps://h joe pw more\n"), "relay:1: " USAGE },
		{ SLICE("* smtps://h joe pw for=x more\n"),
		    "relay:1: " USAGE },
		{ SLICE("* smtps://h # c\n"), "relay:1: " COMMENT
		    " (a login that begins with # is written %23)" },
		{ SLICE("* smtps://h #c\n"), "relay:1: " COMMENT },
		{ SLICE("* smtps://h joe pw # a comment\n"),
		    "relay:1: " COMMENT },
		{ SLICE("* smtps://h joe pw for=x # a comment\n"),
		    "relay:1: " COMMENT },
		{ SLICE("* smtps://h  joe pw # a comment\n"),
		    "relay:1: " COMMENT },
		{ SLICE("* smtps://h joe pw more for=x\n"),
		    "relay:1: " USAGE },
		/* That it is one is seen at its colon. */
		{ SLICE("* smtps://h joe execute this\n"),
		    "relay:1: " USAGE },
		/* for= comes after a URL, never in its place. */
		{ SLICE("* for=\n"), "relay:1: " URL },
		{ SLICE("* for= \t\n"), "relay:1: " URL },
		{ SLICE("* smtps://h for=\n"),
		    "relay:1: for= needs a login's name" },
		{ SLICE("#\n* smtps://h joe pw for=\n"),
		    "relay:2: for= needs a login's name" },
		{ SLICE("* smtps://h for=%\n"),
		    "relay:1: the name after for=" PERCENT },
		{ SLICE("\n\n* smtps://\n"),
		    "relay:3: the next hop has no host name" },
		{ SLICE("* smtps:///\n"),
		    "relay:1: the next hop has no host name" },
		{ SLICE("* smtps://:25\n"),
		    "relay:1: the next hop has no host name" },
		{ SLICE("* smtps://?verify=no\n"),
		    "relay:1: the next hop has no host name" },
		{ SLICE("* smtps://[]\n"),
		    "relay:1: the next hop has no host name" },
		{ SLICE("* smtps://[::1\n"), "relay:1: the next hop is not "
		    "[ADDRESS] or [ADDRESS]:PORT" },
		{ SLICE("* smtps://[::1]x\n"), "relay:1: the next hop is not "
		    "[ADDRESS] or [ADDRESS]:PORT" },
		{ SLICE("* smtps://[127.0.0.1]\n"), "relay:1: " IN_BRACKETS },
		{ SLICE("* smtps://[::1%]\n"), "relay:1: " IN_BRACKETS },
		{ SLICE("* smtps://[::1%a/b]\n"), "relay:1: " IN_BRACKETS },
		{ SLICE("* smtps://[::1%/b]\n"), "relay:1: " IN_BRACKETS },
		{ SLICE("* smtps://[" LONG LONG "]\n"),
		    "relay:1: " IN_BRACKETS },
		{ SLICE("* smtps://ho%73t\n"), "relay:1: " HOST },
		{ SLICE("* smtps://host#x\n"), "relay:1: " HOST },
		{ SLICE("* smtps://a..b\n"), "relay:1: " HOST },
		{ SLICE("* smtps://.a\n"), "relay:1: " HOST },
		{ SLICE("* smtps://.\n"), "relay:1: " HOST },
		{ SLICE("* smtps://a/b\n"), "relay:1: " HOST },
		{ SLICE("* smtps://\xC3\xA4\n"), "relay:1: " HOST },
		{ SLICE("* smtps://" LONG LONG LONG LONG LONG LONG
		    "01234567890123\n"), "relay:1: " HOST },
		{ SLICE("* smtps://h:0\n"), "relay:1: " PORT },
		{ SLICE("* smtps://h:\n"), "relay:1: " PORT },
		{ SLICE("* smtps://h:65536\n"), "relay:1: " PORT },
		{ SLICE("* smtps://h:2x\n"), "relay:1: " PORT },
		{ SLICE("* smtps://[::1]:-1\n"), "relay:1: " PORT },
		{ SLICE("* smtps://h:1:2\n"), "relay:1: " PORT },
		{ SLICE("* smtps://h?\n"), "relay:1: " QUERY },
		{ SLICE("* smtps://h?x=1\n"), "relay:1: " QUERY },
		{ SLICE("* smtps://h?ca=\n"), "relay:1: " QUERY },
		{ SLICE("* smtps://h?verify=maybe\n"), "relay:1: " QUERY },
		{ SLICE("* smtps://h?ca=x&\n"), "relay:1: " QUERY },
		{ SLICE("* smtps://h?ca=%\n"), "relay:1: what is after ? in "
		    "the URL" PERCENT },
		{ SLICE("* smtps://h a%2 pw\n"), "relay:1: the login"
		    PERCENT },
		{ SLICE("* smtps://h a%zz pw\n"), "relay:1: the login"
		    PERCENT },
		{ SLICE("* smtps://h a%00 pw\n"), "relay:1: the login"
		    PERCENT },
		{ SLICE("* smtps://h joe hunter%22%2\n"), "relay:1: the "
		    "password" PERCENT },
		{ SLICE("* smtps://joe:hunter22@h\n"), "relay:1: " LOGIN },
		{ SLICE("* smtps://joe:hun?ter22@h\n"), "relay:1: " LOGIN },
		{ SLICE("* smtps://h?joe:hunter22@x\n"), "relay:1: " LOGIN },
		{ SLICE("* smtps://h?ca=a@b&joe@x\n"), "relay:1: " LOGIN },
		{ SLICE("* smtps://h\0\n"),
		    "relay:1: a NUL octet, which no text has: nothing of "
		    "the file counts until it is mended" },
		{ SLICE("\xEF\xBB\xBF# c\n* smtps://h\n"), "relay:1: the "
		    "file begins with a byte order mark: save it without" },
		/* No password in the clear. */
		{ SLICE("* smtp+plain://h joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* lmtp://192.0.2.1 joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* lmtp://128.0.0.1 joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* smtp+plain://127.0.0.1.example.org joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* smtp+plain://localhost.example.org joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* smtp+plain://[2001:db8::1] joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* smtp+plain://[::ffff:192.0.2.1] joe hunter22\n"),
		    "relay:1: " CLEAR },
		{ SLICE("* smtp+plain://h?verify=no\n"),
		    "relay:1: " NO_TLS },
		{ SLICE("* lmtp://h?ca=x\n"), "relay:1: " NO_TLS },
		{ SLICE("* lmtp+unix:/x?ca=x\n"),
		    "relay:1: " NO_TLS },
		{ SLICE("* lmtp+unix:x\n"), "relay:1: " URL },
		{ SLICE("* lmtp+unix:\n"), "relay:1: " URL },
		{ SLICE("* smtp:h\n"), "relay:1: " URL },
		{ SLICE("* smtp+tls://h\n"), "relay:1: " URL },
		{ SLICE("* lmtp+unix:/a%zz\n"), "relay:1: the socket's path"
		    PERCENT },
		{ SLICE("* lmtp+unix:/" LONG LONG LONG "\n"), "relay:1: too "
		    "long for a socket's path" },
		/* Senders that no message has. */
		{ SLICE("@x smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("x@ smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("** smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("a@b@c smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("a:b smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("\x01@x smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("*@example.com smtps://h\n"), "relay:1: " SENDER
		    "a domain is for all its addresses, without *@" },
		{ SLICE(".example.com smtps://h\n"), "relay:1: " SENDER
		    "a domain is for addresses right in it, and those below "
		    "it need lines of their own" },
		{ SLICE("*@*.example.com smtps://h\n"), "relay:1: " SENDER
		    "a domain is for addresses right in it, and those below "
		    "it need lines of their own" },
		{ SLICE(". smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("<> smtps://h\n"), "relay:1: " SENDER
		    "only * is for mail from <>" },
		{ SLICE("<joe@x> smtps://h\n"), "relay:1: " SENDER
		    "write it without < and >" },
		{ SLICE("a@b,c@d smtps://h\n"), "relay:1: " SENDER
		    "one in each line" },
		{ SLICE("a.test,b.test smtps://h\n"), "relay:1: " SENDER
		    "one in each line" },
		{ SLICE("joe@x.. smtps://h\n"), "relay:1: " SENDER
		    "the first word is none of these" },
		{ SLICE("* smtp://h:465\n"), "relay:1: " IMPLICIT },
		{ SLICE("* smtp+plain://h:465\n"), "relay:1: " IMPLICIT },
		{ SLICE("* smtps://h:587\n"), "relay:1: " STARTTLS },
		{ SLICE("* smtps://[::1]:25\n"), "relay:1: " STARTTLS },
		{ SLICE("* smtps://h?auth=\n"), "relay:1: " AUTH },
		{ SLICE("* smtps://h?auth=cram-md5\n"), "relay:1: " AUTH },
		{ SLICE("* smtps://h?auth=login\n"), "relay:1: auth= needs a "
		    "login and a password" },
		{ SLICE("* smtps://h joe exec:x%2\n"),
		    "relay:1: the command" PERCENT },
		{ SLICE("* smtps://h joe my secret\n"), "relay:1: " USAGE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (read_text(rows[i].text) != -1)
			fail_msg("%.*s", SLICE_ARG(rows[i].text));
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_null(accounts.items);
	}
}

/* What is wrong with the scheme depends on which there are; but it is said
 * with file and line, and never shows a password. */
static void
test_scheme_errors(void **state)
{
	static const struct slice rows[] = {
		SLICE("* h\n"), SLICE("* https://h\n"), SLICE("* SMTPS//h\n"),
		SLICE("* smtps:h\n"), SLICE("* //h\n"), SLICE("* ://h\n"),
		SLICE("* http://joe:hunter22@h\n"),
		SLICE("* joe:hunter22@h\n"),
		SLICE("* smtp:joe:hunter22\n"),
		SLICE("* hunter22 smtps://h joe\n"),
		SLICE("joe hunter22 * smtps://h\n"),
		SLICE("hunter22: smtps://h\n"),
		SLICE("* smtps://joe:hunter22\n"),
		SLICE("* smtps://[hunter22]\n"),
		SLICE("* smtps://h?joe:hunter22\n"),
		SLICE("* smtps://h?hunter22%\n"),
		SLICE("* smtps://h joe hunter 22 hunter22\n"),
		SLICE("* lmtp+unix:/hunter22%\n"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(read_text(rows[i]), -1);
		assert_int_equal(error.kind, ERROR_CONFIG);
		assert_true(slice_starts_with(slice_from(error.text),
		    SLICE("relay:1: ")));
		if (strstr(error.text, "hunter22") != NULL)
			fail_msg("%s", error.text);
	}
}

static void
test_permissions(void **state)
{
	(void)state;
	directory_put(&directory, "relay", SLICE("* smtps://h\n"));
	assert_int_equal(chmod("relay", 0644), 0);
	assert_int_equal(accounts_read(&accounts, "relay", &error), -1);
	assert_text(error.text, "relay: anyone may read it; chmod o-r it");
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_int_equal(chmod("relay", 0640), 0);
	assert_int_equal(accounts_read(&accounts, "relay", &error), 0);
	accounts_free(&accounts);

	directory_put(&directory, "pw", SLICE("secret\n"));
	assert_int_equal(chmod("pw", 0604), 0);
	read_good(SLICE("* smtps://h joe file:pw\n"));
	check_no_secret("relay:1: pw: anyone may read it; chmod o-r it");
	accounts_free(&accounts);
	/* Nor may the accounts file be opened to all later. */
	read_good(SLICE("* smtps://h joe pw\n"));
	assert_int_equal(chmod("relay", 0644), 0);
	check_no_secret("relay:1: relay: anyone may read it; chmod o-r it");
	assert_int_equal(chmod("relay", 0600), 0);
	accounts_free(&accounts);
	assert_int_equal(accounts_read(&accounts, "none", &error), -1);
	assert_text(error.text, "none: No such file or directory");
	assert_int_equal(error.kind, ERROR_CONFIG);
}

/* RFC 4616 2 has no limit, but our buffers do; and an empty password is a
 * file that was made but never filled. */
static void
test_lengths(void **state)
{
	struct text name = { .data = NULL };
	struct text word = { .data = NULL };
	struct text text = { .data = NULL };

	(void)state;
	text_repeat(&name, 'x', 1024);
	text_repeat(&word, 'x', SASL_CLIENT_SECRET_MAX);
	directory_put(&directory, "long", text_slice(&word));
	text_format(&text, "* smtps://h %s %s\n* smtps://h %s file:long\n",
	    name.data, word.data, name.data);
	read_good(text_slice(&text));
	assert_int_equal(strlen(accounts.items[0].login), 1024);
	check_secret(&accounts.items[0], word.data);
	check_secret(&accounts.items[1], word.data);
	accounts_free(&accounts);
	text_free(&text);

	text_repeat(&name, 'x', 1);
	text_format(&text, "* smtps://h %s pw\n", name.data);
	assert_int_equal(read_text(text_slice(&text)), -1);
	assert_text(error.text,
	    "relay:1: the login has more than 1024 octets");
	text_free(&text);
	text_repeat(&word, 'x', 1);
	text_format(&text, "* smtps://h joe %s\n", word.data);
	assert_int_equal(read_text(text_slice(&text)), -1);
	assert_text(error.text,
	    "relay:1: the password has more than 6144 octets");
	directory_put(&directory, "long", text_slice(&word));
	read_good(SLICE("* smtps://h joe file:long\n"));
	check_no_secret("relay:1: the password has more than 6144 octets");
	directory_put(&directory, "long", SLICE("\nsecret\n"));
	check_no_secret("relay:1: the password is empty");
	accounts_free(&accounts);
	read_good(SLICE("* smtps://h joe file:\n"));
	check_no_secret("relay:1: : No such file or directory");
	accounts_free(&accounts);
	read_good(SLICE("* smtps://h joe file:.\n"));
	check_no_secret("relay:1: .: not a regular file");
	accounts_free(&accounts);
	text_free(&name);
	text_free(&text);
	text_free(&word);
}

/* unix(7): a path and its NUL. */
static void
test_long_socket(void **state)
{
	struct text name = { .data = NULL }, text = { .data = NULL };

	(void)state;
	text_add(&name, SLICE("/"));
	text_repeat(&name, 'x', sizeof(((struct sockaddr_un *)0)->sun_path) -
	    2);
	text_format(&text, "* lmtp+unix:%s\n", name.data);
	read_good(text_slice(&text));
	assert_string_equal(accounts.items[0].hop.host, name.data);
	accounts_free(&accounts);
	text_free(&text);
	text_format(&text, "* lmtp+unix:%sx\n", name.data);
	assert_int_equal(read_text(text_slice(&text)), -1);
	assert_text(error.text, "relay:1: too long for a socket's path");
	text_free(&text);
	text_free(&name);
}

/* RFC 1035 2.3.4: 253 octets, as names are written; addresses of IPv6 have 45
 * at most. */
static void
test_long_hosts(void **state)
{
	static const char longest[] =
	    "0000:0000:0000:0000:0000:ffff:255.255.255.255";
	struct text name = { .data = NULL }, text = { .data = NULL };

	(void)state;
	text_repeat(&name, 'x', 253);
	text_format(&text, "* smtps://%s\n* smtps://%s.:26\n"
	    "* smtps://[%s]\n* smtps://[%s%%25eth0]\n", name.data, name.data,
	    longest, longest);
	read_good(text_slice(&text));
	assert_string_equal(accounts.items[0].hop.host, name.data);
	assert_string_equal(accounts.items[2].hop.host, longest);
	accounts_free(&accounts);
	text_free(&text);
	text_format(&text, "* smtps://%sx\n", name.data);
	assert_int_equal(read_text(text_slice(&text)), -1);
	text_free(&text);
	text_format(&text, "* smtps://[0%s]\n", longest);
	assert_int_equal(read_text(text_slice(&text)), -1);
	assert_text(error.text, "relay:1: what the next hop has in brackets "
	    "is no IPv6 address");
	text_free(&text);
	text_free(&name);
}

/* Nothing of it is in memory but while it is needed; and what is read then is
 * what was checked before. */
static void
test_passwords_are_read_late(void **state)
{
	(void)state;
	read_good(SLICE("a.test smtps://h joe hunter%32%32\n"
	    "b.test smtps://h ann hunter22 for=ann\r\n"));
	assert_null(memmem(accounts.text, accounts.text_len, "hunter", 6));
	check_secret(&accounts.items[0], "hunter22");
	check_secret(&accounts.items[1], "hunter22");
	directory_put(&directory, "relay", SLICE("#\n"
	    "a.test smtps://h joe hunter%32%32\n"));
	check_no_secret("relay:1: the file has changed");
	assert_int_equal(unlink("relay"), 0);
	check_no_secret("relay:1: relay: No such file or directory");
	accounts_free(&accounts);
}

/* FNV-1a's own test vectors; whatever is behind the text is none of it. */
static void
test_digest(void **state)
{
	(void)state;
	assert_true(accounts_digest(SLICE("")) ==
	    UINT64_C(0xcbf29ce484222325));
	assert_true(accounts_digest(SLICE("a")) ==
	    UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(accounts_digest(SLICE("foobar")) ==
	    UINT64_C(0x85944171f73967e8));
	assert_true(accounts_digest(SLICE("\xFF")) ==
	    UINT64_C(0xaf64724c8602eb6e));
}

/* ---- commands ---- */

static void
test_commands(void **state)
{
	static const struct { struct slice text; const char *password; }
	rows[] = {
		{ SLICE("* smtps://h joe exec:echo\n"), NULL },
		{ SLICE("* smtps://h joe exec:echo token\n"), "token" },
		{ SLICE("* smtps://h joe \t exec:echo token\n"), "token" },
		{ SLICE("* smtps://h joe exec:echo%20token for=x\n"),
		    "token" },
		{ SLICE("* smtps://h joe exec:printf 'a  b%25s\\r\\nc' \"#\" "
		    "for=x\r\n"), "a  b#" },
		{ SLICE("* smtps://h joe exec:printf '\\r'\n"), NULL },
		{ SLICE("* smtps://h joe exec:printf '\\r\\r'\n"), "\r" },
		/* No shell, nothing of our descriptors and credentials. */
		{ SLICE("* smtps://h joe exec:echo $HOME `id` *\n"),
		    "$HOME `id` *" },
		{ SLICE("* smtps://h joe exec:sh -c 'echo "
		    "$HOME$CREDENTIALS_DIRECTORY$NOTIFY_SOCKET$(ls "
		    "/proc/self/fd | wc -l)'\n"), "/h4" },
	};

	(void)state;
	setenv("CREDENTIALS_DIRECTORY", directory.path, 1);
	setenv("NOTIFY_SOCKET", "/n", 1);
	setenv("HOME", "/h", 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		directory_put(&directory, "relay", rows[i].text);
		if (accounts_read(&accounts, "relay", &error) != 0)
			fail_msg("%s", error.text);
		assert_int_equal(account_secret_check(&accounts.items[0],
		    &error), 0);
		if (rows[i].password != NULL)
			check_secret(&accounts.items[0], rows[i].password);
		else
			check_no_secret("relay:1: the password is empty");
		accounts_free(&accounts);
	}
	unsetenv("CREDENTIALS_DIRECTORY");
	unsetenv("NOTIFY_SOCKET");
}

static void
test_commands_that_fail(void **state)
{
	static const struct { struct slice text; const char *why; bool check; }
	rows[] = {
		{ SLICE("* smtps://h joe exec:\n"),
		    "relay:1: exec: no command", true },
		{ SLICE("* smtps://h joe exec:echo 'x\n"),
		    "relay:1: exec: a quote without its end", true },
		{ SLICE("* smtps://h joe exec:./nowhere\n"), "relay:1: "
		    "./nowhere: cannot be run: No such file or directory",
		    true },
		{ SLICE("* smtps://h joe exec:false\n"),
		    "relay:1: false: exit status 1", false },
		{ SLICE("* smtps://h joe exec:sh -c 'echo secret; echo why "
		    ">&2; echo more >&2; exit 3'\n"),
		    "relay:1: sh: exit status 3: why", false },
		{ SLICE("* smtps://h joe exec:sh -c 'echo ! >&2; exit 3'\n"),
		    "relay:1: sh: exit status 3: !", false },
		{ SLICE("* smtps://h joe exec:sh -c 'echo >&2; exit 3'\n"),
		    "relay:1: sh: exit status 3", false },
		{ SLICE("* smtps://h joe exec:sleep 20\n"),
		    "relay:1: sleep: took over 1 s", false },
		{ SLICE("* smtps://h joe exec:sh -c 'head -c 6145 /dev/zero | "
		    "tr \\\\0 x'\n"),
		    "relay:1: the password has more than 6144 octets",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		read_good(rows[i].text);
		assert_int_equal(account_secret_read(&secret,
		    &accounts.items[0], 1, &error), -1);
		assert_string_equal(error.text, rows[i].why);
		assert_int_equal(account_secret_check(&accounts.items[0],
		    &error), rows[i].check ? -1 : 0);
		accounts_free(&accounts);
	}
	account_secret_wipe(&secret);
}

/* A name and an error that would not fit together. */
static void
test_long_command_error(void **state)
{
	struct text name = { .data = NULL }, text = { .data = NULL };
	char why[1024];

	(void)state;
	text_add(&name, SLICE("./"));
	text_repeat(&name, 'n', 98);
	assert_int_equal(symlink("/bin/sh", name.data), 0);
	text_format(&text, "* smtps://h joe exec:%s -c 'head -c 500 /dev/zero "
	    "| tr \\\\0 x >&2; echo >&2; exit 3'\n", name.data);
	read_good(text_slice(&text));
	text_free(&text);
	text_repeat(&text, 'x', 500);
	snprintf(why, sizeof(why), "%s: exit status 3: %s", name.data,
	    text.data);
	assert_int_equal(account_secret_read(&secret, &accounts.items[0], 10,
	    &error), -1);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("relay:1: ")));
	why[250] = '\0';
	assert_string_equal(error.text + 9, why);
	account_secret_wipe(&secret);
	accounts_free(&accounts);
	assert_int_equal(unlink(name.data), 0);
	text_free(&name);
	text_free(&text);
}

static void
test_mechanisms(void **state)
{
	static const enum sasl_client_mechanism rows[] = {
		SASL_CLIENT_PLAIN, SASL_CLIENT_LOGIN, SASL_CLIENT_XOAUTH2,
		SASL_CLIENT_OAUTHBEARER, SASL_CLIENT_NONE };

	(void)state;
	read_good(SLICE("* smtps://h?auth=plain j p\n"
	    "* smtp://h?ca=x&AUTH=Login j p\n"
	    "* smtp+plain://localhost?auth=xoauth2 j p\n"
	    "* lmtp+unix:/x?auth=OAUTHBEARER j p\n* smtps://h j p\n"));
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(accounts.items[i].hop.auth, rows[i]);
	assert_string_equal(accounts.items[3].hop.host, "/x");
	accounts_free(&accounts);
}

/* Whatever a super-server calls the folder of the credentials, which file
 * and line it was is there. */
static void
test_long_paths(void **state)
{
	struct text path = { .data = NULL };

	(void)state;
	text_add(&path, slice_from(directory.path));
	for (int i = 0; i < 80; i++)
		text_add(&path, SLICE("/."));
	text_add(&path, SLICE("/123456789/../credentials"));
	directory_mkdir(&directory, "123456789");
	if (access("credentials", F_OK) != 0)
		directory_mkdir(&directory, "credentials");
	directory_put(&directory, "credentials/relay",
	    SLICE("#\n* smtps://h joe file:gone\n"));
	setenv("CREDENTIALS_DIRECTORY", path.data, 1);
	text_add(&path, SLICE("/relay"));
	assert_int_equal(accounts_read(&accounts, path.data, &error), 0);
	assert_int_equal(account_secret_read(&secret, &accounts.items[0], 1,
	    &error), -1);
	accounts_free(&accounts);
	unsetenv("CREDENTIALS_DIRECTORY");
	if (strstr(error.text, "/../credentials/relay:2: ") == NULL ||
	    strstr(error.text, "/../credentials/gone: No such file or "
	    "directory") == NULL)
		fail_msg("%s", error.text);
	text_free(&path);
}

/* A mistake in the last of many leaves nothing behind. */
static void
test_late_error(void **state)
{
	struct text text = { .data = NULL };

	(void)state;
	for (int i = 0; i < 100; i++)
		text_format(&text, "d%d.test smtps://h joe pw%d\n", i, i);
	text_format(&text, "* nonsense joe pw\n");
	assert_int_equal(read_text(text_slice(&text)), -1);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("relay:101: ")));
	assert_null(accounts.items);
	assert_int_equal(accounts.n, 0);
	text_free(&text);
}

/* ---- which one ---- */

static void
test_find(void **state)
{
	static const struct { struct slice sender, login; unsigned line; }
	rows[] = {
		{ SLICE("joe@example.com"), SLICE("joe"), 1 },
		{ SLICE("JOE@Example.COM"), SLICE("joe"), 1 },
		/* for= is a login's name, to the letter. */
		{ SLICE("joe@example.com"), SLICE("JOE"), 2 },
		{ SLICE("joe@example.com"), SLICE("ann"), 2 },
		{ SLICE("ann@example.com"), SLICE("joe"), 2 },
		{ SLICE("ann@EXAMPLE.com"), SLICE(""), 2 },
		/* First match wins, not the best one. */
		{ SLICE("ann@example.com"), SLICE("x"), 2 },
		{ SLICE("a@sub.example.com"), SLICE("x"), 5 },
		{ SLICE("a@myexample.com"), SLICE("x"), 5 },
		{ SLICE("\"a@b\"@example.com"), SLICE("x"), 2 },
		{ SLICE("example.com"), SLICE("x"), 5 },
		/* <> is of no domain. */
		{ SLICE(""), SLICE("x"), 5 },
		{ SLICE(""), SLICE("bounce"), 5 },
		{ SLICE("z@limited.test"), SLICE("z"), 4 },
		{ SLICE("z@limited.test"), SLICE("y"), 5 },
	};

	(void)state;
	read_good(SLICE("joe@example.com smtps://h for=joe\n"
	    "example.com smtps://h\n"
	    "ann@example.com smtps://h\n"));
	assert_ptr_equal(accounts_find(&accounts, SLICE("joe@example.com"),
	    SLICE("joe")), &accounts.items[0]);
	assert_null(accounts_find(&accounts, SLICE("a@b"), SLICE("x")));
	assert_null(accounts_find(&accounts, SLICE(""), SLICE("x")));
	accounts_free(&accounts);

	read_good(SLICE("joe@example.com smtps://h for=joe\n"
	    "example.com smtps://h\n"
	    "ann@example.com smtps://h\n"
	    "limited.test smtps://h for=z\n"
	    "* smtps://h\n"));
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct account *found = accounts_find(&accounts,
		    rows[i].sender, rows[i].login);

		assert_non_null(found);
		if (found->line != rows[i].line)
			fail_msg("row %zu: line %u", i, found->line);
	}
	accounts_free(&accounts);
	/* With nothing in it at all. */
	assert_null(accounts_find(&accounts, SLICE("a@b"), SLICE("x")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_senders_and_hosts),
		cmocka_unit_test(test_percent_encoding),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_schemes),
		cmocka_unit_test(test_password_files),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_scheme_errors),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_long_socket),
		cmocka_unit_test(test_long_hosts),
		cmocka_unit_test(test_passwords_are_read_late),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_commands_that_fail),
		cmocka_unit_test(test_long_command_error),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_long_paths),
		cmocka_unit_test(test_late_error),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests_name("account", tests, set_up,
	    tear_down);
}
