/*
 * maildir.c - scanning a maildrop and opening its messages.
 *
 * One stat a file at most; a file is read only where its name does not
 * already say how many octets RETR sends.
 * Layer 2.
 */
#include "maildir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dot.h"
#include "slice.h"

/* RFC 1939 section 7: a unique-id has 1 to 70 characters. */
#define UIDL_MAX 70
#define READ_SIZE 65536

/* One scan under way. */
struct scan {
	struct maildir *maildir;
	struct error *error;
	enum maildir_scan mode;
};

/* ---- growing arrays ---- */

static int
grow(void **array, size_t *size, size_t need, size_t item, struct error *error)
{
	if (need <= *size)
		return 0;
	size_t larger = *size + *size / 2 + 64;
	if (larger < need)
		larger = need;
	void *grown = realloc(*array, larger * item);
	if (grown == NULL)
		return error_system(error, ENOMEM, "maildrop");
	*array = grown;
	*size = larger;
	return 0;
}

/* Appends s and a NUL to the text. */
static int
add_text(struct maildir *maildir, struct slice s, uint32_t *at,
    struct error *error)
{
	size_t len = maildir->text_len + s.len + 1;

	if (len > UINT32_MAX)
		return error_set(error, ERROR_SYSTEM, "maildrop too large");
	if (grow((void **)&maildir->text, &maildir->text_size, len, 1,
	    error) < 0)
		return -1;
	*at = (uint32_t)maildir->text_len;
	if (s.len > 0)
		memcpy(maildir->text + maildir->text_len, s.data, s.len);
	maildir->text[len - 1] = '\0';
	maildir->text_len = len;
	return 0;
}

/* ---- names ---- */

/* The name without ":2,flags": what stays when flags change. */
static struct slice
base_name(struct slice name)
{
	for (size_t i = 0; i + 3 <= name.len; i++)
		if (memcmp(name.data + i, ":2,", 3) == 0)
			return (struct slice){ name.data, i };
	return name;
}

static struct slice
last_component(struct slice path)
{
	const char *slash = path.len > 0
	    ? memrchr(path.data, '/', path.len) : NULL;

	return slash == NULL ? path
	    : slice_skip(path, (size_t)(slash - path.data) + 1);
}

/* Is this directory a maildir's new or cur? */
static bool
holds_mail(struct slice path)
{
	struct slice last = last_component(path);

	return slice_equal(last, SLICE("new")) ||
	    slice_equal(last, SLICE("cur"));
}

/* A folder's path: the directory's, its new or cur left out. */
static struct slice
folder_path(struct slice path)
{
	if (!holds_mail(path))
		return path;
	path.len -= last_component(path).len;
	if (path.len > 0)
		path.len--;
	return path;
}

/* What other mail programs keep in a maildir, beside mail. */
static bool
is_foreign(struct slice name)
{
	return slice_starts_with(name, SLICE("dovecot")) ||
	    slice_starts_with(name, SLICE("courier")) ||
	    slice_equal(name, SLICE("maildirsize")) ||
	    slice_equal(name, SLICE("maildirfolder")) ||
	    slice_equal(name, SLICE("subscriptions"));
}

static bool
take_digits(struct slice *s, uint64_t *number)
{
	size_t n = 0;

	while (n < s->len && s->data[n] >= '0' && s->data[n] <= '9')
		n++;
	if (!slice_to_number((struct slice){ s->data, n }, UINT64_MAX,
	    number))
		return false;
	*s = slice_skip(*s, n);
	return true;
}

static bool
take_literal(struct slice *s, struct slice literal)
{
	if (!slice_starts_with(*s, literal))
		return false;
	*s = slice_skip(*s, literal.len);
	return true;
}

/*
 * The octets that smtp-handler wrote into the name. Only its own form is
 * believed (seconds.MmicrosPpid_random.host,S=size,W=octets), and only
 * where S agrees with the file: Dovecot's W counts a lone CR and a missing
 * last line end in another way.
 */
