/*
 * account.c - reading the accounts file.
 *
 * The file's text stays in memory and is cut into strings in place. An error
 * says which line and which word, and never shows the word: when they are in
 * the wrong order, or a URL has a login in it, that would be the password.
 * Layer 2.
 */
#include "relay/account.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "settings/options.h"
#include "protocol/sasl.h"

/* One more than an account has: a comment may be behind it. */
#define WORDS_MAX 6
#define PASSWORD_FILE_MAX 4096
#define HOST_NAME_MAX_LEN 253
/* Of the file's path, an error shows so much of its end. */
#define PATH_SHOWN 180

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

static int
bad_percent(const struct line *line, const char *where)
{
	return wrong(line, "%s has a '%%' that is no %%XX (write %%25)",
	    where);
}

/* Words with single dots between them. Host names have no other letters;
 * the domain of an address may (RFC 6531). */
static bool
is_dotted(struct slice s, const char *allowed, bool any_script)
{
	bool after_dot = true;

	for (size_t i = 0; i < s.len; i++) {
		char c = slice_lower(s.data[i]);
		bool dot = c == '.';

		if (dot ? after_dot : !(c >= 'a' && c <= 'z') &&
		    !(c >= '0' && c <= '9') &&
		    !(any_script && (unsigned char)c >= 0x80) &&
		    memchr(allowed, c, strlen(allowed)) == NULL)
			return false;
		after_dot = dot;
	}
	return !after_dot;
}

/* ---- the next hop ---- */

/* One of "?ca=FILE&verify=no". */
static int
parse_parameter(struct account *account, char *word, const struct line *line)
{
	struct slice parameter = slice_from(word);

	if (slice_starts_with_nocase(parameter, SLICE("ca=")) &&
	    parameter.len > 3)
		account->ca_file = word + 3;
	else if (slice_equal_nocase(parameter, SLICE("verify=no")))
		account->verify = false;
	else if (slice_equal_nocase(parameter, SLICE("verify=yes")))
		account->verify = true;
	else
		return wrong(line, "allowed after ? in a URL are ca=FILE, "
		    "verify=yes and verify=no");
	return 0;
}

static int
parse_query(struct account *account, char *query, const struct line *line)
{
	while (query != NULL) {
		char *word = query;
		query = strchr(query, '&');
		if (query != NULL)
			*query++ = '\0';
		if (!decode_percent(word))
			return bad_percent(line, "what is after ? in the URL");
		if (parse_parameter(account, word, line) < 0)
			return -1;
	}
	return 0;
}

/* An address of IPv6, perhaps with a zone (RFC 4007 11). */
static bool
is_address(const char *host)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%");
	struct in6_addr in6;

	if (len >= sizeof(address))
		return false;
	memcpy(address, host, len);
	address[len] = '\0';
	return inet_pton(AF_INET6, address, &in6) == 1 &&
	    (host[len] == '\0' ||
	    is_dotted(slice_from(host + len + 1), "-_", false));
}

