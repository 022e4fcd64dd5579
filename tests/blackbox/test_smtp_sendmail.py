"""README.md's recipes for programs that call sendmail: Debian's msmtp-mta at
port 25, and dma, which queues, with a login; in a network, an /etc and a
/var/spool of their own."""

import pathlib
import subprocess

from certs import certificates
from frontdoor import hash_of
from mailtest import DEADLINE, HOST, ROOT, SMTP, TOOLS, wait_for
from recipes import Recipes, blocks
from superservers import listening

CRON = "Subject: Cron <root@host> true\n\n%s\n"


class Sendmail(Recipes):
    def setUp(self):
        self.need_root("have an /etc of its own")
        super().setUp()
        self.mail = self.path("mail")
        for name in ("upper", "work"):
            self.path(name).mkdir()
        users = self.write("users", f"anna:{hash_of('secret-pw')}\n")
        aliases = self.write("aliases", "root: anna\n", 0o644)
        self.options = [
            "--hostname", HOST, "--domain", "example.com", "--auth",
            f"file:{users}", "--aliases", aliases, "--maildir",
            f"{self.mail}/%u", "--log", "stderr",
            *certificates().server.options()]
        self.mail.mkdir()
        self.recipe(
            f"mount -t overlay overlay -o lowerdir=/etc,upperdir="
            f"{self.path('upper')},workdir={self.path('work')} /etc\n"
            "mount -t tmpfs tmpfs /var/spool\nmkdir /var/spool/dma /etc/dma\n"
            "chown root:mail /var/spool/dma /etc/dma\n"
            "chmod 2770 /var/spool/dma")

    def put(self, name, text):
        self.recipe(f"cat >{name}; chown root:mail {name}; chmod 640 {name}",
                    text)

    def serve(self, settings, port):
        process = self.start(
            str(SMTP), "--config", str(ROOT / "units" / settings),
            *map(str, self.options), "--listen", str(port))
        wait_for(lambda: listening(
            port, f"/proc/{self.namespaces.pid}/net"), "the server")
        return process

    def sendmail(self, program, *args, text):
        """As cron calls it."""
        return subprocess.run(
            self.inside(program, "-i", "-FCronDaemon", *args),
            input=CRON % text, text=True, env=self.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=DEADLINE)

    def annas(self, text):
        """Her one message with that text."""
        found = wait_for(lambda: [
            path for path in self.mail.glob("anna/new/*")
            if f"\n\n{text}\n" in path.read_text()], text)
        self.assertEqual(len(found), 1)
        return found[0].read_text()

    def test_msmtp(self):
        self.put("/etc/msmtprc", blocks("sendmail, cron")[0])
        self.recipe("chmod 644 /etc/msmtprc")
        self.path("sendmail").symlink_to("/usr/bin/msmtp")
        program = str(self.path("sendmail"))
        down = self.sendmail(program, "root", text="nobody there")
        self.assertNotEqual(down.returncode, 0)     # it has no queue
        self.serve("smtp-handler-mx.conf", 25)
        for n in range(2):
            done = self.sendmail(program, "root", text=f"from cron {n}")
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            content = self.annas(f"from cron {n}")
            self.assertIn("Return-Path: <root@example.com>\n", content)
        elsewhere = self.sendmail(program, "eve@example.org", text="no")
        self.assertNotEqual(elsewhere.returncode, 0)
        self.assertIn("550", elsewhere.stdout)

    def test_dma(self):
        settings, login = blocks("sendmail, cron")[1:]
        # It would try again after five minutes, and is not waited for
        self.put("/etc/dma/dma.conf", settings + "DEFER\n")
        self.put("/etc/dma/auth.conf", login.replace("PASSWORD",
                                                     "secret-pw"))
        dma = str(TOOLS / "dma" / "usr/sbin/dma")
        # While nobody answers it is kept
        done = self.sendmail(dma, "anna@example.com", text="kept")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(len(self.queued()), 2)
        self.serve("smtp-handler.conf", 465)
        self.recipe(f"{dma} -q1")
        self.annas("kept")
        wait_for(lambda: not self.queued(), "the queue's end")
        self.put("/etc/dma/dma.conf", settings)
        done = self.sendmail(dma, "anna@example.com", text="at once")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        content = self.annas("at once")
        self.assertIn("with ESMTPSA", content)
        self.assertIn("Return-Path: <anna@example.com>\n", content)

    def queued(self):
        """Messages, each with its envelope."""
        queue = pathlib.Path(
            f"/proc/{self.namespaces.pid}/root/var/spool/dma")
        return [path.name for path in queue.iterdir()
                if path.name.startswith(("M", "Q"))]


del Recipes
