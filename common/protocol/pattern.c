/*
 * pattern.c - from a name that a peer sent to a path, carefully.
 */
#include "protocol/pattern.h"

#include <string.h>

bool
pattern_has_name(const char *pattern)
{
	for (const char *at = pattern; (at = strchr(at, '%')) != NULL;
	    at += 2) {
		if (at[1] == 'u' || at[1] == 'l' || at[1] == 'n' ||
		    at[1] == 'd')
			return true;
		if (at[1] == '\0')
			break;
	}
	return false;
}

bool
pattern_is_valid(const char *pattern)
{
	for (const char *at = pattern; (at = strchr(at, '%')) != NULL;
	    at += 2)
		if (at[1] == '\0' || strchr("ulnd%", at[1]) == NULL)
			return false;
	return true;
}

/* C1 controls, U+0080 to U+009F, as UTF-8: terminals act on them. */
static bool
has_c1(struct slice name)
{
	for (size_t i = 0; i + 1 < name.len; i++)
		if ((unsigned char)name.data[i] == 0xC2 &&
		    ((unsigned char)name.data[i + 1] & 0xE0) == 0x80)
			return true;
	return false;
}

static bool
is_safe(struct slice name)
{
	return name.len >= 1 && name.len <= 255 && name.data[0] != '.' &&
	    memchr(name.data, '/', name.len) == NULL &&
	    !slice_has_control(name) && !has_c1(name);
}

/* Appends s, in lower case; false where it does not fit. */
static bool
put(char *path, size_t size, size_t *len, struct slice s)
{
	if (s.len >= size - *len)
		return false;
	for (size_t i = 0; i < s.len; i++)
		path[(*len)++] = slice_lower(s.data[i]);
	path[*len] = '\0';
	return true;
}

int
pattern_expand(const char *pattern, struct slice name, const char *hostname,
    char *path, size_t size, struct error *error)
{
	struct slice local = name;
	struct slice domain = slice_from(hostname);
	size_t len = 0;
	const char *at = name.len > 0 ? memrchr(name.data, '@', name.len)
	                              : NULL;

	if (at != NULL) {
		local.len = (size_t)(at - name.data);
		domain = slice_skip(name, local.len + 1);
	}
	path[0] = '\0';
	for (const char *p = pattern; *p != '\0'; p++) {
		if (*p != '%') {
			/* The pattern's own letters keep their case. */
			if (len + 1 >= size)
				goto too_long;
			path[len++] = *p;
			path[len] = '\0';
			continue;
		}
		p++;
		struct slice part = *p == 'u' || *p == 'l' ? name
		    : *p == 'n' ? local
		    : *p == 'd' ? domain : SLICE("%");
		if (!is_safe(part))
			return error_set(error, ERROR_PEER,
			    "this name cannot be part of a path");
		if (!put(path, size, &len, part))
			goto too_long;
	}
	return 0;
too_long:
	return error_set(error, ERROR_CONFIG, "--maildir: path too long");
}

bool
pattern_has_login(const char *pattern)
{
	for (const char *at = pattern; (at = strchr(at, '%')) != NULL &&
	    at[1] != '\0'; at += 2)
		if (at[1] == 'l')
			return true;
	return false;
}

/* Puts a name into a pattern: each % in it is doubled. */
static bool
put_quoted(char *pattern, size_t size, size_t *len, struct slice name)
{
	struct slice before;

	while (slice_cut(name, '%', &before, &name))
		if (!put(pattern, size, len, before) ||
		    !put(pattern, size, len, SLICE("%%")))
			return false;
	return put(pattern, size, len, before);
}

int
pattern_set_login(const char *pattern, struct slice login, char *out,
    size_t size, struct error *error)
{
	size_t len = 0;
	bool fits = size > 0;

	for (const char *p = pattern; *p != '\0' && fits; p++) {
		if (p[0] == '%' && p[1] == 'l') {
			if (!is_safe(login))
				return error_set(error, ERROR_PEER,
				    "this name cannot be part of a path");
			fits = put_quoted(out, size, &len, login);
			p++;
		} else {
			/* "%%l" has no %l in it. */
			size_t n = p[0] == '%' && p[1] != '\0' ? 2 : 1;

			fits = n < size - len;
			memcpy(out + len, p, fits ? n : 0);
			len += fits ? n : 0;
			p += n - 1;
		}
	}
	if (!fits)
		return error_set(error, ERROR_CONFIG,
		    "--maildir: path too long");
	out[len] = '\0';
	return 0;
}

size_t
pattern_fixed(const char *pattern)
{
	size_t len = 0;
	size_t slash = 0;

	for (const char *p = pattern; *p != '\0'; p++, len++) {
		if (*p == '/')
			slash = len;
		/* "%%" is one octet of the path. */
		if (*p == '%' && *++p != '%')
			break;
	}
	return slash;
}
