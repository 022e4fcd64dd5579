/*
 * pop3_login.c - names and passwords: USER and PASS, AUTH, STLS's end, and
 * what becomes of them.
 */
#include <assert.h>
#include <string.h>

#include "pop3/pop3_private.h"

bool
pop3_login_possible(const struct pop3 *pop3)
{
	return pop3->options.allow_login && pop3->options.secure;
}

static bool
login_offered(struct pop3 *pop3)
{
	if (pop3_login_possible(pop3))
		return true;
	pop3_refuse(pop3, pop3->options.stls ? POP3_TEXT_NEEDS_STLS
	                                     : POP3_TEXT_NO_LOGIN);
	return false;
}

void
pop3_run_user(struct pop3 *pop3, struct slice name)
{
	if (!login_offered(pop3))
		return;
	if (name.len == 0 || name.len > SASL_SECRET_MAX ||
	    slice_has_control(name)) {
		pop3_refuse(pop3, POP3_TEXT_BAD_NAME);
		return;
	}
	/* RFC 6856 section 2.2. */
	if (!slice_is_utf8(name)) {
		pop3_refuse(pop3, POP3_TEXT_NOT_UTF8);
		return;
	}
	pop3->name = wire_keep(&pop3->wire, name);
	/* The same for every name, so that it does not tell who exists. */
	pop3_say(pop3, POP3_TEXT_SEND_PASSWORD);
}

void
pop3_run_pass(struct pop3 *pop3, struct slice password)
{
	if (!login_offered(pop3))
		return;
	if (pop3->name.len == 0) {
		pop3_refuse(pop3, POP3_TEXT_USER_FIRST);
		return;
	}
	if (password.len > SASL_SECRET_MAX ||
	    (password.len > 0 &&
	    memchr(password.data, '\0', password.len) != NULL)) {
		pop3_refuse(pop3, POP3_TEXT_BAD_PASSWORD);
		return;
	}
	if (!slice_is_utf8(password)) {
		pop3_refuse(pop3, POP3_TEXT_NOT_UTF8);
		return;
	}
	pop3->user = pop3->name;
	pop3->password = password;
	pop3->pending = POP3_LOGIN;
}

void
pop3_take_sasl(struct pop3 *pop3, enum sasl_outcome outcome,
    struct slice challenge)
{
	pop3->in_sasl = outcome == SASL_CONTINUE;
	switch (outcome) {
	case SASL_CONTINUE:
		wire_format(&pop3->wire, "+ %.*s", SLICE_ARG(challenge));
		return;
	case SASL_DONE:
		pop3->user = pop3->sasl.user;
		pop3->password = pop3->sasl.password;
		if (pop3->user.len == 0 || slice_has_control(pop3->user)) {
			pop3_refuse(pop3, POP3_TEXT_BAD_NAME);
		} else if (!slice_is_utf8(pop3->user) ||
		    !slice_is_utf8(pop3->password)) {
			pop3_refuse(pop3, POP3_TEXT_NOT_UTF8);
		} else {
			pop3->pending = POP3_LOGIN;
			return;
		}
		break;
	case SASL_CANCELLED:
		pop3_refuse(pop3, POP3_TEXT_CANCELLED);
		break;
	case SASL_BAD_BASE64:
	case SASL_BAD_MESSAGE:
	case SASL_TOO_LONG:
		pop3_refuse(pop3, POP3_TEXT_MALFORMED);
		break;
	case SASL_NOT_ALLOWED:
		pop3_refuse(pop3, POP3_TEXT_WRONG);
		break;
	case SASL_UNKNOWN:
		pop3_refuse(pop3, POP3_TEXT_NO_MECHANISM);
		break;
	case SASL_REFUSED:
		pop3_reply(pop3, pop3->refusal);
		pop3_end_login(pop3);
		break;
	}
	pop3_forget_name(pop3);
}

/* RFC 5034 section 4. */
void
pop3_run_auth(struct pop3 *pop3, struct slice argument)
{
	struct slice mechanism, initial, challenge;
	const char *name;

	if (!login_offered(pop3))
		return;
	/* No base64 has blanks at its ends: they are typed. */
	argument = slice_trim(argument);
	if (argument.len == 0) {
		/* Of no RFC, but old clients ask, and Dovecot answers. */
		pop3_say(pop3, POP3_TEXT_MECHANISMS);
		for (unsigned number = 0; (name = sasl_next_mechanism(
		    pop3->options.mechanisms, &number)) != NULL;)
			pop3_reply(pop3, slice_from(name));
		pop3_reply(pop3, SLICE("."));
		return;
	}
	if (slice_cut(argument, ' ', &mechanism, &initial))
		initial = slice_trim(initial);
	else
		initial = slice_from(NULL);
	enum sasl_outcome outcome = sasl_server_start(&pop3->sasl,
	    &pop3->wire, pop3->options.mechanisms, mechanism, initial,
	    &challenge);
	pop3_take_sasl(pop3, outcome, challenge);
}

void
pop3_accept_stls(struct pop3 *pop3)
{
	assert(pop3->pending == POP3_STLS);
	pop3->pending = POP3_WANT_IO;
	pop3_say(pop3, POP3_TEXT_GO_AHEAD);
	pop3->state = POP3_HANDSHAKE;
	pop3->name = slice_from("");
	wire_discard_input(&pop3->wire);
}

void
pop3_tls_started(struct pop3 *pop3)
{
	wire_discard_input(&pop3->wire);
	pop3->state = POP3_AUTHORIZATION;
	pop3->language = POP3_ENGLISH;
	pop3->options.stls = false;
	pop3->options.secure = true;
}

void
pop3_logged_in(struct pop3 *pop3, struct message *messages, size_t n)
{
	assert(pop3->pending == POP3_LOGIN);
	pop3_forget_login(pop3);
	pop3->state = POP3_TRANSACTION;
	pop3->messages = messages;
	pop3->n = n;
	pop3_put_maildrop(pop3);
}

void
pop3_login_failed(struct pop3 *pop3, enum pop3_login_failure failure)
{
	static const enum pop3_text texts[] = {
		[POP3_LOGIN_WRONG] = POP3_TEXT_WRONG,
		[POP3_LOGIN_REFUSED] = POP3_TEXT_REFUSED,
		[POP3_LOGIN_TEMPORARY] = POP3_TEXT_TEMPORARY,
		[POP3_LOGIN_NO_MAILDROP] = POP3_TEXT_NO_MAILDROP,
		[POP3_LOGIN_NO_ACCESS] = POP3_TEXT_NO_ACCESS,
		[POP3_LOGIN_IN_USE] = POP3_TEXT_IN_USE,
	};

	assert(pop3->pending == POP3_LOGIN);
	pop3_refused(pop3, pop3_text_status(texts[failure]),
	    slice_from(pop3_text(texts[failure], pop3->language)));
}
