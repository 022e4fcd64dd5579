"""pop3-handler --cache-dir: never wrong about what exists, and what it saves.
pop3-handler(8), The cache."""

import os
import random
import re
import subprocess
import time

import model
from mailtest import NOBODY, POP3, TestCase, wait_for
from traced import Traced

OWN = "{}.M1P2_ab.mail.test,S={},W={}"


class Cached(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.cache = self.path("cache")
        self.cache.mkdir(mode=0o700)

    def age(self, *folders):
        """Wait until a directory's change is old enough to be trusted."""
        newest = max(
            max(path.stat().st_mtime, path.stat().st_ctime)
            for path in (self.mail, *self.mail.rglob("*")) if path.is_dir())
        wait_for(lambda: time.time() > newest + 2.05, "an old change")

    def look(self, *options, cache=True, **kwargs):
        """What a session sees: UIDs and octets, in order."""
        if cache:
            options = ("--cache-dir", self.cache, *options)
        pop = self.pop3(*options, **kwargs).login()
        uids, sizes = pop.listing("UIDL"), pop.listing("LIST")
        seen = [(uids[n], int(sizes[n])) for n in uids]
        self.assertEqual(pop.stat(), (len(seen), sum(n for _, n in seen)))
        pop.quit()
        pop.exit_status()
        return seen

    def assert_true(self, *options):
        """With the cache the same is seen as without."""
        plain = self.look(*options, cache=False)
        self.assertEqual(self.look(*options), plain)
        return plain


class Truth(Cached):
    def setUp(self):
        super().setUp()
        for n in range(5):
            self.put(f"cur/{n}:2,S", b"Subject: x\n\n" + b"y\n" * n)
        self.put("new/7", b"new\n")
        self.put(".Sent/cur/8:2,S", b"sent\n")
        self.put("plain/9", b"no end")
        self.put("cur/with space:2,S", b"x\n")

    def test_unchanged(self):
        before = self.look(cache=False)
        for _ in range(2):
            self.assertEqual(self.look(), before)
        self.age()
        for _ in range(3):
            self.assertEqual(self.look(), before)
        self.assertEqual(len(list(self.cache.iterdir())), 1)

    def test_each_change(self):
        """Made at once after a scan, and to an aged maildrop."""
        def add():
            self.put("new/added", b"added\n")

        def add_old():
            self.put("cur/old:2,", b"old\n", 10**9)

        def remove():
            (self.mail / "cur/2:2,S").unlink()

        def change_flags():
            (self.mail / "cur/3:2,S").rename(self.mail / "cur/3:2,RS")

        def move():
            (self.mail / "new/7").rename(self.mail / "cur/7:2,")

        def add_folder():
            self.put(".New/new/n", b"x\n")
            self.put("deep/er/and/deeper/n", b"x\n")

        def make_cur_before_new():
            self.put("sub/cur/1:2,", b"x\n")

        def make_new_after_cur():
            self.put("sub/new/2", b"x\n")

        def move_in_sub():
            (self.mail / "sub/new/2").rename(self.mail / "sub/cur/2:2,S")

        def rename_folder():
            (self.mail / ".Sent").rename(self.mail / ".Outbox")

        def swap_folders():
            (self.mail / ".Outbox").rename(self.mail / "x")
            (self.mail / ".New").rename(self.mail / ".Outbox")
            (self.mail / "x").rename(self.mail / ".New")

        def folder_becomes_a_link():
            (self.mail / "plain").rename(self.path("elsewhere"))
            (self.mail / "plain").symlink_to(self.path("elsewhere"))

        def replace():
            """Another file of the same name."""
            self.put("other", b"quite another text\n", base=self.dir)
            self.path("other").rename(self.mail / "cur/4:2,S")

        def copy_to_cur():
            (self.mail / "cur/added:2,S").hardlink_to(self.mail / "new/added")

        def unlink_in_cur():
            (self.mail / "cur/added:2,S").unlink()

        def alias():
            self.put("added", b"beside\n")

        def end_alias():
            (self.mail / "new/added").unlink()

        def remove_all():
            for path in self.mail.rglob("*"):
                if path.is_file():
                    path.unlink()

        for aged in (False, True):
            for change in (add, add_old, remove, change_flags, move,
                           add_folder, make_cur_before_new,
                           make_new_after_cur, move_in_sub, rename_folder,
                           swap_folders, folder_becomes_a_link, replace,
                           copy_to_cur, unlink_in_cur, alias, end_alias,
                           remove_all):
                if aged:
                    self.age()
                    self.look()
                with self.subTest(change=change.__name__, aged=aged):
                    change()
                    self.assert_true()
                    self.assert_true()
            subprocess.run(["rm", "-rf", self.mail, self.path("elsewhere")],
                           check=True)
            self.setUp()

    def test_times_set_back(self):
        """A directory's mtime can be set by anybody, its ctime cannot."""
        self.age()
        self.look()
        status = (self.mail / "cur").stat()
        (self.mail / "cur/1:2,S").unlink()
        os.utime(self.mail / "cur",
                 ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assert_true()

    def test_another_maildrop_at_the_same_path(self):
        self.look()
        self.age()
        self.look()
        self.mail.rename(self.path("gone"))
        self.make_maildir()
        self.put("cur/1:2,S", b"another\n")
        self.assertEqual(self.look(), [("1", 9)])

    def test_scans_do_not_mix(self):
        self.age()
        for _ in range(2):
            self.assert_true()
            self.assert_true("--scan", "inbox")
        self.assertEqual(len(list(self.cache.iterdir())), 2)

    def test_renamed_messages_keep_number_and_uid(self):
        before = self.look()
        self.age()
        self.look()
        for n in range(5):
            (self.mail / f"cur/{n}:2,S").rename(self.mail / f"cur/{n}:2,FS")
        self.assertEqual(self.look(), before)
        self.assertEqual(self.look(), before)

    def test_changed_in_place(self):
        """Told at RETR, and by later sessions."""
        self.age()
        self.look()
        text = b"longer than before\n" * 9
        (self.mail / "cur/1:2,S").write_bytes(text)
        pop = self.pop3("--cache-dir", self.cache).login()
        n = next(n for n, uid in pop.listing("UIDL").items() if uid == "1")
        self.assertEqual(pop.retr(n), (model.octets(text), model.retr(text)))
        pop.quit()
        pop.exit_status()
        self.assertIn(("1", model.octets(text)), self.look())
        self.age()
        self.assert_true()

    def test_changed_in_place_unseen(self):
        """Of the same size and time: the message comes whole all the same,
        and later sessions know its octets."""
        path = self.put("cur/edit:2,S", b"a\nbxc\n", 10**18)
        self.age()
        self.look()
        path.write_bytes(b"a\nb\nc\n")
        os.utime(path, ns=(10**18, 10**18))
        pop = self.pop3("--cache-dir", self.cache).login()
        n = next(n for n, uid in pop.listing("UIDL").items() if uid == "edit")
        self.assertEqual(pop.retr(n)[1], b"a\r\nb\r\nc\r\n")
        pop.quit()
        pop.exit_status()
        self.assertIn(("edit", 9), self.assert_true())
        self.age()
        self.assertIn(("edit", 9), self.assert_true())

    def test_unreadable_then_readable(self):
        self.need_root("become somebody else")
        self.cache.chmod(0o777)
        for path in self.mail.rglob("*"):
            path.chmod(0o755)
        path = self.mail / "cur/2:2,S"
        path.chmod(0)
        self.age()
        self.look(user=NOBODY)
        self.look(user=NOBODY)
        path.chmod(0o644)
        self.assertEqual(self.look(user=NOBODY), self.look(cache=False))

    def test_deleted_messages(self):
        self.age()
        self.look()
        pop = self.pop3("--cache-dir", self.cache, "--allow-delete").login()
        pop.expect("DELE 1", r"\+OK")
        pop.expect("DELE 3", r"\+OK")
        pop.quit()
        pop.exit_status()
        self.assert_true()
        self.age()
        self.assert_true()
        # Marked and not removed: no trace of that
        pop = self.pop3("--cache-dir", self.cache, "--allow-delete").login()
        pop.expect("DELE 1", r"\+OK")
        pop.close()
        pop.process.wait()
        self.assert_true()

    def test_by_chance(self):
        """A thousand changes of every kind."""
        chance = random.Random(6)
        made = 0
        folders = ["cur", "new", ".A/cur", ".A/new", "b", "b/new", "b/cur"]
        for turn in range(60):
            for _ in range(chance.randrange(30)):
                files = [path for path in self.mail.rglob("*")
                         if path.is_file()]
                folder = self.mail / chance.choice(folders)
                folder.mkdir(parents=True, exist_ok=True)
                flags = (chance.choice(("", ":2,", ":2,S", ":2,FS"))
                         if folder.name == "cur" else "")
                what = chance.randrange(4)
                if what == 0 or not files:
                    # A name is never used again, as in every maildir
                    made += 1
                    self.put(folder / f"m{made}{flags}",
                             b"x\n" * chance.randrange(99),
                             chance.randrange(9) * 10**9)
                elif what == 1:
                    chance.choice(files).unlink()
                elif what == 2:
                    source = chance.choice(files)
                    base = source.name.partition(":2,")[0]
                    target = folder / (base + flags)
                    if not target.exists():
                        source.rename(target)
                else:
                    source = chance.choice(files)
                    base = source.name.partition(":2,")[0]
                    target = folder / (base + flags)
                    if not target.exists():
                        target.hardlink_to(source)
            if turn % 20 == 19:
                self.age()
                self.look()
            self.assert_true()


class Files(Cached):
    """What becomes of the file itself."""

    def setUp(self):
        super().setUp()
        for n in range(40):
            self.put(f"cur/{n}:2,S", b"Subject: x\n\n" + b"y\n" * n)
        self.age()
        self.seen = self.look()
        (self.file,) = self.cache.iterdir()

    def test_not_for_others(self):
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)

    def test_damaged(self):
        whole = self.file.read_bytes()
        chance = random.Random(1)
        damages = [whole[:n] for n in (0, 1, 8, 60, 100, len(whole) - 1)]
        damages.append(whole + b"x")
        damages.append(bytes(len(whole)))
        for _ in range(60):
            at = chance.randrange(len(whole))
            damages.append(whole[:at] + bytes([whole[at]
                           ^ 1 << chance.randrange(8)]) + whole[at + 1:])
        for damage in damages:
            self.file.write_bytes(damage)
            self.assertEqual(self.look(), self.seen)
            self.assertEqual(self.file.read_bytes()[:8], whole[:8])
            # Made anew, and good again
            self.assertEqual(self.look(), self.seen)

    def test_what_others_wrote_is_not_believed(self):
        self.need_root("give a file away")
        content = self.file.read_bytes()
        (self.mail / "cur/1:2,S").unlink()
        self.file.write_bytes(content)
        os.chown(self.file, NOBODY, NOBODY)
        self.assert_true()
        self.assertEqual(self.file.stat().st_uid, 0)

    def test_links_are_not_followed(self):
        target = self.path("target")
        self.file.rename(target)
        before = target.read_bytes()
        self.file.symlink_to(target)
        self.assertEqual(self.look(), self.seen)
        self.assertEqual(target.read_bytes(), before)
        self.assertFalse(self.file.is_symlink())

    def test_left_by_a_dead_writer(self):
        left = self.file.with_name(self.file.name + ".new")
        left.write_bytes(b"half of a cache")
        self.put("new/more", b"x\n")
        self.assert_true()
        self.assertTrue(left.exists(), "might be another session's")
        os.utime(left, (1, 1))
        self.assert_true()
        self.assertFalse(left.exists())

    def test_no_room_no_right(self):
        """Without a cache everything works as well."""
        for directory in (self.path("missing"), "/proc", self.file,
                          "x" * 5000):
            self.assertEqual(
                self.look("--cache-dir", directory), self.seen)

    def test_in_the_maildrop(self):
        """Its files would be served as messages."""
        for directory in (self.mail, self.mail / "cur"):
            pop = self.pop3("--cache-dir", directory).login()
            self.assertEqual(pop.stat()[0], 40)
            pop.quit()
            pop.exit_status()
            self.assertIn(str(directory), pop.process.log())
        self.assertEqual(self.look(), self.seen)

    def test_full_disk(self):
        self.need_root("mount a file system")
        for n in range(200):
            self.put(f"cur/more-{n}:2,S", b"x\n")
        pop = self.pop3("--cache-dir", self.path("full"), wrap=[
            "unshare", "-m", "sh", "-c", f'mkdir "{self.path("full")}"; '
            f'mount -t tmpfs -o size=4k none "{self.path("full")}"; '
            'exec "$@"', "sh"]).login()
        self.assertEqual(pop.stat()[0], 240)
        pop.quit()
        pop.exit_status()
        self.assertIn("cache", pop.process.log())

    def test_environment(self):
        other = self.path("other")
        other.mkdir()
        self.look(cache=False,
                  env={"CACHE_DIRECTORY": f"{other}:{self.dir}/third"})
        self.assertEqual(len(list(other.iterdir())), 1)

    def test_read_only_maildir(self):
        self.need_root("mount a file system")
        for _ in range(2):
            self.assertEqual(self.look(wrap=[
                "unshare", "-m", "sh", "-c",
                f'mount --bind "{self.mail}" "{self.mail}" && '
                f'mount -o remount,bind,ro "{self.mail}" && exec "$@"',
                "sh"]), self.seen)

    def test_several_at_once(self):
        """They write it at the same time, while mail comes and goes."""
        for turn in range(10):
            self.put(f"new/{turn}.x", b"x\n")
            if turn % 2:
                (self.mail / f"cur/{turn}:2,S").unlink()
            pops = [self.pop3("--cache-dir", self.cache) for _ in range(8)]
            for pop in pops:
                pop.expect(None, r"\+OK")
                pop.send("USER joe\r\nPASS x\r\nUIDL\r\nQUIT\r\n")
            rests = {re.sub(rb".*?octets\)\r\n", b"", pop.rest(), count=1,
                            flags=re.S) for pop in pops}
            self.assertEqual(len(rests), 1)
            for pop in pops:
                self.assertEqual(pop.process.wait(), 0)
            self.assert_true()


class Calls(Traced):
    """Which system calls a login makes."""

    program = POP3
    SESSION = b"USER joe\r\nPASS x\r\nSTAT\r\nUIDL\r\nQUIT\r\n"

    def on_maildrop(self):
        calls = self.calls(options=["--cache-dir", self.path("cache")])
        return [call for call in calls if str(self.mail) in call.line
                and call.name != "execve"]

    def test_what_is_looked_at(self):
        self.make_maildir()
        self.path("cache").mkdir()
        for n in range(100):
            self.put(f"cur/{n}:2,S", b"x\n")

        def age():
            end = max(path.stat().st_ctime for path in
                      (self.mail, self.mail / "cur", self.mail / "new"))
            wait_for(lambda: time.time() > end + 2.05, "an old change")

        age()
        # The first time each file is opened, looked at, read and closed
        first = self.on_maildrop()
        self.assertLess(len(first), 4 * 100 + 60)
        # Nothing changed: directories only, and none is read
        second = self.on_maildrop()
        self.assertLess(len(second), 16, second)
        self.assertEqual([call for call in second
                          if "getdents" in call.name], [])
        self.assertEqual([call for call in second if ":2,S" in call.line],
                         [])
        # Ten new ones, in new and in cur
        for n in range(5):
            self.put(f"new/{n}.x", b"x\n")
            self.put(f"cur/{n}.y:2,", b"x\n")
        age()
        third = self.on_maildrop()
        files = [call for call in third if re.search(
            r"\"[\d.]+[xy:]|/[\d.]+[xy:]", call.line)]
        self.assertEqual(len([call for call in files
                              if call.name in ("open", "openat")]), 10)
        self.assertEqual([call for call in third if ":2,S" in call.line], [])
        # And now they are known
        self.assertLess(len(self.on_maildrop()), 16)
