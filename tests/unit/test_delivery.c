/*
 * test_delivery.c - one message into several maildirs: all or none, one file
 * for each maildir, and who is named in it.
 */
#include "drive.h"

#include <dirent.h>

#include "delivery.h"

static struct directory directory;
static struct error error;

static int
set_up(void **state)
{
	static const char *const folders[] = { "a", "b", "all" };

	(void)state;
	directory_make(&directory);
	assert_int_equal(chdir(directory.path), 0);
	for (size_t i = 0; i < COUNT(folders); i++)
		directory_mkdir(&directory, folders[i]);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	directory_remove(&directory);
	return 0;
}

/* The one file in the folder, or "" where there is none. */
static struct slice
content(const char *folder)
{
	static char text[8192];
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(folder);
	size_t len = 0, files = 0;

	if (dir == NULL)
		return slice_from("");
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		files++;
		snprintf(path, sizeof(path), "%s/%.250s", folder,
		    entry->d_name);
		FILE *file = fopen(path, "r");
		assert_non_null(file);
		len = fread(text, 1, sizeof(text), file);
		fclose(file);
	}
	closedir(dir);
	assert_true(files <= 1);
	return (struct slice){ text, len };
}

static char a_path[] = "a", b_path[] = "b", all_path[] = "all",
    none_path[] = "none/c";

static struct envelope_recipient recipients[] = {
	{ .path = SLICE("x@a.test") }, { .path = SLICE("y@b.test") },
	{ .path = SLICE("x@a.test") }, { .path = SLICE("z@a.test") },
};
static const struct envelope envelope = {
	.reverse_path = SLICE("joe@a.test"), .recipients = recipients,
	.n = COUNT(recipients),
};
static const struct trace trace = {
	.helo = SLICE("client.test"), .address = "", .hostname = "mail.test",
	.esmtp = true, .id = "ID.1",
};

#define RECEIVED "Received: from client.test\n\tby mail.test with ESMTP\n" \
	"\tid ID.1;\n\tThu, 01 Jan 1970 00:00:00 +0000\n"

static void
begin(struct delivery *delivery, const struct place *places, size_t n)
{
	*delivery = (struct delivery){ .envelope = &envelope,
		.relayed = &envelope, .places = places, .n_places = n,
		.hostname = "mail.test" };
	if (delivery_begin(delivery, &trace, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(delivery_write(delivery, SLICE("Subject: x\n\n"),
	    &error), 0);
	assert_int_equal(delivery_write(delivery, SLICE("body\n"), &error),
	    0);
}

static void
test_several(void **state)
{
	/* Two recipients stand for a; one of them was named twice. */
	const struct place places[] = {
		{ a_path, 1, true, 0 }, { b_path, 1, true, 1 },
		{ a_path, 1, true, 2 }, { a_path, 1, true, 3 },
		{ all_path, 3, false, 3 }, { all_path, 3, false, 1 },
	};
	struct delivery delivery;
	struct smtp_reply verdict;

	(void)state;
	begin(&delivery, places, COUNT(places));
	/* Nothing is to be seen before the end. */
	assert_slice(content("a/new"), "");
	assert_int_equal(delivery_store(&delivery, 21, &error), 0);
	assert_slice(content("b/new"), "");
	assert_int_equal(delivery_finish(&delivery, &verdict, &error), 0);
	assert_int_equal(verdict.code, 250);
	assert_int_equal(delivery.n_copies, 3);
	assert_slice(content("a/new"), "Return-Path: <joe@a.test>\n"
	    "Delivered-To: x@a.test\nDelivered-To: z@a.test\n" RECEIVED
	    "Subject: x\n\nbody\n");
	assert_slice(content("b/new"), "Return-Path: <joe@a.test>\n"
	    "Delivered-To: y@b.test\n" RECEIVED "Subject: x\n\nbody\n");
	/* In the order they were named. */
	assert_slice(content("all/new"), "Return-Path: <joe@a.test>\n"
	    "X-Envelope-To: y@b.test\nX-Envelope-To: z@a.test\n" RECEIVED
	    "Subject: x\n\nbody\n");
	assert_slice(content("a/tmp"), "");
	delivery_abort(&delivery);
}

static void
test_aborted(void **state)
{
	const struct place places[] = {
		{ a_path, 1, true, 0 }, { b_path, 1, true, 1 },
	};
	struct delivery delivery;

	(void)state;
	begin(&delivery, places, COUNT(places));
	delivery_abort(&delivery);
	begin(&delivery, places, COUNT(places));
	assert_int_equal(delivery_store(&delivery, 21, &error), 0);
	delivery_abort(&delivery);
	/* And once more, harmlessly. */
	delivery_abort(&delivery);
	assert_slice(content("a/tmp"), "");
	assert_slice(content("a/new"), "");
	assert_slice(content("b/tmp"), "");
}

/* One of the maildirs is gone: nobody gets it. */
static void
test_all_or_none(void **state)
{
	const struct place places[] = {
		{ a_path, 1, true, 0 }, { none_path, 6, true, 1 },
	};
	struct delivery delivery;

	(void)state;
	begin(&delivery, places, COUNT(places));
	assert_int_equal(delivery_store(&delivery, 21, &error), -1);
	assert_int_equal(error.kind, ERROR_MISSING);
	delivery_abort(&delivery);
	assert_slice(content("a/tmp"), "");
	assert_slice(content("a/new"), "");
}

/* Text that begins with a blank is no more of our last field. */
static void
test_blank_first(void **state)
{
	const struct place places[] = { { a_path, 1, true, 0 } };
	struct delivery delivery = { .envelope = &envelope,
		.relayed = &envelope, .places = places, .n_places = 1,
		.hostname = "mail.test" };
	struct smtp_reply verdict;

	(void)state;
	assert_int_equal(delivery_begin(&delivery, &trace, &error), 0);
	assert_int_equal(delivery_write(&delivery, SLICE(" x\n"), &error), 0);
	assert_int_equal(delivery_store(&delivery, 4, &error), 0);
	assert_int_equal(delivery_finish(&delivery, &verdict, &error), 0);
	assert_slice(content("a/new"), "Return-Path: <joe@a.test>\n"
	    "Delivered-To: x@a.test\n" RECEIVED "\n x\n");
	delivery_abort(&delivery);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_several, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_aborted, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_all_or_none, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_blank_first, set_up,
		    tear_down),
	};

	return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
