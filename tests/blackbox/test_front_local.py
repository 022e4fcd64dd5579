"""Who is local, and what that is good for.  The man pages, Who is local."""

import re
import socket

from frontdoor import (BOTH, KIND, RIGHT, WRONG, FrontDoor, Haproxy, Network,
                       Stunnel, hash_of, login_reply, offers, offers_login,
                       send_login, try_login)
from mailtest import (HOST, POP3, SMTP, Process, split_stored)

PLAIN = ("--tls", "off")
LOCAL, ELSEWHERE = True, False

# An address as somebody may tell it, and whether that is this machine
TOLD = {
    "127.0.0.1": LOCAL, "127.255.255.254": LOCAL, "127.8.9.1": LOCAL,
    "::1": LOCAL, "0:0:0:0:0:0:0:1": LOCAL, "::ffff:127.0.0.1": LOCAL,
    "::ffff:7f00:1": LOCAL, "::FFFF:127.1.2.3": LOCAL,
    "192.0.2.1": ELSEWHERE, "126.255.255.255": ELSEWHERE,
    "128.0.0.1": ELSEWHERE, "0.0.0.0": ELSEWHERE, "10.127.0.1": ELSEWHERE,
    "255.255.255.255": ELSEWHERE, "::": ELSEWHERE, "::2": ELSEWHERE,
    "::127.0.0.1": ELSEWHERE, "fe80::1": ELSEWHERE, "2001:db8::1": ELSEWHERE,
    "::ffff:192.0.2.1": ELSEWHERE, "::ffff:128.0.0.1": ELSEWHERE,
    "::fffe:127.0.0.1": ELSEWHERE,
    # What is no address is nobody's on this machine
    "localhost": ELSEWHERE, "127.0.0.1 ": ELSEWHERE, " 127.0.0.1": ELSEWHERE,
    "127.1": ELSEWHERE, "127": ELSEWHERE, "2130706433": ELSEWHERE,
    "0x7f.0.0.1": ELSEWHERE, "0177.0.0.1": ELSEWHERE,
    "127.0.0.1:80": ELSEWHERE, "127.0.0.1/8": ELSEWHERE,
    "127.0.0.1,192.0.2.1": ELSEWHERE, "127.0.0.1\n": ELSEWHERE,
    "[::1]": LOCAL, "::1%lo": ELSEWHERE, "127.0.0.256": ELSEWHERE,
    "127.0.0.": ELSEWHERE, "127.0.0.1.example": ELSEWHERE,
    "unknown": ELSEWHERE, "-": ELSEWHERE, "\u0661\u0662\u0667": ELSEWHERE,
    "1" * 5000: ELSEWHERE, "%s%n": ELSEWHERE,
}


class Local(FrontDoor):
    def assert_local(self, peer, local):
        """Logins without TLS are for local peers, and the log tells."""
        self.assertIs(offers_login(peer), local)
        log = peer.process.log()
        self.assertRegex(
            log, rf"connect: peer=\S+ local={'yes' if local else 'no'}\b")

    def plain_door(self, program, **kwargs):
        return self.door(program, *PLAIN, "--auth", "any", **kwargs)


