#!/bin/sh
# The Debian packages: lintian finds no error, and together they have what
# make install installs.

set -eu
cd "$(dirname "$0")/../.."
BUILD=$(realpath --relative-to=. "${BUILD:-build}")
export BUILD
if grep -q __asan_init "$BUILD/pop3-handler"; then
	echo "deb: no packages of a sanitizer's programs"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

version=$(sed -n 's/.*VERSION "\(.*\)"/\1/p' common/base/version.h)
units/debian/build.sh "$version" "$work/out"
lintian --allow-root --fail-on error "$work"/out/*.deb

multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
env -u MAKEFLAGS -u MAKELEVEL make -s -o all install DESTDIR="$work/all" \
    PREFIX=/usr LIBDIR="/usr/lib/$multiarch" SYSCONFDIR=/etc >/dev/null
rm "$work/all/usr/share/mail-handlers/folders" \
    "$work/all/usr/share/doc/mail-handlers/LICENSE"
(cd "$work/all" && find . ! -type d) | sed 's|\(/man/.*\)|\1.gz|' |
    sort >"$work/wanted"
for package in "$work"/out/*.deb; do
	dpkg-deb --fsys-tarfile "$package" | tar t | grep -v "/$"
done | grep -v '/doc/[^/]*/\(changelog.gz\|copyright\)$' | sort >"$work/found"
diff "$work/wanted" "$work/found"
echo "deb: ok"
