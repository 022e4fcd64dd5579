"""Deadlines, SIGTERM and SIGPIPE in every state.  mail-handlers(7), Time.
A handler's clock stands still until its test lets it go (support/clock.py)."""

import os
import re
import signal
import threading
import time

import clock
from clock import until_it_waits
from frontdoor import (BOTH, LATER, Witness, alive, client_hello, drip,
                       hash_of, login_reply, noop, offers, send_login, taken)
from mailtest import (DEADLINE, POP3, SMTP, Closed, Pop3Peer, SmtpPeer, b64,
                      split_stored, wait_for)
from nexthop import ScriptedHop

PLAIN = ("--tls", "off", "--auth", "any")
SHORT = ("--timeout", "1")

# What comes at the end of time, if anything: SMTP's words, POP3's silence
TIMED_OUT = {SMTP: rb"^421 4\.4\.2 [^\r\n]*\r\n$", POP3: rb"^$"}
STOPPED = {SMTP: rb"^421 4\.3\.2 [^\r\n]*\r\n$", POP3: rb"^$"}


class Timed(clock.Timed):
    def door(self, program, *options, **kwargs):
        """Each smtp-handler has a maildir of its own, peer.mail: others run
        at the same time."""
        if program == POP3:
            return super().door(program, *options, **kwargs)
        mail = self.make_maildir(self.fresh_path("mail"))
        peer = super().door(program, *options, "--maildir", mail, **kwargs)
        peer.mail = mail
        return peer

    def plain_door(self, program, *options, **kwargs):
        return self.door(program, *PLAIN, *options, **kwargs)

    def ready(self, program, *options, state="fresh", **kwargs):
        """A session in that state."""
        peer = self.plain_door(program, *options, **kwargs)
        self.bring(peer, state)
        return peer

    def bring(self, peer, state):
        if state == "silent":       # not even the greeting is read
            return
        offers(peer)
        if state == "fresh":
            return
        if state == "sasl":
            if isinstance(peer, SmtpPeer):
                peer.expect("AUTH PLAIN", "334")
            else:
                peer.expect("AUTH PLAIN", r"\+ ")
            return
        send_login(peer)
        peer.line()
        if isinstance(peer, Pop3Peer):
            peer.line()
        if state == "mail":
            peer.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        elif state in ("rcpt", "data", "chunk", "chunks"):
            peer.envelope()
        if state == "data":
            peer.expect("DATA", "354")
        elif state == "chunk":      # in the middle of one
            peer.send("BDAT 1000000\r\n")
        elif state == "chunks":     # after one, before the next
            peer.send("BDAT 6\r\nhalf\r\n")
            peer.expect(None, "250 2.0.0")

    def assert_ended(self, peer, words, least=0):
        """With just these words, well, nothing kept, and so many seconds
        after its clock began to go."""
        rest = peer.rest()
        ended = peer.clock.now()
        self.assertRegex(rest, words)
        if least:
            self.assertGreater(ended - peer.began, least)
        self.assert_ended_well(peer)
        if isinstance(peer, SmtpPeer):
            self.assert_nothing_kept(peer.mail)

    def go(self, peer):
        peer.began = peer.clock.go()

    def slow_peer(self, program, state, octets, options=(), period=0.1,
                  words=None, **kwargs):
        """Brought to the state, then so many octets, one each period, over
        and over; then the end is asserted."""
        peer = self.ready(program, *SHORT, *options, state=state, **kwargs)
        self.go(peer)
        self.assertTrue(drip(peer, octets, period, DEADLINE))
        self.assert_ended(peer, words or TIMED_OUT[program], 0.9)
        self.assertIn('reason="timed out"', peer.process.log())

    STATES = {SMTP: ("fresh", "login", "mail", "rcpt", "sasl", "data",
                     "chunk", "chunks"),
              POP3: ("fresh", "login", "sasl")}


