#!/usr/bin/python3
"""Benchmarks of smtp-handler alone, by the rules of bench.py.

    tests/bench/bench_smtp.py [-n ROUNDS] [NAME...]

    bdat      BDAT of 100 MB, and DATA, beside a bare tls_read into a file
    small     messages of 4 KB in one session, beside what it costs to write,
              fsync, link, unlink and fsync the directory
    several   one message of 4 KB for 1, 10 and 100 maildirs
    sessions  smtp-source: 50 sessions at once, beside Postfix's smtp-sink,
              which keeps nothing
    memory    peak RSS after BDAT and DATA of 20 and 200 MB
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time

import bench
from bench import (BULK, LOG, SMTP, WORK, Contest, Session, bare, handler,
                   make_maildir, median, print_rates, print_ratio, smtp)

POSTFIX = bench.ROOT / "build" / "tools" / "postfix" / "usr"
KEPT = WORK / "kept"
SMALL = 200     # messages


def bdat(options):
    file = WORK / "received"
    command = smtp(KEPT) + ["--max-size", str(2 * BULK)]
    contest = Contest(options.n)
    contest.add("bare tls_read, write", bare("receive", file),
                f"fill:{BULK}")
    contest.add("bare tls_read, write, fsync", bare("keep", file),
                f"fill:{BULK}")
    contest.add("smtp-handler: DATA", command, f"data:{BULK}")
    contest.add("smtp-handler: BDAT", command, f"bdat:{BULK}")

    def clear():
        make_maildir(KEPT)
        file.unlink(missing_ok=True)
        os.sync()

    results = contest.run(clear)
    print_rates(f"{BULK // 1_000_000} MB, to the reply", results, BULK)
    base, synced, *ours = contest.names
    for name in ours:
        print_ratio(f"{name} / bare", median(results, base, 2)
                    / median(results, name, 2), "at least 0.8")
        print_ratio(f"{name} / bare with fsync", median(results, synced, 2)
                    / median(results, name, 2))
    clear()


def keep_by_hand(number):
    """What keeping means to the file system, and nothing else; seconds."""
    make_maildir(KEPT)
    text = (b"x" * 78 + b"\n") * 50 + b"y" * 300
    start = time.monotonic()
    for n in range(number):
        tmp, new = KEPT / "tmp" / str(n), KEPT / "new" / str(n)
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, text)
        os.fsync(fd)
        os.link(tmp, new)
        folder = os.open(KEPT / "new", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
        os.unlink(tmp)
        os.close(fd)
    return time.monotonic() - start


def small(options):
    by_hand, kept = [], []
    for _ in range(max(options.n // 2, 3)):
        os.sync()
        by_hand.append(keep_by_hand(SMALL))
        make_maildir(KEPT)
        # A maildir of a minute ago needs no fsync of its own any more
        os.utime(KEPT, (time.time() - 3600,) * 2)
        os.sync()
        contest = Contest(1)
        contest.add("smtp-handler", smtp(KEPT), f"small:{SMALL}")
        # The first two rounds are warming and count as well
        kept.append(median(contest.run(), "smtp-handler", 2) / 1e6)
    print(f"{SMALL} messages of 4 KB, one session;"
          "                per second")
    base, ours = statistics.median(by_hand), statistics.median(kept)
    print(f"  {'fsync of file and directory':<40}{SMALL / base:9.0f}")
    print(f"  {'smtp-handler, one after the other':<40}{SMALL / ours:9.0f}")
    print_ratio("rate / fsyncs alone", base / ours)


def several(options):
    base = WORK / "several"
    print("one message of 4 KB for many maildirs;      ms")
    text = (b"x" * 78 + b"\r\n") * 50
    for number in (1, 10, 100):
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        one = Session(handler(SMTP, f"{base}/%u", "--create-maildirs"))
        one.say(b"EHLO client", b"250")
        one.say(b"AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=", b"235")
        times = []
        for _ in range(max(options.n, 3)):
            one.say(b"MAIL FROM:<a@example.com>", b"250")
            for n in range(number):
                one.say(b"RCPT TO:<%d@example.com>" % n, b"250")
            one.say(b"DATA", b"354")
            start = time.monotonic()
            one.file.write(text)
            one.say(b".", b"250")
            times.append((time.monotonic() - start) * 1000)
        one.end()
        # The first one made the maildirs
        print(f"  {number:>3} maildirs{'':<28}"
              f"{statistics.median(times[1:]):9.2f}"
              f"   making them: {times[0]:.2f}")
    shutil.rmtree(base)


def source(port, messages):
    """Seconds that smtp-source takes."""
    WORK.joinpath("main.cf").write_text("compatibility_level = 3.6\n")
    start = time.monotonic()
    subprocess.run(
        [POSTFIX / "sbin" / "smtp-source", "-s", "50", "-m", str(messages),
         "-l", "4000", "-f", "a@example.com", "-t", "b@example.com",
         f"127.0.0.1:{port}"], check=True,
        env={"LD_LIBRARY_PATH": str(POSTFIX / "lib" / "postfix"),
             "MAIL_CONFIG": str(WORK)})
    return time.monotonic() - start


def sessions(options):
    if not (POSTFIX / "sbin" / "smtp-sink").exists():
        print("  (sessions: no smtp-sink below build/tools)")
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    sink = subprocess.Popen(
        [POSTFIX / "sbin" / "smtp-sink",
         *(["-u", "nobody"] if os.geteuid() == 0 else []),
         f"127.0.0.1:{port}", "100"],
        env={"LD_LIBRARY_PATH": str(POSTFIX / "lib" / "postfix"),
             "MAIL_CONFIG": str(WORK)})
    make_maildir(KEPT)
    command = [SMTP, "--tls", "off", "--no-auth-required", "--maildir", KEPT,
               "--log-level", "error"]
    number = 500
    try:
        time.sleep(0.5)
        rates = {"smtp-sink, which keeps nothing": [],
                 "smtp-handler, a process each": []}
        # tcpserver takes only 20 connections that wait
        with bench.forking(command) as ours:
            for _ in range(max(options.n // 2, 3)):
                for name, to in zip(rates, (port, ours)):
                    rates[name].append(number / source(to, number))
    finally:
        sink.terminate()
        sink.wait()
    print(f"{number} sessions with a message each, 50 at once; per second")
    for name, values in rates.items():
        print(f"  {name:<40}{statistics.median(values):9.0f}")


def submit_bdat(octets):
    def talk(one):
        one.say(b"EHLO client", b"250")
        one.say(b"AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=", b"235")
        one.say(b"MAIL FROM:<a@example.com>", b"250")
        one.say(b"RCPT TO:<b@example.com>", b"250")
        block = (b"x" * 78 + b"\r\n") * 1000
        for _ in range(octets // len(block)):
            one.file.write(b"BDAT %d\r\n" % len(block) + block)
            one.file.flush()
            one.expect(b"250")
        one.say(b"BDAT 0 LAST", b"250")
    return talk


def memory(options):
    del options
    command = smtp(KEPT) + ["--max-size", str(4 * BULK)]
    base = bench.peak(bare(), lambda one: None)
    print("peak RSS; KiB")
    print(f"  {'bare: greeting':<32}{base:9d}")
    for megabytes in (20, 200):
        for name, talk in (("DATA", bench.smtp_submit), ("BDAT", submit_bdat)):
            make_maildir(KEPT)
            value = bench.peak(command, talk(megabytes * 1_000_000))
            print(f"  {f'smtp-handler: {name} of {megabytes} MB':<32}"
                  f"{value:9d}   {value - base:+d}   target: at most +2048")


BENCHMARKS = {f.__name__: f for f in (bdat, small, several, sessions,
                                      memory)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10, metavar="ROUNDS",
                        help="rounds of each (10)")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=" ".join(BENCHMARKS))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    WORK.mkdir(exist_ok=True)
    bench.make_certificate()
    LOG.write_bytes(b"")
    for name in options.names or BENCHMARKS:
        start = time.monotonic()
        try:
            BENCHMARKS[name](options)
        except (subprocess.CalledProcessError, RuntimeError, OSError) as why:
            sys.exit(f"bench_smtp: {name}: {why}\n"
                     f"{LOG.read_text()[-2000:]}")
        print(f"  ({name}: {time.monotonic() - start:.0f} s)\n", flush=True)
    shutil.rmtree(KEPT, ignore_errors=True)


if __name__ == "__main__":
    main()
