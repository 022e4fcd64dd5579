/*
 * account.c - reading the accounts file.
 *
 * The file's text stays in memory and is cut into strings in place. An error
 * says which line and which word, and never shows the word: when they are in
 * the wrong order, or a URL has a login in it, that would be the password.
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
#include "protocol/sasl_client.h"
#include "system/file.h"

#define BLANKS " \t\r"

struct line {
	const char *path;
	const char *text; /* the whole file's */
	uint64_t digest;
	unsigned number;
	struct error *error;
};

static int __attribute__((format(printf, 2, 3)))
wrong(const struct line *line, const char *format, ...)
{
	const char *path = error_tail(line->path, ACCOUNT_FILE_SHOWN);
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

/* file:PATH, exec:COMMAND, or the password itself with %XX, which is only
 * looked at here. */
static int
parse_password(struct account *account, char *word, const struct line *line)
{
	const struct slice file = SLICE("file:"), command = SLICE("exec:");

	if (slice_starts_with(slice_from(word), file)) {
		account->password_kind = ACCOUNT_PASSWORD_FILE;
		account->password = word + file.len;
		return 0;
	}
	if (slice_starts_with(slice_from(word), command)) {
		account->password_kind = ACCOUNT_PASSWORD_COMMAND;
		account->password = word + command.len;
		return percent_decode(word) ? 0
		    : bad_percent(line, "the command");
	}
	account->password_kind = ACCOUNT_PASSWORD_LINE;
	account->password_at = (size_t)(word - line->text);
	account->password_len = strlen(word);
	bool good = percent_decode(word);
	size_t len = strlen(word);
	explicit_bzero(word, account->password_len);
	if (!good)
		return bad_percent(line, "the password");
	return len <= SASL_CLIENT_SECRET_MAX ? 0 : wrong(line,
	    "the password has more than %d octets", SASL_CLIENT_SECRET_MAX);
}

static int
parse_login(struct account *account, char *word, const struct line *line)
{
	if (word[0] == '#')
		return wrong(line, "comments stand on lines of their own (a "
		    "login that begins with # is written %%23)");
	if (!percent_decode(word))
		return bad_percent(line, "the login");
	if (strlen(word) > SASL_CLIENT_NAME_MAX)
		return wrong(line, "the login has more than %d octets",
		    SASL_CLIENT_NAME_MAX);
	account->login = word;
	return 0;
}

/* ---- the sender ---- */

/* What is wrong with it, or NULL. An account for a sender that MAIL refuses
 * would never match, and the mail that was meant would go by another. */
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
	if (slice_starts_with(sender, SLICE("<")))
		return "write it without < and >";
	if (memchr(sender.data, ',', sender.len) != NULL)
		return "one in each line";
	if (slice_starts_with(domain, SLICE("*.")) ||
	    slice_starts_with(domain, SLICE(".")))
		return "a domain is for addresses right in it, and those below "
		    "it need lines of their own";
	return "the first word is none of these";
}

/* ---- lines ---- */

/* The words of a line; NULL where there is none. */
struct words {
	char *sender;
	char *url;
	char *login;
	char *password; /* of exec: with all that stands behind it */
	char *only_for; /* the name */
	bool more;      /* than an account has */
	bool comment;   /* at the end of the line */
};

/* Takes the first word off the text: NULL where there is none. */
static char *
take_word(char **text)
{
	char *word = *text + strspn(*text, BLANKS);

	*text = word + strcspn(word, BLANKS);
	if (**text != '\0')
		*(*text)++ = '\0';
	return word[0] != '\0' ? word : NULL;
}

/* The same with the last one. */
static char *
last_word(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
		text[--len] = '\0';
	while (len > 0 && strchr(BLANKS, text[len - 1]) == NULL)
		len--;
	return text + len;
}

static bool
has_comment(const char *text)
{
	for (text += strspn(text, BLANKS); *text != '\0' && *text != '#';
	    text += strspn(text, BLANKS))
		text += strcspn(text, BLANKS);
	return *text == '#';
}

static void
split_words(char *text, struct words *words)
{
	static const char only_for[] = "for=", command[] = "exec:";

	*words = (struct words){ .sender = take_word(&text) };
	words->url = take_word(&text);
	words->comment = has_comment(text);
	char *last = last_word(text);
	if (slice_starts_with_nocase(slice_from(last), SLICE("for="))) {
		words->only_for = last + sizeof(only_for) - 1;
		if (last > text)
			last[-1] = '\0';
		else
			text = words->only_for + strlen(words->only_for);
	}
	words->login = take_word(&text);
	text += strspn(text, BLANKS);
	if (strncmp(text, command, sizeof(command) - 1) == 0) {
		words->password = text;
		return;
	}
	words->password = take_word(&text);
	words->more = take_word(&text) != NULL;
}