class Deadlines(Timed):
    slow = True

    def test_nothing_and_a_byte_at_a_time(self):
        """In every state, over sockets and pipes."""
        scenarios = {}
        for program in BOTH:
            for state in self.STATES[program]:
                for name, octets in (("nothing", b""), ("octets", b"x"),
                                     ("nul", b"\0")):
                    for via in ("socketpair", "pipe"):
                        scenarios[program.name, state, name, via] = \
                            lambda p=program, s=state, o=octets, v=via: \
                            self.slow_peer(p, s, o, via=v)
        self.together(scenarios)

    def test_what_looks_like_progress(self):
        """A command that never ends, a response that never ends, text that
        comes too slowly to be worth the wait."""
        scenarios = {}
        for program, state, octets in (
                (SMTP, "fresh", b"NOOP " + b"x" * 1000),
                (SMTP, "login", b"MAIL FROM:<joe@example.com> " + b" " * 99),
                (SMTP, "sasl", b64("\0joe\0" + "x" * 999).encode()),
                (SMTP, "data", b"Subject: x\r\n\r\nhello\r\n"),
                (SMTP, "data", b"\r\n"), (SMTP, "chunk", b"\r\n"),
                (SMTP, "chunks", b"BDAT 000000000000000000000000000000"),
                (POP3, "fresh", b"USER " + b"j" * 999),
                (POP3, "login", b"RETR 00000000000000000000000000000000"),
                (POP3, "sasl", b64("\0joe\0" + "x" * 999).encode())):
            for period in (0.02, 0.2):
                scenarios[program.name, state, octets[:9], period] = \
                    lambda p=program, s=state, o=octets, d=period: \
                    self.slow_peer(p, s, o, period=d)
        self.together(scenarios)

    def test_over_tls(self):
        """Within it; not one octet and each in a record of its own."""
        scenarios = {}
        for program in BOTH:
            for state in self.STATES[program]:
                for octets in (b"", b"x"):
                    scenarios[program.name, state, octets] = \
                        lambda p=program, s=state, o=octets: \
                        self.slow_tls_peer(p, s, o)
        self.together(scenarios)

    def slow_tls_peer(self, program, state, octets):
        peer = self.door(program, *self.certs.server.options(), "--auth",
                         "any", *SHORT, tls=self.tls)
        self.bring(peer, state)
        self.go(peer)
        self.assertTrue(drip(peer, octets, 0.1, DEADLINE))
        self.assert_ended(peer, TIMED_OUT[program], 0.9)

    def test_fast_and_then_nothing(self):
        """What was earned is at most the time-out: a megabyte does not buy a
        thousand seconds."""
        def stop(tls):
            if tls:
                smtp = self.door(SMTP, *self.certs.server.options(),
                                 "--auth", "any", *SHORT, tls=self.tls)
                self.bring(smtp, "data")
            else:
                smtp = self.ready(SMTP, *SHORT, state="data")
            smtp.send(b"x" * 70 + b"\r\n" + b"0123456789\r\n" * 100_000)
            self.go(smtp)
            self.assert_ended(smtp, TIMED_OUT[SMTP], 0.9)
        self.together({"plain": lambda: stop(False),
                       "tls": lambda: stop(True)})

    def pass_time(self, peer, seconds):
        """So much goes by, and the handler has nothing to say to it."""
        until_it_waits(peer)
        peer.clock.advance(seconds)
        self.assertTrue(peer.quiet(0.05))

    def slow_command(self, program, before, pieces):
        """Twice NOOP: so long before its first octet, and between others."""
        peer = self.ready(program, "--timeout", "2", state="login")
        for _ in range(2):
            self.pass_time(peer, before)
            for octets, after in pieces:
                peer.send(octets)
                self.pass_time(peer, after)
            peer.send("\n")
            self.assertRegex(peer.line(), rb"^(250 2\.0\.0|\+OK)")
        self.assert_ended_well(peer)

    def test_first_octet_begins_a_commands_time(self):
        """Nine tenths of the time idle, then nine tenths for a command."""
        self.together({program.name: lambda p=program: self.slow_command(
            p, 1.8, [(octet, 0.36) for octet in ("N", "O", "O", "P", "\r")])
            for program in BOTH})

    def test_each_command_has_its_own(self):
        """Many commands, each well in time."""
        def busy(program):
            peer = self.ready(program, *SHORT, state="login")
            for _ in range(5):
                peer.send("NO")
                self.pass_time(peer, 0.8)
                peer.send("OP\r\n")
                self.assertRegex(peer.line(), rb"^(250 2\.0\.0|\+OK)")
                self.pass_time(peer, 0.8)
            self.assert_ended_well(peer)
        self.together({program.name: lambda program=program: busy(program)
                       for program in BOTH})


