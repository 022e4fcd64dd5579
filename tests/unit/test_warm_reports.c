/*
 * test_warm_reports.c - what a parent believes of what children tell it.
 */
#include "drive.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "system/clock.h"
#include "warm_private.h"

static struct common_settings settings;

static void
setup(struct warm *warm)
{
	struct error error;

	settings = (struct common_settings){ .max_per_source = 1 };
	*warm = (struct warm){ .settings = &settings, .is_child = true,
		.counts = WARM_COUNTS_MESSAGES };
	assert_int_equal(warm_table_init(&warm->table, 4, &error), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0,
	    warm->report_fds), 0);
}

static void
teardown(struct warm *warm)
{
	close(warm->report_fds[0]);
	close(warm->report_fds[1]);
	warm_table_wipe(&warm->table);
}

/* And *warm becomes what that child has of it. */
static void
add_child(struct warm *warm, pid_t pid, const char *address)
{
	struct warm_child child = { .pid = pid,
		.source = source_from_text(address) };

	memset(&child.token, pid & 0x7f, sizeof(child.token));
	warm_table_add(&warm->table, &child);
	warm->token = child.token;
}

static unsigned
failed_from(const struct warm *warm, const char *address)
{
	struct source source = source_from_text(address);

	return warm_table_failed(&warm->table, &source, clock_now());
}

static void
test_heard(void **state)
{
	struct warm warm;

	(void)state;
	setup(&warm);
	add_child(&warm, 11, "192.0.2.1");
	warm_tell_failed_login(&warm);
	warm_tell_accepted(&warm);
	warm_tell_accepted(&warm);
	warm_hear_reports(&warm);
	assert_int_equal(failed_from(&warm, "192.0.2.1"), 1);
	assert_int_equal(warm.counted, 2);
	teardown(&warm);
}

/* Who is no child, or has no whole report, is not believed; and the next one
 * that is a child's is heard. */
static void
test_forged(void **state)
{
	static const char octets[3 * sizeof(struct warm_report)];
	struct warm warm;

	(void)state;
	setup(&warm);
	add_child(&warm, 11, "192.0.2.1");
	warm.token.octets[15] ^= 1;
	warm_tell_failed_login(&warm);
	warm_tell_accepted(&warm);
	for (size_t n = 0; n <= sizeof(octets); n++)
		assert_int_equal(send(warm.report_fds[1], octets, n, 0), n);
	warm.token.octets[15] ^= 1;
	warm_tell_accepted(&warm);
	warm_hear_reports(&warm);
	assert_int_equal(failed_from(&warm, "192.0.2.1"), 0);
	assert_int_equal(warm.counted, 1);
	teardown(&warm);
}

/* A source is told once, behind a proxy; a child cannot take another one's
 * then, for which that would count. */
static void
test_source_once(void **state)
{
	struct warm warm;

	(void)state;
	setup(&warm);
	settings.proxy_protocol = true;
	add_child(&warm, 11, "nowhere");
	for (int i = 1; i <= 2; i++) {
		struct warm_report report = { .token = warm.token,
			.kind = WARM_REPORT_SOURCE };

		report.source = source_from_text(i == 1 ? "192.0.2.1"
		    : "192.0.2.2");
		assert_int_equal(send(warm.report_fds[1], &report,
		    sizeof(report), 0), sizeof(report));
	}
	warm_tell_failed_login(&warm);
	warm_hear_reports(&warm);
	assert_int_equal(failed_from(&warm, "192.0.2.1"), 1);
	assert_int_equal(failed_from(&warm, "192.0.2.2"), 0);
	teardown(&warm);
}

/* A child that ended before its parent heard it. */
static void
test_last_words(void **state)
{
	struct warm warm;
	siginfo_t info;

	(void)state;
	setup(&warm);
	memset(&warm.token, 77, sizeof(warm.token));
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		warm_tell_failed_login(&warm);
		_exit(0);
	}
	struct warm_child child = { .pid = pid, .token = warm.token,
		.source = source_from_text("192.0.2.1") };
	warm_table_add(&warm.table, &child);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT),
	    0);
	warm_reap(&warm);
	assert_int_equal(warm.table.n, 0);
	assert_int_equal(warm.sessions, 1);
	assert_int_equal(failed_from(&warm, "192.0.2.1"), 1);
	teardown(&warm);
}

/* A child that keeps talking takes a bounded part of its parent's time. */
static void
test_talkative(void **state)
{
	struct warm warm;
	int status;

	(void)state;
	setup(&warm);
	add_child(&warm, 11, "192.0.2.1");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			warm_tell_accepted(&warm);
	/* It talks without end: that this returns is the test. */
	for (int i = 0; i < 3; i++)
		warm_hear_reports(&warm);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	teardown(&warm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heard),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_source_once),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_talkative),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
