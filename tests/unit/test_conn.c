/*
 * test_conn.c - the pump over socketpairs, pipes and TCP: what it reads and
 * writes, and when it has waited long enough.
 *
 * Limits are fractions of a second here, set in the conn itself. A peer that
 * takes its time is a process of its own. How long something took is
 * compared with its limit from below exactly, from above generously: other
 * programs may be busy.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "system/clock.h"
#include "system/conn.h"
#include "loopback.h"
#include "system/process.h"

#define LIMIT 200        /* milliseconds */
#define AMPLE 2000       /* for a peer that is to be in time */
#define MUCH_LATER 30000 /* no machine is that busy */

/* Where time is what is tried, a socketpair stands for TCP too. */
enum kind { SOCKETPAIR, PIPES, TCP, KINDS };

/* A connection and the peer's ends of it, which may be the same. */
static struct conn conn;
static struct wire wire;
static struct error error;
static int peer_in;  /* what the peer reads */
static int peer_out; /* what the peer writes */
static char in_storage[4096];
static char out_storage[1 << 18];
static pid_t peer_pid; /* of the process that plays it, or 0 */

static void
make_tcp(int fds[2])
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address);

	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&address,
	    sizeof(address)), 0);
	fds[0] = accept(listener, NULL, NULL);
	assert_true(fds[0] >= 0);
	close(listener);
}

static void
open_conn(enum kind kind)
{
	int fds[2], back[2];

	if (kind == PIPES) {
		assert_int_equal(pipe(fds), 0);
		assert_int_equal(pipe(back), 0);
		conn_open(&conn, fds[0], back[1], 1);
		peer_out = fds[1];
		peer_in = back[0];
	} else {
		if (kind == TCP)
			make_tcp(fds);
		else
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0,
			    fds), 0);
		conn_open(&conn, fds[0], fds[0], 1);
		peer_in = peer_out = fds[1];
	}
	conn.deadline.timeout = LIMIT;
	wire_init(&wire, in_storage, sizeof(in_storage), out_storage,
	    sizeof(out_storage));
}

static void
close_peer(void)
{
	if (peer_out != peer_in)
		close(peer_out);
	if (peer_in >= 0)
		close(peer_in);
	peer_in = peer_out = -1;
}

static void
close_all(void)
{
	int status;

	close_peer();
	conn_close(&conn, NULL, false);
	if (peer_pid != 0) {
		assert_int_equal(waitpid(peer_pid, &status, 0), peer_pid);
		peer_pid = 0;
	}
}

/* A peer in a process of its own, which has the peer's ends alone. */
static void
start_peer(void (*play)(void))
{
	fflush(NULL);
	peer_pid = fork();
	assert_true(peer_pid >= 0);
	if (peer_pid == 0) {
		close(conn.transport.in_fd);
		if (conn.transport.out_fd != conn.transport.in_fd)
			close(conn.transport.out_fd);
		alarm(60);
		signal(SIGPIPE, SIG_DFL);
		play();
		_exit(0);
	}
	close_peer();
}

static void
say(const char *text)
{
	if (write(peer_out, text, strlen(text)) < 0)
		_exit(1);
}

static void
assert_pump(int result)
{
	if (conn_pump(&conn, &wire, &error) != result)
		fail_msg("pump: %s", error.text);
}

/* Takes lines, as a core would, until the pump says that it is over; how
 * many milliseconds that took. */
static int64_t
pump_lines(void)
{
	int64_t began = clock_now();
	struct slice line;

	while (!wire.eof && !wire.timed_out && !wire.stopping &&
	    clock_now() - began < MUCH_LATER) {
		while (wire_line(&wire, 64, &line) != WIRE_MORE)
			;
		assert_pump(0);
	}
	return clock_now() - began;
}

/* The same for message text. */
static int64_t
pump_text(void)
{
	int64_t began = clock_now();

	wire.text = true;
	while (!wire.eof && !wire.timed_out &&
	    clock_now() - began < MUCH_LATER) {
		buf_consume(&wire.in, buf_contents(&wire.in).len);
		assert_pump(0);
	}
	return clock_now() - began;
}

