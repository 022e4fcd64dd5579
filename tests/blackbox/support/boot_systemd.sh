#!/bin/sh
# A systemd of its own on a copy of this machine, for test_systemd.py. As root:
#
#	unshare --pid --fork --kill-child --mount --ipc --uts --net \
#	    sh boot_systemd.sh boot FOLDER
#	sh boot_systemd.sh clean FOLDER
#
# "boot" becomes process 1 of the new namespaces. Its root is an overlay whose
# upper layer is in memory, so that nothing it writes reaches this machine; of
# the kernel's own files only its control group can be written. FOLDER gets
# "pid", its number out here, and "cgroup". SIGKILL ends it and everything in
# it. "clean", after that, removes the empty control groups it leaves behind.
# Exit status 77: these namespaces or mounts are not to be had here.

set -eu

cannot() {
	echo "$*" >&2
	exit 77
}

# The control groups as this process sees them, on FOLDER/cgroups.
mount_cgroups() {
	mkdir -p "$1"
	mount -t cgroup2 cgroup2 "$1" || cannot "no control groups, version 2"
}

command=$1 folder=$2
case $command in
boot)
	mount --make-rprivate / || cannot "cannot mount"
	# Out here still: the /proc of this script is the machine's.
	read -r pid rest </proc/self/stat
	mount_cgroups "$folder/cgroups"
	own=$(sed -n 's/^0:://p' /proc/self/cgroup)/mailtest.$pid
	mkdir "$folder/cgroups$own" || cannot "cannot make a control group"
	echo "$own" >"$folder/cgroup"
	echo 0 >"$folder/cgroups$own/cgroup.procs"
	umount "$folder/cgroups"
	echo "$pid" >"$folder/pid"
	exec unshare --cgroup sh "$0" inside "$folder"
	;;
clean)
	[ -s "$folder/cgroup" ] || exit 0
	[ "${3-}" = private ] ||
		exec unshare --mount sh "$0" clean "$folder" private
	mount_cgroups "$folder/cgroups"
	own=$folder/cgroups$(cat "$folder/cgroup")
	[ ! -d "$own" ] || find "$own" -depth -type d -exec rmdir {} +
	exit
	;;
inside) ;;
*) echo "usage: $0 boot|clean FOLDER" >&2; exit 64 ;;
esac

mkdir -p "$folder/layers"
mount -t tmpfs -o mode=755 tmpfs "$folder/layers"
cd "$folder/layers"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root ||
	cannot "no overlay file system on the root directory"
# Unpacked by tests/setup.sh where it is not installed
if [ -d "${TOOLS-}/systemd" ]; then
	mkdir upper.usr work.usr
	mount -t overlay -o "lowerdir=$TOOLS/systemd/usr:root/usr,upperdir=\
upper.usr,workdir=work.usr" overlay root/usr || cannot "no systemd in /usr"
	cp -an "$TOOLS/systemd/etc" root
fi
cd root

# What could change the machine outside is read-only: settings of the kernel
# and devices. /dev is a small one of its own.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
	cp -a "/dev/$name" dev/
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for fd in 0:stdin 1:stdout 2:stderr; do
	ln -s "/proc/self/fd/${fd%:*}" "dev/${fd#*:}"
done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs var/log
mkdir run/lock

# A machine just installed, whatever this one is set up for.
rm -rf etc/systemd/system etc/systemd/*.conf etc/systemd/*.conf.d \
	etc/mail-handlers var/lib/mail-handlers \
	usr/local/lib/systemd usr/local/lib/sysusers.d usr/local/lib/tmpfiles.d
mkdir -p etc/systemd/system etc/systemd/journald.conf.d
rm -f etc/fstab etc/hosts etc/hostname etc/machine-id
: >etc/fstab
echo mail.test >etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' >etc/hosts
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' \
	>etc/systemd/journald.conf.d/test.conf
for unit in systemd-udevd.service systemd-udevd-kernel.socket \
	systemd-udevd-control.socket systemd-udev-trigger.service \
	systemd-hwdb-update.service ldconfig.service \
	systemd-tmpfiles-clean.timer dpkg-db-backup.timer \
	systemd-sysctl.service systemd-modules-load.service \
	systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
	systemd-random-seed.service systemd-journal-catalog-update.service \
	systemd-update-done.service dev-hugepages.mount dev-mqueue.mount \
	sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount; do
	ln -s /dev/null "etc/systemd/system/$unit"
done

ip link set lo up
# Not chroot: PrivateUsers= fails in one. Shared: else the credentials, which
# process 1 mounts, would not be seen by the services.
mkdir run/outside
pivot_root . run/outside
cd /
umount -l /run/outside
rmdir /run/outside
mount --make-rshared /
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Nothing that changes the kernel, and not the one audit log there is.
without=-sys_module,-sys_rawio,-sys_time,-syslog,-audit_control,-audit_read
exec env -i container=other PATH=$path setpriv --bounding-set=$without \
	/lib/systemd/systemd --unit=basic.target --show-status=no
