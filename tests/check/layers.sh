#!/bin/sh
# A folder is a layer (common/README.md):
#
#   6  pop3-handler/, smtp-handler/      the programs
#   5  common/                           program: the frame around a session
#   4  common/settings/
#   3  common/login/ maildir/ relay/
#   3  common/library/                   the machines, for other programs
#   2  common/system/; pop3/, smtp/      I/O; the protocol machines
#   1  common/protocol/
#   0  common/base/
#
# - Includes name their folder and go down or stay in it; common/ takes
#   nothing from a program, but library/ the two machines, and the two programs
#   nothing from each other.
# - Objects of base/, protocol/, pop3/ and smtp/ do no I/O, allocate nothing,
#   read no clock and log nothing: what they need from elsewhere is a short
#   list.
# - Modules of one folder use each other without circles.
# - Only programs log.
# - Every header can be included alone.

set -u

cd "$(dirname "$0")/../.." || exit 1
build=$(cd "${BUILD:-build}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

fail()
{
	printf 'layers: %s\n' "$*" >&2
	failed=1
}

# layer FOLDER: prints its number.
layer()
{
	case $1 in
	common/base) echo 0 ;;
	common/protocol) echo 1 ;;
	common/system | pop3-handler/pop3 | smtp-handler/smtp) echo 2 ;;
	common/login | common/maildir | common/relay | common/library) echo 3 ;;
	common/settings) echo 4 ;;
	common) echo 5 ;;
	pop3-handler | smtp-handler) echo 6 ;;
	*) return 1 ;;
	esac
}

# machine FOLDER: is it one without I/O?
machine()
{
	case $1 in
	common/base | common/protocol | */pop3 | */smtp) return 0 ;;
	esac
	return 1
}

files=$(find common pop3-handler smtp-handler -name '*.[ch]' | sort)
[ -n "$files" ] || exit 1
for folder in $(printf '%s\n' $files | sed 's|/[^/]*$||' | sort -u); do
	layer "$folder" >/dev/null ||
	    fail "$folder has no layer: give it one in $0"
done

