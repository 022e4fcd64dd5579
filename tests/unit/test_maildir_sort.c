/*
 * test_maildir_sort.c - the order of messages, and what it costs to make it.
 * Names are numbers here, and compared as the test says: it is linked with
 * -Wl,--wrap=slice_compare (Makefile).
 */
#include "drive.h"

#include "maildir/maildir_sort.h"

#define MANY 4096
#define LOG_2 12 /* of that */

static struct maildir_index at;

/* ---- comparisons ---- */

int __real_slice_compare(struct slice a, struct slice b);
int __wrap_slice_compare(struct slice a, struct slice b);

/*
 * McIlroy's adversary (A Killer Adversary for Quicksort, 1999): no value is
 * settled before it must be, and then it is the least that is left; so that
 * whatever was chosen to divide the rest divides off next to nothing.
 */
static struct {
	bool works;
	unsigned values[MANY]; /* MANY: not settled */
	unsigned settled;
	size_t candidate;
	size_t comparisons;
} adversary;

static int
compare_by_adversary(size_t a, size_t b)
{
	unsigned *values = adversary.values;

	if (a == b)
		return 0;
	if (values[a] == MANY && values[b] == MANY)
		values[a == adversary.candidate ? a : b] =
		    adversary.settled++;
	if (values[a] == MANY)
		adversary.candidate = a;
	else if (values[b] == MANY)
		adversary.candidate = b;
	return values[a] < values[b] ? -1 : 1;
}

int
__wrap_slice_compare(struct slice a, struct slice b)
{
	adversary.comparisons++;
	if (!adversary.works || a.len == 0 || b.len == 0)
		return __real_slice_compare(a, b);
	return compare_by_adversary((size_t)atol(a.data),
	    (size_t)atol(b.data));
}

/* ---- messages ---- */

static int
set_up(void **state)
{
	static const char *const paths[] = { "cur", ".F/cur", ".G/new" };
	struct error error;

	(void)state;
	memset(&adversary, 0, sizeof(adversary));
	at = (struct maildir_index){ .n = 0 };
	for (size_t i = 0; i < COUNT(paths); i++)
		assert_int_equal(maildir_index_add_folder(&at,
		    slice_from(paths[i]), 0, &error), 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	maildir_index_free(&at);
	return 0;
}

/* Its octets say what its name says, to see that both arrays are in step. */
static void
add(size_t folder, const char *name, int64_t seconds)
{
	const struct stat st = { .st_mtim = { .tv_sec = seconds } };
	struct error error;

	assert_int_equal(maildir_index_add_file(&at, folder, name, &error),
	    0);
	maildir_index_describe_file(&at, at.n - 1, &st);
	maildir_index_set_octets(&at, at.n - 1, (uint64_t)atol(name));
}

static void
add_number(unsigned number, int64_t seconds)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	add(0, name, seconds);
}

static size_t
number_of(size_t i)
{
	size_t number = (size_t)atol(maildir_file_name(&at, i).data);

	assert_int_equal(at.messages[i].octets, number);
	return number;
}

/* ---- the order ---- */

/* By time, base name, folder and, of twins, digest; by nothing else. */
static void
test_order(void **state)
{
	static const struct {
		size_t folder;
		const char *name;
		int64_t seconds;
		char digest; /* '\0': none */
	} rows[] = {
		{ 0, "9", -5, '\0' }, { 0, "8", 0, '\0' },
		{ 0, "1", 7, '\0' }, { 2, "10:2,S", 7, '\0' },
		{ 0, "10:2,Z,", 8, 'b' }, { 1, "10:2,A", 8, '\0' },
		{ 2, "10:2,M", 8, 'a' }, { 0, "2", 8, '\0' },
		{ 0, "30:2,S", 9, 'x' }, { 0, "30:2,A", 9, 'y' },
		{ 0, "30", 9, 'z' },
	};
	struct error error;

	(void)state;
	/* From wherever each of them begins. */
	for (size_t turn = 0; turn < COUNT(rows) * 2; turn++) {
		at.n = 0;
		for (size_t k = 0; k < COUNT(rows); k++) {
			size_t i = (k + turn) % COUNT(rows);
			unsigned char digest[MAILDIR_DIGEST_SIZE] = { 0 };

			if (turn >= COUNT(rows))
				i = COUNT(rows) - 1 - i;
			add(rows[i].folder, rows[i].name, rows[i].seconds);
			/* The last octet counts as the first does. */
			digest[i % 2 * 15] = (unsigned char)rows[i].digest;
			if (i >= 8)
				digest[0] = digest[15] = (unsigned char)
				    rows[i].digest;
			if (rows[i].digest != '\0')
				assert_int_equal(maildir_index_set_digest(&at,
				    at.n - 1, digest, &error), 0);
		}
		maildir_sort(&at);
		for (size_t i = 0; i < COUNT(rows); i++) {
			assert_slices(maildir_file_name(&at, i),
			    slice_from(rows[i].name));
			assert_int_equal(at.files[i].folder, rows[i].folder);
			number_of(i);
		}
	}
}

