"""smtp-handler --relay to Debian's Dovecot by LMTP, over TCP and a UNIX
socket, into its maildirs.  smtp-handler(8), Relaying."""

from dovecot import Dovecot, quota
from hops import BODIES, LONG_LINES, Hops, letters
from mailtest import smtp_wire


class ToDovecot(Hops):
    def start(self, more=""):
        """For ann and bob."""
        self.dovecot = Dovecot(self, {
            f"{name}@example.org": "x" for name in ("ann", "bob")},
            more)

    def each(self):
        """Sessions by either scheme, with nothing in the maildirs."""
        for scheme in ("lmtp", "lmtp+unix"):
            with self.subTest(scheme=scheme):
                yield self.relay(self.account(scheme))

    def account(self, scheme):
        return self.accounts(f"* lmtp+unix:{self.dovecot.lmtp}"
                             if scheme == "lmtp+unix" else
                             f"* lmtp://localhost:{self.dovecot.port}")

    def folder(self, name):
        return self.dovecot.home(f"{name}@example.org") / "Maildir"

    def saved(self, name):
        """The final reply, the hop's own."""
        return rb"250 2\.0\.0 <%s@example\.org> \S+ Saved" % name.encode()

    def traces(self, name):
        return ("Return-Path: <joe@example.com>",
                f"Delivered-To: {name}@example.org",
                r"Received: from mail\.test (\(\[127\.0\.0\.1\]\) )?"
                rf"by dovecot\.test with LMTP id .* for <{name}@example\.org>"
                ";.*",
                r"Received: from client\.test .*by mail\.test .*with "
                r"ESMTPA .*")

    def test_letters(self):
        self.start()
        for smtp in self.each():
            for name, letter in letters({**BODIES, **LONG_LINES}).items():
                with self.subTest(letter=name):
                    self.sent(smtp, letter, "ann@example.org",
                              reply=self.saved("ann"))
                    self.assert_arrived(self.folder("ann"), letter,
                                        *self.traces("ann"))
        # One connection for all of them
        self.assertEqual(self.dovecot.log().count("Info: Connect from"), 2)

    def test_verdicts(self):
        self.start()
        (letter,) = letters({"for one": b"\nx\n"}).values()
        unknown = (b"550 5.1.1 <eve@example.org> User doesn't exist: "
                   b"eve@example.org")
        for smtp in self.each():
            smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
            for name, reply in (
                    ("eve", unknown), ("ann", b"250 2.1.5 OK"),
                    ("bob", b"452 4.5.3 One recipient at a time, please"),
                    ("eve", b"452 4.5.3 One recipient at a time, please")):
                self.assertEqual(
                    smtp.cmd(f"RCPT TO:<{name}@example.org>").raw, [reply])
            (line,) = smtp.text(smtp_wire(letter)).raw
            self.assertRegex(line, self.saved("ann"))
            # The rest, as a client does
            smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
            self.assertEqual(smtp.cmd("RCPT TO:<eve@example.org>").raw,
                             [unknown])
            smtp.expect("DATA", "503 5.5.1")
            smtp.expect("RCPT TO:<bob@example.org>", "250 2.1.5")
            (line,) = smtp.text(smtp_wire(letter)).raw
            self.assertRegex(line, self.saved("bob"))
            for name in ("ann", "bob"):
                self.assert_arrived(self.folder(name), letter,
                                    *self.traces(name))
        self.assertFalse(self.folder("eve").exists())

    def test_alias(self):
        """Both get it by one transaction; the client hears one reply."""
        self.start()
        (letter,) = letters({"for all": b"\nx\n"}).values()
        aliases = self.write("aliases", "all: ann@example.org, "
                             "bob@example.org\n", 0o644)
        for scheme in ("lmtp", "lmtp+unix"):
            smtp = self.relay(self.account(scheme), "--domain", "our.test",
                              "--aliases", aliases)
            self.sent(smtp, letter, "all@our.test", reply=self.saved("ann"))
            for name in ("ann", "bob"):
                # With two recipients it names neither.
                self.assert_arrived(self.folder(name), letter, *(
                    trace.replace(f" for <{name}@example\\.org>", "")
                    for trace in self.traces(name)
                    if not trace.startswith("Delivered-To")))

    FULL = (rb"552 5\.2\.2 <ann@example\.org> Quota exceeded "
            rb"\(mailbox for user is full\)")

    def over_quota(self, reply):
        """One that fits, one that does not, one that does in spite of it."""
        large, small = letters({
            "large": b"\n" + b"x" * 70 + b"\n" + b"y\n" * 12_000,
            "small": b"\nx\n"}).values()
        for smtp in self.each():
            self.sent(smtp, small, "ann@example.org", reply=self.saved("ann"))
            self.sent(smtp, large, "ann@example.org", reply=reply)
            self.sent(smtp, small, "bob@example.org", reply=self.saved("bob"))
            for name in ("ann", "bob"):
                self.assert_arrived(self.folder(name), small,
                                    *self.traces(name))

    def test_quota(self):
        """Told after the text."""
        self.start(quota(storage="20K"))
        self.over_quota(self.FULL)

    def test_quota_for_now(self):
        self.start(quota(storage="20K") + "quota_full_tempfail = yes\n")
        self.over_quota(self.FULL.replace(rb"552 5\.", rb"452 4\."))

    def test_quota_at_rcpt(self):
        self.start(quota(messages=1) + "lmtp_rcpt_check_quota = yes\n")
        (letter,) = letters({"one": b"\nx\n"}).values()
        smtp = self.relay(self.account("lmtp"))
        self.sent(smtp, letter, "ann@example.org", reply=self.saved("ann"))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        (line,) = smtp.cmd("RCPT TO:<ann@example.org>").raw
        self.assertRegex(line, b"^" + self.FULL + b"$")
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RCPT TO:<bob@example.org>", "250 2.1.5")
        (line,) = smtp.text(smtp_wire(letter)).raw
        self.assertRegex(line, self.saved("bob"))
        for name in ("ann", "bob"):
            self.assert_arrived(self.folder(name), letter, *self.traces(name))

    def test_no_smtputf8(self):
        """Dovecot takes no such addresses, and is not asked."""
        self.start()
        for smtp in self.each():
            self.no_smtputf8(smtp, self.saved("ann"))
