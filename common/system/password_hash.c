/*
 * password_hash.c - crypt_r(3), whose memory is ours to wipe; where there is
 * none (OpenBSD), crypt(3).
 */
#include "system/password_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <crypt.h>
#endif

#if defined(__OpenBSD__) || defined(__NetBSD__)

int
password_hash(const char *password, const char *setting,
    char hash[PASSWORD_HASH_SIZE])
{
	errno = 0;
	const char *made = crypt(password, setting);
	size_t len = made == NULL ? 0 : strlen(made);

	if (len == 0 || made[0] == '*' || len >= PASSWORD_HASH_SIZE) {
		if (errno == 0)
			errno = EINVAL;
		return -1;
	}
	memcpy(hash, made, len + 1);
	return 0;
}

#else

int
password_hash(const char *password, const char *setting,
    char hash[PASSWORD_HASH_SIZE])
{
	struct crypt_data *data = calloc(1, sizeof(*data));

	if (data == NULL)
		return -1;
	errno = 0;
	const char *made = crypt_r(password, setting, data);
	int saved = errno;
	size_t len = made == NULL ? 0 : strlen(made);
	bool failed = len == 0 || made[0] == '*' || len >= PASSWORD_HASH_SIZE;
	if (!failed)
		memcpy(hash, made, len + 1);
	explicit_bzero(data, sizeof(*data));
	free(data);
	if (!failed)
		return 0;
	errno = saved != 0 ? saved : EINVAL;
	return -1;
}

#endif

bool
password_hash_is_possible(const char *hash)
{
#ifdef CRYPT_SALT_OK
	/* libxcrypt can say what it was built without. */
	return crypt_checksalt(hash) != CRYPT_SALT_INVALID &&
	    crypt_checksalt(hash) != CRYPT_SALT_METHOD_DISABLED;
#else
	(void)hash;
	return true;
#endif
}