/* ---- octets ---- */

static void
test_reads(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		open_conn(kind);
		assert_int_equal(write(peer_out, "abc", 3), 3);
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "abc");
		/* What comes is added to what is there, wherever it is. */
		buf_consume(&wire.in, 1);
		assert_int_equal(write(peer_out, "d\0", 2), 2);
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "bcd\0");
		assert_false(wire.eof);
		/* The end, after what came before it. */
		assert_int_equal(write(peer_out, "e", 1), 1);
		close_peer();
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "bcd\0e");
		assert_false(wire.eof);
		assert_pump(0);
		assert_true(wire.eof);
		assert_false(wire.timed_out);
		close_all();
	}
}

/* Never more than there is room for. */
static void
test_reads_no_more(void **state)
{
	static char large[3 * sizeof(in_storage)];
	size_t got = 0;

	(void)state;
	memset(large, 'x', sizeof(large));
	for (enum kind kind = 0; kind < KINDS; kind++) {
		open_conn(kind);
		assert_int_equal(write(peer_out, large, sizeof(large)),
		    sizeof(large));
		assert_pump(0);
		assert_int_equal(buf_contents(&wire.in).len,
		    sizeof(in_storage));
		/* Full: whoever asks for more has made a mistake. */
		assert_pump(-1);
		assert_int_equal(error.kind, ERROR_SYSTEM);
		for (got = 0; got < sizeof(large);) {
			size_t len = buf_contents(&wire.in).len;

			got += len;
			buf_consume(&wire.in, len);
			if (got < sizeof(large))
				assert_pump(0);
		}
		assert_int_equal(got, sizeof(large));
		close_all();
	}
}

/* Output goes first, all of it, before anything is read. */
static void
test_writes(void **state)
{
	char got[64];

	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		open_conn(kind);
		assert_int_equal(write(peer_out, "QUIT\r\n", 6), 6);
		wire_put_line(&wire, SLICE("+OK one"));
		wire_put_line(&wire, SLICE("+OK two"));
		assert_pump(0);
		assert_int_equal(buf_contents(&wire.out).len, 0);
		assert_int_equal(buf_contents(&wire.in).len, 0);
		ssize_t n = read(peer_in, got, sizeof(got));
		assert_slices(((struct slice){ got, (size_t)n }),
		    SLICE("+OK one\r\n+OK two\r\n"));
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "QUIT\r\n");
		/* With nothing to say, flush says nothing. */
		assert_int_equal(conn_flush(&conn, &wire, &error), 0);
		close_all();
	}
}

/* What has come already, and never a wait. */
static void
test_read_ready(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int64_t began = clock_now();

		open_conn(kind);
		/* It sends nothing, whatever there is to send. */
		wire_put_line(&wire, SLICE("+OK"));
		assert_int_equal(conn_read_ready(&conn, &wire, &error), 0);
		assert_int_equal(buf_contents(&wire.in).len, 0);
		assert_int_equal(write(peer_out, "abc", 3), 3);
		while (buf_contents(&wire.in).len == 0 &&
		    clock_now() - began < MUCH_LATER)
			assert_int_equal(conn_read_ready(&conn, &wire,
			    &error), 0);
		assert_slice(buf_contents(&wire.in), "abc");
		assert_slice(buf_contents(&wire.out), "+OK\r\n");
		/* Full is full. */
		while (buf_append(&wire.in, SLICE("x")))
			;
		assert_int_equal(write(peer_out, "d", 1), 1);
		assert_int_equal(conn_read_ready(&conn, &wire, &error), 0);
		assert_int_equal(buf_contents(&wire.in).len,
		    sizeof(in_storage));
		buf_consume(&wire.in, sizeof(in_storage));
		close_peer();
		assert_false(wire.eof);
		while (!wire.eof && clock_now() - began < MUCH_LATER)
			assert_int_equal(conn_read_ready(&conn, &wire,
			    &error), 0);
		assert_true(wire.eof);
		assert_slice(buf_contents(&wire.in), "d");
		assert_false(wire.timed_out);
		close_all();
	}
}