/* host, host:port, [address], [address]:port */
static int
parse_host(struct account *account, char *host, const struct line *line)
{
	bool brackets = host[0] == '[';
	char *port = NULL;
	uint64_t number;

	if (brackets) {
		char *end = strchr(host, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return wrong(line, "the next hop is not [ADDRESS] or "
			    "[ADDRESS]:PORT");
		port = end[1] == ':' ? end + 2 : NULL;
		*end = '\0';
		host++;
	} else {
		port = strchr(host, ':');
		if (port != NULL)
			*port++ = '\0';
	}
	if (host[0] == '\0')
		return wrong(line, "the next hop has no host name");
	if (brackets && !is_address(host))
		return wrong(line, "what the next hop has in brackets is no "
		    "IPv6 address");
	/* A dot at the end is the root's. */
	struct slice name = slice_from(host);
	if (name.len > 1 && host[name.len - 1] == '.')
		name.len--;
	if (!brackets && (name.len > HOST_NAME_MAX_LEN ||
	    !is_dotted(name, "-_", false)))
		return wrong(line, "the next hop's host name has something "
		    "else than letters, digits, - and _ between single dots");
	if (port != NULL && (!slice_to_number(slice_from(port), 65535,
	    &number) || number == 0))
		return wrong(line, "the next hop's port is not a number from "
		    "1 to 65535");
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
		if (slice_equal_nocase(slice_from(schemes[i].name),
		    (struct slice){ url, (size_t)(colon - url) })) {
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
		return bad_percent(line, "the socket's path");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return wrong(line, "too long for a socket's path");
	account->host = path;
	return 0;
}

/* "smtps://joe:secret@host"? A file's name may have an @ in it. */
static bool
has_login(struct slice url)
{
	struct slice part, query;

	slice_cut(url, '?', &part, &query);
	while (part.len == 0 || memchr(part.data, '@', part.len) == NULL ||
	    slice_starts_with_nocase(part, SLICE("ca="))) {
		if (query.len == 0)
			return false;
		slice_cut(query, '&', &part, &query);
	}
	return true;
}

static int
parse_url(struct account *account, char *url, const struct line *line)
{
	if (has_login(slice_from(url)))
		return wrong(line, "login and password are words of their "
		    "own after the URL, not part of it");
	char *rest = cut_scheme(url, &account->scheme);
	bool is_path = account->scheme == ACCOUNT_LMTP_UNIX;
	if (rest == NULL || strncmp(rest, "//", is_path ? 1 : 2) != 0)
		return wrong(line, "the second word is no next hop: that is "
		    "smtps://HOST[:PORT], smtp://, smtp+plain:// or lmtp:// "
		    "with the same, or lmtp+unix:/PATH");
	account->port = schemes[account->scheme].port;
	account->verify = schemes[account->scheme].tls;
	char *query = strchr(rest, '?');
	if (query != NULL)
		*query++ = '\0';
	if (query != NULL && !schemes[account->scheme].tls)
		return wrong(line, "ca= and verify= are for smtps and smtp: "
		    "there is no TLS in %s", schemes[account->scheme].name);
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

/* ---- login and password ---- */

static int
read_password(struct account *account, const char *name,
    const struct line *line)
{
	char path[4096];
	char why[sizeof(line->error->text)];
	char *text;
	size_t len;
	const char *where = options_path(name, path, sizeof(path),
	    line->error);

	if (where == NULL || options_read_file(where, PASSWORD_FILE_MAX,
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
		if (!decode_percent(word))
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
	if (!decode_percent(word))
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
	char *password = (char *)account->password;

	if (password == NULL)
		return;
	explicit_bzero(password, strlen(password));
	free(password);
}

/* ---- the sender ---- */

/* RFC 5321 4.1.2, a small check: dot-string or quoted. */
static bool
is_local_part(struct slice s)
{
	if (s.len >= 2 && s.data[0] == '"')
		return s.data[s.len - 1] == '"';
	return is_dotted(s, "!#$%&'*+-/=?^_`{|}~", true);
}

static bool
is_domain(struct slice s)
{
	if (s.len > 2 && s.data[0] == '[')
		return s.data[s.len - 1] == ']';
	return is_dotted(s, "-_", true);
}

/* What is wrong with it, or NULL. A sender that no message has is an account
 * in vain, and the message would go by another. */
static const char *
sender_fault(struct slice sender)
{
	const char *at = memrchr(sender.data, '@', sender.len);
	struct slice local = { sender.data, at != NULL
	    ? (size_t)(at - sender.data) : 0 };
	struct slice domain = at != NULL ? slice_skip(sender, local.len + 1)
	                                 : sender;
	bool has_domain = is_domain(domain);

	if (slice_equal(sender, SLICE("*")))
		return NULL;
	if (slice_equal(local, SLICE("*")) && has_domain)
		return "a domain is for all its addresses, without *@";
	if (has_domain && (at == NULL || is_local_part(local)) &&
	    !slice_has_control(sender))
		return NULL;
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

		if (!decode_percent(name))
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
	if (parse_url(account, words[1], line) < 0)
		return -1;
	if (n == 2)
		return 0;
	if (parse_login(account, words[2], line) < 0)
		return -1;
	if (!account_has_tls(account) && !is_this_machine(account))
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
	if (options_read_file(path, ACCOUNTS_FILE_MAX, true, &accounts->text,
	    &accounts->text_len, error) < 0)
		return -1;
	char *at = accounts->text;
	if (slice_starts_with(slice_from(at), SLICE("\xEF\xBB\xBF"))) {
		line.number = 1;
		accounts_free(accounts);
		return wrong(&line, "the file begins with a byte order mark: "
		    "save it without");
	}
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
	for (size_t i = 0; i < accounts->n; i++)
		free_password(&accounts->items[i]);
	if (accounts->text != NULL)
		explicit_bzero(accounts->text, accounts->text_len);
	free(accounts->items);
	free(accounts->text);
	*accounts = (struct accounts){ .n = 0 };
}
