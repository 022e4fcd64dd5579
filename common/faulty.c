/*
 * faulty.c - carries out the failures of --faults.
 */
#include "faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "system/clock.h"
#include "system/faults_count.h"
#include "system/file.h"
#include "system/log.h"
#include "system/process.h"

/* At a limited rate octets pass in so many portions a second. */
#define TURNS 10

int
faulty_init(struct faulty *faulty, const char *file, struct error *error)
{
	memset(faulty, 0, sizeof(*faulty));
	if (file == NULL)
		return 0;
	const char *path = file_path(file, faulty->path,
	    sizeof(faulty->path), error);
	return path == NULL ? -1 : faults_read(&faulty->faults, path, NULL,
	    error);
}

void
faulty_close(struct faulty *faulty)
{
	faults_free(&faulty->faults);
}

int
faulty_check(const char *file)
{
	struct faults faults = { .n = 0 };
	struct error error;
	char buffer[4096];
	const char *path = file_path(file, buffer, sizeof(buffer), &error);

	if (path == NULL) {
		log_error(&error);
		return -1;
	}
	int result = faults_read(&faults, path, log_error, &error);
	if (faults_count_check(&faults, &error) < 0) {
		log_error(&error);
		result = -1;
	}
	faults_free(&faults);
	return result;
}

/* ---- is there a failure for this event? ---- */

