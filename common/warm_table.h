/*
 * warm_table: what a parent of sessions knows about its children: who they
 * are, whom they serve, and which sources failed to log in of late. Reads no
 * clock: the caller tells the time.
 */
#ifndef WARM_TABLE_H
#define WARM_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "system/source.h"

/* Sources whose failed logins are remembered; of more than these the one that
 * failed longest ago is forgotten. */
#define WARM_FAILURES_MAX 256
/* And for so long after the last one, in ms. */
#define WARM_FAILURES_KEPT_MS 600000

/* Random octets that one child knows, and the parent: what a report shows. */
struct warm_token {
	unsigned char octets[16];
};

struct warm_child {
	pid_t pid;
	struct warm_token token;
	struct source source;
};

struct warm_failures {
	struct source source;
	unsigned count;
	int64_t last; /* ms, clock_now() */
};

struct warm_table {
	struct warm_child *children;
	size_t n;
	size_t max;
	struct warm_failures failures[WARM_FAILURES_MAX];
};

/* Room for max children. */
int warm_table_init(struct warm_table *table, size_t max,
    struct error *error);

/* There is room: n is below max. */
void warm_table_add(struct warm_table *table, const struct warm_child *child);

/* True where it was a child of the table's; *source tells whom it served. */
bool warm_table_remove(struct warm_table *table, pid_t pid,
    struct source *source);

/* Whose token it is; NULL where it is none of the table's. */
struct warm_child *warm_table_find(struct warm_table *table,
    const struct warm_token *token);

/* How many children serve that source. */
size_t warm_table_count(const struct warm_table *table,
    const struct source *source);

/* Another failed login of that source. */
void warm_table_fail(struct warm_table *table, const struct source *source,
    int64_t now);

/* How many there were. */
unsigned warm_table_failed(const struct warm_table *table,
    const struct source *source, int64_t now);

/* Overwrites and frees what is known of children: one is to know of no other.
 * Failed logins stay. */
void warm_table_wipe_children(struct warm_table *table);

/* The same, and failed logins are forgotten, too. */
void warm_table_wipe(struct warm_table *table);

#endif
