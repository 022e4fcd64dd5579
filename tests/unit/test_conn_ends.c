/*
 * test_conn_ends.c - the pump: SIGTERM, which is to be heard however busy it
 * is, how TLS begins, and how all of it ends.
 */
#include "conn_calls.h"

/* ---- SIGTERM ---- */

static void
test_stopped(void **state)
{
	(void)state;
	for (int finish = 0; finish < 2; finish++) {
		/* Before it, and while it waits. */
		begin();
		RETURNS(read, 3);
		fake.stop = true;
		conn.finish = finish;
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(wire.stopping, !finish);
		assert_int_equal(buf_contents(&wire.in).len, finish ? 3 : 0);
		begin();
		conn.finish = finish;
		end_after(10, 0, true);
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(wire.stopping, !finish);
		assert_int_equal(wire.timed_out, finish);
		assert_int_equal(took(), finish ? 10 + MINUTE - 10 : 10);
		/* What was begun has ten seconds, in one piece or more. */
		begin();
		conn.finish = finish;
		fake.stop = true;
		put_out(2);
		RETURNS(write, OUT, 1, OUT);
		end_after(4000, POLLOUT, false);
		assert_int_equal(conn_flush(&conn, &wire, &error), -1);
		assert_int_equal(took(), finish ? MINUTE : 10000);
	}
	/* Or what was left of its time, where that is less. */
	begin_with(5);
	fake.stop = true;
	put_out(1);
	assert_int_equal(conn_flush(&conn, &wire, &error), -1);
	assert_int_equal(took(), 5000);
}

/* Where there is never a need to wait signals are let in all the same. */
static void
test_busy(void **state)
{
	(void)state;
	begin();
	RETURNS(read, 1);
	for (int i = 0; i < 1000 && !wire.stopping; i++) {
		fake.signal = i >= 500;
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		buf_consume(&wire.in, buf_contents(&wire.in).len);
	}
	assert_true(wire.stopping);
	/* Not at each read: it is a system call. */
	assert_in_range(fake.looks, 7, 9);
	assert_in_range(fake.read.calls, 500, 565);

	begin();
	RETURNS(write, 1);
	for (int i = 0; i < 1000 && !fake.stop; i++) {
		fake.signal = i >= 500;
		put_out(1);
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	}
	assert_true(fake.stop);
	assert_in_range(fake.looks, 7, 9);
	assert_in_range(fake.write.calls, 500, 565);
}

/* Nor does a wait let any in that is over at once. */
static void
test_prompt(void **state)
{
	(void)state;
	begin();
	fake.prompt = fake.signal = true;
	for (int i = 0; i < 100 && !wire.stopping; i++) {
		RETURNS(read, IN, 1);
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	}
	assert_true(wire.stopping);
}

/* A wait that nothing ended at once has let them in. */
static void
test_waits_let_signals_in(void **state)
{
	(void)state;
	begin();
	RETURNS(read, 1);
	for (int i = 0; i < 60; i++)
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	RETURNS(read, IN, 1);
	fake.n_ends = fake.waits = 0;
	end_after(10, 0, false);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	for (int i = 0; i < 60; i++)
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_int_equal(fake.looks, 0);
}

/* ---- TLS begins ---- */

