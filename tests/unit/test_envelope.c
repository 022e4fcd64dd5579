/*
 * test_envelope.c - what a mail transaction keeps, in storage of a fixed
 * size.
 */
#include "drive.h"

#include "protocol/envelope.h"

#define MOST 3

static struct guarded text;
static struct envelope_recipient recipients[MOST];
static struct envelope envelope;

/* So many octets for paths. */
static void
begin(size_t size)
{
	guarded_new(&text, size);
	envelope_init(&envelope, recipients, MOST, text.data, size);
}

static void
end(void)
{
	guarded_free(&text);
}

/* Adds local@domain from storage that is overwritten at once. */
static bool
add(const char *path)
{
	char copy[64];
	struct slice local, domain;

	memcpy(copy, path, strlen(path));
	slice_cut((struct slice){ copy, strlen(path) }, '@', &local,
	    &domain);
	bool added = envelope_add_recipient(&envelope, local, domain);
	memset(copy, '#', sizeof(copy));
	return added;
}

static void
test_keeps_copies(void **state)
{
	char local[] = "joe", domain[] = "example.org";

	(void)state;
	begin(64);
	assert_slice(envelope.reverse_path, "");
	assert_int_equal(envelope.n, 0);
	assert_true(envelope_set_reverse_path(&envelope,
	    slice_from(local), slice_from(domain)));
	memset(local, '#', sizeof(local) - 1);
	memset(domain, '#', sizeof(domain) - 1);
	assert_true(add("a@b"));
	assert_true(add("postmaster"));
	assert_true(add("long.name@[IPv6:::1]"));
	assert_slice(envelope.reverse_path, "joe@example.org");
	assert_int_equal(envelope.n, 3);
	assert_slice(recipients[0].path, "a@b");
	assert_slice(recipients[0].local, "a");
	assert_slice(recipients[0].domain, "b");
	assert_slice(recipients[1].path, "postmaster");
	assert_slice(recipients[1].local, "postmaster");
	assert_slice(recipients[1].domain, "");
	assert_slice(recipients[2].path, "long.name@[IPv6:::1]");
	assert_slice(recipients[2].local, "long.name");
	assert_slice(recipients[2].domain, "[IPv6:::1]");
	end();
}

/* The null reverse path is not the same as none, but as empty. */
static void
test_null_sender(void **state)
{
	(void)state;
	begin(8);
	assert_true(envelope_set_reverse_path(&envelope, SLICE(""),
	    SLICE("")));
	assert_slice(envelope.reverse_path, "");
	assert_true(envelope_set_reverse_path(&envelope, slice_from(NULL),
	    slice_from(NULL)));
	assert_slice(envelope.reverse_path, "");
	assert_true(add("12345@78"));
	end();
}

static void
test_too_many_recipients(void **state)
{
	(void)state;
	begin(64);
	assert_true(add("a@b"));
	assert_true(add("c@d"));
	assert_true(add("e@f"));
	assert_false(add("g@h"));
	assert_int_equal(envelope.n, 3);
	assert_slice(recipients[2].path, "e@f");
	/* One leaves, one may come. */
	envelope_drop_recipient(&envelope);
	assert_int_equal(envelope.n, 2);
	assert_true(add("g@h"));
	assert_false(add("i@j"));
	assert_slice(recipients[0].path, "a@b");
	assert_slice(recipients[1].path, "c@d");
	assert_slice(recipients[2].path, "g@h");
	end();
}

static void
test_too_much_text(void **state)
{
	(void)state;
	begin(10);
	assert_false(envelope_set_reverse_path(&envelope,
	    SLICE("12345"), SLICE("67890")));
	assert_slice(envelope.reverse_path, "");
	assert_true(envelope_set_reverse_path(&envelope, SLICE("a"),
	    SLICE("b")));
	assert_true(add("123@567"));
	assert_false(add("c"));
	assert_int_equal(envelope.n, 1);
	assert_slice(recipients[0].path, "123@567");
	/* What is dropped makes room again. */
	envelope_drop_recipient(&envelope);
	assert_false(add("123@5678"));
	assert_true(add("c@d"));
	assert_true(add("e@fg"));
	assert_false(add("h"));
	assert_slice(envelope.reverse_path, "a@b");
	assert_slice(recipients[0].path, "c@d");
	assert_slice(recipients[1].path, "e@fg");
	end();
}

/* What was said of the message and of a recipient (RFC 3461). */
static void
test_notify(void **state)
{
	struct envelope_notify dsn = { .notify = ENVELOPE_NOTIFY_DELAY,
		.orcpt = SLICE("a;bc") };

	(void)state;
	begin(20);
	assert_slice(envelope.envid, "");
	assert_true(envelope_set_envid(&envelope, SLICE("id")));
	assert_slice(envelope.envid, "id");
	assert_true(add("a@b"));
	assert_int_equal(recipients[0].dsn.notify, 0);
	assert_slice(recipients[0].dsn.orcpt, "");
	assert_true(envelope_set_notify(&envelope, &dsn));
	assert_int_equal(recipients[0].dsn.notify, ENVELOPE_NOTIFY_DELAY);
	assert_slice(recipients[0].dsn.orcpt, "a;bc");
	/* 11 octets are left: 8 of a path, and then 4 are too many. */
	assert_true(add("1234@678"));
	assert_false(envelope_set_notify(&envelope, &dsn));
	envelope_drop_recipient(&envelope);
	assert_true(add("123@567"));
	assert_true(envelope_set_notify(&envelope, &dsn));
	assert_slice(recipients[1].dsn.orcpt, "a;bc");
	assert_false(add("x"));
	/* All that was said of it goes with it. */
	envelope_drop_recipient(&envelope);
	assert_true(add("12345@78901"));
	assert_int_equal(recipients[1].dsn.notify, 0);
	assert_slice(recipients[1].dsn.orcpt, "");
	assert_slice(recipients[0].dsn.orcpt, "a;bc");
	assert_slice(envelope.envid, "id");
	assert_false(envelope_set_envid(&envelope, SLICE("x")));
	end();
}

static void
test_reset(void **state)
{
	(void)state;
	begin(10);
	envelope_set_reverse_path(&envelope, SLICE("abcdefghij"), SLICE(""));
	envelope.size = 7;
	envelope.eight_bit = envelope.seven_bit = envelope.utf8 = true;
	envelope.ret = ENVELOPE_RET_HDRS;
	envelope.envid = SLICE("id");
	assert_false(add("x"));
	envelope_reset(&envelope);
	assert_slice(envelope.reverse_path, "");
	assert_int_equal(envelope.n, 0);
	assert_int_equal(envelope.size, 0);
	assert_false(envelope.eight_bit);
	assert_false(envelope.seven_bit);
	assert_false(envelope.utf8);
	assert_int_equal(envelope.ret, ENVELOPE_RET_NONE);
	assert_slice(envelope.envid, "");
	assert_true(add("a@b"));
	assert_true(add("c@d"));
	assert_true(add("efgh"));
	end();
}

/* However long a line may get, a sender, an ENVID and a recipient of it
 * always fit, each with a domain of ours added. */
static void
test_text_size(void **state)
{
	(void)state;
	assert_true(ENVELOPE_TEXT_SIZE(1) >= 2 * (2048 + 256) + 100);
	assert_true(ENVELOPE_TEXT_SIZE(1000) >= 1000 * 320);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_copies),
		cmocka_unit_test(test_null_sender),
		cmocka_unit_test(test_too_many_recipients),
		cmocka_unit_test(test_too_much_text),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_text_size),
	};

	return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
