/*
 * test_server_calls.c - level 2 of the library, one connection of it: system
 * calls that fail or do a little only, storage, and who it is.
 */
#include "drive.h"

#ifdef __linux__
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <tls.h>

#include "library/server.h"
#include "server_calls.h"

/* ---- calls ---- */

/* An interrupted call is made again; a broken connection is over, and says
 * nothing. */
static void
test_errors(void **state)
{
	static const struct { int recv, send; bool lives; } rows[] = {
		{ EINTR, 0, true }, { 0, EINTR, true }, { EAGAIN, 0, true },
		{ ECONNRESET, 0, false }, { 0, EPIPE, false },
		{ ETIMEDOUT, 0, false }, { 0, ECONNRESET, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct host host;

		open_host(&host, NULL);
		int fd = adopted(&host, &smtp, NULL);
		say_and_pump(&host, fd, "EHLO x\r\nMAIL FROM:<a@b>\r\n");
		struct text said = { .data = NULL };
		peer_read(fd, &said);
		text_free(&said);
		calls.once = true;
		calls.recv_errno = rows[i].recv;
		calls.send_errno = rows[i].send;
		say_and_pump(&host, fd, "NOOP\r\n");
		assert_int_equal(calls.recv_errno + calls.send_errno, 0);
		assert_int_equal(host.closed, !rows[i].lives);
		assert_int_equal(host.server->channels == NULL,
		    !rows[i].lives);
		/* What says EAGAIN once has more to read, says the poller. */
		say_and_pump(&host, fd, "NOOP\r\n");
		assert_int_equal(host.ends, !rows[i].lives);
		assert_hears(fd, rows[i].lives
		    ? "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n" : "");
		assert_int_equal(has_closed(fd), !rows[i].lives);
		close(fd);
		pump(&host);
		host_close(&host);
	}
}

/* The kernel takes an octet at a time, of the last reply, too. */
static void
test_little_is_sent(void **state)
{
	struct text want = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++) {
		want.len = 0;
		for (size_t most = 0; most <= 7; most++) {
			struct text said = { .data = NULL };
			struct host host;

			open_host(&host, NULL);
			int fd = adopted(&host, dialogues[i].options, NULL);
			calls.send_max = most;
			peer_say(fd, slice_from(dialogues[i].text));
			while (!peer_read(fd, &said))
				pump(&host);
			if (most == 0)
				text_add(&want, text_slice(&said));
			assert_true(said.len > 100);
			assert_slices(text_slice(&said), text_slice(&want));
			close(fd);
			pump(&host);
			host_close(&host);
			text_free(&said);
		}
	}
	text_free(&want);
}

/* Until there is no more to do, and without a word of the peer's. */
static void
test_all_is_sent(void **state)
{
	(void)state;
	for (size_t most = 1; most <= strlen(GREETING); most++) {
		struct host host;

		open_host(&host, NULL);
		int fd = adopted(&host, &smtp, NULL);
		calls.send_max = most;
		while (has_work(&host))
			pump(&host);
		assert_hears(fd, GREETING);
		peer_say(fd, SLICE("QUIT\r\n"));
		while (has_work(&host))
			pump(&host);
		assert_hears(fd, "221 2.0.0 Bye\r\n");
		close(fd);
		pump(&host);
		host_close(&host);
	}
}

/* More than is read at once, and nothing after it that would tell. */
static void
test_all_is_read(void **state)
{
	struct text noops = { .data = NULL }, said = { .data = NULL };
	struct host host;

	(void)state;
	for (int i = 0; i < 6000; i++)
		text_add(&noops, SLICE("NOOP\r\n"));
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	pump(&host);
	assert_hears(fd, GREETING);
	peer_say(fd, text_slice(&noops));
	while (has_work(&host)) {
		pump(&host);
		peer_read(fd, &said);
	}
	assert_int_equal(said.len, 6000 * strlen("250 2.0.0 Ok\r\n"));
	text_free(&noops);
	text_free(&said);
	close(fd);
	pump(&host);
	host_close(&host);
}

