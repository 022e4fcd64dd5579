/*
 * test_relay_text.c - the text to a next hop that reads slowly, or speaks
 * before it has the whole of it, and what becomes of it where our own calls
 * fail.
 *
 * The calls below stand before the C library's own: what is sent is kept, and
 * the socket is full when the test wants it to be.
 */
#include "drive.h"

#include <dlfcn.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>

#include "keypair.h"
#include "relay/relay_private.h"
#include "relay_hop.h"
#include "system/process.h"

#define READ_SIZE 65536 /* of relay_text.c */

/* ---- system calls ---- */

static struct {
	pid_t main; /* not the hop */
	struct text sent; /* of the text, which begins after DATA */
	unsigned sends;
	unsigned full_at; /* with this send the socket has only room for */
	size_t room_then;
	size_t room;
	bool full;       /* it was */
	bool spurious;   /* poll says that something has come, in vain */
	unsigned waits;  /* seconds, of the first wait for room */
	bool answers;    /* the hop does, to each send of the text */
	bool stops;      /* SIGTERM comes with the end of the text */
	bool must_wait;  /* nothing comes to who has not waited */
	unsigned preads; /* so many reads of the spool succeed */
	size_t no_memory; /* of this size */
} calls;

static bool
is_ours(void)
{
	return calls.main == getpid();
}

static ssize_t
send_all(int fd, const char *data, size_t size, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "send");
	for (size_t at = 0; at < size;) {
		ssize_t n = real(fd, data + at, size - at,
		    flags & ~MSG_DONTWAIT);

		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	return (ssize_t)size;
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
	const struct slice all = { data, size };

	if (!is_ours())
		return send_all(fd, data, size, flags);
	if (++calls.sends == calls.full_at)
		calls.room = calls.room_then;
	if (calls.room == 0) {
		calls.full = true;
		errno = EAGAIN;
		return -1;
	}
	if (size > calls.room)
		size = calls.room;
	calls.room -= calls.room == SIZE_MAX ? 0 : size;
	if (calls.stops && slice_equal(all, SLICE(".\r\n"))) {
		raise(SIGTERM);
		calls.must_wait = true;
	}
	ssize_t n = send_all(fd, data, size, flags);
	if (n > 0)
		text_add(&calls.sent, (struct slice){ data, (size_t)n });
	if (slice_equal(all, SLICE("DATA\r\n"))) {
		calls.sent.len = 0;
	} else if (calls.answers) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };

		poll(&pollfd, 1, -1);
	}
	return n;
}

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	ssize_t (*real)(int, void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "recv");
	if (is_ours() && calls.must_wait) {
		errno = EAGAIN;
		return -1;
	}
	return real(fd, data, size, flags);
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	static const struct timespec at_once = { 0 };
	int (*real)(struct pollfd *, nfds_t, const struct timespec *,
	    const sigset_t *);

	*(void **)&real = dlsym(RTLD_NEXT, "ppoll");
	if (calls.must_wait) {
		calls.must_wait = false;
		return real(NULL, 0, &at_once, mask);
	}
	if (!calls.full || n == 0)
		return real(fds, n, timeout, mask);
	if (calls.waits == 0)
		calls.waits = (unsigned)timeout->tv_sec + 1;
	/* It has room again, whatever ended the wait. */
	calls.full = false;
	calls.room = SIZE_MAX;
	if (calls.spurious) {
		fds->revents = fds->events & POLLIN ? POLLIN : POLLOUT;
		return 1;
	}
	/* Who does not look for it waits in vain. */
	if ((fds->events & POLLIN) == 0)
		return 0;
	fds->events = POLLIN;
	return real(fds, 1, NULL, mask);
}

ssize_t
pread(int fd, void *data, size_t size, off_t offset)
{
	ssize_t (*real)(int, void *, size_t, off_t);

	*(void **)&real = dlsym(RTLD_NEXT, "pread");
	if (calls.preads-- == 0) {
		errno = EIO;
		return -1;
	}
	return real(fd, data, size, offset);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *
__wrap_malloc(size_t size)
{
	return calls.no_memory != 0 && size >= calls.no_memory ? NULL
	    : __real_malloc(size);
}

/* ---- texts ---- */

static struct directory directory;
static struct text content, wanted;

static int
set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	hop_context = keypair_set_up(&directory, "localhost");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	keypair_tear_down(&directory, hop_context);
	text_free(&calls.sent);
	text_free(&content);
	text_free(&wanted);
	return 0;
}

/* Begins a test, as play does. */
static void
play_calls(const char *script)
{
	text_free(&calls.sent);
	memset(&calls, 0, sizeof(calls));
	calls.main = getpid();
	calls.room = SIZE_MAX;
	calls.preads = UINT_MAX;
	play(script);
}

/* A text of so many octets with a line end after every width; and how it is to
 * be sent, all but its end. */
