/*
 * test_conn_tls.c - the pump under TLS: the handshake, text both ways, and
 * how it ends. The peer is a process of its own, with libtls as it is.
 */
#include "drive.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tls.h>

#include "keypair.h"
#include "system/clock.h"
#include "system/conn.h"

#define LIMIT 300 /* milliseconds */

static struct directory directory;
static struct conn conn;
static struct wire wire;
static struct error error;
static char in_storage[4096], out_storage[1 << 18];
static struct tls *context; /* a server's */
static pid_t peer;
static int peer_fd; /* in the peer */

static int
set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	context = keypair_set_up(&directory, "one.test");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keypair_tear_down(&directory, context);
	return 0;
}

/* The peer's exit status says whether it saw what it should. */
static void
start_peer(void (*play)(void))
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fflush(NULL);
	peer = fork();
	assert_true(peer >= 0);
	if (peer == 0) {
		alarm(60);
		close(fds[0]);
		peer_fd = fds[1];
		play();
		_exit(0);
	}
	close(fds[1]);
	conn_open(&conn, fds[0], fds[0], 60);
	wire_init(&wire, in_storage, sizeof(in_storage), out_storage,
	    sizeof(out_storage));
}

static void
check_peer(void)
{
	int status;

	assert_int_equal(waitpid(peer, &status, 0), peer);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the peer: whatever is not as it should be ends it. */
#define EXPECT(condition) do { if (!(condition)) _exit(__LINE__ % 256); } \
	while (0)

static struct tls *
start_client(void)
{
	struct tls_config *config = tls_config_new();
	struct tls *client = tls_client();

	tls_config_set_ca_file(config, "one.test.crt");
	EXPECT(tls_configure(client, config) == 0);
	tls_config_free(config);
	EXPECT(tls_connect_socket(client, peer_fd, "one.test") == 0);
	EXPECT(tls_handshake(client) == 0);
	return client;
}

/* A ticket for another session, which comes first, is read and is nothing. */
static ssize_t
peer_read(struct tls *tls, char *octets, size_t size)
{
	ssize_t n;

	do
		n = tls_read(tls, octets, size);
	while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
	return n;
}

static void
expect_text(struct tls *tls, const char *want)
{
	char got[256];
	size_t len = 0;

	while (len < strlen(want)) {
		ssize_t n = peer_read(tls, got + len, strlen(want) - len);

		EXPECT(n > 0);
		len += (size_t)n;
	}
	EXPECT(memcmp(got, want, len) == 0);
}

/* Pumps until so many octets have come. */
static void
pump(size_t octets)
{
	while (buf_contents(&wire.in).len < octets && !wire.eof)
		if (conn_pump(&conn, &wire, &error) != 0)
			fail_msg("%s", error.text);
}

static void
play_session(void)
{
	struct tls *tls = start_client();

	expect_text(tls, "+OK hello\r\n");
	EXPECT(tls_write(tls, "QUIT\r\n", 6) == 6);
	expect_text(tls, "+OK bye\r\n");
	/* The end was told: not a connection that broke. */
	EXPECT(peer_read(tls, (char[1]){ 0 }, 1) == 0);
}

static void
test_server(void **state)
{
	(void)state;
	start_peer(play_session);
	if (conn_start_tls(&conn, context, &error) != 0)
		fail_msg("%s", error.text);
	wire_put_line(&wire, SLICE("+OK hello"));
	pump(6);
	assert_slice(buf_contents(&wire.in), "QUIT\r\n");
	wire_put_line(&wire, SLICE("+OK bye"));
	conn_close(&conn, &wire, true);
	check_peer();
}

static void
play_server(void)
{
	struct tls *tls;

	EXPECT(tls_accept_socket(context, &tls, peer_fd) == 0);
	EXPECT(tls_handshake(tls) == 0);
	EXPECT(tls_write(tls, "220 hello\r\n", 11) == 11);
	expect_text(tls, "QUIT\r\n");
	EXPECT(peer_read(tls, (char[1]){ 0 }, 1) == 0);
}

static void
test_client(void **state)
{
	struct tls_config *config = tls_config_new();
	struct tls *client = tls_client();

	(void)state;
	tls_config_set_ca_file(config, "one.test.crt");
	assert_int_equal(tls_configure(client, config), 0);
	tls_config_free(config);
	start_peer(play_server);
	if (conn_start_tls_client(&conn, client, "one.test", &error) != 0)
		fail_msg("%s", error.text);
	pump(11);
	assert_slice(buf_contents(&wire.in), "220 hello\r\n");
	wire_put_line(&wire, SLICE("QUIT"));
	conn_close(&conn, &wire, true);
	check_peer();
}

/* Reads nothing but the end. */
static void
play_silence(void)
{
	char octets[1024];

	while (read(peer_fd, octets, sizeof(octets)) > 0)
		;
}

static void
test_silent_peer(void **state)
{
	(void)state;
	start_peer(play_silence);
	conn.deadline.timeout = LIMIT;
	int64_t began = clock_now();
	assert_int_equal(conn_start_tls(&conn, context, &error), -1);
	assert_true(clock_now() - began >= LIMIT);
	assert_text(error.text, "TLS handshake: took too long");
	assert_int_equal(error.kind, ERROR_TIMEOUT);
	conn_close(&conn, NULL, false);
	check_peer();
}

static void
play_leaving(void)
{
	char octet;

	/* Half a record, and the end. */
	EXPECT(write(peer_fd, "\x16\x03\x01\x02", 4) == 4);
	EXPECT(shutdown(peer_fd, SHUT_WR) == 0);
	while (read(peer_fd, &octet, 1) > 0)
		;
}

static void
test_leaving_peer(void **state)
{
	(void)state;
	start_peer(play_leaving);
	assert_int_equal(conn_start_tls(&conn, context, &error), -1);
	assert_text(error.text, "TLS handshake: connection closed by peer");
	assert_int_equal(error.kind, ERROR_PEER);
	conn_close(&conn, NULL, false);
	check_peer();
}

static size_t much; /* octets */

/* Says it all again, once it has it: we do not read while we have something
 * to say, and two who only talk would wait for each other. */
static void
play_echo(void)
{
	struct tls *tls = start_client();
	static char octets[1 << 18];
	ssize_t n;

	for (size_t len = 0; len < much; len += (size_t)n) {
		n = peer_read(tls, octets + len, much - len);
		EXPECT(n > 0);
	}
	for (size_t sent = 0; sent < much; sent += (size_t)n) {
		do
			n = tls_write(tls, octets + sent, much - sent);
		while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
		EXPECT(n > 0);
	}
	EXPECT(peer_read(tls, octets, 1) == 0);
}

static void
test_much(void **state)
{
	struct text want = { .data = NULL }, got = { .data = NULL };

	(void)state;
	for (unsigned i = 0; want.len < 250000; i++)
		text_format(&want, "%u ", i);
	much = want.len;
	start_peer(play_echo);
	assert_int_equal(conn_start_tls(&conn, context, &error), 0);
	assert_true(buf_append(&wire.out, text_slice(&want)));
	while (got.len < want.len) {
		if (conn_pump(&conn, &wire, &error) != 0)
			fail_msg("%s", error.text);
		struct slice in = buf_contents(&wire.in);
		text_add(&got, in);
		buf_consume(&wire.in, in.len);
	}
	assert_slices(text_slice(&got), text_slice(&want));
	conn_close(&conn, &wire, true);
	check_peer();
	text_free(&want);
	text_free(&got);
}

static int go[2];       /* a pipe, by which the peer hears */
static bool told_by_it; /* that we wait for it */

/* In place of the library's. */
int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	struct timespec left = *timeout;

	if (told_by_it && n > 0)
		assert_int_equal(write(go[1], "", 1), 1);
	return (int)syscall(SYS_ppoll, fds, n, &left, mask, _NSIG / 8);
}

