/*
 * header_edit.c - fields, found, added and changed.
 */
#include "header_edit.h"

#include <stdlib.h>
#include <string.h>

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next line with its LF. */
static struct slice
take_line(struct slice *rest)
{
	const char *end = memchr(rest->data, '\n', rest->len);
	struct slice line = { rest->data, end == NULL ? rest->len
	    : (size_t)(end - rest->data) + 1 };

	*rest = slice_skip(*rest, line.len);
	return line;
}

/* RFC 5322 2.2, and blanks before the colon (4.5.8). Empty: no field. */
static struct slice
field_name(struct slice line)
{
	size_t n = 0;

	while (n < line.len && line.data[n] > ' ' && line.data[n] <= '~' &&
	    line.data[n] != ':')
		n++;
	size_t colon = n;
	while (colon < line.len && is_blank(line.data[colon]))
		colon++;
	return (struct slice){ line.data, colon < line.len &&
	    line.data[colon] == ':' ? n : 0 };
}

/* Makes room before field i. */
static struct header_field *
open_place(struct header_edit *edit, size_t i)
{
	if (edit->n == edit->size) {
		size_t size = edit->size > 0 ? edit->size * 2 : 32;
		struct header_field *grown = realloc(edit->fields,
		    size * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		edit->fields = grown;
		edit->size = size;
	}
	memmove(&edit->fields[i + 1], &edit->fields[i],
	    (edit->n - i) * sizeof(edit->fields[0]));
	edit->n++;
	edit->fields[i] = (struct header_field){ .made = NULL };
	return &edit->fields[i];
}

bool
header_edit_read(struct header_edit *edit, struct slice text)
{
	struct slice rest = text;

	*edit = (struct header_edit){ .n = 0 };
	while (rest.len > 0) {
		struct slice before = rest, line = take_line(&rest);

		if (edit->n > 0 && is_blank(line.data[0])) {
			edit->fields[edit->n - 1].text.len += line.len;
			continue;
		}
		struct slice name = field_name(line);
		if (name.len == 0) {
			rest = before;
			break;
		}
		struct header_field *field = open_place(edit, edit->n);
		if (field == NULL)
			return false;
		field->name = name;
		field->text = line;
	}
	edit->length = text.len - rest.len;
	return true;
}

struct slice
header_edit_value(const struct header_field *field, bool leading_blank)
{
	struct slice value = slice_skip(field->text, field->name.len);

	while (value.len > 0 && value.data[0] != ':')
		value = slice_skip(value, 1);
	value = slice_skip(value, 1);
	if (value.len > 0 && value.data[value.len - 1] == '\n')
		value.len--;
	if (!leading_blank && value.len > 0 && is_blank(value.data[0]))
		value = slice_skip(value, 1);
	return value;
}

/* ---- changes ---- */

static bool
may_change(struct header_edit *edit, struct slice name, struct slice value)
{
	edit->octets += name.len + value.len;
	return ++edit->changes <= HEADER_EDIT_CHANGES_MAX &&
	    edit->octets <= HEADER_EDIT_OCTETS_MAX;
}

/* "name: value\n". Whatever the value has in it, it is one field. */
static bool
make(struct header_field *field, struct slice name, struct slice value,
    bool leading_blank)
{
	char *made = malloc(name.len + 3 + 2 * value.len);
	size_t len = 0;

	if (made == NULL)
		return false;
	memcpy(made, name.data, name.len);
	len = name.len;
	made[len++] = ':';
	if (!leading_blank)
		made[len++] = ' ';
	for (size_t i = 0; i < value.len; i++) {
		char c = value.data[i];

		if (c == '\r')
			continue;
		if (c == '\n' && i + 1 == value.len)
			break;
		made[len++] = c;
		if (c == '\n' && !is_blank(value.data[i + 1]))
			made[len++] = '\t';
	}
	made[len++] = '\n';
	free(field->made);
	field->made = made;
	field->name = (struct slice){ made, name.len };
	field->text = (struct slice){ made, len };
	return true;
}

static bool
put_at(struct header_edit *edit, size_t i, struct slice name,
    struct slice value, bool leading_blank)
{
	if (!may_change(edit, name, value))
		return false;
	struct header_field *field = open_place(edit, i);
	edit->changed = true;
	return field != NULL && make(field, name, value, leading_blank);
}

bool
header_edit_add(struct header_edit *edit, struct slice name,
    struct slice value, bool leading_blank)
{
	return put_at(edit, edit->n, name, value, leading_blank);
}

bool
header_edit_insert(struct header_edit *edit, uint32_t index,
    struct slice name, struct slice value, bool leading_blank)
{
	size_t i = index < edit->n ? index : edit->n;

	if (!put_at(edit, i, name, value, leading_blank))
		return false;
	edit->ours += i <= edit->ours;
	return true;
}

bool
header_edit_change(struct header_edit *edit, uint32_t index,
    struct slice name, struct slice value, bool leading_blank)
{
	uint32_t seen = 0;
	size_t i = 0;

	/* libmilter takes 0 for the first, too. */
	if (index == 0)
		index = 1;
	for (; i < edit->n; i++)
		if (i != edit->ours && slice_equal_nocase(
		    edit->fields[i].name, name) && ++seen == index)
			break;
	if (i >= edit->n)
		return value.len == 0 || header_edit_add(edit, name, value,
		    leading_blank);
	if (!may_change(edit, name, value))
		return false;
	edit->changed = true;
	if (value.len > 0)
		return make(&edit->fields[i], name, value, leading_blank);
	edit->ours -= i < edit->ours;
	free(edit->fields[i].made);
	memmove(&edit->fields[i], &edit->fields[i + 1],
	    (--edit->n - i) * sizeof(edit->fields[0]));
	return true;
}

bool
header_edit_copy(struct header_edit *to, const struct header_edit *from)
{
	*to = *from;
	to->size = from->n + 1;
	to->fields = calloc(to->size, sizeof(*to->fields));
	if (to->fields == NULL)
		return false;
	for (to->n = 0; to->n < from->n; to->n++) {
		struct header_field *field = &to->fields[to->n];

		*field = from->fields[to->n];
		if (field->made == NULL)
			continue;
		field->made = malloc(field->text.len);
		if (field->made == NULL) {
			header_edit_free(to);
			return false;
		}
		memcpy(field->made, field->text.data, field->text.len);
		field->name.data = field->text.data = field->made;
	}
	return true;
}

void
header_edit_free(struct header_edit *edit)
{
	for (size_t i = 0; i < edit->n; i++)
		free(edit->fields[i].made);
	free(edit->fields);
	*edit = (struct header_edit){ .n = 0 };
}
