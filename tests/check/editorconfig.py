#!/usr/bin/python3
"""Every text file is as .editorconfig says: what it may be indented with, how
long a line may be, no blanks at the end of one."""

import fnmatch
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
# Made by others, or by hand for what is in them
SKIP = ("build", ".git", "corpus", "dict", "__pycache__")


def patterns(header):
    """*.{c,h} is *.c and *.h."""
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", header)
    if not match:
        return [header]
    return [match[1] + part + match[3] for part in match[2].split(",")]


def rules():
    """[(patterns, {name: value})], the later ones first in importance."""
    found = []
    for line in (ROOT / ".editorconfig").read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            found.append((patterns(line[1:-1]), {}))
        elif found and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[-1][1][name.strip()] = value.strip()
    return found


def files():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in set(folders) - set(SKIP)
                            if pathlib.Path(folder, name) != BUILD)
        yield from (pathlib.Path(folder, name) for name in sorted(names))


def faults(path, rule):
    """(line, what is wrong with it)."""
    try:
        text = path.read_bytes().decode(rule["charset"])
    except UnicodeDecodeError as error:
        return [(1, str(error))]
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        width = int(rule.get("max_line_length", 1_000_000))
        if len(line.expandtabs(int(rule.get("tab_width", 8)))) > width:
            found.append((number, f"more than {width} columns"))
        if (rule["trim_trailing_whitespace"] == "true"
                and line != line.rstrip(" \t\r")):
            found.append((number, "blanks at the end"))
        # In Python a text of C or shell may have tabs
        if rule.get("indent_style") == "tab" and line.startswith(" " * 8):
            found.append((number, "eight blanks where a tab belongs"))
    if text and not text.endswith("\n"):
        found.append((number, "no line end at the end"))
    return found


def main():
    failed, checked = 0, 0
    every = rules()
    for path in files():
        rule = {}
        for names, settings in every:
            if any(fnmatch.fnmatchcase(path.name, name) for name in names):
                rule.update(settings)
        if path.is_symlink() or b"\0" in path.read_bytes():
            continue
        checked += 1
        for number, fault in faults(path, rule):
            failed += 1
            print(f"{path.relative_to(ROOT)}:{number}: {fault}")
    print(f"editorconfig: {checked} files, {failed} faults")
    return 1 if failed or checked < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
