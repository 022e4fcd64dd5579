/*
 * process.c - SIGTERM becomes a fact to look at.
 * Signal handlers have no argument, hence the statics.
 */
#include "system/process.h"

#include <poll.h>
#include <time.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

static volatile sig_atomic_t stop_requested;
static volatile sig_atomic_t reload_requested;
static sigset_t wait_mask;

static void
note_stop(int signal_number)
{
	(void)signal_number;
	stop_requested = 1;
}

void
process_init(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };
	sigset_t block;

	sigemptyset(&action.sa_mask);
	sigaction(SIGPIPE, &action, NULL);
	/* At a file size limit write(2) is to fail, not to end the program. */
	sigaction(SIGXFSZ, &action, NULL);
	/* No SA_RESTART: SIGTERM is to end a wait. */
	action.sa_handler = note_stop;
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &wait_mask);
	sigdelset(&wait_mask, SIGTERM);
#ifdef __linux__
	prctl(PR_SET_DUMPABLE, 0);
#endif
}

bool
process_stop_requested(void)
{
	return stop_requested != 0;
}

bool
process_stop_pending(void)
{
	sigset_t pending;

	return process_stop_requested() || (sigpending(&pending) == 0 &&
	    sigismember(&pending, SIGTERM) == 1);
}

const sigset_t *
process_wait_mask(void)
{
	return &wait_mask;
}

static void
ignore_signal(int signal_number)
{
	(void)signal_number;
}

void
process_catch_children(void)
{
	/* The handler does nothing, but an ignored signal would not end a
	 * wait. It is blocked except while waiting, so that none is missed. */
	struct sigaction action = { .sa_handler = ignore_signal };
	sigset_t block;

	sigemptyset(&action.sa_mask);
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, NULL);
	sigdelset(&wait_mask, SIGCHLD);
}

static void
note_reload(int signal_number)
{
	(void)signal_number;
	reload_requested = 1;
}

void
process_watch(void)
{
	struct sigaction action = { .sa_handler = note_stop };
	sigset_t block;

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	action.sa_handler = note_reload;
	sigaction(SIGHUP, &action, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, NULL);
	sigdelset(&wait_mask, SIGINT);
	sigdelset(&wait_mask, SIGHUP);
	process_catch_children();
}

bool
process_take_reload(void)
{
	bool requested = reload_requested != 0;

	reload_requested = 0;
	return requested;
}

void
process_unwatch(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

void
process_wait(int64_t milliseconds)
{
	const struct timespec timeout = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000,
	};

	ppoll(NULL, 0, &timeout, &wait_mask);
}
