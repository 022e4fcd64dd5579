"""Failures that --faults orders, in both programs: every event with every
thing that can happen to it.  mail-handlers.conf(5), Faults."""

import os
import poplib
import re
import smtplib
import subprocess
import sys
import threading
import time

from certs import certificates
from mailtest import (DEADLINE, POP3, ROOT, SMTP, Closed, Pop3Peer, SmtpPeer,
                      TestCase, plain, smtp_wire)

TEXT = b"Subject: x\n\n.dot\nbody\n"
CRLF = TEXT.replace(b"\n", b"\r\n")
REPLY = {SMTP: "452 4.2.2 Full", POP3: "[SYS/TEMP] Full"}
REFUSED = {SMTP: b"452 4.2.2 Full\r\n", POP3: b"-ERR [SYS/TEMP] Full\r\n"}


class Ordered(TestCase):
    def faults(self, *lines, name="faults"):
        return self.write(name, "".join(f"{line}\n" for line in lines))

    def smtp_with(self, *lines, options=(), **kwargs):
        return self.smtp("--faults", self.faults(*lines), *options, **kwargs)

    def pop3_with(self, *lines, options=(), **kwargs):
        return self.pop3("--faults", self.faults(*lines), *options, **kwargs)


# What a client says at each event, and what it hears where nothing is wrong.
SMTP_STEPS = (
    ("connect", b"", rb"220 .*"),
    (None, b"EHLO client.test\r\n", rb"250-(.|\r\n)*\r\n250 .*"),
    ("login", f"AUTH PLAIN {plain('joe', 'x')}\r\n".encode(), rb"235 .*"),
    ("mail", b"MAIL FROM:<joe@example.com>\r\n", rb"250 2.1.0 .*"),
    ("rcpt", b"RCPT TO:<ann@example.org>\r\n", rb"250 2.1.5 .*"),
    ("data", b"DATA\r\n", rb"354 .*"),
    ("message", smtp_wire(TEXT), rb"250 2.0.0 .*"),
    ("quit", b"QUIT\r\n", rb"221 .*"),
)
STORED = b"Subject: x\r\n\r\n.dot\r\nbody\r\n"
POP3_STEPS = (
    ("connect", b"", rb"\+OK .*"),
    (None, b"USER joe\r\n", rb"\+OK .*"),
    ("login", b"PASS x\r\n", rb"\+OK .*"),
    ("stat", b"STAT\r\n", rb"\+OK 1 26"),
    ("list", b"LIST\r\n", rb"\+OK 1 .*\r\n1 26\r\n\."),
    ("uidl", b"UIDL 1\r\n", rb"\+OK 1 1"),
    ("retr", b"RETR 1\r\n", rb"\+OK 26 .*\r\n" + STORED.replace(
        b"\n.", b"\n..").replace(b".", rb"\.") + rb"\."),
    ("top", b"TOP 1 0\r\n", rb"\+OK .*\r\nSubject: x\r\n\r\n\."),
    ("dele", b"DELE 1\r\n", rb"\+OK .*"),
    ("quit", b"QUIT\r\n", rb"\+OK .*"),
)
SMTP_EVENTS = [event for event, _, _ in SMTP_STEPS if event]
POP3_EVENTS = [event for event, _, _ in POP3_STEPS if event]


