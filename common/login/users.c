/*
 * users.c - names, hashes and maildirs from a file.
 */
#include "login/users.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "protocol/sasl.h"
#include "system/file.h"
#include "system/password_hash.h"

/* ---- reading ---- */

/* How long the hash proper is, after the last $ or the prefix (crypt(5)). */
struct method {
	const char *prefix;
	size_t len;
};

static const struct method methods[] = {
	{ "$y$", 43 }, { "$gy$", 43 }, { "$7$", 43 },
	{ "$2a$", 53 }, { "$2b$", 53 }, { "$2x$", 53 }, { "$2y$", 53 },
	{ "$6$", 86 }, { "$5$", 43 }, { "$sha1", 28 },
	{ "$md5", 22 }, { "$1$", 22 }, { "$3$", 32 },
	{ "_", 19 }, /* BSDi's DES */
	{ "", 13 },  /* DES */
};

/*
 * Would crypt(3) know it? A password in clear text, or a salt alone, is
 * found here and not when somebody cannot log in.
 */
static bool
is_usable_hash(const char *hash)
{
	static const char alphabet[] = "./0123456789"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *dollar = strrchr(hash, '$');
	size_t i = 0;

	while (strncmp(hash, methods[i].prefix,
	    strlen(methods[i].prefix)) != 0)
		i++;
	/* DES has no $, everything else but BSDi's has. */
	bool is_des = methods[i].prefix[0] != '$';
	if (is_des != (dollar == NULL))
		return false;
	const char *proper = is_des ? hash + strlen(methods[i].prefix)
	                            : dollar + 1;
	if (strlen(proper) != methods[i].len ||
	    strspn(proper, alphabet) != methods[i].len)
		return false;
	return password_hash_is_possible(hash);
}

/* Such a hash is nobody's password's (crypt(3), shadow(5)). */
static bool
is_locked(const char *hash)
{
	return hash[0] == '!' || strcmp(hash, "*") == 0;
}

/* What is wrong with the line, or NULL. */
static const char *
parse_user(struct user *user, char *text)
{
	char *hash = strchr(text, ':');

	if (hash == NULL)
		return "a user is NAME:HASH[:MAILDIR]";
	*hash++ = '\0';
	char *maildir = strchr(hash, ':');
	if (maildir != NULL)
		*maildir++ = '\0';
	if (text[0] == '\0' || strlen(text) > 255 ||
	    slice_has_control(slice_from(text)))
		return "a user's name has 1 to 255 octets and no control "
		    "characters";
	if (!is_locked(hash) && !is_usable_hash(hash))
		return "the hash is none that crypt(3) knows; make one with "
		    "mkpasswd(1) or openssl passwd -6";
	if (maildir != NULL && maildir[0] != '/')
		return "a user's maildir must be an absolute path";
	*user = (struct user){ .name = text, .maildir = maildir,
	    .hash = hash };
	return NULL;
}

static void
add_fault(struct users *users, const char *what, unsigned line,
    unsigned first)
{
	if (users->n_faults < USERS_FAULTS_MAX)
		users->faults[users->n_faults++] =
		    (struct users_fault){ what, line, first };
}

/* What is between name and maildir; all of a line that is no good, for a
 * hash may be anywhere in it. */
static void
forget_hash(struct user *user, char *text, size_t len, bool all)
{
	if (all) {
		explicit_bzero(text, len);
		return;
	}
	char *hash = text + strlen(text) + 1;

	explicit_bzero(hash, strlen(hash));
	user->hash = NULL;
}

static int
add_user(struct users *users, char *text, unsigned line, bool keep_hash,
    struct error *error)
{
	size_t len = strlen(text);
	struct user user;

