#!/bin/sh
# The units as `make` puts them into $BUILD/units: nothing left to fill in,
# systemd-analyze verify has nothing to say, and the sandbox is no looser
# than it was. Scores are those of systemd 252.

set -u

cd "$(dirname "$0")/../.." || exit 1
build=$(cd "${BUILD:-build}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

fail()
{
	printf 'units: %s\n' "$*" >&2
	failed=1
}

if ! command -v systemd-analyze >/dev/null; then
	if [ "$(id -u)" != 0 ] && [ -d "$build/tools/systemd" ]; then
		echo "units: only root can put systemd in place here"
		exit 77
	fi
	echo "units: systemd-analyze is missing" >&2
	exit 1
fi

# Every template was filled in.
for file in $(cd units && find . -name '*.in'); do
	[ -s "$build/units/${file%.in}" ] ||
	    fail "$build/units/${file%.in} is missing"
done
grep -rn '@[A-Za-z][A-Za-z]*@' "$build/units" >&2 &&
    fail "left to fill in: see above"

# Where systemd runs it has made its folder; elsewhere systemd-analyze does.
if [ ! -d /run/systemd ] && [ "$(id -u)" != 0 ]; then
	echo "units: only root can verify units where systemd does not run"
	exit 77
fi

# The programs are not installed: verify the units with those just built, by a
# name without blanks.
ln -s "$build" "$work/build"
# verify FOLDER MANAGER UNIT...
verify()
{
	folder=$work/$1
	manager=$2
	shift 2
	mkdir "$folder"
	for unit; do
		name=${unit##*/}
		sed "s,^ExecStart=[^ ]*/,ExecStart=$work/build/," "$unit" \
		    >"$folder/$name"
		case $name in
		*.service)
			grep -q "^ExecStart=$work/build/" "$folder/$name" ||
			    fail "$name: no ExecStart= with an absolute name" ;;
		esac
	done
	for unit in "$folder"/*; do
		XDG_RUNTIME_DIR=$work SYSTEMD_UNIT_PATH=$folder: \
		    systemd-analyze "$manager" verify --man=no \
		    --recursive-errors=no "$unit" >"$work/out" 2>&1 &&
		    [ ! -s "$work/out" ] || {
			fail "systemd-analyze verify ${unit##*/}:"
			cat "$work/out" >&2
		}
	done
}
verify units --system \
    "$build"/units/*.service "$build"/units/*.socket units/*.slice
verify user --user "$build"/units/user/*.service units/user/*.socket

# The journal's catalog explains the very events that log.c sends.
sed -n 's/^[[:space:]]*"\([0-9a-f]\{32\}\)", .*},$/\1/p' common/system/log.c |
    sort >"$work/sent"
sed -n 's/^-- \([0-9a-f]\{32\}\)$/\1/p' units/mail-handlers.catalog |
    sort >"$work/explained"
if [ ! -s "$work/sent" ] || ! diff "$work/sent" "$work/explained" >&2; then
	fail "common/system/log.c and mail-handlers.catalog differ (see above)"
fi

# security UNIT TENTHS: the score as it is now; lower it when it gets better.
security()
{
	systemd-analyze security --offline=yes --threshold="$2" \
	    --no-pager "$work/units/$1" >"$work/out" 2>&1 || {
		fail "systemd-analyze security $1:"
		cat "$work/out" >&2
	}
}
security pop3-handler@.service 10
security smtp-handler@.service 13
security pop3-handler-warm.service 8
security smtp-handler-warm.service 11

[ "$failed" -eq 0 ] && echo "units: ok"
exit "$failed"
