"""Mail systems of Debian's that want to be installed: each runs from where
tests/setup.sh unpacked it, in mount and process namespaces of its own in
which its programs are below /usr and its users exist."""

import os
import pathlib
import shlex
import subprocess
import tempfile
import unittest

from mailtest import (DEADLINE, TOOLS, clean_environment, kill_quietly,
                      shared_folder, wait_for)

SCRIPT = """\
set -e
mount -t overlay overlay -o lowerdir={programs}:/usr /usr
(cat /etc/passwd; printf {passwd}) >{work}/passwd
(cat /etc/group; printf {group}) >{work}/group
mount --bind {work}/passwd /etc/passwd
mount --bind {work}/group /etc/group
cd {work}
{prepare}
exec {command} >{work}/out 2>&1 </dev/null
"""


class Installed:
    """Running, once it is made; ready() tells when it serves.  work is a
    folder of its own, which everybody may enter; prepare is a script for root
    in the namespaces.  test: a test, or a class of them, for all of which it
    runs then.  folder: where work is to be, else below that of the run."""

    package = None
    users = {}          # name: number, of the user and of its group
    groups = {}         # more groups
    prepare = ""

    def __init__(self, test, folder=None):
        if os.geteuid() != 0:
            raise unittest.SkipTest(
                f"needs root to give {self.package} its users")
        self.add_cleanup = (test.addClassCleanup if isinstance(test, type)
                            else test.addCleanup)
        # Its sockets' names must be short; what a test that is killed leaves
        # goes with the folder of the run
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="hop-",
                                                  dir=folder or
                                                  shared_folder()))
        self.work.chmod(0o755)
        self.add_cleanup(subprocess.run, ["rm", "-rf", str(self.work)],
                         check=True)

    def start(self, *command):
        groups = {**self.users, **self.groups}
        script = SCRIPT.format(
            programs=shlex.quote(str(TOOLS / self.package / "usr")),
            work=shlex.quote(str(self.work)),
            passwd=shlex.quote("".join(
                f"{name}:x:{uid}:{uid}::/:/bin/sh\\n"
                for name, uid in self.users.items())),
            group=shlex.quote("".join(
                f"{name}:x:{gid}:\\n" for name, gid in groups.items())),
            prepare=self.prepare,
            command=" ".join(shlex.quote(str(word)) for word in command))
        self.process = subprocess.Popen(
            ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child",
             "sh", "-c", script], env=clean_environment())
        self.add_cleanup(self.stop)
        wait_for(lambda: self.ready() or self.process.poll() is not None,
                 self.package, 50)
        if self.process.poll() is not None:
            raise AssertionError(f"{self.package} ended: {self.log()}")

    def log(self):
        path = self.work / "out"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        # With the first process of the namespace all others there end, and
        # unshare waits for that.
        pid = self.process.pid
        if self.process.poll() is None:
            for child in pathlib.Path(
                    f"/proc/{pid}/task/{pid}/children").read_text().split():
                kill_quietly(int(child))
        self.process.wait(DEADLINE)
        print(f"--- {self.package}\n{self.log()}")
