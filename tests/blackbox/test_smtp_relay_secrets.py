"""smtp-handler --relay: passwords of next hops are in its memory while a login
there lasts, and at no other time.  mail-handlers.conf(5), Accounts for sending
on."""

import base64

from frontdoor import find_in_memory
from mailtest import wait_for
from nexthop import ScriptedHop, Silent
from relay import Relay
from replies import QUEUED

SECRET = "correct-horse-battery-staple"
USER = "relay-user"


def forms(secret):
    """What of it could be found: itself, and its base64, by PLAIN, by LOGIN
    and in OAUTHBEARER's message, from each of the three places where a group
    may begin; and its %XX."""
    found = {secret.encode(), secret.replace("o", "%6f").encode()}
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + secret.encode())
        found.add(text[4:-8])
    return found


class Memory(Relay):
    def setUp(self):
        super().setUp()
        self.need_root("look into processes")

    def accounts_of_every_kind(self, hops, scheme="smtps"):
        """An account for each way to have a password; the mechanism too."""
        self.write("password", SECRET + "\n")
        helper = self.write("helper", f"#!/bin/sh\necho {SECRET}\n", 0o755)
        ways = [("inline", "PLAIN", SECRET.replace("o", "%6f")),
                ("file", "LOGIN", f"file:{self.path('password')}"),
                ("exec", "OAUTHBEARER", f"exec:{helper}"),
                ("exec2", "XOAUTH2", f"exec:{helper}")]
        ca = f"ca={self.certs.ca.crt}&" if scheme == "smtps" else ""
        return ways, self.accounts(*(
            f"{name}.test {scheme}://localhost:{hops[mechanism].port}"
            f"?{ca}auth={mechanism.lower()} {USER} {password}"
            for name, mechanism, password in ways))

    def assert_clean(self, smtp, stage):
        self.assertEqual(find_in_memory(smtp.process.pid, forms(SECRET)),
                         set(), stage)

    def test_at_each_stage(self):
        hops = {name: self.hop(auth=name) for name in
                ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")}
        ways, accounts = self.accounts_of_every_kind(hops)
        smtp = self.relay(accounts, "--transcript")
        self.assert_clean(smtp, "after our client's login")
        for name, mechanism, _ in ways:
            with self.subTest(password=name):
                smtp.expect(f"MAIL FROM:<joe@{name}.test>", "250 2.1.0")
                self.assert_clean(smtp, "after MAIL")
                smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                self.assertEqual(hops[mechanism].connections[0].logins,
                                 [(USER, SECRET)])
                self.assert_clean(smtp, "after RCPT")
                self.assertRegex(str(smtp.text(b"x\r\n.\r\n")), QUEUED)
                self.assert_clean(smtp, "after the message")

    def test_after_a_refusal(self):
        """Which quotes it; in the clear, for what OpenSSL has decrypted stays
        in its buffers."""
        quote = f"535 5.7.8 {SECRET} is wrong"
        hops = {name: ScriptedHop(self, {"AUTH": quote}, auth=name)
                for name in ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")}
        ways, accounts = self.accounts_of_every_kind(hops, "smtp+plain")
        smtp = self.relay(accounts, "--transcript")
        for name, _, _ in ways:
            with self.subTest(password=name):
                smtp.expect(f"MAIL FROM:<joe@{name}.test>", "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", "451 4.7.0")
                smtp.expect("RSET", "250 2.0.0")
                self.assert_clean(smtp, "after a refused login")

    def test_the_test(self):
        """While the hop thinks about it, it is there."""
        hop = self.hop({"AUTH": Silent()})
        smtp = self.relay(self.accounts(
            f"* {self.url(hop)} {USER} {SECRET}"))
        smtp.expect("MAIL FROM:<joe@x.test>", "250 2.1.0")
        smtp.send("RCPT TO:<a@b.test>\r\n")
        wait_for(lambda: hop.connections and hop.connections[0].logins,
                 "the login")
        self.assertIn(SECRET.encode(), find_in_memory(
            smtp.process.pid, forms(SECRET)))


del Relay
