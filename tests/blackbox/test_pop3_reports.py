"""pop3-handler: what other people's reports are about, tried here; each case
has the name of the report it comes from."""

import os
import pathlib

from frontdoor import (BOTH, RIGHT, WRONG, FrontDoor, hash_of, login_reply,
                       offers, send_login, try_login)
from mailtest import (NOBODY, POP3, SMTP, Pop3Peer, SmtpPeer, TestCase, b64,
                      plain, tree, wait_for)

PASSWORD = "Tr0ub4dor-hush"
TEXT = b"Subject: x\n\nbody\n"


class Logins(FrontDoor):
    """docker-mailserver 174, hestiacp 2060: USER Anna for anna.  Thunderbird
    and others propose the whole address."""

    def setUp(self):
        super().setUp()
        self.hash = hash_of(PASSWORD)

    def logins(self, names, *options, users=("anna",), verdict=RIGHT):
        """Each of these names, at both programs."""
        file = self.users(*(f"anna:{self.hash}" if line == "anna" else line
                            for line in users))
        sessions = []
        for program in BOTH:
            for name in names:
                peer = self.door(program, "--tls", "off", "--auth",
                                 f"file:{file}", *options)
                offers(peer)
                send_login(peer, name, PASSWORD)
                sessions.append((program, name, peer))
        for program, name, peer in sessions:
            with self.subTest(program=program.name, name=name):
                self.assertEqual(login_reply(peer), verdict[program])
        return [peer for _, _, peer in sessions]

    def test_hestiacp_2060_docker_mailserver_174(self):
        self.logins(["anna", "Anna", "ANNA"])
        self.logins(["joe@EXAMPLE.com"], users=[f"Joe@Example.COM:{self.hash}"])
        self.logins(["ann", "annaa"], verdict=WRONG)

    def test_thunderbird_proposes_the_address(self):
        self.logins(["anna@mail.test", "Anna@Mail.Test"])
        self.logins(["anna@example.org", "anna@example.com"],
                    "--domain", "example.com", "--domain", "Example.ORG")
        self.logins(["anna@mail.test"], "--domain", "example.com",
                    verdict=WRONG)
        self.logins(["anna@example.com", "anna@", "@mail.test",
                     "anna@mail.test.", "anna@x@mail.test"], verdict=WRONG)

    def test_as_written_comes_first(self):
        """A user of that very name, and not one who is called almost so."""
        users = [f"joe:{hash_of('other')}", f"Joe:{hash_of('third')}",
                 f"JOE:{self.hash}", f"joe@mail.test:{self.hash}"]
        self.logins(["JOE", "joe@mail.test"], users=users)
        self.logins(["joe", "Joe", "jOe"], users=users, verdict=WRONG)

    def test_maildrop_is_the_users(self):
        """However the name was written, as mail for it is."""
        self.mail.joinpath("new").rmdir()
        users = self.users(f"anna:{self.hash}")
        options = ("--tls", "off", "--domain", "example.com", "--auth",
                   f"file:{users}", "--maildir", f"{self.mail}/%u")
        smtp = self.spawn(SMTP, *options, "--create-maildirs",
                          kind=SmtpPeer)
        smtp.hello()
        smtp.login("Anna@example.com", PASSWORD)
        smtp.message(TEXT, "", "ANNA@Example.com")
        for name in ("anna", "ANNA", "Anna@Example.com"):
            pop = self.spawn(POP3, *options, kind=Pop3Peer)
            pop.login(name, PASSWORD)
            self.assertEqual(pop.stat()[0], 1, name)
            pop.quit()
        self.assertEqual(len(self.stored(self.mail / "anna")), 1)

    def test_who_cannot_log_in(self):
        """But has mail."""
        self.logins(["off", "gone"], verdict=WRONG, users=[
            "off:*", f"gone:!{self.hash}", "anna"])
        self.logins(["off"], verdict=WRONG, users=["off:*"])

    def test_one_bad_line_locks_out_one(self):
        bad = ["typo", "half:", "clear:secret", "dir:" + self.hash + ":mail"]
        for peer in self.logins(["anna"], users=[*bad, "anna"]):
            peer.quit()
            for number, line in enumerate(bad, 1):
                self.assertRegex(peer.process.log(), rf"users:{number}: ")
            self.assertNotIn("secret", peer.process.log())
        self.logins(["half", "clear", "dir"], verdict=WRONG,
                    users=[*bad, "anna"])

    def check_config(self, users, *options):
        file = self.users(*users)
        for program in BOTH:
            yield self.run_to_end(program, *self.argv(
                program, "--tls", "off", "--auth", f"file:{file}",
                "--maildir", self.mail, *options, "--check-config")[1:])

    def test_check_config_tells_every_bad_line(self):
        users = ["typo", f"anna:{self.hash}", "clear:secret"]
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 78)
            self.assertIn("users:1: a user is NAME:HASH[:MAILDIR]", err)
            self.assertIn("users:3: the hash is none that crypt(3) knows",
                          err)
            self.assertNotIn("users:2", err)
            self.assertNotIn("secret", err)

    def test_name_twice(self):
        """The first counts, and --check-config names both lines."""
        users = [f"anna:{self.hash}", "#", f"anna:{hash_of('second')}"]
        self.logins(["anna"], users=users)
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 78)
            self.assertIn("users:3: the same name is on line 1, which "
                          "counts", err)

    def test_two_users_for_one_maildir(self):
        """Names in lower case are the same: the second does not get in."""
        users = [f"Anna:{self.hash}", f"anna:{self.hash}"]
        pattern = ("--maildir", f"{self.mail}/%u")
        for status, _, err in self.check_config(users, *pattern):
            self.assertEqual(status, 78)
            self.assertRegex(err, "users:2: .* line 1, which counts")
        self.make_maildir(self.mail / "anna")
        for name, verdict in (("Anna", "+OK"), ("ANNA", "+OK"),
                              ("anna", "-ERR [SYS/PERM]")):
            pop = self.spawn(POP3, "--tls", "off", *pattern, "--auth",
                             f"file:{self.path('users')}", kind=Pop3Peer)
            offers(pop)
            self.assertEqual(try_login(pop, name, PASSWORD), verdict, name)
        # Where each has one, or all have the same, that is as it should be
        users = [f"Anna:{self.hash}", f"anna:{self.hash}:{self.mail}"]
        for status, _, err in self.check_config(users, *pattern):
            self.assertEqual(status, 0, err)
        users = [f"Anna:{self.hash}", f"anna:{self.hash}"]
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 0, err)


