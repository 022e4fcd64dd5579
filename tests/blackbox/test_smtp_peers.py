"""What other servers got wrong, each a case named after what it guards.
Those about POP3 are in test_pop3_peers.py."""

import socket
import time

from clock import Clock
from mailtest import DEADLINE, SMTP, TestCase, plain, smtp_wire, split_stored
from relay import Relay
from replies import QUEUED

TEXT = b"Subject: x\n\nbody\n"


class Peers(TestCase):
    def keep(self, smtp, wire):
        smtp.envelope()
        self.assertRegex(str(smtp.text(wire)), QUEUED)
        path, content = self.the_message()
        path.unlink()
        return content


class MailServerInPhp(Peers):
    """The first seed."""

    def test_no_250_before_it_is_kept(self):
        """Nor a second reply when that fails."""
        self.make_maildir()
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.expect("DATA", "354")
        for part in ("tmp", "new"):
            for path in (self.mail / part).iterdir():
                path.unlink()
            (self.mail / part).rmdir()
        smtp.send(smtp_wire(TEXT) + b"NOOP\r\n")
        smtp.expect(None, "451 4.3.0")
        smtp.expect(None, "250 2.0.0")

    def test_equal_messages_do_not_overwrite_each_other(self):
        smtp = self.smtp().ready()
        for _ in range(3):
            smtp.message(TEXT)
        self.assertEqual(len(self.stored()), 3)

    def test_trace_fields_are_there(self):
        content = self.keep(self.smtp().ready(), smtp_wire(TEXT))
        self.assertRegex(content, rb"\AReturn-Path: <[^\n]*\nX-Envelope-To: "
                         rb"[^\n]*\nReceived: from ")

    def test_null_sender(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<>", "250 2.1.0")

    def test_nested_mail_and_rcpt_before_mail(self):
        smtp = self.smtp().ready()
        smtp.expect("RCPT TO:<a@b.test>", "503 5.5.1")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("MAIL FROM:<c@d.test>", "503 5.5.1")

    def test_address_pattern_is_anchored(self):
        smtp = self.smtp().ready()
        for argument in ("junk<a@b.test>", "<a@b.test>junk", "<a@b.test><x>"):
            smtp.expect(f"MAIL FROM:{argument}", "501 5[.](1.7|5.4)")

    def test_plain_answered_with_a_star_or_junk(self):
        smtp = self.smtp()
        smtp.hello()
        for answer in ("*", "junk", "", "=", "****"):
            self.assertEqual(smtp.cmd("AUTH PLAIN").code, 334)
            self.assertEqual(smtp.cmd(answer).code, 501)
        smtp.expect("MAIL FROM:<a@b.test>", "530 5.7.0")

    def test_lf_dot_lf_and_dot_cr_cr_lf_do_not_end_the_data(self):
        for end in (b"\n.\n", b"\r\n.\r\r\n"):
            smtp = self.smtp().ready()
            smtp.envelope()
            smtp.expect("DATA", "354")
            smtp.send(b"x" + end + b"QUIT\r\n.\r\n")
            reply = smtp.reply()
            self.assertIn(str(reply), ("521 5.5.2", "550 5.6.0"))
            self.assert_nothing_kept()

    def test_lines_are_not_unbounded(self):
        smtp = self.smtp().ready()
        before = smtp.process.peak_kib()
        smtp.expect(b"MAIL FROM:<" + b"x" * 5_000_000, "500 5.5.2")
        self.assertLess(smtp.process.peak_kib(), before + 512)

    def test_no_passwords_and_bodies_in_the_log(self):
        smtp = self.smtp("--transcript", "--log-level", "debug")
        smtp.hello()
        smtp.login("joe", "hidden-secret")
        smtp.message(b"Subject: private-subject\n\nprivate-body\n")
        smtp.envelope()
        smtp.send(b"BDAT 14 LAST\r\nprivate-chunk\n")
        smtp.reply()
        smtp.send(b"BDAT 14 LAST\r\nprivate-chunk\n")
        smtp.reply()
        smtp.quit()
        smtp.exit_status()
        log = smtp.process.log()
        self.assertIn("BDAT 14 LAST", log)
        for word in ("hidden-secret", "private", plain("joe",
                                                       "hidden-secret")):
            self.assertNotIn(word, log)


class MailServerInPhpRelays(Relay):
    def test_multi_line_replies_keep_in_step(self):
        hop = self.hop({"MAIL": "250 2.1.0 one\n2.1.0 two",
                        "RCPT": "250 2.1.5 a\n2.1.5 b\n2.1.5 c"})
        smtp = self.relay(self.account(hop))
        self.assertEqual(str(smtp.message(TEXT)), "250 2.0.0")

    def test_stuffed_on_send_and_headers_as_they_are(self):
        """Unfolding them would break DKIM."""
        text = (b"DKIM-Signature: v=1;\n\tb=a\n  b\nsubject:x\n"
                b"X-Long: " + b"y" * 2000 + b"\n\n.\n..\n")
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.message(text)
        smtp.quit()
        hop.wait_ended()
        (message,) = hop.messages
        self.assertEqual(self.split_relayed(message)[1], smtp_wire(text))

    def test_one_transaction_for_all_recipients(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.message(TEXT, "a@b.test", *(f"{n}@b.test" for n in range(5)))
        smtp.quit()
        hop.wait_ended()
        self.assertEqual([c[:4] for c in hop.commands].count("MAIL"), 1)
        self.assertEqual([c[:4] for c in hop.commands].count("DATA"), 1)


class SmtpdLibraryInPhp(Peers):
    """The second seed."""

    def test_command_words_in_text_are_text(self):
        for words in (b"QUIT", b"RSET", b"MAIL FROM:<x@y.test>", b"AUTH"):
            content = self.keep(self.smtp().ready(),
                                words + b"\r\n" + words + b"\r\n.\r\n")
            self.assertEqual(split_stored(content)[1], (words + b"\n") * 2)

    def test_state_after_data_is_cleared(self):
        smtp = self.smtp().ready()
        smtp.message(TEXT)
        smtp.expect("RCPT TO:<a@b.test>", "503 5.5.1")
        smtp.expect("DATA", "503 5.5.1")

    def test_lines_that_arrive_in_several_reads(self):
        smtp = self.smtp().ready()
        for piece in (b"MAIL FRO", b"M:<a@b.", b"test", b">\r", b"\n"):
            smtp.send(piece)
            time.sleep(0.005)   # a chance to be read on its own
        smtp.expect(None, "250 2.1.0")

    def test_unknown_mechanism(self):
        smtp = self.smtp()
        smtp.hello()
        smtp.expect("AUTH CRAM-MD5", "504 5.5.4")
        smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "235 2.7.0")


class Mailpit(Peers):
    def test_first_lines_dot_is_unstuffed_once(self):
        content = self.keep(self.smtp().ready(), b"..first\r\n.\r\n")
        self.assertEqual(split_stored(content)[1], b".first\n")

    def test_cr_in_an_address_is_no_header(self):
        """CVE-2026-23829."""
        smtp = self.smtp().ready()
        for address in (b"a\rX-Evil: 1@b.test", b'"a\rX-Evil: 1"@b.test',
                        b"a@b.test\rX-Evil: 1", b'"a\\\rX"@b.test',
                        b'"a\0"@b.test'):
            smtp.send(b"MAIL FROM:<" + address + b">\r\nNOOP\r\n")
            while (reply := str(smtp.reply())) != "250 2.0.0":
                self.assertRegex(reply, "50[01] 5[.]")
        # A line of its own is what a web page would have sent
        smtp.send(b"MAIL FROM:<a\nX-Evil: 1@b.test>\r\nNOOP\r\n")
        smtp.expect(None, "500 5.5.2")
        smtp.expect(None, "521 5.7.0")
        smtp.expect_end()
        smtp = self.smtp().ready()
        smtp.expect(b"EHLO a\rX-Evil: 1", "250")
        self.assertNotIn(b"X-Evil", self.keep(smtp, smtp_wire(TEXT)))

    def test_no_reverse_dns(self):
        """No look-up that could stall a session: no resolver is asked."""
        server = self.serve(SMTP, "--tls", "off", "--no-auth-required",
                            "--maildir", self.mail)
        with socket.create_connection((server.host, server.port)) as sock:
            sock.recv(100)


class Smtp4dev(Peers):
    def test_size_is_two_words(self):
        smtp = self.smtp()
        smtp.expect(None, "220")
        reply = smtp.expect("EHLO x", "250")
        self.assertIn("SIZE 35882577", reply.texts)

    def test_what_is_listed_has_a_handler(self):
        smtp = self.smtp()
        extensions = smtp.hello()
        smtp.login()
        self.assertIn("CHUNKING", extensions)
        smtp.envelope()
        smtp.send(b"BDAT 3 LAST\r\nx\r\n")
        smtp.expect(None, QUEUED)
        smtp.expect("HELP", "214 2.0.0")
        smtp.expect("MAIL FROM:<\u00fc@b.test> SMTPUTF8 BODY=8BITMIME "
                    "SIZE=5", "250 2.1.0")


class Others(Peers):
    def test_mailhog_inbucket_null_sender_is_kept(self):
        smtp = self.smtp().ready()
        smtp.message(TEXT, "")
        self.assertIn(b"Return-Path: <>\n", self.the_message()[1])

    def test_opensmtpd_1134_long_body_lines(self):
        content = self.keep(self.smtp().ready(),
                            b"x" * 100_000 + b"\r\n.\r\n")
        self.assertEqual(split_stored(content)[1], b"x" * 100_000 + b"\n")

    def test_msmtp_145_mox_129_bare_cr_on_intake(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        self.assertEqual(str(smtp.text(b"a\rb\r\n.\r\n")), "550 5.6.0")

    def test_aiosmtpd_558_notqmail_239_bdat(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.send(b"BDAT 2 LAST\r\n\r\n")
        smtp.expect(None, QUEUED)

    def test_msmtpd_nullmailer_time_out(self):
        for prepare in ((), ("MAIL FROM:<a@b.test>",)):
            smtp = self.smtp("--timeout", "1").ready()
            for line in prepare:
                smtp.cmd(line)
            smtp.send(b"RCPT TO")
            smtp.expect(None, "421 4.4.2")
            smtp.expect_end()

    def test_opensmtpd_15_pipelining(self):
        smtp = self.smtp().ready()
        smtp.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
                  b"x\r\n.\r\n" * 20)
        for _ in range(20):
            for wanted in ("250 2.1.0", "250 2.1.5", "354", QUEUED):
                smtp.expect(None, wanted)
        self.assertEqual(len(self.stored()), 20)

    def test_mailfront_session_deadline(self):
        """A byte now and then holds no process for ever."""
        clock = Clock(self)
        smtp = self.smtp("--timeout", "1", env=clock.env).ready()
        clock.go()
        end = time.monotonic() + DEADLINE
        while smtp.quiet(0.2) and time.monotonic() < end:
            smtp.offer(b"N")
        self.assertEqual(str(smtp.reply()), "421 4.4.2")

    def test_csync2_dropbear_stderr(self):
        """Kept out of the protocol, and not thrown away."""
        smtp = self.smtp("--transcript").ready()
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        self.assertIn("login", smtp.process.log())