/* Before anything else, for a PROXY header: not an octet more. */
static void
test_read_plain(void **state)
{
	char got[16];

	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int64_t began = clock_now();

		open_conn(kind);
		assert_int_equal(write(peer_out, "abcdef", 6), 6);
		assert_int_equal(conn_read_plain(&conn, got, 4,
		    began + MUCH_LATER, &error), 4);
		assert_memory_equal(got, "abcd", 4);
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "ef");
		began = clock_now();
		assert_int_equal(conn_read_plain(&conn, got, 4, began + 50,
		    &error), -1);
		assert_int_equal(error.kind, ERROR_TIMEOUT);
		assert_true(clock_now() - began >= 50);
		assert_true(clock_now() - began < MUCH_LATER);
		close_peer();
		assert_int_equal(conn_read_plain(&conn, got, 4,
		    clock_now() + MUCH_LATER, &error), 0);
		close_all();
	}
}

/* ---- time ---- */

static void
test_idle(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		open_conn(kind);
		int64_t took = pump_lines();
		assert_true(wire.timed_out);
		assert_false(wire.eof);
		assert_true(took >= LIMIT && took < MUCH_LATER);
		close_all();
	}
}

static void
play_octet_by_octet(void)
{
	for (;;) {
		say("x");
		pause_ms(10);
	}
}

static void
play_commands_then_octets(void)
{
	say("NOOP\r\nNOOP\r\n");
	play_octet_by_octet();
}

/* A command must be whole within the limit of its first octet, however
 * busily its other octets come; the first one, and any later one. */
static void
test_slow_command(void **state)
{
	static void (*const plays[])(void) = {
		play_octet_by_octet, play_commands_then_octets,
	};

	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++)
		for (size_t i = 0; i < COUNT(plays); i++) {
			open_conn(kind);
			start_peer(plays[i]);
			int64_t took = pump_lines();
			assert_true(wire.timed_out);
			assert_true(took >= LIMIT && took < MUCH_LATER);
			assert_int_equal(wire.lines, 2 * i);
			close_all();
		}
}

static void
play_slow_commands(void)
{
	for (int i = 0; i < 12; i++) {
		say("NO");
		pause_ms(AMPLE / 20);
		say("OP\r\n");
		pause_ms(AMPLE / 20);
	}
}

/* Each command has its own time, and so has the wait for it. */
static void
test_commands_in_time(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		conn.deadline.timeout = AMPLE;
		start_peer(play_slow_commands);
		int64_t took = pump_lines();
		assert_true(wire.eof);
		assert_true(took > AMPLE);
		assert_int_equal(wire.lines, 12);
		close_all();
	}
}

static void
play_late_first_octet(void)
{
	pause_ms(AMPLE * 6 / 10);
	say("NO");
	pause_ms(AMPLE * 6 / 10);
	say("OP\r\n");
}

/* A line now and then, each of them in time. */
static void
play_slow_lines(void)
{
	for (int i = 0; i < 100; i++) {
		pause_ms(LIMIT / 4);
		say("250-x\r\n");
	}
}

/* Where the caller says until when, all of them together have no more time
 * than that. */
static void
test_until(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		conn.deadline.timeout = AMPLE;
		start_peer(play_slow_lines);
		conn.hard_deadline = clock_now() + AMPLE / 2;
		int64_t took = pump_lines();
		assert_true(wire.timed_out);
		assert_true(clock_now() >= conn.hard_deadline);
		assert_true(took < MUCH_LATER);
		assert_true(wire.lines >= 2);
		close_all();
	}
}

