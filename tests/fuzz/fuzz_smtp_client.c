/*
 * fuzz_smtp_client.c - a next hop that answers whatever it likes.
 *
 * The input is what the server sends. Given whole, octet by octet and by
 * chance it must make the same replies, and those that a second reading of
 * it makes; and what we send meanwhile must be whole lines, whatever we were
 * told.
 */
#include "fuzz.h"

#include "protocol/smtp_client.h"

/* ---- one session, noted down ---- */

static void
say_text(struct smtp_client *client)
{
	static const struct slice text = SLICE(".a\n..\n\nb");

	CHECK(smtp_client_text(client, text) == text.len);
	smtp_client_text_end(client);
}

/* What the reply to HELO lists are no extensions. */
static bool
is_plain_hello(unsigned turn)
{
	return turn / 8 % 3 == 1;
}

static void
say_hello(struct smtp_client *client, unsigned turn)
{
	if (is_plain_hello(turn))
		smtp_client_helo(client, "client.example");
	else if (turn / 8 % 3 == 2)
		smtp_client_lhlo(client, "client.example");
	else
		smtp_client_ehlo(client, "client.example");
}

/* By each mechanism in turn. */
static void
say_auth(struct smtp_client *client, struct slice user, unsigned turn)
{
	const struct sasl_client who = { .name = user,
		.secret = SLICE("secret"), .host = SLICE("h"),
		.port = SLICE("25") };
	unsigned step;

	smtp_client_auth(client, (enum sasl_client_mechanism)(1 + turn / 8 %
	    (SASL_CLIENT_MECHANISMS - 1)), &who, &step);
	CHECK(step <= 1);
}

/* A command for each reply, in turn. */
static void
say_next(struct smtp_client *client, struct slice user, unsigned turn)
{
	struct envelope envelope = {
		.reverse_path = SLICE("joe@example.com"), .size = turn,
		.eight_bit = true, .utf8 = true,
		.ret = ENVELOPE_RET_HDRS, .envid = SLICE("an+2Bid"),
	};
	const struct envelope_recipient recipient = {
		.path = SLICE("ann@example.com"),
		.dsn = { turn / 8 % 16, SLICE("rfc822;ann") },
	};

	switch (turn % 8) {
	case 0:
		say_hello(client, turn);
		break;
	case 1:
		smtp_client_starttls(client);
		break;
	case 2:
		say_auth(client, user, turn);
		break;
	case 3:
		CHECK(smtp_client_auth_respond(client, SASL_CLIENT_LOGIN,
		    &(struct sasl_client){ .name = user }, 0));
		break;
	case 4:
		smtp_client_wipe(client);
		if (turn % 16 == 4)
			smtp_client_rset(client);
		else
			smtp_client_quit(client);
		break;
	case 5:
		smtp_client_mail(client, &envelope);
		smtp_client_rcpt(client, &recipient);
		break;
	case 6:
		smtp_client_data(client);
		break;
	case 7:
		say_text(client);
		break;
	}
}

static void
note_extensions(struct text *notes, const struct smtp_extensions *extensions)
{
	text_format(notes, "offers %d%d%d%d%d%d%d %x %ju\n",
	    extensions->pipelining, extensions->size, extensions->eight_bit,
	    extensions->utf8, extensions->dsn, extensions->starttls,
	    extensions->requiretls, extensions->auth,
	    (uintmax_t)extensions->size_max);
}

static void
note_reply(struct text *notes, unsigned code, const char *enhanced,
    struct slice text)
{
	text_format(notes, "%u [%s] ", code, enhanced);
	text_add(notes, text);
	text_add_octet(notes, '\n');
}

static void
check_reply(const struct smtp_client *client)
{
	const struct smtp_reply *reply = &client->reply;

	CHECK(reply->code >= 200 && reply->code <= 599);
	CHECK(reply->text.len <= SMTP_REPLY_TEXT_MAX);
	CHECK(strlen(reply->enhanced) < sizeof(client->enhanced));
	CHECK(reply->enhanced[0] == '\0' ||
	    (reply->enhanced[0] == (char)('0' + reply->code / 100) &&
	    strspn(reply->enhanced, "0123456789.") ==
	    strlen(reply->enhanced)));
}

