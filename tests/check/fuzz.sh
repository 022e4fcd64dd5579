#!/bin/sh
# Every fuzzer's corpus passes its checks.

set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
failed=0

for source in tests/fuzz/fuzz_*.c; do
	module=$(basename "$source" .c)
	module=${module#fuzz_}
	if [ ! -d "tests/fuzz/corpus/$module" ]; then
		echo "fuzz: tests/fuzz/corpus/$module is missing" >&2
		failed=1
		continue
	fi
	"$build/tests/fuzz/replay_$module" "tests/fuzz/corpus/$module" ||
	    failed=1
done
exit $failed
