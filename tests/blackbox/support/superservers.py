"""The super-servers that start a handler for each connection: each class
starts a real one in the foreground on a free port of 127.0.0.1."""

import os
import pathlib
import shlex
import subprocess

from mailtest import (DEADLINE, TOOLS, clean_environment, free_port,
                      kill_quietly, wait_for)


def tool(package, name):
    """The path of a program unpacked by tests/setup.sh."""
    for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
        path = TOOLS / package / folder / name
        if path.exists():
            return path
    raise AssertionError(f"no {name} in {TOOLS}/{package}: "
                         "run tests/setup.sh check")


def tool_libraries(package, folder="."):
    """What makes a program find the libraries unpacked beside it, and those
    in a folder of its own below usr/lib."""
    base = TOOLS / package
    return {"LD_LIBRARY_PATH": ":".join(str(path) for path in [
        *base.glob("lib/*-linux-*"), *base.glob("usr/lib/*-linux-*"),
        base / "usr/lib" / folder])}


def tool_command(package, name, *args):
    """A program that finds its libraries and its programs in whatever
    namespace it is started."""
    env = tool_environment(package)
    return ["env", *(f"{key}={env[key]}" for key in
                     ("LD_LIBRARY_PATH", "PATH")), tool(package, name), *args]


def tool_environment(package, env=None):
    """The unpacked package's own libraries, and its programs, found first."""
    programs = [str(TOOLS / package / "usr/bin"), os.environ["PATH"]]
    return clean_environment({**tool_libraries(package),
                              "PATH": ":".join(programs), **(env or {})})


def listening(port, folder="/proc/net"):
    """Whether a TCP socket of this machine listens on the port."""
    for name in ("tcp", "tcp6"):
        for row in pathlib.Path(folder, name).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
                return True
    return False


class SuperServer:
    """One running in the foreground.  log() has what it and, where its
    standard error is theirs, the handlers said."""

    host = "127.0.0.1"

    def __init__(self, test, argv, env=None):
        self.test = test
        self.port = free_port()
        self.log_file = test.fresh_path("superserver")
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(arg) for arg in self.command(argv)], env=self.environ(
                    env), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        test.addCleanup(self.stop)
        self.wait_ready()

    def wait_ready(self):
        wait_for(lambda: listening(self.port) or self.died(),
                 f"{type(self).__name__} to listen")

    def died(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{type(self).__name__} ended: {self.log()}")
        return False

    def environ(self, env):
        return clean_environment(env)

    def log(self):
        return self.log_file.read_text("utf-8", "backslashreplace")

    def stop(self):
        kill_quietly(self.process.pid, 15)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        print(f"--- {type(self).__name__}\n{self.log()}")

    def script(self, argv):
        """A program without arguments, for those that take few or none."""
        path = self.test.fresh_path("start")
        words = " ".join(shlex.quote(str(arg)) for arg in argv)
        path.write_text(f"#!/bin/sh\nexec {words}\n")
        path.chmod(0o755)
        return path


class SocketActivate(SuperServer):
    """systemd's Accept=yes: the connection as fd 3 and LISTEN_FDS=1."""

    more = []

    def __init__(self, test, *args, **kwargs):
        test.need_systemd()
        super().__init__(test, *args, **kwargs)

    def command(self, argv):
        return ["systemd-socket-activate", "-l", f"{self.host}:{self.port}",
                "--accept", *self.more, *argv]


class SocketActivateInetd(SocketActivate):
    """systemd's Accept=yes with StandardInput=socket."""

    more = ["--inetd"]


class SocketActivateListening(SocketActivate):
    """What an operator gets who forgets Accept=yes: the listening socket."""

    def command(self, argv):
        return ["systemd-socket-activate", "-l", f"{self.host}:{self.port}",
                *argv]


class Tcpserver(SuperServer):
    """Tells of each connection's end in its log."""

    def command(self, argv):
        return ["tcpserver", "-v", "-H", "-R", "-l", "localhost", self.host,
                self.port, *argv]


class Tcpserver6(SuperServer):
    """The one that speaks IPv6."""

    host = "::1"

    def command(self, argv):
        return [tool("ucspi-tcp-ipv6", "tcpserver"), "-6", "-v", "-H", "-R",
                "-l", "localhost", self.host, self.port, *argv]

    def environ(self, env):
        return tool_environment("ucspi-tcp-ipv6", env)


class Inetd(SuperServer):
    """OpenBSD's: fds 0, 1 and 2 are the socket."""

    def command(self, argv):
        config = self.test.fresh_path("inetd.conf")
        program = self.script(argv)
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        config.write_text(f"{self.host}:{self.port} stream tcp nowait "
                          f"{user} {program} handler\n")
        return [tool("openbsd-inetd", "inetd"), "-i", config]

    def environ(self, env):
        return tool_environment("openbsd-inetd", env)


class Xinetd(SuperServer):
    """fds 0, 1 and 2 are the socket."""

    def command(self, argv):
        config = self.test.fresh_path("xinetd.conf")
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        config.write_text(f"""
service handler
{{
    type        = UNLISTED
    socket_type = stream
    protocol    = tcp
    bind        = {self.host}
    port        = {self.port}
    wait        = no
    user        = {user}
    server      = {self.script(argv)}
}}
""")
        return [tool("xinetd", "xinetd"), "-dontfork", "-inetd_ipv6", "-f",
                config, "-pidfile", self.test.fresh_path("pid")]

    def environ(self, env):
        return tool_environment("xinetd", env)


class S6Ipcserver(SuperServer):
    """A UNIX socket."""

    def command(self, argv):
        self.path = self.test.fresh_path("socket")
        return ["s6-ipcserver", self.path, *argv]

    def listening(self):
        for row in pathlib.Path("/proc/net/unix").read_text().splitlines():
            if row.endswith(f" {self.path}"):
                return int(row.split()[3], 16) & 0x10000    # listen(2)
        return False

    def wait_ready(self):
        wait_for(lambda: self.listening() or self.died(),
                 "s6-ipcserver to listen")