class Table(Ordered):
    """All of a session step by step, up to the first that is not as usual."""

    def session(self, program, *options):
        if program == SMTP:
            return self.smtp(*options), SMTP_STEPS
        self.make_maildir()
        if not self.stored():
            self.put("new/1", b"Subject: x\n\n.dot\nbody\n")
        return self.pop3("--allow-delete", *options), POP3_STEPS

    def hear(self, peer, usual):
        """Octets up to the end of the usual reply, of a refusal, or of the
        connection."""
        ends = re.compile(rb"(" + usual + rb"|452 .*|-ERR .*)\r\n")
        deadline = time.monotonic() + DEADLINE
        while not ends.fullmatch(bytes(peer.buffer)) and not peer.ended:
            peer.fill(deadline)
        said = bytes(peer.buffer)
        del peer.buffer[:]
        return said

    def walk(self, program, *lines, seconds=None):
        """(event, octets heard, whether the connection ended then): of the
        first unusual step; None where all is usual.  Fills seconds by
        event."""
        options = ("--faults", self.path("faults"))
        if lines:
            self.faults(*lines)
        began = time.monotonic()
        peer, steps = self.session(program, *options)
        try:
            for event, line, usual in steps:
                if line:
                    began = time.monotonic()
                    peer.send(line)
                said = self.hear(peer, usual)
                if seconds is not None:
                    seconds[event] = time.monotonic() - began
                if not re.fullmatch(usual + rb"\r\n", said):
                    return event, said, peer.ended
            peer.expect_end()
            return None
        finally:
            peer.close()
            peer.process.wait()
            self.log = peer.process.log()

    def both(self):
        for program, events in ((SMTP, SMTP_EVENTS), (POP3, POP3_EVENTS)):
            for event in events:
                print("---", program.name, event)
                yield program, event

    def test_nothing_ordered(self):
        for program in (SMTP, POP3):
            self.assertIsNone(self.walk(program, "# nothing", ""))
            self.clear()
            # For somebody else
            self.assertIsNone(self.walk(
                program, "login ann drop", "mail ann@* drop", "retr 2 drop",
                "connect 192.0.2.* drop"))
            self.clear()

    def test_reply(self):
        for program, event in self.both():
            found = self.walk(program, f"{event} * {REPLY[program]}")
            self.assertEqual(found[:2], (event, REFUSED[program]))
            # A refused message is nowhere, what is not removed is there.
            if program == SMTP and event not in ("quit", "connect"):
                self.assertEqual(self.stored(), {})
            if program == POP3:
                self.assertEqual(len(self.stored()), 1)
            self.clear()

    def clear(self):
        for path in self.mail.glob("new/*"):
            path.unlink()

    def test_drop(self):
        for program, event in self.both():
            found = self.walk(program, f"{event} * drop")
            self.assertEqual(found, (event, b"", True))
            self.assertRegex(self.log, rf"fault: peer=local file=\S+faults:1 "
                             rf'line="{event} [^"]*" reason=drop\n')
            if program == POP3:
                self.assertEqual(len(self.stored()), 1)
            elif event != "quit":
                self.assertEqual(self.stored(), {})
            self.clear()

    def test_drop_after_octets(self):
        for program, event in self.both():
            found = self.walk(program, f"{event} * drop 3")
            if (program, event) == (SMTP, "data"):
                # Of the text, which is behind the reply.
                self.assertEqual(found, ("message", b"", True))
                self.assertEqual(self.stored(), {})
            elif event in ("retr", "top"):
                # Of the message, which is behind the first line.
                self.assertRegex(found[1], rb"^\+OK [^\n]*\r\nSub$")
            else:
                self.assertEqual((found[0], len(found[1]), found[2]),
                                 (event, 3, True))
            self.clear()

    def test_lose_reply(self):
        """It is done, and nobody hears so."""
        for program, event in self.both():
            found = self.walk(program, f"{event} * lose-reply")
            self.assertEqual(found, (event, b"", True))
            if program == SMTP:
                self.assertEqual(len(self.stored()),
                                 event in ("message", "quit"))
            else:
                self.assertEqual(len(self.stored()), event != "quit")
            self.clear()

    def test_delay(self):
        for program, event in self.both():
            seconds = {}
            self.assertIsNone(self.walk(program, f"{event} * delay 0.2",
                                        seconds=seconds))
            # The program's clock has milliseconds.
            self.assertGreaterEqual(seconds[event], 0.199)
            self.clear()

    def test_delay_then(self):
        for program, event in self.both():
            seconds = {}
            found = self.walk(
                program, f"{event} * delay 0.1 then {REPLY[program]}",
                seconds=seconds)
            self.assertEqual(found[:2], (event, REFUSED[program]))
            self.assertGreaterEqual(seconds[event], 0.099)
            self.clear()

    def test_slow(self):
        """Of the reply, or of the text."""
        for program, event in self.both():
            if event in ("connect", "login"):
                continue    # all of the session, see below
            seconds = {}
            self.assertIsNone(self.walk(program, f"{event} * slow 50",
                                        seconds=seconds))
            if event == "data":
                event = "message"
            # 5 octets at a time, and the shortest reply has 10.
            self.assertGreaterEqual(seconds[event], 0.09)
            self.clear()

    def test_slow_session(self):
        for program, other in ((SMTP, "mail"), (POP3, "stat")):
            for event in ("connect", "login"):
                with self.subTest(program=program.name, event=event):
                    seconds = {}
                    self.assertIsNone(self.walk(
                        program, f"{event} * slow 50", seconds=seconds))
                    self.assertGreaterEqual(seconds[other], 0.09)
                    self.clear()

    def test_counts(self):
        """Over sessions: the first, each second one, beyond a rate."""
        for program, event in self.both():
            for when, pattern in (("first 1", "x."), ("every 2", ".x"),
                                  ("over 1 per 3600", ".x")):
                self.faults(f"{event} * {when} {REPLY[program]}")
                self.path("faults.state").unlink(missing_ok=True)
                for due in pattern:
                    found = self.walk(program)
                    self.assertEqual(
                        found and found[:2],
                        (event, REFUSED[program]) if due == "x" else None,
                        when)
                    self.clear()


