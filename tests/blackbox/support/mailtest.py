"""What the black-box tests share: scratch folders, handlers as processes,
exact dialogues with deadlines, a look into maildirs.

Everything printed here is shown by tests/run for failed tests only, so the
peers print their dialogues as they go.
"""

import atexit
import base64
import ctypes
import fcntl
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = ROOT / os.environ.get("BUILD", "build")
TOOLS = BUILD / "tools"                 # unpacked by tests/setup.sh
# Under tests/run these are copies: not every user may enter the checkout, and
# its name may have a blank.
PROGRAMS, HELPERS = BUILD, pathlib.Path(__file__).resolve().parent / "helpers"
if "MAILTEST_DIR" in os.environ:
    PROGRAMS = pathlib.Path(os.environ["MAILTEST_DIR"], "bin")
    HELPERS = pathlib.Path(os.environ["MAILTEST_DIR"], "helpers")
POP3 = PROGRAMS / "pop3-handler"
SMTP = PROGRAMS / "smtp-handler"
# Built with AddressSanitizer: some of what others give up, it needs.
SANITIZED = POP3.exists() and b"__asan_init" in POP3.read_bytes()
HOST = "mail.test"                      # --hostname of every handler here
# Seconds until a wait for what must come is a failure: nobody waits that long
# but for what never comes, however busy the machine is.
DEADLINE = 60
NOBODY = 65534
CLONE_NEWNET = 0x40000000               # sched.h


def wait_for(condition, what, seconds=DEADLINE):
    """Poll until condition() is true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.005)
    return value


def free_port():
    """A free TCP port, below those the kernel gives to clients; nobody else
    in this run of the tests gets it, now or later."""
    taken = shared_folder() / "ports"
    taken.mkdir(exist_ok=True)
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                (taken / str(port)).touch(exist_ok=False)
                return port
            except OSError:
                pass


def enter_network(pid):
    """This thread, and those that it starts, are in that process' network
    from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", "rb") as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def shared_folder():
    """The folder of this run of the tests, made by tests/run or here."""
    if "MAILTEST_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="mailtest-")
        os.chmod(folder, 0o755)
        os.environ["MAILTEST_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(os.environ["MAILTEST_DIR"])


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.b64encode(data).decode()


def plain(user, password):
    """The SASL PLAIN response, in base64."""
    return b64(f"\0{user}\0{password}")


# The client's end of a connection

class Closed(AssertionError):
    """The handler closed the connection where something was expected."""


class FdTransport:
    """A pipe pair or a plain socket, never blocking past a deadline."""

    def __init__(self, reader, writer, owner=None):
        self.reader, self.writer, self.owner = reader, writer, owner
        for fd in {reader, writer}:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)

    def wait(self, sending, deadline):
        left = max(0, deadline - time.monotonic())
        r, w, _ = select.select([self.reader],
                                [self.writer] if sending else [], [], left)
        return bool(r), bool(w)

    def recv(self):
        """b"" at the end.  To a UNIX socket's peer who closes it before all
        was read that we sent, the end is a reset: nothing of what was sent to
        us is lost by it, unlike with TCP."""
        try:
            return os.read(self.reader, 262144)
        except ConnectionResetError:
            if self.owner and self.owner.family == socket.AF_UNIX:
                return b""
            raise

    def send(self, data):
        return os.write(self.writer, data[:262144])

    def end_output(self):
        if self.owner:
            self.owner.shutdown(socket.SHUT_WR)
        else:
            os.close(self.writer)
            self.writer = -1

    def close(self):
        if self.owner:
            self.owner.close()
        else:
            for fd in {self.reader, self.writer} - {-1}:
                os.close(fd)
        self.reader = self.writer = -1
        self.owner = None


class TlsTransport:
    """A TLS socket.  An end without close_notify raises ssl.SSLError, with a
    context of certs.py."""

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)

    def wait(self, sending, deadline):
        if self.sock.pending():
            return True, False
        left = max(0, deadline - time.monotonic())
        r, w, _ = select.select([self.sock], [self.sock] if sending else [],
                                [], left)
        return bool(r), bool(w)

    def recv(self):
        try:
            return self.sock.recv(262144)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def send(self, data):
        try:
            return self.sock.send(data[:65536])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def end_output(self):
        """close_notify and nothing more."""
        try:
            self.sock.setblocking(True)
            self.sock.settimeout(DEADLINE)
            self.sock.unwrap()
        except OSError:
            pass

    def close(self):
        self.sock.close()


