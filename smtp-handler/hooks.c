/*
 * hooks.c - what a hook is given, and what is made of its end.
 */
#include "hooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/address.h"
#include "spool.h"
#include "system/environment.h"
#include "system/log.h"
#include "system/runner.h"

/* A variable of the environment ends at 128 KiB: of all recipients so many
 * octets are in MAIL_RECIPIENTS. Descriptor 3 has them all. */
#define RECIPIENTS_MAX 65536

/* ---- settings ---- */

static int
init_list(struct hook_list *list, const struct option_list *settings,
    const char *name, struct error *error)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (command_line_parse(&list->commands[i],
		    settings->items[i], name, error) < 0)
			return -1;
		list->n++;
	}
	return 0;
}

int
hooks_init(struct hooks *hooks, const struct option_list *recipient,
    const struct option_list *message, unsigned timeout, struct error *error)
{
	/* Of the room for all that there may be, only this is touched. */
	hooks->recipient.n = hooks->message.n = 0;
	hooks->timeout = timeout;
	if (init_list(&hooks->recipient, recipient, "--on-recipient",
	    error) < 0)
		return -1;
	return init_list(&hooks->message, message, "--on-message", error);
}

static int
check_list(const struct hook_list *list, const char *name)
{
	struct error error;
	int result = 0;

	for (size_t i = 0; i < list->n; i++)
		if (command_line_check(&list->commands[i], name, &error) < 0) {
			log_error(&error);
			result = -1;
		}
	return result;
}

int
hooks_check(const struct hooks *hooks)
{
	int recipient = check_list(&hooks->recipient, "--on-recipient");
	int message = check_list(&hooks->message, "--on-message");

	return recipient < 0 || message < 0 ? -1 : 0;
}

/* ---- the recipients ---- */

/* One a line; *count of them. To be freed; NULL: no memory. */
static char *
list_recipients(const struct hook_event *event, size_t *len, size_t *count)
{
	const struct envelope *envelope = event->envelope;
	size_t size = 1;
	char *text;

	for (size_t i = event->first; i < envelope->n; i++)
		size += envelope->recipients[i].path.len + 1;
	text = malloc(size);
	*len = *count = 0;
	if (text == NULL)
		return NULL;
	for (size_t i = event->first; i < envelope->n; i++) {
		struct slice path = envelope->recipients[i].path;

		/* Dropped before: the message is not for them. */
		if (envelope->recipients[i].dropped)
			continue;
		memcpy(text + *len, path.data, path.len);
		*len += path.len;
		text[(*len)++] = '\n';
		++*count;
	}
	return text;
}

/* A descriptor to read them from. */
static int
open_recipients(struct slice lines, struct error *error)
{
	struct spool spool;

	if (lines.len <= COMMAND_PIPE_SURE)
		return command_pipe(lines, error);
	if (spool_open(&spool, true, error) < 0)
		return -1;
	if (spool_write(&spool, lines, error) < 0) {
		spool_close(&spool);
		return -1;
	}
	close(spool.fd);
	return spool.reader;
}

/* Whole lines of at most so many octets, without the last one's end. */
static struct slice
cut_lines(struct slice lines, size_t max)
{
	size_t len = lines.len < max ? lines.len : max;

	while (len > 0 && lines.data[len - 1] != '\n')
		len--;
	return (struct slice){ lines.data, len > 0 ? len - 1 : 0 };
}

/* ---- the environment ---- */

static int
make_environment(struct environment *environment,
    const struct hook_event *event, struct slice lines, size_t count,
    struct error *error)
{
	const struct trace *trace = event->trace;
	bool one = event->message < 0;

	environment_init(environment);
	environment_add(environment, "MAIL_EVENT", slice_from(event->name));
	environment_add(environment, "MAIL_ID", slice_from(trace->id));
	environment_add(environment, "MAIL_PEER", slice_from(event->peer));
	/* What a client calls itself may be anything, and a hook may be a
	 * shell script. */
	environment_add(environment, "MAIL_HELO",
	    address_is_domain(trace->helo, trace->utf8)
	    ? trace->helo : SLICE("unknown"));
	environment_add(environment, "MAIL_USER", event->user);
	environment_add(environment, "MAIL_TLS", slice_from(event->tls));
	environment_add(environment, "MAIL_PROTOCOL",
	    slice_from(trace_protocol(trace)));
	environment_add(environment, "MAIL_SENDER",
	    event->envelope->reverse_path);
	environment_add(environment, one ? "MAIL_RECIPIENT"
	    : "MAIL_RECIPIENTS", cut_lines(lines, RECIPIENTS_MAX));
	environment_add_number(environment, "MAIL_RECIPIENT_COUNT", count);
	environment_add_number(environment, "MAIL_SIZE", event->size);
	if (environment_is_whole(environment))
		return 0;
	environment_free(environment);
	return error_system(error, ENOMEM, "environment");
}

