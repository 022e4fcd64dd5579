"""All that comes before a login has one deadline, --login-timeout, whatever
the peer says meanwhile; mail-handlers(7), Time."""

import time

from clock import Clock, Timed, until_it_waits
from frontdoor import (BOTH, RIGHT, drip, offers, start_tls, try_login,
                       upgrade)
from mailtest import DEADLINE, POP3, SMTP, SmtpPeer

LIMIT = ("--login-timeout", "2", "--timeout", "60")
NO_LOGIN = 'reason="no login in time"'


class LoginTime(Timed):
    def ended(self, peer, begin, reason=NO_LOGIN):
        """Not before its time, in order, and with the reason."""
        peer.rest()
        self.assertGreater(peer.clock.now() - begin, 1.8)
        self.assert_ended_well(peer)
        self.assertIn(reason, peer.process.log())

    def stranger(self, program, line, tls, period=0.3):
        """Says that again and again."""
        options = {"off": (), "implicit": self.certs.server.options(),
                   "starttls": self.certs.server.options()}[tls]
        peer = self.door(program, "--auth", "any", "--tls", tls, *options,
                         *LIMIT)
        if tls == "implicit":
            upgrade(peer, self.tls)
        offers(peer)
        if tls == "starttls":
            start_tls(peer, self.tls)
        begin = peer.clock.go()
        deadline = time.monotonic() + DEADLINE
        while not peer.ended and time.monotonic() < deadline:
            drip(peer, b"", 0.01, period)
            peer.offer(line)
        self.ended(peer, begin)

    LINES = {SMTP: {"noop": b"NOOP\r\n", "ehlo": b"EHLO x\r\n",
                    "mail": b"MAIL FROM:<joe@example.com>\r\n",
                    "login": b"AUTH LOGIN\r\n*\r\n",
                    "octets": b"x", "rset": b"RSET\r\n"},
             POP3: {"capa": b"CAPA\r\n", "user": b"USER joe\r\n",
                    "login": b"AUTH LOGIN\r\n*\r\n", "octets": b"x"}}

    def test_whatever_it_says(self):
        self.together({
            (program.name, name, tls): lambda p=program, n=name, t=tls:
                self.stranger(p, self.LINES[p][n], t)
            for program in BOTH for name in self.LINES[program]
            for tls in ("off", "implicit", "starttls")})

    def test_without_a_pause(self):
        """A peer that always has something to say is never waited for."""
        self.together({program.name: lambda p=program: self.stranger(
            p, b"NOOP\r\n" if p == SMTP else b"CAPA\r\n", "off", 0)
            for program in BOTH})

    def test_handshake(self):
        """Within it, and silence."""
        def silent(program):
            peer = self.door(program, *self.certs.server.options(), "--auth",
                             "any", *LIMIT)
            self.ended(peer, peer.clock.go(), "tls-failed: ")
        self.together({program.name: lambda p=program: silent(p)
                       for program in BOTH})

    def test_header(self):
        def silent(program):
            peer = self.door(program, "--tls", "off", "--auth", "any",
                             "--proxy-protocol", *LIMIT)
            begin = peer.clock.go()
            self.assertTrue(drip(peer, b"PROXY TCP4 192.0.2.1 ", 0.3,
                                 DEADLINE))
            self.ended(peer, begin, "took too long")
        self.together({program.name: lambda p=program: silent(p)
                       for program in BOTH})

    def test_endless_chunk(self):
        """As much as a message may have, and never enough of it."""
        def chunk(hello):
            smtp = self.door(SMTP, "--tls", "off", "--auth", "any", *LIMIT)
            smtp.expect(None, "220")
            if hello:
                smtp.ehlo()
            smtp.send("BDAT 35000000\r\n")
            begin = smtp.clock.go()
            self.assertTrue(drip(smtp, b"x" * 100, 0.01, DEADLINE))
            self.ended(smtp, begin)
        self.together({"cold": lambda: chunk(False),
                       "ready": lambda: chunk(True)})

    def test_too_large_a_chunk(self):
        """Closes at once."""
        smtp = self.door(SMTP, "--tls", "off", "--auth", "any")
        smtp.expect(None, "220")
        smtp.send("BDAT 18446744073709551615\r\n")
        smtp.expect(None, "521 5.3.4")
        smtp.expect_end()
        self.assert_ended_well(smtp)

    def test_who_has_logged_in_may_stay(self):
        def stay(program):
            peer = self.door(program, "--tls", "off", "--auth", "any",
                             *LIMIT)
            offers(peer)
            self.assertTrue(try_login(peer).startswith(RIGHT[program]))
            until_it_waits(peer)
            peer.clock.advance(3)
            self.assertTrue(peer.quiet(0.1))
            peer.quit()
            self.assert_ended_well(peer)
        self.together({program.name: lambda p=program: stay(p)
                       for program in BOTH})

    def test_without_a_login(self):
        """The first accepted recipient counts; a refused one does not."""
        options = ("--tls", "off", "--no-auth-required", *LIMIT)

        def accepted():
            smtp = self.door(SMTP, *options)
            smtp.hello()
            smtp.envelope()
            until_it_waits(smtp)
            smtp.clock.advance(3)
            self.assertTrue(smtp.quiet(0.1))
            smtp.quit()
            self.assert_ended_well(smtp)

        def refused():
            clock = Clock(self)
            smtp = self.spawn(SMTP, "--maildir", self.path("none") / "%u",
                              *options, kind=SmtpPeer, env=clock.env)
            smtp.clock = clock
            smtp.hello()
            smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
            smtp.expect("RCPT TO:<nobody@example.com>", "550 5.1.1")
            self.ended(smtp, smtp.clock.go())
        self.together({"accepted": accepted, "refused": refused})