def shortened(data):
    return data if len(data) <= 300 else data[:200] + b"[...]" + data[-60:]


class Peer:
    """Sends and receives exact bytes."""

    def __init__(self, transport, process=None):
        self.transport = transport
        self.process = process
        self.buffer = bytearray()
        self.ended = False

    def fill(self, deadline, sending=False):
        """Wait for something to happen.  Returns whether one can send."""
        readable, writable = self.transport.wait(sending, deadline)
        if readable and not self.ended:
            data = self.transport.recv()
            if data:
                self.buffer += data
            elif data == b"":
                self.ended = True
        if not readable and not writable:
            raise AssertionError(
                f"nothing in {DEADLINE} s; unread: {bytes(self.buffer)!r}")
        return writable

    def send(self, data):
        """Send all of it, taking in what comes meanwhile."""
        if isinstance(data, str):
            data = data.encode()
        print("C:", shortened(data))
        view = memoryview(data)
        deadline = time.monotonic() + DEADLINE
        while view:
            if self.ended:
                raise Closed("closed while we sent; before: "
                             f"{bytes(self.buffer)!r}")
            if self.fill(deadline, sending=True):
                view = view[self.transport.send(view):]
                deadline = time.monotonic() + DEADLINE

    def offer(self, data):
        """Send what a program that may have ended need not take."""
        try:
            self.send(data)
        except (Closed, OSError):
            pass

    def take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        print("S:", shortened(data))
        return data

    def until(self, mark):
        """All up to and with the mark."""
        start = 0
        deadline = time.monotonic() + DEADLINE
        while (found := self.buffer.find(mark, start)) < 0:
            if self.ended:
                raise Closed(f"closed before {mark!r}; got "
                             f"{shortened(bytes(self.buffer))!r}")
            before = len(self.buffer)
            start = max(0, before - len(mark) + 1)
            self.fill(deadline)
            if len(self.buffer) > before:
                deadline = time.monotonic() + DEADLINE
        return self.take(found + len(mark))

    def line(self):
        """One line without its CRLF."""
        line = self.until(b"\n")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise AssertionError(f"line end is not CRLF: {line!r}")
        return line[:-2]

    def rest(self, seconds=DEADLINE):
        """All until the connection ends."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            self.fill(deadline)
        return self.take(len(self.buffer))

    def expect_end(self, seconds=DEADLINE):
        rest = self.rest(seconds)
        if rest:
            raise AssertionError(f"more came before the end: {rest!r}")

    def quiet(self, seconds):
        """Whether nothing comes for so long.  Where this is used, a wrong
        program would have spoken at once."""
        readable, _ = self.transport.wait(False, time.monotonic() + seconds)
        return not readable and not self.buffer

    def end_output(self):
        self.transport.end_output()

    def close(self):
        self.transport.close()

    def exit_status(self):
        """Close and wait for the handler's end."""
        self.close()
        return self.process.wait()


class Reply:
    """An SMTP reply: code, enhanced code or "", texts of the lines."""

    def __init__(self, lines):
        self.raw = lines
        codes = {line[:3] for line in lines}
        marks = [line[3:4] for line in lines]
        if (len(codes) != 1 or not re.fullmatch(rb"[2-5]\d\d", lines[0][:3])
                or set(marks[:-1]) - {b"-"} or marks[-1] not in (b" ", b"")):
            raise AssertionError(f"not an SMTP reply: {lines!r}")
        self.code = int(lines[0][:3])
        texts = [line[4:].decode("ascii") for line in lines]
        found = [re.match(r"([245]\.\d{1,3}\.\d{1,3})( |$)", text)
                 for text in texts]
        self.enhanced = ""
        if all(found) and len({match[1] for match in found}) == 1:
            self.enhanced = found[0][1]
            texts = [text[match.end():] for text, match in zip(texts, found)]
        self.texts = texts

    @property
    def text(self):
        return "\n".join(self.texts)

    def __str__(self):
        return f"{self.code} {self.enhanced}".strip()

    def __repr__(self):
        return repr(self.raw)


