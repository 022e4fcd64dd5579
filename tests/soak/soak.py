#!/usr/bin/env python3
"""Many sessions of all kinds against both programs, warm, and then: is
anything left behind?

    tests/soak/soak.py [--listen] [SESSIONS [CLIENTS]]

Under the warm units of a systemd booted for it, which needs root, or with
--listen.  Good clients submit messages and fetch them; others are rude (HTTP,
noise, resets), cut off in every state, or slow.  At the end every message that
was accepted has been fetched exactly once, there is no process, no descriptor,
no memory of the parents and no file in tmp more than after the beginning, and
nothing crashed.  Exit 0 where all of that is so."""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from traffic import LIMIT, RETRIES, USERS, Traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
OPTIONS = ("--hostname", "mail.test", "--auth", "any", "--timeout", "20",
           "--max-per-source", "200", "--max-connections", "200",
           "--idle-exit", "3600", "--log-level", "warning")
MORE = {"smtp-handler": ("--create-maildirs",),
        "pop3-handler": ("--allow-delete", "--scan", "inbox")}


class Handler:
    """A warm program, and what is known of the process that stays: name, port
    and pid."""

    def children(self):
        path = f"/proc/{self.pid}/task/{self.pid}/children"
        return pathlib.Path(path).read_text().split()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def kibibytes(self):
        """Its own memory, which no child shares."""
        text = pathlib.Path(f"/proc/{self.pid}/smaps_rollup")
        return sum(int(n) for n in re.findall(
            r"(?m)^(?:Private|Shared)_Dirty:\s+(\d+) kB", text.read_text()))