static void
test_few(void **state)
{
	(void)state;
	maildir_sort(&at);
	assert_int_equal(at.n, 0);
	add_number(1, 1);
	maildir_sort(&at);
	assert_int_equal(number_of(0), 1);
	/* Whichever one of two, of three and so on comes first. */
	for (unsigned n = 2; n < 40; n++)
		for (unsigned first = 0; first < n; first++) {
			at.n = 0;
			for (unsigned i = 0; i < n; i++)
				add_number((i + first) % n, (i + first) % n);
			maildir_sort(&at);
			for (unsigned i = 0; i < n; i++)
				assert_int_equal(number_of(i), i);
		}
}

/* Many, of few times and of many. */
static void
test_many(void **state)
{
	static const uint32_t spans[] = { 1, 2, 7, 1000, 1u << 30 };
	uint64_t seed = 1;

	(void)state;
	for (size_t span = 0; span < COUNT(spans); span++)
		for (unsigned n = 0; n < 3000; n += n < 40 ? 1 : 977) {
			at.n = 0;
			for (unsigned i = 0; i < n; i++)
				add_number(100000 * chance(&seed, 5) + 100000
				    + i, chance(&seed, spans[span]));
			maildir_sort(&at);
			assert_int_equal(at.n, n);
			for (size_t i = 1; i < n; i++) {
				int64_t a = at.files[i - 1].mtime;
				int64_t b = at.files[i].mtime;

				assert_true(a < b || (a == b &&
				    number_of(i - 1) < number_of(i)));
			}
		}
}

/* In order, in reverse, all alike, up and down: quicksort's bad days. */
static void
test_bad_days(void **state)
{
	(void)state;
	for (int way = 0; way < 4; way++) {
		at.n = 0;
		for (unsigned i = 0; i < 20000; i++)
			add_number(i, way == 0 ? i : way == 1 ? 20000 - i
			    : way == 2 ? 7 : i < 10000 ? i : 20000 - i);
		maildir_sort(&at);
		for (size_t i = 1; i < at.n; i++)
			assert_true(at.files[i - 1].mtime <=
			    at.files[i].mtime);
	}
}

/* ---- what it costs ---- */

/* As a cache has them: one look at each. */
static void
test_sorted(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		add_number(i + 10000, 1);
	maildir_sort(&at);
	assert_int_equal(adversary.comparisons, MANY - 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(number_of(i), i + 10000);
}

/* By chance, in reverse, two in one: about log2 n for each; up and down again,
 * which is bad for a median of three: some more. */
static void
test_usual(void **state)
{
	(void)state;
	for (int way = 0; way < 4; way++) {
		uint64_t seed = 1;

		at.n = 0;
		for (unsigned i = 0; i < MANY; i++)
			add_number(10000 + (way == 0 ? chance(&seed, 80000)
			    : way == 1 ? MANY - i
			    : way == 2 ? i % 2 * 40000 + i
			    : i < MANY / 2 ? i : MANY - i), 1);
		adversary.comparisons = 0;
		maildir_sort(&at);
		assert_true(adversary.comparisons < MANY * LOG_2 *
		    (way < 3 ? 5 : 12) / 4);
		for (unsigned i = 1; i < MANY; i++)
			assert_true(number_of(i - 1) <= number_of(i));
	}
}

/* The worst that there is, which whoever owns a maildrop can make with names:
 * a small multiple of n log n all the same. */
static void
test_worst(void **state)
{
	(void)state;
	for (unsigned n = 100; n <= MANY; n = n == MANY ? MANY + 1
	    : n + 333) {
		unsigned bits = 0;

		while (n >> bits > 0)
			bits++;
		at.n = 0;
		adversary.settled = 0;
		/* Of the first two the second is less: not in order. */
		adversary.candidate = 1;
		for (unsigned i = 0; i < n; i++) {
			adversary.values[i] = MANY;
			add_number(i, 1);
		}
		adversary.works = true;
		adversary.comparisons = 0;
		maildir_sort(&at);
		adversary.works = false;
		assert_true(adversary.comparisons < (size_t)n * bits * 4);
		for (size_t i = 1; i < n; i++)
			assert_true(adversary.values[number_of(i - 1)] <
			    adversary.values[number_of(i)] ||
			    adversary.values[number_of(i)] == MANY);
	}
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_few),
		TEST(test_many),
		TEST(test_bad_days),
		TEST(test_sorted),
		TEST(test_usual),
		TEST(test_worst),
	};

	return cmocka_run_group_tests_name("maildir_sort", tests, NULL, NULL);
}
