"""Tables of results: on the terminal, in RESULTS.md and in README.md.

A benchmark returns tables; they are kept below $BUILD/bench/results, so that
one benchmark can be run again and all of them be recorded.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess

import rig

RESULTS = rig.WORK / "results"
HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ("libtls26", "dovecot-pop3d", "courier-pop", "postfix")

# What the machine was doing before we came; children are told
os.environ.setdefault("BENCH_LOAD", f"{os.getloadavg()[0]:.1f}")
BUSY = 0.5


class Target:
    """The target that a row is held to."""

    def __init__(self, text, met):
        self.text, self.met = text, met


def at_most(limit):
    return Target(f"at most {limit:g}", lambda a, b: a / b <= limit)


def at_least(limit):
    return Target(f"at least {limit:g}", lambda a, b: a / b >= limit)


def below(limit, unit):
    """Of ours alone."""
    return Target(f"under {limit:g} {unit}", lambda a, b: a < limit)


class Table:
    def __init__(self, title, *columns, note=""):
        self.title, self.note = title, note
        self.columns, self.rows = list(columns), []

    def add(self, *cells):
        self.rows.append([str(cell) for cell in cells])

    def text(self):
        widths = [max(len(row[i]) for row in [self.columns, *self.rows])
                  for i in range(len(self.columns))]
        words = self.columns.index("which") if "which" in self.columns else 0
        lines = [self.title]
        for row in [self.columns, *self.rows]:
            cells = [cell.ljust(width) if i in (0, words)
                     else cell.rjust(width)
                     for i, (cell, width) in enumerate(zip(row, widths))]
            lines.append("  " + "  ".join(cells).rstrip())
        if self.note:
            lines += ["", *("  " + line for line in wrap(self.note, 76))]
        return "\n".join(lines) + "\n"

    def markdown(self):
        align = ["---"] + ["---:"] * (len(self.columns) - 1)
        lines = [f"| {' | '.join(row)} |"
                 for row in [self.columns, align, *self.rows]]
        note = "\n" + "\n".join(wrap(self.note)) + "\n" if self.note else ""
        return "\n".join(lines) + "\n" + note

    def select(self, pattern):
        """A table of the rows whose name matches."""
        some = Table(self.title, *self.columns)
        some.rows = [row for row in self.rows if re.search(pattern, row[0])]
        return some


class Comparison(Table):
    """Ours beside something else's, in one unit."""

    def __init__(self, title, unit, note=""):
        super().__init__(title, f"{unit}", "ours", "other", "ratio",
                         "target", "met", note=note)

    def row(self, what, ours, other=None, target=None, digits=2):
        def show(value):
            return "" if value is None else f"{value:,.{digits}f}"
        met = ""
        if target:
            met = "yes" if target.met(ours, other) else "NO"
        self.add(what, show(ours), show(other),
                 f"{ours / other:.2f}" if other else "",
                 target.text if target else "", met)


def wrap(text, width=79):
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


# Keeping

def save(name, tables):
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({
        "date": str(datetime.date.today()),
        "load": float(os.environ["BENCH_LOAD"]),
        "tables": [{"title": table.title, "columns": table.columns,
                    "rows": table.rows, "note": table.note}
                   for table in tables]}, indent=1))


def read(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def load(name):
    """Its tables, or None where it has not been run."""
    kept = read(name)
    if kept is None:
        return None
    tables = []
    for table in kept["tables"]:
        tables.append(Table(table["title"], *table["columns"],
                            note=table["note"]))
        tables[-1].rows = table["rows"]
    return tables


def machine():
    cpu = re.search(r"model name\s*: (.*)",
                    pathlib.Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"',
                       pathlib.Path("/etc/os-release").read_text())
    file_system = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", rig.WORK], text=True,
        stdout=subprocess.PIPE).stdout.strip()
    words = [f"{os.cpu_count()} CPUs"]
    if cpu:
        words.insert(0, cpu[1])
    if system:
        words.append(system[1])
    words += [f"Linux {os.uname().release.split('-')[0]}", file_system]
    for package in PACKAGES:
        done = subprocess.run(["apt-cache", "policy", package], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        candidate = re.search(r"Candidate: (\S+)", done.stdout)
        if candidate:
            words.append(f"{package} {candidate[1]}")
    return ", ".join(words)


# Recording

BEGIN = "<!-- Written by make bench RECORD=yes -->"
END = "<!-- until here -->"


def replace_block(path, text):
    """Put text between the two comments that mark its place."""
    head, begin, rest = path.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{path.name} has no place for the results")
    path.write_text(f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}")


def when(names):
    dates = sorted({read(name)["date"] for name in names})
    load = max(read(name)["load"] for name in names)
    text = f"{' to '.join(dates[:1] + dates[1:][-1:])}, {machine()}."
    if load > BUSY:
        text += (" The machine was busy with other work (load average up to "
                 f"{load}): believe the ratios, not the times.")
    return "\n".join(wrap(text)) + "\n"


def record(names, main):
    """RESULTS.md has all of it, README.md the main tables and the plot.
    main: [(benchmark, table's number, pattern of rows, name of a row)]."""
    missing = [name for name in names if not load(name)]
    if missing:
        print(f"bench: never measured: {', '.join(missing)}")
    names = [name for name in names if name not in missing]
    parts = ["# What it costs\n",
             "\n".join(wrap(
                 "Written by `make bench RECORD=yes MILLION=yes`, which "
                 "measures all of it again. Ratios are ours by the other's, "
                 "of one run, the programs in turn on the same machine.")),
             "", when(names)]
    for name in names:
        for table in load(name):
            parts.append(f"## {table.title}\n\n{table.markdown()}")
        if name == "scale":
            parts.append("![seconds against messages](pop3-scale.svg)\n")
    (HERE / "RESULTS.md").write_text("\n".join(parts))

    short = Table("", "what", "ours", "other", "ratio", "target", "met")
    for name, number, pattern, called in main:
        if name in missing:
            continue
        for what, *cells in load(name)[number].select(pattern).rows:
            short.add(called.format(what), *cells)
    replace_block(rig.ROOT / "README.md", f"{when(names)}\n"
                  f"{short.markdown()}\n![Seconds against messages for "
                  "pop3-handler, Dovecot and Courier]"
                  "(tests/bench/pop3-scale.svg)\n")
