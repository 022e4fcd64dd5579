"""Both programs: nothing is followed that its owner could have turned to
somebody else's mail.  mail-handlers(7); directory.h."""

import os
import shutil

from frontdoor import BOTH, FrontDoor, hash_of, offers, try_login
from mailtest import POP3, SMTP, Pop3Peer, SmtpPeer, tree

PASSWORD = "Tr0ub4dor-hush"
TEXT = b"Subject: x\n\nbody\n"
JOE, ANNA = 65533, 65532


class Turned(FrontDoor):
    """joe's maildir is in a folder of his; anna's mail is hers."""

    def setUp(self):
        super().setUp()
        self.home = self.path("home")
        for name in ("joe", "anna"):
            self.make_maildir(self.home / name / "Maildir")
            self.put(f"{name}/Maildir/new/1.{name}", TEXT, base=self.home)
        hashed = hash_of(PASSWORD)
        self.file = self.users(
            f"joe:{hashed}:{self.home}/joe/Maildir", f"anna:{hashed}")
        self.joes = self.home / "joe/Maildir"
        self.annas = self.home / "anna/Maildir"

    def own(self):
        """Everything is its owner's."""
        for name, uid in (("joe", JOE), ("anna", ANNA)):
            for path in [self.home / name, *(self.home / name).rglob("*")]:
                os.chown(path, uid, uid, follow_symlinks=False)

    def options(self, pattern="%u/Maildir"):
        return ("--tls", "off", "--auth", f"file:{self.file}", "--maildir",
                f"{self.home}/{pattern}")

    def pop(self, user="joe", *options, **kwargs):
        pop = self.spawn(POP3, *self.options(), *options, kind=Pop3Peer,
                         **kwargs)
        offers(pop)
        return pop, try_login(pop, user, PASSWORD)

    def refused(self, user="joe", why="symbolic link"):
        """Neither program uses it, and both say why."""
        before = tree(self.annas)
        pop, verdict = self.pop(user)
        self.assertEqual(verdict, "-ERR [SYS/PERM]")
        pop.quit()
        self.assertIn(why, pop.process.log())
        self.assertFalse(self.delivered(user, why))
        self.assertEqual(tree(self.annas), before)

    def delivered(self, user="joe", why=None):
        smtp = self.spawn(SMTP, *self.options(), "--create-maildirs",
                          kind=SmtpPeer)
        smtp.hello()
        smtp.login("anna", PASSWORD)
        smtp.envelope("", f"{user}@mail.test")
        smtp.send("DATA\r\n")
        reply = smtp.reply()
        if reply.code == 354:
            smtp.send(TEXT.replace(b"\n", b"\r\n") + b".\r\n")
            reply = smtp.reply()
        smtp.quit()
        if why:
            self.assertEqual(str(reply)[:1], "4")
            self.assertIn(why, smtp.process.log())
        return str(reply).startswith("250")

    def test_as_it_should_be(self):
        if os.geteuid() == 0:
            self.own()
        for user in ("joe", "anna"):
            pop, verdict = self.pop(user)
            self.assertEqual(verdict, "+OK")
            self.assertEqual(pop.listing("UIDL"), {1: f"1.{user}"})
            pop.quit()
            self.assertTrue(self.delivered(user))

    def test_maildir_itself(self):
        shutil.rmtree(self.joes)
        self.joes.symlink_to(self.annas)
        self.refused()

    def test_with_a_slash_behind_it(self):
        shutil.rmtree(self.joes)
        self.joes.symlink_to(self.annas)
        self.file.write_text(self.file.read_text().replace(
            "joe/Maildir", "joe/Maildir/"))
        self.refused()

    def test_new(self):
        shutil.rmtree(self.joes / "new")
        (self.joes / "new").symlink_to(self.annas / "new")
        before = tree(self.annas)
        pop, verdict = self.pop()
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 0))
        self.assertFalse(self.delivered(why="symbolic link"))
        self.assertEqual(tree(self.annas), before)
        self.assertEqual(list((self.joes / "tmp").iterdir()), [])

    def test_tmp(self):
        (self.joes / "tmp").rmdir()
        (self.joes / "tmp").symlink_to(self.annas / "tmp")
        self.put("tmp/old", TEXT, 10**9, base=self.annas)
        before = tree(self.annas)
        self.assertFalse(self.delivered(why="symbolic link"))
        self.assertEqual(tree(self.annas), before)

    def test_folder(self):
        (self.joes / ".Hers").symlink_to(self.annas)
        pop, verdict = self.pop()
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 1))

    def test_turned_in_the_session(self):
        """What was a folder at the login."""
        self.put("new/2.joe", TEXT, base=self.joes)
        for name in ("1.joe", "2.joe"):
            self.put(f"new/{name}", b"secret\n", base=self.annas)
        before = tree(self.annas)
        pop, verdict = self.pop("joe", "--allow-delete")
        self.assertEqual(verdict, "+OK")
        (self.joes / "new").rename(self.joes / "old")
        (self.joes / "new").symlink_to(self.annas / "new")
        pop.expect("RETR 2", r"-ERR \[SYS/TEMP\]")
        pop.expect("DELE 1", r"\+OK")
        pop.cmd("QUIT")
        self.assertEqual(tree(self.annas), before)

    def test_on_the_way(self):
        """A link that is no last component, in joe's own folder."""
        self.need_root("be a second user")
        self.file.write_text(self.file.read_text().replace(
            "joe/Maildir", "joe/mail/Maildir"))
        (self.home / "joe/mail").symlink_to(self.home / "anna")
        self.own()
        self.refused()

    def test_owners(self):
        """anna's, where joe is who could have put it there."""
        self.need_root("be a second user")
        self.own()
        for path in (self.joes, *self.joes.rglob("*")):
            os.chown(path, ANNA, ANNA)
        self.refused(why="owner")

    def test_owner_of_new(self):
        self.need_root("be a second user")
        self.own()
        os.chown(self.joes / "new", ANNA, ANNA)
        pop, verdict = self.pop()
        self.assertEqual(verdict, "-ERR [SYS/PERM]")
        self.assertFalse(self.delivered(why="owner"))

    def test_owner_of_a_folder(self):
        """Left out, and told."""
        self.need_root("be a second user")
        self.put(".Hers/new/2", TEXT, base=self.joes)
        self.own()
        os.chown(self.joes / ".Hers", ANNA, ANNA)
        pop, verdict = self.pop()
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 1))
        self.assertIn("left out: .Hers", pop.process.log())

    def test_link_of_the_operator(self):
        """On the way, by who runs the program: a larger disk, say."""
        self.home.rename(self.path("disk"))
        self.home.symlink_to(self.path("disk"))
        pop, verdict = self.pop()
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 1))
        self.assertTrue(self.delivered())

    def test_cache(self):
        """Neither the file nor, in somebody else's folder, its directory."""
        cache = self.path("cache")
        cache.mkdir()
        pop, _ = self.pop("joe", "--cache-dir", cache)
        pop.quit()
        file, = cache.iterdir()
        target = self.write("target", "precious")
        file.unlink()
        file.symlink_to(target)
        pop, verdict = self.pop("joe", "--cache-dir", cache)
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 1))
        pop.quit()
        self.assertEqual(target.read_text(), "precious")
        self.assertFalse(file.is_symlink())
        if os.geteuid() != 0:
            return
        outside = self.path("outside")
        outside.mkdir()
        (self.home / "joe/cache").symlink_to(outside)
        self.own()
        pop, verdict = self.pop("joe", "--cache-dir", self.home / "joe/cache")
        self.assertEqual((verdict, pop.stat()[0]), ("+OK", 1))
        pop.quit()
        self.assertEqual(list(outside.iterdir()), [])

    def test_check_config(self):
        shutil.rmtree(self.joes)
        self.joes.symlink_to(self.annas)
        for program in BOTH:
            status, _, err = self.run_to_end(*self.argv(
                program, "--tls", "off", "--auth", "any", "--maildir",
                self.joes, "--check-config"))
            self.assertEqual(status, 78, err)
            self.assertIn("symbolic link", err)
