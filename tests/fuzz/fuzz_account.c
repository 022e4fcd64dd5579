/*
 * fuzz_account.c - the relay's accounts file.
 *
 * First line: a sender and, after a blank, a login, for which an account is
 * looked up. The rest is the file. What is accepted must be usable as it
 * stands, its words must stand in the file, and the lookup must be that of
 * the manual: the first line that matches.
 */
#include "fuzz.h"

#include "account.h"

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

static void
check_account(const struct account *account, struct slice file)
{
	struct slice words[5];
	size_t n = split(nth_line(file, account->line), words, 5);

	CHECK(n >= 2 && n <= 5);
	CHECK_SAME(account->sender, words[0]);
	CHECK(!slice_has_control(account->sender));
	CHECK(memrchr(account->sender.data, '@', account->sender.len) !=
	    account->sender.data);
	CHECK(account->host != NULL && account->host[0] != '\0');
	/* It stands where it was said, not in a query or before an "@". */
	CHECK(fuzz_find(words[1], slice_from(account->host)) < words[1].len);
	CHECK(strpbrk(account->host, " \t@?/[]") == NULL);
	check_port(account->port);
	CHECK(account->ca_file == NULL || account->ca_file[0] != '\0');
	CHECK((account->login == NULL) == (account->password == NULL));
	if (account->login != NULL) {
		CHECK(n >= 4);
		check_decoded(account->login, words[2]);
		if (!slice_starts_with(words[3], SLICE("file:")))
			check_decoded(account->password, words[3]);
		else
			CHECK(strpbrk(account->password, "\r\n") == NULL);
	}
	if (account->only_for.len > 0)
		CHECK(slice_starts_with(words[n - 1], SLICE("for=")) &&
		    slice_equal(slice_skip(words[n - 1], 4),
		    account->only_for));
	else
		CHECK(n == 2 || n == 4);
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