static bool
octets_in_name(struct slice base, uint64_t size, uint64_t *octets)
{
	uint64_t number, said_size;
	size_t random = 0;
	struct slice host;

	if (!take_digits(&base, &number) ||
	    !take_literal(&base, SLICE(".M")) ||
	    !take_digits(&base, &number) ||
	    !take_literal(&base, SLICE("P")) ||
	    !take_digits(&base, &number) || !take_literal(&base, SLICE("_")))
		return false;
	while (random < base.len &&
	    strchr("0123456789abcdef", base.data[random]) != NULL)
		random++;
	base = slice_skip(base, random);
	if (random == 0 || !take_literal(&base, SLICE(".")) ||
	    !slice_cut(base, ',', &host, &base) || host.len == 0)
		return false;
	return take_literal(&base, SLICE("S=")) &&
	    take_digits(&base, &said_size) &&
	    take_literal(&base, SLICE(",W=")) &&
	    take_digits(&base, octets) && base.len == 0 &&
	    said_size == size && *octets >= size;
}

/* ---- scanning ---- */

static int64_t
mtime_of(const struct stat *st)
{
	int64_t seconds = (int64_t)st->st_mtim.tv_sec;

	/* 64 bits of nanoseconds reach from 1677 to 2262. */
	if (seconds > INT64_MAX / 1000000000 - 1)
		return INT64_MAX;
	if (seconds < INT64_MIN / 1000000000 + 1)
		return INT64_MIN + 1;
	return seconds * 1000000000 + st->st_mtim.tv_nsec;
}

static int
add_file(struct scan *scan, uint32_t folder, const char *name,
    const struct stat *st)
{
	struct maildir *maildir = scan->maildir;
	struct maildir_file file = {
		.size = (uint64_t)st->st_size,
		.mtime = mtime_of(st),
		.folder = folder & INT32_MAX,
	};

	if (add_text(maildir, slice_from(name), &file.name, scan->error) < 0)
		return -1;
	if (grow((void **)&maildir->files, &maildir->files_size,
	    maildir->n + 1, sizeof(file), scan->error) < 0)
		return -1;
	maildir->files[maildir->n++] = file;
	return 0;
}

/* Names of directories within one, to be read after it. */
struct names {
	char **items;
	size_t n;
	size_t size;
};

static void
names_free(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}

static int
names_add(struct names *names, const char *name, struct error *error)
{
	if (grow((void **)&names->items, &names->size, names->n + 1,
	    sizeof(char *), error) < 0)
		return -1;
	char *copy = strdup(name);
	if (copy == NULL)
		return error_system(error, ENOMEM, "maildrop");
	names->items[names->n++] = copy;
	return 0;
}

/* New comes before cur: a message that is moved meanwhile is seen twice,
 * never not at all. The rest by name. */
static int
compare_names(const void *a, const void *b)
{
	const char *name_a = *(char *const *)a;
	const char *name_b = *(char *const *)b;
	bool new_a = strcmp(name_a, "new") == 0;
	bool new_b = strcmp(name_b, "new") == 0;

	if (new_a != new_b)
		return new_a ? -1 : 1;
	return strcmp(name_a, name_b);
}

