/*
 * milters: filters that speak the milter protocol, asked in their order.
 *
 * The first that does not let a message go on decides. A header that one of
 * them changes is what the next one, the maildirs, the hooks and the next hop
 * see.
 */
#ifndef MILTERS_H
#define MILTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "delivery.h"
#include "milter_link.h"
#include "protocol/envelope.h"
#include "protocol/hook_reply.h"
#include "protocol/trace.h"
#include "settings/options.h"

/* Octets of a header that filters are shown, at most. */
#define MILTERS_HEADER_MAX 1048576
/* For all of them together, at the end of a message: a client waits ten
 * minutes (RFC 5321 4.5.3.2.6), and a hook has its time after them. */
#define MILTERS_END_SECONDS 510

struct milters {
	struct milter_link links[OPTION_LIST_MAX];
	size_t n;
	bool accept; /* mail whose filter is broken; else: try again later */
};

/* What filters are told. */
struct milters_facts {
	const struct trace *trace;
	uint16_t port;
	struct slice user;
	const char *mechanism; /* of the login; NULL for none */
	const struct envelope *envelope;
};

/* The addresses were looked at by milter_link_is_address. */
void milters_init(struct milters *milters, const struct option_list *list,
    bool accept);

/*
 * About MAIL, about the last recipient, and about the whole message, which
 * lies in the delivery's spool and is changed there. *made is what the client
 * is to be told; *by is the filter that decided, or NULL where it goes on.
 * What *made points to lives until another call.
 */
void milters_mail(struct milters *milters, const struct milters_facts *facts,
    struct hook_reply *made, const char **by);
void milters_recipient(struct milters *milters,
    const struct milters_facts *facts, struct hook_reply *made,
    const char **by);
void milters_message(struct milters *milters,
    const struct milters_facts *facts, struct delivery *delivery,
    struct hook_reply *made, const char **by);

/* The transaction is over, in whatever way; the session is. */
void milters_abort(struct milters *milters);
void milters_close(struct milters *milters);

#endif