	if (text[0] == '\0' || text[0] == '#') {
		/* A user who was commented out had a password, too. */
		if (!keep_hash)
			explicit_bzero(text, len);
		return 0;
	}
	const char *fault = parse_user(&user, text);
	if (!keep_hash)
		forget_hash(&user, text, len, fault != NULL);
	if (fault != NULL) {
		add_fault(users, fault, line, 0);
		return 0;
	}
	user.line = line;
	/* Doubles when full: n is a power of two then. */
	if ((users->n & (users->n - 1)) == 0) {
		struct user *grown = realloc(users->items,
		    (users->n == 0 ? 1 : users->n * 2) * sizeof(user));
		if (grown == NULL)
			return error_system(error, ENOMEM, "users");
		users->items = grown;
	}
	users->items[users->n++] = user;
	return 0;
}

static int
read_users(struct users *users, const char *path,
    const struct domains *domains, bool keep_hashes, struct error *error)
{
	struct lines lines = { .number = 0 };
	char *line;

	*users = (struct users){ .domains = domains };
	if (file_read(path, USERS_FILE_MAX, true, &users->text,
	    &users->text_len, error) < 0)
		return -1;
	users->path = strdup(path);
	if (users->path == NULL) {
		users_free(users);
		return error_system(error, ENOMEM, "users");
	}
	lines.next = users->text;
	while ((line = lines_next(&lines)) != NULL)
		if (add_user(users, line, lines.number, keep_hashes,
		    error) < 0) {
			users_free(users);
			return -1;
		}
	return 0;
}

int
users_read(struct users *users, const char *path,
    const struct domains *domains, struct error *error)
{
	return read_users(users, path, domains, false, error);
}

/* ---- faults ---- */

void
users_get_fault(const struct users *users, size_t i, struct error *error)
{
	const struct users_fault *fault = &users->faults[i];
	const char *path = error_tail(users->path, 120);

	if (fault->first > 0)
		error_set(error, ERROR_CONFIG, "%s:%u: %s line %u, which "
		    "counts", path, fault->line, fault->what, fault->first);
	else
		error_set(error, ERROR_CONFIG, "%s:%u: %s", path, fault->line,
		    fault->what);
}

static bool
is_same_name(const struct user *a, const struct user *b)
{
	return strcmp(a->name, b->name) == 0;
}

/* They differ by case at most, and --maildir makes one path of both. */
static bool
share_maildir(const struct user *a, const struct user *b)
{
	return a->maildir == NULL && b->maildir == NULL &&
	    slice_equal_nocase(slice_from(a->name), slice_from(b->name));
}

static int
compare_users(const void *a, const void *b)
{
	const struct user *first = *(const struct user *const *)a;
	const struct user *second = *(const struct user *const *)b;
	const char *x = first->name;
	const char *y = second->name;

	while (*x != '\0' && slice_lower(*x) == slice_lower(*y)) {
		x++;
		y++;
	}
	if (slice_lower(*x) != slice_lower(*y))
		return (unsigned char)slice_lower(*x) <
		    (unsigned char)slice_lower(*y) ? -1 : 1;
	return first->line < second->line ? -1 : first->line > second->line;
}

int
users_check_names(struct users *users, bool by_name, struct error *error)
{
	const struct user **sorted = calloc(users->n + 1, sizeof(*sorted));

	if (sorted == NULL)
		return error_system(error, ENOMEM, "users");
	for (size_t i = 0; i < users->n; i++)
		sorted[i] = &users->items[i];
	qsort(sorted, users->n, sizeof(*sorted), compare_users);
	/* Names that differ by case only stand together, in the order of
	 * their lines. */
	for (size_t begin = 0, i = 0; i < users->n; i++) {
		if (!slice_equal_nocase(slice_from(sorted[begin]->name),
		    slice_from(sorted[i]->name)))
			begin = i;
		for (size_t k = begin; k < i; k++) {
			bool same = is_same_name(sorted[k], sorted[i]);

			if (!same && !(by_name &&
			    share_maildir(sorted[k], sorted[i])))
				continue;
			add_fault(users, same ? "the same name is on"
			    : "but for the case, and so with one maildir "
			    "for both, the same name is on",
			    sorted[i]->line, sorted[k]->line);
			break;
		}
	}
	free(sorted);
	return 0;
}

