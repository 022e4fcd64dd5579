"""Programs with libmailhandlers inside, built from what make install installs
and from nothing else."""

import functools
import os
import pathlib
import shlex
import socket
import subprocess

from mailtest import (BUILD, ROOT, TestCase, clean_environment, free_port,
                      shared_folder, wait_for)

EXAMPLES = ROOT / "tests" / "examples"
GCC = ("gcc", "-std=c99", "-pedantic")
CLANG = ("clang", "-std=c17", "-pedantic")
CXX = ("g++", "-std=c++11", "-pedantic", "-x", "c++")


@functools.cache
def installed():
    """A folder with usr in it, made once a process."""
    root = shared_folder() / f"embedded.{os.getpid()}"
    # What depends on PREFIX is made anew, beside the build folder: other tests
    # read there.
    build = shared_folder() / f"built.{os.getpid()}"
    build.mkdir(exist_ok=True)
    for file in BUILD.iterdir() if not any(build.iterdir()) else ():
        if file.is_file() and file.suffix != ".pc":
            (build / file.name).symlink_to(file)
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "DESTDIR",
                                   "PREFIX")}
    subprocess.run(["make", "-s", "-o", "all", "install", f"BUILD={build}",
                    f"DESTDIR={root}", "PREFIX=/usr"], cwd=ROOT, check=True,
                   env=environment, stdout=subprocess.DEVNULL)
    return root


def shared_library():
    return installed() / "usr/lib/libmailhandlers.so.0"


def flags(*options):
    root = installed()
    environment = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(root),
                       PKG_CONFIG_PATH=f"{root}/usr/lib/pkgconfig")
    return shlex.split(subprocess.run(
        ["pkg-config", *options, "mailhandlers"], env=environment,
        check=True, capture_output=True, text=True).stdout)


def sanitized():
    """Options that a library built with sanitizers makes necessary."""
    symbols = subprocess.run(["nm", "-D", shared_library()], check=True,
                             capture_output=True, text=True).stdout
    return (["-fsanitize=address,undefined"] if "__asan" in symbols else
            ["-fsanitize=thread"] if "__tsan" in symbols else [])


def build(source, compiler=GCC, static=False, more=()):
    """The path of the program made of a source file."""
    source = pathlib.Path(source)
    name = "-".join([source.stem, compiler[0], "static" if static else "so"])
    program = installed() / name.replace("/", "_").replace("+", "x")
    if program.exists():
        return program
    libraries = flags("--libs", *["--static"] * static)
    if static:
        libraries = [f"{installed()}/usr/lib/libmailhandlers.a"
                     if flag == "-lmailhandlers" else flag
                     for flag in libraries]
    # The libraries are no C++
    ends = ["-x", "none"] if "-x" in compiler else []
    subprocess.run([*compiler, "-D_DEFAULT_SOURCE", "-Wall", "-Wextra",
                    "-Werror", "-g", *sanitized(), *flags("--cflags"), "-o",
                    program, source, *ends, *libraries, *more],
                   check=True)
    return program


class Served:
    """One of the programs, running, and its ports."""

    def __init__(self, test, argv, ports):
        self.ports = ports
        self.output = test.fresh_path("out")
        environment = clean_environment(
            {"LD_LIBRARY_PATH": str(shared_library().parent)})
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, env=environment)
        test.addCleanup(self.stop)
        for port in ports:
            wait_for(lambda port=port: self.process.poll() is not None or
                     self.answers(port), f"port {port} of {argv[0]}")
        if self.process.poll() is not None:
            raise AssertionError(f"{argv[0]} ended: {self.text()}")

    @staticmethod
    def answers(port):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    def text(self):
        return self.output.read_text(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class EmbeddedCase(TestCase):
    def serve_example(self, program, *arguments, ports=1):
        numbers = [free_port() for _ in range(ports)]
        return Served(self, [program, *arguments, *numbers], numbers)
