"""Connections that say nothing, and somebody who wants to be served."""

import contextlib
import resource
import socket
import statistics
import time

import report
import rig

SILENT = 2000


def processes(pid):
    """Of a server, and their proportional memory in KiB."""
    pids = {pid} | rig.children(pid)
    memory = 0
    for one in pids:
        with contextlib.suppress(OSError), \
                open(f"/proc/{one}/smaps_rollup") as file:
            memory += sum(int(line.split()[1]) for line in file
                          if line.startswith("Pss:"))
    return len(pids), memory


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
        f"{SILENT:,} connections that say nothing, to smtp-handler --listen",
        "from", "processes", "their PSS, KiB",
        "greeting for another source meanwhile, ms", "and after, ms",
        note="Defaults: 64 connections, 16 of one source; more of one source "
        "are closed, more sources wait. Of many addresses all places are "
        "taken until --login-timeout, so nobody else is served meanwhile.")
    for name, source, served in (
            ("one address", lambda i: "127.0.0.1", True),
            ("as many addresses", lambda i: f"127.3.{i // 250}.{i % 250 + 1}",
             False)):
        with rig.warm(command, "--max-connections", "64",
                      "--max-per-source", "16") as port:
            socks = silent(port, source)
            number, memory = processes(port.pid)
            times = [session(port, "127.9.9.9") for _ in range(options.n)] \
                if served else []
            for sock in socks:
                sock.close()
            after = session(port, "127.9.9.9")
            table.add(name, number, f"{memory:,}",
                      f"{statistics.median(times):.1f}" if times else "",
                      f"{after:.1f}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [table]