class SmtpPeer(Peer):
    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return Reply(lines)

    def cmd(self, line):
        if isinstance(line, str):
            line = line.encode()
        self.send(line + b"\r\n")
        return self.reply()

    def expect(self, line, wanted):
        """Send the line (none: only listen); code and enhanced code must
        match the regular expression.  The reply."""
        reply = self.reply() if line is None else self.cmd(line)
        if not re.fullmatch(wanted, str(reply)):
            raise AssertionError(f"{line!r}: wanted {wanted}, got {reply!r}")
        return reply

    def hello(self, name="client.test"):
        """Greeting and EHLO; the extensions as {keyword: argument}."""
        self.expect(None, "220")
        return self.ehlo(name)

    def ehlo(self, name="client.test"):
        reply = self.expect(f"EHLO {name}", "250")
        extensions = {}
        for text in reply.texts[1:]:
            key, _, value = text.partition(" ")
            extensions[key] = value
        return extensions

    def login(self, user="joe", password="secret-pw"):
        self.expect(f"AUTH PLAIN {plain(user, password)}", "235 2.7.0")

    def ready(self):
        """Greeting, EHLO, login."""
        self.hello()
        self.login()
        return self

    def envelope(self, sender="joe@example.com", *recipients):
        self.expect(f"MAIL FROM:<{sender}>", "250 2.1.0")
        for recipient in recipients or ["ann@example.org"]:
            self.expect(f"RCPT TO:<{recipient}>", "250 2.1.5")

    def text(self, wire):
        """DATA and the octets as they are, then the final dot's reply."""
        self.expect("DATA", "354")
        self.send(wire)
        return self.reply()

    def message(self, text, sender="joe@example.com", *recipients):
        """A whole transaction; text with any line ends, sent as SMTP wants
        it.  The final reply."""
        self.envelope(sender, *recipients)
        return self.text(smtp_wire(text))

    def quit(self):
        self.expect("QUIT", "221 2.0.0")
        self.expect_end()


def smtp_wire(text):
    """Message text with LF line ends as DATA carries it, the end included."""
    if isinstance(text, str):
        text = text.encode()
    if text and not text.endswith(b"\n"):
        text += b"\n"
    text = re.sub(rb"(?m)^\.", b"..", text)
    return text.replace(b"\n", b"\r\n") + b".\r\n"


class Pop3Peer(Peer):
    def cmd(self, line):
        if isinstance(line, str):
            line = line.encode()
        self.send(line + b"\r\n")
        return self.line().decode("ascii")

    def expect(self, line, wanted):
        """Send the line (none: only listen); the reply must match the regular
        expression from its beginning."""
        reply = (self.line().decode("ascii") if line is None
                 else self.cmd(line))
        if not re.match(wanted, reply):
            raise AssertionError(f"{line!r}: wanted {wanted}, got {reply!r}")
        return reply

    def body(self):
        """A multi-line body as it comes, without the final dot's line."""
        while len(self.buffer) < 3 and not self.ended:
            self.fill(time.monotonic() + DEADLINE)
        if self.buffer.startswith(b".\r\n"):
            self.take(3)
            return b""
        return self.until(b"\r\n.\r\n")[:-3]

    def multi(self, line):
        """First line and body of a multi-line reply."""
        first = self.expect(line, r"\+OK")
        return first, self.body()

    def listing(self, command):
        """LIST or UIDL as {number: value}, strictly numbered from 1."""
        _, body = self.multi(command)
        rows = [row.split(b" ") for row in body.split(b"\r\n")[:-1]]
        numbers = [int(row[0]) for row in rows]
        if numbers != list(range(1, len(rows) + 1)) \
                or any(len(row) != 2 for row in rows):
            raise AssertionError(f"{command}: {rows!r}")
        return {n: row[1].decode("ascii") for n, row in zip(numbers, rows)}

    def stat(self):
        reply = self.cmd("STAT")
        match = re.fullmatch(r"\+OK (\d+) (\d+)", reply)
        if not match:
            raise AssertionError(f"STAT: {reply!r}")
        return int(match[1]), int(match[2])

    def retr(self, n):
        """Octets told and wire bytes, dot-stuffed."""
        first, body = self.multi(f"RETR {n}")
        match = re.match(r"\+OK (\d+) octets", first)
        if not match:
            raise AssertionError(f"RETR {n}: {first!r}")
        return int(match[1]), body

    def login(self, user="joe", password="secret-pw"):
        self.expect(None, r"\+OK")
        self.expect(f"USER {user}", r"\+OK")
        self.expect(f"PASS {password}", r"\+OK")
        return self

    def quit(self):
        self.expect("QUIT", r"\+OK")
        self.expect_end()


