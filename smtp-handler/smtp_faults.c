/*
 * smtp_faults.c - SMTP's events for --faults, and their subjects.
 */
#include "smtp_program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
smtp_faults_connect(struct smtp_program *p, bool *over, struct error *error)
{
	const struct peer *peer = &p->program.peer;
	const struct slice subjects[] = { slice_from(peer->name),
		slice_from(peer->address) };
	const struct fault *refusal;

	*over = false;
	if (program_fault(&p->program, &p->smtp.wire, FAULT_CONNECT, subjects,
	    2, &refusal, error) < 0)
		return -1;
	if (refusal == NULL)
		return 0;
	const struct smtp_reply reply = faulty_smtp_reply(refusal);
	wire_format(&p->smtp.wire, "%u %s%s%.*s", reply.code,
	    refusal->reply.enhanced != NULL ? reply.enhanced : "",
	    refusal->reply.enhanced != NULL ? " " : "",
	    SLICE_ARG(reply.text));
	*over = true;
	return 0;
}

/* About a message: its sender, and all of its recipients. */
static int
meet_message(struct smtp_program *p, enum fault_event what,
    const struct fault **refusal, struct error *error)
{
	const struct envelope *envelope = &p->smtp.envelope;
	struct slice *subjects = calloc(envelope->n + 1, sizeof(*subjects));

	if (subjects == NULL)
		return error_system(error, ENOMEM, "faults");
	subjects[0] = envelope->reverse_path;
	for (size_t i = 0; i < envelope->n; i++)
		subjects[i + 1] = envelope->recipients[i].path;
	int result = program_fault(&p->program, &p->smtp.wire, what, subjects,
	    envelope->n + 1, refusal, error);
	free(subjects);
	return result;
}

/* What the event is for --faults; *refusal as program_fault has it. */
static int
meet(struct smtp_program *p, enum smtp_event event,
    const struct fault **refusal, struct error *error)
{
	const struct envelope *envelope = &p->smtp.envelope;
	struct slice subject;
	enum fault_event what;

	*refusal = NULL;
	switch (event) {
	case SMTP_STARTTLS:
		what = FAULT_STARTTLS;
		subject = slice_from(p->program.peer.name);
		break;
	case SMTP_AUTH:
		what = FAULT_LOGIN;
		subject = p->smtp.user;
		break;
	case SMTP_MAIL:
		what = FAULT_MAIL;
		subject = envelope->reverse_path;
		break;
	case SMTP_RCPT:
		what = FAULT_RCPT;
		subject = envelope->recipients[envelope->n - 1].path;
		break;
	case SMTP_DATA_BEGIN:
		return meet_message(p, FAULT_DATA, refusal, error);
	case SMTP_DATA_END:
		faulty_end_text(&p->program.faulty);
		return meet_message(p, FAULT_MESSAGE, refusal, error);
	case SMTP_DATA:
		return faulty_take_text(&p->program.faulty, p->smtp.text.len,
		    error);
	default:
		return 0;
	}
	return program_fault(&p->program, &p->smtp.wire, what, &subject, 1,
	    refusal, error);
}

int
smtp_faults_event(struct smtp_program *p, enum smtp_event event, bool *done,
    struct error *error)
{
	const struct fault *refusal;

	*done = false;
	if (meet(p, event, &refusal, error) < 0)
		return -1;
	if (refusal == NULL)
		return 0;
	if (event == SMTP_DATA_END) {
		/* main.c answers, for it must also drop the message. */
		p->refusal = refusal;
		return 0;
	}
	const struct smtp_reply reply = faulty_smtp_reply(refusal);
	smtp_reply(&p->smtp, &reply);
	*done = true;
	return 0;
}

int
smtp_faults_quit(struct smtp_program *p, struct error *error)
{
	struct buf *out = &p->smtp.wire.out;
	struct slice said = buf_contents(out);
	const struct slice subject = p->user_len > 0
	    ? (struct slice){ p->user, p->user_len }
	    : slice_from(p->program.peer.name);
	const struct fault *refusal;
	char bye[512];
	size_t len = 0;

	/* The reply to QUIT waits in out, perhaps behind others. */
	while (len < said.len && (len == 0 ||
	    said.data[said.len - len - 1] != '\n'))
		len++;
	if (len > sizeof(bye))
		return 0;
	memcpy(bye, said.data + said.len - len, len);
	out->end -= len;
	if (program_fault(&p->program, &p->smtp.wire, FAULT_QUIT, &subject, 1,
	    &refusal, error) < 0)
		return -1;
	if (refusal == NULL) {
		buf_append(out, (struct slice){ bye, len });
		return 0;
	}
	const struct smtp_reply reply = faulty_smtp_reply(refusal);
	wire_format(&p->smtp.wire, "%u %s %.*s", reply.code, reply.enhanced,
	    SLICE_ARG(reply.text));
	return 0;
}
