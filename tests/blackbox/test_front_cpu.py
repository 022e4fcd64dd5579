"""A peer that sends what nobody reads, or nothing at all, costs no CPU time:
no wait returns at once for ever.  Measured by getrusage(2) over the whole
process, for a peer that keeps its end open; mail-handlers(7), Time."""

import contextlib
import os
import signal
import time

from clock import Timed
from frontdoor import (BOTH, client_hello, offers, send_login, start_tls,
                       upgrade)
from mailtest import DEADLINE, POP3, SMTP, Closed, SmtpPeer

# Seconds of CPU time.  A session takes 0.01; one that spins, all there is.
MOST = 0.1
SHORT = ("--timeout", "1")
# More records than one read takes, none of which is answered
RECORDS = 48


class Cpu(Timed):
    def spent(self, process):
        """Waits for its end: seconds of CPU time."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                process.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime
            time.sleep(0.02)
        raise AssertionError(f"still running after {DEADLINE} s")

    def measure(self, program, scenario, *options, most=MOST):
        """The scenario gets a connection to the program and leaves it open;
        the program is to end by itself."""
        peer = self.door(program, "--auth", "any", *SHORT, *options)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError,
                                 Closed):
            scenario(peer)
        peer.clock.go()
        used = self.spent(peer.process)
        self.assertEqual(peer.process.wait(), 0, peer.process.log())
        self.assertLess(used, most, peer.process.log())

    def both(self, scenarios, *options):
        """A dictionary of them, or just one."""
        if not isinstance(scenarios, dict):
            scenarios = {"": scenarios}
        self.together({
            (program.name, name): lambda p=program, s=scenario:
                self.measure(p, s, *options)
            for program in BOTH for name, scenario in scenarios.items()})

    def over_tls(self, scenarios, *options):
        """The scenario gets a peer that speaks TLS."""
        def under(scenario):
            def begin(peer):
                upgrade(peer, self.tls)
                scenario(peer)
            return begin
        if not isinstance(scenarios, dict):
            scenarios = {"": scenarios}
        self.both({name: under(scenario)
                   for name, scenario in scenarios.items()},
                  *self.certs.server.options(), *options)

    def leftovers(self, peer):
        """Records that come when nobody reads commands any more."""
        for _ in range(RECORDS):
            peer.send(b"x" * 1000 + b"\r\n")


class BeforeTls(Cpu):
    def test_plain_text_on_a_tls_port(self):
        self.both({text[:20]: lambda peer, text=text: peer.send(text)
                   for text in (b"GET / HTTP/1.0\r\n\r\n", b"EHLO x\r\n",
                                b"\r\n", b"\x16", b"\x16\x03\x01\x00\x05",
                                b"\x80\x2e\x01\x03", b"x" * 70000)},
                  *self.certs.server.options())

    def test_nothing(self):
        self.both(lambda peer: None, *self.certs.server.options())

    def test_half_a_client_hello(self):
        hello = client_hello(self.tls)
        self.both({n: lambda peer, n=n: peer.send(hello[:n])
                   for n in (1, 5, 6, len(hello) - 1)},
                  *self.certs.server.options())

    def test_hello_and_then_plain_text(self):
        self.both(lambda peer: peer.send(
            client_hello(self.tls) + b"GET / HTTP/1.0\r\n\r\n" * 100),
            *self.certs.server.options())

    def test_tls_on_a_plain_port(self):
        for mode in ("off", "starttls"):
            with self.subTest(mode=mode):
                self.both(lambda peer: peer.send(client_hello(self.tls)),
                          "--tls", mode, *self.certs.server.options())

    def test_plain_text_after_starttls(self):
        def scenario(peer):
            offers(peer)
            if isinstance(peer, SmtpPeer):
                peer.expect("STARTTLS", "220 2.0.0")
            else:
                peer.expect("STLS", r"\+OK")
            peer.send(b"NOOP\r\n" * 1000)
        self.both(scenario, "--tls", "starttls",
                  *self.certs.server.options())

    def test_half_a_proxy_header(self):
        self.both({text[:20]: lambda peer, text=text: peer.send(text)
                   for text in (b"PROXY TCP4 192.0.2.1",
                                b"\r\n\r\n\0\r\nQUIT\n\x21",
                                b"GET / HTTP/1.0\r\n\r\n" * 1000)},
                  "--tls", "off", "--proxy-protocol")


class UnderTls(Cpu):
    def test_half_a_record(self):
        """Its header alone, and all but its end."""
        def scenario(octets):
            def begin(peer):
                offers(peer)
                peer.transport.under.send(octets)
            return begin
        header = b"\x17\x03\x03\x40\x00"
        self.over_tls({len(octets): scenario(octets) for octets in (
            header[:1], header, header + b"x" * 16000)})

    def test_no_record(self):
        def scenario(peer):
            offers(peer)
            peer.transport.under.send(b"GET / HTTP/1.0\r\n\r\n" * 3000)
        self.over_tls(scenario)

    def test_leftovers_at_quit(self):
        def scenario(peer):
            offers(peer)
            peer.send("QUIT\r\n")
            self.leftovers(peer)
        self.over_tls(scenario)

    def test_leftovers_at_421(self):
        """Too many bad commands, and more behind them."""
        def scenario(peer):
            offers(peer)
            peer.send(b"XYZZY\r\n" * 100)
            self.leftovers(peer)
        self.over_tls(scenario)

    def test_leftovers_at_sigterm(self):
        def scenario(peer):
            offers(peer)
            os.kill(peer.process.pid, signal.SIGTERM)
            self.leftovers(peer)
        self.over_tls(scenario)

    def test_leftovers_at_close_notify(self):
        def scenario(peer):
            offers(peer)
            with contextlib.suppress(OSError):
                peer.transport.tls.unwrap()
            peer.transport.flush()
            peer.transport.under.send(b"\x17\x03\x03\x40\x00x" * 5000)
        self.over_tls(scenario)

    def test_leftovers_at_failed_login(self):
        """The third closes."""
        users = self.users("joe:*")
        def scenario(peer):
            offers(peer)
            for _ in range(3):
                send_login(peer)
            peer.clock.go()
            self.leftovers(peer)
        self.over_tls(scenario, "--auth", f"file:{users}")

    def test_starttls_and_leftovers(self):
        def scenario(peer):
            offers(peer)
            start_tls(peer, self.tls)
            peer.send("QUIT\r\n")
            self.leftovers(peer)
        self.both(scenario, "--tls", "starttls",
                  *self.certs.server.options())


class Plain(Cpu):
    OPTIONS = ("--tls", "off")

    def flood(self, peer):
        """As fast as it goes, until the other end has enough."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                peer.transport.send(b"x" * 262144)

    def test_leftovers_at_quit(self):
        def scenario(peer):
            offers(peer)
            peer.send(b"QUIT\r\n" + b"x" * 100_000)
        self.both(scenario, *self.OPTIONS)

    def test_flood_after_quit(self):
        def scenario(peer):
            offers(peer)
            peer.send(b"QUIT\r\n")
            self.flood(peer)
        self.both(scenario, *self.OPTIONS)

    def test_closed_half(self):
        """It sends no more, and reads nothing."""
        def scenario(peer):
            peer.end_output()
        self.both(scenario, *self.OPTIONS)

    def test_does_not_read(self):
        """Output that nobody takes, and input that nobody reads for it."""
        def scenario(peer):
            end = time.monotonic() + 1
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    peer.transport.send(b"NOOP\r\n" if isinstance(
                        peer, SmtpPeer) else b"CAPA\r\n")
        def wait(peer):
            with contextlib.suppress(OSError):
                scenario(peer)
            before = self.so_far(peer)
            time.sleep(0.8)
            # Answering cost its share; waiting for room costs nothing
            self.assertLess(self.so_far(peer) - before, 0.03)
        self.together({program.name: lambda p=program: self.measure(
            p, wait, *self.OPTIONS, most=2) for program in BOTH})

    def so_far(self, peer):
        """Seconds of CPU time of one that runs."""
        with open(f"/proc/{peer.process.pid}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9

    def test_data_that_is_refused(self):
        """421 in the middle of a text, and the text goes on."""
        def scenario(peer):
            peer.ready()
            peer.envelope()
            peer.expect("DATA", "354")
            os.kill(peer.process.pid, signal.SIGTERM)
            self.flood(peer)
        self.measure(SMTP, scenario, *self.OPTIONS)

    def test_pop3_without_a_login(self):
        self.measure(POP3, lambda peer: peer.send(b"USER joe\r\n"),
                     *self.OPTIONS)