/* How it ends: a matter of how much there was. */
enum ending { ENDED, TIMED_OUT, STOPPED, ENDINGS };

static enum ending
ending_of(struct slice stream)
{
	return (enum ending)(stream.len % ENDINGS);
}

/* Takes what we say, or lets the server send its next octets, or close. */
static void
pump(struct smtp_client *client, struct slice *rest, enum ending ending,
    struct fuzz_dealer *dealer, struct text *sent)
{
	struct wire *wire = &client->wire;
	struct slice out = buf_contents(&wire->out);
	size_t room;

	if (out.len > 0) {
		size_t n = fuzz_piece(dealer, out.len);
		text_add(sent, (struct slice){ out.data, n });
		buf_consume(&wire->out, n);
		return;
	}
	if (rest->len == 0) {
		/* It knows already, and must say so. */
		CHECK(!wire->eof && !wire->timed_out && !wire->stopping);
		wire->eof = ending == ENDED;
		wire->timed_out = ending == TIMED_OUT;
		wire->stopping = ending == STOPPED;
		return;
	}
	char *at = buf_reserve(&wire->in, &room);
	CHECK(room > 0); /* or nothing would ever go on */
	size_t n = fuzz_piece(dealer, rest->len < room ? rest->len : room);
	memcpy(at, rest->data, n);
	buf_commit(&wire->in, n);
	*rest = slice_skip(*rest, n);
}

/* Whoever reads it sees lines of who said what, and no secret of ours. */
static void
check_shown(struct slice shown)
{
	static const struct slice said = SLICE("< AUTH PLAIN ");

	while (shown.len > 0) {
		struct slice line;

		CHECK(slice_cut(shown, '\n', &line, &shown));
		CHECK(slice_starts_with(line, SLICE("> ")) ||
		    (slice_starts_with(line, SLICE("< ")) &&
		    !slice_has_control(line)));
		if (slice_starts_with(line, said))
			CHECK_SAME(slice_skip(line, said.len),
			    SLICE("(SASL response)"));
	}
}

static void
run(struct slice stream, struct fuzz_dealer dealer, struct text *notes,
    struct text *sent)
{
	static struct smtp_client client;
	static char shown[65536];
	struct buf transcript;
	char *in = malloc(SMTP_CLIENT_IN_MIN);
	char *out = malloc(SMTP_CLIENT_OUT_MIN);
	struct slice rest = stream;
	enum smtp_client_event event;
	unsigned turn = 0;

	CHECK(in != NULL && out != NULL);
	smtp_client_init(&client, in, SMTP_CLIENT_IN_MIN, out,
	    SMTP_CLIENT_OUT_MIN);
	buf_init(&transcript, shown, sizeof(shown));
	client.wire.transcript = &transcript;
	while ((event = smtp_client_next(&client)) != SMTP_CLIENT_BROKEN) {
		if (event == SMTP_CLIENT_WANT_IO) {
			pump(&client, &rest, ending_of(stream), &dealer, sent);
			continue;
		}
		check_reply(&client);
		note_reply(notes, client.reply.code, client.reply.enhanced,
		    client.reply.text);
		say_next(&client, SLICE("joe"), turn);
		if (turn++ % 8 == 1)
			note_extensions(notes, &client.extensions);
		/* Replies that came early must not fill out with what we
		 * say to them. */
		while (buf_contents(&client.wire.out).len > 0)
			pump(&client, &rest, ending_of(stream), &dealer, sent);
	}
	CHECK(client.why != NULL && client.why[0] != '\0');
	text_add(notes, slice_from(client.why));
	check_shown(buf_contents(&transcript));
	free(in);
	free(out);
}

/* ---- the replies, read again ---- */