/* tmp beside new or cur holds deliveries under way. */
static bool
is_maildir_tmp(int fd, const char *name)
{
	struct stat st;

	return strcmp(name, "tmp") == 0 &&
	    (fstatat(fd, "new", &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	    fstatat(fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0);
}

static int
scan_entry(struct scan *scan, int fd, uint32_t folder, bool in_mail,
    const struct dirent *entry, struct names *directories)
{
	const char *name = entry->d_name;
	unsigned char type = entry->d_type;
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (!in_mail && is_foreign(slice_from(name)))
		return 0;
	if (type != DT_REG && type != DT_DIR && type != DT_UNKNOWN)
		return 0;
	if (type != DT_DIR) {
		if (name[0] == '.' && type == DT_REG)
			return 0;
		/* Gone since: another session's affair. */
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return errno == ENOENT ? 0 : error_system(scan->error,
			    errno, "maildrop: %.80s", name);
		if (S_ISREG(st.st_mode))
			return name[0] == '.' ? 0
			    : add_file(scan, folder, name, &st);
		if (!S_ISDIR(st.st_mode))
			return 0;
	}
	if (is_maildir_tmp(fd, name))
		return 0;
	return names_add(directories, name, scan->error);
}

static int
add_folder(struct scan *scan, struct slice path, uint32_t *folder)
{
	struct maildir *maildir = scan->maildir;
	uint32_t at;

	if (add_text(maildir, path, &at, scan->error) < 0 ||
	    grow((void **)&maildir->folders, &maildir->folders_size,
	    maildir->n_folders + 1, sizeof(uint32_t), scan->error) < 0)
		return -1;
	*folder = (uint32_t)maildir->n_folders;
	maildir->folders[maildir->n_folders++] = at;
	return 0;
}

static bool
wanted(const struct scan *scan, const char *name, unsigned depth)
{
	if (scan->mode == MAILDIR_SCAN_ALL)
		return depth < MAILDIR_DEPTH_MAX;
	return depth == 0 &&
	    (strcmp(name, "new") == 0 || strcmp(name, "cur") == 0);
}

static int scan_directory(struct scan *scan, int fd, const char *path,
    unsigned depth);

static int
scan_below(struct scan *scan, int fd, const char *path, const char *name,
    unsigned depth)
{
	char below[PATH_MAX];
	int len = snprintf(below, sizeof(below), "%s%s%s", path,
	    path[0] != '\0' ? "/" : "", name);

	if (len < 0 || (size_t)len >= sizeof(below))
		return 0; /* no system call could open what is in there */
	int below_fd = openat(fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below_fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return 0;
		return error_system(scan->error, errno, "maildrop: %.80s",
		    below);
	}
	return scan_directory(scan, below_fd, below, depth + 1);
}

/* Takes fd over. */
static int
scan_directory(struct scan *scan, int fd, const char *path, unsigned depth)
{
	bool in_mail = holds_mail(slice_from(path));
	bool files_count = scan->mode == MAILDIR_SCAN_ALL || depth > 0;
	struct names directories = { .n = 0 };
	DIR *dir = fdopendir(fd);
	uint32_t folder = 0;
	int result = 0;

	if (dir == NULL) {
		close(fd);
		return error_system(scan->error, errno, "maildrop: %.80s",
		    path);
	}
	if (add_folder(scan, slice_from(path), &folder) < 0)
		result = -1;
	while (result == 0) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (entry == NULL) {
			if (errno != 0)
				result = error_system(scan->error, errno,
				    "maildrop: %.80s", path);
			break;
		}
		if (files_count || entry->d_type != DT_REG)
			result = scan_entry(scan, fd, folder, in_mail, entry,
			    &directories);
	}
	if (directories.n > 1)
		qsort(directories.items, directories.n, sizeof(char *),
		    compare_names);
	for (size_t i = 0; i < directories.n && result == 0; i++)
		if (wanted(scan, directories.items[i], depth))
			result = scan_below(scan, fd, path,
			    directories.items[i], depth);
	names_free(&directories);
	closedir(dir);
	return result;
}

/* ---- from files to messages ---- */

static struct slice
file_name(const struct maildir *maildir, const struct maildir_file *file)
{
	return slice_from(maildir->text + file->name);
}

static struct slice
file_directory(const struct maildir *maildir,
    const struct maildir_file *file)
{
	return slice_from(maildir->text + maildir->folders[file->folder]);
}

static int
compare_files(const void *a, const void *b, void *arg)
{
	const struct maildir *maildir = arg;
	const struct maildir_file *file_a = a;
	const struct maildir_file *file_b = b;

	if (file_a->mtime != file_b->mtime)
		return file_a->mtime < file_b->mtime ? -1 : 1;
	/* By what stays when flags change, so that numbers do too. */
	struct slice name_a = base_name(file_name(maildir, file_a));
	struct slice name_b = base_name(file_name(maildir, file_b));
	size_t len = name_a.len < name_b.len ? name_a.len : name_b.len;
	int order = memcmp(name_a.data, name_b.data, len);
	if (order != 0)
		return order;
	if (name_a.len != name_b.len)
		return name_a.len < name_b.len ? -1 : 1;
	struct slice path_a = folder_path(file_directory(maildir, file_a));
	struct slice path_b = folder_path(file_directory(maildir, file_b));
	len = path_a.len < path_b.len ? path_a.len : path_b.len;
	order = memcmp(path_a.data, path_b.data, len);
	if (order != 0)
		return order;
	return path_a.len < path_b.len ? -1 : path_a.len > path_b.len;
}

/* Counts what the file makes on the wire. */
static int
count_octets(int fd, uint64_t *octets)
{
	struct dot_encoder encoder = { .unstuffed = true };
	static char buffer[READ_SIZE];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0)
			return -1;
		dot_measure(&encoder, (struct slice){ buffer, (size_t)n });
	}
	*octets = dot_measure_end(&encoder);
	return 0;
}

