#!/bin/sh
# Every dialogue of up to 3 lines from where each configuration begins; deeper
# ones are for "make exhaust".

set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}

"$build/tests/exhaust/smtp" 3
"$build/tests/exhaust/pop3" 3
