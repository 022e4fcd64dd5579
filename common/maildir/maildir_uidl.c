/*
 * maildir_uidl.c - unique-ids: they depend on the message alone, so that
 * they are the same in every session, whatever comes or goes.
 *
 * A message's is its base name, and in a folder a slash and the folder's
 * path. What cannot stand in a reply becomes a slash, with which no file's
 * name begins, and a hash: 128 bits of SHA-256 in hexadecimal.
 */

/* SHA256(), which OpenSSL 3 deprecates: EVP_Digest takes five times as long
 * for so few octets. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "maildir/maildir_uidl.h"

#include <openssl/sha.h>
#include <string.h>

static bool
can_be_sent(struct slice s)
{
	unsigned bad = 0;

	for (size_t i = 0; i < s.len; i++)
		bad |= (unsigned char)(s.data[i] - 0x21) > 0x7E - 0x21;
	return bad == 0;
}

static struct slice
put_hash(const unsigned char *octets, char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 0;

	text[len++] = '/';
	for (size_t i = 0; i < MAILDIR_DIGEST_SIZE; i++) {
		text[len++] = digits[octets[i] >> 4];
		text[len++] = digits[octets[i] & 15];
	}
	return (struct slice){ text, len };
}

size_t
maildir_whole_id(const struct maildir_index *index, size_t i,
    char id[MAILDIR_ID_MAX])
{
	struct slice folder = maildir_file_folder(index, i);
	struct slice base = maildir_file_base(index, i);
	size_t len = base.len;

	memcpy(id, base.data, base.len);
	if (folder.len > 0) {
		id[len++] = '/';
		memcpy(id + len, folder.data, folder.len);
		len += folder.len;
	}
	return len;
}

struct slice
maildir_uidl(const struct maildir_index *index, size_t i,
    char text[MAILDIR_UIDL_MAX])
{
	const struct maildir_file *file = &index->files[i];
	char whole[MAILDIR_ID_MAX];
	unsigned char hash[SHA256_DIGEST_LENGTH];
	SHA256_CTX context;

	if (file->twin)
		return put_hash(maildir_index_digest(index, i), text);
	struct slice id = { whole, maildir_whole_id(index, i, whole) };
	if (id.len > 0 && id.len <= MAILDIR_UIDL_MAX && id.data[0] != '/' &&
	    can_be_sent(id)) {
		memcpy(text, id.data, id.len);
		return (struct slice){ text, id.len };
	}
	SHA256_Init(&context);
	SHA256_Update(&context, id.data, id.len);
	SHA256_Final(hash, &context);
	return put_hash(hash, text);
}
