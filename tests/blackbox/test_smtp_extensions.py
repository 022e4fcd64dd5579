"""smtp-handler: SMTPUTF8 (RFC 6531), LIMITS (RFC 9422), DSN (RFC 3461), LMTP
(RFC 2033), VRFY, EXPN, HELP.  mail-handlers(7), Accepting a message."""

import re
import smtplib

from mailtest import SMTP, SmtpPeer, TestCase, smtp_wire
from relay import Relay
from replies import QUEUED, SYNTAX

TEXT = b"Subject: x\n\nbody\n"


class Utf8(TestCase):
    def stored_head(self):
        path, content = self.the_message()
        path.unlink()
        return content.decode().partition("Subject:")[0]

    def test_addresses(self):
        smtp = self.smtp()
        self.assertEqual(smtp.hello("b\u00fccher.test")["SMTPUTF8"], "")
        smtp.login()
        smtp.expect("MAIL FROM:<j\u00f6e@b\u00fccher.test> SMTPUTF8 "
                    "BODY=8BITMIME", "250 2.1.0")
        smtp.expect('RCPT TO:<"\u4e2d \u6587"@\u4f8b\u3048.test>',
                    "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        head = self.stored_head()
        self.assertIn("Return-Path: <j\u00f6e@b\u00fccher.test>\n", head)
        self.assertIn("from b\u00fccher.test", head)
        self.assertIn(" with UTF8SMTPA\n", head)
        self.assertIn('for <"\u4e2d \u6587"@\u4f8b\u3048.test>;', head)

    def test_only_where_it_was_said(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<j\u00f6e@b.test>", "553 5.6.7")
        smtp.expect("MAIL FROM:<joe@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<\u00fc@b.test>", "553 5.6.7")
        smtp.expect("RCPT TO:<u@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        head = self.stored_head()
        self.assertIn(" with ESMTPA\n", head)
        # It does not outlive its transaction
        smtp.expect("MAIL FROM:<> SMTPUTF8", "250 2.1.0")
        smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<j\u00f6e@b.test>", "553 5.6.7")

    def test_not_utf8(self):
        smtp = self.smtp().ready()
        for octets in (b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80",
                       b"\xf4\x90\x80\x80", b"\xe2\x82"):
            smtp.expect(b"MAIL FROM:<" + octets + b"@b.test> SMTPUTF8",
                        r"501 5\.1\.7")

    def test_parameter_has_no_value(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@b.test> SMTPUTF8=yes", SYNTAX)
        smtp.expect("MAIL FROM:<a@b.test> SMTPUTF8 smtputf8", SYNTAX)
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test> SMTPUTF8", "555 5.5.4")

    def test_maildir_by_such_a_name(self):
        (self.path("base") / "\u00fc@b.test").mkdir(parents=True)
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                          f"{self.path('base')}/%u", kind=SmtpPeer).ready()
        smtp.expect("MAIL FROM:<> SMTPUTF8", "250 2.1.0")
        smtp.expect("RCPT TO:<\u00fc@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        _, content = self.the_message(self.path("base") / "\u00fc@b.test")
        self.assertIn("\nDelivered-To: \u00fc@b.test\n", content.decode())


class Words(TestCase):
    def test_limits(self):
        self.assertEqual(self.smtp().hello()["LIMITS"], "RCPTMAX=1000")
        smtp = self.smtp("--max-recipients", "5")
        self.assertEqual(smtp.hello()["LIMITS"], "RCPTMAX=5")

    def test_vrfy(self):
        smtp = self.smtp().ready()
        for argument, wanted in (
                ("joe", "252 2.5.0"), ("<joe@b.test>", "252 2.5.0"),
                ("Joe Smith", "252 2.5.0"), ("", SYNTAX),
                ("j\u00f6e", "553 5.6.7"), ("j\u00f6e SMTPUTF8", "252 2.5.0"),
                ("joe smtputf8", "252 2.5.0")):
            smtp.expect(f"VRFY {argument}", wanted)
        smtp.expect(b"VRFY \xff SMTPUTF8", SYNTAX)
        smtp.expect("EXPN list", "502 5.5.1")
        smtp.expect("EXPN list SMTPUTF8", "502 5.5.1")

    def test_help_names_what_there_is(self):
        text = self.smtp().ready().expect("HELP", "214 2.0.0").text
        for verb in ("EHLO", "MAIL", "BDAT", "VRFY", "QUIT"):
            self.assertIn(verb, text)
        self.assertNotIn("LHLO", text)

    def test_dsn_is_not_offered_with_a_maildir(self):
        smtp = self.smtp()
        self.assertNotIn("DSN", smtp.hello())
        smtp.login()
        for parameter in ("RET=FULL", "ENVID=x"):
            smtp.expect(f"MAIL FROM:<a@b.test> {parameter}", "555 5.5.4")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        for parameter in ("NOTIFY=NEVER", "ORCPT=rfc822;a@b.test"):
            smtp.expect(f"RCPT TO:<a@b.test> {parameter}", "555 5.5.4")


class Dsn(Relay):
    WITH = ("PIPELINING", "SIZE 50000000", "8BITMIME", "DSN", "SMTPUTF8")

    def test_passed_on(self):
        hop = self.hop(extensions=self.WITH)
        smtp = self.relay(self.account(hop))
        self.assertEqual(smtp.ehlo()["DSN"], "")
        smtp.expect("MAIL FROM:<a@b.test> ret=hdrs ENVID=QQ+2B314159 "
                    "SMTPUTF8", "250 2.1.0")
        for parameters in (
                "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@b+2Btest",
                "NOTIFY=NEVER", "ORCPT=utf-8;b\u00f6b@b.test",
                "NOTIFY=delay", "", "NOTIFY=DELAY,SUCCESS,FAILURE"):
            smtp.expect(f"RCPT TO:<c@d.test> {parameters}", "250 2.1.5")
        smtp.expect("DATA", "354")
        smtp.send(b".\r\n")
        smtp.expect(None, "250 2.0.0")
        smtp.message(TEXT)
        smtp.quit()
        hop.wait_ended()
        self.assertEqual(
            [c for c in hop.commands if re.match("MAIL|RCPT", c)], [
                "MAIL FROM:<a@b.test> BODY=8BITMIME SMTPUTF8 RET=HDRS "
                "ENVID=QQ+2B314159",
                "RCPT TO:<c@d.test> NOTIFY=SUCCESS,FAILURE "
                "ORCPT=rfc822;Bob@b+2Btest",
                "RCPT TO:<c@d.test> NOTIFY=NEVER",
                "RCPT TO:<c@d.test> ORCPT=utf-8;b\u00f6b@b.test",
                "RCPT TO:<c@d.test> NOTIFY=DELAY",
                "RCPT TO:<c@d.test>",
                "RCPT TO:<c@d.test> NOTIFY=SUCCESS,FAILURE,DELAY",
                "MAIL FROM:<joe@example.com> BODY=8BITMIME",
                "RCPT TO:<ann@example.org>"])

    def test_hop_without(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<a@b.test> RET=FULL ENVID=x", "250 2.1.0")
        smtp.expect("RCPT TO:<c@d.test> NOTIFY=SUCCESS", "550 5.3.3")
        smtp.expect("RCPT TO:<c@d.test> NOTIFY=FAILURE,DELAY", "250 2.1.5")
        smtp.expect("RCPT TO:<e@d.test> NOTIFY=NEVER ORCPT=rfc822;x",
                    "250 2.1.5")
        smtp.quit()
        hop.wait_ended()
        self.assertEqual(
            [c for c in hop.commands if re.match("MAIL|RCPT", c)],
            ["MAIL FROM:<a@b.test> BODY=8BITMIME", "RCPT TO:<c@d.test>",
             "RCPT TO:<e@d.test>"])

    def test_syntax(self):
        smtp = self.relay(self.account(self.hop(extensions=self.WITH)))
        for parameter in ("RET=", "RET=ALL", "ENVID=", "ENVID=a=b",
                          "ENVID=a+b", "ENVID=a+2", "ENVID=+2b",
                          "ENVID=" + "x" * 101, "RET=FULL RET=FULL"):
            smtp.expect(f"MAIL FROM:<a@b.test> {parameter}", SYNTAX)
        smtp = self.relay(self.account(self.hop(extensions=self.WITH)))
        smtp.expect("MAIL FROM:<a@b.test> ENVID=" + "x" * 100, "250 2.1.0")
        for parameter in ("NOTIFY=", "NOTIFY=NEVER,SUCCESS", "NOTIFY=ALWAYS",
                          "NOTIFY=SUCCESS,", "ORCPT=x", "ORCPT=;x",
                          "ORCPT=rfc822;", "ORCPT=rf(c;x", "ORCPT=rfc822;a=",
                          "ORCPT=rfc822;" + "x" * 500,
                          "ORCPT=utf-8;\u00fc@b.test"):
            smtp.expect(f"RCPT TO:<a@b.test> {parameter}", SYNTAX)
        smtp.expect("RCPT TO:<a@b.test> NOTIFY=NEVER ORCPT=rfc822;"
                    + "x" * 493, "250 2.1.5")

    def test_1000_recipients_with_the_longest_parameters(self):
        smtp = self.relay(self.account(self.hop(extensions=self.WITH)))
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        for n in range(1000):
            smtp.send(f"RCPT TO:<{n}@b.test> ORCPT=rfc822;{'x' * 493}\r\n")
            smtp.expect(None, "250 2.1.5")

    def test_utf8_to_a_hop_without(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<j\u00f6e@b.test> SMTPUTF8", "250 2.1.0")
        smtp.expect("RCPT TO:<c@d.test>", "550 5.6.7")
        smtp.expect("RSET", "250 2.0.0")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        hop.wait_ended()
        self.assertNotIn("j\u00f6e", "".join(hop.commands))


class Lmtp(TestCase):
    def lmtp(self, *options):
        peer = self.smtp("--lmtp", *options)
        peer.expect(None, "220")
        return peer

    def ready(self, *options):
        peer = self.lmtp(*options)
        peer.expect("LHLO client.test", "250")
        peer.login()
        return peer

    def test_greetings(self):
        peer = self.lmtp()
        for command in ("EHLO client.test", "HELO client.test"):
            peer.expect(command, "500 5.5.1")
        peer.expect("MAIL FROM:<a@b.test>", "503 5.5.1")
        reply = peer.expect("LHLO client.test", "250")
        # RFC 2033 section 5
        for keyword in ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME"):
            self.assertIn(keyword, reply.texts)
        self.assertIn("LHLO", peer.expect("HELP", "214 2.0.0").text)

    def test_one_reply_for_each(self):
        peer = self.ready()
        peer.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        for n in range(3):
            peer.expect(f"RCPT TO:<{n}@b.test>", "250 2.1.5")
            peer.expect("RCPT TO:<>", "501 5.1.3")
        self.assertRegex(str(peer.text(smtp_wire(TEXT))), QUEUED)
        for _ in range(2):
            peer.expect(None, QUEUED)
        peer.expect("NOOP", "250 2.0.0")
        _, content = self.the_message()
        self.assertIn(b" with LMTPA\n", content)
        # RFC 2033 4.2: with no recipient there is no 354
        peer.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        peer.expect("DATA", "503 5.5.1")

    def test_refused_for_each(self):
        peer = self.ready()
        peer.envelope("a@b.test", "1@b.test", "2@b.test")
        self.assertEqual(str(peer.text(b"a\nb\r\n.\r\n")), "550 5.6.0")
        peer.expect(None, "550 5.6.0")
        peer.expect("NOOP", "250 2.0.0")
        self.assert_nothing_kept()

    def test_bdat(self):
        peer = self.ready()
        peer.envelope("a@b.test", "1@b.test", "2@b.test")
        peer.send(b"BDAT 2\r\nabBDAT 2 LAST\r\n\r\n")
        peer.expect(None, "250 2.0.0")
        peer.expect(None, QUEUED)
        peer.expect(None, QUEUED)
        peer.expect("NOOP", "250 2.0.0")

    def test_1000_recipients_to_a_slow_reader(self):
        """More replies than there is room for."""
        peer = self.ready()
        peer.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        peer.send("".join(f"RCPT TO:<{n}@b.test>\r\n" for n in range(1000))
                  + "DATA\r\nx\r\n.\r\nMAIL FROM:<c@d.test>\r\n")
        for _ in range(1000):
            peer.expect(None, "250 2.1.5")
        peer.expect(None, "354")
        for _ in range(1000):
            peer.expect(None, QUEUED)
        peer.expect(None, "250 2.1.0")

    def test_smtplib(self):
        """Python's, which reads one reply whatever it sent."""
        server = self.serve(SMTP, "--tls", "off", "--lmtp",
                            "--no-auth-required", "--maildir", self.mail)
        with smtplib.LMTP(server.host, server.port) as client:
            refused = client.sendmail("a@b.test", ["1@b.test"],
                                      TEXT.decode())
        self.assertEqual(refused, {})
        self.assertEqual(server.wait_all(), [0])
        self.the_message()
