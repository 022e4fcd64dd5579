"""smtp-handler: --domain, --aliases, --recipient-delimiter, --any-sender, %l
in --maildir, and what --check-config says of them.  smtp-handler(8),
Recipients; mail-handlers.conf(5), Aliases."""

import os
import pty
import re
import subprocess

from certs import certificates
from frontdoor import hash_of
from mailtest import (DEADLINE, SMTP, SmtpPeer, TestCase, clean_environment,
                      smtp_wire, split_stored)
from nexthop import AfterReply, ScriptedHop
from replies import QUEUED

TEXT = b"Subject: x\n\nbody\n"


class Domains(TestCase):
    """Users anna, bob and carl at a.test and b.test, with maildirs."""

    aliases = None
    relays = False
    script = None

    def setUp(self):
        super().setUp()
        self.base = self.path("base")
        self.base.mkdir()
        for name in ("anna", "bob", "carl"):
            self.make_maildir(self.base / name)
        self.users = self.write("users", "".join(
            f"{name}:{hash_of('secret-pw')}\n"
            for name in ("anna", "bob", "carl")))
        self.hop = None

    def options(self, *options):
        words = ["--tls", "off", "--domain", "a.test", "--domain", "B.test",
                 "--auth", f"file:{self.users}",
                 "--maildir", f"{self.base}/%u", *options]
        if self.aliases is not None:
            words += ["--aliases", self.write("aliases", self.aliases, 0o644)]
        if self.relays:
            words += ["--relay", self.write("relay", self.account())]
        return words

    def account(self):
        """The line of the hop, which begins to listen."""
        certs = certificates()
        self.hop = ScriptedHop(self, self.script,
                               tls=certs.server.server_context())
        return (f"* smtps://localhost:{self.hop.port}?ca={certs.ca.crt} "
                "user secret\n")

    def session(self, *options, login="anna"):
        smtp = self.spawn(SMTP, *self.options(*options), kind=SmtpPeer)
        smtp.hello()
        if login:
            smtp.login(login)
        return smtp

    def to(self, smtp, recipients, wanted="250 2.1.5"):
        for recipient in recipients:
            smtp.expect(f"RCPT TO:<{recipient}>", wanted)

    def send(self, smtp, *recipients, sender="anna@a.test"):
        smtp.expect(f"MAIL FROM:<{sender}>", "250 2.1.0")
        self.to(smtp, recipients)
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)

    def kept(self):
        """The recipients' lines in each maildir, which are then emptied."""
        found = {}
        for folder in sorted(self.base.iterdir()):
            for path in (folder / "new").iterdir():
                fields, text = split_stored(path.read_bytes())
                self.assertEqual(text, TEXT)
                self.assertNotIn(folder.name, found)
                found[folder.name] = fields[1:-1]
                path.unlink()
        return found

    def assert_kept(self, **wanted):
        self.assertEqual(self.kept(), {
            name: [f"Delivered-To: {to}" for to in recipients]
            for name, recipients in wanted.items()})

    def relayed(self):
        return [c[9:-1] for c in self.hop.commands if c.startswith("RCPT")]


