#!/bin/sh
# What compilers and analysers find in the programs' sources by looking: gcc
# -fanalyzer, scan-build, clang-tidy and cppcheck. Silence is success. Each
# finding is mended, or its kind is left out below with the reason.
#
#	BUILD=build tests/analyse.sh		called by: make analyse

set -u

cd "$(dirname "$0")/.." || exit 1
out=${BUILD:-build}/analyse
mkdir -p "$out"
failed=0

say()
{
	printf 'analyse: %s\n' "$*" >&2
}

# check NAME COMMAND...
check()
{
	name=$1
	shift
	say "$name"
	"$@" >"$out/said" 2>&1 && [ "$name" != gcc ] && return
	if [ "$name" = gcc ] && ! grep -qE 'warning:|error:|Error ' "$out/said"
	then
		return
	fi
	cat "$out/said" >&2
	say "$name: see above"
	failed=1
}

sources=$(find common pop3-handler smtp-handler -name '*.c' | sort)
flags='-std=c17 -D_GNU_SOURCE -DHAVE_SYSTEMD -pthread
	-Icommon -Ipop3-handler -Ismtp-handler'
processors=$(getconf _NPROCESSORS_ONLN)

# From scratch: what is built already is not looked at. Leaks are left to the
# sanitizers: gcc loses sight of a pointer that is kept in an array.
rm -rf "$out/gcc" "$out/clang"
check gcc make -s -j "$processors" BUILD="$out/gcc" CC=gcc \
    CFLAGS='-O2 -g -fanalyzer -Wno-analyzer-malloc-leak' all

# Uninitialised values are left to gcc and the sanitizers: clang does not see
# that read(2) fills what malloc(3) gave.
check scan-build scan-build --use-cc=clang --status-bugs \
    -disable-checker core.UndefinedBinaryOperatorResult \
    -disable-checker core.CallAndMessage \
    make -s -j "$processors" BUILD="$out/clang" all

# Left out: what -Wconversion says better, two parameters of one type, sizeof
# of a pointer where the array is one of pointers, memcpy of what shall have no
# NUL, and products of constants.
# shellcheck disable=SC2086,SC2016
check clang-tidy sh -c 'flags=$1; shift
	printf "%s\n" "$@" | xargs -P '"$processors"' -n 8 sh -c '\''
	flags=$0; exec clang-tidy --quiet --warnings-as-errors="*" \
	    --checks="-*,bugprone-*,-bugprone-narrowing-conversions,\
-bugprone-easily-swappable-parameters,-bugprone-sizeof-expression,\
-bugprone-not-null-terminated-result,-bugprone-reserved-identifier,\
-bugprone-implicit-widening-of-multiplication-result" \
	    "$@" -- $flags'\'' "$flags"' sh "$flags" $sources

# shellcheck disable=SC2086
check cppcheck cppcheck --quiet --std=c11 -j "$processors" \
    --enable=warning,performance,portability --inline-suppr \
    --suppress=missingIncludeSystem --error-exitcode=1 \
    -D_GNU_SOURCE -DHAVE_SYSTEMD -Icommon -Ipop3-handler -Ismtp-handler \
    $sources

[ "$failed" -eq 0 ] && say clean
exit "$failed"
