"""libmailhandlers under TLS: handshakes that never end, that break, and what
comes before them.  mailhandlers(3)."""

import os
import signal
import socket
import ssl
import struct

from certs import certificates
from embedded import EXAMPLES, EmbeddedCase, build
from mailtest import DEADLINE


class Tls(EmbeddedCase):
    def setUp(self):
        super().setUp()
        self.certs = certificates()
        self.context = self.certs.client_context()
        self.served = self.serve_example(
            build(EXAMPLES / "in_out.c"), self.certs.server.crt,
            self.certs.server.key, ports=4)
        self.smtp, self.smtps, self.pop3, self.pop3s = self.served.ports

    def connect(self, port):
        sock = socket.create_connection(("localhost", port), DEADLINE)
        self.addCleanup(sock.close)
        return sock

    def wrap(self, sock):
        wrapped = self.context.wrap_socket(sock, server_hostname="localhost",
                                           suppress_ragged_eofs=False)
        self.addCleanup(wrapped.close)
        return wrapped

    def hello(self):
        """A ClientHello, as it goes over the wire."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = self.context.wrap_bio(incoming, outgoing,
                                     server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            peer.do_handshake()
        return outgoing.read()

    def check_alive(self):
        peer = self.wrap(self.connect(self.smtps))
        self.assertEqual(peer.recv(100), b"220 mail.example ESMTP ready\r\n")
        peer.sendall(b"QUIT\r\n")
        self.assertEqual(peer.recv(100), b"221 2.0.0 Bye\r\n")
        self.assertEqual(peer.recv(100), b"")   # close_notify

    def read_line(self, sock):
        line = b""
        while not line.endswith(b"\r\n"):
            piece = sock.recv(1)
            if not piece:
                break
            line += piece
        return line

    def reset(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        sock.close()

    def test_half_a_handshake(self):
        """Left in the middle, by FIN and by RST, anywhere."""
        hello = self.hello()
        for cut in [*range(12), *range(12, len(hello) + 1, 37), len(hello)]:
            for close in socket.socket.close, self.reset:
                sock = self.connect(self.smtps)
                sock.sendall(hello[:cut])
                close(sock)
                sock = self.connect(self.pop3)
                self.read_line(sock)
                sock.sendall(b"STLS\r\n")
                self.read_line(sock)
                sock.sendall(hello[:cut])
                close(sock)
        self.check_alive()

    def test_no_handshake_at_all(self):
        for octets in b"EHLO x\r\n", b"\x16\x03\x01" + b"\xff" * 3000, \
                b"GET / HTTP/1.0\r\n\r\n":
            sock = self.connect(self.smtps)
            sock.sendall(octets)
            said = b""
            try:
                while piece := sock.recv(4096):
                    said += piece
            except ConnectionResetError:
                pass
            # At most an alert: not a word in clear text
            self.assertNotIn(b"220", said)
        self.check_alive()

    def test_handshake_octet_by_octet(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = self.context.wrap_bio(incoming, outgoing,
                                     server_hostname="localhost")
        sock = self.connect(self.smtps)
        while True:
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                for octet in outgoing.read():
                    sock.sendall(bytes([octet]))
                incoming.write(sock.recv(4096))
        for octet in outgoing.read():
            sock.sendall(bytes([octet]))
        while True:
            try:
                self.assertEqual(peer.read(100),
                                 b"220 mail.example ESMTP ready\r\n")
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(4096))

    def test_injected_before_the_handshake(self):
        """CVE-2011-0411: forgotten, though it came in one piece."""
        for port, command, injected, asked in (
                (self.smtp, b"STARTTLS", b"EHLO x\r\nMAIL FROM:<evil@x>\r\n",
                 (b"RCPT TO:<a@b>\r\n", b"503 5.5.1 EHLO comes first")),
                (self.pop3, b"STLS", b"USER evil\r\n",
                 (b"PASS secret\r\n", b"-ERR USER comes first"))):
            sock = self.connect(port)
            self.read_line(sock)
            if port == self.smtp:
                sock.sendall(b"EHLO x\r\n")
                while not self.read_line(sock).startswith(b"250 "):
                    pass
            sock.sendall(command + b"\r\n" + injected)
            self.assertRegex(self.read_line(sock), rb"(220|\+OK) .*Go ahead")
            peer = self.wrap(sock)
            peer.sendall(asked[0])
            self.assertEqual(peer.recv(100), asked[1] + b"\r\n")

    def test_stop_ends_half_open_ones(self):
        socks = [self.connect(self.smtps) for _ in range(20)]
        for sock in socks:
            sock.sendall(self.hello()[:50])
        self.check_alive()
        os.kill(self.served.process.pid, signal.SIGTERM)
        for sock in socks:
            try:
                self.assertEqual(sock.recv(100), b"")
            except ConnectionResetError:
                pass
        self.assertEqual(self.served.process.wait(DEADLINE), 0)
