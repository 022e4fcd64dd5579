#!/bin/sh
# How many lines of each file the tests just run have reached, from what a
# build with --coverage left in BUILD. Which ones: BUILD/lines, a .gcov for
# each file, where ##### marks a line that was not.
#
#	tests/coverage.sh BUILD [SOURCE...]	GCOV='llvm-cov gcov' for clang's

set -eu

cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
shift
rm -rf "$build/lines"
mkdir "$build/lines"
# It looks for the sources where it runs, and names them so.
ln -s "$PWD/common" "$PWD/pop3-handler" "$PWD/smtp-handler" "$build/lines"

# An object that no test loaded has no .gcda: all of its lines count as missed.
if [ $# -gt 0 ]; then
	for source; do
		echo "$build/obj/${source%.c}.gcno"
	done
else
	for folder in common pop3-handler smtp-handler; do
		find "$build/obj/$folder" -name '*.gcno'
	done
fi | while read -r notes; do
	(cd "$build/lines" && ${GCOV:-gcov} -p -s "$OLDPWD" -r \
	    "${notes%.gcno}.gcda" 2>/dev/null || :)
done >"$build/lines/said"

# Headers with functions are told once for each file that includes them.
awk -F "'" '
	/^File/ { file = $2 }
	/^Lines executed/ && file != "" {
		split($0, part, /[:% ]+/)
		count = part[5]
		reached = int(count * part[3] / 100 + .5)
		if (reached >= best[file]) { best[file] = reached }
		lines[file] = count
		file = ""
	}
	/^$/ { file = "" }
	END { for (file in lines) print file, best[file], lines[file] }
' "$build/lines/said" | sort | awk '
	function row(name, reached, lines) {
		printf "%-44s %6d of %6d  %5.1f %%\n", name, reached, lines,
		    lines ? 100 * reached / lines : 100
	}
	{ row($1, $2, $3); reached += $2; lines += $3 }
	END { row("all", reached, lines); exit lines == 0 }'
echo "lines not reached: grep -n '#####' $build/lines/*.gcov"
