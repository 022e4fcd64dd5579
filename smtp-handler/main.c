/*
 * smtp-handler - serves one SMTP connection: keeps mail, relays it, or both.
 *
 * The loop is the whole program: the protocol core says what it wants, and
 * this file does it with the login, the delivery and the relay.
 */
#include "smtp_program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "system/clock.h"

/* ---- what the protocol core asks for ---- */

static int
serve_auth(struct smtp_program *p, struct error *error)
{
	static const struct smtp_reply wrong = { 535, "5.7.8",
		SLICE("Wrong name or password") };
	static const struct smtp_reply refused = { 535, "5.7.8",
		SLICE("Logins are refused here") };
	static const struct smtp_reply later = { 454, "4.7.0",
		SLICE("Cannot log you in now") };
	struct smtp *smtp = &p->smtp;
	const struct program_credentials credentials = {
		smtp->user, smtp->password, smtp->sasl.mechanism,
	};
	enum auth_outcome outcome;
	struct slice name;

	if (program_login(&p->program, &smtp->wire, &credentials, &outcome,
	    error) < 0)
		return -1;
	switch (outcome) {
	case AUTH_RIGHT:
		/* As the users file has it, however it was typed: for=NAME
		 * and hooks mean that one. */
		name = auth_name(&p->program.auth, smtp->user);
		p->user_len = name.len;
		memcpy(p->user, name.data, p->user_len);
		p->mechanism = credentials.mechanism;
		program_admit(&p->program);
		places_set_login(&p->places, name);
		smtp_accept(smtp);
		break;
	case AUTH_WRONG:
		smtp_reply(smtp, &wrong);
		break;
	case AUTH_REFUSED:
		smtp_reply(smtp, &refused);
		break;
	case AUTH_TEMPORARY:
		smtp_reply(smtp, &later);
		break;
	}
	return 0;
}

/* Ends the transaction: nothing of it stays, here or at the next hop. */
static void
drop_transaction(struct smtp_program *p)
{
	delivery_abort(&p->delivery);
	relay_reset(&p->relay);
	milters_abort(&p->milters);
	smtp_forget_transaction(p);
}

/* The next hop was lost after it had accepted recipients: no text can be sent
 * to them in this transaction. */
static void
refuse_broken(struct smtp_program *p)
{
	static const struct smtp_reply lost = { 451, "4.4.2",
		SLICE("The next hop was lost, try again later") };

	smtp_reply(&p->smtp, &lost);
	/* A chunk is read to its end first; then smtp_log_reset logs it. */
	if (p->smtp.refused)
		return;
	smtp_log_message(p, LOG_KIND_REFUSED, &lost, "");
	p->refused++;
}

static void
serve_data_begin(struct smtp_program *p)
{
	const struct smtp *smtp = &p->smtp;
	const struct trace trace = smtp_trace(p);
	struct error why;

	if (p->relayed > 0 && relay_is_broken(&p->relay)) {
		refuse_broken(p);
		return;
	}
	p->delivery = (struct delivery){
		.relay = p->relayed > 0 ? &p->relay : NULL,
		.envelope = &smtp->envelope,
		.relayed = &p->relayed_on,
		.places = p->places.items,
		.n_places = p->places.n,
		.hostname = p->settings.common.hostname,
		.shown = p->hooks.message.n > 0 || p->milters.n > 0,
		/* Not with each message: it takes some time. */
		.sweep = p->transactions % SWEEP_EVERY == 1,
	};
	p->counter = (struct trace_counter){ .received = 0 };
	if (delivery_begin(&p->delivery, &trace, &why) == 0) {
		smtp_accept(&p->smtp);
		return;
	}
	log_error(&why);
	const struct smtp_reply reply = smtp_error_reply(&why);
	/* A chunk is read to its end first, and refused with that. */
	if (!smtp->chunked) {
		smtp_log_message(p, LOG_KIND_REFUSED, &reply, why.text);
		p->refused++;
	}
	smtp_reply(&p->smtp, &reply);
}

