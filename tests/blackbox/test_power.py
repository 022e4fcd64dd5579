"""Power cuts: what a client was promised is on the disk, and nothing is half.
mail-handlers(7), Accepting a message and Removing."""

import re
import subprocess

from certs import certificates
from mailtest import (HOST, POP3, SMTP, Pop3Peer, Process, SmtpPeer, TestCase,
                      wait_for)
from nexthop import ScriptedHop
from power import Disk, Halts, why_not

# A page and more, so that a file whose blocks are not there looks it.
FILLER = "".join(f"line {n} of a message that must be whole\n"
                 for n in range(300))


def letter(n):
    return f"Subject: letter {n}\n\n{FILLER}end {n}\n"


class Cuts:
    """What is tried, on one kind of file system."""

    kind = None
    slow = True

    def setUp(self):
        super().setUp()
        if (reason := why_not()):
            self.skipTest(reason)
        self.disk = Disk(self, self.kind)
        self.store = self.disk.folder / "store"
        self.store.mkdir()
        self.disk.settle()

    # Looking at what is left

    def whole(self, path):
        """The number of the letter in a file, which is all there."""
        content = path.read_text()
        match = re.search(r"Subject: letter (\d+)\n", content)
        self.assertTrue(match, f"{path}: {content[:200]!r}")
        self.assertTrue(content.endswith(letter(int(match[1]))),
                        f"{path}: {len(content)} octets")
        return int(match[1])

    def kept(self, folder):
        """Numbers of the letters in a maildir: all whole, in new and cur."""
        return sorted(self.whole(path) for part in ("new", "cur")
                      for path in folder.glob(f"{part}/*"))

    def check(self, *users):
        """After each cut, each of the users has all that was promised, and
        at most the one that was on its way."""
        for folder, facts in self.disk.after_power():
            for user in users:
                found = self.kept(folder / "store" / user)
                with self.subTest(user=user, **facts):
                    self.assertEqual(sorted(set(found)), found)
                    self.assertLessEqual(set(range(facts["promised"])),
                                         set(found))
                    self.assertLessEqual(set(found),
                                         set(range(facts["promised"] + 1)))

    # Scenarios

    def executed(self, halts, *options):
        """A client of a handler that was started for it alone."""
        smtp = self.spawn(
            SMTP, "--tls", "off", "--auth", "any", *options, kind=SmtpPeer,
            env=halts.env, pass_fds=halts.pass_fds)
        halts.close_theirs()
        return smtp.ready()

    def warm(self, halts, *options):
        """A client of a handler that listens and forks."""
        port_file = self.fresh_path("port")
        process = Process(
            self.argv(SMTP, "--tls", "off", "--auth", "any", "--listen",
                      "127.0.0.1:0", "--port-file", port_file, *options),
            subprocess.DEVNULL, subprocess.DEVNULL, self.fresh_path("log"),
            env=halts.env, pass_fds=halts.pass_fds)
        self.addCleanup(process.stop)
        halts.close_theirs()
        wait_for(port_file.exists, "the handler to listen")
        return self.connect(int(port_file.read_text()), SmtpPeer).ready()

    def deliver(self, *recipients, less=None, start=None, letters=2):
        """Letters one after the other, with a cut before each call that
        matters and after each 250."""
        halts = Halts(self, less)
        smtp = (start or self.executed)(
            halts, "--maildir", f"{self.store}/%n", "--create-maildirs")
        for n in range(letters):
            halts.at = lambda what, n=n: self.disk.cut(
                {"promised": n, "before": what})
            reply = smtp.message(letter(n), "joe@example.com",
                                 *(f"{user}@{HOST}" for user in recipients))
            self.assertEqual(str(reply), "250 2.0.0")
            halts.at = lambda what: None
            self.disk.cut({"promised": n + 1, "before": "the next"})
        smtp.quit()
        self.assertIn("s", halts.seen)
        self.assertIn("l", halts.seen)
        self.assertIsNone(halts.failure)

    def test_one_recipient(self):
        self.deliver("anna")
        self.check("anna")

    def test_warm(self):
        self.deliver("anna", start=self.warm)
        self.check("anna")

    def test_hook_that_keeps(self):
        """--on-message is the only destination; what it was told to keep it
        keeps, and says so when it has."""
        keeper = self.write("keep", f"""#!/bin/sh
set -e
mkdir -p {self.store}/anna/new
cat >{self.store}/anna/$MAIL_ID
sync {self.store}/anna/$MAIL_ID
mv {self.store}/anna/$MAIL_ID {self.store}/anna/new/
sync {self.store}/anna/new {self.store}/anna {self.store}
""", mode=0o755)
        halts = Halts(self)
        smtp = self.executed(halts, "--on-message", str(keeper))
        for n in range(2):
            reply = smtp.message(letter(n), "joe@example.com", "ann@b.test")
            self.assertEqual(str(reply), "250 2.0.0")
            self.disk.cut({"promised": n + 1, "before": "the next"})
        smtp.quit()
        self.check("anna")

    def test_three_recipients(self):
        """Three maildirs."""
        self.deliver("anna", "bert", "carl")
        self.check("anna", "bert", "carl")

    def test_kept_beside_a_relay(self):
        """A user with a maildir, and one at the next hop."""
        hop = ScriptedHop(self, tls=certificates().server.server_context())
        relay = self.write("relay", f"* smtps://localhost:{hop.port}"
                           f"?ca={certificates().ca.crt}\n")
        (self.store / "anna" / "new").mkdir(parents=True)
        self.disk.settle()
        halts = Halts(self)
        smtp = self.executed(halts, "--maildir", self.store / "anna",
                             "--relay", relay)
        for n in range(2):
            halts.at = lambda what, n=n: self.disk.cut(
                {"promised": n, "before": what})
            reply = smtp.message(letter(n), "joe@example.com",
                                 "ann@example.org")
            self.assertEqual(str(reply), "250 2.0.0")
            halts.at = lambda what: None
            self.disk.cut({"promised": n + 1, "before": "the next"})
        smtp.quit()
        self.check("anna")

    def test_removal(self):
        """POP3's QUIT: what is left of each message is all or nothing, and
        what was not marked is there."""
        maildir = self.make_maildir(self.store / "anna")
        for n in range(6):
            self.put(f"{'cur' if n % 2 else 'new'}/{1000 + n}.M{n}P1.host",
                     letter(n).encode(), base=maildir)
        self.disk.settle()
        halts = Halts(self)
        pop3 = self.spawn(
            POP3, "--tls", "off", "--auth", "any", "--maildir", maildir,
            "--allow-delete", kind=Pop3Peer, env=halts.env,
            pass_fds=halts.pass_fds).login()
        halts.close_theirs()
        for n in (1, 2, 5):
            pop3.expect(f"DELE {n}", r"\+OK")
        halts.at = lambda what: self.disk.cut({"before": what})
        pop3.expect("QUIT", r"\+OK")
        pop3.expect_end()
        halts.at = lambda what: None
        self.disk.cut({"before": "the end"})
        self.disk.settle()
        self.disk.cut({"before": "the next day"})
        self.assertEqual(halts.seen.count("u"), 3)
        for folder, facts in self.disk.after_power():
            with self.subTest(**facts):
                found = set(self.kept(folder / "store" / "anna"))
                self.assertLessEqual({2, 3, 5}, found)
                if facts["before"] == "the next day":
                    self.assertEqual(found, {2, 3, 5})

    def test_cache(self):
        """Whatever of it is on the disk, the numbers are right."""
        maildir = self.make_maildir(self.store / "anna")
        cache = self.disk.folder / "cache"
        cache.mkdir()
        for n in range(5):
            self.put(f"new/{1000 + n}.M{n}P1.host", letter(n).encode(),
                     base=maildir)
        self.disk.settle()
        halts = Halts(self)
        halts.at = lambda what: self.disk.cut({"n": 5, "before": what})
        for n in (5, 6):
            pop3 = self.spawn(
                POP3, "--tls", "off", "--auth", "any", "--maildir", maildir,
                "--cache-dir", cache, kind=Pop3Peer, env=halts.env,
                pass_fds=halts.pass_fds).login()
            pop3.quit()
            self.disk.cut({"n": n, "before": "the end"})
            self.put(f"new/{1000 + n}.M{n}P1.host", letter(n).encode(),
                     base=maildir)
            self.disk.settle()
            halts.at = lambda what, n=n: self.disk.cut(
                {"n": n + 1, "before": what})
        halts.close_theirs()
        for folder, facts in self.disk.after_power():
            with self.subTest(**facts):
                pop3 = self.spawn(
                    POP3, "--tls", "off", "--auth", "any", "--maildir",
                    folder / "store" / "anna", "--cache-dir",
                    folder / "cache", kind=Pop3Peer).login()
                wanted = {n + 1: str(len(letter(n)) + letter(n).count("\n"))
                          for n in range(facts["n"])}
                self.assertEqual(pop3.listing("LIST"), wanted)
                pop3.quit()
                pop3.exit_status()

    # The tests of these tests

    def lost_without(self, less):
        """How many of the copies lack something that was promised."""
        self.deliver("anna", less=less)
        lost = 0
        for folder, facts in self.disk.after_power():
            try:
                found = set(self.kept(folder / "store" / "anna"))
            except (AssertionError, UnicodeDecodeError):
                found = set()
            lost += not set(range(facts["promised"])) <= found
        return lost

    def test_these_tests_miss_fsync_of_files(self):
        self.assertGreater(self.lost_without("files"), 0)

    def test_these_tests_miss_fsync_of_directories(self):
        self.assertGreater(self.lost_without("directories"), 0)


class Ext4(Cuts, TestCase):
    kind = "ext4"


class Xfs(Cuts, TestCase):
    kind = "xfs"


class Btrfs(Cuts, TestCase):
    kind = "btrfs"