/* The command's time begins with its first octet. */
static void
test_late_first_octet(void **state)
{
	(void)state;
	open_conn(SOCKETPAIR);
	conn.deadline.timeout = AMPLE;
	start_peer(play_late_first_octet);
	pump_lines();
	assert_true(wire.eof);
	assert_int_equal(wire.lines, 1);
	close_all();
}

static void
play_flood(void)
{
	static char line[65536];

	memset(line, 'x', sizeof(line));
	for (;;)
		if (write(peer_out, line, sizeof(line)) <= 0)
			_exit(0);
}

/* A line that never ends, and comes so fast that there is always more of
 * it to read: its time is over all the same. */
static void
test_flood(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		start_peer(play_flood);
		int64_t took = pump_lines();
		assert_true(wire.timed_out);
		assert_true(took >= LIMIT && took < MUCH_LATER);
		close_all();
	}
}

/* Message text has a budget: octets one by one do not earn enough. */
static void
test_slow_text(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		start_peer(play_octet_by_octet);
		int64_t took = pump_text();
		assert_true(wire.timed_out);
		assert_true(took >= LIMIT && took < MUCH_LATER);
		close_all();
	}
}

static void
play_kibibytes(void)
{
	char text[1025];

	memset(text, 'x', 1024);
	text[1024] = '\0';
	for (int i = 0; i < 12; i++) {
		say(text);
		pause_ms(AMPLE / 10);
	}
}

/* Each KiB earns a second, up to the limit: so slow a line may go on. */
static void
test_text_earns_time(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		conn.deadline.timeout = AMPLE;
		start_peer(play_kibibytes);
		int64_t took = pump_text();
		assert_true(wire.eof);
		assert_true(took > AMPLE);
		close_all();
	}
}

static void
play_text_then_nothing(void)
{
	static char text[65536];

	memset(text, 'x', sizeof(text) - 1);
	say(text);
	pause();
}

/* But it earns no store of time: at most the limit. */
static void
test_text_earns_no_store(void **state)
{
	(void)state;
	open_conn(SOCKETPAIR);
	start_peer(play_text_then_nothing);
	int64_t took = pump_text();
	assert_true(wire.timed_out);
	assert_true(took >= LIMIT && took < MUCH_LATER);
	kill(peer_pid, SIGKILL);
	close_all();
}

static void
fill_out(size_t n)
{
	struct text text = { .data = NULL };

	text_repeat(&text, 'x', n);
	assert_true(buf_append(&wire.out, text_slice(&text)));
	text_free(&text);
}

/* A peer that reads nothing holds no process. */
static void
test_peer_reads_nothing(void **state)
{
	const int small = 4096;

	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int64_t began;

		open_conn(kind);
		if (kind == SOCKETPAIR)
			setsockopt(conn.transport.out_fd, SOL_SOCKET, SO_SNDBUF,
			    &small, sizeof(small));
		began = clock_now();
		/* However much the kernel takes. */
		while (clock_now() - began < MUCH_LATER) {
			fill_out(sizeof(out_storage) -
			    buf_contents(&wire.out).len);
			if (conn_pump(&conn, &wire, &error) != 0)
				break;
		}
		int64_t took = clock_now() - began;
		assert_int_equal(error.kind, ERROR_TIMEOUT);
		assert_text(error.text, "the peer does not read");
		assert_true(took >= LIMIT && took < MUCH_LATER);
		close_all();
	}
}

static void
play_interrupter(void)
{
	pause_ms(50);
	say("421 Bye\r\n");
	pause();
}

/* Where that is asked for, a peer that speaks instead of reading is heard,
 * and what it says is left to be read. */
