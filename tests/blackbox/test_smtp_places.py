"""smtp-handler: where the mail of each recipient goes: maildirs by pattern,
users' own, postmaster, the relay; many recipients, all or none.
smtp-handler(8), Recipients."""

import os
import pathlib
import re

import model
from certs import certificates
from frontdoor import hash_of
from mailtest import SMTP, SmtpPeer, TestCase, smtp_wire, split_stored
from nexthop import ScriptedHop
from replies import QUEUED

TEXT = b"Subject: x\n\n.dot\nbody\n"


class Places(TestCase):
    def setUp(self):
        super().setUp()
        self.base = self.path("base")
        self.base.mkdir()

    def per_recipient(self, *options, pattern="%u", **kwargs):
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                          f"{self.base}/{pattern}", *options, kind=SmtpPeer,
                          **kwargs)
        return smtp.ready()

    def users(self, *lines):
        return self.write("users", "".join(
            line.replace("HASH", hash_of("secret-pw")) + "\n"
            for line in lines))

    def with_users(self, users, *options, login="joe"):
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", f"file:{users}",
                          *options, kind=SmtpPeer)
        smtp.hello()
        smtp.login(login)
        return smtp

    def fields(self, folder):
        """Header fields above the text, of the one message."""
        path, content = self.the_message(folder)
        fields, text = split_stored(content)
        self.assertEqual(text, TEXT)
        self.assertTrue(path.name.endswith(
            f",S={len(content)},W={model.octets(content)}"), path.name)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        return fields

    def everything(self):
        return sorted(str(path.relative_to(self.base))
                      for path in self.base.rglob("*"))


