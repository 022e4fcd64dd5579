#!/usr/bin/python3
"""What is in tests/examples/faults works, and README shows it as it is.

What README shows of a file stands behind a line that names it, in a block
indented by four blanks.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
EXAMPLES = ROOT / "tests" / "examples" / "faults"
failed = False


def fail(text):
    global failed
    failed = True
    print(f"examples: {text}", file=sys.stderr)


def shown(name):
    """The block in README."""
    text = (ROOT / "README.md").read_text()
    match = re.search(rf"`tests/examples/faults/{re.escape(name)}`[^\n]*\n\n"
                      r"((?:    [^\n]*\n|\n)+)", text)
    if not match:
        fail(f"README shows nothing of {name}")
        return ""
    return re.sub(r"(?m)^    ", "", match[1]).strip("\n")


def run(argv):
    environment = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, cwd=EXAMPLES, env=environment, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    if done.returncode:
        fail(f"{argv}: exit status {done.returncode}")
    return done.stdout


for path in sorted(EXAMPLES.iterdir()):
    if path.is_file() and shown(path.name) not in path.read_text():
        fail(f"README shows {path.name} otherwise than it is")
run([EXAMPLES / "client.sh"])
# Debian's, which has Debian's pytest
if "4 passed" not in run(["/usr/bin/python3", "-m", "pytest", "-q", "-p",
                          "no:cacheprovider", EXAMPLES / "test_client.py"]):
    fail("pytest ran something else")
sys.exit(failed)
