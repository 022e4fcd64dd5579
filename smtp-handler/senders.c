/*
 * senders.c - a login may send as an address whose mail it would get.
 */
#include "senders.h"

#include <string.h>

#include "login/users.h"
#include "resolve.h"

struct search {
	const struct users *users;
	const struct user *login;
	bool found;
};

static int
take(void *arg, enum resolve_step step, const struct resolve_name *name,
    struct error *error)
{
	struct search *search = arg;
	const struct users *users = search->users;
	char text[RESOLVE_NAME_MAX];
	struct slice whole = { text, resolve_put_name(name, text) };
	const struct user *user = step == RESOLVE_MAILBOX
	    ? users_find(users, whole)
	    : name->at_home && users->n > 0 &&
	    slice_equal_nocase(name->local, SLICE("postmaster"))
	    ? &users->items[0] : NULL;

	(void)error;
	search->found |= user != NULL && user == search->login;
	return user != NULL;
}

int
senders_is_foreign(const struct places *places, struct slice login,
    struct slice reverse_path, struct error *error)
{
	const struct users *users = &places->auth->users;
	const char *at = reverse_path.len == 0 ? NULL
	    : memrchr(reverse_path.data, '@', reverse_path.len);
	struct search search = { .users = users };
	const struct resolver resolver = { places->domains, places->aliases,
		places->delimiters, take, &search };
	struct resolve_result result;

	if (places->auth->kind != AUTH_FILE || at == NULL)
		return 0;
	size_t len = (size_t)(at - reverse_path.data);
	const struct address address = {
		.local = { reverse_path.data, len },
		.domain = slice_skip(reverse_path, len + 1),
	};
	if (!domains_have(places->domains, address.domain))
		return 0;
	search.login = users_find(users, login);
	if (resolve_address(&resolver, &address, &result, error) < 0)
		return -1;
	return search.found ? 0 : 1;
}
