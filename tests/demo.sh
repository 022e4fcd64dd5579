#!/bin/sh
# A POP3S and an SMTPS server for trying things out, on this machine only, and
# an SMTP server without TLS and login for programs that are to send mail.
#
# Makes a certificate for localhost and a maildir with a few messages under
# $BUILD/demo, listens on 127.0.0.1 and ::1, sends one message with curl,
# fetches it back with curl, compares the two octet for octet, and serves until
# Ctrl-C or SIGTERM. Clients may delete; "make clean" does not.
#
#   BUILD            the build directory (default: build)
#   ONCE             1: end after the round trip
#   DEMO_POP3_PORT   default 1995
#   DEMO_SMTP_PORT   default 1465
#   DEMO_PLAIN_PORT  default 1025
#
# Exit status: 0 the message came back as it was sent; 1 it did not;
# 2 nothing could be tried (a port is taken, a program is missing).

set -u

# A shell cannot trap a signal that was ignored when it was started, and a
# script that puts the demo into the background has SIGINT ignored.
if [ -z "${DEMO_SIGNALS-}" ] &&
    env --default-signal=INT true 2>/dev/null; then
	DEMO_SIGNALS=default exec env --default-signal=INT "$0" "$@"
fi

cd "$(dirname "$0")/.." || exit 2
build=$(cd "${BUILD:-build}" 2>/dev/null && pwd) || {
	echo "demo: no directory ${BUILD:-build}: run make first" >&2
	exit 2
}
demo=$build/demo
pop3_port=${DEMO_POP3_PORT:-1995}
smtp_port=${DEMO_SMTP_PORT:-1465}
plain_port=${DEMO_PLAIN_PORT:-1025}
cert=$demo/tls.crt
key=$demo/tls.key
maildir=$demo/maildir
log=$demo/log

pids=
tail_pid=

say()
{
	printf 'demo: %s\n' "$*" >&2
}

give_up()
{
	status=$1
	shift
	say "$*"
	exit "$status"
}

# Whatever way the script ends, the programs that listen end with it, and with
# them the sessions still open.
stop_all()
{
	status=$?
	trap - EXIT INT TERM HUP
	for pid in $tail_pid $pids; do
		kill "$pid" 2>/dev/null
	done
	# Once more, until they are gone: what is still a shell when a signal
	# comes, about to become the program, forgets it.
	for pid in $tail_pid $pids; do
		while kill "$pid" 2>/dev/null; do
			sleep 0.1
		done
	done
	wait
	exit "$status"
}

need()
{
	for program; do
		command -v "$program" >/dev/null ||
		    give_up 2 "$program is missing; tests/setup.sh demo installs what is needed"
	done
}

# A configuration of our own: that of the machine may make the certificate a
# CA's, which Mozilla's programs do not take as a server's.
make_certificate()
{
	if [ -s "$cert" ] && [ -s "$key" ] &&
	    openssl x509 -in "$cert" -noout -checkend 86400 >/dev/null; then
		return
	fi
	cat >"$demo/tls.cnf" <<-'END'
		[req]
		prompt = no
		distinguished_name = name
		x509_extensions = extensions
		[name]
		CN = localhost
		[extensions]
		basicConstraints = critical, CA:FALSE
		keyUsage = critical, digitalSignature
		extendedKeyUsage = serverAuth
		subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
	END
	(umask 077; openssl ecparam -name prime256v1 -genkey -noout -out "$key") &&
	openssl req -x509 -new -key "$key" -sha256 -days 825 \
	    -config "$demo/tls.cnf" -out "$cert" ||
	    give_up 2 "openssl could not make a certificate in $demo"
	rm -f "$demo/tls.cnf"
}

# put FILE TIME: standard input becomes a message with that modification
# time, which is what POP3 orders by.
put()
{
	cat >"$maildir/$1" && touch -t "$2" "$maildir/$1"
}