class ByPattern(Places):
    def test_each_has_its_own(self):
        for name in ("ann@example.org", "bob@example.org"):
            self.make_maildir(self.base / name)
        smtp = self.per_recipient()
        reply = smtp.message(TEXT, "joe@example.com", "ann@example.org",
                             "BOB@Example.org", "Ann@example.ORG")
        self.assertRegex(str(reply), QUEUED)
        smtp.quit()
        ann = self.fields(self.base / "ann@example.org")
        bob = self.fields(self.base / "bob@example.org")
        self.assertEqual(ann[:3], [
            "Return-Path: <joe@example.com>", "Delivered-To: ann@example.org",
            "Delivered-To: Ann@example.ORG"])
        self.assertEqual(bob[:2], [
            "Return-Path: <joe@example.com>",
            "Delivered-To: BOB@Example.org"])
        self.assertEqual(ann[-1], bob[-1])      # one Received line
        self.assertNotIn(" for ", ann[-1])
        for name in ("ann@example.org", "bob@example.org"):
            self.assertEqual(
                list((self.base / name / "tmp").iterdir()), [])

    def test_parts_of_the_address(self):
        self.make_maildir(self.base / "example.org" / "ann")
        smtp = self.per_recipient(pattern="%d/%n")
        smtp.message(TEXT, "joe@example.com", "Ann@Example.ORG")
        self.assertIn("for <Ann@Example.ORG>",
                      self.fields(self.base / "example.org" / "ann")[-1])

    def test_quoted_local_parts_are_the_same_name(self):
        self.make_maildir(self.base / "ann@example.org")
        smtp = self.per_recipient()
        smtp.message(TEXT, "", r'"a\nn"@example.org')
        fields = self.fields(self.base / "ann@example.org")
        self.assertEqual(fields[1], r'Delivered-To: "a\nn"@example.org')

    def test_unknown(self):
        self.make_maildir(self.base / "ann@example.org")
        smtp = self.per_recipient()
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<bob@example.org>", "550 5.1.1")
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RCPT TO:<ann@example.org>", "250 2.1.5")
        smtp.expect("RCPT TO:<eve@example.org>", "550 5.1.1")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.fields(self.base / "ann@example.org")
        self.assertEqual(os.listdir(self.base), ["ann@example.org"])

    def test_names_that_are_no_paths(self):
        """Nothing that a peer writes leads out of the place for maildirs."""
        self.make_maildir(self.dir / "outside")
        for pattern in ("%u", "%d/%n", "%n"):
            smtp = self.per_recipient("--create-maildirs", pattern=pattern)
            smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
            for address in ('"../outside"', '"../../outside"', '"a/b"',
                            '".."', '"."', '".hidden"', '"a/../../outside"',
                            "a/../b", "..", ".", ".hidden", "x" * 300,
                            '"\\/etc"'):
                smtp.expect(f"RCPT TO:<{address}@example.org>", "550 5.1.1")
            if "%d" in pattern:
                smtp.expect("RCPT TO:<a@[192.0.2.1]>", "250 2.1.5")
        self.assertEqual(self.everything(), [])
        self.assertEqual(self.stored(self.dir / "outside"), {})

    def test_made_on_first_delivery(self):
        smtp = self.per_recipient("--create-maildirs", pattern="%d/%n")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<Ann@example.org>", "250 2.1.5")
        self.assertEqual(self.everything(), [])     # not by asking
        smtp.expect("RCPT TO:<bob@example.com>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        for name in ("example.org/ann", "example.com/bob"):
            self.fields(self.base / name)
            for part in ("", "cur", "new", "tmp"):
                self.assertEqual(
                    (self.base / name / part).stat().st_mode & 0o777, 0o700)

    def test_place_for_them_must_be_there(self):
        smtp = self.per_recipient("--create-maildirs",
                                  pattern="missing/%u")
        smtp.envelope()
        smtp.expect("DATA", "451 4.3.0")
        self.assertEqual(self.everything(), [])

    def test_file_in_its_place(self):
        (self.base / "ann@example.org").write_text("not a folder")
        smtp = self.per_recipient()
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org>", "550 5.1.1")

    def test_vanished_between_rcpt_and_data(self):
        for n in range(3):
            self.make_maildir(self.base / f"{n}@b.test")
        smtp = self.per_recipient()
        smtp.envelope("a@b.test", "0@b.test", "1@b.test", "2@b.test")
        for part in ("cur", "new", "tmp", ""):
            (self.base / "1@b.test" / part).rmdir()
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "451 4.3.0")
        self.assert_nothing_kept(self.base)
        self.assertFalse((self.base / "1@b.test").exists())

    def test_300_maildirs(self):
        """More than a process may have descriptors for at once."""
        names = [f"user-{n}@b.test" for n in range(300)]
        smtp = self.per_recipient(
            "--create-maildirs",
            wrap=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"])
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0")
        smtp.send("".join(f"RCPT TO:<{name}>\r\n" for name in names))
        for _ in names:
            smtp.expect(None, "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        for name in names:
            self.assertEqual(self.fields(self.base / name)[1],
                             f"Delivered-To: {name}")

    def test_pop3_serves_each_its_own(self):
        smtp = self.per_recipient("--create-maildirs")
        smtp.message(TEXT, "joe@example.com", "ann@example.org",
                     "bob@example.org")
        for name in ("ann@example.org", "bob@example.org"):
            self.mail = f"{self.base}/%u"
            pop = self.pop3().login(name)
            self.assertEqual(pop.stat()[0], 1)
            _, wire = pop.retr(1)
            self.assertIn(f"\r\nDelivered-To: {name}\r\n".encode(), wire)


class Users(Places):
    def test_own_maildirs(self):
        own = self.make_maildir(self.base / "anns")
        self.make_maildir(self.base / "bob@b.test")
        users = self.users("joe:HASH", f"ann@b.test:HASH:{own}",
                           "bob@b.test:HASH")
        smtp = self.with_users(users, "--maildir", f"{self.base}/%u")
        smtp.message(TEXT, "joe@b.test", "ann@b.test", "bob@b.test")
        self.assertEqual(self.fields(own)[1], "Delivered-To: ann@b.test")
        self.fields(self.base / "bob@b.test")

    def test_without_any_pattern(self):
        own = self.base / "anns"
        users = self.users("joe:HASH", f"ann@b.test:HASH:{own}")
        smtp = self.with_users(users, "--create-maildirs")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<joe@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<ANN@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.fields(own)

    def test_no_maildir_at_all(self):
        users = self.users("joe:HASH")
        status, out, err = self.run_to_end(*self.argv(
            SMTP, "--tls", "off", "--auth", f"file:{users}"))
        self.assertEqual((status, out), (78, ""))
        self.assertIn("--maildir", err)

    def test_by_login_name_at_our_host(self):
        """Who logs in as joe is joe@HOSTNAME."""
        self.make_maildir(self.base / "joe")
        smtp = self.with_users(self.users("joe:HASH"), "--maildir",
                               f"{self.base}/%u")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<joe@elsewhere.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<Joe@MAIL.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.fields(self.base / "joe")

    def test_only_users_get_new_maildirs(self):
        smtp = self.with_users(
            self.users("joe@b.test:HASH", "ann@b.test:HASH"),
            "--maildir", f"{self.base}/%u", "--create-maildirs",
            login="joe@b.test")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<eve@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<ann@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(os.listdir(self.base), ["ann@b.test"])

    def test_own_beside_one_for_all(self):
        own = self.make_maildir(self.base / "anns")
        users = self.users("joe:HASH", f"ann@b.test:HASH:{own}")
        smtp = self.with_users(users, "--maildir", self.base / "all")
        smtp.message(TEXT, "", "ann@b.test", "x@y.test", "z@y.test")
        self.assertEqual(self.fields(own)[1], "Delivered-To: ann@b.test")
        self.assertEqual(self.fields(self.base / "all")[1:-1], [
            "X-Envelope-To: x@y.test", "X-Envelope-To: z@y.test"])

    def test_own_that_is_not_there(self):
        """It is in place of the one for all: nobody else gets that mail."""
        own = self.base / "anns"
        users = self.users("joe:HASH", f"ann@b.test:HASH:{own}")
        options = ("--maildir", self.base / "all")
        smtp = self.with_users(users, *options)
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@b.test>", "550 5.1.1")
        smtp.quit()
        smtp = self.with_users(users, *options, "--create-maildirs")
        smtp.message(TEXT, "a@b.test", "ann@b.test")
        self.assertEqual(self.fields(own)[1], "Delivered-To: ann@b.test")
        self.assertEqual(os.listdir(self.base), ["anns"])

    def test_names_too_long_for_a_folder(self):
        """For good: no delivery will ever make them shorter."""
        smtp = self.per_recipient("--create-maildirs", pattern="m-%u")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect(f"RCPT TO:<{'l' * 252}@b>", "550 5.1.1")
        smtp.expect(f"RCPT TO:<{'l' * 250}@b>", "250 2.1.5")

    def test_terminal_controls_in_names(self):
        """As UTF-8 they come through where octets do not."""
        smtp = self.per_recipient("--create-maildirs")
        smtp.expect("MAIL FROM:<a@b.test> SMTPUTF8", "250 2.1.0")
        smtp.expect("RCPT TO:<a\x85\x9b31mb@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<a\xa1\u0142@b.test>", "250 2.1.5")


class Postmaster(Places):
    def accepted(self, smtp, address="postmaster"):
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        smtp.expect(f"RCPT TO:<{address}>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)

    def test_has_a_maildir(self):
        self.make_maildir(self.base / "postmaster")
        self.make_maildir(self.base / "joe")
        smtp = self.with_users(self.users("joe:HASH"), "--maildir",
                               f"{self.base}/%n")
        self.accepted(smtp, "PostMaster")
        self.assertEqual(self.fields(self.base / "postmaster")[1],
                         "Delivered-To: PostMaster")

    def test_goes_to_the_first_user(self):
        for name in ("joe", "ann"):
            self.make_maildir(self.base / name)
        smtp = self.with_users(self.users("# first", "joe:HASH", "ann:HASH"),
                               "--maildir", f"{self.base}/%n")
        self.accepted(smtp)
        self.accepted(smtp, "postmaster@mail.test")
        self.assertEqual(len(self.stored(self.base / "joe")), 2)
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        smtp.expect("RCPT TO:<postmaster@elsewhere.test>", "550 5.1.1")

    def test_is_made(self):
        smtp = self.per_recipient("--create-maildirs")
        self.accepted(smtp)
        self.fields(self.base / "postmaster")


class BesideARelay(Places):
    def hop_and_smtp(self, *options, auth=True):
        certs = certificates()
        hop = ScriptedHop(self, self.script,
                          tls=certs.server.server_context())
        relay = self.write("relay", f"* smtps://localhost:{hop.port}"
                           f"?ca={certs.ca.crt} user secret\n")
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                          f"{self.base}/%u", "--relay", relay, *options,
                          kind=SmtpPeer)
        smtp.hello()
        if auth:
            smtp.login()
        return hop, smtp

    script = None

    def test_who_has_a_maildir_is_not_relayed(self):
        self.make_maildir(self.base / "ann@b.test")
        hop, smtp = self.hop_and_smtp()
        smtp.message(TEXT, "joe@b.test", "ann@b.test", "bob@b.test")
        smtp.quit()
        hop.wait_ended()
        self.assertEqual([c for c in hop.commands if c.startswith("RCPT")],
                         ["RCPT TO:<bob@b.test>"])
        fields = self.fields(self.base / "ann@b.test")
        self.assertEqual(fields[1], "Delivered-To: ann@b.test")
        (message,) = hop.messages
        self.assertTrue(message.startswith(b"Received: "))
        self.assertNotIn(b"Delivered-To", message)
        self.assertNotIn(b"ann@b.test", message)
        self.assertTrue(message.endswith(
            b"\r\nSubject: x\r\n\r\n..dot\r\nbody\r\n.\r\n"))

    def test_all_local_opens_no_hop(self):
        self.make_maildir(self.base / "ann@b.test")
        hop, smtp = self.hop_and_smtp()
        self.assertRegex(str(smtp.message(TEXT, "joe@b.test",
                                          "ann@b.test")), QUEUED)
        self.assertEqual(hop.connections, [])

    def test_no_login_no_relay(self):
        self.make_maildir(self.base / "ann@b.test")
        hop, smtp = self.hop_and_smtp("--no-auth-required", auth=False)
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<bob@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<ann@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(hop.connections, [])

    def test_hop_refuses_the_text(self):
        """All or none."""
        self.make_maildir(self.base / "ann@b.test")
        self.script = {"final": "554 5.7.1 no"}
        hop, smtp = self.hop_and_smtp()
        reply = smtp.message(TEXT, "joe@b.test", "ann@b.test", "bob@b.test")
        self.assertEqual(str(reply), "554 5.7.1")
        self.assert_nothing_kept(self.base)

    def test_transaction_there_does_not_outlive_ours(self):
        """The hop refuses its only recipient, and ours are kept: what it
        was told of the sender must not stand for the next message."""
        self.make_maildir(self.base / "ann@b.test")
        self.script = {"RCPT no@b.test": "550 5.1.1 no"}
        hop, smtp = self.hop_and_smtp()
        smtp.expect("MAIL FROM:<first@b.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<no@b.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<ann@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertRegex(str(smtp.message(TEXT, "second@b.test",
                                          "bob@b.test")), QUEUED)
        smtp.quit()
        hop.wait_ended()
        commands = [c.removesuffix(" BODY=8BITMIME") for c in hop.commands
                    if re.match("MAIL|RCPT|RSET|DATA", c)]
        self.assertEqual(commands, [
            "MAIL FROM:<first@b.test>", "RCPT TO:<no@b.test>", "RSET",
            "MAIL FROM:<second@b.test>", "RCPT TO:<bob@b.test>", "DATA"])


class CheckConfig(Places):
    def check(self, *options, status=0):
        got, out, err = self.run_to_end(*self.argv(
            SMTP, "--tls", "off", "--auth", "any", "--check-config",
            *options))
        self.assertEqual((got, out), (status, ""), err)
        return err

    def test_patterns(self):
        self.check("--maildir", f"{self.base}/%u")
        self.check("--maildir", f"{self.base}/%d/%n", "--create-maildirs")
        err = self.check("--maildir", f"{self.base}/no/%u", status=78)
        self.assertIn(f"{self.base}/no", err)
        self.assertEqual(self.everything(), [])
        pathlib.Path(self.base).rmdir()
