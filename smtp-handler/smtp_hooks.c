/*
 * smtp_hooks.c - what a session tells its hooks, and what it does with their
 * answers.
 */
#include "smtp_program.h"

#include <stdio.h>
#include <time.h>

struct trace
smtp_trace(const struct smtp_program *p)
{
	const struct smtp *smtp = &p->smtp;
	struct tls *tls = p->program.conn.transport.tls;

	return (struct trace){
		.helo = { smtp->helo, smtp->helo_len },
		.address = p->program.peer.address,
		.address_is_ipv6 = p->program.peer.is_ipv6,
		.hostname = p->settings.common.hostname,
		.esmtp = smtp->esmtp,
		.utf8 = smtp->envelope.utf8,
		.lmtp = smtp->options.lmtp,
		.authenticated = smtp->authenticated,
		.secure = tls != NULL ||
		    p->settings.common.tls == TLS_MODE_OUTER,
		.tls_version = tls != NULL ? tls_conn_version(tls) : NULL,
		.tls_cipher = tls != NULL ? tls_conn_cipher(tls) : NULL,
		.id = p->id,
		.recipient = smtp->envelope.n == 1
		    ? smtp->envelope.recipients[0].path : slice_from(""),
		.time = time(NULL),
	};
}

static enum hook_decision
run(struct smtp_program *p, const struct hook_list *list,
    const struct hook_event *what)
{
	const struct trace trace = smtp_trace(p);
	char tls[PROGRAM_TLS_MAX];
	struct hook_event event = *what;

	program_tls_name(&p->program, tls);
	event.trace = &trace;
	event.peer = p->program.peer.name;
	event.tls = tls;
	event.user = (struct slice){ p->user, p->user_len };
	event.envelope = &p->smtp.envelope;
	hooks_run(&p->hooks, list, &event, &p->hooked, &p->hooked_by);
	return p->hooked.decision;
}

enum hook_decision
smtp_hooks_recipient(struct smtp_program *p)
{
	struct hook_event event = {
		.name = "recipient",
		.first = p->smtp.envelope.n - 1,
		.size = p->smtp.envelope.size,
		.message = -1,
	};

	return run(p, &p->hooks.recipient, &event);
}

enum hook_decision
smtp_hooks_message(struct smtp_program *p)
{
	struct hook_event event = {
		.name = "message",
		.size = p->smtp.size,
		.message = delivery_show(&p->delivery),
	};

	return run(p, &p->hooks.message, &event);
}

/* ---- filters ---- */

/* What they are told; the trace must live as long. */
static struct milters_facts
milter_facts(const struct smtp_program *p, const struct trace *trace)
{
	return (struct milters_facts){
		.trace = trace,
		.port = p->program.peer.port,
		.user = { p->user, p->user_len },
		.mechanism = p->user_len > 0 ? p->mechanism : NULL,
		.envelope = &p->smtp.envelope,
	};
}

enum hook_decision
smtp_milters_mail(struct smtp_program *p)
{
	const struct trace trace = smtp_trace(p);
	const struct milters_facts facts = milter_facts(p, &trace);

	milters_mail(&p->milters, &facts, &p->hooked, &p->hooked_by);
	return p->hooked.decision;
}

enum hook_decision
smtp_milters_recipient(struct smtp_program *p)
{
	const struct trace trace = smtp_trace(p);
	const struct milters_facts facts = milter_facts(p, &trace);

	milters_recipient(&p->milters, &facts, &p->hooked, &p->hooked_by);
	return p->hooked.decision;
}

enum hook_decision
smtp_milters_message(struct smtp_program *p)
{
	const struct trace trace = smtp_trace(p);
	const struct milters_facts facts = milter_facts(p, &trace);

	milters_message(&p->milters, &facts, &p->delivery, &p->hooked,
	    &p->hooked_by);
	return p->hooked.decision;
}

const char *
smtp_hooks_reason(const struct smtp_program *p, char *text, size_t size)
{
	snprintf(text, size, "%.80s: %.*s", p->hooked_by,
	    SLICE_ARG(p->hooked.reply.text));
	return text;
}