# Samples of what mail is made of. Left alone once they are there, so that
# what was sent to an earlier demo stays.
make_maildir()
{
	[ -d "$maildir" ] && return
	mkdir -p "$maildir/cur" "$maildir/new" "$maildir/tmp" \
	    "$maildir/.Archive/cur" "$maildir/.Archive/new" \
	    "$maildir/.Archive/tmp" || give_up 2 "cannot make $maildir"

	put 'cur/1735732800.M1P1.demo:2,S' 202501011200 <<-'END'
		From: Anna Example <anna@example.org>
		To: you@localhost
		Subject: Plain text
		Date: Wed, 1 Jan 2025 12:00:00 +0000
		Message-ID: <1@demo.example>

		A short message in ASCII, nothing special about it.
	END
	put 'cur/1735819200.M2P1.demo:2,RS' 202501021200 <<-'END'
		From: Jürgen Groß <juergen@example.org>
		To: you@localhost
		Subject: Grüße aus Köln, и привет ☃
		Date: Thu, 2 Jan 2025 12:00:00 +0000
		Message-ID: <2@demo.example>
		MIME-Version: 1.0
		Content-Type: text/plain; charset=utf-8
		Content-Transfer-Encoding: 8bit

		Header and text are UTF-8 as it is, without any encoding:
		äöüß, naïve café, Ελληνικά, 日本語.
	END
	put 'cur/1735905600.M3P1.demo:2,' 202501031200 <<-'END'
		From: Dot <dot@example.org>
		To: you@localhost
		Subject: Lines that begin with a dot
		Date: Fri, 3 Jan 2025 12:00:00 +0000
		Message-ID: <3@demo.example>

		.
		..
		...and a third. The line above the last two is a single dot.
		.profile
	END
	put 'new/1735992000.M4P1.demo' 202501041200 <<-'END'
		From: Anna Example <anna@example.org>
		To: you@localhost
		Subject: With an attachment
		Date: Sat, 4 Jan 2025 12:00:00 +0000
		Message-ID: <4@demo.example>
		MIME-Version: 1.0
		Content-Type: multipart/mixed; boundary="=-demo-=-"

		This is a message with several parts.
		--=-demo-=-
		Content-Type: text/plain; charset=utf-8
		Content-Transfer-Encoding: quoted-printable

		A picture of one red point is attached. Best wishes, Ren=C3=A9

		--=-demo-=-
		Content-Type: image/png; name="point.png"
		Content-Disposition: attachment; filename="point.png"
		Content-Transfer-Encoding: base64

		iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FD
		AAAAAElFTkSuQmCC
		--=-demo-=---
	END
	printf '%s\n' 'From: Cut <cut@example.org>' 'To: you@localhost' \
	    'Subject: No line end at the end' \
	    'Date: Sun, 5 Jan 2025 12:00:00 +0000' \
	    'Message-ID: <5@demo.example>' '' 'The last line just stops' |
	    awk 'NR > 1 { printf "\n" } { printf "%s", $0 }' |
	    put 'new/1736078400.M5P1.demo' 202501051200
	printf '%s\r\n' 'From: Wire <wire@example.org>' 'To: you@localhost' \
	    'Subject: Stored with CRLF' 'Date: Mon, 6 Jan 2025 12:00:00 +0000' \
	    'Message-ID: <6@demo.example>' '' \
	    'This file has the line ends of the wire, not those of Unix.' |
	    put 'new/1736164800.M6P1.demo' 202501061200
	put '.Archive/cur/1736251200.M7P1.demo:2,S' 202501071200 <<-'END'
		From: Anna Example <anna@example.org>
		To: you@localhost
		Subject: From a subfolder
		Date: Tue, 7 Jan 2025 12:00:00 +0000
		Message-ID: <7@demo.example>

		POP3 knows one mailbox; with --scan all the folders are in it.
	END
}