/* A few steps, and others have a turn. */
static void
test_turns(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int many = adopted(&host, &smtp, NULL);
	int other = peer_adopted(&host, &smtp);
	calls.send_max = 1;
	while (has_work(&host))
		pump(&host);
	assert_in_range(calls.sent_first, 1, 16);
	assert_hears(many, GREETING);
	assert_hears(other, GREETING);
	close(many);
	close(other);
	pump(&host);
	host_close(&host);
}

/* Text and the end behind it are one event of the poller's. */
static void
test_end_behind_text(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = adopted(&host, &smtp, NULL);
	say_and_pump(&host, fd, "EHLO x\r\n");
	peer_say(fd, SLICE("MAIL FROM:<a@b>\r\n"));
	shutdown(fd, SHUT_WR);
	pump(&host);
	assert_int_equal(host.senders, 1);
	assert_int_equal(host.ends, 1);
	assert_int_equal(host.closed, 1);
	close(fd);
	host_close(&host);
}

/* close_notify waits for room, and then the peer hears of it. */
static void
test_end_waits_for_room(void **state)
{
	struct tls_config *config = tls_config_new();
	struct tls *peer = tls_client();
	struct mh_options options = smtp;
	struct host host;
	char octets[256];
	ssize_t n;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_host(&host, NULL);
	int fd = adopted(&host, &options, context);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	tls_config_set_ca_file(config, "h.crt");
	assert_int_equal(tls_configure(peer, config), 0);
	tls_config_free(config);
	assert_int_equal(tls_connect_socket(peer, fd, "h"), 0);
	while ((n = tls_handshake(peer)) != 0) {
		assert_true(n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
		pump(&host);
	}
	pump(&host);
	assert_int_equal(tls_write(peer, "QUIT\r\n", 6), 6);
	/* The reply is sent, and the next is not. */
	calls.once = true;
	calls.sends = 1;
	calls.send_errno = EAGAIN;
	pump(&host);
	assert_int_equal(calls.send_errno, 0);
	struct text said = { .data = NULL };
	do {
		n = tls_read(peer, octets, sizeof(octets));
		if (n > 0)
			text_add(&said, (struct slice){ octets, (size_t)n });
	} while (n > 0 || said.len < strlen(GREETING "221 2.0.0 Bye\r\n"));
	assert_slice(text_slice(&said), GREETING "221 2.0.0 Bye\r\n");
	assert_int_equal(n, TLS_WANT_POLLIN);
	/* With what comes the poller says that there is room. */
	assert_int_equal(tls_write(peer, "x", 1), 1);
	pump(&host);
	assert_int_equal(tls_read(peer, octets, 1), 0);
	text_free(&said);
	tls_free(peer);
	close(fd);
	pump(&host);
	host_close(&host);
}

/* A descriptor that cannot be waited for is still its owner's. */
static void
test_wrong_descriptors(void **state)
{
	unsigned before = descriptors_open();
	struct host host;
	int pair[2];

	(void)state;
	open_host(&host, NULL);
	errno = 0;
	assert_int_equal(mh_server_adopt(host.server, -1, &smtp, NULL), -1);
	assert_int_equal(errno, EINVAL);
	int folder = open("/", O_RDONLY);
	errno = 0;
	assert_int_equal(mh_server_adopt(host.server, folder, &smtp, NULL),
	    -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(mh_server_listen(host.server, folder, &smtp, NULL),
	    -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(close(folder), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	errno = 0;
	assert_int_equal(mh_server_listen(host.server, pair[0], &smtp, NULL),
	    -1);
	assert_int_equal(errno, EINVAL);
	/* Of those that failed nothing is left. */
	assert_null(host.server->origins);
	assert_int_equal(host.server->timers.n, 0);
	/* Whatever it was, nobody is waited for in a call. */
	assert_int_equal(mh_server_adopt(host.server, pair[0], &smtp, NULL),
	    0);
	assert_true((fcntl(pair[0], F_GETFL) & O_NONBLOCK) != 0);
	int listener = mh_listen("127.0.0.1", "0");
	fcntl(listener, F_SETFL, 0);
	assert_int_equal(mh_server_listen(host.server, listener, &smtp, NULL),
	    0);
	assert_true((fcntl(listener, F_GETFL) & O_NONBLOCK) != 0);
	mh_server_stop(host.server);
	errno = 0;
	assert_int_equal(mh_server_listen(host.server, 0, &smtp, NULL), -1);
	assert_int_equal(errno, EINVAL);
	host_close(&host);
	close(pair[1]);
	assert_int_equal(descriptors_open(), before);
}

/* ---- the loop ---- */

static struct host *napping;
static int napper = -1;

static void
come_meanwhile(void)
{
	/* Within a call there is no other one. */
	errno = 0;
	assert_null(mh_server_wait(napping->server, 0));
	assert_int_equal(errno, EINVAL);
	napper = peer_connect(napping);
}

static void
test_wait_without_end(void **state)
{
	struct host host;

	(void)state;
	open_host(&host, &smtp);
	napping = &host;
	calls.nap = come_meanwhile;
	const struct mh_event *event = mh_server_wait(host.server, -1);
	assert_non_null(event);
	assert_int_equal(event->type, MH_CONNECT);
	assert_int_equal(calls.now, 0);
	take(&host, event);
	calls.nap = NULL;
	pump(&host);
	/* Who does not wait does not sleep. */
	assert_int_equal(calls.sleeps, 0);
	close(napper);
	pump(&host);
	host_close(&host);
}

/* Two have something to ask, and one question was handed out: there is more,
 * though the poller has said all it had to say. */
static void
test_second_question(void **state)
{
	const struct mh_event *event;
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int one = peer_adopted(&host, &smtp);
	int other = peer_adopted(&host, &smtp);
	peer_say(one, SLICE("EHLO x\r\n"));
	peer_say(other, SLICE("EHLO x\r\n"));
	pump(&host);
	assert_false(has_work(&host));
	peer_say(one, SLICE("MAIL FROM:<a@b>\r\n"));
	peer_say(other, SLICE("MAIL FROM:<a@b>\r\n"));
	event = mh_server_wait(host.server, 0);
	assert_non_null(event);
	assert_true(has_work(&host));
	event = mh_server_wait(host.server, 0);
	assert_non_null(event);
	assert_false(has_work(&host));
	close(one);
	close(other);
	host_close(&host);
}

/* Asked for late, the descriptor knows who is due when. */
static void
test_alarm_at_first(void **state)
{
	struct mh_options options = smtp;
	struct host host;

	(void)state;
	options.timeout = 7;
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &options);
	pump(&host);
	assert_int_equal(calls.alarm, 0);
	assert_false(has_work(&host));
	assert_int_equal(calls.alarm, 7000);
	close(fd);
	pump(&host);
	host_close(&host);
}

/* ---- who it is ---- */

static void
check_peer(const char *address, int family, const char *want)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&four
	    : (struct sockaddr *)&six;
	socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);
	int off = 0, on = 0;
	struct host host;

	int listener = socket(family, SOCK_STREAM, 0);
	if (family == AF_INET6)
		setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off,
		    sizeof(off));
	assert_int_equal(inet_pton(family, address, family == AF_INET
	    ? (void *)&four.sin_addr : (void *)&six.sin6_addr), 1);
	if (listener < 0 || bind(listener, at, len) < 0) {
		close(listener);
		return; /* no IPv6 here */
	}
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, at, &len), 0);
	int fd = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, at, len), 0);
	int accepted = accept(listener, NULL, NULL);
	open_host(&host, NULL);
	assert_int_equal(mh_server_adopt(host.server, accepted, &smtp, NULL),
	    0);
	const struct mh_event *event = mh_server_wait(host.server, 0);
	assert_non_null(event);
	struct mh_text peer = mh_get(event->session, MH_PEER);
	assert_slices(((struct slice){ peer.data, peer.len }),
	    slice_from(want));
	/* Replies are not held back for the sake of larger packets. */
	len = sizeof(on);
	assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on,
	    &len), 0);
	assert_int_not_equal(on, 0);
	host_close(&host);
	close(fd);
	close(listener);
}

