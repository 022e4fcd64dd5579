/*
 * test_conn_waits.c - the pump: what it waits for, exactly how long, and what
 * it does not wait for.
 */
#include "conn_calls.h"

/* ---- input ---- */

static void
test_input(void **state)
{
	(void)state;
	begin();
	RETURNS(read, IN, 3);
	end_after(1234, POLLIN, false);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_slice(buf_contents(&wire.in), "abc");
	assert_int_equal(fake.waits, 1);
	assert_int_equal(fake.waited_for, POLLIN);
	assert_int_equal(fake.waited_on, IN_FD);
	assert_int_equal(took(), 1234);
	/* What was there already, without a wait, and all of it. */
	begin();
	fake.pending = 20;
	fake.takes = 10;
	RETURNS(read, 3, 4, 5);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_slice(buf_contents(&wire.in), "abcdefg");
	assert_int_equal(fake.read.calls, 2);
	assert_int_equal(fake.waits, 0);
	/* As far as there is room. */
	begin();
	wire_init(&wire, in_storage, 10, out_storage, sizeof(out_storage));
	fake.pending = 40;
	fake.takes = 10;
	RETURNS(read, 4, 5, 4);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_slice(buf_contents(&wire.in), "abcdefghij");
	assert_int_equal(fake.read.calls, 3);
	assert_int_equal(conn_read_ready(&conn, &wire, &error), 0);
	assert_int_equal(conn_pump(&conn, &wire, &error), -1);
	assert_int_equal(error.kind, ERROR_SYSTEM);
	assert_int_equal(fake.read.calls, 3);
	/* To the last octet. */
	for (int ready = 0; ready < 2; ready++) {
		buf_consume(&wire.in, 1);
		assert_int_equal(ready ? conn_read_ready(&conn, &wire, &error)
		    : conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(buf_contents(&wire.in).len, 10);
	}
	/* An octet that waits is text, perhaps. */
	begin();
	fake.pending = 11;
	fake.takes = 10;
	RETURNS(read, 3, 4);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_int_equal(buf_contents(&wire.in).len, 7);
	/* An end, or a fault, behind some octets is for the next time. */
	for (ssize_t end = -1; end <= 0; end++) {
		begin();
		fake.pending = 30;
		fake.takes = 10;
		RETURNS(read, 3, end);
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(fake.read.calls, 2);
		assert_slice(buf_contents(&wire.in), "abc");
		assert_false(wire.eof);
		assert_int_equal(conn_pump(&conn, &wire, &error), end);
		assert_int_equal(wire.eof, end == 0);
		if (end < 0)
			assert_text(error.text, "read: broken");
	}
}

/* TLS that wants to write before it can read, or has something to send. */
static void
test_output_before_input(void **state)
{
	(void)state;
	for (int pushes = 0; pushes < 2; pushes++) {
		begin();
		RETURNS(read, pushes ? IN : OUT, pushes ? IN : 3, 3);
		if (pushes)
			RETURNS(push, OUT, 0);
		end_after(10, POLLOUT, false);
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(took(), pushes ? MINUTE : 10);
		assert_int_equal(wire.timed_out, pushes);
		assert_int_equal(fake.waits, pushes ? 2 : 1);
		assert_int_equal(fake.waited_for, pushes ? POLLIN : POLLOUT);
		assert_int_equal(fake.waited_on, pushes ? IN_FD : OUT_FD);
	}
	begin();
	RETURNS(push, OUT);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_true(wire.timed_out);
	assert_int_equal(fake.waits, 1);
	assert_int_equal(fake.waited_for, POLLOUT);
	assert_int_equal(fake.waited_on, OUT_FD);
}

/* Where TLS has taken some of what came, and not all, it is asked again; where
 * it took nothing it needs more. */
static void
test_more_for_tls(void **state)
{
	static const struct { size_t pending, takes, reads, enough; } rows[] = {
		{ 0, 0, 1, 0 }, { 5, 0, 1, 0 }, { 5, 5, 1, 0 },
		{ 10, 5, 2, 0 }, { 6, 5, 2, 0 }, { 25, 5, 5, 0 },
		{ 27, 5, 6, 0 }, { 12, 5, 2, 5 }, { 20, 5, 3, 10 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin();
		fake.pending = rows[i].pending;
		fake.takes = rows[i].takes;
		fake.enough = rows[i].enough;
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_true(wire.timed_out);
		assert_int_equal(fake.waits, 1);
		assert_int_equal(took(), MINUTE);
		assert_int_equal(fake.read.calls, rows[i].reads);
	}
}

/* ---- what has come already ---- */

static void
test_read_ready(void **state)
{
	static const struct {
		ssize_t reads[2];
		size_t pending, takes;
		int result;
		size_t octets, calls;
		bool eof;
	} rows[] = {
		{ { 3, 3 }, 0, 0, 0, 3, 1, false },
		{ { 0, 0 }, 0, 0, 0, 0, 1, true },
		{ { BROKEN, 3 }, 0, 0, -1, 0, 1, false },
		{ { OUT, 3 }, 20, 10, 0, 0, 1, false },
		/* A ticket, and text behind it; or the beginning of more. */
		{ { IN, 3 }, 0, 0, 0, 0, 1, false },
		{ { IN, 3 }, 10, 10, 0, 0, 1, false },
		{ { IN, 3 }, 20, 10, 0, 3, 2, false },
		{ { IN, 3 }, 11, 10, 0, 3, 2, false },
		{ { IN, 0 }, 20, 10, 0, 0, 2, true },
		{ { IN, 3 }, 20, 0, 0, 0, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin();
		put_out(1);
		RETURNS(read, rows[i].reads[0], rows[i].reads[1]);
		fake.pending = rows[i].pending;
		fake.takes = rows[i].takes;
		assert_int_equal(conn_read_ready(&conn, &wire, &error),
		    rows[i].result);
		assert_int_equal(buf_contents(&wire.in).len, rows[i].octets);
		assert_int_equal(fake.read.calls, rows[i].calls);
		assert_int_equal(wire.eof, rows[i].eof);
		assert_int_equal(fake.waits + fake.looks + fake.write.calls,
		    0);
	}
	/* Tickets without end are not read without end. */
	begin();
	fake.pending = 1000000;
	fake.takes = 1;
	assert_int_equal(conn_read_ready(&conn, &wire, &error), 0);
	assert_in_range(fake.read.calls, 2, 64);
}

static void
test_read_plain(void **state)
{
	char octets[8];

	(void)state;
	for (ssize_t n = 0; n < 2; n++) {
		begin();
		RETURNS(read, IN, n);
		end_after(10, POLLIN, false);
		assert_int_equal(conn_read_plain(&conn, octets, 8,
		    fake.now + 500, &error), n);
		assert_int_equal(took(), 10);
	}
	begin();
	RETURNS(read, IN, BROKEN);
	end_after(10, POLLIN, false);
	assert_int_equal(conn_read_plain(&conn, octets, 8, fake.now + 500,
	    &error), -1);
	assert_text(error.text, "read: broken");
	begin();
	assert_int_equal(conn_read_plain(&conn, octets, 8, fake.now + 500,
	    &error), -1);
	assert_text(error.text, "took too long");
	assert_int_equal(took(), 500);
	begin();
	end_after(10, 0, true);
	assert_int_equal(conn_read_plain(&conn, octets, 8, fake.now + 500,
	    &error), -1);
	assert_text(error.text, "stopped");
	assert_int_equal(took(), 10);
}

/* ---- time ---- */

/* The limit, and what the caller said beside it, to the millisecond. */
static void
test_limits(void **state)
{
	static const struct { int64_t hard, took; } rows[] = {
		{ 0, MINUTE }, { 1234, 1234 }, { MINUTE - 1, MINUTE - 1 },
		{ MINUTE, MINUTE }, { MINUTE + 1, MINUTE }, { 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin();
		if (rows[i].hard != 0)
			conn.hard_deadline = fake.now + rows[i].hard;
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_true(wire.timed_out);
		assert_int_equal(took(), rows[i].took);
		/* Output has it, too. */
		begin();
		if (rows[i].hard != 0)
			conn.hard_deadline = fake.now + rows[i].hard;
		put_out(1);
		assert_int_equal(conn_pump(&conn, &wire, &error), -1);
		assert_text(error.text, "the peer does not read");
		assert_int_equal(error.kind, ERROR_TIMEOUT);
		assert_int_equal(took(), rows[i].took);
	}
	/* Where there is always something to read, too. */
	for (int64_t left = 0; left < 2; left++) {
		begin();
		RETURNS(read, 3);
		conn.hard_deadline = fake.now + left;
		assert_int_equal(conn_pump(&conn, &wire, &error), 0);
		assert_int_equal(wire.timed_out, left == 0);
		assert_int_equal(buf_contents(&wire.in).len, left == 0 ? 0
		    : 3);
	}
}

/* deadline.h: each KiB earns a second. */
static void
test_earned(void **state)
{
	(void)state;
	begin();
	wire.text = true;
	RETURNS(read, IN, 1024, 1024, IN);
	fake.pending = 10;
	end_after(10000, POLLIN, false);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_int_equal(buf_contents(&wire.in).len, 2048);
	assert_int_equal(conn_pump(&conn, &wire, &error), 0);
	assert_true(wire.timed_out);
	assert_int_equal(took(), MINUTE + 2000);

	begin();
	put_out(4096);
	RETURNS(write, OUT, 1024, 1024, OUT);
	end_after(10000, POLLOUT, false);
	assert_int_equal(conn_pump(&conn, &wire, &error), -1);
	assert_int_equal(took(), MINUTE + 2000);
	assert_int_equal(buf_contents(&wire.out).len, 2048);
}

/* The time that we spend elsewhere is not the peer's. */
static void
test_elsewhere(void **state)
{
	(void)state;
	begin();
	put_out(1);
	RETURNS(write, OUT, 1, OUT);
	end_after(10, POLLOUT, false);
	assert_int_equal(conn_flush(&conn, &wire, &error), 0);
	fake.now += 2 * MINUTE;
	put_out(1);
	assert_int_equal(conn_flush(&conn, &wire, &error), -1);
	assert_int_equal(took(), 10 + 3 * MINUTE);
}

/* ---- output ---- */

static void
test_output(void **state)
{
	(void)state;
	begin();
	put_out(100);
	RETURNS(write, 30, OUT, 70);
	RETURNS(push, 0, OUT, 0);
	end_after(10, POLLOUT, false);
	end_after(10, POLLOUT, false);
	assert_int_equal(conn_flush(&conn, &wire, &error), 0);
	assert_int_equal(buf_contents(&wire.out).len, 0);
	assert_int_equal(fake.waits, 2);
	assert_int_equal(fake.waited_for, POLLOUT);
	assert_int_equal(took(), 20);
	/* TLS may have to read before it can write. */
	begin();
	put_out(1);
	RETURNS(write, IN, 1);
	end_after(10, POLLIN, false);
	assert_int_equal(conn_flush(&conn, &wire, &error), 0);
	assert_int_equal(fake.waited_for, POLLIN);
	assert_int_equal(took(), 10);
	/* Faults, and the last of what TLS has made. */
	begin();
	put_out(1);
	RETURNS(write, BROKEN);
	assert_int_equal(conn_flush(&conn, &wire, &error), -1);
	assert_text(error.text, "write: broken");
	begin();
	RETURNS(push, BROKEN);
	assert_int_equal(conn_flush(&conn, &wire, &error), -1);
	assert_text(error.text, "write: broken");
	begin();
	RETURNS(push, OUT);
	assert_int_equal(conn_flush(&conn, &wire, &error), -1);
	assert_text(error.text, "the peer does not read");
	assert_int_equal(error.kind, ERROR_TIMEOUT);
	assert_int_equal(took(), MINUTE);
}

/* A peer that speaks instead of reading, where that is asked for. */
static void
test_heeded(void **state)
{
	(void)state;
	for (int ciphertext = 0; ciphertext < 2; ciphertext++)
		for (int heeds = 0; heeds < 2; heeds++) {
			begin();
			conn.heed_input = heeds;
			if (ciphertext)
				RETURNS(push, OUT);
			else
				put_out(1);
			end_after(10, POLLOUT, false);
			end_after(10, 0, false);
			end_after(10, heeds ? POLLIN : POLLOUT, false);
			assert_int_equal(conn_flush(&conn, &wire, &error),
			    heeds ? 1 : -1);
			assert_int_equal(took(), heeds ? 30 : MINUTE);
			assert_int_equal(fake.waited_for, heeds
			    ? POLLIN | POLLOUT : POLLOUT);
			assert_int_equal(fake.waited_on, OUT_FD);
		}
}

/* That it spoke once is no news for ever: TLS, which reads before it can write,
 * has taken some of it. */
static void
test_heeded_once(void **state)
{
	(void)state;
	begin();
	conn.heed_input = true;
	put_out(1);
	RETURNS(write, OUT, IN, 1);
	end_after(10, POLLIN, false);
	assert_int_equal(conn_flush(&conn, &wire, &error), 1);
	fake.pending = 5;
	conn.transport.cipher_taken = 5;
	assert_int_equal(conn_flush(&conn, &wire, &error), 0);
	assert_int_equal(buf_contents(&wire.out).len, 0);
	assert_int_equal(fake.waits, 1);
}

static void
test_mute(void **state)
{
	(void)state;
	begin();
	assert_false(conn.transport.muted);
	conn_mute(&conn);
	assert_true(conn.transport.muted);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_output_before_input),
		cmocka_unit_test(test_more_for_tls),
		cmocka_unit_test(test_read_ready),
		cmocka_unit_test(test_read_plain),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_earned),
		cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_heeded),
		cmocka_unit_test(test_heeded_once),
		cmocka_unit_test(test_mute),
	};

	return cmocka_run_group_tests_name("conn_waits", tests, NULL,
	    tear_down);
}
