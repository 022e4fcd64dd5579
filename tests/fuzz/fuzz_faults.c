/*
 * fuzz_faults.c - the lines of --faults.
 *
 * What is accepted is in its limits, and written down again from what it
 * means it means the same; each line that is wrong is told once.
 */
#include "fuzz.h"

#include "system/faults.h"

static unsigned wrong_lines;

static void
count_wrong(const struct error *error)
{
	CHECK(error->kind == ERROR_CONFIG);
	CHECK(strncmp(error->text, "f:", 2) == 0);
	wrong_lines++;
}

static void
write_down(struct text *line, const struct fault *fault)
{
	text_format(line, "%s %s", fault_event_name(fault->event),
	    fault->pattern);
	if (fault->when == FAULT_FIRST)
		text_format(line, " first %ju", (uintmax_t)fault->n);
	if (fault->when == FAULT_EACH)
		text_format(line, " every %ju", (uintmax_t)fault->n);
	if (fault->when == FAULT_OVER)
		text_format(line, " over %ju per %ju", (uintmax_t)fault->n,
		    (uintmax_t)fault->seconds);
	if (fault->delay > 0 || fault->action == FAULT_NOTHING)
		text_format(line, " delay %ju.%03u%s",
		    (uintmax_t)fault->delay / 1000,
		    (unsigned)(fault->delay % 1000),
		    fault->action != FAULT_NOTHING ? " then" : "");
	switch (fault->action) {
	case FAULT_NOTHING:
		break;
	case FAULT_REPLY:
		if (fault->reply.code != 0)
			text_format(line, " %u %s", fault->reply.code,
			    fault->reply.enhanced != NULL
			    ? fault->reply.enhanced : "");
		else
			text_add(line, SLICE(" -ERR"));
		text_add_octet(line, ' ');
		text_add(line, fault->reply.text);
		break;
	case FAULT_DROP:
		text_add(line, SLICE(" drop"));
		if (fault->has_octets)
			text_format(line, " %ju", (uintmax_t)fault->octets);
		break;
	case FAULT_SLOW:
		text_format(line, " slow %ju", (uintmax_t)fault->octets);
		break;
	case FAULT_LOSE_REPLY:
		text_add(line, SLICE(" lose-reply"));
		break;
	}
	text_add_octet(line, '\0');
}

static void
check_limits(const struct fault *fault)
{
	CHECK(fault->delay <= (uint64_t)FAULTS_SECONDS_MAX * 1000 + 999);
	CHECK(fault->when == FAULT_ALWAYS || fault->when == FAULT_OVER ||
	    fault->n > 0);
	CHECK(fault->when != FAULT_OVER || fault->seconds > 0);
	CHECK(fault->action != FAULT_SLOW || fault->octets > 0);
	CHECK(fault->pattern[0] != '\0');
	CHECK(fault->reply.code == 0 || (fault->reply.code >= 400 &&
	    fault->reply.code < 600));
	if (fault->reply.enhanced != NULL && fault->reply.enhanced[0] != '\0')
		CHECK((unsigned)(fault->reply.enhanced[0] - '0') ==
		    fault->reply.code / 100);
}

static void
check_again(const struct fault *fault)
{
	struct text line = { .data = NULL };
	struct faults again;
	struct error error;

	write_down(&line, fault);
	CHECK(faults_parse(&again, "f", line.data, line.len - 1, NULL,
	    &error) == 0);
	CHECK(again.n == 1);
	const struct fault *same = &again.items[0];
	CHECK(same->event == fault->event && same->when == fault->when &&
	    same->n == fault->n && same->seconds == fault->seconds &&
	    same->delay == fault->delay && same->action == fault->action &&
	    same->has_octets == fault->has_octets &&
	    same->octets == fault->octets &&
	    same->reply.code == fault->reply.code);
	CHECK(strcmp(same->pattern, fault->pattern) == 0);
	CHECK_SAME(same->reply.text, fault->reply.text);
	faults_free(&again);
	text_free(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = fuzz_slice(data, size), ignored;
	struct slice subject = SLICE("anna@example.org");
	struct faults faults;
	struct error error;
	unsigned lines = 1;

	slice_cut(input, '\0', &input, &ignored);
	char *text = malloc(input.len + 1);
	CHECK(text != NULL);
	if (input.len > 0)
		memcpy(text, input.data, input.len);
	text[input.len] = '\0';
	for (size_t i = 0; i < input.len; i++)
		lines += input.data[i] == '\n';
	wrong_lines = 0;
	int result = faults_parse(&faults, "f", text, input.len, count_wrong,
	    &error);
	CHECK((result == 0) == (wrong_lines == 0));
	CHECK(faults.n + wrong_lines <= lines);
	for (size_t i = 0; i < faults.n; i++) {
		check_limits(&faults.items[i]);
		check_again(&faults.items[i]);
		fault_matches(&faults.items[i], faults.items[i].event,
		    &subject, 1);
	}
	faults_free(&faults);
	free(text);
	return 0;
}