static int
parse_only_for(struct account *account, char *name, const struct line *line)
{
	if (name == NULL)
		return 0;
	if (!percent_decode(name))
		return bad_percent(line, "the name after for=");
	account->only_for = slice_from(name);
	return name[0] != '\0' ? 0
	    : wrong(line, "for= needs a login's name");
}

static int
parse_next_hop(struct account *account, const struct words *words,
    const struct line *line)
{
	struct next_hop *hop = &account->hop;
	const char *fault = next_hop_parse(hop, words->url);

	if (fault != NULL)
		return wrong(line, "%s", fault);
	if (words->login == NULL)
		return hop->auth == SASL_CLIENT_NONE ? 0
		    : wrong(line, "auth= needs a login and a password");
	if (!next_hop_has_tls(hop) && !next_hop_is_this_machine(hop))
		return wrong(line, "a password leaves this machine only under "
		    "TLS, with smtps or smtp");
	return 0;
}

/* SENDER URL [LOGIN PASSWORD] [for=NAME] */
static int
parse_account(struct account *account, const struct words *words,
    const struct line *line)
{
	if (parse_only_for(account, words->only_for, line) < 0)
		return -1;
	if (words->url == NULL || words->more ||
	    (words->login == NULL) != (words->password == NULL))
		return words->comment
		    ? wrong(line, "comments stand on lines of their own")
		    : wrong(line, "an account is SENDER URL [LOGIN PASSWORD] "
		          "[for=NAME]; a blank in one of them is written "
		          "%%20");
	account->sender = slice_from(words->sender);
	/* The root's: mail from there has none. */
	if (slice_ends_with(account->sender, SLICE(".")))
		account->sender.len--;
	const char *fault = sender_fault(account->sender);
	if (fault != NULL)
		return wrong(line, "a sender is an address, a domain, or * "
		    "for any: %s", fault);
	if (parse_next_hop(account, words, line) < 0)
		return -1;
	if (words->login == NULL)
		return 0;
	return parse_login(account, words->login, line) < 0 ? -1
	    : parse_password(account, words->password, line);
}

static int
add_account(struct accounts *accounts, char *text, const struct line *line)
{
	struct account account = {
		.file = accounts->path, .line = line->number,
		.digest = line->digest,
	};
	struct words words;

	split_words(text, &words);
	if (words.sender == NULL || words.sender[0] == '#')
		return 0;
	if (parse_account(&account, &words, line) < 0)
		return -1;
	struct account *grown = realloc(accounts->items,
	    (accounts->n + 1) * sizeof(account));
	if (grown == NULL)
		return error_system(line->error, ENOMEM, "accounts");
	accounts->items = grown;
	accounts->items[accounts->n++] = account;
	return 0;
}

/* FNV-1a. */
uint64_t
accounts_digest(struct slice text)
{
	uint64_t digest = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < text.len; i++)
		digest = (digest ^ (unsigned char)text.data[i]) *
		    UINT64_C(1099511628211);
	return digest;
}

static int
read_lines(struct accounts *accounts, struct line *line)
{
	struct lines lines = { .next = accounts->text };
	char *text;

	line->text = accounts->text;
	line->digest = accounts_digest((struct slice){ accounts->text,
	    accounts->text_len });
	if (slice_starts_with(slice_from(accounts->text),
	    SLICE("\xEF\xBB\xBF"))) {
		line->number = 1;
		return wrong(line, "the file begins with a byte order mark: "
		    "save it without");
	}
	while ((text = lines_next(&lines)) != NULL) {
		line->number = lines.number;
		if (add_account(accounts, text, line) < 0)
			return -1;
	}
	return accounts->n > 0 ? 0 : error_set(line->error, ERROR_CONFIG,
	    "%s: no account in it",
	    error_tail(accounts->path, ACCOUNT_FILE_SHOWN));
}

int
accounts_read(struct accounts *accounts, const char *path,
    struct error *error)
{
	struct line line = { .path = path, .error = error };

	*accounts = (struct accounts){ .path = strdup(path) };
	if (accounts->path == NULL)
		return error_system(error, ENOMEM, "accounts");
	if (file_read(path, ACCOUNTS_FILE_MAX, true, &accounts->text,
	    &accounts->text_len, error) == 0 &&
	    read_lines(accounts, &line) == 0)
		return 0;
	accounts_free(accounts);
	return -1;
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
	if (accounts->text != NULL)
		explicit_bzero(accounts->text, accounts->text_len);
	free(accounts->items);
	free(accounts->text);
	free(accounts->path);
	*accounts = (struct accounts){ .n = 0 };
}
