/*
 * test_server.c - level 2 of the library: what peers, the kernel and the
 * memory may do to it. Each accepted sender gets one end, each session one
 * MH_CLOSED, and nothing is left behind.
 */
#include "drive.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <tls.h>

#include "keypair.h"
#include "library/timers.h"
#include "loopback.h"
#include "no_memory.h"
#include "server_host.h"

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len,
    int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len,
    int flags);

/* ---- the tests ---- */

static void
test_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++) {
		struct text said = { .data = NULL };
		struct host host;

		assert_int_equal(host_open(&host, dialogues[i].options), 0);
		int fd = peer_connect(&host);
		peer_say(fd, slice_from(dialogues[i].text));
		while (!peer_read(fd, &said))
			pump(&host);
		close(fd);
		pump_to_end(&host);
		assert_int_equal(host.closed, 1);
		assert_int_equal(host.ends, host.senders);
		if (i == 0) {
			assert_int_equal(host.senders, 4);
			assert_int_equal(host.messages, 2);
			assert_slice(text_slice(&host.last), "x\ny\n");
			assert_true(slice_ends_with(text_slice(&said),
			    SLICE("221 2.0.0 Bye\r\n")));
		} else {
			assert_true(slice_ends_with(text_slice(&said),
			    SLICE("text\r\n.\r\n+OK Top of message follows\r\n"
			    "text\r\n.\r\n+OK Marked to be deleted\r\n+OK\r\n"
			    "+OK Marked to be deleted\r\n+OK Bye\r\n")));
		}
		host_close(&host);
		text_free(&said);
	}
}

/* An octet at a time, each read by itself. */
static void
test_slow_peer(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++) {
		struct slice text = slice_from(dialogues[i].text);
		struct text said = { .data = NULL };
		struct host host;

		assert_int_equal(host_open(&host, dialogues[i].options), 0);
		int fd = peer_connect(&host);
		for (size_t at = 0; at < text.len; at++) {
			peer_say(fd, (struct slice){ text.data + at, 1 });
			pump(&host);
			peer_read(fd, &said);
		}
		while (!peer_read(fd, &said))
			pump(&host);
		close(fd);
		pump_to_end(&host);
		assert_int_equal(host.ends, host.senders);
		assert_int_equal(host.messages, i == 0 ? 2 : 0);
		host_close(&host);
		text_free(&said);
	}
}

enum way { WAY_RESET, WAY_CLOSE, WAY_SHUTDOWN, WAY_STOP, WAY_DROP, WAYS };

/* A session ends so after so many octets; answers may come after that. */
static void
end_after(const struct dialogue *dialogue, size_t cut, enum way way,
    bool late)
{
	struct text said = { .data = NULL };
	struct host host;

	assert_int_equal(host_open(&host, dialogue->options), 0);
	int fd = peer_connect(&host);
	peer_say(fd, (struct slice){ dialogue->text, cut });
	/* Only the last question is left open. */
	pump(&host);
	if (late) {
		host.late = true;
		peer_say(fd, slice_skip(slice_from(dialogue->text), cut));
		pump(&host);
	}
	switch (way) {
	case WAY_RESET:
		peer_reset(fd);
		break;
	case WAY_CLOSE:
		close(fd);
		break;
	case WAY_SHUTDOWN:
		shutdown(fd, SHUT_WR);
		break;
	case WAY_STOP:
		mh_server_stop(host.server);
		break;
	case WAY_DROP:
		if (host.n_open > 0)
			mh_drop(host.open[0].session);
		else
			shutdown(fd, SHUT_WR);
		break;
	default:
		break;
	}
	host.late = false;
	pump(&host);
	if (host.n_open > 0 && way != WAY_DROP)
		answer(&host, host.open[0].session, host.open[0].type,
		    host.open[0].index);
	if (way == WAY_STOP)
		while (host.closed < host.connects) {
			peer_read(fd, &said);
			pump(&host);
		}
	pump_to_end(&host);
	assert_int_equal(host.ends, host.senders);
	assert_true(host.closed == host.connects);
	if (way == WAY_STOP) {
		while (!peer_read(fd, &said))
			pump(&host);
		close(fd);
		errno = 1;
		assert_null(mh_server_wait(host.server, -1));
		assert_int_equal(errno, 0);
	}
	if (way == WAY_STOP && !late && dialogue->options == &smtp &&
	    host.connects > 0)
		assert_true(slice_ends_with(text_slice(&said),
		    SLICE("421 4.3.2 Shutting down\r\n")) ||
		    slice_ends_with(text_slice(&said),
		    SLICE("221 2.0.0 Bye\r\n")));
	if (way == WAY_SHUTDOWN || way == WAY_DROP)
		close(fd);
	host_close(&host);
	text_free(&said);
}

