#!/usr/bin/python3
"""Benchmarks: both programs beside a bare libtls program and their peers.

    tests/bench/bench.py [-n ROUNDS] [--record] [--million] [NAME...]

Ratios measured in one run, the programs in turn: nothing here is a test, and
nothing depends on how fast the machine is.  Without names all of them run,
but for million, which takes minutes and gigabytes.

    session   short sessions; bare libtls, Dovecot
    memory    peak RSS and, idle, PSS; bare libtls
    retr      RETR of 100 MB; a bare tls_write
    data      DATA and BDAT of 100 MB; a bare tls_read into a file
    small     deliveries of small messages; Dovecot's LMTP, Postfix
    several   one message for 1, 10 and 100 maildirs
    relay     a message on its way to the next hop; Postfix
    milter    a filter; Postfix with the same one
    calls     system calls
    flood     connections that say nothing
    library   libmailhandlers; aiosmtpd, nodemailer's smtp-server
    units     sessions under systemd's units, and the price of each setting
    scale     large maildrops; Dovecot, Courier
    million   a maildrop of a million messages

--record writes what was measured, now or before, to tests/bench/RESULTS.md
and to README.md.  The programs are those in $BUILD (default: build); files
go to $BUILD/bench, where others must be able to go.  Peers come unpacked from
tests/setup.sh bench and are put over /usr in a mount namespace, which needs
root; without it they are left out, loudly.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import bench_bulk       # noqa: E402
import bench_calls      # noqa: E402
import bench_flood      # noqa: E402
import bench_library    # noqa: E402
import bench_memory     # noqa: E402
import bench_milter     # noqa: E402
import bench_relay      # noqa: E402
import bench_session    # noqa: E402
import bench_small      # noqa: E402
import bench_units      # noqa: E402
import peers            # noqa: E402
import report           # noqa: E402
import rig              # noqa: E402
import scale            # noqa: E402

BENCHMARKS = {
    "session": bench_session.session,
    "memory": bench_memory.memory,
    "retr": bench_bulk.retr,
    "data": bench_bulk.data,
    "small": bench_small.small,
    "several": bench_small.several,
    "milter": bench_milter.milter,
    "relay": bench_relay.relay,
    "calls": bench_calls.calls,
    "flood": bench_flood.flood,
    "library": bench_library.library,
    "units": bench_units.units,
    "scale": scale.scale,
    "million": scale.million,
}
CLEAN_UP = {"scale": scale.clean_up, "million": scale.clean_up}
WITH_PEERS = {"session", "units", "small", "relay", "scale", "million"}

# What README.md shows: benchmark, its table's number, rows that match, and what
# they are called where their table's title is not beside them
MAIN = [
    ("session", 0, "login, STAT|no stall", "TLS session, ms: {}"),
    ("units", 0, "", "TLS session, ms: {}"),
    ("retr", 0, "", "100 MB, MB/s: {}"),
    ("data", 0, "DATA", "100 MB, MB/s: {}"),
    ("memory", 0, "RETR|DATA of 200 MB", "peak RSS, KiB: {}"),
    ("memory", 1, "login", "idle PSS, KiB: {}"),
    ("small", 0, "^(LMTP, one.*optimized|SMTP, one.*(queue|hand)|"
     ".*warm, 20.*(optimized|queue))", "4 KB messages/s: {}"),
    ("relay", 0, "^clear text: .*250", "relay, ms: {}"),
    ("scale", 0, "^(first|later).*(Courier|Dovecot)$",
     "100,000 messages, s: {}"),
    ("scale", 0, "^peak.*(Courier|Dovecot)$", "100,000 messages: {}"),
    ("million", 0, "^(first|later).*(Courier|once)",
     "1,000,000 messages, s: {}"),
    ("million", 0, "^peak.*Courier|^bytes of memory", "1,000,000 messages: {}"),
]


def run(name, options):
    """In a process of its own where the peers must be under /usr."""
    start = time.monotonic()
    if name in WITH_PEERS and not peers.inside() and peers.can_enter():
        # Its folder is its own: what this process has is no tests/run's.
        environment = {key: value for key, value in os.environ.items()
                       if key != "MAILTEST_DIR"}
        done = subprocess.run(peers.enter(
            [sys.executable, __file__, "-n", options.n, name]),
            env=environment)
        if done.returncode != 0:
            sys.exit(done.returncode)
        return
    try:
        tables = BENCHMARKS[name](options)
    except (subprocess.CalledProcessError, RuntimeError, OSError) as why:
        sys.exit(f"bench: {name}: {why}\n{rig.LOG.read_text()[-2000:]}")
    report.save(name, tables)
    for table in tables:
        print(table.text(), flush=True)
    print(f"  ({name}: {time.monotonic() - start:.0f} s)\n", flush=True)
    if name in CLEAN_UP:
        CLEAN_UP[name]()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10, metavar="ROUNDS",
                        help="rounds of each (10; 30 times that many "
                        "sessions)")
    parser.add_argument("--record", action="store_true",
                        help="write RESULTS.md, the plot and README.md")
    parser.add_argument("--million", action="store_true",
                        help="million too")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=" ".join(BENCHMARKS))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    for program in rig.BARE, rig.CLIENT, rig.POP3, rig.SMTP:
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: no {program}: use make bench")
    for path in rig.BUILD, *rig.BUILD.parents:
        if os.geteuid() == 0 and not path.stat().st_mode & 0o001:
            sys.exit(f"bench: some of the programs run as nobody, who may not "
                     f"enter {path}: use make bench BUILD=/var/tmp/build")
    rig.WORK.mkdir(exist_ok=True)
    if not peers.inside():
        lock = open(rig.WORK / "lock", "w")     # held until the end
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"bench: another one is at work in {rig.WORK}")
        rig.make_certificate()
        peers.make_system_certs()
        rig.LOG.write_bytes(b"")
    names = options.names or [name for name in BENCHMARKS
                              if name != "million"]
    if options.million and "million" not in names:
        names = [*names, "million"]
    for name in names:
        run(name, options)
    if options.record:
        scale.record_plot()
        report.record(BENCHMARKS, MAIN)
        print("bench: recorded in tests/bench/RESULTS.md and README.md")


if __name__ == "__main__":
    main()
