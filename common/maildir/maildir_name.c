/*
 * maildir_name.c - what names in a maildir tell.
 */
#include "maildir/maildir_name.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Without the ",U=7" that mbsync(1) gives every file on its first run: it is
 * the same message as before. */
static struct slice
without_mbsync_uid(struct slice base)
{
	size_t len = base.len;

	while (len > 0 && is_digit(base.data[len - 1]))
		len--;
	if (len < base.len &&
	    slice_ends_with((struct slice){ base.data, len }, SLICE(",U=")))
		base.len = len - 3;
	return base;
}

struct slice
maildir_base_name(struct slice name)
{
	const char *end = name.data + name.len;

	for (const char *at = name.data; at < end &&
	    (at = memchr(at, ':', (size_t)(end - at))) != NULL; at++)
		if (end - at >= 3 && at[1] == '2' && at[2] == ',') {
			name.len = (size_t)(at - name.data);
			break;
		}
	return without_mbsync_uid(name);
}

static struct slice
last_component(struct slice path)
{
	const char *slash = path.len > 0
	    ? memrchr(path.data, '/', path.len) : NULL;

	return slash == NULL ? path
	    : slice_skip(path, (size_t)(slash - path.data) + 1);
}

bool
maildir_holds_mail(struct slice path)
{
	struct slice last = last_component(path);

	return slice_equal(last, SLICE("new")) ||
	    slice_equal(last, SLICE("cur"));
}

struct slice
maildir_folder_path(struct slice path)
{
	if (!maildir_holds_mail(path))
		return path;
	path.len -= last_component(path).len;
	if (path.len > 0)
		path.len--;
	return path;
}

bool
maildir_name_is_foreign(struct slice name)
{
	return slice_starts_with(name, SLICE("dovecot")) ||
	    slice_starts_with(name, SLICE("courier")) ||
	    slice_equal(name, SLICE("maildirsize")) ||
	    slice_equal(name, SLICE("maildirfolder")) ||
	    slice_equal(name, SLICE("subscriptions"));
}

static bool
take_digits(struct slice *s, uint64_t *number)
{
	size_t n = 0;

	while (n < s->len && is_digit(s->data[n]))
		n++;
	if (!slice_to_number((struct slice){ s->data, n }, UINT64_MAX,
	    number))
		return false;
	*s = slice_skip(*s, n);
	return true;
}

static bool
take_literal(struct slice *s, struct slice literal)
{
	if (!slice_starts_with(*s, literal))
		return false;
	*s = slice_skip(*s, literal.len);
	return true;
}

bool
maildir_name_sizes(struct slice base, uint64_t *size, uint64_t *octets)
{
	uint64_t number;
	size_t random = 0;
	struct slice host;

	if (!take_digits(&base, &number) ||
	    !take_literal(&base, SLICE(".M")) ||
	    !take_digits(&base, &number) ||
	    !take_literal(&base, SLICE("P")) ||
	    !take_digits(&base, &number) || !take_literal(&base, SLICE("_")))
		return false;
	while (random < base.len &&
	    strchr("0123456789abcdef", base.data[random]) != NULL)
		random++;
	base = slice_skip(base, random);
	if (random == 0 || !take_literal(&base, SLICE(".")) ||
	    !slice_cut(base, ',', &host, &base) || host.len == 0)
		return false;
	return take_literal(&base, SLICE("S=")) && take_digits(&base, size) &&
	    take_literal(&base, SLICE(",W=")) &&
	    take_digits(&base, octets) && base.len == 0 &&
	    *octets >= *size && *octets >= 2 && *size < UINT64_MAX / 4 &&
	    *octets <= 2 * *size + 2;
}
