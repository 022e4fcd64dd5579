/*
 * test_warm_table.c - children and failed logins by source, and the handover
 * from one program to the next.
 */
#include "drive.h"

#include <sys/wait.h>

#include "warm_handover.h"
#include "warm_table.h"

static struct source
source_of(const char *text)
{
	struct source source = source_from_text(text);

	assert_int_not_equal(source.family, 0);
	return source;
}

/* Its token is made of its process's id. */
static void
add(struct warm_table *table, pid_t pid, const struct source *source)
{
	struct warm_child child = { .pid = pid, .source = *source };

	memcpy(child.token.octets, &pid, sizeof(pid));
	warm_table_add(table, &child);
}

static struct warm_child *
find(struct warm_table *table, pid_t pid)
{
	struct warm_token token = { .octets = { 0 } };

	memcpy(token.octets, &pid, sizeof(pid));
	return warm_table_find(table, &token);
}

static void
test_children(void **state)
{
	struct source a = source_of("192.0.2.1"), b = source_of("::1");
	struct source nobody = { .family = 0 }, found;
	struct warm_table table;
	struct error error;

	(void)state;
	assert_int_equal(warm_table_init(&table, 4, &error), 0);
	add(&table, 10, &a);
	add(&table, 11, &b);
	add(&table, 12, &a);
	add(&table, 13, &nobody);
	assert_int_equal(warm_table_count(&table, &a), 2);
	assert_int_equal(warm_table_count(&table, &b), 1);
	assert_int_equal(warm_table_count(&table, &nobody), 0);
	assert_true(warm_table_remove(&table, 10, &found));
	assert_true(source_equal(&found, &a));
	assert_false(warm_table_remove(&table, 10, &found));
	assert_int_equal(warm_table_count(&table, &a), 1);
	assert_int_equal(table.n, 3);
	find(&table, 13)->source = b;
	assert_int_equal(warm_table_count(&table, &b), 2);
	assert_null(find(&table, 10));
	warm_table_wipe(&table);
	assert_int_equal(table.n, 0);
}

static void
test_failures(void **state)
{
	struct source a = source_of("192.0.2.1"), b = source_of("192.0.2.2");
	struct source nobody = { .family = 0 };
	struct warm_table table;
	struct error error;
	int64_t now = 1000;

	(void)state;
	assert_int_equal(warm_table_init(&table, 1, &error), 0);
	assert_int_equal(warm_table_failed(&table, &a, now), 0);
	for (unsigned i = 1; i <= 5; i++) {
		warm_table_fail(&table, &a, now++);
		assert_int_equal(warm_table_failed(&table, &a, now), i);
	}
	assert_int_equal(warm_table_failed(&table, &b, now), 0);
	warm_table_fail(&table, &nobody, now);
	assert_int_equal(warm_table_failed(&table, &nobody, now), 0);
	/* Forgotten, and begun anew. */
	now += WARM_FAILURES_KEPT_MS;
	assert_int_equal(warm_table_failed(&table, &a, now), 0);
	warm_table_fail(&table, &a, now);
	assert_int_equal(warm_table_failed(&table, &a, now), 1);
	warm_table_wipe(&table);
}

/* Of more sources than there is room for, the latest are remembered. */
static void
test_failures_of_many(void **state)
{
	struct warm_table table;
	struct error error;
	char text[32];

	(void)state;
	assert_int_equal(warm_table_init(&table, 1, &error), 0);
	for (int i = 0; i < WARM_FAILURES_MAX + 10; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 256, i % 256);
		struct source source = source_of(text);
		warm_table_fail(&table, &source, 1000 + i);
	}
	for (int i = 0; i < WARM_FAILURES_MAX + 10; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 256, i % 256);
		struct source source = source_of(text);
		assert_int_equal(warm_table_failed(&table, &source, 2000),
		    i < 10 ? 0 : 1);
	}
	warm_table_wipe(&table);
}

/* ---- the handover, in a process whose variables may be changed ---- */

static void
fill(struct warm_table *table, struct listeners *listeners)
{
	struct listeners none = { .n = 0 };
	struct source a = source_of("192.0.2.1"), b = source_of("2001:db8::1");
	struct error error;

	assert_int_equal(warm_table_init(table, 3, &error), 0);
	add(table, 4711, &a);
	add(table, 4712, &b);
	add(table, 4713, &a);
	assert_int_equal(listener_open(listeners, &none, "127.0.0.1:0",
	    &error), 0);
	assert_int_equal(listener_open(listeners, &none, "127.0.0.1:0",
	    &error), 0);
}

