"""Both programs under everything that starts them.  DESCRIPTION of the man
pages."""

import os
import pathlib
import pty
import re
import socket
import subprocess
import sys
import tty

import superservers
from certs import certificates
from mailtest import (DEADLINE, POP3, SMTP, FdTransport, Peer, Pop3Peer,
                      Process, SmtpPeer, TestCase, wait_for)

TEXT = b"Subject: one\n\nbody\n"


class Sessions(TestCase):
    """One whole session with each program, over implicit TLS, under each
    super-server."""

    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.certs = certificates()
        self.tls = self.certs.client_context()

    def options(self, *more):
        return [*self.certs.server.options(), "--auth", "any", "--maildir",
                self.mail, *more]

    def sessions(self, kind, **kwargs):
        """Submit with one, fetch with the other, each its own server."""
        server = kind(self, self.argv(SMTP, *self.options()), **kwargs)
        smtp = self.connect(server.port, SmtpPeer, self.tls, server.host)
        smtp.ready()
        self.assertRegex(str(smtp.message(TEXT)), r"250 2\.[06]\.0")
        smtp.quit()
        smtp_server = server
        server = kind(self, self.argv(POP3, *self.options()), **kwargs)
        pop = self.connect(server.port, Pop3Peer, self.tls, server.host)
        pop.login()
        self.assertEqual(pop.stat()[0], 1)
        _, wire = pop.retr(1)
        self.assertTrue(wire.endswith(b"Subject: one\r\n\r\nbody\r\n"))
        pop.quit()
        self.received = self.the_message()[1].partition(b"Subject: ")[0]
        return smtp_server, server

    def assert_knows_peer(self, address=rb"\[127\.0\.0\.1\]"):
        self.assertRegex(self.received, rb"from client\.test \([^)]*"
                         + address)

    def test_socket_activate_inetd(self):
        """Accept=yes, StandardInput=socket."""
        for server in self.sessions(superservers.SocketActivateInetd):
            self.assert_exit_told(server)
        self.assert_knows_peer()

    def test_socket_activate(self):
        """Accept=yes: LISTEN_FDS=1."""
        for server in self.sessions(superservers.SocketActivate):
            self.assert_exit_told(server)
        self.assert_knows_peer()

    def assert_exit_told(self, server):
        wait_for(lambda: re.search(r"died with code \d", server.log()),
                 "the handler's end in the log")
        self.assertIn("died with code 0", server.log())

    def test_tcpserver(self):
        for server in self.sessions(superservers.Tcpserver):
            wait_for(lambda: " end " in server.log(), "the handler's end")
            self.assertRegex(server.log(), r" end \d+ status 0\n")
        self.assert_knows_peer()

    def test_tcpserver_ipv6(self):
        self.sessions(superservers.Tcpserver6)
        self.assert_knows_peer(rb"\[(IPv6:)?::1\]")

    def test_inetd(self):
        self.sessions(superservers.Inetd)
        self.assert_knows_peer()

    def test_xinetd(self):
        self.sessions(superservers.Xinetd)
        self.assert_knows_peer()

    def test_unix_socket(self):
        server = superservers.S6Ipcserver(
            self, self.argv(SMTP, *self.options()))
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(server.path))
        smtp = SmtpPeer(self.transport(sock, self.tls))
        self.addCleanup(smtp.close)
        smtp.ready()    # a UNIX socket's peer is local
        self.assertRegex(str(smtp.message(TEXT)), r"250 2\.[06]\.0")
        smtp.quit()

    def test_socketpair_with_tls(self):
        smtp = self.spawn(SMTP, *self.options(), kind=SmtpPeer, tls=self.tls)
        smtp.ready()
        self.assertRegex(str(smtp.message(TEXT)), r"250 2\.[06]\.0")
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)

    def test_pipes_with_an_address_from_tcpserver(self):
        """As under tlsserver: pipes, and the peer's address in the
        environment."""
        smtp = self.smtp(via="pipe", env={
            "PROTO": "TCP", "TCPREMOTEIP": "127.0.0.9",
            "TCPREMOTEPORT": "4711"}).ready()
        smtp.message(TEXT)
        self.assertIn(b"[127.0.0.9]", self.the_message()[1])

    def test_address_from_systemd(self):
        smtp = self.smtp(via="socketpair", env={
            "REMOTE_ADDR": "127.0.0.9", "REMOTE_PORT": "4711"}).ready()
        smtp.message(TEXT)
        self.assertIn(b"[127.0.0.9]", self.the_message()[1])

    def test_mapped_addresses_are_ipv4(self):
        try:
            sock = socket.create_server(("::", 0), family=socket.AF_INET6,
                                        dualstack_ipv6=True)
        except OSError as error:
            self.skipTest(f"no IPv6: {error}")
        with sock:
            port = sock.getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port))
            connection, _ = sock.accept()
        with connection:
            process = Process(
                self.argv(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                          self.mail),
                connection, connection, self.path("log"))
        self.addCleanup(process.stop)
        smtp = SmtpPeer(self.transport(client), process)
        self.addCleanup(smtp.close)
        smtp.ready()
        smtp.message(TEXT)
        content = self.the_message()[1]
        self.assertIn(b"[127.0.0.1]", content)
        self.assertNotIn(b"ffff", content)


