/*
 * test_server_tls.c - level 2 of the library under TLS: the handshake, text
 * both ways, and how it ends. The peer is libtls as it is, in this thread:
 * neither side ever waits for the other.
 */
#include "drive.h"

#include <tls.h>

#include "keypair.h"
#include "server_host.h"

static struct directory directory;
static struct tls *context; /* the server's */
static struct host host;
static struct text said; /* to the peer */
static struct tls *peer;
static int peer_fd;

static int
set_up(void **state)
{
	(void)state;
	context = keypair_set_up(&directory, "h");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keypair_tear_down(&directory, context);
	return 0;
}

static bool
waits(ssize_t n)
{
	return n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT;
}

static void
open_session(const struct mh_options *options)
{
	int pair[2];

	assert_int_equal(host_open(&host, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    pair), 0);
	assert_int_equal(mh_server_adopt(host.server, pair[1], options,
	    context), 0);
	peer_fd = pair[0];
	said.len = 0;
}

/* The peer's side of the handshake: 0, or -1 where it failed. */
static int
shake_hands(const char *ca_file)
{
	struct tls_config *config = tls_config_new();
	int result;

	peer = tls_client();
	tls_config_set_ca_file(config, ca_file);
	assert_int_equal(tls_configure(peer, config), 0);
	tls_config_free(config);
	assert_int_equal(tls_connect_socket(peer, peer_fd, "h"), 0);
	while (waits(result = tls_handshake(peer)))
		pump(&host);
	return result;
}

static void
say(struct slice text)
{
	while (text.len > 0) {
		ssize_t n = tls_write(peer, text.data, text.len);

		assert_true(n > 0 || waits(n));
		if (n > 0)
			text = slice_skip(text, (size_t)n);
		pump(&host);
	}
}

/* Hears it all up to there. */
static void
hear(const char *end)
{
	char octets[4096];

	while (!slice_ends_with(text_slice(&said), slice_from(end))) {
		ssize_t n = tls_read(peer, octets, sizeof(octets));

		if (n == 0 || (n < 0 && !waits(n)))
			fail_msg("%zd after %s", n, said.data);
		if (n > 0)
			text_add(&said, (struct slice){ octets, (size_t)n });
		pump(&host);
	}
}

/* The end was told: not a connection that broke. */
static void
hear_end(void)
{
	ssize_t n;

	do {
		pump(&host);
		n = tls_read(peer, (char[1]){ 0 }, 1);
	} while (waits(n));
	assert_int_equal(n, 0);
}

static void
close_session(void)
{
	tls_free(peer);
	peer = NULL;
	close(peer_fd);
	pump_to_end(&host);
	assert_int_equal(host.closed, 1);
	assert_int_equal(host.ends, host.senders);
	host_close(&host);
}

static void
test_implicit(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dialogues); i++) {
		struct mh_options options = *dialogues[i].options;

		options.flags |= MH_IMPLICIT_TLS;
		open_session(&options);
		assert_int_equal(shake_hands("h.crt"), 0);
		say(slice_from(dialogues[i].text));
		hear("Bye\r\n");
		hear_end();
		assert_int_equal(host.messages, i == 0 ? 2 : 0);
		if (i == 0) {
			char tls[128];

			snprintf(tls, sizeof(tls), "%s %s",
			    tls_conn_version(peer), tls_conn_cipher(peer));
			assert_string_equal(host.tls, tls);
		}
		close_session();
	}
}

/* An octet at a time, each in a record of its own. */
static void
test_slow_peer(void **state)
{
	struct mh_options options = smtp;
	struct slice text = slice_from(dialogues[0].text);

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_session(&options);
	assert_int_equal(shake_hands("h.crt"), 0);
	for (size_t at = 0; at < text.len; at++)
		say((struct slice){ text.data + at, 1 });
	hear("221 2.0.0 Bye\r\n");
	hear_end();
	assert_int_equal(host.messages, 2);
	close_session();
}