struct reply {
	unsigned code;
	char enhanced[12];
	struct text text;  /* LF between lines, cut where it is too long */
	unsigned n;        /* lines */
	struct smtp_extensions extensions; /* if it is EHLO's */
};

static bool
is_digits(struct slice s, size_t most)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
	return s.len >= 1 && s.len <= most;
}

/* RFC 3463 section 2: "class.subject.detail", of the reply's class. */
static struct slice
enhanced_code(struct slice text, unsigned code)
{
	struct slice word, class, subject, detail, rest;

	slice_cut(text, ' ', &word, &rest);
	if (!slice_cut(word, '.', &class, &subject) ||
	    !slice_cut(subject, '.', &subject, &detail) ||
	    class.len != 1 || class.data[0] != (char)('0' + code / 100) ||
	    !is_digits(subject, 3) || !is_digits(detail, 3))
		return slice_from(NULL);
	return word;
}

/* The code that all lines have which have one (RFC 2034 section 4) is taken
 * out of the text; where they differ they stay there. */
static void
split_enhanced(struct reply *reply)
{
	struct text text = { .data = NULL };
	struct slice rest = text_slice(&reply->text), line;
	bool differ = false, more = true;

	while (rest.len > 0) {
		slice_cut(rest, '\n', &line, &rest);
		struct slice code = enhanced_code(line, reply->code);
		if (code.len == 0)
			continue;
		differ |= reply->enhanced[0] != '\0' &&
		    !slice_equal(code, slice_from(reply->enhanced));
		memcpy(reply->enhanced, code.data, code.len);
		reply->enhanced[code.len] = '\0';
	}
	if (differ)
		reply->enhanced[0] = '\0';
	rest = text_slice(&reply->text);
	while (more && !differ) {
		more = slice_cut(rest, '\n', &line, &rest);
		struct slice code = enhanced_code(line, reply->code);
		text_add(&text, slice_skip(line, code.len > 0
		    ? code.len + 1 : 0));
		if (more)
			text_add_octet(&text, '\n');
	}
	if (!differ) {
		text_free(&reply->text);
		reply->text = text;
	}
}

enum line { LINE_MORE, LINE_LAST, LINE_BAD };

/* Words are parted by blanks, tabs and "=". */
static size_t
word_len(struct slice words)
{
	size_t n = 0;

	while (n < words.len && words.data[n] != ' ' &&
	    words.data[n] != '\t' && words.data[n] != '=')
		n++;
	return n;
}

static bool
has_word(struct slice words, const char *word)
{
	for (;;) {
		size_t n = word_len(words);

		if (slice_equal_nocase((struct slice){ words.data, n },
		    slice_from(word)))
			return true;
		if (n >= words.len)
			return false;
		words = slice_skip(words, n + 1);
	}
}

/* RFC 5321 4.1.1.1: a keyword a line, from the second on. */
static void
read_keyword(struct slice line, struct smtp_extensions *extensions)
{
	struct slice trimmed = slice_trim(line);
	struct slice keyword = { trimmed.data, word_len(trimmed) };
	struct slice arguments = slice_skip(trimmed, keyword.len + 1);

	extensions->pipelining |= has_word(keyword, "PIPELINING");
	extensions->eight_bit |= has_word(keyword, "8BITMIME");
	extensions->utf8 |= has_word(keyword, "SMTPUTF8");
	extensions->dsn |= has_word(keyword, "DSN");
	extensions->starttls |= has_word(keyword, "STARTTLS");
	extensions->requiretls |= has_word(keyword, "REQUIRETLS");
	if (has_word(keyword, "SIZE")) {
		extensions->size = true;
		if (!slice_to_number(slice_trim(arguments), UINT64_MAX,
		    &extensions->size_max))
			extensions->size_max = 0;
	}
	if (!has_word(keyword, "AUTH"))
		return;
	for (int i = 1; i < SASL_CLIENT_MECHANISMS; i++)
		if (has_word(arguments, sasl_client_name(
		    (enum sasl_client_mechanism)i)))
			extensions->auth |= 1u << i;
}