static void
serve_data(struct smtp_program *p)
{
	static const struct smtp_reply loop = { 554, "5.4.6",
		SLICE("Too many Received lines: a mail loop") };
	struct error why;

	trace_count(&p->counter, p->smtp.text);
	if (p->counter.received > TRACE_RECEIVED_MAX)
		smtp_reply(&p->smtp, &loop);
	else if (delivery_write(&p->delivery, p->smtp.text, &why) == 0)
		smtp_accept(&p->smtp);
	else {
		const struct smtp_reply reply = smtp_error_reply(&why);

		log_error(&why);
		smtp_reply(&p->smtp, &reply);
	}
}

/* Whatever decides its fate, in the order that loses nothing. *why is for the
 * log. True: it is accepted, and kept nowhere. */
static bool
finish_message(struct smtp_program *p, struct smtp_reply *verdict,
    struct error *why)
{
	struct delivery *delivery = &p->delivery;
	struct error error;

	p->hooked.reply.text = slice_from("");
	if (p->refusal != NULL) {
		*verdict = faulty_smtp_reply(p->refusal);
		p->refusal = NULL;
		return false;
	}
	if (p->discards) {
		*verdict = (struct smtp_reply){ 250, "2.0.0", SLICE("Ok") };
		return true;
	}
	if (p->milters.n > 0 && smtp_milters_message(p) != HOOK_GO_ON) {
		*verdict = p->hooked.reply;
		smtp_hooks_reason(p, why->text, sizeof(why->text));
		return p->hooked.decision == HOOK_DROP;
	}
	if (delivery_store(delivery, p->smtp.octets, &error) < 0) {
		*verdict = smtp_error_reply(&error);
		*why = error;
		return false;
	}
	if (p->hooks.message.n > 0 && smtp_hooks_message(p) != HOOK_GO_ON) {
		*verdict = p->hooked.reply;
		smtp_hooks_reason(p, why->text, sizeof(why->text));
		return p->hooked.decision == HOOK_DROP;
	}
	if (delivery_finish(delivery, verdict, &error) < 0)
		*why = error;
	else if (delivery->relay == NULL)
		*verdict = (struct smtp_reply){ 250, "2.0.0",
			p->hooked.reply.text };
	return false;
}

static int
serve_data_end(struct smtp_program *p, struct error *error)
{
	struct smtp_reply verdict;
	struct error why;
	char text[64];

	if (program_flush(&p->program, &p->smtp.wire, error) < 0)
		return -1;
	p->delivery.header_8bit |= p->counter.has_8bit;
	why.text[0] = '\0';
	bool dropped = finish_message(p, &verdict, &why);
	bool kept = verdict.code / 100 == 2;
	if (kept && verdict.text.len == 0) {
		snprintf(text, sizeof(text), "Ok, kept as %s", p->id);
		verdict.text = slice_from(text);
	}
	smtp_log_message(p, kept ? LOG_KIND_ACCEPTED : LOG_KIND_REFUSED,
	    &verdict, why.text);
	/* Whatever the client was told: the next hop has it. */
	if (p->delivery.relay != NULL && p->relay.taken.code != 0)
		smtp_log_message(p, LOG_KIND_RELAYED, &p->relay.taken, "");
	for (size_t i = 0; kept && !dropped && i < p->delivery.n_copies; i++)
		smtp_log_delivered(p, &p->delivery.copies[i].deliver);
	*(kept ? &p->accepted : &p->refused) += 1;
	if (kept)
		program_accepted(&p->program);
	smtp_reply(&p->smtp, &verdict);
	/* LMTP: the recipients share the message, and what becomes of it. */
	while (p->smtp.recipient > 0)
		if (smtp_next(&p->smtp) == SMTP_DATA_END)
			smtp_reply(&p->smtp, &verdict);
		else if (program_flush(&p->program, &p->smtp.wire, error) < 0)
			return -1;
	drop_transaction(p);
	return 0;
}

