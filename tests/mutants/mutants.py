#!/usr/bin/env python3
"""Mutants: one operator, constant, condition or statement of a module is
changed at a time, and some test must notice.

    tests/mutants/mutants.py [-j N] [-n N] [--list] [WORD...]

A WORD is a part of a source's path, or a mutant's name; without one, all
sources that TESTS has.  Of a source that allows for more than N changes (20;
0 is all of them), N are tried: always the same ones, spread evenly.

A mutant is compiled and linked in front of the archives with the module's
tests.  A test that fails, crashes or hangs has killed it; tests that killed
lately run first.  What the compiler turns into the same program is no mutant.
What is left alive is looked up in tests/mutants/alive, two lines for each:

    NAME SOURCE FUNCTION: BEFORE -> AFTER
        why no test can, or need, notice

NAME stays the same where lines are moved and becomes another one where the
line is changed.  A line "/PATTERN/" stands for all that have it.

The exit status is 0 where at most one in twenty of the others is alive.
Nothing in the source tree is touched."""

import argparse
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
ALIVE = HERE / "alive"
SAMPLE = 20

# Which programs speak for which sources: unit tests, walks through every
# dialogue, corpora of the fuzzers; the quick ones first.
SMTP = ["replay/smtp", "exhaust/smtp 2", "unit/test_smtp_answers",
        "unit/test_smtp_bdat", "unit/test_smtp", "unit/test_smtp_extensions"]
POP3 = ["replay/pop3", "exhaust/pop3 3", "unit/test_pop3_text",
        "unit/test_pop3_answers", "unit/test_pop3"]
MAILDIR = ["unit/test_maildir_index", "unit/test_maildir_open",
           "unit/test_maildir_cache",
           "unit/test_maildir_rescan", "unit/test_maildir_meanwhile",
           "unit/test_maildir_remove", "unit/test_maildir_measure",
           "unit/test_maildir"]
RELAY = ["unit/test_relay_connect", "unit/test_relay_calls",
         "unit/test_relay_text", "unit/test_relay_dialogue",
         "unit/test_relay_aliases", "unit/test_relay_tls",
         "unit/test_relay"]
ACCOUNT = ["replay/account", "unit/test_account"]
TESTS = {
    "smtp-handler/smtp/": SMTP,
    "pop3-handler/pop3/": POP3,
    "common/protocol/dot.c": ["replay/dot", "unit/test_dot"],
    "common/protocol/wire.c": ["unit/test_wire"],
    "common/protocol/sasl.c": ["replay/sasl", "unit/test_sasl"],
    "common/maildir/maildir_deliver.c": ["unit/test_maildir_disk",
                                         "unit/test_maildir_deliver"],
    "common/maildir/maildir_scan.c": MAILDIR,
    "common/maildir/maildir_cache.c": ["replay/maildir_cache",
                                       "unit/test_maildir_cache_file",
                                       *MAILDIR],
    "common/maildir/maildir_doubles.c": ["unit/test_maildir_doubles",
                                         *MAILDIR],
    "common/maildir/maildir_entries.c": ["unit/test_maildir_entries",
                                         *MAILDIR],
    "common/maildir/maildir_folder.c": ["unit/test_maildir_folder", *MAILDIR],
    "common/maildir/maildir_name.c": ["unit/test_maildir_name", *MAILDIR],
    "common/maildir/maildir_sort.c": ["unit/test_maildir_sort", *MAILDIR],
    "common/maildir/": MAILDIR,
    "common/system/conn.c": ["unit/test_conn_waits", "unit/test_conn_ends",
                             "unit/test_conn_tls", "unit/test_conn"],
    "common/system/transport.c": ["unit/test_transport", "unit/test_conn"],
    "common/system/connect.c": ["unit/test_relay_connect"],
    "common/system/confine_calls.c": ["unit/test_confine_calls",
                                      "unit/test_confine"],
    "common/relay/account.c": ACCOUNT,
    "common/relay/account_secret.c": ACCOUNT,
    "common/relay/next_hop.c": ACCOUNT,
    "common/relay/": RELAY,
    "common/protocol/smtp_client.c": ["replay/smtp_client",
                                      "unit/test_smtp_client"],
    "common/protocol/sasl_client.c": ["unit/test_sasl_client"],
    "common/login/auth.c": ["unit/test_auth"],
    "common/library/session": ["unit/test_session_answers",
                               "unit/test_session_limits",
                               "replay/session", "unit/test_session",
                               "unit/test_server_tls", "unit/test_server"],
    "common/library/": ["unit/test_server_calls", "unit/test_server_limits",
                        "unit/test_server_loop", "unit/test_server_tls",
                        "unit/test_server"],
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
    # But not -1, and not what the two lines with "return" change
    (r"(?<![\w.'\"-])[1-9]\d*(?![\w.'\"])", lambda m: str(int(m[0]) + 1)),
    (r"(?<!return )(?<![\w.'\"])0(?![\w.'\"])", "1"),
]
# A statement that is a call, or an assignment, on lines of its own.
STATEMENT = re.compile(r"^\t+(\w+(?:(?:(?:->|\.)[\w.>\[\]-]+)?"
                       r" [|+-]?= [^{;]*|\([^=;]*\));)$", re.M)
