"""Next hops that say nothing: each limit of the relay, by a clock that stands
still until the test sets it on.  smtp-handler(8), Relaying."""

import socket

from clock import Clock, until_it_waits
from frontdoor import FrontDoor
from mailtest import DEADLINE, smtp_wire
from nexthop import Early, Endless, Late, ScriptedHop, Silent
from relay import TEXT, Relay
from replies import QUEUED

DAY = ("--timeout", "86400")
LOST = b"The next hop cannot be reached now, try again later"
PERHAPS = (b"The next hop was lost after it had the whole message, and may "
           b"have taken it; try again later")
NO_LOGIN = b"451 4.7.0 Cannot log in to the next hop, try again later"
LOGIN = "relay-user relay-secret"

# Where it falls silent: after how many seconds of its own the handler says
# what at RCPT
CONNECTION = {
    "greeting": (300, b"451 4.4.2 " + LOST),
    "EHLO": (300, b"451 4.4.2 " + LOST),
    "AUTH": (300, NO_LOGIN),
    "MAIL": (300, b"451 4.4.2 " + LOST),
    "RCPT": (300, b"451 4.4.2 " + LOST),
}


class Slow(Relay, FrontDoor):
    """Many sessions at once, for they only wait."""

    slow = True
    def accounts(self, *lines):
        path = self.fresh_path("relay")
        return self.write(path.name, "".join(f"{line}\n" for line in lines))

    def session(self, accounts, *options):
        clock = Clock(self)
        smtp = self.relay(accounts, *(options or DAY), env=clock.env)
        smtp.clock = clock
        return smtp

    def hop_at(self, scheme, script):
        """The hop, and the accounts file for it."""
        context = self.certs.server.server_context()
        hop = ScriptedHop(
            self, script, tls=context if scheme == "smtps" else None,
            starttls=context if scheme == "smtp" else None)
        query = "" if "plain" in scheme else f"?ca={self.certs.ca.crt}"
        return hop, self.accounts(
            f"* {scheme}://127.0.0.1:{hop.port}{query} {LOGIN}")

    def timed(self, smtp, octets, limit, hop=None):
        """The reply, and that it came so long after the hop fell silent:
        within a second."""
        smtp.send(octets)
        if hop:
            self.assertTrue(hop.stalled.wait(DEADLINE))
        until_it_waits(smtp)
        smtp.clock.advance(limit - 0.5)
        self.assertTrue(smtp.quiet(0.05))
        smtp.clock.advance(1)
        return smtp.reply()

    def late(self, smtp, hop):
        """What the hop is late with comes when so much time is over."""
        def wait(seconds):
            until_it_waits(smtp)
            smtp.clock.advance(seconds)
        hop.late = wait

    def goes_on(self, smtp, hop):
        """The hop is well again; and the session is in step."""
        smtp.expect("NOOP", "250 2.0.0")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        hop.wait_ended()
        # It was given up, and not the handler by it
        self.assertEqual([connection.ended for connection in hop.connections],
                         ["eof", "quit"])
        self.assertEqual(self.split_relayed(hop.messages[-1])[1],
                         smtp_wire(TEXT))
        self.assertEqual(smtp.process.wait(), 0)

    def at_rcpt(self, scheme, script, limit, reply):
        hop, accounts = self.hop_at(scheme, script)
        smtp = self.session(accounts)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        told = self.timed(smtp, "RCPT TO:<a@b.test>\r\n", limit, hop)
        self.assertEqual(told.raw, [reply])
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")
        self.goes_on(smtp, hop)
        self.assertIn("took too long", smtp.process.log())