class Rules(Ordered):
    def test_first_line_decides(self):
        smtp = self.smtp_with("rcpt ann@* 450 4.2.1 one",
                              "rcpt *n@* 550 5.1.1 two",
                              "rcpt * 551 5.7.1 three").ready()
        smtp.expect("MAIL FROM:<a@b>", "250 2.1.0")
        for name, reply in (("ann@x.org", "450 4.2.1"),
                            ("ANN@X.ORG", "450 4.2.1"),
                            ("jan@x.org", "550 5.1.1"),
                            ("joe@x.org", "551 5.7.1")):
            smtp.expect(f"RCPT TO:<{name}>", reply)

    def test_line_that_is_not_due_leaves_it_to_others(self):
        smtp = self.smtp_with("rcpt * first 1 450 4.2.1 one",
                              "rcpt * first 1 550 5.1.1 two").ready()
        smtp.expect("MAIL FROM:<a@b>", "250 2.1.0")
        for reply in ("450 4.2.1", "550 5.1.1", "250 2.1.5"):
            smtp.expect("RCPT TO:<ann@x.org>", reply)

    def test_greylisting_over_sessions_at_once(self):
        """Exactly so many of many sessions are refused."""
        path = self.faults("mail * first 10 451 4.7.1 Later")
        refused = []

        def one():
            smtp = self.smtp("--faults", path).ready()
            refused.append(smtp.cmd("MAIL FROM:<a@b>").code == 451)
        threads = [threading.Thread(target=one) for _ in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(refused), sum(refused)), (25, 10))

    def test_rate_limit(self):
        smtp = self.smtp_with("mail joe@* over 2 per 3600 421 4.7.0 Slow"
                              ).ready()
        for _ in range(2):
            smtp.expect("MAIL FROM:<joe@x>", "250 2.1.0")
            smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<ann@x>", "250 2.1.0")
        smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<joe@x>", "421 4.7.0")
        smtp.expect_end()

    def test_subjects(self):
        """A message's event is its sender's, and each recipient's."""
        for pattern, refused in (("joe@*", True), ("bob@*", True),
                                 ("eve@*", False)):
            for event in ("data", "message"):
                smtp = self.smtp_with(f"{event} {pattern} 554 5.6.0").ready()
                smtp.envelope("joe@example.com", "ann@x.org", "bob@x.org")
                reply = smtp.cmd("DATA")
                if event == "message" or not refused:
                    self.assertEqual(reply.code, 354)
                    smtp.send(smtp_wire(TEXT))
                    reply = smtp.reply()
                self.assertEqual(reply.code, 554 if refused else 250)

    def test_numbers(self):
        self.put("new/1", b"one\n")
        self.put("new/2", b"two\n")
        pop = self.pop3_with("retr 2 [SYS/TEMP] Later", "top [2-9] drop 2",
                             "list 1 Refused", "stat joe Refused").login()
        pop.expect("RETR 2", r"-ERR \[SYS/TEMP\] Later$")
        pop.expect("LIST 1", r"-ERR Refused$")
        pop.expect("LIST 2", r"\+OK 2 5$")
        pop.expect("STAT", r"-ERR Refused$")
        self.assertEqual(pop.listing("LIST"), {1: "5", 2: "5"})
        self.assertEqual(pop.retr(1)[1], b"one\r\n")
        pop.send("TOP 2 9\r\n")
        self.assertRegex(pop.rest(), rb"^\+OK [^\n]*\ntw$")

    def test_one_file_for_both(self):
        """An SMTP reply in POP3, and a text for POP3 in SMTP."""
        for line, smtp_says, pop_says in (
                ("login * 535 5.7.8", "535 5.7.8", r"-ERR \[AUTH\] Refused$"),
                ("login * 454 4.7.0 Not now", "454 4.7.0",
                 r"-ERR \[SYS/TEMP\] Not now$"),
                ("login * [IN-USE] Taken", "451 4.0.0",
                 r"-ERR \[IN-USE\] Taken$")):
            smtp = self.smtp_with(line)
            smtp.hello()
            smtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", smtp_says)
            pop = self.pop3_with(line)
            pop.expect(None, r"\+OK")
            pop.expect("USER joe", r"\+OK")
            pop.expect("PASS x", pop_says)

    def test_starttls(self):
        certs = certificates()
        for line, wanted in (("starttls * 454 4.7.0 No", "454 4.7.0"),
                             ("starttls * drop", None)):
            smtp = self.smtp_with(line, options=(
                "--tls", "starttls", *certs.server.options()))
            smtp.hello()
            if wanted:
                smtp.expect("STARTTLS", wanted)
                smtp.expect("NOOP", "250 2.0.0")
            else:
                smtp.send("STARTTLS\r\n")
                smtp.expect_end()
            pop = self.pop3_with(line, options=(
                "--tls", "starttls", *certs.server.options()))
            pop.expect(None, r"\+OK")
            if wanted:
                pop.expect("STLS", r"-ERR \[SYS/TEMP\] No$")
            else:
                pop.send("STLS\r\n")
                pop.expect_end()

    def test_lost_reply_of_a_message_in_lmtp(self):
        smtp = self.smtp_with("message * 452 4.2.2", options=(
            "--lmtp", "--no-auth-required"))
        smtp.expect(None, "220")
        smtp.expect("LHLO x", "250")
        smtp.envelope("", "a@x.org", "b@x.org")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "452 4.2.2")
        smtp.expect(None, "452 4.2.2")
        smtp.expect("NOOP", "250 2.0.0")
        self.assert_nothing_kept()

    def test_what_was_pipelined_before_is_said(self):
        smtp = self.smtp_with("rcpt * lose-reply").ready()
        smtp.send("NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\n")
        smtp.expect(None, "250 2.0.0")
        smtp.expect(None, "250 2.1.0")
        smtp.expect_end()

    def test_slow_transfer(self):
        """A message of 20,000 octets at 40,000 a second, both ways."""
        text = b"x" * 98 + b"\n"
        smtp = self.smtp_with("data * slow 40000").ready()
        began = time.monotonic()
        self.assertEqual(smtp.message(text * 200).code, 250)
        self.assertGreater(time.monotonic() - began, 0.4)
        pop = self.pop3_with("retr * slow 40000").login()
        began = time.monotonic()
        self.assertTrue(pop.retr(1)[1].endswith(
            text.replace(b"\n", b"\r\n") * 200))
        self.assertGreater(time.monotonic() - began, 0.4)
        # Only that one
        pop.expect("STAT", r"\+OK 1 ")