class Listening(Handler):
    def __init__(self, folder, program):
        self.name = program
        self.file = folder / f"{program}.log"
        port_file = folder / f"{program}.port"
        with open(self.file, "wb") as log:
            self.process = subprocess.Popen(
                [BUILD / program, "--listen", "127.0.0.1:0", "--port-file",
                 port_file, "--maildir", f"{folder}/mail/%n", "--tls-cert",
                 folder / "tls.crt", "--tls-key", folder / "tls.key",
                 "--log", "stderr", *OPTIONS, *MORE[program]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid
        deadline = time.monotonic() + LIMIT
        while not port_file.exists():
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                sys.exit(f"{program}: {self.log()}")
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def log(self):
        return self.file.read_text("utf-8", "replace")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


class Unit(Handler):
    PORTS = {"smtp-handler": 465, "pop3-handler": 995}

    def __init__(self, machine, program):
        self.machine, self.name = machine, program
        self.unit = f"{program}-warm.service"
        self.port = self.PORTS[program]
        words = (f"/usr/local/sbin/{program}", "--accept", "--maildir",
                 "/var/lib/mail-handlers/%%n", "--tls-cert", "tls.crt",
                 "--tls-key", "tls.key", *OPTIONS, *MORE[program])
        drop_in = machine.path(f"etc/systemd/system/{self.unit}.d/soak.conf")
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nExecStart=\n"
                           f"ExecStart={' '.join(words)}\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", f"{program}-warm.socket", self.unit)
        self.pid = self.outside(int(self.show("MainPID")))

    def show(self, name):
        return self.machine.run("systemctl", "show", "--value", "-p", name,
                                self.unit).strip()

    def outside(self, pid):
        """The number that a process of the machine has here."""
        there = os.readlink(f"/proc/{self.machine.pid}/ns/pid")
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                numbers = re.search(r"(?m)^NSpid:(.*)$",
                                    (path / "status").read_text())[1].split()
                if int(numbers[-1]) == pid and \
                        os.readlink(path / "ns/pid") == there:
                    return int(path.name)
        sys.exit(f"soak: {self.unit} has no process\n{self.log()}")

    def log(self):
        return self.machine.run("journalctl", "--no-pager", "-o", "cat",
                                "-u", self.unit)

    def stop(self):
        self.machine.run("systemctl", "stop", f"{self.name}-warm.socket",
                         self.unit)
        return int(self.show("ExecMainStatus"))


class Soak:
    """mail: the folder of all maildirs; context: a client's."""

    def __init__(self, smtp, pop3, mail, context, clients):
        self.smtp, self.pop3, self.mail = smtp, pop3, mail
        self.context, self.clients = context, clients
        self.traffic = Traffic(self.smtp.port, self.pop3.port, self.context,
                               "secret")
        self.lock = threading.Lock()
        self.left = 0
        self.counts = collections.Counter()
        self.wrong = []

    def connect(self, handler):
        raw = socket.create_connection(("127.0.0.1", handler.port), LIMIT)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def submit(self, draw):
        self.traffic.submit(draw)

    def fetch(self, draw):
        self.traffic.fetch(draw.randrange(USERS))

    # The others: whatever becomes of them is right, as long as they end.

    def rude(self, draw):
        handler = draw.choice((self.smtp, self.pop3))
        noise = draw.choice((
            b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02",
            os.urandom(200), b"", b"EHLO x\r\n" * 50,
            b"\x16\x03\x01\x40\x00" + b"x" * 30))
        with socket.create_connection(("127.0.0.1", handler.port),
                                      LIMIT) as sock:
            sock.sendall(noise)
            if draw.random() < 0.5:
                # A reset in place of an end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))

    def cut_off(self, draw):
        """In the middle of a dialogue that began well."""
        script = draw.choice((
            [b"EHLO x\r\n", b"AUTH PLAIN AGEAYg==\r\n",
             b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<u1@mail.test>\r\n",
             b"DATA\r\n", b"Subject: never\r\n\r\nhalf a li"],
            [b"EHLO x\r\n", b"AUTH PLAIN AGEAYg==\r\n",
             b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<u1@mail.test>\r\n",
             b"BDAT 100\r\nSubject: never\r\n\r\n"],
            [b"EHLO x\r\n", b"AUTH LOGIN\r\n", b"YQ==\r\n"]))
        with self.connect(self.smtp) as sock:
            for line in script[:draw.randint(1, len(script))]:
                sock.sendall(line)
            if draw.random() < 0.5:
                sock.recv(100)

    def abandon(self, draw):
        """Marks messages and leaves without QUIT: nothing is removed."""
        with self.connect(self.pop3) as sock:
            sock.sendall(b"USER u%d\r\nPASS x\r\nSTAT\r\nDELE 1\r\nLIST\r\n"
                         b"RETR 1\r\n" % draw.randrange(USERS))
            sock.recv(draw.choice((1, 100, 5000)))

    def slow(self, draw):
        with self.connect(self.smtp) as sock:
            for octet in b"EHLO slow\r\nNOOP\r\nQUIT\r\n"[
                    :draw.randint(5, 23)]:
                sock.sendall(bytes([octet]))
                time.sleep(0.02)

    KINDS = (("submit", 40), ("fetch", 20), ("rude", 18), ("cut_off", 12),
             ("abandon", 8), ("slow", 2))

    # All of it

    def client(self, seed):
        draw = random.Random(seed)
        names, weights = zip(*self.KINDS)
        while True:
            with self.lock:
                if self.left == 0:
                    return
                self.left -= 1
            kind = draw.choices(names, weights)[0]
            outcome = "done"
            try:
                getattr(self, kind)(draw)
            except TimeoutError:
                outcome = "waited too long"
                self.wrong.append(f"{kind} waited over {LIMIT} s")
            except RETRIES as error:
                outcome = "ended"
                if kind in ("submit", "fetch"):
                    self.wrong.append(f"{kind}: {error!r}")
            with self.lock:
                self.counts[f"{kind} {outcome}"] += 1

    def run(self, seed):
        threads = [threading.Thread(target=self.client, args=(seed + n,))
                   for n in range(self.clients)]
        for thread in threads:
            thread.start()
        last = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            if time.monotonic() - last > 30:
                last = time.monotonic()
                print(f"{self.left} sessions to come, "
                      f"{self.traffic}", flush=True)
        for thread in threads:
            thread.join()

    def wait_idle(self):
        deadline = time.monotonic() + 40
        while self.smtp.children() or self.pop3.children():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def state(self):
        return {f"{handler.name} {what}": getattr(handler, what)()
                for handler in (self.smtp, self.pop3)
                for what in ("descriptors", "kibibytes")}

    def check(self, before):
        """What is wrong at the end."""
        wrong = self.wrong
        if not self.wait_idle():
            wrong.append("processes are left")
        after = self.state()
        for name, value in before.items():
            if after[name] > value + (64 if "kibi" in name else 0):
                wrong.append(f"{name}: {value} before, {after[name]} after")
        for user in range(USERS):
            if (self.mail / f"u{user}").is_dir():
                self.traffic.fetch(user)
        wrong += self.traffic.wrong()
        left = [path for path in self.mail.glob("*/tmp/*")]
        if left:
            wrong.append(f"{len(left)} files in tmp: {left[:3]}")
        for handler in (self.smtp, self.pop3):
            if (status := handler.stop()) != 0:
                wrong.append(f"{handler.name} ended with {status}")
            bad = [line for line in handler.log().splitlines()
                if re.search(r"trouble|crash|signal|config", line)]
            if bad:
                wrong.append(f"{handler.name}: {len(bad)} lines like "
                             f"{bad[0]}")
        print(dict(self.counts))
        print(f"{self.traffic}; {before} before, {after} after")
        return wrong


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def listening(clients):
    """Both programs with --listen, in a folder of their own."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        make_certificate(folder)
        (folder / "mail").mkdir()
        handlers = []
        for program in "smtp-handler", "pop3-handler":
            handlers.append(Listening(folder, program))
            stack.callback(handlers[-1].process.kill)
        yield Soak(*handlers, folder / "mail", ssl.create_default_context(
            cafile=str(folder / "tls.crt")), clients)


@contextlib.contextmanager
def units(clients):
    """Both warm units of a systemd, whose network we enter for good."""
    sys.path.insert(0, str(ROOT / "tests/blackbox/support"))
    from booted import Systemd
    from mailtest import enter_network

    class Booted(Systemd):
        sockets = "pop3-handler-warm.socket", "smtp-handler-warm.socket"

    try:
        Booted.setUpClass()
        machine = Booted.machine
        enter_network(machine.pid)
        yield Soak(Unit(machine, "smtp-handler"), Unit(machine, "pop3-handler"),
                   machine.path("var/lib/mail-handlers"),
                   Booted.certs.client_context(), clients)
    except unittest.SkipTest as why:
        sys.exit(f"soak: {why}; --listen needs none")
    finally:
        Booted.doClassCleanups()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("sessions", type=int, nargs="?", default=200000)
    parser.add_argument("clients", type=int, nargs="?", default=24)
    options = parser.parse_args()
    seed = random.randrange(1 << 30)
    start = time.monotonic()
    with (listening if options.listen else units)(options.clients) as soak:
        print(f"{options.sessions} sessions, {options.clients} clients at "
              f"once, seed {seed}", flush=True)
        # What grows once, grows now.
        first = max(options.sessions // 100, 10)
        soak.left = first
        soak.run(seed)
        soak.wait_idle()
        before = soak.state()
        soak.left = max(options.sessions - first, 0)
        soak.run(seed + options.clients)
        wrong = soak.check(before)
    for line in wrong[:20]:
        print("WRONG:", line)
    print(f"{time.monotonic() - start:.0f} s:",
          "nothing is left behind" if not wrong else f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
