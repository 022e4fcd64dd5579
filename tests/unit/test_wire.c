/*
 * test_wire.c - lines in, lines out, and the transcript of both.
 */
#include "drive.h"

/* ---- reading lines ---- */

/* Reads a whole input as lines and notes each one. */
struct reader {
	struct wire wire;
	size_t limit;
};

static struct wire *
reader_start(void *arg, char *in, size_t in_size, char *out, size_t out_size)
{
	struct reader *reader = arg;

	wire_init(&reader->wire, in, in_size, out, out_size);
	return &reader->wire;
}

static bool
reader_run(void *arg, struct drive *drive)
{
	struct reader *reader = arg;
	struct slice line;

	for (;;) {
		switch (wire_line(&reader->wire, reader->limit, &line)) {
		case WIRE_MORE:
			return reader->wire.eof;
		case WIRE_LINE:
			text_format(&drive->events, "line %zu ", line.len);
			break;
		case WIRE_BARE_LF:
			text_format(&drive->events, "bare %zu ", line.len);
			break;
		case WIRE_TOO_LONG:
			text_format(&drive->events, "too long\n");
			continue;
		}
		text_add(&drive->events, line);
		text_format(&drive->events, "\n");
	}
}

static void
check_lines(size_t limit, size_t size, struct slice input,
    struct slice events)
{
	struct reader reader = { .limit = limit };
	const struct drive_core core = {
		.in_min = size, .out_min = 1, .arg = &reader,
		.start = reader_start, .run = reader_run,
	};
	const struct drive_dialogue dialogue = {
		.name = "lines", .input = input, .events = events,
	};

	drive_replay(&core, &dialogue);
}

