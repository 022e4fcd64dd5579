"""What the tests of the relay's real next hops share: letters that are not
easy to carry, and a look at what arrived."""

import re

from mailtest import smtp_wire, wait_for
from relay import Relay

# A mail system that finds these adds none
HEADER = (b"Date: Sat, 28 Nov 2026 12:00:00 +0000\n"
          b"Message-ID: <%d@example.com>\n"
          b"From: joe@example.com\nTo: ann@example.org\nSubject: %s\n")

BODIES = {
    "none": b"",
    "no text": b"\n",
    "dots": b"\n.\n..\n...x\n.x\n\n.\n",
    "commands": b"\nQUIT\nRSET\n\nDATA\n",
    "blank lines": b"\n\n\n\nx\n\n\n",
    "white space": b"\n \n\t\n  x  \nFrom here\n>From here\n",
    "8 bit": b"\n" + bytes(range(128, 256)) + b"\n\xe2\x82\xac \xc3\xbc\n",
    "controls": b"\n\x01\x02\x07\x08\x0b\x0c\x1b\x7f\n",
    "lines of 998": b"\n" + (b"." + b"x" * 997 + b"\n") * 3,
    "large": b"\n" + b".23456789" * 8 + b"\n" + b".y\n" * 300_000,
}
LONG_LINES = {
    f"line of {size}": b"\n" + b"x" * size + b"\n.\n"
    for size in (999, 1000, 1024, 2047, 2048, 2049, 4096, 8192, 100_000)}


def letters(bodies):
    """The bodies with a header each, by name."""
    return {name: HEADER % (n, name.encode()) + body
            for n, (name, body) in enumerate(bodies.items())}


def split_traces(content):
    """A message of a maildir as ([trace fields, unfolded], the rest)."""
    fields = []
    while match := re.match(
            rb"(?:Return-Path|Delivered-To|X-(?:Envelope|Original)-To|"
            rb"Received):"
            rb"[^\n]*\n(?:[ \t][^\n]*\n)*", content):
        fields.append(re.sub(r"\n[ \t]+", " ",
                             match[0].decode().rstrip("\n")))
        content = content[match.end():]
    return fields, content


class Hops(Relay):
    login = "relay-user relay-secret"

    def account_at(self, scheme, port, query=None, login=None):
        """The accounts file of one account for everybody."""
        query = f"?ca={self.certs.ca.crt}" if query is None else query
        return self.accounts(f"* {scheme}://localhost:{port}{query} "
                             f"{self.login if login is None else login}")

    def sent(self, smtp, letter, *recipients, reply):
        """All of them accepted; the final reply is as said, to the octet
        but for what the regular expression leaves open."""
        smtp.envelope("joe@example.com", *recipients)
        (line,) = smtp.text(smtp_wire(letter)).raw
        self.assertRegex(line, b"^" + reply + b"$")

    def arrived(self, folder):
        """The one message that came, or comes now, taken away."""
        wait_for(lambda: self.stored(folder), f"a message in {folder}", 30)
        path, content = self.the_message(folder)
        path.unlink()
        return split_traces(content)

    def assert_arrived(self, folder, letter, *wanted):
        """As it was sent, below these trace fields, regular expressions."""
        fields, text = self.arrived(folder)
        self.assertTrue(text == letter, (text[:400], len(text), len(letter)))
        self.assertEqual(len(fields), len(wanted), fields)
        for field, pattern in zip(fields, wanted):
            self.assertRegex(field, f"^{pattern}$")

    def no_smtputf8(self, smtp, reply):
        """The hop takes no such addresses and is not asked; the next mail,
        an ordinary one, gets this reply."""
        smtp.expect("MAIL FROM:<joe@example.com> SMTPUTF8", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<jürgen@example.org>").raw, [
            b"550 5.6.7 The next hop takes no SMTPUTF8 mail"])
        smtp.expect("RSET", "250 2.0.0")
        (letter,) = letters({"plain": b"\nx\n"}).values()
        self.sent(smtp, letter, "ann@example.org", reply=reply)
        self.assert_arrived(self.folder("ann"), letter, *self.traces("ann"))

    def no_login(self, accounts, why):
        """At RCPT; the session goes on, and the log says why but has no
        secret."""
        smtp = self.relay(accounts, "--log-level", "debug", "--transcript")
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        for _ in range(2):
            self.assertEqual(smtp.cmd("RCPT TO:<ann@example.org>").raw, [
                b"451 4.7.0 Cannot log in to the next hop, try again later"])
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")
        smtp.quit()
        self.assertEqual(smtp.process.wait(), 0)
        self.assertIn(why, smtp.process.log())
        self.assertNotIn("secret", smtp.process.log())

    def no_trust(self, accounts):
        """The certificate is nobody's that we know."""
        smtp = self.relay(accounts)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org>", r"451 4\.4\.\d")
        smtp.expect("DATA", "503 5.5.1")
        smtp.quit()
        self.assertEqual(smtp.process.wait(), 0)
        self.assertIn("certificate verification failed", smtp.process.log())
