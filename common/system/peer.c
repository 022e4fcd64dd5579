/*
 * peer.c - descriptors and addresses, as each super-server hands them over.
 */
#include "system/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "system/descriptors.h"
#include "system/loopback.h"

/* A connected stream socket, or no socket at all, is what can be served. */
static int
check_connection(int fd, struct error *error)
{
	int type = 0, listening = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) {
		if (errno == ENOTSOCK)
			return 0;
		return error_set(error, ERROR_CONFIG,
		    "descriptor %d is no connection: %s", fd,
		    strerror(errno));
	}
	if (type != SOCK_STREAM)
		return error_set(error, ERROR_CONFIG, "descriptor %d is not a "
		    "stream socket: use ListenStream= and Accept=yes, or "
		    "socket_type = stream", fd);
	len = sizeof(listening);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening,
	    &len) == 0 && listening != 0)
		return error_set(error, ERROR_CONFIG, "descriptor %d is a "
		    "listening socket, one process serves one connection: "
		    "set Accept=yes in the .socket unit, nowait in inetd, "
		    "or --accept", fd);
	return 0;
}

/* Only the first witness that says the peer is not local is remembered. */
static void
set_remote(struct peer *peer, const char *witness, const char *says)
{
	if (peer->local)
		snprintf(peer->remote_by, sizeof(peer->remote_by),
		    "%s%s%.64s", witness, says[0] != '\0' ? " says " : "",
		    says);
	peer->local = false;
}

static int
take_descriptors(struct peer *peer, struct error *error)
{
	int passed = descriptors_passed(error);

	if (passed < 0)
		return -1;
	if (passed > 1)
		return error_set(error, ERROR_CONFIG, "%d descriptors were "
		    "passed, one process serves one connection: set "
		    "Accept=yes in the .socket unit", passed);
	int in_fd = passed == 1 ? DESCRIPTORS_PASSED : STDIN_FILENO;
	int out_fd = passed == 1 ? DESCRIPTORS_PASSED : STDOUT_FILENO;
	if (check_connection(in_fd, error) < 0 ||
	    check_connection(out_fd, error) < 0)
		return -1;
	bool same = in_fd == out_fd || descriptors_are_same(in_fd, out_fd);
	peer->in_fd = descriptors_move_up(in_fd, error);
	if (peer->in_fd < 0)
		return -1;
	peer->out_fd = same ? peer->in_fd : descriptors_move_up(out_fd, error);
	if (peer->out_fd < 0)
		return -1;
	descriptors_forget_passed();
	if (passed == 1) {
		close(in_fd);
		return 0;
	}
	return descriptors_cover(STDIN_FILENO, error) < 0 ||
	    descriptors_cover(STDOUT_FILENO, error) < 0 ? -1 : 0;
}

/* RFC 4291 2.5.5.2: an IPv4-mapped address is the IPv4 address. */
static void
set_address(struct peer *peer, int family, const void *address, uint16_t port)
{
	const struct in6_addr *v6 = address;

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6)) {
		family = AF_INET;
		address = &v6->s6_addr[12];
	}
	peer->is_ipv6 = family == AF_INET6;
	peer->port = port;
	if (inet_ntop(family, address, peer->address,
	    sizeof(peer->address)) == NULL)
		peer->address[0] = '\0';
}

/* What the socket itself says. True where it knows an address. */
static bool
ask_socket(struct peer *peer)
{
	struct sockaddr_storage storage;
	const struct sockaddr_in *in = (void *)&storage;
	const struct sockaddr_in6 *in6 = (void *)&storage;
	socklen_t len = sizeof(storage);

	storage.ss_family = AF_UNSPEC;
	if (getpeername(peer->in_fd, (struct sockaddr *)&storage,
	    &len) != 0) {
		if (errno == ENOTSOCK)
			return false;
		/* The peer has left already. Our own address tells the family:
		 * a UNIX socket's peer is local; any other is not known. */
		len = sizeof(storage);
		if (getsockname(peer->in_fd, (struct sockaddr *)&storage,
		    &len) != 0 || storage.ss_family != AF_UNIX)
			set_remote(peer, "the socket knows no peer", "");
		return false;
	}
	switch (storage.ss_family) {
	case AF_INET:
		set_address(peer, AF_INET, &in->sin_addr,
		    ntohs(in->sin_port));
		if (!loopback_is_address(AF_INET, &in->sin_addr))
			set_remote(peer, "the socket", peer->address);
		return true;
	case AF_INET6:
		set_address(peer, AF_INET6, &in6->sin6_addr,
		    ntohs(in6->sin6_port));
		if (!loopback_is_address(AF_INET6, &in6->sin6_addr))
			set_remote(peer, "the socket", peer->address);
		return true;
	case AF_UNIX:
		return false;
	default:
		set_remote(peer, "the socket is of an unknown family", "");
		return false;
	}
}

