/*
 * in_out - mail in by SMTP and out by POP3, under STARTTLS (STLS) or TLS from
 * the first octet, in a poll loop of its own.
 *
 *	in_out CERTIFICATE KEY SMTP-PORT SMTPS-PORT POP3-PORT POP3S-PORT
 *
 * Everything is kept in memory. SIGTERM ends the sessions in order.
 */
#include <mailhandlers.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tls.h>
#include <unistd.h>

#define MAILS_MAX 1000

static struct mail { char *text; size_t len; uint64_t octets; }
    mails[MAILS_MAX];
static size_t n_mails;
static int stop_pipe[2];

/* What a POP3 session sees: the mails that there were when it began. */
struct maildrop { uint64_t octets[MAILS_MAX]; size_t sent; };

static void
stop(int signal_number)
{
	ssize_t ignored = write(stop_pipe[1], &signal_number, 1);

	(void)ignored;
}

static void
log_in(const struct mh_event *event)
{
	struct mh_session *session = event->session;
	struct maildrop *drop;

	if (event->password.len != 6 ||
	    memcmp(event->password.data, "secret", 6) != 0) {
		mh_refuse(session, MH_WRONG, NULL);
		return;
	}
	drop = calloc(1, sizeof(*drop));
	if (drop == NULL) {
		mh_refuse(session, MH_LATER, NULL);
		return;
	}
	for (size_t i = 0; i < n_mails; i++)
		drop->octets[i] = mails[i].octets;
	mh_set_data(session, drop);
	if (mh_maildrop(session, drop->octets, n_mails) < 0)
		mh_accept(session); /* SMTP has no maildrop */
}

static void
keep(const struct mh_event *event)
{
	struct mail *mail = &mails[n_mails];

	if (n_mails == MAILS_MAX ||
	    (mail->text = malloc(event->text.len + 1)) == NULL) {
		mh_refuse(event->session, MH_FULL, NULL);
		return;
	}
	memcpy(mail->text, event->text.data, event->text.len);
	mail->len = event->text.len;
	mail->octets = mh_measure(mail->text, mail->len);
	n_mails++;
	mh_accept(event->session);
}

static void
send_mail(const struct mh_event *event)
{
	struct maildrop *drop = mh_data(event->session);
	const struct mail *mail = &mails[event->index];

	drop->sent += mh_send(event->session, mail->text + drop->sent,
	    mail->len - drop->sent);
	if (drop->sent < mail->len)
		return; /* it asks again when there is room */
	drop->sent = 0;
	mh_sent(event->session, true);
}

static void
serve(const struct mh_event *event)
{
	char id[24];

	switch (event->type) {
	case MH_LOGIN:
		log_in(event);
		break;
	case MH_MESSAGE:
		keep(event);
		break;
	case MH_UIDL:
		snprintf(id, sizeof(id), "m%zu", event->index);
		mh_uidl(event->session, id);
		break;
	case MH_RETRIEVE:
		send_mail(event);
		break;
	case MH_CLOSED:
		free(mh_data(event->session));
		break;
	default:
		mh_accept(event->session);
		break;
	}
}

int
main(int argc, char **argv)
{
	struct mh_server *server = mh_server_new();
	struct tls_config *config = tls_config_new();
	struct tls *tls = tls_server();
	const struct mh_event *event;

	if (argc != 7 || server == NULL ||
	    tls_config_set_keypair_file(config, argv[1], argv[2]) != 0 ||
	    tls_configure(tls, config) != 0) {
		fprintf(stderr, "in_out: %s\n", tls_error(tls));
		return 1;
	}
	tls_config_free(config);
	for (int i = 0; i < 4; i++) {
		struct mh_options options = { .size = sizeof(options),
			.protocol = i < 2 ? MH_SMTP : MH_POP3,
			.flags = i % 2 == 1 ? MH_IMPLICIT_TLS | MH_OFFER_LOGIN
			    : MH_OFFER_TLS | MH_OFFER_CLEAR_LOGIN,
			.hostname = "mail.example" };

		int fd = mh_listen("127.0.0.1", argv[3 + i]);
		if (mh_server_listen(server, fd, &options, tls) != 0)
			return perror("listen"), 1;
	}
	if (pipe(stop_pipe) != 0)
		return perror("pipe"), 1;
	signal(SIGTERM, stop);
	struct pollfd mine[] = { { mh_server_fd(server), POLLIN, 0 },
		{ stop_pipe[0], POLLIN, 0 } };
	while (mine[1].revents == 0) {
		while ((event = mh_server_wait(server, 0)) != NULL)
			serve(event);
		poll(mine, 2, -1);
	}
	/* 421 to each, and then none is left. */
	mh_server_stop(server);
	while ((event = mh_server_wait(server, -1)) != NULL)
		serve(event);
	mh_server_free(server);
	tls_free(tls);
	while (n_mails > 0)
		free(mails[--n_mails].text);
	return 0;
}
