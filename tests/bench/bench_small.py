"""Small messages into a maildir, beside others that accept mail."""

import contextlib
import os
import shutil
import statistics
import subprocess
import time

import peers
import report
import rig
from rig import SMTP, WORK

KEPT = WORK / "kept"
DONE = WORK / "done"    # maildirs of the measurements before
NUMBER = 300            # messages
AT_ONCE = 20, 100       # sessions
ONE_SESSION = ("-d", "-s", "1")


def fresh():
    """An empty maildir.  The one before stays until the end: ext4 without a
    journal looks at every inode that was deleted in the last minutes before it
    gives a new one, whoever makes the file."""
    if KEPT.exists():
        DONE.mkdir(exist_ok=True)
        KEPT.rename(DONE / str(len(os.listdir(DONE))))
    rig.make_settled_maildir(KEPT, peers.NOBODY)
    os.sync()


def kept():
    return len(os.listdir(KEPT / "new"))


def by_hand():
    """What keeping means to the file system, and nothing else; seconds."""
    text = (b"x" * 78 + b"\n") * 50
    start = time.monotonic()
    for n in range(NUMBER):
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


def until_delivered(send):
    """Seconds until all are in the maildir, after they were accepted."""
    def sent():
        start = time.monotonic()
        send()
        peers.wait_for(lambda: kept() >= NUMBER, "delivery", 60)
        return time.monotonic() - start
    return sent


def sender(port, *options):
    return lambda: peers.smtp_source(port, NUMBER, *options)


