/*
 * fuzz_session.c - the library's sessions: octets and calls in any order.
 *
 * The input's first octet chooses the protocol, the next two flags. Then
 * come calls: an octet that chooses one, and what it takes. The right ones
 * are made as well as the wrong ones, at any time: no call may end the
 * process, a wrong one must say so, each accepted sender gets one end, and at
 * the end of input the session must come to its own.
 */
#include "fuzz.h"

#include "library/mailhandlers.h"

#define STEPS_MAX 100000

struct run {
	struct mh_session *session;
	char *core;
	char *buffers[2];
	size_t buffers_size;
	int lent; /* which buffers it has; -1: none */
	enum mh_protocol protocol;
	uint64_t maildrop[3];
	size_t senders, ends;
	bool in_handshake;
	bool dropped;
	bool closed;
};

static bool
asks(const struct mh_event *event)
{
	return event->type != MH_IO && event->type != MH_CLOSED;
}

/* What holds at any time; the event that is next. */
static const struct mh_event *
look(struct run *run)
{
	const struct mh_event *event = mh_next(run->session);
	size_t len;

	CHECK(event != NULL && event == mh_next(run->session));
	CHECK(event->session == run->session);
	CHECK(event->type <= MH_UPDATE && event->type != MH_CONNECT);
	if (run->closed)
		CHECK(event->type == MH_CLOSED);
	if (event->type == MH_CLOSED && !run->closed) {
		CHECK(run->senders == run->ends);
		run->closed = true;
	}
	CHECK(run->senders == run->ends || run->senders == run->ends + 1);
	/* Between the go-ahead and the handshake nothing is asked. */
	if (run->in_handshake)
		CHECK(!asks(event));
	const char *out = mh_output(run->session, &len);
	CHECK((out == NULL) == (len == 0));
	if (run->dropped)
		CHECK(len == 0);
	if (asks(event))
		CHECK(!mh_idle(run->session));
	return event;
}

/* A question was answered, which it was; accepted or not. */
static void
answered(struct run *run, struct mh_event event, bool yes)
{
	if (event.type == MH_SENDER && yes)
		run->senders++;
	if (event.type == MH_RESET ||
	    (event.type == MH_MESSAGE && event.index == 0))
		run->ends++;
	if (event.type == MH_TLS && yes)
		run->in_handshake = true;
}

static void
call_accept(struct run *run)
{
	const struct mh_event event = *look(run);
	int result = mh_accept(run->session);

	if (event.type == MH_CLOSED)
		CHECK(result == 0);
	else
		CHECK((result == 0) == (asks(&event) &&
		    event.type != MH_UIDL));
	if (result == 0 && event.type != MH_CLOSED)
		answered(run, event, true);
}

static void
call_refuse(struct run *run, unsigned octet)
{
	static const char *const texts[] = { NULL, "", "no", "a\nb\rc\t\x7F",
		"\xC3\xA4" };
	const struct mh_event event = *look(run);
	int result = mh_refuse(run->session, (enum mh_why)(octet % 8),
	    texts[octet / 8 % COUNT(texts)]);
	bool may = asks(&event) && octet % 8 <= MH_LATER &&
	    event.type != MH_RESET && event.type != MH_NOTE;

	CHECK((result == 0) == may);
	if (result == 0)
		answered(run, event, false);
}

static void
call_reply(struct run *run, unsigned octet)
{
	static const struct { unsigned code; const char *enhanced; } rows[] = {
		{ 250, "2.0.0" }, { 250, NULL }, { 550, "5.7.1" },
		{ 421, "4.3.2" }, { 521, NULL }, { 451, "4.999.999" },
		{ 250, "5.0.0" }, { 354, NULL }, { 0, NULL }, { 999, NULL },
		{ 550, "nonsense" }, { 235, "2.7.0" },
	};
	const struct mh_event event = *look(run);
	size_t i = octet % COUNT(rows);
	bool good = i < 6 || i == 11;
	int result = mh_reply(run->session, rows[i].code, rows[i].enhanced,
	    "text\nof two lines");
	bool may = good && run->protocol != MH_POP3 && asks(&event) &&
	    event.type != MH_RESET && event.type != MH_NOTE;

	CHECK((result == 0) == may);
	if (result == 0)
		answered(run, event, rows[i].code < 300);
}

static void
call_pop3(struct run *run, unsigned which, unsigned octet)
{
	static const char text[] = "Subject: x\n\n.line\r\nanother\rend";
	const struct mh_event event = *look(run);
	bool pop3 = run->protocol == MH_POP3;
	int result = 0;

	switch (which) {
	case 0:
		for (size_t i = 0; i < COUNT(run->maildrop); i++)
			run->maildrop[i] = octet * 31 + i;
		result = mh_maildrop(run->session, run->maildrop,
		    octet % (COUNT(run->maildrop) + 1));
		CHECK((result == 0) == (pop3 && event.type == MH_LOGIN));
		break;
	case 1:
		result = mh_uidl(run->session, octet % 4 == 0 ? "" : "id");
		CHECK((result == 0) == (pop3 && event.type == MH_UIDL &&
		    octet % 4 != 0));
		break;
	case 2:
		for (unsigned i = 0; i < octet; i++) {
			size_t n = mh_send(run->session, text,
			    sizeof(text) - 1);
			CHECK(n <= sizeof(text) - 1);
			CHECK(n == 0 || event.type == MH_RETRIEVE);
		}
		break;
	default:
		result = mh_sent(run->session, octet % 2 == 0);
		if (event.type != MH_RETRIEVE)
			CHECK(result == -1);
		break;
	}
	mh_is_deleted(run->session, octet);
}