class Refused(Ordered):
    def test_sessions_of_others(self):
        """Neither local nor --auth any: exit status 78, and a word why."""
        hashed = self.write("users", "joe:*\n")
        for program in (SMTP, POP3):
            for auth, env, status in (
                    ("any", {"REMOTE_ADDR": "192.0.2.1"}, 0),
                    ("any-remote", {}, 0),
                    ("any-remote", {"REMOTE_ADDR": "192.0.2.1"}, 78),
                    (f"file:{hashed}", {"REMOTE_ADDR": "192.0.2.1"}, 78)):
                with self.subTest(program=program.name, auth=auth, env=env):
                    peer = self.spawn(
                        program, "--tls", "off", "--auth", auth, "--maildir",
                        self.mail, "--faults", self.faults("quit * drop"),
                        env=env)
                    peer.end_output()
                    said = peer.rest()
                    self.assertEqual(peer.process.wait(), status)
                    self.assertEqual(said == b"", status == 78)
                    if status:
                        self.assertRegex(peer.process.log(),
                                         "config: .*--faults is for local")

    def test_check_config(self):
        """Each wrong line is named."""
        path = self.faults("rcpt * 550", "", "rcpt * explode", "noop * drop",
                           "retr 1 first drop")
        for program in (SMTP, POP3):
            self.make_maildir()
            status, _, err = self.run_to_end(*self.argv(
                program, "--tls", "off", "--auth", "any", "--maildir",
                self.mail, "--faults", path, "--check-config"))
            self.assertEqual(status, 78)
            self.assertEqual(re.findall(r"faults:(\d+): ", err),
                             ["3", "4", "5"])
            # And nothing is served.
            status, out, err = self.run_to_end(*self.argv(
                program, "--tls", "off", "--auth", "any", "--maildir",
                self.mail, "--faults", path))
            self.assertEqual((status, out), (78, ""))
            self.assertRegex(err, r"faults:3: neither a reply")
            status, _, err = self.run_to_end(*self.argv(
                program, "--tls", "off", "--auth", "any", "--maildir",
                self.mail, "--faults", self.path("gone"), "--check-config"))
            self.assertEqual(status, 78)
            self.assertRegex(err, "gone: No such file")


