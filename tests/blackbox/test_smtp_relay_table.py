"""A next hop that misbehaves at every step, as a table: whatever it does,
the client hears the truth, the session goes on in step, and nothing is
lost, or kept that was refused.  smtp-handler(8), Relaying."""

import re

from mailtest import smtp_wire
from nexthop import DROP, AfterReply, DropAfter, Early, ScriptedHop
from relay import Relay

FIRST = b"Subject: first\n\n.one\n"
SECOND = b"Subject: second\n\n..two\n"

# More than fits into anybody's buffers
LARGE = (b"x" * 800 + b"\n") * 10_000

AT_OPENING = ("greeting", "HELLO", "STARTTLS", "AUTH")

NO_CONNECTION = r"451 4\.4\.[0-9]"
NO_LOGIN = r"451 4\.7\.0"

# What the hop says, and what the client hears of it in a transaction
REFUSALS = {
    "4xx": ("452 4.2.2 full there", "452 4.2.2 full there"),
    "5xx": ("552 5.2.2 never", "552 5.2.2 never"),
    "4xx without an enhanced code": ("450 busy", "450 4.0.0 busy"),
    "5xx without an enhanced code": ("554 no", "554 5.0.0 no"),
    "enhanced code of another class": ("550 2.1.5 no", "550 5.0.0 2.1.5 no"),
    "several lines": ("550 5.7.1 not\n5.7.1 from\n5.7.1 you",
                      "550-5.7.1 not\n550-5.7.1 from\n550 5.7.1 you"),
    "many lines": ("451 4.3.0 " + "\n4.3.0 ".join(["x"] * 200), None),
}
# What is about our session there, and not about the mail
TROUBLES = {
    "421": ("421 4.3.2 going down", NO_CONNECTION),
    "421 and gone": (AfterReply("421 4.3.2 going down"), NO_CONNECTION),
    "503": ("503 5.5.1 bad sequence", NO_CONNECTION),
    "530": ("530 5.7.0 log in first", NO_LOGIN),
    "garbage": (b"what do you mean?\r\n", NO_CONNECTION),
    "octets": (bytes(range(256)) + b"\r\n", NO_CONNECTION),
    "a code that is none": (b"199 no\r\n", NO_CONNECTION),
    "codes that differ": (b"250-a\r\n550 b\r\n", NO_CONNECTION),
    "an over-long line": (b"250 " + b"x" * 5000 + b"\r\n", NO_CONNECTION),
    "lines without end": (b"250-x\r\n" * 2000, NO_CONNECTION),
    "a line that stops": (AfterReply(b"250 2.0.0 fi"), NO_CONNECTION),
    "dropped": (DROP, NO_CONNECTION),
}
# Of these, by whom it leaves: it is opened again where it has no text yet
LEAVES = ("421", "421 and gone", "a line that stops", "dropped")
QUEUED = "250 2.0.0 hop has it"