static void
test_handshake(void **state)
{
	static const struct {
		ssize_t results[2];
		unsigned timeout;
		int64_t took;
		const char *why; /* NULL: it succeeds */
	} rows[] = {
		{ { 0, 0 }, 60, 0, NULL },
		{ { IN, 0 }, 60, 10, NULL },
		{ { OUT, 0 }, 60, 10, NULL },
		{ { IN, BROKEN }, 60, 10, "TLS handshake: broken" },
		{ { IN, IN }, 60, 30000, "TLS handshake: took too long" },
		{ { IN, IN }, 30, 30000, "TLS handshake: took too long" },
		{ { OUT, OUT }, 5, 5000, "TLS handshake: took too long" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int client = 0; client < 2; client++) {
			begin_with(rows[i].timeout);
			RETURNS(handshake, rows[i].results[0],
			    rows[i].results[1]);
			end_after(10, POLLIN | POLLOUT, false);
			int result = client ? conn_start_tls_client(&conn,
			    NULL, "x", &error) : conn_start_tls(&conn, NULL,
			    &error);
			assert_int_equal(result, rows[i].why == NULL ? 0
			    : -1);
			assert_int_equal(took(), rows[i].took);
			if (rows[i].why != NULL)
				assert_string_equal(error.text, rows[i].why);
		}
	begin();
	conn.deadline.timeout = 30010;
	assert_int_equal(conn_start_tls(&conn, NULL, &error), -1);
	assert_int_equal(took(), 30000);
	begin();
	end_after(10, 0, true);
	assert_int_equal(conn_start_tls(&conn, NULL, &error), -1);
	assert_text(error.text, "TLS handshake: stopped");
	assert_int_equal(took(), 10);
	/* Where there is none. */
	begin();
	RETURNS(begin, -1);
	assert_int_equal(conn_start_tls(&conn, NULL, &error), -1);
	assert_int_equal(conn_start_tls_client(&conn, NULL, "x", &error), -1);
	assert_int_equal(fake.handshake.calls, 0);
}

/* After it a command has all its time, whatever began before. */
static void
test_time_after_handshake(void **state)
{
	(void)state;
	begin();
	RETURNS(read, 3, IN);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	end_after(50000, 0, true);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_true(wire.stopping);
	fake.stop = wire.stopping = false;
	RETURNS(handshake, 0);
	assert_int_equal(conn_start_tls(&conn, NULL, &error), 0);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_true(wire.timed_out);
	assert_int_equal(took(), 50000 + MINUTE);
}

/* ---- the end ---- */

static struct tls *const some_tls = (void *)&conn;

static void
close_and_check(struct wire *last, bool linger, int64_t time,
    const char *order)
{
	conn_close(&conn, last, linger);
	assert_int_equal(took(), time);
	assert_slices(text_slice(&fake.order), slice_from(order));
	assert_int_equal(conn.transport.in_fd, -1);
}

static void
test_close(void **state)
{
	(void)state;
	/* Once. */
	begin();
	close_and_check(NULL, false, 0, "shutdown drop close");
	conn_close(&conn, NULL, true);
	conn.transport.in_fd = 0;
	conn_close(&conn, NULL, true);
	assert_slice(text_slice(&fake.order), "shutdown drop close");
	/* The last words are waited for, and what TLS adds to them. */
	begin();
	put_out(10);
	RETURNS(write, OUT, 10);
	end_after(10, POLLOUT, false);
	close_and_check(&wire, false, 10, "shutdown drop close");
	assert_int_equal(buf_contents(&wire.out).len, 0);
	assert_int_equal(fake.push.calls, 1);
	begin();
	conn.transport.tls = some_tls;
	put_out(10);
	RETURNS(write, 10);
	RETURNS(close, OUT, 0);
	RETURNS(push, 0, OUT, 0);
	end_after(10, POLLOUT, false);
	end_after(10, POLLOUT, false);
	close_and_check(&wire, false, 20,
	    "notify notify shutdown drop close");
	/* But not for long: to be told, and to take it. */
	begin();
	conn.transport.tls = some_tls;
	RETURNS(close, OUT);
	RETURNS(push, 0);
	close_and_check(&wire, false, 2000, "notify shutdown drop close");
	/* Without last words nothing is waited for. */
	for (int blocked = 0; blocked < 2; blocked++) {
		begin();
		conn.transport.tls = some_tls;
		RETURNS(close, blocked ? OUT : 0);
		RETURNS(push, OUT);
		close_and_check(NULL, false, 0, "notify shutdown drop close");
		assert_int_equal(fake.push.calls, 1);
	}
	/* What is broken is told nothing; an end of theirs is no end of
	 * ours. */
	for (int last = 0; last < 2; last++) {
		begin();
		conn.transport.tls = some_tls;
		conn.transport.error = EPIPE;
		close_and_check(last ? &wire : NULL, true, 0,
		    "shutdown drop close");
		assert_int_equal(fake.push.calls, 0);
	}
	begin();
	conn.transport.tls = some_tls;
	conn.transport.eof = true;
	RETURNS(push, OUT, 0);
	end_after(10, POLLOUT, false);
	close_and_check(&wire, true, 10, "shutdown drop close");
}

/* Until the peer closes, too; or for two seconds, or sixteen megabytes. */
static void
test_linger(void **state)
{
	(void)state;
	begin();
	fake.is_socket = true;
	RETURNS(read, 5, IN, 7, 0);
	end_after(300, POLLIN, false);
	close_and_check(NULL, true, 300, "shutdown drop close");
	assert_int_equal(fake.read.calls, 4);
	/* Not where nobody asks for it, or it is a pipe. */
	for (int socket = 0; socket < 2; socket++) {
		begin();
		fake.is_socket = socket;
		close_and_check(NULL, !socket, 0, "shutdown drop close");
		assert_int_equal(fake.read.calls, 0);
	}
	begin();
	fake.is_socket = true;
	end_after(1500, 0, false);
	close_and_check(NULL, true, 2000, "shutdown drop close");
	/* Whatever it says meanwhile. */
	begin();
	fake.is_socket = true;
	fake.read_takes = 100;
	RETURNS(read, 1);
	close_and_check(NULL, true, 2000, "shutdown drop close");
	for (ssize_t first = 1; first <= 4096; first += 4095) {
		begin();
		fake.is_socket = true;
		RETURNS(read, first, 4096);
		close_and_check(NULL, true, 0, "shutdown drop close");
		assert_int_equal(fake.read.calls, 4097);
	}
	/* Or as long as the caller says. */
	begin();
	fake.is_socket = true;
	conn.hard_deadline = fake.now;
	close_and_check(NULL, true, 0, "shutdown drop close");
	begin();
	fake.is_socket = true;
	RETURNS(read, 1, BROKEN);
	close_and_check(NULL, true, 0, "shutdown drop close");
	assert_int_equal(fake.read.calls, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_prompt),
		cmocka_unit_test(test_waits_let_signals_in),
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_time_after_handshake),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_linger),
	};

	return cmocka_run_group_tests_name("conn_ends", tests, NULL,
	    tear_down);
}
