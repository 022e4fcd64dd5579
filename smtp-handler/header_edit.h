/*
 * header_edit: a message's header as a list of fields, and changes to it.
 *
 * The first field is our own Received line; filters do not see it, and count
 * it only as the place before which index 0 inserts.
 */
#ifndef HEADER_EDIT_H
#define HEADER_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct header_field {
	struct slice name;
	struct slice text; /* all of it with its LFs, folded as it was */
	char *made;        /* header_edit.c's own: what text points to */
};

/* Whatever a filter wants, so many changes, and octets of them. */
#define HEADER_EDIT_CHANGES_MAX 4096
#define HEADER_EDIT_OCTETS_MAX 1048576

struct header_edit {
	struct header_field *fields;
	size_t n;
	size_t length; /* octets of the header in the text it was read from */
	size_t ours;   /* which of the fields is our Received line */
	bool changed;

	/* header_edit.c's own. */
	size_t size;
	size_t changes;
	size_t octets; /* of names and values that came */
};

/*
 * Reads the fields at the beginning of text, which must live as long. The
 * first line that is no field, nor goes on with one, ends the header. False:
 * no memory; header_edit_free is to follow in any case.
 */
bool header_edit_read(struct header_edit *edit, struct slice text);

/* A field's value as a filter is shown it: what stands behind the colon,
 * without its last LF, and with leading_blank with the blank there. */
struct slice header_edit_value(const struct header_field *field,
    bool leading_blank);

/*
 * Changes, in the order they come. value as above; an LF in it that does not
 * fold is made to. False: no memory, or more of them than there may be.
 */
bool header_edit_add(struct header_edit *edit, struct slice name,
    struct slice value, bool leading_blank);
bool header_edit_insert(struct header_edit *edit, uint32_t index,
    struct slice name, struct slice value, bool leading_blank);
/* The index-th of that name, from 1; where there are fewer, one is added. An
 * empty value deletes it, if it is there. */
bool header_edit_change(struct header_edit *edit, uint32_t index,
    struct slice name, struct slice value, bool leading_blank);

/* A header with the fields of another, which can be changed without it; both
 * point into the text that was read. False: no memory, and nothing to free. */
bool header_edit_copy(struct header_edit *to, const struct header_edit *from);

void header_edit_free(struct header_edit *edit);

#endif
