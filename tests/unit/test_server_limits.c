/*
 * test_server_limits.c - level 2 of the library: how long peers may take, to
 * the millisecond, and who is not waited for at all.
 */
#include "drive.h"

#ifdef __linux__
#include <arpa/inet.h>
#include <tls.h>

#include "library/server.h"
#include "server_calls.h"

/* ---- time ---- */

/* A handshake has 30 seconds, or the peer's time where that is less. */
static void
test_handshake_limit(void **state)
{
	static const struct { unsigned timeout; int64_t limit; } rows[] = {
		{ 0, 30000 }, { 31, 30000 }, { 30, 30000 }, { 29, 29000 },
		{ 5, 5000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mh_options options = smtp;
		struct host host;

		options.flags |= MH_IMPLICIT_TLS;
		options.timeout = rows[i].timeout;
		open_host(&host, NULL);
		int fd = adopted(&host, &options, context);
		pump(&host);
		assert_int_equal(host.connects, 1);
		calls.now += rows[i].limit - 1;
		pump(&host);
		assert_int_equal(host.closed, 0);
		calls.now++;
		pump(&host);
		assert_int_equal(host.closed, 1);
		assert_true(has_closed(fd));
		assert_hears(fd, "");
		close(fd);
		host_close(&host);
	}
}

/* Nothing is waited for where the context is a client's. */
static void
test_wrong_context(void **state)
{
	struct mh_options options = smtp;
	struct tls *client = tls_client();
	struct host host;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_host(&host, NULL);
	int fd = adopted(&host, &options, client);
	pump(&host);
	assert_int_equal(host.closed, 1);
	assert_true(has_closed(fd));
	close(fd);
	host_close(&host);
	tls_free(client);
}

/* Nor is one waited for where the server stops. */
static void
test_stopped_in_handshake(void **state)
{
	struct mh_options options = smtp;
	struct host host;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_host(&host, NULL);
	int fd = adopted(&host, &options, context);
	pump(&host);
	assert_false(has_work(&host));
	mh_server_stop(host.server);
	pump(&host);
	assert_int_equal(host.closed, 1);
	assert_true(has_closed(fd));
	assert_hears(fd, "");
	close(fd);
	host_close(&host);
}

/* The final reply has ten seconds to be taken. */
static void
test_flush_limit(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	pump(&host);
	assert_hears(fd, GREETING);
	calls.send_errno = EAGAIN;
	say_and_pump(&host, fd, "QUIT\r\n");
	assert_int_equal(host.closed, 1);
	calls.now += 9999;
	pump(&host);
	assert_false(has_closed(fd));
	calls.now++;
	pump(&host);
	assert_true(has_closed(fd));
	close(fd);
	host_close(&host);
}

/* Then the peer has two to close, too. */
static void
test_linger_limit(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	say_and_pump(&host, fd, "QUIT\r\n");
	assert_hears(fd, GREETING "221 2.0.0 Bye\r\n");
	assert_int_equal(recv(fd, (char[1]){ 0 }, 1, MSG_DONTWAIT), 0);
	/* Not by asking again and again. */
	for (int i = 0; i < 100 && has_work(&host); i++)
		pump(&host);
	assert_false(has_work(&host));
	calls.now += 1999;
	pump(&host);
	assert_false(has_closed(fd));
	calls.now++;
	pump(&host);
	assert_true(has_closed(fd));
	close(fd);
	/* Or 16 MiB to say, and no more time for that. */
	fd = adopted(&host, &smtp, NULL);
	pump(&host);
	say_and_pump(&host, fd, "QUIT\r\n");
	calls.recvs = 0;
	calls.flood = true;
	for (int i = 0; i < 10000 && !has_closed(fd); i++)
		pump(&host);
	assert_true(has_closed(fd));
	assert_int_equal(calls.recvs, 1024);
	close(fd);
	host_close(&host);
}

/* One who has closed already is not waited for. */
static void
test_closed_already(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	pump(&host);
	peer_say(fd, SLICE("QUIT\r\n"));
	shutdown(fd, SHUT_WR);
	pump(&host);
	assert_null(host.server->channels);
	/* Nor is there anything left of where it came from. */
	assert_null(host.server->origins);
	assert_false(has_work(&host));
	assert_hears(fd, GREETING "221 2.0.0 Bye\r\n");
	close(fd);
	host_close(&host);
}

/* After mh_server_stop ten seconds are left for those who do not take what
 * was said to them; those who do hear of it at once, and nobody new comes. */
static void
test_stop_limit(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, &smtp);
	int idle = peer_adopted(&host, &smtp);
	int fd = adopted(&host, &smtp, NULL);
	pump(&host);
	assert_hears(fd, GREETING);
	assert_hears(idle, GREETING);
	calls.send_errno = EAGAIN;
	say_and_pump(&host, fd, "NOOP\r\n");
	mh_server_stop(host.server);
	pump(&host);
	assert_int_equal(host.closed, 1);
	assert_hears(idle, "421 4.3.2 Shutting down\r\n");
	close(idle);
	pump(&host);
	int late = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)host.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(connect(late, (struct sockaddr *)&at, sizeof(at)),
	    -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(late);
	calls.now += 9999;
	pump(&host);
	assert_int_equal(host.closed, 1);
	calls.now++;
	pump(&host);
	assert_int_equal(host.closed, 2);
	assert_true(has_closed(fd));
	assert_null(host.server->origins);
	close(fd);
	host_close(&host);
}

