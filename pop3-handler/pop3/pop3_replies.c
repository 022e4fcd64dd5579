/*
 * pop3_replies.c - how a reply is put out, and a question's end, for the files
 * that have commands.
 */
#include <assert.h>
#include <stdio.h>

#include "pop3/pop3_private.h"

/* Failed logins of a session. */
#define LOGINS_MAX 3
/* RFC 2449 4: a reply's first line has 512 octets at most. */
#define TEXT_MAX 480
/* Bad commands before a login. */
#define BAD_COMMANDS_MAX 20

void
pop3_close_session(struct pop3 *pop3)
{
	pop3->state = POP3_ENDED;
}

void
pop3_reply(struct pop3 *pop3, struct slice line)
{
	wire_put_line(&pop3->wire, line);
}

void
pop3_say(struct pop3 *pop3, enum pop3_text text)
{
	wire_format(&pop3->wire, "%s %s", pop3_text_status(text),
	    pop3_text(text, pop3->language));
}

void
pop3_refuse(struct pop3 *pop3, enum pop3_text text)
{
	pop3_say(pop3, text);
	/* The peer seems to speak another protocol: closes. */
	if (pop3->state == POP3_AUTHORIZATION &&
	    ++pop3->bad_commands >= BAD_COMMANDS_MAX)
		pop3_close_session(pop3);
}

bool
pop3_no_argument(struct pop3 *pop3, struct slice argument)
{
	if (argument.len == 0)
		return true;
	pop3_refuse(pop3, POP3_TEXT_NO_ARGUMENT);
	return false;
}

void
pop3_forget_name(struct pop3 *pop3)
{
	pop3->name = slice_from("");
	sasl_wipe(&pop3->sasl, &pop3->wire);
}

void
pop3_forget_login(struct pop3 *pop3)
{
	pop3->pending = POP3_WANT_IO;
	pop3->user = pop3->password = slice_from(NULL);
	pop3_forget_name(pop3);
}

void
pop3_end_login(struct pop3 *pop3)
{
	buf_forget(&pop3->wire.out);
	if (pop3->failed_logins >= LOGINS_MAX)
		pop3_close_session(pop3);
}

/*
 * RFC 7628 3.2.2: a token is refused by a challenge first, and the reply comes
 * when the client has answered that. False: it was a password; or the login
 * fails for another reason (RFC 3206 4), and a client that heard of a bad
 * token would throw away a good one.
 */
static bool
refuse_token(struct pop3 *pop3, const char *status, struct slice text)
{
	char line[TEXT_MAX + 32];
	struct slice challenge;

	if (!slice_equal(slice_from(status), SLICE("-ERR [AUTH]")) ||
	    !sasl_server_refuse(&pop3->sasl, &pop3->wire, &challenge))
		return false;
	size_t len = (size_t)snprintf(line, sizeof(line), "%.30s %.*s",
	    status, SLICE_ARG(text));
	pop3->user = pop3->password = slice_from(NULL);
	pop3->failed_logins++;
	pop3->refusal = (struct slice){ buf_keep(&pop3->wire.out,
	    (struct slice){ line, len }), len };
	/* There is room: no command is taken without it for a reply. */
	assert(pop3->refusal.data != NULL);
	pop3->pending = POP3_WANT_IO;
	pop3->in_sasl = true;
	wire_format(&pop3->wire, "+ %.*s", SLICE_ARG(challenge));
	return true;
}

void
pop3_refused(struct pop3 *pop3, const char *status, struct slice text)
{
	enum pop3_event event = pop3->pending;
	char line[TEXT_MAX];

	assert(event == POP3_STLS || event == POP3_LOGIN ||
	    event == POP3_MESSAGE || event == POP3_UPDATE ||
	    pop3->state == POP3_GREETING);
	if (text.len > sizeof(line))
		text.len = sizeof(line);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];
		/* It is not to end the line. */
		line[i] = c < 0x20 || c == 0x7F ? ' ' : (char)c;
	}
	if (event == POP3_LOGIN && refuse_token(pop3, status,
	    (struct slice){ line, text.len }))
		return;
	if (event == POP3_LOGIN)
		pop3_forget_login(pop3);
	pop3->pending = POP3_WANT_IO;
	/* Within a message a reply would be taken for its text. */
	if (!pop3->sending)
		wire_format(&pop3->wire, "%s %.*s", status, (int)text.len,
		    line);
	if (event == POP3_LOGIN) {
		pop3->failed_logins++;
		pop3_end_login(pop3);
	}
	if (event == POP3_UPDATE || pop3->sending ||
	    pop3->state == POP3_GREETING)
		pop3_close_session(pop3);
}
