/*
 * test_transport.c - octets through sockets and pipes, in the clear and under
 * TLS, between two transports of one process: nothing here waits.
 */
#include "drive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <tls.h>

#include "keypair.h"
#include "loopback.h"
#include "system/transport.h"

static struct directory directory;
static struct transport ours, theirs;
static struct error error;
static struct tls *server; /* a context */

static int
set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	server = keypair_set_up(&directory, "one.test");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keypair_tear_down(&directory, server);
	return 0;
}

static void
open_pair(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	/* Whatever was in the memory before: as flags, O_NONBLOCK. */
	memset(&ours, 0x08, sizeof(ours));
	memset(&theirs, 0x08, sizeof(theirs));
	transport_open(&ours, fds[0], fds[0]);
	transport_open(&theirs, fds[1], fds[1]);
	assert_true(transport_is_socket(&ours));
}

static void
close_pair(void)
{
	transport_drop_tls(&ours);
	transport_drop_tls(&theirs);
	transport_close(&ours);
	transport_close(&theirs);
}

/* Both ends by turns; the client believes in that certificate for name. */
static bool
shake_hands(const char *name)
{
	struct tls_config *config = tls_config_new();
	struct tls *client = tls_client();
	ssize_t at_ours = TRANSPORT_WANT_IN, at_theirs = TRANSPORT_WANT_IN;

	tls_config_set_ca_file(config, "one.test.crt");
	assert_int_equal(tls_configure(client, config), 0);
	tls_config_free(config);
	assert_int_equal(transport_accept_tls(&ours, server, &error), 0);
	assert_int_equal(transport_connect_tls(&theirs, client, name, &error),
	    0);
	for (int turn = 0; turn < 100 && at_ours != -1 && at_theirs != -1;
	    turn++) {
		if (at_theirs != 0)
			at_theirs = transport_handshake(&theirs);
		assert_int_equal(transport_push(&theirs), 0);
		if (at_ours != 0)
			at_ours = transport_handshake(&ours);
		assert_int_equal(transport_push(&ours), 0);
		if (at_ours == 0 && at_theirs == 0)
			return true;
	}
	return false;
}

/* All of it from one end to the other, read in pieces of that size. */
static void
carry(struct transport *from, struct transport *to, struct slice text,
    size_t size)
{
	struct text got = { .data = NULL };
	struct slice rest = text;
	static char piece[70000];

	for (int turn = 0; turn < 1000000 && got.len < text.len; turn++) {
		if (rest.len > 0) {
			ssize_t n = transport_write(from, rest.data, rest.len);

			assert_true(n > 0 || n == TRANSPORT_WANT_OUT);
			rest = slice_skip(rest, n > 0 ? (size_t)n : 0);
		}
		ssize_t pushed = transport_push(from);
		assert_true(pushed == 0 || pushed == TRANSPORT_WANT_OUT);
		ssize_t n = transport_read(to, piece, size);
		assert_true(n > 0 || n == TRANSPORT_WANT_IN);
		text_add(&got, (struct slice){ piece, n > 0 ? (size_t)n : 0 });
	}
	assert_int_equal(rest.len, 0);
	assert_slices(text_slice(&got), text);
	assert_int_equal(transport_push(from), 0);
	assert_int_equal(transport_read(to, piece, size), TRANSPORT_WANT_IN);
	text_free(&got);
}

/* Numbered, so that nothing can change its place. */
static void
carry_much(size_t size)
{
	struct text text = { .data = NULL };

	for (unsigned i = 0; text.len < 400000; i++)
		text_format(&text, "%u\n", i);
	carry(&ours, &theirs, text_slice(&text), size);
	carry(&theirs, &ours, text_slice(&text), size);
	text_free(&text);
}

static void
test_plain(void **state)
{
	static const size_t sizes[] = { 100, 4096, 70000 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		open_pair();
		carry_much(sizes[i]);
		assert_int_equal(ours.cipher_taken, 0);
		close_pair();
	}
}

static void
test_tls(void **state)
{
	static const size_t sizes[] = { 100, 4096, 70000 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		open_pair();
		if (!shake_hands("one.test"))
			fail_msg("%s", tls_error(theirs.tls));
		uint64_t before = theirs.cipher_taken;
		carry_much(sizes[i]);
		/* What TLS adds is less than a twentieth. */
		assert_true(theirs.cipher_taken - before > 400000 &&
		    theirs.cipher_taken - before < 420000);
		assert_int_equal(transport_pending(&theirs), 0);
		close_pair();
	}
}

static void
test_wrong_name(void **state)
{
	(void)state;
	open_pair();
	assert_false(shake_hands("two.test"));
	assert_int_equal(transport_fault(&theirs, "handshake", &error), -1);
	assert_true(slice_starts_with(slice_from(error.text),
	    SLICE("handshake: ")));
	assert_non_null(strstr(error.text, "two.test"));
	assert_int_equal(error.kind, ERROR_PEER);
	close_pair();
}

/* The end is one with close_notify and without. */
static void
test_tls_ends(void **state)
{
	char octet;

	(void)state;
	for (int notified = 0; notified < 2; notified++) {
		open_pair();
		assert_true(shake_hands("one.test"));
		carry(&ours, &theirs, SLICE("bye"), 10);
		if (notified) {
			assert_int_equal(transport_close_tls(&ours), 0);
			assert_int_equal(transport_push(&ours), 0);
		} else {
			transport_shutdown(&ours);
		}
		assert_int_equal(transport_read(&theirs, &octet, 1), 0);
		assert_int_equal(theirs.eof, !notified);
		close_pair();
	}
}

/* TLS that has ended leaves nothing to read or to send. */
static void
test_tls_dropped(void **state)
{
	(void)state;
	open_pair();
	assert_true(shake_hands("one.test"));
	assert_int_equal(transport_write(&ours, "x", 1), 1);
	assert_int_equal(transport_push(&ours), 0);
	assert_int_equal(transport_write(&theirs, "unsent", 6), 6);
	/* Of the record its header is asked for first. */
	transport_drop_tls(&theirs);
	assert_null(theirs.tls);
	assert_int_equal(transport_pending(&theirs), 0);
	assert_int_equal(transport_push(&theirs), 0);
	assert_int_equal(buf_contents(&theirs.cipher_out).len, 0);
	assert_int_equal(buf_room(&theirs.cipher_out),
	    TRANSPORT_CIPHER_SIZE);
	transport_drop_tls(&ours);
	assert_int_equal(recv(ours.in_fd, (char[10]){ 0 }, 10, MSG_DONTWAIT),
	    -1);
	close_pair();
}

/* Of what TLS has made nothing is sent any more. */
static void
test_muted(void **state)
{
	char octet;

	(void)state;
	open_pair();
	assert_true(shake_hands("one.test"));
	/* What belongs to the handshake was read. */
	assert_int_equal(transport_read(&theirs, &octet, 1),
	    TRANSPORT_WANT_IN);
	assert_int_equal(transport_write(&ours, "x", 1), 1);
	ours.muted = true;
	assert_int_equal(transport_push(&ours), 0);
	assert_int_equal(recv(theirs.in_fd, &octet, 1,
	    MSG_PEEK | MSG_DONTWAIT), -1);
	close_pair();
}

/* A socket is left as it was found, and nothing of TLS outlives it. */
static void
test_left(void **state)
{
	char octet;

	(void)state;
	open_pair();
	assert_true(shake_hands("one.test"));
	int copy = dup(ours.in_fd);
	int flags = fcntl(copy, F_GETFL);
	/* Two records come at once: one octet of the first is taken. */
	assert_int_equal(transport_write(&theirs, "ab", 2), 2);
	assert_int_equal(transport_push(&theirs), 0);
	assert_int_equal(transport_write(&theirs, "cd", 2), 2);
	assert_int_equal(transport_push(&theirs), 0);
	assert_int_equal(transport_read(&ours, &octet, 1), 1);
	assert_true(transport_pending(&ours) > 0);
	transport_drop_tls(&ours);
	assert_int_equal(transport_pending(&ours), 0);
	transport_close(&ours);
	assert_int_equal(fcntl(copy, F_GETFL), flags);
	close(copy);
	transport_drop_tls(&theirs);
	transport_close(&theirs);
}

/* A peer that reads nothing: as much as the socket and the buffer hold. */
static void
test_full(void **state)
{
	static char much[100000];
	size_t total = 0;
	ssize_t n;

	(void)state;
	for (int under_tls = 0; under_tls < 2; under_tls++) {
		open_pair();
		assert_true(!under_tls || shake_hands("one.test"));
		for (total = 0; total < 100000000; total += (size_t)n) {
			n = transport_write(&ours, much, sizeof(much));
			if (n < 0)
				break;
			ssize_t pushed = transport_push(&ours);
			assert_true(pushed == 0 ||
			    pushed == TRANSPORT_WANT_OUT);
		}
		assert_int_equal(n, TRANSPORT_WANT_OUT);
		assert_true(total > sizeof(much));
		close_pair();
	}
}

/* Why it broke, in words. */
static void
test_faults(void **state)
{
	char octet;

	(void)state;
	open_pair();
	assert_int_equal(transport_fault(&ours, "x", &error), -1);
	assert_text(error.text, "x: unknown error");
	transport_close(&theirs);
	/* An end leaves errno as it was: that is no interruption. */
	errno = EINTR;
	assert_int_equal(transport_read(&ours, &octet, 1), 0);
	transport_fault(&ours, "read", &error);
	assert_text(error.text, "read: connection closed by peer");
	assert_int_equal(transport_write(&ours, "x", 1), -1);
	transport_fault(&ours, "write", &error);
	assert_text(error.text, "write: Broken pipe");
	assert_int_equal(ours.error, EPIPE);
	transport_close(&ours);
	assert_int_equal(ours.in_fd, -1);
}

/* A reset is no end, and no reason to wait: in the clear and under TLS, where
 * something wrong is neither. */
static void
test_broken(void **state)
{
	static char much[TRANSPORT_CIPHER_SIZE];
	char octet;

	(void)state;
	for (int under_tls = 0; under_tls < 2; under_tls++) {
		open_pair();
		assert_true(!under_tls || shake_hands("one.test"));
		assert_int_equal(transport_write(&ours, "unread", 6), 6);
		assert_int_equal(transport_push(&ours), 0);
		close(theirs.in_fd);
		assert_int_equal(transport_read(&ours, &octet, 1), -1);
		assert_int_equal(ours.error, ECONNRESET);
		transport_fault(&ours, "read", &error);
		assert_text(error.text, "read: Connection reset by peer");
		transport_drop_tls(&ours);
		transport_drop_tls(&theirs);
		transport_close(&ours);
		/* Nor is it one where there is something to write. */
		open_pair();
		assert_true(!under_tls || shake_hands("one.test"));
		close(theirs.in_fd);
		ssize_t n = 0;
		for (int i = 0; i < 10 && n != -1; i++) {
			n = transport_write(&ours, much, sizeof(much));
			assert_true(n > 0 || n == -1);
		}
		assert_int_equal(n, -1);
		transport_fault(&ours, "write", &error);
		assert_text(error.text, "write: Broken pipe");
		transport_drop_tls(&ours);
		transport_drop_tls(&theirs);
		transport_close(&ours);
	}
	open_pair();
	assert_true(shake_hands("one.test"));
	/* Tickets for other sessions come first. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(transport_read(&theirs, &octet, 1),
		    TRANSPORT_WANT_IN);
	assert_int_equal(send(ours.in_fd, "no record of TLS", 16, 0), 16);
	assert_int_equal(transport_read(&theirs, &octet, 1), -1);
	assert_false(theirs.eof);
	assert_int_equal(transport_fault(&theirs, "read", &error), -1);
	assert_int_equal(error.kind, ERROR_PEER);
	close_pair();
}

/* Ciphertext that comes octet by octet. */
static void
test_slow_record(void **state)
{
	char got[8];
	ssize_t n = 0;

	(void)state;
	open_pair();
	assert_true(shake_hands("one.test"));
	assert_int_equal(transport_read(&theirs, got, 8), TRANSPORT_WANT_IN);
	assert_int_equal(transport_write(&ours, "text", 4), 4);
	struct slice record = buf_contents(&ours.cipher_out);
	assert_true(record.len > 4);
	for (size_t i = 0; i < record.len; i++) {
		n = transport_read(&theirs, got, 8);
		assert_int_equal(n, TRANSPORT_WANT_IN);
		assert_int_equal(send(ours.out_fd, record.data + i, 1, 0), 1);
	}
	assert_int_equal(transport_read(&theirs, got, 8), 4);
	assert_memory_equal(got, "text", 4);
	close_pair();
}

/* Contexts of the other kind. */
static void
test_wrong_context(void **state)
{
	struct tls *client = tls_client();

	(void)state;
	open_pair();
	assert_int_equal(transport_accept_tls(&ours, client, &error), -1);
	assert_true(slice_starts_with(slice_from(error.text), SLICE("TLS: ")));
	assert_int_equal(error.kind, ERROR_SYSTEM);
	assert_int_equal(transport_connect_tls(&theirs, tls_server(), "x",
	    &error), -1);
	assert_true(slice_starts_with(slice_from(error.text), SLICE("TLS: ")));
	tls_free(client);
	close_pair();
}

/* What TCP would delay is sent at once: pieces, and word of what came. */
static void
test_tcp(void **state)
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	int on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	assert_int_equal(connect(client, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	int fd = accept(listener, NULL, NULL);
	transport_open(&ours, fd, fd);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len),
	    0);
	assert_int_not_equal(on, 0);
#ifdef TCP_QUICKACK
	on = 0;
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on,
	    sizeof(on)), 0);
	transport_acknowledge(&ours);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, &len),
	    0);
	assert_int_not_equal(on, 0);
