"""What is logged, and what never is.  DIAGNOSTICS of the man pages.  The
journal has a test of its own, under a real systemd."""

import os
import re

from certs import certificates
from frontdoor import hash_of
from mailtest import (NOBODY, POP3, SMTP, Pop3Peer, SmtpPeer, TestCase, b64,
                      plain, smtp_wire)

PASSWORD = "Tr0ub4dor&3-hush"
BODY = "body-text-that-is-nobodys-business"
SUBJECT = "subject-that-is-nobodys-business"
TEXT = f"Subject: {SUBJECT}\n\n{BODY}\n".encode()


class Log(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()

    def smtp_session(self, *options, login="plain", **kwargs):
        """A session with a login of that kind; its log."""
        smtp = self.smtp(*options, **kwargs)
        smtp.hello()
        initial = plain("joe", PASSWORD)
        if login == "plain":
            smtp.expect(f"AUTH PLAIN {initial}", "235 2.7.0")
        elif login == "plain-334":
            smtp.send("AUTH PLAIN\r\n")
            self.assertEqual(smtp.reply().code, 334)
            smtp.expect(initial, "235 2.7.0")
        elif login == "login":
            for line in ("AUTH LOGIN", b64("joe")):
                self.assertEqual(smtp.cmd(line).code, 334)
            smtp.expect(b64(PASSWORD), "235 2.7.0")
        elif login == "broken":
            # Things that are nearly a login: mistakes hold secrets too
            smtp.cmd(f"AUTH PLAIN {initial}!")
            smtp.cmd(f"AUTH PLAIN {initial} x")
            smtp.cmd(f"AUTH CRAM-MD5 {initial}")
            smtp.cmd(f"AUTHPLAIN {initial}")
            smtp.cmd("AUTH PLAIN")
            smtp.cmd(f"{initial}=====")
            smtp.expect(f"auth  plain {initial}",
                        r"235 2\.7\.0|501 5\.5\.[24]")
            if smtp.cmd("MAIL FROM:<x@y.test>").code == 530:
                smtp.login("joe", PASSWORD)
            smtp.expect("RSET", "250 2.0.0")
        smtp.message(TEXT)
        smtp.quit()
        self.assertEqual(smtp.process.wait(), 0)
        return smtp.process.log()

    def pop3_session(self, *options):
        self.put("new/1", TEXT)
        pop = self.pop3(*options)
        pop.login("joe", PASSWORD)
        pop.retr(1)
        pop.multi("TOP 1 1")
        pop.quit()
        self.assertEqual(pop.process.wait(), 0)
        return pop.process.log()

    def assert_no_secrets(self, log):
        """Neither the password nor any form of it that came over the wire,
        at any offset in base64."""
        forms = {PASSWORD, b64(PASSWORD), plain("joe", PASSWORD)}
        for shift in range(3):
            forms.add(b64("x" * shift + PASSWORD)[4:-4])
        for form in forms:
            self.assertNotIn(form, log)
        for text in (BODY, SUBJECT):
            self.assertNotIn(text, log)

    LOUD = ("--log-level", "debug", "--transcript")


class Secrets(Log):
    def test_smtp_logins(self):
        for login in ("plain", "plain-334", "login", "broken"):
            for options in ((), self.LOUD):
                with self.subTest(login=login, options=options):
                    log = self.smtp_session(*options, login=login)
                    self.assert_no_secrets(log)

    def test_pop3_logins(self):
        for options in ((), self.LOUD):
            with self.subTest(options=options):
                self.assert_no_secrets(self.pop3_session(*options))

    def test_pop3_mistakes(self):
        """PASS out of place, misspelt, too long."""
        pop = self.pop3(*self.LOUD)
        pop.expect(None, r"\+OK")
        pop.expect(f"PASS {PASSWORD}", "-ERR")
        pop.expect(f"pass {PASSWORD}", "-ERR")
        pop.expect(" PASS " + PASSWORD, "-ERR")
        pop.expect(f"AUTH PLAIN {plain('joe', PASSWORD)}", r"(-ERR|\+OK)")
        pop.cmd("PASS " + PASSWORD * 100)
        pop.end_output()
        pop.rest()
        pop.process.wait()
        log = pop.process.log().replace(" PASS " + PASSWORD, "")
        self.assertNotIn(PASSWORD, log)
        self.assertNotIn(plain("joe", PASSWORD), log)

    def test_cut_sessions(self):
        """The connection ends in the middle of a secret."""
        pop = self.pop3(*self.LOUD)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.send(f"PASS {PASSWORD}")
        pop.end_output()
        pop.rest()
        pop.process.wait()
        self.assertNotIn(PASSWORD, pop.process.log())
        smtp = self.smtp(*self.LOUD)
        smtp.hello()
        smtp.send(f"AUTH PLAIN {plain('joe', PASSWORD)}")
        smtp.end_output()
        smtp.rest()
        smtp.process.wait()
        self.assert_no_secrets(smtp.process.log())

    def test_over_tls(self):
        certs = certificates()
        for options in ((), self.LOUD):
            smtp = self.spawn(SMTP, *certs.server.options(), "--auth", "any",
                              "--maildir", self.mail, *options,
                              kind=SmtpPeer, tls=certs.client_context())
            smtp.hello()
            smtp.login("joe", PASSWORD)
            smtp.message(TEXT)
            smtp.quit()
            smtp.process.wait()
            self.assert_no_secrets(smtp.process.log())


class Memory(Log):
    def test_not_dumpable(self):
        """No other process of the same user looks into it, no core file."""
        self.need_root("become somebody else")
        pop = self.pop3(user=NOBODY).login()
        smtp = self.smtp(user=NOBODY).ready()
        for peer in (pop, smtp):
            # The kernel gives the files of such a process to root.
            status = os.stat(f"/proc/{peer.process.pid}/mem")
            self.assertEqual(status.st_uid, 0)


class Events(Log):
    def lines(self, log):
        lines = log.splitlines()
        self.assertTrue(lines)
        return lines

    def session_ids(self, log):
        """The word that all lines of a session have in common and another
        session's lines have not."""
        lines = self.lines(log)
        common = set.intersection(*(
            set(re.findall(r"[0-9A-Za-z]{6,}", line)) for line in lines))
        return common

    def test_session_id(self):
        first, second = self.smtp_session(), self.smtp_session()
        self.assertGreater(len(self.lines(first)), 2)
        ids = self.session_ids(first) - self.session_ids(second)
        self.assertTrue(ids, first + second)
        first, second = self.pop3_session(), self.pop3_session()
        self.assertTrue(self.session_ids(first) - self.session_ids(second),
                        first + second)

    def test_smtp_events(self):
        log = self.smtp_session()
        path, content = self.the_message()
        match = re.search(rb"\sid ([^\s;]+)", content)
        accepted = [line for line in self.lines(log)
                    if match[1].decode() in line]
        self.assertTrue(accepted, log)
        self.assertTrue(any("joe" in line for line in self.lines(log)), log)
        self.assertIn("joe@example.com", log)

    def test_refusals_say_why(self):
        smtp = self.smtp("--max-size", "2000").ready()
        smtp.message(b"x" * 3000 + b"\n")
        smtp.envelope()
        smtp.text(b"a\nb\r\n.\r\n")
        smtp.quit()
        smtp.process.wait()
        log = smtp.process.log()
        self.assertRegex(log, "5.3.4|size|large")
        self.assertRegex(log, r"5\.6\.0|bare")

    def test_messages_that_never_ended(self):
        """Broken off, or by somebody who had to go."""
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(b"half a message")
        smtp.end_output()
        smtp.rest()
        smtp.process.wait()
        log = smtp.process.log()
        self.assertRegex(log, "refused: peer=local id=[^ ]* "
                         'sender=joe@example.com .*reason="broken off"')
        self.assertRegex(log, 'end: peer=local reason="closed by peer" '
                         "accepted=0 refused=1 ")

    def test_refused_once(self):
        """What was refused is over: a later transaction that is given up is
        not refused with the words for another one's text."""
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.text(b"a\nb\r\n.\r\n")
        smtp.envelope()
        smtp.expect("RSET", "250 2.0.0")
        smtp.envelope()
        smtp.quit()
        smtp.process.wait()
        log = smtp.process.log()
        self.assertEqual(log.count("refused: "), 1, log)
        self.assertIn(" accepted=0 refused=1 ", log)

    def test_why_we_hung_up(self):
        smtp = self.smtp()
        smtp.hello()
        for _ in range(20):
            smtp.cmd("FOO")
        smtp.expect_end()
        smtp.process.wait()
        self.assertIn('end: peer=local reason="Too many bad commands"',
                      smtp.process.log())
        users = self.write("users", f"joe:{hash_of('secret-pw')}\n")
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", f"file:{users}",
                          "--maildir", self.mail, kind=SmtpPeer)
        smtp.hello()
        for _ in range(3):
            smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "535 5.7.8")
        smtp.expect_end()
        smtp.process.wait()
        self.assertIn('end: peer=local reason="too many failed logins"',
                      smtp.process.log())

    def test_refused_senders_and_recipients(self):
        """What never became a transaction leaves a line too."""
        smtp = self.smtp()
        smtp.hello()
        smtp.expect("MAIL FROM:<eve@example.com>", "530 5.7.0")
        smtp.login("joe", PASSWORD)
        smtp.expect("MAIL FROM:<joe@example.com> SIZE=99999999999",
                    "552 5.3.4")
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<no address>", "501 5.1.3")
        smtp.quit()
        smtp.process.wait()
        refused = [line.partition(" refused: ")[2]
                   for line in self.lines(smtp.process.log())
                   if " refused: " in line]
        self.assertEqual(refused, [
            'peer=local line="MAIL FROM:<eve@example.com>" reply="530 5.7.0 '
            'Log in first" reason="Log in first"',
            'peer=local line="MAIL FROM:<joe@example.com> SIZE=99999999999" '
            'reply="552 5.3.4 Message too big" reason="Message too big"',
            'peer=local line="RCPT TO:<no address>" '
            'reply="501 5.1.3 Not an address: '
            '<name@domain> is expected" reason="Not an address: '
            '<name@domain> is expected"'])

    def test_pop3_events(self):
        log = self.pop3_session()
        self.assertTrue(any("joe" in line for line in self.lines(log)), log)

    def test_levels(self):
        self.assertEqual(self.pop3_session("--log-level", "error"), "")
        quiet = len(self.pop3_session("--log-level", "info").splitlines())
        loud = len(self.pop3_session("--log-level", "debug",
                                     "--transcript").splitlines())
        self.assertGreater(loud, quiet)

    def test_peers_text_is_escaped(self):
        smtp = self.smtp(*self.LOUD)
        smtp.expect(None, "220")
        smtp.cmd(b"EHLO x\x1b[2J\x07\xffy")
        smtp.cmd(b"\x1b]0;owned\x07")
        smtp.cmd(b"MAIL FROM:<a\rb@c.test>")
        smtp.end_output()
        smtp.rest()
        smtp.process.wait()
        self.assertRegex(smtp.process.log(), r"^[ -~\n]*$")
        # Nobody forges a line of its own
        pop = self.pop3(*self.LOUD)
        pop.expect(None, r"\+OK")
        pop.cmd("USER joe\x0bforged line\x85")
        pop.cmd("PASS x")
        pop.end_output()
        pop.rest()
        pop.process.wait()
        self.assertRegex(pop.process.log(), r"^[ -~\n]*$")

    def test_lines_of_a_session_are_capped(self):
        pop = self.pop3("--log-level", "debug", "--transcript").login()
        for _ in range(50):
            pop.send("NOOP\r\n" * 200)
            for _ in range(200):
                pop.line()
        pop.quit()
        pop.process.wait()
        self.assertLess(len(pop.process.log().splitlines()), 5000)