/*
 * The unique-id depends on the message alone: its base name, and its folder
 * where it is not the maildrop's own. What cannot stand in a UIDL line
 * becomes a hash, 128 bits of SHA-256.
 */
static int
set_uidl(struct maildir *maildir, size_t i, struct error *error)
{
	struct maildir_file *file = &maildir->files[i];
	struct slice base = base_name(file_name(maildir, file));
	struct slice folder = folder_path(file_directory(maildir, file));
	struct message *message = &maildir->messages[i];
	char whole[NAME_MAX + 1 + PATH_MAX + 2];
	size_t len = base.len;
	bool fits = true;

	memcpy(whole, base.data, base.len);
	if (folder.len > 0) {
		whole[len++] = '/';
		memcpy(whole + len, folder.data, folder.len);
		len += folder.len;
	}
	for (size_t k = 0; k < len && fits; k++)
		fits = whole[k] >= 0x21 && whole[k] <= 0x7E;
	if (file->aliased)
		whole[len++] = '/';
	if (base.len > 0 && fits && len <= UIDL_MAX && !file->aliased) {
		message->uidl_len = (uint8_t)len;
		if (folder.len == 0) {
			message->uidl = file->name;
			return 0;
		}
	} else {
		unsigned char hash[SHA256_DIGEST_LENGTH];

		SHA256((unsigned char *)whole, len, hash);
		for (size_t k = 0; k < 16; k++)
			snprintf(whole + 2 * k, 3, "%02x", hash[k]);
		len = message->uidl_len = 32;
	}
	return add_text(maildir, (struct slice){ whole, len }, &message->uidl,
	    error);
}

/* FNV-1a; start with its offset basis. */
static uint32_t
hash_slice(uint32_t hash, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (unsigned char)s.data[i]) * 16777619u;
	return hash;
}

static uint32_t
hash_file(const struct maildir *maildir, const struct maildir_file *file)
{
	return hash_slice(hash_slice(2166136261u,
	    base_name(file_name(maildir, file))),
	    folder_path(file_directory(maildir, file)));
}

/* Is the file in neither new nor cur? */
static bool
is_plain(const struct maildir *maildir, const struct maildir_file *file)
{
	return !holds_mail(file_directory(maildir, file));
}

static bool
is_same_message(const struct maildir *maildir, const struct maildir_file *a,
    const struct maildir_file *b)
{
	return slice_equal(base_name(file_name(maildir, a)),
	        base_name(file_name(maildir, b))) &&
	    slice_equal(folder_path(file_directory(maildir, a)),
	        folder_path(file_directory(maildir, b)));
}

/*
 * Two files with one base name in one folder's new and cur are one message
 * that was renamed while they were read: it is where it was seen last. A
 * file beside new and cur that has the name of one in them is another
 * message, and needs another unique-id.
 */
