/*
 * account.c - reading the accounts file.
 *
 * The file's text stays in memory and is cut into strings in place. An error
 * says which line and which word, and never shows the word: when they are in
 * the wrong order, or a URL has a login in it, that would be the password.
 * Layer 2.
 */
#include "relay/account.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/percent.h"
#include "protocol/address.h"
#include "protocol/sasl.h"
#include "system/file.h"

/* One more than an account has: a comment may be behind it. */
#define WORDS_MAX 6
#define PASSWORD_FILE_MAX 4096
/* Of the file's path, an error shows so much of its end. */
#define PATH_SHOWN 180

struct line {
	const char *path;
	unsigned number;
	struct error *error;
};

static int __attribute__((format(printf, 2, 3)))
wrong(const struct line *line, const char *format, ...)
{
	const char *path = error_tail(line->path, PATH_SHOWN);
	char what[300];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return error_set(line->error, ERROR_CONFIG, "%s%s:%u: %s",
	    path == line->path ? "" : "...", path, line->number, what);
}

static int
bad_percent(const struct line *line, const char *where)
{
	return wrong(line, "%s%s", where, PERCENT_FAULT);
}

/* ---- login and password ---- */

static int
read_password(struct account *account, const char *name,
    const struct line *line)
{
	char path[4096];
	char why[sizeof(line->error->text)];
	char *text;
	size_t len;
	const char *where = file_path(name, path, sizeof(path),
	    line->error);

	if (where == NULL || file_read(where, PASSWORD_FILE_MAX,
	    true, &text, &len, line->error) < 0) {
		memcpy(why, line->error->text, sizeof(why));
		return wrong(line, "%s", why);
	}
	/* There may be more than the line that is the password. */
	size_t line_len = strcspn(text, "\r\n");
	explicit_bzero(text + line_len, len - line_len);
	account->password = text;
	return 0;
}

/* Inline with %XX, or file:PATH, its first line. */
static int
parse_password(struct account *account, char *word, const struct line *line)
{
	static const char file[] = "file:";

	if (strncmp(word, file, sizeof(file) - 1) == 0) {
		if (read_password(account, word + sizeof(file) - 1, line) < 0)
			return -1;
	} else {
		if (!percent_decode(word))
			return bad_percent(line, "the password");
		char *copy = strdup(word);
		if (copy == NULL)
			return error_system(line->error, ENOMEM, "accounts");
		account->password = copy;
	}
	if (account->password[0] == '\0')
		return wrong(line, "the password is empty");
	if (strlen(account->password) > SASL_SECRET_MAX)
		return wrong(line, "the password has more than %d octets",
		    SASL_SECRET_MAX);
	return 0;
}

static int
parse_login(struct account *account, char *word, const struct line *line)
{
	if (word[0] == '#')
		return wrong(line, "comments stand on lines of their own (a "
		    "login that begins with # is written %%23)");
	if (!percent_decode(word))
		return bad_percent(line, "the login");
	if (strlen(word) > SASL_SECRET_MAX)
		return wrong(line, "the login has more than %d octets",
		    SASL_SECRET_MAX);
	account->login = word;
	return 0;
}

static void
free_password(struct account *account)
{
	if (account->password == NULL)
		return;
	explicit_bzero(account->password, strlen(account->password));
	free(account->password);
}

/* ---- the sender ---- */

/* What is wrong with it, or NULL. No message has a sender that MAIL refuses:
 * an account for one would never be used, and its mail go by another. */
static const char *
sender_fault(struct slice sender)
{
	const char *at = memrchr(sender.data, '@', sender.len);
	struct slice domain = at == NULL ? sender
	    : slice_skip(sender, (size_t)(at - sender.data) + 1);
	struct address address;

	if (slice_equal(sender, SLICE("*")))
		return NULL;
	if (address_is_domain(domain, true)) {
		if (slice_starts_with(sender, SLICE("*@")))
			return "a domain is for all its addresses, without "
			    "*@";
		if (at == NULL || address_parse_mailbox(sender, true,
		    &address) == ADDRESS_OK)
			return NULL;
	}
	if (slice_equal(sender, SLICE("<>")))
		return "only * is for mail from <>";
	if (sender.data[0] == '<')
		return "write it without < and >";
	if (memchr(sender.data, ',', sender.len) != NULL)
		return "one in each line";
	if (slice_starts_with(domain, SLICE("*.")) ||
	    slice_starts_with(domain, SLICE(".")))
		return "a domain is for addresses right in it, and those below "
		    "it need lines of their own";
	if (slice_ends_with(domain, SLICE(".")))
		return "without a dot at the end";
	return "the first word is none of these";
}

/* ---- lines ---- */

