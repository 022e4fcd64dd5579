/*
 * error: what went wrong, and what it means to each who must be told.
 *
 * A function that can fail returns 0, or -1 with a filled struct error; a
 * positive number is an outcome that its header documents. The kind says
 * what the failure means to the peer, the exit status and the log: one
 * table, error_meaning.
 */
#ifndef ERROR_H
#define ERROR_H

#include <stddef.h>

enum error_kind {
	ERROR_NONE,
	ERROR_USAGE,   /* a wrong command line */
	ERROR_CONFIG,  /* a wrong file, setting or environment */
	ERROR_SYSTEM,  /* trouble of ours that may pass */
	ERROR_FULL,    /* no room: disk, quota */
	ERROR_MISSING, /* something is not there and will not come by itself */
	ERROR_BUSY,    /* somebody else has it now */
	ERROR_PEER,    /* the peer left, or broke the rules of its transport */
	ERROR_TIMEOUT, /* the peer took too long */
};

struct error {
	enum error_kind kind;
	int errnum; /* of the system call, or 0 */
	char text[512];
};

struct error_meaning {
	unsigned smtp_code;
	const char *smtp_enhanced; /* RFC 3463 */
	const char *smtp_text;
	const char *pop3_code; /* RFC 2449 section 8, RFC 3206 */
	int exit_status;       /* sysexits(3) */
	int log_priority;      /* syslog(3) */
};

const struct error_meaning *error_meaning(enum error_kind kind);

/* Fills *error (cutting an over-long text) and returns -1. */
int error_set(struct error *error, enum error_kind kind, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

/*
 * The same for a failed system call: the text of errnum is added, and the
 * kind is FULL for ENOSPC, EDQUOT and EFBIG, MISSING for ENOENT and ENOTDIR,
 * else SYSTEM.
 */
int error_system(struct error *error, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The last max octets of a path, for such a text: its end tells more than its
 * beginning. Points into it. */
const char *error_tail(const char *path, size_t max);

#endif
