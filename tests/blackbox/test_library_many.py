"""libmailhandlers with ten thousand sessions at once: none is lost, and how
many octets each one takes.  mailhandlers(3)."""

import os
import pathlib
import resource
import select
import signal
import socket

from certs import certificates
from embedded import EXAMPLES, EmbeddedCase, Served, build, sanitized
from mailtest import DEADLINE, free_port, wait_for

SESSIONS = 10000
PLAIN_MAX = 2048        # octets an idle session may take
TLS_MAX = 48 * 1024
TLS_SESSIONS = 500      # a handshake is work


def rss(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class ManySessions(EmbeddedCase):
    def setUp(self):
        super().setUp()
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = SESSIONS + 200
        if self.limit[1] != resource.RLIM_INFINITY and \
                self.limit[1] < needed:
            self.skipTest(f"{needed} descriptors are needed, and "
                          f"{self.limit[1]} allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, self.limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        self.limit)
        self.certs = certificates()
        # Inherits the limit
        self.served = self.serve_example(
            build(EXAMPLES / "in_out.c"), self.certs.server.crt,
            self.certs.server.key, ports=4)
        self.pid = self.served.process.pid
        self.clients = []
        self.addCleanup(self.close_all)

    def close_all(self):
        for client in self.clients:
            client.close()

    def connect_all(self, n, port):
        """Never more at a time than the server's backlog."""
        for i in range(n):
            client = socket.socket()
            # Each address has ports of its own
            client.bind((f"127.0.1.{1 + i % 4}", 0))
            client.connect(("127.0.0.1", port))
            client.settimeout(DEADLINE)
            self.clients.append(client)

    def all_say(self, octets, wanted):
        """Every session answers."""
        for client in self.clients:
            client.sendall(octets)
        for client in self.clients:
            said = b""
            while not said.endswith(wanted):
                piece = client.recv(4096)
                self.assertTrue(piece, said)
                said += piece

    def test_ten_thousand_sessions(self):
        # What is allocated once is allocated by this
        self.connect_all(50, self.served.ports[0])
        self.all_say(b"EHLO x\r\n", b"250 ENHANCEDSTATUSCODES\r\n")
        before = rss(self.pid)
        self.connect_all(SESSIONS - 50, self.served.ports[0])
        self.all_say(b"NOOP\r\n", b"250 2.0.0 Ok\r\n")
        self.all_say(b"EHLO x\r\n", b"250 ENHANCEDSTATUSCODES\r\n")
        each = (rss(self.pid) - before) / (SESSIONS - 50)
        print(f"{each:.0f} octets a session")
        if not sanitized():
            self.assertLessEqual(each, PLAIN_MAX)
        # One message each, a batch at a time
        for i in range(0, SESSIONS, 500):
            for client in self.clients[i:i + 500]:
                client.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
            for client in self.clients[i:i + 500]:
                said = b""
                while not said.endswith(b"250 2.1.5 Ok\r\n"):
                    said += client.recv(4096)
                client.sendall(b"RSET\r\n")
                self.assertEqual(client.recv(4096), b"250 2.0.0 Ok\r\n")
        # And each hears that it is over
        os.kill(self.pid, signal.SIGTERM)
        for client in self.clients:
            said = b""
            while piece := client.recv(4096):
                said += piece
            self.assertEqual(said, b"421 4.3.2 Shutting down\r\n")
        self.close_all()
        self.assertEqual(self.served.process.wait(DEADLINE), 0)

    def test_sessions_under_tls(self):
        context = self.certs.client_context()

        def connect(n):
            for _ in range(n):
                client = context.wrap_socket(
                    socket.create_connection(
                        ("127.0.0.1", self.served.ports[1])),
                    server_hostname="localhost",
                    suppress_ragged_eofs=False)
                self.clients.append(client)
        connect(20)
        self.all_say(b"EHLO x\r\n", b"250 ENHANCEDSTATUSCODES\r\n")
        before = rss(self.pid)
        connect(TLS_SESSIONS)
        self.all_say(b"EHLO x\r\n", b"250 ENHANCEDSTATUSCODES\r\n")
        each = (rss(self.pid) - before) / TLS_SESSIONS
        print(f"{each:.0f} octets a session under TLS")
        if not sanitized():
            self.assertLessEqual(each, TLS_MAX)
        os.kill(self.pid, signal.SIGTERM)
        for client in self.clients:
            self.assertEqual(client.recv(4096),
                             b"421 4.3.2 Shutting down\r\n")
            self.assertEqual(client.recv(4096), b"")    # close_notify

    def test_too_few_descriptors(self):
        """EMFILE: who is in is served; who is not waits, and comes in when
        somebody leaves."""
        few = 64
        ports = [free_port() for _ in range(4)]
        argv = [build(EXAMPLES / "in_out.c"), self.certs.server.crt,
                self.certs.server.key, *ports]

        served = Served(self, ["sh", "-c", f"ulimit -n {few}; exec \"$@\"",
                               "sh", *argv], ports)
        self.connect_all(2 * few, ports[0])
        ready = wait_for(lambda: len(select.select(
            self.clients, [], [], 0.05)[0]) >= few // 2 and select.select(
                self.clients, [], [], 0.3)[0], "greetings")
        self.assertLess(len(ready), few)
        for client in ready:
            self.assertEqual(client.recv(100),
                             b"220 mail.example ESMTP ready\r\n")
        # It does not spin meanwhile: it waits for somebody to leave
        ticks = self.ticks(served.process.pid)
        select.select([c for c in self.clients if c not in ready], [], [],
                      0.5)
        self.assertLess(self.ticks(served.process.pid) - ticks, 10)
        waiting = [c for c in self.clients if c not in ready]
        for client in ready:
            client.sendall(b"QUIT\r\n")
            client.close()
        for client in waiting[:len(ready)]:
            self.assertEqual(client.recv(100),
                             b"220 mail.example ESMTP ready\r\n")

    @staticmethod
    def ticks(pid):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
