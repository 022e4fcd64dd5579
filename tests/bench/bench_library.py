"""libmailhandlers beside other libraries: aiosmtpd (Debian's), nodemailer's
smtp-server (npm's)."""

import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys
import time

import report
import rig

SENDER = rig.BUILD / "tests/bench/sender"
CLIENTS = 4
IDLE = 10000

CTYPES = """\
import asyncio, ctypes as C, socket, sys
class Text(C.Structure):
    _fields_ = [("data", C.c_void_p), ("len", C.c_size_t)]
class Event(C.Structure):
    _fields_ = [("type", C.c_int), ("session", C.c_void_p), ("address", Text),
                ("user", Text), ("password", Text), ("text", Text),
                ("index", C.c_size_t)]
class Options(C.Structure):
    _fields_ = [("size", C.c_size_t), ("protocol", C.c_int),
                ("flags", C.c_uint), ("hostname", C.c_char_p),
                ("max_size", C.c_uint64), ("max_recipients", C.c_uint),
                ("timeout", C.c_uint)]
mh = C.CDLL(sys.argv[1])
mh.mh_server_new.restype = C.c_void_p
mh.mh_server_wait.restype = C.POINTER(Event)
mh.mh_server_wait.argtypes = [C.c_void_p, C.c_int]
mh.mh_accept.argtypes = mh.mh_server_fd.argtypes = [C.c_void_p]
server = C.c_void_p(mh.mh_server_new())
mh.mh_server_listen(server, mh.mh_listen(b"127.0.0.1", sys.argv[2].encode()),
    C.byref(Options(C.sizeof(Options), 0, 0, b"mail.example")), None)
kept = None
def ready():
    global kept
    while event := mh.mh_server_wait(server, 0):
        if event[0].type == 9:
            kept = C.string_at(event[0].text.data, event[0].text.len)
        mh.mh_accept(event[0].session)
async def main():
    asyncio.get_running_loop().add_reader(mh.mh_server_fd(server), ready)
    await asyncio.Event().wait()
asyncio.run(main())
"""

AIOSMTPD = """\
import asyncio, sys
from aiosmtpd.smtp import SMTP
class Handler:
    async def handle_DATA(self, server, session, envelope):
        self.kept = envelope.content
        return "250 Ok"
async def main():
    loop = asyncio.get_running_loop()
    handler = Handler()
    await loop.create_server(lambda: SMTP(handler, hostname="mail.example"),
                             "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await asyncio.Event().wait()
asyncio.run(main())
"""

NODEMAILER = """\
const { SMTPServer } = require('smtp-server');
new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'],
  disableReverseLookup: true, logger: false,
  onData(stream, session, done) {
    const pieces = [];
    stream.on('data', piece => pieces.push(piece));
    stream.on('end', () => { global.kept = Buffer.concat(pieces); done(); });
  },
}).listen({ port: +process.argv[1], host: '127.0.0.1', backlog: 4096 });
"""


