#!/usr/bin/python3
"""Benchmarks: pop3-handler and smtp-handler beside the bare libtls program.

    tests/bench/bench.py [-n SESSIONS] [NAME...]

Ratios measured in one run, the programs in turn under the same super-server:
nothing here is a test, and nothing depends on how fast the machine is.

    session   a short session, target: at most 1.15 times the bare one
    memory    peak RSS and, idle, PSS
    retr      RETR of 100 MB beside a bare tls_write
    data      DATA of 100 MB beside a bare tls_read into a file

The programs are those in $BUILD (default: build); files go to $BUILD/bench.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
BARE = BUILD / "tests" / "bench" / "bare"
CLIENT = BUILD / "tests" / "bench" / "client"
POP3 = BUILD / "pop3-handler"
SMTP = BUILD / "smtp-handler"
WORK = BUILD / "bench"
CERT = WORK / "tls.crt"
KEY = WORK / "tls.key"
MAILDIR = WORK / "maildir"
LOG = WORK / "log"      # what the programs say on standard error

BULK = 100_000_000      # octets
IDLE = 60               # connections


# What the programs are started with

def bare(*mode):
    return [BARE, CERT, KEY, *map(str, mode)]


def handler(program, maildir, *options):
    return [program, "--tls-cert", CERT, "--tls-key", KEY, "--auth", "any",
            "--maildir", maildir, "--log-level", "error", *options]


def pop3(maildir=MAILDIR):
    return handler(POP3, maildir)


def smtp(maildir):
    return handler(SMTP, maildir)


# Setting up

def make_certificate():
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec",
         "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", KEY, "-out", CERT],
        check=True, stderr=subprocess.DEVNULL)


def make_maildir(path):
    shutil.rmtree(path, ignore_errors=True)
    for name in "cur", "new", "tmp":
        (path / name).mkdir(parents=True)
    return path


def make_messages(path, number):
    make_maildir(path)
    for i in range(number):
        name = path / "cur" / f"{1700000000 + i}.M{i}P1.bench:2,S"
        name.write_text(f"Subject: {i}\n\n" + "A line of text.\n" * 200)
        os.utime(name, (1700000000 + i, 1700000000 + i))


# Super-servers: a context in which a program answers on a port

@contextlib.contextmanager
def tcpserver(command):
    with subprocess.Popen(
            ["tcpserver", "-1", "-H", "-R", "-l", "0", "-c", "100",
             "127.0.0.1", "0", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=open(LOG, "ab")) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def serve_forking(listener, command):
    """The least a super-server does; never returns."""
    while True:
        connection, _ = listener.accept()
        pid = os.fork()
        if pid == 0:
            os.dup2(connection.fileno(), 0)
            os.dup2(connection.fileno(), 1)
            os.dup2(os.open(LOG, os.O_WRONLY | os.O_APPEND), 2)
            os.execv(command[0], command)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


@contextlib.contextmanager
def forking(command):
    command = [str(word) for word in command]
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        pid = os.fork()
        if pid == 0:
            try:
                serve_forking(listener, command)
            finally:
                os._exit(1)
        try:
            yield listener.getsockname()[1]
        finally:
            os.kill(pid, 15)
            os.waitpid(pid, 0)


SUPER_SERVER = tcpserver if shutil.which("tcpserver") else forking


# Measuring

def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


class Contest:
    """Dialogues with programs, in turn; see client.c."""

    def __init__(self, rounds):
        self.rounds = rounds
        self.names, self.commands, self.dialogues = [], [], []

    def add(self, name, command, dialogue):
        self.names.append(name)
        self.commands.append(command)
        self.dialogues.append(dialogue)

    def run(self, between=None):
        """{name: [(greeting, session, bulk) in microseconds]}"""
        results = {name: [] for name in self.names}
        with contextlib.ExitStack() as stack:
            targets = [
                f"{stack.enter_context(SUPER_SERVER(command))}:{dialogue}"
                for command, dialogue in zip(self.commands, self.dialogues)]

            def sessions(number):
                out = subprocess.run(
                    [CLIENT, str(number), *targets], check=True,
                    stdout=subprocess.PIPE, text=True).stdout
                for line in out.splitlines():
                    number, *times = map(int, line.split())
                    yield self.names[number], times

            list(sessions(2))       # warm
            done = 0
            step = 2 if between else self.rounds
            while done < self.rounds:
                if between:
                    between()
                for name, times in sessions(step):
                    results[name].append(times)
                done += step
        return results


def print_times(title, results, column, unit=1000):
    print(f"{title:<34}{'median':>9}{'10 %':>9}{'90 %':>9}")
    for name, times in results.items():
        values = [row[column] / unit for row in times]
        print(f"  {name:<32}{statistics.median(values):9.2f}"
              f"{percentile(values, 10):9.2f}{percentile(values, 90):9.2f}")


def median(results, name, column):
    return statistics.median(row[column] for row in results[name])


def print_ratio(what, ratio, target=None):
    text = f"  {what:<32}{ratio:9.3f}"
    print(text + (f"   target: {target}" if target else ""))


# Looking at one process

class Session:
    """A program on one end of a TCP connection, TLS on the other."""

    def __init__(self, command):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            raw = socket.create_connection(listener.getsockname())
            connection, _ = listener.accept()
        with connection:
            self.process = subprocess.Popen(
                command, stdin=connection, stdout=connection,
                stderr=open(LOG, "ab"))
        context = ssl.create_default_context(cafile=CERT)
        self.tls = context.wrap_socket(raw, server_hostname="localhost")
        self.file = self.tls.makefile("rwb")
        self.expect(b"")

    def expect(self, start):
        while True:
            line = self.file.readline()
            if not line.startswith(start) or not line:
                raise RuntimeError(f"{start!r} expected: {line!r}")
            if line[3:4] != b"-" or line[:1] == b"+":
                return

    def say(self, line, start=b"+OK"):
        self.file.write(line + b"\r\n")
        self.file.flush()
        self.expect(start)

    def status(self, file, field):
        """KiB, as /proc tells them."""
        text = pathlib.Path(f"/proc/{self.process.pid}/{file}").read_text()
        for line in text.splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"no {field} in {file}")

    def peak(self):
        # Not ru_maxrss of wait4(2): that counts what the process was
        # before exec, which is this program.
        return self.status("status", "VmHWM")

    def pss(self):
        return self.status("smaps_rollup", "Pss")

    def end(self):
        self.file.close()
        self.tls.close()
        self.process.kill()
        self.process.wait()


# The benchmarks

def session(options):
    make_messages(MAILDIR, 10)
    contest = Contest(options.n)
    contest.add("bare: greeting, QUIT", bare(), "quit")
    contest.add("pop3-handler: greeting, QUIT", pop3(), "quit")
    contest.add("pop3-handler: login, STAT, QUIT", pop3(), "stat")
    results = contest.run()
    base, plain, login = contest.names
    print(f"{options.n} sessions each under {SUPER_SERVER.__name__}; ms")
    print_times("connect to greeting", results, 0)
    print_times("connect to the process's end", results, 1)
    print_ratio("greeting, QUIT / bare",
                median(results, plain, 1) / median(results, base, 1))
    print_ratio("login, STAT, QUIT / bare",
                median(results, login, 1) / median(results, base, 1),
                "at most 1.15")


def idle_pss(command, prepare):
    """Mean PSS of many sessions that wait at the same time, KiB."""
    sessions = [Session(command) for _ in range(IDLE)]
    try:
        for one in sessions:
            prepare(one)
        return statistics.mean(one.pss() for one in sessions)
    finally:
        for one in sessions:
            one.end()


def peak(command, talk):
    one = Session(command)
    try:
        talk(one)
        return one.peak()
    finally:
        one.end()


def pop3_login(one):
    one.say(b"USER tester")
    one.say(b"PASS secret")
    one.say(b"STAT")


def pop3_retrieve(one):
    pop3_login(one)
    one.say(b"RETR 1")
    while one.file.readline() != b".\r\n":
        pass


def smtp_submit(octets):
    def talk(one):
        one.say(b"EHLO client", b"250")
        one.say(b"AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=", b"235")
        one.say(b"MAIL FROM:<a@example.com>", b"250")
        one.say(b"RCPT TO:<b@example.com>", b"250")
        one.say(b"DATA", b"354")
        block = (b"x" * 78 + b"\r\n") * 1000
        for _ in range(octets // len(block)):
            one.file.write(block)
        one.say(b".", b"250")
    return talk


def memory(options):
    del options
    make_messages(MAILDIR, 10)
    large = make_large(WORK / "large", 20_000_000)
    kept = make_maildir(WORK / "kept")
    base = peak(bare(), lambda one: None)
    print("peak RSS; KiB")
    print(f"  {'bare: greeting':<32}{base:9d}")
    for name, command, talk in (
            ("pop3-handler: login, STAT", pop3(), pop3_login),
            ("pop3-handler: RETR of 20 MB", pop3(large), pop3_retrieve),
            ("smtp-handler: DATA of 80 KB", smtp(kept), smtp_submit(80_000)),
            ("smtp-handler: DATA of 20 MB", smtp(kept),
             smtp_submit(20_000_000))):
        value = peak(command, talk)
        print(f"  {name:<32}{value:9d}   {value - base:+d}"
              "   target: at most +2048")
    base = idle_pss(bare(), lambda one: None)
    print(f"PSS, {IDLE} idle connections; KiB each")
    print(f"  {'bare: greeting':<32}{base:9.0f}")
    for name, command, prepare in (
            ("pop3-handler: greeting", pop3(), lambda one: None),
            ("pop3-handler: login, STAT", pop3(), pop3_login),
            ("smtp-handler: greeting", smtp(kept), lambda one: None)):
        value = idle_pss(command, prepare)
        print_ratio(f"{name}  {value:.0f}", value / base, "at most 1.15")
    shutil.rmtree(large)
    shutil.rmtree(kept)


def make_large(path, octets):
    make_maildir(path)
    line = "x" * 78 + "\n"     # 80 octets with CRLF
    with open(path / "cur" / "1700000000.M1P1.bench:2,S", "w") as file:
        file.write("Subject: large\n\n")
        for _ in range(octets // 80_000):
            file.write(line * 1000)
    return path


def print_rates(title, results, octets):
    print(f"{title:<34}{'median':>9}{'10 %':>9}{'90 %':>9}   (MB/s)")
    for name, times in results.items():
        values = [octets / row[2] for row in times]
        print(f"  {name:<32}{statistics.median(values):9.0f}"
              f"{percentile(values, 10):9.0f}{percentile(values, 90):9.0f}")


def retr(options):
    large = make_large(WORK / "large", BULK)
    contest = Contest(max(options.n // 10, 5))
    contest.add("bare tls_write", bare("send", BULK), f"drain:{BULK}")
    contest.add("pop3-handler: RETR", pop3(large), f"retr:{BULK}")
    results = contest.run()
    print_rates(f"RETR of {BULK // 1_000_000} MB, to the last octet",
                results, BULK)
    base, ours = contest.names
    print_ratio("rate / bare", median(results, base, 2)
                / median(results, ours, 2), "at least 0.9")
    shutil.rmtree(large)


def data(options):
    kept = make_maildir(WORK / "kept")
    file = WORK / "received"
    limit = ["--max-size", str(2 * BULK)]
    contest = Contest(max(options.n // 20, 4))
    contest.add("bare tls_read, write", bare("receive", file),
                f"fill:{BULK}")
    contest.add("bare tls_read, write, fsync", bare("keep", file),
                f"fill:{BULK}")
    contest.add("smtp-handler: DATA", smtp(kept) + limit, f"data:{BULK}")

    def clear():
        """Nothing left to write for the next sessions to wait for."""
        make_maildir(kept)
        file.unlink(missing_ok=True)
        os.sync()

    results = contest.run(clear)
    print_rates(f"DATA of {BULK // 1_000_000} MB, to the reply",
                results, BULK)
    base, synced, ours = contest.names
    print_ratio("rate / bare", median(results, base, 2)
                / median(results, ours, 2), "at least 0.8")
    print_ratio("rate / bare with fsync", median(results, synced, 2)
                / median(results, ours, 2))
    clear()
    shutil.rmtree(kept)


BENCHMARKS = {f.__name__: f for f in (session, memory, retr, data)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=300, metavar="SESSIONS",
                        help="sessions of each kind (300)")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=" ".join(BENCHMARKS))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    for program in BARE, CLIENT, POP3, SMTP:
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: no {program}: use make bench")
    WORK.mkdir(exist_ok=True)
    make_certificate()
    LOG.write_bytes(b"")
    for name in options.names or BENCHMARKS:
        start = time.monotonic()
        try:
            BENCHMARKS[name](options)
        except (subprocess.CalledProcessError, RuntimeError, OSError) as why:
            sys.exit(f"bench: {name}: {why}\n{LOG.read_text()[-2000:]}")
        print(f"  ({name}: {time.monotonic() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