static int64_t
milliseconds_of_day(void)
{
	struct timespec now;

	/* Not the monotonic clock: counts are shared by all sessions, and
	 * outlive a restart of the machine. */
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first that matches and is due; NULL: none. */
static const struct fault *
find_fault(const struct faults *faults, enum fault_event event,
    const struct slice *subjects, size_t n)
{
	struct error error;

	for (size_t i = 0; i < faults->n; i++) {
		const struct fault *fault = &faults->items[i];
		bool due;

		if (!fault_matches(fault, event, subjects, n))
			continue;
		if (fault_count(faults, fault, milliseconds_of_day(), &due,
		    &error) < 0)
			log_error(&error);
		else if (due)
			return fault;
	}
	return NULL;
}

static void
log_fault(const struct faults *faults, const struct fault *fault,
    struct slice subject)
{
	char text[600];

	log_begin(LOG_KIND_FAULT);
	snprintf(text, sizeof(text), "%s:%u", error_tail(faults->path, 200),
	    fault->line);
	log_add(LOG_FIELD_FILE, slice_from(text));
	snprintf(text, sizeof(text), "%s %.*s",
	    fault_event_name(fault->event), SLICE_ARG(subject));
	log_add(LOG_FIELD_LINE, slice_from(text));
	log_add(LOG_FIELD_REASON, slice_from(fault->what));
	log_send();
}

static void
wait_for(int64_t milliseconds)
{
	int64_t deadline = clock_now() + milliseconds;
	int64_t left;

	while ((left = deadline - clock_now()) > 0 &&
	    !process_stop_requested())
		process_wait(left);
}

static int
end_session(const char *what, struct error *error)
{
	return error_set(error, ERROR_PEER, "fault: %s", what);
}

static void
limit(struct faulty *faulty, const struct fault *fault, uint64_t octets)
{
	if (fault->event == FAULT_DATA && fault->action == FAULT_DROP) {
		faulty->text_limited = true;
		faulty->text_left = octets;
		return;
	}
	faulty->limited = true;
	faulty->left = octets;
	/* RETR and TOP: octets of the message, without the +OK line. */
	faulty->after_line = fault->action == FAULT_DROP &&
	    (fault->event == FAULT_RETR || fault->event == FAULT_TOP);
}

int
faulty_meet(struct faulty *faulty, enum fault_event event,
    const struct slice *subjects, size_t n, const struct fault **refusal,
    struct error *error)
{
	*refusal = NULL;
	const struct fault *fault = find_fault(&faulty->faults, event,
	    subjects, n);
	if (fault == NULL)
		return 0;
	log_fault(&faulty->faults, fault, subjects[0]);
	if (fault->delay > 0)
		wait_for((int64_t)fault->delay);
	switch (fault->action) {
	case FAULT_NOTHING:
		break;
	case FAULT_REPLY:
		*refusal = fault;
		break;
	case FAULT_DROP:
		if (!fault->has_octets)
			return end_session("drop", error);
		limit(faulty, fault, fault->octets);
		break;
	case FAULT_SLOW:
		faulty->rate = fault->octets;
		faulty->scope = event == FAULT_CONNECT || event == FAULT_LOGIN
		    ? FAULTY_SESSION : event == FAULT_DATA ? FAULTY_TEXT
		    : FAULTY_REPLY;
		break;
	case FAULT_LOSE_REPLY:
		limit(faulty, fault, 0);
		break;
	}
	return 0;
}

int
faulty_take_text(struct faulty *faulty, size_t octets, struct error *error)
{
	if (!faulty->text_limited)
		return 0;
	if (octets >= faulty->text_left)
		return end_session("drop", error);
	faulty->text_left -= octets;
	return 0;
}

void
faulty_end_text(struct faulty *faulty)
{
	faulty->text_limited = false;
	if (faulty->scope == FAULTY_TEXT)
		faulty->rate = 0;
}

/* ---- what passes ---- */

bool
faulty_is_limited(const struct faulty *faulty)
{
	return faulty->limited;
}

/* How much may pass at once. */
static size_t
piece(const struct faulty *faulty, size_t len)
{
	uint64_t turn = faulty->rate / TURNS > 0 ? faulty->rate / TURNS : 1;

	return faulty->rate > 0 && turn < len ? (size_t)turn : len;
}

/* The time that so many octets take. */
static void
take_time(const struct faulty *faulty, size_t octets)
{
	if (faulty->rate > 0)
		wait_for((int64_t)(octets * 1000 / faulty->rate));
}

/* The first so many octets of out, and nothing else. */
static int
flush_piece(struct conn *conn, struct wire *wire, size_t len,
    struct error *error)
{
	struct wire part = *wire;

	part.out.end = part.out.start + len;
	int result = conn_flush(conn, &part, error);
	if (result == 0)
		buf_consume(&wire->out, len);
	return result;
}

int
faulty_flush(struct faulty *faulty, struct conn *conn, struct wire *wire,
    struct error *error)
{
	struct slice out;

	if (faulty->rate == 0 && !faulty->limited)
		return conn_flush(conn, wire, error);
	while ((out = buf_contents(&wire->out)).len > 0) {
		if (faulty->after_line) {
			const char *end = memchr(out.data, '\n', out.len);

			faulty->left += end == NULL ? out.len
			    : (size_t)(end - out.data) + 1;
			faulty->after_line = end == NULL;
		}
		size_t len = piece(faulty, out.len);
		if (faulty->limited && len > faulty->left)
			len = (size_t)faulty->left;
		if (len > 0 && flush_piece(conn, wire, len, error) < 0)
			return -1;
		if (faulty->limited && (faulty->left -= len) == 0)
			return end_session("as many octets as were ordered",
			    error);
		take_time(faulty, len);
	}
	return 0;
}

/* Reads no more at once than the rate allows. */
static int
read_slowly(struct faulty *faulty, struct conn *conn, struct wire *wire,
    struct error *error)
{
	struct buf *in = &wire->in;
	size_t size = in->size, room;

	buf_reserve(in, &room);
	size_t before = buf_contents(in).len;
	in->size = in->end + piece(faulty, room);
	int result = conn_pump(conn, wire, error);
	in->size = size;
	take_time(faulty, buf_contents(in).len - before);
	return result;
}

int
faulty_pump(struct faulty *faulty, struct conn *conn, struct wire *wire,
    struct error *error)
{
	if (faulty->rate == 0 && !faulty->limited)
		return conn_pump(conn, wire, error);
	if (buf_contents(&wire->out).len > 0)
		return faulty_flush(faulty, conn, wire, error);
	/* All of the reply went: it was shorter than the limit. */
	if (faulty->limited)
		return end_session("drop", error);
	if (faulty->scope == FAULTY_REPLY)
		faulty->rate = 0;
	return faulty->rate > 0 ? read_slowly(faulty, conn, wire, error)
	                        : conn_pump(conn, wire, error);
}

/* ---- the texts of refusals ---- */

struct smtp_reply
faulty_smtp_reply(const struct fault *fault)
{
	struct smtp_reply reply = fault->reply;

	/* Only a text for POP3 was given: 451 with its words, without its
	 * response code. */
	if (reply.code == 0) {
		reply.code = 451;
		if (reply.text.len > 0 && reply.text.data[0] == '[') {
			struct slice code;

			slice_cut(reply.text, ']', &code, &reply.text);
			reply.text = slice_trim(reply.text);
		}
	}
	if (reply.enhanced == NULL)
		reply.enhanced = reply.code / 100 == 4 ? "4.0.0" : "5.0.0";
	if (reply.text.len == 0)
		reply.text = reply.code / 100 == 4 ? SLICE("Try again later")
		                                   : SLICE("Refused");
	return reply;
}

const char *
faulty_pop3_text(const struct fault *fault, char text[FAULTY_TEXT_MAX])
{
	const struct smtp_reply *reply = &fault->reply;
	bool later = reply->code / 100 == 4;
	/* RFC 3206: [AUTH] where a login is refused for good. */
	const char *code = reply->code == 0 ? "" : later ? "[SYS/TEMP] "
	    : fault->event == FAULT_LOGIN ? "[AUTH] " : "[SYS/PERM] ";

	struct slice words = reply->text.len > 0 ? reply->text
	    : later ? SLICE("Try again later") : SLICE("Refused");

	snprintf(text, FAULTY_TEXT_MAX, "%s%.*s", code, SLICE_ARG(words));
	return text;
}
