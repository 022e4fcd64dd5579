/*
 * server_host: a server of the library (level 2), a program that answers it,
 * and peers of it in the same thread.
 */
#ifndef UNIT_SERVER_HOST_H
#define UNIT_SERVER_HOST_H

#include "drive.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/mailhandlers.h"

/* ---- a server, and how its program answers ---- */

struct host {
	struct mh_server *server;
	int port;
	size_t senders, ends, connects, closed;
	size_t messages;
	struct text last; /* message */
	char tls[128];    /* its session's version and cipher */
	uint64_t octets[2]; /* a maildrop */
	bool late; /* answers wait in open */
	struct { struct mh_session *session; enum mh_event_type type;
		size_t index; } open[16];
	size_t n_open;
};

static const struct mh_options smtp = { .size = sizeof(smtp),
	.protocol = MH_SMTP, .hostname = "h", .max_size = 1000000,
	.flags = MH_OFFER_CLEAR_LOGIN };
static const struct mh_options pop3 = { .size = sizeof(pop3),
	.protocol = MH_POP3, .hostname = "h",
	.flags = MH_OFFER_CLEAR_LOGIN | MH_OFFER_DELETE };

static inline void
answer(struct host *host, struct mh_session *session,
    enum mh_event_type type, size_t index)
{
	switch (type) {
	case MH_SENDER:
		host->senders += mh_accept(session) == 0;
		break;
	case MH_LOGIN:
		host->octets[0] = host->octets[1] = 6;
		if (mh_maildrop(session, host->octets, 2) < 0)
			mh_accept(session);
		break;
	case MH_UIDL:
		mh_uidl(session, index == 0 ? "a" : "b");
		break;
	case MH_RETRIEVE:
		if (mh_send(session, "text\n", 5) == 5)
			mh_sent(session, true);
		break;
	case MH_MESSAGE:
		host->messages++;
		host->ends++;
		mh_accept(session);
		break;
	case MH_RESET:
		host->ends++;
		mh_accept(session);
		break;
	default:
		mh_accept(session);
		break;
	}
}

static inline void
take(struct host *host, const struct mh_event *event)
{
	host->connects += event->type == MH_CONNECT;
	if (event->type == MH_MESSAGE) {
		struct mh_text version = mh_get(event->session,
		    MH_TLS_VERSION);
		struct mh_text cipher = mh_get(event->session, MH_TLS_CIPHER);

		snprintf(host->tls, sizeof(host->tls), "%.*s %.*s",
		    (int)version.len, version.data, (int)cipher.len,
		    cipher.data);
		host->last.len = 0;
		text_add(&host->last, (struct slice){ event->text.data,
			event->text.len });
		/* Whole, or not at all. */
		assert_true(slice_ends_with(text_slice(&host->last),
		    SLICE("\n")));
	}
	if (event->type == MH_CLOSED) {
		host->closed++;
		mh_accept(event->session);
	} else if (host->late && host->n_open < COUNT(host->open)) {
		host->open[host->n_open].session = event->session;
		host->open[host->n_open].index = event->index;
		host->open[host->n_open++].type = event->type;
	} else {
		answer(host, event->session, event->type, event->index);
	}
}

/* All that can be done without waiting. */
static inline void
pump(struct host *host)
{
	const struct mh_event *event;

	/* What errno was before says nothing. */
	while (errno = EINTR,
	    (event = mh_server_wait(host->server, 0)) != NULL)
		take(host, event);
}

/* Until all sessions are over, however long the kernel takes. */
static inline void
pump_to_end(struct host *host)
{
	const struct mh_event *event;

	while (host->closed < host->connects) {
		event = mh_server_wait(host->server, 10000);
		if (event == NULL)
			fail_msg("%zu of %zu closed, %zu open", host->closed,
			    host->connects, host->n_open);
		take(host, event);
	}
	pump(host);
}

static inline int
host_open(struct host *host, const struct mh_options *options)
{
	*host = (struct host){ .server = mh_server_new() };
	if (host->server == NULL)
		return -1;
	if (options == NULL)
		return 0;
	int fd = mh_listen("127.0.0.1", "0");
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	if (fd < 0)
		return -1;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	host->port = ntohs(at.sin_port);
	if (mh_server_listen(host->server, fd, options, NULL) == 0)
		return 0;
	close(fd);
	return -1;
}

static inline void
host_close(struct host *host)
{
	mh_server_free(host->server);
	text_free(&host->last);
}

/* ---- a peer ---- */

static inline int
peer_connect(const struct host *host)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)host->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Adopted, over a socketpair; -1 where the server could not. */
static inline int
peer_adopted(struct host *host, const struct mh_options *options)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	if (mh_server_adopt(host->server, pair[1], options, NULL) == 0)
		return pair[0];
	close(pair[0]);
	close(pair[1]);
	return -1;
}

/* What has come so far; true at the end. */
static inline bool
peer_read(int fd, struct text *said)
{
	char octets_read[65536];
	ssize_t n;

	while ((n = recv(fd, octets_read, sizeof(octets_read),
	    MSG_DONTWAIT)) > 0)
		text_add(said, (struct slice){ octets_read, (size_t)n });
	return n == 0 || (n < 0 && errno != EAGAIN);
}

static inline void
peer_say(int fd, struct slice s)
{
	/* A server that has closed hears nothing. */
	if (send(fd, s.data, s.len, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
}

/* RST in place of FIN. */
static inline void
peer_reset(int fd)
{
	const struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static const struct dialogue {
	const struct mh_options *options;
	const char *text;
} dialogues[] = {
	{ &smtp, "EHLO x\r\nAUTH LOGIN\r\nam9l\r\neA==\r\n"
	    "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n"
	    "text\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
	    "BDAT 3\r\nx\r\nBDAT 3 LAST\r\ny\r\nMAIL FROM:<a@b>\r\nRSET\r\n"
	    "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\ny\r\n.\r\n"
	    "QUIT\r\n" },
	{ &pop3, "USER a\r\nPASS b\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\n"
	    "TOP 2 0\r\nDELE 1\r\nRSET\r\nDELE 2\r\nQUIT\r\n" },
};

#endif