class OurDomains(Domains):
    relays = True

    def test_a_user_has_the_mail_of_each(self):
        self.send(self.session(), "bob@a.test", "Bob@b.TEST")
        self.assert_kept(bob=["bob@a.test", "Bob@b.TEST"])

    def test_mistyped_recipients_are_not_sent_on(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["bbo@a.test", "x@B.test"], "550 5.1.1")
        self.to(smtp, ["x@c.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(self.relayed(), ["x@c.test"])
        self.assert_kept()

    def test_host_name_and_mail_domain_differ(self):
        """HOST is no domain of ours, as --domain says others."""
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["bob@mail.test"])
        self.assertEqual(self.relayed(), ["bob@mail.test"])

    def test_without_a_domain(self):
        """cron, mail(1), nextcloud's root: RFC 6409 8.1."""
        smtp = self.session()
        self.send(smtp, "bob", sender="anna")
        path, content = self.the_message(self.base / "bob")
        self.assertEqual(split_stored(content)[0][:2], [
            "Return-Path: <anna@a.test>", "Delivered-To: bob@a.test"])

    def test_named_twice(self):
        self.send(self.session(), "bob@a.test", "carl@a.test", "bob@a.test")
        self.assert_kept(bob=["bob@a.test"], carl=["carl@a.test"])

    def test_without_maildirs_the_next_hop_has_them(self):
        """In front of a mail store that is reached by LMTP."""
        smtp = self.spawn(
            SMTP, *[word for word in self.options()
                    if word not in ("--maildir", f"{self.base}/%u")],
            kind=SmtpPeer)
        smtp.hello()
        smtp.login("anna")
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["bob@a.test"])
        self.assertEqual(self.relayed(), ["bob@a.test"])


