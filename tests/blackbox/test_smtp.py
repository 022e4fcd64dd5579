"""smtp-handler: commands, states, parameters, limits, logins.
mail-handlers(7), Accepting a message, RFC 5321, 4954, 1870, 3463."""

import base64
import re

from mailtest import (HOST, SMTP, TestCase, SmtpPeer, b64, plain, smtp_wire,
                      split_stored)
from replies import BAD_RECIPIENT, QUEUED, SYNTAX

TEXT = b"Subject: test\n\nbody\n"


class Dialogue(TestCase):
    def test_whole_session(self):
        for via in ("pipe", "socketpair"):
            with self.subTest(via=via):
                self.mail = self.path(via)
                smtp = self.smtp(via=via)
                smtp.ready()
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<ann@example.org>", "250 2.1.5")
                smtp.expect("DATA", "354")
                smtp.send(smtp_wire(TEXT))
                smtp.expect(None, QUEUED)
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)
                self.assertEqual(split_stored(self.the_message()[1])[1], TEXT)

    def test_several_transactions(self):
        smtp = self.smtp().ready()
        for n in range(5):
            reply = smtp.message(b"Subject: %d\n\nsame\n" % n)
            self.assertRegex(str(reply), QUEUED)
        smtp.quit()
        self.assertEqual(
            sorted(split_stored(text)[1] for text in self.stored().values()),
            [b"Subject: %d\n\nsame\n" % n for n in range(5)])

    def test_equal_messages_are_two(self):
        smtp = self.smtp().ready()
        smtp.message(TEXT)
        smtp.message(TEXT)
        self.assertEqual(len(self.stored()), 2)

    def test_greeting_and_hello(self):
        smtp = self.smtp()
        greeting = smtp.expect(None, "220")
        self.assertRegex(greeting.text, rf"^{re.escape(HOST)} .*\bESMTP\b")
        reply = smtp.expect("EHLO client.test", "250")
        self.assertRegex(reply.texts[0], rf"^{re.escape(HOST)}( |$)")
        reply = smtp.expect("HELO client.test", "250")
        self.assertEqual(len(reply.texts), 1)
        self.assertRegex(reply.text, rf"^{re.escape(HOST)}( |$)")

    def test_ehlo_list(self):
        smtp = self.smtp()
        extensions = smtp.hello()
        for key, value in {"PIPELINING": "", "SIZE": "35882577",
                           "8BITMIME": "", "ENHANCEDSTATUSCODES": "",
                           "AUTH": "PLAIN LOGIN",
                           "AUTH=PLAIN": "LOGIN"}.items():
            self.assertEqual(extensions.get(key), value, key)
        self.assertLessEqual(set(extensions), {
            "PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "SMTPUTF8",
            "ENHANCEDSTATUSCODES", "AUTH", "AUTH=PLAIN", "LIMITS", "HELP"})
        # Only what works is listed
        if "HELP" in extensions:
            smtp.expect("HELP", "214 2.0.0")
        if "CHUNKING" in extensions:
            smtp.expect("BDAT 0 LAST", "503 5.5.1")
        if "SMTPUTF8" in extensions:
            smtp.login()
            smtp.expect("MAIL FROM:<j\u00f6e@example.com> SMTPUTF8",
                        "250 2.1.0")

    def test_verbs_in_any_case(self):
        smtp = self.smtp()
        smtp.expect(None, "220")
        smtp.expect("ehlo client.test", "250")
        smtp.expect(f"auth plain {plain('joe', 'x')}", "235 2.7.0")
        smtp.expect("mAiL fRoM:<a@example.com> size=100 body=8bitmime",
                    "250 2.1.0")
        smtp.expect("rcpt to:<b@example.com>", "250 2.1.5")
        smtp.expect("data", "354")
        smtp.send(b".\r\n")
        smtp.expect(None, QUEUED)
        smtp.expect("quit", "221 2.0.0")

    def test_pipelined_in_one_write(self):
        smtp = self.smtp()
        smtp.send("EHLO client.test\r\n"
                  f"AUTH PLAIN {plain('joe', 'x')}\r\n"
                  "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
                  "RCPT TO:<not a path>\r\nDATA\r\nSubject: x\r\n\r\n"
                  "..dot\r\n.\r\n"
                  "MAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.com>\r\n"
                  "DATA\r\nSubject: y\r\n\r\nsecond\r\n.\r\nQUIT\r\n")
        smtp.expect(None, "220")
        for wanted in ("250", "235 2.7.0", "250 2.1.0", "250 2.1.5",
                       BAD_RECIPIENT, "354", QUEUED,
                       "250 2.1.0", "250 2.1.5", "354", QUEUED, "221 2.0.0"):
            smtp.expect(None, wanted)
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)
        self.assertEqual(
            sorted(split_stored(text)[1] for text in self.stored().values()),
            [b"Subject: x\n\n.dot\n", b"Subject: y\n\nsecond\n"])

    def test_one_byte_at_a_time(self):
        smtp = self.smtp()
        for byte in ("EHLO c\r\n" f"AUTH PLAIN {plain('joe', 'x')}\r\n"
                     "MAIL FROM:<a@b.c>\r\nRCPT TO:<b@c.d>\r\nDATA\r\n"
                     "a\r\n..\r\n\r\n.\r\nQUIT\r\n").encode():
            smtp.send(bytes([byte]))
        smtp.expect(None, "220")
        for wanted in ("250", "235 2.7.0", "250 2.1.0", "250 2.1.5", "354",
                       QUEUED, "221 2.0.0"):
            smtp.expect(None, wanted)
        self.assertEqual(split_stored(self.the_message()[1])[1], b"a\n.\n\n")

    def test_end_of_input_between_commands(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.end_output()
        smtp.rest()
        self.assertEqual(smtp.exit_status(), 0)
        self.assert_nothing_kept()

    def test_end_of_input_in_a_message(self):
        for text in (b"", b"Subject: x\r\n\r\nhalf", b"whole\r\n",
                     b"whole\r\n.", b"whole\r\n.\r"):
            with self.subTest(text=text):
                smtp = self.smtp().ready()
                smtp.envelope()
                smtp.expect("DATA", "354")
                smtp.send(text)
                smtp.end_output()
                self.assertNotRegex(smtp.rest(), rb"(?m)^250")
                self.assertEqual(smtp.exit_status(), 0)
                self.assert_nothing_kept()

    def test_time_out(self):
        smtp = self.smtp("--timeout", "1").ready()
        smtp.expect(None, "421 4.4.2")
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)

    def test_time_out_in_a_message(self):
        smtp = self.smtp("--timeout", "1").ready()
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(b"half a message\r\n")
        smtp.expect(None, "421 4.4.2")
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)
        self.assert_nothing_kept()