class Table(Relay):
    """One class a way to the hop, below."""

    secure = starttls = lmtp = False
    extensions = ("SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES")

    def hop_and_accounts(self, script):
        context = self.certs.server.server_context()
        self.mail = self.fresh_path("mail")
        self.hello = "LHLO" if self.lmtp else "EHLO"
        script = {self.hello if step == "HELLO" else step: value
                  for step, value in script.items()}
        hop = ScriptedHop(self, script, tls=context if self.secure else None,
                          starttls=context if self.starttls else None,
                          extensions=self.extensions)
        scheme = ("smtps" if self.secure else "smtp" if self.starttls
                  else "lmtp" if self.lmtp else "smtp+plain")
        query = (f"?ca={self.certs.ca.crt}" if self.secure or self.starttls
                 else "")
        return hop, self.accounts(f"* {scheme}://localhost:{hop.port}{query} "
                                  "relay-user relay-secret")

    def transaction(self, smtp, text):
        """The reply that decides, and at which command it came."""
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        reply = smtp.cmd("RCPT TO:<a@b.test>")
        if reply.code != 250:
            smtp.expect("DATA", "503 5.5.1")
            smtp.expect("RSET", "250 2.0.0")
            return "RCPT", reply
        reply = smtp.cmd("DATA")
        self.assertEqual(reply.code, 354)
        smtp.send(smtp_wire(text))
        return "text", smtp.reply()

    def check(self, script, where, wanted, again=True, twice=False,
              large=b""):
        """The first transaction meets the script, the second one a hop that
        has come to its senses."""
        hop, accounts = self.hop_and_accounts(script)
        smtp = self.relay(accounts, maildir=True)
        at, reply = self.transaction(smtp, FIRST + large)
        raw = b"\n".join(reply.raw).decode()
        self.assertEqual(at, where, raw)
        self.assertRegex(raw, f"^({wanted})")
        kept = [content for content in self.stored().values()]
        self.assertEqual(len(kept), reply.code == 250)
        smtp.expect("NOOP", "250 2.0.0")
        at, second = self.transaction(smtp, SECOND)
        if again:
            self.assertEqual((at, second.code), ("text", 250), second.raw)
        kept = b"".join(self.stored().values())
        self.assertEqual(len(self.stored()),
                         (reply.code == 250) + (second.code == 250))
        self.assertEqual(b"Subject: second" in kept, second.code == 250)
        smtp.quit()
        hop.released.set()
        hop.wait_ended()
        texts = [self.split_relayed(message)[1] for message in hop.messages]
        if not twice:
            # What it was given and what the client was told agree
            self.assertEqual(texts, [
                smtp_wire(text) for text, verdict in (
                    (FIRST + large, reply), (SECOND, second))
                if verdict.code == 250 or (
                    at == "text" and "final" in script
                    and verdict is reply)])
        return hop

    def where(self, step):
        return "RCPT" if step not in ("DATA", "final") else "text"

    def passed_on(self, step):
        for name, (reply, wanted) in REFUSALS.items():
            with self.subTest(step=step, reply=name):
                shown = re.escape(wanted) + "$" if wanted else "451[- ]4.3.0 "
                self.check({step: [reply, ScriptedHop.DEFAULTS[step]]},
                           self.where(step), shown)

    def not_passed_on(self, step):
        good = ScriptedHop.DEFAULTS.get(step)
        for name, (reply, wanted) in TROUBLES.items():
            if step in AT_OPENING:
                wanted = f"{NO_CONNECTION}|{NO_LOGIN}"
            if step == "DATA" and name in LEAVES:
                wanted = QUEUED
            with self.subTest(step=step, reply=name):
                script = {step: [reply, good] if good else reply}
                self.check(script, self.where(step), wanted,
                           again=good is not None)

    def test_sender(self):
        self.passed_on("MAIL")
        self.not_passed_on("MAIL")

    def test_recipient(self):
        self.passed_on("RCPT")
        self.not_passed_on("RCPT")

    def test_data(self):
        self.passed_on("DATA")
        self.not_passed_on("DATA")

    def test_final(self):
        self.passed_on("final")
        self.not_passed_on("final")

    def test_greeting(self):
        self.not_passed_on("greeting")
        for name, (reply, _) in REFUSALS.items():
            with self.subTest(reply=name):
                self.check({"greeting": [reply, "220 hop.test"]}, "RCPT",
                           NO_CONNECTION)

    def test_hello(self):
        self.not_passed_on("HELLO")
        for name, (reply, _) in REFUSALS.items():
            with self.subTest(reply=name):
                self.check({"HELLO": reply, "HELO": reply}, "RCPT",
                           NO_CONNECTION, again=False)

    def test_login(self):
        self.not_passed_on("AUTH")
        for name, (reply, _) in REFUSALS.items():
            with self.subTest(reply=name):
                self.check({"AUTH": [reply, "235 2.7.0 welcome"]}, "RCPT",
                           NO_LOGIN)

    def test_gone_after_a_good_reply(self):
        for step in ("greeting", "AUTH", "MAIL", "RCPT", "DATA",
                     "final"):
            with self.subTest(step=step):
                good = ScriptedHop.DEFAULTS[step]
                at_rcpt = step in ("greeting", "AUTH", "MAIL")
                self.check(
                    {step: [AfterReply(good), good]},
                    "RCPT" if at_rcpt else "text",
                    f"{NO_CONNECTION}|{NO_LOGIN}" if step == "AUTH"
                    else QUEUED if step in ("RCPT", "final")
                    else NO_CONNECTION)

    def test_gone_in_the_text(self):
        for octets in (0, 10, 1000, 500_000):
            with self.subTest(octets=octets):
                hop = self.check({"text": DropAfter(octets)}, "text",
                                 NO_CONNECTION, again=False, twice=True,
                                 large=LARGE)
                for message in hop.messages:
                    self.assertIn(b"second", message)

    def test_reply_lost_after_the_text(self):
        """RFC 1047: the one case in which it may come twice."""
        hop = self.check({"final": [DROP, "250 2.0.0 fine"]}, "text",
                         "451 4.4.2", twice=True)
        self.assertEqual(len(hop.messages), 2)

    def test_replies_before_their_time(self):
        """One more than there were commands: no verdict is believed that
        may be about something else, least of all a good one."""
        for step in ("greeting", "AUTH", "MAIL", "RCPT", "DATA"):
            for extra in (b"250 2.0.0 kept\r\n", b"550 5.1.1 no\r\n",
                          b"250 2.1.0 a\r\n250 2.1.5 b\r\n354 c\r\n"
                          b"250 2.0.0 d\r\n"):
                with self.subTest(step=step, extra=extra):
                    good = ScriptedHop.DEFAULTS[step]
                    hop, accounts = self.hop_and_accounts({
                        step: [ScriptedHop.lines(good) + extra, good],
                        "final": ["554 5.6.0 not this", "250 2.0.0 it is"]})
                    smtp = self.relay(accounts, maildir=True)
                    _, reply = self.transaction(smtp, FIRST)
                    self.assertIn(reply.code, (451, 550, 554), reply.raw)
                    self.assertEqual(self.stored(), {})
                    smtp.expect("NOOP", "250 2.0.0")
                    smtp.quit()

    def test_early_verdict(self):
        """What it says while the text is being sent is read."""
        for then in ("read", "stall", "close"):
            for said, wanted in (
                    ("552 5.3.4 too big", "552 5.3.4 too big"),
                    ("554 5.6.0 spam\n5.6.0 really", "554-5.6.0 spam"),
                    ("452 4.3.1 disk full", "452 4.3.1 disk full"),
                    ("421 4.3.2 going down", "451 4.4.2"),
                    ("250 2.0.0 kept", "451 4.4.2"),
                    ("354 more", "451 4.4.2"),
                    (b"nonsense\r\n", "451 4.4.2")):
                with self.subTest(said=said, then=then):
                    if then == "close":
                        # A reset may be faster than what was said
                        wanted += "|451 4.4.2"
                    hop = self.check(
                        {"text": Early(100_000, said, then)}, "text", wanted,
                        twice=True, large=LARGE)
                    (message,) = hop.messages
                    self.assertIn(b"second", message)

    def test_in_time_between_transactions(self):
        """What it says or does while nobody is asking: a new connection."""
        for reply in (b"250 2.0.0 kept\r\n421 4.4.2 idle too long\r\n",
                      AfterReply(b"250 2.0.0 kept\r\n421 4.4.2 idle\r\n"),
                      AfterReply("250 2.0.0 kept")):
            with self.subTest(reply=reply):
                hop = self.check({"final": [reply, "250 2.0.0 second"]},
                                 "text", "250 2.0.0 kept")
                self.assertEqual(len(hop.connections), 2)

    def test_refused_reset(self):
        for reply in ("500 5.5.1 what?", "421 4.3.2 bye", b"what\r\n", DROP):
            with self.subTest(reply=reply):
                hop, accounts = self.hop_and_accounts({
                    "RSET": [reply, "250 2.0.0 reset"]})
                smtp = self.relay(accounts)
                smtp.envelope("joe@example.com", "a@b.test")
                smtp.expect("RSET", "250 2.0.0")
                self.assertEqual(smtp.message(SECOND).raw,
                                 [b"250 2.0.0 hop has it"])
                smtp.quit()
                hop.wait_ended()
                self.assertEqual(len(hop.messages), 1)