/* SENDER URL [LOGIN PASSWORD] [for=NAME] */
static int
parse_account(struct account *account, char **words, size_t n,
    const struct line *line)
{
	const struct slice only_for = SLICE("for=");
	const char *fault;

	*account = (struct account){ .line = line->number };
	account->sender = slice_from(words[0]);
	if (n > 2 && n <= WORDS_MAX && slice_starts_with_nocase(
	    slice_from(words[n - 1]), only_for)) {
		char *name = words[n - 1] + only_for.len;

		if (!percent_decode(name))
			return bad_percent(line, "the name after for=");
		account->only_for = slice_from(name);
		if (name[0] == '\0')
			return wrong(line, "for= needs a login's name");
		n--;
	}
	if (n != 2 && n != 4) {
		for (size_t i = 2; i < n && i < WORDS_MAX; i++)
			if (words[i][0] == '#')
				return wrong(line, "comments stand on lines "
				    "of their own");
		return wrong(line, "an account is SENDER URL [LOGIN PASSWORD] "
		    "[for=NAME]");
	}
	fault = sender_fault(account->sender);
	if (fault != NULL)
		return wrong(line, "a sender is an address, a domain, or * "
		    "for any: %s", fault);
	fault = next_hop_parse(&account->hop, words[1]);
	if (fault != NULL)
		return wrong(line, "%s", fault);
	if (n == 2)
		return 0;
	if (parse_login(account, words[2], line) < 0)
		return -1;
	if (!next_hop_has_tls(&account->hop) &&
	    !next_hop_is_this_machine(&account->hop))
		return wrong(line, "a password leaves this machine only under "
		    "TLS, with smtps or smtp");
	return parse_password(account, words[3], line);
}

/* Cuts a line into words, NUL-terminated in place: max + 1 where there are
 * more. */
static size_t
split_words(char *text, char **words, size_t max)
{
	size_t n = 0;

	for (;;) {
		text += strspn(text, " \t\r");
		if (*text == '\0')
			return n;
		if (n == max)
			return max + 1;
		words[n++] = text;
		text += strcspn(text, " \t\r");
		if (*text != '\0')
			*text++ = '\0';
	}
}

static int
add_account(struct accounts *accounts, char *text, const struct line *line)
{
	char *words[WORDS_MAX];
	size_t n = split_words(text, words, WORDS_MAX);
	struct account account;

	if (n == 0 || words[0][0] == '#')
		return 0;
	int parsed = parse_account(&account, words, n, line);
	if (parsed == 0) {
		struct account *grown = realloc(accounts->items,
		    (accounts->n + 1) * sizeof(account));
		if (grown != NULL) {
			accounts->items = grown;
			accounts->items[accounts->n++] = account;
			return 0;
		}
		error_system(line->error, ENOMEM, "accounts");
	}
	free_password(&account);
	return -1;
}

int
accounts_read(struct accounts *accounts, const char *path,
    struct error *error)
{
	struct line line = { .path = path, .error = error };

	*accounts = (struct accounts){ .n = 0 };
	if (file_read(path, ACCOUNTS_FILE_MAX, true, &accounts->text,
	    &accounts->text_len, error) < 0)
		return -1;
	char *at = accounts->text;
	if (slice_starts_with(slice_from(at), SLICE("\xEF\xBB\xBF"))) {
		line.number = 1;
		accounts_free(accounts);
		return wrong(&line, "the file begins with a byte order mark: "
		    "save it without");
	}
	struct lines lines = { .next = at };
	while ((at = lines_next(&lines)) != NULL) {
		line.number = lines.number;
		if (add_account(accounts, at, &line) < 0) {
			accounts_free(accounts);
			return -1;
		}
	}
	if (accounts->n > 0)
		return 0;
	accounts_free(accounts);
	return error_set(error, ERROR_CONFIG, "%s: no account in it",
	    error_tail(path, PATH_SHOWN));
}

static bool
matches(const struct account *account, struct slice sender)
{
	struct slice pattern = account->sender;

	if (slice_equal(pattern, SLICE("*")))
		return true;
	if (sender.len == 0)
		return false;
	if (memchr(pattern.data, '@', pattern.len) != NULL)
		/* RFC 5321 2.4: local parts may differ by case, but no
		 * operator means them to. */
		return slice_equal_nocase(pattern, sender);
	const char *at = memrchr(sender.data, '@', sender.len);
	return at != NULL && slice_equal_nocase(pattern,
	    slice_skip(sender, (size_t)(at - sender.data) + 1));
}

const struct account *
accounts_find(const struct accounts *accounts, struct slice sender,
    struct slice login)
{
	for (size_t i = 0; i < accounts->n; i++) {
		const struct account *account = &accounts->items[i];

		if (matches(account, sender) && (account->only_for.len == 0 ||
		    slice_equal(account->only_for, login)))
			return account;
	}
	return NULL;
}

void
accounts_free(struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->n; i++)
		free_password(&accounts->items[i]);
	if (accounts->text != NULL)
		explicit_bzero(accounts->text, accounts->text_len);
	free(accounts->items);
	free(accounts->text);
	*accounts = (struct accounts){ .n = 0 };
}
