/*
 * confine: gives up, for the rest of the process, what a session does not
 * need: files by Landlock, system calls by seccomp (landlock(7),
 * seccomp(2)). Neither can be undone, and whatever the process starts
 * afterwards is bound as well: commands are run by another one (runner.h).
 *
 * Linux only; elsewhere, and on kernels without them, CONFINE_MISSING.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

/*
 * A build that measures coverage writes files when it ends, and one with
 * AddressSanitizer looks for leaks from another process: their sessions give
 * up nothing.
 */
#if defined(CONFINE_NOTHING) || defined(__SANITIZE_ADDRESS__)
#define CONFINE_OFF true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_OFF true
#endif
#endif
#ifndef CONFINE_OFF
#define CONFINE_OFF false
#endif

/* As many paths, and octets of paths, as one set holds. */
#define CONFINE_PATHS_MAX 96
#define CONFINE_TEXT_MAX 16384

/* What a path and all below it is for. */
enum confine_access {
	CONFINE_READ = 1,
	CONFINE_WRITE = 2, /* change, make, remove and rename */
	CONFINE_LIST = 4,  /* open directories, and nothing in them */
};

/* What stays possible. Zeroed: nothing but descriptors that are open. */
struct confine {
	bool nothing;  /* is given up */
	bool network;  /* connections are made */
	bool too_many; /* more paths than it holds: all files stay */

	/* confine.c's own. */
	struct confine_path {
		size_t at; /* in text */
		unsigned access;
	} paths[CONFINE_PATHS_MAX];
	size_t n;
	size_t text_len;
	char text[CONFINE_TEXT_MAX];
};

/* What is not there by the time of confine_files is left out. "" is ".". A
 * path that is in the set already gets the access in addition. */
void confine_add(struct confine *confine, struct slice path,
    unsigned access);

enum confine_outcome {
	CONFINE_DONE = 0,
	CONFINE_MISSING, /* this system cannot */
};

/* Files, and without network TCP. -1: ERROR_SYSTEM. */
int confine_files(const struct confine *confine, struct error *error);

/*
 * System calls that no session has a use for fail with EPERM from here on:
 * starting programs, sockets but those of the file system where there is no
 * network, and those that act on other processes or on the system.
 */
int confine_calls(const struct confine *confine, struct error *error);

#endif
