/*
 * password_hash: crypt(3), in which C libraries differ.
 */
#ifndef PASSWORD_HASH_H
#define PASSWORD_HASH_H

#include <stdbool.h>
#include <stddef.h>

/* Longest hash with its NUL: crypt(5) of libxcrypt has 384. */
#define PASSWORD_HASH_SIZE 385

/* The hash of the password, made by the method and with the salt of setting
 * (which may be a whole hash), into hash. Nothing of the password is left in
 * memory but in its own place. 0, or -1 with errno: ERANGE for a password
 * longer than the method takes, ENOMEM, EINVAL for a setting it does not know
 * or whatever else crypt(3) says. */
int password_hash(const char *password, const char *setting,
    char hash[PASSWORD_HASH_SIZE]);

/* Can this library check passwords against such a hash? It may not know, and
 * say yes. */
bool password_hash_is_possible(const char *hash);

#endif