static void
make_text(size_t size, size_t width)
{
	content.len = wanted.len = 0;
	for (size_t i = 0; i < size; i++) {
		char c = i % width == width - 1 || i == size - 1 ? '\n'
		    : (char)('a' + i % 23);

		text_add(&content, (struct slice){ &c, 1 });
		if (c == '\n')
			text_add(&wanted, SLICE("\r"));
		text_add(&wanted, (struct slice){ &c, 1 });
	}
}

/* Sends it; with the socket as it is from this send on: 1 is DATA, 2 the first
 * of the text. */
static int
send_text(unsigned full_at, size_t room)
{
	struct relay_text text = { .fd = memfd_create("text", 0),
		.octets = wanted.len };

	assert_int_equal(write(text.fd, content.data, content.len),
	    content.len);
	calls.sends = 0;
	calls.full_at = full_at;
	calls.room_then = room;
	error.text[0] = '\0';
	int result = relay_message(&relay, &envelope, &text, &verdict,
	    &error);
	close(text.fd);
	calls.full_at = 0;
	calls.room = SIZE_MAX;
	relay_reset(&relay);
	return result;
}

static void
check_sent(size_t len, struct slice after)
{
	assert_int_equal(calls.sent.len, len + after.len);
	assert_memory_equal(calls.sent.data, wanted.data, len);
	assert_memory_equal(calls.sent.data + len, after.data, after.len);
}

/* ---- the whole text ---- */

/* Whatever its length is, beside those of the buffers. */
static void
test_lengths(void **state)
{
	struct text script = { .data = NULL };
	const size_t from = READ_SIZE - 32, to = READ_SIZE + 4;

	(void)state;
	text_add(&script, SLICE(HELLO));
	for (size_t size = from; size <= to; size++)
		text_add(&script, SLICE(MAIL RCPT_A DATA "%\n"
		    "< 250 2.0.0 in\n"));
	text_add(&script, SLICE(QUIT "\0"));
	play_calls(script.data);
	for (size_t size = from; size <= to; size++) {
		make_text(size, 4000);
		/* Its last line has no end, and gets one. */
		content.data[size - 1] = wanted.data[wanted.len - 2] = 'z';
		wanted.data[wanted.len - 1] = '\r';
		text_add(&wanted, SLICE("\n"));
		A_OK();
		assert_int_equal(send_text(0, 0), 0);
		check_verdict("250 2.0.0 in");
		check_sent(wanted.len, SLICE(".\r\n"));
		envelope.n = 1;
	}
	end();
	text_free(&script);
}

/* In few pieces, not line by line: each may be a packet, and a record. */
static void
test_pieces(void **state)
{
	(void)state;
	play_calls(HELLO MAIL RCPT_A DATA "%\n< 250 2.0.0 in\n" QUIT);
	make_text(16 * READ_SIZE, 64);
	A_OK();
	assert_int_equal(send_text(0, 0), 0);
	check_sent(wanted.len, SLICE(".\r\n"));
	assert_in_range(calls.sends, 1, 16 + 4);
	end();
}

/* ---- a hop that speaks too early ---- */

static const struct {
	const char *name;
	size_t size;      /* of a text */
	unsigned full_at; /* a send */
	size_t room;
	size_t sent;      /* of the text, before the socket is full */
} places[] = {
	{ "in the text", 4 * READ_SIZE, 2, 1000, 1000 },
	{ "at its end", 100, 2, 50, 50 },
	{ "at the dot", 100, 3, 0, 102 },
};

/* A refusal counts, for it never gets the end of the text; anything else is
 * not about this mail. The connection is of no use then. */
static void
test_early_replies(void **state)
{
	static const struct {
		const char *said, *verdict; int result; const char *why;
	} rows[] = {
		{ "552 5.3.4 too big", "552 5.3.4 too big", 0, "" },
		{ "452 4.3.1 full", "452 4.3.1 full", 0, "" },
		{ "454 4.7.1 later", "454 4.7.1 later", 0, "" },
		{ "250 2.0.0 ok", "451 4.4.2 " LATER, -1, "127.0.0.1 said "
		    "something before its turn: 250 2.0.0 ok" },
		{ "354 go", "451 4.4.2 " LATER, -1, "127.0.0.1 said "
		    "something before its turn: 354 go" },
		{ "what", "451 4.4.2 " LATER, -1, "127.0.0.1 said "
		    "something before its turn: what" },
		{ "421 4.3.2 bye", "451 4.4.2 " NOT_NOW, -1,
		    "127.0.0.1 answered 421 4.3.2 bye" },
	};
	struct text script = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * COUNT(places); i++) {
		size_t row = i / COUNT(places), at = i % COUNT(places);

		script.len = 0;
		text_format(&script, "%s.\n< %s\n@\n%s",
		    HELLO MAIL RCPT_A DATA, rows[row].said,
		    HELLO MAIL RCPT_A QUIT);
		play_calls(script.data);
		make_text(places[at].size, 60);
		A_OK();
		int result = send_text(places[at].full_at, places[at].room);
		check_verdict(rows[row].verdict);
		assert_int_equal(result, rows[row].result);
		if (result < 0)
			assert_string_equal(error.text, rows[row].why);
		check_sent(places[at].sent, SLICE(""));
		A_OK();
		end();
	}
	text_free(&script);
}

