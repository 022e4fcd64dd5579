/*
 * runner.c - commands that another process runs: a request and an answer over a
 * socketpair, as the structures are, for both ends are the same program.
 */
#include "system/runner.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "system/clock.h"
#include "system/descriptors.h"
#include "system/environment.h"
#include "system/process.h"

/* Of a request's words and of its variables, each with its NUL. */
#define TEXT_MAX 262144
/* The name of a variable. */
#define NAME_MAX_LEN 63
/* Beyond a command's own limit, in ms, an answer is waited for so long. */
#define ANSWER_MS 10000

/* Where the other process has its end of the socketpair. */
#define OTHER_END 3

/* What is asked. */
enum { ASKED_RUN = 1, ASKED_STOP };

/* Bits of a request's flags: members of struct command_run, and which
 * descriptors come with it, in this order. */
#define FINISH 1u
#define CAPTURE 2u
#define SECRET 4u
#define INPUT 8u
#define EXTRA 16u

struct request {
	unsigned what; /* first: ASKED_STOP is nothing but this */
	unsigned flags;
	unsigned timeout;
	size_t secret_max;
	size_t words_len;
	size_t variables_len;
};

struct answer {
	int status;
	int signal;
	int64_t took;
	size_t output_len;
	size_t errors_len;
	struct error error;
};

/* Signal handlers aside, the only state of a process here: its one runner. */
static struct {
	struct allowed { char *words; size_t len; } *allowed;
	size_t n;
	int fd; /* 0: there is none, and commands are run right here */
	bool lost; /* it is out of step, or gone */
} runner;

/* ---- what both do ---- */

static bool
send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static bool
receive_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len > 0) {
		ssize_t n = recv(fd, at, len, 0);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* Strings one after the other, each with its NUL: those that begin so. Their
 * length, and to out where that is not NULL. */
static size_t
join(char *const *strings, const char *begin, char *out)
{
	size_t len = 0;

	for (; *strings != NULL; strings++) {
		size_t n = strlen(*strings) + 1;

		if (strncmp(*strings, begin, strlen(begin)) != 0)
			continue;
		if (out != NULL)
			memcpy(out + len, *strings, n);
		len += n;
	}
	return len;
}

/* ---- before the fork ---- */

int
runner_allow(const struct command_line *line, struct error *error)
{
	struct allowed *grown = realloc(runner.allowed, (runner.n + 1) *
	    sizeof(*grown));

	if (grown == NULL)
		return error_system(error, ENOMEM, "runner");
	runner.allowed = grown;
	grown += runner.n;
	grown->len = join(line->words, "", NULL);
	grown->words = malloc(grown->len);
	if (grown->words == NULL)
		return error_system(error, ENOMEM, "runner");
	join(line->words, "", grown->words);
	runner.n++;
	return 0;
}

int
runner_fork(struct error *error)
{
	/* Sending and taking never wait for long, but for the command. */
	const struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	int ends[2];

	if (runner.n == 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return error_system(error, errno, "runner");
	pid_t pid = fork();
	if (pid == 0) {
		/* The connection is not to stay open by us. */
		if (ends[1] != OTHER_END)
			dup2(ends[1], OTHER_END);
		descriptors_close_from(OTHER_END + 1);
		process_unwatch();
		return 1;
	}
	int saved = errno;
	close(ends[1]);
	if (pid > 0) {
		setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit,
		    sizeof(limit));
		setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit,
		    sizeof(limit));
		runner.fd = ends[0];
		return 0;
	}
	close(ends[0]);
	return error_system(error, saved, "runner");
}

/* ---- in the other process ---- */

/* A request with its descriptors; false at the end, or out of step. */
static bool
take_request(struct request *request, int fds[2])
{
	union { struct cmsghdr header; char room[CMSG_SPACE(2 * sizeof(int))]; }
	    control;
	struct iovec part = { request, sizeof(request->what) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n;

	fds[0] = fds[1] = -1;
	do
		n = recvmsg(OTHER_END, &message, MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(request->what))
		return false;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(header), header->cmsg_len > CMSG_LEN(
		    sizeof(int)) ? 2 * sizeof(int) : sizeof(int));
	if (request->what != ASKED_RUN)
		return true;
	return receive_all(OTHER_END, (char *)request + sizeof(request->what),
	    sizeof(*request) - sizeof(request->what)) &&
	    request->words_len > 0 && request->words_len <= TEXT_MAX &&
	    request->variables_len <= TEXT_MAX &&
	    request->secret_max < TEXT_MAX;
}