class Terminal(TestCase):
    def test_terminal(self):
        self.make_maildir()
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        process = Process(
            self.argv(POP3, "--tls", "off", "--auth", "any", "--maildir",
                      self.mail), theirs, theirs, self.path("log"))
        self.addCleanup(process.stop)
        pop = Pop3Peer(FdTransport(ours, ours), process)
        self.addCleanup(pop.close)
        pop.login()
        self.assertEqual(pop.stat(), (0, 0))
        pop.expect("QUIT", r"\+OK")
        self.assertEqual(process.wait(), 0)
        os.close(theirs)


class Refused(TestCase):
    """What cannot be a connection: exit 78 and a line that names the setting
    to change."""

    def options(self):
        self.make_maildir()
        return ["--tls", "off", "--auth", "any", "--maildir", self.mail]

    def refused(self, program, **kwargs):
        status, out, err = self.run_to_end(
            *self.argv(program, *self.options()), **kwargs)
        self.assertEqual(status, 78, err)
        self.assertEqual(out, "")
        self.assertIn("Accept=yes", err)

    def test_listening_socket(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name), \
                    socket.create_server(("127.0.0.1", 0)) as sock:
                self.refused(program, stdin=sock)

    def test_datagram_socket(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name), \
                    socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", 0))
                self.refused(program, stdin=sock)

    # Becomes the program, with the given descriptors from 3 on, as systemd
    # does with Accept=no.
    PASS = """
import fcntl, os, sys
count = int(sys.argv[1])
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2:][:count]]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""

    def passed(self, program, *socks):
        fds = [sock.fileno() for sock in socks]
        status, out, err = self.run_to_end(
            sys.executable, "-c", self.PASS, len(fds), *fds,
            *self.argv(program, *self.options()), pass_fds=fds)
        self.assertEqual((status, out), (78, ""), err)
        self.assertIn("Accept=yes", err)

    def test_listening_socket_passed(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name), \
                    socket.create_server(("127.0.0.1", 0)) as sock:
                self.passed(program, sock)

    def test_two_sockets_passed(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name):
                a, b = socket.socketpair()
                with a, b:
                    self.passed(program, a, b)

    def test_socket_activate_without_accept(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name):
                server = superservers.SocketActivateListening(
                    self, self.argv(program, *self.options()))
                client = socket.create_connection(
                    (server.host, server.port))
                with client:
                    # It becomes the program, so its status is the program's
                    self.assertEqual(server.process.wait(DEADLINE), 78)
                self.assertIn("Accept=yes", server.log())

    def test_listen_fds_of_another_process(self):
        self.make_maildir()
        pop = self.pop3(env={"LISTEN_FDS": "1", "LISTEN_PID": "1"}).login()
        self.assertEqual(pop.stat(), (0, 0))


class ClassicInetd(TestCase):
    """fds 0, 1 and 2 are the socket: nothing but protocol reaches the
    peer."""

    def session(self, program, *options, send=b""):
        """All the peer got, and the exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [str(arg) for arg in (program, *options)], stdin=theirs,
                stdout=theirs, stderr=theirs)
        self.addCleanup(process.kill)
        peer = Peer(FdTransport(ours.fileno(), ours.fileno(), ours))
        self.addCleanup(peer.close)
        if send:
            peer.send(send)
        peer.end_output()
        return peer.rest(), process.wait(DEADLINE)

    def test_session_with_much_to_log(self):
        self.make_maildir()
        for log in ("stderr", "auto", "syslog"):
            with self.subTest(log=log):
                got, status = self.session(
                    POP3, "--tls", "off", "--auth", "any", "--maildir",
                    self.mail, "--log", log, "--log-level", "debug",
                    "--transcript", send=b"USER joe\r\nPASS x\r\nQUIT\r\n")
                self.assertRegex(got, rb"^(\+OK[^\r\n]*\r\n){4}$")
                self.assertEqual(status, 0)

    def test_smtp_session_with_much_to_log(self):
        got, status = self.session(
            SMTP, "--tls", "off", "--auth", "any", "--maildir", self.mail,
            "--log", "stderr", "--log-level", "debug", "--transcript",
            send=b"EHLO x\r\nXYZZY\r\nQUIT\r\n")
        self.assertRegex(got, rb"^220 [^\r\n]*\r\n(250[- ][^\r\n]*\r\n)+"
                         rb"500 [^\r\n]*\r\n221 [^\r\n]*\r\n$")
        self.assertEqual(status, 0)

    def test_wrong_configuration(self):
        """Nothing, or what the protocol has for it."""
        for program, options in (
                (POP3, ["--tls", "off"]),
                (POP3, ["--maildir", self.mail, "--auth", "any",
                        "--tls-cert", "/nonexistent"]),
                (SMTP, ["--tls", "off", "--auth", "any"]),
                (SMTP, ["--maildir", self.mail, "--auth", "any",
                        "--tls-cert", "/nonexistent"])):
            with self.subTest(program=program.name, options=options):
                got, status = self.session(program, *options)
                self.assertEqual(status, 78)
                self.assertRegex(got, rb"^((-ERR|[45]\d\d) [^\r\n]*\r\n)?$")
                self.assertNotIn(b"/nonexistent", got)

    def test_wrong_command_line(self):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name):
                got, status = self.session(program, "--no-such-option")
                self.assertEqual(status, 64)
                self.assertRegex(got, rb"^((-ERR|[45]\d\d) [^\r\n]*\r\n)?$")


