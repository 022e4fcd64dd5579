#!/bin/sh
# The tests that .github/SECURITY.md names for each claim are there.

cd "$(dirname "$0")/.." || exit 1
failed=0
names=$(grep -o '`[a-z]*/test_[A-Za-z0-9_.]*`' ../.github/SECURITY.md |
    tr -d '`' | sort -u)
[ -n "$names" ] || exit 1
for name in $names; do
	file=${name%%.*}
	class=${name#*.}
	if [ -e "$file.c" ]; then
		continue
	elif [ ! -e "$file.py" ]; then
		echo "security: $name is named and not there" >&2
		failed=1
	elif [ "$class" != "$name" ] && ! grep -q "^class $class(" "$file.py"
	then
		echo "security: $file has no $class" >&2
		failed=1
	fi
done
exit "$failed"
