"""smtp-handler --relay: accounts, verdicts, a next hop that misbehaves.
smtp-handler(8), Relaying."""

import re
import shutil
import subprocess

from mailtest import DEADLINE, HOST, SMTP, SmtpPeer, b64, smtp_wire
from nexthop import (DROP, DropAfter, RealHop, ScriptedHop, closed_port)
from relay import TEXT, Relay
from replies import QUEUED, TROUBLE


class Submission(Relay):
    def test_what_the_hop_gets(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        reply = smtp.message(TEXT, "joe@example.com", "ann@example.org",
                             "bob@example.org")
        smtp.quit()
        hop.wait_ended()
        # The final reply is the next hop's
        self.assertEqual(reply.raw, [b"250 2.0.0 hop has it"])
        (connection,) = hop.connections
        self.assertEqual(connection.logins, [("relay-user", "relay-secret")])
        self.assertRegex(connection.commands[0],
                         rf"^EHLO {re.escape(HOST)}$")
        envelope = [re.sub(" .*", "", line.partition(":")[2])
                    for line in connection.commands
                    if line.startswith(("MAIL", "RCPT"))]
        self.assertEqual(envelope, ["<joe@example.com>", "<ann@example.org>",
                                    "<bob@example.org>"])
        (message,) = connection.messages
        received, text = self.split_relayed(message)
        self.assertEqual(text, smtp_wire(TEXT))
        self.assertRegex(received, r"^Received: from client\.test .*by "
                         rf"{re.escape(HOST)}.* with ESMTPA.* id \S+; ")
        self.assertNotIn(" for ", received)
        self.assertNotIn(b"Return-Path", message)
        self.assertEqual(connection.ended, "quit")

    def test_texts(self):
        """Line ends, dots, 8 bit, nothing, long lines: unchanged."""
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        texts = [b".\r\n", b"\r\n.\r\n", b"..\r\n.\r\n",
                 b"..x\r\n...\r\n\r\n..\r\n.\r\n",
                 b"a\r\n\r\n\r\n\r\n.\r\n",
                 b"\xff\xfe\x80\xe2\x82\xac\r\n.\r\n",
                 b"x" * 100_000 + b"\r\n.\r\n",
                 b"QUIT\r\nRSET\r\n.\r\n",
                 *(b"x" * size + b"\r\n..\r\ny\r\n.\r\n"
                   for size in (4093, 4094, 4095, 8190, 16380, 16382, 65534))]
        for wire in texts:
            smtp.envelope()
            self.assertEqual(smtp.text(wire).raw, [b"250 2.0.0 hop has it"])
        for wire, message in zip(texts, hop.messages):
            with self.subTest(wire=wire[:20]):
                self.assertTrue(self.split_relayed(message)[1] == wire)
        self.assertEqual(len(hop.messages), len(texts))

    def test_real_next_hop(self):
        hop = RealHop(self, self.certs.server.server_context(),
                      {("relay-user", "relay-secret")})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org>", "250 2.1.5")
        self.assertEqual(smtp.cmd("RCPT TO:<nobody@example.org>").raw,
                         [b"550 5.1.1 no such user here"])
        self.assertEqual(smtp.text(smtp_wire(TEXT)).raw, [b"250 2.0.0 kept"])
        smtp.quit()
        ((sender, recipients, content),) = hop.messages
        self.assertEqual((sender, recipients),
                         ("joe@example.com", ["ann@example.org"]))
        self.assertEqual(self.split_relayed(content)[1],
                         TEXT.replace(b"\n", b"\r\n"))

    def test_real_next_hop_with_a_wrong_password(self):
        hop = RealHop(self, self.certs.server.server_context(),
                      {("relay-user", "another")})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org>", "451 4.7.0")
        self.assertNotIn("relay-secret", smtp.process.log())

    def test_real_client_through_it(self):
        """curl over TLS to us, we over TLS to the hop."""
        hop = self.hop()
        server = self.serve(SMTP, *self.certs.server.options(), "--auth",
                            "any", "--relay", self.account(hop))
        letter = self.write("letter", TEXT.replace(b"\n", b"\r\n"))
        subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert",
             self.certs.ca.crt, "--user", "joe:x", "--mail-from",
             "joe@example.com", "--mail-rcpt", "ann@example.org",
             "--upload-file", letter,
             f"smtps://localhost:{server.port}/client.test"],
            check=True, timeout=DEADLINE)
        (message,) = hop.messages
        received, text = self.split_relayed(message)
        self.assertEqual(text, smtp_wire(TEXT))
        self.assertIn("with ESMTPSA", received)
        self.assertIn(" for <ann@example.org>;", received)

    def test_auth_login(self):
        hop = self.hop(auth="LOGIN")
        smtp = self.relay(self.account(hop))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(hop.connections[0].logins,
                         [("relay-user", "relay-secret")])

    def test_odd_keywords(self):
        """The old form of AUTH, tabs, and far behind."""
        many = "\n".join(f"X-{n} {'x' * 60}" for n in range(100))
        for keyword in ("AUTH=PLAIN LOGIN", "AUTH\tLOGIN", "AUTH PLAIN"):
            with self.subTest(keyword=keyword):
                hop = self.hop({"EHLO": f"250 hop.test\n{many}\n{keyword}"})
                smtp = self.relay(self.account(hop))
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(hop.connections[0].logins,
                                 [("relay-user", "relay-secret")])

    def test_account_without_login(self):
        hop = self.hop()
        smtp = self.relay(self.accounts(f"* {self.url(hop)}"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(hop.connections[0].logins, [])

    def test_replies_in_pieces_and_lines(self):
        """Multi-line replies everywhere, each octet on its own."""
        hop = self.hop({
            "greeting": "220 hop.test\nESMTP\nwelcome",
            "AUTH": "235 2.7.0 welcome\n2.7.0 again",
            "MAIL": "250 2.1.0 fine\n2.1.0 really",
            "RCPT": "250 2.1.5 one\n2.1.5 two\n2.1.5 three",
            "DATA": "354 go\non",
            "final": "250 2.0.0 first\n2.0.0 last"}, bytewise=True)
        smtp = self.relay(self.account(hop))
        for _ in range(2):
            reply = smtp.message(TEXT, "joe@example.com", "a@b.test",
                                 "c@d.test")
            self.assertRegex(str(reply), QUEUED)
            self.assertIn("last", reply.text)
        self.assertEqual(len(hop.messages), 2)

    def test_one_connection_for_several_messages(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        for n in range(3):
            self.assertRegex(str(smtp.message(b"Subject: %d\n" % n)), QUEUED)
        smtp.envelope()
        smtp.expect("RSET", "250 2.0.0")
        self.assertRegex(str(smtp.message(b"Subject: last\n")), QUEUED)
        smtp.quit()
        hop.wait_ended()
        self.assertEqual(len(hop.connections), 1)
        self.assertEqual([self.split_relayed(message)[1]
                          for message in hop.messages],
                         [b"Subject: 0\r\n.\r\n", b"Subject: 1\r\n.\r\n",
                          b"Subject: 2\r\n.\r\n", b"Subject: last\r\n.\r\n"])

    def test_pipelining_client(self):
        hop = self.hop({"RCPT bad@b.test": "550 5.1.1 unknown"})
        smtp = self.relay(self.account(hop))
        smtp.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<good@b.test>\r\n"
                  "RCPT TO:<bad@b.test>\r\nDATA\r\n")
        for wanted in ("250 2.1.0", "250 2.1.5", "550 5.1.1", "354"):
            smtp.expect(None, wanted)
        smtp.send(b"x\r\n.\r\nQUIT\r\n")
        smtp.expect(None, QUEUED)
        smtp.expect(None, "221 2.0.0")

    def test_kept_here_too(self):
        """--maildir without % and --relay: both get it."""
        hop = self.hop()
        smtp = self.relay(self.account(hop), maildir=True)
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.the_message()
        self.assertEqual(len(hop.messages), 1)

    def test_no_login_no_hop(self):
        hop = self.hop()
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--relay",
                          self.account(hop), kind=SmtpPeer)
        smtp.hello()
        smtp.expect("MAIL FROM:<a@b.test>", "530 5.7.0")
        smtp.quit()
        self.assertEqual(hop.connections, [])

    def test_nothing_opened_before_the_first_recipient(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<not a path>", r"501 .*")
        smtp.expect("NOOP", "250 2.0.0")
        self.assertEqual(hop.connections, [])

    def test_memory_and_a_large_message(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop), "--max-size", "100000000")
        smtp.message(TEXT)
        before = smtp.process.peak_kib()
        line = b".23456789" * 8 + b"\n"
        text = line * (20_000_000 // len(line))
        self.assertRegex(str(smtp.message(text)), QUEUED)
        self.assertLess(smtp.process.peak_kib(), before + 1024)
        self.assertTrue(self.split_relayed(hop.messages[1])[1]
                        == smtp_wire(text))

    def test_client_gone_in_mid_message(self):
        """Not one octet of half a message is sent on."""
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(b"x" * 300_000 + b"\r\nhalf\r\n")
        smtp.end_output()
        smtp.rest()
        hop.wait_ended()
        self.assertEqual(hop.messages, [])
        self.assertNotIn("DATA", hop.commands)

    def test_refused_text_is_not_sent_on(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop), "--max-size", "2000")
        for wire, wanted in ((b"a\nb\r\n.\r\n", "550 5.6.0"),
                             (b"a\rb\r\n.\r\n", "550 5.6.0"),
                             (b"x" * 3000 + b"\r\n.\r\n", "552 5.3.4")):
            smtp.envelope()
            self.assertEqual(str(smtp.text(wire)), wanted)
        self.assertRegex(str(smtp.message(b"fine\n")), QUEUED)
        self.assertEqual(len(hop.messages), 1)


class Accounts(Relay):
    def test_chosen_by_the_sender(self):
        hops = {name: self.hop() for name in ("joe", "domain", "rest")}
        secret = self.write("pw", "from-file")
        smtp = self.relay(self.accounts(
            "# a comment, and a blank line", "",
            f"joe@example.com {self.url(hops['joe'])} a joes-secret",
            f"\texample.com \t {self.url(hops['domain'])}  b s3cret%20word ",
            f"joe@example.com {self.url(hops['rest'])} never reached",
            f"* {self.url(hops['rest'])} c file:{secret}"))
        for sender, wanted in (
                ("joe@example.com", ("joe", "a", "joes-secret")),
                ("joe@EXAMPLE.com", ("joe", "a", "joes-secret")),
                ("ann@example.com", ("domain", "b", "s3cret word")),
                ("ann@Example.Com", ("domain", "b", "s3cret word")),
                ("joe@sub.example.com", ("rest", "c", "from-file")),
                ("joe@notexample.com", ("rest", "c", "from-file")),
                ("", ("rest", "c", "from-file"))):
            with self.subTest(sender=sender):
                before = {name: len(hop.messages)
                          for name, hop in hops.items()}
                self.assertRegex(str(smtp.message(TEXT, sender)), QUEUED)
                changed = [name for name, hop in hops.items()
                           if len(hop.messages) != before[name]]
                self.assertEqual(changed, [wanted[0]])
                self.assertEqual(hops[wanted[0]].connections[-1].logins,
                                 [wanted[1:]])

    def test_no_account(self):
        hop = self.hop()
        smtp = self.relay(self.accounts(f"example.com {self.url(hop)}"))
        for sender in ("joe@elsewhere.test", "", "joe@sub.example.com"):
            smtp.expect(f"MAIL FROM:<{sender}>", "250 2.1.0")
            smtp.expect("RCPT TO:<ann@example.org>", "550 5.7.1")
            smtp.expect("RSET", "250 2.0.0")
        self.assertEqual(hop.connections, [])

    def test_secret_from_a_file_ends_at_its_line(self):
        hop = self.hop()
        secret = self.write("pw", "two words\n")
        smtp = self.relay(self.accounts(
            f"* {self.url(hop)} joe file:{secret}"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(hop.connections[0].logins, [("joe", "two words")])

    def wrong(self, accounts, *wanted, options=()):
        status, out, err = self.run_to_end(
            *self.argv(SMTP, "--tls", "off", "--auth", "any", "--relay",
                       accounts, *options))
        self.assertEqual((status, out), (78, ""), err)
        for text in wanted:
            self.assertIn(text, err)
        self.assertNotIn("hush-secret", err)
        return err

    def test_wrong_files(self):
        good = f"* {self.url(1)} joe hush-secret"
        self.wrong(self.path("gone"), str(self.path("gone")))
        for line in ("*", "* nonsense", "* http://localhost joe hush-secret",
                     "* smtps:// joe hush-secret",
                     "* smtps://localhost:99999 joe hush-secret",
                     "* smtps://localhost:x joe hush-secret",
                     "joe@ smtps://localhost joe hush-secret",
                     "* smtps://localhost joe hush-secret%zz",
                     "* smtps://localhost joe hush-secret junk junk",
                     "* smtps://localhost?nonsense=1 joe hush-secret",
                     "* smtps://localhost joe file:/nonexistent"):
            with self.subTest(line=line):
                accounts = self.accounts("# first", good, line)
                err = self.wrong(accounts)
                self.assertRegex(err, rf"{re.escape(str(accounts))}.*\b3\b")

    def test_readable_for_all(self):
        accounts = self.accounts(f"* {self.url(1)} joe hush-secret")
        accounts.chmod(0o644)
        self.wrong(accounts, str(accounts))

    def test_missing_ca_file(self):
        """Needed only where the hop is, so that other sessions do without."""
        hop = self.hop()
        smtp = self.relay(self.accounts(
            f"* smtps://localhost:{hop.port}?ca=/gone joe hush-secret"))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", TROUBLE)
        self.assertIn("/gone", smtp.process.log())
        self.assertEqual(hop.commands, [])


class Verdicts(Relay):
    """The next hop's own words reach the client, before the final 250."""

    def test_recipients(self):
        replies = {
            "a@b.test": "550 5.1.1 no such user <a@b.test>",
            "c@b.test": "450 4.2.1 greylisted, try again in 300 seconds",
            "d@b.test": "552 5.2.2 mailbox full",
            "e@b.test": "553 5.7.1 not yours",
            "f@b.test": "551 5.1.6 moved",
            "g@b.test": "452 4.2.2 disk full there",
            "h@b.test": "251 2.1.5 will forward",
        }
        hop = self.hop({f"RCPT {address}": reply
                        for address, reply in replies.items()})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        for address, reply in replies.items():
            self.assertEqual(smtp.cmd(f"RCPT TO:<{address}>").raw,
                             [reply.encode()])
        smtp.expect("RCPT TO:<ok@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(len(hop.messages), 1)

    def test_missing_enhanced_codes(self):
        hop = self.hop({"RCPT a@b.test": "550 no such user",
                        "RCPT b@b.test": "450 try later",
                        "RCPT c@b.test": "250 fine",
                        "final": "554 no thanks"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                         [b"550 5.0.0 no such user"])
        self.assertEqual(smtp.cmd("RCPT TO:<b@b.test>").raw,
                         [b"450 4.0.0 try later"])
        self.assertEqual(smtp.cmd("RCPT TO:<c@b.test>").raw,
                         [b"250 2.0.0 fine"])
        self.assertEqual(smtp.text(smtp_wire(TEXT)).raw,
                         [b"554 5.0.0 no thanks"])

    def test_many_lines(self):
        hop = self.hop({"RCPT a@b.test": "550 5.1.1 no\n5.1.1 such\n"
                        "5.1.1 user"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        reply = smtp.expect("RCPT TO:<a@b.test>", "550 5.1.1")
        self.assertEqual(" ".join(reply.text.split()), "no such user")

    def test_all_refused(self):
        hop = self.hop({"RCPT": "550 5.1.1 nobody"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<c@b.test>", "550 5.1.1")
        smtp.expect("DATA", "503 5.5.1")
        smtp.quit()
        hop.wait_ended()
        self.assertNotIn("DATA", hop.commands)

    def test_refused_sender_is_told_at_rcpt(self):
        for reply in ("550 5.7.1 not from you", "451 4.3.2 not now",
                      "552 5.3.4 too big"):
            with self.subTest(reply=reply):
                hop = self.hop({"MAIL": reply})
                smtp = self.relay(self.account(hop))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                for _ in range(2):
                    self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                                     [reply.encode()])
                smtp.expect("DATA", "503 5.5.1")
                mails = [line for line in hop.commands
                         if line.startswith("MAIL")]
                self.assertEqual(len(mails), 1)
                # In another transaction it may be taken
                smtp.expect("RSET", "250 2.0.0")
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                                 [reply.encode()])
                mails = [line for line in hop.commands
                         if line.startswith("MAIL")]
                self.assertEqual(len(mails), 2)

    def test_reset_after_a_refused_sender(self):
        """Postfix takes a SIZE it refused for that of the next message."""
        for extensions, rcpt in ((("SIZE", "PIPELINING"), ["503 5.5.1 MAIL?"]),
                                 (("SIZE",), [])):
            with self.subTest(extensions=extensions):
                hop = self.hop({"MAIL": ["552 5.3.4 too big", "250 2.1.0 ok"],
                                "RCPT": [*rcpt, "250 2.1.5 ok"]},
                               extensions=extensions)
                smtp = self.relay(self.account(hop))
                smtp.expect("MAIL FROM:<joe@example.com> SIZE=9000",
                            "250 2.1.0")
                self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                                 [b"552 5.3.4 too big"])
                smtp.expect("RSET", "250 2.0.0")
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                (connection,) = hop.connections
                self.assertEqual(
                    [line for line in connection.commands[2:]
                     if not line.startswith("RCPT")],
                    ["MAIL FROM:<joe@example.com> SIZE=9000", "RSET",
                     "MAIL FROM:<joe@example.com>", "DATA"])

    def test_refused_text(self):
        for step in ("DATA", "final"):
            for reply in ("554 5.6.0 spam", "451 4.7.1 not now",
                          "552 5.2.3 too long"):
                with self.subTest(step=step, reply=reply):
                    hop = self.hop({step: reply})
                    smtp = self.relay(self.account(hop), maildir=True)
                    self.assertEqual(smtp.message(TEXT).raw,
                                     [reply.encode()])
                    self.assert_nothing_kept()
                    # In step: the next transaction gets its own verdict
                    self.assertEqual(smtp.message(TEXT).raw,
                                     [reply.encode()])

    def test_trouble_of_ours(self):
        """What the hop means for us is not the client's fault."""
        for step in ("RCPT", "MAIL", "DATA", "final"):
            for reply in ("421 4.3.2 going down", "503 5.5.1 bad sequence",
                          "530 5.7.0 authenticate first",
                          "535 5.7.8 who are you",
                          "534 5.7.9 not by that mechanism",
                          "538 5.7.11 TLS comes first",
                          "432 4.7.12 a new password is needed",
                          "454 4.7.1 relay access denied"):
                if step == "final" and reply[0] == "4" and reply[1] != "2":
                    continue    # about the text then
                with self.subTest(step=step, reply=reply):
                    hop = self.hop({step: reply})
                    smtp = self.relay(self.account(hop))
                    smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                    verdict = smtp.cmd("RCPT TO:<a@b.test>")
                    if step in ("DATA", "final"):
                        self.assertEqual(str(verdict), "250 2.1.5")
                        verdict = smtp.text(smtp_wire(TEXT))
                    self.assertRegex(str(verdict),
                                     rf"^({TROUBLE}|451 4\.7\.0)$")
                    smtp.expect("NOOP", "250 2.0.0")

    def test_refused_login(self):
        for reply in ("535 5.7.8 wrong", "454 4.7.0 later", "534 5.7.9 weak",
                      "500 5.5.1 what"):
            with self.subTest(reply=reply):
                hop = self.hop({"AUTH": reply})
                smtp = self.relay(self.account(hop))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", "451 4.7.0")
                smtp.quit()
                self.assertNotIn("relay-secret", smtp.process.log())

    def test_hop_without_auth(self):
        """The account has a password, the hop wants none: not sent, and not
        relayed as somebody else."""
        hop = self.hop(auth="")
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", r"451 4\.[47]\.\d")

    def test_hop_with_unknown_mechanisms(self):
        hop = self.hop(auth="GSSAPI CRAM-MD5")
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", r"451 4\.[47]\.\d")

    def test_relaying_denied_to_one_of_several(self):
        """Postfix answers 454 for what it does not relay without a login;
        those whom it has accepted get their mail."""
        hop = self.hop({"RCPT b@b.test": "454 4.7.1 relay access denied"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
        smtp.expect("RCPT TO:<b@b.test>", "451 4.7.0")
        smtp.expect("RCPT TO:<c@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(len(hop.connections), 1)

    def test_larger_than_the_hop_takes(self):
        """RFC 1870: it has said so; not an octet is sent."""
        for extension, wanted in (("SIZE 2000", "552 5.3.4"),
                                  ("SIZE 0", QUEUED), ("SIZE", QUEUED),
                                  ("SIZE 4000", QUEUED)):
            with self.subTest(extension=extension):
                hop = self.hop(extensions=(extension, "8BITMIME"))
                smtp = self.relay(self.account(hop))
                # What the client says is put to the hop all the same
                smtp.expect("MAIL FROM:<a@b.test> SIZE=3000", "250 2.1.0")
                smtp.expect("RCPT TO:<c@d.test>", "250 2.1.5")
                self.assertRegex(
                    str(smtp.text(b"x" * 3000 + b"\r\n.\r\n")), wanted)
                self.assertEqual("DATA" in hop.commands,
                                 wanted == QUEUED)
                if wanted != QUEUED:
                    self.assertRegex(str(smtp.message(b"small\n")), QUEUED)
                    self.assertIn("RSET", hop.commands)

    def test_greeting_that_refuses(self):
        for reply in ("554 5.7.1 not you", "421 4.3.2 busy", "450 4.7.0 later"):
            with self.subTest(reply=reply):
                hop = self.hop({"greeting": reply})
                smtp = self.relay(self.account(hop))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", TROUBLE)

    def test_8_bit_to_a_hop_without_8bitmime(self):
        hop = self.hop(extensions=("SIZE 1000000",))
        smtp = self.relay(self.account(hop))
        self.assertEqual(str(smtp.message("\u20ac\n".encode())), "554 5.6.3")
        self.assertRegex(str(smtp.message(b"ascii\n")), QUEUED)
        self.assertEqual(len(hop.messages), 1)

    def test_parameters_where_offered(self):
        for extensions, wanted in (
                (("SIZE 1000000", "8BITMIME"), True), ((), False)):
            with self.subTest(extensions=extensions):
                hop = self.hop(extensions=extensions)
                smtp = self.relay(self.account(hop))
                smtp.expect("MAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME",
                            "250 2.1.0")
                smtp.expect("RCPT TO:<c@d.test>", "250 2.1.5")
                self.assertRegex(str(smtp.text(b"x\r\n.\r\n")), QUEUED)
                (mail,) = [line for line in hop.commands
                           if line.startswith("MAIL")]
                self.assertEqual("SIZE=" in mail, wanted, mail)
                self.assertEqual("BODY=8BITMIME" in mail, wanted, mail)

    def test_8bitmime_wherever_it_is_offered(self):
        """MAIL comes before the text, and the client may not have said what
        there is in it."""
        for said, text, wanted in (("", "\u20ac", True),
                                   (" BODY=8BITMIME", "\u20ac", True),
                                   (" BODY=7BIT", "E", False)):
            with self.subTest(said=said):
                hop = self.hop()
                smtp = self.relay(self.account(hop))
                smtp.expect(f"MAIL FROM:<a@b.test>{said}", "250 2.1.0")
                smtp.expect("RCPT TO:<c@d.test>", "250 2.1.5")
                self.assertRegex(
                    str(smtp.text(f"{text}\r\n.\r\n".encode())), QUEUED)
                (mail,) = [line for line in hop.commands
                           if line.startswith("MAIL")]
                self.assertEqual("BODY=8BITMIME" in mail, wanted, mail)


class Broken(Relay):
    """The next hop is down or dies at each step: 451 4.4.x, the client keeps
    the message, the session goes on, nothing is kept half."""

    def at_rcpt(self, smtp, trouble=TROUBLE):
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", trouble)
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")

    def test_nobody_listens(self):
        sock, port = closed_port()
        with sock:
            smtp = self.relay(self.account(port))
            self.at_rcpt(smtp)
            self.at_rcpt(smtp)
            smtp.quit()
            self.assertIn("localhost", smtp.process.log())

    def test_unknown_host(self):
        smtp = self.relay(self.accounts(
            f"* smtps://no-such-host.invalid?ca={self.certs.ca.crt} a b"))
        self.at_rcpt(smtp)

    def test_dropped_before_the_data(self):
        for step in ("connect", "greeting", "EHLO", "AUTH", "MAIL", "RCPT"):
            with self.subTest(step=step):
                hop = self.hop({step: DROP})
                # In AUTH, the connection failed and the login did
                self.at_rcpt(self.relay(self.account(hop), maildir=True),
                             rf"{TROUBLE}|451 4\.7\.0" if step == "AUTH"
                             else TROUBLE)
                self.assert_nothing_kept()

    def test_dropped_in_the_data(self):
        for step, value in (("DATA", DROP), ("text", DropAfter(0)),
                            ("text", DropAfter(1000)), ("final", DROP)):
            with self.subTest(step=step, value=value):
                hop = self.hop({step: value})
                smtp = self.relay(self.account(hop), maildir=True)
                reply = smtp.message(b"x" * 70 + b"\n" + b"y\n" * 100_000)
                self.assertRegex(str(reply), "^451 4.4.2$" if step == "final"
                                 else f"^{TROUBLE}$")
                self.assert_nothing_kept()
                smtp.expect("NOOP", "250 2.0.0")

    def test_connection_is_opened_anew(self):
        """Dropped while idle between two messages, or once only."""
        hop = self.hop({"RCPT": [DROP, "250 2.1.5 fine"]})
        smtp = self.relay(self.account(hop))
        self.at_rcpt(smtp)
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(len(hop.connections), 2)

    def test_second_recipient_dropped(self):
        """The first was accepted by a connection that is gone: no 250 for a
        message that only some would get."""
        hop = self.hop({"RCPT b@b.test": DROP})
        smtp = self.relay(self.account(hop), maildir=True)
        smtp.envelope("joe@example.com", "a@b.test")
        smtp.expect("RCPT TO:<b@b.test>", TROUBLE)
        # At once: nobody has to send a text that nobody takes
        smtp.expect("DATA", "451 4.4.2")
        smtp.expect("RSET", "250 2.0.0")
        smtp.envelope("joe@example.com", "a@b.test")
        smtp.expect("RCPT TO:<b@b.test>", TROUBLE)
        smtp.send(b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\n")
        smtp.expect(None, "451 4.4.2")
        smtp.expect(None, "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")
        self.assertEqual(hop.messages, [])
        self.assert_nothing_kept()
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)

    def test_nonsense(self):
        for step in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "final"):
            for reply in ("999 what", "2x0 x", "25", "", "x" * 5000):
                with self.subTest(step=step, reply=reply[:20]):
                    hop = self.hop({step: reply})
                    smtp = self.relay(self.account(hop))
                    smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                    verdict = smtp.cmd("RCPT TO:<a@b.test>")
                    if step in ("DATA", "final"):
                        self.assertEqual(str(verdict), "250 2.1.5")
                        verdict = smtp.text(smtp_wire(TEXT))
                    self.assertRegex(str(verdict), f"^{TROUBLE}$")

    def test_wrong_codes_are_no_success(self):
        for step, reply in (("RCPT", "354 go on"), ("DATA", "250 2.0.0 kept"),
                            ("final", "354 more"), ("MAIL", "334 x")):
            with self.subTest(step=step):
                hop = self.hop({step: reply})
                smtp = self.relay(self.account(hop), maildir=True)
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                verdict = smtp.cmd("RCPT TO:<a@b.test>")
                if step in ("DATA", "final"):
                    verdict = smtp.text(smtp_wire(TEXT))
                self.assertRegex(str(verdict), f"^{TROUBLE}$")
                self.assert_nothing_kept()

    def test_reply_before_its_time(self):
        """A 250 that came before the text was sent speaks of nothing."""
        hop = self.hop({"DATA": b"354 go on\r\n250 2.0.0 kept already\r\n",
                        "final": "554 5.6.0 but no"})
        smtp = self.relay(self.account(hop), maildir=True)
        reply = smtp.message(TEXT + b"x" * 1_000_000)
        self.assertRegex(str(reply), f"^({TROUBLE}|554 5.6.0)$")
        self.assert_nothing_kept()

    def test_one_reply_too_many(self):
        """Replies and commands are out of step from there on."""
        hop = self.hop({"RCPT a@b.test": b"250 2.1.5 a\r\n250 2.1.5 b\r\n",
                        "RCPT b@b.test": "550 5.1.1 no"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", f"250 2.1.5|{TROUBLE}")
        smtp.expect("RCPT TO:<b@b.test>", f"550 5.1.1|{TROUBLE}")

    def test_endless_reply(self):
        """A hop that never stops talking holds no memory and is dropped."""
        hop = self.hop({"RCPT": "550 " + "\n".join(["x" * 70] * 300_000)})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.cmd("NOOP")
        before = smtp.process.peak_kib()
        reply = smtp.cmd("RCPT TO:<a@b.test>")
        self.assertEqual(str(reply), "451 4.4.2")
        # OpenSSL's client side is loaded meanwhile
        self.assertLess(smtp.process.peak_kib(), before + 12_000)
        self.assertLess(sum(map(len, reply.raw)), 100_000)

    def test_reply_injection(self):
        """Control characters of the hop's do not reach the client raw."""
        hop = self.hop({"RCPT": "550 5.1.1 no\x1b[2J\r250 2.1.5 yes\0"})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        self.assertEqual(smtp.cmd("RCPT TO:<a@b.test>").raw,
                         [b"550 5.1.1 no [2J 250 2.1.5 yes "])


class Verified(Relay):
    """The hop's certificate and name are checked before any secret is
    sent."""

    def refused(self, hop, accounts):
        smtp = self.relay(accounts, maildir=True)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", TROUBLE)
        smtp.expect("DATA", "503 5.5.1")
        smtp.quit()
        hop.wait_ended()
        self.assertEqual(hop.commands, [])
        self.assert_nothing_kept()
        self.assertRegex(smtp.process.log(), "(?i)certificate|verif|name")

    def test_certificates(self):
        for name in ("expired", "wrong_name", "stranger"):
            with self.subTest(certificate=name):
                hop = self.hop(pair=getattr(self.certs, name))
                self.refused(hop, self.account(hop))

    def test_private_ca_unknown_to_the_system(self):
        hop = self.hop()
        self.refused(hop, self.accounts(
            f"* smtps://localhost:{hop.port} relay-user relay-secret"))

    def test_system_cas(self):
        """In a hashed directory, or in a bundle alone."""
        self.need_root("put a CA into the system")
        for kind in ("hashed", "bundle"):
            with self.subTest(kind=kind):
                folder = self.path(kind)
                folder.mkdir(mode=0o755)
                shutil.copy(self.certs.ca.crt, folder / "ca-certificates.crt")
                if kind == "hashed":
                    shutil.copy(self.certs.ca.crt, folder / "ca.pem")
                    (folder / "ca-certificates.crt").write_text("")
                    subprocess.run(["openssl", "rehash", folder], check=True)
                hop = self.hop()
                smtp = self.relay(
                    self.accounts(f"* smtps://localhost:{hop.port} a b"),
                    wrap=("unshare", "-m", "sh", "-c", "mount --bind "
                          f"{folder} /etc/ssl/certs && exec \"$@\"", "sh"))
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                smtp.quit()

    def test_name_of_the_url_counts(self):
        # 127.0.0.2 is not in the certificate, 127.0.0.1 is
        hop = self.hop(address="127.0.0.2")
        self.refused(hop, self.accounts(
            f"* {self.url(hop, '127.0.0.2')} relay-user relay-secret"))

    def test_address_in_the_certificate(self):
        hop = self.hop()
        smtp = self.relay(self.accounts(
            f"* {self.url(hop, '127.0.0.1')} a b"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)

    def test_verification_switched_off(self):
        hop = self.hop(pair=self.certs.stranger)
        smtp = self.relay(self.accounts(
            f"* smtps://localhost:{hop.port}?verify=no a b"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)

    def test_hop_without_tls(self):
        hop = ScriptedHop(self)     # greets in clear text
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", TROUBLE)
        smtp.quit()
        hop.wait_ended()
        for line in hop.commands:
            self.assertNotIn("AUTH", line)

    def test_secrets_stay_out_of_the_log(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop), "--log-level", "debug",
                          "--transcript")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        smtp.process.wait()
        log = smtp.process.log()
        for secret in ("relay-secret", b64("relay-secret"),
                       b64("\0relay-user\0relay-secret")):
            self.assertNotIn(secret, log)
        self.assertIn("localhost", log)

    def test_hop_that_echoes_secrets(self):
        """As servers do that quote what they did not understand."""
        response = b64("\0relay-user\0relay-secret")
        for reply in (f"501 5.5.4 what is AUTH PLAIN {response}?",
                      "535 5.7.8 no login with relay-secret"):
            with self.subTest(reply=reply):
                hop = self.hop({"AUTH": reply})
                smtp = self.relay(self.account(hop), "--log-level", "debug",
                                  "--transcript")
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                self.assertNotIn("secret", repr(
                    smtp.expect("RCPT TO:<a@b.test>", "451 4.7.0")))
                smtp.quit()
                smtp.process.wait()
                self.assertNotIn(response, smtp.process.log())
                self.assertNotIn("relay-secret", smtp.process.log())
