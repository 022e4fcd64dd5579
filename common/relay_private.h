/*
 * relay_private: what the parts of relay share, and nobody else uses.
 */
#ifndef RELAY_PRIVATE_H
#define RELAY_PRIVATE_H

#include "account.h"
#include "error.h"
#include "relay.h"

/*
 * Connects to the account's next hop, up to where it waits for MAIL. -1,
 * and in *enhanced what kind of trouble it was: "4.4.x" or, of security,
 * "4.7.x". Whatever was opened is relay->conn and relay->storage.
 */
int relay_open_connection(struct relay *relay, const struct account *account,
    const char **enhanced, struct error *error);

/* Waits for the next reply, which is relay->client.reply. -1: none will
 * come. */
int relay_await_reply(struct relay *relay, struct error *error);

/* The first digit of its code. */
unsigned relay_reply_class(const struct relay *relay);

/* Fills *error with a reply that is not the one to go on with: -1. */
int relay_unexpected(struct relay *relay, const char *what,
    struct error *error);

#endif