static void
serve_reset(struct smtp_program *p)
{
	smtp_log_reset(p);
	drop_transaction(p);
	smtp_accept(&p->smtp);
}

static int
serve_starttls(struct smtp_program *p, struct error *error)
{
	/* RFC 3207 4.2: a login from before TLS does not count after it. */
	p->user_len = 0;
	places_set_login(&p->places, slice_from(""));
	log_remember(LOG_FIELD_USER, slice_from(""));
	smtp_accept(&p->smtp);
	if (program_start_tls(&p->program, &p->smtp.wire, error) < 0)
		return -1;
	smtp_tls_started(&p->smtp);
	return 0;
}

static int
do_what_is_asked(struct smtp_program *p, enum smtp_event event,
    struct error *error)
{
	switch (event) {
	case SMTP_WANT_IO:
		return program_pump(&p->program, &p->smtp.wire, error);
	case SMTP_STARTTLS:
		return serve_starttls(p, error);
	case SMTP_AUTH:
		return serve_auth(p, error);
	case SMTP_MAIL:
		return smtp_serve_mail(p, error);
	case SMTP_RCPT:
		if (smtp_serve_recipient(p, error) < 0)
			return -1;
		if (p->smtp.envelope.n > 0)
			program_admit(&p->program);
		break;
	case SMTP_REFUSED:
		smtp_log_refused_line(&p->smtp);
		smtp_accept(&p->smtp);
		break;
	case SMTP_DATA_BEGIN:
		serve_data_begin(p);
		break;
	case SMTP_DATA:
		serve_data(p);
		break;
	case SMTP_DATA_END:
		return serve_data_end(p, error);
	case SMTP_RESET:
		serve_reset(p);
		break;
	case SMTP_CLOSED:
		break;
	}
	return 0;
}

static int
answer(struct smtp_program *p, enum smtp_event event, struct error *error)
{
	bool done = false;

	if (p->program.faulty.faults.n > 0 &&
	    smtp_faults_event(p, event, &done, error) < 0)
		return -1;
	if (!done && do_what_is_asked(p, event, error) < 0)
		return -1;
	return program_after_answer(&p->program, &p->smtp.wire, error);
}

/* ---- the session ---- */

/* The mark in the greeting by which the relay recognizes this server as a next
 * hop, which would be a loop. Another smtp-handler on this machine has another
 * accounts file, and so another mark. */
static void
make_mark(struct smtp_program *p)
{
	char text[512];

	if (p->settings.relay == NULL)
		return;
	int len = snprintf(text, sizeof(text), "%s %s",
	    p->settings.common.hostname, p->settings.relay);
	snprintf(p->mark, sizeof(p->mark), "(relay %08x)", (unsigned)
	    accounts_digest((struct slice){ text, (size_t)len < sizeof(text)
	    ? (size_t)len : sizeof(text) - 1 }));
	p->relay.mark = p->mark;
}

/* Not calloc: memory is touched only as far as there are recipients. */
static int
make_envelope(struct envelope *envelope, size_t max, size_t text_size,
    struct error *error)
{
	struct envelope_recipient *recipients = malloc(max *
	    sizeof(*recipients));
	char *text = malloc(text_size);

	if (recipients == NULL || text == NULL) {
		free(recipients);
		free(text);
		return error_system(error, ENOMEM, "envelope");
	}
	envelope_init(envelope, recipients, max, text, text_size);
	return 0;
}

