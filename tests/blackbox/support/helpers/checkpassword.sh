#!/bin/sh
# A checkpassword (cr.yp.to/checkpwd/interface.html):
#
#	checkpassword.sh PASSWORDS PROGRAM [ARGUMENT...]
#
# PASSWORDS has lines "name password", the password the rest of the line.
# Becomes PROGRAM where name and password are right.

[ $# -ge 2 ] || exit 2
passwords=$1
shift

# name NUL password NUL timestamp NUL
given=$(tr '\000' '\012' <&3) || exit 111
exec 3<&-
[ "$(printf '%s\n' "$given" | wc -l)" -eq 3 ] || exit 2
{ IFS= read -r name; IFS= read -r password; read -r when; } <<EOF
$given
EOF
case $when in
'' | *[!0-9]*) exit 2 ;;
esac
[ -r "$passwords" ] || exit 111
while IFS= read -r line; do
	[ "$line" = "$name $password" ] && exec "$@"
done <"$passwords"
exit 1
