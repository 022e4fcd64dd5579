"""smtp-handler --relay to Debian's Postfix, with TLS from the start and by
STARTTLS, logins by Dovecot's SASL.  smtp-handler(8), Relaying."""

import re

from certs import certificates
from dovecot import Dovecot
from hops import BODIES, LONG_LINES, Hops, letters
from mailtest import free_port, smtp_wire, wait_for
from postfix import Postfix

SERVICES = """\
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{smtp} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.1:{login} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_mechanism_filter=login
127.0.0.1:{idle} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
  -o smtpd_timeout=2s
"""
BOXES = ("ann", "bob", "joe", "jürgen")
QUEUED = rb"250 2\.0\.0 Ok: queued as [0-9A-F]+"


class ToPostfix(Hops):
    @classmethod
    def setUpClass(cls):
        """One Postfix for all of them: it takes its time to start."""
        super().setUpClass()
        certs = certificates()
        cls.ports = {name: free_port() for name in ("smtps", "smtp", "login",
                                              "idle")}
        cls.dovecot = Dovecot(cls, {"relay-user": "relay-secret"})
        boxes = ", ".join(f"{{{name}@example.org = {name}/}}"
                          for name in BOXES)
        cls.postfix = Postfix(
            cls, SERVICES.format(**cls.ports), **{
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": cls.dovecot.auth,
                "smtpd_tls_auth_only": "yes",
                "smtpd_tls_chain_files":
                    f"{certs.server.key}, {certs.server.crt}",
                "smtpd_tls_received_header": "yes",
                "mynetworks": "192.0.2.255/32",
                "message_size_limit": "2000000",
                "header_checks": "regexp:{{/^Subject: spam/ "
                                 "REJECT 5.7.9 no spam}}",
                "smtpd_delay_reject": "no",
                "smtpd_sender_restrictions": "check_sender_access inline:"
                    "{{spam.test = 553 5.1.8 not you}}",
                "smtpd_relay_restrictions": "reject_unauth_destination",
                "smtpd_recipient_restrictions":
                    "check_recipient_access inline:{{later@example.org = "
                    "450 4.2.1 come back}}, permit_sasl_authenticated, reject",
                "virtual_mailbox_domains": "example.org",
                "virtual_mailbox_maps": f"inline:{{{boxes}}}"})

    def setUp(self):
        super().setUp()
        self.before = len(self.postfix.log())
        for name in BOXES:      # what a test that failed has left
            for path in self.folder(name).glob("new/*"):
                path.unlink()
        self.addCleanup(lambda: print(self.log()))

    def log(self):
        """Postfix's words of this test."""
        return self.postfix.log()[self.before:]

    def wait_logged(self, pattern, times):
        """A line for the end of a session comes after that, and perhaps one
        of the test before."""
        wait_for(lambda: len(re.findall(pattern, self.log())) == times,
                 pattern)

    def folder(self, name):
        return self.postfix.mail / name

    def account(self, name="smtps", **kwargs):
        scheme = "smtp" if name == "smtp" else "smtps"
        return self.account_at(scheme, self.ports[name], **kwargs)

    def traces(self, name):
        return ("Return-Path: <joe@example.com>", "X-Original-To: " + name,
                "Delivered-To: " + name,
                r"Received: from mail\.test \(localhost \[127\.0\.0\.1\]\) "
                r"\(using TLSv1\.3 .*\) .*by postfix\.test \(Postfix\) with "
                r"ESMTPSA id .*",
                r"Received: from client\.test .*by mail\.test .*with "
                r"ESMTPA .*")

    def test_letters(self):
        for scheme in ("smtps", "smtp"):
            smtp = self.relay(self.account(scheme))
            for name, letter in letters({**BODIES, **LONG_LINES}).items():
                with self.subTest(scheme=scheme, letter=name):
                    self.sent(smtp, letter, "ann@example.org",
                              "bob@example.org", reply=QUEUED)
                    for box in ("ann", "bob"):
                        self.assert_arrived(
                            self.folder(box), letter,
                            *self.traces(f"{box}@example.org"))
            smtp.quit()
        # One connection and one login for all of them
        n = len(BODIES) + len(LONG_LINES)
        for begin in ("ehlo=1", "ehlo=2 starttls=1"):
            self.wait_logged(
                rf" disconnect from \S+ {begin} auth=1 mail={n} rcpt={2 * n} "
                rf"data={n} quit=1 ", 1)

    def test_verdicts(self):
        (letter,) = letters({"for one": b"\nx\n"}).values()
        for scheme in ("smtps", "smtp"):
            with self.subTest(scheme=scheme):
                smtp = self.relay(self.account(scheme))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                for name, reply in (
                        ("eve@example.org", b"550 5.1.1 <eve@example.org>: "
                         b"Recipient address rejected: User unknown in "
                         b"virtual mailbox table"),
                        ("later@example.org", b"450 4.2.1 <later@example.org>"
                         b": Recipient address rejected: come back"),
                        ("x@elsewhere.test", b"554 5.7.1 <x@elsewhere.test>: "
                         b"Relay access denied"),
                        ("ann@example.org", b"250 2.1.5 Ok"),
                        ("eve2@example.org", b"550 5.1.1 <eve2@example.org>: "
                         b"Recipient address rejected: User unknown in "
                         b"virtual mailbox table")):
                    self.assertEqual(smtp.cmd(f"RCPT TO:<{name}>").raw,
                                     [reply])
                (line,) = smtp.text(smtp_wire(letter)).raw
                self.assertRegex(line, QUEUED)
                self.assert_arrived(self.folder("ann"), letter,
                                    *self.traces("ann@example.org"))
                # All refused: there is nothing to send
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<eve@example.org>", "550 5.1.1")
                smtp.expect("DATA", "503 5.5.1")
                smtp.quit()

    def test_sender_refused(self):
        """The verdict on MAIL is heard at each RCPT."""
        smtp = self.relay(self.account())
        smtp.expect("MAIL FROM:<x@spam.test>", "250 2.1.0")
        for name in ("ann@example.org", "eve@example.org"):
            self.assertEqual(smtp.cmd(f"RCPT TO:<{name}>").raw, [
                b"553 5.1.8 <x@spam.test>: Sender address rejected: not you"])
        smtp.expect("RSET", "250 2.0.0")
        (letter,) = letters({"from another": b"\nx\n"}).values()
        self.sent(smtp, letter, "ann@example.org", reply=QUEUED)
        self.assert_arrived(self.folder("ann"), letter,
                            *self.traces("ann@example.org"))

    def test_text_refused(self):
        smtp = self.relay(self.account())
        for name, reply in (("spam", rb"550 5\.7\.9 no spam"),
                            ("ham", QUEUED)):
            (letter,) = letters({name: b"\nx\n"}).values()
            self.sent(smtp, letter, "ann@example.org", "bob@example.org",
                      reply=reply)
        (ham,) = letters({"ham": b"\nx\n"}).values()
        for box in ("ann", "bob"):
            self.assert_arrived(self.folder(box), ham,
                                *self.traces(f"{box}@example.org"))

    def test_size(self):
        """Too large for the hop: at RCPT where the client told the size, at
        the end of the text where it did not; it is not sent then, for the
        hop has told its limit."""
        smtp = self.relay(self.account("smtp"))
        smtp.expect("MAIL FROM:<joe@example.com> SIZE=3000000", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<ann@example.org>").raw, [
            b"552 5.3.4 Message size exceeds fixed limit"])
        smtp.expect("RSET", "250 2.0.0")
        large, small = letters({"large": b"\n" + b"x" * 70 + b"\n" * 1_500_000,
                                "small": b"\nx\n"}).values()
        self.sent(smtp, large, "ann@example.org",
                  reply=b"552 5.3.4 The message is larger than the next hop "
                  b"takes")
        self.sent(smtp, small, "ann@example.org", reply=QUEUED)
        self.assert_arrived(self.folder("ann"), small,
                            *self.traces("ann@example.org"))

    def test_wrong_password(self):
        for scheme in ("smtps", "smtp"):
            for login in ("relay-user another-secret", "nobody relay-secret"):
                with self.subTest(scheme=scheme, login=login):
                    self.no_login(self.account(scheme, login=login),
                                  "localhost answered AUTH with 535 5.7.8")
        # Once for each transaction: its second recipient does not try again.
        self.wait_logged("SASL PLAIN authentication failed", 4)

    def test_auth_login(self):
        smtp = self.relay(self.account("login"))
        (letter,) = letters({"by LOGIN": b"\nx\n"}).values()
        self.sent(smtp, letter, "ann@example.org", reply=QUEUED)
        self.assertIn("sasl_method=LOGIN, sasl_username=relay-user",
                      self.log())
        self.assert_arrived(self.folder("ann"), letter,
                            *self.traces("ann@example.org"))

    def test_slow_upload(self):
        """Postfix sends us away meanwhile, here after 2 s, and is called
        again."""
        smtp = self.relay(self.account("idle"))
        (letter,) = letters({"slow": b"\nx\n"}).values()
        smtp.envelope("joe@example.com", "ann@example.org",
                      "bob@example.org")
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire(letter)[:-3])
        self.wait_logged("timeout after RCPT", 1)
        smtp.send(b".\r\n")
        self.assertRegex(smtp.reply().raw[0], QUEUED)
        smtp.quit()
        for box in ("ann", "bob"):
            self.assert_arrived(self.folder(box), letter,
                                *self.traces(f"{box}@example.org"))
        self.wait_logged(r"disconnect from \S+ ehlo=1 auth=1 mail=1 rcpt=2 "
                         r"(data=1 quit=1 )?commands", 2)

    def test_without_login(self):
        smtp = self.relay(self.account(login=""))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<ann@example.org>").raw, [
            b"554 5.7.1 <ann@example.org>: Recipient address rejected: "
            b"Access denied"])

    def test_strangers_certificate(self):
        for scheme in ("smtps", "smtp"):
            for query in ("", f"?ca={self.certs.other_ca.crt}"):
                with self.subTest(scheme=scheme, query=query):
                    self.no_trust(self.account(scheme, query=query))
        self.wait_logged(r"disconnect from \S+ (ehlo=1 starttls=0/1 )?"
                         r"commands=[01]/[02]\n", 4)

    def test_smtputf8(self):
        letter = ("From: jürgen@example.org\nSubject: Grüße\n"
                  "Date: Sat, 28 Nov 2026 12:00:00 +0000\n"
                  "Message-ID: <1@example.com>\n\n€\n").encode()
        smtp = self.relay(self.account())
        smtp.expect("MAIL FROM:<jürgen@example.org> SMTPUTF8 BODY=8BITMIME",
                    "250 2.1.0")
        smtp.expect("RCPT TO:<jürgen@example.org>", "250 2.1.5")
        (line,) = smtp.text(smtp_wire(letter)).raw
        self.assertRegex(line, QUEUED)
        fields, text = self.arrived(self.folder("jürgen"))
        self.assertEqual(text, letter)
        self.assertEqual(fields[:3], [
            "Return-Path: <jürgen@example.org>",
            "X-Original-To: jürgen@example.org",
            "Delivered-To: jürgen@example.org"])
        self.assertIn("with UTF8SMTPSA id", fields[3])
        self.assertIn("with UTF8SMTPA id", fields[4])

    def test_notification(self):
        """What RFC 3461 says of parameters is heard and obeyed there."""
        smtp = self.relay(self.account())
        smtp.expect("MAIL FROM:<joe@example.org> RET=HDRS ENVID=QQ+2B314",
                    "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org> NOTIFY=SUCCESS "
                    "ORCPT=rfc822;anna+2Bx@example.net", "250 2.1.5")
        smtp.expect("RCPT TO:<bob@example.org> NOTIFY=NEVER", "250 2.1.5")
        (letter,) = letters({"told": b"\nhush\n"}).values()
        self.assertRegex(smtp.text(smtp_wire(letter)).raw[0], QUEUED)
        for box in ("ann", "bob"):
            self.assertEqual(self.arrived(self.folder(box))[1], letter)
        fields, notice = self.arrived(self.folder("joe"))
        self.assertEqual(fields[0], "Return-Path: <>")
        for line in (b"Original-Envelope-Id: QQ+314",
                     b"Original-Recipient: rfc822;anna+x@example.net",
                     b"Final-Recipient: rfc822; ann@example.org",
                     b"Action: delivered", b"Subject: told"):
            self.assertIn(b"\n" + line + b"\n", notice)
        self.assertNotIn(b"bob@example.org", notice)
        self.assertNotIn(b"hush", notice)
