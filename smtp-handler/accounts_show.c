/*
 * accounts_show.c - the accounts in words, for --check-config at a terminal.
 *
 * The first match wins, so an account may never match, because of one before
 * it. That is said too, for it is what one looks for when mail goes elsewhere.
 */
#include "accounts_show.h"

#include <string.h>

static void
show_senders(const struct account *account, FILE *out)
{
	if (slice_equal(account->sender, SLICE("*")))
		fputs("mail from any sender (and <>)", out);
	else if (memchr(account->sender.data, '@',
	    account->sender.len) != NULL)
		fprintf(out, "mail from <%.*s>", SLICE_ARG(account->sender));
	else
		fprintf(out, "mail from any address at %.*s",
		    SLICE_ARG(account->sender));
	if (account->only_for.len > 0)
		fprintf(out, " by the login %.*s",
		    SLICE_ARG(account->only_for));
	else
		fputs(" by any login", out);
}

static void
show_next_hop(const struct account *account, FILE *out)
{
	const char *scheme = next_hop_scheme_name(account->hop.scheme);
	bool brackets = strchr(account->hop.host, ':') != NULL;

	if (account->hop.scheme == NEXT_HOP_LMTP_UNIX)
		fprintf(out, " goes to %s:%s", scheme, account->hop.host);
	else
		fprintf(out, " goes to %s://%s%s%s:%s", scheme,
		    brackets ? "[" : "", account->hop.host, brackets ? "]" : "",
		    account->hop.port);
	if (account->login != NULL)
		fprintf(out, " as %s", account->login);
	if (account->hop.auth != SASL_CLIENT_NONE)
		fprintf(out, " by %s", sasl_client_name(account->hop.auth));
	if (!next_hop_has_tls(&account->hop))
		fputs(", in the clear", out);
	else if (!account->hop.verify)
		fputs(", whatever its certificate", out);
}

/* The account before this one that takes all its mail, or NULL. */
static const struct account *
hidden_by(const struct accounts *accounts, size_t i)
{
	const struct account *account = &accounts->items[i];
	const char *at = memrchr(account->sender.data, '@',
	    account->sender.len);
	struct slice domain = at == NULL ? account->sender
	    : slice_skip(account->sender,
	          (size_t)(at - account->sender.data) + 1);

	for (size_t j = 0; j < i; j++) {
		const struct account *before = &accounts->items[j];

		if (before->only_for.len > 0 &&
		    !slice_equal(before->only_for, account->only_for))
			continue;
		if (slice_equal(before->sender, SLICE("*")) ||
		    slice_equal_nocase(before->sender, account->sender) ||
		    slice_equal_nocase(before->sender, domain))
			return before;
	}
	return NULL;
}

void
accounts_show(const struct accounts *accounts, const char *path, FILE *out)
{
	for (size_t i = 0; i < accounts->n; i++) {
		const struct account *account = &accounts->items[i];
		const struct account *before = hidden_by(accounts, i);

		fprintf(out, "%s:%u: ", path, account->line);
		show_senders(account, out);
		show_next_hop(account, out);
		if (before != NULL)
			fprintf(out, "; but never, for line %u comes first",
			    before->line);
		fputc('\n', out);
	}
}