/* ---- finding ---- */

static const struct user *
find_name(const struct users *users, struct slice name)
{
	const struct user *like = NULL; /* but for the case */

	for (size_t i = 0; i < users->n; i++) {
		const struct user *user = &users->items[i];
		struct slice its = slice_from(user->name);

		if (!slice_equal_nocase(its, name))
			continue;
		if (slice_equal(its, name))
			return user;
		if (like == NULL)
			like = user;
	}
	return like;
}

const struct user *
users_find(const struct users *users, struct slice name)
{
	const struct user *user = find_name(users, name);

	if (user != NULL || users->domains == NULL)
		return user;
	return find_name(users, domains_local_part(users->domains, name));
}

bool
users_shares_maildir(const struct users *users, const struct user *user)
{
	for (const struct user *at = users->items; at < user; at++)
		if (share_maildir(at, user) && !is_same_name(at, user))
			return true;
	return false;
}

/* The user whose hash is tried where the name is nobody's, or of one who
 * cannot log in; NULL where nobody can. */
static const struct user *
stand_in(const struct users *users, struct slice name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ (unsigned char)name.data[i]) * 16777619u;
	for (size_t i = 0; i < users->n; i++) {
		const struct user *user =
		    &users->items[(hash + i) % users->n];
		if (!is_locked(user->hash))
			return user;
	}
	return NULL;
}

static bool
is_same(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char difference = 0;

	if (strlen(b) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

/* users_check, once the hashes are read. */
static enum users_outcome
check(const struct users *users, struct slice name, struct slice password,
    struct error *error)
{
	const struct user *user = users_find(users, name);
	bool locked = user != NULL && is_locked(user->hash);
	const struct user *tried = user != NULL && !locked ? user
	    : stand_in(users, name);
	char text[SASL_SECRET_MAX + 1];
	char hash[PASSWORD_HASH_SIZE];

	if (tried == NULL) {
		error_set(error, ERROR_PEER, "there are no users who can "
		    "log in");
		return USERS_WRONG;
	}
	/* crypt(3) would stop at a NUL and take the rest for granted. */
	if (password.len >= sizeof(text) ||
	    memchr(password.data, '\0', password.len) != NULL) {
		error_set(error, ERROR_PEER, "not a password");
		return USERS_WRONG;
	}
	memcpy(text, password.data, password.len);
	text[password.len] = '\0';
	bool failed = password_hash(text, tried->hash, hash) < 0;
	bool right = !failed && is_same(hash, tried->hash);
	if (failed)
		error_system(error, errno, "crypt");
	else
		error_set(error, ERROR_PEER, locked
		    ? "this user cannot log in" : "wrong name or password");
	explicit_bzero(text, sizeof(text));
	explicit_bzero(hash, sizeof(hash));
	/* Longer than crypt takes: a password of nobody. */
	if (failed && error->errnum == ERANGE)
		return USERS_WRONG;
	if (failed)
		return USERS_TROUBLE;
	return right && tried == user ? USERS_RIGHT : USERS_WRONG;
}

enum users_outcome
users_check(const struct users *users, struct slice name,
    struct slice password, struct error *error)
{
	struct users now;

	if (read_users(&now, users->path, users->domains, true, error) < 0) {
		error->kind = ERROR_SYSTEM;
		return USERS_TROUBLE;
	}
	enum users_outcome outcome = check(&now, name, password, error);
	users_free(&now);
	return outcome;
}

void
users_free(struct users *users)
{
	if (users->text != NULL)
		explicit_bzero(users->text, users->text_len);
	free(users->items);
	free(users->path);
	free(users->text);
	*users = (struct users){ .n = 0 };
}
