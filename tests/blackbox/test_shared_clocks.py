"""One maildir store on MooseFS that two hosts mount whose clocks disagree.
What changes on the one is what a session on the other serves, at once:
mail-handlers(7), FILE SYSTEMS.  Directories have whole seconds there, by the
master's clock, so that a cache that goes by them hides mail for ever."""

import os
import pathlib
import subprocess

from frontdoor import Network, preload, preloaded
from mailtest import POP3, Pop3Peer, TestCase, wait_for
from moosefs import Moosefs, master_listens

TEXT = b"Subject: x\n\nbody\n"
LIBFAKETIME = "faketime/libfaketime.so.1"

# The cure taken away: every file system is this machine's own.
LOCAL_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/vfs.h>

#define EXT4 0xEF53

int
fstatfs(int fd, struct statfs *st)
{
	int (*real)(int, struct statfs *) = dlsym(RTLD_NEXT, "fstatfs");
	int result = real(fd, st);

	st->f_type = EXT4;
	return result;
}

int
fstatfs64(int fd, struct statfs64 *st)
{
	int (*real)(int, struct statfs64 *) = dlsym(RTLD_NEXT, "fstatfs64");
	int result = real(fd, st);

	st->f_type = EXT4;
	return result;
}
"""


def clock(offset, env=None):
    """The environment of a program whose time of day is wrong by that much;
    that of files, which the master says, is not."""
    path = next(pathlib.Path("/usr/lib").glob(f"*/{LIBFAKETIME}"))
    libraries = [path, *([env["LD_PRELOAD"]] if env else [])]
    return {**(env or {}), "FAKETIME": offset, "NO_FAKE_STAT": "1",
            "DONT_FAKE_MONOTONIC": "1", **preloaded(*libraries)}


class Clocks(TestCase):
    time_limit = 180

    def setUp(self):
        super().setUp()
        self.need_root("mount file systems")
        if not os.path.exists("/dev/fuse"):
            self.skipTest("needs /dev/fuse")
        self.network = Network(self)
        moosefs = Moosefs(self.path("moosefs"), Network.REMOTE)
        moosefs.folder.mkdir()
        self.start(moosefs.start_master())
        wait_for(lambda: master_listens(self.network.pid), "the master", 60)
        disk = self.path("disk")
        disk.mkdir()
        self.start(moosefs.start_chunks("one", disk))
        self.one, self.two = [self.mount(moosefs, name)
                              for name in ("one", "two")]
        wait_for(lambda: os.statvfs(self.one).f_blocks, "the disk", 60)
        self.cache = self.path("cache")
        self.cache.mkdir()

    def start(self, argv):
        """A server, or what mounts: in the network where each port is free,
        and with our mounts."""
        log = self.fresh_path("moosefs.log")
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["nsenter", "-t", str(self.network.pid), "-n", *argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.addCleanup(lambda: print(f"--- {argv}\n{log.read_text()}"))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def mount(self, moosefs, name):
        place = self.path(name)
        place.mkdir()
        self.start(moosefs.mount(place))
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        wait_for(lambda: os.path.ismount(place), "the mount", 60)
        return place

    def on(self, host, box, *options, **kwargs):
        return self.spawn(POP3, "--tls", "off", "--auth", "any", "--maildir",
                          host / box, *options, kind=Pop3Peer, **kwargs)

    def uids(self, box, env):
        """What a session on the first host serves."""
        pop = self.on(self.one, box, "--cache-dir", self.cache,
                      env=env).login()
        uids = sorted(pop.listing("UIDL").values())
        pop.quit()
        return uids

    def after_change(self, box, env):
        """Two messages come in one second, by way of the second host, and a
        session on the first one is between.  What the next one serves; None
        where that took more than a second."""
        new = self.make_maildir(self.two / box) / "new"
        (new / "1").write_bytes(TEXT)
        self.assertEqual(self.uids(box, env), ["1"])
        before = os.stat(new)
        (new / "2").write_bytes(TEXT)
        after = os.stat(new)
        if (before.st_mtime_ns, before.st_ctime_ns) != \
                (after.st_mtime_ns, after.st_ctime_ns):
            return None
        wait_for(lambda: (self.one / box / "new/2").exists(), "the file")
        return self.uids(box, env)

    def in_one_second(self, env):
        for _ in range(100):
            uids = self.after_change(f"box.{self.counter}", env)
            if uids is not None:
                return uids
        self.fail("a hundred times it took more than a second")

    def test_change_is_seen(self):
        for offset in ("+1h", "-1h"):
            with self.subTest(offset):
                self.assertEqual(self.in_one_second(clock(offset)),
                                 ["1", "2"])
        # The test of the test
        self.assertEqual(self.in_one_second(
            clock("+1h", preload("local_shim", LOCAL_SHIM))), ["1"])

    def test_mail_goes_round(self):
        """Delivered on the second host, fetched on the first one, renamed on
        the second, removed on the first."""
        self.mail = self.make_maildir(self.two / "box")
        for _ in range(3):
            smtp = self.smtp().ready()
            smtp.message(TEXT)
            smtp.quit()
        ahead = clock("+1h")
        first, second, third = self.uids("box", ahead)
        (self.mail / "new" / second).rename(self.mail / f"cur/{second}:2,S")
        (self.mail / "new" / third).unlink()
        pop = self.on(self.one, "box", "--allow-delete", "--cache-dir",
                      self.cache, env=ahead).login()
        self.assertEqual(sorted(pop.listing("UIDL").values()),
                         [first, second])
        for host, env in ((self.one, ahead), (self.two, None)):
            other = self.on(host, "box", "--allow-delete", env=env)
            other.expect(None, r"\+OK")
            other.expect("USER joe", r"\+OK")
            other.expect("PASS x", r"-ERR \[IN-USE\]")
            other.quit()
        for n in (1, 2):
            self.assertIn(b"Subject: x\r\n", pop.retr(n)[1])
            pop.expect(f"DELE {n}", r"\+OK")
        pop.quit()
        pop = self.on(self.two, "box", "--allow-delete").login()
        self.assertEqual(pop.listing("UIDL"), {})
        pop.quit()
        self.assertEqual(self.uids("box", ahead), [])
