/*
 * test_relay_tls.c - next hops under TLS: who is believed to be the one, what
 * is said before and after, and where the system's CAs are looked for.
 *
 * The calls below stand before the libraries' own: the system's CAs are where
 * the test has put them.
 */
#include "drive.h"

#include <dlfcn.h>

#include "base/base64.h"
#include "keypair.h"
#include "relay_hop.h"
#include "system/clock.h"

#define SYSTEM_CAS "/etc/ssl/certs"
#define OFFERS_STARTTLS OFFERS("< 250-8BITMIME\n< 250 STARTTLS\n")
#define CANNOT_LOG_IN "Cannot log in to the next hop, try again later"

static struct directory directory;

/* ---- the system's CAs ---- */

static struct {
	const char *readable; /* the bundles that are */
	const char *hashed;   /* a name in the directory */
	const char *path;     /* what libtls is told */
	const char *file;
} cas;

DIR *
opendir(const char *name)
{
	DIR *(*real)(const char *);

	*(void **)&real = dlsym(RTLD_NEXT, "opendir");
	if (strcmp(name, SYSTEM_CAS) != 0)
		return real(name);
	return cas.hashed != NULL ? real("certs") : NULL;
}

int
access(const char *path, int mode)
{
	(void)mode;
	return cas.readable != NULL && strstr(cas.readable, path) != NULL
	    ? 0 : -1;
}

/* Which of the two there is no memory for. */
static bool no_config, no_client;

struct tls_config *
tls_config_new(void)
{
	struct tls_config *(*real)(void);

	*(void **)&real = dlsym(RTLD_NEXT, "tls_config_new");
	return no_config ? NULL : real();
}

struct tls *
tls_client(void)
{
	struct tls *(*real)(void);

	*(void **)&real = dlsym(RTLD_NEXT, "tls_client");
	return no_client ? NULL : real();
}

const char *
tls_default_ca_cert_file(void)
{
	return "default.pem";
}

int
tls_config_set_ca_path(struct tls_config *config, const char *path)
{
	(void)config;
	cas.path = path;
	return 0;
}

int
tls_config_set_ca_file(struct tls_config *config, const char *file)
{
	int (*real)(struct tls_config *, const char *);

	*(void **)&real = dlsym(RTLD_NEXT, "tls_config_set_ca_file");
	cas.file = file;
	/* Those of the system are not there. */
	return strncmp(file, "/etc/", 5) == 0 ? 0 : real(config, file);
}

/* ---- next hops ---- */

static int
set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	hop_context = keypair_set_up(&directory, "localhost");
	keypair_make("other.test");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keypair_tear_down(&directory, hop_context);
	return 0;
}

static void
play_tls(enum next_hop_scheme scheme, const char *script)
{
	play(script);
	account.hop.scheme = scheme;
	account.hop.host = "localhost";
	account.hop.verify = true;
	account.hop.ca_file = "localhost.crt";
}

static void
check_error(const char *text)
{
	if (strstr(error.text, text) == NULL)
		fail_msg("%s", error.text);
}

static void
test_smtps(void **state)
{
	(void)state;
	play_tls(NEXT_HOP_SMTPS, "*\n" HELLO MAIL RCPT_A DATA "= x|\n"
	    "< 250 2.0.0 in\n" QUIT);
	A_OK();
	message("x\n", 0, "250 2.0.0 in");
	end();
}

