/*
 * next_hop.c - the grammar of a next hop's URL.
 */
#include "relay/next_hop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include "base/percent.h"
#include "base/slice.h"
#include "system/loopback.h"

#define HOST_NAME_MAX_LEN 253

/* What comes before the colon of a URL. */
static const struct {
	const char *name;
	const char *port;
	bool tls;
	bool lmtp;
} schemes[] = {
	/* RFC 8314 7.3 */
	[NEXT_HOP_SMTPS] = { "smtps", "465", true, false },
	/* RFC 6409 3.1 */
	[NEXT_HOP_SMTP] = { "smtp", "587", true, false },
	[NEXT_HOP_SMTP_PLAIN] = { "smtp+plain", "25", false, false },
	/* RFC 2033 5: not 25. What Dovecot and Cyrus listen on. */
	[NEXT_HOP_LMTP] = { "lmtp", "24", false, true },
	[NEXT_HOP_LMTP_UNIX] = { "lmtp+unix", "", false, true },
};

/* Which scheme a URL has, and what comes after its colon; NULL for none. */
static char *
cut_scheme(char *url, enum next_hop_scheme *scheme)
{
	char *colon = strchr(url, ':');

	for (size_t i = 0; colon != NULL &&
	    i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (slice_equal_nocase(slice_from(schemes[i].name),
		    (struct slice){ url, (size_t)(colon - url) })) {
			*scheme = (enum next_hop_scheme)i;
			return colon + 1;
		}
	return NULL;
}

/* ---- parameters ---- */

static const char *
parse_auth(struct next_hop *hop, struct slice name)
{
	hop->auth = sasl_client_find(name);
	return hop->auth != SASL_CLIENT_NONE ? NULL
	    : "auth= in a URL is plain, login, xoauth2 or oauthbearer";
}

/* One of "?ca=FILE&verify=no&auth=login". */
static const char *
parse_parameter(struct next_hop *hop, char *word)
{
	struct slice parameter = slice_from(word);

	if (slice_starts_with_nocase(parameter, SLICE("auth=")))
		return parse_auth(hop, slice_skip(parameter, 5));
	if (!schemes[hop->scheme].tls)
		return "ca= and verify= are for smtps and smtp: there is no "
		    "TLS in the others, which know auth= only";
	if (slice_starts_with_nocase(parameter, SLICE("ca=")) &&
	    parameter.len > 3)
		hop->ca_file = word + 3;
	else if (slice_equal_nocase(parameter, SLICE("verify=no")))
		hop->verify = false;
	else if (slice_equal_nocase(parameter, SLICE("verify=yes")))
		hop->verify = true;
	else
		return "allowed after ? in a URL are ca=FILE, verify=yes, "
		    "verify=no and auth=MECHANISM";
	return NULL;
}

static const char *
parse_query(struct next_hop *hop, char *query)
{
	const char *fault = NULL;

	while (query != NULL && fault == NULL) {
		char *word = query;
		query = strchr(query, '&');
		if (query != NULL)
			*query++ = '\0';
		fault = percent_decode(word) ? parse_parameter(hop, word)
		    : "what is after ? in the URL" PERCENT_FAULT;
	}
	return fault;
}

/* ---- hosts ---- */

/* A host name, perhaps with the root's dot: letters, digits, - and _ between
 * single dots. */
static bool
is_name(struct slice name)
{
	bool after_dot = true;

	if (slice_ends_with(name, SLICE(".")))
		name.len--;
	for (size_t i = 0; i < name.len; i++) {
		char c = slice_lower(name.data[i]);
		bool dot = c == '.';

		if (dot ? after_dot : !(c >= 'a' && c <= 'z') &&
		    !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
		after_dot = dot;
	}
	return !after_dot && name.len <= HOST_NAME_MAX_LEN;
}

/* An address of IPv6, perhaps with a zone (RFC 4007 11). */
static bool
is_address(const char *host)
{
	char address[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%");
	struct in6_addr in6;

	if (len >= sizeof(address))
		return false;
	memcpy(address, host, len);
	address[len] = '\0';
	return inet_pton(AF_INET6, address, &in6) == 1 &&
	    (host[len] == '\0' || is_name(slice_from(host + len + 1)));
}

/* host, host:port, [address], [address]:port */
static const char *
parse_host(struct next_hop *hop, char *host)
{
	bool brackets = host[0] == '[';
	char *port = NULL;
	uint64_t number;

	if (brackets) {
		char *end = strchr(host, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return "the next hop is not [ADDRESS] or "
			    "[ADDRESS]:PORT";
		port = end[1] == ':' ? end + 2 : NULL;
		*end = '\0';
		host++;
	} else {
		port = strchr(host, ':');
		if (port != NULL)
			*port++ = '\0';
	}
	if (host[0] == '\0')
		return "the next hop has no host name";
	if (brackets && !is_address(host))
		return "what the next hop has in brackets is no IPv6 address";
	if (!brackets && !is_name(slice_from(host)))
		return "the next hop's host name has something else than "
		    "letters, digits, - and _ between single dots";
	if (port != NULL && (!slice_to_number(slice_from(port), 65535,
	    &number) || number == 0))
		return "the next hop's port is not a number from 1 to 65535";
	hop->host = host;
	if (port != NULL)
		hop->port = port;
	return NULL;
}

/* The path of a UNIX socket. */
static const char *
parse_path(struct next_hop *hop, char *path)
{
	if (!percent_decode(path))
		return "the socket's path" PERCENT_FAULT;
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "too long for a socket's path";
	hop->host = path;
	return NULL;
}

/* ---- the whole ---- */

/* A port that always has TLS from the first octet, or never has: one would
 * wait for the other without end, or not understand it. */
static const char *
wrong_scheme(const struct next_hop *hop)
{
	bool implicit = hop->scheme == NEXT_HOP_SMTPS;

	/* RFC 8314 7.3 */
	if (!implicit && strcmp(hop->port, "465") == 0)
		return "port 465 is TLS from the first octet: that is smtps://";
	if (implicit && (strcmp(hop->port, "587") == 0 ||
	    strcmp(hop->port, "25") == 0))
		return "ports 587 and 25 begin in the clear, with STARTTLS: "
		    "that is smtp://";
	return NULL;
}

/* "smtps://joe:secret@host"? A file's name may have an @ in it. */
static bool
has_login(struct slice url)
{
	struct slice part, query;

	slice_cut(url, '?', &part, &query);
	while (part.len == 0 || memchr(part.data, '@', part.len) == NULL ||
	    slice_starts_with_nocase(part, SLICE("ca="))) {
		if (query.len == 0)
			return false;
		slice_cut(query, '&', &part, &query);
	}
	return true;
}

const char *
next_hop_parse(struct next_hop *hop, char *url)
{
	const char *fault;

	*hop = (struct next_hop){ .host = "" };
	if (has_login(slice_from(url)))
		return "login and password are words of their own after the "
		    "URL, not part of it";
	char *rest = cut_scheme(url, &hop->scheme);
	bool is_path = hop->scheme == NEXT_HOP_LMTP_UNIX;
	if (rest == NULL || strncmp(rest, "//", is_path ? 1 : 2) != 0)
		return "the second word is no next hop: that is "
		    "smtps://HOST[:PORT], smtp://, smtp+plain:// or lmtp:// "
		    "with the same, or lmtp+unix:/PATH";
	hop->port = schemes[hop->scheme].port;
	hop->verify = schemes[hop->scheme].tls;
	char *query = strchr(rest, '?');
	if (query != NULL)
		*query++ = '\0';
	/* A slash at the end is what URLs often have; without a host it is the
	 * second of two, which nobody looks at any more. */
	size_t len = strlen(rest);
	if (!is_path && rest[len - 1] == '/')
		rest[len - 1] = '\0';
	fault = is_path ? parse_path(hop, rest) : parse_host(hop, rest + 2);
	if (fault == NULL)
		fault = wrong_scheme(hop);
	return fault != NULL ? fault : parse_query(hop, query);
}

bool
next_hop_has_tls(const struct next_hop *hop)
{
	return schemes[hop->scheme].tls;
}

bool
next_hop_is_lmtp(const struct next_hop *hop)
{
	return schemes[hop->scheme].lmtp;
}

bool
next_hop_is_this_machine(const struct next_hop *hop)
{
	return hop->scheme == NEXT_HOP_LMTP_UNIX ||
	    loopback_is_host(hop->host);
}

const char *
next_hop_scheme_name(enum next_hop_scheme scheme)
{
	return schemes[scheme].name;
}