class WhatIsMail(TestCase):
    """Mailu 143, docker-mailserver 508, sovereign 606: a client that fetches
    and deletes removed files that are no mail."""

    OTHERS = ("sieve/rules.sieve", ".dovecot.sieve", ".git/HEAD", ".git/x/y",
              "xapian-indexes/db", "mbox", ".Sent", "Mail/inbox",
              "dovecot-uidlist", "notes.txt", "tmp/1.delivery")

    def setUp(self):
        super().setUp()
        self.make_maildir()
        for name in self.OTHERS:
            self.put(name, TEXT)
        self.put("new/1", TEXT)
        self.put("cur/2:2,S", TEXT)
        self.put(".Archive/cur/3:2,S", TEXT)
        self.put("lists/ml/new/4", TEXT)

    def uids(self, *options, **kwargs):
        return sorted(self.pop3(*options, **kwargs).login()
                      .listing("UIDL").values())

    def test_mailu_143_docker_mailserver_508_sovereign_606(self):
        self.assertEqual(self.uids(), ["1", "2", "3/.Archive", "4/lists/ml"])
        self.assertEqual(self.uids("--scan", "inbox"), ["1", "2"])

    def test_fetch_and_delete_leaves_other_files(self):
        for scan, left in (("inbox", 2), ("all", 0)):
            pop = self.pop3("--scan", scan, "--allow-delete").login()
            for n in pop.listing("UIDL"):
                pop.expect(f"DELE {n}", r"\+OK")
            pop.quit()
            kept = [name for name in tree(self.mail)
                    if (self.mail / name).is_file()]
            self.assertEqual(len(kept), len(self.OTHERS) + left)
            for name in self.OTHERS:
                self.assertEqual((self.mail / name).read_bytes(), TEXT)

    def test_files_of_a_plain_folder_stay(self):
        plain = self.path("plain")
        for name in ("a.eml", "sub/b.eml"):
            self.put(name, TEXT, base=plain)
        self.put("box/new/c", TEXT, base=plain)
        before = tree(plain)
        pop = self.pop3("--maildir", plain, "--allow-delete").login()
        uids = pop.listing("UIDL")
        self.assertEqual(sorted(uids.values()),
                         ["a.eml", "b.eml/sub", "c/box"])
        for n, uid in uids.items():
            if uid != "c/box":
                pop.expect(f"DELE {n}", r"-ERR \[SYS/PERM\]")
        self.assertEqual(pop.stat()[0], 3)
        pop.quit()
        self.assertEqual(tree(plain), before)
        self.assertEqual(self.uids("--maildir", plain, "--scan", "inbox"), [])

    def test_lost_and_found_of_another_user(self):
        """One folder that cannot be read locks nobody out."""
        self.need_root("be a second user")
        for mode in (0o000, 0o700, 0o744, 0o711):
            lost = self.mail / "lost+found"
            lost.mkdir(exist_ok=True)
            self.put("lost+found/new/5", TEXT)
            lost.chmod(mode)
            (self.mail / "lost+found/new").chmod(0o700)
            pop = self.pop3(user=NOBODY)
            pop.login()
            self.assertEqual(sorted(pop.listing("UIDL").values()),
                             ["1", "2", "3/.Archive", "4/lists/ml"])
            pop.quit()
            self.assertRegex(pop.process.log(),
                             "1 folder of .* cannot be read and is left out: "
                             "lost[+]found")

    def test_unreadable_inbox_is_told(self):
        """That is no folder less, but all that one looks for."""
        self.need_root("be a second user")
        (self.mail / "new").chmod(0o700)
        pop = self.pop3(user=NOBODY)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/PERM\]")

    def test_left_out_folder_comes_back(self):
        """Also with a cache, which knows that it was left out."""
        self.need_root("be a second user")
        cache = self.path("cache")
        cache.mkdir()
        os.chown(cache, NOBODY, NOBODY)
        options = ("--cache-dir", cache)
        archive = self.mail / ".Archive"
        for mode, uids in ((0o755, ["1", "2", "3/.Archive", "4/lists/ml"]),
                           (0o700, ["1", "2", "4/lists/ml"])) * 3:
            archive.chmod(mode)
            for _ in range(2):
                self.assertEqual(self.uids(*options, user=NOBODY), uids)


