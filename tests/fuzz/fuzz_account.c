/*
 * fuzz_account.c - the relay's accounts file.
 *
 * First line: a sender and, after a blank, a login, for which an account is
 * looked up. The rest is the file. What is accepted must be usable as it
 * stands, its words must stand in the file, and the lookup must be that of
 * the manual: the first line that matches.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "relay/account.h"
#include "relay/account_secret.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The words of a line; how many, at most max + 1. */
static size_t
split(struct slice line, struct slice *words, size_t max)
{
	size_t n = 0;
	bool in_word = false;

	for (size_t i = 0; i < line.len; i++) {
		if (is_blank(line.data[i])) {
			in_word = false;
			continue;
		}
		if (!in_word && n++ == max)
			return n;
		if (!in_word)
			words[n - 1] = (struct slice){ line.data + i, 0 };
		words[n - 1].len++;
		in_word = true;
	}
	return n;
}

static struct slice
nth_line(struct slice file, unsigned number)
{
	struct slice line = file;

	while (number-- > 0)
		slice_cut(file, '\n', &line, &file);
	return line;
}

static int
hex(char c)
{
	const char *digits = "0123456789abcdefABCDEF";
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : at - digits < 16 ? (int)(at - digits)
	    : (int)(at - digits) - 6;
}

/* RFC 3986 2.1. */
static void
check_decoded(const char *got, struct slice word)
{
	struct text want = { .data = NULL };

	for (size_t i = 0; i < word.len; i++) {
		int c = (unsigned char)word.data[i];

		if (c == '%') {
			CHECK(i + 2 < word.len);
			int high = hex(word.data[i + 1]);
			int low = hex(word.data[i + 2]);
			CHECK(high >= 0 && low >= 0 && high + low > 0);
			c = high * 16 + low;
			i += 2;
		}
		text_add_octet(&want, (char)c);
	}
	CHECK_SAME(slice_from(got), text_slice(&want));
	text_free(&want);
}

static void
check_port(const char *port)
{
	unsigned long number = 0;

	CHECK(port[0] != '\0');
	for (size_t i = 0; port[i] != '\0'; i++) {
		CHECK(port[i] >= '0' && port[i] <= '9');
		number = number * 10 + (unsigned long)(port[i] - '0');
		CHECK(number <= 65535);
	}
	CHECK(number > 0);
}