class Witnesses(Local):
    """Without TLS, where being local shows at once."""

    def test_no_address(self):
        for program in BOTH:
            for via in ("socketpair", "pipe"):
                with self.subTest(program=program.name, via=via):
                    peer = self.plain_door(program, via=via)
                    self.assert_local(peer, LOCAL)
                    self.assertIn(" connect: peer=local ",
                                  peer.process.log())
                    self.assertEqual(try_login(peer), RIGHT[program])

    def test_told_by_the_environment(self):
        """By tcpserver and its kin or by systemd, over a pipe or a socket
        without an address."""
        for text, local in TOLD.items():
            for name in ("TCPREMOTEIP", "REMOTE_ADDR"):
                for via in ("pipe", "socketpair"):
                    with self.subTest(text=text[:30], name=name, via=via):
                        peer = self.plain_door(SMTP, via=via,
                                               env={name: text})
                        self.assert_local(peer, local)

    def test_told_by_the_environment_to_pop3(self):
        for text in ("127.0.0.1", "::1", "192.0.2.1", "junk"):
            with self.subTest(text=text):
                peer = self.plain_door(POP3, via="pipe",
                                       env={"TCPREMOTEIP": text})
                self.assert_local(peer, TOLD.get(text, ELSEWHERE))

    def test_all_must_agree(self):
        """Each alone can take it away, none can give it back."""
        for first, second, local in (
                ("127.0.0.1", "127.0.0.1", LOCAL),
                ("127.0.0.1", "::1", LOCAL),
                ("127.0.0.1", "192.0.2.1", ELSEWHERE),
                ("192.0.2.1", "127.0.0.1", ELSEWHERE),
                ("junk", "127.0.0.1", ELSEWHERE),
                ("127.0.0.1", "junk", ELSEWHERE),
                ("192.0.2.1", "192.0.2.1", ELSEWHERE)):
            for program in BOTH:
                with self.subTest(program=program.name, first=first,
                                  second=second):
                    peer = self.plain_door(program, via="pipe", env={
                        "TCPREMOTEIP": first, "REMOTE_ADDR": second})
                    self.assert_local(peer, local)

    def test_path_of_a_unix_socket(self):
        """systemd names a UNIX socket's peer so."""
        for text in ("/run/some.sock", "@abstract"):
            peer = self.plain_door(SMTP, env={"REMOTE_ADDR": text})
            self.assert_local(peer, LOCAL)

    def test_shown(self):
        """Address and port in the log and in Received, in one form."""
        for address, port, logged, received in (
                ("192.0.2.7", "4711", "192.0.2.7:4711", "[192.0.2.7]"),
                ("::ffff:192.0.2.7", "4711", "192.0.2.7:4711",
                 "[192.0.2.7]"),
                ("2001:DB8:0::7", "4711", "[2001:db8::7]:4711",
                 "[IPv6:2001:db8::7]"),
                ("192.0.2.7", "", "192.0.2.7", "[192.0.2.7]"),
                ("192.0.2.7", "junk", "192.0.2.7", "[192.0.2.7]"),
                ("192.0.2.7", "65536", "192.0.2.7", "[192.0.2.7]")):
            for names in (("TCPREMOTEIP", "TCPREMOTEPORT"),
                          ("REMOTE_ADDR", "REMOTE_PORT")):
                with self.subTest(address=address, port=port, names=names):
                    smtp = self.door(
                        SMTP, "--tls", "outer", "--auth", "any-remote",
                        via="pipe", env=dict(zip(names, (address, port))))
                    smtp.ready()
                    smtp.message(b"x\n")
                    smtp.quit()
                    self.assertIn(f" connect: peer={logged} local=no",
                                  smtp.process.log())
                    path, content = self.the_message()
                    path.unlink()
                    self.assertRegex(
                        split_stored(content)[0][-1],
                        r"^Received: from client\.test \([^()]*"
                        + re.escape(received) + r"\)")

    def test_socket_is_believed_before_the_environment(self):
        """Of two addresses of this machine the socket's is the peer's."""
        server = self.serve(SMTP, *PLAIN, "--maildir", self.mail, "--auth",
                            "any", env={"TCPREMOTEIP": "127.0.0.9"})
        peer = self.connect(server.port, KIND[SMTP])
        self.assertTrue(offers_login(peer))
        self.assert_logged(server, r" peer=127\.0\.0\.1:\d+ local=yes")


