"""smtp-handler: the path grammar of RFC 5321 section 4.1.2, and what is taken
beyond it."""

import re

from mailtest import HOST, TestCase, smtp_wire, split_stored
from replies import BAD_RECIPIENT, BAD_SENDER, QUEUED

# What is sent between MAIL FROM: or RCPT TO: and the line's end -> what is
# kept of it
GOOD = {
    "<joe@example.com>": "joe@example.com",
    " <joe@example.com>": "joe@example.com",
    "<Joe.Smith@Example.COM>": "Joe.Smith@Example.COM",
    "<a+b=c!#$%&'*/?^_`{|}~-d@example.com>":
        "a+b=c!#$%&'*/?^_`{|}~-d@example.com",
    "<joe@localhost>": "joe@localhost",
    "<joe@a-b.x--y.example>": "joe@a-b.x--y.example",
    "<joe@1.2.3.example>": "joe@1.2.3.example",
    '<"joe smith"@example.com>': '"joe smith"@example.com',
    '<"a@b"@example.com>': '"a@b"@example.com',
    r'<"q\"uote\\"@example.com>': r'"q\"uote\\"@example.com',
    '<"<>"@example.com>': '"<>"@example.com',
    "<joe@[192.0.2.1]>": "joe@[192.0.2.1]",
    "<joe@[IPv6:2001:db8::1]>": "joe@[IPv6:2001:db8::1]",
    "<joe@[IPv6:::1]>": "joe@[IPv6:::1]",
    "<joe@[IPv6:::ffff:192.0.2.1]>": "joe@[IPv6:::ffff:192.0.2.1]",
    "<@relay.example:joe@example.com>": "joe@example.com",
    "<@a.example,@b.example:joe@example.com>": "joe@example.com",
    f"<{'x' * 64}@example.com>": f"{'x' * 64}@example.com",
    # SmtpServer #219 (a machine's management board): no brackets
    "joe@b.test": "joe@b.test",
    "  joe@b.test ": "joe@b.test",
    # Papercut #183, nextcloud's root: no domain, so it is at ours
    "<root>": f"root@{HOST}",
    "root": f"root@{HOST}",
    # PHPMailer #418 (docomo): dots where RFC 5321 has none
    "<a..b@x>": "a..b@x",
    "<a.@x>": "a.@x",
    "<.a@x>": ".a@x",
    # maildev #212: names as machines have them, and the root's dot
    "<a@my_host>": "a@my_host",
    "<a@_my.host_>": "a@_my.host_",
    "<a@b.test.>": "a@b.test",
    "< a@b.test >": "a@b.test",
}

BAD = [
    "", " ", "<", ">", "Joe <joe@example.com>", "<joe@example.com",
    "joe@example.com>", "<joe@>", "<@example.com>", "<joe@@example.com>",
    "<joe smith@example.com>", "<joe@exam ple.com>", "<joe@.example.com>",
    "<joe@example..com>", "<joe@example.com..>", "<joe@[192.0.2.1].>",
    "<joe@-example.com>", "<joe@example-.com>",
    "<joe@exa_mple!.com>", '<"joe@example.com>', '<"joe"x@example.com>',
    '<x"joe"@example.com>', "<joe@[300.1.1.1]>", "<joe@[192.0.2]>",
    "<joe@[192.0.2.1>", "<joe@192.0.2.1]>", "<joe@[IPv6:zz::1]>",
    "<joe@[IPv6:1:2:3]>", "<joe@[IPv6:::1::2]>", "<joe@[]>",
    "<joe@example.com>junk", "<joe@example.com>,<ann@example.com>",
    "<joe(comment)@example.com>", "<joe,ann@example.com>",
    "<joe@example.com\t>", "<<joe@example.com>>", "<joe@example.com>>",
    "<@relay.example joe@example.com>", "<joe\x7f@example.com>",
    '<"joe\x01"@example.com>', r'<"joe\"@example.com>',
]


class Paths(TestCase):
    def test_senders(self):
        smtp = self.smtp().ready()
        for path, kept in {**GOOD, "<>": ""}.items():
            with self.subTest(path=path):
                self.mail_one(smtp, f"MAIL FROM:{path}",
                              "RCPT TO:<x@example.org>",
                              f"Return-Path: <{kept}>")

    def mail_one(self, smtp, mail, rcpt, field):
        before = set(self.stored())
        smtp.expect(mail, "250 2.1.0")
        smtp.expect(rcpt, "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(b"x\n"))), QUEUED)
        (name,) = set(self.stored()) - before
        fields, _ = split_stored(self.stored()[name])
        self.assertIn(field, " ".join(fields))
        return fields

    def test_recipients(self):
        smtp = self.smtp().ready()
        for path, kept in {**GOOD, "<postmaster>": "postmaster",
                           "<PostMaster>": "PostMaster"}.items():
            with self.subTest(path=path):
                fields = self.mail_one(smtp, "MAIL FROM:<>",
                                       f"RCPT TO:{path}", "")
                self.assertIn(f" for <{kept}>;", fields[-1])

    def refused(self, prepare, command, wanted):
        """Each on its own, but not so many to a session that it ends."""
        smtp = None
        for i, path in enumerate(BAD):
            if i % 15 == 0:
                smtp = self.smtp().ready()
                for line in prepare:
                    smtp.expect(line, "250 2.1.0")
            # A control character may be an error of the line as such
            also = "|500 5.5.2" if re.search(r"[\0-\x1f\x7f]", path) else ""
            with self.subTest(path=path):
                reply = smtp.cmd(f"{command}:{path}")
                self.assertRegex(str(reply), f"^({wanted}{also})$")

    def test_bad_senders(self):
        self.refused([], "MAIL FROM", BAD_SENDER)

    def test_bad_recipients(self):
        self.refused(["MAIL FROM:<>"], "RCPT TO", BAD_RECIPIENT)

    def test_null_recipient(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        smtp.expect("RCPT TO:<>", BAD_RECIPIENT)

    def test_other_words(self):
        smtp = self.smtp().ready()
        for command in ("MAIL", "MAIL TO:<a@example.com>", "MAIL <a@b>",
                        "MAIL FROM", "MAIL FROM <a@example.com>"):
            smtp.expect(command, BAD_SENDER)
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        for command in ("RCPT", "RCPT FROM:<a@example.com>", "RCPT TO",
                        "RCPT <a@example.com>"):
            smtp.expect(command, BAD_RECIPIENT)

    def test_parts_too_long(self):
        """More than RFC 5321 4.5.3.1 promises room for: refused or kept
        whole, but never cut."""
        smtp = self.smtp().ready()
        for address in (f"joe@{'x.' * 130}example", f"{'x' * 300}@b.test",
                        f"{'x' * 1500}@b.test"):
            with self.subTest(address=address[:20]):
                reply = smtp.cmd(f"MAIL FROM:<{address}>")
                if reply.code == 501:
                    self.assertRegex(str(reply), f"^{BAD_SENDER}$")
                    continue
                smtp.expect("RSET", "250 2.0.0")
                self.mail_one(smtp, f"MAIL FROM:<{address}>",
                              "RCPT TO:<x@example.org>",
                              f"Return-Path: <{address}>")
