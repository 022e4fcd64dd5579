"""smtp-handler with --relay alone, and accounts for scripted next hops."""

import re

from certs import certificates
from mailtest import SMTP, SmtpPeer, TestCase
from nexthop import ScriptedHop

TEXT = b"Subject: relayed\n\n.dot\nbody\n"


class Relay(TestCase):
    """Only a relay, no maildir; the client on a socketpair without TLS."""

    def setUp(self):
        super().setUp()
        self.certs = certificates()

    def hop(self, script=None, pair=None, **kwargs):
        pair = pair or self.certs.server
        return ScriptedHop(self, script, tls=pair.server_context(), **kwargs)

    def url(self, hop, host="localhost"):
        port = hop if isinstance(hop, int) else hop.port
        return f"smtps://{host}:{port}?ca={self.certs.ca.crt}"

    def accounts(self, *lines):
        return self.write("relay", "".join(f"{line}\n" for line in lines))

    def account(self, hop):
        return self.accounts(f"* {self.url(hop)} relay-user relay-secret")

    def relay(self, accounts, *options, maildir=False, **kwargs):
        """smtp-handler, greeted and logged in."""
        more = ["--maildir", self.mail] if maildir else []
        return self.spawn(
            SMTP, "--tls", "off", "--auth", "any", "--relay", accounts,
            *more, *options, kind=SmtpPeer, **kwargs).ready()

    def split_relayed(self, message):
        """What the hop got: the Received field, unfolded, and the text."""
        match = re.match(rb"Received:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", message)
        self.assertTrue(match, message[:300])
        return (re.sub(rb"\r\n[ \t]+", b" ", match[0]).decode(),
                message[match.end():])
