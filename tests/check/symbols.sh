#!/bin/sh
# Nothing is used that OpenBSD, FreeBSD or musl lacks, but in a file that has
# another way for them: symbols.txt says what is where. And compilers take what
# is written for the others: for musl by its headers, for those that are not
# Linux by kqueue(2) as their manuals have it.

set -u

cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}/obj
list=tests/check/symbols.txt
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

objects=$(find common pop3-handler smtp-handler -name '*.c' |
    sed "s|^|$build/|; s|c$|o|")
# shellcheck disable=SC2086
nm -A -P $objects >"$work/symbols" || exit 1

# Names that gcc's and glibc's headers put in place of others; those of
# libraries that are ours to choose; compilers' and sanitizers' own.
awk -v build="$build/" '
	function plain(name) {
		if (name ~ /^__.*_chk$/)
			return substr(name, 3, length(name) - 6)
		sub(/^__isoc(99|23)_/, "", name)
		if (name ~ /^__open(at)?(64)?_2$/) {
			gsub(/^__|(64)?_2$/, "", name)
			return name
		}
		sub(/64$/, "", name)
		return name
	}
	FNR == NR {
		if ($1 == "everywhere")
			for (i = 2; i <= NF; i++)
				everywhere[$i] = 1
		if ($1 == "only")
			for (i = 3; i <= NF; i++)
				only[$2, $i] = 1
		next
	}
	{
		sub(/:$/, "", $1)
		object = substr($1, length(build) + 1)
		sub(/\.o$/, "", object)
		if ($3 !~ /^[Uvw]$/)
			ours[$2] = 1
		else
			uses[$2, object] = 1
	}
	END {
		theirs = "^(tls|sd|EVP|PEM|X509|SHA256)(_|$)|" \
		    "^__(a|ub|t|l)san|^__(sanitizer|gcov|llvm)|" \
		    "^__(stack_chk_fail|assert_fail|tls_get_addr)$|" \
		    "^__(ctype_.*_loc|errno_location)$|^_GLOBAL_OFFSET"
		for (use in uses) {
			split(use, part, SUBSEP)
			name = part[1]
			if (name in ours || name ~ theirs)
				continue
			name = plain(name)
			if (name in everywhere || (name, part[2]) in only)
				continue
			printf "symbols: %s uses %s, which %s does not " \
			    "allow there\n", part[2], name, "'"$list"'"
			bad = 1
		}
		exit bad
	}' "$list" "$work/symbols" >&2 || failed=1

# shellcheck disable=SC2046
awk '
	FNR == NR {
		if ($1 == "header")
			for (i = 3; i <= NF; i++)
				only[$2, $i] = listed[$2] = 1
		next
	}
	/^#[ \t]*include </ {
		name = $0
		gsub(/^[^<]*<|>.*$/, "", name)
		file = FILENAME
		sub(/\.[ch]$/, "", file)
		if ((name in listed || name ~ /^linux\//) &&
		    !((name, file) in only)) {
			printf "symbols: %s includes <%s>, which not all " \
			    "systems have\n", FILENAME, name
			bad = 1
		}
	}
	END { exit bad }
	' "$list" $(find common pop3-handler smtp-handler -name '*.[ch]') >&2 ||
	failed=1

mkdir -p "$work/others/sys"
cat >"$work/others/sys/event.h" <<'END'
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
struct kevent {
	uintptr_t ident;
	short filter;
	unsigned short flags;
	unsigned int fflags;
	int64_t data;
	void *udata;
};
#define EV_SET(event, i, fi, fl, ff, d, u) (*(event) = (struct kevent){ (i), \
	(short)(fi), (unsigned short)(fl), (ff), (d), (u) })
enum { EVFILT_READ = -1, EVFILT_WRITE = -2, EVFILT_TIMER = -7 };
enum { EV_ADD = 1, EV_DELETE = 2, EV_ONESHOT = 0x10, EV_CLEAR = 0x20,
	EV_EOF = 0x8000 };
int kqueue(void);
int kevent(int kq, const struct kevent *changes, int n_changes,
    struct kevent *events, int n_events, const struct timespec *timeout);
END
for system in -D__OpenBSD__ \
    '-D__OpenBSD__ -DEVFILT_USER=-11 -DNOTE_TRIGGER=0x01000000'
do
	# shellcheck disable=SC2086
	find common pop3-handler smtp-handler -name '*.c' -exec cc -std=c17 \
	    -D_GNU_SOURCE -U__linux__ $system -Wall -Wextra -Werror -Icommon \
	    -Ipop3-handler -Ismtp-handler -idirafter "$work/others" \
	    -fsyntax-only {} + >&2 || failed=1
done

if ! command -v musl-gcc >/dev/null
then
	echo "no musl-gcc: tests/setup.sh check"
	exit 77
fi
# Headers that are the kernel's or other libraries', beside musl's own
triple=$(cc -print-multiarch)
mkdir "$work/include" "$work/include/openssl"
ln -s "/usr/include/$triple"/openssl/* /usr/include/openssl/* \
    "$work/include/openssl" 2>/dev/null
ln -s /usr/include/linux /usr/include/asm-generic \
    "/usr/include/$triple/asm" /usr/include/tls.h "$work/include"
# musl has it, and Debian's package leaves it out
cat >"$work/include/crypt.h" <<-END
	struct crypt_data { int initialized; char buffer[256]; };
	char *crypt(const char *, const char *);
	char *crypt_r(const char *, const char *, struct crypt_data *);
	END
find common pop3-handler smtp-handler -name '*.c' -exec musl-gcc -std=c17 \
    -D_GNU_SOURCE -Wall -Wextra -Werror -Icommon -Ipop3-handler \
    -Ismtp-handler -idirafter "$work/include" -fsyntax-only {} + >&2 ||
	failed=1
exit "$failed"