class EmptyFile(TestCase):
    """webmin pull request 2744, offlineimap 216: fdm and tcllib wait for ever
    where a message has no octets."""

    def test_webmin_2744_offlineimap_216(self):
        self.make_maildir()
        self.put("cur/1:2,S", b"")
        self.put("cur/2:2,S", TEXT)
        cache = self.path("cache")
        cache.mkdir()
        for options in ((), ("--cache-dir", cache), ("--cache-dir", cache)):
            pop = self.pop3(*options).login()
            self.assertEqual(pop.stat(), (2, 2 + len(TEXT) + 3))
            self.assertEqual(pop.listing("LIST")[1], "2")
            pop.expect("LIST 1", r"\+OK 1 2$")
            self.assertEqual(pop.retr(1), (2, b"\r\n"))
            for n in (0, 1, 9):
                self.assertEqual(pop.multi(f"TOP 1 {n}")[1], b"\r\n")
            pop.quit()
            self.assertNotIn("announced", pop.process.log())


class Mbsync(TestCase):
    """neomutt 2103, afew 95: on its first run mbsync gives every file a
    ",U=3", and everything is fetched again."""

    def setUp(self):
        super().setUp()
        self.make_maildir()

    def rename(self):
        for n, path in enumerate(sorted(self.mail.glob("*/*")), 1):
            base, colon, flags = path.name.partition(":")
            path.rename(self.mail / "cur" / f"{base},U={n}:{flags or '2,'}")

    def test_neomutt_2103(self):
        self.put("new/1600000001.M1P1.host", TEXT)
        self.put("cur/1600000002.M1P1.host:2,S", TEXT)
        cache = self.path("cache")
        cache.mkdir()
        for options in ((), ("--cache-dir", cache)):
            before = self.pop3(*options).login().listing("UIDL")
            self.assertEqual(before[1], "1600000001.M1P1.host")
        self.rename()
        for options in ((), ("--cache-dir", cache)):
            self.assertEqual(self.pop3(*options).login().listing("UIDL"),
                             before)

    def test_afew_95_within_a_session(self):
        """RETR and DELE find it under its new name."""
        for n in range(1, 4):
            self.put(f"new/160000000{n}.x", b"Subject: %d\n\n" % n)
        pop = self.pop3("--allow-delete").login()
        self.rename()
        self.assertIn(b"Subject: 2\r\n", pop.retr(2)[1])
        pop.expect("DELE 1", r"\+OK")
        pop.expect("DELE 3", r"\+OK")
        pop.quit()
        self.assertEqual([path.name for path in self.mail.glob("*/*")],
                         ["1600000002.x,U=2:2,"])