# The handlers' processes

class Process:
    """A running handler, its standard error in a file."""

    def __init__(self, argv, stdin, stdout, log_file, *, env=None,
                 stderr=None, user=None, pass_fds=()):
        self.log_file = log_file
        extra = {} if user is None else {
            "user": user, "group": user, "extra_groups": []}
        with open(log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(arg) for arg in argv], stdin=stdin, stdout=stdout,
                stderr=log if stderr is None else stderr,
                env=clean_environment(env), pass_fds=pass_fds, **extra)
        self.pid = self.process.pid

    def log(self):
        return self.log_file.read_text("utf-8", "backslashreplace")

    def wait(self, seconds=DEADLINE):
        """Exit status; minus the signal's number where one killed it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s") from None

    def running(self):
        return self.process.poll() is None

    def peak_kib(self):
        """Peak resident size.  Not from wait4: that one's maximum includes
        the fork of this Python."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def stop(self):
        if self.running():
            self.process.kill()
            self.process.wait()
        print(f"--- log of {self.pid}, status {self.process.returncode}\n"
              + self.log())


def clean_environment(extra=None):
    """Nothing of ours that a handler could take for its own."""
    keep = {key: value for key, value in os.environ.items()
            if key in ("PATH", "HOME", "TMPDIR")
            or key.endswith("SAN_OPTIONS")}
    keep["LC_ALL"] = "C"
    keep.update(extra or {})
    return {key: str(value) for key, value in keep.items()
            if value is not None}


