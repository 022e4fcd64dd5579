/*
 * warm_report.c - what a child tells its parent.
 *
 * The socket does not block: a parent that is stopped, or slow, holds no
 * session up; then a report is lost, and with it no more than a count.
 */
#include "warm_private.h"

#include <arpa/inet.h>
#include <unistd.h>

#include "system/clock.h"

static void
tell(const struct warm *warm, struct warm_report report)
{
	report.token = warm->token;
	ssize_t written = write(warm->report_fds[1], &report, sizeof(report));
	(void)written;
}

unsigned
warm_tell_source(struct warm *warm, const char *address)
{
	struct source source = source_from_text(address);

	if (!warm->is_child)
		return 0;
	if (warm->settings->proxy_protocol) {
		warm->failed = warm_table_failed(&warm->table, &source,
		    clock_now());
		warm_table_wipe(&warm->table);
		tell(warm, (struct warm_report){
			.kind = WARM_REPORT_SOURCE, .source = source });
	}
	return warm->failed;
}

void
warm_tell_failed_login(struct warm *warm)
{
	if (warm->is_child)
		tell(warm, (struct warm_report){
			.kind = WARM_REPORT_FAILED_LOGIN });
}

void
warm_tell_accepted(struct warm *warm)
{
	if (warm->is_child)
		tell(warm, (struct warm_report){
			.kind = WARM_REPORT_ACCEPTED });
}
