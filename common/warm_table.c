/*
 * warm_table.c - children and failed logins, by source.
 */
#include "warm_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
warm_table_init(struct warm_table *table, size_t max, struct error *error)
{
	*table = (struct warm_table){ .max = max };
	table->children = calloc(max, sizeof(*table->children));
	if (table->children == NULL)
		return error_system(error, ENOMEM, "%zu connections", max);
	return 0;
}

void
warm_table_add(struct warm_table *table, const struct warm_child *child)
{
	assert(table->n < table->max);
	table->children[table->n++] = *child;
}

struct warm_child *
warm_table_find(struct warm_table *table, const struct warm_token *token)
{
	for (size_t i = 0; i < table->n; i++)
		if (memcmp(&table->children[i].token, token,
		    sizeof(*token)) == 0)
			return &table->children[i];
	return NULL;
}

bool
warm_table_remove(struct warm_table *table, pid_t pid, struct source *source)
{
	for (size_t i = 0; i < table->n; i++) {
		if (table->children[i].pid != pid)
			continue;
		*source = table->children[i].source;
		table->children[i] = table->children[--table->n];
		return true;
	}
	return false;
}

size_t
warm_table_count(const struct warm_table *table, const struct source *source)
{
	size_t count = 0;

	for (size_t i = 0; i < table->n; i++)
		count += source_equal(&table->children[i].source, source);
	return count;
}

static bool
is_kept(const struct warm_failures *failures, int64_t now)
{
	return failures->count > 0 &&
	    now - failures->last < WARM_FAILURES_KEPT_MS;
}

void
warm_table_fail(struct warm_table *table, const struct source *source,
    int64_t now)
{
	struct warm_failures *at = &table->failures[0];

	if (source->family == 0)
		return;
	for (size_t i = 0; i < WARM_FAILURES_MAX; i++) {
		struct warm_failures *failures = &table->failures[i];

		if (source_equal(&failures->source, source)) {
			at = failures;
			break;
		}
		if (failures->count == 0 ? at->count > 0
		    : at->count > 0 && failures->last < at->last)
			at = failures;
	}
	if (!source_equal(&at->source, source) || !is_kept(at, now))
		*at = (struct warm_failures){ .source = *source };
	at->count++;
	at->last = now;
}

unsigned
warm_table_failed(const struct warm_table *table,
    const struct source *source, int64_t now)
{
	for (size_t i = 0; i < WARM_FAILURES_MAX; i++)
		if (source_equal(&table->failures[i].source, source))
			return is_kept(&table->failures[i], now)
			    ? table->failures[i].count : 0;
	return 0;
}

void
warm_table_wipe_children(struct warm_table *table)
{
	if (table->children != NULL)
		explicit_bzero(table->children,
		    table->max * sizeof(*table->children));
	free(table->children);
	table->children = NULL;
	table->n = table->max = 0;
}

void
warm_table_wipe(struct warm_table *table)
{
	warm_table_wipe_children(table);
	explicit_bzero(table, sizeof(*table));
}
