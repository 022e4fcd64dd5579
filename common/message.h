/*
 * message: one message of a maildrop, as POP3 shows it.
 *
 * Sixteen octets, for there may be millions. The unique-id is a piece of a
 * text that whoever made the array keeps beside it.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

struct message {
	uint64_t octets;   /* what RETR sends, without dot-stuffing and dot */
	uint32_t uidl;     /* where its unique-id begins in the text */
	uint8_t uidl_len;  /* 1 to 70 octets of 0x21 to 0x7E (RFC 1939) */
	bool deleted;      /* marked in this session */
};

#endif
