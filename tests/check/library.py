#!/usr/bin/python3
"""libmailhandlers: its header, its two libraries, the list of symbols and the
man pages have the same functions, and the pages their prototypes."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
FOLDER = ROOT / "common" / "library"
PAGES = [ROOT / "man" / f"{name}.3"
         for name in ("mailhandlers", "mh_session", "mh_pop3")]

failed = False


def fail(text):
    global failed
    failed = True
    print(f"library: {text}", file=sys.stderr)


def squeeze(text):
    text = re.sub(r"\s+", " ", text)
    return re.sub(r" ?([*(),]) ?", r"\1", text).strip()


def header():
    """Prototypes by name, comments taken out."""
    text = re.sub(r"/\*.*?\*/", "", (FOLDER / "mailhandlers.h").read_text(),
                  flags=re.S)
    return {name: squeeze(f"{kind}{name}({arguments})")
            for kind, name, arguments in re.findall(
                r"^((?:[a-z_0-9]+[ *]+)+)(mh_\w+)\(([^;{]*)\);", text, re.M)}


def words(line):
    return [quoted or word for quoted, word in
            re.findall(r'"([^"]*)"|(\S+)', line)]


def page(path):
    """Names of NAME, and prototypes of SYNOPSIS, by name."""
    text = path.read_text()
    names = re.findall(r"^\.Nm (mh_\w+)",
                       text.split(".Sh LIBRARY")[0], re.M)
    synopsis = text.split(".Sh SYNOPSIS")[1].split(".Sh DESCRIPTION")[0]
    prototypes, kind = {}, ""
    for line in synopsis.splitlines():
        if line.startswith(".Ft "):
            kind = words(line)[1]
        elif line.startswith(".Fn "):
            _, name, *arguments = words(line)
            prototypes[name] = squeeze(
                f"{kind} {name}({','.join(arguments)})")
    description = text.split(".Sh DESCRIPTION")[1]
    for name in prototypes:
        if not re.search(rf"^\.Fn {name}\b", description, re.M):
            fail(f"{path.name} does not describe {name}")
    if sorted(names) != sorted(prototypes):
        fail(f"{path.name}: NAME and SYNOPSIS differ: "
             f"{set(names) ^ set(prototypes)}")
    return prototypes


def symbols(*arguments):
    lines = subprocess.run(["nm", "--defined-only", *arguments], check=True,
                           capture_output=True, text=True).stdout
    return sorted(line.split()[2].partition("@")[0]
                  for line in lines.splitlines()
                  if len(line.split()) == 3 and line.split()[1] != "A" and
                  not line.split()[2].startswith(("__asan", "__odr_asan",
                                                  "__sancov")))


def main():
    promised = header()
    documented = {}
    for path in PAGES:
        for name, prototype in page(path).items():
            if name in documented:
                fail(f"{name} is in two pages")
            documented[name] = prototype
    for name in promised.keys() | documented.keys():
        if promised.get(name) != documented.get(name):
            fail(f"{name}: the header has {promised.get(name)}, "
                 f"the pages {documented.get(name)}")
    listed = (FOLDER / "mailhandlers.symbols").read_text().split()
    if listed != sorted(promised):
        fail("mailhandlers.symbols and the header differ: "
             f"{set(listed) ^ set(promised)}")
    for kind, found in (
            ("libmailhandlers.so.0",
             symbols("-D", BUILD / "libmailhandlers.so.0")),
            ("libmailhandlers.a",
             symbols("-g", BUILD / "libmailhandlers.a"))):
        if found != listed:
            fail(f"{kind} and mailhandlers.symbols differ: "
                 f"{set(found) ^ set(listed)}")
    # What every event is for is said, too
    text = PAGES[0].read_text() + PAGES[1].read_text()
    for name in re.findall(r"^\t(MH_[A-Z]+)[, ]",
                           (FOLDER / "mailhandlers.h").read_text(), re.M):
        if name not in text:
            fail(f"no page knows {name}")
    if len(promised) < 30:
        fail("the header was not understood")
    if not failed:
        print("library: ok")
    return failed


sys.exit(main())