# A buffer that is larger than it need be changes nothing.
ARRAY = re.compile(r"^\t*(?:static |const |unsigned |struct )*\w+ \*?\w+"
                   r"\[([^]\n-]*)\](?: = .*|;)$", re.M)


def blanked(text):
    """The text with comments, strings and character constants replaced by
    blanks of the same length; preprocessor lines and the lengths of arrays
    too."""
    pattern = (r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
               r"|^[ \t]*#(?:[^\n\\]|\\.|\\\n)*")
    text = re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text,
                  flags=re.S | re.M)
    # Of assertions, those over several lines too, nothing is changed
    text = re.sub(r"\bassert\([^;]*;",
                  lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    return ARRAY.sub(lambda m: m[0].replace(
        f"[{m[1]}]", "[" + re.sub(r"\d", " ", m[1]) + "]", 1), text)


class Mutant:
    def __init__(self, source, text, start, end, new):
        self.source = source
        self.line = text.count("\n", 0, start) + 1
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", end)
        self.was = text[first:last].strip()
        self.now = (text[first:start] + new + text[end:last]).strip()
        self.text = text[:start] + new + text[end:]
        names = re.findall(r"^(\w+)\(", text[:first], re.M)
        self.function = names[-1] if names else "-"
        self.name = None

    def set_name(self, count):
        """COUNT: how many like it there are before it in its function."""
        words = (self.source, self.function, self.was, self.now, str(count))
        self.name = hashlib.sha256("\n".join(words).encode()).hexdigest()[:10]

    def __str__(self):
        # A statement of several lines is one here
        was, now = (" ".join(text.split()) for text in (self.was, self.now))
        return f"{self.name} {self.source} {self.function}: {was} -> {now}"


def mutants_of(source):
    text = (ROOT / source).read_text()
    plain = blanked(text)
    body = plain.find("\n{")        # not in declarations at the top
    places = [(match.start(), match.end(),
               new(match) if callable(new) else new)
              for pattern, new in CHANGES
              for match in re.finditer(pattern, plain)]
    places += [(match.start(1), match.end(1), ";")
               for match in STATEMENT.finditer(plain)]
    found, alike = [], collections.Counter()
    for start, end, new in sorted(set(places)):
        mutant = Mutant(source, text, start, end, new)
        if start < body:
            continue
        key = (mutant.function, mutant.was, mutant.now)
        mutant.set_name(alike[key])
        alike[key] += 1
        found.append(mutant)
    return found


def tests_for(source):
    for prefix, tests in TESTS.items():
        if source.startswith(prefix):
            return tests
    return []


def wrapped_calls():
    """{unit test: options for ld}, as the Makefile links them."""
    return {f"unit/{name}": words.split() for name, words in re.findall(
        r"tests/unit/(\w+): TEST_LIBS = (?:\\\n\t)?(.*)",
        (ROOT / "Makefile").read_text())}


class Tests:
    """Compiles and links mutants, and runs tests with them."""

    def __init__(self):
        self.compile = (BUILD / "obj/flags").read_text().split()
        self.archives = [BUILD / name for name in (
            "smtp-handler.a", "liblibrary.a", "libpop3.a", "libsmtp.a",
            "libcommon.a")]
        self.wrapped = wrapped_calls()
        self.lock = threading.Lock()
        self.killers = collections.defaultdict(list)    # latest first
        self.limits = {}        # seconds, and seconds of CPU
        self.same = {}          # what sources become where nothing is changed

    def make(self, text, target, folder):
        """True where it compiles."""
        # From standard input: errors and assertions name no file
        return subprocess.run(
            [*self.compile, "-w", "-g0", "-x", "c", "-c", "-o",
             folder / target, "-"], input=text.encode(), cwd=ROOT,
            capture_output=True, check=False).returncode == 0

    def link(self, test, changed, folder):
        kind, _, stem = test.split()[0].partition("/")
        objects = BUILD / "obj/tests"
        more = {"unit": [objects / f"unit/{stem}.o", self.first(),
                         "-Wl,--wrap=_cmocka_run_group_tests", "-lcmocka"],
                "replay": [objects / f"fuzz/fuzz_{stem}.o",
                           objects / "fuzz/replay.o"],
                "exhaust": [objects / f"exhaust/exhaust_{stem}.o",
                            objects / "exhaust/exhaust.o"]}[kind]
        program = folder / f"{kind}_{stem}"
        # What the mutant has is not looked for in the archives
        made = subprocess.run(
            [self.compile[0], "-pthread", "-pie", "-fsanitize=leak", "-o",
             program, *changed, *more, *self.wrapped.get(test, []),
             "-Wl,--start-group", *self.archives, "-Wl,--end-group",
             "-ltls", "-lcrypto", "-lcrypt"],
            cwd=ROOT, capture_output=True, check=False)
        return program if made.returncode == 0 else None

    def first(self):
        with self.lock:
            made = BUILD / "tests/mutants/first.o"
            if not made.exists() or (made.stat().st_mtime
                                     < (HERE / "first.c").stat().st_mtime):
                made.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run([*self.compile, "-w", "-c", "-o", made,
                                HERE / "first.c"], check=True, cwd=ROOT)
        return made

    def run(self, test, program, limits, folder):
        """What of the test failed, None where nothing did."""
        name, *words = test.split()
        kind, _, stem = name.partition("/")
        if kind == "replay":
            words = [ROOT / "tests/fuzz/corpus" / stem]
        wall, cpu = limits
        with open(folder / "output", "w+b") as output:
            process = subprocess.Popen(
                ["sh", "-c", f"ulimit -t {cpu}; ulimit -c 0; exec \"$@\"",
                 "sh", program, *words], cwd=ROOT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "MAILTEST_DIR": str(folder),
                     "CMOCKA_MESSAGE_OUTPUT": "STDOUT",
                     "CMOCKA_TEST_ABORT": "1",
                     "MUTANTS_FIRST": " ".join(self.killers[name])})
            try:
                status = process.wait(wall)
            except subprocess.TimeoutExpired:
                status = None
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            output.seek(0)
            begun = re.findall(rb"^\[ RUN +\] (\w+)", output.read(), re.M)
        if status == 0:
            return None
        return begun[-1].decode() if begun else name

    def measure(self, source):
        """How long the tests of a source take, and that they pass."""
        with tempfile.TemporaryDirectory(prefix="mutant-") as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            self.make((ROOT / source).read_text(), "same.o", folder)
            self.same[source] = (folder / "same.o").read_bytes()
            for test in tests_for(source):
                if test in self.limits:
                    continue
                program = self.link(test, [folder / "same.o"], folder)
                if program is None:
                    sys.exit(f"{test}: cannot be linked with {source}")
                began = time.monotonic()
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                failed = self.run(test, program, (120, 60), folder)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if failed:
                    sys.exit(f"{test}: {failed} fails with nothing changed")
                self.limits[test] = (
                    30 + 6 * (time.monotonic() - began),
                    5 + int(4 * (after.ru_utime - before.ru_utime)))

    def judge(self, mutant):
        """"killed", "alive", "same" or "not C"."""
        with tempfile.TemporaryDirectory(prefix="mutant-") as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)     # some tests drop root
            if not self.make(mutant.text, "mutant.o", folder):
                return "not C"
            changed = folder / "mutant.o"
            if changed.read_bytes() == self.same[mutant.source]:
                return "same"
            for test in tests_for(mutant.source):
                program = self.link(test, [changed], folder)
                if program is None:
                    return "not C"
                failed = self.run(test, program, self.limits[test], folder)
                if failed:
                    self.remember(test.split()[0], failed)
                    return "killed"
            return "alive"

    def remember(self, program, killer):
        with self.lock:
            killers = self.killers[program]
            if killer in killers:
                killers.remove(killer)
            killers.insert(0, killer)