/* The variables by which super-servers tell a program the peer. */
static const struct witness {
	const char *address;
	const char *port;
} witnesses[] = {
	{ "REMOTE_ADDR", "REMOTE_PORT" },           /* systemd */
	{ "TCPREMOTEIP", "TCPREMOTEPORT" },         /* ucspi-tcp, s6 */
	{ "SSLREMOTEIP", "SSLREMOTEPORT" },         /* ucspi-ssl */
	{ "TCPREMOTEADDR", "TCPREMOTEPORT" },       /* ipsvd */
	{ "REMOTE_HOST", "REMOTE_PORT" },           /* xinetd, stunnel */
	{ "SOCAT_PEERADDR", "SOCAT_PEERPORT" },     /* socat */
	{ "NCAT_REMOTE_ADDR", "NCAT_REMOTE_PORT" }, /* ncat */
};

/* A UNIX socket's peer is told by its path, or as socat's "<anon>". */
static bool
is_unix_peer(const char *text)
{
	return text[0] == '\0' || text[0] == '/' || text[0] == '@' ||
	    strcmp(text, "<anon>") == 0;
}

/* The family of a numeric address, IPv6 with or without brackets; AF_UNSPEC
 * for a host name: whoever has a name server can make up any, "localhost"
 * too. */
static int
parse_address(const char *text, void *address)
{
	char copy[INET6_ADDRSTRLEN];
	size_t len = strlen(text);

	if (inet_pton(AF_INET, text, address) == 1)
		return AF_INET;
	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(copy))
		return AF_UNSPEC;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(AF_INET6, copy, address) == 1 ? AF_INET6 : AF_UNSPEC;
}

/*
 * What the super-server says in the environment. It can make the peer a remote
 * one, never a local one. An address is taken from it only where the socket
 * has none.
 */
static void
ask_environment(struct peer *peer, const struct witness *witness,
    bool has_address)
{
	const char *text = getenv(witness->address);
	const char *port_text = getenv(witness->port);
	unsigned char address[sizeof(struct in6_addr)];
	uint64_t port = 0;

	if (text == NULL || is_unix_peer(text))
		return;
	int family = parse_address(text, address);
	if (family == AF_UNSPEC) {
		set_remote(peer, witness->address, "no address");
		return;
	}
	if (!loopback_is_address(family, address))
		set_remote(peer, witness->address, text);
	if (has_address || peer->address[0] != '\0')
		return;
	if (port_text != NULL)
		slice_to_number(slice_from(port_text), 65535, &port);
	set_address(peer, family, address, (uint16_t)port);
}

static void
set_name(struct peer *peer)
{
	const char *open = peer->is_ipv6 ? "[" : "";
	const char *close = peer->is_ipv6 ? "]" : "";

	if (peer->address[0] == '\0')
		snprintf(peer->name, sizeof(peer->name), "%s",
		    peer->local ? "local" : "unknown");
	else if (peer->port == 0)
		snprintf(peer->name, sizeof(peer->name), "%s%s%s", open,
		    peer->address, close);
	else
		snprintf(peer->name, sizeof(peer->name), "%s%s%s:%u", open,
		    peer->address, close, peer->port);
}

/* Version 1 has its addresses as text. */
static bool
read_address(struct slice text, int family, void *address)
{
	char copy[INET6_ADDRSTRLEN + 1];

	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, address) == 1;
}

int
peer_apply_proxy_header(struct peer *peer, const struct proxy_header *header,
    struct error *error)
{
	unsigned char address[sizeof(struct in6_addr)];
	unsigned char destination[sizeof(struct in6_addr)];
	int family = header->source == PROXY_SOURCE_IPV4 ? AF_INET : AF_INET6;

	switch (header->source) {
	case PROXY_SOURCE_NONE:
		return 0;
	case PROXY_SOURCE_UNKNOWN:
		peer->address[0] = '\0';
		set_remote(peer, "the PROXY header", "UNKNOWN");
		break;
	case PROXY_SOURCE_UNIX:
		peer->address[0] = '\0';
		break;
	case PROXY_SOURCE_IPV4:
	case PROXY_SOURCE_IPV6:
		memcpy(address, header->address, sizeof(address));
		if (header->address_text.len > 0 &&
		    (!read_address(header->address_text, family, address) ||
		    !read_address(header->destination_text, family,
		    destination)))
			return error_set(error, ERROR_PEER,
			    "PROXY header: not an address");
		set_address(peer, family, address, header->port);
		if (!loopback_is_address(family, address))
			set_remote(peer, "the PROXY header", peer->address);
		break;
	}
	set_name(peer);
	return 0;
}

int
peer_take(struct peer *peer, struct error *error)
{
	*peer = (struct peer){ .in_fd = -1, .out_fd = -1, .local = true };
	if (take_descriptors(peer, error) < 0)
		return -1;
	bool has_address = ask_socket(peer);
	for (size_t i = 0; i < sizeof(witnesses) / sizeof(witnesses[0]); i++)
		ask_environment(peer, &witnesses[i], has_address);
	set_name(peer);
	return 0;
}
