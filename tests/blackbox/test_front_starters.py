"""Who is local, as the real programs tell that start one of ours for a
connection: each with a peer at a loopback address and one at another address
of a network of its own.  mail-handlers(7), Who is local."""

import itertools
import shlex
import subprocess

from frontdoor import (BOTH, KIND, FrontDoor, InNetwork, Network, RIGHT,
                       Stunnel, offers_login, try_login, upgrade)
from mailtest import POP3, SMTP
from superservers import tool, tool_environment

ADDRESSES = (("127.0.0.1", True), ("192.0.2.1", False), ("::1", True),
             ("2001:db8::1", False))


def bracketed(address):
    return f"[{address}]" if ":" in address else address


class Starter(InNetwork):
    """On all addresses of the network, IPv4 or IPv6."""

    family = 4

    def all(self):
        return "0.0.0.0" if self.family == 4 else "::"


class SocatPipes(Starter):
    """A socket pair, which knows no address."""

    def command(self, argv):
        return self.inner(["socat",
                           f"TCP{self.family}-LISTEN:{self.port},fork",
                           f"EXEC:{self.script(argv)},{self.how}"])

    how = "pipes"


class SocatSockets(SocatPipes):
    how = "nofork"


class SocatTls(SocatPipes):
    """It ends TLS: its own peer is what it tells of."""

    def command(self, argv):
        pair = self.test.certs.server
        return self.inner([
            "socat", f"OPENSSL-LISTEN:{self.port},fork,verify=0,"
            f"pf=ip{self.family},cert={pair.crt},key={pair.key}",
            f"EXEC:{self.script(argv)},pipes"])


class Ncat(Starter):
    def command(self, argv):
        return self.inner(["ncat", f"-{self.family}", "-k", "-l",
                           str(self.port), "-e", self.script(argv)])


class NcatTls(Starter):
    def command(self, argv):
        pair = self.test.certs.server
        return self.inner([
            "ncat", f"-{self.family}", "-k", "-l", str(self.port), "--ssl",
            "--ssl-cert", pair.crt, "--ssl-key", pair.key, "-e",
            self.script(argv)])


class StunnelExec(Stunnel):
    """What its EXEC starts has a socket pair and REMOTE_HOST."""

    family = 4

    def command(self, argv):
        pair = self.test.certs.server
        every = "0.0.0.0" if self.family == 4 else "::"
        return super().command(
            f"[mail]\naccept = {every}:PORT\ncert = {pair.crt}\n"
            f"key = {pair.key}\nexec = {self.script(argv)}\n"
            "execArgs = handler\n")


class Tcpserver(Starter):
    def command(self, argv):
        program = "tcpserver" if self.family == 4 else tool(
            "ucspi-tcp-ipv6", "tcpserver")
        return self.inner([program, *(["-6"] if self.family == 6 else []),
                           "-H", "-R", "-l", "here", "0", self.port, *argv])

    def environ(self, env):
        return tool_environment("ucspi-tcp-ipv6", env)


class TcpserverPipes(Tcpserver):
    """Behind a program that puts pipes between: only the variables tell."""

    def command(self, argv):
        inner = " ".join(shlex.quote(str(arg)) for arg in argv)
        return super().command(["sh", "-c", f"cat | {inner} | cat"])


class Xinetd(Starter):
    def command(self, argv):
        config = self.test.fresh_path("xinetd.conf")
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        config.write_text(f"""
service handler
{{
    type        = UNLISTED
    socket_type = stream
    protocol    = tcp
    flags       = IPv{self.family}
    port        = {self.port}
    wait        = no
    user        = {user}
    server      = {self.script(argv)}
}}
""")
        return self.inner([tool("xinetd", "xinetd"), "-dontfork", "-f",
                           config, "-pidfile", self.test.fresh_path("pid")])

    def environ(self, env):
        return tool_environment("xinetd", env)


class SocketActivate(Starter):
    more = ()

    def command(self, argv):
        return self.inner(["systemd-socket-activate", "-l",
                           f"{bracketed(self.all())}:{self.port}", "--accept",
                           *self.more, *argv])


class SocketActivateInetd(SocketActivate):
    more = ("--inetd",)


PLAIN = (SocatPipes, SocatSockets, Ncat, Tcpserver, TcpserverPipes, Xinetd,
         SocketActivate, SocketActivateInetd)
TLS = (SocatTls, NcatTls, StunnelExec)


