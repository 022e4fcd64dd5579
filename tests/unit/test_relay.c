/*
 * test_relay.c - how long a next hop may take, with limits of a second.
 *
 * What it says and means is for the black-box tests; here it is a process
 * that says little, and slowly.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "loopback.h"
#include "relay/relay.h"
#include "system/clock.h"

#define MUCH_LATER 30000 /* milliseconds; no machine is that busy */

static struct relay relay;
static struct error error;
static struct smtp_reply verdict;
static int hop; /* the hop's end */
static char port[8], password[] = "x";
static struct account account = {
	.line = 1, .sender = SLICE("*"),
	.hop = { NEXT_HOP_SMTP_PLAIN, .host = "127.0.0.1", .port = port },
	.login = "joe", .password = password,
};
static struct envelope_recipient recipient = {
	.path = SLICE("a@b"), .local = SLICE("a"), .domain = SLICE("b"),
};
static struct envelope envelope = {
	.reverse_path = SLICE("a@b"), .recipients = &recipient, .n = 1,
};

static void
say(const char *text)
{
	if (write(hop, text, strlen(text)) < 0)
		_exit(0);
}

/* Reads a line, and answers after a while. */
static void
answer(long milliseconds, const char *text)
{
	char c = '\0';

	while (c != '\n')
		if (read(hop, &c, 1) != 1)
			_exit(0);
	pause_ms(milliseconds);
	say(text);
}

/* "250-x", and never the last line. */
static void
drip(void)
{
	for (int i = 0; i < 50; i++) {
		pause_ms(300);
		say("250-x\r\n");
	}
}

static pid_t
start_hop(void (*play)(void))
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address);

	snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		hop = accept(listener, NULL, NULL);
		play();
		_exit(0);
	}
	close(listener);
	memset(&relay, 0, sizeof(relay));
	relay_init(&relay, "me.test");
	return pid;
}

static void
end_hop(pid_t pid)
{
	int status;

	relay_close(&relay);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* One recipient: how long its verdict took. */
static int64_t
put_recipient(void)
{
	int64_t began = clock_now();

	relay_recipient(&relay, &account, &envelope, 0, &verdict, &error);
	return clock_now() - began;
}

static void
assert_verdict(unsigned code, const char *enhanced)
{
	if (verdict.code != code || strcmp(verdict.enhanced, enhanced) != 0)
		fail_msg("%u %s: %s", verdict.code, verdict.enhanced,
		    error.text);
}

static void
play_slow_reply(void)
{
	say("220 x\r\n");
	answer(0, "250-x\r\n");
	drip();
}

/* Its lines come in time, each; the reply does not. */
static void
test_command(void **state)
{
	(void)state;
	pid_t pid = start_hop(play_slow_reply);
	relay.limits.command = 1;
	int64_t took = put_recipient();
	if (took < 1000 || took > MUCH_LATER)
		fail_msg("%d ms: %s", (int)took, error.text);
	assert_verdict(451, "4.4.2");
	assert_non_null(strstr(error.text, "took too long"));
	end_hop(pid);
}

static void
play_slow_opening(void)
{
	pause_ms(400);
	say("220 x\r\n");
	answer(400, "250-x\r\n250 AUTH PLAIN\r\n");
	answer(2000, "235 x\r\n");
}

/* Each reply is in time; all of them are not. */
static void
test_opening(void **state)
{
	(void)state;
	pid_t pid = start_hop(play_slow_opening);
	relay.limits.opening = 1;
	int64_t took = put_recipient();
	if (took < 1000 || took > MUCH_LATER)
		fail_msg("%d ms: %s", (int)took, error.text);
	assert_verdict(451, "4.7.0");
	assert_non_null(strstr(error.text, "took too long"));
	end_hop(pid);
}

static void
play_slow_final(void)
{
	say("220 x\r\n");
	answer(0, "250-x\r\n250 AUTH PLAIN\r\n");
	answer(0, "235 x\r\n");
	answer(0, "250 x\r\n");
	/* The opening's limit is over, and concerns nobody any more. */
	answer(800, "250 x\r\n");
	answer(800, "354 x\r\n");
	drip();
}

static void
test_final(void **state)
{
	char name[] = "/tmp/test_relay.XXXXXX";
	const struct relay_text text = {
		.fd = mkstemp(name), .octets = 6,
	};

	(void)state;
	assert_int_equal(unlink(name), 0);
	assert_int_equal(write(text.fd, "x\ny\n", 4), 4);
	pid_t pid = start_hop(play_slow_final);
	relay.limits = (struct relay_limits){ 1, 1, 3, 3, 1, 9 };
	put_recipient();
	assert_verdict(250, "2.0.0");
	int64_t began = clock_now();
	assert_int_equal(relay_message(&relay, &envelope, &text, &verdict,
	    &error), -1);
	assert_true(clock_now() - began >= 1800);
	assert_true(clock_now() - began < 800 + MUCH_LATER);
	assert_verdict(451, "4.4.2");
	assert_non_null(strstr(error.text, "may have taken it"));
	assert_int_equal(relay.taken.code, 0);
	close(text.fd);
	end_hop(pid);
}

/* Reads a little at a time: that earns it time, and it would take long. */
static void
play_slow_reader(void)
{
	char waste[16384];
	int few = 4096;

	setsockopt(hop, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
	say("220 x\r\n");
	answer(0, "250-x\r\n250 AUTH PLAIN\r\n");
	answer(0, "235 x\r\n");
	answer(0, "250 x\r\n");
	answer(0, "250 x\r\n");
	answer(0, "354 x\r\n");
	while (read(hop, waste, sizeof(waste)) > 0)
		pause_ms(20);
}

static void
test_slow_reader(void **state)
{
	char name[] = "/tmp/test_relay.XXXXXX";
	static char lines[65536];
	const struct relay_text text = {
		.fd = mkstemp(name), .octets = 6, /* so it says */
	};

	(void)state;
	assert_int_equal(unlink(name), 0);
	memset(lines, '\n', sizeof(lines));
	for (int i = 0; i < 256; i++)
		assert_int_equal(write(text.fd, lines, sizeof(lines)),
		    sizeof(lines));
	pid_t pid = start_hop(play_slow_reader);
	relay.limits.text = 1;
	put_recipient();
	assert_verdict(250, "2.0.0");
	int64_t began = clock_now();
	assert_int_equal(relay_message(&relay, &envelope, &text, &verdict,
	    &error), -1);
	/* Nothing else ends it before the hop does. */
	assert_in_range(clock_now() - began, 1000, 15000);
	assert_verdict(451, "4.4.2");
	if (strstr(error.text, "the peer does not read") == NULL)
		fail_msg("%s", error.text);
	close(text.fd);
	end_hop(pid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_final),
		cmocka_unit_test(test_slow_reader),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