/* However long an answer takes, the peer has all its time after it. */
static void
test_late_answer(void **state)
{
	struct mh_options options = smtp;
	struct host host;

	(void)state;
	options.timeout = 10;
	/* Before the first word, and later. */
	for (int later = 0; later < 2; later++) {
		open_host(&host, NULL);
		int fd = adopted(&host, &options, NULL);
		if (later) {
			say_and_pump(&host, fd, "EHLO x\r\n");
			peer_say(fd, SLICE("MAIL FROM:<a@b>\r\n"));
		}
		host.late = true;
		pump(&host);
		assert_int_equal(host.n_open, 1);
		for (int i = 0; i < 10; i++) {
			calls.now += 100000;
			pump(&host);
		}
		host.late = false;
		answer(&host, host.open[0].session, host.open[0].type, 0);
		pump(&host);
		calls.now += 9999;
		pump(&host);
		assert_int_equal(host.closed, 0);
		calls.now++;
		pump(&host);
		assert_int_equal(host.closed, 1);
		close(fd);
		pump(&host);
		host_close(&host);
	}
}

/* Nor is what the peer says meanwhile a reason to hurry, where the answer is
 * the end. */
static void
test_late_end(void **state)
{
	struct text said = { .data = NULL };
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	say_and_pump(&host, fd, "EHLO x\r\n");
	host.late = true;
	say_and_pump(&host, fd, "MAIL FROM:<a@b>\r\n");
	say_and_pump(&host, fd, "NOOP\r\n");
	assert_int_equal(host.n_open, 1);
	assert_int_equal(mh_reply(host.open[0].session, 421, "4.3.2",
	    "Enough"), 0);
	host.late = false;
	pump(&host);
	peer_read(fd, &said);
	assert_true(slice_ends_with(text_slice(&said),
	    SLICE("\r\n421 4.3.2 Enough\r\n")));
	text_free(&said);
	close(fd);
	pump(&host);
	host_close(&host);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_handshake_limit),
		TEST(test_wrong_context),
		TEST(test_stopped_in_handshake),
		TEST(test_flush_limit),
		TEST(test_linger_limit),
		TEST(test_closed_already),
		TEST(test_stop_limit),
		TEST(test_late_answer),
		TEST(test_late_end),
	};

	return cmocka_run_group_tests_name("server_limits", tests,
	    make_keypair, remove_keypair);
}
#else
int
main(void)
{
	return 0;
}
#endif