class Sockets(Local):
    def dial(self, listener, address, program, *options, **kwargs):
        """A handler for a real TCP connection."""
        with listener:
            port = listener.getsockname()[1]
            client = socket.create_connection((address, port))
            connection, _ = listener.accept()
        with connection:
            process = Process(
                self.argv(program, "--maildir", self.mail, *options),
                connection, connection, self.fresh_path("log"), **kwargs)
        self.addCleanup(process.stop)
        peer = KIND[program](self.transport(client), process)
        self.addCleanup(peer.close)
        return peer

    def need_ipv6(self):
        try:
            return socket.create_server(("::", 0), family=socket.AF_INET6,
                                        dualstack_ipv6=True)
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")

    def test_loopback(self):
        for program in BOTH:
            peer = self.dial(socket.create_server(("127.0.0.1", 0)),
                             "127.0.0.1", program, *PLAIN, "--auth", "any")
            self.assert_local(peer, LOCAL)
            self.assertRegex(peer.process.log(), r" peer=127\.0\.0\.1:\d+ ")

    def test_ipv6(self):
        for program in BOTH:
            peer = self.dial(self.need_ipv6(), "::1", program, *PLAIN,
                             "--auth", "any")
            self.assert_local(peer, LOCAL)
            self.assertRegex(peer.process.log(), r" peer=\[::1\]:\d+ ")

    def test_mapped(self):
        """An IPv4 peer of a dual-stack socket."""
        for program in BOTH:
            peer = self.dial(self.need_ipv6(), "127.0.0.1", program, *PLAIN,
                             "--auth", "any")
            self.assert_local(peer, LOCAL)
            self.assertRegex(peer.process.log(), r" peer=127\.0\.0\.1:\d+ ")

    def test_gone_before_we_looked(self):
        """getpeername fails then: of such a peer nothing is known."""
        for program in BOTH:
            listener = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(listener.getsockname())
            connection, _ = listener.accept()
            listener.close()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              b"\1\0\0\0\0\0\0\0")
            client.close()      # a reset
            with self.assertRaises(OSError):
                connection.getpeername()
            with connection:
                process = Process(
                    self.argv(program, *PLAIN, "--auth", "any", "--maildir",
                              self.mail),
                    connection, connection, self.fresh_path("log"))
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), 0)
            self.assertIn(" local=no", process.log())


class Elsewhere(Local):
    """Real peers of other addresses, in a network of our own."""

    def setUp(self):
        super().setUp()
        self.network = Network(self)

    def dial(self, program, address, family=socket.AF_INET, listen=None,
             options=(), tls=None, **kwargs):
        with self.network.inside():
            listener = socket.create_server(
                (listen or address, 0), family=family,
                dualstack_ipv6=listen == "::")
            with listener:
                client = socket.create_connection(
                    (address, listener.getsockname()[1]))
                connection, _ = listener.accept()
        with connection:
            process = Process(
                self.argv(program, "--maildir", self.mail, *options),
                connection, connection, self.fresh_path("log"), **kwargs)
        self.addCleanup(process.stop)
        peer = KIND[program](self.transport(client, tls), process)
        self.addCleanup(peer.close)
        return peer

    FAMILIES = (("192.0.2.1", socket.AF_INET, None, r"192\.0\.2\.1"),
                ("2001:db8::1", socket.AF_INET6, None, r"\[2001:db8::1\]"),
                ("192.0.2.1", socket.AF_INET6, "::", r"192\.0\.2\.1"))

    def test_not_local(self):
        for program in BOTH:
            for address, family, listen, shown in self.FAMILIES:
                with self.subTest(program=program.name, address=address):
                    peer = self.dial(program, address, family, listen,
                                     (*PLAIN, "--auth", "any"))
                    self.assert_local(peer, ELSEWHERE)
                    self.assertRegex(peer.process.log(),
                                     rf" peer={shown}:\d+ local=no")

    def test_witnesses_do_not_make_it_local(self):
        for env in ({"TCPREMOTEIP": "127.0.0.1"}, {"REMOTE_ADDR": "::1"},
                    {"TCPREMOTEIP": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}):
            for program in BOTH:
                peer = self.dial(program, "192.0.2.1",
                                 options=(*PLAIN, "--auth", "any"), env=env)
                self.assert_local(peer, ELSEWHERE)

    def test_any_over_tls(self):
        """Right password or not, --auth any is not for them; any-remote
        is, and says so in the log."""
        sessions = []
        for program in BOTH:
            for auth, verdict in (("any", WRONG), ("any-remote", RIGHT)):
                for address, family, listen, _ in self.FAMILIES:
                    peer = self.dial(
                        program, address, family, listen,
                        (*self.certs.server.options(), "--auth", auth),
                        tls=self.tls)
                    self.assertTrue(offers_login(peer))
                    send_login(peer)
                    sessions.append((program, auth, peer, verdict))
        for program, auth, peer, verdict in sessions:
            with self.subTest(program=program.name, auth=auth):
                self.assertEqual(login_reply(peer), verdict[program])
                log = peer.process.log()
                self.assertRegex(log, r"any-remote")
                if auth == "any":
                    self.assertRegex(log, r"login-failed:.*local peers")
                else:
                    self.assertRegex(log, r"notice:.*any-remote")

    def test_file_over_tls(self):
        users = self.users(f"joe:{hash_of('secret-pw')}")
        for program in BOTH:
            peer = self.dial(
                program, "192.0.2.1", tls=self.tls, options=(
                    *self.certs.server.options(), "--auth", f"file:{users}"))
            offers(peer)
            self.assertEqual(try_login(peer), RIGHT[program])


