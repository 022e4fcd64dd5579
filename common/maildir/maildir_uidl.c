/*
 * maildir_uidl.c - unique-ids: they depend on the message alone, so that
 * they are the same in every session, whatever comes or goes.
 *
 * A message's is its base name, and in a folder a slash and the folder's
 * path. Where a file stands beside new and cur and has a namesake in them its
 * own ends with one more slash: no mail program makes such. What cannot stand
 * in a reply becomes a hash, 128 bits of SHA-256 in hexadecimal.
 * Layer 2.
 */

/* EVP_Digest takes five times as long for so little. */
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
put_hex(const unsigned char *octets, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < MAILDIR_DIGEST_SIZE; i++) {
		text[2 * i] = digits[octets[i] >> 4];
		text[2 * i + 1] = digits[octets[i] & 15];
	}
	return (struct slice){ text, 2 * (size_t)MAILDIR_DIGEST_SIZE };
}

size_t
maildir_whole_id(const struct maildir_index *index, size_t i,
    char id[MAILDIR_ID_MAX])
{
	const struct maildir_folder *at =
	    &index->folders[index->files[i].folder];
	struct slice path = slice_from(index->text + at->path);
	struct slice folder = maildir_folder_path(path);
	struct slice base = maildir_base_name(maildir_file_name(index, i));
	size_t len = base.len;

	memcpy(id, base.data, base.len);
	if (folder.len > 0) {
		id[len++] = '/';
		memcpy(id + len, folder.data, folder.len);
		len += folder.len;
	}
	if (index->files[i].namesake)
		id[len++] = '/';
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
		return put_hex(maildir_index_digest(index, i), text);
	struct slice id = { whole, maildir_whole_id(index, i, whole) };
	if (id.len > 0 && id.len <= MAILDIR_UIDL_MAX && id.data[0] != '/' &&
	    can_be_sent(id)) {
		memcpy(text, id.data, id.len);
		return (struct slice){ text, id.len };
	}
	SHA256_Init(&context);
	SHA256_Update(&context, id.data, id.len);
	SHA256_Final(hash, &context);
	return put_hex(hash, text);
}
