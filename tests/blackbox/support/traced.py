"""Whole sessions under strace: which system calls they make, and what
becomes of them when one fails or is the last."""

import collections
import os
import re
import subprocess

from mailtest import (DEADLINE, SMTP, TestCase, clean_environment, plain,
                      smtp_wire)

TEXT = b"Subject: precious\n\n.do not lose\n" + b"line of text\n" * 1000

PIPE_SIZE = 65536       # of Linux

# What a system call on files fails with; others with EIO
ERRORS = {
    "openat": ("EIO", "ENOSPC", "EMFILE", "EACCES"),
    "open": ("EIO", "ENOSPC", "EMFILE", "EACCES"),
    "write": ("EIO", "ENOSPC", "EDQUOT"),
    "fsync": ("EIO", "ENOSPC"),
    "link": ("EIO", "ENOSPC", "EEXIST", "EACCES"),
    "linkat": ("EIO", "ENOSPC", "EEXIST", "EACCES"),
    "mkdir": ("EIO", "ENOSPC", "EACCES"),
    "mkdirat": ("EIO", "ENOSPC", "EACCES"),
}

Call = collections.namedtuple("Call", "name nth line")


class Traced(TestCase):
    """A whole session from a pipe that is filled and closed before, so that
    each run makes the same system calls."""

    time_limit = 900    # a run for each call, and strace is slow

    def setUp(self):
        # prctl(PR_SET_DUMPABLE, 0) hides it from others of the same user
        self.need_root("see what a handler's system calls are about")
        super().setUp()

    SESSION = (f"EHLO client.test\r\nAUTH PLAIN {plain('joe', 'x')}\r\n"
               "MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.org>\r\n"
               "DATA\r\n").encode() + smtp_wire(TEXT) + b"QUIT\r\n"
    program = SMTP

    def session(self, *strace, options=(), session=None):
        """Run it under strace; what it said."""
        stdin = self.filled(session or self.SESSION)
        argv = ["strace", "-f", "-y", "-qq", "-s", "99", "-o",
                self.path("trace"), *strace,
                *self.argv(self.program, "--tls", "off", "--auth", "any",
                           "--maildir", self.mail, *options)]
        with stdin:
            done = subprocess.run(
                [str(arg) for arg in argv], stdin=stdin,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=DEADLINE, env=clean_environment(
                    # A leak check cannot be traced
                    {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
                     + ":detect_leaks=0"}))
        self.status = done.returncode
        return done.stdout

    def filled(self, session):
        """What a pipe has no room for is read from a file."""
        if len(session) > PIPE_SIZE:
            return open(self.write("session", session), "rb")
        reader, writer = os.pipe()
        os.write(writer, session)
        os.close(writer)
        return os.fdopen(reader, "rb")

    def final_reply(self, out):
        """The code that answered the message, None where none came."""
        match = re.search(rb"(?m)^354[^\n]*\n(\d\d\d) ", out)
        if match:
            return int(match[1])
        # Refused before the text was asked for
        match = re.search(rb"(?m)^(45\d) ", out)
        return int(match[1]) if match else None

    def calls(self, **kwargs):
        """The system calls of an undisturbed run, numbered by name as
        strace's when= counts them."""
        self.undisturbed = self.session(**kwargs)
        counts = collections.Counter()
        found = []
        for line in self.path("trace").read_text(errors="replace") \
                .splitlines():
            match = re.match(r"(?:\d+ +)?(\w+)\(", line)
            if match:
                counts[match[1]] += 1
                found.append(Call(match[1], counts[match[1]], line))
        self.assertTrue(found)
        return found

    def of_the_delivery(self, **kwargs):
        """Those from the first that touches the maildir on."""
        calls = self.calls(**kwargs)
        first = next(i for i, call in enumerate(calls)
                     if str(self.mail) in call.line and i > 0
                     and call.name != "execve")
        return calls[first:]
