"""Peak RSS and, of idle connections, PSS, beside the bare program."""

import shutil
import statistics

import report
import rig
from rig import MAILDIR, WORK, Session, bare, pop3, smtp

IDLE = 60               # connections


def peak(command, talk):
    one = Session(command)
    try:
        talk(one)
        return one.peak()
    finally:
        one.end()


def idle_pss(command, prepare, kind=Session):
    """Mean PSS of many sessions that wait at the same time, KiB."""
    sessions = [kind(command) for _ in range(IDLE)]
    try:
        for one in sessions:
            prepare(one)
        return statistics.mean(one.pss() for one in sessions)
    finally:
        for one in sessions:
            one.end()


def pop3_login(one):
    one.say(b"USER tester")
    one.say(b"PASS secret")
    one.say(b"STAT")


def pop3_retrieve(one):
    pop3_login(one)
    one.say(b"RETR 1")
    while one.file.readline() != b".\r\n":
        pass


def smtp_envelope(one):
    one.say(b"EHLO client", b"250")
    one.say(b"AUTH PLAIN AHRlc3RlcgBzZWNyZXQ=", b"235")
    one.say(b"MAIL FROM:<a@example.com>", b"250")
    one.say(b"RCPT TO:<b@example.com>", b"250")


BLOCK = (b"x" * 78 + b"\r\n") * 1000


def smtp_data(octets):
    def talk(one):
        smtp_envelope(one)
        one.say(b"DATA", b"354")
        for _ in range(octets // len(BLOCK)):
            one.file.write(BLOCK)
        one.say(b".", b"250")
    return talk


def smtp_bdat(octets):
    def talk(one):
        smtp_envelope(one)
        for _ in range(octets // len(BLOCK)):
            one.file.write(b"BDAT %d\r\n" % len(BLOCK) + BLOCK)
            one.file.flush()
            one.expect(b"250")
        one.say(b"BDAT 0 LAST", b"250")
    return talk


def memory(options):
    del options
    rig.make_messages(MAILDIR, 10)
    large = rig.make_large(WORK / "large", 20_000_000)
    kept = WORK / "kept"
    keeps = smtp(kept) + ["--max-size", "400000000"]
    base = peak(bare(), lambda one: None)
    within = report.Target("at most 2,048 more",
                           lambda ours, other: ours - other <= 2048)
    peaks = report.Comparison("Peak RSS beside the bare program's",
                              "KiB")
    for what, command, talk in (
            ("pop3-handler: login, STAT", pop3(), pop3_login),
            ("pop3-handler: RETR of 20 MB", pop3(large), pop3_retrieve),
            ("smtp-handler: DATA of 80 KB", keeps, smtp_data(80_000)),
            ("smtp-handler: DATA of 200 MB", keeps, smtp_data(200_000_000)),
            ("smtp-handler: BDAT of 200 MB", keeps, smtp_bdat(200_000_000))):
        rig.make_maildir(kept)
        peaks.row(what, peak(command, talk), base, within, 0)
    base = idle_pss(bare(), lambda one: None)
    idle = report.Comparison(
        f"PSS of {IDLE} idle TLS connections beside the bare program's",
        "KiB each")
    for what, command, prepare in (
            ("pop3-handler: greeting", pop3(), lambda one: None),
            ("pop3-handler: login, STAT", pop3(), pop3_login),
            ("smtp-handler: greeting", keeps, lambda one: None)):
        idle.row(what, idle_pss(command, prepare), base,
                 report.at_most(1.15), 0)
    with rig.warm(pop3()) as port:
        for what, prepare in (("greeting", lambda one: None),
                              ("login, STAT", pop3_login)):
            idle.row(f"pop3-handler, warm: {what}",
                     idle_pss(port, prepare, rig.WarmSession), base,
                     report.at_most(0.4), 0)
    shutil.rmtree(large)
    shutil.rmtree(kept)
    return [peaks, idle]
