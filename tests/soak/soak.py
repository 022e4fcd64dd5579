#!/usr/bin/env python3
"""Many sessions of all kinds against both programs, warm, and then: is
anything left behind?

    tests/soak/soak.py [SESSIONS [CLIENTS]]

Good clients submit messages and fetch them; others are rude (HTTP, noise,
resets), cut off in every state, or slow.  At the end every message that was
accepted has been fetched exactly once, there is no process, no descriptor, no
memory of the parents and no file in tmp more than after the beginning, and
nothing crashed.  Exit 0 where all of that is so."""

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

from traffic import LIMIT, RETRIES, USERS, Traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")


class Handler:
    """A warm program: --listen, and what is known of its process."""

    def __init__(self, folder, program, *options):
        self.name = program
        self.log = folder / f"{program}.log"
        port_file = folder / f"{program}.port"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [BUILD / program, "--listen", "127.0.0.1:0", "--port-file",
                 port_file, "--hostname", "mail.test", "--auth", "any",
                 "--maildir", f"{folder}/mail/%n", "--tls-cert",
                 folder / "tls.crt", "--tls-key", folder / "tls.key",
                 "--timeout", "20", "--max-per-source", "200",
                 "--max-connections", "200", "--log", "stderr",
                 "--log-level", "warning", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + LIMIT
        while not port_file.exists():
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                sys.exit(f"{program}: {self.log.read_text()}")
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return pathlib.Path(path).read_text().split()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kibibytes(self):
        """Its own memory, which no child shares."""
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup")
        return sum(int(n) for n in re.findall(
            r"(?m)^(?:Private|Shared)_Dirty:\s+(\d+) kB", text.read_text()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


class Soak:
    def __init__(self, folder, sessions, clients):
        self.folder, self.clients = folder, clients
        make_certificate(folder)
        (folder / "mail").mkdir()
        self.smtp = Handler(folder, "smtp-handler", "--create-maildirs")
        self.pop3 = Handler(folder, "pop3-handler", "--allow-delete",
                            "--scan", "inbox")
        self.context = ssl.create_default_context(
            cafile=str(folder / "tls.crt"))
        self.traffic = Traffic(self.smtp.port, self.pop3.port, self.context,
                               "secret")
        self.lock = threading.Lock()
        self.left = sessions
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
            if (self.folder / f"mail/u{user}").is_dir():
                self.traffic.fetch(user)
        wrong += self.traffic.wrong()
        left = [path for path in self.folder.glob("mail/*/tmp/*")]
        if left:
            wrong.append(f"{len(left)} files in tmp: {left[:3]}")
        for handler in (self.smtp, self.pop3):
            if (status := handler.stop()) != 0:
                wrong.append(f"{handler.name} ended with {status}")
            bad = [line for line in handler.log.read_text(
                "utf-8", "replace").splitlines()
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


def main():
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 200000
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    seed = random.randrange(1 << 30)
    print(f"{sessions} sessions, {clients} clients at once, seed {seed}")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        soak = Soak(folder, sessions, clients)
        for handler in (soak.smtp, soak.pop3):
            stack.callback(handler.process.kill)
        # What grows once, grows now.
        soak.left = sessions // 100
        soak.run(seed)
        soak.wait_idle()
        before = soak.state()
        soak.left = sessions - sessions // 100
        soak.run(seed + clients)
        wrong = soak.check(before)
    for line in wrong[:20]:
        print("WRONG:", line)
    print("nothing is left behind" if not wrong else f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