class Starters(FrontDoor):
    def setUp(self):
        super().setUp()
        self.network = Network(self)

    def argv(self, program, *options):
        return super().argv(program, "--tls", "off", "--auth", "any",
                            "--maildir", self.mail, *options)

    def start(self, kind, family, program):
        """In the network, on a port of its own there."""
        class Started(kind):
            pass
        Started.family = family
        Started.__name__ = kind.__name__
        return Started(self, self.argv(program), network=self.network)

    def check(self, kind, program, tls):
        for family in (4, 6):
            server = self.start(kind, family, program)
            for address, local in ADDRESSES:
                if (":" in address) != (family == 6):
                    continue
                with self.subTest(kind=kind.__name__, address=address,
                                  program=program.name):
                    sock = self.network.dial((address, server.port), address)
                    peer = KIND[program](self.transport(sock))
                    self.addCleanup(peer.close)
                    if tls:
                        upgrade(peer, self.tls)
                    self.assertIs(offers_login(peer), local)
                    if local:
                        self.assertEqual(try_login(peer), RIGHT[program])
                    peer.close()

    def test_plain(self):
        for kind, program in itertools.product(PLAIN, BOTH):
            self.check(kind, program, False)

    def test_tls_ends_before_us(self):
        """They connect from here, and say who connected to them."""
        for kind, program in itertools.product(TLS, BOTH):
            self.check(kind, program, True)


# What each variable may say, and whether that is this machine
TOLD = {
    "127.0.0.1": True, "127.9.9.9": True, "::1": True, "[::1]": True,
    "[0000:0000:0000:0000:0000:0000:0000:0001]": True,
    "::ffff:127.0.0.1": True, "[::ffff:127.0.0.1]": True,
    "": True, "/run/socket": True, "@abstract": True, "<anon>": True,
    "192.0.2.7": False, "[2001:db8::7]": False, "2001:db8::7": False,
    "[2001:0db8:0000:0000:0000:0000:0000:0007]": False,
    "[::ffff:192.0.2.7]": False, "localhost": False, "[127.0.0.1]": False,
    "[::1": False, "::1]": False, "[]": False, "[": False, "fe80::1%lo": False,
    "mail.example.com": False, "127.0.0.1:25": False, "[::1]:25": False,
}
VARIABLES = ("REMOTE_ADDR", "REMOTE_HOST", "TCPREMOTEIP", "TCPREMOTEADDR",
             "SSLREMOTEIP", "SOCAT_PEERADDR", "NCAT_REMOTE_ADDR")


class Variables(FrontDoor):
    def offered(self, env):
        peer = self.door(SMTP, "--tls", "off", "--auth", "any", env=env)
        offered = offers_login(peer)
        peer.close()
        return offered

    def test_each_alone(self):
        for name, (text, local) in itertools.product(VARIABLES, TOLD.items()):
            with self.subTest(name=name, text=text):
                self.assertIs(self.offered({name: text}), local)

    def test_each_against_all_others(self):
        """One that says elsewhere is enough."""
        for name in VARIABLES:
            env = dict.fromkeys(VARIABLES, "127.0.0.1")
            env[name] = "192.0.2.7"
            with self.subTest(name=name):
                self.assertFalse(self.offered(env))
        self.assertTrue(self.offered(dict.fromkeys(VARIABLES, "127.0.0.1")))

    def test_address_and_port(self):
        """As they are logged, where the socket has none."""
        for address, port, named in (
                ("SOCAT_PEERADDR", "SOCAT_PEERPORT", "[2001:db8::7]:4711"),
                ("NCAT_REMOTE_ADDR", "NCAT_REMOTE_PORT", "192.0.2.7:4711"),
                ("REMOTE_HOST", "REMOTE_PORT", "192.0.2.7:4711"),
                ("SSLREMOTEIP", "SSLREMOTEPORT", "192.0.2.7:4711")):
            peer = self.door(POP3, "--tls", "off", "--auth", "any", env={
                address: named.rpartition(":")[0], port: "4711"})
            self.assertFalse(offers_login(peer))
            self.assertIn(f"peer={named} ", peer.process.log())


class Combinations(FrontDoor):
    """What would make an open relay or an open mailbox of it is refused at
    start, and says why."""

    def refused(self, program, named, *options):
        for more in ((), ("--check-config",)):
            with self.subTest(options=options, more=more):
                self.assert_exit_78(program, *options, *more, named=named)

    def test_outer_without_header(self):
        for program in BOTH:
            self.refused(program, ["--tls outer", "--auth any",
                                   "--proxy-protocol"],
                         "--tls", "outer", "--auth", "any", "--maildir",
                         self.mail)

    def test_strangers_make_maildirs(self):
        for pattern in ("%u", "%n", "%d/%n"):
            for auth in ((), ("--auth", "any")):
                self.refused(SMTP, ["--no-auth-required",
                                    "--create-maildirs", "--auth file:"],
                             "--tls", "off", "--no-auth-required",
                             "--create-maildirs", "--maildir",
                             self.mail / pattern, *auth)

    def test_what_is_safe_begins(self):
        users = self.users("joe:*")
        for options in (
                ("--tls", "outer", "--auth", f"file:{users}", "--maildir",
                 self.mail),
                ("--tls", "off", "--no-auth-required", "--create-maildirs",
                 "--maildir", self.mail),
                ("--tls", "off", "--no-auth-required", "--create-maildirs",
                 "--auth", f"file:{users}", "--maildir", self.mail / "%u"),
                ("--tls", "off", "--no-auth-required", "--maildir",
                 self.mail / "%u")):
            with self.subTest(options=options):
                peer = self.spawn(SMTP, *options, kind=KIND[SMTP])
                peer.expect(None, "220")
                peer.quit()
