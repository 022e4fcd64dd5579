/*
 * places.c - from a recipient's address to maildirs.
 *
 * A user of --auth file: is looked for by the whole address, and where that
 * is at one of our domains by its local part too: who logs in as "joe" gets
 * the mail for joe@ each of them. With such a file only its users get a new
 * maildir by --create-maildirs: else any address on earth would.
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
#include "resolve.h"
#include "system/file.h"

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

/* Doubles the room for items of that size where it is full. */
static int
make_room(void **items, size_t n, size_t *room, size_t item_size,
    struct error *error)
{
	if (n < *room)
		return 0;
	size_t size = *room == 0 ? 16 : 2 * *room;
	void *grown = realloc(*items, size * item_size);

	if (grown == NULL)
		return no_memory(error);
	*items = grown;
	*room = size;
	return 0;
}

/* 1, or -1. */
static int
add_place(struct places *places, const char *maildir, size_t fixed, bool own,
    size_t who, struct error *error)
{
	void *items = places->items;

	/* Beside one for each recipient. */
	if (places->n >= who + PLACES_MOST)
		return error_set(error, ERROR_FULL, "the recipients of a "
		    "message stand for more than %d maildirs", PLACES_MOST);
	int result = make_room(&items, places->n, &places->size,
	    sizeof(*places->items), error);
	places->items = items;
	if (result < 0)
		return -1;
	struct place place = { strdup(maildir), fixed, own, who };
	if (place.maildir == NULL)
		return no_memory(error);
	places->items[places->n++] = place;
	return 1;
}

/* Of one recipient. */
struct search {
	struct places *places;
	size_t who;
};

/* The recipient's own maildir, if it is there or may be made; made_below is
 * how much of the path must be there then. 1, 0 or -1. */
static int
take_own(const struct search *search, const char *path, size_t made_below,
    bool may_make, struct error *error)
{
	const struct places *places = search->places;
	enum there there = is_there(path, error);
	bool make = places->create && may_make;

	if (there == CANNOT_TELL)
		return -1;
	if (there == CANNOT_BE || (there == NOT_THERE && !make))
		return 0;
	return add_place(search->places, path, make ? made_below
	    : strlen(path), true, search->who, error);
}

/* By a user's line, or by the pattern over a name. */
static int
find_own(const struct search *search, const struct user *user,
    struct slice name, struct error *error)
{
	const struct places *places = search->places;
	char path[PATH_MAX];
	struct error why;

	if (user != NULL && user->maildir != NULL)
		return take_own(search, user->maildir,
		    file_parent_len(user->maildir, strlen(user->maildir)),
		    true, error);
	if (places->pattern == NULL || !pattern_has_name(places->pattern))
		return 0;
	/* A name that cannot be part of a path has no maildir. */
	if (pattern_expand(places->pattern, user != NULL
	    ? slice_from(user->name) : name, places->hostname, path,
	    sizeof(path), &why) < 0)
		return 0;
	return take_own(search, path, pattern_fixed(places->setting),
	    user != NULL || places->auth->kind != AUTH_FILE, error);
}

/* The path of the one for all, or for all that a login sends; how much of it
 * must be there. 1, 0 or -1. */
static int
common_path(const struct places *places, char *path, size_t size,
    size_t *fixed, struct error *error)
{
	if (places->pattern == NULL || pattern_has_name(places->pattern))
		return 0;
	/* "%%" is a % all the same. */
	if (pattern_expand(places->pattern, SLICE("x"), places->hostname,
	    path, size, error) < 0)
		return -1;
	*fixed = pattern_has_login(places->setting)
	    ? pattern_fixed(places->setting)
	    : file_parent_len(path, strlen(path));
	return 1;
}

static int
find_common(const struct search *search, struct error *error)
{
	char path[PATH_MAX];
	size_t fixed;
	int found = common_path(search->places, path, sizeof(path), &fixed,
	    error);

	return found <= 0 ? found : add_place(search->places, path, fixed,
	    false, search->who, error);
}

/* RFC 5321 4.5.1: there is always somebody behind <postmaster>. */
static int
find_postmaster(const struct search *search, struct error *error)
{
	const struct users *users = &search->places->auth->users;

	if (search->places->auth->kind != AUTH_FILE || users->n == 0)
		return 0;
	return find_own(search, &users->items[0],
	    slice_from(users->items[0].name), error);
}

