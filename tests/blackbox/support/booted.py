"""A systemd booted for a test (boot_systemd.sh), with the programs and their
units as `make install` puts them in place, set up with the commands of
README.md."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from certs import Certificates, certificates
from mailtest import (BUILD, DEADLINE, HOST, ROOT, SANITIZED, TOOLS, Pop3Peer,
                      SmtpPeer, TestCase, clean_environment, enter_network,
                      shared_folder, wait_for)

SCRIPT = ROOT / "tests" / "blackbox" / "support" / "boot_systemd.sh"
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--ipc",
           "--uts", "--net"]
PASSWORD = "Tr0ub4dor&3-hush"
SOCKETS = ("pop3-handler.socket", "smtp-handler.socket",
           "pop3-handler-stls.socket", "smtp-handler-submission.socket")
SETTINGS = "etc/mail-handlers"
# A unit failed: the id of systemd's own message
UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"


class Machine:
    """A booted systemd and the way into it."""

    def __init__(self):
        self.folder = pathlib.Path(
            tempfile.mkdtemp(prefix="systemd-", dir=shared_folder()))
        self.log = self.folder / "log"
        self.process = self.pid = None

    def boot(self):
        """Raises SkipTest where there are no such namespaces."""
        with open(self.log, "wb") as log:
            # Whatever becomes of this test, nothing is left running.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *UNSHARE,
                 "sh", SCRIPT, "boot", self.folder],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=clean_environment({"TOOLS": TOOLS}))
        wait_for(self.is_up, "systemd")

    def is_up(self):
        status = self.process.poll()
        if status is not None:
            text = self.log.read_text().strip()
            if status == 77:
                raise unittest.SkipTest(f"no systemd in namespaces: {text}")
            raise AssertionError(f"booting ended with {status}: {text}")
        if not self.pid:
            try:
                self.pid = int((self.folder / "pid").read_text())
            except (OSError, ValueError):
                return False
        name = pathlib.Path(f"/proc/{self.pid}/comm").read_text().strip()
        return name == "systemd" and self.run(
            "systemctl", "is-active", "basic.target",
            check=False) == "active\n"

    def stop(self):
        if self.process and self.process.poll() is None:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()
        subprocess.run(["sh", SCRIPT, "clean", self.folder], check=True,
                       timeout=DEADLINE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *argv, check=True, stdin=b"", folder="/", timeout=200):
        """A command in there; what it prints."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "-r", "-w",
             "env", "-C", folder, *map(str, argv)],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=timeout, env=clean_environment(
                {"PATH": "/usr/local/sbin:/usr/local/bin:"
                         "/usr/sbin:/usr/bin:/sbin:/bin"}))
        text = done.stdout.decode("utf-8", "backslashreplace")
        errors = done.stderr.decode("utf-8", "backslashreplace")
        if check and done.returncode != 0:
            raise AssertionError(f"{argv}: exit status {done.returncode}\n"
                                 f"{text}{errors}")
        return text

    def path(self, name):
        return pathlib.Path(f"/proc/{self.pid}/root") / name

    def inside(self, function):
        """What the function returns, called in that machine's network."""
        found = []

        def call():
            enter_network(self.pid)
            found.append(function())

        # Of this thread alone, which ends with it
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return found[0]

    def dial(self, port, host="127.0.0.1"):
        return self.inside(
            lambda: socket.create_connection((host, port), DEADLINE))

    # The journal

    def cursor(self):
        """Where the journal ends now, with all that was sent to it."""
        self.run("journalctl", "--sync")
        text = self.run("journalctl", "-q", "-n1", "--show-cursor")
        return re.search(r"^-- cursor: (.*)$", text, re.M)[1]

    def journal(self, *matches, since=None):
        """Entries, as dictionaries.  Not with --after-cursor: together with
        matches, that of systemd 252 passes over the first entry."""
        cursor = [f"--cursor={since}"] if since else []
        lines = self.run("journalctl", "-q", "--no-pager", "--all",
                         "-o", "json", *cursor, *matches).splitlines()
        return [entry for entry in map(json.loads, lines)
                if entry["__CURSOR"] != since]

    def event(self, *matches, since=None):
        """The one entry, once it is there."""
        entries = wait_for(lambda: self.journal(*matches, since=since),
                           matches)
        if len(entries) != 1:
            raise AssertionError(f"{matches}: {entries}")
        return entries[0]

    def session(self, name):
        """All events of a session that has ended, by kind."""
        match = f"MAIL_SESSION={name}"
        self.event(match, "MAIL_EVENT=end")
        events = {}
        for entry in self.journal(match):
            events.setdefault(entry["MAIL_EVENT"], []).append(entry)
        return events