class Transcript(Log):
    def test_smtp_both_ways(self):
        log = self.smtp_session("--transcript")
        for text in ("EHLO client.test", "MAIL FROM:<joe@example.com>",
                     "RCPT TO:<ann@example.org>", "DATA", "QUIT",
                     "250 2.1.0", "250 2.1.5", "354", "221 2.0.0", "220 ",
                     "PIPELINING", "235 2.7.0"):
            self.assertIn(text, log)
        self.assert_no_secrets(log)

    def test_pop3_both_ways(self):
        log = self.pop3_session("--transcript")
        for text in ("USER joe", "RETR 1", "TOP 1 1", "QUIT", "+OK"):
            self.assertIn(text, log)
        self.assert_no_secrets(log)

    def test_off_by_default(self):
        log = self.smtp_session("--log-level", "debug")
        self.assertNotIn("PIPELINING", log)

    def test_text_before_and_after_is_told_apart(self):
        """Pipelined: the text is in one write with commands."""
        smtp = self.smtp("--transcript").ready()
        smtp.envelope()
        smtp.send(b"DATA\r\n" + smtp_wire(TEXT) + b"NOOP after\r\nQUIT\r\n")
        smtp.rest()
        smtp.process.wait()
        log = smtp.process.log()
        self.assertIn("NOOP after", log)
        self.assert_no_secrets(log)


class Targets(Log):
    def test_auto_is_stderr_here(self):
        pop = self.spawn(POP3, "--tls", "off", "--auth", "any", "--maildir",
                         self.mail, "--log", "auto", kind=Pop3Peer)
        pop.login()
        pop.quit()
        pop.process.wait()
        self.assertIn("joe", pop.process.log())

    def test_stderr_that_cannot_be_written(self):
        """A full or broken log holds up no session."""
        with open("/dev/full", "wb") as full:
            pop = self.pop3(stderr=full)
            pop.login()
            pop.quit()
            self.assertEqual(pop.process.wait(), 0)
        reader, writer = os.pipe()
        os.close(reader)
        pop = self.pop3(stderr=writer)
        os.close(writer)
        pop.login()
        pop.quit()
        self.assertEqual(pop.process.wait(), 0)