class Defaults(Timed):
    """The limits nobody gave."""

    DAY = ("--timeout", "86400")

    def ends_after(self, peer, limit):
        """Not a second before, and in the next one; its log."""
        until_it_waits(peer)
        peer.clock.advance(limit - 1)
        self.assertTrue(peer.quiet(0.05))
        peer.clock.advance(1.5)
        peer.rest()
        self.assert_ended_well(peer)
        return peer.process.log()

    def test_idle(self):
        """600 s for POP3, 300 s for SMTP; 120 s for who has not logged in."""
        for program, limit, state, reason in (
                (POP3, 600, "login", "timed out"),
                (SMTP, 300, "login", "timed out"),
                (POP3, 120, "fresh", "no login in time"),
                (SMTP, 120, "fresh", "no login in time")):
            with self.subTest(program=program.name, reason=reason):
                log = self.ends_after(self.ready(program, state=state), limit)
                self.assertIn(f'reason="{reason}"', log)
                seconds = float(re.search(r"seconds=([0-9.]+)", log)[1])
                self.assertGreaterEqual(seconds, limit)
                self.assertLess(seconds, limit + 1)

    def test_handshake_and_header(self):
        """30 s, however long the time-out."""
        for program in BOTH:
            for name, options, reason in (
                    ("handshake", (*self.certs.server.options(), "--auth",
                                   "any"), "tls-failed: "),
                    ("header", (*PLAIN, "--proxy-protocol"),
                     "PROXY header: took too long")):
                with self.subTest(program=program.name, name=name):
                    peer = self.door(program, *options, *self.DAY)
                    self.assertIn(reason, self.ends_after(peer, 30))

    def test_exec(self):
        """30 s for a checkpassword program."""
        for program in BOTH:
            witness = Witness(self, "sleep")
            peer = self.door(program, "--tls", "off", *witness.option,
                             *self.DAY)
            offers(peer)
            send_login(peer)
            report = witness.report()
            until_it_waits(peer)
            peer.clock.advance(29)
            self.assertNotIn("took over", peer.process.log())
            self.assertTrue(alive(report["pid"]))
            peer.clock.advance(1.5)
            peer.clock.go()
            self.assertEqual(login_reply(peer), LATER[program])
            self.assertIn("took over 30 s", peer.process.log())