def secure_senders(port, at_once):
    """Under TLS and with a login, by as many clients."""
    def send():
        clients = [subprocess.Popen(
            [rig.CLIENT, str(NUMBER // at_once), f"{port}:data:4000"],
            stdout=subprocess.DEVNULL) for _ in range(at_once)]
        if any([client.wait() for client in clients]):
            raise RuntimeError("a client failed")
    return timed(send)


def timed(function):
    def call():
        start = time.monotonic()
        function()
        return time.monotonic() - start
    return call


SMTPS = """\
127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"""


@contextlib.contextmanager
def postfix(auth):
    """Its smtps takes every login that the Dovecot at that port does."""
    smtps = peers.free_port()
    with peers.postfix(
            SMTPS.format(port=smtps), in_flow_delay="0",
            smtpd_tls_chain_files=f"{rig.KEY} {rig.CERT}",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path=f"inet:127.0.0.1:{auth}",
            virtual_mailbox_domains="example.com",
            virtual_mailbox_base=KEPT.parent,
            virtual_mailbox_maps=f"static:{KEPT.name}/",
            virtual_uid_maps=f"static:{peers.NOBODY}",
            virtual_gid_maps=f"static:{peers.NOBODY}") as server:
        server.smtps = smtps
        yield server


def contestants(stack):
    """{name: (function that sends NUMBER messages, is all of it kept)} and
    {name: process}, of those that stay."""
    enter = stack.enter_context
    ours = [SMTP, "--tls", "off", "--no-auth-required", "--maildir", KEPT,
            "--log-level", "error"]
    secure = rig.handler(SMTP, KEPT)
    pids = {}
    smtp = enter(rig.SUPER_SERVER(ours))
    lmtp = enter(rig.SUPER_SERVER([*ours, "--lmtp"]))
    found = {"by hand": (by_hand, True),
             "SMTP": (sender(smtp, *ONE_SESSION), True),
             "LMTP": (sender(lmtp, "-L", *ONE_SESSION), True)}
    clear = {"SMTP": (smtp,), "LMTP": (lmtp, "-L"),
             "SMTP, warm": (enter(rig.warm(ours)),),
             "LMTP, warm": (enter(rig.warm([*ours, "--lmtp"])), "-L")}
    tls = {"SMTPS": enter(rig.SUPER_SERVER(secure)),
           "SMTPS, warm": enter(rig.warm(secure))}
    for name in "LMTP, warm", "SMTP, warm":
        pids[name] = clear[name][0].pid
    pids["SMTPS, warm"] = tls["SMTPS, warm"].pid
    if peers.inside():
        for fsync in "always", "optimized":
            dovecot = enter(peers.dovecot(KEPT, fsync))
            found[f"Dovecot, mail_fsync={fsync}"] = \
                sender(dovecot.lmtp, "-L", *ONE_SESSION), True
            clear[f"Dovecot, mail_fsync={fsync}"] = dovecot.lmtp, "-L"
            pids[f"Dovecot, mail_fsync={fsync}"] = dovecot.pid
    sink = enter(peers.smtp_sink())
    found["smtp-sink"] = sender(sink, *ONE_SESSION), False
    clear["smtp-sink"] = (sink,)
    for name, (port, *how) in clear.items():
        for n in AT_ONCE:
            found[f"{name}, {n} at once"] = \
                sender(port, *how, "-s", str(n)), name != "smtp-sink"
    for name, port in tls.items():
        for n in AT_ONCE:
            found[f"{name}, {n} at once"] = secure_senders(port, n), True
    if peers.inside():
        ports = enter(postfix(dovecot.auth))
        for name in "Postfix's queue", "Postfix's smtps":
            pids[name] = ports.process.pid
        for suffix, how in (("", ONE_SESSION), *(
                (f", {n} at once", ("-s", str(n))) for n in AT_ONCE)):
            send = sender(ports.port, *how)
            found[f"Postfix's queue{suffix}"] = send, False
            found[f"Postfix's maildir{suffix}"] = until_delivered(send), True
        for n in AT_ONCE:
            found[f"Postfix's smtps, {n} at once"] = \
                secure_senders(ports.smtps, n), False
    return found, pids


def measure(rounds):
    """{name: messages per second in the best round} and {name: milliseconds of
    CPU for each message, over all rounds}"""
    best, used = {}, {}
    with contextlib.ExitStack() as stack:
        found, pids = contestants(stack)
        for nth in range(rounds + 1):
            for name, (send, keeps) in found.items():
                fresh()
                pid = pids.get(name.partition(f", {AT_ONCE[0]} at once")[0])
                before = rig.cpu(pid) if pid else 0
                seconds = send()
                if keeps and kept() != NUMBER:
                    raise RuntimeError(f"{name} kept {kept()} of {NUMBER}")
                if not keeps and name.startswith("Postfix"):
                    peers.wait_for(lambda: kept() >= NUMBER, "delivery", 60)
                if nth > 0:     # the first is for warming up
                    best[name] = min(seconds, best.get(name, seconds))
                    if pid:
                        used[name] = used.get(name, 0) + rig.cpu(pid) - before
    return ({name: NUMBER / seconds for name, seconds in best.items()},
            {name: seconds * 1000 / NUMBER / rounds
             for name, seconds in used.items()})


NOTE = f"""\
Postfix's smtp-source sends {NUMBER} messages of 4 KB in clear text over TCP,
without login; SMTPS is under TLS, with a login (any password is right, here
as at Postfix, which asks a Dovecot), by as many clients as there are sessions.
One session: one after the other. At once: so many sessions with
one message each; ours is then a new process for each, executed by
{rig.SUPER_SERVER.__name__} or, warm, forked (--listen); Dovecot's and
Postfix's processes are there and used again. Into one maildir on one file
system. smtp-handler fsyncs the file and the directory before its 250 (2 a
message). Dovecot's LMTP with mail_fsync=optimized, its default, syncs the
file, the directory and its index (3), with always its indexes throughout (6).
Postfix fsyncs its queue file before its 250 and the file in the maildir once
more, no directories; its maildir rows end when the last message is there, and
in_flow_delay is 0. smtp-sink keeps nothing and syncs nothing. By hand: a
script that writes, fsyncs, links, fsyncs the directory and unlinks, without
any protocol."""


CPU_NOTE = """\
All processes of each server, from the first connection until the last message
is in the maildir: with two processors it is this that limits how many are
taken in a second. Postfix's includes its delivery, which comes after its 250
and is no part of the rate of its queue above. Of ours, a process's birth, first
touch of its memory and end are about a third, which those whose processes are
used again do not pay: where twice their rate is missed, that is why."""


# What a warm program is to be twice as fast as
TWICE = "Dovecot, mail_fsync=optimized", "Postfix's queue", "Postfix's smtps"


def small(options):
    shutil.rmtree(DONE, ignore_errors=True)
    rate, used = measure(max(options.n // 2, 3))
    table = report.Comparison("Deliveries of small messages",
                              "messages/s, best round", note=NOTE)
    def rows(ours, text, others, suffix="", target=None):
        for other in others:
            if other + suffix in rate:
                table.row(f"{text}{suffix} / {other}", rate[ours + suffix],
                          rate[other + suffix],
                          target if other in TWICE else None, 0)

    rows("LMTP", "LMTP, one session",
         ("Dovecot, mail_fsync=optimized", "Dovecot, mail_fsync=always"))
    rows("SMTP", "SMTP, one session",
         ("Postfix's queue", "Postfix's maildir", "smtp-sink", "by hand"))
    for n in AT_ONCE:
        for how, target in (("", None), (", warm", report.at_least(2))):
            suffix = f", {n} at once"
            for name, others in (
                    ("LMTP", ("Dovecot, mail_fsync=optimized",
                              "Dovecot, mail_fsync=always")),
                    ("SMTP", ("Postfix's queue", "Postfix's maildir",
                              "smtp-sink")),
                    ("SMTPS", ("Postfix's smtps",))):
                rows(name + how, name + how, others, suffix, target)
    cpu = report.Comparison(
        f"CPU for a small message, {AT_ONCE[0]} at once", "ms", note=CPU_NOTE)
    for ours, other in (("LMTP", "Dovecot, mail_fsync=optimized"),
                        ("LMTP", "Dovecot, mail_fsync=always"),
                        ("SMTP", "Postfix's queue"),
                        ("SMTPS", "Postfix's smtps")):
        suffix = f", {AT_ONCE[0]} at once"
        if other + suffix in used:
            cpu.row(f"{ours}, warm / {other}", used[f"{ours}, warm{suffix}"],
                    used[other + suffix], None, 2)
    shutil.rmtree(KEPT)
    shutil.rmtree(DONE)
    return [table, cpu]


def several(options):
    base = WORK / "several"
    text = (b"x" * 78 + b"\r\n") * 50
    table = report.Table("One message of 4 KB for many maildirs",
                         "ms to the reply, median", "there already",
                         "making them")
    for number in (1, 10, 100):
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        one = rig.Session(rig.handler(SMTP, f"{base}/%u",
                                      "--create-maildirs"))
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
        table.add(f"{number} maildirs", f"{statistics.median(times[1:]):.2f}",
                  f"{times[0]:.2f}")
    shutil.rmtree(base)
    return [table]