class Systemd(TestCase):
    slow = True
    sockets = SOCKETS       # those that are enabled

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("not root: cannot boot a systemd")
        probe = subprocess.run([*UNSHARE, "--cgroup", "true"],
                               stderr=subprocess.PIPE)
        if probe.returncode != 0:
            raise unittest.SkipTest(
                "cannot boot a systemd: " + probe.stderr.decode().strip())
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.stop)
        try:
            cls.machine.boot()
            cls.install()
        except AssertionError:
            cls.show_journal()
            raise

    @classmethod
    def show_journal(cls):
        try:
            print(cls.machine.run("journalctl", "-q", "--no-pager", "-n300",
                                  check=False))
        except (OSError, subprocess.SubprocessError) as error:
            print("no journal:", error)

    @classmethod
    def install(cls):
        """What README.md says under "Install" and "systemd"."""
        machine = cls.machine
        keep = {name: value for name, value in os.environ.items()
                if name in ("PATH", "HOME", "TMPDIR", "MAKEFLAGS",
                            "PKG_CONFIG_PATH")}
        # What is tested is what was built: nothing is built anew.
        done = subprocess.run(
            ["make", "-s", "-C", ROOT, "-o", "all", "install",
             f"BUILD={os.path.relpath(BUILD, ROOT)}", "PREFIX=/usr/local",
             f"DESTDIR=/proc/{machine.pid}/root"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=keep, timeout=200)
        if done.returncode != 0:
            raise AssertionError(f"make install: {done.stdout.decode()}")

        cls.put_files()
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create")
        machine.run("journalctl", "--update-catalog")
        for program in ("pop3-handler", "smtp-handler"):
            machine.run(program, "--config", f"{program}.conf",
                        "--check-config", folder=f"/{SETTINGS}")
        if SANITIZED:
            # Looking for leaks needs ptrace(2), which the sandbox forbids.
            machine.run("systemctl", "set-environment",
                        "ASAN_OPTIONS=detect_leaks=0")
            # And its shadow is larger than any limit.
            drop_in = machine.path("etc/systemd/system/service.d/asan.conf")
            drop_in.parent.mkdir()
            drop_in.write_text("[Service]\nLimitDATA=infinity\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", *cls.sockets)

    @classmethod
    def put_files(cls):
        """What an administrator adds: certificate and users."""
        machine = cls.machine
        cls.certs = Certificates(machine.folder)
        shared = certificates()
        cls.certs.ca, cls.certs.server = shared.ca, shared.server
        cls.put_certificate(shared.server)
        machine.path("etc/ca.crt").write_bytes(shared.ca.crt.read_bytes())
        lines = ""
        for name in ("anna", "bert"):
            digest = machine.run("openssl", "passwd", "-6", "-stdin",
                                 stdin=PASSWORD.encode() + b"\n")
            lines += f"{name}:{digest}"
        users = machine.path(f"{SETTINGS}/users")
        users.touch(0o600)
        users.write_text(lines)

    @classmethod
    def put_certificate(cls, pair):
        """As a client of a certificate authority does: one rename each."""
        for source, name, mode in ((pair.key, "tls.key", 0o600),
                                   (pair.crt, "tls.crt", 0o644)):
            fresh = cls.machine.path(f"{SETTINGS}/{name}.new")
            fresh.write_bytes(source.read_bytes())
            fresh.chmod(mode)
            fresh.rename(fresh.with_suffix(""))

    def setUp(self):
        super().setUp()
        self.addCleanup(self.show_if_failed, self.machine.cursor())

    def show_if_failed(self, cursor):
        """tests/run prints it for failed tests only."""
        print(self.machine.run("journalctl", "-q", "--no-pager", "-n200",
                               f"--after-cursor={cursor}", check=False))

    # Peers

    def dial(self, port, kind, host="127.0.0.1"):
        """A connection to a port with implicit TLS."""
        sock = self.machine.dial(port, host)
        local = sock.getsockname()[1]
        peer = kind(self.transport(sock, self.certs.client_context()))
        peer.local_port = local
        self.addCleanup(peer.close)
        return peer

    def smtp(self, host="127.0.0.1"):
        peer = self.dial(465, SmtpPeer, host)
        peer.hello()
        return peer

    def pop3(self, user="bert"):
        return self.dial(995, Pop3Peer).login(user, PASSWORD)

    def curl(self, *args, check=True, stdin=b""):
        return self.machine.run("curl", "-4sS", "--cacert", "/etc/ca.crt",
                                "--max-time", 190, *args,
                                check=check, stdin=stdin)

    def recipient(self):
        """bert, in the form that finds his maildir."""
        return f"bert@{HOST}" if \
            self.setting("smtp-handler", "maildir", "%") \
            else "bert@example.com"

    def setting(self, program, name, part):
        """Whether a line of the sample as installed says so."""
        text = self.machine.path(f"{SETTINGS}/{program}.conf").read_text()
        return bool(re.search(rf"(?m)^{name}\s*=.*{part}", text))

    def submit(self, sender, body, url="smtps://localhost", *args,
               recipient=None):
        self.curl("--crlf", "--user", f"anna:{PASSWORD}",
                  "--mail-from", sender,
                  "--mail-rcpt", recipient or self.recipient(),
                  "--upload-file", "-", f"{url}/client.test", *args,
                  stdin=f"Subject: {sender}\n\n{body}\n".encode())
        return self.machine.event("MAIL_EVENT=accepted",
                                  f"MAIL_SENDER={sender}")

    def fetch(self, sender, user="bert", url="pop3s://localhost", *args):
        """What RETR gives for the newest message of that sender."""
        login = ("--user", f"{user}:{PASSWORD}", *args)
        numbers = [line.split()[0] for line
                   in self.curl(*login, f"{url}/").splitlines()]
        for number in reversed(numbers):
            text = self.curl(*login, f"{url}/{number}")
            if f"\r\nSubject: {sender}\r\n" in text:
                return text
        self.fail(f"no message of {sender} among {len(numbers)}")

    # Units

    def show(self, name, *units):
        text = self.machine.run("systemctl", "show", "--value", "-p", name,
                                *units)
        return text.split()

    def instance(self, peer, program):
        """The unit that serves the peer: named after both addresses."""
        def find():
            text = self.machine.run("systemctl", "list-units", "--plain",
                                    "--no-legend", "--full",
                                    f"{program}@*.service")
            return [line.split()[0] for line in text.splitlines()
                    if re.search(rf"\b{peer.local_port}\.service", line)]
        found = wait_for(find, "the unit of the connection")
        self.assertEqual(len(found), 1)
        return found[0]

    def stop(self, peer, program):
        """Not waiting: at its end a handler listens for the peer's."""
        self.machine.run("systemctl", "stop", "--no-block",
                         self.instance(peer, program))

    def wait_idle(self):
        """No connection is left: its unit is gone."""
        wait_for(lambda: set(self.show("NConnections",
                                       *self.sockets)) == {"0"},
                 "the last connection")

    def assert_healthy(self, cursor):
        """All sockets listen, no unit is or was failed since."""
        self.machine.run("journalctl", "--sync")
        self.assertEqual(
            self.machine.run("systemctl", "is-active", *self.sockets,
                             check=False).split(),
            ["active"] * len(self.sockets))
        self.assertEqual(self.machine.run(
            "systemctl", "list-units", "--state=failed", "--plain",
            "--no-legend"), "")
        self.assertEqual([entry["MESSAGE"] for entry in self.machine.journal(
            f"MESSAGE_ID={UNIT_FAILED}", since=cursor)], [])
