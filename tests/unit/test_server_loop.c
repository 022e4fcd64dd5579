/*
 * test_server_loop.c - level 2 of the library in a program's own loop: when
 * its descriptor is readable, when it wakes, and what happens while there are
 * no descriptors to be had.
 */
#include "drive.h"

#ifdef __linux__
#include <sys/resource.h>

#include "server_calls.h"

/* ---- the descriptor ---- */

static void
test_readable(void **state)
{
	struct text said = { .data = NULL };
	const struct mh_event *event;
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &smtp);
	assert_true(has_work(&host));
	pump(&host);
	assert_false(has_work(&host));
	/* What a peer says, and nothing while it is asked about. */
	host.late = true;
	peer_say(fd, SLICE("EHLO x\r\nMAIL FROM:<a@b>\r\n"));
	assert_true(has_work(&host));
	pump(&host);
	assert_int_equal(host.n_open, 1);
	assert_false(has_work(&host));
	/* An answer, whenever it comes. */
	answer(&host, host.open[0].session, host.open[0].type, 0);
	assert_true(has_work(&host));
	pump(&host);
	assert_false(has_work(&host));
	peer_read(fd, &said);
	assert_true(slice_ends_with(text_slice(&said),
	    SLICE("250 2.1.0 Ok\r\n")));
	/* One that is over is freed by the next call. */
	host.late = false;
	peer_say(fd, SLICE("QUIT\r\n"));
	while (host.closed == 0) {
		assert_true(has_work(&host));
		event = mh_server_wait(host.server, 0);
		if (event != NULL)
			take(&host, event);
	}
	assert_true(has_work(&host));
	shutdown(fd, SHUT_WR);
	pump(&host);
	assert_false(has_work(&host));
	close(fd);
	/* A drop, and the end. */
	fd = peer_adopted(&host, &smtp);
	peer_say(fd, SLICE("MAIL FROM:<a@b>\r\n"));
	host.late = true;
	host.n_open = 0;
	pump(&host);
	assert_false(has_work(&host));
	mh_drop(host.open[0].session);
	assert_true(has_work(&host));
	pump(&host);
	close(fd);
	fd = peer_adopted(&host, &smtp);
	host.late = false;
	pump(&host);
	assert_false(has_work(&host));
	mh_server_stop(host.server);
	assert_true(has_work(&host));
	close(fd);
	pump_to_end(&host);
	host_close(&host);
	/* The end of all is told, though there is nobody. */
	open_host(&host, &smtp);
	pump(&host);
	assert_false(has_work(&host));
	mh_server_stop(host.server);
	assert_true(has_work(&host));
	host_close(&host);
	text_free(&said);
}

/* The same where the descriptor is asked for when there is work already. */
static void
test_readable_at_first(void **state)
{
	const struct mh_event *event;
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &smtp);
	pump(&host);
	close(fd);
	while ((event = mh_server_wait(host.server, 0)) != NULL) {
		take(&host, event);
		if (host.closed > 0)
			break;
	}
	assert_int_equal(host.closed, 1);
	assert_true(has_work(&host));
	pump(&host);
	assert_false(has_work(&host));
	host_close(&host);
}

/* Why there is no event is told, whatever else is done. */
static void
test_errno(void **state)
{
	struct host host;

	(void)state;
	for (int own = 0; own < 2; own++) {
		open_host(&host, NULL);
		if (own)
			has_work(&host);
		errno = 0;
		assert_null(mh_server_wait(host.server, 0));
		assert_int_equal(errno, EAGAIN);
		int fd = peer_adopted(&host, &smtp);
		pump(&host);
		close(fd);
		mh_server_stop(host.server);
		pump(&host);
		errno = 1;
		assert_null(mh_server_wait(host.server, -1));
		assert_int_equal(errno, 0);
		host_close(&host);
	}
}

/* ---- time ---- */

/* Who waits sleeps, in one piece. */
static void
test_sleep(void **state)
{
	struct host host;

	(void)state;
	for (int own = 0; own < 2; own++) {
		/* However long the machine has been up. */
		calls.now = own * 3000000000;
		open_host(&host, &smtp);
		int fd = peer_adopted(&host, &smtp);
		int other = peer_connect(&host);
		if (own)
			has_work(&host);
		pump(&host);
		assert_int_equal(host.connects, 2);
		int64_t began = calls.now;
		calls.sleeps = 0;
		assert_null(mh_server_wait(host.server, 60000));
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(calls.now - began, 60000);
		assert_int_equal(calls.sleeps, 1);
		close(fd);
		close(other);
		pump_to_end(&host);
		host_close(&host);
	}
}

/* The descriptor is readable in time, and not before. */
static void
test_alarm(void **state)
{
	struct mh_options options = smtp;
	struct text said = { .data = NULL };
	struct host host;

	(void)state;
	options.timeout = 2;
	/* Nobody is there. */
	open_host(&host, &options);
	assert_false(has_work(&host) && mh_server_wait(host.server, 0));
	pump(&host);
	assert_false(has_work(&host));
	assert_int_equal(calls.alarm, 0);
	int fd = peer_connect(&host);
	pump(&host);
	assert_int_equal(calls.alarm, 2000);
	calls.now += 1999;
	pump(&host);
	assert_int_equal(host.closed, 0);
	peer_read(fd, &said);
	assert_slice(text_slice(&said), "220 h ESMTP ready\r\n");
	calls.now++;
	pump(&host);
	assert_int_equal(host.closed, 1);
	said.len = 0;
	peer_read(fd, &said);
	assert_slice(text_slice(&said),
	    "421 4.4.2 Took too long, closing\r\n");
	/* So long it has to close. */
	assert_int_equal(calls.alarm, 2000);
	calls.now += 2000;
	pump(&host);
	assert_int_equal(calls.alarm, 0);
	assert_false(has_work(&host));
	close(fd);
	host_close(&host);
	text_free(&said);
}

