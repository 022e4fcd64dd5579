"""smtp-handler --relay to Debian's OpenSMTPD, with TLS from the start and by
STARTTLS, and a login.  smtp-handler(8), Relaying.

It offers neither PIPELINING nor, where it refuses, always an enhanced code."""

import re

from frontdoor import hash_of
from hops import BODIES, LONG_LINES, Hops, letters
from mailtest import free_port, smtp_wire, wait_for
from opensmtpd import OpenSmtpd

CONFIG = """\
pki hop cert "{certs.rsa.crt}"
pki hop key "{certs.rsa.key}"
table logins {{ "relay-user" = "{hash}" }}
table users {{ "ann@example.org" = "vmail", "bob@example.org" = "vmail", \
	"old@example.org" = "error:551 moved", \
	"later@example.org" = "error:450 not now" }}
smtp max-message-size 2000000
listen on 127.0.0.1 port {smtps} smtps pki hop auth <logins> hostname hop.test
listen on 127.0.0.1 port {smtp} tls-require pki hop auth <logins> \\
	hostname hop.test
action "in" maildir "MAIL/%{{dest.user}}" virtual <users>
match from any for rcpt-to "no@example.org" reject
match auth from any for domain "example.org" action "in"
"""
QUEUED = rb"250 2\.0\.0 [0-9a-f]{8} Message accepted for delivery"


class ToOpenSmtpd(Hops):
    def setUp(self):
        super().setUp()
        self.ports = {"smtps": free_port(), "smtp": free_port()}
        self.hop = OpenSmtpd(self, CONFIG.format(
            certs=self.certs, hash=hash_of("relay-secret"), **self.ports))

    def account(self, scheme="smtps", **kwargs):
        return self.account_at(scheme, self.ports[scheme], **kwargs)

    def folder(self, name):
        return self.hop.mail / name

    def traces(self, name):
        return ("Return-Path: <joe@example.com>",
                f"Delivered-To: {name}@example.org",
                r"Received: from mail\.test \(localhost \[127\.0\.0\.1\]\) "
                r"by hop\.test \(OpenSMTPD\) with ESMTPSA id .* "
                r"\(TLSv1\.3:.*",
                r"Received: from client\.test .*by mail\.test .*with "
                r"ESMTPA .*")

    def test_letters(self):
        lines = {name: body for name, body in LONG_LINES.items()
                 if len(body) < 65000}
        for scheme in self.ports:
            smtp = self.relay(self.account(scheme))
            for name, letter in letters({**BODIES, **lines}).items():
                with self.subTest(scheme=scheme, letter=name):
                    self.sent(smtp, letter, "ann@example.org",
                              "bob@example.org", reply=QUEUED)
                    for box in ("ann", "bob"):
                        self.assert_arrived(self.folder(box), letter,
                                            *self.traces(box))
        # One connection and one login for all of them
        self.assertEqual(len(re.findall(
            "smtp authentication user=relay-user result=ok",
            self.hop.log())), 2)
        self.assertEqual(self.hop.log().count("smtp connected"), 2)

    def test_verdicts(self):
        (letter,) = letters({"for one": b"\nx\n"}).values()
        for scheme in self.ports:
            with self.subTest(scheme=scheme):
                smtp = self.relay(self.account(scheme))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                for name, reply in (
                        # A missing enhanced code becomes X.0.0
                        ("no@example.org", b"550 5.0.0 Invalid recipient: "
                         b"<no@example.org>"),
                        ("x@elsewhere.test", b"550 5.0.0 Invalid recipient: "
                         b"<x@elsewhere.test>"),
                        ("eve@example.org", b"524 5.2.4 Mailing list expansion"
                         b" problem: <eve@example.org>"),
                        ("old@example.org", b"551 5.0.0 moved: "
                         b"<old@example.org>"),
                        ("later@example.org", b"450 4.0.0 not now: "
                         b"<later@example.org>"),
                        ("ann@example.org", b"250 2.1.5 Destination address "
                         b"valid: Recipient ok"),
                        ("no@example.org", b"550 5.0.0 Invalid recipient: "
                         b"<no@example.org>")):
                    self.assertEqual(smtp.cmd(f"RCPT TO:<{name}>").raw,
                                     [reply])
                (line,) = smtp.text(smtp_wire(letter)).raw
                self.assertRegex(line, QUEUED)
                self.assert_arrived(self.folder("ann"), letter,
                                    *self.traces("ann"))
                # All refused: there is nothing to send
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<no@example.org>", "550 5.0.0")
                smtp.expect("DATA", "503 5.5.1")
                smtp.quit()
        wait_for(lambda: self.hop.log().count("stat=Delivered") == 2,
                 "the end of the deliveries")

    def refused_text(self, letter, reply):
        """The hop leaves with those words; the next message has another
        connection."""
        (small,) = letters({"small": b"\nx\n"}).values()
        for scheme in self.ports:
            with self.subTest(scheme=scheme):
                smtp = self.relay(self.account(scheme))
                self.sent(smtp, letter, "ann@example.org", reply=reply)
                self.sent(smtp, small, "ann@example.org", reply=QUEUED)
                self.assert_arrived(self.folder("ann"), small,
                                    *self.traces("ann"))

    def test_line_too_long(self):
        """Refused in the middle of the text, and the connection closed."""
        (letter,) = letters({"long": b"\n" + b"x" * 66_000 + b"\n"
                             + b"more\n" * 200_000}).values()
        self.refused_text(letter, rb"500 5\.0\.0 Line too long")

    def test_size(self):
        large, small = letters({"large": b"\n" + (b"x" * 70 + b"\n") * 30_000,
                                "small": b"\nx\n"}).values()
        smtp = self.relay(self.account())
        self.sent(smtp, large, "ann@example.org", reply=b"552 5.3.4 The "
                  b"message is larger than the next hop takes")
        self.sent(smtp, small, "ann@example.org", reply=QUEUED)
        self.assert_arrived(self.folder("ann"), small, *self.traces("ann"))

    def test_wrong_password(self):
        for scheme in self.ports:
            for login in ("relay-user another-secret", "nobody relay-secret"):
                with self.subTest(scheme=scheme, login=login):
                    self.no_login(self.account(scheme, login=login),
                                  "localhost answered AUTH with 535")
        # Once for each transaction: its second recipient does not try again.
        self.assertEqual(self.hop.log().count("result=permfail"), 4)

    def test_without_login(self):
        """Its 530 is about us, not about the mail."""
        smtp = self.relay(self.account(login=""))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<ann@example.org>").raw, [
            b"451 4.7.0 The next hop does not take mail from here now, try "
            b"again later"])
        smtp.expect("RSET", "250 2.0.0")
        smtp.quit()
        self.assertIn("localhost answered 530 5.5.1 Invalid command: Must "
                      "issue an AUTH command first", smtp.process.log())

    def test_strangers_certificate(self):
        for scheme in self.ports:
            for query in ("", f"?ca={self.certs.other_ca.crt}"):
                with self.subTest(scheme=scheme, query=query):
                    self.no_trust(self.account(scheme, query=query))
        self.assertNotIn("authentication", self.hop.log())

    def test_no_smtputf8(self):
        self.no_smtputf8(self.relay(self.account()), QUEUED)