class Silence(Slow):
    def test_before_the_message(self):
        """Nothing, or the beginning of a reply."""
        first = {"greeting": "220 hop.test",
                 "EHLO": "250 hop.test\nAUTH PLAIN\nSTARTTLS"}
        schemes = {"greeting": ("smtps",), "EHLO": ("smtp",),
                   "AUTH": ("smtps",), "RCPT": ("smtp",)}
        scenarios = {}
        for step, (limit, reply) in CONNECTION.items():
            good = first.get(step) or ScriptedHop.DEFAULTS[step]
            for scheme, what in (
                    *((scheme, b"") for scheme in schemes.get(step, ())),
                    *(("smtp+plain", what) for what in (b"", b"250-h",
                                                        b"250"))):
                scenarios[scheme, step, what] = \
                    lambda s=scheme, p=step, w=what, g=good, t=limit, \
                    r=reply: self.at_rcpt(s, {p: [Silent(w), g]}, t, r)
        self.together(scenarios)

    def test_tls(self):
        """STARTTLS is a command; a handshake has 30 s."""
        self.together({
            "smtps": lambda: self.at_rcpt(
                "smtps", {"connect": [Silent(), None]}, 30,
                b"451 4.4.1 " + LOST),
            "STARTTLS": lambda: self.at_rcpt(
                "smtp", {"STARTTLS": [Silent(), "220 2.0.0 go on"]}, 300,
                b"451 4.4.2 " + LOST),
            "handshake": lambda: self.at_rcpt(
                "smtp", {"STARTTLS": [Silent("220 2.0.0 go on"),
                                      "220 2.0.0 go on"]}, 30,
                b"451 4.4.2 " + LOST)})

    def with_the_message(self, scheme, step, what, limit):
        hop, accounts = self.hop_at(scheme, {step: [
            Silent(what), ScriptedHop.DEFAULTS[step]]})
        smtp = self.session(accounts)
        smtp.envelope()
        smtp.expect("DATA", "354")
        told = self.timed(smtp, smtp_wire(TEXT), limit, hop)
        self.assertEqual(told.raw, [b"451 4.4.2 " + (
            PERHAPS if step == "final" else LOST)])
        self.goes_on(smtp, hop)

    def test_with_the_message(self):
        self.together({
            (scheme, step, what): lambda s=scheme, p=step, w=what, t=limit:
                self.with_the_message(s, p, w, t)
            for scheme in ("smtps", "smtp", "smtp+plain")
            for step, limit in (("DATA", 300), ("final", 600))
            for what in (b"", b"250-")})

    def test_unread_text(self):
        """More than the sockets hold, and nobody reads it."""
        for scheme in ("smtps", "smtp+plain"):
            with self.subTest(scheme=scheme):
                hop, accounts = self.hop_at(
                    scheme, {"text": Early(0, b"", "stall")})
                smtp = self.session(accounts)
                smtp.envelope()
                smtp.expect("DATA", "354")
                smtp.send(b"x" * 70 + b"\r\n" + b"y\r\n" * 4_000_000)
                told = self.timed(smtp, b".\r\n", 300, hop)
                self.assertEqual(told.raw, [b"451 4.4.2 " + LOST])
                self.assertIn("the peer does not read", smtp.process.log())
                hop.released.set()
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(len(hop.messages), 1)

    def endless(self, step, limit):
        hop, accounts = self.hop_at("smtp+plain", {step: [
            Endless(0.02, b"250-still here\r\n"),
            ScriptedHop.DEFAULTS[step]]})
        smtp = self.session(accounts)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        if step == "final":
            smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
            smtp.expect("DATA", "354")
        told = self.timed(smtp, smtp_wire(TEXT) if step == "final"
                          else "RCPT TO:<a@b.test>\r\n", limit, hop)
        self.assertEqual(told.raw, [b"451 4.4.2 " + (
            PERHAPS if step == "final" else LOST)])
        self.assertIn("took too long", smtp.process.log())
        smtp.expect("RSET", "250 2.0.0")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(len(hop.connections), 2)

    def test_line_after_line(self):
        """The limit is for the whole of a reply."""
        self.together({
            step: lambda s=step, t=limit: self.endless(s, t)
            for step, limit in (("MAIL", 300), ("RCPT", 300),
                                ("final", 600))})

    def test_reset(self):
        """Of a transaction that came to nothing: the client need not wait
        for it, the next recipient does, and has a new connection then."""
        hop, accounts = self.hop_at("smtps", {
            "RSET": [Silent(), "250 2.0.0 reset"]})
        smtp = self.session(accounts)
        smtp.envelope()
        smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        told = self.timed(smtp, "RCPT TO:<a@b.test>\r\n", 30, hop)
        self.assertEqual(str(told), "250 2.1.5")
        smtp.expect("RSET", "250 2.0.0")
        self.goes_on(smtp, hop)


