/*
 * message: one message of a maildrop, as POP3 counts and marks it.
 *
 * Eight octets, for there may be millions.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdint.h>

#define MESSAGE_OCTETS_MAX (UINT64_MAX >> 2)

struct message {
	uint64_t octets : 62; /* what RETR sends, without dot-stuffing and
	                       * dot */
	uint64_t permanent : 1; /* it cannot be deleted */
	uint64_t deleted : 1; /* marked in this session */
};

#endif