class Aliases(Domains):
    aliases = ("# ours\nsales: anna, bob,\n  carl\n"
               "Info@a.test: bob\ninfo: carl\n"
               "@b.test: anna\n"
               "twice: bob, sales, bob@a.test\n"
               "bob: bob, carl\n"
               "loop: pool\npool: loop\n"
               "gone: nobody, anna\nlost: nobody\n"
               "wrong: anna, |cat\n"
               "out: dora@else.test, bob\nback: out, eve@else.test\n")

    def test_several(self):
        self.send(self.session(), "SALES@a.test", "carl@a.test")
        self.assert_kept(anna=["SALES@a.test"], bob=["SALES@a.test"],
                         carl=["SALES@a.test", "carl@a.test"])

    def test_address_before_local_part(self):
        smtp = self.session()
        self.send(smtp, "info@a.test")
        self.assert_kept(bob=["info@a.test"], carl=["info@a.test"])
        self.send(smtp, "info@b.test")
        self.assert_kept(carl=["info@b.test"])

    def test_catch_all_comes_last(self):
        smtp = self.session()
        self.send(smtp, "anyone@b.test")
        self.assert_kept(anna=["anyone@b.test"])
        self.send(smtp, "carl@b.test")
        self.assert_kept(carl=["carl@b.test"])
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<anyone@a.test>", "550 5.1.1")

    def test_a_target_named_twice_gets_one_copy(self):
        self.send(self.session(), "twice@a.test", "bob@a.test")
        self.assert_kept(anna=["twice@a.test"],
                         bob=["twice@a.test", "bob@a.test"],
                         carl=["twice@a.test", "bob@a.test"])

    def test_loops_end(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<loop@a.test>", "550 5.1.1")
        smtp.expect("RCPT TO:<pool@a.test>", "550 5.1.1")

    def test_targets_that_are_nobody(self):
        smtp = self.session()
        self.send(smtp, "gone@a.test")
        self.assert_kept(anna=["gone@a.test"])
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<lost@a.test>", "550 5.1.1")
        smtp.quit()
        self.assertIn("an alias of gone@a.test has a target who is nobody "
                      "here", smtp.process.log())

    def test_a_wrong_line_refuses_for_now(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<wrong@a.test>", "451 4.3.5")
        self.to(smtp, ["sales@a.test"])
        smtp.quit()
        self.assertIn("aliases:13: a program cannot be a target",
                      smtp.process.log())

    def test_postmaster(self):
        smtp = self.session()
        self.send(smtp, "postmaster")
        self.assert_kept(anna=["postmaster"])       # the first user
        self.aliases += "postmaster: carl\n"
        self.send(self.session(), "postmaster", "PostMaster@a.test")
        self.assert_kept(carl=["postmaster", "PostMaster@a.test"])

    def test_elsewhere_without_a_next_hop(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<out@a.test>", "550 5.7.1")
        self.to(smtp, ["carl@a.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assert_kept(carl=["carl@a.test"])

    def test_no_file(self):
        status, _, err = self.run_to_end(*self.argv(
            SMTP, *self.options()[:-1], "/none"))
        self.assertEqual(status, 78)
        self.assertIn("/none: No such file", err)


class Elsewhere(Domains):
    aliases = Aliases.aliases
    relays = True

    def test_relayed_with_a_login(self):
        smtp = self.session()
        self.send(smtp, "back@a.test", "out@a.test", "frank@else.test")
        smtp.quit()
        self.hop.wait_ended()
        self.assertEqual(self.relayed(), [
            "eve@else.test", "dora@else.test", "frank@else.test"])
        self.assertEqual(len(self.hop.messages), 1)
        self.assert_kept(bob=["back@a.test", "out@a.test"],
                         carl=["back@a.test", "out@a.test"])

    def test_not_without(self):
        smtp = self.session("--no-auth-required", login=None)
        smtp.expect("MAIL FROM:<x@y.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<out@a.test>", "550 5.7.1")
        smtp.expect("RCPT TO:<eve@else.test>", "550 5.1.1")
        self.to(smtp, ["sales@a.test"])
        self.assertEqual(self.hop.commands, [])


class ElsewhereRefused(Domains):
    aliases = Aliases.aliases
    relays = True
    script = {"RCPT dora@else.test": "550 5.1.1 no dora"}

    def test_the_next_hops_word_is_the_recipients(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        reply = smtp.expect("RCPT TO:<out@a.test>", "550 5.1.1")
        self.assertEqual(reply.texts, ["no dora"])
        smtp.expect("DATA", "503 5.5.1")
        self.to(smtp, ["carl@a.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assert_kept(carl=["carl@a.test"])
        self.assertEqual(self.hop.messages, [])


class ElsewherePartly(Domains):
    """The hop takes some of those an alias stands for, and no more: nobody
    gets a message that the client was told is refused."""

    aliases = "two: eve@else.test, dora@else.test\n"
    relays = True

    def refused(self, reply, told, before=()):
        self.script = {"RCPT dora@else.test": reply}
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, before)
        smtp.expect("RCPT TO:<two@a.test>", told)
        return smtp

    def commands(self, smtp):
        """Those of the hop from MAIL on, at the end."""
        smtp.quit()
        self.hop.wait_ended()
        commands = [re.sub("^MAIL.*", "MAIL", c) for c in self.hop.commands]
        return commands[commands.index("MAIL"):]

    TWO = ["RCPT TO:<eve@else.test>", "RCPT TO:<dora@else.test>"]

    def test_alone(self):
        smtp = self.refused("550 5.1.1 no dora", "550 5.1.1")
        smtp.expect("DATA", "503 5.5.1")
        self.to(smtp, ["carl@a.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assert_kept(carl=["carl@a.test"])
        self.assertEqual(self.commands(smtp), ["MAIL", *self.TWO, "QUIT"])

    def test_before_another(self):
        smtp = self.refused("550 5.1.1 no dora", "550 5.1.1")
        self.to(smtp, ["x@c.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(self.commands(smtp), [
            "MAIL", *self.TWO, "RSET", "MAIL", "RCPT TO:<x@c.test>", "DATA",
            "QUIT"])

    def test_after_another(self):
        for more in ([], ["y@c.test"]):
            smtp = self.refused("550 5.1.1 no dora", "550 5.1.1",
                                ["x@c.test"])
            self.to(smtp, more)
            self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
            self.assertEqual(self.commands(smtp), [
                "MAIL", "RCPT TO:<x@c.test>", *self.TWO, "RSET", "MAIL",
                "RCPT TO:<x@c.test>", *(f"RCPT TO:<{to}>" for to in more),
                "DATA", "QUIT"])

    def test_the_hop_left_meanwhile(self):
        smtp = self.refused(AfterReply("550 5.1.1 no dora"), "550 5.1.1",
                            ["x@c.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(self.commands(smtp)[-4:], [
            "MAIL", "RCPT TO:<x@c.test>", "DATA", "QUIT"])
        self.assertEqual(len(self.hop.messages), 1)

    def test_more_than_the_hop_takes(self):
        """452 for ever: it is told so where the alias is all there is."""
        many = "452 4.5.3 too many"
        smtp = self.refused(many, "452 4.5.3", ["x@c.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        smtp = self.refused(many, "554 5.5.3")
        self.to(smtp, ["x@c.test"])
        self.refused("452 4.2.2 full", "452 4.2.2")


class ElsewhereByLmtp(Domains):
    """RFC 2033 4.2: the hop's verdicts on an alias's recipients are one to
    the client."""

    aliases = ("all: dora@else.test, eve@else.test, bob\n"
               "dora: dora@else.test\n")
    relays = True

    def account(self):
        self.hop = ScriptedHop(self, self.script, auth="")
        return f"* lmtp://localhost:{self.hop.port}\n"

    def final(self, *verdicts):
        """What the client hears of them."""
        self.script = {"final": list(verdicts)}
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["all@a.test"])
        (reply,) = smtp.text(smtp_wire(TEXT)).raw
        self.assertEqual(self.relayed(), ["dora@else.test", "eve@else.test"])
        self.assertEqual(len(self.hop.messages), 1)
        # The connection is in step.
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["x@else.test"])
        smtp.quit()
        self.assertEqual(len(self.hop.connections), 1)
        log = smtp.process.log()
        self.assertEqual("relayed: " in log,
                         any(verdict[0] == "2" for verdict in verdicts))
        return reply.decode()

    def test_both(self):
        self.assertEqual(self.final("250 2.0.0 dora", "250 2.0.0 eve"),
                         "250 2.0.0 dora")
        self.assert_kept(bob=["all@a.test"])

    def test_not_both(self):
        took, full, never = "250 2.0.0 ok", "452 4.2.2 full", "550 5.2.0 no"
        for verdicts in ((took, full), (full, took), (full, never),
                         (never, full), (full, full)):
            self.assertEqual(self.final(*verdicts), full)
        for verdicts in ((took, never), (never, took), (never, never)):
            self.assertEqual(self.final(*verdicts), never)
        self.assert_kept()

    def test_the_hop_leaves_between_them(self):
        self.script = {"final": AfterReply("250 2.0.0 dora")}
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["all@a.test"])
        self.assertEqual(smtp.text(smtp_wire(TEXT)).code, 451)
        self.assert_kept()

    def test_one_of_the_clients_recipients_at_a_time(self):
        smtp = self.session()
        for one, other in (("all@a.test", "x@else.test"),
                           ("x@else.test", "all@a.test")):
            smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
            self.to(smtp, [one])
            self.to(smtp, [other], "452 4.5.3")
            self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["all@a.test", "dora@a.test", "all@b.test"])

    def test_one_is_refused(self):
        self.script = {"RCPT eve@else.test": "550 5.1.1 no eve"}
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        self.to(smtp, ["all@a.test"], "550 5.1.1")
        self.to(smtp, ["x@else.test"])
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.assertEqual(self.relayed()[2:], ["x@else.test"])
        self.assertEqual(len(self.hop.messages), 1)


class Delimiter(Domains):
    aliases = "shop: bob\nanna+list: carl\n"

    def test_what_stands_behind(self):
        smtp = self.session("--recipient-delimiter", "+-")
        self.send(smtp, "bob+x-y@a.test", "shop-1@b.test")
        self.assert_kept(bob=["bob+x-y@a.test", "shop-1@b.test"])
        self.send(smtp, "anna+list@a.test", "anna+x@a.test")
        self.assert_kept(carl=["anna+list@a.test"], anna=["anna+x@a.test"])
        self.make_maildir(self.base / "bob+own")
        self.users.write_text(self.users.read_text()
                              + f"bob+own:{hash_of('secret-pw')}\n")
        self.send(self.session("--recipient-delimiter", "+"),
                  "bob+own@a.test")
        self.assert_kept(**{"bob+own": ["bob+own@a.test"]})

    def test_none_by_default(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<anna@a.test>", "250 2.1.0")
        smtp.expect("RCPT TO:<bob+x@a.test>", "550 5.1.1")

    def test_wrong_ones(self):
        for value in ("x", "@", "+a", '"'):
            status, _, err = self.run_to_end(*self.argv(
                SMTP, *self.options("--recipient-delimiter", value)))
            self.assertEqual(status, 64, value)
            self.assertIn("must be some of + - = _ . # ~ !", err)


class OwnSenders(Domains):
    aliases = "sales: bob, anna\n@b.test: carl\nout: x@else.test\n"

    def check(self, smtp, sender, wanted):
        smtp.expect(f"MAIL FROM:<{sender}>", wanted)
        smtp.expect("RSET", "250 2.0.0")

    def test_only_their_own(self):
        smtp = self.session("--recipient-delimiter", "+", login="Anna@a.test")
        for sender in ("anna@a.test", "ANNA@b.test", "sales@a.test",
                       "anna+x@a.test", "postmaster@a.test", "",
                       "anyone@elsewhere.test", "bob@mail.test", "anna"):
            self.check(smtp, sender, "250 2.1.0")
        for sender in ("bob@a.test", "nobody@a.test", "anyone@b.test",
                       "out@a.test", "bob", "bob+anna@a.test"):
            self.check(smtp, sender, "553 5.7.1")
        smtp.quit()
        self.assertIn("refused: peer=local sender=bob@a.test user=anna "
                      'reply="553 5.7.1', smtp.process.log())
        smtp = self.session(login="carl")
        self.check(smtp, "anyone@b.test", "250 2.1.0")      # @b.test
        self.check(smtp, "bob@b.test", "553 5.7.1")

    def test_refused_mail_begins_nothing(self):
        smtp = self.session()
        smtp.expect("MAIL FROM:<bob@a.test>", "553 5.7.1")
        smtp.expect("RCPT TO:<anna@a.test>", "503 5.5.1")

    def test_lifted(self):
        smtp = self.session("--any-sender")
        self.check(smtp, "bob@a.test", "250 2.1.0")

    def test_not_without_a_login(self):
        smtp = self.session("--no-auth-required", login=None)
        self.check(smtp, "bob@a.test", "250 2.1.0")

    def test_not_where_the_users_are_not_known(self):
        smtp = self.smtp("--domain", "a.test").ready()
        self.check(smtp, "bob@a.test", "250 2.1.0")


class ByLogin(TestCase):
    """%l: each login of a tester has a mailbox of its own."""

    def setUp(self):
        super().setUp()
        self.base = self.path("base")
        self.base.mkdir()
        self.mail = f"{self.base}/%l"

    def test_each_login_has_its_own(self):
        for login in ("Ann@x", "bob"):
            smtp = self.smtp()
            smtp.hello()
            smtp.login(login)
            smtp.message(TEXT, "a@b.test", "x@y.test", "z@y.test")
            smtp.quit()
        for name in ("ann@x", "bob"):
            fields, _ = split_stored(self.the_message(self.base / name)[1])
            self.assertEqual(fields[1:-1], ["X-Envelope-To: x@y.test",
                                            "X-Envelope-To: z@y.test"])
        pop = self.pop3().login("Bob")
        self.assertEqual(pop.stat()[0], 1)

    def test_names_that_are_no_paths(self):
        for login in ("../x", ".x", "a/b"):
            smtp = self.smtp()
            smtp.hello()
            smtp.login(login)
            smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
            smtp.expect("RCPT TO:<x@y.test>", "550 5.7.1")
        self.assertEqual(os.listdir(self.base), [])

    def test_without_a_login(self):
        smtp = self.smtp("--no-auth-required")
        smtp.hello()
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        reply = smtp.expect("RCPT TO:<x@y.test>", "550 5.7.1")
        self.assertEqual(reply.texts, ["Mail is kept for those who log in"])

    def test_with_the_recipients_name(self):
        self.mail = f"{self.base}/%l/%n"
        smtp = self.smtp("--create-maildirs")
        smtp.hello()
        smtp.login("bob")
        smtp.message(TEXT, "a@b.test", "x@y.test")
        fields, _ = split_stored(self.the_message(self.base / "bob/x")[1])
        self.assertEqual(fields[1], "Delivered-To: x@y.test")


class Check(Domains):
    """--check-config."""

    aliases = ("sales: anna, dora@else.test\n"
               "@b.test: bob\ninfo@a.test: nobody\n"
               "a@c.test: bob\nSales: bob\nx: |y\n")

    def check(self, *options):
        status, out, err = self.run_to_end(*self.argv(
            SMTP, *self.options(*options), "--check-config"))
        self.assertEqual(out, "")
        return status, [re.sub(r".*/aliases:(.*)\"", r"aliases:\1", line)
                        for line in err.splitlines()]

    def test_faults(self):
        status, lines = self.check()
        self.assertEqual(status, 78)
        self.assertEqual(lines, [
            "aliases:4: its domain is none of ours: --domain says which are",
            "aliases:6: a program cannot be a target",
            "aliases:5: the same name is on line 1, which counts",
            "aliases:3: nobody@a.test is nobody here: neither an alias nor "
            "somebody with a maildir",
            "aliases:1: dora@else.test is elsewhere, and there is no --relay "
            "to send its mail there"])
        self.aliases = "sales: anna\n"
        self.assertEqual(self.check(), (0, []))

    def at_terminal(self, *options):
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:
            done = subprocess.run(
                [str(word) for word in self.argv(
                    SMTP, *self.options(*options), "--check-config")],
                stdin=subprocess.DEVNULL, stdout=theirs,
                stderr=subprocess.PIPE, timeout=DEADLINE,
                env=clean_environment())
            os.close(theirs)
            text = b""
            try:
                while more := screen.read(65536):
                    text += more
            except OSError:     # how the end of a terminal looks
                pass
        return done.returncode, text.decode().replace("\r\n", "\n")

    def test_who_gets_what(self):
        self.relays = True
        self.aliases = ("sales: anna, dora@else.test\n@b.test: bob\n"
                        "info@a.test: sales, carl\nlost: nobody\n")
        status, text = self.at_terminal("--recipient-delimiter", "+")
        base = self.base
        aliases = self.dir / "aliases"
        self.assertEqual(text.splitlines()[:-1], [
            f"{aliases}:2: mail for any other address at b.test goes to "
            f"{base}/bob",
            f"{aliases}:3: mail for info@a.test goes to {base}/carl, "
            f"{base}/anna, dora@else.test by the next hop",
            f"{aliases}:4: mail for lost@a.test, lost@B.test is refused: no "
            "such mailbox",
            f"{aliases}:1: mail for sales@a.test, sales@B.test goes to "
            f"{base}/anna, dora@else.test by the next hop",
            f"mail for anna@a.test, anna@B.test goes to {base}/anna",
            f"mail for bob@a.test, bob@B.test goes to {base}/bob",
            f"mail for carl@a.test, carl@B.test goes to {base}/carl",
            "mail for others at a.test, B.test is refused",
            "mail for other domains is for the next hop, with a login"])
        self.assertEqual(status, 78)    # lost

    def test_one_for_all(self):
        status, text = self.at_terminal("--maildir", self.base / "all")
        self.assertIn("mail for others at a.test, B.test goes to "
                      f"{self.base}/all\nmail for other domains is kept "
                      "there too\n", text)
