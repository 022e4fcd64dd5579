"""The units for one user, without root, under that user's own systemd."""

import os

from booted import Systemd
from mailtest import BUILD, Pop3Peer, SmtpPeer, wait_for

UID = 5000
HOME = "/home/carl"
RUNTIME = f"/run/user/{UID}"


class UserUnits(Systemd):
    sockets = ("pop3-handler.socket",)     # of the system; not used

    @classmethod
    def install(cls):
        super().install()
        machine = cls.machine
        with open(machine.path("etc/passwd"), "a") as passwd:
            passwd.write(f"carl:x:{UID}:{UID}::{HOME}:/bin/sh\n")
        with open(machine.path("etc/group"), "a") as group:
            group.write(f"carl:x:{UID}:\n")
        for folder in (HOME, RUNTIME):
            machine.run("install", "-d", "-m", "700", "-o", UID, "-g", UID,
                        folder)
        # What logind does at a login, as far as it matters here.
        machine.run("systemd-run", "--unit=carl", f"--uid={UID}",
                    "--property=Delegate=yes", "--property=Type=notify",
                    f"--setenv=XDG_RUNTIME_DIR={RUNTIME}",
                    f"--setenv=HOME={HOME}",
                    "/lib/systemd/systemd", "--user")

    def as_carl(self, *argv, stdin=b""):
        return self.machine.run(
            "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
            "env", f"HOME={HOME}", f"XDG_RUNTIME_DIR={RUNTIME}", *argv,
            stdin=stdin, folder=HOME)

    def systemctl(self, *words):
        return self.as_carl("systemctl", "--user", *words)

    def clear(self, port, kind):
        sock = self.machine.dial(port)
        peer = kind(self.transport(sock))
        self.addCleanup(peer.close)
        return peer

    def ended(self, unit):
        """With --idle-exit's minute it does not end by itself here."""
        self.systemctl("stop", unit)
        wait_for(lambda: self.systemctl(
            "show", "--value", "-p", "ActiveState", unit) == "inactive\n",
            f"{unit} to end")

    def test_mail_catcher(self):
        """No login, any recipient; what was caught is served and deleted."""
        self.systemctl("enable", "--now", "mail-catcher.socket",
                       "mail-catcher-pop3.socket")
        pop3 = self.clear(1110, Pop3Peer).login("any", "thing")
        self.assertEqual(pop3.stat()[0], 0)
        pop3.quit()
        for round_ in (1, 2):
            smtp = self.clear(1025, SmtpPeer)
            smtp.hello()
            reply = smtp.message(f"Subject: {round_}\n\nbody\n", "app@x.test",
                                 "one@y.test", "two@z.test")
            self.assertEqual(str(reply), "250 2.0.0")
            smtp.quit()
            # The socket stays, and the next client starts it again.
            self.ended("mail-catcher.service")
        pop3 = self.clear(1110, Pop3Peer).login("any", "thing")
        self.assertEqual(pop3.stat()[0], 2)
        _, text = pop3.retr(2)
        self.assertIn(b"\r\nX-Envelope-To: two@z.test\r\n", text)
        pop3.expect("DELE 1", r"\+OK")
        pop3.quit()
        pop3 = self.clear(1110, Pop3Peer).login("other", "words")
        self.assertEqual(pop3.stat()[0], 1)
        pop3.quit()
        owner = os.stat(self.machine.path(HOME.lstrip("/"))).st_uid
        self.assertEqual(owner, UID)

    def test_own_mailbox(self):
        """As mailbox-pop3.socket says."""
        tool = (BUILD / "units" / "mail-handlers-user").name
        self.as_carl("mkdir", "-p", f"{HOME}/.config/mail-handlers")
        self.as_carl("env", "MAIL_HANDLERS_USERS="
                     f"{HOME}/.config/mail-handlers/users",
                     f"/usr/local/sbin/{tool}", "add", "me",
                     stdin=b"open sesame\n")
        self.systemctl("enable", "--now", "mailbox-pop3.socket",
                       "mailbox-smtp.socket")
        smtp = self.clear(2025, SmtpPeer)
        smtp.hello()
        smtp.expect("MAIL FROM:<a@b.test>", "530 5.7.0")
        smtp.login("me", "open sesame")
        reply = smtp.message("Subject: mine\n\nbody\n", "a@b.test", "c@d.test")
        self.assertEqual(str(reply), "250 2.0.0")
        smtp.quit()
        pop3 = self.clear(2110, Pop3Peer)
        pop3.expect(None, r"\+OK")
        pop3.expect("USER me", r"\+OK")
        pop3.expect("PASS open", r"-ERR \[AUTH\]")
        pop3.expect("USER me", r"\+OK")
        pop3.expect("PASS open sesame", r"\+OK")
        self.assertEqual(pop3.stat()[0], 1)
        pop3.quit()
        self.assertEqual(self.as_carl("ls", f"{HOME}/Maildir").split(),
                         ["cur", "new", "tmp"])
