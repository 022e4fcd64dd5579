/*
 * error.c - one table from what went wrong to what everybody is told.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

static const struct error_meaning meanings[] = {
	[ERROR_NONE] = { 250, "2.0.0", "Ok", "", 0, LOG_DEBUG },
	[ERROR_USAGE] = { 451, "4.3.5", "Server configuration problem",
	    "[SYS/TEMP]", EX_USAGE, LOG_ERR },
	[ERROR_CONFIG] = { 451, "4.3.5", "Server configuration problem",
	    "[SYS/PERM]", EX_CONFIG, LOG_ERR },
	[ERROR_SYSTEM] = { 451, "4.3.0", "Local trouble, try again later",
	    "[SYS/TEMP]", EX_TEMPFAIL, LOG_ERR },
	[ERROR_FULL] = { 452, "4.3.1", "Mail system full, try again later",
	    "[SYS/TEMP]", EX_TEMPFAIL, LOG_ERR },
	[ERROR_MISSING] = { 451, "4.3.0", "Local trouble, try again later",
	    "[SYS/PERM]", EX_TEMPFAIL, LOG_ERR },
	[ERROR_BUSY] = { 451, "4.3.0", "Busy, try again later",
	    "[IN-USE]", EX_TEMPFAIL, LOG_NOTICE },
	/* How a peer leaves is its own affair: exit 0, or a port scanner
	 * would leave a failed unit behind each time. */
	[ERROR_PEER] = { 421, "4.4.2", "Connection broken", "", 0, LOG_INFO },
	[ERROR_TIMEOUT] = { 421, "4.4.2", "Took too long, closing", "", 0,
	    LOG_INFO },
};

const struct error_meaning *
error_meaning(enum error_kind kind)
{
	return &meanings[kind];
}

static void __attribute__((format(printf, 2, 0)))
set_text(struct error *error, const char *format, va_list args)
{
	vsnprintf(error->text, sizeof(error->text), format, args);
}

int
error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
	va_list args;

	error->kind = kind;
	error->errnum = 0;
	va_start(args, format);
	set_text(error, format, args);
	va_end(args);
	return -1;
}

int
error_system(struct error *error, int errnum, const char *format, ...)
{
	va_list args;

	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		error->kind = ERROR_FULL;
		break;
	case ENOENT:
	case ENOTDIR:
		error->kind = ERROR_MISSING;
		break;
	default:
		error->kind = ERROR_SYSTEM;
	}
	error->errnum = errnum;
	va_start(args, format);
	set_text(error, format, args);
	va_end(args);
	size_t len = strlen(error->text);
	snprintf(error->text + len, sizeof(error->text) - len, ": %s",
	    strerror(errnum));
	return -1;
}

const char *
error_tail(const char *path, size_t max)
{
	size_t len = strlen(path);

	return path + (len > max ? len - max : 0);
}
