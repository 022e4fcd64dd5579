"""smtp-handler --relay against what other mail programs' users reported:
each test is named after the report that it comes from.  Next hops are tried
over SMTP in the clear, under STARTTLS and TLS, and over LMTP."""

from mailtest import smtp_wire
from nexthop import ScriptedHop
from relay import TEXT, Relay
from replies import QUEUED

USUAL = ("PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES")
LOGIN = "relay-user relay-secret"


class Ways(Relay):
    """A hop by each scheme, and an account for it."""

    schemes = ("smtp+plain", "smtp", "smtps", "lmtp", "lmtp+unix")

    def by_scheme(self, scheme, script=None, query="", login=LOGIN,
                  **kwargs):
        context = self.certs.server.server_context()
        path = self.fresh_path("socket") if "unix" in scheme else None
        hop = ScriptedHop(self, script, path=path,
                          tls=context if scheme == "smtps" else None,
                          starttls=context if scheme == "smtp" else None,
                          **kwargs)
        secure = scheme in ("smtp", "smtps")
        parts = [f"ca={self.certs.ca.crt}"] if secure else []
        parts += [query] if query else []
        where = path or f"//localhost:{hop.port}"
        query = f"?{'&'.join(parts)}" if parts else ""
        return hop, self.accounts(f"* {scheme}:{where}{query} {login}")


class Text(Ways):
    def test_mailkit_921_mailu_1767_chunking_in_front_of_the_hop(self):
        """A box that passes CHUNKING on, and does not know BDAT."""
        for scheme in self.schemes:
            with self.subTest(scheme=scheme):
                hop, accounts = self.by_scheme(
                    scheme, extensions=("CHUNKING", "BINARYMIME", *USUAL))
                smtp = self.relay(accounts)
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(hop.commands.count("DATA"), 1)
                self.assertEqual(self.split_relayed(hop.messages[0])[1],
                                 smtp_wire(TEXT))
                smtp.quit()


del Relay, Ways
