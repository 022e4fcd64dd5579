/*
 * environment.c - a clean environment for the programs we start.
 */
#include "system/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Names that are handed on; one that ends in '_' stands for all that begin
 * with it. */
static const char *const handed_on[] = {
	"PATH", "LANG", "LC_", "TZ", "HOME", "TMPDIR",
};

static bool
is_handed_on(const char *variable)
{
	size_t len = strcspn(variable, "=");

	for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
		size_t n = strlen(handed_on[i]);

		if (len >= n && strncmp(variable, handed_on[i], n) == 0 &&
		    (len == n || handed_on[i][n - 1] == '_'))
			return true;
	}
	return false;
}

void
environment_init(struct environment *environment)
{
	*environment = (struct environment){ .n = 0 };
	for (char **at = environ; at != NULL && *at != NULL; at++) {
		size_t len = strcspn(*at, "=");
		char name[32];

		if (!is_handed_on(*at) || len >= sizeof(name) ||
		    (*at)[len] == '\0')
			continue;
		memcpy(name, *at, len);
		name[len] = '\0';
		environment_add(environment, name, slice_from(*at + len + 1));
	}
}

void
environment_add(struct environment *environment, const char *name,
    struct slice value)
{
	size_t name_len = strlen(name);
	char *item;

	if (environment->n == ENVIRONMENT_MAX) {
		environment->failed = true;
		return;
	}
	item = malloc(name_len + 1 + value.len + 1);
	if (item == NULL) {
		environment->failed = true;
		return;
	}
	memcpy(item, name, name_len);
	item[name_len] = '=';
	for (size_t i = 0; i < value.len; i++)
		item[name_len + 1 + i] = value.data[i] != '\0'
		    ? value.data[i] : '?';
	item[name_len + 1 + value.len] = '\0';
	environment->items[environment->n++] = item;
}

void
environment_add_number(struct environment *environment, const char *name,
    uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%ju", (uintmax_t)value);
	environment_add(environment, name, slice_from(text));
}

bool
environment_is_whole(const struct environment *environment)
{
	return !environment->failed;
}

void
environment_free(struct environment *environment)
{
	for (size_t i = 0; i < environment->n; i++)
		free(environment->items[i]);
	*environment = (struct environment){ .n = 0 };
}