class TableSmtps(Table):
    secure = True
    extensions = ("PIPELINING", *Table.extensions)


class TableStartTls(Table):
    starttls = True

    def test_starttls(self):
        self.not_passed_on("STARTTLS")
        for name, (reply, _) in REFUSALS.items():
            with self.subTest(reply=name):
                self.check({"STARTTLS": [reply, "220 2.0.0 go on"]}, "RCPT",
                           NO_CONNECTION)


class TablePlain(Table):
    extensions = ("PIPELINING", *Table.extensions)

    def test_pipelined(self):
        """MAIL and the first RCPT in one go (RFC 2920)."""
        for mail in ("550 5.7.1 no", "250 2.1.0 ok", "451 4.3.0 later"):
            for rcpt in ("503 5.5.1 what?", "550 5.1.1 no", "250 2.1.5 ok",
                         "450 4.2.1 grey", "421 4.3.2 bye", DROP):
                with self.subTest(mail=mail, rcpt=rcpt):
                    hop, accounts = self.hop_and_accounts({
                        "MAIL": [mail, "250 2.1.0 now"],
                        "RCPT": [rcpt, "250 2.1.5 now"]})
                    smtp = self.relay(accounts)
                    smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                    reply = smtp.cmd("RCPT TO:<a@b.test>")
                    if not mail.startswith("250"):
                        self.assertEqual(reply.raw, [mail.encode()])
                    elif rcpt is DROP or rcpt[:3] in ("421", "503"):
                        self.assertRegex(str(reply), NO_CONNECTION)
                    else:
                        self.assertEqual(reply.raw, [rcpt.encode()])
                    smtp.expect("RSET", "250 2.0.0")
                    self.assertEqual(smtp.message(SECOND).code, 250)
                    self.assertEqual(len(hop.messages), 1)


class TableLmtp(Table):
    lmtp = True


del Table, Relay    # without a way to go