class NoMailYet(FrontDoor):
    """Thunderbird's account set-up logs in before there is any mail."""

    def test_user_without_mail(self):
        hashed = hash_of(PASSWORD)
        users = self.users(f"anna:{hashed}", f"joe:{hashed}:{self.dir}/joes")
        for pattern in ("%u", "%d/%n", "box.%u"):
            options = ("--tls", "off", "--auth", f"file:{users}",
                       "--maildir", f"{self.mail}/{pattern}")
            for name in ("anna", "joe"):
                pop = self.spawn(POP3, *options, kind=Pop3Peer)
                pop.login(name, PASSWORD)
                self.assertEqual(pop.stat(), (0, 0))
                self.assertEqual(pop.listing("UIDL"), {})
                pop.quit()
            smtp = self.spawn(SMTP, *options, "--create-maildirs",
                              kind=SmtpPeer)
            smtp.hello()
            smtp.login("anna", PASSWORD)
            smtp.message(TEXT, "", "anna@mail.test")
            pop = self.spawn(POP3, *options, kind=Pop3Peer)
            pop.login("anna", PASSWORD)
            self.assertEqual(pop.stat()[0], 1)
            pop.quit()


class Blanks(FrontDoor):
    """curl 4080, mox 223: what SMTP takes is taken here, too."""

    def test_curl_4080_mox_223(self):
        response = plain("joe", PASSWORD)
        for program in BOTH:
            for lines in ((f"AUTH PLAIN {response} ",),
                          (f"AUTH  PLAIN  {response}",),
                          ("AUTH PLAIN ", response),
                          ("AUTH LOGIN ", b64("joe"), b64(PASSWORD)),
                          (f"AUTH  LOGIN  {b64('joe')}  ", b64(PASSWORD))):
                with self.subTest(program=program.name, lines=lines):
                    peer = self.door(program, "--tls", "off", "--auth", "any")
                    offers(peer)
                    for line in lines:
                        peer.send(f"{line}\r\n")
                        reply = (peer.line() if program == POP3
                                 else peer.reply().raw[0])
                    self.assertRegex(reply, rb"^(\+OK|235)")

    def test_empty_initial_response(self):
        """"=" is one: no name, which is asked for no more."""
        for program, refused in ((POP3, rb"-ERR"), (SMTP, rb"5")):
            peer = self.door(program, "--tls", "off", "--auth", "any")
            offers(peer)
            peer.send("AUTH LOGIN =\r\n")
            reply = peer.line()
            self.assertRegex(reply, rb"^(\+|334) UGFzc3dvcmQ6$")
            peer.send(f"{b64(PASSWORD)}\r\n")
            self.assertRegex(peer.line(), rb"^" + refused)


