/*
 * keypair: certificates for tests, by openssl(1), and a server with one.
 */
#ifndef KEYPAIR_H
#define KEYPAIR_H

#include "drive.h"

#include <tls.h>

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

/* The context of a server that has them; tls_free() it. */
static inline struct tls *
keypair_server(const char *name)
{
	struct tls_config *config = tls_config_new();
	struct tls *server = tls_server();
	char cert[64], key[64];

	keypair_make(name);
	snprintf(cert, sizeof(cert), "%s.crt", name);
	snprintf(key, sizeof(key), "%s.key", name);
	assert_int_equal(tls_config_set_keypair_file(config, cert, key), 0);
	assert_int_equal(tls_configure(server, config), 0);
	tls_config_free(config);
	return server;
}

/* Makes a folder of its own, the working directory from here on, and the
 * context of a server with a certificate in it. */
static inline struct tls *
keypair_set_up(struct directory *directory, const char *name)
{
	directory_make(directory);
	assert_int_equal(chdir(directory->path), 0);
	return keypair_server(name);
}

static inline void
keypair_tear_down(struct directory *directory, struct tls *server)
{
	tls_free(server);
	assert_int_equal(chdir("/"), 0);
	directory_remove(directory);
}

#endif