/* What was offered in the clear is not what counts. */
static void
test_starttls(void **state)
{
	(void)state;
	play_tls(NEXT_HOP_SMTP, OFFERS_STARTTLS "> STARTTLS\n< 220 go\n*\n"
	    EHLO "< 250 x\n" MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n" QUIT);
	A_OK();
	message("x\n", 0, "250 2.0.0 in");
	end();
	play_tls(NEXT_HOP_SMTP, OFFERS("< 250 STARTTLS\n") "> STARTTLS\n"
	    "< 220 go\n*\n" EHLO "< 250-x\n< 250 8BITMIME\n"
	    "> MAIL FROM:<s@x> BODY=8BITMIME\n< 250 ok\n" RCPT_A QUIT);
	A_OK();
	end();
}

/* Nothing goes on in the clear. */
static void
test_no_starttls(void **state)
{
	static const struct { const char *script, *why; } rows[] = {
		{ HELLO "@\n", "localhost offers no STARTTLS" },
		{ OFFERS_STARTTLS "> STARTTLS\n< 454 4.7.0 not now\n@\n",
		    "localhost answered STARTTLS with 454 4.7.0 not now" },
		{ OFFERS_STARTTLS "> STARTTLS\n< 250 go\n@\n",
		    "localhost answered STARTTLS with 250  go" },
		{ OFFERS_STARTTLS "> STARTTLS\n!\n",
		    "localhost: the next hop closed the connection" },
		/* What comes before the handshake is no part of it. */
		{ OFFERS_STARTTLS "> STARTTLS\n< 220 go|250 x\n@\n",
		    "localhost said something before its turn: 250 x" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		play_tls(NEXT_HOP_SMTP, rows[i].script);
		/* It does not come to the login. */
		account.login = "joe";
		recipient(0, -1, "451 4.4.2 " LATER);
		assert_slices(slice_from(error.text),
		    slice_from(rows[i].why));
		end();
	}
	/* Nor is a refused EHLO under TLS anything to go on with. */
	play_tls(NEXT_HOP_SMTP, OFFERS_STARTTLS "> STARTTLS\n< 220 go\n*\n"
	    EHLO "< 450 x\n@\n");
	recipient(0, -1, "451 4.4.2 " LATER);
	check_error("answered EHLO with 450");
	end();
}

/* Nothing is said to somebody else. */
static void
test_stranger(void **state)
{
	static const struct {
		const char *host, *ca_file; bool verify; const char *why;
	} rows[] = {
		{ "localhost", "other.test.crt", true, "certificate" },
		{ "127.0.0.1", "localhost.crt", true, "127.0.0.1" },
		/* Unless nobody is to look. */
		{ "127.0.0.1", "other.test.crt", false, NULL },
		{ "127.0.0.1", NULL, false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int starttls = 0; starttls < 2; starttls++) {
			struct text script = { .data = NULL };

			text_format(&script, "%s*\n%s", starttls
			    ? OFFERS_STARTTLS "> STARTTLS\n< 220 go\n" : "",
			    rows[i].why != NULL ? "@\n" : starttls
			    ? EHLO "< 250 x\n" MAIL RCPT_A QUIT
			    : HELLO MAIL RCPT_A QUIT);
			play_tls(starttls ? NEXT_HOP_SMTP : NEXT_HOP_SMTPS,
			    script.data);
			account.hop.host = rows[i].host;
			account.hop.ca_file = rows[i].ca_file;
			account.hop.verify = rows[i].verify;
			if (rows[i].why == NULL) {
				A_OK();
			} else {
				recipient(0, -1, starttls
				    ? "451 4.4.2 " LATER
				    : "451 4.4.1 " LATER);
				check_error("TLS handshake");
				check_error(rows[i].why);
				/* The scheme is the right one. */
				assert_null(strstr(error.text, "smtp://"));
			}
			end();
			text_free(&script);
		}
}

/* Who cannot be known is not spoken to. */
static void
test_no_ca_file(void **state)
{
	(void)state;
	play_tls(NEXT_HOP_SMTPS, GREETING "@\n");
	account.hop.ca_file = "none.pem";
	recipient(0, -1, "451 4.4.1 " LATER);
	check_error("CA file none.pem: ");
	end();
	play_tls(NEXT_HOP_SMTP, OFFERS_STARTTLS "> STARTTLS\n< 220 go\n@\n");
	account.hop.ca_file = "none.pem";
	recipient(0, -1, "451 4.4.2 " LATER);
	check_error("CA file none.pem: ");
	end();
}

/* RFC 8689 4.2.1 */
static void
test_require_tls(void **state)
{
	(void)state;
	play_tls(NEXT_HOP_SMTPS, "*\n" OFFERS("< 250 REQUIRETLS\n")
	    "> MAIL FROM:<s@x> REQUIRETLS\n< 250 ok\n" RCPT_A QUIT);
	envelope.require_tls = true;
	A_OK();
	end();
	play_tls(NEXT_HOP_SMTPS, "*\n" HELLO MAIL RCPT_A QUIT);
	envelope.require_tls = true;
	recipient(0, 0, "550 5.7.30 The next hop does not offer REQUIRETLS");
	envelope.require_tls = false;
	A_OK();
	end();
}

/* ---- a scheme that is not the next hop's ---- */

#define SMTP_HINT "; where TLS begins with STARTTLS it is smtp://"
#define SMTPS_HINT "; there was no greeting; where TLS begins at once it is " \
	"smtps://"

static void
test_clear_text(void **state)
{
	static const char *const answers[] = { "220 localhost ESMTP",
		"x|220 localhost ESMTP ready, and what else there may be" };
	char script[512];

	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		snprintf(script, sizeof(script), ".\n< %s\n~\n", answers[i]);
		play_tls(NEXT_HOP_SMTPS, script);
		recipient(0, -1, "451 4.4.1 " LATER);
		check_error("localhost: TLS handshake: ");
		check_error(SMTP_HINT);
		end();
		/* Where STARTTLS was said it would be wrong. */
		snprintf(script, sizeof(script), "%s> STARTTLS\n< 220 go\n.\n"
		    "< %s\n~\n", OFFERS_STARTTLS, answers[i]);
		play_tls(NEXT_HOP_SMTP, script);
		recipient(0, -1, "451 4.4.2 " LATER);
		check_error("localhost: TLS handshake: ");
		assert_null(strstr(error.text, "smtp://"));
		end();
	}
}

static void
test_no_greeting(void **state)
{
	static const struct { enum next_hop_scheme scheme; bool hint; }
	rows[] = {
		{ NEXT_HOP_SMTP, true }, { NEXT_HOP_SMTP_PLAIN, true },
		{ NEXT_HOP_LMTP, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		play_tls(rows[i].scheme, "@\n");
		relay.limits.command = 1;
		recipient(0, -1, "451 4.4.2 " LATER);
		check_error("localhost: ");
		assert_int_equal(strstr(error.text, SMTPS_HINT) != NULL,
		    rows[i].hint);
		end();
	}
	/* One that says something else does not wait for TLS. */
	play_tls(NEXT_HOP_SMTP, "< 220-x\n!\n");
	recipient(0, -1, "451 4.4.2 " LATER);
	assert_null(strstr(error.text, "smtps://"));
	end();
	play_tls(NEXT_HOP_SMTP, "< 554 no\n@\n");
	recipient(0, -1, "451 4.4.2 " LATER);
	check_error("localhost answered the connection with 554");
	assert_null(strstr(error.text, "smtps://"));
	end();
}

/* All of the opening has its limit, the handshake with it. */
static void
test_silence(void **state)
{
	(void)state;
	play_tls(NEXT_HOP_SMTPS, "~\n");
	relay.limits.opening = 1;
	int64_t began = clock_now();
	recipient(0, -1, "451 4.4.1 " LATER);
	assert_true(clock_now() - began >= 1000);
	check_error("localhost: TLS handshake: took too long");
	end();
}

/* ---- the login ---- */

/* A token goes with the name of whom it is for (RFC 7628 3.1). */
static void
test_token(void **state)
{
	struct text token = { .data = NULL }, script = { .data = NULL };
	char encoded[256];

	(void)state;
	directory_put(&directory, "token", SLICE("t0ken\n"));
	hop_listen();
	text_format(&token, "n,a=joe,\1host=localhost\1port=%s\1"
	    "auth=Bearer t0ken\1\1", hop_port);
	size_t len = base64_encode(text_slice(&token), encoded,
	    sizeof(encoded));
	text_format(&script, "*\n%s> AUTH OAUTHBEARER %.*s\n< 235 in\n%s",
	    OFFERS("< 250 AUTH PLAIN OAUTHBEARER\n"), (int)len, encoded,
	    MAIL RCPT_A QUIT);
	play_tls(NEXT_HOP_SMTPS, script.data);
	account.login = "joe";
	account.password_kind = ACCOUNT_PASSWORD_FILE;
	account.password = "token";
	account.hop.auth = SASL_CLIENT_OAUTHBEARER;
	A_OK();
	end();
	/* And not where it is not taken. */
	play_tls(NEXT_HOP_SMTPS, "*\n" OFFERS("< 250 AUTH PLAIN\n") "@\n");
	account.login = "joe";
	account.hop.auth = SASL_CLIENT_OAUTHBEARER;
	recipient(0, -1, "451 4.7.0 " CANNOT_LOG_IN);
	check_error("localhost does not offer AUTH OAUTHBEARER");
	end();
	text_free(&token);
	text_free(&script);
}

/* ---- CAs ---- */

static void
check_account(const struct account *checked, const char *why)
{
	error.text[0] = '\0';
	assert_int_equal(relay_check_account(checked, &error),
	    why != NULL ? -1 : 0);
	if (why != NULL)
		check_error(why);
}

static void
test_check_account(void **state)
{
	struct account checked = { .sender = SLICE("*"), .hop = {
		NEXT_HOP_SMTPS, .host = "localhost", .port = "465",
		.verify = true } };

	(void)state;
	directory_put(&directory, "empty.pem", SLICE("x\n"));
	checked.hop.ca_file = "localhost.crt";
	check_account(&checked, NULL);
	checked.hop.ca_file = "none.pem";
	check_account(&checked, "CA file none.pem: ");
	checked.hop.ca_file = "empty.pem";
	check_account(&checked, "TLS for localhost with CA file empty.pem: ");
	checked.hop.scheme = NEXT_HOP_SMTP;
	check_account(&checked, "TLS for localhost with CA file empty.pem: ");
	/* It is not read where nobody is to look. */
	checked.hop.verify = false;
	check_account(&checked, NULL);
	checked.hop.verify = true;
	checked.hop.scheme = NEXT_HOP_SMTP_PLAIN;
	check_account(&checked, NULL);
	checked.hop.scheme = NEXT_HOP_SMTPS;
	/* Without memory for it. */
	no_config = true;
	check_account(&checked, "TLS: out of memory");
	no_config = false;
	no_client = true;
	check_account(&checked, "TLS: out of memory");
	no_client = false;
	/* Among the unit's credentials. */
	checked.hop.ca_file = "localhost.crt";
	setenv("CREDENTIALS_DIRECTORY", "certs", 1);
	check_account(&checked, "CA file certs/localhost.crt: ");
	setenv("CREDENTIALS_DIRECTORY", directory.path, 1);
	check_account(&checked, NULL);
	unsetenv("CREDENTIALS_DIRECTORY");
}

/* A directory of hashes rather than a bundle, libtls's own bundle, or one of
 * those that systems have. */
static void
test_system_cas(void **state)
{
	static const char debian[] = SYSTEM_CAS "/ca-certificates.crt";
	static const char fedora[] = "/etc/pki/tls/certs/ca-bundle.crt";
	static const struct {
		const char *hashed, *readable, *path, *file;
	} rows[] = {
		{ "0123abcd.0", "default.pem", SYSTEM_CAS, NULL },
		{ "0123abcd.0", debian, SYSTEM_CAS, NULL },
		{ "0123abcd.1", debian, NULL, debian },
		{ "0123abc.0", debian, NULL, debian },
		{ "0123abcd0.0", debian, NULL, debian },
		{ "0123abcx.0", debian, NULL, debian },
		{ "0123abcd.00", debian, NULL, debian },
		{ "0123abcd", debian, NULL, debian },
		{ "some.pem", fedora, NULL, fedora },
		{ NULL, debian, NULL, debian },
		{ NULL, fedora, NULL, fedora },
		{ NULL, "default.pem", NULL, NULL },
		{ NULL, "default.pem " SYSTEM_CAS "/ca-certificates.crt", NULL,
		    NULL },
		{ NULL, NULL, NULL, NULL },
	};
	struct account checked = { .sender = SLICE("*"), .hop = {
		NEXT_HOP_SMTPS, .host = "localhost", .port = "465",
		.verify = true } };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		cas.hashed = rows[i].hashed;
		cas.readable = rows[i].readable;
		cas.path = cas.file = NULL;
		directory_mkdir(&directory, "certs");
		if (cas.hashed != NULL) {
			char name[64];

			snprintf(name, sizeof(name), "certs/%s", cas.hashed);
			directory_put(&directory, name, SLICE("x"));
		}
		relay_check_account(&checked, &error);
		if (!slice_equal(slice_from(cas.path),
		    slice_from(rows[i].path)) ||
		    !slice_equal(slice_from(cas.file),
		    slice_from(rows[i].file)))
			fail_msg("%zu: %s, %s", i,
			    cas.path != NULL ? cas.path : "none",
			    cas.file != NULL ? cas.file : "none");
		remove_tree(directory.fd, "certs");
	}
	memset(&cas, 0, sizeof(cas));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smtps),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_no_starttls),
		cmocka_unit_test(test_stranger),
		cmocka_unit_test(test_no_ca_file),
		cmocka_unit_test(test_require_tls),
		cmocka_unit_test(test_clear_text),
		cmocka_unit_test(test_no_greeting),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_check_account),
		cmocka_unit_test(test_system_cas),
	};

	return cmocka_run_group_tests_name("relay_tls", tests, set_up,
	    tear_down);
}