class OtherProtocols(FrontDoor):
    """OpenSMTPD 740, Postfix smtpd_forbidden_commands: a web page makes a
    browser send commands, in a form's text."""

    def test_opensmtpd_740(self):
        self.put("new/1", TEXT)
        form = "USER joe\r\nPASS x\r\nDELE 1\r\nQUIT\r\n"
        for first in ("POST / HTTP/1.1", "GET / HTTP/1.0", "OPTIONS *",
                      "CONNECT mail.test:110 HTTP/1.1", "Host: mail.test",
                      "PUT /x HTTP/1.1", "PRI * HTTP/2.0",
                      "GET /" + "x" * 20000 + " HTTP/1.1"):
            with self.subTest(first=first[:40]):
                pop = self.door(POP3, "--tls", "off", "--auth", "any",
                                "--allow-delete")
                pop.expect(None, r"\+OK")
                pop.send(f"{first}\r\nHost: mail.test\r\n\r\n{form}")
                self.assertEqual(pop.line(), b"-ERR This is POP3, closing")
                self.assertEqual(pop.rest(), b"")
                self.assert_ended_well(pop)
        self.assertTrue((self.mail / "new/1").exists())

    def test_in_a_session(self):
        pop = self.door(POP3, "--tls", "off", "--auth", "any").login()
        pop.expect("POST / HTTP/1.1", "-ERR This is POP3, closing")
        pop.expect_end()

    def test_unknown_commands_are_not_its(self):
        pop = self.door(POP3, "--tls", "off", "--auth", "any").login()
        for command in ("XTND XMIT", "GETX", "APOP joe 0", "FOO", "TOP"):
            pop.expect(command, "-ERR")
        pop.expect("NOOP", r"\+OK")


class Endless(TestCase):
    """What the owner of a maildrop can put there: both a time and SIGTERM end
    it."""

    def setUp(self):
        super().setUp()
        self.make_maildir()

    def begin(self, *options):
        pop = self.pop3(*options)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.send("PASS x\r\n")
        return pop

    def sparse(self, name="new/sparse"):
        with open(self.mail / name, "wb") as file:
            file.truncate(4 << 40)

    def test_sparse_file_and_time(self):
        self.sparse()
        pop = self.begin("--timeout", "1")
        self.assertRegex(pop.line(), rb"^-ERR \[SYS/TEMP\]")
        pop.close()
        self.assertEqual(pop.process.wait(), 0)
        self.assertIn("took too long", pop.process.log())

    def reading(self, pop):
        """So many MiB are read."""
        status = pathlib.Path(f"/proc/{pop.process.pid}/stat")
        wait_for(lambda: int(status.read_text().rpartition(")")[2].split()[12])
                 + int(status.read_text().rpartition(")")[2].split()[11]) > 10,
                 "a tenth of a second of work")

    def test_sparse_file_and_sigterm(self):
        self.sparse()
        pop = self.begin()
        self.reading(pop)
        pop.process.process.terminate()
        self.assertRegex(pop.rest(), rb"^-ERR \[SYS/TEMP\] [^\r]*\r\n$")
        self.assertEqual(pop.process.wait(), 0)
        self.assertIn("stopped while it was read", pop.process.log())

    def test_sparse_twins(self):
        """Files of one base name, whose contents are compared."""
        self.sparse("new/1.x,S=1")
        self.sparse("cur/1.x,S=1:2,S")
        pop = self.begin("--timeout", "1")
        self.assertRegex(pop.line(), rb"^-ERR \[SYS/TEMP\]")

    def test_message_that_grew(self):
        """Counted anew at RETR."""
        self.put("new/1", TEXT)
        pop = self.pop3("--timeout", "1").login()
        self.sparse("new/1")
        pop.expect("RETR 1", r"-ERR \[SYS/TEMP\]")