/* ---- descriptors ---- */

static void
limit_descriptors(struct rlimit *before, rlim_t more)
{
	int lowest = dup(0);
	struct rlimit limit;

	close(lowest);
	getrlimit(RLIMIT_NOFILE, before);
	limit = *before;
	limit.rlim_cur = (rlim_t)lowest + more;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void
test_none_to_begin_with(void **state)
{
	unsigned open_before = descriptors_open();
	struct rlimit before;

	(void)state;
	for (rlim_t n = 0; n < 3; n++) {
		limit_descriptors(&before, n);
		struct mh_server *server = mh_server_new();
		int errnum = errno;
		setrlimit(RLIMIT_NOFILE, &before);
		assert_null(server);
		assert_int_equal(errnum, EMFILE);
		assert_int_equal(descriptors_open(), open_before);
	}
	limit_descriptors(&before, 0);
	int fd = mh_listen("127.0.0.1", "0");
	int errnum = errno;
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(fd, -1);
	assert_int_equal(errnum, EMFILE);
}

/* Whoever comes while there are none is taken a while later. */
static void
test_none_to_accept_with(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };
	struct host host;

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		open_host(&host, &smtp);
		pump(&host);
		int fd = peer_connect(&host);
		calls.accept_errno = errors[i];
		assert_true(has_work(&host));
		for (int k = 0; k < 3; k++) {
			pump(&host);
			assert_int_equal(host.connects, 0);
			assert_int_equal(calls.alarm, 1000);
			assert_false(has_work(&host));
			calls.now += 1000;
		}
		calls.accept_errno = 0;
		pump(&host);
		assert_int_equal(host.connects, 1);
		close(fd);
		pump_to_end(&host);
		assert_int_equal(calls.alarm, 0);
		assert_false(has_work(&host));
		host_close(&host);
	}
}

/* And at once where a session ends. */
static void
test_one_becomes_free(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, &smtp);
	int first = peer_connect(&host);
	pump(&host);
	assert_int_equal(host.connects, 1);
	calls.accept_errno = EMFILE;
	int second = peer_connect(&host);
	pump(&host);
	assert_int_equal(host.connects, 1);
	calls.accept_errno = 0;
	close(first);
	pump(&host);
	assert_int_equal(host.closed, 1);
	assert_int_equal(host.connects, 2);
	close(second);
	pump_to_end(&host);
	host_close(&host);
}

/* ---- many ---- */

static void
test_many_at_once(void **state)
{
	int fds[200];
	struct host host;

	(void)state;
	open_host(&host, &smtp);
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = peer_connect(&host);
	/* Not in one go: the program's own loop has its turns. */
	while (has_work(&host))
		pump(&host);
	assert_int_equal(host.connects, COUNT(fds));
	for (size_t i = 0; i < COUNT(fds); i++)
		close(fds[i]);
	pump_to_end(&host);
	host_close(&host);
}

/* Freed in the middle of everything nothing is left. */
static void
test_freed(void **state)
{
	unsigned before = descriptors_open();
	int fds[3];
	struct host host;

	(void)state;
	for (int stopped = 0; stopped < 2; stopped++) {
		open_host(&host, &smtp);
		int fd = mh_listen("127.0.0.1", "0");
		assert_int_equal(mh_server_listen(host.server, fd, &pop3,
		    NULL), 0);
		fds[0] = peer_adopted(&host, &pop3);
		fds[1] = peer_connect(&host);
		pump(&host);
		fds[2] = peer_connect(&host);
		if (stopped)
			mh_server_stop(host.server);
		host_close(&host);
		for (size_t i = 0; i < COUNT(fds); i++)
			close(fds[i]);
		assert_int_equal(descriptors_open(), before);
	}
}

/* ---- mh_listen ---- */

static void
test_listen(void **state)
{
	unsigned before = descriptors_open();
	struct sockaddr_in at;
	char port[8];
	socklen_t len;
	int on = 0;

	(void)state;
	int fd = mh_listen("127.0.0.1", "0");
	assert_true(fd >= 0);
	/* Connections of before, in TIME_WAIT, do not keep the port. */
	len = sizeof(on);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, &len),
	    0);
	assert_int_not_equal(on, 0);
	len = sizeof(at);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(port, sizeof(port), "%u", ntohs(at.sin_port));
	assert_int_equal(mh_listen("127.0.0.1", port), -1);
	assert_int_equal(errno, EADDRINUSE);
	close(fd);
	assert_int_equal(mh_listen("127.0.0.1", "no-such-port"), -1);
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_int_equal(descriptors_open(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_readable),
		TEST(test_readable_at_first),
		TEST(test_errno),
		TEST(test_sleep),
		TEST(test_alarm),
		TEST(test_none_to_begin_with),
		TEST(test_none_to_accept_with),
		TEST(test_one_becomes_free),
		TEST(test_many_at_once),
		TEST(test_freed),
		TEST(test_listen),
	};

	return cmocka_run_group_tests_name("server_loop", tests, NULL, NULL);
}
#else
int
main(void)
{
	return 0;
}
#endif
