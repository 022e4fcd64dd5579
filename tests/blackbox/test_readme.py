"""The recipes of both README.md as they are printed, each twice, in a network
and below a /usr/local/sbin of their own; and the demo they are for."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from mailtest import DEADLINE, ROOT, wait_for
from recipes import Recipes, blocks
from superservers import listening


class Clients(Recipes):
    def at_terminal(self, text):
        """For programs that fill a terminal: q, once a message is shown."""
        main, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        os.set_blocking(main, False)
        process = subprocess.Popen(
            self.inside("setsid", "--ctty", "sh", "-euc", text),
            env=self.environment(), stdin=terminal, stdout=terminal,
            stderr=terminal)
        os.close(terminal)
        self.addCleanup(os.close, main)
        self.addCleanup(self.end, process)
        shown, end = b"", time.monotonic() + DEADLINE
        while process.poll() is None and time.monotonic() < end:
            if not select.select([main], [], [], 0.1)[0]:
                if b"A round trip" in shown:
                    os.write(main, b"q")
                continue
            try:
                shown += os.read(main, 65536)
            except OSError:     # its last process has ended
                break
        self.assertEqual(process.wait(DEADLINE), 0, shown)
        self.assertIn(b"A round trip", shown)

    def curl(self, text):
        before = self.mails()
        shown = self.recipe(text)
        self.assertEqual(self.mails(), before + 1)
        # The list, and message 1 of the demo
        self.assertIn(f"\n{before + 1} ", shown.replace("\r", ""))
        self.assertIn("Subject: Plain text", shown)

    def sends(self, text):
        before = self.mails()
        self.recipe(text)
        self.assertEqual(self.mails(), before + 1)

    def mpop(self, text):
        """Again and again: each message once."""
        self.recipe(text)
        inbox = list(self.path("inbox/new").iterdir())
        self.assertEqual(len(inbox), self.mails())

    def openssl(self, text):
        shown = self.recipe(text, "USER me\nPASS x\nLIST\nQUIT\n")
        self.assertRegex(shown, r"\+OK.*\n\+OK.*\n\+OK.*\n\+OK "
                         rf"{self.mails()} .*\n1 \d+\n")

    def test_each_twice(self):
        self.demo()
        ways = {"mutt": self.at_terminal, "printf": self.curl,
                "msmtp": self.sends, "mkdir": self.mpop, "swaks": self.sends,
                "openssl": self.openssl}
        found = blocks("Clients")
        self.assertEqual([text.split()[0] for text in found], list(ways))
        for _ in range(2):
            for text in found:
                with self.subTest(text=text):
                    ways[text.split()[0]](text)
        # Where it is installed
        self.at_terminal(found[0].replace("mutt ", "neomutt ", 1))

    def test_program_under_test(self):
        """No TLS, no login, IPv4 and IPv6."""
        self.demo()
        before = self.mails()
        for host in ("127.0.0.1", "[::1]"):
            self.recipe("printf 'Subject: x\\r\\n\\r\\nx\\r\\n' | curl -sS "
                        "--mail-from a@example.com --mail-rcpt b@example.org "
                        f"--upload-file - 'smtp://{host}:1025'")
        self.assertEqual(self.mails(), before + 2)

    def test_deleting(self):
        """Clients that move mail away, as most are set up to, can."""
        self.demo()
        before = self.mails()
        curl = ("curl -sS --cacert build/demo/tls.crt --user me:x "
                "pop3s://localhost:1995/1 ")
        self.recipe(curl + "-X DELE --list-only")
        self.assertEqual(self.mails(), before - 1)


class Catcher(Recipes):
    """As a mail catcher in development and CI."""

    def test_commands(self):
        """Those that listen until they are ended."""
        one, other, _ = blocks("As a mail catcher in development and CI")
        for text, port in ((one, 1025), (other, 1110)):
            process = self.start("sh", "-euc", "exec " + text)
            wait_for(lambda: listening(
                port, f"/proc/{self.namespaces.pid}/net"), text)
            self.recipe(
                "curl -sS --mail-from a@example.com --mail-rcpt "
                "b@example.org --upload-file - smtp://localhost:1025"
                if port == 1025 else
                "curl -sS --user me:x pop3://localhost:1110/1",
                "Subject: hello\r\n\r\ntext\r\n")
            self.end(process)

    def test_script(self):
        """The lines for CI, again and again."""
        script = blocks("As a mail catcher in development and CI")[2]
        for _ in range(3):
            self.assertIn("Subject: Welcome", self.recipe(script))

    def test_script_without_mail(self):
        """It is told by the status."""
        script = blocks("As a mail catcher in development and CI")[2]
        script = re.sub(r"(?s)\n *printf.*?\(cat port\)\"", "", script)
        script = script.replace("--idle-exit 30", "--idle-exit 1")
        done = subprocess.run(
            self.inside("sh", "-euc", script), env=self.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=3 * DEADLINE)
        self.assertEqual(done.returncode, 1, done.stdout)


class Starting(Recipes):
    """What starts the programs without systemd."""

    def setUp(self):
        super().setUp()
        certificate = blocks("Certificate and users")[0]
        self.recipe(certificate)
        self.recipe("mkdir -p Maildir/cur Maildir/new Maildir/tmp")

    def serves(self, text):
        for _ in range(2):
            process = self.start("sh", "-euc", "exec " + text)
            wait_for(lambda: "+OK" in subprocess.run(
                self.inside("openssl", "s_client", "-quiet", "-CAfile",
                            "tls.crt", "-verify_return_error", "-connect",
                            "127.0.0.1:1995"), input="QUIT\r\n", text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout,
                "its greeting")
            self.end(process)

    def test_listen(self):
        self.serves(blocks("systemd")[2])

    def test_socket_activate(self):
        self.need_systemd()
        self.serves(blocks("systemd")[3])

    def test_tcpserver(self):
        (text,) = blocks("tcpserver")
        self.serves(text)

    def test_pipe(self):
        (text,) = blocks("A pipe")
        for _ in range(2):
            self.assertRegex(self.recipe(text), r"^\+OK [^\n]*\n\+OK [^\n]*\n"
                             r"\+OK [^\n]*\n\+OK 0 0\r?\n\+OK [^\n]*\n$")


class Demo(Recipes):
    def ended(self, process, *statuses):
        self.assertIn(process.wait(DEADLINE), statuses)
        for port in (1995, 1465, 1025):
            self.assertFalse(listening(
                port, f"/proc/{self.namespaces.pid}/net"))

    def signal_it(self, process, number):
        """nsenter does not pass signals on; it became the demo."""
        os.kill(process.pid, number)

    def test_terminated(self):
        process = self.demo()
        self.signal_it(process, signal.SIGTERM)
        self.ended(process, 0)

    def test_interrupted_in_the_background(self):
        """As by a shell without job control, which has it ignored."""
        process = self.demo(preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_IGN))
        self.signal_it(process, signal.SIGINT)
        self.ended(process, 0)

    def test_make_clean_leaves_its_mail(self):
        """And everything else goes."""
        process = self.demo()
        self.signal_it(process, signal.SIGTERM)
        process.wait(DEADLINE)
        before = self.mails()
        self.assertGreater(before, 5)
        subprocess.run(["make", "-s", "-C", str(ROOT), "clean",
                        f"BUILD={self.path('build')}"], check=True,
                       env=self.environment(), timeout=DEADLINE)
        self.assertEqual([path.name for path in self.path("build").iterdir()],
                         ["demo"])
        self.assertEqual(self.mails(), before)