static void
test_heed_input(void **state)
{
	const int small = 4096;

	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int result = 0;

		if (kind == PIPES)
			continue;
		open_conn(kind);
		setsockopt(conn.transport.out_fd, SOL_SOCKET, SO_SNDBUF, &small,
		    sizeof(small));
		conn.deadline.timeout = MUCH_LATER;
		conn.heed_input = true;
		start_peer(play_interrupter);
		int64_t began = clock_now();
		while (result == 0 && clock_now() - began < MUCH_LATER) {
			fill_out(sizeof(out_storage) -
			    buf_contents(&wire.out).len);
			result = conn_flush(&conn, &wire, &error);
		}
		assert_int_equal(result, 1);
		assert_true(buf_contents(&wire.out).len > 0);
		assert_int_equal(buf_contents(&wire.in).len, 0);
		assert_int_equal(conn_read_ready(&conn, &wire, &error), 0);
		assert_slice(buf_contents(&wire.in), "421 Bye\r\n");
		kill(peer_pid, SIGKILL);
		close_all();
	}
}

static void
play_slow_reader(void)
{
	static char text[1 << 18];
	size_t got = 0;

	while (got < sizeof(text)) {
		ssize_t n = read(peer_in, text + got, 16384);

		if (n <= 0)
			_exit(1);
		got += (size_t)n;
		pause_ms(AMPLE / 14);
	}
	for (size_t i = 0; i < got; i++)
		if (text[i] != 'x')
			_exit(2);
	say("all");
}

/* One that reads slowly earns its time. */
static void
test_slow_reader(void **state)
{
	const int small = 4096;

	(void)state;
	for (enum kind kind = 0; kind < TCP; kind++) {
		open_conn(kind);
		if (kind == SOCKETPAIR)
			setsockopt(conn.transport.out_fd, SOL_SOCKET, SO_SNDBUF,
			    &small, sizeof(small));
		conn.deadline.timeout = AMPLE;
		start_peer(play_slow_reader);
		int64_t began = clock_now();
		fill_out(sizeof(out_storage));
		assert_pump(0);
		assert_true(clock_now() - began > AMPLE / 2);
		/* Until it has read all. */
		conn.deadline.timeout = MUCH_LATER;
		assert_pump(0);
		assert_slice(buf_contents(&wire.in), "all");
		close_all();
	}
}

/* A new limit counts from the next wait on. */
static void
test_set_timeout(void **state)
{
	(void)state;
	open_conn(SOCKETPAIR);
	assert_int_equal(write(peer_out, "x", 1), 1);
	assert_pump(0);
	conn_set_timeout(&conn, 1);
	int64_t took = pump_lines();
	assert_true(wire.timed_out);
	assert_true(took >= 1000 && took < 1000 + MUCH_LATER);
	close_all();
}

/* ---- descriptors ---- */

/* O_NONBLOCK is for the open file, which others may have too: it is as it
 * was when we leave. */
static void
test_flags_restored(void **state)
{
	(void)state;
	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		int fds[2], back[2];

		assert_int_equal(pipe(fds), 0);
		assert_int_equal(pipe(back), 0);
		int in_copy = dup(fds[0]), out_copy = dup(back[1]);
		if (nonblocking) {
			fcntl(in_copy, F_SETFL, O_NONBLOCK);
			fcntl(out_copy, F_SETFL, O_NONBLOCK);
		}
		int in_flags = fcntl(in_copy, F_GETFL);
		int out_flags = fcntl(out_copy, F_GETFL);
		conn_open(&conn, fds[0], back[1], 1);
		assert_true((fcntl(in_copy, F_GETFL) & O_NONBLOCK) != 0);
		assert_true((fcntl(out_copy, F_GETFL) & O_NONBLOCK) != 0);
		conn_close(&conn, NULL, true);
		assert_int_equal(fcntl(in_copy, F_GETFL), in_flags);
		assert_int_equal(fcntl(out_copy, F_GETFL), out_flags);
		/* And both are closed. */
		assert_int_equal(fcntl(fds[0], F_GETFD), -1);
		assert_int_equal(fcntl(back[1], F_GETFD), -1);
		close(in_copy);
		close(out_copy);
		close(fds[1]);
		close(back[0]);
	}
}

