/*
 * relay_hop: a next hop that plays a script, and a relay that is to talk to
 * it.
 *
 * "< 250 x" it says, with | for line ends within it, "> RSET" it must hear,
 * "= text" is a message's text with | for line ends, and "%" any text, "*"
 * begins TLS, "." takes what has come, "^" is SIGTERM to our side, "!" ends
 * the connection, "#" resets it, "@" waits for its end, and "~" too, whatever
 * comes before it. After that comes the next connection; at the end it waits
 * for ours.
 */
#ifndef UNIT_RELAY_HOP_H
#define UNIT_RELAY_HOP_H

#include "drive.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tls.h>

#include "loopback.h"
#include "relay/relay.h"

#define GREETING "< 220 x\n"
#define EHLO "> EHLO me.test\n"
#define HELLO GREETING EHLO "< 250 x\n"
#define OFFERS(words) GREETING EHLO "< 250-x\n" words
#define MAIL "> MAIL FROM:<s@x>\n< 250 2.1.0 ok\n"
#define RCPT_A "> RCPT TO:<a@b>\n< 250 2.1.5 ok\n"
#define RCPT_B "> RCPT TO:<b@b>\n< 250 2.1.5 ok\n"
#define DATA "> DATA\n< 354 go\n"
#define QUIT "> QUIT\n"
#define OK_RCPT "250 2.1.5 ok"
#define LATER "The next hop cannot be reached now, try again later"
#define NOT_NOW "The next hop does not take mail from here now, try again " \
	"later"

static struct tls *hop_context; /* a server's, where there is TLS */
static pid_t hop_pid;
static char hop_port[8];
static int hop_listener = -1;

/* ---- the hop ---- */

static int hop_fd = -1;
static struct tls *hop_tls;

static void
hop_fails(const char *wanted, const char *got)
{
	fprintf(stderr, "hop: wanted %s, got %s\n", wanted, got);
	_exit(1);
}

static char hop_in[16384]; /* in the clear */
static size_t hop_in_at, hop_in_len;

static bool
hop_reads(char *octet)
{
	ssize_t n = 1;

	if (hop_tls == NULL) {
		if (hop_in_at == hop_in_len) {
			n = read(hop_fd, hop_in, sizeof(hop_in));
			hop_in_at = 0;
			hop_in_len = n > 0 ? (size_t)n : 0;
		}
		if (hop_in_len > 0)
			*octet = hop_in[hop_in_at++];
		return hop_in_len > 0;
	}
	do
		n = tls_read(hop_tls, octet, 1);
	while (n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT);
	return n == 1;
}

/* A line without its end; NULL where the connection has ended. */
static char *
hop_hears(char *line, size_t size)
{
	size_t len = 0;

	while (len < size && (len == 0 || line[len - 1] != '\n')) {
		if (!hop_reads(line + len))
			return NULL;
		len++;
	}
	if (len < 2 || memcmp(line + len - 2, "\r\n", 2) != 0)
		hop_fails("CRLF", "something else");
	line[len - 2] = '\0';
	return line;
}

static void
hop_hears_text(const char *wanted)
{
	struct text got = { .data = NULL };
	char line[4096];

	text_add(&got, SLICE(""));
	while (hop_hears(line, sizeof(line)) != NULL &&
	    strcmp(line, ".") != 0)
		text_format(&got, "%s|", line);
	text_add(&got, SLICE("\0"));
	if (strcmp(got.data, wanted) != 0)
		hop_fails(wanted, got.data);
}

/* In one go. Who has gone hears nothing. */
static void
hop_says(const char *words)
{
	struct text said = { .data = NULL };

	for (const char *at = words; *at != '\0'; at++)
		if (*at == '|')
			text_add(&said, SLICE("\r\n"));
		else
			text_format(&said, "%c", *at);
	text_add(&said, SLICE("\r\n"));
	if (hop_tls != NULL)
		tls_write(hop_tls, said.data, said.len);
	else if (write(hop_fd, said.data, said.len) < 0)
		perror("hop");
	text_free(&said);
}

/* A handshake that fails ends the connection, as our side may want it. */
static void
hop_begins_tls(void)
{
	if (hop_in_at < hop_in_len)
		hop_fails("TLS", "something in the clear");
	if (tls_accept_socket(hop_context, &hop_tls, hop_fd) != 0)
		hop_fails("TLS", tls_error(hop_context));
	tls_handshake(hop_tls);
}

static void
hop_hangs_up(void)
{
	tls_free(hop_tls);
	hop_tls = NULL;
	close(hop_fd);
	hop_fd = -1;
	hop_in_at = hop_in_len = 0;
}

