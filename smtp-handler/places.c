/*
 * places.c - from a recipient's address to a maildir.
 *
 * A user of --auth file: is looked for by the whole address, and where that
 * is at one of our domains by its local part too: who logs in as "joe" gets
 * the mail for joe@ each of them. With such a file only its users get a new
 * maildir by --create-maildirs: else any address on earth would.
 * Layer 3.
 */
#include "places.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/maildir_deliver.h"
#include "protocol/pattern.h"
#include "system/file.h"

/* An address as a name: longer ones name no maildir (pattern.h). */
#define NAME_MAX_LEN 512

/* ---- names ---- */

/* A local part without its quotes (RFC 5321 4.1.2: "joe"@x is joe@x). */
static size_t
unquote(struct slice local, char *out)
{
	size_t n = 0;

	if (local.len == 0 || local.data[0] != '"') {
		memcpy(out, local.data, local.len);
		return local.len;
	}
	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.data[i] == '\\' && i + 2 < local.len)
			i++;
		out[n++] = local.data[i];
	}
	return n;
}

/* "local@domain" without quotes; "postmaster" alone has no domain. Empty
 * where it is too long. */
static struct slice
make_name(const struct envelope_recipient *who, char *out, size_t *local_len)
{
	size_t len;

	if (who->local.len + 1 + who->domain.len > NAME_MAX_LEN)
		return slice_from("");
	len = *local_len = unquote(who->local, out);
	if (who->domain.len > 0) {
		out[len++] = '@';
		memcpy(out + len, who->domain.data, who->domain.len);
		len += who->domain.len;
	}
	return (struct slice){ out, len };
}

static const struct user *
find_user(const struct places *places, struct slice name)
{
	if (places->auth->kind != AUTH_FILE || name.len == 0)
		return NULL;
	return users_find(&places->auth->users, name);
}

/* ---- maildirs ---- */

static int
no_memory(struct error *error)
{
	return error_system(error, ENOMEM, "recipients");
}

enum there { NOT_THERE, IS_THERE, CANNOT_BE, CANNOT_TELL };

static enum there
is_there(const char *path, struct error *error)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? IS_THERE : CANNOT_BE;
	if (errno == ENOENT)
		return NOT_THERE;
	if (errno == ENOTDIR || errno == ENAMETOOLONG)
		return CANNOT_BE;
	error_system(error, errno, "maildir %.120s", path);
	return CANNOT_TELL;
}

/* The recipient's own maildir, if it is there or may be made; made_below is
 * how much of the path must be there then. */
static int
take_own(const struct places *places, const char *path, size_t made_below,
    bool may_make, struct place *place, struct error *error)
{
	enum there there = is_there(path, error);

	if (there == CANNOT_TELL)
		return -1;
	if (there == CANNOT_BE ||
	    (there == NOT_THERE && (!places->create || !may_make)))
		return 0;
	place->maildir = strdup(path);
	if (place->maildir == NULL)
		return no_memory(error);
	place->fixed = places->create && may_make ? made_below
	                                          : strlen(path);
	place->own = true;
	return 0;
}

/* By a user's line, or by the pattern over a name. */
static int
find_own(const struct places *places, const struct user *user,
    struct slice name, struct place *place, struct error *error)
{
	char path[PATH_MAX];
	struct error why;

	if (user != NULL && user->maildir != NULL)
		return take_own(places, user->maildir,
		    file_parent_len(user->maildir, strlen(user->maildir)),
		    true, place, error);
	if (places->pattern == NULL || !pattern_has_name(places->pattern))
		return 0;
	/* A name that cannot be part of a path has no maildir. */
	if (pattern_expand(places->pattern, user != NULL
	    ? slice_from(user->name) : name, places->hostname, path,
	    sizeof(path), &why) < 0)
		return 0;
	return take_own(places, path, pattern_fixed(places->pattern),
	    user != NULL || places->auth->kind != AUTH_FILE, place, error);
}

static int
find_common(const struct places *places, struct place *place,
    struct error *error)
{
	char path[PATH_MAX];

	if (places->pattern == NULL || pattern_has_name(places->pattern))
		return 0;
	/* "%%" is a % all the same. */
	if (pattern_expand(places->pattern, SLICE("x"), places->hostname,
	    path, sizeof(path), error) < 0)
		return -1;
	place->maildir = strdup(path);
	if (place->maildir == NULL)
		return no_memory(error);
	place->fixed = file_parent_len(path, strlen(path));
	return 0;
}

/* RFC 5321 4.5.1: there is always somebody behind <postmaster>. */
static int
find_postmaster(const struct places *places, struct place *place,
    struct error *error)
{
	const struct users *users = &places->auth->users;

