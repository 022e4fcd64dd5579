/*
 * first.c - unit tests in another order: those that $MUTANTS_FIRST names, a
 * blank between them, before the rest. Linked with --wrap, so that the tests
 * themselves are as in "make check".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int __real__cmocka_run_group_tests(const char *name,
    const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
    CMFixtureFunction teardown);
int __wrap__cmocka_run_group_tests(const char *name,
    const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
    CMFixtureFunction teardown);

int
__wrap__cmocka_run_group_tests(const char *name,
    const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
    CMFixtureFunction teardown)
{
	struct CMUnitTest *ordered = calloc(n, sizeof(*ordered));
	char *first = strdup(getenv("MUTANTS_FIRST"));
	char *taken = calloc(n, 1);
	size_t at = 0;

	for (char *word = strtok(first, " "); word != NULL;
	    word = strtok(NULL, " "))
		for (size_t i = 0; i < n; i++)
			if (!taken[i] && strcmp(tests[i].name, word) == 0) {
				ordered[at++] = tests[i];
				taken[i] = 1;
			}
	for (size_t i = 0; i < n; i++)
		if (!taken[i])
			ordered[at++] = tests[i];
	int failed = __real__cmocka_run_group_tests(name, ordered, n, setup,
	    teardown);

	free(ordered);
	free(first);
	free(taken);
	return failed;
}