static void
hop_resets(void)
{
	const struct linger at_once = { .l_onoff = 1 };

	setsockopt(hop_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void
hop_plays(const char *script)
{
	char line[4096];

	for (struct slice rest = slice_from(script), step; rest.len > 0;) {
		char wanted[4096];

		slice_cut(rest, '\n', &step, &rest);
		if (hop_fd < 0)
			hop_fd = accept(hop_listener, NULL, NULL);
		snprintf(wanted, sizeof(wanted), "%.*s",
		    SLICE_ARG(slice_skip(step, step.len < 2 ? step.len : 2)));
		if (step.data[0] == '<') {
			hop_says(wanted);
		} else if (step.data[0] == '=') {
			hop_hears_text(wanted);
		} else if (step.data[0] == '*') {
			hop_begins_tls();
		} else if (step.data[0] == '.') {
			hop_reads(line);
			hop_in_at = hop_in_len;
		} else if (step.data[0] == '%') {
			do
				if (hop_hears(line, sizeof(line)) == NULL)
					hop_fails("text", "end");
			while (strcmp(line, ".") != 0);
		} else if (step.data[0] == '^') {
			kill(getppid(), SIGTERM);
		} else if (step.data[0] == '~') {
			while (hop_reads(line))
				;
		} else if (step.data[0] == '>') {
			const char *got = hop_hears(line, sizeof(line));

			if (got == NULL || strcmp(got, wanted) != 0)
				hop_fails(wanted, got != NULL ? got : "end");
		}
		if (step.data[0] == '@' &&
		    hop_hears(line, sizeof(line)) != NULL)
			hop_fails("end", line);
		if (step.data[0] == '#')
			hop_resets();
		if (strchr("!#@~", step.data[0]) != NULL ||
		    slice_equal(step, SLICE("> QUIT")))
			hop_hangs_up();
	}
	if (hop_fd >= 0 && hop_hears(line, sizeof(line)) != NULL)
		hop_fails("end", line);
	_exit(0);
}

/* Where it is to listen, on 127.0.0.1: for scripts that say so. */
static void
hop_listen(void)
{
	struct sockaddr_in address;

	hop_listener = listen_on_loopback(&address);
	snprintf(hop_port, sizeof(hop_port), "%u", ntohs(address.sin_port));
}

static void
hop_start(const char *script)
{
	if (hop_listener < 0)
		hop_listen();
	fflush(NULL);
	hop_pid = fork();
	assert_true(hop_pid >= 0);
	if (hop_pid == 0) {
		alarm(60);
		hop_plays(script);
	}
	close(hop_listener);
	hop_listener = -1;
}

/* All that it had to hear was said. */
static void
hop_end(void)
{
	int status;

	assert_int_equal(waitpid(hop_pid, &status, 0), hop_pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- our side ---- */

static struct relay relay;
static struct error error;
static struct smtp_reply verdict;
static struct account account;
static struct envelope_recipient recipients[3];
static struct envelope envelope;

/* Begins a test: a relay that has said nothing yet. */
static inline void
play(const char *script)
{
	hop_start(script);
	memset(&relay, 0, sizeof(relay));
	relay_init(&relay, "me.test");
	account = (struct account){
		.line = 1, .sender = SLICE("*"),
		.hop = { NEXT_HOP_SMTP_PLAIN, .host = "127.0.0.1",
		    .port = hop_port },
	};
	recipients[0] = (struct envelope_recipient){ .path = SLICE("a@b") };
	recipients[1] = (struct envelope_recipient){ .path = SLICE("b@b") };
	recipients[2] = (struct envelope_recipient){ .path = SLICE("c@b") };
	envelope = (struct envelope){ .reverse_path = SLICE("s@x"),
		.recipients = recipients, .n = 1 };
}

/* Ends it: all that the hop had to hear was said. */
static inline void
end(void)
{
	relay_close(&relay);
	hop_end();
}

/* Until something has come from the hop. */
static inline void
await_input(void)
{
	struct pollfd pollfd = { .fd = relay.conn.transport.in_fd,
		.events = POLLIN };

	assert_int_equal(poll(&pollfd, 1, -1), 1);
}

static inline void
check_verdict(const char *wanted)
{
	char got[2048];

	snprintf(got, sizeof(got), "%u %s %.*s", verdict.code,
	    verdict.enhanced, SLICE_ARG(verdict.text));
	if (strcmp(got, wanted) != 0)
		fail_msg("wanted \"%s\", got \"%s\" (%s)", wanted, got,
		    error.text);
}

/* Nothing may depend on what was left on the stack. */
static void __attribute__((noinline))
soil_stack(void)
{
	char waste[65536];

	memset(waste, 'x', sizeof(waste));
	__asm__ volatile ("" : : "r" (waste) : "memory");
}

/* A result of -1 has a reason; any other has none. */
static inline void
recipient(size_t i, int wanted_result, const char *wanted)
{
	soil_stack();
	error = (struct error){ .kind = ERROR_CONFIG };
	if (envelope.n <= i)
		envelope.n = i + 1;
	int result = relay_recipient(&relay, &account, &envelope, i, &verdict,
	    &error);
	check_verdict(wanted);
	assert_int_equal(result, wanted_result);
	assert_int_equal(recipients[i].relayed, verdict.code / 100 == 2);
	assert_int_equal(relay.taken.code, 0);
	assert_int_equal(result == 0, error.kind == ERROR_NONE);
	assert_true(result == 0 || error.text[0] != '\0');
}

static inline void
message_of(struct relay_text text, const char *content, int wanted_result,
    const char *wanted)
{
	char name[] = "/tmp/test_relay.XXXXXX";

	text.fd = mkstemp(name);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(write(text.fd, content, strlen(content)),
	    strlen(content));
	error = (struct error){ .kind = ERROR_CONFIG };
	int result = relay_message(&relay, &envelope, &text, &verdict,
	    &error);
	close(text.fd);
	check_verdict(wanted);
	assert_int_equal(result, wanted_result);
	assert_int_equal(result == 0, error.kind == ERROR_NONE);
	assert_true(result == 0 || error.text[0] != '\0');
	assert_int_equal(relay.taken.code != 0, verdict.code / 100 == 2);
	if (verdict.code / 100 == 2)
		assert_slices(relay.taken.text, verdict.text);
	relay_reset(&relay);
	assert_int_equal(relay.taken.code, 0);
	envelope.n = 1;
}

static inline void
message(const char *content, int result, const char *wanted)
{
	message_of((struct relay_text){ .octets = 10 }, content, result,
	    wanted);
}

/* Does that in a process of its own, for it is stopped for good; 0 is right. */
static inline void
check_apart(int (*function)(void))
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(function());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define A_OK() recipient(0, 0, OK_RCPT)

#endif