class Explained:
    """What the file says."""

    def __init__(self):
        lines = ALIVE.read_text().splitlines() if ALIVE.exists() else []
        entries = [line for line in lines if line[:1] not in ("", "#", "\t")]
        self.patterns = [re.compile(line[1:-1]) for line in entries
                         if line.startswith("/")]
        self.names = {line.split()[0] for line in entries}

    def covers(self, mutant):
        return mutant.name in self.names or any(
            pattern.search(str(mutant)) for pattern in self.patterns)


def chosen(words, sample):
    """{source: mutants to try}, and the names of all that there are."""
    every = [str(path.relative_to(ROOT)) for folder in
             ("common", "smtp-handler", "pop3-handler")
             for path in sorted((ROOT / folder).rglob("*.c"))]
    found, names = {}, {}
    for source in every:
        if not tests_for(source):
            continue
        mutants = mutants_of(source)
        wanted = [mutant for mutant in mutants if mutant.name in words]
        if not words or any(word in source for word in words):
            # Names are digests: the lowest ones lie anywhere
            wanted = sorted(mutants, key=lambda mutant: mutant.name)
            wanted = wanted[:sample or None]
        if wanted:
            found[source] = wanted
            names[source] = {mutant.name for mutant in mutants}
    return found, names


def try_source(tests, pool, source, mutants, known):
    """How many of which verdict; prints what is alive and not explained."""
    counts = collections.Counter()
    tests.measure(source)
    for mutant, verdict in zip(mutants, pool.map(tests.judge, mutants)):
        if verdict == "alive" and known.covers(mutant):
            verdict = "explained"
        elif mutant.name in known.names:
            print(f"{mutant}\n    is {verdict}, and explained in vain")
        if verdict == "alive":
            print(f"{mutant}    (line {mutant.line})", flush=True)
        counts[verdict] += 1
    return counts


def share_of(counts):
    tried = counts["killed"] + counts["alive"]
    return counts["killed"] / tried if tried else 1


def row(name, of, counts):
    verdicts = ("killed", "alive", "explained", "same", "not C")
    return "| " + " | ".join([
        name, str(of), *(str(counts[verdict]) for verdict in verdicts),
        f"{share_of(counts):.1%}"]) + " |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-j", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("-n", type=int, default=SAMPLE, metavar="N")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    sources, names = chosen(options.words, options.n)
    if options.list:
        for mutants in sources.values():
            print(*mutants, sep="\n")
        return 0
    known = Explained()
    tests, rows, total = Tests(), [], collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        for source, mutants in sources.items():
            print(f"{source} ...", file=sys.stderr, flush=True)
            counts = try_source(tests, pool, source, mutants, known)
            rows.append(row(source, len(names[source]), counts))
            print(rows[-1], file=sys.stderr, flush=True)
            total += counts
    print("| source | of | killed | alive | explained | same | no C | |\n"
          "| --- | --: | --: | --: | --: | --: | --: | --: |")
    print(*rows, row("all", sum(map(len, names.values())), total), sep="\n")
    return 0 if share_of(total) >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