class Outer(FrontDoor):
    """--tls outer: somebody before us has ended TLS."""

    def setUp(self):
        super().setUp()
        self.put("new/1", b"Subject: x\n\n")
        self.auth = ["--auth", "file:" + str(self.users(
            f"joe:{hash_of('secret-pw')}"))]

    def test_logins_for_everybody(self):
        for program in BOTH:
            for env in ({}, {"TCPREMOTEIP": "192.0.2.7"}):
                with self.subTest(program=program.name, env=env):
                    peer = self.door(program, "--tls", "outer", *self.auth,
                                     env=env)
                    offered = offers(peer)
                    self.assertTrue(offered & {"AUTH", "USER"})
                    self.assertFalse(offered & {"STARTTLS", "STLS"})
                    self.assertEqual(try_login(peer), RIGHT[program])

    def test_any_needs_to_know_the_peer(self):
        """What ends TLS makes everybody local, unless its header tells."""
        for program in BOTH:
            for more in ((), ("--check-config",)):
                self.assert_exit_78(
                    program, "--tls", "outer", "--auth", "any", "--maildir",
                    self.mail, *more, named=["--proxy-protocol"])
            for source, verdict in (("127.0.0.1", RIGHT),
                                    ("192.0.2.7", WRONG)):
                peer = self.door(program, "--tls", "outer", "--auth", "any",
                                 "--proxy-protocol")
                peer.send(f"PROXY TCP4 {source} 192.0.2.1 4711 25\r\n")
                offers(peer)
                self.assertEqual(try_login(peer), verdict[program])

    def test_no_certificate_is_needed(self):
        for program in BOTH:
            peer = self.door(program, "--tls", "outer", *self.auth,
                             wrap=["env", "-C", "/"])
            self.assertTrue(offers_login(peer))

    def test_starttls_is_refused(self):
        smtp = self.door(SMTP, "--tls", "outer", *self.auth)
        smtp.hello()
        smtp.expect("STARTTLS", r"50[023] 5\.5\.1")
        pop = self.door(POP3, "--tls", "outer", *self.auth)
        offers(pop)
        pop.expect("STLS", "-ERR ")

    def pem(self):
        """Chain and key in one file, as haproxy wants it."""
        return self.write("server.pem", self.certs.server.crt.read_bytes()
                          + self.certs.server.key.read_bytes())

    def whole_session(self, smtp, pop, address):
        """Over TLS at our side, to handlers that see none."""
        smtp.ready()
        self.assertRegex(str(smtp.message(b"Subject: new\n\n")),
                         r"250 2\.[06]\.0")
        smtp.quit()
        pop.login()
        self.assertEqual(pop.stat()[0], 2)
        _, wire = pop.retr(2)
        self.assertTrue(wire.endswith(b"Subject: new\r\n\r\n"))
        received = re.sub(rb"\r\n[ \t]+", b" ", wire).decode()
        self.assertRegex(
            received, r"Received: from client\.test \([^()]*"
            + re.escape(f"[{address}]") + rf"\) by {re.escape(HOST)} .*"
            r"with ESMTPSA ")
        pop.quit()

    def behind(self, proxy, text, *options, network=None, source=None):
        """Handlers behind a proxy for each of them; connections to it."""
        peers = []
        for program in (SMTP, POP3):
            if network:
                with network.inside():
                    server = self.serve(program, "--tls", "outer", *options,
                                        "--maildir", self.mail)
            else:
                server = self.serve(program, "--tls", "outer", *options,
                                    "--maildir", self.mail)
            front = proxy(self, text.replace("SERVER",
                                             f"127.0.0.1:{server.port}"),
                          network=network)
            sock = (network.dial((Network.REMOTE, front.port), source)
                    if network else
                    socket.create_connection(("127.0.0.1", front.port)))
            peer = KIND[program](self.transport(sock, self.tls))
            self.addCleanup(peer.close)
            peers.append(peer)
        return peers

    HAPROXY = """
listen l
	bind :PORT ssl crt PEM
	server s SERVER OPTIONS
"""
    STUNNEL = """
cert = CRT
key = KEY
[s]
accept = PORT
connect = SERVER
OPTIONS
"""

    def stunnel_text(self, options=""):
        return (self.STUNNEL.replace("CRT", str(self.certs.server.crt))
                .replace("KEY", str(self.certs.server.key))
                .replace("OPTIONS", options))

    def haproxy_text(self, options=""):
        return (self.HAPROXY.replace("PEM", str(self.pem()))
                .replace("OPTIONS", options))

    def test_haproxy(self):
        """It alone is seen without PROXY, and it is local."""
        self.whole_session(*self.behind(Haproxy, self.haproxy_text(),
                                        *self.auth), "127.0.0.1")

    def test_stunnel(self):
        self.whole_session(*self.behind(Stunnel, self.stunnel_text(),
                                        *self.auth), "127.0.0.1")

    def test_remote_behind_haproxy(self):
        """With PROXY the real peer is seen, logins are offered all the
        same."""
        for options in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl",
                        "send-proxy-v2-ssl-cn"):
            with self.subTest(options=options):
                self.whole_session(*self.behind(
                    Haproxy, self.haproxy_text(options), *self.auth,
                    "--proxy-protocol", network=Network(self),
                    source=Network.REMOTE), Network.REMOTE)
                self.drop_new()

    def test_remote_behind_stunnel(self):
        self.whole_session(*self.behind(
            Stunnel, self.stunnel_text("protocol = proxy"), *self.auth,
            "--proxy-protocol", network=Network(self),
            source=Network.REMOTE), Network.REMOTE)

    def drop_new(self):
        for path in (self.mail / "new").iterdir():
            if path.name != "1":
                path.unlink()

    def test_any_behind_haproxy(self):
        """Whom PROXY tells of is who must be local."""
        network = Network(self)
        for source, to, verdict in (
                (Network.REMOTE, Network.REMOTE, WRONG),
                ("127.0.0.5", "127.0.0.1", RIGHT)):
            sessions = []
            for program in BOTH:
                with network.inside():
                    server = self.serve(program, "--tls", "outer", "--auth",
                                        "any", "--maildir", self.mail,
                                        "--proxy-protocol")
                front = Haproxy(self, self.haproxy_text("send-proxy-v2")
                                .replace("SERVER",
                                         f"127.0.0.1:{server.port}"),
                                network=network)
                peer = KIND[program](self.transport(
                    network.dial((to, front.port), source), self.tls))
                self.addCleanup(peer.close)
                offers(peer)
                send_login(peer)
                sessions.append((program, peer, server))
            for program, peer, server in sessions:
                with self.subTest(program=program.name, source=source):
                    self.assertEqual(login_reply(peer), verdict[program])
                    self.assert_logged(server, f" peer={source}:")

    def test_stunnel_as_super_server(self):
        """exec= in its service: the handler is on a socket pair."""
        for program in BOTH:
            with self.subTest(program=program.name):
                words = self.argv(program, "--tls", "outer", *self.auth,
                                  "--maildir", self.mail)
                front = Stunnel(self, self.stunnel_text().replace(
                    "connect = SERVER",
                    f"exec = {words[0]}\nexecArgs = "
                    + " ".join(str(word) for word in words)))
                peer = self.connect(front.port, KIND[program], self.tls)
                offered = offers(peer)
                self.assertFalse(offered & {"STARTTLS", "STLS"})
                self.assertEqual(try_login(peer), RIGHT[program])
                peer.send("QUIT\r\n")
                self.assertRegex(peer.rest(), rb"^(\+OK|221 2\.0\.0) ")
