"""The Debian packages in a booted systemd: installed, upgraded while sessions
run, removed, purged."""

import os
import re
import shutil
import subprocess
import unittest

from booted import PASSWORD, SETTINGS, Systemd
from mailtest import BUILD, ROOT, SANITIZED, Pop3Peer, SmtpPeer


def build(folder, suffix=""):
    """The packages, as make deb makes them: what is built already."""
    text = (ROOT / "common/base/version.h").read_text()
    version = re.search(r'VERSION "(.*)"', text)[1] + suffix
    keep = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME", "TMPDIR", "PKG_CONFIG_PATH")}
    done = subprocess.run(
        ["sh", ROOT / "units/debian/build.sh", version, folder], env={
            **keep, "BUILD": os.path.relpath(BUILD, ROOT)},
        capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return version


class Packages(Systemd):
    sockets = ()

    @classmethod
    def setUpClass(cls):
        if SANITIZED:
            raise unittest.SkipTest("no packages of a sanitizer's programs")
        super().setUpClass()

    @classmethod
    def install(cls):
        """By dpkg alone; then what an administrator adds."""
        machine = cls.machine
        for folder in ("old", "new"):
            cls.version = build(machine.folder / folder,
                                "" if folder == "old" else "+1")
            shutil.copytree(machine.folder / folder,
                            machine.path(f"root/{folder}"))
        cls.dpkg("-i", *cls.packages("old"))
        cls.put_files()

    @classmethod
    def packages(cls, folder):
        return [f"/root/{folder}/{path.name}" for path
                in (cls.machine.folder / folder).glob("*.deb")
                if "-dev" not in path.name]

    @classmethod
    def dpkg(cls, *words):
        """No question can be asked: there is nobody.  The systemd that runs
        may be one that was only unpacked."""
        return cls.machine.run("env", "DEBIAN_FRONTEND=noninteractive",
                               "dpkg", "--ignore-depends=systemd", *words,
                               timeout=900)

    def test_life(self):
        machine = self.machine
        # Nothing runs, nothing is enabled, the user and folders are there.
        for unit in ("pop3-handler.socket", "smtp-handler-warm.socket"):
            self.assertEqual(machine.run("systemctl", "is-enabled", unit,
                                         check=False).strip(), "disabled")
        self.assertEqual(machine.run("id", "-un", "mail-handlers").strip(),
                         "mail-handlers")
        machine.run("systemctl", "enable", "--now", "pop3-handler.socket",
                    "smtp-handler-warm.socket")
        self.submit("first@example.com", "kept")
        settings = machine.path(f"{SETTINGS}/pop3-handler.conf")
        settings.write_text(settings.read_text() + "# mine\n")

        # Upgraded: both sessions go on, and new ones are of the new program.
        executed = self.pop3("bert")
        warm = self.dial(465, SmtpPeer)
        warm.hello()
        self.dpkg("-i", "--force-confold", *self.packages("new"))
        executed.expect("NOOP", r"\+OK")
        warm.login("anna", PASSWORD)
        warm.quit()
        executed.quit()
        self.assertTrue(settings.read_text().endswith("# mine\n"))
        self.assertIn("+1", machine.run("dpkg-query", "-W", "-f",
                                        "${Version}", "mail-handlers"))
        self.submit("second@example.com", "kept too")
        self.assertIn("kept too", self.fetch("second@example.com"))

        # Removed: no socket is left, and all of the administrator's is.
        self.dpkg("-r", "mail-handlers")
        self.assertEqual(machine.run(
            "systemctl", "list-units", "--plain", "--no-legend",
            "--state=active", "*-handler*", check=False).strip(), "")
        self.assertFalse(machine.path("usr/sbin/pop3-handler").exists())
        self.assertTrue(settings.exists())
        self.dpkg("-P", "mail-handlers")
        self.assertFalse(settings.exists())
        for kept in ("users", "tls.crt", "tls.key"):
            self.assertTrue(machine.path(f"{SETTINGS}/{kept}").exists())
        mails = list(machine.path(
            "var/lib/mail-handlers/maildir/bert").glob("[cn]*/*"))
        self.assertEqual(len(mails), 2)
        self.assertFalse(machine.path("var/cache/mail-handlers").exists())
        # And again
        self.dpkg("-i", *self.packages("new"))
        machine.run("systemctl", "enable", "--now", "pop3-handler.socket")
        pop3 = self.dial(995, Pop3Peer).login("bert", PASSWORD)
        self.assertEqual(pop3.stat()[0], 2)
        pop3.quit()