/* What was said before STARTTLS is forgotten, and it is offered no more. */
static void
test_starttls(void **state)
{
	static const struct {
		const struct mh_options *options;
		const char *before, *go, *after, *offers, *end;
	} rows[] = {
		{ &smtp, "EHLO x\r\nSTARTTLS\r\n", "220 2.0.0 Go ahead\r\n",
		    "MAIL FROM:<a@b>\r\nEHLO x\r\n", "STARTTLS",
		    "221 2.0.0 Bye\r\n" },
		{ &pop3, "CAPA\r\nSTLS\r\n", "+OK Go ahead\r\n",
		    "CAPA\r\n", "STLS", "+OK Bye\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mh_options options = *rows[i].options;
		struct text clear = { .data = NULL };

		options.flags |= MH_OFFER_TLS;
		open_session(&options);
		pump(&host);
		peer_say(peer_fd, slice_from(rows[i].before));
		pump(&host);
		peer_read(peer_fd, &clear);
		if (!slice_ends_with(text_slice(&clear),
		    slice_from(rows[i].go)))
			fail_msg("%s", clear.data);
		assert_non_null(strstr(clear.data, rows[i].offers));
		assert_int_equal(shake_hands("h.crt"), 0);
		say(slice_from(rows[i].after));
		say(SLICE("QUIT\r\n"));
		hear(rows[i].end);
		assert_null(strstr(said.data, rows[i].offers));
		hear_end();
		assert_int_equal(host.senders, 0);
		close_session();
		text_free(&clear);
	}
}

/* A message larger than any buffer, to a peer that reads when it likes. */
static void
test_much(void **state)
{
	struct mh_options options = pop3;
	struct text text = { .data = NULL }, want = { .data = NULL };
	const struct mh_event *event;
	size_t sent = 0;

	(void)state;
	for (unsigned i = 0; want.len < 1000000; i++) {
		text_format(&text, "%u\n", i);
		text_format(&want, "%u\r\n", i);
	}
	text_format(&want, ".\r\n");
	options.flags |= MH_IMPLICIT_TLS;
	open_session(&options);
	assert_int_equal(shake_hands("h.crt"), 0);
	say(SLICE("USER a\r\nPASS b\r\n"));
	hear("octets)\r\n");
	assert_true(tls_write(peer, "RETR 1\r\n", 8) == 8);
	said.len = 0;
	while (!slice_ends_with(text_slice(&said), SLICE("\r\n.\r\n"))) {
		char piece[65536];
		ssize_t n;

		while ((event = mh_server_wait(host.server, 0)) != NULL)
			if (event->type != MH_RETRIEVE) {
				take(&host, event);
			} else {
				sent += mh_send(event->session, text.data +
				    sent, text.len - sent);
				if (sent == text.len)
					mh_sent(event->session, true);
			}
		n = tls_read(peer, piece, sizeof(piece));
		assert_true(n > 0 || waits(n));
		if (n > 0)
			text_add(&said, (struct slice){ piece, (size_t)n });
	}
	assert_true(slice_ends_with(text_slice(&said), text_slice(&want)));
	say(SLICE("QUIT\r\n"));
	hear("+OK Bye\r\n");
	hear_end();
	close_session();
	text_free(&text);
	text_free(&want);
}

/* It leaves in the middle, with close_notify or without. */
static void
test_leaving_peer(void **state)
{
	struct mh_options options = smtp;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	for (int told = 0; told < 2; told++) {
		open_session(&options);
		assert_int_equal(shake_hands("h.crt"), 0);
		say(SLICE("EHLO x\r\nMAIL FROM:<a@b>\r\n"));
		hear("250 2.1.0 Ok\r\n");
		assert_int_equal(host.senders, 1);
		if (told) {
			while (waits(tls_close(peer)))
				pump(&host);
			hear_end();
		}
		close_session();
	}
}

/* What is no record of TLS ends it at once. */
static void
test_broken_record(void **state)
{
	struct mh_options options = smtp;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_session(&options);
	assert_int_equal(shake_hands("h.crt"), 0);
	say(SLICE("EHLO x\r\n"));
	peer_say(peer_fd, SLICE("no record of TLS"));
	pump(&host);
	assert_int_equal(host.closed, 1);
	assert_int_equal(send(peer_fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	close_session();
}

/* Those who know no TLS hear nothing, and hold nothing up. */
static void
test_no_tls(void **state)
{
	struct mh_options options = smtp;
	struct text clear = { .data = NULL };

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_session(&options);
	peer_say(peer_fd, SLICE("EHLO x\r\nMAIL FROM:<a@b>\r\n"));
	while (!peer_read(peer_fd, &clear))
		pump(&host);
	assert_int_equal(host.senders, 0);
	/* An alert of TLS, if anything. */
	assert_true(clear.len == 0 || clear.data[0] == 0x15);
	close_session();
	text_free(&clear);
	/* One who does not know the CA. */
	keypair_make("other");
	open_session(&options);
	assert_int_equal(shake_hands("other.crt"), -1);
	close_session();
}

/* Who is stopped is told so under TLS. */
static void
test_stopped(void **state)
{
	struct mh_options options = smtp;

	(void)state;
	options.flags |= MH_IMPLICIT_TLS;
	open_session(&options);
	assert_int_equal(shake_hands("h.crt"), 0);
	hear("\r\n");
	mh_server_stop(host.server);
	while (host.closed == 0)
		pump(&host);
	hear("421 4.3.2 Shutting down\r\n");
	hear_end();
	close_session();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_implicit),
		cmocka_unit_test(test_slow_peer),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_much),
		cmocka_unit_test(test_leaving_peer),
		cmocka_unit_test(test_broken_record),
		cmocka_unit_test(test_no_tls),
		cmocka_unit_test(test_stopped),
	};

	int failed = cmocka_run_group_tests_name("server_tls", tests, set_up,
	    tear_down);
	text_free(&said);
	return failed;
}
