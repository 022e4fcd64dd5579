"""pop3-handler beside Debian's Dovecot and Courier on large maildirs.

What it costs to log in and see STAT, LIST and UIDL: the first time, later
when nothing has changed, and later with ten new messages.  Each server is
started on pipes as its super-server would start it after the login
(pop3-handler: before it), so that of ours more is measured.  Wall clock, the
best of several rounds, in turn on the same files.

$BENCH_MESSAGES (100000) messages of about 4.5 KB, and fractions of that; of
1 KB where they are $BENCH_MILLION (1000000).
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import bench_calls
import plot
import report
from peers import NOBODY, TOOLS
from rig import BUILD, WORK

MAILDIR = WORK / "scale"
CACHE = WORK / "scale-cache"
READALL = BUILD / "tests" / "bench" / "readall"
PLOT = WORK / "pop3-scale.svg"
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "100000"))
MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
             "--clear-groups"]
ROUNDS = 2              # first times
LATER = 5               # later ones in each
NEW = 10
LIMIT = 600             # seconds, after which a session hangs


# The servers: what starts one, what makes it forget

class Server:
    def __init__(self, name, argv, color, env=None, logs_in=True,
                 greets=True, forget=()):
        self.name, self.argv, self.color = name, argv, color
        self.env, self.logs_in, self.greets = env or {}, logs_in, greets
        self.forgets = forget

    def forget(self):
        for pattern in self.forgets:
            for path in pattern.parent.glob(pattern.name):
                path.unlink()

    def session(self):
        """Seconds from the start to the last octet of UIDL, peak KiB, number
        of messages."""
        # Pipes: on a socket Dovecot takes its caller for its master.
        start = time.perf_counter()
        with subprocess.Popen(
                [*AS_NOBODY, *map(str, self.argv)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, cwd=WORK,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                     "HOME": str(WORK), "USER": "nobody", **self.env},
                bufsize=0) as process:
            watch = threading.Timer(LIMIT, process.kill)
            watch.start()
            try:
                return self.talk(process, start)
            finally:
                watch.cancel()

    def talk(self, process, start):
        def say(line, end=b"\r\n"):
            process.stdin.write(line)
            return self.expect(process.stdout, end)

        if self.greets:
            say(b"")
        if self.logs_in:
            say(b"USER tester\r\nPASS secret\r\n", b"octets)\r\n")
        stat = say(b"STAT\r\n")
        size = len(say(b"LIST\r\n", b"\r\n.\r\n"))
        say(b"UIDL\r\n", b"\r\n.\r\n")
        seconds = time.perf_counter() - start
        count = int(stat.split()[1])
        if size < count * 4:
            raise RuntimeError(f"{self.name}: LIST of {size} octets")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        say(b"QUIT\r\n")
        return seconds, peak, count

    @staticmethod
    def expect(pipe, end):
        data = bytearray()
        while not data.endswith(end):
            piece = os.read(pipe.fileno(), 1 << 20)
            if not piece or data.startswith(b"-"):
                raise RuntimeError(f"ended with {bytes(data[-200:])!r}")
            data += piece
        return data


def servers():
    found = [Server(
        "pop3-handler",
        [BUILD / "pop3-handler", "--tls", "off", "--auth", "any", "--maildir",
         MAILDIR, "--cache-dir", CACHE, "--log-level", "error"],
        "#1f77b4", forget=[CACHE / "*"])]
    dovecot = pathlib.Path("/usr/lib/dovecot/pop3")
    if dovecot.exists():
        config = WORK / "dovecot.conf"
        config.write_text(
            f"base_dir = {WORK}/dovecot\nmail_location = maildir:{MAILDIR}\n"
            "protocols = pop3\nssl = no\nstats_writer_socket_path =\n")
        found.append(Server(
            "Dovecot", [dovecot, "-c", config], "#d62728", logs_in=False,
            greets=False, forget=[MAILDIR / "dovecot*"]))
    courier = TOOLS / "courier-pop/usr/lib/courier/courier/courierpop3d"
    if courier.exists():
        lib = TOOLS / "courier-pop/usr/lib"
        found.append(Server(
            "Courier", [courier, MAILDIR.name], "#2ca02c", logs_in=False,
            env={"LD_LIBRARY_PATH": f"{lib}:{lib}/x86_64-linux-gnu",
                 "AUTHENTICATED": "nobody", "AUTHADDR": "nobody",
                 "TCPREMOTEIP": "127.0.0.1"},
            forget=[MAILDIR / "courier*"]))
    else:
        print("scale: no Courier (tests/setup.sh bench)", file=sys.stderr)
    return found


# The maildir

LINE = "A line of text, a line of text, a line of text, a line of text.\n"


def put(name, number, lines=68):
    path = MAILDIR / name
    path.write_text(f"Subject: {number}\n\n" + LINE * lines)
    os.utime(path, (1700000000 + number, 1700000000 + number))
    os.chown(path, NOBODY, NOBODY)


def clean_up():
    """After the results are there: a million files take their time."""
    shutil.rmtree(MAILDIR, ignore_errors=True)
    shutil.rmtree(CACHE, ignore_errors=True)


def make_maildir():
    clean_up()
    CACHE.mkdir(parents=True)
    for path in (MAILDIR / "cur", MAILDIR / "new", MAILDIR / "tmp"):
        path.mkdir(parents=True)
        os.chown(path, NOBODY, NOBODY)
    for path in MAILDIR, CACHE:
        os.chown(path, NOBODY, NOBODY)


def grow(have, want, lines=68):
    for i in range(have, want):
        put(f"cur/{1700000000 + i}.M{i}P1.bench:2,S", i, lines)


def age():
    """Until the directories' changes are old enough to be trusted."""
    newest = max((MAILDIR / name).stat().st_ctime
                 for name in ("", "cur", "new"))
    time.sleep(max(0, newest + 2.1 - time.time()))


