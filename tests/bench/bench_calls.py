"""Which system calls bulk work makes, counted by strace.

A session with the work and one without it are counted; what a row tells is
the difference, so that the start of a process is no part of it.
"""

import collections
import os
import re
import shutil
import subprocess
import time

import bench_memory
import report
import rig
from rig import WORK, bare, pop3, smtp

BULK = 100_000_000      # octets
MANY = int(os.environ.get("BENCH_MESSAGES", "100000"))
BATCH = 1000            # commands that are sent in one go
SMALL = 200             # messages delivered

NOTE = f"""\
strace -f -c, the session less one without that work. Clear text where TLS is
not named. Small messages are of 3 KB, retrieved {BATCH:,} RETR at a time; ours
answers as many of them as it can before it writes. A TLS record holds 16 KiB
at most: the bare program writes each by itself, ours several together."""


def count(command, talk, clear=True):
    """{system call: times}"""
    trace = WORK / "calls"
    one = rig.Session(["strace", "-f", "-c", "-o", trace, *command], clear)
    try:
        octets = talk(one)
        one.quit()
    finally:
        if one.process.poll() is None:
            one.end()
    calls = collections.Counter()
    for line in trace.read_text().splitlines():
        # share, seconds, each, calls, errors or nothing, name
        match = re.match(r" *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$",
                         line)
        if match and match[2] != "total":
            calls[match[2]] += int(match[1])
    return calls, octets


def add(table, what, command, talk, idle, number, clear=True,
        idle_command=None):
    """A row; number: messages or lines, or 0 where octets matter alone."""
    without, _ = count(idle_command or command, idle, clear)
    calls, octets = count(command, talk, clear)
    calls.subtract(without)
    total = sum(times for times in calls.values() if times > 0)
    names = ", ".join(f"{name} {times:,}"
                      for name, times in calls.most_common(6)
                      if times > total / 200)
    table.add(what, f"{total:,}", f"{octets / 1e6:,.1f}",
              f"{total / octets * 1e6:,.0f}" if octets else "",
              f"{total / number:.3g}" if number else "", names)


def table(title, note=""):
    return report.Table(title, "what", "calls", "MB", "calls/MB",
                        "calls each", "which", note=note)


# Dialogues: each tells how many octets the work was

def nothing(one):
    del one
    return 0


def logged_in(one):
    bench_memory.pop3_login(one)
    return 0


def listing(command):
    def talk(one):
        logged_in(one)
        one.say(command)
        return one.take_until(b"\r\n.\r\n")
    return talk


def retrieve_one(one):
    logged_in(one)
    one.say(b"RETR 1")
    return one.take_until(b"\r\n.\r\n")


def retrieve_many(one):
    logged_in(one)
    octets = 0
    for first in range(1, MANY + 1, BATCH):
        last = min(first + BATCH, MANY + 1)
        one.file.write(b"".join(b"RETR %d\r\n" % n
                                for n in range(first, last)))
        one.file.flush()
        octets += one.take_until(b"\r\n.\r\n", last - first)
    return octets


def drain(one):
    one.file.write(b"GO\r\n")
    one.file.flush()
    one.take(BULK)
    return BULK


def deliver(one):
    bench_memory.smtp_envelope(one)
    for n in range(SMALL):
        if n > 0:
            one.say(b"MAIL FROM:<a@example.com>", b"250")
            one.say(b"RCPT TO:<b@example.com>", b"250")
        one.say(b"DATA", b"354")
        one.file.write(bench_memory.BLOCK[:4000])
        one.say(b".", b"250")
    return SMALL * 4000


def submit(one):
    bench_memory.smtp_data(BULK)(one)
    return BULK


def smtp_login(one):
    one.say(b"EHLO client", b"250")
    one.say(b"AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=", b"235")
    return 0


def calls(options):
    del options
    found = table("System calls", NOTE)
    large = rig.make_large(WORK / "large", BULK)
    for name, clear, how in (("", True, ["--tls", "off"]),
                             (" under TLS", False, [])):
        add(found, f"RETR of {BULK // 1_000_000} MB{name}",
            pop3(large) + how, retrieve_one, logged_in, 0, clear)
    add(found, "  bare tls_write of the same", bare("send", BULK), drain,
        nothing, 0, False, bare())
    shutil.rmtree(large)

    many, cache = WORK / "many", WORK / "many-cache"
    rig.make_messages(many, MANY)
    cache.mkdir(exist_ok=True)
    cached = pop3(many) + ["--cache-dir", cache]
    subprocess.run(["touch", "-d", "1 hour ago", many, many / "cur",
                    many / "new"], check=True)
    time.sleep(2.1)     # until the directories' changes are old enough
    for what in "first login", "later login":   # the first fills the cache
        add(found, f"{what}, {MANY:,} messages, under TLS", cached, logged_in,
            nothing, MANY, False)
    for what, talk in ((f"RETR of {MANY:,} small messages", retrieve_many),
                       (f"LIST of {MANY:,} lines", listing(b"LIST")),
                       (f"UIDL of {MANY:,} lines", listing(b"UIDL"))):
        for name, clear, how in (("", True, ["--tls", "off"]),
                                 (" under TLS", False, [])):
            add(found, what + name, cached + how, talk, logged_in, MANY,
                clear)
    shutil.rmtree(many)
    shutil.rmtree(cache)

    kept = rig.make_settled_maildir(WORK / "kept")
    keeps = smtp(kept) + ["--max-size", str(2 * BULK)]
    add(found, f"DATA of {BULK // 1_000_000} MB under TLS", keeps, submit,
        smtp_login, 0, False)
    rig.make_settled_maildir(kept)
    add(found, f"DATA of {SMALL} messages of 4 KB", keeps + ["--tls", "off"],
        deliver, smtp_login, SMALL)
    shutil.rmtree(kept)
    return [found]
