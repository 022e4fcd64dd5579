#!/usr/bin/env python3
"""Mutants: one operator, constant or condition of a module is changed at a
time, and some test must notice.

    tests/mutants/mutants.py [-j N] [--list] [--show] [MODULE...]

A module is compiled with the change and linked with its tests (see TESTS);
a test program that fails, crashes or hangs has killed the mutant.  What is
left alive is looked up in tests/mutants/alive: mutants that change nothing,
each with the reason.  Exit 0 where fewer than one in twenty of the others is
alive, as "make mutants" wants it.  Nothing in the source tree is touched."""

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
ALIVE = pathlib.Path(__file__).with_name("alive")
LIMIT = 60      # seconds for one test program

# Which programs speak for which sources: unit tests by name, and the walks
# through every dialogue.
SMTP = ["unit/test_smtp", "unit/test_smtp_bdat", "unit/test_smtp_extensions",
        "exhaust/smtp 2"]
POP3 = ["unit/test_pop3", "unit/test_pop3_text", "exhaust/pop3 3"]
MAILDIR = ["unit/test_maildir", "unit/test_maildir_index",
           "unit/test_maildir_measure", "unit/test_maildir_cache"]
RELAY = ["unit/test_relay_dialogue", "unit/test_relay"]
ACCOUNT = ["unit/test_account"]
TESTS = {
    "smtp-handler/smtp/": SMTP,
    "pop3-handler/pop3/": POP3,
    "common/protocol/dot.c": ["unit/test_dot"],
    "common/protocol/wire.c": ["unit/test_wire"],
    "common/protocol/sasl.c": ["unit/test_sasl"],
    "common/maildir/maildir_deliver.c": ["unit/test_maildir_deliver"],
    "common/maildir/maildir_scan.c": MAILDIR,
    "common/maildir/maildir_cache.c": MAILDIR,
    "common/system/conn.c": ["unit/test_conn"],
    "common/system/transport.c": ["unit/test_conn"],
    "common/relay/account.c": ACCOUNT,
    "common/relay/account_secret.c": ACCOUNT,
    "common/relay/next_hop.c": ACCOUNT,
    "common/relay/": RELAY,
    "common/protocol/smtp_client.c": ["unit/test_smtp_client"],
    "common/protocol/sasl_client.c": ["unit/test_sasl_client"],
    "common/login/auth.c": ["unit/test_auth"],
    "common/library/": ["unit/test_session", "unit/test_server"],
}

# What a slip of the hand does.
CHANGES = [
    (r"(?<![<>=!+\-*/&|^%])==(?!=)", "!="), (r"!=", "=="),
    (r"<=", "<"), (r">=", ">"),
    (r"(?<![<\-])<(?![<=])(?=\s)", "<="), (r"(?<![>\-])>(?![>=])(?=\s)", ">="),
    (r"&&", "||"), (r"\|\|", "&&"),
    (r"(?<=\s)\+(?=\s)", "-"), (r"(?<=[\w)\]]\s)-(?=\s)", "+"),
    (r"\+\+", "--"), (r"(?<![-(])--", "++"), (r"\+=", "-="),
    (r"-=", "+="), (r"\|=", "&="),
    (r"!(?=[\w(])", ""),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"\breturn 0;", "return -1;"), (r"\breturn -1;", "return 0;"),
    (r"\breturn (?=[a-z_]+\()", "return !"),
    (r"\bbreak;", ";"), (r"\bcontinue;", ";"),
    (r"(?<![\w.'\"])[1-9]\d*(?![\w.'\"])", lambda m: str(int(m[0]) + 1)),
    (r"(?<![\w.'\"])0(?![\w.'\"])", "1"),
]
# A statement that is a call, or an assignment, and stands alone on its line.
STATEMENT = re.compile(r"^\t+[a-z_]+(?:->[a-z_.>-]+|\([^=]*\)| = [^{]*);$")


def blanked(text):
    """The text with comments, strings and character constants replaced by
    blanks of the same length, and preprocessor lines too."""
    pattern = (r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
               r"|^[ \t]*#(?:[^\n\\]|\\.|\\\n)*")
    return re.sub(pattern,
                  lambda m: re.sub(r"[^\n]", " ", m[0]), text,
                  flags=re.S | re.M)


class Mutant:
    def __init__(self, source, text, start, end, new):
        self.source = source
        self.line = text.count("\n", 0, start) + 1
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", end)
        self.was = text[first:last].strip()
        self.text = text[:start] + new + text[end:]
        self.now = (text[first:start] + new + text[end:last]).strip()
        # The line's words and the change: stays the same when lines move.
        self.name = hashlib.sha256(
            f"{source}\n{self.was}\n{self.now}".encode()).hexdigest()[:10]

    def __str__(self):
        return (f"{self.name} {self.source}:{self.line}: "
                f"{self.was}  ->  {self.now}")


