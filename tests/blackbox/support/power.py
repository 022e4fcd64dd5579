"""Disks whose power is cut: a file system in an image on a loop device, the
image copied as it is in the middle of everything, and the copies mounted
later, as a machine finds its disk when it starts again.

What a file system has not yet given to the device is not in the copy.  So a
message that somebody was promised, and that is missing there or is half a
message, was not on the disk."""

import os
import pathlib
import subprocess
import threading

from frontdoor import preload
from mailtest import wait_for

# xfs wants 300 MB; the images are sparse. A copy has the identity of its
# original, which is no longer mounted then, but xfs remembers.
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], 64, []),
    "xfs": (["mkfs.xfs", "-q", "-f"], 320, ["nouuid"]),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], 160, []),
}

# Before each call that a crash can fall beside, the program says which one
# through one pipe and waits for a word from another. POWER_LESS names what
# is taken away, to see that the tests notice: fsync of files or directories.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
halt(char what)
{
	const char *pipes = getenv("POWER_PIPES");
	int out, in;
	char go;

	if (pipes == NULL || sscanf(pipes, "%d,%d", &out, &in) != 2)
		return;
	if (write(out, &what, 1) == 1)
		while (read(in, &go, 1) < 0)
			;
}

static int
is_taken_away(int fd)
{
	const char *less = getenv("POWER_LESS");
	struct stat st;

	if (less == NULL || fstat(fd, &st) != 0)
		return 0;
	return strcmp(less, S_ISDIR(st.st_mode) ? "directories" : "files") == 0;
}

#define REAL(name, ...) \
	((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

int
fsync(int fd)
{
	halt('s');
	return is_taken_away(fd) ? 0 : REAL(fsync, fd);
}

int
fdatasync(int fd)
{
	halt('s');
	return is_taken_away(fd) ? 0 : REAL(fdatasync, fd);
}

/* Only starts writing, sometimes: it promises nothing. */
int
sync_file_range(int fd, off64_t offset, off64_t n, unsigned flags)
{
	return is_taken_away(fd) ? 0
	    : REAL(sync_file_range, fd, offset, n, flags);
}

int
linkat(int a, const char *from, int b, const char *to, int flags)
{
	halt('l');
	return REAL(linkat, a, from, b, to, flags);
}

int
renameat(int a, const char *from, int b, const char *to)
{
	halt('r');
	return REAL(renameat, a, from, b, to);
}

int
renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	halt('r');
	return REAL(renameat2, a, from, b, to, flags);
}

int
unlinkat(int fd, const char *name, int flags)
{
	halt('u');
	return REAL(unlinkat, fd, name, flags);
}
"""


def why_not():
    """Why there can be no such disk here, or None."""
    if os.getuid() != 0:
        return "needs root to mount a file system"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices here"
    return None


def mount(image, folder, options=()):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", ",".join(["loop", *options]), image,
                    folder], check=True)


class Disk:
    """The folder is where it is mounted; cut() keeps a copy of it as it is
    now, and after_power() mounts them one by one."""

    def __init__(self, test, kind):
        make, megabytes, self.options = FILE_SYSTEMS[kind]
        self.test = test
        self.image = test.fresh_path("disk")
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run([*make, self.image], check=True,
                       stdout=subprocess.DEVNULL)
        self.folder = test.fresh_path("mounted")
        mount(self.image, self.folder)
        self.mounted = True
        test.addCleanup(self.unmount)
        loop = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", self.folder], check=True,
            stdout=subprocess.PIPE, text=True).stdout.strip()
        self.inflight = pathlib.Path("/sys/block", os.path.basename(loop),
                                     "inflight")
        self.cuts = []

    def unmount(self):
        if self.mounted:
            subprocess.run(["umount", self.folder], check=True)
            self.mounted = False

    def settle(self):
        """All that was made so far for the tests' own sake is on it."""
        subprocess.run(["sync", "-f", self.folder], check=True)

    def cut(self, facts):
        """The power is gone: whatever is on its way to the device arrives,
        and nothing after it.  facts: what must hold of this copy."""
        if self.inflight.exists():
            wait_for(lambda: self.inflight.read_text().split() == ["0", "0"],
                     "the device to be at rest")
        copy = self.image.with_name(f"{self.image.name}.{len(self.cuts)}")
        subprocess.run(["cp", "--sparse=always", self.image, copy],
                       check=True)
        self.cuts.append((copy, facts))

    def after_power(self):
        """(folder, facts) of each copy, mounted for the loop's body."""
        self.unmount()
        folder = self.test.fresh_path("found")
        for copy, facts in self.cuts:
            mount(copy, folder, self.options)
            try:
                yield folder, facts
            finally:
                subprocess.run(["umount", folder], check=True)
                copy.unlink()


class Halts:
    """A handler with this env stops before each call that counts; what is
    given to at() runs meanwhile, with the call's letter."""

    def __init__(self, test, less=None):
        from_program, to_us = os.pipe()
        from_us, to_program = os.pipe()
        for fd in (to_us, from_us):
            os.set_inheritable(fd, True)
        self.pass_fds = (to_us, from_us)
        self.env = {**preload("power_shim", SHIM),
                    "POWER_PIPES": f"{to_us},{from_us}",
                    **({"POWER_LESS": less} if less else {})}
        self.at = lambda what: None
        self.seen = ""
        self.failure = None
        self.reader, self.writer = from_program, to_program
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        test.addCleanup(self.stop)

    def run(self):
        while what := os.read(self.reader, 1):
            self.seen += what.decode()
            try:
                if self.failure is None:
                    self.at(what.decode())
            except Exception as error:  # the test's, raised in stop
                self.failure = error
            os.write(self.writer, b".")

    def close_theirs(self):
        """After the last handler was started: the pipe then ends with it."""
        for fd in self.pass_fds:
            os.close(fd)
        self.pass_fds = ()

    def stop(self):
        self.close_theirs()
        self.thread.join(60)
        for fd in (self.reader, self.writer):
            os.close(fd)
        if self.failure is not None:
            raise self.failure
