/*
 * test_relay_calls.c - how long a next hop is waited for at each step, and
 * what is said where a system call fails.
 *
 * The calls below stand before the C library's own. Who waits has waited a
 * hundred seconds, though the hop (relay_hop.h) answers at once; and a line
 * comes only to who has waited for it.
 */
#include "drive.h"

#include <dlfcn.h>
#include <poll.h>
#include <time.h>

#include "relay/relay_private.h"
#include "relay_hop.h"
#include "system/clock.h"
#include "system/runner.h"

#define STEP 100 /* seconds */

/* ---- system calls ---- */

static struct {
	pid_t main; /* not the hop */
	bool slow;  /* waits are counted */
	bool waited;
	int64_t later; /* milliseconds */
	unsigned waits[32]; /* seconds, rounded to STEPs */
	unsigned n_waits;

	const char *breaks; /* what is said, and then the pipe is broken */
	bool shut;          /* our side of the connection was */
	unsigned after;     /* calls that waited or read since */
	unsigned timeout;   /* of a command that writes a password */
} calls;

static bool
is_ours(void)
{
	return calls.main == getpid();
}

/* It stands still, but for who waits. */
int
clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ .tv_sec = 1000 + calls.later / 1000,
		.tv_nsec = calls.later % 1000 * 1000000 };
	return 0;
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	int (*real)(struct pollfd *, nfds_t, const struct timespec *,
	    const sigset_t *);

	*(void **)&real = dlsym(RTLD_NEXT, "ppoll");
	calls.after += calls.shut;
	if (!calls.slow || n == 0 || (fds[0].events & POLLIN) == 0)
		return real(fds, n, timeout, mask);
	assert_true(calls.n_waits < COUNT(calls.waits));
	calls.waits[calls.n_waits++] = (unsigned)(timeout->tv_sec +
	    STEP / 2) / STEP * STEP;
	calls.waited = true;
	/* No time is left to the millisecond. */
	calls.later += STEP * 1000 + 1;
	return real(fds, n, NULL, mask);
}

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	ssize_t (*real)(int, void *, size_t, int);
	bool slow = calls.slow && is_ours();

	*(void **)&real = dlsym(RTLD_NEXT, "recv");
	calls.after += calls.shut;
	if (slow && !calls.waited) {
		errno = EAGAIN;
		return -1;
	}
	calls.waited = false;
	if (slow) {
		ssize_t n = real(fd, data, size, flags | MSG_PEEK);
		const char *end = n > 0 ? memchr(data, '\n', (size_t)n) : NULL;

		if (end != NULL)
			size = (size_t)(end - (const char *)data) + 1;
	}
	return real(fd, data, size, flags);
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int);

	*(void **)&real = dlsym(RTLD_NEXT, "send");
	ssize_t n = real(fd, data, size, flags);
	if (calls.breaks != NULL && size >= strlen(calls.breaks) &&
	    memcmp(data, calls.breaks, strlen(calls.breaks)) == 0) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };

		poll(&pollfd, 1, -1);
		errno = EPIPE;
		return -1;
	}
	return n;
}

int
shutdown(int fd, int how)
{
	int (*real)(int, int);

	*(void **)&real = dlsym(RTLD_NEXT, "shutdown");
	calls.shut = is_ours();
	return real(fd, how);
}

int __wrap_runner_run(struct command_run *run, struct error *why);
int
__wrap_runner_run(struct command_run *run, struct error *why)
{
	(void)why;
	calls.timeout = run->timeout;
	memcpy(run->secret, "pw", 2);
	run->output_len = 2;
	return 0;
}

/* Begins a test, as play does. */
static void
play_calls(const char *script)
{
	memset(&calls, 0, sizeof(calls));
	calls.main = getpid();
	play(script);
}

/* ---- limits ---- */

static void
check_waits(const unsigned *want, unsigned n)
{
	for (unsigned i = 0; i < n && i < calls.n_waits; i++)
		if (calls.waits[i] != want[i])
			fail_msg("wait %u: %u s, not %u", i, calls.waits[i],
			    want[i]);
	assert_int_equal(calls.n_waits, n);
	calls.n_waits = 0;
}

/* Each reply has its limit, however many lines it has; and the opening has one
 * beside it, which then concerns nobody any more. */
static void
test_limits(void **state)
{
	static const unsigned opening[] = {
		1000, /* the greeting */
		1000, 900, 800, /* EHLO's reply */
		900, /* the login: what is left of 1300 */
		1000, 900, /* MAIL */
		1000, 900, /* RCPT */
	};
	static const unsigned text[] = { 1000, 3000, 2900, 2800 };
	static const unsigned again[] = { 1000, 1000, 1000, 3000, 1000, 1000,
		500, 400, 1000, 1000 };

	(void)state;
	play_calls(OFFERS("< 250-SIZE\n< 250 AUTH PLAIN\n")
	    "> AUTH PLAIN AGpvZQA=\n< 235 in\n"
	    "> MAIL FROM:<s@x>\n< 250-2.1.0 x\n< 250 2.1.0 ok\n"
	    "> RCPT TO:<a@b>\n< 250-2.1.5 ok\n< 250 2.1.5 then\n"
	    DATA "= x|\n< 250-2.0.0 x\n< 250-2.0.0 y\n< 250 2.0.0 in\n"
	    MAIL RCPT_A DATA "= x|\n< 250 2.0.0 in\n"
	    MAIL RCPT_A "> RSET\n< 250-2.0.0 x\n< 250 ok\n"
	    MAIL RCPT_A QUIT);
	calls.slow = true;
	relay.limits = (struct relay_limits){ .connect = 600, .opening = 1300,
		.command = 1000, .reset = 500, .final = 3000, .text = 600 };
	account.login = "joe";
	recipient(0, 0, "250 2.1.5 ok\nthen");
	check_waits(opening, COUNT(opening));
	message("x\n", 0, "250 2.0.0 x\ny\nin");
	check_waits(text, COUNT(text));
	A_OK();
	message("x\n", 0, "250 2.0.0 in");
	A_OK();
	relay_reset(&relay);
	A_OK();
	check_waits(again, COUNT(again));
	end();
}