def mutants_of(source):
    text = (ROOT / source).read_text()
    plain = blanked(text)
    body = plain.find("\n{")        # not in declarations at the top
    found = {}
    for pattern, new in CHANGES:
        for match in re.finditer(pattern, plain):
            if match.start() < body:
                continue
            replacement = new(match) if callable(new) else new
            mutant = Mutant(source, text, match.start(), match.end(),
                            replacement)
            if "assert" not in mutant.was:
                found[mutant.name] = mutant
    position = 0
    for line in plain.splitlines(keepends=True):
        if position > body and STATEMENT.match(line.rstrip("\n")) \
                and "assert" not in line:
            start = position + len(line) - len(line.lstrip("\t"))
            end = position + len(line.rstrip("\n"))
            mutant = Mutant(source, text, start, end, ";")
            found[mutant.name] = mutant
        position += len(line)
    return list(found.values())


def tests_for(source):
    for prefix, tests in TESTS.items():
        if source.startswith(prefix):
            return tests
    return []


class Linker:
    """Compiles a mutant and links it in front of the archives."""

    def __init__(self):
        self.compile = (BUILD / "obj/flags").read_text().split()
        self.libraries = [BUILD / name for name in
                          ("libpop3.a", "libsmtp.a", "libcommon.a")]

    def build(self, mutant, tests, folder):
        """True where it compiles, and the programs are there."""
        source = folder / pathlib.Path(mutant.source).name
        source.write_text(mutant.text)
        made = subprocess.run(
            [*self.compile, "-w", "-O1", "-c", "-o", folder / "mutant.o",
             source], cwd=ROOT, capture_output=True, check=False)
        if made.returncode != 0:
            return False
        objects = {}
        for archive in self.libraries:
            # The archive without the object that the mutant replaces
            copy = folder / archive.name
            copy.write_bytes(archive.read_bytes())
            subprocess.run(["ar", "d", copy, f"{source.stem}.o"], check=True,
                           capture_output=True)
            objects[archive.name] = copy
        for test in tests:
            name = test.split()[0]
            kind, _, stem = name.partition("/")
            more = {"unit": [BUILD / f"obj/tests/unit/{stem}.o"],
                    "exhaust": [BUILD / f"obj/tests/exhaust/exhaust_{stem}.o",
                                BUILD / "obj/tests/exhaust/exhaust.o"]}[kind]
            subprocess.run(
                [self.compile[0], "-pthread", "-pie", "-o",
                 folder / name.replace("/", "_"), *more, folder / "mutant.o",
                 "-Wl,--start-group", *objects.values(), "-Wl,--end-group",
                 "-ltls", "-lcrypto", "-lcrypt", "-lcmocka"],
                check=True, cwd=ROOT, capture_output=True)
        return True


def is_killed(tests, folder):
    for test in tests:
        name, *words = test.split()
        try:
            done = subprocess.run(
                [folder / name.replace("/", "_"), *words], cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return True
        if done.returncode != 0:
            return True
    return False


def judge(linker, mutant):
    """"killed", "alive", or "not C"."""
    tests = tests_for(mutant.source)
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = pathlib.Path(name)
        if not linker.build(mutant, tests, folder):
            return "not C"
        return "killed" if is_killed(tests, folder) else "alive"


def known_alive():
    """{name: reason}"""
    found = {}
    if ALIVE.exists():
        for line in ALIVE.read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, reason = line.partition(" ")
                found[name] = reason
    return found


def sources(wanted):
    every = [str(path.relative_to(ROOT)) for folder in
             ("common", "smtp-handler", "pop3-handler")
             for path in sorted((ROOT / folder).rglob("*.c"))]
    return [source for source in every if tests_for(source)
            and (not wanted or any(word in source for word in wanted))]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-j", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    options = parser.parse_args()
    mutants = [mutant for source in sources(options.modules)
               for mutant in mutants_of(source)]
    if options.list:
        for mutant in mutants:
            print(mutant)
        return 0
    linker = Linker()
    known = known_alive()
    counts = {"killed": 0, "alive": 0, "not C": 0, "explained": 0}
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        verdicts = pool.map(lambda mutant: judge(linker, mutant), mutants)
        for number, (mutant, verdict) in enumerate(zip(mutants, verdicts), 1):
            if verdict == "alive" and mutant.name in known:
                verdict = "explained"
            counts[verdict] += 1
            if verdict == "alive":
                print(mutant, flush=True)
            if number % 50 == 0:
                print(f"{number} of {len(mutants)} ...", file=sys.stderr)
    tried = counts["killed"] + counts["alive"]
    share = counts["killed"] / tried if tried else 0
    print(f"{counts['killed']} killed, {counts['alive']} alive, "
          f"{counts['explained']} explained in {ALIVE.relative_to(ROOT)}, "
          f"{counts['not C']} no C: {share:.1%}")
    return 0 if share >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
