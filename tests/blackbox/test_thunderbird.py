"""Thunderbird itself: an account is set up, mail sent, fetched and deleted.
Only where THUNDERBIRD=yes asks for it: it is a large package."""

import base64
import os
import re
import unittest

import certs
from frontdoor import FrontDoor, hash_of
from mailtest import POP3, SMTP
from superservers import Tcpserver
from thunderbird import (DELETE, FETCH, READ, SEND, SET_UP, TRUST, Thunderbird,
                         available)

BODY = """A line with Ümläuts, and then a dot alone:
.
..two, .one within, and one line that is long: """ + "x" * 900 + """

The end."""


def load_tests(loader, tests, pattern):
    """None of them where nobody asked."""
    del loader, pattern
    return (tests if os.environ.get("THUNDERBIRD") == "yes"
            else unittest.TestSuite())


class WholeLife(FrontDoor):
    time_limit = 300

    def setUp(self):
        super().setUp()
        self.assertTrue(available(),
                        "no thunderbird: run tests/setup.sh thunderbird")
        pair = certs.certificates().server
        users = self.users(f"anna:{hash_of('secret')}",
                           f"bert:{hash_of('secret')}")
        self.maildirs = self.path("store")
        self.maildirs.mkdir()
        common = (*pair.options(), "--auth", f"file:{users}", "--log",
                  "stderr", "--log-level", "debug", "--transcript",
                  "--hostname", "mail.example", "--maildir",
                  f"{self.maildirs}/%n")
        self.pop3 = Tcpserver(self, [POP3, *common, "--allow-delete"])
        self.smtp = Tcpserver(self, [SMTP, *common, "--create-maildirs"])
        self.bird = Thunderbird(self)
        pem = certs.certificates().ca.crt.read_text()
        self.bird.run(TRUST, certificate=re.sub(r"-----[^-]+-----|\s", "",
                                                pem))

    def stored(self, user):
        """The texts of a user's messages, oldest first."""
        return [path.read_text() for path in sorted(
            [*(self.maildirs / user).glob("new/*"),
             *(self.maildirs / user).glob("cur/*")])]

    def send(self, subject, to="bert@mail.example, anna@mail.example"):
        self.assertEqual(self.bird.run(
            SEND, to=to, subject=subject, body=BODY), "sent")

    def test_whole_life(self):
        bird = self.bird
        # Nobody has mail yet, and so no maildir.
        bird.run(SET_UP, user="anna", password="secret",
                 address="anna@mail.example", pop3_port=self.pop3.port,
                 smtp_port=self.smtp.port)
        self.assertEqual(bird.run(FETCH), [])
        self.send("first, Ümläut")
        self.send("second")
        self.assertEqual(len(self.stored("bert")), 2)
        self.assertEqual(bird.run(FETCH), ["first, Ümläut", "second"])
        # Twice: what is left on the server is known by its unique-id.
        self.assertEqual(bird.run(FETCH), ["first, Ümläut", "second"])
        self.assertEqual(self.pop3.log().count("RETR"), 2)
        fetched = base64.b64decode(bird.run(READ, subject="second"))
        self.assertTrue(fetched.replace(b"\r\n", b"\n").strip().endswith(
            self.stored("anna")[1].encode().strip()))
        self.assertIn("Subject: second", self.stored("anna")[1])
        self.assertIn("\n.\n..two", self.stored("anna")[1])
        self.assertIn("Ümläuts", self.stored("anna")[1])
        # Deleted here, it is deleted there with the next look.
        self.assertEqual(bird.run(DELETE, subject="second"), 1)
        self.assertEqual(bird.run(FETCH), ["first, Ümläut"])
        self.assertEqual(len(self.stored("anna")), 1)
        self.assertNotIn("Subject: second", self.stored("anna")[0])
        self.send("third")
        self.assertEqual(bird.run(FETCH), ["first, Ümläut", "third"])
        self.assertEqual(self.pop3.log().count("RETR"), 3)
        self.assertEqual(len(self.stored("bert")), 3)
        for log in (self.pop3.log(), self.smtp.log()):
            self.assertNotRegex(log, "login-failed|tls-failed|trouble")
            self.assertNotIn("secret", log)
