/*
 * fuzz_pattern.c - from a peer's name to a path.
 *
 * Lines: the pattern, our host name, the name (which may hold anything). A
 * second expansion must give the same path, and the name must have no say in
 * which directory it is: no slash, no component of dots, nothing hidden.
 */
#include "fuzz.h"

#include "protocol/pattern.h"

#define PATH_SIZE 512

static bool
is_safe(struct slice s)
{
	if (s.len < 1 || s.len > 255 || s.data[0] == '.')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7F ||
		    s.data[i] == '/')
			return false;
	/* U+0080 to U+009F: controls beyond ASCII. */
	for (unsigned code = 0x80; code <= 0x9F; code++) {
		const char utf8[] = { (char)0xC2, (char)code };

		if (memmem(s.data, s.len, utf8, sizeof(utf8)) != NULL)
			return false;
	}
	return true;
}

static void
add_lower(struct text *path, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		text_add_octet(path, s.data[i] >= 'A' && s.data[i] <= 'Z'
		    ? (char)(s.data[i] | 0x20) : s.data[i]);
}

/* What becomes part of the path must be safe, and nothing else. */
static enum error_kind
expand(struct text *path, struct slice pattern, struct slice name,
    struct slice hostname)
{
	struct slice local = name;
	struct slice domain = hostname;

	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] == '@') {
			local = (struct slice){ name.data, i };
			domain = slice_skip(name, i + 1);
		}
	for (size_t i = 0; i < pattern.len; i++) {
		struct slice part = { pattern.data + i, 1 };

		if (pattern.data[i] == '%') {
			char letter = pattern.data[++i];
			part = letter == 'u' || letter == 'l' ? name
			    : letter == 'n' ? local
			    : letter == 'd' ? domain : part;
			if (!is_safe(part))
				return ERROR_PEER;
			add_lower(path, part);
		} else {
			text_add(path, part);
		}
		if (path->len >= PATH_SIZE)
			return ERROR_CONFIG;
	}
	return ERROR_NONE;
}

static bool
is_dots(struct slice component)
{
	return slice_equal(component, SLICE(".")) ||
	    slice_equal(component, SLICE(".."));
}

/* Component by component: the path goes where the pattern goes. */
static void
check_components(struct slice pattern, struct slice path)
{
	bool more, more_path;

	do {
		struct slice of_pattern, of_path;

		more = slice_cut(pattern, '/', &of_pattern, &pattern);
		more_path = slice_cut(path, '/', &of_path, &path);
		CHECK(more == more_path);
		CHECK((of_pattern.len == 0) == (of_path.len == 0));
		CHECK(is_dots(of_pattern) == is_dots(of_path));
		/* The name hides nothing that the pattern does not. */
		CHECK(of_path.len == 0 || of_path.data[0] != '.' ||
		    of_pattern.data[0] == '.');
	} while (more);
}

static bool
is_good(struct slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.data[i] == '%' && (++i == pattern.len ||
		    memchr("ulnd%", pattern.data[i], 5) == NULL))
			return false;
	return true;
}

/* Of a good pattern. */
static bool
needs_name(struct slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.data[i] == '%' && pattern.data[++i] != '%')
			return true;
	return false;
}

static char *
make_string(struct slice s)
{
	char *string = malloc(s.len + 1);

	CHECK(string != NULL);
	if (s.len > 0)
		memcpy(string, s.data, s.len);
	string[s.len] = '\0';
	return string;
}

/* What is the same for all names ends at a slash. */
static void
check_fixed(const char *pattern, const char *hostname, const char *path)
{
	size_t fixed = pattern_fixed(pattern);
	char *other = malloc(PATH_SIZE);
	struct error error;

	CHECK(other != NULL);
	CHECK(fixed == 0 || (fixed < strlen(path) && path[fixed] == '/'));
	if (pattern_expand(pattern, SLICE("another@name"), hostname, other,
	    PATH_SIZE, &error) == 0)
		CHECK(strncmp(path, other, fixed) == 0);
	free(other);
}

static void
check_expansion(const char *pattern, const char *hostname, struct slice name)
{
	struct text want = { .data = NULL };
	struct error error = { .kind = ERROR_NONE };
	char *path = malloc(PATH_SIZE);
	char *copy = fuzz_copy(name);

	CHECK(path != NULL);
	int result = pattern_expand(pattern, (struct slice){ copy, name.len },
	    hostname, path, PATH_SIZE, &error);
	enum error_kind kind = expand(&want, slice_from(pattern), name,
	    slice_from(hostname));
	CHECK((result == 0) == (kind == ERROR_NONE));
	if (result == 0) {
		CHECK_SAME(slice_from(path), text_slice(&want));
		check_components(slice_from(pattern), slice_from(path));
		check_fixed(pattern, hostname, path);
	} else {
		CHECK(error.kind == kind);
	}
	free(path);
	free(copy);
	text_free(&want);
}

/* With the login put into the pattern first, where the name is the login's:
 * the same path. */
static void
check_login(const char *pattern, const char *hostname, struct slice name)
{
	char *path = malloc(PATH_SIZE), *set = malloc(PATH_SIZE);
	char *again = malloc(PATH_SIZE);
	struct error error, set_error;

	CHECK(path != NULL && set != NULL && again != NULL);
	int result = pattern_expand(pattern, name, hostname, path, PATH_SIZE,
	    &error);
	if (pattern_set_login(pattern, name, set, PATH_SIZE, &set_error) < 0) {
		/* A pattern may be longer than its path. */
		CHECK(result < 0 || set_error.kind == ERROR_CONFIG);
	} else {
		CHECK(!pattern_has_login(set));
		CHECK(pattern_is_valid(set));
		CHECK(pattern_has_login(pattern) ||
		    strcmp(set, pattern) == 0);
		CHECK(pattern_expand(set, name, hostname, again, PATH_SIZE,
		    &set_error) == result);
		CHECK(result < 0 || strcmp(path, again) == 0);
	}
	free(path);
	free(set);
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice name = fuzz_slice(data, size);
	struct slice line, ignored;

	slice_cut(name, '\n', &line, &name);
	slice_cut(line, '\0', &line, &ignored);
	char *pattern = make_string(line);
	slice_cut(name, '\n', &line, &name);
	slice_cut(line, '\0', &line, &ignored);
	char *hostname = make_string(line);
	bool good = is_good(slice_from(pattern));
	bool has_name = pattern_has_name(pattern);
	CHECK(pattern_is_valid(pattern) == good);
	if (good) {
		CHECK(has_name == needs_name(slice_from(pattern)));
		check_expansion(pattern, hostname, name);
		check_login(pattern, hostname, name);
	}
	free(pattern);
	free(hostname);
	return 0;
}