static void
test_ends_in_every_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++)
		for (size_t cut = 0; cut <= strlen(dialogues[i].text); cut++)
			for (enum way way = WAY_RESET; way < WAYS; way++)
				for (int late = 0; late < 2; late++)
					end_after(&dialogues[i], cut, way,
					    late == 1);
}

/* One who reads nothing costs what one buffer costs, holds nobody up, and is
 * dropped when its time is over. */
static void
test_peer_that_reads_nothing(void **state)
{
	static const char help[] = "HELP\r\nHELP\r\nHELP\r\nHELP\r\n";
	struct mh_options options = smtp;
	struct text said = { .data = NULL };
	struct host host;
	size_t sent = 0;

	(void)state;
	options.timeout = 1;
	assert_int_equal(host_open(&host, &options), 0);
	int deaf = peer_connect(&host);
	for (int idle = 0; idle < 50;) {
		ssize_t n = send(deaf, help, sizeof(help) - 1,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		pump(&host);
		if (host.closed > 0)
			break;
	}
	assert_true(sent > 10000);
	int other = peer_connect(&host);
	peer_say(other, slice_from(dialogues[0].text));
	while (!peer_read(other, &said))
		pump(&host);
	close(other);
	assert_int_equal(host.messages, 2);
	pump_to_end(&host);
	assert_int_equal(host.closed, 2);
	close(deaf);
	host_close(&host);
	text_free(&said);
}

/* A flood of one peer's gives way to another one's first word. */
static void
test_fairness(void **state)
{
	struct text flood = { .data = NULL };
	const struct mh_event *event;
	struct host host;
	size_t before = 0;

	(void)state;
	assert_int_equal(host_open(&host, NULL), 0);
	int loud = peer_adopted(&host, &smtp);
	int quiet = peer_adopted(&host, &smtp);
	peer_say(loud, SLICE("EHLO x\r\n"));
	peer_say(quiet, SLICE("EHLO x\r\n"));
	pump(&host);
	/* However many turns there were before. */
	for (int i = 0; i < 500; i++) {
		peer_say(loud, SLICE("RSET\r\n"));
		pump(&host);
		peer_read(loud, &flood);
	}
	flood.len = 0;
	for (int i = 0; i < 2000; i++)
		text_add(&flood, SLICE("MAIL FROM:<f@f>\r\nRSET\r\n"));
	assert_true(send(loud, flood.data, flood.len, MSG_DONTWAIT) > 10000);
	while ((event = mh_server_wait(host.server, 0)) != NULL) {
		if (before == 100)
			peer_say(quiet, SLICE("MAIL FROM:<q@q>\r\n"));
		if (event->type == MH_SENDER &&
		    event->address.data[0] == 'q')
			break;
		before++;
		take(&host, event);
	}
	assert_non_null(event);
	/* So many turns make a round, at most. */
	assert_in_range(before, 100, 200);
	host_close(&host);
	close(loud);
	close(quiet);
	text_free(&flood);
}

/* Floods without end, and a program that wants to get on with its own loop: the
 * call that does not wait returns, and a peer that comes later is served. */
static void *
flood_without_end(void *arg)
{
	const int fd = *(const int *)arg;
	struct text flood = { .data = NULL };
	char waste[65536];

	for (int i = 0; i < 5000; i++)
		text_add(&flood, SLICE("NOOP\r\n"));
	while (send(fd, flood.data, flood.len, MSG_NOSIGNAL) > 0)
		while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0)
			;
	text_free(&flood);
	return NULL;
}

