#!/bin/sh
# How many lines of its own module each fuzzer's corpus reaches, from a build
# with --coverage ("make fuzz-coverage" makes it): a table for README.md. The
# lines that were not reached: BUILD/fuzz-lines/FUZZER.
#
#	tests/fuzz/coverage.sh BUILD [FUZZER...]
#
# MORE=build/fuzz/corpus adds what was found since to the corpora.

set -eu

cd "$(dirname "$0")/../.."
build=$1
shift

modules() {
	case $1 in
	account) echo common/relay/account.c common/relay/account_secret.c ;;
	address) echo common/protocol/address.c ;;
	aliases) echo smtp-handler/aliases.c smtp-handler/resolve.c ;;
	command) echo common/system/command.c ;;
	config) echo common/settings/options.c ;;
	faults) echo common/system/faults.c ;;
	maildir_cache) echo common/maildir/maildir_cache.c ;;
	maildir_name)
		echo common/maildir/maildir_name.c common/maildir/maildir_uidl.c
		;;
	milter) echo common/protocol/milter.c smtp-handler/header_edit.c ;;
	pop3) echo pop3-handler/pop3/*.c ;;
	sasl) echo common/protocol/sasl*.c common/base/base64.c ;;
	session) echo common/library/session*.c ;;
	smtp) echo smtp-handler/smtp/*.c ;;
	users) echo common/login/users.c ;;
	*) echo "common/protocol/$1.c" ;;
	esac
}

if [ $# -eq 0 ]; then
	set -- tests/fuzz/fuzz_*.c
fi
mkdir -p "$build/fuzz-lines"
echo '| fuzzer | lines of | reached | of | |'
echo '| --- | --- | --- | --- | --- |'
for name; do
	name=$(basename "${name#*fuzz_}" .c)
	find "$build" -name '*.gcda' -exec rm {} +
	"$build/tests/fuzz/replay_$name" "tests/fuzz/corpus/$name" \
	    ${MORE:+"$MORE/$name"} >&2
	# shellcheck disable=SC2046 # our own names
	all=$(tests/coverage.sh "$build" $(modules "$name") | grep '^all ')
	echo "$all" | awk -v name="$name" -v files="$(modules "$name")" '{
		gsub(/common\/|smtp-handler\/|pop3-handler\//, "", files)
		gsub(/ /, "`, `", files)
		printf "| `%s` | `%s` | %d | %d | %s %% |\n", name, files,
		    $2, $4, $5
	}'
	grep -H '#####' "$build"/lines/*.gcov |
	    sed 's/^.*#\([^#]*\)\.gcov: *#*: */\1:/' >"$build/fuzz-lines/$name"
done