static int
start_core(struct smtp_program *p, struct error *error)
{
	size_t max = (size_t)p->settings.max_recipients;
	/* RFC 3461 4: DSN is offered only where every message goes to a next
	 * hop, which makes the notifications: we make none. */
	bool dsn = p->settings.relay != NULL && !places_exist(&p->places);
	size_t text_size = ENVELOPE_TEXT_SIZE(max) + (dsn ? max * 512 : 0);
	const struct smtp_options options = {
		.hostname = p->settings.common.hostname,
		.mark = p->relay.mark,
		.domain = p->settings.common.domains.names[0],
		.max_size = p->settings.max_size,
		.login = p->program.auth.kind == AUTH_NONE ? SMTP_LOGIN_NONE
		    : p->program.secure ? SMTP_LOGIN_OFFERED
		                        : SMTP_LOGIN_NEEDS_TLS,
		.mechanisms = p->settings.common.mechanisms,
		.login_required = !p->settings.no_auth_required,
		.starttls = p->settings.common.tls == TLS_MODE_STARTTLS,
		.bare_lf = (enum dot_bare_lf)p->settings.bare_lf,
		.max_recipients = max,
		.dsn = dsn,
		.requiretls = p->settings.relay != NULL &&
		    p->settings.common.tls != TLS_MODE_OFF,
		.lmtp = p->settings.lmtp,
		.hidden = p->settings.common.hide,
	};

	smtp_init(&p->smtp, &options, p->in, sizeof(p->in), p->out,
	    sizeof(p->out));
	if (make_envelope(&p->smtp.envelope, max, text_size, error) < 0)
		return -1;
	if (p->settings.relay == NULL)
		return 0;
	max += p->aliases.n_targets < SMTP_ELSEWHERE_MAX
	    ? p->aliases.n_targets : SMTP_ELSEWHERE_MAX;
	return make_envelope(&p->relayed_on, max, ENVELOPE_TEXT_SIZE(max) +
	    (dsn ? max * 512 : 0), error);
}

static void
run(struct smtp_program *p)
{
	struct error error = { .kind = ERROR_NONE };
	enum smtp_event event;
	bool over;

	program_transcript(&p->program, &p->smtp.wire);
	p->relay.transcript = p->smtp.wire.transcript;
	if (smtp_faults_connect(p, &over, &error) < 0)
		smtp_drop(&p->smtp);
	while (!over && (event = smtp_next(&p->smtp)) != SMTP_CLOSED)
		if (answer(p, event, &error) < 0)
			smtp_drop(&p->smtp);
	if (p->smtp.quit)
		smtp_faults_quit(p, &error);
	const struct error *broken = error.kind != ERROR_NONE ? &error : NULL;
	p->relay.transcript = NULL; /* it ends here */
	program_end(&p->program, &p->smtp.wire, broken, !p->smtp.quit);
	relay_close(&p->relay);
	milters_close(&p->milters);
	smtp_log_end(p, broken);
	places_free(&p->places);
	accounts_free(&p->accounts);
	aliases_free(&p->aliases);
	free(p->smtp.envelope.recipients);
	free(p->smtp.envelope.text);
	free(p->relayed_on.recipients);
	free(p->relayed_on.text);
}

static int
serve(struct program *program, struct error *error)
{
	struct smtp_program *p = (struct smtp_program *)program;

	relay_init(&p->relay, p->settings.common.hostname);
	relay_set_client(&p->relay, p->program.conn.transport.in_fd);
	make_mark(p);
	smtp_init_places(p, &p->program.auth);
	smtp_log_alias_faults(p);
	p->only_shown = p->hooks.message.n > 0 &&
	    p->settings.relay == NULL && !places_exist(&p->places);
	if (start_core(p, error) < 0)
		return -1;
	run(p);
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct program_kind kind = {
		.name = "smtp-handler",
		.fill_table = smtp_settings_table,
		.counts = WARM_COUNTS_MESSAGES,
		.check_settings = smtp_check_settings,
		.check_config = smtp_check_config,
		.check_access = smtp_check_access,
		.read_files = smtp_read_files,
		.allow_programs = smtp_allow_programs,
		.needs = smtp_needs,
		.serve = serve,
	};
	/* Filled in here: an initializer would put all of it, buffers too,
	 * into the file, to be read and copied page by page. */
	static struct smtp_program p;

	p.program.kind = &kind;
	p.program.settings = &p.settings.common;
	return program_main(&p.program, argc, argv);
}