static void
test_handover(void **state)
{
	struct source a = source_of("192.0.2.1"), b = source_of("2001:db8::9");
	struct warm_table table, fresh_table;
	struct listeners listeners = { .n = 0 }, fresh = { .n = 0 };
	struct warm_handover given = {
		.listeners = &listeners, .table = &table,
		.counted = 5, .sessions = 99,
	};
	struct warm_handover taken = {
		.listeners = &fresh, .table = &fresh_table,
	};
	struct error error;

	(void)state;
	fill(&table, &listeners);
	assert_int_equal(pipe2(given.report_fds, O_CLOEXEC), 0);
	assert_int_equal(warm_handover_give(&given, &error), 0);
	assert_int_equal(fcntl(listeners.fds[0], F_GETFD), 0);
	assert_int_equal(fcntl(given.report_fds[1], F_GETFD), 0);
	/* A lower limit than before: nobody is forgotten. */
	assert_int_equal(warm_table_init(&fresh_table, 1, &error), 0);
	assert_true(warm_handover_take(&taken));
	assert_false(warm_handover_take(&taken));
	assert_int_equal(taken.counted, 5);
	assert_int_equal(taken.sessions, 99);
	assert_int_equal(taken.report_fds[0], given.report_fds[0]);
	assert_int_equal(taken.report_fds[1], given.report_fds[1]);
	assert_true(fresh.own);
	assert_int_equal(fresh.n, 2);
	assert_int_equal(fresh.fds[1], listeners.fds[1]);
	assert_int_equal(fcntl(fresh.fds[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fresh_table.n, 3);
	assert_int_equal(warm_table_count(&fresh_table, &a), 2);
	assert_int_equal(warm_table_count(&fresh_table, &b), 1);
	assert_int_equal(find(&fresh_table, 4712)->pid, 4712);
	assert_null(find(&fresh_table, 4714));
	warm_table_wipe(&table);
	warm_table_wipe(&fresh_table);
	listener_close(&listeners);
	close(given.report_fds[0]);
	close(given.report_fds[1]);
}

static void
test_handover_undone(void **state)
{
	struct warm_table table;
	struct listeners listeners = { .n = 0 };
	struct warm_handover handover = {
		.listeners = &listeners, .table = &table,
	};
	struct error error;

	(void)state;
	fill(&table, &listeners);
	assert_int_equal(pipe2(handover.report_fds, O_CLOEXEC), 0);
	assert_int_equal(warm_handover_give(&handover, &error), 0);
	warm_handover_undo(&handover);
	assert_int_equal(fcntl(listeners.fds[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(handover.report_fds[0], F_GETFD), FD_CLOEXEC);
	assert_null(getenv("MAIL_HANDLERS_HANDOVER"));
	warm_table_wipe(&table);
	listener_close(&listeners);
	close(handover.report_fds[0]);
	close(handover.report_fds[1]);
}

/* Of another process, or nonsense: as if it were not there. */
static void
test_handover_of_others(void **state)
{
	static const char *const texts[] = {
		"", "x", "1 0 0 0 0 1 2 ", "%ld", "%ld 0 0 0 0 1",
		"%ld 0 0 0 900 901 902 ", "%ld 0 0 0 0 1 x ",
		"%ld 0 0 0 0 1 2 77", "%ld 0 0 0 0 1 2 77:4zz",
		"%ld 0 0 0 0 1 2 77:400112233445566zz",
		"%ld 0 0 0 0 1 2 77:40011223344556677",
		"%ld 0 0 0 0 1 2 77:40011223344556677:0011",
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			struct warm_table table;
			struct listeners listeners = { .n = 0 };
			struct warm_handover handover = {
				.listeners = &listeners, .table = &table,
			};
			struct error error;
			const char *format = texts[i];

			warm_table_init(&table, 4, &error);
			snprintf(text, sizeof(text), "%s", format);
			if (strncmp(format, "%ld", 3) == 0)
				snprintf(text, sizeof(text), "%ld%s",
				    (long)getpid(), format + 3);
			setenv("MAIL_HANDLERS_HANDOVER", text, 1);
			_exit(warm_handover_take(&handover) ||
			    getenv("MAIL_HANDLERS_HANDOVER") != NULL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			fail_msg("taken: %s", texts[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_failures_of_many),
		cmocka_unit_test(test_handover),
		cmocka_unit_test(test_handover_undone),
		cmocka_unit_test(test_handover_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
