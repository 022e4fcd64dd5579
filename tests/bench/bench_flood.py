"""Connections that say nothing, and somebody who wants to be served."""

import contextlib
import pathlib
import re
import resource
import socket
import statistics
import time

import report
import rig

SILENT = 2000


def processes(mark):
    """How many have the mark among their words, and their proportional memory
    in KiB."""
    number = memory = 0
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark not in (folder / "cmdline").read_text():
                continue
            number += 1
            rollup = (folder / "smaps_rollup").read_text()
            memory += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
    return number, memory


def session(port, source):
    """Milliseconds from connecting to the end of a greeting."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(port)), 60,
                                  (source, 0)) as sock:
        if not sock.recv(100).startswith(b"220"):
            raise RuntimeError("no greeting")
    return (time.monotonic() - start) * 1000


def silent(port, source):
    """SILENT connections, as many as the server keeps."""
    socks = []
    for i in range(SILENT):
        sock = socket.socket()
        sock.bind((source(i), 0))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", int(port)))
        socks.append(sock)
    time.sleep(0.5)
    return socks


def flood(options):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    kept = rig.make_maildir(rig.WORK / "kept")
    command = [rig.SMTP, "--tls", "off", "--no-auth-required", "--maildir",
               kept, "--log-level", "error"]
    table = report.Table(
        f"{SILENT:,} connections that say nothing to smtp-handler",
        "from", "processes", "their PSS, KiB",
        "greeting for another source meanwhile, ms", "and after, ms",
        note="Warm is --listen with its defaults: 64 connections, 16 of one "
        "source; more of one source are closed, more sources wait. Executed "
        f"is {rig.SUPER_SERVER.__name__}, which takes 100 from anybody. Where "
        "all places are taken nobody else is served until --login-timeout.")
    ways = {"warm": lambda: rig.warm(command, "--max-connections", "64",
                                     "--max-per-source", "16"),
            "executed": lambda: rig.SUPER_SERVER(command)}
    for way, start in ways.items():
        for name, source in (
                ("one address", lambda i: "127.0.0.1"),
                ("as many addresses",
                 lambda i: f"127.3.{i // 250}.{i % 250 + 1}")):
            served = way == "warm" and name == "one address"
            with start() as port:
                socks = silent(port, source)
                number, memory = processes(str(kept))
                times = [session(port, "127.9.9.9")
                         for _ in range(options.n)] if served else []
                for sock in socks:
                    sock.close()
                after = session(port, "127.9.9.9")
            table.add(f"{way}: {name}", number, f"{memory:,}",
                      f"{statistics.median(times):.1f}" if times else "none",
                      f"{after:.1f}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [table]
