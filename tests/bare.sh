#!/bin/sh
# Commands in a bare Debian: a minimal root and make, nothing else, so that
# nothing that was once installed by hand on this machine hides a missing step.
#
#	tests/bare.sh SUITE COMMAND...		as root
#
# Makes a root of the release (bookworm, trixie) below $BUILD/bare, clones
# what is committed here into it, and runs each COMMAND with sh in the clone,
# as its root, in namespaces of mounts and processes that end with it. The
# mirror, its key and how to get there are those of this machine's own apt.
# Packages are downloaded once: $BUILD/bare/debs keeps them for the next
# command and the next run. mmdebstrap is installed where it is missing.
#
#   BUILD    the build directory (default: build)
#   CHECKOUT where the clone lies in the root (default: /root/mail-handlers)
#   KEEP     1: use the root that an earlier run left, and leave this one

set -eu

cd "$(dirname "$0")/.."

say() {
	echo "bare: $*" >&2
}

die() {
	say "$*"
	exit 1
}

# The first Debian archive that apt has for this machine's own release.
find_mirror() {
	apt-get indextargets --format \
	    '$(ORIGIN)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)|$(SOURCESENTRY)' \
	    'Created-By: Packages' |
	    sed -n 's/^Debian|main|[a-z]*|//p' | head -n 1
}

# find_key SOURCE: the keyring which apt trusts for what SOURCE names.
find_key() {
	key=$(sed -nE 's/.*[Ss]igned-[Bb]y *[:=] *([^] ]+).*/\1/p' "$1" |
	    head -n 1)
	[ -r "$key" ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
	echo "$key"
}

make_root() {
	found=$(find_mirror)
	mirror=${found%%|*}
	[ -n "$mirror" ] || die "apt has no Debian archive; apt-get update?"
	source=${found#*|}
	key=$(find_key "${source%:*}")
	# Proxies, time limits: whatever this machine needs to reach it
	apt-config dump | sed -n '/^Acquire::/p' >"$bare/apt.conf"
	include=make
	case $mirror in https:*) include=make,ca-certificates ;; esac
	say "making a minimal $suite in $root"
	mmdebstrap --quiet --variant=minbase --include="$include" \
	    --skip=download/empty,essential/unlink \
	    --aptopt="$bare/apt.conf" \
	    --setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
	    --setup-hook="cp '$debs'/*.deb \"\$1/var/cache/apt/archives\" \
		2>/dev/null || :" \
	    --customize-hook="cp -n \"\$1\"/var/cache/apt/archives/*.deb \
		'$debs' 2>/dev/null || :" \
	    "$suite" "$root" "deb [signed-by=$key] $mirror $suite main"
	for file in resolv.conf hosts; do
		cp "/etc/$file" "$root/etc/$file"
	done
	if [ "$include" != make ]; then
		cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	fi
}

# The second half of this script, in its namespaces: ROOT becomes "/".
enter() {
	root=$1 checkout=$2 debs=$3
	shift 3
	mount --make-rprivate /
	mount --bind "$root" "$root"
	mount --rbind /dev "$root/dev"
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mount --bind "$debs" "$root/var/cache/apt/archives"
	mkdir -p "$root/old"
	cd "$root"
	pivot_root . old
	umount -l old
	rmdir old
	for command; do
		echo "bare: $suite: $command" >&2
		(cd "$checkout" && env -i HOME=/root TERM=dumb LANG=C \
		    PATH=/usr/sbin:/usr/bin:/sbin:/bin CI="${CI-}" \
		    sh -c "$command" </dev/null)
	done
}

case ${1-} in
--enter)
	suite=$2
	shift 2
	enter "$@"
	exit 0
	;;
'' | -*)
	echo "usage: $0 SUITE COMMAND..." >&2
	exit 64
	;;
esac

[ "$(id -u)" = 0 ] || die 'only root can make a root and enter it'
suite=$1
shift
for program in mmdebstrap git; do
	command -v "$program" >/dev/null || {
		apt-get update -q
		apt-get install -q -y --no-install-recommends "$program"
	} >&2
done
mkdir -p "${BUILD:-build}/bare"
bare=$(cd "${BUILD:-build}/bare" && pwd)
root=$bare/$suite
debs=$bare/debs/$suite
checkout=${CHECKOUT:-/root/mail-handlers}
mkdir -p "$debs/partial"
if [ "${KEEP-}" != 1 ] || [ ! -d "$root" ]; then
	rm -rf "$root"
	make_root
fi
# The checkout may be another user's
printf '[safe]\n\tdirectory = *\n' >"$bare/gitconfig"
export GIT_CONFIG_GLOBAL="$bare/gitconfig"
if [ -d "$root$checkout" ]; then
	git -C "$root$checkout" fetch --quiet "$PWD" HEAD
	git -C "$root$checkout" reset --quiet --hard FETCH_HEAD
else
	git clone --quiet --no-hardlinks . "$root$checkout"
fi
status=0
unshare --mount --pid --fork --kill-child \
    sh tests/bare.sh --enter "$suite" "$root" "$checkout" "$debs" "$@" ||
    status=$?
[ "${KEEP-}" = 1 ] || rm -rf "$root"
exit "$status"