class OwnServer:
    """The smallest super-server: a listening socket of ours, the program
    started for each connection with it as fds 0 and 1 (and 2, like a classic
    inetd, where inetd is set)."""

    def __init__(self, test, argv, *, env=None, inetd=False,
                 address=("127.0.0.1", 0)):
        self.test, self.argv, self.env, self.inetd = test, argv, env, inetd
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.create_server(address, family=family)
        self.host, self.port = self.sock.getsockname()[:2]
        self.processes = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            with connection, self.changed:
                self.processes.append(Process(
                    self.argv, connection, connection,
                    self.test.path(f"log.{self.port}.{len(self.processes)}"),
                    env=self.env,
                    stderr=connection if self.inetd else None))
                self.changed.notify_all()

    def process(self, n=0):
        """The process of the n-th connection."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.processes) > n, DEADLINE)
            return self.processes[n]

    def all(self):
        """Of the connections so far: one that was served to its end may have
        a process that we are just starting."""
        with self.changed:
            return list(self.processes)

    def log(self):
        return "".join(process.log() for process in self.all())

    def wait_all(self):
        """Exit statuses of all so far."""
        return [process.wait() for process in self.all()]

    def stop(self):
        # close() alone would leave accept() waiting
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(DEADLINE)
        for process in self.processes:
            process.stop()


# Test cases

class TestCase(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=shared_folder()))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)
        self.counter = 0
        self.mail = self.dir / "mail"

    def need_root(self, what):
        if os.geteuid() != 0:
            self.skipTest(f"needs root to {what}")

    def need_systemd(self):
        if not shutil.which("systemd-socket-activate"):
            self.need_root("put systemd in place, which is not installed")

    def path(self, name):
        return self.dir / name

    def fresh_path(self, stem):
        self.counter += 1
        return self.dir / f"{stem}.{self.counter}"

    def write(self, name, content, mode=0o600):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes)
                         else content.encode())
        path.chmod(mode)
        return path

    # Starting

    def argv(self, program, *options):
        return [program, "--hostname", HOST, "--log", "stderr", *options]

    def spawn(self, program, *options, via="socketpair", kind=Peer, env=None,
              wrap=(), tls=None, **kwargs):
        """Start a handler on a socketpair or two pipes.  wrap: a command to
        start it with; tls: an ssl.SSLContext."""
        argv = [*wrap, *self.argv(program, *options)]
        if via == "pipe":
            their_in, our_out = os.pipe()
            our_in, their_out = os.pipe()
            process = Process(argv, their_in, their_out,
                              self.fresh_path("log"), env=env, **kwargs)
            os.close(their_in)
            os.close(their_out)
            self.addCleanup(process.stop)
            peer = kind(FdTransport(our_in, our_out), process)
        else:
            ours, theirs = socket.socketpair()
            with theirs:
                process = Process(argv, theirs, theirs,
                                  self.fresh_path("log"), env=env, **kwargs)
            self.addCleanup(process.stop)
            peer = kind(self.transport(ours, tls), process)
        self.addCleanup(peer.close)
        return peer

    def transport(self, sock, tls=None, name="localhost"):
        if not tls:
            return FdTransport(sock.fileno(), sock.fileno(), sock)
        sock.settimeout(DEADLINE)
        try:
            wrapped = tls.wrap_socket(sock, server_hostname=name,
                                      suppress_ragged_eofs=False)
        except OSError:
            sock.close()
            raise
        return TlsTransport(wrapped)

    def pop3(self, *options, **kwargs):
        """pop3-handler without TLS, any login, on self.mail."""
        return self.spawn(POP3, "--tls", "off", "--auth", "any",
                          "--maildir", self.mail, *options,
                          kind=Pop3Peer, **kwargs)

    def smtp(self, *options, **kwargs):
        """smtp-handler without TLS, any login, into self.mail."""
        return self.spawn(SMTP, "--tls", "off", "--auth", "any",
                          "--maildir", self.mail, *options,
                          kind=SmtpPeer, **kwargs)

    def serve(self, program, *options, **kwargs):
        server = OwnServer(self, self.argv(program, *options), **kwargs)
        self.addCleanup(server.stop)
        return server

    def connect(self, port, kind=Peer, tls=None, host="127.0.0.1", **kwargs):
        sock = socket.create_connection((host, port), DEADLINE)
        peer = kind(self.transport(sock, tls, **kwargs))
        self.addCleanup(peer.close)
        return peer

    def run_to_end(self, program, *options, stdin=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, env=None, **kwargs):
        """Run it without a peer: (status, standard output, standard error)."""
        done = subprocess.run(
            [str(arg) for arg in (program, *options)], stdin=stdin,
            stdout=subprocess.PIPE, stderr=stderr, timeout=DEADLINE,
            env=clean_environment(env), **kwargs)
        print(done)
        return (done.returncode, done.stdout.decode(),
                (done.stderr or b"").decode())

    # Maildirs

    def make_maildir(self, folder=None):
        folder = folder or self.mail
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, name, content, when=None, base=None):
        """A file below the maildir, with its parents; when: mtime in
        nanoseconds, else one second after the file put before."""
        path = (base or self.mail) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if when is None:
            self.clock = getattr(self, "clock", 1_600_000_000) + 1
            when = self.clock * 10**9
        os.utime(path, ns=(when, when))
        return path

    def replace_directory(self, path):
        """By another one of the same name, with the same files."""
        old = path.rename(path.with_name("old"))
        path.mkdir()
        for file in old.iterdir():
            file.rename(path / file.name)
        old.rmdir()

    def stored(self, folder=None):
        """Contents of the messages in new, by file name."""
        new = (folder or self.mail) / "new"
        if not new.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in new.iterdir()}

    def the_message(self, folder=None):
        """The one message of the maildir: its path and content."""
        found = self.stored(folder)
        self.assertEqual(len(found), 1, list(found))
        (name, content), = found.items()
        return (folder or self.mail) / "new" / name, content

    def assert_nothing_kept(self, folder=None):
        """No message, and nothing left behind in tmp."""
        folder = folder or self.mail
        files = [str(path) for path in folder.rglob("*") if path.is_file()]
        self.assertEqual(files, [])


def split_stored(content):
    """A stored message as ([trace fields, unfolded], the text as sent):
    Return-Path, Delivered-To or X-Envelope-To, one Received."""
    fields = []
    while True:
        match = re.match(rb"(Return-Path|Delivered-To|X-Envelope-To|Received):"
                         rb"[^\n]*\n(?:[ \t][^\n]*\n)*", content)
        if not match or (fields and fields[-1].startswith("Received:")):
            return fields, content
        fields.append(re.sub(r"\n[ \t]+", " ",
                             match[0].decode("ascii").rstrip("\n")))
        content = content[match.end():]


def tree(folder):
    """Everything below a folder that must not change: names, kinds, sizes,
    times, contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_size, status.st_mtime_ns,
            status.st_ctime_ns, status.st_ino,
            path.read_bytes() if path.is_file() and not path.is_symlink()
            and status.st_size < 1_000_000 else None)
    return found


def kill_quietly(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass
