"""--proxy-protocol: PROXY headers of versions 1 and 2.  The man pages,
--proxy-protocol; haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2."""

import os
import re
import socket
import struct
import time

from clock import Timed
from frontdoor import (BOTH, KIND, RIGHT, WRONG, FrontDoor, Haproxy,
                       client_hello, drip, login_reply, offers,
                       offers_login, send_login, start_tls, taken, try_login,
                       upgrade)
from mailtest import DEADLINE, POP3, SMTP, split_stored, wait_for

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(text):
    return b"PROXY " + text + b"\r\n"


def v2(family, block, command=0x21, length=None):
    return SIGNATURE + struct.pack(
        "!BBH", command, family,
        len(block) if length is None else length) + block


def inet(source, port=4711, destination="198.51.100.1", to=995):
    return (socket.inet_aton(source) + socket.inet_aton(destination)
            + struct.pack("!HH", port, to))


def inet6(source, port=4711, destination="2001:db8::2", to=995):
    return (socket.inet_pton(socket.AF_INET6, source)
            + socket.inet_pton(socket.AF_INET6, destination)
            + struct.pack("!HH", port, to))


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


UNIX = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
# Authority, CRC32c, no-op, unique id, TLS with its own, network namespace
TLVS = (tlv(0x02, b"mail.example.com") + tlv(0x04, b"\0" * 9)
        + tlv(0x05, b"id") + tlv(0x20, b"\1\0\0\0\0" + tlv(0x21, b"TLSv1.3"))
        + tlv(0x30, b"ns") + tlv(0xE0, os.urandom(50)))
# The longest that the specification has: 107 octets with the CRLF
LONGEST = (b"UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535").ljust(
    99, b"x")

# What each makes of a peer on a UNIX socket: what the log shows of it, and
# whether it is local
LOCAL, ELSEWHERE = True, False
GOOD = {
    # Version 1
    "tcp4": (v1(b"TCP4 192.0.2.7 198.51.100.1 4711 995"),
             "192.0.2.7:4711", ELSEWHERE),
    "tcp4 of this machine": (v1(b"TCP4 127.0.0.5 127.0.0.1 4711 995"),
                             "127.0.0.5:4711", LOCAL),
    "tcp4 longest": (v1(b"TCP4 255.255.255.255 255.255.255.255 65535 65535"),
                     "255.255.255.255:65535", ELSEWHERE),
    "tcp4 shortest": (v1(b"TCP4 1.1.1.1 1.1.1.1 1 1"), "1.1.1.1:1",
                      ELSEWHERE),
    "tcp4 port 0": (v1(b"TCP4 192.0.2.7 198.51.100.1 0 0"), "192.0.2.7",
                    ELSEWHERE),
    "tcp6": (v1(b"TCP6 2001:db8::7 2001:db8::2 4711 995"),
             "[2001:db8::7]:4711", ELSEWHERE),
    "tcp6 of this machine": (v1(b"TCP6 ::1 ::1 4711 995"), "[::1]:4711",
                             LOCAL),
    "tcp6 longest": (v1(b"TCP6 " + b" ".join(
        [b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535"),
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", ELSEWHERE),
    "tcp6 in capitals": (v1(b"TCP6 2001:DB8:0::7 2001:DB8::2 4711 995"),
                         "[2001:db8::7]:4711", ELSEWHERE),
    "tcp6 mapped": (v1(b"TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 9"),
                    "192.0.2.7:4711", ELSEWHERE),
    "tcp6 mapped of this machine": (
        v1(b"TCP6 ::ffff:127.0.0.5 ::ffff:127.0.0.1 4711 9"),
        "127.0.0.5:4711", LOCAL),
    "unknown": (v1(b"UNKNOWN"), "unknown", ELSEWHERE),
    "unknown with addresses": (
        v1(b"UNKNOWN 127.0.0.1 127.0.0.1 4711 995"), "unknown", ELSEWHERE),
    "unknown with junk": (v1(b"UNKNOWN \0\x7f\xff PROXY TCP4 %s%n"),
                          "unknown", ELSEWHERE),
    "unknown with a blank": (v1(b"UNKNOWN "), "unknown", ELSEWHERE),
    "longest": (v1(LONGEST), "unknown", ELSEWHERE),
    # Version 2
    "v2 tcp4": (v2(0x11, inet("192.0.2.7")), "192.0.2.7:4711", ELSEWHERE),
    "v2 tcp4 of this machine": (v2(0x11, inet("127.0.0.5")),
                                "127.0.0.5:4711", LOCAL),
    "v2 tcp4 port 0": (v2(0x11, inet("192.0.2.7", 0)), "192.0.2.7",
                       ELSEWHERE),
    "v2 tcp4 port 65535": (v2(0x11, inet("192.0.2.7", 65535)),
                           "192.0.2.7:65535", ELSEWHERE),
    "v2 tcp4 with tlvs": (v2(0x11, inet("192.0.2.7") + TLVS),
                          "192.0.2.7:4711", ELSEWHERE),
    "v2 tcp4 with junk": (v2(0x11, inet("192.0.2.7") + b"\xff" * 7),
                          "192.0.2.7:4711", ELSEWHERE),
    "v2 tcp4 longest": (v2(0x11, inet("192.0.2.7") + b"\n" * 65523),
                        "192.0.2.7:4711", ELSEWHERE),
    "v2 tcp6": (v2(0x21, inet6("2001:db8::7")), "[2001:db8::7]:4711",
                ELSEWHERE),
    "v2 tcp6 of this machine": (v2(0x21, inet6("::1")), "[::1]:4711", LOCAL),
    "v2 tcp6 mapped": (v2(0x21, inet6("::ffff:192.0.2.7")),
                       "192.0.2.7:4711", ELSEWHERE),
    "v2 tcp6 mapped of this machine": (v2(0x21, inet6("::ffff:127.0.0.5")),
                                       "127.0.0.5:4711", LOCAL),
    "v2 tcp6 with tlvs": (v2(0x21, inet6("2001:db8::7") + TLVS),
                          "[2001:db8::7]:4711", ELSEWHERE),
    "v2 unix": (v2(0x31, UNIX), "local", LOCAL),
    "v2 unix with tlvs": (v2(0x31, UNIX + TLVS), "local", LOCAL),
    "v2 unspec": (v2(0x00, b""), "unknown", ELSEWHERE),
    "v2 unspec with tlvs": (v2(0x00, TLVS), "unknown", ELSEWHERE),
    "v2 unspec longest": (v2(0x00, b"\0" * 65535), "unknown", ELSEWHERE),
    # LOCAL: the connecting peer, whatever else is in it
    "v2 local": (v2(0x00, b"", 0x20), "local", LOCAL),
    "v2 local with an address": (v2(0x11, inet("192.0.2.7"), 0x20), "local",
                                 LOCAL),
    "v2 local with part of one": (v2(0x11, b"\1\2\3", 0x20), "local", LOCAL),
    "v2 local of any family": (v2(0xFF, b"x" * 300, 0x20), "local", LOCAL),
    "v2 local longest": (v2(0x00, b"x" * 65535, 0x20), "local", LOCAL),
}

# Not one of these is followed by anything: the verdict is there already
BAD = {
    "another protocol": b"EHLO client.test\r\n",
    "a short command": b"QUIT\r\n",
    "http": b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 16,
    "line ends": b"\r\n\r\nEHLO client.test\r\n",
    "version 0": b"proxy TCP4 192.0.2.7 198.51.100.1 4711 995\r\n",
    "no blank": b"PROXY\r\n",
    "a tab": b"PROXY\tTCP4 192.0.2.7 198.51.100.1 4711 995\r\n",
    "nothing in it": v1(b"") + b"EHLO client.test\r\n",
    "blanks in it": v1(b"      "),
    "unknown protocol": v1(b"UDP4 192.0.2.7 198.51.100.1 4711 995"),
    "unknown in small": v1(b"unknown"),
    "tcp4 in small": v1(b"tcp4 192.0.2.7 198.51.100.1 4711 995"),
    "unknown and more": v1(b"UNKNOWNS"),
    "tcp alone": v1(b"TCP4"),
    "tcp and a blank": v1(b"TCP4 "),
    "tcp5": v1(b"TCP5 192.0.2.7 198.51.100.1 4711 995"),
    "no destination": v1(b"TCP4 192.0.2.7"),
    "no ports": v1(b"TCP4 192.0.2.7 198.51.100.1"),
    "one port": v1(b"TCP4 192.0.2.7 198.51.100.1 4711"),
    "three ports": v1(b"TCP4 192.0.2.7 198.51.100.1 4711 995 1"),
    "two blanks": v1(b"TCP4  192.0.2.7 198.51.100.1 4711 995"),
    "blank at the end": v1(b"TCP4 192.0.2.7 198.51.100.1 4711 995 "),
    "port too high": v1(b"TCP4 192.0.2.7 198.51.100.1 65536 995"),
    "other port too high": v1(b"TCP4 192.0.2.7 198.51.100.1 4711 65536"),
    "port of 20 digits": v1(b"TCP4 192.0.2.7 198.51.100.1 4711 "
                            b"18446744073709552611"),
    "leading zero": v1(b"TCP4 192.0.2.7 198.51.100.1 04711 995"),
    "negative port": v1(b"TCP4 192.0.2.7 198.51.100.1 -1 995"),
    "port with a sign": v1(b"TCP4 192.0.2.7 198.51.100.1 +1 995"),
    "hexadecimal port": v1(b"TCP4 192.0.2.7 198.51.100.1 0x1 995"),
    "empty port": v1(b"TCP4 192.0.2.7 198.51.100.1  995"),
    "v4 address too short": v1(b"TCP4 192.0.2 198.51.100.1 4711 995"),
    "v4 address too large": v1(b"TCP4 192.0.2.256 198.51.100.1 4711 995"),
    "v4 address with zeros": v1(b"TCP4 192.000.002.007 198.51.100.1 1 995"),
    "a name": v1(b"TCP4 localhost 198.51.100.1 4711 995"),
    "v6 in tcp4": v1(b"TCP4 ::1 ::1 4711 995"),
    "v4 in tcp6": v1(b"TCP6 192.0.2.7 198.51.100.1 4711 995"),
    "v6 with a zone": v1(b"TCP6 fe80::1%lo ::1 4711 995"),
    "v6 in brackets": v1(b"TCP6 [::1] [::1] 4711 995"),
    "v6 twice cut": v1(b"TCP6 1::2::3 ::1 4711 995"),
    "wrong destination": v1(b"TCP4 192.0.2.7 nowhere 4711 995"),
    "nul in an address": v1(b"TCP4 127.0.0.1\0 127.0.0.1 4711 995"),
    "lf alone": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 995\n" + b"x" * 80,
    "cr alone": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 995\rx",
    "cr cr lf": b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 995\r\r\n",
    "108 octets": v1(LONGEST + b"x"),
    "no end": b"PROXY UNKNOWN " + b"x" * 1000,
    # Version 2
    "v2 of version 1": v2(0x11, inet("192.0.2.7"), 0x11),
    "v2 of version 3": v2(0x11, inet("192.0.2.7"), 0x31),
    "v2 of version 0": v2(0x11, inet("192.0.2.7"), 0x01),
    "v2 command 2": v2(0x11, inet("192.0.2.7"), 0x22),
    "v2 command 15": v2(0x11, inet("192.0.2.7"), 0x2F),
    "v2 udp4": v2(0x12, inet("192.0.2.7")),
    "v2 udp6": v2(0x22, inet6("2001:db8::7")),
    "v2 unix datagrams": v2(0x32, UNIX),
    "v2 tcp4, transport 3": v2(0x13, inet("192.0.2.7")),
    "v2 family 4": v2(0x41, inet("192.0.2.7")),
    "v2 family 15": v2(0xF1, inet("192.0.2.7")),
    "v2 tcp4 too short": v2(0x11, inet("192.0.2.7")[:11]),
    "v2 tcp4 empty": v2(0x11, b""),
    "v2 tcp6 too short": v2(0x21, inet6("2001:db8::7")[:35]),
    "v2 tcp6 of an ipv4 length": v2(0x21, inet("192.0.2.7")),
    "v2 unix too short": v2(0x31, UNIX[:215]),
    "v2 wrong signature": SIGNATURE[:-1] + b"x\x21\x11\0\x0c"
                          + inet("192.0.2.7"),
    "v2 nearly the signature": SIGNATURE[:4] + b"x",
}


class Proxy(FrontDoor):
    def proxy_door(self, program, *options, **kwargs):
        return self.door(program, "--tls", "off", "--auth", "any",
                         "--proxy-protocol", *options, **kwargs)


class Good(Proxy):
    def assert_known(self, peer, shown, local):
        self.assertIs(offers_login(peer), local)
        self.assertIn(
            f" connect: peer={shown} local={'yes' if local else 'no'}\n",
            peer.process.log())

    def test_every_form(self):
        """Header and commands in one write, over a socket and a pipe."""
        for name, (header, shown, local) in GOOD.items():
            for program in BOTH:
                for via in ("socketpair", "pipe"):
                    with self.subTest(name=name, program=program.name,
                                      via=via):
                        peer = self.proxy_door(program, via=via)
                        peer.send(header + b"QUIT\r\n")
                        got = peer.rest()
                        # Not one octet of the command was lost
                        self.assertRegex(
                            got, rb"^220 .*\r\n221 2\.0\.0 .*\r\n$"
                            if program == SMTP
                            else rb"^\+OK .*\r\n\+OK.*\r\n$")
                        self.assert_ended_well(peer)
                        self.assertIn(
                            f" connect: peer={shown} "
                            f"local={'yes' if local else 'no'}\n",
                            peer.process.log())

    def test_logins_are_for_local_peers(self):
        for name, (header, shown, local) in GOOD.items():
            if len(header) > 1000:
                continue
            for program in BOTH:
                with self.subTest(name=name, program=program.name):
                    peer = self.proxy_door(program)
                    peer.send(header)
                    self.assert_known(peer, shown, local)

    def test_one_octet_at_a_time(self):
        """Nothing is said before the last one."""
        for name in ("tcp4", "tcp6 longest", "unknown", "longest", "v2 tcp4",
                     "v2 tcp6", "v2 unix", "v2 unspec", "v2 local",
                     "v2 tcp4 with tlvs", "v2 local with part of one"):
            header, shown, local = GOOD[name]
            for via in ("socketpair", "pipe"):
                with self.subTest(name=name, via=via):
                    peer = self.proxy_door(SMTP, via=via)
                    for i in range(len(header) - 1):
                        peer.transport.send(header[i:i + 1])
                        taken(peer)
                    self.assertTrue(peer.quiet(0))
                    peer.transport.send(header[-1:])
                    self.assert_known(peer, shown, local)

    def test_cut_anywhere(self):
        """In two pieces, the second with what follows the header."""
        for name in ("tcp4", "unknown", "v2 tcp4", "v2 local with an address"):
            header, shown, local = GOOD[name]
            for program in BOTH:
                for cut in range(1, len(header)):
                    with self.subTest(name=name, program=program.name,
                                      cut=cut):
                        peer = self.proxy_door(program)
                        peer.send(header[:cut])
                        taken(peer)
                        peer.send(header[cut:] + b"QUIT\r\n")
                        self.assertRegex(peer.rest(), rb"^(220|\+OK) .*\r\n"
                                                      rb"(221|\+OK) .*\r\n$")
                        self.assertIn(f" peer={shown} ", peer.process.log())

    def test_tls_follows_at_once(self):
        """Header and ClientHello in one write, over a socket and a pipe."""
        for name in ("tcp4", "tcp6 longest", "unknown", "longest", "v2 tcp4",
                     "v2 tcp6 with tlvs", "v2 unix", "v2 local",
                     "v2 tcp4 longest"):
            header, shown, _ = GOOD[name]
            for program in BOTH:
                for via in ("socketpair", "pipe"):
                    with self.subTest(name=name, program=program.name,
                                      via=via):
                        peer = self.door(
                            program, *self.certs.server.options(), "--auth",
                            "any-remote", "--proxy-protocol", via=via)
                        upgrade(peer, self.tls, prefix=header)
                        self.assertTrue(offers_login(peer))
                        self.assertEqual(try_login(peer), RIGHT[program])
                        peer.send("QUIT\r\n")
                        self.assertRegex(peer.rest(),
                                         rb"^(221 2\.0\.0|\+OK) ")
                        self.assertIn(f" peer={shown} ", peer.process.log())

    def test_address_in_received(self):
        for name, shown in (("tcp4", "[192.0.2.7]"),
                            ("v2 tcp6", "[IPv6:2001:db8::7]"),
                            ("v2 tcp6 mapped", "[192.0.2.7]")):
            with self.subTest(name=name):
                smtp = self.door(SMTP, "--tls", "outer", "--auth",
                                 "any-remote", "--proxy-protocol")
                smtp.send(GOOD[name][0])
                smtp.ready()
                smtp.message(b"x\n")
                path, content = self.the_message()
                path.unlink()
                self.assertRegex(split_stored(content)[0][-1],
                                 r"^Received: from client\.test \([^()]*"
                                 + re.escape(shown) + r"\)")

    def test_connection_and_environment_are_witnesses_too(self):
        """A header cannot make local what is not."""
        for program in BOTH:
            for name in ("tcp4 of this machine", "v2 unix", "v2 local"):
                with self.subTest(program=program.name, name=name):
                    peer = self.proxy_door(
                        program, env={"TCPREMOTEIP": "192.0.2.9"})
                    peer.send(GOOD[name][0])
                    self.assertFalse(offers_login(peer))

    def test_a_second_header_is_a_bad_command(self):
        for program, wanted in ((SMTP, rb"^220 .*\r\n500 5\.5\.[12] .*\r\n"
                                       rb"221 .*\r\n$"),
                                (POP3, rb"^\+OK .*\r\n-ERR .*\r\n"
                                       rb"\+OK.*\r\n$")):
            peer = self.proxy_door(program)
            peer.send(GOOD["tcp4"][0] * 2 + b"QUIT\r\n")
            self.assertRegex(peer.rest(), wanted)
            self.assertIn(" peer=192.0.2.7:4711 ", peer.process.log())

    def test_not_asked_for(self):
        """Without --proxy-protocol whoever sends one is who he is."""
        for program in BOTH:
            for more in ((), ("--proxy-protocol", "--no-proxy-protocol")):
                peer = self.door(program, "--tls", "off", "--auth", "any",
                                 *more)
                peer.send(GOOD["tcp4"][0] + b"QUIT\r\n")
                self.assertRegex(peer.rest(), rb"^(220|\+OK) .*\r\n"
                                              rb"(500|-ERR) .*\r\n"
                                              rb"(221|\+OK).*\r\n$")
                self.assertIn(" peer=local local=yes", peer.process.log())


class Bad(Proxy, Timed):
    def assert_refused(self, peer):
        """Closed without a protocol octet, with one line in the log."""
        deadline = time.monotonic() + DEADLINE
        while not peer.ended and not peer.buffer:
            peer.fill(deadline)
        self.assertEqual(bytes(peer.buffer), b"")
        self.assert_ended_well(peer)
        log = peer.process.log()
        self.assertRegex(log, r"refused: peer=\S+ reason=\"PROXY header: ")
        self.assertNotIn("connect:", log)
        self.assertEqual(len(log.splitlines()), 1, log)

    def test_every_form(self):
        """At once, though our end stays open."""
        for name, header in BAD.items():
            for program in BOTH:
                with self.subTest(name=name, program=program.name):
                    peer = self.proxy_door(program)
                    peer.send(header)
                    self.assert_refused(peer)

    def test_over_a_pipe_and_instead_of_tls(self):
        for name, header in BAD.items():
            with self.subTest(name=name):
                peer = self.proxy_door(SMTP, via="pipe")
                peer.send(header)
                self.assert_refused(peer)
                peer = self.door(POP3, *self.certs.server.options(),
                                 "--auth", "any", "--proxy-protocol")
                peer.send(header)
                self.assert_refused(peer)

    def test_client_without_a_proxy(self):
        """A ClientHello is no header."""
        for program in BOTH:
            peer = self.door(program, *self.certs.server.options(),
                             "--auth", "any", "--proxy-protocol")
            peer.send(client_hello(self.tls))
            self.assert_refused(peer)

    def test_one_octet_at_a_time(self):
        """The end comes with the octet that is wrong, or before the next
        one."""
        for name, header in BAD.items():
            with self.subTest(name=name):
                peer = self.proxy_door(SMTP)
                self.assertTrue(drip(peer, header, 0.0005, DEADLINE))
                self.assert_refused(peer)

    def test_end_of_input(self):
        """After every number of octets."""
        for name in ("tcp4", "v2 tcp4", "v2 local"):
            header = GOOD[name][0]
            for program in BOTH:
                for cut in range(len(header)):
                    with self.subTest(name=name, program=program.name,
                                      cut=cut):
                        peer = self.proxy_door(program)
                        if cut:
                            peer.send(header[:cut])
                        peer.end_output()
                        self.assert_refused(peer)

    def test_reset_within(self):
        for program in BOTH:
            server = self.serve(program, "--tls", "off", "--auth", "any",
                                "--maildir", self.mail, "--proxy-protocol")
            sock = socket.create_connection((server.host, server.port))
            sock.send(GOOD["tcp4"][0][:20])
            process = server.process()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            b"\1\0\0\0\0\0\0\0")
            sock.close()
            self.assertEqual(process.wait(), 0)
            self.assertIn("PROXY header: ", process.log())

    def test_nothing_and_too_slowly(self):
        """Bounded by --timeout, whether octets come or not."""
        def slow(program, start, tail, tls):
            peer = self.door(
                program, "--auth", "any", "--proxy-protocol", "--timeout",
                "1", *(self.certs.server.options() if tls
                       else ("--tls", "off")))
            if start:
                peer.send(start)
            begin = peer.clock.go()
            self.assertTrue(drip(peer, tail, 0.1, DEADLINE))
            self.assertGreater(peer.clock.now() - begin, 0.9)
            self.assert_refused(peer)
        scenarios = {}
        for program in BOTH:
            for tls in (False, True):
                for name, start, tail in (
                        ("nothing", b"", b""),
                        ("bytewise", b"", GOOD["longest"][0]),
                        ("v1 without an end", GOOD["tcp4"][0][:-1], b""),
                        ("v2 without an end", GOOD["v2 tcp4"][0][:-1], b""),
                        ("v2 drips", GOOD["v2 tcp4 longest"][0][:90], b"x")):
                    scenarios[program.name, tls, name] = \
                        lambda p=program, s=start, t=tail, e=tls: \
                        slow(p, s, t, e)
        self.together(scenarios)


class Haproxies(Proxy):
    """The real one in front."""

    TEXT = """
listen l
	bind 127.0.0.1:PORT
	server s 127.0.0.1:BACKEND OPTIONS
"""

    def front(self, program, options, *handler, **kwargs):
        """(server, haproxy) for the program."""
        server = self.serve(program, "--maildir", self.mail,
                            "--proxy-protocol", *handler, **kwargs)
        text = kwargs.pop("text", self.TEXT)
        return server, Haproxy(
            self, text.replace("BACKEND", str(server.port))
            .replace("OPTIONS", options))

    def dial(self, front, program, tls=None, source="127.0.0.5"):
        sock = socket.create_connection(("127.0.0.1", front.port), 15,
                                        (source, 0))
        port = sock.getsockname()[1]
        peer = KIND[program](self.transport(sock, tls))
        self.addCleanup(peer.close)
        return peer, f"{source}:{port}"

    OPTIONS = ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn",
               "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority")

    def whole_session(self, options, *handler, tls=None):
        server, front = self.front(SMTP, options, *handler)
        smtp, peer = self.dial(front, SMTP, tls)
        smtp.ready()
        smtp.message(b"Subject: x\n\nbody\n")
        smtp.quit()
        path, content = self.the_message()
        self.assertIn(b"[127.0.0.5]", content)
        self.assertEqual(server.process().wait(), 0)
        self.assert_logged(server, f" connect: peer={peer} local=yes")
        server, front = self.front(POP3, options, *handler)
        pop, peer = self.dial(front, POP3, tls)
        pop.login()
        self.assertTrue(pop.retr(1)[1].endswith(b"\r\nbody\r\n"))
        pop.quit()
        self.assertEqual(server.process().wait(), 0)
        self.assert_logged(server, f" connect: peer={peer} local=yes")
        path.unlink()

    def test_in_front_of_plain(self):
        for options in self.OPTIONS:
            with self.subTest(options=options):
                self.whole_session(options, "--tls", "off", "--auth", "any")

    def test_in_front_of_tls(self):
        """TLS passes through to us."""
        for options in self.OPTIONS:
            with self.subTest(options=options):
                self.whole_session(options, *self.certs.server.options(),
                                   "--auth", "any", tls=self.tls)

    def test_in_front_of_starttls(self):
        """Header, clear text, TLS."""
        for options in self.OPTIONS[:2]:
            for program in BOTH:
                with self.subTest(options=options, program=program.name):
                    server, front = self.front(
                        program, options, "--tls", "starttls",
                        *self.certs.server.options(), "--auth", "any")
                    peer, name = self.dial(front, program)
                    self.assertTrue({"STARTTLS", "STLS"} & offers(peer))
                    start_tls(peer, self.tls)
                    if program == SMTP:
                        peer.ehlo()
                    self.assertEqual(try_login(peer), RIGHT[program])
                    self.assert_logged(server, f" peer={name} local=yes")

    def test_health_checks(self):
        """They are sessions of the proxy's own: LOCAL, UNKNOWN or none;
        nothing of them is a failure."""
        for options in ("check inter 100ms fall 2 rise 1 send-proxy",
                        "check inter 100ms fall 2 rise 1 send-proxy-v2",
                        "check inter 100ms fall 2 rise 1 send-proxy-v2 "
                        "check-send-proxy"):
            for program, check in (
                    (SMTP, "\toption smtpchk EHLO check.test\n"),
                    (POP3, "\toption tcp-check\n"
                           "\ttcp-check expect string +OK\n")):
                with self.subTest(options=options, program=program.name):
                    server, front = self.front(
                        program, options, "--tls", "off", "--auth", "any")
                    front.stop()
                    front = Haproxy(
                        self, (self.TEXT + check)
                        .replace("BACKEND", str(server.port))
                        .replace("OPTIONS", options))
                    wait_for(lambda: len(server.processes) > 2,
                             "three checks")
                    # It is still believed to be up
                    peer, name = self.dial(front, program)
                    self.assertTrue(offers_login(peer))
                    self.assert_logged(server, f" peer={name} ")
                    peer.send("QUIT\r\n")
                    self.assertRegex(peer.rest(), rb"^(221 2\.0\.0|\+OK) ")
                    front.stop()
                    self.assertEqual(set(server.wait_all()), {0})

    def test_from_elsewhere(self):
        """Over IPv6, and whom the proxy names is who must be local: the
        proxy itself always is."""
        sessions = []
        for program in BOTH:
            for options in ("send-proxy", "send-proxy-v2"):
                server, front = self.front(
                    program, options, *self.certs.server.options(), "--auth",
                    "any", env={"TCPREMOTEIP": "127.0.0.1"})
                peer, _ = self.dial(front, program, self.tls)
                offers(peer)
                send_login(peer)
                sessions.append((program, options, peer, RIGHT))
                peer = self.door(program, *self.certs.server.options(),
                                 "--auth", "any", "--proxy-protocol")
                upgrade(peer, self.tls, prefix=GOOD["tcp4"][0])
                offers(peer)
                send_login(peer)
                sessions.append((program, "told", peer, WRONG))
        for program, options, peer, verdict in sessions:
            with self.subTest(program=program.name, options=options):
                self.assertEqual(login_reply(peer), verdict[program])