/* Before the dot is sent it is looked for. */
static void
test_before_the_dot(void **state)
{
	(void)state;
	play_calls(HELLO MAIL RCPT_A DATA "> x\n< 552 5.3.4 no\n@\n");
	make_text(2, 2);
	content.data[0] = wanted.data[0] = 'x';
	calls.answers = true;
	/* In one go: those before are answered too. */
	A_OK();
	assert_int_equal(send_text(0, 0), 0);
	check_verdict("552 5.3.4 no");
	check_sent(3, SLICE(""));
	end();
}

/* Nor is the dot sent then where TLS has made a record of it already. */
static void
test_early_under_tls(void **state)
{
	(void)state;
	play_calls("*\n" HELLO MAIL RCPT_A DATA "> x\n< 552 5.3.4 no\n@\n");
	account.hop.scheme = NEXT_HOP_SMTPS;
	account.hop.host = "localhost";
	make_text(2, 2);
	content.data[0] = 'x';
	A_OK();
	assert_int_equal(send_text(3, 0), 0);
	check_verdict("552 5.3.4 no");
	end();
}

/* ---- a hop that reads slowly ---- */

/* What poll says may be nothing; and it is the text's affair only. */
static void
test_full(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		play_calls(HELLO MAIL RCPT_A DATA "%\n< 250 2.0.0 in\n"
		    MAIL RCPT_A QUIT);
		make_text(places[i].size, 60);
		calls.spurious = true;
		A_OK();
		assert_int_equal(send_text(places[i].full_at,
		    places[i].room), 0);
		check_verdict("250 2.0.0 in");
		check_sent(wanted.len, SLICE(".\r\n"));
		calls.room = 0;
		A_OK();
		/* QUIT is worth a wait of seconds. */
		calls.room = 0;
		calls.waits = 0;
		end();
		assert_in_range(calls.waits, 1, 6);
	}
}

/* It has a second for each RELAY_TEXT_RATE octets beside its limit. */
static void
test_time(void **state)
{
	(void)state;
	play_calls(HELLO MAIL RCPT_A DATA "%\n< 250 2.0.0 in\n" QUIT);
	make_text(100 * RELAY_TEXT_RATE, 60);
	relay.limits.command = 10000;
	relay.limits.text = 1000;
	calls.spurious = true;
	A_OK();
	assert_int_equal(send_text(2, 1000), 0);
	assert_in_range(calls.waits, 1090, 1110);
	end();
}

/* ---- trouble of ours ---- */

#define NOT_READ "451 4.3.0 Cannot read the message back, try again later"

/* Half a message has no end. */
static void
test_not_read(void **state)
{
	(void)state;
	for (unsigned preads = 0; preads < 3; preads++) {
		play_calls(HELLO MAIL RCPT_A DATA "~\n" HELLO MAIL RCPT_A
		    QUIT);
		make_text(3 * READ_SIZE, 60);
		calls.preads = preads;
		A_OK();
		assert_int_equal(send_text(0, 0), -1);
		check_verdict(NOT_READ);
		assert_text(error.text, "spool: Input/output error");
		assert_null(memmem(calls.sent.data, calls.sent.len,
		    "\r\n.\r\n", 5));
		A_OK();
		end();
	}
}

static void
test_no_memory(void **state)
{
	(void)state;
	play_calls(GREETING "@\n" HELLO MAIL RCPT_A DATA "@\n"
	    HELLO MAIL RCPT_A QUIT);
	make_text(100, 60);
	calls.no_memory = READ_SIZE;
	recipient(0, -1, "451 4.4.1 " LATER);
	assert_text(error.text, "relay: Cannot allocate memory");
	relay_reset(&relay);
	calls.no_memory = 0;
	A_OK();
	calls.no_memory = READ_SIZE;
	assert_int_equal(send_text(0, 0), -1);
	calls.no_memory = 0;
	check_verdict(NOT_READ);
	assert_text(error.text, "relay: Cannot allocate memory");
	A_OK();
	end();
}

/* RFC 1047: SIGTERM does not end the wait for its word on the message. */
static int
stop(void)
{
	int status;

	process_init();
	play_calls(HELLO MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n@\n");
	make_text(2, 2);
	content.data[0] = 'x';
	calls.stops = true;
	if (relay_recipient(&relay, &account, &envelope, 0, &verdict,
	    &error) != 0 || send_text(0, 0) != 0 ||
	    !process_stop_requested() || verdict.code != 250)
		return 1;
	relay_drop(&relay, NULL);
	return waitpid(hop_pid, &status, 0) == hop_pid && status == 0 ? 0 : 2;
}

static void
test_stopped(void **state)
{
	(void)state;
	check_apart(stop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_early_replies),
		cmocka_unit_test(test_before_the_dot),
		cmocka_unit_test(test_early_under_tls),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_not_read),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests_name("relay_text", tests, set_up,
	    tear_down);
}
