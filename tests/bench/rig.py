"""What the benchmarks share: paths, what the programs are started with,
maildirs, super-servers, and contests between programs in one run."""

import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import statistics
import subprocess
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


def make_settled_maildir(path, owner=None):
    """One that is on the disk already, as one that has been there for a
    minute is: a younger one is fsynced with each message."""
    make_maildir(path)
    for folder in (path, *path.iterdir()):
        if owner is not None and os.geteuid() == 0:
            os.chown(folder, owner, owner)
        os.utime(folder, (time.time() - 3600,) * 2)
    return path


def make_messages(path, number):
    make_maildir(path)
    for i in range(number):
        name = path / "cur" / f"{1700000000 + i}.M{i}P1.bench:2,S"
        name.write_text(f"Subject: {i}\n\n" + "A line of text.\n" * 200)
        os.utime(name, (1700000000 + i, 1700000000 + i))


def make_large(path, octets):
    make_maildir(path)
    line = "x" * 78 + "\n"     # 80 octets with CRLF
    with open(path / "cur" / "1700000000.M1P1.bench:2,S", "w") as file:
        file.write("Subject: large\n\n")
        for _ in range(octets // 80_000):
            file.write(line * 1000)
    return path


# Super-servers: a context in which a program answers on a port

@contextlib.contextmanager
def tcpserver(command):
    with subprocess.Popen(
            ["tcpserver", "-1", "-H", "-R", "-l", "0", "-c", "100",
             "-b", "128", "127.0.0.1", "0", *command],
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


@contextlib.contextmanager
def warm(command, *options):
    """One of ours that accepts connections and forks for each."""
    port_file = WORK / "port"
    port_file.unlink(missing_ok=True)
    with subprocess.Popen(
            [str(word) for word in [
                *command, "--listen", "127.0.0.1:0", "--port-file", port_file,
                "--max-connections", "200", "--max-per-source", "200",
                *options]],
            stdin=subprocess.DEVNULL, stderr=open(LOG, "ab")) as process:
        try:
            while not port_file.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended")
                time.sleep(0.01)
            port = Port(port_file.read_text())
            port.pid = process.pid
            yield port
        finally:
            process.terminate()


@contextlib.contextmanager
def bare_forking():
    """The same of the bare program."""
    with subprocess.Popen(bare("fork"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=open(LOG, "ab")) as process:
        try:
            port = Port(process.stdout.readline())
            port.pid = process.pid
            yield port
        finally:
            process.terminate()


class Port(int):
    """Where something answers; pid is the process that does."""

    pid = None


SUPER_SERVER = tcpserver if shutil.which("tcpserver") else forking


def serving(command):
    if isinstance(command, int):
        return contextlib.nullcontext(int(command))
    return SUPER_SERVER(command)


# Measuring

def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


class Contest:
    """Dialogues with programs, in turn; see client.c.  A program is its
    command or the port where it answers."""

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
                f"{stack.enter_context(serving(command))}:{dialogue}"
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


def median(results, name, column):
    return statistics.median(row[column] for row in results[name])


# Looking at one process

class Session:
    """A program on one end of a TCP connection, a client on the other, with
    TLS unless it is in the clear."""

    def __init__(self, command, clear=False):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            raw = socket.create_connection(listener.getsockname())
            connection, _ = listener.accept()
        with connection:
            self.process = subprocess.Popen(
                command, stdin=connection, stdout=connection,
                stderr=open(LOG, "ab"))
        self.pid = self.process.pid
        self.greet(raw, clear)

    def greet(self, raw, clear=False):
        if clear:
            self.tls = raw
        else:
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

    def take(self, octets):
        while octets > 0:
            piece = self.file.read1(1 << 16)
            if not piece:
                raise RuntimeError(f"{octets} octets missing")
            octets -= len(piece)

    def take_until(self, end, times=1):
        """Octets up to where end has come so many times."""
        octets, tail = 0, b""
        while times > 0:
            piece = self.file.read1(1 << 16)
            if not piece:
                raise RuntimeError(f"{end!r} missing {times} times")
            octets += len(piece)
            times -= (tail + piece).count(end)
            # Keep what may be the beginning of an end, never a whole one
            tail = (tail + piece)[-(len(end) - 1):]
        return octets

    def status(self, file, field):
        """KiB, as /proc tells them."""
        text = pathlib.Path(f"/proc/{self.pid}/{file}").read_text()
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

    def quit(self):
        """And wait until the program has ended."""
        self.file.write(b"QUIT\r\n")
        self.file.flush()
        while self.file.read1(1 << 16):
            pass
        self.file.close()
        self.tls.close()
        self.process.wait()

    def end(self):
        self.file.close()
        self.tls.close()
        self.process.kill()
        self.process.wait()


class WarmSession(Session):
    """The same with a child of a program that accepts (warm)."""

    def __init__(self, port):
        before = children(port.pid)
        raw = socket.create_connection(("127.0.0.1", int(port)))
        self.greet(raw)
        self.pid, = children(port.pid) - before

    def end(self):
        self.file.close()
        self.tls.close()


def cpu(pid):
    """Seconds that it, its descendants and those they waited for took."""
    parents, ticks = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "stat").read_text().rpartition(")")[2].split()
            parents[int(path.name)] = int(words[1])
            ticks[int(path.name)] = sum(map(int, words[11:15]))

    def belongs(one):
        while one in parents and one != pid:
            one = parents[one]
        return one == pid

    return (sum(ticks[one] for one in ticks if belongs(one)) /
            os.sysconf("SC_CLK_TCK"))


def children(pid):
    return set(map(int, pathlib.Path(
        f"/proc/{pid}/task/{pid}/children").read_text().split()))
