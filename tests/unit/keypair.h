/*
 * keypair: certificates for tests, by openssl(1).
 */
#ifndef KEYPAIR_H
#define KEYPAIR_H

#include "drive.h"

/* Makes NAME.crt and NAME.key in the working directory. */
static inline void
keypair_make(const char *name)
{
	char command[512];

	snprintf(command, sizeof(command), "openssl req -x509 -days 2 -nodes "
	    "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=%s "
	    "-addext subjectAltName=DNS:%s -keyout %s.key -out %s.crt "
	    "2>/dev/null", name, name, name, name);
	assert_int_equal(system(command), 0);
}

#endif