/* ---- the log ---- */

/* What it wrote on standard error, line by line. */
static void
log_errors(const struct hook_event *event, const struct command_run *run)
{
	struct slice rest = { run->errors, run->errors_len }, line;

	while (rest.len > 0) {
		slice_cut(rest, '\n', &line, &rest);
		log_begin(LOG_KIND_HOOK);
		log_add(LOG_FIELD_ID, slice_from(event->trace->id));
		log_add(LOG_FIELD_COMMAND,
		    slice_from(run->line->words[0]));
		log_add(LOG_FIELD_LINE, line);
		log_send();
	}
}

static void
log_failed(const struct hook_event *event, const struct command_run *run,
    const char *what)
{
	struct slice errors = { run->errors, run->errors_len }, first, rest;
	char reason[COMMAND_ERROR_LINE_MAX + sizeof(struct error)];

	slice_cut(errors, '\n', &first, &rest);
	snprintf(reason, sizeof(reason), "%s%s%.*s", what,
	    first.len > 0 ? ": " : "", SLICE_ARG(first));
	log_begin(LOG_KIND_HOOK_FAILED);
	log_add(LOG_FIELD_ID, slice_from(event->trace->id));
	log_add(LOG_FIELD_COMMAND, slice_from(run->line->words[0]));
	log_add(LOG_FIELD_REASON, slice_from(reason));
	log_add_duration(run->took);
	log_send();
}

/* ---- running them ---- */

/* Its exit status, or HOOK_REPLY_NO_STATUS with *error. */
static int
run_one(struct command_run *run, const struct hook_event *event,
    struct error *error)
{
	struct environment environment;
	size_t len, count;
	char *text = list_recipients(event, &len, &count);
	int status = HOOK_REPLY_NO_STATUS;

	if (text == NULL) {
		error_system(error, ENOMEM, "recipients");
		return HOOK_REPLY_NO_STATUS;
	}
	struct slice lines = { text, len };
	run->extra = open_recipients(lines, error);
	if (run->extra >= 0 && make_environment(&environment, event, lines,
	    count, error) == 0) {
		run->environment = environment.items;
		/* One that was there before read it, perhaps. */
		if (event->message >= 0)
			lseek(event->message, 0, SEEK_SET);
		status = runner_run(run, error);
		environment_free(&environment);
	}
	if (run->extra >= 0)
		close(run->extra);
	free(text);
	return status;
}

static void
run_hook(const struct hooks *hooks, const struct command_line *line,
    const struct hook_event *event, struct hook_reply *made)
{
	bool whole = event->message >= 0;
	struct command_run run = {
		.line = line,
		.input = event->message,
		.timeout = hooks->timeout,
		/* The message is whole, and may be half way to somewhere. */
		.finish = whole,
		.capture = true,
	};
	struct error why = { .kind = ERROR_NONE };
	int status = run_one(&run, event, &why);
	struct slice output = { run.output, run.output_len };

	hook_reply_make(made, status, output, whole ? "2.0.0" : "2.1.5");
	log_errors(event, &run);
	if (status >= 0)
		error_set(&why, ERROR_SYSTEM, "exit status %d", status);
	if (!made->expected)
		log_failed(event, &run, why.text);
	if (made->contradicts) {
		error_set(&why, ERROR_SYSTEM, "exit status %d does not go "
		    "with its output, which is ignored: %.*s", status,
		    SLICE_ARG(output));
		log_failed(event, &run, why.text);
	}
}

void
hooks_run(const struct hooks *hooks, const struct hook_list *list,
    const struct hook_event *event, struct hook_reply *made,
    const char **by)
{
	struct hook_reply one;

	*by = NULL;
	hook_reply_make(made, 0, slice_from(""), "");
	for (size_t i = 0; i < list->n; i++) {
		run_hook(hooks, &list->commands[i], event, &one);
		/* Of those that go on, the last that says something. */
		if (one.decision != HOOK_GO_ON || one.reply.text.len > 0)
			hook_reply_copy(made, &one);
		if (one.decision == HOOK_GO_ON)
			continue;
		*by = list->commands[i].words[0];
		return;
	}
}
