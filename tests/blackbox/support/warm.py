"""A handler that accepts connections itself, as a process."""

import os
import pathlib
import re
import socket
import subprocess
import sys

from mailtest import Process, wait_for

# Becomes the program, with the listening socket as descriptor 3, as systemd
# passes it with Accept=no.
PASS = """
import fcntl, os, sys
fd = fcntl.fcntl(int(sys.argv[1]), fcntl.F_DUPFD, 100)
os.dup2(fd, 3)
os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Warm:
    """Running, once it is made.  sock: a listening socket, which it gets as
    descriptor 0, or as 3 where passed is set; else it opens one itself.  wrap:
    a command to start it with."""

    def __init__(self, test, program, *options, sock=None, passed=False,
                 env=None, wrap=(), user=None, ready=True):
        self.test, self.sock = test, sock
        self.port_file = test.fresh_path("port")
        argv = [*wrap, *test.argv(program, *options)]
        stdin, fds = subprocess.DEVNULL, ()
        if sock is None:
            argv += ["--listen", "0", "--port-file", self.port_file]
        elif passed:
            argv = [sys.executable, "-c", PASS, sock.fileno(), *argv,
                    "--accept"]
            fds = (sock.fileno(),)
        else:
            argv += ["--accept"]
            stdin = sock
        self.process = Process(argv, stdin, subprocess.DEVNULL,
                               test.fresh_path("log"), env=env, user=user,
                               pass_fds=fds)
        self.pid = self.process.pid
        test.addCleanup(self.stop)
        if ready:
            self.wait_ready()

    def wait_ready(self):
        wait_for(lambda: " listening: " in self.log() or self.died(),
                 "it to accept connections")
        if self.sock is None:
            wait_for(self.port_file.exists, "the port's file")
            self.port = int(self.port_file.read_text())
        elif self.sock.family != socket.AF_UNIX:
            self.port = self.sock.getsockname()[1]

    def died(self):
        if not self.process.running():
            raise AssertionError(f"it ended: {self.log()}")
        return False

    def log(self):
        return self.process.log()

    def count(self, pattern):
        return len(re.findall(pattern, self.log(), re.M))

    def wait_log(self, pattern, count=1):
        wait_for(lambda: self.count(pattern) >= count, pattern)

    def children(self):
        path = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def wait_children(self, n):
        wait_for(lambda: len(self.children()) == n, f"{n} children")
        return self.children()

    def signal(self, number):
        os.kill(self.pid, number)

    def ends(self):
        """Its exit status."""
        return self.process.wait()

    def stop(self):
        if self.process.running():
            for pid in self.children():
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
        self.process.stop()


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    words = fields.split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
