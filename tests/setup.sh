#!/bin/sh
# Install what one of the Makefile's targets needs and this machine lacks.
#
#	tests/setup.sh build|demo|check|unit|analyse|bench|thunderbird|hosts|
#	    deb|fuzz|soak
#
# Debian and its kin: missing packages are named and installed with apt-get.
# Servers and proxies, and clients that bring a user or a service along, are
# not installed but unpacked below $BUILD/tools: some of them conflict with
# each other, and none of them shall be started, now or at the next boot, on a
# machine that only wanted to run our tests. But s6 is: nothing starts it, and
# its programs look for each other in /usr/bin.
# Elsewhere: says which commands and libraries are missing.
# Silent when nothing is.

set -eu

cd "$(dirname "$0")/.."
mkdir -p "${BUILD:-build}"
tools=$(cd "${BUILD:-build}" && pwd)/tools

build_packages='gcc make pkg-config libc6-dev libcrypt-dev libtls-dev
	libssl-dev libsystemd-dev'
build_commands='cc make pkg-config'
build_modules='libtls libcrypto libsystemd'

demo_packages="$build_packages openssl curl"
demo_commands="$build_commands openssl curl"

check_packages="$demo_packages libcmocka-dev clang libclang-rt-dev
	g++ binutils musl-tools libsqlite3-dev
	libmilter-dev mandoc python3 python3-pytest python3-dkim swaks
	python3-aiosmtpd msmtp mpop ucspi-tcp strace
	getmail6 mutt neomutt nodejs perl libio-socket-ssl-perl
	libauthen-sasl-perl iproute2 util-linux whois s6
	mount e2fsprogs xfsprogs btrfs-progs dpkg-dev lintian socat ncat bindfs
	libfaketime"
check_commands="$demo_commands systemd-socket-activate clang mandoc python3
	swaks msmtp mpop tcpserver fetchmail getmail inetd xinetd strace ip
	unshare setpriv mkpasswd mutt neomutt node perl s6-svscan
	mkfs.ext4 mkfs.xfs mkfs.btrfs socat ncat bindfs"
check_modules="$build_modules cmocka sqlite3"
# package/program: the program is looked for below build/tools/package
check_unpacked='openbsd-inetd/inetd xinetd/xinetd ucspi-tcp-ipv6/tcpserver
	haproxy/haproxy stunnel4/stunnel4
	daemontools/supervise postfix/smtp-source fetchmail/fetchmail
	node-nodemailer/nodemailer
	dovecot-lmtpd/dovecot opensmtpd/smtpd fail2ban/fail2ban-regex dma/dma
	rspamd/rspamd opendkim/opendkim moosefs-master/mfsmaster
	moosefs-chunkserver/mfschunkserver moosefs-client/mfsmount
	clamav-daemon/clamd clamav-milter/clamav-milter'
# Where it is not what runs the machine, its package would make users.
systemd=
[ -e /usr/bin/systemd-socket-activate ] ||
	systemd=systemd/systemd-socket-activate
check_unpacked="$check_unpacked $systemd"

# The benchmark's driver is Python; its yardsticks run under tcpserver.
bench_packages="$demo_packages libmilter-dev python3 python3-aiosmtpd nodejs
	ucspi-tcp strace libsasl2-modules iproute2 mount util-linux"
bench_unpacked="postfix/smtp-source dovecot-pop3d/dovecot dovecot-lmtpd/lmtp
	courier-pop/courierpop3d $systemd"
bench_commands="$demo_commands python3 tcpserver strace"

# Debian packages, and what finds fault with them.
deb_packages="$build_packages dpkg-dev lintian binutils"

# Distributed file systems, and what makes hosts of namespaces.
hosts_packages="$demo_packages python3 iproute2 util-linux"
hosts_unpacked='haproxy/haproxy moosefs-master/mfsmaster
	moosefs-chunkserver/mfschunkserver moosefs-client/mfsmount
	glusterfs-server/glusterd'

say() {
	echo "setup: $*" >&2
}

die() {
	say "$*"
	exit 1
}

# Names, of those given, that are not fully installed.
missing_packages() {
	# shellcheck disable=SC2086
	set -- $1
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" \
		2>/dev/null | sed -n 's/^installed //p')
	for name; do
		printf '%s\n' "$have" | grep -Fqx "$name" ||
			printf '%s ' "$name"
	done
}

missing_unpacked() {
	for pair in $1; do
		[ -e "$tools/${pair%%/*}/.complete" ] ||
			printf '%s ' "${pair%%/*}"
	done
}

missing_commands() {
	for name in $1; do
		command -v "$name" >/dev/null || printf '%s ' "$name"
	done
}

missing_modules() {
	for name in $1; do
		pkg-config --exists "$name" 2>/dev/null ||
			printf '%s ' "$name"
	done
}

may_become_root() {
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		env DEBIAN_FRONTEND=noninteractive "$@"
	else
		sudo env DEBIAN_FRONTEND=noninteractive "$@"
	fi
}

updated=

update_once() {
	[ -z "$updated" ] || return 0
	updated=yes
	may_become_root && as_root apt-get update -q >&2 ||
		say "apt-get update failed; trying with the lists as they are"
}