class Connecting(Slow):
    def full(self):
        """An address where nobody accepts and nobody is let in any more."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(listener.close)
        for _ in range(100):
            client = socket.socket()
            self.addCleanup(client.close)
            client.settimeout(0.2)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                return listener.getsockname()[1]
        self.fail("the queue is never full")

    def test_full_queue(self):
        smtp = self.session(self.accounts(
            f"* smtp+plain://127.0.0.1:{self.full()}"))
        for _ in range(2):
            smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
            told = self.timed(smtp, "RCPT TO:<a@b.test>\r\n", 30)
            self.assertEqual(told.raw, [b"451 4.4.1 " + LOST])
            smtp.expect("DATA", "503 5.5.1")
            smtp.expect("RSET", "250 2.0.0")
        smtp.quit()
        self.assertEqual(smtp.process.wait(), 0)
        self.assertIn("Connection timed out", smtp.process.log())


class InTime(Slow):
    def test_each_has_its_own(self):
        """Slow at every step, but never too slow: all is well, though it is
        more than 300 s together."""
        hop, accounts = self.hop_at("smtps", {
            "greeting": Late(75, "220 hop.test"),
            "EHLO": Late(75, "250 hop.test\nAUTH PLAIN"),
            "AUTH": Late(75, "235 2.7.0 in"),
            "MAIL": Late(200, "250 2.1.0 ok"),
            "RCPT": Late(200, "550 5.1.1 nobody")})
        smtp = self.session(accounts)
        self.late(smtp, hop)
        begin = smtp.clock.now()
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        told = smtp.cmd("RCPT TO:<a@b.test>")
        self.assertEqual(told.raw, [b"550 5.1.1 nobody"])
        self.assertGreater(smtp.clock.now() - begin, 600)
        self.assertEqual(len(hop.connections), 1)

    def test_opening_has_one_for_all(self):
        """The client waits for the reply to its RCPT meanwhile."""
        hop, accounts = self.hop_at("smtps", {
            "greeting": Late(120, "220 hop.test"),
            "EHLO": Late(120, "250 hop.test\nAUTH PLAIN"),
            "AUTH": Silent()})
        smtp = self.session(accounts)
        self.late(smtp, hop)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        told = self.timed(smtp, "RCPT TO:<a@b.test>\r\n", 300 - 2 * 120,
                          hop)
        self.assertEqual(told.raw, [NO_LOGIN])

    def test_the_clients_time(self):
        """What the hop takes is not the client's; its own begins with the
        reply."""
        hop, accounts = self.hop_at("smtps", {
            "RCPT": Late(270, "250 2.1.5 late"),
            "DATA": Late(200, "354 go on"),
            "final": Late(400, "250 2.0.0 later")})
        smtp = self.session(accounts, "--timeout", "250")
        self.late(smtp, hop)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                         [b"250 2.1.5 late"])
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire(TEXT))
        self.assertEqual(smtp.reply().raw, [b"250 2.0.0 later"])
        told = self.timed(smtp, b"", 250)
        self.assertEqual(str(told), "421 4.4.2")
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)
        hop.wait_ended()
        self.assertEqual(len(hop.messages), 1)
