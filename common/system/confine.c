/*
 * confine.c - which files stay, by Landlock.
 */
#include "system/confine.h"

#include <string.h>

#if defined(__linux__)
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

void
confine_add(struct confine *confine, struct slice path, unsigned access)
{
	if (path.len == 0)
		path = SLICE(".");
	for (size_t i = 0; i < confine->n; i++)
		if (slice_equal(slice_from(confine->text +
		    confine->paths[i].at), path)) {
			confine->paths[i].access |= access;
			return;
		}
	if (confine->n == CONFINE_PATHS_MAX ||
	    path.len >= CONFINE_TEXT_MAX - confine->text_len) {
		confine->too_many = true;
		return;
	}
	confine->paths[confine->n++] = (struct confine_path){
		confine->text_len, access };
	memcpy(confine->text + confine->text_len, path.data, path.len);
	confine->text_len += path.len;
	confine->text[confine->text_len++] = '\0';
}

#if defined(SYS_landlock_create_ruleset)
/*
 * landlock(7), by number: the headers of a build machine may be older than
 * the kernel that runs it.
 */
#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_DIR (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_DIR (UINT64_C(1) << 7)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_REFER (UINT64_C(1) << 13)    /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* ABI 3 */
#define FS_ALL_ABI2 ((UINT64_C(1) << 14) - 1)
#define FS_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define NET_ALL UINT64_C(3) /* bind and connect by TCP, ABI 4 */
#define SCOPE_ALL UINT64_C(3) /* abstract sockets and signals, ABI 6 */
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

struct ruleset {
	uint64_t files;
	uint64_t network;
	uint64_t scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

static uint64_t
rights(unsigned access, bool is_directory, uint64_t handled)
{
	uint64_t rights = 0;

	if ((access & CONFINE_READ) != 0)
		rights |= FS_READ_FILE | FS_READ_DIR;
	if ((access & CONFINE_LIST) != 0)
		rights |= FS_READ_DIR;
	if ((access & CONFINE_WRITE) != 0)
		rights |= FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE |
		    FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE;
	if (!is_directory)
		rights &= FS_FILE;
	return rights & handled;
}

static int
allow_path(int ruleset, const char *path, unsigned access, uint64_t handled)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES ||
		    errno == ENOTDIR ? 0 : -1;
	int result = fstat(fd, &st);
	const struct path_beneath beneath = {
		.allowed = rights(access, S_ISDIR(st.st_mode), handled),
		.parent_fd = fd,
	};
	if (result == 0 && beneath.allowed != 0)
		result = (int)syscall(SYS_landlock_add_rule, ruleset,
		    RULE_PATH_BENEATH, &beneath, 0u);
	close(fd);
	return result;
}

static int
restrict_self(const struct confine *confine, int ruleset, uint64_t handled)
{
	for (size_t i = 0; i < confine->n; i++)
		if (allow_path(ruleset, confine->text + confine->paths[i].at,
		    confine->paths[i].access, handled) != 0)
			return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return (int)syscall(SYS_landlock_restrict_self, ruleset, 0u);
}

int
confine_files(const struct confine *confine, struct error *error)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0ul,
	    CREATE_RULESET_VERSION);

	if (confine->nothing || confine->too_many)
		return CONFINE_DONE;
	/* With the first ABI nothing can be renamed from tmp to new. */
	if (abi < 2)
		return CONFINE_MISSING;
	const struct ruleset attributes = {
		.files = FS_ALL_ABI2 | (abi >= 3 ? FS_TRUNCATE : 0),
		.network = abi >= 4 && !confine->network ? NET_ALL : 0,
		.scoped = abi >= 6 ? SCOPE_ALL : 0,
	};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes,
	    sizeof(attributes), 0u);
	if (ruleset < 0)
		return error_system(error, errno, "Landlock");
	int result = restrict_self(confine, ruleset, attributes.files);
	if (result != 0)
		error_system(error, errno, "Landlock");
	close(ruleset);
	return result;
}
#else
int
confine_files(const struct confine *confine, struct error *error)
{
	(void)confine, (void)error;
	return CONFINE_MISSING;
}
#endif
