"""units/acme/deploy: a renewed certificate, for every way of starting; and
mail-handlers-user with services that stay warm."""

import os
import poplib
import shutil
import subprocess
import threading

from booted import PASSWORD, SETTINGS, SOCKETS, Systemd
from certs import Pair, certificates
from mailtest import BUILD, TestCase, wait_for

DEPLOY = BUILD / "units" / "acme" / "deploy"
INSTALLED = "/usr/local/share/mail-handlers/acme/deploy"


class Files(TestCase):
    """What it does to files, and what it refuses."""

    def setUp(self):
        super().setUp()
        self.folder = self.path("etc")
        self.folder.mkdir()
        self.certs = certificates()

    def deploy(self, *argv, env=(), status=0):
        done = subprocess.run(
            ["sh", DEPLOY, *map(str, argv)], capture_output=True, text=True,
            env={"PATH": os.environ["PATH"],
                 "MAIL_HANDLERS_FOLDER": str(self.folder), **dict(env)},
            timeout=60, check=False)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["tls.crt", "tls.key"] if self.there else [])
        return done.stderr

    there = True

    def found(self):
        return [(self.folder / name).read_bytes()
                for name in ("tls.crt", "tls.key")]

    def wanted(self, pair):
        return [pair.crt.read_bytes(), pair.key.read_bytes()]

    def test_first_and_renewed(self):
        server, rsa = self.certs.server, self.certs.rsa
        self.deploy(server.crt, server.key)
        self.assertEqual(self.found(), self.wanted(server))
        self.assertEqual((self.folder / "tls.key").stat().st_mode & 0o777,
                         0o600)
        # As an inetd needs it: of a group
        (self.folder / "tls.key").chmod(0o640)
        self.deploy(rsa.crt, rsa.key)
        self.assertEqual(self.found(), self.wanted(rsa))
        self.assertEqual((self.folder / "tls.key").stat().st_mode & 0o777,
                         0o640)

    def test_certbot(self):
        lineage = self.path("live")
        lineage.mkdir()
        shutil.copy(self.certs.server.crt, lineage / "fullchain.pem")
        shutil.copy(self.certs.server.key, lineage / "privkey.pem")
        self.deploy(env={"RENEWED_LINEAGE": str(lineage)})
        self.assertEqual(self.found(), self.wanted(self.certs.server))

    def test_refused(self):
        """What could not work is not put there."""
        server, rsa, expired = (self.certs.server, self.certs.rsa,
                                self.certs.expired)
        self.there = False
        for argv, why in (((server.key, server.key), "no certificate"),
                          ((server.crt, server.crt), "no private key"),
                          ((server.crt, rsa.key), "is not the key of"),
                          ((expired.crt, expired.key), "has expired"),
                          ((self.path("none"), server.key),
                           "no certificate")):
            with self.subTest(why):
                self.assertIn(why, self.deploy(*argv, status=1))
        self.assertIn("usage:", self.deploy(status=64))


class Booted(Systemd):
    """Under load: sessions one after the other, of several clients."""

    def session(self, password=PASSWORD):
        """One POP3S session: the certificate that was shown, or "later"."""
        try:
            pop3 = poplib.POP3_SSL("localhost", 995, timeout=60,
                                   context=self.certs.client_context())
        except (EOFError, OSError, poplib.error_proto):
            return "later"
        shown = pop3.sock.getpeercert(binary_form=True)
        try:
            pop3.user("anna")
            pop3.pass_(password)
            pop3.quit()
        except (EOFError, OSError, poplib.error_proto) as error:
            return f"wrong: {error}" if b"AUTH" in str(error).encode() \
                else "later"
        finally:
            pop3.close()
        return shown

    def renew(self):
        """While clients come and go; what they saw, before and after."""
        renewed = Pair(self.machine.folder, "renewed")
        self.certs.sign(renewed, self.certs.ca, "DNS:localhost")
        for source, name in ((renewed.crt, "chain"), (renewed.key, "key")):
            self.machine.path(f"root/{name}.pem").write_bytes(
                source.read_bytes())
        ended, deployed = threading.Event(), threading.Event()
        seen = []
        self.after = []     # of sessions that began when all was in place

        def client():
            while not ended.is_set():
                found = self.after if deployed.is_set() else []
                outcome = self.machine.inside(self.session)
                seen.append(outcome)
                found.append(outcome)

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(seen) > 3, "sessions before")
            self.machine.run("sh", INSTALLED, "/root/chain.pem",
                             "/root/key.pem")
            deployed.set()
            wait_for(lambda: len(self.after) > 6, "sessions after")
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        old, new = seen[0], seen[-1]
        self.assertNotIn("later", (old, new))
        self.assertNotEqual(old, new)
        return seen, old, new


class Executed(Booted):
    def test_renewed_under_load(self):
        """Nobody notices anything but the new certificate, or who comes
        between the two renames that it takes."""
        seen, old, new = self.renew()
        self.assertLessEqual(set(seen), {old, new, "later"})
        self.assertEqual(set(self.after), {new})


class Warm(Booted):
    sockets = tuple(name.replace(".socket", "-warm.socket")
                    for name in SOCKETS)

    def test_renewed_under_load(self):
        """A session that has begun may be told to come later."""
        seen, old, new = self.renew()
        self.assertLessEqual(set(seen), {old, new, "later"})

    def test_password_counts_at_once(self):
        self.assertNotIsInstance(self.machine.inside(self.session), str)
        self.machine.run("mail-handlers-user", "password", "anna",
                         stdin=b"another\n")
        try:
            outcome = wait_for(
                lambda: (lambda found: found != "later" and found)(
                    self.machine.inside(self.session)), "an answer")
            self.assertTrue(str(outcome).startswith("wrong:"), outcome)
            self.assertNotIsInstance(self.machine.inside(
                lambda: self.session("another")), str)
        finally:
            self.machine.run("mail-handlers-user", "password", "anna",
                             stdin=f"{PASSWORD}\n".encode())
        self.assertIn("anna", self.machine.path(
            f"{SETTINGS}/users").read_text())
