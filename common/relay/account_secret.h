/*
 * account_secret: the password of an account, or the token that stands for
 * one, read when it is needed and not before.
 */
#ifndef ACCOUNT_SECRET_H
#define ACCOUNT_SECRET_H

#include "base/error.h"
#include "protocol/sasl_client.h"
#include "relay/account.h"

struct account_secret {
	char text[SASL_CLIENT_SECRET_MAX + 2];
	size_t len;
};

/*
 * Reads it from where the account says: its line, a file, or what a command
 * writes, for which there are so many seconds. Errors: ERROR_CONFIG,
 * ERROR_SYSTEM, ERROR_TIMEOUT, with the account's file and line. Whatever the
 * result, it is to be wiped.
 */
int account_secret_read(struct account_secret *secret,
    const struct account *account, unsigned timeout, struct error *error);
void account_secret_wipe(struct account_secret *secret);

/* Can it be had? Commands are not run. For --check-config. */
int account_secret_check(const struct account *account, struct error *error);

#endif