static void
test_lines(void **state)
{
	static const struct { struct slice input, events; } rows[] = {
		{ SLICE(""), SLICE("") },
		{ SLICE("QUIT\r\n"), SLICE("line 4 QUIT\n") },
		{ SLICE("QUIT\n"), SLICE("bare 4 QUIT\n") },
		{ SLICE("QUIT"), SLICE("") },
		{ SLICE("QUIT\r"), SLICE("") },
		{ SLICE("\r\n"), SLICE("line 0 \n") },
		{ SLICE("\n"), SLICE("bare 0 \n") },
		{ SLICE("\n\r\n\n"), SLICE("bare 0 \nline 0 \nbare 0 \n") },
		{ SLICE("a\r\nb\nc\r\nd"),
		    SLICE("line 1 a\nbare 1 b\nline 1 c\n") },
		/* A CR elsewhere is an octet like others. */
		{ SLICE("a\rb\r\r\n"), SLICE("line 4 a\rb\r\n") },
		{ SLICE("\r\r\n"), SLICE("line 1 \r\n") },
		{ SLICE("a\0b\r\n\0\n"), SLICE("line 3 a\0b\nbare 1 \0\n") },
		{ SLICE("\xFF\xFE\r\n"), SLICE("line 2 \xFF\xFE\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_lines(16, 16, rows[i].input, rows[i].events);
}

/* The limit counts the line end; the storage may be just as large. */
static void
test_limit(void **state)
{
	static const struct { struct slice input, events; } rows[] = {
		/* One below, exactly, one over, many over. */
		{ SLICE("12345\r\nx\r\n"), SLICE("line 5 12345\nline 1 x\n") },
		{ SLICE("123456\r\nx\r\n"),
		    SLICE("line 6 123456\nline 1 x\n") },
		{ SLICE("1234567\r\nx\r\n"), SLICE("too long\nline 1 x\n") },
		{ SLICE("12345678\r\nx\r\n"), SLICE("too long\nline 1 x\n") },
		{ SLICE("123456789\r\nx\r\n"), SLICE("too long\nline 1 x\n") },
		{ SLICE("1234567890123456789012345678901\r\nx\r\n"),
		    SLICE("too long\nline 1 x\n") },
		{ SLICE("123456\nx\r\n"), SLICE("bare 6 123456\nline 1 x\n") },
		{ SLICE("1234567\nx\r\n"),
		    SLICE("bare 7 1234567\nline 1 x\n") },
		{ SLICE("12345678\nx\r\n"), SLICE("too long\nline 1 x\n") },
		/* Two in a row, and one that never ends. */
		{ SLICE("12345678\r\n12345678\r\n\r\n"),
		    SLICE("too long\ntoo long\nline 0 \n") },
		{ SLICE("x\r\n12345678901234567890"), SLICE("line 1 x\n") },
		/* Nothing of it is left to stand before the next line. */
		{ SLICE("1234567890123456\n\r\n"),
		    SLICE("too long\nline 0 \n") },
		{ SLICE("\0\0\0\0\0\0\0\0\0\r\n\0\r\n"),
		    SLICE("too long\nline 1 \0\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t size = 8; size < 24; size += 5)
			check_lines(8, size, rows[i].input, rows[i].events);
}

/* Every short string over an alphabet of what matters, in all pieces,
 * against lines found the plain way. */
static void
test_every_string(void **state)
{
	static const char alphabet[] = { '\r', '\n', 'a', '\0' };
	const size_t limit = 4;

	(void)state;
	for (size_t len = 0; len <= 6; len++)
		for (unsigned code = 0; code < 1u << 2 * len; code++) {
			char input[6];
			struct text events = { .data = NULL };
			size_t start = 0;

			for (size_t i = 0; i < len; i++)
				input[i] = alphabet[code >> 2 * i & 3];
			for (size_t i = 0; i < len; i++) {
				size_t n = i + 1 - start;

				if (input[i] != '\n')
					continue;
				bool crlf = n > 1 && input[i - 1] == '\r';
				if (n > limit) {
					text_format(&events, "too long\n");
				} else {
					n -= crlf ? 2 : 1;
					text_format(&events, "%s %zu ",
					    crlf ? "line" : "bare", n);
					text_add(&events, (struct slice){
					    input + start, n });
					text_format(&events, "\n");
				}
				start = i + 1;
			}
			check_lines(limit, limit, (struct slice){ input, len },
			    text_slice(&events));
			text_free(&events);
		}
}

/* Of a line that is too long its verb is known: five octets, and NULs where
 * there were fewer, never something of an earlier line. */
static void
test_head(void **state)
{
	static const struct { size_t limit; struct slice input, head; }
	rows[] = {
		{ 8, SLICE("PASS secret\r\n"), SLICE("PASS ") },
		{ 8, SLICE("STAT    \r\n"), SLICE("STAT ") },
		{ 3, SLICE("abc\n"), SLICE("abc\n\0") },
		{ 2, SLICE("ab\n"), SLICE("ab\n\0\0") },
		{ 5, SLICE("12345\n"), SLICE("12345") },
	};
	char in[16], out[1];
	struct wire wire;
	struct slice line;

	(void)state;
	wire_init(&wire, in, sizeof(in), out, sizeof(out));
	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_append(&wire.in, rows[i].input);
		assert_int_equal(wire_line(&wire, rows[i].limit, &line),
		    WIRE_TOO_LONG);
		assert_slices(line, rows[i].head);
	}
	/* Its end comes with a read of its own: how it began counts. */
	buf_append(&wire.in, SLICE("12345678"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	buf_append(&wire.in, SLICE("abcdefgh"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	buf_append(&wire.in, SLICE("stuvwxyz\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_TOO_LONG);
	assert_slice(line, "12345");
}

static void
test_counts_lines(void **state)
{
	struct guarded in, out;
	struct wire wire;
	struct slice line;

	(void)state;
	guarded_new(&in, 16);
	guarded_new(&out, 16);
	wire_init(&wire, in.data, in.size, out.data, out.size);
	assert_false(wire_mid_line(&wire));
	buf_append(&wire.in, SLICE("a\r\nb"));
	assert_int_equal(wire.lines, 0);
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_LINE);
	assert_int_equal(wire.lines, 1);
	assert_true(wire_mid_line(&wire));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	assert_int_equal(wire.lines, 1);
	buf_append(&wire.in, SLICE("\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_BARE_LF);
	assert_int_equal(wire.lines, 2);
	assert_false(wire_mid_line(&wire));

	/* The line lives though it was taken. */
	assert_slice(line, "b");

	/* In an over-long line nothing is kept, yet it has not ended. */
	buf_append(&wire.in, SLICE("12345678"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	assert_int_equal(buf_contents(&wire.in).len, 0);
	assert_true(wire_mid_line(&wire));
	assert_int_equal(wire.lines, 2);
	buf_append(&wire.in, SLICE("9\r\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_TOO_LONG);
	assert_slice(line, "12345");
	assert_int_equal(wire.lines, 3);
	assert_false(wire_mid_line(&wire));
	guarded_free(&in);
	guarded_free(&out);
}

/* An octet is looked at once, however slowly the others come: what was
 * scanned is not scanned again. */
static void
test_scanned(void **state)
{
	struct guarded in;
	struct wire wire;
	struct slice line;
	char out[1];

	(void)state;
	guarded_new(&in, 64);
	wire_init(&wire, in.data, in.size, out, sizeof(out));
	buf_append(&wire.in, SLICE("abc"));
	assert_int_equal(wire_line(&wire, 64, &line), WIRE_MORE);
	assert_int_equal(wire.scanned, 3);
	/* An LF put where it looked already is not found. */
	in.data[1] = '\n';
	buf_append(&wire.in, SLICE("d\r\n"));
	assert_int_equal(wire_line(&wire, 64, &line), WIRE_LINE);
	assert_slice(line, "a\ncd");
	assert_int_equal(wire.scanned, 0);
	guarded_free(&in);
}

static void
test_wipe_and_discard(void **state)
{
	struct guarded in;
	struct wire wire;
	struct slice line;
	char out[1];

	(void)state;
	guarded_new(&in, 32);
	wire_init(&wire, in.data, in.size, out, sizeof(out));
	buf_append(&wire.in, SLICE("PASS secret\r\nSTAT\r\n"));
	assert_int_equal(wire_line(&wire, 32, &line), WIRE_LINE);
	wire_wipe_taken(&wire);
	assert_memory_equal(in.data, "\0\0\0\0\0\0\0\0\0\0\0\0\0STAT\r\n",
	    19);
	assert_int_equal(wire_line(&wire, 32, &line), WIRE_LINE);
	assert_slice(line, "STAT");

	/* What was half a line stands twice once it was moved to the front;
	 * and how an over-long one began was kept. */
	buf_append(&wire.in, SLICE("NOOP\r\nPASS sec"));
	assert_int_equal(wire_line(&wire, 32, &line), WIRE_LINE);
	buf_append(&wire.in, SLICE("ret 0123456789abcd\n"));
	assert_int_equal(wire_line(&wire, 24, &line), WIRE_TOO_LONG);
	wire_wipe_taken(&wire);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(in.data[i], 0);
	assert_memory_equal(wire.head, "\0\0\0\0\0", WIRE_HEAD);

	/* CVE-2011-0411: what came in the clear is forgotten, the start of
	 * a line and the middle of an over-long one too. */
	buf_append(&wire.in, SLICE("MAI"));
	assert_int_equal(wire_line(&wire, 32, &line), WIRE_MORE);
	wire_discard_input(&wire);
	assert_false(wire_mid_line(&wire));
	buf_append(&wire.in, SLICE("X\r\n"));
	assert_int_equal(wire_line(&wire, 32, &line), WIRE_LINE);
	assert_slice(line, "X");

	buf_append(&wire.in, SLICE("12345678"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	wire_discard_input(&wire);
	assert_false(wire_mid_line(&wire));
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(in.data[i], 0);
	buf_append(&wire.in, SLICE("Y\r\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_LINE);
	assert_slice(line, "Y");

	/* The first octet after it may end a line. */
	buf_append(&wire.in, SLICE("MAI"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_MORE);
	wire_discard_input(&wire);
	buf_append(&wire.in, SLICE("\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_BARE_LF);
	guarded_free(&in);
}

/* What was taken and kept lives on, whatever comes behind it. */
static void
test_keep(void **state)
{
	static const struct slice names[] = {
		SLICE(""), SLICE("x"), SLICE("alice"), SLICE("a\0b") };
	struct guarded in;
	struct wire wire;
	struct slice line;
	char out[1];

	(void)state;
	guarded_new(&in, 16);
	for (size_t i = 0; i < COUNT(names); i++) {
		wire_init(&wire, in.data, in.size, out, sizeof(out));
		buf_append(&wire.in, names[i]);
		buf_append(&wire.in, SLICE("\r\n"));
		assert_int_equal(wire_line(&wire, 16, &line), WIRE_LINE);
		struct slice kept = wire_keep(&wire, line);
		buf_append(&wire.in, SLICE("PASS x\r\n"));
		assert_int_equal(wire_line(&wire, 10, &line), WIRE_LINE);
		assert_slice(line, "PASS x");
		assert_slices(kept, names[i]);
		wire_forget(&wire);
		assert_int_equal(wire.in.kept, 0);
	}
	guarded_free(&in);
}

/* Storage may be given away only where nothing is in it. */
static void
test_idle(void **state)
{
	char in[16], out[16], other_in[8], other_out[8];
	struct wire wire;
	struct slice line;

	(void)state;
	wire_init(&wire, in, sizeof(in), out, sizeof(out));
	assert_true(wire_is_idle(&wire));
	buf_append(&wire.in, SLICE("a\n"));
	assert_false(wire_is_idle(&wire));
	assert_int_equal(wire_line(&wire, 16, &line), WIRE_BARE_LF);
	assert_true(wire_is_idle(&wire));
	wire_keep(&wire, line);
	assert_false(wire_is_idle(&wire));
	wire_forget(&wire);
	wire_put_line(&wire, SLICE("+OK"));
	assert_false(wire_is_idle(&wire));
	buf_consume(&wire.out, 5);
	assert_true(wire_is_idle(&wire));

	wire_lend(&wire, other_in, sizeof(other_in), other_out,
	    sizeof(other_out));
	assert_int_equal(buf_room(&wire.in), 8);
	assert_int_equal(buf_room(&wire.out), 8);
	buf_append(&wire.in, SLICE("\n"));
	assert_int_equal(wire_line(&wire, 8, &line), WIRE_BARE_LF);
	assert_slice(line, "");
}

/* ---- writing lines ---- */

static void
test_put(void **state)
{
	struct guarded out;
	struct wire wire;
	char in[1];

	(void)state;
	guarded_new(&out, 20);
	wire_init(&wire, in, sizeof(in), out.data, out.size);
	wire_put_line(&wire, SLICE("+OK a\0b"));
	wire_put_line(&wire, SLICE(""));
	wire_format(&wire, "%d%s", 42, "x");
	assert_slice(buf_contents(&wire.out), "+OK a\0b\r\n\r\n42x\r\n");
	buf_consume(&wire.out, 9);

	/* To the last octet, and through a move to the front. */
	wire_put_line(&wire, SLICE("1234567890"));
	assert_int_equal(buf_room(&wire.out), 1);
	assert_slice(buf_contents(&wire.out), "\r\n42x\r\n1234567890\r\n");
	buf_consume(&wire.out, 19);
	wire_format(&wire, "%s", "123456789012345678");
	assert_int_equal(buf_room(&wire.out), 0);
	assert_slice(buf_contents(&wire.out), "123456789012345678\r\n");
	guarded_free(&out);
}

static void
test_trace(void **state)
{
	struct guarded storage;
	struct wire wire;
	struct buf trace;
	char in[1], out[256];

	(void)state;
	wire_init(&wire, in, sizeof(in), out, sizeof(out));
	/* Nobody wants one. */
	wire_show_input(&wire, SLICE("QUIT"));
	wire_put_line(&wire, SLICE("+OK"));

	guarded_new(&storage, 30);
	buf_init(&trace, storage.data, storage.size);
	wire.transcript = &trace;
	wire_show_input(&wire, SLICE("QUIT"));
	wire_put_line(&wire, SLICE("+OK"));
	wire_format(&wire, "-ERR %d", 7);
	wire_show_input(&wire, SLICE(""));
	assert_slice(buf_contents(&trace), "> QUIT\n< +OK\n< -ERR 7\n> \n");

	/* Five octets are left: a line of two fits, a longer one is lost
	 * whole, and what goes to the peer does not care. */
	wire_show_input(&wire, SLICE("123"));
	assert_int_equal(buf_room(&trace), 5);
	wire_put_line(&wire, SLICE("12"));
	assert_int_equal(buf_room(&trace), 0);
	buf_consume(&trace, 25);
	assert_slice(buf_contents(&trace), "< 12\n");
	buf_consume(&trace, 5);
	wire_show_input(&wire, SLICE("123456789012345678901234567"));
	assert_slice(buf_contents(&trace),
	    "> 123456789012345678901234567\n");
	assert_int_equal(buf_room(&trace), 0);
	wire_put_line(&wire, SLICE(""));
	buf_consume(&trace, 30);
	wire_put_line(&wire, SLICE("1234567890123456789012345678"));
	assert_slice(buf_contents(&trace), "");
	wire_put_line(&wire, SLICE("3"));
	assert_slice(buf_contents(&trace), "< 3\n");
	assert_slice(buf_contents(&wire.out), "+OK\r\n+OK\r\n-ERR 7\r\n12\r\n"
	    "\r\n1234567890123456789012345678\r\n3\r\n");
	guarded_free(&storage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_every_string),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_counts_lines),
		cmocka_unit_test(test_scanned),
		cmocka_unit_test(test_wipe_and_discard),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