/* Reads nothing before that. */
static void
play_late_reader(void)
{
	struct tls *tls = start_client();
	static char octets[1 << 18];
	ssize_t n;

	EXPECT(read(go[0], octets, 1) == 1);
	for (size_t len = 0; len < much; len += (size_t)n) {
		n = peer_read(tls, octets + len, much - len);
		EXPECT(n > 0);
	}
	EXPECT(peer_read(tls, octets, 1) == 0);
}

/* A last reply so large that there is hardly any room left for the end, or
 * none: the peer gets all of it, and is told that it is the end. */
static void
test_last_words(void **state)
{
	const int small = 4096;
	struct text words = { .data = NULL };

	(void)state;
	text_repeat(&words, 'x', TRANSPORT_CIPHER_SIZE);
	/* By how much a record is larger than its text is TLS's affair. */
	for (much = TRANSPORT_CIPHER_SIZE - 180;
	    much < TRANSPORT_CIPHER_SIZE - 80; much += 12) {
		assert_int_equal(pipe(go), 0);
		start_peer(play_late_reader);
		setsockopt(conn.transport.out_fd, SOL_SOCKET, SO_SNDBUF,
		    &small, sizeof(small));
		assert_int_equal(conn_start_tls(&conn, context, &error), 0);
		assert_int_equal(conn_flush(&conn, &wire, &error), 0);
		assert_true(buf_append(&wire.out,
		    (struct slice){ words.data, much }));
		told_by_it = true;
		conn_close(&conn, &wire, true);
		told_by_it = false;
		check_peer();
		close(go[0]);
		close(go[1]);
	}
	text_free(&words);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_silent_peer),
		cmocka_unit_test(test_leaving_peer),
		cmocka_unit_test(test_much),
		cmocka_unit_test(test_last_words),
	};

	return cmocka_run_group_tests_name("conn_tls", tests, set_up,
	    tear_down);
}
