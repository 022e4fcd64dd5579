/*
 * session_state.c - what a session and the adapters of its machines both ask
 * and note.
 */
#include "library/session.h"

#include <string.h>

bool
session_asks(const struct mh_session *session, enum mh_event_type type)
{
	return session != NULL && session->asked &&
	    session->event.type == type;
}

int
session_answered(struct mh_session *session)
{
	session->asked = false;
	/* What it pointed to is gone. */
	session->event = (struct mh_event){ MH_IO, .session = session };
	if (session->answered != NULL)
		session->answered(session->owner);
	return 0;
}

void
session_remember_user(struct mh_session *session, struct slice user)
{
	session->user_len = (uint8_t)user.len;
	if (user.len > 0)
		memcpy(session->user, user.data, user.len);
}
