/*
 * pop3_replies.c - how a reply is put out, for the files that have commands.
 * Layer 1.
 */
#include "pop3/pop3_private.h"

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
	/* Something that speaks another protocol at us. */
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
