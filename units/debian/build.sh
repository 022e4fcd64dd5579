#!/bin/sh
# The Debian packages, by Debian's own tools: mail-handlers, libmailhandlers0
# and libmailhandlers-dev. "make deb" calls it.
#
#	units/debian/build.sh VERSION FOLDER
#
# Everything is installed into FOLDER/stage as "make install" does, for /usr,
# and goes from there to the packages; FOLDER/*.deb is the result.

set -eu

version=$1
out=$(mkdir -p "$2" && cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
stage=$out/stage
architecture=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l "$here/changelog" -S Timestamp)
export SOURCE_DATE_EPOCH

released=$(dpkg-parsechangelog -l "$here/changelog" -S Version)
case $version in
"$released" | "$released"[+~]*) ;;
*) echo "deb: the changelog is of $released, the program of $version" >&2
   exit 1 ;;
esac

rm -rf "$stage" "$out"/*.deb "$out"/packages
env -u MAKEFLAGS -u MAKELEVEL "${MAKE:-make}" -s -C "$root" install \
    DESTDIR="$stage" PREFIX=/usr LIBDIR="/usr/lib/$multiarch" SYSCONFDIR=/etc \
    ${BUILD:+"BUILD=$BUILD"} >&2
rm -f "$stage/usr/share/mail-handlers/folders" \
    "$stage/usr/share/doc/mail-handlers/LICENSE"
strip --strip-unneeded -R .comment -R .note "$stage"/usr/sbin/*-handler \
    "$stage/usr/lib/$multiarch"/*.so.*
chmod 644 "$stage/usr/lib/$multiarch"/*.so.*
strip --strip-debug "$stage/usr/lib/$multiarch"/*.a
find "$stage/usr/share/man" -type f -exec gzip -9n {} +

# move PACKAGE FILE...: from the stage; the rest is mail-handlers.
move()
{
	package=$out/packages/$1
	shift
	for file; do
		mkdir -p "$package/$(dirname "$file")"
		mv "$stage/$file" "$package/$file"
	done
}
cd "$stage"
move libmailhandlers0 "usr/lib/$multiarch"/*.so.*
move libmailhandlers-dev "usr/lib/$multiarch"/* usr/include/* \
    usr/share/man/man3/*
rmdir "usr/lib/$multiarch" usr/include usr/share/man/man3
cd "$out"
mv "$stage" "$out/packages/mail-handlers"

# dpkg-shlibdeps wants the control file of a source package.
mkdir "$out/packages/debian"
cp "$here/control" "$out/packages/debian/control"
# depends BINARY: the packages whose libraries it needs.
depends()
{
	(cd "$out/packages" && dpkg-shlibdeps -O --ignore-missing-info \
	    "$1" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
}

# The paragraph of a package in control, with what only the build knows.
control()
{
	name=$1
	libraries=$2
	size=$(du -sk --exclude=DEBIAN "$out/packages/$name" | cut -f1)
	awk -v package="$name" '
		BEGIN { RS = ""; FS = "\n" }
		$1 == "Package: " package { print }
	' "$here/control" | sed \
	    -e "s/\${shlibs:Depends}/$libraries/" \
	    -e "s/\${version}/$version/" \
	    -e "s/^Architecture: any/Architecture: $architecture/" \
	    -e "/^Package:/a\\
Version: $version\\
Installed-Size: $size"
	sed -n '/^Maintainer:/p;/^Section:/p;/^Priority:/p;/^Homepage:/p' \
	    "$here/control"
}

build()
{
	package=$out/packages/$1
	doc=$package/usr/share/doc/$1
	mkdir -p "$package/DEBIAN" "$doc"
	gzip -9nc "$here/changelog" >"$doc/changelog.gz"
	cp "$here/copyright" "$doc/copyright"
	chmod 644 "$doc"/*
	# What the package says itself comes before what is said of all.
	control "$1" "$2" | awk '/^ / || !seen[$1]++' \
	    >"$package/DEBIAN/control"
	for file in "$here/$1".*; do
		[ -e "$file" ] || continue
		kind=${file##*.}
		case $kind in p*) mode=755 ;; *) mode=644 ;; esac
		install -m "$mode" "$file" "$package/DEBIAN/$kind"
	done
	if [ -d "$package/etc" ]; then
		(cd "$package" && find etc -type f | sort | sed 's|^|/|') \
		    >"$package/DEBIAN/conffiles"
	fi
	(cd "$package" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' |
	    LC_ALL=C sort -z | xargs -r0 md5sum) >"$package/DEBIAN/md5sums"
	find "$package" -type d -exec chmod 755 {} +
	dpkg-deb --root-owner-group -Zxz --build "$package" \
	    "$out/$1_${version}_$architecture.deb" >/dev/null
	echo "$out/$1_${version}_$architecture.deb"
}

library=$(depends "libmailhandlers0/usr/lib/$multiarch/$(cd \
    "$out/packages/libmailhandlers0/usr/lib/$multiarch" && echo *.so.*)")
programs=$(depends mail-handlers/usr/sbin/smtp-handler)
build mail-handlers "$programs"
build libmailhandlers0 "$library"
build libmailhandlers-dev ''
rm -rf "$out/packages"
