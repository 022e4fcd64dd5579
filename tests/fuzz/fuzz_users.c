/*
 * fuzz_users.c - the users file, against a second reader of it.
 *
 * The input is the file. Whatever crypt(3) would make of an invented hash is
 * not tried, for it may ask for hours; one known hash is.
 */
#include "fuzz.h"

#include <crypt.h>

#include "login/users.h"

static const char *const domain_names[] = { "mail.test", "B.test" };
static const struct domains domains = { domain_names, COUNT(domain_names) };

/* Of the password "secret", by the cheapest method there is. */
static const char known_hash[] = "abNANd1rDfiNc";

struct model_user {
	struct slice name;
	struct slice hash;
	bool has_maildir;
	struct slice maildir;
};

/* By crypt(5): how a hash begins, and how long what comes last is. */
static const struct {
	struct slice prefix;
	size_t len;
} methods[] = {
	{ SLICE("$y$"), 43 }, { SLICE("$gy$"), 43 }, { SLICE("$7$"), 43 },
	{ SLICE("$2a$"), 53 }, { SLICE("$2b$"), 53 },
	{ SLICE("$2x$"), 53 }, { SLICE("$2y$"), 53 },
	{ SLICE("$6$"), 86 }, { SLICE("$5$"), 43 }, { SLICE("$sha1"), 28 },
	{ SLICE("$md5"), 22 }, { SLICE("$1$"), 22 }, { SLICE("$3$"), 32 },
};

static bool
is_made_of_digits(struct slice s, size_t len)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.data[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '.' && c <= '9'))
			return false;
	}
	return s.len == len;
}

/* It has the form of one, and the library would take its first part. */
static bool
is_usable_hash(struct slice hash)
{
	struct slice last = hash, rest = hash;
	bool known = false;

	while (slice_cut(rest, '$', &last, &rest))
		last = rest;
	for (size_t i = 0; i < COUNT(methods) && !known; i++)
		known = slice_starts_with(hash, methods[i].prefix) &&
		    is_made_of_digits(last, methods[i].len);
	/* The old ones: DES, BSDi's. */
	if (!known && !is_made_of_digits(hash, 13) &&
	    !(slice_starts_with(hash, SLICE("_")) &&
	    is_made_of_digits(slice_skip(hash, 1), 19)))
		return false;
#ifdef CRYPT_SALT_OK
	char *string = malloc(hash.len + 1);

	CHECK(string != NULL);
	memcpy(string, hash.data, hash.len);
	string[hash.len] = '\0';
	int verdict = crypt_checksalt(string);
	free(string);
	return verdict != CRYPT_SALT_INVALID &&
	    verdict != CRYPT_SALT_METHOD_DISABLED;
#else
	return true;
#endif
}

static bool
is_locked(struct slice hash)
{
	return slice_equal(hash, SLICE("*")) ||
	    slice_starts_with(hash, SLICE("!"));
}

static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7F)
			return true;
	return false;
}

enum verdict { GOOD, EMPTY, BAD };

static enum verdict
read_line(struct slice line, struct model_user *user)
{
	struct slice rest;

	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0 || line.data[0] == '#')
		return EMPTY;
	if (!slice_cut(line, ':', &user->name, &rest))
		return BAD;
	user->has_maildir = slice_cut(rest, ':', &user->hash,
	    &user->maildir);
	return user->name.len >= 1 && user->name.len <= 255 &&
	    !has_control(user->name) && (is_locked(user->hash) ||
	    is_usable_hash(user->hash)) &&
	    (!user->has_maildir || (user->maildir.len > 0 &&
	    user->maildir.data[0] == '/')) ? GOOD : BAD;
}

/* The known hash lets its password in, and nothing else. */
static void
check_login(const struct users *users, struct slice name, struct slice hash)
{
	struct error error;

	if (!slice_equal(hash, slice_from(known_hash)))
		return;
	CHECK(users_check(users, name, SLICE("secret"), &error) ==
	    USERS_RIGHT);
	CHECK(users_check(users, name, SLICE("Secret"), &error) ==
	    USERS_WRONG);
	CHECK(users_check(users, name, SLICE(""), &error) == USERS_WRONG);
	CHECK(users_check(users, name, SLICE("secret\0"), &error) ==
	    USERS_WRONG);
}