static bool
is_allowed(const char *words, size_t len)
{
	for (size_t i = 0; i < runner.n; i++)
		if (runner.allowed[i].len == len &&
		    memcmp(runner.allowed[i].words, words, len) == 0)
			return true;
	return false;
}

/* Each ends with a NUL. */
static bool
split_words(struct command_line *line, char *text, size_t len)
{
	size_t n = 0;

	for (char *at = text; at < text + len; at += strlen(at) + 1) {
		if (n == COMMAND_WORDS_MAX)
			return false;
		line->words[n++] = at;
	}
	line->words[n] = NULL;
	return true;
}

static bool
add_variables(struct environment *environment, const char *text, size_t len)
{
	char name[NAME_MAX_LEN + 1];

	for (const char *at = text; at < text + len; at += strlen(at) + 1) {
		size_t n = strcspn(at, "=");

		if (strncmp(at, "MAIL_", 5) != 0 || at[n] != '=' ||
		    n > NAME_MAX_LEN)
			return false;
		memcpy(name, at, n);
		name[n] = '\0';
		environment_add(environment, name, slice_from(at + n + 1));
	}
	return environment_is_whole(environment);
}

static int
run_request(const struct request *request, struct command_run *run,
    char *text, struct error *error)
{
	struct environment environment;
	struct command_line line = { .storage = NULL };
	char *variables = text + request->words_len;
	int status;

	if (!is_allowed(text, request->words_len) ||
	    !split_words(&line, text, request->words_len))
		return error_set(error, ERROR_SYSTEM, "a command that the "
		    "settings do not name");
	environment_init(&environment);
	run->line = &line;
	run->environment = environment.items;
	status = add_variables(&environment, variables,
	    request->variables_len) ? command_run(run, error)
	    : error_set(error, ERROR_SYSTEM, "a variable that cannot be");
	environment_free(&environment);
	return status;
}

static bool
send_answer(const struct command_run *run, int status,
    const struct error *error)
{
	const struct answer answer = {
		.status = status, .signal = run->signal, .took = run->took,
		.output_len = run->output_len, .errors_len = run->errors_len,
		.error = *error,
	};

	return send_all(OTHER_END, &answer, sizeof(answer)) &&
	    send_all(OTHER_END, run->secret != NULL ? run->secret
	    : run->output, run->output_len) &&
	    send_all(OTHER_END, run->errors, run->errors_len);
}

/* False where nothing more can come. */
static bool
answer_request(const struct request *request, const int fds[2])
{
	size_t len = request->words_len + request->variables_len;
	size_t secret_size = request->secret_max + 1;
	char *text = malloc(len), *secret = malloc(secret_size);
	struct error error = { .kind = ERROR_NONE };
	bool input = (request->flags & INPUT) != 0;
	struct command_run run = {
		.input = input ? fds[0] : -1,
		.extra = (request->flags & EXTRA) == 0 ? -1
		    : input ? fds[1] : fds[0],
		.timeout = request->timeout,
		.finish = (request->flags & FINISH) != 0,
		.capture = (request->flags & CAPTURE) != 0,
		.secret = (request->flags & SECRET) != 0 ? secret : NULL,
		.secret_max = request->secret_max,
		.stop_fd = OTHER_END,
	};
	bool good = text != NULL && secret != NULL &&
	    receive_all(OTHER_END, text, len) &&
	    text[request->words_len - 1] == '\0' && text[len - 1] == '\0';

	if (good)
		good = send_answer(&run, run_request(request, &run, text,
		    &error), &error);
	if (secret != NULL)
		explicit_bzero(secret, secret_size);
	free(secret);
	free(text);
	return good;
}

