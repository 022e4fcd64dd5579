/*
 * tls_rehearsal.c - client and server in one process, with two buffers for a
 * network.
 */
#include "system/tls_rehearsal.h"

#include <stdlib.h>

#include "base/buf.h"

/* More turns than any handshake takes. */
#define TURNS_MAX 16
#define PIPE_SIZE 32768

/* One end: it reads from one buffer and writes to the other. */
struct end {
	struct buf *in;
	struct buf *out;
};

struct network {
	struct buf to_server;
	struct buf to_client;
	char storage[2][PIPE_SIZE];
};

static ssize_t
read_callback(struct tls *tls, void *data, size_t size, void *arg)
{
	struct buf *in = ((struct end *)arg)->in;
	struct slice octets = buf_contents(in);

	(void)tls;
	if (octets.len == 0)
		return TLS_WANT_POLLIN;
	if (octets.len > size)
		octets.len = size;
	for (size_t i = 0; i < octets.len; i++)
		((char *)data)[i] = octets.data[i];
	buf_consume(in, octets.len);
	return (ssize_t)octets.len;
}

static ssize_t
write_callback(struct tls *tls, const void *data, size_t size, void *arg)
{
	struct buf *out = ((struct end *)arg)->out;

	(void)tls;
	return buf_append(out, (struct slice){ data, size })
	    ? (ssize_t)size : -1;
}

static bool
shake_hands(struct tls *client, struct tls *server)
{
	int client_says = TLS_WANT_POLLIN, server_says = TLS_WANT_POLLIN;

	for (int i = 0; i < TURNS_MAX; i++) {
		if (client_says == TLS_WANT_POLLIN)
			client_says = tls_handshake(client);
		if (server_says == TLS_WANT_POLLIN)
			server_says = tls_handshake(server);
		if (client_says == 0 && server_says == 0)
			return true;
	}
	return false;
}

static void
talk(struct tls *client, struct tls *server)
{
	char octet;

	if (tls_write(client, "", 1) == 1)
		(void)tls_read(server, &octet, 1);
	if (tls_write(server, "", 1) == 1)
		(void)tls_read(client, &octet, 1);
	tls_close(client);
	tls_close(server);
}

/* A client that asks nothing of the certificate: it is our own. */
static struct tls *
new_client(void)
{
	struct tls_config *config = tls_config_new();
	struct tls *client = tls_client();

	if (config != NULL && client != NULL) {
		tls_config_insecure_noverifycert(config);
		tls_config_insecure_noverifyname(config);
		if (tls_configure(client, config) == 0) {
			tls_config_free(config);
			return client;
		}
	}
	tls_config_free(config);
	tls_free(client);
	return NULL;
}

void
tls_rehearsal(struct tls *server)
{
	struct network *network = malloc(sizeof(*network));
	struct tls *client = new_client();
	struct tls *accepted = NULL;

	if (network != NULL && client != NULL) {
		struct end at_client = { &network->to_client,
			&network->to_server };
		struct end at_server = { &network->to_server,
			&network->to_client };

		buf_init(&network->to_server, network->storage[0], PIPE_SIZE);
		buf_init(&network->to_client, network->storage[1], PIPE_SIZE);
		if (tls_connect_cbs(client, read_callback, write_callback,
		    &at_client, "localhost") == 0 &&
		    tls_accept_cbs(server, &accepted, read_callback,
		    write_callback, &at_server) == 0 &&
		    shake_hands(client, accepted))
			talk(client, accepted);
	}
	tls_free(accepted);
	tls_free(client);
	free(network);
}
