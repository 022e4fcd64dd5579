/*
 * pop3_faults.c - POP3's events for --faults, and their subjects.
 */
#include "pop3_faults.h"

#include <string.h>

/* The peer, and its address alone. */
#define PEER_SUBJECTS(peer) \
	{ slice_from((peer)->name), slice_from((peer)->address) }

int
pop3_faults_connect(struct program *program, struct pop3 *pop3, bool *done,
    struct error *error)
{
	const struct slice subjects[] = PEER_SUBJECTS(&program->peer);
	const struct fault *refusal;
	char text[FAULTY_TEXT_MAX];

	*done = false;
	if (program_fault(program, &pop3->wire, FAULT_CONNECT, subjects, 2,
	    &refusal, error) < 0)
		return -1;
	if (refusal == NULL)
		return 0;
	wire_format(&pop3->wire, "-ERR %s", faulty_pop3_text(refusal, text));
	*done = true;
	return 0;
}

/* Which event a command is, and whose number it is about; false: none. */
static bool
find_event(const struct pop3 *pop3, enum fault_event *event, bool *numbered)
{
	static const struct { struct slice verb; enum fault_event event; }
	    rows[] = {
		{ SLICE("STLS"), FAULT_STARTTLS },
		{ SLICE("STAT"), FAULT_STAT }, { SLICE("LIST"), FAULT_LIST },
		{ SLICE("UIDL"), FAULT_UIDL }, { SLICE("RETR"), FAULT_RETR },
		{ SLICE("TOP"), FAULT_TOP }, { SLICE("DELE"), FAULT_DELE },
		{ SLICE("QUIT"), FAULT_QUIT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (slice_equal(pop3->verb, rows[i].verb)) {
			*event = rows[i].event;
			*numbered = *event >= FAULT_LIST &&
			    pop3->argument.len > 0;
			return true;
		}
	return false;
}

static void
remember_user(struct pop3_faults *faults, struct slice user)
{
	/* A longer name matches "*" alone. */
	faults->user_len = user.len < sizeof(faults->user) ? user.len : 0;
	if (faults->user_len > 0)
		memcpy(faults->user, user.data, faults->user_len);
}

int
pop3_faults_event(struct pop3_faults *faults, struct program *program,
    struct pop3 *pop3, enum pop3_event event, bool *done, struct error *error)
{
	enum fault_event what = FAULT_LOGIN;
	bool numbered = false;
	const struct fault *refusal;
	char text[FAULTY_TEXT_MAX];

	*done = false;
	if (event == POP3_LOGIN)
		remember_user(faults, pop3->user);
	else if (event != POP3_COMMAND ||
	    !find_event(pop3, &what, &numbered))
		return 0;
	struct slice subject = { faults->user, faults->user_len }, rest;
	/* TOP's number, without the lines. */
	if (numbered)
		slice_cut(pop3->argument, ' ', &subject, &rest);
	if (program_fault(program, &pop3->wire, what, &subject, 1, &refusal,
	    error) < 0)
		return -1;
	if (refusal != NULL) {
		pop3_refuse_with(pop3, slice_from(faulty_pop3_text(refusal,
		    text)));
		*done = true;
	} else if (event == POP3_COMMAND) {
		pop3_go_on(pop3);
		*done = true;
	}
	return 0;
}