static void
test_endless_flood(void **state)
{
	struct text said = { .data = NULL };
	pthread_t threads[2];
	int loud[COUNT(threads)];
	struct host host;
	int turns = 0;

	(void)state;
	assert_int_equal(host_open(&host, &smtp), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		loud[i] = peer_adopted(&host, &smtp);
		assert_true(loud[i] >= 0);
		assert_int_equal(pthread_create(&threads[i], NULL,
		    flood_without_end, &loud[i]), 0);
	}
	while (++turns < 50)
		pump(&host);
	int late = peer_connect(&host);
	peer_say(late, SLICE("QUIT\r\n"));
	for (turns = 0; !peer_read(late, &said); turns++)
		pump(&host);
	assert_slice(text_slice(&said), "220 h ESMTP ready\r\n"
	    "221 2.0.0 Bye\r\n");
	close(late);
	for (size_t i = 0; i < COUNT(threads); i++)
		shutdown(loud[i], SHUT_RDWR);
	for (size_t i = 0; i < COUNT(threads); i++) {
		pthread_join(threads[i], NULL);
		close(loud[i]);
	}
	host_close(&host);
	text_free(&said);
}

/* Each allocation fails once: nobody is lost without an end, the others are
 * served, and what is said is true. */
static void
test_no_memory(void **state)
{
	unsigned faults = 0;
	size_t without_memory = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++)
		for (unsigned k = 1;; k++) {
			struct text said = { .data = NULL };
			struct host host;

			allocations.failing = 0;
			allocations.n = 0;
			allocations.failing = k;
			int result = host_open(&host, dialogues[i].options);
			unsigned opened = allocations.n;
			allocations.failing = 0;
			if (result < 0) {
				host_close(&host);
				assert_true(opened >= k);
				faults++;
				continue;
			}
			int fd = peer_connect(&host);
			peer_say(fd, slice_from(dialogues[i].text));
			/* Only the library's own fail. */
			for (;;) {
				const struct mh_event *event;

				allocations.failing = k;
				event = mh_server_wait(host.server, 0);
				unsigned so_far = allocations.n;
				allocations.failing = 0;
				allocations.n = so_far;
				if (event != NULL)
					take(&host, event);
				else if (peer_read(fd, &said))
					break;
			}
			close(fd);
			pump_to_end(&host);
			assert_int_equal(host.ends, host.senders);
			host_close(&host);
			bool failed = allocations.n >= k;
			faults += failed;
			/* 250 is said as often as a message was kept. */
			if (i == 0) {
				size_t kept = 0;
				for (const char *at = said.data; at != NULL &&
				    (at = strstr(at, "Ok, kept")) != NULL;
				    at++)
					kept++;
				assert_int_equal(kept, host.messages);
				without_memory += said.len > 0 && strstr(
				    said.data, "452 4.3.1 No memory for this "
				    "message, try again later\r\n") != NULL;
			}
			text_free(&said);
			if (!failed)
				break;
		}
	assert_in_range(faults, 8, 60);
	assert_true(without_memory > 0);
}

/* The hundredth session needs no more memory than the second. */
static void
test_memory_is_kept(void **state)
{
	unsigned second = 0;
	struct host host;

	(void)state;
	assert_int_equal(host_open(&host, &smtp), 0);
	for (int i = 1; i <= 100; i++) {
		struct text said = { .data = NULL };

		allocations.n = 0;
		allocations.failing = UINT_MAX;
		int fd = peer_connect(&host);
		peer_say(fd, SLICE("EHLO x\r\nQUIT\r\n"));
		while (host.closed < (size_t)i)
			pump(&host);
		allocations.failing = 0;
		peer_read(fd, &said);
		close(fd);
		pump(&host);
		text_free(&said);
		if (i == 2)
			second = allocations.n;
	}
	assert_int_equal(allocations.n, second);
	host_close(&host);
}

/* ---- wrong calls ---- */

