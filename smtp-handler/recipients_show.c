/*
 * recipients_show.c - who gets what, in words, for --check-config; found as it
 * is for a message.
 */
#include "recipients_show.h"

#include <string.h>

#include "protocol/pattern.h"

/* What is known of an address that mail is for. */
static int
look_for(struct places *places, struct slice local, struct slice domain,
    struct error *error)
{
	const struct envelope_recipient who = {
		.local = local, .domain = domain,
	};

	places_reset(places);
	return places_find(places, &who, 0, error);
}

/* ---- what is wrong ---- */

static struct slice
first_domain(const struct places *places)
{
	return places->domains->n > 0
	    ? slice_from(places->domains->names[0]) : slice_from("");
}

/* A target of an alias: false, and *error, where nobody gets its mail. */
static bool
check_target(struct places *places, const struct address *target,
    bool relays, struct error *error)
{
	struct slice domain = target->domain.len > 0 ? target->domain
	    : first_domain(places);

	if (look_for(places, target->local, domain, error) < 0)
		return false;
	if (places->n_elsewhere > 0 && !relays) {
		const struct address *at = &places->elsewhere[0].address;

		error_set(error, ERROR_CONFIG, "%.*s@%.*s is elsewhere, and "
		    "there is no --relay to send its mail there",
		    SLICE_ARG(at->local), SLICE_ARG(at->domain));
		return false;
	}
	if (places->n > 0 || places->n_elsewhere > 0)
		return true;
	error_set(error, ERROR_CONFIG, "%.*s@%.*s is nobody here: neither an "
	    "alias nor somebody with a maildir", SLICE_ARG(target->local),
	    SLICE_ARG(domain));
	return false;
}

int
recipients_check(struct places *places, const char *path, bool relays,
    void (*tell)(const struct error *error))
{
	const struct aliases *aliases = places->aliases;
	int result = 0;

	for (size_t i = 0; aliases != NULL && i < aliases->n; i++) {
		const struct alias *alias = &aliases->items[i];

		for (size_t k = 0; k < alias->n && !alias->broken; k++) {
			struct error why, error;

			if (check_target(places,
			    &aliases->targets[alias->first + k], relays,
			    &why))
				continue;
			error_set(&error, ERROR_CONFIG, "%s:%u: %.300s",
			    error_tail(path, 120), alias->line, why.text);
			tell(&error);
			result = -1;
		}
	}
	places_reset(places);
	return result;
}

/* ---- who gets what ---- */

/* "local@a.example, local@b.example"; with the domain, only that one. */
static void
show_addresses(const struct places *places, struct slice local,
    struct slice domain, FILE *out)
{
	if (domain.len > 0) {
		fprintf(out, "%.*s@%.*s", SLICE_ARG(local),
		    SLICE_ARG(domain));
		return;
	}
	for (size_t i = 0; i < places->domains->n; i++)
		fprintf(out, "%s%.*s@%s", i > 0 ? ", " : "",
		    SLICE_ARG(local), places->domains->names[i]);
}

/* What look_for has found. */
static void
show_places(const struct places *places, bool relays, FILE *out)
{
	for (size_t i = 0; i < places->n; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : " goes to ",
		    places->items[i].maildir);
	for (size_t i = 0; i < places->n_elsewhere; i++) {
		const struct address *at = &places->elsewhere[i].address;

		fprintf(out, "%s%.*s@%.*s%s", places->n + i > 0 ? ", "
		    : " goes to ", SLICE_ARG(at->local),
		    SLICE_ARG(at->domain), relays ? " by the next hop"
		    : " elsewhere, and so nowhere");
	}
	fputs(places->n + places->n_elsewhere == 0
	    ? " is refused: no such mailbox\n" : "\n", out);
}

static void
show(struct places *places, struct slice local, struct slice domain,
    bool relays, FILE *out)
{
	struct error error;

	if (look_for(places, local, domain.len > 0 ? domain
	    : first_domain(places), &error) < 0)
		fprintf(out, " cannot be told: %s\n", error.text);
	else
		show_places(places, relays, out);
}

static void
show_aliases(struct places *places, const char *path, bool relays, FILE *out)
{
	const struct aliases *aliases = places->aliases;

	for (size_t i = 0; aliases != NULL && i < aliases->n; i++) {
		const struct alias *alias = &aliases->items[i];
		bool all = alias->local.len == 0;

		fprintf(out, "%s:%u: mail for ", path, alias->line);
		if (all)
			fprintf(out, "any other address at %.*s",
			    SLICE_ARG(alias->domain));
		else
			show_addresses(places, alias->local, alias->domain,
			    out);
		/* Nobody has such a name. */
		show(places, all ? SLICE("\"\\\\ \"") : alias->local,
		    alias->domain, relays, out);
	}
}

static void
show_users(struct places *places, bool relays, FILE *out)
{
	const struct auth *auth = places->auth;

	for (size_t i = 0; auth->kind == AUTH_FILE && i < auth->users.n;
	    i++) {
		struct slice name = slice_from(auth->users.items[i].name);
		const char *at = memrchr(name.data, '@', name.len);
		struct slice domain = slice_from("");

		if (at != NULL) {
			domain = slice_skip(name,
			    (size_t)(at - name.data) + 1);
			name.len = (size_t)(at - name.data);
		}
		fputs("mail for ", out);
		show_addresses(places, name, domain, out);
		show(places, name, domain, relays, out);
	}
}

/* All others at our domains. */
static void
show_others(const struct places *places, FILE *out)
{
	const char *setting = places->setting;

	fputs("mail for others at ", out);
	for (size_t i = 0; i < places->domains->n; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "",
		    places->domains->names[i]);
	if (!places_exist(places))
		fputs(" is for the next hop\n", out);
	else if (setting == NULL || places->auth->kind == AUTH_FILE ||
	    !pattern_has_name(setting))
		fprintf(out, setting != NULL && !pattern_has_name(setting)
		    ? " goes to %s\n" : " is refused\n", setting);
	else
		fprintf(out, " goes to %s, %s\n", setting, places->create
		    ? "which is made" : "where that is there");
}

void
recipients_show(struct places *places, const char *path, bool relays,
    FILE *out)
{
	show_aliases(places, path, relays, out);
	show_users(places, relays, out);
	show_others(places, out);
	fprintf(out, "mail for other domains %s\n", relays
	    ? "is for the next hop, with a login" : places->setting != NULL &&
	    !pattern_has_name(places->setting) ? "is kept there too"
	    : "is refused");
	places_reset(places);
}