static int
add_elsewhere(struct places *places, const struct resolve_name *name,
    struct error *error)
{
	void *items = places->elsewhere;
	int result = make_room(&items, places->n_elsewhere,
	    &places->elsewhere_size, sizeof(*places->elsewhere), error);

	places->elsewhere = items;
	if (result < 0)
		return -1;
	places->elsewhere[places->n_elsewhere++] = (struct places_elsewhere){
		name->written, name->by_alias };
	return 1;
}

/* Where nobody has a maildir of their own. */
static int
find_rest(const struct search *search, const struct resolve_name *name,
    const struct user *user, struct error *error)
{
	struct places *places = search->places;
	/* A maildir in the user's line is in place of --maildir, also where
	 * it is not there. */
	int found = user != NULL && user->maildir != NULL ? 0
	    : find_common(search, error);

	if (found == 0 && name->at_home &&
	    slice_equal_nocase(name->local, SLICE("postmaster")))
		found = find_postmaster(search, error);
	if (found < 0)
		return -1;
	/* Where no mail is kept our domains are somebody else's, too: the next
	 * hop has the mailboxes. */
	if (name->at_home && places_exist(places))
		return found;
	return add_elsewhere(places, name, error);
}

static int
take(void *arg, enum resolve_step step, const struct resolve_name *name,
    struct error *error)
{
	const struct search *search = arg;
	char text[RESOLVE_NAME_MAX];
	struct slice whole = { text, resolve_put_name(name, text) };
	const struct user *user = find_user(search->places, whole);

	if (step == RESOLVE_REST)
		return find_rest(search, name, user, error);
	return whole.len == 0 ? 0 : find_own(search, user, whole, error);
}

void
places_set_login(struct places *places, struct slice login)
{
	struct error ignored;

	places->pattern = places->setting;
	/* A login that cannot be part of a path has no maildir. */
	if (places->setting != NULL && pattern_has_login(places->setting))
		places->pattern = pattern_set_login(places->setting, login,
		    places->with_login, sizeof(places->with_login),
		    &ignored) == 0 ? places->with_login : NULL;
}

int
places_find(struct places *places, const struct envelope_recipient *who,
    size_t i, struct error *error)
{
	struct search search = { places, i };
	const struct resolver resolver = { places->domains, places->aliases,
		places->delimiters, take, &search };
	const struct address address = { who->local, who->domain };
	struct resolve_result result;

	places->n_elsewhere = 0;
	if (resolve_address(&resolver, &address, &result, error) < 0) {
		places_drop(places, i);
		return -1;
	}
	places->nobody = result.nobody;
	return 0;
}

void
places_drop(struct places *places, size_t i)
{
	while (places->n > 0 && places->items[places->n - 1].who == i)
		free(places->items[--places->n].maildir);
	places->n_elsewhere = 0;
}

void
places_reset(struct places *places)
{
	while (places->n > 0)
		free(places->items[--places->n].maildir);
	places->n_elsewhere = 0;
}

void
places_free(struct places *places)
{
	places_reset(places);
	free(places->items);
	free(places->elsewhere);
	places->items = NULL;
	places->elsewhere = NULL;
	places->size = places->elsewhere_size = 0;
}

bool
places_exist(const struct places *places)
{
	const struct users *users = &places->auth->users;

	if (places->setting != NULL)
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
	size_t len = pattern_fixed(places->setting);

	/* Any name will do: it comes after that. */
	if (pattern_expand(places->setting, SLICE("x"), places->hostname, path,
	    sizeof(path), &why) < 0)
		return error_set(error, ERROR_CONFIG, "%s", why.text);
	if (len == 0)
		snprintf(path, sizeof(path), "%s",
		    path[0] == '/' ? "/" : ".");
	else
		path[len] = '\0';
	/* What a login has alone is made with its first message. */
	bool make = places->create || pattern_has_login(places->setting);
	if (access(path, R_OK | X_OK | (make ? W_OK : 0)) == 0)
		return 0;
	return error_set(error, ERROR_CONFIG, "--maildir %.120s: %.120s: %s",
	    places->setting, path, strerror(errno));
}

int
places_check(const struct places *places, struct error *error)
{
	char path[PATH_MAX];
	size_t fixed;

	if (check_users(places, error) < 0)
		return -1;
	if (places->setting == NULL)
		return 0;
	if (pattern_has_name(places->setting))
		return check_fixed(places, error);
	if (common_path(places, path, sizeof(path), &fixed, error) < 0)
		return -1;
	return maildir_deliver_check(path, error);
}