/* A command may take half a minute for a password, but no more than is left of
 * the opening, and at least a second. */
static void
test_password_command(void **state)
{
	static const struct { unsigned opening, timeout; } rows[] = {
		{ 1000, 30 }, { 3 * STEP + 20, 19 }, { 3 * STEP + 1, 1 },
	};
	static char command[] = "exec:x";

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		play_calls(OFFERS("< 250 AUTH PLAIN\n")
		    "> AUTH PLAIN AGpvZQBwdw==\n< 235 in\n" MAIL RCPT_A QUIT);
		calls.slow = true;
		relay.limits.opening = rows[i].opening;
		account.login = "joe";
		account.password_kind = ACCOUNT_PASSWORD_COMMAND;
		account.password = command + 5;
		A_OK();
		assert_int_equal(calls.timeout, rows[i].timeout);
		end();
	}
}

/* A reply that is not whole in time is none. */
static void
test_too_late(void **state)
{
	(void)state;
	play_calls(HELLO MAIL "> RCPT TO:<a@b>\n< 250-2.1.5 x\n< 250-2.1.5 y\n"
	    "< 250 2.1.5 ok\n@\n");
	calls.slow = true;
	relay.limits.command = 2 * STEP;
	recipient(0, -1, "451 4.4.2 " LATER);
	assert_text(error.text, "127.0.0.1: the next hop took too long");
	end();
}

/* ---- calls that fail ---- */

/* What the hop said before it left is told. */
static void
test_broken_pipe(void **state)
{
	(void)state;
	play_calls(HELLO "> MAIL FROM:<s@x>\n< 421 4.3.2 bye\n!\n"
	    HELLO MAIL RCPT_A QUIT);
	calls.breaks = "MAIL";
	recipient(0, -1, "451 4.4.2 " LATER);
	assert_text(error.text,
	    "127.0.0.1: write: Broken pipe: 421 4.3.2 bye");
	calls.breaks = NULL;
	A_OK();
	end();
}

static void
test_reset_connection(void **state)
{
	(void)state;
	play_calls(HELLO MAIL "> RCPT TO:<a@b>\n< 550 5.1.1 no\n#\n");
	recipient(0, 0, "550 5.1.1 no");
	await_input();
	recipient(1, -1, "451 4.4.2 " LATER);
	assert_text(error.text,
	    "127.0.0.1: read: Connection reset by peer");
	end();
}

/* What it said is told as far as there is room, and without its line end. */
static void
test_farewells(void **state)
{
	static const char said[] = "127.0.0.1 said something before its "
	    "turn";
	static const size_t lens[] = { 0, 1, 2, 700 };
	struct text script = { .data = NULL };
	char want[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(lens); i++) {
		struct text line = { .data = NULL };

		text_repeat(&line, 'x', lens[i]);
		script.len = 0;
		text_format(&script, "%s> RCPT TO:<a@b>\n< 550 5.1.1 no|%.*s\n"
		    "@\n", HELLO MAIL, SLICE_ARG(text_slice(&line)));
		play_calls(script.data);
		recipient(0, 0, "550 5.1.1 no");
		recipient(1, -1, "451 4.4.2 " LATER);
		snprintf(want, sizeof(want), "%s%s%.*s", said,
		    lens[i] > 0 ? ": " : "", SLICE_ARG(text_slice(&line)));
		want[sizeof(error.text) - 1] = '\0';
		assert_string_equal(error.text, want);
		end();
		text_free(&line);
	}
	text_free(&script);
	/* And where it made no sense. */
	play_calls(HELLO "> MAIL FROM:<s@x>\n< what|421 bye\n@\n");
	recipient(0, -1, "451 4.4.2 " LATER);
	assert_text(error.text, "127.0.0.1: malformed reply: 421 bye");
	end();
}

/* What is no address at all is not ours. */
static void
test_no_address(void **state)
{
	const struct sockaddr_storage none = { .ss_family = AF_UNSPEC };

	(void)state;
	memset(&relay, 0, sizeof(relay));
	soil_stack();
	assert_false(relay_is_here(&relay, (const void *)&none));
}

/* Nobody waits for the 221, nor for the hop to close. */
static void
test_close(void **state)
{
	(void)state;
	play_calls(HELLO MAIL RCPT_A "> QUIT\n");
	A_OK();
	relay_close(&relay);
	assert_true(calls.shut);
	assert_int_equal(calls.after, 0);
	hop_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_password_command),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_broken_pipe),
		cmocka_unit_test(test_reset_connection),
		cmocka_unit_test(test_farewells),
		cmocka_unit_test(test_no_address),
		cmocka_unit_test(test_close),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("relay_calls", tests, NULL, NULL);
}
