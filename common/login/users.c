/*
 * users.c - names, hashes and maildirs from a file.
 * Layer 2.
 */
#include "login/users.h"

#include <crypt.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "system/file.h"
#include "protocol/sasl.h"

struct line {
	const char *path;
	unsigned number;
	struct error *error;
};

static int
wrong(const struct line *line, const char *what)
{
	return error_set(line->error, ERROR_CONFIG, "%.120s:%u: %s",
	    line->path, line->number, what);
}

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
#ifdef CRYPT_SALT_OK
	/* libxcrypt can say what it was built without. */
	return crypt_checksalt(hash) != CRYPT_SALT_INVALID &&
	    crypt_checksalt(hash) != CRYPT_SALT_METHOD_DISABLED;
#else
	return true;
#endif
}

static int
parse_user(struct user *user, char *text, const struct line *line)
{
	char *hash = strchr(text, ':');

	if (hash == NULL)
		return wrong(line, "a user is NAME:HASH[:MAILDIR]");
	*hash++ = '\0';
	char *maildir = strchr(hash, ':');
	if (maildir != NULL)
		*maildir++ = '\0';
	if (text[0] == '\0' || strlen(text) > 255 ||
	    slice_has_control(slice_from(text)))
		return wrong(line, "a user's name has 1 to 255 octets and no "
		    "control characters");
	if (!is_usable_hash(hash))
		return wrong(line, "the hash is none that crypt(3) knows; "
		    "make one with mkpasswd(1) or openssl passwd -6");
	if (maildir != NULL && maildir[0] != '/')
		return wrong(line, "a user's maildir must be an absolute "
		    "path");
	*user = (struct user){ text, hash, maildir };
	return 0;
}

static int
add_user(struct users *users, char *text, const struct line *line)
{
	size_t len = strlen(text);
	struct user user;

	if (len > 0 && text[len - 1] == '\r')
		text[len - 1] = '\0';
	if (text[0] == '\0' || text[0] == '#')
		return 0;
	if (parse_user(&user, text, line) < 0)
		return -1;
	/* Doubles when full: n is a power of two then. */
	if ((users->n & (users->n - 1)) == 0) {
		struct user *grown = realloc(users->items,
		    (users->n == 0 ? 1 : users->n * 2) * sizeof(user));
		if (grown == NULL)
			return error_system(line->error, ENOMEM, "users");
		users->items = grown;
	}
	users->items[users->n++] = user;
	return 0;
}

int
users_read(struct users *users, const char *path, struct error *error)
{
	struct line line = { .path = path, .error = error };

	*users = (struct users){ .n = 0 };
	if (file_read(path, USERS_FILE_MAX, true, &users->text,
	    &users->text_len, error) < 0)
		return -1;
	for (char *at = users->text, *next; at != NULL; at = next) {
		next = strchr(at, '\n');
		if (next != NULL)
			*next++ = '\0';
		line.number++;
		if (add_user(users, at, &line) < 0) {
			users_free(users);
			return -1;
		}
	}
	return 0;
}

const struct user *
users_find(const struct users *users, struct slice name)
{
	for (size_t i = 0; i < users->n; i++)
		if (slice_equal(slice_from(users->items[i].name), name))
			return &users->items[i];
	return NULL;
}

const struct user *
users_find_nocase(const struct users *users, struct slice name)
{
	for (size_t i = 0; i < users->n; i++)
		if (slice_equal_nocase(slice_from(users->items[i].name),
		    name))
			return &users->items[i];
	return NULL;
}

/* The user whose hash an unknown name is tried against. */
static const struct user *
stand_in(const struct users *users, struct slice name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ (unsigned char)name.data[i]) * 16777619u;
	return &users->items[hash % users->n];
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

enum users_outcome
users_check(const struct users *users, struct slice name,
    struct slice password, struct error *error)
{
	if (users->n == 0) {
		error_set(error, ERROR_PEER, "there are no users");
		return USERS_WRONG;
	}
	const struct user *user = users_find(users, name);
	const struct user *tried = user != NULL ? user
	                                        : stand_in(users, name);
	char text[SASL_SECRET_MAX + 1];
	struct crypt_data *data;

	/* crypt(3) would stop at a NUL and take the rest for granted. */
	if (password.len >= sizeof(text) ||
	    memchr(password.data, '\0', password.len) != NULL) {
		error_set(error, ERROR_PEER, "not a password");
		return USERS_WRONG;
	}
	data = calloc(1, sizeof(*data));
	if (data == NULL) {
		error_system(error, ENOMEM, "crypt");
		return USERS_TROUBLE;
	}
	memcpy(text, password.data, password.len);
	text[password.len] = '\0';
	errno = 0;
	const char *hash = crypt_r(text, tried->hash, data);
	bool failed = hash == NULL || hash[0] == '*';
	bool right = !failed && is_same(hash, tried->hash);
	if (failed)
		error_system(error, errno, "crypt");
	else
		error_set(error, ERROR_PEER, "wrong name or password");
	explicit_bzero(text, sizeof(text));
	explicit_bzero(data, sizeof(*data));
	free(data);
	/* Longer than crypt takes: a password of nobody. */
	if (failed && error->errnum == ERANGE)
		return USERS_WRONG;
	if (failed)
		return USERS_TROUBLE;
	return right && user != NULL ? USERS_RIGHT : USERS_WRONG;
}

void
users_free(struct users *users)
{
	if (users->text != NULL)
		explicit_bzero(users->text, users->text_len);
	free(users->items);
	free(users->text);
	*users = (struct users){ .n = 0 };
}