static void
test_wrong_calls(void **state)
{
	struct mh_options options = smtp;
	struct host host;
	int pair[2];

	(void)state;
	assert_null(mh_server_wait(NULL, 0));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mh_server_fd(NULL), -1);
	assert_int_equal(mh_server_listen(NULL, 0, &smtp, NULL), -1);
	mh_server_stop(NULL);
	mh_server_free(NULL);
	assert_int_equal(mh_listen("256.0.0.1.", "25"), -1);
	assert_int_equal(mh_listen("127.0.0.1", "no-such-port"), -1);

	assert_int_equal(host_open(&host, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	/* Not a listening socket; no socket; no context for TLS. */
	assert_int_equal(mh_server_listen(host.server, pair[0], &smtp, NULL),
	    -1);
	assert_int_equal(mh_server_adopt(host.server, -1, &smtp, NULL), -1);
	assert_int_equal(mh_server_adopt(host.server, 9999, &smtp, NULL), -1);
	options.flags = MH_OFFER_TLS;
	assert_int_equal(mh_server_adopt(host.server, pair[0], &options,
	    NULL), -1);
	assert_int_equal(errno, EINVAL);
	options.flags = 0;
	options.size = 3;
	assert_int_equal(mh_server_adopt(host.server, pair[0], &options,
	    NULL), -1);
	int listener = mh_listen("127.0.0.1", "0");
	assert_int_equal(mh_server_listen(host.server, listener, &options,
	    NULL), -1);
	assert_int_equal(errno, EINVAL);
	int folder = open("/", O_RDONLY);
	assert_int_equal(mh_server_listen(host.server, folder, &smtp, NULL),
	    -1);
	/* What failed is still ours. */
	assert_int_equal(close(folder), 0);
	assert_int_equal(close(listener), 0);
	assert_int_equal(send(pair[1], "x", 1, 0), 1);
	close(pair[0]);
	close(pair[1]);
	errno = 0;
	assert_null(mh_server_wait(host.server, 0));
	assert_int_equal(errno, EAGAIN);
	mh_server_stop(host.server);
	assert_int_equal(mh_server_adopt(host.server, 0, &smtp, NULL), -1);
	mh_server_stop(host.server);
	assert_null(mh_server_wait(host.server, -1));
	assert_int_equal(errno, 0);
	host_close(&host);
}

/* Whoever is dropped while hands are shaken is not waited for. */
static void
test_dropped_in_handshake(void **state)
{
	const struct mh_options implicit = { .size = sizeof(implicit),
		.protocol = MH_SMTP, .hostname = "h",
		.flags = MH_IMPLICIT_TLS };
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_server();
	struct directory directory;
	const struct mh_event *event;
	struct host host;
	int pair[2];

	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	keypair_make("h");
	assert_int_equal(tls_config_set_keypair_file(config, "h.crt",
	    "h.key"), 0);
	assert_int_equal(tls_configure(tls, config), 0);
	assert_int_equal(host_open(&host, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(mh_server_adopt(host.server, pair[1], &implicit,
	    tls), 0);
	event = mh_server_wait(host.server, 0);
	assert_non_null(event);
	assert_int_equal(event->type, MH_CONNECT);
	struct mh_session *session = event->session;
	assert_int_equal(mh_accept(session), 0);
	assert_null(mh_server_wait(host.server, 0));
	mh_drop(session);
	event = mh_server_wait(host.server, 0);
	assert_non_null(event);
	assert_int_equal(event->type, MH_CLOSED);
	assert_null(mh_server_wait(host.server, 0));
	assert_int_equal(close(pair[0]), 0);
	host_close(&host);
	tls_free(tls);
	tls_config_free(config);
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
}

/* ---- accept(2), which fails once ---- */

static int accept_errno;

int
__wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	errno = accept_errno;
	accept_errno = 0;
	return errno != 0 ? -1 : __real_accept4(fd, address, len, flags);
}

/* The next connection is served at once: nothing may come that would tell of
 * it again. */
static void
test_connection_that_is_gone(void **state)
{
	static const int errors[] = {
		EINTR, ECONNABORTED, EPERM, EPROTO, ETIMEDOUT, ENETDOWN,
		ENOPROTOOPT, EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
	};
	struct sockaddr_in address;
	struct host host;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		int listener = listen_on_loopback(&address);
		int client = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(host_open(&host, NULL), 0);
		assert_int_equal(mh_server_listen(host.server, listener,
		    &smtp, NULL), 0);
		assert_int_equal(connect(client, (struct sockaddr *)&address,
		    sizeof(address)), 0);
		accept_errno = errors[i];
		const struct mh_event *event = mh_server_wait(host.server, 0);
		assert_non_null(event);
		assert_int_equal(event->type, MH_CONNECT);
		assert_int_equal(accept_errno, 0);
		assert_int_equal(close(client), 0);
		host_close(&host);
	}
}

/* Somebody else holds the descriptor, too, as a process that was forked does:
 * what happens to it later is nobody's session any more. */
static void
test_descriptor_is_held(void **state)
{
	struct text said = { .data = NULL };
	struct host host;
	int pair[2];

	(void)state;
	assert_int_equal(host_open(&host, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	int held = dup(pair[1]);
	assert_int_equal(mh_server_adopt(host.server, pair[1], &smtp, NULL),
	    0);
	struct pollfd pollfd = { .fd = mh_server_fd(host.server),
		.events = POLLIN };
	peer_say(pair[0], SLICE("QUIT\r\n"));
	while (!peer_read(pair[0], &said))
		pump(&host);
	shutdown(pair[0], SHUT_WR);
	pump_to_end(&host);
	assert_int_equal(poll(&pollfd, 1, 0), 0);
	close(pair[0]);
	assert_int_equal(poll(&pollfd, 1, 0), 0);
	assert_null(mh_server_wait(host.server, 0));
	close(held);
	text_free(&said);
	host_close(&host);
}

/* A process that was forked frees what it has no use for. */
static void
test_forked_process_frees(void **state)
{
	struct text said = { .data = NULL };
	struct host host;
	int status, fd;

	(void)state;
	assert_int_equal(host_open(&host, NULL), 0);
	fd = peer_adopted(&host, &smtp);
	pump(&host);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		host_close(&host);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	peer_say(fd, SLICE("QUIT\r\n"));
	shutdown(fd, SHUT_WR);
	pump_to_end(&host);
	assert_true(peer_read(fd, &said));
	assert_true(slice_ends_with(text_slice(&said), SLICE("Bye\r\n")));
	close(fd);
	text_free(&said);
	host_close(&host);
}

/* ---- several servers at once ---- */

static void *
run_sessions(void *arg)
{
	size_t *messages = arg;
	struct host host;

	assert_int_equal(host_open(&host, &smtp), 0);
	for (int i = 0; i < 100; i++) {
		struct text said = { .data = NULL };
		int fd = peer_connect(&host);

		peer_say(fd, slice_from(dialogues[0].text));
		while (!peer_read(fd, &said))
			pump(&host);
		close(fd);
		text_free(&said);
	}
	mh_server_stop(host.server);
	while (mh_server_wait(host.server, -1) != NULL)
		;
	*messages = host.messages;
	host_close(&host);
	return NULL;
}

static void
test_threads(void **state)
{
	pthread_t threads[4];
	size_t messages[COUNT(threads)];

	(void)state;
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
		    run_sessions, &messages[i]), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(messages[i], 200);
	}
}

/* ---- timers ---- */

/* Against a plain list: who is due is taken, in any order of theirs. */
static void
test_timers(void **state)
{
	static struct timer timers_of[300];
	int64_t due[COUNT(timers_of)];
	bool in[COUNT(timers_of)] = { false };
	struct timers timers = { .heap = NULL };
	uint64_t seed = 11;
	int64_t now = 0;

	(void)state;
	allocations.failing = 1;
	allocations.n = 0;
	assert_int_equal(timers_add(&timers, &timers_of[0], 1), -1);
	allocations.failing = 0;
	assert_null(timers_take(&timers, 1));
	for (int step = 0; step < 200000; step++) {
		uint32_t i = chance(&seed, COUNT(timers_of));

		if (!in[i]) {
			due[i] = now + chance(&seed, 1000);
			assert_int_equal(timers_add(&timers, &timers_of[i],
			    due[i]), 0);
			in[i] = true;
		} else if (chance(&seed, 4) == 0) {
			timers_remove(&timers, &timers_of[i]);
			in[i] = false;
		} else {
			due[i] = now + chance(&seed, 1000);
			timers_set(&timers, &timers_of[i], due[i]);
		}
		if (chance(&seed, 10) != 0)
			continue;
		int64_t next = timers_next(&timers);
		for (size_t k = 0; k < COUNT(timers_of); k++)
			assert_true(!in[k] || next <= due[k]);
		now += chance(&seed, 50);
		struct timer *timer;
		while ((timer = timers_take(&timers, now)) != NULL) {
			size_t k = (size_t)(timer - timers_of);
			assert_true(in[k] && due[k] <= now);
			due[k] = INT64_MAX;
		}
		for (size_t k = 0; k < COUNT(timers_of); k++)
			assert_true(!in[k] || due[k] > now);
	}
	timers_free(&timers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_slow_peer),
		cmocka_unit_test(test_ends_in_every_state),
		cmocka_unit_test(test_peer_that_reads_nothing),
		cmocka_unit_test(test_fairness),
		cmocka_unit_test(test_endless_flood),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_memory_is_kept),
		cmocka_unit_test(test_wrong_calls),
		cmocka_unit_test(test_dropped_in_handshake),
		cmocka_unit_test(test_connection_that_is_gone),
		cmocka_unit_test(test_descriptor_is_held),
		cmocka_unit_test(test_forked_process_frees),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