# curl's exit status 7 is "failed to connect": nobody listens.
must_be_free()
{
	case $2 in
	*[!0-9]* | '' | 0* | ??????*) bad=yes ;;
	*) bad= ;;
	esac
	[ -z "$bad" ] && [ "$2" -le 65535 ] ||
	    give_up 2 "DEMO_$1_PORT must be a port, 1 to 65535, and not '$2'"
	curl --silent --max-time 2 --noproxy '*' --output /dev/null \
	    "telnet://127.0.0.1:$2" </dev/null
	[ $? -eq 7 ] || give_up 2 "port $2 is taken by another program; stop that," \
	    "or choose another port: make demo DEMO_$1_PORT=$(($2 + 1000))"
}

# listen PORT PROGRAM OPTION...: until it says that it listens. Where this
# script is killed, it ends too.
listen()
{
	port=$1 program=$2
	shift 2
	with=
	command -v setpriv >/dev/null && with='setpriv --pdeathsig TERM'
	$with "$build/$program" --listen "$port" --port-file "$demo/port.$port" \
	    --maildir "$maildir" "$@" </dev/null >>"$log" 2>&1 &
	pid=$!
	pids="$pids $pid"
	tries=300
	until [ -s "$demo/port.$port" ]; do
		if ! kill -0 "$pid" 2>/dev/null; then
			tail -n 20 "$log" >&2
			give_up 2 "cannot listen on port $port"
		fi
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ]; then
			tail -n 20 "$log" >&2
			give_up 1 "$program does not listen on port $port"
		fi
		sleep 0.1
	done
}

# fetch PATH [OPTION...]: one POP3 session.
fetch()
{
	path=$1
	shift
	curl --silent --show-error --max-time 30 --noproxy '*' \
	    --cacert "$cert" --user tester:secret "$@" \
	    "pop3s://localhost:$pop3_port/$path"
}

round_trip()
{
	blanks='   '
	id="demo.$(date +%s).$$@localhost"
	awk '{ printf "%s\r\n", $0 }' >"$demo/sent" <<-END
		From: Tester <tester@example.com>
		To: Somebody <somebody@example.org>
		Subject: A round trip with Ümläuts
		Date: $(LC_ALL=C date '+%a, %d %b %Y %H:%M:%S %z')
		Message-ID: <$id>
		MIME-Version: 1.0
		Content-Type: text/plain; charset=utf-8
		Content-Transfer-Encoding: 8bit

		Sent over SMTPS, kept in a maildir, fetched over POP3S. Grüße!
		.
		.. the line above is a dot alone, this one begins with two,
		.and this one with one.
		    White space at the end of this line stays:$blanks

		QUIT
	END

	say "sending with curl to smtps://localhost:$smtp_port"
	curl --silent --show-error --max-time 30 --noproxy '*' \
	    --cacert "$cert" --user tester:secret \
	    --mail-from tester@example.com --mail-rcpt somebody@example.org \
	    --upload-file "$demo/sent" "smtps://localhost:$smtp_port/localhost" ||
	    give_up 1 "the message was not accepted"

	say "looking for it with curl in pop3s://localhost:$pop3_port"
	fetch '' --request UIDL >"$demo/uidl" || give_up 1 "UIDL failed"
	number=
	for n in $(awk '{ print $1 }' "$demo/uidl" | sort -rn); do
		fetch '' --request "TOP $n 0" >"$demo/head" ||
		    give_up 1 "TOP $n 0 failed"
		if grep -qF "<$id>" "$demo/head"; then
			number=$n
			break
		fi
	done
	[ -n "$number" ] || give_up 1 "the message is not in the maildrop"
	uid=$(awk -v n="$number" '$1 == n { sub(/\r$/, ""); print $2 }' "$demo/uidl")
	fetch "$number" >"$demo/fetched" || give_up 1 "RETR $number failed"

	# What was sent must be the end of what came back, octet for octet;
	# before it stands only what an SMTP server adds.
	sent=$(wc -c <"$demo/sent")
	fetched=$(wc -c <"$demo/fetched")
	added=$((fetched - sent))
	[ "$added" -ge 0 ] &&
	tail -c "$sent" "$demo/fetched" | cmp - "$demo/sent" ||
	    give_up 1 "the text fetched is not the text sent:" \
	    "compare $demo/sent and $demo/fetched"
	head -c "$added" "$demo/fetched" | awk '
		/^(Return-Path|Delivered-To|X-Envelope-To|Received):/ { next }
		/^[ \t]/ && NR > 1 { next }
		{ exit 1 }' ||
	    give_up 1 "there is more than Return-Path and Received before" \
	    "the text: see $demo/fetched"

	printf '\n--- sent (%d octets) ---\n' "$sent"
	tr -d '\r' <"$demo/sent"
	printf '\n--- fetched (%d octets, message %s, UIDL %s) ---\n' \
	    "$fetched" "$number" "$uid"
	tr -d '\r' <"$demo/fetched"
	printf '\n--- the same text, octet for octet ---\n\n'
}