class Earned(Timed):
    """More than a KiB a second may take as long as it needs."""

    slow = True

    def steady_sender(self, piece, period, tls=False, via="socketpair",
                      state="data"):
        """Three times the time-out long."""
        if tls:
            smtp = self.door(SMTP, *self.certs.server.options(), "--auth",
                             "any", *SHORT, tls=self.tls)
            self.bring(smtp, state)
        else:
            smtp = self.ready(SMTP, *SHORT, state=state, via=via)
        count = round(3 / period)
        for _ in range(count):
            smtp.send(piece)
            taken(smtp)
            smtp.clock.advance(period)
        if state == "chunk":
            # The rest of its million octets, then the last chunk
            smtp.send(b"y" * (999_998 - count * len(piece))
                      + b"\r\nBDAT 0 LAST\r\n")
            smtp.expect(None, "250 2.0.0")
        else:
            smtp.send(b"\r\n.\r\n")
        smtp.expect(None, r"250 2\.[06]\.0")
        smtp.quit()
        self.assert_ended_well(smtp)
        text = split_stored(self.the_message(smtp.mail)[1])[1]
        self.assertEqual(text.count(b"x"), count * piece.count(b"x"))

    def test_steady_sender(self):
        line = b"x" * 70 + b"\r\n"
        self.together({
            "a line each 30 ms": lambda: self.steady_sender(line, 0.03),
            "through a pipe": lambda: self.steady_sender(line, 0.03,
                                                         via="pipe"),
            "over TLS": lambda: self.steady_sender(line, 0.03, tls=True),
            "a chunk": lambda: self.steady_sender(line, 0.03,
                                                  state="chunk"),
            "big pieces": lambda: self.steady_sender(line * 20, 0.2)})

    def test_steady_sender_of_single_octets(self):
        """Three KiB a second, an octet at a time: fractions of a millisecond
        are earned, too."""
        self.together({
            "plain": lambda: self.steady_sender(b"x", 1 / 3072),
            "tls": lambda: self.steady_sender(b"x", 1 / 3072, tls=True)})

    def big_message(self, octets):
        self.put("cur/big", b"Subject: x\n\n"
                 + (b"0123456789" * 7 + b"\n") * (octets // 71))

    def test_slow_reader(self):
        """RETR to a peer that reads steadily but slowly: whole, in more than
        the time-out."""
        self.big_message(2_000_000)

        def read(tls):
            if tls:
                pop = self.door(POP3, *self.certs.server.options(), "--auth",
                                "any", *SHORT, tls=self.tls)
                self.bring(pop, "login")
            else:
                pop = self.ready(POP3, *SHORT, state="login")
            octets = int(re.match(r"\+OK (\d+)", pop.cmd("RETR 1"))[1])
            begin = pop.clock.now()
            got, tail = len(pop.buffer), bytes(pop.buffer[-3:])
            pop.buffer.clear()
            while got < octets + 3:
                self.assertFalse(pop.ended, got)
                pop.fill(time.monotonic() + DEADLINE)
                # 16 KiB each 25 ms
                pop.clock.advance(len(pop.buffer) / 655360)
                got += len(pop.buffer)
                tail = bytes(pop.buffer[-3:]) if pop.buffer else tail
                pop.buffer.clear()
            self.assertEqual((got, tail), (octets + 3, b".\r\n"))
            self.assertGreater(pop.clock.now() - begin, 2)
            pop.quit()
        self.together({"plain": lambda: read(False),
                       "tls": lambda: read(True)})

    def test_reader_of_nothing(self):
        """In the middle of RETR, LIST and many small replies."""
        self.big_message(2_000_000)
        for n in range(1000):
            self.put(f"new/{1_600_000_000 + n}.M{n}P1.mail.test", b"x\n")

        def stop(program, text, tls, via):
            if tls:
                peer = self.door(program, *self.certs.server.options(),
                                 "--auth", "any", *SHORT, tls=self.tls)
                self.bring(peer, "login")
            else:
                peer = self.ready(program, *SHORT, state="login", via=via)
            self.go(peer)
            try:
                # Our end must not stand in the way of our own writing
                deadline = time.monotonic() + DEADLINE
                view = memoryview(text)
                while view and peer.process.running():
                    if time.monotonic() > deadline:
                        raise AssertionError("still running")
                    if peer.transport.wait(True, time.monotonic() + 0.1)[1]:
                        view = view[peer.transport.send(view):]
            except OSError:
                pass
            self.assertEqual(peer.process.wait(), 0)
            self.assertGreater(peer.clock.now() - peer.began, 0.9)
            self.assertIn('reason="the peer does not read"',
                          peer.process.log())
            try:
                peer.rest()
            except OSError:     # unread input of ours, or no close_notify
                pass
            # Not a word after what there was no room for
            self.assertNotIn(b"\r\n421 4.", peer.buffer)
            if b" 1" in text:
                self.assertNotIn(b"\r\n.\r\n", peer.buffer)
        scenarios = {}
        for program, text in ((POP3, b"RETR 1\r\n"), (POP3, b"UIDL\r\n" * 99),
                              (POP3, b"LIST\r\n" * 99),
                              (POP3, b"TOP 1 99999999\r\n"),
                              (POP3, b"CAPA\r\n" * 30_000),
                              (SMTP, b"HELP\r\n" * 30_000),
                              (SMTP, b"EHLO x\r\n" * 30_000)):
            for tls, via in ((False, "socketpair"), (False, "pipe"),
                             (True, "socketpair")):
                scenarios[program.name, text[:8], tls, via] = \
                    lambda p=program, t=text, e=tls, v=via: stop(p, t, e, v)
        self.together(scenarios)

    def test_reader_that_stops(self):
        """A megabyte read quickly does not buy a thousand seconds."""
        self.big_message(4_000_000)
        pop = self.ready(POP3, *SHORT, state="login")
        pop.send("RETR 1\r\n")
        while len(pop.buffer) < 1_000_000:
            pop.fill(time.monotonic() + DEADLINE)
        self.go(pop)
        self.assertEqual(pop.process.wait(), 0)
        self.assertGreater(pop.clock.now() - pop.began, 0.9)

    def test_reader_of_a_byte_a_minute(self):
        """So to speak: too slow to be worth the wait."""
        self.big_message(2_000_000)
        pop = self.ready(POP3, *SHORT, state="login")
        pop.send("RETR 1\r\n")
        pop.clock.go()
        begin = time.monotonic()
        while pop.process.running():
            self.assertLess(time.monotonic(), begin + DEADLINE)
            if pop.transport.wait(False, time.monotonic() + 0.1)[0]:
                os.read(pop.transport.reader, 10)
            time.sleep(0.1)
        self.assertEqual(pop.process.wait(), 0)
        self.assertNotIn(b"\r\n.\r\n", pop.rest()[-100:])


class Sigterm(Timed):
    """At once: no time goes by."""

    def terminate(self, peer):
        os.kill(peer.process.pid, signal.SIGTERM)

    def assert_stopped(self, peer, words):
        self.terminate(peer)
        self.assert_ended(peer, words)
        self.assertIn('reason=stopped', peer.process.log())

    def test_between_and_within_commands(self):
        for program in BOTH:
            for state in self.STATES[program]:
                for octets in (b"", b"N", b"NOOP", b"NOOP\r"):
                    for via in ("socketpair", "pipe"):
                        with self.subTest(program=program.name, state=state,
                                          octets=octets, via=via):
                            peer = self.ready(program, state=state, via=via)
                            if octets:
                                peer.send(octets)
                                taken(peer)
                            self.assert_stopped(peer, STOPPED[program])

    def test_in_data(self):
        for octets in (b"", b"Subject: x", b"Subject: x\r\n\r\nhalf\r\n",
                       b"x\r\n.", b"x\r\n.\r", b"x" * 100_000):
            for via in ("socketpair", "pipe"):
                with self.subTest(octets=octets[:20], via=via):
                    smtp = self.ready(SMTP, state="data", via=via)
                    if octets:
                        smtp.send(octets)
                        taken(smtp)
                    self.assert_stopped(smtp, STOPPED[SMTP])

    def test_in_data_that_keeps_coming(self):
        """It never has to wait for input."""
        smtp = self.ready(SMTP, state="data")
        sent = 0
        while not smtp.ended:
            try:
                smtp.send(b"0123456789" * 6000 + b"\r\n")
            except (Closed, BrokenPipeError, ConnectionResetError):
                break
            sent += 1
            if sent == 50:
                self.terminate(smtp)
            self.assertLess(sent, 20_000)
        self.assert_ended(smtp, STOPPED[SMTP])

    def test_before_the_protocol(self):
        """Mid-PROXY and mid-handshake: not one octet of a protocol."""
        hello = client_hello(self.tls)
        for program in BOTH:
            for name, options, octets in (
                    ("no header", (*PLAIN, "--proxy-protocol"), b""),
                    ("mid-header", (*PLAIN, "--proxy-protocol"),
                     b"PROXY TCP4 192.0.2.7 "),
                    ("mid-header", (*PLAIN, "--proxy-protocol"),
                     b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff12345"),
                    ("no hello", (*self.certs.server.options(), "--auth",
                                  "any"), b""),
                    ("half a hello", (*self.certs.server.options(), "--auth",
                                      "any"), hello[:50])):
                with self.subTest(program=program.name, name=name):
                    peer = self.door(program, *options)
                    if octets:
                        peer.send(octets)
                        taken(peer)
                    else:
                        # SIGTERM before main() is not what is meant here
                        until_it_waits(peer)
                    self.terminate(peer)
                    self.assert_ended(peer, rb"(?s)^(\x15\x03.*)?$")
                    self.assertIn("stopped", peer.process.log())

    def test_in_a_started_handshake(self):
        hello = client_hello(self.tls)
        for program in BOTH:
            for octets in (b"", hello[:50], hello):
                with self.subTest(program=program.name, octets=len(octets)):
                    peer = self.door(program, "--tls", "starttls", "--auth",
                                     "any", *self.certs.server.options())
                    offers(peer)
                    peer.send(b"STARTTLS\r\n" if program == SMTP
                              else b"STLS\r\n")
                    self.assertRegex(peer.line(), rb"^(220 2\.0\.0|\+OK) ")
                    if octets:
                        peer.send(octets)
                        taken(peer)
                    self.terminate(peer)
                    self.assert_ended(peer,
                                      rb"(?s)^([\x14-\x17]\x03.*)?$")

    def test_in_tls(self):
        """With close_notify, or rest() raises."""
        for program in BOTH:
            for state in self.STATES[program]:
                with self.subTest(program=program.name, state=state):
                    peer = self.door(program, *self.certs.server.options(),
                                     "--auth", "any", tls=self.tls)
                    self.bring(peer, state)
                    self.assert_stopped(peer, STOPPED[program])

    def test_in_the_delay_of_a_failed_login(self):
        """The verdict at once, then as ever."""
        users = self.users(f"joe:{hash_of('right')}")
        words = {SMTP: rb"^535 5\.7\.8 .*\r\n421 4\.3\.2 .*\r\n$",
                 POP3: rb"^\+OK.*\r\n-ERR \[AUTH\] .*\r\n$"}

        def stop(program):
            peer = self.door(program, "--tls", "off", "--auth",
                             f"file:{users}")
            offers(peer)
            peer.clock.go()
            send_login(peer, "joe", "wrong")
            peer.until(b"535 5.7.8" if program == SMTP else b"[AUTH]")
            peer.line()
            peer.clock.hold()
            send_login(peer, "joe", "wrong")    # that is two seconds
            wait_for(lambda: peer.process.log().count("login-failed:") == 2,
                     "the second failure")
            self.terminate(peer)
            self.assert_ended(peer, words[program])
        self.together({program.name: lambda program=program: stop(program)
                       for program in BOTH})

    def test_in_exec(self):
        """The check ends too, with all it started."""
        words = {SMTP: rb"^(454 4\.7\.0 .*\r\n)?421 4\.3\.2 .*\r\n$",
                 POP3: rb"^\+OK.*\r\n(-ERR \[SYS/TEMP\] .*\r\n)?$"}
        for program in BOTH:
            with self.subTest(program=program.name):
                witness = Witness(self, "sleep")
                peer = self.door(program, "--tls", "off", *witness.option)
                offers(peer)
                send_login(peer)
                report = witness.report()
                peer.clock.go()     # it is given some to end
                self.terminate(peer)
                self.assert_ended(peer, words[program])
                for pid in (report["pid"], report["child"]):
                    wait_for(lambda: not alive(pid), "its end")

    def test_with_commands_waiting(self):
        """Those that were read are answered, none after."""
        for program in BOTH:
            with self.subTest(program=program.name):
                peer = self.ready(program, state="login")
                peer.send("NOOP\r\nNOOP\r\nNO")
                taken(peer)
                self.terminate(peer)
                self.assert_ended(
                    peer, rb"^(250 2\.0\.0 .*\r\n){2}421 4\.3\.2 .*\r\n$"
                    if program == SMTP else rb"^(\+OK\r\n){2}$")

    def test_twice(self):
        for program in BOTH:
            peer = self.ready(program, state="login")
            self.terminate(peer)
            self.assert_stopped(peer, STOPPED[program])


class SigtermInRetr(Timed):
    """What is on its way gets 10 s, then the end without a final dot."""

    slow = True

    def setUp(self):
        super().setUp()
        self.put("cur/big", b"Subject: x\n\n"
                 + (b"0123456789" * 7 + b"\n") * 800_000)

    def begun(self, tls=False, **kwargs):
        """In the middle of RETR."""
        if tls:
            pop = self.door(POP3, *self.certs.server.options(), "--auth",
                            "any", tls=self.tls)
        else:
            pop = self.plain_door(POP3, **kwargs)
        self.bring(pop, "login")
        pop.send("RETR 1\r\n")
        while len(pop.buffer) < 300_000:
            pop.fill(time.monotonic() + DEADLINE)
        pop.clock.go()
        os.kill(pop.process.pid, signal.SIGTERM)
        return pop

    def test_whole_in_time(self):
        """A reader that goes on reading has it all; then comes the end."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                pop = self.begun(tls)
                octets = int(re.match(rb"\+OK (\d+)", pop.line())[1])
                rest = pop.rest()
                self.assertEqual(len(rest), octets + 3)
                self.assertEqual(rest[-7:], b"6789\r\n.\r\n"[-7:])
                self.assert_ended_well(pop)

    def test_not_in_time(self):
        """Ten seconds for a reader of nothing, and not one more for a slow
        reader, however steady; all at once, for that takes its time."""
        def nothing(pop):
            begin = time.monotonic()
            self.assertEqual(pop.process.wait(), 0)
            return time.monotonic() - begin

        def steady(pop):
            begin = time.monotonic()
            while not pop.ended:
                self.assertLess(time.monotonic(), begin + 40,
                                "still sending, 40 s after SIGTERM")
                try:
                    pop.fill(time.monotonic() + DEADLINE)
                except OSError:
                    break       # unread input of ours, or no close_notify
                time.sleep(0.1)
            return time.monotonic() - begin

        def stop(read, tls, **kwargs):
            pop = self.begun(tls, **kwargs)
            took = read(pop)
            self.assertLess(took, 40)
            self.assertGreater(took, 8)
            try:
                pop.rest()
            except OSError:
                pass
            self.assertNotEqual(bytes(pop.buffer[-5:]), b"\r\n.\r\n")
            self.assert_ended_well(pop)
        self.together({
            ("nothing", "socket"): lambda: stop(nothing, False),
            ("nothing", "pipe"): lambda: stop(nothing, False, via="pipe"),
            ("nothing", "tls"): lambda: stop(nothing, True),
            ("steady", "socket"): lambda: stop(steady, False),
            ("steady", "tls"): lambda: stop(steady, True)})

    def test_time_out_is_shorter(self):
        """SIGTERM gives nobody more time than he had."""
        pop = self.plain_door(POP3, *SHORT)
        self.bring(pop, "login")
        pop.send("RETR 1\r\n")
        while len(pop.buffer) < 300_000:
            pop.fill(time.monotonic() + DEADLINE)
        begin = pop.clock.go()
        os.kill(pop.process.pid, signal.SIGTERM)
        self.assertEqual(pop.process.wait(), 0)
        self.assertLess(pop.clock.now() - begin, 9)

    def test_listing(self):
        for n in range(1000):
            self.put(f"new/{1_600_000_000 + n}.M{n}P1.mail.test", b"x\n")
        pop = self.plain_door(POP3)
        self.bring(pop, "login")
        pop.send(b"UIDL\r\n" * 60)
        pop.fill(time.monotonic() + DEADLINE)
        os.kill(pop.process.pid, signal.SIGTERM)
        rest = pop.rest()
        self.assert_ended_well(pop)
        # Listings are whole as far as there are any
        self.assertEqual(rest[-5:], b"\r\n.\r\n")
        self.assertEqual(rest.count(b"\r\n+OK ") + 1,
                         rest.count(b"\r\n.\r\n"))


class GatedHop(ScriptedHop):
    """Waits at a step until the gate is opened."""

    def __init__(self, test, step, tls):
        self.step = step
        self.reached, self.gate = threading.Event(), threading.Event()
        test.addCleanup(self.gate.set)
        super().__init__(test, tls=tls)

    def answer(self, client, step, default=None):
        if step.split(" ")[0] == self.step:
            self.reached.set()
            self.gate.wait(DEADLINE)
        return super().answer(client, step, default)


class SigtermInDelivery(Timed):
    """Before the point of no return all is dropped, after it all is
    finished."""

    def test_at_the_first_link(self):
        """The system call takes 0.4 s and the signal comes meanwhile."""
        trace = self.fresh_path("strace")
        smtp = self.ready(SMTP, state="data", wrap=[
            "strace", "-D", "-o", trace, "-e", "trace=link,linkat", "-e",
            "inject=link,linkat:delay_exit=400000"],
            env={"ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": None})
        smtp.send(b"Subject: x\r\n\r\nwhole\r\n.\r\n")
        wait_for(lambda: self.stored(smtp.mail), "the link")
        os.kill(smtp.process.pid, signal.SIGTERM)
        self.assertRegex(smtp.rest(), rb"^250 2\.[06]\.0 .*\r\n"
                                      rb"421 4\.3\.2 .*\r\n$")
        self.assert_ended_well(smtp)
        self.assertTrue(self.the_message(smtp.mail)[1].endswith(
            b"\nwhole\n"))

    def relayed(self, step, *options):
        """A message on its way, the next hop not answering at the step."""
        hop = GatedHop(self, step, self.certs.server.server_context())
        relay = self.write(
            "relay", f"* smtps://localhost:{hop.port}?ca="
            f"{self.certs.ca.crt} me secret\n")
        clocks = clock.Clock(self)
        smtp = self.spawn(SMTP, *PLAIN, "--relay", relay, *options,
                          kind=SmtpPeer, env=clocks.env)
        smtp.ready()
        smtp.send("MAIL FROM:<joe@example.com>\r\n"
                  "RCPT TO:<ann@example.org>\r\nDATA\r\n")
        smtp.expect(None, "250 2.1.0")
        if step not in ("greeting", "EHLO", "AUTH", "MAIL", "RCPT"):
            smtp.expect(None, "250 2.1.5")
            smtp.expect(None, "354")
            smtp.send(b"Subject: x\r\n\r\nwhole\r\n.\r\n")
        self.assertTrue(hop.reached.wait(DEADLINE))
        os.kill(smtp.process.pid, signal.SIGTERM)
        return smtp, hop

    def test_after_the_final_dot(self):
        """The next hop's verdict is waited for and passed on."""
        for options in ((), ("--maildir", self.mail)):
            with self.subTest(options=options):
                smtp, hop = self.relayed("final", *options)
                self.assertTrue(smtp.quiet(0.2))
                hop.gate.set()
                self.assertRegex(
                    smtp.rest(), rb"^250 2\.0\.0 hop has it.*\r\n"
                                 rb"421 4\.3\.2 .*\r\n$")
                self.assert_ended_well(smtp)
                self.assertEqual(len(hop.messages), 1)
                if options:
                    self.the_message()

    def test_before_it(self):
        """Nothing is waited for, and the next hop has no message."""
        for step in ("greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"):
            with self.subTest(step=step):
                smtp, hop = self.relayed(step, "--maildir", self.mail)
                rest = smtp.rest()      # no clock goes on
                self.assertRegex(rest, rb"^(45\d .*\r\n|503 .*\r\n)*"
                                       rb"421 4\.3\.2 .*\r\n$")
                self.assert_ended_well(smtp)
                hop.gate.set()
                hop.wait_ended()
                self.assertEqual(hop.messages, [])
                self.assert_nothing_kept()


class Sigpipe(Timed):
    """A peer that is gone while we write: exit 0, whatever it is."""

    def test_before_the_greeting(self):
        for program in BOTH:
            for via in ("socketpair", "pipe"):
                with self.subTest(program=program.name, via=via):
                    peer = self.plain_door(program, via=via)
                    peer.close()
                    self.assertEqual(peer.process.wait(), 0,
                                     peer.process.log())

    def test_before_the_replies(self):
        for program in BOTH:
            for state in ("fresh", "login"):
                for via in ("socketpair", "pipe"):
                    with self.subTest(program=program.name, state=state,
                                      via=via):
                        peer = self.ready(program, state=state, via=via)
                        peer.send(b"NOOP\r\n" * 1000)
                        peer.close()
                        self.assertEqual(peer.process.wait(), 0)

    def test_only_the_reading_end(self):
        """Pipes: output breaks while input goes on."""
        for program in BOTH:
            with self.subTest(program=program.name):
                peer = self.ready(program, state="login", via="pipe")
                os.close(peer.transport.reader)
                os.set_blocking(peer.transport.writer, True)
                try:
                    for _ in range(100):
                        os.write(peer.transport.writer, b"NOOP\r\n")
                except BrokenPipeError:
                    pass
                self.assertEqual(peer.process.wait(), 0)
                self.assertIn("Broken pipe", peer.process.log())
                peer.transport.reader = peer.transport.writer

    def test_in_data(self):
        """Gone after the message but before its reply: it is kept."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                if tls:
                    smtp = self.door(SMTP, *self.certs.server.options(),
                                     "--auth", "any", tls=self.tls)
                    self.bring(smtp, "data")
                else:
                    smtp = self.ready(SMTP, state="data")
                smtp.send(b"Subject: x\r\n\r\nwhole\r\n.\r\n")
                smtp.close()
                self.assertEqual(smtp.process.wait(), 0)
                path, content = self.the_message(smtp.mail)
                self.assertTrue(content.endswith(b"\nwhole\n"))
                path.unlink()
                self.assert_nothing_kept(smtp.mail)

    def test_in_tls(self):
        self.put("cur/big", b"x" * 70 + b"\n" + b"y\n" * 2_000_000)
        for program, command in ((POP3, b"RETR 1\r\n"),
                                 (SMTP, b"HELP\r\n" * 2000)):
            with self.subTest(program=program.name):
                peer = self.door(program, *self.certs.server.options(),
                                 "--auth", "any", tls=self.tls)
                self.bring(peer, "login")
                peer.send(command)
                os.close(peer.transport.sock.detach())
                self.assertEqual(peer.process.wait(), 0)

    def test_check_that_reads_nothing(self):
        """The pipe to a checkpassword program is written by us, too."""
        for program in BOTH:
            for _ in range(10):     # some of them end before we write
                peer = self.door(program, "--tls", "off", "--auth",
                                 "exec:true")
                offers(peer)
                send_login(peer)
                if program == POP3:
                    self.assertEqual(peer.line(), b"+OK Send the password")
                    self.assertEqual(peer.line(), b"+OK 0 messages (0 octets)")
                else:
                    self.assertEqual(peer.line(), b"235 2.7.0 Logged in")
                noop(peer)
                self.assert_ended_well(peer)