static void
test_peer(void **state)
{
	struct host host;

	(void)state;
	check_peer("127.0.0.1", AF_INET, "127.0.0.1");
	check_peer("::1", AF_INET6, "::1");
	check_peer("::ffff:127.0.0.1", AF_INET6, "127.0.0.1");
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &smtp);
	const struct mh_event *event = mh_server_wait(host.server, 0);
	assert_int_equal(mh_get(event->session, MH_PEER).len, 0);
	close(fd);
	host_close(&host);
}

/* ---- storage ---- */

/* Not over TCP, where what was sent may come a moment later. */
static const struct sockaddr_un here = { .sun_family = AF_UNIX,
	.sun_path = "here" };

static int
listen_here(const struct host *host)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&here,
	    sizeof(here)), 0);
	assert_int_equal(listen(fd, 10), 0);
	assert_int_equal(mh_server_listen(host->server, fd, &smtp, NULL), 0);
	return fd;
}

static int
connect_here(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&here,
	    sizeof(here)), 0);
	return fd;
}

/* An idle session has no buffers, and no text of a message; what others do
 * with the buffers that it had is not its business. */
static void
test_idle(void **state)
{
	struct text said = { .data = NULL };
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int listener = listen_here(&host);
	int one = connect_here();
	pump(&host);
	say_and_pump(&host, one, "EHLO x\r\nMAIL FROM:<a@b>\r\n"
	    "RCPT TO:<c@d>\r\nDATA\r\ntext\r\n");
	const struct channel *channel = host.server->channels;
	assert_non_null(channel->buffers);
	assert_non_null(channel->text);
	say_and_pump(&host, one, ".\r\n");
	assert_int_equal(host.messages, 1);
	assert_null(channel->buffers);
	assert_null(channel->text);
	peer_read(one, &said);
	/* Somebody has them now; by turns, each in the middle of a line. */
	int other = connect_here();
	assert_int_equal(listener, host.server->origins->fd);
	say_and_pump(&host, other, "HE");
	say_and_pump(&host, one, "NO");
	assert_non_null(channel->buffers);
	say_and_pump(&host, other, "LO x\r\n");
	say_and_pump(&host, one, "OP\r\n");
	assert_hears(one, "250 2.0.0 Ok\r\n");
	assert_hears(other, GREETING "250 h\r\n");
	say_and_pump(&host, other, "NO");
	say_and_pump(&host, one, "VR");
	say_and_pump(&host, other, "OP\r\n");
	say_and_pump(&host, one, "FY x\r\n");
	assert_hears(other, "250 2.0.0 Ok\r\n");
	assert_hears(one, "252 2.5.0 Cannot verify, send mail and see\r\n");
	/* One that lingers has none either. */
	say_and_pump(&host, one, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	    "DATA\r\ntext\r\n.\r\nQUIT\r\n");
	assert_int_equal(channel->phase, PHASE_LINGER);
	assert_null(channel->buffers);
	assert_null(channel->text);
	close(one);
	close(other);
	pump(&host);
	host_close(&host);
	text_free(&said);
}

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *
__wrap_malloc(size_t size)
{
	errno = ENOMEM;
	return no_memory ? NULL : __real_malloc(size);
}