# Includes: "FOLDER/NAME.h", from the program's own folder or from common/, of
# the library from both machines' too; files that lie directly in one of these
# three have no folder to name.
find_header()
{
	for header in "common/$2" "${1%%/*}/$2" "pop3-handler/$2" \
	    "smtp-handler/$2"; do
		case $1:$header in
		common/library/*:*/pop3/* | common/library/*:*/smtp/*) ;;
		common/*:*-handler/*) continue ;;
		pop3-handler/*:smtp-handler/* | smtp-handler/*:pop3-handler/*)
			continue ;;
		esac
		if [ -e "$header" ]; then
			echo "$header"
			return
		fi
	done
	return 1
}

for file in $files; do
	for name in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' \
	    "$file"); do
		header=$(find_header "$file" "$name") || {
			fail "$file includes \"$name\", which it cannot have"
			continue
		}
		from=${file%/*}
		to=${header%/*}
		[ "$from" != "$to" ] || continue
		[ "$(layer "$to")" -lt "$(layer "$from")" ] ||
		    fail "$file includes $header, which is not below it"
	done
done

# Objects of the machines: what their layer and those below it define, then
# what they need.
may_need='^(mem[a-z]*|str[a-z]*|v?snprintf|explicit_bzero)$'
may_need="$may_need"'|^__((mem|str)[a-z]*|v?snprintf|explicit_bzero)_chk$'
may_need="$may_need"'|^(__stack_chk_fail|__assert_fail|_GLOBAL_OFFSET_TABLE_)$'
may_need="$may_need"'|^__(a|l|t|ub)san_'
never='^(strn?dup|strdupa|strtok|strtok_r)$'

# object FILE.c
object()
{
	echo "$build/obj/${1%.c}.o"
}

sources=$(printf '%s\n' $files | grep '\.c$')
for file in $sources; do
	[ -e "$(object "$file")" ] || {
		fail "$(object "$file") is missing"
		continue
	}
	nm -g --defined-only "$(object "$file")" | awk '{ print $3 }' \
	    >>"$work/defined.$(echo "${file%/*}" | tr / .)"
done
machines=0
for file in $sources; do
	folder=${file%/*}
	machine "$folder" || continue
	machines=$((machines + 1))
	cat "$work/defined.common.base" >"$work/defined"
	[ "$folder" = common/base ] ||
	    cat "$work/defined.common.protocol" \
	    "$work/defined.$(echo "$folder" | tr / .)" >>"$work/defined"
	nm -u "$(object "$file")" | awk '{ print $2 }' >"$work/needed"
	{
		grep -vFx -f "$work/defined" "$work/needed" |
		    grep -vE "$may_need"
		grep -E "$never" "$work/needed"
	} >"$work/wrong"
	while read -r symbol; do
		fail "${file%.c}.o needs $symbol"
	done <"$work/wrong"
done
[ "$machines" -gt 0 ] || fail "no machines found"

# A session of the library is as pure as the machine behind it.
sessions=$(printf '%s\n' $sources | grep '^common/library/session')
[ -n "$sessions" ] || fail "no sessions found"
cat "$work"/defined.common.base "$work"/defined.common.protocol \
    "$work"/defined.*.pop3 "$work"/defined.*.smtp >"$work/defined"
for file in $sessions; do
	nm -g --defined-only "$(object "$file")" | awk '{ print $3 }'
done >>"$work/defined"
for file in $sessions; do
	nm -u "$(object "$file")" | awk '{ print $2 }' |
	    grep -vFx -f "$work/defined" | grep -vE "$may_need" >"$work/wrong"
	while read -r symbol; do
		fail "${file%.c}.o needs $symbol"
	done <"$work/wrong"
done

# Circles: which object uses what another one of its folder defines. tsort(1)
# names the members of each circle.
for file in $sources; do
	nm -g --defined-only "$(object "$file")" |
	    awk -v file="$file" '{ print $3, file }'
done | sort >"$work/definers"
for file in $sources; do
	nm -u "$(object "$file")" | awk -v file="$file" '{ print $2, file }'
done | sort | join "$work/definers" - |
    awk '{ from = $3; to = $2; sub("/[^/]*$", "", from)
	sub("/[^/]*$", "", to) }
	from == to { print $3, $2 }' | sort -u >"$work/uses"
[ -s "$work/uses" ] || fail "no module uses another one"
tsort "$work/uses" 2>&1 >/dev/null | sed '/: input contains a loop:$/d
	s/^tsort: //' | sort -u | tr '\n' ' ' >"$work/wrong"
[ ! -s "$work/wrong" ] ||
    fail "these use each other in a circle: $(cat "$work/wrong")"

# Logging
nm -g --defined-only "$build/obj/common/system/log.o" |
    awk '$2 == "T" { print $3 }' >"$work/log"
[ -s "$work/log" ] || fail "common/system/log.o defines nothing"
for file in $sources; do
	case $file in common/system/log.c) continue ;;
	esac
	[ "$(layer "${file%/*}")" -le 4 ] || continue
	nm -u "$(object "$file")" 2>/dev/null | awk '{ print $2 }' |
	    grep -Fx -f "$work/log" >"$work/wrong"
	while read -r symbol; do
		fail "${file%.c}.o logs: it needs $symbol"
	done <"$work/wrong"
done

# Headers. The empty file includes just the one.
for file in $files; do
	case $file in *.c) continue ;; esac
	${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -Icommon \
	    -I"${file%%/*}" -fsyntax-only -include "$file" -x c /dev/null \
	    2>"$work/out" || {
		fail "$file does not compile alone:"
		cat "$work/out" >&2
	}
done

[ "$failed" -eq 0 ] && echo "layers: ok"
exit "$failed"
