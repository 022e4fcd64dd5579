#!/bin/sh
# curl, against a server that fails as ordered.
set -eu
dir=$(mktemp -d)
cat >"$dir/faults" <<END
rcpt     full@*  452 4.2.2 Mailbox is full
rcpt     soft@*  first 1 451 4.7.1 Greylisted
message  *       first 1 lose-reply
mail     slow@*  delay 3
END
smtp-handler --listen 0 --port-file "$dir/port" --tls off \
    --no-auth-required --maildir "$dir/mail" --faults "$dir/faults" \
    --log-level error &
trap 'kill $!; rm -rf "$dir"' EXIT
until [ -s "$dir/port" ]; do sleep 0.1; done

send()	# FROM TO
{
	printf 'Subject: x\r\n\r\nHello\r\n' | curl -sS -m 1 --mail-from "$1" \
	    --mail-rcpt "$2" -T - "smtp://127.0.0.1:$(cat "$dir/port")"
}

if send me@example.org full@example.org; then exit 1; fi	# 452
if send me@example.org soft@example.org; then exit 1; fi	# 451, once
if send me@example.org soft@example.org; then exit 1; fi	# a lost reply
send me@example.org soft@example.org
if send slow@example.org you@example.org; then exit 1; fi	# too slow
test "$(ls "$dir/mail/new" | wc -l)" -eq 2	# with the one of the lost reply
echo "curl does as it should"
