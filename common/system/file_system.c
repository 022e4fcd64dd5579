/*
 * file_system.c - what fstatfs(2) says of a file system.
 */
#include "system/file_system.h"

#ifdef __linux__
#include <stddef.h>
#include <stdint.h>
#include <sys/vfs.h>
#else
#include <sys/param.h>
#include <sys/mount.h>
#endif

#ifdef __linux__

/* statfs(2); linux/magic.h has not all of them everywhere. */
static const uint32_t shared[] = {
	0x00006969, /* NFS */
	0x0000517B, /* SMB */
	0xFF534D42, /* CIFS */
	0xFE534D42, /* SMB 2 */
	0x65735546, /* FUSE */
	0x00C36400, /* Ceph */
	0x01021997, /* 9P */
	0x5346414F, /* AFS */
	0x6B414653, /* the kernel's AFS */
	0x73757245, /* Coda */
	0x01161970, /* GFS2 */
	0x7461636F, /* OCFS2 */
	0x0BD00BD0, /* Lustre */
	0x19830326, /* BeeGFS */
	0x47504653, /* GPFS */
};

bool
file_system_is_shared(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st) != 0)
		return false;
	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
		if ((uint32_t)st.f_type == shared[i])
			return true;
	return false;
}

#else

bool
file_system_is_shared(int fd)
{
#ifdef MNT_LOCAL
	struct statfs st;

	return fstatfs(fd, &st) == 0 && (st.f_flags & MNT_LOCAL) == 0;
#else
	(void)fd;
	return false;
#endif
}

#endif
