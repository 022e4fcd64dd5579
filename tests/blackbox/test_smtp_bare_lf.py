"""smtp-handler --bare-lf: the three modes, and every way in which servers
were once made to see the end of a message where there is none.
mail-handlers(7), Accepting a message; CVE-2023-51764,
CVE-2023-51765, CVE-2023-51766."""

import itertools
import re
import subprocess

from certs import certificates
from mailtest import DEADLINE, SMTP, TestCase, split_stored
from relay import Relay
from replies import QUEUED

# What stands before and after a lone dot in the lists of SEC Consult,
# hannob's smtpsmug, The-Login's and mox's: all of it with all of it, but for
# the one end there is
BREAKS = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\r\n\n", b"\n\n",
          b"\r\n\r", b"\0\r\n", b"\r\n\0", b"\r\0\n", b" \r\n", b"\r\n ",
          b"\r\n\t", b"\v", b"\f", b"\x85", b"\xe2\x80\xa8", b"\r\r", b"")
VARIANTS = [before + b"." + after
            for before, after in itertools.product(BREAKS, BREAKS)
            if not (before + b"." + after).endswith(b"\r\n.\r\n")
            and b"\r\n.\r\n" not in before + b"." + after]
# These end a message where an LF is as good as CRLF
FOLLOWS = (b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<victim@example.org>"
           b"\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n")


def ends_with_lf(variant):
    """Is it the end of data where each line end may be LF or CRLF?"""
    return re.search(rb"\n\.\r?\n", variant) is not None


class Smuggling(Relay):
    """One message in is at most one message out, and nothing that a client
    put into text is ever taken for a command."""

    slow = True

    def one_in(self, smtp, variant):
        """Sends one message with the variant in it, and as its text what
        would be another; replies after the 354, up to the end."""
        smtp.send(b"MAIL FROM:<joe@example.com>\r\n"
                  b"RCPT TO:<ann@example.org>\r\nDATA\r\n"
                  b"Subject: first\r\n\r\ntext" + variant + FOLLOWS)
        smtp.expect(None, "250 2.1.0")
        smtp.expect(None, "250 2.1.5")
        smtp.expect(None, "354")
        rest = smtp.rest()
        self.assertEqual(smtp.exit_status(), 0)
        return rest.split(b"\r\n")[:-1]

    def check_said(self, said, mode, variant):
        """One reply to the message; then QUIT's, if that was a command."""
        code = said[0][:3]
        if code == b"521":
            self.assertEqual((mode, len(said)), ("reject", 1))
        else:
            self.assertEqual([line[:3] for line in said[1:]], [b"221"])
        bare_cr = re.search(rb"\r(?!\n)", variant) is not None
        bare_lf = re.search(rb"(?<!\r)\n", variant) is not None
        if bare_cr and code != b"521":
            self.assertEqual(said[0][:9], b"550 5.6.0")
        elif mode == "reject" and bare_lf:
            self.assertIn(said[0][:9], (b"550 5.6.0", b"521 5.5.2"))
            if b"\n." in variant and variant.endswith((b".\n", b".\r\n")):
                self.assertEqual(code, b"521")
        else:
            self.assertEqual(code, b"250")

    def check_stored(self, said):
        kept = self.stored()
        self.assertEqual(len(kept), said[0].startswith(b"250"))
        for name, content in kept.items():
            self.assertNotIn(b"\r", content)
            self.assertIn(b"Return-Path: <joe@example.com>\n", content)
            self.assertIn(b"smuggled", content)
            (self.mail / "new" / name).unlink()

    def into_the_maildir(self, mode):
        for variant in VARIANTS:
            if mode == "accept" and ends_with_lf(variant):
                continue    # that is the end there
            with self.subTest(variant=variant):
                smtp = self.smtp("--bare-lf", mode).ready()
                said = self.one_in(smtp, variant)
                self.check_said(said, mode, variant)
                self.check_stored(said)

    def test_reject_into_the_maildir(self):
        self.into_the_maildir("reject")

    def test_normalize_into_the_maildir(self):
        self.into_the_maildir("normalize")

    def test_accept_into_the_maildir(self):
        self.into_the_maildir("accept")

    def through_a_relay(self, mode):
        hop = self.hop()
        account = self.account(hop)
        # What is neither CR, LF nor NUL, the maildir's tests have tried
        for variant in VARIANTS:
            if re.sub(rb"[\r\n\0.]", b"", variant):
                continue
            with self.subTest(variant=variant):
                del hop.connections[:]
                smtp = self.relay(account, "--bare-lf", mode)
                said = self.one_in(smtp, variant)
                self.check_said(said, mode, variant)
                hop.wait_ended()
                self.assertEqual(len(hop.messages),
                                 said[0].startswith(b"250"))
                self.check_hop(hop)

    def check_hop(self, hop):
        commands = "\n".join(hop.commands)
        self.assertEqual(commands.count("MAIL FROM"), 1)
        self.assertNotIn("admin@", commands)
        self.assertNotIn("victim", commands)
        for message in hop.messages:
            # Nothing that any server could take for another end
            self.assertNotRegex(message, rb"(?<!\r)\n|\r(?!\n)")
            self.assertEqual(message.count(b"\r\n.\r\n"), 1)
            self.assertTrue(message.endswith(b"\r\n.\r\n"))
            self.assertIn(b"smuggled", message)

    def test_reject_through_a_relay(self):
        self.through_a_relay("reject")

    def test_normalize_through_a_relay(self):
        self.through_a_relay("normalize")


