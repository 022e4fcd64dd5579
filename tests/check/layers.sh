#!/bin/sh
# The house keeps its layers:
#
#   3  program (common/); main, settings ... of each     the programs
#   2  conn maildir ... (common/)                        the system
#   1  wire dot sasl ... (common/), pop3, smtp, address  the protocols
#   0  slice buf error (common/)                         the base
#
# - Includes go down or sideways; common/ takes nothing from a program, and
#   the two programs nothing from each other.
# - Objects of layers 0 and 1 do no I/O, allocate nothing, read no clock and
#   log nothing: what they need from elsewhere is a short list.
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

# layer FILE: prints the layer of folder/module.c or .h.
layer()
{
	case ${1%.[ch]} in
	common/slice | common/buf | common/error | common/version)
		echo 0 ;;
	common/wire | common/dot | common/sasl | common/envelope | \
	common/smtp_client | common/proxy_header | \
	common/message | common/smtp_reply | common/maildir_name | \
	pop3-handler/pop3_text | \
	pop3-handler/pop3 | pop3-handler/pop3_private | \
	pop3-handler/pop3_login | pop3-handler/pop3_messages | \
	smtp-handler/smtp | smtp-handler/smtp_private | \
	smtp-handler/smtp_commands | \
	smtp-handler/smtp_replies | smtp-handler/smtp_parameters | \
	smtp-handler/smtp_text | smtp-handler/address)
		echo 1 ;;
	common/maildir_scan | common/maildir_measure | \
	common/maildir_index | common/maildir_cache | \
	common/maildir_doubles | common/maildir_moved | \
	common/maildir_sort | common/maildir_uidl | \
	common/conn | common/maildir | common/maildir_deliver | \
	common/account | common/relay | common/relay_text | \
	common/relay_talk | common/relay_open | common/relay_connect | \
	common/relay_private | common/auth | common/users | \
	common/command | \
	common/pattern | common/peer | common/options | common/process | \
	common/settings | common/log | common/tls_server)
		echo 2 ;;
	common/program | \
	pop3-handler/main | pop3-handler/pop3_settings | \
	smtp-handler/main | smtp-handler/smtp_settings | \
	smtp-handler/smtp_program | smtp-handler/smtp_check | \
	smtp-handler/smtp_log | \
	smtp-handler/trace | smtp-handler/places | \
	smtp-handler/delivery | smtp-handler/accounts_show)
		echo 3 ;;
	*)
		return 1 ;;
	esac
}

files=$(ls common/*.[ch] pop3-handler/*.[ch] smtp-handler/*.[ch])
[ -n "$files" ] || exit 1
known=
for file in $files; do
	if layer "$file" >/dev/null; then
		known="$known $file"
	else
		fail "$file has no layer: give it one in $0"
	fi
done

# Where the compiler would find it: beside the file, then in common/.
find_header()
{
	for header in "${1%/*}/$2" "common/$2" "$2"; do
		if [ -e "$header" ]; then
			echo "$header"
			return
		fi
	done
	return 1
}

# Includes
for file in $known; do
	for name in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' \
	    "$file"); do
		header=$(find_header "$file" "$name") || {
			fail "$file includes \"$name\", which is not there"
			continue
		}
		header=${header#./}
		below=$(layer "$header") || {
			fail "$file includes $header, which has no layer"
			continue
		}
		[ "$below" -le "$(layer "$file")" ] ||
		    fail "$file includes $header of a higher layer"
		case ${header%/*} in
		common | "${file%/*}") ;;
		*) fail "$file includes $header of another part" ;;
		esac
	done
done

# Objects: what those of layers 0 and 1 define, then what they need.
may_need='^(mem[a-z]*|str[a-z]*|v?snprintf|explicit_bzero)$'
may_need="$may_need"'|^__((mem|str)[a-z]*|v?snprintf|explicit_bzero)_chk$'
may_need="$may_need"'|^(__stack_chk_fail|__assert_fail|_GLOBAL_OFFSET_TABLE_)$'
never='^(strn?dup|strdupa|strtok|strtok_r)$'
objects=
: >"$work/common.0"
: >"$work/common.1"
: >"$work/pop3-handler.1"
: >"$work/smtp-handler.1"
for file in $known; do
	case $file in *.h) continue ;; esac
	level=$(layer "$file")
	[ "$level" -le 1 ] || continue
	object=$build/obj/${file%.c}.o
	if [ ! -e "$object" ]; then
		fail "$object is missing"
		continue
	fi
	objects="$objects $file"
	nm -g --defined-only "$object" | awk '{ print $3 }' \
	    >>"$work/${file%/*}.$level"
done
for file in $objects; do
	cat "$work/common.0" >"$work/defined"
	[ "$(layer "$file")" -eq 0 ] ||
	    cat "$work/common.1" "$work/${file%/*}.1" >>"$work/defined"
	nm -u "$build/obj/${file%.c}.o" | awk '{ print $2 }' >"$work/needed"
	{
		grep -vFx -f "$work/defined" "$work/needed" |
		    grep -vE "$may_need"
		grep -E "$never" "$work/needed"
	} >"$work/wrong"
	while read -r symbol; do
		fail "${file%.c}.o needs $symbol"
	done <"$work/wrong"
done
[ -n "$objects" ] || fail "no objects in $build"

# Logging
if [ -e "$build/obj/common/log.o" ]; then
	nm -g --defined-only "$build/obj/common/log.o" |
	    awk '$2 == "T" { print $3 }' >"$work/log"
	[ -s "$work/log" ] || fail "common/log.o defines nothing"
	for file in $known; do
		case $file in *.h | common/log.c | common/settings.c) continue ;; esac
		[ "$(layer "$file")" -le 2 ] || continue
		nm -u "$build/obj/${file%.c}.o" 2>/dev/null | awk '{ print $2 }' |
		    grep -Fx -f "$work/log" >"$work/wrong"
		while read -r symbol; do
			fail "${file%.c}.o logs: it needs $symbol"
		done <"$work/wrong"
	done
fi

# Headers. The empty line is a file that includes just the one.
for file in $known; do
	case $file in *.c) continue ;; esac
	${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -I"${file%/*}" \
	    -Icommon -fsyntax-only -include "$file" -x c /dev/null \
	    2>"$work/out" || {
		fail "$file does not compile alone:"
		cat "$work/out" >&2
	}
done

[ "$failed" -eq 0 ] && echo "layers: ok"
exit "$failed"