def add_new(number):
    for i in range(NEW):
        put(f"new/{1800000000 + i}.M{i}P1.bench", number + i)


def remove_new():
    for folder in "new", "cur":
        for path in (MAILDIR / folder).glob("18000000*"):
            path.unlink()


# Measuring

KINDS = "first", "later", "new"


def measure(found, number):
    """{server: {kind: best seconds}}, and the peaks in KiB."""
    times = {server.name: {kind: [] for kind in KINDS} for server in found}
    peaks = {}
    for _ in range(ROUNDS):
        for server in found:
            for other in found:
                other.forget()
            age()
            seconds, peak, count = server.session()
            if count != number:
                raise RuntimeError(f"{server.name} sees {count} messages")
            times[server.name]["first"].append(seconds)
            peaks[server.name] = max(peaks.get(server.name, 0), peak)
            server.session()    # Dovecot and others settle
            age()
            server.session()
            for _ in range(LATER):
                times[server.name]["later"].append(server.session()[0])
            add_new(number)
            times[server.name]["new"].append(server.session()[0])
            remove_new()
    best = {name: {kind: min(values) for kind, values in kinds.items()}
            for name, kinds in times.items()}
    return best, peaks


# Telling

NOTE = f"""\
Best of several rounds, in turn on the same maildir of messages of about
4.5 KB, warm. First: no server knows the maildir. Later: nothing has changed;
with new: {NEW} messages have come. All in the clear on pipes, without the
start of TLS."""


def compared(results, peaks, found, number):
    """Ours beside the fastest peer, as section 8 wants it."""
    table = report.Comparison(
        f"Login, STAT, LIST and UIDL, {number:,} messages", "seconds, best",
        note=NOTE)
    best = results[number]
    ours, *others = (server.name for server in found)
    targets = {"first": report.at_most(0.4), "later": report.at_most(0.3)}
    for kind, what in zip(KINDS, ("first login", "later, unchanged",
                                  f"later, {NEW} new")):
        if not others:
            table.row(what, best[ours][kind], digits=3)
        for other in sorted(others, key=lambda name: best[name][kind]):
            target = targets.pop(kind, None)    # of the fastest alone
            table.row(f"{what} / {other}", best[ours][kind],
                      best[other][kind], target, 3)
    for other in others:
        table.row(f"peak RSS, MiB / {other}", peaks[number][ours] / 1024,
                  peaks[number][other] / 1024, None, 0)
    return table