/* Found as it is written, before any that is written in another way. */
static void
check_found(const struct users *users, const struct user *user)
{
	char name[256 + sizeof("@mail.test")];
	const struct user *found = users_find(users, slice_from(user->name));

	CHECK(found != NULL && found <= user &&
	    strcmp(found->name, user->name) == 0);
	snprintf(name, sizeof(name), "%s", user->name);
	for (char *at = name; *at != '\0'; at++)
		if (*at >= 'a' && *at <= 'z')
			*at -= 'a' - 'A';
	found = users_find(users, slice_from(name));
	CHECK(found != NULL && strcasecmp(found->name, name) == 0);
	for (size_t i = 0; i < COUNT(domain_names); i++) {
		snprintf(name, sizeof(name), "%s@%s", user->name,
		    domain_names[i]);
		found = users_find(users, slice_from(name));
		CHECK(found != NULL);
		CHECK(strcasecmp(found->name, name) == 0 ||
		    strcmp(found->name, user->name) == 0);
	}
}

/* Two who differ by case alone have one maildir, where it comes from a
 * pattern. */
static void
check_shared(const struct users *users, const struct user *user)
{
	bool shared = false;

	for (const struct user *at = users->items; at < user; at++)
		shared |= at->maildir == NULL && user->maildir == NULL &&
		    strcasecmp(at->name, user->name) == 0 &&
		    strcmp(at->name, user->name) != 0;
	CHECK(users_shares_maildir(users, user) == shared);
}

static void
compare(const struct users *users, struct slice rest)
{
	struct error error;
	struct slice first_hash = { NULL, 0 };
	size_t n = 0;

	while (rest.len > 0) {
		struct model_user model;
		struct slice line;

		slice_cut(rest, '\n', &line, &rest);
		if (read_line(line, &model) != GOOD)
			continue;
		CHECK(n < users->n);
		const struct user *user = &users->items[n++];
		CHECK_SAME(slice_from(user->name), model.name);
		CHECK(user->hash == NULL);
		if (n == 1)
			first_hash = model.hash;
		CHECK((user->maildir != NULL) == model.has_maildir);
		check_shared(users, user);
		if (model.has_maildir)
			CHECK_SAME(slice_from(user->maildir), model.maildir);
		check_found(users, user);
	}
	CHECK(users->n == n);
	/* Somebody who is not there costs what one of them does: not here,
	 * where that may be minutes. */
	if (n == 1 && (is_locked(first_hash) ||
	    slice_equal(first_hash, slice_from(known_hash))))
		CHECK(users_check(users, SLICE("no such\tname"), SLICE("x"),
		    &error) == USERS_WRONG);
	if (n > 0)
		check_login(users, slice_from(users->items[0].name),
		    first_hash);
	else
		CHECK(users_check(users, SLICE(""), SLICE(""), &error) ==
		    USERS_WRONG);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct slice input = fuzz_slice(data, size);
	struct slice rest = input;
	struct users users;
	struct error error = { .kind = ERROR_NONE };
	unsigned number = 0;
	size_t faults = 0;
	bool bad = input.len > 0 &&
	    memchr(input.data, '\0', input.len) != NULL;

	fuzz_file_put(&file, input);
	int result = users_read(&users, file.path, &domains, &error);
	CHECK((result == 0) == !bad);
	while (rest.len > 0 && !bad) {
		struct model_user user;
		struct slice line;
		char where[64];

		number++;
		slice_cut(rest, '\n', &line, &rest);
		if (read_line(line, &user) != BAD ||
		    faults == USERS_FAULTS_MAX)
			continue;
		CHECK(faults < users.n_faults);
		users_get_fault(&users, faults++, &error);
		snprintf(where, sizeof(where), ":%u: ", number);
		CHECK(strstr(error.text, where) != NULL);
		CHECK(strchr(error.text, '\n') == NULL);
	}
	if (result == 0) {
		CHECK(users.n_faults == faults);
		compare(&users, input);
		CHECK(users_check_names(&users, true, &error) == 0);
		for (; faults < users.n_faults; faults++) {
			users_get_fault(&users, faults, &error);
			CHECK(error.text[0] != '\0' &&
			    strchr(error.text, '\n') == NULL);
		}
	} else {
		CHECK(error.kind == ERROR_CONFIG);
		CHECK(strchr(error.text, '\n') == NULL);
		CHECK(users.n == 0 && users.items == NULL &&
		    users.text == NULL);
	}
	users_free(&users);
	return 0;
}
