"""Debian's OpenSMTPD as a client of smtp-handler: it hands on what it got,
by SMTP and by LMTP, octet for octet."""

import re
import smtplib

from certs import certificates
from frontdoor import hash_of
from hops import BODIES, letters, split_traces
from mailtest import SMTP, TestCase, wait_for
from opensmtpd import OpenSmtpd

ANN, BOB, EVE = (f"{name}@example.org" for name in ("ann", "bob", "eve"))


class FromOpenSmtpd(TestCase):
    def setUp(self):
        super().setUp()
        self.certs = certificates()
        self.letters = letters(BODIES)

    def start(self, action):
        self.smtpd = OpenSmtpd(
            self, f"{action}\nmatch from any for any action go\n",
            ca=self.certs.ca.crt)

    def hand_in(self, *recipients):
        """All letters, one after the other."""
        with smtplib.SMTP("127.0.0.1", self.smtpd.port) as client:
            client.ehlo("origin.test")
            for letter in self.letters.values():
                client.sendmail("joe@example.com", recipients,
                                letter.replace(b"\n", b"\r\n"),
                                ["BODY=8BITMIME"])

    def assert_kept(self, folder, *wanted):
        """All letters, below these trace fields, regular expressions."""
        wait_for(lambda: len(self.stored(folder)) == len(self.letters),
                 "the letters", 30)
        kept = [split_traces(content)
                for content in self.stored(folder).values()]
        for text, letter in zip(sorted(text for _, text in kept),
                                sorted(self.letters.values())):
            self.assertTrue(text == letter, (text[:400], letter[:400]))
        for fields, _ in kept:
            self.assertEqual(len(fields), len(wanted), fields)
            for field, pattern in zip(fields, wanted):
                self.assertRegex(field, f"^{pattern}$")

    def ours(self, protocol):
        return rf"Received: from .* by mail\.test .*with {protocol} .*"

    FROM_JOE = "Return-Path: <joe@example.com>"
    TO = "X-Envelope-To: (ann|bob)@.*"
    THEIRS = (r"Received: from origin\.test \(localhost \[127\.0\.0\.1\]\) "
              r"by .* \(OpenSMTPD\) with ESMTP id .*")

    def verdicts(self, count):
        """(recipient, result, words) of so many deliveries."""
        pattern = (r" delivery evpid=.* to=<([^>]+)> .*"
                   r"result=\"?(\w+)\"? stat=(.*)")
        return wait_for(
            lambda: len(found := re.findall(pattern, self.smtpd.log()))
            >= count and found, "the ends of the deliveries", 60)

    def assert_all_sent(self, count):
        for to, result, words in self.verdicts(count):
            self.assertEqual(result, "Ok", to)
            self.assertRegex(words, r'^"250 2\.0\.0 Ok, kept as \S+"$')

    def login_server(self, password):
        users = self.write("users", f"relay-user:{hash_of(password)}\n")
        server = self.serve(SMTP, *self.certs.server.options(), "--maildir",
                            self.mail, "--auth", f"file:{users}")
        secrets = self.write("secrets", "us relay-user:relay-secret\n")
        self.start(f'table secrets "{secrets}"\naction go relay host '
                   f'"smtps://us@localhost:{server.port}" auth <secrets>')
        return server

    def test_smtps_and_a_login(self):
        server = self.login_server("relay-secret")
        self.hand_in(ANN, BOB)
        self.assert_kept(self.mail, self.FROM_JOE, self.TO, self.TO,
                         self.ours("ESMTPSA"), self.THEIRS)
        self.assert_all_sent(2 * len(self.letters))
        self.assertRegex(server.log(), r" login: peer=\S+ user=relay-user")

    def test_wrong_login(self):
        server = self.login_server("another")
        self.letters = letters({"refused": b"\nx\n"})
        self.hand_in(ANN)
        self.assertEqual(self.verdicts(1), [
            (ANN, "TempFail", '"Network error on destination MXs"')])
        self.assertRegex(server.log(),
                         r" login-failed: peer=\S+ user=relay-user")
        self.assert_nothing_kept()

    def test_starttls(self):
        server = self.serve(SMTP, *self.certs.server.options(), "--tls",
                            "starttls", "--maildir", self.mail,
                            "--no-auth-required")
        self.start("action go relay host "
                   f'"smtp+tls://localhost:{server.port}"')
        self.hand_in(ANN)
        self.assert_kept(self.mail, self.FROM_JOE, self.TO,
                         self.ours("ESMTPS"), self.THEIRS)
        self.assert_all_sent(len(self.letters))

    def test_plain(self):
        server = self.serve(SMTP, "--tls", "off", "--maildir", self.mail,
                            "--no-auth-required")
        self.start(f'action go relay host "smtp://localhost:{server.port}"')
        self.hand_in(ANN, BOB)
        self.assert_kept(self.mail, self.FROM_JOE, self.TO, self.TO,
                         self.ours("ESMTP"), self.THEIRS)
        self.assert_all_sent(2 * len(self.letters))

    def lmtp(self):
        """smtp-handler with a maildir for ann and for bob."""
        self.base = self.path("base")
        for name in (ANN, BOB):
            self.make_maildir(self.base / name)
        return self.serve(SMTP, "--tls", "off", "--lmtp", "--maildir",
                          f"{self.base}/%u", "--no-auth-required")

    def test_relay_by_lmtp(self):
        """One recipient a letter: with more, it gives up where it finds two
        replies in one packet."""
        server = self.lmtp()
        self.start(f'action go relay host "lmtp://localhost:{server.port}"')
        self.hand_in(ANN)
        self.assert_kept(self.base / ANN, self.FROM_JOE,
                         f"Delivered-To: {ANN}", self.ours("LMTP"),
                         self.THEIRS)
        self.assert_all_sent(len(self.letters))
        self.letters = letters({"refused": b"\nx\n"})
        self.hand_in(EVE)
        self.assertEqual(self.verdicts(len(BODIES) + 1)[len(BODIES):], [
            (EVE, "PermFail", '"550 5.1.1 There is no such mailbox here"')])

    def test_deliver_by_lmtp(self):
        """Its mail.lmtp, a process for each letter and recipient."""
        server = self.lmtp()
        self.start('table users { "@" = "vmail" }\n'
                   f'action go lmtp "127.0.0.1:{server.port}" rcpt-to '
                   'virtual <users>')
        self.hand_in(ANN, EVE, BOB)
        for name in (ANN, BOB):
            self.assert_kept(
                self.base / name, self.FROM_JOE, f"Delivered-To: {name}",
                self.ours("LMTP"), self.FROM_JOE, f"Delivered-To: {name}",
                self.THEIRS)
        self.assertEqual({(to, result) for to, result, _ in
                          self.verdicts(3 * len(self.letters))},
                         {(ANN, "Ok"), (BOB, "Ok"), (EVE, "TempFail")})
        self.assertIn("LMTP server error: 550 5.1.1 There is no such mailbox "
                      "here", self.smtpd.log())