/* One for whom there are no buffers is dropped at once, whatever it wants
 * them for. */
static void
test_no_buffers(void **state)
{
	struct mh_options options = smtp;

	(void)state;
	options.timeout = 10;
	for (int why = 0; why < 3; why++) {
		struct text said = { .data = NULL };
		struct host host;

		open_host(&host, NULL);
		int fd = adopted(&host, &options, NULL);
		pump(&host);
		say_and_pump(&host, fd, "EHLO x\r\n");
		peer_read(fd, &said);
		text_free(&said);
		/* That there is room again is nothing to wake it later. */
		pump(&host);
		/* Those that it had are not to be had again. */
		struct origin *origin = host.server->origins;
		assert_int_equal(origin->spares, 1);
		free(origin->spare);
		origin->spare = NULL;
		origin->spares = 0;
		if (why == 0)
			peer_say(fd, SLICE("NOOP\r\n"));
		else if (why == 1)
			calls.now += 10000;
		else
			mh_server_stop(host.server);
		no_memory = true;
		pump(&host);
		no_memory = false;
		assert_int_equal(host.closed, 1);
		assert_true(has_closed(fd));
		/* Unread input makes its end a reset. */
		peer_read(fd, &said);
		assert_int_equal(said.len, 0);
		close(fd);
		host_close(&host);
		text_free(&said);
	}
}

