"""No open relay: a session without login never reaches a next hop, whatever
the options.  A table of them all."""

import itertools

from mailtest import HOST, SMTP, SmtpPeer
from nexthop import ScriptedHop
from relay import Relay

RECIPIENTS = ("a@elsewhere.test", "joe@" + HOST, "postmaster@" + HOST,
              "a%elsewhere.test@" + HOST, "@" + HOST + ":a@elsewhere.test",
              '"a@elsewhere.test"@' + HOST)
SENDERS = ("", "joe@example.com", "joe@" + HOST)

HASH = ("$6$xxxxxxxx$DRcf5Ng6elGlOWU2dzQGSosw65EYBB0WnCb9foc69U9tdwIlwLq5Mxj"
        "TXkhTNisIbo/V2wfEp49uR5w3yWMwi1")

AUTHS = ("none", "any", "any-remote", "file", "exec")
MAILDIRS = ("none", "one", "each", "each made")


class NoOpenRelay(Relay):
    def setUp(self):
        super().setUp()
        self.hop = ScriptedHop(self)
        self.account_file = self.accounts(
            f"* smtp+plain://localhost:{self.hop.port} relay-user secret")
        self.make_maildir(self.mail / "joe")
        # Of a password that is never said
        self.write("users", f"joe:{HASH}\n")

    def options(self, auth, maildir, no_auth_required, lmtp, tls):
        options = ["--relay", self.account_file, "--tls", tls]
        options += {"none": [], "file": ["--auth", f"file:{self.dir}/users"],
                    "exec": ["--auth", "exec:/bin/false x"]}.get(
                        auth, ["--auth", auth])
        options += {"none": [], "one": ["--maildir", self.mail],
                    "each": ["--maildir", f"{self.mail}/%u"],
                    "each made": ["--maildir", f"{self.mail}/%u",
                                  "--create-maildirs"]}[maildir]
        options += ["--no-auth-required"] if no_auth_required else []
        options += ["--lmtp"] if lmtp else []
        return options

    def wrong_login(self, smtp, how):
        if how == "cancelled":
            if smtp.cmd("AUTH LOGIN").code == 334:
                smtp.expect("*", "501 5.7.0")

    def try_it(self, options, hello, how, remote):
        env = {"TCPREMOTEIP": "192.0.2.9"} if remote else None
        smtp = self.spawn(SMTP, *options, kind=SmtpPeer, env=env)
        if smtp.reply().code != 220:
            return 0
        smtp.expect(f"{hello} client.test", "250")
        self.wrong_login(smtp, how)
        taken = 0
        for sender in SENDERS:
            if smtp.cmd(f"MAIL FROM:<{sender}> AUTH=<>").code != 250:
                continue
            accepted = [smtp.cmd(f"RCPT TO:<{recipient}>").code == 250
                        for recipient in RECIPIENTS]
            if any(accepted):
                taken += 1
                smtp.expect("DATA", "354")
                smtp.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                for _ in range(sum(accepted) if hello == "LHLO" else 1):
                    self.assertEqual(smtp.reply().code, 250)
            smtp.expect("RSET", "250 2.0.0")
        smtp.quit()
        return taken

    def each(self, auths, how, remote=False):
        taken = 0
        for auth, maildir, free, lmtp, tls in itertools.product(
                auths, MAILDIRS, (False, True), (False, True),
                ("off", "outer")):
            options = self.options(auth, maildir, free, lmtp, tls)
            # Nobody could send anything: refused from the start
            if auth == "none" and (not free or maildir == "none"):
                continue
            # Everybody would be local, or could have a maildir: likewise
            if auth == "any" and tls == "outer" or (
                    free and maildir == "each made" and auth != "file"):
                continue
            with self.subTest(options=options[2:]):
                taken += self.try_it(options, "LHLO" if lmtp else "EHLO",
                                     how, remote)
                self.assertEqual(self.hop.connections, [])
        return taken

    def test_silent(self):
        # Some mail is kept here: the table is not all refusals
        self.assertGreater(self.each(AUTHS, "silent"), 20)

    def test_from_elsewhere(self):
        self.assertGreater(self.each(("none", "any", "file"), "silent",
                                     remote=True), 20)

    def test_cancelled_login(self):
        self.each(("any", "any-remote", "file"), "cancelled")

    def test_wrong_login(self):
        """Each wait for a wrong login takes a second: only a few."""
        for options in (["--auth", "any"],
                        ["--auth", f"file:{self.dir}/users"],
                        ["--auth", "any", "--no-auth-required"]):
            with self.subTest(options=options):
                smtp = self.spawn(SMTP, "--tls", "off", "--relay",
                                  self.account_file, *options, kind=SmtpPeer)
                smtp.hello()
                # A name, and an empty password
                smtp.expect("AUTH PLAIN AGpvZQA=", "535 5.7.8")
                free = "--no-auth-required" in options
                smtp.expect("MAIL FROM:<joe@example.com>",
                            "250 2.1.0" if free else "530 5.7.0")
                smtp.expect("RCPT TO:<a@elsewhere.test>",
                            "550 5.7.1" if free else "503 5.5.1")
                self.assertEqual(self.hop.connections, [])

    def test_the_same_with_a_login(self):
        """Else the hop might be unreachable for other reasons."""
        smtp = self.relay(self.account_file)
        smtp.envelope("joe@example.com", "a@elsewhere.test")
        self.assertEqual(smtp.text(b"x\r\n.\r\n").code, 250)
        self.assertEqual(len(self.hop.messages), 1)