/* 127.0.0.0/8, ::1, or the name that means them (RFC 6761 6.3). */
static bool
is_loopback(const char *host)
{
	struct in6_addr address;
	char mapped[64];

	if (strcasecmp(host, "localhost") == 0)
		return true;
	snprintf(mapped, sizeof(mapped), "%s%.50s",
	    strchr(host, ':') == NULL ? "::ffff:" : "", host);
	if (inet_pton(AF_INET6, mapped, &address) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&address) ||
	    (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

/* Where it is, and how it is spoken to. */
static void
check_place(const struct account *account, struct slice url)
{
	const char *scheme = next_hop_scheme_name(account->hop.scheme);
	size_t len = strlen(scheme);
	bool tls = strcmp(scheme, "smtps") == 0 ||
	    strcmp(scheme, "smtp") == 0;
	bool local = account->hop.scheme == NEXT_HOP_LMTP_UNIX;
	struct slice path, query;

	CHECK(slice_starts_with_nocase(url, slice_from(scheme)) &&
	    url.len > len + 1 && url.data[len] == ':');
	CHECK(next_hop_has_tls(&account->hop) == tls);
	CHECK(next_hop_is_lmtp(&account->hop) == (scheme[0] == 'l'));
	CHECK(account->hop.host != NULL && account->hop.host[0] != '\0');
	if (local) {
		CHECK(account->hop.host[0] == '/' &&
		    account->hop.port[0] == '\0');
		slice_cut(slice_skip(url, len + 1), '?', &path, &query);
		check_decoded(account->hop.host, path);
	} else {
		/* It stands where it was said, and is no more than that. */
		CHECK(fuzz_find(url, slice_from(account->hop.host)) < url.len);
		CHECK(strpbrk(account->hop.host, " \t@?/[]#") == NULL);
		CHECK(strstr(account->hop.host, "..") == NULL);
		CHECK(!slice_has_control(slice_from(account->hop.host)));
		check_port(account->hop.port);
	}
	/* In the clear there is nothing to verify and no password goes out,
	 * and what can be verified is, unless that was forbidden. */
	CHECK(tls || (account->hop.ca_file == NULL && !account->hop.verify));
	CHECK(!tls || account->hop.verify ||
	    memchr(url.data, '?', url.len) != NULL);
	CHECK(tls || local || account->login == NULL ||
	    is_loopback(account->hop.host));
	CHECK(account->hop.ca_file == NULL || account->hop.ca_file[0] != '\0');
	/* Who waits for the other to begin would do so without end. */
	CHECK(strcmp(account->hop.port, "465") != 0 ||
	    strcmp(scheme, "smtps") == 0 || scheme[0] == 'l');
	CHECK(account->hop.auth == SASL_CLIENT_NONE ||
	    (account->login != NULL && fuzz_find(url, SLICE("?")) < url.len));
}

/* What is kept of it, and that the password comes out as it stands there. */
static void
check_password(const struct account *account, struct slice word)
{
	struct account_secret secret;
	struct error error;

	switch (account->password_kind) {
	case ACCOUNT_PASSWORD_NONE:
		CHECK(false);
		break;
	case ACCOUNT_PASSWORD_LINE:
		CHECK(account->password == NULL);
		CHECK(account_secret_read(&secret, account, 0, &error) == 0);
		check_decoded(secret.text, word);
		CHECK(secret.len > 0 && strlen(secret.text) == secret.len);
		account_secret_wipe(&secret);
		break;
	case ACCOUNT_PASSWORD_FILE:
		CHECK(slice_starts_with(word, SLICE("file:")));
		CHECK_SAME(slice_from(account->password),
		    slice_skip(word, 5));
		break;
	case ACCOUNT_PASSWORD_COMMAND:
		/* It is not run here. */
		CHECK(slice_starts_with(word, SLICE("exec:")));
		break;
	}
}

static void
check_account(const struct account *account, struct slice file)
{
	struct slice words[5];
	size_t n = split(nth_line(file, account->line), words, 5);
	bool command = account->password_kind == ACCOUNT_PASSWORD_COMMAND;

	CHECK(n >= 2 && (n <= 5 || command));
	if (words[0].len > 1 && slice_ends_with(words[0], SLICE(".")))
		words[0].len--;
	CHECK_SAME(account->sender, words[0]);
	CHECK(!slice_has_control(account->sender));
	CHECK(memrchr(account->sender.data, '@', account->sender.len) !=
	    account->sender.data);
	CHECK(account->sender.data[0] != '<');
	check_place(account, words[1]);
	CHECK((account->login == NULL) ==
	    (account->password_kind == ACCOUNT_PASSWORD_NONE));
	if (account->login != NULL) {
		CHECK(n >= 4);
		check_decoded(account->login, words[2]);
		CHECK(strlen(account->login) <= 1024);
		check_password(account, words[3]);
	}
	if (command)
		return;
	if (account->only_for.len > 0) {
		CHECK(slice_starts_with_nocase(words[n - 1], SLICE("for=")));
		check_decoded(account->only_for.data,
		    slice_skip(words[n - 1], 4));
	} else {
		CHECK(n == 2 || n == 4);
	}
}

static bool
same_nocase(struct slice a, struct slice b)
{
	return a.len == b.len &&
	    (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

/* Is the account for mail from sender? "*" is for all, a domain for all
 * addresses in it, an address for itself. */
static bool
takes(struct slice pattern, struct slice sender)
{
	struct slice domain = { sender.data, 0 };

	if (slice_equal(pattern, SLICE("*")))
		return true;
	if (pattern.len > 0 && memchr(pattern.data, '@', pattern.len) != NULL)
		return same_nocase(pattern, sender);
	for (size_t i = 0; i < sender.len; i++)
		if (sender.data[i] == '@')
			domain = slice_skip(sender, i + 1);
	return sender.len > 0 && memchr(sender.data, '@', sender.len) != NULL
	    && same_nocase(pattern, domain);
}

static void
check_find(const struct accounts *accounts, struct slice sender,
    struct slice login)
{
	const struct account *want = NULL;

	for (size_t i = 0; i < accounts->n && want == NULL; i++) {
		const struct account *account = &accounts->items[i];

		if (takes(account->sender, sender) &&
		    (account->only_for.len == 0 ||
		    slice_equal(account->only_for, login)))
			want = account;
	}
	CHECK(accounts_find(accounts, sender, login) == want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct slice input = fuzz_slice(data, size);
	struct slice line, sender, login;
	struct accounts accounts;
	struct error error = { .kind = ERROR_NONE };

	slice_cut(input, '\n', &line, &input);
	slice_cut(line, ' ', &sender, &login);
	fuzz_file_put(&file, input);
	if (accounts_read(&accounts, file.path, &error) == 0) {
		unsigned before = 0;

		CHECK(accounts.n > 0);
		for (size_t i = 0; i < accounts.n; i++) {
			CHECK(accounts.items[i].line > before);
			before = accounts.items[i].line;
			check_account(&accounts.items[i], input);
		}
		check_find(&accounts, sender, login);
		check_find(&accounts, slice_from(""), login);
		check_find(&accounts, accounts.items[0].sender,
		    accounts.items[0].only_for);
	} else {
		CHECK(error.kind == ERROR_CONFIG);
		CHECK(error.text[0] != '\0' &&
		    strchr(error.text, '\n') == NULL);
		CHECK(accounts.n == 0 && accounts.items == NULL &&
		    accounts.text == NULL);
	}
	accounts_free(&accounts);
	return 0;
}