def every(results, found):
    table = report.Table("Login, STAT, LIST and UIDL, by size",
                         "seconds, best", *(f"{size:,}" for size in results))
    for server in found:
        for kind in KINDS:
            table.add(f"{server.name}, {kind}",
                      *(f"{row[server.name][kind]:.3f}"
                        for row in results.values()))
    return table


def skipped(title):
    print("bench: skipped, it needs root", file=sys.stderr)
    return [report.Table(title, "not measured: it needs root")]


def scale(options):
    del options
    if os.geteuid() != 0:
        return skipped("Large maildrops")
    found = servers()
    make_maildir()
    results, peaks, have = {}, {}, 0
    for number in sorted({max(MESSAGES // part, 10)
                          for part in (100, 10, 1)}):
        grow(have, number)
        have = number
        results[number], peaks[number] = measure(found, number)
    series = [(f"{server.name}, {kind}", server.color, dash,
               [(size, results[size][server.name][kind]) for size in results])
              for server in found
              for kind, dash in (("first", ""), ("later", "6 4"))]
    PLOT.write_text(plot.svg(
        "Login, STAT, LIST and UIDL: time against size",
        "messages in the maildrop", "seconds", series))
    return [compared(results, peaks, found, have), every(results, found)]


def record_plot():
    if PLOT.exists():
        shutil.copy(PLOT, report.HERE / PLOT.name)


# A million

MILLION_NOTE = """\
Messages of 1 KB, one round, warm; seconds, but for bytes. Read once: a
program that does nothing but open, read and close all files. Bytes a message:
peak RSS less that with 10 messages. The first login reads every message once
to count its octets; a later one looks at the directories' times and reads the
cache."""


def read_once():
    start = time.perf_counter()
    subprocess.run([READALL, MAILDIR / "cur"], check=True,
                   stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def first_and_later(server):
    """(seconds, seconds, peak KiB, number of messages)"""
    age()
    first, peak, _ = server.session()
    server.session()
    age()
    server.session()
    later = []
    for _ in range(3):
        seconds, _, count = server.session()
        later.append(seconds)
    return first, min(later), peak, count


def million(options):
    del options
    if os.geteuid() != 0:
        return skipped("A very large maildrop")
    ours, *others = servers()
    make_maildir()
    grow(0, 10, 15)
    small = first_and_later(ours)
    ours.forget()
    grow(10, MILLION, 15)
    read_once()
    reading = read_once()
    first, later, peak, count = first_and_later(ours)
    if count != MILLION:
        raise RuntimeError(f"{count} messages seen")
    cache = sum(path.stat().st_size for path in CACHE.iterdir())
    table = report.Comparison(
        f"A maildrop of {MILLION:,} messages", "login, STAT, LIST, UIDL",
        note=MILLION_NOTE)
    table.row("first login / all of it read once", first, reading)
    table.row("later, unchanged / all of it read once", later, reading)
    calls = system_calls(ours)
    for other in others:
        theirs = first_and_later(other)
        table.row(f"first login / {other.name}", first, theirs[0])
        table.row(f"later, unchanged / {other.name}", later, theirs[1])
        table.row(f"peak RSS, MiB / {other.name}", peak / 1024,
                  theirs[2] / 1024, None, 0)
        other.forget()
    table.row("bytes of memory a message", (peak - small[2]) * 1024 / MILLION,
              None, report.below(120, "bytes"), 0)
    table.row("bytes of cache file a message", cache / MILLION, None, None, 0)
    return [table, calls]


def system_calls(ours):
    command = [*AS_NOBODY, *ours.argv]
    table = bench_calls.table(f"System calls, {MILLION:,} messages")
    login = bench_calls.logged_in
    bench_calls.add(table, "login and STAT, unchanged", command, login,
                    bench_calls.nothing, MILLION)
    for what in "LIST", "UIDL":
        bench_calls.add(table, f"{what} of {MILLION:,} lines", command,
                        bench_calls.listing(what.encode()), login, MILLION)
    return table