class Modes(TestCase):
    def keep(self, mode, wire):
        smtp = self.smtp("--bare-lf", mode).ready()
        smtp.envelope()
        self.assertRegex(str(smtp.text(wire)), QUEUED)
        smtp.quit()
        path, content = self.the_message()
        path.unlink()
        return split_stored(content)[1]

    def test_normalize_octets(self):
        for wire, kept in (
                (b"a\nb\r\n.\r\n", b"a\nb\n"),
                (b"\n\n\r\n.\r\n", b"\n\n\n"),
                (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\n"),
                (b"a\n..\nb\r\n.\r\n", b"a\n..\nb\n"),
                (b"a\n.\r\nb\r\n.\r\n", b"a\n.\nb\n"),
                (b"a\r\n..b\n.c\r\n.\r\n", b"a\n.b\n.c\n"),
                (b".\n..\n.\r\n.\r\n", b"\n..\n.\n"),
                (b"x" * 70_000 + b"\ny\r\n.\r\n", b"x" * 70_000 + b"\ny\n")):
            with self.subTest(wire=wire[:20]):
                self.assertEqual(self.keep("normalize", wire), kept)

    def test_accept_octets(self):
        for wire, kept in (
                (b"a\nb\n.\n", b"a\nb\n"),
                (b"a\nb\n.\r\n", b"a\nb\n"),
                (b"a\r\nb\r\n.\n", b"a\nb\n"),
                (b".\n", b""), (b"\n.\n", b"\n"),
                (b"a\n..\n..b\r\n.\n", b"a\n.\n.b\n")):
            with self.subTest(wire=wire[:20]):
                self.assertEqual(self.keep("accept", wire), kept)

    def test_commands(self):
        """A bare LF ends the line, in the logins too."""
        for mode in ("normalize", "accept"):
            with self.subTest(mode=mode):
                smtp = self.smtp("--bare-lf", mode)
                smtp.send(b"EHLO x\nAUTH PLAIN\nAGpvZQB4\n"
                          b"MAIL FROM:<a@b.test>\nNOOP\r\nNOOP\rNOOP\r\n")
                for wanted in ("220", "250", "334", "235 2.7.0",
                               "250 2.1.0", "250 2.0.0", "500 5.5.2"):
                    smtp.expect(None, wanted)

    def test_bare_cr_is_refused_in_every_mode(self):
        for mode in ("reject", "normalize", "accept"):
            for text in (b"a\rb\r\n", b"\r\r\n", b"a\r\n.\r\r\n"):
                with self.subTest(mode=mode, text=text):
                    smtp = self.smtp("--bare-lf", mode).ready()
                    smtp.envelope()
                    reply = smtp.text(text + b".\r\n")
                    self.assertEqual(str(reply), "550 5.6.0")
                    smtp.expect("NOOP", "250 2.0.0")
                    self.assert_nothing_kept()

    def test_sizes_count_crlf(self):
        """However the lines ended: what RFC 1870 counts."""
        for mode in ("normalize", "accept"):
            smtp = self.smtp("--bare-lf", mode, "--max-size", "1024").ready()
            for text, wanted in ((b"12345678\n" * 103, "552 5.3.4"),
                                 (b"12345678\n" * 102, QUEUED)):
                smtp.envelope()
                self.assertRegex(str(smtp.text(text + b"\r\n.\r\n")), wanted)

    def test_accept_needs_no_relay(self):
        """What one machine takes for the end another may not."""
        relay = self.write("relay", "* smtps://hop.test\n")
        for more in ([], ["--check-config"]):
            status, out, err = self.run_to_end(
                *self.argv(SMTP, "--tls", "off", "--auth", "any", "--relay",
                           relay, "--bare-lf", "accept", *more))
            self.assertEqual((status, out), (78, ""))
            self.assertIn("--bare-lf", err)
            self.assertIn("--relay", err)

    def test_unknown_mode(self):
        status, _, err = self.run_to_end(
            *self.argv(SMTP, "--bare-lf", "yes"))
        self.assertEqual(status, 64)
        for mode in ("reject", "normalize", "accept"):
            self.assertIn(mode, err)


class ByHand(TestCase):
    def test_openssl_without_crlf(self):
        """A person who types into openssl s_client."""
        certs = certificates()
        server = self.serve(SMTP, *certs.server.options(), "--auth", "any",
                            "--maildir", self.mail, "--bare-lf", "accept")
        client = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-verify_quiet",
             "-verify_return_error", "-CAfile", str(certs.ca.crt),
             "-connect", f"localhost:{server.port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        self.addCleanup(client.stdout.close)
        said = []
        for line in (b"", b"EHLO me", b"AUTH PLAIN AGpvZQB4",
                     b"MAIL FROM: <joe@example.com>",
                     b"RCPT TO: <ann@example.org> ", b"DATA",
                     b"Subject: typed\n\n..a dot\nend\n.", b"QUIT"):
            if line:
                client.stdin.write(line + b"\n")
                client.stdin.flush()
            while (reply := client.stdout.readline())[3:4] == b"-":
                pass
            said.append(reply[:3])
        client.stdin.close()
        self.assertEqual(client.wait(DEADLINE), 0)
        self.assertEqual(said, [b"220", b"250", b"235", b"250", b"250",
                                b"354", b"250", b"221"])
        _, content = self.the_message()
        self.assertEqual(split_stored(content)[1],
                         b"Subject: typed\n\n.a dot\nend\n")
        self.assertEqual(server.wait_all(), [0])
