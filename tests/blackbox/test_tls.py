"""Implicit TLS.  The man pages, --tls."""

import os
import re
import socket
import ssl
import subprocess

from certs import certificates
from mailtest import (DEADLINE, HOST, NOBODY, POP3, SMTP, Peer, Pop3Peer,
                      SmtpPeer, TestCase, split_stored)


class Tls(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.certs = certificates()
        self.tls = self.certs.client_context()

    def options(self, *more):
        return ["--auth", "any", "--maildir", self.mail,
                *self.certs.server.options(), *more]

    def server(self, program, *more):
        return self.serve(program, *self.options(*more))


class Handshake(Tls):
    def test_versions(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            tls = self.certs.client_context(version)
            with self.subTest(version=version):
                server = self.server(POP3)
                pop = self.connect(server.port, Pop3Peer, tls)
                pop.login()
                pop.stat()
                pop.quit()      # ends with close_notify, or this raises
                self.assertEqual(server.process().wait(), 0)

                server = self.server(SMTP)
                smtp = self.connect(server.port, SmtpPeer, tls)
                smtp.ready()
                self.assertRegex(str(smtp.message(b"x\n")),
                                 r"250 2\.[06]\.0")
                smtp.quit()
                self.assertEqual(server.process().wait(), 0)

    def test_old_versions_are_refused(self):
        tls = self.certs.client_context()
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
        tls.set_ciphers("ALL:@SECLEVEL=0")
        server = self.server(POP3)
        with self.assertRaises(ssl.SSLError):
            self.connect(server.port, Pop3Peer, tls)
        self.assertEqual(server.process().wait(), 0)

    def test_received_tells_of_tls(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
                              (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with self.subTest(version=name):
                server = self.server(SMTP)
                smtp = self.connect(server.port, SmtpPeer,
                                    self.certs.client_context(version))
                cipher = smtp.transport.sock.cipher()[0]
                smtp.ready()
                smtp.message(b"x\n")
                path, content = self.the_message()
                (*_, received), _ = split_stored(content)
                path.unlink()
                self.assertRegex(
                    received, r"from client\.test \([^()]*\[127\.0\.0\.1\]\) "
                    rf"by {re.escape(HOST)}( \([^()]*\))? with ESMTPSA")
                self.assertRegex(received, rf"\([^()]*{re.escape(name)}[^()]*"
                                 rf"{re.escape(cipher)}[^()]*\)")

    def test_no_extension_of_the_other_mode(self):
        server = self.server(SMTP)
        smtp = self.connect(server.port, SmtpPeer, self.tls)
        self.assertNotIn("STARTTLS", smtp.hello())
        smtp.expect("STARTTLS", r"50[023] 5\.5\.1")
        server = self.server(POP3)
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.expect(None, r"\+OK")
        self.assertNotIn(b"STLS", pop.multi("CAPA")[1])

    def test_no_tickets(self):
        """TLS 1.3 tickets are useless here; Python would count them."""
        server = self.server(POP3)
        tls = self.certs.client_context(ssl.TLSVersion.TLSv1_3)
        pop = self.connect(server.port, Pop3Peer, tls)
        pop.login()
        pop.stat()
        session = pop.transport.sock.session
        self.assertFalse(session and session.has_ticket)

    def test_junk_instead_of_a_handshake(self):
        for program in (POP3, SMTP):
            for junk in (b"GET / HTTP/1.0\r\n\r\n", b"EHLO x\r\n", b"\0" * 500,
                         b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
                         b"\x80\x2e\x01\x03\x01", os.urandom(2000)):
                with self.subTest(program=program.name, junk=junk[:20]):
                    server = self.server(program)
                    peer = self.connect(server.port)
                    try:
                        peer.send(junk)
                        peer.end_output()
                        got = peer.rest()
                    except (OSError, AssertionError):
                        got = b""
                    # At most a TLS alert; never the greeting in clear
                    self.assertRegex(got, rb"(?s)^(\x15\x03.*)?$")
                    self.assertEqual(server.process().wait(), 0)
                    self.assertRegex(server.log(), r"(?i)tls|handshake")

    def test_gone_in_mid_handshake(self):
        hello = self.client_hello()
        for program in (POP3, SMTP):
            for cut in (0, 1, 4, 5, 50, len(hello) - 1, len(hello)):
                with self.subTest(program=program.name, cut=cut):
                    server = self.server(program)
                    peer = self.connect(server.port)
                    if cut:
                        peer.send(hello[:cut])
                    peer.close()
                    self.assertEqual(server.process().wait(), 0)

    def client_hello(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.tls.wrap_bio(incoming, outgoing,
                                server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    def test_client_that_does_not_trust_us(self):
        server = self.server(POP3)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.connect(server.port, Pop3Peer, ssl.create_default_context())
        self.assertEqual(server.process().wait(), 0)


class Ends(Tls):
    def big(self):
        self.put("cur/big", b"Subject: x\n\n" + b"0123456789" * 500_000)

    def test_reset_in_mid_retr(self):
        self.big()
        server = self.server(POP3)
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.login()
        pop.send("RETR 1\r\n")
        pop.line()
        pop.close()
        self.assertEqual(server.process().wait(), 0)

    def test_peer_that_reads_nothing(self):
        self.big()
        server = self.server(POP3, "--timeout", "1")
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.login()
        pop.send("RETR 1\r\nRETR 1\r\nRETR 1\r\n")
        self.assertEqual(server.process().wait(), 0)

    def half_a_message(self):
        self.smtp_server = self.server(SMTP)
        smtp = self.connect(self.smtp_server.port, SmtpPeer, self.tls)
        smtp.ready()
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(b"Subject: x\r\n\r\nhalf\r\n")
        return smtp

    def test_gone_in_mid_data(self):
        """Without close_notify."""
        smtp = self.half_a_message()
        raw = smtp.transport.sock.detach()
        os.close(raw)
        self.assertEqual(self.smtp_server.process().wait(), 0)
        self.assert_nothing_kept()

    def test_closed_in_mid_data(self):
        """With close_notify."""
        smtp = self.half_a_message()
        smtp.end_output()
        self.assertEqual(self.smtp_server.process().wait(), 0)
        self.assert_nothing_kept()

    def test_truncated_after_the_dot(self):
        """An end without close_notify is a broken message only inside one:
        this one is whole."""
        smtp = self.half_a_message()
        smtp.send(b".\r\n")
        smtp.expect(None, r"250 2\.[06]\.0")
        os.close(smtp.transport.sock.detach())
        self.assertEqual(self.smtp_server.process().wait(), 0)
        self.the_message()

    def test_pipelined_quit_is_answered_before_the_end(self):
        server = self.server(POP3)
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.send("USER joe\r\nPASS x\r\nSTAT\r\nQUIT\r\n")
        # rest() raises where close_notify is missing
        self.assertRegex(pop.rest(), rb"^\+OK .*\r\n\+OK.*\r\n\+OK.*\r\n"
                                     rb"\+OK 0 0\r\n\+OK.*\r\n$")

    def test_large_texts(self):
        text = b"Subject: x\n\n" + b".0123456789\n" * 400_000
        server = self.server(SMTP)
        smtp = self.connect(server.port, SmtpPeer, self.tls)
        smtp.ready()
        self.assertRegex(str(smtp.message(text)), r"250 2\.[06]\.0")
        smtp.quit()
        server = self.server(POP3)
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.login()
        octets, wire = pop.retr(1)
        self.assertTrue(wire.endswith(b"Subject: x\r\n\r\n"
                                      + b"..0123456789\r\n" * 400_000))
        self.assertEqual(pop.stat(), (1, octets))


class Files(Tls):
    """A certificate that cannot be used: exit 78, a log line that names the
    file, nothing to the peer."""

    def fails(self, *options, named, user=None):
        for program in (POP3, SMTP):
            with self.subTest(program=program.name):
                peer = self.spawn(program, "--auth", "any", "--maildir",
                                  self.mail, *options, kind=Peer, user=user)
                self.assertEqual(peer.process.wait(), 78)
                self.assertEqual(peer.rest(), b"")
                self.assertIn(str(named), peer.process.log())

    def test_missing(self):
        gone = self.path("gone.crt")
        self.fails("--tls-cert", gone, "--tls-key", self.certs.server.key,
                   named=gone)
        self.fails("--tls-cert", self.certs.server.crt, "--tls-key", gone,
                   named=gone)

    def test_unreadable(self):
        self.need_root("become somebody else")
        key = self.write("key", self.certs.server.key.read_bytes(), 0o600)
        self.fails("--tls-cert", self.certs.server.crt, "--tls-key", key,
                   named=key, user=NOBODY)

    def test_junk(self):
        junk = self.write("junk", "this is no certificate\n")
        self.fails("--tls-cert", junk, "--tls-key", self.certs.server.key,
                   named=junk)
        self.fails("--tls-cert", self.certs.server.crt, "--tls-key", junk,
                   named=junk)

    def test_key_of_another_certificate(self):
        self.fails("--tls-cert", self.certs.server.crt, "--tls-key",
                   self.certs.wrong_name.key,
                   named=self.certs.wrong_name.key)

    def test_default_names(self):
        """tls.crt and tls.key in $CREDENTIALS_DIRECTORY, else here."""
        folder = self.path("credentials")
        folder.mkdir()
        (folder / "tls.crt").write_bytes(self.certs.server.crt.read_bytes())
        (folder / "tls.key").write_bytes(self.certs.server.key.read_bytes())
        pop = self.spawn(POP3, "--auth", "any", "--maildir", self.mail,
                         kind=Pop3Peer, tls=self.tls,
                         env={"CREDENTIALS_DIRECTORY": folder})
        pop.login()
        pop.quit()
        pop = self.spawn(POP3, "--auth", "any", "--maildir", self.mail,
                         kind=Pop3Peer, tls=self.tls,
                         wrap=["env", "-C", folder])
        pop.login()
        pop.quit()


class Openssl(Tls):
    """openssl s_client as the one at the other end."""

    def s_client(self, port, *options, text):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}",
             "-CAfile", self.certs.ca.crt, "-verify_return_error", "-quiet",
             "-servername", "localhost", *options],
            input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=DEADLINE)
        print(done)
        return done.stdout

    def test_pop3(self):
        self.put("new/1", b"Subject: x\n\n.dot\n")
        for option in ("-tls1_2", "-tls1_3"):
            with self.subTest(option=option):
                server = self.server(POP3)
                out = self.s_client(server.port, option,
                                    text=b"USER joe\r\nPASS x\r\nRETR 1\r\n"
                                         b"QUIT\r\n")
                self.assertRegex(
                    out, rb"^\+OK .*\r\n\+OK.*\r\n\+OK.*\r\n\+OK 20 octets.*"
                         rb"\r\nSubject: x\r\n\r\n\.\.dot\r\n\.\r\n"
                         rb"\+OK.*\r\n$")

    def test_smtp(self):
        for option in ("-tls1_2", "-tls1_3"):
            with self.subTest(option=option):
                server = self.server(SMTP)
                out = self.s_client(
                    server.port, option,
                    text=b"EHLO c\r\nAUTH PLAIN AGpvZQB4\r\n"
                         b"MAIL FROM:<a@b.c>\r\nRCPT TO:<b@c.d>\r\nDATA\r\n"
                         b"Subject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n")
                self.assertRegex(out, rb"\r\n354 [^\r\n]*\r\n250 [^\r\n]*\r\n"
                                      rb"221 2\.0\.0[^\r\n]*\r\n$")
                path, content = self.the_message()
                self.assertEqual(split_stored(content)[1],
                                 b"Subject: x\n\ntext\n")
                path.unlink()


class Locality(Tls):
    """Every witness of who the peer is must agree."""

    def smtp_with(self, auth, **env):
        server = self.serve(SMTP, *self.certs.server.options(), "--auth",
                            auth, "--maildir", self.mail, env=env)
        smtp = self.connect(server.port, SmtpPeer, self.tls)
        smtp.hello()
        return server, smtp

    LOGIN = "AUTH PLAIN AGpvZQB4"

    def test_disagreeing_witness(self):
        for env in ({"TCPREMOTEIP": "192.0.2.1"},
                    {"REMOTE_ADDR": "192.0.2.1"},
                    {"TCPREMOTEIP": "127.0.0.1", "REMOTE_ADDR": "192.0.2.1"},
                    {"TCPREMOTEIP": "2001:db8::1"},
                    {"TCPREMOTEIP": "::ffff:192.0.2.1"},
                    {"TCPREMOTEIP": "127.0.0.1.example"},
                    {"TCPREMOTEIP": "127"}):
            with self.subTest(env=env):
                server, smtp = self.smtp_with("any", **env)
                smtp.expect(self.LOGIN, "535 5.7.8")
                smtp.expect("MAIL FROM:<a@example.com>", "530 5.7.0")
                # The log says why
                self.assertRegex(server.log(), r"(?i)local|loopback")

    def test_agreeing_witnesses(self):
        for env in ({"TCPREMOTEIP": "127.0.0.1"},
                    {"TCPREMOTEIP": "127.8.9.1"},
                    {"REMOTE_ADDR": "::1"},
                    {"TCPREMOTEIP": "::ffff:127.0.0.1"}):
            with self.subTest(env=env):
                _, smtp = self.smtp_with("any", **env)
                smtp.expect(self.LOGIN, "235 2.7.0")

    def test_any_remote(self):
        server, smtp = self.smtp_with("any-remote", TCPREMOTEIP="192.0.2.1")
        smtp.expect(self.LOGIN, "235 2.7.0")
        self.assertRegex(server.log(), r"(?i)any-remote")

    def test_pop3(self):
        server = self.serve(POP3, *self.options(),
                            env={"TCPREMOTEIP": "192.0.2.1"})
        pop = self.connect(server.port, Pop3Peer, self.tls)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[AUTH\] ")
        pop.expect("STAT", "-ERR")
        self.assertIn("192.0.2.1", server.log())
        self.assertRegex(server.log(), r"(?i)local|loopback")


class Addresses(Tls):
    def test_ipv6(self):
        try:
            server = self.serve(POP3, *self.options(), address=("::1", 0))
        except (OSError, socket.gaierror) as error:
            self.skipTest(f"no IPv6 here: {error}")
        pop = self.connect(server.port, Pop3Peer, self.tls, "::1")
        pop.login()
        pop.quit()
        self.assertIn("::1", server.log())