	if (places->auth->kind != AUTH_FILE || users->n == 0)
		return 0;
	return find_own(places, &users->items[0],
	    slice_from(users->items[0].name), place, error);
}

static int
find_place(const struct places *places, const struct envelope_recipient *who,
    struct place *place, struct error *error)
{
	char text[NAME_MAX_LEN];
	size_t local_len = 0;
	struct slice name = make_name(who, text, &local_len);
	struct slice local = { text, local_len };
	bool at_home = who->domain.len == 0 ||
	    domains_have(places->domains, who->domain);
	const struct user *user = find_user(places, name);

	if (name.len > 0 &&
	    find_own(places, user, name, place, error) < 0)
		return -1;
	/* A maildir in the user's line is in place of --maildir, also where
	 * it is not there. */
	if (place->maildir == NULL &&
	    (user == NULL || user->maildir == NULL) &&
	    find_common(places, place, error) < 0)
		return -1;
	if (place->maildir == NULL && at_home &&
	    slice_equal_nocase(local, SLICE("postmaster")))
		return find_postmaster(places, place, error);
	return 0;
}

/* ---- the table of them ---- */

static int
make_room(struct places *places, size_t i, struct error *error)
{
	size_t size = places->size == 0 ? 16 : places->size;
	struct place *grown;

	while (size <= i)
		size *= 2;
	if (size == places->size)
		return 0;
	grown = realloc(places->items, size * sizeof(*grown));
	if (grown == NULL)
		return no_memory(error);
	places->items = grown;
	places->size = size;
	return 0;
}

static int
put_place(struct places *places, size_t i, struct place place,
    struct error *error)
{
	while (places->n > i)
		free(places->items[--places->n].maildir);
	if (make_room(places, i, error) < 0) {
		free(place.maildir);
		return -1;
	}
	places->items[i] = place;
	places->n = i + 1;
	return 0;
}

int
places_find(struct places *places, const struct envelope_recipient *who,
    size_t i, struct error *error)
{
	struct place place = { .maildir = NULL };

	if (find_place(places, who, &place, error) < 0)
		return -1;
	return put_place(places, i, place, error);
}

int
places_drop(struct places *places, size_t i, struct error *error)
{
	return put_place(places, i, (struct place){ .dropped = true }, error);
}

void
places_reset(struct places *places)
{
	while (places->n > 0)
		free(places->items[--places->n].maildir);
}

void
places_free(struct places *places)
{
	places_reset(places);
	free(places->items);
	places->items = NULL;
	places->size = 0;
}

bool
places_exist(const struct places *places)
{
	const struct users *users = &places->auth->users;

	if (places->pattern != NULL)
		return true;
	for (size_t i = 0; i < users->n; i++)
		if (users->items[i].maildir != NULL)
			return true;
	return false;
}

/* Users with maildirs of their own. */
static int
check_users(const struct places *places, struct error *error)
{
	const struct users *users = &places->auth->users;
	struct error why;

	for (size_t i = 0; i < users->n; i++) {
		const char *path = users->items[i].maildir;

		if (path == NULL || is_there(path, &why) == IS_THERE ||
		    (places->create && maildir_deliver_check(path,
		    &why) == 0))
			continue;
		return error_set(error, ERROR_CONFIG, "--auth file: maildir "
		    "of %.80s: %.120s cannot be used%s", users->items[i].name,
		    path, places->create ? ""
		    : "; it must be there, or --create-maildirs");
	}
	return 0;
}

/* What the maildirs that depend on names are below. */
static int
check_fixed(const struct places *places, struct error *error)
{
	char path[PATH_MAX];
	struct error why;
	size_t len = pattern_fixed(places->pattern);

	/* Any name will do: it comes after that. */
	if (pattern_expand(places->pattern, SLICE("x"), places->hostname, path,
	    sizeof(path), &why) < 0)
		return error_set(error, ERROR_CONFIG, "%s", why.text);
	if (len == 0)
		snprintf(path, sizeof(path), "%s",
		    path[0] == '/' ? "/" : ".");
	else
		path[len] = '\0';
	if (access(path, R_OK | X_OK | (places->create ? W_OK : 0)) == 0)
		return 0;
	return error_set(error, ERROR_CONFIG, "--maildir %.120s: %.120s: %s",
	    places->pattern, path, strerror(errno));
}

int
places_check(const struct places *places, struct error *error)
{
	struct place place = { .maildir = NULL };

	if (check_users(places, error) < 0)
		return -1;
	if (places->pattern == NULL)
		return 0;
	if (pattern_has_name(places->pattern))
		return check_fixed(places, error);
	if (find_common(places, &place, error) < 0)
		return -1;
	int result = maildir_deliver_check(place.maildir, error);
	free(place.maildir);
	return result;
}
