/*
 * channel.c - one connection of a server.
 *
 * A channel is served whenever it may have work, and does what it can without
 * waiting. While a question of its session is open it does nothing at all: it
 * neither reads nor looks whether the peer is still there.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/server.h"

/* Steps, each at most a system call or a piece of text, before others have a
 * turn. */
#define STEPS_MAX 16
/* Limits, in ms: of a TLS handshake, of the final reply, of close_notify and
 * the peer's close together; and what is read meanwhile, in octets. */
#define HANDSHAKE_MS 30000
#define FLUSH_MS 10000
#define LINGER_MS 2000
#define LINGER_MAX 16777216
#define WASTE_SIZE 16384
/* Text is collected in so much at first; and more is given back when the
 * session is idle. */
#define TEXT_SIZE 4096

enum step {
	STEP_MORE,    /* there may be more to do */
	STEP_BLOCKED, /* until the peer, the program or the clock goes on */
	STEP_EVENT,   /* the program is asked */
};

static struct mh_server *
server_of(const struct channel *channel)
{
	return channel->origin->server;
}

/* ---- the transport ---- */

/* As recv(2); nothing to read: -1, and not readable. */
static ssize_t
receive(struct channel *channel, void *data, size_t size)
{
	ssize_t n;

	do
		n = recv(channel->fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		channel->eof = true;
	/* Less than there was room for is all that there was (epoll(7)); and
	 * if there is more by now, the poller says so. */
	if (n > 0)
		channel->source.readable = (size_t)n == size ||
		    channel->source.hung_up;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		channel->source.readable = false;
	else if (n < 0)
		channel->broken = true;
	return n;
}

static ssize_t
transmit(struct channel *channel, const void *data, size_t size)
{
	ssize_t n;

	do
		n = send(channel->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		channel->source.writable = false;
	else if (n < 0)
		channel->broken = true;
	return n;
}

static ssize_t
read_callback(struct tls *tls, void *data, size_t size, void *arg)
{
	struct channel *channel = arg;
	ssize_t n = receive(channel, data, size);

	(void)tls;
	return n < 0 && !channel->broken ? TLS_WANT_POLLIN : n;
}

static ssize_t
write_callback(struct tls *tls, const void *data, size_t size, void *arg)
{
	struct channel *channel = arg;
	ssize_t n = transmit(channel, data, size);

	(void)tls;
	return n < 0 && !channel->broken ? TLS_WANT_POLLOUT : n;
}

static bool
tls_waits(ssize_t n)
{
	return n == TLS_WANT_POLLIN || n == TLS_WANT_POLLOUT;
}

/* Octets of the peer's: how many, 0 at their end, -1 where there are none
 * now, or no more for ever (broken). */
static ssize_t
channel_read(struct channel *channel, char *data, size_t size)
{
	ssize_t n;

	if (channel->tls == NULL)
		return receive(channel, data, size);
	n = tls_read(channel->tls, data, size);
	if (n > 0 || tls_waits(n))
		return n > 0 ? n : -1;
	/* An end without close_notify is an end all the same: only the
	 * protocol knows if something is missing. */
	if (n == 0 || channel->eof)
		return 0;
	channel->broken = true;
	return -1;
}

static ssize_t
channel_write(struct channel *channel, const char *data, size_t size)
{
	ssize_t n;

	if (channel->tls == NULL)
		return transmit(channel, data, size);
	n = tls_write(channel->tls, data, size);
	channel->broken |= n < 0 && !tls_waits(n);
	return n < 0 ? -1 : n;
}

/* ---- storage ---- */

static int
lend(struct channel *channel)
{
	if (channel->buffers != NULL)
		return 0;
	channel->buffers = origin_lend(channel->origin);
	if (channel->buffers == NULL)
		return -1;
	mh_lend(channel->session, channel->buffers);
	return 0;
}

static void
forget_text(struct channel *channel)
{
	free(channel->text);
	channel->text = NULL;
	channel->text_len = channel->text_size = 0;
}

/* Gives back the buffers that an idle session does not need. */
static void
give_back(struct channel *channel)
{
	if (channel->buffers == NULL || !mh_idle(channel->session))
		return;
	mh_lend(channel->session, NULL);
	origin_take_back(channel->origin, channel->buffers);
	channel->buffers = NULL;
	forget_text(channel);
}

/* Adds a piece; -1 where there is no memory for it. */
static int
collect(struct channel *channel, struct mh_text piece)
{
	size_t len = channel->text_len + piece.len;
	size_t size = channel->text_size > 0 ? channel->text_size : TEXT_SIZE;

	while (size < len)
		size *= 2;
	if (size > channel->text_size) {
		char *text = realloc(channel->text, size);

		if (text == NULL)
			return -1;
		channel->text = text;
		channel->text_size = size;
	}
	memcpy(channel->text + channel->text_len, piece.data, piece.len);
	channel->text_len = len;
	return 0;
}

/* ---- TLS ---- */

static int64_t
handshake_limit(const struct channel *channel)
{
	int64_t timeout = (int64_t)channel->origin->options.timeout * 1000;

	return server_of(channel)->now +
	    (timeout < HANDSHAKE_MS ? timeout : HANDSHAKE_MS);
}

static enum step
begin_handshake(struct channel *channel)
{
	channel->phase = PHASE_HANDSHAKE;
	timers_set(&server_of(channel)->timers, &channel->timer,
	    handshake_limit(channel));
	if (tls_accept_cbs(channel->origin->tls, &channel->tls, read_callback,
	    write_callback, channel) != 0) {
		channel->tls = NULL;
		channel->broken = true;
	}
	return STEP_MORE;
}

/* Nothing can be said: it is to be closed at once. */
static enum step
break_off(struct channel *channel)
{
	channel->broken = true;
	channel->phase = PHASE_SESSION;
	mh_drop(channel->session);
	return STEP_MORE;
}

static enum step
shake_hands(struct channel *channel)
{
	int result;

	if (channel->broken || channel->eof || channel->timed_out ||
	    channel->session->dropped || server_of(channel)->stop_at != 0)
		return break_off(channel);
	result = tls_handshake(channel->tls);
	if (tls_waits(result))
		return STEP_BLOCKED;
	if (result != 0)
		return break_off(channel);
	channel->session->tls_version = tls_conn_version(channel->tls);
	channel->session->tls_cipher = tls_conn_cipher(channel->tls);
	/* Does nothing with MH_IMPLICIT_TLS, which the session knows. */
	mh_tls_started(channel->session);
	channel->phase = PHASE_SESSION;
	return STEP_MORE;
}

/* ---- the session's octets ---- */

static enum step
put_out(struct channel *channel, const char *out, size_t len)
{
	ssize_t n = channel_write(channel, out, len);

	if (n > 0)
		mh_went(channel->session, (size_t)n);
	else if (channel->broken)
		return break_off(channel);
	return n > 0 ? STEP_MORE : STEP_BLOCKED;
}

static enum step
take_in(struct channel *channel)
{
	size_t room;
	char *at;
	ssize_t n;

	if (!channel->source.readable)
		return STEP_BLOCKED;
	if (lend(channel) < 0)
		return break_off(channel);
	at = mh_room(channel->session, &room);
	n = at == NULL ? -1 : channel_read(channel, at, room);
	if (channel->broken)
		return break_off(channel);
	if (n > 0)
		mh_came(channel->session, (size_t)n);
	else if (n == 0)
		mh_ended(channel->session, MH_EOF);
	return n >= 0 ? STEP_MORE : STEP_BLOCKED;
}

/* MH_IO. */
static enum step
pass_octets(struct channel *channel)
{
	struct mh_server *server = server_of(channel);
	size_t len;
	const char *out = mh_output(channel->session, &len);

	if (channel->timed_out) {
		channel->timed_out = false;
		/* Once more, by the clock: an answer may have taken long. */
		if (mh_due(channel->session, server->now) > server->now &&
		    (server->stop_at == 0 || server->stop_at > server->now))
			return STEP_MORE;
		/* An idle session, too, has a last word. */
		if (lend(channel) < 0)
			return break_off(channel);
		mh_ended(channel->session, MH_TIMED_OUT);
		return STEP_MORE;
	}
	if (len > 0)
		return put_out(channel, out, len);
	if (channel->session->kind->in_handshake(channel->session))
		return begin_handshake(channel);
	if (server->stop_at != 0 && !channel->stopped) {
		channel->stopped = true;
		if (lend(channel) < 0)
			return break_off(channel);
		mh_ended(channel->session, MH_STOPPING);
		return STEP_MORE;
	}
	return take_in(channel);
}

/* ---- events ---- */

/* MH_DATA of a text that is wanted whole. */
static enum step
take_text(struct channel *channel, const struct mh_event *event)
{
	if (collect(channel, event->text) == 0)
		mh_accept(channel->session);
	else
		mh_reply(channel->session, 452, "4.3.1",
		    "No memory for this message, try again later");
	return STEP_MORE;
}

static enum step
serve_session(struct channel *channel)
{
	struct mh_session *session = channel->session;
	bool stream = (session->flags & MH_STREAM) != 0;
	const struct mh_event *event;

	if (channel->asks_connect) {
		channel->asks_connect = false;
		session_ask_connect(session);
	}
	event = mh_next(session);
	switch (event->type) {
	case MH_IO:
		if ((session->flags & MH_IMPLICIT_TLS) != 0 &&
		    channel->tls == NULL)
			return begin_handshake(channel);
		return pass_octets(channel);
	case MH_CLOSED:
		channel->phase = PHASE_FLUSH;
		timers_set(&server_of(channel)->timers, &channel->timer,
		    server_of(channel)->now + FLUSH_MS);
		return STEP_EVENT;
	case MH_TLS:
		mh_accept(session);
		return STEP_MORE;
	case MH_BEGIN:
		if (stream)
			return STEP_EVENT;
		channel->text_len = 0;
		mh_accept(session);
		return STEP_MORE;
	case MH_DATA:
		return stream ? STEP_EVENT : take_text(channel, event);
	case MH_MESSAGE:
		if (!stream)
			session->event.text = (struct mh_text){
				channel->text, channel->text_len };
		return STEP_EVENT;
	default:
		return STEP_EVENT;
	}
}

/* ---- the end ---- */

static enum step
flush(struct channel *channel)
{
	size_t len;
	const char *out = mh_output(channel->session, &len);

	/* The peer expects TLS: it would not understand a reply in clear. */
	bool mute = (channel->session->flags & MH_IMPLICIT_TLS) != 0 &&
	    channel->tls == NULL;
	if (channel->broken || channel->timed_out || mute ||
	    channel->session->dropped) {
		channel->phase = PHASE_GONE;
		return STEP_MORE;
	}
	if (len > 0) {
		ssize_t n = channel_write(channel, out, len);

		if (n > 0)
			mh_went(channel->session, (size_t)n);
		return n > 0 || channel->broken ? STEP_MORE : STEP_BLOCKED;
	}
	channel->phase = PHASE_NOTIFY;
	timers_set(&server_of(channel)->timers, &channel->timer,
	    server_of(channel)->now + LINGER_MS);
	return STEP_MORE;
}

static enum step
notify(struct channel *channel)
{
	if (channel->tls != NULL && !channel->eof && !channel->broken &&
	    !channel->timed_out && tls_waits(tls_close(channel->tls)) &&
	    !channel->source.writable)
		return STEP_BLOCKED;
	shutdown(channel->fd, SHUT_WR);
	channel->phase = PHASE_LINGER;
	/* Frees memory now: the connection may linger for a while. */
	tls_free(channel->tls);
	channel->tls = NULL;
	origin_take_back(channel->origin, channel->buffers);
	channel->buffers = NULL;
	forget_text(channel);
	return STEP_MORE;
}

/* Unread input would make the kernel reset the connection, and the final reply
 * be lost on its way. */
static enum step
linger(struct channel *channel)
{
	char waste[WASTE_SIZE];
	ssize_t n = 0;

	if (!channel->eof && !channel->broken && !channel->timed_out &&
	    channel->lingered < LINGER_MAX)
		n = receive(channel, waste, sizeof(waste));
	if (n > 0)
		channel->lingered += (size_t)n;
	else if (n == 0 || channel->broken)
		channel->phase = PHASE_GONE;
	return n < 0 && !channel->broken ? STEP_BLOCKED : STEP_MORE;
}

static enum step
serve_once(struct channel *channel)
{
	switch (channel->phase) {
	case PHASE_SESSION:
		return serve_session(channel);
	case PHASE_HANDSHAKE:
		return shake_hands(channel);
	case PHASE_FLUSH:
		return flush(channel);
	case PHASE_NOTIFY:
		return notify(channel);
	case PHASE_LINGER:
		return linger(channel);
	case PHASE_GONE:
		break;
	}
	return STEP_BLOCKED;
}

/* Sets when the channel is to be looked at, if nothing comes before. */
static void
set_timer(struct channel *channel)
{
	struct mh_server *server = server_of(channel);
	int64_t due;

	if (channel->phase != PHASE_SESSION)
		return;
	due = mh_due(channel->session, server->now);
	if (server->stop_at != 0 && !channel->session->asked &&
	    server->stop_at < due)
		due = server->stop_at;
	timers_set(&server->timers, &channel->timer, due);
}

const struct mh_event *
channel_serve(struct channel *channel)
{
	enum step step = STEP_MORE;

	if (channel->phase == PHASE_SESSION && channel->session->asked) {
		/* While the program takes its time, the peer's does not run. */
		channel->timed_out = false;
		return NULL;
	}
	channel->serving = true;
	for (int i = 0; i < STEPS_MAX && step == STEP_MORE &&
	    channel->phase != PHASE_GONE; i++)
		step = serve_once(channel);
	channel->serving = false;
	if (step == STEP_MORE && channel->phase != PHASE_GONE)
		queue_add(server_of(channel), &channel->source);
	if (step == STEP_BLOCKED && channel->phase == PHASE_SESSION)
		give_back(channel);
	set_timer(channel);
	return step == STEP_EVENT ? &channel->session->event : NULL;
}

/* ---- beginning, and going ---- */

static void
answered(void *arg)
{
	struct channel *channel = arg;

	if (!channel->serving)
		queue_add(server_of(channel), &channel->source);
}

/* The peer's numeric address; empty where it has no IP address. */
static void
find_peer(struct channel *channel)
{
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);
	char host[NI_MAXHOST];
	const char *address = host;

	if (getpeername(channel->fd, (struct sockaddr *)&storage, &len) < 0 ||
	    (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) ||
	    getnameinfo((struct sockaddr *)&storage, len, host, sizeof(host),
	    NULL, 0, NI_NUMERICHOST) != 0)
		return;
	/* Link-local ones have a zone behind them, which is ours. */
	host[strcspn(host, "%")] = '\0';
	if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') != NULL)
		address += 7;
	mh_set_peer(channel->session, address);
}

static size_t
session_offset(void)
{
	const size_t align = _Alignof(max_align_t);

	return (sizeof(struct channel) + align - 1) / align * align;
}

static void
prepare_socket(int fd)
{
	const int on = 1;

	/* Fails where it is not TCP, which does no harm. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int
channel_new(struct origin *origin, int fd)
{
	struct mh_server *server = origin->server;
	struct channel *channel = calloc(1, session_offset() +
	    origin->core_size);

	if (channel == NULL)
		return -1;
	channel->origin = origin;
	channel->fd = fd;
	channel->source.readable = channel->source.writable = true;
	channel->session = mh_open((char *)channel + session_offset(), NULL,
	    &origin->options);
	if (lend(channel) < 0 || timers_add(&server->timers, &channel->timer,
	    INT64_MAX) < 0 || poller_add(server->poller, fd, channel) < 0) {
		int saved = errno;

		timers_remove(&server->timers, &channel->timer);
		origin_take_back(origin, channel->buffers);
		free(channel);
		errno = saved;
		return -1;
	}
	channel->session->answered = answered;
	channel->session->owner = channel;
	origin->channels++;
	channel->next = server->channels;
	channel->link = &server->channels;
	if (channel->next != NULL)
		channel->next->link = &channel->next;
	server->channels = channel;
	prepare_socket(fd);
	find_peer(channel);
	channel->asks_connect = true;
	queue_add(server, &channel->source);
	return 0;
}

void
channel_free(struct channel *channel)
{
	struct origin *origin = channel->origin;

	timers_remove(&server_of(channel)->timers, &channel->timer);
	*channel->link = channel->next;
	if (channel->next != NULL)
		channel->next->link = channel->link;
	tls_free(channel->tls);
	poller_remove(server_of(channel)->poller, channel->fd);
	close(channel->fd);
	forget_text(channel);
	origin_take_back(origin, channel->buffers);
	free(channel);
	origin->channels--;
	origin_release(origin);
}