class Descriptors(TestCase):
    def test_nothing_is_left_open_to_children(self):
        """The connection's descriptors are close-on-exec and above 3."""
        self.need_root("see a handler's descriptors")
        self.make_maildir()
        pop = self.pop3().login()
        folder = pathlib.Path(f"/proc/{pop.process.pid}/fd")
        found = []
        for path in folder.iterdir():
            fd, target = int(path.name), os.readlink(path)
            if fd < 3:
                self.assertFalse(target.startswith("socket:"),
                                 f"fd {fd} is still the connection")
            elif target.startswith("socket:"):
                info = path.parent.with_name("fdinfo") / path.name
                flags = int(re.search(r"flags:\s+(\d+)",
                                      info.read_text())[1], 8)
                self.assertTrue(flags & os.O_CLOEXEC, f"fd {fd}: {target}")
                self.assertGreater(fd, 3)
                found.append(fd)
        self.assertTrue(found, "the connection is not above 3")


class Delay(TestCase):
    def test_no_tcp_delay(self):
        """TCP_NODELAY on a TCP connection, as the kernel sees it."""
        self.make_maildir()
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        listener.close()
        self.assertEqual(connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)
        process = Process(
            self.argv(POP3, "--tls", "off", "--auth", "any", "--maildir",
                      self.mail), connection, connection, self.path("log"))
        self.addCleanup(process.stop)
        pop = Pop3Peer(self.transport(client), process)
        self.addCleanup(pop.close)
        pop.login()
        # The same open socket, so its options are visible here
        self.assertNotEqual(connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)
        connection.close()


class Reset(TestCase):
    def test_reset_is_no_failure(self):
        """A peer that goes away with RST."""
        self.make_maildir()
        for program, kind in ((POP3, Pop3Peer), (SMTP, SmtpPeer)):
            with self.subTest(program=program.name):
                server = self.serve(program, "--tls", "off", "--auth", "any",
                                    "--maildir", self.mail)
                sock = socket.create_connection((server.host, server.port))
                sock.recv(1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                b"\1\0\0\0\0\0\0\0")
                sock.close()
                self.assertEqual(server.process().wait(), 0)

    def test_gone_while_we_write(self):
        """SIGPIPE never kills it."""
        self.make_maildir()
        self.put("cur/big", b"x" * 70 + b"\n" + b"y\n" * 5_000_000)
        for via in ("pipe", "socketpair"):
            with self.subTest(via=via):
                pop = self.pop3(via=via).login()
                pop.send("RETR 1\r\n")
                pop.line()
                pop.close()
                self.assertEqual(pop.process.wait(), 0)


class Namespace(TestCase):
    """A peer whose address is not a loopback one, in a network namespace of
    its own."""

    def setUp(self):
        super().setUp()
        self.need_root("make a network namespace")

    def test_any_is_for_local_peers(self):
        certificates()      # made outside, shared
        done = subprocess.run(
            ["unshare", "-n", "sh", "-c",
             'ip link set lo up; ip addr add 192.0.2.1/32 dev lo; exec "$@"',
             "sh", sys.executable, "-m", "unittest", "namespace_peers"],
            cwd=pathlib.Path(__file__).parent / "support",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