/* Sockets need none of that: MSG_DONTWAIT does it. */
static void
test_socket_flags(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int no_delay = 0;
		socklen_t len = sizeof(no_delay);

		if (kind == PIPES)
			continue;
		open_conn(kind);
		assert_int_equal(fcntl(conn.transport.in_fd, F_GETFL) &
		    O_NONBLOCK, 0);
		if (kind == TCP) {
			assert_int_equal(getsockopt(conn.transport.out_fd,
			    IPPROTO_TCP,
			    TCP_NODELAY, &no_delay, &len), 0);
			assert_int_equal(no_delay, 1);
		}
		int fd = conn.transport.in_fd;
		close_all();
		assert_int_equal(fcntl(fd, F_GETFD), -1);
		conn_close(&conn, NULL, true);
	}
	/* One that was never opened. */
	struct conn *zero = calloc(1, sizeof(*zero));
	assert_non_null(zero);
	conn_close(zero, NULL, true);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	free(zero);
}

/* ---- peers that leave ---- */

/* Runs it in a child; 0 where it got to its end. */
static int
status_of(void (*run)(enum kind), enum kind kind)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		signal(SIGPIPE, SIG_DFL);
		run(kind);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
write_to_nobody(enum kind kind)
{
	/* What it does about pipes is process_init's. */
	if (kind == PIPES)
		process_init();
	open_conn(kind);
	close_peer();
	for (int i = 0; i < 100; i++) {
		buf_append(&wire.out, SLICE("220 hello\r\n"));
		if (conn_pump(&conn, &wire, &error) == 0) {
			/* TCP learns of it a moment later. */
			pause_ms(1);
			continue;
		}
		if (error.kind != ERROR_PEER ||
		    strncmp(error.text, "write: ", 7) != 0)
			_exit(1);
		conn_close(&conn, &wire, true);
		_exit(0);
	}
	_exit(2);
}

/* SIGPIPE kills nobody, and the error says what happened. */
static void
test_no_sigpipe(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++)
		assert_int_equal(status_of(write_to_nobody, kind), 0);
}

/* A reset is the peer's own way to end it. */
static void
test_reset(void **state)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	(void)state;
	open_conn(TCP);
	setsockopt(peer_in, SOL_SOCKET, SO_LINGER, &at_once,
	    sizeof(at_once));
	close_peer();
	assert_pump(-1);
	assert_int_equal(error.kind, ERROR_PEER);
	assert_text(error.text, "read: Connection reset by peer");
	close_all();
	/* Also where nobody waits. */
	open_conn(TCP);
	setsockopt(peer_in, SOL_SOCKET, SO_LINGER, &at_once,
	    sizeof(at_once));
	close_peer();
	int result = 0;
	int64_t began = clock_now();
	while (result == 0 && clock_now() - began < MUCH_LATER)
		result = conn_read_ready(&conn, &wire, &error);
	assert_int_equal(result, -1);
	assert_int_equal(error.kind, ERROR_PEER);
	close_all();
}

static void
play_unread_talker(void)
{
	static char text[65536];
	size_t got = 0;

	/* So much that is never read, then it listens. */
	memset(text, 'x', sizeof(text) - 1);
	say(text);
	for (;;) {
		ssize_t n = read(peer_in, text + got, sizeof(text) - got);

		if (n < 0)
			_exit(1);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	_exit(got == 9 && memcmp(text, "421 Bye\r\n", 9) == 0 ? 0 : 2);
}

/* Our last words arrive although we did not read all of its own. */
static void
test_linger(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		int status;

		if (kind == PIPES)
			continue;
		open_conn(kind);
		start_peer(play_unread_talker);
		assert_pump(0);
		wire_put_line(&wire, SLICE("421 Bye"));
		int64_t began = clock_now();
		conn_close(&conn, &wire, true);
		assert_true(clock_now() - began < MUCH_LATER);
		assert_int_equal(waitpid(peer_pid, &status, 0), peer_pid);
		peer_pid = 0;
		assert_int_equal(status, 0);
	}
}

