/*
 * account.c - reading the accounts file.
 *
 * The file's text stays in memory and is cut into strings in place.
 * Layer 2.
 */
#include "account.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "options.h"

#define WORDS_MAX 5
#define PASSWORD_FILE_MAX 1024

/* What comes before the colon of a URL. */
static const struct {
	const char *name;
	const char *port;
	bool tls;
	bool lmtp;
} schemes[] = {
	/* RFC 8314 7.3 */
	[ACCOUNT_SMTPS] = { "smtps", "465", true, false },
	/* RFC 6409 3.1 */
	[ACCOUNT_SMTP] = { "smtp", "587", true, false },
	[ACCOUNT_SMTP_PLAIN] = { "smtp+plain", "25", false, false },
	/* RFC 2033 5: not 25. What Dovecot and Cyrus listen on. */
	[ACCOUNT_LMTP] = { "lmtp", "24", false, true },
	[ACCOUNT_LMTP_UNIX] = { "lmtp+unix", "", false, true },
};

struct line {
	const char *path;
	unsigned number;
	struct error *error;
};

static int
wrong(const struct line *line, const char *what, const char *word)
{
	return error_set(line->error, ERROR_CONFIG, "%.120s:%u: %s%s%.60s%s",
	    line->path, line->number, what, word != NULL ? ": '" : "",
	    word != NULL ? word : "", word != NULL ? "'" : "");
}

