"""Peers whose address is not a loopback one.  Run by test_starts.Namespace in
a network namespace where 192.0.2.1 is an address of this machine."""

from certs import certificates
from mailtest import POP3, SMTP, Pop3Peer, SmtpPeer, TestCase


class RemotePeers(TestCase):
    address = "192.0.2.1"

    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.tls = certificates().client_context()

    def dial(self, program, kind, auth):
        server = self.serve(program, *certificates().server.options(),
                            "--auth", auth, "--maildir", self.mail,
                            address=(self.address, 0))
        return server, self.connect(server.port, kind, self.tls, self.address)

    def test_any(self):
        server, smtp = self.dial(SMTP, SmtpPeer, "any")
        smtp.hello()
        smtp.expect("AUTH PLAIN AGpvZQB4", "535 5.7.8")
        self.assertIn("192.0.2.1", server.log())
        server, pop = self.dial(POP3, Pop3Peer, "any")
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[AUTH\]")

    def test_any_remote(self):
        server, smtp = self.dial(SMTP, SmtpPeer, "any-remote")
        smtp.ready()
        self.assertRegex(str(smtp.message(b"x\n")), r"250 2\.[06]\.0")
        self.assertIn(b"[192.0.2.1]", self.the_message()[1])
        server, pop = self.dial(POP3, Pop3Peer, "any-remote")
        pop.login()
        pop.quit()
