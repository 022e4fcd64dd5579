/*
 * warm_private: what the files of warm share. warm.c is the loop,
 * warm_children.c what it does with connections and processes, warm_start.c
 * what comes before it and SIGHUP, warm_report.c the children's side.
 */
#ifndef WARM_PRIVATE_H
#define WARM_PRIVATE_H

#include <sys/types.h>

#include "system/source.h"
#include "warm.h"

enum warm_report_kind {
	WARM_REPORT_SOURCE,       /* the peer's, by a PROXY header */
	WARM_REPORT_FAILED_LOGIN,
	WARM_REPORT_ACCEPTED,     /* a message */
};

/* A datagram. */
struct warm_report {
	struct warm_token token;
	enum warm_report_kind kind;
	struct source source;
};

/* ---- warm_children.c ---- */

/* As many connections are served as may be. */
bool warm_is_full(const struct warm *warm);

/* A child for each connection that waits on the socket, up to a limit. 1 in a
 * child. */
int warm_accept_from(struct warm *warm, int listener);

/* Takes what children have told. */
void warm_hear_reports(struct warm *warm);

/* And notes which of them have ended. */
void warm_reap(struct warm *warm);

/* ---- warm_start.c ---- */

/* Says where connections are accepted: the log, --port-file, the service
 * manager. */
void warm_say_ready(struct warm *warm);

/* Removes --port-file. */
void warm_forget_port(struct warm *warm);

/* SIGHUP: are the settings right? The answer is the end of warm->checking,
 * after so many seconds at the latest. */
#define WARM_CHECK_SECONDS 60
void warm_reload(struct warm *warm);

/* They are: executes the program anew, in this process. Returns where that
 * failed, which is logged. */
void warm_execute(struct warm *warm);

#endif
