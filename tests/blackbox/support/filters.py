"""Filters as processes, for the tests of --milter."""

import os
import signal
import socket
import subprocess

from mailtest import TestCase, clean_environment, shared_folder, wait_for

HELPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helpers")


def filter_program():
    """filter.c, compiled once in a run of the tests."""
    path = shared_folder() / "filter"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-O1", "-o", fresh,
                        os.path.join(HELPERS, "filter.c"), "-lmilter",
                        "-pthread"], check=True)
        fresh.rename(path)
    return path


class Milter(TestCase):
    def start(self, argv, socket_path=None, port=None, env=None):
        """A filter's process, once it listens."""
        log = open(self.fresh_path("filter.log"), "wb")
        process = subprocess.Popen(
            [str(arg) for arg in argv], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
            env=clean_environment(env))
        log.close()
        self.addCleanup(self.end, process)

        def listens():
            if process.poll() is not None:
                raise AssertionError(f"{argv}: {process.returncode}")
            try:
                if port:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                else:
                    with socket.socket(socket.AF_UNIX) as sock:
                        sock.connect(str(socket_path))
                return True
            except OSError:
                return False
        wait_for(listens, argv, 30)
        return process

    def end(self, process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def filter(self, *order, env=None):
        """filter.c, listening; its address for --milter."""
        path = self.fresh_path("s")
        self.report = self.fresh_path("report")
        self.start([filter_program(), f"unix:{path}", self.report, *order],
                   path, env=env)
        # The probe's own session
        wait_for(lambda: "close " in self.told(), "the probe's end")
        self.report.write_text("")
        return f"unix:{path}"

    def told(self):
        return self.report.read_text().splitlines() \
            if self.report.exists() else []

    def session(self, *addresses, options=(), env=None):
        milters = [word for address in addresses
                   for word in ("--milter", address)]
        return self.smtp(*milters, *options, env=env).ready()

    def header(self):
        """Names and values of the stored message below ours, unfolded, and
        its body."""
        _, content = self.the_message()
        head, _, body = content.partition(b"\n\n")
        return head.decode().split("\n"), body
