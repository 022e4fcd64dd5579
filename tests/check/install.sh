#!/bin/sh
# make install and make uninstall: everything in its place whatever the
# folders are called, and afterwards all as it was but for the configuration.

set -u

cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# What depends on where things are installed is made anew, beside the build
# folder: other tests read there.
built=$(cd "${BUILD:-build}" && pwd) || exit 1
build=$work/build
mkdir "$build"
for file in "$built"/*; do
	[ ! -f "$file" ] || [ "${file##*.}" = pc ] || ln -s "$file" "$build"
done
failed=0

fail()
{
	printf 'install: %s\n' "$*" >&2
	failed=1
}

# What was built is installed: nothing is built anew.
run()
{
	target=$1
	shift
	env -u MAKEFLAGS -u MAKELEVEL -u DESTDIR -u PREFIX \
	    make -s -o all "$target" BUILD="$build" "$@" \
	    >"$work/out" 2>&1 || {
		fail "make $target $*:"
		cat "$work/out" >&2
	}
}

# Names, modes and contents of everything below a folder.
look()
{
	(cd "$1" && find . -printf '%p %M\n' | sort &&
	    find . -type f -exec cksum {} + | sort)
}

# try LABEL MADE VARIABLE...: a folder in which MADE, a script, was run
# before; twice installed, once removed.
try()
{
	label=$1
	root="$work/$label root"
	mkdir -p "$root"
	(cd "$root" && sh -c "$2") || exit 1
	look "$root" >"$work/before"
	shift 2
	run install DESTDIR="$root" "$@"
	look "$root" >"$work/first"
	run install DESTDIR="$root" "$@"
	look "$root" >"$work/second"
	grep -v '/folders$' "$work/first" >"$work/a"
	grep -v '/folders$' "$work/second" >"$work/b"
	cmp "$work/a" "$work/b" >&2 || fail "$label: the second install differs"
	for name in pop3-handler smtp-handler pop3-handler.8 \
	    mail-handlers.conf.5 smtp-handler@.service \
	    mail-handlers.catalog README.md inetd.conf; do
		[ -n "$(find "$root" -name "$name" -size +0)" ] ||
		    fail "$label: no $name"
	done
	# The administrator's changes stay
	settings=$(find "$root" -path '*mail-handlers/smtp-handler.conf')
	echo '# changed' >>"$settings"
	run install DESTDIR="$root" "$@"
	tail -n 1 "$settings" | grep -qx '# changed' ||
	    fail "$label: install wrote over $settings"
	run uninstall DESTDIR="$root" "$@"
	tail -n 1 "$settings" | grep -qx '# changed' ||
	    fail "$label: uninstall removed $settings"
	rm -f "${settings%/*}/pop3-handler.conf" \
	    "${settings%/*}/smtp-handler-mx.conf" "$settings"
	rmdir -p "${settings%/*}" 2>/dev/null
	mkdir -p "$root"
	look "$root" >"$work/after"
	diff "$work/before" "$work/after" >&2 || fail "$label: see above"
}

try plain :
try 'a blank' 'mkdir -p "usr/local/share/man"' DATADIR='/my data/x  y' \
    DOCDIR="/it's a \"doc\"" PREFIX=/usr
try shared 'mkdir -p usr/share/ucspi usr/share/empty
	echo mine >usr/share/ucspi/my.run
	echo mine >usr/share/doc' \
    PREFIX=/usr DATADIR=/usr/share DOCDIR=/usr/share
try 'a *' 'mkdir lib' DATADIR='/*/?' DOCDIR=/lib UNITDIR=/lib

[ "$failed" -eq 0 ] && echo "install: ok"
exit "$failed"
