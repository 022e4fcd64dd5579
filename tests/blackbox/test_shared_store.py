"""One maildir store and several machines: bindfs shows one directory in two
places, each of which knows nothing of the other, as machines do not.
mail-handlers(7), FILE SYSTEMS."""

import os
import re
import shutil
import subprocess

from mailtest import POP3, Pop3Peer, TestCase, wait_for
from traced import Traced

TEXT = b"Subject: x\n\nbody\n"
OLD = 1_600_000_000


class Shared(TestCase):
    def setUp(self):
        super().setUp()
        self.need_root("mount file systems")
        if not shutil.which("bindfs") or not os.path.exists("/dev/fuse"):
            self.skipTest("needs bindfs and /dev/fuse")
        self.store = self.path("store")
        self.box = self.make_maildir(self.store / "box")
        self.hosts = [self.mount(name) for name in ("one", "two")]

    def mount(self, name):
        """The store as another machine sees it: locks go through, times of
        directories are what somebody says they are."""
        place = self.path(name)
        place.mkdir()
        process = subprocess.Popen(
            ["bindfs", "-f", "--multithreaded", "--enable-lock-forwarding",
             "--ctime-from-mtime", self.store, place],
            stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        wait_for(lambda: os.path.ismount(place), "the mount")
        return place

    def on(self, host, *options, **kwargs):
        return self.spawn(POP3, "--tls", "off", "--auth", "any", "--maildir",
                          self.hosts[host] / "box", *options, kind=Pop3Peer,
                          **kwargs)

    def put_old(self, name):
        """A message, and its directory's time is as if it had not come."""
        path = self.put(f"box/{name}", TEXT, base=self.store)
        for folder in (path.parent, self.box, self.box / "cur",
                       self.box / "tmp"):
            os.utime(folder, (OLD, OLD))

    def refused(self, host, *options):
        pop = self.on(host, *options)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[IN-USE\]")
        pop.quit()


class Locks(Shared):
    def test_one_session_on_all_machines(self):
        """81 of 2,000 messages were fetched twice."""
        self.put_old("new/1")
        for first in (0, 1):
            pop = self.on(first, "--allow-delete").login()
            self.refused(first, "--allow-delete")
            self.refused(1 - first, "--allow-delete")
            # Who cannot delete needs no lock
            self.on(1 - first).login().quit()
            pop.quit()
            again = self.on(1 - first, "--allow-delete").login()
            self.assertEqual(again.listing("UIDL"), {1: "1"})
            again.quit()

    def test_lock_goes_with_the_process(self):
        pop = self.on(0, "--allow-delete").login()
        self.refused(1, "--allow-delete")
        pop.process.process.kill()
        pop.process.wait()
        self.on(1, "--allow-delete").login().quit()

    def test_file_is_no_link(self):
        target = self.write("target", "precious")
        (self.box / ".pop3-handler.lock").symlink_to(target)
        pop = self.on(0, "--allow-delete")
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/TEMP\]")
        self.assertEqual(target.read_text(), "precious")

    def test_no_file_where_one_machine_is_all(self):
        self.spawn(POP3, "--tls", "off", "--auth", "any", "--maildir",
                   self.box, "--allow-delete", kind=Pop3Peer).login().quit()
        self.assertFalse((self.box / ".pop3-handler.lock").exists())
        self.on(0).login().quit()
        self.assertFalse((self.box / ".pop3-handler.lock").exists())
        self.on(0, "--allow-delete").login().quit()
        self.assertTrue((self.box / ".pop3-handler.lock").exists())


class Cache(Shared):
    def setUp(self):
        super().setUp()
        self.cache = self.path("cache")
        self.cache.mkdir()

    def uids(self, **kwargs):
        pop = self.on(0, "--cache-dir", self.cache, **kwargs).login()
        uids = sorted(pop.listing("UIDL").values())
        pop.quit()
        return uids

    def test_times_are_not_believed(self):
        """A cache that believes them hides mail."""
        self.put_old("new/1")
        self.put_old("cur/2:2,S")
        self.assertEqual(self.uids(), ["1", "2"])
        self.put_old("new/3")
        self.assertEqual(self.uids(), ["1", "2", "3"])
        (self.box / "new/1").unlink()
        self.put_old("cur/4:2,")
        os.utime(self.box / "new", (OLD, OLD))
        self.assertEqual(self.uids(), ["2", "3", "4"])

    def test_only_new_names_are_looked_at(self):
        for n in range(10):
            self.put_old(f"new/old{n}")
        self.uids()
        self.put_old("new/fresh")
        trace = self.path("trace")
        self.assertEqual(len(self.uids(wrap=[
            "strace", "-f", "-o", trace, "-e",
            "trace=openat,newfstatat,statx"])), 11)
        looked = re.findall(r"\"(old\d|fresh)\"", trace.read_text())
        self.assertEqual(set(looked), {"fresh"})

    def test_cache_is_written_where_there_is_something_new(self):
        self.put_old("new/1")
        self.uids()
        file, = self.cache.iterdir()
        before = file.stat().st_ino, file.stat().st_mtime_ns
        self.uids()
        self.assertEqual((file.stat().st_ino, file.stat().st_mtime_ns),
                         before)
        self.put_old("new/2")
        self.uids()
        self.assertNotEqual((file.stat().st_ino, file.stat().st_mtime_ns),
                            before)