class Clients(Ordered):
    """Clients that are not ours, over TCP."""

    def test_smtplib(self):
        path = self.faults(
            "rcpt soft@* first 1 451 4.7.1 Greylisted",
            "rcpt full@* 452 4.2.2 Mailbox is full",
            "message big@* 552 5.3.4", "data gone@* drop",
            "login locked 535 5.7.8 Locked")
        server = self.serve(SMTP, "--tls", "off", "--auth", "any",
                            "--maildir", self.mail, "--faults", path)
        with smtplib.SMTP("127.0.0.1", server.port,
                          timeout=DEADLINE) as client:
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("locked", "x")
            client.login("joe", "x")
            client.sendmail("joe@x.org", ["ann@x.org"], CRLF)
            refused = client.sendmail("joe@x.org", [
                "full@x.org", "soft@x.org", "ann@x.org"], CRLF)
            self.assertEqual(refused, {
                "full@x.org": (452, b"4.2.2 Mailbox is full"),
                "soft@x.org": (451, b"4.7.1 Greylisted")})
            self.assertEqual(client.sendmail("joe@x.org", ["soft@x.org"],
                                             CRLF), {})
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                client.sendmail("big@x.org", ["ann@x.org"], CRLF)
            self.assertEqual(caught.exception.smtp_code, 552)
            with self.assertRaises(smtplib.SMTPServerDisconnected):
                client.sendmail("gone@x.org", ["ann@x.org"], CRLF)
        self.assertEqual(len(self.stored()), 3)

    def test_poplib(self):
        self.put("new/1", b"Subject: x\n\n" + (b"y" * 98 + b"\n") * 50)
        path = self.faults("login locked [AUTH] Locked",
                           "login busy first 1 [IN-USE] Taken",
                           "retr 1 first 1 drop 1000", "uidl * first 1 drop")
        server = self.serve(POP3, "--tls", "off", "--auth", "any",
                            "--maildir", self.mail, "--faults", path)

        def login(user):
            client = poplib.POP3("127.0.0.1", server.port, timeout=DEADLINE)
            self.addCleanup(client.close)
            client.user(user)
            client.pass_("x")
            return client
        with self.assertRaisesRegex(poplib.error_proto, "AUTH. Locked"):
            login("locked")
        with self.assertRaisesRegex(poplib.error_proto, "IN-USE. Taken"):
            login("busy")
        client = login("busy")
        with self.assertRaises(poplib.error_proto):
            client.uidl()
        client = login("busy")
        with self.assertRaises(poplib.error_proto):
            client.retr(1)
        client = login("busy")
        self.assertEqual(client.retr(1)[2], 5014)
        client.quit()

    def test_curl(self):
        """Its exit status says what it met."""
        self.put("new/1", b"Subject: x\n\n" + (b"y" * 98 + b"\n") * 50)
        path = self.faults("retr 1 first 1 drop 1000",
                           "retr 1 first 1 Not today",
                           "rcpt full@* 452 4.2.2 Full")
        pop = self.serve(POP3, "--tls", "off", "--auth", "any",
                         "--maildir", self.mail, "--faults", path)

        def curl(*args, stdin=b""):
            return subprocess.run(
                ["curl", "-sS", "--max-time", "190", "-u", "joe:x", *args],
                input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=200)
        url = f"pop3://127.0.0.1:{pop.port}/1"
        # It takes the end of the connection for that of the message: this
        # is how one finds out.
        self.assertEqual(len(curl(url).stdout), 1000)
        done = curl(url)
        self.assertEqual((done.returncode, done.stdout), (8, b""),
                         done.stderr)
        done = curl(url)
        self.assertEqual((done.returncode, len(done.stdout)), (0, 5014))
        smtp = self.serve(SMTP, "--tls", "off", "--auth", "any",
                          "--maildir", self.mail, "--faults", path)
        done = curl("--mail-from", "a@x.org", "--mail-rcpt", "full@x.org",
                    "-T", "-", f"smtp://127.0.0.1:{smtp.port}", stdin=CRLF)
        self.assertEqual(done.returncode, 55, done.stderr)
        self.assertIn(b"452", done.stderr)


