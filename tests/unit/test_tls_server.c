/*
 * test_tls_server.c - a context from files, which certificate a client gets,
 * and what is said of files that are no good.
 */
#include "drive.h"

#include <sys/socket.h>

#include "keypair.h"
#include "system/tls_server.h"

static struct directory directory;
static struct error error;

static int
set_up(void **state)
{
	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	keypair_make("one.test");
	keypair_make("two.test");
	directory_put(&directory, "bad.crt", SLICE("no certificate\n"));
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

static const char *certs[] = { "one.test.crt", "two.test.crt" };
static const char *keys[] = { "one.test.key", "two.test.key" };

static struct tls *
make(size_t n_certs, size_t n_keys, const char *protocols)
{
	const struct tls_server_options options = {
		.certs = certs, .n_certs = n_certs,
		.keys = keys, .n_keys = n_keys,
		.protocols = protocols,
	};

	error = (struct error){ .kind = ERROR_NONE };
	return tls_server_new(&options, &error);
}

/* Both ends by turns, until both are done or one has failed. */
static bool
shake_hands(struct tls *server, struct tls *client)
{
	ssize_t at_server = TLS_WANT_POLLIN, at_client = TLS_WANT_POLLIN;

	for (int turn = 0; turn < 100; turn++) {
		if (at_client != 0)
			at_client = tls_handshake(client);
		if (at_server != 0)
			at_server = tls_handshake(server);
		if (at_server == 0 && at_client == 0)
			return true;
		if (at_server == -1 || at_client == -1)
			return false;
	}
	return false;
}

/* Connects as a client that wants that server and protocol; *subject is
 * whose certificate it got, the version what was agreed on. */
static bool
connect_to(struct tls *context, const char *name, uint32_t protocols,
    char *subject, size_t size, char version[16])
{
	struct tls_config *config = tls_config_new();
	struct tls *client = tls_client();
	struct tls *server = NULL;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    fds), 0);
	tls_config_insecure_noverifycert(config);
	tls_config_insecure_noverifyname(config);
	tls_config_set_protocols(config, protocols);
	assert_int_equal(tls_configure(client, config), 0);
	assert_int_equal(tls_connect_socket(client, fds[0], name), 0);
	assert_int_equal(tls_accept_socket(context, &server, fds[1]), 0);
	bool done = shake_hands(server, client);
	if (done) {
		snprintf(subject, size, "%s", tls_peer_cert_subject(client));
		snprintf(version, 16, "%s", tls_conn_version(client));
	}
	tls_free(server);
	tls_free(client);
	tls_config_free(config);
	close(fds[0]);
	close(fds[1]);
	return done;
}

static void
test_names(void **state)
{
	struct tls *context = make(2, 2, "secure");
	char subject[100], version[16];
	static const struct { const char *name; const char *subject; }
	rows[] = {
		{ "one.test", "/CN=one.test" },
		{ "two.test", "/CN=two.test" },
		/* The first one is for names that no certificate has. */
		{ "other.test", "/CN=one.test" },
	};

	(void)state;
	assert_non_null(context);
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(connect_to(context, rows[i].name,
		    TLS_PROTOCOLS_DEFAULT, subject, sizeof(subject),
		    version));
		assert_string_equal(subject, rows[i].subject);
	}
	tls_free(context);
}

static void
test_protocols(void **state)
{
	struct tls *context = make(1, 1, "tlsv1.3");
	char subject[100], version[16];

	(void)state;
	assert_non_null(context);
	assert_true(connect_to(context, "one.test", TLS_PROTOCOLS_DEFAULT,
	    subject, sizeof(subject), version));
	assert_string_equal(version, "TLSv1.3");
	assert_false(connect_to(context, "one.test", TLS_PROTOCOL_TLSv1_2,
	    subject, sizeof(subject), version));
	tls_free(context);
	assert_null(make(1, 1, "tlsv9"));
	assert_int_equal(error.kind, ERROR_CONFIG);
	assert_non_null(strstr(error.text, "--tls-protocols 'tlsv9'"));
}

static void
test_credentials(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	assert_null(make(1, 1, "secure"));
	setenv("CREDENTIALS_DIRECTORY", directory.path, 1);
	struct tls *context = make(1, 1, "secure");
	assert_non_null(context);
	tls_free(context);
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(chdir(directory.path), 0);
}

static void
check_fault(const char *text)
{
	if (strncmp(error.text, text, strlen(text)) != 0)
		fail_msg("%s\nand not: %s", error.text, text);
	assert_int_equal(error.kind, ERROR_CONFIG);
}

static void
test_faults(void **state)
{
	(void)state;
	assert_null(make(2, 1, "secure"));
	check_fault("2 --tls-cert and 1 --tls-key: each certificate needs "
	    "its key");

	certs[0] = "none.crt";
	assert_null(make(1, 1, "secure"));
	check_fault("--tls-cert none.crt: No such file or directory; without "
	    "TLS it is --tls off");
	certs[0] = "bad.crt";
	assert_null(make(1, 1, "secure"));
	check_fault("--tls-cert bad.crt: there is no certificate in PEM form");
	certs[0] = "one.test.crt";

	keys[0] = "none.key";
	assert_null(make(1, 1, "secure"));
	check_fault("--tls-key none.key: No such file or directory");
	keys[0] = "one.test.key";

	/* Of several pairs the one that is wrong is named. */
	keys[1] = "one.test.key";
	assert_null(make(2, 2, "secure"));
	check_fault("--tls-key one.test.key is not the key of --tls-cert "
	    "two.test.crt");
	keys[1] = "two.test.key";
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests_name("tls_server", tests, set_up,
	    tear_down);
}