class Delivery(Shared):
    def syncs_after_link(self, folder):
        trace = self.fresh_path("trace")
        self.mail = folder
        smtp = self.smtp(wrap=["strace", "-f", "-y", "-o", trace, "-e",
                               "trace=linkat,fsync"]).ready()
        smtp.message(TEXT)
        smtp.quit()
        smtp.process.wait()
        lines = trace.read_text().splitlines()
        link = next(i for i, line in enumerate(lines) if "linkat(" in line)
        return [re.search(r"fsync\(\d+<(.*)>", line)[1]
                for line in lines[link:] if "fsync(" in line]

    def test_file_after_its_link(self):
        """There the directory's fsync may do nothing."""
        folder = self.hosts[0] / "box"
        synced = self.syncs_after_link(folder)
        name, = (self.box / "new").iterdir()
        self.assertEqual(synced, [f"{folder}/new",
                                  f"{folder}/new/{name.name}"])
        self.assertEqual(self.syncs_after_link(self.box),
                         [f"{self.box}/new"])

    def test_fetched_on_another_machine(self):
        for n in range(3):
            self.mail = self.hosts[n % 2] / "box"
            smtp = self.smtp().ready()
            smtp.message(TEXT)
            smtp.quit()
        pop = self.on(1, "--allow-delete").login()
        for n in range(1, 4):
            self.assertIn(b"Subject: x\r\n", pop.retr(n)[1])
            pop.expect(f"DELE {n}", r"\+OK")
        pop.quit()
        self.assertEqual(list((self.box / "new").iterdir()), [])


class Stale(Traced):
    """ESTALE: what NFS says of a file that the server does not know any
    more, as another machine renamed it."""

    time_limit = 120
    program = POP3
    SESSION = (b"USER joe\r\nPASS x\r\nUIDL\r\nRETR 1\r\nDELE 1\r\n"
               b"QUIT\r\n")
    NAME = "1.a.h:2,"

    def run_it(self, *strace):
        """What it said, and is the file there yet?"""
        self.make_maildir()
        path = self.put("cur/" + self.NAME, TEXT)
        out = self.session(*strace, options=["--allow-delete"])
        self.assertEqual(self.status, 0)
        return out, path.exists()

    def test_once(self):
        """It is looked for again, and found: the session is as without."""
        self.make_maildir()
        self.put("cur/" + self.NAME, TEXT)
        calls = [call for call in self.calls(options=["--allow-delete"])
                 if f'"{self.NAME}"' in call.line]
        self.assertIn(b"\r\nbody\r\n.\r\n+OK", self.undisturbed)
        self.assertEqual([call.name for call in calls],
                         ["openat", "openat", "unlinkat"])
        for call in calls:
            with self.subTest(call=call):
                out, there = self.run_it(
                    "-e", f"inject={call.name}:error=ESTALE:when={call.nth}")
                self.assertIn(b"\r\nbody\r\n.\r\n+OK Marked to be deleted"
                              b"\r\n+OK Bye\r\n", out)
                self.assertFalse(there)

    def test_for_good(self):
        """One that cannot be read is there all the same, and one that cannot
        be removed stays; each has an end."""
        out, there = self.run_it("-P", self.NAME, "-e",
                                 "inject=openat:error=ESTALE")
        self.assertIn(b"\r\n1 1.a.h\r\n.\r\n-ERR [SYS/TEMP] Cannot read "
                      b"that message\r\n+OK", out)
        out, there = self.run_it("-P", self.NAME, "-e",
                                 "inject=unlinkat:error=ESTALE")
        self.assertIn(b"\r\nbody\r\n.\r\n+OK Marked to be deleted\r\n"
                      b"-ERR [SYS/TEMP] Some messages were not removed\r\n",
                      out)
        self.assertTrue(there)