class Hide(Ordered):
    def test_smtp(self):
        certs = certificates()
        usual = ["PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "SMTPUTF8",
                 "STARTTLS", "AUTH", "AUTH=PLAIN", "LIMITS", "HELP",
                 "ENHANCEDSTATUSCODES"]
        for hidden in ("PIPELINING", "size", "8BITMIME", "CHUNKING",
                       "SMTPUTF8", "STARTTLS", "AUTH", "LIMITS", "HELP",
                       "ENHANCEDSTATUSCODES",
                       "CHUNKING, help,ENHANCEDSTATUSCODES",
                       ",".join(usual[:7] + usual[8:])):
            with self.subTest(hidden=hidden):
                words = [word.strip().upper() for word in hidden.split(",")]
                smtp = self.smtp("--tls", "starttls",
                                 *certs.server.options(), "--hide", hidden)
                offered = smtp.hello()
                self.assertEqual(list(offered), [
                    word for word in usual
                    if word.partition("=")[0] not in words])
                codes = "ENHANCEDSTATUSCODES" not in words
                for word, line, reply in (
                        ("CHUNKING", "BDAT 0 LAST", "500 5.5.1"),
                        ("STARTTLS", "STARTTLS", "500 5.5.1"),
                        ("AUTH", "AUTH PLAIN", "500 5.5.1"),
                        ("HELP", "HELP", "500 5.5.1")):
                    if word in words:
                        smtp.expect(line, reply if codes else reply[:3])
                smtp.expect("NOOP", "250 2.0.0" if codes else "250")

    def test_parameters(self):
        for word, parameter in (("SIZE", "SIZE=1"), ("8BITMIME", "BODY=7BIT"),
                                ("SMTPUTF8", "SMTPUTF8"),
                                ("AUTH", "AUTH=<>")):
            smtp = self.smtp("--hide", word, "--no-auth-required")
            smtp.hello()
            smtp.expect(f"MAIL FROM:<a@b> {parameter}", "555 5.5.4")
            smtp.expect("MAIL FROM:<a@b>", "250 2.1.0")

    def test_mail_without_extensions(self):
        """Mail goes all the same; and by HELO where there is no EHLO."""
        smtp = self.smtp("--hide", "EHLO", "--no-auth-required")
        smtp.expect(None, "220")
        smtp.expect("EHLO x", "500 5.5.1")
        smtp.expect("HELO x", "250")
        smtp.envelope()
        self.assertEqual(smtp.text(smtp_wire(TEXT)).code, 250)
        server = self.serve(
            SMTP, "--tls", "off", "--no-auth-required", "--maildir",
            self.mail, "--hide", "EHLO,ENHANCEDSTATUSCODES")
        with smtplib.SMTP("127.0.0.1", server.port,
                          timeout=DEADLINE) as client:
            client.sendmail("joe@x.org", ["ann@x.org"], CRLF)
        self.assertEqual(len(self.stored()), 2)

    def test_pop3(self):
        certs = certificates()
        self.put("new/1", TEXT)
        usual = ["STLS", "USER", "SASL", "TOP", "UIDL", "PIPELINING",
                 "RESP-CODES", "AUTH-RESP-CODE", "UTF8", "LANG", "EXPIRE",
                 "IMPLEMENTATION"]
        for hidden in (*usual, "UIDL, top", ",".join(usual)):
            with self.subTest(hidden=hidden):
                words = [word.strip().upper() for word in hidden.split(",")]
                pop = self.pop3("--tls", "starttls", *certs.server.options(),
                                "--hide", hidden)
                pop.expect(None, r"\+OK")
                _, body = pop.multi("CAPA")
                self.assertEqual([line.split()[0].decode() for line
                                  in body.splitlines()],
                                 [word for word in usual
                                  if word not in words])
                unknown = "-ERR Unknown command"
                for word, line in (("STLS", "STLS"), ("USER", "USER joe"),
                                   ("USER", "PASS x"), ("UTF8", "UTF8"),
                                   ("SASL", "AUTH PLAIN"),
                                   ("LANG", "LANG")):
                    if word in words:
                        pop.expect(line, unknown)
                if "USER" in words:
                    continue
                pop.expect("USER joe", r"\+OK")
                pop.expect("PASS x", r"\+OK")
                for word, line in (("UIDL", "UIDL 1"), ("TOP", "TOP 1 0")):
                    pop.send(line + "\r\n")
                    if word in words:
                        pop.expect(None, unknown)
                    else:
                        pop.expect(None, r"\+OK")
                        if word == "TOP":
                            pop.body()
        pop = self.pop3("--hide", "capa")
        pop.expect(None, r"\+OK")
        pop.expect("CAPA", "-ERR Unknown command")

    def test_unknown_words(self):
        for program, known, other in ((SMTP, "8BITMIME", "UIDL"),
                                      (POP3, "UIDL", "8BITMIME")):
            for words in (other, f"{known},{other}", f",{known}", ",", "x"):
                status, _, err = self.run_to_end(*self.argv(
                    program, "--tls", "off", "--auth", "any", "--maildir",
                    self.mail, "--hide", words))
                self.assertEqual(status, 64)
                self.assertRegex(err, rf"--hide must be of .*{known}")