static void
call_lend(struct run *run, unsigned octet)
{
	if (octet % 2 == 0) {
		bool idle = mh_idle(run->session);

		mh_lend(run->session, NULL);
		if (idle && run->lent >= 0) {
			/* They are somebody else's now. */
			memset(run->buffers[run->lent], 0x55,
			    run->buffers_size);
			run->lent = -1;
		}
		return;
	}
	int which = octet / 2 % 2;
	mh_lend(run->session, run->buffers[which]);
	if (run->lent < 0)
		run->lent = which;
}

static void
call_read(struct run *run, struct slice *input)
{
	size_t n = fuzz_octet(input);
	size_t room;
	const struct mh_event *event = look(run);
	char *at = mh_room(run->session, &room);

	CHECK((at == NULL) == (room == 0));
	if (asks(event) || run->in_handshake || run->lent < 0)
		CHECK(at == NULL);
	if (n > input->len)
		n = input->len;
	if (at != NULL && n <= room) {
		memcpy(at, input->data, n);
		mh_came(run->session, n);
	} else {
		mh_came(run->session, room + 1);
	}
	*input = slice_skip(*input, n);
}

static void
call_facts(struct run *run)
{
	char out[64];

	look(run);
	CHECK(mh_version() == MH_VERSION);
	CHECK(mh_measure("x\n.", 3) == strlen("x\r\n.\r\n"));
	CHECK(mh_data(run->session) == NULL || mh_data(run->session) == run);
	mh_set_data(run->session, run);
	CHECK(mh_data(run->session) == run);
	CHECK(mh_set_peer(run->session, "") == -1);
	CHECK(mh_set_peer(run->session, "[192.0.2.1]") == -1);
	CHECK(mh_set_peer(run->session, "2001:db8::1") == 0);
	for (int fact = MH_HELO; fact <= MH_PROTOCOL + 1; fact++) {
		struct mh_text text = mh_get(run->session,
		    (enum mh_fact)fact);
		CHECK(text.len <= 4096);
		if (text.len > 0)
			CHECK(text.data[0] == text.data[0]);
	}
	for (size_t i = 0; i <= mh_recipients(run->session); i++)
		CHECK((mh_recipient(run->session, i).len > 0) ==
		    (i < mh_recipients(run->session)));
	mh_received(run->session, "id", 0, out, sizeof(out));
}

static void
call(struct run *run, struct slice *input)
{
	unsigned which = fuzz_octet(input);
	size_t len;

	switch (which % 24) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6:
		call_read(run, input);
		break;
	case 7: case 8: case 9:
		call_accept(run);
		break;
	case 10:
		call_refuse(run, fuzz_octet(input));
		break;
	case 11:
		call_reply(run, fuzz_octet(input));
		break;
	case 12:
		/* Not too often, for then nothing more is to be found. */
		if (fuzz_octet(input) != 'd')
			break;
		look(run);
		run->dropped |= !run->closed;
		run->in_handshake = false;
		mh_drop(run->session);
		break;
	case 13: case 14: case 15:
		mh_output(run->session, &len);
		mh_went(run->session, which % 24 == 13 ? fuzz_octet(input)
		    : len);
		break;
	case 16:
		call_lend(run, fuzz_octet(input));
		break;
	case 17: case 18: case 19: case 20:
		call_pop3(run, which % 24 - 17, fuzz_octet(input));
		break;
	case 21:
		look(run);
		if (mh_tls_started(run->session) == 0) {
			CHECK(run->in_handshake);
			run->in_handshake = false;
		}
		break;
	case 22:
		call_facts(run);
		break;
	default:
		mh_due(run->session, (int64_t)fuzz_octet(input) * 1000 + 1);
		break;
	}
	look(run);
}

/* The peer leaves, or takes too long, or the program is to stop: the session
 * must end, however the program answers. */
static void
finish(struct run *run, enum mh_end why)
{
	const struct mh_event *event;
	size_t len;

	look(run);
	mh_output(run->session, &len);
	/* Nobody reads what is left. */
	run->dropped |= why == MH_TIMED_OUT && len > 0 && !run->closed;
	mh_ended(run->session, why);
	for (int i = 0; (event = look(run))->type != MH_CLOSED; i++) {
		CHECK(i < STEPS_MAX);
		mh_output(run->session, &len);
		mh_went(run->session, len);
		if (event->type == MH_UIDL)
			CHECK(mh_uidl(run->session, "x") == 0);
		else if (asks(event))
			call_accept(run);
	}
	CHECK(run->senders == run->ends);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum mh_end ends[] = { MH_EOF, MH_TIMED_OUT,
		MH_STOPPING };
	struct slice input = fuzz_slice(data, size);
	struct mh_options options = { .size = sizeof(options),
		.hostname = "mx.example", .max_recipients = 3 };
	struct run run = { .lent = 0 };

	options.protocol = run.protocol =
	    (enum mh_protocol)(fuzz_octet(&input) % 3);
	options.flags = fuzz_octet(&input);
	options.flags |= fuzz_octet(&input) << 8;
	options.max_size = (options.flags & MH_STREAM) != 0 ? 40 : 0;
	run.buffers_size = mh_buffers_size(&options);
	run.core = malloc(mh_core_size(&options));
	run.buffers[0] = malloc(run.buffers_size);
	run.buffers[1] = malloc(run.buffers_size);
	CHECK(run.core != NULL && run.buffers[0] != NULL &&
	    run.buffers[1] != NULL);
	run.session = mh_open(run.core, run.buffers[0], &options);
	CHECK(run.session != NULL);
	while (input.len > 0)
		call(&run, &input);
	finish(&run, ends[size % COUNT(ends)]);
	free(run.core);
	free(run.buffers[0]);
	free(run.buffers[1]);
	return 0;
}