static int
drop_doubles(struct maildir *maildir, struct error *error)
{
	size_t slots = 64;
	size_t kept = 0;

	while (slots < maildir->n + maildir->n / 2)
		slots *= 2;
	uint32_t *table = calloc(slots, sizeof(*table));
	if (table == NULL)
		return error_system(error, ENOMEM, "maildrop");
	for (size_t i = 0; i < maildir->n; i++) {
		const struct maildir_file *file = &maildir->files[i];
		size_t slot = hash_file(maildir, file) & (slots - 1);

		while (table[slot] != 0 && !is_same_message(maildir, file,
		    &maildir->files[table[slot] - 1]))
			slot = (slot + 1) & (slots - 1);
		if (table[slot] != 0 && is_plain(maildir, file) !=
		    is_plain(maildir, &maildir->files[table[slot] - 1])) {
			/* It is read before new and cur. */
			maildir->files[kept] = *file;
			maildir->files[table[slot] - 1].aliased = true;
			table[slot] = (uint32_t)++kept;
			continue;
		}
		if (table[slot] == 0)
			table[slot] = (uint32_t)++kept;
		maildir->files[table[slot] - 1] = *file;
	}
	maildir->n = kept;
	free(table);
	return 0;
}

static void
set_octets(struct maildir *maildir, size_t i)
{
	struct maildir_file *file = &maildir->files[i];
	struct message *message = &maildir->messages[i];
	struct error ignored;

	if (octets_in_name(base_name(file_name(maildir, file)), file->size,
	    &message->octets))
		return;
	/* Assume the least; where it cannot be read now, RETR will say so. */
	message->octets = file->size;
	if (file->size == 0)
		return;
	file->mtime = INT64_MIN; /* never the file's: counts it anew */
	int fd = maildir_open_message(maildir, i, &ignored);
	if (fd >= 0)
		close(fd);
}

static int
make_messages(struct maildir *maildir, struct error *error)
{
	if (maildir->n == 0)
		return 0;
	if (maildir->n > UINT32_MAX / 4)
		return error_set(error, ERROR_SYSTEM, "maildrop too large");
	if (drop_doubles(maildir, error) < 0)
		return -1;
	qsort_r(maildir->files, maildir->n, sizeof(*maildir->files),
	    compare_files, maildir);
	maildir->messages = calloc(maildir->n, sizeof(*maildir->messages));
	if (maildir->messages == NULL)
		return error_system(error, ENOMEM, "maildrop");
	for (size_t i = 0; i < maildir->n; i++)
		if (set_uidl(maildir, i, error) < 0)
			return -1;
	for (size_t i = 0; i < maildir->n; i++)
		set_octets(maildir, i);
	return 0;
}

int
maildir_scan(struct maildir *maildir, const char *path,
    enum maildir_scan scan_mode, bool may_be_missing, struct error *error)
{
	struct scan scan = {
		.maildir = maildir, .error = error, .mode = scan_mode,
	};

	*maildir = (struct maildir){ .fd = -1, .folder_fd = -1 };
	maildir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (maildir->fd < 0) {
		if (errno == ENOENT && may_be_missing)
			return 0;
		return error_system(error, errno, "maildrop %.120s", path);
	}
	/* Its own descriptor, for closedir closes it. */
	int fd = openat(maildir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error_system(error, errno, "maildrop %.120s", path);
	} else if (scan_directory(&scan, fd, "", 0) == 0 &&
	    make_messages(maildir, error) == 0) {
		return 0;
	}
	maildir_close(maildir);
	return -1;
}

/* ---- opening messages ---- */