# Whatever a dependency brings in, no daemon starts. A policy of the machine's
# own is left alone.
policy=/usr/sbin/policy-rc.d

forbid_daemons() {
	[ ! -e "$policy" ] || return 0
	as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy &&
		chmod 755 $policy"
	trap 'as_root rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
}

allow_daemons() {
	trap - EXIT HUP INT TERM
	[ -z "${forbidden:-}" ] || as_root rm -f "$policy"
	forbidden=
}

install_packages() {
	may_become_root || die "not root and no sudo; as root:" \
		"apt-get install --no-install-recommends $*"
	say "installing: $*"
	update_once
	[ -e "$policy" ] || forbidden=yes
	forbid_daemons
	as_root apt-get install -q -y --no-install-recommends "$@" >&2 ||
		die "apt-get could not install: $*"
	allow_daemons
}

# fetch FOLDER PACKAGE OPTION: what apt-get would install for the package,
# itself included, goes into the folder.
fetch() {
	mkdir -p "$1/partial"
	apt-get install -qq -y --no-install-recommends --reinstall \
		-o Debug::NoLocking=1 -o Dir::Cache::archives="$1" \
		-o APT::Sandbox::User="$(id -un)" "$3" "$2"
}

# The package and those libraries it needs that the machine lacks, below
# tools/NAME. Needs no root. What several of them need is fetched once.
unpack_package() {
	say "unpacking below $tools: $1"
	dir=$tools/$1
	rm -rf "$dir"
	mkdir -p "$dir"
	fetch "$tools/.debs" "$1" --download-only >"$dir/.log" 2>&1 ||
		{ cat "$dir/.log" >&2; die "apt-get could not fetch $1"; }
	# With nothing fetched yet each has a line: 'URI' FILE SIZE HASH
	for deb in $(fetch "$dir/.none" "$1" --print-uris |
		sed -n "s/^'[^']*' \([^ ]*\.deb\) .*/\1/p"); do
		dpkg-deb -x "$tools/.debs/$deb" "$dir"
	done
	rm -rf "$dir/.none"
	merge_folders "$dir"
	: >"$dir/.complete"
}

# Where /lib is in truth /usr/lib, so it is in what was unpacked.
merge_folders() {
	[ -L /lib ] || return 0
	for folder in bin sbin lib lib64; do
		[ -d "$1/$folder" ] || continue
		mkdir -p "$1/usr/$folder"
		cp -a "$1/$folder/." "$1/usr/$folder"
		rm -rf "${1:?}/$folder"
	done
}

# $1 packages, $2 packages to unpack
debian() {
	missing=$(missing_packages "$1")
	# shellcheck disable=SC2086
	[ -z "$missing" ] || install_packages $missing
	missing=$(missing_unpacked "$2")
	[ -z "$missing" ] || update_once
	for name in $missing; do
		unpack_package "$name"
	done
	rm -rf "$tools/.debs"
}

# $1 commands, $2 pkg-config modules, $3 names of Debian's packages
elsewhere() {
	PATH=$PATH:/usr/sbin:/sbin
	missing=$(missing_commands "$1")
	modules=$(missing_modules "$2")
	[ -n "$missing$modules" ] || return 0
	[ -z "$missing" ] || say "missing commands: $missing"
	[ -z "$modules" ] || say "missing libraries (pkg-config): $modules"
	# shellcheck disable=SC2086
	say "install them; in Debian they come with:" $3
	exit 1
}

case ${1-} in
build) set -- "$build_packages" '' "$build_commands" "$build_modules" ;;
demo)  set -- "$demo_packages" '' "$demo_commands" "$build_modules" ;;
check) set -- "$check_packages" "$check_unpacked" \
		"$check_commands" "$check_modules" ;;
analyse) set -- "$build_packages clang clang-tools clang-tidy cppcheck" '' \
		"$build_commands clang scan-build clang-tidy cppcheck" \
		"$build_modules" ;;
unit)  set -- "$build_packages libcmocka-dev python3" '' \
		"$build_commands python3" "$build_modules cmocka" ;;
fuzz)  set -- "$build_packages clang libclang-rt-dev python3" '' \
		"$build_commands clang python3" "$build_modules" ;;
soak)  set -- "$demo_packages python3 iproute2 mount util-linux" \
		"$systemd" \
		"$demo_commands python3" "$build_modules" ;;
bench) set -- "$bench_packages" "$bench_unpacked" \
		"$bench_commands" "$build_modules" ;;
thunderbird) set -- "$check_packages thunderbird" "$check_unpacked" \
		"$check_commands thunderbird" "$check_modules" ;;
deb) set -- "$deb_packages" '' "$build_commands dpkg-deb dpkg-shlibdeps" \
		"$build_modules" ;;
hosts) set -- "$hosts_packages" "$hosts_unpacked" \
		"$demo_commands" "$build_modules" ;;
*)     echo "usage: $0 build|demo|check|unit|analyse|bench|thunderbird|hosts|" \
		"deb|fuzz|soak" >&2
	exit 64 ;;
esac

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
	debian "$1" "$2"
else
	elsewhere "$3" "$4" "$1"
fi