static enum line
read_line(struct reply *reply, struct slice line)
{
	char code[4] = "";

	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (line.len < 3 || !is_digits((struct slice){ line.data, 3 }, 3))
		return LINE_BAD;
	memcpy(code, line.data, 3);
	unsigned number = (unsigned)atoi(code);
	if (number < 200 || number > 599 ||
	    (reply->n > 0 && number != reply->code) ||
	    reply->n == SMTP_CLIENT_LINES_MAX ||
	    (line.len > 3 && line.data[3] != ' ' && line.data[3] != '-'))
		return LINE_BAD;
	reply->n++;
	reply->code = number;
	if (reply->n > 1)
		text_add_octet(&reply->text, '\n');
	text_add(&reply->text, slice_skip(line, 4));
	if (reply->n > 1 && number / 100 == 2)
		read_keyword(slice_skip(line, 4), &reply->extensions);
	if (reply->text.len > SMTP_REPLY_TEXT_MAX)
		reply->text.len = SMTP_REPLY_TEXT_MAX;
	return line.len == 3 || line.data[3] == ' ' ? LINE_LAST : LINE_MORE;
}

static void
run_again(struct slice stream, struct text *notes)
{
	struct reply reply = { .n = 0 };
	static const char *const whys[ENDINGS] = {
		[ENDED] = "the next hop closed the connection",
		[TIMED_OUT] = "the next hop took too long",
		[STOPPED] = "told to stop",
	};
	const char *why = whys[ending_of(stream)];
	unsigned turn = 0;

	while (stream.len > 0) {
		struct slice line, rest;

		if (!slice_cut(stream, '\n', &line, &rest)) {
			/* However much more of it would come. */
			if (stream.len >= SMTP_CLIENT_IN_MIN)
				why = "over-long reply";
			break;
		}
		stream = rest;
		if (line.len + 1 > SMTP_CLIENT_IN_MIN) {
			why = "over-long reply";
			break;
		}
		enum line outcome = read_line(&reply, line);
		if (outcome == LINE_BAD) {
			why = "malformed reply";
			break;
		}
		if (outcome == LINE_MORE)
			continue;
		split_enhanced(&reply);
		note_reply(notes, reply.code, reply.enhanced,
		    text_slice(&reply.text));
		if (is_plain_hello(turn))
			reply.extensions = (struct smtp_extensions){
				.size = false };
		if (turn++ % 8 == 1)
			note_extensions(notes, &reply.extensions);
		text_free(&reply.text);
		reply = (struct reply){ .n = 0 };
	}
	text_add(notes, slice_from(why));
	text_free(&reply.text);
}

/* ---- what we send ---- */

/* Lines that end in CRLF and have no other CR or LF, and no control
 * characters. */
static void
check_sent(struct slice sent)
{
	while (sent.len > 0) {
		struct slice line;

		CHECK(slice_cut(sent, '\n', &line, &sent));
		CHECK(line.len > 0 && line.data[line.len - 1] == '\r');
		line.len--;
		CHECK(!slice_has_control(line));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum fuzz_deal deals[] = { DEAL_WHOLE, DEAL_OCTETS,
		DEAL_CHANCE };
	struct text stream = { .data = NULL };
	struct text want = { .data = NULL };
	struct text first = { .data = NULL };

	fuzz_expand(fuzz_slice(data, size), 32768, &stream);
	run_again(text_slice(&stream), &want);
	for (size_t i = 0; i < COUNT(deals); i++) {
		struct text notes = { .data = NULL };
		struct text sent = { .data = NULL };

		run(text_slice(&stream), fuzz_dealer(deals[i],
		    text_slice(&stream)), &notes, &sent);
		CHECK_SAME(text_slice(&notes), text_slice(&want));
		check_sent(text_slice(&sent));
		if (i == 0)
			text_add(&first, text_slice(&sent));
		CHECK_SAME(text_slice(&sent), text_slice(&first));
		text_free(&notes);
		text_free(&sent);
	}
	text_free(&stream);
	text_free(&want);
	text_free(&first);
	return 0;
}