# For mutt and neomutt. The certificate is trusted, and nothing is asked.
make_muttrc()
{
	cat >"$demo/muttrc" <<-END
		set folder=$demo
		set spoolfile=pops://tester:secret@localhost:$pop3_port/
		set smtp_url=smtps://tester:secret@localhost:$smtp_port
		set from=tester@example.com realname=Tester use_from=yes
		set certificate_file=$cert ssl_starttls=no
		set copy=no record="" pop_delete=no
	END
}

print_help()
{
	cat <<-END
		POP3S  localhost:$pop3_port    SMTPS  localhost:$smtp_port
		SMTP   localhost:$plain_port    without TLS and login, for programs under test
		Any user name and any password are right. Nothing leaves this machine.
		certificate  $cert
		maildir      $maildir
		log          $log

		What came
		  mutt -f $maildir
		  python3 -c 'import mailbox
		[print(m) for m in mailbox.Maildir("$maildir")]'

		Thunderbird
		  New account: any name, tester@example.com, any password, then
		  "Configure manually":
		    Incoming: POP3, localhost, port $pop3_port, SSL/TLS, Normal password
		    Outgoing: SMTP, localhost, port $smtp_port, SSL/TLS, Normal password
		  Confirm the exception for the certificate when asked.

		mutt or neomutt
		  mutt -n -F $demo/muttrc

		curl
		  curl --cacert $cert --user tester:secret \\
		    --mail-from tester@example.com --mail-rcpt you@example.org \\
		    --upload-file $demo/sent \\
		    smtps://localhost:$smtp_port/localhost
		  curl --cacert $cert --user tester:secret \\
		    pop3s://localhost:$pop3_port/        (the list; add a number for a message)

		openssl
		  openssl s_client -quiet -crlf -CAfile $cert \\
		    -connect localhost:$pop3_port        (then: USER me, PASS x, LIST, QUIT)
		  openssl s_client -quiet -crlf -CAfile $cert \\
		    -connect localhost:$smtp_port        (then: EHLO me)

		Serving until Ctrl-C or SIGTERM; what the programs log follows.
	END
}

need openssl curl awk cmp
for program in pop3-handler smtp-handler; do
	[ -x "$build/$program" ] || give_up 2 "no $build/$program: run make first"
done

trap stop_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$demo" || exit 2
# Before anything of a demo that is running is touched
must_be_free POP3 "$pop3_port"
must_be_free SMTP "$smtp_port"
must_be_free PLAIN "$plain_port"
rm -f "$demo"/port.*
: >"$log"
make_certificate
make_maildir
make_muttrc
listen "$pop3_port" pop3-handler --allow-delete --auth any \
    --tls-cert "$cert" --tls-key "$key"
pop3_pid=$pid
listen "$smtp_port" smtp-handler --auth any \
    --tls-cert "$cert" --tls-key "$key"
listen "$plain_port" smtp-handler --tls off --no-auth-required

round_trip
[ "${ONCE:-0}" = 1 ] && exit 0

trap 'exit 0' INT TERM
# Before the last line of the help: who reads it may send a signal, and what
# stop_all does not know it cannot end.
tail -n 0 -f "$log" &
tail_pid=$!
print_help
wait "$pop3_pid"
give_up 1 "the listener on port $pop3_port ended"