def smtp_server():
    """Where npm's smtp-server is, fetched once; None: not to be had."""
    folder = rig.BUILD / "tools" / "smtp-server"
    if not (folder / "node_modules/smtp-server").is_dir():
        if not shutil.which("npm"):
            return None
        subprocess.run(["npm", "install", "--silent", "--no-audit",
                        "--no-fund", "--prefix", folder, "smtp-server"],
                       stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    return folder if (folder / "node_modules/smtp-server").is_dir() else None


def build_server():
    """embedded.c, with the library that was built."""
    program = rig.WORK / "embedded"
    subprocess.run(
        ["cc", "-std=c99", "-O2", f"-I{rig.ROOT}/common/library", "-o",
         program, rig.ROOT / "tests/bench/embedded.c",
         rig.BUILD / "libmailhandlers.a", "-ltls"], check=True)
    return program


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Server:
    def __init__(self, argv, port, **kwargs):
        self.port = port
        self.process = subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, **kwargs)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"{argv[0]} does not serve")
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def cpu(self):
        """Seconds, of all its threads; in place of ticks of 10 ms."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0])
                   for task in tasks.iterdir()) / 1e9

    def rss(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def load(self, sessions, messages):
        """Of one session or message: rate, and microseconds of CPU."""
        number = CLIENTS * sessions * max(messages, 1)
        before = self.cpu()
        seconds = float(subprocess.run(
            [SENDER, str(self.port), str(CLIENTS), str(sessions),
             str(messages)], check=True, capture_output=True,
            text=True).stdout)
        return number / seconds, (self.cpu() - before) / number * 1e6

    def idle(self, number):
        """Octets of an idle session, and how many were lost."""
        clients = []
        try:
            before = self.rss()
            for i in range(number):
                client = socket.socket()
                client.bind((f"127.0.1.{1 + i % 4}", 0))
                client.connect(("127.0.0.1", self.port))
                client.settimeout(20)
                clients.append(client)
            for client in clients:      # some close on who talks first
                hear(client, 220)
            for client in clients:
                client.sendall(b"EHLO x\r\n")
            lost = sum(not hear(client, 250) for client in clients)
            return (self.rss() - before) / number, lost
        finally:
            for client in clients:
                client.close()


def hear(client, code):
    """Reads a reply with that code to its end; False where the connection
    ends first."""
    said = b""
    while not re.search(rb"(?m)^%d .*\n\Z" % code, said):
        piece = client.recv(4096)
        if not piece:
            return False
        said += piece
    return True


def servers():
    """Name, command and environment of each."""
    port = free_port
    yield "C", [build_server(), port()], None
    yield "ctypes in asyncio", [sys.executable, "-c", CTYPES,
                                rig.BUILD / "libmailhandlers.so.0",
                                port()], None
    yield "aiosmtpd", ["/usr/bin/python3", "-c", AIOSMTPD, port()], None
    folder = smtp_server()
    if folder:
        yield "nodemailer's smtp-server", [
            "node", "-e", NODEMAILER, port()], dict(
                os.environ, NODE_PATH=str(folder / "node_modules"))
    else:
        print("bench: no npm, or no smtp-server there: left out",
              file=sys.stderr)


def measure(command, environment, options):
    rate = options.n * 20       # sessions and messages of a client
    with Server(command, int(command[-1]), env=environment) as server:
        server.load(rate // 10, 1)
        sessions = server.load(rate * 5, 0)
        messages = server.load(1, rate * 50)
    with Server(command, int(command[-1]), env=environment) as server:
        server.idle(100)
        idle = server.idle(IDLE)
    return sessions, messages, idle


def raise_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 200:
        raise RuntimeError(f"{IDLE + 200} descriptors are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 200, hard))
    return soft, hard


def library(options):
    limit = raise_limit()
    try:
        found = {name: measure(command, environment, options)
                 for name, command, environment in servers()}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    return tables(found)


def tables(found):
    others = [name for name in found if name not in
              ("C", "ctypes in asyncio")]
    cpu = report.Comparison(
        "libmailhandlers, SMTP in clear text", "microseconds of CPU",
        note=f"{CLIENTS} clients at once, which pipeline where that is "
        "offered (not by aiosmtpd); messages of 1 KB, each kept in memory. "
        "Theirs: aiosmtpd of Debian, smtp-server of npm.")
    rates = report.Comparison(
        "libmailhandlers, rates", "a second",
        note="With clients on the same processors: the CPU above is the "
        "steadier figure. smtp-server waits 0.1 s before its greeting, to "
        "see who talks early, and so has ten sessions a second of a client "
        "at most.")
    memory = report.Comparison(
        f"libmailhandlers, {IDLE} idle sessions", "octets of each",
        note="RSS. Lost: " + ", ".join(
            f"{name} {values[2][1]}" for name, values in found.items()) +
        ".")
    for ours, most in ("C", 0.1), ("ctypes in asyncio", 0.2):
        for theirs in others:
            target = report.at_most(most) if theirs == "aiosmtpd" else None
            label = f"{ours} / {theirs}"
            cpu.row(f"a message: {label}", found[ours][1][1],
                    found[theirs][1][1], *[target] * bool(target))
            cpu.row(f"a session: {label}", found[ours][0][1],
                    found[theirs][0][1])
            rates.row(f"messages: {label}", found[ours][1][0],
                      found[theirs][1][0])
            rates.row(f"sessions: {label}", found[ours][0][0],
                      found[theirs][0][0])
            memory.row(label, found[ours][2][0], found[theirs][2][0],
                       *[report.below(2049, "octets")] * (ours == "C"))
    return [cpu, rates, memory]