/* A peer that stays is not waited for long. */
static void
test_linger_ends(void **state)
{
	(void)state;
	open_conn(SOCKETPAIR);
	int64_t began = clock_now();
	conn_close(&conn, NULL, true);
	assert_true(clock_now() - began <= 2000 + MUCH_LATER);
	close_peer();
}

/* ---- SIGTERM ---- */

static void
terminate_after(long milliseconds)
{
	pid_t self = getpid();

	if (fork() == 0) {
		pause_ms(milliseconds);
		kill(self, SIGTERM);
		_exit(0);
	}
}

static void
stop_while_waiting(enum kind kind)
{
	process_init();
	open_conn(kind);
	conn.deadline.timeout = 2 * MUCH_LATER;
	terminate_after(50);
	int64_t took = pump_lines();
	if (!wire.stopping || wire.timed_out || took > MUCH_LATER)
		_exit(1);
}

/* A peer that keeps us busy is interrupted as well. */
static void
stop_while_busy(enum kind kind)
{
	process_init();
	open_conn(kind);
	conn.deadline.timeout = 2 * MUCH_LATER;
	start_peer(play_flood);
	terminate_after(50);
	wire.text = true;
	int64_t began = clock_now();
	while (!wire.stopping && clock_now() - began < MUCH_LATER) {
		buf_consume(&wire.in, buf_contents(&wire.in).len);
		if (conn_pump(&conn, &wire, &error) != 0)
			_exit(2);
	}
	kill(peer_pid, SIGKILL);
	if (!wire.stopping)
		_exit(1);
}

static bool prompt; /* the peer says something whenever we wait */

/* In place of the library's, which lets no signal in where something is ready
 * at once. */
int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	struct timespec left = *timeout;

	if (prompt && n > 0 && write(peer_out, "\n", 1) != 1)
		_exit(3);
	return (int)syscall(SYS_ppoll, fds, n, &left, mask, _NSIG / 8);
}

/* Nothing has come when we look, and it has by the time we wait. */
static void
stop_while_prompt(enum kind kind)
{
	process_init();
	open_conn(kind);
	conn.deadline.timeout = 2 * MUCH_LATER;
	prompt = true;
	raise(SIGTERM);
	for (int i = 0; i < 1000 && !wire.stopping; i++) {
		buf_consume(&wire.in, buf_contents(&wire.in).len);
		if (conn_pump(&conn, &wire, &error) != 0)
			_exit(2);
	}
	if (!wire.stopping)
		_exit(1);
}

/* Where the caller says so, it goes on. */
static void
finish_in_spite(enum kind kind)
{
	process_init();
	open_conn(kind);
	conn.finish = true;
	raise(SIGTERM);
	if (write(peer_out, "x", 1) != 1)
		_exit(1);
	if (conn_pump(&conn, &wire, &error) != 0 || wire.stopping)
		_exit(2);
	pump_lines();
	if (!wire.timed_out || wire.stopping || !process_stop_requested())
		_exit(3);
}

static void
test_stopping(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		assert_int_equal(status_of(stop_while_waiting, kind), 0);
		assert_int_equal(status_of(stop_while_busy, kind), 0);
		assert_int_equal(status_of(stop_while_prompt, kind), 0);
		assert_int_equal(status_of(finish_in_spite, kind), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_reads_no_more),
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_read_ready),
		cmocka_unit_test(test_read_plain),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_slow_command),
		cmocka_unit_test(test_commands_in_time),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_late_first_octet),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_slow_text),
		cmocka_unit_test(test_text_earns_time),
		cmocka_unit_test(test_text_earns_no_store),
		cmocka_unit_test(test_peer_reads_nothing),
		cmocka_unit_test(test_heed_input),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_set_timeout),
		cmocka_unit_test(test_flags_restored),
		cmocka_unit_test(test_socket_flags),
		cmocka_unit_test(test_no_sigpipe),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_linger_ends),
		cmocka_unit_test(test_stopping),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