class States(TestCase):
    def test_before_ehlo(self):
        smtp = self.smtp()
        smtp.expect(None, "220")
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<a@example.com>",
                        "DATA", f"AUTH PLAIN {plain('joe', 'x')}"):
            smtp.expect(command, "503 5.5.1")
        smtp.expect("NOOP", "250 2.0.0")
        smtp.expect("RSET", "250 2.0.0")
        smtp.quit()

    def test_before_login(self):
        smtp = self.smtp()
        smtp.hello()
        smtp.expect("MAIL FROM:<a@example.com>", "530 5.7.0")
        smtp.expect("RCPT TO:<a@example.com>", "503 5.5.1|530 5.7.0")
        smtp.expect("DATA", "503 5.5.1|530 5.7.0")
        smtp.login()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")

    def test_order_of_commands(self):
        smtp = self.smtp().ready()
        smtp.expect("RCPT TO:<a@example.com>", "503 5.5.1")
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        smtp.expect("MAIL FROM:<a@example.com>", "503 5.5.1")
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "503 5.5.1")
        smtp.expect("RCPT TO:<b@example.com>", "250 2.1.5")
        smtp.expect("MAIL FROM:<a@example.com>", "503 5.5.1")
        self.assertRegex(str(smtp.text(b".\r\n")), QUEUED)
        # Done: the next one needs its own envelope
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RCPT TO:<a@example.com>", "503 5.5.1")

    def test_rset_and_ehlo_reset(self):
        smtp = self.smtp().ready()
        for command, wanted in (("RSET", "250 2.0.0"), ("EHLO again", "250"),
                                ("HELO again", "250")):
            with self.subTest(command=command):
                smtp.envelope()
                smtp.expect(command, wanted)
                smtp.expect("DATA", "503 5.5.1")
                smtp.expect("RCPT TO:<a@example.com>", "503 5.5.1")
        # The login stays
        self.assertRegex(str(smtp.message(TEXT, "one@example.com",
                                          "two@example.com")), QUEUED)
        self.assertIn(b"Return-Path: <one@example.com>\n",
                      self.the_message()[1])

    def test_refused_recipients_only(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<>", BAD_RECIPIENT)
        smtp.expect("DATA", "503 5.5.1")

    def test_noop_vrfy_expn_help(self):
        smtp = self.smtp().ready()
        smtp.expect("NOOP", "250 2.0.0")
        smtp.expect("NOOP with an argument", "250 2.0.0")
        smtp.expect("VRFY joe", "252 2.5.0")
        smtp.expect("EXPN list", "502 5.5.1")
        smtp.expect("HELP", r"214 2.0.0")

    def test_unknown_and_unavailable(self):
        smtp = self.smtp().ready()
        for command in ("XYZZY", "", "MAILFROM:<a@b>", "GETS x",
                        "EHLOx y"):
            smtp.expect(command, r"500 5\.5\.[12]")
        smtp.expect("STARTTLS", r"50[023] 5\.5\.1")
        smtp.expect("LHLO client.test", r"50[023] 5\.5\.1")
        smtp.expect("NOOP", "250 2.0.0")

    def test_superfluous_arguments(self):
        smtp = self.smtp().ready()
        smtp.expect("RSET now", SYNTAX)
        smtp.envelope()
        smtp.expect("DATA now", SYNTAX)
        smtp.expect("DATA", "354")

    def test_ehlo_without_a_name(self):
        smtp = self.smtp()
        smtp.expect(None, "220")
        smtp.expect("EHLO", rf"501|{SYNTAX}")
        smtp.expect("HELO", rf"501|{SYNTAX}")
        smtp.expect("MAIL FROM:<a@b>", "503 5.5.1")

    def test_hello_names_people_send(self):
        for name in ("localhost", "[127.0.0.1]", "[IPv6:::1]", "joes-pc",
                     "under_score.test"):
            with self.subTest(name=name):
                smtp = self.smtp()
                smtp.expect(None, "220")
                smtp.expect(f"EHLO {name}", "250")

    def test_20_bad_commands(self):
        smtp = self.smtp().ready()
        for _ in range(19):
            smtp.expect("XYZZY", "500 5.5.1")
        smtp.expect("XYZZY", "421 4.7.0")
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)


