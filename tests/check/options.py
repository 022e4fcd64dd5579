#!/usr/bin/python3
"""The man pages name the options that --help names, with the same values.

Compares `PROGRAM --help` with the `.It Fl -NAME Ar VALUE` entries of
man/PROGRAM.8 in both directions, and each program's options with the
settings that the shipped PROGRAM.conf names. Then mandoc's lint must have
nothing to say about any page.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
PROGRAMS = "pop3-handler", "smtp-handler"

failures = []


def fail(text):
    failures.append(text)
    print(f"options: {text}", file=sys.stderr)


def help_options(program):
    """{name: value name or None} of --help."""
    run = subprocess.run([BUILD / program, "--help"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, timeout=10)
    if run.returncode or run.stderr:
        fail(f"{program} --help: exit status {run.returncode}, {run.stderr!r}")
    found = {}
    for line in run.stdout.splitlines():
        match = re.match(r"  --(\S+)(?: ([^ a-z][^ a-z]*))?(?:  .*)?$", line)
        if match:
            if match[1] in found:
                fail(f"{program} --help: --{match[1]} twice")
            found[match[1]] = match[2]
        elif re.match(r" {1,2}-", line):
            fail(f"{program} --help: cannot read {line!r}")
    if not found:
        fail(f"{program} --help: no options in it")
    return found


def page_options(page):
    """{name: value name or None} of the page's `.It Fl` entries."""
    found = {}
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith(".It Fl"):
            continue
        match = re.match(r"\.It Fl -(\S+)(?: Ar (\S+))?$", line)
        if not match:
            fail(f"{page.name}:{number}: cannot read {line!r}")
        elif match[1] in found:
            fail(f"{page.name}:{number}: --{match[1]} twice")
        else:
            found[match[1]] = match[2]
    return found


def shown(name, value):
    return f"--{name} {value}" if value else f"--{name}"


def compare(program):
    page = ROOT / "man" / f"{program}.8"
    told, written = help_options(program), page_options(page)
    for name, value in told.items():
        if name not in written:
            fail(f"{page.name} lacks {shown(name, value)}")
        elif written[name] != value:
            fail(f"{page.name} has {shown(name, written[name])}, "
                 f"--help has {shown(name, value)}")
    for name, value in written.items():
        if name not in told:
            fail(f"{page.name} has {shown(name, value)}, --help does not")
    # Settings in the sample, those commented out too.
    sample = ROOT / "units" / f"{program}.conf"
    for number, line in enumerate(sample.read_text().splitlines(), 1):
        match = re.match(r"#?([a-z0-9-]+) *=", line)
        if match and match[1] not in told:
            fail(f"{sample.name}:{number}: there is no --{match[1]}")


def lint():
    pages = sorted((ROOT / "man").glob("*.[1-9]"))
    if not pages:
        fail("no pages in man/")
    for page in pages:
        run = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", page.name],
            cwd=page.parent, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        if run.returncode or run.stdout:
            fail(f"{page.name}: exit status {run.returncode}\n"
                 f"{run.stdout.rstrip()}")


def main():
    for program in PROGRAMS:
        compare(program)
    lint()
    if failures:
        sys.exit(1)
    print("options: ok")


main()