void
runner_serve(void)
{
	struct request request;
	int fds[2];

	while (take_request(&request, fds)) {
		/* ASKED_STOP may come when the command has ended. */
		bool good = request.what != ASKED_RUN ||
		    answer_request(&request, fds);

		for (size_t i = 0; i < 2; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		if (!good)
			break;
	}
	_exit(0);
}

/* ---- in the session ---- */

static bool
send_request(const struct command_run *run, const struct request *request)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(2 * sizeof(int))]; }
	    control = { .room = { 0 } };
	struct iovec part = { (void *)(uintptr_t)request, sizeof(*request) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int fds[2];
	size_t n = 0;

	if (run->input >= 0)
		fds[n++] = run->input;
	if (run->extra >= 0)
		fds[n++] = run->extra;
	if (n > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n * sizeof(int));
	}
	/* Nothing else is on its way: there is room for all of it. */
	return sendmsg(runner.fd, &message, MSG_NOSIGNAL) ==
	    (ssize_t)sizeof(*request);
}

/* The command and what it is given, as a whole. */
static bool
ask(const struct command_run *run)
{
	const struct request request = {
		.what = ASKED_RUN,
		.flags = (run->finish ? FINISH : 0) |
		    (run->capture ? CAPTURE : 0) |
		    (run->secret != NULL ? SECRET : 0) |
		    (run->input >= 0 ? INPUT : 0) |
		    (run->extra >= 0 ? EXTRA : 0),
		.timeout = run->timeout,
		.secret_max = run->secret_max,
		.words_len = join(run->line->words, "", NULL),
		.variables_len = join(run->environment, "MAIL_", NULL),
	};
	size_t len = request.words_len + request.variables_len;
	char *text = malloc(len);

	if (text == NULL)
		return false;
	join(run->line->words, "", text);
	join(run->environment, "MAIL_", text + request.words_len);
	bool good = send_request(run, &request) &&
	    send_all(runner.fd, text, len);
	free(text);
	return good;
}

/* Waits for the beginning of the answer; SIGTERM is passed on meanwhile. */
static bool
await_answer(const struct command_run *run)
{
	const unsigned stop = ASKED_STOP;
	int64_t deadline = clock_now() + 1000 * (int64_t)run->timeout +
	    COMMAND_GRACE + ANSWER_MS;
	bool told = run->finish;
	int n = 0;

	while (n <= 0) {
		struct pollfd pollfd = { .fd = runner.fd, .events = POLLIN };
		int64_t left = deadline - clock_now();

		if (left <= 0)
			return false;
		if (!told && process_stop_requested()) {
			told = true;
			send_all(runner.fd, &stop, sizeof(stop));
		}
		const struct timespec timeout = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};
		n = ppoll(&pollfd, 1, &timeout, process_wait_mask());
	}
	return true;
}

static bool
take_answer(struct command_run *run, struct answer *answer)
{
	size_t most = run->secret != NULL ? run->secret_max
	                                  : COMMAND_OUTPUT_MAX;

	if (!receive_all(runner.fd, answer, sizeof(*answer)) ||
	    answer->output_len > most ||
	    answer->errors_len > sizeof(run->errors))
		return false;
	run->took = answer->took;
	run->signal = answer->signal;
	run->output_len = answer->output_len;
	run->errors_len = answer->errors_len;
	return receive_all(runner.fd, run->secret != NULL ? run->secret
	    : run->output, run->output_len) &&
	    receive_all(runner.fd, run->errors, run->errors_len);
}

int
runner_run(struct command_run *run, struct error *error)
{
	struct answer answer;

	if (runner.fd == 0)
		return command_run(run, error);
	run->took = run->signal = 0;
	run->output_len = run->errors_len = 0;
	if (runner.lost || !ask(run) || !await_answer(run) ||
	    !take_answer(run, &answer)) {
		runner.lost = true;
		run->output_len = run->errors_len = 0;
		return error_set(error, ERROR_SYSTEM, "%.100s: cannot be run: "
		    "the process that runs commands is lost",
		    run->line->words[0]);
	}
	*error = answer.error;
	return answer.status;
}