class Parameters(TestCase):
    def check_mail(self, rows):
        smtp = self.smtp().ready()
        for parameters, wanted in rows:
            with self.subTest(parameters=parameters):
                smtp.expect(f"MAIL FROM:<a@example.com> {parameters}", wanted)
                smtp.expect("RSET", "250 2.0.0")

    def test_mail_good(self):
        self.check_mail([(parameters, "250 2.1.0") for parameters in (
            "SIZE=0", "SIZE=100", "size=35882577", "BODY=7BIT",
            "BODY=8BITMIME", "body=8bitmime", "BODY=8BITMIME SIZE=5",
            "SIZE=5  BODY=7BIT", "AUTH=<>", "AUTH=joe@example.com")])

    def test_mail_bad(self):
        self.check_mail([
            ("SIZE=", SYNTAX), ("SIZE", SYNTAX), ("SIZE=x", SYNTAX),
            ("SIZE=-1", SYNTAX), ("SIZE=1x", SYNTAX),
            ("SIZE=999999999999999999999", f"{SYNTAX}|552 5.3.4"),
            ("SIZE=18446744073709551617", f"{SYNTAX}|552 5.3.4"),
            ("BODY=", SYNTAX), ("BODY=9BIT", SYNTAX),
            ("BODY=BINARYMIME", "555 5.5.4"), ("FOO", "555 5.5.4"),
            ("FOO=bar", "555 5.5.4"), ("SIZE=1 FOO=bar", "555 5.5.4"),
            ("junk junk", "555 5.5.4"), ("NOTIFY=NEVER", "555 5.5.4")])

    def test_rcpt_bad(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        for parameter in ("FOO", "FOO=bar", "SIZE=1"):
            smtp.expect(f"RCPT TO:<b@example.com> {parameter}", "555 5.5.4")
        smtp.expect("DATA", "503 5.5.1")


class Limits(TestCase):
    def test_size_told(self):
        smtp = self.smtp("--max-size", "2000")
        self.assertEqual(smtp.hello()["SIZE"], "2000")
        smtp.login()
        smtp.expect("MAIL FROM:<a@example.com> SIZE=2001", "552 5.3.4")
        smtp.expect("MAIL FROM:<a@example.com> SIZE=2000", "250 2.1.0")

    def exactly(self, size):
        """A message of so many octets as SIZE counts them: with CRLF, without
        what dot-stuffing adds.  As lines with LF."""
        text = b"Subject: x\n\n.dots\n..\n"
        return text + b"x" * (size - len(text) - text.count(b"\n") - 2) + b"\n"

    def test_size_while_it_arrives(self):
        smtp = self.smtp("--max-size", "2000").ready()
        self.assertEqual(str(smtp.message(self.exactly(2001))), "552 5.3.4")
        self.assert_nothing_kept()
        self.assertRegex(str(smtp.message(self.exactly(2000))), QUEUED)
        self.assertEqual(split_stored(self.the_message()[1])[1],
                         self.exactly(2000))

    def test_much_too_large(self):
        smtp = self.smtp("--max-size", "2000").ready()
        smtp.envelope()
        # All of it is read, though what it says looks like commands
        reply = smtp.text(b"QUIT\r\n" * 1_000_000 + b".\r\n")
        self.assertEqual(str(reply), "552 5.3.4")
        self.assert_nothing_kept()
        smtp.quit()

    def test_recipients(self):
        smtp = self.smtp("--max-recipients", "3").ready()
        smtp.envelope("a@example.com", "1@b.test", "2@b.test", "3@b.test")
        smtp.expect("RCPT TO:<4@b.test>", "452 4.5.3")
        smtp.expect("RCPT TO:<5@b.test>", "452 4.5.3")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.the_message()
        smtp.envelope("a@example.com", "1@b.test", "2@b.test", "3@b.test")

    def test_1000_recipients(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        batch = "".join(f"RCPT TO:<user-{n}@b.test>\r\n" for n in range(1002))
        smtp.send(batch)
        replies = [str(smtp.reply()) for _ in range(1002)]
        self.assertEqual(set(replies[:1000]), {"250 2.1.5"})
        self.assertEqual(set(replies[1000:]), {"452 4.5.3"})
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)

    def test_100_long_recipients(self):
        """What RFC 5321 4.5.3.1 promises: 100, each of 254 octets."""
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        for n in range(100):
            address = f"{n:064}@" + ("x" * 62 + ".") * 2 + "y" * 63
            self.assertEqual(len(address), 254)
            smtp.expect(f"RCPT TO:<{address}>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)

    def test_long_command_lines(self):
        smtp = self.smtp().ready()
        smtp.expect("NOOP " + "x" * 2000, "250 2.0.0")
        for size in (2050, 5000, 20_000, 1_000_000):
            with self.subTest(size=size):
                smtp.expect("NOOP " + "x" * size, r"500 5\.5\.[0-9]")
                smtp.expect("NOOP", "250 2.0.0")

    def test_overlong_line_holds_no_memory(self):
        smtp = self.smtp().ready()
        before = smtp.process.peak_kib()
        smtp.expect(b"x" * 10_000_000, r"500 5\.5\.[0-9]")
        smtp.expect("NOOP", "250 2.0.0")
        self.assertLess(smtp.process.peak_kib(), before + 1024)


class BadInput(TestCase):
    def test_nul_in_command(self):
        smtp = self.smtp().ready()
        for command in (b"\0", b"NOOP\0", b"NO\0OP", b"\0NOOP",
                        b"MAIL FROM:<a\0@example.com>",
                        b"MAIL FROM:<a@example.com>\0"):
            with self.subTest(command=command):
                smtp.expect(command, r"50[01] 5\.(5\.[124]|1\.7)")
                smtp.expect("NOOP", "250 2.0.0")

    def test_8_bit_in_command(self):
        smtp = self.smtp().ready()
        smtp.expect(b"\xff\xfe", r"500 5\.5\.[12]")
        smtp.expect(b"MAIL FROM:<\xff\xfe@example.com>",
                    r"(501 5\.(1\.7|5\.[24]|6\.7))|(55[03] 5\.6\.7)")
        smtp.expect("NOOP", "250 2.0.0")

    def test_bare_cr_in_command(self):
        smtp = self.smtp().ready()
        smtp.expect(b"NOOP\rNOOP", r"50[01] 5\.5\.[24]|250 2\.0\.0")
        smtp.expect(b"MAIL FROM:<a@example.com>\rRCPT TO:<b@example.com>",
                    r"50[01] 5\.(5\.[24]|1\.7)")
        smtp.expect(b"RCPT TO:<b@example.com>", "503 5.5.1")

    def test_bare_lf_in_command(self):
        smtp = self.smtp().ready()
        smtp.send(b"MAIL FROM:<a@example.com>\n")
        smtp.send(b"RCPT TO:<b@example.com>\r\n")
        smtp.expect(None, "500 5.5.2")
        # Neither was a command; whether that was one line or two is open.
        smtp.send(b"NOOP\r\n")
        replies = [str(smtp.reply())]
        if replies != ["250 2.0.0"]:
            replies.append(str(smtp.reply()))
        self.assertIn(replies, (["250 2.0.0"], ["503 5.5.1", "250 2.0.0"]))
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")

    def test_peers_words_do_not_come_back_raw(self):
        smtp = self.smtp().ready()
        for command in (b"\x1b]0;owned\x07", b"MAIL FROM:<\x1b[2J@x>"):
            for text in smtp.cmd(command).texts:
                self.assertRegex(text, r"^[ -~]*$")


class Auth(TestCase):
    def smtp_hello(self, *options, **kwargs):
        smtp = self.smtp(*options, **kwargs)
        smtp.hello()
        return smtp

    def assert_logged_in(self, smtp):
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")

    def assert_not_logged_in(self, smtp):
        smtp.expect("MAIL FROM:<a@example.com>", "530 5.7.0")

    def prompt(self, smtp, line):
        """The 334 challenge, decoded."""
        reply = smtp.cmd(line)
        self.assertEqual(reply.code, 334)
        return base64.b64decode(reply.text, validate=True)

    def test_plain_with_initial_response(self):
        smtp = self.smtp_hello()
        smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "235 2.7.0")
        self.assert_logged_in(smtp)

    def test_plain_without(self):
        smtp = self.smtp_hello()
        self.assertEqual(self.prompt(smtp, "AUTH PLAIN"), b"")
        smtp.expect(plain("joe", "x"), "235 2.7.0")
        self.assert_logged_in(smtp)

    def test_login_without_initial_response(self):
        smtp = self.smtp_hello()
        self.assertRegex(self.prompt(smtp, "AUTH LOGIN"), rb"(?i)^user ?name")
        self.assertRegex(self.prompt(smtp, b64("joe")), rb"(?i)^password")
        smtp.expect(b64("x"), "235 2.7.0")
        self.assert_logged_in(smtp)

    def test_login_with_initial_response(self):
        smtp = self.smtp_hello()
        self.assertRegex(self.prompt(smtp, f"AUTH LOGIN {b64('joe')}"),
                         rb"(?i)^password")
        smtp.expect(b64("x"), "235 2.7.0")
        self.assert_logged_in(smtp)

    def test_plain_with_the_same_authorization_identity(self):
        smtp = self.smtp_hello()
        smtp.expect("AUTH PLAIN " + b64("joe\0joe\0x"), "235 2.7.0")

    def test_cancelled(self):
        smtp = self.smtp_hello()
        for steps in (["AUTH PLAIN"], ["AUTH LOGIN"],
                      ["AUTH LOGIN", b64("joe")]):
            with self.subTest(steps=steps):
                for step in steps:
                    self.assertEqual(smtp.cmd(step).code, 334)
                smtp.expect("*", "501 5.7.0")
                self.assert_not_logged_in(smtp)

    def test_bad_base64(self):
        smtp = self.smtp_hello()
        good = plain("joe", "x")
        for bad in ("!!!!", good[:-1], good + "=", good + "A", "=" + good,
                    good[:4] + " " + good[4:], "A", "AB=C"):
            with self.subTest(bad=bad):
                smtp.expect(f"AUTH PLAIN {bad}", r"501 5\.5\.[24]"
                            if " " in bad else "501 5.5.2")
        self.assertEqual(smtp.cmd("AUTH PLAIN").code, 334)
        smtp.expect("????", "501 5.5.2")
        self.assertEqual(smtp.cmd("AUTH LOGIN").code, 334)
        smtp.expect("????", "501 5.5.2")
        self.assert_not_logged_in(smtp)

    def test_not_a_plain_response(self):
        smtp = self.smtp_hello()
        for text in ("joe", "\0joe", "joe\0x", "\0joe\0x\0y"):
            with self.subTest(text=text):
                smtp.expect(f"AUTH PLAIN {b64(text)}", r"501 5\.5\.2")
        self.assert_not_logged_in(smtp)

    def test_empty_name_or_password(self):
        for name, password in (("", "x"), ("joe", "")):
            with self.subTest(name=name, password=password):
                smtp = self.smtp_hello()
                smtp.expect(f"AUTH PLAIN {plain(name, password)}",
                            r"535 5\.7\.8|501 5\.5\.2")
                self.assert_not_logged_in(smtp)

    def test_empty_initial_response(self):
        smtp = self.smtp_hello()
        smtp.expect("AUTH PLAIN =", r"501 5\.5\.2|535 5\.7\.8")
        self.assert_not_logged_in(smtp)

    def test_second_auth(self):
        smtp = self.smtp_hello()
        smtp.login()
        smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "503 5.5.1")
        smtp.expect("AUTH LOGIN", "503 5.5.1")
        smtp.expect("EHLO again", "250")
        smtp.expect("AUTH PLAIN", "503 5.5.1")
        self.assert_logged_in(smtp)

    def test_mechanisms(self):
        smtp = self.smtp_hello()
        for name in ("CRAM-MD5", "XYZZY", "PLAINX", "LOGI"):
            smtp.expect(f"AUTH {name}", r"504 5\.5\.4|504 5\.7\.4")
        smtp.expect("AUTH", SYNTAX)
        smtp.expect(f"auth plain {plain('joe', 'x')}", "235 2.7.0")

    def test_long_responses(self):
        smtp = self.smtp_hello()
        smtp.expect("AUTH PLAIN " + "A" * 13_000, r"500 5\.5\.[26]")
        self.assertEqual(smtp.cmd("AUTH PLAIN").code, 334)
        smtp.expect("A" * 13_000, "500 5.5.6")
        smtp.expect("NOOP", "250 2.0.0")
        self.assert_not_logged_in(smtp)

    def test_mail_in_the_exchange_is_no_command(self):
        smtp = self.smtp_hello()
        self.assertEqual(smtp.cmd("AUTH PLAIN").code, 334)
        smtp.expect("MAIL FROM:<a@example.com>", "501 5.5.2")

    def test_end_of_input_in_the_exchange(self):
        smtp = self.smtp_hello()
        self.assertEqual(smtp.cmd("AUTH LOGIN").code, 334)
        smtp.end_output()
        smtp.rest()
        self.assertEqual(smtp.exit_status(), 0)

    def test_remote_peer_without_tls(self):
        for auth in ("any", "any-remote"):
            with self.subTest(auth=auth):
                smtp = self.spawn(
                    SMTP, "--tls", "off", "--auth", auth, "--maildir",
                    self.mail, kind=SmtpPeer,
                    env={"TCPREMOTEIP": "192.0.2.1"})
                extensions = smtp.hello()
                self.assertNotIn("AUTH", extensions)
                self.assertNotIn("AUTH=PLAIN", extensions)
                smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "538 5.7.11")
                smtp.expect("AUTH LOGIN", "538 5.7.11")
                self.assert_not_logged_in(smtp)