#endif
	transport_close(&ours);
	close(client);
	close(listener);
}

/* One way a pipe, the other a socket. */
static void
test_mixed(void **state)
{
	char got[2];

	(void)state;
	for (int out_is_pipe = 0; out_is_pipe < 2; out_is_pipe++) {
		int pipes[2], pair[2];

		assert_int_equal(pipe(pipes), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair),
		    0);
		int in = out_is_pipe ? pair[0] : pipes[0];
		int out = out_is_pipe ? pipes[1] : pair[0];
		int to_it = out_is_pipe ? pair[1] : pipes[1];
		int from_it = out_is_pipe ? pipes[0] : pair[1];
		transport_open(&ours, in, out);
		assert_int_equal(transport_is_socket(&ours), out_is_pipe);
		assert_int_equal(transport_read(&ours, got, 1),
		    TRANSPORT_WANT_IN);
		assert_int_equal(write(to_it, "i", 1), 1);
		assert_int_equal(transport_read(&ours, got, 2), 1);
		assert_int_equal(transport_write(&ours, "o", 1), 1);
		transport_shutdown(&ours);
		assert_int_equal(read(from_it, got, 2), 1);
		if (!out_is_pipe)
			assert_int_equal(read(from_it, got, 1), 0);
		transport_close(&ours);
		close(to_it);
		close(from_it);
	}
}

/* Flags of descriptors that others may have, too, are put back, whatever they
 * were. */
static void
test_pipes(void **state)
{
	int in[2], out[2], in_flags, out_flags, copies[2];
	char octet;

	(void)state;
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		assert_int_equal(pipe2(in, flags), 0);
		assert_int_equal(pipe2(out, flags), 0);
		in_flags = fcntl(in[0], F_GETFL);
		out_flags = fcntl(out[1], F_GETFL);
		copies[0] = dup(in[0]);
		copies[1] = dup(out[1]);
		transport_open(&ours, in[0], out[1]);
		assert_false(transport_is_socket(&ours));
		assert_int_equal(transport_read(&ours, &octet, 1),
		    TRANSPORT_WANT_IN);
		assert_int_equal(transport_write(&ours, "x", 1), 1);
		assert_int_equal(read(out[0], &octet, 1), 1);
		assert_true((fcntl(copies[0], F_GETFL) & O_NONBLOCK) != 0);
		assert_true((fcntl(copies[1], F_GETFL) & O_NONBLOCK) != 0);
		transport_close(&ours);
		assert_int_equal(fcntl(copies[0], F_GETFL), in_flags);
		assert_int_equal(fcntl(copies[1], F_GETFL), out_flags);
		assert_int_equal(fcntl(in[0], F_GETFD), -1);
		assert_int_equal(fcntl(out[1], F_GETFD), -1);
		close(copies[0]);
		close(copies[1]);
		close(in[1]);
		close(out[0]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_wrong_name),
		cmocka_unit_test(test_tls_ends),
		cmocka_unit_test(test_tls_dropped),
		cmocka_unit_test(test_muted),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_slow_record),
		cmocka_unit_test(test_wrong_context),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_pipes),
	};

	return cmocka_run_group_tests_name("transport", tests, set_up,
	    tear_down);
}