static int
hex_value(char c)
{
	c = slice_lower(c);
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX in place (RFC 3986 2.1). False, and nothing changed, for a
 * stray % and for NUL. */
static bool
decode_percent(char *word)
{
	char *out = word;

	for (const char *in = word; (in = strchr(in, '%')) != NULL; in += 3) {
		int high = hex_value(in[1]);
		if (high < 0 || hex_value(in[2]) < 0 ||
		    (high == 0 && hex_value(in[2]) == 0))
			return false;
	}
	for (const char *in = word; *in != '\0'; in++) {
		if (*in == '%') {
			*out++ = (char)(hex_value(in[1]) * 16 +
			    hex_value(in[2]));
			in += 2;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
	return true;
}

/* "?ca=FILE&verify=no" */
static int
parse_query(struct account *account, char *query, const struct line *line)
{
	while (query != NULL) {
		char *word = query;
		query = strchr(query, '&');
		if (query != NULL)
			*query++ = '\0';
		if (!decode_percent(word))
			return wrong(line, "bad percent-encoding", word);
		if (strncmp(word, "ca=", 3) == 0 && word[3] != '\0')
			account->ca_file = word + 3;
		else if (strcmp(word, "verify=no") == 0)
			account->verify = false;
		else if (strcmp(word, "verify=yes") == 0)
			account->verify = true;
		else
			return wrong(line, "allowed after ? are ca=FILE, "
			    "verify=yes and verify=no, not", word);
	}
	return 0;
}

/* host, host:port, [address], [address]:port */
static int
parse_host(struct account *account, char *host, const struct line *line)
{
	char *port = NULL;
	uint64_t number;

	if (host[0] == '[') {
		char *end = strchr(host, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return wrong(line, "not [address] or [address]:port",
			    host);
		port = end[1] == ':' ? end + 2 : NULL;
		*end = '\0';
		host++;
	} else {
		port = strchr(host, ':');
		if (port != NULL)
			*port++ = '\0';
	}
	if (host[0] == '\0')
		return wrong(line, "the next hop has no host name", NULL);
	if (strpbrk(host, "/[]@") != NULL || slice_has_control(
	    slice_from(host)))
		return wrong(line, "not a host name", host);
	if (port != NULL && (!slice_to_number(slice_from(port), 65535,
	    &number) || number == 0))
		return wrong(line, "a port is a number from 1 to 65535, not",
		    port);
	account->host = host;
	if (port != NULL)
		account->port = port;
	return 0;
}

/* Which scheme a URL has, and what comes after its colon; NULL for none. */
static char *
cut_scheme(char *url, enum account_scheme *scheme)
{
	char *colon = strchr(url, ':');

	for (size_t i = 0; colon != NULL &&
	    i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strlen(schemes[i].name) == (size_t)(colon - url) &&
		    strncmp(schemes[i].name, url, (size_t)(colon - url)) == 0) {
			*scheme = (enum account_scheme)i;
			return colon + 1;
		}
	return NULL;
}

/* The path of a UNIX socket. */
static int
parse_path(struct account *account, char *path, const struct line *line)
{
	if (!decode_percent(path))
		return wrong(line, "bad percent-encoding", path);
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return wrong(line, "too long for a socket's path", path);
	account->host = path;
	return 0;
}

static int
parse_url(struct account *account, char *url, const struct line *line)
{
	/* Before anything that would show the URL: there may be a password
	 * in it. */
	const char *at = strchr(url, '@');
	if (at != NULL && at < url + strcspn(url, "?"))
		return wrong(line, "login and password are words of their "
		    "own after the URL, not part of it", NULL);
	char *rest = cut_scheme(url, &account->scheme);
	bool is_path = account->scheme == ACCOUNT_LMTP_UNIX;
	if (rest == NULL || strncmp(rest, "//", is_path ? 1 : 2) != 0)
		return wrong(line, "a next hop is smtps://HOST[:PORT], "
		    "smtp://, smtp+plain:// or lmtp:// with the same, or "
		    "lmtp+unix:/PATH, not", url);
	account->port = schemes[account->scheme].port;
	account->verify = schemes[account->scheme].tls;
	char *query = strchr(rest, '?');
	if (query != NULL)
		*query++ = '\0';
	if (query != NULL && !schemes[account->scheme].tls)
		return wrong(line, "ca= and verify= are for smtps and smtp: "
		    "there is no TLS in", schemes[account->scheme].name);
	if (is_path)
		return parse_path(account, rest, line);
	/* A slash at the end is what URLs often have. */
	size_t len = strlen(rest);
	if (len > 2 && rest[len - 1] == '/')
		rest[len - 1] = '\0';
	return parse_host(account, rest + 2, line) < 0 ? -1
	    : parse_query(account, query, line);
}

/* Is that this machine, whatever a resolver may say? */
static bool
is_this_machine(const struct account *account)
{
	struct in_addr in;
	struct in6_addr in6;

	if (account->scheme == ACCOUNT_LMTP_UNIX)
		return true;
	if (inet_pton(AF_INET, account->host, &in) == 1)
		return ntohl(in.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, account->host, &in6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&in6) ||
		    (IN6_IS_ADDR_V4MAPPED(&in6) && in6.s6_addr[12] == 127);
	/* RFC 6761 6.3. */
	return slice_equal_nocase(slice_from(account->host),
	    SLICE("localhost"));
}

/* Inline with %XX, or file:PATH, its first line. */
static int
parse_password(struct account *account, char *word, const struct line *line)
{
	static const char file[] = "file:";
	char *text;
	size_t len;

	if (strncmp(word, file, sizeof(file) - 1) != 0) {
		char *copy;

		if (!decode_percent(word))
			return wrong(line, "the password has a '%' that is no "
			    "%XX (write %25)", NULL);
		copy = strdup(word);
		if (copy == NULL)
			return error_system(line->error, ENOMEM, "accounts");
		account->password = copy;
		return 0;
	}
	char path[4096];
	const char *where = options_path(word + sizeof(file) - 1, path,
	    sizeof(path), line->error);
	if (where == NULL || options_read_file(where, PASSWORD_FILE_MAX,
	    true, &text, &len, line->error) < 0) {
		char why[sizeof(line->error->text)];

		memcpy(why, line->error->text, sizeof(why));
		return error_set(line->error, ERROR_CONFIG, "%.60s:%u: %.180s",
		    line->path, line->number, why);
	}
	text[strcspn(text, "\r\n")] = '\0';
	account->password = text;
	return 0;
}

/* "*", a domain, or an address with something on both sides of its @. */
static bool
is_sender(struct slice sender)
{
	const char *at = memrchr(sender.data, '@', sender.len);

	if (slice_has_control(sender))
		return false;
	return at == NULL || (at > sender.data &&
	    at < sender.data + sender.len - 1);
}

static int
parse_account(struct account *account, char **words, size_t n,
    const struct line *line)
{
	static const char only_for[] = "for=";

	*account = (struct account){ .line = line->number };
	if (n > 2 && strncmp(words[n - 1], only_for,
	    sizeof(only_for) - 1) == 0) {
		account->only_for = slice_from(words[n - 1] +
		    sizeof(only_for) - 1);
		if (account->only_for.len == 0)
			return wrong(line, "for= needs a login's name", NULL);
		n--;
	}
	if (n != 2 && n != 4)
		return wrong(line, "an account is SENDER URL [LOGIN PASSWORD] "
		    "[for=NAME]", NULL);
	account->sender = slice_from(words[0]);
	if (!is_sender(account->sender))
		return wrong(line, "a sender is an address, a domain or *, "
		    "not", words[0]);
	if (parse_url(account, words[1], line) < 0)
		return -1;
	if (n == 2)
		return 0;
	if (!account_has_tls(account) && !is_this_machine(account))
		return wrong(line, "a password leaves this machine only under "
		    "TLS, with smtps or smtp, and so not for", account->host);
	if (!decode_percent(words[2]))
		return wrong(line, "bad percent-encoding", words[2]);
	account->login = words[2];
	return parse_password(account, words[3], line);
}

/* Cuts a line into words, NUL-terminated in place. */
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
	if (n > WORDS_MAX)
		return wrong(line, "too many words", NULL);
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
	free((char *)account.password);
	return -1;
}

int
accounts_read(struct accounts *accounts, const char *path,
    struct error *error)
{
	struct line line = { .path = path, .error = error };

	*accounts = (struct accounts){ .n = 0 };
	if (options_read_file(path, ACCOUNTS_FILE_MAX, true, &accounts->text,
	    &accounts->text_len, error) < 0)
		return -1;
	char *at = accounts->text;
	while (at != NULL) {
		char *next = strchr(at, '\n');
		if (next != NULL)
			*next++ = '\0';
		line.number++;
		if (add_account(accounts, at, &line) < 0) {
			accounts_free(accounts);
			return -1;
		}
		at = next;
	}
	if (accounts->n > 0)
		return 0;
	accounts_free(accounts);
	return error_set(error, ERROR_CONFIG, "%.120s: no account in it",
	    path);
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

bool
account_has_tls(const struct account *account)
{
	return schemes[account->scheme].tls;
}

bool
account_is_lmtp(const struct account *account)
{
	return schemes[account->scheme].lmtp;
}

const char *
account_scheme_name(enum account_scheme scheme)
{
	return schemes[scheme].name;
}

void
accounts_free(struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->n; i++) {
		char *password = (char *)accounts->items[i].password;
		if (password == NULL)
			continue;
		explicit_bzero(password, strlen(password));
		free(password);
	}
	if (accounts->text != NULL)
		explicit_bzero(accounts->text, accounts->text_len);
	free(accounts->items);
	free(accounts->text);
	*accounts = (struct accounts){ .n = 0 };
}