/* ---- messages ---- */

/* Whole texts of any size, one after the other, and in between idle. */
static void
test_texts(void **state)
{
	static const size_t sizes[] = { 1, 4000, 4096, 5000, 50000, 200000, 3 };
	struct host host;

	(void)state;
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &smtp);
	say_and_pump(&host, fd, "EHLO x\r\n");
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct text want = { .data = NULL }, said = { .data = NULL };
		struct text text = { .data = NULL };

		for (unsigned k = 0; want.len < sizes[i]; k++) {
			text_format(&want, "%u\n", k);
			text_format(&text, "%u\r\n", k);
		}
		text_format(&text, ".\r\n");
		say_and_pump(&host, fd, "MAIL FROM:<a@b>\r\n"
		    "RCPT TO:<c@d>\r\nDATA\r\n");
		for (size_t at = 0; at < text.len; at += 10000) {
			struct slice piece = slice_skip(text_slice(&text),
			    at);

			piece.len = piece.len < 10000 ? piece.len : 10000;
			peer_say(fd, piece);
			pump(&host);
		}
		assert_int_equal(host.messages, i + 1);
		assert_slices(text_slice(&host.last), text_slice(&want));
		peer_read(fd, &said);
		text_free(&said);
		text_free(&want);
		text_free(&text);
	}
	close(fd);
	pump(&host);
	host_close(&host);
}

/* In pieces, where the program wants them so: it is asked for each, and at
 * the end there is no text. */
static void
test_stream(void **state)
{
	struct mh_options options = smtp;
	struct text got = { .data = NULL };
	const struct mh_event *event;
	struct host host;
	bool begun = false, ended = false;

	(void)state;
	options.flags |= MH_STREAM;
	open_host(&host, NULL);
	int fd = peer_adopted(&host, &options);
	peer_say(fd, SLICE("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	    "DATA\r\nab\r\n..c\r\n.\r\nQUIT\r\n"));
	while ((event = mh_server_wait(host.server, 0)) != NULL) {
		begun |= event->type == MH_BEGIN;
		if (event->type == MH_DATA) {
			assert_true(begun && !ended);
			text_add(&got, (struct slice){ event->text.data,
				event->text.len });
		}
		if (event->type == MH_MESSAGE) {
			ended = true;
			assert_int_equal(event->text.len, 0);
		}
		mh_accept(event->session);
	}
	assert_true(ended);
	assert_slice(text_slice(&got), "ab\n.c\n");
	text_free(&got);
	close(fd);
	pump(&host);
	host_close(&host);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_errors),
		TEST(test_little_is_sent),
		TEST(test_all_is_sent),
		TEST(test_all_is_read),
		TEST(test_turns),
		TEST(test_end_behind_text),
		TEST(test_end_waits_for_room),
		TEST(test_wrong_descriptors),
		TEST(test_wait_without_end),
		TEST(test_second_question),
		TEST(test_alarm_at_first),
		TEST(test_peer),
		TEST(test_idle),
		TEST(test_no_buffers),
		TEST(test_texts),
		TEST(test_stream),
	};

	return cmocka_run_group_tests_name("server_calls", tests,
	    make_keypair, remove_keypair);
}
#else
int
main(void)
{
	return 0;
}
#endif
