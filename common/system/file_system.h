/*
 * file_system: do other machines use it at the same time?
 */
#ifndef FILE_SYSTEM_H
#define FILE_SYSTEM_H

#include <stdbool.h>

/*
 * Is the file behind fd on a file system that other machines may share: NFS,
 * SMB, Ceph, 9P, FUSE (which GlusterFS and MooseFS are mounted by) and their
 * kin? There a lock on a directory holds on one machine only, a directory's
 * times may be another clock's, or whole seconds, and fsync of a directory may
 * do nothing. False where that cannot be told.
 */
bool file_system_is_shared(int fd);

#endif