/* The directory's descriptor; symbolic links on the way are refused. */
static int
open_folder(struct maildir *maildir, uint32_t folder)
{
	struct slice rest = slice_from(maildir->text +
	    maildir->folders[folder]);
	int fd = maildir->fd;
	char name[NAME_MAX + 1];

	if (maildir->folder_fd >= 0 && maildir->folder == folder)
		return maildir->folder_fd;
	while (rest.len > 0) {
		struct slice component;

		slice_cut(rest, '/', &component, &rest);
		assert(component.len < sizeof(name));
		memcpy(name, component.data, component.len);
		name[component.len] = '\0';
		int below = openat(fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd != maildir->fd)
			close(fd);
		if (below < 0)
			return -1;
		fd = below;
	}
	if (fd == maildir->fd)
		return fd;
	if (maildir->folder_fd >= 0)
		close(maildir->folder_fd);
	maildir->folder_fd = fd;
	maildir->folder = folder;
	return fd;
}

static int
open_file(struct maildir *maildir, uint32_t folder, const char *name)
{
	int directory = open_folder(maildir, folder);

	if (directory < 0)
		return -1;
	return openat(directory, name,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

/* Looks in one directory for the message's base name with other flags. */
static int
open_renamed_in(struct maildir *maildir, uint32_t folder, struct slice base)
{
	int directory = open_folder(maildir, folder);
	int copy = directory < 0 ? -1
	    : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	int fd = -1;

	if (dir == NULL) {
		if (copy >= 0)
			close(copy);
		return -1;
	}
	while (fd < 0 && (entry = readdir(dir)) != NULL)
		if (slice_equal(base_name(slice_from(entry->d_name)), base))
			fd = open_file(maildir, folder, entry->d_name);
	closedir(dir);
	return fd;
}

/* In its own directory, and in the others of the same folder. */
static int
open_renamed(struct maildir *maildir, const struct maildir_file *file)
{
	struct slice base = base_name(file_name(maildir, file));
	struct slice folder = folder_path(file_directory(maildir, file));
	int fd = open_renamed_in(maildir, file->folder, base);

	for (uint32_t i = 0; i < maildir->n_folders && fd < 0; i++) {
		struct slice path = slice_from(maildir->text +
		    maildir->folders[i]);
		if (i != file->folder && holds_mail(path) &&
		    slice_equal(folder_path(path), folder))
			fd = open_renamed_in(maildir, i, base);
	}
	return fd;
}

int
maildir_open_message(struct maildir *maildir, size_t i, struct error *error)
{
	struct maildir_file *file = &maildir->files[i];
	const char *name = maildir->text + file->name;
	struct stat st;

	int fd = open_file(maildir, file->folder, name);
	if (fd < 0 && errno == ENOENT) {
		fd = open_renamed(maildir, file);
		if (fd < 0)
			return error_set(error, ERROR_SYSTEM,
			    "message %.80s is gone", name);
	}
	if (fd < 0) {
		error_system(error, errno, "message %.80s", name);
	} else if (fstat(fd, &st) != 0) {
		error_system(error, errno, "message %.80s", name);
	} else if (!S_ISREG(st.st_mode)) {
		error_set(error, ERROR_SYSTEM,
		    "message %.80s is no regular file any more", name);
	} else if (mtime_of(&st) == file->mtime &&
	    (uint64_t)st.st_size == file->size) {
		return fd;
	} else if (count_octets(fd, &maildir->messages[i].octets) != 0 ||
	    lseek(fd, 0, SEEK_SET) != 0) {
		error_system(error, errno, "message %.80s", name);
	} else {
		file->mtime = mtime_of(&st);
		file->size = (uint64_t)st.st_size;
		return fd;
	}
	error->kind = ERROR_SYSTEM;
	if (fd >= 0)
		close(fd);
	return -1;
}

void
maildir_close(struct maildir *maildir)
{
	free(maildir->messages);
	free(maildir->files);
	free(maildir->folders);
	free(maildir->text);
	if (maildir->folder_fd >= 0)
		close(maildir->folder_fd);
	if (maildir->fd >= 0)
		close(maildir->fd);
	*maildir = (struct maildir){ .fd = -1, .folder_fd = -1 };
}
