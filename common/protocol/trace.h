/*
 * trace: the header lines a mail system adds on top of a message (RFC 5321
 * section 4.4: trace information).
 */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct trace {
	struct slice helo;       /* what the client called itself */
	const char *address;     /* the peer's, numeric; "" for none */
	bool address_is_ipv6;
	const char *hostname;    /* ours */
	bool esmtp;
	bool utf8;               /* SMTPUTF8 was said (RFC 6531) */
	bool lmtp;
	bool authenticated;
	bool secure;             /* TLS, ours or a proxy's */
	const char *tls_version; /* NULL: not known */
	const char *tls_cipher;
	const char *id;
	struct slice recipient;  /* the only one, else empty */
	int64_t time;            /* seconds since 1970 */
};

/* More than any of the lines below takes. */
#define TRACE_MAX 4096

/* More Received lines than this are a loop (RFC 5321 6.3). */
#define TRACE_RECEIVED_MAX 100

/* What it came by, as a Received line says it: "ESMTPSA". */
const char *trace_protocol(const struct trace *trace);

/* What a message's header has: Received lines, and octets above 0x7F. Start
 * with all zero. */
struct trace_counter {
	unsigned received;
	bool has_8bit;

	bool in_body;
	size_t column; /* octets of the line so far, up to a name's length */
	bool differs;  /* the line is no Received line */
};

void trace_count(struct trace_counter *counter, struct slice text);

/* "Return-Path: <path>\n"; the length. */
size_t trace_return_path(struct slice reverse_path, char *out, size_t size);

/* "Delivered-To: path\n", or what the field is called; the length. */
size_t trace_recipient(const char *field, struct slice path, char *out,
    size_t size);

/* "Received: ...\n", folded, in UTC; the length. */
size_t trace_received(const struct trace *trace, char *out, size_t size);

#endif
